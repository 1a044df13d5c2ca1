#include "reputation/chain.h"

#include <assert.h>
#include <string.h>

#include "base/trace.h"
#include "reputation/forkproof.h"
#include "reputation/wide.h"

/* 2^(-k/4) as a fraction of 2^32, k = 0..3. */
static const uint64_t quarter[REP_HALF_LIFE_EPOCHS] = {4294967296, 3611622603, 3037000500,
                                                       2553802834};

uint64_t rep_chain_decay(uint64_t octets, uint32_t from, uint32_t to) {
    if (to <= from)
        return octets;
    uint32_t age = to - from;
    uint32_t halves = age / REP_HALF_LIFE_EPOCHS;
    if (halves >= 64)
        return 0;
    rep_u128 part = (rep_u128)octets * quarter[age % REP_HALF_LIFE_EPOCHS] >> 32;
    return (uint64_t)part >> halves;
}

enum { NEAREST_TRIES = 8 };

static enum cv_err keep_fork(const struct rep_store *s, const uint8_t owner[CV_KEY], uint64_t seq,
                             const struct rep_fork *f, int64_t wall) {
    enum cv_err err = s->fork_put(s->ctx, owner, seq, f);
    if (err == CV_ERR_EXIST)
        err = CV_ERR_OK;
    if (!err)
        err = s->ban_put(s->ctx, owner, wall + REP_BAN_DAYS * INT64_C(86400));
    return err;
}

/* `r` (its signature checked) contradicts `known`: that is a proof. */
static enum cv_err prove(const struct rep_store *s, const struct rep_record *known,
                         const struct rep_record *r, int64_t wall, struct rep_chain_result *ret) {
    rep_record_write(known, ret->fork.a);
    rep_record_write(r, ret->fork.b);
    enum cv_err err = keep_fork(s, r->owner, r->seq, &ret->fork, wall);
    if (err)
        return err;
    ret->forked = true;
    CV_TRACE(LEDGER, fork_proven, 0, "owner=%08x seq=%llu", cv_id_short(r->owner, CV_KEY),
             (unsigned long long)r->seq);
    return CV_ERR_DIFFERS;
}

/* The half-blocks next to `r`, as far as they are known. */
struct around {
    struct rep_record same, before, after, pair_below, pair_above, closed;
    bool has_same, has_before, has_after, has_pair_below, has_pair_above;
    bool has_closed; /* the owner's key has a successor */
};

static enum cv_err found(enum cv_err err, bool *ret) {
    *ret = err == CV_ERR_OK;
    return err == CV_ERR_NOENT ? CV_ERR_OK : err;
}

static enum cv_err look_around(const struct rep_store *s, const struct rep_record *r,
                               struct around *a) {
    struct rep_record from;
    bool has_from;
    /* Most come in order: then nothing of the owner is at this place or above. */
    enum cv_err err =
        found(s->block_seek(s->ctx, r->owner, NULL, r->seq, REP_SEEK_FROM, &from), &has_from);
    if (err)
        return err;
    memset(a, 0, sizeof *a);
    a->has_same = has_from && from.seq == r->seq;
    if (a->has_same) {
        a->same = from;
        return CV_ERR_OK;
    }
    if (r->type == REP_SUCCESSION) /* the newest half-block is what it may contradict */
        return found(s->block_seek(s->ctx, r->owner, NULL, r->seq, REP_SEEK_BELOW, &a->pair_below),
                     &a->has_pair_below);
    err = found(s->block_get(s->ctx, r->owner, r->seq - 1, &a->before), &a->has_before);
    if (!err && a->has_before && memcmp(a->before.peer, r->peer, CV_KEY) == 0) {
        a->pair_below = a->before;
        a->has_pair_below = true;
    } else if (!err) {
        err =
            found(s->block_seek(s->ctx, r->owner, r->peer, r->seq, REP_SEEK_BELOW, &a->pair_below),
                  &a->has_pair_below);
    }
    if (err || !has_from)
        return err;
    a->has_after = from.seq == r->seq + 1 && from.type != REP_SUCCESSION;
    if (a->has_after)
        a->after = from;
    err = found(s->block_get(s->ctx, r->owner, REP_SEQ_LAST, &a->closed), &a->has_closed);
    if (err)
        return err;
    return found(s->block_seek(s->ctx, r->owner, r->peer, r->seq, REP_SEEK_FROM, &a->pair_above),
                 &a->has_pair_above);
}

