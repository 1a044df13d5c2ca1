/*
 * A whole node lives through a script: datagrams as they come, queries that are
 * well-formed, answers to what it asked (right, late, wrong, from elsewhere),
 * steps of the clock, operations of its own. The first octet of a step says
 * what, the following ones are taken from the input as needed; the dice are
 * fixed. Addresses are few, so that they meet again.
 *
 * Property: no crash and no assertion; every datagram sent is canonical, within
 * size and to an address in scope; a query without a token is answered with at
 * most four times its octets unless it was get, scrape or sample; the deadline
 * lies ahead after it has been served; events name live operations, each with
 * one end; what is queued is drained.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/keys.h"
#include "crypto/rng_seeded.h"
#include "dht/dht.h"
#include "dht/krpc.h"
#include "dht/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { KEPT = 64, STEPS = 600 };

struct sent {
    struct cv_addr to;
    uint16_t len;
    uint8_t data[DHT_DATAGRAM_MAX];
};

static struct {
    struct cv_rd in;
    struct cv_rng_seeded dice;
    struct cv_rng rng;
    struct dht *d;
    struct cv_now now;
    struct sent kept[KEPT]; /* ring: its queries that were not answered yet */
    unsigned kept_first, kept_count;
    uint8_t token[DHT_TOKEN_MAX]; /* last one it gave */
    size_t token_len;
    size_t query_len; /* of the query being answered, 0 = none */
    bool may_be_long;
    cv_usec proven_until; /* somebody may have shown a token */
    dht_op ops[16];
    bool kept_alive[16]; /* DONE comes again and again */
    unsigned op_next;
    struct dht_item item;
    struct cv_ed25519_secret signer;
} f;

static uint8_t octet(void) {
    return cv_rd_left(&f.in) ? cv_rd_u8(&f.in) : 0;
}

/* Odd: IPv6. Eight /16s of two hosts each. */
static struct cv_addr address(uint8_t v) {
    struct cv_addr a;
    memset(&a, 0, sizeof a);
    a.family = v & 1 ? 6 : 4;
    a.ip[0] = a.family == 4 ? 11 : 0x2a;
    a.ip[1] = (uint8_t)(1 + (v >> 1 & 7));
    a.ip[a.family == 4 ? 3 : 15] = (uint8_t)(1 + (v >> 4 & 1));
    a.port = (uint16_t)(6881 + (v >> 5 & 1));
    return a;
}

/* Near the node's own id, or anywhere. */
static struct dht_id id_of(uint8_t v) {
    struct dht_status st;
    dht_status(f.d, &st);
    struct dht_id id = {{v}};
    if (v & 0x80) {
        id = st.ipv4.enabled ? st.ipv4.id : st.ipv6.id;
        id.b[v >> 3 & 15] ^= (uint8_t)(1u << (v & 7));
    }
    return id;
}

/* Half of the addresses keep to BEP 42. */
static struct dht_id honest_id(const struct cv_addr *a) {
    struct cv_rng_seeded s;
    cv_rng_seeded_init(&s, (uint64_t)a->ip[1] << 16 | (uint64_t)a->port << 32 | a->ip[3]);
    struct cv_rng rng = cv_rng_seeded(&s);
    return a->ip[1] & 1 ? dht_id_for_address(a, &rng) : dht_id_random(&rng);
}

static void check_datagram(const struct cv_addr *to, const uint8_t *data, size_t len) {
    struct dht_msg m;
    assert(cv_addr_is_public(to));
    assert(dht_msg_read(data, len, &m) == CV_ERR_OK);
    assert(!m.fault);
    assert(len <= DHT_DATAGRAM_USUAL || m.value.p);
    if (m.kind == DHT_QUERY) {
        unsigned at = (f.kept_first + f.kept_count) % KEPT;
        if (f.kept_count < KEPT)
            f.kept_count++;
        else
            f.kept_first = (f.kept_first + 1) % KEPT;
        f.kept[at].to = *to;
        f.kept[at].len = (uint16_t)len;
        memcpy(f.kept[at].data, data, len);
        return;
    }
    assert(f.query_len);
    assert(f.may_be_long || len <= DHT_AMPLIFY * f.query_len);
    if (m.token.p && m.token.n <= sizeof f.token) {
        memcpy(f.token, m.token.p, m.token.n);
        f.token_len = m.token.n;
    }
}

