/*
 * live: what comes from a pipe or a growing file becomes a live swarm. The key
 * in the key file is the channel: a source that restarts goes on in the same
 * swarm, at a chunk number behind all that were ever used, which is written
 * down ahead of their use.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/authority.h"
#include "cli/exitcode.h"
#include "cli/key.h"
#include "cli/kind.h"
#include "cli/offer.h"
#include "cli/recordings.h"
#include "cli/task.h"
#include "io/clock.h"
#include "io/store_ring.h"

enum {
    CHUNK_SIZE = 1024,
    WINDOW_DEFAULT = 16 << 20, /* octets */
    RESERVE = 1 << 14,         /* chunk numbers written down ahead */
    AT_ONCE = 64,              /* chunks read in one turn of the loop */
    STATE_NAME = 64,
};

#define LOOK_AGAIN CV_MSEC(20) /* at a file that may have grown */
/* For viewers to get the last of it: so many seconds at least, then until nothing was sent
 * for so many, and no longer than that. */
enum { LINGER = 5, LINGER_QUIET = 3, LINGER_MOST = 60 };

struct live {
    struct cli_task t;
    struct node_uri uri;
    struct cv_dnssec_secret *secret;
    struct cli_authority authority;
    struct io_ring *ring;
    char state_name[STATE_NAME];
    uint64_t reserved; /* numbers below it are written down as used */
    int in, record;    /* descriptors; -1: none */
    bool grows;        /* a plain file: its end is not the end */
    struct io_watch *watch;
    struct io_timer *timer;
    uint8_t chunk[CHUNK_SIZE];
    size_t filled, kept;     /* octets of the chunk; of them, in the recording */
    bool full;               /* the recording's disk */
    bool said, ended, feeds; /* the page's camera is taken */
    bool pointing, pointed;  /* at recordings; whoever looks finds them */
    unsigned lingers, quiet; /* seconds since the end, and since anything was sent */
    uint64_t sent;
    struct cli_offer recorded;
};

static size_t sign(void *ctx, const uint8_t *msg, size_t len,
                   uint8_t ret[CV_DNSSEC_SIGNATURE_MAX]) {
    struct live *l = ctx;
    return cv_dnssec_sign(l->secret, msg, len, ret);
}

/* ---- the key ---------------------------------------------------------------------- */

static bool load_key(struct live *l) {
    char path[CLI_PATH_MAX];
    struct io_why why = {.text = ""};
    enum cv_dnssec_alg alg;
    if (!cli_key_algorithm(l->t.s->algorithm, &alg)) {
        cli_task_fail(&l->t, CLI_USAGE,
                      "algorithm '%.100s': is not one of ed25519, rsasha1, rsasha256, "
                      "ecdsap256sha256, ecdsap384sha384",
                      l->t.s->algorithm);
        return false;
    }
    if (l->t.s->key)
        snprintf(path, sizeof path, "%s", l->t.s->key);
    else
        cli_key_path(l->t.c->state, alg, path);
    enum cv_err err = cli_key_open(path, alg, "--algorithm or --key", &l->secret, &why);
    if (err)
        cli_task_fail(&l->t, CLI_FILE, "%s", why.text);
    return !err;
}

/* ---- chunk numbers -------------------------------------------------------------------- */

static bool reserve(struct live *l, uint64_t up_to) {
    struct io_why why;
    char text[32];
    int n = snprintf(text, sizeof text, "%" PRIu64 "\n", up_to);
    if (io_state_write(l->t.c->state, l->state_name, text, (size_t)n, &why)) {
        cli_task_fail(&l->t, CLI_FILE, "%s", why.text);
        return false;
    }
    l->reserved = up_to;
    return true;
}

/* The number to go on at: a multiple of every munro's width. */
static bool next_number(struct live *l, uint64_t *ret) {
    struct io_why why;
    char text[32] = "", *end;
    size_t len = 0;
    enum cv_err err =
        io_state_read(l->t.c->state, l->state_name, text, sizeof text - 1, &len, &why);
    *ret = 0;
    if (err == CV_ERR_NOENT)
        return true;
    if (!err) {
        text[len] = 0;
        *ret = strtoull(text, &end, 10);
        if (end != text && *end == '\n')
            return true;
        io_why_set(&why,
                   "%s/%s: holds no chunk number; with the number lost this channel cannot "
                   "go on: choose another key with --key",
                   io_state_path(l->t.c->state), l->state_name);
    }
    cli_task_fail(&l->t, CLI_STATE, "%s", why.text);
    return false;
}

