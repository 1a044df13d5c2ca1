/*
 * Every (state x event) cell of an open swarm, as the node drives it: hidden ones from the first
 * look for seeders to the last part that is shared, one that a relay shares openly (its viewer),
 * and direct ones. What happens is told by the two engines, by the user, by both clocks and a
 * sleep. (Through an exit: test_exitway.c.)
 */
#include <string.h>

#include "crypto/dnssec.h"
#include "crypto/hash.h"
#include "crypto/keys.h"
#include "crypto/rng_seeded.h"
#include "node/state.h"
#include "node/tests/empty_store.h"
#include "node/tests/requests.h"
#include "support/suite.h"
#include "tunnel/hidden.h"
#include "tunnel/relaycmd.h"

CV_SUITE(node_swarm, .init = cv_crypto_init);

enum { NOON = 20000 * 86400 + 12 * 3600, ASKED = 77, ALL = 128 };
#define START CV_SEC(100000)

static struct cv_rng_seeded dice;
static struct cv_rng rng;
static unsigned have; /* chunks in the store */

static enum cv_err known_size(void *ctx, struct ppsp_store_size *ret) {
    (void)ctx;
    *ret = (struct ppsp_store_size){.chunks = ALL, .octets = ALL * 1024};
    return CV_ERR_OK;
}

/* One peak, which is the root, which is the swarm's id. */
static enum cv_err root_only(void *ctx, uint64_t bin, uint32_t count, uint8_t *hashes) {
    (void)ctx;
    memset(hashes, 0, count * 32);
    if (bin <= ALL - 1 && ALL - 1 < bin + count)
        hashes[(ALL - 1 - bin) * 32] = 1;
    return CV_ERR_OK;
}

static enum cv_err have_some(void *ctx, uint64_t *words, size_t count) {
    (void)ctx;
    memset(words, 0, count * sizeof *words);
    for (unsigned i = 0; i < have && i < 64 * count; i++)
        words[i / 64] |= UINT64_C(1) << i % 64;
    return CV_ERR_OK;
}

enum event {
    /* the ppsp engine */
    CHUNKS,
    COMPLETE,
    PEER_UP,
    PEER_AGAIN,     /* it calls anew */
    PEER_DOWN,      /* a peer of the circuit */
    PEER_DOWN_ELSE, /* .. of one that is gone */
    SIZE,
    SIZE_DIFFERS,
    LIVE_TUNED,
    LIVE_DROPPED,
    LIVE_ENDED,
    CONTACTS_WANTED,
    CONTACT,
    STORE_ERROR,
    OF_NOBODY, /* any of a swarm that was closed */
    /* the tunnel */
    SHARED,
    NOBODY,      /* of the view */
    NOBODY_ELSE, /* .. of another */
    MET,
    LEFT,
    READY,
    READY_FULL, /* .. and no request fits into it */
    OTHER_READY,
    DOWN,
    OTHER_DOWN,
    OPENED,
    OPENED_OTHER, /* under another number */
    REFUSED,
    REFUSED_OTHER,
    SILENCE,
    JUNK, /* another command in answer */
    /* time */
    MOMENT,
    SECONDS,
    CLOCK_BACK,
    CLOCK_AHEAD,
    SLEEP,
    /* the user */
    STARVES,
    GIVEN, /* a peer */
    AGAIN, /* opened once more */
    CLOSE,
    EVENTS
};

/* What it does: . nothing  o a circuit is opened  q the relay is asked by it  v it looks for
 * seeders  s it becomes one  b both  h its circuit is hung up, or gone  x it is closed. What it
 * says: . nothing  r chunks are ready  C complete  u d peers come and go  N nobody is there S
 * shared  L the length differs  t p e of a broadcast: begins, drops, ends  E its store failed. */
