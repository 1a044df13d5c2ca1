/*
 * A world of whole nodes: each is a struct node with its sockets as ports of one
 * simulated address, its files and its ledger in memory, and possibly one film.
 * The first node of the simulation is a bare DHT node that everybody begins
 * with, like `culvert-dht serve`; a relay alone has nobody to ask.
 *
 * Also what culvert-bench measures the simulator with. Running out of memory
 * ends the program. Times count from the start of the simulation (sim.h).
 */
#ifndef CULVERT_TESTS_SCENARIOS_WORLD_H
#define CULVERT_TESTS_SCENARIOS_WORLD_H

#include "dht/dht.h"
#include "node/node.h"
#include "reputation/store_memory.h"
#include "sim/chunkstore.h"
#include "sim/sim.h"
#include "tunnel/worker.h"

enum { WORLD_CHUNK = 1024, WORLD_HASH = 32, WORLD_NODES_MAX = 256, WORLD_FILMS_MAX = 64 };

struct world;

struct world_film {
    uint8_t *content;
    uint64_t octets;
    struct node_uri uri;
    struct sim_store *tree; /* holds the true hash tree */
};

/* A file of a node: what a SAVE event said last. */
struct world_file {
    uint8_t *data;
    size_t len;
};

struct world_node {
    struct world *world;
    unsigned number;                       /* in the simulation */
    struct cv_addr addr[NODE_SOCKETS];     /* of IPv6 where there is no other; */
    struct cv_addr addr_too[NODE_SOCKETS]; /* family 0: none. Of IPv6, of a node that has both */
    struct node_config cfg;
    struct node *node;                        /* NULL while it is down */
    struct tunnel *workers[NODE_WORKERS_MAX]; /* [1] and up, of a relay that has several */
    /* This one of them (0: none) has no time until world_worker_resume(): what it is told
     * waits, what else comes is lost. And one in so many of what strangers make workers tell
     * each other is lost on its way, the first of them (0: none). */
    unsigned worker_stalled, messages_lose;
    unsigned messages_counted, messages_waited;
    struct tun_message *waits, **waits_end;
    struct world_file files[NODE_SAVED_KINDS];
    struct rep_store_memory *ledger; /* relays */

    const struct world_film *film; /* NULL: none */
    struct sim_store *store;
    struct node_swarm_config swarm_cfg; /* opened again after a restart */
    cv_handle swarm;

    /* What its events said, since the last start. */
    bool dht_ready, relay_ready, client_ready, shared, complete, ledger_failed;
    unsigned peers_up, peers_down, nobody, too_few, store_errors, recordings;
};

struct world {
    struct sim *sim;
    bool six; /* addresses are of IPv6 */
    bool mixed;
    struct world_boot *boot;
    struct world_node *nodes[WORLD_NODES_MAX];
    unsigned nodes_count;
    struct world_film *films[WORLD_FILMS_MAX];
    unsigned films_count;
};

struct world *world_new(uint64_t seed);
struct world *world_new_six(uint64_t seed); /* all of whose addresses are of IPv6 */
/* Nodes have the families that they are made with; the DHT node has both. */
struct world *world_new_mixed(uint64_t seed);
struct world *world_free(struct world *w); /* NULL is allowed */

struct world_node_config {
    bool relay;
    bool exit;   /* a relay that is a swarm exit, too */
    bool direct; /* with a socket for direct swarms */
    bool gate_off;
    bool one_port;           /* a relay that tries others from the port that they called */
    bool spare_upstream;     /* as `culvert` runs it (node.h) */
    bool strangers;          /* with all the waits that matter among strangers */
    uint64_t relay_octets_s; /* all it sends as relay; 0: as fast as asked */
    uint8_t workers;         /* of the relay; 0: one */
    uint8_t family;          /* 4 or 6, in a mixed world; 0: both */
    int64_t clock_off;       /* seconds by which its clock is ahead of the simulator's */
};

