/* A hidden seeder to a viewer: three hops each, one process a hop. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "culvert-bench/bench.h"

enum { RELAYS = 6, NODES = RELAYS + 3 };

struct world {
    struct spawn *p[NODES]; /* DHT, relays, seeder, viewer */
    char bootstrap[32], buffer[16];
};

/* A node of its own address, folder and identity that knows one DHT contact. */
static struct spawn *start(struct world *w, const char *verb, const char *name, int number,
                           const char *more[]) {
    char state[300], listen[32];
    const char *argv[SPAWN_ARGS_MAX] = {bench_culvert(), verb,        "--json",   "--state",
                                        state,           "--listen",  listen,     "--bootstrap",
                                        w->bootstrap,    "--network", "bench",    "--quick-start",
                                        "--epoch",       "60s",       "--buffer", w->buffer};
    size_t n = 16;
    snprintf(state, sizeof state, "%s/%s%d", bench_folder(), name, number);
    snprintf(listen, sizeof listen, "127.%d.0.1:0", 100 + number);
    while (more && *more)
        argv[n++] = *more++;
    return spawn_start(name, argv);
}

static double all_cpu(const struct world *w) {
    double sum = 0;
    for (size_t i = 0; i < NODES; i++)
        sum += w->p[i] ? spawn_cpu(w->p[i]) : 0;
    return sum;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

json_t *bench_hidden(const struct bench_options *o) {
    static struct world w;
    char in[300], out[300], sum_in[65], sum_out[65];
    double build[64], first[64];
    unsigned runs = o->runs < 1 ? 1 : o->runs > 64 ? 64 : o->runs;
    snprintf(w.bootstrap, sizeof w.bootstrap, "127.100.0.1:27000");
    snprintf(w.buffer, sizeof w.buffer, "%uM", o->buffer_mib);
    snprintf(in, sizeof in, "%s/film", bench_folder());
    bench_make_file(in, o->mib);

    const char *serve[] = {bench_dht(), "serve", "--listen", w.bootstrap, "--json", NULL};
    w.p[0] = spawn_start("dht", serve);
    for (int i = 1; i <= RELAYS; i++)
        w.p[i] = start(&w, "relay", "relay", i, NULL);
    for (int i = 1; i <= RELAYS; i++)
        json_decref(spawn_wait(w.p[i], "relay_ready", 60));
    w.p[RELAYS + 1] = start(&w, "share", "seeder", RELAYS + 1, (const char *[]){in, NULL});
    json_t *shared = spawn_wait(w.p[RELAYS + 1], "shared", 120);
    const char *uri = json_string_value(json_object_get(shared, "uri"));

    double took = 0, cpu = 0;
    for (unsigned i = 0; i < runs; i++) {
        int number = RELAYS + 2 + (int)i;
        snprintf(out, sizeof out, "%s/copy%u", bench_folder(), i);
        struct spawn *v =
            start(&w, "play", "viewer", number,
                  (const char *[]){"--no-player", "--no-share", "-o", out, uri, NULL});
        json_decref(spawn_wait(v, "peer_up", 60));
        build[i] = (bench_now() - v->started) * 1e3;
        json_decref(spawn_wait(v, "first_chunk", 60));
        double at = bench_now();
        first[i] = (at - v->started) * 1e3 - build[i];
        if (i == 0) { /* the file once; further viewers are for the medians */
            w.p[NODES - 1] = v;
            double before = all_cpu(&w);
            json_decref(spawn_wait(v, "complete", 600));
            took = bench_now() - at;
            cpu = all_cpu(&w) - before;
            w.p[NODES - 1] = NULL;
            bench_sha256(in, sum_in);
            bench_sha256(out, sum_out);
            if (strcmp(sum_in, sum_out) != 0)
                bench_die("what arrived is not what was shared");
        }
        spawn_stop(v);
        unlink(out);
    }
    for (size_t i = NODES; i-- > 0;)
        spawn_stop(w.p[i]);
    json_decref(shared);
    qsort(build, runs, sizeof *build, compare);
    qsort(first, runs, sizeof *first, compare);
    double mb = o->mib * 1.048576;
    return json_pack("{s:i, s:f, s:f, s:f, s:f, s:s}", "hops", 6, "mb_per_s", mb / took,
                     "cpu_s_per_gb", cpu * 1000 / mb, "build_ms_median", build[runs / 2],
                     "first_octet_ms_median", first[runs / 2], "sha256", sum_out);
}
