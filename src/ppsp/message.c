#include "ppsp/message.h"

#include <assert.h>

#include "ppsp/options.h"

/* Of a message that must name chunks, "none" is nonsense. */
static enum cv_err read_some(struct cv_rd *r, const struct ppsp_chunkspec *s,
                             struct ppsp_range *ret) {
    enum cv_err err = ppsp_spec_read(r, s, ret);
    return err == CV_ERR_NOENT ? CV_ERR_MALFORMED : err;
}

void ppsp_handshake_begin(struct cv_wr *w, uint32_t channel) {
    cv_wr_u8(w, PPSP_MSG_HANDSHAKE);
    cv_wr_be32(w, channel);
}

void ppsp_handshake_close(struct cv_wr *w) {
    ppsp_handshake_begin(w, 0);
    cv_wr_u8(w, PPSP_OPT_END);
}

/* ---- DATA ------------------------------------------------------------------- */

/* The length that a byte range says; *ret_len is it, and the chunk is in range. */
static enum cv_err read_bytes(struct cv_rd *r, const struct ppsp_chunkspec *s,
                              struct ppsp_range *range, size_t *ret_len) {
    uint64_t first = cv_rd_be64(r), last = cv_rd_be64(r);
    if (r->err)
        return r->err;
    if (first > last || first % s->chunk_size || last - first >= s->chunk_size)
        return CV_ERR_MALFORMED;
    *ret_len = (size_t)(last - first) + 1;
    range->first = range->last = first / s->chunk_size;
    return CV_ERR_OK;
}

enum cv_err ppsp_data_read(struct cv_rd *r, const struct ppsp_chunkspec *s, struct ppsp_data *ret) {
    struct ppsp_range range;
    size_t len = 0;
    enum cv_err err = s->method == PPSP_ADDRESSING_BYTE64 ? read_bytes(r, s, &range, &len)
                                                          : read_some(r, s, &range);
    if (err)
        return err;
    if (range.first != range.last)
        return CV_ERR_MALFORMED;
    uint64_t timestamp = cv_rd_be64(r);
    if (r->err)
        return r->err;
    if (len == 0)
        len = cv_rd_left(r) < s->chunk_size ? cv_rd_left(r) : s->chunk_size;
    if (len == 0 || len > cv_rd_left(r))
        return CV_ERR_TRUNCATED;
    *ret = (struct ppsp_data){.chunk = range.first, .timestamp = timestamp, .len = len};
    ret->content = cv_rd_bytes(r, len);
    return CV_ERR_OK;
}

void ppsp_data_write(struct cv_wr *w, const struct ppsp_chunkspec *s,
                     const struct ppsp_data *data) {
    cv_wr_u8(w, PPSP_MSG_DATA);
    if (s->method == PPSP_ADDRESSING_BYTE64) {
        uint64_t first = data->chunk * s->chunk_size;
        cv_wr_be64(w, first);
        cv_wr_be64(w, first + data->len - 1);
    } else {
        ppsp_spec_write(w, s, &(struct ppsp_range){data->chunk, data->chunk});
    }
    cv_wr_be64(w, data->timestamp);
    cv_wr_bytes(w, data->content, data->len);
}

/* ---- ACK, INTEGRITY ----------------------------------------------------------- */

enum cv_err ppsp_ack_read(struct cv_rd *r, const struct ppsp_chunkspec *s, struct ppsp_ack *ret) {
    struct ppsp_range range;
    enum cv_err err = read_some(r, s, &range);
    if (err)
        return err;
    uint64_t delay = cv_rd_be64(r);
    if (r->err)
        return r->err;
    *ret = (struct ppsp_ack){.chunks = range, .delay = delay};
    return CV_ERR_OK;
}

void ppsp_ack_write(struct cv_wr *w, const struct ppsp_chunkspec *s, const struct ppsp_ack *ack) {
    cv_wr_u8(w, PPSP_MSG_ACK);
    ppsp_spec_write(w, s, &ack->chunks);
    cv_wr_be64(w, ack->delay);
}

enum cv_err ppsp_integrity_read(struct cv_rd *r, const struct ppsp_chunkspec *s, size_t hash_len,
                                struct ppsp_integrity_hash *ret) {
    /* A byte range goes on behind the content when padding is under the node. */
    struct ppsp_chunkspec open = *s;
    open.octets = 0;
    struct ppsp_range range;
    enum cv_err err = read_some(r, &open, &range);
    if (err)
        return err;
    const uint8_t *hash = cv_rd_bytes(r, hash_len);
    if (!hash)
        return r->err;
    *ret = (struct ppsp_integrity_hash){.chunks = range, .hash = hash};
    return CV_ERR_OK;
}

void ppsp_integrity_write(struct cv_wr *w, const struct ppsp_chunkspec *s, size_t hash_len,
                          const struct ppsp_integrity_hash *node) {
    cv_wr_u8(w, PPSP_MSG_INTEGRITY);
    ppsp_spec_write_node(w, s, &node->chunks);
    cv_wr_bytes(w, node->hash, hash_len);
}

/* ---- SIGNED_INTEGRITY ----------------------------------------------------------- */

