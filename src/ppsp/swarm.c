/* One content: opening, what readers want of it, what is known of its size. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ppsp/engine.h"

/* ---- opening and closing ---------------------------------------------------- */

static bool is_live(const struct ppsp_swarm_config *c) {
    return c->integrity == PPSP_INTEGRITY_SIGN_ALL || c->integrity == PPSP_INTEGRITY_UNIFIED;
}

static bool config_ok(const struct ppsp_swarm_config *c) {
    bool method_ok = c->integrity == PPSP_INTEGRITY_MERKLE ||
                     (c->integrity == PPSP_INTEGRITY_NONE && c->unprotected);
    bool id_ok = is_live(c) ? c->id_len >= 2 && c->id_len <= PPSP_ID_MAX
                            : method_ok && cv_sha_len(c->hash) == c->id_len;
    return id_ok && cv_sha_len(c->hash) > 0 && ppsp_spec_len(c->addressing) > 0 &&
           c->chunk_size >= PPSP_CHUNK_SIZE_MIN && c->chunk_size <= PPSP_CHUNK_SIZE_MAX && c->store;
}

static bool count_ok(const struct ppsp_swarm *s, uint64_t chunks) {
    return chunks > 0 && chunks < PPSP_CHUNKS_MAX && chunks <= ppsp_spec_chunks_max(&s->spec);
}

static void set_chunks(struct ppsp_swarm *s, uint64_t chunks) {
    struct ppsp_channel *c;
    s->chunks = chunks;
    ppsp_tree_size(&s->tree, chunks);
    ppsp_chunkset_bound(&s->have, chunks);
    ppsp_chunkset_bound(&s->taken, chunks);
    TAILQ_FOREACH(c, &s->channels, of_swarm) {
        ppsp_chunkset_bound(&c->have, chunks);
        ppsp_flight_take(&c->asked, chunks, UINT64_MAX, false);
    }
    for (unsigned i = 0; i < PPSP_WANTS; i++)
        if (s->wants[i].last >= chunks)
            s->wants[i].last = chunks - 1;
    ppsp_swarm_wake(s);
}

static enum cv_err load_have(struct ppsp_swarm *s) {
    size_t words = (size_t)(s->chunks / 64 + (s->chunks % 64 != 0));
    uint64_t *map = calloc(words, sizeof *map);
    if (!map)
        return CV_ERR_NOMEM;
    enum cv_err err = s->config.store->have_load(s->config.store_ctx, map, words);
    if (!err)
        err = ppsp_chunkset_load(&s->have, map);
    if (!err)
        err = ppsp_chunkset_load(&s->taken, map);
    free(map);
    return err;
}

/* No tree says how long unprotected content is: its owner does, and no peer. */
static enum cv_err load_unprotected(struct ppsp_swarm *s, const struct ppsp_store_size *size) {
    uint64_t octets = size->octets ? size->octets : s->config.length;
    uint64_t chunk_size = s->config.chunk_size;
    uint64_t chunks = octets / chunk_size + (octets % chunk_size != 0);
    if (!count_ok(s, chunks) || (s->config.length && s->config.length != octets))
        return CV_ERR_INVAL;
    set_chunks(s, chunks);
    s->octets = s->spec.octets = octets;
    s->octets_sure = true;
    struct ppsp_store_size sure = {.chunks = chunks, .octets = octets};
    enum cv_err err =
        size->octets ? load_have(s) : s->config.store->set_size(s->config.store_ctx, &sure);
    s->complete = s->have.count == s->chunks;
    return err;
}

