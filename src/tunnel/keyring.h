/*
 * A relay's own keys: one descriptor a UTC day, signed once, with the link key
 * and onion secrets behind it (tunnel.md section 5). Yesterday's serve until
 * 08:00, tomorrow's descriptor is signed from 21:00 on. Nothing signed is shown
 * before the whole keyring was stored: a relay that forgets what it signed
 * would sign a second one for that day and prove itself a liar. Given a ring
 * that cannot be read it signs none of the days for which that may have signed:
 * today, and from 21:00 on tomorrow, by each clock that it sees until one has been right for ten
 * minutes; of one that was more than thirty days ahead nothing is kept then. The rest is, like
 * what is signed, so it is found out once and not anew with every start. Days to come that a wrong
 * clock made stay until they come; only where they leave no room the furthest goes, if it is more
 * than thirty days off.
 */
#ifndef CULVERT_TUNNEL_KEYRING_H
#define CULVERT_TUNNEL_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rng.h"
#include "base/time.h"
#include "crypto/keys.h"
#include "tunnel/descriptor.h"
#include "tunnel/limits.h"
#include "tunnel/linkhs.h"

struct tun_keyring;

/* What a descriptor says besides keys. */
struct tun_keyring_config {
    const struct cv_ed25519_secret *identity; /* borrowed for good */
    uint8_t network_id[TUN_NETWORK_ID];
    struct cv_addr addr[TUN_ADDRS_MAX];
    uint8_t addrs;
    uint16_t flags;
    uint8_t suites;  /* bits, params.h */
    uint8_t version; /* 0: TUN_VERSION */
    uint32_t bandwidth;
    bool tokens; /* issues priority tokens: the descriptor names the week's key */
};

/* One day. */
struct tun_keyring_day {
    uint32_t day;
    bool saved; /* on disk: may be shown */
    struct cv_x25519_secret link_secret;
    struct cv_x25519_secret onion_secret[TUN_ONION_KEYS];
    struct tun_linkhs_peer peer; /* of link_secret */
    uint8_t suites;              /* that its descriptor offers: kept, whatever the machine is now */
    uint8_t descriptor[TUN_DESCRIPTOR_MAX];
    uint16_t descriptor_len;
    uint8_t digest[TUN_DIGEST];
};

/* `blob`: what tun_keyring_blob() gave before, or NULL. A blob that is damaged
 * or another identity's is CV_ERR_CORRUPT through *ret_err, and the ring then
 * is silent from the first tick with a clock. NULL: out of memory. */
struct tun_keyring *tun_keyring_new(const struct tun_keyring_config *cfg, const struct cv_rng *rng,
                                    const void *blob, size_t len, enum cv_err *ret_err);
struct tun_keyring *tun_keyring_free(struct tun_keyring *k); /* wipes */

/* Signs what is due and forgets what is over, but nothing in the ten minutes after a start or a
 * jump of the calendar: it may be wrong for a moment. True when the ring must be
 * stored now: take tun_keyring_blob(), and tun_keyring_saved() afterwards. */
bool tun_keyring_tick(struct tun_keyring *k, const struct cv_now *now);
const uint8_t *tun_keyring_blob(struct tun_keyring *k, size_t *ret_len);
void tun_keyring_saved(struct tun_keyring *k);
/* Of the same form, with those days only that are on disk: what another ring of this
 * identity is made from (tun_keyring_new). How many octets. */
size_t tun_keyring_copy(const struct tun_keyring *k, uint8_t ret[TUN_KEYRING_MAX]);

/* The day everybody uses now, or NULL when there is none to show. */
const struct tun_keyring_day *tun_keyring_current(const struct tun_keyring *k, int64_t wall);
const struct tun_keyring_day *tun_keyring_find(const struct tun_keyring *k, uint32_t day);

/* All days that may be used for handshakes now, newest first; at most 3. */
size_t tun_keyring_days(const struct tun_keyring *k, int64_t wall,
                        const struct tun_keyring_day *ret[3]);

/* Does a descriptor that somebody may go by now offer one of these suites? */
bool tun_keyring_offers(const struct tun_keyring *k, int64_t wall, uint8_t suites);

/* The onion secrets that are acceptable now; at most `cap`. */
size_t tun_keyring_onion(const struct tun_keyring *k, int64_t wall,
                         const struct cv_x25519_secret **ret, size_t cap);

#endif
