/*
 * Work stamps: what an introduction must show when a seeder asks for effort
 * (docs/protocol/tunnel.md). The effort of a stamp is the number of leading
 * zero bits of BLAKE2b-256(service key | p | stamp | BLAKE2b-256(flight)).
 * Contacts ask for 0 until seeders are known to be flooded.
 */
#ifndef CULVERT_TUNNEL_STAMP_H
#define CULVERT_TUNNEL_STAMP_H

#include <stddef.h>
#include <stdint.h>

#include "crypto/keys.h"

#define TUN_STAMP 16

/* 0..255 */
unsigned tun_stamp_effort(const uint8_t stamp[TUN_STAMP], const uint8_t service[CV_KEY],
                          uint32_t period, const void *flight, size_t len);

#endif
