#include "tunnel/dice.h"

#include <string.h>

#include "crypto/rng_seeded.h"
#include "support/suite.h"

CV_SUITE(tunnel_dice);

Test(tunnel_dice, same_stream_in_any_portions) {
    struct cv_rng_seeded seed;
    struct tun_dice d;
    uint8_t whole[5000], parts[5000];
    cv_rng_seeded_init(&seed, 4);
    struct cv_rng from = cv_rng_seeded(&seed);
    tun_dice_init(&d, &from);
    struct cv_rng rng = tun_dice_rng(&d);
    cv_rng_fill(&rng, whole, sizeof whole);

    cv_rng_seeded_init(&seed, 4);
    tun_dice_init(&d, &from);
    for (size_t at = 0, n = 1; at < sizeof parts; at += n, n = n % 97 + 1) {
        n = n < sizeof parts - at ? n : sizeof parts - at;
        cv_rng_fill(&rng, parts + at, n);
    }
    cr_assert_arr_eq(parts, whole, sizeof whole);
    tun_dice_done(&d);
}

Test(tunnel_dice, what_was_given_is_not_kept) {
    struct cv_rng_seeded seed;
    struct tun_dice d;
    uint8_t given[64], key[32];
    cv_rng_seeded_init(&seed, 5);
    struct cv_rng from = cv_rng_seeded(&seed);
    tun_dice_init(&d, &from);
    memcpy(key, d.key, sizeof key);
    struct cv_rng rng = tun_dice_rng(&d);
    cv_rng_fill(&rng, given, sizeof given);
    cr_assert_null(memmem(&d, sizeof d, given, sizeof given));
    cr_assert_null(memmem(&d, sizeof d, key, sizeof key), "the key was replaced");
}
