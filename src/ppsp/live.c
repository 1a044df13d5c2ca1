/* Watching a live swarm: munros in, the window, the cursor, what to fetch next. */
#include "ppsp/live.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ppsp/engine.h"

enum { SAMPLES = 12 };

/* ---- opening -------------------------------------------------------------------- */

/* The swarm id is the algorithm's number and the key (section 6.1). */
enum cv_err ppsp_live_open(struct ppsp_swarm *s) {
    const struct ppsp_swarm_config *c = &s->config;
    const struct ppsp_live_config *lc = c->live;
    bool injects = lc && lc->sign;
    if (!lc || c->id_len < 2 || lc->window < PPSP_LIVE_WINDOW_MIN ||
        (injects && (lc->munro_chunks < 2 || lc->munro_chunks > PPSP_MUNRO_CHUNKS_MAX ||
                     (lc->munro_chunks & (lc->munro_chunks - 1)) != 0)))
        return CV_ERR_INVAL;
    struct ppsp_live *l = calloc(1, sizeof *l);
    if (!l)
        return CV_ERR_NOMEM;
    enum cv_dnssec_alg alg = (enum cv_dnssec_alg)c->id[0];
    l->config = *lc;
    l->sign_all = c->integrity == PPSP_INTEGRITY_SIGN_ALL;
    if (cv_dnssec_public_new(alg, c->id + 1, c->id_len - 1, &l->key)) {
        free(l);
        return CV_ERR_INVAL;
    }
    ppsp_munros_init(&l->munros, l->sign_all ? 0 : s->hash_len,
                     cv_dnssec_signature_len(alg, c->id + 1, c->id_len - 1));
    s->live = l;
    s->config.live = &l->config;
    if (!l->sign_all)
        ppsp_tree_live(&s->tree, &l->munros);
    enum cv_err err = injects ? ppsp_inject_open(s) : CV_ERR_OK;
    if (!err && l->sign_all && !l->munros.width)
        err = ppsp_munros_begin(&l->munros, 1, l->config.window);
    if (err)
        ppsp_live_done(s);
    return err;
}

void ppsp_live_done(struct ppsp_swarm *s) {
    struct ppsp_live *l = s->live;
    if (!l)
        return;
    cv_dnssec_public_free(l->key);
    ppsp_munros_done(&l->munros);
    free(l->chunks);
    free(l->nodes);
    free(l);
    s->live = NULL;
}

/* ---- the window ------------------------------------------------------------------- */

static uint64_t whole_munros(const struct ppsp_live *l, uint64_t chunk) {
    return l->munros.width ? chunk - chunk % l->munros.width : chunk;
}

/* What lies before `first` is neither kept nor given nor asked for any more. Cutting the
 * beginning makes no set longer: it cannot fail, here and below. */
static void slide_to(struct ppsp_swarm *s, uint64_t first) {
    struct ppsp_live *l = s->live;
    struct ppsp_channel *c;
    if (first <= l->first)
        return;
    l->first = first;
    (void)ppsp_chunkset_remove(&s->have, 0, first - 1);
    (void)ppsp_chunkset_remove(&s->taken, 0, first - 1);
    TAILQ_FOREACH(c, &s->channels, of_swarm)
    (void)ppsp_chunkset_remove(&c->have, 0, first - 1);
}

static void slide(struct ppsp_swarm *s) {
    struct ppsp_live *l = s->live;
    uint64_t window = l->config.window;
    if (s->chunks > window)
        slide_to(s, whole_munros(l, s->chunks - window));
}

/* The first chunk from `at` on whose munro may be known still. */
static uint64_t remembered(const struct ppsp_live *l, uint64_t at) {
    const struct ppsp_munros *m = &l->munros;
    uint64_t oldest = m->newest > m->cap ? (m->newest - m->cap) * m->width : 0;
    return at > oldest ? at : oldest;
}

/* The first munro we know of at or behind the cursor, and in the window; NULL:
 * nothing is missing. */
