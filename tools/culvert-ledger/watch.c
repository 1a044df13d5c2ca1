/*
 * culvert-ledger watch: half-blocks as they are added, one line each (with
 * --json one JSON object a line), until it is interrupted or --seconds are
 * over. Looks once a second whether somebody wrote, and then for half-blocks
 * behind the newest it knows of each chain; gaps that are filled later are not
 * told. The file is closed between two looks: whoever has it open keeps a node
 * that ends from tidying up its log.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/siphash.h"
#include "culvert-ledger/print.h"
#include "culvert-ledger/show.h"

struct watch {
    const char *path;
    bool json;
    struct cv_map *told;       /* newest half-block told, by owner: seq + 1 as a map's value */
    struct ledger_stamp stamp; /* of the file as it was at the last look */
    bool settled;              /* and at the one before */
};

static void remember(struct watch *w, const uint8_t owner[CV_KEY], uint64_t seq) {
    cv_map_del(w->told, owner);
    if (cv_map_put(w->told, owner, (void *)(uintptr_t)(seq + 1)) != CV_ERR_OK)
        ledger_die(LEDGER_NO_FILE, "out of memory");
}

/* What a chain has from `from` on. */
static void tell(const struct watch *w, struct ledger_file *f, int64_t owner, uint64_t from) {
    sqlite3_stmt *st = ledger_query(f, "SELECT " LEDGER_AGREED LEDGER_BLOCK
                                       "WHERE b.owner = ?1 AND b.seq >= ?2 ORDER BY b.seq");
    sqlite3_bind_int64(st, 1, owner);
    sqlite3_bind_int64(st, 2, (sqlite3_int64)from);
    while (ledger_step(f, st)) {
        struct rep_record r;
        if (!ledger_record(st, 1, &r))
            ledger_die(LEDGER_NOT_ONE, "%s: damaged (a half-block); restore a backup", f->path);
        bool agreed = sqlite3_column_int(st, 0) != 0;
        if (w->json) {
            json_t *o = ledger_json_record(f, &r, agreed);
            json_dumpf(o, stdout, JSON_COMPACT);
            putchar('\n');
            json_decref(o);
        } else {
            ledger_print_record(f, &r, agreed);
        }
    }
}

/* The end of each chain, and from there back to what was told: no other half-block is read. */
static void read_new(struct watch *w, bool first) {
    struct ledger_file f;
    ledger_open(&f, w->path);
    sqlite3_stmt *st = ledger_query(
        &f, "SELECT id, pk, (SELECT max(seq) FROM block WHERE owner = id) FROM peer ORDER BY pk");
    while (ledger_step(&f, st)) {
        uint8_t owner[CV_KEY];
        uint64_t newest = (uint64_t)sqlite3_column_int64(st, 2); /* 0: it has none */
        if (sqlite3_column_bytes(st, 1) != CV_KEY)
            ledger_die(LEDGER_NOT_ONE, "%s: damaged (a relay's key); restore a backup", w->path);
        memcpy(owner, sqlite3_column_blob(st, 1), CV_KEY);
        uint64_t from = (uintptr_t)cv_map_get(w->told, owner);
        if (newest == 0 || newest < from)
            continue;
        remember(w, owner, newest);
        if (!first)
            tell(w, &f, sqlite3_column_int64(st, 0), from);
    }
    ledger_close(&f);
    if (fflush(stdout) == 0)
        return;
    if (errno == EPIPE)
        exit(LEDGER_OK); /* whoever read has seen enough */
    ledger_die(LEDGER_NO_FILE, "the output cannot be written");
}

/* After a change once more: what is written in the same tick of the file system's clock as
 * what was read changes no stamp. */
static void look(struct watch *w, bool first) {
    struct ledger_stamp now = ledger_stamp(w->path);
    bool same = !first && ledger_stamp_same(&now, &w->stamp);
    if (!same || !w->settled)
        read_new(w, first);
    w->stamp = now;
    w->settled = same;
}

int ledger_watch(const char *path, const struct ledger_request *q) {
    static const uint8_t hash_key[CV_SIPHASH_KEY] = {4};
    struct watch w = {.path = path, .json = q->json};
    w.told = cv_map_new(CV_KEY, SIZE_MAX, cv_siphash_map, hash_key);
    if (!w.told)
        ledger_die(LEDGER_NO_FILE, "out of memory");
    look(&w, true);
    for (unsigned i = 0; q->seconds == 0 || i < q->seconds; i++) {
        sleep(1);
        look(&w, false);
    }
    cv_map_free(w.told);
    return LEDGER_OK;
}
