/* What a seeder asks, as a table of what comes in each tick. */
#include "tunnel/effort.h"

#include "support/suite.h"
#include "tunnel/limits.h"

CV_SUITE(tun_effort);

#define TICK CV_SEC(20)

enum { SECOND = TUN_EFFORT_SECOND, FIRST = TUN_EFFORT_FIRST, MAX = TUN_EFFORT_MAX };

/* So many ticks in each of which `came` introductions of `effort` come, `lost` of which
 * wait in vain; then a slot says what is asked, or does not; and so much is asked and
 * required, and so often did it change. */
struct row {
    unsigned ticks, came, effort, lost;
    bool said;
    unsigned asked, required, changes;
};

static void play(const char *name, const struct row *rows, size_t n) {
    struct tun_effort e;
    cv_usec now = CV_SEC(1000);
    tun_effort_init(&e, now, TICK);
    for (size_t i = 0; i < n; i++) {
        const struct row *r = &rows[i];
        unsigned changes = 0;
        for (unsigned t = 0; t < r->ticks; t++) {
            for (unsigned k = 0; k < r->came; k++) {
                bool taken = tun_effort_came(&e, r->effort);
                cr_expect_eq(taken, r->effort >= e.required, "%s, row %zu", name, i);
                if (taken && k < r->lost)
                    tun_effort_lost(&e);
            }
            cr_expect_not(tun_effort_step(&e, now + TICK - 1), "%s, row %zu: early", name, i);
            now += TICK;
            changes += tun_effort_step(&e, now);
        }
        if (r->said)
            tun_effort_said(&e, e.asked);
        cr_expect(e.asked == r->asked && e.required == r->required && changes == r->changes,
                  "%s, row %zu: asked %u required %u, %u changes", name, i, e.asked, e.required,
                  changes);
    }
}

