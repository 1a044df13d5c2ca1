/* The culvert: URI: what is written is read back, and no cut or change passes. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "crypto/hash.h"
#include "node/uri.h"
#include "support/suite.h"

CV_SUITE(node_uri);

static struct node_uri sample(void) {
    struct node_uri u = {.kind = NODE_URI_VOD,
                         .network_id = {1, 2, 3, 4, 5, 6, 7, 8},
                         .integrity = 1,
                         .hash = 2,
                         .addressing = 2,
                         .chunk_size = 1024,
                         .swarm_id_len = 32,
                         .length = 15728640,
                         .has_secret = true,
                         .direct = true,
                         .authority = {15, 1, 2, 3},
                         .authority_len = 33,
                         .contacts_count = 2};
    memset(u.swarm_id, 0xa5, 32);
    memset(u.secret, 0x5a, 32);
    snprintf(u.name, sizeof u.name, "Bergen & Oslo 100%%.mp4");
    cr_assert_eq(cv_addr_parse("192.0.2.1:6881", &u.contacts[0]), CV_ERR_OK);
    cr_assert_eq(cv_addr_parse("[2001:db8::1]:6881", &u.contacts[1]), CV_ERR_OK);
    return u;
}

Test(node_uri, write_then_read_is_identity) {
    struct node_uri u = sample(), got;
    char text[NODE_URI_MAX];
    ssize_t len = node_uri_write(&u, text, sizeof text);
    cr_assert_gt(len, 0);
    cr_assert_eq((size_t)len, strlen(text));
    cr_assert_eq(node_uri_read(text, &got, NULL), CV_ERR_OK);
    cr_expect_str_eq(got.name, u.name);
    cr_expect_eq(got.length, u.length);
    cr_expect_eq(got.swarm_id_len, u.swarm_id_len);
    cr_expect_arr_eq(got.swarm_id, u.swarm_id, 32);
    cr_expect_arr_eq(got.secret, u.secret, 32);
    cr_expect_arr_eq(got.network_id, u.network_id, 8);
    cr_expect_eq(got.authority_len, 33);
    cr_expect_arr_eq(got.authority, u.authority, 33);
    cr_expect_eq(got.contacts_count, 2);
    cr_expect(cv_addr_equal(&got.contacts[1], &u.contacts[1]));
    cr_expect_eq(got.chunk_size, 1024u);
    cr_expect(got.direct);
    u.direct = false;
    cr_assert_gt(node_uri_write(&u, text, sizeof text), 0);
    cr_assert_eq(node_uri_read(text, &got, NULL), CV_ERR_OK);
    cr_expect_not(got.direct);
}

Test(node_uri, every_short_buffer_is_refused) {
    struct node_uri u = sample();
    char text[NODE_URI_MAX];
    size_t len = (size_t)node_uri_write(&u, text, sizeof text);
    for (size_t cap = 0; cap <= len; cap++)
        cr_assert_eq(node_uri_write(&u, text, cap), CV_ERR_NOBUFS, "cap %zu", cap);
}

Test(node_uri, every_cut_and_every_changed_character_is_noticed) {
    struct node_uri u = sample(), got = {.length = 0xdead};
    char text[NODE_URI_MAX], bad[NODE_URI_MAX];
    size_t len = (size_t)node_uri_write(&u, text, sizeof text);
    for (size_t i = 0; i < len; i++) {
        memcpy(bad, text, len + 1);
        bad[i] = 0;
        const char *why = NULL;
        cr_assert_neq(node_uri_read(bad, &got, &why), CV_ERR_OK, "cut at %zu", i);
        cr_assert_not_null(why);
        for (int bit = 0; bit < 7; bit++) {
            memcpy(bad, text, len + 1);
            bad[i] = (char)(bad[i] ^ 1 << bit);
            cr_assert_neq(node_uri_read(bad, &got, NULL), CV_ERR_OK, "bit %d of %zu", bit, i);
        }
    }
    cr_expect_eq(got.length, 0xdeadu, "result clobbered on failure");
}

/* Appends the right check, so that the row tests what stands before it. */
static enum cv_err read_checked(const char *body, const char **why) {
    char text[NODE_URI_MAX + 64], check[16];
    uint8_t h[32];
    struct node_uri got;
    CV_BLAKE2B(h, 32, NULL, 0, {body, strlen(body)});
    snprintf(text, sizeof text, "%s&c=%s", body, cv_base32(h, 5, check));
    return node_uri_read(text, &got, why);
}

