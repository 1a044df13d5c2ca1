/*
 * LEDBAT among others on a line of 10 Mbit/s (line.h): alone, beside a copy of
 * itself that came late, beside Cubic, and with clocks that drift apart; with and
 * without LEDBAT++. The figures of docs/performance.md come from here.
 */
#include "support/suite.h"

#include "line.h"
#include "ppsp/limits.h"

CV_SUITE(ppsp_ledbat_line, .timeout = 600);

static struct line *home(cv_usec queue) {
    return line_new(10000000, CV_MSEC(25), queue);
}

static struct line_flow *ledbat(struct line *n, cv_usec target, bool plus, cv_usec after) {
    struct line_flow *f = line_flow(n, false, after);
    ppsp_ledbat_init(&f->l, LINE_MSS, target, f->from);
    if (plus)
        ppsp_ledbat_plus(&f->l);
    return f;
}

/* On the target, not somewhere below it: what one acknowledgement is worth there is less than
 * an octet, and counts all the same. */
Test(ppsp_ledbat_line, alone_it_fills_the_line_and_keeps_to_its_target) {
    static const cv_usec targets[] = {CV_MSEC(60), CV_MSEC(90), CV_MSEC(100)};
    for (unsigned i = 0; i < 6; i++) {
        struct line *n = line_new(10000000, i < 3 ? CV_MSEC(25) : CV_MSEC(50), CV_MSEC(500));
        double target = (double)targets[i % 3] / 1000;
        ledbat(n, targets[i % 3], false, 0);
        line_run(n, CV_SEC(60));
        line_measure(n);
        line_run(n, CV_SEC(30));
        cr_expect_geq(line_share(n, 0), 0.99);
        cr_expect(line_queued_ms(n) >= target * 0.95 && line_queued_ms(n) <= target * 1.05,
                  "target %.0f, queued %.1f ms", target, line_queued_ms(n));
        cr_expect_leq((double)n->worst, target * 1100);
        free(n);
    }
}

/* Half a minute after somebody else came: what the first and this one have. */
static struct line *beside(cv_usec way, cv_usec queue, bool cubic, cv_usec late) {
    struct line *n = line_new(10000000, way, queue);
    ledbat(n, PPSP_LEDBAT_TARGET, false, 0);
    if (cubic)
        line_flow(n, true, late);
    else
        ledbat(n, PPSP_LEDBAT_TARGET, false, late);
    line_run(n, late + CV_SEC(30));
    line_measure(n);
    line_run(n, CV_SEC(20));
    return n;
}

/* What is asked of congestion control, as it is without an option, on the line on which it is
 * asked: 10 Mbit/s, 50 ms, room for 500 ms. Used to 90 %; 100 ms of queue, 20 % more or
 * less; Cubic keeps 80 %; two share alike (Jain 0.9) half a minute after the second came. */
Test(ppsp_ledbat_line, by_default_all_four_figures_hold) {
    static const cv_usec late[] = {0,          CV_SEC(2),  CV_SEC(5), CV_SEC(10),
                                   CV_SEC(20), CV_SEC(40), CV_SEC(60)};
    struct line *n = line_new(10000000, CV_MSEC(50), CV_MSEC(500));
    ledbat(n, PPSP_LEDBAT_TARGET, false, 0);
    line_run(n, CV_SEC(10));
    line_measure(n);
    line_run(n, CV_SEC(50));
    cr_expect_geq(line_share(n, 0), 0.9);
    cr_expect(line_queued_ms(n) >= 80 && line_queued_ms(n) <= 120, "%.1f ms", line_queued_ms(n));
    cr_expect_leq(n->worst, CV_MSEC(120));
    free(n);
    for (unsigned i = 0; i < sizeof late / sizeof *late; i++) {
        n = beside(CV_MSEC(50), CV_MSEC(500), false, late[i]);
        cr_expect_geq(line_jain(n, 2), 0.9, "row %u: Jain %.3f", i, line_jain(n, 2));
        cr_expect_geq(line_share(n, 0) + line_share(n, 1), 0.9, "row %u", i);
        free(n);
        n = beside(CV_MSEC(50), CV_MSEC(500), true, late[i]);
        cr_expect_geq(line_share(n, 1), 0.8, "row %u: Cubic %.3f", i, line_share(n, 1));
        free(n);
    }
}

/* And where they do not, which LEDBAT++ is for. A latecomer takes the queue of the first for
 * the line: on a short way he is ahead by then, a minute later everywhere. Who comes
 * before the first has found his pace, or on a very long way, is behind. A queue that is hardly
 * longer than the target shows nobody, and then what RFC 6817 has is Reno. */
