#include "node/exitpart.h"

#include <assert.h>
#include <string.h>

/* The part octet: number << 2 | which. A whole datagram has the number 0. */
enum { WHOLE = 0, FIRST = 1, SECOND = 2, NUMBERS = 64 };

static void put(struct exit_cell *c, unsigned part, const uint8_t *buf, size_t len) {
    c->len = 1 + len;
    c->octets[0] = (uint8_t)part;
    memcpy(c->octets + 1, buf, len);
}

unsigned exit_part_write(uint8_t number, const uint8_t *buf, size_t len, struct exit_cell ret[2]) {
    assert(len > 0);
    assert(len <= NODE_EXIT_DATAGRAM_MAX);
    if (len < TUN_EXIT_BACKWARD) {
        put(&ret[0], WHOLE, buf, len);
        return 1;
    }
    unsigned tag = (number % NUMBERS) << 2;
    size_t first = TUN_EXIT_BACKWARD - 1;
    put(&ret[0], tag | FIRST, buf, first);
    put(&ret[1], tag | SECOND, buf + first, len - first);
    return 2;
}
static_assert(NODE_EXIT_DATAGRAM_MAX <= 2 * (TUN_EXIT_BACKWARD - 1), "two halves are enough");

const uint8_t *exit_part_read(struct exit_join *j, const uint8_t *cell, size_t len,
                              size_t *ret_len) {
    if (len < 2)
        return NULL;
    const uint8_t *body = cell + 1;
    size_t size = len - 1;
    uint8_t number = cell[0] >> 2;
    switch (cell[0] & 3) {
    case WHOLE:
        if (number || size > NODE_EXIT_DATAGRAM_MAX)
            return NULL;
        *ret_len = size;
        return body;
    case FIRST:
        j->len = 0;
        if (size <= NODE_EXIT_DATAGRAM_MAX) {
            j->number = number;
            j->len = (uint16_t)size;
            memcpy(j->octets, body, size);
        }
        return NULL;
    case SECOND:
        if (!j->len || j->number != number || j->len + size > NODE_EXIT_DATAGRAM_MAX) {
            j->len = 0; /* whose first half got lost */
            return NULL;
        }
        memcpy(j->octets + j->len, body, size);
        *ret_len = j->len + size;
        j->len = 0;
        return j->octets;
    default:
        return NULL;
    }
}