enum cv_err ppsp_signed_read(struct cv_rd *r, const struct ppsp_chunkspec *s, size_t sig_len,
                             struct ppsp_signed_integrity *ret) {
    /* Padding may be under a munro, as under any node. */
    struct ppsp_chunkspec open = *s;
    open.octets = 0;
    struct ppsp_range range;
    enum cv_err err = read_some(r, &open, &range);
    if (err)
        return err;
    uint64_t ntp = cv_rd_be64(r);
    const uint8_t *signature = cv_rd_bytes(r, sig_len);
    if (!signature)
        return r->err;
    *ret = (struct ppsp_signed_integrity){range, ntp, signature};
    return CV_ERR_OK;
}

void ppsp_signed_write(struct cv_wr *w, const struct ppsp_chunkspec *s, size_t sig_len,
                       const struct ppsp_signed_integrity *m) {
    cv_wr_u8(w, PPSP_MSG_SIGNED_INTEGRITY);
    ppsp_spec_write_node(w, s, &m->chunks);
    cv_wr_be64(w, m->ntp);
    cv_wr_bytes(w, m->signature, sig_len);
}

/* ---- HAVE, REQUEST, CANCEL ------------------------------------------------------ */

void ppsp_range_write(struct cv_wr *w, enum ppsp_message_type type, const struct ppsp_chunkspec *s,
                      const struct ppsp_range *range) {
    cv_wr_u8(w, (uint8_t)type);
    ppsp_spec_write(w, s, range);
}

bool ppsp_ranges_write(struct cv_wr *w, enum ppsp_message_type type, const struct ppsp_chunkspec *s,
                       struct ppsp_range *range, size_t spare) {
    while (cv_wr_room(w) >= 1 + ppsp_spec_len(s->method) + spare) {
        struct ppsp_range head = ppsp_spec_head(s, range);
        ppsp_range_write(w, type, s, &head);
        if (head.last == range->last)
            return true;
        range->first = head.last + 1;
    }
    return false;
}

/* ---- the rest --------------------------------------------------------------------- */

void ppsp_bare_write(struct cv_wr *w, enum ppsp_message_type type) {
    assert(type == PPSP_MSG_CHOKE || type == PPSP_MSG_UNCHOKE || type == PPSP_MSG_PEX_REQ);
    cv_wr_u8(w, (uint8_t)type);
}

enum cv_err ppsp_pex_read(struct cv_rd *r, enum ppsp_message_type type, struct cv_addr *ret) {
    assert(type == PPSP_MSG_PEX_RESV4 || type == PPSP_MSG_PEX_RESV6);
    struct cv_addr addr = {.family = type == PPSP_MSG_PEX_RESV4 ? 4 : 6};
    cv_rd_copy(r, addr.ip, addr.family == 4 ? 4 : 16);
    addr.port = cv_rd_be16(r);
    if (r->err)
        return r->err;
    *ret = addr;
    return CV_ERR_OK;
}

enum ppsp_message_type ppsp_pex_type(const struct cv_addr *addr) {
    assert(addr->family == 4 || addr->family == 6);
    return addr->family == 4 ? PPSP_MSG_PEX_RESV4 : PPSP_MSG_PEX_RESV6;
}

void ppsp_pex_write(struct cv_wr *w, const struct cv_addr *addr) {
    cv_wr_u8(w, (uint8_t)ppsp_pex_type(addr));
    cv_wr_bytes(w, addr->ip, addr->family == 4 ? 4 : 16);
    cv_wr_be16(w, addr->port);
}

enum cv_err ppsp_pex_cert_read(struct cv_rd *r, struct ppsp_pex_cert *ret) {
    size_t len = cv_rd_be16(r);
    const uint8_t *der = cv_rd_bytes(r, len);
    if (r->err)
        return r->err;
    *ret = (struct ppsp_pex_cert){.der = der, .len = len};
    return CV_ERR_OK;
}

void ppsp_pex_cert_write(struct cv_wr *w, const struct ppsp_pex_cert *cert) {
    assert(cert->len <= UINT16_MAX);
    cv_wr_u8(w, PPSP_MSG_PEX_RESCERT);
    cv_wr_be16(w, (uint16_t)cert->len);
    cv_wr_bytes(w, cert->der, cert->len);
}

enum cv_err ppsp_pex_contact_read(struct cv_rd *r, struct ppsp_pex_contact *ret) {
    size_t len = cv_rd_be16(r);
    if (!r->err && len < 4)
        return CV_ERR_MALFORMED;
    uint32_t period = cv_rd_be32(r);
    const uint8_t *octets = cv_rd_bytes(r, r->err ? 0 : len - 4);
    if (r->err)
        return r->err;
    *ret = (struct ppsp_pex_contact){.period = period, .octets = octets, .len = len - 4};
    return CV_ERR_OK;
}

void ppsp_pex_contact_write(struct cv_wr *w, const struct ppsp_pex_contact *contact) {
    assert(contact->len <= UINT16_MAX - 4);
    cv_wr_u8(w, PPSP_MSG_PEX_CONTACT);
    cv_wr_be16(w, (uint16_t)(contact->len + 4));
    cv_wr_be32(w, contact->period);
    cv_wr_bytes(w, contact->octets, contact->len);
}