static void check_event(const struct dht_event *e) {
    bool known = e->op == 0;
    for (unsigned i = 0; i < 16; i++) {
        known |= f.ops[i] == e->op;
        if (e->kind == DHT_EVENT_DONE && f.ops[i] == e->op && !f.kept_alive[i])
            f.ops[i] = 0;
    }
    assert(known);
    if (e->kind == DHT_EVENT_ITEM) {
        struct dht_id hash;
        assert(dht_item_check(e->item) == CV_ERR_OK);
        (void)dht_item_pointer(e->item, &hash);
    }
    if (e->kind == DHT_EVENT_PEERS)
        for (size_t i = 0; i < e->peers.n; i++)
            assert(cv_addr_is_public(&e->peers.v[i]));
    if (e->kind == DHT_EVENT_DONE)
        assert(e->done.answered <= e->done.queried);
}

static void drain(void) {
    static uint8_t arena[32 * DHT_DATAGRAM_MAX];
    static struct cv_run runs[32];
    for (unsigned turns = 0;; turns++) {
        struct cv_batch b = cv_batch_init(arena, 32, DHT_DATAGRAM_MAX, 0, runs, 32);
        dht_poll_transmit(f.d, f.now, &b);
        for (uint32_t i = 0; i < b.runs_used; i++)
            for (uint16_t j = 0; j < runs[i].count; j++)
                check_datagram(&runs[i].to.addr, cv_batch_at(&b, &runs[i], j), runs[i].size);
        if (b.slots_used == 0)
            break;
        assert(turns < 1000);
    }
    struct dht_event e;
    while (dht_poll_event(f.d, &e))
        check_event(&e);
}

static void deliver(const struct cv_addr *from, const uint8_t *data, size_t len, bool may_be_long) {
    f.query_len = len;
    f.may_be_long = may_be_long;
    (void)dht_on_datagram(f.d, f.now, from, data, len);
    drain();
    f.query_len = 0;
}

static void pass_time(cv_usec t) {
    f.now.mono += t;
    dht_on_timeout(f.d, f.now);
    assert(dht_next_timeout(f.d) > f.now.mono);
    drain();
}

static void raw_datagram(void) {
    struct cv_addr from = address(octet());
    size_t n = octet();
    n = n < cv_rd_left(&f.in) ? n : cv_rd_left(&f.in);
    const uint8_t *p = cv_rd_bytes(&f.in, n);
    if (n)
        deliver(&from, p, n, true);
}

static void write_and_deliver(const struct cv_addr *from, const struct dht_msg *m, bool long_ok) {
    uint8_t buf[2048];
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    dht_msg_write(&w, m);
    if (!w.err)
        deliver(from, buf, cv_wr_len(&w), long_ok);
}

static void sign(struct dht_item *item) {
    uint8_t covered[DHT_SIGNED_MAX];
    ssize_t n = dht_item_signed(item, covered);
    if (n > 0)
        cv_ed25519_sign(item->sig, &f.signer, "", covered, (size_t)n);
}

/* Signing is dear: each of the 256 items is made once for all runs. */
static struct dht_item some_item(uint8_t v) {
    static struct dht_item made[256];
    static bool is_made[256];
    if (is_made[v])
        return made[v];
    struct dht_item item = {.mutable_item = v & 1, .seq = v >> 2 & 7};
    memcpy(item.k, f.signer.public_key, sizeof item.k);
    (void)dht_item_set_bytes(&item, "value", (v >> 5 & 3) + 1);
    if (v & 2)
        memcpy(item.salt, "salt", item.salt_len = 4);
    if (!item.mutable_item)
        item.salt_len = 0;
    sign(&item);
    is_made[v] = true;
    made[v] = item;
    return item;
}

