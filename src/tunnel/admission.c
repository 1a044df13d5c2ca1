#include "tunnel/admission.h"

#include <string.h>

/* A small token bucket: `rate` a second, `burst` saved up. */
struct allowance {
    uint32_t rate, burst;
};

/* clang-format off */
static const struct allowance per_network[TUN_ADMIT_KINDS] = {
    [TUN_ADMIT_CLAIMED]   = {10, 50}, /* beyond: cookies */
    [TUN_ADMIT_PROVED]    = {10, 50},
    [TUN_ADMIT_DESCRIBE]  = {10, 50},
};
/* One handshake costs about 150 us, one DESCRIBE 60 us. */
static const struct allowance everybody[TUN_ADMIT_KINDS] = {
    [TUN_ADMIT_CLAIMED]   = {100, 200}, /* beyond: cookies */
    [TUN_ADMIT_PROVED]    = {500, 1000},
    [TUN_ADMIT_DESCRIBE]  = {500, 1000},
};
static const struct allowance creates = {2000, 4000}; /* 100 us each */
/* clang-format on */

static void fill(struct tun_admission_cell *c, const struct allowance *w, uint32_t now_ms) {
    uint32_t passed = now_ms - c->at_ms;
    uint64_t level = c->level_milli + (uint64_t)passed * w->rate;
    uint64_t full = (uint64_t)w->burst * 1000;
    c->level_milli = (uint32_t)(level < full ? level : full);
    c->at_ms = now_ms;
}

static bool take(struct tun_admission_cell *c, const struct allowance *w, cv_usec now) {
    fill(c, w, (uint32_t)(now / 1000));
    if (c->level_milli < 1000)
        return false;
    c->level_milli -= 1000;
    return true;
}

void tun_admission_init(struct tun_admission *a, const struct cv_rng *rng, cv_usec now) {
    uint32_t now_ms = (uint32_t)(now / 1000);
    cv_rng_fill(rng, a->key, sizeof a->key);
    for (unsigned k = 0; k < TUN_ADMIT_KINDS; k++) {
        a->all[k] = (struct tun_admission_cell){everybody[k].burst * 1000, now_ms};
        for (unsigned i = 0; i < TUN_ADMISSION_CELLS; i++)
            a->cell[k][i] = (struct tun_admission_cell){per_network[k].burst * 1000, now_ms};
    }
    a->creates = (struct tun_admission_cell){creates.burst * 1000, now_ms};
}

bool tun_admit(struct tun_admission *a, enum tun_admission_kind kind, const struct cv_addr *from,
               cv_usec now) {
    struct cv_addr network = cv_addr_network(from, 24, 56);
    uint64_t h = cv_siphash(a->key, &network, sizeof network);
    if (!take(&a->cell[kind][h % TUN_ADMISSION_CELLS], &per_network[kind], now))
        return false;
    /* counted by tun_admission_loaded() */
    return kind == TUN_ADMIT_CLAIMED || take(&a->all[kind], &everybody[kind], now);
}

bool tun_admission_loaded(struct tun_admission *a, cv_usec now) {
    return !take(&a->all[TUN_ADMIT_CLAIMED], &everybody[TUN_ADMIT_CLAIMED], now);
}

bool tun_admit_create(struct tun_admission *a, cv_usec now) {
    return take(&a->creates, &creates, now);
}
