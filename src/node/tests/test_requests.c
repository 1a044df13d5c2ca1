/*
 * Every request of somebody's circuit to a relay, in each state of the relay, and what it is
 * answered: what it shares, peers of direct swarms, items of the DHT, tokens. And when it
 * ends them: draining. tun_answer(), tun_drain() and tun_hops_end() are wrapped by the linker: the
 * test sees what is answered and ended, and says that a circuit is gone.
 */
#include <string.h>

#include "crypto/hash.h"
#include "crypto/keys.h"
#include "crypto/rng_seeded.h"
#include "node/exitfilter.h"
#include "node/state.h"
#include "node/tests/empty_store.h"
#include "reputation/store_memory.h"
#include "support/suite.h"
#include "tunnel/relaycmd.h"

CV_SUITE(node_requests, .init = cv_crypto_init);

enum { NOON = 20000 * 86400 + 12 * 3600, HOP = 77, OTHER_HOP = 78, FLOW = 3, TRANSACTION = 99 };

static struct cv_rng_seeded dice;
static struct cv_rng rng;

/* ---- what is answered ---- */

static struct {
    unsigned count;
    uint8_t command, code;
    bool gone; /* the circuit, or it is for something else by now: nothing but errors arrive */
} answered;

enum cv_err __wrap_tun_answer(struct tunnel *t, const struct cv_now *now, cv_handle hop,
                              uint32_t transaction, uint8_t command, const void *body, size_t len);
enum cv_err __wrap_tun_answer(struct tunnel *t, const struct cv_now *now, cv_handle hop,
                              uint32_t transaction, uint8_t command, const void *body, size_t len) {
    (void)t;
    (void)now;
    cr_expect_eq(hop, HOP);
    cr_expect_eq(transaction, TRANSACTION);
    if (answered.gone && command != TUN_CMD_ERROR)
        return CV_ERR_DENIED;
    answered.count++;
    answered.command = command;
    answered.code = command == TUN_CMD_ERROR && len ? *(const uint8_t *)body : 0;
    return CV_ERR_OK;
}

/* . nothing yet  o OPENED  c CONNECTED  r RESULT  p PUT_DONE  a number: of the error */
static char letter(void) {
    if (answered.count != 1)
        return answered.count ? '?' : '.';
    return answered.command == TUN_CMD_OPENED      ? 'o'
           : answered.command == TUN_CMD_CONNECTED ? 'c'
           : answered.command == TUN_CMD_RESULT    ? 'r'
           : answered.command == TUN_CMD_PUT_DONE  ? 'p'
           : answered.command == TUN_CMD_ERROR     ? (char)('0' + answered.code)
                                                   : '?';
}

/* ---- relays ---- */

enum request {
    OPEN,
    OPEN_AGAIN, /* by who has it open */
    OPEN_ELSE,  /* what is not shared */
    OPEN_CUT,
    CONNECT,
    CONNECT_AGAIN,
    CONNECT_MOVED,   /* the same flow, to another address */
    CONNECT_SERVICE, /* a port below 1024 */
    CONNECT_CUT,
    TOKENS,
    ITEMS,
    PEERS,
    LOOKUP_CUT,
    PUT,
    PUT_CUT,
    REQUESTS
};
static_assert(TUN_ERROR_BUSY == 8 && TUN_CMD_CONNECTED == 31, "one digit; every command");

/* clang-format off */
static const struct {
    const char *name, *answers;
    bool exit, shares, ledger, drains, full, gone;
} relays[] = {
    {"relay",           "4442666666.62.2", false, false, false, false, false, false},
    {"shares openly",   "oo42666666.62.2", false, true,  false, false, false, false},
    {"exit",            "4442cc6626..2.2", true,  false, false, false, false, false},
    {"with a ledger",   "4442666662.62.2", false, false, true,  false, false, false},
    {"both",            "oo42cc6622..2.2", true,  true,  true,  false, false, false},
    {"drains",          "8842888882..2.2", true,  true,  true,  true,  false, false},
    {"full of errands", "oo42cc662288282", true,  true,  true,  false, true,  false},
    {"circuit is gone", "6642666622..2.2", true,  true,  true,  false, false, true},
};
/* clang-format on */
enum { RELAYS = sizeof relays / sizeof *relays };

static struct node_uri film(const struct node *n, uint8_t id) {
    struct node_uri u = {.integrity = PPSP_INTEGRITY_MERKLE,
                         .hash = CV_SHA256,
                         .addressing = PPSP_ADDRESSING_CHUNK32,
                         .chunk_size = 1024,
                         .swarm_id = {id},
                         .swarm_id_len = 32,
                         .length = 100000};
    memcpy(u.network_id, n->cfg.network_id, sizeof u.network_id);
    return u;
}

