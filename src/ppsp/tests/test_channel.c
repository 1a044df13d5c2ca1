/*
 * Handshakes, channels, keepalive, the end: RFC 7574 sections 3.1, 3.11, 3.12,
 * 7 and 8.4. The other end is played octet by octet.
 */
#include "support/suite.h"

#include "ppsp/engine.h"
#include "ppsp/limits.h"
#include "raw.h"
#include "support/vectors.h"

CV_SUITE(ppsp_channel);

struct bench {
    struct rig *rig;
    struct raw *raw;
};

/* One engine that has everything, or nothing. */
static struct bench begin(bool seeder, bool circuits) {
    struct bench b = {.rig = rig_new(1, 100 * 1024, 1024, CV_SHA256)};
    b.rig->circuits = circuits;
    rig_add(b.rig, seeder);
    b.raw = raw_new(b.rig, 0);
    return b;
}

static void end(struct bench *b) {
    free(b->raw);
    rig_free(b->rig);
}

/* ---- what a peer may learn of our clock ---- */

enum { CLOCKS = 64 };

/* How far the clock shown on `c` runs ahead of ours in a million seconds, as ppm. */
static int64_t ppm(const struct ppsp_channel *c) {
    static const cv_usec begin = CV_SEC(1000), span = CV_SEC(1000000);
    uint64_t shown = ppsp_channel_clock(c, begin + span) - ppsp_channel_clock(c, begin);
    return ((int64_t)(shown - span) + (shown > span ? 500000 : -500000)) / 1000000;
}

Test(ppsp_channel, a_hidden_peer_sees_another_clock_on_each_channel) {
    struct bench b = begin(true, true);
    struct ppsp_swarm *s = ppsp_swarm_find(b.rig->engine[0], b.rig->swarm[0]);
    uint64_t offset[CLOCKS];
    int64_t least = 0, most = 0;
    bool speeds[101] = {false};
    for (unsigned i = 0; i < CLOCKS; i++) {
        struct cv_endpoint ep = {.kind = CV_ENDPOINT_CIRCUIT, .handle = 1000 + i};
        struct ppsp_channel *c = ppsp_channel_new(s, CV_SEC(1), &ep, 1101, /* hidden= */ true);
        cr_assert_not_null(c);
        for (cv_usec t = CV_SEC(9); t < CV_SEC(9) + CV_MSEC(20); t += 137)
            cr_assert_eq(ppsp_channel_clock(c, t) % 1000, 0, "whole milliseconds");
        int64_t e = ppm(c);
        cr_assert(e >= -50 && e <= 50, "%ld ppm", e);
        least = e < least ? e : least;
        most = e > most ? e : most;
        speeds[e + 50] = true;
        offset[i] = ppsp_channel_clock(c, CV_SEC(1));
        for (unsigned k = 0; k < i; k++) {
            uint64_t apart = offset[i] > offset[k] ? offset[i] - offset[k] : offset[k] - offset[i];
            cr_assert_gt(apart, CV_SEC(86400), "channels %u and %u have one offset", k, i);
        }
    }
    unsigned different = 0;
    for (unsigned i = 0; i < 101; i++)
        different += speeds[i];
    cr_expect(least < -30 && most > 30 && different > CLOCKS / 3, "%ld to %ld, %u", least, most,
              different);
    end(&b);
}

Test(ppsp_channel, a_peer_that_knows_our_address_sees_our_clock_from_an_offset) {
    struct bench b = begin(true, false);
    struct ppsp_swarm *s = ppsp_swarm_find(b.rig->engine[0], b.rig->swarm[0]);
    struct cv_endpoint ep = {.kind = CV_ENDPOINT_CIRCUIT, .handle = 1000};
    struct ppsp_channel *c = ppsp_channel_new(s, CV_SEC(1), &ep, 1400, /* hidden= */ false);
    cr_assert_not_null(c);
    uint64_t offset = ppsp_channel_clock(c, 0);
    cr_expect_gt(offset, CV_SEC(86400));
    cr_expect_eq(ppsp_channel_clock(c, CV_SEC(1000000) + 137) - offset, CV_SEC(1000000) + 137);
    end(&b);
}

/* ---- being called ---- */

Test(ppsp_channel, R3_1_7_answer_begins_with_handshake_and_R3_1_8_goes_to_chanP) {
    struct bench b = begin(true, false);
    struct ppsp_options o = raw_options(b.raw), got;
    cr_assert_eq(raw_send_handshake(b.raw, 0, b.raw->ours, &o), CV_ERR_OK);
    raw_listen(b.raw);
    cr_assert_eq(b.raw->count, 1);
    cr_expect_eq(raw_to(b.raw, 0), b.raw->ours);
    uint32_t theirs = raw_handshake_in(b.raw, 0, &got);
    cr_expect_neq(theirs, 0);
    cr_expect_neq(theirs, b.raw->ours, "R3.11.1: different at each end");
    cr_expect_eq(got.version, 1);
    cr_expect_eq(got.integrity, PPSP_INTEGRITY_MERKLE);
    cr_expect_eq(got.hash, CV_SHA256);
    cr_expect_eq(got.addressing, PPSP_ADDRESSING_CHUNK32);
    cr_expect_eq(got.chunk_size, 1024);
    cr_expect_eq(got.swarm_id_len, 32, "the swarm ID is repeated: draft-10 peers want it");
    cr_expect(ppsp_options_has(&got, PPSP_OPT_MESSAGES), "R7.10: we speak a proper subset");
    end(&b);
}

