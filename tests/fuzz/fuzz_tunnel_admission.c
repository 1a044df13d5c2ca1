/*
 * Who may make a relay work, as a script: sixteen networks, each from any of its
 * addresses, ask for handshakes and descriptions, circuits are made, and time passes.
 *
 * Property: every answer is that of a model that keeps a list of all that was let in
 * and counts, for each moment in it, whether so many fit since then.
 */
#include <assert.h>
#include <string.h>

#include "base/cursor.h"
#include "crypto/rng_seeded.h"
#include "tunnel/admission.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    NETWORKS = 16,
    ALL = NETWORKS, /* everybody together */
    TAKEN = 512,    /* moments that one list holds */
    STEPS = 400,
};

/* All that was let in by one bucket, in order. */
struct list {
    struct {
        uint64_t ms, count;
    } taken[TAKEN];
    unsigned n;
};

struct world {
    struct tun_admission a;
    struct list list[TUN_ADMIT_KINDS][NETWORKS + 1], creates;
    cv_usec now;
};

/* Per second and at once, from docs/protocol/tunnel.md and the sources' tables. */
static const uint64_t of_network[2] = {10, 50}, claimed[2] = {100, 200}, others[2] = {500, 1000},
                      create[2] = {2000, 4000};

/* Thousandths that are left: of the burst, or of what has come since any moment less what
 * was let in from then on. Who asks has all of it. */
static uint64_t left(const struct list *l, const uint64_t limit[2], uint64_t now) {
    uint64_t least = limit[1] * 1000, since = 0;
    for (unsigned i = l->n; i-- > 0;) {
        since += l->taken[i].count * 1000;
        uint64_t filled = limit[1] * 1000 + (now - l->taken[i].ms) * limit[0];
        assert(filled >= since);
        if (filled - since < least)
            least = filled - since;
    }
    return least;
}

static bool model_take(struct list *l, const uint64_t limit[2], uint64_t now) {
    if (left(l, limit, now) < 1000)
        return false;
    if (l->n && l->taken[l->n - 1].ms == now) {
        l->taken[l->n - 1].count++;
        return true;
    }
    assert(l->n < TAKEN);
    l->taken[l->n].ms = now;
    l->taken[l->n++].count = 1;
    return true;
}

/* Some address of a network: a /24, or a /56. */
static struct cv_addr address(unsigned network, uint8_t host) {
    struct cv_addr a = {.port = (uint16_t)(1 + host), .family = 4};
    if (network < NETWORKS / 2) {
        a.ip[0] = 198, a.ip[1] = 51, a.ip[2] = (uint8_t)network, a.ip[3] = host;
        return a;
    }
    a.family = 6;
    a.ip[0] = 0x20, a.ip[1] = 0x01, a.ip[6] = (uint8_t)network;
    for (unsigned i = 7; i < 16; i++)
        a.ip[i] = host;
    return a;
}

static void ask(struct world *w, enum tun_admission_kind kind, unsigned network, uint8_t host) {
    struct cv_addr from = address(network, host);
    uint64_t ms = w->now / 1000;
    bool want = model_take(&w->list[kind][network], of_network, ms);
    if (want && kind != TUN_ADMIT_CLAIMED)
        want = model_take(&w->list[kind][ALL], others, ms);
    assert(tun_admit(&w->a, kind, &from, w->now) == want);
}

static void step(struct world *w, struct cv_rd *r) {
    uint8_t op = cv_rd_u8(r), a = cv_rd_u8(r);
    uint64_t ms = w->now / 1000;
    for (unsigned i = 0; op % 8 < TUN_ADMIT_KINDS && i <= op >> 3; i++)
        ask(w, (enum tun_admission_kind)(op % 8), a % NETWORKS, (uint8_t)(a >> 4 ^ i));
    for (unsigned i = 0; op % 8 == 3 && i <= a; i++)
        assert(tun_admission_loaded(&w->a, w->now) ==
               !model_take(&w->list[TUN_ADMIT_CLAIMED][ALL], claimed, ms));
    for (unsigned i = 0; op % 8 == 4 && i <= a * 8U; i++)
        assert(tun_admit_create(&w->a, w->now) == model_take(&w->creates, create, ms));
    /* from everywhere, which the limit of a network does not see */
    for (unsigned i = 0; op % 8 == 5 && i < NETWORKS * 8; i++)
        ask(w, a & 1 ? TUN_ADMIT_PROVED : TUN_ADMIT_DESCRIBE, i % NETWORKS, (uint8_t)i);
    if (op % 8 == 6)
        w->now += (cv_usec)a * (op & 8 ? 100 : CV_MSEC(1));
    if (op % 8 == 7)
        w->now += CV_MSEC(100) * a * (op & 8 ? 100 : 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct world world;
    struct world *w = &world;
    struct cv_rng_seeded seed;
    cv_rng_seeded_init(&seed, 5);
    struct cv_rng rng = cv_rng_seeded(&seed);
    memset(w, 0, sizeof *w);
    struct cv_rd r = cv_rd_init(data, size);
    /* milliseconds of the clock are counted in 32 bits: also when these are full */
    w->now = cv_rd_u8(&r) & 1 ? CV_MSEC(UINT64_C(0xffffff00)) : CV_SEC(1);
    tun_admission_init(&w->a, &rng, w->now);
    for (unsigned i = 0; i < STEPS && !r.err && cv_rd_left(&r) >= 2; i++)
        step(w, &r);
    return 0;
}
