/*
 * Octets per relay and epoch. Only the octets of RELAY cells come here, given
 * and taken, whatever circuits, roles or positions they belong to.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/trace.h"
#include "reputation/ledger_internal.h"
#include "reputation/release.h"

struct rep_open_row *rep_counter_find(struct rep_peer *p, uint32_t epoch) {
    struct rep_open_row *row;
    TAILQ_FOREACH(row, &p->rows, of_peer)
    if (row->p.epoch == epoch)
        return row;
    return NULL;
}

bool rep_counter_weighs(const struct rep_ledger *l, const struct rep_open_row *row) {
    return (row->p.given + row->p.taken) / 2 >= l->cfg.minimum_octets;
}

void rep_counter_wait(struct rep_ledger *l, struct rep_open_row *row, cv_usec at) {
    /* The heap was given room for every row; what it refuses is tried again at
     * the next epoch or link. */
    (void)cv_heap_set(&l->timers, &row->wait.timer, at);
}

void rep_counter_dirty(struct rep_ledger *l, struct cv_now now, struct rep_open_row *row) {
    if (!row->dirty) {
        row->dirty = true;
        TAILQ_INSERT_TAIL(&l->dirty_rows, row, of_dirty);
        rep_ledger_touch(l, now, 1);
    }
}

void rep_counter_forget(struct rep_ledger *l, struct rep_open_row *row) {
    cv_heap_remove(&l->timers, &row->wait.timer);
    if (row->dirty)
        TAILQ_REMOVE(&l->dirty_rows, row, of_dirty);
    TAILQ_REMOVE(&row->peer->rows, row, of_peer);
    free(row);
}

void rep_counter_drop(struct rep_ledger *l, struct cv_now now, struct rep_open_row *row) {
    if (row->stored && rep_ledger_begin(l, now)) {
        enum cv_err err = l->store->pending_del(l->store->ctx, row->peer->key, row->p.epoch);
        if (err)
            rep_ledger_fail(l, err);
        else
            rep_ledger_touch(l, now, 1);
    }
    rep_counter_forget(l, row);
}

static struct rep_open_row *add_row(struct rep_peer *p, uint32_t epoch) {
    struct rep_open_row *row = calloc(1, sizeof *row);
    if (!row)
        return NULL;
    row->wait.kind = REP_TIMER_ROW;
    row->peer = p;
    memcpy(row->p.peer, p->key, CV_KEY);
    row->p.epoch = epoch;
    TAILQ_INSERT_TAIL(&p->rows, row, of_peer);
    return row;
}

static unsigned rows_of(const struct rep_peer *p) {
    const struct rep_open_row *row;
    unsigned n = 0;
    TAILQ_FOREACH(row, &p->rows, of_peer)
    n++;
    return n;
}

/* The epoch that octets count for. After the clock was set back it may have a closed row
 * already, or have been released: both ends know that one by its half-block, and a second one
 * would tell more than one may. One of a clock that was far ahead does not hold this up. */
static uint32_t epoch_to_count(struct rep_ledger *l, const struct rep_peer *p) {
    const struct rep_open_row *last = TAILQ_LAST(&p->rows, rep_rows);
    struct rep_record r;
    uint32_t epoch = last && last->p.epoch >= l->epoch ? last->p.epoch + 1 : l->epoch;
    enum cv_err err = l->failed ? CV_ERR_NOENT
                                : l->store->block_seek(l->store->ctx, l->identity_secret.public_key,
                                                       p->key, INT64_MAX, REP_SEEK_BELOW, &r);
    if (err && err != CV_ERR_NOENT)
        rep_ledger_fail(l, err);
    return !err && r.epoch >= epoch && r.epoch - l->epoch <= 1 ? r.epoch + 1 : epoch;
}

/* The row that counts now, made when there is none. */
static struct rep_open_row *open_row(struct rep_ledger *l, struct cv_now now, struct rep_peer *p) {
    struct rep_open_row *last = TAILQ_LAST(&p->rows, rep_rows);
    if (last && last->p.release_at == 0)
        return last;
    if (rows_of(p) >= REP_RELEASE_EPOCHS_KEPT)
        rep_counter_drop(l, now, TAILQ_FIRST(&p->rows));
    return add_row(p, epoch_to_count(l, p));
}

static void grow(uint64_t *counter, uint64_t by) {
    if (__builtin_add_overflow(*counter, by, counter) || *counter > REP_AMOUNT_MAX)
        *counter = REP_AMOUNT_MAX;
}

void rep_counter_add(struct rep_ledger *l, struct cv_now now, struct rep_peer *p, uint64_t given,
                     uint64_t taken) {
    grow(&p->held_given, given);
    grow(&p->held_taken, taken);
    if (l->epoch == 0 || (p->held_given | p->held_taken) == 0)
        return;
    struct rep_open_row *row = open_row(l, now, p);
    if (!row)
        return; /* out of memory: stays held */
    grow(&row->p.given, p->held_given);
    grow(&row->p.taken, p->held_taken);
    p->held_given = p->held_taken = 0;
    rep_counter_dirty(l, now, row);
}

