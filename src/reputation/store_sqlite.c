#include "reputation/store_sqlite.h"

#include <assert.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reputation/gate.h"

extern const char rep_schema_1[], rep_schema_2[], rep_schema_3[], rep_schema_4[], rep_schema_5[],
    rep_schema_6[];

/* Migration i brings a file from version i to i + 1. */
static const char *const migrations[REP_SQLITE_VERSION] = {
    rep_schema_1, rep_schema_2, rep_schema_3, rep_schema_4, rep_schema_5, rep_schema_6};

#define BLOCK_COLUMNS                                                                              \
    "SELECT b.seq, b.ver, b.type, b.flags, p.pk, b.peer_seq, b.peer_hash, b.prev, b.hash, "        \
    "b.given, b.taken, b.epoch, b.sig FROM block b JOIN peer p ON p.id = b.peer "
#define BLOCK_COLUMNS_OF                                                                           \
    "SELECT b.seq, b.ver, b.type, b.flags, p.pk, b.peer_seq, b.peer_hash, b.prev, b.hash, "        \
    "b.given, b.taken, b.epoch, b.sig, o.pk "

/* X(name, sql): every statement, prepared when first used. */
/* clang-format off */
#define STATEMENTS(X) \
    X(BEGIN, "BEGIN IMMEDIATE") \
    X(COMMIT, "COMMIT") \
    X(PEER_FIND, "SELECT id FROM peer WHERE pk = ?1") \
    X(PEER_ADD, "INSERT INTO peer(pk, first_seen) VALUES(?1, ?2)") \
    X(BLOCK_PUT, \
      "INSERT INTO block(owner, seq, ver, type, flags, peer, peer_seq, peer_hash, prev, hash, " \
      "given, taken, epoch, sig) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)") \
    X(BLOCK_GET, BLOCK_COLUMNS "WHERE b.owner = ?1 AND b.seq = ?2") \
    X(BLOCK_BELOW, BLOCK_COLUMNS "WHERE b.owner = ?1 AND b.seq < ?2 ORDER BY b.seq DESC LIMIT 1") \
    X(BLOCK_FROM, BLOCK_COLUMNS "WHERE b.owner = ?1 AND b.seq >= ?2 ORDER BY b.seq LIMIT 1") \
    X(PAIR_BELOW, BLOCK_COLUMNS \
      "WHERE b.owner = ?1 AND b.peer = ?3 AND b.seq = (SELECT max(seq) FROM block INDEXED BY " \
      "block_pair WHERE peer = ?3 AND owner = ?1 AND seq < ?2)") \
    X(PAIR_FROM, BLOCK_COLUMNS \
      "WHERE b.owner = ?1 AND b.peer = ?3 AND b.seq = (SELECT min(seq) FROM block INDEXED BY " \
      "block_pair WHERE peer = ?3 AND owner = ?1 AND seq >= ?2)") \
    X(BLOCK_ANSWER, BLOCK_COLUMNS \
      "WHERE b.owner = ?1 AND b.peer = ?2 AND b.peer_seq = ?3 AND b.type = 2 AND b.peer_hash = ?4") \
    X(BLOCK_COUNT, "SELECT count(*) FROM block") \
    X(OWNER_NEXT, "SELECT pk FROM peer WHERE pk > ?1 ORDER BY pk LIMIT 1") \
    X(BLOCK_DEL, "DELETE FROM block WHERE owner = ?1 AND seq = ?2") \
    X(PRUNED, "SELECT value FROM meta WHERE name = 'pruned'") \
    X(PRUNED_ALL, "SELECT before, newest FROM pruned_5") \
    X(PRUNED_PUT, "INSERT INTO meta(name, value) VALUES('pruned', ?1) ON CONFLICT(name) DO UPDATE " \
      "SET value = max(value, excluded.value)") \
    X(WHOLE_GET, "SELECT seq FROM whole WHERE owner = ?1") \
    X(WHOLE_PUT, "INSERT INTO whole(owner, seq) VALUES(?1, ?2) ON CONFLICT(owner) DO UPDATE SET " \
      "seq = excluded.seq") \
    X(HEIR_LOAD, BLOCK_COLUMNS_OF "FROM block b INDEXED BY block_heir JOIN peer p ON p.id = b.peer " \
      "JOIN peer o ON o.id = b.owner WHERE b.type = 3 ORDER BY o.pk") \
    X(EDGE_NEWEST, "SELECT ifnull(max(epoch), 0) FROM edge") \
    X(EDGE_PUT, "INSERT INTO edge(giver, taker, bytes, recent, epoch) VALUES(?1, ?2, ?3, ?4, ?5) " \
      "ON CONFLICT(giver, taker) DO UPDATE SET bytes = ?3, recent = ?4, epoch = ?5") \
    X(EDGE_GET, "SELECT bytes, recent, epoch FROM edge WHERE giver = ?1 AND taker = ?2") \
    X(EDGE_LOAD, "SELECT g.pk, t.pk, e.bytes, e.recent, e.epoch FROM edge e " \
      "JOIN peer g ON g.id = e.giver JOIN peer t ON t.id = e.taker") \
    X(LINK_PUT, "INSERT OR REPLACE INTO link(peer, epoch, pending_out, pending_in, release_at, " \
      "proposal) VALUES(?1, ?2, ?3, ?4, ?5, ?6)") \
    X(LINK_DEL, "DELETE FROM link WHERE peer = ?1 AND epoch = ?2") \
    X(LINK_LOAD, "SELECT p.pk, l.epoch, l.pending_out, l.pending_in, l.release_at, l.proposal " \
      "FROM link l JOIN peer p ON p.id = l.peer ORDER BY l.peer, l.epoch") \
    X(ACCOUNT_PUT, "INSERT OR REPLACE INTO account(client, given, taken, last_seen, debt_since, " \
      "class) VALUES(?1, ?2, ?3, ?4, ?5, ?6)") \
    X(ACCOUNT_GET, "SELECT given, taken, last_seen, debt_since, class FROM account " \
      "WHERE client = ?1") \
    X(ACCOUNT_EXPIRE, "DELETE FROM account WHERE last_seen < ?1") \
    X(ACCOUNT_DAYS, "UPDATE account SET last_seen = min(last_seen, ?1), " \
      "debt_since = debt_since - iif(debt_since < ?1 - 86400, debt_since % 86400, 0) " \
      "WHERE last_seen > ?1 OR debt_since % 86400 <> 0") \
    X(FORK_PUT, "INSERT INTO fork(owner, seq, a, b) VALUES(?1, ?2, ?3, ?4)") \
    X(FORK_GET, "SELECT a, b FROM fork WHERE owner = ?1 ORDER BY seq LIMIT 1") \
    X(FORK_LOAD, "SELECT DISTINCT p.pk FROM fork f JOIN peer p ON p.id = f.owner") \
    X(BAN_PUT, "UPDATE peer SET banned = ?2 WHERE id = ?1") \
    X(BAN_GET, "SELECT banned FROM peer WHERE pk = ?1") \
    X(SCORE_PUT, "INSERT OR REPLACE INTO score(ego, peer, metric, value, gen) " \
      "VALUES(?1, ?2, 1, ?3, ?4)") \
    X(ISSUED_PUT, "INSERT INTO issued(week, identity, request) VALUES(?1, ?2, ?3)") \
    X(ISSUED_GET, "SELECT request FROM issued WHERE week = ?1 AND identity = ?2") \
    X(ISSUED_COUNT, "SELECT count(*) FROM issued WHERE week = ?1") \
    X(SPENT_PUT, "INSERT INTO spent(week, token) VALUES(?1, ?2)") \
    X(PURSE_PUT, "INSERT OR REPLACE INTO purse(issuer, week, remains, had, seed, key, from_at, output) " \
      "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)") \
    X(PURSE_LOAD, "SELECT issuer, week, remains, had, seed, key, from_at, output FROM purse") \
    X(ISSUED_PRUNE, "DELETE FROM issued WHERE week < ?1") \
    X(SPENT_PRUNE, "DELETE FROM spent WHERE week < ?1") \
    X(PURSE_PRUNE, "DELETE FROM purse WHERE week < ?1") \
    X(WHY_PUT, "INSERT INTO why(day, kind, cause, was, became, who, given, taken) " \
      "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)") \
    X(WHY_TRIM, "DELETE FROM why WHERE kind = ?1 AND id <= (SELECT id FROM why WHERE kind = ?1 " \
      "ORDER BY id DESC LIMIT 1 OFFSET ?2)") \
    X(WHY_EXPIRE, "DELETE FROM why WHERE day < ?1") \
    X(WHY_DAYS, "UPDATE why SET day = ?1 WHERE day > ?1") \
    X(WHY_LOAD, "SELECT day, kind, cause, was, became, who, given, taken FROM why " \
      "ORDER BY id DESC") \
    X(NAME_GET, "SELECT name = CAST(?2 AS TEXT) FROM name WHERE peer = ?1") \
    X(NAME_PUT, "INSERT INTO name(peer, name) VALUES(?1, CAST(?2 AS TEXT))") \
    X(META_GET, "SELECT value FROM meta WHERE name = ?1") \
    X(META_PUT, "INSERT INTO meta(name, value) VALUES(?1, ?2)") \
    X(META_OWNER, "UPDATE meta SET value = ?1 WHERE name = 'identity'") \
    X(LINK_CLEAR, "DELETE FROM link") \
    X(SCORE_CLEAR, "DELETE FROM score") \
    X(CLEAN_GET, "SELECT count(*) FROM meta WHERE name = 'clean'") \
    X(CLEAN_PUT, "INSERT OR REPLACE INTO meta(name, value) VALUES('clean', x'01')") \
    X(CLEAN_DEL, "DELETE FROM meta WHERE name = 'clean'") \
    X(FORK_ANY, "SELECT EXISTS(SELECT 1 FROM fork)")
