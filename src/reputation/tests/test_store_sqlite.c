/*
 * The SQLite store against the memory store as its reference: random
 * operations, commits, rollbacks and reopenings give the same answers. Then
 * what opening a file must say when the file is not what it should be.
 */
#include "support/suite.h"

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "reputation/store_memory.h"
#include "reputation/store_sqlite.h"
#include "reputation/tests/version_5.h"
#include "support/folder.h"

CV_SUITE(rep_store_sqlite);

enum { PEOPLE = 6, SEQS = 12 };

static const uint8_t network[REP_NETWORK_ID] = "testnet1";
static char folder[256];

static const char *path_of(const char *name, char out[300]) {
    if (!folder[0])
        folder_make(folder);
    snprintf(out, 300, "%s/%s", folder, name);
    return out;
}

static void remove_all(void) {
    if (folder[0])
        folder_remove(folder);
}

static void key(unsigned who, uint8_t ret[CV_KEY]) {
    memset(ret, (int)(who * 37 + 1), CV_KEY);
}

static struct rep_store_sqlite *open_store(const char *path) {
    struct rep_store_sqlite *s = NULL;
    char why[256] = "";
    uint8_t me[CV_KEY];
    key(0, me);
    enum cv_err err = rep_store_sqlite_open(path, network, me, REP_SQLITE_NORMAL, &s, why, 256);
    cr_assert_eq(err, CV_ERR_OK, "%s", why);
    return s;
}

/* A half-block as chain.c would accept it by itself; not signed: stores do not look. */
static struct rep_record random_record(const struct cv_rng *rng) {
    struct rep_record r, checked;
    uint8_t buf[REP_RECORD];
    unsigned owner = (unsigned)cv_rng_below(rng, PEOPLE);
    memset(&r, 0, sizeof r);
    r.version = REP_RECORD_VERSION;
    key(owner, r.owner);
    key((owner + 1 + (unsigned)cv_rng_below(rng, PEOPLE - 1)) % PEOPLE, r.peer);
    r.seq = 1 + cv_rng_below(rng, SEQS);
    if (r.seq > 1)
        memset(r.prev, (int)r.seq, REP_HASH);
    r.type = REP_PROPOSAL;
    r.given = cv_rng_u64(rng) & REP_AMOUNT_MAX;
    r.taken = cv_rng_below(rng, 1000);
    r.epoch = cv_rng_u32(rng);
    cv_rng_fill(rng, r.sig, sizeof r.sig);
    rep_record_write(&r, buf);
    cr_assert_eq(rep_record_read(buf, &checked), CV_ERR_OK);
    return checked;
}

/* An agreement that answers a half-block the store has, if it has one. */
static void make_answer(const struct rep_store *s, struct rep_record *r) {
    struct rep_record p, checked;
    uint8_t buf[REP_RECORD];
    if (s->block_seek(s->ctx, r->peer, r->owner, 0, REP_SEEK_FROM, &p))
        return;
    r->type = REP_AGREEMENT;
    r->peer_seq = p.seq;
    memcpy(r->peer_hash, p.hash, REP_HASH);
    rep_record_write(r, buf);
    cr_assert_eq(rep_record_read(buf, &checked), CV_ERR_OK);
    *r = checked;
}

