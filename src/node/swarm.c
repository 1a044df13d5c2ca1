/* Open swarms: what a person asked for, and what there is to see of it. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "node/state.h"
#include "tunnel/hidden.h"

struct ppsp *node_swarm_engine(struct node *n, enum node_swarm_mode mode) {
    struct ppsp_config cfg = ppsp_defaults;
    cfg.ledbat_plus = n->cfg.ledbat_plus;
    cfg.upstream = node_upstream(n);
    cfg.tell_asked = mode == NODE_SWARM_DIRECT;
    if (mode != NODE_SWARM_DIRECT)
        cfg.mtu = TUN_MTU_RENDEZVOUS; /* the least that any circuit carries */
    return ppsp_new(&cfg, n->rng);
}

/* ---- handles ---- */

cv_handle node_swarm_handle(const struct node *n, const struct node_swarm *s) {
    return (cv_handle)s->generation << 32 | (uint64_t)(s - n->swarms);
}

struct node_swarm *node_swarm_get(const struct node *n, cv_handle swarm) {
    uint32_t i = (uint32_t)swarm;
    if (i >= NODE_SWARMS_MAX || !n->swarms[i].used || n->swarms[i].generation != swarm >> 32)
        return NULL;
    return &n->swarms[i];
}

struct node_swarm *node_swarm_by_hidden(struct node *n, cv_handle hidden) {
    for (size_t i = 0; hidden && i < NODE_SWARMS_MAX; i++) {
        struct node_swarm *s = &n->swarms[i];
        if (s->used && (s->view == hidden || s->share == hidden))
            return s;
    }
    return NULL;
}

static struct node_swarm *by_ppsp(struct node *n, const struct ppsp *engine, cv_handle ppsp) {
    for (size_t i = 0; i < NODE_SWARMS_MAX; i++) {
        struct node_swarm *s = &n->swarms[i];
        if (s->used && s->engine == engine && s->ppsp == ppsp)
            return s;
    }
    return NULL;
}

static bool same_swarm(const struct node_uri *a, const struct node_uri *b) {
    return a->swarm_id_len == b->swarm_id_len &&
           memcmp(a->swarm_id, b->swarm_id, a->swarm_id_len) == 0;
}

/* ---- opening and closing ---- */

static void keep_rate(struct node *n, const struct node_swarm *s, const cv_handle *hidden,
                      enum cv_err opened) {
    if (opened || !s->cfg.constant_rate)
        return;
    enum cv_err err = tun_hidden_pace(n->client, *hidden, s->cfg.constant_rate);
    assert(!err); /* a rate that exists, of a swarm that has no circuit yet */
    (void)err;
}

static bool is_rate(const struct node_swarm_config *cfg) {
    uint8_t r = cfg->constant_rate;
    return r == 0 || (cfg->mode == NODE_SWARM_HIDDEN && (r == 2 || r == 4 || r == 8 || r == 16));
}

/* Hidden swarms: look for seeders, and be one when there is something to give.
 * Open ones: call the relay. A full table is tried again from node_swarm_retry. */
static void meet(struct node *n, struct cv_now now, struct node_swarm *s) {
    const struct node_uri *u = &s->cfg.uri;
    const uint8_t *secret = u->has_secret ? u->secret : NULL;
    if (s->cfg.mode == NODE_SWARM_OPEN && s->engine == n->hidden)
        node_openly_dial(n, now, s);
    if (s->way)
        node_way_dial(n, now, s);
    node_pointing_meet(n, now, s);
    if (s->cfg.mode != NODE_SWARM_HIDDEN)
        return;
    if (!s->complete && !s->cfg.complete && !s->view) /* a live source needs nobody's chunks */
        keep_rate(n, s, &s->view,
                  tun_hidden_view(n->client, &now, u->swarm_id, u->swarm_id_len, secret, &s->view));
    bool give = s->cfg.complete || (!n->cfg.no_share && !s->cfg.no_share && s->worth_sharing);
    if (give && !s->share)
        keep_rate(n, s, &s->share,
                  tun_hidden_share(n->client, &now, u->swarm_id, u->swarm_id_len, secret,
                                   !s->cfg.complete, &s->share));
}

