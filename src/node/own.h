/*
 * Our own account: what our circuits gave to first hops and took from them, the class that a
 * first hop gives such an account, and a row for every change of that class. First hops keep
 * accounts of their own, one each, by what each of them saw (reputation/account.c); this one
 * is what we can tell of them, and no more.
 *
 * Private: never signed, sent or exported. What lasts has days and no finer times, rows have
 * whole MiB, and what is NODE_OWN_DAYS old is forgotten, as first hops do (decision 0043).
 *
 * A value without pointers; no I/O, no clock. `wall` is Unix seconds, 0: unknown, which
 * changes counters and nothing else.
 */
#ifndef CULVERT_NODE_OWN_H
#define CULVERT_NODE_OWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "reputation/limits.h"
#include "reputation/store.h"

enum {
    NODE_OWN_ROWS = 64, /* the newest; older ones are forgotten */
    NODE_OWN_DAYS = REP_ACCOUNT_DAYS,
    NODE_OWN_TAG = 8,
    NODE_OWN_ROW = 4 + 3 + 2 * 8,
    NODE_OWN_SAVED = 4 + NODE_OWN_TAG + 2 * 8 + 1 + 2 * 4 + 1 + NODE_OWN_ROWS * NODE_OWN_ROW + 16,
};

struct node_own {
    struct rep_account a; /* of nobody; last_seen is a day's midnight */
    int64_t changed_at;   /* the class, in this run; 0: not */
    unsigned count;
    struct rep_why rows[NODE_OWN_ROWS]; /* oldest first; `who` is nobody */
};

void node_own_init(struct node_own *o);

/* Neither counter ever falls, and both stop at REP_AMOUNT_MAX. True: the class changed, or
 * all was forgotten. */
bool node_own_carried(struct node_own *o, uint64_t gave, uint64_t took, int64_t wall);

/* Of a calendar that is right: an account of which nothing was carried for NODE_OWN_DAYS, and
 * rows that are older; days that lie ahead become today. True: an account was forgotten. */
bool node_own_forget(struct node_own *o, int64_t wall);

/* Midnight of the day since when the class is what it is; 0: from the first, or forgotten. */
int64_t node_own_since(const struct node_own *o);

/* A new account in place of one that is not to be had, and a row that says why. */
void node_own_lose(struct node_own *o, enum rep_why_cause why, int64_t wall);

/*
 * What is kept between runs. `tag` says whose account it is: under another key nobody has one
 * of us. Read: with `tag` NULL anybody's. CORRUPT, VERSION (another version of culvert wrote
 * it), DIFFERS (another's); *ret is untouched then. Of a debt that is not an hour old the day is
 * kept: read, it began in the latest second of that day that is not ahead, so that nobody is called
 * a debtor too early.
 */
size_t node_own_write(const struct node_own *o, const uint8_t tag[NODE_OWN_TAG],
                      uint8_t ret[NODE_OWN_SAVED]);
enum cv_err node_own_read(const uint8_t *tag, const uint8_t *saved, size_t len, int64_t wall,
                          struct node_own *ret);

#endif
