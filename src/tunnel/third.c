#include "tunnel/third.h"

#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "tunnel/limits.h"

#define LIFE_S (TUN_THIRD_DAYS * 86400)

struct place {
    uint64_t at;
    struct tun_relay *relay;
};

void tun_third_init(struct tun_third *t, const struct cv_rng *rng) {
    cv_rng_fill(rng, t->key, sizeof t->key);
}

static uint64_t hash(const struct tun_third *t, unsigned slot, uint64_t turn,
                     const uint8_t identity[CV_KEY]) {
    uint8_t in[1 + 8 + CV_KEY];
    struct cv_wr w = cv_wr_init(in, sizeof in);
    cv_wr_u8(&w, (uint8_t)slot);
    cv_wr_le64(&w, turn);
    cv_wr_bytes(&w, identity, CV_KEY);
    return cv_siphash(t->key, in, cv_wr_len(&w));
}

/* Each slot's time is over at a moment of its own. */
static uint64_t turn_of(const struct tun_third *t, unsigned slot, int64_t wall) {
    static const uint8_t nobody[CV_KEY];
    return ((uint64_t)wall + hash(t, slot, UINT64_MAX, nobody) % LIFE_S) / LIFE_S;
}

/* The least of numbers -log2(u) / weight belongs to each relay as often as its weight
 * says. Logarithm of a 64-bit u in units of 2^-32; log2(1 + f) = f + 0.346 f (1 - f),
 * within 0.008. */
static uint64_t place_of(uint64_t u, uint64_t weight) {
    u |= 1;
    unsigned zeros = (unsigned)__builtin_clzll(u);
    uint64_t f = u << zeros << 1 >> 32;
    uint64_t fraction = f + (f * (UINT32_MAX - f) >> 32) * 347 / 1000;
    uint64_t log = ((uint64_t)(zeros + 1) << 32) - fraction; /* at most 2^38 */
    return (log << 24) / weight;
}

void tun_third_places(const struct tun_third *t, unsigned ret[TUN_SECOND_MAX]) {
    static const uint8_t nobody[CV_KEY];
    uint64_t at[TUN_SECOND_MAX] = {0};
    for (unsigned i = 0; i < TUN_SECOND_MAX; i++) {
        uint64_t h = hash(t, TUN_THIRDS + i, UINT64_MAX, nobody);
        unsigned k = i;
        for (; k > 0 && at[k - 1] > h; k--) {
            at[k] = at[k - 1];
            ret[k] = ret[k - 1];
        }
        at[k] = h;
        ret[k] = i;
    }
}

static int nearer(const void *a, const void *b) {
    const struct place *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

/* `list` in the order of one slot. */
static void order_by(const struct tun_third *t, unsigned slot, int64_t wall, struct place *list,
                     size_t n, uint64_t cap) {
    uint64_t turn = turn_of(t, slot, wall);
    for (size_t i = 0; i < n; i++) {
        const struct tun_relay *r = list[i].relay;
        uint64_t weight = UINT64_C(1) + tun_relay_weight(r);
        list[i].at = place_of(hash(t, slot, turn, r->desc.identity), weight < cap ? weight : cap);
    }
    qsort(list, n, sizeof *list, nearer);
}

enum cv_err tun_third_order(const struct tun_third *t, int64_t wall, struct tun_relay **v, size_t n,
                            uint64_t cap, const struct cv_rng *rng) {
    struct place *list = calloc(n + 1, sizeof *list);
    if (!list)
        return CV_ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        list[i].relay = v[i];
    /* From the slot that is last to that which is first: each puts its own before all. */
    unsigned from = (unsigned)cv_rng_below(rng, TUN_THIRDS);
    bool up = cv_rng_below(rng, 2);
    size_t firsts = 0;
    for (unsigned i = 0; i < TUN_THIRDS && firsts < n; i++) {
        unsigned slot = (from + (up ? i : TUN_THIRDS - i)) % TUN_THIRDS;
        order_by(t, slot, wall, list + firsts, n - firsts, cap);
        firsts++;
    }
    for (size_t i = 0; i < n; i++)
        v[i] = list[i].relay;
    free(list);
    return CV_ERR_OK;
}
