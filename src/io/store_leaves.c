#include "io/store_leaves.h"

#include <stdlib.h>
#include <string.h>

#include "io/limits.h"

/* Pages that were never touched cost nothing. */
static bool begin(struct io_leaves *l, uint64_t groups, size_t group_octets) {
    uint64_t most = IO_LEAVES_OCTETS / group_octets, slots = groups < most ? groups : most;
    uint64_t *names = calloc(slots, sizeof *names);
    uint8_t *hashes = calloc(slots, group_octets);
    if (!names || !hashes) {
        free(names);
        free(hashes);
        return false;
    }
    *l = (struct io_leaves){
        .names = names, .hashes = hashes, .slots = slots, .group_octets = group_octets};
    return true;
}

void io_leaves_put(struct io_leaves *l, uint64_t groups, size_t group_octets, uint64_t group,
                   const uint8_t *leaves) {
    if (!l->names && !begin(l, groups, group_octets))
        return;
    uint64_t i = group % l->slots;
    l->names[i] = group + 1;
    memcpy(l->hashes + i * l->group_octets, leaves, l->group_octets);
}

const uint8_t *io_leaves_get(const struct io_leaves *l, uint64_t group) {
    uint64_t i = l->names ? group % l->slots : 0;
    return l->names && l->names[i] == group + 1 ? l->hashes + i * l->group_octets : NULL;
}

void io_leaves_drop(struct io_leaves *l) {
    free(l->names);
    free(l->hashes);
    *l = (struct io_leaves){0};
}
