/*
 * What the line carries, measured: LEDBAT on lines of known rates (line.h), lines that become
 * faster and slower, and a model that remembers everything.
 */
#include "support/suite.h"

#include "crypto/rng_seeded.h"
#include "line.h"
#include "ppsp/limits.h"
#include "ppsp/upstream.h"

CV_SUITE(ppsp_upstream, .timeout = 600);

#define HOUR CV_SEC(3600)

enum { CHUNK = 1024, WALL = 1790000000 };

static struct cv_now at(cv_usec mono) {
    return (struct cv_now){.mono = mono, .wall = WALL + (int64_t)(mono / CV_SEC(1))};
}

/* The nth peer's, at an address of its own. */
static struct ppsp_way way(unsigned n) {
    struct cv_addr a = {.ip = {192, 0, 2, (uint8_t)(n + 1)}, .port = 7777, .family = 4};
    struct cv_endpoint ep = cv_endpoint_udp(&a);
    return ppsp_upstream_way(&ep, NULL);
}

/* ---- on a line ---- */

/* Flows of one seeder, and what it knows of its line. */
struct seeder {
    struct line *line;
    struct ppsp_upstream u;
    struct ppsp_way way[LINE_FLOWS];
    uint64_t told[LINE_FLOWS];
    bool grants; /* flow 0 has a limit of its own: */
    struct cv_tokenbucket grant;
};

static bool may_send(void *ctx, unsigned flow) {
    struct seeder *s = ctx;
    cv_usec now = s->line->now;
    if (s->grants && flow == 0)
        return cv_tokenbucket_take(&s->grant, now, CHUNK);
    struct cv_tokenbucket *b = ppsp_upstream_bucket(&s->u, now, CHUNK);
    if (!b || cv_tokenbucket_take(b, now, CHUNK))
        return true;
    ppsp_upstream_held(&s->u, &s->way[flow]);
    return false;
}

static struct seeder *seeder(uint64_t bits, cv_usec target, unsigned flows, cv_usec late) {
    struct seeder *s = calloc(1, sizeof *s);
    assert(s);
    s->line = line_new(bits, CV_MSEC(25), CV_MSEC(400));
    for (unsigned i = 0; i < flows; i++) {
        struct line_flow *f = line_flow(s->line, false, i * late);
        ppsp_ledbat_init(&f->l, LINE_MSS, target, f->from);
        s->way[i] = way(i);
    }
    ppsp_upstream_init(&s->u, at(s->line->now));
    s->line->may_send = may_send;
    s->line->ctx = s;
    return s;
}

static void done(struct seeder *s) {
    free(s->line);
    free(s);
}

static void run(struct seeder *s, cv_usec time) {
    struct line *n = s->line;
    for (cv_usec end = n->now + time; n->now < end;) {
        line_step(n);
        for (unsigned i = 0; i < n->flows; i++) {
            uint64_t new = n->flow[i].delivered - s->told[i];
            s->told[i] += new;
            if (new)
                ppsp_upstream_passed(&s->u, n->now, &s->way[i], new *CHUNK,
                                     ppsp_ledbat_full(&n->flow[i].l, n->now), s->grants && i == 0);
        }
    }
}

/* Of what the line carries of content. */
static double percent(const struct seeder *s, uint64_t rate) {
    return (double)rate * 100 * LINE_MSS / CHUNK / (double)s->line->rate;
}

static double used(struct seeder *s, cv_usec time) {
    uint64_t before = 0, after = 0;
    for (unsigned i = 0; i < s->line->flows; i++)
        before += s->line->flow[i].delivered;
    cv_usec from = s->line->now;
    run(s, time);
    for (unsigned i = 0; i < s->line->flows; i++)
        after += s->line->flow[i].delivered;
    return percent(s, (after - before) * CHUNK * 1000000 / (s->line->now - from));
}

