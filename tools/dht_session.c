#include "dht_session.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/rng_system.h"
#include "io/clock.h"
#include "io/loop.h"
#include "io/state.h"
#include "io/udp.h"

enum { SLOTS = 64, RUNS = 64, RECEIVE_ROUNDS = 16 };
#define SAVE_EVERY CV_SEC(300)
#define STATE_FILE "dht.table"

struct dht_session {
    struct dht *engine;
    struct io_loop *loop;
    struct io_udp *udp[2]; /* IPv4, IPv6 */
    struct io_watch *watch[2];
    struct io_timer *timer, *deadline, *save;
    struct io_state *state;
    dht_session_event_fn *fn;
    void *ctx;
    bool interrupted, stopped;
    uint8_t arena[SLOTS * DHT_DATAGRAM_MAX];
    struct cv_run runs[RUNS], side_runs[RUNS];
};

struct cv_now dht_session_now(void) {
    return io_clock_now();
}

struct dht *dht_session_engine(struct dht_session *s) {
    return s->engine;
}

struct cv_addr dht_session_addr(const struct dht_session *s, int side) {
    return s->udp[side] ? io_udp_addr(s->udp[side]) : (struct cv_addr){0};
}

/* --- serving the engine ------------------------------------------------- */

/* The runs of one family, in one call. What the kernel does not take now is
 * lost like any datagram: the engine asks again. */
static void send_side(struct dht_session *s, const struct cv_batch *b, int side) {
    struct cv_batch part = *b;
    part.runs = s->side_runs;
    part.runs_used = 0;
    for (uint32_t i = 0; i < b->runs_used; i++)
        if ((b->runs[i].to.addr.family == 6) == (side == 1))
            s->side_runs[part.runs_used++] = b->runs[i];
    if (part.runs_used && s->udp[side])
        (void)io_udp_send(s->udp[side], &part);
}

static void drain(struct dht_session *s, struct cv_now now) {
    for (;;) {
        struct cv_batch b = cv_batch_init(s->arena, SLOTS, DHT_DATAGRAM_MAX, 0, s->runs, RUNS);
        dht_poll_transmit(s->engine, now, &b);
        if (b.slots_used == 0)
            break;
        send_side(s, &b, 0);
        send_side(s, &b, 1);
    }
    struct dht_event e;
    while (dht_poll_event(s->engine, &e))
        s->fn(s->ctx, &e);
    io_timer_at(s->timer, now.mono, dht_next_timeout(s->engine));
}

static void on_timer(void *ctx) {
    struct dht_session *s = ctx;
    struct cv_now now = io_clock_now();
    dht_on_timeout(s->engine, now);
    drain(s, now);
}

static void receive(struct dht_session *s, int side) {
    for (int round = 0; round < RECEIVE_ROUNDS; round++) {
        struct io_datagram *dg;
        size_t n = io_udp_receive(s->udp[side], &dg);
        struct cv_now now = io_clock_now();
        for (size_t i = 0; i < n; i++)
            (void)dht_on_datagram(s->engine, now, &dg[i].from, dg[i].data, dg[i].len);
        drain(s, now);
        if (n == 0)
            return;
    }
}

static void on_ready4(void *ctx, unsigned ready) {
    (void)ready;
    receive(ctx, 0);
}

static void on_ready6(void *ctx, unsigned ready) {
    (void)ready;
    receive(ctx, 1);
}

static void on_signal(void *ctx) {
    struct dht_session *s = ctx;
    s->interrupted = true;
    dht_session_stop(s);
}

static void on_deadline(void *ctx) {
    dht_session_stop(ctx);
}

static void save(struct dht_session *s) {
    static uint8_t blob[DHT_SAVE_MAX];
    struct dht_status st;
    dht_status(s->engine, &st);
    /* An empty table is no reason to forget the last one. */
    if (!s->state || st.ipv4.nodes_total + st.ipv6.nodes_total == 0)
        return;
    size_t len = dht_save(s->engine, blob, sizeof blob);
    if (len && len <= sizeof blob)
        (void)io_state_write(s->state, STATE_FILE, blob, len, NULL);
}

static void on_save(void *ctx) {
    struct dht_session *s = ctx;
    cv_usec now = io_clock_now().mono;
    save(s);
    io_timer_at(s->save, now, cv_usec_add(now, SAVE_EVERY));
}

/* --- opening ------------------------------------------------------------ */

/* The first address that is named decides which network this is about. */
static const struct cv_addr *first_address(const struct dht_options *o) {
    if (o->listen[0].family)
        return &o->listen[0];
    if (o->listen[1].family)
        return &o->listen[1];
    if (o->bootstrap_count)
        return &o->bootstrap[0];
    return o->addr.family ? &o->addr : NULL;
}

static enum dht_scope scope_of(const struct dht_options *o) {
    const struct cv_addr *a = first_address(o);
    if (a && cv_addr_is_loopback(a))
        return DHT_SCOPE_LOOPBACK;
    return o->private_network ? DHT_SCOPE_PRIVATE : DHT_SCOPE_PUBLIC;
}

static bool wants_side(const struct dht_options *o, int side) {
    uint8_t family = side ? 6 : 4;
    if (o->listen[0].family || o->listen[1].family)
        return o->listen[side].family;
    bool wants = o->addr.family == family;
    for (unsigned i = 0; i < o->bootstrap_count; i++)
        wants |= o->bootstrap[i].family == family;
    return wants || (side == 0 && !o->addr.family && o->bootstrap_count == 0);
}

static struct cv_addr bind_address(const struct dht_options *o, int side, enum dht_scope scope) {
    if (o->listen[side].family)
        return o->listen[side];
    struct cv_addr a;
    memset(&a, 0, sizeof a);
    a.family = side ? 6 : 4;
    if (scope == DHT_SCOPE_LOOPBACK) {
        a.ip[side ? 15 : 0] = side ? 1 : 127;
        a.ip[3] = side ? 0 : 1;
    }
    return a;
}

