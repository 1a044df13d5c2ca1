/*
 * What a swarm exit lets through, and what scanners, floods and liars get: every way to
 * use it for something else than PPSPP with somebody who wants that.
 */
#include "node/exitfilter.h"

#include <string.h>

#include "base/cursor.h"
#include "crypto/rng_seeded.h"
#include "node/limits.h"
#include "ppsp/message.h"
#include "ppsp/options.h"
#include "support/suite.h"

CV_SUITE(node_exitfilter);

enum { PORTS = 3, VIEWER_CHANNEL = 0x11223344, PEER_CHANNEL = 0x55667788 };

struct desk {
    struct cv_rng_seeded dice;
    struct cv_rng rng;
    struct exit_filter *f;
    struct cv_now now;
    struct exit_name name;
    struct cv_addr peer, to;
    unsigned port; /* by which the last datagram left */
    uint8_t out[2048];
};

static struct cv_addr addr(const char *text) {
    struct cv_addr a;
    cr_assert_eq(cv_addr_parse(text, &a), CV_ERR_OK, "%s", text);
    return a;
}

static struct desk *desk_with(const struct exit_config *cfg) {
    static struct desk d;
    d = (struct desk){.now = {.mono = CV_SEC(1000), .wall = 1000000},
                      .name = {.hop = 0x100000007, .flow = 1},
                      .peer = addr("45.40.7.2:7000")};
    cv_rng_seeded_init(&d.dice, 1);
    d.rng = cv_rng_seeded(&d.dice);
    d.f = exit_filter_new(cfg, &d.rng, d.now);
    cr_assert_not_null(d.f);
    return &d;
}

static struct desk *desk(void) {
    struct cv_addr own = addr("45.20.7.2:7000");
    return desk_with(
        &(struct exit_config){.family = 4, .ports = PORTS, .own = &own, .own_count = 1});
}

static enum cv_err open_to(struct desk *d, const struct cv_addr *to) {
    return exit_filter_open(d->f, d->now, &d->name, to);
}

/* To a channel a HANDSHAKE of another. */
static size_t handshake(uint8_t *buf, uint32_t to, uint32_t from, bool swarm) {
    struct cv_wr w = cv_wr_init(buf, 1024);
    struct ppsp_options o = {.present =
                                 1u << PPSP_OPT_VERSION | (swarm ? 1u << PPSP_OPT_SWARM_ID : 0),
                             .version = 1,
                             .swarm_id = (const uint8_t *)"12345678901234567890",
                             .swarm_id_len = 20};
    cv_wr_be32(&w, to);
    ppsp_handshake_begin(&w, from);
    ppsp_options_write(&w, &o);
    cr_assert(!w.err);
    return cv_wr_len(&w);
}

static enum cv_err out(struct desk *d, const uint8_t *buf, size_t len) {
    memcpy(d->out, buf, len);
    return exit_filter_out(d->f, d->now, &d->name, d->out, len, &d->port, &d->to);
}

static enum cv_err call_as(struct desk *d, uint32_t channel) {
    uint8_t buf[1024];
    return out(d, buf, handshake(buf, 0, channel, true));
}

static uint32_t be32(const uint8_t *at) {
    struct cv_rd r = cv_rd_init(at, 4);
    return cv_rd_be32(&r);
}

/* The channel that the peer was told. */
static uint32_t told(const struct desk *d) {
    return be32(d->out + 5);
}

static enum cv_err in_from(struct desk *d, const struct cv_addr *from, uint8_t *buf, size_t len) {
    struct exit_name name = {0};
    enum cv_err err = exit_filter_in(d->f, d->now, d->port, from, buf, len, &name);
    if (!err) {
        cr_expect_eq(name.hop, d->name.hop);
        cr_expect_eq(name.flow, d->name.flow);
    }
    return err;
}

static enum cv_err answer(struct desk *d) {
    uint8_t buf[1024];
    enum cv_err err = in_from(d, &d->peer, buf, handshake(buf, told(d), PEER_CHANNEL, false));
    cr_expect(err || be32(buf) == VIEWER_CHANNEL, "the owner's own channel comes back");
    return err;
}

static size_t message(uint8_t *buf, uint32_t to, uint8_t type, size_t len) {
    struct cv_wr w = cv_wr_init(buf, len < 5 ? 5 : len);
    memset(buf, 0xa5, len);
    cv_wr_be32(&w, to);
    cv_wr_u8(&w, type);
    return len;
}

static struct desk *conversation(uint32_t *ret_told) {
    struct desk *d = desk();
    cr_assert_eq(open_to(d, &d->peer), CV_ERR_OK);
    cr_assert_eq(call_as(d, VIEWER_CHANNEL), CV_ERR_OK);
    *ret_told = told(d);
    cr_assert_eq(answer(d), CV_ERR_OK);
    return d;
}

