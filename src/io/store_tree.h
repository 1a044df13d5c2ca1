/*
 * The hash tree of a store, in 1/16 of its size (docs/decisions/0050), unless even the
 * whole of it is small beside the content, as with large chunks (0057):
 *
 *   tree     nodes from the root of a group of 16 chunks upwards, a flat file by
 *            bin number: bin b of a level of 4 or more is hash number b >> 4
 *   leaves   the 31 nodes of groups that are not complete, group g at g * 32
 *            hashes; sparse, and empty once the content is complete. Of a whole
 *            tree the nodes of every group
 *
 * The lower nodes of a complete group that are not stored are made from its
 * chunks when asked for, and must lead to the group's stored root. So content
 * that was changed behind our back is noticed before its hashes are given away. The
 * leaves are remembered as far as store_leaves.h has room for them.
 *
 * Both files are written through a few blocks and pages in memory, which
 * io_tree_write() puts to the files: one system call for some hundred nodes.
 */
#ifndef CULVERT_IO_STORE_TREE_H
#define CULVERT_IO_STORE_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct io_store;

/* As tree_get and tree_put in ppsp/store.h. CORRUPT: the content of a complete
 * group is not what it was. */
enum cv_err io_tree_get(struct io_store *s, uint64_t bin, uint32_t count, uint8_t *hashes);
enum cv_err io_tree_put(struct io_store *s, uint64_t bin, uint32_t count, const uint8_t *hashes);

/* The whole tree is kept: it takes at most 1 / IO_TREE_SHARE of the content. */
bool io_tree_whole(const struct io_store *s);

/* The 31 nodes of a complete group of a file that is being shared, which need not be made
 * later; of a tree that is not kept whole only what is given to tree_put remains. */
enum cv_err io_tree_keep(struct io_store *s, uint64_t group, const uint8_t *nodes);

/* Writes what is in memory only, for a flush to make durable. On error it may
 * be called again. */
enum cv_err io_tree_write(struct io_store *s);

/* All chunks of a group of 16 are marked. */
bool io_tree_complete(const struct io_store *s, uint64_t group);

/* Forgets what is in memory; what was not written is lost. */
void io_tree_drop(struct io_store *s);

#endif
