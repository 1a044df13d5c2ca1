/*
 * Priority tokens between tunnel and ledger (reputation/priority.h). As a guard:
 * requests that come through circuits are answered with batches, tokens on
 * nameless links with an hour in class 0. As a relay of our own: each guard is
 * asked for a batch a week, through a circuit that ends there and begins at
 * another guard, under our identity; while somebody here waits for content, a
 * token is shown on each first link, which names nobody.
 */
#include <string.h>

#include "crypto/tokenkey.h"
#include "node/state.h"
#include "tunnel/client.h"
#include "tunnel/linkcmd.h"
#include "tunnel/relaycmd.h"

/* ---- a guard ---- */

static uint8_t error_of(enum cv_err err) {
    switch ((int)err) {
    case CV_ERR_TRUNCATED:
    case CV_ERR_MALFORMED:
    case CV_ERR_AUTH:
        return TUN_ERROR_MALFORMED;
    case CV_ERR_LIMIT:
        return TUN_ERROR_LIMIT;
    case CV_ERR_DENIED:
    case CV_ERR_STALE:
        return TUN_ERROR_REFUSED;
    default:
        return TUN_ERROR_BUSY;
    }
}

void node_priority_on_request(struct node *n, struct cv_now now, const struct tun_event *ev) {
    uint8_t reply[REP_TOKEN_REPLY];
    enum cv_err err = CV_ERR_DENIED;
    if (n->ledger)
        err = rep_ledger_issue(n->ledger, now, ev->request.body, ev->request.len, reply);
    uint8_t code = err ? error_of(err) : 0;
    if (err)
        tun_answer(n->relay, &now, ev->request.hop, ev->request.transaction, TUN_CMD_ERROR, &code,
                   1);
    else
        tun_answer(n->relay, &now, ev->request.hop, ev->request.transaction, TUN_CMD_TOKEN_REPLY,
                   reply, sizeof reply);
}

void node_priority_on_token(struct node *n, struct cv_now now, const struct tun_event *ev) {
    struct tun_token m;
    uint8_t hash[REP_LINK_HASH], shown[REP_TOKEN_SHOWN];
    struct cv_rd r = cv_rd_init(ev->link_message.body, ev->link_message.len);
    if (tun_token_read(&r, &m) || tun_link_hash(n->relay, ev->link_message.link, hash))
        return;
    memcpy(shown, m.t, sizeof m.t);
    memcpy(shown + sizeof m.t, m.mac, sizeof m.mac);
    rep_ledger_redeem(n->ledger, now, ev->link_message.link, shown, hash);
}

/* ---- asking ---- */

static void hang_up(struct node *n, struct cv_now now) {
    if (n->priority.circuit)
        tun_circuit_close(n->client, &now, n->priority.circuit);
    n->priority.circuit = 0;
}

static void answered(struct node *n, struct cv_now now, const uint8_t *reply, size_t len) {
    struct node_priority *p = &n->priority;
    rep_ledger_token_answer(n->ledger, now, p->issuer, p->week, reply, len);
    hang_up(n, now);
}

void node_priority_on_circuit(struct node *n, struct cv_now now, const struct tun_event *ev) {
    struct node_priority *p = &n->priority;
    if (!p->circuit)
        return;
    if (ev->kind == TUN_EVENT_CIRCUIT_READY && ev->circuit_ready.circuit == p->circuit) {
        if (tun_request(n->client, &now, p->circuit, TUN_CMD_TOKEN_REQUEST, p->request,
                        sizeof p->request, &p->transaction))
            hang_up(n, now);
    } else if (ev->kind == TUN_EVENT_CIRCUIT_DOWN && ev->circuit_down.circuit == p->circuit) {
        p->circuit = 0; /* asked again in a while */
    } else if (ev->kind == TUN_EVENT_REPLY && ev->reply.circuit == p->circuit &&
               ev->reply.transaction == p->transaction) {
        bool given = !ev->reply.err && ev->reply.command == TUN_CMD_TOKEN_REPLY;
        bool later = ev->reply.err && ev->reply.code == TUN_ERROR_BUSY;
        if (ev->reply.err == CV_ERR_TIMEDOUT || later)
            hang_up(n, now); /* no refusal: soon again */
        else
            answered(n, now, given ? ev->reply.body : NULL, ev->reply.len);
    }
}

