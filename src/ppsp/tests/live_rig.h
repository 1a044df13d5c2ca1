/*
 * A broadcast on a rig: engine 0 injects, the others watch. The content is the
 * rig's, chunk after chunk.
 */
#ifndef CULVERT_PPSP_TESTS_LIVE_RIG_H
#define CULVERT_PPSP_TESTS_LIVE_RIG_H

#include "crypto/dnssec_generate.h"
#include "ppsp/munro.h"
#include "raw.h"

enum { LIVE_CHUNK = 1024 };

struct live_rig {
    struct rig *rig;
    struct cv_dnssec_secret *secret;
    struct ppsp_live_config injector, viewer;
    uint64_t said; /* chunks of the content that were injected */
};

static inline size_t live_sign(void *ctx, const uint8_t *msg, size_t len,
                               uint8_t ret[CV_DNSSEC_SIGNATURE_MAX]) {
    struct live_rig *l = ctx;
    return cv_dnssec_sign(l->secret, msg, len, ret);
}

/* Nobody is there yet; live_injector() and rig_add() follow. */
static inline struct live_rig *live_new(uint64_t seed, enum cv_dnssec_alg alg, uint32_t munro,
                                        uint64_t chunks) {
    struct live_rig *l = calloc(1, sizeof *l);
    assert(l);
    l->rig = rig_new(seed, chunks * LIVE_CHUNK, LIVE_CHUNK, CV_SHA256);
    static const uint8_t key_seed[CV_KEY] = {1, 2, 3};
    enum cv_err err = alg == CV_DNSSEC_ED25519 ? cv_dnssec_secret_from_seed(key_seed, &l->secret)
                                               : cv_dnssec_generate(alg, &l->secret);
    assert(!err);
    (void)err;
    l->viewer = (struct ppsp_live_config){.window = 2048, .latency = CV_SEC(4)};
    l->injector = l->viewer;
    l->injector.sign = live_sign;
    l->injector.sign_ctx = l;
    l->injector.munro_chunks = munro;
    struct ppsp_swarm_config *c = &l->rig->config;
    c->integrity = PPSP_INTEGRITY_UNIFIED;
    c->id[0] = (uint8_t)alg;
    c->id_len = 1 + cv_dnssec_public_of(l->secret, c->id + 1);
    c->live = &l->viewer;
    return l;
}

static inline void live_free(struct live_rig *l) {
    rig_free(l->rig);
    cv_dnssec_secret_free(l->secret);
    free(l);
}

static inline unsigned live_injector(struct live_rig *l) {
    l->rig->config.live = &l->injector;
    unsigned i = rig_add(l->rig, false);
    l->rig->config.live = &l->viewer;
    return i;
}

/* The next chunks of the content; engine 0 says them. */
static inline void live_inject(struct live_rig *l, uint64_t chunks) {
    struct rig *r = l->rig;
    for (uint64_t i = 0; i < chunks; i++, l->said++) {
        enum cv_err err = ppsp_inject(r->engine[0], rig_now(r), r->swarm[0],
                                      r->content + l->said * LIVE_CHUNK, LIVE_CHUNK);
        assert(!err);
        (void)err;
    }
}

/* `munros` munros of `width`, one each `period`, and time for them to spread. */
static inline void live_broadcast(struct live_rig *l, unsigned munros, uint64_t width,
                                  cv_usec period) {
    for (unsigned i = 0; i < munros; i++) {
        live_inject(l, width);
        rig_run(l->rig, period);
    }
}

/* Engine i has these chunks, and they are right. */
static inline bool live_has(const struct live_rig *l, unsigned i, uint64_t first, uint64_t last) {
    const struct rig *r = l->rig;
    return ppsp_has(r->engine[i], r->swarm[i], first, last) &&
           memcmp(r->store[i].content + first * LIVE_CHUNK, r->content + first * LIVE_CHUNK,
                  (last - first + 1) * LIVE_CHUNK) == 0;
}

