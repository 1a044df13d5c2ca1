/*
 * Where a player can begin in an MPEG transport stream (ISO/IEC 13818-1): a parser of
 * packets, program association and map tables and packet headers of one program,
 * which tells every picture's place and time and whether it is a key frame. It reads
 * what strangers broadcast, so everything in it may be wrong: what does not fit is
 * skipped, and packets are found again by their rhythm.
 *
 *     gw_ts_feed(octets)     any pieces, in order
 *     gw_ts_next(point)      pictures that began in them; until false
 *
 * Of several programs the first in the table counts; of a program its first video
 * stream, or, without one, its first audio stream, whose every frame is a key frame.
 * Pure; constant memory.
 */
#ifndef CULVERT_GATEWAY_TS_H
#define CULVERT_GATEWAY_TS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    GW_TS_PACKET = 188,
    GW_TS_CLOCK = 90000, /* of time stamps, a second */
    GW_TS_TABLES = 2 * GW_TS_PACKET,
};

/* Time stamps have 33 bits and begin again after 26.5 hours. */
#define GW_TS_WRAP (UINT64_C(1) << 33)

struct gw_ts_point {
    uint64_t at;   /* octet of the packet in which it begins */
    uint64_t time; /* when it is shown; below GW_TS_WRAP */
    bool key;      /* decodes without those before it */
};

struct gw_ts {
    uint64_t at; /* of the next octet to be fed */
    uint8_t packet[GW_TS_PACKET];
    size_t filled;
    bool synced;
    uint16_t map_pid, pid; /* of the map, of the stream we follow; 0: not known */
    bool video;
    uint8_t codec; /* its stream type */
    bool have_tables;
    uint8_t tables[GW_TS_TABLES]; /* the newest association and map, a packet each */
    const uint8_t *data;          /* what is left of the piece fed */
    size_t len;
};

/* Begins, also anew: the next octet fed is octet `at` of the stream. Tables that were
 * read are kept: they say what is behind a hole, too. */
void gw_ts_begin(struct gw_ts *t, uint64_t at);

/* The piece is borrowed until gw_ts_next() has said false. */
void gw_ts_feed(struct gw_ts *t, const uint8_t *data, size_t len);
bool gw_ts_next(struct gw_ts *t, struct gw_ts_point *ret);

#endif
