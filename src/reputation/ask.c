/*
 * Half-blocks of direct neighbours. Every relay asks its neighbours, in turn
 * and a few half-blocks at a time, for their chains with the other halves, so
 * that it knows the rows two hops around it. Once per neighbour it also asks
 * for half-blocks of its own that it does not know: if there are any, its
 * state folder is an old copy, and signing on would fork its chain.
 */
#include <assert.h>
#include <string.h>

#include "reputation/ledger_internal.h"

enum { LOOK_AHEAD = 1024 }; /* known half-blocks skipped in one step */

static cv_usec window(const struct rep_ledger *l) {
    return CV_SEC(l->cfg.epoch_seconds) / REP_RELEASE_PART;
}

static void wait(struct rep_ledger *l, struct rep_peer *p, cv_usec at) {
    (void)cv_heap_set(&l->timers, &p->ask.timer, at);
}

/* Everything known: again in the next seventh of an epoch or so. */
static void rest(struct rep_ledger *l, struct cv_now now, struct rep_peer *p) {
    p->asked = false;
    p->ask_tries = 0;
    wait(l, p, cv_usec_add(now.mono, CV_SEC(1) + window(l) + cv_rng_below(l->rng, window(l))));
}

void rep_ask_link_up(struct rep_ledger *l, struct cv_now now, struct rep_peer *p) {
    if (cv_timer_queued(&p->ask.timer))
        return;
    cv_usec most = cv_usec_min(window(l), REP_ASK_FIRST_MAX);
    p->ask_tries = 0;
    wait(l, p, cv_usec_add(now.mono, cv_rng_below(l->rng, most)));
}

/* Moves ask_from behind what is known. False: not there yet, go on later. */
static bool skip_known(struct rep_ledger *l, struct rep_peer *p) {
    struct rep_record r;
    uint64_t whole;
    enum cv_err err = l->store->whole_get(l->store->ctx, p->key, &whole);
    if (!err && p->ask_from <= whole)
        p->ask_from = whole + 1;
    for (unsigned i = 0; !err && i < LOOK_AHEAD; i++) {
        err = l->store->block_get(l->store->ctx, p->key, p->ask_from, &r);
        p->ask_from += !err;
    }
    if (err && err != CV_ERR_NOENT)
        rep_ledger_fail(l, err);
    return err == CV_ERR_NOENT;
}

static uint64_t own_next(struct rep_ledger *l) {
    struct rep_record head;
    enum cv_err err = l->store->block_seek(l->store->ctx, l->identity_secret.public_key, NULL,
                                           INT64_MAX, REP_SEEK_BELOW, &head);
    if (err && err != CV_ERR_NOENT)
        rep_ledger_fail(l, err);
    return err ? 1 : head.seq + 1;
}

void rep_ask_due(struct rep_ledger *l, struct cv_now now, struct rep_peer *p) {
    if (l->failed || p->banned || TAILQ_EMPTY(&p->links))
        return;
    struct rep_message m = {.kind = REP_MESSAGE_ASK};
    if (p->wants.asked && now.mono < p->wants.until) {
        wait(l, p, p->wants.until); /* gossip waits for an answer */
        return;
    }
    p->wants.asked = false;
    if (p->ask_tries++ == REP_ASK_TRIES) {
        rest(l, now, p);
        return;
    }
    if (!p->checked_self) {
        m.from = own_next(l);
        memcpy(m.owner, l->identity_secret.public_key, CV_KEY);
    } else {
        if (!skip_known(l, p)) {
            wait(l, p, cv_usec_add(now.mono, CV_MSEC(100)));
            return;
        }
        m.from = p->ask_from;
        memcpy(m.owner, p->key, CV_KEY);
    }
    if (l->failed)
        return;
    p->asked = true;
    memcpy(p->asked_owner, m.owner, CV_KEY);
    rep_ledger_send(l, p, &m, false);
    wait(l, p, cv_usec_add(now.mono, REP_ASK_WAIT * p->ask_tries));
}

/* ---- answering ---- */

/* The other half of one of our half-blocks, if it is known. */
static enum cv_err other_half(struct rep_ledger *l, const struct rep_record *r,
                              struct rep_record *ret) {
    if (r->type == REP_SUCCESSION)
        return CV_ERR_NOENT; /* it has none */
    if (r->type == REP_PROPOSAL)
        return l->store->block_answer(l->store->ctx, r, ret);
    return l->store->block_get(l->store->ctx, r->peer, r->peer_seq, ret);
}

/* Half-blocks of `owner` from seq `from` on; ours with their other halves,
 * never torn from them. */
