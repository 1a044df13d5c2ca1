/*
 * The owner's side of a circuit: wraps a forward cell for any of its one to
 * four hops and opens backward ones. Formats: layer.h. In place and without
 * allocation; a bad cell is counted and dropped, nothing else. Not thread-safe.
 */
#ifndef CULVERT_TUNNEL_ONION_H
#define CULVERT_TUNNEL_ONION_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/time.h"
#include "tunnel/layer.h"
#include "tunnel/limits.h"
#include "tunnel/ratchet.h"

struct tun_onion_hop {
    struct tun_ratchet_tx forward;
    struct tun_ratchet_rx backward;
    uint8_t forward_mask_key[16];
    uint8_t forward_filler_key[32];
    uint8_t forward_salt[8], backward_salt[8];
    uint8_t suite; /* TUN_SUITE_AES: hop 0 only */
};

struct tun_onion {
    struct tun_onion_hop hop[TUN_HOPS_MAX]; /* [0] is the guard */
    uint8_t hops;
};

void tun_onion_init(struct tun_onion *o);
void tun_onion_done(struct tun_onion *o); /* wipes */

/* Key epochs of all hops, as tun_layer_turn() for one. */
cv_usec tun_onion_turn(struct tun_onion *o, const struct cv_rng *rng, cv_usec now);
cv_usec tun_onion_wipe_at(const struct tun_onion *o);

/* One hop further. Asserts that there is room: path lengths are ours. */
void tun_onion_add(struct tun_onion *o, const struct tun_layer_secret *secret);

/* Where to write the data of a cell for hop `target` (0-based) before
 * tun_onion_wrap(). `cell` is a buffer of TUN_WRAP_ROOM octets. */
static inline uint8_t *tun_onion_data(uint8_t *cell, unsigned target) {
    return cell + (target + 1) * TUN_LAYER_HEAD + TUN_INNER;
}

/*
 * Wraps `len` (<= TUN_FORWARD_MAX) octets at tun_onion_data() for hop `target`
 * and every hop before it. The finished cell is cell[0 .. TUN_CELL); the rest of
 * the TUN_WRAP_ROOM octets is scratch. Needs about 70 octets from `rng` a cell:
 * give it dice that make no system call (dice.h).
 *
 * CV_ERR_LIMIT: a hop has seen 2^30 cells; nothing was sent, replace the circuit.
 */
enum cv_err tun_onion_wrap(struct tun_onion *o, const struct cv_rng *rng,
                           uint8_t cell[TUN_WRAP_ROOM], unsigned target, uint8_t command,
                           size_t len);

/*
 * Opens, in place, a backward cell that came with layer sequence `layer`.
 * *ret_hop is who wrote it (0-based). Windows and epochs of all hops it passed
 * move only when it opened. Errors: CV_ERR_AUTH, CV_ERR_REPLAY, CV_ERR_STALE,
 * CV_ERR_MALFORMED; the cell is then spoiled, the owner unchanged.
 */
enum cv_err tun_onion_unwrap(struct tun_onion *o, cv_usec now, uint8_t cell[TUN_CELL],
                             uint32_t layer, unsigned *ret_hop, struct tun_inner *ret_inner);

#endif
