/* Readers: windows with deadlines, seeking, sharing of fetches, limits. */
#include "support/suite.h"

#include "ppsp/engine.h"
#include "raw.h"

CV_SUITE(ppsp_want);

static struct rig *pair(uint64_t chunks, uint64_t upload_limit) {
    struct rig *r = rig_new(1, chunks * 1024, 1024, CV_SHA256);
    r->config.length = chunks * 1024;
    r->config.upload_limit = upload_limit;
    rig_add(r, true);
    r->config.upload_limit = 0;
    r->config.fetch_all = false;
    rig_add(r, false);
    rig_connect(r, 1, 0, true);
    return r;
}

static bool has(const struct rig *r, uint64_t first, uint64_t last) {
    return ppsp_has(r->engine[1], r->swarm[1], first, last);
}

static ppsp_want_id want(struct rig *r, uint64_t first_chunk, uint64_t last_chunk, cv_usec due,
                         uint64_t rate) {
    ppsp_want_id id = 0;
    cr_assert_eq(ppsp_want(r->engine[1], rig_now(r), r->swarm[1], first_chunk * 1024,
                           last_chunk * 1024 + 1023, due, rate, &id),
                 CV_ERR_OK);
    cr_assert_neq(id, 0);
    return id;
}

static uint64_t count(const struct rig *r) {
    struct ppsp_stats st;
    cr_assert_eq(ppsp_stats(r->engine[1], r->swarm[1], &st), CV_ERR_OK);
    return st.chunks_have;
}

Test(ppsp_want, fetches_what_is_wanted_and_nothing_else) {
    struct rig *r = pair(500, 0);
    rig_run(r, CV_SEC(2));
    cr_expect_eq(count(r), 0, "nobody wants anything");
    want(r, 100, 163, r->now, 0);
    rig_run(r, CV_SEC(2));
    cr_expect(has(r, 100, 163));
    cr_expect_eq(count(r), 64);
    rig_free(r);
}

Test(ppsp_want, wants_one_octet) {
    struct rig *r = pair(500, 0);
    ppsp_want_id id;
    cr_assert_eq(
        ppsp_want(r->engine[1], rig_now(r), r->swarm[1], 1024 * 77 + 5, 1024 * 77 + 5, 0, 0, &id),
        CV_ERR_OK);
    rig_run(r, CV_SEC(2));
    cr_expect(has(r, 77, 77));
    cr_expect_eq(count(r), 1);
    rig_free(r);
}

Test(ppsp_want, in_order_and_by_deadline) {
    struct rig *r = pair(1000, 100 * 1024);
    rig_run(r, CV_MSEC(100));
    want(r, 500, 999, r->now + CV_SEC(60), 50 * 1024);
    want(r, 0, 499, r->now, 50 * 1024);
    rig_run(r, CV_SEC(2));
    uint64_t got = ppsp_first_missing(r->engine[1], r->swarm[1], 0);
    cr_expect_geq(got, 130, "the earlier deadlines first: %lu", (unsigned long)got);
    cr_expect_lt(got, 260, "the seeder's limit holds");
    cr_expect_leq(count(r) - got, 64, "in order but for what is under way");
    rig_free(r);
}

Test(ppsp_want, a_seek_comes_before_what_was_under_way) {
    struct rig *r = pair(4000, 400 * 1024);
    rig_run(r, CV_MSEC(100));
    ppsp_want_id first = want(r, 0, 3999, r->now, 0);
    rig_run(r, CV_SEC(2));
    uint64_t before = count(r);
    cr_expect_gt(before, 400);
    ppsp_unwant(r->engine[1], rig_now(r), r->swarm[1], first);
    want(r, 3000, 3099, r->now, 0);
    rig_run(r, CV_MSEC(400));
    cr_expect(has(r, 3000, 3099), "0.25 s at the seeder's limit: nothing old stands before it");
    cr_expect_lt(ppsp_counters(r->engine[0])->drop_cancel_unknown, 5);
    rig_free(r);
}

enum { LOST = 2 };

/* Its first copy. */
static bool lose_one(struct rig *r, unsigned from, unsigned to, uint8_t *data, size_t len) {
    enum { DATA = 1 + 8 + 8 + 1024 };
    unsigned *lost = r->tap_ctx;
    (void)from, (void)to;
    if (*lost || len < 4 + DATA || data[len - DATA] != PPSP_MSG_DATA ||
        data[len - DATA + 4] != LOST) /* the last octet of its number */
        return true;
    ++*lost;
    return false;
}

