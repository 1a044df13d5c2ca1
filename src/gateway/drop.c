#include "gateway/drop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/text.h"
#include "io/file.h"

#define COMES ".part"

enum { PLACE = GW_DROP_ID + sizeof COMES };

struct gw_drops {
    int folder;
    char *path;
    struct gw_drop all[GW_DROPS_MAX];
};

/* ---- names ---- */

static bool is_id(const char *id) {
    return id && strlen(id) == GW_DROP_ID && strspn(id, "0123456789abcdef") == GW_DROP_ID;
}

/* One that a file can have, and that shows as what it is. */
static bool is_name(const char *name) {
    if (!name || !*name || strlen(name) > GW_DROP_NAME || !strcmp(name, ".") || !strcmp(name, ".."))
        return false;
    for (const char *c = name; *c; c++)
        if (*c == '/' || (unsigned char)*c < 0x20 || *c == 0x7f)
            return false;
    json_t *text = json_string(name); /* refuses what is not UTF-8 */
    json_decref(text);
    return text != NULL;
}

static const char *place_of(const struct gw_drop *f, bool comes, char ret[PLACE]) {
    snprintf(ret, PLACE, "%.*s%s", GW_DROP_ID, f->id, comes ? COMES : "");
    return ret;
}

static bool is_whole(const struct gw_drop *f) {
    return f->at == f->length;
}

