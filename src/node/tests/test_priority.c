/*
 * Every (state x event) cell of how a relay asks a guard for tokens, and of a token that it shows
 * on a link of its own. What the guard answers is told by hand.
 */
#include <string.h>

#include "crypto/hash.h"
#include "crypto/keys.h"
#include "crypto/rng_seeded.h"
#include "crypto/tokenkey.h"
#include "node/state.h"
#include "node/tests/requests.h"
#include "reputation/ledger_internal.h"
#include "reputation/store_memory.h"
#include "reputation/token.h"
#include "support/suite.h"
#include "tunnel/relaycmd.h"

CV_SUITE(node_priority, .init = cv_crypto_init);

enum { NOON = 20000 * 86400 + 12 * 3600, ASKED = 77 };
#define START CV_SEC(100000)

static struct cv_rng_seeded dice;
static struct cv_rng rng;

static struct node *make(struct rep_store_memory *ledger) {
    struct node_config cfg = {.loopback = true,
                              .main_family = 4,
                              .relay = true,
                              .quick_start = true,
                              .ledger_store = rep_store_memory_ops(ledger)};
    uint8_t seed[CV_KEY] = {7};
    struct node *n = NULL;
    cv_rng_seeded_init(&dice, 1);
    rng = cv_rng_seeded(&dice);
    node_network_id("test", cfg.network_id);
    cv_ed25519_from_seed(&cfg.identity_secret, seed);
    cr_assert_eq(cv_addr_parse("127.0.0.1:4000", &cfg.relay_addrs[0]), CV_ERR_OK);
    cfg.relay_addrs_count = 1;
    cr_assert_eq(node_new(&cfg, &rng, (struct cv_now){.mono = START, .wall = NOON}, &n), CV_ERR_OK);
    return n;
}

/* ---- asking ---- */

enum {
    COMMANDS = TUN_CMD_CONNECTED + 1, /* a reply of each; the last is one that does not exist */
    TOKENS,                           /* the reply that was asked for, with a proof that is right */
    REFUSED,
    LIMITED,
    BUSY,
    SILENCE,
    OTHER,         /* TOKENS, of another transaction, */
    OTHER_CIRCUIT, /* .. by another circuit */
    READY,
    READY_FULL, /* .. and no request fits into it */
    OTHER_READY,
    DOWN,
    OTHER_DOWN,
    MINUTE, /* of time */
    CLOCK_BACK,
    CLOCK_AHEAD,
    SLEEP,
    EVENTS = SLEEP
};
static_assert(EVENTS == 48, "a new event needs a column");

/* . nothing  q it is asked  h the circuit is closed, and it is asked again soon  r refused: not
 * soon  t there are tokens  d the circuit is gone */
/* clang-format off */
static const struct {
    const char *name, *answers;
    bool circuit, asked;
} states[] = {
    {"nobody is asked", "................................................", false, false},
    {"opens a circuit", ".......................................qh.h.....", true, false},
    {"asked",           "rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrtrrhh..qh.h.....", true, true},
};
/* clang-format on */

static struct cv_voprf_secret guards_key;

static void put(struct node *n, size_t row) {
    struct node_priority *p = &n->priority;
    struct cv_ed25519_secret guard;
    cv_ed25519_from_seed(&guard, (uint8_t[CV_KEY]){9});
    p->week = cv_token_week(NOON / 86400);
    memcpy(p->issuer, guard.public_key, CV_KEY);
    cv_token_key(&guards_key, &guard, n->cfg.network_id, p->week);
    p->circuit = states[row].circuit ? CIRCUIT : 0;
    p->transaction = states[row].asked ? ASKED : 0;
    cr_assert_eq(rep_ledger_token_ask(n->ledger, n->now, p->issuer, guards_key.public_key, p->week,
                                      p->request),
                 CV_ERR_OK);
}

