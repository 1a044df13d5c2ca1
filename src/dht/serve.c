/* Answers to queries of others. */
#include <string.h>

#include "crypto/hash.h"
#include "dht/engine.h"

/* One query while it is being answered. */
struct serving {
    struct dht *d;
    cv_usec now;
    const struct cv_addr *from;
    const struct dht_msg *q;
    size_t query_len;
    bool proven; /* showed a valid token lately: the address is not forged */
    struct dht_side *side;
    struct dht_msg a;
    uint8_t ip[DHT_COMPACT_MAX], token[DHT_TOKEN_LEN];
    uint8_t nodes4[DHT_K * 26], nodes6[DHT_K * 38];
    uint8_t values[DHT_VALUES_IN_REPLY * (DHT_COMPACT_MAX + 3) + 2];
};

/* Octets the answer has so far. */
static size_t length(const struct dht_msg *m) {
    uint8_t buf[DHT_DATAGRAM_MAX];
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    dht_msg_write(&w, m);
    return w.err ? sizeof buf : cv_wr_len(&w);
}

static void refuse(struct serving *s, int code, const char *text) {
    struct dht_msg e = {.kind = DHT_ERROR,
                        .t = s->q->t,
                        .client = dht_client(),
                        .ip = s->a.ip,
                        .code = code,
                        .text = {(const uint8_t *)text, strlen(text)}};
    /* An error must not be long for a short query, either. */
    if (!s->proven && length(&e) > s->query_len * DHT_AMPLIFY)
        e.ip = e.text = (struct dht_span){0};
    dht_send(s->d, s->from, &e);
}

/* Octets still free for lists. Whoever has not shown that he really is at his
 * address gets little more than he sent: we are no amplifier. */
static size_t room(const struct serving *s) {
    size_t max = DHT_DATAGRAM_USUAL;
    if (!s->proven && s->query_len * DHT_AMPLIFY < max)
        max = s->query_len * DHT_AMPLIFY;
    size_t have = length(&s->a);
    return have < max ? max - have : 0;
}

static struct dht_span nodes_of(struct serving *s, struct dht_side *side,
                                const struct dht_id *target, uint8_t *buf, size_t max) {
    const struct dht_entry *e[DHT_K];
    size_t n = side->enabled ? dht_table_closest(&side->table, s->now, target, DHT_PICK_HAND_OUT, e,
                                                 max < DHT_K ? max : DHT_K)
                             : 0;
    struct cv_wr w = cv_wr_init(buf, DHT_K * (DHT_ID + dht_compact_len(side->family)));
    for (size_t i = 0; i < n; i++) {
        cv_wr_bytes(&w, e[i]->id.b, DHT_ID);
        dht_compact_write(&w, &e[i]->addr);
    }
    return (struct dht_span){buf, cv_wr_len(&w)};
}

/* "nodes" and "nodes6" as asked for (BEP 32), the asker's own family first. */
static void add_nodes(struct serving *s, const struct dht_id *target, size_t most) {
    unsigned wants = dht_msg_wants(s->q, s->from->family);
    bool six_first = s->from->family == 6;
    for (int i = 0; i < 2; i++) {
        bool six = (i == 0) == six_first;
        if (!(wants & (six ? DHT_WANT_N6 : DHT_WANT_N4)))
            continue;
        size_t each = six ? 38 : 26, overhead = 13; /* "6:nodes6" "304:" and some air */
        size_t free = room(s), fit = free > overhead ? (free - overhead) / each : 0;
        fit = fit < most ? fit : most;
        if (six)
            s->a.nodes6 = nodes_of(s, &s->d->sides[1], target, s->nodes6, fit);
        else
            s->a.nodes = nodes_of(s, &s->d->sides[0], target, s->nodes4, fit);
    }
}

static void add_token(struct serving *s, const struct dht_id *target) {
    dht_token_make(&s->d->tokens, s->now, s->from, target, s->token);
    s->a.token = (struct dht_span){s->token, sizeof s->token};
}

static void answer(struct serving *s) {
    dht_send(s->d, s->from, &s->a);
}

static struct dht_id id_of(struct dht_span s) {
    struct dht_id id;
    memcpy(id.b, s.p, sizeof id.b);
    return id;
}

/* --- the queries -------------------------------------------------------- */

static void find_node(struct serving *s) {
    struct dht_span at = s->q->target.p ? s->q->target : s->q->info_hash;
    if (!at.p) {
        refuse(s, DHT_CODE_PROTOCOL, "no target");
        return;
    }
    struct dht_id target = id_of(at);
    add_nodes(s, &target, DHT_K);
    answer(s);
}

