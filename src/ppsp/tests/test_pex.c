/* Peer exchange, RFC 7574 sections 3.10, 8.13 and 12.2: who is told of whom. */
#include "support/suite.h"

#include "ppsp/limits.h"
#include "raw.h"

CV_SUITE(ppsp_pex);

enum { PEERS = 6 };

struct bench {
    struct rig *rig;
    struct raw *peer[PEERS];
};

static const struct cv_addr addresses[PEERS] = {
    {.ip = {8, 8, 4, 1}, .port = 1001, .family = 4},     /* public */
    {.ip = {8, 8, 4, 2}, .port = 1002, .family = 4},     /* public */
    {.ip = {192, 168, 1, 3}, .port = 1003, .family = 4}, /* private */
    {.ip = {10, 0, 0, 4}, .port = 1004, .family = 4},    /* private */
    {.ip = {0x26, 0x06, 0x47, 0, 5}, .port = 1005, .family = 6},
    {.ip = {0xfe, 0x80, 6}, .port = 1006, .family = 6}, /* link-local */
};

/* One engine; the peers call it. */
static struct bench begin(bool seeder, bool pex) {
    struct bench b = {.rig = rig_new(1, 50 * 1024, 1024, CV_SHA256)};
    b.rig->config.pex = pex;
    rig_add(b.rig, seeder);
    for (unsigned i = 0; i < PEERS; i++) {
        b.peer[i] = raw_new(b.rig, 0);
        b.peer[i]->us = cv_endpoint_udp(&addresses[i]);
        b.peer[i]->ours = 100 + i;
    }
    return b;
}

static void end(struct bench *b) {
    for (unsigned i = 0; i < PEERS; i++)
        free(b->peer[i]);
    rig_free(b->rig);
}

static void arrive(struct bench *b, unsigned first, unsigned last) {
    for (unsigned i = first; i <= last; i++) {
        cr_assert(raw_call(b->peer[i]));
        cr_assert_eq(raw_send_hex(b->peer[i], ""), CV_ERR_OK);
        raw_listen(b->peer[i]);
    }
}

/* Addresses that peer `i` is told when it asks: bit k for addresses[k]. */
static unsigned told(struct bench *b, unsigned i) {
    static struct raw_message m[RAW_MESSAGES];
    struct raw *w = b->peer[i];
    unsigned bits = 0;
    raw_clear(w);
    (void)raw_send_hex(w, "06");
    raw_listen(w);
    size_t n = raw_messages(w, m);
    for (size_t k = 0; k < n; k++)
        for (unsigned a = 0; a < PEERS; a++)
            if ((m[k].type == PPSP_MSG_PEX_RESV4 || m[k].type == PPSP_MSG_PEX_RESV6) &&
                cv_addr_equal(&m[k].addr, &addresses[a])) {
                cr_expect_eq(raw_to(w, m[k].datagram), w->ours);
                bits |= 1u << a;
            }
    return bits;
}

Test(ppsp_pex, R8_13_1_nothing_private_to_a_public_peer) {
    struct bench b = begin(true, true);
    arrive(&b, 0, PEERS - 1);
    cr_expect_eq(told(&b, 0), 1u << 1 | 1u << 4, "public ones of both families, not itself");
    cr_expect_eq(told(&b, 2), 0x3bu, "who is private itself may know all others");
    end(&b);
}

Test(ppsp_pex, R3_10_1_only_peers_heard_in_the_last_minute) {
    struct bench b = begin(true, true);
    arrive(&b, 0, 1);
    b.rig->now += CV_SEC(61);
    arrive(&b, 4, 4);
    cr_assert_eq(raw_send_hex(b.peer[0], ""), CV_ERR_OK);
    cr_expect_eq(told(&b, 4), 1u << 0, "peer 1 was silent for 61 s");
    end(&b);
}

Test(ppsp_pex, R3_10_3_addresses_only_where_the_swarm_allows_it) {
    struct bench b = begin(true, false);
    arrive(&b, 0, 1);
    cr_expect_eq(told(&b, 0), 0);
    cr_expect_eq(raw_counters(b.peer[0])->drop_pex, 1);
    end(&b);
}

