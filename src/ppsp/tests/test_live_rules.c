/* The rules of sections 6, 7.7 and 7.9, seen from outside: a peer that says and
 * hears octets, at an injector or a viewer. */
#include "live_rig.h"
#include "ppsp/limits.h"
#include "support/suite.h"

CV_SUITE(ppsp_live_rules, .init = cv_crypto_init);

enum { WIDTH = 32, WALL = 1790000000 };

/* A raw peer at an injector (engine 0) or, behind one, at a viewer (engine 1). */
struct stage {
    struct live_rig *l;
    struct raw *w;
};

static struct stage at_injector(enum ppsp_integrity method, uint64_t munros) {
    struct stage g = {.l = live_new(3, CV_DNSSEC_ED25519, WIDTH, 4096)};
    g.l->rig->config.integrity = method;
    live_injector(g.l);
    live_inject(g.l, munros * WIDTH);
    g.w = raw_new(g.l->rig, 0);
    return g;
}

/* A viewer that nobody but us talks to. */
static struct stage at_viewer(uint64_t seed) {
    struct stage g = {.l = live_new(seed, CV_DNSSEC_ED25519, WIDTH, 4096)};
    rig_add(g.l->rig, false);
    g.w = raw_new(g.l->rig, 0);
    return g;
}

static void leave(struct stage *g) {
    free(g->w);
    live_free(g->l);
}

static void open_channel(struct stage *g) {
    cr_assert(raw_call(g->w));
    struct cv_wr d = raw_datagram(g->w);
    raw_clear(g->w);
    cr_assert_eq(raw_send(g->w, &d), CV_ERR_OK);
    raw_wait(g->w, CV_MSEC(50));
}

static void say_range(struct stage *g, enum ppsp_message_type type, uint64_t first, uint64_t last) {
    struct cv_wr d = raw_datagram(g->w);
    raw_put_range(g->w, &d, type, first, last);
    cr_assert_eq(raw_send(g->w, &d), CV_ERR_OK);
}

/* ---- what an injector, or anybody who has chunks, says ------------------------------- */

Test(ppsp_live_rules, R6_1_2_3_no_have_before_the_munro_is_signed) {
    struct stage g = at_injector(PPSP_INTEGRITY_UNIFIED, 0);
    open_channel(&g);
    live_inject(g.l, WIDTH - 1);
    raw_wait(g.w, CV_SEC(3));
    cr_expect_eq(raw_count(g.w, PPSP_MSG_HAVE), 0);
    cr_expect_eq(raw_count(g.w, PPSP_MSG_SIGNED_INTEGRITY), 0);
    say_range(&g, PPSP_MSG_REQUEST, 0, 0);
    raw_wait(g.w, CV_SEC(1));
    cr_expect_eq(raw_count(g.w, PPSP_MSG_DATA), 0);
    live_inject(g.l, 1);
    raw_wait(g.w, CV_MSEC(100));
    struct raw_message m;
    cr_assert(raw_find(g.w, PPSP_MSG_HAVE, 0, &m));
    cr_expect(m.range.first == 0 && m.range.last == WIDTH - 1);
    leave(&g);
}

/* A viewer asks in the same place, and believes what it asked for. */
Test(ppsp_live_rules, R12_2_3_a_source_asks_nobody_for_addresses_and_believes_none) {
    for (unsigned source = 0; source < 2; source++) {
        struct live_rig *l = live_new(3, CV_DNSSEC_ED25519, WIDTH, 4096);
        l->rig->config.pex = true;
        struct stage g = {.l = l};
        if (source)
            live_injector(l);
        else
            rig_add(l->rig, false);
        g.w = raw_new(l->rig, 0);
        open_channel(&g);
        raw_wait(g.w, CV_SEC(90));
        cr_expect_eq(raw_count(g.w, PPSP_MSG_PEX_REQ) > 0, !source);
        cr_expect_eq(raw_send_hex(g.w, "05 c0000207 1a0a"), CV_ERR_OK);
        cr_expect_eq(raw_counters(g.w)->drop_pex, source);
        leave(&g);
    }
}

/* The datagram that has what was signed for a chunk; checks that its hash is
 * beside it, in front. */
