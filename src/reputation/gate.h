/*
 * The gate: which of four classes a client's link belongs to. Only the first
 * link of a circuit has a class; nobody sees it beyond that link. The tunnel's
 * scheduler gives the classes shares of 50, 25, 20 and 5 % when they compete,
 * and everything idle to whoever asks.
 */
#ifndef CULVERT_REPUTATION_GATE_H
#define CULVERT_REPUTATION_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "reputation/store.h"

enum rep_class {
    REP_CLASS_TOKEN = 0, /* redeemed a priority token */
    REP_CLASS_GIVER = 1, /* private account that gives at least what it takes */
    REP_CLASS_NEW = 2,   /* nameless or new: starts at once */
    REP_CLASS_DEBT = 3,  /* has taken much more than given for long */
};
enum { REP_CLASSES = 4 };

struct rep_gate_config {
    uint64_t new_octets;    /* given + taken below: still new */
    uint64_t debt_octets;   /* taken - given above, and taken > 2 x given: debt */
    uint32_t debt_seconds;  /* debt for so long, and it takes more: class 3 */
    uint32_t dwell_seconds; /* a class is kept at least so long */
};

extern const struct rep_gate_config rep_gate_defaults; /* 1 MiB, 64 MiB, 1 h, 60 s */

/* Shares of the classes in percent. */
extern const uint8_t rep_class_share[REP_CLASSES];

/*
 * The class an account has from now on. Updates debt_since, judged and gate_class.
 * Hysteresis: a giver stays one until it gives less than 4/5 of what it takes;
 * a debtor is one until it has given 2/3 of what it took, or the debt is less
 * than half the limit. Nobody becomes one who has taken nothing since the last
 * judgement (decision 0097). `changed_at` is when the class last changed (Unix
 * seconds, 0 = never). Pure: no clock, no allocation.
 */
enum rep_class rep_gate_judge(const struct rep_gate_config *cfg, struct rep_account *a,
                              int64_t changed_at, int64_t wall);

/* Why it judged so, of a class that is another now. */
enum rep_why_cause rep_gate_because(uint8_t was, uint8_t became);

#endif
