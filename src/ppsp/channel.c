/* One peer: its place in the tables, its clock, its timer, its end. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ppsp/engine.h"

/* What is shown to peers that must not learn our clock moves in such steps. */
#define HIDDEN_STEP CV_MSEC(1)

enum { SKEW_MAX = 50 /* parts per million */, FIRST_WINDOW = 64 };

struct ppsp_channel *ppsp_channel_find(struct ppsp *p, const struct cv_endpoint *ep,
                                       const struct ppsp_swarm *s) {
    struct ppsp_peer_key key = {.endpoint = *ep, .swarm = s->handle};
    return cv_map_get(p->by_peer, &key);
}

/* Wide enough for a chunk with its header, and for some hashes. */
bool ppsp_mtu_fits(const struct ppsp_swarm *s, uint16_t mtu) {
    enum ppsp_addressing method = s->config.addressing;
    size_t data = 4 + PPSP_DATA_OVERHEAD(method) + s->config.chunk_size;
    size_t hash = 4 + PPSP_INTEGRITY_LEN(method, s->hash_len);
    size_t munro = s->live ? 4 + ppsp_live_munro_len(s) : 0;
    return mtu >= data && mtu >= hash && mtu >= munro && mtu >= 128;
}

uint16_t ppsp_mtu_udp(const struct ppsp_swarm *s) {
    size_t least = 4 + PPSP_DATA_OVERHEAD(s->config.addressing) + s->config.chunk_size;
    return s->p->config.mtu > least ? s->p->config.mtu : (uint16_t)least;
}

uint16_t ppsp_swarm_mtu(const struct ppsp *p, cv_handle swarm) {
    const struct ppsp_swarm *s = ppsp_swarm_find(p, swarm);
    return s ? ppsp_mtu_udp(s) : 0;
}

struct ppsp_channel *ppsp_channel_new(struct ppsp_swarm *s, cv_usec now,
                                      const struct cv_endpoint *ep, uint16_t mtu, bool hidden) {
    struct ppsp *p = s->p;
    if (p->channels == p->config.channels_max || s->channel_count == p->config.peers_max)
        return NULL;
    struct ppsp_channel *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    struct ppsp_peer_key key = {.endpoint = *ep, .swarm = s->handle};
    if (cv_map_put(p->by_peer, &key, c)) {
        free(c);
        return NULL;
    }
    c->swarm = s;
    c->endpoint = *ep;
    c->mtu = mtu;
    c->hidden = hidden;
    c->state = PPSP_PEER_PERMITTED;
    c->retry_at = CV_USEC_NEVER;
    c->ack_at = CV_USEC_NEVER;
    c->tell_from = PPSP_CHUNK_NONE;
    c->tell_again_at = CV_USEC_NEVER;
    c->block = PPSP_CHUNK_NONE;
    c->heard_at = now;
    c->sent_at = now;
    ppsp_chunkset_init_peer(&c->have);
    ppsp_swarm_chunkset(s, &c->have);
    c->their_window = PPSP_WINDOW_ALL;
    /* Every peer sees another clock; those of hidden endpoints also another speed. */
    c->clock_offset = cv_rng_u64(p->rng) >> 1;
    if (hidden)
        c->clock_skew = (int32_t)cv_rng_below(p->rng, 2 * SKEW_MAX + 1) - SKEW_MAX;
    TAILQ_INSERT_TAIL(&s->channels, c, of_swarm);
    s->channel_count++;
    p->channels++;
    return c;
}

uint64_t ppsp_channel_clock(const struct ppsp_channel *c, cv_usec now) {
    if (!c->hidden)
        return c->clock_offset + now;
    int64_t skew = (int64_t)(now / 1000000) * c->clock_skew;
    uint64_t t = c->clock_offset + now + (uint64_t)skew;
    return t - t % HIDDEN_STEP;
}

/* Random, not 0, not in use (RFC 4960 section 5.1.3). */
uint32_t ppsp_local_id(struct ppsp *p) {
    for (;;) {
        uint32_t id = cv_rng_u32(p->rng);
        if (id == 0 || cv_map_get(p->by_local, &id))
            continue;
        bool used = false;
        for (unsigned i = 0; i < PPSP_HALF_OPEN; i++)
            used |= p->half_open[i].swarm && p->half_open[i].local == id;
        if (!used)
            return id;
    }
}

/* ---- a circuit ends and another takes its place ---- */

/* Hidden peers have no names. But who comes in the seconds after somebody's circuit
 * was cut is most probably the same, in need of chunks, and the way is much like the
 * old one: the slowest part of it, our own, is. */
