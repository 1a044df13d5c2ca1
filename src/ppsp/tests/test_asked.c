/* Swarms that are opened when somebody calls them. */
#include "support/suite.h"

#include "ppsp/limits.h"
#include "rig.h"

CV_SUITE(ppsp_asked);

/* A seeder that has nothing open, and a viewer that calls it. */
static struct rig *asleep(bool tells) {
    struct rig *r = rig_new(1, 300 * 1024, 1024, CV_SHA256);
    rig_add(r, true);
    rig_add(r, false);
    struct ppsp_config config = ppsp_defaults;
    config.tell_asked = tells;
    ppsp_free(r->engine[0]);
    r->engine[0] = ppsp_new(&config, &r->rng[0]);
    rig_connect(r, 1, 0, true);
    return r;
}

Test(ppsp_asked, the_owner_opens_what_is_called_and_the_caller_gets_it) {
    struct rig *r = asleep(true);
    rig_run(r, CV_MSEC(100));
    cr_assert_eq(rig_events(r, 0, PPSP_EVENT_ASKED), 1);
    const struct ppsp_event *ev = &r->events[0][0];
    struct cv_endpoint viewer = rig_endpoint(r, 1);
    cr_expect_eq(ev->id_len, 32);
    cr_expect_arr_eq(ev->id, r->root, 32);
    cr_expect(cv_endpoint_equal(&ev->endpoint, &viewer));
    cr_expect_eq(ppsp_counters(r->engine[0])->datagrams_out, 0, "R3.1.6: nothing at all");

    struct ppsp_swarm_config config = r->config;
    config.store_ctx = &r->store[0];
    cr_assert_eq(ppsp_swarm_open(r->engine[0], rig_now(r), &config, &r->swarm[0]), CV_ERR_OK);
    cr_expect(rig_run_complete(r, 1, CV_SEC(2)));
    cr_expect(rig_equal(r, 1));
    rig_free(r);
}

Test(ppsp_asked, nobody_is_told_who_did_not_wish_it) {
    struct rig *r = asleep(false);
    rig_run(r, CV_SEC(2));
    cr_expect_eq(r->event_count[0], 0);
    rig_free(r);
}

Test(ppsp_asked, made_up_calls_displace_no_other_event) {
    struct rig *r = asleep(true);
    uint8_t call[] = {0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 1, 1, 2, 0, 4, 1, 2, 3, 4, 255};
    struct cv_endpoint from = rig_endpoint(r, 3);
    struct ppsp_event ev;
    unsigned told = 0;
    for (unsigned i = 0; i < 2 * PPSP_EVENTS; i++) {
        call[16] = (uint8_t)i;
        call[17] = (uint8_t)(i >> 8);
        cr_expect_eq(ppsp_on_datagram(r->engine[0], rig_now(r), &from, call, sizeof call),
                     CV_ERR_NOENT);
    }
    while (ppsp_poll_event(r->engine[0], &ev))
        told += ev.type == PPSP_EVENT_ASKED && ev.id_len == 4;
    cr_expect_eq(told, PPSP_ASKED);
    cr_expect_eq(ppsp_counters(r->engine[0])->events_lost, 0);
    ppsp_on_datagram(r->engine[0], rig_now(r), &from, call, sizeof call);
    cr_expect(ppsp_poll_event(r->engine[0], &ev), "told again when the others were taken");
    rig_free(r);
}
