/* One circuit of three hops to a swarm that its last hop shares openly; one
 * process a hop. */
#include <stdio.h>

#include "culvert-bench/world.h"

json_t *bench_tunnel(const struct bench_options *o) {
    static struct world w;
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
    json_decref(shared);
    if (w.hops != 3)
        bench_die("the circuit has %d hops, not 3", w.hops);
    return world_end(&w, o, 3);
}
