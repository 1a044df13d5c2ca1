/*
 * What names may do that cost nothing. A link becomes a relay's by a signature alone, so
 * anybody has as many names as he likes, and limits that count by name do not hold him.
 * Of names without standing, that is without a row and without octets that will make one,
 * little is kept, and a few things of all of them together in an epoch: half-blocks about
 * us that nothing was counted for, successions, proofs that they forged (decision 0047).
 */
#include <stdlib.h>
#include <string.h>

#include "reputation/ledger_internal.h"

enum cv_err rep_keys_add(struct rep_keys *k, const uint8_t key[CV_KEY]) {
    if (k->n == k->cap) {
        uint32_t cap = k->cap ? k->cap * 2 : 16;
        uint8_t(*more)[CV_KEY] = realloc(k->v, cap * sizeof *more);
        if (!more)
            return CV_ERR_NOMEM;
        k->v = more;
        k->cap = cap;
    }
    memcpy(k->v[k->n++], key, CV_KEY);
    return CV_ERR_OK;
}

static void begin_epoch(struct rep_ledger *l, struct rep_peer *p) {
    if (l->names.epoch != l->epoch)
        l->names = (struct rep_names){.epoch = l->epoch};
    if (p->names_epoch != l->epoch) {
        p->names_epoch = l->epoch;
        p->pushed = p->accused = 0;
    }
}

/* Did it carry with us what makes a row? That nobody can invent. */
static bool carried(const struct rep_ledger *l, const struct rep_peer *p) {
    const struct rep_open_row *row;
    if (p->released_given || p->released_taken)
        return true;
    TAILQ_FOREACH(row, &p->rows, of_peer) {
        if (rep_counter_weighs(l, row))
            return true;
    }
    return false;
}

bool rep_names_standing(const struct rep_ledger *l, const uint8_t key[CV_KEY]) {
    const struct rep_peer *p = cv_map_get(l->peers, key);
    return (p && carried(l, p)) || rep_graph_has_rows(l->graph, key);
}

/* Does it propose what we counted, or answer what we proposed? */
static bool expected(const struct rep_ledger *l, struct rep_peer *p, const struct rep_record *r) {
    const struct rep_open_row *row = rep_counter_find(p, r->epoch);
    if (r->type == REP_PROPOSAL)
        return row && rep_counter_weighs(l, row);
    TAILQ_FOREACH(row, &p->rows, of_peer) {
        if (row->p.proposal == r->peer_seq)
            return r->type == REP_AGREEMENT;
    }
    return false;
}

static bool room(struct rep_ledger *l) {
    return l->names.kept < REP_STRANGERS_KEPT && ++l->names.kept;
}

bool rep_names_room(struct rep_ledger *l, struct rep_peer *p, const uint8_t owner[CV_KEY]) {
    begin_epoch(l, p);
    return rep_names_standing(l, owner) || room(l);
}

bool rep_names_may_push(struct rep_ledger *l, struct rep_peer *p, const struct rep_record *r) {
    begin_epoch(l, p);
    if (p->pushed == REP_RECORDS_PER_EPOCH)
        return false;
    /* A row with somebody invented is no standing here: what a neighbour pushed is forgotten
     * with its last link, and it would begin anew with each. */
    bool may = expected(l, p, r) || ((carried(l, p) || room(l)) && rep_gossip_may_take(l, p));
    p->pushed += may; /* what is refused keeps nothing away that is expected */
    return may;
}

bool rep_names_may_accuse(struct rep_ledger *l, struct rep_peer *p, const uint8_t owner[CV_KEY]) {
    begin_epoch(l, p);
    return (p->accused < REP_FORKS_STRANGE && l->names.accused < REP_FORKS_STRANGE_ALL) ||
           rep_names_standing(l, owner);
}

void rep_names_accused(struct rep_ledger *l, struct rep_peer *p, const uint8_t owner[CV_KEY]) {
    begin_epoch(l, p);
    if (rep_names_standing(l, owner))
        return;
    p->accused++;
    l->names.accused++;
}
