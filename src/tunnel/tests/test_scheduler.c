/*
 * The scheduler alone: shares at saturation, nothing wasted when somebody is
 * silent, fairness inside a class, CoDel's drops, caps of memory.
 */
#include "support/suite.h"
#include "tunnel/scheduler.h"

CV_SUITE(tun_scheduler);

struct bench {
    struct tun_sched s;
    struct tun_sched_group group[8];
    struct tun_flow flow[8];
    uint64_t sent[8];
    uint32_t waiting_max;
};

static void add(struct bench *b, unsigned i, unsigned class, unsigned weight) {
    tun_sched_group_init(&b->group[i], class, weight);
    tun_flow_init(&b->flow[i], &b->group[i], (void *)(uintptr_t)(i + 1), 512);
    b->flow[i].patient = true;
}

static void fill(struct bench *b, unsigned i, unsigned cells, cv_usec now) {
    while (b->flow[i].count < cells) {
        struct tun_cell *c = tun_sched_take(&b->s);
        cr_assert_not_null(c);
        tun_sched_put(&b->s, &b->flow[i], c, now);
    }
}

static bool send_one(struct bench *b, cv_usec now) {
    struct tun_flow *f;
    struct tun_cell *c = tun_sched_next(&b->s, now, &f);
    if (!c)
        return false;
    b->sent[(uintptr_t)f->owner - 1]++;
    tun_sched_release(&b->s, c);
    return true;
}

static void finish(struct bench *b) {
    for (unsigned i = 0; i < 8; i++)
        if (b->flow[i].group)
            tun_flow_clear(&b->s, &b->flow[i]);
    cr_expect_eq(b->s.cells_queued, 0);
    cr_expect_eq(b->s.cells_used, 0);
    tun_sched_done(&b->s);
}

/* clang-format off */
static const struct {
    const char *name;
    unsigned classes;        /* bit set: this class always has cells */
    unsigned want[TUN_SCHED_CLASSES]; /* permille of what is sent */
} shares[] = {
    { "all gate classes",         0x0f, { 500, 250, 200, 50, 0, 0 } },
    { "contributor, free rider",  0x0a, { 0, 833, 0, 167, 0, 0 } },
    { "free rider alone",         0x08, { 0, 0, 0, 1000, 0, 0 } },
    { "new and free rider",       0x0c, { 0, 0, 800, 200, 0, 0 } },
    { "clients and relays",       0x1f, { 250, 125, 100, 25, 500, 0 } },
    { "relays alone",             0x10, { 0, 0, 0, 0, 1000, 0 } },
};
/* clang-format on */

Test(tun_scheduler, classes_get_their_shares_and_what_others_leave) {
    for (size_t row = 0; row < sizeof shares / sizeof *shares; row++) {
        struct bench b = {0};
        cr_assert_eq(tun_sched_init(&b.s, 8 << 20), CV_ERR_OK);
        for (unsigned i = 0; i < TUN_SCHED_CLASSES; i++)
            add(&b, i, i, 16);
        const uint64_t total = 20000;
        for (uint64_t n = 0; n < total; n++) {
            for (unsigned i = 0; i < TUN_SCHED_CLASSES; i++)
                if (shares[row].classes >> i & 1)
                    fill(&b, i, 40, n);
            cr_assert(send_one(&b, n), "%s: idle with cells waiting", shares[row].name);
        }
        for (unsigned i = 0; i < TUN_SCHED_CLASSES; i++) {
            int64_t got = (int64_t)(b.sent[i] * 1000 / total), want = shares[row].want[i];
            cr_expect(got >= want - 15 && got <= want + 15, "%s: class %u got %ld, want %ld",
                      shares[row].name, i, (long)got, (long)want);
        }
        finish(&b);
    }
}

/* clang-format off */
static const struct {
    const char *name;
    unsigned groups[4]; /* of each gate class, all with cells */
    unsigned want[4];   /* permille of what is sent, for one group */
} crowds[] = {
    { "as many of each",                   { 1, 1, 1, 1 },    { 500, 250, 200, 50 } },
    { "few newcomers, many contributors",  { 0, 30, 3, 0 },   { 0, 30, 30, 0 } },
    { "one debtor, many contributors",     { 0, 39, 0, 1 },   { 0, 25, 0, 6 } },
    { "few newcomers, fewer debtors",      { 0, 30, 4, 1 },   { 0, 29, 29, 7 } },
    { "many newcomers, few contributors",  { 0, 3, 37, 0 },   { 0, 185, 12, 0 } },
    { "token holders keep what is theirs", { 5, 20, 2, 1 },   { 100, 22, 22, 5 } },
    { "the same, newcomers flood",         { 5, 20, 12, 1 },  { 100, 14, 14, 4 } },
    { "and more of them",                  { 5, 20, 36, 1 },  { 100, 12, 6, 2 } },
    { "more token holders than others",    { 30, 5, 5, 0 },   { 25, 25, 25, 0 } },
};
/* clang-format on */

