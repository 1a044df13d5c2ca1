/*
 * Inside of operations: what the phases call from each other. An operation that
 * looks something up begins in op_start.c, asks its way in op_lookup.c and ends
 * there or goes on in op_store.c; one that asks a single node is all in
 * op_single.c; op.c holds handles, life and events of all of them.
 */
#ifndef CULVERT_DHT_OP_H
#define CULVERT_DHT_OP_H

#include "dht/engine.h"

/* --- op.c --------------------------------------------------------------- */

/* CV_ERR_LIMIT, CV_ERR_NOMEM. */
enum cv_err dht_op_new(struct dht *d, enum dht_op_kind kind, const struct dht_id *target,
                       struct dht_operation **ret);
void dht_op_free(struct dht *d, struct dht_operation *op);
/* Begins at once, or when the node is ready. */
void dht_op_start(struct dht *d, cv_usec now, struct dht_operation *op, dht_op *ret);
/* It has something to report. */
void dht_op_mark_dirty(struct dht *d, struct dht_operation *op);
/* Over: `op` may be gone afterwards. */
void dht_op_finish(struct dht *d, cv_usec now, struct dht_operation *op, enum cv_err err);

/* --- op_lookup.c -------------------------------------------------------- */

void dht_op_lookup_begin(struct dht *d, cv_usec now, struct dht_operation *op);
/* Asks whoever is next, on both sides; goes on when nobody is left. */
void dht_op_lookup_advance(struct dht *d, cv_usec now, struct dht_operation *op);
void dht_op_lookup_compose(struct dht *d, const struct dht_operation *op, const struct dht_query *q,
                           struct dht_msg *m);
/* One entry of "nodes" or "nodes6"; false when it is of no use. */
bool dht_op_read_node(const struct dht *d, const struct dht_side *s, const uint8_t *at,
                      struct dht_node *ret);
/* The look-up that the query is a step of; NULL: it is over. */
struct dht_lookup *dht_op_lookup_of(const struct dht_operation *op, const struct dht_query *q);
void dht_op_lookup_answer(struct dht *d, cv_usec now, struct dht_operation *op,
                          const struct dht_query *q, const struct dht_msg *m);

/* --- op_store.c --------------------------------------------------------- */

void dht_op_store_begin(struct dht *d, cv_usec now, struct dht_operation *op);
void dht_op_store_compose(const struct dht_operation *op, const struct dht_query *q,
                          struct dht_msg *m);
void dht_op_store_answer(struct dht *d, cv_usec now, struct dht_operation *op,
                         const struct dht_query *q);
void dht_op_store_error(struct dht *d, cv_usec now, struct dht_operation *op,
                        const struct dht_query *q, int64_t code);
void dht_op_store_failed(struct dht *d, cv_usec now, struct dht_operation *op,
                         const struct dht_query *q);

/* --- op_single.c -------------------------------------------------------- */

void dht_op_single_answer(struct dht *d, cv_usec now, struct dht_operation *op,
                          const struct dht_query *q, const struct dht_msg *m);

#endif
