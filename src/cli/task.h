/*
 * What share, get, play and live do in a running node: open a swarm, say how it goes,
 * close it. The node may be this process's own or a daemon that another process
 * asked over its socket; a task cannot tell, it only speaks through `progress`.
 */
#ifndef CULVERT_CLI_TASK_H
#define CULVERT_CLI_TASK_H

#include "cli/options.h"
#include "cli/progress.h"
#include "node/node.h"

struct cli_session;
struct cli_task;

/* One verb. Its state begins with a struct cli_task. */
struct cli_task_ops {
    size_t size;
    void (*begin)(struct cli_task *t); /* fails by cli_task_fail() */
    void (*on_event)(struct cli_task *t, const struct node_event *ev);
    void (*on_tick)(struct cli_task *t); /* once a second */
    void (*close)(struct cli_task *t);   /* also after a begin that failed */
    /* Of those with several swarms, else NULL: ends the one whose id begins so (hex, as
     * in contents.h), open or not. False: it is none of them. */
    bool (*drop)(struct cli_task *t, const char *swarm);
    /* Likewise: says the ids of all that can be asked for (event "offered"). */
    void (*offers)(struct cli_task *t, struct cli_progress *to);
};

extern const struct cli_task_ops cli_share_ops, cli_shelf_ops, cli_fetch_ops;
extern const struct cli_task_ops cli_watch_ops; /* get and play of a live stream */
extern const struct cli_task_ops cli_live_ops;  /* the source of one; its argument is a file's
                                                   name (ingest.h) */

struct cli_task {
    const struct cli_task_ops *ops;
    struct cli_session *c;
    const struct cli_settings *s; /* of the command, not of the node */
    struct cli_progress progress;
    cv_handle swarm; /* 0: not open */
    bool several;    /* swarms: hears of all there are, and of calls for others */
    bool away;       /* the command is another process: it is told of the node's events, too */
    bool ended;
    int status;
    void (*on_end)(void *ctx, int status);
    void *ctx;
};

enum { CLI_TASKS_MAX = 32 };

struct cli_task_config {
    const struct cli_task_ops
        *ops;              /* NULL: share, shelf, fetch, watch or live, as the settings say */
    struct cli_session *c; /* borrowed, open */
    const struct cli_settings *s; /* borrowed */
    struct cli_progress progress;
    bool away;
    /* The task has ended with an exit status: free it, but not from in here. */
    void (*on_end)(void *ctx, int status);
    void *ctx;
};

/* Begins it. NULL: out of memory, or CLI_TASKS_MAX are
 * under way. It may end (on_end) within this call. */
struct cli_task *cli_task_new(const struct cli_task_config *cfg);
/* Closes its swarm. NULL is allowed; returns NULL. */
struct cli_task *cli_task_free(struct cli_task *t);

/* Ends it; the first status said stays. */
void cli_task_end(struct cli_task *t, int status);

/* One line for people (event "error"), then the end. */
void cli_task_fail(struct cli_task *t, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
