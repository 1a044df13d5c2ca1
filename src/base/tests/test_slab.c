/* The slab against a list of what is out, and what it asked of the system. */
#include "base/slab.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/model.h"
#include "support/suite.h"

CV_SUITE(slab);

enum { SIZE = 60000, OUT = 120, BLOCK = 2 << 20 }; /* 34 in a block */

struct out {
    uint8_t *v[OUT];
    uint8_t mark[OUT];
    unsigned count;
};

static bool is_all(const uint8_t *p, uint8_t octet) {
    for (unsigned i = 0; i < SIZE; i++)
        if (p[i] != octet)
            return false;
    return true;
}

static void take(struct cv_slab *s, struct out *o, uint8_t mark) {
    uint8_t *p = cv_slab_take(s);
    cr_assert_not_null(p);
    cr_assert_eq((uintptr_t)p % 64, 0);
    cr_assert_eq((uintptr_t)p / BLOCK, ((uintptr_t)p + SIZE - 1) / BLOCK, "in two blocks");
    cr_assert(is_all(p, 0), "not zeroed");
    memset(p, mark, SIZE);
    o->v[o->count] = p;
    o->mark[o->count++] = mark;
}

static void give(struct cv_slab *s, struct out *o, unsigned i) {
    cr_assert(is_all(o->v[i], o->mark[i]), "another's octets");
    cv_slab_give(s, o->v[i]);
    o->v[i] = o->v[--o->count];
    o->mark[i] = o->mark[o->count];
}

Test(slab, every_object_is_zeroed_its_own_and_in_one_block) {
    for (uint64_t seed = 0; seed < 8; seed++) {
        uint64_t state = seed;
        struct cv_rng rng = model_rng(&state);
        struct out out = {.count = 0};
        struct cv_slab s;
        cv_slab_init(&s, SIZE);
        for (unsigned step = 0; step < 1000; step++) {
            bool more = out.count < OUT && cv_rng_below(&rng, 100) < (step < 500 ? 60 : 40);
            if (more)
                take(&s, &out, (uint8_t)(1 + step % 250));
            else if (out.count)
                give(&s, &out, (unsigned)cv_rng_below(&rng, out.count));
            cr_assert_eq(s.used, out.count);
        }
        while (out.count)
            give(&s, &out, 0);
        cv_slab_done(&s);
    }
}

/* One stays, so that a node with a circuit now and then does not ask each time. */
Test(slab, empty_blocks_go_back_but_for_one) {
    struct out out = {.count = 0};
    struct cv_slab s;
    cv_slab_init(&s, SIZE);
    cr_assert_eq(s.blocks, 0);
    while (out.count < 100)
        take(&s, &out, 1);
    cr_expect_eq(s.blocks, 3);
    while (out.count > 1)
        give(&s, &out, out.count - 1);
    cr_expect_leq(s.blocks, 2);
    give(&s, &out, 0);
    cr_expect_eq(s.blocks, 1);
    take(&s, &out, 2);
    cr_expect_eq(s.blocks, 1);
    give(&s, &out, 0);
    cv_slab_give(&s, NULL);
    cv_slab_done(&s);
    cr_expect_eq(s.blocks, 0);
}

/* What the kernel says of the memory there: was it asked for large pages? */
static bool is_advised(const void *at) {
    char line[512];
    bool inside = false, advised = false;
    FILE *f = fopen("/proc/self/smaps", "r");
    cr_assert_not_null(f);
    while (fgets(line, sizeof line, f)) {
        char *end;
        uintptr_t from = (uintptr_t)strtoumax(line, &end, 16);
        if (end > line && *end == '-')
            inside = (uintptr_t)at >= from && (uintptr_t)at < strtoumax(end + 1, NULL, 16);
        else if (inside && strncmp(line, "VmFlags:", 8) == 0)
            advised = strstr(line, " hg") != NULL;
    }
    fclose(f);
    return advised;
}

/* A relay with few circuits has not one page of 2 MiB for them. */
Test(slab, large_pages_are_asked_for_from_the_second_block_on) {
    if (access("/sys/kernel/mm/transparent_hugepage/enabled", R_OK) != 0)
        cr_skip_test("a kernel without large pages");
    struct out out = {.count = 0};
    struct cv_slab s;
    cv_slab_init(&s, SIZE);
    take(&s, &out, 1);
    cr_expect_not(is_advised(out.v[0]));
    while (s.blocks < 3)
        take(&s, &out, 1);
    cr_expect_not(is_advised(out.v[0]));
    cr_expect(is_advised(out.v[out.count - 1]));
    cr_expect(is_advised(out.v[out.count - 2]));
    while (out.count)
        give(&s, &out, 0);
    cv_slab_done(&s);
}
