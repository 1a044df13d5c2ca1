#include "io/mp4.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "io/file.h"

enum {
    HEAD = 8,
    LONG_HEAD = 16,
    DEPTH_MAX = 8,
    PATH_LONGEST = 4096,
    PIECE = 1 << 20,
    FLUSH = 64 << 20
};

static uint32_t read_32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t read_64(const uint8_t *p) {
    return (uint64_t)read_32(p) << 32 | read_32(p + 4);
}

static void write_32(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static bool is(const uint8_t *head, const char *type) {
    return memcmp(head + 4, type, 4) == 0;
}

/* The length of a box that begins with `head`, of which `there` octets are in the file or
 * box around it; 0: it does not fit. */
static uint64_t box_length(const uint8_t *head, uint64_t there, size_t *ret_head) {
    uint64_t n = read_32(head);
    *ret_head = n == 1 ? LONG_HEAD : HEAD;
    if (there < *ret_head)
        return 0;
    if (n == 1)
        n = read_64(head + HEAD);
    else if (n == 0) /* to the end */
        n = there;
    return n >= *ret_head && n <= there ? n : 0;
}

/* ---- inside the index ---- */

static enum cv_err shift_places(uint8_t *box, size_t len, bool wide, uint64_t from, uint64_t by) {
    enum { TABLE = 8 }; /* version and flags, count */
    size_t width = wide ? 8 : 4;
    if (len < TABLE || (len - TABLE) / width < read_32(box + 4))
        return CV_ERR_MALFORMED;
    uint8_t *p = box + TABLE;
    for (uint32_t i = read_32(box + 4); i > 0; i--, p += width) {
        uint64_t at = wide ? read_64(p) : read_32(p);
        if (at < from)
            continue;
        if (__builtin_add_overflow(at, by, &at) || (!wide && at > UINT32_MAX))
            return CV_ERR_LIMIT;
        if (wide)
            write_32(p, (uint32_t)(at >> 32));
        write_32(wide ? p + 4 : p, (uint32_t)at);
    }
    return CV_ERR_OK;
}

static enum cv_err shift_in(uint8_t *box, size_t len, unsigned depth, uint64_t from, uint64_t by) {
    static const char *const around[] = {"moov", "trak", "mdia", "minf", "stbl"};
    for (size_t at = 0; at < len;) {
        size_t head = 0;
        uint64_t n = len - at >= HEAD ? box_length(box + at, len - at, &head) : 0;
        uint8_t *b = box + at, *body = b + head;
        enum cv_err err = CV_ERR_OK;
        if (n == 0 || is(b, "cmov")) /* a compressed index */
            return CV_ERR_MALFORMED;
        if (is(b, "stco") || is(b, "co64"))
            err = shift_places(body, (size_t)n - head, is(b, "co64"), from, by);
        for (size_t i = 0; i < sizeof around / sizeof *around && !err; i++)
            if (is(b, around[i]))
                err = depth == DEPTH_MAX ? CV_ERR_MALFORMED
                                         : shift_in(body, (size_t)n - head, depth + 1, from, by);
        if (err)
            return err;
        at += (size_t)n;
    }
    return CV_ERR_OK;
}

enum cv_err io_mp4_shift(uint8_t *moov, size_t len, uint64_t from, uint64_t by) {
    return shift_in(moov, len, 0, from, by);
}

/* ---- how long it is ---- */

/* The body of the first box of a type among the boxes of `data`, of which some more may
 * follow behind it; NULL: it is not there. */
static const uint8_t *find_box(const uint8_t *data, size_t len, const char *type, size_t *ret_len) {
    for (size_t at = 0; len - at >= LONG_HEAD;) {
        size_t head = 0;
        uint64_t n = box_length(data + at, UINT64_MAX - at, &head);
        if (n == 0)
            return NULL;
        if (is(data + at, type)) {
            *ret_len = (size_t)(n < len - at ? n : len - at) - head;
            return data + at + head;
        }
        if (n > len - at)
            return NULL;
        at += (size_t)n;
    }
    return NULL;
}

double io_mp4_seconds(const uint8_t *head, size_t len) {
    enum { NARROW = 20, WIDE = 32 }; /* version and flags, two times, units a second, units */
    size_t moov_len = 0, mvhd_len = 0;
    const uint8_t *moov = find_box(head, len, "moov", &moov_len);
    const uint8_t *mvhd = moov ? find_box(moov, moov_len, "mvhd", &mvhd_len) : NULL;
    if (!mvhd || mvhd_len < NARROW || (mvhd[0] == 1 && mvhd_len < WIDE))
        return 0;
    uint32_t a_second = read_32(mvhd + (mvhd[0] == 1 ? 20 : 12));
    uint64_t units = mvhd[0] == 1 ? read_64(mvhd + 24) : read_32(mvhd + 16);
    return a_second && mvhd[0] <= 1 ? (double)units / a_second : 0;
}

/* ---- files ---- */

struct layout {
    uint64_t octets;           /* of the file */
    uint64_t front;            /* where the index belongs: behind `ftyp` */
    uint64_t index, index_len; /* 0: none */
    bool media;                /* pictures are before it */
};

/* False: no MP4. */
static bool look(int fd, struct layout *ret) {
    struct stat st;
    uint8_t head[LONG_HEAD] = {0};
    size_t head_len;
    *ret = (struct layout){.index = 0};
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return false;
    ret->octets = (uint64_t)st.st_size;
    uint64_t at = 0;
    for (unsigned i = 0; i < IO_MP4_BOXES_MAX && at < ret->octets && !ret->index; i++) {
        if (ret->octets - at < HEAD || io_file_pread(fd, head, sizeof head, at) < HEAD)
            return false;
        uint64_t n = box_length(head, ret->octets - at, &head_len);
        if (n == 0 || (i == 0 && !is(head, "ftyp")))
            return false;
        if (i == 0)
            ret->front = n;
        if (is(head, "moov")) {
            ret->index = at;
            ret->index_len = n;
        }
        ret->media |= is(head, "mdat");
        at += n;
    }
    return ret->index != 0;
}

enum io_mp4_index io_mp4_where(const char *path) {
    struct layout l;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    bool known = fd >= 0 && look(fd, &l);
    if (fd >= 0)
        close(fd);
    return !known ? IO_MP4_NONE : l.media ? IO_MP4_END : IO_MP4_FRONT;
}

/* Octets [at, end) of one file to the other, unless it is stopped. */
static bool copy(int from, int to, uint64_t at, uint64_t end, uint8_t *piece,
                 const atomic_bool *stop) {
    while (at < end) {
        if (atomic_load(stop))
            return false;
        size_t n = end - at < PIECE ? (size_t)(end - at) : PIECE;
        ssize_t got = io_file_pread(from, piece, n, at);
        if (got <= 0)
            return false;
        for (ssize_t done = 0, w; done < got; done += w) {
            w = write(to, piece + done, (size_t)(got - done));
            if (w < 0 && errno == EINTR)
                w = 0;
            else if (w < 0)
                return false;
        }
        /* Now and then, so that the last flush is short: it cannot be stopped. */
        if (at / FLUSH != (at + (uint64_t)got) / FLUSH && fdatasync(to) != 0)
            return false;
        at += (uint64_t)got;
    }
    return true;
}

static bool has_room(int to, uint64_t octets) {
    struct statvfs fs;
    if (fstatvfs(to, &fs) != 0)
        return false;
    uint64_t left = (uint64_t)fs.f_bavail * fs.f_frsize;
    return left >= IO_MP4_SPARE && octets <= left - IO_MP4_SPARE;
}

static bool write_all(int to, const uint8_t *data, size_t len) {
    for (size_t done = 0; done < len;) {
        ssize_t w = write(to, data + done, len - done);
        if (w < 0 && errno != EINTR)
            return false;
        done += w > 0 ? (size_t)w : 0;
    }
    return true;
}

static enum cv_err rewrite(int from, int to, const struct layout *l, uint8_t *moov, uint8_t *piece,
                           const char *name, const atomic_bool *stop, struct io_why *why) {
    if (!has_room(to, l->octets)) {
        io_why_set(why, "%.300s: no room on the disk for a copy with its index in front", name);
        return CV_ERR_FULL;
    }
    if (io_file_pread(from, moov, (size_t)l->index_len, l->index) != (ssize_t)l->index_len)
        return io_why_errno(why, name, errno);
    enum cv_err err = io_mp4_shift(moov, (size_t)l->index_len, l->front, l->index_len);
    if (err) {
        io_why_set(why, "%.300s: %s", name,
                   err == CV_ERR_LIMIT ? "its index counts in 32 bits and cannot be moved"
                                       : "its index cannot be understood");
        return err;
    }
    bool ok = copy(from, to, 0, l->front, piece, stop) &&
              write_all(to, moov, (size_t)l->index_len) &&
              copy(from, to, l->front, l->index, piece, stop) &&
              copy(from, to, l->index + l->index_len, l->octets, piece, stop) &&
              !atomic_load(stop) && fsync(to) == 0;
    if (!ok && atomic_load(stop)) {
        io_why_set(why, "%.300s: stopped", name);
        return CV_ERR_CLOSED;
    }
    return ok ? CV_ERR_OK : io_why_errno(why, name, errno);
}

enum cv_err io_mp4_faststart(const char *from, const char *to, const atomic_bool *stop,
                             struct io_why *why) {
    char part[PATH_LONGEST];
    struct layout l;
    if (snprintf(part, sizeof part, "%s.part", to) >= (int)sizeof part) {
        io_why_set(why, "%.100s...: path too long", to);
        return CV_ERR_LIMIT;
    }
    int in = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (in < 0)
        return io_why_errno(why, from, errno);
    if (!look(in, &l) || !l.media || l.index_len > IO_MP4_INDEX_MAX) {
        close(in);
        io_why_set(why, "%.300s: has no index at its end that could be moved", from);
        return CV_ERR_MALFORMED;
    }
    uint8_t *moov = malloc((size_t)l.index_len), *piece = malloc(PIECE);
    int out = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    enum cv_err err = !moov || !piece ? CV_ERR_NOMEM
                      : out < 0       ? io_why_errno(why, part, errno)
                                      : rewrite(in, out, &l, moov, piece, from, stop, why);
    /* Not over a file that is there. */
    if (!err && renameat2(AT_FDCWD, part, AT_FDCWD, to, RENAME_NOREPLACE) != 0)
        err = io_why_errno(why, to, errno);
    if (out >= 0) {
        close(out);
        unlink(part);
    }
    free(moov);
    free(piece);
    close(in);
    return err;
}
