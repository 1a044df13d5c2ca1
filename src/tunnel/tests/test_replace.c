/*
 * A viewer's way that lags is replaced (replace.c), in a village of twelve relays. What its
 * ways bring is the test's word, every TUN_LAG_LOOK.
 */
#include <string.h>

#include "support/suite.h"
#include "tunnel/hiddenstate.h"
#include "tunnel/tests/village.h"

CV_SUITE(tun_replace);

static const struct sim_path near = {.delay = CV_MSEC(1)};

enum { KI = 1024, SWARMS = 2 };

struct film {
    struct village *v;
    unsigned seeder[SWARMS], viewer;
    cv_handle view;
    uint64_t octets[TUN_MEETINGS_MAX]; /* by meeting; of the circuit */
    cv_handle circuit[TUN_MEETINGS_MAX];
    unsigned least, most; /* ways up */
    cv_handle fast;       /* this way brings `fast_ki` whatever its age */
    unsigned fast_ki;
};

static struct tun_hidden *hidden(const struct film *f) {
    return village_hidden(f->v, f->viewer, f->view);
}

static struct film film_among(unsigned relays, uint64_t seed, unsigned seeders, unsigned mbit) {
    struct film f = {.v = village_new(&(struct sim_config){.seed = seed}, relays)};
    sim_path_default(f.v->w->sim, &near);
    world_run(f.v->w, CV_SEC(3));
    for (unsigned i = 0; i < seeders; i++) {
        f.seeder[i] = village_client(f.v);
        village_share(f.v, f.seeder[i], "film", false);
        world_run(f.v->w, CV_SEC(4));
    }
    f.viewer = village_client(f.v);
    f.view = village_view(f.v, f.viewer, "film");
    if (mbit)
        cr_assert_eq(tun_hidden_pace(f.v->w->node[f.viewer].t, f.view, mbit), CV_ERR_OK);
    cr_assert(village_meet(f.v, f.viewer, f.view, 2, CV_SEC(30)), "seed %lu", seed);
    world_run(f.v->w, CV_SEC(2));
    f.least = f.most = village_up(f.v, f.viewer, f.view);
    cr_assert_eq(f.least, 2, "seed %lu", seed);
    return f;
}

static struct film film(uint64_t seed, unsigned seeders, unsigned mbit) {
    return film_among(12, seed, seeders, mbit);
}

static struct tun_hidden_info info(const struct film *f) {
    struct tun_hidden_info i;
    cr_assert_eq(tun_hidden_info(f->v->w->node[f->viewer].t, f->view, &i), CV_ERR_OK);
    return i;
}

/* Ways by age, the oldest first: this one has so many older than itself. */
static unsigned age(const struct tun_viewer *v, const struct tun_meet *m) {
    unsigned older = 0;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++)
        older += v->meet[i].state == TUN_MEET_UP && &v->meet[i] != m &&
                 (v->meet[i].begun_at < m->begun_at ||
                  (v->meet[i].begun_at == m->begun_at && &v->meet[i] < m));
    return older;
}

/* One look: the oldest way brought `ki[0]` KiB, the next `ki[1]`, .. */
static void look(struct film *f, const unsigned ki[3], bool asked) {
    struct tun_viewer *v = hidden(f)->viewer;
    struct tun_brought ways[TUN_MEETINGS_MAX];
    struct cv_now now;
    unsigned count = 0;
    for (unsigned s = 0; s < 5; s++) {
        world_run(f->v->w, TUN_LAG_LOOK / 5);
        unsigned up = village_up(f->v, f->viewer, f->view);
        f->least = up < f->least ? up : f->least;
        f->most = up > f->most ? up : f->most;
    }
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
        const struct tun_meet *m = &v->meet[i];
        if (m->state != TUN_MEET_UP)
            continue;
        if (f->circuit[i] != m->rp.circuit)
            f->octets[i] = 0;
        f->circuit[i] = m->rp.circuit;
        unsigned of_age = ki[age(v, m) < 2 ? age(v, m) : 2];
        f->octets[i] += (uint64_t)(m->rp.circuit == f->fast ? f->fast_ki : of_age) * KI;
        ways[count++] = (struct tun_brought){.peer = cv_endpoint_circuit(m->rp.circuit, 0),
                                             .octets = f->octets[i],
                                             .asked_since = asked ? 0 : CV_USEC_NEVER};
    }
    now = world_now(f->v->w, f->viewer);
    tun_hidden_brought(f->v->w->node[f->viewer].t, &now, f->view, ways, count);
    sim_touch(f->v->w->sim, f->viewer);
}

