/* Chunks under way: against a list of everything that was pushed. */
#include "support/suite.h"

#include "ppsp/flight.h"
#include "ppsp/limits.h"
#include "support/model.h"

CV_SUITE(ppsp_flight);

enum { CHUNKS = 3000 };

Test(ppsp_flight, agrees_with_counts) {
    for (uint64_t seed = 0; seed < 40; seed++) {
        uint64_t state = seed;
        struct cv_rng rng = model_rng(&state);
        struct ppsp_flight f = {0};
        uint32_t under_way[CHUNKS + 64] = {0}; /* in how many runs */
        uint64_t total = 0;
        for (cv_usec t = 1; t < 500; t++) {
            uint64_t first = cv_rng_below(&rng, CHUNKS);
            if (cv_rng_below(&rng, 2)) {
                uint32_t n = 1 + (uint32_t)cv_rng_below(&rng, 64);
                cr_assert_eq(ppsp_flight_push(&f, first, ppsp_run_mask(n), t, false), CV_ERR_OK);
                for (uint32_t i = 0; i < n; i++)
                    under_way[first + i]++;
                total += n;
            } else {
                uint64_t last = first + cv_rng_below(&rng, 200), want = 0;
                last = last < CHUNKS + 63 ? last : CHUNKS + 63;
                for (uint64_t c = first; c <= last; c++) {
                    want += under_way[c];
                    under_way[c] = 0;
                }
                cr_assert_eq(ppsp_flight_take(&f, first, last, false).chunks, want);
                total -= want;
            }
            uint64_t probe = cv_rng_below(&rng, CHUNKS);
            cr_assert_eq(ppsp_flight_has(&f, probe), under_way[probe] > 0);
            cr_assert_eq(f.chunks, total, "seed=%lu", (unsigned long)seed);
        }
        ppsp_flight_done(&f);
    }
}

Test(ppsp_flight, tells_the_youngest_run_and_stops_when_told) {
    struct ppsp_flight f = {0};
    ppsp_flight_push(&f, 10, ppsp_run_mask(4), 100, false);
    ppsp_flight_push(&f, 12, ppsp_run_mask(4), 200, true);
    struct ppsp_taken t = ppsp_flight_take(&f, 12, 13, true);
    cr_expect(t.chunks == 2 && t.newest == 0 && t.at == 100 && !t.again);
    t = ppsp_flight_take(&f, 12, 13, true);
    cr_expect(t.chunks == 2 && t.newest == 1 && t.at == 200 && t.again);
    cr_expect_eq(ppsp_flight_take(&f, 12, 13, true).chunks, 0);
    cr_expect_eq(f.chunks, 4);
    ppsp_flight_done(&f);
}

Test(ppsp_flight, at_rest_it_has_no_memory_and_goes_on_where_it_was) {
    struct ppsp_flight f = {0};
    for (unsigned i = 0; i < 100; i++)
        ppsp_flight_push(&f, 64 * i, ppsp_run_mask(64), i, false);
    ppsp_flight_rest(&f);
    cr_expect_eq(f.chunks, 6400, "not while something is under way");
    ppsp_flight_take(&f, 0, UINT64_MAX, false);
    ppsp_flight_rest(&f);
    cr_expect_null(f.v);
    cr_assert_eq(ppsp_flight_push(&f, 7, ppsp_run_mask(2), 1, false), CV_ERR_OK);
    struct ppsp_taken t = ppsp_flight_take(&f, 7, 7, false);
    cr_expect(t.chunks == 1 && t.newest == 100);
    cr_expect(ppsp_flight_has(&f, 8));
    ppsp_flight_done(&f);
}

Test(ppsp_flight, has_a_limit) {
    struct ppsp_flight f = {0};
    for (uint64_t i = 0; i < PPSP_FLIGHT_RUNS; i++)
        cr_assert_eq(ppsp_flight_push(&f, i * 64, UINT64_MAX, 1, false), CV_ERR_OK);
    cr_expect_eq(ppsp_flight_push(&f, 0, 1, 1, false), CV_ERR_LIMIT);
    cr_expect_eq(ppsp_flight_clear(&f, 0, UINT64_MAX), UINT64_MAX);
    cr_expect_eq(ppsp_flight_push(&f, 0, 1, 1, false), CV_ERR_OK, "there is room again");
    ppsp_flight_done(&f);
}
