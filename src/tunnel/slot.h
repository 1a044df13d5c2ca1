/*
 * Where the seeders of a hidden swarm can be met (docs/protocol/tunnel.md,
 * hidden swarms). Whoever knows a swarm derives from it, for a period p of one
 * day, sixteen Ed25519 slot keys, a sealing key and a handshake key; seeders
 * write their contacts, sealed, into BEP 44 mutable items under those keys. So
 * a DHT node stores nothing that was not signed by somebody who knows the
 * swarm, and cannot read what it stores.
 *
 * Pure functions over plain structs; nothing here allocates or fails but for
 * hostile input. All integers little-endian.
 */
#ifndef CULVERT_TUNNEL_SLOT_H
#define CULVERT_TUNNEL_SLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/rng.h"
#include "crypto/keys.h"

#define TUN_SLOTS         16  /* slot keys of a swarm and period */
#define TUN_SLOT_POINTER  16  /* one more: holds a pointer instead of contacts */
#define TUN_SLOT_VALUE    900 /* octets of every slot's value */
#define TUN_POINTER       860 /* octets of a pointer: all that is sealed into a value */
#define TUN_SLOT_CONTACTS 6   /* most contacts in one slot */
#define TUN_CONTACT       117 /* octets of one contact */
#define TUN_PERIOD_S      86400

/* What a swarm id (and the link's secret, if it has one) turns into. */
struct tun_swarm_secret {
    uint8_t s[32];   /* S: everything else follows from it */
    uint32_t offset; /* second of the day (UTC) at which this swarm's periods turn */
};

/* `id` of `len` octets (at most 65535); `secret` of 32 octets or NULL. */
void tun_swarm_derive(struct tun_swarm_secret *ret, const uint8_t network_id[8], const void *id,
                      size_t len, const uint8_t *secret);

/* The period of a wall-clock time (Unix seconds, > 86400), and when it began. */
uint32_t tun_swarm_period(const struct tun_swarm_secret *s, int64_t wall);
int64_t tun_swarm_period_begins(const struct tun_swarm_secret *s, uint32_t period);

/* Keys of one period. Wipe with cv_wipe() when the period is over. */
struct tun_period_secret {
    uint32_t period;
    uint8_t seal[32]; /* E */
    uint8_t psk[32];  /* of the end-to-end handshake */
};
void tun_period_derive(struct tun_period_secret *ret, const struct tun_swarm_secret *s,
                       uint32_t period);

/* Slot key j (0..15, or TUN_SLOT_POINTER) of a period. */
void tun_slot_key(struct cv_ed25519_secret *ret, const struct tun_swarm_secret *s, uint32_t period,
                  unsigned j);

/* One way to reach one seeder. */
struct tun_contact {
    uint8_t ip[CV_KEY];      /* identity of the introduction point */
    uint8_t d[16];           /* of its descriptor */
    uint8_t auth[CV_KEY];    /* names the seeder's circuit at the introduction point */
    uint8_t service[CV_KEY]; /* X25519: static key of the end-to-end handshake */
    uint32_t expiry;         /* Unix seconds */
    uint8_t effort;          /* leading zero bits a work stamp must show */
};

struct tun_slot {
    uint8_t count;
    struct tun_contact contact[TUN_SLOT_CONTACTS];
};

/* The 117 octets of a contact (also used by PEX of contacts). */
void tun_contact_write(uint8_t out[TUN_CONTACT], const struct tun_contact *c);
void tun_contact_read(struct tun_contact *ret, const uint8_t in[TUN_CONTACT]);

/* Not expired by any clock that is as wrong as may be, if ours is, too, and not claiming to live
 * longer, or asking more work, than any seeder would. */
bool tun_contact_current(const struct tun_contact *c, int64_t wall);

/* slot->count <= TUN_SLOT_CONTACTS. */
void tun_slot_seal(uint8_t value[TUN_SLOT_VALUE], const struct tun_slot *slot,
                   const struct tun_period_secret *keys, const struct cv_rng *rng);
/* CV_ERR_AUTH: not sealed under these keys; MALFORMED: by somebody who knows
 * them and writes nonsense. *ret untouched then. */
enum cv_err tun_slot_open(struct tun_slot *ret, const uint8_t *value, size_t len,
                          const struct tun_period_secret *keys);

/* The same for octets that this module does not look at. Open: false when they are not
 * sealed under these keys; who wrote them is for the reader to find out, as everybody who
 * knows the swarm can. */
void tun_pointer_seal(uint8_t value[TUN_SLOT_VALUE], const uint8_t pointer[TUN_POINTER],
                      const struct tun_period_secret *keys, const struct cv_rng *rng);
bool tun_pointer_open(uint8_t ret[TUN_POINTER], const uint8_t value[TUN_SLOT_VALUE],
                      const struct tun_period_secret *keys);

/*
 * Writes `count` contacts of one seeder into what a slot holds: drops what is
 * no longer current and what the same seeder (service key) wrote before, fills
 * the room that is left and, if nothing of ours fits and `evict` is true, puts
 * one of ours in the place of a random other. Ours stand last: so it can be seen whose
 * word a slot is. How many of ours it now holds.
 */
unsigned tun_slot_merge(struct tun_slot *slot, const struct tun_contact *ours, unsigned count,
                        bool evict, int64_t wall, const struct cv_rng *rng);

/* A BEP 44 mutable item as it is put and got: no salt, value of 900 octets. */
struct tun_item {
    uint8_t key[CV_KEY];
    int64_t seq;
    uint8_t sig[CV_SIGNATURE];
    uint8_t value[TUN_SLOT_VALUE];
};

/* What BEP 44 signs for such an item: "3:seqi<seq>e1:v900:" and the value. */
#define TUN_ITEM_SIGNED_MAX (TUN_SLOT_VALUE + 40)
size_t tun_item_signed(uint8_t out[TUN_ITEM_SIGNED_MAX], int64_t seq,
                       const uint8_t value[TUN_SLOT_VALUE]);

/* Fills key and sig from item->seq and item->value. */
void tun_item_sign(struct tun_item *item, const struct cv_ed25519_secret *key);
/* Seq not negative and signed by item->key. */
bool tun_item_verify(const struct tun_item *item);

#endif