Test(ppsp_ledbat_line, by_default_these_do_not_hold) {
    static const struct {
        cv_usec way, queue, late;
        bool cubic;
        double least, most; /* Jain, or Cubic's share */
    } rows[] = {
        {CV_MSEC(10), CV_MSEC(500), CV_SEC(10), false, 0.5, 0.7},
        {CV_MSEC(25), CV_MSEC(500), CV_SEC(10), false, 0.8, 0.9},
        {CV_MSEC(50), CV_MSEC(500), CV_SEC(1), false, 0.8, 0.9},
        {CV_MSEC(75), CV_MSEC(500), CV_SEC(1), false, 0.5, 0.8},
        {CV_MSEC(100), CV_MSEC(500), CV_SEC(10), false, 0.7, 0.9},
        {CV_MSEC(25), CV_MSEC(50), CV_SEC(10), true, 0.2, 0.8},
        {CV_MSEC(25), CV_MSEC(100), CV_SEC(10), true, 0.2, 0.5},
        {CV_MSEC(50), CV_MSEC(100), CV_SEC(10), true, 0.2, 0.6},
        {CV_MSEC(75), CV_MSEC(150), CV_SEC(10), true, 0.5, 0.8},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct line *n = beside(rows[i].way, rows[i].queue, rows[i].cubic, rows[i].late);
        double seen = rows[i].cubic ? line_share(n, 1) : line_jain(n, 2);
        cr_expect(seen >= rows[i].least && seen < rows[i].most, "row %u: %.3f", i, seen);
        free(n);
    }
}

/* ±20 % of 100 ms is the most that it adds; it adds much less. */
Test(ppsp_ledbat_line, with_plus_alone_it_uses_nine_tenths_and_nearly_empties_the_queue) {
    static const cv_usec targets[] = {CV_MSEC(60), CV_MSEC(90)};
    for (unsigned i = 0; i < 4; i++) {
        struct line *n = line_new(10000000, i < 2 ? CV_MSEC(25) : CV_MSEC(50), CV_MSEC(500));
        ledbat(n, targets[i % 2], true, 0);
        line_run(n, CV_SEC(10));
        line_measure(n);
        line_run(n, CV_SEC(30));
        cr_expect_geq(line_share(n, 0), 0.9, "row %u: %.3f", i, line_share(n, 0));
        cr_expect_leq(line_queued_ms(n), 30, "row %u: %.1f ms", i, line_queued_ms(n));
        cr_expect_leq(n->worst, CV_MSEC(120), "row %u", i);
        free(n);
    }
}

/* Rates do not suffer: where there is no queue to speak of, the remedies cost nothing. */
Test(ppsp_ledbat_line, with_plus_short_and_shallow_lines_are_as_fast) {
    static const struct {
        uint64_t bits;
        cv_usec one_way, queue, stall_every, stall_for;
    } rows[] = {
        {100000000, CV_MSEC(5), CV_MSEC(200), 0, 0}, /* fibre */
        {100000000, CV_MSEC(5), CV_MSEC(5), 0, 0},   /* the same, shallow */
        {300000000, 200, CV_MSEC(6), 0, 0},          /* a house */
        {300000000, 200, CV_MSEC(6), CV_MSEC(5), CV_MSEC(3)},
        {1000000000, 200, CV_MSEC(2), 0, 0}, /* a room */
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        double share[2];
        for (unsigned plus = 0; plus < 2; plus++) {
            struct line *n = line_new(rows[i].bits, rows[i].one_way, rows[i].queue);
            struct line_flow *f = ledbat(n, CV_MSEC(90), plus, 0);
            f->stall_every = rows[i].stall_every;
            f->stall_for = rows[i].stall_for;
            line_measure(n);
            line_run(n, CV_SEC(8));
            share[plus] = line_share(n, 0);
            free(n);
        }
        cr_expect_geq(share[1], 0.93 * share[0], "row %u: %.3f instead of %.3f", i, share[1],
                      share[0]);
        cr_expect_geq(share[1], 0.9, "row %u: %.3f", i, share[1]);
    }
}

/* Whoever comes late takes the first one's queue for the line: without the
 * remedies he gets nearly all, and that is known. */
Test(ppsp_ledbat_line, two_share_alike_half_a_minute_after_the_second_came) {
    static const struct {
        bool plus;
        cv_usec target, late;
        double least, most;
    } rows[] = {
        {true, CV_MSEC(60), 0, 0.9, 1},           {true, CV_MSEC(60), CV_SEC(5), 0.9, 1},
        {true, CV_MSEC(60), CV_SEC(10), 0.9, 1},  {true, CV_MSEC(90), CV_SEC(5), 0.9, 1},
        {true, CV_MSEC(90), CV_SEC(10), 0.9, 1},  {true, CV_MSEC(90), CV_SEC(20), 0.9, 1},
        {true, CV_MSEC(60), CV_SEC(20), 0.9, 1},  {false, CV_MSEC(90), 0, 0.9, 1},
        {false, CV_MSEC(60), CV_SEC(10), 0, 0.7},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct line *n = home(CV_MSEC(500));
        ledbat(n, rows[i].target, rows[i].plus, 0);
        ledbat(n, rows[i].target, rows[i].plus, rows[i].late);
        line_run(n, rows[i].late + CV_SEC(30));
        line_measure(n);
        line_run(n, CV_SEC(20));
        double jain = line_jain(n, 2);
        cr_expect(jain >= rows[i].least && jain <= rows[i].most, "row %u: %.2f and %.2f, Jain %.3f",
                  i, line_share(n, 0), line_share(n, 1), jain);
        cr_expect_geq(line_share(n, 0) + line_share(n, 1), 0.9, "row %u", i);
        if (rows[i].plus)
            cr_expect_leq(n->worst, CV_MSEC(120), "row %u", i);
        free(n);
    }
}