static cv_handle oldest(const struct film *f) {
    const struct tun_viewer *v = hidden(f)->viewer;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++)
        if (v->meet[i].state == TUN_MEET_UP && age(v, &v->meet[i]) == 0)
            return v->meet[i].rp.circuit;
    return 0;
}

static bool is_up(const struct film *f, cv_handle circuit) {
    const struct tun_viewer *v = hidden(f)->viewer;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++)
        if (v->meet[i].state == TUN_MEET_UP && v->meet[i].rp.circuit == circuit)
            return true;
    return false;
}

/* Ways up to the seeder of the oldest one, or to others. */
static unsigned to_seeder(const struct film *f, const uint8_t service[CV_KEY], bool others) {
    const struct tun_viewer *v = hidden(f)->viewer;
    unsigned n = 0;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++)
        n += v->meet[i].state == TUN_MEET_UP &&
             (memcmp(v->meet[i].contact.service, service, CV_KEY) != 0) == others;
    return n;
}

static void first_seeder(const struct film *f, uint8_t ret[CV_KEY]) {
    const struct tun_viewer *v = hidden(f)->viewer;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++)
        if (v->meet[i].state == TUN_MEET_UP)
            memcpy(ret, v->meet[i].contact.service, CV_KEY);
}

/* Two ways to one seeder, and then another comes: there is a third way, to that one. */
static void second_seeder(struct film *f) {
    f->seeder[1] = village_client(f->v);
    village_share(f->v, f->seeder[1], "film", false);
    for (unsigned i = 0; i < 60 && village_up(f->v, f->viewer, f->view) < 3; i++)
        world_run(f->v->w, CV_SEC(5));
    cr_assert_eq(village_up(f->v, f->viewer, f->view), 3);
}

Test(tun_replace, a_way_that_lags_ends_when_another_is_there_and_brings_more) {
    static const unsigned ki[3] = {50, 500, 500};
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct film f = film(seed, 1, 0);
        cv_handle slow = oldest(&f);
        for (unsigned i = 0; i < TUN_LAG_LOOKS; i++)
            look(&f, ki, true);
        cr_expect_eq(f.most, 2, "seed %lu: nobody is met before it lags", seed);
        look(&f, ki, true);
        for (unsigned i = 0; i < 8 && is_up(&f, slow); i++)
            look(&f, ki, true);
        cr_expect(!is_up(&f, slow), "seed %lu", seed);
        cr_expect_eq(info(&f).replaced, 1, "seed %lu", seed);
        cr_expect_eq(f.least, 2, "seed %lu: the other comes first", seed);
        cr_expect_eq(f.most, 3, "seed %lu", seed);
        village_free(f.v);
    }
}

/* The two share what a line carries, or a seeder gives: a third takes its part of that. */
Test(tun_replace, where_all_ways_together_bring_no_more_the_new_one_ends) {
    static const unsigned two[3] = {50, 500, 500}, three[3] = {50, 250, 250};
    struct film f = film(1, 1, 0);
    cv_handle slow = oldest(&f);
    for (unsigned i = 0; i < 12 * 4; i++) /* four minutes */
        look(&f, village_up(f.v, f.viewer, f.view) > 2 ? three : two, true);
    cr_expect(is_up(&f, slow));
    cr_expect_eq(info(&f).replaced, 0);
    cr_expect_eq(f.least, 2);
    cr_expect_eq(f.most, 3, "it was tried");
    cr_expect_eq(hidden(&f)->viewer->replace.wait, TUN_REPLACE_LAST, "once");
    village_free(f.v);
}

