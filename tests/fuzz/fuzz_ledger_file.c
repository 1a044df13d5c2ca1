/*
 * A database file that somebody damaged. A sound one is made once; the input
 * says which of its octets change: records of 4 octets, place u24 and value;
 * or, beginning with "SQLite format 3", it is the whole file.
 * Property: opening, and the check beside it, say why they refuse, in one line; what opens is read
 * through without a crash, every half-block it gives is one that read() accepts, and a ledger over
 * it boots or says why not.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "reputation/chain.h"
#include "reputation/ledger.h"
#include "reputation/prune.h"
#include "reputation/store_sqlite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PEOPLE = 3, ROUNDS = 12 };

static const uint8_t network[REP_NETWORK_ID] = "testnet1";
static struct cv_ed25519_secret people[PEOPLE];
static char path[64];
static uint8_t *sound;
static size_t sound_len;

static void sweep(void) {
    char other[80];
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    for (unsigned i = 0; i < 4; i++) {
        snprintf(other, sizeof other, "%s%s", path, ends[i]);
        unlink(other);
    }
}

static void put(const uint8_t *data, size_t len) {
    sweep();
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    ssize_t n = write(fd, data, len);
    assert(n == (ssize_t)len);
    close(fd);
}

static struct rep_record last[PEOPLE];

static struct rep_record claim(unsigned owner, unsigned peer, uint64_t octets) {
    struct rep_record r;
    memset(&r, 0, sizeof r);
    r.version = REP_RECORD_VERSION;
    r.type = REP_PROPOSAL;
    memcpy(r.peer, people[peer].public_key, CV_KEY);
    r.seq = last[owner].seq + 1;
    memcpy(r.prev, last[owner].hash, REP_HASH);
    r.given = octets;
    r.epoch = 1;
    return r;
}

static void add(const struct rep_store *s, unsigned owner, struct rep_record *r) {
    struct rep_chain_result res;
    rep_record_sign(r, &people[owner], network);
    enum cv_err err = rep_chain_add(s, network, r, true, 0, &res);
    assert(err == CV_ERR_OK);
    last[owner] = *r;
}

enum { WEEK = 2810 };

/* Of each table of tokens a row, in so many weeks. */
static enum cv_err put_tokens(const struct rep_store *s, uint32_t week) {
    struct rep_purse purse = {.week = week, .had = 1, .left = 7};
    memcpy(purse.issuer, people[1].public_key, CV_KEY);
    enum cv_err err = s->purse_put(s->ctx, &purse);
    if (!err)
        err = s->issued_put(s->ctx, week, people[2].public_key, people[1].public_key);
    return err ? err : s->spent_put(s->ctx, week, people[2].public_key);
}

static void read_tokens(const struct rep_store *s) {
    uint8_t request[REP_HASH];
    uint64_t n;
    struct rep_purse *all = NULL;
    size_t len = 0;
    for (uint32_t week = WEEK; week < WEEK + 3; week++) {
        (void)s->issued_get(s->ctx, week, people[2].public_key, request);
        (void)s->issued_count(s->ctx, week, &n);
    }
    if (s->purse_load(s->ctx, &all, &len) == CV_ERR_OK)
        for (size_t i = 0; i < len; i++)
            assert(all[i].had <= 1 && (all[i].had || !all[i].left));
    free(all);
    if (s->begin(s->ctx, 1) == CV_ERR_OK) {
        (void)put_tokens(s, WEEK + 2);
        (void)s->token_prune(s->ctx, WEEK + 1);
        s->rollback(s->ctx);
    }
}

static void read_why(const struct rep_store *s) {
    struct rep_why *all = NULL;
    size_t n = 0;
    if (s->why_load(s->ctx, &all, &n) == CV_ERR_OK)
        for (size_t i = 0; i < n; i++)
            (void)rep_why_text(all[i].cause);
    free(all);
}

/* All of it is old enough. It ends, whatever order a damaged file is in. */
static void prune(const struct rep_store *s) {
    struct rep_prune p = {.before = 2};
    uint32_t before, all;
    uint64_t whole;
    memcpy(p.me, people[0].public_key, CV_KEY);
    enum cv_err err = s->begin(s->ctx, 1);
    if (err)
        return;
    while (!err && !p.done)
        err = rep_prune_step(s, &p, 8);
    (void)rep_chain_pruned(s, &before, &all);
    for (unsigned i = 0; i < PEOPLE; i++)
        (void)s->whole_get(s->ctx, people[i].public_key, &whole);
    s->rollback(s->ctx);
}

static void fill(const struct rep_store *s) {
    enum cv_err err = s->begin(s->ctx, 1700000000);
    assert(err == CV_ERR_OK);
    for (unsigned i = 1; i <= ROUNDS; i++) {
        unsigned a = i % PEOPLE, b = (i + 1) % PEOPLE;
        struct rep_record p = claim(a, b, i << 20), g = claim(b, a, i << 19);
        add(s, a, &p);
        g.type = REP_AGREEMENT;
        g.taken = p.given;
        g.peer_seq = p.seq;
        memcpy(g.peer_hash, p.hash, REP_HASH);
        add(s, b, &g);
    }
    struct rep_pending pending = {.epoch = 3, .given = 5, .taken = 6};
    memcpy(pending.peer, people[1].public_key, CV_KEY);
    struct rep_account account = {.given = 1, .taken = 2, .last_seen = 1700000000};
    err = s->pending_put(s->ctx, &pending);
    assert(err == CV_ERR_OK);
    err = s->account_put(s->ctx, &account);
    assert(err == CV_ERR_OK);
    struct rep_why why = {.kind = REP_WHY_SCORE, .cause = REP_BECAUSE_ROWS, .became = 3};
    err = s->why_put(s->ctx, &why);
    for (uint32_t week = WEEK; !err && week < WEEK + 2; week++)
        err = put_tokens(s, week);
    assert(err == CV_ERR_OK);
    err = s->commit(s->ctx);
    assert(err == CV_ERR_OK);
}

