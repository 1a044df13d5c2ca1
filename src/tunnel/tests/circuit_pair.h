/* A circuit in one process: an owner and its hops, keys drawn from seeded dice. */
#ifndef CULVERT_TUNNEL_TESTS_CIRCUIT_PAIR_H
#define CULVERT_TUNNEL_TESTS_CIRCUIT_PAIR_H

#include "crypto/rng_seeded.h"
#include "tunnel/layer.h"
#include "tunnel/onion.h"
#include "tunnel/params.h"

struct circuit_pair {
    struct cv_rng_seeded seeded;
    struct cv_rng rng;
    struct tun_onion owner;
    struct tun_layer hop[TUN_HOPS_MAX];
    struct tun_layer_secret secret[TUN_HOPS_MAX];
};

/* In place: rng points into it. `first` is the suite of the first hop. */
static inline void circuit_pair_init_suite(struct circuit_pair *c, unsigned hops, uint64_t seed,
                                           uint8_t first) {
    cv_rng_seeded_init(&c->seeded, seed);
    c->rng = cv_rng_seeded(&c->seeded);
    tun_onion_init(&c->owner);
    for (unsigned i = 0; i < hops; i++) {
        uint8_t prk[32];
        cv_rng_fill(&c->rng, prk, sizeof prk);
        tun_layer_secret_derive(&c->secret[i], prk, i ? TUN_SUITE_CHACHA : first);
        tun_layer_init(&c->hop[i], &c->secret[i]);
        tun_onion_add(&c->owner, &c->secret[i]);
    }
}

static inline void circuit_pair_init(struct circuit_pair *c, unsigned hops, uint64_t seed) {
    circuit_pair_init_suite(c, hops, seed, TUN_SUITE_CHACHA);
}

#endif
