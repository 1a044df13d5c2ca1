/*
 * Is a relay there for everybody, or only for those whom it called itself? Behind a
 * NAT it answers its neighbours and is of no use to anybody else. So a newcomer asks
 * each relay that it has a link with (ASK); the asked one, when it was answered at the
 * newcomer's address itself, has others in other networks try it (TRY), one at a time
 * and drawn by lot, so that the newcomer cannot call them first; these ask there for
 * a descriptor, from a port from which they speak to nobody else. Two that were
 * answered are enough (tun_relay_is_passed). See clientstate.h for who keeps what.
 */
#include <string.h>

#include "tunnel/clientstate.h"
#include "tunnel/link.h"
#include "tunnel/linkcmd.h"

/* How long a newcomer's own answer, a witness's word, and an answer to a try are waited for. */
#define OWN_WAIT     CV_SEC(10)
#define WITNESS_WAIT CV_SEC(4)
#define TRY_WAIT     CV_MSEC(1500)
/* A try that is over is remembered for so long, for whoever did not hear the answer. */
#define TRY_KEPT CV_SEC(6)
/* AUTH, which says who we are, leaves first. */
#define AFTER_AUTH   CV_MSEC(30)
#define ASK_REST     CV_SEC(60)
#define ASK_REST_MAX CV_SEC(600)

static cv_usec now(const struct tun_client *c) {
    return c->now.mono;
}

bool tun_reach_is_young(const struct tun_client *c) {
    return c->relay &&
           cv_usec_since(now(c), c->attached_at) < tun_client_pause(c, CV_SEC(600), CV_SEC(10));
}

static void say(struct tun_client *c, cv_handle link, enum tun_reach_kind kind,
                const uint8_t token[8], const struct cv_addr *addr) {
    struct tun_reach m = {.kind = (uint8_t)kind, .addr = *addr};
    uint8_t buf[TUN_CONTROL_MAX];
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    memcpy(m.token, token, sizeof m.token);
    tun_reach_write(&w, &m);
    if (!w.err)
        (void)tun_link_send(c->t, &c->now, link, TUN_LINKCMD_REACH, buf, cv_wr_len(&w));
}

static bool same_network(const struct cv_addr *a, const struct cv_addr *b) {
    return a->family == b->family && cv_addr_common_bits(a, b) >= (a->family == 4 ? 16 : 32);
}

/* ---- the newcomer ---- */

static void ask_again(struct tun_client *c, struct tun_reach_ask *a) {
    a->kind = 0;
    a->tries = 0;
    a->wait = CV_SEC(2);
    a->at = cv_usec_add(now(c), AFTER_AUTH);
    a->day = tun_descriptor_day(c->now.wall);
    cv_rng_fill(tun_client_rng(c), a->token, sizeof a->token);
}

/* One of our addresses; over a link of this worker's, if there is one. */
static void ask_about(struct tun_client *c, const struct tun_event *ev,
                      const struct cv_addr *addr) {
    struct tun_reach_ask *a = NULL;
    for (unsigned i = 0; i < TUN_REACH_ASKS && !a; i++) {
        if (c->reach.ask[i].set && cv_addr_equal(&c->reach.ask[i].addr, addr) &&
            memcmp(c->reach.ask[i].identity, ev->link_up.identity, CV_KEY) == 0)
            a = &c->reach.ask[i];
    }
    struct tun_link_view before;
    if (a && tun_link_view(c->t, a->link, &before) && !tun_link_get(c->t, ev->link_up.link))
        return; /* another worker has a link there, too */
    if (!a)
        a = &c->reach.ask[c->reach.ask_next++ % TUN_REACH_ASKS];
    *a = (struct tun_reach_ask){.set = true, .link = ev->link_up.link, .addr = *addr};
    memcpy(a->identity, ev->link_up.identity, CV_KEY);
    ask_again(c, a);
    tun_client_by(c, a->at);
}

void tun_reach_on_link(struct tun_client *c, const struct tun_event *ev) {
    const struct tun_config *cfg = tun_config(c->t);
    if (!c->relay || cfg->addr[0].family == 0)
        return;
    for (unsigned i = 0; i < 2; i++) {
        if (cfg->addr[i].family)
            ask_about(c, ev, &cfg->addr[i]);
    }
}

