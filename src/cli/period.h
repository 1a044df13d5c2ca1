/* Days, weeks and months of the calendar, in UTC: weeks begin on Mondays. */
#ifndef CULVERT_CLI_PERIOD_H
#define CULVERT_CLI_PERIOD_H

#include <stdbool.h>
#include <stdint.h>

enum cli_period { CLI_PERIOD_DAY, CLI_PERIOD_WEEK, CLI_PERIOD_MONTH, CLI_PERIODS };

/* "day", "week", "month". */
const char *cli_period_name(enum cli_period period);
/* False: it is none of them. */
bool cli_period_of(const char *name, enum cli_period *ret);

/* When the one that holds `wall` (Unix seconds, not negative) began, and when it ends. */
int64_t cli_period_begin(enum cli_period period, int64_t wall);
int64_t cli_period_end(enum cli_period period, int64_t wall);

#endif
