/* The gate: classes, hysteresis, dwelling; what it decides from, and what nobody is
 * banned for. */
#include "support/suite.h"

#include "reputation/gate.h"
#include "reputation/tests/world.h"

CV_SUITE(rep_gate);

#define MIB UINT64_C(1048576)

static const struct rep_gate_config cfg = {
    .new_octets = MIB, .debt_octets = 64 * MIB, .debt_seconds = 3600, .dwell_seconds = 60};

/* clang-format off */
static const struct {
    const char *name;
    uint64_t given, taken;
    enum rep_class was;
    int64_t debt_for; /* seconds it has been in debt; -1: was not */
    enum rep_class want;
    bool owes;
} rows[] = {
    { "nothing yet",                    0,         0,         REP_CLASS_NEW,   -1,   REP_CLASS_NEW,   false },
    { "a little taken",                 0,         MIB - 1,   REP_CLASS_NEW,   -1,   REP_CLASS_NEW,   false },
    { "gives what it takes",            MIB,       MIB,       REP_CLASS_NEW,   -1,   REP_CLASS_GIVER, false },
    { "gives a little less",            9 * MIB,   10 * MIB,  REP_CLASS_NEW,   -1,   REP_CLASS_NEW,   false },
    { "a giver who gives a bit less",   9 * MIB,   10 * MIB,  REP_CLASS_GIVER, -1,   REP_CLASS_GIVER, false },
    { "a giver at four fifths",         8 * MIB,   10 * MIB,  REP_CLASS_GIVER, -1,   REP_CLASS_GIVER, false },
    { "a giver below four fifths",      7 * MIB,   10 * MIB,  REP_CLASS_GIVER, -1,   REP_CLASS_NEW,   false },
    { "takes, but within the limit",    0,         64 * MIB,  REP_CLASS_NEW,   -1,   REP_CLASS_NEW,   false },
    { "takes above it, just now",       0,         65 * MIB,  REP_CLASS_NEW,   -1,   REP_CLASS_NEW,   true },
    { "takes above it, 59 minutes",     0,         65 * MIB,  REP_CLASS_NEW,   3599, REP_CLASS_NEW,   true },
    { "takes above it, an hour",        0,         65 * MIB,  REP_CLASS_NEW,   3600, REP_CLASS_DEBT,  true },
    { "gives more than half",           600 * MIB, 1000 * MIB, REP_CLASS_NEW,  -1,   REP_CLASS_NEW,   false },
    { "a debtor who gives half",        500 * MIB, 1000 * MIB, REP_CLASS_DEBT, 9999, REP_CLASS_DEBT,  true },
    { "a debtor who gives two thirds",  667 * MIB, 1000 * MIB, REP_CLASS_DEBT, 9999, REP_CLASS_NEW,   false },
    { "a debtor near the limit",        10 * MIB,  70 * MIB,  REP_CLASS_DEBT,  9999, REP_CLASS_DEBT,  true },
    { "a debtor who paid half back",    39 * MIB,  70 * MIB,  REP_CLASS_DEBT,  9999, REP_CLASS_NEW,   false },
    { "a debtor who paid all back",     70 * MIB,  70 * MIB,  REP_CLASS_DEBT,  9999, REP_CLASS_GIVER, false },
};
/* clang-format on */

Test(rep_gate, table) {
    const int64_t wall = 1700000000;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rep_account a = {.given = rows[i].given,
                                .taken = rows[i].taken,
                                .gate_class = (uint8_t)rows[i].was,
                                .debt_since = rows[i].debt_for < 0 ? 0 : wall - rows[i].debt_for};
        enum rep_class got = rep_gate_judge(&cfg, &a, 0, wall);
        cr_expect_eq(got, rows[i].want, "%s: class %d", rows[i].name, (int)got);
        cr_expect_eq(a.gate_class, rows[i].want, "%s", rows[i].name);
        cr_expect_eq(a.debt_since != 0, rows[i].owes, "%s", rows[i].name);
    }
}

Test(rep_gate, a_class_is_kept_for_a_minute) {
    struct rep_account a = {.given = 10 * MIB, .taken = MIB, .gate_class = REP_CLASS_NEW};
    cr_expect_eq(rep_gate_judge(&cfg, &a, 1000, 1059), REP_CLASS_NEW);
    cr_expect_eq(rep_gate_judge(&cfg, &a, 1000, 1060), REP_CLASS_GIVER);
    a.taken = 100 * MIB;
    cr_expect_eq(rep_gate_judge(&cfg, &a, 1060, 1119), REP_CLASS_GIVER);
    cr_expect_eq(rep_gate_judge(&cfg, &a, 1060, 1120), REP_CLASS_NEW);
    a.given = 200 * MIB;
    cr_expect_eq(rep_gate_judge(&cfg, &a, 5000, 100), REP_CLASS_GIVER,
                 "a clock set back does not freeze a class");
}

