/* Several peers: the load is spread, and those that lie, stall or stop hurt little. */
#include "support/suite.h"

#include "ppsp/engine.h"
#include "ppsp/limits.h"
#include "raw.h"

CV_SUITE(ppsp_peers);

Test(ppsp_peers, several_seeders_share_the_work) {
    struct rig *r = rig_new(1, 3000 * 1024, 1024, CV_SHA256);
    r->config.upload_limit = 300 * 1024;
    for (unsigned i = 0; i < 3; i++)
        rig_add(r, true);
    r->config.upload_limit = 0;
    unsigned v = rig_add(r, false);
    for (unsigned i = 0; i < 3; i++)
        rig_connect(r, v, i, true);
    cr_expect(rig_run_complete(r, v, CV_SEC(5)), "3.3 s with all three, 10 s with one");
    cr_expect(rig_equal(r, v));
    struct ppsp_stats st;
    cr_assert_eq(ppsp_stats(r->engine[v], r->swarm[v], &st), CV_ERR_OK);
    cr_expect_leq(st.wasted, 100 * 1024, "fetched twice: %lu", (unsigned long)st.wasted);
    rig_free(r);
}

Test(ppsp_peers, a_seeder_that_stops_is_replaced) {
    struct rig *r = rig_new(1, 2000 * 1024, 1024, CV_SHA256);
    r->config.upload_limit = 300 * 1024;
    rig_add(r, true);
    rig_add(r, true);
    r->config.upload_limit = 0;
    unsigned v = rig_add(r, false);
    rig_connect(r, v, 0, true);
    rig_connect(r, v, 1, true);
    rig_run(r, CV_SEC(1));
    ppsp_free(r->engine[0]); /* without a word */
    r->engine[0] = NULL;
    cr_expect(rig_run_complete(r, v, CV_SEC(12)));
    cr_expect(rig_equal(r, v));
    rig_free(r);
}

static bool silence(struct rig *r, unsigned from, unsigned to, uint8_t *data, size_t len) {
    (void)r, (void)to;
    return from != 0 || len < 5 || data[4] == PPSP_MSG_HANDSHAKE || data[4] == PPSP_MSG_HAVE;
}

Test(ppsp_peers, HAVE_1_who_has_all_and_gives_nothing_is_asked_less_and_less) {
    struct rig *r = rig_new(1, 2000 * 1024, 1024, CV_SHA256);
    r->tap = silence; /* engine 0 says HAVE and never serves */
    rig_add(r, true);
    r->config.upload_limit = 200 * 1024;
    rig_add(r, true);
    r->config.upload_limit = 0;
    unsigned v = rig_add(r, false);
    rig_connect(r, v, 0, true);
    rig_connect(r, v, 1, true);
    cr_expect(rig_run_complete(r, v, CV_SEC(15)), "10 s from the good one alone");
    struct ppsp_peer_stats ps[2];
    cr_assert_eq(ppsp_peers(r->engine[v], r->swarm[v], ps, 2), 2);
    cr_expect_geq(ps[0].stalls, 2);
    cr_expect_leq(ps[0].stalls, 12);
    cr_expect_eq(ps[0].down, 0);
    cr_expect_eq(ps[1].stalls, 0);
    rig_free(r);
}

static bool corrupt_once(struct rig *r, unsigned from, unsigned to, uint8_t *data, size_t len) {
    (void)to;
    if (from == 0 && len > 1000 && r->now > CV_SEC(1000) + CV_MSEC(500))
        data[len - 1] ^= 1;
    return true;
}

Test(ppsp_peers, a_forger_is_dropped_and_the_swarm_goes_on) {
    struct rig *r = rig_new(1, 2000 * 1024, 1024, CV_SHA256);
    r->tap = corrupt_once;
    r->config.upload_limit = 300 * 1024;
    rig_add(r, true);
    rig_add(r, true);
    r->config.upload_limit = 0;
    unsigned v = rig_add(r, false);
    rig_connect(r, v, 0, true);
    rig_connect(r, v, 1, true);
    cr_expect(rig_run_complete(r, v, CV_SEC(15)));
    cr_expect(rig_equal(r, v));
    cr_expect_eq(ppsp_counters(r->engine[v])->peers_dropped_bad, 1);
    cr_assert_eq(rig_events(r, v, PPSP_EVENT_PEER_DOWN), 1);
    for (unsigned i = 0; i < r->event_count[v]; i++)
        if (r->events[v][i].type == PPSP_EVENT_PEER_DOWN)
            cr_expect_eq(r->events[v][i].err, CV_ERR_AUTH);
    rig_free(r);
}

