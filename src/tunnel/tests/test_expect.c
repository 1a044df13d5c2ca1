/*
 * Datagrams that are announced before they come: with and without that a relay does the
 * same, octet by octet, and what was announced is not taken for what came.
 */
#include "base/watched.h"
#include "support/suite.h"
#include "tunnel/hop.h"
#include "tunnel/tests/world.h"

CV_SUITE(tun_expect);

enum { CELLS = 24, SENT_MAX = 64 };

struct sent {
    uint8_t octets[SENT_MAX][TUN_DATAGRAM];
    unsigned n;
};

static const unsigned chain[] = {0, 1};

/* What a node has to say to whom it may concern. */
static void poll(struct world *w, unsigned node, struct sent *ret) {
    struct cv_run runs[SENT_MAX];
    struct cv_now now = world_now(w, node);
    struct cv_batch b = cv_batch_init(ret->octets[0], SENT_MAX, TUN_DATAGRAM, 0, runs, SENT_MAX);
    cr_assert_not(tun_poll_transmit(w->node[node].t, &now, &b));
    ret->n = 0;
    for (unsigned i = 0; i < b.runs_used; i++)
        ret->n += runs[i].count;
}

/* Cells of two circuits through relay 0, on their way to it. */
static struct world *on_their_way(struct sent *ret) {
    struct world *w = world_new(&(struct sim_config){.seed = 3});
    world_relay(w, NULL);
    world_relay(w, NULL);
    world_client(w, NULL);
    sim_path_default(w->sim, &(struct sim_path){.delay = CV_MSEC(5)});
    cv_handle c[2] = {world_circuit(w, 2, chain, 2), world_circuit(w, 2, chain, 2)};
    cr_assert(c[0] && c[1]);
    struct cv_now now = world_now(w, 2);
    for (unsigned i = 0; i < CELLS; i++) {
        struct cv_endpoint to = cv_endpoint_circuit(c[i % 2], 0);
        cr_assert_eq(tun_send(w->node[2].t, &now, &to, &i, sizeof i), CV_ERR_OK);
    }
    poll(w, 2, ret);
    cr_assert_eq(ret->n, CELLS);
    return w;
}

static enum cv_err come(struct world *w, const uint8_t *datagram) {
    struct cv_now now = world_now(w, 0);
    return tun_on_datagram(w->node[0].t, &now, &w->node[2].addr, datagram, TUN_DATAGRAM);
}

/* Every datagram twice, and nonsense between them. */
static void pass_on(bool announced, struct sent *ret, struct tun_counters *ret_count) {
    static struct sent in;
    struct world *w = on_their_way(&in);
    struct tunnel *t = w->node[0].t;
    uint8_t nonsense[TUN_DATAGRAM] = {0};
    struct tun_counters before;
    for (unsigned i = 0; i < 3 * CELLS; i++) {
        for (unsigned ahead = i ? TUN_EXPECT : 0; announced && ahead <= TUN_EXPECT; ahead++) {
            unsigned k = i + ahead;
            before = *tun_counters(t);
            tun_expect(t, k % 3 == 2 ? nonsense : in.octets[k / 3 % CELLS],
                       k % 7 == 6 ? 99 : TUN_DATAGRAM);
            cr_assert_eq(memcmp(&before, tun_counters(t), sizeof before), 0);
        }
        enum cv_err err = come(w, i % 3 == 2 ? nonsense : in.octets[i / 3]);
        cr_assert_eq(err, i % 3 == 0 ? CV_ERR_OK : i % 3 == 1 ? CV_ERR_REPLAY : CV_ERR_UNKNOWN);
    }
    *ret_count = *tun_counters(t);
    poll(w, 0, ret);
    world_free(w);
}

Test(tun_expect, what_was_announced_is_passed_on_as_everything_is) {
    static struct sent out[2];
    struct tun_counters count[2];
    pass_on(false, &out[0], &count[0]);
    pass_on(true, &out[1], &count[1]);
    cr_assert_eq(out[0].n, CELLS);
    cr_assert_eq(out[1].n, CELLS);
    cr_assert_eq(memcmp(out[0].octets, out[1].octets, CELLS * TUN_DATAGRAM), 0);
    cr_assert_eq(memcmp(&count[0], &count[1], sizeof count[0]), 0);
}