/* Of an address of the other family it can only say something if it has one, too. Else, or
 * as long as its descriptor is not known, until when to wait. */
static cv_usec ask_later(const struct tun_client *c, const struct tun_reach_ask *a,
                         const struct tun_link_view *l) {
    if (a->addr.family == l->addr.family)
        return 0;
    const struct tun_relay *r = tun_directory_find_now(c->dir, a->identity, c->now.wall);
    if (r && tun_descriptor_has_family(&r->desc, a->addr.family))
        return 0;
    return cv_usec_add(now(c), r ? ASK_REST : CV_SEC(2));
}

static void ask_work(struct tun_client *c, struct tun_reach_ask *a) {
    struct tun_link_view l;
    if (!tun_link_view(c->t, a->link, &l) || !l.up) {
        a->link = 0; /* what it said stays, for the status */
        return;
    }
    if (a->kind == TUN_REACH_REACHED && a->day != tun_descriptor_day(c->now.wall))
        ask_again(c, a); /* of today's descriptor, at today's address */
    if (a->kind == TUN_REACH_REACHED)
        return;
    if (!tun_due(a->at, now(c))) {
        tun_client_by(c, a->at);
        return;
    }
    cv_usec later = ask_later(c, a, &l);
    if (later) {
        a->at = later;
        tun_client_by(c, a->at);
        return;
    }
    say(c, a->link, TUN_REACH_ASK, a->token, &a->addr);
    a->tries++;
    a->at = cv_usec_add(now(c), a->tries < TUN_TRIES ? a->wait : ASK_REST);
    a->wait *= 2;
    tun_client_by(c, a->at);
}

/* What somebody whom we asked says. */
static bool on_told(struct tun_client *c, cv_handle link, const struct tun_reach *m) {
    for (unsigned i = 0; i < TUN_REACH_ASKS; i++) {
        struct tun_reach_ask *a = &c->reach.ask[i];
        if (!a->set || a->link != link || !cv_equal(a->token, m->token, sizeof m->token))
            continue;
        if (a->kind == TUN_REACH_REACHED)
            return true;
        a->rest = m->kind == TUN_REACH_REACHED ? 0
                  : a->rest                    ? a->rest * 2
                                               : tun_client_pause(c, ASK_REST, CV_SEC(10));
        if (a->rest > ASK_REST_MAX)
            a->rest = ASK_REST_MAX;
        ask_again(c, a);
        a->kind = m->kind;
        a->at = cv_usec_add(now(c), a->rest);
        return true;
    }
    return false;
}

/* ---- the witness ---- */

static bool own_try(const struct tun_reach_try *y) {
    return y->link == 0;
}

static void on_verdict(struct tun_client *c, const uint8_t *by, const uint8_t token[8],
                       uint8_t kind);

static void try_over(struct tun_client *c, struct tun_reach_try *y, enum tun_reach_kind kind) {
    tun_describe_done(&y->question);
    y->kind = (uint8_t)kind;
    y->at = cv_usec_add(now(c), TRY_KEPT);
    if (own_try(y)) {
        uint8_t token[8];
        memcpy(token, y->token, sizeof token);
        memset(y, 0, sizeof *y);
        on_verdict(c, NULL, token, (uint8_t)kind);
        return;
    }
    say(c, y->link, kind, y->token, &y->addr);
}

/* A free row. However many names and links somebody has, his network has a few of them
 * and our own tries find some. */
static struct tun_reach_try *try_row(struct tun_client *c, const struct cv_addr *from) {
    struct tun_reach_try *y = NULL;
    unsigned others = 0, of_network = 0;
    for (unsigned i = 0; i < TUN_REACH_TRIES; i++) {
        struct tun_reach_try *o = &c->reach.attempt[i];
        others += o->set && !own_try(o);
        of_network += o->set && !own_try(o) && same_network(&o->from, from);
        if (!o->set && !y)
            y = o;
    }
    bool many = others >= TUN_REACH_TRIES_OTHERS || of_network >= TUN_REACH_TRIES_NETWORK;
    return from->family && many ? NULL : y;
}

