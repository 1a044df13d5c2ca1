/*
 * One datagram reaches a node that has a table, peers and items. First octet: bit 0
 * from an IPv6 address, bit 1 from somebody who showed a token before, bit 2 the
 * node reads only. The eight octets TOKENTOK, where the token stands, are replaced
 * by the one that the sender would have been given for that key.
 *
 * Property: what is no query is not answered, a query at most once, with a
 * well-formed answer of the same transaction, at most four times as long unless
 * the sender showed a token or pays from his budget; what is stored changes only by
 * an announcement or a put that carried a token and was answered well.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/keys.h"
#include "crypto/rng_seeded.h"
#include "dht/engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct cv_now now = {.mono = CV_SEC(100), .wall = 1700000000};

static struct cv_addr address(uint8_t family, unsigned i) {
    struct cv_addr a = {.family = family, .port = 6881};
    a.ip[0] = family == 4 ? 11 : 0x2a;
    a.ip[1] = (uint8_t)(1 + i);
    a.ip[family == 4 ? 3 : 15] = 9;
    return a;
}

/* Twenty nodes of each family, sixty peers of key 1, a mutable item of seed 1 with
 * seq 5 and an immutable one. */
static void furnish(struct dht *d, const struct cv_rng *rng) {
    struct dht_id key = {{1}};
    for (unsigned i = 0; i < 120; i++) {
        struct cv_addr a = address(i % 2 ? 6 : 4, i);
        struct dht_side *s = dht_side_of(d, a.family);
        struct dht_id id = dht_id_for_address(&a, rng);
        if (i < 40)
            (void)dht_table_answered(&s->table, now.mono, &id, &a, 1);
        (void)dht_peerstore_add(&d->peers, now.mono, &s->table.own, &key, &a, i % 3 == 0);
    }
    uint8_t seed[CV_KEY] = {1}, covered[DHT_SIGNED_MAX];
    struct cv_ed25519_secret signer;
    cv_ed25519_from_seed(&signer, seed);
    struct dht_item items[2] = {{.mutable_item = true, .seq = 5}, {0}};
    memcpy(items[0].k, signer.public_key, DHT_KEY);
    for (unsigned i = 0; i < 2; i++) {
        struct cv_addr a = address(4, 200);
        (void)dht_item_set_bytes(&items[i], "value", 5);
        ssize_t n = i ? 0 : dht_item_signed(&items[i], covered);
        if (n > 0)
            cv_ed25519_sign(items[i].sig, &signer, "", covered, (size_t)n);
        int code =
            dht_itemstore_put(&d->items, now.mono, &d->sides[0].table.own, &a, &items[i], NULL);
        assert(code == 0);
    }
}

/* Puts the sender's token where TOKENTOK stands; whether it did. */
static bool give_token(struct dht *d, const struct cv_addr *from, uint8_t *buf, size_t len) {
    struct dht_msg m;
    struct dht_id key;
    if (dht_msg_read(buf, len, &m) || m.token.n != DHT_TOKEN_LEN ||
        memcmp(m.token.p, "TOKENTOK", DHT_TOKEN_LEN) != 0)
        return false;
    if (m.method == DHT_METHOD_ANNOUNCE && m.info_hash.p)
        memcpy(key.b, m.info_hash.p, DHT_ID);
    else if (m.method == DHT_METHOD_PUT && m.k.p)
        key = dht_key_target(m.k.p, m.salt.p, m.salt.n);
    else if (m.method == DHT_METHOD_PUT && m.value.p)
        cv_sha(CV_SHA1, key.b, m.value.p, m.value.n);
    else
        return false;
    dht_token_make(&d->tokens, now.mono, from, &key, buf + (m.token.p - buf));
    return true;
}

/* What it answered, in `ret` with its octets in `buf`; false: nothing. */
static bool answered(struct dht *d, const struct cv_addr *to, uint8_t buf[DHT_DATAGRAM_MAX],
                     size_t *ret_len, struct dht_msg *ret) {
    static uint8_t arena[32 * DHT_DATAGRAM_MAX];
    struct cv_run runs[32];
    bool any = false;
    for (;;) {
        struct cv_batch b = cv_batch_init(arena, 32, DHT_DATAGRAM_MAX, 0, runs, 32);
        dht_poll_transmit(d, now, &b);
        if (b.slots_used == 0)
            return any;
        for (uint32_t i = 0; i < b.runs_used; i++)
            for (uint16_t k = 0; k < runs[i].count; k++) {
                struct dht_msg m;
                const uint8_t *at = cv_batch_at(&b, &runs[i], k);
                enum cv_err err = dht_msg_read(at, runs[i].size, &m);
                assert(!err && !m.fault);
                if (m.kind == DHT_QUERY)
                    continue; /* one of its own: who is that? */
                assert(!any && cv_addr_equal(&runs[i].to.addr, to));
                any = true;
                memcpy(buf, at, runs[i].size);
                *ret_len = runs[i].size;
                err = dht_msg_read(buf, *ret_len, ret);
                assert(!err);
            }
    }
}

static void check(struct dht *d, const struct cv_addr *from, uint8_t *buf, size_t len,
                  bool proven) {
    struct dht_msg q, a;
    struct dht_status before, after;
    uint8_t reply[DHT_DATAGRAM_MAX];
    size_t reply_len = 0;
    bool token = give_token(d, from, buf, len);
    bool query = dht_msg_read(buf, len, &q) == CV_ERR_OK && q.kind == DHT_QUERY;
    dht_status(d, &before);
    (void)dht_on_datagram(d, now, from, buf, len);
    bool any = answered(d, from, reply, &reply_len, &a);
    dht_status(d, &after);
    bool changed =
        before.peers != after.peers || before.items != after.items || before.hashes != after.hashes;
    assert(!any || (query && !d->cfg.read_only));
    assert(!changed || (token && any && a.kind == DHT_ANSWER));
    if (!any)
        return;
    assert(a.t.n == q.t.n && memcmp(a.t.p, q.t.p, a.t.n) == 0);
    bool may_pay = (q.method == DHT_METHOD_GET_PEERS && q.scrape.has) ||
                   q.method == DHT_METHOD_GET || q.method == DHT_METHOD_SAMPLE;
    assert(proven || token || may_pay || reply_len <= DHT_AMPLIFY * len);
    assert(reply_len <= DHT_DATAGRAM_USUAL || a.value.p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t buf[2048];
    if (size < 1 || size - 1 > sizeof buf)
        return 0;
    uint8_t flags = data[0];
    struct cv_rng_seeded dice;
    cv_crypto_init();
    cv_rng_seeded_init(&dice, 1);
    struct cv_rng rng = cv_rng_seeded(&dice);
    struct dht_config cfg = {
        .scope = DHT_SCOPE_PUBLIC, .ipv4 = true, .ipv6 = true, .read_only = flags & 4};
    struct dht *d =
        dht_new(&cfg, &rng, (struct cv_now){.mono = now.mono - CV_SEC(1), .wall = now.wall});
    assert(d);
    furnish(d, &rng);
    struct cv_addr from = address(flags & 1 ? 6 : 4, 180);
    if (flags & 2)
        dht_ratelimit_prove(&d->limiter, now.mono, &from);
    memcpy(buf, data + 1, size - 1);
    check(d, &from, buf, size - 1, flags & 2);
    dht_free(d);
    return 0;
}
