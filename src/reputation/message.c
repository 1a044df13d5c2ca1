#include "reputation/message.h"

#include <assert.h>
#include <string.h>

#include "base/cursor.h"

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
    case REP_MESSAGE_ASK:
        cv_wr_u8(&w, 0);
        cv_wr_bytes(&w, m->owner, CV_KEY);
        cv_wr_le64(&w, m->from);
        break;
    }
    return cv_wr_done(&w);
}
