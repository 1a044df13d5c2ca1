/* What one node answers to hand-made datagrams. */
#include "support/suite.h"

#include <string.h>

#include "dht/engine.h"
#include "dht/krpc.h"
#include "dht/tests/switch.h"

CV_SUITE(dht_serve);

#define ID     "abcdefghij0123456789"
#define TARGET "mnopqrstuvwxyz123456"

static struct net *net;
static struct switch_node *node;
static uint8_t reply[DHT_DATAGRAM_MAX];
static size_t reply_len;
static struct dht_msg msg;

/* The client's side of the switch: keeps what the node sends to non-nodes. */
static bool keep_reply(struct net *n, struct switch_datagram *dg) {
    (void)n;
    struct dht_msg m;
    cr_assert_eq(dht_msg_read(dg->data, dg->len, &m), CV_ERR_OK, "sends only canonical messages");
    cr_assert_not(m.fault);
    if (m.kind == DHT_QUERY)
        return true;
    memcpy(reply, dg->data, dg->len);
    reply_len = dg->len;
    return true;
}

static void setup(void) {
    net = net_new(1);
    struct dht_config cfg = {.ipv4 = true, .ipv6 = true, .scope = DHT_SCOPE_PUBLIC};
    struct cv_addr a = switch_public(0);
    node = net_add(net, &cfg, &a);
    net->filter = keep_reply;
}

static void teardown(void) {
    net_free(net);
}

/* Asks from `from`; the reply is in `msg`, false: none came. */
static bool ask_octets(const struct cv_addr *from, const void *data, size_t len) {
    reply_len = 0;
    (void)dht_on_datagram(node->d, net->now, from, data, len);
    net_drain(net, node);
    return reply_len && dht_msg_read(reply, reply_len, &msg) == CV_ERR_OK;
}

static bool ask(const struct cv_addr *from, const char *text) {
    return ask_octets(from, text, strlen(text));
}

static bool ask_msg(const struct cv_addr *from, struct dht_msg *m) {
    uint8_t buf[DHT_DATAGRAM_MAX + 400];
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    if (!m->t.p)
        m->t = (struct dht_span){(const uint8_t *)"aa", 2};
    if (!m->id.p)
        m->id = (struct dht_span){(const uint8_t *)ID, 20};
    dht_msg_write(&w, m);
    cr_assert_gt(cv_wr_done(&w), 0);
    return ask_octets(from, buf, cv_wr_len(&w));
}

static struct dht_span span(const char *text) {
    return (struct dht_span){(const uint8_t *)text, strlen(text)};
}

/* clang-format off */
static const struct {
    const char *name, *query;
    int64_t code; /* 0: an answer; -1: silence */
} rows[] = {
    { "ping",            "d1:ad2:id20:" ID "e1:q4:ping1:t2:aa1:y1:qe", 0 },
    { "long t echoed",   "d1:ad2:id20:" ID "e1:q4:ping1:t20:aaaaaaaaaaaaaaaaaaaa1:y1:qe", 0 },
    { "find_node",       "d1:ad2:id20:" ID "6:target20:" TARGET "e1:q9:find_node1:t2:aa1:y1:qe", 0 },
    { "no target",       "d1:ad2:id20:" ID "e1:q9:find_node1:t2:aa1:y1:qe", 203 },
    { "short target",    "d1:ad2:id20:" ID "6:target2:xxe1:q9:find_node1:t2:aa1:y1:qe", 203 },
    { "get_peers",       "d1:ad2:id20:" ID "9:info_hash20:" TARGET "e1:q9:get_peers1:t2:aa1:y1:qe", 0 },
    { "no info_hash",    "d1:ad2:id20:" ID "e1:q9:get_peers1:t2:aa1:y1:qe", 203 },
    { "no token",        "d1:ad2:id20:" ID "9:info_hash20:" TARGET "4:porti1ee1:q13:announce_peer1:t2:aa1:y1:qe", 203 },
    { "bad token",       "d1:ad2:id20:" ID "9:info_hash20:" TARGET "4:porti1e5:token8:aaaaaaaae1:q13:announce_peer1:t2:aa1:y1:qe", 203 },
    { "get",             "d1:ad2:id20:" ID "6:target20:" TARGET "e1:q3:get1:t2:aa1:y1:qe", 0 },
    { "put, no v",       "d1:ad2:id20:" ID "5:token8:aaaaaaaae1:q3:put1:t2:aa1:y1:qe", 203 },
    { "put, bad token",  "d1:ad2:id20:" ID "5:token8:aaaaaaaa1:v1:xe1:q3:put1:t2:aa1:y1:qe", 203 },
    { "put, v unsorted", "d1:ad2:id20:" ID "5:token8:aaaaaaaa1:vd1:bi1e1:ai1eee1:q3:put1:t2:aa1:y1:qe", 203 },
    { "sample",          "d1:ad2:id20:" ID "6:target20:" TARGET "e1:q17:sample_infohashes1:t2:aa1:y1:qe", 0 },
    { "unknown method",  "d1:ad2:id20:" ID "e1:q4:vote1:t2:aa1:y1:qe", 204 },
    { "unknown, target", "d1:ad2:id20:" ID "6:target20:" TARGET "e1:q4:vote1:t2:aa1:y1:qe", 0 },
    { "unknown, hash",   "d1:ad2:id20:" ID "9:info_hash20:" TARGET "e1:q4:vote1:t2:aa1:y1:qe", 0 },
    { "no id",           "d1:ade1:q4:ping1:t2:aa1:y1:qe", 203 },
    { "not sorted",      "d1:q4:ping1:ad2:id20:" ID "e1:t2:aa1:y1:qe", 203 },
    { "no t",            "d1:ad2:id20:" ID "e1:q4:ping1:y1:qe", -1 },
    { "garbage",         "GET / HTTP/1.1 please", -1 },
    { "too short",       "d1:y1:qe", -1 },
    { "unasked answer",  "d1:rd2:id20:" ID "e1:t4:aaaa1:y1:re", -1 },
    { "unasked error",   "d1:eli201e1:xe1:t4:aaaa1:y1:ee", -1 },
};
/* clang-format on */

