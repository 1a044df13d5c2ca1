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

/* Is the time over? Thousands of circuits are cut in time for all of their owners to hear of it. */
static bool is_time(struct cli_session *c) {
    struct node *n = io_host_node(c->host);
    struct node_status s;
    node_status(n, &s);
    cv_usec now = io_clock_now().mono, takes = node_drop_takes(s.hops_carried, s.workers);
    if (takes && !c->drain_cut && cv_usec_add(now, takes + CV_SEC(2)) >= c->drain_until) {
        c->drain_cut = s.hops_carried;
        node_drop_circuits(n, io_host_now(c->host));
        io_host_kick(c->host);
    }
    return now >= c->drain_until;
}

void cli_drain_tick(struct cli_session *c) {
    char text[CLI_DRAIN_WORDS];
    if (!c->drain_until)
        return;
    uint32_t left = carried(c);
    if (left && !is_time(c))
        return;
    uint32_t cut = c->drain_cut ? c->drain_cut : left;
    cli_session_say(c, "drained", cli_drain_words_end(cut, text),
                    json_pack("{s:I}", "circuits", (json_int_t)cut));
    cli_session_end(c, CLI_OK);
}
