/* Our own account: what it counts, when its class changes and why, what it forgets, and
 * what of it lasts. */
#include "node/own.h"

#include <string.h>

#include "crypto/hash.h"
#include "crypto/keys.h"
#include "reputation/gate.h"
#include "support/suite.h"

CV_SUITE(node_own);

#define MIB  UINT64_C(1048576)
#define DAY  INT64_C(86400)
#define NOON (20000 * DAY + DAY / 2)

static const uint8_t tag[NODE_OWN_TAG] = {1, 2, 3, 4, 5, 6, 7, 8};

static size_t saved(const struct node_own *o, uint8_t ret[NODE_OWN_SAVED]) {
    return node_own_write(o, tag, ret);
}

/* Ends, and begins again so many seconds later. */
static void restart(struct node_own *o, int64_t wall) {
    uint8_t buf[NODE_OWN_SAVED];
    size_t len = saved(o, buf);
    memset(o, 0xee, sizeof *o);
    cr_assert_eq(node_own_read(tag, buf, len, wall, o), CV_ERR_OK);
}

static void expect_row(const struct node_own *o, unsigned i, uint8_t was, uint8_t became,
                       enum rep_why_cause why, uint64_t given, uint64_t taken, int64_t day) {
    cr_assert_lt(i, o->count);
    const struct rep_why *r = &o->rows[i];
    cr_expect_eq(r->was, was, "row %u: %u", i, r->was);
    cr_expect_eq(r->became, became, "row %u: %u", i, r->became);
    cr_expect_eq(r->cause, why, "row %u: %s", i, rep_why_text(r->cause));
    cr_expect_eq(r->given, given * MIB, "row %u", i);
    cr_expect_eq(r->taken, taken * MIB, "row %u", i);
    cr_expect_eq(r->day, day, "row %u", i);
}

/* A life of one who watches, and the reason of each change. Restarts, before every step
 * (`again` seconds before it), change nothing of it. */
static void life(bool restarts) {
    static const struct {
        int64_t after;
        uint64_t gave, took;
        uint8_t became;
        enum rep_why_cause why; /* 0: nothing changed */
    } steps[] = {
        {0, MIB / 2, 0, REP_CLASS_NEW, 0},
        {10, 4 * MIB, 3 * MIB, REP_CLASS_GIVER, REP_BECAUSE_GIVES},
        {90, 0, 2 * MIB, REP_CLASS_GIVER, 0},
        {200, 0, 300 * MIB, REP_CLASS_NEW, REP_BECAUSE_GIVES_LESS},
        {3700 + DAY, 0, MIB, REP_CLASS_DEBT, REP_BECAUSE_OWES},
        {3800 + DAY, MIB, 0, REP_CLASS_DEBT, 0},
        {4000 + DAY, 280 * MIB, 0, REP_CLASS_NEW, REP_BECAUSE_REPAID},
        {4100 + DAY, 40 * MIB, 0, REP_CLASS_GIVER, REP_BECAUSE_GIVES},
    };
    struct node_own o;
    unsigned rows = 0;
    node_own_init(&o);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        int64_t wall = NOON + steps[i].after;
        uint8_t was = o.a.gate_class;
        uint64_t given = o.a.given, taken = o.a.taken;
        if (restarts)
            restart(&o, wall - 5);
        bool changed = node_own_carried(&o, steps[i].gave, steps[i].took, wall);
        cr_expect_eq(changed, steps[i].why != 0, "step %zu", i);
        cr_expect_eq(o.a.gate_class, steps[i].became, "step %zu: %u", i, o.a.gate_class);
        cr_expect_eq(o.a.given, given + steps[i].gave, "step %zu", i);
        cr_expect_eq(o.a.taken, taken + steps[i].took, "step %zu", i);
        if (steps[i].why)
            expect_row(&o, rows++, was, steps[i].became, steps[i].why, o.a.given / MIB,
                       o.a.taken / MIB, wall - wall % DAY);
        cr_assert_eq(o.count, rows, "step %zu: %u", i, o.count);
        cr_expect_eq(node_own_since(&o), rows ? o.rows[rows - 1].day : 0);
    }
}

Test(node_own, every_change_of_the_class_has_a_row_that_says_why) {
    life(false);
}

Test(node_own, restarts_change_nothing) {
    life(true);
}

/* From nothing, from debts that are old enough to be one or not yet, with and without restarts:
 * neither counters nor the class get worse. */
