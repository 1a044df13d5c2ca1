/* What stands behind /s/: files, broadcasts and their parts. */
#include <assert.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "gateway/gateway_priv.h"
#include "gateway/range.h"
#include "gateway/segments.h"
#include "gateway/sniff.h"

static void on_media_done(void *ctx, struct gw_media *m) {
    struct gateway *g = ctx;
    for (size_t i = 0; i < g->media_count; i++) {
        if (g->media[i] == m) {
            g->media[i] = g->media[--g->media_count];
            return;
        }
    }
    assert(false && "a reply ends that was never begun");
}

static bool find_swarm(struct gateway *g, const char *id, struct node_swarm_status *ret) {
    char text[GW_ID_TEXT];
    for (size_t i = 0; node_swarm_status(io_host_node(g->host), i, ret); i++) {
        gw_id_text(&ret->uri, text);
        if (strcmp(text, id) == 0)
            return true;
    }
    return false;
}

/* The link's parameter `name` is `token`. */
static bool query_is(struct evhttp_request *req, const char *name, const char *token) {
    struct evkeyvalq query;
    const char *text = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(req));
    if (!text || evhttp_parse_query_str(text, &query) != 0)
        return false;
    const char *value = evhttp_find_header(&query, name);
    bool ok = gw_token_is(value, value ? strlen(value) : 0, token);
    evhttp_clear_headers(&query);
    return ok;
}

static bool token_ok(const struct gateway *g, struct evhttp_request *req,
                     const struct node_uri *uri) {
    char want[GW_MEDIA_TOKEN_TEXT];
    gw_token_text(g, uri, want);
    return query_is(req, "k", want);
}

/* A file at the link: a whole content, or a part of a folder's. */
struct served {
    const char *name;
    uint64_t at, length; /* in the content */
    size_t number;       /* of a folder's file, from 1 on; 0: the whole */
};

static const char *content_type(struct gateway *g, const struct node_swarm_status *s,
                                const struct served *f) {
    uint8_t head[GW_SNIFF_OCTETS];
    size_t want = f->length < sizeof head ? (size_t)f->length : sizeof head;
    ssize_t n = node_read(io_host_node(g->host), s->swarm, f->at, head, want);
    if (n > 0)
        return gw_sniff(head, (size_t)n);
    /* Nothing verified yet: players sniff by themselves, and the name's ending
     * is good enough as a hint between video containers, and for subtitles, which
     * no browser runs either. */
    const char *dot = strrchr(f->name, '.');
    if (dot && (!strcasecmp(dot, ".mkv")))
        return "video/x-matroska";
    if (dot && (!strcasecmp(dot, ".webm")))
        return "video/webm";
    if (dot && (!strcasecmp(dot, ".ts")))
        return "video/mp2t";
    if (dot && (!strcasecmp(dot, ".vtt")))
        return "text/vtt";
    return dot && !strcasecmp(dot, ".mp4") ? "video/mp4" : "application/octet-stream";
}

static void send_head(struct evhttp_request *req, int status, uint64_t octets) {
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, octets);
    gw_set(req, "Content-Length", text);
    evhttp_send_reply(req, status, NULL, NULL);
}

/* NULL: it was refused. */
static struct gw_media *start_media(struct gateway *g, struct gw_media_config *cfg) {
    if (g->media_count == GW_RESPONSES_MAX) {
        gw_refuse(cfg->req, 503, "Too many players");
        return NULL;
    }
    cfg->host = g->host;
    cfg->idle_seconds = GW_TIMEOUT_SECONDS;
    cfg->sent = &g->sent;
    cfg->done = on_media_done;
    cfg->done_ctx = g;
    struct gw_media *m = gw_media_start(cfg);
    if (!m) {
        gw_refuse(cfg->req, 503, "Swarm is closing, or has too many players");
        return NULL;
    }
    g->media[g->media_count++] = m;
    gw_sweep_soon(g);
    return m;
}

