/* The commands of culvert-ledger that show what is there. Each prints a table
 * for people, or one JSON value with `json`. */
#ifndef CULVERT_TOOLS_LEDGER_SHOW_H
#define CULVERT_TOOLS_LEDGER_SHOW_H

#include "ledger_file.h"

enum ledger_metric { LEDGER_WALK, LEDGER_PPR };

void ledger_stats(struct ledger_file *f, bool json);
/* `top` 0: all. Best score first. */
void ledger_peers(struct ledger_file *f, enum ledger_metric metric, unsigned top, bool json);
void ledger_chain(struct ledger_file *f, const char *relay, bool json);
void ledger_pair(struct ledger_file *f, const char *a, const char *b, bool json);

/* ledger_verify.c: false when anything is wrong. */
bool ledger_verify(struct ledger_file *f, bool deep, bool json);

#endif
