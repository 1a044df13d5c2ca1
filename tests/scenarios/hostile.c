/*
 * Everything that a peer can do to harm a swarm, at once: eleven hostile peers, each
 * with a habit of its own (enum habit), on a seeder and three viewers who also have
 * each other. The viewers complete with nothing but the content, honest peers keep
 * their channels to each other, and every habit costs what it shall: a counter, its
 * own channel, a place in a table of fixed size.
 *
 * The hostile ones are played octet by octet and send as fast as they like: their
 * datagrams appear at their victims' doors.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ppsp/bin.h"
#include "ppsp/message.h"
#include "ppsp/options.h"
#include "scenarios/scenario.h"
#include "scenarios/swarm.h"

enum { HONEST = 4, ATTACK_UNTIL = 12, RECORDED = 64 };

enum habit {
    WRONG_CHUNKS,   /* the tree is right, the chunks are not */
    WRONG_HASHES,   /* the chunks are right, the hashes are not */
    FOREIGN_HASHES, /* right hashes of other nodes, under their own names and under others */
    HAVE_ALL,       /* has everything and gives nothing */
    OPTIMIST,       /* acknowledges everything before it comes */
    FLOODER,        /* asks for everything, again and again, in pieces */
    CANCELLER,      /* cancels what it never asked for */
    WRAPPER,        /* ranges that run backwards, that end with 2^32 - 1, nodes that are none */
    CALLER,         /* handshakes without end, in everybody's name */
    SIZES,          /* chunk sizes of 0, 2^32 - 1 and others that cannot be */
    REPLAYER,       /* what honest peers said, later and in any order, and made-up channels */
    HABITS
};

struct victim {
    struct swarm_peer *peer;
    uint32_t ours, theirs;
    bool open;
    uint64_t acked;
};

struct world;

struct hostile {
    struct world *w;
    enum habit habit;
    unsigned node;
    struct cv_addr addr;
    struct victim victims[HONEST];
    uint64_t said;
};

struct record {
    const struct swarm_peer *from, *to;
    size_t len;
    uint8_t buf[1500];
};

struct world {
    struct swarm_world *w;
    struct ppsp_chunkspec spec;
    uint64_t chunks;
    struct hostile hostile[HABITS];
    struct record record[RECORDED];
    uint64_t recorded;
};

/* ---- saying --------------------------------------------------------------------- */

static void say_as(struct hostile *h, const struct cv_addr *from, const struct victim *v,
                   const struct cv_wr *d) {
    assert(!d->err);
    h->said++;
    (void)sim_inject(h->w->w->sim, from, &v->peer->addr, d->start, cv_wr_len(d));
}

static void say(struct hostile *h, const struct victim *v, const struct cv_wr *d) {
    say_as(h, &h->addr, v, d);
}

static struct cv_wr datagram(const struct victim *v) {
    static uint8_t buf[1472];
    struct cv_wr d = cv_wr_init(buf, sizeof buf);
    cv_wr_be32(&d, v->theirs);
    return d;
}

/* First and last as they are, also where no range is. */
static void put_raw(struct cv_wr *d, enum ppsp_message_type type, uint32_t first, uint32_t last) {
    cv_wr_u8(d, (uint8_t)type);
    cv_wr_be32(d, first);
    cv_wr_be32(d, last);
    if (type == PPSP_MSG_ACK)
        cv_wr_be64(d, 1000);
    if (type == PPSP_MSG_INTEGRITY)
        cv_wr_zero(d, SWARM_HASH);
}

static void call(struct hostile *h, struct victim *v, const struct cv_addr *from, uint32_t size) {
    const struct cv_rng *rng = sim_rng(h->w->w->sim);
    uint8_t buf[256];
    struct cv_wr d = cv_wr_init(buf, sizeof buf);
    struct ppsp_options o = {
        .present = 1u << PPSP_OPT_VERSION | 1u << PPSP_OPT_MIN_VERSION | 1u << PPSP_OPT_SWARM_ID |
                   1u << PPSP_OPT_INTEGRITY | 1u << PPSP_OPT_HASH | 1u << PPSP_OPT_ADDRESSING |
                   1u << PPSP_OPT_CHUNK_SIZE,
        .version = 1,
        .min_version = 1,
        .swarm_id = h->w->w->root,
        .swarm_id_len = SWARM_HASH,
        .integrity = PPSP_INTEGRITY_MERKLE,
        .hash = CV_SHA256,
        .addressing = PPSP_ADDRESSING_CHUNK32,
        .chunk_size = size,
    };
    v->ours = cv_rng_u32(rng) | 1;
    cv_wr_be32(&d, 0);
    cv_wr_u8(&d, PPSP_MSG_HANDSHAKE);
    cv_wr_be32(&d, v->ours);
    ppsp_options_write(&d, &o);
    say_as(h, from, v, &d);
}

