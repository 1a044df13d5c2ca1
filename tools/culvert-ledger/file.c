#include "culvert-ledger/file.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "crypto/siphash.h"
#include "reputation/store_sqlite.h"

char *ledger_one_line(char *text) {
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
        else if (*p == '\xc2' && (unsigned char)p[1] >= 0x80 && (unsigned char)p[1] < 0xa0)
            p[0] = p[1] = '?'; /* U+0080 to U+009F, which terminals obey, too */
    return text;
}

void ledger_die(int status, const char *format, ...) {
    char line[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    fflush(stdout);
    fprintf(stderr, "culvert-ledger: %s\n", ledger_one_line(line));
    exit(status);
}

/* ---- making ---- */

enum { PARTS = 4 };

/* Ready for the handler of a signal, which has no memory to make them in. */
static char *making[PARTS];
static volatile sig_atomic_t unfinished;

static void unmake(void) {
    for (int i = 0; unfinished && i < PARTS; i++)
        unlink(making[i]);
}

/* Its action is the default one by now, and taken when this returns. */
static void unmake_and_end(int signal) {
    unmake();
    raise(signal);
}

void ledger_making(const char *path) {
    static const char *const ends[PARTS] = {"", "-wal", "-shm", "-journal"};
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (int i = 0; i < PARTS; i++)
        if (asprintf(&making[i], "%s%s", path, ends[i]) < 0)
            ledger_die(LEDGER_NO_FILE, "%s: out of memory", path);
    unfinished = 1;
    atexit(unmake);
    for (int i = 0; i < 3; i++) {
        struct sigaction was, end = {.sa_handler = unmake_and_end, .sa_flags = (int)SA_RESETHAND};
        if (sigaction(signals[i], NULL, &was) == 0 && was.sa_handler != SIG_IGN)
            sigaction(signals[i], &end, NULL);
    }
}

void ledger_made(void) {
    unfinished = 0;
    for (int i = 0; i < PARTS; i++) {
        free(making[i]);
        making[i] = NULL;
    }
}

/* ---- opening ---- */

/* A path as SQLite's URI, read-only; immutable when asked. */
static char *uri_of(const char *path, bool immutable) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "/._-+,=@";
    static const char head[] = "file:", ro[] = "?mode=ro", fixed[] = "?mode=ro&immutable=1";
    char *uri = malloc(sizeof head + 3 * strlen(path) + sizeof fixed);
    if (!uri)
        ledger_die(LEDGER_NO_FILE, "%s: out of memory", path);
    char *at = uri + sizeof head - 1;
    memcpy(uri, head, sizeof head);
    for (const char *p = path; *p; p++) {
        if (strchr(plain, *p))
            *at++ = *p;
        else
            at += snprintf(at, 4, "%%%02X", (unsigned)(unsigned char)*p);
    }
    memcpy(at, immutable ? fixed : ro, immutable ? sizeof fixed : sizeof ro);
    return uri;
}

/* Where SQLite keeps what is not in the file yet: beside the file itself, not beside a link
 * to it; free() it. */
static char *wal_of(const char *path) {
    char *real = realpath(path, NULL), *wal;
    if (asprintf(&wal, "%s-wal", real ? real : path) < 0)
        ledger_die(LEDGER_NO_FILE, "%s: out of memory", path);
    free(real);
    return wal;
}

/* Somebody has it open, or had and crashed. */
static bool has_wal(const char *path) {
    char *wal = wal_of(path);
    bool there = access(wal, F_OK) == 0;
    free(wal);
    return there;
}

struct ledger_stamp ledger_stamp(const char *path) {
    struct ledger_stamp ret;
    char *wal = wal_of(path);
    memset(&ret, 0, sizeof ret);
    for (int i = 0; i < 2; i++) {
        struct stat st;
        ret.part[i].size = -1;
        if (stat(i ? wal : path, &st) != 0)
            continue;
        ret.part[i].dev = st.st_dev;
        ret.part[i].ino = st.st_ino;
        ret.part[i].size = st.st_size;
        ret.part[i].written = st.st_mtim;
    }
    free(wal);
    return ret;
}

bool ledger_stamp_same(const struct ledger_stamp *a, const struct ledger_stamp *b) {
    bool same = true;
    for (int i = 0; i < 2; i++)
        same &= a->part[i].dev == b->part[i].dev && a->part[i].ino == b->part[i].ino &&
                a->part[i].size == b->part[i].size &&
                a->part[i].written.tv_sec == b->part[i].written.tv_sec &&
                a->part[i].written.tv_nsec == b->part[i].written.tv_nsec;
    return same;
}

