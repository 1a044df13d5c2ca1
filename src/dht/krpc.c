#include "dht/krpc.h"

#include <stddef.h>
#include <string.h>

#include "dht/limits.h"

/* --- the fields of "a" and "r", in canonical order ---------------------- */

enum field_type { FIELD_STRING, FIELD_INT, FIELD_RAW };

struct field {
    const char *key;
    enum field_type type;
    size_t offset;
    size_t exact; /* length of a string, 0 = any */
    const char *fault;
};

/* clang-format off */
#define STRING(key, member, len) { key, FIELD_STRING, offsetof(struct dht_msg, member), len, "bad " key }
#define INT(key, member)         { key, FIELD_INT, offsetof(struct dht_msg, member), 0, "bad " key }
#define RAW(key, member)         { key, FIELD_RAW, offsetof(struct dht_msg, member), 0, "bad " key }

static const struct field fields[] = {
    STRING("BFpe", filter_peers, 256),
    STRING("BFsd", filter_seeds, 256),
    INT("cas", cas),
    STRING("id", id, DHT_ID),
    INT("implied_port", implied_port),
    STRING("info_hash", info_hash, DHT_ID),
    INT("interval", interval),
    STRING("k", k, 32),
    STRING("nodes", nodes, 0),
    STRING("nodes6", nodes6, 0),
    INT("noseed", noseed),
    INT("num", num),
    INT("port", port),
    STRING("salt", salt, 0),
    STRING("samples", samples, 0),
    INT("scrape", scrape),
    INT("seed", seed),
    INT("seq", seq),
    STRING("sig", sig, 64),
    STRING("target", target, DHT_ID),
    STRING("token", token, 0),
    RAW("v", value),
    RAW("values", values),
    RAW("want", want),
};

static const struct {
    const char *name;
    enum dht_method method;
} methods[] = {
    { "ping",              DHT_METHOD_PING },
    { "find_node",         DHT_METHOD_FIND_NODE },
    { "get_peers",         DHT_METHOD_GET_PEERS },
    { "announce_peer",     DHT_METHOD_ANNOUNCE },
    { "get",               DHT_METHOD_GET },
    { "put",               DHT_METHOD_PUT },
    { "sample_infohashes", DHT_METHOD_SAMPLE },
};
/* clang-format on */

#define COUNT(a) (sizeof(a) / sizeof *(a))