static void add_values(struct serving *s, const struct dht_id *key, const struct cv_addr *peers,
                       size_t n) {
    (void)key;
    size_t each = dht_compact_len(s->from->family) + (s->from->family == 4 ? 2 : 3);
    size_t free = room(s), overhead = 12; /* "6:values" "l" "e" */
    size_t fit = free > overhead ? (free - overhead) / each : 0;
    n = n < fit ? n : fit;
    if (n == 0)
        return;
    struct cv_wr w = cv_wr_init(s->values, sizeof s->values);
    cv_wr_u8(&w, 'l');
    for (size_t i = 0; i < n; i++) {
        uint8_t c[DHT_COMPACT_MAX];
        struct cv_wr one = cv_wr_init(c, sizeof c);
        dht_compact_write(&one, &peers[i]);
        dht_ben_write_string(&w, c, cv_wr_len(&one));
    }
    cv_wr_u8(&w, 'e');
    s->a.values = (struct dht_span){s->values, cv_wr_len(&w)};
}

static void get_peers(struct serving *s) {
    if (!s->q->info_hash.p) {
        refuse(s, DHT_CODE_PROTOCOL, "no info_hash");
        return;
    }
    struct dht *d = s->d;
    struct dht_id key = id_of(s->q->info_hash);
    uint8_t seeds[DHT_FILTER], peers[DHT_FILTER];
    if (dht_peerstore_accepts(&d->peers, &key))
        add_token(s, &key);
    if (s->q->scrape.has && s->q->scrape.v == 1 &&
        dht_peerstore_filters(&d->peers, s->now, &key, seeds, peers) &&
        dht_ratelimit_budget(&d->limiter, s->now, s->from, s->proven, 2 * DHT_FILTER)) {
        s->a.filter_seeds = (struct dht_span){seeds, sizeof seeds};
        s->a.filter_peers = (struct dht_span){peers, sizeof peers};
        s->query_len += 2 * DHT_FILTER / DHT_AMPLIFY; /* paid for */
    }
    struct cv_addr found[DHT_VALUES_IN_REPLY];
    size_t n =
        dht_peerstore_sample(&d->peers, s->now, d->rng, &key, s->from->family,
                             s->q->noseed.has && s->q->noseed.v == 1, found, DHT_VALUES_IN_REPLY);
    /* Peers are what is asked for: half of the nodes make room for them when
     * the answer must be short. */
    add_nodes(s, &key, n && !s->proven ? DHT_K / 2 : DHT_K);
    add_values(s, &key, found, n);
    answer(s);
}

static void announce(struct serving *s) {
    const struct dht_msg *q = s->q;
    if (!q->info_hash.p) {
        refuse(s, DHT_CODE_PROTOCOL, "no info_hash");
        return;
    }
    struct dht_id key = id_of(q->info_hash);
    if (!dht_token_valid(&s->d->tokens, s->now, s->from, &key, q->token)) {
        refuse(s, DHT_CODE_PROTOCOL, "bad token");
        return;
    }
    dht_ratelimit_prove(&s->d->limiter, s->now, s->from);
    struct cv_addr peer = *s->from;
    if (!q->implied_port.has || q->implied_port.v == 0) {
        if (!q->port.has || q->port.v < 1 || q->port.v > UINT16_MAX) {
            refuse(s, DHT_CODE_PROTOCOL, "bad port");
            return;
        }
        peer.port = (uint16_t)q->port.v;
    }
    bool seed = q->seed.has && q->seed.v == 1;
    if (dht_peerstore_add(&s->d->peers, s->now, &s->side->table.own, &key, &peer, seed))
        refuse(s, DHT_CODE_SERVER, "store is full");
    else
        answer(s);
}

static void get(struct serving *s) {
    if (!s->q->target.p) {
        refuse(s, DHT_CODE_PROTOCOL, "no target");
        return;
    }
    struct dht_id target = id_of(s->q->target);
    const struct dht_stored *e = dht_itemstore_get(&s->d->items, s->now, &target);
    add_token(s, &target);
    if (e && e->mutable_item)
        s->a.seq = (struct dht_int){.v = e->seq, .has = true};
    bool newer = e && !(e->mutable_item && s->q->seq.has && e->seq <= s->q->seq.v);
    unsigned cost = newer ? e->v_len + DHT_SIGNATURE + DHT_KEY + 32u : 0;
    bool paid = newer && dht_ratelimit_budget(&s->d->limiter, s->now, s->from, s->proven, cost);
    add_nodes(s, &target, DHT_K);
    if (paid) {
        s->a.value = (struct dht_span){e->v, e->v_len};
        if (e->mutable_item) {
            s->a.k = (struct dht_span){e->k, sizeof e->k};
            s->a.sig = (struct dht_span){e->sig, sizeof e->sig};
        }
    }
    /* A long value leaves room for fewer nodes, and 1232 octets pass everywhere. */
    for (size_t len = length(&s->a); paid && len > 1232; len = length(&s->a)) {
        struct dht_span *list = s->a.nodes6.n ? &s->a.nodes6 : &s->a.nodes;
        size_t each = list == &s->a.nodes6 ? 38 : 26;
        if (list->n < each)
            break;
        list->n -= each;
    }
    answer(s);
}

