#include "ppsp/munro.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ppsp/limits.h"

size_t ppsp_munro_text(const struct ppsp_chunkspec *spec, const struct ppsp_range *chunks,
                       uint64_t ntp, const uint8_t *hash, size_t len, uint8_t *ret, size_t cap) {
    struct cv_wr w = cv_wr_init(ret, cap);
    ppsp_spec_write_node(&w, spec, chunks);
    cv_wr_be64(&w, ntp);
    cv_wr_bytes(&w, hash, len);
    return w.err ? 0 : cv_wr_len(&w);
}

/* ---- those that are known ------------------------------------------------------ */

void ppsp_munros_init(struct ppsp_munros *m, size_t hash_len, size_t sig_len) {
    *m = (struct ppsp_munros){.hash_len = hash_len, .sig_len = sig_len};
}

void ppsp_munros_done(struct ppsp_munros *m) {
    free(m->v);
    free(m->octets);
    ppsp_munros_init(m, m->hash_len, m->sig_len);
}

enum cv_err ppsp_munros_begin(struct ppsp_munros *m, uint32_t width, uint64_t chunks) {
    assert(m->width == 0 && width > 0 && (width & (width - 1)) == 0);
    uint64_t cap = chunks / width;
    cap = cap < PPSP_MUNROS_MAX - 2 ? cap + 2 : PPSP_MUNROS_MAX; /* it may begin inside one */
    m->v = calloc(cap, sizeof *m->v);
    m->octets = calloc(cap, m->hash_len + m->sig_len);
    if (!m->v || !m->octets) {
        ppsp_munros_done(m);
        return CV_ERR_NOMEM;
    }
    m->width = width;
    m->level = (unsigned)__builtin_ctz(width);
    m->cap = (uint32_t)cap;
    for (uint32_t i = 0; i < m->cap; i++)
        m->v[i].bin = PPSP_BIN_NONE;
    return CV_ERR_OK;
}

bool ppsp_munros_put(struct ppsp_munros *m, ppsp_bin bin, uint64_t ntp, cv_usec at,
                     const uint8_t *hash, const uint8_t *sig) {
    assert(m->width && ppsp_bin_level(bin) == m->level);
    uint64_t index = ppsp_bin_index(bin);
    struct ppsp_munro *e = &m->v[index % m->cap];
    if (index + m->cap < m->newest || (e->bin != PPSP_BIN_NONE && ppsp_bin_index(e->bin) > index))
        return false;
    uint8_t *octets = m->octets + index % m->cap * (m->hash_len + m->sig_len);
    if (m->hash_len)
        memcpy(octets, hash, m->hash_len);
    memcpy(octets + m->hash_len, sig, m->sig_len);
    *e = (struct ppsp_munro){bin, ntp, at, octets, octets + m->hash_len};
    m->newest = index + 1 > m->newest ? index + 1 : m->newest;
    return true;
}

const struct ppsp_munro *ppsp_munros_get(const struct ppsp_munros *m, ppsp_bin bin) {
    if (m->width == 0 || bin == PPSP_BIN_NONE || ppsp_bin_level(bin) != m->level)
        return NULL;
    const struct ppsp_munro *e = &m->v[ppsp_bin_index(bin) % m->cap];
    return e->bin == bin ? e : NULL;
}

const struct ppsp_munro *ppsp_munros_of(const struct ppsp_munros *m, uint64_t chunk) {
    return m->width ? ppsp_munros_get(m, ppsp_bin_at(m->level, chunk >> m->level)) : NULL;
}

const struct ppsp_munro *ppsp_munros_newest(const struct ppsp_munros *m) {
    return m->newest ? ppsp_munros_get(m, ppsp_bin_at(m->level, m->newest - 1)) : NULL;
}

/* ---- the tree above them --------------------------------------------------------- */

void ppsp_crown_init(struct ppsp_crown *c, enum cv_sha alg, uint32_t width) {
    *c = (struct ppsp_crown){
        .alg = alg, .hash_len = cv_sha_len(alg), .level = (unsigned)__builtin_ctz(width)};
}

void ppsp_crown_add(struct ppsp_crown *c, const uint8_t *hash) {
    uint8_t h[CV_SHA_MAX];
    unsigned up = 0;
    memcpy(h, hash, c->hash_len);
    assert(c->count < PPSP_CHUNKS_MAX >> c->level);
    for (; c->count >> up & 1; up++) /* we complete our left sibling */
        cv_sha2(c->alg, h, c->stack[up], c->hash_len, h, c->hash_len);
    memcpy(c->stack[up], h, c->hash_len);
    c->count++;
}

bool ppsp_crown_root(const struct ppsp_crown *c, uint8_t ret[CV_SHA_MAX]) {
    static const uint8_t zeros[CV_SHA_MAX];
    if (c->count == 0)
        return false;
    unsigned low = (unsigned)__builtin_ctzll(c->count);
    unsigned top = 63 - (unsigned)__builtin_clzll(c->count);
    memcpy(ret, c->stack[low], c->hash_len);
    if (low == top)
        return true;
    cv_sha2(c->alg, ret, ret, c->hash_len, zeros, c->hash_len);
    for (unsigned up = low + 1; up <= top; up++) /* a peak to the left, or padding to the right */
        if (c->count >> up & 1)
            cv_sha2(c->alg, ret, c->stack[up], c->hash_len, ret, c->hash_len);
        else
            cv_sha2(c->alg, ret, ret, c->hash_len, zeros, c->hash_len);
    return true;
}
