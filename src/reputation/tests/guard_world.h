/*
 * A guard with a score for each of so many relays, and these relays, for tests
 * of tokens: ledgers over stores that outlive them, times given.
 */
#ifndef CULVERT_REPUTATION_TESTS_GUARD_WORLD_H
#define CULVERT_REPUTATION_TESTS_GUARD_WORLD_H

#include <stdlib.h>

#include "crypto/rng_seeded.h"
#include "crypto/tokenkey.h"
#include "reputation/priority.h"
#include "reputation/tests/people.h"

/* The Thursday 03:00 UTC on which week 2810 begins. */
#define WEEK_BEGIN (INT64_C(2810) * 7 * 86400 + 3 * 3600)
#define WEEK       (INT64_C(7) * 86400)

static struct cv_rng_seeded gw_dice;
static struct cv_rng gw_rng;

static inline struct cv_now gw_at(int64_t seconds) {
    return (struct cv_now){.mono = CV_SEC(10) + CV_SEC((uint64_t)seconds),
                           .wall = WEEK_BEGIN + seconds};
}

static inline void gw_identity(unsigned who, struct cv_ed25519_secret *ret) {
    uint8_t seed[CV_KEY] = {(uint8_t)who, (uint8_t)(who >> 8), 77};
    cv_crypto_init();
    cv_ed25519_from_seed(ret, seed);
}

static inline struct rep_ledger *gw_ledger(const struct cv_ed25519_secret *identity,
                                           const struct rep_store *s, struct cv_now now,
                                           bool at_once) {
    struct rep_config cfg;
    struct rep_ledger *l = NULL;
    rep_config_init(&cfg);
    cfg.identity_secret = *identity;
    memcpy(cfg.network_id, test_network, sizeof test_network);
    cfg.tokens_at_once = at_once;
    cr_assert_eq(rep_ledger_new(&cfg, s, &gw_rng, now, &l), CV_ERR_OK);
    return l;
}

/* Rows between the guard and relays 1..n, so that each has the same score. */
static inline void gw_rows(const struct rep_store *s, const struct cv_ed25519_secret *guard,
                           unsigned n) {
    cr_assert_eq(s->begin(s->ctx, WEEK_BEGIN), CV_ERR_OK);
    for (unsigned i = 1; i <= n; i++) {
        struct cv_ed25519_secret relay;
        struct rep_edge e = {.octets = 1 << 30, .recent = 1 << 30, .epoch = 2809};
        gw_identity(i, &relay);
        memcpy(e.giver, guard->public_key, CV_KEY);
        memcpy(e.taker, relay.public_key, CV_KEY);
        cr_assert_eq(s->edge_put(s->ctx, &e), CV_ERR_OK);
    }
    cr_assert_eq(s->commit(s->ctx), CV_ERR_OK);
}

static inline void gw_key(const struct cv_ed25519_secret *guard, uint32_t week,
                          uint8_t ret[CV_VOPRF_ELEMENT]) {
    struct cv_voprf_secret key;
    cv_token_key(&key, guard, test_network, week);
    memcpy(ret, key.public_key, CV_VOPRF_ELEMENT);
}

#endif
