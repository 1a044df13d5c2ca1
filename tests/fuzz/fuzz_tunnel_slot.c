/*
 * What members and strangers of a swarm may write into its slots (tunnel/slot.h,
 * tunnel/stamp.h). Input: one octet that chooses, then octets for it: a value as
 * a stranger wrote it; the inside of a slot as a member wrote it (sealed here),
 * which is opened and completed with contacts of ours; one contact; an item.
 * Property: what opens is written again as what opens to the same; a completed
 * slot holds at most six contacts, ours once each, and nobody's that are over;
 * an item that we did not sign is not verified; results stay untouched on failure.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "crypto/aead.h"
#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "tunnel/slot.h"
#include "tunnel/stamp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WALL  1780000000
#define PLAIN (TUN_SLOT_VALUE - CV_XAEAD_NONCE - CV_AEAD_TAG)

static struct tun_swarm_secret swarm;
static struct tun_period_secret keys;

static void merge(struct tun_slot slot, const struct cv_rng *rng, bool evict) {
    struct tun_contact ours[3];
    memset(ours, 0, sizeof ours);
    for (unsigned i = 0; i < 3; i++) {
        ours[i].service[0] = 0xfe;
        ours[i].auth[0] = (uint8_t)i;
        ours[i].expiry = WALL + 3600;
    }
    unsigned added = tun_slot_merge(&slot, ours, 3, evict, WALL, rng), mine = 0;
    assert(slot.count <= TUN_SLOT_CONTACTS);
    for (unsigned i = 0; i < slot.count; i++) {
        assert(tun_contact_current(&slot.contact[i], WALL));
        mine += memcmp(slot.contact[i].service, ours[0].service, CV_KEY) == 0;
    }
    assert(mine == added);
    assert(added <= 3);
    if (evict)
        assert(added > 0);
}

static void as_member(const uint8_t *inside, size_t len, const struct cv_rng *rng) {
    uint8_t plain[PLAIN] = {0}, value[TUN_SLOT_VALUE];
    struct tun_slot slot, again, untouched;
    memcpy(plain, inside, len < PLAIN ? len : PLAIN);
    memset(value, 3, CV_XAEAD_NONCE);
    cv_xaead_seal(value + CV_XAEAD_NONCE, value + CV_XAEAD_NONCE + PLAIN, plain, PLAIN, NULL, 0,
                  value, keys.seal);
    memset(&slot, 0xee, sizeof slot);
    untouched = slot;
    if (tun_slot_open(&slot, value, sizeof value, &keys)) {
        assert(plain[0] > TUN_SLOT_CONTACTS);
        assert(memcmp(&slot, &untouched, sizeof slot) == 0);
        return;
    }
    tun_slot_seal(value, &slot, &keys, rng);
    assert(tun_slot_open(&again, value, sizeof value, &keys) == CV_ERR_OK);
    assert(again.count == slot.count);
    assert(memcmp(again.contact, slot.contact, slot.count * sizeof *slot.contact) == 0);
    merge(slot, rng, false);
    merge(slot, rng, true);
}

/* What is found for a contact shows what it asks. */
static void search(unsigned effort, const uint8_t *service, const uint8_t *flight, size_t len,
                   const struct cv_rng *rng) {
    struct tun_stamp_search s;
    tun_stamp_begin(&s, effort, service, 20601, flight, len, rng);
    while (!tun_stamp_try(&s, 16))
        assert(s.tries < 1 << 16);
    assert(tun_stamp_effort(tun_stamp_get(&s), service, 20601, flight, len) >= effort);
}

static void as_item(const uint8_t *data, size_t size) {
    struct tun_item item;
    memset(&item, 0, sizeof item);
    memcpy(&item, data, size < sizeof item ? size : sizeof item);
    struct cv_ed25519_secret key;
    tun_slot_key(&key, &swarm, 20601, data[0] % TUN_SLOTS);
    memcpy(item.key, key.public_key, CV_KEY);
    assert(!tun_item_verify(&item));
    if (item.seq < 0)
        return;
    tun_item_sign(&item, &key);
    assert(tun_item_verify(&item));
    item.value[data[0]] ^= 1;
    assert(!tun_item_verify(&item));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct cv_rng_seeded dice;
    cv_crypto_init();
    cv_rng_seeded_init(&dice, 1);
    struct cv_rng rng = cv_rng_seeded(&dice);
    tun_swarm_derive(&swarm, (const uint8_t *)"testnet", "film", 4, NULL);
    tun_period_derive(&keys, &swarm, 20601);
    assert(tun_swarm_period(&swarm, tun_swarm_period_begins(&swarm, 20601)) == 20601);
    if (size < 2)
        return 0;
    uint8_t mode = data[0];
    data++;
    size--;
    if (mode % 4 == 0) {
        struct tun_slot slot = {.count = 99};
        assert(tun_slot_open(&slot, data, size, &keys) != CV_ERR_OK);
        assert(slot.count == 99);
    } else if (mode % 4 == 1) {
        as_member(data, size, &rng);
    } else if (mode % 4 == 2) {
        uint8_t in[TUN_CONTACT] = {0}, out[TUN_CONTACT];
        struct tun_contact c;
        memcpy(in, data, size < sizeof in ? size : sizeof in);
        tun_contact_read(&c, in);
        tun_contact_write(out, &c);
        assert(memcmp(in, out, sizeof in) == 0);
        uint8_t stamp[TUN_STAMP] = {0};
        memcpy(stamp, data, size < sizeof stamp ? size : sizeof stamp);
        assert(tun_stamp_effort(stamp, c.service, 20601, data, size) <= 255);
        search(c.effort % 8, c.service, data, size, &rng);
    } else {
        as_item(data, size);
    }
    return 0;
}
