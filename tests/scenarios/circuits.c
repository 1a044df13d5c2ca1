#include "scenarios/circuits.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t network[TUN_NETWORK_ID] = "circuit";

static const uint8_t *key_of(const struct circuits *c, unsigned r) {
    return c->identity[r]->public_key;
}

static unsigned number_of(const struct circuits *c, const uint8_t key[CV_KEY]) {
    for (unsigned r = 0; r < c->relays; r++)
        if (memcmp(key_of(c, r), key, CV_KEY) == 0)
            return r;
    abort();
}

static struct tun_relay *relay_of(const struct circuits *c, unsigned r) {
    return tun_directory_find(c->dir, key_of(c, r), c->day);
}

/* Signed for the day, each in a network of its own, and named by two others. */
static void describe(struct circuits *c) {
    uint8_t raw[TUN_DESCRIPTOR_MAX];
    enum cv_err err = CV_ERR_OK;
    c->day = tun_descriptor_day(c->wall);
    tun_directory_expire(c->dir, c->wall);
    for (unsigned r = 0; r < c->relays && !err; r++) {
        struct tun_descriptor d = {.flags = 0x17, .suites = 1, .addrs = 1, .day = c->day};
        memcpy(d.network_id, network, sizeof network);
        d.bandwidth = c->bandwidth[r];
        d.addr[0] = (struct cv_addr){
            .family = 4, .port = 4000, .ip = {(uint8_t)(20 + (r >> 8)), (uint8_t)r, 0, 1}};
        ssize_t len = tun_descriptor_sign(&d, c->identity[r], raw, sizeof raw);
        assert(len > 0);
        struct tun_relay *relay = NULL;
        err = tun_directory_add(c->dir, c->wall, raw, (size_t)len, &relay, NULL);
        if (!err)
            relay->capacity = c->bandwidth[r]; /* what others measured */
    }
    for (unsigned r = 0; r < c->relays && !err; r++)
        for (unsigned by = 1; by <= 2 && !err; by++)
            err = tun_directory_claim(c->dir, c->wall, key_of(c, r), c->day,
                                      relay_of(c, r)->desc.digest, key_of(c, (r + by) % c->relays),
                                      NULL, 0);
    assert(err == CV_ERR_OK);
}

/* As a node that hears of some relays. Its own is none of its guards. */
static void choose(struct circuits *c, unsigned node) {
    struct tun_guards *g = &c->guards[node];
    struct tun_guard_contact contact[TUN_CONTACTS_MAX];
    size_t n = 0;
    unsigned start = (unsigned)cv_rng_below(c->rng, c->relays);
    for (unsigned i = 0; i < c->relays && n < TUN_CONTACTS_MAX; i++) {
        unsigned r = (start + i * 7) % c->relays; /* 7: no divisor of the sizes used */
        struct tun_relay *relay = relay_of(c, r);
        if (r != node)
            contact[n++] = (struct tun_guard_contact){relay, relay->desc.addr[0]};
    }
    tun_guards_choose_first(g, contact, n, c->relays, c->dir, c->wall, c->rng);
    for (unsigned i = 0; i < TUN_GUARD_FIRSTS; i++)
        g->first[i].up = g->first[i].set;
    for (bool own = true; own;) {
        own = false;
        tun_guards_choose_second(g, c->dir, c->wall, c->rng);
        for (unsigned i = 0; i < TUN_SECOND_MAX; i++)
            if (g->second[i].set && number_of(c, g->second[i].identity) == node) {
                memset(&g->second[i], 0, sizeof g->second[i]);
                own = true;
            }
    }
}

void circuits_begin(struct circuits *c) {
    assert(c->nodes <= CIRCUITS_NODES_MAX && c->relays <= c->nodes);
    c->dir = tun_directory_new(network, c->rng);
    assert(c->dir);
    describe(c);
    for (unsigned i = 0; i < c->nodes; i++) {
        choose(c, i);
        tun_third_init(&c->third[i], c->rng);
    }
}

void circuits_end(struct circuits *c) {
    c->dir = tun_directory_free(c->dir);
}

void circuits_day(struct circuits *c) {
    if (tun_descriptor_day(c->wall) == c->day)
        return;
    describe(c);
    for (unsigned i = 0; i < c->nodes; i++) {
        tun_guards_retire(&c->guards[i], c->dir, true, c->wall);
        choose(c, i);
    }
}

/* Does a guard, or the relay itself, stand where others are shown who stands? */
static bool shows_us(const struct circuits *c, unsigned node, const struct tun_path *p,
                     bool chosen) {
    bool shows = false;
    for (unsigned i = 2; i + !chosen < p->n; i++)
        shows |= number_of(c, p->hop[i]->desc.identity) == node ||
                 tun_guards_is_first(&c->guards[node], p->hop[i]->desc.identity);
    return shows;
}

unsigned circuits_path(struct circuits *c, unsigned node, enum tun_purpose purpose, int last,
                       unsigned ret[TUN_HOPS_MAX]) {
    struct tun_path_request req = {.purpose = purpose};
    struct cv_now now = {.mono = CV_SEC(1), .wall = c->wall};
    struct tun_path path;
    if (last >= 0)
        req.named = relay_of(c, (unsigned)last);
    /* One directory for all: whose relay is its own is said for this choice. */
    struct tun_relay *own = node < c->relays ? relay_of(c, node) : NULL;
    if (purpose == TUN_PURPOSE_JOIN || purpose == TUN_PURPOSE_WAIT ||
        purpose == TUN_PURPOSE_PUBLISH)
        req.third = &c->third[node];
    if (c->apart)
        req.third = NULL;
    if (own)
        own->ours = true;
    enum cv_err err;
    do
        err = tun_path_choose(&path, c->dir, &c->guards[node], &req, &now, c->rng);
    while (!err && c->apart && shows_us(c, node, &path, last < 0));
    if (own)
        own->ours = false;
    if (err)
        return 0;
    for (unsigned i = 0; i < path.n; i++)
        ret[i] = number_of(c, path.hop[i]->desc.identity);
    return path.n;
}

bool circuits_is_guard(const struct circuits *c, unsigned node, unsigned r) {
    for (unsigned i = 0; i < TUN_GUARD_SPARE; i++)
        if (c->guards[node].first[i].set &&
            memcmp(c->guards[node].first[i].identity, key_of(c, r), CV_KEY) == 0)
            return true;
    return false;
}