/* CANCEL stands first in its datagram. */
static bool count_cancels(struct rig *r, unsigned from, unsigned to, uint8_t *data, size_t len) {
    (void)from;
    *(unsigned *)r->tap_ctx += to == 0 && len > 4 && data[4] == PPSP_MSG_CANCEL;
    return true;
}

Test(ppsp_peers, R3_8_1_a_fast_peer_takes_over_with_cancel) {
    struct rig *r = rig_new(1, 400 * 1024, 1024, CV_SHA256);
    r->config.upload_limit = 10 * 1024; /* would take 40 s */
    unsigned cancels = 0;
    r->tap = count_cancels;
    r->tap_ctx = &cancels;
    rig_add(r, true);
    r->config.upload_limit = 0;
    r->config.serve = false; /* so that no HAVE cancels for it */
    unsigned v = rig_add(r, false);
    r->config.serve = true;
    rig_connect(r, v, 0, true);
    rig_run(r, CV_SEC(2));
    unsigned fast = rig_add(r, true);
    rig_connect(r, v, fast, true);
    cr_expect(rig_run_complete(r, v, CV_SEC(3)));
    struct ppsp_stats st;
    cr_assert_eq(ppsp_stats(r->engine[0], r->swarm[0], &st), CV_ERR_OK);
    uint64_t then = st.up;
    cr_expect_gt(cancels, 0, "nothing was cancelled");
    rig_run(r, CV_SEC(5));
    cr_assert_eq(ppsp_stats(r->engine[0], r->swarm[0], &st), CV_ERR_OK);
    cr_expect_leq(st.up - then, 12 * 1024, "the slow one was told");
    rig_free(r);
}

/* Both nearly stand still: what one takes over must not come back to the other at the
 * same moment, and so on for ever. */
Test(ppsp_peers, what_is_taken_over_does_not_go_back_and_forth) {
    for (unsigned chunks = 1; chunks <= 64; chunks++) {
        struct rig *r = rig_new(1, 400 * 1024, 1024, CV_SHA256);
        struct ppsp_range got = {0, 0};
        r->config.upload_limit = 20 * 1024;
        rig_add(r, true);
        rig_add(r, true);
        r->config.upload_limit = 0;
        unsigned v = rig_add(r, false), turns = 0;
        rig_connect(r, v, 0, true);
        rig_connect(r, v, 1, true);
        rig_run(r, CV_SEC(2));
        struct ppsp_swarm *s = ppsp_swarm_find(r->engine[v], r->swarm[v]);
        struct ppsp_channel *has = TAILQ_FIRST(&s->channels), *other = TAILQ_NEXT(has, of_swarm);
        cr_assert(has && other && has->state == PPSP_PEER_OPEN && other->state == PPSP_PEER_OPEN);
        ppsp_fetch_release(has);
        ppsp_fetch_release(other);
        has->down_rate = (struct ppsp_rate){.from = r->now, .per_s = 20};
        other->down_rate = (struct ppsp_rate){.from = r->now, .per_s = 10 + chunks};
        has->data_at = other->data_at = r->now;
        cr_assert_eq(ppsp_flight_push(&has->asked, 320, ppsp_run_mask(chunks), r->now, false), 0);
        while (turns < 100 && ppsp_pick_steal(other, r->now, 64, &got)) {
            uint64_t mask = ppsp_run_mask((uint32_t)(got.last - got.first + 1));
            cr_assert_eq(ppsp_flight_push(&other->asked, got.first, mask, r->now, false), 0);
            struct ppsp_channel *giver = has;
            has = other;
            other = giver;
            turns++;
        }
        cr_expect_lt(turns, 100, "%u chunks", chunks);
        rig_free(r);
    }
}

