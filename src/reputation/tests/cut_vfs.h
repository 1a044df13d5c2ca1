/*
 * A file system for SQLite that can be cut off at any moment. It passes everything on
 * to the real one and remembers it: what was written, in which order, and when a file
 * was synchronised. cut_make() then writes the files as a power cut after the first so
 * many operations could have left them: all that was synchronised, and of each later
 * write any of its sectors, later ones maybe without earlier ones.
 *
 * One at a time, one thread. The shared memory of a WAL is not on any disk: it is lost.
 */
#ifndef CULVERT_REPUTATION_TESTS_CUT_VFS_H
#define CULVERT_REPUTATION_TESTS_CUT_VFS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

enum { CUT_FILES = 8, CUT_SECTOR = 512, CUT_NAME = 400 };

enum cut_kind { CUT_WRITE, CUT_TRUNCATE, CUT_SYNC, CUT_DELETE };

struct cut_op {
    enum cut_kind kind;
    int file;
    sqlite3_int64 at; /* or the new length */
    int len;
    uint8_t *data;
};

static struct {
    sqlite3_vfs vfs, *real;
    char name[CUT_FILES][CUT_NAME];
    int files;
    struct cut_op *op;
    size_t n, cap;
} cut_;

struct cut_file {
    sqlite3_file base;
    int file;
    sqlite3_file *real;
};

static inline void cut_note(enum cut_kind kind, int file, sqlite3_int64 at, const void *data,
                            int len) {
    if (file < 0)
        return;
    if (cut_.n == cut_.cap) {
        cut_.cap = cut_.cap ? cut_.cap * 2 : 1024;
        cut_.op = realloc(cut_.op, cut_.cap * sizeof *cut_.op);
        cr_assert_not_null(cut_.op);
    }
    struct cut_op *o = &cut_.op[cut_.n++];
    *o = (struct cut_op){.kind = kind, .file = file, .at = at, .len = len};
    if (data) {
        o->data = malloc((size_t)len + 1);
        cr_assert_not_null(o->data);
        memcpy(o->data, data, (size_t)len);
    }
}

static inline int cut_name(const char *name) {
    for (int i = 0; i < cut_.files; i++)
        if (strcmp(cut_.name[i], name) == 0)
            return i;
    cr_assert_lt(cut_.files, CUT_FILES);
    snprintf(cut_.name[cut_.files], CUT_NAME, "%s", name);
    return cut_.files++;
}

/* ---- one file ---- */

#define CUT_REAL(f) (((struct cut_file *)(f))->real)

static inline int cut_close(sqlite3_file *f) {
    return CUT_REAL(f)->pMethods->xClose(CUT_REAL(f));
}
static inline int cut_read(sqlite3_file *f, void *to, int len, sqlite3_int64 at) {
    return CUT_REAL(f)->pMethods->xRead(CUT_REAL(f), to, len, at);
}
static inline int cut_write(sqlite3_file *f, const void *from, int len, sqlite3_int64 at) {
    cut_note(CUT_WRITE, ((struct cut_file *)f)->file, at, from, len);
    return CUT_REAL(f)->pMethods->xWrite(CUT_REAL(f), from, len, at);
}
static inline int cut_truncate(sqlite3_file *f, sqlite3_int64 len) {
    cut_note(CUT_TRUNCATE, ((struct cut_file *)f)->file, len, NULL, 0);
    return CUT_REAL(f)->pMethods->xTruncate(CUT_REAL(f), len);
}
/* The real one need not wait for a disk: nobody cuts that one's power. */
static inline int cut_sync(sqlite3_file *f, int flags) {
    (void)flags;
    cut_note(CUT_SYNC, ((struct cut_file *)f)->file, 0, NULL, 0);
    return SQLITE_OK;
}
static inline int cut_size(sqlite3_file *f, sqlite3_int64 *ret) {
    return CUT_REAL(f)->pMethods->xFileSize(CUT_REAL(f), ret);
}
static inline int cut_lock(sqlite3_file *f, int how) {
    return CUT_REAL(f)->pMethods->xLock(CUT_REAL(f), how);
}
static inline int cut_unlock(sqlite3_file *f, int how) {
    return CUT_REAL(f)->pMethods->xUnlock(CUT_REAL(f), how);
}
static inline int cut_reserved(sqlite3_file *f, int *ret) {
    return CUT_REAL(f)->pMethods->xCheckReservedLock(CUT_REAL(f), ret);
}
static inline int cut_control(sqlite3_file *f, int what, void *arg) {
    return CUT_REAL(f)->pMethods->xFileControl(CUT_REAL(f), what, arg);
}
static inline int cut_sector(sqlite3_file *f) {
    return CUT_REAL(f)->pMethods->xSectorSize(CUT_REAL(f));
}
static inline int cut_device(sqlite3_file *f) {
    return CUT_REAL(f)->pMethods->xDeviceCharacteristics(CUT_REAL(f));
}
static inline int cut_shm_map(sqlite3_file *f, int page, int size, int extend,
                              void volatile **ret) {
    return CUT_REAL(f)->pMethods->xShmMap(CUT_REAL(f), page, size, extend, ret);
}
static inline int cut_shm_lock(sqlite3_file *f, int at, int n, int flags) {
    return CUT_REAL(f)->pMethods->xShmLock(CUT_REAL(f), at, n, flags);
}
static inline void cut_shm_barrier(sqlite3_file *f) {
    CUT_REAL(f)->pMethods->xShmBarrier(CUT_REAL(f));
}
static inline int cut_shm_unmap(sqlite3_file *f, int del) {
    return CUT_REAL(f)->pMethods->xShmUnmap(CUT_REAL(f), del);
}