/* What the store has counts only when its tree is the tree of this swarm. */
static enum cv_err load(struct ppsp_swarm *s) {
    struct ppsp_store_size size = {0};
    enum cv_err err = s->config.store->size(s->config.store_ctx, &size);
    if (err)
        return err;
    if (s->config.integrity == PPSP_INTEGRITY_NONE)
        return load_unprotected(s, &size);
    uint64_t length = s->config.length, chunk_size = s->config.chunk_size;
    uint64_t chunks = length / chunk_size + (length % chunk_size != 0);
    if (size.chunks == 0) {
        if (chunks == 0)
            return CV_ERR_OK;
        if (!count_ok(s, chunks))
            return CV_ERR_INVAL;
        set_chunks(s, chunks);
        s->octets = length;
        return CV_ERR_OK;
    }
    if (!count_ok(s, size.chunks))
        return CV_ERR_CORRUPT;
    set_chunks(s, size.chunks);
    err = load_have(s);
    if (err)
        return err;
    err = ppsp_tree_prove_stored(&s->tree);
    if (err == CV_ERR_CORRUPT && s->have.count == 0)
        err = CV_ERR_OK; /* nothing rests on it: the peers' peaks will tell */
    s->octets = size.octets ? size.octets : chunks == size.chunks ? length : 0;
    s->octets_sure = size.octets != 0 && ppsp_chunkset_has(&s->have, s->chunks - 1);
    s->spec.octets = s->octets_sure ? s->octets : 0;
    s->complete = s->have.count == s->chunks;
    return err;
}

/* Ids are long, some of them: the table goes by their hash. */
void ppsp_id_key(const uint8_t *id, size_t len, uint8_t ret[PPSP_ID_KEY]) {
    CV_BLAKE2B(ret, PPSP_ID_KEY, NULL, 0, {id, len});
}

bool ppsp_swarm_meets(const struct ppsp_swarm *s, const struct cv_endpoint *ep) {
    return s->config.integrity != PPSP_INTEGRITY_NONE ||
           (ep->kind == CV_ENDPOINT_UDP && !cv_addr_is_public(&ep->addr));
}

void ppsp_swarm_chunkset(const struct ppsp_swarm *s, struct ppsp_chunkset *set) {
    if (s->live)
        ppsp_chunkset_unbound(set);
    else if (s->chunks)
        ppsp_chunkset_bound(set, s->chunks);
}

enum cv_err ppsp_swarm_mark(struct ppsp_swarm *s, cv_usec now, struct ppsp_chunkset *set,
                            uint64_t first, uint64_t last) {
    for (;;) {
        if (s->live && first < s->live->first)
            first = s->live->first;
        enum cv_err err = first <= last ? ppsp_chunkset_add(set, first, last) : CV_ERR_OK;
        if (err != CV_ERR_LIMIT || !s->live || !ppsp_live_shed(s, now))
            return err;
    }
}

static void bucket(struct cv_tokenbucket *b, uint64_t rate, uint32_t chunk_size, cv_usec now) {
    if (rate == 0)
        rate = UINT64_MAX;
    /* Twice what is served at a time (serve.c), which waits up to twice as long as it
     * must: a smaller bucket would spill meanwhile. */
    uint64_t burst = rate / 20, least = (uint64_t)8 * chunk_size;
    cv_tokenbucket_init(b, rate, burst < least ? least : burst, now);
}

static bool holds(const void *ctx, uint64_t first, uint64_t last) {
    const struct ppsp_swarm *s = ctx;
    if (ppsp_stage_any(s, first, last))
        return true;
    return s->have.count == s->chunks ||
           (s->have.count && ppsp_chunkset_any(&s->have, first, last));
}

static struct ppsp_swarm *swarm_new(struct ppsp *p, const struct ppsp_swarm_config *config,
                                    cv_usec now) {
    struct ppsp_swarm *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->p = p;
    s->config = *config;
    s->spec =
        (struct ppsp_chunkspec){.method = config->addressing, .chunk_size = config->chunk_size};
    s->hash_len = cv_sha_len(config->hash);
    s->timer.of_swarm = true;
    s->commit_at = s->news_at = s->slots_at = CV_USEC_NEVER;
    s->stage_max = PPSP_STAGE_OCTETS / config->chunk_size;
    s->stage_max = s->stage_max > PPSP_STAGE_CHUNKS ? PPSP_STAGE_CHUNKS : s->stage_max;
    TAILQ_INIT(&s->channels);
    ppsp_tree_init(&s->tree, config->hash, config->id, config->store, config->store_ctx);
    ppsp_tree_trust(&s->tree, holds, s);
    ppsp_chunkset_init(&s->have);
    ppsp_chunkset_init(&s->taken);
    bucket(&s->upload, config->upload_limit, config->chunk_size, now);
    bucket(&s->download, config->download_limit, config->chunk_size, now);
    return s;
}