Test(dht_serve, answer_table, .init = setup, .fini = teardown) {
    struct cv_addr from = switch_public(5);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool got = ask(&from, rows[i].query);
        cr_expect_eq(got, rows[i].code >= 0, "%s", rows[i].name);
        if (!got)
            continue;
        cr_expect_eq(msg.kind, rows[i].code ? DHT_ERROR : DHT_ANSWER, "%s", rows[i].name);
        cr_expect_eq(msg.code, rows[i].code, "%s: %ld", rows[i].name, (long)msg.code);
        struct cv_addr seen;
        cr_expect(dht_compact_read(msg.ip, &seen) && cv_addr_equal(&seen, &from), "%s",
                  rows[i].name);
    }
    cr_expect(ask(&from, rows[1].query));
    cr_expect(msg.t.n == 20, "t comes back as it was");
}

/* --- stores --- */

static uint8_t token[DHT_TOKEN_LEN];

static void fetch_token(const struct cv_addr *from, const struct dht_id *key, bool peers) {
    struct dht_msg q = {.kind = DHT_QUERY, .method = peers ? DHT_METHOD_GET_PEERS : DHT_METHOD_GET};
    *(peers ? &q.info_hash : &q.target) = (struct dht_span){key->b, DHT_ID};
    cr_assert(ask_msg(from, &q));
    cr_assert_eq(msg.token.n, sizeof token);
    memcpy(token, msg.token.p, sizeof token);
}

static int64_t announce(const struct cv_addr *from, const struct dht_id *key, int64_t port,
                        bool implied) {
    struct dht_msg q = {.kind = DHT_QUERY,
                        .method = DHT_METHOD_ANNOUNCE,
                        .info_hash = {key->b, DHT_ID},
                        .token = {token, sizeof token},
                        .port = {port, true},
                        .implied_port = {1, implied}};
    cr_assert(ask_msg(from, &q));
    return msg.kind == DHT_ERROR ? msg.code : 0;
}

Test(dht_serve, announced_peers_are_handed_out, .init = setup, .fini = teardown) {
    struct cv_addr a = switch_public(5), b = switch_public(6);
    struct dht_id key = {{1}};
    fetch_token(&a, &key, true);
    cr_expect_eq(announce(&a, &key, 0, false), 203, "port 0 is refused");
    cr_expect_eq(announce(&a, &key, 65536, false), 203);
    cr_expect_eq(announce(&a, &key, 7000, false), 0);
    fetch_token(&b, &key, true);
    cr_expect_eq(announce(&b, &key, 0, true), 0, "implied port");

    struct dht_msg q = {
        .kind = DHT_QUERY, .method = DHT_METHOD_GET_PEERS, .info_hash = {key.b, DHT_ID}};
    cr_assert(ask_msg(&b, &q));
    struct dht_ben_iter it = dht_ben_list(msg.values);
    struct dht_span raw, s;
    bool found_a = false, found_b = false;
    while (dht_ben_next(&it, &raw)) {
        struct cv_addr peer;
        cr_assert(dht_ben_string(raw, &s) && dht_compact_read(s, &peer));
        found_a |= cv_addr_same_ip(&peer, &a) && peer.port == 7000;
        found_b |= cv_addr_equal(&peer, &b);
    }
    cr_expect(found_a && found_b);
    cr_expect(msg.nodes.p, "nodes as well (BEP 32)");

    /* IPv6 askers see IPv6 peers only. */
    struct cv_addr six = switch_v6(1);
    cr_assert(ask_msg(&six, &q));
    cr_expect_not(msg.values.p);
    cr_expect(msg.nodes6.p && !msg.nodes.p);
}

