/*
 * Memory that is missing when chunks are given up (taken.c). Allocations are replaced at
 * link time: sets of chunks grow by reallocarray() alone.
 */
#include "support/suite.h"

#include "ppsp/engine.h"
#include "raw.h"

CV_SUITE(ppsp_taken);

void *__real_reallocarray(void *was, size_t n, size_t size);
void *__wrap_reallocarray(void *was, size_t n, size_t size);

static bool no_memory;
static unsigned refused;

void *__wrap_reallocarray(void *was, size_t n, size_t size) {
    if (no_memory && ++refused)
        return NULL;
    return __real_reallocarray(was, n, size);
}

enum { CHUNKS = 100, LOST = 20, ALL = 1000 };

/* More pieces than the set has room for. */
static bool lost(uint64_t chunk) {
    return chunk > 20 && chunk < 60 && chunk % 2;
}

struct bench {
    struct rig *rig;
    struct raw *raw;
    struct rig_store full; /* what the raw peer has */
};

/* A viewer, which called and asked the raw peer for the first chunks. */
static struct bench begin(void) {
    struct bench b = {.rig = rig_new(1, CHUNKS * 1024, 1024, CV_SHA256)};
    uint8_t root[CV_SHA_MAX];
    rig_add(b.rig, false);
    b.raw = raw_new(b.rig, 0);
    rig_store_init(&b.full, 1024, 32, CHUNKS * 1024);
    rig_store_fill(&b.full, CV_SHA256, b.rig->content, b.rig->octets_content, root);
    cr_assert(raw_be_called(b.raw));
    cr_assert_eq(raw_send_hex(b.raw, "03 00000000 00000063"), CV_ERR_OK);
    raw_listen(b.raw);
    no_memory = false;
    refused = 0;
    return b;
}

static void end(struct bench *b) {
    rig_store_done(&b->full);
    free(b->raw);
    rig_free(b->rig);
}

static void give(struct bench *b, uint64_t chunk, bool peaks) {
    struct cv_wr d = raw_datagram(b->raw);
    raw_put_hashes(b->raw, &d, &b->full, chunk, peaks);
    raw_put_data(b->raw, &d, &b->full, chunk, 1000);
    cr_assert_eq(raw_send(b->raw, &d), CV_ERR_OK);
}

/* Gives what was asked for since raw_clear(), in that order, the first `requests` of them. */
static void serve(struct bench *b, bool all, unsigned requests) {
    struct raw_message m;
    for (unsigned i = 0; i < requests && raw_find(b->raw, PPSP_MSG_REQUEST, i, &m); i++)
        for (uint64_t c = m.range.first; c <= m.range.last; c++) {
            if (all || !lost(c))
                give(b, c, true);
            b->rig->now += 10;
            raw_listen(b->raw);
        }
}

static uint64_t have(const struct bench *b) {
    struct ppsp_stats st = {0};
    cr_assert_eq(ppsp_stats(b->rig->engine[0], b->rig->swarm[0], &st), CV_ERR_OK);
    return st.chunks_have;
}

/* What is asked for is given, until everything is there; false: something never is. */
static bool to_the_end(struct bench *b) {
    for (unsigned i = 0; i < 200 && have(b) < CHUNKS; i++) {
        raw_clear(b->raw);
        raw_wait(b->raw, CV_MSEC(100));
        serve(b, true, ALL);
    }
    return have(b) == CHUNKS;
}

/* Chunks are overtaken, and their places lie among those of others: for want of memory
 * they stay in the set. Somebody has to be asked for them all the same. */
Test(ppsp_taken, what_could_not_be_given_up_is_asked_for_again) {
    struct bench b = begin();
    struct ppsp_swarm *s = ppsp_swarm_find(b.rig->engine[0], b.rig->swarm[0]);
    serve(&b, false, ALL);
    cr_assert_eq(have(&b), CHUNKS - LOST);
    no_memory = true;
    raw_clear(b.raw);
    raw_wait(b.raw, CV_SEC(2));
    cr_assert_gt(refused, 0, "it was to fail");
    cr_assert_neq(s->untake_at, 0);
    no_memory = false;
    cr_expect(to_the_end(&b), "%lu of %d", (unsigned long)have(&b), CHUNKS);
    cr_expect_eq(s->untake_at, 0);
    end(&b);
}

