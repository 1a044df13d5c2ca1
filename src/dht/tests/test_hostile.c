/* Networks with nodes that do not play by the rules. */
#include "support/suite.h"

#include <string.h>

#include "dht/krpc.h"
#include "dht/tests/switch.h"

CV_SUITE(dht_hostile);

/* A hostile node: an address whose traffic the filter answers itself. */
struct attacker {
    struct cv_addr addrs[64];
    unsigned count;
    unsigned owned;        /* the first so many are hostile, the rest only named; 0 = all */
    struct dht_id target;  /* ids are drawn close to it */
    bool new_id_each_time; /* but for pings: looks honest until it is asked something */
};

static struct attacker *attacker_at(struct attacker *a, const struct cv_addr *addr) {
    for (unsigned i = 0; i < (a->owned ? a->owned : a->count); i++)
        if (cv_addr_equal(&a->addrs[i], addr))
            return a;
    return NULL;
}

/* The id under which an address presents itself. */
static struct dht_id hostile_id(const struct attacker *a, const struct cv_addr *addr) {
    struct dht_id id = a->target;
    memcpy(&id.b[14], addr->ip, 4);
    memcpy(&id.b[18], &addr->port, 2);
    return id;
}

/* Answers every query to a hostile address, naming all of its friends. */
static bool hostile_filter(struct net *n, struct switch_datagram *dg) {
    struct attacker *a = n->filter_ctx;
    struct dht_msg q;
    if (!attacker_at(a, &dg->to))
        return true;
    if (dht_msg_read(dg->data, dg->len, &q) || q.kind != DHT_QUERY)
        return false;
    struct dht_id id = hostile_id(a, &dg->to);
    if (a->new_id_each_time && q.method != DHT_METHOD_PING)
        id = dht_id_random_at(&a->target, 30, &n->rng);
    uint8_t nodes[16 * 26], buf[DHT_DATAGRAM_MAX];
    struct cv_wr w = cv_wr_init(nodes, sizeof nodes);
    for (unsigned i = 0; i < 16 && i < a->count; i++) {
        const struct cv_addr *friend = &a->addrs[cv_rng_below(&n->rng, a->count)];
        struct dht_id fid = hostile_id(a, friend);
        cv_wr_bytes(&w, fid.b, DHT_ID);
        dht_compact_write(&w, friend);
    }
    struct dht_msg r = {.kind = DHT_ANSWER,
                        .t = q.t,
                        .id = {id.b, DHT_ID},
                        .nodes = {nodes, cv_wr_len(&w)},
                        .token = {(const uint8_t *)"token", 5}};
    struct cv_wr out = cv_wr_init(buf, sizeof buf);
    dht_msg_write(&out, &r);
    struct cv_addr me = dg->to, you = dg->from;
    net_send(n, &me, &you, buf, cv_wr_len(&out));
    return false;
}

/* Makes itself known: asks everybody something. */
static void introduce(struct net *n, struct attacker *a) {
    for (unsigned i = 0; i < a->count; i++)
        for (unsigned j = 0; j < n->count; j++) {
            struct dht_id id = hostile_id(a, &a->addrs[i]);
            struct dht_msg q = {.kind = DHT_QUERY,
                                .method = DHT_METHOD_PING,
                                .t = {(const uint8_t *)"x", 1},
                                .id = {id.b, DHT_ID}};
            uint8_t buf[256];
            struct cv_wr w = cv_wr_init(buf, sizeof buf);
            dht_msg_write(&w, &q);
            net_send(n, &a->addrs[i], &n->v[j].addr, buf, cv_wr_len(&w));
        }
}

/* Entries that are hostile, in all tables and in the one with most of them. */
static unsigned in_tables(const struct net *n, struct attacker *a, unsigned *ret_most) {
    unsigned total = 0;
    *ret_most = 0;
    for (unsigned i = 0; i < n->count; i++) {
        struct dht_table_row rows[256];
        size_t rc = dht_table_rows(n->v[i].d, rows, 256);
        unsigned here = 0;
        for (size_t j = 0; j < rc; j++)
            here += attacker_at(a, &rows[j].node.addr) != NULL;
        total += here;
        *ret_most = here > *ret_most ? here : *ret_most;
    }
    return total;
}