/* A third way always brings something: that is no reason to keep it for a better one. */
Test(tun_replace, a_new_way_that_is_slower_still_ends_no_way) {
    static const unsigned ki[3] = {240, 500, 190};
    struct film f = film(1, 1, 0);
    cv_handle slow = oldest(&f);
    for (unsigned i = 0; i < 16; i++)
        look(&f, ki, true);
    cr_expect(is_up(&f, slow));
    cr_expect_eq(info(&f).replaced, 0);
    cr_expect_eq(f.most, 3, "it was tried");
    village_free(f.v);
}

/* One way over a fast relay makes every other lag: none of them is at fault, whoever is drawn. */
Test(tun_replace, beside_a_fast_relay_ordinary_ones_are_not_drawn_again_and_again) {
    static const unsigned ki[3] = {400, 400, 400};
    struct film f = film(1, 1, 0);
    f.fast = oldest(&f);
    f.fast_ki = 1000;
    for (unsigned i = 0; i < 12 * 3; i++) /* three minutes */
        look(&f, ki, true);
    cr_expect(is_up(&f, f.fast));
    cr_expect_eq(info(&f).replaced, 0, "%u", info(&f).replaced);
    cr_expect_eq(f.most, 3, "it was tried");
    village_free(f.v);
}

static const struct {
    const char *name;
    unsigned seeders, mbit;
    unsigned ki[3];
    bool asked;
} stays[] = {
    {"both alike", 1, 0, {400, 500, 500}, true},
    {"asked for less than they take", 1, 0, {50, 500, 500}, false},
    {"next to nothing", 1, 0, {5, 60, 60}, true},
    {"a slow seeder and a fast one", 2, 0, {50, 500, 500}, true},
    {"a constant rate", 1, 4, {50, 500, 500}, true},
};

Test(tun_replace, what_is_no_relays_fault_ends_no_way) {
    for (size_t row = 0; row < sizeof stays / sizeof *stays; row++) {
        struct film f = film(2, stays[row].seeders, stays[row].mbit);
        for (unsigned i = 0; i < 12; i++)
            look(&f, stays[row].ki, stays[row].asked);
        cr_expect_eq(info(&f).replaced, 0, "%s", stays[row].name);
        cr_expect_eq(f.least, 2, "%s: %u ways", stays[row].name, f.least);
        cr_expect_eq(f.most, 2, "%s: %u ways", stays[row].name, f.most);
        village_free(f.v);
    }
}

/* Whoever can slow down what he likes makes a viewer draw again; how often is bounded. */
Test(tun_replace, who_slows_one_way_after_the_other_does_it_ever_more_rarely) {
    static const unsigned ki[3] = {50, 500, 500};
    struct film f = film(3, 1, 0);
    cv_usec at[16] = {0};
    unsigned times = 0;
    for (unsigned i = 0; i < 12 * 9; i++) { /* nine minutes */
        uint32_t before = info(&f).replaced;
        look(&f, ki, true);
        if (info(&f).replaced != before && times < 16)
            at[times++] = world_now(f.v->w, f.viewer).mono;
    }
    cr_expect_eq(times, 4, "%u", times);
    for (unsigned i = 1; i < times; i++)
        cr_expect_geq(at[i] - at[i - 1], CV_SEC(20), "%u", i);
    cr_expect_geq(at[3] - at[0], CV_SEC(20 + 80 + 320) - CV_SEC(30));
    cr_expect_eq(f.least, 2);
    village_free(f.v);
}

/* Nor is it other for who slows one way and keeps the other silent for a moment: then a third
 * is there already when one lags. */
Test(tun_replace, who_slows_one_way_and_silences_the_other_does_no_better) {
    static const unsigned ki[3] = {50, 500, 500};
    struct film f = film(1, 1, 0);
    struct tun_viewer *v = hidden(&f)->viewer;
    for (unsigned i = 0; i < 12 * 5; i++) { /* five minutes */
        cv_usec now = world_now(f.v->w, f.viewer).mono;
        for (unsigned k = 0; k < TUN_MEETINGS_MAX && village_up(f.v, f.viewer, f.view) == 2; k++)
            if (v->meet[k].state == TUN_MEET_UP) {
                v->meet[k].quiet_at = now - CV_MSEC(600);
                v->meet[k].look_at = now + CV_MSEC(400);
                tun_hidden_by(hidden(&f), now);
                sim_touch(f.v->w->sim, f.viewer);
                break;
            }
        look(&f, ki, true);
    }
    cr_expect_eq(f.most, 3);
    cr_expect_geq(info(&f).replaced, 1);
    cr_expect_leq(info(&f).replaced, 3, "%u: 20, 80, 320 s", info(&f).replaced);
    village_free(f.v);
}