static struct node_swarm *free_slot(struct node *n, const struct node_swarm_config *cfg,
                                    enum cv_err *err) {
    struct node_swarm *slot = NULL;
    *err = CV_ERR_LIMIT;
    for (size_t i = NODE_SWARMS_MAX; i-- > 0;) {
        if (!n->swarms[i].used) {
            slot = &n->swarms[i];
        } else if (same_swarm(&n->swarms[i].cfg.uri, &cfg->uri)) {
            *err = CV_ERR_EXIST;
            return NULL;
        }
    }
    return slot;
}

/* The engine whose endpoints are what this swarm's peers are; NULL: not here. */
static struct ppsp *engine_for(struct node *n, const struct node_swarm_config *cfg) {
    if (cfg->mode == NODE_SWARM_DIRECT)
        return n->direct;
    if (cfg->mode == NODE_SWARM_HIDDEN || !cfg->complete)
        return n->hidden;
    if (cfg->mode == NODE_SWARM_EXIT) /* nobody is called by way of one */
        return NULL;
    if (n->relay && !n->open)
        n->open = node_swarm_engine(n, NODE_SWARM_OPEN);
    return n->open;
}

enum cv_err node_swarm_open(struct node *n, struct cv_now now, const struct node_swarm_config *cfg,
                            cv_handle *ret_swarm) {
    const struct node_uri *u = &cfg->uri;
    struct ppsp *engine = engine_for(n, cfg);
    if (memcmp(u->network_id, n->cfg.network_id, sizeof u->network_id) != 0)
        return CV_ERR_DIFFERS;
    bool live = u->kind == NODE_URI_LIVE;
    if (!engine || !is_rate(cfg) || u->kind > NODE_URI_LIVE || u->swarm_id_len > PPSP_ID_MAX ||
        (live && cfg->mode == NODE_SWARM_OPEN) ||
        (u->integrity == PPSP_INTEGRITY_NONE &&
         !(cfg->unprotected && cfg->mode == NODE_SWARM_DIRECT)))
        return CV_ERR_INVAL;
    enum cv_err err;
    struct node_swarm *s = free_slot(n, cfg, &err);
    if (!s)
        return err;

    struct ppsp_authority authority = {.id = u->authority,
                                       .id_len = u->authority_len,
                                       .key = cfg->authority_key,
                                       .certificate = cfg->certificate,
                                       .certificate_len = cfg->certificate_len};
    bool direct = cfg->mode == NODE_SWARM_DIRECT;
    struct ppsp_swarm_config p = {
        .id_len = u->swarm_id_len,
        .integrity = (enum ppsp_integrity)u->integrity,
        .hash = (enum cv_sha)u->hash,
        .addressing = (enum ppsp_addressing)u->addressing,
        .chunk_size = u->chunk_size,
        .length = u->length,
        .store = cfg->store,
        .store_ctx = cfg->store_ctx,
        .upload_limit = node_upstream_limit(cfg),
        .download_limit = cfg->download_limit,
        .unmeasured = cfg->constant_rate || cfg->mode == NODE_SWARM_EXIT,
        .serve = cfg->complete || !(n->cfg.no_share || cfg->no_share),
        .open = direct,
        .pex = direct,
        .contacts = cfg->mode == NODE_SWARM_HIDDEN,
        .authority = direct && u->authority_len ? &authority : NULL,
        .fetch_all = cfg->fetch_all,
        .unprotected = cfg->unprotected,
        .live = live ? &cfg->live : NULL,
    };
    memcpy(p.id, u->swarm_id, u->swarm_id_len);
    cv_handle handle;
    err = ppsp_swarm_open(engine, now, &p, &handle);
    if (err)
        return err;
    struct node_way *way = cfg->mode == NODE_SWARM_EXIT ? node_way_new() : NULL;
    if (cfg->mode == NODE_SWARM_EXIT && !way) {
        ppsp_swarm_close(engine, now, handle);
        return CV_ERR_NOMEM;
    }
    *s = (struct node_swarm){.used = true,
                             .generation = s->generation + 1,
                             .cfg = *cfg,
                             .engine = engine,
                             .ppsp = handle,
                             .way = way};
    ppsp_swarm_slots(engine, now, handle, node_favour_slots(cfg->upload_limit));
    if (live) /* nobody knows; every offset may come */
        s->cfg.uri.length = UINT64_MAX;
    struct ppsp_stats st;
    s->complete = ppsp_stats(engine, handle, &st) == CV_ERR_OK && st.complete;
    if (!s->cfg.uri.length)
        s->cfg.uri.length = st.octets;
    s->worth_sharing = st.chunks_have >= NODE_SHARE_FROM_CHUNKS || s->complete;
    *ret_swarm = node_swarm_handle(n, s);
    node_directly_announce(n, now, s);
    meet(n, now, s);
    node_settle(n, now);
    return CV_ERR_OK;
}

