/*
 * One of a node's sockets: a UDP socket of the kernel, or one for each address family, which
 * are spoken to as one. Two and not one for both families: a relay has one address of each,
 * not all that the machine has, and each of the two looks as constant on the wire, is joined,
 * segmented and steered as a socket that is alone (udp.h).
 */
#ifndef CULVERT_IO_SOCKET_H
#define CULVERT_IO_SOCKET_H

#include "base/batch.h"
#include "base/endpoint.h"
#include "base/err.h"
#include "io/loop.h"
#include "io/udp.h"
#include "io/why.h"

enum { IO_SOCKET_ENDS = 2 };

struct io_socket;

/* Something came: take it with io_udp_receive(). NULL: only that what was full is not any more. */
typedef void io_socket_fn(void *ctx, struct io_udp *ready);

/*
 * Binds `cfg` at cfg->addr and, when `too` has a family, at that address as well; port 0 there
 * is the port that the first one got. Errors are those of io_udp_open(). `ctx` is borrowed.
 */
enum cv_err io_socket_open(struct io_loop *loop, const struct io_udp_config *cfg,
                           const struct cv_addr *too, io_socket_fn *fn, void *ctx,
                           struct io_socket **ret, struct io_why *why);
/* NULL is allowed; returns NULL. */
struct io_socket *io_socket_close(struct io_socket *s);

/* 0: the first, 1: the one of the other family. NULL: there is none. */
struct io_udp *io_socket_end(const struct io_socket *s, unsigned i);

/* As io_udp_send(); what an end that is full did not take stays in the batch, and AGAIN holds
 * until `fn` is called. */
enum cv_err io_socket_send(struct io_socket *s, struct cv_batch *batch);
/* The last send said AGAIN, and nothing has changed since. */
bool io_socket_is_full(const struct io_socket *s);

#endif
