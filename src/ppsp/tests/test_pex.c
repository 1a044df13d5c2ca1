/* Peer exchange, RFC 7574 sections 3.10, 8.13 and 12.2: who is told of whom. */
#include "support/suite.h"

#include "ppsp/limits.h"
#include "ppsp/membership.h"
#include "raw.h"

CV_SUITE(ppsp_pex);

enum { PEERS = 6 };

struct bench {
    struct rig *rig;
    struct raw *peer[PEERS];
    struct cv_dnssec_secret *secret; /* of the authority; NULL: there is none */
    struct ppsp_membership authority;
};

static const struct cv_addr addresses[PEERS] = {
    {.ip = {8, 8, 4, 1}, .port = 1001, .family = 4},     /* public */
    {.ip = {8, 8, 4, 2}, .port = 1002, .family = 4},     /* public */
    {.ip = {192, 168, 1, 3}, .port = 1003, .family = 4}, /* private */
    {.ip = {10, 0, 0, 4}, .port = 1004, .family = 4},    /* private */
    {.ip = {0x26, 0x06, 0x47, 0, 5}, .port = 1005, .family = 6},
    {.ip = {0xfe, 0x80, 6}, .port = 1006, .family = 6}, /* link-local */
};

/* ---- the authority, played by the test ---- */

struct ids {
    uint8_t id[1 + CV_DNSSEC_PUBLIC_MAX];
    size_t len;
};

static struct ids id_of(const struct cv_dnssec_secret *secret) {
    struct ids i = {.id = {CV_DNSSEC_ED25519}};
    i.len = 1 + cv_dnssec_public_of(secret, i.id + 1);
    return i;
}

static struct cv_dnssec_secret *secret_of(uint8_t seed) {
    struct cv_dnssec_secret *secret = NULL;
    uint8_t octets[CV_KEY] = {seed};
    cr_assert_eq(cv_dnssec_secret_from_seed(octets, &secret), CV_ERR_OK);
    return secret;
}

/* A certificate of `by` for an address in the rig's swarm, or in another. */
static struct ppsp_member member(struct bench *b, const struct cv_dnssec_secret *by,
                                 const struct cv_addr *addr, bool other_swarm, int64_t wall) {
    struct ids i = id_of(by);
    struct ppsp_membership m;
    struct ppsp_member c = {0};
    uint8_t id[CV_SHA_MAX];
    size_t len = b->rig->config.id_len;
    memcpy(id, b->rig->config.id, len);
    id[0] ^= other_swarm;
    cr_assert_eq(ppsp_membership_init(
                     &m, &(struct ppsp_authority){.id = i.id, .id_len = i.len, .key = by}, id, len),
                 CV_ERR_OK);
    cr_assert_eq(ppsp_membership_issue(&m, wall, &b->rig->rng[RIG_ENGINES], id, len, addr, &c),
                 CV_ERR_OK);
    ppsp_membership_done(&m);
    return c;
}

/* Whom a certificate names that the authority really signed. */
static struct cv_addr certified(struct bench *b, const struct raw_message *m) {
    struct cv_addr addr = {0};
    int64_t until;
    const struct ppsp_swarm_config *c = &b->rig->config;
    cr_expect_eq(ppsp_membership_check(&b->authority, rig_now(b->rig).wall, c->id, c->id_len,
                                       m->content, m->len, &addr, &until),
                 CV_ERR_OK);
    return addr;
}

/* ---- one engine; the peers call it ---- */

enum { PLAIN, READS, ISSUES, OWNS, OWNS_PRIVATE }; /* what the engine has of the authority */

static struct bench begin_with(bool seeder, bool pex, unsigned authority) {
    struct bench b = {.rig = rig_new(1, 50 * 1024, 1024, CV_SHA256)};
    struct ppsp_authority a = {0};
    struct ids id;
    struct ppsp_member own = {0};
    b.rig->config.pex = pex;
    if (authority != PLAIN) {
        b.secret = secret_of(9);
        id = id_of(b.secret);
        a = (struct ppsp_authority){.id = id.id, .id_len = id.len};
        cr_assert_eq(ppsp_membership_init(&b.authority, &a, b.rig->config.id, b.rig->config.id_len),
                     CV_ERR_OK);
        a.key = authority == ISSUES ? b.secret : NULL;
        b.rig->config.authority = &a;
    }
    if (authority >= OWNS) {
        const struct cv_addr *addr = &addresses[authority == OWNS ? 4 : 2];
        own = member(&b, b.secret, addr, false, rig_now(b.rig).wall);
        a.certificate = own.der;
        a.certificate_len = own.len;
    }
    rig_add(b.rig, seeder);
    b.rig->config.authority = NULL;
    ppsp_member_done(&own);
    for (unsigned i = 0; i < PEERS; i++) {
        b.peer[i] = raw_new(b.rig, 0);
        b.peer[i]->us = cv_endpoint_udp(&addresses[i]);
        b.peer[i]->ours = 100 + i;
    }
    return b;
}