/* One question to `addr`, for whoever has the link (0: for ourselves). Our own are for
 * where we were answered before, and do not wait for what others had asked there. */
static bool try_begin(struct tun_client *c, cv_handle link, const uint8_t token[8],
                      const struct cv_addr *addr) {
    struct tun_link_view l = {.relay = NULL};
    (void)tun_link_view(c->t, link, &l);
    struct cv_addr from = l.addr;
    struct tun_reach_try *y = try_row(c, &from);
    if (!y || !tun_address_ok(c->t, addr) ||
        (link && !tun_questions_take(&c->reach.questions, addr, now(c))))
        return false;
    *y = (struct tun_reach_try){
        .set = true, .unsent = true, .link = link, .from = from, .addr = *addr};
    memcpy(y->token, token, sizeof y->token);
    y->at = cv_usec_add(now(c), TRY_WAIT);
    if (!tun_config(c->t)->elsewhere) {
        uint8_t datagram[TUN_DATAGRAM];
        y->unsent = false;
        tun_describe_ask(&y->question, &c->net, tun_client_rng(c), datagram);
        (void)tun_raw_send(c->t, addr, datagram);
    }
    return true;
}

static void on_try(struct tun_client *c, cv_handle link, const struct tun_link_view *l,
                   const struct tun_reach *m) {
    for (unsigned i = 0; i < TUN_REACH_TRIES; i++) {
        const struct tun_reach_try *y = &c->reach.attempt[i];
        if (!y->set || y->link != link || !cv_equal(y->token, m->token, sizeof m->token))
            continue;
        if (y->kind) /* our answer was lost; nothing is sent there for it */
            say(c, link, y->kind, y->token, &y->addr);
        return;
    }
    if (l->moving)
        return; /* the address may be the one that was just challenged */
    /* For strangers without an address of their own nobody is asked anything. */
    const struct tun_relay *r = tun_directory_find_now(c->dir, l->relay, c->now.wall);
    if (r && r->reached && !r->liar)
        (void)try_begin(c, link, m->token, &m->addr);
}

static void try_work(struct tun_client *c, struct tun_reach_try *y) {
    if (!tun_due(y->at, now(c))) {
        tun_client_by(c, y->at);
        return;
    }
    if (y->kind == 0)
        try_over(c, y, TUN_REACH_SILENT);
    else
        memset(y, 0, sizeof *y);
    if (y->set)
        tun_client_by(c, y->at);
}

bool tun_reach_on_raw(struct tun_client *c, const struct cv_addr *from, const uint8_t *buf) {
    for (unsigned i = 0; i < TUN_REACH_TRIES; i++) {
        struct tun_reach_try *y = &c->reach.attempt[i];
        if (!y->set || y->unsent || y->kind || !cv_addr_equal(&y->addr, from) ||
            !tun_describe_is_answer(&y->question, buf))
            continue;
        uint8_t raw[TUN_DESCRIPTOR_MAX];
        size_t len;
        struct tun_descriptor desc;
        bool good =
            tun_describe_consume(&y->question, &c->net, buf, raw, &len) == CV_ERR_OK &&
            tun_descriptor_open(raw, len, tun_config(c->t)->network_id, &desc) == CV_ERR_OK &&
            tun_descriptor_has_addr(&desc, from);
        if (!own_try(y))
            tun_questions_answered(&c->reach.questions, from, now(c));
        try_over(c, y, good ? TUN_REACH_REACHED : TUN_REACH_SILENT);
        return true;
    }
    return false;
}

bool tun_reach_elsewhere(struct tun_client *c, struct cv_addr *to, uint8_t buf[TUN_DATAGRAM]) {
    for (unsigned i = 0; i < TUN_REACH_TRIES; i++) {
        struct tun_reach_try *y = &c->reach.attempt[i];
        if (!y->set || !y->unsent)
            continue;
        y->unsent = false;
        *to = y->addr;
        tun_describe_ask(&y->question, &c->net, tun_client_rng(c), buf);
        return true;
    }
    return false;
}

