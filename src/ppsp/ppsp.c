/* The engine's doors: creation, peers, datagrams in, the round over what may be sent. */
#include "ppsp/ppsp.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ppsp/engine.h"

const struct ppsp_config ppsp_defaults = {
    .swarms_max = 1024,
    .channels_max = 4096,
    .peers_max = 128,
    .mtu = 1400,
};

static_assert(PPSP_CHUNKS_MAX <= UINT64_MAX / PPSP_CHUNK_SIZE_MAX, "octets fit 64 bits");
static_assert((int)PPSP_STAGE_OCTETS >= (int)PPSP_CHUNK_SIZE_MAX, "one chunk fits");

struct ppsp *ppsp_new(const struct ppsp_config *config, const struct cv_rng *rng) {
    struct ppsp *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->config = config ? *config : ppsp_defaults;
    p->rng = rng;
    cv_rng_fill(rng, p->map_key, sizeof p->map_key);
    TAILQ_INIT(&p->ready);
    TAILQ_INIT(&p->staged);
    TAILQ_INIT(&p->due);
    uint32_t swarms = p->config.swarms_max, channels = p->config.channels_max;
    cv_heap_init(&p->timers, swarms + channels);
    p->swarms = calloc(swarms, sizeof(struct ppsp_swarm *));
    p->generations = calloc(swarms, sizeof *p->generations);
    p->by_id = cv_map_new(PPSP_ID_KEY, swarms, cv_siphash_map, p->map_key);
    p->by_local = cv_map_new(sizeof(uint32_t), channels, cv_siphash_map, p->map_key);
    p->by_peer = cv_map_new(sizeof(struct ppsp_peer_key), channels, cv_siphash_map, p->map_key);
    p->scratch_size = PPSP_STAGE_OCTETS;
    p->scratch = malloc(p->scratch_size);
    if (!p->swarms || !p->generations || !p->by_id || !p->by_local || !p->by_peer || !p->scratch)
        return ppsp_free(p);
    return p;
}

struct ppsp *ppsp_free(struct ppsp *p) {
    if (!p)
        return NULL;
    for (uint32_t i = 0; p->swarms && i < p->config.swarms_max; i++)
        if (p->swarms[i])
            ppsp_swarm_close(p, (struct cv_now){.mono = p->last_now}, p->swarms[i]->handle);
    cv_heap_done(&p->timers);
    cv_map_free(p->by_id);
    cv_map_free(p->by_local);
    cv_map_free(p->by_peer);
    free(p->swarms);
    free(p->generations);
    free(p->scratch);
    free(p);
    return NULL;
}

static void check(struct ppsp *p, struct cv_now now) {
    assert(now.mono >= p->last_now);
    p->last_now = now.mono;
    p->wall = now.wall;
}

/* ---- peers ------------------------------------------------------------------- */

enum cv_err ppsp_peer_add(struct ppsp *p, struct cv_now now, cv_handle swarm,
                          const struct cv_endpoint *endpoint, const struct ppsp_peer_props *props) {
    check(p, now);
    struct ppsp_swarm *s = ppsp_swarm_find(p, swarm);
    if (!s)
        return CV_ERR_NOENT;
    if (!ppsp_mtu_fits(s, props->mtu))
        return CV_ERR_INVAL;
    if (!ppsp_swarm_meets(s, endpoint))
        return CV_ERR_DENIED;
    if (ppsp_channel_find(p, endpoint, s))
        return CV_ERR_EXIST;
    if (ppsp_banned(p, endpoint, now.mono))
        return CV_ERR_DENIED;
    if (p->channels == p->config.channels_max || s->channel_count == p->config.peers_max)
        return CV_ERR_LIMIT;
    struct ppsp_channel *c = ppsp_channel_new(s, now.mono, endpoint, props->mtu, props->hidden);
    if (!c)
        return CV_ERR_NOMEM;
    if (props->initiate)
        ppsp_channel_call(c, now.mono);
    return CV_ERR_OK;
}

