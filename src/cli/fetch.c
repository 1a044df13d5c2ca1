/* get and play, inside a node: find the swarm, fetch, give the player link. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/exitcode.h"
#include "cli/kind.h"
#include "cli/session.h"
#include "cli/task.h"
#include "cli/verbs.h"
#include "io/store_file.h"
#include "ppsp/ppsp.h"

enum { ROOM_TO_GO_ON = 16 << 20 };

struct fetch {
    struct cli_task t;
    struct node_uri uri;
    struct io_store *store;
    struct io_wake *flushed; /* the store has written: what it refused goes on */
    bool first_seen, full;
};

static struct node *node_of(struct fetch *g) {
    return io_host_node(g->t.c->host);
}

static bool unchecked(const struct fetch *g) {
    return g->uri.integrity == PPSP_INTEGRITY_NONE;
}

static void say(struct fetch *g, const char *name, const char *sentence, json_t *fields) {
    cli_progress_event(&g->t.progress, name, sentence, fields);
}

static void on_complete(struct fetch *g) {
    say(g, "complete", unchecked(g) ? "Complete, NOTHING WAS CHECKED" : "Complete and verified",
        NULL);
    if (g->t.s->verb != CLI_PLAY)
        cli_task_end(&g->t, CLI_OK);
}

static void on_store_error(struct fetch *g, enum cv_err err) {
    if (err == CV_ERR_AGAIN)
        return;
    if (err == CV_ERR_FULL) {
        if (!g->full)
            say(g, "disk_full", "The disk is full: fetching pauses until there is room", NULL);
        g->full = true;
        return;
    }
    const char *why = io_store_why(g->store);
    cli_task_fail(&g->t, CLI_FILE, "%s", *why ? why : cv_strerror(err));
}

static void on_event(struct cli_task *t, const struct node_event *ev) {
    struct fetch *g = (struct fetch *)t;
    switch ((int)ev->kind) {
    case NODE_EVENT_PEER_UP:
        cli_progress_peer(&t->progress, node_of(g), t->swarm, &ev->u.peer.endpoint);
        break;
    case NODE_EVENT_PEER_DOWN:
        say(g, "peer_down", "A peer left", NULL);
        break;
    case NODE_EVENT_NOBODY:
        say(g, "nobody", "Nobody shares this right now; still looking", NULL);
        break;
    case NODE_EVENT_CHUNKS_READY:
        if (!g->first_seen)
            say(g, "first_chunk", unchecked(g) ? "First chunk came" : "First chunk verified", NULL);
        g->first_seen = true;
        g->full = false;
        break;
    case NODE_EVENT_COMPLETE:
        on_complete(g);
        break;
    case NODE_EVENT_LENGTH_DIFFERS:
        cli_task_fail(t, CLI_USAGE,
                      "the link says %" PRIu64 " octets but the content has %" PRIu64
                      "; ask for a correct link",
                      g->uri.length, ev->u.count);
        break;
    case NODE_EVENT_STORE_ERROR:
        on_store_error(g, ev->u.err);
        break;
    default:
        break;
    }
}

static void ready(struct fetch *g) {
    node_swarm_ready(node_of(g), io_host_now(g->t.c->host), g->t.swarm);
    io_host_kick(g->t.c->host);
}

static void on_tick(struct cli_task *t) {
    struct fetch *g = (struct fetch *)t;
    cli_progress_swarm(&t->progress, node_of(g), t->swarm);
    if (g->full && io_store_room(g->store, ROOM_TO_GO_ON))
        ready(g);
}

static void on_flushed(void *ctx) {
    ready(ctx);
}

static void wake(void *ctx) { /* in the store's thread */
    io_wake_up(ctx);
}

/* ---- beginning ---- */

/* A name a stranger chose, made harmless: no folder, no leading dot. */
static void file_name(const struct node_uri *uri, char *out, size_t cap) {
    const char *base = strrchr(uri->name, '/');
    base = base ? base + 1 : uri->name;
    size_t n = 0;
    for (; *base && n + 1 < cap; base++)
        out[n++] = (uint8_t)*base < 32 || *base == 127 ? '_' : *base;
    out[n] = 0;
    if (!n)
        snprintf(out, cap, "video");
    if (out[0] == '.')
        out[0] = '_';
}

/* Where the content is kept: --output, or for get its own name in the folder
 * that the command was given in. */
static const char *data_path(const struct fetch *g, char out[CLI_PATH_MAX]) {
    char name[NODE_URI_NAME_MAX + 1];
    if (g->t.s->output)
        return g->t.s->output;
    if (g->t.s->verb == CLI_PLAY)
        return NULL;
    file_name(&g->uri, name, sizeof name);
    if (g->t.s->folder)
        snprintf(out, CLI_PATH_MAX, "%s/%s", g->t.s->folder, name);
    else
        snprintf(out, CLI_PATH_MAX, "%s", name);
    return out;
}

static bool open_store(struct fetch *g) {
    char path[CLI_PATH_MAX];
    struct io_why why = {.text = ""};
    struct io_store_config cfg = {.chunk_size = g->uri.chunk_size,
                                  .alg = (enum cv_sha)g->uri.hash,
                                  .data_path = data_path(g, path)};
    /* What nobody checked is never taken for what was: another name. */
    CV_BLAKE2B(cfg.id, sizeof cfg.id, NULL, 0, {g->uri.swarm_id, g->uri.swarm_id_len},
               {"unprotected", unchecked(g) ? 11 : 0});
    enum cv_err err = io_store_open(g->t.c->state, &cfg, &g->store, &why);
    if (err) {
        cli_task_fail(&g->t, CLI_FILE, "%s", why.text);
        return false;
    }
    g->flushed = io_wake_new(g->t.c->loop, on_flushed, g);
    if (g->flushed)
        io_store_notify(g->store, wake, g->flushed);
    return true;
}

