/*
 * The way of verified chunks into the store. Consecutive chunks gather in a
 * segment, so that a batch of datagrams becomes one write; while the store is
 * busy several segments wait, and nothing more is asked for. Only what is
 * written counts as had, is told to others and given to them.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ppsp/engine.h"

static struct ppsp_segment *segment_at(const struct ppsp_swarm *s, uint32_t i) {
    return s->segments[(s->segment_head + i) % PPSP_STAGE_SEGMENTS];
}

bool ppsp_stage_any(const struct ppsp_swarm *s, uint64_t first, uint64_t last) {
    for (uint32_t i = 0; i < s->segment_count; i++) {
        const struct ppsp_segment *g = segment_at(s, i);
        if (first < g->first + g->count && last >= g->first)
            return true;
    }
    return false;
}

/* Takes the oldest segment off; its memory is kept for the next. */
static void pop(struct ppsp_swarm *s) {
    struct ppsp_segment *g = segment_at(s, 0);
    s->segment_head = (s->segment_head + 1) % PPSP_STAGE_SEGMENTS;
    s->segment_count--;
    if (s->segment_count == 0)
        TAILQ_REMOVE(&s->p->staged, s, in_staged);
    free(s->spare);
    s->spare = g;
}

void ppsp_stage_done(struct ppsp_swarm *s) {
    while (s->segment_count)
        pop(s);
    free(s->spare);
    s->spare = NULL;
}

/* ---- what the store may answer ------------------------------------------------ */

/* Nothing can be stored: what was verified but not written is forgotten. */
static void pause_fetching(struct ppsp_swarm *s, enum cv_err err) {
    struct ppsp_channel *c;
    for (uint32_t i = 0; i < s->segment_count; i++) {
        const struct ppsp_segment *g = segment_at(s, i);
        ppsp_swarm_untake(s, g->first, g->first + g->count - 1);
        s->p->counters.drop_data_store += g->count;
    }
    ppsp_stage_done(s);
    TAILQ_FOREACH(c, &s->channels, of_swarm) {
        c->ack_count = c->ack_chunks = 0;
        c->ack_at = CV_USEC_NEVER;
        ppsp_fetch_release(c);
    }
    if (!s->paused)
        ppsp_event_once(s, PPSP_EVENT_STORE_ERROR, err);
    s->paused = true;
}

void ppsp_stage_failed(struct ppsp_swarm *s, cv_usec now, enum cv_err err) {
    if (err == CV_ERR_AGAIN || err == CV_ERR_NOMEM)
        s->retry_at = cv_usec_add(now, PPSP_STORE_RETRY);
    else
        pause_fetching(s, err);
    ppsp_swarm_reschedule(s);
}

/* ---- writing -------------------------------------------------------------------- */

static void tell_news(struct ppsp_swarm *s, cv_usec now, uint64_t first, uint64_t last) {
    struct ppsp_range *before = s->news_count ? &s->news[(s->news_count - 1) % PPSP_NEWS] : NULL;
    if (before && before->last + 1 == first && s->news_at != CV_USEC_NEVER)
        before->last = last;
    else
        s->news[s->news_count++ % PPSP_NEWS] = (struct ppsp_range){first, last};
    if (s->news_at == CV_USEC_NEVER)
        s->news_at = cv_usec_add(now, PPSP_HAVE_DELAY);
}

static void stored(struct ppsp_swarm *s, cv_usec now, uint64_t first, uint64_t last, size_t len) {
    s->down += len;
    ppsp_rate_add(&s->down_rate, now, len);
    ppsp_event_push(s->p, &(struct ppsp_event){.type = PPSP_EVENT_CHUNKS_READY,
                                               .swarm = s->handle,
                                               .first = first,
                                               .last = last,
                                               .edge = s->chunks});
    tell_news(s, now, first, last);
    if (s->uncommitted == 0)
        s->commit_at = cv_usec_add(now, PPSP_COMMIT_DELAY);
    s->uncommitted += len;
    if (s->live)
        ppsp_live_stored(s);
    else
        s->complete = s->have.count == s->chunks;
    if (s->complete || s->uncommitted >= PPSP_COMMIT_OCTETS)
        s->commit_at = now;
    if (s->complete && !s->live)
        ppsp_event_once(s, PPSP_EVENT_COMPLETE, CV_ERR_OK);
}