static const uint8_t *tokens(const struct node *n) {
    static uint8_t reply[REP_TOKEN_REPLY];
    struct rep_token_request m;
    cr_assert_eq(rep_token_request_read(n->priority.request, REP_TOKEN_REQUEST, &m), CV_ERR_OK);
    cr_assert_eq(rep_token_reply_write(&m, &guards_key, &rng, reply), CV_ERR_OK);
    return reply;
}

static struct tun_event reply(const struct node *n, unsigned e) {
    static const uint8_t junk[40];
    bool given = e == TOKENS || e == OTHER || e == OTHER_CIRCUIT;
    bool error = e == REFUSED || e == LIMITED || e == BUSY;
    return (struct tun_event){.kind = TUN_EVENT_REPLY,
                              .reply = {.circuit = e == OTHER_CIRCUIT ? CIRCUIT + 1 : CIRCUIT,
                                        .transaction = e == OTHER ? ASKED + 1 : ASKED,
                                        .command = given   ? TUN_CMD_TOKEN_REPLY
                                                   : error ? TUN_CMD_ERROR
                                                   : e == SILENCE
                                                       ? TUN_CMD_TOKEN_REQUEST /* what was asked */
                                                       : (uint8_t)e,
                                        .err = error || e == TUN_CMD_ERROR ? CV_ERR_DENIED
                                               : e == SILENCE              ? CV_ERR_TIMEDOUT
                                                                           : CV_ERR_OK,
                                        .code = e == REFUSED   ? TUN_ERROR_REFUSED
                                                : e == LIMITED ? TUN_ERROR_LIMIT
                                                : e == BUSY    ? TUN_ERROR_BUSY
                                                               : 0,
                                        .body = given ? tokens(n) : junk,
                                        .len = given ? REP_TOKEN_REPLY : sizeof junk}};
}

static void happens(struct node *n, unsigned e) {
    struct tun_event ev = {.kind = TUN_EVENT_CIRCUIT_READY};
    struct cv_now now = n->now;
    switch (e) {
    case READY:
    case READY_FULL:
    case OTHER_READY:
        requests.full = e == READY_FULL;
        ev.circuit_ready.circuit = e != OTHER_READY ? CIRCUIT : CIRCUIT + 1;
        node_priority_on_circuit(n, now, &ev);
        break;
    case DOWN:
    case OTHER_DOWN:
        ev.kind = TUN_EVENT_CIRCUIT_DOWN;
        ev.circuit_down.circuit = e == DOWN ? CIRCUIT : CIRCUIT + 1;
        node_priority_on_circuit(n, now, &ev);
        break;
    case MINUTE:
    case SLEEP:
        now.mono += e == MINUTE ? CV_SEC(61) : CV_SEC(86400);
        now.wall += e == MINUTE ? 61 : 86400;
        node_priority_on_timeout(n, now);
        break;
    case CLOCK_BACK:
    case CLOCK_AHEAD:
        now.wall += e == CLOCK_BACK ? -86400 : 86400;
        n->priority.at = now.mono;
        node_priority_on_timeout(n, now);
        break;
    default:
        ev = reply(n, e);
        node_priority_on_circuit(n, now, &ev);
        break;
    }
}

static char became(const struct node *n, const struct rep_batch *was, size_t row) {
    const struct rep_batch *b = &n->ledger->batches[0];
    bool gone = states[row].circuit && !n->priority.circuit;
    cr_expect_gt(n->priority.at, 0);
    if (b->secret.had)
        return gone ? 't' : '?';
    if (b->ask_at != was->ask_at)
        return gone ? 'r' : '?';
    if (!gone && requests.last)
        return n->priority.transaction == requests.last && requests.command == TUN_CMD_TOKEN_REQUEST
                   ? 'q'
                   : '?';
    return gone ? 'h' : '.';
}

