/*
 * Text to octets and back: addresses, hexadecimal, base32 (base/text.h,
 * base/endpoint.h). Input: one octet that chooses, then the text.
 * Property: what is accepted is written again as a text that reads as the
 * same value; what is refused leaves the result untouched.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/endpoint.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_MAX 200

static void address(const char *text) {
    struct cv_addr got, again, untouched;
    memset(&got, 0xee, sizeof got);
    memset(&untouched, 0xee, sizeof untouched);
    if (cv_addr_parse(text, &got) != CV_ERR_OK) {
        assert(memcmp(&got, &untouched, sizeof got) == 0);
        return;
    }
    char written[CV_ADDR_TEXT];
    assert(cv_addr_parse(cv_addr_text(&got, written), &again) == CV_ERR_OK);
    assert(cv_addr_equal(&got, &again));
    assert(!(cv_addr_is_public(&got) && cv_addr_is_loopback(&got)));
    struct cv_addr net = cv_addr_network(&got, 24, 56);
    assert(cv_addr_common_bits(&net, &got) >= (got.family == 4 ? 24 : 56));
}

static void hexadecimal(const char *text, size_t len) {
    uint8_t octets[TEXT_MAX / 2];
    char written[TEXT_MAX + 1];
    if (cv_unhex(text, octets, len / 2) != CV_ERR_OK)
        return;
    uint8_t again[TEXT_MAX / 2];
    assert(cv_unhex(cv_hex(octets, len / 2, written), again, len / 2) == CV_ERR_OK);
    assert(memcmp(octets, again, len / 2) == 0);
}

static void base32(const char *text, size_t len) {
    uint8_t octets[TEXT_MAX];
    char written[CV_BASE32_LEN(TEXT_MAX) + 1];
    ssize_t n = cv_unbase32(text, len, octets, sizeof octets);
    if (n < 0)
        return;
    cv_base32(octets, (size_t)n, written);
    assert(strlen(written) == len);
    assert(memcmp(written, text, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char text[TEXT_MAX + 1];
    if (size < 1 || size > TEXT_MAX)
        return 0;
    size_t len = size - 1;
    memcpy(text, data + 1, len);
    text[len] = '\0';

    switch (data[0] & 3) {
    case 0:
        address(text);
        break;
    case 1:
        hexadecimal(text, len);
        break;
    default:
        base32(text, len);
        break;
    }
    return 0;
}
