/*
 * Scenarios: a function builds a world from a seed, lets time pass, and checks a
 * property. scenario_main() runs one over many seeds; it is all of culvert-sim
 * and of the test runner.
 */
#ifndef CULVERT_TESTS_SCENARIOS_SCENARIO_H
#define CULVERT_TESTS_SCENARIOS_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "sim/sim.h"

struct scenario_args {
    uint64_t seed;
    unsigned nodes;   /* 0: as the scenario likes */
    unsigned minutes; /* of simulated time; 0: likewise */
    unsigned hostile; /* of a hundred nodes, where the scenario knows such */
    unsigned percent; /* of what it does usually, where that has a size; 0: as it likes */
    bool verbose;
    FILE *csv; /* rows of whatever the scenario has rows of; NULL: none wanted */
};

struct scenario_result {
    uint64_t digest;
    uint64_t node_usec; /* simulated time times nodes */
    char note[200];     /* figures worth showing, or "" */
    char text[2048];    /* a table of them, whole lines, or "" */
    char json[4096];    /* all of them as JSON, or "" */
};

/* true: the property holds. false after scenario_failed() said what did not. */
typedef bool scenario_fn(const struct scenario_args *args, struct scenario_result *ret);

struct scenario {
    const char *name, *what;
    scenario_fn *run;
    unsigned seeds; /* of an ordinary test run */
};

extern const struct scenario scenarios[];

bool scenario_lossy_swarm(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_ledbat(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_ledbat_loss(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_ledbat_outage(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_ledbat_plus(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_ledbat_two(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_limits(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_forger(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_economy(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_exit(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_exit_abused(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_banned(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_fork(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_guards(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_hostile(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_crash_resume(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_week(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_idle(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_circuit_ends(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_clocks(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_comes_back(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_recordings(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_first_octet(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_near(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_hidden(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_dual_stack(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_reach(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_introduced(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_relay_dies(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_relay_dies_8(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_fair_relay(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_privacy(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_privacy_apart(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_pruning(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_same_run(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_correlation(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_fairness(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_second_source(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_one_family(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_sleeps(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_slow_seeder(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_slow_way(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_source_returns(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_tokens(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_upstream(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_village(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_village_six(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_workers(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_dht(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_dht_hostile(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_live(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_live_hour(const struct scenario_args *args, struct scenario_result *ret);
bool scenario_hour(const struct scenario_args *args, struct scenario_result *ret);

/* Prints what failed, where, and with which seed; returns false. */
bool scenario_failed(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define SCENARIO_CHECK(cond, ...)                                                                  \
    do {                                                                                           \
        if (!(cond))                                                                               \
            return scenario_failed(__FILE__, __LINE__, #cond ": " __VA_ARGS__);                    \
    } while (0)

/* Fills the common part of the result from a finished simulation. */
void scenario_measure(struct scenario_result *ret, const struct sim *s, unsigned nodes);

int scenario_main(int argc, char **argv);

#endif
