/* What a channel says of its recordings: only it can, and whatever stands in its pointer
 * otherwise is refused. */
#include "node/recordings.h"

#include <stdio.h>
#include <string.h>

#include "crypto/dnssec_generate.h"
#include "support/suite.h"

CV_SUITE(node_recordings, .init = cv_crypto_init);

static struct cv_dnssec_secret *ed25519(uint8_t first) {
    struct cv_dnssec_secret *key;
    cr_assert_eq(cv_dnssec_secret_from_seed((uint8_t[CV_KEY]){first}, &key), CV_ERR_OK);
    return key;
}

static struct node_uri channel_of(const struct cv_dnssec_secret *key) {
    struct node_uri u = {.kind = NODE_URI_LIVE, .network_id = {1, 2, 3}, .chunk_size = 1024};
    u.swarm_id[0] = (uint8_t)cv_dnssec_alg(key);
    u.swarm_id_len = 1 + cv_dnssec_public_of(key, u.swarm_id + 1);
    return u;
}

static struct node_uri recorded(unsigned i, const char *name) {
    struct node_uri u = {.integrity = 1, /* Merkle */
                         .hash = CV_SHA256,
                         .addressing = 2,
                         .chunk_size = 1024,
                         .swarm_id_len = 32,
                         .length = 1000 + i,
                         .network_id = {1, 2, 3}};
    memset(u.swarm_id, (int)i + 1, 32);
    node_uri_name(&u, name, strlen(name));
    return u;
}

static struct node_recordings list(unsigned count) {
    struct node_recordings r = {.issued = 1780000000};
    for (unsigned i = 0; i < count; i++) {
        struct node_uri u = recorded(i, i % 2 ? "An evening" : "");
        u.direct = i % 3 == 0;
        node_recordings_add(&r, &u, 1700000000 + i);
    }
    return r;
}

Test(node_recordings, are_read_as_they_were_written) {
    static const struct {
        enum cv_dnssec_alg alg;
        unsigned count, fit;
    } rows[] = {{CV_DNSSEC_ED25519, 0, 0},         {CV_DNSSEC_ED25519, 1, 1},
                {CV_DNSSEC_ED25519, 8, 8},         {CV_DNSSEC_ECDSAP256SHA256, 8, 8},
                {CV_DNSSEC_ECDSAP384SHA384, 8, 8}, {CV_DNSSEC_RSASHA256, 8, 8}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cv_dnssec_secret *key;
        cr_assert_eq(cv_dnssec_generate(rows[i].alg, &key), CV_ERR_OK);
        struct node_uri channel = channel_of(key), one, first = recorded(rows[i].count - 1, "");
        struct node_recordings r = list(rows[i].count), got;
        uint8_t octets[NODE_RECORDINGS_OCTETS];
        int n = node_recordings_write(octets, &r, &channel, key);
        cr_assert_eq(n, (int)rows[i].fit, "row %zu: %d", i, n);
        memset(&got, 0xee, sizeof got);
        cr_assert_eq(node_recordings_read(&got, octets, &channel), CV_ERR_OK, "row %zu", i);
        cr_expect_eq(got.count, rows[i].fit);
        cr_expect_eq(got.issued, r.issued);
        cr_expect_eq(memcmp(got.v, r.v, got.count * sizeof *got.v), 0, "row %zu", i);
        if (rows[i].count) {
            node_recording_uri(&got.v[0], &channel, &one);
            cr_expect_eq(one.length, first.length);
            cr_expect_eq(one.swarm_id_len, 32);
            cr_expect_eq(memcmp(one.swarm_id, first.swarm_id, 32), 0);
            cr_expect_eq(memcmp(one.network_id, channel.network_id, 8), 0);
            cr_expect_eq(one.kind, NODE_URI_VOD);
            cr_expect_eq(one.integrity, 1);
        }
        cv_dnssec_secret_free(key);
    }
}

Test(node_recordings, the_newest_stand_first_and_none_stands_twice) {
    struct node_recordings r = list(NODE_RECORDINGS_MAX);
    struct node_uri u = recorded(2, "again"), more = recorded(90, "one more");
    node_recordings_add(&r, &u, 1800000000);
    cr_expect_eq(r.count, NODE_RECORDINGS_MAX);
    cr_expect_str_eq(r.v[0].name, "again");
    cr_expect_eq(r.v[1].length, 1007);
    unsigned times = 0;
    for (unsigned i = 0; i < r.count; i++)
        times += r.v[i].length == 1002;
    cr_expect_eq(times, 1);
    node_recordings_add(&r, &more, 1800000001);
    cr_expect_eq(r.count, NODE_RECORDINGS_MAX);
    cr_expect_str_eq(r.v[0].name, "one more");
    cr_expect_eq(r.v[NODE_RECORDINGS_MAX - 1].length, 1001, "the oldest went");
}

