/* One way among others, look by look (lag.h). */
#include "support/suite.h"
#include "tunnel/lag.h"
#include "tunnel/limits.h"

CV_SUITE(tun_lag);

#define KI    1024
#define NEVER CV_USEC_NEVER

/* A look: what came since the one before, by it and by each of the others; since when it is
 * asked, in looks before this one (0: it is not). */
struct step {
    unsigned mine, others, count, asked, after; /* after: seconds; 0: as long as usual */
};

/* clang-format off */
static const struct {
    const char *name;
    struct step step[6]; /* the first says nothing yet: there is none before it */
    uint8_t looks[6];
} rows[] = {
    { "less than half",        {{50, 500, 1, 9, 0}, {50, 500, 1, 9, 0}, {50, 500, 1, 9, 0}, {50, 500, 1, 9, 0}, {50, 500, 1, 9, 0}, {50, 500, 1, 9, 0}}, {0, 1, 2, 3, 4, 4} },
    { "half is enough",        {{0, 0, 1, 9, 0}, {250, 500, 1, 9, 0}, {250, 500, 1, 9, 0}, {250, 500, 1, 9, 0}, {250, 500, 1, 9, 0}, {250, 500, 1, 9, 0}}, {0, 0, 0, 0, 0, 0} },
    { "a little less is not",  {{0, 0, 1, 9, 0}, {249, 500, 1, 9, 0}, {249, 500, 1, 9, 0}, {249, 500, 1, 9, 0}, {249, 500, 1, 9, 0}, {249, 500, 1, 9, 0}}, {0, 1, 2, 3, 4, 4} },
    { "half of the average",   {{0, 0, 2, 9, 0}, {150, 280, 2, 9, 0}, {130, 280, 2, 9, 0}, {150, 280, 2, 9, 0}, {130, 280, 2, 9, 0}, {130, 280, 2, 9, 0}}, {0, 0, 1, 0, 1, 2} },
    { "one good look",         {{0, 0, 1, 9, 0}, {50, 500, 1, 9, 0}, {50, 500, 1, 9, 0}, {50, 500, 1, 9, 0}, {300, 500, 1, 9, 0}, {50, 500, 1, 9, 0}}, {0, 1, 2, 3, 0, 1} },
    { "not asked at one look", {{0, 0, 1, 9, 0}, {50, 500, 1, 9, 0}, {50, 500, 1, 0, 0}, {50, 500, 1, 9, 0}, {50, 500, 1, 9, 0}, {50, 500, 1, 9, 0}}, {0, 1, 0, 0, 1, 2} },
    { "a pause in between",    {{0, 0, 1, 9, 0}, {50, 500, 1, 9, 0}, {50, 500, 1, 9, 0}, {50, 500, 1, 1, 0}, {50, 500, 1, 9, 0}, {50, 500, 1, 9, 0}}, {0, 1, 2, 0, 1, 2} },
    { "a machine that slept",  {{0, 0, 1, 9, 0}, {50, 500, 1, 9, 0}, {50, 500, 1, 9, 0}, {50, 500, 1, 9, 60}, {50, 500, 1, 9, 0}, {50, 500, 1, 9, 0}}, {0, 1, 2, 0, 1, 2} },
    { "two looks at once",     {{0, 0, 1, 9, 0}, {50, 500, 1, 9, 0}, {0, 500, 1, 9, 1}, {50, 500, 1, 9, 0}, {50, 500, 1, 9, 0}, {50, 500, 1, 9, 0}}, {0, 1, 0, 1, 2, 3} },
    { "no other way",          {{0, 0, 0, 9, 0}, {50, 0, 0, 9, 0}, {50, 0, 0, 9, 0}, {50, 0, 0, 9, 0}, {50, 0, 0, 9, 0}, {50, 0, 0, 9, 0}}, {0, 0, 0, 0, 0, 0} },
    { "all bring little",      {{0, 0, 1, 9, 0}, {2, 63, 1, 9, 0}, {2, 63, 1, 9, 0}, {2, 64, 1, 9, 0}, {2, 64, 1, 9, 0}, {2, 63, 1, 9, 0}}, {0, 0, 0, 1, 2, 0} },
    { "two that bring little", {{0, 0, 2, 9, 0}, {2, 63, 2, 9, 0}, {2, 63, 2, 9, 0}, {2, 64, 2, 9, 0}, {2, 64, 2, 9, 0}, {2, 63, 2, 9, 0}}, {0, 0, 0, 1, 2, 0} },
};
/* clang-format on */

Test(tun_lag, looks_in_a_row) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tun_lag l = {.seen = false};
        cv_usec now = CV_SEC(1000);
        uint64_t octets = 0;
        for (unsigned k = 0; k < 6; k++) {
            const struct step *s = &rows[i].step[k];
            cv_usec passed = s->after ? CV_SEC(s->after) : TUN_LAG_LOOK;
            now += passed;
            octets += (uint64_t)s->mine * KI;
            cv_usec since = s->asked == 0   ? NEVER
                            : s->asked == 1 ? now - passed + 1 /* after the look before */
                                            : now - s->asked * TUN_LAG_LOOK * 2 - passed;
            tun_lag_look(&l, now, octets, since);
            tun_lag_judge(&l, (uint64_t)s->others * KI * s->count, s->count);
            cr_expect_eq(l.looks, rows[i].looks[k], "%s, look %u: %u instead of %u", rows[i].name,
                         k, l.looks, rows[i].looks[k]);
            cr_expect_eq(tun_lag_is(&l), rows[i].looks[k] == TUN_LAG_LOOKS, "%s", rows[i].name);
        }
    }
}

/* A channel that was called anew counts from nothing again. */
Test(tun_lag, octets_that_go_back_are_no_look) {
    struct tun_lag l = {.seen = false};
    tun_lag_look(&l, CV_SEC(10), 900 * KI, 0);
    tun_lag_look(&l, CV_SEC(15), 950 * KI, 0);
    cr_expect(l.counts && l.brought == 50 * KI);
    tun_lag_look(&l, CV_SEC(20), 10 * KI, 0);
    cr_expect(!l.counts && l.brought == 0);
    tun_lag_look(&l, CV_SEC(25), 30 * KI, 0);
    cr_expect(l.counts && l.brought == 20 * KI);
}