static void start_body(struct gateway *g, struct evhttp_request *req, cv_handle swarm, int status,
                       uint64_t first, uint64_t last) {
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, last - first + 1);
    if (g->media_count < GW_RESPONSES_MAX)
        gw_set(req, "Content-Length", text);
    struct gw_media *m = start_media(
        g, &(struct gw_media_config){
               .req = req, .swarm = swarm, .first = first, .last = last, .status = status});
    if (m)
        gw_media_ready(m, swarm);
}

/* A broadcast has no length, no parts and no tag: it is sent as it comes. */
static void serve_live(struct gateway *g, struct evhttp_request *req,
                       const struct node_swarm_status *swarm) {
    gw_set_common(req);
    gw_set(req, "Content-Type", "video/mp2t"); /* what encoders make of live pictures */
    gw_set(req, "Accept-Ranges", "none");
    if (evhttp_request_get_command(req) == EVHTTP_REQ_HEAD) {
        evhttp_send_reply(req, 200, NULL, NULL);
        return;
    }
    struct gw_media *m = start_media(
        g,
        &(struct gw_media_config){.req = req, .swarm = swarm->swarm, .live = true, .status = 200});
    if (m && swarm->length != UINT64_MAX)
        gw_media_ended(m, swarm->swarm, swarm->length);
    else if (m)
        gw_media_ready(m, swarm->swarm);
}

/* ---- broadcasts as segments ---- */

/* A parameter of digits alone; false: it is something else. */
static bool read_number(const struct evkeyvalq *query, const char *name, bool *given,
                        uint64_t *ret) {
    const char *text = evhttp_find_header(query, name);
    *given = text != NULL;
    if (!text)
        return true;
    size_t len = strlen(text);
    if (!len || len > 18 || strspn(text, "0123456789") != len)
        return false;
    *ret = strtoull(text, NULL, 10);
    return true;
}

/* What the playlist is to name (_HLS_msn, _HLS_part); false: it says nothing sensible. */
static bool read_until(struct evhttp_request *req, struct gw_hls_until *ret) {
    struct evkeyvalq query;
    bool segment = false, part = false;
    uint64_t number = 0, of_part = 0;
    *ret = (struct gw_hls_until){.any = true};
    const char *text = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(req));
    if (!text || evhttp_parse_query_str(text, &query) != 0)
        return false; /* its token was read from there */
    bool ok = read_number(&query, "_HLS_msn", &segment, &number) &&
              read_number(&query, "_HLS_part", &part, &of_part) && (segment || !part);
    const char *how = evhttp_find_header(&query, "_HLS_skip");
    bool skip = how && (strcmp(how, "YES") == 0 || strcmp(how, "v2") == 0);
    evhttp_clear_headers(&query);
    if (ok && segment)
        *ret = (struct gw_hls_until){.segment = number, .part = part ? (int64_t)of_part : -1};
    ret->skip = skip;
    return ok;
}

static void serve_hls(struct gateway *g, struct evhttp_request *req,
                      const struct node_swarm_status *s) {
    char token[GW_MEDIA_TOKEN_TEXT], suffix[GW_HLS_SUFFIX];
    struct gw_hls_until until;
    gw_token_text(g, &s->uri, token);
    snprintf(suffix, sizeof suffix, "?k=%s", token);
    if (!read_until(req, &until)) {
        gw_refuse(req, 400, "_HLS_msn and _HLS_part are numbers, and the second needs the first");
        return;
    }
    gw_set_common(req);
    if (gw_hls_playlist(g->hls, req, s->swarm, s->length, suffix, &until))
        gw_sweep_soon(g);
    else
        gw_refuse(req, 503, "Too many players");
}

/* Octets of a broadcast that are there, behind its tables. */
static void send_octets(void *ctx, struct evhttp_request *req, cv_handle swarm, uint64_t first,
                        uint64_t end) {
    struct gateway *g = ctx;
    const uint8_t *tables = gw_hls_tables(g->hls, swarm);
    char text[24];
    if (!tables || node_available(io_host_node(g->host), swarm, first) < end - first) {
        gw_refuse(req, 404, "Not Found");
        return;
    }
    gw_set_common(req);
    gw_set(req, "Content-Type", "video/mp2t");
    if (evhttp_request_get_command(req) == EVHTTP_REQ_HEAD) {
        send_head(req, 200, GW_TS_TABLES + end - first);
        return;
    }
    snprintf(text, sizeof text, "%" PRIu64, GW_TS_TABLES + end - first);
    if (g->media_count < GW_RESPONSES_MAX)
        gw_set(req, "Content-Length", text);
    struct gw_media *m = start_media(g, &(struct gw_media_config){.req = req,
                                                                  .swarm = swarm,
                                                                  .stored = true,
                                                                  .first = first,
                                                                  .last = end - 1,
                                                                  .head = tables,
                                                                  .head_len = GW_TS_TABLES,
                                                                  .status = 200});
    if (m)
        gw_media_ready(m, swarm);
}

