/* Hex with spaces, as test vectors are written, to octets. */
#ifndef CULVERT_TESTS_SUPPORT_HEX_H
#define CULVERT_TESTS_SUPPORT_HEX_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

static inline int cv_test_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Octets written; aborts on anything that is not pairs of digits and spaces. */
static inline size_t cv_test_unhex(const char *text, uint8_t *out, size_t cap) {
    size_t n = 0;
    while (*text) {
        if (*text == ' ' || *text == '\n') {
            text++;
            continue;
        }
        int hi = cv_test_digit(text[0]), lo = cv_test_digit(text[1]);
        assert(hi >= 0 && lo >= 0);
        assert(n < cap);
        out[n++] = (uint8_t)(hi * 16 + lo);
        text += 2;
    }
    return n;
}

#endif
