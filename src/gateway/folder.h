/*
 * A folder's files at the player link: each by its path, with ranges of its own;
 * the folder's own link gives a playlist of them (M3U), which players open.
 */
#ifndef CULVERT_GATEWAY_FOLDER_H
#define CULVERT_GATEWAY_FOLDER_H

#include "io/folder_index.h"
#include "io/host.h"

struct evbuffer;

/* The index of the folder that is open as a swarm; AGAIN: it is not verified yet. */
enum cv_err gw_folder_load(struct node *n, cv_handle swarm, struct io_folder **ret,
                           struct io_why *why);

/* The index of the folder that was asked for last is kept: players ask often. */
struct gw_folder {
    cv_handle swarm; /* 0: none */
    struct io_folder *folder;
};

/* As gw_folder_load(); *ret is valid until the next call. */
enum cv_err gw_folder_get(struct gw_folder *g, struct node *n, cv_handle swarm,
                          const struct io_folder **ret);
void gw_folder_drop(struct gw_folder *g);

/* The path that is asked for, decoded, behind "/ID"; free() it. NULL: out of memory,
 * or it cannot be one. "": the folder itself. */
char *gw_folder_path(const char *behind_id);

/* The playlist; `base` is the link up to and with the folder's name. */
void gw_folder_playlist(const struct io_folder *f, const char *base, const char *token,
                        struct evbuffer *out);

#endif
