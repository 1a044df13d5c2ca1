/*
 * Every (state x message) cell of a viewer's way through a swarm exit. The exit and the peers
 * behind it are strangers: what arrives is any command with a body that means nothing, a
 * refusal, silence, answers that mean something, these under another number or of another
 * circuit, and cells of flows; and what the swarm's engine, its user, both clocks and a sleep do.
 */
#include <string.h>

#include "crypto/hash.h"
#include "crypto/keys.h"
#include "crypto/rng_seeded.h"
#include "node/exitway.h"
#include "node/state.h"
#include "node/tests/empty_store.h"
#include "node/tests/requests.h"
#include "ppsp/engine.h"
#include "support/suite.h"
#include "tunnel/relaycmd.h"

CV_SUITE(node_exitway, .init = cv_crypto_init);

enum {
    COMMANDS = TUN_CMD_CONNECTED + 1, /* the last is one that does not exist */
    READY,                            /* the circuit */
    DOWN,
    REFUSED,
    BUSY,
    SILENCE,
    PEERS,           /* RESULT: two of them */
    OTHER,           /* the same, with another transaction */
    OTHER_CIRCUIT,   /* CONNECTED, of a circuit that is not ours */
    CELL,            /* of the flow: octets that mean nothing */
    END,             /* of the flow */
    OTHER_END,       /* of a flow that is not ours */
    FORGOTTEN,       /* by the engine of the swarm */
    OTHER_FORGOTTEN, /* one of a flow that is not ours */
    IN_VAIN,         /* time: it was looked for peers, and none can be called for long */
    TIME,            /* what can be asked is */
    TIME_FULL,       /* .. but the circuit is full */
    COMPLETE,        /* time: everything is there */
    GIVEN,           /* by the user, one more */
    GIVEN_AGAIN,     /* .. one who is known */
    CLOCK_BACK,      /* the wall clock, by a day */
    CLOCK_AHEAD,
    SLEEP, /* of a day */
    CLOSE, /* by the user */
    MESSAGES = CLOSE,
    ASKED = 77, /* the transaction */
    FLOW = 7,
};
static_assert(MESSAGES == 55, "a new message needs a column");

/* . nothing  r the circuit is ready  g it is gone  n nobody is there  p peers are
 * d a circuit is opened  q peers are asked for, and one is called
 * u the flow is up  l it is let go for 30 s  s for 5 s  a one more is known  c all is closed */

/* clang-format off */
static const struct {
    const char *name, *answers;
    bool circuit, ready, looks;
    enum node_way_peer_state peer; /* one, whom the user gave */
} states[] = {
    {"no circuit", ".............................................dd..a.dddc", false, false, false, NODE_WAY_IDLE},
    {"opening", "................................rg...............a....c", true, false, false, NODE_WAY_IDLE},
    {"ready", ".................................g...........gq.ga.qqqc", true, true, false, NODE_WAY_IDLE},
    {"looks for peers", "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn.gnnnp........q.ga.qqqc", true, true, true, NODE_WAY_IDLE},
    {"calls", "llllllllllllllllllllllllllllllul.glsll.....l.....a....c", true, true, false, NODE_WAY_ASKED},
    {"up", ".................................g.......s.l.....a....c", true, true, false, NODE_WAY_UP},
};
/* clang-format on */

/* ---- a node with such a swarm ---- */

#define PEER "192.0.2.1:7000"

static struct cv_rng_seeded dice;
static struct cv_rng rng;