/* A query of somebody, well-formed but for what `how` breaks. */
static void query(void) {
    static const enum dht_method methods[] = {
        DHT_METHOD_PING, DHT_METHOD_FIND_NODE, DHT_METHOD_GET_PEERS, DHT_METHOD_ANNOUNCE,
        DHT_METHOD_GET,  DHT_METHOD_PUT,       DHT_METHOD_SAMPLE,    DHT_METHOD_UNKNOWN};
    uint8_t what = octet(), how = octet(), v = octet();
    struct cv_addr from = address(octet());
    struct dht_id id = honest_id(&from), key = id_of(v);
    struct dht_item item = some_item(v);
    struct dht_msg m = {.kind = DHT_QUERY,
                        .method = methods[what & 7],
                        .method_name = {(const uint8_t *)"vote", 4},
                        .t = {&what, 1},
                        .id = {id.b, DHT_ID},
                        .read_only = what & 8,
                        .token = {f.token, f.token_len},
                        .port = {v + 256 * (how & 1), how & 2},
                        .implied_port = {how >> 2 & 1, how & 4},
                        .noseed = {1, how & 8},
                        .scrape = {1, how & 16},
                        .seed = {1, how & 32},
                        .seq = {item.seq, how & 64}};
    struct dht_id target = dht_item_target(&item);
    if (m.method == DHT_METHOD_GET || m.method == DHT_METHOD_PUT)
        key = target;
    m.target = m.info_hash = (struct dht_span){key.b, DHT_ID};
    if (what & 16)
        m.want = (struct dht_span){(const uint8_t *)"l2:n42:n6e", 10};
    if (m.method == DHT_METHOD_PUT || m.method == DHT_METHOD_ANNOUNCE)
        f.proven_until = f.now.mono + CV_SEC(600);
    if (m.method == DHT_METHOD_PUT) {
        m.value = (struct dht_span){item.v, item.v_len};
        if (item.mutable_item) {
            m.k = (struct dht_span){item.k, DHT_KEY};
            m.sig = (struct dht_span){item.sig, how & 128 ? 63u : DHT_SIGNATURE};
            m.seq = (struct dht_int){item.seq + (how >> 3 & 1), true};
            m.cas = (struct dht_int){how >> 4 & 7, how & 1};
            m.salt = (struct dht_span){item.salt, item.salt_len};
            if (!item.salt_len)
                m.salt.p = NULL;
        }
    }
    if (what & 32)
        m.id.n = 19;
    if (what & 64)
        m.target.p = NULL;
    if (what & 128)
        m.info_hash.p = NULL;
    bool long_ok = m.scrape.has || m.method == DHT_METHOD_GET || m.method == DHT_METHOD_SAMPLE ||
                   m.method == DHT_METHOD_ANNOUNCE || m.method == DHT_METHOD_PUT;
    /* Who showed a token lately may get more. */
    struct dht_status st;
    dht_status(f.d, &st);
    long_ok |= st.peers + st.items > 0 || f.now.mono < f.proven_until;
    write_and_deliver(&from, &m, long_ok);
}

/* Answers the oldest open query of the node; `how` says in which spirit. */
static void answer(uint8_t how, uint8_t more) {
    if (f.kept_count == 0)
        return;
    struct sent q = f.kept[f.kept_first];
    f.kept_first = (f.kept_first + 1) % KEPT;
    f.kept_count--;
    struct dht_msg asked;
    assert(dht_msg_read(q.data, q.len, &asked) == CV_ERR_OK);

    struct dht_id id = honest_id(&q.to);
    uint8_t nodes[16 * 38], nodes6[16 * 38], ip[DHT_COMPACT_MAX], values[64];
    struct cv_wr w4 = cv_wr_init(nodes, sizeof nodes), w6 = cv_wr_init(nodes6, sizeof nodes6);
    for (unsigned i = 0; i < (more & 15u); i++) {
        struct cv_addr a = address((uint8_t)(more + i * 7));
        struct dht_id nid = how & 1 ? id_of((uint8_t)(more * i)) : honest_id(&a);
        struct cv_wr *w = a.family == 4 ? &w4 : &w6;
        cv_wr_bytes(w, nid.b, DHT_ID);
        dht_compact_write(w, &a);
    }
    struct cv_addr seen = address(more), peer = address((uint8_t)(more + 3));
    struct cv_wr wi = cv_wr_init(ip, sizeof ip), wv = cv_wr_init(values, sizeof values);
    uint8_t compact[DHT_COMPACT_MAX];
    struct cv_wr wc = cv_wr_init(compact, sizeof compact);
    dht_compact_write(&wi, &seen);
    dht_compact_write(&wc, &peer);
    cv_wr_u8(&wv, 'l');
    dht_ben_write_string(&wv, compact, cv_wr_len(&wc));
    cv_wr_u8(&wv, 'e');

    struct dht_item item = some_item(more);
    struct dht_msg m = {.kind = how & 2 ? DHT_ERROR : DHT_ANSWER,
                        .t = asked.t,
                        .code = 200 + more,
                        .ip = {ip, cv_wr_len(&wi)},
                        .id = {id.b, DHT_ID},
                        .nodes = {nodes, cv_wr_len(&w4)},
                        .nodes6 = {nodes6, cv_wr_len(&w6)},
                        .num = {more, true},
                        .interval = {more, true}};
    static const uint8_t filter[256] = {1, 2, 3};
    if (more & 16)
        m.token = (struct dht_span){filter, more & 32 ? 45u : 8u};
    if (asked.method == DHT_METHOD_GET_PEERS && (more & 64))
        m.values = (struct dht_span){values, cv_wr_len(&wv)};
    if (asked.method == DHT_METHOD_SAMPLE && (more & 64))
        m.samples = (struct dht_span){filter, 40};
    if (asked.scrape.has)
        m.filter_peers = m.filter_seeds = (struct dht_span){filter, 256};
    if (asked.method == DHT_METHOD_GET && (more & 128)) {
        if (how & 16)
            item.sig[3] ^= 1;
        m.value = (struct dht_span){item.v, item.v_len};
        m.seq = (struct dht_int){item.seq, item.mutable_item};
        if (item.mutable_item) {
            m.k = (struct dht_span){item.k, DHT_KEY};
            m.sig = (struct dht_span){item.sig, DHT_SIGNATURE};
        }
    }
    if (how & 4)
        id.b[7] ^= more; /* another id than it is known by */
    if (how & 8)
        q.to.port ^= 1; /* from elsewhere */
    if (how & 32)
        m.id.n = 3;
    write_and_deliver(&q.to, &m, true);
}

