/*
 * Import of half-blocks through reputation/chain.h. The input is a script; three
 * identities sign what it says, so that everything behind the signature is
 * reached. Record of 10 octets: owner and peer | seq | prev | type and answered
 * seq | given | taken | epoch | how | spare 2. How 252: the store was pruned before this
 * epoch, with all that was older; 253: it was pruned; 254: the peer succeeds the owner;
 * 255: the signature is wrong.
 * Property: no assertion; the same half-block twice is EXIST and changes nothing;
 * agreed amounts never fall and are claimed by both owners; a fork is proven by
 * a proof that checks, and its owner's later half-blocks are DENIED; a wrong
 * signature is never stored.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/cursor.h"
#include "crypto/hash.h"
#include "reputation/chain.h"
#include "reputation/forkproof.h"
#include "reputation/store_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PEOPLE = 3, RECORDS_MAX = 64 };

static const uint8_t network[REP_NETWORK_ID] = "testnet1";
static struct cv_ed25519_secret people[PEOPLE];

struct state {
    struct rep_store_memory *memory;
    const struct rep_store *s;
    struct rep_record kept[RECORDS_MAX];
    unsigned n;
    uint64_t agreed[PEOPLE][PEOPLE];
    bool forger[PEOPLE];
};

static void make_people(void) {
    cv_crypto_init();
    for (unsigned i = 0; i < PEOPLE; i++) {
        uint8_t seed[CV_KEY];
        memset(seed, (int)i + 1, sizeof seed);
        cv_ed25519_from_seed(&people[i], seed);
    }
}

/* The hash of a kept half-block of `who` with this seq, or something else. */
static void hash_of(const struct state *st, unsigned who, uint64_t seq, uint8_t ret[REP_HASH]) {
    memset(ret, 0x55, REP_HASH);
    for (unsigned i = 0; i < st->n; i++)
        if (st->kept[i].seq == seq &&
            memcmp(st->kept[i].owner, people[who].public_key, CV_KEY) == 0)
            memcpy(ret, st->kept[i].hash, REP_HASH);
}

static bool next_record(struct cv_rd *rd, const struct state *st, unsigned *ret_owner,
                        struct rep_record *ret) {
    struct rep_record r, checked;
    uint8_t buf[REP_RECORD];
    memset(&r, 0, sizeof r);
    uint8_t who = cv_rd_u8(rd);
    unsigned owner = who % PEOPLE, peer = (owner + 1 + who / 16 % (PEOPLE - 1)) % PEOPLE;
    r.version = REP_RECORD_VERSION;
    memcpy(r.peer, people[peer].public_key, CV_KEY);
    r.seq = 1 + cv_rd_u8(rd) % 16;
    uint8_t prev = cv_rd_u8(rd), answer = cv_rd_u8(rd);
    if (r.seq > 1)
        hash_of(st, owner, prev < 200 ? r.seq - 1 : prev, r.prev);
    r.type = answer % 2 ? REP_AGREEMENT : REP_PROPOSAL;
    if (r.type == REP_AGREEMENT) {
        r.peer_seq = 1 + answer / 2 % 16;
        hash_of(st, peer, r.peer_seq, r.peer_hash);
    }
    r.given = (uint64_t)cv_rd_u8(rd) << 20;
    r.taken = (uint64_t)cv_rd_u8(rd) << 20;
    r.epoch = cv_rd_u8(rd);
    uint8_t how = cv_rd_u8(rd);
    cv_rd_bytes(rd, 2);
    if (how == 254)
        rep_record_succeed(&people[owner], &people[peer], network, r.epoch, &r);
    else
        rep_record_sign(&r, &people[owner], network);
    if (how == 255)
        r.sig[5] ^= 1;
    if (how == 252)
        rep_store_memory_pruned_all(st->memory, r.epoch);
    else if (how == 253)
        (void)st->s->prune_put(st->s->ctx, r.epoch);
    rep_record_write(&r, buf);
    if (rd->err || rep_record_read(buf, &checked) != CV_ERR_OK)
        return false;
    *ret_owner = owner;
    *ret = checked;
    return true;
}

static uint64_t amount(const struct state *st, unsigned a, unsigned b) {
    struct rep_edge e;
    if (st->s->edge_get(st->s->ctx, people[a].public_key, people[b].public_key, &e))
        return 0;
    assert(e.recent <= e.octets);
    return e.octets;
}

