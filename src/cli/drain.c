#include "cli/drain.h"

#include "cli/drain_words.h"
#include "cli/exitcode.h"
#include "cli/session.h"
#include "io/clock.h"

static uint32_t carried(const struct cli_session *c) {
    struct node_status s;
    node_status(io_host_node(c->host), &s);
    return s.hops_carried;
}

bool cli_drain_begin(struct cli_session *c) {
    char text[CLI_DRAIN_WORDS];
    bool again = c->drain_until != 0;
    if (again || c->s->verb != CLI_RELAY || !c->s->drain_seconds)
        return false;
    node_drain(io_host_node(c->host), io_host_now(c->host), true);
    io_host_kick(c->host);
    uint32_t left = carried(c);
    if (!left)
        return false;
    c->drain_until = cv_usec_add(io_clock_now().mono, CV_SEC(c->s->drain_seconds));
    cli_session_say(c, "draining", cli_drain_words_begin(left, c->s->drain_seconds, text),
                    json_pack("{s:I, s:I}", "circuits", (json_int_t)left, "seconds",
                              (json_int_t)c->s->drain_seconds));
    return true;
}

void cli_drain_tick(struct cli_session *c) {
    char text[CLI_DRAIN_WORDS];
    if (!c->drain_until)
        return;
    uint32_t left = carried(c);
    if (left && io_clock_now().mono < c->drain_until)
        return;
    cli_session_say(c, "drained", cli_drain_words_end(left, text),
                    json_pack("{s:I}", "circuits", (json_int_t)left));
    cli_session_end(c, CLI_OK);
}
