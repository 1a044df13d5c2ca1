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
#include "base/endpoint.h"
#include "base/err.h"
#include "ppsp/chunkspec.h"

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
    PPSP_MSG_PEX_CONTACT = 14, /* DEVIATION 7574 8.2: unassigned there */
};

/* ---- HANDSHAKE (8.4): its options are read and written by ppsp/options.h ---- */

/* Type and the sender's channel ID; the options follow. */
void ppsp_handshake_begin(struct cv_wr *w, uint32_t channel);

/* The whole closing handshake: channel 0 and no options (section 8.4). */
void ppsp_handshake_close(struct cv_wr *w);

/* ---- DATA (8.6) ----------------------------------------------------------- */

/* Type, specification and timestamp; the chunk follows. */
#define PPSP_DATA_OVERHEAD(method) (1 + ppsp_spec_len(method) + 8)

struct ppsp_data {
    uint64_t chunk;
    uint64_t timestamp;     /* sender's clock in microseconds, any origin */
    const uint8_t *content; /* borrowed from the datagram */
    size_t len;             /* chunk size, or what is left of the datagram if less; with
                               byte ranges what the range says */
};

/* MALFORMED: more than one chunk is named; TRUNCATED: no content, or less than
 * a byte range says. */
enum cv_err ppsp_data_read(struct cv_rd *r, const struct ppsp_chunkspec *s, struct ppsp_data *ret);
void ppsp_data_write(struct cv_wr *w, const struct ppsp_chunkspec *s, const struct ppsp_data *data);

/* ---- ACK (8.7) ------------------------------------------------------------ */

struct ppsp_ack {
    struct ppsp_range chunks;
    uint64_t delay; /* receiver's clock minus timestamp, microseconds, wraps; only
                       differences between samples mean anything */
};

#define PPSP_ACK_LEN(method) (1 + ppsp_spec_len(method) + 8)

enum cv_err ppsp_ack_read(struct cv_rd *r, const struct ppsp_chunkspec *s, struct ppsp_ack *ret);
void ppsp_ack_write(struct cv_wr *w, const struct ppsp_chunkspec *s, const struct ppsp_ack *ack);

/* ---- INTEGRITY (8.8) ------------------------------------------------------ */

struct ppsp_integrity_hash {
    struct ppsp_range chunks; /* leaves of the node, padding included */
    const uint8_t *hash;      /* borrowed, hash_len octets */
};

#define PPSP_INTEGRITY_LEN(method, hash_len) (1 + ppsp_spec_len(method) + (hash_len))

enum cv_err ppsp_integrity_read(struct cv_rd *r, const struct ppsp_chunkspec *s, size_t hash_len,
                                struct ppsp_integrity_hash *ret);
void ppsp_integrity_write(struct cv_wr *w, const struct ppsp_chunkspec *s, size_t hash_len,
                          const struct ppsp_integrity_hash *node);

/* ---- SIGNED_INTEGRITY (8.9) ------------------------------------------------ */

struct ppsp_signed_integrity {
    struct ppsp_range chunks; /* of the munro; of one chunk in Sign All */
    uint64_t ntp;             /* when it was signed, 32.32 since 1900 */
    const uint8_t *signature; /* borrowed */
};

#define PPSP_SIGNED_LEN(method, sig_len) (1 + ppsp_spec_len(method) + 8 + (sig_len))

/* The signature's length follows from the swarm's algorithm and key. */
enum cv_err ppsp_signed_read(struct cv_rd *r, const struct ppsp_chunkspec *s, size_t sig_len,
                             struct ppsp_signed_integrity *ret);
void ppsp_signed_write(struct cv_wr *w, const struct ppsp_chunkspec *s, size_t sig_len,
                       const struct ppsp_signed_integrity *m);

/* ---- HAVE (8.5), REQUEST (8.10), CANCEL (8.11): a range each --------------- */

/* Body is ppsp_spec_read(). The range must be its own ppsp_spec_head(). */
void ppsp_range_write(struct cv_wr *w, enum ppsp_message_type type, const struct ppsp_chunkspec *s,
                      const struct ppsp_range *range);

/*
 * As many messages as one range needs, while there are `spare` octets left
 * behind each. True: all of it was written; else *range is what was not.
 */
bool ppsp_ranges_write(struct cv_wr *w, enum ppsp_message_type type, const struct ppsp_chunkspec *s,
                       struct ppsp_range *range, size_t spare);

/* ---- CHOKE, UNCHOKE (8.12), PEX_REQ (8.13): no body ------------------------- */

void ppsp_bare_write(struct cv_wr *w, enum ppsp_message_type type);

/* ---- PEX_RESv4, PEX_RESv6, PEX_REScert (8.13) -------------------------------- */

/* `type` says which family. */
enum cv_err ppsp_pex_read(struct cv_rd *r, enum ppsp_message_type type, struct cv_addr *ret);
/* The address's family (4 or 6) says which type. */
enum ppsp_message_type ppsp_pex_type(const struct cv_addr *addr);
void ppsp_pex_write(struct cv_wr *w, const struct cv_addr *addr);

struct ppsp_pex_cert {
    const uint8_t *der; /* X.509 v3 certificate; borrowed */
    size_t len;         /* at most 65535 */
};

#define PPSP_PEX_CERT_LEN(der_len) (1 + 2 + (size_t)(der_len))

enum cv_err ppsp_pex_cert_read(struct cv_rd *r, struct ppsp_pex_cert *ret);
void ppsp_pex_cert_write(struct cv_wr *w, const struct ppsp_pex_cert *cert);

/* ---- PEX_CONTACT: peers without addresses (docs/protocol/ppsp-profile.md) ----- */

struct ppsp_pex_contact {
    uint32_t period;       /* in which the contact is good */
    const uint8_t *octets; /* whatever the owner understands; borrowed */
    size_t len;            /* at most 65531 */
};

#define PPSP_PEX_CONTACT_LEN(len) (1 + 2 + 4 + (size_t)(len))

/* MALFORMED: too short for a period. */
enum cv_err ppsp_pex_contact_read(struct cv_rd *r, struct ppsp_pex_contact *ret);
void ppsp_pex_contact_write(struct cv_wr *w, const struct ppsp_pex_contact *contact);

#endif
