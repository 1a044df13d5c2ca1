#include "tunnel/relaycmd.h"

#include <assert.h>
#include <string.h>

static const char intro_label[] = "culvert intro 1";

/* Fills *ret when nothing went wrong. */
#define DONE(r, m, ret)                                                                            \
    do {                                                                                           \
        if ((r)->err)                                                                              \
            return (r)->err;                                                                       \
        *(ret) = (m);                                                                              \
        return CV_ERR_OK;                                                                          \
    } while (0)

/* A value this protocol does not allow; only when all octets were there. */
#define REFUSE_IF(r, what)                                                                         \
    do {                                                                                           \
        if (!(r)->err && (what))                                                                   \
            return CV_ERR_MALFORMED;                                                               \
    } while (0)

static const uint8_t *rest(struct cv_rd *r, size_t *ret_len) {
    *ret_len = cv_rd_left(r);
    return cv_rd_bytes(r, *ret_len);
}

/* ---- addresses ---- */

void tun_addr_read(struct cv_rd *r, struct cv_addr *ret) {
    memset(ret, 0, sizeof *ret);
    uint8_t family = cv_rd_u8(r);
    if (!r->err && family != 4 && family != 6) {
        r->err = CV_ERR_MALFORMED;
        return;
    }
    struct cv_addr a;
    memset(&a, 0, sizeof a);
    a.family = family;
    cv_rd_copy(r, a.ip, family == 4 ? 4 : 16);
    a.port = cv_rd_le16(r);
    if (!r->err)
        *ret = a;
}

void tun_addr_write(struct cv_wr *w, const struct cv_addr *addr) {
    assert(addr->family == 4 || addr->family == 6);
    cv_wr_u8(w, addr->family);
    cv_wr_bytes(w, addr->ip, addr->family == 4 ? 4 : 16);
    cv_wr_le16(w, addr->port);
}

/* ---- circuits ---- */

enum cv_err tun_transaction_read(struct cv_rd *r, struct tun_transaction *ret) {
    struct tun_transaction m = {.transaction = cv_rd_le32(r)};
    DONE(r, m, ret);
}

void tun_transaction_write(struct cv_wr *w, const struct tun_transaction *t) {
    cv_wr_le32(w, t->transaction);
}

enum cv_err tun_extend_read(struct cv_rd *r, struct tun_extend *ret) {
    struct tun_extend m = {.transaction = cv_rd_le32(r)};
    cv_rd_copy(r, m.identity, CV_KEY);
    m.day = cv_rd_le32(r);
    cv_rd_copy(r, m.digest, TUN_DIGEST);
    m.flight = rest(r, &m.flight_len);
    REFUSE_IF(r, m.flight_len == 0 || m.flight_len > TUN_EXTEND_FLIGHT_MAX);
    DONE(r, m, ret);
}

void tun_extend_write(struct cv_wr *w, const struct tun_extend *m) {
    assert(m->flight_len <= TUN_EXTEND_FLIGHT_MAX);
    cv_wr_le32(w, m->transaction);
    cv_wr_bytes(w, m->identity, CV_KEY);
    cv_wr_le32(w, m->day);
    cv_wr_bytes(w, m->digest, TUN_DIGEST);
    cv_wr_bytes(w, m->flight, m->flight_len);
}

enum cv_err tun_bytes_read(struct cv_rd *r, struct tun_bytes *ret) {
    struct tun_bytes m = {.transaction = cv_rd_le32(r)};
    m.data = rest(r, &m.len);
    DONE(r, m, ret);
}

void tun_bytes_write(struct cv_wr *w, const struct tun_bytes *m) {
    cv_wr_le32(w, m->transaction);
    cv_wr_bytes(w, m->data, m->len);
}

/* ---- descriptors ---- */

enum cv_err tun_bucket_read(struct cv_rd *r, struct tun_bucket *ret) {
    struct tun_bucket m = {.transaction = cv_rd_le32(r)};
    m.day = cv_rd_le32(r);
    m.level = cv_rd_u8(r);
    m.bucket = cv_rd_le16(r);
    m.from = cv_rd_le16(r);
    unsigned level = m.level == TUN_BUCKET_CAPACITIES ? 0 : m.level;
    REFUSE_IF(r, level != 0 && level != 4 && level != 8);
    REFUSE_IF(r, m.bucket >= 1u << level);
    DONE(r, m, ret);
}