static struct node_swarm *make(struct node **ret) {
    struct node_config cfg = {.loopback = true, .main_family = 4};
    uint8_t seed[CV_KEY] = {7};
    cv_handle h;
    cv_rng_seeded_init(&dice, 1);
    rng = cv_rng_seeded(&dice);
    node_network_id("test", cfg.network_id);
    cv_ed25519_from_seed(&cfg.identity_secret, seed);
    struct cv_now now = {.mono = 1000, .wall = 1000000};
    cr_assert_eq(node_new(&cfg, &rng, now, ret), CV_ERR_OK);
    struct node_swarm_config c = {.uri = {.integrity = PPSP_INTEGRITY_MERKLE,
                                          .hash = CV_SHA256,
                                          .addressing = PPSP_ADDRESSING_CHUNK32,
                                          .chunk_size = 1024,
                                          .swarm_id = {1},
                                          .swarm_id_len = 32,
                                          .length = 100000,
                                          .direct = true},
                                  .store = &empty_store,
                                  .mode = NODE_SWARM_EXIT};
    memcpy(c.uri.network_id, cfg.network_id, sizeof cfg.network_id);
    cr_assert_eq(node_swarm_open(*ret, now, &c, &h), CV_ERR_OK);
    for (size_t i = 0; i < NODE_SWARMS_MAX; i++)
        if ((*ret)->swarms[i].used)
            return &(*ret)->swarms[i];
    cr_assert(false);
    return NULL;
}

static void put(struct node *n, struct node_swarm *s, size_t row) {
    struct node_way *w = s->way;
    struct cv_endpoint ep = cv_endpoint_circuit(CIRCUIT, FLOW);
    w->circuit = states[row].circuit ? CIRCUIT : 0;
    w->ready = states[row].ready;
    w->looked = false;
    w->lookup = states[row].looks ? ASKED : 0;
    w->peers = 1;
    w->peer[0] = (struct node_way_peer){.state = states[row].peer, .given = true};
    cr_assert_eq(cv_addr_parse(PEER, &w->peer[0].addr), CV_ERR_OK);
    if (states[row].peer == NODE_WAY_ASKED)
        w->peer[0].transaction = ASKED;
    if (states[row].peer != NODE_WAY_IDLE)
        w->peer[0].flow = FLOW;
    if (states[row].peer == NODE_WAY_UP) {
        struct ppsp_peer_props props = {.mtu = EXIT_MTU_FORWARD, .hidden = true, .initiate = true};
        cr_assert_eq(ppsp_peer_add(s->engine, n->now, s->ppsp, &ep, &props), CV_ERR_OK);
    }
}

static void clear(struct node *n, struct node_swarm *s) {
    struct cv_endpoint ep = cv_endpoint_circuit(CIRCUIT, FLOW);
    if (!s->way)
        cr_assert_not_null(s->way = node_way_new());
    if (s->way->peer[0].state == NODE_WAY_UP)
        ppsp_peer_remove(s->engine, n->now, &ep, /* goodbye= */ false);
    *s->way = (struct node_way){.ends_at = CV_USEC_NEVER};
}

/* ---- messages ---- */

static struct tun_event reply(unsigned m) {
    static uint8_t body[64], peers[64];
    struct tun_result result = {.kind = TUN_LOOKUP_PEERS, .peers = 2};
    struct cv_wr w = cv_wr_init(peers, sizeof peers);
    cr_assert_eq(cv_addr_parse("192.0.2.8:7000", &result.peer[0]), CV_ERR_OK);
    cr_assert_eq(cv_addr_parse("192.0.2.9:7000", &result.peer[1]), CV_ERR_OK);
    tun_result_write(&w, &result);
    cr_assert_not(w.err);
    bool found = m == PEERS || m == OTHER, error = m == REFUSED || m == BUSY;
    struct tun_event ev = {.kind = TUN_EVENT_REPLY,
                           .reply = {.circuit = m == OTHER_CIRCUIT ? CIRCUIT + 1 : CIRCUIT,
                                     .transaction = m == OTHER ? ASKED + 1 : ASKED,
                                     .command = found                ? TUN_CMD_RESULT
                                                : error              ? TUN_CMD_ERROR
                                                : m == OTHER_CIRCUIT ? TUN_CMD_CONNECTED
                                                : m == SILENCE ? TUN_CMD_LOOKUP /* what was asked */
                                                               : (uint8_t)m,
                                     .err = error          ? CV_ERR_DENIED
                                            : m == SILENCE ? CV_ERR_TIMEDOUT
                                                           : CV_ERR_OK,
                                     .code = m == REFUSED ? TUN_ERROR_REFUSED
                                             : m == BUSY  ? TUN_ERROR_BUSY
                                                          : 0,
                                     .body = found ? peers + 4 : body, /* behind the transaction */
                                     .len = found ? cv_wr_len(&w) - 4 : 40}};
    return ev;
}

