/* One seeder to one viewer, directly, over loopback. */
#include <stdio.h>
#include <string.h>

#include "culvert-bench/bench.h"

json_t *bench_ppsp(const struct bench_options *o) {
    char in[300], out[300], s1[300], s2[300], buffer[16], sum_in[65], sum_out[65];
    snprintf(in, sizeof in, "%s/film", bench_folder());
    snprintf(out, sizeof out, "%s/copy", bench_folder());
    snprintf(s1, sizeof s1, "%s/seeder", bench_folder());
    snprintf(s2, sizeof s2, "%s/viewer", bench_folder());
    snprintf(buffer, sizeof buffer, "%uM", o->buffer_mib);
    bench_make_file(in, o->mib);

    const char *share[] = {
        bench_culvert(), "share",     "--direct", "--json",   "--state", s1, "--listen",
        "127.0.0.1:0",   "--network", "bench",    "--buffer", buffer,    in, NULL};
    struct spawn *seeder = spawn_start("seeder", share);
    json_t *shared = spawn_wait(seeder, "shared", 120);
    double seeder_cpu = spawn_cpu(seeder); /* hashing the file is not the transfer */

    const char *get[] = {bench_culvert(),
                         "play",
                         "--no-player",
                         "--direct",
                         "--json",
                         "--state",
                         s2,
                         "--listen",
                         "127.0.0.1:0",
                         "--network",
                         "bench",
                         "--buffer",
                         buffer,
                         "--peer",
                         json_string_value(json_object_get(shared, "address")),
                         "--output",
                         out,
                         json_string_value(json_object_get(shared, "uri")),
                         NULL};
    struct spawn *viewer = spawn_start("viewer", get);
    json_t *first = spawn_wait(viewer, "first_chunk", 30);
    double first_at = bench_now();
    json_t *done = spawn_wait(viewer, "complete", 600);
    double took = bench_now() - first_at;
    double cpu = spawn_cpu(seeder) - seeder_cpu + spawn_cpu(viewer);
    double rss_seeder = spawn_rss(seeder), rss_viewer = spawn_rss(viewer);
    double first_ms = (first_at - viewer->started) * 1e3;
    spawn_stop(viewer);
    spawn_stop(seeder);
    bench_sha256(in, sum_in);
    bench_sha256(out, sum_out);
    if (strcmp(sum_in, sum_out) != 0)
        bench_die("what arrived is not what was shared");
    json_decref(first);
    json_decref(done);
    json_decref(shared);
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:i, s:s}", "mib_per_s", o->mib / took,
                     "cpu_s_per_gib", cpu * 1024 / o->mib, "rss_mib_seeder", rss_seeder / 1048576,
                     "rss_mib_viewer", rss_viewer / 1048576, "first_chunk_ms", first_ms,
                     "chunk_size", 1024, "sha256", sum_out);
}