Test(ppsp_peers, rarest_first_spreads_what_only_one_has) {
    /* A seeder that leaves early: what it gave differs from viewer to viewer,
     * so that together they have more than each alone. */
    struct rig *r = rig_new(3, 2000 * 1024, 1024, CV_SHA256);
    r->config.upload_limit = 300 * 1024;
    rig_add(r, true);
    r->config.upload_limit = 0;
    for (unsigned i = 1; i <= 3; i++)
        rig_add(r, false);
    for (unsigned i = 1; i <= 3; i++)
        for (unsigned k = 0; k < i; k++)
            rig_connect(r, i, k, true);
    cr_expect(rig_run_complete(r, 1, CV_SEC(14)), "7 s for one copy; not three times that");
    cr_expect(rig_run_complete(r, 2, CV_SEC(3)));
    cr_expect(rig_run_complete(r, 3, CV_SEC(3)));
    rig_free(r);
}

static uint64_t chunks_in(const struct rig *r, unsigned engine, uint64_t first, uint64_t last) {
    uint64_t n = 0;
    for (uint64_t i = first; i <= last; i++)
        n += r->store[engine].have[i >> 6] >> (i & 63) & 1;
    return n;
}

/* Two peers have the first half, a slow seeder has all: what it alone has comes first. */
Test(ppsp_peers, what_fewer_peers_have_is_asked_for_first) {
    enum { CHUNKS = 2048, HALF = CHUNKS / 2, EACH = CHUNKS * 1024 / 2 };
    struct rig *r = rig_new(4, CHUNKS * 1024, 1024, CV_SHA256);
    ppsp_want_id want;
    rig_add(r, true);
    r->config.fetch_all = false;
    for (unsigned i = 1; i <= 2; i++) {
        rig_add(r, false);
        rig_connect(r, i, 0, true);
    }
    rig_run(r, CV_MSEC(200));
    for (unsigned i = 1; i <= 2; i++) {
        cr_assert_eq(
            ppsp_want(r->engine[i], rig_now(r), r->swarm[i], 0, EACH - 1, r->now, 0, &want),
            CV_ERR_OK);
    }
    rig_run(r, CV_SEC(5));
    for (unsigned i = 1; i <= 2; i++) {
        cr_assert_eq(chunks_in(r, i, 0, HALF - 1), HALF);
        cr_assert_eq(chunks_in(r, i, HALF, CHUNKS - 1), 0);
        ppsp_swarm_limits(r->engine[i], rig_now(r), r->swarm[i], 1, 0);
    }
    ppsp_swarm_limits(r->engine[0], rig_now(r), r->swarm[0], 100 * 1024, 0);
    r->config.fetch_all = true;
    rig_add(r, false);
    for (unsigned k = 0; k < 3; k++)
        rig_connect(r, 3, k, true);
    rig_run(r, CV_SEC(5));
    uint64_t common = chunks_in(r, 3, 0, HALF - 1), rare = chunks_in(r, 3, HALF, CHUNKS - 1);
    cr_expect_gt(rare, 300);
    cr_expect_lt(common, rare / 5, "%lu of what all have, %lu of what one has",
                 (unsigned long)common, (unsigned long)rare);
    rig_free(r);
}

Test(ppsp_peers, REQUEST_1_many_viewers_of_one_seeder_get_equal_shares) {
    struct rig *r = rig_new(1, 3000 * 1024, 1024, CV_SHA256);
    r->config.upload_limit = 600 * 1024;
    rig_add(r, true);
    r->config.upload_limit = 0;
    r->config.serve = false;
    for (unsigned i = 1; i <= 4; i++) {
        rig_add(r, false);
        rig_connect(r, i, 0, true);
    }
    rig_run(r, CV_SEC(8));
    uint64_t least = UINT64_MAX, most = 0;
    for (unsigned i = 1; i <= 4; i++) {
        struct ppsp_stats st;
        cr_assert_eq(ppsp_stats(r->engine[i], r->swarm[i], &st), CV_ERR_OK);
        least = st.down < least ? st.down : least;
        most = st.down > most ? st.down : most;
    }
    cr_expect_leq(most, least * 3 / 2, "%lu and %lu", (unsigned long)least, (unsigned long)most);
    rig_free(r);
}

/* ---- who asks for little, and often -------------------------------------------------- */