/* Until the limit was lifted and holds again, and the queue is gone: it does so for a while. */
static void held(struct seeder *s) {
    for (unsigned i = 0; i < 7000 && !s->u.lifted; i++)
        run(s, CV_MSEC(100));
    for (unsigned i = 0; i < 700 && s->u.lifted; i++)
        run(s, CV_MSEC(100));
    cr_assert_not(s->u.lifted);
    run(s, CV_SEC(2));
}

Test(ppsp_upstream, a_full_line_is_measured_and_a_fifth_of_it_stays_free) {
    static const struct {
        uint64_t mbit;
        cv_usec target, late;
        unsigned flows;
    } rows[] = {
        {1, PPSP_LEDBAT_TARGET, 0, 2},
        {10, PPSP_LEDBAT_TARGET, 0, 2},
        {10, PPSP_LEDBAT_TARGET_HIDDEN, CV_SEC(3), 2},
        {10, PPSP_LEDBAT_TARGET, CV_SEC(2), 4},
        {100, PPSP_LEDBAT_TARGET_HIDDEN, 0, 2},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct seeder *s =
            seeder(rows[i].mbit * 1000000, rows[i].target, rows[i].flows, rows[i].late);
        run(s, CV_SEC(30));
        double seen = percent(s, s->u.measured), limit = percent(s, ppsp_upstream_limit(&s->u));
        cr_expect(seen >= 93 && seen <= 102, "row %u: measured %.1f %%", i, seen);
        cr_expect(limit >= 0.79 * seen && limit <= 0.81 * seen, "row %u", i);
        held(s);
        double all = used(s, CV_SEC(15));
        cr_expect(all >= 0.96 * limit && all <= 1.02 * limit, "row %u: %.1f of %.1f %%", i, all,
                  limit);
        done(s);
    }
}

/* Below the limit no queue forms, so nothing would ever show that there is more. */
Test(ppsp_upstream, a_line_that_became_faster_is_found_out) {
    struct seeder *s = seeder(10000000, PPSP_LEDBAT_TARGET, 2, 0);
    run(s, CV_SEC(60));
    cr_assert(percent(s, s->u.measured) >= 93, "%.1f", percent(s, s->u.measured));
    s->line->rate *= 3;
    run(s, CV_SEC(180));
    cr_expect(percent(s, s->u.measured) >= 93 && percent(s, s->u.measured) <= 102, "%.1f %%",
              percent(s, s->u.measured));
    done(s);
}

/* Then LEDBAT keeps to the line by itself, and the hours tell (below). */
Test(ppsp_upstream, a_line_that_became_slower_is_used_to_the_full_until_the_old_hours_are_gone) {
    struct seeder *s = seeder(10000000, PPSP_LEDBAT_TARGET, 2, 0);
    run(s, CV_SEC(30));
    s->line->rate /= 2;
    run(s, CV_SEC(20));
    double all = used(s, CV_SEC(10));
    cr_expect_geq(all, 95, "%.1f", all);
    for (unsigned i = 0; i < PPSP_UPSTREAM_HOURS; i++) {
        s->u.hour_began += 3600; /* later, as if nothing had happened in between */
        run(s, CV_SEC(10));
    }
    double seen = percent(s, s->u.measured);
    cr_expect(seen >= 93 && seen <= 102, "%.1f %%", seen);
    held(s);
    all = used(s, CV_SEC(10));
    cr_expect(all >= 76 && all <= 82, "%.1f %%", all);
    done(s);
}

/* One peer alone may have a slow way of his own; and a line that gives what is asked of it
 * is not full. */
Test(ppsp_upstream, without_two_full_ways_nothing_is_measured) {
    struct seeder *s = seeder(10000000, PPSP_LEDBAT_TARGET, 1, 0);
    run(s, CV_SEC(30));
    cr_expect_eq(s->u.measured, 0);
    cr_expect_eq(ppsp_upstream_limit(&s->u), 0);
    cr_expect_geq(used(s, CV_SEC(5)), 95);
    done(s);
}

