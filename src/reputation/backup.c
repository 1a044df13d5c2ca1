#include "reputation/backup.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "crypto/aead.h"
#include "reputation/chain.h"
#include "reputation/ledger_internal.h"

#define MAGIC "culvert identity "
enum {
    HEAD = sizeof MAGIC + 1, /* the digit and the line's end */
    DIGIT = sizeof MAGIC - 1,
    DATA = HEAD + 4 + 4 + CV_PASSPHRASE_SALT + CV_XAEAD_NONCE,
    BODY = DATA + CV_AEAD_TAG,
    FIXED_1 = 1 + REP_NETWORK_ID + CV_KEY + 8 + 4 + 4, /* of version 1, without `moves` */
    FIXED = FIXED_1 + 4,
    PENDING = CV_KEY + 4 + 8 + 8 + 8 + 8,
    COPY = 1,
    MOVED = 2,
};

/* ---- from a store ---- */

static enum cv_err append(struct rep_backup *b, size_t *cap, const struct rep_record *r) {
    if (b->records_n == REP_BACKUP_RECORDS)
        return CV_ERR_LIMIT;
    if (b->records_n == *cap) {
        size_t more = *cap ? *cap * 2 : 64;
        struct rep_record *grown = realloc(b->records, more * sizeof *grown);
        if (!grown)
            return CV_ERR_NOMEM;
        b->records = grown;
        *cap = more;
    }
    b->records[b->records_n++] = *r;
    return CV_ERR_OK;
}

static enum cv_err other_half(const struct rep_store *s, const struct rep_record *r,
                              struct rep_record *ret) {
    if (r->type == REP_SUCCESSION)
        return CV_ERR_NOENT;
    if (r->type == REP_PROPOSAL)
        return s->block_answer(s->ctx, r, ret);
    return s->block_get(s->ctx, r->peer, r->peer_seq, ret);
}

static enum cv_err collect_chain(const struct rep_store *s, const uint8_t identity[CV_KEY],
                                 struct rep_backup *b, size_t *cap) {
    struct rep_record r, other;
    for (uint64_t seq = 1;; seq = r.seq + 1) {
        enum cv_err err = s->block_seek(s->ctx, identity, NULL, seq, REP_SEEK_FROM, &r);
        if (err == CV_ERR_NOENT)
            return CV_ERR_OK;
        if (!err)
            err = append(b, cap, &r);
        enum cv_err pair = err ? err : other_half(s, &r, &other);
        if (!pair)
            pair = append(b, cap, &other);
        if (pair && pair != CV_ERR_NOENT)
            return pair;
        if (r.seq == REP_SEQ_LAST)
            return CV_ERR_OK;
    }
}

/* The keys before it, from the newest. */
static enum cv_err collect_places(const struct rep_store *s, const uint8_t identity[CV_KEY],
                                  struct rep_backup *b, size_t *cap) {
    struct rep_record *all = NULL;
    const uint8_t *at = identity;
    size_t n = 0;
    enum cv_err err = s->heir_load(s->ctx, &all, &n);
    for (unsigned depth = 0; !err && at && depth < REP_HEIRS; depth++) {
        const uint8_t *before = NULL;
        for (size_t i = 0; !err && !before && i < n; i++)
            if (memcmp(all[i].peer, at, CV_KEY) == 0) {
                err = append(b, cap, &all[i]);
                before = all[i].owner;
            }
        at = before;
    }
    free(all);
    return err;
}

enum cv_err rep_backup_collect(const struct rep_store *s, const uint8_t identity[CV_KEY],
                               struct rep_backup *ret) {
    size_t cap = 0;
    memset(ret, 0, sizeof *ret);
    enum cv_err err = collect_chain(s, identity, ret, &cap);
    if (!err)
        err = collect_places(s, identity, ret, &cap);
    if (!err)
        err = s->pending_load(s->ctx, &ret->pending, &ret->pending_n);
    if (!err && ret->pending_n > REP_BACKUP_PENDING)
        err = CV_ERR_LIMIT;
    if (err)
        rep_backup_free(ret);
    return err;
}