/* A peer at the last place of a rig, with whole datagrams made here. It asks for one chunk
 * at a time, every millisecond, and acknowledges what comes. */
struct nibbler {
    struct raw *raw;
    uint64_t got, next;
    unsigned pieces; /* of one datagram */
    uint64_t due[64];
    unsigned dues;
};

static bool hear(struct rig *r, unsigned from, unsigned to, uint8_t *data, size_t len) {
    struct nibbler *n = r->tap_ctx;
    struct raw *w = n->raw;
    if (from != 0 || to != RAW_PLACE)
        return true;
    memcpy(w->heard[0], data, len);
    w->lens[0] = len;
    w->count = 1;
    static struct raw_message m[RAW_MESSAGES];
    size_t messages = raw_messages(w, m);
    for (size_t i = 0; i < messages; i++)
        if (m[i].type == PPSP_MSG_DATA && n->dues < 64) {
            n->due[n->dues++] = m[i].range.first;
            n->got += m[i].len;
        }
    return false;
}

static void nibble(struct nibbler *n, uint64_t chunks) {
    struct ppsp_chunkspec spec = raw_spec(n->raw);
    struct cv_wr d = raw_datagram(n->raw);
    for (unsigned i = 0; i < n->dues; i++) {
        struct ppsp_ack ack = {.chunks = {n->due[i], n->due[i]}, .delay = 1000};
        ppsp_ack_write(&d, &spec, &ack);
    }
    n->dues = 0;
    for (unsigned i = 0; i < n->pieces; i++, n->next = (n->next + 2) % chunks)
        raw_put_range(n->raw, &d, PPSP_MSG_REQUEST, n->next, n->next);
    (void)raw_send(n->raw, &d);
}

/* A line that was measured before; 0: it was not. */
static void line_of(struct ppsp_upstream *u, struct cv_now now, uint64_t octets_s) {
    uint8_t saved[PPSP_UPSTREAM_SAVED];
    struct cv_wr w = cv_wr_init(saved, sizeof saved);
    cv_wr_u8(&w, 1);
    cv_wr_u8(&w, octets_s != 0);
    if (octets_s) {
        cv_wr_le32(&w, (uint32_t)(now.wall / 3600));
        cv_wr_le64(&w, octets_s);
    }
    ppsp_upstream_init(u, now);
    cr_assert(ppsp_upstream_restore(u, saved, cv_wr_len(&w)));
}

/* What a limit lets through goes in equal shares to who asks for much and who asks for single
 * chunks without a pause. */
Test(ppsp_peers, REQUEST_1_asking_for_single_chunks_takes_nothing_from_others) {
    static const struct {
        uint64_t own, measured; /* octets a second: a limit by hand, or 80 % of the line */
    } rows[] = {{100 * 1024, 0}, {0, 160 * 1024}, {0, 1280 * 1024}};
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum { CHUNKS = 14000 };
        uint64_t limit = rows[i].own + rows[i].measured / 10 * 8;
        struct rig *r = rig_new(1 + i, CHUNKS * 1024, 1024, CV_SHA256);
        struct ppsp_upstream line;
        struct ppsp_config engine = ppsp_defaults;
        line_of(&line, rig_now(r), rows[i].measured);
        engine.upstream = &line;
        r->engine_config = &engine;
        r->config.upload_limit = rows[i].own;
        rig_add(r, true);
        r->config.upload_limit = 0;
        r->config.serve = false;
        r->engine_config = NULL;
        unsigned v = rig_add(r, false);
        rig_connect(r, v, 0, true);
        struct nibbler n = {.raw = raw_new(r, 0), .pieces = 2};
        cr_assert(raw_call(n.raw));
        cr_assert_eq(raw_send_hex(n.raw, ""), CV_ERR_OK);
        r->tap = hear;
        r->tap_ctx = &n;
        struct ppsp_stats before, st;
        uint64_t got = 0;
        for (unsigned ms = 0; ms < 9000; ms++) {
            if (ms == 1000) {
                cr_assert_eq(ppsp_stats(r->engine[v], r->swarm[v], &before), CV_ERR_OK);
                got = n.got;
            }
            nibble(&n, CHUNKS);
            rig_run(r, CV_MSEC(1));
        }
        cr_assert_eq(ppsp_stats(r->engine[v], r->swarm[v], &st), CV_ERR_OK);
        double little = (double)(n.got - got) / (double)(8 * limit);
        double much = (double)(st.down - before.down) / (double)(8 * limit);
        cr_expect(much >= 0.4 && much <= 0.65, "row %u: %.2f, the other %.2f", i, much, little);
        cr_expect(little >= 0.35 && little <= 0.6, "row %u: %.2f", i, little);
        free(n.raw);
        rig_free(r);
    }
}

