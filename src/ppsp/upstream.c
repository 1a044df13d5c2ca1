#include "ppsp/upstream.h"

#include <string.h>

#include "base/cursor.h"

enum {
    VERSION = 1,
    HOUR_S = 3600,
    PEERS = 2,       /* with full ways at the same time: then it is our line */
    BURST_PART = 20, /* of a second */
    CHUNKS = 8,      /* the bucket holds at least (swarm.c) */
    CHUNK = 1024,    /* while nobody asks */
    LEAST = 16384,   /* octets of a window that says anything */
    NOISE = 16,      /* part of a rate that is no difference */
    SUBNET6 = 8,     /* octets of an IPv6 address: behind them stands one household */
};

void ppsp_upstream_init(struct ppsp_upstream *u, struct cv_now now) {
    *u = (struct ppsp_upstream){
        .hour_began = now.wall - (int64_t)(now.mono / CV_SEC(1)),
        .window = 1,
        .began = now.mono,
        .chunk = CHUNK,
        .lifted_at = now.mono,
        .lift_wait = PPSP_UPSTREAM_LIFT_FIRST,
    };
    cv_tokenbucket_init(&u->bucket, UINT64_MAX, 0, now.mono);
}

/* By the clock as it was at the start: one that jumps makes no hours. */
static uint32_t hour(const struct ppsp_upstream *u, cv_usec now) {
    int64_t wall = u->hour_began + (int64_t)(now / CV_SEC(1));
    return wall > 0 ? (uint32_t)(wall / HOUR_S) : 0;
}

/* ---- what was seen ------------------------------------------------------------- */

static void look_back(struct ppsp_upstream *u, uint32_t at) {
    unsigned kept = 0;
    u->measured = 0;
    for (unsigned i = 0; i < u->count; i++) {
        if (u->hours[i].hour > at || at - u->hours[i].hour > PPSP_UPSTREAM_DAYS * 24)
            continue;
        u->hours[kept] = u->hours[i];
        u->measured = u->hours[kept].rate > u->measured ? u->hours[kept].rate : u->measured;
        kept++;
    }
    u->count = kept;
}

static void note(struct ppsp_upstream *u, cv_usec now, uint64_t rate) {
    uint32_t at = hour(u, now);
    if (!u->count || u->hours[0].hour != at) {
        u->count -= u->count == PPSP_UPSTREAM_HOURS;
        memmove(&u->hours[1], &u->hours[0], u->count * sizeof u->hours[0]);
        u->count++;
        u->hours[0].hour = at;
        u->hours[0].rate = 0;
    }
    if (rate > u->hours[0].rate)
        u->hours[0].rate = rate;
    u->known = true;
    look_back(u, at);
}

/* The line carries more than was ever measured, and is not full: how much is not known. */
static void refuted(struct ppsp_upstream *u, cv_usec now) {
    u->count = 0;
    u->measured = 0;
    u->lifted = false;
    u->lifted_at = now;
    u->lift_wait = PPSP_UPSTREAM_LIFT_FIRST;
}

/* Octets a second of the newest windows; 0: there are not enough. */
static uint64_t rate_of_row(const struct ppsp_upstream *u, bool *ret_full) {
    uint64_t octets = 0;
    cv_usec time = 0;
    *ret_full = true;
    for (unsigned i = 0; i < u->past_count; i++) {
        octets += u->past[i].octets;
        time += u->past[i].time;
        *ret_full = *ret_full && u->past[i].full;
    }
    return u->past_count == PPSP_UPSTREAM_WINDOWS ? octets * 1000000 / time : 0;
}

/* ---- the limit, and lifting it ---------------------------------------------------- */

uint64_t ppsp_upstream_limit(const struct ppsp_upstream *u) {
    uint64_t limit = u->measured / 100 * PPSP_UPSTREAM_PERCENT;
    if (!u->measured)
        return 0;
    return limit < PPSP_UPSTREAM_FLOOR ? PPSP_UPSTREAM_FLOOR : limit;
}