/* It is overtaken by the next one, not only by what was asked for after the sixteen. */
Test(ppsp_want, a_chunk_lost_inside_a_request_is_missed_before_the_rest_came) {
    struct rig *r = pair(200, 20 * 1024);
    unsigned lost = 0;
    r->tap = lose_one;
    r->tap_ctx = &lost;
    want(r, 0, 199, r->now, 0);
    for (unsigned i = 0; i < 100 && !has(r, LOST + 1, LOST + 1); i++)
        rig_run(r, CV_MSEC(10));
    cr_assert_eq(lost, 1);
    cr_expect_lt(count(r), PPSP_GROUP_CHUNKS / 2);
    rig_run(r, CV_MSEC(50));
    cr_expect_eq(ppsp_counters(r->engine[1])->requests_expired, 1, "%lu",
                 (unsigned long)ppsp_counters(r->engine[1])->requests_expired);
    rig_run(r, CV_SEC(5));
    cr_expect(has(r, 0, PPSP_GROUP_CHUNKS - 1), "and asked for again");
    cr_expect_eq(ppsp_counters(r->engine[1])->drop_data_duplicate, 0);
    const struct ppsp_swarm *s = ppsp_swarm_find(r->engine[1], r->swarm[1]);
    cr_expect_eq(TAILQ_FIRST(&s->channels)->disorder, 0, "its second copy says nothing");
    rig_free(r);
}

enum { HELD = 32 };

struct detour {
    unsigned seen, count;
    struct {
        cv_usec at;
        size_t len;
        uint8_t data[1400];
    } held[HELD];
};

/* Every other chunk. */
static bool send_round(struct rig *r, unsigned from, unsigned to, uint8_t *data, size_t len) {
    struct detour *d = r->tap_ctx;
    (void)to;
    if (from != 0 || len < 1024 || ++d->seen % 2)
        return true;
    cr_assert(d->count < HELD && len <= sizeof d->held[0].data);
    d->held[d->count].at = r->now + CV_MSEC(18);
    d->held[d->count].len = len;
    memcpy(d->held[d->count++].data, data, len);
    return false;
}

/* Two ways of which one takes half as long again: after a few that came after all nothing is
 * given up, and asked for again, which the other end would take for losses. */
Test(ppsp_want, on_a_way_that_reorders_chunks_are_waited_for_longer) {
    struct rig *r = pair(400, 200 * 1024);
    struct detour d = {0};
    r->delay = CV_MSEC(20);
    r->tap = send_round;
    r->tap_ctx = &d;
    want(r, 0, 399, r->now, 0);
    for (unsigned i = 0; i < 4000 && count(r) < 400; i++) {
        rig_run(r, CV_MSEC(1));
        r->tap = NULL;
        while (d.count && d.held[0].at <= r->now) {
            rig_send(r, 0, 1, d.held[0].data, d.held[0].len);
            memmove(&d.held[0], &d.held[1], --d.count * sizeof d.held[0]);
        }
        r->tap = send_round;
    }
    cr_expect_eq(count(r), 400);
    uint64_t again = ppsp_counters(r->engine[1])->requests_expired;
    cr_expect_leq(again, 400 / 8, "%lu", (unsigned long)again);
    rig_free(r);
}

/* Ten chunks a second from each: sixty-four would be the next three seconds of both. */
Test(ppsp_want, beside_others_no_more_is_asked_than_was_proven) {
    struct rig *r = rig_new(1, 2000 * 1024, 1024, CV_SHA256);
    r->config.length = 2000 * 1024;
    r->config.upload_limit = 10 * 1024;
    rig_add(r, true);
    r->config.fetch_all = false;
    rig_add(r, false);
    rig_add(r, true);
    rig_connect(r, 1, 0, true);
    rig_connect(r, 1, 2, true);
    rig_run(r, CV_MSEC(100));
    struct ppsp_swarm *s = ppsp_swarm_find(r->engine[1], r->swarm[1]);
    const struct ppsp_channel *c;
    cr_assert_eq(s->open_count, 2);
    want(r, 0, 1999, r->now, 0);
    uint64_t most = 0;
    for (unsigned i = 0; i < 50; i++) {
        rig_run(r, CV_MSEC(10));
        TAILQ_FOREACH(c, &s->channels, of_swarm) {
            most = c->asked.chunks > most ? c->asked.chunks : most;
            cr_expect_leq(c->asked.chunks, PPSP_GROUP_CHUNKS + c->down / 1024);
        }
    }
    cr_expect_gt(most, PPSP_GROUP_CHUNKS, "%lu", (unsigned long)most);
    rig_free(r);
}