static bool is(struct dht_span s, const char *text) {
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

/* --- reading ------------------------------------------------------------ */

static bool read_field(const struct field *f, struct dht_span raw, struct dht_msg *m) {
    void *at = (uint8_t *)m + f->offset;
    struct dht_span s;
    int64_t v;
    switch (f->type) {
    case FIELD_STRING:
        if (!dht_ben_string(raw, &s) || (f->exact && s.n != f->exact))
            return false;
        memcpy(at, &s, sizeof s);
        return true;
    case FIELD_INT:
        if (!dht_ben_int(raw, &v))
            return false;
        memcpy(at, &(struct dht_int){.v = v, .has = true}, sizeof(struct dht_int));
        return true;
    case FIELD_RAW:
        memcpy(at, &raw, sizeof raw);
        return true;
    }
    return false;
}

/* Both the dictionary and the table are sorted: one pass over each. */
static void read_fields(struct dht_span dict, struct dht_msg *m) {
    struct dht_ben_iter it = dht_ben_dict(dict);
    struct dht_span key, raw;
    size_t i = 0;
    while (i < COUNT(fields) && dht_ben_next_pair(&it, &key, &raw)) {
        int c = -1;
        for (; i < COUNT(fields); i++) {
            size_t n = strlen(fields[i].key), least = n < key.n ? n : key.n;
            c = least ? memcmp(fields[i].key, key.p, least) : 0;
            c = c ? c : (n > key.n) - (n < key.n);
            if (c >= 0)
                break;
        }
        if (c != 0)
            continue;
        if (!read_field(&fields[i], raw, m) && !m->fault)
            m->fault = fields[i].fault;
        i++;
    }
}

static void read_error(struct dht_span raw, struct dht_msg *m) {
    struct dht_ben_iter it = dht_ben_list(raw);
    struct dht_span code, text;
    if (!dht_ben_next(&it, &code) || !dht_ben_int(code, &m->code)) {
        m->fault = "bad e";
        return;
    }
    if (dht_ben_next(&it, &text))
        (void)dht_ben_string(text, &m->text);
}

static enum dht_method method_of(struct dht_span name) {
    for (size_t i = 0; i < COUNT(methods); i++)
        if (is(name, methods[i].name))
            return methods[i].method;
    return DHT_METHOD_UNKNOWN;
}

/* The raw values of the outer dictionary. */
struct envelope {
    struct dht_span a, e, ip, q, r, ro, t, v, y;
};

static struct envelope read_envelope(struct dht_span dict) {
    struct envelope env = {0};
    struct {
        const char *key;
        struct dht_span *to;
    } slots[] = {{"a", &env.a},   {"e", &env.e}, {"ip", &env.ip}, {"q", &env.q}, {"r", &env.r},
                 {"ro", &env.ro}, {"t", &env.t}, {"v", &env.v},   {"y", &env.y}};
    struct dht_ben_iter it = dht_ben_dict(dict);
    struct dht_span key, raw;
    while (dht_ben_next_pair(&it, &key, &raw))
        for (size_t i = 0; i < COUNT(slots); i++)
            if (is(key, slots[i].key))
                *slots[i].to = raw;
    return env;
}

static void read_query(const struct envelope *env, struct dht_msg *m) {
    int64_t ro;
    m->read_only = dht_ben_int(env->ro, &ro) && ro == 1;
    if (!dht_ben_string(env->q, &m->method_name))
        m->fault = "bad q";
    else
        m->method = method_of(m->method_name);
    if (dht_ben_type(env->a) != 'd')
        m->fault = "bad a";
    read_fields(env->a, m);
    if (!m->fault && !m->id.p)
        m->fault = "no id";
}

static void read_answer(const struct envelope *env, struct dht_msg *m) {
    if (dht_ben_type(env->r) != 'd')
        m->fault = "bad r";
    read_fields(env->r, m);
    if (!m->fault && !m->id.p)
        m->fault = "no id";
}

enum cv_err dht_msg_read(const uint8_t *buf, size_t len, struct dht_msg *ret) {
    if (len == 0 || buf[0] != 'd')
        return CV_ERR_MALFORMED;
    bool canonical;
    ssize_t n = dht_ben_check(buf, len, &canonical);
    if (n < 0)
        return (enum cv_err)n;
    if ((size_t)n != len)
        return CV_ERR_MALFORMED;

    struct envelope env = read_envelope((struct dht_span){buf, len});
    struct dht_msg m = {.fault = canonical ? NULL : "keys not sorted"};
    struct dht_span y;
    if (!dht_ben_string(env.t, &m.t) || m.t.n == 0 || m.t.n > DHT_TID_MAX)
        return CV_ERR_MALFORMED;
    if (!dht_ben_string(env.y, &y) || y.n != 1)
        return CV_ERR_MALFORMED;
    (void)dht_ben_string(env.v, &m.client);
    (void)dht_ben_string(env.ip, &m.ip);

    switch (y.p[0]) {
    case 'q':
        m.kind = DHT_QUERY;
        read_query(&env, &m);
        break;
    case 'r':
        m.kind = DHT_ANSWER;
        read_answer(&env, &m);
        break;
    case 'e':
        m.kind = DHT_ERROR;
        read_error(env.e, &m);
        break;
    default:
        return CV_ERR_MALFORMED;
    }
    *ret = m;
    return CV_ERR_OK;
}

unsigned dht_msg_wants(const struct dht_msg *m, uint8_t family) {
    if (!m->want.p)
        return family == 4 ? DHT_WANT_N4 : DHT_WANT_N6;
    unsigned wants = 0;
    struct dht_ben_iter it = dht_ben_list(m->want);
    struct dht_span raw, s;
    while (dht_ben_next(&it, &raw)) {
        if (!dht_ben_string(raw, &s))
            continue;
        if (is(s, "n4"))
            wants |= DHT_WANT_N4;
        if (is(s, "n6"))
            wants |= DHT_WANT_N6;
    }
    return wants;
}

bool dht_compact_read(struct dht_span s, struct cv_addr *ret) {
    if (s.n != 6 && s.n != 18)
        return false;
    struct cv_addr addr;
    memset(&addr, 0, sizeof addr);
    addr.family = s.n == 6 ? 4 : 6;
    memcpy(addr.ip, s.p, s.n - 2);
    addr.port = (uint16_t)(s.p[s.n - 2] << 8 | s.p[s.n - 1]);
    *ret = addr;
    return true;
}

/* --- writing ------------------------------------------------------------ */

void dht_compact_write(struct cv_wr *w, const struct cv_addr *addr) {
    cv_wr_bytes(w, addr->ip, dht_compact_len(addr->family) - 2);
    cv_wr_be16(w, addr->port);
}

static void write_fields(struct cv_wr *w, const struct dht_msg *m) {
    cv_wr_u8(w, 'd');
    for (size_t i = 0; i < COUNT(fields); i++) {
        const struct field *f = &fields[i];
        const void *at = (const uint8_t *)m + f->offset;
        struct dht_span s;
        struct dht_int v;
        if (f->type == FIELD_INT) {
            memcpy(&v, at, sizeof v);
            if (!v.has)
                continue;
            dht_ben_write_text(w, f->key);
            dht_ben_write_int(w, v.v);
            continue;
        }
        memcpy(&s, at, sizeof s);
        if (!s.p)
            continue;
        dht_ben_write_text(w, f->key);
        if (f->type == FIELD_RAW)
            cv_wr_bytes(w, s.p, s.n);
        else
            dht_ben_write_string(w, s.p, s.n);
    }
    cv_wr_u8(w, 'e');
}

static void write_string(struct cv_wr *w, const char *key, struct dht_span s) {
    if (!s.p)
        return;
    dht_ben_write_raw(w, key);
    dht_ben_write_string(w, s.p, s.n);
}

static struct dht_span method_name(const struct dht_msg *m) {
    for (size_t i = 0; i < COUNT(methods); i++)
        if (methods[i].method == m->method)
            return (struct dht_span){(const uint8_t *)methods[i].name, strlen(methods[i].name)};
    return m->method_name;
}

void dht_msg_write(struct cv_wr *w, const struct dht_msg *m) {
    cv_wr_u8(w, 'd');
    if (m->kind == DHT_QUERY) {
        dht_ben_write_raw(w, "1:a");
        write_fields(w, m);
    } else if (m->kind == DHT_ERROR) {
        dht_ben_write_raw(w, "1:el");
        dht_ben_write_int(w, m->code);
        dht_ben_write_string(w, m->text.p, m->text.n);
        cv_wr_u8(w, 'e');
    }
    write_string(w, "2:ip", m->ip);
    if (m->kind == DHT_QUERY) {
        write_string(w, "1:q", method_name(m));
        if (m->read_only)
            dht_ben_write_raw(w, "2:roi1e");
    } else if (m->kind == DHT_ANSWER) {
        dht_ben_write_raw(w, "1:r");
        write_fields(w, m);
    }
    write_string(w, "1:t", m->t);
    write_string(w, "1:v", m->client);
    dht_ben_write_raw(w, m->kind == DHT_QUERY    ? "1:y1:q"
                         : m->kind == DHT_ANSWER ? "1:y1:r"
                                                 : "1:y1:e");
    cv_wr_u8(w, 'e');
}
