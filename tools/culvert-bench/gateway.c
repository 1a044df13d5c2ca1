/*
 * The player link: how fast one reader gets a shared file out of the store, and what
 * fifty readers that do not read cost the node's memory.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crypto/hash.h"
#include "culvert-bench/bench.h"

enum { SLOW = 50, PIECE = 1 << 18, SETTLE_SECONDS = 3 };

struct link {
    char host[64], path[1024]; /* host with its port */
    struct sockaddr_in at;
};

static struct spawn *share(const struct bench_options *o, const char *state, const char *film) {
    char buffer[16];
    snprintf(buffer, sizeof buffer, "%uM", o->buffer_mib);
    const char *argv[] = {bench_culvert(), "share",    "--direct",    "--json",    "--state",
                          state,           "--listen", "127.0.0.1:0", "--network", "bench",
                          "--buffer",      buffer,     film,          NULL};
    struct spawn *s = spawn_start("seeder", argv);
    json_decref(spawn_wait(s, "shared", 600));
    return s;
}

/* "http://127.0.0.1:PORT/s/..." of the one swarm that is open. */
static struct link find_link(const char *state) {
    const char *argv[] = {bench_culvert(), "status", "--json", "--state", state, NULL};
    json_t *status = spawn_ask(argv, NULL);
    const char *url = json_string_value(
        json_object_get(json_array_get(json_object_get(status, "swarms"), 0), "link"));
    struct link l = {.at = {.sin_family = AF_INET}};
    const char *host = url ? strstr(url, "//") : NULL, *path = host ? strchr(host + 2, '/') : NULL;
    const char *port = host ? strchr(host + 2, ':') : NULL;
    if (!path || !port)
        bench_die("the node said no player link");
    snprintf(l.host, sizeof l.host, "%.*s", (int)(path - host - 2), host + 2);
    snprintf(l.path, sizeof l.path, "%s", path);
    l.at.sin_port = htons((uint16_t)strtoul(port + 1, NULL, 10));
    l.at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    json_decref(status);
    return l;
}

static int request(const struct link *l) {
    char text[1400];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int n = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                     l->path, l->host);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&l->at, sizeof l->at) != 0 ||
        write(fd, text, (size_t)n) != n)
        bench_die("the player link does not answer");
    return fd;
}

/* All of it; the hash of the body when `run` is not NULL. Seconds. */
static double read_film(const struct link *l, uint64_t octets, struct cv_sha_run *run) {
    static uint8_t piece[PIECE];
    uint64_t got = 0;
    double began = bench_now();
    int fd = request(l);
    size_t filled = 0;
    uint8_t *body = NULL;
    while (!body) { /* the head */
        ssize_t n = read(fd, piece + filled, sizeof piece - filled);
        if (n <= 0)
            bench_die("the player link ended early");
        filled += (size_t)n;
        body = memmem(piece, filled, "\r\n\r\n", 4);
    }
    body += 4;
    for (size_t n = (size_t)(piece + filled - body);;) {
        got += n;
        if (run)
            cv_sha_run_add(run, body, n);
        ssize_t more = read(fd, piece, sizeof piece);
        if (more <= 0)
            break;
        body = piece;
        n = (size_t)more;
    }
    close(fd);
    if (got != octets)
        bench_die("the player link gave another number of octets than the file has");
    return bench_now() - began;
}

/* What the node takes more while fifty have asked for everything and read nothing. */
static double slow_readers(const struct link *l, const struct spawn *node) {
    int fds[SLOW];
    double before = spawn_rss(node), after = before;
    for (size_t i = 0; i < SLOW; i++)
        fds[i] = request(l);
    for (unsigned i = 0; i < SETTLE_SECONDS * 10; i++) {
        usleep(100000);
        double now = spawn_rss(node);
        after = now > after ? now : after;
    }
    for (size_t i = 0; i < SLOW; i++)
        close(fds[i]);
    return (after - before) / 1048576;
}

json_t *bench_gateway(const struct bench_options *o) {
    char film[300], state[300], sum[65], got[65];
    snprintf(film, sizeof film, "%s/film", bench_folder());
    snprintf(state, sizeof state, "%s/seeder", bench_folder());
    bench_make_file(film, o->mib);
    bench_sha256(film, sum);
    struct spawn *node = share(o, state, film);
    struct link l = find_link(state);
    uint64_t octets = (uint64_t)o->mib << 20;
    struct cv_sha_run *run = cv_sha_run_new(CV_SHA256);
    uint8_t hash[CV_SHA_MAX];
    if (!run)
        bench_die("out of memory");
    read_film(&l, octets, run);
    cv_sha_run_end(run, hash);
    cv_sha_run_free(run);
    for (size_t i = 0; i < 32; i++)
        snprintf(got + 2 * i, 3, "%02x", hash[i]);
    if (strcmp(sum, got) != 0)
        bench_die("what arrived is not what was shared");
    double cpu = spawn_cpu(node), took = read_film(&l, octets, NULL);
    cpu = spawn_cpu(node) - cpu;
    double extra = slow_readers(&l, node);
    json_t *out =
        json_pack("{s:f, s:f, s:f, s:i, s:f, s:s}", "mb_per_s", (double)octets / 1e6 / took,
                  "cpu_s_per_gib", cpu / ((double)o->mib / 1024), "slow_readers_extra_mib", extra,
                  "slow_readers", SLOW, "rss_mib", spawn_rss(node) / 1048576, "sha256", sum);
    spawn_stop(node);
    return out;
}
