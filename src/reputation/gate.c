#include "reputation/gate.h"

#include <assert.h>

const struct rep_gate_config rep_gate_defaults = {
    .new_octets = UINT64_C(1) << 20,
    .debt_octets = UINT64_C(64) << 20,
    .debt_seconds = 3600,
    .dwell_seconds = 60,
};

const uint8_t rep_class_share[REP_CLASSES] = {50, 25, 20, 5};

static bool gives_enough(const struct rep_account *a, bool is_giver) {
    if (is_giver)
        return a->given >= a->taken / 5 * 4;
    return a->given >= a->taken;
}

static bool owes_much(const struct rep_gate_config *cfg, const struct rep_account *a,
                      bool is_debtor) {
    uint64_t debt = a->taken > a->given ? a->taken - a->given : 0;
    if (is_debtor)
        return a->given < a->taken / 3 * 2 && debt >= cfg->debt_octets / 2;
    return a->given < a->taken / 2 && debt > cfg->debt_octets;
}

static enum rep_class judge(const struct rep_gate_config *cfg, struct rep_account *a,
                            int64_t wall) {
    bool takes = a->taken > a->judged;
    a->judged = a->taken;
    if (!owes_much(cfg, a, a->gate_class == REP_CLASS_DEBT || a->debt_since != 0))
        a->debt_since = 0;
    else if (a->debt_since == 0 || a->debt_since > wall) /* or by a clock that ran ahead */
        a->debt_since = wall;

    if (a->given + a->taken < cfg->new_octets)
        return REP_CLASS_NEW;
    if (gives_enough(a, a->gate_class == REP_CLASS_GIVER))
        return REP_CLASS_GIVER;
    /* Nothing falls while one only gives: the hour is held against whoever takes on. */
    if (a->debt_since && wall - a->debt_since >= (int64_t)cfg->debt_seconds &&
        (takes || a->gate_class == REP_CLASS_DEBT))
        return REP_CLASS_DEBT;
    return REP_CLASS_NEW;
}

enum rep_class rep_gate_judge(const struct rep_gate_config *cfg, struct rep_account *a,
                              int64_t changed_at, int64_t wall) {
    assert(a->gate_class < REP_CLASSES);
    enum rep_class to = judge(cfg, a, wall);
    bool settled = changed_at == 0 || wall - changed_at >= (int64_t)cfg->dwell_seconds ||
                   wall < changed_at; /* the clock was set back: do not wait for it */
    if (settled)
        a->gate_class = (uint8_t)to;
    return a->gate_class;
}

enum rep_why_cause rep_gate_because(uint8_t was, uint8_t became) {
    return became == REP_CLASS_GIVER  ? REP_BECAUSE_GIVES
           : became == REP_CLASS_DEBT ? REP_BECAUSE_OWES
           : was == REP_CLASS_DEBT    ? REP_BECAUSE_REPAID
                                      : REP_BECAUSE_GIVES_LESS;
}
