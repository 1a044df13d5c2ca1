/*
 * Where the index of an MP4 file is (ISO/IEC 14496-12: the box `moov`), and a copy that
 * has it in front. A player begins with the index: at the end of a file it costs another
 * way there and back before the first picture, and who downloads in order waits for all.
 *
 * What a file says of itself may be wrong: what does not fit is "no MP4" or MALFORMED.
 */
#ifndef CULVERT_IO_MP4_H
#define CULVERT_IO_MP4_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "io/why.h"

enum io_mp4_index {
    IO_MP4_NONE,  /* no MP4 file, or one without an index */
    IO_MP4_FRONT, /* before the pictures */
    IO_MP4_END,
};

enum {
    IO_MP4_INDEX_MAX = 64 << 20, /* octets of an index */
    IO_MP4_SPARE = 64 << 20,     /* octets of the disk that a copy leaves free */
    IO_MP4_BOXES_MAX = 4096,     /* at the top of a file that is looked through */
};

/* Cheap: reads the heads of the boxes at the top. */
enum io_mp4_index io_mp4_where(const char *path);

/*
 * Writes `from`, whose index is at the end, to the new file `to` with the index in front
 * and nothing else changed. `to` appears when it is whole. MALFORMED: the index cannot be
 * understood; LIMIT: it is too large, or says places in 32 bits that they do not fit after
 * the move; EXIST, or another error of the file system; *why has one line. FULL: the disk has no
 * room for it, nothing was copied. CLOSED: *stop was set, by another thread, before the copy
 * was whole. Nothing is left of a copy that failed.
 */
enum cv_err io_mp4_faststart(const char *from, const char *to, const atomic_bool *stop,
                             struct io_why *why);

/* How many seconds the film has that begins with `head`; 0: it does not say so there. */
double io_mp4_seconds(const uint8_t *head, size_t len);

/* The inside: places in the index `moov` (the whole box) that lie at or behind `from` are
 * moved by `by`. MALFORMED or LIMIT: `moov` is half changed. */
enum cv_err io_mp4_shift(uint8_t *moov, size_t len, uint64_t from, uint64_t by);

#endif
