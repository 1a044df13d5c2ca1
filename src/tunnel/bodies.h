/*
 * Bodies of relay commands as requests carry them. The codecs of relaycmd.h
 * have the transaction in front, tun_request(), tun_answer() and the events
 * REPLY and REQUEST have it beside: these two go from one to the other.
 */
#ifndef CULVERT_TUNNEL_BODIES_H
#define CULVERT_TUNNEL_BODIES_H

#include <string.h>

#include "base/cursor.h"
#include "tunnel/limits.h"

struct tun_body {
    uint8_t buf[TUN_CELL];
    struct cv_wr w;
};

/* Write a body with its transaction (whatever it is) into body->w. */
static inline void tun_body_init(struct tun_body *b) {
    b->w = cv_wr_init(b->buf, sizeof b->buf);
}
/* What of it follows the transaction. */
static inline const uint8_t *tun_body_data(const struct tun_body *b) {
    return b->buf + 4;
}
static inline size_t tun_body_len(const struct tun_body *b) {
    return cv_wr_len(&b->w) - 4;
}

/* A reader for the codecs, over a copy of `data` with a transaction in front. */
static inline struct cv_rd tun_body_rd(struct tun_body *b, uint32_t transaction,
                                       const uint8_t *data, size_t len) {
    tun_body_init(b);
    cv_wr_le32(&b->w, transaction);
    cv_wr_bytes(&b->w, data, len);
    return cv_rd_init(b->buf, b->w.err ? 0 : cv_wr_len(&b->w));
}

#endif
