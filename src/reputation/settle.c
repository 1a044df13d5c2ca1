/*
 * A closed row becomes two half-blocks. The relay whose timer fires first
 *   1. sends COUNTERS (tell) and gets the other's,
 *   2. signs a proposal that raises both of its cumulative claims by half of the
 *      smaller counts together, rounded, commits it, sends it and repeats it,
 * and the other countersigns what it can confirm by its own count. When both
 * begin at once the lower key's goes on, whether the crossing messages are
 * COUNTERS or, after losses, signed proposals. Every step may be lost, repeated
 * or cut off by a crash: what is signed is in the store before it leaves.
 */
#include <assert.h>
#include <string.h>

#include "base/trace.h"
#include "reputation/ledger_internal.h"
#include "reputation/release.h"

/* How long whoever was asked for its counters leaves the proposing to the
 * other before it begins itself. */
#define YIELD CV_SEC(30)

static bool lower_key(const struct rep_ledger *l, const struct rep_peer *p) {
    return memcmp(l->identity_secret.public_key, p->key, CV_KEY) < 0;
}

static uint64_t smaller(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* What becomes public of the counts of this row's epoch, as given and as taken alike:
 * half of both, rounded. Who of the two gave more would tell whose clients send more
 * than they take, and which guard a hidden seeder has (decision 0086). False: no such
 * pair. */
static bool rounded(struct rep_ledger *l, struct rep_open_row *row, uint64_t given, uint64_t taken,
                    uint64_t *ret) {
    struct rep_peer *p = row->peer;
    if (!p->has_secret) {
        if (rep_release_secret(p->pair_secret, &l->identity_secret, p->key, l->cfg.network_id))
            return false;
        p->has_secret = true;
    }
    uint64_t u = rep_release_dither(p->pair_secret, row->p.epoch);
    *ret = rep_release_amount((given + taken) / 2, u, l->cfg.minimum_octets);
    return true;
}

static void repeat(struct rep_ledger *l, struct cv_now now, struct rep_open_row *row) {
    rep_counter_wait(l, row, cv_usec_add(now.mono, row->retry));
    row->retry = cv_usec_min(row->retry * 2, REP_RETRY_MAX);
}

static void send_counters(struct rep_ledger *l, const struct rep_peer *p,
                          const struct rep_pending *counts, uint8_t flags) {
    struct rep_message m = {
        .kind = REP_MESSAGE_COUNTERS,
        .flags = flags,
        .epoch = counts->epoch,
        .given = counts->given,
        .taken = counts->taken,
    };
    rep_ledger_send(l, p, &m, false);
}

static void send_record(struct rep_ledger *l, const struct rep_peer *p,
                        const struct rep_record *r) {
    uint8_t buf[REP_RECORD];
    rep_record_write(r, buf);
    struct rep_message m = {.kind = REP_MESSAGE_RECORDS, .count = 1, .records = buf};
    rep_ledger_send(l, p, &m, true);
}

/* Shows the signed proposal of this row (again). */
static void send_proposal(struct rep_ledger *l, struct cv_now now, struct rep_open_row *row) {
    struct rep_record r;
    enum cv_err err =
        l->store->block_get(l->store->ctx, l->identity_secret.public_key, row->p.proposal, &r);
    if (err) {
        rep_ledger_fail(l, err == CV_ERR_NOENT ? CV_ERR_CORRUPT : err);
        return;
    }
    send_record(l, row->peer, &r);
    repeat(l, now, row);
}

/* Signs `r` and puts it into the running transaction. */
static bool sign(struct rep_ledger *l, struct cv_now now, struct rep_record *r) {
    struct rep_chain_result result;
    rep_record_sign(r, &l->identity_secret, l->cfg.network_id);
    enum cv_err err = rep_ledger_add(l, now, r, NULL, &result);
    assert(err != CV_ERR_EXIST);
    assert(!result.forked);
    if (err)
        rep_ledger_fail(l, err);
    return err == CV_ERR_OK;
}

static bool next_record(struct rep_ledger *l, struct cv_now now, const struct rep_peer *p,
                        struct rep_record *ret) {
    if (!rep_ledger_begin(l, now))
        return false;
    enum cv_err err = rep_chain_next(l->store, l->identity_secret.public_key, p->key, ret);
    if (err)
        rep_ledger_fail(l, err);
    return err == CV_ERR_OK;
}

static uint64_t raise(uint64_t claim, uint64_t by) {
    return by > REP_AMOUNT_MAX - claim ? REP_AMOUNT_MAX : claim + by;
}

static void propose(struct rep_ledger *l, struct cv_now now, struct rep_open_row *row,
                    uint64_t amount) {
    struct rep_record r;
    assert(row->p.proposal == 0);
    assert(amount != 0);
    if (!next_record(l, now, row->peer, &r))
        return;
    r.type = REP_PROPOSAL;
    r.epoch = row->p.epoch;
    r.given = raise(r.given, amount);
    r.taken = raise(r.taken, amount);
    if (!sign(l, now, &r))
        return;
    l->stats.proposals++;
    row->p.proposal = r.seq;
    row->asked = false;
    row->retry = REP_RETRY_FIRST;
    rep_counter_dirty(l, now, row); /* in the same transaction as the proposal */
    send_record(l, row->peer, &r);
    repeat(l, now, row);
    CV_TRACE(LEDGER, proposed, now.mono, "peer=%08x epoch=%u seq=%llu",
             cv_id_short(row->peer->key, CV_KEY), r.epoch, (unsigned long long)r.seq);
}

/* The timer of a closed row fired. */
void rep_settle_due(struct rep_ledger *l, struct cv_now now, struct rep_open_row *row) {
    assert(row->p.release_at != 0);
    struct rep_peer *p = row->peer;
    if (l->failed || p->banned || TAILQ_EMPTY(&p->links))
        return; /* a link, or never */
    if (row != TAILQ_FIRST(&p->rows)) {
        repeat(l, now, row); /* older epochs first: cumulative claims stay in step */
        return;
    }
    if (row->p.proposal) {
        send_proposal(l, now, row);
        return;
    }
    row->asked = true;
    send_counters(l, p, &row->p, REP_COUNTERS_TELL);
    repeat(l, now, row);
}

/* Released late or again when a link comes: after random time, so that it
 * does not tell when or why the link was made. */
void rep_settle_link_up(struct rep_ledger *l, struct cv_now now, struct rep_peer *p) {
    struct rep_open_row *row;
    uint64_t window = CV_SEC(l->cfg.epoch_seconds) / REP_RELEASE_PART;
    TAILQ_FOREACH(row, &p->rows, of_peer) {
        if (row->p.release_at == 0 || cv_timer_queued(&row->wait.timer))
            continue;
        row->retry = REP_RETRY_FIRST;
        rep_counter_wait(l, row, cv_usec_add(now.mono, cv_rng_below(l->rng, window)));
    }
}

enum cv_err rep_settle_counters(struct rep_ledger *l, struct cv_now now, struct rep_peer *p,
                                const struct rep_message *m) {
    bool tell = m->flags & REP_COUNTERS_TELL;
    struct rep_open_row *row = rep_counter_find(p, m->epoch);
    if (l->failed)
        return CV_ERR_DENIED;
    if (!row) {
        /* Nothing counted, or settled already. Of an epoch that has ended we
         * can say so; of others our clock cannot tell yet. */
        if (m->epoch >= l->epoch)
            return CV_ERR_STALE;
        if (tell)
            send_counters(l, p, &(struct rep_pending){.epoch = m->epoch}, 0);
        return CV_ERR_OK;
    }
    if (row->p.release_at == 0)
        return CV_ERR_STALE; /* still counting: our clock is behind, they repeat */
    if (row->p.proposal) {
        if (tell)
            send_proposal(l, now, row);
        return CV_ERR_OK;
    }

    uint64_t amount;
    if (!rounded(l, row, smaller(row->p.given, m->taken), smaller(row->p.taken, m->given), &amount))
        return CV_ERR_AUTH;
    bool mine = row->asked && (!tell || lower_key(l, p));
    if (tell && !mine)
        send_counters(l, p, &row->p, 0);
    if (amount == 0) {
        if (mine || tell) /* both ends see it is nothing */
            rep_counter_drop(l, now, row);
        return CV_ERR_OK;
    }
    if (mine) {
        propose(l, now, row, amount);
    } else if (tell) {
        row->asked = false;
        row->retry = REP_RETRY_FIRST;
        rep_counter_wait(l, row, cv_usec_add(now.mono, YIELD));
    }
    return CV_ERR_OK;
}

/* By how much the proposal raises the peer's claims about us. */
static enum cv_err raised(struct rep_ledger *l, const struct rep_record *p, uint64_t *ret_given,
                          uint64_t *ret_taken) {
    struct rep_record last;
    memset(&last, 0, sizeof last);
    enum cv_err err =
        l->store->block_seek(l->store->ctx, p->owner, p->peer, p->seq, REP_SEEK_BELOW, &last);
    if (err && err != CV_ERR_NOENT)
        return err;
    *ret_given = p->given - last.given; /* neither falls: chain.c saw to it */
    *ret_taken = p->taken - last.taken;
    return CV_ERR_OK;
}

/* What is agreed to of our own amount: what was proposed, if that is less. Rounded down, as
 * claims rise by powers of two, whatever somebody proposes; of the minimum or more, which is
 * rounded down, too, since an honest amount may be just that. */
static uint64_t confirmed(const struct rep_ledger *l, uint64_t own, uint64_t proposed) {
    uint64_t least = rep_release_amount(l->cfg.minimum_octets, 0, 1);
    return rep_release_amount(smaller(own, proposed), 0, least);
}

static void countersign(struct rep_ledger *l, struct cv_now now, struct rep_open_row *row,
                        const struct rep_record *proposal) {
    uint64_t own = 0, up_given = 0, up_taken = 0;
    struct rep_record r;
    if (!next_record(l, now, row->peer, &r))
        return;
    /* Our own crossing proposal has raised our claims for this epoch already. */
    if (row->p.proposal == 0) {
        if (!rounded(l, row, row->p.given, row->p.taken, &own))
            return;
        enum cv_err err = raised(l, proposal, &up_given, &up_taken);
        if (err) {
            rep_ledger_fail(l, err);
            return;
        }
    }
    r.type = REP_AGREEMENT;
    r.epoch = row->p.epoch;
    r.peer_seq = proposal->seq;
    memcpy(r.peer_hash, proposal->hash, REP_HASH);
    r.given = raise(r.given, confirmed(l, own, up_taken));
    r.taken = raise(r.taken, confirmed(l, own, up_given));
    if (!sign(l, now, &r))
        return;
    l->stats.agreements++;
    send_record(l, row->peer, &r);
    rep_counter_drop(l, now, row);
    CV_TRACE(LEDGER, agreed, now.mono, "peer=%08x epoch=%u seq=%llu",
             cv_id_short(proposal->owner, CV_KEY), r.epoch, (unsigned long long)r.seq);
}

static void on_proposal(struct rep_ledger *l, struct cv_now now, struct rep_peer *p,
                        const struct rep_record *r) {
    struct rep_record answer;
    enum cv_err err = l->store->block_answer(l->store->ctx, r, &answer);
    if (!err) {
        send_record(l, p, &answer); /* ours was lost on the way */
        return;
    }
    if (err != CV_ERR_NOENT) {
        rep_ledger_fail(l, err);
        return;
    }
    struct rep_open_row *row = rep_counter_find(p, r->epoch);
    if (!row || row->p.release_at == 0)
        return; /* nothing of ours to confirm, or not yet */
    if (row->p.proposal && lower_key(l, p)) {
        send_proposal(l, now, row); /* crossing: ours wins */
        return;
    }
    countersign(l, now, row, r);
}

void rep_settle_record(struct rep_ledger *l, struct cv_now now, struct rep_peer *p,
                       const struct rep_record *r) {
    assert(memcmp(r->owner, p->key, CV_KEY) == 0);
    if (l->failed)
        return;
    if (r->type == REP_PROPOSAL) {
        on_proposal(l, now, p, r);
        return;
    }
    struct rep_record proposal;
    struct rep_open_row *row;
    TAILQ_FOREACH(row, &p->rows, of_peer)
    if (row->p.proposal == r->peer_seq)
        break;
    if (!row || l->store->block_get(l->store->ctx, l->identity_secret.public_key, r->peer_seq,
                                    &proposal) != CV_ERR_OK)
        return;
    if (memcmp(proposal.hash, r->peer_hash, REP_HASH) == 0)
        rep_counter_drop(l, now, row);
}