/* What a live swarm had before is not of interest: a viewer tunes in anew. */
static enum cv_err load_live(struct ppsp_swarm *s) {
    enum cv_err err = ppsp_live_open(s);
    if (err)
        return err;
    ppsp_chunkset_init(&s->have);
    ppsp_chunkset_init(&s->taken);
    ppsp_swarm_chunkset(s, &s->have);
    ppsp_swarm_chunkset(s, &s->taken);
    return CV_ERR_OK;
}

static void swarm_free(struct ppsp_swarm *s) {
    ppsp_live_done(s);
    ppsp_membership_done(&s->membership);
    ppsp_tree_done(&s->tree);
    ppsp_chunkset_done(&s->have);
    ppsp_chunkset_done(&s->taken);
    ppsp_stage_done(s);
    free(s);
}

enum cv_err ppsp_swarm_open(struct ppsp *p, struct cv_now now,
                            const struct ppsp_swarm_config *config, cv_handle *ret) {
    assert(now.mono >= p->last_now);
    uint8_t key[PPSP_ID_KEY];
    uint32_t i;
    if (!config_ok(config))
        return CV_ERR_INVAL;
    ppsp_id_key(config->id, config->id_len, key);
    if (cv_map_get(p->by_id, key))
        return CV_ERR_EXIST;
    for (i = 0; i < p->config.swarms_max && p->swarms[i]; i++)
        ;
    if (i == p->config.swarms_max)
        return CV_ERR_LIMIT;
    struct ppsp_swarm *s = swarm_new(p, config, now.mono);
    if (!s)
        return CV_ERR_NOMEM;
    s->config.authority = NULL; /* what it said is in s->membership */
    enum cv_err err = CV_ERR_OK;
    if (config->authority)
        err = ppsp_membership_init(&s->membership, config->authority, config->id, config->id_len);
    if (!err)
        err = is_live(config) ? load_live(s) : load(s);
    if (!err)
        err = cv_map_put(p->by_id, key, s);
    if (err) {
        swarm_free(s);
        return err;
    }
    s->handle = (cv_handle)++p->generations[i] << 32 | i;
    p->swarms[i] = s;
    ppsp_tree_idle(&s->tree);
    *ret = s->handle;
    return CV_ERR_OK;
}

struct ppsp_swarm *ppsp_swarm_find(const struct ppsp *p, cv_handle handle) {
    uint32_t i = (uint32_t)handle;
    if (i >= p->config.swarms_max || !p->swarms[i] || p->swarms[i]->handle != handle)
        return NULL;
    return p->swarms[i];
}

void ppsp_swarm_close(struct ppsp *p, struct cv_now now, cv_handle swarm) {
    struct ppsp_swarm *s = ppsp_swarm_find(p, swarm);
    if (!s)
        return;
    ppsp_stage_flush(s, now.mono);
    (void)ppsp_tree_flush(&s->tree);
    while (!TAILQ_EMPTY(&s->channels))
        ppsp_channel_free(TAILQ_FIRST(&s->channels), true);
    if (s->uncommitted)
        (void)s->config.store->commit(s->config.store_ctx);
    ppsp_half_open_forget(p, s);
    ppsp_stage_done(s);
    cv_heap_remove(&p->timers, &s->timer.t);
    uint8_t key[PPSP_ID_KEY];
    ppsp_id_key(s->config.id, s->config.id_len, key);
    (void)cv_map_del(p->by_id, key);
    p->swarms[(uint32_t)swarm] = NULL;
    ppsp_event_forget(s);
    swarm_free(s);
}

