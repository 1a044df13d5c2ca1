#include "dht/nodeid.h"

#include <assert.h>

int dht_id_closer(const struct dht_id *target, const struct dht_id *a, const struct dht_id *b) {
    for (size_t i = 0; i < DHT_ID; i++) {
        int da = a->b[i] ^ target->b[i], db = b->b[i] ^ target->b[i];
        if (da != db)
            return da - db;
    }
    return 0;
}

unsigned dht_id_common_bits(const struct dht_id *a, const struct dht_id *b) {
    for (unsigned i = 0; i < DHT_ID; i++) {
        unsigned x = a->b[i] ^ b->b[i];
        if (x)
            return i * 8 + (unsigned)__builtin_clz(x) - 24;
    }
    return DHT_ID * 8;
}

struct dht_id dht_id_random(const struct cv_rng *rng) {
    struct dht_id id = {{0}};
    cv_rng_fill(rng, id.b, sizeof id.b);
    return id;
}

struct dht_id dht_id_random_at(const struct dht_id *near, unsigned bits, const struct cv_rng *rng) {
    assert(bits <= DHT_ID * 8);
    struct dht_id id = dht_id_random(rng);
    memcpy(id.b, near->b, bits / 8);
    if (bits == DHT_ID * 8)
        return id;
    /* In octet bits/8: the first bits%8 are shared, the next one differs. */
    unsigned i = bits / 8, rest = bits % 8;
    uint8_t shared = (uint8_t)(0xff00u >> rest), flip = (uint8_t)(0x80u >> rest);
    id.b[i] = (uint8_t)((near->b[i] & shared) | (~near->b[i] & flip) |
                        (id.b[i] & (uint8_t) ~(shared | flip)));
    return id;
}

uint32_t dht_crc32c(const void *data, size_t len) {
    const uint8_t *p = data;
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

/* The hash whose first 21 bits an id must have; `r` is 0..7. */
static uint32_t address_hash(const struct cv_addr *addr, uint8_t r) {
    static const uint8_t mask4[] = {0x03, 0x0f, 0x3f, 0xff};
    static const uint8_t mask6[] = {0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff};
    const uint8_t *mask = addr->family == 4 ? mask4 : mask6;
    size_t n = addr->family == 4 ? sizeof mask4 : sizeof mask6;
    uint8_t ip[8];
    for (size_t i = 0; i < n; i++)
        ip[i] = addr->ip[i] & mask[i];
    ip[0] |= (uint8_t)(r << 5);
    return dht_crc32c(ip, n);
}

struct dht_id dht_id_for_address(const struct cv_addr *addr, const struct cv_rng *rng) {
    struct dht_id id = dht_id_random(rng);
    uint32_t crc = address_hash(addr, id.b[DHT_ID - 1] & 7);
    id.b[0] = (uint8_t)(crc >> 24);
    id.b[1] = (uint8_t)(crc >> 16);
    id.b[2] = (uint8_t)((crc >> 8 & 0xf8) | (id.b[2] & 7u));
    return id;
}

bool dht_address_is_exempt(const struct cv_addr *addr) {
    const uint8_t *ip = addr->ip;
    if (addr->family == 4)
        return ip[0] == 10 || ip[0] == 127 || (ip[0] == 172 && (ip[1] & 0xf0) == 16) ||
               (ip[0] == 192 && ip[1] == 168) || (ip[0] == 169 && ip[1] == 254);
    return cv_addr_is_loopback(addr) || (ip[0] & 0xfe) == 0xfc ||
           (ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80);
}

bool dht_id_fits_address(const struct dht_id *id, const struct cv_addr *addr) {
    if (dht_address_is_exempt(addr))
        return true;
    uint32_t crc = address_hash(addr, id->b[DHT_ID - 1] & 7);
    uint32_t have = (uint32_t)id->b[0] << 24 | (uint32_t)id->b[1] << 16 | (uint32_t)id->b[2] << 8;
    return ((crc ^ have) & 0xfffff800) == 0;
}