/* RELAYS: none, a viewer. */
static struct node *make(size_t row, struct rep_store_memory *ledger) {
    struct node_config cfg = {.loopback = true, .main_family = 4, .relay = row < RELAYS};
    uint8_t seed[CV_KEY] = {7};
    struct node *n = NULL;
    cv_handle h;
    cfg.exit = cfg.relay && relays[row].exit;
    cfg.ledger_store = cfg.relay && relays[row].ledger ? rep_store_memory_ops(ledger) : NULL;
    cv_rng_seeded_init(&dice, 1);
    rng = cv_rng_seeded(&dice);
    node_network_id("test", cfg.network_id);
    cv_ed25519_from_seed(&cfg.identity_secret, seed);
    cr_assert_eq(cv_addr_parse("127.0.0.1:4000", &cfg.relay_addrs[0]), CV_ERR_OK);
    cfg.relay_addrs_count = cfg.relay;
    struct cv_now now = {.mono = CV_SEC(100000), .wall = NOON};
    cr_assert_eq(node_new(&cfg, &rng, now, &n), CV_ERR_OK);
    struct node_swarm_config c = {
        .uri = film(n, 1), .store = &empty_store, .mode = NODE_SWARM_OPEN, .complete = true};
    if (!cfg.relay)
        return n;
    if (relays[row].shares)
        cr_assert_eq(node_swarm_open(n, now, &c, &h), CV_ERR_OK);
    for (size_t i = 0; relays[row].full && i < NODE_ERRANDS_MAX; i++)
        n->errands[i] = (struct node_errand){.op = 1000000 + i, .hop = OTHER_HOP};
    return n;
}

/* ---- requests ---- */

static void put_item(struct cv_wr *w) {
    struct cv_ed25519_secret key;
    struct dht_item item = {.mutable_item = true, .seq = 5, .v = "5:abcde", .v_len = 7};
    struct tun_put m = {.seq = 5, .value = item.v, .value_len = item.v_len};
    uint8_t octets[DHT_SIGNED_MAX];
    cv_ed25519_from_seed(&key, (uint8_t[CV_KEY]){1});
    ssize_t len = dht_item_signed(&item, octets);
    cr_assert_gt(len, 0);
    cv_ed25519_sign(m.signature, &key, "", octets, (size_t)len);
    memcpy(m.public_key, key.public_key, CV_KEY);
    tun_put_write(w, &m);
}

/* Body with the transaction in front; its command. */
static uint8_t write_request(const struct node *n, enum request q, struct cv_wr *w) {
    static const uint8_t keys[CV_KEY] = {1};
    struct node_uri u = film(n, q == OPEN_ELSE ? 2 : 1);
    struct tun_open open = {.swarm_id = u.swarm_id, .len = u.swarm_id_len};
    struct tun_connect connect = {.flow = FLOW};
    struct tun_lookup lookup = {.n = 1, .keys = keys};
    switch (q) {
    case OPEN:
    case OPEN_AGAIN:
    case OPEN_ELSE:
    case OPEN_CUT:
        tun_open_write(w, &open);
        return TUN_CMD_OPEN;
    case CONNECT:
    case CONNECT_AGAIN:
    case CONNECT_MOVED:
    case CONNECT_SERVICE:
    case CONNECT_CUT:
        cr_assert_eq(cv_addr_parse(q == CONNECT_MOVED     ? "127.8.0.3:7000"
                                   : q == CONNECT_SERVICE ? "127.8.0.2:53"
                                                          : "127.8.0.2:7000",
                                   &connect.addr),
                     CV_ERR_OK);
        tun_connect_write(w, &connect);
        return TUN_CMD_CONNECT;
    case ITEMS:
    case PEERS:
    case LOOKUP_CUT:
        lookup.kind = q == PEERS ? TUN_LOOKUP_PEERS : TUN_LOOKUP_ITEMS;
        tun_lookup_write(w, &lookup);
        return TUN_CMD_LOOKUP;
    case PUT:
    case PUT_CUT:
        put_item(w);
        return TUN_CMD_PUT;
    case TOKENS:
    case REQUESTS:
        break;
    }
    cv_wr_bytes(w, (uint8_t[40]){0}, 40);
    return TUN_CMD_TOKEN_REQUEST;
}

/* As the node takes it from its relay engine (node.c). */
static void asks(struct node *n, uint8_t command, const uint8_t *body, size_t len) {
    struct tun_event ev = {
        .kind = TUN_EVENT_REQUEST,
        .request = {
            .hop = HOP, .transaction = TRANSACTION, .command = command, .body = body, .len = len}};
    cr_assert_eq(cv_addr_parse("127.0.0.5:4000", &ev.request.from), CV_ERR_OK);
    if (command == TUN_CMD_OPEN)
        node_openly_on_request(n, n->now, &ev);
    else if (command == TUN_CMD_CONNECT)
        node_exit_on_connect(n, n->now, &ev);
    else if (command == TUN_CMD_TOKEN_REQUEST)
        node_priority_on_request(n, n->now, &ev);
    else
        node_discovery_on_request(n, n->now, &ev);
}