static unsigned requested(const struct rig *r, uint64_t first, uint64_t last) {
    uint64_t a = 0, b = 0, from = first;
    unsigned chunks = 0;
    while (ppsp_requested(r->engine[1], r->swarm[1], from, &a, &b) && a <= last) {
        b = b < last ? b : last;
        chunks += (unsigned)(b - a + 1);
        from = b + 1;
    }
    return chunks;
}

/* A player hangs up: in that call, not a round trip later. What another one waits for stays. */
Test(ppsp_want, who_leaves_takes_its_requests_along) {
    struct rig *r = pair(4000, 400 * 1024);
    rig_run(r, CV_MSEC(100));
    ppsp_want_id gone = want(r, 0, 2999, r->now, 400 * 1024);
    ppsp_want_id same = want(r, 0, 2999, r->now, 400 * 1024);
    want(r, 3500, 3599, r->now + CV_SEC(60), 0); /* waits for its turn */
    rig_run(r, CV_SEC(1));
    unsigned before = requested(r, 0, 2999);
    cr_assert_gt(before, 16, "%u", before);
    ppsp_unwant(r->engine[1], rig_now(r), r->swarm[1], gone);
    cr_expect_eq(requested(r, 0, 2999), before, "somebody else waits for it");
    ppsp_unwant(r->engine[1], rig_now(r), r->swarm[1], same);
    cr_expect_eq(requested(r, 0, 2999), 0);
    rig_run(r, CV_MSEC(500));
    cr_expect(has(r, 3500, 3599), "0.25 s at the seeder's limit");
    cr_expect_lt(ppsp_counters(r->engine[0])->drop_cancel_unknown, 5);
    rig_free(r);
}

/* ---- who leaves, beside a model that looks at one chunk after the other ---- */

enum { MODEL_CHUNKS = 1500, MODEL_SEEDERS = 3, MODEL_WANTS = 5, MODEL_STEPS = 60 };

struct model {
    struct rig *rig;
    struct {
        ppsp_want_id id; /* 0: none */
        uint64_t first, last;
    } wants[MODEL_WANTS];
    bool asked[MODEL_SEEDERS + 1][MODEL_CHUNKS]; /* of each seeder, when somebody had left */
    bool watching;                               /* CANCELs are compared with that */
    unsigned cancelled, wrong;
};

static bool model_wants(const struct model *m, uint64_t chunk) {
    for (unsigned i = 0; i < MODEL_WANTS; i++)
        if (m->wants[i].id && chunk >= m->wants[i].first && chunk <= m->wants[i].last)
            return true;
    return false;
}

static struct ppsp_channel *channel_to(const struct rig *r, unsigned engine, unsigned peer) {
    struct cv_endpoint ep = rig_endpoint(r, peer);
    struct ppsp_swarm *s = ppsp_swarm_find(r->engine[engine], r->swarm[engine]);
    return ppsp_channel_find(r->engine[engine], &ep, s);
}

/* What the viewer has asked of whom. */
static void look(const struct rig *r, bool asked[MODEL_SEEDERS + 1][MODEL_CHUNKS]) {
    for (unsigned k = 1; k <= MODEL_SEEDERS; k++) {
        const struct ppsp_channel *c = channel_to(r, 0, k);
        for (uint64_t i = 0; i < MODEL_CHUNKS; i++)
            asked[k][i] = c && ppsp_flight_has(&c->asked, i);
    }
}

/* No CANCEL takes what somebody else waits for, and is to come from there. */
static bool hears_cancels(struct rig *r, unsigned from, unsigned to, uint8_t *data, size_t len) {
    struct model *m = r->tap_ctx;
    struct ppsp_chunkspec spec = {.method = r->config.addressing, .chunk_size = 1024};
    struct cv_rd d = cv_rd_init(data, len);
    struct ppsp_range range;
    (void)cv_rd_be32(&d);
    while (from == 0 && m->watching && cv_rd_left(&d) && cv_rd_u8(&d) == PPSP_MSG_CANCEL) {
        cr_assert_eq(ppsp_spec_read(&d, &spec, &range), CV_ERR_OK);
        m->cancelled++;
        for (uint64_t i = range.first; i <= range.last && i < MODEL_CHUNKS; i++)
            m->wrong += m->asked[to][i] && ppsp_flight_has(&channel_to(r, 0, to)->asked, i);
    }
    return true;
}

