#include "tunnel/linkcmd.h"

#include <assert.h>
#include <string.h>

#include "tunnel/relaycmd.h"

static const char auth_label[] = "culvert link auth v1";

/* Fills *ret when nothing went wrong. */
#define DONE(r, m, ret)                                                                            \
    do {                                                                                           \
        if ((r)->err)                                                                              \
            return (r)->err;                                                                       \
        *(ret) = (m);                                                                              \
        return CV_ERR_OK;                                                                          \
    } while (0)

static const uint8_t *rest(struct cv_rd *r, size_t *ret_len) {
    *ret_len = cv_rd_left(r);
    return cv_rd_bytes(r, *ret_len);
}

enum cv_err tun_create_read(struct cv_rd *r, struct tun_create *ret) {
    struct tun_create m = {0};
    uint8_t len = cv_rd_u8(r);
    const uint8_t *params = cv_rd_bytes(r, len);
    if (!params)
        return r->err;
    struct cv_rd p = cv_rd_init(params, len);
    enum cv_err err = tun_params_read(&p, &m.params);
    if (err)
        return err;
    m.flight = rest(r, &m.flight_len);
    if (m.flight_len == 0)
        return CV_ERR_TRUNCATED;
    if (m.flight_len > TUN_EXTEND_FLIGHT_MAX)
        return CV_ERR_MALFORMED;
    DONE(r, m, ret);
}

void tun_create_write(struct cv_wr *w, const struct tun_create *m) {
    assert(m->flight_len <= TUN_EXTEND_FLIGHT_MAX);
    uint8_t *len = cv_wr_skip(w, 1);
    size_t before = cv_wr_len(w);
    tun_params_write(w, &m->params);
    if (len)
        *len = (uint8_t)(cv_wr_len(w) - before);
    cv_wr_bytes(w, m->flight, m->flight_len);
}

enum cv_err tun_auth_read(struct cv_rd *r, struct tun_auth *ret) {
    struct tun_auth m = {.role = cv_rd_u8(r)};
    cv_rd_copy(r, m.identity, CV_KEY);
    cv_rd_copy(r, m.signature, CV_SIGNATURE);
    if (!r->err && m.role != TUN_ROLE_RELAY && m.role != TUN_ROLE_CLIENT)
        return CV_ERR_MALFORMED;
    DONE(r, m, ret);
}

void tun_auth_write(struct cv_wr *w, const struct tun_auth *m) {
    cv_wr_u8(w, m->role);
    cv_wr_bytes(w, m->identity, CV_KEY);
    cv_wr_bytes(w, m->signature, CV_SIGNATURE);
}

static void auth_message(uint8_t out[1 + CV_NOISE_HASH], uint8_t role,
                         const uint8_t hash[CV_NOISE_HASH]) {
    out[0] = role;
    memcpy(out + 1, hash, CV_NOISE_HASH);
}

void tun_auth_sign(struct tun_auth *m, enum tun_role role, const struct cv_ed25519_secret *identity,
                   const uint8_t handshake_hash[CV_NOISE_HASH]) {
    uint8_t msg[1 + CV_NOISE_HASH];
    m->role = (uint8_t)role;
    memcpy(m->identity, identity->public_key, CV_KEY);
    auth_message(msg, m->role, handshake_hash);
    cv_ed25519_sign(m->signature, identity, auth_label, msg, sizeof msg);
}

bool tun_auth_verify(const struct tun_auth *m, const uint8_t handshake_hash[CV_NOISE_HASH]) {
    uint8_t msg[1 + CV_NOISE_HASH];
    auth_message(msg, m->role, handshake_hash);
    return cv_ed25519_verify(m->signature, m->identity, auth_label, msg, sizeof msg);
}

enum cv_err tun_new_index_read(struct cv_rd *r, struct tun_new_index *ret) {
    struct tun_new_index m = {.n = cv_rd_u8(r)};
    if (!r->err && (m.n < 1 || m.n > TUN_SPARE_INDEXES_MAX))
        return CV_ERR_MALFORMED;
    for (unsigned i = 0; i < m.n; i++)
        m.index[i] = cv_rd_le32(r);
    DONE(r, m, ret);
}

void tun_new_index_write(struct cv_wr *w, const struct tun_new_index *m) {
    assert(m->n >= 1);
    assert(m->n <= TUN_SPARE_INDEXES_MAX);
    cv_wr_u8(w, m->n);
    for (unsigned i = 0; i < m->n; i++)
        cv_wr_le32(w, m->index[i]);
}

enum cv_err tun_link_descriptors_read(struct cv_rd *r, struct tun_link_descriptors *ret) {
    struct tun_link_descriptors m = {.command = cv_rd_u8(r)};
    uint8_t answer = cv_rd_u8(r);
    m.answer = answer != 0;
    m.body = rest(r, &m.len);
    if (!r->err &&
        (answer > 1 || (m.command != TUN_CMD_BUCKET && m.command != TUN_CMD_DESCRIPTORS)))
        return CV_ERR_MALFORMED;
    DONE(r, m, ret);
}

void tun_link_descriptors_write(struct cv_wr *w, const struct tun_link_descriptors *m) {
    cv_wr_u8(w, m->command);
    cv_wr_u8(w, m->answer);
    cv_wr_bytes(w, m->body, m->len);
}

enum cv_err tun_token_read(struct cv_rd *r, struct tun_token *ret) {
    struct tun_token m = {0};
    cv_rd_copy(r, m.t, sizeof m.t);
    cv_rd_copy(r, m.mac, sizeof m.mac);
    DONE(r, m, ret);
}

void tun_token_write(struct cv_wr *w, const struct tun_token *m) {
    cv_wr_bytes(w, m->t, sizeof m->t);
    cv_wr_bytes(w, m->mac, sizeof m->mac);
}

enum cv_err tun_reach_read(struct cv_rd *r, struct tun_reach *ret) {
    struct tun_reach m;
    memset(&m, 0, sizeof m);
    m.kind = cv_rd_u8(r);
    cv_rd_copy(r, m.token, sizeof m.token);
    tun_addr_read(r, &m.addr);
    if (!r->err && (m.kind < TUN_REACH_ASK || m.kind > TUN_REACH_SILENT || m.addr.port == 0))
        return CV_ERR_MALFORMED;
    DONE(r, m, ret);
}

void tun_reach_write(struct cv_wr *w, const struct tun_reach *m) {
    cv_wr_u8(w, m->kind);
    cv_wr_bytes(w, m->token, sizeof m->token);
    tun_addr_write(w, &m->addr);
}
