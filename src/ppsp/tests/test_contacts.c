/* Message 14: peers without addresses are named by contacts (contacts.c). */
#include "support/suite.h"

#include "ppsp/limits.h"
#include "raw.h"

CV_SUITE(ppsp_contacts);

enum { CONTACTS = 1u << PPSP_MSG_PEX_REQ | 1u << PPSP_MSG_PEX_CONTACT, BASE = 0x0f1f, LEN = 117 };

static struct rig *begin(bool seeder, bool contacts, bool circuits) {
    struct rig *r = rig_new(1, 50 * 1024, 1024, CV_SHA256);
    r->config.open = false;
    r->config.contacts = contacts;
    r->config.pex = !circuits;
    r->circuits = circuits;
    rig_add(r, seeder);
    return r;
}

/* A visitor that understands these messages; 0: it does not say which. */
static struct raw *visitor(struct rig *r, uint32_t ours, uint16_t messages) {
    struct raw *w = raw_new(r, 0);
    struct ppsp_options o = raw_options(w), got;
    struct ppsp_peer_props props = {.mtu = rig_mtu(r), .hidden = r->circuits};
    w->ours = ours;
    if (r->circuits)
        w->us.handle += ours;
    else
        w->us.addr.port = (uint16_t)ours;
    cr_assert_eq(ppsp_peer_add(r->engine[0], rig_now(r), r->swarm[0], &w->us, &props), CV_ERR_OK);
    if (messages)
        o.present |= 1u << PPSP_OPT_MESSAGES;
    o.messages = messages;
    (void)raw_send_handshake(w, 0, ours, &o);
    raw_listen(w);
    cr_assert_eq(w->count, 1);
    w->theirs = raw_handshake_in(w, 0, &got);
    cr_assert_neq(w->theirs, 0);
    cr_expect_eq(got.messages,
                 BASE | (r->config.contacts ? CONTACTS
                                            : 1u << PPSP_MSG_PEX_REQ | 1u << PPSP_MSG_PEX_RESV4 |
                                                  1u << PPSP_MSG_PEX_RESV6));
    cr_assert_eq(raw_send_hex(w, ""), CV_ERR_OK);
    raw_clear(w);
    raw_listen(w);
    return w;
}

static struct raw *friend_of(struct rig *r, uint32_t ours) {
    return visitor(r, ours, BASE | CONTACTS);
}

static struct ppsp_contact contact(uint8_t k) {
    struct ppsp_contact c = {.period = 20000u + k, .len = LEN};
    memset(c.octets, k, LEN);
    return c;
}

static void put_contact(struct cv_wr *d, uint8_t k) {
    struct ppsp_contact c = contact(k);
    ppsp_pex_contact_write(d, &(struct ppsp_pex_contact){c.period, c.octets, c.len});
}

static void send_contacts(struct raw *w, uint8_t first, unsigned n) {
    struct cv_wr d = raw_datagram(w);
    for (unsigned i = 0; i < n; i++)
        put_contact(&d, (uint8_t)(first + i));
    cr_assert_eq(raw_send(w, &d), CV_ERR_OK);
}

static unsigned take(struct rig *r, enum ppsp_event_type type, struct ppsp_event *ret) {
    struct ppsp_event e;
    unsigned n = 0;
    while (ppsp_poll_event(r->engine[0], &e)) {
        if (e.type != type)
            continue;
        *ret = e;
        n++;
    }
    return n;
}

static enum cv_err tell(struct raw *w, unsigned n) {
    struct ppsp_contact c[PPSP_CONTACTS + 1];
    for (unsigned i = 0; i < n; i++)
        c[i] = contact((uint8_t)(i + 1));
    return ppsp_peer_tell(w->rig->engine[0], rig_now(w->rig), w->rig->swarm[0], &w->us, c, n);
}

/* Periods of the contacts that were told, added up. */
static unsigned told(struct raw *w) {
    static struct raw_message m[RAW_MESSAGES];
    size_t n = raw_messages(w, m);
    unsigned k = 0;
    for (size_t i = 0; i < n; i++)
        if (m[i].type == PPSP_MSG_PEX_CONTACT) {
            struct ppsp_contact c = contact((uint8_t)(m[i].stamp - 20000));
            cr_expect(m[i].len == c.len && memcmp(m[i].content, c.octets, c.len) == 0);
            k++;
        }
    return k;
}

/* ---- asking ---- */

/* Who was called wants somebody to name to others, though it has everything itself; and
 * again after a minute. */