Test(ppsp_channel, R3_1_9_answer_is_handshake_alone_and_not_longer_than_the_question) {
    struct bench b = begin(true, false);
    cr_assert(raw_call(b.raw));
    struct ppsp_options o;
    struct cv_rd r = cv_rd_init(b.raw->heard[0] + 9, b.raw->lens[0] - 9);
    cr_assert_eq(ppsp_options_read(&r, &o), CV_ERR_OK);
    cr_expect_eq(cv_rd_left(&r), 0);
    cr_expect_leq(b.raw->lens[0], 64, "as long as our own first datagram");
    raw_clear(b.raw);
    raw_wait(b.raw, CV_SEC(30));
    cr_expect_eq(b.raw->count, 0, "nothing more before datagram 3");
    end(&b);
}

struct bad {
    const char *name;
    void (*spoil)(struct ppsp_options *o);
};

static void no_version(struct ppsp_options *o) {
    o->present &= ~(1u << PPSP_OPT_VERSION);
}
static void no_min_version(struct ppsp_options *o) {
    o->present &= ~(1u << PPSP_OPT_MIN_VERSION);
}
static void version_0(struct ppsp_options *o) {
    o->version = o->min_version = 0;
}
static void only_version_2(struct ppsp_options *o) {
    o->version = o->min_version = 2;
}
static void no_swarm(struct ppsp_options *o) {
    o->present &= ~(1u << PPSP_OPT_SWARM_ID);
}
static void other_swarm(struct ppsp_options *o) {
    static const uint8_t other[32] = {1};
    o->swarm_id = other;
}
static void short_swarm(struct ppsp_options *o) {
    o->swarm_id_len = 31;
}
static void empty_swarm(struct ppsp_options *o) {
    o->swarm_id_len = 0;
}
static void long_swarm(struct ppsp_options *o) {
    static const uint8_t longer[300];
    o->swarm_id = longer;
    o->swarm_id_len = 300;
}
static void no_integrity(struct ppsp_options *o) {
    o->present &= ~(1u << PPSP_OPT_INTEGRITY);
}
static void integrity_none(struct ppsp_options *o) {
    o->integrity = 0;
}
static void integrity_live(struct ppsp_options *o) {
    o->integrity = 3;
}
static void integrity_unknown(struct ppsp_options *o) {
    o->integrity = 77;
}
static void no_hash(struct ppsp_options *o) {
    o->present &= ~(1u << PPSP_OPT_HASH);
}
static void other_hash(struct ppsp_options *o) {
    o->hash = 0;
}
static void no_addressing(struct ppsp_options *o) {
    o->present &= ~(1u << PPSP_OPT_ADDRESSING);
}
static void other_addressing(struct ppsp_options *o) {
    o->addressing = 4;
}
static void chunk_size_0(struct ppsp_options *o) {
    o->chunk_size = 0;
}
static void chunk_size_variable(struct ppsp_options *o) {
    o->chunk_size = UINT32_MAX;
}

Test(ppsp_channel, R3_1_6_any_failed_check_is_answered_with_silence) {
    /* clang-format off */
    static const struct bad rows[] = {
        { "no version (R7.2)", no_version }, { "no minimum version (R7.3)", no_min_version },
        { "version 0", version_0 }, { "only version 2", only_version_2 },
        { "no swarm (R3.1.4, R7.4)", no_swarm }, { "unknown swarm", other_swarm },
        { "swarm ID cut", short_swarm }, { "swarm ID empty", empty_swarm },
        { "swarm ID too long", long_swarm },
        { "no integrity method (R7.5)", no_integrity }, { "method none", integrity_none },
        { "method of live swarms", integrity_live }, { "unknown method", integrity_unknown },
        { "no hash function (R7.6.1)", no_hash }, { "other hash function", other_hash },
        { "no addressing (R7.8.1)", no_addressing }, { "other addressing", other_addressing },
        { "chunk size 0", chunk_size_0 }, { "chunk size variable", chunk_size_variable },
    };
    /* clang-format on */
    struct bench b = begin(true, false);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ppsp_options o = raw_options(b.raw);
        rows[i].spoil(&o);
        cr_expect_neq(raw_send_handshake(b.raw, 0, b.raw->ours, &o), CV_ERR_OK, "%s", rows[i].name);
        raw_wait(b.raw, CV_SEC(1));
        cr_expect_eq(b.raw->count, 0, "%s: answered", rows[i].name);
        raw_clear(b.raw);
    }
    const struct ppsp_counters *c = raw_counters(b.raw);
    cr_expect_eq(c->drop_handshake_bad + c->drop_handshake_swarm + c->drop_handshake_differs,
                 sizeof rows / sizeof *rows, "each is counted");
    end(&b);
}