void rep_backup_free(struct rep_backup *b) {
    free(b->records);
    free(b->pending);
    cv_wipe(b, sizeof *b);
}

uint64_t rep_backup_head(const struct rep_backup *b) {
    uint64_t head = 0;
    for (size_t i = 0; i < b->records_n; i++) {
        const struct rep_record *r = &b->records[i];
        if (r->type != REP_SUCCESSION && r->seq > head &&
            memcmp(r->owner, b->identity_secret.public_key, CV_KEY) == 0)
            head = r->seq;
    }
    return head;
}

enum cv_err rep_backup_store_head(const struct rep_store *s, const uint8_t identity[CV_KEY],
                                  uint64_t *ret) {
    struct rep_record r;
    enum cv_err err = s->block_seek(s->ctx, identity, NULL, REP_SEQ_LAST, REP_SEEK_BELOW, &r);
    if (err && err != CV_ERR_NOENT)
        return err;
    *ret = err ? 0 : r.seq;
    return CV_ERR_OK;
}

/* ---- to octets ---- */

size_t rep_backup_size(const struct rep_backup *b) {
    return BODY + FIXED + b->records_n * REP_RECORD + b->pending_n * PENDING;
}

static void write_body(const struct rep_backup *b, struct cv_wr *w) {
    cv_wr_u8(w, b->moved ? MOVED : COPY);
    cv_wr_bytes(w, b->network_id, REP_NETWORK_ID);
    cv_wr_bytes(w, b->identity_secret.seed, CV_KEY);
    cv_wr_le64(w, (uint64_t)b->day);
    cv_wr_le32(w, b->moves);
    cv_wr_le32(w, (uint32_t)b->records_n);
    cv_wr_le32(w, (uint32_t)b->pending_n);
    for (size_t i = 0; i < b->records_n; i++) {
        uint8_t octets[REP_RECORD];
        rep_record_write(&b->records[i], octets);
        cv_wr_bytes(w, octets, sizeof octets);
    }
    for (size_t i = 0; i < b->pending_n; i++) {
        const struct rep_pending *p = &b->pending[i];
        cv_wr_bytes(w, p->peer, CV_KEY);
        cv_wr_le32(w, p->epoch);
        cv_wr_le64(w, p->given);
        cv_wr_le64(w, p->taken);
        cv_wr_le64(w, (uint64_t)p->release_at);
        cv_wr_le64(w, p->proposal);
    }
}

enum cv_err rep_backup_seal(const struct rep_backup *b, const char *passphrase, size_t len,
                            const struct cv_passphrase_cost *cost, const struct cv_rng *rng,
                            uint8_t *ret) {
    uint8_t key[CV_PASSPHRASE_KEY], salt[CV_PASSPHRASE_SALT], nonce[CV_XAEAD_NONCE];
    size_t size = rep_backup_size(b);
    cv_rng_fill(rng, salt, sizeof salt);
    cv_rng_fill(rng, nonce, sizeof nonce);
    if (!cv_passphrase_key(key, passphrase, len, salt, cost))
        return CV_ERR_NOMEM;
    struct cv_wr w = cv_wr_init(ret, size);
    cv_wr_bytes(&w, MAGIC "2\n", HEAD);
    cv_wr_le32(&w, cost->passes);
    cv_wr_le32(&w, cost->memory_kib);
    cv_wr_bytes(&w, salt, sizeof salt);
    cv_wr_bytes(&w, nonce, sizeof nonce);
    memset(ret + DATA, 0, CV_AEAD_TAG);
    cv_wr_bytes(&w, ret + DATA, CV_AEAD_TAG);
    write_body(b, &w);
    assert(cv_wr_done(&w) == (ssize_t)size);
    cv_xaead_seal(ret + BODY, ret + DATA, ret + BODY, size - BODY, ret, DATA, nonce, key);
    cv_wipe(key, sizeof key);
    return CV_ERR_OK;
}