/* ---- serving, in its way ----------------------------------------------------------- */

static void put_node(struct hostile *h, struct cv_wr *d, ppsp_bin name, ppsp_bin node) {
    uint8_t hash[SWARM_HASH];
    struct world *w = h->w;
    if (node == ppsp_bin_root(w->chunks))
        memcpy(hash, w->w->root, SWARM_HASH);
    else if (sim_store_ops.tree_get(w->w->tree, node, 1, hash))
        return;
    if (h->habit == WRONG_HASHES)
        hash[cv_rng_below(sim_rng(w->w->sim), SWARM_HASH)] ^= 1;
    ppsp_integrity_write(
        d, &w->spec, SWARM_HASH,
        &(struct ppsp_integrity_hash){{ppsp_bin_first(name), ppsp_bin_last(name)}, hash});
}

/* A chunk with peaks and uncles, of which something is wrong. */
static void give(struct hostile *h, struct victim *v, uint64_t chunk) {
    struct world *w = h->w;
    const struct cv_rng *rng = sim_rng(w->w->sim);
    struct cv_wr d = datagram(v);
    ppsp_bin bins[128];
    uint64_t other = h->habit == FOREIGN_HASHES ? cv_rng_below(rng, w->chunks) : chunk;
    bool renamed = cv_rng_below(rng, 2);
    unsigned n = ppsp_bin_peaks(w->chunks, bins);
    for (unsigned i = 0; i < n; i++)
        put_node(h, &d, bins[i], bins[i]);
    for (ppsp_bin b = ppsp_bin_leaf(other), name = ppsp_bin_leaf(chunk);
         ppsp_bin_last(ppsp_bin_parent(b)) < w->chunks &&
         ppsp_bin_last(ppsp_bin_parent(name)) < w->chunks;
         b = ppsp_bin_parent(b), name = ppsp_bin_parent(name))
        if (cv_wr_room(&d) > 200)
            put_node(h, &d, ppsp_bin_sibling(renamed ? name : b), ppsp_bin_sibling(b));
    if (cv_wr_room(&d) < PPSP_DATA_OVERHEAD(w->spec.method) + SWARM_CHUNK) {
        say(h, v, &d);
        d = datagram(v);
    }
    uint8_t content[SWARM_CHUNK];
    uint64_t at = chunk * SWARM_CHUNK, len = w->w->octets - at;
    len = len < SWARM_CHUNK ? len : SWARM_CHUNK;
    memcpy(content, w->w->content + at, len);
    content[0] ^= h->habit == WRONG_CHUNKS;
    ppsp_data_write(&d, &w->spec,
                    &(struct ppsp_data){.chunk = chunk, .content = content, .len = len});
    say(h, v, &d);
}

static void on_request(struct hostile *h, struct victim *v, const struct ppsp_range *r) {
    if (h->habit > FOREIGN_HASHES)
        return;
    for (uint64_t c = r->first; c <= r->last && c < h->w->chunks && c < r->first + 8; c++)
        give(h, v, c);
}

static void boast(struct hostile *h, struct victim *v) {
    struct cv_wr d = datagram(v);
    if (h->habit <= HAVE_ALL)
        put_raw(&d, PPSP_MSG_HAVE, 0, UINT32_MAX);
    say(h, v, &d);
}

/* ---- hearing ------------------------------------------------------------------------- */

