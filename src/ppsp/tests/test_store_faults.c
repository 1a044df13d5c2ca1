/* A store that is busy, full, broken, cut short, or belongs to something else. */
#include "support/suite.h"

#include "ppsp/engine.h"
#include "rig.h"

CV_SUITE(ppsp_store_faults);

static struct rig *pair(void) {
    struct rig *r = rig_new(1, 1000 * 1024, 1024, CV_SHA256);
    rig_add(r, true);
    rig_add(r, false);
    rig_connect(r, 1, 0, true);
    return r;
}

static enum cv_err store_error(const struct rig *r, unsigned i) {
    for (unsigned k = r->event_count[i]; k-- > 0;)
        if (r->events[i][k].type == PPSP_EVENT_STORE_ERROR)
            return r->events[i][k].err;
    return CV_ERR_OK;
}

Test(ppsp_store_faults, full_pauses_with_one_event_and_resumes) {
    struct rig *r = pair();
    r->store[0].write_err = CV_ERR_OK;
    ppsp_swarm_limits(r->engine[0], rig_now(r), r->swarm[0], 200 * 1024, 0);
    rig_run(r, CV_SEC(2));
    r->store[1].write_err = CV_ERR_FULL;
    rig_run(r, CV_SEC(20));
    struct ppsp_stats st;
    cr_assert_eq(ppsp_stats(r->engine[1], r->swarm[1], &st), CV_ERR_OK);
    cr_expect(st.paused);
    cr_expect(!st.complete);
    cr_expect_eq(rig_events(r, 1, PPSP_EVENT_STORE_ERROR), 1);
    cr_expect_eq(store_error(r, 1), CV_ERR_FULL);
    cr_expect_leq(st.wasted, 300 * 1024, "it stopped asking: %lu", (unsigned long)st.wasted);

    /* what it has it still gives */
    unsigned third = rig_add(r, false);
    rig_connect(r, third, 1, true);
    rig_run(r, CV_SEC(5));
    struct ppsp_stats other;
    cr_assert_eq(ppsp_stats(r->engine[third], r->swarm[third], &other), CV_ERR_OK);
    cr_expect_eq(other.chunks_have, st.chunks_have);

    r->store[1].write_err = CV_ERR_OK;
    ppsp_swarm_limits(r->engine[0], rig_now(r), r->swarm[0], 0, 0);
    ppsp_swarm_ready(r->engine[1], rig_now(r), r->swarm[1]);
    cr_expect(rig_run_complete(r, 1, CV_SEC(10)));
    cr_expect(rig_equal(r, 1));
    rig_free(r);
}

/* How many chunks there are has to be noted before the first is written. */
Test(ppsp_store_faults, no_room_for_the_size_pauses_or_is_tried_again) {
    static const enum cv_err errs[] = {CV_ERR_FULL, CV_ERR_AGAIN};
    for (size_t i = 0; i < sizeof errs / sizeof *errs; i++) {
        struct rig *r = pair();
        r->store[1].size_err = errs[i];
        rig_run(r, CV_SEC(2));
        struct ppsp_stats st;
        cr_assert_eq(ppsp_stats(r->engine[1], r->swarm[1], &st), CV_ERR_OK);
        cr_expect_eq(st.chunks_have, 0);
        cr_expect_eq(st.paused, errs[i] == CV_ERR_FULL);
        cr_expect_eq(rig_events(r, 1, PPSP_EVENT_STORE_ERROR), errs[i] == CV_ERR_FULL);
        r->store[1].size_err = CV_ERR_OK;
        if (errs[i] == CV_ERR_FULL)
            ppsp_swarm_ready(r->engine[1], rig_now(r), r->swarm[1]);
        cr_expect(rig_run_complete(r, 1, CV_SEC(15)));
        cr_expect(rig_equal(r, 1));
        rig_free(r);
    }
}

/* A chunk that was given up and comes late finds no room: it is still to be asked for. */
Test(ppsp_store_faults, a_late_chunk_without_room_is_not_taken_for_asked) {
    struct rig *r = rig_new(1, 1000 * 1024, 1024, CV_SHA256);
    rig_add(r, true); /* for its size */
    rig_add(r, false);
    struct ppsp_swarm *s = ppsp_swarm_find(r->engine[1], r->swarm[1]);
    r->config.length = r->octets_content;
    cr_assert(ppsp_swarm_size_proven(s, r->now, 1000));
    r->store[1].write_err = CV_ERR_AGAIN;
    enum cv_err err = CV_ERR_OK;
    uint64_t chunk = 0;
    for (; !err && chunk < 1000; chunk += 2)
        err = ppsp_stage_add(s, r->now, chunk, r->content + chunk * 1024, 1024);
    cr_assert_eq(err, CV_ERR_AGAIN);
    cr_expect(!ppsp_chunkset_has(&s->taken, chunk - 2));
    cr_expect(ppsp_chunkset_has(&s->taken, chunk - 4));
    rig_free(r);
}