Test(ppsp_pex, asked_again_at_once_is_a_counter) {
    struct bench b = begin(true, true);
    arrive(&b, 0, 1);
    cr_expect_eq(told(&b, 0), 1u << 1);
    for (unsigned i = 0; i < 1000; i++)
        cr_expect_eq(raw_send_hex(b.peer[0], "06 06 06"), CV_ERR_OK);
    raw_clear(b.peer[0]);
    raw_listen(b.peer[0]);
    cr_expect_eq(raw_count(b.peer[0], PPSP_MSG_PEX_RESV4), 0);
    cr_expect_eq(raw_counters(b.peer[0])->drop_pex, 3000);
    b.rig->now += CV_SEC(59);
    cr_assert_eq(raw_send_hex(b.peer[1], ""), CV_ERR_OK);
    b.rig->now += CV_SEC(1);
    cr_expect_eq(told(&b, 0), 1u << 1, "a minute later it may know again");
    end(&b);
}

static unsigned calls(struct bench *b, const struct cv_addr *to) {
    struct cv_endpoint ep = cv_endpoint_udp(to);
    struct ppsp_peer_stats st[64];
    size_t n = ppsp_peers(b->rig->engine[0], b->rig->swarm[0], st, 64);
    unsigned k = 0;
    for (size_t i = 0; i < n && i < 64; i++)
        k += cv_endpoint_equal(&st[i].endpoint, &ep) && st[i].state == PPSP_PEER_HANDSHAKING;
    return k;
}

/* A hungry engine asks; what it is told it calls, but not more than it has
 * peers from elsewhere. */
Test(ppsp_pex, R3_10_2_those_from_elsewhere_stay_the_most) {
    struct bench b = begin(false, true);
    arrive(&b, 0, 0);
    raw_listen(b.peer[0]);
    cr_assert_eq(raw_count(b.peer[0], PPSP_MSG_PEX_REQ), 1);
    cr_assert_eq(raw_send_hex(b.peer[0], "05 08080402 03ea 05 08080403 03ea 05 08080404 03ea"),
                 CV_ERR_OK);
    cr_expect_eq(calls(&b, &addresses[1]), 1);
    cr_expect_eq(ppsp_peers(b.rig->engine[0], b.rig->swarm[0], NULL, 0), 2, "one a trusted peer");
    cr_expect_eq(raw_counters(b.peer[0])->drop_pex, 2);
    end(&b);
}

Test(ppsp_pex, addresses_nobody_asked_for_or_private_ones_from_the_public_are_dropped) {
    struct bench b = begin(true, true); /* has everything: asks nobody */
    arrive(&b, 0, 0);
    cr_assert_eq(raw_send_hex(b.peer[0], "05 08080402 03ea"), CV_ERR_OK);
    cr_expect_eq(raw_counters(b.peer[0])->drop_pex, 1);
    end(&b);
    b = begin(false, true);
    arrive(&b, 0, 0);
    raw_listen(b.peer[0]);
    cr_assert_eq(raw_send_hex(b.peer[0], "05 c0a80103 03eb 05 08080402 0000 05 7f000001 03ea"),
                 CV_ERR_OK);
    cr_expect_eq(raw_counters(b.peer[0])->drop_pex, 3);
    cr_expect_eq(ppsp_peers(b.rig->engine[0], b.rig->swarm[0], NULL, 0), 1);
    end(&b);
}

/* Certificates: read over, whatever they hold. */
Test(ppsp_pex, certificates_are_read_over) {
    struct bench b = begin(true, true);
    arrive(&b, 0, 0);
    raw_clear(b.peer[0]);
    cr_expect_eq(raw_send_hex(b.peer[0], "0d 0003 aabbcc 08 00000000 00000000"), CV_ERR_OK);
    raw_listen(b.peer[0]);
    cr_expect_eq(raw_count(b.peer[0], PPSP_MSG_DATA), 1);
    cr_expect_eq(raw_counters(b.peer[0])->drop_pex, 1);
    end(&b);
}
