#include "reputation/record.h"

#include <assert.h>
#include <string.h>

#include "base/cursor.h"
#include "crypto/hash.h"

static_assert(1 + 1 + 32 + 8 + 32 + 8 + 32 + 32 + 8 + 8 + 4 + 2 == REP_RECORD_SIGNED, "layout");
static_assert(REP_RECORD_SIGNED + CV_SIGNATURE == REP_RECORD, "layout");

static const char label[] = "culvert record 1";
static const char heir_label[] = "culvert succession 1";
static const uint8_t zero[32];

static bool is_zero(const uint8_t x[32]) {
    return memcmp(x, zero, 32) == 0;
}

/* What a record must be whoever signed it. */
static enum cv_err check(const struct rep_record *r) {
    bool answers = r->peer_seq != 0 && !is_zero(r->peer_hash);
    bool silent = r->peer_seq == 0 && is_zero(r->peer_hash);

    if (r->version != REP_RECORD_VERSION)
        return CV_ERR_VERSION;
    if (r->flags != 0 || r->seq == 0 || r->seq > REP_SEQ_LAST || r->peer_seq > INT64_MAX)
        return CV_ERR_MALFORMED;
    if (memcmp(r->owner, r->peer, CV_KEY) == 0)
        return CV_ERR_MALFORMED;
    if ((r->type == REP_SUCCESSION) != (r->seq == REP_SEQ_LAST))
        return CV_ERR_MALFORMED;
    if (r->type == REP_SUCCESSION)
        return r->peer_seq || r->given || r->taken ? CV_ERR_MALFORMED : CV_ERR_OK;
    if ((r->seq == 1) != is_zero(r->prev))
        return CV_ERR_MALFORMED;
    if (!(r->type == REP_PROPOSAL && silent) && !(r->type == REP_AGREEMENT && answers))
        return CV_ERR_MALFORMED;
    if (r->given > REP_AMOUNT_MAX || r->taken > REP_AMOUNT_MAX)
        return CV_ERR_MALFORMED;
    return CV_ERR_OK;
}

enum cv_err rep_record_read(const uint8_t buf[REP_RECORD], struct rep_record *ret) {
    struct rep_record r;
    memset(&r, 0, sizeof r);
    struct cv_rd rd = cv_rd_init(buf, REP_RECORD);

    r.version = cv_rd_u8(&rd);
    r.type = cv_rd_u8(&rd);
    cv_rd_copy(&rd, r.owner, CV_KEY);
    r.seq = cv_rd_le64(&rd);
    cv_rd_copy(&rd, r.peer, CV_KEY);
    r.peer_seq = cv_rd_le64(&rd);
    cv_rd_copy(&rd, r.peer_hash, REP_HASH);
    cv_rd_copy(&rd, r.prev, REP_HASH);
    r.given = cv_rd_le64(&rd);
    r.taken = cv_rd_le64(&rd);
    r.epoch = cv_rd_le32(&rd);
    r.flags = cv_rd_le16(&rd);
    cv_rd_copy(&rd, r.sig, CV_SIGNATURE);
    assert(rd.err == CV_ERR_OK);
    assert(cv_rd_left(&rd) == 0);

    enum cv_err err = check(&r);
    if (err)
        return err;
    CV_BLAKE2B(r.hash, REP_HASH, NULL, 0, {buf, REP_RECORD});
    *ret = r;
    return CV_ERR_OK;
}

void rep_record_write(const struct rep_record *r, uint8_t buf[REP_RECORD]) {
    struct cv_wr w = cv_wr_init(buf, REP_RECORD);
    cv_wr_u8(&w, r->version);
    cv_wr_u8(&w, r->type);
    cv_wr_bytes(&w, r->owner, CV_KEY);
    cv_wr_le64(&w, r->seq);
    cv_wr_bytes(&w, r->peer, CV_KEY);
    cv_wr_le64(&w, r->peer_seq);
    cv_wr_bytes(&w, r->peer_hash, REP_HASH);
    cv_wr_bytes(&w, r->prev, REP_HASH);
    cv_wr_le64(&w, r->given);
    cv_wr_le64(&w, r->taken);
    cv_wr_le32(&w, r->epoch);
    cv_wr_le16(&w, r->flags);
    cv_wr_bytes(&w, r->sig, CV_SIGNATURE);
    assert(cv_wr_done(&w) == REP_RECORD);
}

