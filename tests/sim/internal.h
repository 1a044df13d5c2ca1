/* What network.c and run.c share; not for users of the simulator. */
#ifndef CULVERT_TESTS_SIM_INTERNAL_H
#define CULVERT_TESTS_SIM_INTERNAL_H

#include "base/heap.h"
#include "base/map.h"
#include "crypto/rng_seeded.h"
#include "sim/pipe.h"
#include "sim/sim.h"

enum {
    SIM_BATCH_SLOTS = 64,
    SIM_BATCH_RUNS = 64,
    SIM_POOL_SLAB = 64,       /* packets allocated at a time */
    SIM_ADDRS_PER_SOCKET = 2, /* one of each family */
    SIM_HINTS = 16,           /* a power of two */
    SIM_SPINS_MAX = 10000,    /* rounds at one instant before we say that time stands still */
    SIM_DRAIN_MAX = 1000000,  /* batches from one node at one instant, likewise */
    SIM_MAP_MAX = 100 * 1000 * 1000,
};

/* What waits in the heap. The timer comes first in each. */
enum sim_kind { SIM_KIND_NODE, SIM_KIND_ARRIVE, SIM_KIND_DELIVER, SIM_KIND_ACTION };

struct sim_item {
    struct cv_timer timer;
    enum sim_kind kind;
};

struct sim_packet {
    struct sim_item item;
    struct sim_packet *next_free;
    unsigned from_node, to_node; /* from_node UINT_MAX: injected */
    struct cv_addr from, to;
    unsigned socket;
    uint16_t len;
    uint8_t data[];
};

struct sim_action {
    struct sim_item item;
    sim_action_fn *fn;
    void *ctx;
};

struct sim_socket {
    struct cv_addr addrs[SIM_ADDRS_PER_SOCKET]; /* family 0: none */
};

/* The way to a node, so that the map is asked once and not for every datagram.
 * Ways are never freed before the end. */
struct sim_hint {
    unsigned to;
    struct sim_way *way; /* NULL: none */
};

struct sim_node {
    struct sim_item item;
    unsigned number;
    const struct sim_node_ops *ops;
    void *ctx;
    struct sim_socket *sockets;
    unsigned sockets_count;
    cv_usec clock; /* its mono is simulated time + clock */
    int64_t skew;
    bool up, dirty, asleep;
    bool moved; /* datagrams to addresses that it had may be on their way */
    unsigned group;
    struct sim_node *next_dirty;
    struct sim_pipe pipe_up, pipe_down;
    struct sim_hint hint[SIM_HINTS]; /* where it sent lately, by number of the target */
    cv_usec spin_at;
    unsigned spins; /* timeouts at spin_at */
    struct cv_rng_seeded dice;
    struct cv_rng rng;
    struct sim_node_counters counters;
};

/* Who has an address. */
struct sim_binding {
    struct sim_node *node;
    unsigned socket;
};

struct sim_way { /* one direction between two nodes */
    bool own;    /* path is its own, else the simulation's default counts */
    struct sim_path path;
    struct sim_pipe pipe;
    uint64_t mask;
    unsigned mask_at;
    cv_usec clogged, last_arrival;
};

struct sim {
    struct sim_config cfg;
    cv_usec now;
    struct cv_heap heap;
    struct sim_node **nodes;
    unsigned nodes_count, nodes_cap;
    struct sim_node *dirty, **dirty_tail;
    struct cv_map *bindings; /* struct cv_addr -> struct sim_binding */
    struct cv_map *ways;     /* two node numbers -> struct sim_way */
    uint8_t map_key[16];
    struct sim_path path_default;
    struct sim_packet *free_packets;
    void **slabs;
    size_t slabs_count;
    sim_hook_fn *hook;
    void *hook_ctx;
    struct cv_rng_seeded dice;
    struct cv_rng rng;
    struct cv_batch batch;
    struct cv_run runs[SIM_BATCH_RUNS];
    uint8_t *arena;
    uint64_t digest;
    struct sim_counters counters;
};

/* Says why and with which seed, and aborts. */
_Noreturn void sim_fail(const struct sim *s, const char *why, unsigned node);

void *sim_alloc(size_t size); /* zeroed; never NULL */
struct sim_node *sim_node_at(const struct sim *s, unsigned node);
void sim_mark(struct sim *s, struct sim_node *n);

/* A datagram leaves a node's socket. */
void sim_network_send(struct sim *s, struct sim_node *from, unsigned socket,
                      const struct cv_addr *to, uint8_t *buf, uint16_t len);
/* A packet's time has come. */
void sim_network_arrive(struct sim *s, struct sim_packet *p);
void sim_network_deliver(struct sim *s, struct sim_packet *p);

/* Chains a few words into the digest. */
void sim_digest_words(struct sim *s, const uint64_t *words, size_t n);

#endif
