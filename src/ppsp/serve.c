/*
 * Giving: what a peer asked for, in order, as fast as LEDBAT allows. Chunks go
 * by groups of 16: first the hashes that the peer cannot know yet, then the
 * chunks, all in datagrams of the same size. A circuit carries one datagram in
 * a cell whatever its size, so there the hash of a chunk's neighbour travels
 * with it and only the higher hashes go ahead (RFC 7574 sections 5.3 and 5.4).
 */
#include <assert.h>
#include <string.h>

#include "ppsp/engine.h"

enum {
    GROUPS = PPSP_BURST_CHUNKS / PPSP_GROUP_CHUNKS,
    PORTION = 4, /* chunks, under an upload limit */
    SINGLY = 3,  /* chunks of a window that go one by one */
    NODES_MAX = 48 + 64 + PPSP_PAGE_NODES,
};

/* ---- what was sent before ------------------------------------------------------- */

/* Sent, neither acknowledged nor awaited any more: sent again, it says nothing
 * about the round trip. Chunk numbers say nothing either: who takes the rarest
 * first asks in any order. */
static void gone(struct ppsp_channel *c, uint64_t first, uint64_t mask, cv_usec at) {
    if (!mask)
        return;
    if (c->gone.tail - c->gone.head >= PPSP_GONE_RUNS)
        (void)ppsp_flight_clear(&c->gone, c->gone.head, UINT64_MAX);
    (void)ppsp_flight_push(&c->gone, first, mask, at, true);
}

static bool any_gone(const struct ppsp_channel *c, uint64_t first, uint64_t last) {
    return ppsp_flight_any(&c->gone, first, last);
}

/* Lost, or asked for again: takes chunks of a run out of what is under way. */
static void lose(struct ppsp_channel *c, cv_usec now, uint64_t run, uint64_t first, uint64_t last) {
    struct ppsp_run was = *ppsp_flight_at(&c->sent, run);
    uint64_t mask = ppsp_run_part(&was, first, last);
    if (!mask)
        return;
    (void)ppsp_flight_clear(&c->sent, run, mask);
    uint64_t chunks = (uint64_t)__builtin_popcountll(mask);
    gone(c, was.first, mask, was.at);
    c->group_valid = false;
    ppsp_ledbat_lost(&c->cc, now, was.at, chunks * c->cc.mss);
}

/* ---- who acknowledges what it did not get ---------------------------------------- */

/*
 * A receiver that acknowledges chunks before they arrive makes us send faster
 * than its network carries. So now and then a chunk inside a long range is left
 * out; an honest peer asks for it again (or says that it has it, or does not want
 * it any more), and only then may it be acknowledged. Returns how many chunks of
 * the burst are sent before the one that is left out; 0: none is.
 */
static uint32_t withhold(const struct ppsp_channel *c, uint64_t first, uint32_t n, uint64_t last) {
    if (c->withheld != PPSP_CHUNK_NONE || last - first < n + PPSP_WITHHOLD_RANGE)
        return 0;
    uint64_t at = 1 + cv_rng_below(c->swarm->p->rng, PPSP_WITHHOLD);
    return at <= n ? (uint32_t)at : 0;
}

static bool is_withheld(const struct ppsp_channel *c, const struct ppsp_range *r) {
    return c->withheld != PPSP_CHUNK_NONE && c->withheld >= r->first && c->withheld <= r->last;
}

/* It noticed that the chunk did not come: it asks again, or has it from somebody else. */
static void honest_about_it(struct ppsp_channel *c) {
    c->withheld = PPSP_CHUNK_NONE;
    c->false_acks = 0;
}

/* ---- what is asked of us ------------------------------------------------------- */