void node_swarm_close(struct node *n, struct cv_now now, cv_handle swarm) {
    struct node_swarm *s = node_swarm_get(n, swarm);
    if (!s)
        return;
    ppsp_swarm_close(s->engine, now, s->ppsp);
    if (s->view)
        tun_hidden_close(n->client, &now, s->view);
    if (s->share)
        tun_hidden_close(n->client, &now, s->share);
    node_openly_close(n, now, s);
    node_way_close(n, now, s);
    node_directly_end(n, now, s);
    node_pointing_end(n, now, s);
    s->used = false;
    node_settle(n, now);
}

enum cv_err node_swarm_peer(struct node *n, struct cv_now now, cv_handle swarm,
                            const struct cv_addr *addr) {
    struct node_swarm *s = node_swarm_get(n, swarm);
    if (s && s->way)
        return node_way_peer(n, now, s, addr);
    if (!s || s->cfg.mode != NODE_SWARM_DIRECT)
        return s ? CV_ERR_DENIED : CV_ERR_NOENT;
    struct cv_endpoint ep = cv_endpoint_udp(addr);
    enum cv_err err = ppsp_peer_add(
        s->engine, now, s->ppsp, &ep,
        &(struct ppsp_peer_props){.mtu = ppsp_swarm_mtu(s->engine, s->ppsp), .initiate = true});
    node_settle(n, now);
    return err;
}

/* ---- being the source of a live swarm ---- */

enum cv_err node_inject(struct node *n, struct cv_now now, cv_handle swarm, const uint8_t *chunk,
                        size_t len) {
    struct node_swarm *s = node_swarm_get(n, swarm);
    return s ? ppsp_inject(s->engine, now, s->ppsp, chunk, len) : CV_ERR_NOENT;
}

enum cv_err node_inject_end(struct node *n, struct cv_now now, cv_handle swarm) {
    struct node_swarm *s = node_swarm_get(n, swarm);
    return s ? ppsp_inject_end(s->engine, now, s->ppsp) : CV_ERR_NOENT;
}

uint64_t node_inject_next(const struct node *n, cv_handle swarm) {
    const struct node_swarm *s = node_swarm_get(n, swarm);
    return s ? ppsp_inject_next(s->engine, s->ppsp) : 0;
}

bool node_live_root(const struct node *n, cv_handle swarm, uint8_t ret[CV_SHA_MAX]) {
    const struct node_swarm *s = node_swarm_get(n, swarm);
    return s && ppsp_live_root(s->engine, s->ppsp, ret);
}

/* ---- wishes and reading ---- */

enum cv_err node_want(struct node *n, struct cv_now now, cv_handle swarm, uint64_t first,
                      uint64_t last, uint64_t rate, uint64_t *ret_want) {
    struct node_swarm *s = node_swarm_get(n, swarm);
    ppsp_want_id id;
    if (!s)
        return CV_ERR_NOENT;
    enum cv_err err = ppsp_want(s->engine, now, s->ppsp, first, last, now.mono, rate, &id);
    if (!err)
        *ret_want = id;
    return err;
}

void node_unwant(struct node *n, struct cv_now now, cv_handle swarm, uint64_t want) {
    struct node_swarm *s = node_swarm_get(n, swarm);
    if (s)
        ppsp_unwant(s->engine, now, s->ppsp, (ppsp_want_id)want);
}

void node_starves(struct node *n, struct cv_now now, cv_handle swarm) {
    struct node_swarm *s = node_swarm_get(n, swarm);
    if (s && s->view && !s->complete)
        tun_hidden_starves(n->client, &now, s->view);
}

uint64_t node_available(struct node *n, cv_handle swarm, uint64_t offset) {
    struct node_swarm *s = node_swarm_get(n, swarm);
    if (!s || offset >= s->cfg.uri.length)
        return 0;
    uint64_t size = s->cfg.uri.chunk_size;
    uint64_t missing = ppsp_first_missing(s->engine, s->ppsp, offset / size);
    if (missing == UINT64_MAX)
        return 0;
    uint64_t end = missing * size;
    if (end > s->cfg.uri.length)
        end = s->cfg.uri.length;
    return end > offset ? end - offset : 0;
}

