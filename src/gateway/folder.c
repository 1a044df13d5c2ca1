#include "gateway/folder.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct source {
    struct node *node;
    cv_handle swarm;
};

static ssize_t read_swarm(void *ctx, uint64_t offset, uint8_t *buf, size_t len) {
    const struct source *s = ctx;
    return node_read(s->node, s->swarm, offset, buf, len);
}

static bool find(struct node *n, cv_handle swarm, struct node_swarm_status *ret) {
    for (size_t i = 0; node_swarm_status(n, i, ret); i++)
        if (ret->swarm == swarm)
            return true;
    return false;
}

enum cv_err gw_folder_load(struct node *n, cv_handle swarm, struct io_folder **ret,
                           struct io_why *why) {
    struct source s = {n, swarm};
    struct node_swarm_status st;
    if (!find(n, swarm, &st))
        return CV_ERR_NOENT;
    return io_folder_load(read_swarm, &s, st.uri.chunk_size, st.length, ret, why);
}

enum cv_err gw_folder_get(struct gw_folder *g, struct node *n, cv_handle swarm,
                          const struct io_folder **ret) {
    if (!g->swarm || g->swarm != swarm) {
        struct io_folder *f;
        enum cv_err err = gw_folder_load(n, swarm, &f, NULL);
        if (err)
            return err;
        gw_folder_drop(g);
        g->folder = f;
        g->swarm = swarm;
    }
    *ret = g->folder;
    return CV_ERR_OK;
}

void gw_folder_drop(struct gw_folder *g) {
    g->folder = io_folder_free(g->folder);
    g->swarm = 0;
}

char *gw_folder_path(const char *behind_id) {
    const char *path = *behind_id == '/' ? strchr(behind_id + 1, '/') : NULL;
    size_t len = 0;
    char *text = evhttp_uridecode(path ? path + 1 : "", 0, &len);
    if (text && strlen(text) != len) { /* an encoded NUL */
        free(text);
        text = NULL;
    }
    return text;
}

/* Percent-encoded but for the slashes. */
static void add_path(struct evbuffer *out, const char *path) {
    for (const char *part = path;; part++) {
        size_t len = strcspn(part, "/");
        char *text = evhttp_uriencode(part, (ev_ssize_t)len, 0);
        evbuffer_add_printf(out, "%s%s", part == path ? "" : "/", text && len ? text : "");
        free(text);
        part += len;
        if (!*part)
            return;
    }
}

void gw_folder_playlist(const struct io_folder *f, const char *base, const char *token,
                        struct evbuffer *out) {
    evbuffer_add_printf(out, "#EXTM3U\n");
    for (size_t i = 0; i < f->count; i++) {
        size_t len = strlen(f->files[i].path);
        const char *ending = f->files[i].path + (len > 4 ? len - 4 : 0);
        if (!strcasecmp(ending, ".srt") || !strcasecmp(ending, ".vtt"))
            continue; /* subtitles of another one: nothing to play by itself */
        evbuffer_add_printf(out, "#EXTINF:-1,%s\n%s/", f->files[i].path, base);
        add_path(out, f->files[i].path);
        evbuffer_add_printf(out, "?k=%s\n", token);
    }
}