/* What has a limit of its own keeps to that, and counts: all together leave the fifth free. Where
 * it takes more than there is, the others keep the least that a limit may be. */
Test(ppsp_upstream, limits_given_by_hand_hold_beside_it) {
    static const struct {
        uint64_t grant;                         /* octets a second, of 1250000 */
        double most, others_least, others_most; /* percent of the line */
    } rows[] = {
        {300000, 82, 54, 58},
        {900000, 82, 6, 10},
        {2000000, 100.5, 4, 12},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct seeder *s = seeder(10000000, PPSP_LEDBAT_TARGET, 3, 0);
        run(s, CV_SEC(20)); /* measured without */
        s->grants = true;
        cv_tokenbucket_init(&s->grant, rows[i].grant, 20000, s->line->now);
        held(s);
        uint64_t before = s->line->flow[0].delivered;
        double all = used(s, CV_SEC(15));
        double own = percent(s, (s->line->flow[0].delivered - before) * CHUNK / 15);
        cr_expect(all <= rows[i].most, "row %u: %.1f %% in all", i, all);
        cr_expect(all - own >= rows[i].others_least && all - own <= rows[i].others_most,
                  "row %u: %.1f %% of others", i, all - own);
        cr_expect_leq(own, percent(s, rows[i].grant) + 0.5, "row %u: %.1f", i, own);
        if (rows[i].grant < 1000000)
            cr_expect_geq(own, percent(s, rows[i].grant) - 1, "row %u: %.1f", i, own);
        done(s);
    }
}

/* ---- hours of a line as simple as can be: full at its rate, or held at the limit --------- */

struct pair {
    struct ppsp_upstream u;
    struct ppsp_way way[2];
    cv_usec now;
    unsigned lifts;
};

static struct pair pair(void) {
    struct pair p = {.now = CV_SEC(7), .way = {way(0), way(1)}};
    ppsp_upstream_init(&p.u, at(p.now));
    return p;
}

/* Two ways take all they get for a time; `demand` is what they would take at most. */
static void take(struct pair *p, uint64_t line, uint64_t demand, cv_usec time) {
    static const cv_usec step = CV_MSEC(50);
    for (cv_usec end = p->now + time; p->now < end;) {
        bool was = p->u.lifted;
        uint64_t want = (demand < line ? demand : line) / 20 / 2 * 2;
        struct cv_tokenbucket *b = ppsp_upstream_bucket(&p->u, p->now, CHUNK);
        bool full = demand >= line;
        if (b && !cv_tokenbucket_take(b, p->now, want)) {
            want = b->level / 2 * 2;
            full = false;
            (void)cv_tokenbucket_take(b, p->now, want);
            ppsp_upstream_held(&p->u, &p->way[0]);
        }
        for (unsigned i = 0; i < 2 && want; i++)
            ppsp_upstream_passed(&p->u, p->now, &p->way[i], want / 2, full, false);
        p->lifts += !was && p->u.lifted;
        p->now += step;
    }
}

static void until(struct pair *p, bool lifted, uint64_t line, uint64_t demand) {
    for (unsigned i = 0; i < 700 && p->u.lifted != lifted; i++)
        take(p, line, demand, CV_SEC(1));
    cr_assert_eq(p->u.lifted, lifted);
}

static bool near(uint64_t a, uint64_t b) {
    return a * 100 >= b * 97 && a * 97 <= b * 100;
}