/* The same where the disk is full: what was verified and not written is forgotten. */
Test(ppsp_taken, what_could_not_be_forgotten_is_asked_for_again) {
    struct bench b = begin();
    struct ppsp_swarm *s = ppsp_swarm_find(b.rig->engine[0], b.rig->swarm[0]);
    const struct ppsp_channel *c = TAILQ_FIRST(&s->channels);
    serve(&b, true, 2);
    uint64_t before = have(&b), asked = c->asked.chunks;
    cr_assert_gt(asked, 2 * LOST);
    b.rig->store[0].write_err = CV_ERR_AGAIN; /* so all of it waits .. */
    raw_clear(b.raw);
    for (uint64_t k = 0; k < CHUNKS; k++)
        if (k % 2 && ppsp_flight_has(&c->asked, k))
            give(&b, k, false);
    raw_listen(b.raw);
    cr_assert_eq(have(&b), before);
    cr_assert_gt(s->segment_count, 10);
    no_memory = true;
    b.rig->store[0].write_err = CV_ERR_FULL; /* .. and goes at once */
    raw_wait(b.raw, CV_SEC(1));
    cr_assert_eq(s->segment_count, 0);
    cr_assert_gt(refused, 0, "it was to fail");
    b.rig->store[0].write_err = CV_ERR_OK;
    no_memory = false;
    ppsp_swarm_ready(b.rig->engine[0], rig_now(b.rig), b.rig->swarm[0]);
    cr_expect(to_the_end(&b), "%lu of %d", (unsigned long)have(&b), CHUNKS);
    end(&b);
}

/* What is had, waits for the store or is asked for of somebody stays: nobody is asked twice. */
Test(ppsp_taken, only_what_nobody_is_asked_for_goes) {
    struct bench b = begin();
    struct ppsp_swarm *s = ppsp_swarm_find(b.rig->engine[0], b.rig->swarm[0]);
    const struct ppsp_channel *c = TAILQ_FIRST(&s->channels);
    struct raw_message m;
    cr_assert(raw_find(b.raw, PPSP_MSG_REQUEST, 0, &m));
    b.rig->now += 100;
    give(&b, m.range.first, true);
    raw_listen(b.raw); /* had, and more asked for */
    b.rig->store[0].write_err = CV_ERR_AGAIN;
    give(&b, m.range.first + 1, true);
    raw_listen(b.raw); /* waits */
    cr_assert_eq(s->segment_count, 1);
    cr_assert_gt(c->asked.chunks, 2);
    uint64_t taken = s->taken.count, free = 0;
    cr_assert_eq(taken, 2 + c->asked.chunks);
    while (ppsp_chunkset_has(&s->taken, free) || !ppsp_chunkset_has(&s->taken, free + 1))
        cr_assert_lt(++free, CHUNKS); /* beside one that is asked for */
    cr_assert_eq(ppsp_chunkset_add(&s->taken, free, free), CV_ERR_OK);
    s->untake_at = b.rig->now;
    ppsp_swarm_untake_again(s, b.rig->now);
    cr_expect_eq(s->taken.count, taken);
    cr_expect_not(ppsp_chunkset_has(&s->taken, free));
    cr_expect(ppsp_chunkset_has(&s->taken, m.range.first));
    cr_expect(ppsp_chunkset_has(&s->taken, m.range.first + 1));
    for (uint64_t k = 0; k < CHUNKS; k++)
        if (ppsp_flight_has(&c->asked, k))
            cr_expect(ppsp_chunkset_has(&s->taken, k), "%lu", (unsigned long)k);
    end(&b);
}
