/*
 * The ranking: unique-visit random walks from ego (in the manner of MeritRank).
 * A walk goes on with probability alpha, to a neighbour by weight; a node
 * scores one for each walk that comes by at all. Visiting once is what takes
 * the profit out of fake identities: what an attacker hangs behind itself is
 * walked after it was counted, and adds nothing to its own score.
 *
 * A node's score is hits / walks: the chance that a walk comes by. (Not its
 * share of all hits: fakes that hold walks captive lower the hits of others,
 * and would raise that share.)
 *
 * A relay that took another's place (a succession) is walked from and counted
 * with the rows of both, as one.
 *
 * Every walk has dice of its own, drawn from the seed and its number, and is
 * remembered. After a change only those walks are walked again that came by a
 * node whose row changed; the result is that of walking all of them anew,
 * octet by octet. Integers only: the same seed gives the same hits everywhere.
 */
#ifndef CULVERT_REPUTATION_RANK_WALK_H
#define CULVERT_REPUTATION_RANK_WALK_H

#include "reputation/graph.h"

struct rep_walk_config {
    uint32_t walks;
    uint32_t alpha_permille; /* 850 */
    uint64_t seed;
};

struct rep_walks;

/* 260 octets a walk. NULL: out of memory. */
struct rep_walks *rep_walks_new(const struct rep_walk_config *cfg);
struct rep_walks *rep_walks_free(struct rep_walks *w);

/*
 * Who competes for the same thing, and is scored for it: what two of them say
 * about each other counts for nothing (DropEdge, by Seuken and others), so that
 * no report of theirs moves either. `nodes` of the graph of the updates, ego
 * not among them; whose place they took competes with them. All walks are walked
 * anew when the set changes. CV_ERR_NOMEM: as before.
 */
enum cv_err rep_walks_rivals(struct rep_walks *w, const uint32_t *nodes, uint32_t n);

/* Brings all walks from `ego` up to date with `g`, which must be the graph of
 * the update before. CV_ERR_NOMEM: as they were. */
enum cv_err rep_walks_update(struct rep_walks *w, struct rep_graph *g, uint32_t ego);

/* Walks that came by node i in the last update; 0 for ego, for nodes that were
 * added since and for those whose place another took. */
uint32_t rep_walks_hits(const struct rep_walks *w, uint32_t i);

/* Of the walks that came by `target`, by which node each met first: adds them
 * to via[i], i < the count of the last update. That node is a neighbour of ego. */
void rep_walks_via(const struct rep_walks *w, uint32_t target, uint32_t *via);

/* Of the walks that came by `target`, those that had not come by that one other relay before by
 * which most of them had: what would be left if it said nothing. 0 when out of memory. */
uint32_t rep_walks_apart(const struct rep_walks *w, uint32_t target);

/* How many walks the last update walked again. */
uint32_t rep_walks_repaired(const struct rep_walks *w);

/* All in one: hits[i], i < rep_graph_count(). CV_ERR_NOMEM. */
enum cv_err rep_rank_walk(struct rep_graph *g, uint32_t ego, const struct rep_walk_config *cfg,
                          uint32_t *hits);

/*
 * The chances that the walks sample, exact to `tolerance`: ret[i], ego's is 1.
 * Solves one linear system a node, so it is for thousands of nodes, not for
 * millions. CV_ERR_NOMEM.
 */
enum cv_err rep_rank_walk_exact(struct rep_graph *g, uint32_t ego, double alpha, double tolerance,
                                double *ret);

#endif