static void expect_munro(struct stage *g, uint64_t first, unsigned *ret_datagram) {
    static struct raw_message m[RAW_MESSAGES];
    size_t n = raw_messages(g->w, m), at = n;
    for (size_t i = 0; i < n && at == n; i++)
        if (m[i].type == PPSP_MSG_SIGNED_INTEGRITY && m[i].range.first == first)
            at = i;
    cr_assert_lt(at, n);
    cr_assert_gt(at, 0);
    cr_expect_eq(m[at - 1].type, PPSP_MSG_INTEGRITY);
    cr_expect_eq(m[at - 1].datagram, m[at].datagram);
    cr_expect(m[at - 1].range.first == first && m[at - 1].range.last == first + WIDTH - 1);
    *ret_datagram = m[at].datagram;
}

Test(ppsp_live_rules, R6_1_2_4_munro_in_one_datagram_then_R6_1_2_5_uncles_and_chunk) {
    struct stage g = at_injector(PPSP_INTEGRITY_UNIFIED, 4);
    static struct raw_message m[RAW_MESSAGES];
    open_channel(&g);
    say_range(&g, PPSP_MSG_HAVE, 3 * WIDTH, 3 * WIDTH); /* the newest is known */
    raw_wait(g.w, CV_MSEC(50));
    raw_clear(g.w);
    say_range(&g, PPSP_MSG_REQUEST, 40, 40);
    raw_listen(g.w);
    unsigned munro;
    expect_munro(&g, WIDTH, &munro);
    size_t n = raw_messages(g.w, m);
    uint64_t height = WIDTH;
    unsigned uncles = 0;
    bool data = false;
    for (size_t i = 0; i < n; i++) {
        uint64_t width = m[i].range.last - m[i].range.first + 1;
        if (m[i].type == PPSP_MSG_INTEGRITY && width < WIDTH) {
            cr_expect(!data && m[i].datagram >= munro);
            cr_expect_lt(width, height); /* descending */
            height = width;
            uncles++;
        }
        data |= m[i].type == PPSP_MSG_DATA;
    }
    cr_expect_eq(uncles, 5);
    cr_expect(data);

    /* Having a chunk under it we are not told again: HAVE, then ACK. */
    for (int ack = 0; ack <= 1; ack++) {
        uint64_t first = ack ? 2 * WIDTH : WIDTH;
        if (ack) {
            say_range(&g, PPSP_MSG_REQUEST, first, first);
            raw_listen(g.w);
            struct cv_wr d = raw_datagram(g.w);
            struct ppsp_chunkspec spec = live_spec(g.l);
            ppsp_ack_write(&d, &spec, &(struct ppsp_ack){{first, first}, 0});
            cr_assert_eq(raw_send(g.w, &d), CV_ERR_OK);
        } else {
            say_range(&g, PPSP_MSG_HAVE, 40, 40);
        }
        raw_wait(g.w, CV_MSEC(50));
        raw_clear(g.w);
        say_range(&g, PPSP_MSG_REQUEST, first + 1, first + 1);
        raw_wait(g.w, CV_MSEC(50));
        cr_expect_eq(raw_count(g.w, PPSP_MSG_DATA), 1);
        cr_expect_eq(raw_count(g.w, PPSP_MSG_SIGNED_INTEGRITY), 0);
    }
    leave(&g);
}

/* In each datagram until we show that we know it; a newer one is told again. */
static void expect_newest_until_shown(struct stage *g, uint64_t newest) {
    for (int i = 0; i < 3; i++) {
        raw_clear(g->w);
        raw_wait(g->w, CV_SEC(26)); /* keepalives */
        cr_assert_gt(g->w->count, 0);
        cr_expect_eq(raw_count(g->w, PPSP_MSG_SIGNED_INTEGRITY), g->w->count);
    }
    say_range(g, PPSP_MSG_HAVE, newest, newest);
    raw_wait(g->w, CV_MSEC(50));
    raw_clear(g->w);
    raw_wait(g->w, CV_SEC(26));
    cr_assert_gt(g->w->count, 0);
    cr_expect_eq(raw_count(g->w, PPSP_MSG_SIGNED_INTEGRITY), 0);
    live_inject(g->l, WIDTH);
    raw_clear(g->w);
    raw_wait(g->w, CV_MSEC(100));
    cr_expect_geq(raw_count(g->w, PPSP_MSG_SIGNED_INTEGRITY), 1);
}

Test(ppsp_live_rules, R6_1_2_6_datagram_3_tells_the_newest_munro_and_R6_1_2_8_not_datagram_1) {
    struct stage g = at_injector(PPSP_INTEGRITY_UNIFIED, 3);
    struct ppsp_options o;
    cr_assert(raw_be_called(g.w)); /* checks that datagram 1 is a handshake alone */
    cr_expect_eq(raw_handshake_in(g.w, 0, &o), 0);
    unsigned at;
    expect_munro(&g, 2 * WIDTH, &at);
    cr_expect_eq(at, 0);
    struct cv_wr d = raw_datagram(g.w);
    cr_assert_eq(raw_send(g.w, &d), CV_ERR_OK);
    expect_newest_until_shown(&g, 2 * WIDTH);
    leave(&g);
}