Test(dht_serve, anothers_token_stores_nothing, .init = setup, .fini = teardown) {
    struct cv_addr a = switch_public(5), b = switch_public(6);
    struct dht_id key = {{1}}, other = {{2}};
    fetch_token(&a, &key, true);
    cr_expect_eq(announce(&b, &key, 7000, false), 203);
    cr_expect_eq(announce(&a, &other, 7000, false), 203);
    struct dht_status st;
    dht_status(node->d, &st);
    cr_expect_eq(st.peers, 0);
}

static int64_t put_item(const struct cv_addr *from, const struct dht_item *item) {
    struct dht_msg q = {.kind = DHT_QUERY,
                        .method = DHT_METHOD_PUT,
                        .token = {token, sizeof token},
                        .value = {item->v, item->v_len}};
    if (item->mutable_item) {
        q.k = (struct dht_span){item->k, sizeof item->k};
        q.sig = (struct dht_span){item->sig, sizeof item->sig};
        q.seq = (struct dht_int){item->seq, true};
        if (item->salt_len)
            q.salt = (struct dht_span){item->salt, item->salt_len};
    }
    cr_assert(ask_msg(from, &q));
    return msg.kind == DHT_ERROR ? msg.code : 0;
}

static struct dht_item signed_item(int64_t seq, size_t len) {
    uint8_t seed[CV_KEY] = {9}, covered[DHT_SIGNED_MAX], data[DHT_VALUE_MAX] = {0};
    struct cv_ed25519_secret secret;
    cv_ed25519_from_seed(&secret, seed);
    struct dht_item item = {.mutable_item = true, .seq = seq};
    memcpy(item.k, secret.public_key, sizeof item.k);
    cr_assert_eq(dht_item_set_bytes(&item, data, len), CV_ERR_OK);
    ssize_t n = dht_item_signed(&item, covered);
    cv_ed25519_sign(item.sig, &secret, "", covered, (size_t)n);
    return item;
}

Test(dht_serve, items_and_their_errors, .init = setup, .fini = teardown) {
    struct cv_addr a = switch_public(5);
    struct dht_item item = signed_item(3, 900);
    struct dht_id target = dht_item_target(&item);
    fetch_token(&a, &target, false);
    struct dht_item bad = item;
    bad.sig[5] ^= 1;
    cr_expect_eq(put_item(&a, &bad), 206);
    cr_expect_eq(put_item(&a, &item), 0);
    struct dht_item older = signed_item(2, 5);
    cr_expect_eq(put_item(&a, &older), 302);

    struct dht_msg q = {.kind = DHT_QUERY, .method = DHT_METHOD_GET, .target = {target.b, DHT_ID}};
    cr_assert(ask_msg(&a, &q));
    cr_expect(msg.value.n == item.v_len && memcmp(msg.value.p, item.v, item.v_len) == 0);
    cr_expect(msg.seq.has && msg.seq.v == 3);
    cr_expect(msg.k.p && msg.sig.p);
    cr_expect_leq(reply_len, 1232);
    q.seq = (struct dht_int){3, true};
    cr_assert(ask_msg(&a, &q));
    cr_expect(msg.seq.has && !msg.value.p && !msg.k.p && !msg.sig.p, "nothing newer");
    q.seq.v = 2;
    cr_assert(ask_msg(&a, &q));
    cr_expect(msg.value.p);

    /* Sizes, after the token has been seen to be good. */
    uint8_t big[1200];
    struct cv_wr w = cv_wr_init(big, sizeof big);
    uint8_t zeros[1100] = {0};
    dht_ben_write_string(&w, zeros, sizeof zeros);
    struct dht_id big_target;
    cv_sha(CV_SHA1, big_target.b, big, cv_wr_len(&w));
    fetch_token(&a, &big_target, false);
    struct dht_msg p = {.kind = DHT_QUERY,
                        .method = DHT_METHOD_PUT,
                        .token = {token, sizeof token},
                        .value = {big, cv_wr_len(&w)}};
    cr_assert(ask_msg(&a, &p));
    cr_expect_eq(msg.code, 205);
    uint8_t salt[65] = {0};
    struct dht_id salted = dht_key_target(item.k, salt, sizeof salt);
    fetch_token(&a, &salted, false);
    p = (struct dht_msg){.kind = DHT_QUERY,
                         .method = DHT_METHOD_PUT,
                         .token = {token, sizeof token},
                         .k = {item.k, 32},
                         .sig = {item.sig, 64},
                         .seq = {1, true},
                         .salt = {salt, sizeof salt},
                         .value = span("1:x")};
    cr_assert(ask_msg(&a, &p));
    cr_expect_eq(msg.code, 207);
    struct dht_status st;
    dht_status(node->d, &st);
    cr_expect_eq(st.items, 1);
}