/* ---- the broadcast ---------------------------------------------------------------------- */

static enum node_swarm_mode mode_of(const struct live *l) {
    return l->t.s->direct ? NODE_SWARM_DIRECT : NODE_SWARM_HIDDEN;
}

static void say_live(struct live *l) {
    char text[NODE_URI_MAX], sentence[NODE_URI_MAX + CV_ADDR_TEXT + 64], address[CV_ADDR_TEXT];
    if (l->said || node_uri_write(&l->uri, text, sizeof text) < 0)
        return;
    l->said = true;
    json_t *fields = json_pack("{s:s}", "uri", text);
    if (l->t.s->direct) {
        struct cv_addr at = io_host_bound(l->t.c->host, NODE_SOCKET_DIRECT, 0);
        json_object_set_new(fields, "address", json_string(cv_addr_text(&at, address)));
        snprintf(sentence, sizeof sentence, "Live DIRECTLY at %s, hides nothing:\n%s", address,
                 text);
    } else {
        snprintf(sentence, sizeof sentence, "Live, hidden:\n%s", text);
    }
    cli_progress_event(&l->t.progress, "live", sentence, fields);
}

/* The recording is static content from now on, with the same tree. */
static void share_recording(struct live *l) {
    char text[NODE_URI_MAX], sentence[NODE_URI_MAX + 64], hex[2 * CV_SHA_MAX + 1];
    uint8_t root[CV_SHA_MAX];
    struct io_why why = {.text = ""};
    l->recorded.c = l->t.c;
    l->recorded.s = l->t.s;
    l->recorded.path = l->t.s->record;
    l->recorded.authority = &l->authority;
    int status = cli_offer_hash(&l->recorded, &why) == CV_ERR_OK
                     ? cli_offer_open(&l->recorded, mode_of(l), &why)
                     : CLI_FILE;
    if (status) {
        cli_task_fail(&l->t, status, "%s", why.text);
        return;
    }
    if (node_live_root(io_host_node(l->t.c->host), l->t.swarm, root) &&
        memcmp(root, l->recorded.uri.swarm_id, l->recorded.uri.swarm_id_len) != 0) {
        cli_task_fail(&l->t, CLI_FILE, "%s: is not what was broadcast; it was changed meanwhile",
                      l->t.s->record);
        return;
    }
    if (node_uri_write(&l->recorded.uri, text, sizeof text) < 0)
        return;
    snprintf(sentence, sizeof sentence, "Recorded and shared from now on:\n%s", text);
    cli_progress_event(
        &l->t.progress, "recorded", sentence,
        json_pack("{s:s, s:s}", "uri", text, "root",
                  cv_hex(l->recorded.uri.swarm_id, l->recorded.uri.swarm_id_len, hex)));
    if (cli_recordings_add(l->t.c, &l->uri, l->secret, &l->recorded.uri, l->t.swarm, &why)) {
        char warning[sizeof why.text + 64];
        snprintf(warning, sizeof warning, "The channel's link does not name it: %s", why.text);
        cli_progress_event(&l->t.progress, "unlisted", warning, NULL);
        return;
    }
    l->pointing = true;
    l->pointed = false;
}

static uint64_t sent_by(const struct live *l) {
    struct node_swarm_status st;
    for (size_t i = 0; node_swarm_status(io_host_node(l->t.c->host), i, &st); i++)
        if (st.swarm == l->t.swarm)
            return st.sent;
    return 0;
}

/* Once a second from the end on. */
static void linger(struct live *l) {
    uint64_t sent = sent_by(l);
    cv_usec now = io_clock_now().mono;
    l->quiet = sent == l->sent ? l->quiet + 1 : 0;
    l->sent = sent;
    if (l->lingers >= LINGER_MOST || (l->lingers >= LINGER && l->quiet >= LINGER_QUIET))
        cli_task_end(&l->t, CLI_OK);
    else
        io_timer_at(l->timer, now, cv_usec_add(now, CV_SEC(1)));
    l->lingers++;
}

