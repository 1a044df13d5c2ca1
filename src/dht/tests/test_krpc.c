#include "support/suite.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/rng_seeded.h"
#include "dht/krpc.h"
#include "dht/limits.h"

CV_SUITE(dht_krpc);

#define ID "abcdefghij0123456789"

/* Datagrams of BEP 5, 43 and 44 and their like. Those without a fault must come
 * out of the writer exactly as they went in. */
/* clang-format off */
static const struct {
    const char *name, *text;
    enum cv_err want;
    const char *fault;
    enum dht_kind kind;
    enum dht_method method;
} rows[] = {
    { "ping",           "d1:ad2:id20:" ID "e1:q4:ping1:t2:aa1:y1:qe", CV_ERR_OK, NULL, DHT_QUERY, DHT_METHOD_PING },
    { "ping answered",  "d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re", CV_ERR_OK, NULL, DHT_ANSWER, 0 },
    { "find_node",      "d1:ad2:id20:" ID "6:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe", CV_ERR_OK, NULL, DHT_QUERY, DHT_METHOD_FIND_NODE },
    { "get_peers",      "d1:ad2:id20:" ID "9:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe", CV_ERR_OK, NULL, DHT_QUERY, DHT_METHOD_GET_PEERS },
    { "values",         "d1:rd2:id20:" ID "5:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re", CV_ERR_OK, NULL, DHT_ANSWER, 0 },
    { "announce",       "d1:ad2:id20:" ID "12:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe", CV_ERR_OK, NULL, DHT_QUERY, DHT_METHOD_ANNOUNCE },
    { "error",          "d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee", CV_ERR_OK, NULL, DHT_ERROR, 0 },
    { "error, no text", "d1:eli201ee1:t2:aa1:y1:ee", CV_ERR_OK, "", DHT_ERROR, 0 },
    { "read-only, v",   "d1:ad2:id20:" ID "e1:q4:ping2:roi1e1:t2:aa1:v4:LT011:y1:qe", CV_ERR_OK, NULL, DHT_QUERY, DHT_METHOD_PING },
    { "put",            "d1:ad3:casi4e2:id20:" ID "1:k32:abcdefghijklmnopqrstuvwxyz0123454:salt3:foo3:seqi5e3:sig64:abcdefghijklmnopqrstuvwxyz012345abcdefghijklmnopqrstuvwxyz0123455:token2:xx1:vd1:ai1eee1:q3:put1:t2:aa1:y1:qe", CV_ERR_OK, NULL, DHT_QUERY, DHT_METHOD_PUT },
    { "want",           "d1:ad2:id20:" ID "6:target20:" ID "4:wantl2:n42:n6ee1:q9:find_node1:t2:aa1:y1:qe", CV_ERR_OK, NULL, DHT_QUERY, DHT_METHOD_FIND_NODE },
    { "unknown method", "d1:ad2:id20:" ID "e1:q4:vote1:t2:aa1:y1:qe", CV_ERR_OK, NULL, DHT_QUERY, DHT_METHOD_UNKNOWN },
    { "ip on top",      "d2:ip6:1234561:rd2:id20:" ID "e1:t1:x1:y1:re", CV_ERR_OK, NULL, DHT_ANSWER, 0 },
    { "unknown keys",   "d1:ad1:Xi1e2:id20:" ID "3:zzzlee1:q4:ping1:t2:aa1:x0:1:y1:qe", CV_ERR_OK, "", DHT_QUERY, DHT_METHOD_PING },
    { "not sorted",     "d1:t2:aa1:y1:q1:q4:ping1:ad2:id20:" ID "ee", CV_ERR_OK, "keys not sorted", DHT_QUERY, DHT_METHOD_PING },
    { "no id",          "d1:ade1:q4:ping1:t2:aa1:y1:qe", CV_ERR_OK, "no id", DHT_QUERY, DHT_METHOD_PING },
    { "short id",       "d1:ad2:id19:abcdefghij012345678e1:q4:ping1:t2:aa1:y1:qe", CV_ERR_OK, "bad id", DHT_QUERY, DHT_METHOD_PING },
    { "id is a number", "d1:ad2:idi1ee1:q4:ping1:t2:aa1:y1:qe", CV_ERR_OK, "bad id", DHT_QUERY, DHT_METHOD_PING },
    { "port is text",   "d1:ad2:id20:" ID "4:port1:xe1:q4:ping1:t2:aa1:y1:qe", CV_ERR_OK, "bad port", DHT_QUERY, DHT_METHOD_PING },
    { "a is a list",    "d1:ale1:q4:ping1:t2:aa1:y1:qe", CV_ERR_OK, "bad a", DHT_QUERY, DHT_METHOD_PING },
    { "q is a number",  "d1:ad2:id20:" ID "e1:qi1e1:t2:aa1:y1:qe", CV_ERR_OK, "bad q", DHT_QUERY, DHT_METHOD_UNKNOWN },
    { "no a",           "d1:q4:ping1:t2:aa1:y1:qe", CV_ERR_OK, "bad a", DHT_QUERY, DHT_METHOD_PING },
    { "answer, no r",   "d1:t2:aa1:y1:re", CV_ERR_OK, "bad r", DHT_ANSWER, 0 },
    { "error, no e",    "d1:t2:aa1:y1:ee", CV_ERR_OK, "bad e", DHT_ERROR, 0 },
    { "no t",           "d1:ad2:id20:" ID "e1:q4:ping1:y1:qe", CV_ERR_MALFORMED, NULL, 0, 0 },
    { "empty t",        "d1:ad2:id20:" ID "e1:q4:ping1:t0:1:y1:qe", CV_ERR_MALFORMED, NULL, 0, 0 },
    { "long t",         "d1:ad2:id20:" ID "e1:q4:ping1:t33:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1:y1:qe", CV_ERR_MALFORMED, NULL, 0, 0 },
    { "no y",           "d1:ad2:id20:" ID "e1:q4:ping1:t2:aae", CV_ERR_MALFORMED, NULL, 0, 0 },
    { "y unknown",      "d1:t2:aa1:y1:ze", CV_ERR_MALFORMED, NULL, 0, 0 },
    { "y long",         "d1:t2:aa1:y2:qqe", CV_ERR_MALFORMED, NULL, 0, 0 },
    { "a list",         "l1:t2:aae", CV_ERR_MALFORMED, NULL, 0, 0 },
    { "trailing octet", "d1:ad2:id20:" ID "e1:q4:ping1:t2:aa1:y1:qex", CV_ERR_MALFORMED, NULL, 0, 0 },
    { "cut",            "d1:ad2:id20:" ID "e1:q4:ping1:t2:aa1:y1:q", CV_ERR_TRUNCATED, NULL, 0, 0 },
    { "nothing",        "", CV_ERR_MALFORMED, NULL, 0, 0 },
};
/* clang-format on */

