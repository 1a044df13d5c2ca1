#include "gateway/connections.h"

#include <event2/bufferevent.h>
#include <event2/http.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "gateway/gateway.h"
#include "io/clock.h"

/* A socket is known by its number and its inode: the number may be another's by now. */
struct connection {
    int fd;
    ino_t inode;
    cv_usec since; /* it waits for a request, */
    bool asked;    /* or we answer one */
};

struct gw_connections {
    struct connection all[GW_CONNECTIONS_MAX];
    size_t count;
    /* New ones, held until they have their sockets. */
    struct bufferevent *fresh[GW_CONNECTIONS_MAX];
    size_t fresh_count;
    struct io_timer *timer;
};

static cv_usec now(void) {
    return io_clock_now().mono;
}

/* 0: it is no TCP connection. */
static ino_t inode_of(int fd) {
    struct stat st;
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISSOCK(st.st_mode) ||
        getpeername(fd, (struct sockaddr *)&at, &len) != 0)
        return 0;
    return at.ss_family == AF_INET || at.ss_family == AF_INET6 ? st.st_ino : 0;
}

static struct connection *find(struct gw_connections *c, int fd) {
    for (size_t i = 0; i < c->count; i++)
        if (c->all[i].fd == fd)
            return &c->all[i];
    return NULL;
}

/* Those that are gone are forgotten. */
static void forget(struct gw_connections *c) {
    for (size_t i = c->count; i-- > 0;)
        if (inode_of(c->all[i].fd) != c->all[i].inode)
            c->all[i] = c->all[--c->count];
}

/* The HTTP server hears that the other side is gone, and cleans up. */
static void hang_up(int fd) {
    (void)shutdown(fd, SHUT_RDWR);
}

/* The one that has waited longest for a request; NULL: all are busy. */
static struct connection *idlest(struct gw_connections *c) {
    struct connection *k = NULL;
    for (size_t i = 0; i < c->count; i++)
        if (!c->all[i].asked && (!k || c->all[i].since < k->since))
            k = &c->all[i];
    return k;
}

static void note(struct gw_connections *c, int fd) {
    ino_t inode = inode_of(fd);
    struct connection *k = find(c, fd);
    if (!inode)
        return;
    if (!k && c->count == GW_CONNECTIONS_MAX)
        forget(c);
    if (!k && c->count == GW_CONNECTIONS_MAX) {
        k = idlest(c);
        hang_up(k ? k->fd : fd);
        if (!k)
            return;
    }
    if (!k)
        k = &c->all[c->count++];
    if (k->fd != fd || k->inode != inode)
        *k = (struct connection){.fd = fd, .inode = inode, .since = now()};
}

static void take_fresh(struct gw_connections *c) {
    while (c->fresh_count) {
        struct bufferevent *b = c->fresh[--c->fresh_count];
        note(c, bufferevent_getfd(b));
        bufferevent_decref(b);
    }
}

static struct bufferevent *on_new(struct event_base *base, void *arg) {
    struct gw_connections *c = arg;
    struct bufferevent *b = bufferevent_socket_new(base, -1, 0); /* as evhttp makes them */
    if (!b)
        return NULL;
    if (c->fresh_count == GW_CONNECTIONS_MAX)
        take_fresh(c);
    bufferevent_incref(b);
    c->fresh[c->fresh_count++] = b;
    io_timer_at(c->timer, now(), now());
    return b;
}

static void on_timer(void *ctx) {
    struct gw_connections *c = ctx;
    take_fresh(c);
    forget(c);
    for (size_t i = 0; i < c->count; i++)
        if (!c->all[i].asked && cv_usec_since(now(), c->all[i].since) >= CV_SEC(GW_TIMEOUT_SECONDS))
            hang_up(c->all[i].fd);
    if (c->count)
        io_timer_at(c->timer, now(), cv_usec_add(now(), GW_SWEEP));
}

static int socket_of(struct evhttp_request *req) {
    struct evhttp_connection *conn = evhttp_request_get_connection(req);
    return conn ? bufferevent_getfd(evhttp_connection_get_bufferevent(conn)) : -1;
}

static void on_answered(struct evhttp_request *req, void *arg) {
    struct connection *k = find(arg, socket_of(req));
    if (!k)
        return;
    k->asked = false;
    k->since = now();
}

void gw_connections_asked(struct gw_connections *c, struct evhttp_request *req) {
    take_fresh(c);
    struct connection *k = find(c, socket_of(req));
    if (!k)
        return;
    k->asked = true;
    evhttp_request_set_on_complete_cb(req, on_answered, c);
}

struct gw_connections *gw_connections_new(struct io_loop *loop, struct evhttp *http) {
    struct gw_connections *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->timer = io_timer_new(loop, on_timer, c);
    if (!c->timer)
        return gw_connections_free(c);
    evhttp_set_bevcb(http, on_new, c);
    return c;
}

struct gw_connections *gw_connections_free(struct gw_connections *c) {
    if (!c)
        return NULL;
    while (c->fresh_count)
        bufferevent_decref(c->fresh[--c->fresh_count]);
    io_timer_free(c->timer);
    free(c);
    return NULL;
}
