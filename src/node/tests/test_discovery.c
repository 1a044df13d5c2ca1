/*
 * Every (state x event) cell of how a node finds relays in the DHT and is found there, of a
 * viewer and of a relay; and of what it does there for others' circuits. The DHT knows nobody, so
 * that look-ups stay under way: what comes of them is told by hand. The wall clock jumps by a day,
 * and is a little wrong; the machine sleeps for ten minutes, and for a day.
 */
#include <string.h>

#include "crypto/hash.h"
#include "crypto/keys.h"
#include "crypto/rng_seeded.h"
#include "node/state.h"
#include "support/suite.h"
#include "tunnel/client.h"
#include "tunnel/relaycmd.h"

CV_SUITE(node_discovery, .init = cv_crypto_init);

enum { NOON = 20000 * 86400 + 12 * 3600, DAY = 86400 };
#define START CV_SEC(100000)
#define FOUND "127.0.0.9:4000"

static struct cv_rng_seeded dice;
static struct cv_rng rng;

static struct node *make(bool relay, bool exit) {
    struct node_config cfg = {.loopback = true, .main_family = 4, .relay = relay, .exit = exit};
    uint8_t seed[CV_KEY] = {7};
    struct node *n = NULL;
    struct node_event ev;
    cv_rng_seeded_init(&dice, 1);
    rng = cv_rng_seeded(&dice);
    node_network_id("test", cfg.network_id);
    cv_ed25519_from_seed(&cfg.identity_secret, seed);
    if (relay) {
        cr_assert_eq(cv_addr_parse("127.0.0.1:4000", &cfg.relay_addrs[0]), CV_ERR_OK);
        cfg.relay_addrs_count = 1;
    }
    cr_assert_eq(node_new(&cfg, &rng, (struct cv_now){.mono = START, .wall = NOON}, &n), CV_ERR_OK);
    while (node_poll_event(n, &ev))
        ;
    n->too_few_at = CV_USEC_NEVER; /* said once, by a time of its own */
    return n;
}

/* ---- finding, and being found ---- */

enum event {
    DHT_READY,
    NO_BOOTSTRAP,
    NAMED,             /* by the look-up of relays */
    NAMED_ELSE,        /* by another one */
    ENDED,             /* the look-up of relays */
    ENDED_ELSE,        /* another one */
    STORED,            /* what was announced */
    NOT_STORED,        /* .. nobody took it */
    OTHERS,            /* what only others ask for: items, nodes, samples, our address */
    CLIENT_NEED,       /* of more relays */
    CLIENT_NEED_AGAIN, /* after five minutes without */
    RELAY_NEED,
    MOMENT,   /* some milliseconds */
    LOOK_DUE, /* the time of the next look-up comes */
    TELL_DUE, /* .. of the next announcement */
    CLIENT_READY,
    DRAIN,
    UNDRAIN,
    CLOCK_BACK, /* by a day */
    CLOCK_AHEAD,
    CLOCK_ASTRAY, /* by five minutes */
    CLOCK_LOST,   /* no wall clock any more */
    NAP,          /* of ten minutes */
    SLEEP,        /* of a day */
    EVENTS
};

static void wants(struct node *n) {
    node_discovery_need(n, n->now, false, 3);
}

static void ready(struct node *n) {
    struct node_event ev;
    node_discovery_on_dht(n, n->now, &(struct dht_event){.kind = DHT_EVENT_READY});
    n->dht_save_at = CV_USEC_NEVER;
    while (node_poll_event(n, &ev))
        ;
}

static void looks(struct node *n) {
    wants(n);
    ready(n);
    node_discovery_on_timeout(n, n->now);
    cr_assert_neq(n->relay_lookup, 0);
}

static void end_lookup(struct node *n) {
    node_discovery_on_dht(n, n->now,
                          &(struct dht_event){.kind = DHT_EVENT_DONE, .op = n->relay_lookup});
}

