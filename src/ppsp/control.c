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

/* ---- HAVE -------------------------------------------------------------------- */

/* Section 3.2: not to peers that have everything, nor to those we will not serve. */
static bool tells(const struct ppsp_channel *c) {
    const struct ppsp_swarm *s = c->swarm;
    if (!s->config.serve || s->have.count == 0 || !(c->messages >> PPSP_MSG_HAVE & 1))
        return false;
    if (s->live)
        return !ppsp_chunkset_covers(&c->have, s->live->first, s->chunks - 1);
    return s->chunks == 0 || c->have.count < s->chunks;
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
        struct ppsp_range rest = {first, it.last};
        bool all = ppsp_ranges_write(w, PPSP_MSG_HAVE, &c->swarm->spec, &rest, spare);
        c->tell_from = all ? it.last + 1 : rest.first;
    }
}

/* The biggest complete intervals around the chunks of a range (section 4.3.1):
 * one, or several bins. False: no room for all of them. */
static bool put_around(struct ppsp_channel *c, struct cv_wr *w, const struct ppsp_range *r,
                       size_t spare, struct ppsp_range *told) {
    struct ppsp_swarm *s = c->swarm;
    struct cv_interval it = ppsp_chunkset_around(&s->have, r->first);
    struct ppsp_range within = {it.first, it.last};
    for (uint64_t chunk = r->first;; chunk = told->last + 1) {
        if (chunk < told->first || chunk > told->last) {
            if (!range_fits(c, w, spare))
                return false;
            *told = ppsp_spec_around(&s->spec, &within, chunk);
            ppsp_range_write(w, PPSP_MSG_HAVE, &s->spec, told);
        }
        if (told->last >= r->last || told->last == within.last)
            return true;
    }
}

static void put_news(struct ppsp_channel *c, cv_usec now, struct cv_wr *w, size_t spare) {
    struct ppsp_swarm *s = c->swarm;
    if (s->news_count - c->news_seen > PPSP_NEWS) { /* missed some: everything again */
        c->news_seen = s->news_count;
        c->tell_from = 0;
        return;
    }
    struct ppsp_range told = {1, 0};
    while (c->news_seen < s->news_count && range_fits(c, w, spare)) {
        struct ppsp_range r = s->news[c->news_seen % PPSP_NEWS];
        if (s->live && r.first < s->live->first) /* the window passed it meanwhile */
            r.first = s->live->first;
        if (r.first <= r.last && !put_around(c, w, &r, spare, &told))
            return; /* the rest of it in the next datagram */
        c->news_seen++;
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
    return PPSP_ACK_LEN(c->swarm->config.addressing);
}

/* The biggest complete interval around what arrived (section 4.3.2): one, or
 * several bins. False: no room for all of them; what is left is in *due. */
static bool put_ack(struct ppsp_channel *c, struct cv_wr *w, struct ppsp_ack_due *due) {
    struct ppsp_swarm *s = c->swarm;
    struct ppsp_range within = due->chunks;
    if (ppsp_chunkset_has(&s->have, within.first)) {
        struct cv_interval it = ppsp_chunkset_around(&s->have, within.first);
        within.first = it.first;
        within.last = it.last > within.last ? it.last : within.last;
    }
    while (cv_wr_room(w) >= ack_len(c)) {
        struct ppsp_ack ack = {.delay = due->delay};
        ack.chunks = ppsp_spec_around(&s->spec, &within, due->chunks.first);
        ppsp_ack_write(w, &s->spec, &ack);
        if (ack.chunks.last >= due->chunks.last)
            return true;
        due->chunks.first = ack.chunks.last + 1;
    }
    return false;
}

static void put_acks(struct ppsp_channel *c, struct cv_wr *w) {
    uint32_t i = 0;
    while (i < c->ack_count && put_ack(c, w, &c->acks[i]))
        i++;
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
        struct ppsp_range *r = &c->cancels[c->cancel_count - 1];
        if (ppsp_ranges_write(w, PPSP_MSG_CANCEL, &c->swarm->spec, r, spare))
            c->cancel_count--;
    }
}

/* Beside others a peer that has proven nothing is asked for little, and for one more with each
 * chunk that comes: a long stretch of a film, asked of a way that turns out to be slow, keeps
 * its reader waiting with all that the others bring behind it. */
static uint64_t proven(const struct ppsp_channel *c) {
    const struct ppsp_swarm *s = c->swarm;
    return s->open_count > 1 ? PPSP_GROUP_CHUNKS + c->down / s->config.chunk_size : UINT64_MAX;
}