Test(ppsp_live_rules, R6_1_2_7_datagram_4_tells_the_newest_munro_and_R6_1_2_8_not_datagram_2) {
    struct stage g = at_injector(PPSP_INTEGRITY_UNIFIED, 3);
    cr_assert(raw_call(g.w));
    cr_expect_eq(g.w->count, 1);
    cr_expect_eq(raw_count(g.w, PPSP_MSG_SIGNED_INTEGRITY), 0);
    struct ppsp_options o;
    cr_expect_neq(raw_handshake_in(g.w, 0, &o), 0);
    raw_clear(g.w);
    struct cv_wr d = raw_datagram(g.w);
    cr_assert_eq(raw_send(g.w, &d), CV_ERR_OK);
    raw_listen(g.w);
    unsigned at;
    expect_munro(&g, 2 * WIDTH, &at);
    cr_expect_eq(at, 0);
    expect_newest_until_shown(&g, 2 * WIDTH + 5);
    leave(&g);
}

Test(ppsp_live_rules, R6_1_1_1_signature_before_its_chunk_in_one_datagram_or_an_earlier_one) {
    for (int narrow = 0; narrow <= 1; narrow++) {
        struct stage g = {.l = live_new(3, CV_DNSSEC_ED25519, WIDTH, 4096)};
        static struct raw_message m[RAW_MESSAGES];
        g.l->rig->config.integrity = PPSP_INTEGRITY_SIGN_ALL;
        g.l->rig->circuits = narrow; /* both do not fit into one datagram */
        live_injector(g.l);
        live_inject(g.l, 8);
        g.w = raw_new(g.l->rig, 0);
        cr_assert(raw_be_called(g.w));
        say_range(&g, PPSP_MSG_REQUEST, 2, 5);
        raw_wait(g.w, CV_MSEC(50));
        size_t n = raw_messages(g.w, m);
        int signed_in[8] = {-1, -1, -1, -1, -1, -1, -1, -1};
        unsigned data = 0;
        for (size_t i = 0; i < n; i++) {
            if (m[i].type == PPSP_MSG_SIGNED_INTEGRITY)
                signed_in[m[i].range.first] = (int)m[i].datagram;
            if (m[i].type != PPSP_MSG_DATA)
                continue;
            data++;
            int before = signed_in[m[i].range.first];
            cr_assert_neq(before, -1);
            cr_expect(narrow ? before < (int)m[i].datagram : before == (int)m[i].datagram);
        }
        cr_expect_eq(data, 4);
        leave(&g);
    }
}

/* ---- what a viewer believes ------------------------------------------------------------- */

static void say_munro(struct stage *g, uint64_t first, uint64_t width, int64_t when) {
    struct cv_wr d = raw_datagram(g->w);
    live_put_munro(g->l, &d, first, width, when);
    cr_expect_eq(raw_send(g->w, &d), CV_ERR_OK);
    raw_wait(g->w, CV_MSEC(5));
}

static uint64_t edge(const struct stage *g) {
    struct ppsp_stats st;
    cr_assert_eq(ppsp_stats(g->l->rig->engine[0], g->l->rig->swarm[0], &st), CV_ERR_OK);
    return st.chunks;
}

Test(ppsp_live_rules, R6_1_2_10_tunes_in_at_the_newest_munro_and_R6_1_2_1_gives_it_on) {
    struct stage g = at_viewer(4);
    open_channel(&g);
    cr_expect_eq(edge(&g), 0);
    say_munro(&g, 5 * WIDTH, WIDTH, WALL);
    cr_expect_eq(edge(&g), 6 * WIDTH);
    say_range(&g, PPSP_MSG_HAVE, 0, 6 * WIDTH - 1);
    raw_clear(g.w);
    raw_wait(g.w, CV_MSEC(50));
    struct raw_message m;
    for (unsigned i = 0; raw_find(g.w, PPSP_MSG_REQUEST, i, &m); i++)
        cr_expect_geq(m.range.first, 5 * WIDTH);
    cr_expect_geq(raw_count(g.w, PPSP_MSG_REQUEST), 1);
    struct cv_wr d = raw_datagram(g.w);
    cr_assert(raw_find(g.w, PPSP_MSG_REQUEST, 0, &m));
    live_put_chunk(g.l, &d, m.range.first, WIDTH);
    cr_assert_eq(raw_send(g.w, &d), CV_ERR_OK);
    raw_wait(g.w, CV_MSEC(50));
    cr_expect(ppsp_has(g.l->rig->engine[0], g.l->rig->swarm[0], m.range.first, m.range.first));
    leave(&g);
}