Test(ppsp_contacts, who_was_called_asks_and_gives_what_it_hears_to_its_owner) {
    struct rig *r = begin(true, true, true);
    struct raw *w = friend_of(r, 11);
    struct ppsp_event e = {0};
    cr_expect_eq(raw_count(w, PPSP_MSG_PEX_REQ), 1);
    send_contacts(w, 5, 1);
    cr_assert_eq(take(r, PPSP_EVENT_CONTACT, &e), 1);
    struct ppsp_contact c = contact(5);
    cr_expect_eq(e.period, c.period);
    cr_expect_eq(e.swarm, r->swarm[0]);
    cr_expect(cv_endpoint_equal(&e.endpoint, &w->us));
    cr_expect(e.id_len == LEN && memcmp(e.id, c.octets, LEN) == 0);
    raw_clear(w);
    for (unsigned i = 0; i < 12; i++) {
        cr_assert_eq(raw_send_hex(w, ""), CV_ERR_OK);
        raw_wait(w, CV_SEC(5));
    }
    cr_expect_eq(raw_count(w, PPSP_MSG_PEX_REQ), 0);
    raw_wait(w, CV_SEC(1));
    cr_expect_eq(raw_count(w, PPSP_MSG_PEX_REQ), 1, "after 61 s");
    free(w);
    rig_free(r);
}

/* The caller asks while it lacks chunks. */
Test(ppsp_contacts, who_calls_asks_only_while_it_is_hungry) {
    for (unsigned seeder = 0; seeder < 2; seeder++) {
        struct rig *r = begin(seeder, true, true);
        struct raw *w = raw_new(r, 0);
        struct ppsp_options o = raw_options(w), got;
        struct ppsp_peer_props props = {.mtu = rig_mtu(r), .hidden = true, .initiate = true};
        cr_assert_eq(ppsp_peer_add(r->engine[0], rig_now(r), r->swarm[0], &w->us, &props),
                     CV_ERR_OK);
        raw_listen(w);
        cr_assert_eq(w->count, 1);
        w->theirs = raw_handshake_in(w, 0, &got);
        o.present |= 1u << PPSP_OPT_MESSAGES;
        o.messages = BASE | CONTACTS;
        raw_clear(w);
        (void)raw_send_handshake(w, w->theirs, w->ours, &o);
        raw_listen(w);
        cr_expect_eq(raw_count(w, PPSP_MSG_PEX_REQ), !seeder);
        free(w);
        rig_free(r);
    }
}

Test(ppsp_contacts, R7_10_message_14_goes_to_nobody_who_did_not_offer_it) {
    static const uint16_t masks[] = {0, BASE, BASE | 1u << PPSP_MSG_PEX_REQ};
    for (unsigned i = 0; i < sizeof masks / sizeof *masks; i++) {
        struct rig *r = begin(true, true, true);
        struct raw *w = visitor(r, 11, masks[i]);
        struct ppsp_event e;
        cr_expect_eq(raw_count(w, PPSP_MSG_PEX_REQ), 0, "row %u", i);
        cr_expect_eq(tell(w, 3), CV_ERR_OK);
        cr_assert_eq(raw_send_hex(w, "06"), CV_ERR_OK);
        raw_listen(w);
        cr_expect_eq(take(r, PPSP_EVENT_CONTACTS_WANTED, &e), 0, "row %u", i);
        cr_expect_eq(told(w), 0, "row %u", i);
        free(w);
        rig_free(r);
    }
}

/* Swarms of addresses have no contacts: there the type is as unknown as the RFC says. */
Test(ppsp_contacts, R3_4_unknown_where_the_swarm_did_not_offer_it) {
    struct rig *r = begin(true, false, false);
    struct raw *w = visitor(r, 11, UINT16_MAX);
    cr_expect_eq(raw_send_hex(w, "0e 0005 00000001 aa"), CV_ERR_UNKNOWN);
    cr_expect_eq(raw_counters(w)->drop_message_unknown, 1);
    cr_expect_eq(ppsp_peers(r->engine[0], r->swarm[0], NULL, 0), 0);
    free(w);
    rig_free(r);
}

/* ---- answering ---- */

Test(ppsp_contacts, asked_again_at_once_is_a_counter) {
    struct rig *r = begin(true, true, true);
    struct raw *w = friend_of(r, 11);
    struct ppsp_event e;
    for (unsigned i = 0; i < 1000; i++)
        cr_expect_eq(raw_send_hex(w, "06 06 06"), CV_ERR_OK);
    cr_expect_eq(take(r, PPSP_EVENT_CONTACTS_WANTED, &e), 1);
    cr_expect(cv_endpoint_equal(&e.endpoint, &w->us));
    cr_expect_eq(raw_counters(w)->drop_pex, 2999);
    r->now += CV_SEC(60);
    cr_assert_eq(raw_send_hex(w, "06"), CV_ERR_OK);
    cr_expect_eq(take(r, PPSP_EVENT_CONTACTS_WANTED, &e), 1);
    free(w);
    rig_free(r);
}