void tun_bucket_write(struct cv_wr *w, const struct tun_bucket *m) {
    cv_wr_le32(w, m->transaction);
    cv_wr_le32(w, m->day);
    cv_wr_u8(w, m->level);
    cv_wr_le16(w, m->bucket);
    cv_wr_le16(w, m->from);
}

enum cv_err tun_capacities_read(struct cv_rd *r, struct tun_capacities *ret) {
    struct tun_capacities m = {.transaction = cv_rd_le32(r)};
    m.count = cv_rd_le16(r);
    m.n = cv_rd_left(r) / TUN_CAPACITY_ROW;
    REFUSE_IF(r, cv_rd_left(r) % TUN_CAPACITY_ROW != 0);
    REFUSE_IF(r, m.n > TUN_CAPACITIES_MAX || m.n > m.count);
    m.rows = cv_rd_bytes(r, m.n * TUN_CAPACITY_ROW);
    DONE(r, m, ret);
}

void tun_capacities_write(struct cv_wr *w, const struct tun_capacities *m) {
    assert(m->n <= TUN_CAPACITIES_MAX);
    assert(m->n <= m->count);
    cv_wr_le32(w, m->transaction);
    cv_wr_le16(w, m->count);
    cv_wr_bytes(w, m->rows, m->n * TUN_CAPACITY_ROW);
}

enum { PAIR = CV_KEY + TUN_DIGEST };

enum cv_err tun_bucket_answer_read(struct cv_rd *r, struct tun_bucket_answer *ret) {
    struct tun_bucket_answer m = {.transaction = cv_rd_le32(r)};
    cv_rd_copy(r, m.hash, sizeof m.hash);
    m.count = cv_rd_le16(r);
    m.n = cv_rd_left(r) / PAIR;
    REFUSE_IF(r, cv_rd_left(r) % PAIR != 0);
    REFUSE_IF(r, m.n > TUN_BUCKET_PAIRS_MAX || m.n > m.count);
    m.pairs = cv_rd_bytes(r, m.n * PAIR);
    DONE(r, m, ret);
}

void tun_bucket_answer_write(struct cv_wr *w, const struct tun_bucket_answer *m) {
    assert(m->n <= TUN_BUCKET_PAIRS_MAX);
    assert(m->n <= m->count);
    cv_wr_le32(w, m->transaction);
    cv_wr_bytes(w, m->hash, sizeof m->hash);
    cv_wr_le16(w, m->count);
    cv_wr_bytes(w, m->pairs, m->n * PAIR);
}

enum cv_err tun_descriptors_read(struct cv_rd *r, struct tun_descriptors *ret) {
    struct tun_descriptors m = {.transaction = cv_rd_le32(r)};
    m.day = cv_rd_le32(r);
    m.n = cv_rd_left(r) / CV_KEY;
    REFUSE_IF(r, cv_rd_left(r) % CV_KEY != 0);
    REFUSE_IF(r, m.n < 1 || m.n > TUN_IDENTITIES_MAX);
    m.identities = cv_rd_bytes(r, m.n * CV_KEY);
    DONE(r, m, ret);
}

void tun_descriptors_write(struct cv_wr *w, const struct tun_descriptors *m) {
    assert(m->n >= 1);
    assert(m->n <= TUN_IDENTITIES_MAX);
    cv_wr_le32(w, m->transaction);
    cv_wr_le32(w, m->day);
    cv_wr_bytes(w, m->identities, m->n * CV_KEY);
}

/* ---- look-ups ---- */

static size_t key_len(uint8_t kind) {
    return kind == TUN_LOOKUP_ITEMS ? CV_KEY : 20;
}

