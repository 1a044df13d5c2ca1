/*
 * What the engine costs without sockets: one seeder and one viewer in one
 * process, datagrams copied from one to the other. Prints one JSON line.
 *     bench_engine [MiB] [circuit]
 */
#include <stdio.h>
#include <time.h>

#include "rig.h"

static double seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

enum { PIPE = 512 }; /* about what a socket buffer holds */
static uint8_t wire[2][PIPE][RIG_STRIDE];
static uint16_t lens[2][PIPE];
static uint32_t used[2];

static void drain(struct rig *r, unsigned i, struct cv_now now) {
    bool more;
    do {
        cv_batch_clear(&r->batch);
        more = ppsp_poll_transmit(r->engine[i], now, &r->batch);
        for (uint32_t k = 0; k < r->batch.runs_used; k++)
            for (uint16_t n = 0; n < r->runs[k].count && used[i] < PIPE; n++) {
                memcpy(wire[i][used[i]], cv_batch_at(&r->batch, &r->runs[k], n), r->runs[k].size);
                lens[i][used[i]++] = r->runs[k].size;
            }
    } while (more && used[i] + RIG_SLOTS <= PIPE);
    struct ppsp_event e;
    while (ppsp_poll_event(r->engine[i], &e))
        ;
}

int main(int argc, char **argv) {
    uint64_t mib = argc > 1 ? strtoull(argv[1], NULL, 10) : 256;
    struct rig *r = rig_new(1, mib << 20, 1024, CV_SHA256);
    r->circuits = argc > 2;
    rig_add(r, true);
    rig_add(r, false);
    rig_connect(r, 0, 1, false);
    rig_connect(r, 1, 0, true);
    { /* the kernel's part of the work is not ours: no page is touched first below */
        memset(r->store[1].tree, 0, 2 * r->store[1].cap * r->store[1].hash_len);
        memset(r->store[1].content, 1, r->store[1].cap * 1024);
    }
    double from = seconds(CLOCK_MONOTONIC), cpu[2] = {0, 0};
    uint64_t datagrams[2] = {0, 0}, rounds = 0;
    struct cv_endpoint ep[2] = {rig_endpoint(r, 0), rig_endpoint(r, 1)};
    while (!rig_complete(r, 1) && seconds(CLOCK_MONOTONIC) < from + 60) {
        for (unsigned i = 0; i < 2; i++) {
            double t = seconds(CLOCK_THREAD_CPUTIME_ID);
            struct cv_now now = {.mono = (cv_usec)(seconds(CLOCK_MONOTONIC) * 1e6)};
            for (uint32_t k = 0; k < used[!i]; k++)
                (void)ppsp_on_datagram(r->engine[i], now, &ep[!i], wire[!i][k], lens[!i][k]);
            datagrams[!i] += used[!i];
            used[!i] = 0;
            ppsp_on_timeout(r->engine[i], now);
            drain(r, i, now);
            cpu[i] += seconds(CLOCK_THREAD_CPUTIME_ID) - t;
        }
        rounds++;
    }
    double took = seconds(CLOCK_MONOTONIC) - from, chunks = (double)(mib << 10);
    printf("{\"complete\":%d,\"mib_per_s\":%.1f,\"us_per_chunk_seeder\":%.3f,"
           "\"us_per_chunk_viewer\":%.3f,\"datagrams_seeder\":%lu,\"datagrams_viewer\":%lu,"
           "\"rounds\":%lu}\n",
           rig_complete(r, 1) && rig_equal(r, 1), (double)mib / took, cpu[0] * 1e6 / chunks,
           cpu[1] * 1e6 / chunks, (unsigned long)datagrams[0], (unsigned long)datagrams[1],
           (unsigned long)rounds);
    const struct ppsp_counters *c = ppsp_counters(r->engine[1]), *s = ppsp_counters(r->engine[0]);
#define X(name)                                                                                    \
    if (c->name || s->name)                                                                        \
        fprintf(stderr, "%-24s seeder %lu viewer %lu\n", #name, (unsigned long)s->name,            \
                (unsigned long)c->name);
    PPSP_COUNTERS(X)
#undef X
    struct ppsp_peer_stats ps[2];
    ppsp_peers(r->engine[0], r->swarm[0], ps, 2);
    fprintf(stderr, "cwnd %lu rtt %lu qd %lu\n", (unsigned long)ps[0].cwnd,
            (unsigned long)ps[0].rtt, (unsigned long)ps[0].queuing_delay);
    rig_free(r);
    return 0;
}
