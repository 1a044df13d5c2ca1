/* Seeded dice: same seed same octets, whatever the sizes asked; and fair. */
#include "crypto/rng_seeded.h"

#include "crypto/hash.h"
#include "support/hex.h"
#include "support/suite.h"

CV_SUITE(rng_seeded, .init = cv_crypto_init);

enum { N = 5000 };

static void draw(uint64_t seed, size_t step, uint8_t out[N]) {
    struct cv_rng_seeded s;
    cv_rng_seeded_init(&s, seed);
    struct cv_rng rng = cv_rng_seeded(&s);
    for (size_t at = 0; at < N; at += step)
        cv_rng_fill(&rng, out + at, step < N - at ? step : N - at);
}

Test(rng_seeded, octets_do_not_depend_on_how_they_are_asked) {
    uint8_t a[N], b[N];
    draw(7, N, a);
    for (size_t step = 1; step < 1200; step += 61) {
        draw(7, step, b);
        cr_expect_arr_eq(a, b, N, "step %zu", step);
    }
    draw(8, N, b);
    cr_expect(memcmp(a, b, 16) != 0);
    cr_expect(memcmp(a, a + 512, 512) != 0, "blocks differ");
}

/* Recorded seeds must stay valid for ever: the stream never changes.
 * (Value by another implementation of ChaCha20 and BLAKE2b.) */
Test(rng_seeded, stream_is_pinned) {
    uint8_t a[N], h[16], want[16];
    draw(1, N, a);
    CV_BLAKE2B(h, 16, NULL, 0, {a, N});
    cv_test_unhex("83626fcabb4eaec5b47f68eb164bbaa1", want, 16);
    cr_expect_arr_eq(h, want, 16);
}

Test(rng_seeded, uniform) {
    struct cv_rng_seeded s;
    cv_rng_seeded_init(&s, 3);
    struct cv_rng rng = cv_rng_seeded(&s);
    unsigned seen[10] = {0};
    for (int i = 0; i < 100000; i++)
        seen[cv_rng_below(&rng, 10)]++;
    for (int i = 0; i < 10; i++)
        cr_expect(seen[i] > 9600 && seen[i] < 10400, "%d: %u", i, seen[i]); /* sigma 95 */
}