Test(dht_krpc, read_table) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const uint8_t *buf = (const uint8_t *)rows[i].text;
        size_t len = strlen(rows[i].text);
        struct dht_msg m = {.code = 0xdead};
        enum cv_err err = dht_msg_read(buf, len, &m);
        cr_expect_eq(err, rows[i].want, "%s: %s", rows[i].name, cv_strerror(err));
        if (err) {
            cr_expect_eq(m.code, 0xdead, "%s: clobbered", rows[i].name);
            continue;
        }
        cr_expect_eq(m.kind, rows[i].kind, "%s", rows[i].name);
        if (m.kind == DHT_QUERY)
            cr_expect_eq(m.method, rows[i].method, "%s", rows[i].name);
        if (rows[i].fault && *rows[i].fault) {
            cr_expect(m.fault && !strcmp(m.fault, rows[i].fault), "%s: %s", rows[i].name,
                      m.fault ? m.fault : "no fault");
            continue;
        }
        cr_expect_not(m.fault, "%s: %s", rows[i].name, m.fault);
        if (rows[i].fault) /* "": readable, not the writer's form */
            continue;
        uint8_t out[1024];
        struct cv_wr w = cv_wr_init(out, sizeof out);
        dht_msg_write(&w, &m);
        cr_expect_eq(cv_wr_done(&w), (ssize_t)len, "%s", rows[i].name);
        cr_expect_arr_eq(out, buf, len, "%s", rows[i].name);
        for (size_t cap = 0; cap < len; cap++) {
            struct cv_wr small = cv_wr_init(out, cap);
            dht_msg_write(&small, &m);
            cr_expect_eq(cv_wr_done(&small), CV_ERR_NOBUFS, "%s: cap %zu", rows[i].name, cap);
        }
    }
}

