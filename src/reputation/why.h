/*
 * Why something about somebody changed: a row for every change of an account's
 * class, a relay's score and what our own tokens did. For the operator alone:
 * never sent or exported, times are days, the newest REP_WHY_KEPT of each kind are
 * kept and none longer than accounts are. So many changes of scores, which come with
 * every ranking, push out no reason of a class or of tokens. Rows of our own account
 * are node/own.h's.
 */
#ifndef CULVERT_REPUTATION_WHY_H
#define CULVERT_REPUTATION_WHY_H

#include <stdint.h>

#include "crypto/keys.h"

enum rep_why_kind {
    REP_WHY_CLASS = 1,  /* of an account: enum rep_class */
    REP_WHY_SCORE = 2,  /* of a relay: walks of REP_WALKS */
    REP_WHY_TOKENS = 3, /* of our own, by issuer: how many are left */
};

/* X(name, number, "because ..."): numbers are in files, so they stay. */
/* clang-format off */
#define REP_WHY_CAUSES(X) \
    X(GIVES, 1, "it gives at least what it takes") \
    X(GIVES_LESS, 2, "it gives less than four fifths of what it takes") \
    X(OWES, 3, "it has taken more than twice what it gave, and much, for long") \
    X(REPAID, 4, "it has given back most of what it owed") \
    X(SMALL, 5, "too little was carried to tell it from somebody new") \
    X(ROWS, 6, "relays agreed on what they carried for each other") \
    X(EPOCH, 7, "a new epoch: older rows weigh less") \
    X(FORGER, 8, "somebody was proven to have forged") \
    X(NEIGHBOURS, 9, "a neighbour came or went, and what rivals say of each other does not count") \
    X(START, 10, "first ranking since the start") \
    X(ISSUED, 11, "a guard issued them, as we carry others") \
    X(SPENT, 12, "one was spent for an hour of priority") \
    X(TWO_KEYS, 13, "the guard showed two keys for one week, which could tell who asked when") \
    X(FORGOTTEN, 14, "nothing was carried for 30 days, and then first hops forget, too") \
    X(UNREADABLE, 15, "what was kept of it could not be read, so it begins anew") \
    X(OTHER_KEY, 16, "this node has another key or network, which first hops know nothing of")
/* clang-format on */

enum rep_why_cause {
#define X(name, number, text) REP_BECAUSE_##name = (number),
    REP_WHY_CAUSES(X)
#undef X
};

struct rep_why {
    int64_t day; /* Unix seconds, of its midnight; 0: clock unknown */
    uint8_t kind, cause;
    uint32_t was, became;
    uint8_t who[CV_KEY];   /* client, relay or issuer */
    uint64_t given, taken; /* octets: of the account, or agreed with the relay */
};

/* "it gives ..."; "" for a number that is none. */
const char *rep_why_text(unsigned cause);

#endif