static void end(struct live *l) {
    char hex[2 * CV_SHA_MAX + 1], sentence[256] = "The broadcast has ended";
    uint8_t root[CV_SHA_MAX];
    json_t *o = json_object();
    l->ended = true;
    io_watch_free(l->watch);
    l->watch = NULL;
    if (node_live_root(io_host_node(l->t.c->host), l->t.swarm, root)) {
        cv_hex(root, cv_sha_len((enum cv_sha)l->uri.hash), hex);
        json_object_set_new(o, "root", json_string(hex));
        snprintf(sentence, sizeof sentence, "The broadcast has ended; its root hash is %s", hex);
    }
    cli_progress_event(&l->t.progress, "ended", sentence, o);
    (void)reserve(l, node_inject_next(io_host_node(l->t.c->host), l->t.swarm));
    if (l->record >= 0)
        share_recording(l);
    else
        linger(l);
}

/* The chunk into the recording; false: the rest of it has to wait, or all is over. */
static bool keep(struct live *l) {
    while (l->record >= 0 && l->kept < l->filled) {
        ssize_t n = write(l->record, l->chunk + l->kept, l->filled - l->kept);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == ENOSPC || errno == EDQUOT)) {
            struct io_why why;
            io_why_errno(&why, l->t.s->record, errno);
            if (!l->full)
                cli_progress_full(&l->t.progress, why.text, "the broadcast");
            l->full = true;
            return false;
        }
        if (n < 0) {
            cli_task_fail(&l->t, CLI_FILE, "%s: cannot be written", l->t.s->record);
            return false;
        }
        l->kept += (size_t)n;
    }
    l->full = false;
    return true;
}

/* Gives a chunk to the recording and the swarm; false when it has to wait, or all is
 * over. In this order: what is broadcast is in the recording. */
static bool inject(struct live *l) {
    struct node *n = io_host_node(l->t.c->host);
    uint64_t next = node_inject_next(n, l->t.swarm);
    if (!keep(l) || (next + RESERVE / 2 > l->reserved && !reserve(l, l->reserved + RESERVE)))
        return false;
    enum cv_err err = node_inject(n, io_host_now(l->t.c->host), l->t.swarm, l->chunk, l->filled);
    if (err == CV_ERR_AGAIN)
        return false;
    if (err) {
        cli_task_fail(&l->t, CLI_FILE, "the broadcast cannot go on: %s",
                      *io_ring_why(l->ring) ? io_ring_why(l->ring) : cv_strerror(err));
        return false;
    }
    l->filled = l->kept = 0;
    return true;
}

static void finish_input(struct live *l) {
    struct node *n = io_host_node(l->t.c->host);
    if (l->filled && !inject(l))
        return;
    if (node_inject_end(n, io_host_now(l->t.c->host), l->t.swarm) == CV_ERR_AGAIN)
        return;
    end(l);
}

/* Reads what is there. */
static void pump(struct live *l) {
    bool more = false;
    for (unsigned i = 0; i < AT_ONCE && !l->ended && !l->t.ended; i++) {
        if (l->filled == CHUNK_SIZE && !inject(l))
            break;
        ssize_t got = read(l->in, l->chunk + l->filled, CHUNK_SIZE - l->filled);
        if (got < 0 && errno != EINTR && errno != EAGAIN)
            cli_task_fail(&l->t, CLI_FILE, "%s: cannot be read", l->t.s->argument);
        if (got == 0 && !l->grows)
            finish_input(l);
        if (got <= 0)
            break;
        l->filled += (size_t)got;
        more = i + 1 == AT_ONCE;
    }
    io_host_kick(l->t.c->host);
    cv_usec now = io_clock_now().mono;
    if (l->watch) /* what cannot be taken need not be told of */
        io_watch_set(l->watch, l->full ? 0 : IO_READABLE);
    if (!l->ended && (more || l->grows || l->full || l->filled == CHUNK_SIZE))
        io_timer_at(l->timer, now, more ? now : cv_usec_add(now, LOOK_AGAIN));
}

static void on_readable(void *ctx, unsigned ready) {
    (void)ready;
    pump(ctx);
}

