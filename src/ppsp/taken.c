/*
 * Chunks out of `taken` again (engine.h). Taking some out of the middle makes a set longer,
 * which may fail: for want of memory, or because too many pieces are known of content
 * whose end is not. They must not stay: nobody would ever be asked for them. So it is
 * tried again, from what can be derived: who is neither had nor under way has no place there.
 */
#include "ppsp/engine.h"

void ppsp_swarm_untake(struct ppsp_swarm *s, uint64_t first, uint64_t last) {
    if (!ppsp_chunkset_remove(&s->taken, first, last) || s->untake_at)
        return;
    s->untake_at = cv_usec_add(s->p->last_now, PPSP_UNTAKE_AGAIN);
    ppsp_swarm_reschedule(s);
}

/* first..last, as far as it lies at or behind `from`, if that begins before *best. */
static void nearer(struct cv_interval *best, uint64_t from, uint64_t first, uint64_t last) {
    if (first < from)
        first = from;
    if (first <= last && first < best->first)
        *best = (struct cv_interval){first, last};
}

/* The next chunks from `from` on that somebody is asked for or that wait for the store. */
static struct cv_interval under_way(const struct ppsp_swarm *s, uint64_t from) {
    struct cv_interval best = {PPSP_CHUNK_NONE, PPSP_CHUNK_NONE};
    const struct ppsp_channel *c;
    for (uint32_t i = 0; i < s->segment_count; i++) {
        const struct ppsp_segment *g = s->segments[(s->segment_head + i) % PPSP_STAGE_SEGMENTS];
        if (g->count)
            nearer(&best, from, g->first, g->first + g->count - 1);
    }
    TAILQ_FOREACH(c, &s->channels, of_swarm)
    for (uint64_t i = c->asked.head; i < c->asked.tail; i++) {
        const struct ppsp_run *r = ppsp_flight_at(&c->asked, i);
        uint64_t part = ppsp_run_part(r, from, PPSP_CHUNK_NONE);
        if (!part)
            continue;
        unsigned at = (unsigned)__builtin_ctzll(part);
        uint64_t rest = ~(part >> at);
        unsigned len = rest ? (unsigned)__builtin_ctzll(rest) : 64 - at;
        nearer(&best, from, r->first + at, r->first + at + len - 1);
    }
    return best;
}

void ppsp_swarm_untake_again(struct ppsp_swarm *s, cv_usec now) {
    if (!s->untake_at || now < s->untake_at)
        return;
    s->untake_at = 0;
    uint64_t at = 0;
    while (!s->untake_at && (at = ppsp_chunkset_next(&s->taken, at)) != PPSP_CHUNK_NONE) {
        struct cv_interval busy = under_way(s, at);
        if (ppsp_chunkset_has(&s->have, at)) {
            at = ppsp_chunkset_gap(&s->have, at);
        } else if (busy.first == at) {
            at = busy.last + 1;
        } else {
            uint64_t last = ppsp_chunkset_around(&s->taken, at).last;
            uint64_t had = ppsp_chunkset_next(&s->have, at);
            last = had <= last ? had - 1 : last;
            last = busy.first <= last ? busy.first - 1 : last;
            ppsp_swarm_untake(s, at, last);
            at = last + 1;
        }
    }
    ppsp_swarm_wake(s);
}