Test(node_own, nothing_falls_while_one_only_gives) {
    static const uint64_t took[] = {0, MIB / 2, 60 * MIB, 500 * MIB};
    for (unsigned i = 0; i < 4 * 2 * 2; i++) {
        bool restarts = i & 1, debtor = i & 2;
        uint64_t taken = took[i / 4];
        struct node_own o;
        int64_t wall = NOON + 11 * 3600; /* a debt that is of yesterday when it is read again */
        node_own_init(&o);
        node_own_carried(&o, 0, taken, wall);
        if (debtor) {
            wall += 4000;
            node_own_carried(&o, 0, 1, wall);
            taken += 1;
        }
        for (unsigned step = 0; step < 1200; step++) {
            struct node_own before = o;
            /* Far too slowly for a debt that becomes one in an hour, then more rarely. */
            wall += step < 600 ? 60 : 7000;
            if (restarts && step % 50 == 0)
                restart(&o, wall);
            node_own_carried(&o, MIB, 0, wall);
            cr_assert_eq(o.a.given, before.a.given + MIB, "%u.%u", i, step);
            cr_assert_eq(o.a.taken, before.a.taken, "%u.%u", i, step);
            cr_assert_leq(o.a.gate_class, before.a.gate_class, "%u.%u: %u after %u", i, step,
                          o.a.gate_class, before.a.gate_class);
        }
        cr_expect_eq(o.a.taken, taken);
        cr_expect_eq(o.a.gate_class, REP_CLASS_GIVER, "%u", i);
    }
}

Test(node_own, counters_stop_and_nothing_is_no_event) {
    struct node_own o;
    node_own_init(&o);
    cr_expect(!node_own_carried(&o, 0, 0, NOON));
    cr_expect_eq(o.a.last_seen, 0, "nobody was seen");
    node_own_carried(&o, UINT64_C(1) << 63, UINT64_C(1) << 63, NOON);
    cr_expect_eq(o.a.given, REP_AMOUNT_MAX, "two that come to nothing");
    node_own_init(&o);
    node_own_carried(&o, REP_AMOUNT_MAX, UINT64_MAX, NOON);
    node_own_carried(&o, UINT64_MAX, 5, NOON);
    cr_expect_eq(o.a.given, REP_AMOUNT_MAX);
    cr_expect_eq(o.a.taken, REP_AMOUNT_MAX);
    restart(&o, NOON);
    cr_expect_eq(o.a.given, REP_AMOUNT_MAX);
}

Test(node_own, without_a_calendar_it_only_counts) {
    struct node_own o;
    node_own_init(&o);
    cr_expect(!node_own_carried(&o, 5 * MIB, 0, 0));
    cr_expect_eq(o.a.given, 5 * MIB);
    cr_expect_eq(o.a.gate_class, REP_CLASS_NEW);
    cr_expect_eq(o.count, 0);
    cr_expect(!node_own_forget(&o, 0));
    cr_expect(node_own_carried(&o, 1, 0, NOON));
    cr_expect_eq(o.a.gate_class, REP_CLASS_GIVER);
}

Test(node_own, the_newest_rows_are_kept) {
    struct node_own o;
    uint64_t n = 0, tenth = 0;
    node_own_init(&o);
    for (int64_t wall = NOON; n < NODE_OWN_ROWS + 10; wall += 100) {
        bool giver = o.a.gate_class == REP_CLASS_GIVER;
        uint64_t owes = o.a.taken - o.a.given, more = o.a.given * 5 / 4 + MIB - o.a.taken;
        n += node_own_carried(&o, giver ? 0 : owes + MIB, giver ? more : 0, wall);
        tenth = n == 10 ? o.a.given / MIB * MIB + o.a.taken / MIB * MIB : tenth;
        restart(&o, wall);
    }
    cr_expect_eq(o.count, NODE_OWN_ROWS);
    cr_expect_gt(o.rows[0].given + o.rows[0].taken, tenth, "the first ten are gone");
    for (unsigned i = 1; i < o.count; i++) {
        cr_expect_eq(o.rows[i].was, o.rows[i - 1].became);
        cr_expect_geq(o.rows[i].given + o.rows[i].taken, o.rows[i - 1].given + o.rows[i - 1].taken);
    }
    cr_expect_eq(o.rows[o.count - 1].became, o.a.gate_class);
    cr_expect_eq(o.rows[o.count - 1].given, o.a.given / MIB * MIB, "the newest of them");
}

/* ---- forgetting ---- */