static enum dht_exit open_sockets(struct dht_session *s, const struct dht_options *o,
                                  struct dht_config *cfg, struct io_why *why) {
    cfg->scope = scope_of(o);
    for (int i = 0; i < 2; i++) {
        if (!wants_side(o, i))
            continue;
        struct io_udp_config u = {.addr = bind_address(o, i, cfg->scope)};
        if (io_udp_open(&u, &s->udp[i], why))
            return DHT_EXIT_NETWORK;
        *(i ? &cfg->ipv6 : &cfg->ipv4) = true;
        struct cv_addr bound = io_udp_addr(s->udp[i]);
        if (cv_addr_is_public(&bound))
            *(i ? &cfg->external6 : &cfg->external4) = bound;
        s->watch[i] = io_watch_new(s->loop, io_udp_fd(s->udp[i]), i ? on_ready6 : on_ready4, s);
        if (!s->watch[i]) {
            io_why_set(why, "out of memory");
            return DHT_EXIT_FAILED;
        }
    }
    return DHT_EXIT_OK;
}

static enum dht_exit load_state(struct dht_session *s, const struct dht_options *o,
                                struct io_why *why) {
    static uint8_t blob[DHT_SAVE_MAX];
    size_t len;
    if (!o->state)
        return DHT_EXIT_OK;
    if (io_state_open(o->state, &s->state, why))
        return DHT_EXIT_STATE;
    enum cv_err err = io_state_read(s->state, STATE_FILE, blob, sizeof blob, &len, why);
    if (err == CV_ERR_NOENT)
        return DHT_EXIT_OK;
    if (err)
        return DHT_EXIT_STATE;
    err = dht_restore(s->engine, io_clock_now(), blob, len);
    if (err == CV_ERR_VERSION || err == CV_ERR_CORRUPT) {
        io_why_set(why, "%s/%s: %s; remove it to start anew", o->state, STATE_FILE,
                   err == CV_ERR_VERSION ? "written by another version" : "damaged");
        return DHT_EXIT_STATE;
    }
    return DHT_EXIT_OK;
}

static enum dht_exit add_contacts(struct dht_session *s, const struct dht_options *o,
                                  enum dht_scope scope, struct io_why *why) {
    char text[CV_ADDR_TEXT];
    for (unsigned i = 0; i < o->bootstrap_count; i++)
        if (dht_bootstrap_add(s->engine, io_clock_now(), &o->bootstrap[i])) {
            io_why_set(why, "--bootstrap %s: cannot be asked from here: %s",
                       cv_addr_text(&o->bootstrap[i], text),
                       scope == DHT_SCOPE_LOOPBACK  ? "we listen on loopback only"
                       : scope == DHT_SCOPE_PRIVATE ? "not an address of our families"
                                                    : "not a public address of our families; "
                                                      "--private allows others");
            return DHT_EXIT_USAGE;
        }
    return DHT_EXIT_OK;
}

enum dht_exit dht_session_open(const struct dht_options *o, dht_session_event_fn *fn, void *ctx,
                               struct dht_session **ret, struct io_why *why) {
    cv_crypto_init();
    struct dht_session *s = calloc(1, sizeof *s);
    enum dht_exit status = DHT_EXIT_FAILED;
    io_why_set(why, "out of memory");
    if (!s)
        return status;
    s->fn = fn;
    s->ctx = ctx;
    struct dht_config cfg = {.read_only = o->read_only || o->command != DHT_CMD_SERVE};
    s->loop = io_loop_new();
    if (!s->loop)
        goto out;
    s->timer = io_timer_new(s->loop, on_timer, s);
    s->deadline = io_timer_new(s->loop, on_deadline, s);
    s->save = io_timer_new(s->loop, on_save, s);
    if (!s->timer || !s->deadline || !s->save || io_loop_on_signal(s->loop, SIGINT, on_signal, s) ||
        io_loop_on_signal(s->loop, SIGTERM, on_signal, s))
        goto out;
    status = open_sockets(s, o, &cfg, why);
    if (status)
        goto out;
    s->engine = dht_new(&cfg, cv_rng_system(), io_clock_now());
    if (!s->engine) {
        status = DHT_EXIT_FAILED;
        goto out;
    }
    status = load_state(s, o, why);
    if (!status)
        status = add_contacts(s, o, cfg.scope, why);
    if (status)
        goto out;
    cv_usec now = io_clock_now().mono;
    io_timer_at(s->save, now, cv_usec_add(now, SAVE_EVERY));
    *ret = s;
    return DHT_EXIT_OK;
out:
    dht_session_close(s);
    return status;
}

void dht_session_close(struct dht_session *s) {
    if (s->engine)
        save(s);
    s->engine = dht_free(s->engine);
    for (int i = 0; i < 2; i++) {
        io_watch_free(s->watch[i]);
        io_udp_close(s->udp[i]);
    }
    io_timer_free(s->timer);
    io_timer_free(s->deadline);
    io_timer_free(s->save);
    io_loop_free(s->loop);
    io_state_close(s->state);
    free(s);
}

bool dht_session_run(struct dht_session *s, cv_usec deadline) {
    struct cv_now now = io_clock_now();
    s->stopped = false;
    io_timer_at(s->deadline, now.mono, deadline);
    drain(s, now); /* may have all there is to say already */
    if (!s->stopped)
        io_loop_run(s->loop);
    return s->interrupted;
}

void dht_session_stop(struct dht_session *s) {
    s->stopped = true;
    io_loop_stop(s->loop);
}