Test(ppsp_live_rules, R6_1_2_1_a_forged_signature_costs_its_sender_the_channel_and_nothing_else) {
    struct stage g = at_viewer(5);
    open_channel(&g);
    struct cv_wr d = raw_datagram(g.w);
    live_put_munro(g.l, &d, 0, WIDTH, WALL);
    d.p[-1] ^= 1;
    cr_expect_eq(raw_send(g.w, &d), CV_ERR_AUTH);
    cr_expect_eq(live_counters(g.l, 0)->drop_munro_bad, 1);
    cr_expect_eq(live_counters(g.l, 0)->peers_dropped_bad, 1);
    cr_expect_eq(edge(&g), 0);
    leave(&g);
}

/* Signed for another place, or another time: the text that is signed binds both. */
Test(ppsp_live_rules, R6_1_2_1_a_signature_is_good_for_its_place_and_time_only) {
    for (int what = 0; what < 2; what++) {
        struct stage g = at_viewer(6);
        uint8_t hash[32];
        open_channel(&g);
        struct cv_wr d = raw_datagram(g.w);
        struct ppsp_chunkspec spec = live_spec(g.l);
        live_node(g.l, ppsp_bin_of_range(0, WIDTH - 1), hash);
        uint64_t first = what == 0 ? WIDTH : 0;
        ppsp_integrity_write(&d, &spec, 32,
                             &(struct ppsp_integrity_hash){{first, first + WIDTH - 1}, hash});
        uint8_t *at = d.p;
        live_put_signed(g.l, &d, 0, WIDTH - 1, ppsp_ntp(WALL), hash, 32);
        if (what == 0) {
            at[4] = WIDTH, at[8] = 2 * WIDTH - 1;
        } else {
            at[12] ^= 1;
        }
        cr_expect_eq(raw_send(g.w, &d), CV_ERR_AUTH, "%d", what);
        cr_expect_eq(edge(&g), 0);
        leave(&g);
    }
}

Test(ppsp_live_rules, R6_1_2_2_width_is_a_power_of_two_above_1_and_stays) {
    struct stage g = at_viewer(7);
    uint8_t hash[32] = {1};
    open_channel(&g);
    static const struct { uint64_t first, last; } bad[] = {{0, 0}, {0, 2}, {32, 95}, {0, 2047}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct cv_wr d = raw_datagram(g.w);
        struct ppsp_chunkspec spec = live_spec(g.l);
        ppsp_integrity_write(&d, &spec, 32,
                             &(struct ppsp_integrity_hash){{bad[i].first, bad[i].last}, hash});
        live_put_signed(g.l, &d, bad[i].first, bad[i].last, ppsp_ntp(WALL), hash, 32);
        cr_expect_eq(raw_send(g.w, &d), CV_ERR_OK);
        cr_expect_eq(live_counters(g.l, 0)->drop_munro, i + 1);
        cr_expect_eq(edge(&g), 0);
    }
    say_munro(&g, 0, WIDTH, WALL);
    cr_expect_eq(edge(&g), WIDTH);
    say_munro(&g, 64, 64, WALL);
    cr_expect_eq(edge(&g), WIDTH);
    say_munro(&g, 64, WIDTH, WALL);
    cr_expect_eq(edge(&g), 96);
    leave(&g);
}

Test(ppsp_live_rules, R6_1_2_9_too_old_is_discarded_unless_we_asked_for_it) {
    struct stage g = at_viewer(8);
    open_channel(&g);
    say_munro(&g, 4 * WIDTH, WIDTH, WALL + 100);
    cr_expect_eq(edge(&g), 5 * WIDTH);
    say_munro(&g, 8 * WIDTH, WIDTH, WALL + 69); /* 31 s older than the newest */
    cr_expect_eq(live_counters(g.l, 0)->drop_munro_old, 1);
    cr_expect_eq(edge(&g), 5 * WIDTH);
    say_munro(&g, 8 * WIDTH, WIDTH, WALL + 70);
    cr_expect_eq(edge(&g), 9 * WIDTH);
    say_munro(&g, 8 * WIDTH, WIDTH, WALL + 70); /* replayed */
    cr_expect_eq(live_counters(g.l, 0)->drop_munro, 1);

    /* Between them lies what it asks for: that may be as old as it is. */
    say_range(&g, PPSP_MSG_HAVE, 5 * WIDTH, 6 * WIDTH - 1);
    raw_clear(g.w);
    raw_wait(g.w, CV_MSEC(100));
    cr_assert_geq(raw_count(g.w, PPSP_MSG_REQUEST), 1);
    say_munro(&g, 5 * WIDTH, WIDTH, WALL - 500);
    cr_expect_eq(live_counters(g.l, 0)->drop_munro_old, 1);
    leave(&g);
}

