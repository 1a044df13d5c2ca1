/*
 * Who did not extend to whom. That a hop answers EXTEND with an error, or not at
 * all, is its word against the next one's: a relay that lies would drive us from
 * the honest ones, hop by hop, to its friends. So nothing is concluded about
 * either; the two are only not put beside each other for a while. What counts
 * against a relay alone is that it does not answer our own PING (directory.h).
 *
 * `by` NULL is ourselves: a first hop that did not answer. A plain struct of
 * TUN_REFUSALS_MAX rows; the oldest makes room.
 */
#ifndef CULVERT_TUNNEL_REFUSAL_H
#define CULVERT_TUNNEL_REFUSAL_H

#include <stdint.h>

#include "base/rng.h"
#include "base/time.h"
#include "crypto/keys.h"
#include "tunnel/limits.h"

struct tun_refusal {
    uint8_t by[CV_KEY], to[CV_KEY];
    uint8_t times;         /* in a row; 0: an empty row */
    cv_usec avoided_until; /* paths have the two beside each other only for want of others, */
    cv_usec held_until;    /* and until then not at all: 250 ms, doubled up to 16 s */
};

struct tun_refusals {
    struct tun_refusal row[TUN_REFUSALS_MAX];
    unsigned next;
};

/* It happened once more. */
void tun_refusals_note(struct tun_refusals *f, const uint8_t *by, const uint8_t to[CV_KEY],
                       cv_usec now, const struct cv_rng *rng);

/* A circuit goes from one to the other. */
void tun_refusals_forget(struct tun_refusals *f, const uint8_t *by, const uint8_t to[CV_KEY]);

/* The row, or NULL. `f` may be NULL. */
const struct tun_refusal *tun_refusals_find(const struct tun_refusals *f, const uint8_t *by,
                                            const uint8_t to[CV_KEY]);

#endif
