#include "cli/ingest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/exitcode.h"
#include "cli/feeder.h"
#include "io/clock.h"
#include "io/sockaddr.h"

enum {
    BUSY_MAX = 3, /* the port is somebody else's so often: it will not get better */
};

#define LASTED    CV_SEC(3) /* ran for so long: it could listen */
#define PAUSE     CV_SEC(1) /* behind what could not be read, and twice as long each time, */
#define PAUSE_MAX CV_SEC(4)
/* Of a read, in microseconds. A connection that says nothing keeps the only place
 * there is from all others; ffmpeg reads a few times before it gives MPEG-TS up. */
#define SILENCE_TCP  "5000000"
#define SILENCE_RTMP "12000000"

static const struct {
    const char *scheme;
    int type;
} kinds[] = {
    {"udp://", SOCK_DGRAM}, {"tcp://", SOCK_STREAM}, {"rtmp://", SOCK_STREAM}, {"camera:", 0}};

enum { KINDS = sizeof kinds / sizeof *kinds, RTMP = 2, CAMERA = 3 };

static size_t kind_of(const char *argument) {
    size_t i = 0;
    while (i < KINDS && strncmp(argument, kinds[i].scheme, strlen(kinds[i].scheme)) != 0)
        i++;
    return i;
}

bool cli_ingest_is_url(const char *argument) {
    return argument && kind_of(argument) < KINDS;
}

static int refuse(struct io_why *why, const char *url, const char *what) {
    io_why_set(why, "%.120s: %s", url, what);
    return CLI_USAGE;
}

/* The whole address is read here and written anew for ffmpeg, whose URLs can say much more. */
static int read_url(struct cli_ingest *g, const char *url, struct io_why *why) {
    struct cv_addr *at = &g->at;
    size_t kind = kind_of(url);
    const char *rest = url + strlen(kinds[kind].scheme), *path = strchr(rest, '/');
    char host[CV_ADDR_TEXT] = "", text[CV_ADDR_TEXT];
    size_t len = path ? (size_t)(path - rest) : strlen(rest);
    if (len < sizeof host)
        memcpy(host, rest, len);
    if (cv_addr_parse(host, at) || !at->port)
        return refuse(why, url, "needs IP:PORT, such as 127.0.0.1:1935, with a port of its own");
    if (!cv_addr_is_loopback(at))
        return refuse(why, url, "is listened to on loopback only, such as 127.0.0.1");
    if (path && path[1] && kind != RTMP)
        return refuse(why, url, "has a path, which only rtmp:// can");
    path = path && path[1] ? path : kind == RTMP ? "/live" : "";
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789/._-";
    if (strlen(path) > 128 || path[strspn(path, allowed)])
        return refuse(why, url, "has a path of something else than letters, digits, / . _ and -");
    snprintf(g->url, sizeof g->url, "%s%s%s", kinds[kind].scheme, cv_addr_text(at, text), path);
    return CLI_OK;
}

static int try_port(const struct cli_ingest *g, struct io_why *why) {
    union io_sockaddr sa;
    const char *url = g->url;
    socklen_t len = io_sockaddr_from(&g->at, &sa);
    int fd = socket(sa.any.sa_family, kinds[kind_of(url)].type | SOCK_CLOEXEC, 0), one = 1;
    bool ok = fd >= 0;
    if (ok && kinds[kind_of(url)].type == SOCK_STREAM)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    ok = ok && bind(fd, &sa.any, len) == 0 &&
         (kinds[kind_of(url)].type == SOCK_DGRAM || listen(fd, 1) == 0);
    bool used = errno == EADDRINUSE;
    if (fd >= 0)
        close(fd);
    if (ok)
        return CLI_OK;
    io_why_set(why, "%.120s: cannot be listened to%s; name another port", url,
               used ? ", it is in use" : "");
    return CLI_NETWORK;
}

static bool make_pipe(int *read, int *write, struct io_why *why) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        io_why_set(why, "no pipe could be made: too many open files?");
        return false;
    }
    *read = ends[0];
    *write = ends[1];
    return true;
}

static void write_name(char ret[32], int fd) {
    snprintf(ret, 32, "/proc/%ld/fd/%d", (long)getpid(), fd);
}

/* The camera's two pipes: to the process that feeds ffmpeg, and from it. */
static int open_camera(struct cli_ingest *g, struct cli_settings *s, struct io_why *why) {
    if (strcmp(s->argument, kinds[CAMERA].scheme) != 0)
        return refuse(why, s->argument, "is followed by nothing: it is the camera of the page");
    if (!make_pipe(&g->read, &g->write, why) || !make_pipe(&g->feed_read, &g->feed_write, why))
        return CLI_FAILED;
    snprintf(g->url, sizeof g->url, "%s", kinds[CAMERA].scheme);
    write_name(g->name, g->read);
    write_name(g->feed, g->feed_write);
    s->argument = g->name;
    s->feed = g->feed;
    return CLI_OK;
}

int cli_ingest_open(struct cli_ingest *g, struct cli_settings *s, struct io_why *why) {
    const char *from = s->argument;
    *g = CLI_INGEST_NONE;
    bool piped = !from || strcmp(from, "-") == 0;
    if (!piped && !cli_ingest_is_url(from))
        return CLI_OK; /* a file: the node opens that */
    if (!s->name)
        s->name = "live";
    if (!piped && kind_of(from) == CAMERA)
        return open_camera(g, s, why);
    int status = piped ? CLI_OK : read_url(g, from, why);
    if (!status && !piped)
        status = try_port(g, why);
    if (!status && !piped && !make_pipe(&g->read, &g->write, why))
        status = CLI_FAILED;
    if (status)
        return status;
    write_name(g->name, piped ? STDIN_FILENO : g->read);
    s->argument = g->name;
    return CLI_OK;
}