Test(ppsp_contacts, all_that_is_told_arrives_and_nothing_of_an_answer_that_was_replaced) {
    struct rig *r = begin(true, true, true);
    struct raw *w = friend_of(r, 11);
    cr_assert_eq(tell(w, PPSP_CONTACTS), CV_ERR_OK);
    raw_clear(w);
    raw_listen(w);
    cr_expect_eq(told(w), PPSP_CONTACTS);
    raw_clear(w);
    cr_assert_eq(tell(w, 5), CV_ERR_OK);
    cr_assert_eq(tell(w, 2), CV_ERR_OK);
    cr_assert_eq(tell(w, 0), CV_ERR_OK);
    raw_listen(w);
    cr_expect_eq(told(w), 2);
    raw_clear(w);
    cr_assert_eq(tell(w, PPSP_CONTACTS + 1), CV_ERR_OK);
    raw_listen(w);
    cr_expect_eq(told(w), PPSP_CONTACTS, "no more than an answer holds");
    for (unsigned i = 0; i < w->count; i++)
        cr_expect_leq(w->lens[i], 1101);
    free(w);
    rig_free(r);
}

/* ---- what may come ---- */

Test(ppsp_contacts, not_asked_for_or_too_many_is_a_counter) {
    struct rig *r = begin(false, true, true);
    struct raw *w = friend_of(r, 11);
    struct ppsp_event e;
    for (unsigned i = 0; i < 1000; i++)
        send_contacts(w, 1, PPSP_CONTACTS);
    cr_expect_eq(take(r, PPSP_EVENT_CONTACT, &e), PPSP_CONTACTS);
    cr_expect_eq(raw_counters(w)->drop_contact, 1000 * PPSP_CONTACTS - PPSP_CONTACTS);
    free(w);
    rig_free(r);
}

/* How long it is says the message: what we do not understand is read over. */
Test(ppsp_contacts, of_another_length_the_rest_is_read_and_the_owner_not_bothered) {
    static const size_t lens[] = {0, PPSP_CONTACT_MAX + 1, 900};
    static const uint8_t octets[900];
    struct rig *r = begin(true, true, true);
    struct raw *w = friend_of(r, 11);
    struct ppsp_event e;
    raw_clear(w);
    for (unsigned i = 0; i < 3; i++) {
        struct cv_wr d = raw_datagram(w);
        ppsp_pex_contact_write(&d, &(struct ppsp_pex_contact){1, octets, lens[i]});
        raw_put_range(w, &d, PPSP_MSG_REQUEST, i, i);
        cr_assert_eq(raw_send(w, &d), CV_ERR_OK);
    }
    raw_listen(w);
    cr_expect_eq(raw_count(w, PPSP_MSG_DATA), 3);
    cr_expect_eq(raw_counters(w)->drop_contact, 3);
    cr_expect_eq(take(r, PPSP_EVENT_CONTACT, &e), 0);
    free(w);
    rig_free(r);
}

Test(ppsp_contacts, cut_or_too_short_for_a_period_ends_the_channel) {
    static const char *const rows[] = {
        "0e", "0e 00", "0e 0000", "0e 0003 000000", "0e 0005 00000001", "0e ffff 00000001 aa"};
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rig *r = begin(true, true, true);
        struct raw *w = friend_of(r, 11);
        cr_expect_lt(raw_send_hex(w, rows[i]), 0, "%s", rows[i]);
        cr_expect_eq(raw_counters(w)->drop_message_bad, 1, "%s", rows[i]);
        cr_expect_eq(ppsp_peers(r->engine[0], r->swarm[0], NULL, 0), 0, "%s", rows[i]);
        free(w);
        rig_free(r);
    }
}

/* However many peers say however much to an owner who does not listen, other events have
 * room; and a swarm that was closed leaves none of these behind. */
Test(ppsp_contacts, waiting_ones_are_few_and_go_with_their_swarm) {
    struct rig *r = begin(true, true, true);
    struct raw *w[20];
    struct ppsp_event e;
    for (unsigned i = 0; i < 20; i++)
        w[i] = friend_of(r, 11 + i);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 20; i++)
            send_contacts(w[i], 1, PPSP_CONTACTS);
        cr_expect_eq(raw_counters(w[0])->drop_contact, 160u * (round + 1) - PPSP_CONTACTS_DUE);
        cr_assert_eq(raw_send_hex(w[0], "06"), CV_ERR_OK);
        cr_expect_eq(raw_counters(w[0])->drop_pex, round + 1, "nor is there room to be asked");
    }
    ppsp_swarm_close(r->engine[0], rig_now(r), r->swarm[0]);
    cr_expect_eq(take(r, PPSP_EVENT_CONTACT, &e), 0);
    struct ppsp_swarm_config config = r->config;
    config.store_ctx = &r->store[0];
    cr_assert_eq(ppsp_swarm_open(r->engine[0], rig_now(r), &config, &r->swarm[0]), CV_ERR_OK);
    raw_listen(w[0]); /* goodbyes */
    struct raw *again = friend_of(r, 99);
    send_contacts(again, 1, PPSP_CONTACTS);
    cr_expect_eq(take(r, PPSP_EVENT_CONTACT, &e), PPSP_CONTACTS);
    for (unsigned i = 0; i < 20; i++)
        free(w[i]);
    free(again);
    rig_free(r);
}
