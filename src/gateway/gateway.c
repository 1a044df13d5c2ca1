#include "gateway/gateway.h"

#include <arpa/inet.h>
#include <assert.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/text.h"
#include "crypto/hash.h"
#include "crypto/keys.h"
#include "gateway/folder.h"
#include "gateway/guard.h"
#include "gateway/media.h"
#include "gateway/page.h"
#include "gateway/range.h"
#include "gateway/sniff.h"

enum { ID_OCTETS = 8, TOKEN_OCTETS = 16 };

struct gateway {
    struct io_host *host;
    struct gateway_config cfg;
    struct evhttp *http;
    struct gw_media *media[GW_RESPONSES_MAX];
    size_t media_count;
    struct gw_folder folder;
    uint64_t sent;
    uint16_t port;
    struct gw_self self;
    gw_api_fn *api;
    void *api_ctx;
    struct io_timer *sweep;
};

/* ---- links ---- */

static void swarm_id_text(const struct node_uri *uri, char out[2 * ID_OCTETS + 1]) {
    uint8_t id[ID_OCTETS];
    CV_BLAKE2B(id, sizeof id, NULL, 0, {"culvert link", 12}, {uri->swarm_id, uri->swarm_id_len});
    cv_hex(id, sizeof id, out);
}

static void token_text(const struct gateway *g, const struct node_uri *uri,
                       char out[2 * TOKEN_OCTETS + 1]) {
    uint8_t token[TOKEN_OCTETS];
    CV_BLAKE2B(token, sizeof token, g->cfg.secret, GW_SECRET, {"media token", 11},
               {uri->swarm_id, uri->swarm_id_len});
    cv_hex(token, sizeof token, out);
}

/* Without the token. */
static void base_text(const struct gateway *g, const struct node_uri *uri, char out[GW_LINK_MAX]) {
    char id[2 * ID_OCTETS + 1];
    swarm_id_text(uri, id);
    char *name = evhttp_uriencode(uri->name[0] ? uri->name : "video", -1, 0);
    int n = snprintf(out, GW_LINK_MAX, "http://%s/s/%s/%.768s", g->self.hosts[0], id,
                     name ? name : "video");
    assert(n > 0 && n < GW_LINK_MAX);
    free(name);
}

const char *gateway_link(const struct gateway *g, const struct node_uri *uri,
                         char out[GW_LINK_MAX]) {
    char token[2 * TOKEN_OCTETS + 1];
    base_text(g, uri, out);
    token_text(g, uri, token);
    size_t len = strlen(out);
    int n = snprintf(out + len, GW_LINK_MAX - len, "?k=%s", token);
    assert(n > 0 && (size_t)n < GW_LINK_MAX - len);
    return out;
}

const char *gateway_page(const struct gateway *g, char out[GW_LINK_MAX]) {
    snprintf(out, GW_LINK_MAX, "http://%s/#t=%s", g->self.hosts[0], g->self.token);
    return out;
}

const char *gateway_token(const struct gateway *g) {
    return g->self.token;
}

/* ---- checks before anything else ---- */

static enum gw_verdict judge(const struct gateway *g, struct evhttp_request *req,
                             enum gw_area area) {
    const struct evkeyvalq *in = evhttp_request_get_input_headers(req);
    return gw_guard(&g->self, area,
                    &(struct gw_head){.host = evhttp_find_header(in, "Host"),
                                      .origin = evhttp_find_header(in, "Origin"),
                                      .fetch_site = evhttp_find_header(in, "Sec-Fetch-Site"),
                                      .fetch_mode = evhttp_find_header(in, "Sec-Fetch-Mode"),
                                      .authorization = evhttp_find_header(in, "Authorization")});
}

static void refuse(struct evhttp_request *req, int code, const char *reason) {
    evhttp_send_error(req, code, reason);
}

static void set(struct evhttp_request *req, const char *key, const char *value) {
    evhttp_add_header(evhttp_request_get_output_headers(req), key, value);
}

static void set_common(struct evhttp_request *req) {
    set(req, "Cache-Control", "private, no-store"); /* what was watched stays out of caches */
    set(req, "X-Content-Type-Options", "nosniff");
    set(req, "Cross-Origin-Resource-Policy", "same-origin");
    set(req, "Referrer-Policy", "no-referrer");
}