Test(ppsp_upstream, it_is_lifted_ever_more_rarely_and_soon_for_somebody_new) {
    struct pair p = pair();
    take(&p, 1000000, 2000000, HOUR);
    cr_expect(near(p.u.measured, 1000000), "%lu", p.u.measured);
    cr_expect(p.lifts >= 8 && p.lifts <= 12, "%u in an hour", p.lifts);
    take(&p, 1000000, 2000000, CV_SEC(30)); /* nothing new: it stays */
    unsigned before = p.lifts;
    until(&p, true, 1000000, 2000000);
    until(&p, false, 1000000, 2000000);
    cr_expect_eq(p.lifts, before + 1);
    p.way[0] = way(2);
    take(&p, 1000000, 2000000, CV_SEC(118));
    cr_expect_eq(p.lifts, before + 1);
    take(&p, 1000000, 2000000, CV_SEC(5));
    cr_expect_eq(p.lifts, before + 2);
    until(&p, false, 1000000, 2000000);
    take(&p, 1000000, 2000000, CV_SEC(200)); /* the last time is long ago */
    cr_expect_eq(p.lifts, before + 2);
    p.way[0] = way(3);
    take(&p, 1000000, 2000000, CV_SEC(2));
    cr_expect_eq(p.lifts, before + 3);
}

/* One who comes again and again has nothing lifted more often than for him alone. */
Test(ppsp_upstream, a_stranger_who_reconnects_does_not_lift_it_each_time) {
    struct pair p = pair();
    take(&p, 1000000, 2000000, HOUR);
    unsigned before = p.lifts;
    for (unsigned i = 0; i < 120; i++) {
        p.way[0] = way(2);
        take(&p, 1000000, 2000000, CV_SEC(30));
    }
    cr_expect(p.lifts >= before + 25 && p.lifts <= before + 31, "%u in an hour", p.lifts - before);
}

/* Somebody else's traffic may fill the line below the limit: that is no reason to end the look
 * at what is above. */
Test(ppsp_upstream, what_was_full_before_it_was_lifted_does_not_end_that) {
    struct pair p = pair();
    take(&p, 1000000, 2000000, CV_SEC(10));
    cr_assert(near(p.u.measured, 1000000), "%lu", p.u.measured);
    for (unsigned i = 0; i < 20 * 90 && !p.u.lifted; i++) {
        for (unsigned k = 0; k < 2; k++)
            ppsp_upstream_passed(&p.u, p.now, &p.way[k], 15000, true, false);
        ppsp_upstream_held(&p.u, &p.way[0]);
        p.now += CV_MSEC(50);
    }
    cr_assert(p.u.lifted);
    for (unsigned i = 0; i < 20 * 4 - 2; i++) {
        for (unsigned k = 0; k < 2; k++)
            ppsp_upstream_passed(&p.u, p.now, &p.way[k], 20000, true, false);
        cr_assert(p.u.lifted, "after %u ms", i * 50);
        p.now += CV_MSEC(50);
    }
    p.now += CV_MSEC(200);
    ppsp_upstream_passed(&p.u, p.now, &p.way[0], 1, true, false);
    cr_expect_not(p.u.lifted);
}

/* What nobody held back needs no look. */
Test(ppsp_upstream, it_is_not_lifted_while_it_holds_nothing_back) {
    struct pair p = pair();
    take(&p, 1000000, 2000000, CV_SEC(10));
    cr_assert_neq(p.u.measured, 0);
    take(&p, 1000000, 600000, HOUR);
    cr_expect_eq(p.lifts, 0);
    cr_expect(near(p.u.measured, 1000000));
}

/* It ends while the line says nothing: what was asked for is all there, or, at the latest,
 * after a minute of growing slowly. */
Test(ppsp_upstream, a_lifted_limit_comes_back) {
    struct pair p = pair();
    take(&p, 1000000, 2000000, CV_SEC(10));
    until(&p, true, 1000000, 2000000);
    cv_usec from = p.now;
    while (p.u.lifted && p.now - from < CV_SEC(90))
        take(&p, 5000000, 1000000, CV_SEC(1)); /* never full now */
    cr_expect(p.now - from >= CV_SEC(10) && p.now - from <= CV_SEC(13), "%lu", p.now - from);
    cr_expect(near(p.u.measured, 1000000), "%lu", p.u.measured);
    p = pair();
    take(&p, 1000000, 2000000, CV_SEC(10));
    while (!p.u.lifted && p.now < CV_SEC(90)) /* to the moment */
        take(&p, 1000000, 2000000, CV_MSEC(50));
    from = p.now;
    take(&p, 5000000, 500000, CV_SEC(1));
    uint64_t rate = 600000;
    for (; p.u.lifted && p.now - from < CV_SEC(90); rate += rate / 13)
        take(&p, 5000000, rate, CV_SEC(8));
    cr_expect_lt(rate, 1130000, "%lu", rate);
    cr_expect(p.now - from >= CV_SEC(58) && p.now - from <= CV_SEC(68), "%lu", p.now - from);
}

