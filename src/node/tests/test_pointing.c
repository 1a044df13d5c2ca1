/*
 * Every (state x event) cell of a channel's recordings: of who watches the channel and reads them
 * from its pointer, and of who writes them there along with a swarm of his.
 */
#include <string.h>

#include "crypto/dnssec.h"
#include "crypto/hash.h"
#include "crypto/keys.h"
#include "crypto/rng_seeded.h"
#include "node/recordings.h"
#include "node/state.h"
#include "node/tests/empty_store.h"
#include "support/suite.h"
#include "tunnel/hiddenstate.h"

CV_SUITE(node_pointing, .init = cv_crypto_init);

enum { NOON = 20000 * 86400 + 12 * 3600, KNOWN = 1000 };

static struct cv_rng_seeded dice;
static struct cv_rng rng;
static struct cv_dnssec_secret *key, *other_key;

enum event {
    NEWER,
    SAME,
    OLDER,
    FORGED, /* newer, by another key */
    JUNK,
    OF_NOBODY, /* newer, of what is not looked at */
    CIRCUITS,  /* can be built now */
    SECONDS,   /* until things are tried again */
    WRITE,     /* the user: say these */
    WRITE_JUNK,
    WRITE_NO_CHANNEL, /* of a film */
    CLOCK_BACK,
    CLOCK_AHEAD,
    SLEEP,
    CLOSE,
    EVENTS
};

/* . nothing  b it begins in the tunnel  k newer ones are known, which is said  r refused and
 * counted  i refused to the user  w written from now on  v .. as soon as circuits can be built
 * x closed, in the tunnel as well */
/* clang-format off */
static const struct {
    const char *name, *answers;
    bool live, circuits, known, writes;
} states[] = {
    {"a film",                  "rrrrrr..wii...x", false, true, false, false},
    {"watches, no circuits",    "rrrrrrb.iii...x", true, false, false, false},
    {"watches",                 "kkkrrr..iii...x", true, true, false, false},
    {"watches and knows",       "k..rrr..iii...x", true, true, true, false},
    {"writes, no circuits",     "rrrrrrb.vii...x", false, false, true, true},
    {"writes",                  "...rrr..wii...x", false, true, true, true},
};
/* clang-format on */

static struct node *make(void) {
    struct node_config cfg = {.loopback = true, .main_family = 4};
    uint8_t seed[CV_KEY] = {7};
    struct node *n = NULL;
    struct cv_now now = {.mono = CV_SEC(100000), .wall = NOON};
    cv_rng_seeded_init(&dice, 1);
    rng = cv_rng_seeded(&dice);
    node_network_id("test", cfg.network_id);
    cv_ed25519_from_seed(&cfg.identity_secret, seed);
    cr_assert_eq(node_new(&cfg, &rng, now, &n), CV_ERR_OK);
    return n;
}

static struct node_uri film(const struct node *n) {
    struct node_uri u = {.integrity = PPSP_INTEGRITY_MERKLE,
                         .hash = CV_SHA256,
                         .addressing = PPSP_ADDRESSING_CHUNK32,
                         .chunk_size = 1024,
                         .swarm_id = {1},
                         .swarm_id_len = 32,
                         .length = 100000};
    memcpy(u.network_id, n->cfg.network_id, sizeof u.network_id);
    return u;
}

static struct node_uri channel(const struct node *n) {
    struct node_uri u = film(n);
    u.kind = NODE_URI_LIVE;
    u.integrity = PPSP_INTEGRITY_UNIFIED;
    u.length = 0;
    u.swarm_id[0] = (uint8_t)cv_dnssec_alg(key);
    u.swarm_id_len = 1 + cv_dnssec_public_of(key, u.swarm_id + 1);
    return u;
}

static void write_list(const struct node *n, int64_t issued, const struct cv_dnssec_secret *by,
                       uint8_t ret[NODE_RECORDINGS_OCTETS]) {
    struct node_recordings list = {.issued = issued};
    struct node_uri u = film(n), c = channel(n);
    node_recordings_add(&list, &u, 1000);
    cr_assert_eq(node_recordings_write(ret, &list, &c, by), 1);
}

static struct node_swarm *put(struct node *n, size_t row) {
    struct node_swarm_config c = {
        .uri = states[row].live ? channel(n) : film(n),
        .store = &empty_store,
        .live = {.window = PPSP_LIVE_WINDOW_MIN, .latency = NODE_LIVE_LATENCY}};
    struct node_uri of = channel(n);
    struct node_event ev;
    uint8_t octets[NODE_RECORDINGS_OCTETS];
    cv_handle h;
    n->client_ready = states[row].circuits;
    cr_assert_eq(node_swarm_open(n, n->now, &c, &h), CV_ERR_OK);
    struct node_swarm *s = node_swarm_get(n, h);
    write_list(n, KNOWN, key, octets);
    if (states[row].writes)
        cr_assert_eq(node_point(n, n->now, h, &of, octets), CV_ERR_OK);
    while (node_poll_event(n, &ev))
        ;
    return s;
}

