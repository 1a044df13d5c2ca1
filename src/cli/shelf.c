/* share of several files directly: none of them is open before somebody asks.
 * NODE_EVENT_ASKED opens the file's store and swarm; both are closed when nobody
 * has been there for a while. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/contents.h"
#include "cli/exitcode.h"
#include "cli/kind.h"
#include "cli/offer.h"
#include "cli/task.h"
#include "crypto/hash.h"
#include "crypto/rng_system.h"
#include "io/library.h"

enum { OPEN_MAX = 64 }; /* files open at once; who asks for more has to wait */

#define QUIET CV_SEC(10) /* after that a file goes back to sleep */

struct place {
    struct cli_offer offer; /* swarm 0: free */
    cv_usec quiet_since;    /* nobody is there; NEVER: somebody is */
};

struct shelf {
    struct cli_task t;
    struct cli_authority authority;
    struct io_library *library;
    struct place *open; /* OPEN_MAX */
    /* Files are hashed one after the other in a thread, which knows only this: */
    struct cli_offer offer;
    enum cv_err err;
    struct io_why why;
    struct io_wake *hashed;
    pthread_t thread;
    bool hashing;
    size_t done; /* files */
};

static void complain(struct shelf *g, const char *text) {
    cli_progress_event(&g->t.progress, "error", text,
                       json_pack("{s:o}", "text", cli_json_text(text)));
}

/* ---- hashing ------------------------------------------------------------------- */

static void *hash(void *arg) {
    struct shelf *g = arg;
    g->err = cli_offer_hash(&g->offer, &g->why);
    cv_crypto_thread_done();
    io_wake_up(g->hashed);
    return NULL;
}

static void hash_next(struct shelf *g) {
    if (g->done == g->t.s->arguments_count)
        return;
    g->offer.c = g->t.c;
    g->offer.s = g->t.s;
    g->offer.path = g->t.s->arguments[g->done];
    g->offer.authority = &g->authority;
    g->offer.uri = (struct node_uri){.contacts_count = 0};
    g->hashing = pthread_create(&g->thread, NULL, hash, g) == 0;
    if (!g->hashing)
        cli_task_fail(&g->t, CLI_FAILED, "out of memory");
}

/* Only now, so that the thread never touches the library. */
static enum cv_err remember(struct shelf *g) {
    struct io_share_config cfg = {.path = g->offer.path,
                                  .chunk_size = g->offer.uri.chunk_size,
                                  .alg = (enum cv_sha)g->offer.uri.hash,
                                  .only_known = true};
    const struct io_library_file *file;
    cli_offer_close(&g->offer);
    enum cv_err err = io_library_add(g->library, &cfg, &file, &g->why);
    return err == CV_ERR_EXIST ? CV_ERR_OK : err;
}

static void on_hashed(void *ctx) {
    struct shelf *g = ctx;
    if (!g->hashing)
        return;
    pthread_join(g->thread, NULL);
    g->hashing = false;
    enum cv_err err = g->err ? g->err : remember(g);
    if (err) {
        cli_task_fail(&g->t, err == CV_ERR_INVAL ? CLI_USAGE : CLI_FILE, "%s",
                      g->why.text[0] ? g->why.text : cv_strerror(err));
        return;
    }
    cli_offer_say(&g->offer, &g->t.progress);
    g->done++;
    hash_next(g);
}

static void begin(struct cli_task *t) {
    struct shelf *g = (struct shelf *)t;
    t->several = true;
    int status = cli_authority_open(&g->authority, t->s, &g->why);
    if (status) {
        cli_task_fail(t, status, "%s", g->why.text);
        return;
    }
    g->library = io_library_new(t->c->state, cv_rng_system());
    g->open = calloc(OPEN_MAX, sizeof *g->open);
    g->hashed = io_wake_new(t->c->loop, on_hashed, g);
    if (g->library && g->open && g->hashed)
        hash_next(g);
    else
        cli_task_fail(t, CLI_FAILED, "out of memory");
}

/* ---- what is open ---------------------------------------------------------------- */

static void put_back(struct place *p) {
    cli_offer_close(&p->offer);
    p->quiet_since = 0;
}

/* A free place, or that of whoever is quiet for the longest time; NULL: none. */
static struct place *find_place(struct shelf *g) {
    struct place *best = NULL;
    for (struct place *p = g->open; p < g->open + OPEN_MAX; p++) {
        if (!p->offer.swarm)
            return p;
        if (p->quiet_since != CV_USEC_NEVER && (!best || p->quiet_since < best->quiet_since))
            best = p;
    }
    if (best)
        put_back(best);
    return best;
}

static struct place *place_of(struct shelf *g, cv_handle swarm) {
    for (struct place *p = g->open; swarm && p < g->open + OPEN_MAX; p++)
        if (p->offer.swarm == swarm)
            return p;
    return NULL;
}

static void note_presence(struct shelf *g, struct place *p) {
    struct node_peer_status peer;
    if (node_peer_status(io_host_node(g->t.c->host), p->offer.swarm, 0, &peer))
        p->quiet_since = CV_USEC_NEVER;
    else if (p->quiet_since == CV_USEC_NEVER)
        p->quiet_since = io_host_now(g->t.c->host).mono;
}

