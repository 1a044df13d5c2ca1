/*
 * Numbers and key epochs of one direction of one hop (tunnel.md section 3,
 * "Sequences" and "Key epochs"). Cells are numbered n = 1, 2, ... (64 bit); the
 * wire shows (start + n) mod 2^31, start being a secret of the handshake. The
 * epoch of a cell is n >> 20, and K(e + 1) = BLAKE2b-256(key K(e), "ratchet"),
 * so a key seized later opens nothing older. No bit of a cell shows an epoch:
 * it follows from the rebuilt number.
 *
 * Only a sender may jump to the next epoch early. A receiver accepts the epoch
 * it is in, the next (and advances once the AEAD opened), and for 5 s the one it
 * left, which keeps its own replay window. It also finds keys a few epochs
 * further: else two jumps between which every cell was lost, as on an idle
 * circuit, would end the direction for good.
 *
 * A direction has up to two keys that ratchet together: forward one, backward
 * two (origin and transit).
 */
#ifndef CULVERT_TUNNEL_RATCHET_H
#define CULVERT_TUNNEL_RATCHET_H

#include <stdint.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/time.h"
#include "tunnel/window.h"

enum { TUN_KEY_ORIGIN = 0, TUN_KEY_TRANSIT = 1, TUN_KEYS = 2 };

struct tun_keys_secret {
    uint8_t key[TUN_KEYS][32];
};

/* Sender. What a transit cell needs stands together, from its key on. */
struct tun_ratchet_tx {
    cv_usec jump_at; /* 0: not drawn yet */
    struct tun_keys_secret secret;
    uint64_t n; /* last number used; 0 = none yet */
    uint32_t epoch;
    uint32_t start;
};

void tun_ratchet_tx_init(struct tun_ratchet_tx *t, uint32_t start,
                         const struct tun_keys_secret *keys);

/*
 * Takes the next number: one further, now and then (when the low four bits of
 * `dice` are 0) two, which blurs watermarks made by dropping cells. Ratchets
 * t->secret to the epoch of the new number. *ret_wire has 31 bits.
 * CV_ERR_LIMIT: 2^30 cells were sent; the circuit must be replaced.
 */
enum cv_err tun_ratchet_next(struct tun_ratchet_tx *t, uint8_t dice, uint32_t *ret_wire);

/* The next number will be the first of a new epoch: wipes what is behind us. An
 * epoch in which nothing was sent is not left: there is nothing to protect, and a
 * receiver that hears nothing must not fall behind by more than it looks ahead. */
void tun_ratchet_jump(struct tun_ratchet_tx *t);

/* Jumps when it is time, at random 60-180 s after the last time. Returns when to
 * call again; any call before does nothing. */
cv_usec tun_ratchet_turn(struct tun_ratchet_tx *t, const struct cv_rng *rng, cv_usec now);

/* Receiver. What every cell needs stands together, from the end of the window to the first key. */
struct tun_ratchet_rx {
    struct tun_window window;
    cv_usec old_until; /* 0: no old epoch is held */
    uint32_t epoch;
    uint32_t start;
    struct tun_keys_secret secret;
    /* while one is held */
    uint32_t old_epoch;
    struct tun_keys_secret old_secret;
    struct tun_window old_window;
};

/* What a number means, decided before anything is authentic. Holds a copy of
 * keys only when the next epoch begins; wiped by commit or drop. */
struct tun_ratchet_pick {
    uint64_t n;
    const struct tun_keys_secret *keys; /* borrowed: from the receiver or `next` */
    struct tun_keys_secret next;
};

void tun_ratchet_rx_init(struct tun_ratchet_rx *r, uint32_t start,
                         const struct tun_keys_secret *keys);

/*
 * Rebuilds the number from its 31 wire bits, looks it up in the window of its
 * epoch and finds the keys. Changes nothing in `r`. CV_ERR_REPLAY; CV_ERR_STALE
 * for an epoch that is neither the current, one of the next nor (in time) the last.
 */
enum cv_err tun_ratchet_pick(const struct tun_ratchet_rx *r, cv_usec now, uint32_t wire,
                             struct tun_ratchet_pick *ret);

/* The AEAD opened: sets the window, enters the next epoch when that is where
 * the cell was from. */
void tun_ratchet_commit(struct tun_ratchet_rx *r, cv_usec now, struct tun_ratchet_pick *p);

/* It did not open, or it does not matter. */
void tun_ratchet_drop(struct tun_ratchet_pick *p);

/* Wipes the old epoch when its time is over. Call at r->old_until, or when
 * convenient: pick() never uses it late. */
void tun_ratchet_expire(struct tun_ratchet_rx *r, cv_usec now);

#endif
