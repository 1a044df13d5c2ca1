#include "reputation/store_memory.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Rows of one size, ordered by the key that is their first octets. */
struct table {
    size_t key, size;
    uint8_t *rows;
    size_t n, cap;
};

enum { BLOCK, EDGE, PENDING, ACCOUNT, FORK, BAN, SCORE, ISSUED, SPENT, PURSE, WHY, WHOLE, TABLES };

struct block_row {
    uint8_t key[CV_KEY + 8]; /* owner | seq, big-endian */
    struct rep_record r;
};
struct edge_row {
    uint8_t key[2 * CV_KEY];
    struct rep_edge e;
};
struct pending_row {
    uint8_t key[CV_KEY + 4]; /* peer | epoch, big-endian */
    struct rep_pending p;
};
struct account_row {
    uint8_t key[CV_KEY];
    struct rep_account a;
};
struct fork_row {
    uint8_t key[CV_KEY + 8];
    struct rep_fork f;
};
struct ban_row {
    uint8_t key[CV_KEY];
    int64_t until;
};
struct score_row {
    uint8_t key[2 * CV_KEY];
    double share;
    uint64_t generation;
};

struct issued_row {
    uint8_t key[4 + CV_KEY]; /* week, big-endian | identity */
    uint8_t request[REP_HASH];
};
struct spent_row {
    uint8_t key[4 + REP_TOKEN]; /* week, big-endian | token */
};
struct purse_row {
    uint8_t key[4 + CV_KEY]; /* week, big-endian | issuer */
    struct rep_purse p;
};

struct why_row {
    uint8_t key[8]; /* number, big-endian */
    struct rep_why w;
};

struct whole_row {
    uint8_t key[CV_KEY];
    uint64_t seq;
};

/* What a write replaced, so that it can be taken back. */
struct undo {
    struct undo *before;
    int table;
    bool existed;
    uint8_t row[]; /* of the table's size; only the key when it did not exist */
};

struct rep_store_memory {
    struct rep_store ops;
    struct table tables[TABLES];
    struct undo *undo; /* newest first */
    bool begun;
    uint32_t pruned, pruned_was; /* was: when the transaction began */
    uint32_t pruned_all;
    unsigned why_room[REP_WHY_TOKENS + 1]; /* rows of a kind to come until it is trimmed */
    unsigned fail_in;
    enum cv_err fail_with;
};

static const struct table shapes[TABLES] = {
    [BLOCK] = {.key = CV_KEY + 8, .size = sizeof(struct block_row)},
    [EDGE] = {.key = 2 * CV_KEY, .size = sizeof(struct edge_row)},
    [PENDING] = {.key = CV_KEY + 4, .size = sizeof(struct pending_row)},
    [ACCOUNT] = {.key = CV_KEY, .size = sizeof(struct account_row)},
    [FORK] = {.key = CV_KEY + 8, .size = sizeof(struct fork_row)},
    [BAN] = {.key = CV_KEY, .size = sizeof(struct ban_row)},
    [SCORE] = {.key = 2 * CV_KEY, .size = sizeof(struct score_row)},
    [ISSUED] = {.key = 4 + CV_KEY, .size = sizeof(struct issued_row)},
    [SPENT] = {.key = 4 + REP_TOKEN, .size = sizeof(struct spent_row)},
    [WHY] = {.key = 8, .size = sizeof(struct why_row)},
    [PURSE] = {.key = 4 + CV_KEY, .size = sizeof(struct purse_row)},
    [WHOLE] = {.key = CV_KEY, .size = sizeof(struct whole_row)},
};

static void put_be(uint8_t *at, uint64_t v, size_t n) {
    for (size_t i = n; i-- > 0; v >>= 8)
        at[i] = (uint8_t)v;
}

/* ---- tables ---- */

static void *row_at(const struct table *t, size_t i) {
    return t->rows + i * t->size;
}