static void on_timer(void *ctx) {
    struct live *l = ctx;
    if (!l->ended)
        pump(l);
    else if (l->record < 0) /* a recording is shared until somebody ends that */
        linger(l);
}

static void on_event(struct cli_task *t, const struct node_event *ev) {
    if (ev->kind == NODE_EVENT_SHARED) /* hidden: it can be found from now on */
        say_live((struct live *)t);
    else if (ev->kind == NODE_EVENT_PEER_UP)
        cli_progress_event(&t->progress, "peer_up", "A viewer came", NULL);
    else if (ev->kind == NODE_EVENT_PEER_DOWN)
        cli_progress_event(&t->progress, "peer_down", "A viewer left", NULL);
}

/* Whoever has the channel's link finds its recordings from now on. */
static void say_pointed(struct live *l) {
    if (!l->pointing || l->pointed || !node_pointed(io_host_node(l->t.c->host), l->t.swarm))
        return;
    l->pointed = true;
    cli_progress_event(&l->t.progress, "pointed", "The channel's link names its recordings", NULL);
}

static void on_tick(struct cli_task *t) {
    say_pointed((struct live *)t);
    cli_progress_swarm(&t->progress, io_host_node(t->c->host), t->swarm, -1);
}

/* ---- beginning ---------------------------------------------------------------------------- */

/* A descriptor of our own is another one of the same; of another process's pipe we open
 * the same end, which only its owner can. */