bool node_range(struct node *n, cv_handle swarm, uint64_t offset, uint64_t *ret_first,
                uint64_t *ret_last) {
    struct node_swarm *s = node_swarm_get(n, swarm);
    if (!s || offset >= s->cfg.uri.length)
        return false;
    uint64_t size = s->cfg.uri.chunk_size, length = s->cfg.uri.length;
    uint64_t chunk = ppsp_first_verified(s->engine, s->ppsp, offset / size);
    if (chunk > (length - 1) / size)
        return false;
    *ret_first = chunk * size > offset ? chunk * size : offset;
    *ret_last = *ret_first + node_available(n, swarm, *ret_first) - 1;
    return true;
}

bool node_requested(struct node *n, cv_handle swarm, uint64_t offset, uint64_t *ret_first,
                    uint64_t *ret_last) {
    struct node_swarm *s = node_swarm_get(n, swarm);
    uint64_t first, last;
    if (!s || offset >= s->cfg.uri.length)
        return false;
    uint64_t size = s->cfg.uri.chunk_size, length = s->cfg.uri.length;
    if (!ppsp_requested(s->engine, s->ppsp, offset / size, &first, &last) ||
        first > (length - 1) / size)
        return false;
    *ret_first = first * size > offset ? first * size : offset;
    *ret_last = last < (length - 1) / size ? (last + 1) * size - 1 : length - 1;
    return true;
}

bool node_live_span(const struct node *n, cv_handle swarm, uint64_t *ret_first, uint64_t *ret_end) {
    const struct node_swarm *s = node_swarm_get(n, swarm);
    if (!s || s->cfg.uri.kind != NODE_URI_LIVE || !s->edge)
        return false;
    uint64_t window = s->cfg.live.window;
    *ret_first = s->edge > window ? (s->edge - window) * s->cfg.uri.chunk_size : 0;
    *ret_end = s->edge * s->cfg.uri.chunk_size;
    return true;
}

ssize_t node_read(struct node *n, cv_handle swarm, uint64_t offset, uint8_t *buf, size_t len) {
    struct node_swarm *s = node_swarm_get(n, swarm);
    uint64_t ready = node_available(n, swarm, offset);
    if (!s)
        return CV_ERR_NOENT;
    if (!ready || !len)
        return CV_ERR_AGAIN;
    if (len > ready)
        len = (size_t)ready;
    uint64_t size = s->cfg.uri.chunk_size, skip = offset % size;
    uint64_t count = (skip + len + size - 1) / size;
    if (count > NODE_READ_OCTETS / size)
        count = NODE_READ_OCTETS / size;
    if (count > 64)
        count = 64;
    size_t got;
    enum cv_err err = s->cfg.store->read_chunks(s->cfg.store_ctx, offset / size, (uint32_t)count,
                                                n->read_buf, NODE_READ_OCTETS, &got);
    if (err)
        return err;
    if (got <= skip)
        return CV_ERR_STORE;
    if (len > got - skip)
        len = (size_t)(got - skip);
    memcpy(buf, n->read_buf + skip, len);
    return (ssize_t)len;
}

/* ---- events of ppsp ---- */

static void on_ready(struct node *n, struct cv_now now, struct node_swarm *s,
                     const struct ppsp_event *ev) {
    uint64_t size = s->cfg.uri.chunk_size;
    uint64_t last = (ev->last + 1) * size - 1;
    s->edge = ev->last + 1 > s->edge ? ev->last + 1 : s->edge;
    if (last >= s->cfg.uri.length)
        last = s->cfg.uri.length - 1;
    node_event_push(n, &(struct node_event){.kind = NODE_EVENT_CHUNKS_READY,
                                            .swarm = node_swarm_handle(n, s),
                                            .u.range = {ev->first * size, last}});
    struct ppsp_stats st;
    if (!s->worth_sharing && ppsp_stats(s->engine, s->ppsp, &st) == CV_ERR_OK &&
        st.chunks_have >= NODE_SHARE_FROM_CHUNKS) {
        s->worth_sharing = true;
        meet(n, now, s);
    }
}

