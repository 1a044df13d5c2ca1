/*
 * What is needed to make a relay the next hop: who it is, by which descriptor,
 * where, and with which keys. A copy of a few fields of a verified descriptor
 * (descriptor.h), so that nobody holds on to the directory's memory.
 */
#ifndef CULVERT_TUNNEL_RELAYREF_H
#define CULVERT_TUNNEL_RELAYREF_H

#include <stdint.h>

#include "base/endpoint.h"
#include "crypto/keys.h"

struct tun_relay_ref {
    uint8_t identity[CV_KEY];
    uint32_t day;
    uint8_t d[16];             /* BLAKE2b-128 of the descriptor */
    uint8_t link_key[CV_KEY];  /* X25519 */
    uint8_t onion_key[CV_KEY]; /* the newest valid now; owners only */
    uint8_t suites;            /* bits as in the descriptor */
    uint8_t version;           /* as in the descriptor; 0: TUN_VERSION */
    struct cv_addr addr[2];    /* family 0 = none */
};

#endif
