/*
 * culvert-ledger history: why classes of accounts, scores of relays and our
 * own tokens changed, newest first. Accounts are numbered, not named: their keys
 * are nobody's business who looks over the shoulder.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "culvert-ledger/print.h"
#include "culvert-ledger/show.h"
#include "reputation/limits.h"
#include "reputation/why.h"

static const char *const kinds[] = {"", "account", "score", "tokens"};
static const char *const classes[] = {"priority", "giver", "new", "debtor"};

static const char *level(unsigned kind, unsigned n, char out[32]) {
    if (kind == REP_WHY_CLASS)
        return n < 4 ? classes[n] : "?";
    if (kind == REP_WHY_SCORE)
        snprintf(out, 32, "%.4f", (double)n / REP_WALKS);
    else
        snprintf(out, 32, "%u", n);
    return out;
}

/* `who`: as it stands in a table. */
static json_t *row_of(const struct ledger_file *f, sqlite3_stmt *st, char who[256]) {
    unsigned kind = (unsigned)sqlite3_column_int(st, 1) % 4;
    char was[32], became[32], day[16] = "";
    time_t at = (time_t)sqlite3_column_int64(st, 0);
    struct tm tm;
    json_t *o = json_object();
    if (at > 0 && gmtime_r(&at, &tm))
        strftime(day, sizeof day, "%Y-%m-%d", &tm);
    json_object_set_new(o, "day", json_string(day));
    json_object_set_new(o, "of", json_string(kinds[kind]));
    who[0] = '\0';
    if (kind == REP_WHY_CLASS) {
        json_object_set_new(o, "account", json_integer(sqlite3_column_int64(st, 8)));
        snprintf(who, 256, "no. %lld", (long long)sqlite3_column_int64(st, 8));
    } else if (sqlite3_column_bytes(st, 5) == CV_KEY) {
        json_object_set_new(o, "id", ledger_json_id(f, sqlite3_column_blob(st, 5)));
        ledger_short(f, sqlite3_column_blob(st, 5), who);
    }
    json_object_set_new(o, "was",
                        json_string(level(kind, (unsigned)sqlite3_column_int(st, 3), was)));
    json_object_set_new(o, "is",
                        json_string(level(kind, (unsigned)sqlite3_column_int(st, 4), became)));
    json_object_set_new(o, "because",
                        json_string(rep_why_text((unsigned)sqlite3_column_int(st, 2))));
    json_object_set_new(o, "given", ledger_json_octets((uint64_t)sqlite3_column_int64(st, 6)));
    json_object_set_new(o, "taken", ledger_json_octets((uint64_t)sqlite3_column_int64(st, 7)));
    return o;
}

static void print_row(const json_t *o, const char *who) {
    char given[16], taken[16];
    ledger_size((uint64_t)json_integer_value(json_object_get(o, "given")), given);
    ledger_size((uint64_t)json_integer_value(json_object_get(o, "taken")), taken);
    printf("%-10s %-7s %-12s %8s -> %-8s %s (given %s, taken %s)\n",
           json_string_value(json_object_get(o, "day")),
           json_string_value(json_object_get(o, "of")), who,
           json_string_value(json_object_get(o, "was")),
           json_string_value(json_object_get(o, "is")),
           json_string_value(json_object_get(o, "because")), given, taken);
}

void ledger_history(struct ledger_file *f, const struct ledger_request *q) {
    json_t *rows = q->json ? json_array() : NULL;
    unsigned n = 0;
    if (f->version >= 4) {
        char sql[320];
        snprintf(sql, sizeof sql,
                 "SELECT day, kind, cause, was, became, w.who, given, taken, a.first FROM why w "
                 "LEFT JOIN (SELECT who, min(id) AS first FROM why WHERE kind = 1 GROUP BY who) a "
                 "ON a.who = w.who ORDER BY id DESC LIMIT %lld",
                 q->top ? (long long)q->top : -1LL);
        sqlite3_stmt *st = ledger_query(f, sql);
        for (; ledger_step(f, st); n++) {
            char who[256];
            json_t *row = row_of(f, st, who);
            if (rows) {
                json_array_append_new(rows, row);
            } else {
                print_row(row, who);
                json_decref(row);
            }
        }
    }
    if (rows)
        ledger_print_json(rows);
    else if (n == 0)
        puts("nothing has changed yet");
}
