#include "cli/offer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/exitcode.h"
#include "cli/kind.h"
#include "crypto/rng_system.h"
#include "io/contents.h"
#include "io/mp4.h"
#include "io/store_file.h"

/* Whatever is not shared by hand (a relay's open swarm, what a node finds on its
 * shelf) has none. */
static const struct cli_authority *authority_of(const struct cli_offer *o) {
    static const struct cli_authority none;
    return o->authority ? o->authority : &none;
}

void cli_offer_describe(struct cli_offer *o) {
    const struct cli_settings *node = o->c->s;
    char *real = realpath(o->path, NULL); /* "." and "films/" have a name, too */
    const char *path = real ? real : o->path, *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    struct node_uri *u = &o->uri;
    u->kind = NODE_URI_VOD;
    memcpy(u->network_id, o->c->network_id, sizeof u->network_id);
    node_uri_name(u, base, strlen(base));
    free(real);
    u->folder = io_store_is_folder(o->store);
    u->length = io_store_stats(o->store).octets;
    memcpy(u->authority, authority_of(o)->id, authority_of(o)->id_len);
    u->authority_len = authority_of(o)->id_len;
    for (size_t i = 0; i < node->bootstrap_count && i < NODE_URI_CONTACTS_MAX; i++)
        u->contacts[u->contacts_count++] = node->bootstrap[i];
}

/* For ls: what it is called and where it lies. */
static void note(const struct cli_offer *o) {
    char link[NODE_URI_MAX];
    if (node_uri_write(&o->uri, link, sizeof link) >= 0)
        io_store_describe(o->store, link, o->path);
}

/* A secret link stays the same when the file is shared again. */
static enum cv_err add_secret(struct cli_offer *o, struct io_why *why) {
    char name[64] = "secret-";
    if (!o->s->secret)
        return CV_ERR_OK;
    cv_hex(o->uri.swarm_id, 8, name + strlen(name));
    o->uri.has_secret = true;
    return io_state_key(o->c->state, name, cv_rng_system(), o->uri.secret, sizeof o->uri.secret,
                        why);
}

static bool on_hashed(void *ctx, uint64_t done, uint64_t octets) {
    struct cli_offer *o = ctx;
    atomic_store(&o->hashed, done);
    atomic_store(&o->octets, octets);
    return !atomic_load(&o->stop);
}

/* film.mp4 becomes film.faststart.mp4, once. */
static enum cv_err put_index_in_front(struct cli_offer *o, struct io_why *why) {
    const char *base = strrchr(o->path, '/'), *dot = strrchr(base ? base : o->path, '.');
    int stem = (int)(dot ? dot - o->path : (long)strlen(o->path));
    if (snprintf(o->copy, sizeof o->copy, "%.*s.faststart%s", stem, o->path, dot ? dot : "") >=
        (int)sizeof o->copy) {
        io_why_set(why, "%.100s...: path too long", o->path);
        return CV_ERR_LIMIT;
    }
    enum cv_err err = io_mp4_where(o->copy) == IO_MP4_FRONT
                          ? CV_ERR_OK
                          : io_mp4_faststart(o->path, o->copy, &o->stop, why);
    if (!err)
        o->path = o->copy;
    return err;
}

/* The same of a copy of ours: what is made takes its place, under its name. Without room
 * for both it stays as it is. */
static enum cv_err take_its_place(struct cli_offer *o, struct io_why *why) {
    const char *base = strrchr(o->path, '/');
    if (snprintf(o->copy, sizeof o->copy, "%s/%s", o->s->aside, base ? base + 1 : o->path) >=
            (int)sizeof o->copy ||
        (mkdir(o->s->aside, 0700) != 0 && errno != EEXIST))
        return CV_ERR_STORE;
    enum cv_err err = io_mp4_faststart(o->path, o->copy, &o->stop, why);
    if (!err && (chmod(o->copy, 0600) != 0 || rename(o->copy, o->path) != 0))
        err = CV_ERR_STORE;
    if (err)
        (void)unlink(o->copy);
    (void)rmdir(o->s->aside);
    return err;
}

