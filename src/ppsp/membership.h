/*
 * Who takes part in a swarm, said by somebody whom all its peers believe: the swarm's
 * authority (RFC 7574 sections 3.10, 8.13 and 12.2). Its certificates name an address, a
 * swarm and a time in a URI,
 *
 *     file://192.0.2.0:6778/e5a12c7ad2d8fab33c699d1e198d66f79fa610c3
 *
 * and a peer with an authority calls nobody whom another peer named without one. The
 * authority's key comes from where the swarm's metadata comes from. Whoever holds the
 * private key makes certificates for the peers that it has an open channel with: that
 * they answered proves their address, as a tracker would have to.
 */
#ifndef CULVERT_PPSP_MEMBERSHIP_H
#define CULVERT_PPSP_MEMBERSHIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/endpoint.h"
#include "base/err.h"
#include "base/rng.h"
#include "crypto/certificate.h"
#include "ppsp/ppsp.h"

/* Writes the URI of a peer at `addr` in the swarm `id`. False: it is longer than a
 * certificate may hold. */
bool ppsp_member_uri(const struct cv_addr *addr, const uint8_t *id, size_t id_len,
                     char ret[CV_CERTIFICATE_URI_MAX + 1]);

/* Reads one. CV_ERR_MALFORMED: not of that form (a host that is a name is none: nothing
 * here asks a resolver); CV_ERR_DIFFERS: of another swarm. */
enum cv_err ppsp_member_parse(const char *uri, const uint8_t *id, size_t id_len,
                              struct cv_addr *ret);

/* A certificate of one peer. */
struct ppsp_member {
    uint8_t *der; /* NULL: none */
    uint16_t len;
    int64_t until; /* Unix seconds */
};

void ppsp_member_done(struct ppsp_member *c);

/* What a swarm was told of its authority; zeroed: it has none. */
struct ppsp_membership {
    struct cv_dnssec_public *authority; /* NULL: none */
    const struct cv_dnssec_secret *key; /* borrowed; NULL: we are not it */
    struct ppsp_member own;             /* what it says of ourselves, if anything, */
    struct cv_addr own_addr;            /* and the address in it */
    uint16_t issued_len;                /* of the certificate that we made last; 0: none */
};

/* CV_ERR_INVAL: the authority's id is no key that may issue, or not that of its private
 * key, or our certificate is none of this authority for the swarm `id`; CV_ERR_NOMEM.
 * Nothing is kept on failure. */
enum cv_err ppsp_membership_init(struct ppsp_membership *m, const struct ppsp_authority *a,
                                 const uint8_t *id, size_t id_len);
void ppsp_membership_done(struct ppsp_membership *m);

/* Good for somebody to whom it is given now. `wall` 0: nobody knows the time. */
bool ppsp_member_usable(const struct ppsp_member *c, int64_t wall);

/*
 * What a stranger says: whom it names, and until when that is good. CV_ERR_MALFORMED,
 * LIMIT: no membership certificate; DIFFERS: of another swarm; STALE: not good at
 * `wall`, or nobody knows the time; AUTH: the authority did not sign it.
 */
enum cv_err ppsp_membership_check(const struct ppsp_membership *m, int64_t wall, const uint8_t *id,
                                  size_t id_len, const uint8_t *der, size_t len,
                                  struct cv_addr *ret, int64_t *ret_until);

/* Keeps a copy in place of what was there. */
enum cv_err ppsp_member_keep(struct ppsp_member *c, const uint8_t *der, size_t len, int64_t until);

/* Makes one, which replaces what was there. Errors as cv_certificate_issue(). */
enum cv_err ppsp_membership_issue(struct ppsp_membership *m, int64_t wall, const struct cv_rng *rng,
                                  const uint8_t *id, size_t id_len, const struct cv_addr *addr,
                                  struct ppsp_member *ret);

#endif
