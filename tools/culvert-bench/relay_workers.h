/* What two workers of one relay carry together, beside what one carries alone, and beside
 * what two processes carry that share nothing but the machine. */
#ifndef CULVERT_TOOLS_CULVERT_BENCH_RELAY_WORKERS_H
#define CULVERT_TOOLS_CULVERT_BENCH_RELAY_WORKERS_H

struct relay_workers_figures {
    double speedup;           /* cells a second, two over one */
    double cpu_ratio;         /* cells a CPU-second, two over one */
    double process_speedup;   /* as `speedup`, of two processes with one worker each */
    double process_cpu_ratio; /* as `cpu_ratio` */
};

/* `rounds` of each, in turns; medians. */
void relay_workers_measure(unsigned rounds, struct relay_workers_figures *ret);

#endif
