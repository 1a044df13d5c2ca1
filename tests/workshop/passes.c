/* Nothing is wrong here: the proof that the others fail for their own reason. */
#include "support/suite.h"

CV_SUITE(workshop);

Test(workshop, passes) {
    void *p = malloc(16);
    cr_assert_not_null(p);
    free(p);
}
