#include "io/host.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/rng_system.h"
#include "io/clock.h"
#include "io/limits.h"
#include "io/workers.h"

enum {
    STRIDE = 1472,      /* the most a UDP datagram has on Ethernet */
    CHUNK_HEADER = 128, /* more than stands before a chunk in its datagram */
    UDP_MAX = 65507,
    SLOTS = 4 * CV_RUN_MAX,
    RUNS = 64,
    RECEIVES = 8, /* calls a socket may make before the others have their turn */
    READS = 64,   /* messages of workers before what they caused is sent and told */
};

struct host_socket {
    struct io_host *host;
    enum node_socket kind;
    struct io_socket *socket; /* NULL: none */
    struct cv_batch batch;    /* what the kernel did not take yet stays here */
    struct cv_run runs[RUNS];
};

struct io_host {
    struct io_loop *loop;
    struct node *node;
    struct io_timer *timer;
    struct host_socket sockets[NODE_SOCKETS];
    struct io_workers *workers; /* beside the node's own; NULL: it carries alone */
    struct {
        io_host_fn *fn;
        void *ctx;
    } listeners[IO_HOST_LISTENERS_MAX];
    struct cv_now now;
    bool working, kicked;
};

/* ---- draining ---- */

/* True when something left. */
static bool transmit(struct io_host *h, struct host_socket *s) {
    if (!s->socket || io_socket_is_full(s->socket))
        return false;
    bool any = false;
    for (;;) {
        if (!s->batch.runs_used)
            node_poll_transmit(h->node, h->now, s->kind, &s->batch);
        if (!s->batch.runs_used)
            return any;
        any = true;
        if (io_socket_send(s->socket, &s->batch) == CV_ERR_AGAIN)
            return any;
    }
}

static void tell(struct io_host *h, const struct node_event *ev) {
    for (size_t i = 0; i < IO_HOST_LISTENERS_MAX; i++)
        if (h->listeners[i].fn)
            h->listeners[i].fn(h->listeners[i].ctx, ev);
}

static void post(struct io_host *h) {
    struct tun_message *m;
    while ((m = node_poll_message(h->node)) != NULL)
        if (!io_workers_post(h->workers, m))
            node_on_lost(h->node, m);
}

/* Until nobody has anything more: listeners may have called into the node. */
static void drain(struct io_host *h) {
    bool again;
    h->working = true;
    do {
        struct node_event ev;
        h->kicked = again = false;
        for (enum node_socket i = NODE_SOCKET_MAIN; i < NODE_SOCKETS; i++)
            again |= transmit(h, &h->sockets[i]);
        while (node_poll_event(h->node, &ev)) {
            tell(h, &ev);
            again = true;
        }
        post(h);
    } while (again || h->kicked);
    h->working = false;
    io_timer_at(h->timer, h->now.mono, node_next_timeout(h->node));
}

static void on_timer(void *ctx) {
    struct io_host *h = ctx;
    h->now = io_clock_now();
    node_on_timeout(h->node, h->now);
    drain(h);
}

static void on_socket(void *ctx, struct io_udp *ready) {
    struct host_socket *s = ctx;
    struct io_host *h = s->host;
    h->now = io_clock_now();
    struct io_datagram *d;
    size_t n;
    for (int i = 0; ready && i < RECEIVES && (n = io_udp_receive(ready, &d)) > 0; i++) {
        for (size_t j = 0; j < n; j++) {
            if (j + NODE_EXPECT < n)
                node_expect(h->node, s->kind, d[j + NODE_EXPECT].data, d[j + NODE_EXPECT].len);
            node_on_datagram(h->node, h->now, s->kind, &d[j].from, d[j].data, d[j].len);
        }
        /* Answers leave between two receives: whoever waits for an ACK is not
         * made to wait for the whole backlog. Nor are other workers. */
        transmit(h, s);
        post(h);
    }
    if (node_next_timeout(h->node) <= h->now.mono)
        node_on_timeout(h->node, h->now);
    drain(h);
}

/* Something came from the workers. */
static void on_told(void *ctx) {
    struct io_host *h = ctx;
    struct tun_message *m;
    h->now = io_clock_now();
    for (unsigned i = 1; (m = io_workers_take(h->workers)) != NULL; i++) {
        node_on_message(h->node, h->now, m);
        if (i % READS == 0)
            drain(h);
    }
    drain(h);
}

