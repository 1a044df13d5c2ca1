#include "dht/bencode.h"

#include <string.h>

#include "dht/limits.h"

/* --- checking ----------------------------------------------------------- */

/* Reads the digits of a length or integer up to `stop`. Canonical: "0" or no
 * leading zero. */
static enum cv_err digits(struct cv_rd *r, uint8_t stop, uint64_t max, uint64_t *ret) {
    uint64_t v = 0;
    for (size_t n = 0;; n++) {
        const uint8_t *c = cv_rd_bytes(r, 1);
        if (!c)
            return CV_ERR_TRUNCATED;
        if (*c == stop) {
            if (n == 0)
                return CV_ERR_MALFORMED;
            *ret = v;
            return CV_ERR_OK;
        }
        if (*c < '0' || *c > '9' || (n == 1 && v == 0))
            return CV_ERR_MALFORMED;
        uint64_t digit = (uint64_t)(*c - '0');
        if (v > (max - digit) / 10)
            return CV_ERR_MALFORMED;
        v = v * 10 + digit;
    }
}

static enum cv_err read_int(struct cv_rd *r, int64_t *ret) {
    cv_rd_bytes(r, 1); /* 'i', seen by the caller */
    bool negative = cv_rd_left(r) && *r->p == '-';
    if (negative)
        cv_rd_bytes(r, 1);
    uint64_t v = 0;
    enum cv_err err = digits(r, 'e', (uint64_t)INT64_MAX + negative, &v);
    if (err)
        return err;
    if (negative && v == 0)
        return CV_ERR_MALFORMED;
    *ret = negative ? (int64_t)(0 - v) : (int64_t)v;
    return CV_ERR_OK;
}

static enum cv_err read_string(struct cv_rd *r, struct dht_span *ret) {
    uint64_t n = 0;
    enum cv_err err = digits(r, ':', UINT32_MAX, &n);
    if (err)
        return err;
    const uint8_t *p = cv_rd_bytes(r, (size_t)n);
    if (!p)
        return CV_ERR_TRUNCATED;
    *ret = (struct dht_span){p, (size_t)n};
    return CV_ERR_OK;
}

