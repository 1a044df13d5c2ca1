/*
 * kill -9 at any moment. A child runs a whole ledger over an SQLite file and
 * says, through a pipe, which half-blocks have left it and which exact counts
 * were committed; the parent kills it without warning, again and again over
 * the same file, and looks: everything said is there once, the chain has no
 * gap, the sums follow from the half-blocks, the file is sound.
 */
#include "support/suite.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reputation/chain.h"
#include "reputation/store_sqlite.h"
#include "reputation/tests/world.h"
#include "support/folder.h"

#ifndef KILLS
#define KILLS 20
#endif

CV_SUITE(rep_kill, .timeout = 600);

enum { EPOCH = 1 };

/* What the child says: one of these, whole (far below PIPE_BUF). */
struct said {
    uint8_t hash[REP_HASH]; /* of a half-block of ours that left */
    uint64_t seq;
};

/* ---- the child ---- */

static void say(void *ctx, unsigned node, const struct rep_event *e) {
    int out = *(const int *)ctx;
    if (e->kind == REP_EVENT_FAILED)
        _exit(5);
    if (node != 0 || e->kind != REP_EVENT_SEND || e->send.body[0] != 2)
        return;
    for (unsigned i = 0; i < e->send.body[1]; i++) {
        struct rep_record r;
        struct said s;
        memset(&s, 0, sizeof s);
        if (rep_record_read(e->send.body + 2 + i * REP_RECORD, &r))
            _exit(3);
        memcpy(s.hash, r.hash, REP_HASH);
        s.seq = r.seq;
        if (write(out, &s, sizeof s) != sizeof s)
            _exit(4);
    }
}

/* Three relays; the first keeps its ledger in the file. The others are new
 * ones in every run, with nothing to remember. */
