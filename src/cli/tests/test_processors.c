#include "cli/processors.h"

#include <sched.h>

#include "support/suite.h"

CV_SUITE(cli_processors);

Test(cli_processors, one_stays_for_the_rest_of_the_machine) {
    static const struct {
        unsigned processors, workers;
    } table[] = {{0, 1}, {1, 1}, {2, 1}, {3, 2}, {4, 3}, {16, 15}, {17, 16}, {18, 16}, {1024, 16}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        cr_expect_eq(cli_processors_workers(table[i].processors), table[i].workers, "%u",
                     table[i].processors);
}

/* Those it may use, not those there are. */
Test(cli_processors, a_process_has_those_that_it_may_use) {
    cpu_set_t before, one;
    cr_assert_eq(sched_getaffinity(0, sizeof before, &before), 0);
    cr_expect_eq(cli_processors(), (unsigned)CPU_COUNT(&before));
    int first = 0;
    while (!CPU_ISSET(first, &before))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0);
    cr_expect_eq(cli_processors(), 1);
}
