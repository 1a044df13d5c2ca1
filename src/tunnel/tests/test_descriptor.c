#include "tunnel/descriptor.h"

#include <string.h>

#include "crypto/hash.h"
#include "support/suite.h"
#include "tape.h"

CV_SUITE(tunnel_descriptor, .init = cv_crypto_init);

enum { DAY = 20000 };

static void example(struct tun_descriptor *d, struct cv_ed25519_secret *identity) {
    uint8_t seed[32];
    octets(seed, 99, sizeof seed);
    cv_ed25519_from_seed(identity, seed);
    memset(d, 0, sizeof *d);
    d->version = TUN_VERSION;
    octets(d->network_id, 7, TUN_NETWORK_ID);
    d->day = DAY;
    octets(d->link_key, 10, CV_KEY);
    for (unsigned i = 0; i < TUN_ONION_KEYS; i++)
        octets(d->onion_key[i], 20 + i, CV_KEY);
    octets(d->token_key, 30, CV_KEY);
    d->flags = 0x0f;
    d->suites = 1;
    d->bandwidth = 5000;
    d->addrs = 2;
    d->addr[0] = (struct cv_addr){.ip = {192, 0, 2, 7}, .port = 4242, .family = 4};
    d->addr[1] = (struct cv_addr){.port = 443, .family = 6};
    octets(d->addr[1].ip, 32, 16);
    d->families = 1;
    octets(d->family[0], 77, CV_KEY);
    d->exit_ports = 1;
    d->exit_port[0] = (struct tun_port_range){1024, 65535};
}

Test(tunnel_descriptor, vectors) {
    struct tun_descriptor d, got;
    struct cv_ed25519_secret identity;
    uint8_t buf[TUN_DESCRIPTOR_MAX], key[20];
    example(&d, &identity);
    ssize_t len = tun_descriptor_sign(&d, &identity, buf, sizeof buf);
    cr_assert_gt(len, 0);
    expect_vector("descriptor", "descriptor", buf, (size_t)len);
    cr_assert_eq(tun_descriptor_open(buf, (size_t)len, d.network_id, &got), CV_ERR_OK);
    expect_vector("descriptor", "digest", got.digest, TUN_DIGEST);
    memcpy(d.identity, identity.public_key, CV_KEY);
    memcpy(d.digest, got.digest, TUN_DIGEST);
    cr_assert_arr_eq(&got, &d, sizeof d);

    uint8_t buckets[3] = {(uint8_t)tun_relay_bucket(d.identity, DAY, 0),
                          (uint8_t)tun_relay_bucket(d.identity, DAY, 4),
                          (uint8_t)tun_relay_bucket(d.identity, DAY, 8)};
    expect_vector("descriptor", "buckets", buckets, sizeof buckets);
    tun_relay_dht_key(d.network_id, DAY, 8, buckets[2], key);
    expect_vector("descriptor", "dhtkey", key, sizeof key);
    tun_network_id("culvert", key);
    expect_vector("descriptor", "network", key, TUN_NETWORK_ID);
}

Test(tunnel_descriptor, every_octet_and_every_cut) {
    struct tun_descriptor d, got;
    struct cv_ed25519_secret identity;
    uint8_t buf[TUN_DESCRIPTOR_MAX];
    example(&d, &identity);
    size_t len = (size_t)tun_descriptor_sign(&d, &identity, buf, sizeof buf);
    memset(&got, 0xdd, sizeof got);
    struct tun_descriptor before = got;
    for (size_t at = 0; at < len; at++) {
        buf[at] ^= 1;
        cr_assert_neq(tun_descriptor_open(buf, len, d.network_id, &got), CV_ERR_OK, "octet %zu",
                      at);
        buf[at] ^= 1;
        cr_assert_neq(tun_descriptor_open(buf, at, d.network_id, &got), CV_ERR_OK, "cut at %zu",
                      at);
        cr_assert_lt(tun_descriptor_sign(&d, &identity, buf, at), 0, "cap %zu", at);
        cr_assert_eq((size_t)tun_descriptor_sign(&d, &identity, buf, len), len);
    }
    cr_assert_arr_eq(&got, &before, sizeof got, "result clobbered");
    uint8_t other[TUN_NETWORK_ID] = {1};
    cr_assert_eq(tun_descriptor_open(buf, len, other, &got), CV_ERR_DIFFERS);
}

