#include "tunnel/e2e.h"

#include <assert.h>
#include <string.h>

#include "base/cursor.h"
#include "crypto/siphash.h"
#include "tunnel/limits.h"

#define NUMBER_MASK 0x7fffffffu /* wire numbers have 31 bits, as those of cells */

/* "culvert e2e v1" | network id | p | IP identity | authentication key */
#define PROLOGUE (14 + 8 + 4 + CV_KEY + CV_KEY)

static void prologue_write(uint8_t out[PROLOGUE], const struct tun_e2e_context *ctx,
                           uint32_t period) {
    struct cv_wr w = cv_wr_init(out, PROLOGUE);
    cv_wr_bytes(&w, "culvert e2e v1", 14);
    cv_wr_bytes(&w, ctx->network_id, sizeof ctx->network_id);
    cv_wr_le32(&w, period);
    cv_wr_bytes(&w, ctx->ip, sizeof ctx->ip);
    cv_wr_bytes(&w, ctx->auth, sizeof ctx->auth);
    assert(cv_wr_done(&w) == PROLOGUE);
}

static void meeting_write(uint8_t out[TUN_MEETING], const struct tun_meeting *m) {
    struct cv_wr w = cv_wr_init(out, TUN_MEETING);
    cv_wr_bytes(&w, m->rp, sizeof m->rp);
    cv_wr_bytes(&w, m->d, sizeof m->d);
    cv_wr_bytes(&w, m->cookie, sizeof m->cookie);
    assert(cv_wr_done(&w) == TUN_MEETING);
}

static void meeting_read(struct tun_meeting *ret, const uint8_t in[TUN_MEETING]) {
    struct cv_rd r = cv_rd_init(in, TUN_MEETING);
    cv_rd_copy(&r, ret->rp, sizeof ret->rp);
    cv_rd_copy(&r, ret->d, sizeof ret->d);
    cv_rd_copy(&r, ret->cookie, sizeof ret->cookie);
    assert(!r.err);
}

/* key 32 | mask 16 | salt 8 | start 4 | 4 unused: the 64 octets of one output
 * of the Noise split. */
static void direction_init(struct tun_e2e_direction_secret *d, const uint8_t out[64]) {
    struct cv_rd r = cv_rd_init(out, 64);
    cv_rd_copy(&r, d->key, sizeof d->key);
    cv_rd_copy(&r, d->mask, sizeof d->mask);
    cv_rd_copy(&r, d->salt, sizeof d->salt);
    d->start = cv_rd_le32(&r) & NUMBER_MASK;
}

static void finish(struct tun_e2e *ret, struct cv_noise *n, bool viewer) {
    uint8_t to_seeder[64], to_viewer[64];
    struct tun_e2e e = {.sent = 0};
    cv_noise_split(n, to_seeder, to_viewer);
    direction_init(&e.tx_secret, viewer ? to_seeder : to_viewer);
    direction_init(&e.rx_secret, viewer ? to_viewer : to_seeder);
    *ret = e;
    cv_wipe(&e, sizeof e);
    cv_wipe(to_seeder, sizeof to_seeder);
    cv_wipe(to_viewer, sizeof to_viewer);
    cv_noise_done(n);
}

enum cv_err tun_e2e_create_1(struct cv_noise *n, uint8_t out[TUN_E2E_FLIGHT1],
                             const struct tun_e2e_context *ctx,
                             const struct tun_period_secret *keys, const uint8_t service[CV_KEY],
                             const struct tun_meeting *meeting, const struct cv_rng *rng) {
    uint8_t prologue[PROLOGUE], payload[TUN_MEETING];
    prologue_write(prologue, ctx, keys->period);
    meeting_write(payload, meeting);
    cv_noise_init_initiator(n, CV_NOISE_NKPSK0, prologue, sizeof prologue, service, keys->psk, rng);
    enum cv_err err = cv_noise_create_1(n, out, payload, sizeof payload);
    cv_wipe(payload, sizeof payload);
    return err;
}

enum cv_err tun_e2e_consume_1(struct cv_noise *n, struct tun_meeting *ret, const uint8_t *flight,
                              size_t len, const struct tun_e2e_context *ctx,
                              const struct tun_period_secret *keys,
                              const struct cv_x25519_secret *service, const struct cv_rng *rng) {
    uint8_t prologue[PROLOGUE], payload[TUN_MEETING];
    if (len != TUN_E2E_FLIGHT1)
        return CV_ERR_MALFORMED;
    prologue_write(prologue, ctx, keys->period);

    struct cv_noise fresh;
    cv_noise_init_responder(&fresh, CV_NOISE_NKPSK0, prologue, sizeof prologue, service, keys->psk,
                            rng);
    enum cv_err err = cv_noise_consume_1(&fresh, service, flight, len, payload);
    if (!err) {
        *n = fresh;
        meeting_read(ret, payload);
    }
    cv_noise_done(&fresh);
    cv_wipe(payload, sizeof payload);
    return err;
}

