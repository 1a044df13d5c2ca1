#include "reputation/message.h"

#include <assert.h>
#include <string.h>

#include "base/cursor.h"

/* False: values that no half-block can have. */
static bool read_digests(struct cv_rd *r, struct rep_message *m) {
    if (m->count < 1 || m->count > REP_DIGESTS_PER_MESSAGE)
        return false;
    for (unsigned i = 0; i < m->count && !r->err; i++) {
        struct rep_digest *d = &m->digest[i];
        static const uint8_t none[REP_DIGEST_HASH];
        cv_rd_copy(r, d->owner, CV_KEY);
        d->upto = cv_rd_le64(r);
        cv_rd_copy(r, d->head, sizeof d->head);
        if (!r->err &&
            (d->upto >= INT64_MAX || (d->upto == 0 && memcmp(d->head, none, sizeof none) != 0)))
            return false;
    }
    return true;
}

static void write_digests(struct cv_wr *w, const struct rep_message *m) {
    assert(m->count <= REP_DIGESTS_PER_MESSAGE);
    cv_wr_u8(w, m->count);
    for (unsigned i = 0; i < m->count; i++) {
        cv_wr_bytes(w, m->digest[i].owner, CV_KEY);
        cv_wr_le64(w, m->digest[i].upto);
        cv_wr_bytes(w, m->digest[i].head, REP_DIGEST_HASH);
    }
}
static_assert(2 + REP_DIGESTS_PER_MESSAGE * REP_DIGEST <= REP_MESSAGE_MAX, "digests fit");

enum cv_err rep_message_read(const uint8_t *body, size_t len, struct rep_message *ret) {
    struct rep_message m;
    memset(&m, 0, sizeof m);
    struct cv_rd r = cv_rd_init(body, len);
    uint8_t kind = cv_rd_u8(&r);
    uint8_t second = cv_rd_u8(&r);
    if (r.err)
        return r.err;

    switch (kind) {
    case REP_MESSAGE_COUNTERS:
        m.kind = REP_MESSAGE_COUNTERS;
        m.flags = second;
        m.epoch = cv_rd_le32(&r);
        m.given = cv_rd_le64(&r);
        m.taken = cv_rd_le64(&r);
        break;
    case REP_MESSAGE_RECORDS:
        m.kind = REP_MESSAGE_RECORDS;
        m.count = second;
        if (m.count > REP_RECORDS_PER_MESSAGE)
            return CV_ERR_MALFORMED;
        m.records = cv_rd_bytes(&r, (size_t)m.count * REP_RECORD);
        break;
    case REP_MESSAGE_ASK:
        m.kind = REP_MESSAGE_ASK;
        cv_rd_copy(&r, m.owner, CV_KEY);
        m.from = cv_rd_le64(&r);
        break;
    case REP_MESSAGE_FORK:
        m.kind = REP_MESSAGE_FORK;
        m.ttl = second;
        if (m.ttl > REP_FORK_TTL)
            return CV_ERR_MALFORMED;
        m.records = cv_rd_bytes(&r, 2 * REP_RECORD);
        break;
    case REP_MESSAGE_DIGEST:
    case REP_MESSAGE_DIGEST_ANSWER:
        m.kind = kind == REP_MESSAGE_DIGEST ? REP_MESSAGE_DIGEST : REP_MESSAGE_DIGEST_ANSWER;
        m.count = second;
        if (!read_digests(&r, &m))
            return CV_ERR_MALFORMED;
        break;
    default:
        return CV_ERR_UNKNOWN;
    }
    if (r.err)
        return r.err;
    if (cv_rd_left(&r) != 0)
        return CV_ERR_MALFORMED;
    if (m.kind == REP_MESSAGE_COUNTERS &&
        (m.flags & ~REP_COUNTERS_TELL || m.given > REP_AMOUNT_MAX || m.taken > REP_AMOUNT_MAX))
        return CV_ERR_MALFORMED;
    if (m.kind == REP_MESSAGE_ASK && (second != 0 || m.from == 0 || m.from > INT64_MAX))
        return CV_ERR_MALFORMED;
    *ret = m;
    return CV_ERR_OK;
}

ssize_t rep_message_write(const struct rep_message *m, uint8_t *buf, size_t cap) {
    struct cv_wr w = cv_wr_init(buf, cap);
    cv_wr_u8(&w, (uint8_t)m->kind);
    switch (m->kind) {
    case REP_MESSAGE_COUNTERS:
        cv_wr_u8(&w, m->flags);
        cv_wr_le32(&w, m->epoch);
        cv_wr_le64(&w, m->given);
        cv_wr_le64(&w, m->taken);
        break;
    case REP_MESSAGE_RECORDS:
        assert(m->count <= REP_RECORDS_PER_MESSAGE);
        cv_wr_u8(&w, m->count);
        cv_wr_bytes(&w, m->records, (size_t)m->count * REP_RECORD);
        break;
    case REP_MESSAGE_FORK:
        cv_wr_u8(&w, m->ttl);
        cv_wr_bytes(&w, m->records, 2 * REP_RECORD);
        break;
    case REP_MESSAGE_DIGEST:
    case REP_MESSAGE_DIGEST_ANSWER:
        write_digests(&w, m);
        break;
    case REP_MESSAGE_ASK:
        cv_wr_u8(&w, 0);
        cv_wr_bytes(&w, m->owner, CV_KEY);
        cv_wr_le64(&w, m->from);
        break;
    }
    return cv_wr_done(&w);
}
