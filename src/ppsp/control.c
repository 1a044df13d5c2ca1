/* Everything small that leaves on an open channel: HAVE, CANCEL, REQUEST, ACK, keepalive. */
#include <assert.h>

#include "ppsp/engine.h"

enum { GUESS_CHUNKS = PPSP_GROUP_CHUNKS };

#define IDLE_LOOK CV_MSEC(50)

void ppsp_commit(struct ppsp_channel *c, cv_usec now, struct cv_batch *b, size_t size) {
    cv_batch_commit(b, &c->endpoint, (uint16_t)size);
    PPSP_COUNT(c->swarm->p, datagrams_out);
    c->sent_at = now;
    if (++c->sent_unheard == PPSP_DEAD_DATAGRAMS)
        c->third_at = now;
}

static bool range_fits(const struct ppsp_channel *c, const struct cv_wr *w, size_t spare) {
    return cv_wr_room(w) >= 1 + ppsp_spec_len(c->swarm->config.addressing) + spare;
}

static void put_range(struct ppsp_channel *c, struct cv_wr *w, enum ppsp_message_type type,
                      uint64_t first, uint64_t last) {
    ppsp_range_write(w, type, c->swarm->config.addressing, &(struct ppsp_range){first, last});
}

/* ---- HAVE -------------------------------------------------------------------- */

/* Section 3.2: not to peers that have everything, nor to those we will not serve. */
static bool tells(const struct ppsp_channel *c) {
    const struct ppsp_swarm *s = c->swarm;
    return s->config.serve && s->have.count > 0 && (s->chunks == 0 || c->have.count < s->chunks) &&
           (c->messages >> PPSP_MSG_HAVE & 1);
}

static bool news_due(const struct ppsp_channel *c, cv_usec now) {
    const struct ppsp_swarm *s = c->swarm;
    return c->news_seen < s->news_count && (s->news_at == CV_USEC_NEVER || now >= s->news_at);
}

static bool have_due(const struct ppsp_channel *c, cv_usec now) {
    return tells(c) &&
           (news_due(c, now) || c->tell_from != PPSP_CHUNK_NONE || now >= c->tell_again_at);
}

/* The complete overview, from where the last datagram ended. */
static void put_overview(struct ppsp_channel *c, cv_usec now, struct cv_wr *w, size_t spare) {
    const struct ppsp_chunkset *have = &c->swarm->have;
    while (range_fits(c, w, spare)) {
        uint64_t first = ppsp_chunkset_next(have, c->tell_from);
        if (first == PPSP_CHUNK_NONE) {
            c->tell_from = PPSP_CHUNK_NONE;
            /* HAVE gets lost like anything, and nobody acknowledges it: again, ever later */
            c->tell_again_at = cv_usec_add(now, c->tell_wait);
            c->tell_wait = cv_usec_min(c->tell_wait * 2, PPSP_HAVE_AGAIN_MAX);
            return;
        }
        struct cv_interval it = ppsp_chunkset_around(have, first);
        put_range(c, w, PPSP_MSG_HAVE, it.first, it.last);
        c->tell_from = it.last + 1;
    }
}

static void put_news(struct ppsp_channel *c, cv_usec now, struct cv_wr *w, size_t spare) {
    struct ppsp_swarm *s = c->swarm;
    if (s->news_count - c->news_seen > PPSP_NEWS) { /* missed some: everything again */
        c->news_seen = s->news_count;
        c->tell_from = 0;
        return;
    }
    uint64_t told = PPSP_CHUNK_NONE;
    while (c->news_seen < s->news_count && range_fits(c, w, spare)) {
        const struct ppsp_range *r = &s->news[c->news_seen++ % PPSP_NEWS];
        /* the biggest complete interval around it: section 4.3.1 */
        struct cv_interval it = ppsp_chunkset_around(&s->have, r->first);
        if (it.first == told)
            continue;
        told = it.first;
        put_range(c, w, PPSP_MSG_HAVE, it.first, it.last);
    }
    c->tell_wait = PPSP_HAVE_AGAIN;
    c->tell_again_at = cv_usec_add(now, c->tell_wait);
}

