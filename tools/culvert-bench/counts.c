#include "culvert-bench/bench.h"

static void add(json_t *sums, const char *name, const json_t *more) {
    json_int_t was = json_integer_value(json_object_get(sums, name));
    json_object_set_new(sums, name, json_integer(was + json_integer_value(more)));
}

void bench_count(json_t *sums, const char *state) {
    const char *ask[] = {bench_culvert(), "status", "--json", "--state", state, NULL};
    static const char *const names[] = {"datagrams_in", "datagrams_out", "calls_in", "calls_out"};
    json_t *o = spawn_ask(ask, NULL), *row;
    const char *socket;
    add(sums, "cells_relayed", json_object_get(o, "cells_relayed"));
    json_object_foreach(json_object_get(o, "sockets"), socket, row) {
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            add(sums, names[i], json_object_get(row, names[i]));
        add(sums, "datagrams_lost", json_object_get(row, "dropped_in"));
        json_object_set(sums, "buffer_in", json_object_get(row, "buffer_in"));
        json_object_set(sums, "buffer_out", json_object_get(row, "buffer_out"));
    }
    json_decref(o);
}