static enum cv_err collect(struct rep_ledger *l, const uint8_t owner[CV_KEY], uint64_t from,
                           bool with_other, uint8_t *buf, uint8_t *ret_n) {
    struct rep_record r, other;
    uint8_t n = 0;
    for (uint64_t seq = from; n < REP_RECORDS_PER_MESSAGE && seq < INT64_MAX; seq = r.seq + 1) {
        enum cv_err err = l->store->block_seek(l->store->ctx, owner, NULL, seq, REP_SEEK_FROM, &r);
        if (err == CV_ERR_NOENT)
            break;
        enum cv_err pair = with_other && !err ? other_half(l, &r, &other) : CV_ERR_NOENT;
        if (err || (pair && pair != CV_ERR_NOENT))
            return err ? err : pair;
        if (!pair && n + 2 > REP_RECORDS_PER_MESSAGE)
            break;
        rep_record_write(&r, buf + n++ * REP_RECORD);
        if (!pair)
            rep_record_write(&other, buf + n++ * REP_RECORD);
    }
    *ret_n = n;
    return CV_ERR_OK;
}

enum cv_err rep_ask_answer(struct rep_ledger *l, struct cv_now now, struct rep_peer *p,
                           const struct rep_message *m) {
    uint8_t buf[REP_RECORDS_PER_MESSAGE * REP_RECORD];
    struct rep_message answer = {.kind = REP_MESSAGE_RECORDS, .records = buf};
    bool ours = memcmp(m->owner, l->identity_secret.public_key, CV_KEY) == 0;
    if (!cv_tokenbucket_take(&p->answers, now.mono, 1))
        return CV_ERR_LIMIT;
    enum cv_err err = collect(l, m->owner, m->from, ours, buf, &answer.count);
    if (err) {
        rep_ledger_fail(l, err);
        return err;
    }
    rep_ledger_send(l, p, &answer, true);
    return CV_ERR_OK;
}

/* ---- taking half-blocks in ---- */

struct batch {
    struct rep_record r[REP_RECORDS_PER_MESSAGE];
    unsigned n;
    bool vouched; /* one that may be superfluous was signed */
};

static bool about_us(const struct rep_ledger *l, const struct rep_peer *p,
                     const struct rep_record *r) {
    return memcmp(r->owner, p->key, CV_KEY) == 0 &&
           memcmp(r->peer, l->identity_secret.public_key, CV_KEY) == 0;
}

static bool belongs_to_answer(const struct rep_peer *p, const struct rep_record *r) {
    return p->asked && (memcmp(r->owner, p->asked_owner, CV_KEY) == 0 ||
                        memcmp(r->peer, p->asked_owner, CV_KEY) == 0);
}

static enum cv_err read_all(struct rep_ledger *l, const struct rep_peer *p,
                            const struct rep_message *m, struct batch *ret) {
    ret->n = m->count;
    ret->vouched = false;
    for (unsigned i = 0; i < ret->n; i++) {
        enum cv_err err = rep_record_read(m->records + i * REP_RECORD, &ret->r[i]);
        if (err)
            return err;
        if (l->epoch == 0 || ret->r[i].epoch > l->epoch + 1)
            return CV_ERR_STALE; /* tomorrow's octets have not been carried */
        if (ret->r[i].type == REP_SUCCESSION)
            continue; /* told to whoever may care: see take() */
        if (!about_us(l, p, &ret->r[i]) && !belongs_to_answer(p, &ret->r[i]) &&
            !rep_gossip_wanted(p, &ret->r[i]))
            return CV_ERR_DENIED;
    }
    return CV_ERR_OK;
}

/* Somebody shows us a half-block with our signature. */
static enum cv_err our_own(struct rep_ledger *l, const struct rep_record *r) {
    struct rep_record known;
    enum cv_err err = l->store->block_get(l->store->ctx, r->owner, r->seq, &known);
    if (!err && memcmp(known.hash, r->hash, REP_HASH) == 0)
        return CV_ERR_EXIST;
    if (err && err != CV_ERR_NOENT) {
        rep_ledger_fail(l, err);
        return err;
    }
    if (!rep_record_verify(r, l->cfg.network_id))
        return CV_ERR_AUTH;
    rep_ledger_fail(l, CV_ERR_DIFFERS); /* we are an old copy of ourselves */
    return CV_ERR_DIFFERS;
}

/* Who takes whose place is told unasked, by anybody. */
static enum cv_err may_succeed(struct rep_ledger *l, struct rep_peer *p,
                               const struct rep_record *r) {
    struct rep_record known;
    enum cv_err err = l->store->block_get(l->store->ctx, r->owner, r->seq, &known);
    if (!err && memcmp(known.hash, r->hash, REP_HASH) == 0)
        return CV_ERR_EXIST;
    if (!rep_succession_near(l, r))
        return CV_ERR_EXIST;                        /* nothing hangs on it: as if we had it */
    if (!rep_record_verify(r, l->cfg.network_id)) { /* it takes of what all have together */
        l->stats.blocks_refused++;
        return CV_ERR_AUTH;
    }
    return rep_names_room(l, p, r->owner) && rep_gossip_may_take(l, p) ? CV_ERR_OK : CV_ERR_LIMIT;
}