static void model_leave(struct model *m, unsigned which) {
    static bool before[MODEL_SEEDERS + 1][MODEL_CHUNKS];
    struct rig *r = m->rig;
    look(r, before);
    ppsp_unwant(r->engine[0], rig_now(r), r->swarm[0], m->wants[which].id);
    m->wants[which].id = 0;
    look(r, m->asked);
    for (unsigned k = 1; k <= MODEL_SEEDERS; k++)
        for (uint64_t i = 0; i < MODEL_CHUNKS; i++)
            cr_assert_eq(m->asked[k][i], before[k][i] && model_wants(m, i), "%lu of seeder %u",
                         (unsigned long)i, k);
    m->watching = true;
    rig_drain(r, 0); /* in the same tick */
    m->watching = false;
    cr_assert_eq(m->wrong, 0, "%u chunks cancelled that somebody waits for", m->wrong);
    rig_run(r, r->delay);
    for (unsigned k = 1; k <= MODEL_SEEDERS; k++) {
        const struct ppsp_channel *c = channel_to(r, k, 0);
        for (unsigned q = 0; c && q < c->queued; q++)
            for (uint64_t i = c->queue[q].first; i <= c->queue[q].last; i++)
                cr_assert(model_wants(m, i), "seeder %u would still send %lu", k, (unsigned long)i);
    }
}

static void model_step(struct model *m) {
    struct rig *r = m->rig;
    struct cv_rng *rng = &r->rng[RIG_ENGINES];
    unsigned i = (unsigned)cv_rng_below(rng, MODEL_WANTS);
    uint64_t first = cv_rng_below(rng, MODEL_CHUNKS), left = MODEL_CHUNKS - 1 - first;
    uint64_t most = cv_rng_below(rng, 2) ? 100 : MODEL_CHUNKS;
    if (m->wants[i].id) {
        model_leave(m, i);
    } else {
        m->wants[i].first = first;
        m->wants[i].last = first + cv_rng_below(rng, left < most ? left + 1 : most);
        cr_assert_eq(ppsp_want(r->engine[0], rig_now(r), r->swarm[0], first * 1024,
                               m->wants[i].last * 1024 + 1023,
                               r->now + cv_rng_below(rng, CV_SEC(2)),
                               cv_rng_below(rng, 2) * 100 * 1024, &m->wants[i].id),
                     CV_ERR_OK);
    }
    rig_run(r, 1 + cv_rng_below(rng, CV_MSEC(30)));
}

Test(ppsp_want, who_leaves_takes_its_requests_along_and_no_others) {
    static struct model m;
    unsigned cancelled = 0;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct rig *r = rig_new(seed, MODEL_CHUNKS * 1024, 1024, CV_SHA256);
        m = (struct model){.rig = r};
        r->config.length = MODEL_CHUNKS * 1024;
        r->config.addressing = seed & 1 ? PPSP_ADDRESSING_BIN32 : PPSP_ADDRESSING_CHUNK32;
        r->config.fetch_all = false;
        rig_add(r, false);
        r->config.upload_limit = 100 * 1024;
        for (unsigned i = 0; i < MODEL_SEEDERS; i++) {
            rig_add(r, true);
            rig_connect(r, 0, i + 1, true);
        }
        r->tap = hears_cancels;
        r->tap_ctx = &m;
        rig_run(r, CV_MSEC(100));
        for (unsigned i = 0; i < MODEL_STEPS; i++)
            model_step(&m);
        cancelled += m.cancelled;
        rig_run(r, CV_SEC(10));
        for (uint64_t i = 0; i < MODEL_CHUNKS; i++)
            cr_assert(!model_wants(&m, i) || ppsp_has(r->engine[0], r->swarm[0], i, i), "%lu",
                      (unsigned long)i);
        rig_free(r);
    }
    cr_expect_gt(cancelled, 100, "%u", cancelled);
}

/* Somebody reads all of it, others a chunk here and there: one CANCEL for each gap between
 * these, and nothing in the gaps stays asked for. */