/* Two peers with slow lines were taken for ours, and somebody faster comes: how fast ours is
 * is not known then, as nothing shows it. Else a part of what passes would be the limit of the
 * rest, and of the part that limits given by hand let through nothing would be left of it. */
Test(ppsp_upstream, what_passes_beyond_the_measure_refutes_it) {
    struct pair p = pair();
    take(&p, 1000000, 2000000, CV_SEC(10));
    cr_assert(near(p.u.measured, 1000000));
    take(&p, 5000000, 2000000, CV_SEC(60));
    cr_expect_eq(p.lifts, 1);
    cr_expect(!p.u.lifted);
    cr_expect_eq(p.u.measured, 0, "%lu", p.u.measured);
    cr_expect_null(ppsp_upstream_bucket(&p.u, p.now, CHUNK));
    uint8_t saved[PPSP_UPSTREAM_SAVED]; /* not the old one, at the next start */
    struct pair q = pair();
    size_t len = ppsp_upstream_save(&p.u, saved);
    cr_assert(ppsp_upstream_restore(&q.u, saved, len));
    cr_expect_eq(q.u.measured, 0);
    cr_expect_eq(ppsp_upstream_save(&q.u, saved), len);
    take(&p, 5000000, 6000000, CV_SEC(10));
    cr_expect(near(p.u.measured, 5000000), "%lu", p.u.measured);

    p = pair(); /* another swarm has 4000000 by hand, others 1000000, of who knows how much */
    take(&p, 1000000, 2000000, CV_SEC(10));
    struct ppsp_way by_hand = way(7);
    for (unsigned i = 0; i < 40 * 20; i++) {
        ppsp_upstream_passed(&p.u, p.now, &by_hand, 200000, false, true);
        take(&p, 20000000, 1000000, CV_MSEC(50));
    }
    cr_expect_eq(p.u.granted_rate / 100000, 40);
    cr_expect_null(ppsp_upstream_bucket(&p.u, p.now, CHUNK));
}