static const char *put_words(int code) {
    switch (code) {
    case DHT_CODE_VALUE_BIG:
        return "v is too big";
    case DHT_CODE_SIGNATURE:
        return "bad signature";
    case DHT_CODE_SALT_BIG:
        return "salt is too big";
    case DHT_CODE_CAS:
        return "cas does not match";
    case DHT_CODE_SEQ:
        return "seq is not newer";
    case DHT_CODE_SERVER:
        return "store is full";
    default:
        return "bad put";
    }
}

/* Order of the checks: token (cheap, and shows the source to be real), sizes,
 * signature (dear), then what is stored already. */
static void put(struct serving *s) {
    const struct dht_msg *q = s->q;
    struct dht_item item = {0};
    if (!q->value.p || (q->k.p && q->salt.n > DHT_SALT_MAX + 1000)) {
        refuse(s, DHT_CODE_PROTOCOL, "no v");
        return;
    }
    struct dht_id target = {{0}};
    if (q->k.p)
        target = dht_key_target(q->k.p, q->salt.p, q->salt.n);
    else
        cv_sha(CV_SHA1, target.b, q->value.p, q->value.n);
    if (!dht_token_valid(&s->d->tokens, s->now, s->from, &target, q->token)) {
        refuse(s, DHT_CODE_PROTOCOL, "bad token");
        return;
    }
    dht_ratelimit_prove(&s->d->limiter, s->now, s->from);
    int code = dht_item_from_msg(q, &item);
    if (!code && dht_item_check(&item))
        code = DHT_CODE_SIGNATURE;
    if (!code)
        code = dht_itemstore_put(&s->d->items, s->now, &s->side->table.own, s->from, &item,
                                 q->cas.has ? &q->cas.v : NULL);
    if (code)
        refuse(s, code, put_words(code));
    else
        answer(s);
}

static void sample(struct serving *s) {
    if (!s->q->target.p) {
        refuse(s, DHT_CODE_PROTOCOL, "no target");
        return;
    }
    struct dht *d = s->d;
    struct dht_id target = id_of(s->q->target), keys[DHT_SAMPLES_IN_REPLY];
    size_t n = dht_peerstore_keys(&d->peers, d->rng, keys, DHT_SAMPLES_IN_REPLY);
    if (n && !dht_ratelimit_budget(&d->limiter, s->now, s->from, s->proven, (unsigned)n * DHT_ID))
        n = 0;
    s->query_len += n * DHT_ID / DHT_AMPLIFY; /* paid for */
    s->a.num = (struct dht_int){.v = (int64_t)dht_peerstore_count(&d->peers), .has = true};
    s->a.interval = (struct dht_int){.v = 60, .has = true};
    s->a.samples = (struct dht_span){keys[0].b, n * DHT_ID};
    add_nodes(s, &target, DHT_K);
    answer(s);
}

static void dispatch(struct serving *s) {
    switch (s->q->method) {
    case DHT_METHOD_PING:
        answer(s);
        break;
    case DHT_METHOD_FIND_NODE:
        find_node(s);
        break;
    case DHT_METHOD_GET_PEERS:
        get_peers(s);
        break;
    case DHT_METHOD_ANNOUNCE:
        announce(s);
        break;
    case DHT_METHOD_GET:
        get(s);
        break;
    case DHT_METHOD_PUT:
        put(s);
        break;
    case DHT_METHOD_SAMPLE:
        sample(s);
        break;
    case DHT_METHOD_UNKNOWN:
        /* Methods to come: one that names a target gets the way there. */
        if (s->q->target.p || s->q->info_hash.p)
            find_node(s);
        else
            refuse(s, DHT_CODE_METHOD, "unknown method");
        break;
    }
}

void dht_serve(struct dht *d, cv_usec now, const struct cv_addr *from, const struct dht_msg *m,
               size_t query_len) {
    struct serving s = {
        .d = d,
        .now = now,
        .from = from,
        .q = m,
        .query_len = query_len,
        .side = dht_side_of(d, from->family),
    };
    struct cv_wr w = cv_wr_init(s.ip, sizeof s.ip);
    dht_compact_write(&w, from);
    s.a = (struct dht_msg){.kind = DHT_ANSWER,
                           .t = m->t,
                           .client = dht_client(),
                           .ip = {s.ip, cv_wr_len(&w)},
                           .id = {s.side->table.own.b, DHT_ID}};
    if (m->fault) {
        refuse(&s, DHT_CODE_PROTOCOL, m->fault);
        return;
    }
    struct dht_id id = id_of(m->id);
    /* A place in our table proves nothing here: anybody may send in the name of
     * a node that he knows we know. */
    (void)dht_table_asked_us(&s.side->table, now, &id, from);
    s.proven = dht_ratelimit_proven(&d->limiter, now, from);
    dispatch(&s);
    if (!m->read_only)
        dht_upkeep_overheard(d, now, &id, from);
}