static bool is_open(const struct shelf *g, const struct io_library_file *file) {
    for (const struct place *p = g->open; p < g->open + OPEN_MAX; p++)
        if (p->offer.swarm && memcmp(p->offer.uri.swarm_id, file->root, file->root_len) == 0)
            return true;
    return false;
}

static void take_down(struct shelf *g, const struct io_library_file *file) {
    struct io_why why = {.text = ""};
    struct place *p = find_place(g);
    if (!p)
        return; /* all are in use: it will ask again */
    struct cli_offer *o = &p->offer;
    *o = (struct cli_offer){
        .c = g->t.c, .s = g->t.s, .path = file->path, .authority = &g->authority};
    p->quiet_since = io_host_now(g->t.c->host).mono;
    int status = cli_kind_read(g->t.s, &o->uri, &why);
    if (!status && io_library_open(g->library, file, &o->store, &why) != CV_ERR_OK)
        status = CLI_FILE;
    if (!status) {
        memcpy(o->uri.swarm_id, file->root, file->root_len);
        cli_offer_describe(o);
        status = cli_offer_open(o, NODE_SWARM_DIRECT, &why);
    }
    if (!status)
        return;
    complain(g, why.text);
    put_back(p);
}

/* ---- the task -------------------------------------------------------------------- */

static void on_event(struct cli_task *t, const struct node_event *ev) {
    struct shelf *g = (struct shelf *)t;
    if (ev->kind == NODE_EVENT_ASKED) {
        const struct io_library_file *file =
            io_library_find(g->library, ev->u.asked.swarm_id, ev->u.asked.len);
        if (file && !is_open(g, file))
            take_down(g, file);
        return;
    }
    struct place *p = place_of(g, ev->swarm);
    if (!p)
        return;
    if (ev->kind == NODE_EVENT_PEER_UP || ev->kind == NODE_EVENT_PEER_DOWN) {
        bool up = ev->kind == NODE_EVENT_PEER_UP;
        note_presence(g, p);
        cli_progress_event(&t->progress, up ? "peer_up" : "peer_down",
                           up ? "A viewer came" : "A viewer left", NULL);
    } else if (ev->kind == NODE_EVENT_STORE_ERROR && ev->u.err != CV_ERR_AGAIN) {
        const char *why = io_store_why(p->offer.store);
        complain(g, *why ? why : cv_strerror(ev->u.err));
        put_back(p);
    }
}

static void on_tick(struct cli_task *t) {
    struct shelf *g = (struct shelf *)t;
    cv_usec now = io_host_now(t->c->host).mono;
    for (struct place *p = g->open; p < g->open + OPEN_MAX; p++) {
        if (!p->offer.swarm)
            continue;
        note_presence(g, p); /* an event may have been lost */
        if (p->quiet_since != CV_USEC_NEVER && now >= cv_usec_add(p->quiet_since, QUIET))
            put_back(p);
    }
}

static void close_shelf(struct cli_task *t) {
    struct shelf *g = (struct shelf *)t;
    if (g->hashing) {
        atomic_store(&g->offer.stop, true);
        pthread_join(g->thread, NULL);
    }
    io_wake_free(g->hashed);
    cli_offer_close(&g->offer);
    for (size_t i = 0; g->open && i < OPEN_MAX; i++)
        put_back(&g->open[i]);
    free(g->open);
    cli_authority_close(&g->authority);
    io_library_free(g->library);
}

static void offers(struct cli_task *t, struct cli_progress *to) {
    struct shelf *g = (struct shelf *)t;
    const struct io_library_file *file = NULL;
    char id[2 * CLI_SWARM_ID + 1];
    while ((file = io_library_next(g->library, file)) != NULL)
        cli_progress_event(to, "offered", "",
                           json_pack("{s:s}", "swarm", cv_hex(file->root, CLI_SWARM_ID, id)));
}

static bool drop(struct cli_task *t, const char *swarm) {
    struct shelf *g = (struct shelf *)t;
    const struct io_library_file *file = NULL;
    char id[2 * CLI_SWARM_ID + 1] = "";
    while ((file = io_library_next(g->library, file)) != NULL &&
           strcmp(cv_hex(file->root, CLI_SWARM_ID, id), swarm) != 0)
        ;
    if (!file)
        return false;
    for (struct place *p = g->open; p < g->open + OPEN_MAX; p++)
        if (p->offer.swarm && memcmp(p->offer.uri.swarm_id, file->root, file->root_len) == 0)
            put_back(p);
    cli_progress_event(&t->progress, "stopped", "One of the files was stopped by 'culvert rm'",
                       json_pack("{s:s}", "swarm", id));
    io_library_remove(g->library, file);
    return true;
}

const struct cli_task_ops cli_shelf_ops = {.size = sizeof(struct shelf),
                                           .begin = begin,
                                           .on_event = on_event,
                                           .on_tick = on_tick,
                                           .close = close_shelf,
                                           .drop = drop,
                                           .offers = offers};
