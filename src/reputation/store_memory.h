/*
 * The ledger's store in memory: for the simulator (a crash is freeing the
 * ledger without a flush and giving the same store to the next), and the
 * reference that the SQLite store is tested against. Linear where that is
 * simplest: fine for thousands of rows, not for millions.
 */
#ifndef CULVERT_REPUTATION_STORE_MEMORY_H
#define CULVERT_REPUTATION_STORE_MEMORY_H

#include "reputation/store.h"

struct rep_store_memory;

/* NULL: out of memory. */
struct rep_store_memory *rep_store_memory_new(void);
/* NULL is allowed; always returns NULL. */
struct rep_store_memory *rep_store_memory_free(struct rep_store_memory *m);

/* The function table over `m`; valid as long as `m` is. */
const struct rep_store *rep_store_memory_ops(struct rep_store_memory *m);

/* The n-th commit from now fails with `err`, as do all after it; 0: none does. */
void rep_store_memory_fail(struct rep_store_memory *m, unsigned n, enum cv_err err);

/* As if it had been a file of version 5 that was pruned: pruned_before's *ret_all. */
void rep_store_memory_pruned_all(struct rep_store_memory *m, uint32_t before);

#endif
