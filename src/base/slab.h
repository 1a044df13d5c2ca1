/*
 * Room for many objects of one size: where there are tens of thousands of them, and each
 * is met at random, the processor waits for the addresses of small pages as well as for
 * the memory. Objects begin at a cache line and lie together in blocks of 2 MiB; from
 * the second on, blocks ask for a page of that size (where the system gives one on
 * request; a block of ordinary pages is as good but slower). The first one takes memory
 * as it is used, so that few objects cost what they always did.
 *
 * A block whose last object went is given back unless it is the only one with room.
 * Sanitizers see objects that are not in use as what they are. Not for sharing between
 * threads.
 */
#ifndef CULVERT_BASE_SLAB_H
#define CULVERT_BASE_SLAB_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct cv_slab_block;
TAILQ_HEAD(cv_slab_blocks, cv_slab_block);

struct cv_slab {
    struct cv_slab_blocks roomy; /* blocks in which an object more has place */
    size_t size;                 /* of one object, in whole lines */
    uint32_t blocks, used;
};

/* Objects of `size` octets, 1 to 64 KiB. Allocates on the first take. */
void cv_slab_init(struct cv_slab *s, size_t size);
/* All objects were given back. */
void cv_slab_done(struct cv_slab *s);

/* A zeroed object, NULL without memory. */
void *cv_slab_take(struct cv_slab *s);
/* `object` is of this slab; NULL: no-op. Secrets are wiped before. */
void cv_slab_give(struct cv_slab *s, void *object);

#endif