void ppsp_peer_remove(struct ppsp *p, struct cv_now now, const struct cv_endpoint *endpoint,
                      bool goodbye) {
    check(p, now);
    for (uint32_t i = 0; i < p->config.swarms_max; i++) {
        struct ppsp_channel *c = p->swarms[i] ? ppsp_channel_find(p, endpoint, p->swarms[i]) : NULL;
        if (c)
            ppsp_channel_free(c, goodbye);
    }
}

/* ---- datagrams in -------------------------------------------------------------- */

static enum cv_err range_message(struct ppsp_channel *c, cv_usec now, uint8_t type,
                                 struct cv_rd *r) {
    struct ppsp_range range;
    enum cv_err err = ppsp_spec_read(r, &c->swarm->spec, &range);
    if (err)
        return err == CV_ERR_NOENT ? CV_ERR_OK : err; /* the bin of nothing */
    if (type == PPSP_MSG_HAVE)
        return ppsp_fetch_have(c, now, &range);
    if (type == PPSP_MSG_REQUEST)
        return ppsp_serve_request(c, now, &range);
    ppsp_serve_cancel(c, &range, false);
    return CV_ERR_OK;
}

static void choke(struct ppsp_channel *c, bool choked) {
    if (!choked && !c->choked)
        PPSP_COUNT(c->swarm->p, drop_choke);
    if (choked && !c->choked)
        ppsp_fetch_release(c);
    c->idle_at = c->swarm->p->last_now;
    c->choked = choked;
}

static enum cv_err pex(struct ppsp_channel *c, cv_usec now, enum ppsp_message_type type,
                       struct cv_rd *r) {
    struct cv_addr addr;
    struct ppsp_pex_cert cert;
    enum cv_err err = CV_ERR_OK;
    if (type == PPSP_MSG_PEX_REQ) {
        c->hidden ? ppsp_contacts_request(c, now) : ppsp_pex_request(c, now);
    } else if (type == PPSP_MSG_PEX_RESCERT) {
        err = ppsp_pex_cert_read(r, &cert);
        if (!err)
            ppsp_pex_certificate(c, now, &cert);
    } else {
        err = ppsp_pex_read(r, type, &addr);
        if (!err)
            ppsp_pex_response(c, now, &addr);
    }
    return err;
}

/*
 * One message. CV_ERR_MALFORMED, TRUNCATED, UNKNOWN: the datagram cannot be read
 * on and its sender is not worth talking to; CV_ERR_AUTH: it sent something
 * provably false, and CV_ERR_DENIED: it acknowledged what it never got.
 */
static enum cv_err message(struct ppsp_channel *c, cv_usec now, uint8_t type, struct cv_rd *r) {
    struct ppsp_swarm *s = c->swarm;
    enum cv_err err;
    switch ((enum ppsp_message_type)type) {
    case PPSP_MSG_DATA: {
        struct ppsp_data data;
        err = ppsp_data_read(r, &s->spec, &data);
        return err ? err : ppsp_fetch_data(c, now, &data);
    }
    case PPSP_MSG_INTEGRITY: {
        struct ppsp_integrity_hash node;
        err = ppsp_integrity_read(r, &s->spec, s->hash_len, &node);
        return err ? err : ppsp_fetch_integrity(c, now, &node);
    }
    case PPSP_MSG_ACK: {
        struct ppsp_ack ack;
        err = ppsp_ack_read(r, &s->spec, &ack);
        return err ? err : ppsp_serve_ack(c, now, &ack);
    }
    case PPSP_MSG_HAVE:
    case PPSP_MSG_REQUEST:
    case PPSP_MSG_CANCEL:
        return range_message(c, now, type, r);
    case PPSP_MSG_CHOKE:
        choke(c, true);
        return CV_ERR_OK;
    case PPSP_MSG_UNCHOKE:
        choke(c, false);
        return CV_ERR_OK;
    case PPSP_MSG_PEX_CONTACT:
        return s->config.contacts ? ppsp_contacts_in(c, r) : CV_ERR_UNKNOWN;
    case PPSP_MSG_PEX_REQ:
    case PPSP_MSG_PEX_RESV4:
    case PPSP_MSG_PEX_RESV6:
    case PPSP_MSG_PEX_RESCERT:
        return pex(c, now, (enum ppsp_message_type)type, r);
    case PPSP_MSG_HANDSHAKE: /* only first in a datagram: section 3.1 */
        return CV_ERR_MALFORMED;
    case PPSP_MSG_SIGNED_INTEGRITY: {
        struct ppsp_signed_integrity m;
        if (!s->live) /* its length follows from live metadata only */
            return CV_ERR_UNKNOWN;
        err = ppsp_signed_read(r, &s->spec, s->live->munros.sig_len, &m);
        return err ? err : ppsp_live_signed(c, now, &m);
    }
    default:
        return CV_ERR_UNKNOWN;
    }
}

