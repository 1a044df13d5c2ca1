#include "ppsp/ledbat.h"

#include <assert.h>
#include <string.h>

#define FAR INT64_MAX

/* Timers of the event loop are coarse: what fits in so much time may leave at
 * once; never less than a batch that the network swallows whole. */
#define PACE_QUANTUM CV_MSEC(2)
enum { PACE_BURST = 16 }; /* datagrams */

/* What the filter looks back at, at least: for the window, and for the end of slow
 * start, which must not come late. */
#define FILTER_STANDING CV_MSEC(80)
#define FILTER_RISING   CV_MSEC(20)

#define CTO_INIT CV_SEC(1)
#define CTO_MIN  CV_MSEC(250)
#define CTO_MAX  CV_SEC(60)

void ppsp_ledbat_init(struct ppsp_ledbat *l, uint32_t mss, cv_usec target, cv_usec now) {
    assert(mss > 0 && target > 0 && target <= CV_MSEC(100));
    memset(l, 0, sizeof *l);
    l->mss = mss;
    l->target = target;
    l->cwnd = (uint64_t)LEDBAT_INIT_CWND * mss;
    l->ssthresh = UINT64_MAX;
    l->cto = CTO_INIT;
    l->cto_at = CV_USEC_NEVER;
    l->credit = (uint64_t)PACE_BURST * mss; /* the first window leaves at once */
    l->credit_at = now;
    for (unsigned i = 0; i < LEDBAT_BASE_HISTORY; i++)
        l->base[i] = FAR;
}

void ppsp_ledbat_plus(struct ppsp_ledbat *l) {
    l->plus = true;
}

void ppsp_ledbat_resume(struct ppsp_ledbat *l, uint64_t cwnd) {
    if (cwnd / 2 > l->cwnd)
        l->cwnd = cwnd / 2;
    if (cwnd > l->cwnd)
        l->ssthresh = cwnd;
}

static uint64_t least_window(const struct ppsp_ledbat *l) {
    return (uint64_t)LEDBAT_MIN_CWND * l->mss;
}

uint64_t ppsp_ledbat_legacy(const struct ppsp_ledbat *l) {
    /* the first timeout of a row noted half of it */
    bool cut = l->cwnd <= l->mss && l->ssthresh != UINT64_MAX;
    uint64_t had = cut ? 2 * l->ssthresh : l->cwnd;
    return had > (uint64_t)LEDBAT_INIT_CWND * l->mss ? had : 0;
}

void ppsp_ledbat_bequeath(struct ppsp_ledbat *l) {
    l->cwnd = l->mss;
    l->ssthresh = least_window(l);
}

/* ---- delay (section 2.4.2) ------------------------------------------------- */

static void update_base(struct ppsp_ledbat *l, cv_usec now, int64_t delay) {
    uint64_t minute = now / CV_SEC(60);
    uint64_t passed = l->any_sample ? minute - l->base_minute : 1;
    for (uint64_t i = 0; i < passed && i < LEDBAT_BASE_HISTORY; i++) {
        l->base_at = (l->base_at + 1) % LEDBAT_BASE_HISTORY;
        l->base[l->base_at] = FAR; /* an idle minute has no minimum */
    }
    l->base_minute = minute;
    if (delay < l->base[l->base_at])
        l->base[l->base_at] = delay;
}

static int64_t base_delay(const struct ppsp_ledbat *l) {
    int64_t min = FAR;
    for (unsigned i = 0; i < LEDBAT_BASE_HISTORY; i++)
        min = l->base[i] < min ? l->base[i] : min;
    return min;
}

/* So fine is the filter's time. */
static cv_usec stretch(const struct ppsp_ledbat *l) {
    cv_usec part = l->srtt / 16;
    return part < CV_MSEC(5) ? CV_MSEC(5) : part;
}

