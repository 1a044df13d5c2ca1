/*
 * The other end, played by the test octet by octet: a peer that says exactly
 * what it is told, and keeps what it hears. It sits at the last place of a rig
 * and talks to one engine.
 */
#ifndef CULVERT_PPSP_TESTS_RAW_H
#define CULVERT_PPSP_TESTS_RAW_H

#include "ppsp/message.h"
#include "ppsp/options.h"
#include "rig.h"
#include "support/hex.h"

enum { RAW_HEARD = 512, RAW_PLACE = RIG_ENGINES - 1 };

struct raw {
    struct rig *rig;
    unsigned engine;       /* whom we talk to */
    struct cv_endpoint us; /* as the engine sees us */
    uint32_t ours, theirs; /* channel IDs */
    uint8_t heard[RAW_HEARD][RIG_STRIDE];
    size_t lens[RAW_HEARD];
    unsigned count;
    bool overrun;
};

static inline struct raw *raw_new(struct rig *rig, unsigned engine) {
    struct raw *w = calloc(1, sizeof *w);
    assert(w);
    w->rig = rig;
    w->engine = engine;
    w->us = rig_endpoint(rig, RAW_PLACE);
    w->ours = 0x01020304;
    return w;
}

/* Forgets what was heard. */
static inline void raw_clear(struct raw *w) {
    w->count = 0;
}

/* Takes what the engine sends now, whomever to. */
static inline void raw_listen(struct raw *w) {
    struct rig *r = w->rig;
    bool more;
    ppsp_on_timeout(r->engine[w->engine], rig_now(r));
    do {
        cv_batch_clear(&r->batch);
        more = ppsp_poll_transmit(r->engine[w->engine], rig_now(r), &r->batch);
        for (uint32_t k = 0; k < r->batch.runs_used; k++)
            for (uint16_t n = 0; n < r->runs[k].count; n++) {
                if (w->count == RAW_HEARD) {
                    w->overrun = true;
                    continue;
                }
                memcpy(w->heard[w->count], cv_batch_at(&r->batch, &r->runs[k], n), r->runs[k].size);
                w->lens[w->count++] = r->runs[k].size;
            }
    } while (more);
}

/* Lets time pass, listening whenever the engine wants to speak. */
static inline void raw_wait(struct raw *w, cv_usec time) {
    cv_usec until = w->rig->now + time;
    raw_listen(w);
    for (;;) {
        cv_usec at = ppsp_next_timeout(w->rig->engine[w->engine]);
        assert(at > w->rig->now);
        if (at > until)
            break;
        w->rig->now = at;
        raw_listen(w);
    }
    w->rig->now = until;
}

static inline enum cv_err raw_send_from(struct raw *w, const struct cv_endpoint *from,
                                        const uint8_t *buf, size_t len) {
    return ppsp_on_datagram(w->rig->engine[w->engine], rig_now(w->rig), from, buf, len);
}

static inline enum cv_err raw_send(struct raw *w, const struct cv_wr *d) {
    assert(!d->err);
    return raw_send_from(w, &w->us, d->start, cv_wr_len(d));
}

/* A datagram to the engine's channel, to be filled with messages. */
static inline struct cv_wr raw_datagram(struct raw *w) {
    static uint8_t buf[8192];
    struct cv_wr d = cv_wr_init(buf, sizeof buf);
    cv_wr_be32(&d, w->theirs);
    return d;
}

static inline enum cv_err raw_send_hex(struct raw *w, const char *hex) {
    struct cv_wr d = raw_datagram(w);
    uint8_t *at = d.p;
    size_t n = cv_test_unhex(hex, at, cv_wr_room(&d));
    (void)cv_wr_skip(&d, n);
    return raw_send(w, &d);
}

