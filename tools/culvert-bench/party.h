/*
 * Who stands around a relay that is measured: engines of clients and of other relays, and
 * circuits of two hops from the ones through it to the others. Virtual time, no sockets;
 * datagrams are carried by the bench.
 */
#ifndef CULVERT_TOOLS_CULVERT_BENCH_PARTY_H
#define CULVERT_TOOLS_CULVERT_BENCH_PARTY_H

#include <stddef.h>
#include <stdint.h>

#include "crypto/keys.h"
#include "crypto/rng_seeded.h"
#include "tunnel/engine.h"

enum { PARTY_RELAYS_MAX = 16 };

extern const uint8_t party_network[TUN_NETWORK_ID];

/* An engine. Does not move while it runs. */
struct party {
    struct tunnel *t;
    struct cv_addr addr;
    struct cv_ed25519_secret identity_secret;
    struct cv_rng_seeded dice;
    struct cv_rng rng;
};

/* Relays that a relay knows and extends to: `ctx` of party_ops. */
struct party_relays {
    struct tun_relay_ref v[PARTY_RELAYS_MAX];
    unsigned n;
};

extern const struct tun_user_ops party_ops;

/* A circuit: its owner, and the relay behind the one that is measured. */
struct ends {
    struct party *client, *next;
    cv_handle circuit, hop; /* hop 0: nobody said yet which it is */
};

struct circuits {
    struct ends *v; /* `wanted` of them */
    unsigned wanted, ready, open, failed;
    uint64_t arrived; /* datagrams, at either end */
};

/* Number 0 is the relay's. */
struct cv_addr party_address(unsigned number);

/* `cfg` says what it is; network, identity and, of a relay, its address come from here.
 * Each has a `seed` of its own, or is another worker of the same relay. */
void party_start(struct party *p, struct tun_config *cfg, unsigned number, uint8_t seed,
                 const struct cv_now *now);

/* How others name a relay that showed this descriptor. */
void party_ref(const uint8_t *descriptor, size_t len, int64_t wall, struct tun_relay_ref *ret);
void party_own_ref(const struct party *p, int64_t wall, struct tun_relay_ref *ret);

/* Takes what happened at it: what is to be saved is, an OPEN names its hop and is answered. */
void party_events(struct party *p, const struct cv_now *now, struct circuits *c);

/* Client and next are set; `relay` and `next` are the two hops. */
void ends_build(struct ends *e, const struct cv_now *now, const struct tun_relay_ref *relay,
                const struct tun_relay_ref *next);
bool ends_ready(const struct ends *e);
/* Number `i` of the circuits asks its last hop to say so. */
void ends_open(const struct circuits *c, unsigned i, const struct cv_now *now);
/* As much as one cell carries there, from the client or to it. */
void ends_send(const struct ends *e, bool forward, const struct cv_now *now);

#endif
