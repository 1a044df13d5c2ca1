/* Live swarms: broadcasts that arrive, and the rules of sections 6, 7.7 and 7.9. */
#include "live_rig.h"
#include "support/suite.h"

CV_SUITE(ppsp_live, .init = cv_crypto_init);

Test(ppsp_live, R6_1_1_R6_1_2_a_broadcast_arrives_with_every_algorithm_and_method) {
    static const enum cv_dnssec_alg algs[] = {CV_DNSSEC_RSASHA1, CV_DNSSEC_RSASHA256,
                                              CV_DNSSEC_ECDSAP256SHA256, CV_DNSSEC_ECDSAP384SHA384,
                                              CV_DNSSEC_ED25519};
    for (unsigned i = 0; i < sizeof algs / sizeof *algs; i++)
        for (int all = 0; all <= 1; all++) {
            struct live_rig *l = live_new(1 + i, algs[i], 32, 512);
            if (all)
                l->rig->config.integrity = PPSP_INTEGRITY_SIGN_ALL;
            live_injector(l);
            rig_add(l->rig, false);
            cr_assert_eq(rig_connect(l->rig, 1, 0, true), CV_ERR_OK);
            live_broadcast(l, 8, 32, CV_MSEC(100));
            rig_run(l->rig, CV_SEC(1));
            const struct ppsp_event *tuned = live_event(l, 1, PPSP_EVENT_LIVE_TUNED);
            cr_assert(tuned, "%d", (int)algs[i]);
            cr_expect_lt(tuned->first, 64, "%d %d", (int)algs[i], all);
            cr_expect(live_has(l, 1, tuned->first, 255), "%d %d", (int)algs[i], all);
            cr_expect_eq(live_counters(l, 1)->drop_munro_bad, 0);
            live_free(l);
        }
}

Test(ppsp_live, every_addressing_method_to_the_end) {
    static const enum ppsp_addressing methods[] = {PPSP_ADDRESSING_BIN32, PPSP_ADDRESSING_BYTE64,
                                                   PPSP_ADDRESSING_CHUNK32, PPSP_ADDRESSING_BIN64,
                                                   PPSP_ADDRESSING_CHUNK64};
    for (unsigned i = 0; i < sizeof methods / sizeof *methods; i++) {
        struct live_rig *l = live_new(40 + i, CV_DNSSEC_ED25519, 32, 512);
        struct rig *r = l->rig;
        r->config.addressing = methods[i];
        live_injector(l);
        rig_add(r, false);
        rig_connect(r, 1, 0, true);
        live_broadcast(l, 6, 32, CV_MSEC(50));
        live_inject(l, 5);
        cr_assert_eq(ppsp_inject(r->engine[0], rig_now(r), r->swarm[0],
                                 r->content + l->said * LIVE_CHUNK, 100),
                     CV_ERR_OK);
        cr_assert_eq(ppsp_inject_end(r->engine[0], rig_now(r), r->swarm[0]), CV_ERR_OK);
        rig_run(r, CV_SEC(2));
        const struct ppsp_event *tuned = live_event(l, 1, PPSP_EVENT_LIVE_TUNED);
        cr_assert(tuned, "%d", (int)methods[i]);
        cr_expect(live_has(l, 1, tuned->first, 196), "%d", (int)methods[i]);
        cr_expect_eq(rig_events(r, 1, PPSP_EVENT_COMPLETE), 1, "%d", (int)methods[i]);
        live_free(l);
    }
}

Test(ppsp_live, every_width_of_munro) {
    static const uint32_t widths[] = {2, 4, 16, 32, 128};
    for (unsigned i = 0; i < sizeof widths / sizeof *widths; i++) {
        struct live_rig *l = live_new(10 + i, CV_DNSSEC_ED25519, widths[i], 1024);
        live_injector(l);
        rig_add(l->rig, false);
        rig_connect(l->rig, 1, 0, true);
        live_broadcast(l, 256 / widths[i], widths[i], CV_MSEC(50));
        rig_run(l->rig, CV_SEC(1));
        const struct ppsp_event *tuned = live_event(l, 1, PPSP_EVENT_LIVE_TUNED);
        cr_assert(tuned, "%u", widths[i]);
        cr_expect(live_has(l, 1, tuned->first, 255), "%u", widths[i]);
        live_free(l);
    }
}

Test(ppsp_live, viewers_give_on_what_they_got) {
    struct live_rig *l = live_new(20, CV_DNSSEC_ED25519, 32, 1024);
    live_injector(l);
    rig_add(l->rig, false);
    rig_add(l->rig, false); /* knows the first viewer only */
    rig_connect(l->rig, 1, 0, true);
    rig_connect(l->rig, 2, 1, true);
    live_broadcast(l, 16, 32, CV_MSEC(100));
    rig_run(l->rig, CV_SEC(1));
    const struct ppsp_event *tuned = live_event(l, 2, PPSP_EVENT_LIVE_TUNED);
    cr_assert(tuned);
    cr_expect(live_has(l, 2, tuned->first, 511));
    live_free(l);
}

