/*
 * What the line carries away from us, and how much of it swarms may use: four fifths,
 * where nobody said otherwise, so that whoever else is on the line has the rest.
 *
 * Nobody tells us what the line carries. It shows when it is full: LEDBAT sees a queue
 * that stands (ledbat.h), and what is acknowledged meanwhile is all that passes. One peer
 * may have a slow line of his own; so ours counts as full only while the ways of at least two
 * peers are, and full ways have most of what passes. Who stands behind a way is known by his
 * address alone, of an IPv6 address by its /64; behind circuits nobody is known, and up to
 * PPSP_UPSTREAM_WAYS_OF_ONE ways of one swarm may be one peer's. Until that was seen there is
 * no limit. A limit hides what it is there for: below it no queue forms, and a line that
 * became faster would never be found out. So while it holds something back it is lifted now
 * and then, until the line is full again or carries no more.
 *
 * The measure is the most of the newest PPSP_UPSTREAM_HOURS hours in which the line was
 * full at all, none older than PPSP_UPSTREAM_DAYS days. When more passes than that, and the line
 * is not full, then it was wrong, and nothing is known until the line is full again: half of
 * what a line carries is no measure of it. What passes below it is believed when the hours
 * that say more are forgotten: others on the line, or peers with slow lines, look the same,
 * and a limit that is too high costs nothing that LEDBAT does not give way to by itself.
 *
 * Units: octets of content a second, as an upload limit counts them; what goes on the wire
 * besides is in proportion. Several engines may share one (ppsp_config.upstream). No memory of
 * its own, no I/O; `now` never goes backwards. A peer that acknowledges what it did not get
 * or makes up delays can end the measure, or be one of two (or, by many circuits, both) that
 * hold it down while they have three quarters of what passes, whoever else is there:
 * PPSP_UPSTREAM_FLOOR is the least.
 */
#ifndef CULVERT_PPSP_UPSTREAM_H
#define CULVERT_PPSP_UPSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/endpoint.h"
#include "base/time.h"
#include "base/tokenbucket.h"

enum {
    PPSP_UPSTREAM_PERCENT = 80,
    PPSP_UPSTREAM_FLOOR = 65536, /* octets a second: no limit is lower */
    PPSP_UPSTREAM_HOURS = 8,
    PPSP_UPSTREAM_DAYS = 30,
    PPSP_UPSTREAM_WINDOWS = 4,     /* full ones in a row are a measurement */
    PPSP_UPSTREAM_WAYS_OF_ONE = 4, /* circuits of one peer, in one swarm */
    PPSP_UPSTREAM_CHUNK = 8192, /* octets: larger ones, which a link may ask for, hold nobody up */
    PPSP_UPSTREAM_SAVED = 2 + PPSP_UPSTREAM_HOURS * 12, /* octets, at most */
};
#define PPSP_UPSTREAM_WINDOW CV_SEC(1)
/* While the limit holds something back it is lifted: the first time and after a success; then
 * ever more rarely. When somebody new takes part, whom a stranger can pretend to be, no later
 * than so long after the last time. */
#define PPSP_UPSTREAM_LIFT_FIRST CV_SEC(30)
#define PPSP_UPSTREAM_LIFT_NEW   CV_SEC(120)
#define PPSP_UPSTREAM_LIFT_LAST  CV_SEC(600)
/* .. for so long at most, and while it does not grow. */
#define PPSP_UPSTREAM_LIFTED CV_SEC(60)
#define PPSP_UPSTREAM_STILL  CV_SEC(10)

/* Circuits of a swarm, of which nobody knows whose they are. Its swarm keeps it, zeroed. */
struct ppsp_crowd {
    uint64_t window; /* in which .. */
    unsigned full;   /* .. so many of them were */
};

/* What a channel keeps for it; made when it opens. */
struct ppsp_way {
    bool known;
    uint64_t full_in;         /* the window that it was full in last; 0: none */
    struct ppsp_crowd *crowd; /* borrowed; NULL: the peer has an address */
    struct cv_addr addr;
};

struct ppsp_upstream {
    struct {
        uint32_t hour; /* since 1970; newest first */
        uint64_t rate;
    } hours[PPSP_UPSTREAM_HOURS];
    unsigned count;
    uint64_t measured;  /* the most of them; 0: the line was never seen full */
    int64_t hour_began; /* Unix seconds when `mono` was 0 */

    uint64_t window; /* number of the one that runs, from 1 */
    cv_usec began;
    uint64_t octets, full_octets, granted; /* granted: of swarms with limits of their own */
    uint64_t granted_rate;
    unsigned crowd; /* peers that full circuits stand for, at least */
    struct {
        struct cv_addr one;
        unsigned peers; /* 0, 1, or 2: as many or more */
    } full_at[2];       /* by IPv4, by IPv6: whoever has both is one peer */
    struct {
        uint64_t octets;
        cv_usec time;
        bool full;
    } past[PPSP_UPSTREAM_WINDOWS]; /* newest first */
    unsigned past_count;           /* one after the other, without a pause */

    struct cv_tokenbucket bucket; /* UINT64_MAX: no limit */
    /* Octets of the largest chunk in this window and the one before, PPSP_UPSTREAM_CHUNK at
     * most: all wait until so much is there (serve.c). Asked for in this one; 0: nothing was. */
    uint32_t chunk, asked;
    bool known; /* something was measured, now or before */
    bool held;  /* it made somebody wait in this window */

    bool somebody_new;            /* since the limit was lifted last */
    cv_usec lifted_at, lift_wait; /* the last time, .. and until the next */
    bool lifted;
    uint64_t lifted_best, lifted_from; /* most of a window since; measured before */
    cv_usec grown_at;
};

void ppsp_upstream_init(struct ppsp_upstream *u, struct cv_now now);

/* `circuits`: of the swarm, borrowed as long as the way is used. */
struct ppsp_way ppsp_upstream_way(const struct cv_endpoint *peer, struct ppsp_crowd *circuits);

/* So many octets of a channel were acknowledged. `full`: ppsp_ledbat_full() of it.
 * `granted`: its swarm has a limit of its own, or none on purpose. */
void ppsp_upstream_passed(struct ppsp_upstream *u, cv_usec now, struct ppsp_way *way,
                          uint64_t octets, bool full, bool granted);

/* What swarms without a limit of their own take from, of chunks of so many octets; it holds
 * PPSP_UPSTREAM_CHUNK eight times at least when those are that large. NULL: there is no limit
 * now. */
struct cv_tokenbucket *ppsp_upstream_bucket(struct ppsp_upstream *u, cv_usec now,
                                            uint32_t chunk_size);
/* There was not enough in it for this one. */
void ppsp_upstream_held(struct ppsp_upstream *u, struct ppsp_way *way);

/* Octets a second; 0: not measured, no limit. The limit is that which holds while it is not
 * lifted, all swarms without one of their own together. */
uint64_t ppsp_upstream_limit(const struct ppsp_upstream *u);

/* For the next start: the octets written, at most PPSP_UPSTREAM_SAVED; 0: nothing was seen,
 * now or before. */
size_t ppsp_upstream_save(const struct ppsp_upstream *u, uint8_t ret[PPSP_UPSTREAM_SAVED]);
/* Right after ppsp_upstream_init(). Hours that are too old, or in the future, are left out.
 * False: damaged, and nothing of it is used. */
bool ppsp_upstream_restore(struct ppsp_upstream *u, const uint8_t *saved, size_t len);

#endif