#define SAME(call_a, call_b, a, b, size)                                                           \
    do {                                                                                           \
        enum cv_err err_a = (call_a), err_b = (call_b);                                            \
        cr_assert_eq(err_a, err_b, "step %u: %s is '%s', reference says '%s'", step, #call_a,      \
                     cv_strerror(err_a), cv_strerror(err_b));                                      \
        if (!err_a && (size))                                                                      \
            cr_assert_arr_eq((a), (b), (size), "step %u: %s", step, #call_a);                      \
    } while (0)

struct both {
    const struct rep_store *a, *b;
    struct cv_rng rng;
};

/* Of those that have half-blocks. */
static enum cv_err owner_next(const struct rep_store *s, const uint8_t *after,
                              uint8_t ret[CV_KEY]) {
    struct rep_record r;
    enum cv_err err;
    while (!(err = s->owner_next(s->ctx, after, ret))) {
        if (s->block_seek(s->ctx, ret, NULL, 0, REP_SEEK_FROM, &r) == CV_ERR_OK)
            break;
        after = ret;
    }
    return err;
}

static void blocks(struct both *t, unsigned step) {
    struct rep_record r = random_record(&t->rng), x, y;
    const struct rep_store *a = t->a, *b = t->b;
    if (cv_rng_below(&t->rng, 2))
        make_answer(b, &r);
    SAME(a->block_put(a->ctx, &r), b->block_put(b->ctx, &r), a, b, 0);
    uint64_t seq = cv_rng_below(&t->rng, SEQS + 3);
    SAME(a->block_get(a->ctx, r.owner, seq, &x), b->block_get(b->ctx, r.owner, seq, &y), &x, &y,
         sizeof x);
    for (int how = REP_SEEK_BELOW; how <= REP_SEEK_FROM; how++) {
        SAME(a->block_seek(a->ctx, r.owner, r.peer, seq, (enum rep_seek)how, &x),
             b->block_seek(b->ctx, r.owner, r.peer, seq, (enum rep_seek)how, &y), &x, &y, sizeof x);
        SAME(a->block_seek(a->ctx, r.peer, NULL, seq, (enum rep_seek)how, &x),
             b->block_seek(b->ctx, r.peer, NULL, seq, (enum rep_seek)how, &y), &x, &y, sizeof x);
    }
    SAME(a->block_answer(a->ctx, &r, &x), b->block_answer(b->ctx, &r, &y), &x, &y, sizeof x);
    SAME(owner_next(a, seq ? r.owner : NULL, x.owner), owner_next(b, seq ? r.owner : NULL, y.owner),
         x.owner, y.owner, CV_KEY);
    uint32_t before = (uint32_t)cv_rng_below(&t->rng, 1000), c, d;
    if (cv_rng_below(&t->rng, 8) == 0)
        SAME(a->block_del(a->ctx, r.owner, seq), b->block_del(b->ctx, r.owner, seq), a, b, 0);
    if (cv_rng_below(&t->rng, 8) == 0)
        SAME(a->prune_put(a->ctx, before), b->prune_put(b->ctx, before), a, b, 0);
    SAME(a->pruned_before(a->ctx, &c, &(uint32_t){0}), b->pruned_before(b->ctx, &d, &(uint32_t){0}),
         &c, &d, sizeof c);
    uint64_t whole_a, whole_b;
    if (cv_rng_below(&t->rng, 4) == 0)
        SAME(a->whole_put(a->ctx, r.owner, seq + 1), b->whole_put(b->ctx, r.owner, seq + 1), a, b,
             0);
    SAME(a->whole_get(a->ctx, r.peer, &whole_a), b->whole_get(b->ctx, r.peer, &whole_b), &whole_a,
         &whole_b, sizeof whole_a);
}

static int by_octets(const void *a, const void *b) {
    return memcmp(a, b, CV_KEY * 2);
}

static void edges(struct both *t, unsigned step) {
    const struct rep_store *a = t->a, *b = t->b;
    struct rep_edge e, x, y, *all_x, *all_y;
    size_t n_x, n_y;
    memset(&e, 0, sizeof e);
    key((unsigned)cv_rng_below(&t->rng, PEOPLE), e.giver);
    key((unsigned)cv_rng_below(&t->rng, PEOPLE), e.taker);
    SAME(a->edge_get(a->ctx, e.giver, e.taker, &x), b->edge_get(b->ctx, e.giver, e.taker, &y), &x,
         &y, sizeof x);
    e.octets = cv_rng_u64(&t->rng) & REP_AMOUNT_MAX;
    e.recent = e.octets / 2;
    e.epoch = cv_rng_u32(&t->rng);
    SAME(a->edge_put(a->ctx, &e), b->edge_put(b->ctx, &e), a, b, 0);
    cr_assert_eq(a->edge_load(a->ctx, &all_x, &n_x), CV_ERR_OK);
    cr_assert_eq(b->edge_load(b->ctx, &all_y, &n_y), CV_ERR_OK);
    cr_assert_eq(n_x, n_y);
    qsort(all_x, n_x, sizeof *all_x, by_octets);
    qsort(all_y, n_y, sizeof *all_y, by_octets);
    cr_assert_arr_eq(all_x, all_y, n_x * sizeof *all_x, "step %u", step);
    free(all_x);
    free(all_y);
}

static void pendings(struct both *t, unsigned step) {
    const struct rep_store *a = t->a, *b = t->b;
    struct rep_pending p, *x, *y;
    size_t n_x, n_y;
    memset(&p, 0, sizeof p);
    key((unsigned)cv_rng_below(&t->rng, PEOPLE), p.peer);
    p.epoch = (uint32_t)cv_rng_below(&t->rng, 4);
    if (cv_rng_below(&t->rng, 3)) {
        p.given = cv_rng_below(&t->rng, 1 << 30);
        p.taken = cv_rng_below(&t->rng, 1 << 30);
        p.release_at = (int64_t)cv_rng_below(&t->rng, 5);
        p.proposal = cv_rng_below(&t->rng, 5);
        SAME(a->pending_put(a->ctx, &p), b->pending_put(b->ctx, &p), a, b, 0);
    } else {
        SAME(a->pending_del(a->ctx, p.peer, p.epoch), b->pending_del(b->ctx, p.peer, p.epoch), a, b,
             0);
    }
    cr_assert_eq(a->pending_load(a->ctx, &x, &n_x), CV_ERR_OK);
    cr_assert_eq(b->pending_load(b->ctx, &y, &n_y), CV_ERR_OK);
    cr_assert_eq(n_x, n_y);
    for (size_t i = 0; i < n_x; i++) { /* peers may come in another order */
        size_t j = 0;
        while (j < n_y && memcmp(&x[i], &y[j], sizeof *x) != 0)
            j++;
        cr_assert_lt(j, n_y, "step %u", step);
        if (i && memcmp(x[i - 1].peer, x[i].peer, CV_KEY) == 0)
            cr_assert_lt(x[i - 1].epoch, x[i].epoch);
    }
    free(x);
    free(y);
}

static void accounts(struct both *t, unsigned step) {
    const struct rep_store *a = t->a, *b = t->b;
    struct rep_account c, x, y;
    memset(&c, 0, sizeof c);
    key((unsigned)cv_rng_below(&t->rng, PEOPLE), c.client);
    c.given = cv_rng_below(&t->rng, 1 << 20);
    c.taken = cv_rng_below(&t->rng, 1 << 20);
    c.last_seen = (int64_t)cv_rng_below(&t->rng, 100);
    c.debt_since = (int64_t)cv_rng_below(&t->rng, 3 * 86400);
    c.gate_class = (uint8_t)cv_rng_below(&t->rng, 4);
    SAME(a->account_put(a->ctx, &c), b->account_put(b->ctx, &c), a, b, 0);
    int64_t before = (int64_t)cv_rng_below(&t->rng, 60);
    int64_t today = before + (int64_t)cv_rng_below(&t->rng, 40);
    if (cv_rng_below(&t->rng, 2))
        today += INT64_C(3) * 86400;
    SAME(a->account_expire(a->ctx, before, today), b->account_expire(b->ctx, before, today), a, b,
         0);
    key((unsigned)cv_rng_below(&t->rng, PEOPLE), c.client);
    SAME(a->account_get(a->ctx, c.client, &x), b->account_get(b->ctx, c.client, &y), &x, &y,
         sizeof x);
}

static void forgers(struct both *t, unsigned step) {
    const struct rep_store *a = t->a, *b = t->b;
    struct rep_fork f, x, y;
    uint8_t who[CV_KEY], *all_x, *all_y;
    size_t n_x, n_y;
    int64_t until_x = 0, until_y = 0;
    key((unsigned)cv_rng_below(&t->rng, PEOPLE), who);
    cv_rng_fill(&t->rng, &f, sizeof f);
    uint64_t seq = cv_rng_below(&t->rng, 4);
    SAME(a->fork_put(a->ctx, who, seq, &f), b->fork_put(b->ctx, who, seq, &f), a, b, 0);
    SAME(a->ban_put(a->ctx, who, step + 1), b->ban_put(b->ctx, who, step + 1), a, b, 0);
    key((unsigned)cv_rng_below(&t->rng, PEOPLE), who);
    SAME(a->fork_get(a->ctx, who, &x), b->fork_get(b->ctx, who, &y), &x, &y, sizeof x);
    SAME(a->ban_get(a->ctx, who, &until_x), b->ban_get(b->ctx, who, &until_y), &until_x, &until_y,
         sizeof until_x);
    cr_assert_eq(a->fork_load(a->ctx, &all_x, &n_x), CV_ERR_OK);
    cr_assert_eq(b->fork_load(b->ctx, &all_y, &n_y), CV_ERR_OK);
    cr_assert_eq(n_x > 0, n_y > 0);
    free(all_x);
    free(all_y);
    SAME(a->score_put(a->ctx, who, who, 0.5, 1), b->score_put(b->ctx, who, who, 0.5, 1), a, b, 0);
}

static void tokens(struct both *t, unsigned step) {
    const struct rep_store *a = t->a, *b = t->b;
    uint8_t who[CV_KEY], request[REP_HASH], x[REP_HASH], y[REP_HASH];
    uint64_t n_x = 0, n_y = 0;
    struct rep_purse p, *all_x, *all_y;
    size_t len_x, len_y;
    uint32_t week = (uint32_t)cv_rng_below(&t->rng, 5);
    key((unsigned)cv_rng_below(&t->rng, PEOPLE), who);
    cv_rng_fill(&t->rng, request, sizeof request);
    SAME(a->issued_put(a->ctx, week, who, request), b->issued_put(b->ctx, week, who, request), a, b,
         0);
    SAME(a->issued_get(a->ctx, week / 2, who, x), b->issued_get(b->ctx, week / 2, who, y), x, y,
         sizeof x);
    SAME(a->issued_count(a->ctx, week, &n_x), b->issued_count(b->ctx, week, &n_y), &n_x, &n_y,
         sizeof n_x);
    SAME(a->spent_put(a->ctx, week, who), b->spent_put(b->ctx, week, who), a, b, 0);
    memset(&p, 0, sizeof p);
    memcpy(p.issuer, who, CV_KEY);
    cv_rng_fill(&t->rng, p.seed, sizeof p.seed);
    cv_rng_fill(&t->rng, p.output, sizeof p.output);
    p.week = week;
    p.had = 1;
    p.left = (uint32_t)cv_rng_below(&t->rng, 1 << REP_TOKENS);
    p.from = step;
    SAME(a->purse_put(a->ctx, &p), b->purse_put(b->ctx, &p), a, b, 0);
    if (cv_rng_below(&t->rng, 4) == 0)
        SAME(a->token_prune(a->ctx, week), b->token_prune(b->ctx, week), a, b, 0);
    cr_assert_eq(a->purse_load(a->ctx, &all_x, &len_x), CV_ERR_OK);
    cr_assert_eq(b->purse_load(b->ctx, &all_y, &len_y), CV_ERR_OK);
    cr_assert_eq(len_x, len_y);
    for (size_t i = 0; i < len_x; i++) { /* in another order */
        size_t j = 0;
        while (j < len_y && memcmp(&all_x[i], &all_y[j], sizeof p) != 0)
            j++;
        cr_assert_lt(j, len_y, "step %u", step);
    }
    free(all_x);
    free(all_y);
}

static void whys(struct both *t, unsigned step) {
    const struct rep_store *a = t->a, *b = t->b;
    struct rep_why w, *x, *y;
    size_t n_x, n_y;
    memset(&w, 0, sizeof w);
    w.day = 86400 * (int64_t)cv_rng_below(&t->rng, 50);
    w.kind = (uint8_t)(1 + cv_rng_below(&t->rng, 3));
    w.cause = (uint8_t)cv_rng_below(&t->rng, 13);
    w.became = step;
    w.given = cv_rng_below(&t->rng, 1 << 30);
    key((unsigned)cv_rng_below(&t->rng, PEOPLE), w.who);
    SAME(a->why_put(a->ctx, &w), b->why_put(b->ctx, &w), a, b, 0);
    if (cv_rng_below(&t->rng, 5) == 0) {
        int64_t before = 86400 * (int64_t)cv_rng_below(&t->rng, 20);
        int64_t today = before + 86400 * (int64_t)cv_rng_below(&t->rng, 30);
        SAME(a->why_expire(a->ctx, before, today), b->why_expire(b->ctx, before, today), a, b, 0);
    }
    cr_assert_eq(a->why_load(a->ctx, &x, &n_x), CV_ERR_OK);
    cr_assert_eq(b->why_load(b->ctx, &y, &n_y), CV_ERR_OK);
    cr_assert_eq(n_x, n_y, "step %u", step);
    if (n_x)
        cr_assert_arr_eq(x, y, n_x * sizeof *x, "step %u", step);
    free(x);
    free(y);
}

/* Every other one as an import opens it, which remembers the ends of chains. */
static struct rep_store_sqlite *open_same(const char *path, uint64_t seed) {
    struct rep_store_sqlite *s = open_store(path);
    if (seed % 2)
        rep_store_sqlite_bulk(s);
    return s;
}

Test(rep_store_sqlite, same_as_memory) {
    char path[300];
    cv_crypto_init();
    for (uint64_t seed = 1; seed <= 11; seed++) {
        bool chains = seed > 8; /* nothing else, and more of them in a transaction */
        struct cv_rng_seeded dice;
        cv_rng_seeded_init(&dice, seed);
        unlink(path_of("same.db", path));
        struct rep_store_sqlite *sql = open_same(path, seed);
        struct rep_store_memory *memory = rep_store_memory_new();
        struct both t = {.a = rep_store_sqlite_ops(sql),
                         .b = rep_store_memory_ops(memory),
                         .rng = cv_rng_seeded(&dice)};
        static void (*const acts[])(struct both *, unsigned) = {blocks,  edges,  pendings, accounts,
                                                                forgers, tokens, whys};
        for (unsigned step = 0; step < 400;) {
            SAME(t.a->begin(t.a->ctx, 86400 * 3 + 7), t.b->begin(t.b->ctx, 0), &t, &t, 0);
            for (uint64_t n = cv_rng_below(&t.rng, chains ? 100 : 30); n > 0; n--)
                acts[cv_rng_below(&t.rng, chains ? 1 : 7)](&t, step++);
            if (cv_rng_below(&t.rng, 3)) {
                SAME(t.a->commit(t.a->ctx), t.b->commit(t.b->ctx), &t, &t, 0);
            } else {
                t.a->rollback(t.a->ctx);
                t.b->rollback(t.b->ctx);
            }
            if (cv_rng_below(&t.rng, 5) == 0) {
                rep_store_sqlite_close(sql);
                sql = open_same(path, seed);
                t.a = rep_store_sqlite_ops(sql);
            }
        }
        rep_store_sqlite_close(sql);
        rep_store_memory_free(memory);
    }
    remove_all();
}

/* Of a kind: the newest so many rows without a gap, all that there were if there were fewer. */
static void expect_kept(const struct rep_store *s, uint8_t kind, unsigned put) {
    unsigned least = put < REP_WHY_KEPT ? put : REP_WHY_KEPT, got = 0;
    struct rep_why *all;
    size_t n;
    cr_assert_eq(s->why_load(s->ctx, &all, &n), CV_ERR_OK);
    for (size_t i = 0; i < n; i++)
        if (all[i].kind == kind) {
            cr_assert_eq(all[i].became, put - got, "kind %u", kind);
            got++;
        }
    free(all);
    cr_expect(got >= least && got <= least + REP_WHY_SLACK, "kind %u: %u of %u", kind, got, put);
}

/* Scores of hundreds of neighbours change with every ranking; a class now and then. */
Test(rep_store_sqlite, a_storm_of_scores_leaves_the_reasons_of_classes) {
    char path[300];
    cv_crypto_init();
    struct rep_store_sqlite *sql = open_store(path_of("storm.db", path));
    struct rep_store_memory *memory = rep_store_memory_new();
    const struct rep_store *both[] = {rep_store_sqlite_ops(sql), rep_store_memory_ops(memory)};
    unsigned put[REP_WHY_TOKENS + 1] = {0};
    for (unsigned round = 0; round < 100; round++) {
        bool undone = round % 10 == 9;
        unsigned before[REP_WHY_TOKENS + 1];
        memcpy(before, put, sizeof put);
        for (unsigned k = 0; k < 2; k++)
            cr_assert_eq(both[k]->begin(both[k]->ctx, 0), CV_ERR_OK);
        for (unsigned i = 0; i < 202; i++) {
            uint8_t kind = i == 77 ? REP_WHY_CLASS : i == 201 ? REP_WHY_TOKENS : REP_WHY_SCORE;
            struct rep_why w = {.kind = kind, .became = ++put[kind]};
            for (unsigned k = 0; k < 2; k++)
                cr_assert_eq(both[k]->why_put(both[k]->ctx, &w), CV_ERR_OK);
        }
        for (unsigned k = 0; k < 2; k++)
            if (undone)
                both[k]->rollback(both[k]->ctx);
            else
                cr_assert_eq(both[k]->commit(both[k]->ctx), CV_ERR_OK);
        if (undone)
            memcpy(put, before, sizeof put);
        if (round % 30 == 29) {
            rep_store_sqlite_close(sql);
            sql = open_store(path);
            both[0] = rep_store_sqlite_ops(sql);
        }
    }
    cr_assert_gt(put[REP_WHY_SCORE], 4 * REP_WHY_KEPT);
    for (unsigned k = 0; k < 2; k++)
        for (unsigned kind = REP_WHY_CLASS; kind <= REP_WHY_TOKENS; kind++)
            expect_kept(both[k], (uint8_t)kind, put[kind]);
    rep_store_sqlite_close(sql);
    rep_store_memory_free(memory);
    remove_all();
}

/* ---- files that are not what they should be ---- */

static void sql(const char *path, const char *text) {
    sqlite3 *db;
    char *say = NULL;
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, text, NULL, NULL, &say), SQLITE_OK, "%s", say);
    sqlite3_close(db);
}

