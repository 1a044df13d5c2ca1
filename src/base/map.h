/*
 * Keyed hash map from fixed-length keys to pointers. Peers choose the keys, so
 * the creator passes a keyed hash (crypto/siphash.h); there is no default. The
 * map owns its nodes and copies of the keys, never the values.
 */
#ifndef CULVERT_BASE_MAP_H
#define CULVERT_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct cv_map;

/* Keyed hash; must not be predictable for whoever chooses keys. */
typedef uint64_t cv_map_hash_fn(const void *ctx, const void *key, size_t len);

/* `key_len` 1..255; `max` entries, put beyond it is CV_ERR_LIMIT. Borrows
 * `hash_ctx`. NULL only when out of memory. */
struct cv_map *cv_map_new(size_t key_len, size_t max, cv_map_hash_fn *hash, const void *hash_ctx);

/* NULL is allowed; always returns NULL. Values are not touched. */
struct cv_map *cv_map_free(struct cv_map *m);

/* Value, or NULL. */
void *cv_map_get(const struct cv_map *m, const void *key);

/* `value` must not be NULL. CV_ERR_EXIST when the key is there already (nothing
 * changes), CV_ERR_LIMIT, CV_ERR_NOMEM. */
enum cv_err cv_map_put(struct cv_map *m, const void *key, void *value);

/* Removes and returns the value, or NULL. */
void *cv_map_del(struct cv_map *m, const void *key);

size_t cv_map_count(const struct cv_map *m);

/*
 * Visits entries in insertion order (so that runs replay). *cursor is NULL to
 * begin; NULL is returned at the end. The entry just returned may be deleted;
 * no other change is allowed during a walk.
 */
void *cv_map_next(const struct cv_map *m, void **cursor, const void **ret_key);

#endif
