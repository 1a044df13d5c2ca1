/* What is signed, the table of munros against a naive one, and the crown against
 * the tree that static content of the same chunks has. */
#include "ppsp/munro.h"

#include "rig.h"
#include "support/hex.h"
#include "support/suite.h"

CV_SUITE(ppsp_munro, .init = cv_crypto_init);

Test(ppsp_munro, R6_1_2_signed_are_specification_time_and_hash) {
    uint8_t got[64], want[64], hash[20];
    memset(hash, 0xab, sizeof hash);
    struct ppsp_range r = {32, 63};
    struct ppsp_chunkspec narrow = {.method = PPSP_ADDRESSING_CHUNK32};
    struct ppsp_chunkspec wide = {.method = PPSP_ADDRESSING_CHUNK64};
    size_t n = ppsp_munro_text(&narrow, &r, ppsp_ntp(0), hash, 20, got, sizeof got);
    cr_assert_eq(n, 8 + 8 + 20);
    cv_test_unhex("000000200000003f83aa7e8000000000", want, 16);
    cr_expect_arr_eq(got, want, 16);
    cr_expect_arr_eq(got + 16, hash, 20);
    cr_expect_eq(ppsp_munro_text(&wide, &r, 1, hash, 20, got, sizeof got), 44);
    cr_expect_eq(ppsp_munro_text(&wide, &r, 1, hash, 20, got, 43), 0);
}

Test(ppsp_munro, R6_1_2_9_old_is_more_than_30_s_also_when_ntp_turns_over) {
    static const struct {
        int64_t a, b; /* Unix seconds */
        bool stale;
    } rows[] = {
        {1000, 1000, false},
        {1000, 1030, false},
        {1000, 1031, true},
        {1031, 1000, false},
        {2085978495, 2085978497, false}, /* 2036-02-07 06:28:15 and 17 */
        {2085978490, 2085978530, true},
        {2085978530, 2085978490, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(ppsp_ntp_stale(ppsp_ntp(rows[i].a), ppsp_ntp(rows[i].b)), rows[i].stale, "%zu",
                     i);
}

/* Random puts; the table knows exactly the newest of each place. */
Test(ppsp_munro, table_against_a_list) {
    enum { N = 4000, SPAN = 400 };
    static uint64_t when[SPAN]; /* ntp of the munro that was put; 0: none */
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 7);
    struct cv_rng rng = cv_rng_seeded(&dice);
    struct ppsp_munros m;
    ppsp_munros_init(&m, 32, 64);
    cr_expect_null(ppsp_munros_newest(&m));
    cr_expect_null(ppsp_munros_of(&m, 0));
    cr_assert_eq(ppsp_munros_begin(&m, 4, 256), CV_ERR_OK);
    cr_assert_eq(m.cap, 66);
    uint64_t newest = 0;
    for (uint64_t step = 1; step < N; step++) {
        uint64_t at = step * SPAN / N + cv_rng_below(&rng, 8); /* wanders onwards */
        at = at > 6 ? at - cv_rng_below(&rng, 6) : at;
        at = at < SPAN ? at : SPAN - 1;
        uint8_t hash[32], sig[64];
        memset(hash, (int)(step & 0xff), sizeof hash);
        memset(sig, (int)(step >> 4 & 0xff), sizeof sig);
        bool old = at + m.cap < newest + 1;
        cr_expect_eq(ppsp_munros_put(&m, ppsp_bin_at(2, at), step, step, hash, sig), !old);
        if (!old)
            when[at] = step;
        newest = at > newest ? at : newest;
        for (uint64_t i = 0; i < SPAN; i++) {
            const struct ppsp_munro *e = ppsp_munros_of(&m, 4 * i + 3);
            bool overtaken = false; /* its place was taken by a later one */
            for (uint64_t k = i + m.cap; k < SPAN; k += m.cap)
                overtaken |= when[k] != 0;
            bool want = when[i] && !overtaken;
            cr_assert_eq(e != NULL, want, "%d", (int)i);
            if (e)
                cr_assert(e->ntp == when[i] && e->hash[31] == (uint8_t)when[i] &&
                          e->sig[63] == (uint8_t)(when[i] >> 4));
        }
        cr_assert_eq(ppsp_munros_newest(&m)->bin, ppsp_bin_at(2, newest));
    }
    cr_expect_null(ppsp_munros_get(&m, ppsp_bin_at(1, newest)));
    cr_expect_null(ppsp_munros_get(&m, PPSP_BIN_NONE));
    ppsp_munros_done(&m);
}

/* A broadcast of n whole munros has the root of the static content. */
Test(ppsp_munro, crown_is_the_root_of_the_static_content) {
    static const uint32_t widths[] = {2, 4, 32};
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (uint64_t n = 1; n <= 40; n++) {
            uint64_t octets = n * widths[w] * 16;
            uint8_t *content = malloc(octets), root[CV_SHA_MAX], got[CV_SHA_MAX];
            struct rig_store st;
            for (uint64_t i = 0; i < octets; i++)
                content[i] = (uint8_t)(i * 131 >> 3);
            rig_store_init(&st, 16, 32, octets);
            rig_store_fill(&st, CV_SHA256, content, octets, root);
            struct ppsp_crown c;
            ppsp_crown_init(&c, CV_SHA256, widths[w]);
            cr_expect_not(ppsp_crown_root(&c, got));
            for (uint64_t i = 0; i < n; i++) {
                ppsp_bin bin = ppsp_bin_at(c.level, i);
                bool top = bin == ppsp_bin_root(n * widths[w]);
                ppsp_crown_add(&c, top ? root : st.tree + bin * 32);
            }
            cr_assert(ppsp_crown_root(&c, got));
            cr_assert_arr_eq(got, root, 32, "%u %d", widths[w], (int)n);
            rig_store_done(&st);
            free(content);
        }
    cv_crypto_thread_done();
}
