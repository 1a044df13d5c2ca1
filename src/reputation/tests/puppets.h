/*
 * A ledger at work: a relay with many neighbours that do no more than tell their
 * counts and countersign, so that nearly all of the time goes into its own half-blocks
 * and its file. Each run has new neighbours; the relay is the same in all.
 */
#ifndef CULVERT_REPUTATION_TESTS_PUPPETS_H
#define CULVERT_REPUTATION_TESTS_PUPPETS_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "reputation/chain.h"
#include "reputation/ledger.h"
#include "reputation/message.h"
#include "reputation/store_memory.h"
#include "reputation/store_sqlite.h"

enum { PUPPETS = 48, PUPPETS_MAX = 256, PUPPETS_EPOCH = 1 /* s */ };

static const uint8_t puppets_network[REP_NETWORK_ID] = "testnet1";

struct puppet {
    struct cv_ed25519_secret secret;
    uint64_t seq;
    uint8_t prev[REP_HASH];
};

struct puppets {
    struct cv_ed25519_secret me;
    struct cv_rng_seeded dice;
    struct cv_rng rng;
    struct rep_ledger *l;
    struct cv_now now;
    unsigned n; /* neighbours; 0 means PUPPETS */
    struct puppet of[PUPPETS_MAX];
    uint64_t last; /* our newest half-block that left, or that was there at the start */
    enum cv_err failed;
    /* Called for each half-block of ours when it leaves for the first time. */
    void (*left)(void *ctx, const struct rep_record *r);
    void *ctx;
};

static inline void puppets_key(struct cv_ed25519_secret *ret) {
    static const uint8_t seed[CV_KEY] = "the same in every run, 32 octets";
    cv_ed25519_from_seed(ret, seed);
}

/* The relay's file. */
static inline struct rep_store_sqlite *puppets_open(const char *path, enum rep_sqlite_sync sync) {
    struct rep_store_sqlite *s = NULL;
    struct cv_ed25519_secret me;
    char why[256];
    puppets_key(&me);
    enum cv_err err =
        rep_store_sqlite_open(path, puppets_network, me.public_key, sync, &s, why, sizeof why);
    cr_assert_eq(err, CV_ERR_OK, "%s", why);
    return s;
}

/* Countersigns what it is shown; half-blocks that are no proposal to it are let be. */
static inline void puppets_answer(struct puppets *p, cv_handle link, const struct rep_record *to) {
    struct puppet *u = &p->of[link];
    struct rep_record r = {.version = REP_RECORD_VERSION, .type = REP_AGREEMENT, .seq = ++u->seq};
    uint8_t octets[REP_RECORD], body[REP_MESSAGE_MAX];
    memcpy(r.peer, p->me.public_key, CV_KEY);
    memcpy(r.prev, u->prev, REP_HASH);
    memcpy(r.peer_hash, to->hash, REP_HASH);
    r.peer_seq = to->seq;
    r.given = to->taken;
    r.taken = to->given;
    r.epoch = to->epoch;
    rep_record_sign(&r, &u->secret, puppets_network);
    memcpy(u->prev, r.hash, REP_HASH);
    rep_record_write(&r, octets);
    struct rep_message m = {.kind = REP_MESSAGE_RECORDS, .count = 1, .records = octets};
    ssize_t len = rep_message_write(&m, body, sizeof body);
    (void)rep_ledger_on_message(p->l, p->now, link, body, (size_t)len);
}

static inline void puppets_records(struct puppets *p, cv_handle link, const struct rep_message *m) {
    for (unsigned i = 0; i < m->count; i++) {
        struct rep_record r;
        enum cv_err err = rep_record_read(m->records + i * REP_RECORD, &r);
        assert(err == CV_ERR_OK);
        if (err || memcmp(r.owner, p->me.public_key, CV_KEY) != 0 || r.seq <= p->last)
            continue;
        p->last = r.seq;
        p->left(p->ctx, &r);
        if (memcmp(r.peer, p->of[link].secret.public_key, CV_KEY) == 0)
            puppets_answer(p, link, &r);
    }
}

static inline void puppets_drain(struct puppets *p) {
    struct rep_event e;
    while (rep_ledger_poll_event(p->l, &e)) {
        struct rep_message m;
        uint8_t body[REP_MESSAGE_MAX];
        if (e.kind == REP_EVENT_FAILED)
            p->failed = e.err;
        if (e.kind != REP_EVENT_SEND || rep_message_read(e.send.body, e.send.len, &m) != CV_ERR_OK)
            continue;
        if (m.kind == REP_MESSAGE_RECORDS)
            puppets_records(p, e.link, &m);
        if (m.kind != REP_MESSAGE_COUNTERS || !(m.flags & REP_COUNTERS_TELL))
            continue;
        struct rep_message told = {.kind = REP_MESSAGE_COUNTERS, .epoch = m.epoch};
        told.given = m.taken;
        told.taken = m.given;
        ssize_t len = rep_message_write(&told, body, sizeof body);
        (void)rep_ledger_on_message(p->l, p->now, e.link, body, (size_t)len);
    }
}

