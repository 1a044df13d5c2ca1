/* get and play: find the swarm, fetch, and for play open it in a player. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/exitcode.h"
#include "cli/kind.h"
#include "cli/session.h"
#include "cli/verbs.h"
#include "io/store_file.h"

enum { ROOM_TO_GO_ON = 16 << 20 };
enum { NO_PLAYER = 127 }; /* as a shell says it */

struct get {
    struct cli_session c;
    const struct cli_settings *s;
    struct node_uri uri;
    struct io_store *store;
    struct io_wake *flushed; /* the store has written: what it refused goes on */
    cv_handle swarm;
    uint8_t at[CV_KEY]; /* of --at */
    bool play, first_seen, full;
    bool bare; /* named by its root hash: the length is not known */
    pid_t player;
};

static void say_peer(struct get *g, const struct node_event *ev) {
    struct node_peer_status p;
    char sentence[160];
    for (size_t i = 0; node_peer_status(io_host_node(g->c.host), g->swarm, i, &p); i++) {
        if (!cv_endpoint_equal(&p.endpoint, &ev->u.peer.endpoint))
            continue;
        snprintf(sentence, sizeof sentence,
                 !p.hidden  ? "Connected DIRECTLY: %u hops"
                 : g->s->at ? "Path ready: %u hops, the last one shares it"
                            : "Path ready: %u hops to the meeting point",
                 (unsigned)p.hops);
        json_t *hops = json_array();
        for (size_t j = 0; j < p.hops; j++)
            json_array_append_new(hops, json_string(p.path[j]));
        cli_progress_event(&g->c.progress, "peer_up", sentence,
                           json_pack("{s:i, s:o}", "hops", (int)p.hops, "path", hops));
    }
}

static void on_complete(struct get *g) {
    cli_progress_event(&g->c.progress, "complete", "Complete and verified", NULL);
    if (!g->play)
        cli_session_end(&g->c, CLI_OK);
}

static void on_store_error(struct get *g, enum cv_err err) {
    if (err == CV_ERR_AGAIN)
        return;
    if (err == CV_ERR_FULL) {
        if (!g->full)
            cli_progress_event(&g->c.progress, "disk_full",
                               "The disk is full: fetching pauses until there is room", NULL);
        g->full = true;
        return;
    }
    const char *why = io_store_why(g->store);
    cli_session_fail(&g->c, CLI_FILE, "%s", *why ? why : cv_strerror(err));
}