enum cv_err ppsp_serve_request(struct ppsp_channel *c, cv_usec now, const struct ppsp_range *r) {
    struct ppsp_swarm *s = c->swarm;
    struct ppsp_range range = *r;
    if (!s->config.serve || s->chunks == 0 || range.first >= s->chunks) {
        PPSP_COUNT(s->p, drop_request_empty);
        return CV_ERR_OK;
    }
    if (!ppsp_reciprocity_serves(c, now)) {
        PPSP_COUNT(s->p, drop_request_choked);
        return CV_ERR_OK;
    }
    if (range.last >= s->chunks)
        range.last = s->chunks - 1;
    if (!ppsp_chunkset_any(&s->have, range.first, range.last)) {
        PPSP_COUNT(s->p, drop_request_empty);
        return CV_ERR_OK;
    }
    if (is_withheld(c, &range))
        honest_about_it(c);
    /* Again: something got lost, perhaps hashes. */
    for (uint64_t i = c->sent.head; i < c->sent.tail; i++)
        lose(c, now, i, range.first, range.last);
    if (any_gone(c, range.first, range.last))
        c->group_valid = false;
    /* What is queued already keeps its place. */
    for (uint32_t i = 0; i < c->queued; i++) {
        const struct ppsp_range *q = &c->queue[i];
        if (range.first >= q->first && range.first <= q->last) {
            if (range.last <= q->last)
                return CV_ERR_OK;
            range.first = q->last + 1;
        }
        if (range.last >= q->first && range.last <= q->last)
            range.last = q->first - 1;
    }
    struct ppsp_range *last = c->queued ? &c->queue[c->queued - 1] : NULL;
    if (last && range.first == last->last + 1) {
        last->last = range.last;
        return CV_ERR_OK;
    }
    if (c->queued == PPSP_REQUEST_RANGES) {
        PPSP_COUNT(s->p, drop_request_full);
        return CV_ERR_OK;
    }
    c->queue[c->queued++] = range;
    return CV_ERR_OK;
}

static void queue_remove(struct ppsp_channel *c, uint32_t i) {
    c->queued--;
    memmove(&c->queue[i], &c->queue[i + 1], (c->queued - i) * sizeof *c->queue);
}

void ppsp_serve_cancel(struct ppsp_channel *c, const struct ppsp_range *r, bool implicit) {
    bool any = is_withheld(c, r);
    if (any)
        honest_about_it(c);
    for (uint32_t i = c->queued; i-- > 0;) {
        struct ppsp_range *q = &c->queue[i];
        if (q->last < r->first || q->first > r->last)
            continue;
        any = true;
        if (q->first >= r->first && q->last <= r->last) {
            queue_remove(c, i);
        } else if (q->first >= r->first) {
            q->first = r->last + 1;
        } else if (q->last <= r->last) {
            q->last = r->first - 1;
        } else if (c->queued < PPSP_REQUEST_RANGES) {
            memmove(q + 1, q, (c->queued - i) * sizeof *q);
            c->queued++;
            q[0].last = r->first - 1;
            q[1].first = r->last + 1;
        } else {
            q->last = r->first - 1; /* no room for the rest: it may ask again */
        }
    }
    if (!any && !implicit)
        PPSP_COUNT(c->swarm->p, drop_cancel_unknown);
}

/* ---- what becomes of it ---------------------------------------------------------- */

enum cv_err ppsp_serve_ack(struct ppsp_channel *c, cv_usec now, const struct ppsp_ack *ack) {
    struct ppsp_swarm *s = c->swarm;
    struct ppsp_taken t = {0};
    if (is_withheld(c, &ack->chunks)) {
        /* It was never sent. A peer that has several sources may have it from another
         * and names the whole interval (section 4.3.2); a liar wants to be sent more.
         * Neither is, so that the lie earns nothing. Who misses none of many is a liar. */
        PPSP_COUNT(s->p, drop_ack_false);
        c->withheld = PPSP_CHUNK_NONE;
        if (++c->false_acks == PPSP_FALSE_ACKS)
            return CV_ERR_DENIED;
        ppsp_ledbat_lost(&c->cc, now, now, 0);
    }
    if (s->chunks && ack->chunks.first < s->chunks)
        t = ppsp_flight_take(&c->sent, ack->chunks.first, ack->chunks.last, false);
    (void)ppsp_flight_take(&c->gone, ack->chunks.first, ack->chunks.last, false);
    if (t.chunks == 0) {
        PPSP_COUNT(s->p, drop_ack_unknown);
        return CV_ERR_OK;
    }
    if (ppsp_chunkset_add(&c->have, ack->chunks.first, ack->chunks.last))
        PPSP_COUNT(s->p, drop_have_bad);
    else if (s->live)
        ppsp_live_shown(c, ack->chunks.last);
    ppsp_serve_cancel(c, &ack->chunks, true);
    if (t.newest > c->sent_passed)
        c->sent_passed = t.newest;
    ppsp_ledbat_delay(&c->cc, now, ack->delay);
    if (!t.again)
        ppsp_ledbat_rtt(&c->cc, cv_usec_since(now, t.at));
    ppsp_ledbat_acked(&c->cc, now, (uint64_t)t.chunks * c->cc.mss);
    if (s->p->config.upstream)
        ppsp_upstream_passed(
            s->p->config.upstream, now, &c->way, (uint64_t)t.chunks * s->config.chunk_size,
            !s->config.unmeasured && ppsp_ledbat_full(&c->cc, now), s->config.upload_limit != 0);
    return CV_ERR_OK;
}