static const sqlite3_io_methods cut_methods = {
    2,          cut_close,   cut_read,     cut_write,       cut_truncate,  cut_sync,
    cut_size,   cut_lock,    cut_unlock,   cut_reserved,    cut_control,   cut_sector,
    cut_device, cut_shm_map, cut_shm_lock, cut_shm_barrier, cut_shm_unmap, NULL,
    NULL};

/* ---- the file system ---- */

static inline int cut_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags,
                           int *ret_flags) {
    struct cut_file *c = (struct cut_file *)f;
    (void)v;
    c->real = (sqlite3_file *)(void *)(c + 1);
    c->file = name ? cut_name(name) : -1; /* NULL: a temporary one */
    int rc = cut_.real->xOpen(cut_.real, name, c->real, flags, ret_flags);
    f->pMethods = c->real->pMethods ? &cut_methods : NULL;
    return rc;
}

static inline int cut_delete(sqlite3_vfs *v, const char *name, int sync) {
    (void)v;
    cut_note(CUT_DELETE, cut_name(name), 0, NULL, 0);
    return cut_.real->xDelete(cut_.real, name, sync);
}

/* From now on every database of this process is on it. */
static inline void cut_begin(void) {
    memset(&cut_, 0, sizeof cut_);
    cut_.real = sqlite3_vfs_find(NULL);
    cut_.vfs = *cut_.real;
    cut_.vfs.zName = "cut";
    cut_.vfs.pNext = NULL;
    cut_.vfs.szOsFile = (int)sizeof(struct cut_file) + cut_.real->szOsFile;
    cut_.vfs.xOpen = cut_open;
    cut_.vfs.xDelete = cut_delete;
    cr_assert_eq(sqlite3_vfs_register(&cut_.vfs, 1), SQLITE_OK);
}

/* New ones are not; what was noted stays. */
static inline void cut_end(void) {
    sqlite3_vfs_register(cut_.real, 1);
    sqlite3_vfs_unregister(&cut_.vfs);
}

static inline void cut_free(void) {
    for (size_t i = 0; i < cut_.n; i++)
        free(cut_.op[i].data);
    free(cut_.op);
}

/* ---- after the cut ---- */

struct cut_image {
    bool exists;
    uint8_t *octets;
    size_t len, cap;
    size_t *waiting; /* operations since it was synchronised */
    size_t waiting_n, waiting_cap;
};

static inline void cut_grow(struct cut_image *m, size_t len) {
    if (len > m->cap) {
        m->cap = len * 2;
        m->octets = realloc(m->octets, m->cap);
        cr_assert_not_null(m->octets);
    }
    if (len > m->len) {
        memset(m->octets + m->len, 0, len - m->len);
        m->len = len;
    }
}

/* `some`: any sectors of it, or none. */
static inline void cut_apply(struct cut_image *m, const struct cut_op *o,
                             const struct cv_rng *some) {
    if (o->kind == CUT_TRUNCATE) {
        if (!some || cv_rng_below(some, 2))
            m->len = (size_t)o->at < m->len ? (size_t)o->at : m->len;
        return;
    }
    for (int from = 0; from < o->len;) {
        int end = CUT_SECTOR - (int)((o->at + from) % CUT_SECTOR);
        int len = o->len - from < end ? o->len - from : end;
        if (!some || cv_rng_below(some, 2)) {
            cut_grow(m, (size_t)o->at + (size_t)(from + len));
            memcpy(m->octets + o->at + from, o->data + from, (size_t)len);
        }
        from += len;
    }
}

static inline void cut_settle(struct cut_image *m, const struct cv_rng *some, bool all) {
    for (size_t i = 0; i < m->waiting_n; i++)
        if (all || !some || cv_rng_below(some, 4)) /* some are lost whole */
            cut_apply(m, &cut_.op[m->waiting[i]], all ? NULL : some);
    m->waiting_n = 0;
}

static inline void cut_step(struct cut_image *m, size_t i) {
    const struct cut_op *o = &cut_.op[i];
    m->exists = o->kind != CUT_DELETE;
    if (o->kind == CUT_DELETE)
        m->len = m->waiting_n = 0;
    else if (o->kind == CUT_SYNC)
        cut_settle(m, NULL, true);
    else {
        if (m->waiting_n == m->waiting_cap) {
            m->waiting_cap = m->waiting_cap ? m->waiting_cap * 2 : 64;
            m->waiting = realloc(m->waiting, m->waiting_cap * sizeof *m->waiting);
            cr_assert_not_null(m->waiting);
        }
        m->waiting[m->waiting_n++] = i;
    }
}

/* The files below `folder`, by their last names, as they are when the power goes after
 * the first `n` operations. `keep`: 0 nothing that was not synchronised, 1 some of it by
 * `dice`, 2 all. */
static inline void cut_make(size_t n, unsigned keep, const struct cv_rng *dice,
                            const char *folder) {
    static struct cut_image image[CUT_FILES];
    memset(image, 0, sizeof image);
    for (size_t i = 0; i < n; i++)
        cut_step(&image[cut_.op[i].file], i);
    for (int f = 0; f < cut_.files; f++) {
        char path[CUT_NAME];
        struct cut_image *m = &image[f];
        snprintf(path, sizeof path, "%s%s", folder, strrchr(cut_.name[f], '/'));
        remove(path);
        if (keep)
            cut_settle(m, dice, keep == 2);
        FILE *out = m->exists ? fopen(path, "wb") : NULL;
        if (out) {
            if (m->len) /* the power may go before the first write */
                cr_assert_eq(fwrite(m->octets, 1, m->len, out), m->len);
            cr_assert_eq(fclose(out), 0);
        }
        free(m->octets);
        free(m->waiting);
    }
}

#endif
