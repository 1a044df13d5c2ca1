/* The machine's processors, and what a relay makes of them. */
#ifndef CULVERT_CLI_PROCESSORS_H
#define CULVERT_CLI_PROCESSORS_H

/* That this process may use (taskset, cpusets), at least 1. Shares of processors that a
 * container is given (CPU quotas) are not seen. */
unsigned cli_processors(void);

/* Workers of a relay that has so many: one processor stays for the kernel, which receives
 * what they forward, and for everything else; at least 1, at most NODE_WORKERS_MAX. */
unsigned cli_processors_workers(unsigned processors);

#endif
