/* The gate's judgement: classes, hysteresis, dwelling. */
#include "support/suite.h"

#include "reputation/gate.h"

CV_SUITE(rep_gate);

#define MIB UINT64_C(1048576)

static const struct rep_gate_config cfg = {
    .new_octets = MIB, .debt_octets = 64 * MIB, .debt_seconds = 3600, .dwell_seconds = 60};

/* clang-format off */
static const struct {
    const char *name;
    uint64_t given, taken;
    enum rep_class was;
    int64_t debt_for; /* seconds it has been in debt; -1: was not */
    enum rep_class want;
    bool owes;
} rows[] = {
    { "nothing yet",                    0,         0,         REP_CLASS_NEW,   -1,   REP_CLASS_NEW,   false },
    { "a little taken",                 0,         MIB - 1,   REP_CLASS_NEW,   -1,   REP_CLASS_NEW,   false },
    { "gives what it takes",            MIB,       MIB,       REP_CLASS_NEW,   -1,   REP_CLASS_GIVER, false },
    { "gives a little less",            9 * MIB,   10 * MIB,  REP_CLASS_NEW,   -1,   REP_CLASS_NEW,   false },
    { "a giver who gives a bit less",   9 * MIB,   10 * MIB,  REP_CLASS_GIVER, -1,   REP_CLASS_GIVER, false },
    { "a giver at four fifths",         8 * MIB,   10 * MIB,  REP_CLASS_GIVER, -1,   REP_CLASS_GIVER, false },
    { "a giver below four fifths",      7 * MIB,   10 * MIB,  REP_CLASS_GIVER, -1,   REP_CLASS_NEW,   false },
    { "takes, but within the limit",    0,         64 * MIB,  REP_CLASS_NEW,   -1,   REP_CLASS_NEW,   false },
    { "takes above it, just now",       0,         65 * MIB,  REP_CLASS_NEW,   -1,   REP_CLASS_NEW,   true },
    { "takes above it, 59 minutes",     0,         65 * MIB,  REP_CLASS_NEW,   3599, REP_CLASS_NEW,   true },
    { "takes above it, an hour",        0,         65 * MIB,  REP_CLASS_NEW,   3600, REP_CLASS_DEBT,  true },
    { "gives more than half",           600 * MIB, 1000 * MIB, REP_CLASS_NEW,  -1,   REP_CLASS_NEW,   false },
    { "a debtor who gives half",        500 * MIB, 1000 * MIB, REP_CLASS_DEBT, 9999, REP_CLASS_DEBT,  true },
    { "a debtor who gives two thirds",  667 * MIB, 1000 * MIB, REP_CLASS_DEBT, 9999, REP_CLASS_NEW,   false },
    { "a debtor near the limit",        10 * MIB,  70 * MIB,  REP_CLASS_DEBT,  9999, REP_CLASS_DEBT,  true },
    { "a debtor who paid half back",    39 * MIB,  70 * MIB,  REP_CLASS_DEBT,  9999, REP_CLASS_NEW,   false },
    { "a debtor who paid all back",     70 * MIB,  70 * MIB,  REP_CLASS_DEBT,  9999, REP_CLASS_GIVER, false },
};
/* clang-format on */

Test(rep_gate, table) {
    const int64_t wall = 1700000000;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rep_account a = {.given = rows[i].given,
                                .taken = rows[i].taken,
                                .gate_class = (uint8_t)rows[i].was,
                                .debt_since = rows[i].debt_for < 0 ? 0 : wall - rows[i].debt_for};
        enum rep_class got = rep_gate_judge(&cfg, &a, 0, wall);
        cr_expect_eq(got, rows[i].want, "%s: class %d", rows[i].name, (int)got);
        cr_expect_eq(a.gate_class, rows[i].want, "%s", rows[i].name);
        cr_expect_eq(a.debt_since != 0, rows[i].owes, "%s", rows[i].name);
    }
}

Test(rep_gate, a_class_is_kept_for_a_minute) {
    struct rep_account a = {.given = 10 * MIB, .taken = MIB, .gate_class = REP_CLASS_NEW};
    cr_expect_eq(rep_gate_judge(&cfg, &a, 1000, 1059), REP_CLASS_NEW);
    cr_expect_eq(rep_gate_judge(&cfg, &a, 1000, 1060), REP_CLASS_GIVER);
    a.taken = 100 * MIB;
    cr_expect_eq(rep_gate_judge(&cfg, &a, 1060, 1119), REP_CLASS_GIVER);
    cr_expect_eq(rep_gate_judge(&cfg, &a, 1060, 1120), REP_CLASS_NEW);
    a.given = 200 * MIB;
    cr_expect_eq(rep_gate_judge(&cfg, &a, 5000, 100), REP_CLASS_GIVER,
                 "a clock set back does not freeze a class");
}

/* One who hovers around the border does not flicker. */
Test(rep_gate, hovering_does_not_flicker) {
    struct rep_account a = {.given = 10 * MIB, .taken = 10 * MIB, .gate_class = REP_CLASS_NEW};
    unsigned changes = 0;
    int64_t changed = 0;
    for (int64_t t = 1; t <= 36000; t++) {
        *(t % 2 ? &a.taken : &a.given) += MIB / 4;
        uint8_t was = a.gate_class;
        if (rep_gate_judge(&cfg, &a, changed, t) != was) {
            changed = t;
            changes++;
        }
    }
    cr_expect_leq(changes, 1);
}

Test(rep_gate, shares_add_up) {
    unsigned sum = 0;
    for (unsigned i = 0; i < REP_CLASSES; i++)
        sum += rep_class_share[i];
    cr_expect_eq(sum, 100);
}
