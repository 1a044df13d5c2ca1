/* A hidden seeder to a viewer: three hops each, one process a hop; the viewer's last is the
 * meeting point. The real programs build them, and no option of theirs makes them longer. */
#include <stdio.h>

#include "culvert-bench/world.h"
#include "tunnel/path.h"

json_t *bench_hidden(const struct bench_options *o) {
    static struct world w;
    char in[300];
    snprintf(in, sizeof in, "%s/film", bench_folder());
    bench_make_file(in, o->mib);
    world_begin(&w, o, NULL);
    for (size_t i = 1; i < w.count; i++)
        json_decref(spawn_wait(w.p[i], "relay_ready", 60));
    struct spawn *seeder = world_start(&w, "share", "seeder", (const char *[]){in, NULL});
    json_t *shared = spawn_wait(seeder, "shared", 120);
    const char *uri = json_string_value(json_object_get(shared, "uri"));
    /* A seeder follows four introductions at once, then one a second in a hurry;
     * a viewer makes two. It is the way that is measured here, not that limit. */
    world_view(&w, o, in, (const char *[]){uri, NULL}, 3);
    json_decref(shared);
    if (w.hops != (int)tun_path_length(TUN_PURPOSE_MEET))
        bench_die("the viewer's circuit has %d hops", w.hops);
    return world_end(&w, o, w.hops + (int)tun_path_length(TUN_PURPOSE_JOIN) - 1);
}