/* Fifty identities on one /24, all claiming ids next to a key: one of them at
 * most is in any bucket, and what is announced there is still found. */
Test(dht_hostile, sybils_of_one_network) {
    struct net *n = net_of(21, 40, false);
    struct attacker a = {.target = {{0x42, 0x42, 0x42}}};
    for (unsigned i = 0; i < 50; i++)
        a.addrs[a.count++] = switch_v4(60, 60, 60, i + 1, 1000);
    n->filter = hostile_filter;
    n->filter_ctx = &a;
    net_run(n, CV_SEC(5));
    for (unsigned i = 0; i < 10; i++) {
        introduce(n, &a);
        net_run(n, CV_SEC(10));
    }
    for (unsigned i = 0; i < n->count; i++) {
        struct dht_table_row rows[256];
        size_t rc = dht_table_rows(n->v[i].d, rows, 256);
        unsigned here[161] = {0};
        for (size_t j = 0; j < rc; j++)
            if (attacker_at(&a, &rows[j].node.addr))
                cr_expect_eq(++here[rows[j].bucket], 1, "node %u", i);
    }
    unsigned found = 0;
    for (unsigned i = 0; i < 20; i++) {
        struct dht_id key = dht_id_random_at(&a.target, 40, &n->rng);
        dht_op op;
        cr_assert_eq(dht_announce(n->v[i].d, n->now, &key, 0, true, &op), CV_ERR_OK);
        cr_assert(net_wait(n, &n->v[i], op, CV_SEC(30)));
        cr_assert_eq(dht_find_peers(n->v[i + 20].d, n->now, &key, &op), CV_ERR_OK);
        cr_assert(net_wait(n, &n->v[i + 20], op, CV_SEC(30)));
        found += net_found(&n->v[i + 20], op, &n->v[i].addr);
    }
    cr_expect_eq(found, 20, "%u of 20", found);
    net_free(n);
}

/* Entries of an honest answer that name one of the attacker's addresses; the most
 * there were in one. */
static unsigned handed_out;

static bool count_handed_out(struct net *n, struct switch_datagram *dg) {
    struct attacker *a = n->filter_ctx;
    struct dht_msg m;
    if (!attacker_at(a, &dg->from) && dht_msg_read(dg->data, dg->len, &m) == CV_ERR_OK &&
        m.kind == DHT_ANSWER) {
        unsigned here = 0;
        for (size_t i = 0; i + 26 <= m.nodes.n; i += 26) {
            struct cv_addr named;
            here += dht_compact_read((struct dht_span){m.nodes.p + i + DHT_ID, 6}, &named) &&
                    attacker_at(a, &named);
        }
        handed_out = here > handed_out ? here : handed_out;
    }
    return hostile_filter(n, dg);
}

/* Fifty ports of one IP: never two of them in one table or in one answer. */
Test(dht_hostile, fifty_identities_behind_one_address) {
    struct net *n = net_of(22, 20, false);
    struct attacker a = {.target = {{0x42}}};
    for (unsigned i = 0; i < 50; i++)
        a.addrs[a.count++] = switch_v4(60, 60, 60, 1, 1000 + i);
    n->filter = count_handed_out;
    handed_out = 0;
    n->filter_ctx = &a;
    net_run(n, CV_SEC(5));
    for (unsigned i = 0; i < 10; i++) {
        introduce(n, &a);
        net_run(n, CV_SEC(10));
    }
    unsigned most;
    (void)in_tables(n, &a, &most);
    cr_expect_leq(most, 1, "%u in one table", most);
    for (unsigned i = 0; i < 20; i++) {
        struct dht_id key = dht_id_random_at(&a.target, i, &n->rng);
        dht_op op;
        cr_assert_eq(dht_find_node(n->v[i].d, n->now, &key, &op), CV_ERR_OK);
        cr_assert(net_wait(n, &n->v[i], op, CV_SEC(30)));
    }
    cr_expect_leq(handed_out, 1, "%u in one answer", handed_out);
    net_free(n);
}

