/*
 * Relays carry for each other for two and a half years of weekly epochs (each 1400 s long
 * here), each pair in every third, while their ledgers prune themselves. Some pairs give in
 * the first months only, one relay comes in the second year and knows nothing, and at the end
 * one signs a second version of an old half-block. Whoever owns a chain keeps all of it: what
 * the two of a pair know of their row, all must know, and rank by it; the forger is known to
 * everybody; and what is kept of others does not grow with time.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reputation/chain.h"
#include "reputation/message.h"
#include "reputation/rank_walk.h"
#include "scenarios/ledgers.h"
#include "scenarios/scenario.h"

enum {
    NODES = 5, /* the last one comes late */
    FORGER = 1,
    LENGTH = 1400,
    DAY = 86400 / LENGTH + 1,   /* epochs between two passes of pruning */
    LOOK = DAY + 6,             /* when the first is over, and .. */
    EPOCHS = LOOK + DAY,        /* .. the second */
    OLD = REP_PRUNE_EPOCHS + 8, /* the most epochs that are kept as they are, at the looks */
    FORKED = 4                  /* in which the proof goes round */
};

/* Octets of a pair in an epoch, the same in both worlds. */
static uint64_t octets_of(uint64_t seed, unsigned a, unsigned b, unsigned epoch) {
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, seed * 1000003 + epoch * 64 + a * 8 + b);
    struct cv_rng rng = cv_rng_seeded(&dice);
    return 2000 + cv_rng_below(&rng, 100000);
}

static bool neighbours(unsigned a, unsigned b, unsigned epoch) {
    if (b == NODES - 1) /* it carries for one, when it is there */
        return a == 0 && epoch >= LOOK;
    bool ring = b == a + 1 || (a == 0 && b == NODES - 2);
    return ring || (epoch < DAY / 2 && b == a + 2); /* across: long ago */
}

static bool give(unsigned a, unsigned b, unsigned epoch) {
    return neighbours(a, b, epoch) && (epoch + a + b) % 3 == 0;
}

static const struct rep_store *store_of(const struct ledgers *w, unsigned i) {
    return rep_store_memory_ops(w->node[i].memory);
}

static uint64_t count(const struct ledgers *w, unsigned i, unsigned owner, unsigned but) {
    const struct rep_store *s = store_of(w, i);
    struct rep_record r = {.seq = 0};
    uint64_t n = 0;
    while (s->block_seek(s->ctx, ledgers_key(w, owner), NULL, r.seq + 1, REP_SEEK_FROM, &r) ==
           CV_ERR_OK)
        n += but == NODES || memcmp(r.peer, ledgers_key(w, but), CV_KEY) != 0;
    return n;
}

/* Half-blocks in its file that are neither its own nor about it. */
static uint64_t others(const struct ledgers *w, unsigned i) {
    uint64_t n = 0;
    for (unsigned owner = 0; owner < NODES; owner++)
        n += owner == i ? 0 : count(w, i, owner, i);
    return n;
}

static uint64_t own(const struct ledgers *w, unsigned i) {
    return count(w, i, i, NODES);
}

static void play(struct ledgers *w, uint64_t seed, unsigned from, unsigned upto) {
    for (unsigned at = from; at < upto; at++) {
        for (unsigned a = 0; a < w->n; a++)
            for (unsigned b = a + 1; b < w->n; b++)
                if (give(a, b, at)) {
                    ledgers_carry(w, a, b, octets_of(seed, a, b, at));
                    ledgers_carry(w, b, a, octets_of(seed, b, a, at));
                }
        ledgers_run(w, w->now.mono + CV_SEC(LENGTH));
    }
}

/* A second version of the oldest half-block about a neighbour, shown to that one only. */
static void forge(struct ledgers *w) {
    const struct rep_store *s = store_of(w, FORGER);
    struct rep_record r;
    uint8_t octets[REP_RECORD], body[REP_MESSAGE_MAX];
    if (s->block_seek(s->ctx, ledgers_key(w, FORGER), ledgers_key(w, FORGER + 1), 0, REP_SEEK_FROM,
                      &r))
        abort();
    r.given += 1 << 20;
    rep_record_sign(&r, &w->node[FORGER].identity, ledgers_network);
    rep_record_write(&r, octets);
    struct rep_message m = {.kind = REP_MESSAGE_RECORDS, .count = 1, .records = octets};
    ssize_t len = rep_message_write(&m, body, sizeof body);
    ledgers_send(w, FORGER, FORGER + 1, body, (size_t)len);
}

static struct rep_edge edge(const struct ledgers *w, unsigned i, unsigned giver, unsigned taker) {
    struct rep_edge e = {.octets = 0};
    const struct rep_store *s = store_of(w, i);
    (void)s->edge_get(s->ctx, ledgers_key(w, giver), ledgers_key(w, taker), &e);
    return e;
}

