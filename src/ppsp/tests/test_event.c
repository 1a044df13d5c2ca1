/* What must not be lost when nobody listens, and the order of what is told. */
#include "ppsp/limits.h"
#include "raw.h"
#include "support/suite.h"

CV_SUITE(ppsp_event);

/* A viewer of one chunk whose owner drains nothing, and a peer that comes and goes. */
Test(ppsp_event, what_is_told_once_is_not_lost) {
    struct rig *r = rig_new(1, 700, 1024, CV_SHA256);
    struct rig_store full;
    uint8_t root[CV_SHA_MAX];
    rig_store_init(&full, 1024, 32, 700);
    rig_store_fill(&full, CV_SHA256, r->content, 700, root);
    rig_add(r, false);
    struct raw *w = raw_new(r, 0);
    for (unsigned i = 0; i < PPSP_EVENTS; i++) { /* each takes the place of its old self */
        w->ours++;
        cr_assert(raw_call(w));
        cr_assert_eq(raw_send_hex(w, ""), CV_ERR_OK);
    }
    cr_assert_gt(raw_counters(w)->events_lost, 0);
    cr_assert_eq(raw_send_hex(w, "03 00000000 00000000"), CV_ERR_OK);
    raw_wait(w, CV_MSEC(50));
    struct cv_wr d = raw_datagram(w);
    raw_put_data(w, &d, &full, 0, 1);
    cr_assert_eq(raw_send(w, &d), CV_ERR_OK);
    raw_wait(w, CV_MSEC(50));
    struct ppsp_event ev;
    unsigned told = 0, at_size = 0, at_complete = 0;
    while (ppsp_poll_event(r->engine[0], &ev)) {
        told++;
        if (ev.type == PPSP_EVENT_SIZE_KNOWN) {
            at_size = told;
            cr_expect_eq(ev.octets, 700);
        }
        if (ev.type == PPSP_EVENT_COMPLETE)
            at_complete = told;
    }
    cr_expect_eq(at_size, 1);
    cr_expect_eq(at_complete, told);
    cr_expect_eq(told, PPSP_EVENTS + 2);
    cr_expect_not(ppsp_poll_event(r->engine[0], &ev));
    rig_store_done(&full);
    free(w);
    rig_free(r);
}

Test(ppsp_event, a_closed_swarm_tells_nothing) {
    struct rig *r = rig_new(1, 700, 1024, CV_SHA256);
    rig_add(r, true);
    unsigned i = rig_add(r, false);
    struct ppsp_event ev;
    struct ppsp_stats st = {0};
    rig_connect(r, i, 0, true);
    /* by hand, so that nobody takes its events */
    for (unsigned k = 0; k < 50 && !st.complete; k++) {
        rig_deliver(r);
        for (unsigned e = 0; e < 2; e++) {
            ppsp_on_timeout(r->engine[e], rig_now(r));
            cv_batch_clear(&r->batch);
            (void)ppsp_poll_transmit(r->engine[e], rig_now(r), &r->batch);
            for (uint32_t q = 0; q < r->batch.runs_used; q++)
                for (uint16_t n = 0; n < r->runs[q].count; n++)
                    rig_send(r, e, 1 - e, cv_batch_at(&r->batch, &r->runs[q], n), r->runs[q].size);
        }
        r->now += CV_MSEC(1);
        cr_assert_eq(ppsp_stats(r->engine[i], r->swarm[i], &st), CV_ERR_OK);
    }
    cr_assert(st.complete);
    ppsp_swarm_close(r->engine[i], rig_now(r), r->swarm[i]);
    cr_expect_not(ppsp_poll_event(r->engine[i], &ev));
    rig_free(r);
}