Test(rep_gate, a_debt_that_began_in_the_future_begins_now) {
    const int64_t wall = 1700000000;
    struct rep_account a = {
        .taken = 200 * MIB, .gate_class = REP_CLASS_NEW, .debt_since = wall + 86400 * 3650};
    cr_expect_eq(rep_gate_judge(&cfg, &a, 0, wall), REP_CLASS_NEW);
    a.taken += MIB;
    cr_expect_eq(rep_gate_judge(&cfg, &a, 0, wall + 3600), REP_CLASS_DEBT);
}

/* A free-rider who takes in bursts and gives a trickle between them has the debtor's class
 * from the first octets of the burst that comes after the hour; a trickle does not end that. */
Test(rep_gate, a_trickle_buys_nothing) {
    struct rep_account a = {.taken = 200 * MIB, .gate_class = REP_CLASS_NEW};
    int64_t wall = 1700000000, changed = 0;
    cr_expect_eq(rep_gate_judge(&cfg, &a, changed, wall), REP_CLASS_NEW);
    for (unsigned minute = 1; minute <= 70; minute++) {
        a.given += MIB / 16;
        cr_expect_eq(rep_gate_judge(&cfg, &a, changed, wall + 60 * minute), REP_CLASS_NEW);
    }
    a.taken += 1232;
    changed = wall + 4200;
    cr_expect_eq(rep_gate_judge(&cfg, &a, 0, changed), REP_CLASS_DEBT);
    for (unsigned minute = 71; minute <= 300; minute++) {
        a.given += MIB / 16;
        cr_expect_eq(rep_gate_judge(&cfg, &a, changed, wall + 60 * minute), REP_CLASS_DEBT);
    }
}

/* One who hovers around the border does not flicker. */
Test(rep_gate, hovering_does_not_flicker) {
    struct rep_account a = {.given = 10 * MIB, .taken = 10 * MIB, .gate_class = REP_CLASS_NEW};
    unsigned changes = 0;
    int64_t changed = 0;
    for (int64_t t = 1; t <= 36000; t++) {
        *(t % 2 ? &a.taken : &a.given) += MIB / 4;
        uint8_t was = a.gate_class;
        if (rep_gate_judge(&cfg, &a, changed, t) != was) {
            changed = t;
            changes++;
        }
    }
    cr_expect_leq(changes, 1);
}

/* The tunnel's scheduler has the same (tun_scheduler/classes_get_their_shares_...). */
Test(rep_gate, shares_are_those_of_the_design) {
    static const uint8_t want[REP_CLASSES] = {50, 25, 20, 5};
    cr_expect_arr_eq(rep_class_share, want, sizeof want);
}

/* ---- in the ledger ---- */

/* A store that counts what is asked of it. */
static struct {
    const struct rep_store *below;
    unsigned asked;
} spy;

static enum cv_err spy_account_get(void *ctx, const uint8_t client[CV_KEY],
                                   struct rep_account *ret) {
    spy.asked++;
    return spy.below->account_get(ctx, client, ret);
}

static enum cv_err spy_ban_get(void *ctx, const uint8_t peer[CV_KEY], int64_t *ret_until) {
    spy.asked++;
    return spy.below->ban_get(ctx, peer, ret_until);
}

static enum cv_err spy_block_get(void *ctx, const uint8_t owner[CV_KEY], uint64_t seq,
                                 struct rep_record *ret) {
    spy.asked++;
    return spy.below->block_get(ctx, owner, seq, ret);
}

static enum cv_err spy_block_seek(void *ctx, const uint8_t owner[CV_KEY], const uint8_t *peer,
                                  uint64_t seq, enum rep_seek how, struct rep_record *ret) {
    spy.asked++;
    return spy.below->block_seek(ctx, owner, peer, seq, how, ret);
}

static enum cv_err spy_edge_get(void *ctx, const uint8_t giver[CV_KEY], const uint8_t taker[CV_KEY],
                                struct rep_edge *ret) {
    spy.asked++;
    return spy.below->edge_get(ctx, giver, taker, ret);
}