enum cv_err tun_lookup_read(struct cv_rd *r, struct tun_lookup *ret) {
    struct tun_lookup m = {.transaction = cv_rd_le32(r)};
    m.kind = cv_rd_u8(r);
    m.n = cv_rd_u8(r);
    REFUSE_IF(r, m.kind != TUN_LOOKUP_ITEMS && m.kind != TUN_LOOKUP_PEERS);
    REFUSE_IF(r, m.n < 1 || m.n > (m.kind == TUN_LOOKUP_ITEMS ? TUN_LOOKUP_KEYS_MAX : 1));
    m.keys = cv_rd_bytes(r, m.n * key_len(m.kind));
    DONE(r, m, ret);
}

void tun_lookup_write(struct cv_wr *w, const struct tun_lookup *m) {
    assert(m->n >= 1);
    assert(m->n <= (m->kind == TUN_LOOKUP_ITEMS ? TUN_LOOKUP_KEYS_MAX : 1));
    cv_wr_le32(w, m->transaction);
    cv_wr_u8(w, m->kind);
    cv_wr_u8(w, m->n);
    cv_wr_bytes(w, m->keys, m->n * key_len(m->kind));
}

static enum cv_err read_value(struct cv_rd *r, const uint8_t **ret, size_t *ret_len) {
    size_t len = cv_rd_le16(r);
    REFUSE_IF(r, len > TUN_ITEM_MAX);
    *ret = cv_rd_bytes(r, len);
    *ret_len = len;
    return r->err;
}

static enum cv_err read_item(struct cv_rd *r, struct tun_result *m) {
    m->key = cv_rd_u8(r);
    uint8_t found = cv_rd_u8(r);
    REFUSE_IF(r, m->key >= TUN_LOOKUP_KEYS_MAX || found > 1);
    m->found = found == 1;
    if (!m->found)
        return r->err;
    m->seq = cv_rd_le64(r);
    cv_rd_copy(r, m->signature, CV_SIGNATURE);
    return read_value(r, &m->value, &m->value_len);
}

static enum cv_err read_peers(struct cv_rd *r, struct tun_result *m) {
    m->peers = cv_rd_u8(r);
    REFUSE_IF(r, m->peers > TUN_PEERS_MAX);
    for (unsigned i = 0; i < m->peers && !r->err; i++)
        tun_addr_read(r, &m->peer[i]);
    return r->err;
}

enum cv_err tun_result_read(struct cv_rd *r, struct tun_result *ret) {
    struct tun_result m;
    memset(&m, 0, sizeof m);
    m.transaction = cv_rd_le32(r);
    m.kind = cv_rd_u8(r);
    REFUSE_IF(r, m.kind != TUN_LOOKUP_ITEMS && m.kind != TUN_LOOKUP_PEERS);
    enum cv_err err = m.kind == TUN_LOOKUP_ITEMS ? read_item(r, &m) : read_peers(r, &m);
    if (err)
        return err;
    DONE(r, m, ret);
}

void tun_result_write(struct cv_wr *w, const struct tun_result *m) {
    cv_wr_le32(w, m->transaction);
    cv_wr_u8(w, m->kind);
    if (m->kind == TUN_LOOKUP_PEERS) {
        assert(m->peers <= TUN_PEERS_MAX);
        cv_wr_u8(w, m->peers);
        for (unsigned i = 0; i < m->peers; i++)
            tun_addr_write(w, &m->peer[i]);
        return;
    }
    assert(m->kind == TUN_LOOKUP_ITEMS);
    cv_wr_u8(w, m->key);
    cv_wr_u8(w, m->found);
    if (!m->found)
        return;
    assert(m->value_len <= TUN_ITEM_MAX);
    cv_wr_le64(w, m->seq);
    cv_wr_bytes(w, m->signature, CV_SIGNATURE);
    cv_wr_le16(w, (uint16_t)m->value_len);
    cv_wr_bytes(w, m->value, m->value_len);
}

enum cv_err tun_put_read(struct cv_rd *r, struct tun_put *ret) {
    struct tun_put m = {.transaction = cv_rd_le32(r)};
    cv_rd_copy(r, m.public_key, CV_KEY);
    m.seq = cv_rd_le64(r);
    uint8_t has_cas = cv_rd_u8(r);
    m.cas = cv_rd_le64(r);
    REFUSE_IF(r, has_cas > 1);
    m.has_cas = has_cas == 1;
    cv_rd_copy(r, m.signature, CV_SIGNATURE);
    enum cv_err err = read_value(r, &m.value, &m.value_len);
    if (err)
        return err;
    DONE(r, m, ret);
}

