/*
 * Bencoding. Property: no octet outside the input is read; what is accepted as
 * canonical is walked to its last octet, and written again from what the walk
 * found it is the same, octet for octet.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "dht/bencode.h"
#include "dht/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Copies one value through the readers and writers. The depth is limited by
 * the check, hence recursion is no danger here. */
static void copy(struct cv_wr *w, struct dht_span value) {
    struct dht_span s, key;
    int64_t i;
    struct dht_ben_iter it;
    switch (dht_ben_type(value)) {
    case 's':
        assert(dht_ben_string(value, &s));
        dht_ben_write_string(w, s.p, s.n);
        return;
    case 'i':
        assert(dht_ben_int(value, &i));
        dht_ben_write_int(w, i);
        return;
    case 'l':
        cv_wr_u8(w, 'l');
        for (it = dht_ben_list(value); dht_ben_next(&it, &s);)
            copy(w, s);
        cv_wr_u8(w, 'e');
        return;
    case 'd':
        cv_wr_u8(w, 'd');
        for (it = dht_ben_dict(value); dht_ben_next_pair(&it, &key, &s);) {
            dht_ben_write_string(w, key.p, key.n);
            copy(w, s);
        }
        cv_wr_u8(w, 'e');
        return;
    default:
        assert(0 && "checked, but of no type");
    }
}

/* Any octets at all, walked without a check: safe, whatever comes out. */
static void walk_unchecked(struct dht_span all) {
    struct dht_ben_iter lists = dht_ben_list(all), dicts = dht_ben_dict(all);
    struct dht_span key, value;
    int64_t i;
    size_t seen = 0;
    while (dht_ben_next(&lists, &value))
        seen += value.n;
    while (dht_ben_next_pair(&dicts, &key, &value))
        seen += value.n;
    assert(seen <= all.n);
    (void)dht_ben_string(all, &value);
    (void)dht_ben_int(all, &i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t again[65536];
    bool canonical = false;
    if (size > sizeof again)
        return 0;
    walk_unchecked((struct dht_span){data, size});
    ssize_t n = dht_ben_check(data, size, &canonical);
    if (n < 0)
        return 0;
    assert((size_t)n <= size);
    struct cv_wr w = cv_wr_init(again, sizeof again);
    copy(&w, (struct dht_span){data, (size_t)n});
    assert(cv_wr_done(&w) == n);
    assert(memcmp(again, data, (size_t)n) == 0);
    return 0;
}