#define PLAY(...)                                                                                  \
    do {                                                                                           \
        static const struct row rows[] = {__VA_ARGS__};                                            \
        play(#__VA_ARGS__, rows, sizeof rows / sizeof *rows);                                      \
    } while (0)

Test(tun_effort, who_answers_everybody_asks_nothing) {
    PLAY({100, 2, 0, 0, false, 0, 0, 0});
    PLAY({100, 40, 0, TUN_EFFORT_LOST - 1, false, 0, 0, 0}); /* now and then one too many */
}

Test(tun_effort, it_rises_by_steps_and_ends_at_the_highest) {
    PLAY({1, 8, 0, 8, true, FIRST, FIRST, 1}, {2, 8, FIRST, 8, true, FIRST, FIRST, 0},
         {1, 8, FIRST, 8, true, SECOND, SECOND, 1}, {2, 8, SECOND, 8, true, SECOND, SECOND, 0},
         {1, 8, SECOND, 8, true, MAX, MAX, 1}, {50, 8, MAX, 8, true, MAX, MAX, 0});
}

/* What a viewer could not know is not held against it. */
Test(tun_effort, nothing_is_required_before_a_slot_says_so) {
    PLAY({1, 8, 0, 8, false, FIRST, 0, 1}, {1, 8, 0, 0, true, FIRST, FIRST, 0},
         {3, 8, FIRST, 8, false, SECOND, FIRST, 1}, {1, 0, 0, 0, true, SECOND, SECOND, 0});
}

/* A flood that is dropped is a flood: it holds the step that keeps it out. */
Test(tun_effort, it_stays_up_while_it_is_needed) {
    PLAY({1, 8, 0, 8, true, FIRST, FIRST, 1}, {200, 100, 5, 0, false, FIRST, FIRST, 0},
         {29, 2, 5, 0, false, FIRST, FIRST, 0}, {1, 3, 5, 0, false, FIRST, FIRST, 0},
         {29, 2, 5, 0, false, FIRST, FIRST, 0}, {1, 2, 5, 0, false, 0, 0, 1});
    /* and one that does not reach the step below does not count there */
    PLAY({1, 8, 0, 8, true, FIRST, FIRST, 1}, {3, 8, FIRST, 8, true, SECOND, SECOND, 1},
         {TUN_EFFORT_CALM, 100, FIRST - 1, 0, false, FIRST, FIRST, 1},
         {200, 100, FIRST - 1, 0, false, FIRST, FIRST, 0});
}

/* What that is worth to somebody who wants it to stay up: decision 0034 names these figures. */
Test(tun_effort, three_in_ten_minutes_hold_a_step_and_the_first_without_work) {
    PLAY({1, 8, 0, 8, true, FIRST, FIRST, 1}, {29, 0, 0, 0, false, FIRST, FIRST, 0},
         {1, 3, 0, 0, false, FIRST, FIRST, 0}, {29, 0, 0, 0, false, FIRST, FIRST, 0},
         {1, 3, 0, 0, false, FIRST, FIRST, 0}, {30, 0, 0, 0, false, 0, 0, 1});
    PLAY({1, 8, 0, 8, true, FIRST, FIRST, 1}, {3, 8, FIRST, 8, true, SECOND, SECOND, 1},
         {29, 3, FIRST - 1, 0, false, SECOND, SECOND, 0},
         {1, 3, FIRST, 0, false, SECOND, SECOND, 0},
         {29, 3, FIRST - 1, 0, false, SECOND, SECOND, 0},
         {1, 3, FIRST - 1, 0, false, FIRST, FIRST, 1});
}

/* Less is asked at once of those who do not know it yet, more is not asked at once again. */
Test(tun_effort, it_changes_rarely) {
    PLAY({1, 8, 0, 8, true, FIRST, FIRST, 1}, {TUN_EFFORT_CALM, 0, 0, 0, false, 0, 0, 1},
         {2, 8, 0, 8, true, 0, 0, 0}, {1, 8, 0, 8, true, FIRST, FIRST, 1});
    /* whatever comes: in an hour (180 ticks) no more than this */
    struct tun_effort e;
    unsigned changes = 0;
    tun_effort_init(&e, 0, TICK);
    for (unsigned t = 1; t <= 180; t++) {
        for (unsigned k = 0; k < 100 && (t % 40) < 4; k++)
            if (tun_effort_came(&e, MAX))
                tun_effort_lost(&e);
        changes += tun_effort_step(&e, t * TICK);
        tun_effort_said(&e, e.asked);
    }
    cr_expect_leq(changes, 12, "%u", changes);
}

Test(tun_effort, what_another_slot_said_is_not_required) {
    struct tun_effort e;
    tun_effort_init(&e, 0, TICK);
    for (unsigned k = 0; k < TUN_EFFORT_LOST; k++)
        tun_effort_lost(&e);
    cr_expect(tun_effort_step(&e, TICK));
    tun_effort_said(&e, 0); /* written before */
    cr_expect_eq(e.required, 0);
    tun_effort_said(&e, FIRST);
    cr_expect_eq(e.required, FIRST);
}

/* Nobody is woken for nothing, and long sleep is calm. */
Test(tun_effort, it_sleeps_while_nothing_is_asked) {
    struct tun_effort e;
    tun_effort_init(&e, 0, TICK);
    cr_expect_eq(tun_effort_due(&e), CV_USEC_NEVER);
    for (unsigned k = 0; k < TUN_EFFORT_LOST; k++)
        tun_effort_lost(&e);
    cr_expect_eq(tun_effort_due(&e), TICK);
    cr_expect(tun_effort_step(&e, TICK));
    cr_expect_eq(tun_effort_due(&e), 2 * TICK);
    cr_expect(tun_effort_step(&e, (TUN_EFFORT_CALM + 2) * TICK));
    cr_expect_eq(e.asked, 0);
    cr_expect_eq(tun_effort_due(&e), CV_USEC_NEVER);
}
