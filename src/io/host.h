/*
 * A node living in an event loop: the node's sockets, one timer, and whoever
 * listens to its events. Whoever else calls into the node between two loop
 * steps calls io_host_kick() afterwards.
 */
#ifndef CULVERT_IO_HOST_H
#define CULVERT_IO_HOST_H

#include "base/endpoint.h"
#include "base/err.h"
#include "base/time.h"
#include "io/loop.h"
#include "io/socket.h"
#include "io/why.h"
#include "node/node.h"

struct io_host;

struct io_host_config {
    struct node_config node; /* copied; what it borrows must outlive the host */
    /* Where MAIN and OWN are bound; port 0 = any. [1]: of the other family, too; family 0 = no. */
    struct cv_addr main[IO_SOCKET_ENDS], own[IO_SOCKET_ENDS];
    struct cv_addr direct;  /* family 0 = no direct socket */
    uint32_t direct_chunk;  /* octets of the largest chunk that leaves by it; 0 = 1024 */
    uint32_t buffer_octets; /* wished for each socket buffer; 0 = io/limits.h */
};

/* Is told every event of the node, in order. `ev` is valid during the call. */
typedef void io_host_fn(void *ctx, const struct node_event *ev);

/*
 * Binds the sockets, makes the node and hooks it into the loop (borrowed). The
 * addresses of a relay are completed with the ports that MAIN really got. *ret
 * is untouched on failure and *why says what, where and what to do.
 */
enum cv_err io_host_new(struct io_loop *loop, const struct io_host_config *cfg,
                        struct io_host **ret, struct io_why *why);
/* NULL is allowed; returns NULL. */
struct io_host *io_host_free(struct io_host *h);

struct node *io_host_node(struct io_host *h);
struct io_loop *io_host_loop(struct io_host *h);

/* One clock reading a loop step. */
struct cv_now io_host_now(struct io_host *h);

/* After calling into the node: its events and datagrams are drained before the
 * loop sleeps again. Cheap, may be called many times. */
void io_host_kick(struct io_host *h);

/* Sends what is left to say (goodbyes of closed swarms), then no more. */
void io_host_flush(struct io_host *h);

enum { IO_HOST_LISTENERS_MAX = 8 };
/* They stay until io_host_unlisten() with the same pair. LIMIT. */
enum cv_err io_host_listen(struct io_host *h, io_host_fn *fn, void *ctx);
void io_host_unlisten(struct io_host *h, io_host_fn *fn, void *ctx);

/* The address a socket is really bound to, or with `end` 1 its other one; family 0 when it
 * does not exist. */
struct cv_addr io_host_bound(const struct io_host *h, enum node_socket socket, unsigned end);
/* Zeros when it does not exist. */
struct io_udp_stats io_host_stats(const struct io_host *h, enum node_socket socket, unsigned end);

#endif