Test(ppsp_store_faults, content_that_was_changed_is_not_given_away) {
    struct rig *r = pair();
    ppsp_swarm_limits(r->engine[0], rig_now(r), r->swarm[0], 200 * 1024, 0);
    rig_run(r, CV_SEC(2));
    r->store[0].read_err = CV_ERR_CORRUPT;
    rig_run(r, CV_SEC(1));
    struct ppsp_stats st, later;
    cr_assert_eq(ppsp_stats(r->engine[1], r->swarm[1], &st), CV_ERR_OK);
    cr_expect_eq(rig_events(r, 0, PPSP_EVENT_STORE_ERROR), 1);
    cr_expect_eq(store_error(r, 0), CV_ERR_CORRUPT);
    r->store[0].read_err = CV_ERR_OK;
    rig_run(r, CV_SEC(10));
    cr_assert_eq(ppsp_stats(r->engine[1], r->swarm[1], &later), CV_ERR_OK);
    cr_expect_eq(later.chunks_have, st.chunks_have);
    cr_expect_eq(rig_events(r, 0, PPSP_EVENT_STORE_ERROR), 1);
    rig_free(r);
}

/* What could not be read was not sent: nothing of the limit is used up. */
Test(ppsp_store_faults, what_cannot_be_read_costs_nothing_of_the_limit) {
    struct rig *r = pair();
    ppsp_swarm_limits(r->engine[0], rig_now(r), r->swarm[0], 8 * 1024, 0);
    rig_run(r, CV_SEC(2));
    r->store[0].read_err = CV_ERR_AGAIN;
    struct ppsp_swarm *s = ppsp_swarm_find(r->engine[0], r->swarm[0]);
    const struct ppsp_channel *c = TAILQ_FIRST(&s->channels);
    rig_run(r, CV_SEC(2)); /* what there is now is taken once, and kept */
    for (unsigned ms = 0; ms < 3000; ms++) {
        rig_run(r, CV_MSEC(1));
        (void)cv_tokenbucket_take(&s->upload, r->now, 0);
        cr_assert_eq(s->upload.level, s->upload.burst, "after %u ms", ms);
        cr_assert_leq(c->saved, 4 * 1024 + 1023);
    }
    uint64_t had = s->up;
    r->store[0].read_err = CV_ERR_OK;
    rig_run(r, CV_SEC(1));
    cr_expect_gt(s->up, had + 8 * 1024, "%lu", s->up - had);
    cr_expect_leq(s->up, had + (8 + 8 + 4 + 1) * 1024, "%lu", s->up - had);
    rig_free(r);
}

Test(ppsp_store_faults, busy_is_waited_for) {
    struct rig *r = pair();
    ppsp_swarm_limits(r->engine[0], rig_now(r), r->swarm[0], 300 * 1024, 0);
    for (unsigned i = 0; i < 400 && !rig_complete(r, 1); i++) {
        r->store[1].write_err = i % 3 == 0 ? CV_ERR_AGAIN : CV_ERR_OK;
        r->store[1].tree_err = i % 7 == 0 ? CV_ERR_AGAIN : CV_ERR_OK;
        r->store[0].read_err = i % 5 == 0 ? CV_ERR_AGAIN : CV_ERR_OK;
        r->store[0].tree_err = i % 11 == 0 ? CV_ERR_AGAIN : CV_ERR_OK;
        rig_run(r, CV_MSEC(50));
    }
    cr_expect(rig_complete(r, 1));
    cr_expect(rig_equal(r, 1));
    cr_expect_eq(store_error(r, 1), CV_ERR_OK);
    rig_free(r);
}

