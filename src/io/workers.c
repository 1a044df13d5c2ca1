#include "io/workers.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "crypto/hash.h"
#include "crypto/rng_system.h"
#include "io/clock.h"
#include "io/limits.h"
#include "tunnel/limits.h"

static_assert(8 - TUN_WORKER_BITS_MAX == IO_SHARE_SHIFT, "the filter does what the engines do");

enum {
    SLOTS = 4 * CV_RUN_MAX,
    RUNS = 64,
    RECEIVES = 8, /* calls before timers and messages have their turn */
    READS = 64,   /* messages before what they caused is sent and told */
};

/* What waits for one worker. */
struct post {
    pthread_mutex_t lock; /* of the rest, and of `stats` */
    struct tun_message *first, **end;
    uint32_t count;
    bool stop;
    struct io_wake *wake; /* of its loop */
    struct io_udp_stats stats[IO_SOCKET_ENDS];
};

struct worker {
    struct io_workers *all;
    unsigned number;
    struct post post;
    /* 0 is the node itself and has none of these */
    struct tunnel *t;
    struct io_loop *loop;
    struct io_socket *socket;
    struct io_timer *timer;
    struct cv_batch batch; /* what the kernel did not take yet stays here */
    struct cv_run runs[RUNS];
    struct tun_message *taken; /* out of the post, not read yet */
    bool emptied;              /* the post, since take() had no more */
    bool running;
    pthread_t thread;
    cv_usec stats_at;
    struct cv_now now;
};

struct io_workers {
    unsigned count;
    io_workers_fn *fn;
    void *ctx;
    struct worker worker[TUN_WORKERS_MAX];
};

/* ---- posts ---- */

/* False: there is no room, and `m` is still the caller's. What must arrive always has some
 * (tunnel/worker.h). */
static bool post_put(struct post *p, struct tun_message *m) {
    pthread_mutex_lock(&p->lock);
    bool full = (m->may_be_lost && p->count >= 2 * TUN_MESSAGES_MAX) ||
                (m->counted && p->count >= 4 * TUN_MESSAGES_MAX);
    bool first = !p->first;
    if (!full) {
        m->next = NULL;
        *p->end = m;
        p->end = &m->next;
        p->count++;
    }
    pthread_mutex_unlock(&p->lock);
    if (!full && first)
        io_wake_up(p->wake);
    return !full;
}

/* All of it. */
static struct tun_message *post_empty(struct post *p, bool *ret_stop) {
    pthread_mutex_lock(&p->lock);
    struct tun_message *first = p->first;
    p->first = NULL;
    p->end = &p->first;
    p->count = 0;
    *ret_stop = p->stop;
    pthread_mutex_unlock(&p->lock);
    return first;
}

/* The next of what lay in the post when this began: what came meanwhile has its wake-up,
 * and the socket and the timers come first. */
static struct tun_message *take(struct worker *w, bool *ret_stop) {
    if (!w->taken && !w->emptied)
        w->taken = post_empty(&w->post, ret_stop);
    struct tun_message *m = w->taken;
    w->emptied = m != NULL;
    if (m)
        w->taken = m->next;
    return m;
}

bool io_workers_post(struct io_workers *w, struct tun_message *m) {
    assert(m->to < w->count);
    return post_put(&w->worker[m->to].post, m);
}

struct tun_message *io_workers_take(struct io_workers *w) {
    bool stop;
    return take(&w->worker[0], &stop);
}

static void told_node(void *ctx) {
    struct io_workers *w = ctx;
    w->fn(w->ctx);
}

/* ---- one worker's step ---- */

/* True when something left. */
static bool transmit(struct worker *w) {
    bool any = false;
    while (!io_socket_is_full(w->socket)) {
        if (!w->batch.runs_used)
            (void)tun_poll_transmit(w->t, &w->now, &w->batch);
        if (!w->batch.runs_used)
            return any;
        any = true;
        (void)io_socket_send(w->socket, &w->batch);
    }
    return any;
}

static void note_stats(struct worker *w) {
    if (w->now.mono < w->stats_at)
        return;
    w->stats_at = w->now.mono + CV_SEC(1);
    for (unsigned i = 0; i < IO_SOCKET_ENDS; i++) {
        struct io_udp *u = io_socket_end(w->socket, i);
        if (!u)
            continue;
        struct io_udp_stats stats = io_udp_stats(u);
        pthread_mutex_lock(&w->post.lock);
        w->post.stats[i] = stats;
        pthread_mutex_unlock(&w->post.lock);
    }
}

