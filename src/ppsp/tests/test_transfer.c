/*
 * Whole engines over a wire: content arrives, whatever its size, hash
 * function, endpoints and the wire's faults, and equal seeds make equal runs.
 */
#include "support/suite.h"

#include "rig.h"

CV_SUITE(ppsp_transfer);

/* Loses every n-th datagram, at random. */
struct lossy {
    unsigned one_in;
};

static bool lose(struct rig *r, unsigned from, unsigned to, uint8_t *data, size_t len) {
    struct lossy *l = r->tap_ctx;
    (void)from, (void)to, (void)data, (void)len;
    return cv_rng_below(&r->rng[RIG_ENGINES], l->one_in) != 0;
}

static struct rig *pair(uint64_t seed, uint64_t octets, bool circuits) {
    struct rig *r = rig_new(seed, octets, 1024, CV_SHA256);
    r->circuits = circuits;
    rig_add(r, true);
    rig_add(r, false);
    return r;
}

static void connect_pair(struct rig *r) {
    if (r->circuits)
        cr_assert_eq(rig_connect(r, 0, 1, false), CV_ERR_OK);
    cr_assert_eq(rig_connect(r, 1, 0, true), CV_ERR_OK);
}

/* clang-format off */
static const struct {
    const char *name;
    uint64_t octets;
} sizes[] = {
    { "one octet",              1 },
    { "less than a chunk",      700 },
    { "one chunk",              1024 },
    { "two chunks",             2048 },
    { "RFC 7574 figure 4",      7162 },
    { "fifteen chunks",         15 * 1024 },
    { "a group",                16 * 1024 },
    { "a group and one octet",  16 * 1024 + 1 },
    { "power of two",           256 * 1024 },
    { "odd",                    300 * 1024 + 77 },
    { "several blocks",         2500 * 1024 + 1 },
};
/* clang-format on */

Test(ppsp_transfer, content_of_any_size_arrives) {
    for (int circuits = 0; circuits < 2; circuits++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct rig *r = pair(i, sizes[i].octets, circuits);
            connect_pair(r);
            cr_expect(rig_run_complete(r, 1, CV_SEC(30)), "%s (circuits %d): not complete",
                      sizes[i].name, circuits);
            cr_expect(rig_equal(r, 1), "%s: differs", sizes[i].name);
            cr_expect_eq(rig_events(r, 1, PPSP_EVENT_COMPLETE), 1, "%s", sizes[i].name);
            cr_expect_eq(rig_events(r, 1, PPSP_EVENT_SIZE_KNOWN), 1, "%s", sizes[i].name);
            rig_free(r);
        }
}

Test(ppsp_transfer, every_hash_function_and_chunk_range) {
    for (int alg = CV_SHA1; alg <= CV_SHA512; alg++)
        for (int method = 2; method <= 4; method += 2) {
            struct rig *r = rig_new((uint64_t)alg, 200 * 1000, 1000, (enum cv_sha)alg);
            r->config.addressing = (enum ppsp_addressing)method;
            rig_add(r, true);
            rig_add(r, false);
            connect_pair(r);
            cr_expect(rig_run_complete(r, 1, CV_SEC(30)), "hash %d method %d", alg, method);
            cr_expect(rig_equal(r, 1));
            rig_free(r);
        }
}

Test(ppsp_transfer, survives_loss) {
    for (uint64_t seed = 0; seed < 24; seed++) {
        struct rig *r = pair(seed, 400 * 1024 + 5, seed & 1);
        struct lossy l = {.one_in = seed % 3 == 0 ? 4 : 12};
        r->tap = lose;
        r->tap_ctx = &l;
        r->delay = CV_MSEC(20);
        connect_pair(r);
        cr_expect(rig_run_complete(r, 1, CV_SEC(600)), "stuck; replay with seed=%lu",
                  (unsigned long)seed);
        cr_expect(rig_equal(r, 1), "seed=%lu", (unsigned long)seed);
        rig_free(r);
    }
}