/* How the rig's swarm names chunks, to a peer that knows the content's length. */
static inline struct ppsp_chunkspec raw_spec(const struct raw *w) {
    const struct ppsp_swarm_config *c = &w->rig->config;
    return (struct ppsp_chunkspec){
        .method = c->addressing, .chunk_size = c->chunk_size, .octets = w->rig->octets_content};
}

/* The options of the rig's swarm, as any peer sends them. */
static inline struct ppsp_options raw_options(const struct raw *w) {
    const struct ppsp_swarm_config *c = &w->rig->config;
    struct ppsp_options o = {
        .present = 1u << PPSP_OPT_VERSION | 1u << PPSP_OPT_MIN_VERSION | 1u << PPSP_OPT_SWARM_ID |
                   1u << PPSP_OPT_INTEGRITY | 1u << PPSP_OPT_HASH | 1u << PPSP_OPT_ADDRESSING |
                   1u << PPSP_OPT_CHUNK_SIZE,
        .version = 1,
        .min_version = 1,
        .swarm_id = c->id,
        .swarm_id_len = (uint16_t)c->id_len,
        .integrity = (uint8_t)c->integrity,
        .hash = (uint8_t)c->hash,
        .addressing = (uint8_t)c->addressing,
        .chunk_size = c->chunk_size,
    };
    if (c->live) {
        o.present |= 1u << PPSP_OPT_SIGNATURE | 1u << PPSP_OPT_DISCARD_WINDOW;
        o.signature = c->id[0];
        o.discard_window = UINT32_MAX;
    }
    return o;
}

static inline enum cv_err raw_send_handshake(struct raw *w, uint32_t to, uint32_t from,
                                             const struct ppsp_options *o) {
    static uint8_t buf[1024];
    struct cv_wr d = cv_wr_init(buf, sizeof buf);
    cv_wr_be32(&d, to);
    cv_wr_u8(&d, PPSP_MSG_HANDSHAKE);
    cv_wr_be32(&d, from);
    ppsp_options_write(&d, o);
    return raw_send(w, &d);
}

/* Source channel ID of a handshake that was heard; 0: it is none, or something stands
 * behind it. */
static inline uint32_t raw_handshake_in(const struct raw *w, unsigned i, struct ppsp_options *o) {
    struct cv_rd r = cv_rd_init(w->heard[i], w->lens[i]);
    (void)cv_rd_be32(&r);
    if (cv_rd_u8(&r) != PPSP_MSG_HANDSHAKE)
        return 0;
    uint32_t from = cv_rd_be32(&r);
    return !r.err && !ppsp_options_read(&r, o) && !cv_rd_left(&r) ? from : 0;
}

static inline uint32_t raw_to(const struct raw *w, unsigned i) {
    struct cv_rd r = cv_rd_init(w->heard[i], w->lens[i]);
    return cv_rd_be32(&r);
}

/* Takes what the engine says now, and nothing that it said before: no datagram is longer than
 * its way carries, and the last handshake says where it is spoken to. Its events are dropped. */
static inline void raw_serve(struct raw *w) {
    struct ppsp *engine = w->rig->engine[w->engine];
    struct ppsp_options o;
    struct ppsp_event e;
    raw_clear(w);
    raw_listen(w);
    for (unsigned i = 0; i < w->count; i++) {
        uint32_t from = raw_handshake_in(w, i, &o);
        assert(w->lens[i] <= (w->rig->circuits ? 1101 : 1400));
        if (from)
            w->theirs = from;
    }
    while (ppsp_poll_event(engine, &e))
        ;
    assert(ppsp_next_timeout(engine) > w->rig->now);
}

/* We call the engine; true when it answered. The channel is open after the
 * next datagram we send. */
static inline bool raw_call(struct raw *w) {
    struct ppsp_options o = raw_options(w);
    raw_clear(w);
    (void)raw_send_handshake(w, 0, w->ours, &o);
    raw_listen(w);
    w->theirs = 0;
    for (unsigned i = 0; i < w->count && !w->theirs; i++)
        if (raw_to(w, i) == w->ours)
            w->theirs = raw_handshake_in(w, i, &o);
    return w->theirs != 0;
}