Test(ppsp_channel, a_missing_chunk_size_is_taken_as_ours_and_newer_versions_are_welcome) {
    struct bench b = begin(true, false);
    struct ppsp_options o = raw_options(b.raw);
    o.present &= ~(1u << PPSP_OPT_CHUNK_SIZE);
    o.version = 2; /* minimum is 1 */
    cr_expect_eq(raw_send_handshake(b.raw, 0, b.raw->ours, &o), CV_ERR_OK);
    raw_listen(b.raw);
    cr_expect_eq(b.raw->count, 1);
    end(&b);
}

Test(ppsp_channel, R3_1_2_first_datagram_must_begin_with_handshake) {
    struct bench b = begin(true, false);
    b.raw->theirs = 0;
    cr_expect_eq(raw_send_hex(b.raw, "03 00000000 00000005"), CV_ERR_MALFORMED);
    cr_expect_eq(raw_send_hex(b.raw, ""), CV_ERR_TRUNCATED, "keepalive to channel 0");
    cr_expect_eq(raw_send_hex(b.raw, "00 00000000 ff"), CV_ERR_MALFORMED, "goodbye to channel 0");
    cr_expect_eq(raw_send_hex(b.raw, "00 00"), CV_ERR_TRUNCATED);
    raw_listen(b.raw);
    cr_expect_eq(b.raw->count, 0);
    cr_expect_eq(raw_counters(b.raw)->drop_handshake_bad, 4);
    end(&b);
}

Test(ppsp_channel, shorter_than_a_channel_id_is_counted) {
    struct bench b = begin(true, false);
    for (size_t n = 0; n < 4; n++)
        cr_expect_eq(raw_send_from(b.raw, &b.raw->us, (const uint8_t *)"\1\2\3", n),
                     CV_ERR_TRUNCATED);
    cr_expect_eq(raw_counters(b.raw)->drop_short, 4);
    end(&b);
}

Test(ppsp_channel, duplicates_of_datagram_1_get_the_same_answer) {
    struct bench b = begin(true, false);
    cr_assert(raw_call(b.raw));
    uint32_t theirs = b.raw->theirs;
    cr_assert(raw_call(b.raw));
    cr_expect_eq(b.raw->theirs, theirs);
    cr_assert_eq(raw_send_hex(b.raw, ""), CV_ERR_OK);
    cr_expect(!raw_call(b.raw), "a late copy changes nothing");
    cr_expect_eq(raw_counters(b.raw)->drop_handshake_again, 1);
    end(&b);
}

Test(ppsp_channel, R12_1_nothing_is_remembered_of_callers_beyond_a_table) {
    struct bench b = begin(true, false);
    for (uint32_t i = 0; i < 10 * PPSP_HALF_OPEN; i++) {
        struct ppsp_options o = raw_options(b.raw);
        (void)raw_send_handshake(b.raw, 0, 1000 + i, &o);
        raw_clear(b.raw);
        raw_listen(b.raw);
        cr_assert_eq(b.raw->count, 1);
    }
    struct ppsp_stats st;
    cr_assert_eq(ppsp_stats(b.rig->engine[0], b.rig->swarm[0], &st), CV_ERR_OK);
    cr_expect_eq(st.peers, 0);
    cr_expect_eq(ppsp_peers(b.rig->engine[0], b.rig->swarm[0], NULL, 0), 0, "no channel");
    cr_assert(raw_call(b.raw), "who is real still gets in");
    cr_expect_eq(raw_send_hex(b.raw, ""), CV_ERR_OK);
    cr_expect_eq(ppsp_peers(b.rig->engine[0], b.rig->swarm[0], NULL, 0), 1);
    end(&b);
}

Test(ppsp_channel, datagram_3_too_late_is_unknown) {
    struct bench b = begin(true, false);
    cr_assert(raw_call(b.raw));
    b.rig->now += PPSP_HALF_OPEN_TIME * 2;
    struct ppsp_options o = raw_options(b.raw);
    (void)raw_send_handshake(b.raw, 0, 99, &o); /* makes the table look at its ages */
    cr_expect_eq(raw_send_hex(b.raw, ""), CV_ERR_NOENT);
    cr_expect_eq(raw_counters(b.raw)->drop_channel, 1);
    end(&b);
}

Test(ppsp_channel, R3_1_13_wrong_channel_id_is_dropped_and_the_channel_lives) {
    struct bench b = begin(true, false);
    cr_assert(raw_call(b.raw));
    cr_assert_eq(raw_send_hex(b.raw, ""), CV_ERR_OK);
    uint32_t right = b.raw->theirs;
    b.raw->theirs = right ^ 1;
    cr_expect_eq(raw_send_hex(b.raw, "08 00000000 00000000"), CV_ERR_NOENT);
    b.raw->theirs = right;
    raw_clear(b.raw);
    cr_expect_eq(raw_send_hex(b.raw, "08 00000000 00000000"), CV_ERR_OK);
    raw_listen(b.raw);
    cr_expect_eq(raw_count(b.raw, PPSP_MSG_DATA), 1);
    end(&b);
}