static const struct ppsp_munro *first_missing(const struct ppsp_swarm *s) {
    const struct ppsp_live *l = s->live;
    const struct ppsp_munro *m = NULL;
    uint64_t from = remembered(l, l->cursor > l->first ? l->cursor : l->first);
    for (uint64_t at = from; at < s->chunks && !m; at = whole_munros(l, at) + l->munros.width)
        m = ppsp_munros_of(&l->munros, at);
    return m;
}

/* Nobody is to be asked for what lies before the cursor. */
static void give_up_old(struct ppsp_swarm *s) {
    struct ppsp_channel *c;
    TAILQ_FOREACH(c, &s->channels, of_swarm)
    for (uint64_t i = c->asked.head; i < c->asked.tail; i++) {
        struct ppsp_run r = *ppsp_flight_at(&c->asked, i);
        if (r.mask == 0 || r.first + 63 - (unsigned)__builtin_clzll(r.mask) >= s->live->cursor)
            continue;
        ppsp_fetch_give_up(c, i, UINT64_MAX);
        ppsp_fetch_cancel(c, r.first + (unsigned)__builtin_ctzll(r.mask),
                          r.first + 63 - (unsigned)__builtin_clzll(r.mask));
    }
}

/* Too slow: on from the newest munro. What the window passed, or nobody ever told
 * us of, as between two lives of the source, is only stepped over. */
static void drop_to_edge(struct ppsp_swarm *s, cv_usec now) {
    struct ppsp_live *l = s->live;
    const struct ppsp_munro *m = first_missing(s);
    bool late = m && cv_usec_since(now, m->at) > l->config.latency;
    if (!l->tuned || l->config.sign || (!late && l->cursor >= l->first))
        return;
    uint64_t from = l->cursor, to = whole_munros(l, s->chunks - 1);
    if (m && ppsp_bin_first(m->bin) > from)
        to = ppsp_bin_first(m->bin);
    if (to <= from)
        return;
    l->cursor = to;
    s->p->counters.live_dropped += to - from;
    give_up_old(s);
    ppsp_event_push(s->p, &(struct ppsp_event){.type = PPSP_EVENT_LIVE_DROPPED,
                                               .swarm = s->handle,
                                               .first = from,
                                               .last = to - 1,
                                               .edge = s->chunks});
    l->cursor = ppsp_chunkset_gap(&s->have, l->cursor);
}

void ppsp_live_edge(struct ppsp_swarm *s, cv_usec now, uint64_t end) {
    struct ppsp_live *l = s->live;
    if (end > s->chunks && !l->ended) {
        s->chunks = end;
        if (!l->tuned) {
            l->tuned = true;
            l->tuned_at = l->cursor = whole_munros(l, end - 1);
            ppsp_event_once(s, PPSP_EVENT_LIVE_TUNED, CV_ERR_OK);
        }
        slide(s);
        drop_to_edge(s, now);
    }
    ppsp_swarm_wake(s);
}

bool ppsp_live_shed(struct ppsp_swarm *s, cv_usec now) {
    uint64_t oldest = ppsp_chunkset_next(&s->have, 0);
    if (oldest == PPSP_CHUNK_NONE)
        return false;
    slide_to(s, ppsp_chunkset_around(&s->have, oldest).last + 1);
    drop_to_edge(s, now);
    return true;
}

/* Padding tells at first only that the end is not later; where it is is sure
 * once the chunk before it was verified. */
static void settle(struct ppsp_swarm *s) {
    struct ppsp_live *l = s->live;
    uint64_t last = s->chunks - 1;
    if (!l->ended || s->chunks == 0)
        return;
    if (!l->end_told && ppsp_chunkset_has(&s->have, last)) {
        l->end_told = true;
        if (!s->octets_sure)
            ppsp_swarm_size_exact(s, s->config.chunk_size); /* a short one told by itself */
        ppsp_event_once(s, PPSP_EVENT_LIVE_ENDED, CV_ERR_OK);
    }
    if (!s->complete && l->end_told && l->tuned && !l->config.sign && l->cursor >= s->chunks) {
        s->complete = true;
        ppsp_event_once(s, PPSP_EVENT_COMPLETE, CV_ERR_OK);
    }
}