/* clang-format off */
static const struct {
    const char *name;
    enum node_swarm_mode mode;
    unsigned have;
    bool complete;          /* we are the source */
    bool no_room;           /* the tunnel had no place for it */
    bool no_share;
    bool circuit, asked, live;
    const char *does, *says;
} states[] = {
    {"no room yet", NODE_SWARM_HIDDEN, 0, false, true, false, false, false, false,
     ".s..............................v..v...x",
     "rCuddd.Ltpe..E.........................."},
    {"looks", NODE_SWARM_HIDDEN, 0, false, false, false, false, false, false,
     ".s.....................................x",
     "rCuddd.Ltpe..E..N......................."},
    {"has enough to share", NODE_SWARM_HIDDEN, 70, false, false, false, false, false, false,
     "ss.....................................x",
     "rCuddd.Ltpe..E..N......................."},
    {"shall not share", NODE_SWARM_HIDDEN, 70, false, false, true, false, false, false,
     ".......................................x",
     "rCuddd.Ltpe..E..N......................."},
    {"looks and shares", NODE_SWARM_HIDDEN, 71, false, false, false, false, false, false,
     ".......................................x",
     "rCuddd.Ltpe..E.SN......................."},
    {"has all", NODE_SWARM_HIDDEN, ALL, false, false, false, false, false, false,
     ".......................................x",
     "rCuddd.Ltpe..E.S........................"},
    {"source", NODE_SWARM_HIDDEN, ALL, true, false, false, false, false, false,
     ".......................................x",
     "rCuddd.Ltpe..E.S........................"},
    {"source, no room yet", NODE_SWARM_HIDDEN, ALL, true, true, false, false, false, false,
     ".s..............................s..s...x",
     "rCuddd.Ltpe..E.........................."},
    {"watches a broadcast", NODE_SWARM_HIDDEN, 0, false, false, false, false, false, true,
     ".s.....................................x",
     "rCuddd.Ltpe..E..N......................."},
    {"broadcasts", NODE_SWARM_HIDDEN, 0, true, false, false, false, false, true,
     ".......................................x",
     "rCuddd.Ltpe..E.S........................"},
    {"openly, no circuit", NODE_SWARM_OPEN, 0, false, false, false, false, false, false,
     "...............................ooooo...x",
     "rCuddd.Ltpe..E.........................."},
    {"openly, opening", NODE_SWARM_OPEN, 0, false, false, false, true, false, false,
     "....h...............qh.h...............x",
     "rCuddd.Ltpe..E.........................."},
    {"openly, asked", NODE_SWARM_OPEN, 0, false, false, false, true, true, false,
     "....h...............qh.h...h.hh........x",
     "rCuddd.Ltpe..E.............N.NN........."},
    {"directly", NODE_SWARM_DIRECT, 0, false, false, false, false, false, false,
     ".......................................x",
     "rCuddd.Ltpe..E.........................."},
    {"directly, all", NODE_SWARM_DIRECT, ALL, true, false, false, false, false, false,
     ".......................................x",
     "rCuddd.Ltpe..E.........................."},
};
/* clang-format on */

/* ---- a node with such a swarm ---- */

static struct node *make(void) {
    struct node_config cfg = {
        .loopback = true, .main_family = 4, .direct = true, .direct_port = 4001};
    uint8_t seed[CV_KEY] = {7};
    struct node *n = NULL;
    struct cv_now now = {.mono = START, .wall = NOON};
    cv_rng_seeded_init(&dice, 1);
    rng = cv_rng_seeded(&dice);
    node_network_id("test", cfg.network_id);
    cv_ed25519_from_seed(&cfg.identity_secret, seed);
    cr_assert_eq(node_new(&cfg, &rng, now, &n), CV_ERR_OK);
    return n;
}

static size_t sign_nothing(void *ctx, const uint8_t *msg, size_t len,
                           uint8_t ret[CV_DNSSEC_SIGNATURE_MAX]) {
    (void)ctx;
    (void)msg;
    (void)len;
    (void)ret;
    return 0;
}