void tun_put_write(struct cv_wr *w, const struct tun_put *m) {
    assert(m->value_len <= TUN_ITEM_MAX);
    cv_wr_le32(w, m->transaction);
    cv_wr_bytes(w, m->public_key, CV_KEY);
    cv_wr_le64(w, m->seq);
    cv_wr_u8(w, m->has_cas);
    cv_wr_le64(w, m->has_cas ? m->cas : 0);
    cv_wr_bytes(w, m->signature, CV_SIGNATURE);
    cv_wr_le16(w, (uint16_t)m->value_len);
    cv_wr_bytes(w, m->value, m->value_len);
}
static_assert(4 + CV_KEY + 8 + 1 + 8 + CV_SIGNATURE + 2 + TUN_ITEM_MAX <= TUN_FORWARD_MAX,
              "the largest item fits one cell");

enum cv_err tun_put_done_read(struct cv_rd *r, struct tun_put_done *ret) {
    struct tun_put_done m = {.transaction = cv_rd_le32(r)};
    m.stored = cv_rd_u8(r);
    m.error = cv_rd_le16(r);
    DONE(r, m, ret);
}

void tun_put_done_write(struct cv_wr *w, const struct tun_put_done *m) {
    cv_wr_le32(w, m->transaction);
    cv_wr_u8(w, m->stored);
    cv_wr_le16(w, m->error);
}

/* ---- introduction and rendezvous ---- */

enum cv_err tun_establish_intro_read(struct cv_rd *r, struct tun_establish_intro *ret) {
    struct tun_establish_intro m = {.transaction = cv_rd_le32(r)};
    cv_rd_copy(r, m.auth_key, CV_KEY);
    cv_rd_copy(r, m.signature, CV_SIGNATURE);
    DONE(r, m, ret);
}

void tun_establish_intro_write(struct cv_wr *w, const struct tun_establish_intro *m) {
    cv_wr_le32(w, m->transaction);
    cv_wr_bytes(w, m->auth_key, CV_KEY);
    cv_wr_bytes(w, m->signature, CV_SIGNATURE);
}

void tun_establish_intro_sign(struct tun_establish_intro *m, const struct cv_ed25519_secret *auth,
                              const uint8_t binding[32]) {
    memcpy(m->auth_key, auth->public_key, CV_KEY);
    cv_ed25519_sign(m->signature, auth, intro_label, binding, 32);
}

bool tun_establish_intro_verify(const struct tun_establish_intro *m, const uint8_t binding[32]) {
    return cv_ed25519_verify(m->signature, m->auth_key, intro_label, binding, 32);
}

enum cv_err tun_introduction_read(struct cv_rd *r, struct tun_introduce *ret) {
    struct tun_introduce m = {0};
    cv_rd_copy(r, m.auth_key, CV_KEY);
    cv_rd_copy(r, m.stamp, sizeof m.stamp);
    m.flight = rest(r, &m.flight_len);
    REFUSE_IF(r, m.flight_len == 0);
    DONE(r, m, ret);
}

void tun_introduction_write(struct cv_wr *w, const struct tun_introduce *m) {
    cv_wr_bytes(w, m->auth_key, CV_KEY);
    cv_wr_bytes(w, m->stamp, sizeof m->stamp);
    cv_wr_bytes(w, m->flight, m->flight_len);
}

enum cv_err tun_introduce_read(struct cv_rd *r, struct tun_introduce *ret) {
    uint32_t transaction = cv_rd_le32(r);
    struct tun_introduce m;
    enum cv_err err = tun_introduction_read(r, &m);
    if (err)
        return err;
    m.transaction = transaction;
    DONE(r, m, ret);
}

void tun_introduce_write(struct cv_wr *w, const struct tun_introduce *m) {
    cv_wr_le32(w, m->transaction);
    tun_introduction_write(w, m);
}

