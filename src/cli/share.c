/* share: hash a file, open its swarm, print its link. */
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "cli/exitcode.h"
#include "cli/session.h"
#include "cli/verbs.h"
#include "crypto/rng_system.h"
#include "io/store_file.h"
#include "ppsp/ppsp.h"

enum { CHUNK_SIZE = 1024 }; /* the RFC's, and what a cell carries */

struct share {
    struct cli_session c;
    const struct cli_settings *s;
    struct node_uri uri;
    struct io_store *store;
    cv_handle swarm;
    bool said;
};

static void say_shared(struct share *g) {
    char text[NODE_URI_MAX], sentence[NODE_URI_MAX + CV_ADDR_TEXT + 64], address[CV_ADDR_TEXT];
    if (g->said || node_uri_write(&g->uri, text, sizeof text) < 0)
        return;
    g->said = true;
    json_t *o = json_pack("{s:s}", "uri", text);
    if (g->s->direct) {
        struct cv_addr at = io_host_bound(g->c.host, NODE_SOCKET_DIRECT);
        json_object_set_new(o, "address", json_string(cv_addr_text(&at, address)));
        snprintf(sentence, sizeof sentence, "Shared DIRECTLY at %s, hides nothing:\n%s", address,
                 text);
    } else {
        snprintf(sentence, sizeof sentence, "Shared, hidden:\n%s", text);
    }
    cli_progress_event(&g->c.progress, "shared", sentence, o);
}

static void on_event(void *ctx, const struct node_event *ev) {
    struct share *g = ctx;
    if (ev->kind == NODE_EVENT_SHARED)
        say_shared(g);
    else if (ev->kind == NODE_EVENT_PEER_UP)
        cli_progress_event(&g->c.progress, "peer_up", "A viewer came", NULL);
    else if (ev->kind == NODE_EVENT_PEER_DOWN)
        cli_progress_event(&g->c.progress, "peer_down", "A viewer left", NULL);
    else if (ev->kind == NODE_EVENT_STORE_ERROR && ev->u.err != CV_ERR_AGAIN)
        cli_session_fail(&g->c, CLI_FILE, "%s: %s", g->s->argument, cv_strerror(ev->u.err));
}

static void on_tick(void *ctx) {
    struct share *g = ctx;
    if (g->said)
        cli_progress_swarm(&g->c.progress, io_host_node(g->c.host), g->swarm);
}

static void describe(struct share *g) {
    const char *base = strrchr(g->s->argument, '/');
    base = base ? base + 1 : g->s->argument;
    struct node_uri *u = &g->uri;
    u->kind = NODE_URI_VOD;
    memcpy(u->network_id, g->c.network_id, sizeof u->network_id);
    u->integrity = PPSP_INTEGRITY_MERKLE;
    u->hash = CV_SHA256;
    u->addressing = PPSP_ADDRESSING_CHUNK32;
    u->chunk_size = CHUNK_SIZE;
    snprintf(u->name, sizeof u->name, "%s", base);
    u->length = io_store_stats(g->store).octets;
    u->swarm_id_len = cv_sha_len(CV_SHA256);
    for (size_t i = 0; i < g->s->bootstrap_count && i < NODE_URI_CONTACTS_MAX; i++)
        u->contacts[u->contacts_count++] = g->s->bootstrap[i];
}

/* A secret link stays the same when the file is shared again. */
static enum cv_err add_secret(struct share *g, struct io_why *why) {
    char name[64] = "secret-";
    if (!g->s->secret)
        return CV_ERR_OK;
    cv_hex(g->uri.swarm_id, 8, name + strlen(name));
    g->uri.has_secret = true;
    return io_state_key(g->c.state, name, cv_rng_system(), g->uri.secret, sizeof g->uri.secret,
                        why);
}

static int open_swarm(struct share *g) {
    struct io_why why = {.text = ""};
    struct io_share_config cfg = {
        .path = g->s->argument, .chunk_size = CHUNK_SIZE, .alg = CV_SHA256};
    enum cv_err err = io_store_share(g->c.state, &cfg, &g->store, g->uri.swarm_id, &why);
    if (!err) {
        describe(g);
        err = add_secret(g, &why);
    }
    if (err) {
        fprintf(stderr, "culvert: %s\n", why.text);
        return CLI_FILE;
    }
    struct node_swarm_config sw = {.uri = g->uri,
                                   .store = &io_store_ops,
                                   .store_ctx = g->store,
                                   .direct = g->s->direct,
                                   .complete = true,
                                   .upload_limit = g->s->upload_limit};
    err = node_swarm_open(io_host_node(g->c.host), io_host_now(g->c.host), &sw, &g->swarm);
    io_host_kick(g->c.host);
    if (err) {
        fprintf(stderr, "culvert: %s: cannot be shared: %s\n", g->s->argument, cv_strerror(err));
        return CLI_FAILED;
    }
    return CLI_OK;
}

int cli_share(const struct cli_settings *s) {
    static struct share g;
    g = (struct share){.s = s};
    if (s->direct)
        fprintf(stderr, "culvert: --direct hides nothing: your address is shown to every peer\n");
    int status =
        cli_session_open(&g.c, s, &(struct cli_session_kind){.direct = s->direct, .player = true});
    if (status == CLI_OK)
        status = open_swarm(&g);
    if (status == CLI_OK) {
        g.c.on_event = on_event;
        g.c.on_tick = on_tick;
        g.c.ctx = &g;
        if (s->direct)
            say_shared(&g);
        status = cli_session_run(&g.c);
    }
    if (g.swarm) {
        node_swarm_close(io_host_node(g.c.host), io_host_now(g.c.host), g.swarm);
        io_host_flush(g.c.host);
    }
    cli_session_close(&g.c);
    io_store_close(g.store);
    return status;
}