static struct node_swarm_config config(const struct node *n, size_t row) {
    static struct ppsp_store_ops store;
    store = empty_store;
    store.size = known_size;
    store.tree_get = root_only;
    store.have_load = have_some;
    struct node_swarm_config c = {.uri = {.integrity = PPSP_INTEGRITY_MERKLE,
                                          .hash = CV_SHA256,
                                          .addressing = PPSP_ADDRESSING_CHUNK32,
                                          .chunk_size = 1024,
                                          .swarm_id = {1},
                                          .swarm_id_len = 32,
                                          .length = ALL * 1024},
                                  .store = &store,
                                  .mode = states[row].mode,
                                  .complete = states[row].complete,
                                  .no_share = states[row].no_share,
                                  .at = {5}};
    memcpy(c.uri.network_id, n->cfg.network_id, sizeof c.uri.network_id);
    if (!states[row].live)
        return c;
    struct cv_dnssec_secret *key;
    cr_assert_eq(cv_dnssec_secret_from_seed((uint8_t[CV_KEY]){1}, &key), CV_ERR_OK);
    c.uri.kind = NODE_URI_LIVE;
    c.uri.integrity = PPSP_INTEGRITY_UNIFIED;
    c.uri.length = 0;
    c.uri.swarm_id[0] = (uint8_t)cv_dnssec_alg(key);
    c.uri.swarm_id_len = 1 + cv_dnssec_public_of(key, c.uri.swarm_id + 1);
    cv_dnssec_secret_free(key);
    c.live = (struct ppsp_live_config){.window = PPSP_LIVE_WINDOW_MIN,
                                       .latency = NODE_LIVE_LATENCY,
                                       .sign = states[row].complete ? sign_nothing : NULL,
                                       .munro_chunks = states[row].complete ? 16 : 0};
    return c;
}

static void lose(struct node *n, cv_handle *hidden) {
    if (*hidden)
        tun_hidden_close(n->client, &n->now, *hidden);
    *hidden = 0;
}

static struct node_swarm *put(struct node *n, size_t row) {
    struct node_swarm_config c = config(n, row);
    struct node_event ev;
    cv_handle h;
    have = states[row].have;
    requests.full = true;
    cr_assert_eq(node_swarm_open(n, n->now, &c, &h), CV_ERR_OK);
    struct node_swarm *s = node_swarm_get(n, h);
    if (states[row].no_room) {
        lose(n, &s->view);
        lose(n, &s->share);
    }
    if (have == 70) { /* they have just come */
        lose(n, &s->share);
        s->worth_sharing = false;
    }
    s->circuit = states[row].circuit ? CIRCUIT : 0;
    s->transaction = states[row].asked ? ASKED : 0;
    if (states[row].asked) {
        struct cv_endpoint ep = cv_endpoint_circuit(CIRCUIT, 0);
        struct ppsp_peer_props props = {.mtu = TUN_MTU_FORWARD, .hidden = true, .initiate = true};
        cr_assert_eq(ppsp_peer_add(s->engine, n->now, s->ppsp, &ep, &props), CV_ERR_OK);
    }
    while (node_poll_event(n, &ev))
        ;
    return s;
}

/* ---- events ---- */

static void engine_says(struct node *n, struct node_swarm *s, enum event e) {
    static const enum ppsp_event_type types[] = {
        [CHUNKS] = PPSP_EVENT_CHUNKS_READY,   [COMPLETE] = PPSP_EVENT_COMPLETE,
        [PEER_UP] = PPSP_EVENT_PEER_UP,       [PEER_AGAIN] = PPSP_EVENT_PEER_DOWN,
        [PEER_DOWN] = PPSP_EVENT_PEER_DOWN,   [PEER_DOWN_ELSE] = PPSP_EVENT_PEER_DOWN,
        [SIZE] = PPSP_EVENT_SIZE_KNOWN,       [SIZE_DIFFERS] = PPSP_EVENT_SIZE_KNOWN,
        [LIVE_TUNED] = PPSP_EVENT_LIVE_TUNED, [LIVE_DROPPED] = PPSP_EVENT_LIVE_DROPPED,
        [LIVE_ENDED] = PPSP_EVENT_LIVE_ENDED, [CONTACTS_WANTED] = PPSP_EVENT_CONTACTS_WANTED,
        [CONTACT] = PPSP_EVENT_CONTACT,       [STORE_ERROR] = PPSP_EVENT_STORE_ERROR,
        [OF_NOBODY] = PPSP_EVENT_COMPLETE,
    };
    struct ppsp_event ev = {.type = types[e],
                            .swarm = e == OF_NOBODY ? s->ppsp + 1000 : s->ppsp,
                            .endpoint =
                                cv_endpoint_circuit(e == PEER_DOWN_ELSE ? CIRCUIT + 1 : CIRCUIT, 0),
                            .err = e == PEER_AGAIN                    ? CV_ERR_AGAIN
                                   : e == SIZE_DIFFERS                ? CV_ERR_DIFFERS
                                   : e == STORE_ERROR                 ? CV_ERR_FULL
                                   : types[e] == PPSP_EVENT_PEER_DOWN ? CV_ERR_TIMEDOUT
                                                                      : CV_ERR_OK,
                            .last = 3,
                            .octets = 99999,
                            .id_len = 20};
    node_swarm_on_ppsp(n, n->now, s->engine, &ev);
}