void ppsp_stage_commit(struct ppsp_swarm *s, cv_usec now) {
    if (now < s->commit_at)
        return;
    enum cv_err err = ppsp_tree_flush(&s->tree);
    if (!err)
        err = s->config.store->commit(s->config.store_ctx);
    if (err) {
        s->commit_at = cv_usec_add(now, PPSP_STORE_RETRY);
        return;
    }
    s->uncommitted = 0;
    s->commit_at = CV_USEC_NEVER;
}

/* The oldest segment. Hashes first: a chunk without its hashes could not be
 * given away. */
static enum cv_err write_one(struct ppsp_swarm *s, cv_usec now) {
    const struct ppsp_segment *g = segment_at(s, 0);
    uint64_t first = g->first, last = first + g->count - 1;
    size_t len = g->len;
    enum cv_err err = ppsp_tree_flush(&s->tree);
    if (!err)
        err = s->config.store->write_chunks(s->config.store_ctx, first, g->count, g->data, len);
    if (!err)
        err = ppsp_swarm_mark(s, now, &s->have, first, last);
    if (err)
        return err;
    pop(s);
    if (!s->live || last >= s->live->first) /* else the window passed it while it waited */
        stored(s, now, first, last, len);
    return CV_ERR_OK;
}

void ppsp_stage_flush(struct ppsp_swarm *s, cv_usec now) {
    if (s->paused || (s->retry_at && now < s->retry_at))
        return;
    bool was_busy = s->retry_at != 0;
    s->retry_at = 0;
    if (s->segment_count == 0)
        return;
    while (s->segment_count) {
        enum cv_err err = write_one(s, now);
        if (err) {
            ppsp_stage_failed(s, now, err);
            return;
        }
    }
    ppsp_stage_commit(s, now);
    ppsp_swarm_reschedule(s);
    if (was_busy)
        ppsp_swarm_wake(s);
}

/* ---- gathering ------------------------------------------------------------------ */

static enum cv_err push(struct ppsp_swarm *s, uint64_t first) {
    if (s->segment_count == PPSP_STAGE_SEGMENTS)
        return CV_ERR_AGAIN;
    struct ppsp_segment *g = s->spare;
    if (!g)
        g = malloc(sizeof *g + (size_t)s->stage_max * s->config.chunk_size);
    if (!g)
        return CV_ERR_NOMEM;
    s->spare = NULL;
    g->first = first;
    g->count = 0;
    g->len = 0;
    if (s->segment_count == 0)
        TAILQ_INSERT_TAIL(&s->p->staged, s, in_staged);
    s->segments[(s->segment_head + s->segment_count++) % PPSP_STAGE_SEGMENTS] = g;
    return CV_ERR_OK;
}

static struct ppsp_segment *youngest(const struct ppsp_swarm *s) {
    return s->segment_count ? segment_at(s, s->segment_count - 1) : NULL;
}

static bool joins(const struct ppsp_swarm *s, const struct ppsp_segment *g, uint64_t chunk) {
    return g && g->count < s->stage_max && chunk == g->first + g->count;
}

enum cv_err ppsp_stage_add(struct ppsp_swarm *s, cv_usec now, uint64_t chunk,
                           const uint8_t *content, size_t len) {
    if (!s->paused && s->segment_count && !joins(s, youngest(s), chunk))
        ppsp_stage_flush(s, now);
    if (s->paused)
        return CV_ERR_FULL;
    bool asked = ppsp_chunkset_has(&s->taken, chunk); /* else it was given up, and came late */
    enum cv_err err = ppsp_swarm_mark(s, now, &s->taken, chunk, chunk);
    if (!err && !joins(s, youngest(s), chunk))
        err = push(s, chunk);
    if (err && !asked) /* or nobody would be asked for it again */
        ppsp_swarm_untake(s, chunk, chunk);
    if (err)
        return err;
    if (s->live && len < s->config.chunk_size) /* only the last of all can be */
        ppsp_live_end(s, chunk + 1);
    struct ppsp_segment *g = youngest(s);
    memcpy(g->data + g->len, content, len);
    g->count++;
    g->len += len;
    if (chunk + 1 == s->chunks && !s->octets_sure && (!s->live || s->live->ended))
        ppsp_swarm_size_exact(s, len);
    return CV_ERR_OK;
}
