/*
 * A relay with all its engines lives through a script: what it saved before, datagrams at
 * each socket (of any octets, what it sent itself turned round, plain PPSPP calls, those of an
 * honest peer), steps of the clock, swarms that are opened, wanted, read, broadcast and closed. The
 * first octet of a step says what, the following ones are taken from the input; the dice are fixed
 * and addresses few.
 *
 * Property: no crash and no assertion; a damaged blob is not used; every datagram is to an
 * address of the family and kind the node speaks to and fits its socket; overlay datagrams
 * have one length; no event names a swarm that is closed; the deadline lies ahead once it has
 * been served.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "crypto/hash.h"
#include "crypto/keys.h"
#include "crypto/rng_seeded.h"
#include "node/node.h"
#include "ppsp/build.h"
#include "reputation/store_memory.h"
#include "tunnel/limits.h"
#include "tunnel/tunnel.h"
#include "tunnel/worker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    KEPT = 16,
    STEPS = 400,
    SWARMS = 4,
    LIVE = SWARMS - 1,
    CHUNKS = 64,
    CHUNK = 1024,
    HASH = 32
};
enum { LIVE_CHUNKS = 1024, SLOTS = 64, STRIDE = 1500 };

struct sent {
    struct cv_addr to;
    uint8_t socket;
    uint16_t len;
    uint8_t data[STRIDE];
};

/* In memory; the content is zeros. */
struct store {
    bool live;
    struct ppsp_store_size size;
    uint64_t have[LIVE_CHUNKS / 64];
    uint8_t tree[2 * LIVE_CHUNKS][HASH];
};

static struct {
    struct cv_rd in;
    struct cv_rng_seeded dice;
    struct cv_rng rng;
    struct node *n;
    struct cv_now now;
    struct sent kept[KEPT]; /* ring */
    unsigned kept_count;
    bool deaf; /* nobody asks what happened: events wait, are merged or lost */
    cv_handle swarm[SWARMS];
    bool open[SWARMS];
    struct store store[SWARMS], theirs;
    uint8_t root[CV_SHA_MAX];
    struct cv_ed25519_secret channel;
    struct ppsp *peer; /* an honest one that has all of swarm 0 */
    struct tunnel *worker;
    uint8_t arena[SLOTS * STRIDE];
    struct cv_run runs[SLOTS];
    struct cv_batch batch;
} f;

static uint8_t octet(void) {
    return cv_rd_left(&f.in) ? cv_rd_u8(&f.in) : 0;
}

static enum cv_err op_size(void *ctx, struct ppsp_store_size *ret) {
    *ret = ((struct store *)ctx)->size;
    return CV_ERR_OK;
}
static enum cv_err op_set_size(void *ctx, const struct ppsp_store_size *size) {
    assert(size->chunks);
    if (size->chunks > LIVE_CHUNKS)
        return CV_ERR_FULL;
    ((struct store *)ctx)->size = *size;
    return CV_ERR_OK;
}
static enum cv_err op_have_load(void *ctx, uint64_t *words, size_t count) {
    assert(count <= LIVE_CHUNKS / 64);
    memcpy(words, ((struct store *)ctx)->have, count * sizeof *words);
    return CV_ERR_OK;
}
static enum cv_err op_read(void *ctx, uint64_t first, uint32_t count, uint8_t *buf, size_t cap,
                           size_t *ret_len) {
    const struct store *st = ctx;
    assert((size_t)count * CHUNK <= cap);
    for (uint64_t i = first; i < first + count; i++)
        assert(st->live || st->have[i / 64] >> i % 64 & 1);
    memset(buf, 0, (size_t)count * CHUNK);
    *ret_len = (size_t)count * CHUNK;
    return CV_ERR_OK;
}
static enum cv_err op_write(void *ctx, uint64_t first, uint32_t count, const uint8_t *data,
                            size_t len) {
    static const uint8_t zeros[CHUNK];
    struct store *st = ctx;
    assert(len == (size_t)count * CHUNK);
    for (uint32_t i = 0; i < count; i++, first++) {
        assert(st->live || memcmp(data + i * (size_t)CHUNK, zeros, CHUNK) == 0);
        st->have[first % LIVE_CHUNKS / 64] |= UINT64_C(1) << first % 64;
    }
    return CV_ERR_OK;
}
/* A ring, where it is a broadcast's: what is old is gone. */
static enum cv_err op_tree_get(void *ctx, uint64_t bin, uint32_t count, uint8_t *hashes) {
    for (uint32_t i = 0; i < count; i++)
        memcpy(hashes + i * HASH, ((struct store *)ctx)->tree[(bin + i) % (2 * LIVE_CHUNKS)], HASH);
    return CV_ERR_OK;
}
static enum cv_err op_tree_put(void *ctx, uint64_t bin, uint32_t count, const uint8_t *hashes) {
    for (uint32_t i = 0; i < count; i++)
        memcpy(((struct store *)ctx)->tree[(bin + i) % (2 * LIVE_CHUNKS)], hashes + i * HASH, HASH);
    return CV_ERR_OK;
}
static enum cv_err op_commit(void *ctx) {
    (void)ctx;
    return CV_ERR_OK;
}
static const struct ppsp_store_ops ops = {op_size,  op_set_size, op_have_load, op_read,
                                          op_write, op_tree_get, op_tree_put,  op_commit};

