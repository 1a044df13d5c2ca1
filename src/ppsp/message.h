/*
 * Messages in a datagram (RFC 7574 sections 3 and 8). All integers big-endian.
 * A message is a type octet and a body; no message says how long it is, so
 * what follows an unknown type cannot be read.
 *
 * Readers start behind the type octet. They return CV_ERR_OK and fill *ret, or
 * CV_ERR_TRUNCATED or CV_ERR_MALFORMED and leave it alone. Writers append type
 * and body; errors stick to the cursor.
 */
#ifndef CULVERT_PPSP_MESSAGE_H
#define CULVERT_PPSP_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/cursor.h"
#include "base/err.h"
#include "ppsp/ppsp.h"

enum ppsp_message_type {
    PPSP_MSG_HANDSHAKE = 0,
    PPSP_MSG_DATA = 1,
    PPSP_MSG_ACK = 2,
    PPSP_MSG_HAVE = 3,
    PPSP_MSG_INTEGRITY = 4,
    PPSP_MSG_PEX_RESV4 = 5,
    PPSP_MSG_PEX_REQ = 6,
    PPSP_MSG_SIGNED_INTEGRITY = 7,
    PPSP_MSG_REQUEST = 8,
    PPSP_MSG_CANCEL = 9,
    PPSP_MSG_CHOKE = 10,
    PPSP_MSG_UNCHOKE = 11,
    PPSP_MSG_PEX_RESV6 = 12,
    PPSP_MSG_PEX_RESCERT = 13,
};

/* ---- chunk specification (section 4) -------------------------------------- */

/* Consecutive chunks, both ends inclusive, first <= last. */
struct ppsp_range {
    uint64_t first, last;
};

/* Octets of one specification; 0: addressing method not supported. */
size_t ppsp_spec_len(enum ppsp_addressing method);

/* CV_ERR_MALFORMED: the range runs backwards. */
enum cv_err ppsp_spec_read(struct cv_rd *r, enum ppsp_addressing method, struct ppsp_range *ret);
void ppsp_spec_write(struct cv_wr *w, enum ppsp_addressing method, const struct ppsp_range *range);

/* ---- DATA (8.6) ----------------------------------------------------------- */

/* Type, specification and timestamp; the chunk follows. */
#define PPSP_DATA_OVERHEAD(method) (1 + ppsp_spec_len(method) + 8)

struct ppsp_data {
    uint64_t chunk;
    uint64_t timestamp;     /* sender's clock in microseconds, any origin */
    const uint8_t *content; /* borrowed from the datagram */
    size_t len;             /* chunk size, or what is left of the datagram if less */
};

/* Takes at most `chunk_size` octets of content. MALFORMED: more than one chunk
 * is named; TRUNCATED: no content. */
enum cv_err ppsp_data_read(struct cv_rd *r, enum ppsp_addressing method, size_t chunk_size,
                           struct ppsp_data *ret);
void ppsp_data_write(struct cv_wr *w, enum ppsp_addressing method, const struct ppsp_data *data);

/* ---- ACK (8.7) ------------------------------------------------------------ */

struct ppsp_ack {
    struct ppsp_range chunks;
    uint64_t delay; /* receiver's clock minus timestamp, microseconds, wraps; only
                       differences between samples mean anything */
};

enum cv_err ppsp_ack_read(struct cv_rd *r, enum ppsp_addressing method, struct ppsp_ack *ret);
void ppsp_ack_write(struct cv_wr *w, enum ppsp_addressing method, const struct ppsp_ack *ack);

/* ---- INTEGRITY (8.8) ------------------------------------------------------ */

struct ppsp_integrity_hash {
    struct ppsp_range chunks; /* leaves of the node, padding included */
    const uint8_t *hash;      /* borrowed, hash_len octets */
};

#define PPSP_INTEGRITY_LEN(method, hash_len) (1 + ppsp_spec_len(method) + (hash_len))

enum cv_err ppsp_integrity_read(struct cv_rd *r, enum ppsp_addressing method, size_t hash_len,
                                struct ppsp_integrity_hash *ret);
void ppsp_integrity_write(struct cv_wr *w, enum ppsp_addressing method, size_t hash_len,
                          const struct ppsp_integrity_hash *node);

/* ---- HAVE (8.5), REQUEST (8.10), CANCEL (8.11): a range each --------------- */

/* Body is ppsp_spec_read(). */
void ppsp_range_write(struct cv_wr *w, enum ppsp_message_type type, enum ppsp_addressing method,
                      const struct ppsp_range *range);

/* ---- CHOKE, UNCHOKE (8.12): no body; PEX (8.13): read over ------------------ */

/* Skips the body of a PEX message of that type. */
enum cv_err ppsp_pex_skip(struct cv_rd *r, enum ppsp_message_type type);

#endif