Test(rep_gate, a_decision_asks_no_store) {
    struct world w;
    struct rep_store watched;
    struct cv_addr addr = {.ip = {127, 20, 0, 1}, .port = 1, .family = 4};
    uint8_t client[CV_KEY] = {7};
    world_init(&w, 2, 1, 700, 1000);
    rep_ledger_free(w.node[0].ledger);
    watched = *w.node[0].store;
    spy.below = w.node[0].store;
    watched.account_get = spy_account_get;
    watched.ban_get = spy_ban_get;
    watched.block_get = spy_block_get;
    watched.block_seek = spy_block_seek;
    watched.edge_get = spy_edge_get;
    w.node[0].store = &watched;
    world_boot(&w, 0);
    world_join(&w, 0, 1);
    struct rep_ledger *l = w.node[0].ledger;
    cr_assert_eq(rep_ledger_link_up(l, w.now, 7, REP_ROLE_CLIENT, client, &addr), CV_ERR_OK);
    cr_expect_gt(spy.asked, 0, "who came is looked up once");
    spy.asked = 0;
    for (unsigned i = 0; i < 1000; i++) {
        rep_ledger_carried(l, w.now, 7, 1232, 2 * 1232);
        (void)rep_ledger_class(l, 7);
        (void)rep_ledger_weight(l, world_link(1));
    }
    cr_expect_eq(spy.asked, 0, "asked %u times", spy.asked);
    cr_expect_eq(rep_ledger_class(l, 7), REP_CLASS_GIVER, "and it changed meanwhile");
    world_drain(&w, 0);
    world_done(&w);
}

/* What comes from relay 1, one octet changed: nothing of it counts. */
static void disturb(struct world *w, uint8_t *body, uint16_t len) {
    body[cv_rng_below(&w->rng, len)] ^= (uint8_t)(1 + cv_rng_below(&w->rng, 255));
    (void)rep_ledger_on_message(w->node[0].ledger, w->now, world_link(1), body, len);
    world_drain(w, 0);
}

static void disturb_what_it_says(void *ctx, unsigned i, const struct rep_event *e) {
    struct world *w = ctx;
    if (i != 1 || e->kind != REP_EVENT_SEND)
        return;
    for (unsigned k = 0; k < 20; k++) {
        uint8_t body[REP_MESSAGE_MAX];
        memcpy(body, e->send.body, e->send.len);
        disturb(w, body, e->send.len);
    }
}

/* A relay that sends garbage, half-blocks with signatures that are none, counters that
 * are lies, that takes for months and answers no settlement: it counts nothing and stays.
 * Two half-blocks that contradict each other, signed by it, end that. */
Test(rep_gate, nothing_but_a_proof_bans) {
    struct world w;
    struct rep_stats st;
    world_init(&w, 2, 3, 700, 1000);
    world_join(&w, 0, 1);
    w.watch = disturb_what_it_says;
    w.watch_ctx = &w;
    for (unsigned epoch = 0; epoch < 12; epoch++) {
        uint8_t lie[1 + 1 + 4 + 8 + 8] = {1, 1};
        cv_rng_fill(&w.rng, lie + 2, sizeof lie - 2);
        (void)rep_ledger_on_message(w.node[0].ledger, w.now, world_link(1), lie, sizeof lie);
        w.loss_permille = epoch % 2 ? 1000 : 0; /* every other epoch it answers nothing */
        world_carry(&w, 0, 1, UINT64_C(1) << 40);
        world_run(&w, w.now.mono + CV_SEC(700));
    }
    rep_ledger_stats(w.node[0].ledger, &st);
    cr_expect_gt(st.messages_refused, 100);
    cr_expect_eq(st.forks, 0);
    cr_expect_eq(w.node[0].banned[1], 0);
    world_down(&w, 0, 1);
    world_up(&w, 0, 1);
    cr_expect(w.node[0].up[1], "its links are taken");

    w.watch = NULL; /* what it may push in an epoch may be used up by noise */
    world_run(&w, w.now.mono + CV_SEC(700));
    struct rep_record r = {.version = REP_RECORD_VERSION, .type = REP_PROPOSAL, .seq = 1000000};
    memcpy(r.peer, world_key(&w, 0), CV_KEY);
    memset(r.prev, 1, sizeof r.prev);
    r.epoch = (uint32_t)(w.now.wall / 700);
    for (unsigned i = 0; i < 2; i++) {
        uint8_t body[2 + REP_RECORD] = {2, 1};
        r.given = (UINT64_C(1) << 50) + i;
        r.taken = UINT64_C(1) << 50;
        rep_record_sign(&r, &w.node[1].cfg.identity_secret, w.node[1].cfg.network_id);
        rep_record_write(&r, body + 2);
        (void)rep_ledger_on_message(w.node[0].ledger, w.now, world_link(1), body, sizeof body);
        world_drain(&w, 0);
        cr_expect_eq(w.node[0].banned[1], i);
    }
    world_done(&w);
}