/* Everything is there. Its root hash. */
static void fill(struct store *st, uint8_t root[CV_SHA_MAX]) {
    static const uint8_t zeros[CHUNK];
    struct ppsp_build b;
    uint8_t leaf[CV_SHA_MAX];
    *st =
        (struct store){.size = {.chunks = CHUNKS, .octets = CHUNKS * CHUNK}, .have = {UINT64_MAX}};
    ppsp_build_init(&b, CV_SHA256, &ops, st);
    ppsp_build_leaf(CV_SHA256, zeros, CHUNK, leaf);
    for (unsigned i = 0; i < CHUNKS; i++)
        if (ppsp_build_add(&b, leaf) != CV_ERR_OK)
            abort();
    if (ppsp_build_end(&b, root) != CV_ERR_OK)
        abort();
}

static struct cv_addr address(uint8_t v) {
    return (struct cv_addr){.ip = {127, (uint8_t)(1 + (v & 7)), 0, (uint8_t)(1 + (v >> 3 & 1))},
                            .port = (uint16_t)(4000 + (v >> 4 & 3)),
                            .family = 4};
}

/* Swarm 0 is content that there is, LIVE a broadcast, of the others nobody has a chunk. */
static struct node_uri uri_of(unsigned i) {
    struct node_uri u = {.integrity = PPSP_INTEGRITY_MERKLE,
                         .hash = CV_SHA256,
                         .addressing = PPSP_ADDRESSING_CHUNK32,
                         .chunk_size = CHUNK,
                         .length = CHUNKS * CHUNK,
                         .swarm_id_len = 32,
                         .direct = true};
    node_network_id("fuzz", u.network_id);
    memset(u.swarm_id, 1 + (int)i, HASH);
    if (i == 0)
        memcpy(u.swarm_id, f.root, HASH);
    if (i == LIVE) {
        u.kind = NODE_URI_LIVE;
        u.integrity = PPSP_INTEGRITY_UNIFIED;
        u.length = 0;
        u.swarm_id[0] = CV_DNSSEC_ED25519;
        memcpy(u.swarm_id + 1, f.channel.public_key, HASH);
        u.swarm_id_len = 1 + HASH;
    }
    return u;
}

static const struct cv_addr own_addr = {.ip = {127, 9, 0, 1}, .port = 4001, .family = 4};
static const struct cv_addr peer_addr = {.ip = {127, 9, 0, 2}, .port = 4001, .family = 4};

/* ---- what comes out ---- */

static void check_datagram(enum node_socket socket, const struct cv_addr *to, const uint8_t *data,
                           size_t len) {
    assert(cv_addr_is_loopback(to) && to->family == 4 && to->port);
    assert(len > 0 && len <= STRIDE);
    if (socket == NODE_SOCKET_OWN)
        assert(len == TUN_DATAGRAM);
    if (socket == NODE_SOCKET_DIRECT && cv_addr_equal(to, &peer_addr)) {
        struct cv_endpoint ep = cv_endpoint_udp(&own_addr);
        (void)ppsp_on_datagram(f.peer, f.now, &ep, data, len);
    }
    struct sent *s = &f.kept[f.kept_count++ % KEPT];
    *s = (struct sent){.to = *to, .socket = (uint8_t)socket, .len = (uint16_t)len};
    memcpy(s->data, data, len);
}

static void take(enum node_socket socket) {
    unsigned rounds = 0;
    do {
        cv_batch_clear(&f.batch);
        node_poll_transmit(f.n, f.now, socket, &f.batch);
        for (uint32_t i = 0; i < f.batch.runs_used; i++) {
            assert(f.runs[i].to.kind == CV_ENDPOINT_UDP);
            for (uint16_t k = 0; k < f.runs[i].count; k++)
                check_datagram(socket, &f.runs[i].to.addr, cv_batch_at(&f.batch, &f.runs[i], k),
                               f.runs[i].size);
        }
        assert(++rounds < 1000 && "what is queued is drained");
    } while (f.batch.runs_used);
}