/* Nobody is better off in a lower class, whatever crowds stand in each. */
Test(tun_scheduler, no_group_is_served_faster_than_one_of_a_higher_class) {
    enum { GROUPS = 80, TOTAL = 40000 };
    static struct tun_sched_group group[GROUPS];
    static struct tun_flow flow[GROUPS];
    static uint64_t sent[GROUPS];
    for (size_t row = 0; row < sizeof crowds / sizeof *crowds; row++) {
        struct tun_sched s;
        unsigned n = 0, class_of[GROUPS];
        cr_assert_eq(tun_sched_init(&s, 8 << 20), CV_ERR_OK);
        tun_sched_pace(&s, TUN_DATAGRAM * 1000); /* short turns: shares show soon */
        for (unsigned class = 0; class < 4; class ++)
            for (unsigned k = 0; k < crowds[row].groups[class]; k++, n++) {
                class_of[n] = class;
                sent[n] = 0;
                tun_sched_group_init(&group[n], class, 16);
                tun_flow_init(&flow[n], &group[n], &sent[n], 16);
                flow[n].patient = true;
            }
        for (unsigned k = 0; k < TOTAL; k++) {
            struct tun_flow *f;
            for (unsigned i = 0; i < n; i++)
                while (flow[i].count < 4)
                    tun_sched_put(&s, &flow[i], tun_sched_take(&s), k);
            struct tun_cell *c = tun_sched_next(&s, k, &f);
            cr_assert_not_null(c);
            ++*(uint64_t *)f->owner;
            tun_sched_release(&s, c);
        }
        for (unsigned i = 0; i < n; i++) {
            int64_t got = (int64_t)(sent[i] * 10000 / TOTAL),
                    want = crowds[row].want[class_of[i]] * INT64_C(10);
            cr_expect(got >= want - want / 10 - 6 && got <= want + want / 10 + 6,
                      "%s: one of class %u got %ld of 10000, want %ld", crowds[row].name,
                      class_of[i], (long)got, (long)want);
            tun_flow_clear(&s, &flow[i]);
        }
        tun_sched_done(&s);
    }
}

Test(tun_scheduler, many_circuits_do_not_buy_a_network_more) {
    struct bench b = {0};
    cr_assert_eq(tun_sched_init(&b.s, 8 << 20), CV_ERR_OK);
    add(&b, 0, 2, 16);
    add(&b, 1, 2, 16);
    for (unsigned i = 2; i < 8; i++) { /* six more circuits of the second network */
        tun_flow_init(&b.flow[i], &b.group[1], (void *)(uintptr_t)(i + 1), 512);
        b.flow[i].patient = true;
    }
    for (unsigned n = 0; n < 14000; n++) {
        for (unsigned i = 0; i < 8; i++)
            fill(&b, i, 40, n);
        cr_assert(send_one(&b, n));
    }
    cr_expect(b.sent[0] > 6800 && b.sent[0] < 7200, "one circuit got %lu", b.sent[0]);
    for (unsigned i = 1; i < 8; i++)
        cr_expect(b.sent[i] > 950 && b.sent[i] < 1050, "circuit %u got %lu", i, b.sent[i]);
    finish(&b);
}

Test(tun_scheduler, relays_share_by_weight) {
    struct bench b = {0};
    cr_assert_eq(tun_sched_init(&b.s, 8 << 20), CV_ERR_OK);
    add(&b, 0, TUN_SCHED_RELAYS, 10);
    add(&b, 1, TUN_SCHED_RELAYS, 40);
    for (unsigned n = 0; n < 10000; n++) {
        fill(&b, 0, 100, n);
        fill(&b, 1, 100, n);
        cr_assert(send_one(&b, n));
    }
    cr_expect(b.sent[1] > 7800 && b.sent[1] < 8200, "got %lu", b.sent[1]);
    finish(&b);
}