static void tell(struct worker *w) {
    struct tun_message *m;
    while ((m = tun_poll_message(w->t)) != NULL)
        if (!io_workers_post(w->all, m))
            tun_on_lost(w->t, m);
}

/* Until it has nothing more to send or to tell. */
static void drain(struct worker *w) {
    tell(w);
    transmit(w);
    note_stats(w);
    io_timer_at(w->timer, w->now.mono, tun_next_timeout(w->t));
}

static void on_timer(void *ctx) {
    struct worker *w = ctx;
    w->now = io_clock_now();
    tun_on_timeout(w->t, &w->now);
    drain(w);
}

static void on_datagram(struct worker *w, const struct io_datagram *d) {
    if (tun_is_ours(w->t, d->data, d->len)) {
        (void)tun_on_datagram(w->t, &w->now, &d->from, d->data, d->len);
        return;
    }
    struct tun_message *m = tun_message_foreign(w->number, &d->from, d->data, d->len);
    if (m && !io_workers_post(w->all, m))
        tun_message_free(m); /* as a network loses what it has no room for */
}

static void on_socket(void *ctx, struct io_udp *ready) {
    struct worker *w = ctx;
    w->now = io_clock_now();
    struct io_datagram *d;
    size_t n;
    for (int i = 0; ready && i < RECEIVES && (n = io_udp_receive(ready, &d)) > 0; i++) {
        for (size_t j = 0; j < n; j++) {
            if (j + TUN_EXPECT < n)
                tun_expect(w->t, d[j + TUN_EXPECT].data, d[j + TUN_EXPECT].len);
            on_datagram(w, &d[j]);
        }
        tell(w); /* others need not wait for the whole backlog */
        transmit(w);
    }
    if (tun_next_timeout(w->t) <= w->now.mono)
        tun_on_timeout(w->t, &w->now);
    drain(w);
}

static void on_wake(void *ctx) {
    struct worker *w = ctx;
    struct tun_message *m;
    bool stop = false;
    w->now = io_clock_now();
    for (unsigned i = 1; (m = take(w, &stop)) != NULL; i++) {
        tun_on_message(w->t, &w->now, m);
        if (i % READS)
            continue;
        tell(w); /* that they were taken, too */
        transmit(w);
    }
    drain(w);
    if (stop)
        io_loop_stop(w->loop);
}

static void *run(void *arg) {
    struct worker *w = arg;
    on_timer(w); /* sets the timer, takes what the engine has to say */
    on_wake(w);
    io_loop_run(w->loop);
    cv_crypto_thread_done();
    return NULL;
}

/* ---- life ---- */

static enum cv_err open_worker(struct worker *w, const struct cv_addr at[IO_SOCKET_ENDS],
                               uint32_t buffer) {
    struct io_why why = {.text = ""};
    w->loop = io_loop_new();
    if (!w->loop)
        return CV_ERR_LIMIT;
    struct io_udp_config cfg = {.addr = at[0], .buffer = buffer, .beside = true};
    enum cv_err err = io_socket_open(w->loop, &cfg, &at[1], on_socket, w, &w->socket, &why);
    if (err)
        return err;
    uint8_t *arena = malloc((size_t)SLOTS * TUN_DATAGRAM);
    if (arena)
        w->batch = cv_batch_init(arena, SLOTS, TUN_DATAGRAM, 0, w->runs, RUNS);
    w->timer = io_timer_new(w->loop, on_timer, w);
    w->post.wake = io_wake_new(w->loop, on_wake, w);
    return arena && w->timer && w->post.wake ? CV_ERR_OK : CV_ERR_NOMEM;
}

