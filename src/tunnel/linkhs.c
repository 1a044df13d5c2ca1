#include "tunnel/linkhs.h"

#include <assert.h>
#include <string.h>

#include "base/cursor.h"
#include "crypto/aead.h"
#include "crypto/hash.h"

enum {
    MAC1 = 0,
    MAC2 = 16,
    INDEX1 = 32, /* flight 1: masked index, then the Noise message */
    NOISE1 = 36,
    SHORT_END = 128, /* macs cover up to here: one block; Noise covers the rest */
    NOISE2 = 4,
    PAYLOAD1 = TUN_DATAGRAM - NOISE1 - CV_NOISE_OVERHEAD,
    PAYLOAD2 = TUN_DATAGRAM - NOISE2 - CV_NOISE_OVERHEAD,
    NONCE = 4, /* cookie datagram */
    COOKIE_BOX = NONCE + CV_XAEAD_NONCE,
    COOKIE_PLAIN = TUN_DATAGRAM - COOKIE_BOX - CV_AEAD_TAG,
    MASKED1 = 4 + CV_KEY, /* index and ephemeral */
};

/* Version 1 has the plain label; what comes after it has its number, too. */
static void mac_key_of(uint8_t out[32], const struct tun_linkhs_peer *p, uint8_t version) {
    CV_BLAKE2B(out, 32, NULL, 0, {"culvert ", 8}, {"link mac1", 9}, {p->network_id, TUN_NETWORK_ID},
               {p->link_key, CV_KEY}, {&version, version > 1});
}

void tun_linkhs_peer_speaks(struct tun_linkhs_peer *p, uint8_t version) {
    assert(version > 0);
    p->version = version;
    mac_key_of(p->mac_key, p, version);
    if (version > 1)
        mac_key_of(p->mac_key_before, p, version - 1);
    else
        memset(p->mac_key_before, 0, sizeof p->mac_key_before);
}