/* A node whose engines begin when the simulation runs on. */
struct world_node *world_node_new(struct world *w, const struct world_node_config *cfg);
void world_relays(struct world *w, unsigned count); /* so many, all alike */

/* The stalled worker of a relay has time again. */
void world_worker_resume(struct world_node *n);

/* Every pair of nodes gets a link of its own delay, drawn between the two. */
void world_links(struct world *w, cv_usec delay_min, cv_usec delay_max, uint32_t loss_ppm);

/* Content made from the seed. */
struct world_film *world_film_new(struct world *w, uint64_t octets);

enum world_role { WORLD_SEEDER, WORLD_VIEWER };

/* Opens the film; now and after each restart. `upload_limit`: octets a second, 0:
 * none. `fetch_all`: a viewer takes everything, else only what it wants. */
void world_open(struct world_node *n, const struct world_film *f, enum world_role role,
                uint64_t upload_limit, bool fetch_all);

/* The same with more to say; uri, store and completeness are filled in. */
void world_open_with(struct world_node *n, const struct world_film *f, enum world_role role,
                     const struct node_swarm_config *cfg);

/* The same for a film that the relay `at` shares under its own name; the seeder is
 * that relay itself. */
void world_open_at(struct world_node *n, const struct world_film *f, enum world_role role,
                   const struct world_node *at, bool fetch_all);

/* The relay whose pseudonym (first octets of its identity in hex) is this; NULL: none. */
struct world_node *world_by_pseudonym(const struct world *w, const char *pseudonym);

/* The viewer's ways in which this relay stands, in whichever half: both halves end at the same
 * rendezvous point. */
unsigned world_ways_of(const struct world_node *viewer, const struct world_node *seeder,
                       const struct world_node *relay);

/* The account key that `client` shows to the guard `relay`. */
void world_account_key(const struct world_node *client, const struct world_node *relay,
                       uint8_t ret[CV_KEY]);

/* A bare node of the DHT puts a signed item, or looks one up for twenty seconds; false:
 * there is none. */
void world_dht_put(struct world *w, const struct dht_item *item);
bool world_dht_get(struct world *w, const uint8_t key[CV_KEY], struct dht_item *ret);

/* Whether these octets stand anywhere in it; and whether it asks the DHT for an item, or to
 * store one. */
bool world_contains(const struct sim_datagram *d, const void *what, size_t n);
bool world_asks_item(const struct sim_datagram *d);

/* ---- readers ---- */

/* A player: begins when `buffer` octets are there, then reads `rate` octets a
 * second and waits when they are not there. */
struct world_reader {
    struct world_node *node;
    uint64_t rate, buffer, at;
    cv_usec begun_at, due_at; /* 0: not yet */
    bool waiting;
    unsigned waits;
    cv_usec waited;
    uint64_t least; /* octets ahead, at worst */
    bool wrong;     /* read something else than the film */
};

/* Borrowed until the world is freed. */
void world_read(struct world_reader *r, struct world_node *n, uint64_t rate, uint64_t buffer);

/* ---- things to wait for (sim_done_fn; ctx: the world) ---- */

bool world_relays_ready(void *ctx);
bool world_clients_ready(void *ctx);
bool world_shared(void *ctx);       /* every seeder that is up */
bool world_all_complete(void *ctx); /* everybody with a film, that is up */

/* What is in every store is the film. */
bool world_stores_match(const struct world *w);

/* ---- the world that the simulator's speed is measured in ---- */

struct world_figures {
    unsigned nodes;
    double node_hours;
    uint64_t datagrams, timeouts, waits;
    uint64_t digest;
    bool played; /* everybody who watched read the film at its rate to the end */
};

/* `nodes` (at least `relays` + 2 * `streams`) for `minutes`, `streams` of them
 * watching films of 1 Mbit/s all the time. */
void world_hour(uint64_t seed, unsigned nodes, unsigned relays, unsigned streams, unsigned minutes,
                struct world_figures *ret);

#endif
