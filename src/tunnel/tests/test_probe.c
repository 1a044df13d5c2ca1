/*
 * Capacity probes in a village whose relays hang on lines of known speed: what is
 * measured is what the line carries, whatever a relay says of itself and whatever a
 * clique reports about its own; and what probes cost.
 */
#include "support/suite.h"
#include "tunnel/directory.h"
#include "tunnel/tests/village.h"

CV_SUITE(tun_probe);

enum {
    RELAYS = 14,
    SLOW = 4,           /* 0..3: 2 Mbit/s, of which */
    CLIQUE = 3,         /* 0..2 report that all of them are as fast as can be */
    SLOW_KIB = 244,     /* 2 Mbit/s */
    FAST_KIB = 244 * 20 /* 40 Mbit/s */
};

static const struct sim_path near = {.delay = CV_MSEC(5), .jitter = CV_MSEC(1)};

static struct tun_relay *known(struct village *v, unsigned node, unsigned relay) {
    struct cv_now now = world_now(v->w, node);
    return tun_directory_find_now(tun_client_directory(v->w->node[node].t),
                                  v->w->node[relay].identity_secret.public_key, now.wall);
}

static void line(struct village *v, unsigned node, uint64_t rate) {
    sim_access(v->w->sim, node, &(struct sim_access){.rate_up = rate, .rate_down = rate});
}

static struct village *village(uint64_t seed, uint32_t measure_from) {
    struct village *v = village_new(&(struct sim_config){.seed = seed}, 0);
    v->measure_from = measure_from;
    sim_path_default(v->w->sim, &near);
    for (unsigned i = 0; i < RELAYS; i++) {
        village_relay(v);
        line(v, i, i < SLOW ? 2000000 : 40000000);
    }
    return v;
}

/* The clique says what it likes, again and again. */
static void live(struct village *v, unsigned minutes, bool lie) {
    for (unsigned m = 0; m < minutes; m++) {
        world_run(v->w, CV_SEC(60));
        for (unsigned by = 0; by < CLIQUE && lie; by++)
            for (unsigned of = 0; of < CLIQUE; of++)
                if (by != of && known(v, by, of))
                    known(v, by, of)->measured = TUN_CAPACITY_MAX;
    }
}

Test(tun_probe, lines_are_measured_and_cliques_are_not_believed) {
    struct village *v = village(1, 4);
    live(v, 35, true);
    unsigned measured = 0;
    for (unsigned by = CLIQUE; by < RELAYS; by++) {
        for (unsigned of = 0; of < RELAYS; of++) {
            const struct tun_relay *r = by == of ? NULL : known(v, by, of);
            if (!r || !r->measured)
                continue;
            measured++;
            if (of < SLOW)
                cr_expect_leq(r->measured, SLOW_KIB * 5 / 4, "%u of %u: %u", by, of, r->measured);
            else if (by >= SLOW) /* what a slow one sees is no faster than itself, and two
                                    probes may share a slow line between */
                cr_expect_geq(r->measured, SLOW_KIB / 2, "%u of %u: %u", by, of, r->measured);
        }
    }
    cr_expect_geq(measured, RELAYS * RELAYS / 3, "only %u pairs", measured);

    /* A client takes the median of what it hears over circuits. */
    unsigned client = village_client(v), heard = 0;
    live(v, 40, true);
    uint64_t slow = 0, fast = 0, slows = 0, fasts = 0;
    for (unsigned of = 0; of < RELAYS; of++) {
        const struct tun_relay *r = known(v, client, of);
        if (!r || !r->capacity)
            continue;
        heard++;
        if (of < SLOW) {
            cr_expect_leq(r->capacity, SLOW_KIB * 5 / 4, "relay %u: %u", of, r->capacity);
            slow += r->capacity;
            slows++;
        } else {
            fast += r->capacity;
            fasts++;
        }
    }
    cr_expect_geq(heard, RELAYS / 2, "only %u", heard);
    cr_assert(slows > 0 && fasts > 0);
    cr_expect_geq(fast / fasts, 3 * (slow / slows), "fast %lu, slow %lu", fast / fasts,
                  slow / slows);
    village_free(v);
}

/* A probe is 60 cells each way, once in one to two minutes; below the number of
 * relays from which capacities count there is none at all. */
Test(tun_probe, it_is_cheap_and_only_where_it_is_of_use) {
    for (unsigned on = 0; on < 2; on++) {
        struct village *v = village(2, on ? 4 : 0);
        world_run(v->w, CV_SEC(60));
        uint64_t cells[RELAYS];
        for (unsigned i = 0; i < RELAYS; i++)
            cells[i] = tun_counters(v->w->node[i].t)->own_cells_in;
        enum { MINUTES = 10 };
        live(v, MINUTES, false);
        unsigned measured = 0;
        for (unsigned i = 0; i < RELAYS; i++) {
            uint64_t got = tun_counters(v->w->node[i].t)->own_cells_in - cells[i];
            /* answers of three hops and sixty PONGs a probe, some of them twice */
            cr_expect_leq(got, on ? (MINUTES + 1) * 75u : 0, "relay %u: %lu cells", i, got);
            for (unsigned of = 0; of < RELAYS; of++)
                measured += of != i && known(v, i, of) && known(v, i, of)->measured;
            cr_expect_leq(tun_counters(v->w->node[i].t)->circuits, 1);
        }
        cr_expect_eq(measured > 0, on);
        village_free(v);
    }
}

static uint32_t measured_by(struct village *v, unsigned by, const uint8_t identity[CV_KEY]) {
    for (unsigned of = 0; of < RELAYS; of++)
        if (memcmp(v->w->node[of].identity_secret.public_key, identity, CV_KEY) == 0)
            return known(v, by, of) ? known(v, by, of)->measured : 0;
    return 0;
}

/* Who is looked at stands in the middle, where it passes on what it cannot read. */
Test(tun_probe, whom_it_measures_only_passes_cells_on) {
    enum { BY = 7, PROBES = 3 };
    struct village *v = village(3, 4);
    struct tunnel *t = v->w->node[BY].t;
    world_run(v->w, CV_SEC(30));
    unsigned seen = 0;
    for (unsigned step = 0; step < 100000 && seen < PROBES; step++) {
        cv_handle circuit;
        uint8_t hop[3][CV_KEY];
        uint32_t before[3];
        world_run(v->w, CV_MSEC(10));
        if (tun_circuit_list(t, TUN_USER_CLIENT, &circuit, 1) == 0)
            continue;
        for (unsigned i = 0; i < 3; i++) {
            memcpy(hop[i], tun_circuit_hop(t, circuit, i)->identity, CV_KEY);
            before[i] = measured_by(v, BY, hop[i]);
        }
        while (tun_circuit_hop(t, circuit, 0))
            world_run(v->w, CV_MSEC(10));
        cr_expect_eq(measured_by(v, BY, hop[0]), before[0], "the first hop");
        cr_expect_eq(measured_by(v, BY, hop[2]), before[2], "the last hop");
        seen += measured_by(v, BY, hop[1]) != before[1];
    }
    cr_expect_eq(seen, PROBES);
    village_free(v);
}
