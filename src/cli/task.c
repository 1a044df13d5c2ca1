#include "cli/task.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>

#include "cli/session.h"
#include "cli/verbs.h"

struct cli_task *cli_task_new(const struct cli_task_config *cfg) {
    const struct cli_task_ops *ops = cfg->ops                      ? cfg->ops
                                     : cfg->s->verb == CLI_LIVE    ? &cli_live_ops
                                     : cli_link_is_live(cfg->s)    ? &cli_watch_ops
                                     : cfg->s->verb != CLI_SHARE   ? &cli_fetch_ops
                                     : cfg->s->arguments_count > 1 ? &cli_shelf_ops
                                                                   : &cli_share_ops;
    struct cli_task *t = calloc(1, ops->size);
    if (!t || cfg->c->tasks_count == CLI_TASKS_MAX) {
        free(t);
        return NULL;
    }
    *t = (struct cli_task){.ops = ops,
                           .c = cfg->c,
                           .s = cfg->s,
                           .progress = cfg->progress,
                           .away = cfg->away,
                           .on_end = cfg->on_end,
                           .ctx = cfg->ctx};
    cfg->c->tasks[cfg->c->tasks_count++] = t;
    t->ops->begin(t);
    return t;
}

struct cli_task *cli_task_free(struct cli_task *t) {
    if (!t)
        return NULL;
    struct cli_session *c = t->c;
    size_t i = 0;
    while (c->tasks[i] != t)
        i++;
    c->tasks[i] = c->tasks[--c->tasks_count];
    t->ops->close(t);
    free(t);
    return NULL;
}

void cli_task_end(struct cli_task *t, int status) {
    if (t->ended)
        return;
    t->ended = true;
    t->status = status;
    t->on_end(t->ctx, status);
}

void cli_task_fail(struct cli_task *t, int status, const char *fmt, ...) {
    char text[512];
    va_list ap;
    if (t->ended)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    json_t *fields = json_object();
    json_object_set_new(fields, "text", cli_json_text(text));
    cli_progress_event(&t->progress, "error", text, fields);
    cli_task_end(t, status);
}
