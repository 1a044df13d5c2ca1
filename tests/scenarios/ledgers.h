/*
 * Many ledgers joined by links, without tunnels under them: LEDGER messages take
 * time, may get lost, and nothing else happens. For what a network of ledgers
 * must do, in virtual time; same seed, same run.
 */
#ifndef CULVERT_TESTS_SCENARIOS_LEDGERS_H
#define CULVERT_TESTS_SCENARIOS_LEDGERS_H

#include <stdbool.h>
#include <stdint.h>

#include "crypto/rng_seeded.h"
#include "reputation/ledger.h"
#include "reputation/store_memory.h"

enum { LEDGERS_MAX = 1024, LEDGERS_LINKS_MAX = 512 };

struct ledgers_node {
    struct cv_ed25519_secret identity;
    struct rep_store_memory *memory;
    struct rep_ledger *ledger; /* NULL: played by the scenario */
    unsigned link[LEDGERS_LINKS_MAX], links;
    uint64_t messages; /* sent */
};

struct ledgers_message;

struct ledgers {
    struct ledgers_node *node;
    unsigned n;
    struct cv_now now;
    struct cv_rng_seeded dice;
    struct cv_rng rng;
    unsigned loss_permille;
    bool no_gossip; /* only what settles a pair's own row arrives */
    /* Told of every message as it is sent; NULL: nobody. */
    void (*on_send)(void *ctx, unsigned from, const uint8_t *body, size_t len);
    void *on_send_ctx;
    cv_usec delay_min, delay_max;
    struct ledgers_message **flying; /* a heap by time */
    uint32_t flying_n, flying_cap;
    uint64_t order;
    uint64_t octets; /* of all messages sent */
};

extern const uint8_t ledgers_network[REP_NETWORK_ID];

/* n nodes, the first `played` of them without a ledger of their own. */
struct ledgers *ledgers_new(unsigned n, unsigned played, uint64_t seed, uint32_t epoch_seconds,
                            uint64_t minimum);
struct ledgers *ledgers_free(struct ledgers *w);

const uint8_t *ledgers_key(const struct ledgers *w, unsigned i);

/* A link; to a played node it is that node's other end. False: too many, or there. */
bool ledgers_join(struct ledgers *w, unsigned a, unsigned b);

/* An agreed row into every store, before links are there. Ledgers that exist read
 * it when they are started again (ledgers_restart). */
void ledgers_row(struct ledgers *w, unsigned giver, unsigned taker, uint64_t octets);
void ledgers_restart(struct ledgers *w);

/* The body of a LEDGER command from `from`, played or not, to `to`. */
void ledgers_send(struct ledgers *w, unsigned from, unsigned to, const uint8_t *body, size_t len);

/* Octets from a to b, counted at both ends. */
void ledgers_carry(struct ledgers *w, unsigned a, unsigned b, uint64_t octets);

/* Serves whatever is due first. */
void ledgers_run(struct ledgers *w, cv_usec until);

#endif