/* clang-format on */

enum statement {
#define X(name, sql) S_##name,
    STATEMENTS(X)
#undef X
        STATEMENT_COUNT
};

static const char *const statements[STATEMENT_COUNT] = {
#define X(name, sql) [S_##name] = sql,
    STATEMENTS(X)
#undef X
};

enum { PEER_CACHE = 16384, BUSY_MS = 2000 };

/* The end of an owner's chain, while much is written (rep_store_sqlite_bulk). */
struct end {
    int64_t owner;      /* row id; 0: empty */
    uint64_t none_from; /* no half-block of this seq or a higher one is there */
    bool known;         /* `last` is the half-block none_from - 1 */
    struct rep_record last;
};

struct rep_store_sqlite {
    struct rep_store ops;
    sqlite3 *db;
    sqlite3_stmt *prepared[STATEMENT_COUNT];
    int64_t wall;
    bool open, checked, damaged;
    bool unchecked; /* a check beside the use found damage, or nothing: it did not end */
    int64_t newest; /* epoch of a row; -1: not looked for yet */
    bool forks;     /* there may be proofs; false: there are none, so nobody need look */
    bool sweep;     /* the WAL may hold what was deleted */
    unsigned why_room[REP_WHY_TOKENS + 1]; /* rows of a kind to come until it is trimmed */
    /* Row ids of relays met lately; a rollback forgets them. id 0: empty. */
    struct {
        uint8_t key[CV_KEY];
        int64_t id;
    } cache[PEER_CACHE];
    struct end *ends; /* PEER_CACHE of them, by row id; NULL: not in bulk; of one transaction */
};

/* ---- statements ---- */

static enum cv_err map_error(int rc) {
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return CV_ERR_OK;
    case SQLITE_NOMEM:
        return CV_ERR_NOMEM;
    case SQLITE_FULL:
        return CV_ERR_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return CV_ERR_CORRUPT;
    default:
        return CV_ERR_STORE;
    }
}

/* What was met damaged in use is not closed as sound. */
static enum cv_err result(struct rep_store_sqlite *s, int rc) {
    enum cv_err err = map_error(rc);
    s->damaged |= err == CV_ERR_CORRUPT;
    return err;
}

/* The statement, ready to be bound; NULL when it cannot be prepared. */
static sqlite3_stmt *statement(struct rep_store_sqlite *s, enum statement which, int *rc) {
    *rc = SQLITE_OK;
    if (!s->prepared[which])
        *rc = sqlite3_prepare_v3(s->db, statements[which], -1, SQLITE_PREPARE_PERSISTENT,
                                 &s->prepared[which], NULL);
    return s->prepared[which];
}

/* One parameter: a number, or octets when `blob` is set. */
struct value {
    int64_t number;
    const void *blob;
    int len;
};
#define NUMBER(n)    ((struct value){.number = (int64_t)(n)})
#define OCTETS(p, n) ((struct value){.blob = (p), .len = (n)})

static int bind(sqlite3_stmt *st, const struct value *v, int n) {
    int rc = SQLITE_OK;
    for (int i = 0; i < n && rc == SQLITE_OK; i++)
        rc = v[i].blob ? sqlite3_bind_blob(st, i + 1, v[i].blob, v[i].len, SQLITE_STATIC)
                       : sqlite3_bind_int64(st, i + 1, v[i].number);
    return rc;
}

static void end(sqlite3_stmt *st) {
    sqlite3_reset(st); /* its error was that of the step */
    sqlite3_clear_bindings(st);
}

/* Runs a statement that gives no rows. */
static enum cv_err run(struct rep_store_sqlite *s, enum statement which, const struct value *v,
                       int n) {
    int rc;
    sqlite3_stmt *st = statement(s, which, &rc);
    if (!st)
        return result(s, rc);
    rc = bind(st, v, n);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    enum cv_err err = rc == SQLITE_CONSTRAINT ? CV_ERR_EXIST : result(s, rc);
    end(st);
    return err;
}

#define RUN(s, which, ...)                                                                         \
    run((s), (which), (const struct value[]){__VA_ARGS__},                                         \
        (int)(sizeof((const struct value[]){__VA_ARGS__}) / sizeof(struct value)))

/* First row of a query: CV_ERR_OK and *ret to read from, then end(*ret). */
static enum cv_err first(struct rep_store_sqlite *s, enum statement which, const struct value *v,
                         int n, sqlite3_stmt **ret) {
    int rc;
    sqlite3_stmt *st = statement(s, which, &rc);
    if (!st)
        return result(s, rc);
    rc = bind(st, v, n);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        *ret = st;
        return CV_ERR_OK;
    }
    end(st);
    return rc == SQLITE_DONE ? CV_ERR_NOENT : result(s, rc);
}

static enum cv_err run_first(struct rep_store_sqlite *s, enum statement which, sqlite3_stmt **ret) {
    return first(s, which, NULL, 0, ret);
}

#define FIRST(s, which, ret, ...)                                                                  \
    first((s), (which), (const struct value[]){__VA_ARGS__},                                       \
          (int)(sizeof((const struct value[]){__VA_ARGS__}) / sizeof(struct value)), (ret))

/* ---- columns, never trusted ---- */

