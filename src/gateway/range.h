/*
 * The Range header of HTTP (RFC 9110 section 14) for one file of known length.
 */
#ifndef CULVERT_GATEWAY_RANGE_H
#define CULVERT_GATEWAY_RANGE_H

#include <stdint.h>

enum gw_range {
    GW_RANGE_WHOLE,         /* no range, or one we may ignore: 200 */
    GW_RANGE_PART,          /* 206 */
    GW_RANGE_UNSATISFIABLE, /* 416 */
};

/*
 * `header` is the value of Range or NULL, `length` > 0 the file's length. For
 * PART, *ret_first..*ret_last are the octets to send, inclusive, last < length.
 * Several ranges are answered as the whole file and a malformed header is
 * ignored, as the RFC allows.
 */
enum gw_range gw_range_parse(const char *header, uint64_t length, uint64_t *ret_first,
                             uint64_t *ret_last);

#endif