/* Whose a way is, is known by its address at best. */
Test(ppsp_upstream, full_ways_of_one_peer_are_not_our_line) {
    enum { V4, V6, CIRCUIT };
    struct from {
        unsigned kind, net, host, swarm, ways;
    };
    static const struct {
        struct from from[3];
        bool measured;
    } rows[] = {
        {{{V4, 1, 1, 0, 1}}, false},
        {{{V4, 1, 1, 0, 3}}, false}, /* of several swarms, or ports */
        {{{V4, 1, 1, 0, 1}, {V4, 1, 2, 0, 1}}, true},
        {{{V6, 1, 1, 0, 1}, {V6, 1, 2, 0, 1}}, false},
        {{{V6, 1, 1, 0, 1}, {V6, 2, 1, 0, 1}}, true},
        {{{V4, 1, 1, 0, 1}, {V6, 1, 1, 0, 1}}, false},
        {{{V4, 1, 1, 0, 1}, {V6, 1, 1, 0, 1}, {V6, 2, 1, 0, 1}}, true},
        {{{CIRCUIT, 0, 0, 0, 2}}, false}, /* as every viewer of a hidden swarm has */
        {{{CIRCUIT, 0, 0, 0, 4}}, false}, /* as it may have, .. */
        {{{CIRCUIT, 0, 0, 0, 4}, {CIRCUIT, 0, 0, 1, 4}}, false}, /* .. in each swarm */
        {{{CIRCUIT, 0, 0, 0, 5}}, true},
        {{{CIRCUIT, 0, 0, 0, 2}, {V6, 1, 1, 0, 1}}, true},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pair p = pair();
        struct ppsp_crowd crowd[2] = {0};
        struct ppsp_way ways[8];
        unsigned n = 0;
        for (unsigned k = 0; k < 3; k++)
            for (unsigned m = 0; m < rows[i].from[k].ways; m++) {
                const struct from *f = &rows[i].from[k];
                struct cv_addr a = {.family = f->kind == V6 ? 6 : 4, .port = (uint16_t)(1000 + m)};
                a.ip[0] = 32;
                a.ip[f->kind == V6 ? 7 : 1] = (uint8_t)f->net;
                a.ip[f->kind == V6 ? 15 : 3] = (uint8_t)f->host;
                struct cv_endpoint ep = cv_endpoint_udp(&a);
                if (f->kind == CIRCUIT)
                    ep = cv_endpoint_circuit(1 + n, 7);
                ways[n++] = ppsp_upstream_way(&ep, &crowd[f->swarm]);
            }
        for (unsigned t = 0; t < 100; t++, p.now += CV_MSEC(100))
            for (unsigned k = 0; k < n; k++)
                ppsp_upstream_passed(&p.u, p.now, &ways[k], 50000, true, false);
        cr_expect_eq(p.u.measured != 0, rows[i].measured, "row %u: %lu", i, p.u.measured);
    }
}

/* Who never gets anything counts as somebody new, too: once. */
Test(ppsp_upstream, it_is_lifted_soon_for_somebody_who_waits_in_vain) {
    struct pair p = pair();
    take(&p, 1000000, 2000000, HOUR);
    until(&p, true, 1000000, 2000000);
    until(&p, false, 1000000, 2000000);
    unsigned before = p.lifts;
    struct ppsp_way waits = way(3);
    for (unsigned i = 0; i < 200; i++) {
        ppsp_upstream_held(&p.u, &waits);
        take(&p, 1000000, 2000000, CV_SEC(1));
    }
    cr_expect_eq(p.lifts, before + 1);
}

Test(ppsp_upstream, no_limit_is_below_the_least) {
    struct pair p = pair();
    take(&p, 30000, 200000, CV_SEC(20));
    cr_expect(near(p.u.measured, 30000), "%lu", p.u.measured);
    cr_expect_eq(ppsp_upstream_limit(&p.u), PPSP_UPSTREAM_FLOOR);
}

/* A pause is no row of windows, and next to nothing says nothing. */
Test(ppsp_upstream, pauses_and_trickles_measure_nothing) {
    struct pair p = pair();
    for (unsigned i = 0; i < 20; i++) {
        take(&p, 1000000, 2000000, CV_SEC(3));
        p.now += CV_SEC(3);
    }
    cr_expect_eq(p.u.measured, 0);
    take(&p, 10000, 20000, CV_SEC(60));
    cr_expect_eq(p.u.measured, 0);
}

/* Whoever made a link chose its chunks; all wait for the largest, within reason and as long as
 * somebody asks for it. */
