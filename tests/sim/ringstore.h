/*
 * The store of a live swarm in memory: the newest chunks, older ones are
 * overwritten (ppsp/store.h, struct ppsp_live_config). Strict: it asserts that
 * nothing is read that was not written, or was overwritten since.
 */
#ifndef CULVERT_TESTS_SIM_RINGSTORE_H
#define CULVERT_TESTS_SIM_RINGSTORE_H

#include <stdbool.h>
#include <stdint.h>

#include "ppsp/store.h"

struct sim_ring;

/* For a window of so many chunks. */
struct sim_ring *sim_ring_new(uint32_t chunk_size, uint32_t hash_len, uint64_t window);
struct sim_ring *sim_ring_free(struct sim_ring *r); /* NULL is allowed */

extern const struct ppsp_store_ops sim_ring_ops;

/* A chunk's octets, `*ret_len` of them; NULL: not there any more, or never was. */
const uint8_t *sim_ring_chunk(const struct sim_ring *r, uint64_t chunk, size_t *ret_len);

#endif
