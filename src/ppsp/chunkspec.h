/*
 * Chunk specifications (RFC 7574 sections 4 and 7.8): how a message names
 * chunks. The engine knows ranges of chunk numbers only; this is where they
 * become bins, byte ranges or chunk ranges, and where the octets of a stranger
 * become a range again.
 *
 * A bin names an aligned range of 2^k chunks only, so a range is named by one
 * specification or by several: ppsp_spec_head() and ppsp_spec_around() say
 * which part of it one can name.
 */
#ifndef CULVERT_PPSP_CHUNKSPEC_H
#define CULVERT_PPSP_CHUNKSPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cursor.h"
#include "base/err.h"
#include "ppsp/ppsp.h"

/* Consecutive chunks, both ends inclusive, first <= last. */
struct ppsp_range {
    uint64_t first, last;
};

/* How the chunks of one swarm are named. */
struct ppsp_chunkspec {
    enum ppsp_addressing method;
    uint32_t chunk_size; /* octets; byte ranges only */
    uint64_t octets;     /* exact length of the content; 0: not known. Byte ranges only:
                            there the last chunk ends with it */
};

/* Octets of one specification; 0: no such method. */
size_t ppsp_spec_len(enum ppsp_addressing method);

/* So many chunks have names (at most PPSP_CHUNKS_MAX). */
uint64_t ppsp_spec_chunks_max(const struct ppsp_chunkspec *s);

/*
 * Reads one specification. CV_ERR_MALFORMED: it runs backwards, or a byte range
 * does not consist of whole chunks (it may end in mid-chunk where the content
 * ends, and anywhere while that is not known); CV_ERR_NOENT: the bin that names
 * no chunk at all (all ones); CV_ERR_TRUNCATED. *ret is untouched then. What is
 * read may lie far beyond the content.
 */
enum cv_err ppsp_spec_read(struct cv_rd *r, const struct ppsp_chunkspec *s, struct ppsp_range *ret);

/* The longest part that one specification can name: of the beginning of the
 * range .. */
struct ppsp_range ppsp_spec_head(const struct ppsp_chunkspec *s, const struct ppsp_range *range);
/* .. or of what lies around `chunk`, which is in the range. */
struct ppsp_range ppsp_spec_around(const struct ppsp_chunkspec *s, const struct ppsp_range *range,
                                   uint64_t chunk);

/* True: every range has a name of its own. */
static inline bool ppsp_spec_joins(const struct ppsp_chunkspec *s) {
    return s->method != PPSP_ADDRESSING_BIN32 && s->method != PPSP_ADDRESSING_BIN64;
}

/* Writes one specification; the range must be its own ppsp_spec_head(), and no
 * chunk of it may be beyond ppsp_spec_chunks_max(), but for padding leaves. */
void ppsp_spec_write(struct cv_wr *w, const struct ppsp_chunkspec *s,
                     const struct ppsp_range *range);

/* The same for the leaves under a node of a hash tree (R5.4.3): padding counts
 * as whole chunks, so a byte range goes on behind the content. */
void ppsp_spec_write_node(struct cv_wr *w, const struct ppsp_chunkspec *s,
                          const struct ppsp_range *leaves);

#endif
