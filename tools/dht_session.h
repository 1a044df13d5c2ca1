/* One DHT engine on real sockets: the loop that culvert-dht runs. */
#ifndef CULVERT_TOOLS_DHT_SESSION_H
#define CULVERT_TOOLS_DHT_SESSION_H

#include "dht/dht.h"
#include "dht_options.h"
#include "io/why.h"

struct dht_session;

/* What happened; the session is the caller's ctx's business. */
typedef void dht_session_event_fn(void *ctx, const struct dht_event *e);

/* Binds, restores the state, adds the bootstrap contacts. Status of enum
 * dht_exit, *why filled when it is not OK. */
enum dht_exit dht_session_open(const struct dht_options *o, dht_session_event_fn *fn, void *ctx,
                               struct dht_session **ret, struct io_why *why);
/* Saves the state when there is a folder for it. */
void dht_session_close(struct dht_session *s);

struct dht *dht_session_engine(struct dht_session *s);
struct cv_now dht_session_now(void);
/* Where it is bound; family 0 for a side that is not in use. */
struct cv_addr dht_session_addr(const struct dht_session *s, int side);

/* Runs until dht_session_stop(), a signal (then true), or `deadline`. */
bool dht_session_run(struct dht_session *s, cv_usec deadline);
void dht_session_stop(struct dht_session *s);

#endif
