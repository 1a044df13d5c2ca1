/* Giving: what the round trip is measured from, and how often hashes are sent.
 * The other end is played octet by octet. */
#include "support/suite.h"

#include "raw.h"

CV_SUITE(ppsp_serve);

enum { CHUNKS = 100 };

struct bench {
    struct rig *rig;
    struct raw *raw;
};

/* A seeder at the end of a circuit, or beside us; our channel is open. */
static struct bench seeder(bool circuit) {
    struct bench b = {.rig = rig_new(1, CHUNKS * 1024, 1024, CV_SHA256)};
    b.rig->circuits = circuit;
    rig_add(b.rig, true);
    b.raw = raw_new(b.rig, 0);
    struct ppsp_peer_props props = {.mtu = 1101, .hidden = true};
    if (circuit)
        cr_assert_eq(
            ppsp_peer_add(b.rig->engine[0], rig_now(b.rig), b.rig->swarm[0], &b.raw->us, &props),
            CV_ERR_OK);
    cr_assert(raw_call(b.raw));
    cr_assert_eq(raw_send_hex(b.raw, ""), CV_ERR_OK);
    raw_listen(b.raw);
    raw_clear(b.raw);
    return b;
}

static void end(struct bench *b) {
    free(b->raw);
    rig_free(b->rig);
}

static void request(struct bench *b, uint64_t first, uint64_t last) {
    struct cv_wr d = raw_datagram(b->raw);
    raw_put_range(b->raw, &d, PPSP_MSG_REQUEST, first, last);
    cr_assert_eq(raw_send(b->raw, &d), CV_ERR_OK);
    raw_listen(b->raw);
}

static void acknowledge(struct bench *b, uint64_t chunk) {
    struct cv_wr d = raw_datagram(b->raw);
    struct ppsp_ack ack = {.chunks = {chunk, chunk}, .delay = 1000};
    struct ppsp_chunkspec spec = raw_spec(b->raw);
    ppsp_ack_write(&d, &spec, &ack);
    cr_assert_eq(raw_send(b->raw, &d), CV_ERR_OK);
}

/* Sections 3.1.1 and 12.1: who called knows after datagram 2 that the other is there, and
 * may serve what that one asked for with its answer. Of 64 chunks the hashes of the
 * first fit beside it; else they go before it, at the same instant (R5.3.4). */
Test(ppsp_serve, content_is_in_the_third_datagram_when_the_seeder_calls) {
    struct bench b = {.rig = rig_new(1, 64 * 1024, 1024, CV_SHA256)};
    struct ppsp_peer_props props = {.mtu = 1400, .initiate = true};
    struct ppsp_options o;
    struct raw_message m;
    uint8_t octets[1024];
    rig_add(b.rig, true);
    b.raw = raw_new(b.rig, 0);
    cr_assert_eq(
        ppsp_peer_add(b.rig->engine[0], rig_now(b.rig), b.rig->swarm[0], &b.raw->us, &props),
        CV_ERR_OK);
    raw_listen(b.raw);
    cr_assert_eq(b.raw->count, 1, "the first");
    b.raw->theirs = raw_handshake_in(b.raw, 0, &o);
    cr_assert_neq(b.raw->theirs, 0);
    struct cv_wr d = cv_wr_init(octets, sizeof octets);
    cv_wr_be32(&d, b.raw->theirs);
    cv_wr_u8(&d, PPSP_MSG_HANDSHAKE);
    cv_wr_be32(&d, b.raw->ours);
    o = raw_options(b.raw);
    ppsp_options_write(&d, &o);
    raw_put_range(b.raw, &d, PPSP_MSG_REQUEST, 0, 0);
    raw_clear(b.raw);
    cr_assert_eq(raw_send(b.raw, &d), CV_ERR_OK, "the second");
    raw_listen(b.raw);
    cr_assert_eq(raw_count(b.raw, PPSP_MSG_DATA), 1);
    cr_assert(raw_find(b.raw, PPSP_MSG_DATA, 0, &m));
    cr_expect_eq(m.datagram, 0, "the third");
    end(&b);
}

/* One turn is what one side says until the other says something. */
struct exchange {
    unsigned turns, data; /* so far; the one in which the seeder gave the first content */
    unsigned last;        /* who spoke */
};

static bool note(struct rig *r, unsigned from, unsigned to, uint8_t *octets, size_t len) {
    struct exchange *x = r->tap_ctx;
    (void)to, (void)octets;
    x->turns += x->turns == 0 || from != x->last;
    x->last = from;
    if (from == 0 && len > 1024 && !x->data)
        x->data = x->turns;
    return true;
}

