/* Identities and half-blocks for tests. */
#ifndef CULVERT_REPUTATION_TESTS_PEOPLE_H
#define CULVERT_REPUTATION_TESTS_PEOPLE_H

#include <string.h>

#include "crypto/hash.h"
#include "crypto/keys.h"
#include "reputation/record.h"

static const uint8_t test_network[REP_NETWORK_ID] = "testnet1";

static inline void person(unsigned who, struct cv_ed25519_secret *ret) {
    uint8_t seed[CV_KEY];
    cv_crypto_init();
    memset(seed, (int)who + 1, sizeof seed);
    cv_ed25519_from_seed(ret, seed);
}

/* A signed proposal. `prev` NULL: the owner's first. */
static inline struct rep_record proposal(const struct cv_ed25519_secret *owner,
                                         const struct cv_ed25519_secret *peer,
                                         const struct rep_record *prev, uint64_t given,
                                         uint64_t taken) {
    struct rep_record r;
    memset(&r, 0, sizeof r);
    r.version = REP_RECORD_VERSION;
    r.type = REP_PROPOSAL;
    memcpy(r.peer, peer->public_key, CV_KEY);
    r.seq = prev ? prev->seq + 1 : 1;
    if (prev)
        memcpy(r.prev, prev->hash, REP_HASH);
    r.given = given;
    r.taken = taken;
    r.epoch = 2800;
    rep_record_sign(&r, owner, test_network);
    return r;
}

/* The owner's answer to `to`. */
static inline struct rep_record agreement(const struct cv_ed25519_secret *owner,
                                          const struct rep_record *to,
                                          const struct rep_record *prev, uint64_t given,
                                          uint64_t taken) {
    struct rep_record r;
    memset(&r, 0, sizeof r);
    r.version = REP_RECORD_VERSION;
    r.type = REP_AGREEMENT;
    memcpy(r.peer, to->owner, CV_KEY);
    r.peer_seq = to->seq;
    memcpy(r.peer_hash, to->hash, REP_HASH);
    r.seq = prev ? prev->seq + 1 : 1;
    if (prev)
        memcpy(r.prev, prev->hash, REP_HASH);
    r.given = given;
    r.taken = taken;
    r.epoch = to->epoch;
    rep_record_sign(&r, owner, test_network);
    return r;
}

#endif
