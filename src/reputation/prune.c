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

enum cv_err rep_prune_behind(const struct rep_store *s, const uint8_t owner[CV_KEY], uint64_t seq,
                             uint32_t before, struct rep_record *ret) {
    struct rep_record next;
    enum cv_err err = s->block_seek(s->ctx, owner, NULL, seq, REP_SEEK_FROM, &next);
    if (!err && (next.type == REP_SUCCESSION || next.epoch >= before))
        return CV_ERR_NOENT;
    if (!err)
        *ret = next;
    return err;
}

static enum cv_err may_go(const struct rep_store *s, const struct rep_prune *p,
                          const struct rep_record *r, bool *ret) {
    struct rep_record next;
    *ret = false;
    if (r->epoch >= p->before || memcmp(r->peer, p->me, CV_KEY) == 0 ||
        memcmp(r->owner, p->me, CV_KEY) == 0)
        return CV_ERR_OK;
    enum cv_err err = rep_prune_behind(s, r->owner, r->seq + 1, p->before, &next);
    if (err) /* it ends a chain, or the hole below it */
        return err == CV_ERR_NOENT ? CV_ERR_OK : err;
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

enum cv_err rep_prune_step(const struct rep_store *s, struct rep_prune *p, unsigned most) {
    enum cv_err err = CV_ERR_OK;
    if (!p->begun) {
        err = s->prune_put(s->ctx, p->before);
        err = err ? err : next_owner(s, p);
    }
    for (unsigned i = 0; !err && !p->done && i < most; i++) {
        struct rep_record r;
        err = s->block_seek(s->ctx, p->owner, NULL, p->seq + 1, REP_SEEK_FROM, &r);
        if (err == CV_ERR_NOENT || (!err && r.type == REP_SUCCESSION)) {
            err = next_owner(s, p);
        } else if (!err && r.seq <= p->seq) {
            err = CV_ERR_CORRUPT;
        } else if (!err) {
            p->seq = r.seq;
            err = look(s, p, &r);
        }
    }
    return err;
}

/* ---- in a node ---- */

uint32_t rep_prune_before(const struct rep_ledger *l) {
    uint32_t before = l->epoch > REP_PRUNE_EPOCHS ? l->epoch - REP_PRUNE_EPOCHS : 0;
    return before > l->pruned ? before : l->pruned;
}

void rep_prune_begin(struct rep_ledger *l, struct cv_now now) {
    uint32_t before = rep_prune_before(l);
    if (l->failed || before <= l->prune.before)
        return;
    l->prune = (struct rep_prune){.before = before};
    memcpy(l->prune.me, l->identity_secret.public_key, CV_KEY);
    l->prune_at = now.mono;
}

void rep_prune_due(struct rep_ledger *l, struct cv_now now) {
    uint64_t was = l->prune.removed;
    l->prune_at = CV_USEC_NEVER;
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