Test(ppsp_live_rules, a_signature_without_its_hash_is_dropped) {
    struct stage g = at_viewer(9);
    uint8_t hash[32];
    open_channel(&g);
    struct cv_wr d = raw_datagram(g.w);
    live_node(g.l, ppsp_bin_of_range(0, WIDTH - 1), hash);
    live_put_signed(g.l, &d, 0, WIDTH - 1, ppsp_ntp(WALL), hash, 32);
    cr_expect_eq(raw_send(g.w, &d), CV_ERR_OK);
    cr_expect_eq(live_counters(g.l, 0)->drop_munro, 1);
    cr_expect_eq(edge(&g), 0);
    leave(&g);
}

/* ---- Sign All: what peers say they have ---------------------------------------------------- */

static uint64_t events_of(struct stage *g, enum ppsp_event_type type) {
    struct rig *r = g->l->rig;
    rig_run(r, CV_MSEC(1));
    return rig_events(r, g->w->engine, type);
}

/* A chunk of zeros with its signature. */
static void say_chunk(struct stage *g, uint64_t chunk) {
    static const uint8_t zeros[LIVE_CHUNK];
    struct cv_wr d = raw_datagram(g->w);
    struct ppsp_chunkspec spec = live_spec(g->l);
    live_put_signed(g->l, &d, chunk, chunk, ppsp_ntp(WALL), zeros, LIVE_CHUNK);
    ppsp_data_write(&d, &spec,
                    &(struct ppsp_data){.chunk = chunk, .content = zeros, .len = LIVE_CHUNK});
    cr_expect_eq(raw_send(g->w, &d), CV_ERR_OK);
}

/* That a chunk exists is known when its signature was checked, not before. */
Test(ppsp_live_rules, HAVE_alone_moves_no_edge_and_makes_no_events) {
    struct stage g = {.l = live_new(15, CV_DNSSEC_ED25519, WIDTH, 4096)};
    g.l->rig->config.integrity = PPSP_INTEGRITY_SIGN_ALL;
    rig_add(g.l->rig, false);
    g.w = raw_new(g.l->rig, 0);
    open_channel(&g);
    for (unsigned i = 0; i < 2 * PPSP_EVENTS; i++) {
        say_range(&g, PPSP_MSG_HAVE, 0, 3000);
        say_range(&g, PPSP_MSG_HAVE, 5, 6);
    }
    cr_expect_eq(edge(&g), 0);
    cr_expect_eq(live_counters(g.l, 0)->events_lost, 0);
    cr_expect_eq(events_of(&g, PPSP_EVENT_LIVE_TUNED), 0);

    /* It is asked for its newest chunk; that one tunes in. */
    say_range(&g, PPSP_MSG_HAVE, 0, 4000);
    raw_clear(g.w);
    raw_wait(g.w, CV_SEC(4));
    struct raw_message m;
    cr_assert(raw_find(g.w, PPSP_MSG_REQUEST, 0, &m));
    for (unsigned i = 0; raw_find(g.w, PPSP_MSG_REQUEST, i, &m); i++)
        cr_expect_eq(m.range.first, m.range.last);
    say_chunk(&g, m.range.first);
    cr_expect_eq(edge(&g), m.range.first + 1);
    cr_expect_eq(events_of(&g, PPSP_EVENT_LIVE_TUNED), 1);
    leave(&g);
}

