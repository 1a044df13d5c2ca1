/*
 * culvert-ledger verify: is what the file says what its owners signed, and do
 * the sums follow from it? Without --deep everything but signatures and the
 * database's own indices.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "culvert-ledger/show.h"
#include "culvert-ledger/signatures.h"
#include "reputation/forkproof.h"

enum {
    TOLD_MAX = 1000, /* findings listed; all are counted */
    BATCH = 8192,    /* signatures verified by a pool while the next are read */
};

struct verify {
    struct ledger_file *f;
    bool deep, json;
    uint64_t half_blocks, signatures, gaps, forks, rows, wrong;
    json_t *told;
};

/* One finding: which check, about what. */
static void wrong(struct verify *v, const char *check, const char *about) {
    if (v->wrong++ >= TOLD_MAX)
        return;
    json_t *o = json_object();
    json_object_set_new(o, "check", json_string(check));
    json_object_set_new(o, "about", json_string(about));
    json_array_append_new(v->told, o);
    if (!v->json)
        printf("wrong: %s: %s\n", check, about);
}

/* About what the file itself calls somehow. */
static void wrong_text(struct verify *v, const char *check, const char *text) {
    char about[256];
    snprintf(about, sizeof about, "%s", text ? text : "");
    wrong(v, check, ledger_one_line(about));
}

static void wrong_record(struct verify *v, const char *check, const struct rep_record *r) {
    char hex[2 * CV_KEY + 1], about[2 * CV_KEY + 32];
    snprintf(about, sizeof about, "%s %" PRIu64, cv_hex(r->owner, CV_KEY, hex), r->seq);
    wrong(v, check, about);
}

/* Half-blocks whose signatures are verified while others are read. */
struct later {
    struct rep_record record[2][BATCH];
    bool good[2][BATCH];
    struct signatures job;
    size_t n;
    unsigned filling;
    bool running;
};

static void finish_job(struct verify *v, struct later *w) {
    if (!w->running)
        return;
    unsigned done = !w->filling;
    signatures_finish(&w->job);
    w->running = false;
    for (size_t i = 0; i < w->job.n; i++)
        if (!w->good[done][i])
            wrong_record(v, "signature", &w->record[done][i]);
}

static void start_job(struct verify *v, struct later *w) {
    finish_job(v, w);
    signatures_start(&w->job, w->record[w->filling], w->n, v->f->network_id, w->good[w->filling]);
    w->running = true;
    w->filling = !w->filling;
    w->n = 0;
}

static void check_signature(struct verify *v, struct later *w, const struct rep_record *r) {
    v->signatures++;
    w->record[w->filling][w->n++] = *r;
    if (w->n == BATCH)
        start_job(v, w);
}

/* Each owner's half-blocks in order: content, signature, links. */
static void check_chains(struct verify *v) {
    struct rep_record last, r;
    struct later *signed_ones = v->deep ? calloc(1, sizeof *signed_ones) : NULL;
    if (v->deep && !signed_ones)
        ledger_die(LEDGER_NO_FILE, "%s: out of memory", v->f->path);
    memset(&last, 0, sizeof last);
    sqlite3_stmt *st = ledger_query(v->f, "SELECT " LEDGER_BLOCK "ORDER BY b.owner, b.seq");
    while (ledger_step(v->f, st)) {
        v->half_blocks++;
        if (!ledger_record(st, 0, &r)) {
            char about[64];
            snprintf(about, sizeof about, "seq %lld", (long long)sqlite3_column_int64(st, 1));
            wrong(v, "content", about);
            continue;
        }
        if (v->deep)
            check_signature(v, signed_ones, &r);
        if (r.type == REP_SUCCESSION)
            continue; /* the end of a chain, whatever is known of it */
        bool same = memcmp(last.owner, r.owner, CV_KEY) == 0;
        if (same && r.seq == last.seq + 1 && memcmp(r.prev, last.hash, REP_HASH) != 0)
            wrong_record(v, "previous hash", &r);
        if (r.seq != (same ? last.seq + 1 : 1)) {
            v->gaps++; /* of others we know what they and their peers showed us */
            if (memcmp(r.owner, v->f->identity, CV_KEY) == 0)
                wrong_record(v, "gap in our own chain", &r);
        }
        last = r;
    }
    if (v->deep) {
        start_job(v, signed_ones);
        start_job(v, signed_ones); /* of nothing: ends the one before */
        finish_job(v, signed_ones);
    }
    free(signed_ones);
}

