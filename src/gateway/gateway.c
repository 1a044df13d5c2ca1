#include "gateway/gateway.h"

#include <arpa/inet.h>
#include <assert.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/text.h"
#include "crypto/hash.h"
#include "crypto/keys.h"
#include "gateway/gateway_priv.h"
#include "gateway/page.h"
#include "io/sockaddr.h"

enum { ID_OCTETS = (GW_ID_TEXT - 1) / 2, TOKEN_OCTETS = (GW_MEDIA_TOKEN_TEXT - 1) / 2 };

/* ---- links ---- */

void gw_id_text(const struct node_uri *uri, char out[GW_ID_TEXT]) {
    uint8_t id[ID_OCTETS];
    CV_BLAKE2B(id, sizeof id, NULL, 0, {"culvert link", 12}, {uri->swarm_id, uri->swarm_id_len});
    cv_hex(id, sizeof id, out);
}

void gw_token_text(const struct gateway *g, const struct node_uri *uri,
                   char out[GW_MEDIA_TOKEN_TEXT]) {
    uint8_t token[TOKEN_OCTETS];
    CV_BLAKE2B(token, sizeof token, g->cfg.secret, GW_SECRET, {"media token", 11},
               {uri->swarm_id, uri->swarm_id_len});
    cv_hex(token, sizeof token, out);
}

/* Without the token. */
void gw_base_text(const struct gateway *g, const struct node_uri *uri, char out[GW_LINK_MAX]) {
    char id[GW_ID_TEXT];
    gw_id_text(uri, id);
    char *name = evhttp_uriencode(uri->name[0] ? uri->name : "video", -1, 0);
    int n = snprintf(out, GW_LINK_MAX, "http://%s/s/%s/%.768s", g->self.hosts[0], id,
                     name ? name : "video");
    assert(n > 0 && n < GW_LINK_MAX);
    free(name);
}

const char *gateway_link(const struct gateway *g, const struct node_uri *uri,
                         char out[GW_LINK_MAX]) {
    char token[GW_MEDIA_TOKEN_TEXT];
    gw_base_text(g, uri, out);
    gw_token_text(g, uri, token);
    size_t len = strlen(out);
    int n = snprintf(out + len, GW_LINK_MAX - len, "?k=%s", token);
    assert(n > 0 && (size_t)n < GW_LINK_MAX - len);
    return out;
}

const char *gateway_hls(const struct gateway *g, const struct node_uri *uri,
                        char out[GW_LINK_MAX]) {
    char token[GW_MEDIA_TOKEN_TEXT];
    gw_base_text(g, uri, out);
    gw_token_text(g, uri, token);
    size_t len = strlen(out);
    int n = snprintf(out + len, GW_LINK_MAX - len, "/" GW_HLS_PLAYLIST "?k=%s", token);
    assert(n > 0 && (size_t)n < GW_LINK_MAX - len);
    return out;
}

const char *gateway_page(const struct gateway *g, char out[GW_LINK_MAX]) {
    snprintf(out, GW_LINK_MAX, "http://%s/#t=%s", g->self.hosts[0], g->self.token);
    return out;
}

const char *gateway_page_once(struct gateway *g, char out[GW_LINK_MAX]) {
    snprintf(
        out, GW_LINK_MAX, "http://%s/#k=%s", g->self.hosts[0],
        gw_ticket_new(&g->tickets, g->cfg.token, sizeof g->cfg.token, io_host_now(g->host).mono));
    return out;
}

