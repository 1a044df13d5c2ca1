/* Whole networks of honest nodes, in virtual time. */
#include "support/suite.h"

#include "dht/krpc.h"
#include "dht/tests/switch.h"

CV_SUITE(dht_network);

static struct dht_id key(uint8_t fill) {
    struct dht_id id;
    memset(id.b, fill, sizeof id.b);
    return id;
}

static unsigned good_nodes(const struct switch_node *v) {
    struct dht_status st;
    dht_status(v->d, &st);
    return st.ipv4.nodes_good;
}

Test(dht_network, eight_newcomers_meet_announce_and_find_within_a_second) {
    struct net *n = net_of(1, 8, true);
    struct dht_id k = key(0x5a);
    dht_op ops[8];
    /* Announced at once: waits for READY by itself. */
    for (unsigned i = 1; i < 8; i++)
        cr_assert_eq(dht_announce(n->v[i].d, n->now, &k, 7000, false, &ops[i]), CV_ERR_OK);
    net_run(n, CV_MSEC(400));
    for (unsigned i = 1; i < 8; i++) {
        const struct switch_event *e = net_event(&n->v[i], DHT_EVENT_DONE, ops[i]);
        cr_assert(e, "announce of node %u is not over", i);
        cr_expect_eq(e->done.err, CV_ERR_OK);
        cr_expect_geq(e->done.stored, 1);
        cr_expect(net_event(&n->v[i], DHT_EVENT_READY, 0));
        cr_expect_lt(e->at, CV_SEC(1) + CV_MSEC(300), "node %u took %lu us", i,
                     (unsigned long)(e->at - CV_SEC(1)));
    }
    dht_op find;
    cr_assert_eq(dht_find_peers(n->v[3].d, n->now, &k, &find), CV_ERR_OK);
    cv_usec from = n->now.mono;
    const struct switch_event *e = net_wait(n, &n->v[3], find, CV_SEC(1));
    cr_assert(e);
    cr_expect_leq(e->at - from, CV_MSEC(100));
    for (unsigned i = 1; i < 8; i++) {
        struct cv_addr peer = n->v[i].addr;
        peer.port = 7000;
        cr_expect(net_found(&n->v[3], find, &peer), "peer %u not found", i);
    }
    for (unsigned i = 0; i < 8; i++)
        cr_expect_eq(good_nodes(&n->v[i]), 7, "node %u knows %u", i, good_nodes(&n->v[i]));
    net_free(n);
}

/* Everybody can find what anybody announced. */
static void announce_and_find(struct net *n, unsigned announcers, cv_usec settle) {
    net_run(n, settle);
    unsigned missing = 0;
    for (unsigned a = 0; a < announcers; a++) {
        unsigned who = (unsigned)cv_rng_below(&n->rng, n->count);
        unsigned asks = (unsigned)cv_rng_below(&n->rng, n->count);
        struct dht_id k = dht_id_random(&n->rng);
        dht_op op, find;
        cr_assert_eq(dht_announce(n->v[who].d, n->now, &k, 0, true, &op), CV_ERR_OK);
        const struct switch_event *e = net_wait(n, &n->v[who], op, CV_SEC(30));
        cr_assert(e, "announce did not end");
        cr_expect_eq(e->done.err, CV_ERR_OK);
        cr_assert_eq(dht_find_peers(n->v[asks].d, n->now, &k, &find), CV_ERR_OK);
        e = net_wait(n, &n->v[asks], find, CV_SEC(30));
        cr_assert(e, "find did not end");
        missing += !net_found(&n->v[asks], find, &n->v[who].addr);
    }
    cr_expect_eq(missing, 0, "%u of %u announcements were not found", missing, announcers);
}

Test(dht_network, fifty_nodes) {
    struct net *n = net_of(2, 50, false);
    n->delay_min = CV_MSEC(10);
    n->delay_max = CV_MSEC(150);
    announce_and_find(n, 40, CV_SEC(20));
    for (unsigned i = 0; i < n->count; i++)
        cr_expect_geq(good_nodes(&n->v[i]), 8, "node %u knows only %u", i, good_nodes(&n->v[i]));
    net_free(n);
}

