#include "gateway/api.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "gateway/events.h"
#include "gateway/feed.h"
#include "gateway/metrics.h"
#include "gateway/qr.h"
#include "gateway/reply.h"

enum { RANGES_MAX = 256 };

struct gw_api {
    struct io_host *host;
    struct gateway *gateway;
    struct evhttp *http;
    struct gw_events *events;
    gw_wanted_fn *on_wanted;
    void *wanted_ctx;
    void (*add_status)(void *ctx, json_t *status);
    void *status_ctx;
    json_t *(*ledger)(void *ctx);
    void *ledger_ctx;
    struct gw_api_drops drops;
    struct gw_feed *feed; /* NULL: no command broadcasts the page's camera */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

static void swarm_name(const struct node_uri *uri, char out[2 * 8 + 1]) {
    cv_hex(uri->swarm_id, uri->swarm_id_len < 8 ? uri->swarm_id_len : 8, out);
}

static json_t *octets(uint64_t n) {
    return json_integer((json_int_t)n);
}

static json_t *day(int64_t midnight) {
    time_t at = (time_t)midnight;
    struct tm tm;
    char text[16] = "";
    if (gmtime_r(&at, &tm))
        strftime(text, sizeof text, "%Y-%m-%d", &tm);
    return json_string(text);
}

static json_t *first_hops(struct io_host *host) {
    json_t *list = json_array();
    struct node_first_hop hop;
    for (size_t i = 0; node_first_hop(io_host_node(host), i, &hop); i++) {
        char name[NODE_PSEUDONYM + 1], addr[CV_ADDR_TEXT];
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:b}", "relay",
                                        cv_hex(hop.identity, NODE_PSEUDONYM / 2, name), "address",
                                        cv_addr_text(&hop.addr, addr), "up", (int)hop.up));
    }
    return list;
}

/* Those that are not 0. */
static json_t *counters_of(const struct ppsp_counters *c) {
    json_t *o = json_object();
#define X(name)                                                                                    \
    if (c->name)                                                                                   \
        json_object_set_new(o, #name, octets(c->name));
    PPSP_COUNTERS(X)
#undef X
    return o;
}

static json_t *protocol(struct io_host *host) {
    /* What is watched through an exit is counted among the hidden. */
    static const char *const names[] = {
        [NODE_SWARM_HIDDEN] = "hidden", [NODE_SWARM_DIRECT] = "direct", [NODE_SWARM_OPEN] = "open"};
    json_t *o = json_object();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct ppsp_counters *c =
            node_ppsp_counters(io_host_node(host), (enum node_swarm_mode)i);
        if (c)
            json_object_set_new(o, names[i], counters_of(c));
    }
    return o;
}

/* What a swarm exit did: sums, and nobody's address. */
static json_t *exit_of(const struct exit_counters *x) {
    json_t *o = json_object();
    json_object_set_new(o, "flows", octets(x->flows));
    json_object_set_new(o, "opened", octets(x->flows_opened));
    json_object_set_new(o, "refused", octets(x->flows_refused));
    json_object_set_new(o, "calls", octets(x->calls));
    json_object_set_new(o, "octets_out", octets(x->out_octets));
    json_object_set_new(o, "octets_in", octets(x->in_octets));
    json_object_set_new(o, "dropped",
                        octets(x->drop_form + x->drop_channel + x->drop_calls + x->drop_rate +
                               x->drop_size + x->drop_stranger));
    return o;
}

/* Who got through to each address of ours, if we relay. */
static json_t *reach_of(const struct node_status *s) {
    json_t *list = json_array();
    char text[CV_ADDR_TEXT];
    for (size_t i = 0; i < sizeof s->reach / sizeof *s->reach; i++)
        if (s->reach[i].addr.family)
            json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "address",
                                                  cv_addr_text(&s->reach[i].addr, text), "by",
                                                  (json_int_t)s->reach[i].by, "not_by",
                                                  (json_int_t)s->reach[i].not_by));
    return list;
}