static void overwrite(const char *path, off_t at, const char *with, size_t len) {
    int fd = open(path, O_WRONLY);
    cr_assert_eq(pwrite(fd, with, len, at), (ssize_t)len);
    close(fd);
}

static void newer(const char *path) {
    sql(path, "PRAGMA user_version=99");
}
static void foreign(const char *path) {
    unlink(path);
    sql(path, "CREATE TABLE t(x); PRAGMA application_id=7; PRAGMA user_version=1");
}
static void foreign_unmarked(const char *path) {
    unlink(path);
    sql(path, "CREATE TABLE t(x)");
}
static void other_identity(const char *path) {
    sql(path, "UPDATE meta SET value = zeroblob(32) WHERE name = 'identity'");
}
static void other_network(const char *path) {
    sql(path, "UPDATE meta SET value = zeroblob(8) WHERE name = 'network'");
}
static void text(const char *path) {
    overwrite(path, 0, "Dear Sir or Madam, this is not a database but a letter", 54);
}
static void torn(const char *path) {
    static const char junk[8192] = {7};
    overwrite(path, 8192, junk, sizeof junk);
}
static void untouched(const char *path) {
    (void)path;
}
static void empty(const char *path) {
    cr_assert_eq(truncate(path, 0), 0);
}
static void a_folder(const char *path) {
    unlink(path);
    cr_assert_eq(mkdir(path, 0700), 0);
}