/* ---- where to ---- */

/* clang-format off */
static const struct {
    const char *to;
    bool ok;
} places[] = {
    {"45.40.7.2:7000", true},        {"45.40.7.2:1024", true},
    {"45.40.7.2:1023", false},       {"45.40.7.2:53", false},
    {"45.40.7.2:0", false},          {"45.20.7.2:7001", false}, /* ourselves */
    {"45.20.7.77:7000", false},      {"45.20.8.2:7000", true},  /* our network, and the next */
    {"0.1.2.3:7000", false},         {"10.1.2.3:7000", false},
    {"100.64.1.2:7000", false},      {"100.128.1.2:7000", true},
    {"127.0.0.1:7000", false},       {"169.254.169.254:8000", false},
    {"172.16.0.1:7000", false},      {"172.32.0.1:7000", true},
    {"192.0.0.8:7000", false},       {"192.168.1.1:7000", false},
    {"198.18.0.1:7000", false},      {"198.19.255.1:7000", false},
    {"224.0.0.1:7000", false},       {"239.255.255.250:1900", false},
    {"240.0.0.1:7000", false},       {"255.255.255.255:7000", false},
    {"[2a00:1::2]:7000", true},      {"[2a00:1::2]:1023", false},
    {"[::1]:7000", false},           {"[::]:7000", false},
    {"[::ffff:45.40.7.2]:7000", false}, {"[::ffff:127.0.0.1]:7000", false},
    {"[64:ff9b::a00:1]:7000", false},   {"[2002:a00:1::1]:7000", false},
    {"[2001::1]:7000", false},       {"[fe80::1]:7000", false},
    {"[fc00::1]:7000", false},       {"[fd12::1]:7000", false},
    {"[ff02::1]:7000", false},       {"[2a01:4f8:1::77]:7000", false}, /* our /48 */
    {"[2a01:4f8:2::77]:7000", true},
};
/* clang-format on */

Test(node_exitfilter, calls_public_addresses_of_others_only) {
    const struct cv_addr own[2] = {addr("45.20.7.2:7000"), addr("[2a01:4f8:1::2]:7000")};
    struct desk *d = desk_with(&(struct exit_config){.ports = 1, .own = own, .own_count = 2});
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct cv_addr to = addr(places[i].to);
        d->name.hop = 100 + i; /* a budget of its own */
        cr_expect_eq(exit_filter_may_call(d->f, &to), places[i].ok, "%s", places[i].to);
        cr_expect_eq(open_to(d, &to), places[i].ok ? CV_ERR_OK : CV_ERR_DENIED, "%s", places[i].to);
    }
    exit_filter_free(d->f);
}