/* The URL as ffmpeg listens there. To the host of a udp:// URL it would send: it receives at
 * all addresses of the machine, unless it is told the one. */
static void write_input(const struct cli_ingest *g, char *ret, size_t cap) {
    const char *host = strstr(g->url, "//") + 2;
    host += *host == '[';
    if (kind_of(g->url) == RTMP)
        snprintf(ret, cap, "%s", g->url);
    else if (kinds[kind_of(g->url)].type == SOCK_STREAM)
        snprintf(ret, cap, "%s?listen=1&timeout=" SILENCE_TCP, g->url);
    else
        snprintf(ret, cap, "%s?overrun_nonfatal=1&localaddr=%.*s", g->url,
                 (int)strcspn(host, host[-1] == '[' ? "]" : ":"), host);
}

static void run_ffmpeg(const struct cli_ingest *g) {
    char after[32], version[8], input[CLI_INGEST_TEXT + 96];
    bool rtmp = kind_of(g->url) == RTMP;
    write_input(g, input, sizeof input);
    /* Every ffmpeg begins to count time anew; viewers go on. */
    snprintf(after, sizeof after, "%.3f", (double)(g->started - g->begun) / 1e6);
    /* Its tables may say something else than those before: players look again when this does. */
    snprintf(version, sizeof version, "%u", g->runs % 32);
    /* It looks at no more than a second of it before it passes it on (the default is
     * seven for MPEG-TS, kept back meanwhile), and does not measure its frame rate. Titles
     * are left out: encoders put file names and the like into them. */
    const char *args[32] = {
        "ffmpeg",           "-v",      "error",         "-nostdin", "-fflags", "nobuffer",
        "-analyzeduration", "1000000", "-fpsprobesize", "0"};
    size_t n = 10;
    if (rtmp) {
        args[n++] = "-rw_timeout";
        args[n++] = SILENCE_RTMP;
    }
    args[n++] = rtmp ? "-listen" : "-f";
    args[n++] = rtmp ? "1" : "mpegts";
    const char *const rest[] = {"-i",
                                input,
                                "-map_metadata",
                                "-1",
                                "-c",
                                "copy",
                                "-f",
                                "mpegts",
                                "-output_ts_offset",
                                after,
                                "-tables_version",
                                version,
                                "-mpegts_flags",
                                "+initial_discontinuity",
                                "-flush_packets",
                                "1",
                                "pipe:1"};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        args[n++] = rest[i];
    execvp(args[0], (char *const *)(uintptr_t)args);
    _exit(CLI_NO_FFMPEG);
}

static void start(struct cli_ingest *g) {
    pid_t parent = getpid();
    g->started = io_clock_now().mono;
    if (!g->begun)
        g->begun = g->started;
    pid_t pid = fork();
    if (pid != 0) {
        g->runs++;
        g->pid = pid > 0 ? pid : 0;
        return;
    }
    sigset_t none; /* run.c blocks signals but while it waits; a mask outlives exec */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* it must not keep the port when we are killed */
    if (getppid() != parent)
        _exit(1);
    if (kind_of(g->url) == CAMERA)
        cli_feeder_run(g->feed_read, g->write);
    if (dup2(g->write, STDOUT_FILENO) < 0)
        _exit(1);
    run_ffmpeg(g);
}

/* It could not open what came, or could not listen: not the same, since anybody on this
 * machine can send what nobody can read, and does not end the broadcast by that. False:
 * the port was somebody else's from the beginning. */
static bool failed(struct cli_ingest *g, enum cli_ingest_news *news, struct io_why *why) {
    bool busy = kind_of(g->url) != CAMERA && try_port(g, why) != CLI_OK;
    cv_usec now = io_clock_now().mono;
    g->listened |= !busy || now - g->started >= LASTED;
    g->busy += busy && !g->listened;
    g->pause = g->pause ? g->pause * 2 : PAUSE;
    g->pause = g->pause < PAUSE_MAX ? g->pause : PAUSE_MAX;
    g->next = cv_usec_add(now, g->pause);
    *news = busy ? CLI_INGEST_BUSY : CLI_INGEST_UNREAD;
    return g->busy < BUSY_MAX;
}

bool cli_ingest_look(struct cli_ingest *g, enum cli_ingest_news *news, struct io_why *why) {
    int status = 0;
    *news = CLI_INGEST_NOTHING;
    if (!g->url[0] || (g->pid && waitpid(g->pid, &status, WNOHANG) == 0))
        return true;
    bool ended = g->pid != 0;
    g->pid = 0;
    if (ended && WIFEXITED(status) && WEXITSTATUS(status) == CLI_NO_FFMPEG) {
        io_why_set(why, "%.120s: is received by ffmpeg, which is not there; install it", g->url);
        return false;
    }
    if (ended && status != 0)
        return failed(g, news, why);
    if (ended)
        g->pause = 0;
    else if (io_clock_now().mono < g->next)
        return true;
    start(g);
    *news = CLI_INGEST_WAITS;
    return true;
}

void cli_ingest_close(struct cli_ingest *g) {
    if (g->pid) {
        kill(g->pid, SIGKILL); /* it has nothing to save */
        while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    const int all[] = {g->read, g->write, g->feed_read, g->feed_write};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] >= 0)
            close(all[i]);
    *g = CLI_INGEST_NONE;
}
