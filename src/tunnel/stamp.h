/*
 * Work stamps: what an introduction shows to a seeder who is asked by more than it
 * can answer (docs/protocol/tunnel.md, hidden swarms). The effort of a stamp is the
 * number of leading zero bits of
 *
 *     BLAKE2b-256(service key | p | stamp | BLAKE2b-256(flight))
 *
 * so a stamp of effort e costs 2^e tries to find and two hashes to check, is good for
 * one flight to one seeder on one day, and nothing of it can be made before the flight.
 * Pure functions; whoever searches says how many tries at a time.
 */
#ifndef CULVERT_TUNNEL_STAMP_H
#define CULVERT_TUNNEL_STAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "crypto/keys.h"

#define TUN_STAMP 16

/* 0..255 */
unsigned tun_stamp_effort(const uint8_t stamp[TUN_STAMP], const uint8_t service[CV_KEY],
                          uint32_t period, const void *flight, size_t len);

/* A search under way. Plain memory, nothing secret in it. */
struct tun_stamp_search {
    uint8_t hashed[CV_KEY + 4 + TUN_STAMP + 32]; /* as above */
    uint8_t effort;                              /* wanted */
    bool found;
    uint64_t tries; /* made so far */
};

/* Begins at a random stamp, which is one already when `effort` is 0. */
void tun_stamp_begin(struct tun_stamp_search *s, unsigned effort, const uint8_t service[CV_KEY],
                     uint32_t period, const void *flight, size_t len, const struct cv_rng *rng);
/* At most so many tries more. True: found, now or before. */
bool tun_stamp_try(struct tun_stamp_search *s, unsigned tries);
/* The stamp, when it is found; what it began with before. */
const uint8_t *tun_stamp_get(const struct tun_stamp_search *s);

#endif