__attribute__((noreturn)) static void damaged(struct ledger_file *f, int rc) {
    if (f->immutable && has_wal(f->path))
        ledger_die(LEDGER_NO_FILE, "%s: a node began to write to it meanwhile; run this again",
                   f->path);
    if ((rc & 0xff) == SQLITE_CANTOPEN && has_wal(f->path))
        ledger_die(
            LEDGER_NO_FILE,
            "%s: a node that did not end left changes beside it (-wal), and reading them takes "
            "the right to write in its folder; copy both files to a folder of yours",
            f->path);
    if ((rc & 0xff) == SQLITE_NOTADB)
        ledger_die(LEDGER_NOT_ONE, "%s: not a database; name a ledger with --db", f->path);
    if ((rc & 0xff) == SQLITE_CORRUPT)
        ledger_die(LEDGER_NOT_ONE, "%s: damaged (%s); restore a backup", f->path,
                   sqlite3_errmsg(f->db));
    ledger_die(LEDGER_NO_FILE, "%s: cannot be read: %s", f->path,
               f->db ? sqlite3_errmsg(f->db) : sqlite3_errstr(rc));
}

static void meta(struct ledger_file *f, const char *sql, void *ret, int len) {
    sqlite3_stmt *st = ledger_query(f, sql);
    if (!ledger_step(f, st) || sqlite3_column_bytes(st, 0) != len)
        ledger_die(LEDGER_NOT_ONE,
                   "%s: damaged (it does not say whose ledger it is); restore a "
                   "backup",
                   f->path);
    memcpy(ret, sqlite3_column_blob(st, 0), (size_t)len);
    sqlite3_finalize(st);
}

static void identify(struct ledger_file *f) {
    if (ledger_number(f, "PRAGMA application_id") != REP_SQLITE_APPLICATION_ID)
        ledger_die(LEDGER_NOT_ONE, "%s: not a culvert ledger; name one with --db", f->path);
    f->version = ledger_number(f, "PRAGMA user_version");
    if (f->version > REP_SQLITE_VERSION)
        ledger_die(LEDGER_NEWER,
                   "%s: written by a newer version of culvert (schema %lld, this one knows up to "
                   "%d); use that version's culvert-ledger",
                   f->path, (long long)f->version, REP_SQLITE_VERSION);
    meta(f, "SELECT value FROM meta WHERE name = 'network'", f->network_id, REP_NETWORK_ID);
    meta(f, "SELECT value FROM meta WHERE name = 'identity'", f->identity, CV_KEY);
}

/* Identifiers of imported relays; version 1 had none. */
static void load_names(struct ledger_file *f) {
    static const uint8_t hash_key[CV_SIPHASH_KEY] = {2};
    f->names = cv_map_new(CV_KEY, SIZE_MAX, cv_siphash_map, hash_key);
    if (!f->names)
        ledger_die(LEDGER_NO_FILE, "%s: out of memory", f->path);
    if (f->version < 2)
        return;
    sqlite3_stmt *st =
        ledger_query(f, "SELECT p.pk, n.name FROM name n JOIN peer p ON p.id = n.peer");
    while (ledger_step(f, st)) {
        const char *text = (const char *)sqlite3_column_text(st, 1);
        char *copy = text ? strdup(text) : NULL;
        if (!copy || sqlite3_column_bytes(st, 0) != CV_KEY ||
            cv_map_put(f->names, sqlite3_column_blob(st, 0), copy) != CV_ERR_OK)
            ledger_die(LEDGER_NOT_ONE, "%s: damaged (a relay's name); restore a backup", f->path);
    }
}

const char *ledger_id(const struct ledger_file *f, const uint8_t key[CV_KEY],
                      char hex[2 * CV_KEY + 1]) {
    const char *name = cv_map_get(f->names, key);
    return name ? name : cv_hex(key, CV_KEY, hex);
}