static void drain(void) {
    struct node_event e;
    while (!f.deaf && node_poll_event(f.n, &e)) {
        if (e.kind == NODE_EVENT_SAVE) {
            assert(e.u.save.which < NODE_SAVED_KINDS && e.u.save.data);
            node_saved(f.n, f.now, e.u.save.which);
        }
    }
    for (unsigned s = 0; s < NODE_SOCKETS; s++)
        take((enum node_socket)s);
    struct tun_message *m;
    while ((m = node_poll_message(f.n))) {
        if (f.worker)
            tun_on_message(f.worker, &f.now, m);
        else
            tun_message_free(m);
    }
    while (f.worker && (m = tun_poll_message(f.worker)))
        node_on_message(f.n, f.now, m);
}

static void serve(void) {
    for (unsigned i = 0; i < 64 && node_next_timeout(f.n) <= f.now.mono; i++) {
        node_on_timeout(f.n, f.now);
        drain();
    }
    assert(node_next_timeout(f.n) > f.now.mono);
}

/* ---- steps ---- */

static void hear(enum node_socket socket, const struct cv_addr *from, const uint8_t *data,
                 size_t len) {
    /* Exactly as large, so that a read past its end is seen. */
    uint8_t *copy = malloc(len ? len : 1);
    assert(copy);
    memcpy(copy, data, len);
    node_on_datagram(f.n, f.now, socket, from, copy, len);
    free(copy);
}

/* The honest peer answers, as often as it is spoken to. */
static void exchange(void) {
    for (unsigned i = 0; i < 64; i++) {
        ppsp_on_timeout(f.peer, f.now);
        cv_batch_clear(&f.batch);
        (void)ppsp_poll_transmit(f.peer, f.now, &f.batch);
        if (f.batch.runs_used == 0)
            break;
        struct sent *said = malloc(SLOTS * sizeof *said);
        unsigned count = 0;
        assert(said);
        for (uint32_t r = 0; r < f.batch.runs_used; r++)
            for (uint16_t k = 0; k < f.runs[r].count; k++, count++) {
                said[count].len = f.runs[r].size;
                memcpy(said[count].data, cv_batch_at(&f.batch, &f.runs[r], k), f.runs[r].size);
            }
        for (unsigned k = 0; k < count; k++)
            hear(NODE_SOCKET_DIRECT, &peer_addr, said[k].data, said[k].len);
        free(said);
        drain();
    }
    struct ppsp_event e;
    while (ppsp_poll_event(f.peer, &e))
        ;
}

/* Octets from the input; every overlay datagram has one length. */
static void any_datagram(void) {
    uint8_t octets[TUN_DATAGRAM] = {0}, how = octet(), from = octet();
    struct cv_addr a = address(from);
    size_t len = octet(), left = cv_rd_left(&f.in);
    len = len < left ? len : left;
    cv_rd_copy(&f.in, octets, len);
    hear((enum node_socket)(how & 3), &a, octets, how & 0x80 ? TUN_DATAGRAM : len);
}

/* What it said to somebody, said to it: by that one, or by another; changed, cut. */
static void turned_round(void) {
    uint8_t which = octet(), how = octet(), at = octet(), bits = octet();
    if (f.kept_count == 0)
        return;
    struct sent *s = &f.kept[which % (f.kept_count < KEPT ? f.kept_count : KEPT)];
    struct cv_addr from = how & 0x10 ? address(bits) : s->to;
    size_t len = how & 0x20 ? s->len - s->len / 4u : s->len;
    uint8_t data[STRIDE];
    memcpy(data, s->data, s->len);
    if (how & 0x40)
        data[at % s->len] ^= bits;
    hear((enum node_socket)(how & 8 ? s->socket : how & 3), &from, data, len);
}

/* A first datagram of RFC 7574 for one of the swarms, open or not. */
static void call(void) {
    uint8_t d[64], which = octet();
    struct cv_addr from = address(octet());
    struct node_uri u = uri_of(which % SWARMS);
    struct cv_wr w = cv_wr_init(d, sizeof d);
    static const uint8_t head[] = {0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 1, 1, 2, 0, 32};
    static const uint8_t tail[] = {3, 1, 4, 2, 6, 2, 9, 0, 0, 4, 0, 0xff};
    cv_wr_bytes(&w, head, sizeof head);
    cv_wr_bytes(&w, u.swarm_id, 32);
    cv_wr_bytes(&w, tail, sizeof tail);
    hear(NODE_SOCKET_DIRECT, &from, d, cv_wr_len(&w));
}