Test(dht_krpc, every_field_keeps_its_place) {
    uint8_t ids[256];
    for (unsigned i = 0; i < sizeof ids; i++)
        ids[i] = (uint8_t)i;
#define S(n)                                                                                       \
    { ids, n }
#define I(n)                                                                                       \
    { .v = n, .has = true }
    static const uint8_t raw[] = "l2:n4e", value[] = "i7e";
    struct dht_msg m = {.kind = DHT_ANSWER,
                        .t = S(4),
                        .client = S(4),
                        .ip = S(6),
                        .filter_peers = S(256),
                        .filter_seeds = S(256),
                        .cas = I(-1),
                        .id = S(20),
                        .implied_port = I(1),
                        .info_hash = S(20),
                        .interval = I(60),
                        .k = S(32),
                        .nodes = S(52),
                        .nodes6 = S(38),
                        .noseed = I(1),
                        .num = I(5),
                        .port = I(65535),
                        .salt = S(64),
                        .samples = S(40),
                        .scrape = I(1),
                        .seed = I(0),
                        .seq = I(INT64_MAX),
                        .sig = S(64),
                        .target = S(20),
                        .token = S(8),
                        .value = {value, 3},
                        .values = {raw, 6},
                        .want = {raw, 6}};
    uint8_t a[2048], b[2048];
    struct cv_wr w = cv_wr_init(a, sizeof a);
    dht_msg_write(&w, &m);
    ssize_t n = cv_wr_done(&w);
    cr_assert_gt(n, 0);
    struct dht_msg back;
    cr_assert_eq(dht_msg_read(a, (size_t)n, &back), CV_ERR_OK);
    cr_assert_not(back.fault, "%s", back.fault);
    cr_expect(back.seq.v == INT64_MAX && back.cas.v == -1 && back.port.v == 65535);
    cr_expect(back.filter_peers.n == 256 && back.nodes.n == 52 && back.want.n == 6);
    struct cv_wr w2 = cv_wr_init(b, sizeof b);
    dht_msg_write(&w2, &back);
    cr_expect_eq(cv_wr_done(&w2), n);
    cr_expect_arr_eq(a, b, (size_t)n);
}

Test(dht_krpc, compact_addresses) {
    struct cv_addr v4 = {.ip = {127, 10, 0, 1}, .port = 4000, .family = 4}, got;
    struct cv_addr v6 = {.ip = {0x2a, 1}, .port = 0xfffe, .family = 6};
    uint8_t buf[DHT_COMPACT_MAX + 2] = {0};
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    dht_compact_write(&w, &v4);
    cr_expect_eq(cv_wr_len(&w), 6);
    cr_expect(dht_compact_read((struct dht_span){buf, 6}, &got));
    cr_expect(cv_addr_equal(&got, &v4));
    w = cv_wr_init(buf, sizeof buf);
    dht_compact_write(&w, &v6);
    cr_expect(dht_compact_read((struct dht_span){buf, 18}, &got));
    cr_expect(cv_addr_equal(&got, &v6));
    for (size_t n = 0; n < 20; n++)
        if (n != 6 && n != 18)
            cr_expect_not(dht_compact_read((struct dht_span){buf, n}, &got));
}

Test(dht_krpc, wants) {
    struct dht_msg m = {0};
    cr_expect_eq(dht_msg_wants(&m, 4), DHT_WANT_N4);
    cr_expect_eq(dht_msg_wants(&m, 6), DHT_WANT_N6);
    m.want = (struct dht_span){(const uint8_t *)"l2:n62:zze", 10};
    cr_expect_eq(dht_msg_wants(&m, 4), DHT_WANT_N6);
    m.want = (struct dht_span){(const uint8_t *)"l2:n42:n6e", 10};
    cr_expect_eq(dht_msg_wants(&m, 4), DHT_WANT_N4 | DHT_WANT_N6);
    m.want = (struct dht_span){(const uint8_t *)"i1e", 3};
    cr_expect_eq(dht_msg_wants(&m, 4), 0);
}
