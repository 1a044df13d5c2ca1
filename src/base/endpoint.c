#include "base/endpoint.h"

#include <arpa/inet.h>

/* Leading bits that two octet strings share, at most 8 * len. */
static unsigned common_bits(const uint8_t *a, const uint8_t *b, unsigned len) {
    for (unsigned i = 0; i < len; i++) {
        uint8_t d = a[i] ^ b[i];
        if (d)
            return 8 * i + (unsigned)__builtin_clz(d) - 24;
    }
    return 8 * len;
}

struct prefix {
    uint8_t ip[4]; /* every prefix we need fits in 32 bits */
    uint8_t bits;
};

/* IANA IPv4 special-purpose registry: what is not globally routable unicast. */
static const struct prefix special4[] = {
    {{0}, 8},             /* "this network" */
    {{10}, 8},            /* private */
    {{100, 64}, 10},      /* shared by carrier-grade NAT */
    {{127}, 8},           /* loopback */
    {{169, 254}, 16},     /* link-local */
    {{172, 16}, 12},      /* private */
    {{192, 0, 0}, 24},    /* protocol assignments */
    {{192, 0, 2}, 24},    /* documentation */
    {{192, 88, 99}, 24},  /* 6to4 relay anycast, withdrawn */
    {{192, 168}, 16},     /* private */
    {{198, 18}, 15},      /* benchmarks */
    {{198, 51, 100}, 24}, /* documentation */
    {{203, 0, 113}, 24},  /* documentation */
    {{224}, 4},           /* multicast */
    {{240}, 4},           /* reserved, broadcast */
};

/* The same inside 2000::/3, the only part of IPv6 from which global unicast is
 * given out; v4-mapped, 64:ff9b::/96, fc00::/7, fe80::/10, ff00::/8, ::1 and
 * the unspecified address lie outside of it. */
static const struct prefix special6[] = {
    {{0x20, 0x01}, 23},             /* protocol assignments, among them Teredo 2001::/32 */
    {{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
    {{0x20, 0x02}, 16},             /* 6to4: an IPv4 address inside */
    {{0x3f, 0xff}, 20},             /* documentation */
};

static bool in_any(const uint8_t *ip, const struct prefix *table, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (common_bits(ip, table[i].ip, 4) >= table[i].bits)
            return true;
    return false;
}

bool cv_addr_is_loopback(const struct cv_addr *a) {
    static const uint8_t one[16] = {[15] = 1};
    if (a->family == 4)
        return a->ip[0] == 127;
    return a->family == 6 && memcmp(a->ip, one, 16) == 0;
}

bool cv_addr_is_public(const struct cv_addr *a) {
    if (a->port == 0)
        return false;
    if (a->family == 4)
        return !in_any(a->ip, special4, sizeof special4 / sizeof *special4);
    return a->family == 6 && a->ip[0] >> 5 == 1 &&
           !in_any(a->ip, special6, sizeof special6 / sizeof *special6);
}

unsigned cv_addr_common_bits(const struct cv_addr *a, const struct cv_addr *b) {
    if (a->family != b->family || a->family == 0)
        return 0;
    return common_bits(a->ip, b->ip, a->family == 4 ? 4 : 16);
}

struct cv_addr cv_addr_network(const struct cv_addr *a, unsigned bits4, unsigned bits6) {
    struct cv_addr net;
    memset(&net, 0, sizeof net);
    net.family = a->family;
    unsigned len = a->family == 4 ? 4 : 16, bits = a->family == 4 ? bits4 : bits6;
    for (unsigned i = 0; i < len && bits > 0; i++) {
        unsigned take = bits < 8 ? bits : 8;
        net.ip[i] = (uint8_t)(a->ip[i] & (0xff00u >> take));
        bits -= take;
    }
    return net;
}

const char *cv_addr_text(const struct cv_addr *a, char out[CV_ADDR_TEXT]) {
    char *p = out;
    if (a->family != 4 && a->family != 6)
        return memcpy(out, "none", 5);
    if (a->family == 6)
        *p++ = '[';
    inet_ntop(a->family == 4 ? AF_INET : AF_INET6, a->ip, p, CV_ADDR_TEXT - 8);
    p += strlen(p);
    if (a->family == 6)
        *p++ = ']';
    *p++ = ':';

    char digits[5];
    unsigned n = 0, port = a->port;
    do
        digits[n++] = (char)('0' + port % 10);
    while (port /= 10);
    while (n > 0)
        *p++ = digits[--n];
    *p = '\0';
    return out;
}

/* 0..65535 in decimal, nothing before or behind; -1 for anything else. */
static int parse_port(const char *text) {
    int port = 0, n = 0;
    for (; text[n]; n++) {
        if (text[n] < '0' || text[n] > '9' || n == 5)
            return -1;
        port = port * 10 + (text[n] - '0');
    }
    if (n == 0 || (n > 1 && text[0] == '0') || port > 65535)
        return -1;
    return port;
}

enum cv_err cv_addr_parse(const char *text, struct cv_addr *ret) {
    bool v6 = text[0] == '[';
    const char *ip = v6 ? text + 1 : text;
    const char *end = v6 ? strchr(ip, ']') : strchr(ip, ':');
    char copy[INET6_ADDRSTRLEN];
    if (!end || (size_t)(end - ip) >= sizeof copy || (v6 && end[1] != ':'))
        return CV_ERR_MALFORMED;
    memcpy(copy, ip, (size_t)(end - ip));
    copy[end - ip] = '\0';

    struct cv_addr a;
    memset(&a, 0, sizeof a);
    int port = parse_port(v6 ? end + 2 : end + 1);
    if (port < 0 || inet_pton(v6 ? AF_INET6 : AF_INET, copy, a.ip) != 1)
        return CV_ERR_MALFORMED;
    a.family = v6 ? 6 : 4;
    a.port = (uint16_t)port;
    *ret = a;
    return CV_ERR_OK;
}