/* A liar among honest peers: whatever it says, the others' chunks are asked for. */
Test(ppsp_live_rules, HAVE_of_a_liar_stops_no_stream_that_is_signed_chunk_by_chunk) {
    struct stage g = {.l = live_new(16, CV_DNSSEC_ED25519, WIDTH, 4096)};
    struct rig *r = g.l->rig;
    r->config.integrity = PPSP_INTEGRITY_SIGN_ALL;
    live_injector(g.l);
    rig_add(r, false);
    g.w = raw_new(r, 1);
    open_channel(&g); /* before anybody honest */
    say_range(&g, PPSP_MSG_HAVE, 0, 500000);
    rig_connect(r, 1, 0, true);
    for (unsigned i = 0; i < 40; i++) {
        live_broadcast(g.l, 1, WIDTH, CV_MSEC(100));
        say_range(&g, PPSP_MSG_HAVE, 0, g.l->said + 60000);
        say_range(&g, PPSP_MSG_HAVE, 0, 500000 + 100000 * i);
    }
    rig_run(r, CV_SEC(1));
    struct ppsp_stats st;
    cr_assert_eq(ppsp_stats(r->engine[1], r->swarm[1], &st), CV_ERR_OK);
    cr_expect_eq(st.chunks, g.l->said);
    cr_expect_eq(rig_events(r, 1, PPSP_EVENT_LIVE_TUNED), 1);
    const struct ppsp_event *tuned = live_event(g.l, 1, PPSP_EVENT_LIVE_TUNED);
    cr_assert(tuned);
    cr_expect_lt(tuned->first, 2 * WIDTH);
    cr_expect(live_has(g.l, 1, tuned->first, g.l->said - 1));
    cr_expect_eq(rig_events(r, 1, PPSP_EVENT_LIVE_DROPPED), 0);
    leave(&g);
}

/* Chunk numbers times the chunk size are octets of 64 bits to whoever reads (the node, its
 * players), so nobody's numbers count beyond PPSP_CHUNKS_MAX: not even the owner's. */
Test(ppsp_live_rules, no_owner_counts_beyond_what_octets_can_be) {
    cr_expect_leq(PPSP_CHUNKS_MAX, UINT64_MAX / PPSP_CHUNK_SIZE_MAX);
    static const uint64_t ends[] = {PPSP_CHUNKS_MAX, (uint64_t)1 << 63, UINT64_MAX - WIDTH + 1};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        struct stage g = {.l = live_new(17, CV_DNSSEC_ED25519, WIDTH, 4096)};
        uint8_t hash[32] = {1};
        g.l->rig->config.addressing = PPSP_ADDRESSING_CHUNK64;
        rig_add(g.l->rig, false);
        g.w = raw_new(g.l->rig, 0);
        open_channel(&g);
        struct ppsp_chunkspec spec = live_spec(g.l);
        struct cv_wr d = raw_datagram(g.w);
        ppsp_integrity_write(&d, &spec, 32,
                             &(struct ppsp_integrity_hash){{ends[i], ends[i] + (WIDTH - 1)}, hash});
        live_put_signed(g.l, &d, ends[i], ends[i] + (WIDTH - 1), ppsp_ntp(WALL), hash, 32);
        cr_expect_eq(raw_send(g.w, &d), CV_ERR_OK);
        cr_expect_eq(live_counters(g.l, 0)->drop_munro, 1);
        cr_expect_eq(edge(&g), 0);
        leave(&g);
    }
    struct stage g = {.l = live_new(18, CV_DNSSEC_ED25519, WIDTH, 4096)};
    g.l->rig->config.integrity = PPSP_INTEGRITY_SIGN_ALL;
    g.l->rig->config.addressing = PPSP_ADDRESSING_CHUNK64;
    rig_add(g.l->rig, false);
    g.w = raw_new(g.l->rig, 0);
    open_channel(&g);
    say_range(&g, PPSP_MSG_HAVE, PPSP_CHUNKS_MAX, UINT64_MAX);
    raw_clear(g.w);
    raw_wait(g.w, CV_SEC(2));
    cr_expect_eq(raw_count(g.w, PPSP_MSG_REQUEST), 0);
    say_range(&g, PPSP_MSG_HAVE, PPSP_CHUNKS_MAX - 8, UINT64_MAX);
    raw_clear(g.w);
    raw_wait(g.w, CV_SEC(2));
    struct raw_message m;
    cr_assert(raw_find(g.w, PPSP_MSG_REQUEST, 0, &m));
    cr_expect(m.range.first == PPSP_CHUNKS_MAX - 1 && m.range.last == PPSP_CHUNKS_MAX - 1);
    say_chunk(&g, PPSP_CHUNKS_MAX);
    cr_expect_eq(edge(&g), 0);
    leave(&g);
}

/* ---- discard windows (6.2) ----------------------------------------------------------------- */