static cv_usec lost_at(const struct ppsp_channel *c, const struct ppsp_run *r) {
    return cv_usec_add(r->at, ppsp_ledbat_patience(&c->cc));
}

void ppsp_serve_check(struct ppsp_channel *c, cv_usec now) {
    for (uint64_t i = c->sent.head; i < c->sent.tail && i < c->sent_passed; i++) {
        struct ppsp_run *r = ppsp_flight_at(&c->sent, i);
        if (r->mask == 0)
            continue;
        if (now < lost_at(c, r))
            break;
        lose(c, now, i, 0, UINT64_MAX);
    }
    if (now >= c->cc.cto_at) {
        for (uint64_t i = c->sent.head; i < c->sent.tail; i++) {
            const struct ppsp_run *r = ppsp_flight_at(&c->sent, i);
            gone(c, r->first, r->mask, r->at);
        }
        ppsp_flight_done(&c->sent);
        c->sent_passed = 0;
        c->group_valid = false;
        ppsp_ledbat_timeout(&c->cc, now);
    }
}

cv_usec ppsp_serve_next(const struct ppsp_channel *c) {
    cv_usec at = c->cc.cto_at;
    if (c->queued)
        at = cv_usec_min(at, c->send_at);
    if (!ppsp_flight_empty(&c->sent) && c->sent.head < c->sent_passed)
        at = cv_usec_min(at, lost_at(c, ppsp_flight_at(&c->sent, c->sent.head)));
    return at;
}

/* ---- hashes ------------------------------------------------------------------------ */

struct nodes {
    unsigned count;
    ppsp_bin bins[NODES_MAX];
};

/* Having any chunk under a node, the peer knows the node's children. */
static bool peer_knows_under(const struct ppsp_channel *c, ppsp_bin parent) {
    return c->have.count &&
           ppsp_chunkset_any(&c->have, ppsp_bin_first(parent), ppsp_bin_last(parent));
}

/* A peak or above one: follows from the peaks. In live swarms a munro. */
static bool follows_from_peaks(const struct ppsp_swarm *s, ppsp_bin node) {
    if (s->live)
        return ppsp_bin_level(node) >= s->live->munros.level;
    return ppsp_bin_last(ppsp_bin_parent(node)) >= s->chunks;
}

static void add(struct nodes *n, ppsp_bin bin) {
    assert(n->count < NODES_MAX);
    n->bins[n->count++] = bin;
}

/* Siblings on the way from the group up to what the peer knows, highest first.
 * With `trust`, what went along with the group sent before counts as known. */
static void add_way_up(const struct ppsp_channel *c, uint64_t group, bool trust, struct nodes *n) {
    ppsp_bin way[64];
    unsigned k = 0;
    for (ppsp_bin b = ppsp_bin_at(PPSP_GROUP_LEVEL, group); !follows_from_peaks(c->swarm, b);
         b = ppsp_bin_parent(b)) {
        ppsp_bin parent = ppsp_bin_parent(b);
        unsigned up = ppsp_bin_level(parent) - PPSP_GROUP_LEVEL;
        if (peer_knows_under(c, parent) ||
            (trust && c->group_valid && c->group_before >> up == group >> up))
            break;
        way[k++] = ppsp_bin_sibling(b);
    }
    while (k)
        add(n, way[--k]);
}