/* Of others about others, and of no use any more; what contradicts something that is kept
 * proves a forgery, and what does not go on from it may lead to one. What is superfluous is not
 * verified, but the first of a message that may be is, before anything is looked for: work is not
 * to be had for octets that anybody can make up. Where a neighbour has had its looks, what it
 * brings is taken like everything else, and goes with the next pass. AUTH: it is not signed. */
static enum cv_err superfluous(struct rep_ledger *l, struct rep_peer *p, const struct rep_record *r,
                               bool *vouched, bool *ret) {
    bool fits = false;
    *ret = false;
    if (memcmp(r->peer, l->identity_secret.public_key, CV_KEY) == 0 ||
        r->epoch >= rep_prune_before(l) || !rep_gossip_may_look(l, p))
        return CV_ERR_OK;
    if (!*vouched && !rep_record_verify(r, l->cfg.network_id)) {
        l->stats.blocks_refused++;
        return CV_ERR_AUTH;
    }
    *vouched = true;
    enum cv_err err = rep_prune_superfluous(l->store, r, rep_prune_before(l), ret);
    if (!err && *ret)
        err = rep_chain_fits(l->store, r, &fits);
    if (err)
        rep_ledger_fail(l, err);
    *ret = *ret && fits;
    return err;
}

/* *ret_gone: it is not there any more and not missed. */
static enum cv_err take(struct rep_ledger *l, struct cv_now now, struct rep_peer *p,
                        const struct rep_record *r, bool *vouched, bool *ret_gone) {
    struct rep_chain_result result;
    *ret_gone = false;
    if (memcmp(r->owner, l->identity_secret.public_key, CV_KEY) == 0)
        return our_own(l, r);
    if (r->type == REP_SUCCESSION) {
        enum cv_err refused = may_succeed(l, p, r);
        if (refused)
            return refused;
    } else {
        bool answer = belongs_to_answer(p, r), ours = about_us(l, p, r);
        if (!answer && !ours && !rep_gossip_near(l, r))
            return CV_ERR_EXIST; /* too far away: as if we had it */
        struct rep_record known;
        if (l->store->block_get(l->store->ctx, r->owner, r->seq, &known) != CV_ERR_OK) {
            enum cv_err refused = superfluous(l, p, r, vouched, ret_gone);
            if (refused || *ret_gone)
                return refused ? refused : CV_ERR_EXIST; /* as if we still had it */
            /* Also in answers: a chain of one's own can be made as long as one likes. */
            if (!(ours && !answer ? rep_names_may_push(l, p, r) : rep_gossip_may_take(l, p)))
                return CV_ERR_LIMIT;
        }
    }
    if (!rep_ledger_begin(l, now))
        return CV_ERR_DENIED;
    enum cv_err err = rep_ledger_add(l, now, r, p, &result);
    if ((!err || err == CV_ERR_EXIST) && r->type != REP_SUCCESSION && about_us(l, p, r))
        rep_settle_record(l, now, p, r);
    return err;
}

/* After an answer: on with the next, or rest. */
static void go_on(struct rep_ledger *l, struct cv_now now, struct rep_peer *p, unsigned news) {
    bool self = !p->checked_self;
    p->asked = false;
    p->ask_tries = 0;
    p->checked_self = true;
    if (news || self)
        wait(l, p, cv_usec_add(now.mono, CV_MSEC(50) + cv_rng_below(l->rng, CV_MSEC(200))));
    else
        rest(l, now, p);
}

/* What proven forgers signed is not taken; they hide nothing of who tells it beside his own. */
static bool passed_over(const struct rep_ledger *l, const struct rep_peer *p,
                        const struct rep_record *r, enum cv_err err) {
    return err == CV_ERR_DENIED && !l->failed && memcmp(r->owner, p->key, CV_KEY) != 0;
}

enum cv_err rep_ask_records(struct rep_ledger *l, struct cv_now now, struct rep_peer *p,
                            const struct rep_message *m) {
    struct batch b;
    unsigned news = 0;
    bool answer = p->asked && m->count == 0;
    enum cv_err err = l->failed ? CV_ERR_DENIED : read_all(l, p, m, &b);
    if (err)
        b.n = 0;
    for (unsigned i = 0; !err && i < b.n; i++) {
        if (p->asked && memcmp(b.r[i].owner, p->asked_owner, CV_KEY) == 0)
            answer = answer || !about_us(l, p, &b.r[i]) || b.n > 1 || b.r[i].seq == p->ask_from;
        bool gone;
        err = take(l, now, p, &b.r[i], &b.vouched, &gone);
        news += err == CV_ERR_OK || gone;
        if (err == CV_ERR_EXIST || passed_over(l, p, &b.r[i], err))
            err = CV_ERR_OK;
        if (gone && !err && memcmp(b.r[i].owner, p->key, CV_KEY) == 0 && b.r[i].seq == p->ask_from)
            p->ask_from++;
    }
    if (answer && !l->failed)
        go_on(l, now, p, err ? 0 : news);
    if (!l->failed)
        rep_gossip_records(l, now, p, b.r, b.n, news, err);
    return err;
}
