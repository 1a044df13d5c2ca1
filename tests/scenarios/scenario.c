#include "scenarios/scenario.h"

#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SCENARIO_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define SCENARIO_ASAN 1
#endif
#ifdef SCENARIO_ASAN
void __sanitizer_set_death_callback(void (*callback)(void));
#endif

const struct scenario scenarios[] = {
    {"lossy_swarm", "1 seeder, 3 viewers, 1-5 % loss, reordering, duplication: byte-equal",
     scenario_lossy_swarm, 50},
    {"ledbat", "10 Mbit/s, 50 ms, 500 ms queue: 90 % used, 80 to 120 ms queued", scenario_ledbat,
     3},
    {"ledbat_loss", "the window is halved after one loss", scenario_ledbat_loss, 3},
    {"ledbat_outage", "three dark seconds, then full speed again", scenario_ledbat_outage, 3},
    {"ledbat_two", "a latecomer and the first share a long line, Jain 0.9, 90 % used",
     scenario_ledbat_two, 2},
    {"ledbat_plus", "LEDBAT++: a latecomer and the first share a line, Jain 0.9, 90 % used",
     scenario_ledbat_plus, 2},
    {"limits", "upload and download limits hold within 3 %", scenario_limits, 4},
    {"forger", "a forger's data never reaches the store", scenario_forger, 20},
    {"economy",
     "contributors, free-riders, whitewashers, newcomers, fakes: who is served, who ranks",
     scenario_economy, 1},
    {"correlation",
     "who watches both ends: what he counts, with and without a constant rate (--nodes: flows)",
     scenario_correlation, 1},
    {"exit", "a direct swarm seen through a swarm exit, by three viewers", scenario_exit, 3},
    {"exit_abused", "a hostile viewer gets three calls each out of a swarm exit, and nothing else",
     scenario_exit_abused, 2},
    {"fairness", "Jain's index at a full relay: networks, circuits, relays by weight",
     scenario_fairness, 1},
    {"first_octet", "a chunk through a built circuit takes two round trips of the path",
     scenario_first_octet, 2},
    {"banned", "relays end their links with a proven forger, whichever worker has them",
     scenario_banned, 2},
    {"fork", "a forged half-block is known to half of 100 relays within 30 s", scenario_fork, 3},
    {"guards",
     "30 days of paths among 1,000 relays, some hostile: who is compromised, and the formula",
     scenario_guards, 1},
    {"hostile", "eleven hostile peers, each with a habit, among four honest ones: byte-equal",
     scenario_hostile, 20},
    {"crash_resume", "crashes with lost and torn writes: resumes, byte-equal",
     scenario_crash_resume, 30},
    {"live",
     "a broadcast that its source can send twice, to 11 viewers; a crash, a slow one, replays",
     scenario_live, 5},
    {"live_hour", "a broadcast of an hour: nobody drifts away from its edge, nothing grows",
     scenario_live_hour, 1},
    {"week", "the week turns: nobody is called or sends more often than before", scenario_week, 2},
    {"idle", "idle nodes cost next to nothing", scenario_idle, 1},
    {"circuit_ends",
     "no circuit to an exit or to a sharing relay is used for over an hour, and no film waits",
     scenario_circuit_ends, 1},
    {"clocks",
     "clocks ten minutes wrong around 03:00 and a turn of slots: newcomers wait no longer",
     scenario_clocks, 3},
    {"comes_back", "a seeder says goodbye mid-film and is met again", scenario_comes_back, 4},
    {"hidden", "a film over the hidden path, and on from the first viewer: byte-equal",
     scenario_hidden, 3},
    {"introduced", "a viewer whom no slot shows is found through a peer, and outlives the seeder",
     scenario_introduced, 2},
    {"recordings", "a channel's link leads to what it recorded, also after a vandal",
     scenario_recordings, 2},
    {"dual_stack",
     "viewers of IPv4 only and of IPv6 only meet in one swarm, through relays that have both",
     scenario_dual_stack, 3},
    {"reach", "a relay that lets in answers only is told of to nobody, until its port is open",
     scenario_reach, 2},
    {"relay_dies", "any relay dies mid-film, 1.2 x bitrate, 5 s buffer: the reader never waits",
     scenario_relay_dies, 7},
    {"relay_dies_8", "the same with eight relays, where both ways may share the one that dies",
     scenario_relay_dies_8, 4},
    {"fair_relay", "a saturated relay: contributor 3 : 1 free-rider, 1 : 1 with the gate off",
     scenario_fair_relay, 2},
    {"privacy", "two weeks of viewers and seeders: what an adversary gets of the ledger (--csv)",
     scenario_privacy, 3},
    {"privacy_apart", "the same with a leak: nobody is shown a guard of ours, or ourselves",
     scenario_privacy_apart, 1},
    {"pruning",
     "years of epochs: pruned ledgers know, rank and prove what others do, and stay small",
     scenario_pruning, 1},
    {"one_family", "a machine of both families loses one of them mid-film: it goes on",
     scenario_one_family, 4},
    {"second_source", "a seeder that comes to a viewer who gets too little is soon used",
     scenario_second_source, 2},
    {"sleeps", "a machine is suspended or cut off mid-film, or gets another address: it goes on",
     scenario_sleeps, 10},
    {"slow_seeder", "a way that is slow for want of what its seeder gives is not replaced",
     scenario_slow_seeder, 4},
    {"slow_way", "a relay of one way carries a tenth of it: the way is replaced, the new one first",
     scenario_slow_way, 4},
    {"source_returns", "the only source restarts, and the viewer goes on", scenario_source_returns,
     3},
    {"tokens", "a relay with a score watches: tokens through circuits, spent on nameless links",
     scenario_tokens, 2},
    {"same_run", "whole nodes, crash and restart: same seed, same run", scenario_same_run, 2},
    {"near",
     "a film over the hidden path between close neighbours: no circuit is too full for a burst",
     scenario_near, 2},
    {"upstream", "what the line carries is found out, and a fifth of it is left free",
     scenario_upstream, 4},
    {"village", "sixty relays find each other, and a film goes over the hidden path",
     scenario_village, 1},
    {"village_six", "the same where all addresses are of IPv6", scenario_village_six, 1},
    {"workers", "relays of several workers: a film, a restart, and counts that agree",
     scenario_workers, 2},
    {"hour", "100 nodes, 10 relays, 2 films: the simulator's speed (--nodes: idle)", scenario_hour,
     1},
    {"dht", "hundreds of DHT nodes, a tenth changing every ten minutes: announced is found",
     scenario_dht, 2},
    {"dht_hostile", "the same with a fifth of them lying, besieging keys, poisoning, flooding",
     scenario_dht_hostile, 2},
    {0},
};