Test(node_exitfilter, other_networks_have_other_addresses) {
    static const struct {
        enum exit_scope scope;
        const char *to;
        bool ok;
    } rows[] = {
        {EXIT_SCOPE_LOOPBACK, "127.14.0.1:7000", true},
        {EXIT_SCOPE_LOOPBACK, "127.10.0.9:7000", false}, /* our own /24 */
        {EXIT_SCOPE_LOOPBACK, "45.40.7.2:7000", false},
        {EXIT_SCOPE_PRIVATE, "10.9.0.1:7000", true},
        {EXIT_SCOPE_PRIVATE, "127.14.0.1:7000", false},
        {EXIT_SCOPE_PRIVATE, "224.0.0.1:7000", false},
        {EXIT_SCOPE_PRIVATE, "[ff02::1]:7000", false},
        {EXIT_SCOPE_PRIVATE, "[::ffff:10.9.0.1]:7000", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cv_addr own = addr("127.10.0.1:7000"), to = addr(rows[i].to);
        struct desk *d = desk_with(
            &(struct exit_config){.scope = rows[i].scope, .ports = 1, .own = &own, .own_count = 1});
        cr_expect_eq(exit_filter_may_call(d->f, &to), rows[i].ok, "%s", rows[i].to);
        exit_filter_free(d->f);
    }
}

Test(node_exitfilter, a_socket_speaks_to_its_family) {
    struct desk *d = desk();
    struct cv_addr six = addr("[2a00:1::2]:7000");
    cr_expect_eq(open_to(d, &six), CV_ERR_UNREACHABLE);
    exit_filter_free(d->f);
}

/* ---- the exchange ---- */

Test(node_exitfilter, an_exchange_goes_both_ways) {
    uint8_t buf[1500];
    uint32_t mine;
    struct desk *d = conversation(&mine);
    cr_expect_neq(mine, VIEWER_CHANNEL, "the peer is told a number of ours");
    cr_expect(cv_addr_equal(&d->to, &d->peer));
    cr_expect_eq(out(d, buf, message(buf, PEER_CHANNEL, PPSP_MSG_REQUEST, 600)), CV_ERR_OK);
    cr_expect_eq(out(d, buf, message(buf, PEER_CHANNEL, 0, 4)), CV_ERR_OK, "keep-alive");
    cr_expect_eq(in_from(d, &d->peer, buf, message(buf, mine, PPSP_MSG_DATA, 1500)), CV_ERR_OK);
    cr_expect_eq(be32(buf), VIEWER_CHANNEL);
    cr_expect_eq(in_from(d, &d->peer, buf, message(buf, mine, 0, 4)), CV_ERR_OK);
    const struct exit_counters *c = exit_filter_counters(d->f);
    cr_expect_eq(c->calls, 1);
    cr_expect_eq(c->in, 3);
    cr_expect_eq(c->out, 3);
    cr_expect_eq(c->flows, 1);
    exit_filter_free(d->f);
}

/* What leaves before anybody answered: one kind of datagram. */
Test(node_exitfilter, the_first_datagram_is_a_call_and_nothing_else) {
    uint8_t good[1024], buf[2048];
    size_t len = handshake(good, 0, VIEWER_CHANNEL, true);
    struct desk *d = desk();
    cr_assert_eq(open_to(d, &d->peer), CV_ERR_OK);
    cr_expect_eq(out(d, (const uint8_t *)"\0\0\0", 3), CV_ERR_MALFORMED, "three octets");
    cr_expect_eq(out(d, good, 4), CV_ERR_MALFORMED, "a channel alone");
    for (size_t i = 5; i < len; i++)
        cr_expect_eq(out(d, good, i), CV_ERR_MALFORMED, "cut at %zu", i);
    memcpy(buf, good, len);
    buf[len] = PPSP_MSG_PEX_REQ;
    cr_expect_eq(out(d, buf, len + 1), CV_ERR_MALFORMED, "with something behind it");
    cr_expect_eq(out(d, buf, handshake(buf, 0, VIEWER_CHANNEL, false)), CV_ERR_MALFORMED,
                 "for no swarm");
    cr_expect_eq(out(d, buf, handshake(buf, 0, 0, true)), CV_ERR_MALFORMED, "closing nothing");
    cr_expect_eq(out(d, buf, handshake(buf, 7, VIEWER_CHANNEL, true)), CV_ERR_DENIED,
                 "to a channel that nobody named");
    cr_expect_eq(out(d, buf, message(buf, PEER_CHANNEL, PPSP_MSG_DATA, 1000)), CV_ERR_DENIED);
    cr_expect_eq(out(d, (const uint8_t *)"GET / HTTP/1.1\r\n\r\n", 18), CV_ERR_DENIED);
    cr_expect_eq(out(d, (const uint8_t *)"d1:ad2:id20:", 12), CV_ERR_DENIED, "DHT");
    memset(buf, 0, sizeof buf);
    cr_expect_eq(out(d, buf, 48), CV_ERR_MALFORMED, "zeros");
    cr_expect_eq(exit_filter_counters(d->f)->out, 0);

    /* RFC 7574 has options without end of room; a call has not */
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    uint8_t id[300] = {1};
    struct ppsp_options o = {.present = 1u << PPSP_OPT_VERSION | 1u << PPSP_OPT_SWARM_ID,
                             .version = 1,
                             .swarm_id = id,
                             .swarm_id_len = sizeof id};
    cv_wr_be32(&w, 0);
    ppsp_handshake_begin(&w, VIEWER_CHANNEL);
    ppsp_options_write(&w, &o);
    cr_expect_eq(out(d, buf, cv_wr_len(&w)), CV_ERR_MALFORMED, "a long one");
    cr_expect_eq(out(d, good, len), CV_ERR_OK);
    exit_filter_free(d->f);
}

Test(node_exitfilter, afterwards_only_that_exchange_passes) {
    uint8_t buf[2048];
    uint32_t mine;
    struct desk *d = conversation(&mine);
    struct cv_addr other = addr("45.40.7.2:7001"), away = addr("45.41.7.2:7000");
    cr_expect_eq(out(d, buf, message(buf, PEER_CHANNEL + 1, PPSP_MSG_REQUEST, 40)), CV_ERR_DENIED);
    cr_expect_eq(out(d, buf, message(buf, PEER_CHANNEL, 14, 40)), CV_ERR_MALFORMED, "no message");
    cr_expect_eq(out(d, buf, message(buf, PEER_CHANNEL, PPSP_MSG_DATA, 1501)), CV_ERR_MALFORMED);
    cr_expect_eq(in_from(d, &d->peer, buf, message(buf, mine + 1, PPSP_MSG_DATA, 40)),
                 CV_ERR_DENIED);
    cr_expect_eq(in_from(d, &d->peer, buf, message(buf, VIEWER_CHANNEL, PPSP_MSG_DATA, 40)),
                 CV_ERR_DENIED, "the number that the peer never saw");
    cr_expect_eq(in_from(d, &d->peer, buf, message(buf, 0, PPSP_MSG_HANDSHAKE, 40)), CV_ERR_DENIED);
    cr_expect_eq(in_from(d, &d->peer, buf, message(buf, mine, 200, 40)), CV_ERR_MALFORMED);
    cr_expect_eq(in_from(d, &d->peer, buf, message(buf, mine, PPSP_MSG_DATA, 1501)),
                 CV_ERR_MALFORMED);
    cr_expect_eq(in_from(d, &d->peer, buf, 3), CV_ERR_MALFORMED);
    cr_expect_eq(in_from(d, &other, buf, message(buf, mine, PPSP_MSG_DATA, 40)), CV_ERR_NOENT);
    cr_expect_eq(in_from(d, &away, buf, message(buf, mine, PPSP_MSG_DATA, 40)), CV_ERR_NOENT);
    d->port = (d->port + 1) % PORTS;
    cr_expect_eq(in_from(d, &d->peer, buf, message(buf, mine, PPSP_MSG_DATA, 40)), CV_ERR_NOENT,
                 "at another socket");
    exit_filter_free(d->f);
}

/* An accomplice outside who sends with the address of somebody who never answered: the
 * owner of the circuit can tell him every number but the one that counts. */
Test(node_exitfilter, nobody_answers_for_somebody_else) {
    uint8_t buf[1024];
    struct desk *d = desk();
    cr_assert_eq(open_to(d, &d->peer), CV_ERR_OK);
    cr_assert_eq(call_as(d, VIEWER_CHANNEL), CV_ERR_OK);
    for (uint32_t guess = 0; guess < 1000; guess++)
        cr_expect_neq(
            in_from(d, &d->peer, buf, handshake(buf, VIEWER_CHANNEL + guess, PEER_CHANNEL, false)),
            CV_ERR_OK);
    cr_expect_eq(out(d, buf, message(buf, PEER_CHANNEL, PPSP_MSG_DATA, 1000)), CV_ERR_DENIED);
    exit_filter_free(d->f);
}

Test(node_exitfilter, who_calls_anew_is_answered_anew) {
    uint8_t buf[1024];
    uint32_t first;
    struct desk *d = conversation(&first);
    cr_assert_eq(call_as(d, VIEWER_CHANNEL), CV_ERR_OK);
    cr_expect_eq(told(d), first, "a call that is repeated is the same call");
    cr_assert_eq(call_as(d, VIEWER_CHANNEL + 1), CV_ERR_OK);
    uint32_t second = told(d);
    cr_expect_neq(second, first);
    /* the old exchange goes on until the new one is answered */
    cr_expect_eq(in_from(d, &d->peer, buf, message(buf, first, PPSP_MSG_HAVE, 20)), CV_ERR_OK);
    cr_expect_eq(out(d, buf, message(buf, PEER_CHANNEL, PPSP_MSG_HAVE, 20)), CV_ERR_OK);
    cr_expect_eq(in_from(d, &d->peer, buf, handshake(buf, second, PEER_CHANNEL + 1, false)),
                 CV_ERR_OK);
    cr_expect_eq(be32(buf), VIEWER_CHANNEL + 1);
    cr_expect_eq(out(d, buf, message(buf, PEER_CHANNEL + 1, PPSP_MSG_HAVE, 20)), CV_ERR_OK);
    cr_expect_eq(out(d, buf, message(buf, PEER_CHANNEL, PPSP_MSG_HAVE, 20)), CV_ERR_DENIED);
    cr_expect_eq(in_from(d, &d->peer, buf, message(buf, first, PPSP_MSG_HAVE, 20)), CV_ERR_DENIED);
    exit_filter_free(d->f);
}

/* A peer that answers a call and its repetition differently may go on with either. */
Test(node_exitfilter, two_answers_to_one_call) {
    uint8_t buf[1024];
    uint32_t mine;
    struct desk *d = conversation(&mine);
    cr_assert_eq(call_as(d, VIEWER_CHANNEL), CV_ERR_OK);
    cr_assert_eq(in_from(d, &d->peer, buf, handshake(buf, mine, PEER_CHANNEL + 9, false)),
                 CV_ERR_OK);
    cr_expect_eq(out(d, buf, message(buf, PEER_CHANNEL, PPSP_MSG_HAVE, 20)), CV_ERR_OK);
    cr_expect_eq(out(d, buf, message(buf, PEER_CHANNEL + 9, PPSP_MSG_HAVE, 20)), CV_ERR_OK);
    exit_filter_free(d->f);
}

/* ---- scanning and flooding ---- */

Test(node_exitfilter, three_calls_a_minute_to_who_does_not_answer) {
    struct desk *d = desk();
    unsigned left = 0;
    for (unsigned owner = 0; owner < 5; owner++) { /* all circuits together */
        d->name.hop = 50 + owner;
        d->name.flow = 1;
        enum cv_err err = open_to(d, &d->peer);
        cr_expect_eq(err, owner < PORTS ? CV_ERR_OK : CV_ERR_AGAIN);
        for (unsigned i = 0; i < 4 && !err; i++)
            left += call_as(d, VIEWER_CHANNEL + i) == CV_ERR_OK;
    }
    cr_expect_eq(left, NODE_EXIT_ADDRESS_CALLS);
    cr_expect_eq(exit_filter_counters(d->f)->drop_calls, 4 * PORTS - 3);
    d->name.hop = 50;
    d->now.mono += NODE_EXIT_CALL_WINDOW;
    cr_expect_eq(call_as(d, VIEWER_CHANNEL), CV_ERR_OK, "a minute later");
    exit_filter_free(d->f);
}

Test(node_exitfilter, who_answers_is_called_on) {
    struct desk *d = desk();
    cr_assert_eq(open_to(d, &d->peer), CV_ERR_OK);
    for (unsigned i = 0; i < 20; i++) {
        cr_expect_eq(call_as(d, VIEWER_CHANNEL), CV_ERR_OK, "call %u", i);
        cr_expect_eq(answer(d), CV_ERR_OK);
    }
    exit_filter_free(d->f);
}

static unsigned scan(struct desk *d, unsigned owners, unsigned count, bool ports) {
    unsigned left = 0;
    for (unsigned i = 0; i < count; i++) {
        struct cv_addr to = d->peer;
        if (ports)
            to.port = (uint16_t)(2000 + i);
        else
            to.ip[2] = (uint8_t)(i >> 8), to.ip[3] = (uint8_t)i;
        d->name.hop = 1000 + i % owners;
        d->name.flow = (uint16_t)(1 + i / owners);
        if (open_to(d, &to) == CV_ERR_OK) {
            left += call_as(d, VIEWER_CHANNEL) == CV_ERR_OK;
            exit_filter_close(d->f, &d->name);
        }
    }
    return left;
}

Test(node_exitfilter, a_scanner_finds_little) {
    struct desk *d = desk();
    cr_expect_eq(scan(d, 500, 2000, true), NODE_EXIT_HOST_CALLS, "ports of one host");
    exit_filter_free(d->f);
    d = desk();
    cr_expect_leq(scan(d, 1, 2000, false), NODE_EXIT_OPENS_BURST, "hosts, by one circuit");
    exit_filter_free(d->f);
    d = desk();
    cr_expect_leq(scan(d, 1000, 20000, false), 4 * NODE_EXIT_CALLS_S, "hosts, by a thousand");
    exit_filter_free(d->f);
}

/* A thousand circuits that call in vain, more than are let through, for a minute: who
 * calls next is still remembered, and so called. */
Test(node_exitfilter, the_memory_of_calls_holds_all_that_there_can_be) {
    struct desk *d = desk();
    unsigned left = 0;
    for (unsigned i = 0; i < 60 * 200; i++) {
        struct cv_addr to = d->peer;
        to.ip[2] = (uint8_t)(i >> 8), to.ip[3] = (uint8_t)i;
        d->name.hop = 1000 + i % 900;
        d->name.flow = (uint16_t)(1 + i / 900);
        d->now.mono += CV_MSEC(5);
        if (open_to(d, &to) == CV_ERR_OK) {
            left += call_as(d, VIEWER_CHANNEL) == CV_ERR_OK;
            exit_filter_close(d->f, &d->name);
        }
    }
    cr_expect_leq(left, (60 + 4) * NODE_EXIT_CALLS_S);
    cr_expect_geq(left, 55 * NODE_EXIT_CALLS_S);
    d->now.mono += CV_SEC(1);
    d->name = (struct exit_name){.hop = 5, .flow = 1};
    cr_expect_eq(open_to(d, &d->peer), CV_ERR_OK);
    cr_expect_eq(call_as(d, VIEWER_CHANNEL), CV_ERR_OK);
    exit_filter_free(d->f);
}

Test(node_exitfilter, a_circuit_has_so_many_flows) {
    struct desk *d = desk();
    for (unsigned i = 0; i < NODE_EXIT_OWNER_FLOWS + 3; i++) {
        struct cv_addr to = d->peer;
        to.ip[3] = (uint8_t)(10 + i);
        d->name.flow = (uint16_t)(1 + i);
        cr_expect_eq(open_to(d, &to), i < NODE_EXIT_OWNER_FLOWS ? CV_ERR_OK : CV_ERR_LIMIT);
    }
    cr_expect_eq(exit_filter_counters(d->f)->flows, NODE_EXIT_OWNER_FLOWS);
    exit_filter_close_hop(d->f, d->name.hop);
    cr_expect_eq(exit_filter_counters(d->f)->flows, 0);
    exit_filter_free(d->f);
}

Test(node_exitfilter, all_circuits_have_so_many_flows) {
    struct desk *d = desk();
    unsigned opened = 0;
    enum cv_err err = CV_ERR_OK;
    for (unsigned i = 0; i < NODE_EXIT_FLOWS_MAX + 20; i++) {
        struct cv_addr to = d->peer;
        to.ip[2] = (uint8_t)(i >> 8), to.ip[3] = (uint8_t)i;
        d->name.hop = 1000 + i / 8;
        d->name.flow = (uint16_t)(1 + i % 8);
        err = open_to(d, &to);
        opened += !err;
    }
    cr_expect_eq(opened, NODE_EXIT_FLOWS_MAX);
    cr_expect_eq(err, CV_ERR_AGAIN);
    exit_filter_free(d->f);
}

Test(node_exitfilter, a_flow_has_its_rates) {
    uint8_t buf[1500];
    uint32_t mine;
    struct desk *d = conversation(&mine);
    uint64_t sent = 0, came = 0;
    for (unsigned i = 0; i < 40000; i++) {
        sent += out(d, buf, message(buf, PEER_CHANNEL, PPSP_MSG_ACK, 1000)) ? 0 : 1000;
        came += in_from(d, &d->peer, buf, message(buf, mine, PPSP_MSG_DATA, 1000)) ? 0 : 1000;
    }
    cr_expect_leq(sent, NODE_EXIT_OUT_S / 2);
    cr_expect_geq(sent, NODE_EXIT_OUT_S / 2 - 3000);
    cr_expect_leq(came, NODE_EXIT_IN_S / 2);
    cr_expect_geq(came, NODE_EXIT_IN_S / 2 - 3000);
    exit_filter_free(d->f);
}

/* The operator's limit is one for all that leaves. */
Test(node_exitfilter, all_flows_share_the_limit_of_the_relay) {
    uint8_t buf[1500];
    struct desk *d = desk_with(&(struct exit_config){.ports = 1, .octets_s = 100000});
    uint64_t sent = 0;
    for (unsigned flow = 1; flow <= 8; flow++) {
        d->name.flow = (uint16_t)flow;
        d->peer.port = (uint16_t)(7000 + flow);
        cr_assert_eq(open_to(d, &d->peer), CV_ERR_OK);
        cr_assert_eq(call_as(d, VIEWER_CHANNEL), CV_ERR_OK);
        cr_assert_eq(answer(d), CV_ERR_OK);
    }
    for (unsigned flow = 1; flow <= 8; flow++) {
        d->name.flow = (uint16_t)flow;
        for (unsigned i = 0; i < 100; i++)
            sent += out(d, buf, message(buf, PEER_CHANNEL, PPSP_MSG_ACK, 1000)) ? 0 : 1000;
    }
    cr_expect_leq(sent, 100000 / 4 + 4096);
    cr_expect_geq(sent, 20000);
    exit_filter_free(d->f);
}

/* ---- life of a flow ---- */

Test(node_exitfilter, one_address_has_a_flow_for_each_socket) {
    struct desk *d = desk();
    unsigned seen = 0;
    for (unsigned i = 0; i < PORTS + 1; i++) {
        d->name.hop = 10 + i;
        cr_expect_eq(open_to(d, &d->peer), i < PORTS ? CV_ERR_OK : CV_ERR_AGAIN);
        if (i < PORTS && call_as(d, VIEWER_CHANNEL) == CV_ERR_OK)
            seen |= 1u << d->port;
    }
    cr_expect_eq(seen, (1u << PORTS) - 1);
    exit_filter_free(d->f);
}

Test(node_exitfilter, a_circuit_has_one_flow_to_an_address) {
    struct desk *d = desk();
    for (unsigned i = 0; i < PORTS; i++) {
        d->name.flow = (uint16_t)(1 + i);
        cr_expect_eq(open_to(d, &d->peer), i == 0 ? CV_ERR_OK : CV_ERR_LIMIT);
    }
    d->name = (struct exit_name){.hop = 11, .flow = 1};
    cr_expect_eq(open_to(d, &d->peer), CV_ERR_OK, "others are not locked out");
    exit_filter_free(d->f);
}

Test(node_exitfilter, an_answer_that_got_lost_is_asked_for_again) {
    struct desk *d = desk();
    struct cv_addr other = addr("45.41.7.2:7000");
    cr_expect_eq(open_to(d, &d->peer), CV_ERR_OK);
    cr_expect_eq(open_to(d, &d->peer), CV_ERR_EXIST);
    cr_expect_eq(open_to(d, &other), CV_ERR_DENIED, "a flow goes to one place");
    exit_filter_close(d->f, &d->name);
    cr_expect_eq(open_to(d, &other), CV_ERR_OK);
    d->name.flow = 77;
    exit_filter_close(d->f, &d->name); /* not there: no error */
    cr_expect_eq(call_as(d, VIEWER_CHANNEL), CV_ERR_NOENT);
    exit_filter_free(d->f);
}

static bool over(struct desk *d, cv_usec later) {
    struct exit_name name;
    d->now.mono += later;
    bool any = exit_filter_expired(d->f, d->now, &name);
    cr_expect(!any || (name.hop == d->name.hop && name.flow == d->name.flow));
    return any;
}

Test(node_exitfilter, silence_ends_a_flow) {
    uint8_t buf[64];
    uint32_t mine;
    struct desk *d = desk();
    cr_expect_eq(exit_filter_next(d->f), CV_USEC_NEVER);
    cr_assert_eq(open_to(d, &d->peer), CV_ERR_OK);
    cr_expect_lt(exit_filter_next(d->f), CV_USEC_NEVER);
    cr_expect_not(over(d, NODE_EXIT_UNANSWERED - CV_SEC(1)));
    cr_expect(over(d, CV_SEC(1)), "nobody answered");
    cr_expect_not(over(d, CV_SEC(5)));
    cr_expect_eq(exit_filter_next(d->f), CV_USEC_NEVER);
    exit_filter_free(d->f);

    d = conversation(&mine);
    cr_expect_not(over(d, NODE_EXIT_SILENCE - CV_SEC(2)));
    cr_assert_eq(in_from(d, &d->peer, buf, message(buf, mine, PPSP_MSG_HAVE, 20)), CV_ERR_OK);
    cr_expect(over(d, CV_SEC(3)), "the owner is silent");
    exit_filter_free(d->f);

    d = conversation(&mine);
    cr_expect_not(over(d, NODE_EXIT_SILENCE - CV_SEC(2)));
    cr_assert_eq(out(d, buf, message(buf, PEER_CHANNEL, PPSP_MSG_HAVE, 20)), CV_ERR_OK);
    cr_expect(over(d, CV_SEC(3)), "the peer is silent");
    exit_filter_free(d->f);
}

/* ---- every state of a flow and everything that may befall it ---- */

enum flow_event {
    OPEN,
    OPEN_ELSE, /* to another address, by the same name */
    CALL,
    CALL_ANEW, /* from another channel */
    SAY,       /* on the channel that the peer named */
    SAY_ELSE,  /* .. on one that nobody named */
    SAY_JUNK,  /* no message of the RFC */
    SAY_LITTLE,
    ANSWER,
    ANSWER_ELSE, /* to a channel that called nobody */
    STRANGER,    /* the same answer, from another port there */
    HEAR,        /* on the channel that it was told */
    HEAR_ELSE,
    HEAR_JUNK,
    HEAR_LITTLE,
    UNANSWERED, /* half a minute passes */
    SILENT,     /* two minutes */
    CLOCK_BACK, /* the wall clock, by a day */
    CLOCK_AHEAD,
    SLEEP, /* of a day */
    CLOSED,
    HOP_CLOSED,
    HOP_ELSE, /* another circuit */
    FLOW_EVENTS
};

/* . it passes, or nothing is to be said  e there is one  d m l n refused: not here, no message,
 * too often, no flow  o it is over, and the owner is told. In capitals: no flow is left then. */
/* clang-format off */
static const struct {
    const char *name, *answers;
    bool opened;
    unsigned calls;
    bool answered, anew;
} flows[] = {
    {"no flow",          "..NNNNNNNNNNNNN00000000", false, 0, false, false},
    {"opened",           "ed..dddmddndddmOO..O00.", true, 0, false, false},
    {"called",           "ed..dddm.dndddmOO..O00.", true, 1, false, false},
    {"called in vain",   "edlldddm.dndddmOO..O00.", true, NODE_EXIT_ADDRESS_CALLS, false, false},
    {"speaks",           "ed...dmm.dn.dmm.O..O00.", true, 1, true, false},
    {"called once more", "ed...dmm.dn.dmm.O..O00.", true, 1, true, true},
};
/* clang-format on */

static void reach(struct desk *d, size_t row, uint32_t *ret_told) {
    *ret_told = 4711;
    if (flows[row].opened)
        cr_assert_eq(open_to(d, &d->peer), CV_ERR_OK);
    for (unsigned i = 0; i < flows[row].calls; i++)
        cr_assert_eq(call_as(d, VIEWER_CHANNEL), CV_ERR_OK);
    if (flows[row].calls)
        *ret_told = told(d);
    if (flows[row].answered)
        cr_assert_eq(answer(d), CV_ERR_OK);
    if (flows[row].anew) {
        cr_assert_eq(call_as(d, VIEWER_CHANNEL + 1), CV_ERR_OK);
        cr_expect_neq(told(d), *ret_told);
    }
}

/* By the socket that speaks for the flow, which only a call tells. */
static enum cv_err arrives(struct desk *d, const struct cv_addr *from, const uint8_t *buf,
                           size_t len) {
    enum cv_err err = CV_ERR_NOENT;
    for (d->port = 0; d->port < PORTS && err == CV_ERR_NOENT; d->port++) {
        uint8_t copy[1024];
        memcpy(copy, buf, len);
        err = in_from(d, from, copy, len);
    }
    return err;
}

static enum cv_err passes(struct desk *d, cv_usec later) {
    return over(d, later) ? CV_ERR_TIMEDOUT : CV_ERR_OK;
}

static enum cv_err befalls(struct desk *d, enum flow_event e, uint32_t mine) {
    uint8_t buf[1024] = {0};
    struct cv_addr other = addr("45.41.7.2:7000"), stranger = addr("45.40.7.2:7001");
    uint32_t newest = mine == 4711 ? mine : told(d);
    switch (e) {
    case OPEN:
    case OPEN_ELSE:
        return open_to(d, e == OPEN ? &d->peer : &other);
    case CALL:
    case CALL_ANEW:
        return call_as(d, e == CALL ? VIEWER_CHANNEL : VIEWER_CHANNEL + 9);
    case SAY:
    case SAY_ELSE:
        return out(d, buf,
                   message(buf, e == SAY ? PEER_CHANNEL : PEER_CHANNEL + 1, PPSP_MSG_HAVE, 20));
    case SAY_JUNK:
        return out(d, buf, message(buf, PEER_CHANNEL, 200, 20));
    case SAY_LITTLE:
        return out(d, buf, 3);
    case ANSWER:
    case ANSWER_ELSE:
        return arrives(d, &d->peer, buf,
                       handshake(buf, e == ANSWER ? newest : newest + 1, PEER_CHANNEL + 2, false));
    case STRANGER:
        return arrives(d, &stranger, buf, handshake(buf, newest, PEER_CHANNEL, false));
    case HEAR:
    case HEAR_ELSE:
        return arrives(d, &d->peer, buf,
                       message(buf, e == HEAR ? mine : mine + 1, PPSP_MSG_HAVE, 20));
    case HEAR_JUNK:
        return arrives(d, &d->peer, buf, message(buf, mine, 200, 20));
    case HEAR_LITTLE:
        return arrives(d, &d->peer, buf, 3);
    case UNANSWERED:
    case SILENT:
        return passes(d, e == SILENT ? NODE_EXIT_SILENCE : NODE_EXIT_UNANSWERED);
    case CLOCK_BACK:
    case CLOCK_AHEAD:
        d->now.wall += e == CLOCK_BACK ? -86400 : 86400;
        return passes(d, NODE_EXIT_LOOK_EVERY);
    case SLEEP:
        return passes(d, CV_SEC(86400));
    case CLOSED:
        exit_filter_close(d->f, &d->name);
        return CV_ERR_OK;
    case HOP_CLOSED:
    case HOP_ELSE:
    case FLOW_EVENTS:
        exit_filter_close_hop(d->f, e == HOP_CLOSED ? d->name.hop : d->name.hop + 1);
        return CV_ERR_OK;
    }
    return CV_ERR_INVAL;
}

static char letter(enum cv_err err, bool left) {
    static const struct {
        enum cv_err err;
        char left, gone;
    } letters[] = {{CV_ERR_OK, '.', '0'},      {CV_ERR_EXIST, 'e', 'E'},
                   {CV_ERR_DENIED, 'd', 'D'},  {CV_ERR_MALFORMED, 'm', 'M'},
                   {CV_ERR_LIMIT, 'l', 'L'},   {CV_ERR_NOENT, 'n', 'N'},
                   {CV_ERR_TIMEDOUT, 'o', 'O'}};
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
        if (letters[i].err == err)
            return left ? letters[i].left : letters[i].gone;
    return '?';
}

Test(node_exitfilter, every_state_and_every_event) {
    for (size_t i = 0; i < sizeof flows / sizeof *flows; i++) {
        char got[FLOW_EVENTS + 1] = {0};
        for (enum flow_event e = 0; e < FLOW_EVENTS; e++) {
            struct desk *d = desk();
            uint32_t mine;
            reach(d, i, &mine);
            enum cv_err err = befalls(d, e, mine);
            got[e] = letter(err, exit_filter_counters(d->f)->flows == 1);
            cr_expect(exit_filter_counters(d->f)->flows == 0 ||
                          exit_filter_next(d->f) <= d->now.mono + NODE_EXIT_LOOK_EVERY,
                      "%s, event %u: nobody looks for its end", flows[i].name, e);
            exit_filter_free(d->f);
        }
        cr_expect_str_eq(got, flows[i].answers, "%s:\n got %s\nwant %s", flows[i].name, got,
                         flows[i].answers);
    }
}