/* When the viewer calls, nothing may be served before datagram 3 proves its address. It asks
 * in that without having heard what there is, and the content is in the turn behind it.
 * Among ourselves the answer to a call is a handshake alone: whom a seeder calls
 * asks a turn later. */
Test(ppsp_serve, content_is_in_the_fourth_turn_when_the_viewer_calls) {
    static const struct {
        unsigned caller, turn;
        bool circuits;
    } rows[] = {{1, 4, false}, {1, 4, true}, {0, 5, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig *r = rig_new(1, CHUNKS * 1024, 1024, CV_SHA256);
        struct exchange x = {0};
        r->circuits = rows[i].circuits;
        r->tap = note;
        r->tap_ctx = &x;
        rig_add(r, true);
        rig_add(r, false);
        if (r->circuits)
            cr_assert_eq(rig_connect(r, !rows[i].caller, rows[i].caller, false), CV_ERR_OK);
        cr_assert_eq(rig_connect(r, rows[i].caller, !rows[i].caller, true), CV_ERR_OK);
        rig_run(r, CV_MSEC(20));
        cr_expect_eq(x.data, rows[i].turn, "row %zu: %u", i, x.data);
        rig_free(r);
    }
}

static cv_usec rtt(const struct bench *b) {
    struct ppsp_peer_stats st = {0};
    cr_assert_eq(ppsp_peers(b->rig->engine[0], b->rig->swarm[0], &st, 1), 1);
    return st.rtt;
}

/* Who takes the rarest first asks in any order. */
Test(ppsp_serve, the_round_trip_is_measured_also_when_lower_chunks_are_asked_for_later) {
    struct bench b = seeder(false);
    request(&b, 0x50, 0x50);
    raw_wait(b.raw, CV_MSEC(100));
    acknowledge(&b, 0x50);
    cr_assert_eq(rtt(&b), CV_MSEC(100));
    for (uint64_t chunk = 40; chunk > 0; chunk--) {
        request(&b, chunk, chunk);
        raw_wait(b.raw, CV_MSEC(10));
        acknowledge(&b, chunk);
    }
    cr_expect_lt(rtt(&b), CV_MSEC(12), "still %lu us", rtt(&b));
    end(&b);
}

Test(ppsp_serve, nothing_that_was_sent_before_measures_the_round_trip) {
    struct bench b = seeder(false);
    request(&b, 3, 3);
    raw_wait(b.raw, CV_MSEC(50));
    acknowledge(&b, 3);
    cv_usec before = rtt(&b);
    request(&b, 7, 7);
    raw_wait(b.raw, CV_MSEC(200)); /* long lost, but which of the two copies arrives? */
    request(&b, 7, 7);
    raw_wait(b.raw, CV_MSEC(1));
    acknowledge(&b, 7);
    cr_expect_eq(rtt(&b), before);
    request(&b, 9, 9);
    raw_wait(b.raw, CV_SEC(3)); /* the congestion timeout */
    raw_clear(b.raw);
    request(&b, 9, 9);
    raw_wait(b.raw, CV_MSEC(1));
    acknowledge(&b, 9);
    cr_expect_eq(rtt(&b), before);
    end(&b);
}

/* A circuit carries one datagram in a cell, whatever its size: hashes of their
 * own cost as much as a chunk. */
Test(ppsp_serve, the_hashes_of_a_group_go_once_however_small_the_bursts) {
    struct bench b = seeder(true);
    uint64_t got = 0;
    unsigned datagrams = 0, bare = 0;
    request(&b, 0, 15);
    for (unsigned i = 0; i < 100 && got != 0xffff; i++) {
        static struct raw_message m[RAW_MESSAGES];
        size_t n = raw_messages(b.raw, m);
        datagrams += b.raw->count;
        bare += b.raw->count - (unsigned)raw_count(b.raw, PPSP_MSG_DATA);
        uint64_t fresh = 0;
        for (size_t k = 0; k < n; k++)
            if (m[k].type == PPSP_MSG_DATA)
                fresh |= UINT64_C(1) << m[k].range.first;
        raw_clear(b.raw);
        raw_wait(b.raw, CV_MSEC(20));
        for (unsigned k = 0; k < 16; k++)
            if (fresh >> k & 1)
                acknowledge(&b, k);
        got |= fresh;
        raw_listen(b.raw);
    }
    cr_expect_eq(got, 0xffff);
    cr_expect_leq(bare, 2, "%u of %u datagrams held hashes alone", bare, datagrams);
    end(&b);
}
