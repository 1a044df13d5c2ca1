/*
 * A set of chunk numbers: what we have, what a peer has, what was asked for.
 * Few intervals are kept as such; more become a bitmap with summaries once the
 * number of chunks is known, so a million chunks cost 132 KiB at most and
 * looking for the next member or gap is fast.
 */
#ifndef CULVERT_PPSP_CHUNKSET_H
#define CULVERT_PPSP_CHUNKSET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/intervals.h"

#define PPSP_CHUNK_NONE UINT64_MAX

struct ppsp_chunkset {
    uint64_t limit;             /* members are below it; UINT64_MAX while unknown */
    bool of_peer;               /* costs PPSP_PEER_SET_OCTETS at most */
    uint64_t count;             /* members */
    struct cv_intervals sparse; /* used while words is NULL */
    uint64_t *words;            /* bitmap; bit i & 63 of word i >> 6 */
    uint64_t *full;             /* bit w & 63 of full[w >> 6]: words[w] is all ones */
    uint64_t *some;             /* likewise: words[w] is not 0 */
};

void ppsp_chunkset_init(struct ppsp_chunkset *s);
/* The set of somebody who may make it grow on purpose: of content that is too long for
 * a bitmap of PPSP_PEER_SET_OCTETS it holds PPSP_PEER_INTERVALS intervals. */
void ppsp_chunkset_init_peer(struct ppsp_chunkset *s);
void ppsp_chunkset_done(struct ppsp_chunkset *s);

/* For a set that is never bound (live swarms): more intervals are allowed. To
 * be called while the set is empty. */
void ppsp_chunkset_unbound(struct ppsp_chunkset *s);

/* From now on all members are below `limit` (> 0); greater ones are removed.
 * To be called at most once with a limit other than the present one. */
void ppsp_chunkset_bound(struct ppsp_chunkset *s, uint64_t limit);

/* Adds what lies below the limit. CV_ERR_LIMIT: too many intervals while the
 * limit is unknown, or of a peer; CV_ERR_NOMEM. The set is then as it was. Removing fails
 * so too, where it makes two pieces of one: never at the beginning or end of all. */
enum cv_err ppsp_chunkset_add(struct ppsp_chunkset *s, uint64_t first, uint64_t last);
enum cv_err ppsp_chunkset_remove(struct ppsp_chunkset *s, uint64_t first, uint64_t last);

/* Takes over a bitmap of (limit + 63) / 64 words (the limit must be known; the
 * set must be empty). Bits beyond the limit are ignored. */
enum cv_err ppsp_chunkset_load(struct ppsp_chunkset *s, const uint64_t *words);

bool ppsp_chunkset_has(const struct ppsp_chunkset *s, uint64_t chunk);
bool ppsp_chunkset_covers(const struct ppsp_chunkset *s, uint64_t first, uint64_t last);
bool ppsp_chunkset_any(const struct ppsp_chunkset *s, uint64_t first, uint64_t last);

/* First member at or after `from`, PPSP_CHUNK_NONE if none. */
uint64_t ppsp_chunkset_next(const struct ppsp_chunkset *s, uint64_t from);

/* First number at or after `from` that is not a member; may be the limit or
 * beyond. */
uint64_t ppsp_chunkset_gap(const struct ppsp_chunkset *s, uint64_t from);

/* The biggest interval of members around the member `chunk`. */
struct cv_interval ppsp_chunkset_around(const struct ppsp_chunkset *s, uint64_t chunk);

#endif