Test(ppsp_live, who_comes_late_begins_at_the_edge_and_events_tell_it) {
    struct live_rig *l = live_new(21, CV_DNSSEC_ED25519, 32, 1024);
    live_injector(l);
    live_broadcast(l, 10, 32, CV_MSEC(50));
    rig_add(l->rig, false);
    rig_connect(l->rig, 1, 0, true);
    rig_run(l->rig, CV_MSEC(200));
    live_broadcast(l, 4, 32, CV_MSEC(50));
    rig_run(l->rig, CV_SEC(1));
    const struct ppsp_event *tuned = live_event(l, 1, PPSP_EVENT_LIVE_TUNED);
    cr_assert(tuned);
    cr_expect_eq(tuned->first, 9 * 32);
    cr_expect(live_has(l, 1, 9 * 32, 14 * 32 - 1));
    const struct ppsp_event *ready = live_event(l, 1, PPSP_EVENT_CHUNKS_READY);
    cr_assert(ready);
    cr_expect_eq(ready->edge, 14 * 32);
    live_free(l);
}

Test(ppsp_live, the_window_slides_at_everybody) {
    struct live_rig *l = live_new(22, CV_DNSSEC_ED25519, 32, 4096);
    l->viewer.window = l->injector.window = 1024;
    live_injector(l);
    rig_add(l->rig, false);
    rig_connect(l->rig, 1, 0, true);
    live_broadcast(l, 100, 32, CV_MSEC(40));
    rig_run(l->rig, CV_SEC(1));
    for (unsigned i = 0; i < 2; i++) {
        cr_expect(live_has(l, i, 3200 - 1024, 3199), "%u", i);
        cr_expect_not(ppsp_has(l->rig->engine[i], l->rig->swarm[i], 3200 - 1024 - 1, 3200 - 1024));
    }
    live_free(l);
}

/* A broadcast of so many octets ends; what it has become is checked against the
 * static content of the same octets. */
static void ends(uint64_t octets, uint64_t seed) {
    struct live_rig *l = live_new(seed, CV_DNSSEC_ED25519, 32, 512);
    struct rig *r = l->rig;
    live_injector(l);
    rig_add(r, false);
    rig_connect(r, 1, 0, true);
    rig_run(r, CV_MSEC(100));
    uint64_t whole = octets / LIVE_CHUNK, rest = octets % LIVE_CHUNK;
    for (uint64_t i = 0; i < whole; i += 32) {
        live_inject(l, whole - i < 32 ? whole - i : 32);
        rig_run(r, CV_MSEC(50));
    }
    if (rest)
        cr_assert_eq(ppsp_inject(r->engine[0], rig_now(r), r->swarm[0],
                                 r->content + whole * LIVE_CHUNK, rest),
                     CV_ERR_OK);
    uint8_t root[CV_SHA_MAX], want[CV_SHA_MAX];
    cr_expect_not(ppsp_live_root(r->engine[0], r->swarm[0], root));
    cr_assert_eq(ppsp_inject_end(r->engine[0], rig_now(r), r->swarm[0]), CV_ERR_OK);
    cr_expect_eq(ppsp_inject(r->engine[0], rig_now(r), r->swarm[0], r->content, 1), CV_ERR_INVAL);
    rig_run(r, CV_SEC(2));
    struct rig_store st;
    rig_store_init(&st, LIVE_CHUNK, 32, octets);
    rig_store_fill(&st, CV_SHA256, r->content, octets, want);
    cr_assert(ppsp_live_root(r->engine[0], r->swarm[0], root), "%d", (int)octets);
    cr_expect_arr_eq(root, want, 32, "%d", (int)octets);
    const struct ppsp_event *end = live_event(l, 1, PPSP_EVENT_LIVE_ENDED);
    cr_assert(end, "%d", (int)octets);
    cr_expect_eq(end->last, st.size.chunks, "%d", (int)octets);
    cr_expect_eq(rig_events(r, 1, PPSP_EVENT_COMPLETE), 1, "%d", (int)octets);
    cr_expect_eq(r->store[1].size.octets, octets, "%d", (int)octets);
    const struct ppsp_event *tuned = live_event(l, 1, PPSP_EVENT_LIVE_TUNED);
    cr_expect_eq(memcmp(r->store[1].content + tuned->first * LIVE_CHUNK,
                        r->content + tuned->first * LIVE_CHUNK, octets - tuned->first * LIVE_CHUNK),
                 0, "%d", (int)octets);
    cr_expect_eq(live_counters(l, 1)->peers_dropped_bad, 0);
    rig_store_done(&st);
    live_free(l);
}

Test(ppsp_live, the_end_is_told_by_padding_and_the_whole_has_the_root_of_static_content) {
    static const uint64_t chunks[] = {1, 2, 5, 31, 32, 33, 64, 100, 160, 256, 300};
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        ends(chunks[i] * LIVE_CHUNK, 30 + i);
        ends(chunks[i] * LIVE_CHUNK - 100, 60 + i);
    }
}