Test(node_recordings, one_that_is_taken_out_leaves_the_others_in_their_order) {
    for (unsigned at = 0; at < 4; at++) {
        struct node_recordings r = list(4);
        uint64_t length[4];
        for (unsigned i = 0; i < 4; i++)
            length[i] = r.v[i].length;
        struct node_uri u = recorded(3 - at, "whatever it is called"), other = recorded(77, "no");
        cr_expect_not(node_recordings_remove(&r, &other));
        other = u;
        other.hash = CV_SHA1; /* the same octets, of another function */
        cr_expect_not(node_recordings_remove(&r, &other));
        cr_assert(node_recordings_remove(&r, &u), "%u", at);
        cr_expect_not(node_recordings_remove(&r, &u));
        cr_assert_eq(r.count, 3);
        for (unsigned i = 0; i < 3; i++)
            cr_expect_eq(r.v[i].length, length[i < at ? i : i + 1], "%u: %u", at, i);
    }
}

Test(node_recordings, names_are_cut_at_whole_characters_and_the_rest_waits_for_room) {
    struct cv_dnssec_secret *key = ed25519(1);
    struct node_uri channel = channel_of(key);
    struct node_recordings r = {.issued = 1}, got;
    uint8_t octets[NODE_RECORDINGS_OCTETS];
    char name[200] = "";
    for (unsigned i = 0; i < 60; i++)
        memcpy(name + 1 + 3 * i, "\xe2\x98\x85", 4); /* a star */
    name[0] = '0';
    for (unsigned i = 0; i < NODE_RECORDINGS_MAX; i++) {
        struct node_uri u = recorded(i, name);
        node_recordings_add(&r, &u, 1);
    }
    cr_expect_eq(strlen(r.v[0].name), 64, "%zu", strlen(r.v[0].name));
    int n = node_recordings_write(octets, &r, &channel, key);
    cr_expect_eq(n, 6, "%d", n);
    cr_assert_eq(node_recordings_read(&got, octets, &channel), CV_ERR_OK);
    cr_expect_eq(got.count, 6);
    cr_expect_str_eq(got.v[5].name, r.v[5].name);
    cv_dnssec_secret_free(key);
}

Test(node_recordings, no_day_that_no_calendar_names) {
    static const struct {
        int64_t ended;
        enum cv_err want;
    } rows[] = {{0, CV_ERR_OK},
                {INT64_C(253402300799), CV_ERR_OK},
                {INT64_C(253402300800), CV_ERR_MALFORMED},
                {INT64_MAX, CV_ERR_MALFORMED},
                {-1, CV_ERR_MALFORMED}};
    struct cv_dnssec_secret *key = ed25519(1);
    struct node_uri channel = channel_of(key);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct node_recordings r = list(1), got;
        uint8_t octets[NODE_RECORDINGS_OCTETS];
        r.v[0].ended = rows[i].ended;
        cr_assert_eq(node_recordings_write(octets, &r, &channel, key), 1);
        cr_expect_eq(node_recordings_read(&got, octets, &channel), rows[i].want, "row %zu", i);
    }
    cv_dnssec_secret_free(key);
}

Test(node_recordings, nobody_else_says_them) {
    struct cv_dnssec_secret *key = ed25519(1), *other = ed25519(2);
    struct node_uri channel = channel_of(key), elsewhere = channel, theirs = channel_of(other);
    struct node_recordings r = list(3), got, untouched;
    uint8_t octets[NODE_RECORDINGS_OCTETS], changed[NODE_RECORDINGS_OCTETS];
    memset(&got, 0xee, sizeof got);
    untouched = got;
    cr_assert_eq(node_recordings_write(octets, &r, &channel, other), 3);
    cr_expect_eq(node_recordings_read(&got, octets, &channel), CV_ERR_AUTH);
    cr_assert_eq(node_recordings_write(octets, &r, &channel, key), 3);
    cr_expect_eq(node_recordings_read(&got, octets, &theirs), CV_ERR_AUTH);
    elsewhere.network_id[0]++;
    cr_expect_eq(node_recordings_read(&got, octets, &elsewhere), CV_ERR_AUTH);
    elsewhere = channel;
    elsewhere.kind = NODE_URI_VOD;
    cr_expect_eq(node_recordings_read(&got, octets, &elsewhere), CV_ERR_MALFORMED);
    elsewhere.kind = NODE_URI_LIVE;
    elsewhere.swarm_id[0] = 99;
    cr_expect_eq(node_recordings_read(&got, octets, &elsewhere), CV_ERR_MALFORMED);

    /* Up to the end of the signature each octet counts. */
    size_t end = NODE_RECORDINGS_OCTETS;
    while (octets[end - 1] == 0)
        end--;
    for (size_t i = 0; i < end; i++) {
        memcpy(changed, octets, sizeof changed);
        changed[i] ^= 1;
        cr_expect_neq(node_recordings_read(&got, changed, &channel), CV_ERR_OK, "octet %zu", i);
    }
    memset(changed, 0xff, sizeof changed);
    cr_expect_eq(node_recordings_read(&got, changed, &channel), CV_ERR_VERSION);
    changed[0] = 1;
    cr_expect_eq(node_recordings_read(&got, changed, &channel), CV_ERR_MALFORMED);
    cr_expect_eq(memcmp(&got, &untouched, sizeof got), 0);
    cv_dnssec_secret_free(key);
    cv_dnssec_secret_free(other);
}
