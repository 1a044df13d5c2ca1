#include "culvert-bench/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHILDREN_MAX = 64 };
static pid_t children[CHILDREN_MAX];

double bench_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void bench_die(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fputs("culvert-bench: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    for (size_t i = 0; i < CHILDREN_MAX; i++)
        if (children[i] > 0)
            kill(children[i], SIGKILL);
    exit(1);
}

static pid_t *child_slot(pid_t pid) {
    for (size_t i = 0; i < CHILDREN_MAX; i++)
        if (children[i] == pid)
            return &children[i];
    bench_die("more than %d programs at once", CHILDREN_MAX);
}

static pid_t run(const char *const argv[], int *ret_out) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        bench_die("no pipe: error %d", errno);
    pid_t pid = fork();
    if (pid < 0)
        bench_die("no process: error %d", errno);
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        /* execv() promises not to change what its type lets it change. */
        union {
            const char *const *in;
            char *const *out;
        } args = {.in = argv};
        execv(argv[0], args.out);
        fprintf(stderr, "culvert-bench: %s cannot be run: error %d\n", argv[0], errno);
        _exit(127);
    }
    close(fds[1]);
    *ret_out = fds[0];
    return pid;
}

struct spawn *spawn_start(const char *name, const char *const argv[]) {
    struct spawn *s = calloc(1, sizeof *s);
    char *line = malloc(SPAWN_LINE_MAX);
    if (!s || !line)
        bench_die("out of memory");
    s->name = name;
    s->line = line;
    s->started = bench_now();
    s->pid = run(argv, &s->out);
    *child_slot(0) = s->pid;
    return s;
}

/* The next whole line in the buffer, taken out of it; NULL when there is none. */
static char *take_line(struct spawn *s, char *out) {
    char *end = memchr(s->line, '\n', s->line_len);
    if (!end)
        return NULL;
    size_t len = (size_t)(end - s->line);
    memcpy(out, s->line, len);
    out[len] = 0;
    s->line_len -= len + 1;
    memmove(s->line, end + 1, s->line_len);
    return out;
}

static void read_more(struct spawn *s, double until, const char *event) {
    double left = until - bench_now();
    struct pollfd p = {.fd = s->out, .events = POLLIN};
    if (left <= 0 || poll(&p, 1, (int)(left * 1000) + 1) == 0)
        bench_die("%s: no '%s' in time", s->name, event);
    ssize_t n = read(s->out, s->line + s->line_len, SPAWN_LINE_MAX - s->line_len);
    if (n <= 0)
        bench_die("%s: ended before '%s'", s->name, event);
    s->line_len += (size_t)n;
}

json_t *spawn_wait(struct spawn *s, const char *event, double seconds) {
    static char text[SPAWN_LINE_MAX];
    double until = bench_now() + seconds;
    for (;;) {
        while (!take_line(s, text))
            read_more(s, until, event);
        json_t *o = json_loads(text, 0, NULL);
        const char *name = json_string_value(json_object_get(o, "event"));
        if (name && strcmp(name, event) == 0)
            return o;
        if (name && strcmp(name, "error") == 0)
            bench_die("%s: %s", s->name, json_string_value(json_object_get(o, "text")));
        json_decref(o);
    }
}

/* The file of the process `s` in /proc, NUL-terminated. */
static void read_proc(const struct spawn *s, const char *name, char *out, size_t cap) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)s->pid, name);
    FILE *f = fopen(path, "r");
    if (!f)
        bench_die("%s is gone", s->name);
    out[fread(out, 1, cap - 1, f)] = 0;
    fclose(f);
}

/* The process's own clock: /proc counts in ticks, and a short transfer has none. */
double spawn_cpu(const struct spawn *s) {
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid(s->pid, &clock) || clock_gettime(clock, &used))
        bench_die("%s: no such process, its CPU time is not known", s->name);
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

double spawn_rss(const struct spawn *s) {
    char text[4096];
    read_proc(s, "status", text, sizeof text);
    const char *p = strstr(text, "VmRSS:");
    return p ? strtod(p + 6, NULL) * 1024 : 0;
}

void spawn_stop(struct spawn *s) {
    if (!s)
        return;
    kill(s->pid, SIGINT);
    int status;
    for (int i = 0; i < 500 && waitpid(s->pid, &status, WNOHANG) == 0; i++) {
        if (i == 499)
            kill(s->pid, SIGKILL);
        usleep(10000);
    }
    *child_slot(s->pid) = 0;
    close(s->out);
    free(s->line);
    free(s);
}

json_t *spawn_ask(const char *const argv[], int *ret_signal) {
    int out, status;
    pid_t pid = run(argv, &out);
    FILE *f = fdopen(out, "r");
    json_t *o = f ? json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
    if (f)
        fclose(f);
    waitpid(pid, &status, 0);
    if (ret_signal)
        *ret_signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (!o)
        fprintf(stderr, "culvert-bench: %s ended by %s %d, and said nothing that is JSON\n",
                argv[0], WIFSIGNALED(status) ? "signal" : "status",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return o;
}

const char *spawn_folder(void) {
    static char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0)
        bench_die("cannot tell where the programs are");
    path[n] = 0;
    char *slash = strrchr(path, '/'); /* BUILD/tools/culvert-bench */
    if (slash)
        slash[1] = 0;
    return path;
}