static void time_passes(struct node *n, struct cv_now now) {
    n->way_at = now.mono;
    node_way_on_timeout(n, now);
}

static void arrives(struct node *n, struct node_swarm *s, unsigned m) {
    static const uint8_t octets[50] = {1};
    struct tun_event ev = {.kind = TUN_EVENT_DATAGRAM};
    struct cv_now now = n->now;
    struct cv_addr other;
    switch (m) {
    case READY:
        ev.kind = TUN_EVENT_CIRCUIT_READY;
        ev.circuit_ready.circuit = CIRCUIT;
        node_way_on_circuit(n, n->now, &ev);
        break;
    case DOWN:
        ev.kind = TUN_EVENT_CIRCUIT_DOWN;
        ev.circuit_down.circuit = CIRCUIT;
        node_way_on_circuit(n, n->now, &ev);
        break;
    case CELL:
    case END:
    case OTHER_END:
        ev.datagram.from = cv_endpoint_circuit(CIRCUIT, m == OTHER_END ? FLOW + 1 : FLOW);
        ev.datagram.buf = octets;
        ev.datagram.len = m == CELL ? sizeof octets : 0;
        node_way_on_cell(n, n->now, &ev);
        break;
    case FORGOTTEN:
    case OTHER_FORGOTTEN:
        ev.datagram.from = cv_endpoint_circuit(CIRCUIT, m == FORGOTTEN ? FLOW : FLOW + 1);
        if (m == FORGOTTEN && s->way->peer[0].state == NODE_WAY_UP)
            ppsp_peer_remove(s->engine, n->now, &ev.datagram.from, /* goodbye= */ false);
        node_way_peer_down(n, n->now, s, &ev.datagram.from);
        break;
    case IN_VAIN:
        s->way->looked = true;
        s->way->peer[0].again_at = s->way->look_at = cv_usec_add(n->now.mono, CV_SEC(1000));
        time_passes(n, n->now);
        s->way->looked = false;
        break;
    case TIME:
    case TIME_FULL:
        requests.full = m == TIME_FULL;
        time_passes(n, n->now);
        cr_expect_gt(n->way_at, n->now.mono);
        requests.full = false;
        break;
    case COMPLETE:
        s->complete = true;
        time_passes(n, n->now);
        s->complete = false;
        break;
    case GIVEN:
    case GIVEN_AGAIN:
        cr_assert_eq(cv_addr_parse(m == GIVEN ? "192.0.2.3:7000" : PEER, &other), CV_ERR_OK);
        cr_expect_eq(node_swarm_peer(n, n->now, node_swarm_handle(n, s), &other), CV_ERR_OK);
        cr_expect_eq(n->way_at, n->now.mono, "at once");
        break;
    case CLOCK_BACK:
    case CLOCK_AHEAD:
        now.wall += m == CLOCK_BACK ? -86400 : 86400;
        time_passes(n, now);
        break;
    case SLEEP:
        now.mono = cv_usec_add(now.mono, CV_SEC(86400));
        now.wall += 86400;
        time_passes(n, now);
        break;
    case CLOSE:
        node_way_close(n, n->now, s);
        break;
    default:
        ev = reply(m);
        node_way_on_circuit(n, n->now, &ev);
        break;
    }
}

