/* Must be reported as a failure: memory that nobody frees. */
#include "support/suite.h"

CV_SUITE(workshop);

/* Overwrites the stack and registers that still hold the pointer, which
 * LeakSanitizer would otherwise take for a reference. */
static __attribute__((noinline)) void forget(void) {
    volatile char page[4096];
    for (size_t i = 0; i < sizeof page; i++)
        page[i] = 0;
}

static __attribute__((noinline)) void leak(void) {
    char *volatile p = malloc(100);
    cr_assert_not_null(p);
    p = NULL;
}

Test(workshop, leaks) {
    leak();
    forget();
}