Test(ppsp_want, who_leaves_between_many_others) {
    enum { OTHERS = PPSP_WANTS - 1, EVERY = 70, CHUNKS = EVERY * PPSP_WANTS };
    struct rig *r = rig_new(1, CHUNKS * 1024, 1024, CV_SHA256);
    r->config.length = CHUNKS * 1024;
    r->config.fetch_all = false;
    rig_add(r, false);
    struct raw *w = raw_new(r, 0);
    ppsp_want_id all, one;
    cr_assert(raw_be_called(w));
    cr_assert_eq(raw_send_hex(w, "03 00000000 0000117f"), CV_ERR_OK); /* all of 4480 */
    struct ppsp_channel *c = TAILQ_FIRST(&ppsp_swarm_find(r->engine[0], r->swarm[0])->channels);
    c->window = CHUNKS; /* as after a long while with a fast peer */
    cr_assert_eq(ppsp_want(r->engine[0], rig_now(r), r->swarm[0], 0, UINT64_MAX, 0, 0, &all),
                 CV_ERR_OK);
    for (uint64_t i = 1; i <= OTHERS; i++)
        cr_assert_eq(ppsp_want(r->engine[0], rig_now(r), r->swarm[0], i * EVERY * 1024,
                               i * EVERY * 1024, CV_SEC(9999), 0, &one),
                     CV_ERR_OK);
    raw_listen(w);
    cr_assert_eq(c->asked.chunks, CHUNKS);
    ppsp_unwant(r->engine[0], rig_now(r), r->swarm[0], all);
    cr_expect_eq(c->asked.chunks, OTHERS);
    raw_clear(w);
    raw_listen(w);
    cr_expect_eq(raw_count(w, PPSP_MSG_CANCEL), OTHERS + 1);
    cr_expect_eq(raw_count(w, PPSP_MSG_REQUEST), 0, "nothing else is wanted");
    struct raw_message m;
    for (unsigned i = 0; raw_find(w, PPSP_MSG_CANCEL, i, &m); i++)
        for (uint64_t k = 1; k <= OTHERS; k++)
            cr_expect(k * EVERY < m.range.first || k * EVERY > m.range.last, "%lu",
                      (unsigned long)(k * EVERY));
    free(w);
    rig_free(r);
}

/* Whoever aborts and asks again at once: what may be the same chunks is cancelled first. */
Test(ppsp_want, no_request_overtakes_a_cancel) {
    struct rig *r = rig_new(1, 4000 * 1024, 1024, CV_SHA256);
    r->config.length = 4000 * 1024;
    r->config.fetch_all = false;
    rig_add(r, false);
    struct raw *w = raw_new(r, 0);
    ppsp_want_id id;
    cr_assert(raw_be_called(w));
    cr_assert_eq(raw_send_hex(w, "03 00000000 00000f9f"), CV_ERR_OK);
    struct ppsp_channel *c = TAILQ_FIRST(&ppsp_swarm_find(r->engine[0], r->swarm[0])->channels);
    for (uint64_t i = 0; i < PPSP_CANCELS; i++) /* more than a datagram has room for */
        ppsp_fetch_cancel(c, 2 * i, 2 * i);
    c->mtu = 400;
    cr_assert_eq(ppsp_want(r->engine[0], rig_now(r), r->swarm[0], 0, 65535, 0, 0, &id), CV_ERR_OK);
    raw_clear(w);
    raw_listen(w);
    struct raw_message m;
    cr_assert(raw_find(w, PPSP_MSG_REQUEST, 0, &m));
    unsigned asked_in = m.datagram, cancels = 0;
    for (; raw_find(w, PPSP_MSG_CANCEL, cancels, &m); cancels++)
        cr_expect_leq(m.datagram, asked_in);
    cr_expect_eq(cancels, PPSP_CANCELS);
    cr_expect_gt(asked_in, 1, "several datagrams of CANCEL before it");
    free(w);
    rig_free(r);
}

/* Chunks lo..hi of which some are asked of the peer, by their parity. */
static uint64_t asked_of(const struct ppsp_channel *c, uint64_t lo, uint64_t hi, unsigned parity) {
    uint64_t n = 0;
    for (uint64_t i = lo + (lo % 2 != parity); i <= hi; i += 2)
        n += ppsp_flight_has(&c->asked, i);
    return n;
}

/* More CANCELs than there is room for wait for an endpoint that takes nothing: each chunk that
 * was given up is cancelled, and none that is still asked for. What stood between two of them and
 * had to be given up with them is free to be asked for again. */