/* Who has settled nothing with anybody yet has a score nowhere: sixteen blinds, a
 * circuit and the guard's work would be for a refusal. */
static bool may_have_score(const struct node *n) {
    struct rep_stats s;
    rep_ledger_stats(n->ledger, &s);
    return s.released_given + s.released_taken > 0;
}

static void ask(struct node *n, struct cv_now now, const struct tun_client_guard *g) {
    struct node_priority *p = &n->priority;
    uint32_t week = cv_token_week(g->day);
    if (p->circuit || !g->issues || !may_have_score(n) ||
        rep_ledger_token_ask(n->ledger, now, g->identity, g->token_key, week, p->request))
        return;
    memcpy(p->issuer, g->identity, CV_KEY);
    p->week = week;
    p->transaction = 0;
    if (tun_circuit_open(n->client, &now, TUN_PURPOSE_GENERAL, g->identity, &p->circuit))
        p->circuit = 0; /* no way there yet */
}

/* ---- showing ---- */

/* Does anybody here wait for content that comes through circuits? */
static bool in_use(const struct node *n) {
    for (size_t i = 0; i < NODE_SWARMS_MAX; i++) {
        const struct node_swarm *s = &n->swarms[i];
        if (s->used && !s->complete && s->engine == n->hidden)
            return true;
    }
    return false;
}

static bool runs(const struct node_shown *s, cv_usec now) {
    return s->link && now < s->until;
}

static void say(struct node *n, struct cv_now now, struct node_shown *s) {
    s->tries++;
    s->repeat_at = s->tries < NODE_PRIORITY_TRIES ? cv_usec_add(now.mono, NODE_PRIORITY_REPEAT)
                                                  : CV_USEC_NEVER;
    /* A full link loses it, as a wire may. */
    tun_link_send(n->client, &now, s->link, TUN_LINKCMD_TOKEN, s->shown, sizeof s->shown);
}

static struct node_shown *place(struct node *n, struct cv_now now, cv_handle link) {
    struct node_shown *spare = NULL;
    for (size_t i = 0; i < NODE_PRIORITY_LINKS; i++) {
        struct node_shown *s = &n->priority.shown[i];
        if (s->link == link && runs(s, now.mono))
            return NULL;
        if (now.mono >= s->until)
            spare = s;
    }
    return spare;
}

static void show(struct node *n, struct cv_now now, const struct tun_client_guard *g) {
    uint8_t hash[REP_LINK_HASH];
    struct node_shown *s = g->link ? place(n, now, g->link) : NULL;
    if (!s || tun_link_hash(n->client, g->link, hash) ||
        rep_ledger_token_spend(n->ledger, now, g->identity, hash, s->shown))
        return;
    s->link = g->link;
    s->until = cv_usec_add(now.mono, REP_TOKEN_TIME);
    s->tries = 0;
    say(n, now, s);
}

/* ---- time ---- */

void node_priority_on_timeout(struct node *n, struct cv_now now) {
    struct node_priority *p = &n->priority;
    struct tun_client_guard g;
    if (now.mono < p->at)
        return;
    p->at = cv_usec_add(now.mono, n->cfg.quick_start ? NODE_PRIORITY_HURRY : NODE_PRIORITY_EVERY);
    for (size_t i = 0; tun_client_guard(n->client, &now, i, &g); i++) {
        ask(n, now, &g);
        if (in_use(n))
            show(n, now, &g);
    }
    for (size_t i = 0; i < NODE_PRIORITY_LINKS; i++) {
        struct node_shown *s = &p->shown[i];
        if (!runs(s, now.mono))
            continue;
        if (s->repeat_at <= now.mono)
            say(n, now, s);
        p->at = cv_usec_min(p->at, s->repeat_at);
    }
}

/* The hour was that link's. Its place stays taken until it is over: a line that comes and goes
 * shall not spend a week's tokens in some minutes. */
void node_priority_on_link_down(struct node *n, cv_handle link) {
    for (size_t i = 0; i < NODE_PRIORITY_LINKS; i++)
        if (n->priority.shown[i].link == link)
            n->priority.shown[i].link = 0;
}

bool node_priority_runs(const struct node *n) {
    for (size_t i = 0; i < NODE_PRIORITY_LINKS; i++)
        if (runs(&n->priority.shown[i], n->now.mono))
            return true;
    return false;
}