void io_host_kick(struct io_host *h) {
    if (h->working)
        h->kicked = true;
    else
        io_timer_at(h->timer, h->now.mono, h->now.mono);
}

void io_host_flush(struct io_host *h) {
    h->now = io_clock_now();
    drain(h);
}

/* ---- life ---- */

/* Octets of one datagram: on Ethernet's measure, unless a single chunk needs more. */
static uint16_t stride(enum node_socket kind, const struct io_host_config *cfg) {
    uint32_t need = kind == NODE_SOCKET_DIRECT ? cfg->direct_chunk + CHUNK_HEADER : 0;
    return (uint16_t)(need > UDP_MAX ? UDP_MAX : need > STRIDE ? need : STRIDE);
}

static enum cv_err open_socket(struct io_host *h, enum node_socket kind,
                               const struct cv_addr addr[IO_SOCKET_ENDS],
                               const struct io_host_config *cfg, struct io_why *why) {
    uint16_t octets = stride(kind, cfg);
    struct host_socket *s = &h->sockets[kind];
    s->host = h;
    s->kind = kind;
    if (!addr[0].family)
        return CV_ERR_OK;
    bool circuits = kind == NODE_SOCKET_MAIN || kind == NODE_SOCKET_OWN;
    uint32_t buffer = cfg->buffer_octets ? cfg->buffer_octets : circuits ? IO_BUFFER_WISH : 0;
    struct io_udp_config one = {.addr = addr[0], .buffer = buffer};
    enum cv_err err = io_socket_open(h->loop, &one, &addr[1], on_socket, s, &s->socket, why);
    if (err)
        return err;
    uint8_t *arena = malloc((size_t)SLOTS * octets);
    if (!arena) {
        io_why_set(why, "out of memory");
        return CV_ERR_NOMEM;
    }
    s->batch = cv_batch_init(arena, SLOTS, octets, 0, s->runs, RUNS);
    return CV_ERR_OK;
}

/* Without a kernel that shares the port the node's own worker carries everything. */
static enum cv_err open_workers(struct io_host *h, const struct io_host_config *cfg) {
    if (!cfg->node.relay || cfg->node.relay_workers <= 1)
        return CV_ERR_OK;
    uint32_t buffer = cfg->buffer_octets ? cfg->buffer_octets : IO_BUFFER_WISH;
    enum cv_err err = io_workers_new(h->loop, h->sockets[NODE_SOCKET_MAIN].socket,
                                     cfg->node.relay_workers, buffer, on_told, h, &h->workers);
    return err == CV_ERR_DENIED ? CV_ERR_OK : err;
}

/* 0: both. */
static uint8_t family(const struct io_host *h, enum node_socket socket) {
    return io_host_bound(h, socket, 1).family ? 0 : io_host_bound(h, socket, 0).family;
}

/* Has OWN the address of this end of MAIN, if there is one? */
static bool is_beside(const struct io_host *h, unsigned end) {
    struct cv_addr main = io_host_bound(h, NODE_SOCKET_MAIN, end);
    struct cv_addr own[] = {io_host_bound(h, NODE_SOCKET_OWN, 0),
                            io_host_bound(h, NODE_SOCKET_OWN, 1)};
    return !main.family || cv_addr_same_ip(&main, &own[0]) || cv_addr_same_ip(&main, &own[1]);
}

static enum cv_err make_node(struct io_host *h, const struct io_host_config *cfg,
                             struct io_why *why) {
    struct node_config node = cfg->node;
    if (!h->workers)
        node.relay_workers = 1;
    struct cv_addr at = io_host_bound(h, NODE_SOCKET_MAIN, 0);
    node.main_family = family(h, NODE_SOCKET_MAIN);
    node.own_family = family(h, NODE_SOCKET_OWN);
    node.elsewhere = is_beside(h, 0) && is_beside(h, 1);
    node.loopback = cv_addr_is_loopback(&at);
    node.direct = h->sockets[NODE_SOCKET_DIRECT].socket != NULL;
    node.direct_port = io_host_bound(h, NODE_SOCKET_DIRECT, 0).port;
    for (size_t i = 0; i < node.relay_addrs_count; i++)
        if (!node.relay_addrs[i].port)
            node.relay_addrs[i].port = at.port;
    enum cv_err err = node_new(&node, cv_rng_system(), h->now, &h->node);
    if (err == CV_ERR_DENIED)
        io_why_set(why, "the ledger's epoch and minimum may only be raised on the network "
                        "'culvert'; name another with --network");
    else if (err)
        io_why_set(why, "the node cannot start: %s", cv_strerror(err));
    return err;
}