static void serve_segment(struct gateway *g, struct evhttp_request *req,
                          const struct node_swarm_status *s, const char *name) {
    uint64_t first, end;
    if (gw_segment_parse(name, &first, &end))
        send_octets(g, req, s->swarm, first, end);
    else if (!gw_part_parse(name, &first))
        gw_refuse(req, 404, "Not Found");
    else if (gw_hls_part(g->hls, req, s->swarm, first, send_octets, g))
        gw_sweep_soon(g);
    else
        gw_refuse(req, 503, "Too many players");
}

/* What a broadcast is asked for as: the stream, or one of its parts. */
static void serve_broadcast(struct gateway *g, struct evhttp_request *req,
                            const struct node_swarm_status *s, const char *behind_id) {
    const char *name = *behind_id == '/' ? strchr(behind_id + 1, '/') : NULL;
    if (!name)
        serve_live(g, req, s);
    else if (strcmp(name + 1, GW_HLS_PLAYLIST) == 0)
        serve_hls(g, req, s);
    else
        serve_segment(g, req, s, name + 1);
}

/* ---- files ---- */

static void serve_file(struct gateway *g, struct evhttp_request *req,
                       const struct node_swarm_status *s, const struct served *file) {
    char etag[2 * CV_SHA_MAX + 24], hex[2 * CV_SHA_MAX + 1], part[24] = "", text[80];
    size_t tag_len = s->uri.swarm_id_len < CV_SHA_MAX ? s->uri.swarm_id_len : CV_SHA_MAX;
    if (file->number)
        snprintf(part, sizeof part, ".%zu", file->number);
    snprintf(etag, sizeof etag, "\"%s%s\"", cv_hex(s->uri.swarm_id, tag_len, hex), part);
    const struct evkeyvalq *in = evhttp_request_get_input_headers(req);
    gw_set_common(req);
    gw_set(req, "ETag", etag);
    gw_set(req, "Accept-Ranges", "bytes");
    const char *none_match = evhttp_find_header(in, "If-None-Match");
    if (none_match && (strstr(none_match, etag) || strcmp(none_match, "*") == 0)) {
        evhttp_send_reply(req, 304, "Not Modified", NULL);
        return;
    }
    gw_set(req, "Content-Type", content_type(g, s, file));

    if (!file->length) {
        send_head(req, 200, 0);
        return;
    }
    uint64_t first = 0, last = file->length - 1;
    const char *if_range = evhttp_find_header(in, "If-Range");
    const char *range = evhttp_find_header(in, "Range");
    if (if_range && strcmp(if_range, etag) != 0)
        range = NULL;
    enum gw_range kind = gw_range_parse(range, file->length, &first, &last);
    if (kind == GW_RANGE_UNSATISFIABLE) {
        snprintf(text, sizeof text, "bytes */%" PRIu64, file->length);
        gw_set(req, "Content-Range", text);
        /* Not gw_refuse(): that would drop the headers. */
        evhttp_send_reply(req, 416, "Range Not Satisfiable", NULL);
        return;
    }
    if (kind == GW_RANGE_PART) {
        snprintf(text, sizeof text, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, first, last,
                 file->length);
        gw_set(req, "Content-Range", text);
    }
    int status = kind == GW_RANGE_PART ? 206 : 200;
    if (evhttp_request_get_command(req) == EVHTTP_REQ_HEAD)
        send_head(req, status, last - first + 1);
    else
        start_body(g, req, s->swarm, status, file->at + first, file->at + last);
}