/* Of three addresses two are kept, and the onion key turns with the day. */
Test(tunnel_descriptor, what_it_takes_to_reach_the_relay) {
    struct tun_descriptor d;
    struct cv_ed25519_secret identity;
    example(&d, &identity);
    octets(d.identity, 3, CV_KEY);
    octets(d.digest, 4, TUN_DIGEST);
    d.suites = 3;
    for (unsigned addrs = 1; addrs <= 3; addrs++)
        for (unsigned i = 0; i < TUN_ONION_KEYS; i++) {
            d.addrs = (uint8_t)addrs;
            int64_t wall = DAY * 86400LL + i * 6 * 3600;
            struct tun_relay_ref ref, want = {.day = DAY, .suites = 3, .version = TUN_VERSION};
            octets(want.identity, 3, CV_KEY);
            octets(want.d, 4, TUN_DIGEST);
            octets(want.link_key, 10, CV_KEY);
            octets(want.onion_key, 20 + i, CV_KEY);
            want.addr[0] = d.addr[0];
            if (addrs > 1)
                want.addr[1] = d.addr[1];
            memset(&ref, 0xdd, sizeof ref);
            tun_descriptor_ref(&d, wall, &ref);
            cr_expect_arr_eq(&ref, &want, offsetof(struct tun_relay_ref, suites));
            cr_expect_eq(ref.suites, want.suites);
            cr_expect_eq(ref.version, want.version);
            for (unsigned k = 0; k < 2; k++)
                cr_expect(cv_addr_equal(&ref.addr[k], &want.addr[k]), "%u of %u", k, addrs);
        }
}

Test(tunnel_descriptor, later_fields_are_ignored_but_signed) {
    struct tun_descriptor d, got;
    struct cv_ed25519_secret identity;
    uint8_t buf[TUN_DESCRIPTOR_MAX + 1];
    example(&d, &identity);
    size_t body = (size_t)tun_descriptor_sign(&d, &identity, buf, sizeof buf) - CV_SIGNATURE;
    memset(buf + body, 0x55, 100);
    cv_ed25519_sign(buf + body + 100, &identity, "culvert descriptor 1", buf, body + 100);
    size_t len = body + 100 + CV_SIGNATURE;
    cr_assert_eq(tun_descriptor_open(buf, len, d.network_id, &got), CV_ERR_OK);
    buf[body + 50] ^= 1;
    cr_assert_eq(tun_descriptor_open(buf, len, d.network_id, &got), CV_ERR_AUTH);

    size_t most = TUN_DESCRIPTOR_MAX + 1 - CV_SIGNATURE;
    memset(buf + body, 0, most - body);
    cv_ed25519_sign(buf + most, &identity, "culvert descriptor 1", buf, most);
    cr_assert_eq(tun_descriptor_open(buf, TUN_DESCRIPTOR_MAX + 1, d.network_id, &got),
                 CV_ERR_MALFORMED, "longer than 900");
}

/* Signed, and nonsense all the same: octet `at` becomes `value`. */
/* clang-format off */
static const struct {
    const char *name;
    unsigned at;
    uint8_t value;
    enum cv_err want;
} bad[] = {
    { "as it is",           0,   1,   CV_ERR_OK },
    { "one version ahead",  0,   2,   CV_ERR_OK },
    { "two versions ahead", 0,   3,   CV_ERR_VERSION },
    { "no version",         0,   0,   CV_ERR_VERSION },
    { "no address",         276, 0,   CV_ERR_MALFORMED },
    { "five addresses",     276, 5,   CV_ERR_MALFORMED },
    { "address family 5",   277, 5,   CV_ERR_MALFORMED },
    { "nine in the family", 303, 9,   CV_ERR_MALFORMED },
    { "nine port ranges",   336, 9,   CV_ERR_MALFORMED },
    { "range backwards",    340, 0,   CV_ERR_MALFORMED },
};
/* clang-format on */