/* ---- media ---- */

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
    char text[2 * ID_OCTETS + 1];
    for (size_t i = 0; node_swarm_status(io_host_node(g->host), i, ret); i++) {
        swarm_id_text(&ret->uri, text);
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
    char want[2 * TOKEN_OCTETS + 1];
    token_text(g, uri, want);
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
     * is good enough as a hint between video containers. */
    const char *dot = strrchr(f->name, '.');
    if (dot && (!strcasecmp(dot, ".mkv")))
        return "video/x-matroska";
    if (dot && (!strcasecmp(dot, ".webm")))
        return "video/webm";
    if (dot && (!strcasecmp(dot, ".ts")))
        return "video/mp2t";
    return dot && !strcasecmp(dot, ".mp4") ? "video/mp4" : "application/octet-stream";
}

static void send_head(struct evhttp_request *req, int status, uint64_t octets) {
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, octets);
    set(req, "Content-Length", text);
    evhttp_send_reply(req, status, NULL, NULL);
}

/* NULL: it was refused. */
static struct gw_media *start_media(struct gateway *g, struct gw_media_config *cfg) {
    if (g->media_count == GW_RESPONSES_MAX) {
        refuse(cfg->req, 503, "Too many players");
        return NULL;
    }
    cfg->host = g->host;
    cfg->idle_seconds = GW_TIMEOUT_SECONDS;
    cfg->sent = &g->sent;
    cfg->done = on_media_done;
    cfg->done_ctx = g;
    struct gw_media *m = gw_media_start(cfg);
    if (!m) {
        refuse(cfg->req, 503, "Swarm is closing, or has too many players");
        return NULL;
    }
    g->media[g->media_count++] = m;
    if (g->media_count == 1) {
        cv_usec now = io_host_now(g->host).mono;
        io_timer_at(g->sweep, now, cv_usec_add(now, GW_SWEEP));
    }
    return m;
}

static void start_body(struct gateway *g, struct evhttp_request *req, cv_handle swarm, int status,
                       uint64_t first, uint64_t last) {
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, last - first + 1);
    if (g->media_count < GW_RESPONSES_MAX)
        set(req, "Content-Length", text);
    struct gw_media *m = start_media(
        g, &(struct gw_media_config){
               .req = req, .swarm = swarm, .first = first, .last = last, .status = status});
    if (m)
        gw_media_ready(m, swarm);
}