void ppsp_swarm_wake(struct ppsp_swarm *s) {
    struct ppsp_channel *c;
    TAILQ_FOREACH(c, &s->channels, of_swarm) {
        c->idle_until = 0;
        if (c->state == PPSP_PEER_OPEN)
            ppsp_channel_wake(c);
    }
}

void ppsp_swarm_withdraw(struct ppsp_swarm *s, enum cv_err why) {
    struct ppsp_channel *c;
    s->config.serve = false;
    TAILQ_FOREACH(c, &s->channels, of_swarm)
    c->queued = 0;
    ppsp_event_once(s, PPSP_EVENT_STORE_ERROR, why);
}

cv_usec ppsp_swarm_unreadable(struct ppsp_swarm *s, enum cv_err why) {
    if (why == CV_ERR_AGAIN || why == CV_ERR_NOMEM)
        return PPSP_STORE_RETRY;
    if (!s->unreadable)
        ppsp_event_once(s, PPSP_EVENT_STORE_ERROR, why);
    s->unreadable = true;
    return PPSP_STORE_REREAD;
}

void ppsp_swarm_ready(struct ppsp *p, struct cv_now now, cv_handle swarm) {
    struct ppsp_swarm *s = ppsp_swarm_find(p, swarm);
    if (!s)
        return;
    s->paused = false;
    s->retry_at = 0;
    ppsp_stage_flush(s, now.mono);
    ppsp_swarm_wake(s);
}

void ppsp_swarm_limits(struct ppsp *p, struct cv_now now, cv_handle swarm, uint64_t upload_limit,
                       uint64_t download_limit) {
    struct ppsp_swarm *s = ppsp_swarm_find(p, swarm);
    if (!s)
        return;
    s->config.upload_limit = upload_limit;
    bucket(&s->upload, upload_limit, s->config.chunk_size, now.mono);
    bucket(&s->download, download_limit, s->config.chunk_size, now.mono);
    struct ppsp_channel *c;
    TAILQ_FOREACH(c, &s->channels, of_swarm)
    c->held_until = 0; /* it waited for another limit */
    ppsp_swarm_wake(s);
}

void ppsp_swarm_fetch_all(struct ppsp *p, struct cv_now now, cv_handle swarm, bool fetch_all) {
    struct ppsp_swarm *s = ppsp_swarm_find(p, swarm);
    (void)now;
    if (!s || s->config.fetch_all == fetch_all)
        return;
    s->config.fetch_all = fetch_all;
    if (!fetch_all)
        ppsp_fetch_refocus(s);
    ppsp_swarm_wake(s);
}

/* ---- wants -------------------------------------------------------------------- */

enum cv_err ppsp_want(struct ppsp *p, struct cv_now now, cv_handle swarm, uint64_t first,
                      uint64_t last, cv_usec due, uint64_t rate, ppsp_want_id *ret) {
    struct ppsp_swarm *s = ppsp_swarm_find(p, swarm);
    unsigned i;
    (void)now;
    if (!s)
        return CV_ERR_NOENT;
    if (first > last || s->live)
        return CV_ERR_INVAL;
    for (i = 0; i < PPSP_WANTS && s->wants[i].id; i++)
        ;
    if (i == PPSP_WANTS)
        return CV_ERR_LIMIT;
    uint64_t a = first / s->config.chunk_size, b = last / s->config.chunk_size;
    if (s->chunks && b >= s->chunks)
        b = s->chunks - 1;
    if (++s->last_want == 0)
        s->last_want = 1;
    s->wants[i] = (struct ppsp_want_entry){
        .id = s->last_want, .first = a, .last = b, .due = due, .rate = rate};
    ppsp_fetch_refocus(s);
    ppsp_swarm_wake(s);
    *ret = s->last_want;
    return CV_ERR_OK;
}