Test(ppsp_channel, the_right_id_from_another_address_is_dropped) {
    struct bench b = begin(true, false);
    cr_assert(raw_call(b.raw));
    struct cv_endpoint other = rig_endpoint(b.rig, 3);
    struct cv_wr d = raw_datagram(b.raw);
    cr_expect_eq(raw_send_from(b.raw, &other, d.start, cv_wr_len(&d)), CV_ERR_NOENT);
    cr_expect_eq(raw_counters(b.raw)->drop_endpoint, 1, "half open");
    cr_assert_eq(raw_send_hex(b.raw, ""), CV_ERR_OK);
    d = raw_datagram(b.raw);
    cr_expect_eq(raw_send_from(b.raw, &other, d.start, cv_wr_len(&d)), CV_ERR_NOENT);
    cr_expect_eq(raw_counters(b.raw)->drop_endpoint, 2, "open");
    end(&b);
}

Test(ppsp_channel, a_circuit_belongs_to_one_swarm) {
    struct bench b = begin(true, true);
    cr_expect(!raw_call(b.raw), "not permitted yet");
    cr_expect_eq(raw_counters(b.raw)->drop_handshake_swarm, 1);

    /* another swarm, for which the circuit is permitted */
    struct rig_store st;
    uint8_t content[2000] = {7}, root[CV_SHA_MAX];
    rig_store_init(&st, 1024, 32, sizeof content);
    rig_store_fill(&st, CV_SHA256, content, sizeof content, root);
    struct ppsp_swarm_config config = b.rig->config;
    memcpy(config.id, root, 32);
    config.store_ctx = &st;
    cv_handle other;
    cr_assert_eq(ppsp_swarm_open(b.rig->engine[0], rig_now(b.rig), &config, &other), CV_ERR_OK);
    struct ppsp_peer_props props = {.mtu = 1101, .hidden = true};
    cr_assert_eq(ppsp_peer_add(b.rig->engine[0], rig_now(b.rig), other, &b.raw->us, &props),
                 CV_ERR_OK);
    cr_expect(!raw_call(b.raw), "permitted for the other swarm only: silence");
    cr_expect_eq(raw_counters(b.raw)->drop_handshake_swarm, 2);

    cr_assert_eq(
        ppsp_peer_add(b.rig->engine[0], rig_now(b.rig), b.rig->swarm[0], &b.raw->us, &props),
        CV_ERR_OK);
    cr_expect(raw_call(b.raw));
    end(&b);
    rig_store_done(&st);
}

static struct cv_endpoint stranger(unsigned i) {
    struct cv_addr addr = {.ip = {8, 8, 4, 1}, .port = (uint16_t)(1000 + i), .family = 4};
    return cv_endpoint_udp(&addr);
}

/* They call one after the other, or all before any of them is proven. */
Test(ppsp_channel, HS_1_strangers_leave_places_for_those_that_are_called) {
    for (unsigned at_once = 0; at_once < 2; at_once++) {
        enum { ALL = 128, FREE = ALL / PPSP_KEPT };
        struct bench b = begin(true, false);
        struct ppsp_peer_props props = {.mtu = 1400, .initiate = true};
        uint32_t theirs[ALL] = {0};
        for (unsigned i = 0; i < ALL; i++) {
            b.raw->us = stranger(i);
            b.raw->ours = 1 + i;
            theirs[i] = raw_call(b.raw) ? b.raw->theirs : 0;
            if (theirs[i] && !at_once)
                (void)raw_send_hex(b.raw, "");
        }
        for (unsigned i = 0; i < ALL && at_once; i++) {
            b.raw->us = stranger(i);
            b.raw->theirs = theirs[i];
            (void)raw_send_hex(b.raw, "");
        }
        cr_expect_eq(ppsp_peers(b.rig->engine[0], b.rig->swarm[0], NULL, 0), ALL - FREE);
        cr_expect_eq(raw_counters(b.raw)->drop_handshake_full, FREE);
        for (unsigned i = 0; i <= FREE; i++) {
            struct cv_endpoint ep = stranger(1000 + i);
            cr_expect_eq(
                ppsp_peer_add(b.rig->engine[0], rig_now(b.rig), b.rig->swarm[0], &ep, &props),
                i < FREE ? CV_ERR_OK : CV_ERR_LIMIT);
        }
        end(&b);
    }
}

/* ---- calling ---- */

Test(ppsp_channel, R3_1_2_calls_channel_0_with_R3_1_3_metadata_and_R3_1_5_nothing_heavy) {
    struct bench b = begin(false, false);
    struct ppsp_options o;
    struct ppsp_peer_props props = {.mtu = 1400, .initiate = true};
    cr_assert_eq(
        ppsp_peer_add(b.rig->engine[0], rig_now(b.rig), b.rig->swarm[0], &b.raw->us, &props),
        CV_ERR_OK);
    raw_listen(b.raw);
    cr_assert_eq(b.raw->count, 1);
    cr_expect_eq(raw_to(b.raw, 0), 0, "R8.4.1");
    cr_expect_neq(raw_handshake_in(b.raw, 0, &o), 0);
    cr_expect_eq(o.present, 0x35f, "0 1 2 3 4 6 8 9");
    cr_expect(o.version == 1 && o.min_version == 1);
    cr_expect_eq(o.swarm_id_len, 32);
    cr_expect_arr_eq(o.swarm_id, b.rig->root, 32, "R3.1.4");
    cr_expect_eq(o.messages, 0x0f1f, "what we understand: no PEX, nothing of live swarms");
    cr_expect_eq(o.chunk_size, 1024, "R7.11.1");
    end(&b);
}

