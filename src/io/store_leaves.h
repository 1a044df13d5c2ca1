/*
 * Leaf hashes of complete groups of 16 chunks, as far as memory allows: who serves the
 * same group to several peers, or has just received it, need not hash it again. A group
 * has one slot that it can be in; content of IO_LEAVES_OCTETS / 32 chunks of SHA-256
 * (96 MiB of 1 KiB) is remembered whole, of more what was used last.
 */
#ifndef CULVERT_IO_STORE_LEAVES_H
#define CULVERT_IO_STORE_LEAVES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct io_leaves {
    uint64_t *names; /* group + 1; 0: empty. NULL: nothing was remembered yet */
    uint8_t *hashes;
    uint64_t slots;
    size_t group_octets; /* of a group's leaves */
};

/* `groups` of the content, each with `group_octets` of leaves; the same with each call until
 * io_leaves_drop(). Without memory it is not remembered. */
void io_leaves_put(struct io_leaves *l, uint64_t groups, size_t group_octets, uint64_t group,
                   const uint8_t *leaves);

/* Valid until the next call; NULL: not remembered. */
const uint8_t *io_leaves_get(const struct io_leaves *l, uint64_t group);

void io_leaves_drop(struct io_leaves *l);

#endif