enum cv_err tun_introduce_ack_read(struct cv_rd *r, struct tun_introduce_ack *ret) {
    struct tun_introduce_ack m = {.transaction = cv_rd_le32(r)};
    m.status = cv_rd_u8(r);
    DONE(r, m, ret);
}

void tun_introduce_ack_write(struct cv_wr *w, const struct tun_introduce_ack *m) {
    cv_wr_le32(w, m->transaction);
    cv_wr_u8(w, m->status);
}

enum cv_err tun_rendezvous_read(struct cv_rd *r, struct tun_rendezvous *ret) {
    struct tun_rendezvous m = {.transaction = cv_rd_le32(r)};
    cv_rd_copy(r, m.cookie, sizeof m.cookie);
    m.flight = rest(r, &m.flight_len);
    DONE(r, m, ret);
}

void tun_rendezvous_write(struct cv_wr *w, const struct tun_rendezvous *m) {
    cv_wr_le32(w, m->transaction);
    cv_wr_bytes(w, m->cookie, sizeof m->cookie);
    cv_wr_bytes(w, m->flight, m->flight_len);
}

/* ---- the rest ---- */

enum cv_err tun_error_read(struct cv_rd *r, struct tun_error *ret) {
    struct tun_error m = {.transaction = cv_rd_le32(r)};
    m.code = cv_rd_u8(r);
    m.data = rest(r, &m.len);
    REFUSE_IF(r, m.code == 0);
    DONE(r, m, ret);
}

void tun_error_write(struct cv_wr *w, const struct tun_error *m) {
    assert(m->code != 0);
    cv_wr_le32(w, m->transaction);
    cv_wr_u8(w, m->code);
    cv_wr_bytes(w, m->data, m->len);
}

enum cv_err tun_open_read(struct cv_rd *r, struct tun_open *ret) {
    struct tun_open m = {.transaction = cv_rd_le32(r)};
    m.len = cv_rd_le16(r);
    REFUSE_IF(r, m.len < 1 || m.len > TUN_SWARM_ID_MAX);
    m.swarm_id = cv_rd_bytes(r, m.len);
    DONE(r, m, ret);
}

void tun_open_write(struct cv_wr *w, const struct tun_open *m) {
    assert(m->len >= 1);
    assert(m->len <= TUN_SWARM_ID_MAX);
    cv_wr_le32(w, m->transaction);
    cv_wr_le16(w, (uint16_t)m->len);
    cv_wr_bytes(w, m->swarm_id, m->len);
}

enum cv_err tun_connect_read(struct cv_rd *r, struct tun_connect *ret) {
    struct tun_connect m;
    memset(&m, 0, sizeof m);
    m.transaction = cv_rd_le32(r);
    m.flow = cv_rd_le16(r);
    REFUSE_IF(r, m.flow == 0);
    tun_addr_read(r, &m.addr);
    DONE(r, m, ret);
}

void tun_connect_write(struct cv_wr *w, const struct tun_connect *m) {
    assert(m->flow != 0);
    cv_wr_le32(w, m->transaction);
    cv_wr_le16(w, m->flow);
    tun_addr_write(w, &m->addr);
}

enum cv_err tun_exit_read(struct cv_rd *r, struct tun_exit *ret) {
    struct tun_exit m = {.flow = cv_rd_le16(r)};
    m.data = rest(r, &m.len);
    DONE(r, m, ret);
}

void tun_exit_write(struct cv_wr *w, const struct tun_exit *m) {
    cv_wr_le16(w, m->flow);
    cv_wr_bytes(w, m->data, m->len);
}

enum cv_err tun_pace_read(struct cv_rd *r, struct tun_pace *ret) {
    struct tun_pace m = {.transaction = cv_rd_le32(r)};
    m.rate = cv_rd_u8(r);
    m.seconds = cv_rd_le32(r);
    DONE(r, m, ret);
}

void tun_pace_write(struct cv_wr *w, const struct tun_pace *m) {
    cv_wr_le32(w, m->transaction);
    cv_wr_u8(w, m->rate);
    cv_wr_le32(w, m->seconds);
}