/* The half-block that `r` contradicts, which is a proof; NULL: none. */
static const struct rep_record *contradicted(const struct around *a, const struct rep_record *r) {
    if (a->has_same)
        return &a->same;
    if (a->has_pair_below && rep_forkproof_contradict(&a->pair_below, r))
        return &a->pair_below;
    if (a->has_pair_above && rep_forkproof_contradict(&a->pair_above, r))
        return &a->pair_above;
    return a->has_closed && rep_forkproof_contradict(&a->closed, r) ? &a->closed : NULL;
}

/* A prev that does not fit is refused but proves nothing by itself: the half-block it
 * names has not been seen. */
static bool goes_on(const struct around *a, const struct rep_record *r) {
    return !(a->has_before && memcmp(r->prev, a->before.hash, REP_HASH) != 0) &&
           !(a->has_after && memcmp(a->after.prev, r->hash, REP_HASH) != 0);
}

enum cv_err rep_chain_fits(const struct rep_store *s, const struct rep_record *r, bool *ret) {
    struct around a;
    struct rep_fork fork;
    enum cv_err err = look_around(s, r, &a);
    if (!err)
        err = s->fork_get(s->ctx, r->owner, &fork);
    if (err && err != CV_ERR_NOENT)
        return err;
    *ret = err == CV_ERR_NOENT && !contradicted(&a, r) && goes_on(&a, r);
    return CV_ERR_OK;
}

