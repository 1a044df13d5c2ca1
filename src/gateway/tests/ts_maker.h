/* Makes a transport stream packet by packet, for tests. */
#ifndef CULVERT_GATEWAY_TESTS_TS_MAKER_H
#define CULVERT_GATEWAY_TESTS_TS_MAKER_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "gateway/ts.h"

enum { TS_MAP = 0x100, TS_VIDEO = 0x101, TS_AUDIO = 0x102, TS_MAKER_MAX = 256 };

struct ts_maker {
    uint8_t data[TS_MAKER_MAX * GW_TS_PACKET];
    size_t len;
};

/* One packet that begins something, filled up with `rest` octets of 0xff. */
static inline uint8_t *ts_packet(struct ts_maker *m, uint16_t pid, bool random) {
    uint8_t *p = m->data + m->len;
    m->len += GW_TS_PACKET;
    memset(p, 0xff, GW_TS_PACKET);
    p[0] = 0x47;
    p[1] = (uint8_t)(0x40 | pid >> 8);
    p[2] = (uint8_t)pid;
    p[3] = 0x30;
    p[4] = 1;
    p[5] = random ? 0x40 : 0;
    return p + 6;
}

static inline void ts_association(struct ts_maker *m) {
    static const uint8_t table[] = {0,    0x00, 0xb0, 17, 0,    1, 0xc1, 0, 0, 0, 0,
                                    0xe0, 0x10, 0,    1,  0xe1, 0, 0,    0, 0, 0};
    memcpy(ts_packet(m, 0, false), table, sizeof table);
}

/* Of one or two streams; type 0: none. */
static inline void ts_map(struct ts_maker *m, uint8_t first, uint8_t second) {
    uint8_t *p = ts_packet(m, TS_MAP, false);
    const uint8_t streams = second ? 2 : 1;
    const uint8_t head[] = {0, 0x02, 0xb0, (uint8_t)(13 + 5 * streams), 0, 1, 0xc1, 0, 0, 0xe1,
                            1, 0xf0, 0};
    memcpy(p, head, sizeof head);
    p += sizeof head;
    const uint8_t rows[] = {first,  0xe1, TS_VIDEO & 0xff, 0xf0, 0,
                            second, 0xe1, TS_AUDIO & 0xff, 0xf0, 0};
    memcpy(p, rows, 5u * streams);
    memset(p + 5 * streams, 0, 4);
}

/* A picture's first packet; its body begins with `code`. */
static inline void ts_picture(struct ts_maker *m, uint16_t pid, uint64_t time, bool random,
                              const uint8_t *code, size_t len) {
    uint8_t *p = ts_packet(m, pid, random);
    const uint8_t head[] = {0,
                            0,
                            1,
                            0xe0,
                            0,
                            0,
                            0x80,
                            0x80,
                            5,
                            (uint8_t)(0x21 | (time >> 29 & 0x0e)),
                            (uint8_t)(time >> 22),
                            (uint8_t)(time >> 14 | 1),
                            (uint8_t)(time >> 7),
                            (uint8_t)(time << 1 | 1)};
    memcpy(p, head, sizeof head);
    if (len)
        memcpy(p + sizeof head, code, len);
}

/* A packet that goes on with what another one began. */
static inline void ts_more(struct ts_maker *m, uint16_t pid) {
    uint8_t *p = ts_packet(m, pid, false) - 6;
    p[1] = (uint8_t)(pid >> 8);
    p[3] = 0x10;
}

#endif