/* The second end of a socket, that of the other family, has a row of its own. */
static void add_sockets(json_t *sockets, const struct io_host *host, enum node_socket i,
                        const char *name) {
    for (unsigned end = 0; end < IO_SOCKET_ENDS; end++) {
        struct cv_addr at = io_host_bound(host, i, end);
        char text[CV_ADDR_TEXT], full[32];
        if (!at.family)
            continue;
        struct io_udp_stats u = io_host_stats(host, i, end);
        json_t *row = json_object();
        json_object_set_new(row, "address", json_string(cv_addr_text(&at, text)));
        json_object_set_new(row, "datagrams_in", octets(u.datagrams_in));
        json_object_set_new(row, "datagrams_out", octets(u.datagrams_out));
        json_object_set_new(row, "calls_in", octets(u.calls_in));
        json_object_set_new(row, "calls_out", octets(u.calls_out));
        json_object_set_new(row, "dropped_in", octets(u.dropped_in));
        json_object_set_new(row, "dropped_out", octets(u.dropped_out));
        json_object_set_new(row, "buffer_in", octets(u.buffer_in));
        json_object_set_new(row, "buffer_out", octets(u.buffer_out));
        snprintf(full, sizeof full, "%s%s", name, end ? "_too" : "");
        json_object_set_new(sockets, full, row);
    }
}

json_t *gw_api_status(struct io_host *host) {
    struct node_status s;
    node_status(io_host_node(host), &s);
    json_t *o = json_object();
    json_object_set_new(o, "dht_good", octets(s.dht_good));
    json_object_set_new(o, "dht_nodes", octets(s.dht_nodes));
    json_object_set_new(o, "relays_known", octets(s.relays_known));
    json_object_set_new(o, "relays_missing", octets(s.relays_missing));
    json_object_set_new(o, "guards", octets(s.guards));
    json_object_set_new(o, "guards_poor", octets(s.guards_poor));
    json_object_set_new(o, "reach", reach_of(&s));
    json_object_set_new(o, "circuits", octets(s.circuits));
    json_object_set_new(o, "links", octets(s.links));
    json_object_set_new(o, "hops_carried", octets(s.hops_carried));
    json_object_set_new(o, "cells_relayed", octets(s.cells_relayed));
    json_object_set_new(o, "workers", octets(s.workers));
    json_object_set_new(o, "draining", json_boolean(s.draining));
    json_object_set_new(o, "dropped", octets(s.dropped));
    json_object_set_new(o, "circuit_full", octets(s.circuit_full));
    json_object_set_new(o, "paths_refused", octets(s.paths_refused));
    json_object_set_new(o, "liars", octets(s.liars));
    json_object_set_new(o, "ledger",
                        json_pack("{s:I, s:I, s:I, s:i, s:s}", "pending",
                                  (json_int_t)s.ledger_pending, "given", (json_int_t)s.ledger_given,
                                  "taken", (json_int_t)s.ledger_taken, "rows", (int)s.ledger_rows,
                                  "stopped",
                                  !s.ledger_failed                    ? "no"
                                  : s.ledger_failed == CV_ERR_DIFFERS ? "old_copy"
                                                                      : "failed"));
    static const char *const stands[] = {"priority", "giver", "new", "debtor"};
    json_object_set_new(o, "own",
                        json_pack("{s:I, s:I, s:s, s:i, s:b}", "given", (json_int_t)s.own_given,
                                  "taken", (json_int_t)s.own_taken, "stands", stands[s.stands],
                                  "tokens", (int)s.tokens, "account", (int)s.own_account));
    if (s.own_since)
        json_object_set_new(json_object_get(o, "own"), "since", day(s.own_since));
    json_object_set_new(o, "upstream",
                        json_pack("{s:I, s:I, s:b}", "measured", (json_int_t)s.upstream, "limit",
                                  (json_int_t)s.upstream_limit, "lifted", (int)s.upstream_lifted));
    json_object_set_new(o, "constant_rate",
                        json_pack("{s:i, s:i, s:i, s:i}", "circuits", (int)s.rate_circuits, "mbit",
                                  (int)s.rate_mbit, "running_on", (int)s.rate_running_on, "seconds",
                                  (int)s.rate_seconds));
    static const char *const names[NODE_SOCKETS] = {"main",  "own",   "direct", "exit1",
                                                    "exit2", "exit3", "exit4",  "exit5",
                                                    "exit6", "exit7", "exit8"};
    json_t *sockets = json_object();
    for (enum node_socket i = NODE_SOCKET_MAIN; i < NODE_SOCKETS; i++)
        add_sockets(sockets, host, i, names[i]);
    json_object_set_new(o, "sockets", sockets);
    if (s.external.family) {
        char seen[CV_ADDR_TEXT];
        json_object_set_new(o, "external",
                            json_pack("{s:s, s:b}", "address", cv_addr_text(&s.external, seen),
                                      "same_port", (int)s.external_same_port));
    }
    json_object_set_new(o, "first_hops", first_hops(host));
    json_object_set_new(o, "protocol", protocol(host));
    const struct exit_counters *x = node_exit_counters(io_host_node(host));
    if (x)
        json_object_set_new(o, "exit", exit_of(x));
    return o;
}

