/*
 * SubRip subtitles (.srt) as WebVTT, which is what browsers read. Text in another
 * encoding than UTF-8 is taken for Latin 1; what is no subtitle gives a file without any.
 * Pure.
 */
#ifndef CULVERT_GATEWAY_SUBTITLE_H
#define CULVERT_GATEWAY_SUBTITLE_H

#include <stddef.h>
#include <stdint.h>

enum { GW_SUBTITLE_MAX = 4 << 20 }; /* octets of a file that is converted */

/* free() it; NULL: out of memory. */
char *gw_subtitle_vtt(const uint8_t *srt, size_t len, size_t *ret_len);

#endif
