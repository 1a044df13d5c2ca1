#include "cli/dropped.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/drop.h"

/* One that is whole, and the task that shares it. */
struct shared {
    struct cli_dropped *d;
    char id[GW_DROP_ID + 1]; /* "": free */
    json_t *wanted;          /* what its settings borrow from */
    struct cli_settings settings;
    char aside[CLI_PATH_MAX];
    struct cli_task *task;
    bool over; /* it has ended: to be freed outside of its callbacks */
};

struct cli_dropped {
    struct cli_session *c;
    struct gw_drops *all;
    struct io_timer *reap;
    struct shared shared[GW_DROPS_MAX];
};

static void on_line(void *ctx, json_t *o) {
    struct shared *s = ctx;
    const char *event = json_string_value(json_object_get(o, "event"));
    if (event && !strcmp(event, "shared"))
        gw_drops_note(s->d->all, s->id, json_string_value(json_object_get(o, "uri")), NULL);
    else if (event && !strcmp(event, "error"))
        gw_drops_note(s->d->all, s->id, NULL, json_string_value(json_object_get(o, "text")));
    json_decref(o);
}

static void on_end(void *ctx, int status) {
    struct shared *s = ctx;
    cv_usec now = io_host_now(s->d->c->host).mono;
    (void)status;
    s->over = true;
    io_timer_at(s->d->reap, now, now);
}

static void release(struct shared *s) {
    s->task = cli_task_free(s->task);
    free(s->settings.arguments);
    json_decref(s->wanted);
    *s = (struct shared){.d = s->d};
}

static void on_reap(void *ctx) {
    struct cli_dropped *d = ctx;
    for (size_t i = 0; i < GW_DROPS_MAX; i++)
        if (d->shared[i].id[0] && d->shared[i].over)
            release(&d->shared[i]);
}

/* Hidden, whatever the node does besides. */
static void share(void *ctx, const struct gw_drop *drop) {
    struct cli_dropped *d = ctx;
    char path[CLI_PATH_MAX], why[CLI_TEXT_MAX] = "out of memory";
    struct shared *s = NULL;
    for (size_t i = 0; i < GW_DROPS_MAX && !s; i++)
        if (!d->shared[i].id[0])
            s = &d->shared[i];
    if (!s) /* one whose end is not over yet */
        return;
    gw_drops_path(d->all, drop, path, sizeof path);
    s->wanted = json_pack("{s:s, s:s, s:s}", "verb", "share", "argument", path, "folder", "/");
    if (!s->wanted || !cli_options_take(s->wanted, &s->settings, why)) {
        gw_drops_note(d->all, drop->id, NULL, why);
        release(s);
        return;
    }
    memcpy(s->id, drop->id, sizeof s->id);
    gw_drops_aside(d->all, drop, s->aside, sizeof s->aside);
    s->settings.aside = s->aside;
    struct cli_progress progress = {.sink = on_line, .ctx = s};
    s->task = cli_task_new(&(struct cli_task_config){.c = d->c,
                                                     .s = &s->settings,
                                                     .progress = progress,
                                                     .away = true,
                                                     .on_end = on_end,
                                                     .ctx = s});
    if (!s->task) {
        gw_drops_note(d->all, drop->id, NULL,
                      "the node has too much to do already; end some of it first");
        release(s);
    }
}

static void unshare(void *ctx, const struct gw_drop *drop) {
    struct cli_dropped *d = ctx;
    for (size_t i = 0; i < GW_DROPS_MAX; i++)
        if (strcmp(d->shared[i].id, drop->id) == 0)
            release(&d->shared[i]);
}

enum cv_err cli_dropped_open(struct cli_session *c, struct cli_dropped **ret, struct io_why *why) {
    struct cli_dropped *d = calloc(1, sizeof *d);
    char path[CLI_PATH_MAX];
    int folder = -1;
    enum cv_err err = d ? io_state_folder(c->state, "dropped", &folder, why) : CV_ERR_NOMEM;
    if (err) {
        free(d);
        return err;
    }
    char *real = realpath(io_state_path(c->state), NULL); /* tasks take absolute names */
    snprintf(path, sizeof path, "%s/dropped", real ? real : io_state_path(c->state));
    free(real);
    d->c = c;
    d->all = gw_drops_open(folder, path, why);
    d->reap = io_timer_new(c->loop, on_reap, d);
    if (!d->all || !d->reap) {
        cli_dropped_close(d);
        return CV_ERR_NOMEM;
    }
    for (size_t i = 0; i < GW_DROPS_MAX; i++)
        d->shared[i].d = d;
    gw_api_on_drops(
        c->api, &(struct gw_api_drops){.all = d->all, .whole = share, .gone = unshare, .ctx = d});
    for (size_t i = 0; i < GW_DROPS_MAX; i++)
        if (gw_drops_at(d->all, i)->id[0])
            share(d, gw_drops_at(d->all, i));
    *ret = d;
    return CV_ERR_OK;
}

struct cli_dropped *cli_dropped_close(struct cli_dropped *d) {
    if (!d)
        return NULL;
    gw_api_on_drops(d->c->api, &(struct gw_api_drops){.all = NULL});
    for (size_t i = 0; i < GW_DROPS_MAX; i++)
        if (d->shared[i].id[0])
            release(&d->shared[i]);
    io_timer_free(d->reap);
    gw_drops_close(d->all);
    free(d);
    return NULL;
}

void cli_dropped_tick(struct cli_dropped *d, cv_usec now) {
    if (d)
        gw_drops_expire(d->all, now);
}
