/* Introductions that wait, beside a naive model. */
#include "tunnel/intake.h"

#include "crypto/rng_seeded.h"
#include "support/suite.h"

CV_SUITE(tun_intake);

/* Marked, so that it is known again. */
static struct tun_waiting waiting(unsigned mark, unsigned effort, cv_usec until) {
    struct tun_waiting w = {.effort = effort, .until = until};
    w.where.cookie[0] = (uint8_t)mark;
    w.where.cookie[1] = (uint8_t)(mark >> 8);
    return w;
}

static unsigned mark_of(const struct tun_waiting *w) {
    return w->where.cookie[0] | (unsigned)w->where.cookie[1] << 8;
}

static bool put(struct tun_intake *in, unsigned mark, unsigned effort, cv_usec until) {
    struct tun_waiting w = waiting(mark, effort, until);
    return tun_intake_put(in, &w);
}

Test(tun_intake, who_worked_most_is_first_and_among_equals_who_came_first) {
    static struct tun_intake in;
    static const unsigned efforts[] = {3, 12, 0, 12, 20, 3}, order[] = {4, 1, 3, 0, 5, 2};
    struct tun_waiting w;
    for (unsigned i = 0; i < 6; i++)
        cr_expect_not(put(&in, i, efforts[i], 9));
    for (unsigned i = 0; i < 6; i++) {
        cr_assert(tun_intake_take(&in, &w));
        cr_expect_eq(mark_of(&w), order[i], "%u: %u", i, mark_of(&w));
    }
    cr_expect_not(tun_intake_take(&in, &w));
}

Test(tun_intake, when_it_is_full_the_last_gives_way_to_more_work_alone) {
    static struct tun_intake in;
    for (unsigned i = 0; i < TUN_INTRO_QUEUE; i++) {
        cr_assert(tun_intake_has_room(&in, 0));
        cr_expect_not(put(&in, i, 5 + i % 2, 9));
    }
    cr_expect_not(tun_intake_has_room(&in, 4));
    cr_expect_not(tun_intake_has_room(&in, 5));
    cr_assert(tun_intake_has_room(&in, 6));
    cr_expect(put(&in, 999, 6, 9));
    cr_expect_eq(in.count, TUN_INTRO_QUEUE);
    bool seen[TUN_INTRO_QUEUE] = {false};
    struct tun_waiting w;
    unsigned before = UINT32_MAX;
    while (tun_intake_take(&in, &w)) {
        cr_expect_leq(w.effort, before);
        before = w.effort;
        if (mark_of(&w) < TUN_INTRO_QUEUE)
            seen[mark_of(&w)] = true;
    }
    for (unsigned i = 0; i < TUN_INTRO_QUEUE; i++) /* the last of those with least */
        cr_expect_eq(seen[i], i != TUN_INTRO_QUEUE - 2, "%u", i);
}

Test(tun_intake, nobody_waits_for_longer_than_it_should) {
    static struct tun_intake in;
    cr_expect_eq(tun_intake_due(&in), CV_USEC_NEVER);
    put(&in, 1, 0, 30);
    put(&in, 2, 9, 20);
    put(&in, 3, 5, 10);
    cr_expect_eq(tun_intake_due(&in), 10);
    cr_expect_eq(tun_intake_expire(&in, 9), 0);
    cr_expect_eq(tun_intake_expire(&in, 20), 2);
    cr_expect_eq(tun_intake_due(&in), 30);
    struct tun_waiting w;
    cr_assert(tun_intake_take(&in, &w));
    cr_expect_eq(mark_of(&w), 1);
}

