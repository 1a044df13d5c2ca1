/*
 * Files that are dropped on the page: they come in pieces, in order, and are kept
 * whole in a folder of ours until somebody takes them out.
 *
 *     FOLDER/ID/NAME         a whole one
 *     FOLDER/ID.part/NAME    one that comes; gone at the next start
 *
 * ID is what the page drew for it, 32 digits of hex; NAME is what the file is called
 * there, a name and never a path: it says nothing about where it is written. What was
 * promised has room on the disk before its first octet is taken. No links are followed,
 * and nothing but this file writes there.
 */
#ifndef CULVERT_GATEWAY_DROP_H
#define CULVERT_GATEWAY_DROP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/time.h"
#include "io/why.h"

enum {
    GW_DROPS_MAX = 16,
    GW_DROP_ID = 32,
    GW_DROP_NAME = 255,       /* octets; what Linux allows a file */
    GW_DROP_SPARE = 64 << 20, /* octets of the disk that are left free */
    GW_DROP_NOTE = 4096,      /* of the link that is said of it */
};

/* Without a piece for so long, one that comes is given up. */
#define GW_DROP_PATIENCE CV_SEC(600)

struct gw_drop {
    char id[GW_DROP_ID + 1]; /* "": free */
    char name[GW_DROP_NAME + 1];
    uint64_t length, at; /* octets: of it, and those that are there */
    char uri[GW_DROP_NOTE], error[256];
    cv_usec touched;
};

struct gw_drops;

/* Takes `folder`, a descriptor; `path` is its name. Finds those that are whole and
 * removes what is not. NULL: *why has one line; the descriptor is closed. */
struct gw_drops *gw_drops_open(int folder, const char *path, struct io_why *why);
struct gw_drops *gw_drops_close(struct gw_drops *d);

struct gw_piece {
    const char *id, *name; /* NULL: not given */
    uint64_t length, at;
    const uint8_t *data;
    size_t len;
};

/*
 * Takes a piece; one that does not begin where the last one ended changes nothing and
 * *ret tells where to go on. 200; or an HTTP status with one line in *why, a constant
 * of ours: 400 wrong name or numbers, 404 of nothing that has begun, 409 another file of
 * that id, 500 the disk fails, 503 too many files, 507 no room.
 */
int gw_drops_put(struct gw_drops *d, cv_usec now, const struct gw_piece *p,
                 const struct gw_drop **ret, const char **why);

/* The i-th place; NULL: there are no more. One whose id is empty is free. */
const struct gw_drop *gw_drops_at(const struct gw_drops *d, size_t i);
const struct gw_drop *gw_drops_find(const struct gw_drops *d, const char *id);

/* Where a whole one is: absolute if `path` was; `out` is of `cap` octets. */
void gw_drops_path(const struct gw_drops *d, const struct gw_drop *drop, char *out, size_t cap);

/* A folder that is not there, beside it, for what is to take its place: gone at the next
 * start, and when it is removed. As above. */
void gw_drops_aside(const struct gw_drops *d, const struct gw_drop *drop, char *out, size_t cap);

/* What is said of it from now on; NULL: as before. Ones that are gone are ignored. */
void gw_drops_note(struct gw_drops *d, const char *id, const char *uri, const char *error);

/* False: there is none of that id. */
bool gw_drops_remove(struct gw_drops *d, const char *id);

/* Gives up what nobody goes on with. */
void gw_drops_expire(struct gw_drops *d, cv_usec now);

/* All of them; a new reference. */
json_t *gw_drops_list(const struct gw_drops *d);
json_t *gw_drop_json(const struct gw_drop *drop);

#endif