Test(dht_network, three_hundred_nodes) {
    struct net *n = net_of(3, 300, false);
    n->delay_min = CV_MSEC(10);
    n->delay_max = CV_MSEC(150);
    announce_and_find(n, 40, CV_SEC(60));
    net_free(n);
}

Test(dht_network, loss_of_a_fifth) {
    struct net *n = net_of(4, 60, false);
    n->delay_min = CV_MSEC(10);
    n->delay_max = CV_MSEC(300);
    n->loss_permille = 200;
    announce_and_find(n, 40, CV_SEC(60));
    net_free(n);
}

Test(dht_network, dead_nodes_do_not_hold_up_a_lookup) {
    struct net *n = net_of(5, 20, true);
    net_run(n, CV_SEC(5));
    for (unsigned i = 10; i < 20; i++)
        n->v[i].d = dht_free(n->v[i].d);
    struct dht_id k = key(0x11);
    dht_op op;
    cv_usec from = n->now.mono;
    cr_assert_eq(dht_announce(n->v[1].d, n->now, &k, 99, false, &op), CV_ERR_OK);
    const struct switch_event *e = net_wait(n, &n->v[1], op, CV_SEC(10));
    cr_assert(e);
    cr_expect_eq(e->done.err, CV_ERR_OK);
    cr_expect_geq(e->done.stored, 8);
    cr_expect_lt(e->at - from, CV_MSEC(800), "took %lu ms", (unsigned long)(e->at - from) / 1000);
    net_free(n);
}

Test(dht_network, nobody_answers) {
    struct net *n = net_new(6);
    struct dht_config cfg = {.ipv4 = true, .scope = DHT_SCOPE_LOOPBACK};
    struct cv_addr me = switch_loopback(0), gone = switch_loopback(1);
    struct switch_node *v = net_add(n, &cfg, &me);
    cr_assert_eq(dht_bootstrap_add(v->d, n->now, &gone), CV_ERR_OK);
    struct dht_id k = key(1);
    dht_op op;
    cr_assert_eq(dht_find_peers(v->d, n->now, &k, &op), CV_ERR_OK);
    const struct switch_event *e = net_wait(n, v, op, CV_SEC(10));
    cr_assert(e, "must end within 10 s");
    cr_expect_eq(e->done.err, CV_ERR_TIMEDOUT);
    e = net_event(v, DHT_EVENT_NO_BOOTSTRAP, 0);
    cr_assert(e);
    cr_expect_eq(e->tried, 1);
    cr_expect_not(net_event(v, DHT_EVENT_READY, 0));

    /* It keeps trying: the contact comes up later. */
    net_add(n, &cfg, &gone);
    net_run(n, CV_SEC(70));
    cr_expect(net_event(v, DHT_EVENT_READY, 0));
    net_free(n);
}

Test(dht_network, scope_is_kept) {
    struct net *n = net_new(7);
    struct dht_config cfg = {.ipv4 = true, .scope = DHT_SCOPE_LOOPBACK};
    struct cv_addr me = switch_loopback(0), far = switch_public(0);
    struct switch_node *v = net_add(n, &cfg, &me);
    cr_expect_eq(dht_bootstrap_add(v->d, n->now, &far), CV_ERR_DENIED);
    static const char ping[] = "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
    cr_expect_eq(dht_on_datagram(v->d, n->now, &far, (const uint8_t *)ping, sizeof ping - 1),
                 CV_ERR_DENIED);
    net_drain(n, v);
    cr_expect_eq(n->sent, 0, "answered outside its scope");
    net_free(n);
}

