/*
 * Keys that took another's place (record.h, REP_SUCCESSION). A relay whose state
 * folder was restored from a copy cannot know what its old key signed last; it goes
 * on under a new one, and both keys say so. Here that is kept, told to neighbours
 * once, and put into the graph, where the rows of both count as one relay's.
 *
 * Nobody is asked whether it is true: two successors of a key, or a half-block for
 * an epoch in which it was closed, are a fork, and then nothing is carried over.
 */
#include <stdlib.h>
#include <string.h>

#include "reputation/ledger_internal.h"

/* What several say of one key, or too many in a row, carries nothing over. */
static enum cv_err carry_over(struct rep_ledger *l, const struct rep_record *r) {
    enum cv_err err = rep_graph_succeed(l->graph, r->owner, r->peer);
    return err == CV_ERR_NOMEM ? err : CV_ERR_OK;
}

enum cv_err rep_succession_load(struct rep_ledger *l) {
    struct rep_record *all = NULL;
    size_t n = 0;
    enum cv_err err = l->store->heir_load(l->store->ctx, &all, &n);
    for (size_t i = 0; !err && i < n; i++) {
        err = rep_keys_add(&l->gossip.closed, all[i].owner);
        if (!err)
            err = carry_over(l, &all[i]);
    }
    free(all);
    return err;
}

/* ---- telling ---- */

static void send(struct rep_ledger *l, const struct rep_peer *to, const struct rep_record *r) {
    uint8_t buf[REP_RECORD];
    struct rep_message m = {.kind = REP_MESSAGE_RECORDS, .count = 1, .records = buf};
    rep_record_write(r, buf);
    rep_ledger_send(l, to, &m, true);
}

/* The one that closed `owner`, if that is known. */
static void tell(struct rep_ledger *l, const struct rep_peer *to, const uint8_t owner[CV_KEY]) {
    struct rep_record r;
    if (l->store->block_get(l->store->ctx, owner, REP_SEQ_LAST, &r) == CV_ERR_OK)
        send(l, to, &r); /* else: the next write will say why */
}

void rep_succession_tell(struct rep_ledger *l, const struct rep_peer *to, unsigned most) {
    const struct rep_keys *closed = &l->gossip.closed;
    uint64_t first = closed->n ? cv_rng_below(l->rng, closed->n) : 0;
    for (unsigned i = 0; i < most && i < closed->n; i++)
        tell(l, to, closed->v[(first + i) % closed->n]);
}

void rep_succession_link_up(struct rep_ledger *l, const struct rep_peer *p) {
    if (l->failed || !l->gossip.closed.n)
        return;
    tell(l, p, p->key); /* an old copy of somebody: it must sign nothing more */
    for (uint32_t k = rep_graph_before(l->graph, l->ego); k != REP_NO_NODE;
         k = rep_graph_before(l->graph, k))
        tell(l, p, rep_graph_key(l->graph, k));
    rep_succession_tell(l, p, REP_FORKS_TOLD);
}

/* ---- taking ---- */

bool rep_succession_near(const struct rep_ledger *l, const struct rep_record *r) {
    return rep_graph_find(l->graph, r->owner) != REP_NO_NODE || cv_map_get(l->peers, r->owner);
}

void rep_succession_new(struct rep_ledger *l, struct cv_now now, const struct rep_record *r) {
    struct rep_peer *to[REP_FORK_FANOUT];
    /* Out of memory: after a restart. */
    (void)rep_keys_add(&l->gossip.closed, r->owner);
    (void)carry_over(l, r);
    rep_standing_dirty(l, now, REP_BECAUSE_ROWS);
    unsigned n = rep_gossip_choose(l, NULL, to);
    for (unsigned i = 0; i < n; i++)
        send(l, to[i], r);
}