/* In strict order; what came before a bad message stays (section 3). */
static enum cv_err messages(struct ppsp_channel *c, cv_usec now, struct cv_rd *r) {
    struct ppsp *p = c->swarm->p;
    bool hashes = false;
    enum cv_err err = CV_ERR_OK;
    p->peaks.count = 0;
    p->peaks.broken = false;
    while (!err && cv_rd_left(r)) {
        uint8_t type = cv_rd_u8(r);
        if (hashes && type != PPSP_MSG_INTEGRITY) {
            hashes = false;
            err = ppsp_fetch_resolve(c, now);
        }
        hashes |= type == PPSP_MSG_INTEGRITY;
        if (!err)
            err = message(c, now, type, r);
    }
    if (hashes && !err)
        err = ppsp_fetch_resolve(c, now);
    if (err == CV_ERR_AUTH || err == CV_ERR_DENIED) {
        ppsp_channel_down(c, now, err, true);
    } else if (err) {
        if (err == CV_ERR_UNKNOWN)
            PPSP_COUNT(p, drop_message_unknown);
        else
            PPSP_COUNT(p, drop_message_bad);
        ppsp_channel_down(c, now, CV_ERR_MALFORMED, true);
    }
    return err;
}

static struct ppsp_channel *channel_for(struct ppsp *p, cv_usec now, uint32_t local,
                                        const struct cv_endpoint *from) {
    struct ppsp_channel *c = p->last;
    if (!c || c->local != local)
        c = cv_map_get(p->by_local, &local);
    if (!c)
        return ppsp_half_open_proven(p, now, local, from);
    if (!cv_endpoint_equal(&c->endpoint, from)) {
        PPSP_COUNT(p, drop_endpoint);
        return NULL;
    }
    p->last = c;
    return c;
}

enum cv_err ppsp_on_datagram(struct ppsp *p, struct cv_now now, const struct cv_endpoint *from,
                             const uint8_t *buf, size_t len) {
    check(p, now);
    PPSP_COUNT(p, datagrams_in);
    struct cv_rd r = cv_rd_init(buf, len);
    uint32_t local = cv_rd_be32(&r);
    if (r.err) {
        PPSP_COUNT(p, drop_short);
        return r.err;
    }
    if (local == 0)
        return ppsp_handshake_in(p, now.mono, from, &r);
    struct ppsp_channel *c = channel_for(p, now.mono, local, from);
    if (!c)
        return CV_ERR_NOENT;
    bool handshake = cv_rd_left(&r) && *r.p == PPSP_MSG_HANDSHAKE;
    if (c->state == PPSP_PEER_HANDSHAKING && !handshake) {
        PPSP_COUNT(p, drop_unproven);
        return CV_ERR_DENIED;
    }
    c->heard_at = now.mono;
    c->sent_unheard = 0;
    if (!handshake && !c->confirmed) {
        c->confirmed = true;
        c->retry_at = CV_USEC_NEVER;
    }
    if (!handshake)
        c->anew = 0;
    if (cv_rd_left(&r) == 0) {
        PPSP_COUNT(p, keepalives_in);
        /* Datagram 3 again: our answer to it was lost. */
        c->confirm_due |= c->called_us && now.mono >= cv_usec_add(c->sent_at, PPSP_HANDSHAKE_RETRY);
    }
    ppsp_channel_wake(c);
    if (handshake) {
        (void)cv_rd_u8(&r);
        enum cv_err err = ppsp_handshake_answer(c, now.mono, &r);
        if (err)
            return err;
    }
    return messages(c, now.mono, &r);
}

/* ---- out ------------------------------------------------------------------------- */

