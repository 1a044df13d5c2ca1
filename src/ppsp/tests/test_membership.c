/* Membership certificates, RFC 7574 section 8.13: what they must say, and of whom. */
#include "ppsp/membership.h"

#include "crypto/rng_seeded.h"
#include "ppsp/limits.h"
#include "support/hex.h"
#include "support/suite.h"

CV_SUITE(ppsp_membership, .init = cv_crypto_init);

#define EXAMPLE "file://192.0.2.0:6778/e5a12c7ad2d8fab33c699d1e198d66f79fa610c3"
#define WALL    ((int64_t)1767225600)

static const uint8_t id[20] = {0xe5, 0xa1, 0x2c, 0x7a, 0xd2, 0xd8, 0xfa, 0xb3, 0x3c, 0x69,
                               0x9d, 0x1e, 0x19, 0x8d, 0x66, 0xf7, 0x9f, 0xa6, 0x10, 0xc3};

Test(ppsp_membership, R8_13_3_the_uri_is_file_host_port_and_swarm_in_hexadecimal) {
    static const struct {
        struct cv_addr addr;
        const char *uri;
    } rows[] = {
        {{.ip = {192, 0, 2, 0}, .port = 6778, .family = 4}, EXAMPLE},
        {{.ip = {0x20, 1, 0xd, 0xb8, [15] = 1}, .port = 1, .family = 6},
         "file://[2001:db8::1]:1/e5a12c7ad2d8fab33c699d1e198d66f79fa610c3"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[CV_CERTIFICATE_URI_MAX + 1];
        struct cv_addr got = {0};
        cr_assert(ppsp_member_uri(&rows[i].addr, id, sizeof id, text));
        cr_expect_str_eq(text, rows[i].uri);
        cr_assert_eq(ppsp_member_parse(rows[i].uri, id, sizeof id, &got), CV_ERR_OK);
        cr_expect(cv_addr_equal(&got, &rows[i].addr));
    }
    static uint8_t long_id[600];
    char text[CV_CERTIFICATE_URI_MAX + 1];
    cr_expect_not(ppsp_member_uri(&rows[0].addr, long_id, sizeof long_id, text));
}

Test(ppsp_membership, R8_13_3_other_uris_are_refused) {
    static const struct {
        const char *uri;
        enum cv_err err;
    } rows[] = {
        {EXAMPLE, CV_ERR_OK},
        {"FILE://192.0.2.0:6778/E5A12C7AD2D8FAB33C699D1E198D66F79FA610C3", CV_ERR_OK},
        {"http://192.0.2.0:6778/e5a12c7ad2d8fab33c699d1e198d66f79fa610c3", CV_ERR_MALFORMED},
        {"file:192.0.2.0:6778/e5a12c7ad2d8fab33c699d1e198d66f79fa610c3", CV_ERR_MALFORMED},
        {"file://192.0.2.0/e5a12c7ad2d8fab33c699d1e198d66f79fa610c3", CV_ERR_MALFORMED},
        {"file://192.0.2.0:0/e5a12c7ad2d8fab33c699d1e198d66f79fa610c3", CV_ERR_MALFORMED},
        {"file://192.0.2.0:65536/e5a12c7ad2d8fab33c699d1e198d66f79fa610c3", CV_ERR_MALFORMED},
        {"file://u@192.0.2.0:6778/e5a12c7ad2d8fab33c699d1e198d66f79fa610c3", CV_ERR_MALFORMED},
        {"file://example.com:6778/e5a12c7ad2d8fab33c699d1e198d66f79fa610c3", CV_ERR_MALFORMED},
        {"file://2001:db8::1:6778/e5a12c7ad2d8fab33c699d1e198d66f79fa610c3", CV_ERR_MALFORMED},
        {"file://192.0.2.0:6778", CV_ERR_MALFORMED},
        {"file:///e5a12c7ad2d8fab33c699d1e198d66f79fa610c3", CV_ERR_MALFORMED},
        {"file://192.0.2.0:6778/e5a12c7ad2d8fab33c699d1e198d66f79fa610c", CV_ERR_MALFORMED},
        {"file://192.0.2.0:6778/e5a12c7ad2d8fab33c699d1e198d66f79fa610cg", CV_ERR_MALFORMED},
        {"file://192.0.2.0:6778/e5a12c7ad2d8fab33c699d1e198d66f79fa610c3/", CV_ERR_MALFORMED},
        {"file://192.0.2.0:6778/e5a12c7ad2d8fab33c699d1e198d66f79fa610c4", CV_ERR_DIFFERS},
        {"file://192.0.2.0:6778/e5a12c7ad2d8fab33c699d1e198d66f79fa610", CV_ERR_DIFFERS},
        {"file://192.0.2.0:6778/", CV_ERR_DIFFERS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cv_addr got = {0};
        cr_expect_eq(ppsp_member_parse(rows[i].uri, id, sizeof id, &got), rows[i].err, "%s",
                     rows[i].uri);
    }
}

/* ---- authorities ---- */

struct authority {
    struct cv_dnssec_secret *secret;
    uint8_t id[1 + CV_DNSSEC_PUBLIC_MAX];
    size_t id_len;
};

static struct authority authority(uint8_t seed) {
    struct authority a = {0};
    uint8_t octets[CV_KEY] = {seed};
    cr_assert_eq(cv_dnssec_secret_from_seed(octets, &a.secret), CV_ERR_OK);
    a.id[0] = CV_DNSSEC_ED25519;
    a.id_len = 1 + cv_dnssec_public_of(a.secret, a.id + 1);
    return a;
}

static struct ppsp_membership membership(const struct authority *a) {
    struct ppsp_membership m;
    struct ppsp_authority what = {.id = a->id, .id_len = a->id_len, .key = a->secret};
    cr_assert_eq(ppsp_membership_init(&m, &what, id, sizeof id), CV_ERR_OK);
    return m;
}

static const struct cv_addr peer = {.ip = {8, 8, 4, 1}, .port = 1001, .family = 4};

static struct ppsp_member issued(struct ppsp_membership *m, int64_t wall) {
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 1);
    struct cv_rng rng = cv_rng_seeded(&dice);
    struct ppsp_member c = {0};
    cr_assert_eq(ppsp_membership_issue(m, wall, &rng, id, sizeof id, &peer, &c), CV_ERR_OK);
    return c;
}

Test(ppsp_membership, a_certificate_is_good_for_a_day_and_some_skew) {
    static const struct {
        int64_t wall;
        enum cv_err err;
    } rows[] = {
        {WALL, CV_ERR_OK},
        {WALL - PPSP_MEMBER_SKEW, CV_ERR_OK},
        {WALL - PPSP_MEMBER_SKEW - 1, CV_ERR_STALE},
        {WALL + PPSP_MEMBER_TIME, CV_ERR_OK},
        {WALL + PPSP_MEMBER_TIME + 1, CV_ERR_STALE},
        {0, CV_ERR_STALE}, /* nobody knows the time */
    };
    struct authority a = authority(1);
    struct ppsp_membership m = membership(&a);
    struct ppsp_member c = issued(&m, WALL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cv_addr got = {0};
        int64_t until = 0;
        cr_expect_eq(
            ppsp_membership_check(&m, rows[i].wall, id, sizeof id, c.der, c.len, &got, &until),
            rows[i].err, "row %zu", i);
        if (!rows[i].err) {
            cr_expect(cv_addr_equal(&got, &peer));
            cr_expect_eq(until, WALL + PPSP_MEMBER_TIME);
        }
    }
    cr_expect(ppsp_member_usable(&c, WALL + PPSP_MEMBER_TIME - PPSP_MEMBER_LEFT));
    cr_expect_not(ppsp_member_usable(&c, WALL + PPSP_MEMBER_TIME - PPSP_MEMBER_LEFT + 1));
    cr_expect_not(ppsp_member_usable(&c, 0));
    ppsp_member_done(&c);
    ppsp_membership_done(&m);
    cv_dnssec_secret_free(a.secret);
}

Test(ppsp_membership, another_authoritys_and_other_swarms_certificates_do_not_count) {
    struct authority a = authority(1), b = authority(2);
    struct ppsp_membership m = membership(&a), n = membership(&b);
    struct ppsp_member c = issued(&n, WALL);
    struct cv_addr got;
    int64_t until;
    uint8_t other[20] = {1};
    cr_expect_eq(ppsp_membership_check(&m, WALL, id, sizeof id, c.der, c.len, &got, &until),
                 CV_ERR_AUTH);
    cr_expect_eq(ppsp_membership_check(&n, WALL, other, sizeof other, c.der, c.len, &got, &until),
                 CV_ERR_DIFFERS);
    cr_expect_eq(ppsp_membership_check(&n, WALL, id, sizeof id, c.der, c.len - 1u, &got, &until),
                 CV_ERR_MALFORMED);
    ppsp_member_done(&c);
    ppsp_membership_done(&m);
    ppsp_membership_done(&n);
    cv_dnssec_secret_free(a.secret);
    cv_dnssec_secret_free(b.secret);
}

Test(ppsp_membership, what_does_not_belong_together_is_refused) {
    struct authority a = authority(1), b = authority(2);
    struct ppsp_membership m = membership(&a);
    struct ppsp_member c = issued(&m, WALL);
    ppsp_membership_done(&m);
    uint8_t rsasha1[70] = {CV_DNSSEC_RSASHA1, 1, 3, 0x80}, short_key[2] = {CV_DNSSEC_ED25519, 0};
    const struct {
        struct ppsp_authority what;
        enum cv_err err;
    } rows[] = {
        {{.id = a.id, .id_len = a.id_len}, CV_ERR_OK},
        {{a.id, a.id_len, a.secret, c.der, c.len}, CV_ERR_OK},
        {{.id = a.id, .id_len = 1}, CV_ERR_INVAL},
        {{.id = a.id, .id_len = 0}, CV_ERR_INVAL},
        {{.id = rsasha1, .id_len = sizeof rsasha1}, CV_ERR_INVAL},
        {{.id = short_key, .id_len = sizeof short_key}, CV_ERR_INVAL},
        {{.id = a.id, .id_len = a.id_len, .key = b.secret}, CV_ERR_INVAL},
        {{b.id, b.id_len, NULL, c.der, c.len}, CV_ERR_INVAL},
        {{a.id, a.id_len, NULL, c.der, c.len - 1u}, CV_ERR_INVAL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_expect_eq(ppsp_membership_init(&m, &rows[i].what, id, sizeof id), rows[i].err, "row %zu",
                     i);
        if (!rows[i].err)
            ppsp_membership_done(&m);
    }
    ppsp_member_done(&c);
    cv_dnssec_secret_free(a.secret);
    cv_dnssec_secret_free(b.secret);
}
