/*
 * Congestion control (RFC 6817) on a long thin path: 10 Mbit/s, 50 ms one way,
 * room for 500 ms in the queue. After ten seconds to find its pace, one flow
 * uses at least 90 % of the path and keeps 80 to 120 ms in the queue, never more
 * than 130; a single
 * loss halves its window; and after three seconds of darkness it finds its pace
 * again. With LEDBAT++, two viewers of whom one comes late share a seeder's line.
 */
#include <stdio.h>

#include "scenarios/scenario.h"
#include "scenarios/swarm.h"

enum { RATE = 10000000, QUEUE_MS = 500 };

static struct sim_path path_of(uint64_t seed) {
    return (struct sim_path){.delay = CV_MSEC(50),
                             .jitter = seed % 3 * CV_MSEC(1),
                             .rate = RATE,
                             .queue = RATE / 8 * QUEUE_MS / 1000};
}

static struct swarm_world *make(uint64_t seed) {
    struct swarm_world *w = swarm_world_new(seed, 80 << 20); /* more than a minute's worth */
    swarm_peer_new(w, SWARM_SEEDER);
    swarm_peer_new(w, SWARM_VIEWER);
    struct sim_path path = {
        .delay = CV_MSEC(50), .rate = RATE, .queue = RATE / 8 * QUEUE_MS / 1000};
    path.jitter = seed % 3 * CV_MSEC(1);
    sim_link(w->sim, 0, 1, &path);
    swarm_connect(w->peers[1], w->peers[0]);
    return w;
}

static uint64_t content(const struct swarm_world *w) {
    struct ppsp_stats st = {0};
    (void)ppsp_stats(w->peers[1]->engine, w->peers[1]->swarm, &st);
    return st.down;
}

static double share(uint64_t octets, unsigned seconds) {
    return (double)octets * 8 / ((double)RATE * seconds);
}

static bool check(struct swarm_world *w, struct scenario_result *ret) {
    enum { WARM_S = 10, END_S = 60 };
    cv_usec worst = 0;
    uint64_t sum = 0, samples = 0;
    sim_run(w->sim, CV_SEC(WARM_S));
    const struct sim_node_counters *viewer = sim_node_counters(w->sim, 1);
    uint64_t wire = viewer->octets_received, begin = content(w);
    for (cv_usec t = CV_SEC(WARM_S); t < CV_SEC(END_S); t += CV_MSEC(5)) {
        sim_run(w->sim, t);
        cv_usec wait = sim_path_wait(w->sim, 0, 1);
        worst = wait > worst ? wait : worst;
        sum += wait;
        samples++;
    }
    double used = share(viewer->octets_received - wire, END_S - WARM_S);
    snprintf(ret->note, sizeof ret->note,
             "used %.1f %% (content %.1f %%), queued %.0f ms on average, %.0f at most", used * 100,
             share(content(w) - begin, END_S - WARM_S) * 100, (double)sum / (double)samples / 1000,
             (double)worst / 1000);
    double mean = (double)sum / (double)samples / 1000;
    SCENARIO_CHECK(used >= 0.9, "%s", ret->note);
    SCENARIO_CHECK(mean >= 80 && mean <= 120, "%s", ret->note);
    SCENARIO_CHECK(worst <= CV_MSEC(130), "%s", ret->note);
    return true;
}

bool scenario_ledbat(const struct scenario_args *args, struct scenario_result *ret) {
    struct swarm_world *w = make(args->seed);
    bool ok = check(w, ret);
    scenario_measure(ret, w->sim, w->peers_count);
    swarm_world_free(w);
    return ok;
}

static uint64_t window(const struct swarm_world *w) {
    struct ppsp_peer_stats st = {0};
    (void)ppsp_peers(w->peers[0]->engine, w->peers[0]->swarm, &st, 1);
    return st.cwnd;
}

static bool one_lost(void *ctx) {
    return sim_counters(ctx)->drop_mask > 0;
}

static bool check_loss(struct swarm_world *w, struct scenario_result *ret) {
    sim_run(w->sim, CV_SEC(15));
    uint64_t before = window(w), least = before;
    sim_loss_mask(w->sim, 0, 1, 1);
    bool lost = sim_run_while_not(w->sim, one_lost, w->sim, CV_SEC(16));
    sim_loss_mask(w->sim, 0, 1, 0);
    SCENARIO_CHECK(lost && sim_counters(w->sim)->drop_mask == 1, "one datagram was to be lost");
    for (int i = 0; i < 200; i++) {
        sim_run(w->sim, sim_now(w->sim) + CV_MSEC(5));
        least = window(w) < least ? window(w) : least;
    }
    snprintf(ret->note, sizeof ret->note, "window %llu, after the loss %llu octets",
             (unsigned long long)before, (unsigned long long)least);
    SCENARIO_CHECK(least <= before * 6 / 10, "%s", ret->note);
    SCENARIO_CHECK(least >= before * 4 / 10, "halved once, not more: %s", ret->note);
    return true;
}

