#include "tunnel/describe.h"

#include <assert.h>
#include <string.h>

#include "crypto/aead.h"
#include "crypto/hash.h"

enum {
    POINT = 4,
    MAC = POINT + CV_KEY, /* 36 */
    BOX = MAC + 16,       /* 52 */
    SHORT_END = 128,      /* of what the question's mac covers */
    ANSWER_END = BOX + 16,
    PLAIN = TUN_DATAGRAM - BOX - CV_AEAD_TAG, /* 1164 */
};
static_assert(PLAIN == 1164, "details.md section 3");
static_assert(PLAIN >= 2 + TUN_DESCRIPTOR_MAX, "length and descriptor");

static const uint8_t zero_nonce[CV_AEAD_NONCE] = {0}; /* keys are used once */

void tun_describe_net_init(struct tun_describe_net *n, const uint8_t network_id[TUN_NETWORK_ID]) {
    memcpy(n->network_id, network_id, TUN_NETWORK_ID);
    CV_BLAKE2B(n->mac_key, 32, NULL, 0, {"culvert describe mac", 20}, {network_id, TUN_NETWORK_ID});
    CV_BLAKE2B(n->mask_key, 32, NULL, 0, {"culvert describe mask", 21},
               {network_id, TUN_NETWORK_ID});
}

/* The point without its mask; bit 255 is random on the wire and not part of it. */
static void mask_of(uint8_t stream[CV_KEY], const struct tun_describe_net *net,
                    const uint8_t *datagram) {
    uint8_t in[16];
    memcpy(in, datagram, 4);
    memcpy(in + 4, datagram + BOX, 12);
    cv_hchacha20(stream, in, net->mask_key);
}

static void put_point(uint8_t *datagram, const struct tun_describe_net *net,
                      const uint8_t point[CV_KEY], uint8_t dice) {
    uint8_t stream[CV_KEY];
    mask_of(stream, net, datagram);
    for (unsigned i = 0; i < CV_KEY; i++)
        datagram[POINT + i] = point[i] ^ stream[i];
    datagram[POINT + CV_KEY - 1] ^= dice & 0x80;
}

static void get_point(uint8_t point[CV_KEY], const struct tun_describe_net *net,
                      const uint8_t *datagram) {
    uint8_t stream[CV_KEY];
    mask_of(stream, net, datagram);
    for (unsigned i = 0; i < CV_KEY; i++)
        point[i] = datagram[POINT + i] ^ stream[i];
    point[CV_KEY - 1] &= 0x7f;
}

static void make_mac(uint8_t out[16], const uint8_t key[32], const uint8_t *datagram, size_t end) {
    CV_BLAKE2B(out, 16, key, 32, {datagram, MAC}, {datagram + BOX, end - BOX});
}

static void answer_key(uint8_t out[32], const struct tun_describe_net *net,
                       const uint8_t *question) {
    CV_BLAKE2B(out, 32, NULL, 0, {net->network_id, TUN_NETWORK_ID}, {question + MAC, 16});
}

static void box_key(uint8_t out[32], const uint8_t xy[CV_KEY], const uint8_t x[CV_KEY],
                    const uint8_t y[CV_KEY]) {
    CV_BLAKE2B(out, 32, NULL, 0, {"culvert describe box", 20}, {xy, CV_KEY}, {x, CV_KEY},
               {y, CV_KEY});
}

void tun_describe_ask(struct tun_describe *d, const struct tun_describe_net *net,
                      const struct cv_rng *rng, uint8_t datagram[TUN_DATAGRAM]) {
    uint8_t seed[CV_KEY];
    cv_rng_fill(rng, seed, sizeof seed);
    cv_x25519_from_seed(&d->x_secret, seed);
    cv_wipe(seed, sizeof seed);
    cv_rng_fill(rng, datagram, TUN_DATAGRAM);
    put_point(datagram, net, d->x_secret.public_key, datagram[MAC]);
    make_mac(datagram + MAC, net->mac_key, datagram, SHORT_END);
    answer_key(d->answer_key, net, datagram);
}

bool tun_describe_is_question(const struct tun_describe_net *net,
                              const uint8_t datagram[TUN_DATAGRAM]) {
    uint8_t want[16];
    make_mac(want, net->mac_key, datagram, SHORT_END);
    return cv_equal(want, datagram + MAC, sizeof want);
}

enum cv_err tun_describe_answer(const struct tun_describe_net *net,
                                const uint8_t question[TUN_DATAGRAM], const void *descriptor,
                                size_t len, const struct cv_rng *rng,
                                uint8_t datagram[TUN_DATAGRAM]) {
    assert(len <= TUN_DESCRIPTOR_MAX);
    assert(datagram != question);
    uint8_t dice[CV_KEY + 5], x[CV_KEY], xy[CV_KEY], key[32];
    struct cv_x25519_secret y_secret;
    cv_rng_fill(rng, dice, sizeof dice);
    cv_x25519_from_seed(&y_secret, dice);
    get_point(x, net, question);
    bool ok = cv_x25519(xy, y_secret.scalar, x);
    if (ok) {
        box_key(key, xy, x, y_secret.public_key);
        uint8_t *box = datagram + BOX;
        memset(box, 0, PLAIN);
        box[0] = (uint8_t)len;
        box[1] = (uint8_t)(len >> 8);
        memcpy(box + 2, descriptor, len);
        cv_aead_seal(box, box + PLAIN, box, PLAIN, NULL, 0, zero_nonce, key);
        memcpy(datagram, dice + CV_KEY, 4);
        put_point(datagram, net, y_secret.public_key, dice[CV_KEY + 4]);
        answer_key(key, net, question);
        make_mac(datagram + MAC, key, datagram, ANSWER_END);
    }
    cv_wipe(dice, sizeof dice);
    cv_wipe(&y_secret, sizeof y_secret);
    cv_wipe(xy, sizeof xy);
    cv_wipe(key, sizeof key);
    return ok ? CV_ERR_OK : CV_ERR_AUTH;
}

bool tun_describe_is_answer(const struct tun_describe *d, const uint8_t datagram[TUN_DATAGRAM]) {
    uint8_t want[16];
    make_mac(want, d->answer_key, datagram, ANSWER_END);
    return cv_equal(want, datagram + MAC, sizeof want);
}

enum cv_err tun_describe_consume(const struct tun_describe *d, const struct tun_describe_net *net,
                                 const uint8_t datagram[TUN_DATAGRAM],
                                 uint8_t ret[TUN_DESCRIPTOR_MAX], size_t *ret_len) {
    uint8_t y[CV_KEY], xy[CV_KEY], key[32], plain[PLAIN];
    const uint8_t *box = datagram + BOX;
    enum cv_err err = CV_ERR_AUTH;
    if (!tun_describe_is_answer(d, datagram))
        return CV_ERR_AUTH;
    get_point(y, net, datagram);
    if (!cv_x25519(xy, d->x_secret.scalar, y))
        goto out;
    box_key(key, xy, d->x_secret.public_key, y);
    if (!cv_aead_open(plain, box, PLAIN, box + PLAIN, NULL, 0, zero_nonce, key))
        goto out;
    size_t len = (size_t)(plain[0] | plain[1] << 8);
    err = CV_ERR_MALFORMED;
    if (len > TUN_DESCRIPTOR_MAX)
        goto out;
    memcpy(ret, plain + 2, len);
    *ret_len = len;
    err = CV_ERR_OK;
out:
    cv_wipe(xy, sizeof xy);
    cv_wipe(key, sizeof key);
    return err;
}

void tun_describe_done(struct tun_describe *d) {
    cv_wipe(d, sizeof *d);
}
