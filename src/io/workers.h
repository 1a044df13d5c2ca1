/*
 * The workers of a relay beside the node's own: a thread each, with an event loop, a
 * socket on the port of MAIN and a tunnel engine that nobody else touches. What engines
 * tell each other (tunnel/worker.h) lies in a post of each, in order, under a lock that is
 * held for as long as it takes to hang a list on another; the node's post is emptied in the
 * node's own loop.
 */
#ifndef CULVERT_IO_WORKERS_H
#define CULVERT_IO_WORKERS_H

#include "base/time.h"
#include "io/loop.h"
#include "io/socket.h"
#include "io/why.h"
#include "node/node.h"
#include "tunnel/worker.h"

struct io_workers;

/* Called in the node's loop when something came for the node: io_workers_take(). */
typedef void io_workers_fn(void *ctx);

/*
 * Opens the sockets of `count` - 1 workers beside `main`, which is that of worker 0, with as many
 * ends. DENIED:
 * this kernel does not share a port by a filter (the caller goes on alone); LIMIT, NOMEM.
 * The threads begin with io_workers_start().
 */
enum cv_err io_workers_new(struct io_loop *loop, struct io_socket *main, unsigned count,
                           uint32_t buffer_octets, io_workers_fn *fn, void *ctx,
                           struct io_workers **ret);
/* Makes their engines, as the node's configuration says, and lets them run. NOMEM, LIMIT. */
enum cv_err io_workers_start(struct io_workers *w, const struct node *node, struct cv_now now);
/* Waits for the threads to end; nobody is told goodbye. NULL is allowed; returns NULL. */
struct io_workers *io_workers_free(struct io_workers *w);

/* Carries what the node tells another; takes `m` over. False: there is no room, it is still
 * the caller's (node_on_lost()). */
bool io_workers_post(struct io_workers *w, struct tun_message *m);
/* What was told the node, one after the other; NULL: no more now. The caller's. */
struct tun_message *io_workers_take(struct io_workers *w);

/* Of this end of all their sockets, as they were a second ago or later. */
void io_workers_stats(struct io_workers *w, unsigned end, struct io_udp_stats *add_to);

#endif
