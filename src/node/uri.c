#include "node/uri.h"

#include <string.h>

#include "base/cursor.h"
#include "base/text.h"
#include "crypto/hash.h"

enum { VERSION = 1, CHECK_OCTETS = 5, HEAD_OCTETS = 17 };

static const char scheme[] = "culvert:?";

static void put(struct cv_wr *w, const char *text) {
    cv_wr_bytes(w, text, strlen(text));
}

static void put_u64(struct cv_wr *w, uint64_t v) {
    char digits[20];
    size_t n = 0;
    do
        digits[sizeof digits - ++n] = (char)('0' + v % 10);
    while (v /= 10);
    cv_wr_bytes(w, digits + sizeof digits - n, n);
}

static bool plain(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

static void put_escaped(struct cv_wr *w, const char *text) {
    static const char hex[] = "0123456789ABCDEF";
    for (const uint8_t *p = (const uint8_t *)text; *p; p++) {
        if (plain(*p)) {
            cv_wr_u8(w, *p);
        } else {
            cv_wr_u8(w, '%');
            cv_wr_u8(w, (uint8_t)hex[*p >> 4]);
            cv_wr_u8(w, (uint8_t)hex[*p & 15]);
        }
    }
}

static void check_of(const char *text, size_t len, char out[CV_BASE32_LEN(CHECK_OCTETS) + 1]) {
    uint8_t sum[CHECK_OCTETS];
    uint8_t hash[32];
    CV_BLAKE2B(hash, sizeof hash, NULL, 0, {text, len});
    memcpy(sum, hash, sizeof sum);
    cv_base32(sum, sizeof sum, out);
}

ssize_t node_uri_write(const struct node_uri *uri, char *out, size_t cap) {
    uint8_t x[HEAD_OCTETS + NODE_URI_SWARM_ID_MAX];
    char text[CV_BASE32_LEN(sizeof x) + 1];
    struct cv_wr head = cv_wr_init(x, sizeof x);
    cv_wr_u8(&head, VERSION);
    cv_wr_u8(&head, uri->kind);
    cv_wr_bytes(&head, uri->network_id, sizeof uri->network_id);
    cv_wr_u8(&head, uri->integrity);
    cv_wr_u8(&head, uri->hash);
    cv_wr_u8(&head, uri->addressing);
    cv_wr_be32(&head, uri->chunk_size);
    cv_wr_bytes(&head, uri->swarm_id, uri->swarm_id_len);

    struct cv_wr w = cv_wr_init(out, cap);
    put(&w, scheme);
    put(&w, "x=");
    put(&w, cv_base32(x, cv_wr_len(&head), text));
    put(&w, "&n=");
    put_escaped(&w, uri->name);
    put(&w, "&l=");
    put_u64(&w, uri->length);
    if (uri->folder)
        put(&w, "&f=1");
    if (uri->direct)
        put(&w, "&d=1");
    if (uri->has_secret) {
        put(&w, "&k=");
        put(&w, cv_base32(uri->secret, sizeof uri->secret, text));
    }
    if (uri->authority_len) {
        put(&w, "&a=");
        put(&w, cv_base32(uri->authority, uri->authority_len, text));
    }
    for (size_t i = 0; i < uri->contacts_count; i++) {
        char addr[CV_ADDR_TEXT];
        put(&w, "&b=");
        put(&w, cv_addr_text(&uri->contacts[i], addr));
    }
    if (w.err)
        return w.err;
    check_of(out, cv_wr_len(&w), text);
    put(&w, "&c=");
    put(&w, text);
    cv_wr_u8(&w, 0);
    return w.err ? (ssize_t)w.err : (ssize_t)cv_wr_len(&w) - 1;
}

/* ---- names ---- */

/* Octets of the printable UTF-8 character at p, 0 when there is none. */
static size_t printable(const uint8_t *p, size_t n) {
    if (p[0] < 0x80)
        return p[0] >= 0x20 && p[0] != 0x7f;
    size_t len = p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    if (len == 0 || len > n)
        return 0;
    uint32_t v = p[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (p[i] & 0x3fu);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    /* Controls, surrogates, and what turns the direction of writing: an ending
     * shall be where it is seen. */
    if (v < least[len] || v > 0x10ffff || v < 0xa0 || (v >= 0xd800 && v < 0xe000) ||
        (v >= 0x200e && v <= 0x200f) || (v >= 0x2028 && v <= 0x202e) ||
        (v >= 0x2066 && v <= 0x2069))
        return 0;
    return len;
}

void node_uri_name(struct node_uri *uri, const char *text, size_t len) {
    const uint8_t *p = (const uint8_t *)text;
    size_t out = 0, step;
    for (size_t i = 0; i < len; i += step) {
        size_t good = printable(p + i, len - i);
        step = good ? good : 1;
        if (out + step > NODE_URI_NAME_MAX)
            break;
        if (good)
            memcpy(uri->name + out, p + i, step);
        else
            uri->name[out] = '_';
        out += step;
    }
    uri->name[out] = 0;
}

/* ---- reading ---- */

static int digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool read_name(const char *p, size_t n, struct node_uri *uri) {
    char out[NODE_URI_NAME_MAX];
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        int c = (uint8_t)p[i];
        if (c == '%') {
            if (n - i < 3 || digit(p[i + 1]) < 0 || digit(p[i + 2]) < 0)
                return false;
            c = digit(p[i + 1]) * 16 + digit(p[i + 2]);
            i += 2;
        }
        if (c == 0 || len == NODE_URI_NAME_MAX)
            return false;
        out[len++] = (char)c;
    }
    node_uri_name(uri, out, len);
    return true;
}

static bool read_u64(const char *p, size_t n, uint64_t *ret) {
    uint64_t v = 0;
    if (n == 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9' || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(p[i] - '0'), &v))
            return false;
    }
    *ret = v;
    return true;
}

static enum cv_err read_x(const char *p, size_t n, struct node_uri *uri) {
    uint8_t x[HEAD_OCTETS + NODE_URI_SWARM_ID_MAX];
    ssize_t len = cv_unbase32(p, n, x, sizeof x);
    if (len < 0)
        return CV_ERR_MALFORMED;
    struct cv_rd r = cv_rd_init(x, (size_t)len);
    if (cv_rd_u8(&r) != VERSION && !r.err)
        return CV_ERR_VERSION;
    uri->kind = cv_rd_u8(&r);
    cv_rd_copy(&r, uri->network_id, sizeof uri->network_id);
    uri->integrity = cv_rd_u8(&r);
    uri->hash = cv_rd_u8(&r);
    uri->addressing = cv_rd_u8(&r);
    uri->chunk_size = cv_rd_be32(&r);
    uri->swarm_id_len = cv_rd_left(&r);
    if (r.err || uri->swarm_id_len == 0 || uri->kind > NODE_URI_LIVE || uri->chunk_size == 0)
        return CV_ERR_MALFORMED;
    cv_rd_copy(&r, uri->swarm_id, uri->swarm_id_len);
    return CV_ERR_OK;
}

static bool read_authority(const char *p, size_t n, struct node_uri *uri) {
    ssize_t len = cv_unbase32(p, n, uri->authority, sizeof uri->authority);
    uri->authority_len = len > 0 ? (size_t)len : 0;
    return len > 0;
}

static bool read_contact(const char *p, size_t n, struct node_uri *uri) {
    char text[CV_ADDR_TEXT];
    if (n >= sizeof text || uri->contacts_count == NODE_URI_CONTACTS_MAX)
        return false;
    memcpy(text, p, n);
    text[n] = 0;
    return cv_addr_parse(text, &uri->contacts[uri->contacts_count++]) == CV_ERR_OK;
}

/* One parameter; a static sentence when it is bad. */
static const char *read_param(char key, const char *p, size_t n, struct node_uri *uri,
                              unsigned *seen, enum cv_err *err) {
    unsigned bit = key >= 'a' && key <= 'z' ? 1u << (key - 'a') : 0; /* others are for later */
    if (key != 'b' && (*seen & bit))
        return "a parameter appears twice";
    *seen |= bit;
    switch (key) {
    case 'x':
        *err = read_x(p, n, uri);
        if (*err == CV_ERR_VERSION)
            return "made by a newer version of culvert";
        return *err ? "the swarm description (x=) is damaged" : NULL;
    case 'n':
        return read_name(p, n, uri) ? NULL : "the name (n=) is damaged";
    case 'l':
        return read_u64(p, n, &uri->length) ? NULL : "the length (l=) is not a number";
    case 'f':
        uri->folder = n == 1 && *p == '1';
        return NULL;
    case 'd':
        uri->direct = n == 1 && *p == '1';
        return NULL;
    case 'k':
        uri->has_secret = cv_unbase32(p, n, uri->secret, sizeof uri->secret) == 32;
        return uri->has_secret ? NULL : "the secret (k=) is damaged";
    case 'a':
        return read_authority(p, n, uri) ? NULL : "the authority (a=) is damaged";
    case 'b':
        return read_contact(p, n, uri) ? NULL : "a contact (b=) is not IP:PORT";
    default:
        return NULL;
    }
}

static enum cv_err read_params(const char *p, const char *end, struct node_uri *uri,
                               const char **why) {
    unsigned seen = 0;
    while (p < end) {
        size_t n = strcspn(p, "&");
        if (n > (size_t)(end - p))
            n = (size_t)(end - p);
        if (n >= 2 && p[1] == '=') {
            enum cv_err err = CV_ERR_MALFORMED;
            *why = read_param(p[0], p + 2, n - 2, uri, &seen, &err);
            if (*why)
                return err ? err : CV_ERR_MALFORMED;
        }
        p += n + (p + n < end);
    }
    if (!(seen & 1u << ('x' - 'a')) || !(seen & 1u << ('l' - 'a'))) {
        *why = "the swarm description (x=) or the length (l=) is missing";
        return CV_ERR_MALFORMED;
    }
    return CV_ERR_OK;
}

enum cv_err node_uri_read(const char *text, struct node_uri *ret, const char **ret_why) {
    const char *ignored = NULL;
    const char **why = ret_why ? ret_why : &ignored;
    size_t len = strnlen(text, NODE_URI_MAX + 1);
    if (len > NODE_URI_MAX) {
        *why = "longer than any culvert: link";
        return CV_ERR_MALFORMED;
    }
    if (strncmp(text, scheme, sizeof scheme - 1) != 0) {
        *why = "does not begin with culvert:?";
        return CV_ERR_MALFORMED;
    }
    const char *c = NULL;
    for (const char *at = strstr(text, "&c="); at; at = strstr(at + 1, "&c="))
        c = at;
    if (!c || strlen(c) != 3 + CV_BASE32_LEN(CHECK_OCTETS)) {
        *why = "cut short: its end is missing";
        return CV_ERR_TRUNCATED;
    }
    char check[CV_BASE32_LEN(CHECK_OCTETS) + 1];
    check_of(text, (size_t)(c - text), check);
    if (strcmp(check, c + 3) != 0) {
        *why = "altered or incomplete: its check does not match";
        return CV_ERR_MALFORMED;
    }
    struct node_uri uri = {.kind = 0};
    enum cv_err err = read_params(text + sizeof scheme - 1, c, &uri, why);
    if (err)
        return err;
    *ret = uri;
    return CV_ERR_OK;
}
