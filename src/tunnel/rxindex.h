/*
 * Receiver indexes: the four octets by which a datagram finds its link. An
 * index is (worker | generation | slot), the slot drawn at random among the
 * free ones and the generation from a random start, so that an observer cannot
 * tell which indexes belong together or how many there are; looking one up is
 * one array access. The first octet on the wire is never 'd', with which
 * DHT messages begin. The worker number lies in the top bits of the last
 * octet, where a socket filter can read it.
 */
#ifndef CULVERT_TUNNEL_RXINDEX_H
#define CULVERT_TUNNEL_RXINDEX_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rng.h"
#include "tunnel/limits.h"

struct tun_rxindex;

/*
 * `slots`: a power of two, 256 .. TUN_RXINDEX_SLOTS_MAX; one in 256 is never
 * used. worker < 1 << worker_bits, worker_bits <= TUN_WORKER_BITS_MAX. Copies
 * *rng, whose ctx must outlive it. NULL: out of memory.
 */
struct tun_rxindex *tun_rxindex_new(size_t slots, unsigned worker, unsigned worker_bits,
                                    const struct cv_rng *rng);

/* NULL is allowed; always returns NULL. Values are not touched. */
struct tun_rxindex *tun_rxindex_free(struct tun_rxindex *x);

/* A new index for `value` (not NULL). CV_ERR_LIMIT: all slots are taken. */
enum cv_err tun_rxindex_take(struct tun_rxindex *x, void *value, uint32_t *ret_index);

/* The value, or NULL: never given, dropped, or another worker's. */
void *tun_rxindex_find(const struct tun_rxindex *x, uint32_t index);

/* Another value under the same index. `index` must be in use. */
void tun_rxindex_move(struct tun_rxindex *x, uint32_t index, void *value);

/* No-op when it is not in use. */
void tun_rxindex_drop(struct tun_rxindex *x, uint32_t index);

size_t tun_rxindex_count(const struct tun_rxindex *x);

#endif
