/*
 * When cells of a constant rate go out: so many each tick, whatever there is to
 * say. A tick is as long as one cell takes at one Mbit/s (of UDP payload), so
 * that the rate in Mbit/s is the number of cells of a tick. Plain values, no
 * memory of its own. Times in microseconds.
 */
#ifndef CULVERT_TUNNEL_PACER_H
#define CULVERT_TUNNEL_PACER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"
#include "tunnel/limits.h"

struct tun_pacer {
    uint8_t cells; /* each tick */
    int8_t ppm;    /* by which ticks are longer than they should be */
    cv_usec start;
    uint64_t ticks;   /* done since then */
    cv_usec until;    /* the end; NEVER: not known yet */
    uint32_t balance; /* a relay's: cells that it still sends, see tun_pacer_heard() */
    uint32_t owed;    /* those that it did not send, less those that it did since */
};

/* What may be ordered: 1, 2, 4, 8, 16 Mbit/s. */
static inline bool tun_pacer_is_rate(unsigned mbit) {
    return mbit >= 1 && mbit <= TUN_PACE_MAX && (mbit & (mbit - 1)) == 0;
}

void tun_pacer_init(struct tun_pacer *p, unsigned mbit, int ppm, cv_usec now);

/* When the next tick begins. */
cv_usec tun_pacer_next(const struct tun_pacer *p);

/* Cells that are due at `now` and were not taken yet. A timer that comes late
 * makes up for TUN_PACE_LATE ticks; who slept longer goes on from now. */
uint32_t tun_pacer_take(struct tun_pacer *p, cv_usec now);

/* A relay sends at most twice what it hears from the owner, and TUN_PACE_BEGIN ticks
 * to begin with; what it did not need is saved up to TUN_PACE_SILENT ticks. So nobody
 * makes it send for nothing, and half of what the owner sends may be lost on the way. */
void tun_pacer_heard(struct tun_pacer *p);
uint32_t tun_pacer_spend(struct tun_pacer *p, uint32_t cells); /* how many of these it sends */

/* The owner has sent next to nothing (less than a quarter of the rate) for so long that
 * TUN_PACE_SHORT ticks' worth was not sent to him: what was promised to him is free. */
bool tun_pacer_deserted(const struct tun_pacer *p);

/* The same for TUN_PACE_IDLE ticks' worth: he keeps what was promised to him only while
 * nobody else wants it. */
bool tun_pacer_is_idle(const struct tun_pacer *p);

#endif
