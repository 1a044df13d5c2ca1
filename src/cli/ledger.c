#include "cli/ledger.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "base/text.h"
#include "io/loop.h"
#include "reputation/store_sqlite.h"

enum { ROWS_SHOWN = 200, NEIGHBOURS_SHOWN = 200, ROOM_FOR_INDEX = 64 << 10 };

struct cli_ledger {
    struct cli_session *c;
    struct rep_store_sqlite *file;
    char path[CLI_PATH_MAX];

    pthread_t thread;
    bool checking;
    atomic_bool stop;
    struct io_wake *checked;
    enum cv_err err; /* of the check, once it is over */
    char why[512];
};

static void *check(void *arg) {
    struct cli_ledger *l = arg;
    l->err = rep_store_sqlite_check(l->path, &l->stop, l->why, sizeof l->why);
    io_wake_up(l->checked);
    return NULL;
}

/* The ledger's own next write fails then, and it says that it stopped. */
static void on_checked(void *ctx) {
    struct cli_ledger *l = ctx;
    if (!l->checking)
        return;
    pthread_join(l->thread, NULL);
    l->checking = false;
    rep_store_sqlite_found(l->file, l->err);
    if (l->err == CV_ERR_CORRUPT)
        cli_session_say(l->c, "ledger_damaged", l->why,
                        json_pack("{s:o}", "text", cli_json_text(l->why)));
}

/* SQLite calls it an error of the disk when the few pages of its index find no room. */
static bool is_full(const struct cli_session *c) {
    struct statvfs fs;
    return fstatvfs(io_state_fd(c->state), &fs) == 0 &&
           (uint64_t)fs.f_bavail * fs.f_frsize < ROOM_FOR_INDEX;
}

enum cv_err cli_ledger_open(struct cli_session *c, const uint8_t identity[CV_KEY],
                            struct cli_ledger **ret, struct io_why *why) {
    struct cli_ledger *l = calloc(1, sizeof *l);
    if (!l) {
        io_why_set(why, "out of memory");
        return CV_ERR_NOMEM;
    }
    l->c = c;
    snprintf(l->path, sizeof l->path, "%s/ledger.db", io_state_path(c->state));
    enum cv_err err = rep_store_sqlite_open(l->path, c->network_id, identity, REP_SQLITE_FULL,
                                            &l->file, why->text, sizeof why->text);
    if (err) {
        if (is_full(c)) {
            io_why_set(why, "%.400s: No space left on device; make room", l->path);
            err = CV_ERR_FULL;
        }
        cli_ledger_close(l);
        return err;
    }
    l->checked = io_wake_new(c->loop, on_checked, l);
    if (!rep_store_sqlite_checked(l->file)) {
        l->checking = l->checked && pthread_create(&l->thread, NULL, check, l) == 0;
        if (!l->checking) { /* then before its use */
            err = rep_store_sqlite_check(l->path, &l->stop, why->text, sizeof why->text);
            rep_store_sqlite_found(l->file, err);
        }
    }
    if (err == CV_ERR_CORRUPT) {
        cli_ledger_close(l);
        return err;
    }
    *ret = l;
    return CV_ERR_OK;
}

struct cli_ledger *cli_ledger_close(struct cli_ledger *l) {
    if (!l)
        return NULL;
    atomic_store(&l->stop, true);
    if (l->checking) {
        pthread_join(l->thread, NULL);
        rep_store_sqlite_found(l->file, l->err); /* stopped: the next start checks first */
    }
    io_wake_free(l->checked);
    rep_store_sqlite_close(l->file);
    free(l);
    return NULL;
}

const struct rep_store *cli_ledger_store(struct cli_ledger *l) {
    return rep_store_sqlite_ops(l->file);
}

/* ---- for the operator's page ---- */

static const char *day_text(int64_t day, char ret[16]) {
    time_t at = (time_t)day;
    struct tm tm;
    ret[0] = 0;
    if (day && gmtime_r(&at, &tm))
        strftime(ret, 16, "%Y-%m-%d", &tm);
    return ret;
}