Test(node_priority, every_state_and_every_event_of_asking) {
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        char got[EVENTS + 1] = {0};
        for (unsigned e = 1; e <= EVENTS; e++) {
            struct rep_store_memory *ledger = rep_store_memory_new();
            struct node *n = make(ledger);
            put(n, i);
            memset(&requests, 0, sizeof requests);
            struct rep_batch was = n->ledger->batches[0];
            happens(n, e);
            got[e - 1] = became(n, &was, i);
            node_free(n);
            rep_store_memory_free(ledger);
        }
        cr_expect_str_eq(got, states[i].answers, "%s:\n got %s\nwant %s", states[i].name, got,
                         states[i].answers);
    }
}

/* ---- showing ---- */

enum shown {
    MOMENT,     /* .. before anything is due */
    REPEAT,     /* two seconds */
    HOUR,       /* has passed */
    LINK_DOWN,  /* the link on which it was shown */
    OTHER_LINK, /* another link */
    DAY_BACK,   /* the wall clock */
    DAY_AHEAD,
    SLEPT, /* for a day */
    SHOWN
};

enum { LINK = 11 };

/* . nothing  s it is said again  o its hour is over  l it is lost with its link */
/* clang-format off */
static const struct {
    const char *name, *answers;
    uint8_t tries;
} shown_states[] = {
    {"said once",       ".sol...o", 1},
    {"said twice",      ".sol...o", 2},
    {"said for good",   "..ol...o", 3},
};
/* clang-format on */

static void befalls(struct node *n, enum shown e) {
    struct tun_event ev = {.kind = TUN_EVENT_LINK_DOWN};
    struct cv_now now = n->now;
    n->priority.at = now.mono;
    switch (e) {
    case REPEAT:
        now.mono += NODE_PRIORITY_REPEAT;
        break;
    case HOUR:
        now.mono += REP_TOKEN_TIME;
        break;
    case LINK_DOWN:
    case OTHER_LINK:
        ev.link_down.link = e == LINK_DOWN ? LINK : LINK + 1;
        node_route_on_tunnel(n, now, &ev);
        break;
    case DAY_BACK:
    case DAY_AHEAD:
        now.wall += e == DAY_BACK ? -86400 : 86400;
        break;
    case SLEPT:
        now.mono += CV_SEC(86400);
        now.wall += 86400;
        break;
    case MOMENT:
    case SHOWN:
        break;
    }
    n->now = now;
    node_priority_on_timeout(n, now);
}

Test(node_priority, every_state_and_every_event_of_showing) {
    for (size_t i = 0; i < sizeof shown_states / sizeof *shown_states; i++) {
        char got[SHOWN + 1] = {0};
        for (enum shown e = 0; e < SHOWN; e++) {
            struct rep_store_memory *ledger = rep_store_memory_new();
            struct node *n = make(ledger);
            struct node_shown *s = &n->priority.shown[0];
            struct node_status st;
            uint8_t tries = shown_states[i].tries;
            *s = (struct node_shown){
                .link = LINK,
                .until = cv_usec_add(START, REP_TOKEN_TIME),
                .repeat_at = tries < 3 ? cv_usec_add(START, NODE_PRIORITY_REPEAT) : CV_USEC_NEVER,
                .tries = tries};
            befalls(n, e);
            node_status(n, &st);
            cr_expect_eq(node_priority_runs(n), st.stands == NODE_STANDS_TOKEN);
            got[e] = !s->link ? (s->tries == tries && !node_priority_runs(n) ? 'l' : '?')
                     : !node_priority_runs(n) ? (s->tries == tries ? 'o' : '?')
                     : s->tries == tries + 1  ? 's'
                     : s->tries == tries      ? '.'
                                              : '?';
            cr_expect_eq(s->until, cv_usec_add(START, REP_TOKEN_TIME),
                         "so many in an hour, however often links end");
            cr_expect_gt(n->priority.at, n->now.mono);
            node_free(n);
            rep_store_memory_free(ledger);
        }
        cr_expect_str_eq(got, shown_states[i].answers, "%s:\n got %s\nwant %s",
                         shown_states[i].name, got, shown_states[i].answers);
    }
}