/* What is under way when the store becomes busy waits; more is not asked for. */
Test(ppsp_store_faults, nothing_is_thrown_away_while_busy) {
    struct rig *r = pair();
    ppsp_swarm_limits(r->engine[0], rig_now(r), r->swarm[0], 500 * 1024, 0);
    for (unsigned i = 0; i < 200 && !rig_complete(r, 1); i++) {
        r->store[1].write_err = i % 3 ? CV_ERR_AGAIN : CV_ERR_OK;
        rig_run(r, CV_MSEC(30));
    }
    cr_expect(rig_complete(r, 1));
    const struct ppsp_counters *c = ppsp_counters(r->engine[1]);
    cr_expect_eq(c->drop_data_store, 0);
    cr_expect_eq(c->drop_data_duplicate, 0);
    rig_free(r);
}

Test(ppsp_store_faults, a_broken_store_is_told) {
    struct rig *r = pair();
    r->store[1].write_err = CV_ERR_STORE;
    rig_run(r, CV_SEC(5));
    cr_expect_eq(store_error(r, 1), CV_ERR_STORE);
    struct ppsp_stats st;
    cr_assert_eq(ppsp_stats(r->engine[1], r->swarm[1], &st), CV_ERR_OK);
    cr_expect_eq(st.chunks_have, 0);
    rig_free(r);
}

/* The seeder's disk fails: the viewer gets nothing, and nothing breaks. */
Test(ppsp_store_faults, a_seeder_that_cannot_read) {
    struct rig *r = pair();
    r->store[0].read_err = CV_ERR_STORE;
    rig_run(r, CV_SEC(20));
    cr_expect(!rig_complete(r, 1));
    cr_expect_eq(rig_events(r, 0, PPSP_EVENT_STORE_ERROR), 1, "said once");
    cr_expect_eq(store_error(r, 0), CV_ERR_STORE);
    cr_expect_leq(r->store[0].reads, 60, "%u attempts in 20 s", r->store[0].reads);
    r->store[0].read_err = CV_ERR_OK;
    cr_expect(rig_run_complete(r, 1, CV_SEC(60)));
    rig_free(r);
}

Test(ppsp_store_faults, goes_on_where_it_stopped) {
    struct rig *r = pair();
    ppsp_swarm_limits(r->engine[0], rig_now(r), r->swarm[0], 200 * 1024, 0);
    rig_run(r, CV_SEC(2));
    struct ppsp_stats st;
    cr_assert_eq(ppsp_stats(r->engine[1], r->swarm[1], &st), CV_ERR_OK);
    cr_expect(st.chunks_have > 100 && !st.complete);
    ppsp_swarm_close(r->engine[1], rig_now(r), r->swarm[1]);
    cr_expect_geq(r->store[1].commits, 1);
    rig_run(r, CV_SEC(1));
    unsigned writes = r->store[1].writes;
    struct ppsp_swarm_config config = r->config;
    config.store_ctx = &r->store[1];
    cr_assert_eq(ppsp_swarm_open(r->engine[1], rig_now(r), &config, &r->swarm[1]), CV_ERR_OK);
    struct ppsp_stats again;
    cr_assert_eq(ppsp_stats(r->engine[1], r->swarm[1], &again), CV_ERR_OK);
    cr_expect_eq(again.chunks_have, st.chunks_have);
    ppsp_swarm_limits(r->engine[0], rig_now(r), r->swarm[0], 0, 0);
    rig_connect(r, 1, 0, true);
    cr_expect(rig_run_complete(r, 1, CV_SEC(10)));
    cr_expect(rig_equal(r, 1));
    cr_assert_eq(ppsp_stats(r->engine[1], r->swarm[1], &again), CV_ERR_OK);
    cr_expect_eq(again.down, (1000 - st.chunks_have) * 1024, "nothing was fetched twice");
    cr_expect_gt(r->store[1].writes, writes);
    rig_free(r);
}

Test(ppsp_store_faults, a_store_of_something_else_is_refused) {
    struct rig *r = rig_new(1, 100 * 1024, 1024, CV_SHA256);
    unsigned i = rig_add(r, true);
    ppsp_swarm_close(r->engine[i], rig_now(r), r->swarm[i]);
    struct ppsp_swarm_config config = r->config;
    config.store_ctx = &r->store[i];
    config.id[0] ^= 1;
    cv_handle h = 77;
    cr_expect_eq(ppsp_swarm_open(r->engine[i], rig_now(r), &config, &h), CV_ERR_CORRUPT);
    cr_expect_eq(h, 77);
    rig_free(r);
}

