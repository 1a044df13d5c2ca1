/*
 * An identity in a file. Goals: what was sealed comes back to the octet, nothing opens
 * with another passphrase or after any change, what is inside is read like a
 * stranger's; a moved chain goes on where it ended, a copy under a new key, and neither
 * forks. Method: stores in memory and in a file, ledgers in virtual time.
 */
#include "support/suite.h"

#include <stdio.h>
#include <stdlib.h>

#include "crypto/aead.h"
#include "crypto/rng_seeded.h"
#include "reputation/backup.h"
#include "reputation/chain.h"
#include "reputation/store_sqlite.h"
#include "reputation/tests/people.h"
#include "reputation/tests/world.h"

CV_SUITE(rep_backup, .timeout = 600);

enum { EPOCH = 70, BODY = 19 + 4 + 4 + 16 + 24 + 16 };

static const struct cv_passphrase_cost cheap = {1, 8};
static struct world w;

/* Four relays that release for some epochs. */
static void begin(uint64_t seed) {
    world_init(&w, 5, seed, EPOCH, 1000);
    for (unsigned i = 0; i < 3; i++)
        world_join(&w, i, i + 1);
    world_join(&w, 0, 3);
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < 3; i++)
            world_carry(&w, i, i + 1, 40000 + 1000 * round);
        world_carry(&w, 0, 3, 30000);
        world_run(&w, w.now.mono + CV_SEC(EPOCH));
    }
}

static void collect(unsigned i, bool moved, struct rep_backup *ret) {
    cr_assert_eq(rep_ledger_flush(w.node[i].ledger, w.now), CV_ERR_OK);
    cr_assert_eq(rep_backup_collect(w.node[i].store, world_key(&w, i), ret), CV_ERR_OK);
    ret->moved = moved;
    ret->identity_secret = w.node[i].cfg.identity_secret;
    memcpy(ret->network_id, w.node[i].cfg.network_id, REP_NETWORK_ID);
    ret->day = w.now.wall / 86400 * 86400;
    ret->moves = 7 + moved;
}

static uint8_t *seal(const struct rep_backup *b, const char *passphrase, size_t *ret_size) {
    *ret_size = rep_backup_size(b);
    uint8_t *file = malloc(*ret_size);
    cr_assert_eq(rep_backup_seal(b, passphrase, strlen(passphrase), &cheap, &w.rng, file),
                 CV_ERR_OK);
    return file;
}

static enum cv_err open_copy(const uint8_t *file, size_t size, const char *passphrase,
                             struct rep_backup *ret) {
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, file, size);
    enum cv_err err = rep_backup_open(copy, size, passphrase, strlen(passphrase), ret);
    free(copy);
    return err;
}

Test(rep_backup, what_was_sealed_comes_back) {
    begin(1);
    for (int moved = 0; moved < 2; moved++) {
        struct rep_backup b, got;
        size_t size;
        world_carry(&w, 1, 2, 70000);
        collect(1, moved, &b);
        cr_assert_gt(b.records_n, 8);
        cr_assert_gt(b.pending_n, 0, "the epoch that runs");
        uint8_t *file = seal(&b, "correct horse", &size);
        cr_assert_eq(open_copy(file, size, "correct horse", &got), CV_ERR_OK);
        cr_expect_eq(got.moved, moved);
        cr_expect_eq(got.day, b.day);
        cr_expect_eq(got.moves, 7 + (uint32_t)moved);
        cr_expect_arr_eq(got.network_id, b.network_id, REP_NETWORK_ID);
        cr_expect_arr_eq(&got.identity_secret, &b.identity_secret, sizeof b.identity_secret);
        cr_assert_eq(got.records_n, b.records_n);
        for (size_t i = 0; i < b.records_n; i++)
            cr_expect_arr_eq(got.records[i].hash, b.records[i].hash, REP_HASH, "%zu", i);
        cr_assert_eq(got.pending_n, b.pending_n);
        for (size_t i = 0; i < b.pending_n; i++) {
            cr_expect_arr_eq(got.pending[i].peer, b.pending[i].peer, CV_KEY);
            cr_expect_eq(got.pending[i].given, b.pending[i].given);
            cr_expect_eq(got.pending[i].taken, b.pending[i].taken);
            cr_expect_eq(got.pending[i].epoch, b.pending[i].epoch);
        }
        cr_expect_eq(rep_backup_head(&got), rep_backup_head(&b));
        /* The key is nowhere to be read. */
        for (size_t i = 0; i + CV_KEY <= size; i++)
            cr_assert(memcmp(file + i, b.identity_secret.seed, CV_KEY) != 0);
        rep_backup_free(&got);
        rep_backup_free(&b);
        free(file);
    }
    world_done(&w);
}

