/*
 * Which chunks to ask a peer for (RFC 7574 section 9.1 leaves it to us): first
 * what a reader waits for, by deadline and in order; then, if everything is to
 * be fetched, the rarest stretch this peer has, chosen at random among equals
 * and read in order. When all is asked for, a fast peer takes over from a slow one.
 */
#include <assert.h>

#include "ppsp/engine.h"

enum {
    BLOCK_MAX = 1024,                /* chunks of one stretch: whole groups, */
    BLOCKS = 64,                     /* and so many stretches that peers find different ones */
    SAMPLES = 24,                    /* stretches compared */
    UNKNOWN_ASK = PPSP_GROUP_CHUNKS, /* while the size is not known */
};

/* The peer has chunks first..; returns the last one, at most `last`. */
static bool peer_has(const struct ppsp_channel *c, uint64_t first, uint64_t *last) {
    if (c->guess)
        return true;
    if (!ppsp_chunkset_has(&c->have, first))
        return false;
    uint64_t end = ppsp_chunkset_gap(&c->have, first);
    if (end - 1 < *last)
        *last = end - 1;
    return true;
}

bool ppsp_pick_open(const struct ppsp_channel *c, uint64_t first, uint64_t last, uint32_t max,
                    struct ppsp_range *ret) {
    const struct ppsp_swarm *s = c->swarm;
    for (;;) {
        first = ppsp_chunkset_gap(&s->taken, first);
        if (first > last)
            return false;
        uint64_t end = last;
        if (peer_has(c, first, &end)) {
            uint64_t next = ppsp_chunkset_next(&s->taken, first);
            if (next <= end)
                end = next - 1;
            if (end - first >= max)
                end = first + max - 1;
            *ret = (struct ppsp_range){first, end};
            return true;
        }
        first = ppsp_chunkset_next(&c->have, first);
        if (first > last)
            return false;
    }
}

static cv_usec deadline(const struct ppsp_swarm *s, const struct ppsp_want_entry *w,
                        uint64_t chunk) {
    if (w->rate == 0)
        return w->due;
    uint64_t octets = (chunk - w->first) * s->config.chunk_size;
    return cv_usec_add(w->due, octets / w->rate * 1000000 + octets % w->rate * 1000000 / w->rate);
}

static bool pick_wanted(struct ppsp_channel *c, uint32_t max, struct ppsp_range *ret) {
    struct ppsp_swarm *s = c->swarm;
    cv_usec best = CV_USEC_NEVER;
    bool found = false;
    for (unsigned i = 0; i < PPSP_WANTS; i++) {
        const struct ppsp_want_entry *w = &s->wants[i];
        struct ppsp_range range;
        if (w->id == 0 || w->first > w->last)
            continue;
        /* Too far a reach is no reach: peaks come with any chunk. */
        uint64_t last = s->chunks ? w->last : w->first + UNKNOWN_ASK - 1;
        last = last < w->last ? last : w->last;
        if (!ppsp_pick_open(c, w->first, last, max, &range))
            continue;
        cv_usec due = deadline(s, w, range.first);
        if (found && due >= best)
            continue;
        best = due;
        *ret = range;
        found = true;
    }
    return found;
}

/* How many peers have something of a stretch. */
static uint32_t availability(const struct ppsp_swarm *s, uint64_t first, uint64_t last) {
    const struct ppsp_channel *c;
    uint32_t n = 0;
    TAILQ_FOREACH(c, &s->channels, of_swarm)
    n += c->state == PPSP_PEER_OPEN && ppsp_chunkset_any(&c->have, first, last);
    return n;
}

uint64_t ppsp_block_size(const struct ppsp_swarm *s) {
    uint64_t size = PPSP_GROUP_CHUNKS;
    while (size < BLOCK_MAX && s->chunks / size > BLOCKS)
        size *= 2;
    return size;
}

static bool pick_block(struct ppsp_channel *c, uint64_t block, uint32_t max,
                       struct ppsp_range *ret) {
    uint64_t size = ppsp_block_size(c->swarm), first = block * size, last = first + size - 1;
    last = last < c->swarm->chunks ? last : c->swarm->chunks - 1;
    return ppsp_pick_open(c, first, last, max, ret);
}