/* How many chunks to ask for now; little by little is not worth a datagram. */
static uint32_t request_room(const struct ppsp_channel *c, cv_usec now) {
    if (c->choked || now < c->ask_at || now < c->idle_until || !ppsp_swarm_hungry(c->swarm))
        return 0;
    if (c->swarm->retry_at) /* the store is busy: what is under way is enough for now */
        return 0;
    if (!c->guess && c->have.count == 0)
        return 0;
    uint32_t window = c->guess         ? GUESS_CHUNKS
                      : c->swarm->live ? ppsp_live_window(c, now)
                                       : c->window;
    window = window < proven(c) ? window : (uint32_t)proven(c);
    uint64_t under_way = c->asked.chunks;
    if (under_way >= window || (under_way && window - under_way < window / 4))
        return 0;
    return window - (uint32_t)under_way;
}

/* Whoever stalled is asked again later: that is its own doing. */
cv_usec ppsp_channel_asked_since(const struct ppsp_channel *c, cv_usec now) {
    const struct ppsp_swarm *s = c->swarm;
    bool asked = c->state == PPSP_PEER_OPEN && !c->choked && !c->guess && c->have.count &&
                 c->idle_until <= now && ppsp_swarm_hungry(s) && !s->retry_at &&
                 s->download.rate == UINT64_MAX;
    return asked ? c->idle_at : CV_USEC_NEVER;
}

static bool ask(struct ppsp_channel *c, cv_usec now, const struct ppsp_range *r) {
    struct ppsp_swarm *s = c->swarm;
    bool from_nothing = ppsp_flight_empty(&c->asked);
    uint32_t n = (uint32_t)(r->last - r->first + 1);
    if (ppsp_swarm_mark(s, now, &s->taken, r->first, r->last))
        return false;
    if (s->live && r->first < s->live->first) /* the window slid for it */
        return false;
    if (ppsp_flight_push(&c->asked, r->first, ppsp_run_mask(n), now, !from_nothing)) {
        ppsp_swarm_untake(s, r->first, r->last);
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
            c->idle_at = now;
            break;
        }
        r = ppsp_spec_head(&s->spec, &r);
        if (!ask(c, now, &r))
            break;
        uint32_t n = (uint32_t)(r.last - r.first + 1);
        room -= n;
        if (joins && whole.last + 1 == r.first && ppsp_spec_joins(&s->spec)) {
            whole.last = r.last;
            continue;
        }
        if (joins)
            ppsp_range_write(w, PPSP_MSG_REQUEST, &s->spec, &whole);
        whole = r;
    }
    if (whole.first <= whole.last)
        ppsp_range_write(w, PPSP_MSG_REQUEST, &s->spec, &whole);
}

/* ---- datagrams ------------------------------------------------------------------ */

static bool keepalive_due(const struct ppsp_channel *c, cv_usec now) {
    return now >= cv_usec_add(c->sent_at, PPSP_KEEPALIVE);
}

static bool anything_due(const struct ppsp_channel *c, cv_usec now) {
    bool munro = c->swarm->live && ppsp_live_munro_due(c);
    return munro || c->confirm_due || c->cancel_count || now >= c->ack_at ||
           now >= ppsp_reciprocity_tells(c) || have_due(c, now) || request_room(c, now) ||
           ppsp_pex_due(c, now) || ppsp_contacts_due(c, now) || keepalive_due(c, now);
}

/* ACKs come last: some peers read nothing behind one. */
static size_t compose(struct ppsp_channel *c, cv_usec now, uint8_t *at, size_t room) {
    struct cv_wr w = cv_wr_init(at, room);
    cv_wr_be32(&w, c->remote);
    size_t spare = c->ack_count * ack_len(c);
    if (spare > cv_wr_room(&w) / 2)
        spare = cv_wr_room(&w) / 2;
    ppsp_reciprocity_tell(c, now, &w);
    if (c->swarm->live)
        ppsp_live_put_newest(c, &w);
    put_cancels(c, &w, spare);
    put_haves(c, now, &w, spare);
    put_requests(c, now, &w, spare);
    ppsp_pex_put(c, now, &w, spare);
    ppsp_contacts_put(c, now, &w, spare);
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
        if (keepalive_due(c, now))
            ppsp_channel_rest(c);
        ppsp_commit(c, now, b, len);
    }
    return anything_due(c, now) ? PPSP_OUT_MORE : PPSP_OUT_DONE;
}

cv_usec ppsp_control_next(const struct ppsp_channel *c) {
    const struct ppsp_swarm *s = c->swarm;
    cv_usec at = cv_usec_min(cv_usec_min(c->ack_at, ppsp_pex_next(c)), ppsp_reciprocity_tells(c));
    at = cv_usec_min(at, ppsp_contacts_next(c));
    if (tells(c))
        at = cv_usec_min(at, c->tell_again_at);
    /* Once passed, it hinders nobody: then something else is awaited. */
    cv_usec ask = c->ask_at > c->idle_until ? c->ask_at : c->idle_until;
    if (ask > s->p->last_now && !c->choked && ppsp_swarm_hungry(s))
        at = cv_usec_min(at, ask);
    return at;
}