Test(ppsp_upstream, large_chunks_hold_others_up_within_bounds) {
    static const struct {
        uint32_t asked, waited_for;
    } rows[] = {{2048, 2048}, {65000, PPSP_UPSTREAM_CHUNK}};
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pair p = pair();
        take(&p, 300000, 600000, CV_SEC(10)); /* the burst is of chunks, not of the rate */
        cr_assert_not_null(ppsp_upstream_bucket(&p.u, p.now, CHUNK));
        cr_expect_eq(p.u.chunk, CHUNK);
        for (unsigned t = 0; t < 30; t++) {
            take(&p, 300000, 200000, CV_MSEC(100));
            (void)ppsp_upstream_bucket(&p.u, p.now, rows[i].asked);
            cr_expect_eq(p.u.chunk, rows[i].waited_for, "row %u: %u", i, p.u.chunk);
            cr_expect_geq(p.u.bucket.burst, 8 * rows[i].waited_for);
        }
        take(&p, 300000, 200000, CV_SEC(2) + CV_MSEC(50));
        cr_expect_eq(p.u.chunk, CHUNK, "row %u: %u", i, p.u.chunk);
        cr_expect_lt(p.u.bucket.burst, 13000, "row %u: %lu", i, p.u.bucket.burst);
        p.now += CV_SEC(5); /* nobody asked for anything in between */
        cr_assert_not_null(ppsp_upstream_bucket(&p.u, p.now, 512));
        cr_expect_leq(p.u.chunk, CHUNK);
        (void)ppsp_upstream_bucket(&p.u, p.now, rows[i].asked);
        for (unsigned t = 0; t < 30; t++) { /* and whoever has a limit by hand asks for nothing */
            ppsp_upstream_passed(&p.u, p.now, &p.way[0], 1000, false, true);
            p.now += CV_MSEC(100);
        }
        cr_expect_eq(p.u.chunk, CHUNK, "row %u: %u", i, p.u.chunk);
    }
}

/* ---- what is remembered, and for how long -------------------------------------------------- */

/* All that was ever measured; the most of the newest hours. */
struct model {
    struct {
        uint64_t hour, rate;
    } seen[4096];
    unsigned count;
};

static uint64_t model_measured(const struct model *m, uint64_t hour) {
    uint64_t most = 0, last = UINT64_MAX;
    unsigned hours = 0;
    for (unsigned i = m->count; i-- > 0;) {
        hours += m->seen[i].hour != last;
        last = m->seen[i].hour;
        if (hours > PPSP_UPSTREAM_HOURS || hour - m->seen[i].hour > PPSP_UPSTREAM_DAYS * 24)
            break;
        most = m->seen[i].rate > most ? m->seen[i].rate : most;
    }
    return most;
}

/* One measurement, from the first full window to the last, nothing before and after. */
static void measure(struct pair *p, uint64_t rate) {
    p->now += CV_SEC(3);
    p->u.past_count = 0;
    p->u.lifted_at = p->now;
    p->u.bucket.rate = UINT64_MAX; /* no limit in the way: hours are what this is about */
    for (unsigned i = 0; i < 41; i++) {
        ppsp_upstream_passed(&p->u, p->now, &p->way[i % 2], rate / 8, true, false);
        p->now += CV_MSEC(125);
    }
}

Test(ppsp_upstream, the_most_of_the_newest_hours_counts_as_a_model_that_forgets_nothing_says) {
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 35);
    struct cv_rng rng = cv_rng_seeded(&dice);
    static struct model m;
    struct pair p = pair();
    for (unsigned i = 0; i < 2000; i++) {
        uint64_t kind = cv_rng_below(&rng, 20);
        p.now += kind == 0   ? cv_rng_below(&rng, 40 * 24 * HOUR)
                 : kind < 10 ? cv_rng_below(&rng, HOUR)
                             : 0;
        uint64_t rate = 100000 + 8 * cv_rng_below(&rng, 1000000);
        /* not over the turn of an hour, which it would belong to in part */
        if ((WALL + (p.now + CV_SEC(4)) / CV_SEC(1)) / 3600 !=
            (WALL + (p.now + CV_SEC(9)) / CV_SEC(1)) / 3600)
            p.now += CV_SEC(10);
        measure(&p, rate);
        uint64_t hour = (WALL + p.now / CV_SEC(1)) / 3600;
        m.seen[m.count].hour = hour;
        m.seen[m.count++].rate = rate / 8 * 8;
        uint64_t right = model_measured(&m, hour);
        cr_assert(near(p.u.measured, right), "%u: %lu, the model says %lu", i, p.u.measured, right);
    }
}