/* ---- the asked relay ---- */

/* By today's descriptor, with the address that it asks about: over midnight it is not
 * told of the one that it had yesterday. */
static struct tun_relay *newcomer(const struct tun_client *c, const struct tun_reach_job *j) {
    struct tun_relay *r = tun_directory_find(c->dir, j->identity, tun_descriptor_day(c->now.wall));
    return r && r->raw_len > 0 && tun_descriptor_has_addr(&r->desc, &j->addr) ? r : NULL;
}

/* Bit of the address that it asks about, in the masks of its row of the directory. */
static uint8_t asked_bit(const struct tun_relay *r, const struct tun_reach_job *j) {
    return (uint8_t)(1u << tun_descriptor_addr(&r->desc, &j->addr));
}

/* The newcomer hears it, and a failure rests before it is tried again. */
static void job_over(struct tun_client *c, struct tun_reach_job *j, bool reached) {
    struct tun_relay *r = newcomer(c, j);
    if (r && reached)
        r->outside |= asked_bit(r, j);
    say(c, j->link, reached ? TUN_REACH_REACHED : TUN_REACH_SILENT, j->token, &j->addr);
    if (reached) {
        memset(j, 0, sizeof *j);
        return;
    }
    j->phase = TUN_REACH_RESTING;
    j->at = cv_usec_add(now(c), tun_client_pause(c, CV_SEC(30), CV_SEC(5)));
}

static unsigned count(const struct tun_reach_job *j, enum tun_reach_kind kind) {
    unsigned n = 0;
    for (unsigned i = 0; i < j->witnesses; i++)
        n += j->verdict[i] == kind;
    return n;
}

/* May it be asked, and is it nobody of those that said something already? */
static bool may_witness(const struct tun_client *c, const struct tun_reach_job *j,
                        const struct tun_relay *r, const struct tun_relay *w) {
    const struct tun_config *cfg = tun_config(c->t);
    if (memcmp(w->desc.identity, cfg->identity->public_key, CV_KEY) == 0 ||
        tun_relay_conflict(&w->desc, &r->desc) ||
        !tun_descriptor_has_family(&w->desc, j->addr.family))
        return false;
    for (unsigned i = 0; i < j->witnesses; i++) {
        const struct tun_relay *o = tun_directory_find_now(c->dir, j->witness[i], c->now.wall);
        if (memcmp(j->witness[i], w->desc.identity, CV_KEY) == 0 ||
            (o && j->verdict[i] == TUN_REACH_REACHED && tun_relay_conflict(&o->desc, &w->desc)))
            return false;
    }
    return true;
}

/* Drawn from those that others reached, too; from all that we reached only where these
 * are none: whoever brings his own witnesses finds nobody who listens to them. */
static const struct tun_relay *draw(const struct tun_client *c, const struct tun_reach_job *j,
                                    const struct tun_relay *r) {
    static const enum tun_directory_which of[] = {TUN_DIRECTORY_PASSED, TUN_DIRECTORY_REACHED};
    struct tun_relay *all[TUN_DIRECTORY_MAX / 2];
    for (size_t k = 0; k < sizeof of / sizeof *of; k++) {
        size_t n = tun_directory_list(c->dir, tun_descriptor_day(c->now.wall), of[k], all,
                                      sizeof all / sizeof *all);
        size_t fit = 0;
        for (size_t i = 0; i < n; i++) {
            if (may_witness(c, j, r, all[i]))
                all[fit++] = all[i];
        }
        if (fit > 0)
            return all[cv_rng_below(tun_client_rng(c), fit)];
    }
    return NULL;
}

/* Everybody there is was asked, or as many as may be, and fewer than two said anything:
 * of those who did, we among them, most say that it is there, or as many, and we say so. */
static bool majority(const struct tun_reach_job *j) {
    bool own = j->own_verdict == TUN_REACH_REACHED;
    unsigned yes = count(j, TUN_REACH_REACHED) + own;
    unsigned no = count(j, TUN_REACH_SILENT) + (j->own_verdict == TUN_REACH_SILENT);
    return yes > no || (yes == no && own);
}