static inline const struct ppsp_counters *live_counters(const struct live_rig *l, unsigned i) {
    return ppsp_counters(l->rig->engine[i]);
}

/* ---- what a peer says who is played octet by octet ---- */

static inline struct ppsp_chunkspec live_spec(const struct live_rig *l) {
    return (struct ppsp_chunkspec){.method = l->rig->config.addressing, .chunk_size = LIVE_CHUNK};
}

/* Hash of a node over the content, by the book. */
static inline void live_node(const struct live_rig *l, ppsp_bin bin, uint8_t ret[32]) {
    if (!(bin & 1)) {
        cv_sha(CV_SHA256, ret, l->rig->content + bin / 2 * LIVE_CHUNK, LIVE_CHUNK);
        return;
    }
    uint8_t both[64];
    live_node(l, ppsp_bin_left(bin), both);
    live_node(l, ppsp_bin_right(bin), both + 32);
    cv_sha(CV_SHA256, ret, both, 64);
}

static inline void live_put_node(const struct live_rig *l, struct cv_wr *d, ppsp_bin bin) {
    uint8_t hash[32];
    struct ppsp_chunkspec spec = live_spec(l);
    live_node(l, bin, hash);
    ppsp_integrity_write(
        d, &spec, 32,
        &(struct ppsp_integrity_hash){{ppsp_bin_first(bin), ppsp_bin_last(bin)}, hash});
}

/* SIGNED_INTEGRITY alone, over a given hash or chunk. */
static inline void live_put_signed(struct live_rig *l, struct cv_wr *d, uint64_t first,
                                   uint64_t last, uint64_t ntp, const uint8_t *what, size_t len) {
    static uint8_t text[2048];
    uint8_t sig[CV_DNSSEC_SIGNATURE_MAX];
    struct ppsp_chunkspec spec = live_spec(l);
    struct ppsp_range r = {first, last};
    size_t n = ppsp_munro_text(&spec, &r, ntp, what, len, text, sizeof text);
    size_t sig_len = cv_dnssec_sign(l->secret, text, n, sig);
    ppsp_signed_write(d, &spec, sig_len, &(struct ppsp_signed_integrity){r, ntp, sig});
}

/* Both, for the munro of `width` chunks from `first` on, signed at a Unix time. */
static inline void live_put_munro(struct live_rig *l, struct cv_wr *d, uint64_t first,
                                  uint64_t width, int64_t when) {
    uint8_t hash[32];
    ppsp_bin bin = ppsp_bin_of_range(first, first + width - 1);
    live_node(l, bin, hash);
    live_put_node(l, d, bin);
    live_put_signed(l, d, first, first + width - 1, ppsp_ntp(when), hash, 32);
}

/* The hashes between a munro and a chunk, from the top, and the chunk. */
static inline void live_put_chunk(struct live_rig *l, struct cv_wr *d, uint64_t chunk,
                                  uint64_t width) {
    ppsp_bin way[16];
    unsigned n = 0;
    for (ppsp_bin b = ppsp_bin_leaf(chunk); 1u << ppsp_bin_level(b) < width; b = ppsp_bin_parent(b))
        way[n++] = ppsp_bin_sibling(b);
    while (n)
        live_put_node(l, d, way[--n]);
    struct ppsp_chunkspec spec = live_spec(l);
    ppsp_data_write(d, &spec,
                    &(struct ppsp_data){.chunk = chunk,
                                        .content = l->rig->content + chunk * LIVE_CHUNK,
                                        .len = LIVE_CHUNK});
}

/* The last event of that type; NULL: none. */
static inline const struct ppsp_event *live_event(const struct live_rig *l, unsigned i,
                                                  enum ppsp_event_type type) {
    const struct ppsp_event *found = NULL;
    for (unsigned k = 0; k < l->rig->event_count[i]; k++)
        if (l->rig->events[i][k].type == type)
            found = &l->rig->events[i][k];
    return found;
}

#endif