/* What of a datagram has to be understood to go on behind it. */
static void read_messages(struct hostile *h, struct victim *v, struct cv_rd *r) {
    struct ppsp_range range;
    struct ppsp_ack ack;
    struct ppsp_integrity_hash node;
    enum cv_err err = CV_ERR_OK;
    while (!err && cv_rd_left(r)) {
        uint8_t type = cv_rd_u8(r);
        if (type == PPSP_MSG_HAVE || type == PPSP_MSG_REQUEST || type == PPSP_MSG_CANCEL) {
            err = ppsp_spec_read(r, &h->w->spec, &range);
            if (!err && type == PPSP_MSG_REQUEST)
                on_request(h, v, &range);
        } else if (type == PPSP_MSG_ACK) {
            err = ppsp_ack_read(r, &h->w->spec, &ack);
        } else if (type == PPSP_MSG_INTEGRITY) {
            err = ppsp_integrity_read(r, &h->w->spec, SWARM_HASH, &node);
        } else if (type != PPSP_MSG_CHOKE && type != PPSP_MSG_UNCHOKE) {
            return;
        }
    }
}

static void on_datagram(void *ctx, struct cv_now now, unsigned socket, const struct cv_addr *to,
                        const struct cv_addr *from, const uint8_t *buf, size_t len) {
    struct hostile *h = ctx;
    struct cv_rd r = cv_rd_init(buf, len);
    uint32_t channel = cv_rd_be32(&r);
    (void)now, (void)socket, (void)to;
    for (unsigned i = 0; i < HONEST; i++) {
        struct victim *v = &h->victims[i];
        if (!cv_addr_equal(&v->peer->addr, from) || channel != v->ours)
            continue;
        if (cv_rd_left(&r) && *r.p == PPSP_MSG_HANDSHAKE) {
            (void)cv_rd_u8(&r);
            v->theirs = cv_rd_be32(&r);
            v->open = v->theirs != 0; /* 0: a goodbye */
            if (!v->open)
                return;
            boast(h, v);
            return;
        }
        read_messages(h, v, &r);
    }
}

/* ---- acting -------------------------------------------------------------------------- */

static void ask(struct hostile *h, struct victim *v) {
    const struct cv_rng *rng = sim_rng(h->w->w->sim);
    struct cv_wr d = datagram(v);
    for (unsigned i = 0; i < 100; i++) {
        uint32_t first = (uint32_t)cv_rng_below(rng, h->w->chunks);
        uint32_t len = (uint32_t)cv_rng_below(rng, h->habit == FLOODER ? 64 : 4);
        put_raw(&d, h->habit == FLOODER ? PPSP_MSG_REQUEST : PPSP_MSG_CANCEL, first, first + len);
    }
    say(h, v, &d);
}

static void acknowledge(struct hostile *h, struct victim *v) {
    struct cv_wr d = datagram(v);
    put_raw(&d, PPSP_MSG_REQUEST, 0, (uint32_t)h->w->chunks - 1);
    v->acked = (v->acked + 48) % h->w->chunks;
    put_raw(&d, PPSP_MSG_ACK, 0, (uint32_t)v->acked);
    say(h, v, &d);
}

static void wrap(struct hostile *h, struct victim *v) {
    static const enum ppsp_message_type types[] = {PPSP_MSG_HAVE, PPSP_MSG_REQUEST, PPSP_MSG_CANCEL,
                                                   PPSP_MSG_ACK, PPSP_MSG_INTEGRITY};
    static const struct {
        uint32_t first, last;
    } ends[] = {
        {0, UINT32_MAX}, {UINT32_MAX, UINT32_MAX}, {UINT32_MAX - 1, UINT32_MAX},
        {1, 0x80000000}, {0x80000000, UINT32_MAX}, {UINT32_MAX, 0},
        {5, 4},
    };
    const struct cv_rng *rng = sim_rng(h->w->w->sim);
    struct cv_wr d = datagram(v);
    unsigned kind = (unsigned)cv_rng_below(rng, sizeof ends / sizeof *ends);
    put_raw(&d, types[cv_rng_below(rng, 5)], ends[kind].first, ends[kind].last);
    v->open = kind < 5; /* backwards: that was the end of the channel */
    say(h, v, &d);
}

static struct cv_addr anybody(const struct cv_rng *rng) {
    return sim_addr(1000 + (unsigned)cv_rng_below(rng, 40000),
                    (uint16_t)cv_rng_between(rng, 1, 65535));
}

static void call_around(struct hostile *h, struct victim *v) {
    const struct cv_rng *rng = sim_rng(h->w->w->sim);
    for (unsigned i = 0; i < 10; i++) {
        struct cv_addr from = anybody(rng);
        call(h, v, &from, SWARM_CHUNK);
    }
    call(h, v, &h->w->w->peers[cv_rng_below(rng, HONEST)]->addr, SWARM_CHUNK);
}

