/*
 * A chunk store in memory behind ppsp/store.h, with the faults of a disk: it can
 * be full, fail, say AGAIN, and lose or tear unsynced writes in a crash.
 *
 * Two copies are kept: what reads see, and what the disk would hold after a
 * power cut. commit() makes chunks and tree durable first, then the bitmap.
 * sim_store_crash() gives each uncommitted sector of 512 octets a fate of its
 * own, written or lost, so that a chunk can be half there; the tree lies on the
 * disk as an array of hashes by bin number.
 */
#ifndef CULVERT_TESTS_SIM_CHUNKSTORE_H
#define CULVERT_TESTS_SIM_CHUNKSTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "ppsp/store.h"

struct sim_store;

extern const struct ppsp_store_ops sim_store_ops; /* ctx: a struct sim_store */

/* An empty store for content of up to `octets_max`. Borrows rng (fates, random
 * faults). Running out of memory ends the program. */
struct sim_store *sim_store_new(uint32_t chunk_size, size_t hash_len, uint64_t octets_max,
                                const struct cv_rng *rng);

/* NULL is allowed; returns NULL. */
struct sim_store *sim_store_free(struct sim_store *st);

/* Content put there by somebody else, verified and durable; its tree comes
 * through tree_put, e.g. by ppsp_build. */
void sim_store_fill(struct sim_store *st, const void *content, uint64_t octets);

/* What the chunks' octets are now, whether verified or not. */
const uint8_t *sim_store_content(const struct sim_store *st);
uint64_t sim_store_octets(const struct sim_store *st);

/* Everything that was ever written is, octet for octet, that of `content`. */
bool sim_store_matches(const struct sim_store *st, const void *content, uint64_t octets);
bool sim_store_has(const struct sim_store *st, uint64_t chunk);

/* Power cut; what reads see is what the disk holds then. */
void sim_store_crash(struct sim_store *st);

/* ---- faults ---- */

enum sim_store_call { SIM_STORE_READ, SIM_STORE_WRITE, SIM_STORE_TREE, SIM_STORE_COMMIT };

/* The next `count` calls of this kind answer `err` and do nothing. */
void sim_store_fail(struct sim_store *st, enum sim_store_call call, enum cv_err err,
                    unsigned count);

/* So many of a million calls answer CV_ERR_AGAIN, and CV_ERR_STORE. Planned and
 * random faults both spare size and have_load: those are asked when a swarm is
 * opened. */
void sim_store_faults(struct sim_store *st, uint32_t again_ppm, uint32_t error_ppm);

/* Writes that would make it hold more than so many chunks answer CV_ERR_FULL. */
void sim_store_space(struct sim_store *st, uint64_t chunks);

struct sim_store_counters {
    uint64_t reads, writes, commits, faults; /* calls; faults: that were refused */
    uint64_t chunks_written, chunks_twice;   /* twice: written though verified */
    uint64_t chunks_lost, chunks_torn;       /* by crashes */
};

const struct sim_store_counters *sim_store_counters(const struct sim_store *st);

#endif