/* The folder of one file; -1 and errno. */
static int open_place(const struct gw_drops *d, const char *place) {
    return openat(d->folder, place, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* ---- the folder ---- */

/* Calls `each` with every name in it but its own and its parent's. */
static void each_name(int folder, void (*each)(void *ctx, int folder, const char *name),
                      void *ctx) {
    int again = fcntl(folder, F_DUPFD_CLOEXEC, 0); /* closedir() closes it */
    DIR *dir = again >= 0 ? fdopendir(again) : NULL;
    const struct dirent *e;
    if (!dir) {
        if (again >= 0)
            close(again);
        return;
    }
    rewinddir(dir);
    while ((e = readdir(dir)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            each(ctx, folder, e->d_name);
    closedir(dir);
}

static void remove_file(void *ctx, int folder, const char *name) {
    (void)ctx;
    (void)unlinkat(folder, name, 0);
}

static void remove_place(const struct gw_drops *d, const char *place) {
    int fd = open_place(d, place);
    if (fd < 0)
        return;
    each_name(fd, remove_file, NULL);
    close(fd);
    (void)unlinkat(d->folder, place, AT_REMOVEDIR);
}

static struct gw_drop *free_place(struct gw_drops *d) {
    for (size_t i = 0; i < GW_DROPS_MAX; i++)
        if (!d->all[i].id[0])
            return &d->all[i];
    return NULL;
}

static void found_file(void *ctx, int folder, const char *name) {
    struct gw_drop *f = ctx;
    struct stat st;
    if (f->name[0] || !is_name(name) || fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(st.st_mode) || st.st_size <= 0)
        return;
    snprintf(f->name, sizeof f->name, "%s", name);
    f->length = f->at = (uint64_t)st.st_size;
}

static void found_place(void *ctx, int folder, const char *name) {
    struct gw_drops *d = ctx;
    size_t len = strlen(name);
    (void)folder;
    if (len == PLACE - 1 && strcmp(name + GW_DROP_ID, COMES) == 0)
        remove_place(d, name);
    struct gw_drop *f = is_id(name) ? free_place(d) : NULL;
    int fd = f ? open_place(d, name) : -1;
    if (fd < 0)
        return;
    *f = (struct gw_drop){.length = 0};
    each_name(fd, found_file, f);
    close(fd);
    if (f->name[0])
        memcpy(f->id, name, GW_DROP_ID);
}

struct gw_drops *gw_drops_open(int folder, const char *path, struct io_why *why) {
    struct gw_drops *d = calloc(1, sizeof *d);
    if (d)
        *d = (struct gw_drops){.folder = folder, .path = strdup(path)};
    if (!d || !d->path) {
        io_why_set(why, "out of memory");
        close(folder);
        free(d);
        return NULL;
    }
    each_name(folder, found_place, d);
    return d;
}

struct gw_drops *gw_drops_close(struct gw_drops *d) {
    if (!d)
        return NULL;
    close(d->folder);
    free(d->path);
    free(d);
    return NULL;
}

/* ---- pieces ---- */

/* What is left of the disk when all that comes has come, and the spare. */
static bool has_room(const struct gw_drops *d, uint64_t octets) {
    struct statvfs st;
    if (fstatvfs(d->folder, &st) != 0)
        return false;
    uint64_t left = (uint64_t)st.f_bavail * st.f_frsize, promised = GW_DROP_SPARE;
    for (size_t i = 0; i < GW_DROPS_MAX; i++)
        if (d->all[i].id[0])
            promised += d->all[i].length - d->all[i].at;
    return promised <= left && octets <= left - promised;
}

static int open_file(const struct gw_drops *d, const struct gw_drop *f, int flags) {
    char place[PLACE];
    int folder = open_place(d, place_of(f, true, place));
    int fd = folder < 0 ? -1 : openat(folder, f->name, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (folder >= 0)
        close(folder);
    return fd;
}

static int refuse(int status, const char **why, const char *text) {
    *why = text;
    return status;
}

static int begin(struct gw_drops *d, const struct gw_piece *p, struct gw_drop **ret,
                 const char **why) {
    char place[PLACE];
    struct gw_drop *f = free_place(d);
    if (p->at)
        return refuse(404, why, "No such file has begun to come; begin with its first piece");
    if (!f)
        return refuse(503, why, "Too many files were dropped; remove one first");
    if (!has_room(d, p->length))
        return refuse(507, why, "There is not enough room on the disk");
    *f = (struct gw_drop){.length = p->length};
    memcpy(f->id, p->id, GW_DROP_ID);
    snprintf(f->name, sizeof f->name, "%s", p->name);
    int fd = mkdirat(d->folder, place_of(f, true, place), 0700) == 0
                 ? open_file(d, f, O_WRONLY | O_CREAT | O_EXCL)
                 : -1;
    if (fd < 0) {
        remove_place(d, place);
        f->id[0] = 0;
        return refuse(500, why, "The file cannot be made in the state folder");
    }
    close(fd);
    *ret = f;
    return 200;
}

/* All of it is there: from now on it is found at the next start. */
static int finish(struct gw_drops *d, struct gw_drop *f, const char **why) {
    char from[PLACE], to[PLACE];
    if (renameat(d->folder, place_of(f, true, from), d->folder, place_of(f, false, to)) == 0)
        return 200;
    remove_place(d, from);
    f->id[0] = 0;
    return refuse(500, why, "The file cannot be kept in the state folder");
}

static int append(struct gw_drops *d, struct gw_drop *f, const struct gw_piece *p,
                  const char **why) {
    int fd = open_file(d, f, O_WRONLY);
    bool ok = fd >= 0 && io_file_pwrite(fd, p->data, p->len, f->at) == 0;
    bool full = !ok && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG);
    ok &= fd >= 0 && close(fd) == 0;
    if (full)
        return refuse(507, why, "There is no room left on the disk");
    if (!ok)
        return refuse(500, why, "The piece cannot be written in the state folder");
    f->at += p->len;
    return is_whole(f) ? finish(d, f, why) : 200;
}

int gw_drops_put(struct gw_drops *d, cv_usec now, const struct gw_piece *p,
                 const struct gw_drop **ret, const char **why) {
    if (!is_id(p->id) || !is_name(p->name))
        return refuse(400, why, "A file needs an id of 32 digits, and a name without slashes");
    if (!p->length || p->length > INT64_MAX || !p->len || p->at > p->length ||
        p->len > p->length - p->at)
        return refuse(400, why, "The piece is empty, or not within the length of its file");
    struct gw_drop *f = (struct gw_drop *)(uintptr_t)gw_drops_find(d, p->id);
    if (f && (f->length != p->length || strcmp(f->name, p->name) != 0))
        return refuse(409, why, "Another file has that id");
    int status = f ? 200 : begin(d, p, &f, why);
    if (status == 200 && p->at == f->at)
        status = append(d, f, p, why);
    if (status == 200) {
        f->touched = now;
        *ret = f;
    }
    return status;
}

/* ---- what there is ---- */

const struct gw_drop *gw_drops_at(const struct gw_drops *d, size_t i) {
    return i < GW_DROPS_MAX ? &d->all[i] : NULL;
}

const struct gw_drop *gw_drops_find(const struct gw_drops *d, const char *id) {
    for (size_t i = 0; id && *id && i < GW_DROPS_MAX; i++)
        if (strcmp(d->all[i].id, id) == 0)
            return &d->all[i];
    return NULL;
}

void gw_drops_path(const struct gw_drops *d, const struct gw_drop *drop, char *out, size_t cap) {
    snprintf(out, cap, "%s/%s/%s", d->path, drop->id, drop->name);
}

void gw_drops_aside(const struct gw_drops *d, const struct gw_drop *drop, char *out, size_t cap) {
    snprintf(out, cap, "%s/%s" COMES, d->path, drop->id);
}

void gw_drops_note(struct gw_drops *d, const char *id, const char *uri, const char *error) {
    struct gw_drop *f = (struct gw_drop *)(uintptr_t)gw_drops_find(d, id);
    if (f && uri)
        snprintf(f->uri, sizeof f->uri, "%s", uri);
    if (f && error)
        snprintf(f->error, sizeof f->error, "%s", error);
}

bool gw_drops_remove(struct gw_drops *d, const char *id) {
    char place[PLACE];
    struct gw_drop *f = (struct gw_drop *)(uintptr_t)gw_drops_find(d, id);
    if (!f)
        return false;
    remove_place(d, place_of(f, true, place));
    if (is_whole(f))
        remove_place(d, place_of(f, false, place));
    f->id[0] = 0;
    return true;
}

void gw_drops_expire(struct gw_drops *d, cv_usec now) {
    for (size_t i = 0; i < GW_DROPS_MAX; i++) {
        const struct gw_drop *f = &d->all[i];
        if (f->id[0] && !is_whole(f) && now > cv_usec_add(f->touched, GW_DROP_PATIENCE))
            gw_drops_remove(d, f->id);
    }
}

json_t *gw_drop_json(const struct gw_drop *f) {
    json_t *o =
        json_pack("{s:s, s:s, s:I, s:I, s:b}", "id", f->id, "name", f->name, "length",
                  (json_int_t)f->length, "at", (json_int_t)f->at, "whole", (int)is_whole(f));
    if (o && f->uri[0])
        json_object_set_new(o, "uri", json_string(f->uri));
    if (o && f->error[0])
        json_object_set_new(o, "error", json_string(f->error));
    return o;
}

json_t *gw_drops_list(const struct gw_drops *d) {
    json_t *list = json_array();
    for (size_t i = 0; i < GW_DROPS_MAX; i++)
        if (d->all[i].id[0])
            json_array_append_new(list, gw_drop_json(&d->all[i]));
    return list;
}