static void put_haves(struct ppsp_channel *c, cv_usec now, struct cv_wr *w, size_t spare) {
    if (!have_due(c, now))
        return;
    if (c->tell_from == PPSP_CHUNK_NONE && now >= c->tell_again_at) {
        c->tell_from = 0;
        put_overview(c, now, w, spare);
        return;
    }
    if (news_due(c, now))
        put_news(c, now, w, spare);
    if (c->tell_from != PPSP_CHUNK_NONE)
        put_overview(c, now, w, spare);
}

/* ---- ACK --------------------------------------------------------------------- */

static size_t ack_len(const struct ppsp_channel *c) {
    return 1 + ppsp_spec_len(c->swarm->config.addressing) + 8;
}

/* Each with the biggest complete interval around it: section 4.3.2. */
static void put_acks(struct ppsp_channel *c, struct cv_wr *w) {
    struct ppsp_swarm *s = c->swarm;
    uint32_t i = 0;
    for (; i < c->ack_count && cv_wr_room(w) >= ack_len(c); i++) {
        struct ppsp_ack ack = {.chunks = c->acks[i].chunks, .delay = c->acks[i].delay};
        if (ppsp_chunkset_has(&s->have, ack.chunks.first)) {
            struct cv_interval it = ppsp_chunkset_around(&s->have, ack.chunks.first);
            ack.chunks.first = it.first;
            ack.chunks.last = it.last > ack.chunks.last ? it.last : ack.chunks.last;
        }
        ppsp_ack_write(w, s->config.addressing, &ack);
    }
    c->ack_count -= i;
    for (uint32_t k = 0; k < c->ack_count; k++)
        c->acks[k] = c->acks[k + i];
    if (c->ack_count == 0) {
        c->ack_chunks = 0;
        c->ack_at = CV_USEC_NEVER;
    }
}

/* ---- CANCEL, REQUEST ----------------------------------------------------------- */

static void put_cancels(struct ppsp_channel *c, struct cv_wr *w, size_t spare) {
    while (c->cancel_count && range_fits(c, w, spare)) {
        struct ppsp_range r = c->cancels[--c->cancel_count];
        put_range(c, w, PPSP_MSG_CANCEL, r.first, r.last);
    }
}

/* How many chunks to ask for now; little by little is not worth a datagram. */
static uint32_t request_room(const struct ppsp_channel *c, cv_usec now) {
    if (c->choked || now < c->ask_at || now < c->idle_until || !ppsp_swarm_hungry(c->swarm))
        return 0;
    if (c->swarm->retry_at) /* the store is busy: what is under way is enough for now */
        return 0;
    if (!c->guess && c->have.count == 0)
        return 0;
    uint32_t window = c->guess ? GUESS_CHUNKS : c->window;
    uint64_t under_way = c->asked.chunks;
    if (under_way >= window || (under_way && window - under_way < window / 4))
        return 0;
    return window - (uint32_t)under_way;
}

static bool ask(struct ppsp_channel *c, cv_usec now, const struct ppsp_range *r) {
    struct ppsp_swarm *s = c->swarm;
    bool from_nothing = ppsp_flight_empty(&c->asked);
    uint32_t n = (uint32_t)(r->last - r->first + 1);
    if (ppsp_flight_push(&c->asked, r->first, ppsp_run_mask(n), now, !from_nothing))
        return false;
    if (ppsp_chunkset_add(&s->taken, r->first, r->last)) {
        (void)ppsp_flight_clear(&c->asked, c->asked.tail - 1, UINT64_MAX);
        return false;
    }
    if (from_nothing)
        c->data_at = now;
    if (c->guess && c->guess_until == CV_USEC_NEVER)
        c->guess_until = cv_usec_add(now, 2 * c->rtt + CV_MSEC(500));
    return true;
}