static bool octets(sqlite3_stmt *st, int column, void *ret, int len) {
    const void *blob = sqlite3_column_blob(st, column);
    if (sqlite3_column_type(st, column) != SQLITE_BLOB || sqlite3_column_bytes(st, column) != len)
        return false;
    memcpy(ret, blob, (size_t)len);
    return true;
}

static bool number(sqlite3_stmt *st, int column, uint64_t max, uint64_t *ret) {
    int64_t v = sqlite3_column_int64(st, column);
    if (sqlite3_column_type(st, column) != SQLITE_INTEGER || v < 0 || (uint64_t)v > max)
        return false;
    *ret = (uint64_t)v;
    return true;
}

static bool number32(sqlite3_stmt *st, int column, uint32_t *ret) {
    uint64_t v;
    if (!number(st, column, UINT32_MAX, &v))
        return false;
    *ret = (uint32_t)v;
    return true;
}

static bool date(sqlite3_stmt *st, int column, int64_t *ret) {
    uint64_t v;
    if (!number(st, column, INT64_MAX, &v))
        return false;
    *ret = (int64_t)v;
    return true;
}

/* ---- relays ---- */

static size_t cache_slot(const uint8_t key[CV_KEY]) {
    return (key[0] | (size_t)key[1] << 8) % PEER_CACHE;
}

static enum cv_err peer_find(struct rep_store_sqlite *s, const uint8_t key[CV_KEY], int64_t *ret) {
    size_t slot = cache_slot(key);
    if (s->cache[slot].id && memcmp(s->cache[slot].key, key, CV_KEY) == 0) {
        *ret = s->cache[slot].id;
        return CV_ERR_OK;
    }
    sqlite3_stmt *st;
    enum cv_err err = FIRST(s, S_PEER_FIND, &st, OCTETS(key, CV_KEY));
    if (err)
        return err;
    *ret = sqlite3_column_int64(st, 0);
    end(st);
    memcpy(s->cache[slot].key, key, CV_KEY);
    s->cache[slot].id = *ret;
    return CV_ERR_OK;
}

static enum cv_err peer_id(struct rep_store_sqlite *s, const uint8_t key[CV_KEY], int64_t *ret) {
    enum cv_err err = peer_find(s, key, ret);
    if (err != CV_ERR_NOENT)
        return err;
    int64_t day = s->wall > 0 ? s->wall - s->wall % 86400 : 0;
    err = RUN(s, S_PEER_ADD, OCTETS(key, CV_KEY), NUMBER(day));
    if (err)
        return err == CV_ERR_EXIST ? CV_ERR_CORRUPT : err;
    *ret = sqlite3_last_insert_rowid(s->db);
    return CV_ERR_OK;
}

static enum cv_err two_ids(struct rep_store_sqlite *s, const uint8_t a[CV_KEY],
                           const uint8_t b[CV_KEY], int64_t *ret_a, int64_t *ret_b) {
    enum cv_err err = peer_id(s, a, ret_a);
    return err ? err : peer_id(s, b, ret_b);
}

static enum cv_err find_two(struct rep_store_sqlite *s, const uint8_t a[CV_KEY],
                            const uint8_t b[CV_KEY], int64_t *ret_a, int64_t *ret_b) {
    enum cv_err err = peer_find(s, a, ret_a);
    return err ? err : peer_find(s, b, ret_b);
}

/* A constraint that a write of ours breaks means that the file is not as it
 * should be; only block_put and fork_put may meet a row that exists. */
static enum cv_err no_exist(enum cv_err err) {
    return err == CV_ERR_EXIST ? CV_ERR_CORRUPT : err;
}

/* ---- transaction ---- */

static enum cv_err begin(void *ctx, int64_t wall) {
    struct rep_store_sqlite *s = ctx;
    s->wall = wall;
    if (s->ends) /* others may have written meanwhile */
        memset(s->ends, 0, PEER_CACHE * sizeof *s->ends);
    return s->damaged ? CV_ERR_CORRUPT : run(s, S_BEGIN, NULL, 0);
}

/* The WAL keeps every older version of a page until it happens to be written over, and the file
 * itself until the next checkpoint. Somebody who reads just now is not waited for: it is tried
 * again with the next commit. */
static void sweep(struct rep_store_sqlite *s) {
    sqlite3_busy_timeout(s->db, 0);
    int rc = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_busy_timeout(s->db, BUSY_MS);
    s->sweep = rc != SQLITE_OK;
}

static enum cv_err commit(void *ctx) {
    struct rep_store_sqlite *s = ctx;
    enum cv_err err = run(s, S_COMMIT, NULL, 0);
    if (!err && s->sweep)
        sweep(s);
    return err;
}

static void rollback(void *ctx) {
    struct rep_store_sqlite *s = ctx;
    memset(s->cache, 0, sizeof s->cache);
    memset(s->why_room, 0, sizeof s->why_room); /* what was trimmed is there again */
    if (s->ends)
        memset(s->ends, 0, PEER_CACHE * sizeof *s->ends);
    if (!sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL); /* fails: closing does it */
}

/* ---- half-blocks ---- */

/* In an import most half-blocks come in order: that nothing is above one, and which is
 * below it, need not be asked of the file again. NULL: unknown. */
static struct end *chain_end(struct rep_store_sqlite *s, int64_t owner) {
    struct end *e = s->ends ? &s->ends[owner % PEER_CACHE] : NULL;
    return e && e->owner == owner ? e : NULL;
}

static void nothing_from(struct rep_store_sqlite *s, int64_t owner, uint64_t seq) {
    struct end *e = s->ends ? &s->ends[owner % PEER_CACHE] : NULL;
    if (!e || (e->owner == owner && e->none_from <= seq))
        return;
    *e = (struct end){.owner = owner, .none_from = seq};
}

static void chain_grew(struct rep_store_sqlite *s, int64_t owner, const struct rep_record *r) {
    struct end *e = chain_end(s, owner);
    if (!e || r->seq < e->none_from)
        return;
    e->none_from = r->seq + 1;
    e->known = true;
    e->last = *r;
}

static enum cv_err block_put(void *ctx, const struct rep_record *r) {
    int64_t owner, peer;
    enum cv_err err = two_ids(ctx, r->owner, r->peer, &owner, &peer);
    if (err)
        return err;
    err = RUN(ctx, S_BLOCK_PUT, NUMBER(owner), NUMBER(r->seq), NUMBER(r->version), NUMBER(r->type),
              NUMBER(r->flags), NUMBER(peer), NUMBER(r->peer_seq), OCTETS(r->peer_hash, REP_HASH),
              OCTETS(r->prev, REP_HASH), OCTETS(r->hash, REP_HASH), NUMBER(r->given),
              NUMBER(r->taken), NUMBER(r->epoch), OCTETS(r->sig, CV_SIGNATURE));
    if (!err)
        chain_grew(ctx, owner, r);
    return err;
}

/* The row as a record; rebuilt and read like one from the wire, so that no
 * damaged row gets past here. */