static void next_witness(struct tun_client *c, struct tun_reach_job *j, const struct tun_relay *r) {
    bool enough = count(j, TUN_REACH_REACHED) >= TUN_REACH_ENOUGH;
    bool all = j->witnesses == TUN_REACH_WITNESSES;
    unsigned words = count(j, TUN_REACH_REACHED) + count(j, TUN_REACH_SILENT);
    if (enough || (all && words >= TUN_REACH_ENOUGH)) {
        job_over(c, j, enough);
        return;
    }
    const struct tun_relay *w = all ? NULL : draw(c, j, r);
    if (!w && j->own) {
        job_over(c, j, majority(j));
        return;
    }
    j->phase = TUN_REACH_ASKING;
    j->tries = 0;
    j->link_up = false;
    j->say_at = now(c);
    j->at = cv_usec_add(now(c), WITNESS_WAIT);
    cv_rng_fill(tun_client_rng(c), j->try_token, sizeof j->try_token);
    j->own = !w;
    if (w)
        memcpy(j->witness[j->witnesses++], w->desc.identity, CV_KEY);
    else if (!try_begin(c, 0, j->try_token, &j->addr))
        j->at = now(c);
}

/* Says TRY to the witness, three times, once there is a link. */
static void urge(struct tun_client *c, struct tun_reach_job *j) {
    if (j->own || j->tries >= 3 || !tun_due(j->say_at, now(c)))
        return;
    const struct tun_relay *w =
        tun_directory_find_now(c->dir, j->witness[j->witnesses - 1], c->now.wall);
    struct tun_relay_ref ref;
    struct tun_link *l = NULL;
    if (w)
        tun_relay_ref_fill(&ref, w, c->now.wall);
    if (!w || tun_link_open(c->t, &c->now, &ref, &l)) {
        j->at = now(c);
        return;
    }
    j->say_at = cv_usec_add(now(c), AFTER_AUTH);
    if (tun_link_is_up(l) && j->link_up) {
        say(c, tun_link_handle(l), TUN_REACH_TRY, j->try_token, &j->addr);
        j->say_at = cv_usec_add(now(c), CV_MSEC(500) << j->tries++);
    }
    j->link_up = tun_link_is_up(l);
}

static void job_work(struct tun_client *c, struct tun_reach_job *j) {
    struct tun_relay *r = newcomer(c, j);
    bool due = tun_due(j->at, now(c));
    if (j->phase == TUN_REACH_RESTING) {
        if (due)
            memset(j, 0, sizeof *j);
    } else if (r && r->liar) {
        job_over(c, j, false);
    } else if (r && tun_relay_is_there(r, (unsigned)tun_descriptor_addr(&r->desc, &j->addr))) {
        job_over(c, j, true);
    } else if (!r || !(r->reached & asked_bit(r, j))) {
        /* First it answers us; if it does not, nobody is troubled for it. */
        if (j->phase != TUN_REACH_WAITING || due)
            job_over(c, j, false);
    } else if (j->phase == TUN_REACH_WAITING || due) {
        next_witness(c, j, r);
    }
    if (j->phase == TUN_REACH_ASKING) {
        urge(c, j);
        if (!j->own && j->tries < 3)
            tun_client_by(c, j->say_at);
    }
    if (j->phase)
        tun_client_by(c, j->at);
}

/* A witness's word, or our own (`by` NULL). */
static void on_verdict(struct tun_client *c, const uint8_t *by, const uint8_t token[8],
                       uint8_t kind) {
    for (unsigned i = 0; i < TUN_REACH_JOBS; i++) {
        struct tun_reach_job *j = &c->reach.job[i];
        if (j->phase != TUN_REACH_ASKING || j->own != !by ||
            !cv_equal(j->try_token, token, sizeof j->try_token) ||
            (by && memcmp(j->witness[j->witnesses - 1], by, CV_KEY) != 0))
            continue;
        *(by ? &j->verdict[j->witnesses - 1] : &j->own_verdict) = kind;
        j->at = now(c);
        return;
    }
}