void ppsp_unwant(struct ppsp *p, struct cv_now now, cv_handle swarm, ppsp_want_id want) {
    struct ppsp_swarm *s = ppsp_swarm_find(p, swarm);
    (void)now;
    if (!s || want == 0)
        return;
    for (unsigned i = 0; i < PPSP_WANTS; i++) {
        if (s->wants[i].id != want)
            continue;
        s->wants[i] = (struct ppsp_want_entry){0};
        ppsp_fetch_refocus(s);
        ppsp_swarm_wake(s);
        return;
    }
}

bool ppsp_swarm_hungry(const struct ppsp_swarm *s) {
    if (s->complete || s->paused)
        return false;
    if (s->live)
        return !s->live->config.sign;
    if (s->config.fetch_all)
        return true;
    for (unsigned i = 0; i < PPSP_WANTS; i++) {
        const struct ppsp_want_entry *w = &s->wants[i];
        if (w->id && w->first <= w->last && !ppsp_chunkset_covers(&s->have, w->first, w->last))
            return true;
    }
    return false;
}

/* ---- size --------------------------------------------------------------------- */

size_t ppsp_swarm_chunk_len(const struct ppsp_swarm *s, uint64_t chunk) {
    if (s->live && !s->octets_sure)
        return 0;
    if (s->chunks && chunk + 1 < s->chunks)
        return s->config.chunk_size;
    if (s->chunks && s->octets_sure)
        return (size_t)(s->octets - (s->chunks - 1) * s->config.chunk_size);
    return 0;
}

bool ppsp_swarm_size_proven(struct ppsp_swarm *s, cv_usec now, uint64_t chunks) {
    if (s->chunks && s->chunks != chunks) {
        /* Without domain separation a tree of another height can be made up from
         * this one: a trusted length wins over proven peaks. */
        if (!s->size_differs_told)
            ppsp_event_once(s, PPSP_EVENT_SIZE_KNOWN, CV_ERR_DIFFERS);
        s->size_differs_told = true;
        return false;
    }
    if (!count_ok(s, chunks))
        return false;
    if (s->chunks == 0)
        set_chunks(s, chunks);
    struct ppsp_store_size size = {.chunks = chunks};
    enum cv_err err = s->config.store->set_size(s->config.store_ctx, &size);
    if (err)
        ppsp_stage_failed(s, now, err);
    s->tree.proven = !err;
    return !err;
}

/* The last chunk is verified: now the length is exact (section 5.6.2). */
void ppsp_swarm_size_exact(struct ppsp_swarm *s, size_t len) {
    uint64_t octets = (s->chunks - 1) * s->config.chunk_size + len;
    bool differs = s->octets && s->octets != octets;
    s->octets = octets;
    s->octets_sure = true;
    s->spec.octets = octets;
    struct ppsp_store_size size = {.chunks = s->chunks, .octets = octets};
    (void)s->config.store->set_size(s->config.store_ctx, &size);
    ppsp_event_once(s, PPSP_EVENT_SIZE_KNOWN, differs ? CV_ERR_DIFFERS : CV_ERR_OK);
}

/* ---- time ---------------------------------------------------------------------- */

void ppsp_swarm_reschedule(struct ppsp_swarm *s) {
    cv_usec at = cv_usec_min(s->commit_at, s->news_at);
    at = cv_usec_min(at, ppsp_reciprocity_next(s));
    if (s->retry_at)
        at = cv_usec_min(at, s->retry_at);
    if (s->untake_at)
        at = cv_usec_min(at, s->untake_at);
    if (at != s->timer.t.at || !cv_timer_queued(&s->timer.t))
        (void)cv_heap_set(&s->p->timers, &s->timer.t, at);
}

void ppsp_swarm_on_timeout(struct ppsp_swarm *s, cv_usec now) {
    if (s->retry_at && now >= s->retry_at) {
        ppsp_stage_flush(s, now);
        ppsp_swarm_wake(s);
    }
    ppsp_swarm_untake_again(s, now);
    ppsp_stage_commit(s, now);
    ppsp_reciprocity_work(s, now);
    if (now >= s->news_at) {
        s->news_at = CV_USEC_NEVER;
        ppsp_swarm_wake(s);
    }
    ppsp_swarm_reschedule(s);
}
