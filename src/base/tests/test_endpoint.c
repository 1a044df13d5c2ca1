/* Addresses: which are public, how they are compared, written and read. */
#include "base/endpoint.h"

#include "support/suite.h"

CV_SUITE(endpoint);

static struct cv_addr addr(const char *text) {
    struct cv_addr a;
    cr_assert_eq(cv_addr_parse(text, &a), CV_ERR_OK, "%s", text);
    return a;
}

Test(endpoint, text_and_back) {
    static const char *const texts[] = {
        "192.0.2.1:80",
        "0.0.0.0:0",
        "255.255.255.255:65535",
        "[::]:1",
        "[2001:db8::1]:80",
        "[::1]:9",
        "[fe80::1]:65535",
        "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:10000",
        "[::ffff:192.0.2.128]:65535",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char out[CV_ADDR_TEXT];
        struct cv_addr a = addr(texts[i]);
        cr_expect_str_eq(cv_addr_text(&a, out), texts[i]);
    }
    struct cv_addr none = {0};
    char out[CV_ADDR_TEXT];
    cr_expect_str_eq(cv_addr_text(&none, out), "none");
}

Test(endpoint, refuses_anything_else) {
    static const char *const texts[] = {
        "",
        "none",
        "192.0.2.1",
        "192.0.2.1:",
        "192.0.2.1:65536",
        ":80",
        "192.0.2:80",
        "192.0.2.1:080",
        "192.0.2.1:-1",
        "192.0.2.1:8 ",
        " 1.2.3.4:1",
        "01.2.3.4:1",
        "256.0.0.1:1",
        "example.org:80",
        "[::1]",
        "[::1]80",
        "[::1:80",
        "::1:80",
        "[192.0.2.1]:80",
        "[fe80::1%eth0]:80",
        "[]:80",
        "1.2.3.4:80:80",
        "1.2.3.4:123456",
        "[::1]:",
        "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:1",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct cv_addr a, before;
        memset(&a, 0xee, sizeof a);
        before = a;
        cr_expect_eq(cv_addr_parse(texts[i], &a), CV_ERR_MALFORMED, "\"%s\"", texts[i]);
        cr_expect(cv_addr_equal(&a, &before), "\"%s\": result touched", texts[i]);
    }
}

/* First and last address of each special block are not public, and the
 * neighbours outside of it are (when `next_to_it`). */