Test(node_own, what_is_thirty_days_old_is_forgotten) {
    struct node_own o;
    const int64_t last = NOON + 30 * DAY + DAY / 2 - 1; /* of the thirtieth day */
    node_own_init(&o);
    node_own_carried(&o, 4 * MIB, 0, NOON);
    cr_expect_eq(node_own_since(&o), 20000 * DAY);

    /* In use it stays; the row goes, and with it since when it is what it is. */
    node_own_carried(&o, MIB, 0, last);
    cr_expect_eq(o.count, 1);
    node_own_carried(&o, MIB, 0, last + 1);
    cr_expect_eq(o.count, 0);
    cr_expect_eq(node_own_since(&o), 0);
    cr_expect_eq(o.a.given, 6 * MIB);
    cr_expect_eq(o.a.gate_class, REP_CLASS_GIVER);

    /* Not in use, it goes, too, whoever looks: and says so. */
    restart(&o, last + 31 * DAY);
    cr_expect(!node_own_forget(&o, last + 31 * DAY));
    cr_expect(node_own_forget(&o, last + 1 + 31 * DAY));
    cr_expect_eq(o.a.given, 0);
    cr_expect_eq(o.a.last_seen, 0);
    expect_row(&o, 0, REP_CLASS_GIVER, REP_CLASS_NEW, REP_BECAUSE_FORGOTTEN, 0, 0, 20062 * DAY);
    cr_expect(!node_own_forget(&o, last + 2 + 31 * DAY), "once");
    cr_expect(!node_own_forget(&o, last + 70 * DAY), "the row is no account");
    cr_expect_eq(o.count, 0);
}

Test(node_own, what_is_carried_after_thirty_days_begins_a_new_account) {
    struct node_own o;
    node_own_init(&o);
    node_own_carried(&o, 0, 200 * MIB, NOON);
    node_own_carried(&o, 0, MIB, NOON + 4000);
    cr_assert_eq(o.a.gate_class, REP_CLASS_DEBT);
    cr_expect(node_own_carried(&o, 0, 2, NOON + 31 * DAY));
    cr_expect_eq(o.a.taken, 2);
    cr_expect_eq(o.a.debt_since, 0);
    cr_expect_eq(o.count, 1);
    expect_row(&o, 0, REP_CLASS_DEBT, REP_CLASS_NEW, REP_BECAUSE_FORGOTTEN, 0, 0, 20031 * DAY);
}

/* A clock that was ahead makes nothing last longer. */
Test(node_own, days_that_lie_ahead_become_today) {
    struct node_own o;
    node_own_init(&o);
    node_own_carried(&o, 4 * MIB, 0, NOON + 400 * DAY);
    cr_expect(!node_own_forget(&o, NOON));
    cr_expect_eq(o.rows[0].day, 20000 * DAY);
    cr_expect_eq(o.a.last_seen, 20000 * DAY);
    cr_expect(node_own_forget(&o, NOON + 31 * DAY));
}

Test(node_own, one_that_is_lost_says_so) {
    struct node_own o;
    node_own_init(&o);
    node_own_carried(&o, 4 * MIB, 0, NOON);
    node_own_lose(&o, REP_BECAUSE_UNREADABLE, NOON + DAY);
    cr_expect_eq(o.a.given, 0);
    cr_expect_eq(o.count, 2);
    expect_row(&o, 1, REP_CLASS_GIVER, REP_CLASS_NEW, REP_BECAUSE_UNREADABLE, 0, 0, 20001 * DAY);
    cr_expect(node_own_carried(&o, 2 * MIB, 0, NOON + DAY), "it need not wait");
}

/* ---- what lasts ---- */

/* A debt becomes one after an hour; only the day lasts of when it began, and nobody is called a
 * debtor too early. */
Test(node_own, a_young_debt_keeps_its_day) {
    static const struct {
        int64_t began, restart, judged; /* from midnight on */
        uint8_t became;
    } rows[] = {
        {43200, 43300, 46799, REP_CLASS_NEW},         /* the same day: the hour begins anew */
        {43200, 43300, 46900, REP_CLASS_DEBT},        /* .. and ends */
        {43200, DAY + 10, DAY + 3598, REP_CLASS_NEW}, /* it may have begun in the last second */
        {43200, DAY + 10, DAY + 3599, REP_CLASS_DEBT},
        {43200, 2 * DAY, 2 * DAY, REP_CLASS_DEBT}, /* it did not begin in this hour */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct node_own o;
        node_own_init(&o);
        node_own_carried(&o, 0, 200 * MIB, 20000 * DAY + rows[i].began);
        restart(&o, 20000 * DAY + rows[i].restart);
        restart(&o, 20000 * DAY + rows[i].restart);
        node_own_carried(&o, 0, 1, 20000 * DAY + rows[i].judged);
        cr_expect_eq(o.a.gate_class, rows[i].became, "row %zu: %u", i, o.a.gate_class);
    }
}

/* No time of the day, and no sum but the two that stand now, which are of no time. */
Test(node_own, times_are_days_and_sums_of_rows_are_rounded) {
    uint8_t morning[NODE_OWN_SAVED], evening[NODE_OWN_SAVED];
    size_t len[2];
    for (unsigned i = 0; i < 2; i++) {
        struct node_own o;
        int64_t wall = 20000 * DAY + (i ? 70000 : 100);
        node_own_init(&o);
        node_own_carried(&o, 2 * MIB + 7 + i * 1000, 0, wall);
        node_own_carried(&o, 0, 100 * MIB + 77, wall + 61 + i * 20);
        node_own_carried(&o, 1000 - i * 1000, 0, wall + 100);
        cr_assert_eq(o.count, 2);
        cr_assert_neq(o.a.debt_since, 0);
        len[i] = saved(&o, i ? evening : morning);
    }
    cr_expect_eq(len[0], len[1]);
    cr_expect_arr_eq(morning, evening, len[0]);
}

