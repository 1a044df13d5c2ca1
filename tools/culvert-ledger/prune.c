/*
 * culvert-ledger prune: what a node does by itself once an epoch (reputation/prune.h), now,
 * or up to an epoch that is named, and the file written anew.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "culvert-ledger/hold.h"
#include "culvert-ledger/print.h"
#include "culvert-ledger/show.h"
#include "reputation/prune.h"
#include "reputation/store_sqlite.h"

enum { STEP = 4096 };

__attribute__((noreturn)) static void fail(const char *path, enum cv_err err, const char *why) {
    if (err == CV_ERR_CORRUPT)
        ledger_die(LEDGER_NOT_ONE, "%s: damaged (%s); restore a backup", path, why);
    if (access(path, W_OK) == 0 && err == CV_ERR_STORE)
        ledger_die(LEDGER_NO_FILE, "%s: in use; stop the node first", path);
    ledger_die(LEDGER_NO_FILE, "%s: cannot be written: %s", path, why);
}

/* All of it or nothing. */
static enum cv_err prune(const struct rep_store *s, struct rep_prune *p) {
    enum cv_err err = s->begin(s->ctx, (int64_t)time(NULL));
    while (!err && !p->done)
        err = rep_prune_step(s, p, STEP);
    return err ? err : s->commit(s->ctx);
}

/* What was removed is not to be read in free pages, and the file gets smaller. */
static void write_anew(const char *path) {
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK ||
        sqlite3_exec(db, "VACUUM; PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL) != SQLITE_OK)
        fail(path, sqlite3_errcode(db) == SQLITE_BUSY ? CV_ERR_STORE : CV_ERR_FULL,
             sqlite3_errmsg(db));
    sqlite3_close(db);
}

int ledger_prune(const char *path, const struct ledger_request *q) {
    struct ledger_file f;
    struct rep_store_sqlite *file = NULL;
    struct rep_prune p = {.before = q->before};
    uint8_t network_id[REP_NETWORK_ID];
    char why[1024];
    ledger_open(&f, path); /* says what is wrong with it */
    int64_t newest = ledger_number(&f, "SELECT ifnull(max(epoch), 0) FROM block");
    if (!q->has_before) {
        int64_t row = ledger_number(&f, "SELECT ifnull(max(epoch), 0) FROM edge");
        int64_t clock = (int64_t)time(NULL) / REP_EPOCH_SECONDS;
        row = row < clock ? row : clock; /* any two may sign one of an epoch to come */
        p.before = row > REP_PRUNE_EPOCHS ? (uint32_t)(row - REP_PRUNE_EPOCHS) : 0;
    }
    if (q->before > newest) /* it never falls again, and would hide what is to come */
        ledger_die(LEDGER_USAGE,
                   "prune: --before %" PRIu32
                   " is in the future of this file: its newest half-block "
                   "is of epoch %" PRId64 "; name that epoch or an earlier one",
                   q->before, newest);
    int64_t had = ledger_number(&f, "SELECT count(*) FROM block");
    memcpy(p.me, f.identity, CV_KEY);
    memcpy(network_id, f.network_id, REP_NETWORK_ID);
    ledger_close(&f);
    ledger_hold(path, "it prunes by itself");
    enum cv_err err =
        rep_store_sqlite_open(path, network_id, p.me, REP_SQLITE_FULL, &file, why, sizeof why);
    if (err)
        fail(path, err, why);
    rep_store_sqlite_bulk(file);
    err = prune(rep_store_sqlite_ops(file), &p);
    rep_store_sqlite_close(file);
    if (err)
        fail(path, err, cv_strerror(err));
    write_anew(path);
    int64_t have = had - (int64_t)p.removed;
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