enum cv_err tun_e2e_create_2(struct cv_noise *n, uint8_t out[TUN_E2E_FLIGHT2],
                             struct tun_e2e *ret) {
    enum cv_err err = cv_noise_create_2(n, out, "", 0);
    if (!err)
        finish(ret, n, /* viewer= */ false);
    return err;
}

enum cv_err tun_e2e_consume_2(struct cv_noise *n, const uint8_t *flight, size_t len,
                              struct tun_e2e *ret) {
    if (len != TUN_E2E_FLIGHT2)
        return CV_ERR_MALFORMED;
    uint8_t nothing[1]; /* no payload */
    enum cv_err err = cv_noise_consume_2(n, flight, len, nothing);
    if (!err)
        finish(ret, n, /* viewer= */ true);
    return err;
}

static void nonce_write(uint8_t nonce[CV_AEAD_NONCE], const struct tun_e2e_direction_secret *d,
                        uint32_t wire) {
    memcpy(nonce, d->salt, sizeof d->salt);
    for (int i = 0; i < 4; i++)
        nonce[8 + i] = (uint8_t)(wire >> (8 * i));
}

static uint32_t number_mask(const struct tun_e2e_direction_secret *d, const uint8_t *tag) {
    return (uint32_t)cv_siphash(d->mask, tag, CV_AEAD_TAG);
}

enum cv_err tun_e2e_seal(struct tun_e2e *e, uint8_t *out, const uint8_t *buf, size_t len) {
    if (e->sent >= TUN_SEQUENCE_CAP)
        return CV_ERR_CLOSED;
    uint32_t wire = (uint32_t)(e->tx_secret.start + e->sent) & NUMBER_MASK;
    uint8_t nonce[CV_AEAD_NONCE], tag[CV_AEAD_TAG];
    nonce_write(nonce, &e->tx_secret, wire);
    if (len > 0 && out + TUN_E2E_OVERHEAD != buf)
        memmove(out + TUN_E2E_OVERHEAD, buf, len);
    cv_aead_seal(out + TUN_E2E_OVERHEAD, tag, out + TUN_E2E_OVERHEAD, len, NULL, 0, nonce,
                 e->tx_secret.key);

    struct cv_wr w = cv_wr_init(out, TUN_E2E_OVERHEAD);
    cv_wr_le32(&w, wire ^ number_mask(&e->tx_secret, tag));
    cv_wr_bytes(&w, tag, sizeof tag);
    e->sent++;
    return CV_ERR_OK;
}

ssize_t tun_e2e_open(struct tun_e2e *e, uint8_t *out, const uint8_t *buf, size_t len) {
    if (len < TUN_E2E_OVERHEAD)
        return CV_ERR_TRUNCATED;
    struct cv_rd r = cv_rd_init(buf, TUN_E2E_OVERHEAD);
    uint32_t masked = cv_rd_le32(&r);
    uint8_t tag[CV_AEAD_TAG], nonce[CV_AEAD_NONCE];
    cv_rd_copy(&r, tag, sizeof tag);
    uint32_t wire = masked ^ number_mask(&e->rx_secret, tag);
    if (wire & ~NUMBER_MASK)
        return CV_ERR_AUTH;

    uint64_t n;
    if (!tun_number_rebuild(e->window.top, (wire - e->rx_secret.start) & NUMBER_MASK,
                            TUN_SEQUENCE_BITS, &n))
        return CV_ERR_AUTH;
    enum cv_err err = tun_window_check(&e->window, n);
    if (err)
        return err;
    nonce_write(nonce, &e->rx_secret, wire);
    if (!cv_aead_open(out, buf + TUN_E2E_OVERHEAD, len - TUN_E2E_OVERHEAD, tag, NULL, 0, nonce,
                      e->rx_secret.key))
        return CV_ERR_AUTH;
    tun_window_set(&e->window, n);
    return (ssize_t)(len - TUN_E2E_OVERHEAD);
}

void tun_e2e_done(struct tun_e2e *e) {
    cv_wipe(e, sizeof *e);
    cv_aead_forget();
}
