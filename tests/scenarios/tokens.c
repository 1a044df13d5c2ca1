/*
 * A relay that carried something watches a film. Its guards, in whose ledgers it
 * has a score, issue it a batch of priority tokens each, through circuits that
 * end there; while it watches, a token is spent on each of its first links, and
 * no first link of it says whose it is. A relay without any score gets none, and
 * one that watches nothing spends none.
 */
#include <stdio.h>
#include <string.h>

#include "node/state.h"
#include "scenarios/scenario.h"
#include "scenarios/world.h"
#include "tunnel/client.h"
#include "tunnel/guard.h"

enum { RELAYS = 9, GIVER = 7, NOBODY = 8, FILM = 3 * 1000 * 1000 };

/* What the relay's ledger says it exchanged with the others; while it is down. */
static void rows(const struct world *w, const struct world_node *relay) {
    const struct rep_store *ops = rep_store_memory_ops(relay->ledger);
    int64_t wall = sim_node_now(w->sim, relay->number).wall;
    ops->begin(ops->ctx, wall);
    for (unsigned i = 0; i < RELAYS; i++) {
        struct rep_edge e = {.octets = UINT64_C(8) << 30, .recent = UINT64_C(8) << 30};
        if (w->nodes[i] == relay || i == NOBODY)
            continue;
        e.epoch = (uint32_t)(wall / REP_EPOCH_SECONDS);
        memcpy(e.giver, w->nodes[i]->cfg.identity_secret.public_key, CV_KEY);
        memcpy(e.taker, relay->cfg.identity_secret.public_key, CV_KEY);
        ops->edge_put(ops->ctx, &e);
    }
    ops->commit(ops->ctx);
}

static struct rep_stats stats(const struct world_node *n) {
    struct rep_stats st;
    rep_ledger_stats(n->node->ledger, &st);
    return st;
}

static uint64_t all_of(const struct world *w, size_t field) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < RELAYS; i++) {
        struct rep_stats st = stats(w->nodes[i]);
        sum += *(const uint64_t *)(const void *)((const char *)&st + field);
    }
    return sum;
}
#define ALL(w, field) all_of((w), offsetof(struct rep_stats, field))

static bool have_tokens(void *ctx) {
    const struct world *w = ctx;
    return stats(w->nodes[GIVER]).tokens_left >= 2 * REP_TOKENS;
}

static bool redeemed(void *ctx) {
    return ALL((const struct world *)ctx, tokens_redeemed) >= 2;
}

/* First links of relays, as their guards see them, that proved to be somebody's. */
static uint64_t accounts(const struct world *w) {
    return ALL(w, links_client);
}

/* A relay on its own path is a hop that hides nothing. With nine relays, of which
 * a node keeps at least four, chance alone would bring that about. */
static bool on_own_paths(const struct world_node *n) {
    const struct tun_guards *g = tun_client_guards(n->node->client);
    const uint8_t *me = n->cfg.identity_secret.public_key;
    return tun_guards_is_first(g, me) || tun_guards_is_second(g, me);
}

static bool check(struct world *w, struct scenario_result *ret) {
    struct sim *s = w->sim;
    world_relays(w, RELAYS);
    struct world_node *giver = w->nodes[GIVER], *seeder = w->nodes[0];
    for (unsigned i = 0; i < RELAYS; i++) {
        sim_crash(s, w->nodes[i]->number);
        rows(w, w->nodes[i]);
        sim_restart(s, w->nodes[i]->number);
    }
    const struct world_film *film = world_film_new(w, FILM);
    world_links(w, CV_MSEC(5), CV_MSEC(20), 2000);
    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(120)), "relays not ready");
    SCENARIO_CHECK(sim_run_while_not(s, world_clients_ready, w, CV_SEC(120)), "clients not ready");
    SCENARIO_CHECK(sim_run_while_not(s, have_tokens, w, CV_SEC(300)), "no tokens: %llu",
                   (unsigned long long)stats(giver).tokens_left);
    sim_run(s, sim_now(s) + CV_SEC(30));
    for (unsigned i = 0; i < RELAYS; i++)
        SCENARIO_CHECK(!on_own_paths(w->nodes[i]), "relay %u is on its own paths", i);
    SCENARIO_CHECK(stats(w->nodes[NOBODY]).tokens_left == 0, "tokens without a score");
    SCENARIO_CHECK(ALL(w, tokens_redeemed) == 0, "spent while nobody watches");

    world_open_at(seeder, film, WORLD_SEEDER, seeder, false);
    world_open_at(giver, film, WORLD_VIEWER, seeder, true);
    SCENARIO_CHECK(sim_run_while_not(s, redeemed, w, sim_now(s) + CV_SEC(60)), "none redeemed");
    sim_run(s, sim_now(s) + CV_SEC(30));
    struct rep_stats st = stats(giver);
    uint64_t spent = ALL(w, tokens_redeemed);
    SCENARIO_CHECK(spent <= 3, "%llu tokens in a minute, of three guards at most",
                   (unsigned long long)spent);
    bool all_counted = (st.tokens_left + spent) % REP_TOKENS == 0;
    SCENARIO_CHECK(all_counted, "%llu left, %llu redeemed", (unsigned long long)st.tokens_left,
                   (unsigned long long)spent);
    SCENARIO_CHECK(ALL(w, tokens_refused) == 0, "refused");
    SCENARIO_CHECK(accounts(w) == 0, "a link that says whose it is");
    snprintf(ret->note, sizeof ret->note, "%llu batches issued, %llu tokens redeemed",
             (unsigned long long)ALL(w, tokens_issued), (unsigned long long)spent);
    return true;
}

bool scenario_tokens(const struct scenario_args *args, struct scenario_result *ret) {
    struct world *w = world_new(args->seed);
    bool ok = check(w, ret);
    scenario_measure(ret, w->sim, w->nodes_count);
    world_free(w);
    return ok;
}