/* A measured line's limit in equal shares to swarms whose chunks are small and large; and the
 * largest that there can be make nobody wait long. */
Test(ppsp_peers, small_chunks_take_nothing_from_large_ones) {
    enum { OCTETS = 3000 * 1024, SWARMS = 2, RATE = 160 * 1024 };
    static const uint32_t sizes[][SWARMS] = {{512, 1280}, {1024, PPSP_CHUNK_SIZE_MAX}};
    for (unsigned k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        struct ppsp_upstream line;
        struct ppsp_config engine = ppsp_defaults;
        struct rig *r[SWARMS];
        uint64_t got[SWARMS] = {0};
        unsigned still = 0, longest = 0; /* ms, of the small chunks */
        for (unsigned i = 0; i < SWARMS; i++) {
            r[i] = rig_new(1 + i, OCTETS, sizes[k][i], CV_SHA256);
            if (i == 0)
                line_of(&line, rig_now(r[i]), RATE);
            engine.upstream = &line;
            r[i]->engine_config = &engine;
            rig_add(r[i], true);
            r[i]->engine_config = NULL;
            r[i]->config.serve = false;
            rig_connect(r[i], rig_add(r[i], false), 0, true);
        }
        for (unsigned ms = 0; ms < 12000; ms++)
            for (unsigned i = 0; i < SWARMS; i++) {
                rig_run(r[i], CV_MSEC(1));
                struct ppsp_stats st;
                cr_assert_eq(ppsp_stats(r[i]->engine[1], r[i]->swarm[1], &st), CV_ERR_OK);
                if (i == 0) {
                    still = st.down > got[i] ? 0 : still + 1;
                    longest = still > longest ? still : longest;
                }
                got[i] = st.down;
            }
        for (unsigned i = 0; i < SWARMS; i++) {
            double share = (double)got[i] / (12.0 * RATE / 10 * 8);
            cr_expect(share >= 0.4 && share <= 0.6, "row %u: %.2f of swarm %u", k, share, i);
            rig_free(r[i]);
        }
        cr_expect_leq(longest, 1500, "row %u: nothing for %u ms", k, longest);
    }
}

Test(ppsp_peers, statistics_tell_what_happened) {
    struct rig *r = rig_new(1, 1000 * 1024, 1024, CV_SHA256);
    r->delay = CV_MSEC(10);
    rig_add(r, true);
    rig_add(r, false);
    rig_connect(r, 1, 0, true);
    cr_assert(rig_run_complete(r, 1, CV_SEC(20)));
    rig_run(r, CV_MSEC(100)); /* the last ACK */
    struct ppsp_stats st;
    struct ppsp_peer_stats ps;
    cr_assert_eq(ppsp_stats(r->engine[1], r->swarm[1], &st), CV_ERR_OK);
    cr_expect(st.complete && st.chunks == 1000 && st.chunks_have == 1000);
    cr_expect(st.octets == 1000 * 1024 && st.down == st.octets && st.up == 0 && st.peers == 1);
    cr_assert_eq(ppsp_peers(r->engine[0], r->swarm[0], &ps, 1), 1);
    cr_expect_eq(ps.state, PPSP_PEER_OPEN);
    cr_expect_eq(ps.up, 1000 * 1024);
    cr_expect_eq(ps.chunks_have, 1000);
    cr_expect(ps.rtt >= CV_MSEC(20) && ps.rtt < CV_MSEC(40), "%lu", (unsigned long)ps.rtt);
    cr_expect_gt(ps.cwnd, 0);
    rig_free(r);
}