/* Verified parts as [first, last] in octets; the first of them when there are
 * very many. */
static json_t *ranges(struct io_host *host, const struct node_swarm_status *s) {
    json_t *list = json_array();
    uint64_t first = 0, last;
    for (size_t i = 0; i < RANGES_MAX; i++, first = last + 1) {
        if (!node_range(io_host_node(host), s->swarm, first, &first, &last))
            break;
        json_array_append_new(list, json_pack("[I, I]", (json_int_t)first, (json_int_t)last));
    }
    return list;
}

json_t *gw_api_recordings(const struct node_recordings *r, const struct node_uri *channel) {
    json_t *list = json_array();
    for (uint32_t i = 0; i < r->count; i++) {
        struct node_uri u;
        char uri[NODE_URI_MAX];
        node_recording_uri(&r->v[i], channel, &u);
        if (node_uri_write(&u, uri, sizeof uri) > 0)
            json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I}", "name", u.name, "uri",
                                                  uri, "length", (json_int_t)u.length, "ended",
                                                  (json_int_t)r->v[i].ended));
    }
    return list;
}

static json_t *stamps_of(const struct node_stamps *s) {
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "asked", (json_int_t)s->asked, "came",
                     (json_int_t)s->came, "refused", (json_int_t)s->refused, "below",
                     (json_int_t)s->below, "given", (json_int_t)s->given, "given_of",
                     (json_int_t)s->given_of);
}

