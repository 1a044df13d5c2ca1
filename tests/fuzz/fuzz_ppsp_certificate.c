/*
 * A membership certificate as a stranger sends it (crypto/certificate.h and
 * ppsp/membership.h). Input: its DER.
 * Property: what is read says the same when it is made anew; a URI that is understood is
 * written as one that is understood alike; only what is good in itself is kept, and only
 * what the authority signed is believed.
 */
#include <assert.h>
#include <string.h>

#include "crypto/rng_seeded.h"
#include "ppsp/membership.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The swarm of the RFC's example. */
static const uint8_t id[] = {0xe5, 0xa1, 0x2c, 0x7a, 0xd2, 0xd8, 0xfa, 0xb3, 0x3c, 0x69,
                             0x9d, 0x1e, 0x19, 0x8d, 0x66, 0xf7, 0x9f, 0xa6, 0x10, 0xc3};

static void made_anew(const struct cv_dnssec_secret *key, const struct cv_certificate *what) {
    uint8_t der[CV_CERTIFICATE_MAX];
    size_t len;
    struct cv_certificate got;
    if (what->not_before < 0 || what->not_after > 253402300799) /* years of four digits */
        return;
    enum cv_err err = cv_certificate_issue(key, what, 1, der, &len);
    assert(!err && !cv_certificate_read(der, len, &got));
    assert(strcmp(got.uri, what->uri) == 0);
    assert(got.not_before == what->not_before && got.not_after == what->not_after);
    (void)err;
}

static void understood_alike(const char *uri, const struct cv_addr *addr) {
    char text[CV_CERTIFICATE_URI_MAX + 1];
    struct cv_addr again;
    bool written = ppsp_member_uri(addr, id, sizeof id, text);
    assert(written && !ppsp_member_parse(text, id, sizeof id, &again));
    assert(cv_addr_equal(addr, &again) && strlen(text) <= strlen(uri) + CV_ADDR_TEXT);
    (void)written, (void)uri;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t seed[CV_KEY], name[1 + CV_DNSSEC_PUBLIC_MAX] = {CV_DNSSEC_ED25519};
    struct cv_dnssec_secret *key = NULL;
    struct cv_rng_seeded dice;
    struct ppsp_membership m;
    struct ppsp_member ours = {0};
    struct cv_certificate what = {.not_before = 0};
    struct cv_addr addr = {0};
    int64_t until;
    memset(seed, 7, sizeof seed);
    cv_rng_seeded_init(&dice, 1);
    struct cv_rng rng = cv_rng_seeded(&dice);
    enum cv_err err = cv_dnssec_secret_from_seed(seed, &key);
    assert(!err);
    struct ppsp_authority a = {.id = name, .id_len = 1 + cv_dnssec_public_of(key, name + 1)};
    a.key = key;
    err = ppsp_membership_init(&m, &a, id, sizeof id);
    assert(!err);

    bool read = !cv_certificate_read(data, size, &what);
    bool meant = read && !ppsp_member_parse(what.uri, id, sizeof id, &addr);
    bool real = read && cv_certificate_verify(data, size, m.authority);
    if (read)
        made_anew(key, &what);
    if (meant)
        understood_alike(what.uri, &addr);
    int64_t wall = what.not_before > 0 ? what.not_before : 1;
    err = ppsp_membership_check(&m, wall, id, sizeof id, data, size, &addr, &until);
    assert(err || (meant && real && until >= wall));
    if (!err && !ppsp_membership_issue(&m, wall, &rng, id, sizeof id, &addr, &ours))
        assert(ppsp_member_usable(&ours, wall));
    ppsp_member_done(&ours);
    ppsp_membership_done(&m);

    a.certificate = data;
    a.certificate_len = size;
    err = ppsp_membership_init(&m, &a, id, sizeof id);
    assert((err == CV_ERR_OK) == (size == 0 || (meant && real)));
    if (!err)
        ppsp_membership_done(&m);
    cv_dnssec_secret_free(key);
    return 0;
}