static_assert(REP_SQLITE_VERSION == 6, "and NEWEST below");

/* clang-format off */
#define STR_(x) #x
#define STR(x)  STR_(x)
#define NEWEST  6

static const struct {
    const char *name;
    void (*harm)(const char *path);
    enum cv_err want;
    const char *says; /* after "PATH: " */
} opens[] = {
    { "untouched",        untouched,        CV_ERR_OK,      "" },
    { "empty file",       empty,            CV_ERR_OK,      "" },
    { "newer version",    newer,            CV_ERR_VERSION, "written by a newer version of culvert (schema 99, this one knows up to " STR(NEWEST) "); install that version or name another file" },
    { "another program",  foreign,          CV_ERR_DIFFERS, "a database, but not a culvert ledger; name another file" },
    { "no mark",          foreign_unmarked, CV_ERR_DIFFERS, "a database, but not a culvert ledger; name another file" },
    { "another identity", other_identity,   CV_ERR_DIFFERS, "the ledger of another identity; name another file or move this one away" },
    { "another network",  other_network,    CV_ERR_DIFFERS, "the ledger of another network; name another file or move this one away" },
    { "a letter",         text,             CV_ERR_CORRUPT, "not a database; name another file or move this one away" },
    { "torn pages",       torn,             CV_ERR_CORRUPT, "damaged" },
    { "a folder",         a_folder,         CV_ERR_STORE,   "cannot be opened: unable to open database file" },
};
/* clang-format on */