/* The same buffer, one octet later another: of all that link header and its tag are made of. */
Test(tun_expect, octets_that_changed_since_are_not_believed) {
    static struct sent in;
    struct world *w = on_their_way(&in);
    struct tunnel *t = w->node[0].t;
    uint64_t relayed = tun_counters(t)->relayed_cells;
    for (unsigned at = 4; at < TUN_HEADER + 16; at++) {
        tun_expect(t, in.octets[0], TUN_DATAGRAM);
        in.octets[0][at] ^= 0x40;
        cr_expect_eq(come(w, in.octets[0]), CV_ERR_UNKNOWN, "octet %u", at);
        in.octets[0][at] ^= 0x40;
    }
    cr_expect_eq(tun_counters(t)->relayed_cells, relayed);
    cr_expect_eq(come(w, in.octets[0]), CV_ERR_OK);
    cr_expect_eq(tun_counters(t)->relayed_cells, relayed + 1);
    world_free(w);
}

/* Announced, and gone when it comes: the link, and with it the circuits. */
Test(tun_expect, a_link_that_ended_is_not_remembered) {
    static struct sent in;
    struct world *w = on_their_way(&in);
    struct tunnel *t = w->node[0].t;
    struct cv_now now = world_now(w, 0);
    struct tun_link *l = tun_rxindex_find(t->rx, tun_cell_index(in.octets[0]));
    cr_assert_not_null(l);
    for (unsigned i = 0; i < TUN_EXPECTED_MAX + 1; i++)
        tun_expect(t, in.octets[i], TUN_DATAGRAM);
    for (unsigned i = 0; i < TUN_EXPECTED_MAX; i++)
        cr_assert_eq(t->expected[i].link, l);
    tun_link_fail(t, &now, l, CV_ERR_CLOSED);
    for (unsigned i = 0; i < TUN_EXPECTED_MAX; i++)
        cr_expect_null(t->expected[i].link);
    cr_expect_eq(come(w, in.octets[0]), CV_ERR_UNKNOWN);
    tun_expect(t, in.octets[1], TUN_DATAGRAM);
    world_free(w);
}

/* What tun_expect() fetches of a circuit is all that a cell touches which goes on: the rest
 * is out of reach meanwhile, in builds that watch memory. */
static void with_lines(struct tunnel *t, const size_t lines[4], bool hidden) {
    uint32_t cursor = 0;
    struct tun_hop *h;
    while ((h = tun_handles_next(&t->hops, &cursor)) != NULL) {
        if (hidden)
            CV_HIDE(h, sizeof *h);
        else
            CV_SHOW(h, sizeof *h);
        for (unsigned i = 0; hidden && i < 4; i++)
            CV_SHOW((uint8_t *)h + lines[i], TUN_LINE);
    }
}

Test(tun_expect, a_cell_touches_four_lines_of_its_circuit) {
    static const size_t forward[4] = {0, TUN_LINE, offsetof(struct tun_hop, layer.forward_mask_key),
                                      offsetof(struct tun_hop, layer.forward.window.last)};
    static const size_t backward[4] = {
        TUN_LINE, 2 * TUN_LINE, 3 * TUN_LINE,
        offsetof(struct tun_hop, layer.backward.secret.key[TUN_KEY_TRANSIT])};
    static struct sent in, out;
    struct world *w = on_their_way(&in);
    struct tunnel *t = w->node[0].t;
    with_lines(t, forward, true);
    for (unsigned i = 0; i < CELLS; i++)
        cr_assert_eq(come(w, in.octets[i]), CV_ERR_OK);
    poll(w, 0, &out);
    with_lines(t, forward, false);
    cr_assert_eq(out.n, CELLS);

    struct cv_now now = world_now(w, 1);
    uint32_t cursor = 0;
    struct tun_hop *h;
    for (unsigned i = 0; i < CELLS; i++) {
        if ((h = tun_handles_next(&w->node[1].t->hops, &cursor)) == NULL)
            h = tun_handles_next(&w->node[1].t->hops, &(uint32_t){0});
        cr_assert_eq(tun_hop_send(w->node[1].t, &now, h, TUN_CMD_PADDING, NULL, 0), CV_ERR_OK);
    }
    poll(w, 1, &in);
    cr_assert_eq(in.n, CELLS);
    now = world_now(w, 0);
    with_lines(t, backward, true);
    for (unsigned i = 0; i < CELLS; i++)
        cr_assert_eq(tun_on_datagram(t, &now, &w->node[1].addr, in.octets[i], TUN_DATAGRAM),
                     CV_ERR_OK);
    poll(w, 0, &out);
    with_lines(t, backward, false);
    cr_assert_eq(out.n, CELLS);
    world_free(w);
}