enum cv_err cli_offer_hash(struct cli_offer *o, struct io_why *why) {
    struct io_why unused;
    if (cli_kind_read(o->s, &o->uri, why) != CLI_OK)
        return CV_ERR_INVAL;
    o->index_at_end = io_mp4_where(o->path) == IO_MP4_END;
    if (o->index_at_end && o->s->faststart) {
        enum cv_err failed = put_index_in_front(o, why);
        if (failed)
            return failed;
        o->index_at_end = false;
    }
    if (o->index_at_end && o->s->aside) /* else players fetch its end first */
        o->index_at_end = take_its_place(o, &unused) != CV_ERR_OK;
    struct io_share_config cfg = {.path = o->path,
                                  .chunk_size = o->uri.chunk_size,
                                  .alg = (enum cv_sha)o->uri.hash,
                                  .progress = on_hashed,
                                  .ctx = o};
    enum cv_err err = io_store_share(o->c->state, &cfg, &o->store, o->uri.swarm_id, why);
    if (!err) {
        cli_offer_describe(o);
        note(o);
    }
    return err;
}

int cli_offer_open(struct cli_offer *o, enum node_swarm_mode mode, struct io_why *why) {
    if (add_secret(o, why) != CV_ERR_OK)
        return CLI_FILE;
    int status = cli_authority_join(authority_of(o), &o->uri, why);
    if (status)
        return status;
    note(o);
    struct node *n = io_host_node(o->c->host);
    struct node_swarm_config sw = {.uri = o->uri,
                                   .store = &io_store_ops,
                                   .store_ctx = o->store,
                                   .mode = mode,
                                   .complete = true,
                                   .unprotected = cli_kind_unprotected(o->s),
                                   .upload_limit = o->s->upload_limit,
                                   .constant_rate = (uint8_t)o->s->constant_rate};
    cli_authority_give(authority_of(o), &sw);
    enum cv_err err = node_swarm_open(n, io_host_now(o->c->host), &sw, &o->swarm);
    io_host_kick(o->c->host);
    if (err)
        return cli_swarm_refused(o->path, mode, err, why);
    return CLI_OK;
}

void cli_offer_close(struct cli_offer *o) {
    if (o->swarm) {
        node_swarm_close(io_host_node(o->c->host), io_host_now(o->c->host), o->swarm);
        /* Not flush(): we may be in an event, and the next would find us half closed. */
        io_host_kick(o->c->host);
    }
    o->swarm = 0;
    io_store_close(o->store);
    o->store = NULL;
}

bool cli_offer_say(const struct cli_offer *o, struct cli_progress *progress) {
    char text[NODE_URI_MAX], sentence[2 * NODE_URI_MAX], address[CV_ADDR_TEXT];
    if (node_uri_write(&o->uri, text, sizeof text) < 0)
        return false;
    json_t *fields = json_pack("{s:s}", "uri", text);
    if (o->s->direct) {
        char root[2 * NODE_URI_SWARM_ID_MAX + 1];
        cv_hex(o->uri.swarm_id, o->uri.swarm_id_len, root);
        json_object_set_new(fields, "root_hash", json_string(root));
        struct cv_addr at = io_host_bound(o->c->host, NODE_SOCKET_DIRECT, 0);
        json_object_set_new(fields, "address", json_string(cv_addr_text(&at, address)));
        snprintf(sentence, sizeof sentence,
                 "Shared DIRECTLY at %s, hides nothing:\n%s\nRoot hash: %s", address, text, root);
    } else {
        snprintf(sentence, sizeof sentence, "Shared, hidden:\n%s", text);
    }
    cli_progress_event(progress, "shared", sentence, fields);
    return true;
}
