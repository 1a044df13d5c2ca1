/* Integrity method 0: only where it is meant, never with strangers of the open Internet. */
#include "raw.h"
#include "support/suite.h"

CV_SUITE(ppsp_unprotected);

enum { OCTETS = 70 * 1024 - 5 };

static struct rig *world(void) {
    struct rig *r = rig_new(1, OCTETS, 1024, CV_SHA256);
    r->config.integrity = PPSP_INTEGRITY_NONE;
    r->config.unprotected = true;
    r->config.length = OCTETS;
    return r;
}

static bool no_hashes(struct rig *r, unsigned from, unsigned to, uint8_t *data, size_t len) {
    (void)from, (void)to;
    *(unsigned *)r->tap_ctx += len > 4 && data[4] == PPSP_MSG_INTEGRITY;
    return cv_rng_below(&r->rng[RIG_ENGINES], 10) != 0;
}

Test(ppsp_unprotected, content_arrives_without_a_hash) {
    for (unsigned method = 0; method < 5; method++) {
        struct rig *r = world();
        unsigned hashes = 0;
        r->config.addressing = (enum ppsp_addressing)method;
        r->tap = no_hashes;
        r->tap_ctx = &hashes;
        rig_add(r, true);
        rig_add(r, false);
        rig_add(r, false); /* from the viewer */
        rig_connect(r, 1, 0, true);
        rig_connect(r, 2, 1, true);
        cr_expect(rig_run_complete(r, 1, CV_SEC(20)), "%u", method);
        cr_expect(rig_run_complete(r, 2, CV_SEC(20)), "%u", method);
        cr_expect(rig_equal(r, 1) && rig_equal(r, 2), "%u", method);
        cr_expect_eq(hashes, 0);
        rig_free(r);
    }
}

Test(ppsp_unprotected, what_came_is_there_again_after_a_restart) {
    struct rig *r = world();
    r->config.upload_limit = 10 * 1024;
    rig_add(r, true);
    rig_add(r, false);
    rig_connect(r, 1, 0, true);
    rig_run(r, CV_SEC(3));
    struct ppsp_stats st, again;
    cr_assert_eq(ppsp_stats(r->engine[1], r->swarm[1], &st), CV_ERR_OK);
    cr_assert(st.chunks_have > 0 && !st.complete);
    ppsp_swarm_close(r->engine[1], rig_now(r), r->swarm[1]);
    struct ppsp_swarm_config config = r->config;
    config.store_ctx = &r->store[1];
    cr_assert_eq(ppsp_swarm_open(r->engine[1], rig_now(r), &config, &r->swarm[1]), CV_ERR_OK);
    cr_assert_eq(ppsp_stats(r->engine[1], r->swarm[1], &again), CV_ERR_OK);
    cr_expect_geq(again.chunks_have, st.chunks_have);
    rig_free(r);
}

Test(ppsp_unprotected, is_refused_unless_it_is_meant_and_the_length_is_known) {
    struct rig *r = world();
    struct rig_store st;
    cv_handle h;
    rig_store_init(&st, 1024, 32, OCTETS);
    struct ppsp *p = ppsp_new(NULL, &r->rng[0]);
    struct ppsp_swarm_config c = r->config;
    c.store_ctx = &st;
    c.unprotected = false;
    cr_expect_eq(ppsp_swarm_open(p, rig_now(r), &c, &h), CV_ERR_INVAL);
    c.unprotected = true;
    c.length = 0;
    cr_expect_eq(ppsp_swarm_open(p, rig_now(r), &c, &h), CV_ERR_INVAL);
    c.length = OCTETS;
    cr_assert_eq(ppsp_swarm_open(p, rig_now(r), &c, &h), CV_ERR_OK);

    struct cv_addr public = {.ip = {11, 1, 2, 3}, .port = 7, .family = 4};
    struct cv_endpoint there = cv_endpoint_udp(&public), circuit = cv_endpoint_circuit(5, 1);
    struct ppsp_peer_props props = {.mtu = 1400, .initiate = true};
    cr_expect_eq(ppsp_peer_add(p, rig_now(r), h, &there, &props), CV_ERR_DENIED);
    cr_expect_eq(ppsp_peer_add(p, rig_now(r), h, &circuit, &props), CV_ERR_DENIED);
    ppsp_free(p);
    rig_store_done(&st);
    rig_free(r);
}

Test(ppsp_unprotected, strangers_with_public_addresses_meet_silence) {
    struct rig *r = world();
    rig_add(r, true);
    struct raw *w = raw_new(r, 0);
    struct cv_addr public = {.ip = {11, 1, 2, 3}, .port = 7, .family = 4};
    w->us = cv_endpoint_udp(&public);
    cr_expect_not(raw_call(w));
    cr_expect_eq(w->count, 0);
    w->us = rig_endpoint(r, RAW_PLACE);
    cr_expect(raw_call(w));
    struct ppsp_options o;
    cr_assert_neq(raw_handshake_in(w, 0, &o), 0);
    cr_expect_eq(o.integrity, 0);
    cr_expect_not(ppsp_options_has(&o, PPSP_OPT_HASH), "7.6: for method 1");
    free(w);
    rig_free(r);
}

/* What cannot be is not believed either. */
Test(ppsp_unprotected, a_chunk_of_another_length_ends_the_channel) {
    struct rig *r = world();
    rig_add(r, false);
    struct raw *w = raw_new(r, 0);
    cr_assert(raw_call(w));
    cr_assert_eq(raw_send_hex(w, "03 00000000 00000045"), CV_ERR_OK);
    raw_wait(w, CV_MSEC(50));
    struct raw_message m;
    cr_assert(raw_find(w, PPSP_MSG_REQUEST, 0, &m));
    struct cv_wr d = raw_datagram(w);
    struct ppsp_chunkspec spec = raw_spec(w);
    ppsp_data_write(
        &d, &spec, &(struct ppsp_data){.chunk = m.range.first, .content = r->content, .len = 1000});
    cr_expect_eq(raw_send(w, &d), CV_ERR_MALFORMED);
    cr_expect_eq(ppsp_peers(r->engine[0], r->swarm[0], NULL, 0), 0);
    free(w);
    rig_free(r);
}