const char *gateway_take_ticket(struct gateway *g, const char *authorization) {
    static const char kind[] = "Ticket ";
    if (!authorization || strncasecmp(authorization, kind, sizeof kind - 1) != 0 ||
        !gw_ticket_take(&g->tickets, authorization + sizeof kind - 1, io_host_now(g->host).mono))
        return NULL;
    return g->self.token;
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

/* ---- page and interface ---- */

static bool serve_page(struct evhttp_request *req, const char *path) {
    gw_set_protected(req);
    return gw_page_serve(req, path);
}

static void serve_api(struct gateway *g, struct evhttp_request *req, const char *path) {
    gw_set_common(req);
    g->api(g->api_ctx, req, path);
}

/* ---- requests ---- */

static void on_request(struct evhttp_request *req, void *arg) {
    struct gateway *g = arg;
    gw_connections_asked(g->connections, req);
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
    /* evhttp goes on reading during a reply to notice that the other side hangs
     * up; what is sent ahead must not pile up here. */
    bufferevent_setwatermark(evhttp_connection_get_bufferevent(evhttp_request_get_connection(req)),
                             EV_READ, 0, GW_AHEAD_MAX);
    enum gw_area area = !path || strncmp(path, "/s/", 3) == 0 ? GW_AREA_MEDIA
                        : strcmp(path, "/api/token") == 0     ? GW_AREA_TICKET
                        : strncmp(path, "/api/", 5) == 0 || !strcmp(path, "/metrics")
                            ? GW_AREA_API
                            : GW_AREA_PAGE;
    enum gw_verdict verdict = judge(g, req, area);
    enum evhttp_cmd_type cmd = evhttp_request_get_command(req);
    bool reads = cmd == EVHTTP_REQ_GET || cmd == EVHTTP_REQ_HEAD;
    if (verdict == GW_MISDIRECTED)
        gw_refuse(req, verdict, "Misdirected Request");
    else if (verdict == GW_FOREIGN)
        gw_refuse(req, verdict, "Forbidden");
    else if (verdict == GW_NO_TOKEN)
        gw_refuse(req, verdict, "Unauthorized");
    else if ((area == GW_AREA_API || area == GW_AREA_TICKET) && g->api)
        serve_api(g, req, path);
    else if (area != GW_AREA_API && !reads)
        gw_refuse(req, 405, "Method Not Allowed");
    else if (area == GW_AREA_MEDIA && path)
        gw_serve(g, req, path + 3);
    else if (area != GW_AREA_PAGE || !serve_page(req, path))
        gw_refuse(req, 404, "Not Found");
}

/* Who waits is looked at now and then: its swarm may have been closed, or the
 * player have gone behind more than we read ahead. */
static void on_sweep(void *ctx) {
    struct gateway *g = ctx;
    for (size_t i = g->media_count; i-- > 0;)
        if (i < g->media_count)
            gw_media_sweep(g->media[i]);
    g->sweeps = false;
    bool waits = gw_captions_sweep(g->captions);
    if (gw_hls_sweep(g->hls) || g->media_count || waits)
        gw_sweep_soon(g);
}

void gw_sweep_soon(struct gateway *g) {
    cv_usec now = io_host_now(g->host).mono;
    if (!g->sweeps)
        io_timer_at(g->sweep, now, cv_usec_add(now, GW_SWEEP));
    g->sweeps = true;
}

static void on_node_event(void *ctx, const struct node_event *ev) {
    struct gateway *g = ctx;
    if (ev->kind == NODE_EVENT_CHUNKS_READY) {
        gw_hls_ready(g->hls, ev->swarm);
        gw_captions_ready(g->captions, ev->swarm);
    } else if (ev->kind == NODE_EVENT_LIVE_DROPPED) {
        gw_hls_skip(g->hls, ev->swarm, ev->u.range.last + 1);
    } else if (ev->kind == NODE_EVENT_LIVE_ENDED) {
        gw_hls_ended(g->hls, ev->swarm, ev->u.count);
    }
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

/* By the address itself: evhttp's own way asks the resolver for it, which knows no
 * 127.0.0.1 on a host whose network has IPv6 only. */
static struct evhttp_bound_socket *bind_link(struct gateway *g) {
    union io_sockaddr sa;
    socklen_t len = io_sockaddr_from(&g->cfg.listen, &sa);
    struct evconnlistener *l =
        evconnlistener_new_bind(io_loop_base(io_host_loop(g->host)), NULL, NULL,
                                LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_CLOSE_ON_FREE,
                                GW_BACKLOG, &sa.any, (int)len);
    struct evhttp_bound_socket *bound = l ? evhttp_bind_listener(g->http, l) : NULL;
    if (l && !bound)
        evconnlistener_free(l);
    return bound;
}

static enum cv_err listen_on(struct gateway *g, struct io_why *why) {
    char ip[INET6_ADDRSTRLEN], text[CV_ADDR_TEXT];
    const struct cv_addr *at = &g->cfg.listen;
    struct evhttp_bound_socket *bound = bind_link(g);
    if (!bound) {
        io_why_set(why,
                   "player link: cannot listen on %s (port in use?); choose another with --http",
                   cv_addr_text(at, text));
        return CV_ERR_EXIST;
    }
    union io_sockaddr sa;
    socklen_t len = sizeof sa;
    getsockname(evhttp_bound_socket_get_fd(bound), &sa.any, &len);
    g->port = io_sockaddr_to(&sa).port;
    inet_ntop(at->family == 4 ? AF_INET : AF_INET6, at->ip, ip, sizeof ip);
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
    g->connections = g->http ? gw_connections_new(io_host_loop(host), g->http) : NULL;
    g->hls = gw_hls_new(host);
    g->captions = gw_captions_new(host);
    enum cv_err err =
        g->connections && g->sweep && g->hls && g->captions ? listen_on(g, why) : CV_ERR_NOMEM;
    if (!err)
        err = io_host_listen(host, on_node_event, g);
    if (err) {
        if (g->http)
            evhttp_free(g->http);
        gw_connections_free(g->connections);
        gw_hls_free(g->hls);
        gw_captions_free(g->captions);
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

bool gateway_reads(const struct gateway *g, cv_handle swarm, uint64_t *ret_at) {
    uint64_t at, furthest = 0;
    bool any = false;
    for (size_t i = 0; i < g->media_count; i++) {
        if (!gw_media_reads(g->media[i], swarm, &at))
            continue;
        any = true;
        furthest = at > furthest ? at : furthest;
    }
    if (any)
        *ret_at = furthest;
    return any;
}

struct gateway *gateway_free(struct gateway *g) {
    if (!g)
        return NULL;
    io_host_unlisten(g->host, on_node_event, g);
    while (g->media_count)
        gw_media_abort(g->media[g->media_count - 1]);
    gw_hls_free(g->hls);
    gw_captions_free(g->captions);
    gw_folder_drop(&g->folder);
    evhttp_free(g->http);
    gw_connections_free(g->connections);
    io_timer_free(g->sweep);
    cv_wipe(g->cfg.token, sizeof g->cfg.token);
    cv_wipe(g->cfg.secret, sizeof g->cfg.secret);
    cv_wipe(g->self.token, sizeof g->self.token);
    cv_wipe(&g->tickets, sizeof g->tickets);
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