static char became(const struct node *n, const struct node_swarm *s, size_t row) {
    const struct node_way *w = s->way;
    if (!w)
        return s->leaving ? '?' : 'c';
    const struct node_way_peer *p = &w->peer[0];
    cr_assert(p->given, "what the user gave stays");
    if (states[row].circuit && !w->circuit)
        return p->state == NODE_WAY_IDLE && w->peers == 1 && !w->ready && !w->lookup ? 'g' : '?';
    if (w->peers == 2)
        return w->peer[1].given && w->peer[1].state == NODE_WAY_IDLE ? 'a' : '?';
    if (!states[row].circuit && w->circuit)
        return w->ready ? '?' : 'd';
    if (w->ready != states[row].ready)
        return 'r';
    if (p->state == NODE_WAY_ASKED && states[row].peer == NODE_WAY_IDLE)
        return p->flow && p->transaction == requests.last && w->lookup &&
                       requests.command == TUN_CMD_CONNECT
                   ? 'q'
                   : '?';
    if (p->state == NODE_WAY_IDLE && states[row].peer != NODE_WAY_IDLE) {
        cv_usec wait = p->again_at - n->now.mono;
        cr_expect_eq(p->flow, 0);
        return wait == NODE_WAY_PEER_WAIT ? 'l' : wait == NODE_SWARM_RETRY ? 's' : '?';
    }
    if (p->state != states[row].peer)
        return p->state == NODE_WAY_UP ? 'u' : '?';
    if (states[row].looks && !w->lookup)
        return w->peers == 3 && w->looked ? 'p' : w->peers == 1 && w->looked ? 'n' : '?';
    return w->peers == 1 && w->looked == false ? '.' : '?';
}

/* Steps of a second, in which it looks for a path to an exit; how often it said that none is
 * known. */
static unsigned said(struct node *n, unsigned seconds) {
    struct node_event ev;
    unsigned count = 0;
    for (unsigned i = 0; i < seconds; i++) {
        n->now.mono = cv_usec_add(n->now.mono, CV_SEC(1));
        node_way_on_timeout(n, n->now);
        while (node_poll_event(n, &ev))
            count += ev.kind == NODE_EVENT_NO_EXIT;
    }
    return count;
}

Test(node_exitway, that_no_exit_is_known_is_said_seldom) {
    struct node *n;
    struct node_swarm *s = make(&n);
    clear(n, s);
    requests.full = requests.exitless = true;
    node_way_dial(n, n->now, s);
    cr_expect_eq(said(n, 4), 0, "an exit may be told of just now");
    cr_expect_eq(said(n, 1), 1);
    cr_expect_eq(said(n, 29), 0);
    cr_expect_eq(said(n, 1), 1, "it goes on looking, and says so");
    /* There was an exit, which has gone: perhaps there is another. */
    requests.full = false;
    cr_expect_eq(said(n, 1), 0);
    arrives(n, s, READY);
    cr_expect_eq(said(n, 100), 0);
    arrives(n, s, DOWN);
    requests.full = true;
    cr_expect_eq(said(n, 5), 0, "it was looked for after a while only");
    cr_expect_eq(said(n, 1), 1);
    requests.full = requests.exitless = false;
    node_free(n);
}

/* What fails now and then, between circuits that open, is not the lack of an exit. */
Test(node_exitway, an_exit_that_a_path_was_found_to_is_known) {
    struct node *n;
    struct node_swarm *s = make(&n);
    clear(n, s);
    requests.full = requests.exitless = true;
    node_way_dial(n, n->now, s);
    requests.full = false;
    cr_expect_eq(said(n, 3), 0);
    cr_assert_eq(s->way->circuit, CIRCUIT);
    cr_expect_eq(said(n, 20), 0, "it opens");
    arrives(n, s, DOWN);
    requests.full = true;
    cr_expect_eq(said(n, 5), 0, "there was a path a while ago");
    requests.exitless = false;
    cr_expect_eq(said(n, 100), 0, "it is there, and full");
    requests.exitless = true;
    cr_expect_eq(said(n, 5), 0);
    cr_expect_eq(said(n, 1), 1);
    requests.full = requests.exitless = false;
    node_free(n);
}