/* ---- from octets ---- */

static bool read_records(struct cv_rd *r, struct rep_backup *b) {
    for (size_t i = 0; i < b->records_n; i++) {
        const uint8_t *octets = cv_rd_bytes(r, REP_RECORD);
        if (r->err || rep_record_read(octets, &b->records[i]) != CV_ERR_OK)
            return false;
    }
    return true;
}

static bool read_pending(struct cv_rd *r, struct rep_backup *b) {
    for (size_t i = 0; i < b->pending_n; i++) {
        struct rep_pending *p = &b->pending[i];
        cv_rd_copy(r, p->peer, CV_KEY);
        p->epoch = cv_rd_le32(r);
        p->given = cv_rd_le64(r);
        p->taken = cv_rd_le64(r);
        uint64_t release_at = cv_rd_le64(r);
        p->release_at = (int64_t)release_at;
        p->proposal = cv_rd_le64(r);
        if (p->given > REP_AMOUNT_MAX || p->taken > REP_AMOUNT_MAX || release_at > INT64_MAX ||
            p->proposal >= REP_SEQ_LAST)
            return false;
    }
    return !r->err;
}

static enum cv_err read_body(struct cv_rd *r, bool counted, struct rep_backup *b) {
    uint8_t kind = cv_rd_u8(r), seed[CV_KEY];
    cv_rd_copy(r, b->network_id, REP_NETWORK_ID);
    cv_rd_copy(r, seed, sizeof seed);
    cv_ed25519_from_seed(&b->identity_secret, seed);
    cv_wipe(seed, sizeof seed);
    uint64_t day = cv_rd_le64(r);
    b->moves = counted ? cv_rd_le32(r) : 0;
    uint32_t records = cv_rd_le32(r), pending = cv_rd_le32(r);
    if (r->err || (kind != COPY && kind != MOVED) || day > INT64_MAX ||
        records > REP_BACKUP_RECORDS || pending > REP_BACKUP_PENDING ||
        cv_rd_left(r) != (size_t)records * REP_RECORD + (size_t)pending * PENDING)
        return CV_ERR_MALFORMED;
    b->moved = kind == MOVED;
    b->day = (int64_t)day;
    b->records = calloc((size_t)records + 1, sizeof *b->records);
    b->pending = calloc((size_t)pending + 1, sizeof *b->pending);
    if (!b->records || !b->pending)
        return CV_ERR_NOMEM;
    b->records_n = records;
    b->pending_n = pending;
    return read_records(r, b) && read_pending(r, b) ? CV_ERR_OK : CV_ERR_MALFORMED;
}

enum cv_err rep_backup_open(uint8_t *file, size_t size, const char *passphrase, size_t len,
                            struct rep_backup *ret) {
    uint8_t key[CV_PASSPHRASE_KEY], salt[CV_PASSPHRASE_SALT], nonce[CV_XAEAD_NONCE];
    struct cv_passphrase_cost cost;
    memset(ret, 0, sizeof *ret);
    if (size < HEAD || memcmp(file, MAGIC, sizeof MAGIC - 1) != 0)
        return CV_ERR_UNKNOWN;
    if ((file[DIGIT] != '1' && file[DIGIT] != '2') || file[DIGIT + 1] != '\n')
        return CV_ERR_VERSION;
    if (size < BODY + FIXED_1)
        return CV_ERR_AUTH;
    struct cv_rd r = cv_rd_init(file + HEAD, DATA - HEAD);
    cost.passes = cv_rd_le32(&r);
    cost.memory_kib = cv_rd_le32(&r);
    cv_rd_copy(&r, salt, sizeof salt);
    cv_rd_copy(&r, nonce, sizeof nonce);
    assert(r.err == CV_ERR_OK);
    if (!cv_passphrase_cost_ok(&cost))
        return CV_ERR_LIMIT;
    if (!cv_passphrase_key(key, passphrase, len, salt, &cost))
        return CV_ERR_NOMEM;
    bool good =
        cv_xaead_open(file + BODY, file + BODY, size - BODY, file + DATA, file, DATA, nonce, key);
    cv_wipe(key, sizeof key);
    if (!good)
        return CV_ERR_AUTH;
    r = cv_rd_init(file + BODY, size - BODY);
    enum cv_err err = read_body(&r, file[DIGIT] == '2', ret);
    if (err)
        rep_backup_free(ret);
    return err;
}

