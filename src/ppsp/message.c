#include "ppsp/message.h"

#include <assert.h>

size_t ppsp_spec_len(enum ppsp_addressing method) {
    switch (method) {
    case PPSP_ADDRESSING_CHUNK32:
        return 8;
    case PPSP_ADDRESSING_CHUNK64:
        return 16;
    case PPSP_ADDRESSING_BIN32:
    case PPSP_ADDRESSING_BYTE64:
    case PPSP_ADDRESSING_BIN64:
    default:
        return 0;
    }
}

enum cv_err ppsp_spec_read(struct cv_rd *r, enum ppsp_addressing method, struct ppsp_range *ret) {
    size_t half = ppsp_spec_len(method) / 2;
    assert(half > 0);
    struct ppsp_range range = {.first = cv_rd_be(r, half)};
    range.last = cv_rd_be(r, half);
    if (r->err)
        return r->err;
    if (range.first > range.last)
        return CV_ERR_MALFORMED;
    *ret = range;
    return CV_ERR_OK;
}

void ppsp_spec_write(struct cv_wr *w, enum ppsp_addressing method, const struct ppsp_range *range) {
    size_t half = ppsp_spec_len(method) / 2;
    assert(range->first <= range->last);
    assert(half == 8 || range->last <= UINT32_MAX);
    cv_wr_be(w, range->first, half);
    cv_wr_be(w, range->last, half);
}

enum cv_err ppsp_data_read(struct cv_rd *r, enum ppsp_addressing method, size_t chunk_size,
                           struct ppsp_data *ret) {
    struct ppsp_range range;
    enum cv_err err = ppsp_spec_read(r, method, &range);
    if (err)
        return err;
    if (range.first != range.last)
        return CV_ERR_MALFORMED;
    uint64_t timestamp = cv_rd_be64(r);
    if (r->err)
        return r->err;
    size_t len = cv_rd_left(r) < chunk_size ? cv_rd_left(r) : chunk_size;
    if (len == 0)
        return CV_ERR_TRUNCATED;
    *ret = (struct ppsp_data){.chunk = range.first, .timestamp = timestamp, .len = len};
    ret->content = cv_rd_bytes(r, len);
    return CV_ERR_OK;
}

void ppsp_data_write(struct cv_wr *w, enum ppsp_addressing method, const struct ppsp_data *data) {
    cv_wr_u8(w, PPSP_MSG_DATA);
    ppsp_spec_write(w, method, &(struct ppsp_range){data->chunk, data->chunk});
    cv_wr_be64(w, data->timestamp);
    cv_wr_bytes(w, data->content, data->len);
}

enum cv_err ppsp_ack_read(struct cv_rd *r, enum ppsp_addressing method, struct ppsp_ack *ret) {
    struct ppsp_range range;
    enum cv_err err = ppsp_spec_read(r, method, &range);
    if (err)
        return err;
    uint64_t delay = cv_rd_be64(r);
    if (r->err)
        return r->err;
    *ret = (struct ppsp_ack){.chunks = range, .delay = delay};
    return CV_ERR_OK;
}

void ppsp_ack_write(struct cv_wr *w, enum ppsp_addressing method, const struct ppsp_ack *ack) {
    cv_wr_u8(w, PPSP_MSG_ACK);
    ppsp_spec_write(w, method, &ack->chunks);
    cv_wr_be64(w, ack->delay);
}

enum cv_err ppsp_integrity_read(struct cv_rd *r, enum ppsp_addressing method, size_t hash_len,
                                struct ppsp_integrity_hash *ret) {
    struct ppsp_range range;
    enum cv_err err = ppsp_spec_read(r, method, &range);
    if (err)
        return err;
    const uint8_t *hash = cv_rd_bytes(r, hash_len);
    if (!hash)
        return r->err;
    *ret = (struct ppsp_integrity_hash){.chunks = range, .hash = hash};
    return CV_ERR_OK;
}

void ppsp_integrity_write(struct cv_wr *w, enum ppsp_addressing method, size_t hash_len,
                          const struct ppsp_integrity_hash *node) {
    cv_wr_u8(w, PPSP_MSG_INTEGRITY);
    ppsp_spec_write(w, method, &node->chunks);
    cv_wr_bytes(w, node->hash, hash_len);
}

void ppsp_range_write(struct cv_wr *w, enum ppsp_message_type type, enum ppsp_addressing method,
                      const struct ppsp_range *range) {
    cv_wr_u8(w, (uint8_t)type);
    ppsp_spec_write(w, method, range);
}

enum cv_err ppsp_pex_skip(struct cv_rd *r, enum ppsp_message_type type) {
    size_t len = 0;
    if (type == PPSP_MSG_PEX_RESV4)
        len = 6;
    else if (type == PPSP_MSG_PEX_RESV6)
        len = 18;
    else if (type == PPSP_MSG_PEX_RESCERT)
        len = cv_rd_be16(r);
    else
        assert(type == PPSP_MSG_PEX_REQ);
    (void)cv_rd_bytes(r, len);
    return r->err;
}