static bool read_block(sqlite3_stmt *st, const uint8_t owner[CV_KEY], struct rep_record *ret) {
    struct rep_record r, checked;
    uint64_t version, type, flags;
    uint8_t hash[REP_HASH], buf[REP_RECORD];
    memset(&r, 0, sizeof r);
    memcpy(r.owner, owner, CV_KEY);
    bool ok = number(st, 0, INT64_MAX, &r.seq) && number(st, 1, UINT8_MAX, &version) &&
              number(st, 2, UINT8_MAX, &type) && number(st, 3, UINT16_MAX, &flags) &&
              octets(st, 4, r.peer, CV_KEY) && number(st, 5, INT64_MAX, &r.peer_seq) &&
              octets(st, 6, r.peer_hash, REP_HASH) && octets(st, 7, r.prev, REP_HASH) &&
              octets(st, 8, hash, REP_HASH) && number(st, 9, REP_AMOUNT_MAX, &r.given) &&
              number(st, 10, REP_AMOUNT_MAX, &r.taken) && number32(st, 11, &r.epoch) &&
              octets(st, 12, r.sig, CV_SIGNATURE);
    if (!ok)
        return false;
    r.version = (uint8_t)version;
    r.type = (uint8_t)type;
    r.flags = (uint16_t)flags;
    rep_record_write(&r, buf);
    if (rep_record_read(buf, &checked) != CV_ERR_OK || memcmp(checked.hash, hash, REP_HASH) != 0)
        return false;
    *ret = checked;
    return true;
}

static enum cv_err block_row(sqlite3_stmt *st, const uint8_t owner[CV_KEY],
                             struct rep_record *ret) {
    bool ok = read_block(st, owner, ret);
    end(st);
    return ok ? CV_ERR_OK : CV_ERR_CORRUPT;
}

static enum cv_err block_get(void *ctx, const uint8_t owner[CV_KEY], uint64_t seq,
                             struct rep_record *ret) {
    int64_t id;
    sqlite3_stmt *st;
    enum cv_err err = peer_find(ctx, owner, &id);
    const struct end *e = err ? NULL : chain_end(ctx, id);
    if (e && seq >= e->none_from)
        return CV_ERR_NOENT;
    if (e && e->known && seq == e->last.seq) {
        *ret = e->last;
        return CV_ERR_OK;
    }
    if (!err)
        err = FIRST(ctx, S_BLOCK_GET, &st, NUMBER(id), NUMBER(seq));
    return err ? err : block_row(st, owner, ret);
}

static enum cv_err block_seek(void *ctx, const uint8_t owner[CV_KEY], const uint8_t *peer,
                              uint64_t seq, enum rep_seek how, struct rep_record *ret) {
    int64_t id, peer_row;
    sqlite3_stmt *st;
    bool below = how == REP_SEEK_BELOW;
    enum cv_err err = peer_find(ctx, owner, &id);
    if (!err && peer)
        err = peer_find(ctx, peer, &peer_row);
    if (err)
        return err;
    const struct end *e = chain_end(ctx, id);
    if (!below && e && seq >= e->none_from)
        return CV_ERR_NOENT;
    if (peer)
        err = FIRST(ctx, below ? S_PAIR_BELOW : S_PAIR_FROM, &st, NUMBER(id), NUMBER(seq),
                    NUMBER(peer_row));
    else
        err = FIRST(ctx, below ? S_BLOCK_BELOW : S_BLOCK_FROM, &st, NUMBER(id), NUMBER(seq));
    if (err == CV_ERR_NOENT && !peer && !below)
        nothing_from(ctx, id, seq);
    return err ? err : block_row(st, owner, ret);
}

static enum cv_err block_answer(void *ctx, const struct rep_record *p, struct rep_record *ret) {
    int64_t owner, peer;
    sqlite3_stmt *st;
    enum cv_err err = find_two(ctx, p->peer, p->owner, &owner, &peer);
    if (!err)
        err = FIRST(ctx, S_BLOCK_ANSWER, &st, NUMBER(owner), NUMBER(peer), NUMBER(p->seq),
                    OCTETS(p->hash, REP_HASH));
    return err ? err : block_row(st, p->peer, ret);
}

/* ---- arrays ---- */

/* Every row of a query into one array, each by `read`; false: damaged. */
static enum cv_err load(struct rep_store_sqlite *s, enum statement which, size_t size,
                        bool (*read)(sqlite3_stmt *st, void *row), void **ret, size_t *ret_n) {
    int rc;
    uint8_t *all = NULL;
    size_t n = 0, cap = 0;
    sqlite3_stmt *st = statement(s, which, &rc);
    if (!st)
        return map_error(rc);
    enum cv_err err = CV_ERR_OK;
    while (!err && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        if (n == cap) {
            size_t more = cap ? cap * 2 : 64;
            uint8_t *grown = realloc(all, more * size);
            if (!grown) {
                err = CV_ERR_NOMEM;
                break;
            }
            all = grown;
            cap = more;
        }
        memset(all + n * size, 0, size);
        if (!read(st, all + n * size))
            err = CV_ERR_CORRUPT;
        n++;
    }
    if (!err)
        err = map_error(rc);
    end(st);
    if (err) {
        free(all);
        return err;
    }
    *ret = all;
    *ret_n = n;
    return CV_ERR_OK;
}

static enum cv_err block_count(void *ctx, uint64_t *ret) {
    sqlite3_stmt *st;
    enum cv_err err = run_first(ctx, S_BLOCK_COUNT, &st);
    if (err)
        return err;
    bool ok = number(st, 0, INT64_MAX, ret);
    end(st);
    return ok ? CV_ERR_OK : CV_ERR_CORRUPT;
}

static enum cv_err owner_next(void *ctx, const uint8_t *after, uint8_t ret[CV_KEY]) {
    sqlite3_stmt *st;
    enum cv_err err = FIRST(ctx, S_OWNER_NEXT, &st,
                            OCTETS(after ? after : (const uint8_t *)"", after ? CV_KEY : 0));
    if (err)
        return err;
    bool ok = octets(st, 0, ret, CV_KEY);
    end(st);
    return ok ? CV_ERR_OK : CV_ERR_CORRUPT;
}

static enum cv_err block_del(void *ctx, const uint8_t owner[CV_KEY], uint64_t seq) {
    struct rep_store_sqlite *s = ctx;
    int64_t id;
    enum cv_err err = peer_find(s, owner, &id);
    struct end *e = err ? NULL : chain_end(s, id);
    if (e)
        e->known = e->known && e->last.seq != seq;
    if (!err)
        err = RUN(s, S_BLOCK_DEL, NUMBER(id), NUMBER(seq));
    return err || sqlite3_changes(s->db) ? err : CV_ERR_NOENT;
}

/* The epoch in the first column, and of `newest` the number in the second; else 0. */
static enum cv_err read_pruned(struct rep_store_sqlite *s, enum statement which, uint32_t *ret,
                               uint64_t *newest) {
    sqlite3_stmt *st;
    uint8_t epoch[4];
    *ret = 0;
    enum cv_err err = run_first(s, which, &st);
    if (err)
        return err == CV_ERR_NOENT ? CV_ERR_OK : err;
    bool ok = octets(st, 0, epoch, sizeof epoch) && (!newest || number(st, 1, UINT32_MAX, newest));
    end(st);
    if (!ok)
        return CV_ERR_CORRUPT;
    *ret = (uint32_t)epoch[0] << 24 | (uint32_t)epoch[1] << 16 | (uint32_t)epoch[2] << 8 | epoch[3];
    return CV_ERR_OK;
}

static enum cv_err pruned_before(void *ctx, uint32_t *ret, uint32_t *ret_all) {
    uint32_t before, all;
    uint64_t newest = 0;
    enum cv_err err = read_pruned(ctx, S_PRUNED, &before, NULL);
    if (!err)
        err = read_pruned(ctx, S_PRUNED_ALL, &all, &newest);
    if (err)
        return err;
    *ret = before;
    *ret_all = all <= newest ? all : (uint32_t)newest + (all > 0 && newest < UINT32_MAX);
    return CV_ERR_OK;
}

