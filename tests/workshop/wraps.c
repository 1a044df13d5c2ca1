/* Must be reported as a failure: a signed integer overflows. */
#include "support/suite.h"

#include <limits.h>

CV_SUITE(workshop);

Test(workshop, wraps) {
    volatile int x = INT_MAX;
    volatile int y = x + 1;
    cr_expect_eq(y, y);
}