/* The row of this newcomer's address, or a free one while its network has not many. */
static struct tun_reach_job *job_for(struct tun_client *c, const uint8_t identity[CV_KEY],
                                     const struct cv_addr *addr, const struct cv_addr *from) {
    struct tun_reach_job *empty = NULL;
    unsigned of_network = 0;
    for (unsigned i = 0; i < TUN_REACH_JOBS; i++) {
        struct tun_reach_job *j = &c->reach.job[i];
        if (j->phase && memcmp(j->identity, identity, CV_KEY) == 0 && cv_addr_equal(&j->addr, addr))
            return j;
        of_network += j->phase && same_network(&j->from, from);
        if (!j->phase && !empty)
            empty = j;
    }
    return of_network < TUN_REACH_JOBS / 4 ? empty : NULL;
}

static void on_ask(struct tun_client *c, cv_handle link, const struct tun_link_view *l,
                   const struct tun_reach *m) {
    const uint8_t *by = l->relay;
    struct tun_reach_job *j =
        tun_address_ok(c->t, &m->addr) ? job_for(c, by, &m->addr, &l->addr) : NULL;
    if (!j)
        return; /* it asks again */
    j->link = link;
    memcpy(j->token, m->token, sizeof j->token);
    if (j->phase == TUN_REACH_RESTING)
        say(c, link, TUN_REACH_SILENT, m->token, &j->addr);
    if (j->phase)
        return;
    j->phase = TUN_REACH_WAITING;
    memcpy(j->identity, by, CV_KEY);
    j->from = l->addr;
    j->addr = m->addr;
    j->at = cv_usec_add(now(c), OWN_WAIT);
    struct tun_relay *r = newcomer(c, j);
    if (r && !(r->reached & asked_bit(r, j)))
        tun_contact_reach(c, r);
    else if (!r && !l->moving)
        (void)tun_contact_reach_at(c, by, &l->addr); /* for today's descriptor */
}

void tun_reach_on_message(struct tun_client *c, const struct tun_event *ev) {
    struct cv_rd rd = cv_rd_init(ev->link_message.body, ev->link_message.len);
    cv_handle link = ev->link_message.link;
    struct tun_link_view l;
    struct tun_reach m;
    if (!c->relay || !tun_link_view(c->t, link, &l) || !l.relay || tun_reach_read(&rd, &m))
        return;
    switch ((enum tun_reach_kind)m.kind) {
    case TUN_REACH_ASK:
        on_ask(c, link, &l, &m);
        break;
    case TUN_REACH_TRY:
        on_try(c, link, &l, &m);
        break;
    case TUN_REACH_REACHED:
    case TUN_REACH_SILENT:
        if (!on_told(c, link, &m))
            on_verdict(c, l.relay, m.token, m.kind);
        break;
    }
}

void tun_reach_work(struct tun_client *c) {
    for (unsigned i = 0; i < TUN_REACH_ASKS; i++) {
        if (c->reach.ask[i].set)
            ask_work(c, &c->reach.ask[i]);
    }
    for (unsigned i = 0; i < TUN_REACH_TRIES; i++) {
        if (c->reach.attempt[i].set)
            try_work(c, &c->reach.attempt[i]);
    }
    for (unsigned i = 0; i < TUN_REACH_JOBS; i++) {
        if (c->reach.job[i].phase)
            job_work(c, &c->reach.job[i]);
    }
}

void tun_reach_status(const struct tun_client *c, unsigned i, uint32_t *ret_reached,
                      uint32_t *ret_silent) {
    const struct cv_addr *addr = &tun_config(c->t)->addr[i];
    *ret_reached = *ret_silent = 0;
    for (unsigned k = 0; k < TUN_REACH_ASKS; k++) {
        const struct tun_reach_ask *a = &c->reach.ask[k];
        bool about = a->set && cv_addr_equal(&a->addr, addr);
        *ret_reached += about && a->kind == TUN_REACH_REACHED;
        *ret_silent += about && a->kind == TUN_REACH_SILENT;
    }
}

void tun_reach_done(struct tun_client *c) {
    for (unsigned i = 0; i < TUN_REACH_TRIES; i++) {
        if (c->reach.attempt[i].set)
            tun_describe_done(&c->reach.attempt[i].question);
    }
}