void ppsp_live_end(struct ppsp_swarm *s, uint64_t chunks) {
    struct ppsp_live *l = s->live;
    if (l->ended && chunks >= s->chunks)
        return;
    l->ended = true;
    s->chunks = chunks;
    if (l->cursor > chunks)
        l->cursor = chunks;
    (void)ppsp_chunkset_remove(&s->taken, chunks, PPSP_CHUNKS_MAX);
    settle(s);
}

void ppsp_live_proven(struct ppsp_swarm *s) {
    if (!s->live->sign_all && s->tree.chunks < PPSP_CHUNKS_MAX - 1)
        ppsp_live_end(s, s->tree.chunks);
}

void ppsp_live_stored(struct ppsp_swarm *s) {
    struct ppsp_live *l = s->live;
    if (l->tuned)
        l->cursor = ppsp_chunkset_gap(&s->have, l->cursor);
    settle(s);
}

/* ---- munros ----------------------------------------------------------------------- */

/* We asked this peer for something under it: then it may be of any age. */
static bool asked_for(const struct ppsp_channel *c, const struct ppsp_range *r) {
    return ppsp_flight_any(&c->asked, r->first, r->last) ||
           ppsp_flight_any(&c->late, r->first, r->last);
}

static bool usable(const struct ppsp_live *l, const struct ppsp_signed_integrity *m, ppsp_bin bin) {
    uint64_t width = m->chunks.last - m->chunks.first + 1;
    return bin != PPSP_BIN_NONE && !l->config.sign && m->chunks.last >= l->first && width >= 2 &&
           width <= PPSP_MUNRO_CHUNKS_MAX && (!l->munros.width || width == l->munros.width);
}

static bool signature_ok(const struct ppsp_swarm *s, const struct ppsp_signed_integrity *m,
                         const uint8_t *what, size_t len, uint8_t *text, size_t cap) {
    const struct ppsp_live *l = s->live;
    size_t n = ppsp_munro_text(&s->spec, &m->chunks, m->ntp, what, len, text, cap);
    return n && cv_dnssec_verify(l->key, text, n, m->signature, l->munros.sig_len);
}

static void accept(struct ppsp_swarm *s, cv_usec now, const struct ppsp_signed_integrity *m,
                   ppsp_bin bin, const uint8_t *hash) {
    static const uint8_t zeros[CV_SHA_MAX];
    struct ppsp_live *l = s->live;
    if (!l->munros.width &&
        ppsp_munros_begin(&l->munros, (uint32_t)(m->chunks.last - m->chunks.first + 1),
                          l->config.window))
        return; /* no memory: it will be told again */
    if (!ppsp_munros_put(&l->munros, bin, m->ntp, now, hash, m->signature))
        return;
    if (!l->newest_ntp || (int64_t)(m->ntp - l->newest_ntp) > 0)
        l->newest_ntp = m->ntp;
    if (memcmp(hash, zeros, s->hash_len) != 0) {
        ppsp_live_edge(s, now, m->chunks.last + 1);
        return;
    }
    ppsp_live_edge(s, now, m->chunks.first); /* all padding: nothing follows */
    ppsp_live_end(s, m->chunks.first);
}