/* --- abuse --- */

/* Whoever holds no token gets at most four times what he sent, also from a node
 * whose table and stores are full; longer things until the budget is spent. */
Test(dht_serve, small_amplifier, .init = setup, .fini = teardown) {
    struct dht_id key = {{1}};
    for (unsigned i = 0; i < 60; i++) {
        struct cv_addr a = switch_public(100 + i);
        fetch_token(&a, &key, true);
        cr_assert_eq(announce(&a, &key, 7000, false), 0);
    }
    /* clang-format off */
    static const char *const queries[] = {
        "d1:ad2:id20:" ID "e1:q4:ping1:t2:aa1:y1:qe",
        "d1:ad2:id20:" ID "6:target20:" TARGET "e1:q9:find_node1:t2:aa1:y1:qe",
        "d1:ad2:id20:" ID "6:target20:" TARGET "4:wantl2:n42:n6ee1:q9:find_node1:t2:aa1:y1:qe",
        "d1:ad2:id20:" ID "9:info_hash20:\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0e1:q9:get_peers1:t2:aa1:y1:qe",
        "d1:ad2:id20:" ID "e1:q4:vote1:t2:aa1:y1:qe",
    };
    /* clang-format on */
    struct cv_addr stranger = switch_public(9);
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        size_t len = i == 3 ? 95 : strlen(queries[i]);
        cr_assert(ask_octets(&stranger, queries[i], len), "query %zu", i);
        cr_expect_leq(reply_len, 4 * len, "query %zu: %zu for %zu", i, reply_len, len);
        if (i == 3)
            cr_expect(msg.values.p);
    }
    /* The same in the name of a node of our table. */
    struct cv_addr known = switch_public(33);
    struct dht_id its;
    memcpy(its.b, ID, DHT_ID);
    cr_assert_eq(dht_table_answered(&node->d->sides[0].table, net->now.mono, &its, &known, 1),
                 CV_ERR_OK);
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        size_t len = i == 3 ? 95 : strlen(queries[i]);
        cr_assert(ask_octets(&known, queries[i], len), "query %zu", i);
        cr_expect_leq(reply_len, 4 * len, "known, query %zu: %zu for %zu", i, reply_len, len);
    }
    /* Errors to the shortest queries there are. */
    struct cv_addr six = switch_v6(3);
    for (int i = 0; i < 2; i++) {
        static const char shortest[] = "d1:t2:aa1:y1:qe";
        cr_assert(ask_octets(i ? &six : &stranger, shortest, sizeof shortest - 1));
        cr_expect_leq(reply_len, 4 * (sizeof shortest - 1));
        cr_expect_eq(msg.code, DHT_CODE_PROTOCOL);
    }
    /* Stored items are longer; a forger gets them only until the budget is spent. */
    struct cv_addr owner = switch_public(5);
    struct dht_item item = signed_item(1, 900);
    struct dht_id target = dht_item_target(&item);
    fetch_token(&owner, &target, false);
    cr_assert_eq(put_item(&owner, &item), 0);
    size_t octets = 0, sent = 0;
    struct dht_msg q = {.kind = DHT_QUERY, .method = DHT_METHOD_GET, .target = {target.b, DHT_ID}};
    for (unsigned i = 0; i < 90; i++) {
        cr_assert(ask_msg(&stranger, &q));
        octets += reply_len;
        sent += 90;
    }
    cr_expect_leq(octets, 4 * sent + DHT_BUDGET_BURST);
}

Test(dht_serve, flood_of_one_host_is_cut, .init = setup, .fini = teardown) {
    struct cv_addr from = switch_public(5);
    unsigned answered = 0;
    for (unsigned i = 0; i < 1000; i++)
        answered += ask(&from, rows[0].query);
    cr_expect_eq(answered, DHT_SOURCE_BURST);
    struct cv_addr other = switch_public(6);
    cr_expect(ask(&other, rows[0].query));
}