/* Longer than days have been tried: the next is in minutes. */
static void waits(struct node *n) {
    looks(n);
    end_lookup(n);
    n->relay_lookup_wait = NODE_LOOKUP_WAIT_MAX;
    n->relay_lookup_at = cv_usec_add(n->now.mono, NODE_LOOKUP_WAIT_MAX);
    n->other_days = 62;
    if (n->relay) {
        n->announce_at = cv_usec_add(n->now.mono, NODE_ANNOUNCE_EVERY);
        memset(n->announce_ops, 0, sizeof n->announce_ops);
        n->relay_ready = true;
    }
}

static void waits_ready(struct node *n) {
    waits(n);
    n->client_ready = true;
    n->relays_known = 20;
}

static void tries_days(struct node *n) {
    waits(n);
    n->other_days = 5;
    n->other_days_at = n->now.mono;
    node_discovery_on_timeout(n, n->now);
    cr_assert_eq(n->other_days, 6);
    cr_assert_neq(n->relay_lookup, 0);
}

static void between_days(struct node *n) {
    tries_days(n);
    end_lookup(n);
    n->other_days_at = n->now.mono;
}

static void announces(struct node *n) {
    ready(n);
    node_discovery_on_timeout(n, n->now);
    cr_assert_neq(n->announce_ops[0], 0);
}

static void drains(struct node *n) {
    waits_ready(n);
    node_drain(n, n->now, true);
    n->announce_at = n->now.mono;
}

static void wants_early(struct node *n) {
    wants(n);
    n->dht_save_at = CV_USEC_NEVER;
}

static void nothing(struct node *n) {
    n->dht_save_at = CV_USEC_NEVER;
}

/* What it finds: . nothing changes  l it looks  o under the key of another day  e a look-up ended
 * c a relay is told of  w it is not due, but sooner now.
 * How it is found: . nothing changes  a it says so  e that ended  r it did, again in a second.
 * What it says: . nothing  D N R T events of the network. */
/* clang-format off */
static const struct {
    const char *name;
    bool relay;
    void (*reach)(struct node *);
    const char *finds, *found, *says;
} states[] = {
    {"no DHT", false, nothing,
     "w.......................",
     "........................",
     "DN......................"},
    {"no DHT, wants relays", false, wants_early,
     "l.......................",
     "........................",
     "DN......................"},
    {"nobody wanted", false, ready,
     ".........lll............",
     "........................",
     "DN......................"},
    {"looks", false, looks,
     "w.c.e......w......ww....",
     "........................",
     "DN......................"},
    {"tries other days", false, tries_days,
     "w.c.e.....ww......ww....",
     "........................",
     "DN......................"},
    {"between two days", false, between_days,
     "looooooooollolo.oollooll",
     "........................",
     "DN......................"},
    {"waits", false, waits,
     "l.........ll.l....ll..ll",
     "........................",
     "DN......................"},
    {"waits, ready", false, waits_ready,
     "l.........ll.l....ll..ll",
     "........................",
     "DN......................"},
    {"relay, no DHT", true, nothing,
     "w.......................",
     "a.......................",
     "DN......................"},
    {"relay, announces", true, announces,
     ".........lll............",
     "a.....er......a...aa..aa",
     "DN....R................."},
    {"relay, looks", true, looks,
     "w.c.e......w......ww....",
     "a.....er......a...aa..aa",
     "DN....R................."},
    {"relay, waits", true, waits_ready,
     "l.........ll.l....ll..ll",
     "a.............a...aa..aa",
     "DN......................"},
    {"relay, drains", true, drains,
     "l.........ll.l....ll..ll",
     ".................a......",
     "DN......................"},
};
/* clang-format on */

struct seen {
    dht_op lookup, announce;
    uint8_t other_days;
    cv_usec lookup_at, announce_at;
};

static struct seen see(const struct node *n) {
    return (struct seen){.lookup = n->relay_lookup,
                         .announce = n->announce_ops[0],
                         .other_days = n->other_days,
                         .lookup_at = n->relay_lookup_at,
                         .announce_at = n->announce_at};
}