/* The octets themselves, so that nobody changes them unnoticed. */
Test(ppsp_channel, R7_0_first_datagram_octet_by_octet) {
    struct bench b = begin(false, false);
    struct ppsp_peer_props props = {.mtu = 1400, .initiate = true};
    (void)ppsp_peer_add(b.rig->engine[0], rig_now(b.rig), b.rig->swarm[0], &b.raw->us, &props);
    raw_listen(b.raw);
    uint8_t want[128];
    size_t len = cv_test_vector(CV_VECTORS "/ppsp.hex", "culvert's first datagram", "handshake", 0,
                                want, sizeof want);
    memcpy(want + 5, b.raw->heard[0] + 5, 4); /* the channel ID is random */
    memcpy(want + 16, b.rig->root, 32);
    cr_assert_eq(b.raw->lens[0], len);
    cr_expect_arr_eq(b.raw->heard[0], want, len);
    end(&b);
}

Test(ppsp_channel, R3_1_15_calls_again_until_answered_and_gives_up_when_dead) {
    struct bench b = begin(false, false);
    struct ppsp_peer_props props = {.mtu = 1400, .initiate = true};
    (void)ppsp_peer_add(b.rig->engine[0], rig_now(b.rig), b.rig->swarm[0], &b.raw->us, &props);
    raw_wait(b.raw, CV_SEC(2));
    cr_expect_eq(b.raw->count, 4, "after 0, 0.25, 0.75 and 1.75 s");
    for (unsigned i = 1; i < b.raw->count; i++)
        cr_expect_arr_eq(b.raw->heard[i], b.raw->heard[0], b.raw->lens[0], "the same datagram");
    raw_wait(b.raw, PPSP_DEAD);
    rig_drain(b.rig, 0);
    cr_assert_eq(b.rig->event_count[0], 1);
    cr_expect_eq(b.rig->events[0][0].type, PPSP_EVENT_PEER_DOWN);
    cr_expect_eq(b.rig->events[0][0].err, CV_ERR_TIMEDOUT);
    raw_clear(b.raw);
    raw_wait(b.raw, CV_SEC(1000));
    cr_expect_eq(b.raw->count, 0, "forgotten");
    end(&b);
}

Test(ppsp_channel, R3_1_12_and_R12_1_2_datagram_3_follows_at_once_to_chanQ) {
    struct bench b = begin(false, false);
    cr_assert(raw_be_called(b.raw));
    cr_assert_geq(b.raw->count, 1);
    cr_expect_eq(raw_to(b.raw, 0), b.raw->ours);
    cr_expect_eq(raw_count(b.raw, PPSP_MSG_REQUEST), 1, "it asks before it heard a HAVE");
    end(&b);
}

Test(ppsp_channel, datagram_3_is_repeated_until_something_is_heard) {
    struct rig *r = rig_new(2, 3000, 1024, CV_SHA256);
    r->config.fetch_all = false; /* so that there is nothing else to say */
    rig_add(r, false);
    struct raw *w = raw_new(r, 0);
    cr_assert(raw_be_called(w));
    cr_expect(w->count == 1 && w->lens[0] == 4);
    raw_clear(w);
    raw_wait(w, CV_SEC(2));
    cr_expect_geq(w->count, 2);
    cr_assert_eq(raw_send_hex(w, ""), CV_ERR_OK);
    raw_clear(w);
    raw_wait(w, CV_SEC(20));
    cr_expect_eq(w->count, 0);
    free(w);
    rig_free(r);
}

/* Who is called answers datagram 3 in any case, or the caller would not know that it came. */
Test(ppsp_channel, datagram_3_is_answered) {
    struct rig *r = rig_new(2, 3000, 1024, CV_SHA256);
    rig_add(r, false); /* has nothing to tell */
    struct raw *w = raw_new(r, 0);
    cr_assert(raw_call(w));
    raw_clear(w);
    cr_assert_eq(raw_send_hex(w, "0a"), CV_ERR_OK); /* CHOKE: wants no word by itself */
    raw_listen(w);
    cr_expect_geq(w->count, 1);
    raw_wait(w, CV_SEC(1));
    raw_clear(w);
    cr_assert_eq(raw_send_hex(w, ""), CV_ERR_OK);
    raw_listen(w);
    cr_expect_eq(w->count, 1, "the answer was lost");
    raw_clear(w);
    cr_assert_eq(raw_send_hex(w, ""), CV_ERR_OK);
    raw_listen(w);
    cr_expect_eq(w->count, 0, "not for each of many");
    free(w);
    rig_free(r);
}

