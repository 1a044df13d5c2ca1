/*
 * Introductions that a hidden seeder has opened and not yet answered: the one that shows
 * most effort is answered first, among equals the one that came first, and what waits
 * longer than its viewer does is left. Remembers what was opened, so that nothing is
 * answered twice. In struct tun_seeder; secrets inside, wipe with tun_intake_done().
 */
#ifndef CULVERT_TUNNEL_INTAKE_H
#define CULVERT_TUNNEL_INTAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"
#include "crypto/noise.h"
#include "tunnel/e2e.h"
#include "tunnel/limits.h"

/* The first octets of its key are enough to know a flight again. */
#define TUN_REPLAY 16

struct tun_waiting {
    struct cv_noise noise; /* after flight 1 */
    struct tun_meeting where;
    unsigned effort;
    cv_usec until; /* in vain afterwards */
    uint64_t order;
};

struct tun_replay {
    uint8_t ephemeral[TUN_REPLAY];
    uint8_t cookie[TUN_REPLAY];
};

struct tun_intake {
    struct tun_waiting waiting[TUN_INTRO_QUEUE];
    unsigned count;
    uint64_t orders;
    struct tun_replay replay[TUN_INTRO_REPLAYS]; /* the newest */
    unsigned replays, replay_next;
};

/* Was this flight opened before? To be asked before it is opened. */
bool tun_intake_knows(const struct tun_intake *in, const uint8_t *flight);
/* Was this one opened, or another that names the same cookie? Remembers both if not. */
bool tun_intake_replayed(struct tun_intake *in, const uint8_t *flight, const uint8_t *cookie);

/* Is there a place for this effort: a free one, or that of somebody who shows less? */
bool tun_intake_has_room(const struct tun_intake *in, unsigned effort);
/* Takes over *w, whose order is filled in; there is room. True: another was pushed out. */
bool tun_intake_put(struct tun_intake *in, struct tun_waiting *w);
/* The next to be answered; the caller wipes *ret (tun_waiting_done). False: nobody waits. */
bool tun_intake_take(struct tun_intake *in, struct tun_waiting *ret);
/* Removes those that waited long enough; how many. */
unsigned tun_intake_expire(struct tun_intake *in, cv_usec now);
/* When the next one will have; CV_USEC_NEVER: nobody waits. */
cv_usec tun_intake_due(const struct tun_intake *in);

void tun_waiting_done(struct tun_waiting *w);
void tun_intake_done(struct tun_intake *in);

#endif