static enum ppsp_out serve_calling(struct ppsp_channel *c, cv_usec now, struct cv_batch *b) {
    if (now < c->retry_at)
        return PPSP_OUT_DONE;
    return ppsp_handshake_call(c, now, b) ? PPSP_OUT_DONE : PPSP_OUT_FULL;
}

static enum ppsp_out serve_channel(struct ppsp_channel *c, cv_usec now, struct cv_batch *b) {
    if (c->state == PPSP_PEER_HANDSHAKING)
        return serve_calling(c, now, b);
    if (c->state != PPSP_PEER_OPEN)
        return PPSP_OUT_DONE;
    if (!c->confirmed && now >= c->retry_at) { /* datagram 3 may have been lost */
        c->confirm_due = true;
        c->retry_wait = cv_usec_min(c->retry_wait * 2, PPSP_HANDSHAKE_RETRY_MAX);
        c->retry_at = cv_usec_add(now, c->retry_wait);
    }
    ppsp_serve_check(c, now);
    ppsp_fetch_check(c, now);
    if (ppsp_channel_silent(c, now)) {
        ppsp_channel_anew(c, now);
        return serve_calling(c, now, b);
    }
    /* Who asked with its first word gets content with ours. Live, the newest munro goes
     * before (section 6.1.2.4). */
    enum ppsp_out out = PPSP_OUT_DONE;
    if (c->confirm_due && !c->swarm->live)
        out = ppsp_serve_out(c, now, b);
    if (out == PPSP_OUT_DONE)
        out = ppsp_control_out(c, now, b);
    return out == PPSP_OUT_DONE ? ppsp_serve_out(c, now, b) : out;
}

bool ppsp_poll_transmit(struct ppsp *p, struct cv_now now, struct cv_batch *batch) {
    check(p, now);
    struct ppsp_swarm *s, *next;
    for (s = TAILQ_FIRST(&p->staged); s; s = next) {
        next = TAILQ_NEXT(s, in_staged);
        ppsp_stage_flush(s, now.mono);
    }
    if (!ppsp_goodbyes_out(p, batch) || !ppsp_handshake_replies(p, now.mono, batch))
        return true;
    struct ppsp_channel *c;
    while ((c = TAILQ_FIRST(&p->ready))) {
        enum ppsp_out out = serve_channel(c, now.mono, batch);
        if (out == PPSP_OUT_FULL)
            return true;
        TAILQ_REMOVE(&p->ready, c, in_ready);
        if (out == PPSP_OUT_MORE) {
            TAILQ_INSERT_TAIL(&p->ready, c, in_ready);
            continue;
        }
        c->ready = false;
        ppsp_channel_schedule(c);
    }
    return false;
}

void ppsp_on_timeout(struct ppsp *p, struct cv_now now) {
    check(p, now);
    struct cv_timer *t;
    while ((t = cv_heap_pop(&p->timers, now.mono))) {
        struct ppsp_timer *timer = CV_CONTAINER_OF(t, struct ppsp_timer, t);
        if (timer->of_swarm)
            ppsp_swarm_on_timeout(CV_CONTAINER_OF(timer, struct ppsp_swarm, timer), now.mono);
        else
            ppsp_channel_on_timeout(CV_CONTAINER_OF(timer, struct ppsp_channel, timer), now.mono);
    }
}

/* Whoever is ready waits for poll_transmit(), which comes after every call. */
cv_usec ppsp_next_timeout(const struct ppsp *p) {
    return cv_heap_next(&p->timers);
}

/* ---- looking in -------------------------------------------------------------------- */

void ppsp_rate_add(struct ppsp_rate *r, cv_usec now, uint64_t octets) {
    cv_usec passed = cv_usec_since(now, r->from);
    if (r->from == 0 || passed > CV_SEC(3)) {
        *r = (struct ppsp_rate){.from = now ? now : 1, .octets = octets};
        return;
    }
    r->octets += octets;
    if (passed < CV_MSEC(200))
        return;
    uint64_t rate = r->octets * 1000000 / passed;
    r->per_s = r->per_s ? (r->per_s * 3 + rate) / 4 : rate;
    r->from = now;
    r->octets = 0;
}

