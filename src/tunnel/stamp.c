#include "tunnel/stamp.h"

#include "crypto/hash.h"

unsigned tun_stamp_effort(const uint8_t stamp[TUN_STAMP], const uint8_t service[CV_KEY],
                          uint32_t period, const void *flight, size_t len) {
    uint8_t p[4] = {(uint8_t)period, (uint8_t)(period >> 8), (uint8_t)(period >> 16),
                    (uint8_t)(period >> 24)};
    uint8_t inner[32], h[32];
    CV_BLAKE2B(inner, sizeof inner, NULL, 0, {flight, len});
    CV_BLAKE2B(h, sizeof h, NULL, 0, {service, CV_KEY}, {p, sizeof p}, {stamp, TUN_STAMP},
               {inner, sizeof inner});
    unsigned bits = 0;
    for (size_t i = 0; i < sizeof h; i++) {
        if (h[i] == 0) {
            bits += 8;
            continue;
        }
        bits += (unsigned)__builtin_clz(h[i]) - 24;
        break;
    }
    return bits > 255 ? 255 : bits;
}
