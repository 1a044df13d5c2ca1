/*
 * culvert-ledger diff: half-blocks that only one of two ledgers has, those that
 * contradict each other, and agreed rows that differ. The first is the one of
 * --db.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "culvert-ledger/print.h"
#include "culvert-ledger/show.h"

enum side { ONLY_FIRST, ONLY_SECOND, DIFFERENT, SIDES };
static const char *const sides[SIDES] = {"only_first", "only_second", "different"};

/* A sorted query over one of the files: two keys, a number, and what is compared. */
struct reader {
    struct ledger_file *f;
    sqlite3_stmt *st;
    bool more;
};

struct diff {
    struct reader r[2];
    json_t *told;
    bool json;
    uint64_t count[SIDES];
};

static void start(struct reader *r, const char *sql) {
    r->st = ledger_query(r->f, sql);
    r->more = ledger_step(r->f, r->st);
}

static int compare_blob(sqlite3_stmt *a, sqlite3_stmt *b, int column) {
    int n = sqlite3_column_bytes(a, column), m = sqlite3_column_bytes(b, column);
    const void *x = sqlite3_column_blob(a, column), *y = sqlite3_column_blob(b, column);
    int least = n < m ? n : m, order = least ? memcmp(x, y, (size_t)least) : 0;
    return order ? order : n - m;
}

/* Columns 0 and 1: keys; 2: a number; the place of a row in both files. */
static int compare_place(const struct diff *d) {
    if (!d->r[0].more || !d->r[1].more)
        return d->r[0].more ? -1 : 1;
    sqlite3_stmt *a = d->r[0].st, *b = d->r[1].st;
    int order = compare_blob(a, b, 0);
    order = order ? order : compare_blob(a, b, 1);
    int64_t x = sqlite3_column_int64(a, 2), y = sqlite3_column_int64(b, 2);
    return order ? order : (x > y) - (x < y);
}

static json_t *key_of(const struct reader *r, int column) {
    uint8_t key[CV_KEY] = {0};
    if (sqlite3_column_bytes(r->st, column) == CV_KEY)
        memcpy(key, sqlite3_column_blob(r->st, column), CV_KEY);
    return ledger_json_id(r->f, key);
}

static void tell(struct diff *d, const char *what, enum side side) {
    const struct reader *r = &d->r[side == ONLY_SECOND];
    bool is_row = strcmp(what, "row") == 0;
    json_t *o = json_object();
    d->count[side]++;
    json_object_set_new(o, "what", json_string(what));
    json_object_set_new(o, "where", json_string(sides[side]));
    json_object_set_new(o, is_row ? "giver" : "owner", key_of(r, 0));
    if (is_row)
        json_object_set_new(o, "taker", key_of(r, 1));
    else
        json_object_set_new(o, "seq", json_integer(sqlite3_column_int64(r->st, 2)));
    if (!d->json) {
        char line[1024];
        snprintf(line, sizeof line, "%s %s %s %s", sides[side], what,
                 json_string_value(json_object_get(o, is_row ? "giver" : "owner")),
                 is_row ? json_string_value(json_object_get(o, "taker")) : "");
        fputs(ledger_one_line(line), stdout);
        if (!is_row)
            printf("%" PRId64, (int64_t)sqlite3_column_int64(r->st, 2));
        putchar('\n');
    }
    json_array_append_new(d->told, o);
}

/* Both queries in step; column 3 says whether rows of one place are the same. */
static void walk(struct diff *d, const char *what, const char *sql) {
    for (unsigned i = 0; i < 2; i++)
        start(&d->r[i], sql);
    while (d->r[0].more || d->r[1].more) {
        int order = compare_place(d);
        if (order < 0)
            tell(d, what, ONLY_FIRST);
        else if (order > 0)
            tell(d, what, ONLY_SECOND);
        else if (compare_blob(d->r[0].st, d->r[1].st, 3) != 0)
            tell(d, what, DIFFERENT);
        if (order <= 0)
            d->r[0].more = ledger_step(d->r[0].f, d->r[0].st);
        if (order >= 0)
            d->r[1].more = ledger_step(d->r[1].f, d->r[1].st);
    }
}

int ledger_diff(struct ledger_file *f, const struct ledger_request *q) {
    struct ledger_file other;
    struct diff d = {.json = q->json, .told = json_array()};
    ledger_open(&other, q->relay[0]);
    if (memcmp(f->network_id, other.network_id, REP_NETWORK_ID) != 0)
        ledger_die(LEDGER_NOT_ONE, "%s: the ledger of another network than %s", q->relay[0],
                   f->path);
    d.r[0].f = f;
    d.r[1].f = &other;
    walk(&d, "half-block",
         "SELECT o.pk, x'', b.seq, b.hash FROM block b JOIN peer o ON o.id = b.owner "
         "ORDER BY o.pk, b.seq");
    walk(&d, "row",
         "SELECT g.pk, t.pk, 0, CAST(e.bytes AS BLOB) FROM edge e JOIN peer g ON g.id = e.giver "
         "JOIN peer t ON t.id = e.taker ORDER BY g.pk, t.pk");
    uint64_t all = 0;
    json_t *o = json_object();
    for (unsigned i = 0; i < SIDES; i++) {
        all += d.count[i];
        json_object_set_new(o, sides[i], ledger_json_octets(d.count[i]));
    }
    json_object_set_new(o, "same", json_boolean(all == 0));
    json_object_set(o, "differences", d.told);
    if (q->json)
        ledger_print_json(o);
    else {
        printf("%s: %" PRIu64 " only in the first, %" PRIu64 " only in the second, %" PRIu64
               " different\n",
               all ? "DIFFERENT" : "same", d.count[ONLY_FIRST], d.count[ONLY_SECOND],
               d.count[DIFFERENT]);
        json_decref(o);
    }
    json_decref(d.told);
    ledger_close(&other);
    return all ? LEDGER_WRONG : LEDGER_OK;
}
