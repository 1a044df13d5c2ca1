/* get and play of a live swarm: what is broadcast from now on goes to a file or,
 * with `-o -`, to standard output, in order, until it ends; play gives it to
 * whoever opens the player link. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/authority.h"
#include "cli/exitcode.h"
#include "cli/kind.h"
#include "cli/recordings.h"
#include "cli/session.h"
#include "cli/verbs.h"
#include "io/store_ring.h"

enum { PIECE = 65536, WINDOW_DEFAULT = 16 << 20 };

struct watch {
    struct cli_task t;
    struct node_uri uri;
    struct cli_authority authority;
    struct io_ring *ring;
    int out;                   /* -1: nowhere (play) */
    struct io_watch *writable; /* standard output */
    bool tuned, ended;
    uint64_t at, end; /* next octet of the broadcast; its length, once ended */
    uint8_t piece[PIECE];
    size_t filled, written; /* of the piece */
    bool full;              /* the disk; tried again every second */
    struct cli_settings of; /* --recorded: of the task that fetches it, .. */
    char link[NODE_URI_MAX];
    struct cli_task *recorded; /* .. once it is known */
};

/* ---- recordings ---- */

static void on_recorded_end(void *ctx, int status) {
    struct watch *w = ctx;
    cli_task_end(&w->t, status); /* both are freed then */
}

/* From here on this is the task of a film. */
static void follow(struct watch *w, const struct node_recordings *r) {
    struct node_uri film;
    if (!r->count || w->recorded || w->t.ended)
        return;
    node_recording_uri(&r->v[0], &w->uri, &film);
    if (node_uri_write(&film, w->link, sizeof w->link) < 0)
        return;
    node_swarm_close(io_host_node(w->t.c->host), io_host_now(w->t.c->host), w->t.swarm);
    io_host_kick(w->t.c->host);
    w->t.swarm = 0;
    w->of = *w->t.s;
    w->of.argument = w->link;
    w->of.recorded = false;
    w->recorded = cli_task_new(&(struct cli_task_config){.c = w->t.c,
                                                         .s = &w->of,
                                                         .progress = w->t.progress,
                                                         .away = w->t.away,
                                                         .on_end = on_recorded_end,
                                                         .ctx = w});
    if (!w->recorded)
        cli_task_fail(&w->t, CLI_FAILED,
                      "the node has too much to do already; end some of it first");
}

static void on_recordings(struct watch *w) {
    static char text[CLI_RECORDINGS_TEXT];
    const struct node_recordings *r = node_recordings(io_host_node(w->t.c->host), w->t.swarm);
    json_t *fields;
    if (!r)
        return;
    struct node_recordings list = *r; /* what follows calls into the node */
    cli_recordings_say(&list, &w->uri, text, &fields);
    cli_progress_event(&w->t.progress, "recordings", text, fields);
    if (w->t.s->recorded)
        follow(w, &list);
}

/* What is broadcast meanwhile stays in the window, and is lost behind it. */
static void say_full(struct watch *w, int error) {
    struct io_why why;
    io_why_errno(&why, w->t.s->output, error);
    if (!w->full)
        cli_progress_full(&w->t.progress, why.text, "writing");
    w->full = true;
}

/* True when the piece is out; else it has to wait, or nobody reads any more. */
static bool write_piece(struct watch *w) {
    while (w->written < w->filled) {
        ssize_t n = write(w->out, w->piece + w->written, w->filled - w->written);
        if (n > 0) {
            w->written += (size_t)n;
            w->full = false;
        } else if (n < 0 && (errno == ENOSPC || errno == EDQUOT)) {
            say_full(w, errno);
            return false;
        } else if (errno == EAGAIN) {
            if (w->writable)
                io_watch_set(w->writable, IO_WRITABLE);
            return false;
        } else if (errno == EPIPE) {
            cli_task_end(&w->t, CLI_OK);
            return false;
        } else if (errno != EINTR) {
            cli_task_fail(&w->t, CLI_FILE, "%s: cannot be written", w->t.s->output);
            return false;
        }
    }
    w->filled = w->written = 0;
    if (w->writable)
        io_watch_set(w->writable, 0);
    return true;
}

static void end(struct watch *w) {
    cli_progress_event(&w->t.progress, "complete", "The broadcast has ended", NULL);
    if (w->out >= 0) /* a player may still have to show the last of it */
        cli_task_end(&w->t, CLI_OK);
}