static void filter_add(struct ppsp_ledbat *l, cv_usec now, int64_t delay) {
    if (l->filter[l->filter_at].at == 0 ||
        cv_usec_since(now, l->filter[l->filter_at].at) >= stretch(l)) {
        l->filter_at = (l->filter_at + 1) % LEDBAT_FILTER;
        l->filter[l->filter_at].delay = delay;
        l->filter[l->filter_at].rtt = CV_USEC_NEVER;
        l->filter[l->filter_at].at = now ? now : 1;
    }
    if (delay < l->filter[l->filter_at].delay)
        l->filter[l->filter_at].delay = delay;
}

/* FILTER() is the minimum over the last round trip, and over `least` if that is
 * longer: robust against a receiver that was busy, yet sees a queue that stands.
 * On a short way a process that waits for its turn on a processor delays all
 * samples of several round trips; a queue stays, such waits come and go. */
static cv_usec estimate(const struct ppsp_ledbat *l, cv_usec now, cv_usec least) {
    cv_usec window = l->srtt / 4 > least ? l->srtt / 4 : least, rtt = l->filter[l->filter_at].rtt;
    int64_t min = l->filter[l->filter_at].delay; /* the newest counts in any case */
    for (unsigned i = 0; i < LEDBAT_FILTER; i++) {
        if (!l->filter[i].at || cv_usec_since(now, l->filter[i].at) > window)
            continue;
        min = l->filter[i].delay < min ? l->filter[i].delay : min;
        rtt = l->filter[i].rtt < rtt ? l->filter[i].rtt : rtt;
    }
    cv_usec queue = (cv_usec)(min - base_delay(l));
    /* No queue is longer than what the round trip has grown by: the rest is one
     * clock that runs faster than the other. */
    if (rtt == CV_USEC_NEVER)
        rtt = l->rtt_last; /* the newest of all is not measured yet */
    if (l->rtt_min && queue > rtt - l->rtt_min)
        queue = rtt - l->rtt_min;
    return queue;
}

void ppsp_ledbat_delay(struct ppsp_ledbat *l, cv_usec now, uint64_t sample) {
    if (!l->any_sample)
        l->origin = sample;
    int64_t delay = (int64_t)(sample - l->origin);
    /* A sample that cannot be a delay says nothing, except that the clocks
     * jumped, if it stays so: the base history forgets in ten minutes. */
    if (delay > INT64_MAX / 4 || delay < INT64_MIN / 4)
        return;
    update_base(l, now, delay);
    l->any_sample = true;
    filter_add(l, now, delay);
    l->queuing_delay = estimate(l, now, FILTER_STANDING);
    l->rising_delay = estimate(l, now, FILTER_RISING);
}

static cv_usec usual_cto(const struct ppsp_ledbat *l) {
    cv_usec cto = l->srtt ? l->srtt + 4 * l->rttvar : CTO_INIT;
    return cto < CTO_MIN ? CTO_MIN : cto > CTO_MAX ? CTO_MAX : cto;
}

void ppsp_ledbat_rtt(struct ppsp_ledbat *l, cv_usec rtt) {
    if (rtt == 0)
        rtt = 1;
    if (l->srtt == 0) { /* RFC 6298 */
        l->srtt = rtt;
        l->rttvar = rtt / 2;
        l->rtt_min = rtt;
    } else {
        cv_usec off = l->srtt > rtt ? l->srtt - rtt : rtt - l->srtt;
        l->rttvar = (3 * l->rttvar + off) / 4;
        l->srtt = (7 * l->srtt + rtt) / 8;
        l->rtt_min = rtt < l->rtt_min ? rtt : l->rtt_min;
    }
    l->rtt_last = rtt;
    l->cto = usual_cto(l);
    if (rtt < l->filter[l->filter_at].rtt)
        l->filter[l->filter_at].rtt = rtt;
}

/* ---- slow start ------------------------------------------------------------- */

/* Leaves slow start before it hurts; false: not yet. What is seen now was caused a round
 * trip ago, by half of this window. */