/* A broadcast has no length, no parts and no tag: it is sent as it comes. */
static void serve_live(struct gateway *g, struct evhttp_request *req,
                       const struct node_swarm_status *swarm) {
    set_common(req);
    set(req, "Content-Type", "video/mp2t"); /* what encoders make of live pictures */
    set(req, "Accept-Ranges", "none");
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

static void serve_file(struct gateway *g, struct evhttp_request *req,
                       const struct node_swarm_status *s, const struct served *file) {
    char etag[2 * CV_SHA_MAX + 24], hex[2 * CV_SHA_MAX + 1], part[24] = "", text[80];
    size_t tag_len = s->uri.swarm_id_len < CV_SHA_MAX ? s->uri.swarm_id_len : CV_SHA_MAX;
    if (file->number)
        snprintf(part, sizeof part, ".%zu", file->number);
    snprintf(etag, sizeof etag, "\"%s%s\"", cv_hex(s->uri.swarm_id, tag_len, hex), part);
    const struct evkeyvalq *in = evhttp_request_get_input_headers(req);
    set_common(req);
    set(req, "ETag", etag);
    set(req, "Accept-Ranges", "bytes");
    const char *none_match = evhttp_find_header(in, "If-None-Match");
    if (none_match && (strstr(none_match, etag) || strcmp(none_match, "*") == 0)) {
        evhttp_send_reply(req, 304, "Not Modified", NULL);
        return;
    }
    set(req, "Content-Type", content_type(g, s, file));

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
        set(req, "Content-Range", text);
        /* Not refuse(): that would drop the headers. */
        evhttp_send_reply(req, 416, "Range Not Satisfiable", NULL);
        return;
    }
    if (kind == GW_RANGE_PART) {
        snprintf(text, sizeof text, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, first, last,
                 file->length);
        set(req, "Content-Range", text);
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
    char base[GW_LINK_MAX], token[2 * TOKEN_OCTETS + 1];
    struct evbuffer *out = evbuffer_new();
    if (!out) {
        refuse(req, 503, "Service Unavailable");
        return;
    }
    base_text(g, uri, base);
    token_text(g, uri, token);
    gw_folder_playlist(folder, base, token, out);
    set_common(req);
    set(req, "Content-Type", "audio/x-mpegurl");
    if (evhttp_request_get_command(req) == EVHTTP_REQ_HEAD)
        send_head(req, 200, evbuffer_get_length(out));
    else
        evhttp_send_reply(req, 200, "OK", out);
    evbuffer_free(out);
}

/* False: it was answered already. */
static bool find_file(struct gateway *g, struct evhttp_request *req,
                      const struct node_swarm_status *s, const char *behind_id,
                      struct served *ret) {
    const struct io_folder *folder;
    enum cv_err err = gw_folder_get(&g->folder, io_host_node(g->host), s->swarm, &folder);
    char *path = err ? NULL : gw_folder_path(behind_id);
    const struct io_folder_file *file = path ? io_folder_find(folder, path) : NULL;
    bool whole = path && !*path;
    free(path);
    if (err) {
        refuse(req, 503, "The folder's index is not there yet");
    } else if (whole) {
        serve_playlist(g, req, &s->uri, folder);
    } else if (!file) {
        refuse(req, 404, "Not Found");
    } else {
        *ret = (struct served){.name = file->path,
                               .at = file->offset,
                               .length = file->octets,
                               .number = (size_t)(file - folder->files) + 1};
    }
    return file != NULL;
}

static void serve_media(struct gateway *g, struct evhttp_request *req, const char *path) {
    char id[2 * ID_OCTETS + 1];
    struct node_swarm_status s;
    if (strlen(path) < 2 * ID_OCTETS || (path[2 * ID_OCTETS] && path[2 * ID_OCTETS] != '/')) {
        refuse(req, 404, "Not Found");
        return;
    }
    memcpy(id, path, 2 * ID_OCTETS);
    id[2 * ID_OCTETS] = 0;
    /* One answer for a wrong token and an unknown file: links cannot be tried. */
    if (!find_swarm(g, id, &s) || !token_ok(g, req, &s.uri)) {
        refuse(req, 403, "Forbidden");
        return;
    }

    if (s.uri.kind == NODE_URI_LIVE) {
        serve_live(g, req, &s);
        return;
    }
    if (!s.length) { /* asked for by its root hash alone, and nothing came yet */
        refuse(req, 503, "Service Unavailable");
        return;
    }
    struct served file = {.name = s.uri.name, .length = s.length};
    if (!s.uri.folder || find_file(g, req, &s, path + 2 * ID_OCTETS, &file))
        serve_file(g, req, &s, &file);
}

/* ---- page and interface ---- */

static bool serve_page(struct evhttp_request *req, const char *path) {
    set(req, "X-Content-Type-Options", "nosniff");
    set(req, "Cross-Origin-Resource-Policy", "same-origin");
    set(req, "Referrer-Policy", "no-referrer");
    return gw_page_serve(req, path);
}

static void serve_api(struct gateway *g, struct evhttp_request *req, const char *path) {
    set_common(req);
    g->api(g->api_ctx, req, path);
}

/* ---- requests ---- */

static void on_request(struct evhttp_request *req, void *arg) {
    struct gateway *g = arg;
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
    /* evhttp goes on reading during a reply to notice that the other side hangs
     * up; what is sent ahead must not pile up here. */
    bufferevent_setwatermark(evhttp_connection_get_bufferevent(evhttp_request_get_connection(req)),
                             EV_READ, 0, GW_AHEAD_MAX);
    enum gw_area area = !path || strncmp(path, "/s/", 3) == 0 ? GW_AREA_MEDIA
                        : strncmp(path, "/api/", 5) == 0      ? GW_AREA_API
                                                              : GW_AREA_PAGE;
    enum gw_verdict verdict = judge(g, req, area);
    enum evhttp_cmd_type cmd = evhttp_request_get_command(req);
    bool reads = cmd == EVHTTP_REQ_GET || cmd == EVHTTP_REQ_HEAD;
    if (verdict == GW_MISDIRECTED)
        refuse(req, verdict, "Misdirected Request");
    else if (verdict == GW_FOREIGN)
        refuse(req, verdict, "Forbidden");
    else if (verdict == GW_NO_TOKEN)
        refuse(req, verdict, "Unauthorized");
    else if (area == GW_AREA_API && g->api)
        serve_api(g, req, path);
    else if (area != GW_AREA_API && !reads)
        refuse(req, 405, "Method Not Allowed");
    else if (area == GW_AREA_MEDIA && path)
        serve_media(g, req, path + 3);
    else if (area != GW_AREA_PAGE || !serve_page(req, path))
        refuse(req, 404, "Not Found");
}

/* Who waits is looked at now and then: its swarm may have been closed, or the
 * player have gone behind more than we read ahead. */
static void on_sweep(void *ctx) {
    struct gateway *g = ctx;
    for (size_t i = g->media_count; i-- > 0;)
        if (i < g->media_count)
            gw_media_sweep(g->media[i]);
    cv_usec now = io_host_now(g->host).mono;
    if (g->media_count)
        io_timer_at(g->sweep, now, cv_usec_add(now, GW_SWEEP));
}

static void on_node_event(void *ctx, const struct node_event *ev) {
    struct gateway *g = ctx;
    /* A reply that ends moves the last one into its place: walk backwards. */
    for (size_t i = g->media_count; i-- > 0;) {
        if (i >= g->media_count)
            continue;
        if (ev->kind == NODE_EVENT_CHUNKS_READY)
            gw_media_ready(g->media[i], ev->swarm);
        else if (ev->kind == NODE_EVENT_LIVE_DROPPED)
            gw_media_skip(g->media[i], ev->swarm, ev->u.range.last + 1);
        else if (ev->kind == NODE_EVENT_LIVE_ENDED)
            gw_media_ended(g->media[i], ev->swarm, ev->u.count);
    }
}

/* ---- life ---- */

static enum cv_err listen_on(struct gateway *g, struct io_why *why) {
    char ip[INET6_ADDRSTRLEN], text[CV_ADDR_TEXT];
    const struct cv_addr *at = &g->cfg.listen;
    inet_ntop(at->family == 4 ? AF_INET : AF_INET6, at->ip, ip, sizeof ip);
    struct evhttp_bound_socket *bound = evhttp_bind_socket_with_handle(g->http, ip, at->port);
    if (!bound) {
        io_why_set(why,
                   "player link: cannot listen on %s (port in use?); choose another with --http",
                   cv_addr_text(at, text));
        return CV_ERR_EXIST;
    }
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&ss, &len);
    g->port = ntohs(ss.ss_family == AF_INET ? ((struct sockaddr_in *)&ss)->sin_port
                                            : ((struct sockaddr_in6 *)&ss)->sin6_port);
    struct gw_self *self = &g->self;
    snprintf(self->hosts[0], GW_HOST_MAX, at->family == 4 ? "%.24s:%u" : "[%.22s]:%u", ip, g->port);
    snprintf(self->hosts[1], GW_HOST_MAX, "localhost:%u", g->port);
    cv_hex(g->cfg.token, sizeof g->cfg.token, self->token);
    return CV_ERR_OK;
}