Test(tun_scheduler, a_quiet_flow_goes_before_busy_ones_of_its_group) {
    struct bench b = {0};
    cr_assert_eq(tun_sched_init(&b.s, 8 << 20), CV_ERR_OK);
    add(&b, 0, 2, 16);
    tun_flow_init(&b.flow[1], &b.group[0], (void *)(uintptr_t)2, 512);
    b.flow[1].patient = true;
    fill(&b, 0, 500, 1);
    for (unsigned i = 0; i < 100; i++)
        send_one(&b, 1);
    fill(&b, 1, 1, 1);
    for (unsigned i = 0; i < 17 && b.sent[1] == 0; i++)
        send_one(&b, 1);
    cr_expect_eq(b.sent[1], 1);
    finish(&b);
}

/* At 300 KB/s a cell takes 4 ms. Sixteen of everybody's first would look like a
 * queue of a quarter second to whoever sends one now and then. */
Test(tun_scheduler, at_a_slow_relay_nobody_waits_for_the_turns_of_others) {
    struct bench b = {0};
    cr_assert_eq(tun_sched_init(&b.s, 8 << 20), CV_ERR_OK);
    tun_sched_pace(&b.s, 300000);
    add(&b, 0, 2, 16); /* the quiet one */
    add(&b, 1, 2, 16);
    add(&b, 2, 2, 16);
    add(&b, 3, 3, 16);
    add(&b, 4, TUN_SCHED_RELAYS, 10);
    unsigned worst = 0;
    for (unsigned n = 0; n < 500; n++) {
        for (unsigned i = 1; i < 5; i++)
            fill(&b, i, 40, n);
        uint64_t before = b.sent[0];
        fill(&b, 0, 1, n);
        unsigned waited = 0;
        while (b.sent[0] == before && waited < 1000) {
            cr_assert(send_one(&b, n));
            waited++;
            for (unsigned i = 1; i < 5; i++)
                fill(&b, i, 40, n);
        }
        worst = waited > worst ? waited : worst;
        for (unsigned i = 0; i < n % 7; i++) /* not in step with the turns */
            cr_assert(send_one(&b, n));
    }
    /* its group waits for two cells of each of the others; of six cells one is its class's */
    cr_expect_leq(worst, 40, "waited for %u cells", worst);
    finish(&b);
}

Test(tun_scheduler, codel_drops_at_the_head_only_when_delay_stays_high) {
    struct bench b = {0};
    cr_assert_eq(tun_sched_init(&b.s, 8 << 20), CV_ERR_OK);
    add(&b, 0, 2, 16);
    b.flow[0].patient = false;
    /* a burst of 250 ms that drains: no drop */
    for (unsigned i = 0; i < 250; i++)
        fill(&b, 0, i + 1, 0);
    for (unsigned i = 0; i < 250; i++)
        cr_assert(send_one(&b, CV_MSEC(i)));
    cr_expect_eq(b.s.dropped_codel, 0);
    /* twice as much arriving as leaving, for ten seconds */
    uint64_t offered = 0;
    for (cv_usec t = CV_SEC(1); t < CV_SEC(11); t += CV_MSEC(1)) {
        for (unsigned i = 0; i < 2; i++, offered++)
            tun_sched_put(&b.s, &b.flow[0], tun_sched_take(&b.s), t);
        send_one(&b, t);
    }
    cr_expect_gt(b.s.dropped_codel, 200);
    cr_expect_leq(b.flow[0].count, 512);
    finish(&b);
}

/* A queue whose head has always waited `delay`, from CoDel's point of view; a cell a
 * millisecond leaves. When were cells dropped? */
static unsigned drops(struct bench *b, cv_usec *clock, cv_usec delay, cv_usec for_so_long,
                      cv_usec *ret_at, unsigned cap) {
    unsigned n = 0;
    for (cv_usec end = *clock + for_so_long; *clock < end; *clock += CV_MSEC(1)) {
        uint64_t before = b->s.dropped_codel;
        for (struct tun_cell *c = b->flow[0].head; c; c = c->next)
            c->queued_at = *clock - delay;
        while (b->flow[0].count < 8)
            tun_sched_put(&b->s, &b->flow[0], tun_sched_take(&b->s), *clock - delay);
        cr_assert(send_one(b, *clock));
        if (b->s.dropped_codel != before && n < cap)
            ret_at[n++] = *clock;
    }
    return n;
}

/* clang-format off */
static const struct {
    const char *name;
    struct { unsigned delay_ms, ms; } phase[3];
    unsigned first_ms; /* after the beginning; 0: nothing is dropped */
} codels[] = {
    { "99 ms for ever",               { { 99, 5000 } },                        0 },
    { "100 ms, just below 300 ms",    { { 100, 300 } },                        0 },
    { "100 ms, just above 300 ms",    { { 100, 302 } },                      300 },
    { "a pause begins it anew",       { { 150, 290 }, { 50, 2 }, { 150, 290 } }, 0 },
    { "two seconds are no worse",     { { 2000, 302 } },                     300 },
};
/* clang-format on */