static bool leaves_slow_start(struct ppsp_ledbat *l) {
    if (l->rising_delay <= l->target / 2)
        return false;
    uint64_t half = l->cwnd / 2, least = least_window(l);
    l->cwnd = l->ssthresh = half < least ? least : half;
    return true;
}

/* ---- LEDBAT++ --------------------------------------------------------------- */

enum { SLOW_ROUNDS = 2, SLOW_SHARE = 9, SLOW_FLOOR = 32 };

/* Growth is divided by this: the window of a short line must not grow faster in
 * time than that of one where the target is half the round trip. */
static uint64_t gain_divisor(const struct ppsp_ledbat *l) {
    if (!l->rtt_min)
        return 1;
    uint64_t d = (2 * l->target + l->rtt_min - 1) / l->rtt_min;
    return d < 1 ? 1 : d > 16 ? 16 : d;
}

/* A slowdown is over: nine times as long at pace, so that it costs a tenth. Where no
 * queue is seen by then it is put off until there is one: everybody sees the line as it
 * is, and a line that nobody fills, or a short one, gives all it has. */
static void at_pace(struct ppsp_ledbat *l, cv_usec now) {
    l->slowdown = LEDBAT_AT_PACE;
    l->slow_at = cv_usec_add(now, SLOW_SHARE * cv_usec_since(now, l->slow_began));
}

static void plan_slowdown(struct ppsp_ledbat *l, cv_usec now) {
    if (!l->slow_at)
        l->slow_at = cv_usec_add(now, SLOW_ROUNDS * l->srtt);
}

/* The window that fills the line and none of its queue. The draft comes back to
 * the old window, and so to the old shares; this sheds the queue in proportion,
 * while all grow alike: shares draw nearer each time. */
static uint64_t without_queue(const struct ppsp_ledbat *l) {
    cv_usec queue = l->queuing_delay < l->srtt ? l->queuing_delay : l->srtt;
    uint64_t w = l->cwnd * (l->srtt - queue) / l->srtt, half = l->cwnd / 2;
    w = w < half ? half : w < l->cwnd ? w : l->cwnd;
    return w < least_window(l) ? least_window(l) : w;
}

static void slowdown(struct ppsp_ledbat *l, cv_usec now) {
    if (l->slowdown == LEDBAT_AT_PACE && l->slow_at && now >= l->slow_at && l->srtt) {
        if (l->queuing_delay < l->target / SLOW_FLOOR)
            return; /* nothing to drain */
        l->slowdown = LEDBAT_SLOW;
        l->slow_began = now;
        l->slow_until = cv_usec_add(now, SLOW_ROUNDS * l->srtt);
        l->ssthresh = without_queue(l);
        l->cwnd = least_window(l);
    } else if (l->slowdown == LEDBAT_SLOW && now >= l->slow_until) {
        l->slowdown = LEDBAT_RAMP;
    } else if (l->slowdown == LEDBAT_RAMP && l->cwnd >= l->ssthresh) {
        at_pace(l, now);
    }
}

/* What the window gets or loses for so many octets times octets; the rest is kept. */
static int64_t gained(struct ppsp_ledbat *l, int64_t product) {
    l->gained += product;
    int64_t gain = l->gained / (int64_t)l->cwnd;
    l->gained -= gain * (int64_t)l->cwnd;
    return gain;
}

