/*
 * Who has a place when all of them are taken. Links that others opened and circuits that they
 * made are counted by networks, as the scheduler counts them (struct tun_netgroup): whoever
 * comes from one that has fewer than the one that has most takes a place of that one's. Else a
 * single household, which pays for an octet now and then, would keep everybody out (decision
 * 0098).
 */
#include "base/trace.h"
#include "tunnel/core.h"

/* A relay brings the circuits of many; so do those of a /16 without standing. */
static uint32_t weighed(const struct tun_netgroup *g) {
    return g->key.class == TUN_SCHED_RELAYS ? g->hops / TUN_PLACES_RELAY : g->hops;
}

static uint32_t links_of(const struct tun_netgroup *g) {
    return g->guests;
}

static const struct tun_netgroup *fullest(const struct tunnel *t,
                                          uint32_t (*count)(const struct tun_netgroup *)) {
    const struct tun_netgroup *found = NULL, *g;
    void *cursor = NULL;
    while ((g = cv_map_next(t->netgroups, &cursor, NULL)) != NULL)
        if (!found || count(g) > count(found))
            found = g;
    return found;
}

bool tun_places_are_taken(const struct tunnel *t) {
    uint32_t own = t->links.max / TUN_PLACES_OWN_PART;
    return t->guests >= t->links.max - (own ? own : 1) || t->links.count >= t->links.max;
}

bool tun_places_take_link(struct tunnel *t, const struct cv_now *now, const struct cv_addr *from) {
    const struct tun_netgroup *g = fullest(t, links_of), *his = tun_netgroup_of(t, from);
    if (!g || links_of(g) <= (his ? links_of(his) : 0) + 1)
        return false;
    struct tun_link *l, *found = NULL;
    uint32_t cursor = 0;
    while ((l = tun_handles_next(&t->links, &cursor)) != NULL) {
        if (l->ours || l->netgroup != g)
            continue;
        if (!found || l->circuits.count < found->circuits.count ||
            (l->circuits.count == found->circuits.count && l->heard_at < found->heard_at))
            found = l;
    }
    t->count.links_displaced++;
    tun_link_fail(t, now, found, CV_ERR_LIMIT);
    return true;
}

bool tun_places_take_hop(struct tunnel *t, const struct cv_now *now, const struct tun_link *to) {
    const struct tun_netgroup *g = fullest(t, weighed);
    if (!g || !to->netgroup || weighed(g) <= weighed(to->netgroup) + 1)
        return false;
    /* walking all circuits is not for every CREATE of a flood */
    if (t->displaced_at && now->mono < t->displaced_at + CV_MSEC(20))
        return false;
    t->displaced_at = now->mono ? now->mono : 1;
    struct tun_hop *h, *found = NULL;
    uint32_t cursor = 0;
    while ((h = tun_handles_next(&t->hops, &cursor)) != NULL)
        if (h->prev.link->netgroup == g && (!found || h->heard_at < found->heard_at))
            found = h;
    if (!found || now->mono < found->heard_at + TUN_PLACE_SILENT)
        return false; /* all of them are in use */
    CV_TRACE(TUNNEL, circuit_displaced, now->mono, "hop=%llx", (unsigned long long)found->handle);
    t->count.hops_displaced++;
    tun_hop_destroy(t, found, NULL);
    return true;
}
