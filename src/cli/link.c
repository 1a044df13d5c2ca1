/* link: what a culvert: link says. */
#include <inttypes.h>
#include <stdio.h>

#include "base/text.h"
#include "cli/exitcode.h"
#include "cli/progress.h"
#include "cli/verbs.h"
#include "gateway/qr.h"
#include "node/uri.h"

static const char *const hashes[] = {"sha1", "sha224", "sha256", "sha384", "sha512"};

static json_t *describe(const struct node_uri *u) {
    char id[2 * NODE_URI_SWARM_ID_MAX + 1], network[17], address[CV_ADDR_TEXT];
    cv_hex(u->swarm_id, u->swarm_id_len, id);
    cv_hex(u->network_id, sizeof u->network_id, network);
    json_t *contacts = json_array();
    for (size_t i = 0; i < u->contacts_count; i++)
        json_array_append_new(contacts, json_string(cv_addr_text(&u->contacts[i], address)));
    bool live = u->kind == NODE_URI_LIVE;
    json_t *o =
        json_pack("{s:o, s:s, s:s, s:s, s:i, s:b, s:o}", "name", cli_json_text(u->name), "kind",
                  live        ? "live"
                  : u->folder ? "folder"
                              : "file",
                  "swarm", id, "network", network, "chunk_size", (int)u->chunk_size, "secret",
                  (int)u->has_secret, "contacts", contacts);
    json_object_set_new(o, "direct", json_boolean(u->direct));
    if (!live)
        json_object_set_new(o, "length", json_integer((json_int_t)u->length));
    if (!live && u->hash < sizeof hashes / sizeof *hashes)
        json_object_set_new(o, "hash", json_string(hashes[u->hash]));
    return o;
}

static void print(const struct node_uri *u, const json_t *o) {
    size_t i;
    json_t *contact;
    printf("Name      %s\n", json_string_value(json_object_get(o, "name")));
    if (u->kind == NODE_URI_LIVE)
        printf("What      a broadcast\n");
    else
        printf("What      a %s of %" PRIu64 " octets\n", u->folder ? "folder" : "file", u->length);
    printf("Swarm     %s\n", json_string_value(json_object_get(o, "swarm")));
    printf("Network   %s\n", json_string_value(json_object_get(o, "network")));
    if (u->direct)
        printf("Peers     have addresses: seen through a swarm exit, or with --direct\n");
    printf("Secret    %s\n", u->has_secret ? "yes: look-ups for it cannot be recognised"
                                           : "no: who knows the link recognises look-ups for it");
    json_array_foreach(json_object_get(o, "contacts"), i, contact)
        printf("Contact   %s\n", json_string_value(contact));
}

int cli_link(const struct cli_settings *s) {
    struct node_uri u;
    const char *wrong = "";
    if (node_uri_read(s->argument, &u, &wrong) != CV_ERR_OK) {
        fprintf(stderr, "culvert: bad link: %s\n", wrong);
        return CLI_USAGE;
    }
    json_t *o = describe(&u);
    if (s->json)
        json_dumpf(o, stdout, JSON_COMPACT);
    else
        print(&u, o);
    if (s->json)
        putchar('\n');
    json_decref(o);
    if (s->qr && !s->json)
        cli_progress_qr(stdout, s->argument);
    return CLI_OK;
}