static void pump(struct watch *w) {
    while (w->out >= 0 && w->tuned && !w->t.ended && write_piece(w)) {
        ssize_t got =
            node_read(io_host_node(w->t.c->host), w->t.swarm, w->at, w->piece, sizeof w->piece);
        if (got == CV_ERR_AGAIN)
            break;
        if (got <= 0) {
            cli_task_fail(&w->t, CLI_FILE, "the live store: %s",
                          *io_ring_why(w->ring) ? io_ring_why(w->ring)
                                                : cv_strerror((enum cv_err)got));
            break;
        }
        w->filled = (size_t)got;
        w->at += (size_t)got;
    }
    if (w->out >= 0 && w->ended && w->at >= w->end && w->filled == 0 && !w->t.ended)
        end(w);
}

static void on_dropped(struct watch *w, const struct node_event *ev) {
    char sentence[128];
    uint64_t last = ev->u.range.last + 1;
    if (w->out < 0) /* nothing is read here */
        w->at = ev->u.range.first;
    if (last <= w->at)
        return;
    snprintf(sentence, sizeof sentence, "Too slow: %" PRIu64 " octets were skipped", last - w->at);
    cli_progress_event(&w->t.progress, "dropped", sentence,
                       json_pack("{s:I}", "octets", (json_int_t)(last - w->at)));
    w->at = last;
}

static void on_event(struct cli_task *t, const struct node_event *ev) {
    struct watch *w = (struct watch *)t;
    if (ev->kind == NODE_EVENT_RECORDINGS)
        on_recordings(w);
    if (w->t.s->recorded)
        return; /* of the broadcast nothing is wanted */
    switch ((int)ev->kind) {
    case NODE_EVENT_PEER_UP:
        cli_progress_peer(&w->t.progress, io_host_node(w->t.c->host), w->t.swarm,
                          &ev->u.peer.endpoint);
        break;
    case NODE_EVENT_PEER_DOWN:
        cli_progress_event(&w->t.progress, "peer_down", "A peer left", NULL);
        break;
    case NODE_EVENT_LIVE_TUNED:
        w->tuned = true;
        w->at = ev->u.range.first;
        cli_progress_event(&w->t.progress, "tuned", "Watching from here on", NULL);
        break;
    case NODE_EVENT_LIVE_DROPPED:
        on_dropped(w, ev);
        break;
    case NODE_EVENT_LIVE_ENDED:
        w->ended = true;
        w->end = ev->u.count;
        if (w->out < 0)
            end(w);
        break;
    case NODE_EVENT_NOBODY:
        if (w->t.c->client_ready) /* else nobody was asked yet */
            cli_progress_event(&w->t.progress, "nobody",
                               "Nobody broadcasts this right now; still looking (--recorded takes "
                               "the newest recording)",
                               NULL);
        break;
    case NODE_EVENT_NO_EXIT:
        if (w->t.c->client_ready)
            cli_progress_no_exit(&w->t.progress);
        break;
    case NODE_EVENT_STORE_ERROR:
        if (ev->u.err != CV_ERR_AGAIN)
            cli_task_fail(&w->t, CLI_FILE, "the live store: %s", io_ring_why(w->ring));
        break;
    default:
        break;
    }
    pump(w);
}

static void call_peers(struct watch *w) {
    for (size_t i = 0; i < w->t.s->peers_count; i++) /* EXIST: it is one */
        (void)node_swarm_peer(io_host_node(w->t.c->host), io_host_now(w->t.c->host), w->t.swarm,
                              &w->t.s->peers[i]);
    io_host_kick(w->t.c->host);
}

/* A source may be away and come back. */
static void on_tick(struct cli_task *t) {
    struct watch *w = (struct watch *)t;
    if (w->recorded)
        return;
    cli_progress_swarm(&w->t.progress, io_host_node(w->t.c->host), w->t.swarm, -1);
    call_peers(w);
    if (w->full)
        pump(w);
}

static void on_writable(void *ctx, unsigned ready) {
    (void)ready;
    pump(ctx);
}