Test(tunnel_descriptor, signed_nonsense) {
    struct tun_descriptor d, got;
    struct cv_ed25519_secret identity;
    uint8_t buf[TUN_DESCRIPTOR_MAX];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        example(&d, &identity);
        d.exit_port[0] = (struct tun_port_range){1024, 1280};
        size_t len = (size_t)tun_descriptor_sign(&d, &identity, buf, sizeof buf);
        buf[bad[i].at] = bad[i].value;
        cv_ed25519_sign(buf + len - CV_SIGNATURE, &identity, "culvert descriptor 1", buf,
                        len - CV_SIGNATURE);
        enum cv_err err = tun_descriptor_open(buf, len, d.network_id, &got);
        cr_expect_eq(err, bad[i].want, "%s: %s", bad[i].name, cv_strerror(err));
        if (!err)
            cr_expect_eq(got.version, buf[0], "%s", bad[i].name);
    }
}

Test(tunnel_descriptor, the_largest_fits) {
    struct tun_descriptor d, got;
    struct cv_ed25519_secret identity;
    uint8_t buf[TUN_DESCRIPTOR_MAX];
    example(&d, &identity);
    d.addrs = TUN_ADDRS_MAX;
    for (unsigned i = 0; i < TUN_ADDRS_MAX; i++)
        d.addr[i] = d.addr[1];
    d.families = TUN_FAMILY_MAX;
    d.exit_ports = TUN_EXIT_PORTS_MAX;
    ssize_t len = tun_descriptor_sign(&d, &identity, buf, sizeof buf);
    cr_assert_gt(len, 0);
    cr_assert_eq(tun_descriptor_open(buf, (size_t)len, d.network_id, &got), CV_ERR_OK);
    cr_assert(tun_descriptor_has_addr(&got, &d.addr[3]));
    d.addr[3].port++;
    cr_assert_not(tun_descriptor_has_addr(&got, &d.addr[3]));
}

Test(tunnel_descriptor, equivocation) {
    struct tun_descriptor d;
    struct cv_ed25519_secret identity;
    uint8_t a[TUN_DESCRIPTOR_MAX], b[TUN_DESCRIPTOR_MAX];
    example(&d, &identity);
    size_t a_len = (size_t)tun_descriptor_sign(&d, &identity, a, sizeof a);
    cr_assert_not(tun_descriptor_is_proof(a, a_len, a, a_len, d.network_id), "the same twice");
    d.bandwidth++;
    size_t b_len = (size_t)tun_descriptor_sign(&d, &identity, b, sizeof b);
    cr_assert(tun_descriptor_is_proof(a, a_len, b, b_len, d.network_id));
    b[20] ^= 1;
    cr_assert_not(tun_descriptor_is_proof(a, a_len, b, b_len, d.network_id), "forged");
    d.day++;
    b_len = (size_t)tun_descriptor_sign(&d, &identity, b, sizeof b);
    cr_assert_not(tun_descriptor_is_proof(a, a_len, b, b_len, d.network_id), "another day");
    identity.seed[0] ^= 1;
    cv_ed25519_from_seed(&identity, identity.seed);
    d.day--;
    b_len = (size_t)tun_descriptor_sign(&d, &identity, b, sizeof b);
    cr_assert_not(tun_descriptor_is_proof(a, a_len, b, b_len, d.network_id), "another relay");
}

