#include "reputation/token.h"

#include <assert.h>
#include <string.h>

#include "base/cursor.h"
#include "crypto/hash.h"

static const char label[] = "culvert token request 1";

static_assert((int)REP_TOKENS <= (int)CV_VOPRF_BATCH_MAX, "one proof covers a batch");
static_assert(REP_TOKENS <= 32, "a bit of `left` each");

/* ---- what comes from the seed ---- */

static void token_of(const struct rep_purse *p, unsigned i, uint8_t ret[REP_TOKEN]) {
    const uint8_t number = (uint8_t)i;
    CV_BLAKE2B(ret, REP_TOKEN, p->seed, sizeof p->seed, {"token", 5}, {&number, 1});
}

static void blind_of(const struct rep_purse *p, unsigned i, uint8_t ret[CV_VOPRF_SCALAR]) {
    const uint8_t number = (uint8_t)i;
    uint8_t wide[64];
    CV_BLAKE2B(wide, sizeof wide, p->seed, sizeof p->seed, {"blind", 5}, {&number, 1});
    cv_voprf_scalar(ret, wide);
    cv_wipe(wide, sizeof wide);
}

static void blinded_of(const struct rep_purse *p, uint8_t (*ret)[CV_VOPRF_ELEMENT]) {
    uint8_t t[REP_TOKEN], blind[CV_VOPRF_SCALAR];
    for (unsigned i = 0; i < REP_TOKENS; i++) {
        token_of(p, i, t);
        blind_of(p, i, blind);
        enum cv_err err = cv_voprf_blind(ret[i], t, sizeof t, blind);
        assert(err == CV_ERR_OK); /* a blind of zero comes once in 2^252 */
        (void)err;
    }
    cv_wipe(blind, sizeof blind);
}

/* ---- request ---- */

/* What is signed: network id | issuer | the request without its signature. */
enum { BODY = REP_TOKEN_REQUEST - CV_SIGNATURE, SIGNED = REP_NETWORK_ID + CV_KEY + BODY };

static void signed_part(const uint8_t *body, const uint8_t issuer[CV_KEY],
                        const uint8_t network_id[REP_NETWORK_ID], uint8_t ret[SIGNED]) {
    memcpy(ret, network_id, REP_NETWORK_ID);
    memcpy(ret + REP_NETWORK_ID, issuer, CV_KEY);
    memcpy(ret + REP_NETWORK_ID + CV_KEY, body, BODY);
}

void rep_token_request_write(const struct rep_purse *p, const struct cv_ed25519_secret *identity,
                             const uint8_t network_id[REP_NETWORK_ID],
                             uint8_t ret[REP_TOKEN_REQUEST]) {
    uint8_t blinded[REP_TOKENS][CV_VOPRF_ELEMENT], text[SIGNED];
    blinded_of(p, blinded);
    struct cv_wr w = cv_wr_init(ret, REP_TOKEN_REQUEST);
    cv_wr_bytes(&w, identity->public_key, CV_KEY);
    cv_wr_le32(&w, p->week);
    cv_wr_bytes(&w, blinded, sizeof blinded);
    signed_part(ret, p->issuer, network_id, text);
    cv_ed25519_sign(cv_wr_skip(&w, CV_SIGNATURE), identity, label, text, sizeof text);
    assert(cv_wr_len(&w) == REP_TOKEN_REQUEST);
}

enum cv_err rep_token_request_read(const uint8_t *buf, size_t len, struct rep_token_request *ret) {
    struct rep_token_request m;
    struct cv_rd r = cv_rd_init(buf, len);
    cv_rd_copy(&r, m.identity, CV_KEY);
    m.week = cv_rd_le32(&r);
    cv_rd_copy(&r, m.blinded, sizeof m.blinded);
    cv_rd_bytes(&r, CV_SIGNATURE);
    if (r.err)
        return r.err;
    if (cv_rd_left(&r) != 0)
        return CV_ERR_MALFORMED;
    *ret = m;
    return CV_ERR_OK;
}