Test(ppsp_want, no_cancel_is_lost_where_many_wait) {
    enum { ASKED = 600 };
    struct rig *r = rig_new(1, 4000 * 1024, 1024, CV_SHA256);
    r->config.length = 4000 * 1024;
    r->config.fetch_all = false;
    rig_add(r, false);
    struct raw *w = raw_new(r, 0);
    static_assert(ASKED / 2 > 2 * PPSP_CANCELS, "they would have room");
    cr_assert(raw_be_called(w));
    cr_assert_eq(raw_send_hex(w, "03 00000000 00000f9f"), CV_ERR_OK);
    struct ppsp_swarm *s = ppsp_swarm_find(r->engine[0], r->swarm[0]);
    struct ppsp_channel *c = TAILQ_FIRST(&s->channels);
    for (uint64_t at = 0; at < ASKED; at += 50) {
        cr_assert_eq(ppsp_swarm_mark(s, r->now, &s->taken, at, at + 49), CV_ERR_OK);
        cr_assert_eq(ppsp_flight_push(&c->asked, at, ppsp_run_mask(50), r->now, true), CV_ERR_OK);
    }
    ppsp_fetch_cancel(c, 3000, 3000);
    /* From the middle of what is asked, up and down; and far away, where nothing is. */
    for (unsigned k = 0; k < ASKED / 2; k++) {
        uint64_t chunk = k % 2 ? ASKED / 2 + k - 1 : ASKED / 2 - k - 2;
        for (uint64_t i = c->asked.head; i < c->asked.tail; i++)
            ppsp_fetch_give_up(c, i, ppsp_run_part(ppsp_flight_at(&c->asked, i), chunk, chunk));
        ppsp_fetch_cancel(c, chunk, chunk);
        cr_assert_leq(c->cancel_count, PPSP_CANCELS);
    }
    uint64_t left = asked_of(c, 0, ASKED - 1, 1);
    cr_expect_eq(asked_of(c, 0, ASKED - 1, 0), 0);
    cr_expect_geq(left, PPSP_CANCELS - 3, "%lu", (unsigned long)left);
    for (uint64_t far = 3000; far >= 1000; far -= 10)
        ppsp_fetch_cancel(c, far, far);
    cr_expect_eq(asked_of(c, 0, ASKED - 1, 1), left, "it costs nothing to join the one above");
    cr_expect_eq(c->cancel_count, PPSP_CANCELS);
    bool cancelled[4000] = {false};
    for (uint32_t i = 0; i < c->cancel_count; i++)
        for (uint64_t at = c->cancels[i].first; at <= c->cancels[i].last; at++)
            cancelled[at] = true;
    for (uint64_t i = 0; i < ASKED; i++) {
        cr_expect(i % 2 || cancelled[i], "%lu is given up", (unsigned long)i);
        cr_expect_neq(cancelled[i], ppsp_flight_has(&c->asked, i), "%lu", (unsigned long)i);
        cr_expect_neq(cancelled[i], ppsp_chunkset_has(&s->taken, i), "%lu", (unsigned long)i);
    }
    for (uint64_t far = 1000; far <= 3000; far += 10)
        cr_expect(cancelled[far], "%lu", (unsigned long)far);
    raw_clear(w);
    raw_listen(w);
    cr_expect_eq(raw_count(w, PPSP_MSG_CANCEL), PPSP_CANCELS);
    free(w);
    rig_free(r);
}

/* What is fetched anyway is not asked for twice because its reader has gone. */
Test(ppsp_want, the_only_reader_leaves_and_everything_goes_on) {
    struct rig *r = pair(1000, 400 * 1024);
    ppsp_swarm_fetch_all(r->engine[1], rig_now(r), r->swarm[1], true);
    rig_run(r, CV_MSEC(100));
    ppsp_want_id gone = want(r, 0, 999, r->now, 0);
    rig_run(r, CV_SEC(1));
    unsigned before = requested(r, 0, 999);
    cr_assert_gt(before, 0);
    ppsp_unwant(r->engine[1], rig_now(r), r->swarm[1], gone);
    cr_expect_eq(requested(r, 0, 999), before);
    cr_expect(rig_run_complete(r, 1, CV_SEC(3)));
    struct ppsp_stats st;
    cr_assert_eq(ppsp_stats(r->engine[0], r->swarm[0], &st), CV_ERR_OK);
    cr_expect_eq(st.up, 1000 * 1024, "nothing twice");
    rig_free(r);
}

Test(ppsp_want, overlapping_wants_share_their_fetches) {
    struct rig *r = pair(500, 0);
    want(r, 0, 99, r->now, 0);
    want(r, 50, 149, r->now, 0);
    want(r, 0, 149, r->now, 0);
    rig_run(r, CV_SEC(2));
    struct ppsp_stats st;
    cr_assert_eq(ppsp_stats(r->engine[0], r->swarm[0], &st), CV_ERR_OK);
    cr_expect_eq(st.up, 150 * 1024);
    cr_expect_eq(count(r), 150);
    rig_free(r);
}