static struct ppsp_options handshake_of(struct stage *g) {
    struct ppsp_options o = {0};
    cr_assert(raw_call(g->w));
    cr_assert_neq(raw_handshake_in(g->w, 0, &o), 0);
    return o;
}

Test(ppsp_live_rules, R6_2_1_R7_9_1_both_handshakes_tell_the_window) {
    struct stage g = at_viewer(10);
    struct ppsp_options o = handshake_of(&g);
    cr_expect(ppsp_options_has(&o, PPSP_OPT_DISCARD_WINDOW));
    cr_expect_eq(o.discard_window, 2048);
    cr_expect(o.messages >> PPSP_MSG_SIGNED_INTEGRITY & 1);
    leave(&g);
}

Test(ppsp_live_rules, R7_9_3_all_ones_when_nothing_is_discarded) {
    for (int wide = 0; wide <= 1; wide++) {
        struct stage g = {.l = live_new(11, CV_DNSSEC_ED25519, WIDTH, 4096)};
        g.l->viewer.window = PPSP_WINDOW_ALL;
        g.l->rig->config.addressing = wide ? PPSP_ADDRESSING_CHUNK64 : PPSP_ADDRESSING_CHUNK32;
        rig_add(g.l->rig, false);
        g.w = raw_new(g.l->rig, 0);
        struct ppsp_options o = handshake_of(&g);
        cr_expect(o.discard_window == (wide ? UINT64_MAX : UINT32_MAX));
        leave(&g);
    }
}

Test(ppsp_live_rules, R7_9_2_window_behind_the_addressing_method) {
    struct stage g = at_viewer(12);
    cr_assert(raw_call(g.w));
    size_t cam = 0, window = 0;
    for (size_t i = 0; i + 5 < g.w->lens[0]; i++) {
        if (g.w->heard[0][i] == PPSP_OPT_ADDRESSING && g.w->heard[0][i + 2] == 7)
            cam = i, window = i + 2;
    }
    cr_expect(cam && window == cam + 2);
    leave(&g);
}

Test(ppsp_live_rules, R6_2_2_what_a_peer_discarded_is_not_asked_for) {
    struct stage g = at_viewer(13);
    struct ppsp_options o = raw_options(g.w);
    o.discard_window = 64;
    cr_assert_eq(raw_send_handshake(g.w, 0, g.w->ours, &o), CV_ERR_OK);
    raw_listen(g.w);
    cr_assert((g.w->theirs = raw_handshake_in(g.w, 0, &o)));
    say_munro(&g, 0, WIDTH, WALL);
    say_munro(&g, 9 * WIDTH, WIDTH, WALL);
    say_range(&g, PPSP_MSG_HAVE, 0, 10 * WIDTH - 1);
    struct raw_message m;
    raw_clear(g.w);
    raw_wait(g.w, CV_SEC(2));
    cr_expect_geq(raw_count(g.w, PPSP_MSG_REQUEST), 1);
    for (unsigned i = 0; raw_find(g.w, PPSP_MSG_REQUEST, i, &m); i++)
        cr_expect_geq(m.range.first, 10 * WIDTH - 64);
    leave(&g);
}

/* ---- a window in very many pieces ----------------------------------------------------------- */

/* Every second chunk comes, and the rest is waited for: more pieces than a set holds
 * (PPSP_LIVE_INTERVALS). The oldest are given up, and the stream goes on. */