static void operate(uint8_t what, uint8_t v) {
    struct dht_id key = id_of(v);
    struct cv_addr a = address(v);
    struct dht_item item = some_item(v);
    int64_t cas = v >> 4;
    dht_op op = 0;
    enum cv_err err = CV_ERR_OK;
    unsigned at = f.op_next++ % 16;
    if (f.ops[at]) {
        dht_cancel(f.d, f.now, f.ops[at]);
        f.ops[at] = 0;
    }
    f.kept_alive[at] = false;
    switch (what % 11) {
    case 0:
        err = dht_find_node(f.d, f.now, &key, &op);
        break;
    case 1:
        err = dht_find_peers(f.d, f.now, &key, &op);
        break;
    case 2:
        err = dht_scrape(f.d, f.now, &key, &op);
        break;
    case 3:
        err = dht_announce(f.d, f.now, &key, v, v & 1, &op);
        break;
    case 4:
        key = dht_item_target(&item);
        err = dht_get_immutable(f.d, f.now, &key, &op);
        break;
    case 5:
        err = dht_get_mutable(f.d, f.now, item.k, item.salt, item.salt_len, v % 9 - 1, &op);
        break;
    case 6:
        err = dht_put(f.d, f.now, &item, v & 4 ? &cas : NULL, &op);
        break;
    case 7:
        err = v & 2 ? dht_ping(f.d, f.now, &a, &op) : dht_ask(f.d, f.now, &a, &key, &op);
        break;
    case 8:
        err = dht_sample(f.d, f.now, &a, &key, &op);
        break;
    case 9:
        (void)dht_bootstrap_add(f.d, f.now, &a);
        break;
    default:
        if (v & 1 && f.ops[v >> 1 & 15] && dht_keep(f.d, f.ops[v >> 1 & 15]) == CV_ERR_OK)
            f.kept_alive[v >> 1 & 15] = true;
        else
            dht_cancel(f.d, f.now, v);
    }
    assert(err || op || what % 11 > 8);
    f.ops[at] = op;
    drain();
}

static void save_and_restore(void) {
    static uint8_t blob[DHT_SAVE_MAX];
    static struct dht_table_row rows[64];
    (void)dht_table_rows(f.d, rows, 64);
    size_t n = dht_save(f.d, blob, sizeof blob);
    assert(n && n <= sizeof blob);
    assert(dht_restore(f.d, f.now, blob, n) == CV_ERR_OK);
    drain();
}

static void step(void) {
    uint8_t what = octet();
    switch (what & 7) {
    case 0:
        pass_time(CV_MSEC(10) * octet());
        break;
    case 1:
        pass_time(CV_SEC(1) * octet() * (1 + (what >> 3)));
        break;
    case 2:
        raw_datagram();
        break;
    case 3:
        query();
        break;
    case 4:
        answer(octet(), octet());
        break;
    case 5: { /* everybody answers, honestly */
        uint8_t more = octet();
        for (unsigned i = f.kept_count; i-- > 0;)
            answer(0, (uint8_t)(more + i));
        break;
    }
    case 6:
        operate(what >> 3, octet());
        break;
    case 7:
        save_and_restore();
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cv_crypto_init();
    memset(&f, 0, sizeof f);
    f.in = cv_rd_init(data, size);
    cv_rng_seeded_init(&f.dice, 1);
    f.rng = cv_rng_seeded(&f.dice);
    f.now = (struct cv_now){.mono = CV_SEC(1), .wall = 1700000000};
    uint8_t seed[CV_KEY] = {1};
    cv_ed25519_from_seed(&f.signer, seed);
    uint8_t flags = octet();
    struct dht_config cfg = {.scope = DHT_SCOPE_PUBLIC,
                             .ipv4 = !(flags & 1),
                             .ipv6 = (flags & 1) || (flags & 2),
                             .read_only = flags & 4};
    if (flags & 8)
        cfg.external4 = address(0x10);
    f.d = dht_new(&cfg, &f.rng, f.now);
    assert(f.d);
    for (unsigned i = 0; i < STEPS && cv_rd_left(&f.in); i++)
        step();
    pass_time(CV_SEC(120));
    dht_free(f.d);
    return 0;
}