#define LEGACY_TIME CV_SEC(10)

static void leave_window(struct ppsp_channel *c) {
    struct ppsp_swarm *s = c->swarm;
    uint64_t had = c->hidden && c->state == PPSP_PEER_OPEN ? ppsp_ledbat_legacy(&c->cc) : 0;
    if (had == 0)
        return;
    bool stale = cv_usec_since(c->heard_at, s->legacy_at) >= LEGACY_TIME;
    s->legacy = stale || had > s->legacy ? had : s->legacy;
    s->legacy_at = c->heard_at;
}

/* Of those that ended, or of one that is cut and does not know it yet. */
static void inherit_window(struct ppsp_channel *c, cv_usec now) {
    struct ppsp_swarm *s = c->swarm;
    struct ppsp_ledbat *from = NULL;
    uint64_t most = cv_usec_since(now, s->legacy_at) < LEGACY_TIME ? s->legacy : 0;
    struct ppsp_channel *o;
    TAILQ_FOREACH(o, &s->channels, of_swarm) {
        bool cut = o != c && o->hidden && o->state == PPSP_PEER_OPEN && o->cc.cwnd <= o->cc.mss &&
                   cv_usec_since(now, o->heard_at) < LEGACY_TIME;
        if (cut && ppsp_ledbat_legacy(&o->cc) > most) {
            most = ppsp_ledbat_legacy(&o->cc);
            from = &o->cc;
        }
    }
    if (most == 0)
        return;
    ppsp_ledbat_resume(&c->cc, most);
    if (from)
        ppsp_ledbat_bequeath(from);
    else
        s->legacy = 0;
}

/* Back to a peer that may call, without anything of the conversation. */
static void reset(struct ppsp_channel *c) {
    struct ppsp *p = c->swarm->p;
    leave_window(c);
    ppsp_fetch_release(c);
    if (c->local)
        (void)cv_map_del(p->by_local, &c->local);
    if (p->last == c)
        p->last = NULL;
    if (c->ready)
        TAILQ_REMOVE(&p->ready, c, in_ready);
    c->ready = false;
    cv_heap_remove(&p->timers, &c->timer.t);
    if (c->state == PPSP_PEER_OPEN)
        c->swarm->open_count--;
    c->state = PPSP_PEER_PERMITTED;
    c->local = 0;
    c->queued = 0;
    ppsp_flight_done(&c->sent);
    ppsp_flight_done(&c->gone);
    ppsp_flight_done(&c->asked);
    ppsp_flight_done(&c->late);
    ppsp_chunkset_done(&c->have);
    ppsp_swarm_chunkset(c->swarm, &c->have);
    free(c->pending);
    c->pending = NULL;
    free(c->signatures);
    c->signatures = NULL;
    ppsp_contacts_done(c);
    c->shown = c->newest_told = c->newest_heard = 0;
}

/* What is waited for follows from it: whoever was asleep must not wait as long again. */
void ppsp_channel_rtt(struct ppsp_channel *c, cv_usec rtt) {
    rtt = cv_usec_min(rtt ? rtt : 1, PPSP_RTT_MAX);
    c->rtt = c->rtt ? cv_usec_min(c->rtt, rtt) : rtt;
}

void ppsp_channel_rest(struct ppsp_channel *c) {
    ppsp_flight_rest(&c->sent);
    ppsp_flight_rest(&c->gone);
    ppsp_flight_rest(&c->asked);
    ppsp_flight_rest(&c->late);
    if (!ppsp_flight_empty(&c->asked))
        return;
    free(c->pending); /* what is asked for next comes with its hashes */
    c->pending = NULL;
}

static void goodbye_queue(struct ppsp_channel *c) {
    struct ppsp *p = c->swarm->p;
    if (c->state != PPSP_PEER_OPEN || p->goodbye_count == PPSP_GOODBYES)
        return;
    p->goodbyes[p->goodbye_count++] =
        (struct ppsp_goodbye){.endpoint = c->endpoint, .remote = c->remote};
}

void ppsp_channel_free(struct ppsp_channel *c, bool goodbye) {
    struct ppsp_swarm *s = c->swarm;
    if (goodbye)
        goodbye_queue(c);
    reset(c);
    struct ppsp_peer_key key = {.endpoint = c->endpoint, .swarm = s->handle};
    void *was = cv_map_del(s->p->by_peer, &key);
    assert(was == c);
    (void)was;
    TAILQ_REMOVE(&s->channels, c, of_swarm);
    s->channel_count--;
    s->p->channels--;
    ppsp_chunkset_done(&c->have);
    ppsp_member_done(&c->member);
    free(c);
    if (s->open_count == 0 && s->tree.pages && !ppsp_tree_flush(&s->tree))
        ppsp_tree_idle(&s->tree); /* nobody to serve: costs nothing */
}