/* Inside the group, on levels from `bottom` to below `top`: each sibling of a
 * node above one of the chunks. */
static void add_inside(const struct ppsp_channel *c, uint64_t first, uint64_t last, unsigned bottom,
                       unsigned top, struct nodes *n) {
    for (unsigned level = top; level-- > bottom;)
        for (uint64_t i = first >> level; i <= last >> level; i++) {
            ppsp_bin b = ppsp_bin_at(level, i);
            if (!follows_from_peaks(c->swarm, b) && !peer_knows_under(c, ppsp_bin_parent(b)))
                add(n, ppsp_bin_sibling(b));
        }
}

static size_t hashes_per_datagram(const struct ppsp_channel *c, size_t room) {
    const struct ppsp_swarm *s = c->swarm;
    return (room - 4) / PPSP_INTEGRITY_LEN(s->config.addressing, s->hash_len);
}

/* All hashes ahead, unless a neighbour's fits beside a chunk and not all of a
 * group's fit into one datagram. */
static bool neighbours_inline(const struct ppsp_channel *c, size_t room) {
    const struct ppsp_swarm *s = c->swarm;
    size_t hash = PPSP_INTEGRITY_LEN(s->config.addressing, s->hash_len);
    return hashes_per_datagram(c, room) < PPSP_PAGE_NODES - 1 && c->cc.mss + hash <= room;
}

/* All hashes for chunks of one group, from level `bottom` on; if possible at
 * most `most`. */
static void collect(const struct ppsp_channel *c, uint64_t first, uint64_t last, unsigned bottom,
                    size_t most, struct nodes *n) {
    uint64_t group = first >> PPSP_GROUP_LEVEL;
    for (int trust = 0; trust <= 1; trust++) {
        n->count = 0;
        /* Before anything else, and before anything was acknowledged: the peaks. */
        if (c->have.count == 0 && !c->swarm->live && !(c->group_valid && trust)) {
            n->count = ppsp_bin_peaks(c->swarm->chunks, n->bins);
        }
        add_way_up(c, group, trust, n);
        add_inside(c, first, last, bottom, PPSP_GROUP_LEVEL, n);
        if (n->count <= most)
            break; /* to be sure costs nothing */
    }
}

static enum cv_err put_hash(struct ppsp_channel *c, struct cv_wr *w, ppsp_bin bin) {
    struct ppsp_swarm *s = c->swarm;
    struct ppsp_integrity_hash node = {
        .chunks = {ppsp_bin_first(bin), ppsp_bin_last(bin)},
    };
    enum cv_err err = ppsp_tree_get(&s->tree, bin, &node.hash);
    if (err)
        return err == CV_ERR_NOENT ? CV_ERR_OK : err;
    ppsp_integrity_write(w, &s->spec, s->hash_len, &node);
    return CV_ERR_OK;
}

static enum cv_err send_hashes(struct ppsp_channel *c, cv_usec now, struct cv_batch *b, size_t room,
                               const struct nodes *n) {
    size_t most = hashes_per_datagram(c, room);
    for (unsigned i = 0; i < n->count;) {
        uint8_t *at = cv_batch_slot(b);
        if (!at)
            return CV_ERR_NOBUFS;
        struct cv_wr w = cv_wr_init(at, room);
        cv_wr_be32(&w, c->remote);
        for (size_t k = 0; k < most && i < n->count; k++, i++) {
            enum cv_err err = put_hash(c, &w, n->bins[i]);
            if (err)
                return err;
        }
        assert(!w.err);
        if (cv_wr_len(&w) > 4)
            ppsp_commit(c, now, b, cv_wr_len(&w));
    }
    return CV_ERR_OK;
}

/* ---- chunks ------------------------------------------------------------------------ */