/* A peer that does not know our channel (any more) says nothing; a call settles it. */
Test(ppsp_channel, who_answers_nothing_is_called_anew_and_ever_later) {
    struct rig *r = rig_new(2, 3000, 1024, CV_SHA256);
    rig_add(r, false);
    struct raw *w = raw_new(r, 0);
    cr_assert(raw_be_called(w));
    uint32_t first = w->theirs;
    for (unsigned round = 0; round < 3; round++) {
        cv_usec before = r->now;
        struct ppsp_options o = raw_options(w);
        uint32_t from = 0;
        while (!from && r->now < before + CV_SEC(100)) {
            raw_clear(w);
            raw_wait(w, CV_MSEC(100));
            for (unsigned i = 0; i < w->count && !from; i++)
                from = raw_handshake_in(w, i, &o);
        }
        cr_assert_neq(from, 0);
        cr_expect_neq(from, first, "under another channel ID");
        cv_usec want = PPSP_SILENT << round;
        cr_expect(r->now >= before + want && r->now <= before + want + CV_SEC(1), "%.1f s",
                  (double)(r->now - before) / 1e6);
        w->theirs = from;
        (void)raw_send_handshake(w, w->theirs, ++w->ours, &o);
    }
    cr_expect_eq(raw_counters(w)->channels_anew, 3);
    raw_listen(w);
    cr_assert_eq(raw_send_hex(w, "03 00000000 00000000"), CV_ERR_OK); /* it was heard */
    rig_drain(r, 0);
    cr_expect_eq(rig_events(r, 0, PPSP_EVENT_PEER_UP), 4);
    cr_expect_eq(rig_events(r, 0, PPSP_EVENT_PEER_DOWN), 3);
    raw_wait(w, CV_SEC(9));
    cr_expect_eq(raw_counters(w)->channels_anew, 3);
    free(w);
    rig_free(r);
}

Test(ppsp_channel, R3_1_10_answers_to_other_channels_are_dropped) {
    struct bench b = begin(false, false);
    struct ppsp_options o;
    struct ppsp_peer_props props = {.mtu = 1400, .initiate = true};
    (void)ppsp_peer_add(b.rig->engine[0], rig_now(b.rig), b.rig->swarm[0], &b.raw->us, &props);
    raw_listen(b.raw);
    uint32_t right = raw_handshake_in(b.raw, 0, &o);
    o = raw_options(b.raw);
    cr_expect_eq(raw_send_handshake(b.raw, right ^ 0x100, b.raw->ours, &o), CV_ERR_NOENT);
    cr_expect_eq(raw_send_handshake(b.raw, right, b.raw->ours, &o), CV_ERR_OK, "still waiting");
    end(&b);
}

Test(ppsp_channel, nothing_is_believed_before_the_handshake) {
    struct bench b = begin(false, false);
    struct ppsp_options o;
    struct ppsp_peer_props props = {.mtu = 1400, .initiate = true};
    (void)ppsp_peer_add(b.rig->engine[0], rig_now(b.rig), b.rig->swarm[0], &b.raw->us, &props);
    raw_listen(b.raw);
    b.raw->theirs = raw_handshake_in(b.raw, 0, &o);
    raw_clear(b.raw);
    cr_expect_eq(raw_send_hex(b.raw, "03 00000000 00000063"), CV_ERR_DENIED); /* HAVE */
    cr_expect_eq(raw_send_hex(b.raw, "08 00000000 00000000"), CV_ERR_DENIED); /* REQUEST */
    cr_expect_eq(raw_send_hex(b.raw, "06"), CV_ERR_DENIED);                   /* PEX_REQ */
    cr_expect_eq(raw_counters(b.raw)->drop_unproven, 3);
    raw_listen(b.raw);
    cr_expect_eq(b.raw->count, 0, "no answer to any of them");
    end(&b);
}

Test(ppsp_channel, answers_with_other_metadata_are_closed_politely) {
    struct bench b = begin(false, false);
    struct ppsp_options o;
    struct ppsp_peer_props props = {.mtu = 1400, .initiate = true};
    (void)ppsp_peer_add(b.rig->engine[0], rig_now(b.rig), b.rig->swarm[0], &b.raw->us, &props);
    raw_listen(b.raw);
    b.raw->theirs = raw_handshake_in(b.raw, 0, &o);
    o = raw_options(b.raw);
    o.chunk_size = 2048;
    raw_clear(b.raw);
    cr_expect_eq(raw_send_handshake(b.raw, b.raw->theirs, b.raw->ours, &o), CV_ERR_DIFFERS);
    raw_listen(b.raw);
    cr_assert_eq(b.raw->count, 1);
    static const uint8_t bye[] = {1, 2, 3, 4, 0, 0, 0, 0, 0, 0xff};
    cr_assert_eq(b.raw->lens[0], sizeof bye);
    cr_expect_arr_eq(b.raw->heard[0], bye, sizeof bye, "R3.1.11: zero channel, no options");
    rig_drain(b.rig, 0);
    cr_expect_eq(b.rig->events[0][0].err, CV_ERR_DIFFERS);
    end(&b);
}

