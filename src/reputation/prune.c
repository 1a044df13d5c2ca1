/* The rules (prune.h), and when a node does it. */
#include "reputation/prune.h"

#include <string.h>

#include "base/trace.h"
#include "reputation/ledger_internal.h"

enum { TRIES = 8 /* places above, agreed or not, before it is left for another time */ };

enum cv_err rep_prune_superfluous(const struct rep_store *s, const struct rep_record *r,
                                  uint32_t before, bool *ret) {
    *ret = false;
    if (r->type == REP_SUCCESSION || r->epoch >= before)
        return CV_ERR_OK;
    uint64_t seq = r->seq;
    for (unsigned i = 0; i < TRIES; i++) {
        struct rep_record at;
        struct rep_agreed a;
        enum cv_err err = s->block_seek(s->ctx, r->owner, r->peer, seq + 1, REP_SEEK_FROM, &at);
        if (err || at.type == REP_SUCCESSION)
            return err == CV_ERR_NOENT ? CV_ERR_OK : err;
        seq = at.seq;
        err = rep_chain_agreed(s, &at, &a);
        if (err && err != CV_ERR_NOENT)
            return err;
        if (!err && at.epoch < before && a.epoch < before && a.up >= r->given &&
            a.down >= r->taken) {
            *ret = true;
            return CV_ERR_OK;
        }
    }
    return CV_ERR_OK;
}

/* The half-blocks of a chain that follow on `whole`, up to `most`; moves it behind them. */
static enum cv_err follow(const struct rep_store *s, const uint8_t owner[CV_KEY], unsigned most,
                          uint64_t *whole, unsigned *ret_n) {
    struct rep_record r;
    enum cv_err err = CV_ERR_OK;
    for (*ret_n = 0; !err && *ret_n < most; ++*ret_n) {
        err = s->block_get(s->ctx, owner, *whole + 1, &r);
        if (!err && r.type == REP_SUCCESSION)
            err = CV_ERR_NOENT;
        *whole += !err;
    }
    return err;
}

static bool is_there(const struct rep_store *s, const struct rep_record *r) {
    struct rep_record at;
    return s->block_get(s->ctx, r->owner, r->seq, &at) == CV_ERR_OK &&
           memcmp(at.hash, r->hash, REP_HASH) == 0;
}

enum cv_err rep_prune_answered(const struct rep_store *s, const uint8_t owner[CV_KEY],
                               uint64_t upto, uint32_t before, const struct rep_record *answer,
                               unsigned n, uint64_t *at) {
    enum cv_err err = CV_ERR_NOENT;
    unsigned looked;
    for (unsigned i = 0; err == CV_ERR_NOENT && i < n; i++) {
        const struct rep_record *r = &answer[i];
        if (memcmp(r->owner, owner, CV_KEY) != 0 || r->seq <= *at || r->seq > upto ||
            r->type == REP_SUCCESSION)
            continue;
        err = follow(s, owner, REP_PRUNE_STEP, at, &looked); /* OK: further than that */
        if (err == CV_ERR_NOENT && r->seq > *at && r->epoch < before && is_there(s, r))
            *at = r->seq;
    }
    return err == CV_ERR_NOENT ? CV_ERR_OK : err;
}

static enum cv_err may_go(const struct rep_store *s, const struct rep_prune *p,
                          const struct rep_record *r, bool *ret) {
    struct rep_record next;
    uint64_t whole;
    *ret = false;
    if (r->epoch >= p->before || memcmp(r->peer, p->me, CV_KEY) == 0 ||
        memcmp(r->owner, p->me, CV_KEY) == 0)
        return CV_ERR_OK;
    enum cv_err err = s->block_seek(s->ctx, r->owner, NULL, r->seq + 1, REP_SEEK_FROM, &next);
    if (err || next.type == REP_SUCCESSION || next.epoch >= p->before)
        return err == CV_ERR_NOENT ? CV_ERR_OK : err; /* it ends a chain, or the hole below it */
    err = s->whole_get(s->ctx, r->owner, &whole);
    if (err || r->seq == whole)
        return err;
    if (r->seq > whole) { /* behind a hole; or the chain has grown since, and it waits */
        err = s->block_get(s->ctx, r->owner, whole + 1, &next);
        if (err != CV_ERR_NOENT)
            return err;
    }
    return rep_prune_superfluous(s, r, p->before, ret);
}

/* Both halves go together where both may: what is above them is whole then, when it is
 * their turn to be looked for. */
static enum cv_err look(const struct rep_store *s, struct rep_prune *p,
                        const struct rep_record *r) {
    struct rep_record other;
    bool gone, too = false;
    enum cv_err err = may_go(s, p, r, &gone);
    if (err || !gone)
        return err;
    err = rep_chain_other(s, r, &other);
    if (!err)
        err = may_go(s, p, &other, &too);
    if (err == CV_ERR_OK || err == CV_ERR_NOENT)
        err = s->block_del(s->ctx, r->owner, r->seq);
    if (!err && too)
        err = s->block_del(s->ctx, other.owner, other.seq);
    if (!err)
        p->removed += 1 + too;
    return err;
}

