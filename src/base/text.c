#include "base/text.h"

#include <string.h>

char *cv_hex(const void *data, size_t len, char *out) {
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = "0123456789abcdef"[p[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[p[i] & 15];
    }
    out[2 * len] = '\0';
    return out;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

enum cv_err cv_unhex(const char *text, void *ret, size_t len) {
    /* Two passes, so that ret is untouched on failure. */
    for (size_t i = 0; i < 2 * len; i++)
        if (hex_digit(text[i]) < 0)
            return CV_ERR_MALFORMED;
    if (text[2 * len] != '\0')
        return CV_ERR_MALFORMED;
    uint8_t *out = ret;
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    return CV_ERR_OK;
}

static const char base32_digits[] = "abcdefghijklmnopqrstuvwxyz234567";

char *cv_base32(const void *data, size_t len, char *out) {
    const uint8_t *p = data;
    char *o = out;
    uint32_t acc = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < len; i++) {
        acc = acc << 8 | p[i];
        for (bits += 8; bits >= 5; bits -= 5)
            *o++ = base32_digits[acc >> (bits - 5) & 31];
    }
    if (bits)
        *o++ = base32_digits[acc << (5 - bits) & 31];
    *o = '\0';
    return out;
}

static int base32_digit(char c) {
    if (c >= 'a' && c <= 'z')
        return c - 'a';
    return c >= '2' && c <= '7' ? c - '2' + 26 : -1;
}

ssize_t cv_unbase32(const char *text, size_t n, void *ret, size_t cap) {
    size_t len = n / 8 * 5 + n % 8 * 5 / 8;
    if (CV_BASE32_LEN(len) != n) /* 1, 3 or 6 characters left over encode nothing */
        return CV_ERR_MALFORMED;
    uint32_t leftover = 0;
    for (size_t i = 0; i < n; i++) {
        int d = base32_digit(text[i]);
        if (d < 0)
            return CV_ERR_MALFORMED;
        leftover = (uint32_t)d;
    }
    if (leftover & ((1u << (5 * n - 8 * len)) - 1))
        return CV_ERR_MALFORMED;
    if (len > cap)
        return CV_ERR_NOBUFS;

    uint8_t *out = ret;
    uint32_t acc = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < n; i++) {
        acc = acc << 5 | (uint32_t)base32_digit(text[i]);
        bits += 5;
        if (bits >= 8) {
            bits -= 8;
            *out++ = (uint8_t)(acc >> bits);
        }
    }
    return (ssize_t)len;
}