Test(dht_network, read_only_node_uses_the_network_and_enters_no_table) {
    struct net *n = net_of(8, 12, true);
    struct dht_config cfg = {.ipv4 = true, .scope = DHT_SCOPE_LOOPBACK, .read_only = true};
    struct cv_addr addr = switch_loopback(20);
    struct switch_node *ro = net_add(n, &cfg, &addr);
    dht_bootstrap_add(ro->d, n->now, &n->v[0].addr);
    net_run(n, CV_SEC(5));
    struct dht_id k = key(0x77);
    dht_op op, find;
    cr_assert_eq(dht_announce(n->v[4].d, n->now, &k, 1234, false, &op), CV_ERR_OK);
    cr_assert(net_wait(n, &n->v[4], op, CV_SEC(5)));
    cr_assert_eq(dht_find_peers(ro->d, n->now, &k, &find), CV_ERR_OK);
    cr_assert(net_wait(n, ro, find, CV_SEC(5)));
    struct cv_addr peer = n->v[4].addr;
    peer.port = 1234;
    cr_expect(net_found(ro, find, &peer));
    dht_op ping;
    cr_assert_eq(dht_ping(n->v[4].d, n->now, &addr, &ping), CV_ERR_OK);
    cr_assert(net_wait(n, &n->v[4], ping, CV_SEC(5)));
    cr_expect_eq(net_event(&n->v[4], DHT_EVENT_DONE, ping)->done.err, CV_ERR_TIMEDOUT,
                 "answers nothing");
    for (unsigned i = 0; i < 12; i++) {
        struct dht_table_row rows[64];
        size_t rc = dht_table_rows(n->v[i].d, rows, 64);
        for (size_t j = 0; j < rc; j++)
            cr_expect_not(cv_addr_equal(&rows[j].node.addr, &addr), "node %u holds it", i);
    }
    net_free(n);
}

Test(dht_network, external_address_by_vote_and_id_that_fits_it) {
    struct net *n = net_new(9);
    for (unsigned i = 0; i < 12; i++) {
        struct dht_config cfg = {.ipv4 = true, .scope = DHT_SCOPE_PUBLIC};
        struct cv_addr addr = switch_public(i);
        struct switch_node *v = net_add(n, &cfg, &addr);
        if (i)
            dht_bootstrap_add(v->d, n->now, &n->v[0].addr);
    }
    net_run(n, CV_SEC(30));
    for (unsigned i = 0; i < 12; i++) {
        struct dht_status st;
        dht_status(n->v[i].d, &st);
        cr_expect(cv_addr_equal(&st.ipv4.external, &n->v[i].addr), "node %u", i);
        cr_expect(dht_id_fits_address(&st.ipv4.id, &n->v[i].addr), "node %u", i);
        cr_expect(net_event(&n->v[i], DHT_EVENT_EXTERNAL_ADDRESS, 0));
    }
    net_free(n);
}

/* Behind a NAT that gives every peer another port (the last node), and none (the others). */
static bool symmetric_nat(struct net *n, struct switch_datagram *dg) {
    const struct cv_addr *inside = &n->v[11].addr;
    if (cv_addr_same_ip(&dg->from, inside))
        dg->from.port = (uint16_t)(20000 + dg->to.ip[1]);
    if (cv_addr_same_ip(&dg->to, inside))
        dg->to.port = inside->port;
    return true;
}

Test(dht_network, a_port_that_differs_from_peer_to_peer_is_seen) {
    struct net *n = net_new(14);
    for (unsigned i = 0; i < 12; i++) {
        struct dht_config cfg = {.ipv4 = true, .scope = DHT_SCOPE_PUBLIC};
        struct cv_addr addr = switch_public(i);
        struct switch_node *v = net_add(n, &cfg, &addr);
        struct dht_status st;
        dht_status(v->d, &st);
        cr_expect_not(st.ipv4.same_port, "nobody has said anything yet");
        if (i)
            dht_bootstrap_add(v->d, n->now, &n->v[0].addr);
    }
    n->filter = symmetric_nat;
    net_run(n, CV_SEC(30));
    for (unsigned i = 0; i < 12; i++) {
        struct dht_status st;
        dht_status(n->v[i].d, &st);
        cr_expect(cv_addr_same_ip(&st.ipv4.external, &n->v[i].addr), "node %u", i);
        cr_expect_eq(st.ipv4.same_port, i != 11, "node %u", i);
    }
    net_free(n);
}

