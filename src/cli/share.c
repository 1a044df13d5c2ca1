/* share: hash a file, open its swarm, say its link. */
#include <pthread.h>

#include "cli/exitcode.h"
#include "cli/offer.h"
#include "cli/recordings.h"
#include "cli/task.h"
#include "crypto/hash.h"
#include "io/store_file.h"

struct share {
    struct cli_task t;
    struct cli_authority authority;
    struct cli_offer offer;
    /* Hashing takes as long as reading the file, and the node goes on meanwhile. */
    pthread_t thread;
    bool hashing, said;
    bool pointing; /* at a channel's recordings, of which this is one; not said yet */
    struct io_wake *hashed;
    enum cv_err err;
    struct io_why why;
};

static void say_shared(struct share *g) {
    if (!g->said)
        g->said = cli_offer_say(&g->offer, &g->t.progress);
}

static void *hash(void *arg) {
    struct share *g = arg;
    g->err = cli_offer_hash(&g->offer, &g->why);
    cv_crypto_thread_done();
    io_wake_up(g->hashed);
    return NULL;
}

static void on_hashed(void *ctx) {
    struct share *g = ctx;
    if (!g->hashing)
        return;
    pthread_join(g->thread, NULL);
    g->hashing = false;
    if (!g->err && g->offer.index_at_end)
        cli_progress_event(&g->t.progress, "index_at_end",
                           "Its index is at its end: players fetch that before they begin; "
                           "--faststart shares a copy with the index in front",
                           NULL);
    int status = g->err == CV_ERR_INVAL ? CLI_USAGE : g->err ? CLI_FILE : CLI_OK;
    if (!status)
        status = cli_offer_open(&g->offer, g->t.s->direct ? NODE_SWARM_DIRECT : NODE_SWARM_HIDDEN,
                                &g->why);
    g->t.swarm = g->offer.swarm;
    if (!status)
        g->pointing = cli_recordings_of_film(g->t.c, &g->offer.uri, g->t.swarm) > 0;
    if (status)
        cli_task_fail(&g->t, status, "%s", g->why.text);
    else if (g->t.s->direct)
        say_shared(g);
}

static void begin(struct cli_task *t) {
    struct share *g = (struct share *)t;
    g->offer.c = t->c;
    g->offer.s = t->s;
    g->offer.path = t->s->argument;
    g->offer.authority = &g->authority;
    int status = cli_authority_open(&g->authority, t->s, &g->why);
    if (status) {
        cli_task_fail(t, status, "%s", g->why.text);
        return;
    }
    g->hashed = io_wake_new(t->c->loop, on_hashed, g);
    g->hashing = g->hashed && pthread_create(&g->thread, NULL, hash, g) == 0;
    if (!g->hashing)
        cli_task_fail(t, CLI_FAILED, "out of memory");
}

static void say_store_error(struct share *g, enum cv_err err) {
    const char *why = io_store_why(g->offer.store);
    if (*why)
        cli_task_fail(&g->t, CLI_FILE, "%s", why);
    else
        cli_task_fail(&g->t, CLI_FILE, "%s: %s", g->t.s->argument, cv_strerror(err));
}

static void on_event(struct cli_task *t, const struct node_event *ev) {
    struct share *g = (struct share *)t;
    if (ev->kind == NODE_EVENT_SHARED)
        say_shared(g);
    else if (ev->kind == NODE_EVENT_PEER_UP)
        cli_progress_event(&t->progress, "peer_up", "A viewer came", NULL);
    else if (ev->kind == NODE_EVENT_PEER_DOWN)
        cli_progress_event(&t->progress, "peer_down", "A viewer left", NULL);
    else if (ev->kind == NODE_EVENT_STORE_ERROR && ev->u.err != CV_ERR_AGAIN)
        say_store_error(g, ev->u.err);
}

static void on_tick(struct cli_task *t) {
    struct share *g = (struct share *)t;
    char sentence[48];
    if (g->pointing && node_pointed(io_host_node(t->c->host), t->swarm)) {
        g->pointing = false;
        cli_progress_event(&t->progress, "pointed",
                           "It is a recording of a channel, whose link names it", NULL);
    }
    if (g->said) {
        cli_progress_swarm(&t->progress, io_host_node(t->c->host), t->swarm, -1);
    } else if (g->hashing) {
        uint64_t done = atomic_load(&g->offer.hashed), octets = atomic_load(&g->offer.octets);
        snprintf(sentence, sizeof sentence, "Hashing: %.0f %%",
                 octets ? 100.0 * (double)done / (double)octets : 0.0);
        cli_progress_event(
            &t->progress, "hashing", sentence,
            json_pack("{s:I, s:I}", "done", (json_int_t)done, "length", (json_int_t)octets));
    }
}

static void close_share(struct cli_task *t) {
    struct share *g = (struct share *)t;
    if (g->hashing) {
        atomic_store(&g->offer.stop, true);
        pthread_join(g->thread, NULL);
    }
    io_wake_free(g->hashed);
    cli_offer_close(&g->offer);
    cli_authority_close(&g->authority);
}

const struct cli_task_ops cli_share_ops = {.size = sizeof(struct share),
                                           .begin = begin,
                                           .on_event = on_event,
                                           .on_tick = on_tick,
                                           .close = close_share};