Test(ppsp_upstream, after_a_month_that_showed_nothing_there_is_no_limit) {
    struct pair p = pair();
    take(&p, 1000000, 2000000, CV_SEC(10));
    p.now += 29 * 24 * HOUR;
    take(&p, 1000000, 600000, CV_SEC(10));
    cr_expect(near(p.u.measured, 1000000));
    p.now += 2 * 24 * HOUR;
    take(&p, 1000000, 600000, CV_SEC(10));
    cr_expect_eq(p.u.measured, 0);
    cr_expect_null(ppsp_upstream_bucket(&p.u, p.now, CHUNK));
}

Test(ppsp_upstream, it_comes_back_after_a_start_and_nothing_damaged_does) {
    uint8_t saved[PPSP_UPSTREAM_SAVED], other[PPSP_UPSTREAM_SAVED];
    struct pair p = pair(), q = pair();
    cr_expect_eq(ppsp_upstream_save(&p.u, saved), 0);
    for (unsigned i = 0; i < PPSP_UPSTREAM_HOURS; i++) {
        measure(&p, 1000000 + i * 100000);
        p.now += HOUR;
    }
    size_t len = ppsp_upstream_save(&p.u, saved);
    cr_assert_eq(len, sizeof saved);
    ppsp_upstream_init(&q.u, at(p.now));
    cr_assert(ppsp_upstream_restore(&q.u, saved, len));
    cr_expect_eq(q.u.measured, p.u.measured);
    cr_expect_eq(ppsp_upstream_limit(&q.u), ppsp_upstream_limit(&p.u));
    cr_expect_not_null(ppsp_upstream_bucket(&q.u, p.now, CHUNK)); /* it holds from the start */
    cr_assert_eq(ppsp_upstream_save(&q.u, other), len);
    cr_expect_arr_eq(other, saved, len);
    for (size_t i = 0; i < len; i++) {
        ppsp_upstream_init(&q.u, at(p.now));
        cr_expect_not(ppsp_upstream_restore(&q.u, saved, i), "%zu octets", i);
        cr_expect_eq(q.u.measured, 0);
    }
    static const struct {
        size_t at;
        uint8_t octet;
    } bad[] = {{0, 2}, {1, 0}, {1, 9}, {1, 255}, {2 + 12 + 2, 255}, {2 + 4 + 7, 255}};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        memcpy(other, saved, len);
        other[bad[i].at] = bad[i].octet;
        ppsp_upstream_init(&q.u, at(p.now));
        cr_expect_not(ppsp_upstream_restore(&q.u, other, len), "row %u", i);
        cr_expect_eq(q.u.measured, 0, "row %u", i);
        cr_expect_null(ppsp_upstream_bucket(&q.u, p.now, CHUNK));
    }
    memcpy(other, saved, len);
    memset(other + 2 + 4, 0, 8); /* a line that carries nothing */
    cr_expect_not(ppsp_upstream_restore(&q.u, other, len));
    uint8_t many[2 + (PPSP_UPSTREAM_HOURS + 1) * 12] = {1, PPSP_UPSTREAM_HOURS + 1};
    memcpy(many + 2, saved + 2, len - 2);
    many[sizeof many - 8] = 1; /* and one of hour 0 */
    cr_expect_not(ppsp_upstream_restore(&q.u, many, sizeof many));
    cr_expect_eq(q.u.measured, 0);
    /* Forty days later, and with a clock that is a year slow: nothing that counts. */
    ppsp_upstream_init(&q.u, at(p.now + 40 * 24 * HOUR));
    cr_expect(ppsp_upstream_restore(&q.u, saved, len));
    cr_expect_eq(q.u.measured, 0);
    struct cv_now slow = at(p.now);
    slow.wall -= 365 * 86400;
    ppsp_upstream_init(&q.u, slow);
    cr_expect(ppsp_upstream_restore(&q.u, saved, len));
    cr_expect_eq(q.u.measured, 0);
}