/* The tunnel's side of it, which struct node_pointing keeps for itself: the last one begun. */
static cv_handle pointed(const struct node *n, const struct node_swarm *s) {
    const struct tun_hiddens *all = tun_attached(n->client, TUN_USER_HIDDEN);
    const struct tun_hidden *h;
    cv_handle last = 0;
    uint32_t cursor = 0;
    while (all && (h = tun_handles_next(&all->swarms, &cursor)) != NULL)
        if (h->handle != s->view && h->handle != s->share)
            last = h->handle;
    return last;
}

static void says(struct node *n, const struct node_swarm *s, enum event e) {
    uint8_t octets[NODE_RECORDINGS_OCTETS];
    cv_handle hidden = pointed(n, s);
    write_list(n,
               e == SAME    ? KNOWN
               : e == OLDER ? KNOWN - 1
                            : KNOWN + 1,
               e == FORGED ? other_key : key, octets);
    if (e == JUNK)
        memset(octets, 7, sizeof octets);
    struct tun_event ev = {.kind = TUN_EVENT_POINTER};
    ev.pointer.hidden = e == OF_NOBODY || !hidden ? 0xdeadbeef : hidden;
    ev.pointer.octets = octets;
    node_route_on_tunnel(n, n->now, &ev);
}

static enum cv_err user(struct node *n, const struct node_swarm *s, enum event e) {
    struct node_uri of = e == WRITE_NO_CHANNEL ? film(n) : channel(n);
    uint8_t octets[NODE_RECORDINGS_OCTETS] = {7};
    if (e != WRITE_JUNK)
        write_list(n, KNOWN + 5, key, octets);
    return node_point(n, n->now, node_swarm_handle(n, s), &of, octets);
}

static enum cv_err happens(struct node *n, struct node_swarm *s, enum event e) {
    struct cv_now now = n->now;
    switch (e) {
    case NEWER:
    case SAME:
    case OLDER:
    case FORGED:
    case JUNK:
    case OF_NOBODY:
        says(n, s, e);
        break;
    case CIRCUITS:
        n->client_ready = true;
        node_swarm_retry(n, now);
        break;
    case WRITE:
    case WRITE_JUNK:
    case WRITE_NO_CHANNEL:
        return user(n, s, e);
    case CLOSE:
        node_swarm_close(n, now, node_swarm_handle(n, s));
        break;
    case SECONDS:
    case CLOCK_BACK:
    case CLOCK_AHEAD:
    case SLEEP:
    case EVENTS:
        now.mono += e == SECONDS ? NODE_SWARM_RETRY : e == SLEEP ? CV_SEC(86400) : 0;
        now.wall += e == CLOCK_BACK ? -86400 : e == SECONDS ? 5 : 86400;
        node_swarm_retry(n, now);
        break;
    }
    return CV_ERR_OK;
}

static unsigned told(struct node *n) {
    struct node_event ev;
    unsigned count = 0;
    while (node_poll_event(n, &ev))
        count += ev.kind == NODE_EVENT_RECORDINGS;
    return count;
}

struct seen {
    cv_handle hidden;
    int64_t issued;
    uint64_t refused;
};

static struct seen see(const struct node *n, const struct node_swarm *s) {
    const struct node_recordings *r = node_recordings(n, node_swarm_handle(n, s));
    return (struct seen){.hidden = pointed(n, s),
                         .issued = r ? r->issued : 0,
                         .refused = n->counters.pointers_refused};
}

static char became(struct node *n, const struct node_swarm *s, const struct seen *was,
                   enum cv_err err) {
    unsigned events = told(n);
    if (!s->used)
        return !s->pointing && pointed(n, s) == 0 ? 'x' : '?';
    struct seen is = see(n, s);
    if (err)
        return err == CV_ERR_INVAL && memcmp(&is, was, sizeof is) == 0 ? 'i' : '?';
    if (events)
        return events == 1 && is.issued > was->issued ? 'k' : '?';
    if (is.issued != was->issued)
        return is.issued != KNOWN + 5                  ? '?'
               : is.hidden && is.hidden != was->hidden ? 'w'
               : !n->client_ready                      ? 'v'
                                                       : '?';
    if (is.refused != was->refused)
        return 'r';
    return is.hidden == was->hidden ? '.' : was->hidden ? '?' : 'b';
}

Test(node_pointing, every_state_and_every_event) {
    cr_assert_eq(cv_dnssec_secret_from_seed((uint8_t[CV_KEY]){1}, &key), CV_ERR_OK);
    cr_assert_eq(cv_dnssec_secret_from_seed((uint8_t[CV_KEY]){2}, &other_key), CV_ERR_OK);
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        char got[EVENTS + 1] = {0};
        for (enum event e = 0; e < EVENTS; e++) {
            struct node *n = make();
            struct node_swarm *s = put(n, i);
            if (states[i].known && !states[i].writes) {
                says(n, s, SAME);
                cr_assert_eq(told(n), 1);
            }
            struct seen was = see(n, s);
            enum cv_err err = happens(n, s, e);
            got[e] = became(n, s, &was, err);
            node_free(n);
        }
        cr_expect_str_eq(got, states[i].answers, "%s:\n got %s\nwant %s", states[i].name, got,
                         states[i].answers);
    }
    cv_dnssec_secret_free(key);
    cv_dnssec_secret_free(other_key);
}