Test(rep_store_sqlite, what_is_no_ledger_is_refused_in_one_line) {
    uint8_t me[CV_KEY];
    key(0, me);
    for (size_t i = 0; i < sizeof opens / sizeof *opens; i++) {
        char path[300], name[32], why[256] = "";
        struct rep_store_sqlite *s = NULL;
        snprintf(name, sizeof name, "open%zu.db", i);
        rep_store_sqlite_close(open_store(path_of(name, path)));
        opens[i].harm(path);
        enum cv_err err =
            rep_store_sqlite_open(path, network, me, REP_SQLITE_FULL, &s, why, sizeof why);
        if (!err) { /* what opening left to a check beside it */
            atomic_bool stop = false;
            err = rep_store_sqlite_check(path, &stop, why, sizeof why);
            if (err)
                s = rep_store_sqlite_close(s);
        }
        cr_expect_eq(err, opens[i].want, "%s: got '%s' (%s)", opens[i].name, cv_strerror(err), why);
        size_t head = strlen(path);
        if (err) {
            cr_expect(strncmp(why, path, head) == 0, "%s: says '%s'", opens[i].name, why);
            cr_expect(strstr(why + head, opens[i].says) == why + head + 2, "%s: says '%s'",
                      opens[i].name, why);
            cr_expect(strchr(why, '\n') == NULL);
            cr_expect(s == NULL, "%s: result clobbered on failure", opens[i].name);
        }
        rep_store_sqlite_close(s);
    }
    remove_all();
}

/* Damage where opening does not look: found before use when nobody closed the file,
 * else by the check beside it, after which nothing is written any more. */
Test(rep_store_sqlite, a_damaged_file_is_noticed) {
    uint8_t me[CV_KEY];
    char path[300], why[256] = "";
    atomic_bool stop = false;
    key(0, me);
    struct rep_store_sqlite *s = open_store(path_of("clean.db", path));
    cr_expect(rep_store_sqlite_checked(s), "a new file");
    const struct rep_store *ops = rep_store_sqlite_ops(s);
    cr_assert_eq(ops->begin(ops->ctx, 1), CV_ERR_OK);
    struct rep_account a = {.given = 1};
    for (unsigned i = 0; i < 2000; i++) {
        memcpy(a.client, &i, sizeof i);
        cr_assert_eq(ops->account_put(ops->ctx, &a), CV_ERR_OK);
    }
    cr_assert_eq(ops->commit(ops->ctx), CV_ERR_OK);
    rep_store_sqlite_close(s);
    s = open_store(path);
    cr_expect(!rep_store_sqlite_checked(s), "closed, so not checked again");
    rep_store_sqlite_close(s);

    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    static const char junk[4096] = {9};
    overwrite(path, (st.st_size / 4096 - 2) * 4096, junk, sizeof junk);
    s = open_store(path);
    ops = rep_store_sqlite_ops(s);
    stop = true;
    enum cv_err err = rep_store_sqlite_check(path, &stop, why, sizeof why);
    cr_expect(err == CV_ERR_AGAIN || err == CV_ERR_CORRUPT);
    stop = false;
    cr_expect_eq(rep_store_sqlite_check(path, &stop, why, sizeof why), CV_ERR_CORRUPT);
    cr_expect(strstr(why, "damaged") != NULL, "says '%s'", why);
    rep_store_sqlite_found(s, CV_ERR_CORRUPT);
    cr_expect_eq(ops->begin(ops->ctx, 1), CV_ERR_CORRUPT);
    rep_store_sqlite_close(s);

    s = NULL;
    cr_expect_eq(rep_store_sqlite_open(path, network, me, REP_SQLITE_FULL, &s, why, sizeof why),
                 CV_ERR_CORRUPT, "not closed as sound, yet opened");
    cr_expect(s == NULL);
    remove_all();
}

/* Who stops a relay before its check has ended must not be believed the next time. */
Test(rep_store_sqlite, a_check_that_did_not_end_is_made_up_for) {
    static const enum cv_err came_to[] = {CV_ERR_AGAIN, CV_ERR_NOMEM, CV_ERR_STORE, CV_ERR_OK};
    char path[300];
    rep_store_sqlite_close(open_store(path_of("stopped.db", path)));
    for (size_t i = 0; i < sizeof came_to / sizeof *came_to; i++) {
        struct rep_store_sqlite *s = open_store(path);
        cr_expect(!rep_store_sqlite_checked(s), "closed as sound");
        const struct rep_store *ops = rep_store_sqlite_ops(s);
        rep_store_sqlite_found(s, came_to[i]);
        cr_expect_eq(ops->begin(ops->ctx, 1), CV_ERR_OK, "it is used all the same");
        cr_expect_eq(ops->commit(ops->ctx), CV_ERR_OK);
        rep_store_sqlite_close(s);
        s = open_store(path);
        cr_expect_eq(rep_store_sqlite_checked(s), came_to[i] != CV_ERR_OK, "after '%s'",
                     cv_strerror(came_to[i]));
        rep_store_sqlite_close(s);
    }
    remove_all();
}

Test(rep_store_sqlite, damage_met_in_use_is_not_closed_as_sound) {
    char path[300], why[256] = "";
    uint8_t me[CV_KEY];
    static const char junk[4096] = {9};
    struct stat st;
    struct rep_account a = {.given = 1}, got;
    enum cv_err err = CV_ERR_OK;
    key(0, me);
    struct rep_store_sqlite *s = open_store(path_of("used.db", path));
    const struct rep_store *ops = rep_store_sqlite_ops(s);
    cr_assert_eq(ops->begin(ops->ctx, 1), CV_ERR_OK);
    for (unsigned i = 0; i < 2000; i++) {
        memcpy(a.client, &i, sizeof i);
        cr_assert_eq(ops->account_put(ops->ctx, &a), CV_ERR_OK);
    }
    cr_assert_eq(ops->commit(ops->ctx), CV_ERR_OK);
    rep_store_sqlite_close(s);
    cr_assert_eq(stat(path, &st), 0);
    overwrite(path, (st.st_size / 4096 - 2) * 4096, junk, sizeof junk);

    s = open_store(path);
    ops = rep_store_sqlite_ops(s);
    for (unsigned i = 0; i < 2000 && (!err || err == CV_ERR_NOENT); i++) {
        memcpy(a.client, &i, sizeof i);
        err = ops->account_get(ops->ctx, a.client, &got);
    }
    cr_assert_eq(err, CV_ERR_CORRUPT, "met: %s", cv_strerror(err));
    rep_store_sqlite_close(s);
    s = NULL;
    cr_expect_eq(rep_store_sqlite_open(path, network, me, REP_SQLITE_FULL, &s, why, sizeof why),
                 CV_ERR_CORRUPT, "says '%s'", why);
    rep_store_sqlite_close(s);
    remove_all();
}