static void request(struct node *n, enum request q) {
    uint8_t buf[TUN_DATAGRAM];
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    uint8_t command = write_request(n, q, &w);
    cr_assert_not(w.err);
    bool cut = q == OPEN_CUT || q == CONNECT_CUT || q == LOOKUP_CUT || q == PUT_CUT;
    asks(n, command, buf + 4, cut ? 1 : cv_wr_len(&w) - 4);
}

static unsigned visitors(const struct node *n) {
    struct ppsp_peer_stats ps[4];
    for (size_t i = 0; n->open && i < NODE_SWARMS_MAX; i++)
        if (n->swarms[i].used)
            return (unsigned)ppsp_peers(n->open, n->swarms[i].ppsp, ps, 4);
    return 0;
}

static uint64_t flows(const struct node *n) {
    const struct exit_counters *c = node_exit_counters(n);
    return c ? c->flows : 0;
}

static unsigned errands(const struct node *n) {
    unsigned count = 0;
    for (size_t i = 0; i < NODE_ERRANDS_MAX; i++)
        count += n->errands[i].op != 0;
    return count;
}

Test(node_requests, every_request_in_every_state) {
    for (size_t i = 0; i < RELAYS; i++) {
        char got[REQUESTS + 1] = {0};
        for (enum request q = 0; q < REQUESTS; q++) {
            struct rep_store_memory *ledger = rep_store_memory_new();
            struct node *n = make(i, ledger);
            memset(&answered, 0, sizeof answered);
            if (q == OPEN_AGAIN)
                request(n, OPEN);
            if (q == CONNECT_AGAIN || q == CONNECT_MOVED)
                request(n, CONNECT);
            answered.count = 0;
            answered.gone = relays[i].gone;
            node_drain(n, n->now, relays[i].drains);
            unsigned before = errands(n);
            request(n, q);
            got[q] = letter();
            cr_expect_eq(errands(n) - before, got[q] == '.', "%s, %u", relays[i].name, q);
            if (relays[i].gone && q != CONNECT_MOVED)
                cr_expect(flows(n) == 0 && visitors(n) == 0, "%s, %u: something stays",
                          relays[i].name, q);
            if (got[q] == 'o' || got[q] == 'c')
                cr_expect(got[q] == 'o' ? visitors(n) == 1 : flows(n) == 1, "%s, %u",
                          relays[i].name, q);
            node_free(n);
            rep_store_memory_free(ledger);
        }
        cr_expect_str_eq(got, relays[i].answers, "%s:\n got %s\nwant %s", relays[i].name, got,
                         relays[i].answers);
    }
}

Test(node_requests, no_other_command_does_anything) {
    static const uint8_t body[40] = {1};
    for (unsigned command = 0; command <= TUN_CMD_CONNECTED + 1; command++) {
        if (command == TUN_CMD_OPEN || command == TUN_CMD_CONNECT ||
            command == TUN_CMD_TOKEN_REQUEST || command == TUN_CMD_LOOKUP || command == TUN_CMD_PUT)
            continue;
        struct rep_store_memory *ledger = rep_store_memory_new();
        struct node *n = make(4, ledger);
        memset(&answered, 0, sizeof answered);
        asks(n, (uint8_t)command, body, sizeof body);
        cr_expect_eq(letter(), '0' + TUN_ERROR_REFUSED, "command %u", command);
        node_free(n);
        rep_store_memory_free(ledger);
    }
}

/* ---- errands that end ---- */