json_t *gw_api_swarms(struct io_host *host, const struct gateway *gateway) {
    json_t *list = json_array();
    struct node_swarm_status s;
    for (size_t i = 0; node_swarm_status(io_host_node(host), i, &s); i++) {
        char id[2 * 8 + 1], link[GW_LINK_MAX], uri[NODE_URI_MAX];
        swarm_name(&s.uri, id);
        json_t *o = json_pack(
            "{s:s, s:s, s:b, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:i}", "swarm", id, "name",
            s.uri.name, "direct", s.mode == NODE_SWARM_DIRECT, "open", s.mode == NODE_SWARM_OPEN,
            "sharing", (int)s.sharing, "have", (json_int_t)s.have, "length",
            (json_int_t)(s.length == UINT64_MAX ? 0 : s.length), "received", (json_int_t)s.received,
            "sent", (json_int_t)s.sent, "rate_down", (json_int_t)s.rate_down, "rate_up",
            (json_int_t)s.rate_up, "peers", (int)s.peers);
        if (o && s.constant_rate)
            json_object_set_new(o, "constant_rate", json_integer(s.constant_rate));
        if (o && s.rate_refused)
            json_object_set_new(o, "rate_refused", json_integer(s.rate_refused));
        if (o && s.mode == NODE_SWARM_HIDDEN)
            json_object_set_new(o, "stamps", stamps_of(&s.stamps));
        if (o)
            json_object_set_new(o, "exit", json_boolean(s.mode == NODE_SWARM_EXIT));
        if (o)
            json_object_set_new(o, "ranges", ranges(host, &s));
        if (o && s.uri.kind == NODE_URI_LIVE)
            json_object_set_new(o, "live", json_true());
        if (o && node_uri_write(&s.uri, uri, sizeof uri) > 0)
            json_object_set_new(o, "uri", json_string(uri));
        if (o && gateway)
            json_object_set_new(o, "link", json_string(gateway_link(gateway, &s.uri, link)));
        if (o && gateway && s.uri.kind == NODE_URI_LIVE)
            json_object_set_new(o, "hls", json_string(gateway_hls(gateway, &s.uri, link)));
        const struct node_recordings *r = node_recordings(io_host_node(host), s.swarm);
        bool ours = false;
        const struct node_uri *of = node_recordings_of(io_host_node(host), s.swarm, &ours);
        if (o && r && of) {
            json_object_set_new(o, "recordings", gw_api_recordings(r, of));
            json_object_set_new(o, "recordings_ours", json_boolean(ours));
        }
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *path_of(const struct node_peer_status *p) {
    json_t *hops = json_array();
    for (size_t i = 0; i < p->hops; i++)
        json_array_append_new(hops, json_string(p->path[i]));
    return hops;
}

/* Calls `add` for every peer of every swarm. */
static json_t *each_peer(struct io_host *host, json_t *(*make)(const struct node_swarm_status *,
                                                               const struct node_peer_status *)) {
    json_t *list = json_array();
    struct node_swarm_status s;
    struct node_peer_status p;
    for (size_t i = 0; node_swarm_status(io_host_node(host), i, &s); i++)
        for (size_t j = 0; node_peer_status(io_host_node(host), s.swarm, j, &p); j++)
            json_array_append_new(list, make(&s, &p));
    return list;
}

static json_t *peer_row(const struct node_swarm_status *s, const struct node_peer_status *p) {
    char addr[CV_ADDR_TEXT] = "";
    if (!p->hidden)
        cv_addr_text(&p->endpoint.addr, addr);
    char id[2 * 8 + 1];
    swarm_name(&s->uri, id);
    json_t *o = json_pack("{s:s, s:s, s:b, s:i, s:I, s:I, s:I, s:I, s:I, s:I}", "swarm", id, "name",
                          s->uri.name, "hidden", (int)p->hidden, "hops", (int)p->hops, "received",
                          (json_int_t)p->received, "sent", (json_int_t)p->sent, "rate_down",
                          (json_int_t)p->rate_down, "rate_up", (json_int_t)p->rate_up, "rtt_ms",
                          (json_int_t)(p->rtt / 1000), "have", (json_int_t)p->have);
    if (o) {
        json_object_set_new(o, "direct", json_boolean(s->mode == NODE_SWARM_DIRECT));
        json_object_set_new(o, "open", json_boolean(s->mode == NODE_SWARM_OPEN));
        json_object_set_new(o, "exit", json_boolean(s->mode == NODE_SWARM_EXIT));
        json_object_set_new(o, "address", p->hidden ? json_null() : json_string(addr));
        json_object_set_new(o, "path", path_of(p));
        json_object_set_new(o, "rank", octets(p->rank));
        json_object_set_new(o, "choked", json_boolean(p->choked));
    }
    return o;
}

static json_t *path_row(const struct node_swarm_status *s, const struct node_peer_status *p) {
    json_t *o = json_pack("{s:s, s:b, s:b, s:b, s:o}", "name", s->uri.name, "hidden",
                          (int)p->hidden, "open", s->mode == NODE_SWARM_OPEN, "exit",
                          s->mode == NODE_SWARM_EXIT, "path", path_of(p));
    if (o && p->constant_rate)
        json_object_set_new(o, "constant_rate", json_integer(p->constant_rate));
    return o;
}

json_t *gw_api_peers(struct io_host *host) {
    return each_peer(host, peer_row);
}

json_t *gw_api_path(struct io_host *host) {
    return each_peer(host, path_row);
}

/* ---- the socket ---- */

static void send_text(struct evhttp_request *req, int status, const char *reason, const char *type,
                      const char *text) {
    evbuffer_add(evhttp_request_get_output_buffer(req), text, strlen(text));
    evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", type);
    evhttp_send_reply(req, status, reason, NULL);
}

static void answer(struct evhttp_request *req, json_t *o) {
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (!text) {
        gw_refuse_json(req, 500, "out of memory");
        return;
    }
    evbuffer_add_printf(evhttp_request_get_output_buffer(req), "%s\n", text);
    free(text);
    evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Type", "application/json");
    evhttp_send_reply(req, 200, "OK", NULL);
}

static json_t *page_of(const struct gw_api *a) {
    char link[GW_LINK_MAX];
    return json_pack("{s:s*}", "page", a->gateway ? gateway_page(a->gateway, link) : NULL);
}

static json_t *status_of(struct gw_api *a) {
    json_t *o = gw_api_status(a->host);
    if (o && a->add_status)
        a->add_status(a->status_ctx, o);
    bool runs = a->feed && gw_feed_runs(a->feed, io_host_now(a->host).mono);
    if (o)
        json_object_set_new(o, "camera",
                            json_string(!a->feed ? "none"
                                        : runs   ? "records"
                                                 : "waits"));
    return o;
}

static json_t *drops_of(const struct gw_api *a) {
    return a->drops.all ? gw_drops_list(a->drops.all) : NULL;
}

static json_t *state(void *ctx) {
    struct gw_api *a = ctx;
    return json_pack("{s:o*, s:o*, s:o*, s:o*}", "status", status_of(a), "swarms",
                     gw_api_swarms(a->host, a->gateway), "peers", gw_api_peers(a->host), "drops",
                     drops_of(a));
}

/* ---- what there is to ask for: docs/openapi.json says the same ---- */

/* Something to do, described by a JSON object; the answer is a stream. */
static void serve_tasks(struct gw_api *a, struct evhttp_request *req) {
    struct evbuffer *in = evhttp_request_get_input_buffer(req);
    size_t len = evbuffer_get_length(in);
    const char *body = (const char *)evbuffer_pullup(in, -1);
    json_t *o = body ? json_loadb(body, len, 0, NULL) : NULL;
    if (!json_is_object(o) || !a->on_wanted) {
        gw_refuse_json(req, 400, a->on_wanted ? "Not a JSON object" : "The node is stopping");
        json_decref(o);
        return;
    }
    struct gw_stream *stream = gw_stream_new(req);
    if (!stream)
        gw_refuse_json(req, 500, "out of memory");
    else if (!a->on_wanted(a->wanted_ctx, o, stream))
        gw_stream_end(stream);
    json_decref(o);
}

static void serve_status(struct gw_api *a, struct evhttp_request *req) {
    answer(req, status_of(a));
}

static void serve_swarms(struct gw_api *a, struct evhttp_request *req) {
    answer(req, gw_api_swarms(a->host, a->gateway));
}

static void serve_peers(struct gw_api *a, struct evhttp_request *req) {
    answer(req, gw_api_peers(a->host));
}

static void serve_path(struct gw_api *a, struct evhttp_request *req) {
    answer(req, gw_api_path(a->host));
}

static void serve_page(struct gw_api *a, struct evhttp_request *req) {
    answer(req, page_of(a));
}

static void serve_ticket(struct gw_api *a, struct evhttp_request *req) {
    char link[GW_LINK_MAX];
    answer(req,
           json_pack("{s:s*}", "page", a->gateway ? gateway_page_once(a->gateway, link) : NULL));
}

static void serve_token(struct gw_api *a, struct evhttp_request *req) {
    const struct evkeyvalq *in = evhttp_request_get_input_headers(req);
    const char *token =
        a->gateway ? gateway_take_ticket(a->gateway, evhttp_find_header(in, "Authorization"))
                   : NULL;
    if (token)
        answer(req, json_pack("{s:s}", "token", token));
    else
        gw_refuse_json(req, 401, "No such ticket, or not any more");
}

static void serve_ledger(struct gw_api *a, struct evhttp_request *req) {
    json_t *o = a->ledger ? a->ledger(a->ledger_ctx) : json_pack("{s:[], s:[]}", "rows", "relays");
    if (o)
        answer(req, o);
    else
        gw_refuse_json(req, 500, "The ledger cannot be read; see culvert-ledger verify");
}

static void serve_events(struct gw_api *a, struct evhttp_request *req) {
    if (!gw_events_listen(a->events, req))
        gw_refuse_json(req, 503, "Too many listeners");
}

/* ---- what comes from the page: files and a camera's pieces ---- */

/* The parameters of a request's URI; false: there are none. evhttp_clear_headers(). */
static bool query_of(struct evhttp_request *req, struct evkeyvalq *ret) {
    const char *asked = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(req));
    return asked && evhttp_parse_query_str(asked, ret) == 0;
}

/* UINT64_MAX: it is not there, or no plain number. */
static uint64_t number_of(const struct evkeyvalq *query, const char *name) {
    const char *text = evhttp_find_header(query, name);
    size_t len = text ? strlen(text) : 0;
    if (!len || len > 18 || strspn(text, "0123456789") != len)
        return UINT64_MAX;
    return strtoull(text, NULL, 10);
}

static void serve_drops(struct gw_api *a, struct evhttp_request *req) {
    answer(req, a->drops.all ? drops_of(a) : json_array());
}

static void put_piece(struct gw_api *a, struct evhttp_request *req, const struct evkeyvalq *query) {
    struct evbuffer *in = evhttp_request_get_input_buffer(req);
    const struct gw_drop *drop = NULL;
    const char *why = "";
    struct gw_piece piece = {.id = evhttp_find_header(query, "id"),
                             .name = evhttp_find_header(query, "name"),
                             .length = number_of(query, "length"),
                             .at = number_of(query, "at"),
                             .len = evbuffer_get_length(in),
                             .data = evbuffer_pullup(in, -1)};
    const struct gw_drop *known = gw_drops_find(a->drops.all, piece.id);
    bool before = known && known->at == known->length;
    int status = gw_drops_put(a->drops.all, io_host_now(a->host).mono, &piece, &drop, &why);
    if (status != 200) {
        gw_refuse_json(req, status, why);
        return;
    }
    if (!before && drop->at == drop->length)
        a->drops.whole(a->drops.ctx, drop);
    answer(req, gw_drop_json(drop));
}

static void serve_drop(struct gw_api *a, struct evhttp_request *req) {
    struct evkeyvalq query;
    if (!a->drops.all) {
        gw_refuse_json(req, 503, "Only a node takes files; start culvert node");
        return;
    }
    if (!query_of(req, &query)) {
        gw_refuse_json(req, 400, "id, name, length and at are missing");
        return;
    }
    put_piece(a, req, &query);
    evhttp_clear_headers(&query);
}

static void serve_undrop(struct gw_api *a, struct evhttp_request *req) {
    struct evkeyvalq query;
    bool removed = false;
    if (!query_of(req, &query)) {
        gw_refuse_json(req, 400, "id is missing");
        return;
    }
    const char *id = evhttp_find_header(&query, "id");
    const struct gw_drop *drop = a->drops.all && id ? gw_drops_find(a->drops.all, id) : NULL;
    if (drop) {
        a->drops.gone(a->drops.ctx, drop);
        removed = gw_drops_remove(a->drops.all, id);
    }
    evhttp_clear_headers(&query);
    answer(req, json_pack("{s:b}", "removed", (int)removed));
}

/* Calls one of the feed's, when there is one. */
static void serve_recording(struct gw_api *a, struct evhttp_request *req, bool ends) {
    struct evkeyvalq query;
    if (!a->feed) {
        gw_refuse_json(req, 503, "No command broadcasts the camera; start culvert live camera:");
        return;
    }
    if (!query_of(req, &query)) {
        gw_refuse_json(req, 400, "session and number are missing");
        return;
    }
    const char *session = evhttp_find_header(&query, "session");
    if (ends)
        gw_feed_end(a->feed, req, session);
    else
        gw_feed_piece(a->feed, io_host_now(a->host).mono, req, session,
                      number_of(&query, "number"));
    evhttp_clear_headers(&query);
}

static void serve_camera(struct gw_api *a, struct evhttp_request *req) {
    serve_recording(a, req, false);
}

static void serve_camera_end(struct gw_api *a, struct evhttp_request *req) {
    serve_recording(a, req, true);
}

static json_t *rows_of(const struct gw_qr *code) {
    json_t *rows = json_array();
    for (size_t y = 0; y < code->side; y++) {
        char row[GW_QR_SIDE];
        for (size_t x = 0; x < code->side; x++)
            row[x] = code->dark[y][x] ? '1' : '0';
        json_array_append_new(rows, json_stringn(row, code->side));
    }
    return rows;
}

static void serve_qr(struct gw_api *a, struct evhttp_request *req) {
    (void)a;
    static struct gw_qr code;
    struct evkeyvalq query;
    bool made = false;
    if (query_of(req, &query)) {
        const char *text = evhttp_find_header(&query, "text");
        made = text && gw_qr_make(text, &code);
        evhttp_clear_headers(&query);
    }
    if (made)
        answer(req, json_pack("{s:o}", "rows", rows_of(&code)));
    else
        gw_refuse_json(req, 400, "text is missing or too long");
}

static void serve_metrics(struct gw_api *a, struct evhttp_request *req) {
    char *text = gw_metrics(a->host, a->gateway ? gateway_sent(a->gateway) : 0);
    if (text)
        send_text(req, 200, "OK", GW_METRICS_TYPE, text);
    else
        gw_refuse_json(req, 500, "out of memory");
    free(text);
}

static const struct {
    enum evhttp_cmd_type method;
    const char *path;
    void (*serve)(struct gw_api *a, struct evhttp_request *req);
} routes[] = {
    {EVHTTP_REQ_GET, "/api/status", serve_status},
    {EVHTTP_REQ_GET, "/api/swarms", serve_swarms},
    {EVHTTP_REQ_GET, "/api/peers", serve_peers},
    {EVHTTP_REQ_GET, "/api/path", serve_path},
    {EVHTTP_REQ_GET, "/api/page", serve_page},
    {EVHTTP_REQ_POST, "/api/tickets", serve_ticket},
    {EVHTTP_REQ_POST, "/api/token", serve_token},
    {EVHTTP_REQ_GET, "/api/events", serve_events},
    {EVHTTP_REQ_GET, "/api/qr", serve_qr},
    {EVHTTP_REQ_POST, "/api/tasks", serve_tasks},
    {EVHTTP_REQ_GET, "/api/ledger", serve_ledger},
    {EVHTTP_REQ_GET, "/api/drops", serve_drops},
    {EVHTTP_REQ_POST, "/api/drops", serve_drop},
    {EVHTTP_REQ_DELETE, "/api/drops", serve_undrop},
    {EVHTTP_REQ_POST, "/api/camera", serve_camera},
    {EVHTTP_REQ_DELETE, "/api/camera", serve_camera_end},
    {EVHTTP_REQ_GET, "/metrics", serve_metrics},
};

/* The same for the socket and, after its checks, the gateway. */
static void serve(void *ctx, struct evhttp_request *req, const char *path) {
    bool known = false;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (strcmp(routes[i].path, path) != 0)
            continue;
        known = true;
        if (routes[i].method == evhttp_request_get_command(req)) {
            routes[i].serve(ctx, req);
            return;
        }
    }
    gw_refuse_json(req, known ? 405 : 404, known ? "Method Not Allowed" : "Not Found");
}