/* Is it asked who it is? */
static bool is_asked(struct node *n) {
    static uint8_t arena[16 * TUN_DATAGRAM];
    struct cv_run runs[16];
    struct cv_batch b = cv_batch_init(arena, 16, TUN_DATAGRAM, 0, runs, 16);
    struct cv_addr at;
    bool asked = false;
    cr_assert_eq(cv_addr_parse(FOUND, &at), CV_ERR_OK);
    tun_on_timeout(n->client, &n->now);
    (void)tun_poll_transmit(n->client, &n->now, &b);
    for (uint32_t i = 0; i < b.runs_used; i++)
        asked |= cv_addr_equal(&runs[i].to.addr, &at);
    return asked;
}

static void tell(struct node *n, enum dht_event_kind kind, dht_op op, unsigned stored) {
    struct dht_event ev = {.kind = kind, .op = op};
    struct dht_item item = {.mutable_item = true};
    struct cv_addr at;
    cr_assert_eq(cv_addr_parse(FOUND, &at), CV_ERR_OK);
    if (kind == DHT_EVENT_PEERS) {
        ev.peers.v = &at;
        ev.peers.n = 1;
    } else if (kind == DHT_EVENT_ITEM) {
        ev.item = &item;
    } else if (kind == DHT_EVENT_DONE) {
        ev.done.stored = stored;
    }
    node_discovery_on_dht(n, n->now, &ev);
}

static void happens(struct node *n, enum event e) {
    static const dht_op nobodys = 0xdeadbeef;
    struct cv_now now = n->now;
    switch (e) {
    case DHT_READY:
        tell(n, DHT_EVENT_READY, 0, 0);
        break;
    case NO_BOOTSTRAP:
        tell(n, DHT_EVENT_NO_BOOTSTRAP, 0, 0);
        break;
    case NAMED:
        tell(n, DHT_EVENT_PEERS, n->relay_lookup ? n->relay_lookup : nobodys, 0);
        break;
    case NAMED_ELSE:
        tell(n, DHT_EVENT_PEERS, nobodys, 0);
        break;
    case ENDED:
        tell(n, DHT_EVENT_DONE, n->relay_lookup ? n->relay_lookup : nobodys, 0);
        break;
    case ENDED_ELSE:
        tell(n, DHT_EVENT_DONE, nobodys, 1);
        break;
    case STORED:
    case NOT_STORED:
        tell(n, DHT_EVENT_DONE, n->announce_ops[0] ? n->announce_ops[0] : nobodys, e == STORED);
        break;
    case OTHERS:
        tell(n, DHT_EVENT_ITEM, nobodys, 0);
        tell(n, DHT_EVENT_NODES, nobodys, 0);
        tell(n, DHT_EVENT_SAMPLES, nobodys, 0);
        tell(n, DHT_EVENT_EXTERNAL_ADDRESS, 0, 0);
        break;
    case CLIENT_NEED_AGAIN:
        now.mono += CV_SEC(300);
        now.wall += 300;
        node_discovery_need(n, now, false, 3);
        break;
    case CLIENT_NEED:
    case RELAY_NEED:
        node_discovery_need(n, now, e == RELAY_NEED, 3);
        break;
    case LOOK_DUE: /* their times have come */
    case TELL_DUE:
        break;
    case CLIENT_READY:
        n->client_ready = true;
        break;
    case DRAIN:
    case UNDRAIN:
        node_drain(n, n->now, e == DRAIN);
        break;
    case CLOCK_BACK:
    case CLOCK_AHEAD:
        now.wall += e == CLOCK_BACK ? -DAY : DAY;
        break;
    case CLOCK_ASTRAY:
        now.wall += 300;
        break;
    case CLOCK_LOST:
        now.wall = 0;
        break;
    case NAP:
    case SLEEP:
        now.mono += e == NAP ? CV_SEC(600) : CV_SEC(DAY);
        now.wall += e == NAP ? 600 : DAY;
        break;
    case MOMENT:
    case EVENTS:
        break;
    }
    now.mono += CV_MSEC(20);
    n->now = now;
    node_discovery_on_timeout(n, now);
}