/* As culvert-ledger history says it. */
static const char *level(unsigned kind, uint32_t n, char ret[32]) {
    static const char *const classes[] = {"priority", "giver", "new", "debtor"};
    if (kind == REP_WHY_CLASS)
        return n < sizeof classes / sizeof *classes ? classes[n] : "?";
    if (kind == REP_WHY_SCORE)
        snprintf(ret, 32, "%.4f", (double)n / REP_WALKS);
    else
        snprintf(ret, 32, "%u", n);
    return ret;
}

/* Accounts are nobody's business, not even a name's: they are counted, from the oldest on,
 * which is the last row. */
static void number_accounts(const struct rep_why *all, size_t n, unsigned ret[ROWS_SHOWN]) {
    unsigned count = 0;
    for (size_t i = n; i-- > 0;) {
        size_t j = i + 1;
        while (j < n &&
               (all[j].kind != REP_WHY_CLASS || memcmp(all[j].who, all[i].who, CV_KEY) != 0))
            j++;
        ret[i] = all[i].kind != REP_WHY_CLASS ? 0 : j < n ? ret[j] : ++count;
    }
}

/* `account` 0, of a class: our own. */
static json_t *why_row(const struct rep_why *w, unsigned account) {
    static const char *const about[] = {
        [REP_WHY_CLASS] = "class", [REP_WHY_SCORE] = "score", [REP_WHY_TOKENS] = "tokens"};
    char day[16], who[2 * CV_KEY + 1], was[32], became[32];
    bool own = w->kind == REP_WHY_CLASS && account == 0;
    const char *kind = own ? "own" : w->kind < sizeof about / sizeof *about ? about[w->kind] : NULL;
    json_t *o =
        json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:I, s:I}", "day", day_text(w->day, day), "about",
                  kind ? kind : "", "cause", (int)w->cause, "because", rep_why_text(w->cause),
                  "was", level(w->kind, w->was, was), "became", level(w->kind, w->became, became),
                  "given", (json_int_t)w->given, "taken", (json_int_t)w->taken);
    if (o && account)
        json_object_set_new(o, "account", json_integer(account));
    else if (o && !own)
        json_object_set_new(o, "relay", json_string(cv_hex(w->who, CV_KEY, who)));
    return o;
}

/* What we and one relay agree on. */
static void add_edge(json_t *list, const uint8_t relay[CV_KEY], const char *way, uint64_t octets) {
    char who[2 * CV_KEY + 1];
    size_t i;
    json_t *row;
    cv_hex(relay, CV_KEY, who);
    json_array_foreach(list, i,
                       row) if (!strcmp(json_string_value(json_object_get(row, "relay")), who)) {
        json_object_set_new(row, way, json_integer((json_int_t)octets));
        return;
    }
    if (i == NEIGHBOURS_SHOWN)
        return;
    row = json_pack("{s:s, s:i, s:i}", "relay", who, "given", 0, "taken", 0);
    json_object_set_new(row, way, json_integer((json_int_t)octets));
    json_array_append_new(list, row);
}

json_t *cli_ledger_own_json(const struct node *n) {
    json_t *rows = json_array();
    struct rep_why w;
    for (size_t i = 0; node_own_row(n, i, &w); i++)
        json_array_append_new(rows, why_row(&w, 0));
    return json_pack("{s:o, s:[]}", "rows", rows, "relays");
}

json_t *cli_ledger_json(struct cli_ledger *l) {
    const struct rep_store *s = rep_store_sqlite_ops(l->file);
    struct rep_why *whys = NULL;
    struct rep_edge *edges = NULL;
    size_t n = 0, m = 0;
    if (s->why_load(s->ctx, &whys, &n) || s->edge_load(s->ctx, &edges, &m)) {
        free(whys);
        return NULL;
    }
    json_t *rows = json_array(), *relays = json_array();
    unsigned accounts[ROWS_SHOWN];
    n = n < ROWS_SHOWN ? n : ROWS_SHOWN;
    number_accounts(whys, n, accounts);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(rows, why_row(&whys[i], accounts[i]));
    for (size_t i = 0; i < m; i++) {
        if (!memcmp(edges[i].giver, l->c->identity, CV_KEY))
            add_edge(relays, edges[i].taker, "given", edges[i].octets);
        else if (!memcmp(edges[i].taker, l->c->identity, CV_KEY))
            add_edge(relays, edges[i].giver, "taken", edges[i].octets);
    }
    free(whys);
    free(edges);
    return json_pack("{s:o, s:o}", "rows", rows, "relays", relays);
}