/* Hours are those since 00:00 UTC of the descriptor's day. */
/* clang-format off */
static const struct {
    int minutes;
    bool current;
    int use; /* tun_descriptor_day() - DAY */
    unsigned newest;
    const char *accepted; /* one character for each key */
} calendar[] = {
    { -3 * 60 - 1, false, -1, 0, "....." },
    { -3 * 60,     true,  -1, 0, "....." },
    { -2 * 60,     true,  -1, 0, "0...." },
    { 0,           true,  -1, 0, "0...." },
    { 3 * 60 - 1,  true,  -1, 0, "0...." },
    { 3 * 60,      true,   0, 0, "0...." },
    { 5 * 60,      true,   0, 0, "01..." },
    { 6 * 60,      true,   0, 1, "01..." },
    { 8 * 60 - 1,  true,   0, 1, "01..." },
    { 8 * 60,      true,   0, 1, ".1..." },
    { 12 * 60,     true,   0, 2, ".12.." },
    { 18 * 60,     true,   0, 3, "..23." },
    { 23 * 60,     true,   0, 3, "...34" },
    { 24 * 60,     true,   0, 4, "...34" },
    { 26 * 60,     true,   0, 4, "....4" },
    { 27 * 60 - 1, true,   0, 4, "....4" },
    { 27 * 60,     true,   1, 4, "....4" },
    { 29 * 60,     true,   1, 4, "....." },
    { 32 * 60 - 1, true,   1, 4, "....." },
    { 32 * 60,     false,  1, 4, "....." },
};
/* clang-format on */

Test(tunnel_descriptor, calendar_table) {
    for (size_t i = 0; i < sizeof calendar / sizeof *calendar; i++) {
        int64_t wall = (int64_t)DAY * 86400 + calendar[i].minutes * 60;
        char accepted[] = ".....";
        for (unsigned k = 0; k < TUN_ONION_KEYS; k++)
            if (tun_onion_key_accepted(DAY, k, wall))
                accepted[k] = (char)('0' + k);
        cr_expect_str_eq(accepted, calendar[i].accepted, "minute %d", calendar[i].minutes);
        cr_expect_eq(tun_descriptor_is_current(DAY, wall), calendar[i].current, "minute %d",
                     calendar[i].minutes);
        cr_expect_eq(tun_descriptor_day(wall), (uint32_t)(DAY + calendar[i].use), "minute %d",
                     calendar[i].minutes);
        cr_expect_eq(tun_onion_key_newest(DAY, wall), calendar[i].newest, "minute %d",
                     calendar[i].minutes);
    }
}

/* Two clocks, each wrong by as much as is tolerated, on either side of 03:00. */
Test(tunnel_descriptor, near_the_turn_another_clock_sees_another_day) {
    static const struct {
        int64_t seconds; /* since 03:00 of the day */
        int other;       /* tun_descriptor_other_day() - DAY */
    } rows[] = {{-TUN_TURN_S - 1, -1}, {-TUN_TURN_S, 0}, {-1, 0}, {0, -1},
                {TUN_TURN_S - 1, -1},  {TUN_TURN_S, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(tun_descriptor_other_day(tun_descriptor_day_begins(DAY) + rows[i].seconds),
                     (uint32_t)(DAY + rows[i].other), "%ld s", rows[i].seconds);
    for (int64_t a = -TUN_CLOCK_OFF_S; a <= TUN_CLOCK_OFF_S; a += 60) {
        for (int64_t b = -TUN_CLOCK_OFF_S; b <= TUN_CLOCK_OFF_S; b += 60) {
            int64_t ours = tun_descriptor_day_begins(DAY) + a, day = tun_descriptor_day(ours);
            int64_t theirs = tun_descriptor_day(tun_descriptor_day_begins(DAY) + b);
            cr_assert(theirs == day || theirs == tun_descriptor_other_day(ours));
        }
    }
}

/* Whoever follows the calendar is always understood, with 90 minutes between
 * the two clocks either way. */
Test(tunnel_descriptor, newest_is_accepted_by_any_clock_near) {
    for (int64_t wall = (int64_t)DAY * 86400; wall < (int64_t)(DAY + 2) * 86400; wall += 600) {
        uint32_t day = tun_descriptor_day(wall);
        unsigned newest = tun_onion_key_newest(day, wall);
        for (int skew = -90; skew <= 90; skew += 30)
            cr_assert(tun_onion_key_accepted(day, newest, wall + skew * 60));
    }
}