static enum cv_err prune_put(void *ctx, uint32_t before) {
    const uint8_t epoch[4] = {(uint8_t)(before >> 24), (uint8_t)(before >> 16),
                              (uint8_t)(before >> 8), (uint8_t)before};
    return RUN(ctx, S_PRUNED_PUT, OCTETS(epoch, sizeof epoch));
}

static enum cv_err whole_get(void *ctx, const uint8_t owner[CV_KEY], uint64_t *ret) {
    int64_t id;
    sqlite3_stmt *st;
    enum cv_err err = peer_find(ctx, owner, &id);
    if (!err)
        err = FIRST(ctx, S_WHOLE_GET, &st, NUMBER(id));
    if (err == CV_ERR_NOENT)
        *ret = 0;
    if (err)
        return err == CV_ERR_NOENT ? CV_ERR_OK : err;
    bool ok = number(st, 0, INT64_MAX, ret);
    end(st);
    return ok ? CV_ERR_OK : CV_ERR_CORRUPT;
}

static enum cv_err whole_put(void *ctx, const uint8_t owner[CV_KEY], uint64_t seq) {
    int64_t id;
    enum cv_err err = peer_id(ctx, owner, &id);
    return err ? err : no_exist(RUN(ctx, S_WHOLE_PUT, NUMBER(id), NUMBER(seq)));
}

static bool read_heir(sqlite3_stmt *st, void *row) {
    uint8_t owner[CV_KEY];
    return octets(st, 13, owner, CV_KEY) && read_block(st, owner, row);
}

static enum cv_err heir_load(void *ctx, struct rep_record **ret, size_t *ret_n) {
    void *all = NULL;
    enum cv_err err = load(ctx, S_HEIR_LOAD, sizeof **ret, read_heir, &all, ret_n);
    if (!err)
        *ret = all;
    return err;
}

/* ---- edges ---- */

static enum cv_err edge_put(void *ctx, const struct rep_edge *e) {
    int64_t giver, taker;
    enum cv_err err = two_ids(ctx, e->giver, e->taker, &giver, &taker);
    if (err)
        return err;
    struct rep_store_sqlite *s = ctx;
    if (s->newest >= 0 && e->epoch > s->newest)
        s->newest = e->epoch;
    return no_exist(RUN(ctx, S_EDGE_PUT, NUMBER(giver), NUMBER(taker), NUMBER(e->octets),
                        NUMBER(e->recent), NUMBER(e->epoch)));
}

static enum cv_err edge_newest(void *ctx, uint32_t *ret) {
    struct rep_store_sqlite *s = ctx;
    if (s->newest < 0) {
        sqlite3_stmt *st;
        uint64_t newest;
        enum cv_err err = run_first(s, S_EDGE_NEWEST, &st);
        if (err)
            return err;
        bool ok = number(st, 0, UINT32_MAX, &newest);
        end(st);
        if (!ok)
            return CV_ERR_CORRUPT;
        s->newest = (int64_t)newest;
    }
    *ret = (uint32_t)s->newest;
    return CV_ERR_OK;
}

static bool edge_amounts(sqlite3_stmt *st, int from, struct rep_edge *e) {
    return number(st, from, REP_AMOUNT_MAX, &e->octets) &&
           number(st, from + 1, REP_AMOUNT_MAX, &e->recent) && number32(st, from + 2, &e->epoch);
}

static enum cv_err edge_get(void *ctx, const uint8_t giver[CV_KEY], const uint8_t taker[CV_KEY],
                            struct rep_edge *ret) {
    int64_t a, b;
    sqlite3_stmt *st;
    struct rep_edge e;
    enum cv_err err = find_two(ctx, giver, taker, &a, &b);
    if (!err)
        err = FIRST(ctx, S_EDGE_GET, &st, NUMBER(a), NUMBER(b));
    if (err)
        return err;
    memset(&e, 0, sizeof e);
    memcpy(e.giver, giver, CV_KEY);
    memcpy(e.taker, taker, CV_KEY);
    bool ok = edge_amounts(st, 0, &e);
    end(st);
    if (!ok)
        return CV_ERR_CORRUPT;
    *ret = e;
    return CV_ERR_OK;
}

static bool read_edge(sqlite3_stmt *st, void *row) {
    struct rep_edge *e = row;
    return octets(st, 0, e->giver, CV_KEY) && octets(st, 1, e->taker, CV_KEY) &&
           edge_amounts(st, 2, e);
}

static enum cv_err edge_load(void *ctx, struct rep_edge **ret, size_t *ret_n) {
    void *all = NULL;
    enum cv_err err = load(ctx, S_EDGE_LOAD, sizeof **ret, read_edge, &all, ret_n);
    if (!err)
        *ret = all;
    return err;
}

/* ---- pending counts ---- */

static enum cv_err pending_put(void *ctx, const struct rep_pending *p) {
    int64_t peer;
    enum cv_err err = peer_id(ctx, p->peer, &peer);
    if (err)
        return err;
    return no_exist(RUN(ctx, S_LINK_PUT, NUMBER(peer), NUMBER(p->epoch), NUMBER(p->given),
                        NUMBER(p->taken), NUMBER(p->release_at), NUMBER(p->proposal)));
}

static enum cv_err pending_del(void *ctx, const uint8_t peer[CV_KEY], uint32_t epoch) {
    int64_t id;
    enum cv_err err = peer_find(ctx, peer, &id);
    if (err)
        return err == CV_ERR_NOENT ? CV_ERR_OK : err;
    return RUN(ctx, S_LINK_DEL, NUMBER(id), NUMBER(epoch));
}

static bool read_pending(sqlite3_stmt *st, void *row) {
    struct rep_pending *p = row;
    return octets(st, 0, p->peer, CV_KEY) && number32(st, 1, &p->epoch) &&
           number(st, 2, REP_AMOUNT_MAX, &p->given) && number(st, 3, REP_AMOUNT_MAX, &p->taken) &&
           date(st, 4, &p->release_at) && number(st, 5, INT64_MAX, &p->proposal);
}

static enum cv_err pending_load(void *ctx, struct rep_pending **ret, size_t *ret_n) {
    void *all = NULL;
    enum cv_err err = load(ctx, S_LINK_LOAD, sizeof **ret, read_pending, &all, ret_n);
    if (!err)
        *ret = all;
    return err;
}

/* ---- accounts ---- */

static enum cv_err account_put(void *ctx, const struct rep_account *a) {
    return no_exist(RUN(ctx, S_ACCOUNT_PUT, OCTETS(a->client, CV_KEY), NUMBER(a->given),
                        NUMBER(a->taken), NUMBER(a->last_seen), NUMBER(a->debt_since),
                        NUMBER(a->gate_class)));
}

static enum cv_err account_get(void *ctx, const uint8_t client[CV_KEY], struct rep_account *ret) {
    sqlite3_stmt *st;
    struct rep_account a;
    uint64_t gate_class;
    enum cv_err err = FIRST(ctx, S_ACCOUNT_GET, &st, OCTETS(client, CV_KEY));
    if (err)
        return err;
    memset(&a, 0, sizeof a);
    memcpy(a.client, client, CV_KEY);
    bool ok = number(st, 0, REP_AMOUNT_MAX, &a.given) && number(st, 1, REP_AMOUNT_MAX, &a.taken) &&
              date(st, 2, &a.last_seen) && date(st, 3, &a.debt_since) &&
              number(st, 4, REP_CLASSES - 1, &gate_class);
    end(st);
    if (!ok)
        return CV_ERR_CORRUPT;
    a.gate_class = (uint8_t)gate_class;
    *ret = a;
    return CV_ERR_OK;
}

