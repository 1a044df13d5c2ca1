/*
 * Links that wait for a first cell, and who has a place for one when all of these are taken
 * (decision 0098). Whoever proved his address gets one: the oldest of the network that has most
 * of them; of his own, when that has as many. So those who never finish have what their networks'
 * shares are, and who comes from another has all of TUN_HALF_OPEN_TIME. Hundreds of them come in
 * a second: networks lie in a heap by how many they have, and nothing is searched.
 */
#include "tunnel/core.h"

void tun_half_count(struct tunnel *t, struct tun_link *l, bool there) {
    t->halves += there ? 1 : -UINT32_C(1);
    struct tun_netgroup *g = l->netgroup;
    if (!g)
        return;
    if (there)
        TAILQ_INSERT_TAIL(&g->halves, l, place_entry);
    else
        TAILQ_REMOVE(&g->halves, l, place_entry);
    g->half_count += there ? 1 : -UINT32_C(1);
    /* without memory it gives none, and they time out */
    (void)cv_heap_set(&t->half_groups, &g->fullness,
                      g->half_count ? CV_USEC_NEVER - g->half_count : CV_USEC_NEVER);
}

static const struct tun_netgroup *who_gives(const struct tunnel *t, const struct cv_addr *from) {
    struct cv_timer *first = cv_heap_first(&t->half_groups);
    if (!first)
        return NULL;
    const struct tun_netgroup *his = tun_netgroup_of(t, from);
    const struct tun_netgroup *g = CV_CONTAINER_OF(first, struct tun_netgroup, fullness);
    uint32_t has = his ? his->half_count : 0;
    if (g->half_count > has + 1)
        return g;
    return has ? his : NULL;
}

bool tun_half_make_room(struct tunnel *t, const struct cv_now *now, const struct cv_addr *from) {
    if (t->halves < TUN_HALF_OPEN_MAX)
        return true;
    const struct tun_netgroup *g = who_gives(t, from);
    if (!g)
        return false;
    t->count.halves_displaced++;
    tun_link_fail(t, now, TAILQ_FIRST(&g->halves), CV_ERR_LIMIT);
    return true;
}