Test(rep_store_sqlite, nobody_else_can_read_it_and_closing_leaves_one_file) {
    char path[300], wal[320];
    struct stat st;
    struct rep_store_sqlite *s = open_store(path_of("mode.db", path));
    const struct rep_store *ops = rep_store_sqlite_ops(s);
    uint8_t who[CV_KEY];
    key(3, who);
    cr_assert_eq(ops->begin(ops->ctx, 1), CV_ERR_OK);
    cr_assert_eq(ops->ban_put(ops->ctx, who, 9), CV_ERR_OK);
    cr_assert_eq(ops->commit(ops->ctx), CV_ERR_OK);
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0600);
    snprintf(wal, sizeof wal, "%s-wal", path);
    cr_expect_eq(stat(wal, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0600);
    rep_store_sqlite_close(s);
    cr_expect_neq(stat(wal, &st), 0);
    remove_all();
}

static unsigned times_in(const char *path, const uint8_t *what, size_t len) {
    FILE *f = fopen(path, "rb");
    unsigned n = 0;
    cr_assert_neq(f, NULL);
    cr_assert_eq(fseek(f, 0, SEEK_END), 0);
    size_t size = (size_t)ftell(f);
    uint8_t *octets = malloc(size + 1);
    rewind(f);
    cr_assert_eq(fread(octets, 1, size, f), size);
    fclose(f);
    for (size_t i = 0; i + len <= size; i++)
        n += memcmp(octets + i, what, len) == 0;
    free(octets);
    return n;
}

/* What was deleted for its age is not to be found on the disk either: pages of the file are
 * cleared, and the WAL, which keeps all their older versions, is emptied. Here a reader is in
 * the way at first. */
Test(rep_store_sqlite, what_was_deleted_is_nowhere_on_the_disk) {
    char path[300], wal[320];
    struct rep_account a = {.given = 9, .gate_class = 2};
    struct rep_store_sqlite *s = open_store(path_of("gone.db", path));
    const struct rep_store *ops = rep_store_sqlite_ops(s);
    sqlite3 *reader;
    snprintf(wal, sizeof wal, "%s-wal", path);
    for (unsigned i = 0; i < 3000; i++) { /* many pages, split and merged */
        if (i % 50 == 0)
            cr_assert_eq(ops->begin(ops->ctx, 1), CV_ERR_OK);
        unsigned mixed = i * 2654435761u;
        memset(a.client, (int)(i / 11), CV_KEY);
        memcpy(a.client, &mixed, sizeof mixed);
        memcpy(a.client + 20, "CLIENTOFOLD", 11);
        if (i % 7 == 0)
            memcpy(a.client + 20, "STAYS!!!!!!", 11);
        a.last_seen = i % 7 ? (int64_t)i % 40 : 50;
        cr_assert_eq(ops->account_put(ops->ctx, &a), CV_ERR_OK);
        if (i % 50 == 49)
            cr_assert_eq(ops->commit(ops->ctx), CV_ERR_OK);
    }
    cr_expect_gt(times_in(wal, (const uint8_t *)"CLIENTOFOLD", 11), 0);
    cr_assert_eq(sqlite3_open(path, &reader), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM account", NULL, NULL, NULL),
                 SQLITE_OK);
    cr_assert_eq(ops->begin(ops->ctx, 1), CV_ERR_OK);
    cr_assert_eq(ops->account_expire(ops->ctx, 45, 60), CV_ERR_OK);
    cr_assert_eq(ops->commit(ops->ctx), CV_ERR_OK, "nobody who reads is waited for");
    sqlite3_close(reader);
    cr_assert_eq(ops->begin(ops->ctx, 1), CV_ERR_OK);
    cr_assert_eq(ops->commit(ops->ctx), CV_ERR_OK);
    cr_expect_eq(times_in(path, (const uint8_t *)"CLIENTOFOLD", 11), 0);
    cr_expect_eq(times_in(wal, (const uint8_t *)"CLIENTOFOLD", 11), 0);
    cr_expect_gt(times_in(path, (const uint8_t *)"STAYS", 5), 0);
    rep_store_sqlite_close(s);
    remove_all();
}

/* A row that was changed behind our back is damage, not data. */
Test(rep_store_sqlite, damaged_rows_are_not_believed) {
    static const char *const harms[] = {
        "UPDATE block SET given = given + 1", "UPDATE block SET hash = zeroblob(32)",
        "UPDATE block SET ver = 9",           "UPDATE block SET epoch = -1",
        "UPDATE block SET type = 3",
    };
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 1);
    struct cv_rng rng = cv_rng_seeded(&dice);
    for (size_t i = 0; i < sizeof harms / sizeof *harms; i++) {
        char path[300], name[32];
        snprintf(name, sizeof name, "harm%zu.db", i);
        struct rep_store_sqlite *s = open_store(path_of(name, path));
        const struct rep_store *ops = rep_store_sqlite_ops(s);
        struct rep_record r = random_record(&rng), got;
        cr_assert_eq(ops->begin(ops->ctx, 1), CV_ERR_OK);
        cr_assert_eq(ops->block_put(ops->ctx, &r), CV_ERR_OK);
        cr_assert_eq(ops->commit(ops->ctx), CV_ERR_OK);
        rep_store_sqlite_close(s);
        sql(path, harms[i]);
        s = open_store(path);
        ops = rep_store_sqlite_ops(s);
        cr_expect_eq(ops->block_get(ops->ctx, r.owner, r.seq, &got), CV_ERR_CORRUPT, "%s",
                     harms[i]);
        rep_store_sqlite_close(s);
    }
    remove_all();
}