Test(rep_backup, nothing_else_opens) {
    struct rep_backup b = {.moved = true}, got;
    size_t size;
    begin(2);
    b.identity_secret = w.node[0].cfg.identity_secret;
    uint8_t *file = seal(&b, "correct horse", &size);
    cr_expect_eq(open_copy(file, size, "correct hors", &got), CV_ERR_AUTH);
    cr_expect_eq(open_copy(file, size, "", &got), CV_ERR_AUTH);
    for (size_t i = 0; i < size; i++) {
        if (i >= 23 && i < 27)
            continue; /* memory: another amount costs what it says */
        file[i] ^= 1;
        enum cv_err err = open_copy(file, size, "correct horse", &got);
        cr_expect_eq(err,
                     i < 17                          ? CV_ERR_UNKNOWN
                     : i < 19                        ? CV_ERR_VERSION
                     : i < 23 && err == CV_ERR_LIMIT ? CV_ERR_LIMIT
                                                     : CV_ERR_AUTH,
                     "octet %zu: %s", i, cv_strerror(err));
        file[i] ^= 1;
    }
    for (size_t n = 0; n < size; n++)
        cr_expect(open_copy(file, n, "correct horse", &got) != CV_ERR_OK, "%zu octets", n);
    file[26] = 0xff; /* terabytes */
    cr_expect_eq(open_copy(file, size, "correct horse", &got), CV_ERR_LIMIT);
    free(file);
    world_done(&w);
}

/* Sealed again after a change inside, as whoever has the passphrase could. */
Test(rep_backup, what_is_inside_is_read_like_a_strangers) {
    static const struct {
        const char *what;
        size_t at;
        uint8_t becomes;
    } cases[] = {{"kind", 0, 3},
                 {"day", 48, 0x80},
                 {"half-blocks", 53, 1},
                 {"half-blocks, many", 56, 0x7f},
                 {"pending", 57, 9},
                 {"a half-block's version", 61, 2},
                 {"a half-block's flags", 61 + 166, 1}};
    struct rep_backup b, got;
    uint8_t key[CV_PASSPHRASE_KEY];
    size_t size;
    begin(3);
    collect(0, true, &b);
    uint8_t *file = seal(&b, "p", &size), *plain = malloc(size), *again = malloc(size);
    cr_assert(cv_passphrase_key(key, "p", 1, file + 27, &cheap));
    memcpy(plain, file, size);
    cr_assert(cv_xaead_open(plain + BODY, file + BODY, size - BODY, file + BODY - 16, file,
                            BODY - 16, file + 43, key));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memcpy(again, plain, size);
        again[BODY + cases[i].at] = cases[i].becomes;
        cv_xaead_seal(again + BODY, again + BODY - 16, again + BODY, size - BODY, again, BODY - 16,
                      again + 43, key);
        enum cv_err err = rep_backup_open(again, size, "p", 1, &got);
        cr_expect_eq(err, CV_ERR_MALFORMED, "%s: %s", cases[i].what, cv_strerror(err));
        cr_expect_null(got.records);
    }
    free(file);
    free(plain);
    free(again);
    rep_backup_free(&b);
    world_done(&w);
}

/* As it was written before moves were counted. */
Test(rep_backup, a_file_of_version_1_opens) {
    struct rep_backup b, got;
    uint8_t key[CV_PASSPHRASE_KEY];
    size_t size;
    begin(7);
    collect(0, true, &b);
    uint8_t *file = seal(&b, "p", &size);
    cr_assert(cv_passphrase_key(key, "p", 1, file + 27, &cheap));
    cr_assert(cv_xaead_open(file + BODY, file + BODY, size - BODY, file + BODY - 16, file,
                            BODY - 16, file + 43, key));
    memmove(file + BODY + 49, file + BODY + 53, size - BODY - 53);
    size -= 4;
    file[17] = '1';
    cv_xaead_seal(file + BODY, file + BODY - 16, file + BODY, size - BODY, file, BODY - 16,
                  file + 43, key);
    cr_assert_eq(rep_backup_open(file, size, "p", 1, &got), CV_ERR_OK);
    cr_expect_eq(got.moves, 0);
    cr_expect_eq(got.day, b.day);
    cr_expect_eq(got.records_n, b.records_n);
    cr_expect_eq(got.pending_n, b.pending_n);
    rep_backup_free(&got);
    rep_backup_free(&b);
    free(file);
    world_done(&w);
}

