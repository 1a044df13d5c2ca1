/*
 * The power goes at any moment. A ledger works over a file system that remembers every
 * write and every synchronisation; then the files are made as a cut after any of them
 * could have left them, with writes that were not synchronised lost, torn or overtaken
 * by later ones. Whatever it was: the file opens and is sound, every half-block that had
 * left by then is in it once, the chain has no gap, the sums follow, and the ledger goes on.
 */
#include "support/suite.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reputation/tests/cut_vfs.h"
#include "reputation/tests/puppets.h"
#include "reputation/tests/version_5.h"
#include "support/folder.h"

#ifndef CUTS
#define CUTS 60
#endif

CV_SUITE(rep_power_cut, .timeout = 600, .init = cv_crypto_init);

enum { STEPS = 10, STEPS_ON = 4, SAID_MAX = 4096 };

static struct {
    uint8_t hash[REP_HASH];
    uint64_t seq;
    size_t at; /* operations by then */
} said[SAID_MAX];
static size_t said_n;

static void note(void *ctx, const struct rep_record *r) {
    (void)ctx;
    cr_assert_lt(said_n, SAID_MAX);
    memcpy(said[said_n].hash, r->hash, REP_HASH);
    said[said_n].seq = r->seq;
    said[said_n++].at = cut_.n;
}

static void work(const char *folder, enum rep_sqlite_sync sync) {
    static struct puppets p;
    char path[300];
    snprintf(path, sizeof path, "%s/ledger.db", folder);
    p.left = note;
    said_n = 0;
    cut_begin();
    struct rep_store_sqlite *s = puppets_open(path, sync);
    cr_assert_eq(puppets_begin(&p, rep_store_sqlite_ops(s), 0), CV_ERR_OK);
    for (unsigned i = 0; i < STEPS; i++)
        puppets_step(&p);
    cr_assert_eq(p.failed, CV_ERR_OK);
    cr_assert_eq(rep_ledger_flush(p.l, p.now), CV_ERR_OK);
    rep_ledger_free(p.l);
    rep_store_sqlite_close(s); /* cuts are also in the middle of this */
    cut_end();
    cr_assert_gt(said_n, 3 * PUPPETS, "it got nowhere");
}

/* Half-blocks that had left and are not there. */
static unsigned lost(const struct rep_store *s, size_t cut) {
    struct cv_ed25519_secret me;
    unsigned n = 0;
    puppets_key(&me);
    for (size_t i = 0; i < said_n && said[i].at <= cut; i++) {
        struct rep_record r;
        n += s->block_get(s->ctx, me.public_key, said[i].seq, &r) != CV_ERR_OK ||
             memcmp(r.hash, said[i].hash, REP_HASH) != 0;
    }
    return n;
}

static void expect_sound(const char *path) {
    sqlite3 *db;
    sqlite3_stmt *st;
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &st, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_step(st), SQLITE_ROW);
    cr_expect_str_eq((const char *)sqlite3_column_text(st, 0), "ok");
    sqlite3_finalize(st);
    sqlite3_close(db);
}

static void ignore(void *ctx, const struct rep_record *r) {
    (void)ctx;
    (void)r;
}

/* New neighbours, and on. */
static void goes_on(struct rep_store_sqlite *s) {
    static struct puppets p;
    p.left = ignore;
    p.failed = CV_ERR_OK;
    cr_assert_eq(puppets_begin(&p, rep_store_sqlite_ops(s), 1), CV_ERR_OK);
    uint64_t before = p.last;
    for (unsigned i = 0; i < STEPS_ON; i++)
        puppets_step(&p);
    cr_expect_eq(p.failed, CV_ERR_OK);
    cr_expect_gt(p.last, before);
    cr_assert_eq(rep_ledger_flush(p.l, p.now), CV_ERR_OK);
    rep_ledger_free(p.l);
}

/* Anywhere, or right after something left, or around a synchronisation. */
static size_t choose(const struct cv_rng *rng) {
    uint64_t how = cv_rng_below(rng, 3);
    if (how == 0)
        return cv_rng_below(rng, cut_.n + 1);
    if (how == 1)
        return said[cv_rng_below(rng, said_n)].at;
    size_t at = cv_rng_below(rng, cut_.n);
    while (at < cut_.n && cut_.op[at].kind != CUT_SYNC)
        at++;
    return at < cut_.n ? at + cv_rng_below(rng, 2) : cut_.n;
}

static void folders(char from[256], char to[300]) {
    folder_make(from);
    snprintf(to, 300, "%s/after", from);
    cr_assert_eq(mkdir(to, 0700), 0);
}