static void tunnel_says(struct node *n, const struct node_swarm *s, enum event e) {
    struct tun_event ev = {.kind = TUN_EVENT_REPLY};
    bool error = e == REFUSED || e == REFUSED_OTHER;
    ev.reply.circuit = CIRCUIT;
    ev.reply.transaction = e == OPENED_OTHER || e == REFUSED_OTHER ? ASKED + 1 : ASKED;
    ev.reply.command = error ? TUN_CMD_ERROR : e == JUNK ? TUN_CMD_RESULT : TUN_CMD_OPENED;
    ev.reply.err = error ? CV_ERR_DENIED : e == SILENCE ? CV_ERR_TIMEDOUT : CV_ERR_OK;
    if (e == SHARED || e == NOBODY || e == NOBODY_ELSE) {
        ev = (struct tun_event){.kind = TUN_EVENT_HIDDEN_STATE};
        ev.hidden_state.hidden = e == SHARED ? s->share : e == NOBODY ? s->view : 0xdeadbeef;
        ev.hidden_state.state = e == SHARED ? TUN_HIDDEN_SHARED : TUN_HIDDEN_NOBODY;
    } else if (e == MET) {
        ev = (struct tun_event){.kind = TUN_EVENT_PEER_UP};
        ev.peer_up.hidden = s->view;
        ev.peer_up.endpoint = cv_endpoint_circuit(CIRCUIT + 2, 0);
        ev.peer_up.mtu = TUN_MTU_RENDEZVOUS;
    } else if (e == LEFT) {
        ev = (struct tun_event){.kind = TUN_EVENT_PEER_DOWN};
        ev.peer_down.endpoint = cv_endpoint_circuit(CIRCUIT + 2, 0);
    } else if (e == READY || e == READY_FULL || e == OTHER_READY) {
        requests.full = e == READY_FULL;
        ev = (struct tun_event){.kind = TUN_EVENT_CIRCUIT_READY};
        ev.circuit_ready.circuit = e != OTHER_READY ? CIRCUIT : CIRCUIT + 1;
    } else if (e == DOWN || e == OTHER_DOWN) {
        ev = (struct tun_event){.kind = TUN_EVENT_CIRCUIT_DOWN};
        ev.circuit_down.circuit = e == DOWN ? CIRCUIT : CIRCUIT + 1;
    }
    node_route_on_tunnel(n, n->now, &ev);
}

static void time_passes(struct node *n, enum event e) {
    struct cv_now now = n->now;
    now.mono += e == SECONDS ? NODE_SWARM_RETRY : e == SLEEP ? CV_SEC(86400) : CV_MSEC(60);
    now.wall += e == CLOCK_BACK ? -86400 : e == CLOCK_AHEAD || e == SLEEP ? 86400 : 0;
    node_openly_on_timeout(n, now);
    if (now.mono >= n->swarm_retry_at)
        node_swarm_retry(n, now);
    n->now = now;
}

static void user_does(struct node *n, const struct node_swarm *s, size_t row, enum event e) {
    cv_handle h = node_swarm_handle(n, s), again;
    struct node_swarm_config c = config(n, row);
    struct cv_addr at;
    bool direct = states[row].mode == NODE_SWARM_DIRECT;
    cr_assert_eq(cv_addr_parse("127.0.0.9:7000", &at), CV_ERR_OK);
    if (e == STARVES)
        node_starves(n, n->now, h);
    else if (e == GIVEN)
        cr_expect_eq(node_swarm_peer(n, n->now, h, &at), direct ? CV_ERR_OK : CV_ERR_DENIED);
    else if (e == AGAIN)
        cr_expect_eq(node_swarm_open(n, n->now, &c, &again), CV_ERR_EXIST);
    else
        node_swarm_close(n, n->now, h);
}

static void happens(struct node *n, struct node_swarm *s, size_t row, enum event e) {
    if (e <= OF_NOBODY)
        engine_says(n, s, e);
    else if (e <= JUNK)
        tunnel_says(n, s, e);
    else if (e <= SLEEP)
        time_passes(n, e);
    else
        user_does(n, s, row, e);
}