enum cv_err io_host_new(struct io_loop *loop, const struct io_host_config *cfg,
                        struct io_host **ret, struct io_why *why) {
    struct io_host *h = calloc(1, sizeof *h);
    if (!h) {
        io_why_set(why, "out of memory");
        return CV_ERR_NOMEM;
    }
    h->loop = loop;
    h->now = io_clock_now();
    h->timer = io_timer_new(loop, on_timer, h);
    enum cv_err err = h->timer ? CV_ERR_OK : CV_ERR_NOMEM;
    const struct cv_addr direct[IO_SOCKET_ENDS] = {cfg->direct};
    const struct cv_addr *addrs[] = {cfg->main, cfg->own, direct};
    struct cv_addr exit_at[IO_SOCKET_ENDS] = {{.family = 0}};
    for (unsigned i = 0; cfg->node.exit && i < IO_SOCKET_ENDS; i++) {
        exit_at[i] = cfg->main[i]; /* any ports of the relay's addresses */
        exit_at[i].port = 0;
    }
    for (enum node_socket i = NODE_SOCKET_MAIN; !err && i < NODE_SOCKETS; i++)
        err = open_socket(h, i, i < NODE_SOCKET_EXIT ? addrs[i] : exit_at, cfg, why);
    if (!err && open_workers(h, cfg)) {
        io_why_set(why, "no room for %u workers; choose fewer with --workers",
                   (unsigned)cfg->node.relay_workers);
        err = CV_ERR_LIMIT;
    }
    if (!err)
        err = make_node(h, cfg, why);
    if (!err && h->workers && io_workers_start(h->workers, h->node, h->now)) {
        io_why_set(why, "no threads for %u workers; choose fewer with --workers",
                   (unsigned)cfg->node.relay_workers);
        err = CV_ERR_LIMIT;
    }
    if (err) {
        io_host_free(h);
        return err;
    }
    io_timer_at(h->timer, h->now.mono, h->now.mono);
    *ret = h;
    return CV_ERR_OK;
}

struct io_host *io_host_free(struct io_host *h) {
    if (!h)
        return NULL;
    h->workers = io_workers_free(h->workers);
    node_free(h->node);
    for (enum node_socket i = NODE_SOCKET_MAIN; i < NODE_SOCKETS; i++) {
        io_socket_close(h->sockets[i].socket);
        free(h->sockets[i].batch.arena);
    }
    io_timer_free(h->timer);
    free(h);
    return NULL;
}

struct node *io_host_node(struct io_host *h) {
    return h->node;
}

struct io_loop *io_host_loop(struct io_host *h) {
    return h->loop;
}

struct cv_now io_host_now(struct io_host *h) {
    /* Callbacks of others (HTTP) run outside our own: read the clock for them,
     * but never let time go backwards within a step. */
    if (!h->working)
        h->now = io_clock_now();
    return h->now;
}

enum cv_err io_host_listen(struct io_host *h, io_host_fn *fn, void *ctx) {
    for (size_t i = 0; i < IO_HOST_LISTENERS_MAX; i++) {
        if (!h->listeners[i].fn) {
            h->listeners[i].fn = fn;
            h->listeners[i].ctx = ctx;
            return CV_ERR_OK;
        }
    }
    return CV_ERR_LIMIT;
}

void io_host_unlisten(struct io_host *h, io_host_fn *fn, void *ctx) {
    for (size_t i = 0; i < IO_HOST_LISTENERS_MAX; i++)
        if (h->listeners[i].fn == fn && h->listeners[i].ctx == ctx)
            h->listeners[i].fn = NULL;
}

struct cv_addr io_host_bound(const struct io_host *h, enum node_socket socket, unsigned end) {
    const struct io_udp *u = io_socket_end(h->sockets[socket].socket, end);
    return u ? io_udp_addr(u) : (struct cv_addr){.family = 0};
}

struct io_udp_stats io_host_stats(const struct io_host *h, enum node_socket socket, unsigned end) {
    struct io_udp *u = io_socket_end(h->sockets[socket].socket, end);
    struct io_udp_stats s = u ? io_udp_stats(u) : (struct io_udp_stats){.calls_in = 0};
    if (socket == NODE_SOCKET_MAIN)
        io_workers_stats(h->workers, end, &s);
    return s;
}
