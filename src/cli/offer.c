#include "cli/offer.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/exitcode.h"
#include "cli/kind.h"
#include "crypto/rng_system.h"
#include "io/store_file.h"

static void describe(struct cli_offer *o, const struct cli_session *c, const char *path) {
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    struct node_uri *u = &o->uri;
    u->kind = NODE_URI_VOD;
    memcpy(u->network_id, c->network_id, sizeof u->network_id);
    node_uri_name(u, base, strlen(base));
    u->length = io_store_stats(o->store).octets;
    for (size_t i = 0; i < c->s->bootstrap_count && i < NODE_URI_CONTACTS_MAX; i++)
        u->contacts[u->contacts_count++] = c->s->bootstrap[i];
}

/* A secret link stays the same when the file is shared again. */
static enum cv_err add_secret(struct cli_offer *o, struct cli_session *c, struct io_why *why) {
    char name[64] = "secret-";
    if (!c->s->secret)
        return CV_ERR_OK;
    cv_hex(o->uri.swarm_id, 8, name + strlen(name));
    o->uri.has_secret = true;
    return io_state_key(c->state, name, cv_rng_system(), o->uri.secret, sizeof o->uri.secret, why);
}

int cli_offer_open(struct cli_offer *o, struct cli_session *c, const char *path,
                   enum node_swarm_mode mode) {
    struct io_why why = {.text = ""};
    int status = cli_kind_read(c->s, &o->uri);
    if (status)
        return status;
    struct io_share_config cfg = {
        .path = path, .chunk_size = o->uri.chunk_size, .alg = (enum cv_sha)o->uri.hash};
    enum cv_err err = io_store_share(c->state, &cfg, &o->store, o->uri.swarm_id, &why);
    if (!err) {
        describe(o, c, path);
        err = add_secret(o, c, &why);
    }
    if (err) {
        fprintf(stderr, "culvert: %s\n", why.text);
        return CLI_FILE;
    }
    struct node_swarm_config sw = {.uri = o->uri,
                                   .store = &io_store_ops,
                                   .store_ctx = o->store,
                                   .mode = mode,
                                   .complete = true,
                                   .upload_limit = c->s->upload_limit};
    err = node_swarm_open(io_host_node(c->host), io_host_now(c->host), &sw, &o->swarm);
    io_host_kick(c->host);
    if (err) {
        fprintf(stderr, "culvert: %s: cannot be shared: %s\n", path, cv_strerror(err));
        return CLI_FAILED;
    }
    return CLI_OK;
}

void cli_offer_withdraw(struct cli_offer *o, struct cli_session *c) {
    if (!o->swarm)
        return;
    node_swarm_close(io_host_node(c->host), io_host_now(c->host), o->swarm);
    io_host_flush(c->host);
    o->swarm = 0;
}

void cli_offer_close(struct cli_offer *o) {
    io_store_close(o->store);
}
