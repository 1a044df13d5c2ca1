#include "base/map.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* uthash by itself hashes without a key (whoever chooses keys can make chains)
 * and exits when memory is short; both are replaced here, and nobody else
 * includes it. */
#define HASH_NONFATAL_OOM         1
#define uthash_nonfatal_oom(elt)  (out_of_memory = true)
#define HASH_FUNCTION(k, l, hash) ((hash) = 0) /* never used: we give hash values */
#include <uthash.h>

struct entry {
    UT_hash_handle hh;
    void *value;
    uint8_t key[];
};

struct cv_map {
    struct entry *head;
    size_t key_len, count, max;
    cv_map_hash_fn *hash;
    const void *hash_ctx;
};

struct cv_map *cv_map_new(size_t key_len, size_t max, cv_map_hash_fn *hash, const void *hash_ctx) {
    assert(key_len >= 1 && key_len <= 255 && hash);
    struct cv_map *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->key_len = key_len;
    m->max = max;
    m->hash = hash;
    m->hash_ctx = hash_ctx;
    return m;
}

static unsigned hash_of(const struct cv_map *m, const void *key) {
    return (unsigned)m->hash(m->hash_ctx, key, m->key_len);
}

static struct entry *find(const struct cv_map *m, const void *key, unsigned hash) {
    struct entry *e = NULL;
    HASH_FIND_BYHASHVALUE(hh, m->head, key, m->key_len, hash, e);
    return e;
}

static void drop(struct cv_map *m, struct entry *e) {
    HASH_DEL(m->head, e);
    free(e);
    m->count--;
}

struct cv_map *cv_map_free(struct cv_map *m) {
    if (!m)
        return NULL;
    while (m->head)
        drop(m, m->head);
    free(m);
    return NULL;
}

void *cv_map_get(const struct cv_map *m, const void *key) {
    struct entry *e = find(m, key, hash_of(m, key));
    return e ? e->value : NULL;
}

enum cv_err cv_map_put(struct cv_map *m, const void *key, void *value) {
    assert(value);
    unsigned hash = hash_of(m, key);
    if (find(m, key, hash))
        return CV_ERR_EXIST;
    if (m->count >= m->max)
        return CV_ERR_LIMIT;
    struct entry *e = malloc(sizeof *e + m->key_len);
    if (!e)
        return CV_ERR_NOMEM;
    memcpy(e->key, key, m->key_len);
    e->value = value;

    bool out_of_memory = false;
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, m->head, e->key, m->key_len, hash, e);
    if (out_of_memory) {
        free(e);
        return CV_ERR_NOMEM;
    }
    m->count++;
    return CV_ERR_OK;
}

void *cv_map_del(struct cv_map *m, const void *key) {
    struct entry *e = find(m, key, hash_of(m, key));
    if (!e)
        return NULL;
    void *value = e->value;
    drop(m, e);
    return value;
}

size_t cv_map_count(const struct cv_map *m) {
    return m->count;
}

void *cv_map_next(const struct cv_map *m, void **cursor, const void **ret_key) {
    /* The cursor is the entry to come, so that the one just returned may go;
     * `at_end` (NULL would begin anew) marks the end. */
    static char at_end;
    if (*cursor == &at_end)
        return NULL;
    struct entry *e = *cursor ? *cursor : m->head;
    if (!e)
        return NULL;
    *cursor = e->hh.next ? e->hh.next : &at_end;
    if (ret_key)
        *ret_key = e->key;
    return e->value;
}