static enum cv_err account_expire(void *ctx, int64_t before, int64_t today) {
    ((struct rep_store_sqlite *)ctx)->sweep = true;
    enum cv_err err = RUN(ctx, S_ACCOUNT_EXPIRE, NUMBER(before));
    return err ? err : RUN(ctx, S_ACCOUNT_DAYS, NUMBER(today));
}

/* ---- forgers, scores ---- */

static enum cv_err fork_put(void *ctx, const uint8_t owner[CV_KEY], uint64_t seq,
                            const struct rep_fork *f) {
    struct rep_store_sqlite *s = ctx;
    int64_t id;
    enum cv_err err = peer_id(s, owner, &id);
    if (err)
        return err;
    s->forks = true;
    return RUN(s, S_FORK_PUT, NUMBER(id), NUMBER(seq), OCTETS(f->a, REP_RECORD),
               OCTETS(f->b, REP_RECORD));
}

static enum cv_err fork_get(void *ctx, const uint8_t owner[CV_KEY], struct rep_fork *ret) {
    int64_t id;
    sqlite3_stmt *st;
    struct rep_fork f;
    if (!((const struct rep_store_sqlite *)ctx)->forks)
        return CV_ERR_NOENT;
    enum cv_err err = peer_find(ctx, owner, &id);
    if (!err)
        err = FIRST(ctx, S_FORK_GET, &st, NUMBER(id));
    if (err)
        return err;
    bool ok = octets(st, 0, f.a, REP_RECORD) && octets(st, 1, f.b, REP_RECORD);
    end(st);
    if (!ok)
        return CV_ERR_CORRUPT;
    *ret = f;
    return CV_ERR_OK;
}

static bool read_key(sqlite3_stmt *st, void *row) {
    return octets(st, 0, row, CV_KEY);
}

static enum cv_err fork_load(void *ctx, uint8_t **ret, size_t *ret_n) {
    void *all = NULL;
    enum cv_err err = load(ctx, S_FORK_LOAD, CV_KEY, read_key, &all, ret_n);
    if (!err)
        *ret = all;
    return err;
}

static enum cv_err ban_put(void *ctx, const uint8_t peer[CV_KEY], int64_t until) {
    int64_t id;
    enum cv_err err = peer_id(ctx, peer, &id);
    return err ? err : no_exist(RUN(ctx, S_BAN_PUT, NUMBER(id), NUMBER(until)));
}

static enum cv_err ban_get(void *ctx, const uint8_t peer[CV_KEY], int64_t *ret_until) {
    sqlite3_stmt *st;
    int64_t until;
    enum cv_err err = FIRST(ctx, S_BAN_GET, &st, OCTETS(peer, CV_KEY));
    if (err)
        return err;
    bool ok = date(st, 0, &until);
    end(st);
    if (!ok)
        return CV_ERR_CORRUPT;
    if (until == 0)
        return CV_ERR_NOENT;
    *ret_until = until;
    return CV_ERR_OK;
}

static enum cv_err score_put(void *ctx, const uint8_t ego[CV_KEY], const uint8_t peer[CV_KEY],
                             double share, uint64_t generation) {
    struct rep_store_sqlite *s = ctx;
    int64_t a, b;
    int rc;
    enum cv_err err = two_ids(s, ego, peer, &a, &b);
    sqlite3_stmt *st = err ? NULL : statement(s, S_SCORE_PUT, &rc);
    if (!st)
        return err ? err : map_error(rc);
    sqlite3_bind_int64(st, 1, a);
    sqlite3_bind_int64(st, 2, b);
    sqlite3_bind_double(st, 3, share);
    sqlite3_bind_int64(st, 4, (int64_t)generation);
    rc = sqlite3_step(st);
    end(st);
    return map_error(rc);
}

/* ---- tokens ---- */

static enum cv_err issued_put(void *ctx, uint32_t week, const uint8_t identity[CV_KEY],
                              const uint8_t request[REP_HASH]) {
    return RUN(ctx, S_ISSUED_PUT, NUMBER(week), OCTETS(identity, CV_KEY),
               OCTETS(request, REP_HASH));
}

static enum cv_err issued_get(void *ctx, uint32_t week, const uint8_t identity[CV_KEY],
                              uint8_t ret_request[REP_HASH]) {
    sqlite3_stmt *st;
    uint8_t request[REP_HASH];
    enum cv_err err = FIRST(ctx, S_ISSUED_GET, &st, NUMBER(week), OCTETS(identity, CV_KEY));
    if (err)
        return err;
    bool ok = octets(st, 0, request, REP_HASH);
    end(st);
    if (!ok)
        return CV_ERR_CORRUPT;
    memcpy(ret_request, request, REP_HASH);
    return CV_ERR_OK;
}

static enum cv_err issued_count(void *ctx, uint32_t week, uint64_t *ret) {
    sqlite3_stmt *st;
    enum cv_err err = FIRST(ctx, S_ISSUED_COUNT, &st, NUMBER(week));
    if (err)
        return err;
    bool ok = number(st, 0, INT64_MAX, ret);
    end(st);
    return ok ? CV_ERR_OK : CV_ERR_CORRUPT;
}

static enum cv_err spent_put(void *ctx, uint32_t week, const uint8_t token[REP_TOKEN]) {
    return RUN(ctx, S_SPENT_PUT, NUMBER(week), OCTETS(token, REP_TOKEN));
}

static enum cv_err purse_put(void *ctx, const struct rep_purse *p) {
    return no_exist(RUN(ctx, S_PURSE_PUT, OCTETS(p->issuer, CV_KEY), NUMBER(p->week),
                        NUMBER(p->left), NUMBER(p->had), OCTETS(p->seed, sizeof p->seed),
                        OCTETS(p->key, sizeof p->key), NUMBER(p->from),
                        OCTETS(p->output, sizeof p->output)));
}

static bool read_purse(sqlite3_stmt *st, void *row) {
    struct rep_purse *p = row;
    uint64_t had, left;
    if (!(octets(st, 0, p->issuer, CV_KEY) && number32(st, 1, &p->week) &&
          number(st, 2, (UINT64_C(1) << REP_TOKENS) - 1, &left) && number(st, 3, 1, &had) &&
          octets(st, 4, p->seed, sizeof p->seed) && octets(st, 5, p->key, sizeof p->key) &&
          date(st, 6, &p->from) && octets(st, 7, p->output, sizeof p->output)))
        return false;
    p->left = (uint32_t)left;
    p->had = (uint8_t)had;
    return p->had || p->left == 0;
}

static enum cv_err purse_load(void *ctx, struct rep_purse **ret, size_t *ret_n) {
    void *all = NULL;
    enum cv_err err = load(ctx, S_PURSE_LOAD, sizeof **ret, read_purse, &all, ret_n);
    if (!err)
        *ret = all;
    return err;
}

static enum cv_err token_prune(void *ctx, uint32_t week) {
    enum cv_err err = RUN(ctx, S_ISSUED_PRUNE, NUMBER(week));
    if (!err)
        err = RUN(ctx, S_SPENT_PRUNE, NUMBER(week));
    return err ? err : RUN(ctx, S_PURSE_PRUNE, NUMBER(week));
}

/* ---- why ---- */

static enum cv_err why_put(void *ctx, const struct rep_why *w) {
    struct rep_store_sqlite *s = ctx;
    assert(w->kind >= REP_WHY_CLASS && w->kind <= REP_WHY_TOKENS);
    enum cv_err err =
        RUN(ctx, S_WHY_PUT, NUMBER(w->day), NUMBER(w->kind), NUMBER(w->cause), NUMBER(w->was),
            NUMBER(w->became), OCTETS(w->who, CV_KEY), NUMBER(w->given), NUMBER(w->taken));
    /* Looks at all rows, as none of them stands by its kind. */
    if (!err && s->why_room[w->kind]-- == 0) {
        err = RUN(ctx, S_WHY_TRIM, NUMBER(w->kind), NUMBER(REP_WHY_KEPT));
        s->why_room[w->kind] = REP_WHY_SLACK;
    }
    return no_exist(err);
}