static bool open_swarm(struct fetch *g) {
    const struct cli_settings *s = g->t.s;
    struct io_host *host = g->t.c->host;
    struct io_why why = {.text = ""};
    struct node_swarm_config sw = {.uri = g->uri,
                                   .store = &io_store_ops,
                                   .store_ctx = g->store,
                                   .mode = s->direct ? NODE_SWARM_DIRECT
                                           : s->at   ? NODE_SWARM_OPEN
                                                     : NODE_SWARM_HIDDEN,
                                   .fetch_all = true,
                                   .no_share = s->no_share,
                                   .unprotected = cli_kind_unprotected(s),
                                   .upload_limit = s->upload_limit};
    if (s->at)
        cv_unhex(s->at, sw.at, sizeof sw.at);
    enum cv_err err = node_swarm_open(node_of(g), io_host_now(host), &sw, &g->t.swarm);
    for (size_t i = 0; !err && i < s->peers_count; i++)
        err = node_swarm_peer(node_of(g), io_host_now(host), g->t.swarm, &s->peers[i]);
    io_host_kick(host);
    if (!err)
        return true;
    char name[NODE_URI_NAME_MAX + 1];
    file_name(&g->uri, name, sizeof name);
    int status = cli_swarm_refused(name, sw.mode, err, &why);
    cli_task_fail(&g->t, status, "%s", why.text);
    return false;
}

/* get: named by its root hash, the length is not known. */
static bool is_bare(const struct cli_settings *s) {
    return s->verb == CLI_GET && cli_kind_is_hash(s->argument);
}

bool cli_link_is_live(const struct cli_settings *s) {
    struct node_uri uri;
    const char *wrong;
    return s->verb & (CLI_GET | CLI_PLAY) && !is_bare(s) &&
           node_uri_read(s->argument, &uri, &wrong) == CV_ERR_OK && uri.kind == NODE_URI_LIVE;
}

int cli_link_check(const struct cli_settings *s, const uint8_t network_id[8], struct node_uri *ret,
                   struct io_why *why) {
    const char *wrong;
    uint8_t at[CV_KEY];
    if (is_bare(s)) {
        int status = cli_kind_of_hash(s, network_id, ret, why);
        if (status)
            return status;
    } else if (node_uri_read(s->argument, ret, &wrong) != CV_ERR_OK) {
        io_why_set(why, "bad link: %s", wrong);
        return CLI_USAGE;
    } else {
        int status = cli_kind_of_link(s, ret, why);
        if (status)
            return status;
    }
    if (ret->kind == NODE_URI_LIVE && s->at) {
        io_why_set(why, "a relay shares files only under its own name: leave out --at");
        return CLI_USAGE;
    }
    if (s->direct && !s->peers_count) {
        io_why_set(why, "a direct swarm needs somebody to ask: --peer IP:PORT");
        return CLI_USAGE;
    }
    if (s->direct && s->at) {
        io_why_set(why, "--direct and --at exclude each other");
        return CLI_USAGE;
    }
    if (s->at && cv_unhex(s->at, at, sizeof at)) {
        io_why_set(why, "at '%.100s': is not a relay's identity (64 hexadecimal digits)", s->at);
        return CLI_USAGE;
    }
    if (ret->kind == NODE_URI_LIVE)
        return CLI_OK;
    if (cv_sha_len((enum cv_sha)ret->hash) != ret->swarm_id_len || (!ret->length && !is_bare(s))) {
        io_why_set(why, "the link names a kind of swarm this version does not know");
        return CLI_USAGE;
    }
    return CLI_OK;
}

static void begin(struct cli_task *t) {
    struct fetch *g = (struct fetch *)t;
    struct io_why why = {.text = ""};
    int status = cli_link_check(t->s, t->c->network_id, &g->uri, &why);
    if (!status && memcmp(t->c->network_id, g->uri.network_id, sizeof t->c->network_id) != 0) {
        io_why_set(&why, "the link belongs to another network than '%.60s'; name it with --network",
                   t->c->s->network);
        status = CLI_USAGE;
    }
    if (status) {
        cli_task_fail(t, status, "%s", why.text);
        return;
    }
    if (!open_store(g) || !open_swarm(g))
        return;
    if (!is_bare(t->s))
        cli_progress_link(&t->progress, t->c->gateway, &g->uri);
    struct node_swarm_status st;
    for (size_t i = 0; node_swarm_status(node_of(g), i, &st); i++)
        if (st.swarm == t->swarm && st.length && st.have == st.length)
            on_complete(g);
}

static void close_fetch(struct cli_task *t) {
    struct fetch *g = (struct fetch *)t;
    if (t->swarm) {
        node_swarm_close(node_of(g), io_host_now(t->c->host), t->swarm);
        io_host_flush(t->c->host);
    }
    io_store_close(g->store); /* its last flush still wakes the loop */
    io_wake_free(g->flushed);
    cli_cache_trim(t->c);
}

const struct cli_task_ops cli_fetch_ops = {.size = sizeof(struct fetch),
                                           .begin = begin,
                                           .on_event = on_event,
                                           .on_tick = on_tick,
                                           .close = close_fetch};