static void on_complete(struct node *n, struct cv_now now, struct node_swarm *s) {
    s->complete = s->worth_sharing = true;
    meet(n, now, s);
    node_event_push(
        n, &(struct node_event){.kind = NODE_EVENT_COMPLETE, .swarm = node_swarm_handle(n, s)});
}

static void on_asked(struct node *n, const struct ppsp_event *ev) {
    struct node_event out = {.kind = NODE_EVENT_ASKED, .u.asked.len = ev->id_len};
    memcpy(out.u.asked.swarm_id, ev->id, ev->id_len);
    node_event_push(n, &out);
}

static void on_live(struct node *n, struct node_swarm *s, const struct ppsp_event *ev) {
    uint64_t size = s->cfg.uri.chunk_size;
    struct node_event out = {.swarm = node_swarm_handle(n, s)};
    struct ppsp_stats st;
    if (ev->type == PPSP_EVENT_LIVE_ENDED) {
        out.kind = NODE_EVENT_LIVE_ENDED;
        out.u.count = ppsp_stats(s->engine, s->ppsp, &st) ? 0 : st.octets;
        s->cfg.uri.length = out.u.count;
    } else {
        out.kind =
            ev->type == PPSP_EVENT_LIVE_TUNED ? NODE_EVENT_LIVE_TUNED : NODE_EVENT_LIVE_DROPPED;
        out.u.range.first = ev->first * size;
        out.u.range.last = (ev->last + 1) * size - 1;
    }
    node_event_push(n, &out);
}

void node_swarm_on_ppsp(struct node *n, struct cv_now now, struct ppsp *engine,
                        const struct ppsp_event *ev) {
    if (ev->type == PPSP_EVENT_ASKED) {
        on_asked(n, ev);
        return;
    }
    struct node_swarm *s = by_ppsp(n, engine, ev->swarm);
    if (!s)
        return;
    struct node_event out = {.swarm = node_swarm_handle(n, s)};
    switch (ev->type) {
    case PPSP_EVENT_CHUNKS_READY:
        on_ready(n, now, s, ev);
        break;
    case PPSP_EVENT_COMPLETE:
        on_complete(n, now, s);
        break;
    case PPSP_EVENT_PEER_UP:
    case PPSP_EVENT_PEER_DOWN:
        out.kind = ev->type == PPSP_EVENT_PEER_UP ? NODE_EVENT_PEER_UP : NODE_EVENT_PEER_DOWN;
        out.u.peer.endpoint = ev->endpoint;
        node_event_push(n, &out);
        if (ev->type == PPSP_EVENT_PEER_UP)
            node_favour_peer(n, now, s, &ev->endpoint);
        if (ev->type == PPSP_EVENT_PEER_UP || ev->err == CV_ERR_AGAIN)
            break; /* the way to it is still used */
        if (s->way) {
            node_way_peer_down(n, now, s, &ev->endpoint);
        } else if (s->cfg.mode == NODE_SWARM_OPEN) {
            node_openly_peer_down(n, now, s, &ev->endpoint);
        } else if (s->cfg.mode == NODE_SWARM_HIDDEN) {
            /* The way to it still stands and would be held for a peer: whoever is
             * needed comes, or is met, anew. What ppsp has to say goodbye with first. */
            node_route_pump(n, now, n->hidden);
            tun_hidden_drop(n->client, &now, &ev->endpoint);
        }
        break;
    case PPSP_EVENT_SIZE_KNOWN:
        if (ev->err == CV_ERR_DIFFERS) {
            out.kind = NODE_EVENT_LENGTH_DIFFERS;
            out.u.count = ev->octets;
            node_event_push(n, &out);
        } else if (!s->cfg.uri.length) { /* it was found by its root hash alone */
            s->cfg.uri.length = ev->octets;
        }
        break;
    case PPSP_EVENT_CONTACTS_WANTED:
        node_route_contacts(n, now, s, &ev->endpoint);
        break;
    case PPSP_EVENT_CONTACT:
        tun_hidden_told(n->client, &now, &ev->endpoint, ev->period, ev->id, ev->id_len);
        break;
    case PPSP_EVENT_ASKED:
    case PPSP_EVENT_LIVE_TUNED:
    case PPSP_EVENT_LIVE_DROPPED:
    case PPSP_EVENT_LIVE_ENDED:
        on_live(n, s, ev);
        break;
    case PPSP_EVENT_STORE_ERROR:
        out.kind = NODE_EVENT_STORE_ERROR;
        out.u.err = ev->err;
        node_event_push(n, &out);
        break;
    }
}