Test(dht_network, both_families) {
    struct net *n = net_new(10);
    /* A dual-stack node is one engine with two addresses: the switch knows it
     * by two entries, of which the second forwards. Here: IPv6 only. */
    for (unsigned i = 0; i < 20; i++) {
        struct cv_addr addr = switch_v6(i);
        struct dht_config cfg = {.ipv6 = true, .scope = DHT_SCOPE_PUBLIC, .external6 = addr};
        struct switch_node *v = net_add(n, &cfg, &addr);
        if (i)
            dht_bootstrap_add(v->d, n->now, &n->v[0].addr);
    }
    announce_and_find(n, 10, CV_SEC(10));
    net_free(n);
}

Test(dht_network, same_seed_same_run) {
    uint64_t sent[2];
    for (int i = 0; i < 2; i++) {
        struct net *n = net_of(11, 30, false);
        n->loss_permille = 100;
        n->delay_max = CV_MSEC(200);
        net_run(n, CV_SEC(120));
        sent[i] = n->sent;
        net_free(n);
    }
    cr_expect_eq(sent[0], sent[1]);
}

static struct dht_item item_of(const char *text, int64_t seq, uint8_t seed_octet) {
    struct dht_item item = {.mutable_item = seq >= 0, .seq = seq >= 0 ? seq : 0};
    cr_assert_eq(dht_item_set_bytes(&item, text, strlen(text)), CV_ERR_OK);
    if (seq < 0)
        return item;
    uint8_t seed[CV_KEY], msg[DHT_SIGNED_MAX];
    struct cv_ed25519_secret secret;
    memset(seed, seed_octet, sizeof seed);
    cv_ed25519_from_seed(&secret, seed);
    memcpy(item.k, secret.public_key, sizeof item.k);
    item.salt_len = 4;
    memcpy(item.salt, "salt", 4);
    ssize_t len = dht_item_signed(&item, msg);
    cr_assert_gt(len, 0);
    cv_ed25519_sign(item.sig, &secret, "", msg, (size_t)len);
    return item;
}

