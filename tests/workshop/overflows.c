/* Must be reported as a failure: one octet read past the end of a block. */
#include <stdint.h>

#include "support/suite.h"

CV_SUITE(workshop);

Test(workshop, overflows) {
    volatile size_t size = 8;
    volatile char *p = malloc(size);
    p[size - 1] = 1;
    volatile char past = p[size];
    free((void *)(uintptr_t)p);
    cr_expect_eq(past, past);
}