void node_swarm_ready(struct node *n, struct cv_now now, cv_handle swarm) {
    struct node_swarm *s = node_swarm_get(n, swarm);
    if (s)
        ppsp_swarm_ready(s->engine, now, s->ppsp);
}

void node_swarm_retry(struct node *n, struct cv_now now) {
    for (size_t i = 0; i < NODE_SWARMS_MAX; i++)
        if (n->swarms[i].used)
            meet(n, now, &n->swarms[i]);
}

/* ---- what there is to see ---- */

static struct node_swarm *nth(const struct node *n, size_t i) {
    for (size_t j = 0; j < NODE_SWARMS_MAX; j++)
        if (n->swarms[j].used && i-- == 0)
            return &n->swarms[j];
    return NULL;
}

/* Zeros: there is no such thing. */
static struct tun_hidden_info hidden_info(const struct node *n, cv_handle hidden) {
    struct tun_hidden_info info;
    if (!hidden || tun_hidden_info(n->client, hidden, &info))
        return (struct tun_hidden_info){.state = 0};
    return info;
}

bool node_swarm_status(const struct node *n, size_t i, struct node_swarm_status *ret) {
    struct node_swarm *s = nth(n, i);
    struct ppsp_stats st;
    if (!s || ppsp_stats(s->engine, s->ppsp, &st) != CV_ERR_OK)
        return false;
    uint64_t have = st.chunks_have * s->cfg.uri.chunk_size;
    struct tun_hidden_info view = hidden_info(n, s->view), share = hidden_info(n, s->share);
    *ret = (struct node_swarm_status){
        .swarm = node_swarm_handle(n, s),
        .uri = s->cfg.uri,
        .mode = s->cfg.mode,
        .sharing = s->share != 0 || (s->cfg.mode != NODE_SWARM_HIDDEN && s->cfg.complete),
        .have = have < s->cfg.uri.length ? have : s->cfg.uri.length,
        .length = s->cfg.uri.length,
        .received = st.down,
        .sent = st.up,
        .rate_down = st.down_rate,
        .rate_up = st.up_rate,
        .peers = st.peers,
        .constant_rate = s->cfg.constant_rate,
        .rate_refused = view.paces_refused + share.paces_refused,
        .stamps = {.asked = share.effort,
                   .came = share.introductions,
                   .refused = share.refused,
                   .below = share.below,
                   .given = view.stamps,
                   .given_of = view.effort},
    };
    return true;
}

static void fill_path(const struct node *n, struct node_peer_status *ret) {
    uint8_t hops[NODE_PATH_MAX][CV_KEY];
    size_t count = tun_circuit_path(n->client, ret->endpoint.handle, hops, NODE_PATH_MAX);
    ret->hops = (uint8_t)count;
    for (size_t i = 0; i < count; i++)
        cv_hex(hops[i], NODE_PSEUDONYM / 2, ret->path[i]);
    struct tun_circuit_info info;
    if (tun_circuit_info(n->client, ret->endpoint.handle, &info) == CV_ERR_OK)
        ret->constant_rate = info.pace;
}

bool node_peer_status(const struct node *n, cv_handle swarm, size_t i,
                      struct node_peer_status *ret) {
    struct node_swarm *s = node_swarm_get(n, swarm);
    struct ppsp_peer_stats rows[NODE_PEERS_SHOWN];
    if (!s || i >= NODE_PEERS_SHOWN)
        return false;
    size_t count = ppsp_peers(s->engine, s->ppsp, rows, NODE_PEERS_SHOWN);
    if (i >= count)
        return false;
    *ret = (struct node_peer_status){
        .endpoint = rows[i].endpoint,
        .received = rows[i].down,
        .sent = rows[i].up,
        .rate_down = rows[i].down_rate,
        .rate_up = rows[i].up_rate,
        .rtt = rows[i].rtt,
        .have = rows[i].chunks_have,
        .rank = rows[i].rank,
        .choked = rows[i].choked,
        .hidden = s->cfg.mode != NODE_SWARM_DIRECT,
    };
    if (s->engine == n->hidden)
        fill_path(n, ret);
    return true;
}