static void seal(uint8_t *buf, size_t len) {
    uint8_t hash[16];
    CV_BLAKE2B(hash, sizeof hash, NULL, 0, {buf, len - 16});
    memcpy(buf + len - 16, hash, 16);
}

Test(node_own, what_is_damaged_is_refused) {
    enum { CLASS = 28, DEBT = 33, COUNT = 37, ROW = 38, CAUSE = ROW + 4, GIVEN = ROW + 7 };
    static const struct {
        const char *name;
        size_t at;
        uint8_t octet;
        enum cv_err want;
    } rows[] = {
        {"another magic", 0, 'X', CV_ERR_CORRUPT},
        {"a later version", 3, '2', CV_ERR_VERSION},
        {"no version", 3, '0', CV_ERR_CORRUPT},
        {"another's", 4, 9, CV_ERR_DIFFERS},
        {"given more than there is", 19, 0xff, CV_ERR_CORRUPT},
        {"a giver of nothing", 14, 0, CV_ERR_CORRUPT},
        {"taken more than there is", 27, 0x40, CV_ERR_CORRUPT},
        {"a token's class", CLASS, REP_CLASS_TOKEN, CV_ERR_CORRUPT},
        {"no class", CLASS, REP_CLASSES, CV_ERR_CORRUPT},
        {"a debtor since a day", CLASS, REP_CLASS_DEBT, CV_ERR_CORRUPT},
        {"more rows than are there", COUNT, 2, CV_ERR_CORRUPT},
        {"fewer", COUNT, 0, CV_ERR_CORRUPT},
        {"more than may be", COUNT, NODE_OWN_ROWS + 1, CV_ERR_CORRUPT},
        {"no cause", CAUSE, 0, CV_ERR_CORRUPT},
        {"a cause of later", CAUSE, 99, CV_ERR_CORRUPT},
        {"from no class", CAUSE + 1, 0, CV_ERR_CORRUPT},
        {"to no class", CAUSE + 2, 4, CV_ERR_CORRUPT},
        {"a sum that is exact", GIVEN, 1, CV_ERR_CORRUPT},
        {"another that is", GIVEN + 8, 1, CV_ERR_CORRUPT},
        {"a sum beyond all", GIVEN + 7, 0x80, CV_ERR_CORRUPT},
        {"another", GIVEN + 15, 0x80, CV_ERR_CORRUPT},
    };
    struct node_own o, got, untouched;
    uint8_t good[NODE_OWN_SAVED], bad[NODE_OWN_SAVED];
    node_own_init(&o);
    node_own_carried(&o, 4 * MIB, 0, NOON);
    o.a.debt_since = NOON; /* as of one that owes since today */
    size_t len = saved(&o, good);
    cr_assert_eq(good[DEBT], (uint8_t)20000);
    cr_assert_eq(good[COUNT], 1);
    cr_assert_eq(node_own_read(tag, good, len, NOON, &got), CV_ERR_OK);
    memset(&untouched, 0xee, sizeof untouched);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        memcpy(bad, good, len);
        bad[rows[i].at] = rows[i].octet;
        seal(bad, len);
        memcpy(&got, &untouched, sizeof got);
        cr_expect_eq(node_own_read(tag, bad, len, NOON, &got), rows[i].want, "%s", rows[i].name);
        cr_expect_arr_eq(&got, &untouched, sizeof got, "%s", rows[i].name);
    }
    /* Any octet, where nobody sealed it again; any length. */
    for (size_t i = 0; i < len; i++) {
        memcpy(bad, good, len);
        bad[i] ^= 1;
        cr_expect_neq(node_own_read(tag, bad, len, NOON, &got), CV_ERR_OK, "%zu", i);
        cr_expect_neq(node_own_read(tag, good, i, NOON, &got), CV_ERR_OK, "%zu", i);
    }
    memset(bad + len, 0, sizeof bad - len);
    for (size_t more = 1; len + more <= sizeof bad; more++) {
        memcpy(bad, good, len - 16);
        seal(bad, len + more);
        cr_expect_eq(node_own_read(tag, bad, len + more, NOON, &got), CV_ERR_CORRUPT, "%zu", more);
    }
    bad[4]++;
    cr_expect_eq(node_own_read(NULL, good, len, NOON, &got), CV_ERR_OK, "anybody's");
}
