/*
 * kill -9 at any moment, at 500 half-blocks a second. A child runs a whole ledger over an SQLite
 * file, in the ledger's own time: in each of its seconds every one of 250 neighbours has something
 * to release, so that 250 half-blocks of ours and their 250 other halves have to be signed,
 * verified and durable, and the commits of a tenth of a second hold as many as they would at that
 * rate. A machine that is slow takes longer for a second of the ledger; it cannot leave any out.
 * The child says through a pipe which have left it, and each whole second must have had all 250.
 * How many there were in a second of the clock on the wall is printed (--verbose) and nothing
 * depends on it: what a machine sustains, culvert-bench measures. The parent kills without warning,
 * ten times over the same file, and looks: everything said is there once, the file is sound; and
 * after ten, the chain has no gap and the sums follow from the half-blocks.
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

enum {
    SAID_MAX = 60 /* before a kill */,
    RUNS = 10 /* over one file */,
    RATE = 500 /* half-blocks a second of the ledger, theirs too */,
};
static_assert(RATE / 2 * PUPPETS_EPOCH <= PUPPETS_MAX,
              "one of ours for each neighbour in an epoch");

/* What the child says: one of these, whole (far below PIPE_BUF). */
struct said {
    uint8_t hash[REP_HASH]; /* of a half-block of ours that left */
    uint64_t seq;           /* 0: none, it begins now */
    uint32_t epoch;         /* whose octets it releases */
};

/* ---- the child ---- */

static void say(void *ctx, const struct rep_record *r) {
    struct said s;
    memset(&s, 0, sizeof s);
    memcpy(s.hash, r->hash, REP_HASH);
    s.seq = r->seq;
    s.epoch = r->epoch;
    if (write(*(const int *)ctx, &s, sizeof s) != sizeof s)
        _exit(4);
}

__attribute__((noreturn)) static void child(const char *path, unsigned run, int out) {
    static struct puppets p;
    p.n = RATE / 2 * PUPPETS_EPOCH;
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

/* What left of one run, as the child said it. */
struct tally {
    unsigned left;
    uint32_t epoch;         /* of the last one */
    unsigned in_epoch;      /* of these, in that epoch */
    unsigned epochs, least; /* whole ones, and how many left in the one with fewest */
};

/* Those of an epoch have all left before the first one of the next does. */
static void count(struct tally *t, const struct said *s) {
    if (t->left++ && s->epoch != t->epoch) {
        cr_expect_gt(s->epoch, t->epoch, "epochs follow each other");
        t->least = t->epochs++ && t->least < t->in_epoch ? t->least : t->in_epoch;
        t->in_epoch = 0;
    }
    t->epoch = s->epoch;
    t->in_epoch++;
}

static void expect_all_said(const char *path, int in, bool last, struct tally *ret) {
    struct cv_ed25519_secret me;
    struct said said;
    struct rep_store_sqlite *s = puppets_open(path, REP_SQLITE_NORMAL);
    const struct rep_store *ops = rep_store_sqlite_ops(s);
    puppets_key(&me);
    memset(ret, 0, sizeof *ret);
    while (read(in, &said, sizeof said) == sizeof said) {
        struct rep_record r;
        if (said.seq == 0)
            continue;
        count(ret, &said);
        cr_expect(ops->block_get(ops->ctx, me.public_key, said.seq, &r) == CV_ERR_OK &&
                      memcmp(r.hash, said.hash, REP_HASH) == 0,
                  "half-block %lu left and is not there", (unsigned long)said.seq);
    }
    if (last)
        puppets_check(ops, true);
    rep_store_sqlite_close(s);
}

static cv_usec clock_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return CV_SEC((uint64_t)t.tv_sec) + (cv_usec)(t.tv_nsec / 1000);
}

/* Until so much is said; five minutes at most, on the slowest machine. */
static void wait_for(int in, unsigned messages) {
    int waiting = 0;
    for (unsigned i = 0; i < 300000 && waiting < (int)(messages * sizeof(struct said)); i++) {
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
    unsigned said = 0, epochs = 0, least = UINT32_MAX;
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
        /* The first run over a file lives for more than a whole epoch: there is something to
         * lose, and a rate. */
        wait_for(ends[0], 1);
        cv_usec begun = clock_now();
        wait_for(ends[0], 1 + (unsigned)cv_rng_below(&rng, SAID_MAX) +
                              (run % RUNS ? 0 : RATE / 2 * PUPPETS_EPOCH + 1));
        usleep(a_while(&rng, begun));
        kill(pid, SIGKILL);
        alive += clock_now() - begun;
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert(WIFSIGNALED(status), "run %u: the child ended by itself with %d", run,
                  WEXITSTATUS(status));
        struct tally t;
        expect_sound_file(path);
        expect_all_said(path, ends[0], last, &t);
        close(ends[0]);
        said += t.left;
        epochs += t.epochs;
        least = t.epochs && t.least < least ? t.least : least;
    }
    cr_expect_geq(epochs, KILLS / RUNS, "the children got nowhere");
    cr_expect_eq(least * 2, RATE * PUPPETS_EPOCH, "%u of ours left in one of %u epochs", least,
                 epochs);
    /* Each of ours has its other half beside it. */
    cr_log_info("%u kills; %u half-blocks of ours left; in each of %u whole seconds of the ledger "
                "%u with theirs; %llu in a second of the wall's clock\n",
                KILLS, said, epochs, least * 2,
                (unsigned long long)(UINT64_C(2000000) * said / (alive + 1)));
    folder_remove(folder);
}
