/*
 * culvert-ledger prune: half-blocks of others about others that a later pair of
 * half-blocks has made superfluous, since claims are cumulative. Every agreed
 * row stays provable, our own half-blocks and those about us stay, and so do
 * proofs, proposals nobody answered and the newest half-block of every chain.
 * What is gone cannot contradict a forgery any more.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "culvert-ledger/print.h"
#include "culvert-ledger/show.h"

/* Agreed pairs of half-blocks with what they say each way, lower row id first. */
#define PRUNE                                                                                      \
    "CREATE TEMP TABLE agreed AS SELECT p.owner AS a, p.seq AS a_seq, g.owner AS b, "              \
    "g.seq AS b_seq, p.epoch AS epoch, min(p.owner, g.owner) AS low, "                             \
    "max(p.owner, g.owner) AS high, "                                                              \
    "CASE WHEN p.owner < g.owner THEN min(p.given, g.taken) ELSE min(p.taken, g.given) END "       \
    "AS up, "                                                                                      \
    "CASE WHEN p.owner < g.owner THEN min(p.taken, g.given) ELSE min(p.given, g.taken) END "       \
    "AS down FROM block p JOIN block g ON g.owner = p.peer AND g.peer = p.owner AND g.type = 2 "   \
    "AND g.peer_seq = p.seq AND g.peer_hash = p.hash WHERE p.type = 1 AND NOT EXISTS("             \
    "SELECT 1 FROM peer x JOIN meta m ON m.value = x.pk AND m.name = 'identity' "                  \
    "WHERE x.id IN (p.owner, g.owner));"                                                           \
    "CREATE INDEX temp.agreed_pair ON agreed(low, high);"                                          \
    "CREATE TEMP TABLE gone AS SELECT o.* FROM agreed o WHERE o.epoch < %u AND EXISTS("            \
    "SELECT 1 FROM agreed n WHERE n.low = o.low AND n.high = o.high AND n.up >= o.up AND "         \
    "n.down >= o.down AND (n.up, n.down, n.a, n.a_seq) > (o.up, o.down, o.a, o.a_seq));"           \
    "CREATE TEMP TABLE head AS SELECT owner, max(seq) AS seq FROM block WHERE type < 3 "           \
    "GROUP BY owner;"                                                                              \
    "DELETE FROM block WHERE (owner, seq) IN (SELECT a, a_seq FROM gone UNION "                    \
    "SELECT b, b_seq FROM gone) AND (owner, seq) NOT IN (SELECT owner, seq FROM head);"            \
    "INSERT INTO meta(name, value) VALUES('pruned', x'%08x') ON CONFLICT(name) DO UPDATE SET "     \
    "value = max(value, excluded.value);"

__attribute__((noreturn)) static void fail(sqlite3 *db, const char *path) {
    int rc = sqlite3_errcode(db);
    if (rc == SQLITE_BUSY || rc == SQLITE_LOCKED)
        ledger_die(LEDGER_NO_FILE, "%s: in use; stop the node first", path);
    if (rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB)
        ledger_die(LEDGER_NOT_ONE, "%s: damaged (%s); restore a backup", path, sqlite3_errmsg(db));
    ledger_die(LEDGER_NO_FILE, "%s: cannot be written: %s", path, sqlite3_errmsg(db));
}

int ledger_prune(const char *path, const struct ledger_request *q) {
    struct ledger_file f;
    sqlite3 *db = NULL;
    if (!q->has_before)
        ledger_die(LEDGER_USAGE, "prune: give --before EPOCH (culvert-ledger stats tells epochs)");
    ledger_open(&f, path); /* says what is wrong with it */
    int64_t had = ledger_number(&f, "SELECT count(*) FROM block");
    ledger_close(&f);
    char *sql = sqlite3_mprintf("BEGIN EXCLUSIVE;" PRUNE "COMMIT;", q->before, q->before);
    if (!sql || sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
        fail(db, path);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    /* Deleted rows are not to be read in freed pages: VACUUM writes it anew. */
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(db, "VACUUM; PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL) != SQLITE_OK)
        fail(db, path);
    sqlite3_free(sql);
    sqlite3_close(db);
    ledger_open(&f, path);
    int64_t have = ledger_number(&f, "SELECT count(*) FROM block");
    ledger_close(&f);
    if (q->json) {
        json_t *o = json_object();
        json_object_set_new(o, "removed", json_integer(had - have));
        json_object_set_new(o, "left", json_integer(have));
        ledger_print_json(o);
    } else {
        printf("%s: %" PRId64 " half-blocks removed, %" PRId64 " left\n", path, had - have, have);
    }
    return LEDGER_OK;
}