Test(node_exitway, every_state_and_every_message) {
    struct node *n;
    struct node_swarm *s = make(&n);
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        char got[MESSAGES + 1] = {0};
        for (unsigned m = 1; m <= MESSAGES; m++) {
            put(n, s, i);
            arrives(n, s, m);
            got[m - 1] = became(n, s, i);
            clear(n, s);
        }
        cr_expect_str_eq(got, states[i].answers, "%s:\n got %s\nwant %s", states[i].name, got,
                         states[i].answers);
    }
    node_free(n);
}

/* ---- no circuit for longer than it drew ---- */

static bool is_peer(const struct node_swarm *s) {
    struct ppsp_peer_stats rows[4];
    return ppsp_peers(s->engine, s->ppsp, rows, 4) == 1;
}

/* A way over CIRCUIT, with a flow that is up, whose circuit ends in so long. */
static void ends_in(struct node *n, struct node_swarm *s, cv_usec left) {
    put(n, s, sizeof states / sizeof *states - 1);
    s->way->looked = true;
    s->way->ends_at = cv_usec_add(n->now.mono, left);
}

static void later(struct node *n, cv_usec by) {
    n->now.mono = cv_usec_add(n->now.mono, by);
    time_passes(n, n->now);
}

/* What befalls a way whose peers stay until its circuit ends, beside the one that is opening. */
static void successor(struct node *n, struct node_swarm *s) {
    requests.full = true; /* no path just now */
    ends_in(n, s, NODE_CIRCUIT_CHANGE + CV_SEC(1));
    later(n, 0);
    cr_expect(!s->leaving, "not yet");
    cr_expect_eq(n->way_at, n->now.mono + CV_SEC(1));
    later(n, CV_SEC(1));
    cr_assert(s->leaving && s->leaving->circuit == CIRCUIT, "now");
    cr_expect_eq(s->leaving->peer[0].state, NODE_WAY_UP);
    cr_expect(is_peer(s), "who is up stays");
    const struct node_way *w = s->way;
    cr_expect(!w->ready && !w->circuit && w->peers == 1 && w->peer[0].given &&
                  w->peer[0].state == NODE_WAY_IDLE && w->peer[0].again_at == 0,
              "the user's peer is called there, too");
}

Test(node_exitway, a_circuit_that_ends_soon_gets_a_successor) {
    struct node *n;
    struct node_swarm *s = make(&n);
    struct tun_event ev = {.kind = TUN_EVENT_DATAGRAM,
                           .datagram.from = cv_endpoint_circuit(CIRCUIT, FLOW)};

    successor(n, s); /* its flow ends */
    node_way_on_cell(n, n->now, &ev);
    cr_expect_eq(s->leaving->peer[0].state, NODE_WAY_IDLE);
    cr_expect_not(is_peer(s));
    later(n, CV_SEC(100));
    cr_expect_eq(s->leaving->peer[0].state, NODE_WAY_IDLE, "nobody is called from there any more");
    later(n, NODE_CIRCUIT_CHANGE - CV_SEC(100) - 1);
    cr_expect(s->leaving, "its last microsecond");
    later(n, 1);
    cr_expect_null(s->leaving);
    clear(n, s);

    successor(n, s); /* it ends */
    later(n, NODE_CIRCUIT_CHANGE);
    cr_expect_null(s->leaving);
    cr_expect_not(is_peer(s));
    clear(n, s);

    successor(n, s); /* a relay of it dies */
    ev = (struct tun_event){.kind = TUN_EVENT_CIRCUIT_DOWN, .circuit_down.circuit = CIRCUIT};
    node_way_on_circuit(n, n->now, &ev);
    cr_expect_null(s->leaving);
    cr_expect_not(is_peer(s));
    clear(n, s);

    successor(n, s); /* the next is at its own end before this one's: they do not pile up */
    struct node_way *next = s->way;
    next->circuit = CIRCUIT + 1;
    next->ready = true;
    next->lookup = ASKED;
    next->peer[0].state = NODE_WAY_ASKED;
    next->peer[0].flow = FLOW;
    next->ends_at = n->now.mono + CV_SEC(2);
    later(n, CV_SEC(1));
    cr_expect(s->way == next && s->leaving->circuit == CIRCUIT);
    later(n, CV_SEC(1));
    cr_expect(s->way == next && !next->ready && !next->circuit, "over, and opened anew");
    cr_expect(s->leaving && is_peer(s), "the old one still has a while");

    node_way_close(n, n->now, s); /* the user closes it */
    cr_expect(!s->way && !s->leaving);
    cr_expect_not(is_peer(s));
    clear(n, s);
    requests.full = false;
    node_free(n);
}

