/*
 * Five relays and a client, whole engines, that find each other and tell each other of
 * relays: descriptors, buckets, what they measured, and whether somebody is there (REACH).
 * Relays measure each other meanwhile, whatever becomes of their probes.
 * The input is a script of what relays say on the links between them, with the transactions
 * and tokens that are under way or with others: descriptors of their own, of others, second
 * ones, of relays that do not exist, at addresses where nobody lives; and of what the
 * network and the clock do.
 *
 * Property: no crash, no assertion, no leak; once served, an engine's next deadline lies in
 * the future; whoever is confirmed has two claims, whoever is passed on has answered, and
 * neither has signed two descriptors; a probe looks at somebody else between two relays
 * that are apart from him and each other, ends in time, and no relay begins more of them
 * than one a minute.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "fuzz/network.h"
#include "tunnel/bodies.h"
#include "tunnel/clientstate.h"
#include "tunnel/core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    RELAYS = 5,
    CLIENT = RELAYS,
    PARTIES,
    INVENTED = 4, /* relays that do not exist */
    STEPS = 60,
    SERVED = 3000, /* times that all engines are served, in one input */
};

#define NETWORK ((const uint8_t *)"fuzz-net")

static const struct cv_addr nowhere = {.ip = {127, 99, 0, 1}, .port = 9, .family = 4};

struct party {
    struct tunnel *t;
    struct cv_addr addr, elsewhere;
    struct cv_ed25519_secret identity_secret;
    struct cv_rng_seeded seed;
    struct cv_rng rng;
    cv_handle probe; /* the last that was seen */
    unsigned probes;
};

struct world {
    struct party party[PARTIES];
    struct cv_ed25519_secret invented[INVENTED];
    struct network net;
};

/* ---- what the nodes are told ---- */

static void events(void *ctx, unsigned i) {
    struct world *w = ctx;
    struct tun_event ev;
    while (tun_poll_event(w->party[i].t, &ev)) {
        if (ev.kind == TUN_EVENT_SAVE)
            tun_saved(w->party[i].t, &w->net.now, ev.save.which);
        for (unsigned r = 0; ev.kind == TUN_EVENT_NEED_CONTACTS && r < RELAYS; r++)
            (void)tun_contact(w->party[i].t, &w->net.now, &w->party[r].addr);
    }
}

/* ---- what relays can say ---- */

static struct tun_client *client_of(struct world *w, unsigned i) {
    return tun_attached(w->party[i].t, TUN_USER_CLIENT);
}

static const struct cv_ed25519_secret *whose(const struct world *w, uint8_t who) {
    who %= RELAYS + INVENTED;
    return who < RELAYS ? &w->party[who].identity_secret : &w->invented[who - RELAYS];
}

/* A descriptor: of a relay as it is, as it signs it once more, or of one that is not there. */
static size_t descriptor(struct world *w, uint8_t who, uint8_t how, uint8_t ret[TUN_DESCRIPTOR_MAX],
                         uint8_t ret_d[TUN_DIGEST]) {
    unsigned i = who % (RELAYS + INVENTED);
    struct tun_descriptor d = {.flags = TUN_RELAY_RELAY | TUN_RELAY_INTRO,
                               .suites = 1,
                               .day = tun_descriptor_day(w->net.now.wall) + (how >> 7),
                               .bandwidth = 100,
                               .addrs = 1};
    size_t len = 0;
    const uint8_t *own =
        i < RELAYS ? tun_own_descriptor(w->party[i].t, w->net.now.wall, &len) : NULL;
    if (own && !(how & 1)) {
        memcpy(ret, own, len);
    } else {
        if (own)
            (void)tun_descriptor_open(own, len, NETWORK, &d);
        d.bandwidth += how;
        if (!own || how & 2)
            d.addr[0] = nowhere;
        if (how & 4)
            d.addr[0] = w->party[how >> 3 & 3].addr;
        if (how & 8)
            memcpy(d.family[d.families++ % TUN_FAMILY_MAX], whose(w, how >> 4)->public_key, CV_KEY);
        memcpy(d.network_id, NETWORK, sizeof d.network_id);
        ssize_t n = tun_descriptor_sign(&d, whose(w, who), ret, TUN_DESCRIPTOR_MAX);
        len = n > 0 ? (size_t)n : 0;
    }
    tun_descriptor_digest(ret, len, ret_d);
    return len;
}

