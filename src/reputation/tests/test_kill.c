/*
 * kill -9 at any moment. A child runs a whole ledger over an SQLite file and offers it
 * more than it can take: 48 neighbours release in every epoch, committed in groups, and epochs
 * follow each other as fast as both halves of each row are signed, verified and durable: more
 * than the 500 half-blocks a second that are asked for, unless the machine is busy. It says
 * through a pipe which have left it. How many a second that were is printed (--verbose), and
 * nothing depends on it. The parent kills it without warning in the middle of them, ten times over
 * the same file, and looks: everything said is there once, the file is sound; and after ten, the
 * chain has no gap and the sums follow from the half-blocks.
 */
#include "support/suite.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "reputation/tests/puppets.h"
#include "support/folder.h"

#ifndef KILLS
#define KILLS 20
#endif

CV_SUITE(rep_kill, .timeout = 600);

enum { SAID_MAX = 60 /* before a kill */, RUNS = 10 /* over one file */ };

/* What the child says: one of these, whole (far below PIPE_BUF). */
struct said {
    uint8_t hash[REP_HASH]; /* of a half-block of ours that left */
    uint64_t seq;           /* 0: none, it begins now */
};

/* ---- the child ---- */

static void say(void *ctx, const struct rep_record *r) {
    struct said s;
    memset(&s, 0, sizeof s);
    memcpy(s.hash, r->hash, REP_HASH);
    s.seq = r->seq;
    if (write(*(const int *)ctx, &s, sizeof s) != sizeof s)
        _exit(4);
}

__attribute__((noreturn)) static void child(const char *path, unsigned run, int out) {
    static struct puppets p;
    p.left = say;
    p.ctx = &out;
    if (puppets_begin(&p, rep_store_sqlite_ops(puppets_open(path, REP_SQLITE_FULL)), run))
        _exit(2);
    say(&out, &(struct rep_record){.seq = 0});
    while (!p.failed)
        puppets_step(&p);
    _exit(5);
}

/* ---- the parent ---- */

static void expect_text(sqlite3 *db, const char *sql, const char *want) {
    sqlite3_stmt *st;
    cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    int rc = sqlite3_step(st);
    if (want)
        cr_expect_str_eq((const char *)sqlite3_column_text(st, 0), want, "%s", sql);
    else
        cr_expect_eq(rc, SQLITE_DONE, "%s", sql);
    sqlite3_finalize(st);
}

static void expect_sound_file(const char *path) {
    sqlite3 *db;
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    expect_text(db, "PRAGMA integrity_check", "ok");
    expect_text(db, "PRAGMA foreign_key_check", NULL);
    sqlite3_close(db);
}

/* Returns how many half-blocks of ours left. */
static unsigned expect_all_said(const char *path, int in, bool last) {
    struct cv_ed25519_secret me;
    struct said said;
    struct rep_store_sqlite *s = puppets_open(path, REP_SQLITE_NORMAL);
    const struct rep_store *ops = rep_store_sqlite_ops(s);
    unsigned n = 0;
    puppets_key(&me);
    while (read(in, &said, sizeof said) == sizeof said) {
        struct rep_record r;
        if (said.seq == 0)
            continue;
        n++;
        cr_expect(ops->block_get(ops->ctx, me.public_key, said.seq, &r) == CV_ERR_OK &&
                      memcmp(r.hash, said.hash, REP_HASH) == 0,
                  "half-block %lu left and is not there", (unsigned long)said.seq);
    }
    if (last)
        puppets_check(ops, true);
    rep_store_sqlite_close(s);
    return n;
}

static cv_usec clock_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return CV_SEC((uint64_t)t.tv_sec) + (cv_usec)(t.tv_nsec / 1000);
}

/* Until so much is said; a minute at most, on the slowest machine. */
static void wait_for(int in, unsigned messages) {
    int waiting = 0;
    for (unsigned i = 0; i < 60000 && waiting < (int)(messages * sizeof(struct said)); i++) {
        cr_assert_eq(ioctl(in, FIONREAD, &waiting), 0);
        usleep(1000);
    }
}

/* Half-blocks leave in bursts, after each commit: so much later is anywhere between two. */
static useconds_t a_while(const struct cv_rng *rng, cv_usec begun) {
    cv_usec most = cv_usec_min(clock_now() - begun, CV_MSEC(200));
    return (useconds_t)cv_rng_below(rng, most + 1);
}

Test(rep_kill, nothing_that_left_is_lost_or_doubled) {
    char folder[256], path[300];
    unsigned said = 0;
    cv_usec alive = 0;
    cv_crypto_init();
    folder_make(folder);
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 1);
    struct cv_rng rng = cv_rng_seeded(&dice);
    for (unsigned run = 0; run < KILLS; run++) {
        int ends[2], status;
        bool last = run % RUNS == RUNS - 1 || run + 1 == KILLS;
        snprintf(path, sizeof path, "%s/ledger-%u.db", folder, run / RUNS);
        cr_assert_eq(pipe(ends), 0);
        pid_t pid = fork();
        if (pid == 0) {
            close(ends[0]);
            child(path, run, ends[1]);
        }
        close(ends[1]);
        /* The first run over a file gets so far that there is something to lose. */
        wait_for(ends[0], 1);
        cv_usec begun = clock_now();
        wait_for(ends[0], 1 + (run % RUNS ? (unsigned)cv_rng_below(&rng, SAID_MAX) : SAID_MAX));
        usleep(a_while(&rng, begun));
        kill(pid, SIGKILL);
        alive += clock_now() - begun;
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert(WIFSIGNALED(status), "run %u: the child ended by itself with %d", run,
                  WEXITSTATUS(status));
        expect_sound_file(path);
        said += expect_all_said(path, ends[0], last);
        close(ends[0]);
    }
    cr_expect_gt(said, KILLS * SAID_MAX / 4, "the children got nowhere");
    /* Each of ours has its other half beside it. */
    cr_log_info("%u kills; %u half-blocks of ours left; %llu durable ones a second, theirs too "
                "(500 are asked)\n",
                KILLS, said, (unsigned long long)(UINT64_C(2000000) * said / (alive + 1)));
    folder_remove(folder);
}