static size_t channel_octets(const struct rig *r, unsigned i) {
    const struct ppsp_swarm *s = ppsp_swarm_find(r->engine[i], r->swarm[i]);
    const struct ppsp_channel *c = TAILQ_FIRST(&s->channels);
    size_t runs = c->sent.cap + c->gone.cap + c->asked.cap + c->late.cap;
    return sizeof *c + runs * sizeof(struct ppsp_run) + (c->pending ? sizeof *c->pending : 0) +
           CV_CERTIFICATE_MAX;
}

Test(ppsp_peers, a_channel_without_anything_to_do_costs_12_kib_at_most) {
    struct rig *r = rig_new(1, 4000 * 1024, 1024, CV_SHA256);
    rig_add(r, true);
    rig_add(r, false);
    rig_connect(r, 1, 0, true);
    cr_assert(rig_run_complete(r, 1, CV_SEC(60)));
    cr_expect(channel_octets(r, 1) > 12 * 1024, "busy: %zu", channel_octets(r, 1));
    rig_run(r, CV_SEC(90));
    for (unsigned i = 0; i < 2; i++)
        cr_expect_leq(channel_octets(r, i), 12 * 1024, "%zu", channel_octets(r, i));
    rig_free(r);
}

/* What the seeder may have in flight to a peer; 0: none is up. */
static uint64_t window_to(struct rig *r, unsigned peer) {
    struct ppsp_peer_stats ps[RIG_ENGINES];
    struct cv_endpoint ep = rig_endpoint(r, peer);
    size_t n = ppsp_peers(r->engine[0], r->swarm[0], ps, RIG_ENGINES);
    for (size_t i = 0; i < n; i++)
        if (cv_endpoint_equal(&ps[i].endpoint, &ep))
            return ps[i].cwnd;
    return 0;
}

/* clang-format off */
static const struct {
    const char *name;
    bool circuits, cut;     /* cut: the seeder has not noticed that the first is gone */
    cv_usec later;
    bool inherits;
} legacies[] = {
    { "a circuit ends, another comes at once", true,  false, CV_MSEC(100), true },
    { "nine seconds later",                    true,  false, CV_SEC(9),    true },
    { "eleven seconds later",                  true,  false, CV_SEC(11),   false },
    { "cut, and not noticed yet",              true,  true,  CV_SEC(3),    true },
    { "addresses are others",                  false, false, CV_MSEC(100), false },
};
/* clang-format on */

static unsigned deaf; /* nothing reaches this one, or comes from it; 0: all is well */

static bool cut(struct rig *r, unsigned from, unsigned to, uint8_t *data, size_t len) {
    (void)r, (void)data, (void)len;
    return !deaf || (from != deaf && to != deaf);
}

Test(ppsp_peers, who_takes_the_place_of_a_cut_circuit_begins_with_half_its_window) {
    for (size_t row = 0; row < sizeof legacies / sizeof *legacies; row++) {
        struct rig *r = rig_new(1, 12000 * 1024, 1024, CV_SHA256);
        r->circuits = legacies[row].circuits;
        r->config.open = !r->circuits;
        r->delay = CV_MSEC(40);
        r->tap = cut;
        deaf = 0;
        rig_add(r, true);
        for (unsigned i = 1; i <= 3; i++)
            rig_add(r, false);
        rig_connect(r, 0, 1, false);
        rig_connect(r, 1, 0, true);
        rig_run(r, CV_SEC(1));
        uint64_t had = window_to(r, 1);
        cr_assert_gt(had, 40000, "%s: it never grew: %lu", legacies[row].name, had);
        struct cv_endpoint first = rig_endpoint(r, 1);
        deaf = 1;
        if (!legacies[row].cut)
            ppsp_peer_remove(r->engine[0], rig_now(r), &first, false);
        rig_run(r, legacies[row].later);
        for (unsigned i = 2; i <= 3; i++) { /* the second of these inherits nothing */
            rig_connect(r, 0, i, false);
            rig_connect(r, i, 0, true);
            uint64_t got = 0;
            for (unsigned ms = 0; ms < 1000 && !got; ms++) {
                rig_run(r, CV_MSEC(1));
                got = window_to(r, i);
            }
            bool inherits = legacies[row].inherits && i == 2;
            cr_expect(inherits ? got >= had / 2 && got <= had : got > 0 && got < 10000,
                      "%s, number %u: %lu of %lu", legacies[row].name, i, got, had);
        }
        rig_free(r);
    }
}
