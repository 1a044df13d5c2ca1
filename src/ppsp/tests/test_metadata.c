/*
 * One test for each rule of RFC 7574 sections 7 and 8 about what a handshake
 * says, and what becomes of one that does not say it. The other end is played
 * octet by octet.
 */
#include "support/suite.h"

#include "ppsp/limits.h"
#include "raw.h"

CV_SUITE(ppsp_metadata);

struct bench {
    struct rig *rig;
    struct raw *raw;
};

static struct bench begin(bool seeder, enum cv_sha hash, uint32_t chunk_size) {
    struct bench b = {.rig = rig_new(1, 20 * 1024, chunk_size, hash)};
    rig_add(b.rig, seeder);
    b.raw = raw_new(b.rig, 0);
    return b;
}

static void end(struct bench *b) {
    free(b->raw);
    rig_free(b->rig);
}

static struct bench seeder(void) {
    return begin(true, CV_SHA256, 1024);
}

/* An engine that calls us: its first datagram is heard. */
static struct bench caller(struct ppsp_options *ret) {
    struct bench b = begin(false, CV_SHA256, 1024);
    struct ppsp_peer_props props = {.mtu = 1400, .initiate = true};
    cr_assert_eq(
        ppsp_peer_add(b.rig->engine[0], rig_now(b.rig), b.rig->swarm[0], &b.raw->us, &props),
        CV_ERR_OK);
    raw_listen(b.raw);
    cr_assert_eq(b.raw->count, 1);
    cr_assert_neq(raw_handshake_in(b.raw, 0, ret), 0);
    return b;
}

/* What becomes of a call with options as octets, the swarm ID at `ID`. */
static unsigned answers(struct bench *b, const char *before_id, bool id, const char *behind) {
    uint8_t buf[512];
    struct cv_wr d = cv_wr_init(buf, sizeof buf);
    cv_wr_be32(&d, 0);
    ppsp_handshake_begin(&d, b->raw->ours);
    (void)cv_wr_skip(&d, cv_test_unhex(before_id, d.p, cv_wr_room(&d)));
    if (id) {
        cv_wr_u8(&d, PPSP_OPT_SWARM_ID);
        cv_wr_be16(&d, (uint16_t)b->rig->config.id_len);
        cv_wr_bytes(&d, b->rig->root, b->rig->config.id_len);
    }
    (void)cv_wr_skip(&d, cv_test_unhex(behind, d.p, cv_wr_room(&d)));
    raw_clear(b->raw);
    (void)raw_send(b->raw, &d);
    raw_wait(b->raw, CV_SEC(1));
    return b->raw->count;
}

#define REST "03 01 04 02 06 02 09 00000400 ff"

/* Drops one option from a good call: silence. */
static void expect_silence_without(enum ppsp_option code) {
    struct bench b = seeder();
    struct ppsp_options o = raw_options(b.raw);
    o.present &= ~(1u << code);
    cr_expect_neq(raw_send_handshake(b.raw, 0, b.raw->ours, &o), CV_ERR_OK);
    raw_wait(b.raw, CV_SEC(1));
    cr_expect_eq(b.raw->count, 0, "answered without option %d", code);
    o.present |= 1u << code;
    cr_expect_eq(raw_send_handshake(b.raw, 0, b.raw->ours, &o), CV_ERR_OK, "and with it");
    end(&b);
}

Test(ppsp_metadata, R3_1_4_the_first_datagram_names_the_swarm) {
    struct ppsp_options o;
    struct bench b = caller(&o);
    cr_assert(ppsp_options_has(&o, PPSP_OPT_SWARM_ID));
    cr_expect_eq(o.swarm_id_len, 32);
    cr_expect_arr_eq(o.swarm_id, b.rig->root, 32);
    end(&b);
}

Test(ppsp_metadata, R3_1_2_no_other_message_opens_a_channel) {
    struct bench b = seeder();
    struct ppsp_options o = raw_options(b.raw);
    uint8_t buf[128];
    for (unsigned type = 0; type < 16; type++) {
        struct cv_wr d = cv_wr_init(buf, sizeof buf);
        cv_wr_be32(&d, 0);
        ppsp_handshake_begin(&d, b.raw->ours);
        buf[4] = (uint8_t)type;
        ppsp_options_write(&d, &o);
        raw_clear(b.raw);
        (void)raw_send(b.raw, &d);
        raw_wait(b.raw, CV_SEC(1));
        cr_expect_eq(b.raw->count, type == PPSP_MSG_HANDSHAKE, "type %u", type);
    }
    end(&b);
}