/* Index of the first row whose key is not below `key`. */
static size_t lower(const struct table *t, const void *key) {
    size_t lo = 0, hi = t->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (memcmp(row_at(t, mid), key, t->key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void *get(const struct table *t, const void *key) {
    size_t i = lower(t, key);
    return i < t->n && memcmp(row_at(t, i), key, t->key) == 0 ? row_at(t, i) : NULL;
}

static enum cv_err raw_put(struct table *t, const void *row) {
    size_t i = lower(t, row);
    if (i < t->n && memcmp(row_at(t, i), row, t->key) == 0) {
        memcpy(row_at(t, i), row, t->size);
        return CV_ERR_OK;
    }
    if (t->n == t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 16;
        uint8_t *more = realloc(t->rows, cap * t->size);
        if (!more)
            return CV_ERR_NOMEM;
        t->rows = more;
        t->cap = cap;
    }
    memmove(t->rows + (i + 1) * t->size, t->rows + i * t->size, (t->n - i) * t->size);
    memcpy(t->rows + i * t->size, row, t->size);
    t->n++;
    return CV_ERR_OK;
}

static void raw_del(struct table *t, const void *key) {
    size_t i = lower(t, key);
    if (i == t->n || memcmp(row_at(t, i), key, t->key) != 0)
        return;
    memmove(row_at(t, i), row_at(t, i + 1), (t->n - i - 1) * t->size);
    t->n--;
}

/* Remembers what is at `key` before it changes. */
static enum cv_err remember(struct rep_store_memory *m, int table, const void *key) {
    const struct table *t = &m->tables[table];
    assert(m->begun);
    struct undo *u = malloc(sizeof *u + t->size);
    if (!u)
        return CV_ERR_NOMEM;
    const void *old = get(t, key);
    u->table = table;
    u->existed = old != NULL;
    memcpy(u->row, old ? old : key, old ? t->size : t->key);
    u->before = m->undo;
    m->undo = u;
    return CV_ERR_OK;
}

static enum cv_err put(struct rep_store_memory *m, int table, const void *row) {
    enum cv_err err = remember(m, table, row);
    return err ? err : raw_put(&m->tables[table], row);
}

static enum cv_err del(struct rep_store_memory *m, int table, const void *key) {
    if (!get(&m->tables[table], key))
        return CV_ERR_OK;
    enum cv_err err = remember(m, table, key);
    if (!err)
        raw_del(&m->tables[table], key);
    return err;
}

/* ---- transaction ---- */

static enum cv_err begin(void *ctx, int64_t wall) {
    struct rep_store_memory *m = ctx;
    (void)wall;
    assert(!m->begun);
    m->begun = true;
    m->pruned_was = m->pruned;
    return CV_ERR_OK;
}

static void rollback(void *ctx) {
    struct rep_store_memory *m = ctx;
    memset(m->why_room, 0, sizeof m->why_room); /* what was trimmed comes back */
    while (m->undo) {
        struct undo *u = m->undo;
        raw_del(&m->tables[u->table], u->row);
        if (u->existed) {
            enum cv_err err = raw_put(&m->tables[u->table], u->row);
            assert(err == CV_ERR_OK); /* there was room for it before */
            (void)err;
        }
        m->undo = u->before;
        free(u);
    }
    if (m->begun)
        m->pruned = m->pruned_was;
    m->begun = false;
}

static enum cv_err commit(void *ctx) {
    struct rep_store_memory *m = ctx;
    assert(m->begun);
    if (m->fail_in && --m->fail_in == 0) {
        m->fail_in = 1;
        return m->fail_with;
    }
    while (m->undo) {
        struct undo *u = m->undo;
        m->undo = u->before;
        free(u);
    }
    m->begun = false;
    return CV_ERR_OK;
}

/* ---- half-blocks ---- */

static void block_key(uint8_t key[CV_KEY + 8], const uint8_t owner[CV_KEY], uint64_t seq) {
    memcpy(key, owner, CV_KEY);
    put_be(key + CV_KEY, seq, 8);
}

static enum cv_err block_put(void *ctx, const struct rep_record *r) {
    struct rep_store_memory *m = ctx;
    struct block_row row;
    memset(&row, 0, sizeof row);
    block_key(row.key, r->owner, r->seq);
    row.r = *r;
    return get(&m->tables[BLOCK], row.key) ? CV_ERR_EXIST : put(m, BLOCK, &row);
}

static enum cv_err block_get(void *ctx, const uint8_t owner[CV_KEY], uint64_t seq,
                             struct rep_record *ret) {
    struct rep_store_memory *m = ctx;
    uint8_t key[CV_KEY + 8];
    block_key(key, owner, seq);
    const struct block_row *row = get(&m->tables[BLOCK], key);
    if (!row)
        return CV_ERR_NOENT;
    *ret = row->r;
    return CV_ERR_OK;
}

static bool fits(const struct table *t, size_t i, const uint8_t *owner, const uint8_t *peer,
                 struct rep_record *ret) {
    const struct block_row *row = row_at(t, i);
    if (peer && memcmp(row->r.peer, peer, CV_KEY) != 0)
        return false;
    assert(memcmp(row->r.owner, owner, CV_KEY) == 0);
    *ret = row->r;
    return true;
}

static enum cv_err block_seek(void *ctx, const uint8_t owner[CV_KEY], const uint8_t *peer,
                              uint64_t seq, enum rep_seek how, struct rep_record *ret) {
    struct rep_store_memory *m = ctx;
    const struct table *t = &m->tables[BLOCK];
    uint8_t key[CV_KEY + 8];
    block_key(key, owner, seq);
    size_t at = lower(t, key);
    if (how == REP_SEEK_BELOW) {
        while (at > 0 && memcmp(row_at(t, at - 1), owner, CV_KEY) == 0)
            if (fits(t, --at, owner, peer, ret))
                return CV_ERR_OK;
        return CV_ERR_NOENT;
    }
    for (; at < t->n && memcmp(row_at(t, at), owner, CV_KEY) == 0; at++)
        if (fits(t, at, owner, peer, ret))
            return CV_ERR_OK;
    return CV_ERR_NOENT;
}

static enum cv_err block_answer(void *ctx, const struct rep_record *p, struct rep_record *ret) {
    struct rep_store_memory *m = ctx;
    const struct table *t = &m->tables[BLOCK];
    uint8_t key[CV_KEY + 8];
    block_key(key, p->peer, 0);
    for (size_t i = lower(t, key); i < t->n && memcmp(row_at(t, i), p->peer, CV_KEY) == 0; i++) {
        const struct block_row *row = row_at(t, i);
        if (row->r.type == REP_AGREEMENT && row->r.peer_seq == p->seq &&
            memcmp(row->r.peer, p->owner, CV_KEY) == 0 &&
            memcmp(row->r.peer_hash, p->hash, REP_HASH) == 0) {
            *ret = row->r;
            return CV_ERR_OK;
        }
    }
    return CV_ERR_NOENT;
}

static enum cv_err block_count(void *ctx, uint64_t *ret) {
    const struct rep_store_memory *m = ctx;
    *ret = m->tables[BLOCK].n;
    return CV_ERR_OK;
}

static enum cv_err owner_next(void *ctx, const uint8_t *after, uint8_t ret[CV_KEY]) {
    const struct rep_store_memory *m = ctx;
    const struct table *t = &m->tables[BLOCK];
    uint8_t key[CV_KEY + 8] = {0};
    if (after)
        block_key(key, after, UINT64_MAX);
    size_t at = lower(t, key);
    if (at == t->n)
        return CV_ERR_NOENT;
    memcpy(ret, row_at(t, at), CV_KEY);
    return CV_ERR_OK;
}

static enum cv_err block_del(void *ctx, const uint8_t owner[CV_KEY], uint64_t seq) {
    struct rep_store_memory *m = ctx;
    uint8_t key[CV_KEY + 8];
    block_key(key, owner, seq);
    return get(&m->tables[BLOCK], key) ? del(m, BLOCK, key) : CV_ERR_NOENT;
}

static enum cv_err pruned_before(void *ctx, uint32_t *ret, uint32_t *ret_all) {
    const struct rep_store_memory *m = ctx;
    *ret = m->pruned;
    *ret_all = m->pruned_all;
    return CV_ERR_OK;
}

static enum cv_err prune_put(void *ctx, uint32_t before) {
    struct rep_store_memory *m = ctx;
    assert(m->begun);
    m->pruned = before > m->pruned ? before : m->pruned;
    return CV_ERR_OK;
}

static enum cv_err whole_get(void *ctx, const uint8_t owner[CV_KEY], uint64_t *ret) {
    const struct rep_store_memory *m = ctx;
    const struct whole_row *row = get(&m->tables[WHOLE], owner);
    *ret = row ? row->seq : 0;
    return CV_ERR_OK;
}

static enum cv_err whole_put(void *ctx, const uint8_t owner[CV_KEY], uint64_t seq) {
    struct whole_row row;
    memset(&row, 0, sizeof row);
    memcpy(row.key, owner, CV_KEY);
    row.seq = seq;
    return put(ctx, WHOLE, &row);
}

static enum cv_err heir_load(void *ctx, struct rep_record **ret, size_t *ret_n) {
    struct rep_store_memory *m = ctx;
    const struct table *t = &m->tables[BLOCK];
    struct rep_record *all = NULL;
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct block_row *row = row_at(t, i);
        if (row->r.type != REP_SUCCESSION)
            continue;
        struct rep_record *more = realloc(all, (n + 1) * sizeof *all);
        if (!more) {
            free(all);
            return CV_ERR_NOMEM;
        }
        all = more;
        all[n++] = row->r;
    }
    *ret = all;
    *ret_n = n;
    return CV_ERR_OK;
}

/* ---- edges ---- */

static enum cv_err edge_put(void *ctx, const struct rep_edge *e) {
    struct edge_row row;
    memset(&row, 0, sizeof row);
    memcpy(row.key, e->giver, CV_KEY);
    memcpy(row.key + CV_KEY, e->taker, CV_KEY);
    row.e = *e;
    return put(ctx, EDGE, &row);
}

static enum cv_err edge_get(void *ctx, const uint8_t giver[CV_KEY], const uint8_t taker[CV_KEY],
                            struct rep_edge *ret) {
    struct rep_store_memory *m = ctx;
    uint8_t key[2 * CV_KEY];
    memcpy(key, giver, CV_KEY);
    memcpy(key + CV_KEY, taker, CV_KEY);
    const struct edge_row *row = get(&m->tables[EDGE], key);
    if (!row)
        return CV_ERR_NOENT;
    *ret = row->e;
    return CV_ERR_OK;
}

static enum cv_err edge_newest(void *ctx, uint32_t *ret) {
    const struct rep_store_memory *m = ctx;
    const struct table *t = &m->tables[EDGE];
    *ret = 0;
    for (size_t i = 0; i < t->n; i++) {
        uint32_t epoch = ((const struct edge_row *)row_at(t, i))->e.epoch;
        *ret = epoch > *ret ? epoch : *ret;
    }
    return CV_ERR_OK;
}

static enum cv_err edge_load(void *ctx, struct rep_edge **ret, size_t *ret_n) {
    struct rep_store_memory *m = ctx;
    const struct table *t = &m->tables[EDGE];
    struct rep_edge *all = t->n ? malloc(t->n * sizeof *all) : NULL;
    if (t->n && !all)
        return CV_ERR_NOMEM;
    for (size_t i = 0; i < t->n; i++)
        all[i] = ((const struct edge_row *)row_at(t, i))->e;
    *ret = all;
    *ret_n = t->n;
    return CV_ERR_OK;
}

/* ---- pending counts ---- */

static void pending_key(uint8_t key[CV_KEY + 4], const uint8_t peer[CV_KEY], uint32_t epoch) {
    memcpy(key, peer, CV_KEY);
    put_be(key + CV_KEY, epoch, 4);
}

static enum cv_err pending_put(void *ctx, const struct rep_pending *p) {
    struct pending_row row;
    memset(&row, 0, sizeof row);
    pending_key(row.key, p->peer, p->epoch);
    row.p = *p;
    return put(ctx, PENDING, &row);
}

static enum cv_err pending_del(void *ctx, const uint8_t peer[CV_KEY], uint32_t epoch) {
    uint8_t key[CV_KEY + 4];
    pending_key(key, peer, epoch);
    return del(ctx, PENDING, key);
}

static enum cv_err pending_load(void *ctx, struct rep_pending **ret, size_t *ret_n) {
    struct rep_store_memory *m = ctx;
    const struct table *t = &m->tables[PENDING];
    struct rep_pending *all = t->n ? malloc(t->n * sizeof *all) : NULL;
    if (t->n && !all)
        return CV_ERR_NOMEM;
    for (size_t i = 0; i < t->n; i++)
        all[i] = ((const struct pending_row *)row_at(t, i))->p;
    *ret = all;
    *ret_n = t->n;
    return CV_ERR_OK;
}

/* ---- accounts ---- */

static enum cv_err account_put(void *ctx, const struct rep_account *a) {
    struct account_row row;
    memset(&row, 0, sizeof row);
    memcpy(row.key, a->client, CV_KEY);
    row.a = *a;
    row.a.judged = 0; /* as in a file, which has no column for it */
    return put(ctx, ACCOUNT, &row);
}

static enum cv_err account_get(void *ctx, const uint8_t client[CV_KEY], struct rep_account *ret) {
    struct rep_store_memory *m = ctx;
    const struct account_row *row = get(&m->tables[ACCOUNT], client);
    if (!row)
        return CV_ERR_NOENT;
    *ret = row->a;
    return CV_ERR_OK;
}

static enum cv_err account_expire(void *ctx, int64_t before, int64_t today) {
    struct rep_store_memory *m = ctx;
    const struct table *t = &m->tables[ACCOUNT];
    for (size_t i = t->n; i-- > 0;) {
        struct account_row row = *(const struct account_row *)row_at(t, i);
        enum cv_err err = CV_ERR_OK;
        if (row.a.last_seen < before) {
            err = del(m, ACCOUNT, row.key);
        } else {
            row.a.last_seen = row.a.last_seen < today ? row.a.last_seen : today;
            if (row.a.debt_since < today - 86400)
                row.a.debt_since -= row.a.debt_since % 86400;
            err = put(m, ACCOUNT, &row);
        }
        if (err)
            return err;
    }
    return CV_ERR_OK;
}

/* ---- forgers, scores ---- */

static enum cv_err fork_get(void *ctx, const uint8_t owner[CV_KEY], struct rep_fork *ret) {
    struct rep_store_memory *m = ctx;
    const struct table *t = &m->tables[FORK];
    uint8_t key[CV_KEY + 8];
    block_key(key, owner, 0);
    size_t at = lower(t, key);
    if (at == t->n || memcmp(row_at(t, at), owner, CV_KEY) != 0)
        return CV_ERR_NOENT;
    *ret = ((const struct fork_row *)row_at(t, at))->f;
    return CV_ERR_OK;
}

static enum cv_err fork_put(void *ctx, const uint8_t owner[CV_KEY], uint64_t seq,
                            const struct rep_fork *f) {
    struct rep_store_memory *m = ctx;
    struct fork_row row;
    memset(&row, 0, sizeof row);
    block_key(row.key, owner, seq);
    row.f = *f;
    return get(&m->tables[FORK], row.key) ? CV_ERR_EXIST : put(m, FORK, &row);
}

static enum cv_err fork_load(void *ctx, uint8_t **ret, size_t *ret_n) {
    struct rep_store_memory *m = ctx;
    const struct table *t = &m->tables[FORK];
    uint8_t *all = t->n ? malloc(t->n * CV_KEY) : NULL;
    if (t->n && !all)
        return CV_ERR_NOMEM;
    for (size_t i = 0; i < t->n; i++)
        memcpy(all + i * CV_KEY, row_at(t, i), CV_KEY);
    *ret = all;
    *ret_n = t->n;
    return CV_ERR_OK;
}

static enum cv_err ban_put(void *ctx, const uint8_t peer[CV_KEY], int64_t until) {
    struct ban_row row;
    memset(&row, 0, sizeof row);
    memcpy(row.key, peer, CV_KEY);
    row.until = until;
    return put(ctx, BAN, &row);
}

static enum cv_err ban_get(void *ctx, const uint8_t peer[CV_KEY], int64_t *ret_until) {
    struct rep_store_memory *m = ctx;
    const struct ban_row *row = get(&m->tables[BAN], peer);
    if (!row)
        return CV_ERR_NOENT;
    *ret_until = row->until;
    return CV_ERR_OK;
}

static enum cv_err score_put(void *ctx, const uint8_t ego[CV_KEY], const uint8_t peer[CV_KEY],
                             double share, uint64_t generation) {
    struct score_row row;
    memset(&row, 0, sizeof row);
    memcpy(row.key, ego, CV_KEY);
    memcpy(row.key + CV_KEY, peer, CV_KEY);
    row.share = share;
    row.generation = generation;
    return put(ctx, SCORE, &row);
}

/* ---- tokens ---- */

static void week_key(uint8_t key[4 + CV_KEY], uint32_t week, const uint8_t octets[CV_KEY]) {
    put_be(key, week, 4);
    memcpy(key + 4, octets, CV_KEY);
}
static_assert(REP_TOKEN == CV_KEY, "one shape of key");

static enum cv_err issued_put(void *ctx, uint32_t week, const uint8_t identity[CV_KEY],
                              const uint8_t request[REP_HASH]) {
    struct rep_store_memory *m = ctx;
    struct issued_row row;
    week_key(row.key, week, identity);
    memcpy(row.request, request, REP_HASH);
    return get(&m->tables[ISSUED], row.key) ? CV_ERR_EXIST : put(m, ISSUED, &row);
}

static enum cv_err issued_get(void *ctx, uint32_t week, const uint8_t identity[CV_KEY],
                              uint8_t ret_request[REP_HASH]) {
    struct rep_store_memory *m = ctx;
    uint8_t key[4 + CV_KEY];
    week_key(key, week, identity);
    const struct issued_row *row = get(&m->tables[ISSUED], key);
    if (!row)
        return CV_ERR_NOENT;
    memcpy(ret_request, row->request, REP_HASH);
    return CV_ERR_OK;
}

/* Index of the first row of a week or a later one. */
static size_t from_week(const struct table *t, uint64_t week) {
    uint8_t key[4 + CV_KEY] = {0};
    if (week > UINT32_MAX)
        return t->n;
    put_be(key, week, 4);
    return lower(t, key);
}

static enum cv_err issued_count(void *ctx, uint32_t week, uint64_t *ret) {
    struct rep_store_memory *m = ctx;
    const struct table *t = &m->tables[ISSUED];
    *ret = from_week(t, (uint64_t)week + 1) - from_week(t, week);
    return CV_ERR_OK;
}

static enum cv_err spent_put(void *ctx, uint32_t week, const uint8_t token[REP_TOKEN]) {
    struct rep_store_memory *m = ctx;
    struct spent_row row;
    week_key(row.key, week, token);
    return get(&m->tables[SPENT], row.key) ? CV_ERR_EXIST : put(m, SPENT, &row);
}

static enum cv_err purse_put(void *ctx, const struct rep_purse *p) {
    struct purse_row row;
    memset(&row, 0, sizeof row);
    week_key(row.key, p->week, p->issuer);
    row.p = *p;
    return put(ctx, PURSE, &row);
}

static enum cv_err purse_load(void *ctx, struct rep_purse **ret, size_t *ret_n) {
    struct rep_store_memory *m = ctx;
    const struct table *t = &m->tables[PURSE];
    struct rep_purse *all = t->n ? malloc(t->n * sizeof *all) : NULL;
    if (t->n && !all)
        return CV_ERR_NOMEM;
    for (size_t i = 0; i < t->n; i++)
        all[i] = ((const struct purse_row *)row_at(t, i))->p;
    *ret = all;
    *ret_n = t->n;
    return CV_ERR_OK;
}

static enum cv_err token_prune(void *ctx, uint32_t week) {
    struct rep_store_memory *m = ctx;
    for (int table = ISSUED; table <= PURSE; table++) {
        const struct table *t = &m->tables[table];
        for (size_t i = from_week(t, week); i-- > 0;) {
            uint8_t key[4 + CV_KEY];
            memcpy(key, row_at(t, i), sizeof key);
            enum cv_err err = del(m, table, key);
            if (err)
                return err;
        }
    }
    return CV_ERR_OK;
}

/* ---- why ---- */

static enum cv_err why_trim(struct rep_store_memory *m, uint8_t kind) {
    const struct table *t = &m->tables[WHY];
    enum cv_err err = CV_ERR_OK;
    unsigned newer = 0;
    for (size_t i = t->n; !err && i-- > 0;) {
        const struct why_row *row = row_at(t, i);
        uint8_t key[8];
        memcpy(key, row->key, sizeof key);
        if (row->w.kind == kind && newer++ >= REP_WHY_KEPT)
            err = del(m, WHY, key);
    }
    return err;
}

static enum cv_err why_put(void *ctx, const struct rep_why *w) {
    struct rep_store_memory *m = ctx;
    const struct table *t = &m->tables[WHY];
    struct why_row row;
    uint64_t number = 1;
    assert(w->kind >= REP_WHY_CLASS && w->kind <= REP_WHY_TOKENS);
    memset(&row, 0, sizeof row);
    for (size_t i = 0; t->n && i < 8; i++)
        number = (i ? number << 8 : 0) | ((const uint8_t *)row_at(t, t->n - 1))[i];
    put_be(row.key, t->n ? number + 1 : 1, 8);
    row.w = *w;
    enum cv_err err = put(m, WHY, &row);
    if (!err && m->why_room[w->kind]-- == 0) {
        err = why_trim(m, w->kind);
        m->why_room[w->kind] = REP_WHY_SLACK;
    }
    return err;
}

static enum cv_err why_expire(void *ctx, int64_t before, int64_t today) {
    struct rep_store_memory *m = ctx;
    const struct table *t = &m->tables[WHY];
    enum cv_err err = CV_ERR_OK;
    for (size_t i = t->n; !err && i-- > 0;) {
        struct why_row row = *(const struct why_row *)row_at(t, i);
        if (row.w.day < before) {
            err = del(m, WHY, row.key);
        } else if (row.w.day > today) {
            row.w.day = today;
            err = put(m, WHY, &row);
        }
    }
    return err;
}

static enum cv_err why_load(void *ctx, struct rep_why **ret, size_t *ret_n) {
    struct rep_store_memory *m = ctx;
    const struct table *t = &m->tables[WHY];
    struct rep_why *all = t->n ? malloc(t->n * sizeof *all) : NULL;
    if (t->n && !all)
        return CV_ERR_NOMEM;
    for (size_t i = 0; i < t->n; i++)
        all[i] = ((const struct why_row *)row_at(t, t->n - 1 - i))->w;
    *ret = all;
    *ret_n = t->n;
    return CV_ERR_OK;
}

/* ---- the store ---- */

struct rep_store_memory *rep_store_memory_new(void) {
    struct rep_store_memory *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    memcpy(m->tables, shapes, sizeof shapes);
    m->ops = REP_STORE_OF(m);
    return m;
}

struct rep_store_memory *rep_store_memory_free(struct rep_store_memory *m) {
    if (!m)
        return NULL;
    rollback(m);
    for (int i = 0; i < TABLES; i++)
        free(m->tables[i].rows);
    free(m);
    return NULL;
}

const struct rep_store *rep_store_memory_ops(struct rep_store_memory *m) {
    return &m->ops;
}

void rep_store_memory_pruned_all(struct rep_store_memory *m, uint32_t before) {
    m->pruned_all = before;
}

void rep_store_memory_fail(struct rep_store_memory *m, unsigned n, enum cv_err err) {
    m->fail_in = n;
    m->fail_with = err;
}
