/*
 * LEDBAT (RFC 6817): how much may be in flight to one peer. It yields: when
 * the one-way delay rises above its base by more than the target, the window
 * shrinks. With the slow start of RFC 5681 section 3.1 (allowed by 2.2), the
 * loss reaction and congestion timeout of section 2.4.2, and pacing.
 *
 * A flow that comes late takes the queue of the first for the line's own delay and
 * shares unfairly with it for as long as both run. ppsp_ledbat_plus() switches on
 * what LEDBAT++ (draft-irtf-iccrg-ledbat-plus-plus) has against that: growth slower
 * than Reno's where the line is short, a decrease in proportion to the window, and,
 * while there is a queue, every now and then two round trips of next to nothing, in which
 * it drains and everybody sees the line as it is. They cost at most a tenth of the time.
 */
#ifndef CULVERT_PPSP_LEDBAT_H
#define CULVERT_PPSP_LEDBAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"

enum {
    LEDBAT_BASE_HISTORY = 10, /* minutes; "SHOULD be 10" */
    LEDBAT_FILTER = 32,       /* stretches of time of which the least delay is kept */
    LEDBAT_INIT_CWND = 4,     /* times MSS: RFC 5681's value for small segments */
    LEDBAT_MIN_CWND = 2,
    LEDBAT_ALLOWED_INCREASE = 1,
};

enum ppsp_slowdown { LEDBAT_AT_PACE = 0, LEDBAT_SLOW, LEDBAT_RAMP };

struct ppsp_ledbat {
    uint32_t mss; /* octets of one full datagram */
    cv_usec target;
    uint64_t cwnd, ssthresh; /* octets; in slow start while cwnd < ssthresh */
    uint64_t flight;         /* octets sent and neither acknowledged nor given up */
    cv_usec cto, srtt, rttvar, rtt_min, rtt_last; /* srtt 0: not measured */
    cv_usec cto_at;    /* when the congestion timeout fires; NEVER: nothing in flight */
    cv_usec recovered; /* a loss of what was sent before this is the same event */
    uint64_t losses;   /* events */

    bool any_sample;
    uint64_t origin;                   /* first sample: all others are kept relative to it */
    int64_t base[LEDBAT_BASE_HISTORY]; /* minima, newest at base_at */
    unsigned base_at;
    uint64_t base_minute;
    struct {
        int64_t delay; /* least of the stretch */
        cv_usec rtt;   /* likewise; NEVER: none was measured */
        cv_usec at;    /* when it began; 0: unused */
    } filter[LEDBAT_FILTER];
    unsigned filter_at;
    int64_t gained;        /* octets times octets, not yet in the window: near the target one
                              acknowledgement is worth less than an octet */
    cv_usec queuing_delay; /* last estimate: what stands in the queue, */
    cv_usec rising_delay;  /* and what is seen of it first, for slow start */

    /* LEDBAT++ */
    bool plus;
    uint8_t slowdown;                        /* enum ppsp_slowdown */
    cv_usec slow_at, slow_began, slow_until; /* the next one; 0: not planned */

    uint64_t credit; /* octets that pacing allows now */
    cv_usec credit_at;
    bool paced; /* pacing, not a lack of requests, kept the window from being full */
};

void ppsp_ledbat_init(struct ppsp_ledbat *l, uint32_t mss, cv_usec target, cv_usec now);

/* Right after ppsp_ledbat_init(): somebody of the same kind had a window of `cwnd`
 * octets a moment ago, on another way, and this one takes his place. It begins with
 * half of that and grows fast to as much; never with less than any other. */
void ppsp_ledbat_resume(struct ppsp_ledbat *l, uint64_t cwnd);
/* What this one leaves to such a successor: the window that it had, before the silence
 * of a way that is cut took it. 0: it never had more than everybody begins with. */
uint64_t ppsp_ledbat_legacy(const struct ppsp_ledbat *l);
/* It was given to somebody: nobody else gets it, and if this one comes to life again
 * it begins slowly. */
void ppsp_ledbat_bequeath(struct ppsp_ledbat *l);

/* Right after ppsp_ledbat_init(): with LEDBAT++'s remedies. */
void ppsp_ledbat_plus(struct ppsp_ledbat *l);

/* Octets that may be sent now; what pacing withholds comes back as *ret_at, the
 * time to ask again (CV_USEC_NEVER when only an acknowledgement helps). */
uint64_t ppsp_ledbat_allowance(struct ppsp_ledbat *l, cv_usec now, cv_usec *ret_at);

void ppsp_ledbat_sent(struct ppsp_ledbat *l, cv_usec now, uint64_t octets);

/* One delay sample (microseconds, any origin, wraps). */
void ppsp_ledbat_delay(struct ppsp_ledbat *l, cv_usec now, uint64_t sample);

/* Round-trip time of something sent once; after the delay sample of the same ACK. */
void ppsp_ledbat_rtt(struct ppsp_ledbat *l, cv_usec rtt);

/* `octets` are acknowledged; after the samples of the same ACK. */
void ppsp_ledbat_acked(struct ppsp_ledbat *l, cv_usec now, uint64_t octets);

/* `octets` that were sent at `sent_at` are lost, and not resent by themselves. */
void ppsp_ledbat_lost(struct ppsp_ledbat *l, cv_usec now, cv_usec sent_at, uint64_t octets);

/* `octets` in flight do not matter any more (peer cancelled or closed). */
void ppsp_ledbat_forget(struct ppsp_ledbat *l, uint64_t octets);

/* The congestion timeout fired: nothing of what is in flight counts any more. */
void ppsp_ledbat_timeout(struct ppsp_ledbat *l, cv_usec now);

/* Its way is full: a queue stands that is at least half as long as it lets any become, or,
 * where there is room for less, something was lost just now and a quarter stands. */
bool ppsp_ledbat_full(const struct ppsp_ledbat *l, cv_usec now);

/* After how long something unacknowledged counts as lost once something
 * younger was acknowledged. */
cv_usec ppsp_ledbat_patience(const struct ppsp_ledbat *l);

#endif