uint64_t ppsp_rate_get(const struct ppsp_rate *r, cv_usec now) {
    return cv_usec_since(now, r->from) > CV_SEC(2) ? 0 : r->per_s;
}

enum cv_err ppsp_stats(const struct ppsp *p, cv_handle swarm, struct ppsp_stats *ret) {
    const struct ppsp_swarm *s = ppsp_swarm_find(p, swarm);
    if (!s)
        return CV_ERR_NOENT;
    *ret = (struct ppsp_stats){
        .chunks = s->chunks,
        .chunks_have = s->have.count,
        .octets = s->octets,
        .chunk_size = s->config.chunk_size,
        .peers = s->open_count,
        .slots = s->slots,
        .up = s->up,
        .down = s->down,
        .up_rate = ppsp_rate_get(&s->up_rate, p->last_now),
        .down_rate = ppsp_rate_get(&s->down_rate, p->last_now),
        .wasted = s->wasted,
        .complete = s->complete,
        .paused = s->paused,
    };
    return CV_ERR_OK;
}

bool ppsp_has(const struct ppsp *p, cv_handle swarm, uint64_t first, uint64_t last) {
    const struct ppsp_swarm *s = ppsp_swarm_find(p, swarm);
    return s && first <= last && ppsp_chunkset_covers(&s->have, first, last);
}

uint64_t ppsp_first_missing(const struct ppsp *p, cv_handle swarm, uint64_t from) {
    const struct ppsp_swarm *s = ppsp_swarm_find(p, swarm);
    if (!s || s->chunks == 0)
        return UINT64_MAX;
    uint64_t gap = ppsp_chunkset_gap(&s->have, from);
    return gap < s->chunks ? gap : s->chunks;
}

uint64_t ppsp_first_verified(const struct ppsp *p, cv_handle swarm, uint64_t from) {
    const struct ppsp_swarm *s = ppsp_swarm_find(p, swarm);
    return s ? ppsp_chunkset_next(&s->have, from) : UINT64_MAX;
}

bool ppsp_requested(const struct ppsp *p, cv_handle swarm, uint64_t from, uint64_t *ret_first,
                    uint64_t *ret_last) {
    const struct ppsp_swarm *s = ppsp_swarm_find(p, swarm);
    while (s && (from = ppsp_chunkset_next(&s->taken, from)) != PPSP_CHUNK_NONE) {
        uint64_t last = ppsp_chunkset_around(&s->taken, from).last;
        uint64_t first = ppsp_chunkset_gap(&s->have, from);
        if (first <= last) {
            uint64_t have = ppsp_chunkset_next(&s->have, first);
            *ret_first = first;
            *ret_last = have <= last ? have - 1 : last;
            return true;
        }
        from = last + 1;
    }
    return false;
}

size_t ppsp_peers(const struct ppsp *p, cv_handle swarm, struct ppsp_peer_stats *ret, size_t cap) {
    const struct ppsp_swarm *s = ppsp_swarm_find(p, swarm);
    const struct ppsp_channel *c;
    size_t n = 0;
    if (!s)
        return 0;
    TAILQ_FOREACH(c, &s->channels, of_swarm) {
        if (n++ >= cap)
            continue;
        ret[n - 1] = (struct ppsp_peer_stats){
            .endpoint = c->endpoint,
            .state = c->state,
            .chokes_us = c->choked,
            .choked = c->choking,
            .up = c->up,
            .down = c->down,
            .up_rate = ppsp_rate_get(&c->up_rate, p->last_now),
            .down_rate = ppsp_rate_get(&c->down_rate, p->last_now),
            .rtt = c->cc.srtt ? c->cc.srtt : c->rtt,
            .cwnd = c->cc.cwnd,
            .queuing_delay = c->cc.queuing_delay,
            .chunks_have = c->have.count,
            .rank = c->rank,
            .requests = (uint32_t)c->asked.chunks,
            .asked_since = ppsp_channel_asked_since(c, p->last_now),
            .stalls = c->stalls,
        };
    }
    return n;
}

const struct ppsp_counters *ppsp_counters(const struct ppsp *p) {
    return &p->counters;
}