/* A file that cannot grow any more: the commit says so, what was committed
 * before is there, and nothing of what was not. */
Test(rep_store_sqlite, a_full_disk_loses_nothing_that_was_committed) {
    char path[300];
    struct cv_rng_seeded dice;
    cv_crypto_init();
    cv_rng_seeded_init(&dice, 2);
    struct cv_rng rng = cv_rng_seeded(&dice);
    struct rep_store_sqlite *s = open_store(path_of("full.db", path));
    const struct rep_store *ops = rep_store_sqlite_ops(s);
    struct rlimit before, small = {.rlim_cur = 512 * 1024};
    struct rep_account a = {.given = 1}, got;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGXFSZ, &ignore, NULL);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);

    enum cv_err err = CV_ERR_OK;
    uint64_t committed = 0, n = 0;
    while (!err && n < 100000) {
        err = ops->begin(ops->ctx, 1);
        for (unsigned i = 0; !err && i < 100; i++) {
            cv_rng_fill(&rng, a.client, CV_KEY);
            memcpy(a.client, &n, sizeof n);
            a.taken = n++;
            err = ops->account_put(ops->ctx, &a);
        }
        if (!err)
            err = ops->commit(ops->ctx);
        if (!err)
            committed = n;
    }
    cr_expect(err == CV_ERR_FULL || err == CV_ERR_STORE, "'%s'", cv_strerror(err));
    cr_expect_gt(committed, 0);
    ops->rollback(ops->ctx);
    rep_store_sqlite_close(s);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);

    s = open_store(path);
    ops = rep_store_sqlite_ops(s);
    cv_rng_seeded_init(&dice, 2);
    for (uint64_t i = 0; i < n; i++) {
        cv_rng_fill(&rng, a.client, CV_KEY);
        memcpy(a.client, &i, sizeof i);
        cr_assert_eq(ops->account_get(ops->ctx, a.client, &got),
                     i < committed ? CV_ERR_OK : CV_ERR_NOENT, "account %lu of %lu",
                     (unsigned long)i, (unsigned long)committed);
    }
    rep_store_sqlite_close(s);
    remove_all();
}

/* A relay that only others' half-blocks name has none: a call does not look for one that has. */
Test(rep_store_sqlite, the_next_owner_is_one_look_away) {
    char path[300];
    uint8_t next[CV_KEY];
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 9);
    struct cv_rng rng = cv_rng_seeded(&dice);
    struct rep_record r = random_record(&rng), named;
    struct rep_store_sqlite *s = open_store(path_of("named.db", path));
    const struct rep_store *ops = rep_store_sqlite_ops(s);
    memset(r.owner, 9, CV_KEY);
    memset(r.peer, 5, CV_KEY);
    cr_assert_eq(ops->begin(ops->ctx, 0), CV_ERR_OK);
    cr_assert_eq(ops->block_put(ops->ctx, &r), CV_ERR_OK);
    cr_assert_eq(ops->owner_next(ops->ctx, NULL, next), CV_ERR_OK);
    cr_expect_arr_eq(next, r.peer, CV_KEY);
    cr_expect_eq(ops->block_seek(ops->ctx, next, NULL, 0, REP_SEEK_FROM, &named), CV_ERR_NOENT);
    cr_assert_eq(ops->owner_next(ops->ctx, next, next), CV_ERR_OK);
    cr_expect_arr_eq(next, r.owner, CV_KEY);
    cr_expect_eq(ops->owner_next(ops->ctx, next, next), CV_ERR_NOENT);
    ops->rollback(ops->ctx);
    rep_store_sqlite_close(s);
    remove_all();
}

/* While much is written the newest half-block of a chain is remembered; not when it was removed. */
Test(rep_store_sqlite, what_was_removed_is_not_remembered) {
    char path[300];
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 11);
    struct cv_rng rng = cv_rng_seeded(&dice);
    struct rep_record r, at;
    struct rep_store_sqlite *s = open_store(path_of("bulk.db", path));
    const struct rep_store *ops = rep_store_sqlite_ops(s);
    rep_store_sqlite_bulk(s);
    do
        r = random_record(&rng);
    while (r.seq < 2);
    cr_assert_eq(ops->begin(ops->ctx, 0), CV_ERR_OK);
    cr_assert_eq(ops->block_put(ops->ctx, &r), CV_ERR_OK);
    cr_assert_eq(ops->block_del(ops->ctx, r.owner, r.seq), CV_ERR_OK);
    cr_assert_eq(ops->block_seek(ops->ctx, r.owner, NULL, 1, REP_SEEK_FROM, &at), CV_ERR_NOENT);
    cr_assert_eq(ops->block_put(ops->ctx, &r), CV_ERR_OK);
    cr_assert_eq(ops->block_get(ops->ctx, r.owner, r.seq, &at), CV_ERR_OK);
    cr_assert_eq(ops->block_del(ops->ctx, r.owner, r.seq), CV_ERR_OK);
    cr_expect_eq(ops->block_get(ops->ctx, r.owner, r.seq, &at), CV_ERR_NOENT);
    cr_expect_eq(ops->block_del(ops->ctx, r.owner, r.seq), CV_ERR_NOENT);
    ops->rollback(ops->ctx);
    rep_store_sqlite_close(s);
    remove_all();
}

/* A file of version 1 has no names; opening it brings it up to date. */
Test(rep_store_sqlite, names_and_files_of_version_1) {
    char path[300];
    uint8_t a[CV_KEY], b[CV_KEY];
    key(1, a);
    key(2, b);
    rep_store_sqlite_close(open_store(path_of("names.db", path)));
    sql(path, "DROP TABLE name; DROP TABLE issued; DROP TABLE spent; DROP TABLE purse;"
              "DROP TABLE why; DROP INDEX block_heir; DROP TABLE whole; DROP TABLE pruned_5;"
              "PRAGMA user_version=1");
    for (unsigned round = 0; round < 2; round++) {
        struct rep_store_sqlite *s = open_store(path);
        const struct rep_store *ops = rep_store_sqlite_ops(s);
        cr_assert_eq(ops->begin(ops->ctx, 0), CV_ERR_OK);
        cr_expect_eq(rep_store_sqlite_name(s, a, "alice", 5), CV_ERR_OK, "%u", round);
        cr_expect_eq(rep_store_sqlite_name(s, a, "alice", 5), CV_ERR_OK, "the same again");
        cr_expect_eq(rep_store_sqlite_name(s, a, "bob", 3), CV_ERR_EXIST, "called otherwise");
        cr_expect_eq(rep_store_sqlite_name(s, b, "alice", 5), CV_ERR_EXIST, "taken");
        cr_expect_eq(rep_store_sqlite_name(s, b, "bob", 3), CV_ERR_OK);
        cr_expect_eq(ops->commit(ops->ctx), CV_ERR_OK);
        rep_store_sqlite_close(s);
    }
}

