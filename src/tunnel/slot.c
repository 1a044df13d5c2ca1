#include "tunnel/slot.h"

#include <assert.h>
#include <string.h>

#include "base/cursor.h"
#include "crypto/aead.h"
#include "crypto/hash.h"
#include "tunnel/limits.h"

/* nonce | ciphertext | tag */
#define PLAIN TUN_POINTER
static_assert(PLAIN == TUN_SLOT_VALUE - CV_XAEAD_NONCE - CV_AEAD_TAG, "what is sealed fits");
static_assert(1 + TUN_SLOT_CONTACTS * TUN_CONTACT <= PLAIN, "six contacts fit");

static void le32(uint8_t out[4], uint32_t v) {
    for (int i = 0; i < 4; i++, v >>= 8)
        out[i] = (uint8_t)v;
}

void tun_swarm_derive(struct tun_swarm_secret *ret, const uint8_t network_id[8], const void *id,
                      size_t len, const uint8_t *secret) {
    static const uint8_t none[32];
    assert(len <= UINT16_MAX);
    uint8_t length[2] = {(uint8_t)len, (uint8_t)(len >> 8)};
    CV_BLAKE2B(ret->s, 32, secret ? secret : none, 32, {"culvert hs v1", 13}, {network_id, 8},
               {length, 2}, {id, len});

    uint8_t h[32];
    CV_BLAKE2B(h, sizeof h, ret->s, 32, {"offset", 6});
    struct cv_rd r = cv_rd_init(h, 8);
    ret->offset = (uint32_t)(cv_rd_le64(&r) % TUN_PERIOD_S);
    cv_wipe(h, sizeof h);
}

uint32_t tun_swarm_period(const struct tun_swarm_secret *s, int64_t wall) {
    assert(wall > TUN_PERIOD_S);
    return (uint32_t)((wall - s->offset) / TUN_PERIOD_S);
}

int64_t tun_swarm_period_begins(const struct tun_swarm_secret *s, uint32_t period) {
    return (int64_t)period * TUN_PERIOD_S + s->offset;
}

void tun_period_derive(struct tun_period_secret *ret, const struct tun_swarm_secret *s,
                       uint32_t period) {
    uint8_t p[4];
    le32(p, period);
    ret->period = period;
    CV_BLAKE2B(ret->seal, 32, s->s, 32, {"seal", 4}, {p, 4});
    CV_BLAKE2B(ret->psk, 32, s->s, 32, {"psk", 3}, {p, 4});
}

void tun_slot_key(struct cv_ed25519_secret *ret, const struct tun_swarm_secret *s, uint32_t period,
                  unsigned j) {
    assert(j <= TUN_SLOT_POINTER);
    uint8_t p[5], seed[CV_KEY];
    le32(p, period);
    p[4] = (uint8_t)j;
    CV_BLAKE2B(seed, sizeof seed, s->s, 32, {"slot", 4}, {p, 5});
    cv_ed25519_from_seed(ret, seed);
    cv_wipe(seed, sizeof seed);
}

void tun_contact_write(uint8_t out[TUN_CONTACT], const struct tun_contact *c) {
    struct cv_wr w = cv_wr_init(out, TUN_CONTACT);
    cv_wr_bytes(&w, c->ip, sizeof c->ip);
    cv_wr_bytes(&w, c->d, sizeof c->d);
    cv_wr_bytes(&w, c->auth, sizeof c->auth);
    cv_wr_bytes(&w, c->service, sizeof c->service);
    cv_wr_le32(&w, c->expiry);
    cv_wr_u8(&w, c->effort);
    assert(cv_wr_done(&w) == TUN_CONTACT);
}

void tun_contact_read(struct tun_contact *ret, const uint8_t in[TUN_CONTACT]) {
    struct cv_rd r = cv_rd_init(in, TUN_CONTACT);
    cv_rd_copy(&r, ret->ip, sizeof ret->ip);
    cv_rd_copy(&r, ret->d, sizeof ret->d);
    cv_rd_copy(&r, ret->auth, sizeof ret->auth);
    cv_rd_copy(&r, ret->service, sizeof ret->service);
    ret->expiry = cv_rd_le32(&r);
    ret->effort = cv_rd_u8(&r);
    assert(!r.err);
    assert(cv_rd_left(&r) == 0);
}

bool tun_contact_current(const struct tun_contact *c, int64_t wall) {
    return (int64_t)c->expiry > wall - 2 * TUN_CLOCK_OFF_S &&
           (int64_t)c->expiry <= wall + TUN_CONTACT_LIFE_MAX_S && c->effort <= TUN_EFFORT_MAX;
}