Test(ppsp_live_rules, more_pieces_than_a_set_holds_end_no_stream) {
    enum { MUNROS = 80 };
    struct stage g = {.l = live_new(17, CV_DNSSEC_ED25519, WIDTH, 4096)};
    g.l->viewer.window = 8192;
    g.l->viewer.latency = CV_SEC(3600);
    rig_add(g.l->rig, false);
    g.w = raw_new(g.l->rig, 0);
    struct ppsp_options o = raw_options(g.w);
    o.discard_window = 1024;
    cr_assert_eq(raw_send_handshake(g.w, 0, g.w->ours, &o), CV_ERR_OK);
    raw_listen(g.w);
    cr_assert((g.w->theirs = raw_handshake_in(g.w, 0, &o)));
    struct rig *r = g.l->rig;
    unsigned dropped = 0, failed = 0;
    for (uint64_t i = 0; i < MUNROS; i++) {
        struct ppsp_event ev;
        say_munro(&g, i * WIDTH, WIDTH, WALL);
        while (ppsp_poll_event(r->engine[0], &ev)) {
            dropped += ev.type == PPSP_EVENT_LIVE_DROPPED;
            failed += ev.type == PPSP_EVENT_STORE_ERROR;
        }
        for (uint64_t k = 0; k < WIDTH; k += 2)
            say_range(&g, PPSP_MSG_HAVE, i * WIDTH + k, i * WIDTH + k);
        for (unsigned turns = 0; turns < 8; turns++) {
            struct raw_message m;
            raw_clear(g.w);
            raw_wait(g.w, CV_MSEC(20));
            for (unsigned q = 0; raw_find(g.w, PPSP_MSG_REQUEST, q, &m); q++) {
                struct cv_wr d = raw_datagram(g.w);
                cr_assert_eq(m.range.first, m.range.last);
                live_put_chunk(g.l, &d, m.range.first, WIDTH);
                cr_assert_eq(raw_send(g.w, &d), CV_ERR_OK);
            }
        }
    }
    cr_assert_eq(edge(&g), MUNROS * WIDTH);
    struct ppsp_stats st;
    cr_assert_eq(ppsp_stats(r->engine[0], r->swarm[0], &st), CV_ERR_OK);
    cr_expect_not(st.paused);
    cr_expect_gt(st.chunks_have, 1000);
    for (uint64_t k = 0; k < 1000; k++)
        cr_expect(ppsp_has(r->engine[0], r->swarm[0], MUNROS * WIDTH - 2 - 2 * k,
                           MUNROS * WIDTH - 2 - 2 * k),
                  "%d", (int)k);
    cr_expect_gt(dropped, 0);
    cr_expect_eq(failed, 0);
    leave(&g);
}

/* ---- options (7.6, 7.7, 7.9)
 * ------------------------------------------------------------------------
 */

/* With a signature a chunk there is no tree; that of a live tree is in the link. */
Test(ppsp_live_rules, R7_6_1_live_swarms_need_no_hash_function) {
    static const struct {
        enum ppsp_integrity integrity;
        bool said;
        enum cv_sha hash;
        bool taken;
    } rows[] = {
        {PPSP_INTEGRITY_SIGN_ALL, false, CV_SHA1, true},
        {PPSP_INTEGRITY_SIGN_ALL, true, CV_SHA256, true},
        {PPSP_INTEGRITY_SIGN_ALL, true, CV_SHA1, true},
        {PPSP_INTEGRITY_UNIFIED, false, CV_SHA1, true},
        {PPSP_INTEGRITY_UNIFIED, true, CV_SHA256, true},
        {PPSP_INTEGRITY_UNIFIED, true, CV_SHA1, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct stage g = {.l = live_new(30 + i, CV_DNSSEC_ED25519, WIDTH, 4096)};
        g.l->rig->config.integrity = rows[i].integrity;
        rig_add(g.l->rig, false);
        g.w = raw_new(g.l->rig, 0);
        struct ppsp_peer_props props = {.mtu = 1400, .initiate = true};
        cr_assert_eq(ppsp_peer_add(g.l->rig->engine[0], rig_now(g.l->rig), g.l->rig->swarm[0],
                                   &g.w->us, &props),
                     CV_ERR_OK);
        raw_listen(g.w);
        struct ppsp_options o;
        g.w->theirs = raw_handshake_in(g.w, 0, &o);
        o = raw_options(g.w);
        if (!rows[i].said)
            o.present &= ~(1u << PPSP_OPT_HASH);
        o.hash = (uint8_t)rows[i].hash;
        cr_expect_eq(raw_send_handshake(g.w, g.w->theirs, g.w->ours, &o),
                     rows[i].taken ? CV_ERR_OK : CV_ERR_DIFFERS, "row %zu", i);
        leave(&g);
    }
}

Test(ppsp_live_rules, R7_7_1_R7_9_1_without_algorithm_or_window_there_is_silence) {
    for (int what = 0; what < 4; what++) {
        struct stage g = at_viewer(14);
        struct ppsp_options o = raw_options(g.w);
        if (what == 1)
            o.present &= ~(1u << PPSP_OPT_SIGNATURE);
        if (what == 2)
            o.present &= ~(1u << PPSP_OPT_DISCARD_WINDOW);
        if (what == 3)
            o.signature = CV_DNSSEC_ECDSAP256SHA256;
        enum cv_err err = raw_send_handshake(g.w, 0, g.w->ours, &o);
        raw_listen(g.w);
        cr_expect_eq(err, what ? CV_ERR_DIFFERS : CV_ERR_OK, "%d", what);
        cr_expect_eq(g.w->count, what ? 0 : 1, "%d", what);
        leave(&g);
    }
}