static enum cv_err why_expire(void *ctx, int64_t before, int64_t today) {
    enum cv_err err = RUN(ctx, S_WHY_EXPIRE, NUMBER(before));
    return err ? err : RUN(ctx, S_WHY_DAYS, NUMBER(today));
}

static bool read_why(sqlite3_stmt *st, void *row) {
    struct rep_why *w = row;
    uint64_t kind, cause;
    if (!(date(st, 0, &w->day) && number(st, 1, UINT8_MAX, &kind) &&
          number(st, 2, UINT8_MAX, &cause) && number32(st, 3, &w->was) &&
          number32(st, 4, &w->became) && octets(st, 5, w->who, CV_KEY) &&
          number(st, 6, REP_AMOUNT_MAX, &w->given) && number(st, 7, REP_AMOUNT_MAX, &w->taken)))
        return false;
    w->kind = (uint8_t)kind;
    w->cause = (uint8_t)cause;
    return true;
}

static enum cv_err why_load(void *ctx, struct rep_why **ret, size_t *ret_n) {
    void *all = NULL;
    enum cv_err err = load(ctx, S_WHY_LOAD, sizeof **ret, read_why, &all, ret_n);
    if (!err)
        *ret = all;
    return err;
}

/* ---- names ---- */

enum cv_err rep_store_sqlite_name(struct rep_store_sqlite *s, const uint8_t key[CV_KEY],
                                  const char *name, size_t len) {
    int64_t id;
    sqlite3_stmt *st;
    enum cv_err err = peer_id(s, key, &id);
    if (!err)
        err = FIRST(s, S_NAME_GET, &st, NUMBER(id), OCTETS(name, (int)len));
    if (err == CV_ERR_NOENT)
        return RUN(s, S_NAME_PUT, NUMBER(id), OCTETS(name, (int)len));
    if (err)
        return err;
    bool same = sqlite3_column_int(st, 0) != 0;
    end(st);
    return same ? CV_ERR_OK : CV_ERR_EXIST;
}

enum cv_err rep_store_sqlite_hand_over(struct rep_store_sqlite *s, const uint8_t heir[CV_KEY]) {
    enum cv_err err = RUN(s, S_META_OWNER, OCTETS(heir, CV_KEY));
    if (!err)
        err = run(s, S_LINK_CLEAR, NULL, 0);
    return err ? err : run(s, S_SCORE_CLEAR, NULL, 0);
}

/* ---- opening ---- */

/* Where to say why: one line for the operator. */
struct why {
    char *text;
    size_t cap;
    const char *path;
};

#define SAY(w, ...) sqlite3_snprintf((int)(w)->cap, (w)->text, __VA_ARGS__)

static enum cv_err say_sqlite(struct rep_store_sqlite *s, const struct why *w, int rc) {
    enum cv_err err = map_error(rc);
    if ((rc & 0xff) == SQLITE_NOTADB)
        SAY(w, "%s: not a database; name another file or move this one away", w->path);
    else if (err == CV_ERR_CORRUPT)
        SAY(w, "%s: damaged (%s); restore a backup or move it away", w->path,
            sqlite3_errmsg(s->db));
    else
        SAY(w, "%s: cannot be opened: %s", w->path,
            s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc));
    return err;
}

static int one_number(struct rep_store_sqlite *s, const char *sql, int64_t *ret) {
    sqlite3_stmt *st;
    int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);
    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        *ret = sqlite3_column_int64(st, 0);
    int finalized = sqlite3_finalize(st);
    return rc == SQLITE_ROW ? SQLITE_OK : finalized != SQLITE_OK ? finalized : SQLITE_CORRUPT;
}

/* *ret_sound: the file says "ok" about itself. */
static int quick_check(sqlite3 *db, bool *ret_sound) {
    sqlite3_stmt *st;
    int rc = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &st, NULL);
    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_step(st);
    const unsigned char *text = rc == SQLITE_ROW ? sqlite3_column_text(st, 0) : NULL;
    *ret_sound = text && strcmp((const char *)text, "ok") == 0;
    int finalized = sqlite3_finalize(st);
    return rc == SQLITE_ROW ? SQLITE_OK : finalized != SQLITE_OK ? finalized : SQLITE_CORRUPT;
}