/* The engine calls us: its handshake is answered, and its datagram 3 heard. */
static inline bool raw_be_called(struct raw *w) {
    struct ppsp_options o;
    struct ppsp_peer_props props = {
        .mtu = rig_mtu(w->rig), .hidden = w->rig->circuits, .initiate = true};
    raw_clear(w);
    if (ppsp_peer_add(w->rig->engine[w->engine], rig_now(w->rig), w->rig->swarm[w->engine], &w->us,
                      &props))
        return false;
    raw_listen(w);
    if (w->count != 1 || raw_to(w, 0) != 0)
        return false;
    w->theirs = raw_handshake_in(w, 0, &o);
    o = raw_options(w);
    raw_clear(w);
    (void)raw_send_handshake(w, w->theirs, w->ours, &o);
    raw_listen(w);
    return w->theirs != 0;
}

/* ---- what was said ---- */

struct raw_message {
    unsigned datagram;
    uint8_t type;
    struct ppsp_range range; /* also of DATA, INTEGRITY and ACK */
    const uint8_t *content;  /* of DATA; hash of INTEGRITY; signature; certificate, contact */
    size_t len;
    uint64_t stamp;      /* of DATA and SIGNED_INTEGRITY; delay of ACK; period of contact */
    struct cv_addr addr; /* of PEX_RESv4 and v6 */
};

enum { RAW_MESSAGES = 8192 };

/* All messages of all datagrams heard; handshakes are left out. */
static inline size_t raw_messages(const struct raw *w, struct raw_message *out) {
    const struct ppsp_swarm_config *c = &w->rig->config;
    struct ppsp_chunkspec spec = raw_spec(w);
    size_t n = 0;
    for (unsigned i = 0; i < w->count; i++) {
        struct cv_rd r = cv_rd_init(w->heard[i], w->lens[i]);
        (void)cv_rd_be32(&r);
        while (cv_rd_left(&r) && !r.err && n < RAW_MESSAGES) {
            struct raw_message m = {.datagram = i, .type = cv_rd_u8(&r)};
            enum cv_err err = CV_ERR_OK;
            struct ppsp_data data;
            struct ppsp_ack ack;
            struct ppsp_integrity_hash node;
            struct ppsp_signed_integrity sig;
            struct ppsp_pex_cert cert;
            struct ppsp_pex_contact contact;
            if (m.type == PPSP_MSG_HANDSHAKE)
                break;
            if (m.type == PPSP_MSG_DATA) {
                err = ppsp_data_read(&r, &spec, &data);
                m.range = (struct ppsp_range){data.chunk, data.chunk};
                m.content = data.content;
                m.len = data.len;
                m.stamp = data.timestamp;
            } else if (m.type == PPSP_MSG_ACK) {
                err = ppsp_ack_read(&r, &spec, &ack);
                m.range = ack.chunks;
                m.stamp = ack.delay;
            } else if (m.type == PPSP_MSG_INTEGRITY) {
                err = ppsp_integrity_read(&r, &spec, cv_sha_len(c->hash), &node);
                m.range = node.chunks;
                m.content = node.hash;
            } else if (m.type == PPSP_MSG_PEX_RESV4 || m.type == PPSP_MSG_PEX_RESV6) {
                err = ppsp_pex_read(&r, (enum ppsp_message_type)m.type, &m.addr);
            } else if (m.type == PPSP_MSG_PEX_RESCERT) {
                err = ppsp_pex_cert_read(&r, &cert);
                m.content = cert.der;
                m.len = cert.len;
            } else if (m.type == PPSP_MSG_PEX_CONTACT) {
                err = ppsp_pex_contact_read(&r, &contact);
                m.content = contact.octets;
                m.len = contact.len;
                m.stamp = contact.period;
            } else if (m.type == PPSP_MSG_SIGNED_INTEGRITY) {
                size_t sig_len =
                    cv_dnssec_signature_len((enum cv_dnssec_alg)c->id[0], c->id + 1, c->id_len - 1);
                err = ppsp_signed_read(&r, &spec, sig_len, &sig);
                m.range = sig.chunks;
                m.content = sig.signature;
                m.len = sig_len;
                m.stamp = sig.ntp;
            } else if (m.type != PPSP_MSG_CHOKE && m.type != PPSP_MSG_UNCHOKE &&
                       m.type != PPSP_MSG_PEX_REQ) {
                err = ppsp_spec_read(&r, &spec, &m.range);
            }
            assert(!err);
            (void)err;
            out[n++] = m;
        }
    }
    return n;
}