Test(ppsp_metadata, R7_1_options_end_with_255) {
    struct ppsp_options o;
    struct bench b = caller(&o);
    cr_expect_eq(b.raw->heard[0][b.raw->lens[0] - 1], 0xff);
    end(&b);
    b = seeder();
    cr_expect_eq(answers(&b, "00 01 01 01", true, "03 01 04 02 06 02 09 00000400"), 0, "no end");
    cr_expect_eq(answers(&b, "00 01 01 01", true, REST), 1);
    end(&b);
}

Test(ppsp_metadata, R7_2_version_comes_first) {
    struct ppsp_options o;
    struct bench b = caller(&o);
    cr_expect_eq(b.raw->heard[0][9], PPSP_OPT_VERSION);
    cr_expect_eq(b.raw->heard[0][10], 1);
    end(&b);
    b = seeder();
    cr_expect_eq(answers(&b, "01 01 00 01", true, REST), 0, "version behind another");
    end(&b);
    expect_silence_without(PPSP_OPT_VERSION);
}

Test(ppsp_metadata, R7_3_who_calls_says_its_minimum_version) {
    struct ppsp_options o;
    struct bench b = caller(&o);
    cr_expect(ppsp_options_has(&o, PPSP_OPT_MIN_VERSION));
    cr_expect_eq(o.min_version, 1);
    end(&b);
    expect_silence_without(PPSP_OPT_MIN_VERSION);
}

Test(ppsp_metadata, R7_4_who_calls_names_exactly_one_swarm) {
    expect_silence_without(PPSP_OPT_SWARM_ID);
    struct bench b = seeder();
    cr_expect_eq(answers(&b, "00 01 01 01 02 0001 aa", true, REST), 0, "two of them");
    end(&b);
}

Test(ppsp_metadata, R7_5_the_integrity_method_is_said) {
    struct ppsp_options o;
    struct bench b = caller(&o);
    cr_expect(ppsp_options_has(&o, PPSP_OPT_INTEGRITY));
    cr_expect_eq(o.integrity, PPSP_INTEGRITY_MERKLE);
    end(&b);
    expect_silence_without(PPSP_OPT_INTEGRITY);
}

Test(ppsp_metadata, R7_6_1_the_hash_function_is_said) {
    struct ppsp_options o;
    struct bench b = caller(&o);
    cr_expect(ppsp_options_has(&o, PPSP_OPT_HASH));
    cr_expect_eq(o.hash, CV_SHA256);
    end(&b);
    expect_silence_without(PPSP_OPT_HASH);
}

/* Is a swarm of that hash function opened, and its first chunk given? */
static void expect_served(enum cv_sha hash, uint8_t code) {
    struct bench b = begin(true, hash, 1024);
    struct ppsp_options o;
    cr_assert(raw_call(b.raw));
    (void)raw_handshake_in(b.raw, 0, &o);
    cr_expect_eq(o.hash, code);
    cr_assert_eq(raw_send_hex(b.raw, "08 00000000 00000000"), CV_ERR_OK);
    raw_clear(b.raw);
    raw_listen(b.raw);
    struct raw_message m;
    cr_assert(raw_find(b.raw, PPSP_MSG_DATA, 0, &m));
    cr_expect_arr_eq(m.content, b.rig->content, 1024);
    end(&b);
}

Test(ppsp_metadata, R7_6_2_sha_1_and_sha_256) {
    expect_served(CV_SHA1, 0);
    expect_served(CV_SHA256, 2);
}

Test(ppsp_metadata, R12_5_sha_1) {
    expect_served(CV_SHA1, 0);
}

Test(ppsp_metadata, R7_8_1_the_addressing_method_is_said) {
    struct ppsp_options o;
    struct bench b = caller(&o);
    cr_expect(ppsp_options_has(&o, PPSP_OPT_ADDRESSING));
    cr_expect_eq(o.addressing, PPSP_ADDRESSING_CHUNK32);
    end(&b);
    expect_silence_without(PPSP_OPT_ADDRESSING);
}

Test(ppsp_metadata, R7_11_1_the_chunk_size_is_said) {
    struct ppsp_options o;
    struct bench b = caller(&o);
    cr_expect(ppsp_options_has(&o, PPSP_OPT_CHUNK_SIZE));
    cr_expect_eq(o.chunk_size, 1024);
    end(&b);
}

Test(ppsp_metadata, R7_11_2_variable_sizes_are_all_ones) {
    struct bench b = seeder();
    struct ppsp_options o = raw_options(b.raw), got;
    o.chunk_size = UINT32_MAX;
    uint8_t buf[128];
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    ppsp_options_write(&w, &o);
    struct cv_rd r = cv_rd_init(buf, cv_wr_len(&w));
    cr_assert_eq(ppsp_options_read(&r, &got), CV_ERR_OK);
    cr_expect_eq(got.chunk_size, UINT32_MAX);
    cr_expect_eq(raw_send_handshake(b.raw, 0, b.raw->ours, &o), CV_ERR_DIFFERS,
                 "ours are of a fixed size");
    end(&b);
}

