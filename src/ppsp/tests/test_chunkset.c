/* Chunk sets against an array of flags, with random operations. */
#include "support/suite.h"

#include <string.h>

#include "ppsp/chunkset.h"
#include "ppsp/limits.h"
#include "support/model.h"

CV_SUITE(ppsp_chunkset);

enum { N = 5000 };

struct model {
    bool in[N + 2];
};

static void expect_same(const struct ppsp_chunkset *s, const struct model *m, uint64_t limit,
                        uint64_t at, uint64_t seed) {
    uint64_t next = at, gap = at, count = 0;
    while (next < limit && !m->in[next])
        next++;
    while (gap < limit && m->in[gap])
        gap++;
    for (uint64_t i = 0; i < limit; i++)
        count += m->in[i];
    cr_assert_eq(s->count, count, "seed=%lu", (unsigned long)seed);
    cr_assert_eq(ppsp_chunkset_has(s, at), m->in[at]);
    cr_assert_eq(ppsp_chunkset_next(s, at), next < limit ? next : PPSP_CHUNK_NONE,
                 "seed=%lu next(%lu)", (unsigned long)seed, (unsigned long)at);
    cr_assert_eq(ppsp_chunkset_gap(s, at), gap, "seed=%lu gap(%lu)", (unsigned long)seed,
                 (unsigned long)at);
    if (!m->in[at])
        return;
    uint64_t first = at;
    while (first > 0 && m->in[first - 1])
        first--;
    struct cv_interval it = ppsp_chunkset_around(s, at);
    cr_assert_eq(it.first, first, "seed=%lu around(%lu)", (unsigned long)seed, (unsigned long)at);
    cr_assert_eq(it.last, gap - 1);
    cr_assert(ppsp_chunkset_covers(s, first, gap - 1));
    cr_assert(!ppsp_chunkset_covers(s, first, gap));
}

static void run(uint64_t seed) {
    static struct model m;
    struct cv_rng rng = model_rng(&seed);
    uint64_t was = seed, limit = 1 + cv_rng_below(&rng, N);
    struct ppsp_chunkset s;
    memset(&m, 0, sizeof m);
    ppsp_chunkset_init(&s);
    ppsp_chunkset_bound(&s, limit);
    for (int i = 0; i < 400; i++) {
        uint64_t first = cv_rng_below(&rng, limit);
        uint64_t len = cv_rng_below(&rng, 8) ? 1 + cv_rng_below(&rng, 6) : cv_rng_below(&rng, N);
        uint64_t last = first + len;
        bool add = cv_rng_below(&rng, 3) != 0;
        cr_assert_eq(add ? ppsp_chunkset_add(&s, first, last)
                         : ppsp_chunkset_remove(&s, first, last),
                     CV_ERR_OK);
        for (uint64_t k = first; k <= last && k < limit; k++)
            m.in[k] = add;
        expect_same(&s, &m, limit, cv_rng_below(&rng, limit), was);
        expect_same(&s, &m, limit, first, was);
    }
    ppsp_chunkset_done(&s);
}

Test(ppsp_chunkset, agrees_with_flags) {
    for (uint64_t seed = 0; seed < 150; seed++)
        run(seed);
}

Test(ppsp_chunkset, loads_bitmaps) {
    for (uint64_t seed = 0; seed < 60; seed++) {
        static struct model m;
        uint64_t words[N / 64 + 2] = {0}, state = seed;
        struct cv_rng rng = model_rng(&state);
        uint64_t limit = 1 + cv_rng_below(&rng, N);
        cv_rng_fill(&rng, words, sizeof words); /* also beyond the limit: to be ignored */
        if (seed % 3 == 0)
            memset(words, 0xff, sizeof words);
        for (uint64_t i = 0; i < limit; i++)
            m.in[i] = words[i >> 6] >> (i & 63) & 1;
        struct ppsp_chunkset s;
        ppsp_chunkset_init(&s);
        ppsp_chunkset_bound(&s, limit);
        cr_assert_eq(ppsp_chunkset_load(&s, words), CV_ERR_OK);
        for (uint64_t i = 0; i < 30; i++)
            expect_same(&s, &m, limit, cv_rng_below(&rng, limit), seed);
        cr_expect(seed % 3 != 0 || s.words == NULL, "a complete set costs nothing");
        ppsp_chunkset_done(&s);
    }
}