static inline size_t raw_count(const struct raw *w, uint8_t type) {
    static struct raw_message m[RAW_MESSAGES];
    size_t n = raw_messages(w, m), k = 0;
    for (size_t i = 0; i < n; i++)
        k += m[i].type == type;
    return k;
}

/* The nth message of a type. */
static inline bool raw_find(const struct raw *w, uint8_t type, unsigned nth,
                            struct raw_message *ret) {
    static struct raw_message m[RAW_MESSAGES];
    size_t n = raw_messages(w, m);
    for (size_t i = 0; i < n; i++)
        if (m[i].type == type && nth-- == 0) {
            *ret = m[i];
            return true;
        }
    return false;
}

/* ---- what we say ---- */

/* Adds the peaks, then the siblings on the way of a chunk up to the peak above it. */
static inline void raw_put_hashes(struct raw *w, struct cv_wr *d, const struct rig_store *full,
                                  uint64_t chunk, bool peaks) {
    const struct ppsp_swarm_config *c = &w->rig->config;
    struct ppsp_chunkspec spec = raw_spec(w);
    ppsp_bin bins[128];
    unsigned n = peaks ? ppsp_bin_peaks(full->size.chunks, bins) : 0, up = 0;
    ppsp_bin way[64];
    for (ppsp_bin b = ppsp_bin_leaf(chunk); ppsp_bin_last(ppsp_bin_parent(b)) < full->size.chunks;
         b = ppsp_bin_parent(b))
        way[up++] = ppsp_bin_sibling(b);
    while (up)
        bins[n++] = way[--up];
    for (unsigned i = 0; i < n; i++) {
        const uint8_t *hash = full->tree + bins[i] * c->id_len;
        if (bins[i] == ppsp_bin_root(full->size.chunks))
            hash = w->rig->root;
        struct ppsp_integrity_hash node = {
            .chunks = {ppsp_bin_first(bins[i]), ppsp_bin_last(bins[i])}, .hash = hash};
        ppsp_integrity_write(d, &spec, c->id_len, &node);
    }
}

static inline void raw_put_data(struct raw *w, struct cv_wr *d, const struct rig_store *full,
                                uint64_t chunk, uint64_t timestamp) {
    const struct ppsp_swarm_config *c = &w->rig->config;
    struct ppsp_chunkspec spec = raw_spec(w);
    uint64_t at = chunk * c->chunk_size, len = full->size.octets - at;
    struct ppsp_data data = {.chunk = chunk,
                             .timestamp = timestamp,
                             .content = full->content + at,
                             .len = len < c->chunk_size ? len : c->chunk_size};
    ppsp_data_write(d, &spec, &data);
}

static inline void raw_put_range(struct raw *w, struct cv_wr *d, enum ppsp_message_type type,
                                 uint64_t first, uint64_t last) {
    struct ppsp_chunkspec spec = raw_spec(w);
    struct ppsp_range range = {first, last};
    bool all = ppsp_ranges_write(d, type, &spec, &range, 0);
    assert(all);
    (void)all;
}

static inline const struct ppsp_counters *raw_counters(const struct raw *w) {
    return ppsp_counters(w->rig->engine[w->engine]);
}

#endif