/* Within a pair neither claim falls. */
static void check_monotone(struct verify *v) {
    struct rep_record last, r;
    memset(&last, 0, sizeof last);
    sqlite3_stmt *st = ledger_query(v->f, "SELECT " LEDGER_BLOCK "ORDER BY b.peer, b.owner, b.seq");
    while (ledger_step(v->f, st)) {
        if (!ledger_record(st, 0, &r))
            continue; /* told above */
        if (memcmp(last.owner, r.owner, CV_KEY) == 0 && memcmp(last.peer, r.peer, CV_KEY) == 0 &&
            rep_forkproof_contradict(&last, &r))
            wrong_record(v, "claim falls", &r);
        last = r;
    }
}

/* A key that has a successor signed nothing of later epochs. */
static void check_closed(struct verify *v) {
    struct rep_record r;
    sqlite3_stmt *st = ledger_query(v->f, "SELECT " LEDGER_BLOCK
                                          "JOIN block s ON s.owner = b.owner AND s.type = 3 "
                                          "WHERE b.type < 3 AND b.epoch >= s.epoch "
                                          "ORDER BY b.owner, b.seq");
    while (ledger_step(v->f, st))
        if (ledger_record(st, 0, &r))
            wrong_record(v, "signed after its key was closed", &r);
}

/* What the half-blocks say about each direction of each pair. */
#define DIRECTED                                                                                   \
    "WITH agreed AS (SELECT p.owner AS a, g.owner AS b, min(p.given, g.taken) AS ab, "             \
    "min(p.taken, g.given) AS ba FROM block p JOIN block g ON g.owner = p.peer AND "               \
    "g.peer = p.owner AND g.type = 2 AND g.peer_seq = p.seq AND g.peer_hash = p.hash "             \
    "WHERE p.type = 1), directed AS (SELECT giver, taker, max(bytes) AS bytes FROM "               \
    "(SELECT a AS giver, b AS taker, ab AS bytes FROM agreed UNION ALL "                           \
    "SELECT b, a, ba FROM agreed) GROUP BY giver, taker HAVING max(bytes) > 0) "

static void check_rows(struct verify *v) {
    static const char *const sql[] = {
        DIRECTED
        "SELECT hex(g.pk), hex(t.pk) FROM (SELECT giver, taker, bytes FROM directed EXCEPT "
        "SELECT giver, taker, bytes FROM edge) d JOIN peer g ON g.id = d.giver "
        "JOIN peer t ON t.id = d.taker",
        DIRECTED "SELECT hex(g.pk), hex(t.pk) FROM (SELECT giver, taker, bytes FROM edge WHERE "
                 "bytes > 0 EXCEPT SELECT giver, taker, bytes FROM directed) d "
                 "JOIN peer g ON g.id = d.giver JOIN peer t ON t.id = d.taker",
    };
    static const char *const check[] = {"agreed row missing or different", "row nobody agreed to"};
    v->rows = (uint64_t)ledger_number(v->f, "SELECT count(*) FROM edge");
    for (unsigned i = 0; i < 2; i++) {
        sqlite3_stmt *st = ledger_query(v->f, sql[i]);
        while (ledger_step(v->f, st)) {
            char about[4 * CV_KEY + 2];
            snprintf(about, sizeof about, "%s %s", (const char *)sqlite3_column_text(st, 0),
                     (const char *)sqlite3_column_text(st, 1));
            for (char *p = about; *p; p++)
                *p = *p >= 'A' && *p <= 'F' ? (char)(*p + 32) : *p;
            wrong(v, check[i], about);
        }
    }
}