/* What others were granted counts as theirs; something is always left. */
static void limit(struct ppsp_upstream *u, cv_usec now) {
    uint64_t rate = ppsp_upstream_limit(u), burst;
    if (!rate || u->lifted) {
        u->bucket.rate = UINT64_MAX;
        return;
    }
    rate = rate > u->granted_rate ? rate - u->granted_rate : 0;
    rate = rate < PPSP_UPSTREAM_FLOOR ? PPSP_UPSTREAM_FLOOR : rate;
    burst = (uint64_t)CHUNKS * u->chunk;
    burst = rate / BURST_PART > burst ? rate / BURST_PART : burst;
    if (u->bucket.rate == UINT64_MAX) {
        cv_tokenbucket_init(&u->bucket, rate, burst, now);
        return;
    }
    (void)cv_tokenbucket_take(&u->bucket, now, 0); /* what came until now, at the old rate */
    u->bucket.rate = rate;
    u->bucket.burst = burst;
    u->bucket.level = u->bucket.level < burst ? u->bucket.level : burst;
    u->bucket.carry = 0;
}

static void lift(struct ppsp_upstream *u, cv_usec now) {
    u->lifted = true;
    u->lifted_at = u->grown_at = now;
    u->lifted_from = u->measured;
    u->lifted_best = 0;
    u->past_count = 0; /* what was full below the limit says nothing of what is above */
    u->somebody_new = false;
}

static void lower(struct ppsp_upstream *u, cv_usec now) {
    bool grown = u->measured > u->lifted_from + u->lifted_from / NOISE;
    u->lifted = false;
    u->lifted_at = now;
    u->lift_wait = grown ? PPSP_UPSTREAM_LIFT_FIRST : 2 * u->lift_wait;
    if (u->lift_wait > PPSP_UPSTREAM_LIFT_LAST)
        u->lift_wait = PPSP_UPSTREAM_LIFT_LAST;
}

static void lift_or_lower(struct ppsp_upstream *u, cv_usec now, uint64_t rate, bool measured) {
    if (u->lifted) {
        if (rate > u->lifted_best + u->lifted_best / NOISE) {
            u->lifted_best = rate;
            u->grown_at = now;
        }
        if (measured || cv_usec_since(now, u->grown_at) >= PPSP_UPSTREAM_STILL ||
            cv_usec_since(now, u->lifted_at) >= PPSP_UPSTREAM_LIFTED)
            lower(u, now);
        return;
    }
    cv_usec wait = u->lift_wait;
    if (u->somebody_new && wait > PPSP_UPSTREAM_LIFT_NEW)
        wait = PPSP_UPSTREAM_LIFT_NEW;
    if (u->held && cv_usec_since(now, u->lifted_at) >= wait)
        lift(u, now);
}

/* ---- who is behind full ways ------------------------------------------------------------- */

struct ppsp_way ppsp_upstream_way(const struct cv_endpoint *peer, struct ppsp_crowd *circuits) {
    bool udp = peer->kind == CV_ENDPOINT_UDP;
    struct ppsp_way way = {.crowd = udp ? NULL : circuits};
    if (udp)
        way.addr = peer->addr;
    return way;
}

static bool same_peer(const struct cv_addr *a, const struct cv_addr *b) {
    return memcmp(a->ip, b->ip, a->family == 6 ? SUBNET6 : sizeof a->ip) == 0;
}

static void way_is_full(struct ppsp_upstream *u, struct ppsp_way *way) {
    if (way->full_in == u->window)
        return;
    way->full_in = u->window;
    struct ppsp_crowd *crowd = way->crowd;
    if (!crowd) {
        bool v6 = way->addr.family == 6;
        if (u->full_at[v6].peers == 0)
            u->full_at[v6].one = way->addr;
        else if (same_peer(&u->full_at[v6].one, &way->addr))
            return;
        if (u->full_at[v6].peers < PEERS)
            u->full_at[v6].peers++;
        return;
    }
    if (crowd->window != u->window)
        *crowd = (struct ppsp_crowd){.window = u->window};
    crowd->full++;
    /* Several swarms may be one peer's, too. */
    unsigned peers = (crowd->full + PPSP_UPSTREAM_WAYS_OF_ONE - 1) / PPSP_UPSTREAM_WAYS_OF_ONE;
    u->crowd = peers > u->crowd ? peers : u->crowd;
}

static unsigned peers_full(const struct ppsp_upstream *u) {
    unsigned by4 = u->full_at[0].peers, by6 = u->full_at[1].peers;
    return u->crowd + (by4 > by6 ? by4 : by6);
}

/* ---- windows ------------------------------------------------------------------------ */

