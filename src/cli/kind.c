#include "cli/kind.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "cli/exitcode.h"
#include "ppsp/limits.h"
#include "ppsp/ppsp.h"

enum { CHUNK_SIZE = 1024 }; /* the RFC's, and what a cell carries */

static const char *const hashes[] = {"sha1", "sha224", "sha256", "sha384", "sha512"};
static const char *const methods[] = {"bin32", "byte64", "chunk32", "bin64", "chunk64"};

/* Index of the word; -1: it is none of them. */
static int word(const char *text, const char *const list[5], int otherwise) {
    if (!text)
        return otherwise;
    for (int i = 0; i < 5; i++)
        if (strcasecmp(text, list[i]) == 0)
            return i;
    return -1;
}

static int refuse(struct io_why *why, const char *option, const char *value, const char *what) {
    io_why_set(why, "%s '%.100s': %s", option, value, what);
    return CLI_USAGE;
}

bool cli_kind_unprotected(const struct cli_settings *s) {
    return s->integrity && strcasecmp(s->integrity, "none") == 0;
}

enum node_swarm_mode cli_kind_mode(const struct cli_settings *s, const struct node_uri *uri) {
    if (s->direct)
        return NODE_SWARM_DIRECT;
    if (s->at)
        return NODE_SWARM_OPEN;
    return uri->direct || s->peers_count ? NODE_SWARM_EXIT : NODE_SWARM_HIDDEN;
}

int cli_kind_of_link(const struct cli_settings *s, const struct node_uri *uri, struct io_why *why) {
    bool none = uri->integrity == PPSP_INTEGRITY_NONE;
    if (none && !(s->direct && cli_kind_unprotected(s))) {
        io_why_set(why, "nothing protects what this link names: whoever serves it decides what it "
                        "contains; add --direct --integrity none if that is meant");
        return CLI_USAGE;
    }
    if (cli_kind_mode(s, uri) == NODE_SWARM_EXIT && uri->chunk_size > CHUNK_SIZE) {
        io_why_set(why,
                   "its chunks have %" PRIu32 " octets, and a cell of a circuit carries 1024: "
                   "it can be fetched with --direct only, which hides nothing",
                   uri->chunk_size);
        return CLI_USAGE;
    }
    if (s->integrity && none != cli_kind_unprotected(s))
        return refuse(why, "integrity", s->integrity, "is not what the link says");
    return CLI_OK;
}

/* Of a file a tree or nothing, of a broadcast a signature over subtrees or over each chunk. */
static int read_integrity(const struct cli_settings *s, struct node_uri *uri, struct io_why *why) {
    bool live = uri->kind == NODE_URI_LIVE, broadcast = s->verb == CLI_LIVE;
    const char *usual = live ? "unified" : "merkle", *other = live ? "signall" : "none";
    const char *name = s->integrity && live == broadcast ? s->integrity : usual; /* a recording */
    bool weak = strcasecmp(name, other) == 0;
    if (!weak && strcasecmp(name, usual) != 0)
        return refuse(why, "integrity", name,
                      live ? "is not unified or signall" : "is not merkle or none");
    if (weak && !s->direct)
        return refuse(why, "integrity", name,
                      live
                          ? "one forged chunk would cost each viewer a signature; it needs --direct"
                          : "what strangers send is always checked; none needs --direct");
    if (live)
        uri->integrity = weak ? PPSP_INTEGRITY_SIGN_ALL : PPSP_INTEGRITY_UNIFIED;
    else
        uri->integrity = weak ? PPSP_INTEGRITY_NONE : PPSP_INTEGRITY_MERKLE;
    return CLI_OK;
}

int cli_kind_read(const struct cli_settings *s, struct node_uri *uri, struct io_why *why) {
    int hash = word(s->hash, hashes, CV_SHA256);
    int method = word(s->addressing, methods, PPSP_ADDRESSING_CHUNK32);
    uint64_t size = s->chunk_size ? s->chunk_size : CHUNK_SIZE;
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, size);
    if (s->arguments_count > 1 && (!s->direct || s->secret)) {
        io_why_set(why, "several files can be shared with --direct only, without --secret; "
                        "share them one by one");
        return CLI_USAGE;
    }
    if (hash < 0)
        return refuse(why, "hash", s->hash, "is not sha1, sha224, sha256, sha384 or sha512");
    if (method < 0)
        return refuse(why, "addressing", s->addressing,
                      "is not bin32, byte64, chunk32, bin64 or chunk64");
    int status = read_integrity(s, uri, why);
    if (status)
        return status;
    if (size < PPSP_CHUNK_SIZE_MIN || size > PPSP_CHUNK_SIZE_MAX)
        return refuse(why, "chunk-size", text, "is not between 512 and 65000 octets");
    if (size > CHUNK_SIZE && !s->direct)
        return refuse(why, "chunk-size", text,
                      "a cell of a circuit carries 1024 octets; larger chunks need --direct");
    uri->direct = s->direct;
    uri->hash = (uint8_t)hash;
    uri->addressing = (uint8_t)method;
    uri->chunk_size = (uint32_t)size;
    uri->swarm_id_len = cv_sha_len((enum cv_sha)hash);
    return CLI_OK;
}

bool cli_kind_is_hash(const char *argument) {
    size_t len = strlen(argument);
    return len >= 40 && strspn(argument, "0123456789abcdefABCDEF") == len;
}

int cli_kind_of_hash(const struct cli_settings *s, const uint8_t network_id[8],
                     struct node_uri *uri, struct io_why *why) {
    *uri = (struct node_uri){.kind = NODE_URI_VOD};
    int status = cli_kind_read(s, uri, why);
    if (status)
        return status;
    if (cli_kind_unprotected(s))
        return refuse(why, "root hash", s->argument,
                      "only the link says how long unprotected content is");
    if (s->at)
        return refuse(why, "root hash", s->argument, "give the relay's link with --at");
    uri->direct = true; /* no other swarm is found so */
    if (strlen(s->argument) != 2 * uri->swarm_id_len ||
        cv_unhex(s->argument, uri->swarm_id, uri->swarm_id_len))
        return refuse(why, "root hash", s->argument,
                      "has not the length of that hash function; name it with --hash");
    memcpy(uri->network_id, network_id, sizeof uri->network_id);
    node_uri_name(uri, s->argument, strlen(s->argument));
    return CLI_OK;
}