Test(ppsp_store_faults, metadata_that_is_not_spoken_is_refused) {
    struct rig *r = rig_new(1, 100 * 1024, 1024, CV_SHA256);
    unsigned i = rig_add(r, true);
    struct ppsp_swarm_config good = r->config, bad;
    cv_handle h;
    good.store_ctx = &r->store[i];
    cr_expect_eq(ppsp_swarm_open(r->engine[i], rig_now(r), &good, &h), CV_ERR_EXIST);
    good.id[5] ^= 1;
#define REFUSED(change)                                                                            \
    bad = good;                                                                                    \
    bad.change;                                                                                    \
    cr_expect_eq(ppsp_swarm_open(r->engine[i], rig_now(r), &bad, &h), CV_ERR_INVAL, #change)
    REFUSED(integrity = PPSP_INTEGRITY_NONE);
    REFUSED(integrity = PPSP_INTEGRITY_UNIFIED);
    REFUSED(addressing = (enum ppsp_addressing)5);
    REFUSED(chunk_size = 0);
    REFUSED(chunk_size = 511);
    REFUSED(chunk_size = UINT32_MAX);
    REFUSED(id_len = 20);
    REFUSED(id_len = 0);
    REFUSED(store = NULL);
    rig_free(r);
}

/* 32-bit ranges name 2^32 chunks and no more. */
Test(ppsp_store_faults, content_too_long_for_its_addressing_is_refused) {
    struct rig *r = rig_new(1, 100 * 1024, 1024, CV_SHA256);
    unsigned i = rig_add(r, false);
    struct ppsp_swarm_config config = r->config;
    cv_handle h;
    config.store_ctx = &r->store[i];
    config.id[5] ^= 1;
    config.length = ((uint64_t)1 << 42) + 1;
    cr_expect_eq(ppsp_swarm_open(r->engine[i], rig_now(r), &config, &h), CV_ERR_INVAL);
    config.length = (uint64_t)1 << 42; /* chunk 2^32 - 1 is the last */
    cr_expect_eq(ppsp_swarm_open(r->engine[i], rig_now(r), &config, &h), CV_ERR_OK);
    rig_free(r);
}

Test(ppsp_store_faults, commits_when_complete_and_after_a_while) {
    struct rig *r = pair();
    ppsp_swarm_limits(r->engine[0], rig_now(r), r->swarm[0], 100 * 1024, 0);
    rig_run(r, CV_SEC(5));
    cr_expect(r->store[1].commits >= 1 && r->store[1].commits <= 3, "%u", r->store[1].commits);
    ppsp_swarm_limits(r->engine[0], rig_now(r), r->swarm[0], 0, 0);
    unsigned before = r->store[1].commits;
    cr_expect(rig_run_complete(r, 1, CV_SEC(5)));
    cr_expect_gt(r->store[1].commits, before);
    rig_free(r);
}

/* Nobody is blamed for what our own disk did. */
Test(ppsp_store_faults, a_damaged_hash_costs_no_honest_peer_and_is_mended) {
    struct rig *r = pair();
    ppsp_swarm_limits(r->engine[0], rig_now(r), r->swarm[0], 200 * 1024, 0);
    rig_run(r, CV_SEC(2));
    cr_assert(!rig_complete(r, 1));
    ppsp_swarm_close(r->engine[1], rig_now(r), r->swarm[1]);
    rig_run(r, CV_SEC(1));
    /* The root of a group of which nothing is here, beside one of which something is. */
    struct rig_store *st = &r->store[1];
    uint64_t bad = 0;
    for (uint64_t g = 0; g < 62 && !bad; g++) {
        uint64_t other = g ^ 1;
        bool here = st->have[g / 4] >> (g % 4 * 16) & 0xffff;
        bool there = st->have[other / 4] >> (other % 4 * 16) & 0xffff;
        bad = !here && there ? ppsp_bin_at(4, g) : 0;
    }
    cr_assert(bad);
    st->tree[bad * 32 + 9] ^= 0x10;
    struct ppsp_swarm_config config = r->config;
    config.store_ctx = st;
    cr_assert_eq(ppsp_swarm_open(r->engine[1], rig_now(r), &config, &r->swarm[1]), CV_ERR_OK);
    ppsp_swarm_limits(r->engine[0], rig_now(r), r->swarm[0], 0, 0);
    rig_connect(r, 1, 0, true);
    cr_expect(rig_run_complete(r, 1, CV_SEC(20)));
    cr_expect(rig_equal(r, 1));
    cr_expect_eq(ppsp_counters(r->engine[1])->peers_dropped_bad, 0);
    cr_expect_arr_eq(st->tree + bad * 32, r->store[0].tree + bad * 32, 32);
    rig_free(r);
}