Test(node_requests, what_an_errand_is_answered) {
    static const struct {
        const char *name;
        enum request what;
        bool found, gone;
        unsigned stored;
        char answer;
    } rows[] = {{"an item", ITEMS, true, false, 0, 'r'},
                {"no item", ITEMS, false, false, 0, 'r'},
                {"peers", PEERS, true, false, 0, 'r'},
                {"no peers", PEERS, false, false, 0, 'r'},
                {"put", PUT, false, false, 4, 'p'},
                {"put nowhere", PUT, false, false, 0, 'p'},
                {"an item, for who is gone", ITEMS, true, true, 0, '.'},
                {"put, for who is gone", PUT, false, true, 4, 'p'}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rep_store_memory *ledger = rep_store_memory_new();
        struct node *n = make(4, ledger);
        struct cv_addr at;
        struct dht_item item = {.mutable_item = true, .seq = 9};
        memset(&answered, 0, sizeof answered);
        request(n, rows[i].what);
        struct dht_event ev = {.op = n->errands[0].op};
        cr_assert_neq(ev.op, 0);
        cr_assert_eq(cv_addr_parse("127.8.0.2:7000", &at), CV_ERR_OK);
        if (rows[i].gone)
            node_discovery_on_hop_down(n, n->now, HOP);
        ev.kind = rows[i].what == ITEMS ? DHT_EVENT_ITEM : DHT_EVENT_PEERS;
        if (rows[i].what == ITEMS) {
            ev.item = &item;
        } else {
            ev.peers.v = &at;
            ev.peers.n = 1;
        }
        if (rows[i].found)
            node_discovery_on_dht(n, n->now, &ev);
        ev = (struct dht_event){.op = ev.op, .kind = DHT_EVENT_DONE};
        ev.done.stored = rows[i].stored;
        node_discovery_on_dht(n, n->now, &ev);
        cr_expect_eq(letter(), rows[i].answer, "%s: %c", rows[i].name, letter());
        cr_expect_eq(errands(n), 0, "%s", rows[i].name);
        node_free(n);
        rep_store_memory_free(ledger);
    }
}

/* ---- draining ---- */

static struct { unsigned on, off, idle, all; } drained;

void __wrap_tun_drain(struct tunnel *t, bool on);
void __wrap_tun_drain(struct tunnel *t, bool on) {
    (void)t;
    drained.on += on;
    drained.off += !on;
}

void __wrap_tun_hops_end(struct tunnel *t, const struct cv_now *now, cv_usec idle);
void __wrap_tun_hops_end(struct tunnel *t, const struct cv_now *now, cv_usec idle) {
    (void)t;
    (void)now;
    drained.all += idle == 0;
    drained.idle += idle == NODE_DRAIN_IDLE;
}

enum of_drain { ON, OFF, DROP, MOMENT, SECOND, DAY_BACK, DAY_AHEAD, SLEPT, OF_DRAIN };

/* . nothing  d it takes nobody on, and ends who does nothing  u it does again  i it ends who does
 * nothing  a everybody. Then, a minute later: the same letters. */
/* clang-format off */
static const struct {
    const char *name, *answers, *later;
    bool relay, drains;
} drains[] = {
    {"viewer", "........", "........", false, false},
    {"relay",  "dua.....", "i.......", true, false},
    {"drains", "dua.i..i", "i.iiiiii", true, true},
};
/* clang-format on */

static char drain_letter(void) {
    char got = drained.all ? 'a' : drained.on ? 'd' : drained.off ? 'u' : drained.idle ? 'i' : '.';
    if (drained.all + drained.on + drained.off > 1 || (drained.idle && got != 'd' && got != 'i'))
        got = '?';
    memset(&drained, 0, sizeof drained);
    return got;
}

static void drain_event(struct node *n, enum of_drain e) {
    struct cv_now now = n->now;
    now.mono += e == SECOND ? CV_SEC(1) : e == SLEPT ? CV_SEC(86400) : CV_MSEC(10);
    now.wall += e == DAY_BACK ? -86400 : e == DAY_AHEAD || e == SLEPT ? 86400 : 0;
    if (e == ON || e == OFF)
        node_drain(n, now, e == ON);
    if (e == DROP)
        node_drop_circuits(n, now);
    else
        node_on_timeout(n, now);
    n->now = now;
}

Test(node_requests, every_state_and_every_event_of_draining) {
    for (size_t i = 0; i < sizeof drains / sizeof *drains; i++) {
        char got[OF_DRAIN + 1] = {0}, later[OF_DRAIN + 1] = {0};
        for (enum of_drain e = 0; e < OF_DRAIN; e++) {
            struct rep_store_memory *ledger = rep_store_memory_new();
            struct node *n = make(drains[i].relay ? 0 : RELAYS, ledger);
            if (drains[i].drains) {
                node_drain(n, n->now, true);
                node_on_timeout(n, n->now);
            }
            memset(&drained, 0, sizeof drained);
            drain_event(n, e);
            got[e] = drain_letter();
            for (unsigned k = 0; k < 60; k++)
                drain_event(n, SECOND);
            cr_expect(drained.idle == 0 || drained.idle == 60, "%u", drained.idle);
            later[e] = drain_letter();
            node_free(n);
            rep_store_memory_free(ledger);
        }
        cr_expect_str_eq(got, drains[i].answers, "%s, 0:\n got %s\nwant %s", drains[i].name, got,
                         drains[i].answers);
        cr_expect_str_eq(later, drains[i].later, "%s, 1:\n got %s\nwant %s", drains[i].name, later,
                         drains[i].later);
    }
}