static size_t sign(void *ctx, const uint8_t *msg, size_t len, uint8_t *ret) {
    (void)ctx, (void)msg, (void)len; /* viewers will not believe it */
    memset(ret, 6, CV_SIGNATURE);
    return CV_SIGNATURE;
}

static void live_step(cv_handle swarm, uint8_t what) {
    static const uint8_t chunk[CHUNK];
    uint64_t first, end;
    uint8_t root[CV_SHA_MAX];
    for (unsigned i = 0; i < what / 4u; i++) {
        uint64_t next = node_inject_next(f.n, swarm);
        (void)node_inject(f.n, f.now, swarm, chunk, sizeof chunk);
        assert(node_inject_next(f.n, swarm) >= next && "what is signed stays signed");
    }
    if (what & 4)
        (void)node_inject_end(f.n, f.now, swarm);
    (void)node_live_root(f.n, swarm, root);
    if (node_live_span(f.n, swarm, &first, &end))
        assert(first <= end);
}

static void swarm_step(void) {
    unsigned i = octet() % SWARMS;
    uint8_t what = octet();
    uint64_t want = 0, first, last;
    uint8_t got[CHUNK];
    if (!f.open[i]) {
        struct node_swarm_config cfg = {.uri = uri_of(i),
                                        .store = &ops,
                                        .store_ctx = &f.store[i],
                                        .mode = (enum node_swarm_mode)(what % NODE_SWARM_MODES),
                                        .complete = what & 0x10,
                                        .fetch_all = what & 0x20,
                                        .no_share = what & 0x40,
                                        .upload_limit = what & 0x80 ? 100000 : 0};
        uint8_t root[CV_SHA_MAX];
        f.store[i] = (struct store){.live = i == LIVE};
        if (i == LIVE)
            cfg.live = (struct ppsp_live_config){.window = LIVE_CHUNKS,
                                                 .latency = NODE_LIVE_LATENCY,
                                                 .sign = cfg.complete ? sign : NULL,
                                                 .munro_chunks = 32};
        else if (cfg.complete)
            fill(&f.store[i], root);
        cfg.complete = cfg.complete && (i == 0 || i == LIVE);
        cfg.uri.direct = cfg.mode == NODE_SWARM_DIRECT || cfg.mode == NODE_SWARM_EXIT;
        f.open[i] = node_swarm_open(f.n, f.now, &cfg, &f.swarm[i]) == CV_ERR_OK;
        return;
    }
    struct cv_addr peer = what & 1 ? peer_addr : address(what);
    if (i == LIVE && what & 2) {
        live_step(f.swarm[i], what);
        return;
    }
    switch (what >> 5) {
    case 0:
        node_swarm_close(f.n, f.now, f.swarm[i]);
        f.open[i] = false;
        break;
    case 1:
        (void)node_swarm_peer(f.n, f.now, f.swarm[i], &peer);
        break;
    case 2:
        if (node_want(f.n, f.now, f.swarm[i], what * 100u, CHUNKS * CHUNK - 1, 0, &want) ==
                CV_ERR_OK &&
            what & 1)
            node_unwant(f.n, f.now, f.swarm[i], want);
        break;
    case 3:
        (void)node_read(f.n, f.swarm[i], what * 10u, got, sizeof got);
        break;
    case 4:
        (void)node_range(f.n, f.swarm[i], 0, &first, &last);
        (void)node_requested(f.n, f.swarm[i], 0, &first, &last);
        (void)node_available(f.n, f.swarm[i], what);
        break;
    default:
        node_swarm_ready(f.n, f.now, f.swarm[i]);
        break;
    }
}

/* Everything that status, peers and path show. */
static void look(void) {
    struct node_status st;
    struct node_swarm_status sw;
    struct node_peer_status p;
    struct node_first_hop hop;
    node_status(f.n, &st);
    assert(st.circuits <= TUN_CIRCUITS_MAX);
    for (size_t i = 0; node_first_hop(f.n, i, &hop); i++)
        assert(cv_addr_is_loopback(&hop.addr));
    for (size_t i = 0; node_swarm_status(f.n, i, &sw); i++) {
        assert(sw.have <= sw.length);
        for (size_t k = 0; node_peer_status(f.n, sw.swarm, k, &p); k++)
            assert(p.hops <= NODE_PATH_MAX);
    }
}