bool rep_token_request_verify(const uint8_t buf[REP_TOKEN_REQUEST], const uint8_t issuer[CV_KEY],
                              const uint8_t network_id[REP_NETWORK_ID]) {
    uint8_t text[SIGNED];
    signed_part(buf, issuer, network_id, text);
    return cv_ed25519_verify(buf + BODY, buf, label, text, sizeof text);
}

/* ---- reply ---- */

enum cv_err rep_token_reply_write(const struct rep_token_request *m,
                                  const struct cv_voprf_secret *key, const struct cv_rng *rng,
                                  uint8_t ret[REP_TOKEN_REPLY]) {
    uint8_t evaluated[REP_TOKENS][CV_VOPRF_ELEMENT], dice[64], r[CV_VOPRF_SCALAR];
    uint8_t proof[CV_VOPRF_PROOF];
    cv_rng_fill(rng, dice, sizeof dice);
    cv_voprf_scalar(r, dice);
    enum cv_err err = cv_voprf_evaluate(key, (const uint8_t(*)[CV_VOPRF_ELEMENT])m->blinded,
                                        REP_TOKENS, r, evaluated, proof);
    cv_wipe(dice, sizeof dice);
    cv_wipe(r, sizeof r);
    if (err)
        return CV_ERR_MALFORMED;
    memcpy(ret, evaluated, sizeof evaluated);
    memcpy(ret + sizeof evaluated, proof, sizeof proof);
    return CV_ERR_OK;
}

enum cv_err rep_token_take(struct rep_purse *p, const uint8_t *reply, size_t len) {
    if (len != REP_TOKEN_REPLY)
        return len < REP_TOKEN_REPLY ? CV_ERR_TRUNCATED : CV_ERR_MALFORMED;
    uint8_t blinded[REP_TOKENS][CV_VOPRF_ELEMENT], evaluated[REP_TOKENS][CV_VOPRF_ELEMENT];
    uint8_t t[REP_TOKEN], blind[CV_VOPRF_SCALAR];
    blinded_of(p, blinded);
    memcpy(evaluated, reply, sizeof evaluated);
    if (!cv_voprf_check(p->key, (const uint8_t(*)[CV_VOPRF_ELEMENT])blinded,
                        (const uint8_t(*)[CV_VOPRF_ELEMENT])evaluated, REP_TOKENS,
                        reply + sizeof evaluated))
        return CV_ERR_AUTH;
    for (unsigned i = 0; i < REP_TOKENS; i++) {
        token_of(p, i, t);
        blind_of(p, i, blind);
        enum cv_err err = cv_voprf_finalize(p->output[i], t, sizeof t, blind, evaluated[i]);
        assert(err == CV_ERR_OK); /* the check saw every element */
        (void)err;
    }
    cv_wipe(blind, sizeof blind);
    p->had = 1;
    p->left = (uint32_t)((UINT64_C(1) << REP_TOKENS) - 1);
    return CV_ERR_OK;
}

/* ---- showing ---- */

static void mac_of(const uint8_t output[CV_VOPRF_OUTPUT], const uint8_t link_hash[REP_LINK_HASH],
                   uint8_t ret[REP_TOKEN_MAC]) {
    CV_BLAKE2B(ret, REP_TOKEN_MAC, output, CV_VOPRF_OUTPUT, {link_hash, REP_LINK_HASH});
}

void rep_token_show(const struct rep_purse *p, unsigned i, const uint8_t link_hash[REP_LINK_HASH],
                    uint8_t ret[REP_TOKEN_SHOWN]) {
    assert(i < REP_TOKENS);
    assert(p->had);
    token_of(p, i, ret);
    mac_of(p->output[i], link_hash, ret + REP_TOKEN);
}

bool rep_token_is(const struct cv_voprf_secret *key, const uint8_t shown[REP_TOKEN_SHOWN],
                  const uint8_t link_hash[REP_LINK_HASH]) {
    uint8_t output[CV_VOPRF_OUTPUT], mac[REP_TOKEN_MAC];
    enum cv_err err = cv_voprf_output(output, key, shown, REP_TOKEN);
    assert(err == CV_ERR_OK); /* only a long input is refused */
    (void)err;
    mac_of(output, link_hash, mac);
    bool same = cv_equal(mac, shown + REP_TOKEN, sizeof mac);
    cv_wipe(output, sizeof output);
    return same;
}
