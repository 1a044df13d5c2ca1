#include "cli/feeder.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway/feed.h"
#include "io/clock.h"

enum { IN = 3, OUT = 4, FIRST_OTHER = 5, STEP = 16384 };

struct feeder {
    int to;    /* ffmpeg's standard input; -1: it does not run, or has ended */
    pid_t pid; /* 0: none */
    cv_usec begun;
    unsigned runs;
};

/* Whatever comes: pictures as H.264 with a key frame a second, sound as AAC. Titles are
 * left out. Every ffmpeg begins to count time anew; viewers go on. */
static noreturn void run_ffmpeg(const struct feeder *f, int from) {
    char after[32], version[8];
    snprintf(after, sizeof after, "%.3f", (double)(io_clock_now().mono - f->begun) / 1e6);
    snprintf(version, sizeof version, "%u", f->runs % 32);
    /* clang-format off */
    const char *const args[] = {
        "ffmpeg", "-v", "error", "-nostdin",
        "-analyzeduration", "1000000", "-i", "pipe:0", "-map_metadata", "-1",
        "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p",
        "-vf", "scale=trunc(iw/2)*2:trunc(ih/2)*2", "-r", "30", "-g", "300",
        "-force_key_frames", "expr:gte(t,n_forced)", "-b:v", "2500k", "-maxrate", "3500k",
        "-bufsize", "3500k", "-c:a", "aac", "-b:a", "96k", "-f", "mpegts", "-muxdelay", "0",
        "-output_ts_offset", after, "-tables_version", version,
        "-mpegts_flags", "+initial_discontinuity", "-flush_packets", "1", "pipe:1", NULL};
    /* clang-format on */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (dup2(from, STDIN_FILENO) < 0 || dup2(OUT, STDOUT_FILENO) < 0)
        _exit(1);
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    execvp(args[0], (char *const *)(uintptr_t)args);
    _exit(CLI_NO_FFMPEG);
}

static void stop(struct feeder *f) {
    int status = 0;
    if (f->to >= 0)
        close(f->to);
    f->to = -1;
    while (f->pid && waitpid(f->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (f->pid && WIFEXITED(status) && WEXITSTATUS(status) == CLI_NO_FFMPEG)
        _exit(CLI_NO_FFMPEG);
    f->pid = 0;
}

static void start(struct feeder *f) {
    int ends[2];
    stop(f);
    if (pipe2(ends, O_CLOEXEC) != 0)
        return;
    f->pid = fork();
    if (f->pid == 0)
        run_ffmpeg(f, ends[0]);
    close(ends[0]);
    f->to = ends[1];
    f->runs++;
    if (f->pid < 0) {
        f->pid = 0;
        stop(f);
    }
}

/* False: what it comes from has ended. */
static bool read_all(int fd, uint8_t *buf, size_t len) {
    for (size_t n = 0; n < len;) {
        ssize_t got = read(fd, buf + n, len - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        n += (size_t)got;
    }
    return true;
}

/* An ffmpeg that could not read what came is gone: the rest of that recording is, too. */
static void give(struct feeder *f, const uint8_t *buf, size_t len) {
    for (size_t n = 0; f->to >= 0 && n < len;) {
        ssize_t put = write(f->to, buf + n, len - n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            stop(f);
        else
            n += (size_t)put;
    }
}

static bool take_frame(struct feeder *f) {
    uint8_t head[GW_FEED_HEAD], buf[STEP];
    if (!read_all(IN, head, sizeof head))
        return false;
    size_t left = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
    if (head[4] == GW_FEED_BEGINS)
        start(f);
    else if (head[4] == GW_FEED_ENDS)
        stop(f);
    while (left) {
        size_t n = left < sizeof buf ? left : sizeof buf;
        if (!read_all(IN, buf, n))
            return false;
        give(f, buf, n);
        left -= n;
    }
    return true;
}

noreturn void cli_feeder_run(int in, int out) {
    struct feeder f = {.to = -1, .begun = io_clock_now().mono};
    /* Through others first: one may be where the other belongs. */
    int a = fcntl(in, F_DUPFD_CLOEXEC, FIRST_OTHER), b = fcntl(out, F_DUPFD_CLOEXEC, FIRST_OTHER);
    if (a < 0 || b < 0 || dup3(a, IN, O_CLOEXEC) < 0 || dup3(b, OUT, O_CLOEXEC) < 0)
        _exit(1);
    close_range(FIRST_OTHER, ~0U, 0);
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    while (take_frame(&f))
        ;
    stop(&f);
    _exit(0);
}
