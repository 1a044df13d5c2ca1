/* node and relay: run until told to stop. */
#include <unistd.h>

#include "base/text.h"
#include "cli/exitcode.h"
#include "cli/offer.h"
#include "cli/session.h"
#include "cli/verbs.h"
#include "ppsp/limits.h"

static void say_listening(struct cli_session *c, bool relay) {
    char text[CV_ADDR_TEXT], too[CV_ADDR_TEXT], sentence[2 * CV_ADDR_TEXT + 64];
    struct cv_addr at[] = {io_host_bound(c->host, NODE_SOCKET_MAIN, 0),
                           io_host_bound(c->host, NODE_SOCKET_MAIN, 1)};
    json_t *fields = json_pack("{s:s}", "address", cv_addr_text(&at[0], text));
    snprintf(sentence, sizeof sentence, "%s on %s", relay ? "Relay" : "Node", text);
    if (at[1].family) {
        json_object_set_new(fields, "address_too", json_string(cv_addr_text(&at[1], too)));
        snprintf(sentence, sizeof sentence, "%s on %s and %s", relay ? "Relay" : "Node", text, too);
    }
    cli_progress_event(&c->progress, "listening", sentence, fields);
}

/* The link is every right to this node, and others may read a journal or a file: there the
 * command stands that prints it. */
static void say_page(struct cli_session *c) {
    char link[GW_LINK_MAX], sentence[CLI_PATH_MAX + 80], runtime[CLI_PATH_MAX];
    struct io_why why;
    if (isatty(fileno(c->progress.out))) {
        snprintf(sentence, sizeof sentence, "Page %s", gateway_page(c->gateway, link));
        cli_progress_event(&c->progress, "page", sentence, json_pack("{s:s}", "url", link));
        return;
    }
    /* As cli_session_socket() has it, for a shell that may have a runtime folder. */
    bool named = c->s->state || io_xdg_path(IO_XDG_RUNTIME, runtime, sizeof runtime, &why);
    snprintf(sentence, sizeof sentence, "its link is printed by: culvert status%s%s",
             named ? " --state " : "", named ? io_state_path(c->state) : "");
    cli_progress_event(&c->progress, "page", NULL,
                       json_pack("{s:o}", "text", cli_json_text(sentence)));
}

static void say_shared(struct cli_session *c, const struct cli_offer *o) {
    char uri[NODE_URI_MAX], relay[2 * CV_KEY + 1], sentence[NODE_URI_MAX + sizeof relay + 64];
    if (node_uri_write(&o->uri, uri, sizeof uri) < 0)
        return;
    cv_hex(c->identity, sizeof c->identity, relay);
    snprintf(sentence, sizeof sentence, "Shared under this relay's name: get with --at %s\n%s",
             relay, uri);
    cli_progress_event(&c->progress, "shared", sentence,
                       json_pack("{s:s, s:s}", "uri", uri, "relay", relay));
}

int cli_node(const struct cli_settings *s) {
    static struct cli_session c;
    static struct cli_offer offer;
    bool relay = s->verb == CLI_RELAY;
    struct io_why why = {.text = ""};
    int status = cli_session_open(&c, s, PPSP_CHUNK_SIZE_MAX);
    if (status == CLI_OK && s->open) {
        offer.c = &c;
        offer.s = s;
        offer.path = s->open;
        status = cli_offer_hash(&offer, &why) == CV_ERR_OK
                     ? cli_offer_open(&offer, NODE_SWARM_OPEN, &why)
                     : CLI_FILE;
        if (status)
            fprintf(stderr, "culvert: %s\n", why.text);
    }
    if (status == CLI_OK) {
        say_listening(&c, relay);
        if (c.gateway)
            say_page(&c);
        if (s->open)
            say_shared(&c, &offer);
        status = cli_session_run(&c);
    }
    cli_offer_close(&offer);
    cli_session_close(&c);
    return status;
}