static void call_with_sizes(struct hostile *h, struct victim *v) {
    static const uint32_t sizes[] = {0, UINT32_MAX, 1, 511, 1023, 65001, 0x80000000};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        call(h, v, &h->addr, sizes[i]);
    v->open = false;
}

static void replay(struct hostile *h, struct victim *v) {
    struct world *w = h->w;
    const struct cv_rng *rng = sim_rng(w->w->sim);
    for (unsigned i = 0; i < 4 && w->recorded; i++) {
        uint64_t n = w->recorded < RECORDED ? w->recorded : RECORDED;
        const struct record *r = &w->record[cv_rng_below(rng, n)];
        uint8_t buf[1500];
        memcpy(buf, r->buf, r->len);
        uint64_t how = cv_rng_below(rng, 3);
        if (how == 0 && r->len >= 4)
            cv_rng_fill(rng, buf, 4); /* to a channel that it makes up */
        (void)sim_inject(w->w->sim, how == 1 ? &h->addr : &r->from->addr, &r->to->addr, buf,
                         r->len);
        h->said++;
    }
    (void)v;
}

static void act_on(struct hostile *h, struct victim *v) {
    if (h->habit == CALLER)
        call_around(h, v);
    else if (h->habit == SIZES)
        call_with_sizes(h, v);
    else if (h->habit == REPLAYER)
        replay(h, v);
    else if (!v->open)
        call(h, v, &h->addr, SWARM_CHUNK);
    else if (h->habit == HAVE_ALL)
        boast(h, v);
    else if (h->habit == FLOODER || h->habit == CANCELLER)
        ask(h, v);
    else if (h->habit == OPTIMIST)
        acknowledge(h, v);
    else if (h->habit == WRAPPER)
        wrap(h, v);
}

static void act(struct sim *s, void *ctx) {
    struct hostile *h = ctx;
    for (unsigned i = 0; i < HONEST; i++)
        act_on(h, &h->victims[i]);
    if (sim_now(s) < CV_SEC(ATTACK_UNTIL))
        sim_at(s, sim_now(s) + cv_rng_between(sim_rng(s), CV_MSEC(10), CV_MSEC(100)), act, h);
}

/* ---- the world ------------------------------------------------------------------------- */

static bool poll_transmit(void *ctx, struct cv_now now, unsigned socket, struct cv_batch *batch) {
    (void)ctx, (void)now, (void)socket, (void)batch;
    return false;
}

static void on_timeout(void *ctx, struct cv_now now) {
    (void)ctx, (void)now;
}

static cv_usec next_timeout(void *ctx) {
    (void)ctx;
    return CV_USEC_NEVER;
}

static const struct sim_node_ops ops = {.on_datagram = on_datagram,
                                        .on_timeout = on_timeout,
                                        .poll_transmit = poll_transmit,
                                        .next_timeout = next_timeout};

/* What honest peers say to each other is what the replayer has. */
static enum sim_verdict listen(void *ctx, const struct sim_datagram *d) {
    struct world *w = ctx;
    if (d->from_node >= HONEST || d->to_node >= HONEST || d->len > sizeof w->record[0].buf)
        return SIM_PASS;
    struct record *r = &w->record[w->recorded++ % RECORDED];
    *r = (struct record){
        .from = w->w->peers[d->from_node], .to = w->w->peers[d->to_node], .len = d->len};
    memcpy(r->buf, d->buf, d->len);
    return SIM_PASS;
}