/* An answer need not say a minimum; option 0 is the highest version. */
Test(ppsp_channel, R7_2_answers_name_the_highest_version_ours_must_be_below) {
    static const struct {
        bool has_min;
        uint8_t min, version;
        bool taken;
    } rows[] = {
        {false, 0, 1, true}, {false, 0, 2, true}, {false, 0, 0, false},
        {true, 1, 2, true},  {true, 2, 2, false}, {true, 1, 255, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bench b = begin(false, false);
        struct ppsp_options o;
        struct ppsp_peer_props props = {.mtu = 1400, .initiate = true};
        (void)ppsp_peer_add(b.rig->engine[0], rig_now(b.rig), b.rig->swarm[0], &b.raw->us, &props);
        raw_listen(b.raw);
        b.raw->theirs = raw_handshake_in(b.raw, 0, &o);
        o = raw_options(b.raw);
        if (!rows[i].has_min)
            o.present &= ~(1u << PPSP_OPT_MIN_VERSION);
        o.min_version = rows[i].min;
        o.version = rows[i].version;
        cr_expect_eq(raw_send_handshake(b.raw, b.raw->theirs, b.raw->ours, &o),
                     rows[i].taken ? CV_ERR_OK : CV_ERR_DIFFERS, "row %zu", i);
        end(&b);
    }
}

/* ---- channel IDs ---- */

Test(ppsp_channel, R3_11_1_R8_3_channel_ids_are_random_and_not_zero) {
    struct bench b = begin(true, false);
    uint32_t seen[64], low = UINT32_MAX, high = 0;
    for (unsigned i = 0; i < 64; i++) {
        b.raw->ours = 5000 + i;
        cr_assert(raw_call(b.raw));
        seen[i] = b.raw->theirs;
        for (unsigned k = 0; k < i; k++)
            cr_expect_neq(seen[i], seen[k]);
        low = seen[i] < low ? seen[i] : low;
        high = seen[i] > high ? seen[i] : high;
    }
    cr_expect(low < UINT32_MAX / 4 && high > UINT32_MAX / 4 * 3, "all 32 bits are used");
    end(&b);
}

/* ---- silence and the end ---- */

Test(ppsp_channel, R3_12_1_keepalive_every_25_s_as_R8_14_four_octets) {
    struct bench b = begin(true, false);
    cr_assert(raw_call(b.raw));
    cr_assert_eq(raw_send_hex(b.raw, "03 00000000 00000063"), CV_ERR_OK); /* we have all */
    raw_listen(b.raw);
    raw_clear(b.raw);
    for (unsigned i = 1; i <= 10; i++) {
        raw_wait(b.raw, CV_SEC(25) - 1);
        cr_expect_eq(b.raw->count, i - 1, "not before");
        raw_wait(b.raw, 1);
        cr_expect_eq(b.raw->count, i);
        cr_assert_eq(raw_send_hex(b.raw, ""), CV_ERR_OK);
        raw_listen(b.raw);
        cr_expect_eq(b.raw->count, i, "and a keepalive is not answered");
    }
    for (unsigned i = 0; i < b.raw->count; i++)
        cr_expect_eq(b.raw->lens[i], 4);
    cr_expect_eq(raw_counters(b.raw)->keepalives_in, 10);
    end(&b);
}

Test(ppsp_channel, R3_12_1_dead_after_three_minutes_and_three_datagrams) {
    struct bench b = begin(true, false);
    cr_assert(raw_call(b.raw));
    cr_assert_eq(raw_send_hex(b.raw, "03 00000000 00000063"), CV_ERR_OK);
    raw_wait(b.raw, CV_SEC(180) - 1);
    rig_drain(b.rig, 0);
    cr_expect_eq(rig_events(b.rig, 0, PPSP_EVENT_PEER_DOWN), 0);
    raw_wait(b.raw, 1);
    rig_drain(b.rig, 0);
    cr_assert_eq(rig_events(b.rig, 0, PPSP_EVENT_PEER_DOWN), 1);
    cr_expect_eq(b.rig->events[0][1].err, CV_ERR_TIMEDOUT);
    end(&b);
}

Test(ppsp_channel, goodbye_ends_the_channel) {
    struct bench b = begin(true, false);
    cr_assert(raw_call(b.raw));
    cr_assert_eq(raw_send_hex(b.raw, ""), CV_ERR_OK);
    cr_expect_eq(raw_send_hex(b.raw, "00 00000000 ff"), CV_ERR_CLOSED);
    rig_drain(b.rig, 0);
    cr_assert_eq(rig_events(b.rig, 0, PPSP_EVENT_PEER_DOWN), 1);
    cr_expect_eq(b.rig->events[0][1].err, CV_ERR_CLOSED);
    cr_expect_eq(raw_send_hex(b.raw, ""), CV_ERR_NOENT);
    end(&b);
}

Test(ppsp_channel, goodbye_with_our_highest_version_is_one_too) {
    struct bench b = begin(true, false);
    cr_assert(raw_call(b.raw));
    cr_assert_eq(raw_send_hex(b.raw, ""), CV_ERR_OK);
    cr_expect_eq(raw_send_hex(b.raw, "00 00000000 00 01 ff"), CV_ERR_CLOSED);
    end(&b);
}

Test(ppsp_channel, R3_1_14_R8_4_3_says_goodbye_when_leaving) {
    struct bench b = begin(true, false);
    cr_assert(raw_call(b.raw));
    cr_assert_eq(raw_send_hex(b.raw, ""), CV_ERR_OK);
    raw_listen(b.raw);
    raw_clear(b.raw);
    ppsp_swarm_close(b.rig->engine[0], rig_now(b.rig), b.rig->swarm[0]);
    raw_listen(b.raw);
    cr_assert_eq(b.raw->count, 1);
    static const uint8_t bye[] = {1, 2, 3, 4, 0, 0, 0, 0, 0, 0xff};
    cr_assert_eq(b.raw->lens[0], sizeof bye);
    cr_expect_arr_eq(b.raw->heard[0], bye, sizeof bye);
    end(&b);
}

Test(ppsp_channel, HS_2_a_peer_that_restarted_takes_the_place_of_its_old_self) {
    struct bench b = begin(true, false);
    cr_assert(raw_call(b.raw));
    cr_assert_eq(raw_send_hex(b.raw, ""), CV_ERR_OK);
    b.raw->ours = 0x99;
    cr_assert(raw_call(b.raw));
    cr_assert_eq(raw_send_hex(b.raw, ""), CV_ERR_OK);
    struct ppsp_stats st;
    cr_assert_eq(ppsp_stats(b.rig->engine[0], b.rig->swarm[0], &st), CV_ERR_OK);
    cr_expect_eq(st.peers, 1);
    rig_drain(b.rig, 0);
    cr_expect_eq(rig_events(b.rig, 0, PPSP_EVENT_PEER_UP), 2);
    cr_expect_eq(rig_events(b.rig, 0, PPSP_EVENT_PEER_DOWN), 1);
    end(&b);
}

/* Both call at once: one channel remains, whoever's datagrams come first. */
Test(ppsp_channel, calls_that_cross_become_one_channel) {
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct rig *r = rig_new(seed, 50 * 1024, 1024, CV_SHA256);
        rig_add(r, true);
        rig_add(r, false);
        cr_assert_eq(rig_connect(r, 0, 1, true), CV_ERR_OK);
        cr_assert_eq(rig_connect(r, 1, 0, true), CV_ERR_OK);
        cr_expect(rig_run_complete(r, 1, CV_SEC(5)), "seed=%lu", (unsigned long)seed);
        for (unsigned i = 0; i < 2; i++) {
            struct ppsp_stats st;
            cr_assert_eq(ppsp_stats(r->engine[i], r->swarm[i], &st), CV_ERR_OK);
            cr_expect_eq(st.peers, 1);
            cr_expect_eq(rig_events(r, i, PPSP_EVENT_PEER_UP), 1);
        }
        rig_free(r);
    }
}