enum cv_err ppsp_live_signed(struct ppsp_channel *c, cv_usec now,
                             const struct ppsp_signed_integrity *m) {
    struct ppsp_swarm *s = c->swarm;
    struct ppsp *p = s->p;
    struct ppsp_live *l = s->live;
    if (l->sign_all)
        return ppsp_live_keep_signature(c, m);
    ppsp_bin bin = ppsp_bin_of_range(m->chunks.first, m->chunks.last);
    const uint8_t *hash = bin != PPSP_BIN_NONE ? ppsp_pending_get(c->pending, bin) : NULL;
    const struct ppsp_munro *known = ppsp_munros_get(&l->munros, bin);
    if (known && ppsp_bin_index(bin) + 1 > c->newest_heard)
        c->newest_heard = ppsp_bin_index(bin) + 1;
    bool beyond = l->ended && m->chunks.first >= s->chunks;
    if (!hash || !usable(l, m, bin) || beyond || known) {
        PPSP_COUNT(p, drop_munro);
        return CV_ERR_OK;
    }
    if (l->newest_ntp && ppsp_ntp_stale(m->ntp, l->newest_ntp) && !asked_for(c, &m->chunks)) {
        PPSP_COUNT(p, drop_munro_old);
        return CV_ERR_OK;
    }
    uint8_t text[16 + 8 + CV_SHA_MAX];
    if (!signature_ok(s, m, hash, s->hash_len, text, sizeof text)) {
        PPSP_COUNT(p, drop_munro_bad);
        return CV_ERR_AUTH;
    }
    accept(s, now, m, bin, hash);
    if (ppsp_bin_index(bin) + 1 > c->newest_heard)
        c->newest_heard = ppsp_bin_index(bin) + 1;
    return CV_ERR_OK;
}

void ppsp_live_shown(struct ppsp_channel *c, uint64_t last) {
    const struct ppsp_live *l = c->swarm->live;
    if (last + 1 > c->shown)
        c->shown = last + 1;
    if (c->shown > c->their_window)
        (void)ppsp_chunkset_remove(&c->have, 0, c->shown - c->their_window - 1);
    if (l->first)
        (void)ppsp_chunkset_remove(&c->have, 0, l->first - 1);
}

/* ---- what to fetch ------------------------------------------------------------------ */

uint32_t ppsp_live_window(const struct ppsp_channel *c, cv_usec now) {
    uint64_t rate = ppsp_rate_get(&c->down_rate, now) / c->swarm->config.chunk_size;
    uint64_t most = 2 * rate * (c->rtt + CV_MSEC(40)) / 1000000 + PPSP_LIVE_ASK;
    return (uint32_t)(most < c->window ? most : c->window);
}

static uint32_t holders(const struct ppsp_swarm *s, uint64_t chunk) {
    const struct ppsp_channel *c;
    uint32_t n = 0;
    TAILQ_FOREACH(c, &s->channels, of_swarm)
    n += c->state == PPSP_PEER_OPEN && ppsp_chunkset_has(&c->have, chunk);
    return n;
}

/* End of what is so late that order counts: half of the latency is gone. */
static uint64_t urgent_end(const struct ppsp_swarm *s, cv_usec now) {
    const struct ppsp_live *l = s->live;
    uint64_t at = remembered(l, l->cursor);
    while (at < s->chunks) {
        const struct ppsp_munro *m = ppsp_munros_of(&l->munros, at);
        if (m && cv_usec_since(now, m->at) <= l->config.latency / 2)
            break;
        at = whole_munros(l, at) + l->munros.width;
    }
    return at < s->chunks ? at : s->chunks;
}

/*
 * Sign All has no munros to tune in by: that a chunk exists is known when it is here
 * and its signature is right. So the edge is the newest chunk that was verified, and
 * beyond it each peer is asked for what it says itself, which harms nobody else when
 * it lies: near the edge for all of it, elsewhere, and before we tuned in, for its
 * newest chunk. Returns the end of what to ask it for.
 */
static uint64_t end_for(const struct ppsp_channel *c, bool *ret_probe) {
    const struct ppsp_swarm *s = c->swarm;
    const struct ppsp_live *l = s->live;
    *ret_probe = false;
    if (!l->sign_all || l->ended || c->shown <= s->chunks)
        return s->chunks;
    *ret_probe = !l->tuned || c->shown - s->chunks > PPSP_LIVE_AHEAD;
    return *ret_probe ? s->chunks : c->shown;
}

/* One at a time. */
static bool pick_probe(const struct ppsp_channel *c, struct ppsp_range *ret) {
    return ppsp_flight_empty(&c->asked) && ppsp_pick_open(c, c->shown - 1, c->shown - 1, 1, ret);
}