/* Behind its exit nobody answers; how often it is said that nobody is there. */
static unsigned in_vain(struct node *n, struct node_swarm *s) {
    struct node_event ev;
    unsigned count = 0;
    s->way->circuit = CIRCUIT + 1;
    s->way->ready = true;
    arrives(n, s, IN_VAIN);
    cr_expect(!s->way->circuit && s->way->dial_at > n->now.mono, "another exit, later");
    while (node_poll_event(n, &ev))
        count += ev.kind == NODE_EVENT_NOBODY;
    return count;
}

Test(node_exitway, a_successor_in_vain_is_no_lack_of_peers) {
    struct node *n;
    struct node_swarm *s = make(&n);
    struct tun_event end = {.kind = TUN_EVENT_DATAGRAM,
                            .datagram.from = cv_endpoint_circuit(CIRCUIT, FLOW)};
    successor(n, s);
    cr_expect_eq(in_vain(n, s), 0, "it still comes by the old way");
    cr_expect(s->leaving && is_peer(s));
    node_way_on_cell(n, n->now, &end);
    cr_expect_eq(in_vain(n, s), 1, "nor by that");
    requests.full = false;
    node_free(n);
}

Test(node_exitway, who_has_everything_needs_no_successor) {
    struct node *n;
    struct node_swarm *s = make(&n);
    ends_in(n, s, CV_SEC(10));
    s->complete = true;
    later(n, 0);
    cr_expect(!s->leaving && s->way->circuit == CIRCUIT);
    cr_expect_eq(n->way_at, s->way->ends_at);
    later(n, CV_SEC(10));
    cr_expect(!s->way->circuit && !s->way->ready);
    cr_expect_not(is_peer(s));
    later(n, CV_SEC(1));
    cr_expect(!s->way->circuit, "nor is it opened anew");
    node_free(n);
}

/* An exit, or a relay before it, that ends every circuit is not called for good as often as one can
 * be built; who has had a peer since begins anew. */
Test(node_exitway, who_loses_every_circuit_waits_ever_longer) {
    struct node *n;
    struct node_swarm *s = make(&n);
    struct tun_event down = {.kind = TUN_EVENT_CIRCUIT_DOWN, .circuit_down.circuit = CIRCUIT};
    cv_usec pause = NODE_WAY_WAIT;
    for (unsigned i = 0; i < 12; i++) {
        cr_assert_eq(s->way->circuit, CIRCUIT, "attempt %u", i);
        node_way_on_circuit(n, n->now, &down);
        cr_expect_eq(n->way_at, n->now.mono + pause);
        later(n, pause - 1);
        cr_expect_eq(s->way->circuit, 0, "attempt %u is early", i + 1);
        later(n, 1);
        pause = cv_usec_min(2 * pause, NODE_WAY_PEER_WAIT);
    }
    cr_expect_eq(pause, NODE_WAY_PEER_WAIT);
    clear(n, s);
    put(n, s, 4); /* calls */
    s->way->pause = pause;
    struct tun_event ev = reply(TUN_CMD_CONNECTED);
    node_way_on_circuit(n, n->now, &ev);
    cr_expect_eq(s->way->peer[0].state, NODE_WAY_UP);
    node_way_on_circuit(n, n->now, &down);
    cr_expect_eq(s->way->dial_at, n->now.mono + NODE_WAY_WAIT, "anew");
    node_free(n);
}