void ledger_open(struct ledger_file *f, const char *path) {
    struct stat st;
    memset(f, 0, sizeof *f);
    f->path = path;
    if (stat(path, &st) != 0 || access(path, R_OK) != 0)
        ledger_die(LEDGER_NO_FILE, "%s: %s; name a ledger with --db", path,
                   errno == ENOENT ? "no such file" : "cannot be read");
    if (!S_ISREG(st.st_mode))
        ledger_die(LEDGER_NO_FILE, "%s: not a file; name a ledger with --db", path);

    /* A database in WAL mode makes a -wal file for its readers, where it may:
     * a trace, and impossible without the right to write in the folder. While
     * there is none nobody writes, and the file is read as it stands. */
    f->immutable = !has_wal(path);
    char *uri = uri_of(path, f->immutable);
    int rc = sqlite3_open_v2(uri, &f->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL);
    free(uri);
    if (rc == SQLITE_OK) {
        sqlite3_busy_timeout(f->db, 2000);
        sqlite3_db_config(f->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        sqlite3_db_config(f->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        rc = sqlite3_exec(f->db,
                          "PRAGMA query_only=ON; PRAGMA cell_size_check=ON;"
                          "PRAGMA temp_store=MEMORY",
                          NULL, NULL, NULL);
    }
    if (rc != SQLITE_OK)
        damaged(f, rc);
    identify(f);
    load_names(f);
}

void ledger_close(struct ledger_file *f) {
    void *cursor = NULL;
    char *name;
    while ((name = cv_map_next(f->names, &cursor, NULL)))
        free(name);
    cv_map_free(f->names);
    sqlite3_close(f->db);
    f->db = NULL;
}

/* ---- reading ---- */

sqlite3_stmt *ledger_query(struct ledger_file *f, const char *sql) {
    sqlite3_stmt *st;
    int rc = sqlite3_prepare_v2(f->db, sql, -1, &st, NULL);
    if (rc == SQLITE_ERROR) /* our SQL is right: a table or column is missing */
        ledger_die(LEDGER_NOT_ONE, "%s: damaged (%s); restore a backup", f->path,
                   sqlite3_errmsg(f->db));
    if (rc != SQLITE_OK)
        damaged(f, rc);
    return st;
}

bool ledger_step(struct ledger_file *f, sqlite3_stmt *st) {
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        return true;
    if (rc != SQLITE_DONE)
        damaged(f, rc);
    sqlite3_finalize(st);
    return false;
}

int64_t ledger_number(struct ledger_file *f, const char *sql) {
    sqlite3_stmt *st = ledger_query(f, sql);
    if (!ledger_step(f, st))
        return 0;
    int64_t n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return n;
}

/* Row of the relay that was imported under this identifier, 0: none. */
static int64_t named(struct ledger_file *f, const char *text) {
    int64_t id = 0;
    if (f->version < 2)
        return 0;
    sqlite3_stmt *st = ledger_query(f, "SELECT peer FROM name WHERE name = ?1");
    sqlite3_bind_text(st, 1, text, -1, SQLITE_STATIC);
    if (ledger_step(f, st)) {
        id = sqlite3_column_int64(st, 0);
        sqlite3_finalize(st);
    }
    return id;
}

int64_t ledger_relay(struct ledger_file *f, const char *text) {
    size_t len = strlen(text);
    int64_t id = named(f, text);
    if (id)
        return id;
    bool is_key = len >= 4 && len <= 2 * CV_KEY && strspn(text, "0123456789abcdefABCDEF") == len;
    if (!is_key && cv_map_count(f->names))
        ledger_die(LEDGER_NOT_THERE, "%s: no such relay in %s", text, f->path);
    if (!is_key)
        ledger_die(LEDGER_USAGE, "%s: not a relay's key; give 4 to 64 hexadecimal digits", text);
    sqlite3_stmt *st =
        ledger_query(f, "SELECT id FROM peer WHERE substr(lower(hex(pk)), 1, ?2) = lower(?1)");
    sqlite3_bind_text(st, 1, text, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 2, (sqlite3_int64)len);
    if (!ledger_step(f, st))
        ledger_die(LEDGER_NOT_THERE, "%s: no such relay in %s", text, f->path);
    id = sqlite3_column_int64(st, 0);
    if (ledger_step(f, st))
        ledger_die(LEDGER_NOT_THERE, "%s: several relays begin so in %s; give more digits", text,
                   f->path);
    return id;
}

void ledger_relay_key(struct ledger_file *f, const char *text, uint8_t ret[CV_KEY]) {
    int64_t id = ledger_relay(f, text);
    sqlite3_stmt *st = ledger_query(f, "SELECT pk FROM peer WHERE id = ?1");
    sqlite3_bind_int64(st, 1, id);
    if (!ledger_step(f, st) || sqlite3_column_bytes(st, 0) != CV_KEY)
        ledger_die(LEDGER_NOT_ONE, "%s: damaged (a relay's key); restore a backup", f->path);
    memcpy(ret, sqlite3_column_blob(st, 0), CV_KEY);
    sqlite3_finalize(st);
}

static bool octets(sqlite3_stmt *st, int column, void *ret, int len) {
    if (sqlite3_column_type(st, column) != SQLITE_BLOB || sqlite3_column_bytes(st, column) != len)
        return false;
    memcpy(ret, sqlite3_column_blob(st, column), (size_t)len);
    return true;
}

bool ledger_record(sqlite3_stmt *st, int column, struct rep_record *ret) {
    struct rep_record r, checked;
    uint8_t hash[REP_HASH], buf[REP_RECORD];
    memset(&r, 0, sizeof r);
    bool ok = octets(st, column, r.owner, CV_KEY) && octets(st, column + 5, r.peer, CV_KEY) &&
              octets(st, column + 7, r.peer_hash, REP_HASH) &&
              octets(st, column + 8, r.prev, REP_HASH) && octets(st, column + 9, hash, REP_HASH) &&
              octets(st, column + 13, r.sig, CV_SIGNATURE);
    if (!ok)
        return false;
    r.seq = (uint64_t)sqlite3_column_int64(st, column + 1);
    r.version = (uint8_t)sqlite3_column_int(st, column + 2);
    r.type = (uint8_t)sqlite3_column_int(st, column + 3);
    r.flags = (uint16_t)sqlite3_column_int(st, column + 4);
    r.peer_seq = (uint64_t)sqlite3_column_int64(st, column + 6);
    r.given = (uint64_t)sqlite3_column_int64(st, column + 10);
    r.taken = (uint64_t)sqlite3_column_int64(st, column + 11);
    r.epoch = (uint32_t)sqlite3_column_int64(st, column + 12);
    rep_record_write(&r, buf);
    if (rep_record_read(buf, &checked) != CV_ERR_OK || memcmp(checked.hash, hash, REP_HASH) != 0)
        return false;
    *ret = checked;
    return true;
}
