#include "cli/processors.h"

#include <sched.h>
#include <unistd.h>

#include "node/limits.h"

unsigned cli_processors(void) {
    cpu_set_t set;
    int count = 0;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        count = CPU_COUNT(&set);
    else /* more than a set holds */
        count = (int)sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : (unsigned)count;
}

unsigned cli_processors_workers(unsigned processors) {
    unsigned workers = processors > 1 ? processors - 1 : 1;
    return workers < NODE_WORKERS_MAX ? workers : NODE_WORKERS_MAX;
}
