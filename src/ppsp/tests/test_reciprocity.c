/* Slots, ranks, lots: who is choked, and that nobody starves or is stuck. */
#include "support/suite.h"

#include "raw.h"

CV_SUITE(ppsp_reciprocity);

enum { VIEWERS = 6 };

/* One seeder of 300 KiB/s, engine 0, and six viewers that take all they get. */
static struct rig *swarm_of(uint64_t seed, uint32_t slots, uint64_t octets) {
    struct rig *r = rig_new(seed, octets, 1024, CV_SHA256);
    r->config.upload_limit = 300 * 1024;
    rig_add(r, true);
    r->config.upload_limit = 0;
    ppsp_swarm_slots(r->engine[0], rig_now(r), r->swarm[0], slots);
    for (unsigned i = 1; i <= VIEWERS; i++) {
        rig_add(r, false);
        rig_connect(r, i, 0, true);
    }
    return r;
}

static struct rig *swarm(uint32_t slots, uint64_t octets) {
    return swarm_of(1, slots, octets);
}

static uint64_t have(const struct rig *r, unsigned i) {
    struct ppsp_stats st = {0};
    (void)ppsp_stats(r->engine[i], r->swarm[i], &st);
    return st.chunks_have;
}

static unsigned choked(const struct rig *r) {
    struct ppsp_peer_stats ps[VIEWERS];
    size_t n = ppsp_peers(r->engine[0], r->swarm[0], ps, VIEWERS);
    unsigned k = 0;
    for (size_t i = 0; i < n; i++)
        k += ps[i].choked;
    return k;
}

static void rank(struct rig *r, unsigned viewer, uint32_t value) {
    struct cv_endpoint ep = rig_endpoint(r, viewer);
    ppsp_peer_rank(r->engine[0], rig_now(r), r->swarm[0], &ep, value);
}

Test(ppsp_reciprocity, without_slots_nobody_is_choked) {
    struct rig *r = swarm(0, 4000 * 1024);
    rig_run(r, CV_SEC(5));
    cr_expect_eq(choked(r), 0);
    for (unsigned i = 1; i <= VIEWERS; i++)
        cr_expect_gt(have(r, i), 100);
    rig_free(r);
}

Test(ppsp_reciprocity, slots_go_to_the_highest_rank_and_one_by_lot) {
    struct rig *r = swarm(2, 20000 * 1024);
    rig_run(r, CV_MSEC(100)); /* known, not yet given slots */
    rank(r, 3, 7);
    rank(r, 5, 9);
    rig_run(r, CV_SEC(4));
    cr_expect_eq(choked(r), VIEWERS - 3);
    uint64_t before[VIEWERS + 1], got[VIEWERS + 1], others = 0;
    for (unsigned i = 1; i <= VIEWERS; i++)
        before[i] = have(r, i);
    rig_run(r, CV_SEC(5));
    for (unsigned i = 1; i <= VIEWERS; i++) {
        got[i] = have(r, i) - before[i];
        others += i == 3 || i == 5 ? 0 : got[i];
    }
    cr_expect_gt(got[3], 350, "%lu", got[3]);
    cr_expect_gt(got[5], 350, "%lu", got[5]);
    cr_expect(others > 200 && others < 700, "one of four has a share: %lu", others);
    rig_free(r);
}

Test(ppsp_reciprocity, a_rank_that_changes_changes_the_slots) {
    struct rig *r = swarm(1, 20000 * 1024);
    rank(r, 1, 1);
    rig_run(r, CV_SEC(12));
    rank(r, 1, 0);
    rank(r, 2, 5);
    rig_run(r, CV_SEC(11));
    uint64_t before = have(r, 2);
    rig_run(r, CV_SEC(5));
    cr_expect_gt(have(r, 2) - before, 500);
    rig_free(r);
}

/* Each has had one before anybody has a second: after as many half minutes as there are
 * without rank, and one to begin with. */
Test(ppsp_reciprocity, lots_are_drawn_again_so_that_nobody_starves) {
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct rig *r = swarm_of(seed, 1, 40000 * 1024);
        rank(r, 1, 1);
        rig_run(r, CV_SEC(30 * VIEWERS));
        for (unsigned i = 2; i <= VIEWERS; i++)
            cr_expect_gt(have(r, i), 500, "seed %lu: viewer %u has %lu", seed, i, have(r, i));
        rig_free(r);
    }
}

Test(ppsp_reciprocity, who_is_complete_leaves_his_slot_and_all_get_everything) {
    struct rig *r = swarm(1, 600 * 1024);
    for (unsigned i = 1; i <= VIEWERS; i++)
        cr_expect(rig_run_complete(r, i, CV_SEC(200)), "viewer %u", i);
    rig_free(r);
}