/* The moment on our monotonic clock that the calendar's `at` will be. A second
 * of dice on top: the calendar has whole seconds only, and two relays that
 * drew the same one should not cross. */
static cv_usec calendar(const struct rep_ledger *l, struct cv_now now, int64_t at) {
    uint64_t seconds = at > now.wall ? (uint64_t)(at - now.wall) : 0;
    return now.mono + CV_SEC(seconds) + cv_rng_below(l->rng, CV_SEC(1));
}

static void close_row(struct rep_ledger *l, struct cv_now now, struct rep_open_row *row) {
    uint32_t length = l->cfg.epoch_seconds;
    if (row->p.given < l->cfg.minimum_octets && row->p.taken < l->cfg.minimum_octets) {
        rep_counter_drop(l, now, row); /* both directions will count 0 */
        return;
    }
    row->p.release_at = rep_release_time(l->rng, row->p.epoch, length);
    if (row->p.release_at < now.wall) /* we slept through it */
        row->p.release_at = now.wall + (int64_t)cv_rng_below(l->rng, length / REP_RELEASE_PART);
    row->retry = REP_RETRY_FIRST;
    rep_counter_dirty(l, now, row);
    rep_counter_wait(l, row, calendar(l, now, row->p.release_at));
}

static void close_ended(struct rep_ledger *l, struct cv_now now, struct rep_peer *p) {
    struct rep_open_row *last;
    uint64_t given = 0, taken = 0;
    /* The clock was far ahead and is not any more: these octets are of now. Closed rows, too:
     * nothing would be counted behind them until that epoch comes. */
    while ((last = TAILQ_LAST(&p->rows, rep_rows)) && last->p.epoch > l->epoch + 1 &&
           last->p.proposal == 0) {
        grow(&given, last->p.given);
        grow(&taken, last->p.taken);
        rep_counter_drop(l, now, last);
    }
    if (given | taken)
        rep_counter_add(l, now, p, given, taken);
    else if (last && last->p.release_at == 0 && last->p.epoch < l->epoch)
        close_row(l, now, last);
}

void rep_counter_epoch(struct rep_ledger *l, struct cv_now now) {
    if (now.wall <= 0) {
        l->epoch_look = cv_usec_add(now.mono, CV_SEC(60));
        return;
    }
    uint32_t epoch = rep_release_epoch(now.wall, l->cfg.epoch_seconds);
    int64_t end = ((int64_t)epoch + 1) * l->cfg.epoch_seconds;
    l->epoch_look = cv_usec_add(now.mono, CV_SEC((uint64_t)(end - now.wall)));
    l->epoch_end = end;
    if (epoch == l->epoch)
        return;
    l->epoch = epoch;
    CV_TRACE(LEDGER, epoch, now.mono, "epoch=%u", epoch);
    rep_graph_epoch(l->graph, epoch);
    rep_standing_dirty(l, now, REP_BECAUSE_EPOCH);

    void *cursor = NULL;
    struct rep_peer *p;
    while ((p = cv_map_next(l->peers, &cursor, NULL))) {
        close_ended(l, now, p);
        rep_counter_add(l, now, p, 0, 0); /* what was held while the clock was unknown */
    }
}

enum cv_err rep_counter_write(struct rep_ledger *l) {
    while (!TAILQ_EMPTY(&l->dirty_rows)) {
        struct rep_open_row *row = TAILQ_FIRST(&l->dirty_rows);
        enum cv_err err = l->store->pending_put(l->store->ctx, &row->p);
        if (err)
            return err;
        TAILQ_REMOVE(&l->dirty_rows, row, of_dirty);
        row->dirty = false;
        row->stored = true;
    }
    return CV_ERR_OK;
}

/* Could a clock that is right have named it? None before it is known, nor later than a seventh of
 * an epoch from now: that was one that ran ahead. Such a row is released after a link came up. */
static bool is_a_time(const struct rep_ledger *l, struct cv_now now, int64_t release_at) {
    return now.wall > 0 &&
           release_at - now.wall <= (int64_t)(l->cfg.epoch_seconds / REP_RELEASE_PART);
}

enum cv_err rep_counter_load(struct rep_ledger *l, struct cv_now now) {
    struct rep_pending *all = NULL;
    size_t n = 0;
    enum cv_err err = l->store->pending_load(l->store->ctx, &all, &n);
    for (size_t i = 0; !err && i < n; i++) {
        struct rep_peer *p;
        err = rep_ledger_peer(l, all[i].peer, &p);
        struct rep_open_row *row = err ? NULL : add_row(p, all[i].epoch);
        if (!row) {
            err = err ? err : CV_ERR_NOMEM;
            break;
        }
        row->p = all[i];
        row->stored = true;
        row->retry = REP_RETRY_FIRST;
        if (row->p.release_at != 0 && is_a_time(l, now, row->p.release_at))
            rep_counter_wait(l, row, calendar(l, now, row->p.release_at));
    }
    free(all);
    return err;
}
