/*
 * Whether the ledger's economy pays whom it should (economy.h): nobody ranks higher by
 * names that he made up, and whoever gives is served before those who only take,
 * whatever name these take it under.
 */
#include <stdio.h>

#include "crypto/hash.h"
#include "scenarios/economy.h"
#include "scenarios/scenario.h"

static double larger(double a, double b) {
    return a > b ? a : b;
}

static bool check_standing(const struct economy_standing *s, const char *note) {
    SCENARIO_CHECK(s->own > 0 && s->own <= 1.05, "%s", note);
    SCENARIO_CHECK(s->all_off <= 5, "%.1f deviations, %s", s->all_off, note);
    SCENARIO_CHECK(s->all[3] <= 1.1 * s->all[2], "a thousand fakes have more than a hundred");
    SCENARIO_CHECK(s->off <= 0, "a chance is %.0f walks off", s->off);
    SCENARIO_CHECK(s->order_beyond < 0.005, "fakes turn %.4f of pairs more than a word decides",
                   s->order_beyond);
    SCENARIO_CHECK(s->order_hub_far <= s->order_gone_far + 0.015,
                   "fakes turn %.4f of all pairs, the hub's silence %.4f", s->order_hub_far,
                   s->order_gone_far);
    SCENARIO_CHECK(s->collusion <= 1.05, "competitors that vouch for each other gain %.2f",
                   s->collusion);
    SCENARIO_CHECK(s->collusion_far <= 2, "relays that vouch for each other gain %.2f",
                   s->collusion_far);
    SCENARIO_CHECK(s->junk_own > 0 && s->junk_own <= 1.05, "junk is worth %.2f", s->junk_own);
    SCENARIO_CHECK(s->junk <= 2.5, "junk and its sink are worth %.2f", s->junk);
    SCENARIO_CHECK(s->forger_before > 0 && s->forger == 0,
                   "a forger has a score of %u after %.1f s", s->forger, s->proof_s);
    SCENARIO_CHECK(s->proof_s <= ECONOMY_PROOF_S, "forgery is proven after %.1f s", s->proof_s);
    return true;
}

static bool check_service(const struct economy_service *s, const char *note) {
    SCENARIO_CHECK(s->rider > 0 && s->rider <= 1.0 / 3, "%s", note);
    SCENARIO_CHECK(s->washer > 0 && s->washer <= 1.05, "%s", note);
    SCENARIO_CHECK(s->newcomer >= ECONOMY_NEWCOMER, "%s", note);
    SCENARIO_CHECK(s->newcomer_median <= 60, "%s", note);
    SCENARIO_CHECK(s->newcomer_late <= 60, "%s", note);
    SCENARIO_CHECK(s->flooded >= 0.95, "%s", note);
    SCENARIO_CHECK(s->alone > 0.99, "an idle relay gave %.3f of what it has", s->alone);
    return true;
}

static bool check_epoch(const struct economy_epoch *e) {
    for (unsigned i = 0; i < ECONOMY_SIZES; i++)
        SCENARIO_CHECK(e->served[i] <= 6.7,
                       "%u fakes and their owner are served %.2f of what it is", economy_sizes[i],
                       e->served[i]);
    for (unsigned i = 2; i < ECONOMY_SIZES; i++)
        SCENARIO_CHECK(e->served[i] <= 1.05 * larger(e->served[i - 1], e->served[1]),
                       "%u fakes are served %.2f, fewer %.2f", economy_sizes[i], e->served[i],
                       e->served[i - 1]);
    /* Who has next to no standing shares its networks' places: two, from two networks. */
    SCENARIO_CHECK(e->links > 0 && e->links <= 1.3, "by many links one gets %.2f", e->links);
    SCENARIO_CHECK(e->batches <= 1, "%u batches of tokens for one and its fakes", e->batches);
    SCENARIO_CHECK(e->honest_batches >= 10, "%u honest relays have tokens", e->honest_batches);
    return true;
}

bool scenario_economy(const struct scenario_args *args, struct scenario_result *ret) {
    struct economy_standing s;
    struct economy_service v;
    struct economy_epoch e;
    cv_crypto_init();
    if (args->csv) { /* a client: number, class, keys used, cells; speeds: see economy_service.c */
        fprintf(args->csv, "seed,%llu\n", (unsigned long long)args->seed);
        fputs("what,kind,number,of,before,own,all,order_changed,order_changed_far,token_batches\n",
              args->csv);
    }
    economy_standing(args->seed, args->csv, &s);
    economy_service(args->seed, args->csv, &v);
    economy_epoch(args->seed, args->csv, &e);
    snprintf(ret->note, sizeof ret->note,
             "fakes: own x%.3f, all x%.2f, served x%.2f, order %.4f, hub %.4f; riders %.2f, "
             "washers %.2f of "
             "contributors; newcomers %.2f of fair, after %.0f s (95 of 100: %.0f s); flood %.3f",
             s.own, s.all[ECONOMY_SIZES - 1], e.served[ECONOMY_SIZES - 1], s.order, s.order_hub,
             v.rider, v.washer, v.newcomer, v.newcomer_median, v.newcomer_late, v.flooded);
    snprintf(
        ret->json, sizeof ret->json,
        "{\"own_x\": %.4f, \"all_x\": [%.4f, %.4f, %.4f, %.4f], "
        "\"order_changed\": %.5f, \"order_changed_hub\": %.5f, \"order_changed_word\": %.5f, "
        "\"order_changed_beyond\": %.5f, "
        "\"order_changed_hub_far\": %.5f, \"order_changed_hub_gone\": %.5f, "
        "\"order_changed_hub_gone_far\": %.5f, \"token_batches\": %u, "
        "\"collusion_x\": %.4f, \"collusion_far_x\": %.4f, \"junk_own_x\": %.4f, \"junk_x\": %.4f, "
        "\"contributor_cells_s\": %.3f, \"rider_part\": %.4f, \"washer_part\": %.4f, "
        "\"newcomer_part_of_fair\": %.4f, \"newcomer_s_median\": %.0f, \"newcomer_s_95\": %.0f, "
        "\"class_0_under_flood\": %.4f, "
        "\"idle_part\": %.4f, \"served_x\": [%.4f, %.4f, %.4f, %.4f], \"served_links_x\": %.4f, "
        "\"served_batches\": %u, \"honest_batches\": %u, \"forger_before\": %u, "
        "\"forger_proof_s\": %.2f}",
        s.own, s.all[0], s.all[1], s.all[2], s.all[3], s.order, s.order_hub, s.order_word,
        s.order_beyond, s.order_hub_far, s.order_gone, s.order_gone_far, s.batches, s.collusion,
        s.collusion_far, s.junk_own, s.junk, v.contributor, v.rider, v.washer, v.newcomer,
        v.newcomer_median, v.newcomer_late, v.flooded, v.alone, e.served[0], e.served[1],
        e.served[2], e.served[3], e.links, e.batches, e.honest_batches, s.forger_before, s.proof_s);
    ret->digest = (uint64_t)(e.served[ECONOMY_SIZES - 1] * 1e12) ^
                  (uint64_t)(s.all[ECONOMY_SIZES - 1] * 1e6) ^ (uint64_t)(v.contributor * 1e9);
    return check_standing(&s, ret->note) && check_service(&v, ret->note) && check_epoch(&e);
}
