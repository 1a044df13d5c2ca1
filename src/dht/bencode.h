/*
 * Bencoding (BEP 3), read strictly: canonical form only (no leading zeros, no
 * "-0", dictionary keys sorted and unique), integers within 64 bits, depth
 * limited, no recursion. Values are borrowed spans of the datagram; nothing is
 * copied or allocated. Check a buffer once with dht_ben_check(), then walk it.
 */
#ifndef CULVERT_DHT_BENCODE_H
#define CULVERT_DHT_BENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cursor.h"
#include "base/err.h"

/* Octets borrowed from a datagram; p == NULL: absent. */
struct dht_span {
    const uint8_t *p;
    size_t n;
};

/* Length of the one value at the start of `buf`. CV_ERR_TRUNCATED (ends
 * inside), CV_ERR_MALFORMED, CV_ERR_LIMIT (too deep). *ret_canonical tells
 * whether all keys are sorted and unique: a message where they are not can
 * still be refused with an error that carries its transaction id. */
ssize_t dht_ben_check(const uint8_t *buf, size_t len, bool *ret_canonical);

/*
 * The rest takes spans that dht_ben_check() accepted, whole or as walked to
 * from there; it is memory-safe for others, too, but finds nothing sensible.
 */

/* 'i', 's' (string), 'l', 'd', or 0 for an empty span. */
char dht_ben_type(struct dht_span value);

/* Octets of a string / value of an integer; false when it is something else. */
bool dht_ben_string(struct dht_span value, struct dht_span *ret);
bool dht_ben_int(struct dht_span value, int64_t *ret);

/* Walks a list or dictionary. */
struct dht_ben_iter {
    struct dht_span rest;
};

/* An iterator over nothing when `value` is not of that type. */
struct dht_ben_iter dht_ben_list(struct dht_span value);
struct dht_ben_iter dht_ben_dict(struct dht_span value);

/* Next element; false at the end. */
bool dht_ben_next(struct dht_ben_iter *it, struct dht_span *ret);
/* Next key (its octets) and value (raw); false at the end. */
bool dht_ben_next_pair(struct dht_ben_iter *it, struct dht_span *ret_key,
                       struct dht_span *ret_value);

/* Writers. Order of keys is the caller's duty. Errors stick to the cursor. */
void dht_ben_write_string(struct cv_wr *w, const void *data, size_t len);
void dht_ben_write_text(struct cv_wr *w, const char *text);
void dht_ben_write_int(struct cv_wr *w, int64_t v);
static inline void dht_ben_write_raw(struct cv_wr *w, const char *text) {
    cv_wr_bytes(w, text, strlen(text));
}

#endif