/* Relay 1 goes into the store of node 4, which begins empty. */
static void restore(const struct rep_backup *b) {
    const struct rep_store *s = w.node[4].store;
    w.node[4].ledger = rep_ledger_free(w.node[4].ledger);
    cr_assert_eq(s->begin(s->ctx, w.now.wall), CV_ERR_OK);
    cr_assert_eq(rep_backup_restore(s, b, w.now.wall), CV_ERR_OK);
    cr_assert_eq(s->commit(s->ctx), CV_ERR_OK);
}

static void stop(unsigned i) {
    for (unsigned j = 0; j < w.n; j++)
        if (j != i && w.node[j].ledger && w.node[j].up[i])
            world_down(&w, j, i);
    w.node[i].ledger = rep_ledger_free(w.node[i].ledger);
}

static void nobody_forked(void) {
    for (unsigned i = 0; i < w.n; i++) {
        struct rep_stats st;
        if (!w.node[i].ledger)
            continue;
        rep_ledger_stats(w.node[i].ledger, &st);
        cr_expect_eq(st.forks, 0, "%u", i);
        cr_expect_eq(w.node[i].failed, CV_ERR_OK, "%u: %s", i, cv_strerror(w.node[i].failed));
    }
}

Test(rep_backup, what_was_moved_goes_on) {
    struct rep_backup b;
    struct rep_row before, after;
    begin(4);
    world_carry(&w, 1, 2, 70000); /* counted and not released */
    collect(1, true, &b);
    uint64_t head = rep_backup_head(&b), now;
    cr_assert(world_row(&w, 2, 1, &before));
    stop(1);
    restore(&b);
    cr_assert_eq(rep_backup_store_head(w.node[4].store, b.identity_secret.public_key, &now),
                 CV_ERR_OK);
    cr_expect_eq(now, head);
    w.node[4].cfg.identity_secret = b.identity_secret; /* it is relay 1 from now on */
    world_boot(&w, 4);
    world_join(&w, 4, 0);
    world_join(&w, 4, 2);
    world_carry(&w, 4, 2, 60000);
    world_run(&w, w.now.mono + CV_SEC(3 * EPOCH));
    nobody_forked();
    cr_assert(world_row(&w, 2, 4, &after));
    cr_expect_gt(after.released_taken, before.released_taken + 45000,
                 "what was counted before the move is released after it");
    cr_assert_eq(rep_backup_store_head(w.node[4].store, b.identity_secret.public_key, &now),
                 CV_ERR_OK);
    cr_expect_gt(now, head);
    rep_backup_free(&b);
    world_done(&w);
}

Test(rep_backup, a_copy_goes_on_under_a_new_key) {
    struct rep_backup b;
    begin(5);
    collect(1, false, &b);
    world_carry(&w, 1, 2, 70000); /* after the copy was made */
    world_run(&w, w.now.mono + CV_SEC(2 * EPOCH));
    stop(1);
    restore(&b);
    const struct rep_store *s = w.node[4].store;
    const struct cv_ed25519_secret *heir = &w.node[4].cfg.identity_secret;
    cr_assert_eq(s->begin(s->ctx, w.now.wall), CV_ERR_OK);
    cr_expect_eq(rep_backup_hand_over(s, b.network_id, &b.identity_secret, heir, EPOCH, w.now.wall),
                 CV_ERR_OK);
    cr_expect_eq(rep_backup_hand_over(s, b.network_id, &b.identity_secret, heir, EPOCH, w.now.wall),
                 CV_ERR_EXIST, "done before");
    cr_expect_eq(rep_backup_hand_over(s, b.network_id, &b.identity_secret,
                                      &w.node[3].cfg.identity_secret, EPOCH, w.now.wall),
                 CV_ERR_DIFFERS, "to somebody else");
    cr_assert_eq(s->commit(s->ctx), CV_ERR_OK);
    world_boot(&w, 4);
    world_join(&w, 4, 0);
    world_join(&w, 4, 2);
    world_carry(&w, 4, 2, 60000);
    world_run(&w, w.now.mono + CV_SEC(3 * EPOCH));
    nobody_forked();
    struct rep_row row;
    cr_assert(world_row(&w, 2, 4, &row));
    cr_expect_gt(row.score, 0.1, "its standing: %f", row.score);
    cr_expect_gt(row.released_taken, 15000, "and it releases");
    rep_backup_free(&b);
    world_done(&w);
}