/* First what is late, in order; else what few have, so that peers who ask the
 * same few get different parts, and have something to give each other. */
bool ppsp_live_pick(struct ppsp_channel *c, cv_usec now, uint32_t max, struct ppsp_range *ret) {
    struct ppsp_swarm *s = c->swarm;
    const struct ppsp_live *l = s->live;
    bool probe;
    uint64_t chunks = end_for(c, &probe);
    if (l->config.sign)
        return false;
    if (probe && pick_probe(c, ret))
        return true;
    if (!l->tuned || l->cursor >= chunks)
        return false;
    max = max < PPSP_LIVE_PICK ? max : PPSP_LIVE_PICK;
    uint64_t late = urgent_end(s, now);
    if (late > l->cursor && ppsp_pick_open(c, l->cursor, late - 1, max, ret))
        return true;
    uint64_t span = chunks - l->cursor;
    uint32_t best = UINT32_MAX;
    struct ppsp_range range;
    for (unsigned i = 0; i < SAMPLES; i++) {
        uint64_t at = l->cursor + cv_rng_below(s->p->rng, span);
        at -= at % PPSP_LIVE_PICK;
        at = at > l->cursor ? at : l->cursor;
        uint64_t end = at - at % PPSP_LIVE_PICK + PPSP_LIVE_PICK - 1;
        end = end < chunks ? end : chunks - 1;
        if (!ppsp_pick_open(c, at, end, max, &range))
            continue;
        uint32_t n = holders(s, range.first);
        if (n >= best)
            continue;
        best = n;
        *ret = range;
    }
    return best != UINT32_MAX || ppsp_pick_open(c, l->cursor, chunks - 1, max, ret);
}

/* ---- giving ---------------------------------------------------------------------------- */

size_t ppsp_live_munro_len(const struct ppsp_swarm *s) {
    enum ppsp_addressing method = s->config.addressing;
    size_t hash = s->live->sign_all ? 0 : PPSP_INTEGRITY_LEN(method, s->hash_len);
    return hash + PPSP_SIGNED_LEN(method, s->live->munros.sig_len);
}

static void put_munro(const struct ppsp_swarm *s, struct cv_wr *w, const struct ppsp_munro *m) {
    struct ppsp_range chunks = {ppsp_bin_first(m->bin), ppsp_bin_last(m->bin)};
    if (!s->live->sign_all)
        ppsp_integrity_write(w, &s->spec, s->hash_len,
                             &(struct ppsp_integrity_hash){chunks, m->hash});
    ppsp_signed_write(w, &s->spec, s->live->munros.sig_len,
                      &(struct ppsp_signed_integrity){chunks, m->ntp, m->sig});
}

/* Section 6.1.2.4: until it indicated a chunk under this munro or a later one.
 * DEVIATION 7574 6.1.2.4: or sent us that munro itself. In a mesh of viewers that
 * is half of all munros. */
static const struct ppsp_munro *unknown_newest(const struct ppsp_channel *c) {
    const struct ppsp_live *l = c->swarm->live;
    const struct ppsp_munro *m = l->sign_all ? NULL : ppsp_munros_newest(&l->munros);
    return m && c->shown <= ppsp_bin_first(m->bin) && c->newest_heard < l->munros.newest ? m : NULL;
}

bool ppsp_live_munro_due(const struct ppsp_channel *c) {
    return unknown_newest(c) && c->newest_told < c->swarm->live->munros.newest;
}

void ppsp_live_put_newest(struct ppsp_channel *c, struct cv_wr *w) {
    const struct ppsp_munro *m = unknown_newest(c);
    if (!m || cv_wr_room(w) < ppsp_live_munro_len(c->swarm))
        return;
    put_munro(c->swarm, w, m);
    c->newest_told = c->swarm->live->munros.newest;
}

/* Section 6.1.2.3: unless the peer has a chunk with the same munro. */
static const struct ppsp_munro *needed(const struct ppsp_channel *c, uint64_t chunk) {
    const struct ppsp_munro *m = ppsp_munros_of(&c->swarm->live->munros, chunk);
    return m && !ppsp_chunkset_any(&c->have, ppsp_bin_first(m->bin), ppsp_bin_last(m->bin)) ? m
                                                                                            : NULL;
}