/* Nodes that take an id close to whatever is looked for are in no table. */
Test(dht_hostile, changing_ids_are_thrown_out) {
    struct net *n = net_of(23, 20, false);
    struct attacker a = {.target = {{0x42}}, .new_id_each_time = true};
    for (unsigned i = 0; i < 10; i++)
        a.addrs[a.count++] = switch_v4(50, 50 + i, 60, 1, 1000);
    n->filter = hostile_filter;
    n->filter_ctx = &a;
    net_run(n, CV_SEC(5));
    for (unsigned i = 0; i < 30; i++) {
        introduce(n, &a);
        net_run(n, CV_SEC(60));
    }
    unsigned most;
    unsigned total = in_tables(n, &a, &most);
    cr_expect_eq(total, 0, "%u entries of liars", total);
    net_free(n);
}

/* A hostile node names honest ones under wrong ids: they stay in our table. */
Test(dht_hostile, false_witness_harms_nobody) {
    struct net *n = net_of(24, 20, false);
    net_run(n, CV_SEC(10));
    struct attacker a = {.target = {{0x42}}, .owned = 1};
    a.addrs[a.count++] = switch_v4(50, 50, 60, 1, 1000);
    for (unsigned i = 1; i < 20; i++)
        a.addrs[a.count++] = n->v[i].addr;
    n->filter = hostile_filter;
    n->filter_ctx = &a;
    struct switch_node *victim = &n->v[0];
    unsigned lies = 0;
    for (unsigned round = 0; round < 20; round++) {
        a.target = dht_id_random(&n->rng);
        introduce(n, &a);
        net_run(n, CV_SEC(1));
        struct dht_table_row before[256], after[256];
        size_t had = dht_table_rows(victim->d, before, 256);
        struct dht_id key = dht_id_random_at(&a.target, 100, &n->rng);
        dht_op op;
        cr_assert_eq(dht_find_node(victim->d, n->now, &key, &op), CV_ERR_OK);
        const struct switch_event *e = net_wait(n, victim, op, CV_SEC(30));
        cr_assert(e);
        lies += e->done.queried - e->done.answered;
        size_t has = dht_table_rows(victim->d, after, 256);
        for (size_t i = 0; i < had; i++) {
            bool still = false;
            for (size_t j = 0; j < has; j++)
                still |= cv_addr_equal(&before[i].node.addr, &after[j].node.addr) &&
                         dht_id_equal(&before[i].node.id, &after[j].node.id);
            cr_assert(still || attacker_at(&a, &before[i].node.addr), "round %u", round);
        }
    }
    cr_expect_gt(lies, 50, "only %u lies were told", lies);
    net_free(n);
}

/* Answers that carry the right transaction but come from elsewhere are not
 * answers. */
static bool change_sender(struct net *n, struct switch_datagram *dg) {
    struct dht_msg m;
    (void)n;
    if (dht_msg_read(dg->data, dg->len, &m) == CV_ERR_OK && m.kind != DHT_QUERY)
        dg->from.ip[3] ^= 1;
    return true;
}

Test(dht_hostile, answers_from_elsewhere_do_not_count) {
    struct net *n = net_of(27, 5, false);
    n->filter = change_sender;
    net_run(n, CV_SEC(30));
    for (unsigned i = 0; i < 5; i++) {
        struct dht_status st;
        dht_status(n->v[i].d, &st);
        cr_expect_eq(st.ipv4.nodes_total, 0);
        cr_expect_eq(st.answers_in, 0);
        cr_expect_gt(st.dropped_unasked, 0);
    }
    net_free(n);
}

/* All nodes but one answer a get with an altered value or signature. */
static bool alter_items(struct net *n, struct switch_datagram *dg) {
    struct dht_msg m;
    if (cv_addr_equal(&dg->from, &n->v[3].addr) || dht_msg_read(dg->data, dg->len, &m) ||
        m.kind != DHT_ANSWER || !m.value.p)
        return true;
    size_t at = cv_rng_below(&n->rng, 2) && m.sig.p ? (size_t)(m.sig.p - dg->data)
                                                    : (size_t)(m.value.p - dg->data) + 3;
    dg->data[at] ^= 1;
    return true;
}