/* The folder's playlist, when the folder itself was asked for. */
static void serve_playlist(struct gateway *g, struct evhttp_request *req,
                           const struct node_uri *uri, const struct io_folder *folder) {
    char base[GW_LINK_MAX], token[GW_MEDIA_TOKEN_TEXT];
    struct evbuffer *out = evbuffer_new();
    if (!out) {
        gw_refuse(req, 503, "Service Unavailable");
        return;
    }
    gw_base_text(g, uri, base);
    gw_token_text(g, uri, token);
    gw_folder_playlist(folder, base, token, out);
    gw_set_common(req);
    gw_set(req, "Content-Type", "audio/x-mpegurl");
    if (evhttp_request_get_command(req) == EVHTTP_REQ_HEAD)
        send_head(req, 200, evbuffer_get_length(out));
    else
        evhttp_send_reply(req, 200, "OK", out);
    evbuffer_free(out);
}

/* What FILE.vtt can be made of: FILE.srt. NULL: nothing. */
static const struct io_folder_file *captions_of(const struct io_folder *folder, const char *path) {
    size_t len = strlen(path);
    char *name = len > 4 && strcasecmp(path + len - 4, ".vtt") == 0 ? strdup(path) : NULL;
    if (name)
        memcpy(name + len - 4, ".srt", 4);
    const struct io_folder_file *file = name ? io_folder_find(folder, name) : NULL;
    free(name);
    return file;
}

static void serve_captions(struct gateway *g, struct evhttp_request *req, cv_handle swarm,
                           const struct io_folder_file *file) {
    gw_set_common(req);
    if (gw_captions_serve(g->captions, req, swarm, file->offset, file->octets))
        gw_sweep_soon(g);
    else
        gw_refuse(req, 503, "Too long, or too many are waited for");
}

/* False: it was answered already. */
static bool find_file(struct gateway *g, struct evhttp_request *req,
                      const struct node_swarm_status *s, const char *behind_id,
                      struct served *ret) {
    const struct io_folder *folder;
    enum cv_err err = gw_folder_get(&g->folder, io_host_node(g->host), s->swarm, &folder);
    char *path = err ? NULL : gw_folder_path(behind_id);
    const struct io_folder_file *file = path ? io_folder_find(folder, path) : NULL;
    const struct io_folder_file *captions = path && !file ? captions_of(folder, path) : NULL;
    bool whole = path && !*path;
    free(path);
    if (err) {
        gw_refuse(req, 503, "The folder's index is not there yet");
    } else if (whole) {
        serve_playlist(g, req, &s->uri, folder);
    } else if (captions) {
        serve_captions(g, req, s->swarm, captions);
    } else if (!file) {
        gw_refuse(req, 404, "Not Found");
    } else {
        *ret = (struct served){.name = file->path,
                               .at = file->offset,
                               .length = file->octets,
                               .number = (size_t)(file - folder->files) + 1};
    }
    return file != NULL;
}

void gw_serve(struct gateway *g, struct evhttp_request *req, const char *path) {
    char id[GW_ID_TEXT];
    struct node_swarm_status s;
    if (strlen(path) < (GW_ID_TEXT - 1) ||
        (path[(GW_ID_TEXT - 1)] && path[(GW_ID_TEXT - 1)] != '/')) {
        gw_refuse(req, 404, "Not Found");
        return;
    }
    memcpy(id, path, (GW_ID_TEXT - 1));
    id[(GW_ID_TEXT - 1)] = 0;
    /* One answer for a wrong token and an unknown file: links cannot be tried. */
    if (!find_swarm(g, id, &s) || !token_ok(g, req, &s.uri)) {
        gw_refuse(req, 403, "Forbidden");
        return;
    }

    if (s.uri.kind == NODE_URI_LIVE) {
        serve_broadcast(g, req, &s, path + (GW_ID_TEXT - 1));
        return;
    }
    if (!s.length) { /* asked for by its root hash alone, and nothing came yet */
        gw_refuse(req, 503, "Service Unavailable");
        return;
    }
    struct served file = {.name = s.uri.name, .length = s.length};
    if (!s.uri.folder || find_file(g, req, &s, path + (GW_ID_TEXT - 1), &file))
        serve_file(g, req, &s, &file);
}