/* Somebody kept claims to have given, or taken, this much. */
static bool claimed(const struct state *st, unsigned a, unsigned b, uint64_t octets) {
    bool gave = octets == 0, took = octets == 0;
    for (unsigned i = 0; i < st->n; i++) {
        const struct rep_record *r = &st->kept[i];
        bool by_a = memcmp(r->owner, people[a].public_key, CV_KEY) == 0;
        bool by_b = memcmp(r->owner, people[b].public_key, CV_KEY) == 0;
        gave |= by_a && memcmp(r->peer, people[b].public_key, CV_KEY) == 0 && r->given >= octets;
        took |= by_b && memcmp(r->peer, people[a].public_key, CV_KEY) == 0 && r->taken >= octets;
    }
    return gave && took;
}

static void check_amounts(struct state *st) {
    for (unsigned a = 0; a < PEOPLE; a++)
        for (unsigned b = 0; b < PEOPLE; b++) {
            if (a == b)
                continue;
            uint64_t now = amount(st, a, b);
            assert(now >= st->agreed[a][b]);
            assert(claimed(st, a, b, now));
            st->agreed[a][b] = now;
        }
}

/* The next half-block goes behind all that are kept, and takes up the claims. */
static void check_next(const struct state *st, unsigned owner, const struct rep_record *like) {
    struct rep_record next;
    enum cv_err err = rep_chain_next(st->s, people[owner].public_key, like->peer, &next);
    assert(err == CV_ERR_OK);
    for (unsigned i = 0; i < st->n; i++) {
        const struct rep_record *r = &st->kept[i];
        if (memcmp(r->owner, next.owner, CV_KEY) != 0 || r->type == REP_SUCCESSION)
            continue;
        assert(r->seq < next.seq);
        assert(r->seq + 1 < next.seq || memcmp(r->hash, next.prev, REP_HASH) == 0);
        if (memcmp(r->peer, next.peer, CV_KEY) == 0)
            assert(r->given <= next.given && r->taken <= next.taken);
    }
}

static void add(struct state *st, unsigned owner, const struct rep_record *r) {
    struct rep_chain_result res;
    uint8_t proven[CV_KEY];
    bool fits;
    assert(rep_chain_fits(st->s, r, &fits) == CV_ERR_OK);
    enum cv_err err = rep_chain_add(st->s, network, r, false, 1000, &res);
    assert(fits ? err == CV_ERR_OK || err == CV_ERR_AUTH : err != CV_ERR_OK);
    if (err == CV_ERR_OK) {
        assert(!st->forger[owner]);
        assert(rep_record_verify(r, network));
        st->kept[st->n++] = *r;
        assert(rep_chain_add(st->s, network, r, false, 1000, &res) == CV_ERR_EXIST);
    } else if (err == CV_ERR_DIFFERS && res.forked) {
        assert(rep_forkproof_check(&res.fork, network, proven) == CV_ERR_OK);
        assert(memcmp(proven, people[owner].public_key, CV_KEY) == 0);
        assert(rep_chain_add_fork(st->s, network, &res.fork, 1000) == CV_ERR_EXIST);
        st->forger[owner] = true;
    } else if (err == CV_ERR_DENIED) {
        assert(st->forger[owner]);
    } else if (err == CV_ERR_AUTH) {
        assert(!rep_record_verify(r, network));
    } else {
        assert(err == CV_ERR_EXIST || err == CV_ERR_DIFFERS);
    }
    check_amounts(st);
    check_next(st, owner, r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct state st;
    make_people();
    memset(&st, 0, sizeof st);
    st.memory = rep_store_memory_new();
    st.s = rep_store_memory_ops(st.memory);
    struct cv_rd rd = cv_rd_init(data, size);
    struct rep_record r;
    unsigned owner;
    enum cv_err err = st.s->begin(st.s->ctx, 0);
    assert(err == CV_ERR_OK);
    while (cv_rd_left(&rd) >= 10 && st.n < RECORDS_MAX)
        if (next_record(&rd, &st, &owner, &r))
            add(&st, owner, &r);
    rep_store_memory_free(st.memory);
    return 0;
}