static int open_named(const char *from) {
    char ours[32];
    int n = snprintf(ours, sizeof ours, "/proc/%ld/fd/", (long)getpid());
    if (strncmp(from, ours, (size_t)n) != 0)
        return open(from, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    char *end;
    int fd = fcntl((int)strtoul(from + n, &end, 10), F_DUPFD_CLOEXEC, 0);
    if (fd >= 0)
        (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}

/* Of the command that makes a broadcast of it, what the page records goes there. Nothing
 * but a pipe is written to. */
static bool open_feed(struct live *l) {
    struct stat st;
    const char *to = l->t.s->feed;
    int fd = strncmp(to, "/proc/", 6) ? -1 : open(to, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISFIFO(st.st_mode)) {
        if (fd >= 0)
            close(fd);
        cli_task_fail(&l->t, CLI_FILE, "%.300s: is no pipe of a command", to);
        return false;
    }
    l->feeds = gw_api_feed(l->t.c->api, fd);
    if (!l->feeds)
        cli_task_fail(&l->t, CLI_FAILED,
                      "another command broadcasts the page's camera already; end that first");
    return l->feeds;
}

static bool open_input(struct live *l) {
    struct stat st;
    const char *from = l->t.s->argument;
    l->in = open_named(from);
    if (l->in < 0 || fstat(l->in, &st) != 0) {
        cli_task_fail(&l->t, CLI_FILE,
                      "%.300s: cannot be opened; name a pipe, a file, or where an encoder pushes "
                      "to: udp://, tcp:// or rtmp://127.0.0.1:PORT",
                      from);
        return false;
    }
    l->grows = S_ISREG(st.st_mode);
    if (l->t.s->record) {
        l->record = open(l->t.s->record, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (l->record < 0) {
            cli_task_fail(&l->t, CLI_FILE, "%.300s: %s", l->t.s->record,
                          errno == EEXIST ? "is there already; a recording begins with a new file"
                                          : "cannot be written");
            return false;
        }
    }
    return true;
}

static int describe(struct live *l, struct io_why *why) {
    struct node_uri *u = &l->uri;
    u->kind = NODE_URI_LIVE;
    int status = cli_kind_read(l->t.s, u, why);
    if (status)
        return status;
    const char *name = l->t.s->name ? l->t.s->name : l->t.s->argument;
    const char *base = strrchr(name, '/');
    base = base ? base + 1 : name;
    memcpy(u->network_id, l->t.c->network_id, sizeof u->network_id);
    u->chunk_size = CHUNK_SIZE;
    node_uri_name(u, base, strlen(base));
    u->swarm_id[0] = (uint8_t)cv_dnssec_alg(l->secret);
    u->swarm_id_len = 1 + cv_dnssec_public_of(l->secret, u->swarm_id + 1);
    uint8_t id[8];
    CV_BLAKE2B(id, sizeof id, NULL, 0, {u->swarm_id, u->swarm_id_len});
    snprintf(l->state_name, sizeof l->state_name, "live-");
    cv_hex(id, sizeof id, l->state_name + strlen(l->state_name));
    return CLI_OK;
}

static bool open_swarm(struct live *l) {
    struct io_why why = {.text = ""};
    uint64_t octets = l->t.s->window ? l->t.s->window : WINDOW_DEFAULT, next;
    uint64_t window = octets / CHUNK_SIZE;
    int status = describe(l, &why);
    if (!status)
        status = cli_authority_open(&l->authority, l->t.s, &why);
    if (!status)
        status = cli_authority_join(&l->authority, &l->uri, &why);
    if (status) {
        cli_task_fail(&l->t, status, "%s", why.text);
        return false;
    }
    if (!next_number(l, &next))
        return false;
    if (window < PPSP_LIVE_WINDOW_MIN) {
        cli_task_fail(&l->t, CLI_USAGE, "window: is smaller than 1M");
        return false;
    }
    if (io_ring_open(l->t.c->state, CHUNK_SIZE, cv_sha_len((enum cv_sha)l->uri.hash), window,
                     &l->ring, &why)) {
        cli_task_fail(&l->t, CLI_FILE, "%s", why.text);
        return false;
    }
    struct node_swarm_config sw = {.uri = l->uri,
                                   .store = &io_ring_ops,
                                   .store_ctx = l->ring,
                                   .mode = mode_of(l),
                                   .complete = true,
                                   .upload_limit = l->t.s->upload_limit,
                                   .constant_rate = (uint8_t)l->t.s->constant_rate,
                                   .live = {.window = window,
                                            .latency = NODE_LIVE_LATENCY,
                                            .sign = sign,
                                            .sign_ctx = l,
                                            .munro_chunks = 32,
                                            .next_chunk = next}};
    cli_authority_give(&l->authority, &sw);
    l->reserved = next;
    enum cv_err err =
        node_swarm_open(io_host_node(l->t.c->host), io_host_now(l->t.c->host), &sw, &l->t.swarm);
    if (err) {
        status = cli_swarm_refused(l->uri.name, mode_of(l), err, &why);
        cli_task_fail(&l->t, status, "%s", why.text);
        return false;
    }
    l->pointing = cli_recordings_of_channel(l->t.c, &l->uri, l->t.swarm) > 0;
    return reserve(l, next + RESERVE);
}

static void begin(struct cli_task *t) {
    struct live *l = (struct live *)t;
    l->in = l->record = -1;
    if (!open_input(l) || !load_key(l) || !open_swarm(l) || (t->s->feed && !open_feed(l)))
        return;
    l->timer = io_timer_new(t->c->loop, on_timer, l);
    if (!l->grows)
        l->watch = io_watch_new(t->c->loop, l->in, on_readable, l);
    if (!l->timer || (!l->grows && !l->watch)) {
        cli_task_fail(t, CLI_FILE, "%.300s: cannot be waited for; name a pipe or a file",
                      t->s->argument);
        return;
    }
    if (t->s->direct)
        say_live(l);
    pump(l);
}

static void close_live(struct cli_task *t) {
    struct live *l = (struct live *)t;
    io_watch_free(l->watch);
    io_timer_free(l->timer);
    if (l->feeds)
        gw_api_feed_end(t->c->api);
    if (t->swarm) {
        if (!l->ended && l->reserved)
            (void)reserve(l, node_inject_next(io_host_node(t->c->host), t->swarm));
        node_swarm_close(io_host_node(t->c->host), io_host_now(t->c->host), t->swarm);
        io_host_flush(t->c->host);
    }
    cli_offer_close(&l->recorded);
    io_ring_close(l->ring);
    cli_authority_close(&l->authority);
    cv_dnssec_secret_free(l->secret);
    if (l->in >= 0)
        close(l->in);
    if (l->record >= 0)
        close(l->record);
}

const struct cli_task_ops cli_live_ops = {.size = sizeof(struct live),
                                          .begin = begin,
                                          .on_event = on_event,
                                          .on_tick = on_tick,
                                          .close = close_live};