/* The clock is behind what the chain says of itself. */
Test(rep_backup, the_key_closes_after_its_newest_half_block) {
    struct rep_backup b;
    struct rep_record r;
    begin(6);
    collect(1, false, &b);
    restore(&b);
    const struct rep_store *s = w.node[4].store;
    cr_assert_eq(s->begin(s->ctx, 1000), CV_ERR_OK);
    cr_assert_eq(rep_backup_hand_over(s, b.network_id, &b.identity_secret,
                                      &w.node[4].cfg.identity_secret, EPOCH, 1000),
                 CV_ERR_OK);
    cr_assert_eq(s->block_get(s->ctx, b.identity_secret.public_key, REP_SEQ_LAST, &r), CV_ERR_OK);
    for (size_t i = 0; i < b.records_n; i++)
        if (memcmp(b.records[i].owner, b.identity_secret.public_key, CV_KEY) == 0)
            cr_expect_lt(b.records[i].epoch, r.epoch);
    s->rollback(s->ctx);
    world_boot(&w, 4);
    rep_backup_free(&b);
    world_done(&w);
}

/* A clock that ran ahead signed for an epoch that is later than that of the newest half-block:
 * with one of a later epoch than its end the key would stand against itself. */
Test(rep_backup, the_key_closes_after_its_latest_epoch) {
    static const uint32_t epochs[] = {900, 7};
    struct rep_store_memory *m = rep_store_memory_new();
    const struct rep_store *s = rep_store_memory_ops(m);
    struct cv_ed25519_secret old, heir, peers[2];
    struct rep_chain_result res;
    struct rep_record r;
    person(1, &old);
    person(2, &heir);
    cr_assert_eq(s->begin(s->ctx, 1), CV_ERR_OK);
    for (unsigned i = 0; i < 2; i++) {
        person(3 + i, &peers[i]);
        cr_assert_eq(rep_chain_next(s, old.public_key, peers[i].public_key, &r), CV_ERR_OK);
        r.type = REP_PROPOSAL;
        r.epoch = epochs[i];
        r.given = 1 << 20;
        rep_record_sign(&r, &old, test_network);
        cr_assert_eq(rep_chain_add(s, test_network, &r, false, 1, &res), CV_ERR_OK);
    }
    cr_assert_eq(rep_backup_hand_over(s, test_network, &old, &heir, EPOCH, 8 * EPOCH), CV_ERR_OK);
    cr_assert_eq(s->block_get(s->ctx, old.public_key, REP_SEQ_LAST, &r), CV_ERR_OK);
    cr_expect_eq(r.epoch, 901);
    s->rollback(s->ctx);
    rep_store_memory_free(m);
}

Test(rep_backup, the_file_becomes_the_heirs) {
    char folder[] = "/tmp/culvert-backup-XXXXXX", path[64], why[256];
    struct cv_ed25519_secret old, heir, other;
    struct rep_store_sqlite *s;
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/l.db", folder);
    person(1, &old);
    person(2, &heir);
    person(3, &other);
    cr_assert_eq(rep_store_sqlite_open(path, test_network, old.public_key, REP_SQLITE_NORMAL, &s,
                                       why, sizeof why),
                 CV_ERR_OK);
    const struct rep_store *ops = rep_store_sqlite_ops(s);
    struct rep_pending p = {.epoch = 7, .given = 5, .release_at = 9}, *all = NULL;
    size_t n = 9;
    memcpy(p.peer, other.public_key, CV_KEY);
    cr_assert_eq(ops->begin(ops->ctx, 1700000000), CV_ERR_OK);
    cr_assert_eq(ops->pending_put(ops->ctx, &p), CV_ERR_OK);
    cr_assert_eq(rep_backup_hand_over(ops, test_network, &old, &heir, 604800, 1700000000),
                 CV_ERR_OK);
    cr_assert_eq(rep_store_sqlite_hand_over(s, heir.public_key), CV_ERR_OK);
    cr_assert_eq(ops->commit(ops->ctx), CV_ERR_OK);
    rep_store_sqlite_close(s);
    cr_expect_eq(rep_store_sqlite_open(path, test_network, old.public_key, REP_SQLITE_NORMAL, &s,
                                       why, sizeof why),
                 CV_ERR_DIFFERS);
    cr_assert_eq(rep_store_sqlite_open(path, test_network, heir.public_key, REP_SQLITE_NORMAL, &s,
                                       why, sizeof why),
                 CV_ERR_OK);
    ops = rep_store_sqlite_ops(s);
    cr_assert_eq(ops->pending_load(ops->ctx, &all, &n), CV_ERR_OK);
    cr_expect_eq(n, 0, "counts of the old key");
    free(all);
    rep_store_sqlite_close(s);
    unlink(path);
    rmdir(folder);
}