static void grow_plus(struct ppsp_ledbat *l, cv_usec now, uint64_t octets) {
    uint64_t in_use = l->paced && l->flight < l->cwnd ? l->cwnd : l->flight;
    slowdown(l, now);
    if (l->slowdown == LEDBAT_SLOW)
        return;
    if (l->cwnd < l->ssthresh && !leaves_slow_start(l)) {
        /* Not divided by the gain, as the draft has it: the slowdown behind it takes back
         * what was too much, and a sixteenth of it never finds the pace of a short line. */
        if (in_use * 2 >= l->cwnd)
            l->cwnd += octets;
        if (l->ssthresh != UINT64_MAX && l->cwnd > l->ssthresh)
            l->cwnd = l->ssthresh;
        return;
    }
    plan_slowdown(l, now);
    if (l->queuing_delay > l->target) {
        uint64_t over = l->queuing_delay - l->target;
        uint64_t cut = over >= l->target / 2 ? octets / 2 : octets * over / l->target;
        l->cwnd = l->cwnd > cut + least_window(l) ? l->cwnd - cut : least_window(l);
        if (l->ssthresh > l->cwnd)
            l->ssthresh = l->cwnd;
        return;
    }
    /* Additive whatever the distance to the target, and only of what is used. */
    uint64_t gain = (uint64_t)gained(l, (int64_t)(octets * l->mss / gain_divisor(l)));
    uint64_t cwnd = l->cwnd + gain, allowed = in_use + (uint64_t)LEDBAT_ALLOWED_INCREASE * l->mss;
    cwnd = cwnd < allowed ? cwnd : allowed;
    l->cwnd = cwnd > l->cwnd ? cwnd : l->cwnd;
}

/* ---- window ---------------------------------------------------------------- */

static void grow(struct ppsp_ledbat *l, uint64_t octets) {
    /* When everything is sent again after an outage, the round-trip time stays an
     * old, long one and pacing holds back more than the window: that counts as used,
     * or the window would never grow. */
    uint64_t in_use = l->paced && l->flight < l->cwnd ? l->cwnd : l->flight;
    if (l->cwnd < l->ssthresh && !leaves_slow_start(l)) {
        /* Only what is used may grow (section 2.4.2's max_allowed_cwnd). */
        if (in_use * 2 >= l->cwnd)
            l->cwnd += octets;
        return;
    }
    /* GAIN 1, in integers: off_target is a fraction of the target. */
    int64_t off = (int64_t)l->target - (int64_t)l->queuing_delay;
    if (off < -8 * (int64_t)l->target) /* no delay empties the window at once */
        off = -8 * (int64_t)l->target;
    int64_t gain = gained(l, off * (int64_t)octets / (int64_t)l->target * (int64_t)l->mss);
    uint64_t cwnd = gain < 0 && (uint64_t)-gain > l->cwnd ? 0 : l->cwnd + (uint64_t)gain;
    uint64_t allowed = in_use + (uint64_t)LEDBAT_ALLOWED_INCREASE * l->mss;
    if (gain > 0 && cwnd > allowed)
        cwnd = allowed > l->cwnd ? allowed : l->cwnd;
    uint64_t least = (uint64_t)LEDBAT_MIN_CWND * l->mss;
    l->cwnd = cwnd < least ? least : cwnd;
    if (l->ssthresh > l->cwnd)
        l->ssthresh = l->cwnd; /* shrinking for delay is no way back into slow start */
}

static void leave(struct ppsp_ledbat *l, uint64_t octets) {
    l->flight -= octets < l->flight ? octets : l->flight;
}

void ppsp_ledbat_acked(struct ppsp_ledbat *l, cv_usec now, uint64_t octets) {
    if (l->plus)
        grow_plus(l, now, octets);
    else
        grow(l, octets);
    leave(l, octets);
    l->cto = usual_cto(l); /* something came through: no back-off any more */
    l->cto_at = l->flight ? cv_usec_add(now, l->cto) : CV_USEC_NEVER;
}

void ppsp_ledbat_forget(struct ppsp_ledbat *l, uint64_t octets) {
    leave(l, octets);
    if (!l->flight)
        l->cto_at = CV_USEC_NEVER;
}

