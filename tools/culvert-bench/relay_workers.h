/* What two workers of one relay carry together, beside what one carries alone. */
#ifndef CULVERT_TOOLS_CULVERT_BENCH_RELAY_WORKERS_H
#define CULVERT_TOOLS_CULVERT_BENCH_RELAY_WORKERS_H

struct relay_workers_figures {
    double speedup;   /* cells a second, two over one */
    double cpu_ratio; /* cells a CPU-second, two over one */
};

/* `rounds` of each, in turns; medians. */
void relay_workers_measure(unsigned rounds, struct relay_workers_figures *ret);

#endif