Test(dht_network, items_are_put_and_got) {
    struct net *n = net_of(12, 16, true);
    net_run(n, CV_SEC(3));

    struct dht_item plain = item_of("hello", -1, 0);
    struct dht_id target = dht_item_target(&plain);
    dht_op op;
    cr_assert_eq(dht_put(n->v[1].d, n->now, &plain, NULL, &op), CV_ERR_OK);
    const struct switch_event *e = net_wait(n, &n->v[1], op, CV_SEC(5));
    cr_assert(e);
    cr_expect_eq(e->done.err, CV_ERR_OK);
    cr_expect_geq(e->done.stored, 8);
    cr_assert_eq(dht_get_immutable(n->v[9].d, n->now, &target, &op), CV_ERR_OK);
    cr_assert(net_wait(n, &n->v[9], op, CV_SEC(5)));
    e = net_event(&n->v[9], DHT_EVENT_ITEM, op);
    cr_assert(e);
    cr_expect_arr_eq(e->item.v, "5:hello", 7);

    /* Mutable: newest wins, older and conflicting are refused with words. */
    struct dht_item first = item_of("one", 1, 7), second = item_of("two", 5, 7);
    cr_assert_eq(dht_put(n->v[2].d, n->now, &first, NULL, &op), CV_ERR_OK);
    cr_expect_eq(net_wait(n, &n->v[2], op, CV_SEC(5))->done.err, CV_ERR_OK);
    int64_t cas = 1;
    cr_assert_eq(dht_put(n->v[3].d, n->now, &second, &cas, &op), CV_ERR_OK);
    cr_expect_eq(net_wait(n, &n->v[3], op, CV_SEC(5))->done.err, CV_ERR_OK);
    cr_assert_eq(dht_put(n->v[4].d, n->now, &first, NULL, &op), CV_ERR_OK);
    e = net_wait(n, &n->v[4], op, CV_SEC(5));
    cr_expect_eq(e->done.err, CV_ERR_DENIED);
    cr_expect_geq(e->done.refused_seq, 8);
    struct dht_item third = item_of("three", 6, 7);
    cr_assert_eq(dht_put(n->v[4].d, n->now, &third, &cas, &op), CV_ERR_OK);
    e = net_wait(n, &n->v[4], op, CV_SEC(5));
    cr_expect_geq(e->done.refused_cas, 8, "cas %u seq %u", e->done.refused_cas,
                  e->done.refused_seq);

    cr_assert_eq(dht_get_mutable(n->v[11].d, n->now, first.k, "salt", 4, -1, &op), CV_ERR_OK);
    e = net_wait(n, &n->v[11], op, CV_SEC(5));
    cr_expect_eq(e->done.err, CV_ERR_OK);
    e = net_event(&n->v[11], DHT_EVENT_ITEM, op);
    cr_assert(e);
    cr_expect_eq(e->item.seq, 5);
    cr_expect_arr_eq(e->item.v, "3:two", 5);

    /* Nothing newer than what is known: no item. */
    cr_assert_eq(dht_get_mutable(n->v[11].d, n->now, first.k, "salt", 4, 5, &op), CV_ERR_OK);
    e = net_wait(n, &n->v[11], op, CV_SEC(5));
    cr_expect_eq(e->done.err, CV_ERR_NOENT);
    cr_expect_not(net_event(&n->v[11], DHT_EVENT_ITEM, op));
    net_free(n);
}

/* Every store is answered with this error. */
static bool refuse_stores(struct net *n, struct switch_datagram *dg) {
    struct dht_msg q;
    if (dht_msg_read(dg->data, dg->len, &q) || q.kind != DHT_QUERY ||
        (q.method != DHT_METHOD_PUT && q.method != DHT_METHOD_ANNOUNCE))
        return true;
    uint8_t buf[256];
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    dht_msg_write(&w, &(struct dht_msg){.kind = DHT_ERROR,
                                        .t = q.t,
                                        .code = *(const int *)n->filter_ctx,
                                        .text = {(const uint8_t *)"no", 2}});
    struct cv_addr from = dg->to, to = dg->from;
    net_send(n, &from, &to, buf, cv_wr_len(&w));
    return false;
}

/* clang-format off */
static const struct {
    int code;
    size_t offset; /* of its counter */
} refusals[] = {
    {203, offsetof(struct dht_done, refused_token)}, {205, offsetof(struct dht_done, refused_value)},
    {206, offsetof(struct dht_done, refused_sig)},   {207, offsetof(struct dht_done, refused_salt)},
    {301, offsetof(struct dht_done, refused_cas)},   {302, offsetof(struct dht_done, refused_seq)},
    {201, offsetof(struct dht_done, refused_other)}, {202, offsetof(struct dht_done, refused_other)},
    {204, offsetof(struct dht_done, refused_other)},
};
/* clang-format on */

Test(dht_network, callers_see_why_nodes_would_not_store) {
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct net *n = net_of(60 + i, 12, true);
        int code = refusals[i].code;
        net_run(n, CV_SEC(3));
        n->filter = refuse_stores;
        n->filter_ctx = &code;
        struct dht_config cfg = {.ipv4 = true, .scope = DHT_SCOPE_LOOPBACK, .read_only = true};
        struct cv_addr addr = switch_loopback(40);
        struct switch_node *v = net_add(n, &cfg, &addr); /* keeps nothing itself */
        dht_bootstrap_add(v->d, n->now, &n->v[0].addr);
        struct dht_item item = item_of("one", 1, 7);
        dht_op op;
        cr_assert_eq(dht_put(v->d, n->now, &item, NULL, &op), CV_ERR_OK);
        const struct switch_event *e = net_wait(n, v, op, CV_SEC(10));
        cr_assert(e);
        cr_expect_eq(e->done.err, CV_ERR_DENIED, "%d", code);
        cr_expect_eq(e->done.stored, 0, "%d", code);
        cr_expect_geq(e->done.refused, 8, "%d", code);
        cr_expect_eq(*(const unsigned *)(const void *)((const char *)&e->done + refusals[i].offset),
                     e->done.refused, "%d", code);
        net_free(n);
    }
}