/* Begins over `store`, which outlives it. Runs have numbers, in order. */
static inline enum cv_err puppets_begin(struct puppets *p, const struct rep_store *store,
                                        unsigned run) {
    struct rep_config cfg;
    struct rep_record head;
    p->n = p->n ? p->n : PUPPETS;
    assert(p->n <= PUPPETS_MAX);
    puppets_key(&p->me);
    cv_rng_seeded_init(&p->dice, run);
    p->rng = cv_rng_seeded(&p->dice);
    rep_config_init(&cfg);
    cfg.identity_secret = p->me;
    memcpy(cfg.network_id, puppets_network, sizeof puppets_network);
    cfg.epoch_seconds = PUPPETS_EPOCH;
    cfg.minimum_octets = 100;
    p->now = (struct cv_now){.mono = CV_SEC(5), .wall = 1700000000 + (int64_t)run * 10000};
    p->last = 0;
    enum cv_err err =
        store->block_seek(store->ctx, p->me.public_key, NULL, REP_SEQ_LAST, REP_SEEK_BELOW, &head);
    if (!err)
        p->last = head.seq;
    if (!err || err == CV_ERR_NOENT)
        err = rep_ledger_new(&cfg, store, &p->rng, p->now, &p->l);
    for (unsigned i = 0; !err && i < p->n; i++) {
        struct cv_addr addr = {.ip = {127, 10, (uint8_t)i, 1}, .port = 1, .family = 4};
        uint8_t seed[CV_KEY];
        cv_rng_fill(&p->rng, seed, sizeof seed);
        memset(&p->of[i], 0, sizeof p->of[i]);
        cv_ed25519_from_seed(&p->of[i].secret, seed);
        err =
            rep_ledger_link_up(p->l, p->now, i, REP_ROLE_RELAY, p->of[i].secret.public_key, &addr);
    }
    return err;
}

/* Octets with everybody, and half an epoch until the next: what takes the time is that
 * everybody releases in every epoch, not that counts are written again and again. */
static inline void puppets_step(struct puppets *p) {
    for (unsigned i = 0; i < p->n; i++)
        rep_ledger_carried(p->l, p->now, i, UINT64_C(1232) * (1 + i), 1232);
    static_assert(PUPPETS_EPOCH == 1, "two steps an epoch");
    cv_usec until = p->now.mono + CV_MSEC(500), from = CV_SEC(5);
    int64_t wall = p->now.wall - (int64_t)((p->now.mono - from) / 1000000);
    puppets_drain(p);
    while (p->now.mono < until) {
        cv_usec at = rep_ledger_next_timeout(p->l);
        p->now.mono = at < until ? (at > p->now.mono ? at : p->now.mono) : until;
        p->now.wall = wall + (int64_t)((p->now.mono - from) / 1000000);
        rep_ledger_on_timeout(p->l, p->now);
        puppets_drain(p);
    }
}

/* ---- what must be in a file afterwards ---- */

/* Every half-block of the relay's chain and its other half again through the rules, into
 * memory: no gap, and the same sums. Returns how many are its own. */
static inline uint64_t puppets_check(const struct rep_store *file, bool signatures) {
    struct cv_ed25519_secret me;
    struct rep_store_memory *memory = rep_store_memory_new();
    const struct rep_store *m = rep_store_memory_ops(memory);
    struct rep_chain_result result;
    struct rep_record r, other, last;
    struct rep_edge *edges, e;
    size_t n;
    uint64_t seq = 1;
    puppets_key(&me);
    cr_assert_eq(m->begin(m->ctx, 0), CV_ERR_OK);
    for (; file->block_get(file->ctx, me.public_key, seq, &r) == CV_ERR_OK; seq++) {
        if (seq > 1)
            cr_assert_arr_eq(r.prev, last.hash, REP_HASH);
        cr_assert_eq(rep_chain_add(m, puppets_network, &r, !signatures, 0, &result), CV_ERR_OK);
        last = r;
        enum cv_err err = r.type == REP_PROPOSAL
                              ? file->block_answer(file->ctx, &r, &other)
                              : file->block_get(file->ctx, r.peer, r.peer_seq, &other);
        if (err == CV_ERR_OK)
            rep_chain_add(m, puppets_network, &other, !signatures, 0, &result);
    }
    cr_expect_eq(file->block_seek(file->ctx, me.public_key, NULL, seq, REP_SEEK_FROM, &r),
                 CV_ERR_NOENT, "a gap in our chain");
    cr_assert_eq(file->edge_load(file->ctx, &edges, &n), CV_ERR_OK);
    for (size_t i = 0; i < n; i++) {
        uint64_t want = 0;
        if (memcmp(edges[i].giver, me.public_key, CV_KEY) != 0 &&
            memcmp(edges[i].taker, me.public_key, CV_KEY) != 0)
            continue;
        if (m->edge_get(m->ctx, edges[i].giver, edges[i].taker, &e) == CV_ERR_OK)
            want = e.octets;
        cr_expect_eq(edges[i].octets, want, "an agreed row that its half-blocks do not give");
    }
    free(edges);
    rep_store_memory_free(memory);
    return seq - 1;
}

#endif