static void check_forks(struct verify *v) {
    sqlite3_stmt *st =
        ledger_query(v->f, "SELECT p.pk, f.a, f.b FROM fork f JOIN peer p ON p.id = f.owner");
    while (ledger_step(v->f, st)) {
        struct rep_fork fork;
        uint8_t owner[CV_KEY];
        char hex[2 * CV_KEY + 1] = "";
        v->forks++;
        bool ok = sqlite3_column_bytes(st, 0) == CV_KEY &&
                  sqlite3_column_bytes(st, 1) == REP_RECORD &&
                  sqlite3_column_bytes(st, 2) == REP_RECORD;
        if (ok) {
            cv_hex(sqlite3_column_blob(st, 0), CV_KEY, hex);
            memcpy(fork.a, sqlite3_column_blob(st, 1), REP_RECORD);
            memcpy(fork.b, sqlite3_column_blob(st, 2), REP_RECORD);
            ok = rep_forkproof_check(&fork, v->f->network_id, owner) == CV_ERR_OK &&
                 memcmp(owner, sqlite3_column_blob(st, 0), CV_KEY) == 0;
        }
        if (!ok)
            wrong(v, "fork proof", hex);
    }
}

/* What the database says about itself. */
static void check_database(struct verify *v) {
    sqlite3_stmt *st =
        ledger_query(v->f, v->deep ? "PRAGMA integrity_check(100)" : "PRAGMA quick_check(100)");
    while (ledger_step(v->f, st)) {
        const char *text = (const char *)sqlite3_column_text(st, 0);
        if (!text || strcmp(text, "ok") != 0)
            wrong_text(v, "database", text);
    }
    st = ledger_query(v->f, "PRAGMA foreign_key_check");
    while (ledger_step(v->f, st))
        wrong_text(v, "relay missing", (const char *)sqlite3_column_text(st, 0));
}

static json_t *summary(const struct verify *v) {
    json_t *o = json_object();
    json_object_set_new(o, "ok", json_boolean(v->wrong == 0));
    json_object_set_new(o, "deep", json_boolean(v->deep));
    json_object_set_new(o, "half_blocks", json_integer((json_int_t)v->half_blocks));
    json_object_set_new(o, "signatures", json_integer((json_int_t)v->signatures));
    json_object_set_new(o, "rows", json_integer((json_int_t)v->rows));
    json_object_set_new(o, "gaps", json_integer((json_int_t)v->gaps));
    json_object_set_new(o, "forks", json_integer((json_int_t)v->forks));
    json_object_set_new(o, "wrong", json_integer((json_int_t)v->wrong));
    json_object_set(o, "findings", v->told);
    return o;
}

int ledger_verify(struct ledger_file *f, const struct ledger_request *q) {
    struct verify v = {.f = f, .deep = q->deep, .json = q->json, .told = json_array()};
    check_database(&v);
    check_chains(&v);
    check_monotone(&v);
    check_closed(&v);
    check_rows(&v);
    check_forks(&v);
    if (q->json) {
        json_t *o = summary(&v);
        json_dumpf(o, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(o);
    } else {
        printf("%s: %" PRIu64 " half-blocks, %" PRIu64 " signatures checked, %" PRIu64
               " agreed rows, %" PRIu64 " gaps in chains of others, %" PRIu64
               " forks proven; %" PRIu64 " wrong\n",
               v.wrong ? "WRONG" : "ok", v.half_blocks, v.signatures, v.rows, v.gaps, v.forks,
               v.wrong);
    }
    json_decref(v.told);
    return v.wrong ? LEDGER_WRONG : LEDGER_OK;
}
