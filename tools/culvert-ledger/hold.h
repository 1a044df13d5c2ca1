/* The lock of the state folder that a ledger lies in, for commands that write. */
#ifndef CULVERT_TOOLS_CULVERT_LEDGER_HOLD_H
#define CULVERT_TOOLS_CULVERT_LEDGER_HOLD_H

/* A node holds the lock of its state folder (io/state.h) as long as it runs, not only while it
 * writes: it would not know of rows that came or went beside it, and a long transaction would end
 * its ledger. Held until this process ends, so that no node begins meanwhile. `path` need not be
 * there yet; a folder without `lock` is none of a node. Exits with LEDGER_NO_FILE where a node
 * runs, saying that it is to be stopped, or left alone: `instead`. */
void ledger_hold(const char *path, const char *instead);

#endif
