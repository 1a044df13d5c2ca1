/*
 * What a cell costs on one core: link header, relay steps, wrap and unwrap.
 * Not a test: build without sanitizers, run by hand.
 *
 *     meson setup build-plain && ninja -C build-plain src/tunnel/bench_tunnel_cells
 *     build-plain/src/tunnel/bench_tunnel_cells
 *
 * Prints the best and the median of many short rounds: other load only adds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "circuit_pair.h"
#include "crypto/aes.h"
#include "crypto/hash.h"
#include "tunnel/cell.h"
#include "tunnel/dice.h"

enum { ROUNDS = 200, CELLS = 200, HOPS = 3, STAGE = 2 * TUN_DATAGRAM };

static struct circuit_pair c; /* of the suite that is measured */
static struct tun_dice pool;
static struct cv_rng dice;
static uint8_t cells[CELLS][STAGE], spare[CELLS][STAGE];
static uint32_t layers[CELLS];
static struct tun_link_secret key;

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void must(bool ok) {
    if (!ok)
        abort();
}

static void wrap(unsigned i) {
    must(tun_onion_wrap(&c.owner, &dice, cells[i], HOPS - 1, 1, 1045) == CV_ERR_OK);
}

static void forward(unsigned i) {
    struct tun_inner inner;
    must(tun_layer_forward(&c.hop[0], 0, cells[i], cells[i] + TUN_LAYER_HEAD, &inner) == CV_ERR_OK);
}

static void originate(unsigned i) {
    must(tun_layer_originate(&c.hop[2], &dice, cells[i], 1, 1045, &layers[i]) == CV_ERR_OK);
}

static void transit1(unsigned i) {
    must(tun_layer_transit(&c.hop[1], &dice, cells[i], layers[i], &layers[i]) == CV_ERR_OK);
}

static void transit0(unsigned i) {
    must(tun_layer_transit(&c.hop[0], &dice, cells[i], layers[i], &layers[i]) == CV_ERR_OK);
}

static void unwrap(unsigned i) {
    struct tun_inner inner;
    unsigned who;
    must(tun_onion_unwrap(&c.owner, 0, cells[i], layers[i], &who, &inner) == CV_ERR_OK);
}

static void header_seal(unsigned i) {
    struct tun_header h = {.index = 7, .sequence = i, .circuit = 5, .command = 1};
    tun_cell_seal(spare[i], &h, &key);
}

static void header_open(unsigned i) {
    struct tun_header h;
    must(tun_cell_open(spare[i], &key, &h));
}

static void control_seal(unsigned i) {
    struct tun_header h = {.index = 7, .sequence = i, .circuit = 5, .command = 2};
    tun_cell_seal_control(spare[i], &h, &key, 100);
}

static void control_open(unsigned i) {
    struct tun_header h;
    must(tun_cell_open(spare[i], &key, &h) && tun_cell_open_control(spare[i], &h, &key) == 100);
}

static const struct {
    const char *name;
    void (*step)(unsigned);
} steps[] = {
    {"owner wraps three hops", wrap},          {"relay forward step", forward},
    {"last hop originates", originate},        {"relay backward step (middle)", transit1},
    {"relay backward step (guard)", transit0}, {"owner unwraps three hops", unwrap},
    {"link header seal", header_seal},         {"link header open", header_open},
    {"control cell seal", control_seal},       {"control cell open", control_open},
};
enum { STEPS = sizeof steps / sizeof *steps };

static int order(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(uint8_t first) {
    static double us[STEPS][ROUNDS];
    circuit_pair_init_suite(&c, HOPS, 1, first);
    tun_dice_init(&pool, &c.rng);
    dice = tun_dice_rng(&pool);
    cv_rng_fill(&dice, &key, sizeof key);
    for (unsigned r = 0; r < ROUNDS; r++)
        for (unsigned s = 0; s < STEPS; s++) {
            double begin = now_us();
            for (unsigned i = 0; i < CELLS; i++)
                steps[s].step(i);
            us[s][r] = (now_us() - begin) / CELLS;
        }
    printf("suite %u with the first hop\n%-32s %8s %8s\n", first, "us per cell", "best", "median");
    for (unsigned s = 0; s < STEPS; s++) {
        qsort(us[s], ROUNDS, sizeof us[s][0], order);
        printf("%-32s %8.3f %8.3f\n", steps[s].name, us[s][0], us[s][ROUNDS / 2]);
    }
}

int main(void) {
    cv_crypto_init();
    measure(TUN_SUITE_CHACHA);
    measure(TUN_SUITE_AES);
    printf("this processor has AES: %s\n", cv_aes_is_fast() ? "yes" : "no");
    printf("one relayed circuit: %zu octets; owner: %zu\n", sizeof(struct tun_layer),
           sizeof(struct tun_onion));
    return 0;
}