/* What runs now, for messages from the depths of a signal. */
static char current[128];

static void say_current(void) {
    ssize_t ignored = write(STDERR_FILENO, current, strlen(current));
    (void)ignored;
}

static void on_abort(int sig) {
    say_current();
    raise(sig); /* SA_RESETHAND: this time it ends us */
}

bool scenario_failed(const char *file, int line, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\n%s", current);
    va_end(ap);
    return false;
}

void scenario_measure(struct scenario_result *ret, const struct sim *s, unsigned nodes) {
    ret->digest = sim_digest(s);
    ret->node_usec += sim_now(s) * nodes;
}

struct options {
    const struct scenario *scenario;
    uint64_t seed, seeds, tolerated;
    bool seed_given, list, json;
    struct scenario_args args;
};

static uint64_t number(struct argp_state *state, const char *what, const char *text) {
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-')
        argp_error(state, "%s is not a number: %s", what, text);
    return v;
}

enum { HOSTILE = 256, TOLERATE, CSV, PERCENT }; /* no short form */

static error_t parse(int key, char *arg, struct argp_state *state) {
    struct options *o = state->input;
    switch (key) {
    case 'x':
        for (const struct scenario *sc = scenarios; sc->name; sc++)
            if (strcmp(sc->name, arg) == 0)
                o->scenario = sc;
        if (!o->scenario)
            argp_error(state, "no such scenario: %s (see --list)", arg);
        return 0;
    case 's':
        o->seed = number(state, "seed", arg);
        o->seed_given = true;
        return 0;
    case 'c':
        o->seeds = number(state, "seeds", arg);
        return 0;
    case 'n':
        o->args.nodes = (unsigned)number(state, "nodes", arg);
        return 0;
    case 'm':
        o->args.minutes = (unsigned)number(state, "minutes", arg);
        return 0;
    case HOSTILE:
        o->args.hostile = (unsigned)number(state, "percentage", arg);
        if (o->args.hostile > 90)
            argp_error(state, "--hostile: at most 90");
        return 0;
    case PERCENT:
        o->args.percent = (unsigned)number(state, "percentage", arg);
        return 0;
    case TOLERATE:
        o->tolerated = number(state, "tolerate", arg);
        return 0;
    case CSV:
        o->args.csv = fopen(arg, "w");
        if (!o->args.csv)
            argp_failure(state, EXIT_FAILURE, errno, "%s", arg);
        return 0;
    case 'j':
        o->json = true;
        return 0;
    case 'l':
        o->list = true;
        return 0;
    case 'v':
        o->args.verbose = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option option_table[] = {
    {"scenario", 'x', "NAME", 0, "What to run (see --list)", 0},
    {"seed", 's', "N", 0, "The one seed to run, or with --seeds the first", 0},
    {"seeds", 'c', "COUNT", 0, "So many seeds (default: the scenario's own)", 0},
    {"nodes", 'n', "N", 0, "Nodes, where the scenario leaves it open", 0},
    {"minutes", 'm', "N", 0, "Simulated minutes, where the scenario leaves it open", 0},
    {"hostile", HOSTILE, "PERCENT", 0, "Hostile nodes, where the scenario knows such", 0},
    {"percent", PERCENT, "PERCENT", 0, "So much of what is usual, where the scenario has a size",
     0},
    {"tolerate", TOLERATE, "COUNT", 0,
     "So many seeds may fail, for what chance alone can bring about", 0},
    {"csv", CSV, "FILE", 0, "Rows of single results, where the scenario has such", 0},
    {"json", 'j', NULL, 0, "One JSON object a seed and nothing else on standard output", 0},
    {"list", 'l', NULL, 0, "List the scenarios", 0},
    {"verbose", 'v', NULL, 0, "One line a seed", 0},
    {0},
};

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int run(struct options *o) {
    const struct scenario *sc = o->scenario;
    uint64_t node_usec = 0, digests = 0;
    unsigned failed = 0;
    double begin = cpu_seconds();
    struct scenario_result last = {0};
    for (uint64_t i = 0; i < o->seeds; i++) {
        struct scenario_result r = {0};
        o->args.seed = o->seed + i;
        snprintf(current, sizeof current,
                 "failed with seed=%llu; again: culvert-sim --scenario %s --seed %llu\n",
                 (unsigned long long)o->args.seed, sc->name, (unsigned long long)o->args.seed);
        bool ok = sc->run(&o->args, &r);
        failed += !ok;
        node_usec += r.node_usec;
        digests = digests * 31 + r.digest;
        last = r;
        if (o->json)
            printf("{\"scenario\":\"%s\",\"seed\":%llu,\"ok\":%s,\"digest\":\"%016llx\","
                   "\"result\":%s}\n",
                   sc->name, (unsigned long long)o->args.seed, ok ? "true" : "false",
                   (unsigned long long)r.digest, r.json[0] ? r.json : "null");
        else if (o->args.verbose)
            printf("%s seed=%llu %s digest=%016llx %s\n", sc->name,
                   (unsigned long long)o->args.seed, ok ? "ok" : "FAILED",
                   (unsigned long long)r.digest, r.note);
    }
    if (o->json)
        return failed > o->tolerated ? EXIT_FAILURE : EXIT_SUCCESS;
    double cpu = cpu_seconds() - begin, hours = (double)node_usec / 3.6e9;
    printf("%s: %llu of %llu seeds ok, digest %016llx, %.3f node-hours in %.2f CPU-seconds (%.0f "
           "node-hours a CPU-minute)%s%s\n",
           sc->name, (unsigned long long)(o->seeds - failed), (unsigned long long)o->seeds,
           (unsigned long long)digests, hours, cpu, cpu > 0 ? hours * 60 / cpu : 0,
           last.note[0] ? "; " : "", last.note);
    fputs(last.text, stdout);
    return failed > o->tolerated ? EXIT_FAILURE : EXIT_SUCCESS;
}

int scenario_main(int argc, char **argv) {
    static const struct argp argp = {
        option_table,
        parse,
        NULL,
        "Runs a network of simulated nodes from a seed and checks what it must do.\v"
        "The environment variable CULVERT_SEED is as good as --seed.",
        NULL,
        NULL,
        NULL};
    struct options o = {.seed = 1};
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (o.list || !o.scenario) {
        for (const struct scenario *sc = scenarios; sc->name; sc++)
            printf("%-14s %s\n", sc->name, sc->what);
        return o.list ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    const char *env = getenv("CULVERT_SEED");
    if (env && !o.seed_given) {
        o.seed = strtoull(env, NULL, 10);
        o.seed_given = true;
    }
    if (!o.seeds)
        o.seeds = o.seed_given ? 1 : o.scenario->seeds;
    sigaction(SIGABRT, &(struct sigaction){.sa_handler = on_abort, .sa_flags = SA_RESETHAND}, NULL);
#ifdef SCENARIO_ASAN
    __sanitizer_set_death_callback(say_current);
#endif
    int status = run(&o);
    if (o.args.csv && fclose(o.args.csv) != 0) {
        perror("csv");
        return EXIT_FAILURE;
    }
    return status;
}