bool scenario_ledbat_loss(const struct scenario_args *args, struct scenario_result *ret) {
    struct swarm_world *w = make(args->seed);
    bool ok = check_loss(w, ret);
    scenario_measure(ret, w->sim, w->peers_count);
    swarm_world_free(w);
    return ok;
}

static bool check_outage(struct swarm_world *w, uint64_t seed, struct scenario_result *ret) {
    enum { DARK_S = 15, LIGHT_S = 18, BEGIN_S = 25, END_S = 40 };
    struct sim_path path = path_of(seed);
    sim_run(w->sim, CV_SEC(DARK_S));
    path.cut = true;
    sim_link(w->sim, 0, 1, &path);
    sim_run(w->sim, CV_SEC(LIGHT_S));
    path.cut = false;
    sim_link(w->sim, 0, 1, &path);
    sim_run(w->sim, CV_SEC(BEGIN_S));
    uint64_t begin = content(w);
    sim_run(w->sim, CV_SEC(END_S));
    double used = share(content(w) - begin, END_S - BEGIN_S);
    snprintf(ret->note, sizeof ret->note, "content %.1f %% afterwards", used * 100);
    SCENARIO_CHECK(used > 0.6, "%s", ret->note);
    return true;
}

bool scenario_ledbat_outage(const struct scenario_args *args, struct scenario_result *ret) {
    struct swarm_world *w = make(args->seed);
    bool ok = check_outage(w, args->seed, ret);
    scenario_measure(ret, w->sim, w->peers_count);
    swarm_world_free(w);
    return ok;
}

/* What the two viewers have of content. */
static uint64_t content_of(const struct swarm_world *w, unsigned peer) {
    struct ppsp_stats st = {0};
    (void)ppsp_stats(w->peers[peer]->engine, w->peers[peer]->swarm, &st);
    return st.down;
}

/* Two viewers behind one line, of whom the second comes ten seconds late. */
static bool check_two(struct swarm_world *w, bool plus, cv_usec way, struct scenario_result *ret) {
    enum { LATE_S = 10, BEGIN_S = 40, END_S = 70 };
    w->ledbat_plus = plus;
    for (unsigned i = 0; i < 3; i++)
        swarm_peer_new(w, i == 0 ? SWARM_SEEDER : SWARM_VIEWER);
    sim_access(w->sim, 0,
               &(struct sim_access){.rate_up = RATE, .queue_up = RATE / 8 * QUEUE_MS / 1000});
    for (unsigned i = 1; i < 3; i++)
        sim_link(w->sim, 0, i, &(struct sim_path){.delay = way + CV_MSEC(5 * i)});
    swarm_connect(w->peers[1], w->peers[0]);
    sim_run(w->sim, CV_SEC(LATE_S));
    swarm_connect(w->peers[2], w->peers[0]);
    sim_run(w->sim, CV_SEC(BEGIN_S));
    uint64_t wire = sim_node_counters(w->sim, 1)->octets_received +
                    sim_node_counters(w->sim, 2)->octets_received;
    uint64_t first = content_of(w, 1), late = content_of(w, 2);
    sim_run(w->sim, CV_SEC(END_S));
    wire = sim_node_counters(w->sim, 1)->octets_received +
           sim_node_counters(w->sim, 2)->octets_received - wire;
    double a = (double)(content_of(w, 1) - first), b = (double)(content_of(w, 2) - late);
    double jain = (a + b) * (a + b) / (2 * (a * a + b * b)), used = share(wire, END_S - BEGIN_S);
    snprintf(ret->note, sizeof ret->note,
             "first %.0f KB/s, late %.0f KB/s, Jain %.3f, used %.1f %%",
             a / 1000 / (END_S - BEGIN_S), b / 1000 / (END_S - BEGIN_S), jain, used * 100);
    SCENARIO_CHECK(jain >= 0.9, "%s", ret->note);
    SCENARIO_CHECK(used >= 0.9, "%s", ret->note);
    return true;
}

static bool two(const struct scenario_args *args, bool plus, cv_usec way,
                struct scenario_result *ret) {
    struct swarm_world *w = swarm_world_new(args->seed, 120 << 20);
    bool ok = check_two(w, plus, way, ret);
    scenario_measure(ret, w->sim, w->peers_count);
    swarm_world_free(w);
    return ok;
}

bool scenario_ledbat_two(const struct scenario_args *args, struct scenario_result *ret) {
    return two(args, false, CV_MSEC(45), ret);
}

bool scenario_ledbat_plus(const struct scenario_args *args, struct scenario_result *ret) {
    return two(args, true, CV_MSEC(20), ret);
}