Test(tun_scheduler, codel_waits_for_300_ms_of_100_ms) {
    for (size_t row = 0; row < sizeof codels / sizeof *codels; row++) {
        struct bench b = {0};
        cv_usec clock = CV_SEC(10), at[16];
        unsigned n = 0;
        cr_assert_eq(tun_sched_init(&b.s, 8 << 20), CV_ERR_OK);
        add(&b, 0, 2, 16);
        b.flow[0].patient = false;
        for (unsigned i = 0; i < 3 && codels[row].phase[i].ms; i++)
            n += drops(&b, &clock, CV_MSEC(codels[row].phase[i].delay_ms),
                       CV_MSEC(codels[row].phase[i].ms), at + n, 16 - n);
        cr_expect_eq(n, codels[row].first_ms != 0, "%s: %u drops", codels[row].name, n);
        if (n && codels[row].first_ms)
            cr_expect_eq(at[0] - CV_SEC(10), CV_MSEC(codels[row].first_ms), "%s: after %lu us",
                         codels[row].name, at[0] - CV_SEC(10));
        finish(&b);
    }
}

static double root(double n) {
    double r = n;
    for (unsigned i = 0; i < 40; i++)
        r = (r + n / r) / 2;
    return r;
}

/* RFC 8289 section 5.3: the n-th drop comes 300 ms / sqrt(n) after the one before. */
Test(tun_scheduler, codel_drops_ever_faster) {
    struct bench b = {0};
    cv_usec clock = CV_SEC(10), at[64];
    cr_assert_eq(tun_sched_init(&b.s, 8 << 20), CV_ERR_OK);
    add(&b, 0, 2, 16);
    b.flow[0].patient = false;
    unsigned n = drops(&b, &clock, CV_MSEC(200), CV_SEC(4), at, 64);
    double want = 10300;
    for (unsigned i = 0; i < n; i++) {
        double got = (double)at[i] / 1000;
        cr_expect(got >= want - 1 && got <= want + 2, "drop %u at %.0f ms, want %.0f", i, got,
                  want);
        want += 300 / root(i + 1);
    }
    cr_expect_geq(n, 40, "%u", n);
    finish(&b);
}

/* clang-format off */
static const struct {
    unsigned weight[4]; /* of four relays that always have cells, 10: nobody knows it */
} weights[] = {
    { { 10, 10, 10, 10 } },
    { { 10, 11, 20, 40 } },
    { { 1, 10, 100, 100 } },
    { { 7, 13, 29, 31 } },
};
/* clang-format on */

/* Deficit round robin: to the cell what their weights say, over any long time. */
Test(tun_scheduler, relays_get_to_the_cell_what_they_weigh) {
    for (size_t row = 0; row < sizeof weights / sizeof *weights; row++) {
        struct bench b = {0};
        unsigned sum = 0;
        cr_assert_eq(tun_sched_init(&b.s, 8 << 20), CV_ERR_OK);
        for (unsigned i = 0; i < 4; i++) {
            add(&b, i, TUN_SCHED_RELAYS, weights[row].weight[i]);
            sum += weights[row].weight[i];
        }
        for (unsigned n = 0; n < 400 * sum; n++) {
            for (unsigned i = 0; i < 4; i++)
                fill(&b, i, 100, n);
            cr_assert(send_one(&b, n));
        }
        for (unsigned i = 0; i < 4; i++) { /* never more than a turn of each away */
            int64_t off = (int64_t)b.sent[i] - 400 * (int64_t)weights[row].weight[i];
            int64_t turn = 2 * ((int64_t)weights[row].weight[i] * 16 / TUN_WEIGHT_NEW + 2);
            cr_expect(llabs(off) <= turn, "row %zu: weight %u is %ld cells off", row,
                      weights[row].weight[i], off);
        }
        finish(&b);
    }
}

/* A socket that is blocked for long: what makes up the rate takes no room of what waits. */
Test(tun_scheduler, what_is_missing_fits_behind_what_waits) {
    struct bench b = {0};
    cr_assert_eq(tun_sched_init(&b.s, 8 << 20), CV_ERR_OK);
    add(&b, 0, 2, 16);
    b.flow[0].max = 32;
    fill(&b, 0, 20, 1);
    tun_flow_hold(&b.s, &b.flow[0]);
    for (unsigned i = 0; i < 70; i++)
        for (uint32_t n = tun_flow_grant(&b.s, &b.flow[0], 1, 2); n > 0; n--)
            tun_sched_put(&b.s, &b.flow[0], tun_sched_take(&b.s), 2);
    cr_expect_eq(b.s.dropped_cap, 0);
    cr_expect_eq(b.flow[0].count, 32);
    finish(&b);
}