void tun_linkhs_peer_init(struct tun_linkhs_peer *p, const uint8_t link_key[CV_KEY],
                          const uint8_t network_id[TUN_NETWORK_ID]) {
    memcpy(p->link_key, link_key, CV_KEY);
    memcpy(p->network_id, network_id, TUN_NETWORK_ID);
    const struct {
        const char *label;
        uint8_t *to;
    } keys[] = {{"link mask", p->mask_key}, {"link cookie", p->cookie_key}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        CV_BLAKE2B(keys[i].to, 32, NULL, 0, {"culvert ", 8}, {keys[i].label, strlen(keys[i].label)},
                   {network_id, TUN_NETWORK_ID}, {link_key, CV_KEY});
    tun_linkhs_peer_speaks(p, TUN_VERSION);
}

enum { PROLOGUE = 12 + 1 + TUN_NETWORK_ID };

static void prologue(uint8_t out[PROLOGUE], const struct tun_linkhs_peer *p, uint8_t version) {
    memcpy(out, "culvert link", 12);
    out[12] = version;
    memcpy(out + 13, p->network_id, TUN_NETWORK_ID);
}

static uint32_t le32(const uint8_t *p) {
    struct cv_rd r = cv_rd_init(p, 4);
    return cv_rd_le32(&r);
}

static void put_le32(uint8_t *p, uint32_t v) {
    struct cv_wr w = cv_wr_init(p, 4);
    cv_wr_le32(&w, v);
}

/* ---- flight 1 ---- */

static void make_mac1(uint8_t out[16], const uint8_t key[32], const uint8_t *datagram) {
    CV_BLAKE2B(out, 16, key, 32, {datagram + MAC2, SHORT_END - MAC2});
}

/* (Un)masks index and ephemeral; mac2 differs in every flight. */
static void mask_1(uint8_t *at, const struct tun_linkhs_peer *p, const uint8_t *datagram) {
    cv_chacha20_xor(at, MASKED1, datagram + MAC2, p->mask_key);
}

/* Octets INDEX1 .. SHORT_END as they were before masking. */
static void unmask_1(uint8_t out[SHORT_END - INDEX1], const struct tun_linkhs_peer *p,
                     const uint8_t *datagram) {
    memcpy(out, datagram + INDEX1, SHORT_END - INDEX1);
    mask_1(out, p, datagram);
    out[MASKED1 - 1] &= 0x7f; /* X25519 has 255 bits; the last one is random on the wire */
}

enum cv_err tun_linkhs_create_1(struct tun_linkhs *hs, const struct tun_linkhs_peer *peer,
                                uint32_t local_index, const uint8_t *cookie,
                                const struct cv_rng *rng, uint8_t datagram[TUN_DATAGRAM]) {
    uint8_t pro[PROLOGUE], payload[PAYLOAD1] = {0}, dice[17];
    memset(hs, 0, sizeof *hs);
    hs->local_index = local_index;
    hs->version = peer->version;
    prologue(pro, peer, peer->version);
    cv_noise_init_initiator(&hs->noise, CV_NOISE_NK, pro, sizeof pro, peer->link_key, NULL, rng);

    put_le32(payload, local_index);
    put_le32(datagram + INDEX1, local_index);
    enum cv_err err = cv_noise_create_1(&hs->noise, datagram + NOISE1, payload, sizeof payload);
    if (err)
        return err;
    cv_rng_fill(rng, dice, sizeof dice);
    if (cookie)
        tun_cookie_mac(datagram + MAC2, cookie, datagram + INDEX1, SHORT_END - INDEX1);
    else
        memcpy(datagram + MAC2, dice, 16);
    mask_1(datagram + INDEX1, peer, datagram);
    datagram[INDEX1 + MASKED1 - 1] ^= dice[16] & 0x80;
    make_mac1(datagram + MAC1, peer->mac_key, datagram);
    memcpy(hs->mac1, datagram + MAC1, sizeof hs->mac1);
    return CV_ERR_OK;
}

uint8_t tun_linkhs_is_flight_1(const struct tun_linkhs_peer *self,
                               const uint8_t datagram[TUN_DATAGRAM]) {
    uint8_t want[16];
    make_mac1(want, self->mac_key, datagram);
    if (cv_equal(want, datagram + MAC1, sizeof want))
        return self->version;
    if (self->version == 1)
        return 0;
    make_mac1(want, self->mac_key_before, datagram);
    return cv_equal(want, datagram + MAC1, sizeof want) ? self->version - 1 : 0;
}

bool tun_linkhs_has_cookie(const struct tun_linkhs_peer *self, const struct tun_cookie_jar *jar,
                           const struct cv_addr *from, const uint8_t datagram[TUN_DATAGRAM]) {
    uint8_t plain[SHORT_END - INDEX1];
    unmask_1(plain, self, datagram);
    return tun_cookie_check(jar, from, datagram + MAC2, plain, sizeof plain);
}

enum cv_err tun_linkhs_consume_1(struct tun_linkhs *hs, const struct tun_linkhs_peer *self,
                                 const struct cv_x25519_secret *link_secret,
                                 const struct cv_rng *rng, const uint8_t datagram[TUN_DATAGRAM]) {
    uint8_t pro[PROLOGUE], msg[TUN_DATAGRAM - INDEX1], payload[PAYLOAD1];
    uint8_t version = tun_linkhs_is_flight_1(self, datagram);
    if (version == 0)
        return CV_ERR_AUTH;
    unmask_1(msg, self, datagram);
    memcpy(msg + SHORT_END - INDEX1, datagram + SHORT_END, TUN_DATAGRAM - SHORT_END);

    memset(hs, 0, sizeof *hs);
    hs->version = version;
    prologue(pro, self, version);
    cv_noise_init_responder(&hs->noise, CV_NOISE_NK, pro, sizeof pro, link_secret, NULL, rng);
    enum cv_err err = cv_noise_consume_1(&hs->noise, link_secret, msg + NOISE1 - INDEX1,
                                         sizeof msg - (NOISE1 - INDEX1), payload);
    if (err == CV_ERR_OK && le32(msg) != le32(payload))
        err = CV_ERR_AUTH; /* the index in front is not covered by Noise */
    if (err) {
        tun_linkhs_done(hs);
        return err;
    }
    hs->remote_index = le32(payload);
    return CV_ERR_OK;
}

/* ---- flight 2 ---- */

/* Both sides share the hash of flight 1; it is never the same twice. */
static void mask_2(uint8_t e[CV_KEY], const uint8_t h[CV_NOISE_HASH]) {
    uint8_t stream[CV_KEY];
    CV_BLAKE2B(stream, sizeof stream, h, CV_NOISE_HASH, {"flight 2 mask", 13});
    for (unsigned i = 0; i < CV_KEY; i++)
        e[i] ^= stream[i];
}

enum cv_err tun_linkhs_create_2(struct tun_linkhs *hs, uint32_t local_index,
                                const struct cv_rng *rng, uint8_t datagram[TUN_DATAGRAM]) {
    uint8_t payload[PAYLOAD2] = {0}, h[CV_NOISE_HASH], dice;
    memcpy(h, hs->noise.h, sizeof h);
    put_le32(payload, local_index);
    enum cv_err err = cv_noise_create_2(&hs->noise, datagram + NOISE2, payload, sizeof payload);
    if (err)
        return err;
    cv_rng_fill(rng, &dice, 1);
    mask_2(datagram + NOISE2, h);
    datagram[NOISE2 + CV_KEY - 1] ^= dice & 0x80;
    put_le32(datagram, hs->remote_index);
    hs->local_index = local_index;
    return CV_ERR_OK;
}

enum cv_err tun_linkhs_consume_2(struct tun_linkhs *hs, const uint8_t datagram[TUN_DATAGRAM]) {
    uint8_t msg[TUN_DATAGRAM - NOISE2], payload[PAYLOAD2];
    memcpy(msg, datagram + NOISE2, sizeof msg);
    mask_2(msg, hs->noise.h);
    msg[CV_KEY - 1] &= 0x7f;
    enum cv_err err = cv_noise_consume_2(&hs->noise, msg, sizeof msg, payload);
    if (err == CV_ERR_OK)
        hs->remote_index = le32(payload);
    return err;
}

/* ---- cookies ---- */

void tun_linkhs_create_cookie(const struct tun_linkhs_peer *self, const struct tun_cookie_jar *jar,
                              const struct cv_addr *from, const uint8_t flight1[TUN_DATAGRAM],
                              const struct cv_rng *rng, uint8_t datagram[TUN_DATAGRAM]) {
    uint8_t plain[SHORT_END - INDEX1], mac1[16], *box = datagram + COOKIE_BOX;
    unmask_1(plain, self, flight1);
    memcpy(mac1, flight1 + MAC1, sizeof mac1); /* the two datagrams may be one buffer */
    memcpy(datagram, plain, 4);
    cv_rng_fill(rng, datagram + NONCE, CV_XAEAD_NONCE);
    memset(box, 0, COOKIE_PLAIN);
    tun_cookie_make(jar, from, box);
    cv_xaead_seal(box, box + COOKIE_PLAIN, box, COOKIE_PLAIN, mac1, sizeof mac1, datagram + NONCE,
                  self->cookie_key);
}

enum cv_err tun_linkhs_consume_cookie(const struct tun_linkhs *hs,
                                      const struct tun_linkhs_peer *peer,
                                      const uint8_t datagram[TUN_DATAGRAM],
                                      uint8_t ret_cookie[TUN_COOKIE]) {
    uint8_t plain[COOKIE_PLAIN];
    const uint8_t *box = datagram + COOKIE_BOX;
    if (!cv_xaead_open(plain, box, COOKIE_PLAIN, box + COOKIE_PLAIN, hs->mac1, sizeof hs->mac1,
                       datagram + NONCE, peer->cookie_key))
        return CV_ERR_AUTH;
    memcpy(ret_cookie, plain, TUN_COOKIE);
    return CV_ERR_OK;
}

/* ---- keys ---- */

void tun_linkhs_finish(const struct tun_linkhs *hs, struct tun_link_secret *ret_tx,
                       struct tun_link_secret *ret_rx, uint8_t ret_hash[CV_NOISE_HASH]) {
    uint8_t forth[64], back[64];
    cv_noise_split(&hs->noise, forth, back);
    tun_link_secret_derive(hs->noise.initiator ? ret_tx : ret_rx, forth);
    tun_link_secret_derive(hs->noise.initiator ? ret_rx : ret_tx, back);
    memcpy(ret_hash, hs->noise.h, CV_NOISE_HASH);
    cv_wipe(forth, sizeof forth);
    cv_wipe(back, sizeof back);
}

void tun_linkhs_done(struct tun_linkhs *hs) {
    cv_noise_done(&hs->noise);
    cv_wipe(hs, sizeof *hs);
}
