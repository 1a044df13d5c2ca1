#include "tunnel/capacity.h"

#include <stdlib.h>

/* 2^(i/8) in parts of 1024. */
static const uint16_t eighths[8] = {1024, 1117, 1218, 1328, 1448, 1579, 1722, 1878};

uint32_t tun_capacity_kib(uint8_t code) {
    if (code == 0)
        return 0;
    unsigned octave = (code - 1u) / 8;
    uint64_t kib = octave > 31 ? UINT32_MAX : ((uint64_t)eighths[(code - 1u) % 8] << octave) >> 10;
    return kib < TUN_CAPACITY_MAX ? (uint32_t)kib : TUN_CAPACITY_MAX;
}

uint8_t tun_capacity_code(uint32_t kib_s) {
    uint8_t code = 0;
    while (tun_capacity_kib(code) < TUN_CAPACITY_MAX &&
           tun_capacity_kib((uint8_t)(code + 1)) <= kib_s)
        code++;
    return code;
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

uint32_t tun_capacity_median(uint32_t *values, size_t n) {
    qsort(values, n, sizeof *values, by_value);
    return values[(n - 1) / 2];
}

uint32_t tun_capacity_of_train(unsigned n, uint64_t took_usec) {
    uint64_t octets = (uint64_t)(n > 0 ? n - 1 : 0) * TUN_DATAGRAM;
    uint64_t kib = took_usec ? octets * 1000000 / 1024 / took_usec : TUN_CAPACITY_MAX;
    return kib < TUN_CAPACITY_MAX ? (uint32_t)kib : TUN_CAPACITY_MAX;
}