/* Rows of every kind, as random as those of same_as_memory. */
static void make_rows(const char *path) {
    struct cv_rng_seeded dice;
    cv_crypto_init();
    cv_rng_seeded_init(&dice, 14);
    struct rep_store_sqlite *file = open_store(path);
    struct rep_store_memory *memory = rep_store_memory_new();
    struct both t = {.a = rep_store_sqlite_ops(file),
                     .b = rep_store_memory_ops(memory),
                     .rng = cv_rng_seeded(&dice)};
    cr_assert_eq(t.a->begin(t.a->ctx, 86400), CV_ERR_OK);
    cr_assert_eq(t.b->begin(t.b->ctx, 86400), CV_ERR_OK);
    for (unsigned step = 0; step < 400;) {
        blocks(&t, step++);
        edges(&t, step++);
        pendings(&t, step++);
        accounts(&t, step++);
        forgers(&t, step++);
        tokens(&t, step++);
        whys(&t, step++);
    }
    cr_assert_eq(rep_store_sqlite_name(file, (uint8_t[CV_KEY]){1}, "alice", 5), CV_ERR_OK);
    cr_assert_eq(t.a->commit(t.a->ctx), CV_ERR_OK);
    rep_store_sqlite_close(file);
    rep_store_memory_free(memory);
}

static const char *const kinds[] = {"meta",  "peer", "block",  "edge",  "fork",  "link", "account",
                                    "score", "name", "issued", "spent", "purse", "why"};

/* A file of version 5, that `culvert-ledger prune` had pruned or had not: opening it keeps every
 * row, knows of nothing how far it is whole, and of what may be gone altogether. */
Test(rep_store_sqlite, a_file_of_version_5_keeps_all_that_it_had) {
    static const struct {
        const char *pruned;
        uint32_t before, all; /* all 1: the newest row and one more, it says the future */
    } rows[] = {{NULL, 0, 0}, {"00000032", 50, 50}, {"ffffffff", UINT32_MAX, 1}};
    char now[300], path[300], wal[320];
    make_rows(path_of("now.db", now));
    uint32_t newest = (uint32_t)version_5_number(now, "SELECT max(epoch) FROM edge");
    cr_assert(newest > 50 && newest < UINT32_MAX - 1, "%u", newest);
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        version_5_make(path_of("five.db", path), now, rows[i].pruned);
        char *had = version_5_text(path);
        for (unsigned k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            char query[64];
            snprintf(query, sizeof query, "SELECT count(*) FROM %s", kinds[k]);
            cr_expect_gt(version_5_number(path, query), 0, "%s", query);
        }
        for (unsigned round = 0; round < 2; round++) {
            struct rep_store_sqlite *s = open_store(path);
            const struct rep_store *ops = rep_store_sqlite_ops(s);
            uint32_t before = 7, all = 7;
            uint64_t whole;
            cr_assert_eq(ops->pruned_before(ops->ctx, &before, &all), CV_ERR_OK);
            cr_expect_eq(before, rows[i].before);
            cr_expect_eq(all, rows[i].all == 1 ? newest + 1 : rows[i].all, "%u: %u", i, all);
            for (unsigned who = 0; who < PEOPLE; who++) {
                uint8_t owner[CV_KEY];
                key(who, owner);
                cr_assert_eq(ops->whole_get(ops->ctx, owner, &whole), CV_ERR_OK);
                cr_expect_eq(whole, 0);
            }
            if (round) { /* what is pruned from now on changes nothing of this */
                cr_assert_eq(ops->begin(ops->ctx, 0), CV_ERR_OK);
                cr_assert_eq(ops->prune_put(ops->ctx, 60), CV_ERR_OK);
                cr_assert_eq(ops->pruned_before(ops->ctx, &before, &all), CV_ERR_OK);
                cr_expect_eq(before, rows[i].before > 60 ? rows[i].before : 60);
                cr_expect_eq(all, rows[i].all == 1 ? newest + 1 : rows[i].all);
                ops->rollback(ops->ctx);
            }
            rep_store_sqlite_close(s);
            char *has = version_5_text(path);
            cr_expect_str_eq(has, had, "opened %u times", round + 1);
            free(has);
            cr_expect_eq(version_5_number(path, "PRAGMA user_version"), REP_SQLITE_VERSION);
        }
        free(had);
        unlink(path);
        snprintf(wal, sizeof wal, "%s-wal", path);
        unlink(wal);
    }
    remove_all();
}

/* Its second statement fails: then the first one has not been, and what was there is. */
Test(rep_store_sqlite, a_migration_that_cannot_end_changes_nothing) {
    char now[300], path[300], why[256] = "";
    uint8_t me[CV_KEY];
    struct rep_store_sqlite *s = NULL;
    key(0, me);
    make_rows(path_of("now.db", now));
    version_5_make(path_of("five.db", path), now, "00000032");
    char *had = version_5_text(path);
    sql(path, "CREATE TABLE pruned_5(x)");
    cr_expect_eq(rep_store_sqlite_open(path, network, me, REP_SQLITE_FULL, &s, why, sizeof why),
                 CV_ERR_STORE);
    cr_expect(strstr(why, "pruned_5") != NULL, "says '%s'", why);
    cr_expect(s == NULL);
    cr_expect_eq(version_5_number(path, "PRAGMA user_version"), 5);
    cr_expect_eq(version_5_number(path, "SELECT count(*) FROM sqlite_schema WHERE name = 'whole'"),
                 0);
    for (unsigned round = 0; round < 2; round++) {
        char *has = version_5_text(path);
        cr_expect_str_eq(has, had, "%u", round);
        free(has);
        if (round == 0) {
            sql(path, "DROP TABLE pruned_5");
            rep_store_sqlite_close(open_store(path));
        }
    }
    free(had);
    remove_all();
}