/* Whatever the network does: open or forgotten, never stuck between. */
static bool lose_many(struct rig *r, unsigned from, unsigned to, uint8_t *data, size_t len) {
    (void)from, (void)to, (void)data, (void)len;
    return cv_rng_below(&r->rng[RIG_ENGINES], 100) >= 40;
}

Test(ppsp_channel, never_stuck_on_a_bad_network) {
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct rig *r = rig_new(seed, 1024, 1024, CV_SHA256);
        r->tap = lose_many;
        r->delay = CV_MSEC(300);
        rig_add(r, true);
        rig_add(r, false);
        cr_assert_eq(rig_connect(r, 1, 0, true), CV_ERR_OK);
        cr_expect(rig_run_complete(r, 1, CV_SEC(400)), "seed=%lu", (unsigned long)seed);
        rig_free(r);
    }
}

Test(ppsp_channel, removed_peers_are_forgotten) {
    struct bench b = begin(true, false);
    cr_assert(raw_call(b.raw));
    cr_assert_eq(raw_send_hex(b.raw, "08 00000000 00000063"), CV_ERR_OK);
    ppsp_peer_remove(b.rig->engine[0], rig_now(b.rig), &b.raw->us, false);
    raw_clear(b.raw);
    raw_wait(b.raw, CV_SEC(60));
    cr_expect_eq(b.raw->count, 0, "an endpoint that is gone is not written to");
    cr_expect_eq(ppsp_peers(b.rig->engine[0], b.rig->swarm[0], NULL, 0), 0);
    end(&b);
}

Test(ppsp_channel, adding_peers_is_checked) {
    struct bench b = begin(true, false);
    struct ppsp *p = b.rig->engine[0];
    struct ppsp_peer_props props = {.mtu = 1044, .initiate = true};
    cr_expect_eq(ppsp_peer_add(p, rig_now(b.rig), b.rig->swarm[0], &b.raw->us, &props),
                 CV_ERR_INVAL, "a chunk needs 1045");
    props.mtu = 1045;
    cr_expect_eq(ppsp_peer_add(p, rig_now(b.rig), b.rig->swarm[0] + 1, &b.raw->us, &props),
                 CV_ERR_NOENT);
    cr_expect_eq(ppsp_peer_add(p, rig_now(b.rig), b.rig->swarm[0], &b.raw->us, &props), CV_ERR_OK);
    cr_expect_eq(ppsp_peer_add(p, rig_now(b.rig), b.rig->swarm[0], &b.raw->us, &props),
                 CV_ERR_EXIST);
    end(&b);
}