/* ---- what is seen ---- */

static char does(const struct node *n, const struct node_swarm *s, const struct node_swarm *was) {
    struct tun_hidden_info info;
    bool view = s->view && !was->view, share = s->share && !was->share;
    if (!s->used)
        return tun_hidden_info(n->client, was->view, &info) &&
                       tun_hidden_info(n->client, was->share, &info) && !s->announce && !s->circuit
                   ? 'x'
                   : '?';
    if (s->view != was->view && !view)
        return '?';
    if (s->share != was->share && !share)
        return '?';
    if (view || share)
        return view && share ? 'b' : view ? 'v' : 's';
    if (s->circuit && !was->circuit)
        return s->circuit == CIRCUIT ? 'o' : '?';
    if (s->circuit && s->transaction != was->transaction)
        return s->transaction == requests.last && requests.command == TUN_CMD_OPEN ? 'q' : '?';
    if (s->circuit != was->circuit)
        return s->circuit == 0 && s->transaction == 0 ? 'h' : '?';
    return '.';
}

static char says(struct node *n, const struct node_swarm *s) {
    static const char letters[] = {
        [NODE_EVENT_SHARED] = 'S',         [NODE_EVENT_NOBODY] = 'N',
        [NODE_EVENT_PEER_UP] = 'u',        [NODE_EVENT_PEER_DOWN] = 'd',
        [NODE_EVENT_CHUNKS_READY] = 'r',   [NODE_EVENT_COMPLETE] = 'C',
        [NODE_EVENT_LENGTH_DIFFERS] = 'L', [NODE_EVENT_STORE_ERROR] = 'E',
        [NODE_EVENT_LIVE_TUNED] = 't',     [NODE_EVENT_LIVE_DROPPED] = 'p',
        [NODE_EVENT_LIVE_ENDED] = 'e',     [NODE_EVENT_SAVE] = 0};
    struct node_event ev;
    char got = '.';
    while (node_poll_event(n, &ev)) {
        if (ev.kind == NODE_EVENT_SAVE)
            continue;
        cr_expect(ev.swarm == node_swarm_handle(n, s));
        got = got == '.' && letters[ev.kind] ? letters[ev.kind] : '?';
    }
    return got;
}

Test(node_swarm, every_state_and_every_event) {
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        char got[2][EVENTS + 1] = {0};
        for (enum event e = 0; e < EVENTS; e++) {
            struct node *n = make();
            struct node_swarm *s = put(n, i);
            struct node_swarm was = *s;
            requests.full = false;
            happens(n, s, i, e);
            got[0][e] = does(n, s, &was);
            got[1][e] = says(n, s);
            cr_expect_eq(s->complete, was.complete || e == COMPLETE, "%s, event %u", states[i].name,
                         e);
            node_free(n);
        }
        cr_expect_str_eq(got[0], states[i].does, "%s, 0:\n got %s\nwant %s", states[i].name, got[0],
                         states[i].does);
        cr_expect_str_eq(got[1], states[i].says, "%s, 1:\n got %s\nwant %s", states[i].name, got[1],
                         states[i].says);
    }
}

/* The one before it still stands: a relay that takes on no visitors any more shows it until its
 * end. */
Test(node_swarm, a_refused_successor_is_no_lack_of_peers) {
    size_t row = 0;
    while (!states[row].asked)
        row++;
    for (enum event e = REFUSED; e <= JUNK; e++) {
        if (states[row].says[e] != 'N')
            continue;
        struct node *n = make();
        struct node_swarm *s = put(n, row);
        struct cv_endpoint ep = cv_endpoint_circuit(CIRCUIT + 1, 0);
        struct ppsp_peer_props props = {.mtu = TUN_MTU_FORWARD, .hidden = true, .initiate = true};
        cr_assert_eq(ppsp_peer_add(s->engine, n->now, s->ppsp, &ep, &props), CV_ERR_OK);
        s->left = CIRCUIT + 1;
        s->left_ends = cv_usec_add(n->now.mono, NODE_CIRCUIT_CHANGE);
        tunnel_says(n, s, e);
        cr_expect(!s->circuit && s->left == CIRCUIT + 1, "event %u", e);
        cr_expect_eq(says(n, s), '.', "event %u", e);
        node_free(n);
    }
}