static void on_request(struct evhttp_request *req, void *arg) {
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
    if (path)
        serve(arg, req, path);
    else
        gw_refuse(req, 404, "Not Found");
}

static bool answers(const struct sockaddr_un *at) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool yes = fd >= 0 && connect(fd, (const struct sockaddr *)at, sizeof *at) == 0;
    if (fd >= 0)
        close(fd);
    return yes;
}

static void discard(struct gw_api *a) {
    gw_feed_free(a->feed);
    gw_events_free(a->events);
    if (a->http)
        evhttp_free(a->http);
    free(a);
}

enum cv_err gw_api_new(struct io_host *host, struct gateway *gateway, const char *path,
                       struct gw_api **ret, struct io_why *why) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof at.sun_path) {
        io_why_set(why, "%.120s: path of the control socket is longer than %zu octets", path,
                   sizeof at.sun_path - 1);
        return CV_ERR_INVAL;
    }
    struct gw_api *a = calloc(1, sizeof *a);
    if (!a)
        return CV_ERR_NOMEM;
    a->host = host;
    a->gateway = gateway;
    memcpy(at.sun_path, path, strlen(path) + 1);
    memcpy(a->path, path, strlen(path) + 1);
    a->http = evhttp_new(io_loop_base(io_host_loop(host)));
    a->events = gw_events_new(host, state, a);
    if (!a->http || !a->events) {
        discard(a);
        return CV_ERR_NOMEM;
    }
    /* The state folder is locked by us; but the runtime folder's socket may be that
     * of a node on another one. What nobody listens at is a dead node's. */
    if (answers(&at)) {
        io_why_set(why,
                   "%.180s: another node listens there; stop it, or name a folder with --state",
                   path);
        discard(a);
        return CV_ERR_EXIST;
    }
    unlink(path);
    mode_t before = umask(0177);
    struct evconnlistener *l = evconnlistener_new_bind(
        io_loop_base(io_host_loop(host)), NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC,
        16, (struct sockaddr *)&at, sizeof at);
    umask(before);
    if (!l || !evhttp_bind_listener(a->http, l)) {
        io_why_set(why, "%.180s: cannot listen there", path);
        if (l)
            evconnlistener_free(l);
        discard(a);
        return CV_ERR_EXIST;
    }
    evhttp_set_max_headers_size(a->http, GW_HEADERS_MAX);
    evhttp_set_max_body_size(a->http, GW_WANTED_MAX);
    evhttp_set_timeout(a->http, GW_TIMEOUT_SECONDS);
    evhttp_set_gencb(a->http, on_request, a);
    if (gateway)
        gateway_on_api(gateway, serve, a);
    *ret = a;
    return CV_ERR_OK;
}

void gw_api_on_wanted(struct gw_api *a, gw_wanted_fn *fn, void *ctx) {
    a->on_wanted = fn;
    a->wanted_ctx = ctx;
}

void gw_api_on_status(struct gw_api *a, void (*add)(void *ctx, json_t *status), void *ctx) {
    a->add_status = add;
    a->status_ctx = ctx;
}

void gw_api_on_ledger(struct gw_api *a, json_t *(*rows)(void *ctx), void *ctx) {
    a->ledger = rows;
    a->ledger_ctx = ctx;
}

void gw_api_on_drops(struct gw_api *a, const struct gw_api_drops *drops) {
    a->drops = *drops;
}

bool gw_api_feed(struct gw_api *a, int fd) {
    if (a->feed || (a->feed = gw_feed_new(io_host_loop(a->host), fd)) == NULL) {
        if (a->feed)
            close(fd);
        return false;
    }
    return true;
}

void gw_api_feed_end(struct gw_api *a) {
    a->feed = gw_feed_free(a->feed);
}

struct gw_api *gw_api_free(struct gw_api *a) {
    if (!a)
        return NULL;
    if (a->gateway)
        gateway_on_api(a->gateway, NULL, NULL);
    unlink(a->path);
    discard(a);
    return NULL;
}