Test(tun_intake, nothing_is_answered_twice) {
    static struct tun_intake in;
    uint8_t flight[TUN_E2E_FLIGHT1] = {1}, other[TUN_E2E_FLIGHT1] = {2};
    uint8_t cookie[TUN_RENDEZVOUS_COOKIE] = {3}, another[TUN_RENDEZVOUS_COOKIE] = {4};
    cr_expect_not(tun_intake_knows(&in, flight));
    cr_expect_not(tun_intake_replayed(&in, flight, cookie));
    cr_expect(tun_intake_knows(&in, flight));
    cr_expect(tun_intake_replayed(&in, flight, another), "the same flight");
    cr_expect(tun_intake_replayed(&in, other, cookie), "the same cookie");
    cr_expect_not(tun_intake_knows(&in, other));
    cr_expect_not(tun_intake_replayed(&in, other, another));
    /* the newest are remembered, and so many of them */
    for (unsigned i = 0; i < TUN_INTRO_REPLAYS - 1; i++) {
        uint8_t f[TUN_E2E_FLIGHT1] = {9, (uint8_t)i, (uint8_t)(i >> 8)}, c[20] = {8};
        memcpy(c + 1, f + 1, 2);
        cr_assert_not(tun_intake_replayed(&in, f, c));
        cr_assert(tun_intake_knows(&in, other));
    }
    cr_expect_not(tun_intake_knows(&in, flight));
    uint8_t last[TUN_E2E_FLIGHT1] = {7}, c[20] = {7};
    cr_expect_not(tun_intake_replayed(&in, last, c));
    cr_expect_not(tun_intake_knows(&in, other));
}

/* ---- random operations ---- */

struct model {
    struct {
        unsigned mark, effort;
        cv_usec until;
    } row[TUN_INTRO_QUEUE + 1]; /* in the order in which they came */
    unsigned n;
};

static void model_del(struct model *m, unsigned at) {
    memmove(&m->row[at], &m->row[at + 1], (--m->n - at) * sizeof *m->row);
}

/* First, or last: the newest of those with least. */
static unsigned model_find(const struct model *m, bool last) {
    unsigned at = 0;
    for (unsigned i = 1; i < m->n; i++)
        if (last ? m->row[i].effort <= m->row[at].effort : m->row[i].effort > m->row[at].effort)
            at = i;
    return at;
}

static void step(struct tun_intake *in, struct model *m, const struct cv_rng *rng, unsigned mark) {
    unsigned effort = (unsigned)cv_rng_below(rng, 6);
    cv_usec now = mark;
    struct tun_waiting w;
    switch (cv_rng_below(rng, 8)) {
    case 0:
        cr_assert_eq(tun_intake_take(in, &w), m->n > 0);
        if (m->n == 0)
            break;
        cr_assert_eq(mark_of(&w), m->row[model_find(m, false)].mark);
        model_del(m, model_find(m, false));
        break;
    case 1: {
        unsigned gone = 0;
        for (unsigned i = m->n; i-- > 0;)
            if (m->row[i].until <= now)
                model_del(m, i), gone++;
        cr_assert_eq(tun_intake_expire(in, now), gone);
        break;
    }
    default: {
        bool full = m->n == TUN_INTRO_QUEUE;
        bool room = !full || m->row[model_find(m, true)].effort < effort;
        cr_assert_eq(tun_intake_has_room(in, effort), room);
        if (!room)
            break;
        cv_usec until = now + cv_rng_below(rng, 200);
        cr_assert_eq(put(in, mark, effort, until), full);
        if (full)
            model_del(m, model_find(m, true));
        m->row[m->n].mark = mark;
        m->row[m->n].effort = effort;
        m->row[m->n++].until = until;
    }
    }
    cr_assert_eq(in->count, m->n);
}

Test(tun_intake, it_does_what_the_model_does) {
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct cv_rng_seeded dice;
        cv_rng_seeded_init(&dice, seed);
        const struct cv_rng rng = cv_rng_seeded(&dice);
        static struct tun_intake in;
        struct model m = {.n = 0};
        for (unsigned i = 0; i < 3000; i++)
            step(&in, &m, &rng, i);
        tun_intake_done(&in);
        cr_assert_eq(in.count, 0);
    }
}