Test(ppsp_chunkset, without_a_limit_few_intervals_fit) {
    struct ppsp_chunkset s;
    ppsp_chunkset_init(&s);
    for (uint64_t i = 0; i < PPSP_SPARSE_MAX; i++)
        cr_assert_eq(ppsp_chunkset_add(&s, 10 * i, 10 * i), CV_ERR_OK);
    cr_expect_eq(ppsp_chunkset_add(&s, 9999, 9999), CV_ERR_LIMIT);
    cr_expect_eq(s.count, PPSP_SPARSE_MAX);
    cr_expect_eq(ppsp_chunkset_add(&s, 0, UINT64_MAX - 1), CV_ERR_OK, "one interval again");
    ppsp_chunkset_bound(&s, 70);
    cr_expect_eq(s.count, 70);
    cr_expect_eq(ppsp_chunkset_gap(&s, 0), 70);
    ppsp_chunkset_done(&s);
}

/* A peer that says it has every other chunk of a film of 246 GB. */
Test(ppsp_chunkset, a_peer_cannot_make_it_grow) {
    struct ppsp_chunkset s;
    uint64_t n = 240234375, known = 0;
    ppsp_chunkset_init_peer(&s);
    ppsp_chunkset_bound(&s, n);
    for (uint64_t i = 0; i < 3 * PPSP_PEER_INTERVALS; i++) {
        enum cv_err err = ppsp_chunkset_add(&s, 1000 * i, 1000 * i + 1);
        cr_assert_eq(err, known < 2 * PPSP_PEER_INTERVALS ? CV_ERR_OK : CV_ERR_LIMIT);
        known += err ? 0 : 2;
    }
    cr_expect_null(s.words);
    cr_expect_eq(s.count, 2 * PPSP_PEER_INTERVALS);
    cr_expect_leq(s.sparse.cap * sizeof *s.sparse.v, PPSP_PEER_SET_OCTETS);
    cr_expect_eq(ppsp_chunkset_next(&s, 777002), 778000);
    cr_expect_eq(ppsp_chunkset_next(&s, 778001), 778001);
    cr_expect_eq(ppsp_chunkset_gap(&s, 778001), 778002);
    cr_expect_eq(ppsp_chunkset_next(&s, UINT64_C(1000) * PPSP_PEER_INTERVALS), PPSP_CHUNK_NONE);
    cr_expect_eq(ppsp_chunkset_add(&s, 0, n - 1), CV_ERR_OK, "a seeder after all");
    cr_expect_eq(s.count, n);
    ppsp_chunkset_done(&s);
}

Test(ppsp_chunkset, a_million_chunks) {
    struct ppsp_chunkset s;
    uint64_t n = 1000000;
    ppsp_chunkset_init(&s);
    ppsp_chunkset_bound(&s, n);
    for (uint64_t i = 0; i < n; i += 2)
        cr_assert_eq(ppsp_chunkset_add(&s, i, i), CV_ERR_OK);
    cr_expect_eq(s.count, n / 2);
    cr_expect_eq(ppsp_chunkset_next(&s, 999999), PPSP_CHUNK_NONE);
    cr_assert_eq(ppsp_chunkset_add(&s, 0, n - 1), CV_ERR_OK);
    struct cv_interval it = ppsp_chunkset_around(&s, 777777);
    cr_expect_eq(it.first, 0);
    cr_expect_eq(it.last, n - 1);
    ppsp_chunkset_done(&s);
}