/* BEP 45: an engine of both families has two ids, far apart, and each of them
 * answers on its own address and fits that. */
Test(dht_network, two_families_have_two_ids) {
    struct net *n = net_new(70);
    struct cv_addr four = switch_public(1), six = switch_v6(1), asker = switch_v6(2);
    struct dht_config cfg = {
        .ipv4 = true, .ipv6 = true, .scope = DHT_SCOPE_PUBLIC, .external4 = four, .external6 = six};
    struct switch_node *v = net_add(n, &cfg, &four);
    struct dht_status st;
    dht_status(v->d, &st);
    cr_expect(dht_id_fits_address(&st.ipv4.id, &four));
    cr_expect(dht_id_fits_address(&st.ipv6.id, &six));
    cr_expect_lt(dht_id_common_bits(&st.ipv4.id, &st.ipv6.id), 16);
    static const char ping[] = "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
    cr_expect_eq(dht_on_datagram(v->d, n->now, &asker, (const uint8_t *)ping, sizeof ping - 1),
                 CV_ERR_OK);
    uint8_t arena[4 * DHT_DATAGRAM_MAX];
    struct cv_run runs[4];
    struct cv_batch b = cv_batch_init(arena, 4, DHT_DATAGRAM_MAX, 0, runs, 4);
    dht_poll_transmit(v->d, n->now, &b);
    bool answered = false;
    for (uint32_t i = 0; i < b.runs_used; i++) {
        struct dht_msg m;
        cr_assert_eq(dht_msg_read(cv_batch_at(&b, &runs[i], 0), runs[i].size, &m), CV_ERR_OK);
        answered |= m.kind == DHT_ANSWER && memcmp(m.id.p, st.ipv6.id.b, DHT_ID) == 0 &&
                    cv_addr_equal(&runs[i].to.addr, &asker);
    }
    cr_expect(answered);
    net_free(n);
}

/* Alone it asks ever more rarely: at most once a minute in the end. */
Test(dht_network, backs_off_when_alone) {
    struct net *n = net_new(71);
    struct dht_config cfg = {.ipv4 = true, .scope = DHT_SCOPE_LOOPBACK};
    struct cv_addr me = switch_loopback(0), gone = switch_loopback(1);
    struct switch_node *v = net_add(n, &cfg, &me);
    cr_assert_eq(dht_bootstrap_add(v->d, n->now, &gone), CV_ERR_OK);
    net_run(n, CV_SEC(600));
    uint64_t before = n->sent;
    net_run(n, CV_SEC(3600));
    cr_expect_geq(n->sent - before, 30, "%lu: it must go on trying",
                  (unsigned long)(n->sent - before));
    cr_expect_leq(n->sent - before, 150, "%lu datagrams in an hour",
                  (unsigned long)(n->sent - before));
    net_free(n);
}

/* Sixty at once, kept: they are still found when everything stored at first has
 * expired long ago, and their rounds have drifted apart. */