enum cv_err io_workers_new(struct io_loop *loop, struct io_socket *main, unsigned count,
                           uint32_t buffer_octets, io_workers_fn *fn, void *ctx,
                           struct io_workers **ret) {
    assert(count > 1 && count <= TUN_WORKERS_MAX);
    struct io_workers *w = calloc(1, sizeof *w);
    if (!w)
        return CV_ERR_NOMEM;
    w->count = count;
    w->fn = fn;
    w->ctx = ctx;
    for (unsigned i = 0; i < count; i++) {
        w->worker[i].all = w;
        w->worker[i].number = i;
        w->worker[i].post.end = &w->worker[i].post.first;
        pthread_mutex_init(&w->worker[i].post.lock, NULL);
    }
    w->worker[0].post.wake = io_wake_new(loop, told_node, w);
    enum cv_err err = w->worker[0].post.wake ? CV_ERR_OK : CV_ERR_NOMEM;
    struct cv_addr at[IO_SOCKET_ENDS] = {{.family = 0}};
    for (unsigned i = 0; i < IO_SOCKET_ENDS && io_socket_end(main, i) && !err; i++) {
        at[i] = io_udp_addr(io_socket_end(main, i));
        err = io_udp_share(io_socket_end(main, i));
    }
    for (unsigned i = 1; i < count && !err; i++)
        err = open_worker(&w->worker[i], at, buffer_octets);
    for (unsigned i = 0; i < IO_SOCKET_ENDS && io_socket_end(main, i) && !err; i++)
        err = io_udp_steer(io_socket_end(main, i), count);
    if (err) {
        io_workers_free(w);
        return err;
    }
    *ret = w;
    return CV_ERR_OK;
}

enum cv_err io_workers_start(struct io_workers *w, const struct node *node, struct cv_now now) {
    /* signals are the node's loop's */
    sigset_t all, before;
    sigfillset(&all);
    enum cv_err err = CV_ERR_OK;
    for (unsigned i = 1; i < w->count && !err; i++) {
        w->worker[i].t = node_worker_new(node, now, i, cv_rng_system());
        err = w->worker[i].t ? CV_ERR_OK : CV_ERR_NOMEM;
    }
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 1; i < w->count && !err; i++) {
        struct worker *k = &w->worker[i];
        k->running = pthread_create(&k->thread, NULL, run, k) == 0;
        err = k->running ? CV_ERR_OK : CV_ERR_LIMIT;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

static void stop(struct worker *w) {
    if (!w->running)
        return;
    pthread_mutex_lock(&w->post.lock);
    w->post.stop = true;
    pthread_mutex_unlock(&w->post.lock);
    io_wake_up(w->post.wake);
}

static void messages_free(struct tun_message *m) {
    while (m) {
        struct tun_message *next = m->next;
        tun_message_free(m);
        m = next;
    }
}

static void close_worker(struct worker *w) {
    bool stopped;
    messages_free(w->taken);
    messages_free(post_empty(&w->post, &stopped));
    tun_free(w->t);
    io_wake_free(w->post.wake);
    io_timer_free(w->timer);
    io_socket_close(w->socket);
    free(w->batch.arena);
    io_loop_free(w->loop);
    pthread_mutex_destroy(&w->post.lock);
}

struct io_workers *io_workers_free(struct io_workers *w) {
    if (!w)
        return NULL;
    for (unsigned i = 1; i < w->count; i++)
        stop(&w->worker[i]);
    for (unsigned i = 1; i < w->count; i++)
        if (w->worker[i].running)
            pthread_join(w->worker[i].thread, NULL);
    for (unsigned i = 0; i < w->count; i++) /* until here they could write to each other */
        close_worker(&w->worker[i]);
    free(w);
    return NULL;
}

void io_workers_stats(struct io_workers *w, unsigned end, struct io_udp_stats *add_to) {
    for (unsigned i = 1; w && i < w->count; i++) {
        struct post *p = &w->worker[i].post;
        pthread_mutex_lock(&p->lock);
        struct io_udp_stats s = p->stats[end];
        pthread_mutex_unlock(&p->lock);
        add_to->datagrams_in += s.datagrams_in;
        add_to->octets_in += s.octets_in;
        add_to->calls_in += s.calls_in;
        add_to->datagrams_out += s.datagrams_out;
        add_to->octets_out += s.octets_out;
        add_to->calls_out += s.calls_out;
        add_to->runs_segmented += s.runs_segmented;
        add_to->runs_refused += s.runs_refused;
        add_to->messages_joined += s.messages_joined;
        add_to->dropped_in += s.dropped_in;
        add_to->dropped_out += s.dropped_out;
        add_to->damaged_in += s.damaged_in;
    }
}