enum cv_err gateway_new(struct io_host *host, const struct gateway_config *cfg,
                        struct gateway **ret, struct io_why *why) {
    if (!cv_addr_is_loopback(&cfg->listen)) {
        io_why_set(why, "player link: --http must be a loopback address");
        return CV_ERR_INVAL;
    }
    struct gateway *g = calloc(1, sizeof *g);
    if (!g)
        return CV_ERR_NOMEM;
    g->host = host;
    g->cfg = *cfg;
    g->http = evhttp_new(io_loop_base(io_host_loop(host)));
    g->sweep = io_timer_new(io_host_loop(host), on_sweep, g);
    enum cv_err err = g->http && g->sweep ? listen_on(g, why) : CV_ERR_NOMEM;
    if (!err)
        err = io_host_listen(host, on_node_event, g);
    if (err) {
        if (g->http)
            evhttp_free(g->http);
        io_timer_free(g->sweep);
        free(g);
        return err;
    }
    evhttp_set_max_headers_size(g->http, GW_HEADERS_MAX);
    evhttp_set_max_body_size(g->http, GW_BODY_MAX);
    evhttp_set_timeout(g->http, GW_TIMEOUT_SECONDS);
    evhttp_set_allowed_methods(g->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST |
                                            EVHTTP_REQ_DELETE);
    evhttp_set_gencb(g->http, on_request, g);
    *ret = g;
    return CV_ERR_OK;
}

struct gateway *gateway_free(struct gateway *g) {
    if (!g)
        return NULL;
    io_host_unlisten(g->host, on_node_event, g);
    while (g->media_count)
        gw_media_abort(g->media[g->media_count - 1]);
    gw_folder_drop(&g->folder);
    evhttp_free(g->http);
    io_timer_free(g->sweep);
    cv_wipe(g->cfg.token, sizeof g->cfg.token);
    cv_wipe(g->cfg.secret, sizeof g->cfg.secret);
    cv_wipe(g->self.token, sizeof g->self.token);
    free(g);
    return NULL;
}

void gateway_on_api(struct gateway *g, gw_api_fn *fn, void *ctx) {
    g->api = fn;
    g->api_ctx = ctx;
}

uint16_t gateway_port(const struct gateway *g) {
    return g->port;
}

uint64_t gateway_sent(const struct gateway *g) {
    return g->sent;
}