/* A queue that is hardly longer than its target looks to LEDBAT as if there were nobody,
 * and then it takes what Reno would: that is known, and what LEDBAT++ is for. */
Test(ppsp_ledbat_line, cubic_keeps_four_fifths) {
    static const struct {
        cv_usec queue;
        bool plus;
        double least, most;
    } rows[] = {
        {CV_MSEC(50), true, 0.8, 1},   {CV_MSEC(100), true, 0.8, 1},  {CV_MSEC(250), true, 0.8, 1},
        {CV_MSEC(500), true, 0.8, 1},  {CV_MSEC(250), false, 0.8, 1}, {CV_MSEC(500), false, 0.8, 1},
        {CV_MSEC(100), false, 0, 0.5},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct line *n = home(rows[i].queue);
        ledbat(n, CV_MSEC(90), rows[i].plus, 0);
        line_flow(n, true, CV_SEC(10));
        line_run(n, CV_SEC(15));
        line_measure(n);
        line_run(n, CV_SEC(30));
        double cubic = line_share(n, 1);
        cr_expect(cubic >= rows[i].least && cubic <= rows[i].most,
                  "row %u: Cubic %.2f, LEDBAT %.2f", i, cubic, line_share(n, 0));
        free(n);
    }
}

/* What Cubic leaves, when it leaves, is taken again. */
Test(ppsp_ledbat_line, after_cubic_it_comes_back) {
    for (unsigned plus = 0; plus < 2; plus++) {
        struct line *n = home(CV_MSEC(250));
        ledbat(n, CV_MSEC(90), plus, 0);
        struct line_flow *c = line_flow(n, true, CV_SEC(5));
        line_run(n, CV_SEC(20));
        c->from = CV_USEC_NEVER;
        line_run(n, CV_SEC(50));
        line_measure(n);
        line_run(n, CV_SEC(10));
        cr_expect_geq(line_share(n, 0), 0.8, "plus %u: %.2f", plus, line_share(n, 0));
        free(n);
    }
}

/* Hidden peers show each other clocks that run at speeds of their own, up to 100 ppm
 * apart; twenty times that is twelve minutes in one. Growing delay without a growing
 * round trip is no queue. Falling delay hides a queue that grows as slowly, until
 * something drains it: LEDBAT++ does. */
Test(ppsp_ledbat_line, clocks_that_drift_apart_are_no_queue) {
    static const struct {
        int64_t ppm;
        bool plus;
    } rows[] = {{2000, false}, {2000, true}, {-200, false}, {-2000, true}};
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct line *n = home(CV_MSEC(500));
        ledbat(n, CV_MSEC(60), rows[i].plus, 0)->skew_ppm = rows[i].ppm;
        line_run(n, CV_SEC(60));
        line_measure(n);
        line_run(n, CV_SEC(12));
        cr_expect_geq(line_share(n, 0), 0.9, "row %u: %.2f", i, line_share(n, 0));
        cr_expect_leq(line_queued_ms(n), 90, "row %u: %.1f ms", i, line_queued_ms(n));
        free(n);
    }
}

/* On a short way acknowledgements that wait are most of the round trip, and no queue:
 * coming back from a slowdown must not count them. */
Test(ppsp_ledbat_line, with_plus_late_acknowledgements_are_no_queue) {
    struct line *n = line_new(100000000, 200, CV_MSEC(500));
    struct line_flow *f = ledbat(n, CV_MSEC(90), true, 0);
    f->stall_every = CV_MSEC(5);
    f->stall_for = CV_MSEC(4);
    line_run(n, CV_SEC(10));
    line_measure(n);
    line_run(n, CV_SEC(20));
    cr_expect_geq(line_share(n, 0), 0.8, "%.2f", line_share(n, 0));
    free(n);
}

/* A process that waits for a processor reads in a heap, and by one clock, what
 * arrived meanwhile. */
Test(ppsp_ledbat_line, a_busy_receiver_is_no_queue) {
    static const cv_usec away[] = {CV_MSEC(50), CV_MSEC(70)};
    for (unsigned i = 0; i < 2; i++) {
        struct line *n = line_new(100000000, CV_MSEC(1), CV_MSEC(500));
        struct line_flow *f = ledbat(n, CV_MSEC(60), false, 0);
        f->stall_every = CV_MSEC(100);
        f->stall_for = away[i];
        line_run(n, CV_SEC(5));
        line_measure(n);
        line_run(n, CV_SEC(10));
        cr_expect_geq(line_share(n, 0), 0.9, "away %lu us: %.2f", away[i], line_share(n, 0));
        free(n);
    }
}
