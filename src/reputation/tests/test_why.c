/* Every change of a class, a score and of our own tokens has a row that says why,
 * and nothing falls while one only gives. */
#include "support/suite.h"

#include "reputation/message.h"
#include "reputation/tests/guard_world.h"
#include "reputation/tests/world.h"

CV_SUITE(rep_why);

enum { EPOCH = 700, MIB = 1 << 20 };

static struct rep_why *rows;
static size_t rows_n;

static void load(const struct rep_store *s) {
    free(rows);
    rows = NULL;
    cr_assert_eq(s->why_load(s->ctx, &rows, &rows_n), CV_ERR_OK);
}

/* The newest row of this kind about somebody. */
static const struct rep_why *newest(unsigned kind, const uint8_t who[CV_KEY]) {
    for (size_t i = 0; i < rows_n; i++)
        if (rows[i].kind == kind && memcmp(rows[i].who, who, CV_KEY) == 0)
            return &rows[i];
    return NULL;
}

static struct cv_now at(int64_t seconds) {
    return (struct cv_now){.mono = CV_SEC(10 + (uint64_t)seconds), .wall = 1700000000 + seconds};
}

/* A ledger of a relay that knows nobody. */
static struct rep_ledger *lone(const struct rep_store *s) {
    struct cv_ed25519_secret me;
    gw_identity(0, &me);
    cv_rng_seeded_init(&gw_dice, 1);
    gw_rng = cv_rng_seeded(&gw_dice);
    return gw_ledger(&me, s, at(0), true);
}

/* Link 1 to it, of a client that has an account. */
static void client_comes(struct rep_ledger *l, struct cv_now now) {
    static const struct cv_addr addr = {.ip = {192, 0, 2, 1}, .port = 1, .family = 4};
    static const uint8_t client[CV_KEY] = {3};
    cr_assert_eq(rep_ledger_link_up(l, now, 1, REP_ROLE_CLIENT, client, &addr), CV_ERR_OK);
}

Test(rep_why, a_class_changes_for_a_reason_that_is_kept) {
    struct rep_store_memory *m = rep_store_memory_new();
    const struct rep_store *s = rep_store_memory_ops(m);
    struct rep_ledger *l = lone(s);
    client_comes(l, at(0));
    static const struct {
        int64_t at;
        unsigned out, in; /* MiB */
        unsigned was, became, cause;
    } steps[] = {
        {10, 1, 2, REP_CLASS_NEW, REP_CLASS_GIVER, REP_BECAUSE_GIVES},
        {100, 3, 0, REP_CLASS_GIVER, REP_CLASS_NEW, REP_BECAUSE_GIVES_LESS},
        {200, 100, 0, 0, 0, 0}, /* the hour of debt begins */
        {3900, 1, 0, REP_CLASS_NEW, REP_CLASS_DEBT, REP_BECAUSE_OWES},
        {4000, 0, 71, REP_CLASS_DEBT, REP_CLASS_NEW, REP_BECAUSE_REPAID},
        {4100, 0, 60, REP_CLASS_NEW, REP_CLASS_GIVER, REP_BECAUSE_GIVES},
    };
    size_t before = 0;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        rep_ledger_carried(l, at(steps[i].at), 1, (uint64_t)steps[i].out * MIB,
                           (uint64_t)steps[i].in * MIB);
        rep_ledger_flush(l, at(steps[i].at));
        load(s);
        cr_assert_eq(rows_n, before + (steps[i].cause != 0), "step %zu: %zu rows", i, rows_n);
        before = rows_n;
        if (!steps[i].cause)
            continue;
        cr_expect_eq(rows[0].kind, REP_WHY_CLASS);
        cr_expect_eq(rows[0].was, steps[i].was, "step %zu", i);
        cr_expect_eq(rows[0].became, steps[i].became, "step %zu", i);
        cr_expect_eq(rows[0].cause, steps[i].cause, "step %zu: %s", i, rep_why_text(rows[0].cause));
        cr_expect_eq(rows[0].day % 86400, 0, "finer than a day");
    }
    rep_ledger_free(l);
    rep_store_memory_free(m);
    free(rows);
    rows = NULL;
}

Test(rep_why, a_score_changes_for_a_reason_that_is_kept) {
    struct world w;
    world_init(&w, 3, 5, EPOCH, 1000);
    world_join(&w, 0, 1);
    world_join(&w, 0, 2);
    world_carry(&w, 0, 1, 50000);
    world_carry(&w, 0, 2, 50000);
    world_run(&w, w.now.mono + CV_SEC(2 * EPOCH));
    load(w.node[0].store);
    const struct rep_why *a = newest(REP_WHY_SCORE, world_key(&w, 1));
    cr_assert(a != NULL);
    cr_expect_gt(a->became, 0);
    bool by_row = false;
    for (size_t i = 0; i < rows_n; i++)
        by_row |= rows[i].cause == REP_BECAUSE_ROWS;
    cr_expect(by_row, "no score because of rows");

    struct rep_fork f;
    for (unsigned i = 0; i < 2; i++) {
        struct rep_record r = {.version = REP_RECORD_VERSION, .type = REP_PROPOSAL, .seq = 40};
        memset(r.prev, 1 + (int)i, sizeof r.prev);
        memcpy(r.peer, world_key(&w, 2), CV_KEY);
        r.epoch = (uint32_t)(w.now.wall / EPOCH);
        rep_record_sign(&r, &w.node[1].cfg.identity_secret, w.node[1].cfg.network_id);
        rep_record_write(&r, i ? f.b : f.a);
    }
    struct rep_message m = {.kind = REP_MESSAGE_FORK, .records = f.a};
    uint8_t body[REP_MESSAGE_MAX];
    ssize_t len = rep_message_write(&m, body, sizeof body);
    cr_assert_eq(rep_ledger_on_message(w.node[0].ledger, w.now, world_link(2), body, (size_t)len),
                 CV_ERR_OK);
    world_run(&w, w.now.mono + CV_SEC(5));
    load(w.node[0].store);
    a = newest(REP_WHY_SCORE, world_key(&w, 1));
    cr_expect_eq(a->became, 0);
    cr_expect_eq(a->cause, REP_BECAUSE_FORGER, "%s", rep_why_text(a->cause));
    world_done(&w);
    free(rows);
    rows = NULL;
}

