/* get and play, inside a node: find the swarm, fetch, give the player link. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "cli/authority.h"
#include "cli/exitcode.h"
#include "cli/human.h"
#include "cli/kind.h"
#include "cli/session.h"
#include "cli/task.h"
#include "cli/unpack.h"
#include "cli/verbs.h"
#include "gateway/folder.h"
#include "io/contents.h"
#include "io/mp4.h"
#include "io/store_file.h"
#include "ppsp/ppsp.h"

enum { ROOM_TO_GO_ON = 16 << 20, FIRST_OF_INDEX = 64 << 10, FIRST_OF_FILM = 4096 };
enum { HEAD = 256 << 10, TAIL = 128 << 10 }; /* octets */

struct fetch {
    struct cli_task t;
    struct node_uri uri;
    struct cli_authority authority;
    struct io_store *store;
    struct io_wake *flushed; /* the store has written: what it refused goes on */
    bool first_seen, full;
    /* Of a folder: its index, once that is verified; a wish for it until then. */
    struct io_folder *folder;
    uint64_t want, wanted;     /* octets; 0: none */
    struct cli_unpack *unpack; /* get: its files get their names */
    uint64_t ends[2];          /* play: wishes for head and tail, while .. */
    bool ending[2];
    double seconds; /* of the film; 0: it does not say, negative: not known yet */
    bool forget;    /* what is in the store is of no use any more */
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

static void say_link(struct fetch *g) {
    char link[GW_LINK_MAX], sentence[GW_LINK_MAX + 48];
    if (!g->folder) {
        cli_progress_link(&g->t.progress, g->t.c->gateway, &g->uri);
        return;
    }
    gateway_link(g->t.c->gateway, &g->uri, link);
    snprintf(sentence, sizeof sentence, "Player link of %zu files: %s", g->folder->count, link);
    say(g, "link", sentence,
        json_pack("{s:s, s:I}", "url", link, "files", (json_int_t)g->folder->count));
}

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

/* --output, or its own name in the folder that the command was given in. */
static const char *output_path(const struct fetch *g, char out[CLI_PATH_MAX]) {
    char name[NODE_URI_NAME_MAX + 1];
    if (g->t.s->output)
        return g->t.s->output;
    file_name(&g->uri, name, sizeof name);
    if (g->t.s->folder)
        snprintf(out, CLI_PATH_MAX, "%s/%s", g->t.s->folder, name);
    else
        snprintf(out, CLI_PATH_MAX, "%s", name);
    return out;
}

/* What nobody checked is never taken for what was: another name. */
static void store_id(const struct fetch *g, uint8_t id[IO_STORE_ID]) {
    CV_BLAKE2B(id, IO_STORE_ID, NULL, 0, {g->uri.swarm_id, g->uri.swarm_id_len},
               {"unprotected", unchecked(g) ? 11 : 0});
}

static void end_complete(struct fetch *g) {
    say(g, "complete", unchecked(g) ? "Complete, NOTHING WAS CHECKED" : "Complete and verified",
        NULL);
    if (g->t.s->verb != CLI_PLAY)
        cli_task_end(&g->t, CLI_OK);
}

static void say_full(struct fetch *g, const char *why) {
    if (!g->full)
        cli_progress_full(&g->t.progress, why, "fetching");
    g->full = true;
}

/* Its files have their names, or could not get them. */
static void on_unpacked(void *ctx, enum cv_err err, const char *why) {
    struct fetch *g = ctx;
    g->forget = err == CV_ERR_OK;
    if (g->forget)
        end_complete(g);
    else if (err == CV_ERR_FULL)
        say_full(g, why); /* it is tried again when there is room */
    else
        cli_task_fail(&g->t, CLI_FILE, "%s", why);
}

static void on_complete(struct fetch *g) {
    if (!g->uri.folder || g->t.s->verb == CLI_PLAY) {
        end_complete(g);
        return;
    }
    if (g->unpack || !g->folder)
        return;
    char path[CLI_PATH_MAX];
    g->unpack = cli_unpack_new(&(struct cli_unpack_config){.loop = g->t.c->loop,
                                                           .store = g->store,
                                                           .folder = g->folder,
                                                           .path = output_path(g, path),
                                                           .done = on_unpacked,
                                                           .ctx = g});
    if (!g->unpack)
        cli_task_fail(&g->t, CLI_FAILED, "out of memory");
}

/* ---- the index of a folder ---- */

static bool is_complete(struct fetch *g) {
    struct node_swarm_status st;
    for (size_t i = 0; node_swarm_status(node_of(g), i, &st); i++)
        if (st.swarm == g->t.swarm)
            return st.length && st.have == st.length;
    return false;
}

static void drop_want(struct fetch *g) {
    if (g->wanted)
        node_unwant(node_of(g), io_host_now(g->t.c->host), g->t.swarm, g->want);
    g->wanted = 0;
}

/* The index before everything else: nothing can be played without it. */
static void want_index(struct fetch *g) {
    uint8_t head[IO_FOLDER_HEAD];
    uint64_t octets = FIRST_OF_INDEX, id;
    if (node_read(node_of(g), g->t.swarm, 0, head, sizeof head) == sizeof head)
        octets = io_folder_index_octets(head);
    octets = octets < g->uri.length ? octets : g->uri.length;
    if (octets <= g->wanted || node_want(node_of(g), io_host_now(g->t.c->host), g->t.swarm, 0,
                                         octets - 1, 0, &id) != CV_ERR_OK)
        return;
    drop_want(g);
    g->want = id;
    g->wanted = octets;
    io_host_kick(g->t.c->host);
}

/* Tried whenever chunks came, until it is there. */
static void look_for_index(struct fetch *g) {
    struct io_why why = {.text = ""};
    enum cv_err err = gw_folder_load(node_of(g), g->t.swarm, &g->folder, &why);
    if (err == CV_ERR_AGAIN) {
        want_index(g);
        return;
    }
    drop_want(g);
    if (err) {
        const char *text = *why.text ? why.text : io_store_why(g->store);
        g->forget = err == CV_ERR_MALFORMED;
        cli_task_fail(&g->t, CLI_FILE, "%s", *text ? text : cv_strerror(err));
        return;
    }
    say_link(g);
    if (is_complete(g))
        on_complete(g);
}

static void on_store_error(struct fetch *g, enum cv_err err) {
    const char *why = *io_store_why(g->store) ? io_store_why(g->store) : cv_strerror(err);
    if (err == CV_ERR_AGAIN)
        return;
    if (err == CV_ERR_FULL) {
        say_full(g, why);
        return;
    }
    cli_task_fail(&g->t, CLI_FILE, "%s", why);
}

/* ---- both ends first ---- */

/* Where players look before they show anything: a container's head, and an index at its
 * end. A browser asks for them one after the other, a round trip each. */
static void want_ends(struct fetch *g) {
    uint64_t length = g->uri.length, first[2] = {0, length > TAIL ? length - TAIL : 0};
    uint64_t last[2] = {(length < HEAD ? length : HEAD) - 1, length - 1};
    if (g->t.s->verb != CLI_PLAY || g->uri.folder || !length)
        return;
    for (size_t i = 0; i < 2; i++)
        g->ending[i] = node_want(node_of(g), io_host_now(g->t.c->host), g->t.swarm, first[i],
                                 last[i], 0, &g->ends[i]) == CV_ERR_OK;
    io_host_kick(g->t.c->host);
}

static void drop_ends(struct fetch *g) {
    uint64_t length = g->uri.length, first[2] = {0, length > TAIL ? length - TAIL : 0};
    uint64_t octets[2] = {length < HEAD ? length : HEAD, length - first[1]};
    for (size_t i = 0; i < 2; i++) {
        if (!g->ending[i] || node_available(node_of(g), g->t.swarm, first[i]) < octets[i])
            continue;
        node_unwant(node_of(g), io_host_now(g->t.c->host), g->t.swarm, g->ends[i]);
        g->ending[i] = false;
    }
}

/* ---- what happens ---- */

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
        if (g->t.c->client_ready) /* else nobody was asked yet */
            say(g, "nobody", "Nobody shares this right now; still looking", NULL);
        break;
    case NODE_EVENT_NO_EXIT:
        if (t->c->client_ready)
            cli_progress_no_exit(&t->progress);
        break;
    case NODE_EVENT_CHUNKS_READY:
        if (!g->first_seen)
            say(g, "first_chunk", unchecked(g) ? "First chunk came" : "First chunk verified", NULL);
        g->first_seen = true;
        g->full = false;
        drop_ends(g);
        if (g->uri.folder && !g->folder)
            look_for_index(g);
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

/* Of an MP4 that says in its head how long it is. */
static double length_in_seconds(struct fetch *g) {
    uint8_t head[FIRST_OF_FILM];
    uint64_t want = g->uri.length < sizeof head ? g->uri.length : sizeof head;
    if (node_available(node_of(g), g->t.swarm, 0) < want)
        return -1;
    ssize_t len = node_read(node_of(g), g->t.swarm, 0, head, sizeof head);
    return len > 0 ? io_mp4_seconds(head, (size_t)len) : 0;
}

/* What is there beyond what the player took, at the film's mean rate; negative: nobody
 * plays, or who knows how long it is. */
static double seconds_ahead(struct fetch *g) {
    uint64_t at = 0;
    if (g->uri.folder || !g->uri.length || !g->t.swarm)
        return -1;
    if (g->seconds < 0)
        g->seconds = length_in_seconds(g);
    if (g->seconds <= 0 || !gateway_reads(g->t.c->gateway, g->t.swarm, &at))
        return -1;
    return (double)node_available(node_of(g), g->t.swarm, at) / (double)g->uri.length * g->seconds;
}

static void on_tick(struct cli_task *t) {
    struct fetch *g = (struct fetch *)t;
    cli_progress_swarm(&t->progress, node_of(g), t->swarm, seconds_ahead(g));
    if (!g->full || !io_store_room(g->store, ROOM_TO_GO_ON))
        return;
    ready(g);
    if (g->unpack && cli_unpack_again(g->unpack))
        g->full = false;
}

static void on_flushed(void *ctx) {
    ready(ctx);
}

static void wake(void *ctx) { /* in the store's thread */
    io_wake_up(ctx);
}

/* ---- beginning ---- */

/* What an earlier run left. */
static void say_opened(struct fetch *g) {
    char sentence[96];
    struct io_store_stats st = io_store_stats(g->store);
    uint64_t have = st.verified * g->uri.chunk_size;
    have = g->uri.length && have > g->uri.length ? g->uri.length : have;
    char part[CLI_HUMAN_MAX], all[CLI_HUMAN_MAX];
    snprintf(sentence, sizeof sentence, "%s of %s are here already", cli_human((double)have, part),
             cli_human((double)g->uri.length, all));
    say(g, "opened", have ? sentence : NULL,
        json_pack("{s:I, s:I}", "have", (json_int_t)have, "length", (json_int_t)g->uri.length));
}

/* For ls: what it is called. A bare hash has no link. */
static void describe(struct fetch *g) {
    char link[NODE_URI_MAX], path[CLI_PATH_MAX];
    bool elsewhere = g->t.s->verb != CLI_PLAY || g->t.s->output;
    if (node_uri_write(&g->uri, link, sizeof link) < 0)
        link[0] = 0;
    io_store_describe(g->store, link, elsewhere ? output_path(g, path) : NULL);
}

/* Where the content is kept while it is fetched. A folder that was asked for is kept
 * by us until its files have their names. */
static bool open_store(struct fetch *g) {
    char path[CLI_PATH_MAX];
    struct stat st;
    struct io_why why = {.text = ""};
    bool get = g->t.s->verb != CLI_PLAY, kept = get || g->t.s->output;
    struct io_store_config cfg = {.chunk_size = g->uri.chunk_size,
                                  .alg = (enum cv_sha)g->uri.hash,
                                  .data_path = kept && !g->uri.folder ? output_path(g, path) : NULL,
                                  .pinned = get && g->uri.folder};
    if (cfg.pinned && lstat(output_path(g, path), &st) == 0 && !S_ISDIR(st.st_mode)) {
        cli_task_fail(&g->t, CLI_FILE,
                      "%s: exists already and is no folder; choose another name "
                      "or move it away",
                      output_path(g, path));
        return false;
    }
    store_id(g, cfg.id);
    enum cv_err err = io_store_open(g->t.c->state, &cfg, &g->store, &why);
    if (err) {
        cli_task_fail(&g->t, CLI_FILE, "%s", why.text);
        return false;
    }
    describe(g);
    say_opened(g);
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
                                   .mode = cli_kind_mode(s, &g->uri),
                                   .fetch_all = true,
                                   .no_share = s->no_share,
                                   .unprotected = cli_kind_unprotected(s),
                                   .upload_limit = s->upload_limit,
                                   .download_limit = s->download_limit,
                                   .constant_rate = (uint8_t)s->constant_rate};
    cli_authority_give(&g->authority, &sw);
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
    if (s->constant_rate && cli_kind_mode(s, ret) == NODE_SWARM_EXIT) {
        io_why_set(why, "a constant rate is kept between hidden swarms' circuits, and this is "
                        "fetched through a swarm exit: leave out --constant-rate");
        return CLI_USAGE;
    }
    if (ret->kind == NODE_URI_LIVE && s->at) {
        io_why_set(why, "a relay shares files only under its own name: leave out --at");
        return CLI_USAGE;
    }
    if (s->recorded && ret->kind != NODE_URI_LIVE) {
        io_why_set(why, "only a channel has recordings: leave out --recorded");
        return CLI_USAGE;
    }
    if (s->recorded && s->output && strcmp(s->output, "-") == 0) {
        io_why_set(why, "a recording is kept as a file: name one with -o, or play it");
        return CLI_USAGE;
    }
    if (ret->folder && ret->kind != NODE_URI_VOD) {
        io_why_set(why, "bad link: a live stream is no folder");
        return CLI_USAGE;
    }
    if (ret->folder && s->verb == CLI_PLAY && s->output) {
        io_why_set(why, "play keeps a folder in the cache; fetch it with get -o FOLDER");
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
    g->seconds = -1;
    int status = cli_link_check(t->s, t->c->network_id, &g->uri, &why);
    if (!status && memcmp(t->c->network_id, g->uri.network_id, sizeof t->c->network_id) != 0) {
        io_why_set(&why, "the link belongs to another network than '%.60s'; name it with --network",
                   t->c->s->network);
        status = CLI_USAGE;
    }
    if (!status)
        status = cli_authority_open(&g->authority, t->s, &why);
    if (!status)
        status = cli_authority_join(&g->authority, &g->uri, &why);
    if (status) {
        cli_task_fail(t, status, "%s", why.text);
        return;
    }
    if (!open_store(g) || !open_swarm(g))
        return;
    want_ends(g);
    if (g->uri.folder) {
        look_for_index(g);
        return;
    }
    if (!is_bare(t->s))
        say_link(g);
    if (is_complete(g))
        on_complete(g);
}

/* The files are where they were wanted, or there are none: what they come from goes. */
static void forget_content(struct fetch *g) {
    uint8_t id[IO_STORE_ID];
    struct io_why why = {.text = ""};
    store_id(g, id);
    if (io_store_remove(g->t.c->state, id, &why) != CV_ERR_OK)
        fprintf(stderr, "culvert: %s\n", why.text);
}

static void close_fetch(struct cli_task *t) {
    struct fetch *g = (struct fetch *)t;
    cli_unpack_free(g->unpack);
    if (t->swarm) {
        drop_want(g);
        node_swarm_close(node_of(g), io_host_now(t->c->host), t->swarm);
        io_host_flush(t->c->host);
    }
    cli_authority_close(&g->authority);
    io_store_close(g->store); /* its last flush still wakes the loop */
    if (g->forget)
        forget_content(g);
    io_folder_free(g->folder);
    io_wake_free(g->flushed);
    cli_cache_trim(t->c);
}

const struct cli_task_ops cli_fetch_ops = {.size = sizeof(struct fetch),
                                           .begin = begin,
                                           .on_event = on_event,
                                           .on_tick = on_tick,
                                           .close = close_fetch};