static uint64_t digest_of(uint64_t seed) {
    struct rig *r = pair(seed, 200 * 1024, false);
    struct lossy l = {.one_in = 10};
    r->tap = lose;
    r->tap_ctx = &l;
    connect_pair(r);
    cr_expect(rig_run_complete(r, 1, CV_SEC(100)));
    uint64_t digest = r->digest;
    rig_free(r);
    return digest;
}

Test(ppsp_transfer, same_seed_same_run) {
    uint64_t first = digest_of(7);
    cr_expect_eq(first, digest_of(7));
    cr_expect_neq(first, digest_of(8));
}

/* A viewer that has everything serves the next, the first seeder being gone. */
Test(ppsp_transfer, viewer_serves_viewer) {
    struct rig *r = pair(3, 300 * 1024, false);
    connect_pair(r);
    cr_assert(rig_run_complete(r, 1, CV_SEC(30)));
    ppsp_swarm_close(r->engine[0], rig_now(r), r->swarm[0]);
    rig_run(r, CV_SEC(1));
    cr_expect_eq(rig_events(r, 1, PPSP_EVENT_PEER_DOWN), 1);
    unsigned second = rig_add(r, false);
    rig_connect(r, second, 1, true);
    cr_expect(rig_run_complete(r, second, CV_SEC(30)));
    cr_expect(rig_equal(r, second));
    rig_free(r);
}

/* Viewers that come together give each other what they have. */
Test(ppsp_transfer, viewers_share_the_load) {
    struct rig *r = rig_new(5, 1000 * 1024, 1024, CV_SHA256);
    r->config.upload_limit = 100 * 1024; /* the seeder alone would take 40 s for four */
    rig_add(r, true);
    r->config.upload_limit = 0;
    for (unsigned i = 1; i <= 4; i++)
        rig_add(r, false);
    for (unsigned i = 1; i <= 4; i++)
        for (unsigned k = 0; k < i; k++)
            rig_connect(r, i, k, true);
    for (unsigned i = 1; i <= 4; i++) {
        cr_expect(rig_run_complete(r, i, CV_SEC(25)), "viewer %u", i);
        cr_expect(rig_equal(r, i));
    }
    rig_free(r);
}

/* Every addressing method, with a short last chunk, peaks of many sizes, and a third peer that
 * fetches from one which has only a part yet. */
Test(ppsp_transfer, R4_1_every_addressing_method_from_end_to_end) {
    for (int method = PPSP_ADDRESSING_BIN32; method <= PPSP_ADDRESSING_CHUNK64; method++)
        for (unsigned k = 0; k < 4; k++) {
            static const uint64_t octets[] = {1, 1024 * 7 - 100, 1024 * 1000, 1024 * 333 + 1};
            static const enum cv_sha hashes[] = {CV_SHA512, CV_SHA1, CV_SHA256, CV_SHA384};
            struct rig *r = rig_new(k + 1, octets[k], 1024, hashes[k]);
            r->config.addressing = (enum ppsp_addressing)method;
            unsigned a = rig_add(r, true), b = rig_add(r, false), c = rig_add(r, false);
            ppsp_swarm_limits(r->engine[a], rig_now(r), r->swarm[a], 400 * 1024, 0);
            rig_connect(r, b, a, true);
            rig_run(r, CV_MSEC(300));
            rig_connect(r, c, b, true);
            cr_expect(rig_run_complete(r, c, CV_SEC(60)), "method %d, content %u", method, k);
            cr_expect(rig_equal(r, b) && rig_equal(r, c), "method %d, content %u", method, k);
            for (unsigned i = 0; i < 3; i++) {
                const struct ppsp_counters *n = ppsp_counters(r->engine[i]);
                cr_expect(!n->drop_message_bad && !n->drop_have_bad && !n->drop_integrity_bad);
                cr_expect(!n->peers_dropped_bad && !n->drop_data_bad);
            }
            rig_free(r);
        }
}
