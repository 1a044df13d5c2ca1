/*
 * A client among relays (tests/village.h): what it does when its own rules would
 * be broken, and how a proof against a relay reaches everybody.
 */
#include "support/suite.h"
#include "tunnel/directory.h"
#include "tunnel/tests/village.h"

CV_SUITE(tun_client);

static const struct sim_path near = {.delay = CV_MSEC(1)};

static struct village *village(uint64_t seed, unsigned relays) {
    struct village *v = village_new(&(struct sim_config){.seed = seed}, relays);
    sim_path_default(v->w->sim, &near);
    world_run(v->w, CV_SEC(3));
    return v;
}

/* Guards as no choice of ours ever leaves them: the second layer is the other first
 * hop. Whatever is asked for, nothing is built, and somebody can see it. */
Test(tun_client, a_path_that_breaks_a_rule_is_not_built) {
    struct village *v = village(1, 8);
    unsigned client = village_client(v);
    world_run(v->w, CV_SEC(5));
    struct tunnel *t = v->w->node[client].t;
    struct tun_guards *g = (struct tun_guards *)(uintptr_t)tun_client_guards(t);
    struct cv_now now = world_now(v->w, client);
    cv_handle circuit;
    cr_assert_eq(tun_circuit_open(t, &now, TUN_PURPOSE_GENERAL, NULL, &circuit), CV_ERR_OK);
    cr_expect_eq(tun_counters(t)->paths_refused, 0);

    for (unsigned i = 0; i < TUN_SECOND_MAX; i++)
        if (g->second[i].set)
            memcpy(g->second[i].identity, g->first[1].identity, CV_KEY);
    static const enum tun_purpose purposes[] = {TUN_PURPOSE_GENERAL, TUN_PURPOSE_MEET,
                                                TUN_PURPOSE_WAIT, TUN_PURPOSE_PUBLISH};
    uint32_t before = tun_counters(t)->circuits;
    for (size_t i = 0; i < sizeof purposes / sizeof *purposes; i++) {
        uint64_t refused = tun_counters(t)->paths_refused;
        cr_expect_eq(tun_circuit_open(t, &now, purposes[i], NULL, &circuit), CV_ERR_UNREACHABLE,
                     "purpose %u", purposes[i]);
        cr_expect_eq(tun_counters(t)->paths_refused, refused + 1, "purpose %u", purposes[i]);
    }
    cr_expect_eq(tun_counters(t)->circuits, before);
    village_free(v);
}