static bool open_output(struct watch *w) {
    if (w->t.s->recorded)
        return true;
    if (w->t.s->verb == CLI_PLAY) {
        if (w->t.s->output)
            cli_task_fail(&w->t, CLI_USAGE,
                          "a live stream that is played is not kept; leave out "
                          "-o, or use 'culvert get -o FILE'");
        return !w->t.s->output;
    }
    if (!w->t.s->output) {
        cli_task_fail(&w->t, CLI_USAGE,
                      "a live stream has no end to keep; say where it goes with -o FILE, or -o - "
                      "for a player's pipe");
        return false;
    }
    if (strcmp(w->t.s->output, "-") == 0 && w->t.away) {
        cli_task_fail(&w->t, CLI_USAGE, "output '-': a node has no pipe to write to; name a file");
        return false;
    }
    if (strcmp(w->t.s->output, "-") == 0) {
        w->out = STDOUT_FILENO;
        if (fcntl(w->out, F_SETFL, fcntl(w->out, F_GETFL) | O_NONBLOCK) == 0)
            w->writable = io_watch_new(w->t.c->loop, w->out, on_writable, w);
        return true;
    }
    w->out = open(w->t.s->output, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (w->out >= 0)
        return true;
    cli_task_fail(&w->t, CLI_FILE, "%.300s: %s", w->t.s->output,
                  errno == EEXIST ? "is there already; name a new file with -o"
                                  : "cannot be written");
    return false;
}

static bool open_swarm(struct watch *w) {
    struct io_why why = {.text = ""};
    uint64_t octets = w->t.s->window ? w->t.s->window : WINDOW_DEFAULT;
    uint64_t window = octets / w->uri.chunk_size;
    size_t hash_len = cv_sha_len((enum cv_sha)w->uri.hash);
    window = window < PPSP_LIVE_WINDOW_MIN ? PPSP_LIVE_WINDOW_MIN : window;
    if (hash_len == 0) {
        cli_task_fail(&w->t, CLI_USAGE,
                      "the link names a kind of swarm this version does not know");
        return false;
    }
    if (io_ring_open(w->t.c->state, w->uri.chunk_size, hash_len, window, &w->ring, &why)) {
        cli_task_fail(&w->t, CLI_FILE, "%s", why.text);
        return false;
    }
    struct node_swarm_config sw = {.uri = w->uri,
                                   .store = &io_ring_ops,
                                   .store_ctx = w->ring,
                                   .mode = cli_kind_mode(w->t.s, &w->uri),
                                   .fetch_all = true,
                                   .no_share = w->t.s->no_share,
                                   .upload_limit = w->t.s->upload_limit,
                                   .download_limit = w->t.s->download_limit,
                                   .constant_rate = (uint8_t)w->t.s->constant_rate,
                                   .live = {.window = window, .latency = NODE_LIVE_LATENCY}};
    cli_authority_give(&w->authority, &sw);
    enum cv_err err =
        node_swarm_open(io_host_node(w->t.c->host), io_host_now(w->t.c->host), &sw, &w->t.swarm);
    if (err == CV_ERR_DIFFERS)
        cli_task_fail(&w->t, CLI_USAGE,
                      "the link belongs to another network than '%.60s'; name it with --network",
                      w->t.s->network);
    else if (err == CV_ERR_INVAL)
        cli_task_fail(&w->t, CLI_USAGE,
                      "the link names a kind of live swarm this version does not know");
    else if (err)
        cli_task_fail(&w->t, CLI_FAILED, "the live swarm cannot be opened: %s", cv_strerror(err));
    return !err;
}

static void begin(struct cli_task *t) {
    struct watch *w = (struct watch *)t;
    struct io_why why = {.text = ""};
    w->out = -1;
    int status = cli_link_check(t->s, t->c->network_id, &w->uri, &why);
    if (!status)
        status = cli_authority_open(&w->authority, t->s, &why);
    if (!status)
        status = cli_authority_join(&w->authority, &w->uri, &why);
    if (status)
        cli_task_fail(t, status, "%s", why.text);
    else if (open_swarm(w) && open_output(w)) {
        if (w->t.s->recorded)
            cli_progress_event(&w->t.progress, "looking", "Looking for the channel's recordings",
                               NULL);
        else if (w->out < 0)
            cli_progress_link(&w->t.progress, t->c->gateway, &w->uri);
        call_peers(w);
    }
}

static void close_watch(struct cli_task *t) {
    struct watch *w = (struct watch *)t;
    cli_task_free(w->recorded);
    if (t->swarm) {
        node_swarm_close(io_host_node(t->c->host), io_host_now(t->c->host), t->swarm);
        io_host_flush(t->c->host);
    }
    io_watch_free(w->writable);
    cli_authority_close(&w->authority);
    io_ring_close(w->ring);
    if (w->out > STDOUT_FILENO)
        close(w->out);
}

const struct cli_task_ops cli_watch_ops = {.size = sizeof(struct watch),
                                           .begin = begin,
                                           .on_event = on_event,
                                           .on_tick = on_tick,
                                           .close = close_watch};