/* With the hashes of `with`, if any, in the same datagram, and what was signed. */
static enum cv_err send_chunk(struct ppsp_channel *c, cv_usec now, struct cv_batch *b, size_t room,
                              bool with_munro, const struct nodes *with,
                              const struct ppsp_data *data) {
    struct ppsp_swarm *s = c->swarm;
    uint8_t *at = cv_batch_slot(b);
    if (!at)
        return CV_ERR_NOBUFS;
    struct cv_wr w = cv_wr_init(at, room);
    cv_wr_be32(&w, c->remote);
    if (with_munro)
        ppsp_live_put_munro_of(c, &w, data->chunk);
    for (unsigned i = 0; i < with->count; i++) {
        enum cv_err err = put_hash(c, &w, with->bins[i]);
        if (err)
            return err;
    }
    ppsp_data_write(&w, &s->spec, data);
    assert(!w.err);
    ppsp_commit(c, now, b, cv_wr_len(&w));
    return CV_ERR_OK;
}

static enum cv_err send_chunks(struct ppsp_channel *c, cv_usec now, struct cv_batch *b, size_t room,
                               uint64_t first, uint32_t count, bool with_munro,
                               const struct nodes *with, uint32_t *ret_sent) {
    struct ppsp_swarm *s = c->swarm;
    struct ppsp *p = s->p;
    size_t len = 0;
    enum cv_err err = s->config.store->read_chunks(s->config.store_ctx, first, count, p->scratch,
                                                   p->scratch_size, &len);
    if (err)
        return err;
    bool with_neighbour = neighbours_inline(c, room);
    struct ppsp_data data = {.timestamp = ppsp_channel_clock(c, now), .content = p->scratch};
    uint32_t i = 0;
    for (; i < count && len && !err; i++) {
        data.chunk = first + i;
        data.len = len < s->config.chunk_size ? len : s->config.chunk_size;
        struct nodes neighbour = {0};
        if (with_neighbour)
            add_inside(c, data.chunk, data.chunk, 0, 1, &neighbour);
        err = send_chunk(c, now, b, room, with_munro, with ? with : &neighbour, &data);
        if (err)
            break;
        data.content += data.len;
        len -= data.len;
    }
    *ret_sent = i;
    uint64_t octets = (uint64_t)(data.content - p->scratch);
    s->up += octets;
    c->up += octets;
    ppsp_rate_add(&s->up_rate, now, octets);
    ppsp_rate_add(&c->up_rate, now, octets);
    return err;
}

/* What a limit lets go of n chunks. All wait for the same, whatever they ask for and however
 * often they speak: until a portion can be there, and by lot a while longer. Who comes then
 * takes what there is, up to a portion: equal shares. Chunks that are larger are saved for. It
 * is paid when it was sent (ppsp_serve_out). 0: later. */
static uint32_t portion(struct ppsp_channel *c, cv_usec now, uint32_t n) {
    struct ppsp_swarm *s = c->swarm;
    struct ppsp_upstream *shared = s->config.upload_limit ? NULL : s->p->config.upstream;
    struct cv_tokenbucket *from = &s->upload;
    uint64_t size = s->config.chunk_size, unit = size;
    if (shared) {
        from = ppsp_upstream_bucket(shared, now, s->config.chunk_size);
        unit = shared->chunk; /* small chunks would leave nothing to large ones */
    }
    if (!from || from->rate == UINT64_MAX) {
        c->saved = 0;
        return n;
    }
    while (c->saved < size && now >= c->held_until &&
           cv_tokenbucket_ready(from, now, unit) <= now) {
        uint64_t most = from->level < PORTION * unit ? from->level : PORTION * unit;
        uint64_t want = n * size - c->saved;
        want = want < most ? want : most;
        (void)cv_tokenbucket_take(from, now, want);
        c->saved += want;
    }
    if (c->saved >= size)
        return n < c->saved / size ? n : (uint32_t)(c->saved / size);
    if (now >= c->held_until) {
        cv_usec at = cv_tokenbucket_ready(from, now, PORTION * unit);
        c->held_until = cv_usec_add(at, cv_rng_below(s->p->rng, at - now + CV_MSEC(1)));
        if (shared)
            ppsp_upstream_held(shared, &c->way);
    }
    c->send_at = c->held_until;
    return 0;
}