static bool lose_half(struct rig *r, unsigned from, unsigned to, uint8_t *data, size_t len) {
    (void)to, (void)data, (void)len;
    return from != 0 || cv_rng_below(&r->rng[RIG_ENGINES], 2) == 0;
}

Test(ppsp_reciprocity, lost_chokes_and_unchokes_leave_nobody_stuck) {
    struct rig *r = swarm(1, 300 * 1024);
    r->tap = lose_half;
    for (unsigned i = 1; i <= VIEWERS; i++)
        cr_expect(rig_run_complete(r, i, CV_SEC(600)), "viewer %u", i);
    rig_free(r);
}

/* ---- octet by octet ---- */

/* Of what the engine said to anybody, the messages of a type that went to the raw peer. */
static size_t to_us(const struct raw *w, uint8_t type) {
    static struct raw_message m[RAW_MESSAGES];
    size_t n = raw_messages(w, m), k = 0;
    for (size_t i = 0; i < n; i++)
        k += m[i].type == type && raw_to(w, m[i].datagram) == w->ours;
    return k;
}

Test(ppsp_reciprocity, CHOKE_1_a_choked_peer_gets_nothing_and_is_told_again_when_it_asks) {
    struct rig *r = swarm(0, 4000 * 1024);
    rig_run(r, CV_MSEC(200)); /* all are there, and for long not done */
    struct raw *w = raw_new(r, 0);
    cr_assert(raw_call(w));
    cr_assert_eq(raw_send_hex(w, ""), CV_ERR_OK);
    raw_listen(w);
    for (unsigned i = 1; i <= VIEWERS; i++)
        rank(r, i, 5);
    bool is_choked = false;
    for (unsigned tries = 0; tries < 50 && !is_choked; tries++) { /* the lot may be ours */
        struct ppsp_peer_stats ps[VIEWERS + 1];
        ppsp_swarm_slots(r->engine[0], rig_now(r), r->swarm[0], 0);
        raw_listen(w);
        raw_clear(w);
        ppsp_swarm_slots(r->engine[0], rig_now(r), r->swarm[0], 1);
        raw_listen(w);
        size_t n = ppsp_peers(r->engine[0], r->swarm[0], ps, VIEWERS + 1);
        for (size_t i = 0; i < n; i++)
            is_choked |= ps[i].choked && cv_endpoint_equal(&ps[i].endpoint, &w->us);
    }
    cr_assert(is_choked);
    cr_expect_eq(to_us(w, PPSP_MSG_CHOKE), 1);
    raw_clear(w);
    uint64_t dropped = raw_counters(w)->drop_request_choked;
    for (unsigned i = 0; i < 20; i++) {
        cr_assert_eq(raw_send_hex(w, "08 00000000 0000000f"), CV_ERR_OK);
        raw_wait(w, CV_MSEC(100));
    }
    cr_expect_eq(to_us(w, PPSP_MSG_DATA), 0);
    size_t told = to_us(w, PPSP_MSG_CHOKE);
    cr_expect(told >= 1 && told <= 3, "%zu times in two seconds", told);
    cr_expect_eq(raw_counters(w)->drop_request_choked, dropped + 20);
    ppsp_swarm_slots(r->engine[0], rig_now(r), r->swarm[0], 0);
    raw_clear(w);
    raw_listen(w);
    cr_expect_gt(to_us(w, PPSP_MSG_UNCHOKE), 0);
    cr_assert_eq(raw_send_hex(w, "08 00000000 0000000f"), CV_ERR_OK);
    raw_wait(w, CV_MSEC(500));
    cr_expect_gt(to_us(w, PPSP_MSG_DATA), 0);
    free(w);
    rig_free(r);
}

/* With slots, who says that he has everything has no slot: he cannot take either. */
Test(ppsp_reciprocity, HAVE_of_everything_gets_nobody_served_without_a_slot) {
    struct rig *r = swarm(0, 4000 * 1024);
    rig_run(r, CV_MSEC(200));
    struct raw *w = raw_new(r, 0);
    cr_assert(raw_call(w));
    cr_assert_eq(raw_send_hex(w, "03 00000000 ffffffff"), CV_ERR_OK);
    raw_listen(w);
    ppsp_swarm_slots(r->engine[0], rig_now(r), r->swarm[0], 1);
    raw_wait(w, CV_SEC(2));
    raw_clear(w);
    cr_assert_eq(raw_send_hex(w, "08 00000000 0000000f"), CV_ERR_OK);
    raw_wait(w, CV_MSEC(500));
    cr_expect_eq(to_us(w, PPSP_MSG_DATA), 0);
    cr_expect_geq(raw_counters(w)->drop_request_choked, 1);
    free(w);
    rig_free(r);
}
