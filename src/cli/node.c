/* node and relay: run until told to stop. */
#include "cli/exitcode.h"
#include "cli/session.h"
#include "cli/verbs.h"

static void say_listening(struct cli_session *c, bool relay) {
    char text[CV_ADDR_TEXT], sentence[CV_ADDR_TEXT + 64];
    struct cv_addr at = io_host_bound(c->host, NODE_SOCKET_MAIN);
    cv_addr_text(&at, text);
    snprintf(sentence, sizeof sentence, "%s on %s", relay ? "Relay" : "Node", text);
    cli_progress_event(&c->progress, "listening", sentence, json_pack("{s:s}", "address", text));
}

int cli_node(const struct cli_settings *s, bool relay) {
    struct cli_session c;
    int status =
        cli_session_open(&c, s, &(struct cli_session_kind){.relay = relay, .player = !relay});
    if (status == CLI_OK) {
        say_listening(&c, relay);
        status = cli_session_run(&c);
    }
    cli_session_close(&c);
    return status;
}
