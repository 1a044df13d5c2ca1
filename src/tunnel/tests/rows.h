/* Tables of states: a row for each state, in it a letter for what each message makes of it. */
#ifndef CULVERT_TUNNEL_TESTS_ROWS_H
#define CULVERT_TUNNEL_TESTS_ROWS_H

#include "support/suite.h"

/* `what`: of which of the rows' strings. Both are shown, one below the other. */
static inline void expect_row(const char *what, const char *name, const char *got,
                              const char *want) {
    cr_expect_str_eq(got, want, "%s, %s:\n got %s\nwant %s", what, name, got, want);
}

#endif