static void ban(struct ppsp *p, const struct cv_endpoint *ep, cv_usec now) {
    p->bans[p->ban_next] =
        (struct ppsp_ban){.endpoint = *ep, .until = cv_usec_add(now, PPSP_BAN_TIME)};
    p->ban_next = (p->ban_next + 1) % PPSP_BANS;
}

bool ppsp_banned(const struct ppsp *p, const struct cv_endpoint *ep, cv_usec now) {
    for (unsigned i = 0; i < PPSP_BANS; i++)
        if (p->bans[i].until > now && cv_endpoint_equal(&p->bans[i].endpoint, ep))
            return true;
    return false;
}

void ppsp_channel_down(struct ppsp_channel *c, cv_usec now, enum cv_err why, bool goodbye) {
    struct ppsp *p = c->swarm->p;
    if (why == CV_ERR_AUTH) {
        PPSP_COUNT(p, peers_dropped_bad);
        ban(p, &c->endpoint, now);
    }
    CV_TRACE(PPSP, peer_down, now, "channel=%u why=%d", c->local, (int)why);
    ppsp_event_push(p, &(struct ppsp_event){.type = PPSP_EVENT_PEER_DOWN,
                                            .err = why,
                                            .swarm = c->swarm->handle,
                                            .endpoint = c->endpoint});
    ppsp_channel_free(c, goodbye);
}

/* ---- handshaking ----------------------------------------------------------- */

void ppsp_channel_call(struct ppsp_channel *c, cv_usec now) {
    struct ppsp *p = c->swarm->p;
    c->local = ppsp_local_id(p);
    if (cv_map_put(p->by_local, &c->local, c)) {
        c->local = 0; /* no memory: the retry timer tries again */
    } else {
        c->state = PPSP_PEER_HANDSHAKING;
        c->called_at = now;
        c->heard_at = now;
        c->sent_unheard = 0;
        c->retried = false;
        c->retry_wait = PPSP_HANDSHAKE_RETRY;
    }
    c->retry_at = now;
    ppsp_channel_wake(c);
}

/* The conversation ends, the peer stays. */
static void tell_anew(const struct ppsp_channel *c) {
    ppsp_event_push(c->swarm->p, &(struct ppsp_event){.type = PPSP_EVENT_PEER_DOWN,
                                                      .err = CV_ERR_AGAIN,
                                                      .swarm = c->swarm->handle,
                                                      .endpoint = c->endpoint});
}

/*
 * Two ends may differ about a channel for a long time: whoever was called forgets a call
 * that is not confirmed in time, and a peer that crashed and came back knows nothing of
 * it, while the other end asks and asks, until it is dead by section 3.12, after three
 * minutes. A new call settles it, and it costs two datagrams: whoever does know the
 * channel finds that the peer began anew. Ever later, as some peers have nothing to say.
 */
static cv_usec silent_at(const struct ppsp_channel *c) {
    bool asks = !c->confirmed || c->stalls_running > 0;
    if (c->state != PPSP_PEER_OPEN || !asks || c->sent_unheard < PPSP_DEAD_DATAGRAMS)
        return CV_USEC_NEVER;
    cv_usec silent = cv_usec_add(c->heard_at, PPSP_SILENT << (c->anew < 4 ? c->anew : 4));
    cv_usec answer = cv_usec_add(c->third_at, PPSP_DEAD_ANSWER);
    return silent > answer ? silent : answer;
}

bool ppsp_channel_silent(const struct ppsp_channel *c, cv_usec now) {
    return now >= silent_at(c);
}

void ppsp_channel_anew(struct ppsp_channel *c, cv_usec now) {
    cv_usec heard_at = c->heard_at;
    PPSP_COUNT(c->swarm->p, channels_anew);
    CV_TRACE(PPSP, peer_anew, now, "channel=%u", c->local);
    tell_anew(c);
    reset(c);
    ppsp_channel_call(c, now);
    c->heard_at = heard_at; /* calling is no sign of life */
    c->anew++;
}

