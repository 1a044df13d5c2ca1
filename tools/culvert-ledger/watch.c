/*
 * culvert-ledger watch: half-blocks as they are added, one line each (with
 * --json one JSON object a line), until it is interrupted or --seconds are
 * over. Looks once a second for half-blocks behind the newest it knows of each
 * chain; gaps that are filled later are not told.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/siphash.h"
#include "culvert-ledger/print.h"
#include "culvert-ledger/show.h"

/* Newest half-block told, by owner: seq + 1 as a map's value. */
static void remember(struct cv_map *newest, const struct rep_record *r) {
    cv_map_del(newest, r->owner);
    if (cv_map_put(newest, r->owner, (void *)(uintptr_t)(r->seq + 1)) != CV_ERR_OK)
        ledger_die(LEDGER_NO_FILE, "out of memory");
}

static void look(const char *path, struct cv_map *newest, bool tell, bool json) {
    struct ledger_file f;
    ledger_open(&f, path);
    sqlite3_stmt *st =
        ledger_query(&f, "SELECT " LEDGER_AGREED LEDGER_BLOCK "ORDER BY o.pk, b.seq");
    while (ledger_step(&f, st)) {
        struct rep_record r;
        if (!ledger_record(st, 1, &r))
            ledger_die(LEDGER_NOT_ONE, "%s: damaged (a half-block); restore a backup", path);
        if (r.seq < (uintptr_t)cv_map_get(newest, r.owner))
            continue;
        remember(newest, &r);
        bool agreed = sqlite3_column_int(st, 0) != 0;
        if (tell && json) {
            json_t *o = ledger_json_record(&f, &r, agreed);
            json_dumpf(o, stdout, JSON_COMPACT);
            putchar('\n');
            json_decref(o);
        } else if (tell) {
            ledger_print_record(&f, &r, agreed);
        }
    }
    ledger_close(&f);
    if (fflush(stdout) != 0)
        exit(LEDGER_OK); /* whoever read has seen enough */
}

int ledger_watch(const char *path, const struct ledger_request *q) {
    static const uint8_t hash_key[CV_SIPHASH_KEY] = {4};
    struct cv_map *newest = cv_map_new(CV_KEY, SIZE_MAX, cv_siphash_map, hash_key);
    if (!newest)
        ledger_die(LEDGER_NO_FILE, "out of memory");
    look(path, newest, false, q->json);
    for (unsigned i = 0; q->seconds == 0 || i < q->seconds; i++) {
        sleep(1);
        look(path, newest, true, q->json);
    }
    cv_map_free(newest);
    return LEDGER_OK;
}