/* What people are shown: asked for, and not yet here; never what is here already. */
Test(ppsp_want, says_what_is_under_way) {
    struct rig *r = pair(1000, 100 * 1024);
    uint64_t first = 0, last = 0;
    rig_run(r, CV_MSEC(100));
    cr_expect_not(ppsp_requested(r->engine[1], r->swarm[1], 0, &first, &last));
    want(r, 200, 399, r->now, 0);
    rig_run(r, CV_MSEC(700));
    uint64_t under_way = 0, from = 0;
    while (ppsp_requested(r->engine[1], r->swarm[1], from, &first, &last)) {
        cr_assert_geq(first, from);
        cr_assert_geq(last, first);
        cr_assert(first >= 200 && last <= 399, "[%lu, %lu]", (unsigned long)first,
                  (unsigned long)last);
        for (uint64_t i = first; i <= last; i++)
            cr_assert_not(has(r, i, i), "%lu", (unsigned long)i);
        under_way += last - first + 1;
        from = last + 1;
    }
    cr_expect_gt(under_way, 0);
    cr_expect_gt(count(r), 0);
    cr_expect_lt(count(r) + under_way, 201);
    rig_run(r, CV_SEC(5));
    cr_expect_eq(count(r), 200);
    cr_expect_not(ppsp_requested(r->engine[1], r->swarm[1], 0, &first, &last));
    cr_expect_not(ppsp_requested(r->engine[1], 12345, 0, &first, &last));
    rig_free(r);
}

Test(ppsp_want, is_checked) {
    struct rig *r = pair(500, 0);
    ppsp_want_id id = 99;
    cr_expect_eq(ppsp_want(r->engine[1], rig_now(r), r->swarm[1], 5, 4, 0, 0, &id), CV_ERR_INVAL);
    cr_expect_eq(ppsp_want(r->engine[1], rig_now(r), 12345, 4, 5, 0, 0, &id), CV_ERR_NOENT);
    cr_expect_eq(id, 99, "result clobbered");
    for (unsigned i = 0; i < PPSP_WANTS; i++)
        want(r, 0, 1, 0, 0);
    cr_expect_eq(ppsp_want(r->engine[1], rig_now(r), r->swarm[1], 4, 5, 0, 0, &id), CV_ERR_LIMIT);
    ppsp_unwant(r->engine[1], rig_now(r), r->swarm[1], 7);
    cr_expect_eq(
        ppsp_want(r->engine[1], rig_now(r), r->swarm[1], 4, UINT64_MAX, UINT64_MAX, 1, &id),
        CV_ERR_OK, "to the end, whatever that is");
    ppsp_unwant(r->engine[1], rig_now(r), r->swarm[1], 0);
    rig_run(r, CV_SEC(5));
    cr_expect(rig_complete(r, 1));
    rig_free(r);
}

Test(ppsp_want, without_a_known_length_too) {
    struct rig *r = rig_new(1, 300 * 1024 + 5, 1024, CV_SHA256);
    rig_add(r, true);
    r->config.fetch_all = false;
    rig_add(r, false);
    rig_connect(r, 1, 0, true);
    want(r, 100, UINT32_MAX, r->now, 0);
    rig_run(r, CV_SEC(3));
    cr_expect(has(r, 100, 300));
    cr_expect_eq(count(r), 201);
    rig_free(r);
}

Test(ppsp_want, upload_limit_holds) {
    struct rig *r = pair(2000, 200 * 1024);
    want(r, 0, 1999, r->now, 0);
    rig_run(r, CV_SEC(5));
    uint64_t octets = count(r) * 1024;
    cr_expect(octets > 200 * 1024 * 5 * 90 / 100 && octets < 200 * 1024 * 5 * 110 / 100, "%lu",
              (unsigned long)octets);
    ppsp_swarm_limits(r->engine[0], rig_now(r), r->swarm[0], 0, 0);
    cr_expect(rig_run_complete(r, 1, CV_SEC(2)), "no limit any more");
    rig_free(r);
}

Test(ppsp_want, download_limit_holds) {
    struct rig *r = rig_new(1, 2000 * 1024, 1024, CV_SHA256);
    rig_add(r, true);
    r->config.download_limit = 200 * 1024;
    rig_add(r, false);
    rig_connect(r, 1, 0, true);
    rig_run(r, CV_SEC(5));
    uint64_t octets = count(r) * 1024;
    cr_expect(octets > 200 * 1024 * 5 * 85 / 100 && octets < 200 * 1024 * 5 * 110 / 100, "%lu",
              (unsigned long)octets);
    rig_free(r);
}