/* ---- into a store ---- */

/* What was moved knows all counts there are; older ones were released where it was. */
static enum cv_err restore_pending(const struct rep_store *s, const struct rep_backup *b) {
    struct rep_pending *old = NULL;
    size_t n = 0;
    enum cv_err err = s->pending_load(s->ctx, &old, &n);
    for (size_t i = 0; !err && i < n; i++)
        err = s->pending_del(s->ctx, old[i].peer, old[i].epoch);
    for (size_t i = 0; !err && i < b->pending_n; i++)
        err = s->pending_put(s->ctx, &b->pending[i]);
    free(old);
    return err;
}

/* Two weeks' tokens are in use (issue.c). Their rows go with those of their weeks. */
static enum cv_err was_elsewhere(const struct rep_store *s, const struct rep_backup *b,
                                 int64_t wall) {
    static const uint8_t no_request[REP_HASH];
    enum cv_err err = CV_ERR_OK;
    uint32_t week;
    if (!rep_token_week((struct cv_now){.wall = wall}, &week))
        return CV_ERR_OK; /* without a clock nothing is issued or redeemed */
    for (uint32_t back = 0; !err && back <= 1 && back <= week; back++) {
        err = s->issued_put(s->ctx, week - back, b->identity_secret.public_key, no_request);
        if (err == CV_ERR_EXIST)
            err = CV_ERR_OK;
    }
    return err;
}

enum cv_err rep_backup_restore(const struct rep_store *s, const struct rep_backup *b,
                               int64_t wall) {
    enum cv_err err = CV_ERR_OK;
    for (size_t i = 0; !err && i < b->records_n; i++) {
        struct rep_chain_result res;
        err = rep_chain_add(s, b->network_id, &b->records[i], false, wall, &res);
        if (err == CV_ERR_EXIST)
            err = CV_ERR_OK;
    }
    if (!err && b->moved)
        err = restore_pending(s, b);
    return err || !b->moved ? err : was_elsewhere(s, b, wall);
}

enum cv_err rep_backup_hand_over(const struct rep_store *s,
                                 const uint8_t network_id[REP_NETWORK_ID],
                                 const struct cv_ed25519_secret *old,
                                 const struct cv_ed25519_secret *heir, uint32_t epoch_seconds,
                                 int64_t wall) {
    struct rep_chain_result res;
    struct rep_record r;
    uint32_t epoch = wall > 0 ? (uint32_t)(wall / epoch_seconds) : 0;
    enum cv_err err = s->block_get(s->ctx, old->public_key, REP_SEQ_LAST, &r);
    if (!err)
        return memcmp(r.peer, heir->public_key, CV_KEY) == 0 ? CV_ERR_EXIST : CV_ERR_DIFFERS;
    if (err != CV_ERR_NOENT)
        return err;
    /* A clock that ran ahead for a while: the newest need not be of the latest epoch. */
    r.seq = 0;
    while (!(err = s->block_seek(s->ctx, old->public_key, NULL, r.seq + 1, REP_SEEK_FROM, &r)))
        epoch = r.epoch >= epoch ? r.epoch + 1 : epoch;
    if (err != CV_ERR_NOENT)
        return err;
    rep_record_succeed(old, heir, network_id, epoch, &r);
    return rep_chain_add(s, network_id, &r, true, wall, &res);
}