static void put_requests(struct ppsp_channel *c, cv_usec now, struct cv_wr *w, size_t spare) {
    struct ppsp_swarm *s = c->swarm;
    struct ppsp_range whole = {1, 0}, r;
    uint32_t room = request_room(c, now);
    while (room) {
        uint32_t max = room < 64 ? room : 64;
        bool joins = whole.first <= whole.last;
        if (!range_fits(c, w, spare + (joins ? 1 + ppsp_spec_len(s->config.addressing) : 0)))
            break;
        if (!cv_tokenbucket_take(&s->download, now, s->config.chunk_size)) {
            c->ask_at = cv_tokenbucket_ready(&s->download, now, s->config.chunk_size);
            break;
        }
        if (s->download.rate != UINT64_MAX)
            max = 1; /* each is paid for by itself */
        if (!ppsp_pick(c, now, max, &r) && !ppsp_pick_steal(c, now, max, &r)) {
            /* What others were asked for may stall; otherwise only news help. */
            bool elsewhere = s->taken.count > s->have.count;
            c->idle_until = elsewhere ? cv_usec_add(now, IDLE_LOOK) : CV_USEC_NEVER;
            break;
        }
        if (!ask(c, now, &r))
            break;
        uint32_t n = (uint32_t)(r.last - r.first + 1);
        room -= n;
        if (joins && whole.last + 1 == r.first) {
            whole.last = r.last;
            continue;
        }
        if (joins)
            put_range(c, w, PPSP_MSG_REQUEST, whole.first, whole.last);
        whole = r;
    }
    if (whole.first <= whole.last)
        put_range(c, w, PPSP_MSG_REQUEST, whole.first, whole.last);
}

/* ---- datagrams ------------------------------------------------------------------ */

static bool keepalive_due(const struct ppsp_channel *c, cv_usec now) {
    return now >= cv_usec_add(c->sent_at, PPSP_KEEPALIVE);
}

static bool anything_due(const struct ppsp_channel *c, cv_usec now) {
    return c->confirm_due || c->cancel_count || now >= c->ack_at || have_due(c, now) ||
           request_room(c, now) || keepalive_due(c, now);
}

/* ACKs come last: some peers read nothing behind one. */
static size_t compose(struct ppsp_channel *c, cv_usec now, uint8_t *at, size_t room) {
    struct cv_wr w = cv_wr_init(at, room);
    cv_wr_be32(&w, c->remote);
    size_t spare = c->ack_count * ack_len(c);
    if (spare > cv_wr_room(&w) / 2)
        spare = cv_wr_room(&w) / 2;
    put_cancels(c, &w, spare);
    put_haves(c, now, &w, spare);
    put_requests(c, now, &w, spare);
    if (now >= c->ack_at || cv_wr_len(&w) > 4)
        put_acks(c, &w);
    assert(!w.err);
    return cv_wr_len(&w);
}

enum ppsp_out ppsp_control_out(struct ppsp_channel *c, cv_usec now, struct cv_batch *b) {
    size_t room = cv_batch_room(b) < c->mtu ? cv_batch_room(b) : c->mtu;
    /* A bounded number of datagrams in a row; what is left has its turn again. */
    for (unsigned i = 0; i < 8 && anything_due(c, now); i++) {
        uint8_t *at = cv_batch_slot(b);
        if (!at)
            return PPSP_OUT_FULL;
        size_t len = compose(c, now, at, room);
        if (len == 4 && !c->confirm_due && !keepalive_due(c, now))
            return PPSP_OUT_DONE; /* nothing to ask for after all */
        c->confirm_due = false;
        ppsp_commit(c, now, b, len);
    }
    return PPSP_OUT_DONE;
}

cv_usec ppsp_control_next(const struct ppsp_channel *c) {
    const struct ppsp_swarm *s = c->swarm;
    cv_usec at = c->ack_at;
    if (tells(c))
        at = cv_usec_min(at, c->tell_again_at);
    /* Once passed, it hinders nobody: then something else is awaited. */
    cv_usec ask = c->ask_at > c->idle_until ? c->ask_at : c->idle_until;
    if (ask > s->p->last_now && !c->choked && ppsp_swarm_hungry(s))
        at = cv_usec_min(at, ask);
    return at;
}
