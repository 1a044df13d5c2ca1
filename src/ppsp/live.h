/*
 * What makes a swarm a live one (RFC 7574 section 6): inside the engine, beside
 * engine.h. A window of chunks slides with the newest signed munro, the edge;
 * a viewer tunes in at the newest munro it hears of and reads in order from its
 * cursor; when it falls too far behind it drops to the edge. The injector
 * gathers chunks until a munro is full, signs it, and from then on is a peer
 * like any other.
 *
 * swarm.chunks is the end of the newest munro, with Sign All that of the newest
 * chunk that was verified. It only grows, until the signed padding behind the last chunk tells
 * where the broadcast ended.
 */
#ifndef CULVERT_PPSP_LIVE_H
#define CULVERT_PPSP_LIVE_H

#include "base/batch.h"
#include "crypto/dnssec.h"
#include "ppsp/munro.h"
#include "ppsp/ppsp.h"

struct ppsp_channel;
struct ppsp_swarm;

/* A signature of Sign All that came before its chunk. */
struct ppsp_signature {
    uint64_t chunk, ntp; /* PPSP_CHUNK_NONE: free */
    uint8_t octets[CV_DNSSEC_SIGNATURE_MAX];
};

struct ppsp_live {
    struct ppsp_live_config config;
    struct cv_dnssec_public *key;
    bool sign_all;
    struct ppsp_munros munros;
    uint64_t newest_ntp; /* of all accepted munros */
    uint64_t first;      /* oldest chunk kept */
    bool tuned;          /* cursor is set */
    uint64_t tuned_at;   /* where it was then */
    uint64_t cursor;     /* the first chunk that is missing, in order */
    bool ended;          /* swarm.chunks does not grow any more */
    bool end_told;       /* .. and is the number of chunks of all */

    /* The injector's. */
    uint64_t next;    /* first chunk of the munro that is being gathered */
    uint32_t waiting; /* chunks gathered */
    size_t last_len;  /* of the last of them */
    uint8_t *chunks;  /* width chunks */
    uint8_t *nodes;   /* their subtree by bin, from that of `next` on */
    struct ppsp_crown crown;
    bool whole; /* the crown began at chunk 0 and has no gap */
    bool sealed;
    uint8_t root[CV_SHA_MAX]; /* once sealed and whole */
};

/* CV_ERR_INVAL: no live swarm that can be; CV_ERR_NOMEM. */
enum cv_err ppsp_live_open(struct ppsp_swarm *s);
void ppsp_live_done(struct ppsp_swarm *s);

/* SIGNED_INTEGRITY (8.9). Errors as of any message. */
enum cv_err ppsp_live_signed(struct ppsp_channel *c, cv_usec now,
                             const struct ppsp_signed_integrity *m);

/* The peer showed that it has chunks up to `last` (HAVE, ACK): applies its
 * discard window (6.2). */
void ppsp_live_shown(struct ppsp_channel *c, uint64_t last);

/* Chunks came into the store; or hashes were proven, perhaps of padding. */
void ppsp_live_stored(struct ppsp_swarm *s);
void ppsp_live_proven(struct ppsp_swarm *s);

/* A munro becomes known: the window slides, viewers tune in or drop. */
void ppsp_live_edge(struct ppsp_swarm *s, cv_usec now, uint64_t end);
/* What we have is in too many pieces (PPSP_LIVE_INTERVALS): the window slides behind
 * the oldest of them. False: there is none. */
bool ppsp_live_shed(struct ppsp_swarm *s, cv_usec now);
/* The broadcast has at most so many chunks. */
void ppsp_live_end(struct ppsp_swarm *s, uint64_t chunks);

/* What to ask this peer for; as ppsp_pick(). */
bool ppsp_live_pick(struct ppsp_channel *c, cv_usec now, uint32_t max, struct ppsp_range *ret);
/* Chunks to ask this peer for at a time. */
uint32_t ppsp_live_window(const struct ppsp_channel *c, cv_usec now);

/* ---- giving ------------------------------------------------------------------- */

/* INTEGRITY and SIGNED_INTEGRITY of a munro, or SIGNED_INTEGRITY of a chunk. */
size_t ppsp_live_munro_len(const struct ppsp_swarm *s);
/* The peer was not told of anything as new, and may be told now (6.1.2.4). */
bool ppsp_live_munro_due(const struct ppsp_channel *c);
/* Adds our newest munro until the peer showed that it knows it. */
void ppsp_live_put_newest(struct ppsp_channel *c, struct cv_wr *w);
/* Adds that of a chunk, unless the peer has another chunk under it. */
void ppsp_live_put_munro_of(struct ppsp_channel *c, struct cv_wr *w, uint64_t chunk);
/* Those of chunks in datagrams of their own. CV_ERR_NOBUFS. */
enum cv_err ppsp_live_send_munros(struct ppsp_channel *c, cv_usec now, struct cv_batch *b,
                                  size_t room, uint64_t first, uint64_t last);
/* Datagrams those may need. */
uint32_t ppsp_live_munro_slots(const struct ppsp_swarm *s, size_t room, uint64_t chunks);

/* ---- being the source: inject.c ---------------------------------------------------- */

enum cv_err ppsp_inject_open(struct ppsp_swarm *s);

/* ---- Sign All (6.1.1) ----------------------------------------------------------- */

enum cv_err ppsp_live_keep_signature(struct ppsp_channel *c, const struct ppsp_signed_integrity *m);
/* As fetch.c's check of a chunk: OK, NOENT (no signature came), AUTH. */
enum cv_err ppsp_live_check(struct ppsp_channel *c, cv_usec now, uint64_t chunk,
                            const uint8_t *content, size_t len);

#endif
