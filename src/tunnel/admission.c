#include "tunnel/admission.h"

#include <string.h>

#include "tunnel/limits.h"

/* A small token bucket: `rate` a second, `burst` saved up. */
struct allowance {
    uint32_t rate, burst;
};

static const struct allowance per_network = {TUN_ADMIT_NETWORK_S, TUN_ADMIT_NETWORK_BURST};
static const struct allowance everybody[TUN_ADMIT_KINDS] = {
    [TUN_ADMIT_CLAIMED] = {TUN_ADMIT_CLAIMED_S, TUN_ADMIT_CLAIMED_BURST},
    [TUN_ADMIT_PROVED] = {TUN_ADMIT_PROVED_S, TUN_ADMIT_PROVED_BURST},
    [TUN_ADMIT_DESCRIBE] = {TUN_ADMIT_DESCRIBE_S, TUN_ADMIT_DESCRIBE_BURST},
};
static const struct allowance creates = {TUN_ADMIT_CREATES_S, TUN_ADMIT_CREATES_BURST};

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
            a->cell[k][i] = (struct tun_admission_cell){per_network.burst * 1000, now_ms};
    }
    a->creates = (struct tun_admission_cell){creates.burst * 1000, now_ms};
}

bool tun_admit(struct tun_admission *a, enum tun_admission_kind kind, const struct cv_addr *from,
               cv_usec now) {
    struct cv_addr network = cv_addr_network(from, 24, 56);
    uint64_t h = cv_siphash(a->key, &network, sizeof network);
    if (!take(&a->cell[kind][h % TUN_ADMISSION_CELLS], &per_network, now))
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
