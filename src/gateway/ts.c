#include "gateway/ts.h"

#include <string.h>

enum {
    SYNC = 0x47,
    NULL_PID = 0x1fff,
    TABLE_PAT = 0,
    TABLE_PMT = 2,
    PROGRAM_ROW = 4,
    STREAM_ROW = 5,
    CRC = 4,
    H264 = 0x1b,
    HEVC = 0x24,
};

static const uint8_t video_types[] = {0x01, 0x02, 0x10, H264, HEVC, 0x33};
static const uint8_t audio_types[] = {0x03, 0x04, 0x0f, 0x11, 0x81};

static bool any_of(uint8_t type, const uint8_t *list, size_t n) {
    return memchr(list, type, n) != NULL;
}

static uint16_t pid_at(const uint8_t *p) {
    return (uint16_t)((p[0] & 0x1f) << 8 | p[1]);
}

void gw_ts_begin(struct gw_ts *t, uint64_t at) {
    t->at = at;
    t->filled = 0;
    t->synced = false;
    t->data = NULL;
    t->len = 0;
}

void gw_ts_feed(struct gw_ts *t, const uint8_t *data, size_t len) {
    t->data = data;
    t->len = len;
}

/* ---- tables ---- */

/* The section in a packet's payload that begins one, when all of it is there: tables of
 * one program fit a packet. */
static const uint8_t *section(const uint8_t *payload, size_t len, uint8_t id, size_t *ret_len) {
    size_t skip = len ? (size_t)payload[0] + 1 : 1;
    if (skip + 3 > len || payload[skip] != id)
        return NULL;
    const uint8_t *s = payload + skip;
    size_t n = 3 + (size_t)((s[1] & 0x0f) << 8 | s[2]);
    if (n > len - skip || n < 8 + CRC || !(s[5] & 1)) /* not in force yet */
        return NULL;
    *ret_len = n - CRC;
    return s;
}

static void keep(struct gw_ts *t, size_t which, const uint8_t *packet) {
    memcpy(t->tables + which * GW_TS_PACKET, packet, GW_TS_PACKET);
}

static void read_association(struct gw_ts *t, const uint8_t *packet, const uint8_t *payload,
                             size_t len) {
    size_t n;
    const uint8_t *s = section(payload, len, TABLE_PAT, &n);
    for (size_t i = 8; s && i + PROGRAM_ROW <= n; i += PROGRAM_ROW) {
        uint16_t map = pid_at(s + i + 2);
        if ((s[i] | s[i + 1]) == 0 || map == 0 || map == NULL_PID) /* 0: the network's */
            continue;
        if (map != t->map_pid) {
            t->have_tables = false;
            t->pid = 0;
        }
        t->map_pid = map;
        keep(t, 0, packet);
        return;
    }
}

static void follow(struct gw_ts *t, uint16_t pid, uint8_t type, bool video) {
    t->pid = pid;
    t->codec = type;
    t->video = video;
}

static void read_map(struct gw_ts *t, const uint8_t *packet, const uint8_t *payload, size_t len) {
    size_t n;
    const uint8_t *s = section(payload, len, TABLE_PMT, &n);
    if (!s || n < 12)
        return;
    size_t step, i = 12 + (size_t)((s[10] & 0x0f) << 8 | s[11]);
    bool found = false;
    for (; i + STREAM_ROW <= n; i += STREAM_ROW + step) {
        uint8_t type = s[i];
        uint16_t pid = pid_at(s + i + 1);
        step = (size_t)((s[i + 3] & 0x0f) << 8 | s[i + 4]);
        bool video = any_of(type, video_types, sizeof video_types);
        bool audio = any_of(type, audio_types, sizeof audio_types);
        if (pid == 0 || pid == NULL_PID || pid == t->map_pid)
            continue;
        if (video || (audio && !found))
            follow(t, pid, type, video);
        found |= video || audio;
        if (video)
            break;
    }
    if (found) {
        keep(t, 1, packet);
        t->have_tables = true;
    }
}

/* ---- pictures ---- */