static void step(void) {
    static const cv_usec waits[] = {CV_MSEC(1), CV_MSEC(100), CV_SEC(2), CV_SEC(61), CV_SEC(3600)};
    uint8_t what = octet();
    switch (what & 7) {
    case 0:
    case 1:
        any_datagram();
        break;
    case 2:
        turned_round();
        break;
    case 3:
        call();
        break;
    case 4:
        swarm_step();
        break;
    case 5:
        f.deaf = what & 0x80;
        look();
        break;
    case 6:
        node_drain(f.n, f.now, what & 0x10);
        if (what & 0x20)
            node_drop_circuits(f.n, f.now);
        if (what & 0x40)
            node_save(f.n);
        break;
    default: {
        cv_usec wait = waits[(what >> 3) % 5];
        f.now.mono = cv_usec_add(f.now.mono, wait);
        f.now.wall += (int64_t)(wait / 1000000);
        break;
    }
    }
    drain();
    exchange();
    serve();
}

static void open_peer(void) {
    cv_handle swarm;
    struct ppsp_swarm_config c = {.id_len = HASH,
                                  .integrity = PPSP_INTEGRITY_MERKLE,
                                  .hash = CV_SHA256,
                                  .addressing = PPSP_ADDRESSING_CHUNK32,
                                  .chunk_size = CHUNK,
                                  .length = CHUNKS * CHUNK,
                                  .store = &ops,
                                  .store_ctx = &f.theirs,
                                  .serve = true,
                                  .open = true};
    fill(&f.theirs, f.root);
    memcpy(c.id, f.root, HASH);
    f.peer = ppsp_new(NULL, &f.rng);
    if (!f.peer || ppsp_swarm_open(f.peer, f.now, &c, &swarm) != CV_ERR_OK)
        abort();
}

/* Saved octets of each kind: none, or some of the input. */
static struct node_blob blob(uint8_t flags, unsigned kind) {
    if (!(flags >> kind & 1))
        return (struct node_blob){0};
    size_t len = octet() * 4u;
    len = len < cv_rd_left(&f.in) ? len : cv_rd_left(&f.in);
    return (struct node_blob){.data = cv_rd_bytes(&f.in, len), .len = len};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct rep_store_memory *ledger = rep_store_memory_new();
    struct node_config cfg = {
        .loopback = true, .main_family = 4, .direct = true, .direct_port = 4001};
    uint8_t seed[CV_KEY] = {7};
    cv_crypto_init();
    if (!ledger)
        abort();
    f.in = cv_rd_init(data, size);
    f.kept_count = 0;
    f.deaf = false;
    memset(f.open, 0, sizeof f.open);
    f.now = (struct cv_now){.mono = CV_SEC(1000), .wall = 1790000000};
    cv_rng_seeded_init(&f.dice, 1);
    f.rng = cv_rng_seeded(&f.dice);
    f.batch = cv_batch_init(f.arena, SLOTS, STRIDE, 0, f.runs, SLOTS);
    uint8_t flags = octet();
    cfg.relay = flags & 0x80;
    cfg.exit = cfg.relay && flags & 0x40;
    cfg.quick_start = flags & 0x20;
    node_network_id("fuzz", cfg.network_id);
    cv_ed25519_from_seed(&cfg.identity_secret, seed);
    f.channel = cfg.identity_secret;
    cfg.relay_addrs[0] = (struct cv_addr){.ip = {127, 9, 0, 1}, .port = 4000, .family = 4};
    cfg.relay_addrs_count = cfg.relay;
    cfg.ledger_store = cfg.relay ? rep_store_memory_ops(ledger) : NULL;
    cfg.relay_workers = cfg.relay && flags & 0x10 ? 2 : 1;
    cfg.bootstrap[0] = address(0);
    cfg.bootstrap_count = 1;
    for (unsigned k = 0; k < NODE_SAVED_OWN; k++)
        cfg.saved[k] = blob(flags, k);
    cfg.saved[NODE_SAVED_OWN] =
        cfg.saved[NODE_SAVED_UPSTREAM]; /* one that is none: fuzz_node_own.c */
    if (node_new(&cfg, &f.rng, f.now, &f.n) != CV_ERR_OK)
        abort();
    f.worker = cfg.relay_workers == 2 ? node_worker_new(f.n, f.now, 1, &f.rng) : NULL;
    open_peer();
    drain();
    serve();
    for (unsigned i = 0; i < STEPS && cv_rd_left(&f.in); i++)
        step();
    f.peer = ppsp_free(f.peer);
    f.worker = tun_free(f.worker);
    f.n = node_free(f.n);
    rep_store_memory_free(ledger);
    return 0;
}