/* Who flooded us, or was made to seem so, still answers what we ask him. */
Test(dht_serve, answers_to_our_own_queries_are_not_limited, .init = setup, .fini = teardown) {
    struct cv_addr from = switch_public(5);
    for (unsigned i = 0; i < 1000; i++)
        (void)ask(&from, rows[0].query);
    cr_expect_not(ask(&from, rows[0].query), "its queries are");
    dht_op op;
    cr_assert_eq(dht_ping(node->d, net->now, &from, &op), CV_ERR_OK);
    uint8_t arena[8 * DHT_DATAGRAM_MAX], buf[256];
    struct cv_run runs[8];
    struct cv_batch b = cv_batch_init(arena, 8, DHT_DATAGRAM_MAX, 0, runs, 8);
    dht_poll_transmit(node->d, net->now, &b);
    unsigned answered = 0;
    for (uint32_t i = 0; i < b.runs_used; i++) {
        struct dht_msg q;
        cr_assert_eq(dht_msg_read(cv_batch_at(&b, &runs[i], 0), runs[i].size, &q), CV_ERR_OK);
        if (q.kind != DHT_QUERY || !cv_addr_equal(&runs[i].to.addr, &from))
            continue;
        struct cv_wr w = cv_wr_init(buf, sizeof buf);
        dht_msg_write(&w, &(struct dht_msg){.kind = DHT_ANSWER, .t = q.t, .id = span(ID)});
        cr_expect_eq(dht_on_datagram(node->d, net->now, &from, buf, cv_wr_len(&w)), CV_ERR_OK);
        answered++;
    }
    cr_assert_geq(answered, 1);
    struct dht_event e;
    bool done = false;
    while (dht_poll_event(node->d, &e))
        done |= e.kind == DHT_EVENT_DONE && e.op == op && e.done.err == CV_ERR_OK;
    cr_expect(done);
}

Test(dht_serve, echo_and_bad_sources_are_ignored, .init = setup, .fini = teardown) {
    struct dht_status st;
    dht_status(node->d, &st);
    struct dht_msg q = {.kind = DHT_QUERY, .method = DHT_METHOD_PING, .id = {st.ipv4.id.b, DHT_ID}};
    struct cv_addr from = switch_public(5);
    cr_expect_not(ask_msg(&from, &q), "our own id");
    q.id = span(ID);
    from.port = 0;
    cr_expect_not(ask_msg(&from, &q), "port 0");
    struct cv_addr private = switch_v4(192, 168, 1, 1, 5);
    cr_expect_not(ask_msg(&private, &q), "not a public address");
}

/* Twenty ask us, and do not answer our questions: nobody is told of them. */
Test(dht_serve, who_never_answered_is_not_handed_out, .init = setup, .fini = teardown) {
    struct dht_id target;
    memcpy(target.b, TARGET, DHT_ID);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 20; i++) {
            struct cv_addr from = switch_public(i);
            struct dht_id id = dht_id_random_at(&target, 20 + i, &net->rng);
            struct dht_msg q = {.kind = DHT_QUERY, .method = DHT_METHOD_PING, .id = {id.b, DHT_ID}};
            cr_assert(ask_msg(&from, &q));
        }
        net->now.mono += CV_SEC(10);
        dht_on_timeout(node->d, net->now);
    }
    struct cv_addr asker = switch_public(50);
    cr_assert(ask(&asker, "d1:ad2:id20:" ID "6:target20:" TARGET "e1:q9:find_node1:t2:aa1:y1:qe"));
    cr_expect_eq(msg.nodes.n, 0, "%zu octets of nodes", msg.nodes.n);
}

/* Mutations of valid queries: alive, small, and quiet towards what is no query. */
Test(dht_serve, thousands_of_damaged_datagrams, .init = setup, .fini = teardown) {
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t buf[512];
        const char *text = rows[i % 16].query;
        size_t len = strlen(text);
        memcpy(buf, text, len);
        for (unsigned k = 0; k < 1 + i % 3; k++)
            buf[cv_rng_below(&net->rng, len)] = (uint8_t)cv_rng_u32(&net->rng);
        struct cv_addr from = switch_public(i % 700);
        net->now.mono += CV_MSEC(5);
        if (ask_octets(&from, buf, len) && msg.kind == DHT_ERROR)
            cr_assert(msg.code >= 201 && msg.code <= 207, "code %ld", (long)msg.code);
    }
    struct dht_status st;
    dht_status(node->d, &st);
    cr_expect_eq(st.ipv4.nodes_total, 0, "queries alone put nobody into the table");
    cr_expect_gt(st.dropped_malformed, 0);
}
