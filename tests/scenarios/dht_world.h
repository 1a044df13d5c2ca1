/*
 * A DHT of thousands of engines, some of them hostile, in virtual time: joining,
 * churn, loss. Addresses look public, each in a /24 of its own, so that BEP 42
 * and the rules about networks are in force. Hostile nodes are ordinary ones
 * (so they stand in everybody's tables) that answer queries in their own way.
 */
#ifndef CULVERT_TESTS_SCENARIOS_DHT_WORLD_H
#define CULVERT_TESTS_SCENARIOS_DHT_WORLD_H

#include "dht/dht.h"
#include "scenarios/scenario.h"

enum dht_role {
    DHT_HONEST,
    /* Names the hostile nodes closest to the target, gives tokens, accepts
     * everything and keeps nothing. */
    DHT_LIAR,
    /* The same, and its id lies next to a key that somebody will use (with an
     * address that allows it, BEP 42). */
    DHT_ECLIPSER,
    /* Answers under an id next to whatever it is asked for, and names addresses
     * where nobody is and honest ones under false ids. */
    DHT_POISONER,
    /* Answers honestly, and announces itself under random keys wherever it can. */
    DHT_FLOODER,
};

enum { DHT_WORLD_OPS = 16, DHT_WORLD_KEYS = 8, DHT_WORLD_ECLIPSERS = 16 };

struct dht_world;

/* What a node was asked to do, and for whom the answer is. */
struct dht_task {
    dht_op op;      /* 0: free */
    unsigned trial; /* as the caller numbers them */
    bool find;      /* else: store */
};

struct dht_world_node {
    struct dht_world *world;
    unsigned number; /* in the simulation and in dht_world.nodes */
    enum dht_role role;
    struct cv_addr addr;
    struct dht_id id; /* hostile ones: fixed */
    struct dht *d;    /* NULL: down */
    struct dht_task tasks[DHT_WORLD_OPS];
    uint64_t refused; /* flooder: answers that were no yes; accepted: yes */
    uint64_t accepted;
    struct dht_id flood_key;
};

/* Events of operations that dht_world_task() began. */
typedef void dht_world_event_fn(struct dht_world *w, struct dht_world_node *n,
                                const struct dht_task *task, const struct dht_event *ev);

struct dht_world {
    struct sim *sim;
    struct dht_world_node *nodes;
    unsigned count, hostile;
    unsigned *hostile_sorted; /* liars and eclipsers by id */
    unsigned hostile_sorted_count;
    struct dht_id keys[DHT_WORLD_KEYS]; /* the eclipsers' */
    unsigned key_count;
    cv_usec churn; /* between two nodes that leave and come; 0: none */
    dht_world_event_fn *fn;
    void *ctx;
};

struct dht_world_config {
    uint64_t seed;
    unsigned nodes;
    unsigned hostile_percent; /* of these */
    dht_world_event_fn *fn;
    void *ctx;
};

/* Nodes join from now until `joined`, each knowing up to three that are there.
 * Delays of 20 to 120 ms, 1 % loss. */
struct dht_world *dht_world_new(const struct dht_world_config *cfg, cv_usec joined);
void dht_world_free(struct dht_world *w);

/* From now on a tenth of the honest nodes goes every ten minutes (with all it
 * stored) and comes back under a new id. */
void dht_world_churn(struct dht_world *w);

/* An honest node that is up. */
struct dht_world_node *dht_world_pick(struct dht_world *w);

/* Remembers an operation just begun at the node; false: too many. */
bool dht_world_task(struct dht_world_node *n, dht_op op, unsigned trial, bool find);

#endif
