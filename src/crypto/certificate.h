/*
 * Membership certificates of peer exchange (RFC 7574 sections 8.13 and 12.2): X.509 v3
 * in DER, whose subject alternative name, critical, is one URI that says which address
 * takes part in which swarm. What the URI must say is ppsp/membership.h's; here are the
 * form, the signature and the time. X.509 comes from libcrypto.
 *
 * Issuers have the keys of crypto/dnssec.h. RSASHA1 is refused: what others may be
 * sent to with it could be made up.
 */
#ifndef CULVERT_CRYPTO_CERTIFICATE_H
#define CULVERT_CRYPTO_CERTIFICATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "crypto/dnssec.h"

enum {
    CV_CERTIFICATE_MAX = 1280, /* octets of one that is read, or made */
    CV_CERTIFICATE_URI_MAX = 800,
};

struct cv_certificate {
    char uri[CV_CERTIFICATE_URI_MAX + 1];
    int64_t not_before, not_after; /* Unix seconds, both inclusive */
};

/* Keys of this kind may issue. */
bool cv_certificate_issuer_ok(enum cv_dnssec_alg alg);

/*
 * What a certificate says, whoever made it. CV_ERR_LIMIT: longer than
 * CV_CERTIFICATE_MAX; CV_ERR_MALFORMED: no X.509 v3 in DER and nothing behind it, no
 * critical subject alternative name of exactly one URI (printable ASCII, at most
 * CV_CERTIFICATE_URI_MAX octets), an extension that is critical and unknown, or times
 * that are none. *ret is then undefined.
 */
enum cv_err cv_certificate_read(const uint8_t *der, size_t len, struct cv_certificate *ret);

/* `issuer` signed it, with the algorithm that its key is for. The costly part: what
 * cv_certificate_read() says comes first. */
bool cv_certificate_verify(const uint8_t *der, size_t len, const struct cv_dnssec_public *issuer);

/*
 * Makes one. `serial` is from the caller's dice. Its subject is nobody and has the
 * issuer's key, because X.509 demands one and peers have none. CV_ERR_INVAL: a key
 * that may not issue; CV_ERR_NOBUFS: it would be longer than CV_CERTIFICATE_MAX;
 * CV_ERR_NOMEM.
 */
enum cv_err cv_certificate_issue(const struct cv_dnssec_secret *issuer,
                                 const struct cv_certificate *what, uint64_t serial,
                                 uint8_t ret[CV_CERTIFICATE_MAX], size_t *ret_len);

#endif