/* By what one relay knows; NODES: by what the owners of each row know. */
static void rank(const struct ledgers *w, unsigned ego, unsigned who, uint32_t hits[NODES]) {
    static const uint8_t hash_key[16] = {5};
    struct rep_walk_config cfg = {
        .walks = REP_WALKS, .alpha_permille = REP_ALPHA_PERMILLE, .seed = 1};
    struct rep_graph *g = rep_graph_new(NODES, hash_key);
    uint32_t node;
    for (unsigned i = 0; i < NODES; i++)
        if (!g || rep_graph_node(g, ledgers_key(w, i), &node))
            abort();
    for (unsigned a = 0; a < NODES; a++)
        for (unsigned b = 0; b < NODES; b++) {
            struct rep_edge e = edge(w, who == NODES ? a : who, a, b);
            if (e.octets && rep_graph_set(g, &e))
                abort();
        }
    rep_graph_epoch(g, (uint32_t)(w->now.wall / LENGTH));
    if (rep_rank_walk(g, ego, &cfg, hits))
        abort();
    rep_graph_free(g);
}

static uint64_t weight(const struct ledgers *w, struct rep_edge e) {
    return rep_chain_decay(e.recent, e.epoch, (uint32_t)(w->now.wall / LENGTH));
}

/* Whoever hears of a pair late counts what is older than 32 epochs as of then. */
static bool rows_are_whole(const struct ledgers *w) {
    for (unsigned i = 0; i < NODES; i++)
        for (unsigned a = 0; a < NODES; a++)
            for (unsigned b = 0; b < NODES; b++) {
                struct rep_edge got = edge(w, i, a, b), want = edge(w, a, a, b);
                uint64_t x = weight(w, got), y = weight(w, want);
                SCENARIO_CHECK(got.octets == want.octets,
                               "%u: %u gave %u %" PRIu64 " octets, not %" PRIu64, i, a, b,
                               want.octets, got.octets);
                SCENARIO_CHECK((x > y ? x - y : y - x) <= want.octets / 256 + 16,
                               "%u: %u to %u weighs %" PRIu64 ", not %" PRIu64, i, a, b, x, y);
            }
    return true;
}

static bool order_is_whole(const struct ledgers *w) {
    for (unsigned ego = 0; ego < NODES; ego++) {
        uint32_t p[NODES] = {0}, q[NODES] = {0};
        rank(w, ego, ego, p);
        rank(w, ego, NODES, q);
        for (unsigned i = 0; i < NODES; i++)
            for (unsigned j = 0; j < NODES; j++)
                SCENARIO_CHECK(p[i] <= p[j] || q[i] + 300 >= q[j], /* 300: three deviations */
                               "%u ranks %u before %u: %u and %u, not %u and %u", ego, i, j, p[i],
                               p[j], q[i], q[j]);
    }
    return true;
}

static bool forger_is_known(struct ledgers *w, uint64_t seed) {
    forge(w);
    play(w, seed, EPOCHS, EPOCHS + FORKED);
    for (unsigned i = 0; i < NODES; i++) {
        struct rep_stats st;
        rep_ledger_stats(w->node[i].ledger, &st);
        SCENARIO_CHECK(i == FORGER || st.forks == 1, "%u knows %" PRIu64 " forgers", i, st.forks);
    }
    return true;
}

static bool check(struct ledgers *w, uint64_t seed, struct scenario_result *ret) {
    uint64_t at_first[NODES], n[NODES], all = 0, most = 0;
    for (unsigned a = 0; a + 1 < NODES; a++)
        for (unsigned b = a + 1; b + 1 < NODES; b++)
            if (neighbours(a, b, 0))
                ledgers_join(w, a, b);
    play(w, seed, 0, LOOK);
    for (unsigned i = 0; i < NODES; i++)
        at_first[i] = others(w, i);
    ledgers_join(w, 0, NODES - 1);
    ledgers_join(w, 2, NODES - 1);
    play(w, seed, LOOK, EPOCHS);
    for (unsigned i = 0; i < NODES; i++) {
        n[i] = others(w, i);
        most = n[i] > most ? n[i] : most;
        all += own(w, i);
    }
    snprintf(ret->note, sizeof ret->note,
             "relay 0 keeps %" PRIu64 " half-blocks of others after %d epochs, %" PRIu64
             " after %d; nobody more than %" PRIu64 "; all there were: %" PRIu64,
             at_first[0], LOOK, n[0], EPOCHS, most, all);
    snprintf(ret->json, sizeof ret->json,
             "{\"epochs\": [%d, %d], \"kept\": [%" PRIu64 ", %" PRIu64 "], \"most\": %" PRIu64
             ", \"all\": %" PRIu64 "}",
             LOOK, EPOCHS, at_first[0], n[0], most, all);
    if (!rows_are_whole(w) || !order_is_whole(w))
        return false;
    /* Two halves an epoch of each row, of those that are not too old, and a few that stay. */
    const uint64_t rows = 6, each = 2 * (OLD / 3 + 4);
    SCENARIO_CHECK(most <= rows * each, "too many: %s", ret->note);
    SCENARIO_CHECK(n[0] <= at_first[0] + each / 2, "it grows: %s", ret->note);
    return forger_is_known(w, seed);
}

bool scenario_pruning(const struct scenario_args *args, struct scenario_result *ret) {
    struct ledgers *w = ledgers_new(NODES, 0, args->seed, LENGTH, 1000);
    bool ok = check(w, args->seed, ret);
    ret->digest = w->octets;
    ret->node_usec += w->now.mono * NODES;
    ledgers_free(w);
    return ok;
}