static void pay(struct ppsp_channel *c, uint32_t sent) {
    uint64_t octets = (uint64_t)sent * c->swarm->config.chunk_size;
    c->saved -= octets < c->saved ? octets : c->saved; /* nothing is saved without a limit */
}

/* How many chunks from `first` on leave now, whatever the reason. 0: none. */
static uint32_t burst_len(struct ppsp_channel *c, cv_usec now, const struct cv_batch *b,
                          enum ppsp_out *ret) {
    struct ppsp_swarm *s = c->swarm;
    uint64_t first = c->queue[0].first, last = c->queue[0].last;
    uint64_t have_end = ppsp_chunkset_gap(&s->have, first) - 1;
    uint64_t groups_end = ((first >> PPSP_GROUP_LEVEL) + GROUPS) * PPSP_GROUP_CHUNKS - 1;
    last = last < have_end ? last : have_end;
    last = last < groups_end ? last : groups_end;
    uint64_t n = last - first + 1;

    /* Room for the hashes of each group too, in datagrams of several sizes. */
    uint32_t slots = b->slots_max - b->slots_used, runs = b->runs_max - b->runs_used;
    uint32_t hashes = 3 * GROUPS;
    *ret = PPSP_OUT_FULL;
    if (slots <= hashes || runs < hashes + 2)
        return 0;
    n = n < slots - hashes ? n : slots - hashes;
    n = n < s->stage_max ? n : s->stage_max;
    n = n < PPSP_BURST_CHUNKS ? n : PPSP_BURST_CHUNKS;
    if (s->live && ppsp_live_munro_slots(s, c->mtu, n) + hashes >= slots)
        return 0;

    *ret = PPSP_OUT_DONE;
    uint64_t allowed = ppsp_ledbat_allowance(&c->cc, now, &c->send_at) / c->cc.mss;
    n = n < allowed ? n : allowed;
    if (allowed <= SINGLY)
        n = n < 1 ? n : 1; /* the window is small: nothing may depend on a second datagram */
    return n ? portion(c, now, (uint32_t)n) : 0;
}

/* The hashes of chunks a..z, all of one group, went out and nothing was lost since. */
static bool hashes_sent(const struct ppsp_channel *c, uint64_t a, uint64_t z) {
    return c->group_valid && c->group_from <= a && z <= c->group_to &&
           c->group_before == a >> PPSP_GROUP_LEVEL;
}

/* Ahead of chunks a..z of one group: the hashes of everything that is asked for
 * of it, up to `last`, so that the bursts of a small window, of a few chunks each,
 * do not each take a datagram of hashes with them. */
static enum cv_err send_group_hashes(struct ppsp_channel *c, cv_usec now, struct cv_batch *b,
                                     size_t room, uint64_t a, uint64_t z, uint64_t last) {
    unsigned bottom = neighbours_inline(c, room) ? 1 : 0;
    size_t most = hashes_per_datagram(c, room);
    uint64_t group = a >> PPSP_GROUP_LEVEL, end = (group + 1) * PPSP_GROUP_CHUNKS - 1;
    struct nodes nodes;
    end = end < last ? end : last;
    collect(c, a, end, bottom, most, &nodes);
    if (nodes.count > most && end > z) {
        end = z;
        collect(c, a, end, bottom, most, &nodes);
    }
    enum cv_err err = send_hashes(c, now, b, room, &nodes);
    if (err)
        return err;
    c->group_before = group;
    c->group_from = a;
    c->group_to = end;
    c->group_valid = true;
    return CV_ERR_OK;
}

/* One burst: hashes of up to three groups, then their chunks. `last` is the end of
 * what can be sent of this request. */