/* What a second seeder gives is no reason to have one way fewer to the first. */
Test(tun_replace, a_way_to_another_seeder_is_not_one_too_many) {
    static const unsigned ki[3] = {200, 500, 500};
    struct film f = film(1, 1, 0);
    uint8_t service[CV_KEY];
    first_seeder(&f, service);
    second_seeder(&f);
    cv_handle slow = oldest(&f);
    for (unsigned i = 0; i < 12; i++)
        look(&f, ki, true);
    cr_expect(is_up(&f, slow));
    cr_expect_eq(info(&f).replaced, 0);
    cr_expect_eq(to_seeder(&f, service, false), 2);
    village_free(f.v);
}

/* A second seeder that can be met again while one way lags is met beside it, and takes nobody's
 * place. */
Test(tun_replace, another_seeder_takes_no_ways_place) {
    static const unsigned two[3] = {200, 500, 500}, three[3] = {200, 500, 150};
    struct film f = film(1, 1, 0);
    uint8_t service[CV_KEY];
    first_seeder(&f, service);
    second_seeder(&f);
    struct tun_viewer *v = hidden(&f)->viewer;
    for (unsigned i = 0; i < v->knowns; i++)
        if (memcmp(v->known[i].contact.service, service, CV_KEY) != 0)
            v->known[i].not_before = CV_USEC_NEVER;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++)
        if (v->meet[i].state == TUN_MEET_UP &&
            memcmp(v->meet[i].contact.service, service, CV_KEY) != 0)
            tun_meet_let_go(hidden(&f), &v->meet[i]);
    for (unsigned i = 0; i < 12 && hidden(&f)->viewer->replace.begun_at == 0; i++)
        look(&f, two, true);
    cr_assert_neq(v->replace.begun_at, 0);
    cr_assert_eq(to_seeder(&f, service, false), 2);
    for (unsigned i = 0; i < v->knowns; i++)
        v->known[i].not_before = 0;
    unsigned first = 0;
    for (unsigned i = 0; i < 8; i++) {
        look(&f, three, true);
        unsigned n = to_seeder(&f, service, false);
        first = n > first ? n : first;
    }
    cr_expect_eq(first, 3, "%u: another way to the same seeder", first);
    cr_expect_eq(to_seeder(&f, service, true), 1, "the other seeder is met, too");
    village_free(f.v);
}

/* Where there are two second relays a way that lags has none that others should not, but its
 * rendezvous point, and that is avoided even with no way beside it. */
Test(tun_replace, the_point_of_one_that_lags_is_avoided_by_the_next) {
    for (uint64_t seed = 6; seed <= 8; seed += 2) { /* these drew it again */
        struct film f = film_among(10, seed, 1, 0);
        struct tun_viewer *v = hidden(&f)->viewer;
        struct tun_meet *old = NULL;
        uint8_t point[CV_KEY] = {0}, other[CV_KEY] = {0};
        for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
            if (v->meet[i].state != TUN_MEET_UP)
                continue;
            if (old)
                tun_meet_let_go(hidden(&f), &v->meet[i]);
            else
                old = &v->meet[i];
        }
        cr_assert(old);
        old->lags = true;
        tun_road_last(&old->rp, point);
        tun_hidden_by(hidden(&f), world_now(f.v->w, f.viewer).mono);
        sim_touch(f.v->w->sim, f.viewer);
        world_run(f.v->w, CV_SEC(10));
        cr_expect_eq(village_up(f.v, f.viewer, f.view), 3, "seed %lu", seed);
        for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
            tun_road_last(&v->meet[i].rp, other);
            cr_expect(&v->meet[i] == old || v->meet[i].state != TUN_MEET_UP ||
                          memcmp(point, other, CV_KEY) != 0,
                      "seed %lu: meeting %u", seed, i);
        }
        village_free(f.v);
    }
}
