/*
 * Content type by the first octets, not by the name: a name is what a stranger
 * claims.
 */
#ifndef CULVERT_GATEWAY_SNIFF_H
#define CULVERT_GATEWAY_SNIFF_H

#include <stddef.h>
#include <stdint.h>

enum { GW_SNIFF_OCTETS = 512 }; /* more is never looked at */

/* Static string; "application/octet-stream" when nothing is recognised. Never a
 * type that a browser would run. */
const char *gw_sniff(const uint8_t *head, size_t len);

#endif