static struct tun_link *link_of(struct world *w, unsigned by, unsigned to) {
    uint32_t cursor = 0;
    struct tun_link *l;
    while ((l = tun_handles_next(&w->party[by].t->links, &cursor)))
        if (cv_addr_equal(&l->addr, &w->party[to].addr))
            return l;
    return NULL;
}

/* Of the question that `to` has asked `by`; 0: none. */
static uint32_t transaction(struct world *w, unsigned by, unsigned to) {
    const struct tun_neighbour *n =
        tun_contact_neighbour(client_of(w, to), w->party[by].identity_secret.public_key);
    return n ? n->sync.transaction : 0;
}

static void write_bucket(struct world *w, struct cv_rd *r, uint32_t id, struct cv_wr *out) {
    struct tun_pair pairs[TUN_BUCKET_PAIRS_MAX];
    uint8_t n = cv_rd_u8(r), raw[TUN_DESCRIPTOR_MAX];
    struct tun_bucket_answer m = {.transaction = id,
                                  .count = n < 200 ? n : 65535, /* of so many by parts */
                                  .pairs = (const uint8_t *)pairs,
                                  .n = n % (TUN_BUCKET_PAIRS_MAX + 1)};
    for (unsigned i = 0; i < m.n; i++) {
        uint8_t who = cv_rd_u8(r), how = cv_rd_u8(r);
        (void)descriptor(w, who, how, raw, pairs[i].d);
        memcpy(pairs[i].identity, whose(w, who)->public_key, CV_KEY);
        pairs[i].identity[0] ^= who & 128 ? how : 0; /* a name that nobody bears */
        if (who & 64)
            memset(pairs[i].d, 0, sizeof pairs[i].d); /* there are two */
    }
    tun_bucket_answer_write(out, &m);
}

static void write_question(struct world *w, struct cv_rd *r, uint8_t command, uint32_t id,
                           struct cv_wr *out) {
    uint8_t who = cv_rd_u8(r), how = cv_rd_u8(r), raw[TUN_DESCRIPTOR_MAX], d[TUN_DIGEST];
    uint32_t day = tun_descriptor_day(w->net.now.wall) + (how & 1);
    if (command == TUN_CMD_DESCRIPTORS) {
        struct tun_descriptors m = {
            .transaction = id, .day = day, .identities = whose(w, who)->public_key, .n = 1};
        tun_descriptors_write(out, &m);
        return;
    }
    struct tun_bucket m = {.transaction = id, .day = day, .from = who % 3};
    m.level = how & 4 ? TUN_BUCKET_CAPACITIES : how & 2 ? 4 : 0;
    if (m.level == 4 && how & 8)
        m.level = 8;
    m.bucket = m.level == 4 || m.level == 8 ? how >> 4 : 0;
    tun_bucket_write(out, &m);
    cv_wr_bytes(out, raw, descriptor(w, who, how, raw, d));
}

static void write_capacities(struct world *w, struct cv_rd *r, uint32_t id, struct cv_wr *out) {
    uint8_t rows[RELAYS * TUN_CAPACITY_ROW], how = cv_rd_u8(r);
    struct tun_capacities m = {.transaction = id, .count = how, .rows = rows, .n = how % RELAYS};
    for (unsigned i = 0; i < m.n; i++) {
        memcpy(rows + i * TUN_CAPACITY_ROW, whose(w, (uint8_t)i)->public_key, 8);
        rows[i * TUN_CAPACITY_ROW + 8] = (uint8_t)(how * i);
    }
    tun_capacities_write(out, &m);
}