Test(dht_network, kept_operations_are_repeated_and_do_not_storm) {
    enum { KEPT = 60 };
    struct net *n = net_of(17, 20, true);
    net_run(n, CV_SEC(5));
    dht_op ops[KEPT], find;
    for (unsigned i = 0; i < KEPT; i++) {
        struct dht_id k = key((uint8_t)i);
        cr_assert_eq(dht_announce(n->v[1].d, n->now, &k, 7000, false, &ops[i]), CV_ERR_OK);
        cr_assert_eq(dht_keep(n->v[1].d, ops[i]), CV_ERR_OK);
    }
    struct dht_item item = item_of("kept", 3, 9);
    dht_op put;
    cr_assert_eq(dht_put(n->v[2].d, n->now, &item, NULL, &put), CV_ERR_OK);
    cr_assert_eq(dht_keep(n->v[2].d, put), CV_ERR_OK);
    cr_assert_eq(dht_find_peers(n->v[2].d, n->now, &(struct dht_id){{1}}, &find), CV_ERR_OK);
    cr_expect_eq(dht_keep(n->v[2].d, find), CV_ERR_INVAL, "a question is not kept");
    net_run(n, CV_SEC(3 * 3600));
    struct dht_id k = key(33);
    struct cv_addr peer = n->v[1].addr;
    peer.port = 7000;
    cr_assert_eq(dht_find_peers(n->v[9].d, n->now, &k, &find), CV_ERR_OK);
    cr_assert(net_wait(n, &n->v[9], find, CV_SEC(5)));
    cr_expect(net_found(&n->v[9], find, &peer));
    cr_assert_eq(dht_get_mutable(n->v[9].d, n->now, item.k, "salt", 4, -1, &find), CV_ERR_OK);
    cr_expect_eq(net_wait(n, &n->v[9], find, CV_SEC(5))->done.err, CV_ERR_OK);

    /* Rounds of the last hour: each once in 24 to 30 minutes, not all at one time. */
    unsigned rounds = 0, crowded = 0, in_minute[61] = {0};
    const struct switch_node *v = &n->v[1];
    for (unsigned i = 0; i < v->log_count; i++) {
        cv_usec ago = cv_usec_since(n->now.mono, v->log[i].at);
        if (v->log[i].kind != DHT_EVENT_DONE || ago > CV_SEC(3600))
            continue;
        rounds++;
        in_minute[ago / CV_SEC(60)]++;
    }
    for (unsigned i = 0; i < 61; i++)
        crowded = in_minute[i] > crowded ? in_minute[i] : crowded;
    cr_expect_geq(rounds, 2 * KEPT * 8 / 10, "%u rounds", rounds);
    cr_expect_leq(rounds, 3 * KEPT, "%u rounds", rounds);
    cr_expect_leq(crowded, KEPT / 3, "%u in one minute", crowded);

    /* Cancelled: the next round does not come. */
    for (unsigned i = 0; i < KEPT; i++)
        dht_cancel(n->v[1].d, n->now, ops[i]);
    net_run(n, CV_SEC(3600));
    cr_assert_eq(dht_find_peers(n->v[9].d, n->now, &k, &find), CV_ERR_OK);
    cr_assert(net_wait(n, &n->v[9], find, CV_SEC(5)));
    cr_expect_not(net_found(&n->v[9], find, &peer));
    net_free(n);
}

Test(dht_network, at_most_eight_kept_rounds_are_under_way) {
    enum { KEPT = 40 };
    struct net *n = net_of(18, 10, true);
    n->delay_min = n->delay_max = CV_MSEC(100);
    net_run(n, CV_SEC(5));
    dht_op op;
    for (unsigned i = 0; i < KEPT; i++) {
        struct dht_id k = key((uint8_t)i);
        cr_assert_eq(dht_announce(n->v[1].d, n->now, &k, 7000, false, &op), CV_ERR_OK);
        cr_assert_eq(dht_keep(n->v[1].d, op), CV_ERR_OK);
    }
    net_run(n, CV_SEC(60));
    /* A suspended machine: all are due at once. */
    n->v[1].log_count = 0;
    cv_usec from = n->now.mono += CV_SEC(3600);
    net_run(n, CV_SEC(60));
    unsigned first_second = 0, all = 0;
    for (unsigned i = 0; i < n->v[1].log_count; i++) {
        bool done = n->v[1].log[i].kind == DHT_EVENT_DONE;
        all += done;
        first_second += done && n->v[1].log[i].at < from + CV_SEC(1);
    }
    cr_expect_eq(all, KEPT, "%u", all);
    cr_expect_leq(first_second, DHT_KEEP_AT_ONCE, "%u", first_second);
    net_free(n);
}