void ppsp_live_put_munro_of(struct ppsp_channel *c, struct cv_wr *w, uint64_t chunk) {
    const struct ppsp_munro *m = needed(c, chunk);
    if (m)
        put_munro(c->swarm, w, m);
}

uint32_t ppsp_live_munro_slots(const struct ppsp_swarm *s, size_t room, uint64_t chunks) {
    uint64_t munros = chunks / s->live->munros.width + 2,
             most = (room - 4) / ppsp_live_munro_len(s);
    return (uint32_t)(munros / most + 1);
}

enum cv_err ppsp_live_send_munros(struct ppsp_channel *c, cv_usec now, struct cv_batch *b,
                                  size_t room, uint64_t first, uint64_t last) {
    const struct ppsp_swarm *s = c->swarm;
    uint32_t width = s->live->munros.width;
    uint64_t at = first - first % width;
    while (at <= last) {
        uint8_t *slot = cv_batch_slot(b);
        if (!slot)
            return CV_ERR_NOBUFS;
        struct cv_wr w = cv_wr_init(slot, room);
        cv_wr_be32(&w, c->remote);
        for (; at <= last && cv_wr_room(&w) >= ppsp_live_munro_len(s); at += width)
            ppsp_live_put_munro_of(c, &w, at);
        assert(!w.err);
        if (cv_wr_len(&w) > 4)
            ppsp_commit(c, now, b, cv_wr_len(&w));
    }
    return CV_ERR_OK;
}

/* ---- Sign All ---------------------------------------------------------------------------- */

enum cv_err ppsp_live_keep_signature(struct ppsp_channel *c,
                                     const struct ppsp_signed_integrity *m) {
    struct ppsp_swarm *s = c->swarm;
    const struct ppsp_live *l = s->live;
    if (m->chunks.first != m->chunks.last || !ppsp_chunkset_has(&s->taken, m->chunks.first)) {
        PPSP_COUNT(s->p, drop_munro);
        return CV_ERR_OK;
    }
    if (!c->signatures) {
        if (!(c->signatures = calloc(PPSP_SIGNATURES, sizeof *c->signatures)))
            return CV_ERR_OK;
        for (unsigned i = 0; i < PPSP_SIGNATURES; i++)
            c->signatures[i].chunk = PPSP_CHUNK_NONE;
    }
    struct ppsp_signature *g = &c->signatures[m->chunks.first % PPSP_SIGNATURES];
    g->chunk = m->chunks.first;
    g->ntp = m->ntp;
    memcpy(g->octets, m->signature, l->munros.sig_len);
    return CV_ERR_OK;
}

enum cv_err ppsp_live_check(struct ppsp_channel *c, cv_usec now, uint64_t chunk,
                            const uint8_t *content, size_t len) {
    struct ppsp_swarm *s = c->swarm;
    struct ppsp_live *l = s->live;
    struct ppsp_signature *g = c->signatures ? &c->signatures[chunk % PPSP_SIGNATURES] : NULL;
    if (!g || g->chunk != chunk)
        return CV_ERR_NOENT;
    g->chunk = PPSP_CHUNK_NONE;
    struct ppsp_signed_integrity m = {{chunk, chunk}, g->ntp, g->octets};
    if (!signature_ok(s, &m, content, len, s->p->scratch, s->p->scratch_size)) {
        PPSP_COUNT(s->p, drop_munro_bad);
        return CV_ERR_AUTH;
    }
    (void)ppsp_munros_put(&l->munros, ppsp_bin_leaf(chunk), g->ntp, now, NULL, g->octets);
    if (!l->newest_ntp || (int64_t)(g->ntp - l->newest_ntp) > 0)
        l->newest_ntp = g->ntp;
    if (chunk >= s->chunks)
        ppsp_live_edge(s, now, chunk + 1);
    return CV_ERR_OK;
}