Test(ppsp_want, fetch_all_can_be_switched) {
    struct rig *r = pair(300, 0);
    want(r, 0, 15, r->now, 0);
    rig_run(r, CV_SEC(1));
    cr_expect_eq(count(r), 16);
    ppsp_swarm_fetch_all(r->engine[1], rig_now(r), r->swarm[1], true);
    cr_expect(rig_run_complete(r, 1, CV_SEC(3)));
    rig_free(r);
}

static bool one_in_ten_is_lost(struct rig *r, unsigned from, unsigned to, uint8_t *data,
                               size_t len) {
    (void)from, (void)to, (void)data, (void)len;
    return cv_rng_below(&r->rng[RIG_ENGINES], 10) != 0;
}

/* Both ends first, as players want them, and then neither: what was proven ahead of chunks
 * that were cancelled is not sent again. With seed 377 a group never came. */
Test(ppsp_want, wants_that_end_leave_no_hole) {
    enum { OCTETS = 3 * 1024 * 1024 + 77 };
    for (uint64_t seed = 375; seed < 380; seed++) {
        struct rig *r = rig_new(seed, OCTETS, 1024, CV_SHA256);
        struct cv_rng *rng = &r->rng[RIG_ENGINES];
        ppsp_want_id ends[2] = {0, 0};
        r->config.length = seed & 1 ? OCTETS : 0;
        rig_add(r, true);
        rig_add(r, false);
        r->tap = one_in_ten_is_lost;
        rig_connect(r, 1, 0, true);
        if (cv_rng_below(rng, 2))
            rig_run(r, cv_rng_below(rng, CV_MSEC(10)) + 1);
        for (unsigned i = 0; i < 2; i++)
            cr_assert_eq(ppsp_want(r->engine[1], rig_now(r), r->swarm[1], i ? OCTETS - 65536 : 0,
                                   i ? OCTETS - 1 : 262143, 0, 0, &ends[i]),
                         CV_ERR_OK);
        for (unsigned i = 0; i < 2; i++) {
            rig_run(r, cv_rng_below(rng, CV_MSEC(40)) + 1);
            uint64_t k = cv_rng_below(rng, 2);
            ppsp_unwant(r->engine[1], rig_now(r), r->swarm[1], ends[k]);
            ends[k] = 0;
        }
        cr_expect(rig_run_complete(r, 1, CV_SEC(100)), "seed %lu", (unsigned long)seed);
        rig_free(r);
    }
}

/* ---- is it asked for as much as it takes? ---- */

static cv_usec asked_since(struct rig *r) {
    struct ppsp_peer_stats ps;
    cr_assert_eq(ppsp_peers(r->engine[1], r->swarm[1], &ps, 1), 1);
    return ps.asked_since;
}

Test(ppsp_want, a_peer_is_asked_for_all_it_takes_while_there_is_something_to_ask_for) {
    struct rig *r = pair(2000, 50 * 1024);
    want(r, 0, 20, r->now, 0);
    rig_run(r, CV_SEC(2));
    cr_expect_eq(asked_since(r), CV_USEC_NEVER, "all that is wanted is there");
    ppsp_swarm_fetch_all(r->engine[1], rig_now(r), r->swarm[1], true);
    cv_usec began = r->now;
    rig_run(r, CV_SEC(2));
    cv_usec since = asked_since(r);
    cr_expect_leq(since, began + CV_SEC(1));
    rig_run(r, CV_SEC(5));
    cr_expect_eq(asked_since(r), since, "there was always something");
    ppsp_swarm_fetch_all(r->engine[1], rig_now(r), r->swarm[1], false);
    cr_expect_eq(asked_since(r), CV_USEC_NEVER, "nothing is wanted any more");
    rig_free(r);
}

/* What it could bring is not known then. */
Test(ppsp_want, with_a_download_limit_no_peer_is_asked_for_all_it_takes) {
    struct rig *r = rig_new(1, 2000 * 1024, 1024, CV_SHA256);
    rig_add(r, true);
    r->config.download_limit = 20 * 1024;
    rig_add(r, false);
    rig_connect(r, 1, 0, true);
    rig_run(r, CV_SEC(3));
    cr_expect_gt(count(r), 0);
    cr_expect_eq(asked_since(r), CV_USEC_NEVER);
    rig_free(r);
}