static char finds(struct node *n, const struct seen *was) {
    if (n->relay_lookup && n->relay_lookup != was->lookup)
        return n->other_days > was->other_days ? 'o' : 'l';
    if (n->relay_lookup != was->lookup)
        return 'e';
    if (is_asked(n))
        return 'c';
    return n->relay_lookup_at < was->lookup_at ? 'w' : '.';
}

static char is_found(const struct node *n, const struct seen *was) {
    if (n->announce_ops[0] && n->announce_ops[0] != was->announce)
        return 'a';
    if (n->announce_ops[0] != was->announce)
        return n->announce_at <= n->now.mono + NODE_ANNOUNCE_RETRY * 5 / 4 ? 'r' : 'e';
    return '.';
}

static char says(struct node *n) {
    struct node_event ev;
    char got = '.';
    while (node_poll_event(n, &ev))
        got = ev.kind == NODE_EVENT_DHT_READY        ? 'D'
              : ev.kind == NODE_EVENT_NO_BOOTSTRAP   ? 'N'
              : ev.kind == NODE_EVENT_RELAY_READY    ? 'R'
              : ev.kind == NODE_EVENT_TOO_FEW_RELAYS ? 'T'
                                                     : '?';
    return got;
}

Test(node_discovery, every_state_and_every_event) {
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        char got[3][EVENTS + 1] = {0};
        for (enum event e = 0; e < EVENTS; e++) {
            struct node *n = make(states[i].relay, false);
            states[i].reach(n);
            if (e == LOOK_DUE)
                n->relay_lookup_at = cv_usec_min(n->relay_lookup_at, n->now.mono);
            if (e == TELL_DUE)
                n->announce_at = cv_usec_min(n->announce_at, n->now.mono);
            struct seen was = see(n);
            happens(n, e);
            got[0][e] = finds(n, &was);
            got[1][e] = is_found(n, &was);
            got[2][e] = says(n);
            cr_expect_gt(node_discovery_next(n), n->now.mono,
                         "%s, event %u: a deadline in the past", states[i].name, e);
            node_free(n);
        }
        const char *want[3] = {states[i].finds, states[i].found, states[i].says};
        for (unsigned k = 0; k < 3; k++)
            cr_expect_str_eq(got[k], want[k], "%s, %u:\n got %s\nwant %s", states[i].name, k,
                             got[k], want[k]);
    }
}

