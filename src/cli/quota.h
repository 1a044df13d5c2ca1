/*
 * What a relay may carry in a day, week or month (--data-cap): counted over all
 * sockets, in and out, as a provider counts, and kept over restarts. When it is used
 * up the relay carries nobody until the next period (node_drain).
 */
#ifndef CULVERT_CLI_QUOTA_H
#define CULVERT_CLI_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"
#include "cli/period.h"
#include "cli/tally.h"
#include "io/why.h"

struct cli_quota_rule {
    uint64_t octets; /* 0: no limit */
    enum cli_period period;
};

/* "500G/month", "20G/week", "1.5G/day"; false when it is not. */
bool cli_quota_parse(const char *text, struct cli_quota_rule *ret);

struct cli_session;

struct cli_quota {
    struct cli_quota_rule rule;
    struct cli_tally tally;
    uint64_t seen;  /* octets that the sockets had counted in this run */
    uint64_t saved; /* of what was used: so much the file has */
    cv_usec saved_at;
    bool spent;
    bool unsaved; /* the file could not be written; it was said */
};

/* Reads what earlier runs used; where that is damaged, all of this period counts as used.
 * `text` NULL: no limit. The option was checked. What io_state_read() says of a file that
 * cannot be read (DENIED, STORE), with its line in *why: nothing was changed. */
enum cv_err cli_quota_open(struct cli_session *c, const char *text, struct io_why *why);
void cli_quota_tick(struct cli_session *c);
void cli_quota_close(struct cli_session *c);

#endif