Test(ppsp_metadata, R8_1_4_no_chunks_below_512_octets) {
    struct bench b = seeder();
    struct ppsp_swarm_config config = b.rig->config;
    cv_handle h;
    config.store_ctx = &b.rig->store[0];
    config.id[0] ^= 1;
    config.chunk_size = 511;
    cr_expect_eq(ppsp_swarm_open(b.rig->engine[0], rig_now(b.rig), &config, &h), CV_ERR_INVAL);
    end(&b);
    b = begin(true, CV_SHA256, 512);
    cr_expect(raw_call(b.raw));
    end(&b);
}

Test(ppsp_metadata, R8_1_5_the_chunk_size_belongs_to_the_swarm) {
    static const uint32_t others[] = {0, 512, 1023, 1025, 8192};
    struct bench b = seeder();
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct ppsp_options o = raw_options(b.raw);
        o.chunk_size = others[i];
        cr_expect_eq(raw_send_handshake(b.raw, 0, b.raw->ours, &o), CV_ERR_DIFFERS);
    }
    raw_wait(b.raw, CV_SEC(1));
    cr_expect_eq(b.raw->count, 0);
    end(&b);
}

Test(ppsp_metadata, R8_4_1_who_calls_writes_to_channel_0) {
    struct ppsp_options o;
    struct bench b = caller(&o);
    cr_expect_eq(raw_to(b.raw, 0), 0);
    end(&b);
}

Test(ppsp_metadata, R8_4_2_the_answer_goes_to_the_callers_channel) {
    struct bench b = seeder();
    b.raw->ours = 0xfedcba98;
    cr_assert(raw_call(b.raw));
    cr_expect_eq(raw_to(b.raw, 0), 0xfedcba98);
    end(&b);
}

Test(ppsp_metadata, R3_1_11_the_closing_handshake) {
    struct bench b = seeder();
    cr_assert(raw_call(b.raw));
    cr_assert_eq(raw_send_hex(b.raw, ""), CV_ERR_OK);
    raw_listen(b.raw);
    raw_clear(b.raw);
    ppsp_peer_remove(b.rig->engine[0], rig_now(b.rig), &b.raw->us, true);
    raw_listen(b.raw);
    cr_assert_eq(b.raw->count, 1);
    cr_expect_eq(raw_to(b.raw, 0), b.raw->ours);
    static const uint8_t close[] = {0, 0, 0, 0, 0, 0xff}; /* channel 0, no options */
    cr_assert_eq(b.raw->lens[0], 4 + sizeof close);
    cr_expect_arr_eq(b.raw->heard[0] + 4, close, sizeof close);
    end(&b);
}

/* The peer waits for proof that we are where we say: also who wants nothing
 * answers at once. */
Test(ppsp_metadata, R12_1_2_datagram_3_follows_also_when_nothing_is_wanted) {
    struct bench b = {.rig = rig_new(1, 20 * 1024, 1024, CV_SHA256)};
    b.rig->config.fetch_all = false;
    rig_add(b.rig, false);
    b.raw = raw_new(b.rig, 0);
    cr_assert(raw_be_called(b.raw));
    cr_assert_eq(b.raw->count, 1);
    cr_expect_eq(b.raw->lens[0], 4);
    cr_expect_eq(raw_to(b.raw, 0), b.raw->ours);
    end(&b);
}

/* ---- the whole handshake is worth nothing to a flood ------------------------------ */

/* Memory for a caller is a row of a fixed table, whatever it says; a channel
 * begins with the datagram that proves its address. */
Test(ppsp_metadata, calls_without_end_leave_no_channel) {
    struct bench b = seeder();
    for (uint32_t i = 1; i < 5000; i++) {
        struct ppsp_options o = raw_options(b.raw);
        struct cv_endpoint from = rig_endpoint(b.rig, 1 + i % 6);
        uint8_t buf[128];
        struct cv_wr d = cv_wr_init(buf, sizeof buf);
        cv_wr_be32(&d, 0);
        ppsp_handshake_begin(&d, i);
        ppsp_options_write(&d, &o);
        cr_assert_eq(raw_send_from(b.raw, &from, buf, cv_wr_len(&d)), CV_ERR_OK);
        raw_clear(b.raw);
        raw_listen(b.raw);
    }
    cr_expect_eq(ppsp_peers(b.rig->engine[0], b.rig->swarm[0], NULL, 0), 0);
    cr_expect(raw_call(b.raw), "who is real gets in");
    end(&b);
}