/* Held flows: what is granted goes, and no more; what waits keeps its order. */
Test(tun_scheduler, a_held_flow_sends_what_is_granted) {
    struct bench b = {0};
    cr_assert_eq(tun_sched_init(&b.s, 8 << 20), CV_ERR_OK);
    add(&b, 0, 2, 16);
    add(&b, 1, 2, 16);
    fill(&b, 0, 10, 1);
    tun_flow_hold(&b.s, &b.flow[0]);
    cr_expect_not(send_one(&b, 2), "nothing was granted");
    fill(&b, 1, 3, 2);
    for (unsigned i = 0; i < 3; i++)
        cr_expect(send_one(&b, 2), "others do not wait for it");
    cr_expect_eq(b.sent[1], 3);
    cr_expect_eq(tun_flow_grant(&b.s, &b.flow[0], 4, 3), 0, "nothing is missing");
    unsigned n = 0;
    while (send_one(&b, 3))
        n++;
    cr_expect_eq(n, 4);
    cr_expect_eq(tun_flow_grant(&b.s, &b.flow[0], 8, 4), 2, "six wait, eight may go");
    fill(&b, 0, 8, 4);
    while (send_one(&b, 4))
        n++;
    cr_expect_eq(n, 12);
    /* what was not put does not pile up without end */
    for (unsigned i = 0; i < 100; i++)
        (void)tun_flow_grant(&b.s, &b.flow[0], 16, 5);
    cr_expect_eq(b.flow[0].granted, TUN_GRANT_MAX);
    tun_flow_move(&b.s, &b.flow[0], &b.group[1]);
    cr_expect_not(send_one(&b, 5));
    b.flow[0].granted = 0;
    fill(&b, 0, 5, 6);
    cr_expect_not(send_one(&b, 6));
    tun_flow_let_go(&b.s, &b.flow[0]);
    n = 0;
    while (send_one(&b, 7))
        n++;
    cr_expect_eq(n, 5);
    cr_expect_eq(b.s.listed, 0);
    finish(&b);
}

Test(tun_scheduler, memory_has_a_cap_and_a_full_flow_loses_its_oldest) {
    struct bench b = {0};
    uint64_t octets = 3 * 64 * sizeof(struct tun_cell);
    cr_assert_eq(tun_sched_init(&b.s, octets), CV_ERR_OK);
    add(&b, 0, 2, 16);
    b.flow[0].max = 100;
    for (unsigned i = 0; i < 150; i++) {
        struct tun_cell *c = tun_sched_take(&b.s);
        cr_assert_not_null(c);
        c->layer = i;
        tun_sched_put(&b.s, &b.flow[0], c, i);
    }
    cr_expect_eq(b.flow[0].count, 100);
    cr_expect_eq(b.flow[0].head->layer, 50);
    cr_expect_eq(b.s.dropped_cap, 50);
    struct tun_cell *held[192];
    unsigned n = 0;
    while ((held[n] = tun_sched_take(&b.s)) != NULL)
        n++;
    cr_expect_eq(n, 92);
    while (n > 0)
        tun_sched_release(&b.s, held[--n]);
    tun_sched_trim(&b.s);
    cr_expect_eq(b.s.blocks_used, 3); /* still in use */
    tun_flow_clear(&b.s, &b.flow[0]);
    tun_sched_trim(&b.s);
    cr_expect_eq(b.s.blocks_used, 0);
    finish(&b);
}

Test(tun_scheduler, moving_a_group_or_flow_keeps_its_cells) {
    struct bench b = {0};
    cr_assert_eq(tun_sched_init(&b.s, 8 << 20), CV_ERR_OK);
    add(&b, 0, 2, 16);
    add(&b, 1, 3, 16);
    fill(&b, 0, 10, 1);
    tun_sched_group_set(&b.s, &b.group[0], 1, 16);
    fill(&b, 1, 10, 1);
    tun_flow_move(&b.s, &b.flow[0], &b.group[1]);
    cr_expect_not(b.group[0].active);
    unsigned n = 0;
    while (send_one(&b, 2))
        n++;
    cr_expect_eq(n, 20);
    finish(&b);
}