/* Order on the wire: nonce 24 | ciphertext 860 | tag 16. */
void tun_pointer_seal(uint8_t value[TUN_SLOT_VALUE], const uint8_t pointer[TUN_POINTER],
                      const struct tun_period_secret *keys, const struct cv_rng *rng) {
    cv_rng_fill(rng, value, CV_XAEAD_NONCE);
    cv_xaead_seal(value + CV_XAEAD_NONCE, value + CV_XAEAD_NONCE + PLAIN, pointer, PLAIN, NULL, 0,
                  value, keys->seal);
}

bool tun_pointer_open(uint8_t ret[TUN_POINTER], const uint8_t value[TUN_SLOT_VALUE],
                      const struct tun_period_secret *keys) {
    return cv_xaead_open(ret, value + CV_XAEAD_NONCE, PLAIN, value + CV_XAEAD_NONCE + PLAIN, NULL,
                         0, value, keys->seal);
}

void tun_slot_seal(uint8_t value[TUN_SLOT_VALUE], const struct tun_slot *slot,
                   const struct tun_period_secret *keys, const struct cv_rng *rng) {
    assert(slot->count <= TUN_SLOT_CONTACTS);
    uint8_t plain[PLAIN] = {slot->count};
    for (unsigned i = 0; i < slot->count; i++)
        tun_contact_write(plain + 1 + i * TUN_CONTACT, &slot->contact[i]);
    tun_pointer_seal(value, plain, keys, rng);
}

enum cv_err tun_slot_open(struct tun_slot *ret, const uint8_t *value, size_t len,
                          const struct tun_period_secret *keys) {
    uint8_t plain[PLAIN];
    if (len != TUN_SLOT_VALUE)
        return CV_ERR_MALFORMED;
    if (!tun_pointer_open(plain, value, keys))
        return CV_ERR_AUTH;
    if (plain[0] > TUN_SLOT_CONTACTS)
        return CV_ERR_MALFORMED;

    struct tun_slot slot = {.count = plain[0]};
    for (unsigned i = 0; i < slot.count; i++)
        tun_contact_read(&slot.contact[i], plain + 1 + i * TUN_CONTACT);
    *ret = slot;
    return CV_ERR_OK;
}

unsigned tun_slot_merge(struct tun_slot *slot, const struct tun_contact *ours, unsigned count,
                        bool evict, int64_t wall, const struct cv_rng *rng) {
    assert(slot->count <= TUN_SLOT_CONTACTS);
    struct tun_slot out = {0};
    for (unsigned i = 0; i < slot->count; i++) {
        const struct tun_contact *c = &slot->contact[i];
        bool mine = false;
        for (unsigned k = 0; k < count; k++)
            mine |= memcmp(c->service, ours[k].service, CV_KEY) == 0;
        if (!mine && tun_contact_current(c, wall))
            out.contact[out.count++] = *c;
    }
    unsigned added = 0;
    while (added < count && out.count < TUN_SLOT_CONTACTS)
        out.contact[out.count++] = ours[added++];
    if (added == 0 && count > 0 && evict) {
        /* At random: an order anybody knows would let the writer of nonsense
         * push out the others and stay himself. */
        unsigned out_goes = (unsigned)cv_rng_below(rng, out.count);
        memmove(&out.contact[out_goes], &out.contact[out_goes + 1],
                (out.count - 1 - out_goes) * sizeof *out.contact);
        out.contact[out.count - 1] = ours[cv_rng_below(rng, count)];
        added = 1;
    }
    *slot = out;
    return added;
}

size_t tun_item_signed(uint8_t out[TUN_ITEM_SIGNED_MAX], int64_t seq,
                       const uint8_t value[TUN_SLOT_VALUE]) {
    assert(seq >= 0);
    char digits[20];
    size_t n = 0;
    for (uint64_t v = (uint64_t)seq; n == 0 || v > 0; v /= 10)
        digits[n++] = (char)('0' + v % 10);

    struct cv_wr w = cv_wr_init(out, TUN_ITEM_SIGNED_MAX);
    cv_wr_bytes(&w, "3:seqi", 6);
    while (n > 0)
        cv_wr_u8(&w, (uint8_t)digits[--n]);
    cv_wr_bytes(&w, "e1:v900:", 8);
    cv_wr_bytes(&w, value, TUN_SLOT_VALUE);
    assert(!w.err);
    return cv_wr_len(&w);
}

void tun_item_sign(struct tun_item *item, const struct cv_ed25519_secret *key) {
    uint8_t buf[TUN_ITEM_SIGNED_MAX];
    memcpy(item->key, key->public_key, sizeof item->key);
    cv_ed25519_sign(item->sig, key, "", buf, tun_item_signed(buf, item->seq, item->value));
}

bool tun_item_verify(const struct tun_item *item) {
    uint8_t buf[TUN_ITEM_SIGNED_MAX];
    if (item->seq < 0)
        return false;
    size_t len = tun_item_signed(buf, item->seq, item->value);
    return cv_ed25519_verify(item->sig, item->key, "", buf, len);
}