static void end_window(struct ppsp_upstream *u, cv_usec now) {
    cv_usec time = now - u->began;
    bool paused = time >= 2 * PPSP_UPSTREAM_WINDOW;
    bool full = peers_full(u) >= PEERS && u->full_octets * 4 >= u->octets * 3 && u->octets >= LEAST;
    if (paused) { /* nobody took anything for a while */
        u->past_count = 0;
    } else {
        u->past_count += u->past_count < PPSP_UPSTREAM_WINDOWS;
        memmove(&u->past[1], &u->past[0], (u->past_count - 1) * sizeof u->past[0]);
        u->past[0].octets = u->octets;
        u->past[0].time = time;
        u->past[0].full = full;
    }
    bool row_full;
    uint64_t rate = rate_of_row(u, &row_full);
    bool measured = rate && row_full;
    look_back(u, hour(u, now));
    if (measured)
        note(u, now, rate);
    else if (u->measured && rate > u->measured + u->measured / NOISE)
        refuted(u, now);
    u->granted_rate = u->granted * 1000000 / time;
    u->chunk = u->asked ? u->asked : CHUNK;
    lift_or_lower(u, now, paused ? 0 : u->octets * 1000000 / time, measured);
    limit(u, now);
    u->window++;
    u->began = now;
    u->octets = u->full_octets = u->granted = 0;
    u->asked = 0;
    u->crowd = u->full_at[0].peers = u->full_at[1].peers = 0;
    u->held = false;
}

static void roll(struct ppsp_upstream *u, cv_usec now) {
    if (cv_usec_since(now, u->began) >= PPSP_UPSTREAM_WINDOW)
        end_window(u, now);
}

void ppsp_upstream_passed(struct ppsp_upstream *u, cv_usec now, struct ppsp_way *way,
                          uint64_t octets, bool full, bool granted) {
    roll(u, now);
    u->octets += octets;
    if (granted)
        u->granted += octets;
    if (!way->known)
        u->somebody_new = way->known = true;
    if (!full)
        return;
    u->full_octets += octets;
    way_is_full(u, way);
}

struct cv_tokenbucket *ppsp_upstream_bucket(struct ppsp_upstream *u, cv_usec now,
                                            uint32_t chunk_size) {
    roll(u, now);
    chunk_size = chunk_size < PPSP_UPSTREAM_CHUNK ? chunk_size : PPSP_UPSTREAM_CHUNK;
    u->asked = chunk_size > u->asked ? chunk_size : u->asked;
    if (chunk_size > u->chunk) {
        u->chunk = chunk_size;
        limit(u, now);
    }
    return u->bucket.rate == UINT64_MAX ? NULL : &u->bucket;
}

void ppsp_upstream_held(struct ppsp_upstream *u, struct ppsp_way *way) {
    u->held = true;
    if (!way->known) /* it may get nothing before the limit is lifted */
        u->somebody_new = way->known = true;
}

/* ---- from one start to the next ------------------------------------------------------- */

size_t ppsp_upstream_save(const struct ppsp_upstream *u, uint8_t ret[PPSP_UPSTREAM_SAVED]) {
    struct cv_wr w = cv_wr_init(ret, PPSP_UPSTREAM_SAVED);
    if (!u->known)
        return 0;
    cv_wr_u8(&w, VERSION);
    cv_wr_u8(&w, (uint8_t)u->count);
    for (unsigned i = 0; i < u->count; i++) {
        cv_wr_le32(&w, u->hours[i].hour);
        cv_wr_le64(&w, u->hours[i].rate);
    }
    return cv_wr_len(&w);
}

bool ppsp_upstream_restore(struct ppsp_upstream *u, const uint8_t *saved, size_t len) {
    struct cv_rd r = cv_rd_init(saved, len);
    bool known = cv_rd_u8(&r) == VERSION;
    unsigned count = cv_rd_u8(&r);
    if (r.err || !known || count > PPSP_UPSTREAM_HOURS || cv_rd_left(&r) != count * 12)
        return false;
    for (unsigned i = 0; i < count; i++) {
        u->hours[i].hour = cv_rd_le32(&r);
        u->hours[i].rate = cv_rd_le64(&r);
    }
    for (unsigned i = 0; i < count; i++) /* newest first, and a line that exists */
        if ((i && u->hours[i].hour >= u->hours[i - 1].hour) || !u->hours[i].rate ||
            u->hours[i].rate > UINT64_MAX / 1000000)
            return false;
    u->count = count;
    u->known = true;
    look_back(u, hour(u, u->began));
    limit(u, u->began);
    return true;
}
