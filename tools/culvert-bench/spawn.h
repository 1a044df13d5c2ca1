/*
 * The programs a bench runs: each a process of its own that prints one JSON
 * object a line. What they cost is what the operating system says they cost.
 */
#ifndef CULVERT_TOOLS_CULVERT_BENCH_SPAWN_H
#define CULVERT_TOOLS_CULVERT_BENCH_SPAWN_H

#include <jansson.h>
#include <stddef.h>
#include <sys/types.h>

enum { SPAWN_ARGS_MAX = 48, SPAWN_LINE_MAX = 65536 };

struct spawn {
    const char *name;
    pid_t pid;
    int out;    /* its standard output */
    char *line; /* SPAWN_LINE_MAX octets */
    size_t line_len;
    double started; /* seconds, monotonic */
    int ended;
};

/* Seconds on the monotonic clock. */
double bench_now(void);

/* Ends the bench: one line on standard error, status 1, children killed. */
void bench_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Starts `argv` (NULL-terminated, argv[0] a path). Dies when it cannot. */
struct spawn *spawn_start(const char *name, const char *const argv[]);

/* Reads lines until one whose "event" is `event`; a new reference. Dies after
 * `seconds` or when the program ends. */
json_t *spawn_wait(struct spawn *s, const char *event, double seconds);

/* CPU seconds (user and system) so far; resident octets now. */
double spawn_cpu(const struct spawn *s);
double spawn_rss(const struct spawn *s);

/* SIGINT, wait, free. NULL is allowed. */
void spawn_stop(struct spawn *s);

/* Runs to the end and returns its whole standard output as JSON; a new
 * reference, NULL when it said no JSON: how it ended is said on standard error,
 * and in *ret_signal by which signal (0: by none; NULL is allowed). */
json_t *spawn_ask(const char *const argv[], int *ret_signal);

/* The folder with the programs (beside this one), with a slash at the end. */
const char *spawn_folder(void);

#endif