/* A source that comes back under its key goes on behind all that it ever said. */
Test(ppsp_live, a_source_that_restarts_continues_the_same_swarm) {
    struct live_rig *l = live_new(23, CV_DNSSEC_ED25519, 32, 4096);
    live_injector(l);
    rig_add(l->rig, false);
    rig_connect(l->rig, 1, 0, true);
    live_broadcast(l, 5, 32, CV_MSEC(50));
    live_inject(l, 7); /* these are lost with it */
    struct rig *r = l->rig;
    cr_expect_eq(ppsp_inject_next(r->engine[0], r->swarm[0]), 160);
    r->engine[0] = ppsp_free(r->engine[0]);
    rig_run(r, CV_SEC(2));
    r->engine[0] = ppsp_new(NULL, &r->rng[0]);
    struct ppsp_swarm_config config = r->config;
    l->injector.next_chunk = 1024; /* numbers were set aside ahead */
    config.live = &l->injector;
    config.store_ctx = &r->store[0];
    cr_assert_eq(ppsp_swarm_open(r->engine[0], rig_now(r), &config, &r->swarm[0]), CV_ERR_OK);
    l->said = 1024;
    rig_connect(r, 0, 1, true);
    live_broadcast(l, 10, 32, CV_MSEC(50));
    rig_run(r, CV_SEC(6));
    live_broadcast(l, 10, 32, CV_MSEC(50));
    rig_run(r, CV_SEC(1));
    cr_expect(live_has(l, 1, 0, 159));
    cr_expect(live_has(l, 1, 1024 + 32, 1024 + 639));
    const struct ppsp_event *dropped = live_event(l, 1, PPSP_EVENT_LIVE_DROPPED);
    cr_assert(dropped); /* what was never said */
    cr_expect_eq(dropped->first, 160);
    cr_expect_geq(dropped->last, 1023);
    live_free(l);
}

/* Loses nearly all chunks on their way to engine 1. */
static bool starve(struct rig *r, unsigned from, unsigned to, uint8_t *data, size_t len) {
    (void)from, (void)data;
    return to != 1 || len < 1000 || cv_rng_below(&r->rng[RIG_ENGINES], 100) == 0;
}

Test(ppsp_live, a_viewer_that_is_too_slow_drops_to_the_edge) {
    struct live_rig *l = live_new(24, CV_DNSSEC_ED25519, 32, 8192);
    live_injector(l);
    rig_add(l->rig, false);
    rig_connect(l->rig, 1, 0, true);
    live_broadcast(l, 10, 32, CV_MSEC(50));
    l->rig->tap = starve;
    live_broadcast(l, 160, 32, CV_MSEC(50)); /* 8 s */
    const struct ppsp_event *dropped = live_event(l, 1, PPSP_EVENT_LIVE_DROPPED);
    cr_assert(dropped);
    cr_expect_eq(dropped->last % 32, 31);
    cr_expect_gt(live_counters(l, 1)->live_dropped, 0);
    l->rig->tap = NULL;
    live_broadcast(l, 60, 32, CV_MSEC(50));
    rig_run(l->rig, CV_SEC(5));
    live_broadcast(l, 10, 32, CV_MSEC(50));
    rig_run(l->rig, CV_SEC(1));
    cr_expect(live_has(l, 1, 235 * 32, 240 * 32 - 1)); /* it is with us again */
    live_free(l);
}

Test(ppsp_live, what_is_no_live_swarm_is_refused) {
    struct live_rig *l = live_new(25, CV_DNSSEC_ED25519, 32, 64);
    struct rig *r = l->rig;
    struct rig_store st;
    cv_handle h;
    rig_store_init(&st, LIVE_CHUNK, 32, 65536);
    r->engine[0] = ppsp_new(NULL, &r->rng[0]);
    for (int what = 0; what < 9; what++) {
        struct ppsp_live_config live = l->injector;
        struct ppsp_swarm_config c = r->config;
        c.live = &live;
        c.store_ctx = &st;
        switch (what) {
        case 1:
            c.live = NULL;
            break;
        case 2:
            live.munro_chunks = 24;
            break;
        case 3:
            live.munro_chunks = 1;
            break;
        case 4:
            live.next_chunk = 7;
            break;
        case 5:
            live.window = 100;
            break;
        case 6:
            c.id[0] = 16;
            break;
        case 7:
            c.id_len--;
            break;
        case 8:
            c.hash = (enum cv_sha)9;
            break;
        default:
            break;
        }
        enum cv_err err = ppsp_swarm_open(r->engine[0], rig_now(r), &c, &h);
        cr_expect_eq(err, what ? CV_ERR_INVAL : CV_ERR_OK, "%d", what);
        if (!err)
            ppsp_swarm_close(r->engine[0], rig_now(r), h);
    }
    ppsp_free(r->engine[0]);
    rig_store_done(&st);
    live_free(l);
}