/* What is signed: network id and the first 168 octets. */
static void to_sign(const struct rep_record *r, const uint8_t network_id[REP_NETWORK_ID],
                    uint8_t msg[REP_NETWORK_ID + REP_RECORD]) {
    memcpy(msg, network_id, REP_NETWORK_ID);
    rep_record_write(r, msg + REP_NETWORK_ID);
}

void rep_record_sign(struct rep_record *r, const struct cv_ed25519_secret *identity,
                     const uint8_t network_id[REP_NETWORK_ID]) {
    uint8_t msg[REP_NETWORK_ID + REP_RECORD];

    memcpy(r->owner, identity->public_key, CV_KEY);
    assert(check(r) == CV_ERR_OK);
    to_sign(r, network_id, msg);
    cv_ed25519_sign(r->sig, identity, label, msg, REP_NETWORK_ID + REP_RECORD_SIGNED);
    memcpy(msg + REP_NETWORK_ID + REP_RECORD_SIGNED, r->sig, CV_SIGNATURE);
    CV_BLAKE2B(r->hash, REP_HASH, NULL, 0, {msg + REP_NETWORK_ID, REP_RECORD});
}

/* ---- successions ---- */

enum { HEIR_SIGNED = REP_NETWORK_ID + CV_KEY + CV_KEY + 4 };

/* What the new key signs. */
static void heir_signs(const struct rep_record *r, const uint8_t network_id[REP_NETWORK_ID],
                       uint8_t msg[HEIR_SIGNED]) {
    struct cv_wr w = cv_wr_init(msg, HEIR_SIGNED);
    cv_wr_bytes(&w, network_id, REP_NETWORK_ID);
    cv_wr_bytes(&w, r->owner, CV_KEY);
    cv_wr_bytes(&w, r->peer, CV_KEY);
    cv_wr_le32(&w, r->epoch);
    assert(cv_wr_done(&w) == HEIR_SIGNED);
}

static_assert(2 * REP_HASH == CV_SIGNATURE, "the new key's signature in peer_hash and prev");

void rep_record_succeed(const struct cv_ed25519_secret *old, const struct cv_ed25519_secret *heir,
                        const uint8_t network_id[REP_NETWORK_ID], uint32_t epoch,
                        struct rep_record *ret) {
    uint8_t msg[HEIR_SIGNED], sig[CV_SIGNATURE];
    memset(ret, 0, sizeof *ret);
    ret->version = REP_RECORD_VERSION;
    ret->type = REP_SUCCESSION;
    ret->seq = REP_SEQ_LAST;
    ret->epoch = epoch;
    memcpy(ret->owner, old->public_key, CV_KEY);
    memcpy(ret->peer, heir->public_key, CV_KEY);
    heir_signs(ret, network_id, msg);
    cv_ed25519_sign(sig, heir, heir_label, msg, sizeof msg);
    memcpy(ret->peer_hash, sig, REP_HASH);
    memcpy(ret->prev, sig + REP_HASH, REP_HASH);
    rep_record_sign(ret, old, network_id);
}

static bool heir_signed(const struct rep_record *r, const uint8_t network_id[REP_NETWORK_ID]) {
    uint8_t msg[HEIR_SIGNED], sig[CV_SIGNATURE];
    heir_signs(r, network_id, msg);
    memcpy(sig, r->peer_hash, REP_HASH);
    memcpy(sig + REP_HASH, r->prev, REP_HASH);
    return cv_ed25519_verify(sig, r->peer, heir_label, msg, sizeof msg);
}

bool rep_record_verify(const struct rep_record *r, const uint8_t network_id[REP_NETWORK_ID]) {
    uint8_t msg[REP_NETWORK_ID + REP_RECORD];
    to_sign(r, network_id, msg);
    return cv_ed25519_verify(r->sig, r->owner, label, msg, REP_NETWORK_ID + REP_RECORD_SIGNED) &&
           (r->type != REP_SUCCESSION || heir_signed(r, network_id));
}
