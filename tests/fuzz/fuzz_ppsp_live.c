/*
 * A viewer or a source of a live swarm, and a script of what a peer, the clock
 * and the owner do. First octet: bit 0 a source, bit 1 circuits, bit 2 Sign All,
 * bits 3-4 chunks under a munro (2, 8, 32, 128), bit 5 64-bit ranges. Then
 * operations: one octet of kind, arguments behind it (see step()).
 *
 * Property: no crash and no assertion; what a viewer's store holds is what was
 * signed, whatever was said; after the engine was served, its next deadline lies
 * in the future; what leaves fits the endpoint.
 */
#include <assert.h>

#include "ppsp/tests/live_rig.h"

enum { CHUNKS = 256, OPERATIONS_MAX = 200, WALL = 1790000000 };

struct world {
    struct live_rig *live;
    struct raw *raw;
    struct cv_rd script;
    uint32_t width;
    bool source, ended;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(struct world *w, const struct cv_wr *d) {
    if (!d->err)
        (void)raw_send(w->raw, d);
}

/* A munro or, in Sign All, a signature, as it should be or with a fault. */
static void say_signed(struct world *w) {
    uint8_t at = cv_rd_u8(&w->script), how = cv_rd_u8(&w->script);
    uint64_t first = at % (CHUNKS / w->width) * w->width;
    int64_t when = WALL + (int8_t)cv_rd_u8(&w->script);
    struct cv_wr d = raw_datagram(w->raw);
    if (w->live->rig->config.integrity == PPSP_INTEGRITY_SIGN_ALL)
        live_put_signed(w->live, &d, at, at, ppsp_ntp(when),
                        w->live->rig->content + at * LIVE_CHUNK, LIVE_CHUNK);
    else
        live_put_munro(w->live, &d, first, how & 2 && w->width > 2 ? w->width / 2 : w->width, when);
    if (how & 1)
        d.p[-1 - (how >> 4)] ^= 1;
    if (how & 4) /* and the chunk at once */
        live_put_chunk(w->live, &d, first, w->width);
    put(w, &d);
}

/* All that is left is padding, signed: the end. */
static void say_end(struct world *w) {
    static const uint8_t zeros[32];
    uint64_t first = cv_rd_u8(&w->script) % (CHUNKS / w->width) * w->width;
    struct ppsp_chunkspec spec = live_spec(w->live);
    struct cv_wr d = raw_datagram(w->raw);
    ppsp_integrity_write(&d, &spec, 32,
                         &(struct ppsp_integrity_hash){{first, first + w->width - 1}, zeros});
    live_put_signed(w->live, &d, first, first + w->width - 1, ppsp_ntp(WALL), zeros, 32);
    put(w, &d);
}

static void say_chunk(struct world *w) {
    uint8_t chunk = cv_rd_u8(&w->script), how = cv_rd_u8(&w->script);
    struct cv_wr d = raw_datagram(w->raw);
    live_put_chunk(w->live, &d, chunk, how & 2 ? 1 : w->width);
    if (how & 1)
        d.p[-1 - (how >> 2)] ^= 1;
    put(w, &d);
}

static void say_range(struct world *w) {
    static const enum ppsp_message_type types[] = {PPSP_MSG_HAVE, PPSP_MSG_REQUEST, PPSP_MSG_CANCEL,
                                                   PPSP_MSG_ACK};
    enum ppsp_message_type type = types[cv_rd_u8(&w->script) % 4];
    uint64_t a = cv_rd_u8(&w->script), n = cv_rd_u8(&w->script);
    if (n == 255)
        a <<= 24;
    struct ppsp_chunkspec spec = live_spec(w->live);
    struct cv_wr d = raw_datagram(w->raw);
    if (type == PPSP_MSG_ACK)
        ppsp_ack_write(&d, &spec, &(struct ppsp_ack){{a, a + n}, 5});
    else
        raw_put_range(w->raw, &d, type, a, a + n);
    put(w, &d);
}

static void inject(struct world *w) {
    struct rig *r = w->live->rig;
    unsigned n = cv_rd_u8(&w->script) % 64;
    for (unsigned i = 0; w->source && i < n && w->live->said + 1 < CHUNKS; i++) {
        if (ppsp_inject(r->engine[0], rig_now(r), r->swarm[0],
                        r->content + w->live->said * LIVE_CHUNK, LIVE_CHUNK))
            return;
        w->live->said++;
    }
}

static void handshake(struct world *w) {
    uint8_t how = cv_rd_u8(&w->script);
    struct ppsp_options o = raw_options(w->raw);
    o.discard_window = how & 1 ? 64 : UINT32_MAX;
    if (how & 2)
        o.present &= ~(1u << PPSP_OPT_SIGNATURE);
    if (how & 4)
        o.signature ^= how;
    (void)raw_send_handshake(w->raw, how & 8 ? w->raw->theirs : 0, w->raw->ours + (how >> 6), &o);
}

static void octets(struct world *w) {
    struct cv_wr d = raw_datagram(w->raw);
    size_t n = cv_rd_u8(&w->script);
    n = n < cv_rd_left(&w->script) ? n : cv_rd_left(&w->script);
    const uint8_t *p = cv_rd_bytes(&w->script, n);
    cv_wr_bytes(&d, p, p ? n : 0);
    put(w, &d);
}

static void step(struct world *w) {
    struct rig *r = w->live->rig;
    switch (cv_rd_u8(&w->script) % 10) {
    case 0:
        handshake(w);
        break;
    case 1:
        say_signed(w);
        break;
    case 2:
        say_chunk(w);
        break;
    case 3:
        say_range(w);
        break;
    case 4:
        r->now += cv_rd_u8(&w->script) * CV_MSEC(20);
        break;
    case 5:
        inject(w);
        break;
    case 6:
        octets(w);
        break;
    case 7:
        say_end(w);
        break;
    case 8:
        if (w->source)
            (void)ppsp_inject_end(r->engine[0], rig_now(r), r->swarm[0]);
        break;
    default: { /* our own call */
        struct ppsp_peer_props props = {
            .mtu = r->circuits ? 1101 : 1400, .hidden = r->circuits, .initiate = true};
        (void)ppsp_peer_add(r->engine[0], rig_now(r), r->swarm[0], &w->raw->us, &props);
        break;
    }
    }
    raw_serve(w->raw);
}

/* Only what was signed is there. */
static void check(const struct world *w) {
    const struct rig *r = w->live->rig;
    for (uint64_t i = 0; i < CHUNKS; i++)
        if (ppsp_has(r->engine[0], r->swarm[0], i, i))
            assert(memcmp(r->store[0].content + i * LIVE_CHUNK, r->content + i * LIVE_CHUNK,
                          LIVE_CHUNK) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct world w = {.script = cv_rd_init(data, size)};
    uint8_t flags = cv_rd_u8(&w.script);
    w.width = 2u << (flags >> 3 & 3) * 2;
    w.source = flags & 1;
    w.live = live_new(1, CV_DNSSEC_ED25519, w.width, CHUNKS);
    w.live->rig->circuits = flags & 2;
    w.live->rig->config.integrity = flags & 4 ? PPSP_INTEGRITY_SIGN_ALL : PPSP_INTEGRITY_UNIFIED;
    w.live->rig->config.addressing = flags & 32 ? PPSP_ADDRESSING_CHUNK64 : PPSP_ADDRESSING_CHUNK32;
    if (w.source)
        live_injector(w.live);
    else
        rig_add(w.live->rig, false);
    w.raw = raw_new(w.live->rig, 0);
    for (unsigned i = 0; i < OPERATIONS_MAX && cv_rd_left(&w.script); i++)
        step(&w);
    check(&w);
    free(w.raw);
    live_free(w.live);
    return 0;
}
