/*
 * Link cells (tunnel/cell.h) and the replay window behind them. Input: one
 * octet that chooses, then
 *     even  a datagram, padded with zeros: forged, as the key is not in it
 *     odd   header fields 20 | plaintext of a control cell, sealed as a hostile
 *           neighbour would, with any length field and then one octet changed
 * Property: what was not sealed with the key is refused and changes nothing;
 * what was, opens to the same header, and a body never leaves its cell.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/cursor.h"
#include "base/err.h"
#include "crypto/aead.h"
#include "tunnel/cell.h"
#include "tunnel/window.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tun_link_secret key;

static void forged(const uint8_t *data, size_t size) {
    uint8_t d[TUN_DATAGRAM] = {0}, before[TUN_DATAGRAM];
    struct tun_header h = {.command = 99};
    memcpy(d, data, size < sizeof d ? size : sizeof d);
    memcpy(before, d, sizeof d);
    assert(!tun_cell_open(d, &key, &h));
    assert(h.command == 99);
    assert(tun_cell_open_control(d, &h, &key) == CV_ERR_AUTH);
    assert(memcmp(d, before, sizeof d) == 0);
}

static void sealed(struct cv_rd *r) {
    static struct tun_window window;
    uint8_t d[TUN_DATAGRAM] = {0};
    struct tun_header h = {.sequence = cv_rd_le(r, 6)}, got;
    h.index = cv_rd_le32(r);
    h.circuit = cv_rd_le32(r);
    h.layer = cv_rd_le32(r);
    h.command = cv_rd_u8(r);
    uint8_t flip = cv_rd_u8(r);

    /* The plaintext as it comes, under the nonce and the additional data that
     * docs/protocol/tunnel.md names. */
    uint8_t *tag = d + TUN_HEADER, *plain = tag + TUN_TAG, nonce[12] = {0}, ad[14];
    size_t len = cv_rd_left(r) < TUN_CONTROL_PLAIN ? cv_rd_left(r) : TUN_CONTROL_PLAIN;
    cv_rd_copy(r, plain, len);
    struct cv_wr w = cv_wr_init(nonce, sizeof nonce);
    cv_wr_zero(&w, 6);
    cv_wr_le(&w, h.sequence, 6);
    w = cv_wr_init(ad, sizeof ad);
    cv_wr_le32(&w, h.index);
    cv_wr_le32(&w, h.circuit);
    cv_wr_u8(&w, h.command);
    cv_wr_u8(&w, 0);
    cv_wr_le32(&w, h.layer);
    size_t body = (size_t)(plain[0] | plain[1] << 8);
    cv_aead_seal(plain, tag, plain, TUN_CONTROL_PLAIN, ad, sizeof ad, nonce, key.control_key);
    tun_cell_seal(d, &h, &key);

    assert(tun_cell_open(d, &key, &got));
    assert(got.sequence == h.sequence && got.index == h.index && got.circuit == h.circuit);
    assert(got.layer == h.layer && got.command == h.command);
    if (tun_window_check(&window, got.sequence) == CV_ERR_OK) {
        tun_window_set(&window, got.sequence);
        assert(tun_window_check(&window, got.sequence) == CV_ERR_REPLAY);
    }

    if (flip) {
        uint8_t at = (uint8_t)(flip % (TUN_HEADER + 16));
        d[at] ^= flip;
        assert(!tun_cell_open(d, &key, &got));
        d[at] ^= flip;
        d[TUN_HEADER + 16 + flip] ^= flip;
        assert(tun_cell_open_control(d, &got, &key) == CV_ERR_AUTH);
        d[TUN_HEADER + 16 + flip] ^= flip;
    }
    uint64_t n48;
    if (tun_number_rebuild(window.top, h.sequence, 48, &n48))
        assert((n48 & ((UINT64_C(1) << 48) - 1)) == h.sequence);
    assert(tun_cell_index(d) == h.index);

    ssize_t n = tun_cell_open_control(d, &got, &key);
    assert(n == (body <= TUN_CONTROL_MAX ? (ssize_t)body : CV_ERR_MALFORMED));
    if (n > 0) { /* what an honest neighbour makes of the same body */
        tun_cell_seal_control(d, &h, &key, (size_t)n);
        assert(tun_cell_open(d, &key, &got));
        assert(tun_cell_open_control(d, &got, &key) == n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    static const uint8_t direction[64] = {7};
    tun_link_secret_derive(&key, direction);
    struct cv_rd r = cv_rd_init(data + 1, size - 1);
    if (data[0] & 1)
        sealed(&r);
    else
        forged(data + 1, size - 1);
    return 0;
}
