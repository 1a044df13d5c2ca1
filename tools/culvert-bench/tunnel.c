/* One circuit of three hops to a swarm that its last hop shares openly; one
 * process a hop. */
#include <stdio.h>

#include "culvert-bench/circuits.h"

static void set(json_t *o, const char *name, double value) {
    json_object_set_new(o, name, json_real(value));
}

json_t *bench_tunnel(const struct bench_options *o) {
    static struct world w;
    static struct circuits_figures built;
    char in[300];
    snprintf(in, sizeof in, "%s/film", bench_folder());
    bench_make_file(in, o->mib);
    world_begin(&w, o, in);
    json_t *shared = spawn_wait(w.p[w.count - 1], "shared", 120);
    for (size_t i = 1; i < w.count; i++)
        json_decref(spawn_wait(w.p[i], "relay_ready", 60));
    const char *uri = json_string_value(json_object_get(shared, "uri"));
    const char *relay = json_string_value(json_object_get(shared, "relay"));
    world_view(&w, o, in, (const char *[]){"--at", relay, uri, NULL}, 0);
    if (w.hops != 3)
        bench_die("the circuit has %d hops, not 3", w.hops);
    circuits_measure(&w, o, world_runs(o), uri, &built);
    json_decref(shared);
    json_t *ret = world_end(&w, o, 3);
    json_object_set_new(ret, "circuits", json_integer(built.count));
    json_object_set_new(ret, "circuit_hops", json_integer(o->hops));
    set(ret, "circuit_mb_per_s", built.mb_per_s);
    set(ret, "build_ms_median", built.build_ms[built.count / 2]);
    set(ret, "build_ms_max", built.build_ms[built.count - 1]);
    set(ret, "path_rtt_ms_median", built.rtt_ms[built.count / 2]);
    set(ret, "first_octet_ms_median", built.first_ms[built.count / 2]);
    set(ret, "first_octet_rtts_median", built.first_rtts[built.count / 2]);
    return ret;
}
