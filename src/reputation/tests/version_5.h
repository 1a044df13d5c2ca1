/*
 * A ledger's file as version 5 wrote it, before nodes pruned: made by the schema of that
 * version, with the rows of a file of today. And what is in such a file, as text, to see that
 * nothing of it changed.
 */
#ifndef CULVERT_REPUTATION_TESTS_VERSION_5_H
#define CULVERT_REPUTATION_TESTS_VERSION_5_H

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "reputation/store_sqlite.h"

extern const char rep_schema_1[], rep_schema_2[], rep_schema_3[], rep_schema_4[], rep_schema_5[];

static inline sqlite3 *version_5_open(const char *path) {
    sqlite3 *db;
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    return db;
}

static inline void version_5_exec(sqlite3 *db, char *text) {
    char *say = NULL;
    cr_assert_not_null(text);
    cr_assert_eq(sqlite3_exec(db, text, NULL, NULL, &say), SQLITE_OK, "%s: %s", text, say);
    sqlite3_free(text);
}

static inline int64_t version_5_number(const char *path, const char *query) {
    sqlite3 *db = version_5_open(path);
    sqlite3_stmt *st;
    cr_assert_eq(sqlite3_prepare_v2(db, query, -1, &st, NULL), SQLITE_OK, "%s", query);
    cr_assert_eq(sqlite3_step(st), SQLITE_ROW, "%s", query);
    int64_t n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}

/* Calls `each` with the name of every table that version 5 had. */
static inline void
version_5_tables(sqlite3 *db, void (*each)(sqlite3 *db, const char *table, void *arg), void *arg) {
    sqlite3_stmt *st;
    static const char names[] = "SELECT name FROM main.sqlite_schema WHERE type = 'table' "
                                "AND name NOT IN ('whole', 'pruned_5') ORDER BY name";
    cr_assert_eq(sqlite3_prepare_v2(db, names, -1, &st, NULL), SQLITE_OK);
    while (sqlite3_step(st) == SQLITE_ROW)
        each(db, (const char *)sqlite3_column_text(st, 0), arg);
    sqlite3_finalize(st);
}

static inline void version_5_copy(sqlite3 *db, const char *table, void *arg) {
    (void)arg;
    version_5_exec(db, sqlite3_mprintf("INSERT INTO main.%w SELECT * FROM now.%w", table, table));
}

/* `pruned`: eight hexadecimal digits, an epoch, or NULL: by nobody. */
static inline void version_5_make(const char *path, const char *from, const char *pruned) {
    static const char *const schema[] = {rep_schema_1, rep_schema_2, rep_schema_3, rep_schema_4,
                                         rep_schema_5};
    sqlite3 *db = version_5_open(path);
    version_5_exec(db, sqlite3_mprintf("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                                       "ATTACH %Q AS now; BEGIN",
                                       from));
    for (unsigned i = 0; i < sizeof schema / sizeof *schema; i++)
        version_5_exec(db, sqlite3_mprintf("%s", schema[i]));
    version_5_tables(db, version_5_copy, NULL);
    version_5_exec(db, sqlite3_mprintf("DELETE FROM meta WHERE name = 'pruned'"));
    if (pruned)
        version_5_exec(db, sqlite3_mprintf("INSERT INTO meta VALUES('pruned', x'%s')", pruned));
    version_5_exec(db, sqlite3_mprintf("PRAGMA application_id=%d; PRAGMA user_version=5; COMMIT;"
                                       "DETACH now; PRAGMA wal_checkpoint(TRUNCATE)",
                                       REP_SQLITE_APPLICATION_ID));
    sqlite3_close(db);
}

static inline void version_5_rows(sqlite3 *db, const char *table, void *arg) {
    sqlite3_stmt *st;
    FILE *out = arg;
    char *query = sqlite3_mprintf("SELECT * FROM %w ORDER BY 1, 2", table);
    cr_assert_eq(sqlite3_prepare_v2(db, query, -1, &st, NULL), SQLITE_OK, "%s", query);
    while (sqlite3_step(st) == SQLITE_ROW) {
        fputs(table, out);
        for (int i = 0; i < sqlite3_column_count(st); i++) {
            const uint8_t *octets = sqlite3_column_blob(st, i);
            fprintf(out, " %d:", sqlite3_column_type(st, i));
            for (int k = 0; k < sqlite3_column_bytes(st, i); k++)
                fprintf(out, "%02x", octets[k]);
        }
        fputc('\n', out);
    }
    sqlite3_finalize(st);
    sqlite3_free(query);
}

/* Every row of every table that version 5 had, but whether it was closed; free() it. */
static inline char *version_5_text(const char *path) {
    char *text = NULL;
    size_t len = 0;
    sqlite3 *db = version_5_open(path);
    FILE *out = open_memstream(&text, &len);
    cr_assert_not_null(out);
    version_5_exec(db, sqlite3_mprintf("CREATE TEMP VIEW meta AS SELECT * FROM main.meta "
                                       "WHERE name <> 'clean'"));
    version_5_tables(db, version_5_rows, out);
    fclose(out);
    sqlite3_close(db);
    return text;
}

#endif