/* DESCRIPTORS on the link of two of them. */
static void gossip(struct world *w, struct cv_rd *r) {
    uint8_t between = cv_rd_u8(r), what = cv_rd_u8(r);
    unsigned by = between % RELAYS, to = between / RELAYS % PARTIES;
    struct tun_link *l = link_of(w, by, to);
    struct tun_body b;
    tun_body_init(&b);
    uint32_t id = what & 64 ? what : transaction(w, by, to);
    struct tun_link_descriptors m = {.command = what & 1 ? TUN_CMD_BUCKET : TUN_CMD_DESCRIPTORS,
                                     .answer = what & 2,
                                     .body = b.buf};
    if (!m.answer) {
        write_question(w, r, m.command, id, &b.w);
    } else if (m.command == TUN_CMD_BUCKET) {
        (what & 4 ? write_capacities : write_bucket)(w, r, id, &b.w);
    } else {
        uint8_t who = cv_rd_u8(r), how = cv_rd_u8(r), raw[TUN_DESCRIPTOR_MAX], d[TUN_DIGEST];
        size_t len = what & 4 ? 0 : descriptor(w, who, how, raw, d);
        if (what & 8 && len)
            raw[how % len] ^= 1;
        tun_bytes_write(&b.w, &(struct tun_bytes){.transaction = id, .data = raw, .len = len});
    }
    m.len = cv_wr_len(&b.w) - (what & 128 && cv_wr_len(&b.w) ? 1 : 0);
    uint8_t buf[TUN_CONTROL_MAX];
    struct cv_wr out = cv_wr_init(buf, sizeof buf);
    tun_link_descriptors_write(&out, &m);
    if (l && !out.err && !b.w.err)
        (void)tun_link_control(w->party[by].t, l, TUN_LINKCMD_DESCRIPTORS, 0, buf, cv_wr_len(&out));
}

static void reach(struct world *w, struct cv_rd *r) {
    uint8_t between = cv_rd_u8(r), what = cv_rd_u8(r), where = cv_rd_u8(r);
    unsigned by = between % RELAYS, to = between / RELAYS % PARTIES;
    const struct tun_reach_state *s = &client_of(w, to)->reach;
    struct tun_link *l = link_of(w, by, to);
    struct tun_reach m = {.kind = what % 6, .token = {what}};
    m.addr = where & 1 ? nowhere : w->party[(where >> 1) % RELAYS].addr;
    m.addr.port ^= where >> 6;
    const uint8_t *known[] = {m.token, s->ask[what >> 5].token, s->job[what >> 5].token,
                              s->job[what >> 5].try_token};
    memmove(m.token, known[what >> 3 & 3], sizeof m.token);
    uint8_t buf[64];
    struct cv_wr out = cv_wr_init(buf, sizeof buf);
    tun_reach_write(&out, &m);
    if (l && !out.err)
        (void)tun_link_control(w->party[by].t, l, TUN_LINKCMD_REACH, 0, buf, cv_wr_len(&out));
}

/* Octets of the script, as either. */
static void junk(struct world *w, struct cv_rd *r) {
    uint8_t between = cv_rd_u8(r), len = cv_rd_u8(r);
    const uint8_t *raw = cv_rd_bytes(r, len % 64);
    unsigned by = between % RELAYS;
    struct tun_link *l = link_of(w, by, between / RELAYS % PARTIES);
    if (l && raw)
        (void)tun_link_control(w->party[by].t, l,
                               len & 64 ? TUN_LINKCMD_REACH : TUN_LINKCMD_DESCRIPTORS, 0, raw,
                               len % 64);
}

/* ---- the properties ---- */

static void check_probe(struct world *w, struct party *p) {
    const struct tun_client *c = tun_attached(p->t, TUN_USER_CLIENT);
    const struct tun_descriptor *hop[3];
    cv_usec now = w->net.now.mono;
    if (!c->probe.circuit)
        return;
    p->probes += c->probe.circuit != p->probe;
    p->probe = c->probe.circuit;
    assert(c->relay && p->probes <= 1 + now / CV_SEC(TUN_PROBE_S_MIN));
    assert(c->probe.at <= now + CV_SEC(20));
    assert(c->probe.trains < TUN_PROBE_TRAINS && c->probe.answered <= TUN_PROBE_TRAIN);
    for (unsigned i = 0; i < 3; i++) {
        const struct tun_relay_ref *ref = tun_circuit_hop(p->t, c->probe.circuit, i);
        const struct tun_relay *r =
            tun_directory_find(c->dir, ref->identity, ref->day); /* the day may have turned */
        assert(memcmp(ref->identity, p->identity_secret.public_key, CV_KEY) != 0);
        hop[i] = r ? &r->desc : NULL;
        for (unsigned k = 0; k < i; k++)
            assert(!hop[i] || !hop[k] || !tun_relay_conflict(hop[i], hop[k]));
    }
    assert(memcmp(tun_circuit_hop(p->t, c->probe.circuit, 1)->identity, c->probe.whom, CV_KEY) ==
           0);
}

