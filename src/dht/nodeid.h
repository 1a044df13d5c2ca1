/*
 * Node ids and keys of the Mainline DHT: 160 bits, distance by XOR (BEP 5), and
 * the restriction that ties a node's id to its IP address (BEP 42).
 */
#ifndef CULVERT_DHT_NODEID_H
#define CULVERT_DHT_NODEID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/endpoint.h"
#include "base/rng.h"

#define DHT_ID 20

struct dht_id {
    uint8_t b[DHT_ID];
};

static inline bool dht_id_equal(const struct dht_id *a, const struct dht_id *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

/* < 0 when `a` is closer to `target` than `b`, > 0 when farther, 0 when equal. */
int dht_id_closer(const struct dht_id *target, const struct dht_id *a, const struct dht_id *b);

/* Leading bits that two ids share, 0..160. */
unsigned dht_id_common_bits(const struct dht_id *a, const struct dht_id *b);

/* Random id that shares exactly `bits` (0..160) leading bits with `near`. */
struct dht_id dht_id_random_at(const struct dht_id *near, unsigned bits, const struct cv_rng *rng);

struct dht_id dht_id_random(const struct cv_rng *rng);

/* CRC-32C (Castagnoli) of `len` octets. */
uint32_t dht_crc32c(const void *data, size_t len);

/* Random id that BEP 42 allows for this address. */
struct dht_id dht_id_for_address(const struct cv_addr *addr, const struct cv_rng *rng);

/* The id is allowed for the address by BEP 42, or the address is exempt. */
bool dht_id_fits_address(const struct dht_id *id, const struct cv_addr *addr);

/* 10/8, 172.16/12, 192.168/16, 169.254/16, 127/8; for IPv6 their counterparts
 * ::1, fe80::/10 and fc00::/7, which the proposal forgot. */
bool dht_address_is_exempt(const struct cv_addr *addr);

#endif