/* Rows of each relay's score follow each other without a gap, from nothing to what it is now:
 * none of its changes, however small, has no reason. */
Test(rep_why, no_change_of_a_score_is_left_out) {
    enum { RELAYS = 7 };
    struct world w;
    world_init(&w, RELAYS, 6, EPOCH, 1000);
    for (unsigned i = 0; i < RELAYS; i++)
        for (unsigned j = 0; j < i; j++)
            world_join(&w, j, i);
    for (unsigned epoch = 0; epoch < 10; epoch++) {
        for (unsigned i = 1; i < RELAYS; i++)
            world_carry(&w, i - 1, i, 5000 * (i + epoch));
        world_run(&w, w.now.mono + CV_SEC(EPOCH));
    }
    unsigned changes = 0;
    for (unsigned me = 0; me < RELAYS; me++) {
        uint32_t last[RELAYS] = {0};
        load(w.node[me].store);
        for (size_t i = rows_n; i-- > 0;) /* oldest first */
            for (unsigned of = 0; of < RELAYS; of++)
                if (rows[i].kind == REP_WHY_SCORE &&
                    memcmp(rows[i].who, world_key(&w, of), CV_KEY) == 0) {
                    cr_expect_eq(rows[i].was, last[of], "%u of %u", of, me);
                    cr_expect_neq(rows[i].cause, 0, "%u of %u: no reason", of, me);
                    last[of] = rows[i].became;
                    changes++;
                }
        for (unsigned of = 0; of < RELAYS; of++) {
            struct rep_row row;
            if (of != me && world_row(&w, me, of, &row))
                cr_expect_eq(last[of], (uint32_t)(row.score * REP_WALKS + .5), "%u of %u", of, me);
        }
    }
    cr_expect_gt(changes, 4 * RELAYS, "%u changes", changes);
    world_done(&w);
    free(rows);
    rows = NULL;
}

/* The same through a ledger, which keeps the account only while there is a link: 200 MiB
 * taken, and then a little given a minute, over a link that comes and goes. */
Test(rep_why, whoever_gives_back_slowly_keeps_the_class) {
    struct rep_store_memory *m = rep_store_memory_new();
    struct rep_ledger *l = lone(rep_store_memory_ops(m));
    for (unsigned minute = 0; minute < 90; minute++) {
        struct cv_now now = at(60 * (int64_t)minute);
        if (minute % 20 == 0) {
            rep_ledger_link_down(l, now, 1);
            client_comes(l, now);
        }
        rep_ledger_carried(l, now, 1, minute ? 0 : UINT64_C(200) * MIB, minute ? MIB : 0);
        cr_assert_eq(rep_ledger_class(l, 1), REP_CLASS_NEW, "after %u minutes", minute);
        rep_ledger_flush(l, now);
    }
    rep_ledger_carried(l, at(5400), 1, 1232, 0);
    cr_expect_eq(rep_ledger_class(l, 1), REP_CLASS_DEBT, "and loses it when it takes more");
    rep_ledger_free(l);
    rep_store_memory_free(m);
}

/* Whoever only gives: the class never gets worse, what is agreed never falls. */
Test(rep_why, nothing_falls_while_one_only_gives) {
    static const int rank[REP_CLASSES] = {0, 1, 2, 3};
    struct cv_rng_seeded dice;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        cv_rng_seeded_init(&dice, seed);
        struct cv_rng rng = cv_rng_seeded(&dice);
        struct rep_account a = {.gate_class = (uint8_t)(1 + cv_rng_below(&rng, 3)),
                                .given = cv_rng_below(&rng, UINT64_C(1) << 30),
                                .taken = cv_rng_below(&rng, UINT64_C(1) << 30)};
        int64_t wall = 1700000000, changed = 0;
        /* where it stands by what was before */
        a.gate_class = (uint8_t)rep_gate_judge(&rep_gate_defaults, &a, 0, wall);
        for (unsigned i = 0; i < 300; i++) {
            uint8_t was = a.gate_class;
            wall += (int64_t)cv_rng_below(&rng, 600);
            a.given += cv_rng_below(&rng, 8 * MIB);
            if (rep_gate_judge(&rep_gate_defaults, &a, changed, wall) != was)
                changed = wall;
            cr_assert(rank[a.gate_class] <= rank[was], "seed %lu: %u to %u", (unsigned long)seed,
                      was, a.gate_class);
        }
    }
    struct world w;
    uint64_t last = 0;
    world_init(&w, 2, 9, EPOCH, 1000);
    world_join(&w, 0, 1);
    for (unsigned i = 0; i < 12; i++) {
        struct rep_row row;
        world_carry(&w, 0, 1, 20000);
        world_run(&w, w.now.mono + CV_SEC(EPOCH));
        cr_assert(world_row(&w, 1, 0, &row));
        cr_expect_geq(row.released_taken, last);
        last = row.released_taken;
    }
    cr_expect_gt(last, 0);
    world_done(&w);
}
