/*
 * How much work a hidden seeder asks of those who want to be met (stamp.h): nothing, or,
 * while more come than it can answer, one of a few steps (docs/protocol/tunnel.md, hidden
 * swarms; docs/decisions/0034). Time is an argument; nothing here allocates or fails.
 *
 * A step up when TUN_EFFORT_LOST that showed enough were left without an answer in one
 * tick; a step down when for TUN_EFFORT_CALM ticks in a row no more came than it can
 * answer of all that would have been enough one step lower, those that were dropped
 * included: so it stays up for as long as it is needed, and what it says changes rarely.
 */
#ifndef CULVERT_TUNNEL_EFFORT_H
#define CULVERT_TUNNEL_EFFORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"

struct tun_effort {
    uint8_t most;     /* is never asked for more; TUN_EFFORT_MAX but in tests */
    uint8_t asked;    /* in contacts that are written from now on */
    uint8_t required; /* what shows less is dropped: never more than a slot has said */
    cv_usec tick;     /* how long one is: as long as two answers take */
    cv_usec tick_ends;
    cv_usec rise_at;       /* not before: what was asked last has to become known first */
    unsigned lost, enough; /* in this tick; enough: one step lower, or now at the lowest */
    unsigned calm;         /* ticks in a row */
};

void tun_effort_init(struct tun_effort *e, cv_usec now, cv_usec tick);

/* An introduction of this effort is here. False: dropped, it shows less than is required. */
bool tun_effort_came(struct tun_effort *e, unsigned effort);
/* One that was not dropped then could not be answered. */
void tun_effort_lost(struct tun_effort *e);
/* True: `asked` is another now, and slots have to say so. */
bool tun_effort_step(struct tun_effort *e, cv_usec now);
/* A slot that asks this holds our contacts. */
void tun_effort_said(struct tun_effort *e, unsigned effort);
/* When it has to step; CV_USEC_NEVER while nothing would come of it. */
cv_usec tun_effort_due(const struct tun_effort *e);

#endif
