/*
 * What stands behind the flow of an EXIT cell (docs/protocol/tunnel.md, section 11):
 * a part octet and a datagram or half of one; nothing at all says that the flow is
 * over. A peer of a direct swarm does not know that its datagrams go through cells,
 * and sends larger ones than a cell takes: those come in two halves.
 */
#ifndef CULVERT_NODE_EXITPART_H
#define CULVERT_NODE_EXITPART_H

#include <stddef.h>
#include <stdint.h>

#include "node/limits.h"
#include "tunnel/tunnel.h"

/* Octets of a datagram towards the exit: never in halves. */
#define EXIT_MTU_FORWARD (TUN_EXIT_FORWARD - 1)

/* One cell's octets; there are one or two for a datagram of up to
 * NODE_EXIT_DATAGRAM_MAX octets. */
struct exit_cell {
    size_t len;
    uint8_t octets[TUN_EXIT_BACKWARD];
};

/* Fills one or two, and says how many. `number` tells the halves of one datagram from
 * those of another: give another one each time. */
unsigned exit_part_write(uint8_t number, const uint8_t *buf, size_t len, struct exit_cell ret[2]);

/* First halves that wait for their second; of one flow. Zeros: none. */
struct exit_join {
    uint8_t number;
    uint16_t len; /* 0: none */
    uint8_t octets[NODE_EXIT_DATAGRAM_MAX];
};

/* The datagram that a cell completes, or NULL; borrowed from the cell or from *j, until
 * the next call. */
const uint8_t *exit_part_read(struct exit_join *j, const uint8_t *cell, size_t len,
                              size_t *ret_len);

#endif
