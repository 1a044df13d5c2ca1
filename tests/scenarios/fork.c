/*
 * A relay signs two half-blocks with one number and shows one each to two of its
 * neighbours, when everybody has been quiet for long. No relay was shown both;
 * half of all know the proof within 30 seconds, everybody soon after, and nobody
 * has a link with the forger any more.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reputation/message.h"
#include "scenarios/ledgers.h"
#include "scenarios/scenario.h"

enum { NODES = 100, FORGER = 0, LINKS = 6, QUIET = 900, WITHIN = 30, SURE = 180 };

static struct rep_record half_block(struct ledgers *w, unsigned peer, uint64_t octets) {
    struct rep_record r = {.version = REP_RECORD_VERSION, .type = REP_PROPOSAL, .seq = 1};
    memcpy(r.peer, ledgers_key(w, peer), CV_KEY);
    r.given = r.taken = octets;
    r.epoch = (uint32_t)(w->now.wall / REP_EPOCH_SECONDS);
    rep_record_sign(&r, &w->node[FORGER].identity, ledgers_network);
    return r;
}

static void show(struct ledgers *w, unsigned to, uint64_t octets) {
    uint8_t octets_of[REP_RECORD], body[REP_MESSAGE_MAX];
    struct rep_record r = half_block(w, to, octets);
    rep_record_write(&r, octets_of);
    struct rep_message m = {.kind = REP_MESSAGE_RECORDS, .count = 1, .records = octets_of};
    ssize_t len = rep_message_write(&m, body, sizeof body);
    ledgers_send(w, FORGER, to, body, (size_t)len);
}

static unsigned know(const struct ledgers *w) {
    unsigned n = 0;
    for (unsigned i = 1; i < w->n; i++) {
        struct rep_stats st;
        rep_ledger_stats(w->node[i].ledger, &st);
        n += st.forks > 0;
    }
    return n;
}

static void make(struct ledgers *w) {
    for (unsigned i = 0; i < w->n; i++)
        for (unsigned k = 1; k <= 2; k++)
            ledgers_row(w, i, (i + k) % w->n, UINT64_C(1) << 30);
    for (unsigned i = 0; i < 2 * w->n; i++) {
        unsigned a = (unsigned)cv_rng_below(&w->rng, w->n),
                 b = (unsigned)cv_rng_below(&w->rng, w->n);
        if (a != b)
            ledgers_row(w, a, b, UINT64_C(1) << 28);
    }
    ledgers_restart(w);
    for (unsigned i = 0; i < w->n; i++) {
        ledgers_join(w, i, (i + 1) % w->n);
        for (unsigned k = 1; k < LINKS / 2; k++)
            ledgers_join(w, i, (unsigned)cv_rng_below(&w->rng, w->n));
    }
}

static bool check(struct ledgers *w, const struct scenario_args *args,
                  struct scenario_result *ret) {
    double half = 0, all = 0;
    unsigned honest = w->n - 1;
    make(w);
    ledgers_run(w, w->now.mono + CV_SEC(QUIET));
    uint64_t quiet = w->octets;
    ledgers_run(w, w->now.mono + CV_SEC(60));
    quiet = w->octets - quiet;
    SCENARIO_CHECK(know(w) == 0, "forks before there is one");
    SCENARIO_CHECK(w->node[FORGER].links >= 2, "nobody to show it to");
    cv_usec from = w->now.mono;
    unsigned first = w->node[FORGER].link[0], second = w->node[FORGER].link[1];
    show(w, first, UINT64_C(1) << 32);
    show(w, second, UINT64_C(1) << 33);
    while (all <= 0 && w->now.mono < from + CV_SEC(SURE)) {
        ledgers_run(w, w->now.mono + CV_MSEC(250));
        unsigned n = know(w);
        double since = (double)(w->now.mono - from) / 1e6;
        half = half <= 0 && 2 * n >= honest ? since : half;
        all = n == honest ? since : 0;
        if (args->verbose && (w->now.mono - from) % CV_SEC(2) == 0)
            printf("    %5.1f s: %u know\n", since, n);
    }
    snprintf(ret->note, sizeof ret->note,
             "half know after %.1f s, all %u after %.1f s; quiet: %.1f octets/s a relay", half,
             honest, all, (double)quiet / 60 / w->n);
    snprintf(ret->json, sizeof ret->json,
             "{\"nodes\": %u, \"half_s\": %.2f, \"all_s\": %.2f, \"quiet_octets_s\": %.1f}", w->n,
             half, all, (double)quiet / 60 / w->n);
    SCENARIO_CHECK(half > 0 && half <= WITHIN, "%s", ret->note);
    SCENARIO_CHECK(all > 0, "not everybody knows after %d s: %u", SURE, know(w));
    SCENARIO_CHECK(w->node[FORGER].links == 0, "somebody still talks to it");
    return true;
}

bool scenario_fork(const struct scenario_args *args, struct scenario_result *ret) {
    struct ledgers *w =
        ledgers_new(args->nodes ? args->nodes : NODES, 1, args->seed, REP_EPOCH_SECONDS, 1000);
    bool ok = check(w, args, ret);
    ret->digest = w->octets;
    ret->node_usec += w->now.mono * w->n;
    ledgers_free(w);
    return ok;
}