/* What is out of order is damaged, and a pass over it would never end. */
static enum cv_err next_owner(const struct rep_store *s, struct rep_prune *p) {
    uint8_t next[CV_KEY];
    enum cv_err err = s->owner_next(s->ctx, p->begun ? p->owner : NULL, next);
    if (!err && p->begun && memcmp(next, p->owner, CV_KEY) <= 0)
        return CV_ERR_CORRUPT;
    p->begun = true;
    p->seq = 0;
    p->done = err == CV_ERR_NOENT;
    if (!err)
        memcpy(p->owner, next, CV_KEY);
    return p->done ? CV_ERR_OK : err;
}

/* How far the chain that is looked at is whole; a few half-blocks further. */
static enum cv_err tell(const struct rep_store *s, struct rep_prune *p, unsigned most,
                        unsigned *ret_n) {
    uint64_t was, whole;
    enum cv_err err = s->whole_get(s->ctx, p->owner, &was);
    *ret_n = 0;
    if (err)
        return err;
    whole = was;
    err = follow(s, p->owner, most, &whole, ret_n);
    if (err && err != CV_ERR_NOENT)
        return err;
    bool ends = err == CV_ERR_NOENT;
    err = whole > was ? s->whole_put(s->ctx, p->owner, whole) : CV_ERR_OK;
    return err || !ends ? err : next_owner(s, p);
}

/* Looks at the next half-block of the chain. */
static enum cv_err prune(const struct rep_store *s, struct rep_prune *p) {
    struct rep_record r;
    enum cv_err err = s->block_seek(s->ctx, p->owner, NULL, p->seq + 1, REP_SEEK_FROM, &r);
    if (err == CV_ERR_NOENT || (!err && r.type == REP_SUCCESSION))
        return next_owner(s, p);
    if (!err && r.seq <= p->seq)
        return CV_ERR_CORRUPT;
    if (err)
        return err;
    p->seq = r.seq;
    return look(s, p, &r);
}

enum cv_err rep_prune_step(const struct rep_store *s, struct rep_prune *p, unsigned most) {
    enum cv_err err = CV_ERR_OK;
    if (!p->begun) {
        err = p->told ? CV_ERR_OK : s->prune_put(s->ctx, p->before);
        err = err ? err : next_owner(s, p);
    }
    for (unsigned i = 0, n = 1; !err && !p->done && i < most; i += n) {
        n = 1;
        err = p->told ? prune(s, p) : tell(s, p, most - i, &n);
        if (!err && p->done && !p->told) { /* once more from the first on */
            p->told = true;
            p->begun = p->done = false;
            err = next_owner(s, p);
        }
    }
    return err;
}

/* ---- in a node ---- */

uint32_t rep_prune_before(const struct rep_ledger *l) {
    return l->pruned < l->epoch ? l->pruned : l->epoch;
}

/* By the clock, but no further than what two relays agreed: what a clock that runs ahead
 * had removed would be counted twice when it comes back. */
void rep_prune_begin(struct rep_ledger *l, struct cv_now now) {
    uint32_t newest = 0;
    enum cv_err err = l->failed ? CV_ERR_OK : l->store->edge_newest(l->store->ctx, &newest);
    if (err)
        rep_ledger_fail(l, err);
    newest = newest < l->epoch ? newest : l->epoch;
    uint32_t before = newest > REP_PRUNE_EPOCHS ? newest - REP_PRUNE_EPOCHS : 0;
    if (before < rep_prune_before(l))
        before = rep_prune_before(l);
    if (l->failed || before <= l->prune.before || (l->prune.begun && !l->prune.done))
        return; /* a pass that runs ends first: it may take longer than an epoch */
    l->prune = (struct rep_prune){.before = before};
    memcpy(l->prune.me, l->identity_secret.public_key, CV_KEY);
    l->prune_at = now.mono;
}

void rep_prune_due(struct rep_ledger *l, struct cv_now now) {
    uint64_t was = l->prune.removed;
    l->prune_at = CV_USEC_NEVER;
    if (now.mono < l->doubted) { /* somebody said so since it began */
        l->prune_at = l->doubted;
        return;
    }
    if (!rep_ledger_begin(l, now))
        return;
    enum cv_err err = rep_prune_step(l->store, &l->prune, REP_PRUNE_STEP);
    if (err) {
        rep_ledger_fail(l, err);
        return;
    }
    uint64_t gone = l->prune.removed - was;
    l->pruned = l->prune.before;
    l->gossip.blocks -= gone < l->gossip.blocks ? gone : l->gossip.blocks;
    rep_ledger_touch(l, now, (uint32_t)gone);
    if (!l->prune.done)
        l->prune_at = cv_usec_add(now.mono, REP_PRUNE_WAIT);
    else
        CV_TRACE(LEDGER, pruned, now.mono, "before=%u removed=%llu", l->prune.before,
                 (unsigned long long)l->prune.removed);
}