Test(endpoint, public_addresses) {
    static const struct {
        const char *text;
        bool is_public;
    } rows[] = {
        {"0.0.0.0:1", false},
        {"0.255.255.255:1", false},
        {"1.0.0.0:1", true},
        {"9.255.255.255:1", true},
        {"10.0.0.0:1", false},
        {"10.255.255.255:1", false},
        {"11.0.0.0:1", true},
        {"100.63.255.255:1", true},
        {"100.64.0.0:1", false},
        {"100.127.255.255:1", false},
        {"100.128.0.0:1", true},
        {"126.255.255.255:1", true},
        {"127.0.0.1:1", false},
        {"127.255.255.255:1", false},
        {"128.0.0.0:1", true},
        {"169.253.255.255:1", true},
        {"169.254.0.0:1", false},
        {"169.254.255.255:1", false},
        {"169.255.0.0:1", true},
        {"172.15.255.255:1", true},
        {"172.16.0.0:1", false},
        {"172.31.255.255:1", false},
        {"172.32.0.0:1", true},
        {"191.255.255.255:1", true},
        {"192.0.0.0:1", false},
        {"192.0.0.255:1", false},
        {"192.0.1.0:1", true},
        {"192.0.2.0:1", false},
        {"192.0.2.255:1", false},
        {"192.0.3.0:1", true},
        {"192.88.98.255:1", true},
        {"192.88.99.1:1", false},
        {"192.88.100.0:1", true},
        {"192.167.255.255:1", true},
        {"192.168.0.0:1", false},
        {"192.168.255.255:1", false},
        {"192.169.0.0:1", true},
        {"198.17.255.255:1", true},
        {"198.18.0.0:1", false},
        {"198.19.255.255:1", false},
        {"198.20.0.0:1", true},
        {"198.51.99.255:1", true},
        {"198.51.100.9:1", false},
        {"198.51.101.0:1", true},
        {"203.0.112.255:1", true},
        {"203.0.113.7:1", false},
        {"203.0.114.0:1", true},
        {"223.255.255.255:1", true},
        {"224.0.0.1:1", false},
        {"239.255.255.255:1", false},
        {"240.0.0.0:1", false},
        {"255.255.255.255:1", false},
        {"8.8.8.8:0", false},
        {"8.8.8.8:65535", true},

        {"[::]:1", false},
        {"[::1]:1", false},
        {"[::ffff:8.8.8.8]:1", false},
        {"[64:ff9b::808:808]:1", false},
        {"[100::1]:1", false},
        {"[1fff:ffff::1]:1", false},
        {"[2000::1]:1", true},
        {"[2001::1]:1", false},
        {"[2001:0:ffff::1]:1", false},
        {"[2001:1ff::1]:1", false},
        {"[2001:200::1]:1", true},
        {"[2001:db7::1]:1", true},
        {"[2001:db8::1]:1", false},
        {"[2001:db8:ffff::1]:1", false},
        {"[2001:db9::1]:1", true},
        {"[2002::1]:1", false},
        {"[2002:ffff::1]:1", false},
        {"[2003::1]:1", true},
        {"[2a00:1450::1]:1", true},
        {"[3ffe::1]:1", true},
        {"[3fff::1]:1", false},
        {"[3fff:fff::1]:1", false},
        {"[3fff:1000::1]:1", true},
        {"[4000::1]:1", false},
        {"[fc00::1]:1", false},
        {"[fd00::1]:1", false},
        {"[fe80::1]:1", false},
        {"[ff02::1]:1", false},
        {"[2a00:1450::1]:0", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cv_addr a = addr(rows[i].text);
        cr_expect_eq(cv_addr_is_public(&a), rows[i].is_public, "%s", rows[i].text);
    }
    struct cv_addr none = {.port = 1};
    cr_expect_not(cv_addr_is_public(&none));
}

Test(endpoint, loopback) {
    static const struct {
        const char *text;
        bool is;
    } rows[] = {{"127.0.0.1:1", true},  {"127.255.0.1:0", true},
                {"126.0.0.1:1", false}, {"128.0.0.1:1", false},
                {"[::1]:1", true},      {"[::]:1", false},
                {"[7f00::1]:1", false}, {"[::ffff:127.0.0.1]:1", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cv_addr a = addr(rows[i].text);
        cr_expect_eq(cv_addr_is_loopback(&a), rows[i].is, "%s", rows[i].text);
    }
}

Test(endpoint, networks_and_common_bits) {
    static const struct {
        const char *a, *b;
        unsigned common;
    } rows[] = {{"192.0.2.1:1", "192.0.2.1:2", 32}, {"192.0.2.1:1", "192.0.2.0:1", 31},
                {"192.0.2.1:1", "64.0.2.1:1", 0},   {"192.0.2.1:1", "192.0.3.1:1", 23},
                {"[::1]:1", "[::1]:1", 128},        {"[2001:db8::]:1", "[2001:db9::]:1", 31},
                {"192.0.2.1:1", "[::]:1", 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cv_addr a = addr(rows[i].a), b = addr(rows[i].b);
        unsigned common = cv_addr_common_bits(&a, &b);
        cr_expect_eq(common, rows[i].common, "%s %s", rows[i].a, rows[i].b);
        for (unsigned bits = 0; bits <= 128 && a.family == b.family; bits++) {
            unsigned bits4 = bits < 32 ? bits : 32;
            struct cv_addr na = cv_addr_network(&a, bits4, bits),
                           nb = cv_addr_network(&b, bits4, bits);
            cr_expect_eq(cv_addr_equal(&na, &nb), (a.family == 4 ? bits4 : bits) <= common,
                         "%s %s /%u", rows[i].a, rows[i].b, bits);
        }
    }
    struct cv_addr a = addr("203.0.113.77:99"), net = cv_addr_network(&a, 20, 0);
    struct cv_addr want = addr("203.0.112.0:0");
    cr_expect(cv_addr_equal(&net, &want));
    a = addr("[2001:db8:1:ff23::5]:9"), net = cv_addr_network(&a, 0, 56);
    want = addr("[2001:db8:1:ff00::]:0");
    cr_expect(cv_addr_equal(&net, &want));
    cr_expect(cv_addr_same_ip(&a, &a));
}

Test(endpoint, kinds_never_compare_equal) {
    struct cv_addr a = addr("192.0.2.1:80");
    struct cv_endpoint eps[] = {cv_endpoint_udp(&a), cv_endpoint_link(7), cv_endpoint_circuit(7, 0),
                                cv_endpoint_circuit(7, 1), cv_endpoint_circuit(8, 0)};
    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < 5; j++)
            cr_expect_eq(cv_endpoint_equal(&eps[i], &eps[j]), i == j, "%zu %zu", i, j);
}
