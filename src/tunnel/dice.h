/*
 * Dice without system calls for the path of every cell: a kilobyte of ChaCha20
 * at a time, from a key that each refill replaces and wipes, so that what was
 * handed out cannot be computed from what is held. Seeded once from the
 * engine's struct cv_rng, therefore as replayable as that is. One a thread.
 */
#ifndef CULVERT_TUNNEL_DICE_H
#define CULVERT_TUNNEL_DICE_H

#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"

struct tun_dice {
    uint8_t pool[1024]; /* the last `left` octets are unused; the rest is wiped */
    uint8_t key[32];
    size_t left;
};

/* Draws 32 octets from `seed`, which is not kept. */
void tun_dice_init(struct tun_dice *d, const struct cv_rng *seed);
void tun_dice_done(struct tun_dice *d);

/* Borrows `d`. */
struct cv_rng tun_dice_rng(struct tun_dice *d);

#endif