/* The turn of the day is none of these: all would call at once. */
Test(node_discovery, only_a_clock_that_was_set_and_a_sleep_begin_anew) {
    enum { TURN = 20001 * DAY + 3 * 3600 };
    static const struct {
        const char *name;
        int64_t from, to;
        unsigned passed;
        bool anew;
    } rows[] = {
        {"the day turns", TURN - 1, TURN, 1, false},
        {"it turned while nothing happened", TURN - 300, TURN + 298, 598, false},
        {"astray over the turn", TURN - 1, TURN + 500, 1, false},
        {"back over the turn", TURN + 200, TURN - 300, 1, false},
        {"set in the same day", TURN + 3600, TURN + 8 * 3600, 1, false},
        {"set to the next", TURN - 7200, TURN + 7200, 1, true},
        {"set to the day before", TURN + 7200, TURN - 7200, 1, true},
        {"known at last", 0, TURN, 1, true},
        {"not known any more", TURN, 0, 1, false},
        {"slept", TURN, TURN + 600, 600, true},
        {"slept without a clock", 0, 0, 600, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct node *n = make(true, false);
        n->now.wall = n->clocks.wall = rows[i].from;
        waits_ready(n);
        struct seen was = see(n);
        n->now.mono = n->clocks.mono + CV_SEC(rows[i].passed);
        n->relay_lookup_at = n->announce_at = was.lookup_at = was.announce_at =
            cv_usec_add(n->now.mono, CV_SEC(300));
        n->now.wall = rows[i].to;
        node_discovery_on_timeout(n, n->now);
        cr_expect_eq(finds(n, &was), rows[i].anew ? 'l' : '.', "%s", rows[i].name);
        cr_expect_eq(is_found(n, &was), rows[i].anew ? 'a' : '.', "%s", rows[i].name);
        cr_expect_eq(n->other_days, rows[i].anew ? 0 : 62, "%s", rows[i].name);
        node_free(n);
    }
}

/* ---- work for others' circuits ---- */

enum { HOP = 77, OTHER_HOP = 78, KEYS = 3 };

static size_t write_lookup(uint8_t *buf, size_t cap, enum tun_lookup_kind kind, uint8_t count) {
    static const uint8_t keys[TUN_LOOKUP_KEYS_MAX * CV_KEY] = {1};
    struct cv_wr w = cv_wr_init(buf, cap);
    tun_lookup_write(&w, &(struct tun_lookup){.kind = (uint8_t)kind, .n = count, .keys = keys});
    cr_assert_not(w.err);
    return cv_wr_len(&w);
}

static size_t write_put(uint8_t *buf, size_t cap) {
    struct cv_ed25519_secret key;
    struct dht_item item = {.mutable_item = true, .seq = 5, .v = "5:abcde", .v_len = 7};
    struct tun_put m = {.seq = 5, .value = item.v, .value_len = item.v_len};
    uint8_t octets[DHT_SIGNED_MAX];
    struct cv_wr w = cv_wr_init(buf, cap);
    cv_ed25519_from_seed(&key, (uint8_t[CV_KEY]){1});
    ssize_t len = dht_item_signed(&item, octets);
    cr_assert_gt(len, 0);
    cv_ed25519_sign(m.signature, &key, "", octets, (size_t)len);
    memcpy(m.public_key, key.public_key, CV_KEY);
    tun_put_write(&w, &m);
    cr_assert_not(w.err);
    return cv_wr_len(&w);
}

/* `body` begins with the transaction. */
static void asks(struct node *n, uint8_t command, const uint8_t *body, size_t len) {
    struct tun_event ev = {
        .kind = TUN_EVENT_REQUEST,
        .request = {.hop = HOP, .command = command, .body = body + 4, .len = len - 4}};
    cr_assert_eq(cv_addr_parse("127.0.0.5:4000", &ev.request.from), CV_ERR_OK);
    node_discovery_on_request(n, n->now, &ev);
}

static unsigned errands(const struct node *n) {
    unsigned count = 0;
    for (size_t i = 0; i < NODE_ERRANDS_MAX; i++)
        count += n->errands[i].op != 0;
    return count;
}

/* How many errands a request begins: of a relay, of an exit, of one that has no place left. */
Test(node_discovery, what_circuits_may_ask_for) {
    static const struct {
        const char *name;
        enum { ITEMS, PEERS, PUT, CUT, OTHER } what;
        unsigned relay, exit, full;
    } rows[] = {{"items", ITEMS, KEYS, KEYS, 0},
                {"peers of a direct swarm", PEERS, 0, 1, 0},
                {"to put one", PUT, 1, 1, 0},
                {"cut", CUT, 0, 0, 0},
                {"any other command", OTHER, 0, 0, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (unsigned kind = 0; kind < 3; kind++) {
            struct node *n = make(true, kind == 1);
            uint8_t body[TUN_DATAGRAM];
            size_t len = rows[i].what == PUT ? write_put(body, sizeof body)
                         : rows[i].what == PEERS
                             ? write_lookup(body, sizeof body, TUN_LOOKUP_PEERS, 1)
                             : write_lookup(body, sizeof body, TUN_LOOKUP_ITEMS, KEYS);
            if (kind == 2)
                for (size_t k = 0; k < NODE_ERRANDS_MAX; k++)
                    n->errands[k] = (struct node_errand){.op = 1000000 + k, .hop = OTHER_HOP};
            unsigned before = errands(n);
            for (unsigned command = 1; command <= TUN_CMD_CONNECTED + 1; command++) {
                bool fits = command == (rows[i].what == PUT ? TUN_CMD_PUT : TUN_CMD_LOOKUP);
                if (fits == (rows[i].what != OTHER))
                    asks(n, (uint8_t)command, body, rows[i].what == CUT ? 6 : len);
            }
            unsigned want = kind == 0 ? rows[i].relay : kind == 1 ? rows[i].exit : rows[i].full;
            cr_expect_eq(errands(n) - before, want, "%s, %u: %u", rows[i].name, kind,
                         errands(n) - before);
            node_free(n);
        }
}

enum of_errand {
    ITEM,
    CALLABLE, /* peers, of whom an exit may call */
    FOREIGN,  /* .. may not */
    DONE,
    DONE_STORED,
    DONE_REFUSED,
    NODES,
    ELSE, /* the end of somebody else's */
    HOP_DOWN,
    OTHER_DOWN,
    HOURS, /* of time */
    OF_ERRAND
};

/* . nothing  f it was found  p peers are known  d done: answered, or nobody waits */
/* clang-format off */
static const struct {
    const char *name, *answers;
    bool peers, put, found;
} errand_states[] = {
    {"asked for an item", "f..ddd..d..", false, false, false},
    {"found an item",     "...ddd..d..", false, false, true},
    {"asked for peers",   ".p.ddd..d..", true, false, false},
    {"puts one",          "...ddd.....", false, true, false},
};
/* clang-format on */

static void befalls(struct node *n, enum of_errand e, dht_op op) {
    struct dht_item item = {.mutable_item = true, .seq = 9};
    struct dht_event ev = {.op = op};
    struct cv_addr at;
    cr_assert_eq(cv_addr_parse(e == FOREIGN ? "192.0.2.1:80" : "127.8.0.9:4000", &at), CV_ERR_OK);
    switch (e) {
    case ITEM:
        ev.kind = DHT_EVENT_ITEM;
        ev.item = &item;
        break;
    case CALLABLE:
    case FOREIGN:
        ev.kind = DHT_EVENT_PEERS;
        ev.peers.v = &at;
        ev.peers.n = 1;
        break;
    case NODES:
        ev.kind = DHT_EVENT_NODES;
        break;
    case HOP_DOWN:
    case OTHER_DOWN:
        node_discovery_on_hop_down(n, n->now, e == HOP_DOWN ? HOP : OTHER_HOP);
        return;
    case HOURS:
        n->now.mono += CV_SEC(7200);
        node_discovery_on_timeout(n, n->now);
        return;
    case ELSE:
        ev.op++;
        ev.kind = DHT_EVENT_DONE;
        break;
    case DONE:
    case DONE_STORED:
    case DONE_REFUSED:
    case OF_ERRAND:
        ev.kind = DHT_EVENT_DONE;
        ev.done.stored = e == DONE_STORED ? 300 : 0;
        ev.done.refused_cas = e == DONE_REFUSED;
        break;
    }
    node_discovery_on_dht(n, n->now, &ev);
}

Test(node_discovery, every_errand_and_every_event) {
    for (size_t i = 0; i < sizeof errand_states / sizeof *errand_states; i++) {
        char got[OF_ERRAND + 1] = {0};
        for (enum of_errand k = 0; k < OF_ERRAND; k++) {
            struct node *n = make(true, true);
            uint8_t body[TUN_DATAGRAM];
            size_t len =
                errand_states[i].put
                    ? write_put(body, sizeof body)
                    : write_lookup(body, sizeof body,
                                   errand_states[i].peers ? TUN_LOOKUP_PEERS : TUN_LOOKUP_ITEMS, 1);
            asks(n, errand_states[i].put ? TUN_CMD_PUT : TUN_CMD_LOOKUP, body, len);
            cr_assert_eq(errands(n), 1);
            struct node_errand *e = &n->errands[0];
            if (errand_states[i].found)
                befalls(n, ITEM, e->op);
            struct node_errand was = *e;
            befalls(n, k, e->op);
            cr_expect_eq(e->hop, HOP);
            got[k] = e->op == 0                         ? 'd'
                     : e->found && !was.found           ? 'f'
                     : e->peer_count != was.peer_count  ? 'p'
                     : memcmp(&was, e, sizeof was) == 0 ? '.'
                                                        : '?';
            node_free(n);
        }
        cr_expect_str_eq(got, errand_states[i].answers, "%s:\n got %s\nwant %s",
                         errand_states[i].name, got, errand_states[i].answers);
    }
}
