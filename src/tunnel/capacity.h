/*
 * What relays were measured to carry (docs/protocol/tunnel.md, section 8), in one
 * octet: 0 is "not measured", q is 2^((q-1)/8) KiB/s. Eight steps double it, which is
 * more than such a measurement knows. Pure functions.
 */
#ifndef CULVERT_TUNNEL_CAPACITY_H
#define CULVERT_TUNNEL_CAPACITY_H

#include <stddef.h>
#include <stdint.h>

#include "tunnel/limits.h"

/* The largest code that says no more; 0 for 0, and never more than the code of
 * TUN_CAPACITY_MAX. */
uint8_t tun_capacity_code(uint32_t kib_s);
/* KiB/s; what is above TUN_CAPACITY_MAX is TUN_CAPACITY_MAX. */
uint32_t tun_capacity_kib(uint8_t code);

/* The median of n > 0 values, the lower of the two in the middle. Sorts them. */
uint32_t tun_capacity_median(uint32_t *values, size_t n);

/* n cells arrived, the last `took` after the first: KiB/s, at most TUN_CAPACITY_MAX. */
uint32_t tun_capacity_of_train(unsigned n, uint64_t took_usec);

#endif