Test(dht_hostile, altered_items_are_not_reported) {
    struct net *n = net_of(28, 9, true);
    net_run(n, CV_SEC(3));
    uint8_t seed[CV_KEY] = {4}, covered[DHT_SIGNED_MAX];
    struct cv_ed25519_secret secret;
    cv_ed25519_from_seed(&secret, seed);
    struct dht_item item = {.mutable_item = true, .seq = 7};
    memcpy(item.k, secret.public_key, sizeof item.k);
    cr_assert_eq(dht_item_set_bytes(&item, "genuine", 7), CV_ERR_OK);
    ssize_t len = dht_item_signed(&item, covered);
    cv_ed25519_sign(item.sig, &secret, "", covered, (size_t)len);
    dht_op op;
    cr_assert_eq(dht_put(n->v[1].d, n->now, &item, NULL, &op), CV_ERR_OK);
    cr_assert(net_wait(n, &n->v[1], op, CV_SEC(5)));
    n->filter = alter_items;
    /* Asks without a store of its own: read-only. */
    struct dht_config cfg = {.ipv4 = true, .scope = DHT_SCOPE_LOOPBACK, .read_only = true};
    struct cv_addr addr = switch_loopback(100);
    struct switch_node *ro = net_add(n, &cfg, &addr);
    dht_bootstrap_add(ro->d, n->now, &n->v[0].addr);
    cr_assert_eq(dht_get_mutable(ro->d, n->now, item.k, NULL, 0, -1, &op), CV_ERR_OK);
    cr_assert(net_wait(n, ro, op, CV_SEC(5)));
    unsigned items = 0;
    for (unsigned i = 0; i < ro->log_count; i++)
        if (ro->log[i].kind == DHT_EVENT_ITEM) {
            items++;
            cr_expect_arr_eq(ro->log[i].item.v, item.v, item.v_len);
        }
    cr_expect_eq(items, 1);
    net_free(n);
}

/* Floods with forged senders neither evict nor enter anybody. */
Test(dht_hostile, forged_senders_change_nothing) {
    struct net *n = net_of(25, 20, false);
    net_run(n, CV_SEC(60)); /* all buckets have been looked up once */
    struct dht_status before, after;
    dht_status(n->v[3].d, &before);
    for (unsigned i = 0; i < 5000; i++) {
        struct dht_id id = dht_id_random(&n->rng);
        /* Queries and unasked answers in the name of honest nodes. */
        struct dht_msg m = {.kind = i % 2 ? DHT_QUERY : DHT_ANSWER,
                            .method = DHT_METHOD_PING,
                            .t = {id.b, 4},
                            .id = {id.b, DHT_ID}};
        uint8_t buf[256];
        struct cv_wr w = cv_wr_init(buf, sizeof buf);
        dht_msg_write(&w, &m);
        (void)dht_on_datagram(n->v[3].d, n->now, &n->v[i % 20].addr, buf, cv_wr_len(&w));
        n->now.mono += CV_MSEC(1);
    }
    net_run(n, CV_SEC(30));
    dht_status(n->v[3].d, &after);
    cr_expect_eq(after.ipv4.nodes_good, before.ipv4.nodes_good);
    net_free(n);
}

/* A lookup that meets nothing but friends of hostile nodes ends. */
Test(dht_hostile, endless_friends_do_not_hold_a_lookup) {
    struct net *n = net_of(26, 20, false);
    struct attacker a = {.target = {{0x42}}, .new_id_each_time = true};
    for (unsigned i = 0; i < 60; i++)
        a.addrs[a.count++] = switch_v4(50, 50 + i, 60, 1, 1000);
    n->filter = hostile_filter;
    n->filter_ctx = &a;
    net_run(n, CV_SEC(5));
    introduce(n, &a);
    net_run(n, CV_SEC(5));
    struct dht_id key = dht_id_random_at(&a.target, 35, &n->rng);
    dht_op op;
    cr_assert_eq(dht_find_peers(n->v[7].d, n->now, &key, &op), CV_ERR_OK);
    const struct switch_event *e = net_wait(n, &n->v[7], op, CV_SEC(30));
    cr_assert(e);
    cr_expect_leq(e->done.queried, DHT_LOOKUP_QUERIES);
    net_free(n);
}
