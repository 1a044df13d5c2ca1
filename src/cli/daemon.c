#include "cli/daemon.h"

#include <stdlib.h>
#include <string.h>

#include "cli/contents.h"
#include "cli/exitcode.h"
#include "cli/task.h"
#include "gateway/stream.h"
#include "io/clock.h"

/* A command in another process, and the task it asked for. It ends with either. */
struct cli_visitor {
    struct cli_session *c;
    struct cli_visitor *next;
    struct cli_settings settings; /* borrows from `wanted` */
    json_t *wanted;
    struct gw_stream *stream; /* NULL: the command went away */
    struct cli_task *task;
    struct io_timer *reap; /* what ended in a callback of its own is freed after it */
};

static void visitor_free(struct cli_visitor *v) {
    struct cli_visitor **at = &v->c->visitors;
    while (*at != v)
        at = &(*at)->next;
    *at = v->next;
    cli_task_free(v->task);
    gw_stream_end(v->stream);
    io_timer_free(v->reap);
    free(v->settings.arguments);
    json_decref(v->wanted);
    free(v);
}

static void on_reap(void *ctx) {
    visitor_free(ctx);
}

static void reap(struct cli_visitor *v) {
    cv_usec now = io_clock_now().mono;
    io_timer_at(v->reap, now, now);
}

static void on_line(void *ctx, json_t *o) {
    struct cli_visitor *v = ctx;
    if (v->stream)
        gw_stream_line(v->stream, o);
    json_decref(o);
}

static void say_end(struct cli_visitor *v, int status) {
    on_line(v, json_pack("{s:s, s:i}", "event", "end", "status", status));
    reap(v);
}

static void on_task_end(void *ctx, int status) {
    say_end(ctx, status);
}

static void on_gone(void *ctx) {
    struct cli_visitor *v = ctx;
    v->stream = NULL;
    reap(v);
}

/* What cannot even become a task. */
static void refuse(struct cli_visitor *v, int status, const char *text) {
    on_line(v, json_pack("{s:s, s:s, s:s}", "event", "error", "say", text, "text", text));
    say_end(v, status);
}

static void begin(struct cli_visitor *v) {
    char why[CLI_TEXT_MAX];
    if (!cli_options_take(v->wanted, &v->settings, why)) {
        refuse(v, CLI_USAGE, why);
        return;
    }
    /* What the node was told holds for whoever says nothing of it, such as the page. */
    if (!v->settings.upload_limit)
        v->settings.upload_limit = v->c->s->upload_limit;
    if (!v->settings.download_limit)
        v->settings.download_limit = v->c->s->download_limit;
    if (v->c->s->verb == CLI_RELAY) {
        refuse(v, CLI_STATE,
               "the node on this folder is a relay and does nothing else; name another folder with "
               "--state");
        return;
    }
    const char *network = json_string_value(json_object_get(v->wanted, "network"));
    if (network && strcmp(network, v->c->s->network) != 0) {
        refuse(v, CLI_USAGE,
               "the node on this folder is of another network; name another folder with --state");
        return;
    }
    struct cli_progress progress = {.sink = on_line, .ctx = v};
    if (v->settings.verb == CLI_LS) {
        for (size_t i = 0; i < v->c->tasks_count; i++)
            if (v->c->tasks[i]->ops->offers)
                v->c->tasks[i]->ops->offers(v->c->tasks[i], &progress);
        say_end(v, CLI_OK);
        return;
    }
    if (v->settings.verb == CLI_RM) { /* no task: it is done at once */
        say_end(v, cli_content_rm(v->c->state, v->c, &v->settings, &progress));
        return;
    }
    v->task = cli_task_new(&(struct cli_task_config){.c = v->c,
                                                     .s = &v->settings,
                                                     .progress = progress,
                                                     .away = true,
                                                     .on_end = on_task_end,
                                                     .ctx = v});
    if (!v->task)
        refuse(v, CLI_FAILED, "the node has too much to do already; end some of it first");
}

static bool on_wanted(void *ctx, json_t *wanted, struct gw_stream *stream) {
    struct cli_session *c = ctx;
    struct cli_visitor *v = calloc(1, sizeof *v);
    struct io_timer *timer = v ? io_timer_new(c->loop, on_reap, v) : NULL;
    if (!timer) {
        free(v);
        return false;
    }
    *v = (struct cli_visitor){.c = c,
                              .next = c->visitors,
                              .wanted = json_incref(wanted),
                              .stream = stream,
                              .reap = timer};
    c->visitors = v;
    gw_stream_on_close(stream, on_gone, v);
    begin(v);
    return true;
}

void cli_daemon_serve(struct cli_session *c) {
    gw_api_on_wanted(c->api, on_wanted, c);
}

void cli_daemon_close(struct cli_session *c) {
    if (!c->visitors)
        return;
    gw_api_on_wanted(c->api, NULL, NULL); /* the turn below takes no new ones */
    while (c->visitors) {
        refuse(c->visitors, CLI_FAILED, "the node was stopped");
        visitor_free(c->visitors);
    }
    io_loop_turn(c->loop, false); /* the last lines leave */
}