static void check(void *ctx) {
    struct world *w = ctx;
    struct tun_relay *all[64];
    for (unsigned i = 0; i < PARTIES; i++) {
        struct tun_client *c = client_of(w, i);
        check_probe(w, &w->party[i]);
        uint32_t day = tun_descriptor_day(w->net.now.wall);
        size_t n = tun_directory_list(c->dir, day, TUN_DIRECTORY_CONFIRMED, all, 64);
        for (size_t k = 0; k < n; k++)
            assert(all[k]->claims >= 2 && !all[k]->liar && all[k]->raw_len &&
                   all[k]->measured <= TUN_CAPACITY_MAX);
        n = tun_directory_list(c->dir, day, TUN_DIRECTORY_PASSED, all, 64);
        for (size_t k = 0; k < n; k++)
            assert(all[k]->reached && !all[k]->liar);
    }
}

/* ---- the script ---- */

static void add(struct world *w, unsigned i) {
    struct party *p = &w->party[i];
    bool relay = i < RELAYS;
    uint8_t seed[CV_KEY] = {(uint8_t)(i + 1)};
    p->addr = (struct cv_addr){.ip = {127, (uint8_t)(10 + i), 0, 1}, .port = 4000, .family = 4};
    p->elsewhere = p->addr;
    p->elsewhere.port++;
    cv_ed25519_from_seed(&p->identity_secret, seed);
    cv_rng_seeded_init(&p->seed, i);
    p->rng = cv_rng_seeded(&p->seed);
    struct tun_config cfg = {.relay = relay,
                             .relay_flags =
                                 TUN_RELAY_RELAY | TUN_RELAY_INTRO | TUN_RELAY_RENDEZVOUS,
                             .address_class = TUN_ADDRESS_LOOPBACK,
                             .elsewhere = relay && i % 2 == 0,
                             .hurry = true,
                             .measure_from = 4,
                             .identity = relay ? &p->identity_secret : NULL,
                             .links_max = 32,
                             .hops_max = 64,
                             .circuits_max = 32,
                             .queue_octets_max = 256 * 1024};
    memcpy(cfg.network_id, NETWORK, sizeof cfg.network_id);
    if (relay)
        cfg.addr[0] = p->addr;
    p->t = tun_new(&cfg, &p->rng, &w->net.now);
    assert(p->t);
    network_add(&w->net, p->t, &p->addr, &p->elsewhere);
}

static void step(void *ctx, struct cv_rd *r) {
    struct world *w = ctx;
    uint8_t op = cv_rd_u8(r), a, b;
    switch (op % 8) {
    case 0:
        gossip(w, r);
        break;
    case 1:
        reach(w, r);
        break;
    case 2:
        junk(w, r);
        break;
    case 3:
        network_run_some(&w->net, r);
        break;
    case 4:
        network_sleep(&w->net, r);
        break;
    case 5:
        network_lose(&w->net, r);
        break;
    case 6:
        a = cv_rd_u8(r), b = cv_rd_u8(r);
        if (a & 128)
            w->net.flip = a, w->net.flip_at = (uint16_t)(b * 5);
        else
            w->net.end[a % PARTIES].deaf = b & 1;
        break;
    default:
        a = cv_rd_u8(r), b = cv_rd_u8(r);
        (void)tun_contact(w->party[a % PARTIES].t, &w->net.now,
                          b & 128 ? &nowhere : &w->party[b % RELAYS].addr);
        break;
    }
    network_settle(&w->net);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct world world;
    struct world *w = &world;
    cv_crypto_init();
    memset(w, 0, sizeof *w);
    network_begin(&w->net, SERVED, w, events);
    for (unsigned i = 0; i < INVENTED; i++) {
        uint8_t seed[CV_KEY] = {77, (uint8_t)i};
        cv_ed25519_from_seed(&w->invented[i], seed);
    }
    for (unsigned i = 0; i < PARTIES; i++)
        add(w, i);
    struct cv_rd r = cv_rd_init(data, size);
    network_run(&w->net, CV_MSEC(100) * (size ? cv_rd_u8(&r) % 64 : 0),
                NULL); /* until the script begins */
    network_script(&w->net, &r, STEPS, step, check);
    network_end(&w->net);
    return 0;
}