static int settings(struct rep_store_sqlite *s, enum rep_sqlite_sync sync) {
    sqlite3_busy_timeout(s->db, BUSY_MS); /* a reader that checkpoints */
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    /* Chains are clustered by owner: with a large file's upper pages in memory an
     * import takes a third less time. Filled as needed, at most 32 MiB. */
    int rc = sqlite3_exec(s->db,
                          "PRAGMA cache_size=-32768;"
                          "PRAGMA cell_size_check=ON; PRAGMA secure_delete=ON;"
                          "PRAGMA foreign_keys=ON; PRAGMA journal_mode=WAL;",
                          NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        return rc;
    return sqlite3_exec(
        s->db, sync == REP_SQLITE_FULL ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL",
        NULL, NULL, NULL);
}

/* Is it a ledger, and one that we can read? */
static enum cv_err identify(struct rep_store_sqlite *s, const struct why *w, int64_t *ret_version) {
    int64_t id = 0, version = 0, objects = 0;
    int rc = one_number(s, "PRAGMA application_id", &id);
    if (rc == SQLITE_OK)
        rc = one_number(s, "PRAGMA user_version", &version);
    if (rc == SQLITE_OK)
        rc = one_number(s, "SELECT count(*) FROM sqlite_schema", &objects);
    if (rc != SQLITE_OK)
        return say_sqlite(s, w, rc);
    if (id == 0 && version == 0 && objects == 0) {
        *ret_version = 0; /* new */
        return CV_ERR_OK;
    }
    if (id != REP_SQLITE_APPLICATION_ID || version < 1) {
        SAY(w, "%s: a database, but not a culvert ledger; name another file", w->path);
        return CV_ERR_DIFFERS;
    }
    if (version > REP_SQLITE_VERSION) {
        SAY(w,
            "%s: written by a newer version of culvert (schema %lld, this one knows up to %d); "
            "install that version or name another file",
            w->path, (long long)version, REP_SQLITE_VERSION);
        return CV_ERR_VERSION;
    }
    *ret_version = version;
    return CV_ERR_OK;
}

/* All missing migrations in one transaction: a crash leaves the old version. */
static int migrate(struct rep_store_sqlite *s, int64_t from) {
    char *mark = sqlite3_mprintf("PRAGMA application_id=%d; PRAGMA user_version=%d",
                                 REP_SQLITE_APPLICATION_ID, REP_SQLITE_VERSION);
    if (!mark)
        return SQLITE_NOMEM;
    int rc = sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    for (int64_t i = from; rc == SQLITE_OK && i < REP_SQLITE_VERSION; i++)
        rc = sqlite3_exec(s->db, migrations[i], NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(s->db, mark, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL);
    sqlite3_free(mark);
    return rc;
}

/* The row `name` of meta is `want`, written if it is not there. */
static enum cv_err belongs(struct rep_store_sqlite *s, const char *name, const uint8_t *want,
                           int len, bool *ret_same) {
    sqlite3_stmt *st;
    int rc;
    uint8_t have[CV_KEY];
    st = statement(s, S_META_GET, &rc);
    if (!st)
        return map_error(rc);
    sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
    rc = sqlite3_step(st);
    *ret_same =
        rc == SQLITE_ROW && octets(st, 0, have, len) && memcmp(have, want, (size_t)len) == 0;
    end(st);
    if (rc != SQLITE_DONE)
        return map_error(rc);
    *ret_same = true;
    st = statement(s, S_META_PUT, &rc);
    if (!st)
        return map_error(rc);
    sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_blob(st, 2, want, len, SQLITE_STATIC);
    rc = sqlite3_step(st);
    end(st);
    return map_error(rc);
}

static enum cv_err check_owner(struct rep_store_sqlite *s, const struct why *w,
                               const uint8_t network_id[REP_NETWORK_ID],
                               const uint8_t identity[CV_KEY]) {
    bool network, owner = true;
    enum cv_err err = belongs(s, "network", network_id, REP_NETWORK_ID, &network);
    if (!err && network)
        err = belongs(s, "identity", identity, CV_KEY, &owner);
    if (err) {
        SAY(w, "%s: cannot be used: %s", w->path, sqlite3_errmsg(s->db));
        return err;
    }
    if (network && owner)
        return CV_ERR_OK;
    SAY(w, "%s: the ledger of another %s; name another file or move this one away", w->path,
        network ? "identity" : "network");
    return CV_ERR_DIFFERS;
}

/* Did whoever wrote last close it? What cannot be read was not. */
static bool was_closed(struct rep_store_sqlite *s) {
    sqlite3_stmt *st;
    if (run_first(s, S_CLEAN_GET, &st))
        return false;
    bool closed = sqlite3_column_int(st, 0) != 0;
    end(st);
    return closed;
}

/* From now on it is in use: the mark goes, on disk, before anything else. */
static enum cv_err begin_use(struct rep_store_sqlite *s, const struct why *w) {
    sqlite3_stmt *st;
    enum cv_err err = run(s, S_CLEAN_DEL, NULL, 0);
    if (!err)
        err = run_first(s, S_FORK_ANY, &st);
    if (err) {
        SAY(w, "%s: cannot be used: %s", w->path, sqlite3_errmsg(s->db));
        return err;
    }
    s->forks = sqlite3_column_int(st, 0) != 0;
    end(st);
    s->open = true;
    return CV_ERR_OK;
}

static enum cv_err prepare(struct rep_store_sqlite *s, const struct why *w,
                           enum rep_sqlite_sync sync) {
    int64_t version = 0;
    bool sound = true;
    enum cv_err err = identify(s, w, &version);
    if (err)
        return err;
    int rc = settings(s, sync);
    s->checked = version == 0 || !was_closed(s);
    if (rc == SQLITE_OK && s->checked)
        rc = quick_check(s->db, &sound);
    if (rc != SQLITE_OK)
        return say_sqlite(s, w, rc);
    if (!sound) {
        SAY(w, "%s: damaged; restore a backup or move it away", w->path);
        return CV_ERR_CORRUPT;
    }
    rc = version < REP_SQLITE_VERSION ? migrate(s, version) : SQLITE_OK;
    return rc == SQLITE_OK ? CV_ERR_OK : say_sqlite(s, w, rc);
}

static int open_file(struct rep_store_sqlite *s, const char *path) {
    /* Made here, so that nobody else can read it: SQLite would ask the umask. */
    int fd = strcmp(path, ":memory:") ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd >= 0)
        close(fd);
    return sqlite3_open_v2(path, &s->db,
                           SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
}

/* SQLite's messages quote names out of the file, whatever octets they are. */
static void one_line(char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

enum cv_err rep_store_sqlite_open(const char *path, const uint8_t network_id[REP_NETWORK_ID],
                                  const uint8_t identity[CV_KEY], enum rep_sqlite_sync sync,
                                  struct rep_store_sqlite **ret, char *why, size_t why_cap) {
    const struct why w = {.text = why, .cap = why_cap, .path = path};
    struct rep_store_sqlite *s = calloc(1, sizeof *s);
    if (!s) {
        SAY(&w, "%s: out of memory", path);
        return CV_ERR_NOMEM;
    }
    s->ops = REP_STORE_OF(s);
    s->newest = -1;
    int rc = open_file(s, path);
    enum cv_err err = rc == SQLITE_OK ? prepare(s, &w, sync) : say_sqlite(s, &w, rc);
    if (!err)
        err = check_owner(s, &w, network_id, identity);
    if (!err)
        err = begin_use(s, &w);
    if (err) {
        one_line(why);
        rep_store_sqlite_close(s);
        return err;
    }
    *ret = s;
    return CV_ERR_OK;
}

struct rep_store_sqlite *rep_store_sqlite_close(struct rep_store_sqlite *s) {
    if (!s)
        return NULL;
    if (s->db) {
        rollback(s);
        if (s->open && !s->damaged && !s->unchecked)
            (void)run(s, S_CLEAN_PUT, NULL, 0); /* else the next opening takes a little longer */
        for (int i = 0; i < STATEMENT_COUNT; i++)
            sqlite3_finalize(s->prepared[i]);
        sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
        sqlite3_close(s->db);
    }
    free(s->ends);
    free(s);
    return NULL;
}

bool rep_store_sqlite_checked(const struct rep_store_sqlite *s) {
    return s->checked;
}

void rep_store_sqlite_found(struct rep_store_sqlite *s, enum cv_err check) {
    s->unchecked = check != CV_ERR_OK;
    s->damaged |= check == CV_ERR_CORRUPT;
}

void rep_store_sqlite_bulk(struct rep_store_sqlite *s) {
    /* Row ids come from peer_id() a moment ago, so foreign keys hold without a look. */
    sqlite3_exec(s->db,
                 "PRAGMA cache_size=-262144; PRAGMA wal_autocheckpoint=65536;"
                 "PRAGMA foreign_keys=OFF;",
                 NULL, NULL, NULL); /* refused: it only takes longer */
    if (!s->ends)
        s->ends = calloc(PEER_CACHE, sizeof *s->ends); /* NULL: likewise */
}

static int stop_check(void *stop) {
    return atomic_load((const atomic_bool *)stop);
}

enum cv_err rep_store_sqlite_check(const char *path, const atomic_bool *stop, char *why,
                                   size_t why_cap) {
    const struct why w = {.text = why, .cap = why_cap, .path = path};
    struct rep_store_sqlite s = {.db = NULL};
    bool sound = true;
    int rc = sqlite3_open_v2(path, &s.db, SQLITE_OPEN_READONLY, NULL);
    if (rc == SQLITE_OK) {
        atomic_bool *flag = (atomic_bool *)(uintptr_t)stop;
        sqlite3_busy_timeout(s.db, BUSY_MS);
        sqlite3_exec(s.db, "PRAGMA cell_size_check=ON", NULL, NULL, NULL);
        sqlite3_progress_handler(s.db, 100000, stop_check, flag);
        rc = quick_check(s.db, &sound);
    }
    enum cv_err err = CV_ERR_OK;
    if ((rc & 0xff) == SQLITE_INTERRUPT)
        err = CV_ERR_AGAIN;
    else if (rc != SQLITE_OK)
        err = say_sqlite(&s, &w, rc);
    else if (!sound) {
        SAY(&w, "%s: damaged; restore a backup or move it away", path);
        err = CV_ERR_CORRUPT;
    }
    one_line(why);
    sqlite3_close(s.db);
    return err;
}

const struct rep_store *rep_store_sqlite_ops(struct rep_store_sqlite *s) {
    return &s->ops;
}