static uint64_t smaller(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

enum cv_err rep_chain_other(const struct rep_store *s, const struct rep_record *r,
                            struct rep_record *ret) {
    if (r->type == REP_PROPOSAL)
        return s->block_answer(s->ctx, r, ret);
    enum cv_err err = s->block_get(s->ctx, r->peer, r->peer_seq, ret);
    if (err)
        return err;
    bool fits = ret->type == REP_PROPOSAL && memcmp(ret->hash, r->peer_hash, REP_HASH) == 0 &&
                memcmp(ret->peer, r->owner, CV_KEY) == 0;
    return fits ? CV_ERR_OK : CV_ERR_NOENT;
}

enum cv_err rep_chain_agreed(const struct rep_store *s, const struct rep_record *r,
                             struct rep_agreed *ret) {
    struct rep_record other;
    enum cv_err err = rep_chain_other(s, r, &other);
    if (!err)
        *ret = (struct rep_agreed){.up = smaller(r->given, other.taken),
                                   .down = smaller(r->taken, other.given),
                                   .epoch = r->type == REP_PROPOSAL ? r->epoch : other.epoch};
    return err;
}

/* The nearest place of the owner's chain below or above `r` at which the same two agreed;
 * NOENT: none; LIMIT: none near, beyond so many proposals that nobody answered. */
static enum cv_err nearest(const struct rep_store *s, const struct rep_record *r, enum rep_seek how,
                           struct rep_agreed *ret) {
    uint64_t seq = how == REP_SEEK_BELOW ? r->seq : r->seq + 1;
    for (unsigned tries = 0; tries < NEAREST_TRIES; tries++) {
        struct rep_record at;
        enum cv_err err = s->block_seek(s->ctx, r->owner, r->peer, seq, how, &at);
        if (err || at.type == REP_SUCCESSION)
            return err ? err : CV_ERR_NOENT;
        seq = how == REP_SEEK_BELOW ? at.seq : at.seq + 1;
        err = rep_chain_agreed(s, &at, ret);
        if (err != CV_ERR_NOENT)
            return err;
    }
    return CV_ERR_LIMIT;
}

/* `octets` were agreed before what is known already: what they exceed `below` by was counted
 * as of the epoch of what comes above, and is older. That can only lessen what is recent. */
static enum cv_err make_older(const struct rep_store *s, struct rep_edge *e, uint64_t octets,
                              uint32_t epoch, uint64_t below, uint32_t above) {
    above = above < e->epoch ? above : e->epoch;
    if (octets <= below || epoch >= above)
        return CV_ERR_OK;
    uint64_t was = rep_chain_decay(octets - below, above, e->epoch);
    uint64_t rest = e->recent - smaller(e->recent, was);
    uint64_t is = rest + rep_chain_decay(octets - below, epoch, e->epoch);
    e->recent = smaller(e->recent, is);
    return s->edge_put(s->ctx, e);
}

/* Raises one direction of an agreed pair. Never lowers: of two agreements the
 * older may arrive later. */
static enum cv_err raise_edge(const struct rep_store *s, const uint8_t giver[CV_KEY],
                              const uint8_t taker[CV_KEY], uint64_t octets, uint32_t epoch,
                              struct rep_edge *ret) {
    struct rep_edge e;
    bool known;
    memset(&e, 0, sizeof e);
    enum cv_err err = found(s->edge_get(s->ctx, giver, taker, &e), &known);
    if (err)
        return err;
    if (!known) {
        memcpy(e.giver, giver, CV_KEY);
        memcpy(e.taker, taker, CV_KEY);
        e.epoch = epoch;
    }
    if (octets > e.octets) {
        uint64_t more = octets - e.octets;
        if (epoch >= e.epoch)
            e.recent = rep_chain_decay(e.recent, e.epoch, epoch) + more;
        else
            e.recent += rep_chain_decay(more, epoch, e.epoch);
        e.octets = octets;
        e.epoch = epoch > e.epoch ? epoch : e.epoch;
        err = s->edge_put(s->ctx, &e);
        if (err)
            return err;
    }
    *ret = e;
    return CV_ERR_OK;
}

enum cv_err rep_chain_pruned(const struct rep_store *s, uint32_t *ret, uint32_t *ret_all) {
    uint32_t before, all, newest;
    enum cv_err err = s->pruned_before(s->ctx, &before, &all);
    if (!err && before > 0)
        err = s->edge_newest(s->ctx, &newest);
    if (err)
        return err;
    if (before > 0 && before - 1 > newest)
        before = newest > REP_PRUNE_EPOCHS ? newest - REP_PRUNE_EPOCHS : 0;
    *ret = before;
    *ret_all = all;
    return CV_ERR_OK;
}

/* Half-blocks arrive in any order, and what a row weighs must not depend on it: else whoever
 * shows his newest half-block first would have all that he ever gave counted as of now. */
static enum cv_err order(const struct rep_store *s, const struct rep_record *p,
                         const struct rep_record *g, struct rep_edge ab[2]) {
    struct rep_agreed below = {.up = 0}, above;
    uint64_t up = smaller(p->given, g->taken), down = smaller(p->taken, g->given);
    enum cv_err err = nearest(s, p, REP_SEEK_FROM, &above);
    bool beyond = err == CV_ERR_LIMIT;
    if (beyond) /* whoever leaves proposals without an answer gains nothing by it */
        above.epoch = UINT32_MAX;
    else if (err) /* mostly it is the newest */
        return err == CV_ERR_NOENT ? CV_ERR_OK : err;
    uint32_t pruned, all;
    err = rep_chain_pruned(s, &pruned, &all);
    /* It may be back: then it is counted as what it is. But for those of `all`, only what has
     * another of a pruned epoch above it was ever removed (prune.h), so that what is not back
     * has below it what was counted below it. */
    if (err || p->epoch < all || (beyond ? p->epoch : above.epoch) < pruned)
        return err;
    err = nearest(s, p, REP_SEEK_BELOW, &below);
    /* How much of it was counted before is not known: as of when, then, neither. */
    if (err == CV_ERR_LIMIT)
        return CV_ERR_OK;
    if (err && err != CV_ERR_NOENT)
        return err;
    err = make_older(s, &ab[0], up, p->epoch, below.up, above.epoch);
    return err ? err : make_older(s, &ab[1], down, p->epoch, below.down, above.epoch);
}

static enum cv_err agree(const struct rep_store *s, const struct rep_record *p,
                         const struct rep_record *g, struct rep_chain_result *ret) {
    assert(p->type == REP_PROPOSAL);
    assert(g->type == REP_AGREEMENT);
    enum cv_err err =
        raise_edge(s, p->owner, g->owner, smaller(p->given, g->taken), p->epoch, &ret->ab[0]);
    if (!err)
        err = raise_edge(s, g->owner, p->owner, smaller(p->taken, g->given), p->epoch, &ret->ab[1]);
    if (!err)
        err = order(s, p, g, ret->ab);
    ret->agreed = err == CV_ERR_OK;
    return err;
}

/* Does the other half of `r` exist, and do both point at each other? */
static enum cv_err match(const struct rep_store *s, const struct rep_record *r,
                         struct rep_chain_result *ret) {
    struct rep_record other;
    bool known;
    enum cv_err err;

    if (r->type == REP_SUCCESSION)
        return CV_ERR_OK;
    err = found(rep_chain_other(s, r, &other), &known);
    if (err || !known)
        return err;
    return r->type == REP_PROPOSAL ? agree(s, r, &other, ret) : agree(s, &other, r, ret);
}

enum cv_err rep_chain_add(const struct rep_store *s, const uint8_t network_id[REP_NETWORK_ID],
                          const struct rep_record *r, bool verified, int64_t wall,
                          struct rep_chain_result *ret) {
    struct around a;
    memset(ret, 0, sizeof *ret);

    enum cv_err err = look_around(s, r, &a);
    if (err)
        return err;
    if (a.has_same && memcmp(a.same.hash, r->hash, REP_HASH) == 0)
        return CV_ERR_EXIST;

    struct rep_fork fork;
    err = s->fork_get(s->ctx, r->owner, &fork);
    if (err != CV_ERR_NOENT)
        return err ? err : CV_ERR_DENIED;

    /* Dear and needed for every verdict below: nobody is accused by a forgery. */
    if (!verified && !rep_record_verify(r, network_id))
        return CV_ERR_AUTH;

    const struct rep_record *other = contradicted(&a, r);
    if (other)
        return prove(s, other, r, wall, ret);
    if (!goes_on(&a, r))
        return CV_ERR_DIFFERS;

    err = s->block_put(s->ctx, r);
    if (err) /* get() said it was not there */
        return err == CV_ERR_EXIST ? CV_ERR_CORRUPT : err;
    ret->succeeds = r->type == REP_SUCCESSION;
    ret->gap = r->seq > 1 && !a.has_before && !ret->succeeds;
    return match(s, r, ret);
}

enum cv_err rep_chain_add_fork(const struct rep_store *s, const uint8_t network_id[REP_NETWORK_ID],
                               const struct rep_fork *f, int64_t wall) {
    uint8_t owner[CV_KEY];
    struct rep_fork known;
    struct rep_record a;

    enum cv_err err = rep_forkproof_check(f, network_id, owner);
    if (!err)
        err = rep_record_read(f->a, &a);
    if (err)
        return err;
    err = s->fork_get(s->ctx, owner, &known);
    if (err != CV_ERR_NOENT)
        return err ? err : CV_ERR_EXIST;
    return keep_fork(s, owner, a.seq, f, wall);
}

enum cv_err rep_chain_next(const struct rep_store *s, const uint8_t owner[CV_KEY],
                           const uint8_t peer[CV_KEY], struct rep_record *ret) {
    struct rep_record head, last, r;
    bool has_head, has_last;
    memset(&r, 0, sizeof r);

    enum cv_err err =
        found(s->block_seek(s->ctx, owner, NULL, INT64_MAX, REP_SEEK_BELOW, &head), &has_head);
    if (!err)
        err =
            found(s->block_seek(s->ctx, owner, peer, INT64_MAX, REP_SEEK_BELOW, &last), &has_last);
    if (err)
        return err;
    r.version = REP_RECORD_VERSION;
    memcpy(r.owner, owner, CV_KEY);
    memcpy(r.peer, peer, CV_KEY);
    r.seq = 1;
    if (has_head) {
        r.seq = head.seq + 1;
        memcpy(r.prev, head.hash, REP_HASH);
    }
    if (has_last) {
        r.given = last.given;
        r.taken = last.taken;
    }
    *ret = r;
    return CV_ERR_OK;
}