static void build(struct world *w, uint64_t seed) {
    w->w = swarm_world_new(seed, 1500000 + seed % 3000);
    w->chunks = (w->w->octets + SWARM_CHUNK - 1) / SWARM_CHUNK;
    w->spec = (struct ppsp_chunkspec){
        .method = PPSP_ADDRESSING_CHUNK32, .chunk_size = SWARM_CHUNK, .octets = w->w->octets};
    for (unsigned i = 0; i < HONEST; i++)
        swarm_peer_new(w->w, i == 0 ? SWARM_SEEDER : SWARM_VIEWER);
    sim_path_default(w->w->sim, &(struct sim_path){.delay = CV_MSEC(20),
                                                   .jitter = CV_MSEC(3),
                                                   .rate = 2000000,
                                                   .queue = 60000,
                                                   .loss_ppm = 5000});
    sim_hook(w->w->sim, listen, w);
    for (unsigned k = 0; k < HABITS; k++) {
        struct hostile *h = &w->hostile[k];
        *h = (struct hostile){.w = w, .habit = (enum habit)k};
        h->node = sim_add(w->w->sim, &ops, h);
        h->addr = sim_addr(h->node, 7000);
        enum cv_err err = sim_bind(w->w->sim, h->node, 0, &h->addr);
        assert(!err);
        (void)err;
        for (unsigned i = 0; i < HONEST; i++)
            h->victims[i].peer = w->w->peers[i];
        sim_at(w->w->sim, CV_MSEC(1 + k), act, h);
    }
    for (unsigned v = 1; v < HONEST; v++)
        for (unsigned to = 0; to < v; to++)
            swarm_connect(w->w->peers[v], w->w->peers[to]);
}

/* Honest peers are still each other's. */
static bool knows(const struct swarm_peer *a, const struct swarm_peer *b) {
    struct ppsp_peer_stats ps[64];
    struct cv_endpoint ep = cv_endpoint_udp(&b->addr);
    size_t n = ppsp_peers(a->engine, a->swarm, ps, 64);
    for (size_t i = 0; i < n && i < 64; i++)
        if (ps[i].state == PPSP_PEER_OPEN && cv_endpoint_equal(&ps[i].endpoint, &ep))
            return true;
    return false;
}

#define SUM(name)                                                                                  \
    do {                                                                                           \
        uint64_t sum = 0;                                                                          \
        for (unsigned i = 0; i < HONEST; i++)                                                      \
            sum += ppsp_counters(w->w->peers[i]->engine)->name;                                    \
        SCENARIO_CHECK(sum > 0, "nobody noticed: " #name);                                         \
    } while (0)

static bool check(struct world *w, struct scenario_result *ret) {
    sim_run(w->w->sim, CV_SEC(ATTACK_UNTIL));
    bool done = sim_run_while_not(w->w->sim, swarm_all_complete, w->w, CV_SEC(300));
    uint64_t said = 0;
    SCENARIO_CHECK(done, "not complete after 300 s");
    SCENARIO_CHECK(swarm_stores_match(w->w), "wrong octets in a store");
    for (unsigned i = 0; i < HABITS; i++) {
        said += w->hostile[i].said;
        SCENARIO_CHECK(w->hostile[i].said > 20, "habit %u did not happen", i);
    }
    for (unsigned i = 0; i < HONEST; i++) {
        struct ppsp_stats st = {0};
        const struct swarm_peer *p = w->w->peers[i];
        (void)ppsp_stats(p->engine, p->swarm, &st);
        SCENARIO_CHECK(st.peers <= HONEST + HABITS, "peer %u has %u channels", i, st.peers);
        SCENARIO_CHECK(ppsp_counters(p->engine)->events_lost == 0, "peer %u lost events", i);
        SCENARIO_CHECK(sim_store_counters(p->store)->chunks_twice == 0, "a chunk written twice");
        for (unsigned k = 0; k < HONEST; k++)
            SCENARIO_CHECK(i == k || knows(p, w->w->peers[k]), "%u lost its peer %u", i, k);
    }
    SUM(drop_data_bad);
    SUM(drop_integrity_bad);
    SUM(drop_message_bad);
    SUM(drop_ack_unknown);
    SUM(drop_request_full);
    SUM(drop_cancel_unknown);
    SUM(drop_have_bad);
    SUM(drop_handshake_differs);
    SUM(drop_handshake_banned);
    SUM(drop_channel);
    SUM(drop_endpoint);
    SUM(requests_expired);
    snprintf(ret->note, sizeof ret->note, "complete after %.1f s; %llu hostile datagrams",
             (double)sim_now(w->w->sim) / 1e6, (unsigned long long)said);
    return true;
}

bool scenario_hostile(const struct scenario_args *args, struct scenario_result *ret) {
    struct world *w = calloc(1, sizeof *w);
    assert(w);
    build(w, args->seed);
    bool ok = check(w, ret);
    scenario_measure(ret, w->w->sim, HONEST + HABITS);
    swarm_world_free(w->w);
    free(w);
    return ok;
}
