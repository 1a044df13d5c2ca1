/*
 * Protocol options: what a HANDSHAKE says (RFC 7574 section 7). Options are
 * sorted by code and end with 255; none says how long it is, so an unknown
 * code ends all understanding.
 */
#ifndef CULVERT_PPSP_OPTIONS_H
#define CULVERT_PPSP_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cursor.h"
#include "base/err.h"

enum ppsp_option {
    PPSP_OPT_VERSION = 0,
    PPSP_OPT_MIN_VERSION = 1,
    PPSP_OPT_SWARM_ID = 2,
    PPSP_OPT_INTEGRITY = 3,
    PPSP_OPT_HASH = 4,
    PPSP_OPT_SIGNATURE = 5,
    PPSP_OPT_ADDRESSING = 6,
    PPSP_OPT_DISCARD_WINDOW = 7,
    PPSP_OPT_MESSAGES = 8,
    PPSP_OPT_CHUNK_SIZE = 9,
    PPSP_OPT_END = 255,
};

struct ppsp_options {
    uint32_t present; /* bit c: option with code c was there */
    uint8_t version, min_version;
    uint8_t integrity, hash, signature, addressing;
    uint16_t swarm_id_len;
    const uint8_t *swarm_id; /* borrowed */
    uint64_t discard_window;
    uint32_t chunk_size;
    uint16_t messages; /* bit t: message type t (0..15) is supported */
};

static inline bool ppsp_options_has(const struct ppsp_options *o, enum ppsp_option code) {
    return o->present >> code & 1;
}

/*
 * Reads options up to and including the end option. *ret is untouched on
 * failure. CV_ERR_UNKNOWN: an option with an unknown code; CV_ERR_MALFORMED:
 * not sorted, twice the same, or a discard window before its addressing
 * method; CV_ERR_TRUNCATED.
 */
enum cv_err ppsp_options_read(struct cv_rd *r, struct ppsp_options *ret);

/* Writes what is present, sorted, and the end option. */
void ppsp_options_write(struct cv_wr *w, const struct ppsp_options *o);

#endif