Test(dht_network, ask_names_the_node_and_whom_it_knows) {
    struct net *n = net_of(19, 6, true);
    net_run(n, CV_SEC(2));
    struct dht_id k = key(3);
    dht_op op;
    cr_assert_eq(dht_ask(n->v[1].d, n->now, &n->v[2].addr, &k, &op), CV_ERR_OK);
    cr_expect_eq(net_wait(n, &n->v[1], op, CV_SEC(5))->done.err, CV_ERR_OK);
    const struct switch_event *e = net_event(&n->v[1], DHT_EVENT_NODES, op);
    cr_assert(e);
    cr_expect_eq(e->n, 1 + 4, "itself and all but us and itself: %zu", e->n);
    cr_expect(cv_addr_equal(&e->nodes[0].addr, &n->v[2].addr));
    for (size_t i = 1; i < e->n; i++)
        cr_expect_not(cv_addr_equal(&e->nodes[i].addr, &n->v[1].addr));
    net_free(n);
}

Test(dht_network, ping_and_sample) {
    struct net *n = net_of(13, 6, true);
    net_run(n, CV_SEC(2));
    struct dht_id k = key(3);
    dht_op op;
    cr_assert_eq(dht_ping(n->v[1].d, n->now, &n->v[2].addr, &op), CV_ERR_OK);
    cr_expect_eq(net_wait(n, &n->v[1], op, CV_SEC(5))->done.err, CV_ERR_OK);
    cr_expect(net_event(&n->v[1], DHT_EVENT_NODES, op));
    struct cv_addr nobody = switch_loopback(50);
    cr_assert_eq(dht_ping(n->v[1].d, n->now, &nobody, &op), CV_ERR_OK);
    cr_expect_eq(net_wait(n, &n->v[1], op, CV_SEC(5))->done.err, CV_ERR_TIMEDOUT);
    cr_assert_eq(dht_announce(n->v[1].d, n->now, &k, 5, false, &op), CV_ERR_OK);
    cr_assert(net_wait(n, &n->v[1], op, CV_SEC(5)));
    cr_assert_eq(dht_sample(n->v[1].d, n->now, &n->v[2].addr, &k, &op), CV_ERR_OK);
    cr_expect_eq(net_wait(n, &n->v[1], op, CV_SEC(5))->done.err, CV_ERR_OK);
    cr_expect_eq(net_event(&n->v[1], DHT_EVENT_SAMPLES, op)->n, 1);
    net_free(n);
}

Test(dht_network, cancelled_operation_says_nothing_more) {
    struct net *n = net_of(14, 6, true);
    struct dht_id k = key(3);
    dht_op op;
    cr_assert_eq(dht_find_peers(n->v[1].d, n->now, &k, &op), CV_ERR_OK);
    net_run(n, CV_MSEC(61));
    dht_cancel(n->v[1].d, n->now, op);
    dht_cancel(n->v[1].d, n->now, op);
    net_run(n, CV_SEC(5));
    cr_expect_not(net_event(&n->v[1], DHT_EVENT_DONE, op));
    net_free(n);
}

Test(dht_network, quiet_hours_cost_little_and_keep_tables) {
    struct net *n = net_of(15, 40, false);
    net_run(n, CV_SEC(600));
    uint64_t before = n->sent;
    net_run(n, CV_SEC(3600));
    for (unsigned i = 0; i < n->count; i++)
        cr_expect_geq(good_nodes(&n->v[i]), 8);
    cr_expect_lt((n->sent - before) / n->count, 3600, "%lu datagrams a node and hour",
                 (unsigned long)((n->sent - before) / n->count));
    net_free(n);
}
