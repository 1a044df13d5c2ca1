/*
 * Worlds of whole engines with a DHT that is only a table: relays announce in
 * it and keep items for others, whoever needs contacts asks it. What a node's
 * on_event is in these worlds; tests look at the rest.
 */
#ifndef CULVERT_TUNNEL_TESTS_VILLAGE_H
#define CULVERT_TUNNEL_TESTS_VILLAGE_H

#include "tunnel/client.h"
#include "tunnel/guard.h"
#include "tunnel/hidden.h"
#include "tunnel/slot.h"
#include "tunnel/tests/world.h"

#define VILLAGE_ITEMS 64
#define VILLAGE_PEERS 32
#define VILLAGE_LOG   1024 /* what comes after that is not written down */

/* What a relay does as the last hop of look-ups and puts. */
enum village_manner {
    VILLAGE_HONEST = 0,
    VILLAGE_CENSOR, /* finds nothing; says that it stored, and does not */
    VILLAGE_SILENT, /* answers neither */
    VILLAGE_STALE,  /* finds what village.stale holds; stores like a censor */
    VILLAGE_REFUSE, /* says of every put that something newer is there */
};

/* A key, and the relay that was asked to look it up or store under it. */
struct village_asked {
    uint8_t key[CV_KEY];
    unsigned relay;
    bool put, stored;
};

struct village {
    struct world *w;
    struct tun_item item[VILLAGE_ITEMS];
    unsigned items, lookups, puts, refused; /* refused: cas or seq */
    uint32_t measure_from;                  /* of nodes added from now on; 0: as usual */
    uint8_t version;                        /* the same; 0: ours */
    bool forgets;                           /* look-ups find nothing, puts fail */
    bool stingy;                            /* only the first key of a look-up is answered */
    unsigned asked;                         /* the relay that was asked last */
    enum village_manner manner[WORLD_NODES];
    struct tun_item stale; /* for all keys; its own is the only one it verifies under */
    struct village_asked log[VILLAGE_LOG];
    unsigned logged;
    struct village_peer {
        unsigned node;
        cv_handle hidden;
        struct cv_endpoint endpoint;
        cv_usec at;
        bool up;
    } peer[VILLAGE_PEERS];
    unsigned peers;
    uint8_t guards[WORLD_NODES][TUN_GUARDS_BLOB_MAX]; /* as saved last */
    size_t guards_len[WORLD_NODES];
};

/* `relays` relays, then nothing; times as in a hurry. */
struct village *village_new(const struct sim_config *cfg, unsigned relays);
void village_free(struct village *v);
/* One more relay; its number. */
unsigned village_relay(struct village *v);
/* A client of the village; its number. */
unsigned village_client(struct village *v);
/* The same with the guards of an earlier run. */
unsigned village_client_with(struct village *v, const void *guards, size_t len);

cv_handle village_view(struct village *v, unsigned node, const char *swarm);
cv_handle village_share(struct village *v, unsigned node, const char *swarm, bool viewer);

/* What is behind a handle; NULL: it is closed. */
struct tun_hidden *village_hidden(const struct village *v, unsigned node, cv_handle hidden);

/* How many relays stored under a key. */
unsigned village_relays_stored(const struct village *v, const uint8_t *key);
/* A key is looked up twice, time and again: always at two relays. */
bool village_asked_twice(const struct village *v, const uint8_t *key);
/* What the table holds under a key; NULL: nothing. */
const struct tun_item *village_item(const struct village *v, const uint8_t *key);

/* How many peers of this swarm are up at a node. */
unsigned village_up(const struct village *v, unsigned node, cv_handle hidden);
/* Runs until so many are up at once; false: not in this time. */
bool village_meet(struct village *v, unsigned node, cv_handle hidden, unsigned peers,
                  cv_usec within);
/* Sends a datagram to the i-th peer that is up at `node`. */
enum cv_err village_say(struct village *v, unsigned node, cv_handle hidden, unsigned i,
                        const void *buf, size_t len);

#endif
