/*
 * Munros: the signed subtrees of a live swarm (RFC 7574 section 6.1.2). Every
 * `width` chunks, a power of two, the injector signs the hash of the node above
 * them; that hash is to its subtree what the root hash is to static content.
 *
 *   ppsp_munro_text   what is signed: chunk specification | NTP time | hash
 *   ppsp_munros       the ones whose signature was verified, newest `cap` kept
 *   ppsp_crown        the tree above the munros: the root hash of the whole
 *                     broadcast, from one hash a level
 *
 * In the method Sign All (section 6.1.1) a munro is one chunk, the chunk itself
 * stands for the hash, and no hash is kept.
 */
#ifndef CULVERT_PPSP_MUNRO_H
#define CULVERT_PPSP_MUNRO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/time.h"
#include "crypto/hash.h"
#include "ppsp/bin.h"
#include "ppsp/message.h"

/* Seconds from 1900 (NTP, RFC 5905) to 1970. */
#define PPSP_NTP_UNIX 2208988800u

/* NTP 32.32 of a Unix time. Whole seconds: a finer clock would tell one
 * computer from another, and nothing here needs it. */
static inline uint64_t ppsp_ntp(int64_t unix_seconds) {
    return (uint64_t)(uint32_t)((uint64_t)unix_seconds + PPSP_NTP_UNIX) << 32;
}

/* a is more than 30 s older than b (section 6.1.2.4 leaves the span open). NTP
 * time turns over in 2036: the nearer way round counts. */
static inline bool ppsp_ntp_stale(uint64_t a, uint64_t b) {
    return (int64_t)(b - a) > (int64_t)30 << 32;
}

/* Specification, time and hash or chunk as they are signed. Returns the length,
 * 0 when `cap` is too small. */
size_t ppsp_munro_text(const struct ppsp_chunkspec *spec, const struct ppsp_range *chunks,
                       uint64_t ntp, const uint8_t *hash, size_t len, uint8_t *ret, size_t cap);

/* ---- those that are known ------------------------------------------------------ */

struct ppsp_munro {
    ppsp_bin bin; /* PPSP_BIN_NONE: free */
    uint64_t ntp;
    cv_usec at;                /* when we learnt of it */
    const uint8_t *hash, *sig; /* in the table */
};

struct ppsp_munros {
    size_t hash_len, sig_len;
    uint32_t width;  /* chunks under each; 0: none known yet */
    unsigned level;  /* of the nodes */
    uint32_t cap;    /* entries */
    uint64_t newest; /* index of the newest, + 1; 0: none */
    struct ppsp_munro *v;
    uint8_t *octets;
};

/* hash_len 0: Sign All. Nothing is allocated yet. */
void ppsp_munros_init(struct ppsp_munros *m, size_t hash_len, size_t sig_len);
void ppsp_munros_done(struct ppsp_munros *m);

/* How wide munros are, and how many chunks back they are remembered. Once.
 * CV_ERR_NOMEM. */
enum cv_err ppsp_munros_begin(struct ppsp_munros *m, uint32_t width, uint64_t chunks);

/* Remembers a verified one; an older one in its place goes. False: it is older
 * than what is remembered. The width must be that of the table. */
bool ppsp_munros_put(struct ppsp_munros *m, ppsp_bin bin, uint64_t ntp, cv_usec at,
                     const uint8_t *hash, const uint8_t *sig);

/* The one of a node, of a chunk, the newest; NULL: not known. Valid until the
 * next put. */
const struct ppsp_munro *ppsp_munros_get(const struct ppsp_munros *m, ppsp_bin bin);
const struct ppsp_munro *ppsp_munros_of(const struct ppsp_munros *m, uint64_t chunk);
const struct ppsp_munro *ppsp_munros_newest(const struct ppsp_munros *m);

/* ---- the tree above them --------------------------------------------------------- */

struct ppsp_crown {
    enum cv_sha alg;
    size_t hash_len;
    unsigned level; /* of what is added */
    uint64_t count; /* of what was added */
    uint8_t stack[48][CV_SHA_MAX];
};

void ppsp_crown_init(struct ppsp_crown *c, enum cv_sha alg, uint32_t width);

/* The next munro's hash, from the left. */
void ppsp_crown_add(struct ppsp_crown *c, const uint8_t *hash);

/* Root hash of all that was added, which is that of the static content (section
 * 5.1: the rest is padding). False: nothing was added. */
bool ppsp_crown_root(const struct ppsp_crown *c, uint8_t ret[CV_SHA_MAX]);

#endif