static int span_compare(struct dht_span a, struct dht_span b) {
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

/* One open list or dictionary. */
struct level {
    bool dict, want_value; /* a key was read, its value is due */
    struct dht_span key;   /* last key, p == NULL before the first */
};

static bool is_digit(uint8_t c) {
    return c >= '0' && c <= '9';
}

/* A dictionary key where one is due. */
static enum cv_err read_key(struct cv_rd *r, struct level *at, bool *canonical) {
    struct dht_span key;
    enum cv_err err = is_digit(*r->p) ? read_string(r, &key) : CV_ERR_MALFORMED;
    if (err)
        return err;
    if (at->key.p && span_compare(at->key, key) >= 0)
        *canonical = false;
    at->key = key;
    at->want_value = true;
    return CV_ERR_OK;
}

/* One token; *depth counts the open levels after it. */
static enum cv_err step(struct cv_rd *r, struct level *open, size_t *depth, bool *canonical) {
    struct level *at = *depth ? &open[*depth - 1] : NULL;
    if (cv_rd_left(r) == 0)
        return CV_ERR_TRUNCATED;

    if (*r->p == 'e') {
        if (!at || at->want_value)
            return CV_ERR_MALFORMED;
        cv_rd_bytes(r, 1);
        (*depth)--;
        return CV_ERR_OK;
    }
    if (at && at->dict && !at->want_value)
        return read_key(r, at, canonical);
    if (at)
        at->want_value = false;

    struct dht_span s;
    int64_t i;
    switch (*r->p) {
    case 'i':
        return read_int(r, &i);
    case 'l':
    case 'd':
        if (*depth == DHT_BEN_DEPTH_MAX)
            return CV_ERR_LIMIT;
        open[(*depth)++] = (struct level){.dict = *r->p == 'd'};
        cv_rd_bytes(r, 1);
        return CV_ERR_OK;
    default:
        return is_digit(*r->p) ? read_string(r, &s) : CV_ERR_MALFORMED;
    }
}

ssize_t dht_ben_check(const uint8_t *buf, size_t len, bool *ret_canonical) {
    struct cv_rd r = cv_rd_init(buf, len);
    struct level open[DHT_BEN_DEPTH_MAX];
    size_t depth = 0;
    bool canonical = true;
    do {
        enum cv_err err = step(&r, open, &depth, &canonical);
        if (err)
            return err;
    } while (depth > 0);
    *ret_canonical = canonical;
    return r.p - buf;
}

/* --- walking ------------------------------------------------------------ */

char dht_ben_type(struct dht_span value) {
    if (value.n == 0)
        return 0;
    return is_digit(value.p[0]) ? 's' : (char)value.p[0];
}

bool dht_ben_string(struct dht_span value, struct dht_span *ret) {
    struct cv_rd r = cv_rd_init(value.p, value.n);
    return dht_ben_type(value) == 's' && read_string(&r, ret) == CV_ERR_OK;
}

bool dht_ben_int(struct dht_span value, int64_t *ret) {
    struct cv_rd r = cv_rd_init(value.p, value.n);
    return dht_ben_type(value) == 'i' && read_int(&r, ret) == CV_ERR_OK;
}

static struct dht_ben_iter open_as(struct dht_span value, char type) {
    if (value.n < 2 || dht_ben_type(value) != type)
        return (struct dht_ben_iter){.rest = {NULL, 0}};
    return (struct dht_ben_iter){.rest = {value.p + 1, value.n - 2}};
}

struct dht_ben_iter dht_ben_list(struct dht_span value) {
    return open_as(value, 'l');
}

struct dht_ben_iter dht_ben_dict(struct dht_span value) {
    return open_as(value, 'd');
}

/* Length of the value at the start, already known to be well-formed: counts
 * opening and closing only. */
static ssize_t skip(struct dht_span s) {
    struct cv_rd r = cv_rd_init(s.p, s.n);
    size_t depth = 0;
    do {
        struct dht_span str;
        int64_t i;
        enum cv_err err = CV_ERR_OK;
        if (cv_rd_left(&r) == 0)
            return CV_ERR_TRUNCATED;
        switch (*r.p) {
        case 'i':
            err = read_int(&r, &i);
            break;
        case 'l':
        case 'd':
            depth++;
            cv_rd_bytes(&r, 1);
            break;
        case 'e':
            if (depth == 0)
                return CV_ERR_MALFORMED;
            depth--;
            cv_rd_bytes(&r, 1);
            break;
        default:
            err = read_string(&r, &str);
        }
        if (err)
            return err;
    } while (depth > 0);
    return r.p - s.p;
}

bool dht_ben_next(struct dht_ben_iter *it, struct dht_span *ret) {
    ssize_t n = it->rest.n ? skip(it->rest) : CV_ERR_NOENT;
    if (n < 0)
        return false;
    *ret = (struct dht_span){it->rest.p, (size_t)n};
    it->rest.p += n;
    it->rest.n -= (size_t)n;
    return true;
}

bool dht_ben_next_pair(struct dht_ben_iter *it, struct dht_span *ret_key,
                       struct dht_span *ret_value) {
    struct dht_span raw, key;
    if (!dht_ben_next(it, &raw) || !dht_ben_string(raw, &key) || !dht_ben_next(it, ret_value))
        return false;
    *ret_key = key;
    return true;
}

/* --- writing ------------------------------------------------------------ */

static void write_digits(struct cv_wr *w, uint64_t v) {
    uint8_t text[20];
    size_t n = 0;
    do {
        text[sizeof text - ++n] = (uint8_t)('0' + v % 10);
        v /= 10;
    } while (v);
    cv_wr_bytes(w, text + sizeof text - n, n);
}

void dht_ben_write_string(struct cv_wr *w, const void *data, size_t len) {
    write_digits(w, len);
    cv_wr_u8(w, ':');
    cv_wr_bytes(w, data, len);
}

void dht_ben_write_text(struct cv_wr *w, const char *text) {
    dht_ben_write_string(w, text, strlen(text));
}

void dht_ben_write_int(struct cv_wr *w, int64_t v) {
    cv_wr_u8(w, 'i');
    if (v < 0)
        cv_wr_u8(w, '-');
    write_digits(w, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
    cv_wr_u8(w, 'e');
}
