#include "tunnel/window.h"

#include <string.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "support/suite.h"

CV_SUITE(tunnel_window);

/* The naive window: one octet for every number there ever was. */
enum { NUMBERS = 1 << 16 };
struct naive {
    uint8_t seen[NUMBERS];
    uint64_t top;
};

static enum cv_err naive_check(const struct naive *w, uint64_t n) {
    if (n + TUN_WINDOW <= w->top)
        return CV_ERR_STALE;
    return w->seen[n] ? CV_ERR_REPLAY : CV_ERR_OK;
}

static void naive_set(struct naive *w, uint64_t n) {
    w->seen[n] = 1;
    if (n > w->top)
        w->top = n;
}

Test(tunnel_window, same_as_naive) {
    static struct naive want;
    struct tun_window got;
    struct cv_rng_seeded dice;
    for (uint64_t seed = 0; seed < 20; seed++) {
        memset(&want, 0, sizeof want);
        memset(&got, 0, sizeof got);
        cv_rng_seeded_init(&dice, seed);
        struct cv_rng rng = cv_rng_seeded(&dice);
        for (unsigned i = 0; i < 20000; i++) {
            uint64_t reach = cv_rng_below(&rng, 50) == 0 ? 5000 : 70;
            uint64_t lo = want.top > reach ? want.top - reach : 0;
            uint64_t n = cv_rng_between(&rng, lo, want.top + reach / 8);
            if (n >= NUMBERS)
                break;
            enum cv_err err = naive_check(&want, n);
            cr_assert_eq(tun_window_check(&got, n), err, "seed %lu, step %u, n %lu", seed, i, n);
            if (err == CV_ERR_OK && cv_rng_below(&rng, 4) != 0) {
                naive_set(&want, n);
                tun_window_set(&got, n);
            }
            cr_assert_eq(got.top, want.top);
        }
    }
}

/* clang-format off */
static const struct {
    const char *name;
    uint64_t set[4];
    uint64_t ask;
    enum cv_err want;
} windows[] = {
    { "nothing seen",            { 0 },                         1,               CV_ERR_OK },
    { "the same again",          { 5 },                         5,               CV_ERR_REPLAY },
    { "late but new",            { 5 },                         4,               CV_ERR_OK },
    { "last that is remembered", { TUN_WINDOW },                1,               CV_ERR_OK },
    { "first that is forgotten", { TUN_WINDOW + 1 },            1,               CV_ERR_STALE },
    { "its ring place reused",   { 1, TUN_WINDOW + 1 },         TUN_WINDOW + 1,  CV_ERR_REPLAY },
    { "ring place cleared",      { 7, TUN_WINDOW + 8 },         TUN_WINDOW + 7,  CV_ERR_OK },
    { "32 words on",             { 60, TUN_WINDOW + 50 },       60,              CV_ERR_REPLAY },
    { "33 words on",             { 1, 70, TUN_WINDOW + 64 },    70,              CV_ERR_REPLAY },
    { "word between, cleared",   { 70, 200, TUN_WINDOW + 210 }, TUN_WINDOW + 70, CV_ERR_OK },
    { "jump clears all",         { 1, 2, 3, 1 << 20 },          (1 << 20) - 5,   CV_ERR_OK },
    { "jump, the ring was used", { 5, 70, (1 << 20) + 70 },     (1 << 20) + 5,   CV_ERR_OK },
    { "far ahead",               { 1 },                         UINT64_MAX,      CV_ERR_OK },
};
/* clang-format on */

Test(tunnel_window, table) {
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        struct tun_window w = {0};
        for (unsigned j = 0; j < 4 && windows[i].set[j]; j++)
            tun_window_set(&w, windows[i].set[j]);
        struct tun_window before = w;
        cr_expect_eq(tun_window_check(&w, windows[i].ask), windows[i].want, "%s", windows[i].name);
        cr_expect_arr_eq(&w, &before, sizeof w, "%s: a look changed it", windows[i].name);
    }
}

/* clang-format off */
static const struct {
    const char *name;
    uint64_t top, wire;
    unsigned bits;
    bool ok;
    uint64_t want;
} rebuilds[] = {
    { "first",               0,             1,          31, true,  1 },
    { "no number below 0",   0,             INT32_MAX,  31, false, 0 },
    { "one ahead over wrap", INT32_MAX,     0,          31, true,  UINT64_C(1) << 31 },
    { "one behind the wrap", UINT64_C(1) << 31, INT32_MAX, 31, true, INT32_MAX },
    { "as far ahead as can", 10,            (10u + (1u << 30) - 1) & INT32_MAX, 31, true, 10 + (1u << 30) - 1 },
    { "half is behind",      UINT64_C(1) << 31, 1u << 30, 31, true, 1u << 30 },
    { "48 bits",             (UINT64_C(1) << 48) - 1, 3, 48, true, (UINT64_C(1) << 48) + 3 },
    { "not above 64 bits",   UINT64_MAX,    0,          31, false, 0 },
};
/* clang-format on */

Test(tunnel_window, rebuild_table) {
    for (size_t i = 0; i < sizeof rebuilds / sizeof *rebuilds; i++) {
        uint64_t n = 0xdead;
        bool ok = tun_number_rebuild(rebuilds[i].top, rebuilds[i].wire, rebuilds[i].bits, &n);
        cr_expect_eq(ok, rebuilds[i].ok, "%s", rebuilds[i].name);
        cr_expect_eq(n, ok ? rebuilds[i].want : 0xdead, "%s: got %lu", rebuilds[i].name, n);
    }
}

Test(tunnel_window, rebuild_is_nearest) {
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 31);
    struct cv_rng rng = cv_rng_seeded(&dice);
    for (unsigned i = 0; i < 10000; i++) {
        uint64_t top = cv_rng_below(&rng, UINT64_C(1) << 40);
        uint64_t n = top + cv_rng_below(&rng, UINT64_C(1) << 31);
        n = n > (1u << 30) ? n - (1u << 30) : n;
        uint64_t got = 0;
        if (n >= top + (1u << 30))
            continue;
        cr_assert(tun_number_rebuild(top, n & INT32_MAX, 31, &got));
        cr_assert_eq(got, n, "top %lu", top);
    }
}
