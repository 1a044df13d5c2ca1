#include "gateway/sniff.h"

#include <stdbool.h>
#include <string.h>

/* clang-format off */
static const struct {
    size_t offset;
    const char *magic;
    size_t len;
    const char *type;
} kinds[] = {
    { 4, "ftypqt", 6,               "video/quicktime" },
    { 4, "ftypM4A", 7,              "audio/mp4" },
    { 4, "ftyp", 4,                 "video/mp4" },
    { 4, "moov", 4,                 "video/mp4" },
    { 0, "OggS", 4,                 "video/ogg" },
    { 0, "WEBVTT", 6,               "text/vtt" },
    { 0, "FLV\1", 4,                "video/x-flv" },
    { 0, "ID3", 3,                  "audio/mpeg" },
    { 0, "fLaC", 4,                 "audio/flac" },
    { 0, "\x89PNG\r\n\x1a\n", 8,    "image/png" },
    { 0, "\xff\xd8\xff", 3,         "image/jpeg" },
    { 8, "AVI ", 4,                 "video/x-msvideo" },
    { 8, "WAVE", 4,                 "audio/wav" },
};
/* clang-format on */

static bool at(const uint8_t *head, size_t len, size_t offset, const char *magic, size_t n) {
    return len >= offset + n && memcmp(head + offset, magic, n) == 0;
}

/* EBML: WebM says so in its DocType, everything else is Matroska. */
static const char *ebml(const uint8_t *head, size_t len) {
    for (size_t i = 4; i + 4 <= len && i < 64; i++)
        if (memcmp(head + i, "webm", 4) == 0)
            return "video/webm";
    return "video/x-matroska";
}

/* MPEG-TS: a sync octet every 188. */
static bool is_ts(const uint8_t *head, size_t len) {
    return len > 376 && head[0] == 0x47 && head[188] == 0x47 && head[376] == 0x47;
}

const char *gw_sniff(const uint8_t *head, size_t len) {
    if (at(head, len, 0, "\x1a\x45\xdf\xa3", 4))
        return ebml(head, len);
    if (is_ts(head, len))
        return "video/mp2t";
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (at(head, len, kinds[i].offset, kinds[i].magic, kinds[i].len))
            return kinds[i].type;
    return "application/octet-stream";
}