static enum cv_err burst(struct ppsp_channel *c, cv_usec now, struct cv_batch *b, size_t room,
                         uint64_t first, uint32_t n, uint64_t last, uint32_t *ret_sent) {
    struct nodes nodes;
    struct ppsp_swarm *s = c->swarm;
    uint64_t end = first + n;
    /* Alone: hashes and chunk in one datagram, if they fit (section 5.3). Not what
     * pacing singles out: it would carry hashes that went with its group already. */
    bool small = c->cc.cwnd < (uint64_t)(SINGLY + 1) * c->cc.mss;
    if (s->config.integrity == PPSP_INTEGRITY_NONE) {
        nodes.count = 0;
        return send_chunks(c, now, b, room, first, n, false, &nodes, ret_sent);
    }
    size_t munro = s->live ? ppsp_live_munro_len(s) : 0;
    bool munro_fits = s->live && c->cc.mss + munro <= room;
    if (s->live && s->live->sign_all) {
        enum cv_err err =
            munro_fits ? CV_ERR_OK : ppsp_live_send_munros(c, now, b, room, first, end - 1);
        nodes.count = 0;
        return err ? err : send_chunks(c, now, b, room, first, n, munro_fits, &nodes, ret_sent);
    }
    if (n == 1 && (small || last == first) && c->cc.mss + munro <= room) {
        size_t beside =
            (room - c->cc.mss - munro) / PPSP_INTEGRITY_LEN(s->config.addressing, s->hash_len);
        collect(c, first, first, 0, beside, &nodes);
        if (nodes.count <= beside)
            return send_chunks(c, now, b, room, first, 1, munro_fits, &nodes, ret_sent);
    }
    if (s->live) {
        enum cv_err err = ppsp_live_send_munros(c, now, b, room, first, end - 1);
        if (err)
            return err;
    }
    for (uint64_t a = first; a < end;) {
        uint64_t z = ((a >> PPSP_GROUP_LEVEL) + 1) * PPSP_GROUP_CHUNKS;
        z = z < end ? z : end;
        enum cv_err err = CV_ERR_OK;
        if (!hashes_sent(c, a, z - 1))
            err = send_group_hashes(c, now, b, room, a, z - 1, last);
        if (err)
            return err;
        a = z;
    }
    return send_chunks(c, now, b, room, first, n, false, NULL, ret_sent);
}

enum ppsp_out ppsp_serve_out(struct ppsp_channel *c, cv_usec now, struct cv_batch *b) {
    struct ppsp_swarm *s = c->swarm;
    size_t room = cv_batch_room(b) < c->mtu ? cv_batch_room(b) : c->mtu;
    c->send_at = CV_USEC_NEVER;
    while (c->queued) {
        struct ppsp_range *q = &c->queue[0];
        uint64_t first = ppsp_chunkset_next(&s->have, q->first);
        if (first > q->last) {
            queue_remove(c, 0);
            continue;
        }
        q->first = first;
        enum ppsp_out why;
        uint32_t n = burst_len(c, now, b, &why), sent = 0;
        if (n == 0)
            return why;
        uint64_t gap = ppsp_chunkset_gap(&s->have, first), last = q->last < gap ? q->last : gap - 1;
        uint32_t before = withhold(c, first, n, last);
        n = before ? before : n;
        enum cv_err err = burst(c, now, b, room, first, n, last, &sent);
        pay(c, sent);
        if (sent) {
            /* Not to be followed costs a wrong flight size, nothing else. */
            bool again = any_gone(c, first, first + sent - 1);
            if (!ppsp_flight_push(&c->sent, first, ppsp_run_mask(sent), now, again))
                ppsp_ledbat_sent(&c->cc, now, (uint64_t)sent * c->cc.mss);
            q->first += sent;
            if (before && sent == before)
                c->withheld = q->first++;
            if (q->first > q->last)
                queue_remove(c, 0);
        }
        if (err == CV_ERR_NOBUFS)
            return PPSP_OUT_FULL;
        if (err == CV_ERR_CORRUPT) { /* what it holds is not what was verified */
            ppsp_swarm_withdraw(s, err);
            return PPSP_OUT_DONE;
        }
        if (err) { /* the store: later */
            c->group_valid = false;
            c->send_at = cv_usec_add(now, ppsp_swarm_unreadable(s, err));
            return PPSP_OUT_DONE;
        }
        s->unreadable = false;
        return c->queued ? PPSP_OUT_MORE : PPSP_OUT_DONE;
    }
    return PPSP_OUT_DONE;
}