static bool pick_rarest(struct ppsp_channel *c, uint32_t max, struct ppsp_range *ret) {
    struct ppsp_swarm *s = c->swarm;
    uint64_t blocks = (s->chunks + ppsp_block_size(s) - 1) / ppsp_block_size(s);
    if (c->block != PPSP_CHUNK_NONE && pick_block(c, c->block, max, ret))
        return true;
    uint32_t best = UINT32_MAX;
    struct ppsp_range range;
    for (unsigned i = 0; i < SAMPLES && i < 2 * blocks; i++) {
        uint64_t block = cv_rng_below(s->p->rng, blocks);
        if (!pick_block(c, block, max, &range))
            continue;
        uint32_t n = availability(s, range.first, range.last);
        if (n >= best)
            continue;
        best = n;
        c->block = block;
        *ret = range;
    }
    if (best != UINT32_MAX)
        return true;
    uint64_t from = cv_rng_below(s->p->rng, s->chunks); /* few are left: look everywhere */
    if (!ppsp_pick_open(c, from, s->chunks - 1, max, ret) &&
        (from == 0 || !ppsp_pick_open(c, 0, from - 1, max, ret)))
        return false;
    c->block = ret->first / ppsp_block_size(s);
    return true;
}

/* The last chunk tells the exact size: early. */
static bool pick_last(struct ppsp_channel *c, struct ppsp_range *ret) {
    const struct ppsp_swarm *s = c->swarm;
    return s->chunks && s->octets == 0 && ppsp_pick_open(c, s->chunks - 1, s->chunks - 1, 1, ret);
}

bool ppsp_pick(struct ppsp_channel *c, cv_usec now, uint32_t max, struct ppsp_range *ret) {
    struct ppsp_swarm *s = c->swarm;
    assert(max >= 1 && max <= 64);
    if (s->live)
        return ppsp_live_pick(c, now, max, ret);
    if (pick_wanted(c, max, ret))
        return true;
    if (!s->config.fetch_all || s->complete)
        return false;
    if (s->chunks == 0)
        return ppsp_pick_open(c, 0, UNKNOWN_ASK - 1, max, ret);
    return pick_last(c, ret) || pick_rarest(c, max, ret);
}

/* ---- taking over -------------------------------------------------------------- */

/* When a peer will have sent all it was asked for, and `more` chunks, from now. */
static cv_usec remaining(const struct ppsp_channel *c, cv_usec now, uint64_t more) {
    uint64_t rate = ppsp_rate_get(&c->down_rate, now);
    uint64_t octets = (c->asked.chunks + more) * c->swarm->config.chunk_size;
    cv_usec silent = cv_usec_since(now, c->data_at);
    return rate ? octets * 1000000 / rate + silent : CV_MSEC(500) + silent;
}

/* Is it there in half the time when `c` is asked, with all that `c` has to send already and
 * these? Only so it never goes back and forth: whoever gave would have to get less than half
 * of what it had. */
static bool is_worth(const struct ppsp_channel *c, cv_usec now, uint64_t chunks, cv_usec there) {
    return there >= 2 * (remaining(c, now, chunks) + 2 * c->rtt + CV_MSEC(50));
}

bool ppsp_pick_steal(struct ppsp_channel *c, cv_usec now, uint32_t max, struct ppsp_range *ret) {
    struct ppsp_swarm *s = c->swarm;
    struct ppsp_channel *o, *slow = NULL;
    cv_usec longest = 0;
    TAILQ_FOREACH(o, &s->channels, of_swarm) {
        if (o == c || ppsp_flight_empty(&o->asked) || remaining(o, now, 0) <= longest)
            continue;
        longest = remaining(o, now, 0);
        slow = o;
    }
    if (!slow || !is_worth(c, now, 1, longest))
        return false;
    /* The youngest run that we can serve: it would come last. */
    for (uint64_t i = slow->asked.tail; i-- > slow->asked.head;) {
        struct ppsp_run *r = ppsp_flight_at(&slow->asked, i);
        if (r->mask == 0)
            continue;
        uint64_t first = r->first + (unsigned)__builtin_ctzll(r->mask);
        uint64_t rest = ~(r->mask >> (first - r->first));
        uint64_t last = first + (rest ? (unsigned)__builtin_ctzll(rest) : 64) - 1;
        if (!peer_has(c, first, &last))
            continue;
        if (last - first >= max)
            last = first + max - 1;
        while (last > first && !is_worth(c, now, last - first + 1, longest))
            last = first + (last - first) / 2;
        ppsp_fetch_give_up(slow, i,
                           ppsp_run_mask((uint32_t)(last - first + 1)) << (first - r->first));
        ppsp_fetch_cancel(slow, first, last); /* section 3.8 */
        ppsp_channel_wake(slow);
        *ret = (struct ppsp_range){first, last};
        return true;
    }
    return false;
}