void ppsp_ledbat_lost(struct ppsp_ledbat *l, cv_usec now, cv_usec sent_at, uint64_t octets) {
    ppsp_ledbat_forget(l, octets);
    if (sent_at < l->recovered)
        return; /* at most once per RTT */
    l->recovered = now;
    l->losses++;
    if (l->slowdown != LEDBAT_AT_PACE)
        at_pace(l, now);
    uint64_t least = (uint64_t)LEDBAT_MIN_CWND * l->mss, half = l->cwnd / 2;
    half = half < least ? least : half;
    l->cwnd = half < l->cwnd ? half : l->cwnd;
    l->ssthresh = l->cwnd;
}

void ppsp_ledbat_timeout(struct ppsp_ledbat *l, cv_usec now) {
    uint64_t half = l->cwnd / 2, least = (uint64_t)LEDBAT_MIN_CWND * l->mss;
    if (l->cwnd > l->mss) /* RFC 5681 section 3.1: the first timeout of a row only */
        l->ssthresh = half < least ? least : half;
    if (l->slowdown != LEDBAT_AT_PACE)
        at_pace(l, now);
    l->cwnd = l->mss;
    l->cto = l->cto > CTO_MAX / 2 ? CTO_MAX : l->cto * 2;
    l->flight = 0;
    l->cto_at = CV_USEC_NEVER;
    l->recovered = now;
    l->losses++;
}

bool ppsp_ledbat_full(const struct ppsp_ledbat *l, cv_usec now) {
    bool lost = l->losses && cv_usec_since(now, l->recovered) <= 2 * l->srtt;
    return l->queuing_delay >= (lost ? l->target / 4 : l->target / 2);
}

cv_usec ppsp_ledbat_patience(const struct ppsp_ledbat *l) {
    cv_usec spread = l->srtt + 4 * l->rttvar, ninth = l->srtt + l->srtt / 8;
    cv_usec p = spread > ninth ? spread : ninth;
    return p < CV_MSEC(3) ? CV_MSEC(3) : p;
}

/* ---- pacing ---------------------------------------------------------------- */

/* Octets a second: somewhat faster than the window per RTT, so that pacing
 * never is the bottleneck; twice in slow start, where the window doubles. */
static uint64_t pace(const struct ppsp_ledbat *l) {
    uint64_t per_rtt = l->cwnd < l->ssthresh ? l->cwnd * 2 : l->cwnd + l->cwnd / 4;
    return per_rtt * 1000000 / l->srtt + 1;
}

uint64_t ppsp_ledbat_allowance(struct ppsp_ledbat *l, cv_usec now, cv_usec *ret_at) {
    *ret_at = CV_USEC_NEVER;
    l->paced = false;
    if (l->flight >= l->cwnd)
        return 0;
    uint64_t window = l->cwnd - l->flight;
    if (window < l->mss && l->flight)
        return 0;
    if (l->srtt == 0)
        return window < l->mss ? l->mss : window;

    uint64_t rate = pace(l), burst = rate * PACE_QUANTUM / 1000000;
    uint64_t least = (uint64_t)PACE_BURST * l->mss;
    burst = burst < least ? least : burst;
    cv_usec passed = cv_usec_since(now, l->credit_at);
    uint64_t gained = passed > CV_SEC(1) ? burst : passed * rate / 1000000;
    if (gained) {
        l->credit = l->credit + gained > burst ? burst : l->credit + gained;
        l->credit_at = now;
    }
    /* A fast sender wakes once a millisecond, a slow one for each datagram. */
    uint64_t need = rate / 1000;
    need = need < l->mss ? l->mss : need > least ? least : need;
    if (l->credit < need) {
        l->paced = true;
        *ret_at = now + (need - l->credit) * 1000000 / rate + 1;
        return 0;
    }
    window = window < l->credit ? window : l->credit;
    return window < l->mss ? l->mss : window;
}

void ppsp_ledbat_sent(struct ppsp_ledbat *l, cv_usec now, uint64_t octets) {
    l->flight += octets;
    l->credit -= octets < l->credit ? octets : l->credit;
    if (l->cto_at == CV_USEC_NEVER)
        l->cto_at = cv_usec_add(now, l->cto);
}
