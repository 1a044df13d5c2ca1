/*
 * Plain PPSPP over loopback: one seeder, one or several viewers, each a process
 * of its own; beside it, when asked, libtorrent with the same file.
 */
#include <stdio.h>
#include <string.h>

#include "culvert-bench/bench.h"

enum {
    VIEWERS_MAX = 32,
    CRASHES_MAX = 2, /* of libtorrent's process, in which nothing of ours is */
};

struct swarm {
    const struct bench_options *o;
    char film[300], buffer[16], chunk_size[16];
    struct spawn *seeder, *viewers[VIEWERS_MAX];
    json_t *shared;
    double seeder_cpu; /* that hashing the file took; not part of the transfer */
};

/* Of the i-th viewer; -1: of the seeder. */
static const char *state_name(char out[300], int i) {
    if (i < 0)
        snprintf(out, 300, "%s/seeder", bench_folder());
    else
        snprintf(out, 300, "%s/viewer%d", bench_folder(), i);
    return out;
}

static void seed(struct swarm *s) {
    char state[300];
    state_name(state, -1);
    const char *argv[20] = {bench_culvert(), "share", "--direct", "--json",
                            "--state",       state,   "--listen", "127.0.0.1:0",
                            "--network",     "bench", "--buffer", s->buffer};
    size_t n = 12;
    if (s->o->chunk_size != 1024) { /* what 'share' does without being told */
        argv[n++] = "--chunk-size";
        argv[n++] = s->chunk_size;
    }
    argv[n] = s->film;
    s->seeder = spawn_start("seeder", argv);
    s->shared = spawn_wait(s->seeder, "shared", 600);
    s->seeder_cpu = spawn_cpu(s->seeder);
}

static void copy_name(char *out, size_t cap, unsigned i) {
    snprintf(out, cap, "%s/copy%u", bench_folder(), i);
}

static void view(struct swarm *s, unsigned i) {
    char state[300], out[300];
    state_name(state, (int)i);
    copy_name(out, sizeof out, i);
    const char *argv[] = {bench_culvert(),
                          "play",
                          "--no-player",
                          "--direct",
                          "--json",
                          "--state",
                          state,
                          "--listen",
                          "127.0.0.1:0",
                          "--network",
                          "bench",
                          "--buffer",
                          s->buffer,
                          "--peer",
                          json_string_value(json_object_get(s->shared, "address")),
                          "--output",
                          out,
                          json_string_value(json_object_get(s->shared, "uri")),
                          NULL};
    s->viewers[i] = spawn_start("viewer", argv);
}

/* What arrived, at every viewer, is what was shared. */
static void compare(const struct swarm *s, char sum[65]) {
    char copy[300], got[65];
    bench_sha256(s->film, sum);
    for (unsigned i = 0; i < s->o->viewers; i++) {
        copy_name(copy, sizeof copy, i);
        bench_sha256(copy, got);
        if (strcmp(sum, got) != 0)
            bench_die("what arrived is not what was shared");
        remove(copy);
    }
}

/* All viewers at once; the clock runs from the first chunk that any of them has
 * to the moment when the last of them has everything. */
static json_t *carry(struct swarm *s) {
    const struct bench_options *o = s->o;
    bench_touch_memory(o->mib * o->viewers + 64);
    for (unsigned i = 0; i < o->viewers; i++)
        view(s, i);
    json_decref(spawn_wait(s->viewers[0], "first_chunk", 60));
    double first_at = bench_now();
    for (unsigned i = 0; i < o->viewers; i++)
        json_decref(spawn_wait(s->viewers[i], "complete", 3600));
    double took = bench_now() - first_at;
    double first_ms = (first_at - s->viewers[0]->started) * 1e3;
    double seeder_cpu = spawn_cpu(s->seeder) - s->seeder_cpu, cpu = seeder_cpu, rss = 0;
    double rss_seeder = spawn_rss(s->seeder);
    json_t *counts = json_object();
    char state[300];
    bench_count(counts, state_name(state, -1));
    for (unsigned i = 0; i < o->viewers; i++) {
        cpu += spawn_cpu(s->viewers[i]);
        double r = spawn_rss(s->viewers[i]);
        rss = r > rss ? r : rss;
        bench_count(counts, state_name(state, (int)i));
        spawn_stop(s->viewers[i]);
    }
    double mib = (double)o->mib * o->viewers, gib = mib / 1024;
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:i, s:i, s:o}", "mib_per_s", mib / took,
                     "cpu_s_per_gib", cpu / gib, "cpu_s_per_gib_seeder", seeder_cpu / gib,
                     "rss_mib_seeder", rss_seeder / 1048576, "rss_mib_viewer", rss / 1048576,
                     "first_chunk_ms", first_ms, "chunk_size", (int)o->chunk_size, "viewers",
                     (int)o->viewers, "counts", counts);
}

/* The same file once more, by libtorrent; adds what it did and the ratio of the rates. */
static void compete(const struct swarm *s, json_t *out) {
    char script[4200], folder[300], copy[320];
    int crash, crashes = 0;
    json_t *theirs;
    snprintf(script, sizeof script, "%slibtorrent_pair.py", spawn_folder());
    snprintf(folder, sizeof folder, "%s/theirs", bench_folder());
    snprintf(copy, sizeof copy, "%s/film", folder);
    const char *transport = strcmp(s->o->vs, "libtorrent-utp") == 0 ? "utp" : "tcp";
    const char *argv[] = {"/usr/bin/python3", script, s->film, folder, transport, NULL};
    bench_touch_memory(s->o->mib + 64);
    while (!(theirs = spawn_ask(argv, &crash)) && crash && crashes++ < CRASHES_MAX) {
        fprintf(stderr, "culvert-bench: libtorrent crashed: once more\n");
        remove(copy);
    }
    if (!theirs)
        bench_die("libtorrent did not carry the file (python3-libtorrent)");
    double ours = json_real_value(json_object_get(out, "mib_per_s"));
    double rate = json_real_value(json_object_get(theirs, "mib_per_s"));
    double cpu = json_real_value(json_object_get(theirs, "cpu_s_per_gib"));
    json_object_set_new(out, "libtorrent", theirs);
    json_object_set_new(out, "rate_ratio", json_real(ours / rate));
    json_object_set_new(out, "cpu_ratio",
                        json_real(json_real_value(json_object_get(out, "cpu_s_per_gib")) / cpu));
}

json_t *bench_ppsp(const struct bench_options *o) {
    struct swarm s = {.o = o};
    char sum[65];
    if (o->viewers < 1 || o->viewers > VIEWERS_MAX)
        bench_die("--viewers: 1 to %d", VIEWERS_MAX);
    if (o->vs && strcmp(o->vs, "libtorrent") != 0 && strcmp(o->vs, "libtorrent-utp") != 0)
        bench_die("--vs: libtorrent or libtorrent-utp, not '%s'", o->vs);
    snprintf(s.film, sizeof s.film, "%s/film", bench_folder());
    snprintf(s.buffer, sizeof s.buffer, "%uM", o->buffer_mib);
    snprintf(s.chunk_size, sizeof s.chunk_size, "%u", o->chunk_size);
    bench_make_file(s.film, o->mib);
    seed(&s);
    json_t *out = carry(&s);
    spawn_stop(s.seeder);
    compare(&s, sum);
    json_object_set_new(out, "sha256", json_string(sum));
    if (o->vs)
        compete(&s, out);
    json_decref(s.shared);
    return out;
}