static void on_event(void *ctx, const struct node_event *ev) {
    struct get *g = ctx;
    switch ((int)ev->kind) {
    case NODE_EVENT_PEER_UP:
        say_peer(g, ev);
        break;
    case NODE_EVENT_PEER_DOWN:
        cli_progress_event(&g->c.progress, "peer_down", "A peer left", NULL);
        break;
    case NODE_EVENT_CHUNKS_READY:
        if (!g->first_seen)
            cli_progress_event(&g->c.progress, "first_chunk", "First chunk verified", NULL);
        g->first_seen = true;
        g->full = false;
        break;
    case NODE_EVENT_COMPLETE:
        on_complete(g);
        break;
    case NODE_EVENT_LENGTH_DIFFERS:
        cli_session_fail(&g->c, CLI_USAGE,
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

static void on_tick(void *ctx) {
    struct get *g = ctx;
    int status;
    cli_progress_swarm(&g->c.progress, io_host_node(g->c.host), g->swarm);
    if (g->full && io_store_room(g->store, ROOM_TO_GO_ON)) {
        node_swarm_ready(io_host_node(g->c.host), io_host_now(g->c.host), g->swarm);
        io_host_kick(g->c.host);
    }
    if (g->player > 0 && waitpid(g->player, &status, WNOHANG) == g->player) {
        g->player = 0;
        /* The film is over, or the window was closed; but without a player the
         * link is there to be opened by hand. */
        if (!(WIFEXITED(status) && WEXITSTATUS(status) == NO_PLAYER))
            cli_session_end(&g->c, CLI_OK);
    }
}

/* ---- the player ---- */

static void start_player(struct get *g, const char *link) {
    static const char *const known[] = {"mpv", "vlc", "ffplay"};
    pid_t pid = fork();
    if (pid != 0) {
        g->player = pid;
        return;
    }
    /* The link is an argument, never part of a shell's command line. */
    if (g->s->player) {
        execlp(g->s->player, g->s->player, link, (char *)NULL);
    } else {
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            execlp(known[i], known[i], link, (char *)NULL);
    }
    fprintf(stderr, "culvert: no player found; open the link in one, or name one with --player\n");
    _exit(NO_PLAYER);
}

static void say_link(struct get *g) {
    char link[GW_LINK_MAX], sentence[GW_LINK_MAX + 32];
    gateway_link(g->c.gateway, &g->uri, link);
    snprintf(sentence, sizeof sentence, "Player link: %s", link);
    cli_progress_event(&g->c.progress, "link", sentence, json_pack("{s:s}", "url", link));
    if (g->play && !g->s->no_player)
        start_player(g, link);
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

static void on_flushed(void *ctx) {
    struct get *g = ctx;
    node_swarm_ready(io_host_node(g->c.host), io_host_now(g->c.host), g->swarm);
    io_host_kick(g->c.host);
}

static void wake(void *ctx) { /* in the store's thread */
    io_wake_up(ctx);
}

static int open_swarm(struct get *g) {
    char name[NODE_URI_NAME_MAX + 1];
    struct io_why why = {.text = ""};
    file_name(&g->uri, name, sizeof name);
    struct io_store_config cfg = {.chunk_size = g->uri.chunk_size,
                                  .alg = (enum cv_sha)g->uri.hash,
                                  .data_path = g->s->output ? g->s->output
                                               : g->play    ? NULL
                                                            : name};
    CV_BLAKE2B(cfg.id, sizeof cfg.id, NULL, 0, {g->uri.swarm_id, g->uri.swarm_id_len});
    enum cv_err err = io_store_open(g->c.state, &cfg, &g->store, &why);
    if (err) {
        fprintf(stderr, "culvert: %s\n", why.text);
        return CLI_FILE;
    }
    g->flushed = io_wake_new(g->c.loop, on_flushed, g);
    if (g->flushed)
        io_store_notify(g->store, wake, g->flushed);
    struct node_swarm_config sw = {.uri = g->uri,
                                   .store = &io_store_ops,
                                   .store_ctx = g->store,
                                   .mode = g->s->direct ? NODE_SWARM_DIRECT
                                           : g->s->at   ? NODE_SWARM_OPEN
                                                        : NODE_SWARM_HIDDEN,
                                   .fetch_all = true,
                                   .upload_limit = g->s->upload_limit};
    memcpy(sw.at, g->at, sizeof sw.at);
    err = node_swarm_open(io_host_node(g->c.host), io_host_now(g->c.host), &sw, &g->swarm);
    for (size_t i = 0; !err && i < g->s->peers_count; i++)
        err = node_swarm_peer(io_host_node(g->c.host), io_host_now(g->c.host), g->swarm,
                              &g->s->peers[i]);
    io_host_kick(g->c.host);
    if (err) {
        fprintf(stderr, "culvert: %s: cannot be opened: %s\n", name, cv_strerror(err));
        return CLI_FAILED;
    }
    return CLI_OK;
}

static int check_link(struct get *g) {
    const char *why;
    uint8_t network[8];
    node_network_id(g->s->network, network);
    g->bare = !g->play && cli_kind_is_hash(g->s->argument);
    if (g->bare) {
        int status = cli_kind_of_hash(g->s, network, &g->uri);
        if (status)
            return status;
    } else if (node_uri_read(g->s->argument, &g->uri, &why)) {
        fprintf(stderr, "culvert: bad link: %s\n", why);
        return CLI_USAGE;
    }
    if (memcmp(network, g->uri.network_id, sizeof network) != 0) {
        fprintf(stderr,
                "culvert: the link belongs to another network than '%s'; name it with "
                "--network\n",
                g->s->network);
        return CLI_USAGE;
    }
    if (g->s->direct && !g->s->peers_count) {
        fprintf(stderr, "culvert: a direct swarm needs somebody to ask: --peer IP:PORT\n");
        return CLI_USAGE;
    }
    if (g->s->direct && g->s->at) {
        fprintf(stderr, "culvert: --direct and --at exclude each other\n");
        return CLI_USAGE;
    }
    if (g->s->at && cv_unhex(g->s->at, g->at, sizeof g->at)) {
        fprintf(stderr, "culvert: at '%s': is not a relay's identity (64 hexadecimal digits)\n",
                g->s->at);
        return CLI_USAGE;
    }
    if (cv_sha_len((enum cv_sha)g->uri.hash) != g->uri.swarm_id_len ||
        (!g->uri.length && !g->bare)) {
        fprintf(stderr, "culvert: the link names a kind of swarm this version does not know\n");
        return CLI_USAGE;
    }
    return CLI_OK;
}

int cli_get(const struct cli_settings *s, bool play) {
    static struct get g;
    g = (struct get){.s = s, .play = play};
    int status = check_link(&g);
    if (status)
        return status;
    struct cli_settings with = *s;
    for (size_t i = 0; i < g.uri.contacts_count && with.bootstrap_count < CLI_BOOTSTRAP_MAX; i++)
        with.bootstrap[with.bootstrap_count++] = g.uri.contacts[i];
    if (s->direct)
        fprintf(stderr, "culvert: --direct hides nothing: your address is shown to every peer\n");
    status =
        cli_session_open(&g.c, &with,
                         &(struct cli_session_kind){
                             .direct = s->direct, .player = true, .chunk_size = g.uri.chunk_size});
    if (status == CLI_OK)
        status = open_swarm(&g);
    if (status == CLI_OK) {
        g.c.on_event = on_event;
        g.c.on_tick = on_tick;
        g.c.ctx = &g;
        if (!g.bare)
            say_link(&g);
        struct node_swarm_status st;
        if (node_swarm_status(io_host_node(g.c.host), 0, &st) && st.length && st.have == st.length)
            on_complete(&g);
        status = cli_session_run(&g.c);
    }
    if (g.swarm) {
        node_swarm_close(io_host_node(g.c.host), io_host_now(g.c.host), g.swarm);
        io_host_flush(g.c.host);
    }
    io_store_close(g.store); /* its last flush still wakes the loop */
    io_wake_free(g.flushed);
    cli_session_close(&g.c);
    return status;
}
