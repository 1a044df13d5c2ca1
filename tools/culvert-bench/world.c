#include "culvert-bench/world.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct spawn *start(struct world *w, const char *verb, const char *name, char state[300],
                           const char *more[]) {
    char listen[32];
    const char *argv[SPAWN_ARGS_MAX] = {
        bench_culvert(), verb,          "--json",     "--state",   state,         "--listen",
        listen,          "--bootstrap", w->bootstrap, "--network", WORLD_NETWORK, "--quick-start",
        "--epoch",       "60s",         "--buffer",   w->buffer};
    size_t n = 16;
    int number = ++w->numbers;
    snprintf(state, 300, "%s/%s%d", bench_folder(), name, number);
    snprintf(listen, sizeof listen, "127.%d.0.1:0", 100 + number);
    while (more && *more && n < SPAWN_ARGS_MAX - 1)
        argv[n++] = *more++;
    return spawn_start(name, argv);
}

struct spawn *world_start(struct world *w, const char *verb, const char *name, const char *more[]) {
    char state[300];
    if (w->count == WORLD_NODES_MAX)
        bench_die("more than %d nodes", WORLD_NODES_MAX);
    return w->p[w->count++] = start(w, verb, name, state, more);
}

void world_begin(struct world *w, const struct bench_options *o, const char *open) {
    memset(w, 0, sizeof *w);
    snprintf(w->bootstrap, sizeof w->bootstrap, "127.100.0.1:%d", 20000 + (int)(getpid() % 10000));
    snprintf(w->buffer, sizeof w->buffer, "%uM", o->buffer_mib);
    const char *serve[] = {bench_dht(), "serve", "--listen", w->bootstrap, "--json", NULL};
    w->p[w->count++] = spawn_start("dht", serve);
    for (int i = 1; i <= WORLD_RELAYS; i++) {
        const char *more[] = {i == WORLD_RELAYS && open ? "--open" : NULL, open, NULL};
        world_start(w, "relay", "relay", more);
    }
}

static double all_cpu(const struct world *w) {
    double sum = 0;
    for (unsigned i = 0; i < w->streams; i++)
        sum += spawn_cpu(w->viewer[i]);
    for (size_t i = 0; i < w->count; i++)
        sum += spawn_cpu(w->p[i]);
    return sum;
}

static void count(struct world *w) {
    char state[300];
    w->counts = json_object();
    for (size_t i = 1; i < w->count; i++) {
        snprintf(state, sizeof state, "%s/%s%d", bench_folder(), w->p[i]->name, (int)i);
        bench_count(w->counts, state);
    }
    for (unsigned i = 0; i < w->streams; i++)
        bench_count(w->counts, w->viewer_state[i]);
}

void world_relay_address(const struct world *w, unsigned i, struct cv_addr *ret) {
    char state[300];
    snprintf(state, sizeof state, "%s/%s%u", bench_folder(), w->p[i + 1]->name, i + 1);
    const char *ask[] = {bench_culvert(), "status", "--json", "--state", state, NULL};
    json_t *o = spawn_ask(ask, NULL);
    json_t *socket = json_object_get(json_object_get(o, "sockets"), "main");
    const char *text = json_string_value(json_object_get(socket, "address"));
    if (!text || cv_addr_parse(text, ret))
        bench_die("%s: no address", state);
    json_decref(o);
}

static void copy_name(char out[300], unsigned i) {
    snprintf(out, 300, "%s/copy%u", bench_folder(), i);
}

static void view(struct world *w, unsigned i, const char *more[]) {
    char out[300];
    const char *argv[16] = {"--no-player", "--no-share", "--output", out};
    copy_name(out, i);
    for (size_t j = 0; j < 11 && more[j]; j++)
        argv[4 + j] = more[j];
    w->viewer[i] = start(w, "play", "viewer", w->viewer_state[i], argv);
}

/* Milliseconds from its start to its peer, and from there to the first chunk. */
static void begun(struct world *w, unsigned i, double *start_ms, double *first_ms) {
    json_t *up = spawn_wait(w->viewer[i], "peer_up", 60);
    *start_ms = (bench_now() - w->viewer[i]->started) * 1e3;
    w->hops = (int)json_integer_value(json_object_get(up, "hops"));
    json_decref(up);
    json_decref(spawn_wait(w->viewer[i], "first_chunk", 60));
    *first_ms = (bench_now() - w->viewer[i]->started) * 1e3 - *start_ms;
}

static void leave(struct world *w, unsigned i) {
    char out[300];
    copy_name(out, i);
    spawn_stop(w->viewer[i]);
    w->viewer[i] = NULL;
    unlink(out);
}

/* The clock runs from the first chunk that any of them has to the moment when the
 * last of them has everything. */
static void fetch_whole(struct world *w, const char *in, const char *more[], double *start_ms,
                        double *first_ms) {
    char sum_in[65], out[300];
    double unused[2];
    for (unsigned i = 0; i < w->streams; i++)
        view(w, i, more);
    begun(w, 0, start_ms, first_ms);
    double at = bench_now(), before = all_cpu(w);
    for (unsigned i = 1; i < w->streams; i++)
        begun(w, i, &unused[0], &unused[1]);
    for (unsigned i = 0; i < w->streams; i++)
        json_decref(spawn_wait(w->viewer[i], "complete", 900));
    w->seconds = bench_now() - at;
    w->cpu_s = all_cpu(w) - before;
    count(w);
    bench_sha256(in, sum_in);
    for (unsigned i = 0; i < w->streams; i++) {
        copy_name(out, i);
        bench_sha256(out, w->sha256);
        if (strcmp(sum_in, w->sha256) != 0)
            bench_die("what arrived is not what was shared");
        leave(w, i);
    }
}

unsigned world_runs(const struct bench_options *o) {
    return o->runs < 1 ? 1 : o->runs > WORLD_RUNS_MAX ? WORLD_RUNS_MAX : o->runs;
}

void world_view(struct world *w, const struct bench_options *o, const char *file,
                const char *more[], unsigned pause_s) {
    unsigned runs = world_runs(o);
    if (o->streams < 1 || o->streams > WORLD_STREAMS_MAX)
        bench_die("--streams: 1 to %d", WORLD_STREAMS_MAX);
    w->streams = o->streams;
    fetch_whole(w, file, more, &w->start_ms[0], &w->first_ms[0]);
    for (unsigned i = 1; i < runs; i++) {
        if (pause_s)
            sleep(pause_s);
        view(w, 0, more);
        begun(w, 0, &w->start_ms[i], &w->first_ms[i]);
        leave(w, 0);
    }
    bench_sort(w->start_ms, runs);
    bench_sort(w->first_ms, runs);
}

json_t *world_end(struct world *w, const struct bench_options *o, int hops) {
    while (w->count)
        spawn_stop(w->p[--w->count]);
    double mb = o->mib * 1.048576 * w->streams;
    unsigned mid = world_runs(o) / 2;
    return json_pack("{s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:s, s:i, s:o}", "hops", hops, "streams",
                     (int)w->streams, "mb_per_s", mb / w->seconds, "cpu_s_per_gb",
                     w->cpu_s * 1000 / mb, "start_ms_median", w->start_ms[mid], "start_ms_max",
                     w->start_ms[world_runs(o) - 1], "first_octet_ms_median", w->first_ms[mid],
                     "sha256", w->sha256, "processes",
                     WORLD_RELAYS + 1 + (int)w->streams + (hops > 3), "counts", w->counts);
}