void ppsp_channel_up(struct ppsp_channel *c, cv_usec now, uint32_t local, uint32_t remote,
                     uint16_t messages) {
    struct ppsp_swarm *s = c->swarm;
    struct ppsp *p = s->p;
    if (local != c->local) {
        bool was_open = c->state == PPSP_PEER_OPEN; /* the peer began anew */
        reset(c);
        if (was_open)
            tell_anew(c);
        if (cv_map_put(p->by_local, &local, c))
            return; /* no memory: the peer will call again */
        c->local = local;
    }
    c->remote = remote;
    c->messages = messages;
    c->state = PPSP_PEER_OPEN;
    s->open_count++;
    c->heard_at = now;
    c->sent_unheard = 0;
    c->retry_at = CV_USEC_NEVER;
    c->guess = c->have.count == 0 && !s->live;
    c->guess_until = CV_USEC_NEVER;
    c->choked = false;
    ppsp_reciprocity_up(c, now);
    c->group_valid = false;
    c->withheld = PPSP_CHUNK_NONE;
    c->false_acks = 0;
    c->sent_passed = 0;
    c->asked_passed = 0;
    c->ack_count = c->ack_chunks = c->cancel_count = 0;
    c->ack_at = CV_USEC_NEVER;
    c->window = FIRST_WINDOW;
    c->ask_at = c->idle_until = 0;
    c->idle_at = now;
    c->send_at = c->held_until = c->saved = 0;
    c->news_seen = s->news_count;
    c->tell_from = 0;
    c->tell_again_at = CV_USEC_NEVER;
    c->tell_wait = PPSP_HAVE_AGAIN;
    c->confirmed = true;
    c->stalls_running = 0;
    c->doubted = 0;
    c->pex_asked = false;
    c->pex_expected = 0;
    c->pex_ask_at = now;
    uint32_t mss = (uint32_t)(4 + PPSP_DATA_OVERHEAD(s->config.addressing)) + s->config.chunk_size;
    c->way = ppsp_upstream_way(&c->endpoint, &s->circuits);
    ppsp_ledbat_init(&c->cc, mss, c->hidden ? PPSP_LEDBAT_TARGET_HIDDEN : PPSP_LEDBAT_TARGET, now);
    if (p->config.ledbat_plus)
        ppsp_ledbat_plus(&c->cc);
    if (c->hidden)
        inherit_window(c, now);
    CV_TRACE(PPSP, peer_up, now, "channel=%u", c->local);
    ppsp_event_push(p, &(struct ppsp_event){.type = PPSP_EVENT_PEER_UP,
                                            .swarm = s->handle,
                                            .endpoint = c->endpoint});
    ppsp_channel_wake(c);
}

/* ---- time ------------------------------------------------------------------ */

void ppsp_channel_wake(struct ppsp_channel *c) {
    if (c->ready)
        return;
    c->ready = true;
    TAILQ_INSERT_TAIL(&c->swarm->p->ready, c, in_ready);
}

/* Section 3.12: silent for three minutes although we sent three datagrams, the
 * last of which could have been answered. */
static cv_usec dead_at(const struct ppsp_channel *c) {
    if (c->sent_unheard < PPSP_DEAD_DATAGRAMS)
        return CV_USEC_NEVER;
    cv_usec silent = cv_usec_add(c->heard_at, PPSP_DEAD);
    cv_usec answer = cv_usec_add(c->third_at, PPSP_DEAD_ANSWER);
    return silent > answer ? silent : answer;
}

void ppsp_channel_schedule(struct ppsp_channel *c) {
    cv_usec at = dead_at(c);
    if (c->state == PPSP_PEER_HANDSHAKING) {
        at = cv_usec_min(at, c->retry_at);
    } else if (c->state == PPSP_PEER_OPEN) {
        at = cv_usec_min(at, cv_usec_add(c->sent_at, PPSP_KEEPALIVE));
        at = cv_usec_min(at, ppsp_control_next(c));
        at = cv_usec_min(at, c->retry_at);
        at = cv_usec_min(at, ppsp_serve_next(c));
        at = cv_usec_min(at, ppsp_fetch_next(c));
        at = cv_usec_min(at, silent_at(c));
    } else {
        at = CV_USEC_NEVER;
    }
    /* The heap was made as large as there can be timers: cannot fail but for
     * memory, and then the next datagram schedules again. */
    (void)cv_heap_set(&c->swarm->p->timers, &c->timer.t, at);
}

void ppsp_channel_on_timeout(struct ppsp_channel *c, cv_usec now) {
    if (now >= dead_at(c)) {
        ppsp_channel_down(c, now, CV_ERR_TIMEDOUT, false);
        return;
    }
    ppsp_channel_wake(c);
}
