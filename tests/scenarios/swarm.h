/*
 * A world of PPSPP peers over simulated UDP: each is a ppsp engine with one
 * swarm and a chunk store with faults. One content, made from the seed.
 */
#ifndef CULVERT_TESTS_SCENARIOS_SWARM_H
#define CULVERT_TESTS_SCENARIOS_SWARM_H

#include "crypto/rng_seeded.h"
#include "ppsp/ppsp.h"
#include "sim/chunkstore.h"
#include "sim/sim.h"

enum { SWARM_CHUNK = 1024, SWARM_HASH = 32, SWARM_PEERS_MAX = 256 };

struct swarm_world;

struct swarm_peer {
    struct swarm_world *world;
    unsigned node;
    struct cv_addr addr;
    struct ppsp *engine; /* NULL while the node is down */
    struct sim_store *store;
    cv_handle swarm;
    bool complete, went_down_bad; /* COMPLETE seen; a PEER_DOWN with CV_ERR_AUTH seen */
    unsigned peers_up, peers_down, store_errors;
    bool retry_store;                            /* tell the engine that the store is ready again */
    uint32_t again_ppm, error_ppm;               /* faults of the store while the swarm is open */
    struct swarm_peer *friends[SWARM_PEERS_MAX]; /* "in its configuration file" */
    unsigned friends_count;
};

struct swarm_world {
    struct sim *sim;
    uint8_t *content;
    uint64_t octets;
    uint8_t root[SWARM_HASH];
    struct sim_store *tree; /* holds the true hash tree */
    struct swarm_peer *peers[SWARM_PEERS_MAX];
    unsigned peers_count;
    uint64_t upload_limit; /* of peers added from now on; 0: none */
    bool ledbat_plus;      /* the same */
};

struct swarm_world *swarm_world_new(uint64_t seed, uint64_t octets);
struct swarm_world *swarm_world_free(struct swarm_world *w); /* NULL is allowed */

enum swarm_kind {
    SWARM_SEEDER,
    SWARM_VIEWER,
    SWARM_LIAR, /* a seeder whose tree is right and whose every chunk is wrong */
};

/* Adds a peer, with store, engine and open swarm. */
struct swarm_peer *swarm_peer_new(struct swarm_world *w, enum swarm_kind kind);

/* `from` calls `to`, now and again after each restart. */
void swarm_connect(struct swarm_peer *from, struct swarm_peer *to);

/* Every viewer has everything; ctx is the world. */
bool swarm_all_complete(void *ctx);

/* What is in every store is the content, whatever else happened. */
bool swarm_stores_match(const struct swarm_world *w);

#endif
