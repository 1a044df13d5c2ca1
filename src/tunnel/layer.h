/*
 * One layer of an onion: what a relay does with the 1204 octets of a RELAY cell
 * (tunnel.md section 3). The owner's side is onion.h.
 *
 * Forward cell:   masked number 4 | tag 16 | ciphertext 1184
 *     A hop unmasks the number, opens the AEAD, and passes on
 *     plaintext 1184 | filler 20. Bit 31 of the number says "for you". The owner
 *     knows every filler beforehand, so each tag covers all of the cell: a cell
 *     modified anywhere dies at the next honest hop.
 *
 * Backward cell:  slots 4 x 4 | tag 16 | ciphertext 1172
 *     A hop that answers seals with its origin key; a hop that passes on pushes
 *     the number it received into the slots and enciphers everything with its
 *     transit key. From outside the two are the same.
 *
 * Plaintext of both: command u8 | length u16 | data | padding.
 *
 * In place and without allocation. A cell that fails a check changes nothing:
 * count it and drop it, nothing else (no DESTROY, no rating). Not thread-safe.
 */
#ifndef CULVERT_TUNNEL_LAYER_H
#define CULVERT_TUNNEL_LAYER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/time.h"
#include "tunnel/limits.h"
#include "tunnel/ratchet.h"

/* Everything one hop and the owner share after their handshake (handshake.h).
 * Consumed by tun_layer_init / tun_onion_add; wipe the original. */
struct tun_layer_secret {
    uint8_t forward_key[32];
    uint8_t forward_mask_key[16];
    uint8_t forward_filler_key[32];
    uint8_t forward_salt[8];
    uint8_t origin_key[32];
    uint8_t transit_key[32];
    uint8_t backward_salt[8];
    uint32_t forward_start;  /* 31 bits */
    uint32_t backward_start; /* 31 bits */
    uint8_t binding[32];     /* names this hop of this circuit in signatures (ESTABLISH_INTRO) */
    uint32_t suite;          /* params.h; a word, so that nothing here is padding */
};

/* Derives all of it from the first half of the handshake's PRK, by label. */
void tun_layer_secret_derive(struct tun_layer_secret *ret, const uint8_t prk[32], uint8_t suite);

/* What a cell for us says. `data` is borrowed: it lies inside the cell. */
struct tun_inner {
    const uint8_t *data;
    uint16_t len;
    uint8_t command; /* enum tun_relay_command */
};

/* What a cell needs that goes on is one line of memory backward, from the transit key to the
 * suite, and two forward: from the mask key to the suite, and from the window's last word to
 * the key (core.h puts them at lines). */
struct tun_layer {
    struct tun_ratchet_tx backward;
    uint8_t backward_salt[8];
    uint8_t backward_suite;
    _Alignas(8) uint8_t forward_mask_key[16];
    uint8_t forward_filler_key[32];
    uint8_t forward_salt[8];
    uint8_t forward_suite; /* the same */
    struct tun_ratchet_rx forward;
};

void tun_layer_init(struct tun_layer *h, const struct tun_layer_secret *secret);
void tun_layer_done(struct tun_layer *h); /* wipes */

/* Key epochs: leaves ours when it is time, wipes the owner's last one 5 s after
 * its end. Returns when to call again; a cell that begins an epoch of the owner's
 * moves that to tun_layer_wipe_at(). */
cv_usec tun_layer_turn(struct tun_layer *h, const struct cv_rng *rng, cv_usec now);

/* CV_USEC_NEVER: no key of an epoch before is held. */
static inline cv_usec tun_layer_wipe_at(const struct tun_layer *h) {
    return h->forward.old_until ? h->forward.old_until : CV_USEC_NEVER;
}

/*
 * One forward step. `cell` has TUN_CELL octets and is only read; `out` receives
 * TUN_CELL octets and is either disjoint from `cell` or exactly
 * cell + TUN_LAYER_HEAD (in place: the buffer then needs TUN_LAYER_HEAD octets more).
 *
 * *ret_inner->command != 0: the cell is for this hop, `data` lies in `out`.
 * *ret_inner->command == 0: `out` is the cell to send on (command RELAY, layer
 * sequence 0).
 *
 * CV_ERR_AUTH, CV_ERR_REPLAY, CV_ERR_STALE: drop. CV_ERR_MALFORMED: authentic,
 * but its length or command is nonsense; drop too.
 */
enum cv_err tun_layer_forward(struct tun_layer *h, cv_usec now, const uint8_t *cell, uint8_t *out,
                              struct tun_inner *ret_inner);

/* Adds our layer, in place, to a backward cell that came with layer sequence
 * `layer`. CV_ERR_LIMIT: the direction is used up, drop. */
enum cv_err tun_layer_transit(struct tun_layer *h, const struct cv_rng *rng, uint8_t cell[TUN_CELL],
                              uint32_t layer, uint32_t *ret_layer);

/* Where to write the data of a cell before tun_layer_originate(). */
static inline uint8_t *tun_layer_data(uint8_t *cell) {
    return cell + TUN_BACKWARD_HEAD + TUN_INNER;
}

/* Seals `len` (<= TUN_BACKWARD_MAX) octets at tun_layer_data() as a cell of our
 * own to the owner. CV_ERR_LIMIT as above. */
enum cv_err tun_layer_originate(struct tun_layer *h, const struct cv_rng *rng,
                                uint8_t cell[TUN_CELL], uint8_t command, size_t len,
                                uint32_t *ret_layer);

#endif