static struct bench begin(bool seeder, bool pex) {
    return begin_with(seeder, pex, PLAIN);
}

static void end(struct bench *b) {
    for (unsigned i = 0; i < PEERS; i++)
        free(b->peer[i]);
    rig_free(b->rig);
    ppsp_membership_done(&b->authority);
    cv_dnssec_secret_free(b->secret);
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
    for (size_t k = 0; k < n; k++) {
        if (m[k].type == PPSP_MSG_PEX_RESCERT)
            m[k].addr = certified(b, &m[k]);
        else if (m[k].type != PPSP_MSG_PEX_RESV4 && m[k].type != PPSP_MSG_PEX_RESV6)
            continue;
        for (unsigned a = 0; a < PEERS; a++)
            if (cv_addr_equal(&m[k].addr, &addresses[a])) {
                cr_expect_eq(raw_to(w, m[k].datagram), w->ours);
                bits |= 1u << a;
            }
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

/* Without an authority: read over, whatever they hold. */
Test(ppsp_pex, certificates_are_read_over_where_there_is_no_authority) {
    struct bench b = begin(true, true);
    arrive(&b, 0, 0);
    raw_clear(b.peer[0]);
    cr_expect_eq(raw_send_hex(b.peer[0], "0d 0003 aabbcc 08 00000000 00000000"), CV_ERR_OK);
    raw_listen(b.peer[0]);
    cr_expect_eq(raw_count(b.peer[0], PPSP_MSG_DATA), 1);
    cr_expect_eq(raw_counters(b.peer[0])->drop_pex, 1);
    end(&b);
}

/* ---- certificates (section 12.2) ---- */

static void send_certificates(struct raw *w, const struct ppsp_member *c, unsigned n) {
    struct cv_wr d = raw_datagram(w);
    for (unsigned i = 0; i < n; i++)
        ppsp_pex_cert_write(&d, &(struct ppsp_pex_cert){c[i].der, c[i].len});
    cr_assert_eq(raw_send(w, &d), CV_ERR_OK);
}

Test(ppsp_pex, R3_10_3_with_an_authority_peers_are_named_by_certificates_only) {
    struct bench b = begin_with(true, true, ISSUES);
    arrive(&b, 0, PEERS - 1);
    cr_expect_eq(told(&b, 0), 1u << 1 | 1u << 4, "R8.13.1: not the private ones");
    cr_expect_eq(raw_count(b.peer[0], PPSP_MSG_PEX_RESCERT), 2);
    cr_expect_eq(
        raw_count(b.peer[0], PPSP_MSG_PEX_RESV4) + raw_count(b.peer[0], PPSP_MSG_PEX_RESV6), 0);
    end(&b);
    /* nor are plain addresses believed */
    b = begin_with(false, true, READS);
    arrive(&b, 0, 0);
    raw_listen(b.peer[0]);
    cr_assert_eq(raw_count(b.peer[0], PPSP_MSG_PEX_REQ), 1);
    cr_assert_eq(raw_send_hex(b.peer[0], "05 08080402 03ea"), CV_ERR_OK);
    cr_expect_eq(calls(&b, &addresses[1]), 0);
    cr_expect_eq(raw_counters(b.peer[0])->drop_pex, 1);
    end(&b);
}

Test(ppsp_pex, R3_10_1_certificates_of_peers_heard_in_the_last_minute) {
    struct bench b = begin_with(true, true, ISSUES);
    arrive(&b, 0, 1);
    b.rig->now += CV_SEC(61);
    arrive(&b, 4, 4);
    cr_assert_eq(raw_send_hex(b.peer[0], ""), CV_ERR_OK);
    cr_expect_eq(told(&b, 4), 1u << 0);
    end(&b);
}

/* Who is not the authority has nothing to give until it was given something, and gives
 * that on. */
Test(ppsp_pex, R8_13_2_a_certified_peer_is_called_and_its_certificate_given_on) {
    struct bench b = begin_with(false, true, READS);
    arrive(&b, 0, 1);
    raw_listen(b.peer[0]);
    cr_expect_eq(told(&b, 1), 0);
    struct ppsp_member c[] = {
        member(&b, b.secret, &addresses[0], false, rig_now(b.rig).wall),
        member(&b, b.secret, &addresses[4], false, rig_now(b.rig).wall),
    };
    send_certificates(b.peer[0], c, 2);
    cr_expect_eq(calls(&b, &addresses[4]), 1);
    cr_expect_eq(raw_counters(b.peer[0])->drop_pex_certificate, 0);
    b.rig->now += CV_SEC(60);
    cr_assert_eq(raw_send_hex(b.peer[0], ""), CV_ERR_OK);
    cr_expect_eq(told(&b, 1), 1u << 0, "the one that speaks");
    ppsp_member_done(&c[0]);
    ppsp_member_done(&c[1]);
    end(&b);
}

Test(ppsp_pex, R12_2_2_after_a_defective_certificate_the_rest_is_discarded) {
    struct cv_dnssec_secret *stranger = secret_of(8);
    for (unsigned row = 0; row < 5; row++) {
        struct bench b = begin_with(false, true, READS);
        int64_t wall = rig_now(b.rig).wall;
        arrive(&b, 0, 3);
        raw_listen(b.peer[0]);
        struct ppsp_member c[] = {
            member(&b, row == 0 ? stranger : b.secret, &addresses[4], row == 1,
                   wall - (row == 2 ? PPSP_MEMBER_TIME + 1 : 0)),
            member(&b, b.secret, &addresses[4], false, wall),
        };
        if (row == 3)
            c[0].der[c[0].len - 1u] ^= 1; /* the signature */
        if (row == 4)
            c[0].len = 0;
        send_certificates(b.peer[0], c, 2);
        cr_expect_eq(calls(&b, &addresses[4]), 0, "row %u", row);
        cr_expect_eq(raw_counters(b.peer[0])->drop_pex_certificate, 1, "row %u", row);
        cr_expect_eq(raw_counters(b.peer[0])->drop_pex, 1, "row %u: the second", row);
        ppsp_member_done(&c[0]);
        ppsp_member_done(&c[1]);
        end(&b);
    }
    cv_dnssec_secret_free(stranger);
}

Test(ppsp_pex, R3_10_2_certified_peers_do_not_become_the_most_either) {
    struct bench b = begin_with(false, true, READS);
    int64_t wall = rig_now(b.rig).wall;
    arrive(&b, 0, 0);
    raw_listen(b.peer[0]);
    struct ppsp_member c[] = {member(&b, b.secret, &addresses[1], false, wall),
                              member(&b, b.secret, &addresses[4], false, wall)};
    send_certificates(b.peer[0], c, 2);
    cr_expect_eq(calls(&b, &addresses[1]), 1);
    cr_expect_eq(calls(&b, &addresses[4]), 0);
    cr_expect_eq(raw_counters(b.peer[0])->drop_pex, 1);
    ppsp_member_done(&c[0]);
    ppsp_member_done(&c[1]);
    end(&b);
}

Test(ppsp_pex, certificates_nobody_asked_for_cost_a_counter_and_no_signature) {
    struct bench b = begin_with(true, true, READS); /* has everything: asks nobody */
    arrive(&b, 0, 0);
    struct ppsp_member c = member(&b, b.secret, &addresses[1], false, rig_now(b.rig).wall);
    for (unsigned i = 0; i < 1000; i++)
        send_certificates(b.peer[0], &c, 1);
    cr_expect_eq(raw_counters(b.peer[0])->drop_pex, 1000);
    cr_expect_eq(raw_counters(b.peer[0])->drop_pex_certificate, 0);
    cr_expect_eq(calls(&b, &addresses[1]), 0);
    ppsp_member_done(&c);
    end(&b);
}

/* Section 12.2.2: a peer shows the certificate that it was given of itself. */
Test(ppsp_pex, our_own_certificate_goes_along) {
    struct bench b = begin_with(true, true, OWNS);
    arrive(&b, 0, 0);
    cr_expect_eq(told(&b, 0), 1u << 4);
    end(&b);
    /* R8.13.1 holds for ourselves, too */
    b = begin_with(true, true, OWNS_PRIVATE);
    arrive(&b, 0, 0);
    arrive(&b, 3, 3);
    cr_expect_eq(told(&b, 0), 0, "private, to somebody public");
    cr_expect_eq(told(&b, 3), 1u << 2);
    end(&b);
}

/* Section 7.10: what is not understood need not be sent. */
Test(ppsp_pex, R7_10_certificates_go_to_who_understands_them) {
    static const uint16_t masks[] = {UINT16_MAX, (uint16_t) ~(1u << PPSP_MSG_PEX_RESCERT)};
    for (unsigned i = 0; i < 2; i++) {
        struct bench b = begin_with(true, true, ISSUES);
        struct ppsp_options o = raw_options(b.peer[0]), got;
        o.present |= 1u << PPSP_OPT_MESSAGES;
        o.messages = masks[i];
        arrive(&b, 1, 1);
        (void)raw_send_handshake(b.peer[0], 0, b.peer[0]->ours, &o);
        raw_clear(b.peer[0]);
        raw_listen(b.peer[0]);
        b.peer[0]->theirs = raw_handshake_in(b.peer[0], 0, &got);
        cr_expect_eq(got.messages, 0x0f1f | 1u << PPSP_MSG_PEX_REQ | 1u << PPSP_MSG_PEX_RESCERT);
        cr_expect_eq(told(&b, 0), i == 0 ? 1u << 1 : 0);
        end(&b);
    }
}