Test(rep_power_cut, nothing_that_left_is_lost_or_doubled) {
    char folder[256], after[300], path[320];
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 7);
    struct cv_rng rng = cv_rng_seeded(&dice);
    folders(folder, after);
    snprintf(path, sizeof path, "%s/ledger.db", after);
    work(folder, REP_SQLITE_FULL);
    for (unsigned i = 0; i < CUTS; i++) {
        size_t at = i < 4 ? i : choose(&rng); /* also before the first write */
        cut_make(at, i % 3, &rng, after);
        struct rep_store_sqlite *s = puppets_open(path, REP_SQLITE_NORMAL);
        cr_expect_eq(lost(rep_store_sqlite_ops(s), at), 0, "cut %u, after %zu of %zu", i, at,
                     cut_.n);
        puppets_check(rep_store_sqlite_ops(s), i % 16 == 0);
        if (i % 8 == 1) {
            goes_on(s);
            puppets_check(rep_store_sqlite_ops(s), false);
        }
        rep_store_sqlite_close(s);
        expect_sound(path);
    }
    cr_log_info("%u cuts in %zu writes and synchronisations, %zu half-blocks\n", CUTS, cut_.n,
                said_n);
    cut_free();
    folder_remove(folder);
}

/* The same with a store that does not wait for the disk must fail: else this test would
 * see nothing. */
Test(rep_power_cut, a_store_that_does_not_wait_is_found_out) {
    char folder[256], after[300], path[320];
    struct cv_rng_seeded dice;
    unsigned n = 0;
    cv_rng_seeded_init(&dice, 8);
    struct cv_rng rng = cv_rng_seeded(&dice);
    folders(folder, after);
    snprintf(path, sizeof path, "%s/ledger.db", after);
    work(folder, REP_SQLITE_NORMAL);
    for (unsigned i = 0; i < 10 && n == 0; i++) {
        size_t at = said[cv_rng_below(&rng, said_n)].at;
        cut_make(at, 0, &rng, after);
        struct rep_store_sqlite *s = puppets_open(path, REP_SQLITE_NORMAL);
        n += lost(rep_store_sqlite_ops(s), at);
        rep_store_sqlite_close(s);
    }
    cr_expect_gt(n, 0);
    cut_free();
    folder_remove(folder);
}

/* A file of version 5 is opened, and the power goes meanwhile. It is of version 5 then, or of the
 * new one, with every row that it had, and goes on. */
Test(rep_power_cut, a_file_of_before_is_that_or_a_new_one) {
    char folder[256], after[300], now[300], from[300], path[320];
    unsigned is[2] = {0};
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 9);
    struct cv_rng rng = cv_rng_seeded(&dice);
    folders(folder, after);
    snprintf(now, sizeof now, "%s/now.db", folder);
    snprintf(from, sizeof from, "%s/ledger.db", folder);
    snprintf(path, sizeof path, "%s/ledger.db", after);
    struct rep_store_sqlite *s = puppets_open(now, REP_SQLITE_NORMAL);
    goes_on(s);
    rep_store_sqlite_close(s);

    cut_begin();
    version_5_make(from, now, "00000032");
    size_t made = cut_.n;
    rep_store_sqlite_close(puppets_open(from, REP_SQLITE_FULL));
    cut_end();
    cr_assert_gt(cut_.n, made);
    cut_make(made, 0, &rng, after);
    cr_assert_eq(version_5_number(path, "PRAGMA user_version"), 5);
    char *had = version_5_text(path);
    cr_assert_not_null(strstr(had, "block "));
    for (unsigned i = 0; i < CUTS; i++) {
        size_t at = made + (i < 3 * (cut_.n - made + 1) ? i / 3 % (cut_.n - made + 1)
                                                        : cv_rng_below(&rng, cut_.n - made + 1));
        cut_make(at, i % 3, &rng, after);
        int64_t version = version_5_number(path, "PRAGMA user_version");
        cr_assert(version == 5 || version == REP_SQLITE_VERSION, "cut %u: %ld", i, (long)version);
        is[version != 5]++;
        cr_expect_eq(version_5_number(path, "SELECT count(*) FROM sqlite_schema WHERE name IN "
                                            "('whole', 'pruned_5')"),
                     version == 5 ? 0 : 2);
        char *has = version_5_text(path);
        cr_expect_str_eq(has, had, "cut %u, after %zu of %zu", i, at - made, cut_.n - made);
        free(has);
        s = puppets_open(path, REP_SQLITE_NORMAL);
        uint32_t before, all;
        const struct rep_store *ops = rep_store_sqlite_ops(s);
        cr_assert_eq(ops->pruned_before(ops->ctx, &before, &all), CV_ERR_OK);
        cr_expect(before == 50 && all == 50, "%u, %u", before, all);
        if (i % 16 == 1)
            goes_on(s);
        rep_store_sqlite_close(s);
        expect_sound(path);
    }
    cr_expect(is[0] > 0 && is[1] > 0, "%u of version 5, %u new ones", is[0], is[1]);
    free(had);
    cut_free();
    folder_remove(folder);
}
