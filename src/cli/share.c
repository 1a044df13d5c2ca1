/* share: hash a file, open its swarm, print its link. */
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "cli/exitcode.h"
#include "cli/kind.h"
#include "cli/offer.h"
#include "cli/verbs.h"

struct share {
    struct cli_session c;
    const struct cli_settings *s;
    struct cli_offer offer;
    bool said;
};

static void say_shared(struct share *g) {
    char text[NODE_URI_MAX], sentence[2 * NODE_URI_MAX], address[CV_ADDR_TEXT];
    if (g->said || node_uri_write(&g->offer.uri, text, sizeof text) < 0)
        return;
    g->said = true;
    json_t *o = json_pack("{s:s}", "uri", text);
    if (g->s->direct) {
        char root[2 * NODE_URI_SWARM_ID_MAX + 1];
        cv_hex(g->offer.uri.swarm_id, g->offer.uri.swarm_id_len, root);
        json_object_set_new(o, "root_hash", json_string(root));
        struct cv_addr at = io_host_bound(g->c.host, NODE_SOCKET_DIRECT);
        json_object_set_new(o, "address", json_string(cv_addr_text(&at, address)));
        snprintf(sentence, sizeof sentence,
                 "Shared DIRECTLY at %s, hides nothing:\n%s\nRoot hash: %s", address, text, root);
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
        cli_progress_swarm(&g->c.progress, io_host_node(g->c.host), g->offer.swarm);
}

int cli_share(const struct cli_settings *s) {
    static struct share g;
    g = (struct share){.s = s};
    if (s->direct)
        fprintf(stderr, "culvert: --direct hides nothing: your address is shown to every peer\n");
    int status = cli_kind_read(s, &g.offer.uri);
    if (status)
        return status;
    status = cli_session_open(&g.c, s,
                              &(struct cli_session_kind){.direct = s->direct,
                                                         .player = true,
                                                         .chunk_size = g.offer.uri.chunk_size});
    if (status == CLI_OK)
        status = cli_offer_open(&g.offer, &g.c, s->argument,
                                s->direct ? NODE_SWARM_DIRECT : NODE_SWARM_HIDDEN);
    if (status == CLI_OK) {
        g.c.on_event = on_event;
        g.c.on_tick = on_tick;
        g.c.ctx = &g;
        if (s->direct)
            say_shared(&g);
        status = cli_session_run(&g.c);
    }
    cli_offer_withdraw(&g.offer, &g.c);
    cli_session_close(&g.c);
    cli_offer_close(&g.offer);
    return status;
}