/* A start code of H.264 or HEVC that only a key frame has, near the beginning. */
static bool begins_key(uint8_t codec, const uint8_t *p, size_t len) {
    for (size_t i = 0; i + 3 < len; i++) {
        if (p[i] != 0 || p[i + 1] != 0 || p[i + 2] != 1)
            continue;
        uint8_t type = codec == H264 ? p[i + 3] & 0x1f : (p[i + 3] >> 1) & 0x3f;
        if (codec == H264 ? type == 5 || type == 7 : (type >= 16 && type <= 21) || type == 32)
            return true;
    }
    return false;
}

/* The head of a packetised elementary stream's packet, as far as it is in this one. */
static bool read_picture(const struct gw_ts *t, const uint8_t *p, size_t len, bool random,
                         struct gw_ts_point *ret) {
    enum { HEAD = 9, TIME = 5 };
    if (len < HEAD + TIME || p[0] != 0 || p[1] != 0 || p[2] != 1 || !(p[7] & 0x80))
        return false;
    const uint8_t *s = p + HEAD;
    ret->time = (uint64_t)(s[0] >> 1 & 7) << 30 | (uint64_t)s[1] << 22 |
                (uint64_t)(s[2] >> 1) << 15 | (uint64_t)s[3] << 7 | s[4] >> 1;
    size_t body = HEAD + (size_t)p[8];
    bool coded = (t->codec == H264 || t->codec == HEVC) && body < len;
    ret->key = !t->video || random || (coded && begins_key(t->codec, p + body, len - body));
    return true;
}

/* One packet; true when a picture that we follow begins in it. */
static bool read_packet(struct gw_ts *t, struct gw_ts_point *ret) {
    const uint8_t *p = t->packet;
    uint16_t pid = pid_at(p + 1);
    bool start = p[1] & 0x40, broken = p[1] & 0x80, adapted = p[3] & 0x20, filled = p[3] & 0x10;
    size_t skip = 4;
    bool random = false;
    if (adapted) {
        skip = 5 + (size_t)p[4];
        random = p[4] && p[5] & 0x40;
    }
    if (broken || !filled || !start || skip >= GW_TS_PACKET)
        return false;
    const uint8_t *payload = p + skip;
    size_t len = GW_TS_PACKET - skip;
    if (pid == 0)
        read_association(t, p, payload, len);
    else if (pid == t->map_pid)
        read_map(t, p, payload, len);
    else if (pid == t->pid && t->have_tables)
        return read_picture(t, payload, len, random, ret);
    return false;
}

/* ---- packets ---- */

/* A 0x47 that begins no packet is one inside of one: the next is looked for in it. */
static void look_again(struct gw_ts *t) {
    const uint8_t *next = memchr(t->packet + 1, SYNC, t->filled - 1);
    size_t n = next ? (size_t)(t->packet + t->filled - next) : 0;
    if (n)
        memmove(t->packet, next, n);
    t->filled = n;
}

static size_t add(struct gw_ts *t, size_t n) {
    n = n < t->len ? n : t->len;
    if (n)
        memcpy(t->packet + t->filled, t->data, n);
    t->filled += n;
    t->data += n;
    t->len -= n;
    t->at += n;
    return n;
}

static void skip_to_sync(struct gw_ts *t) {
    const uint8_t *next = t->len ? memchr(t->data, SYNC, t->len) : NULL;
    size_t n = next ? (size_t)(next - t->data) : t->len;
    t->synced &= n == 0;
    t->data += n;
    t->len -= n;
    t->at += n;
}

/* Until a packet is whole. The first one counts when another one follows it. */
static bool take_packet(struct gw_ts *t) {
    while (t->len || t->filled == GW_TS_PACKET) {
        if (t->filled == 0)
            skip_to_sync(t);
        add(t, GW_TS_PACKET - t->filled);
        if (t->filled < GW_TS_PACKET || (!t->synced && !t->len))
            return false;
        if (t->synced || *t->data == SYNC)
            return true;
        look_again(t);
    }
    return false;
}

bool gw_ts_next(struct gw_ts *t, struct gw_ts_point *ret) {
    struct gw_ts_point point;
    while (take_packet(t)) {
        t->synced = true;
        t->filled = 0;
        if (!read_packet(t, &point))
            continue;
        point.at = t->at - GW_TS_PACKET;
        *ret = point;
        return true;
    }
    return false;
}