__attribute__((noreturn)) static void child(const char *path, unsigned run, int out) {
    static struct world w;
    struct rep_store_sqlite *file;
    char why[256];
    uint8_t seed[CV_KEY] = "the same in every run, 32 octets";
    world_init(&w, 3, 1000 + run, EPOCH, 100);
    rep_ledger_free(w.node[0].ledger);
    cv_ed25519_from_seed(&w.node[0].cfg.identity_secret, seed);
    w.wall_start += run * 10000;
    world_set_time(&w, w.now.mono);
    if (rep_store_sqlite_open(path, w.node[0].cfg.network_id, world_key(&w, 0), REP_SQLITE_FULL,
                              &file, why, sizeof why))
        _exit(2);
    w.node[0].store = rep_store_sqlite_ops(file);
    w.watch = say;
    w.watch_ctx = &out;
    world_boot(&w, 0);
    world_join(&w, 0, 1);
    world_join(&w, 0, 2);
    for (;;) {
        world_carry(&w, 0, 1, 1232);
        world_carry(&w, 1, 0, 1232);
        world_carry(&w, 0, 2, 1232 * 2);
        world_carry(&w, 2, 0, 1232);
        world_run(&w, w.now.mono + CV_MSEC(50));
    }
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

/* Every row of the file again through the rules, into memory: the same sums. */
static void expect_same_sums(const struct rep_store *file, const uint8_t me[CV_KEY]) {
    struct rep_store_memory *memory = rep_store_memory_new();
    const struct rep_store *m = rep_store_memory_ops(memory);
    struct rep_chain_result result;
    struct rep_record r, other, last;
    struct rep_edge *edges, e;
    size_t n;
    cr_assert_eq(m->begin(m->ctx, 0), CV_ERR_OK);
    uint64_t seq = 1;
    for (; file->block_get(file->ctx, me, seq, &r) == CV_ERR_OK; seq++) {
        if (seq > 1)
            cr_assert_arr_eq(r.prev, last.hash, REP_HASH);
        cr_assert_eq(rep_chain_add(m, (const uint8_t *)"testnet1", &r, false, 0, &result),
                     CV_ERR_OK);
        last = r;
        enum cv_err err = r.type == REP_PROPOSAL
                              ? file->block_answer(file->ctx, &r, &other)
                              : file->block_get(file->ctx, r.peer, r.peer_seq, &other);
        if (err == CV_ERR_OK)
            rep_chain_add(m, (const uint8_t *)"testnet1", &other, false, 0, &result);
    }
    cr_expect_eq(file->block_seek(file->ctx, me, NULL, seq, REP_SEEK_FROM, &r), CV_ERR_NOENT,
                 "a gap in our chain");
    cr_assert_eq(file->edge_load(file->ctx, &edges, &n), CV_ERR_OK);
    uint64_t ours = 0;
    for (size_t i = 0; i < n; i++) {
        if (memcmp(edges[i].giver, me, CV_KEY) != 0 && memcmp(edges[i].taker, me, CV_KEY) != 0)
            continue;
        uint64_t want = 0;
        if (m->edge_get(m->ctx, edges[i].giver, edges[i].taker, &e) == CV_ERR_OK)
            want = e.octets;
        cr_expect_eq(edges[i].octets, want, "an agreed row that its half-blocks do not give");
        ours++;
    }
    cr_expect_gt(ours, 0);
    free(edges);
    rep_store_memory_free(memory);
}

static unsigned expect_all_said(const char *path, int in) {
    struct cv_ed25519_secret me;
    struct rep_store_sqlite *s;
    struct said said;
    char why[256];
    unsigned n = 0;
    uint8_t seed[CV_KEY] = "the same in every run, 32 octets";
    cv_ed25519_from_seed(&me, seed);
    enum cv_err err = rep_store_sqlite_open(path, (const uint8_t *)"testnet1", me.public_key,
                                            REP_SQLITE_NORMAL, &s, why, sizeof why);
    cr_assert_eq(err, CV_ERR_OK, "%s", why);
    const struct rep_store *ops = rep_store_sqlite_ops(s);
    while (read(in, &said, sizeof said) == sizeof said) {
        struct rep_record r;
        if (ops->block_get(ops->ctx, me.public_key, said.seq, &r) != CV_ERR_OK ||
            memcmp(r.hash, said.hash, REP_HASH) != 0) {
            /* Answers to ASK show half-blocks of others too. */
            bool known = false;
            struct rep_edge *edges;
            size_t count;
            cr_assert_eq(ops->edge_load(ops->ctx, &edges, &count), CV_ERR_OK);
            for (size_t i = 0; !known && i < count; i++)
                known = ops->block_get(ops->ctx, edges[i].giver, said.seq, &r) == CV_ERR_OK &&
                        memcmp(r.hash, said.hash, REP_HASH) == 0;
            free(edges);
            cr_expect(known, "half-block %lu left and is not there", (unsigned long)said.seq);
        }
        n++;
    }
    expect_same_sums(ops, me.public_key);
    rep_store_sqlite_close(s);
    return n;
}

Test(rep_kill, nothing_that_left_is_lost_or_doubled) {
    char folder[256], path[300];
    unsigned said = 0;
    cv_crypto_init();
    folder_make(folder);
    snprintf(path, sizeof path, "%s/ledger.db", folder);
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 1);
    struct cv_rng rng = cv_rng_seeded(&dice);
    for (unsigned run = 0; run < KILLS; run++) {
        int ends[2];
        cr_assert_eq(pipe(ends), 0);
        pid_t pid = fork();
        if (pid == 0) {
            close(ends[0]);
            child(path, run, ends[1]);
        }
        close(ends[1]);
        int status, waiting = 0;
        /* The first run gets so far that there is something to lose. */
        for (unsigned i = 0; run == 0 && i < 60000 && waiting < 20 * (int)sizeof(struct said);
             i++) {
            usleep(1000);
            cr_assert_eq(ioctl(ends[0], FIONREAD, &waiting), 0);
        }
        usleep((useconds_t)cv_rng_below(&rng, 170000));
        kill(pid, SIGKILL);
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert(WIFSIGNALED(status), "run %u: the child ended by itself with %d", run,
                  WEXITSTATUS(status));
        expect_sound_file(path);
        said += expect_all_said(path, ends[0]);
        close(ends[0]);
    }
    cr_expect_gt(said, 20, "the children got nowhere");
    cr_log_info("%u half-blocks left before %u kills\n", said, KILLS);
    folder_remove(folder);
}