Test(node_uri, table_of_bad_parameters) {
    struct node_uri u = sample();
    char good[NODE_URI_MAX];
    node_uri_write(&u, good, sizeof good);
    *strstr(good, "&n=") = 0;
    const char *x = strstr(good, "x=") + 2;

    static const struct {
        const char *name, *before, *after;
        enum cv_err want;
    } rows[] = {
        {"as small as it gets", "culvert:?x=", "&l=1", CV_ERR_OK},
        {"unknown parameter", "culvert:?zz=9&x=", "&l=1&q=7", CV_ERR_OK},
        {"no length", "culvert:?x=", "&n=a", CV_ERR_MALFORMED},
        {"length not a number", "culvert:?x=", "&l=1e9", CV_ERR_MALFORMED},
        {"length beyond 64 bit", "culvert:?x=", "&l=18446744073709551616", CV_ERR_MALFORMED},
        {"length twice", "culvert:?x=", "&l=1&l=2", CV_ERR_MALFORMED},
        {"NUL in the name", "culvert:?x=", "&l=1&n=a%00b", CV_ERR_MALFORMED},
        {"escape cut", "culvert:?x=", "&l=1&n=a%4", CV_ERR_MALFORMED},
        {"contact is a host name", "culvert:?x=", "&l=1&b=example.org:80", CV_ERR_MALFORMED},
        {"four contacts", "culvert:?x=", "&l=1&b=1.2.3.4:5&b=1.2.3.4:6&b=1.2.3.4:7&b=1.2.3.4:8",
         CV_ERR_MALFORMED},
        {"secret too short", "culvert:?x=", "&l=1&k=aaaa", CV_ERR_MALFORMED},
        {"authority of nothing", "culvert:?x=", "&l=1&a=", CV_ERR_MALFORMED},
        {"authority is no base32", "culvert:?x=", "&l=1&a=!!", CV_ERR_MALFORMED},
        {"other scheme", "magnet:?x=", "&l=1", CV_ERR_MALFORMED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char body[NODE_URI_MAX];
        const char *why = NULL;
        snprintf(body, sizeof body, "%.100s%.200s%.200s", rows[i].before, x, rows[i].after);
        cr_expect_eq(read_checked(body, &why), rows[i].want, "%s: %s", rows[i].name, why);
    }
}

Test(node_uri, a_name_is_printable_whatever_a_stranger_wrote) {
    static const struct {
        const char *text, *name;
    } rows[] = {
        {"film.mp4", "film.mp4"},
        {"Bj\xc3\xb6rk \xe2\x9c\x93 \xf0\x9f\x8e\xac",
         "Bj\xc3\xb6rk \xe2\x9c\x93 \xf0\x9f\x8e\xac"},
        {"\x1b[2J\x7f\n", "_[2J__"},
        {"a\xff\xfe", "a__"},
        {"\xc2\x9b", "__"},            /* a control of the second kind */
        {"\xc0\xaf", "__"},            /* longer than needed */
        {"\xed\xa0\x80", "___"},       /* half a pair */
        {"\xf4\x90\x80\x80", "____"},  /* beyond the last character */
        {"\xe2\x80\xaegpj", "___gpj"}, /* writes to the left from here on */
        {"cut \xe2\x9c", "cut __"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct node_uri u = sample(), got;
        char text[NODE_URI_MAX];
        snprintf(u.name, sizeof u.name, "%s", rows[i].text);
        cr_assert_gt(node_uri_write(&u, text, sizeof text), 0);
        cr_assert_eq(node_uri_read(text, &got, NULL), CV_ERR_OK);
        cr_expect_str_eq(got.name, rows[i].name, "row %zu", i);
    }
}