static void remove_folder(void) {
    sweep();
    *strrchr(path, '/') = '\0';
    rmdir(path);
    free(sound);
}

static void make_sound(void) {
    struct rep_store_sqlite *s;
    struct stat st;
    char why[256];
    cv_crypto_init();
    for (unsigned i = 0; i < PEOPLE; i++) {
        uint8_t seed[CV_KEY];
        memset(seed, (int)i + 1, sizeof seed);
        cv_ed25519_from_seed(&people[i], seed);
    }
    memcpy(path, "/tmp/culvert-fuzz-XXXXXX", 25);
    if (!mkdtemp(path))
        abort();
    memcpy(path + strlen(path), "/ledger.db", 11);
    enum cv_err err = rep_store_sqlite_open(path, network, people[0].public_key, REP_SQLITE_NORMAL,
                                            &s, why, sizeof why);
    assert(err == CV_ERR_OK);
    fill(rep_store_sqlite_ops(s));
    rep_store_sqlite_close(s);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st) != 0)
        abort();
    sound_len = (size_t)st.st_size;
    sound = malloc(sound_len);
    if (!sound || read(fd, sound, sound_len) != (ssize_t)sound_len)
        abort();
    close(fd);
    atexit(remove_folder);
}

static void read_all(const struct rep_store *s) {
    struct rep_record r, back;
    uint8_t buf[REP_RECORD];
    read_tokens(s);
    read_why(s);
    prune(s);
    for (unsigned i = 0; i < PEOPLE; i++)
        for (uint64_t seq = 0; seq < 2 * ROUNDS; seq++) {
            for (int how = REP_SEEK_BELOW; how <= REP_SEEK_FROM; how++)
                (void)s->block_seek(s->ctx, people[i].public_key,
                                    people[(i + 1) % PEOPLE].public_key, seq, (enum rep_seek)how,
                                    &r);
            if (s->block_get(s->ctx, people[i].public_key, seq, &r) != CV_ERR_OK)
                continue;
            rep_record_write(&r, buf);
            enum cv_err err = rep_record_read(buf, &back);
            assert(err == CV_ERR_OK);
            (void)s->block_answer(s->ctx, &r, &back);
        }
}

/* The ledger's own life over it: boots, writes, signs. */
static void live(const struct rep_store *s) {
    static struct cv_rng_seeded dice;
    struct cv_now now = {.mono = 1, .wall = 1700000000};
    struct rep_config cfg;
    struct rep_ledger *l;
    cv_rng_seeded_init(&dice, 1);
    struct cv_rng rng = cv_rng_seeded(&dice);
    rep_config_init(&cfg);
    cfg.identity_secret = people[0];
    memcpy(cfg.network_id, network, sizeof network);
    struct cv_addr addr = {.ip = {127, 1, 1, 1}, .port = 1, .family = 4};
    if (rep_ledger_new(&cfg, s, &rng, now, &l) != CV_ERR_OK)
        return;
    (void)rep_ledger_link_up(l, now, 1, REP_ROLE_RELAY, people[1].public_key, &addr);
    (void)rep_ledger_link_up(l, now, 2, REP_ROLE_CLIENT, people[2].public_key, &addr);
    rep_ledger_carried(l, now, 1, 1 << 20, 1 << 20);
    rep_ledger_carried(l, now, 2, 1 << 20, 1 << 20);
    for (unsigned i = 0; i < 20; i++) {
        struct rep_event e;
        now.mono += CV_SEC(30);
        now.wall += 30;
        rep_ledger_on_timeout(l, now);
        while (rep_ledger_poll_event(l, &e))
            ;
    }
    (void)rep_ledger_flush(l, now);
    rep_ledger_free(l);
}

static void harm(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(sound_len);
    assert(copy != NULL);
    memcpy(copy, sound, sound_len);
    for (size_t i = 0; i + 4 <= size; i += 4) {
        size_t at = data[i] | (size_t)data[i + 1] << 8 | (size_t)data[i + 2] << 16;
        copy[at % sound_len] = data[i + 3];
    }
    put(copy, sound_len);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct rep_store_sqlite *s = NULL;
    char why[256] = "";
    if (!sound)
        make_sound();
    if (size >= 16 && memcmp(data, "SQLite format 3", 16) == 0)
        put(data, size);
    else
        harm(data, size);
    if (rep_store_sqlite_open(path, network, people[0].public_key, REP_SQLITE_NORMAL, &s, why,
                              sizeof why) != CV_ERR_OK) {
        assert(s == NULL);
        assert(strncmp(why, path, strlen(path)) == 0);
        assert(strchr(why, '\n') == NULL);
        return 0;
    }
    read_all(rep_store_sqlite_ops(s));
    atomic_bool stop = false;
    enum cv_err err = rep_store_sqlite_check(path, &stop, why, sizeof why);
    assert(err != CV_ERR_CORRUPT || strncmp(why, path, strlen(path)) == 0);
    assert(strchr(why, '\n') == NULL);
    if (rep_store_sqlite_checked(s))
        rep_store_sqlite_bulk(s);
    else if (err == CV_ERR_CORRUPT && size % 2)
        rep_store_sqlite_found(s, CV_ERR_CORRUPT);
    live(rep_store_sqlite_ops(s));
    rep_store_sqlite_close(s);
    return 0;
}
