#include "ppsp/options.h"

#include <assert.h>

#include "ppsp/ppsp.h"

/* The discard window is as wide as the addressing method's numbers (7.9). */
static size_t window_len(uint8_t addressing) {
    return addressing == PPSP_ADDRESSING_BIN32 || addressing == PPSP_ADDRESSING_CHUNK32 ? 4 : 8;
}

/* Bit X from the left of the bitmap is message type X (7.10). */
static void read_messages(struct cv_rd *r, struct ppsp_options *o) {
    size_t len = cv_rd_u8(r);
    const uint8_t *map = cv_rd_bytes(r, len);
    for (unsigned t = 0; map && t < 16 && t / 8 < len; t++)
        if (map[t / 8] >> (7 - t % 8) & 1)
            o->messages = (uint16_t)(o->messages | 1u << t);
}

static void write_messages(struct cv_wr *w, uint16_t messages) {
    uint8_t map[2] = {0, 0};
    for (unsigned t = 0; t < 16; t++)
        if (messages >> t & 1)
            map[t / 8] = (uint8_t)(map[t / 8] | 0x80u >> (t % 8));
    uint8_t len = map[1] ? 2 : map[0] ? 1 : 0;
    cv_wr_u8(w, len);
    cv_wr_bytes(w, map, len);
}

static enum cv_err read_one(struct cv_rd *r, uint8_t code, struct ppsp_options *o) {
    switch ((enum ppsp_option)code) {
    case PPSP_OPT_VERSION:
        o->version = cv_rd_u8(r);
        break;
    case PPSP_OPT_MIN_VERSION:
        o->min_version = cv_rd_u8(r);
        break;
    case PPSP_OPT_SWARM_ID:
        o->swarm_id_len = cv_rd_be16(r);
        o->swarm_id = cv_rd_bytes(r, o->swarm_id_len);
        break;
    case PPSP_OPT_INTEGRITY:
        o->integrity = cv_rd_u8(r);
        break;
    case PPSP_OPT_HASH:
        o->hash = cv_rd_u8(r);
        break;
    case PPSP_OPT_SIGNATURE:
        o->signature = cv_rd_u8(r);
        break;
    case PPSP_OPT_ADDRESSING:
        o->addressing = cv_rd_u8(r);
        break;
    case PPSP_OPT_DISCARD_WINDOW:
        if (!ppsp_options_has(o, PPSP_OPT_ADDRESSING))
            return CV_ERR_MALFORMED;
        o->discard_window = cv_rd_be(r, window_len(o->addressing));
        break;
    case PPSP_OPT_MESSAGES:
        read_messages(r, o);
        break;
    case PPSP_OPT_CHUNK_SIZE:
        o->chunk_size = cv_rd_be32(r);
        break;
    case PPSP_OPT_END:
    default:
        return CV_ERR_UNKNOWN;
    }
    return r->err;
}

enum cv_err ppsp_options_read(struct cv_rd *r, struct ppsp_options *ret) {
    struct ppsp_options o = {0};
    int before = -1;
    for (;;) {
        uint8_t code = cv_rd_u8(r);
        if (r->err)
            return r->err;
        if (code == PPSP_OPT_END)
            break;
        if (code <= before)
            return CV_ERR_MALFORMED;
        before = code;
        enum cv_err err = read_one(r, code, &o);
        if (err)
            return err;
        o.present |= 1u << code;
    }
    *ret = o;
    return CV_ERR_OK;
}

static void write_u8(struct cv_wr *w, const struct ppsp_options *o, enum ppsp_option code,
                     uint8_t value) {
    if (!ppsp_options_has(o, code))
        return;
    cv_wr_u8(w, (uint8_t)code);
    cv_wr_u8(w, value);
}

void ppsp_options_write(struct cv_wr *w, const struct ppsp_options *o) {
    write_u8(w, o, PPSP_OPT_VERSION, o->version);
    write_u8(w, o, PPSP_OPT_MIN_VERSION, o->min_version);
    if (ppsp_options_has(o, PPSP_OPT_SWARM_ID)) {
        cv_wr_u8(w, PPSP_OPT_SWARM_ID);
        cv_wr_be16(w, o->swarm_id_len);
        cv_wr_bytes(w, o->swarm_id, o->swarm_id_len);
    }
    write_u8(w, o, PPSP_OPT_INTEGRITY, o->integrity);
    write_u8(w, o, PPSP_OPT_HASH, o->hash);
    write_u8(w, o, PPSP_OPT_SIGNATURE, o->signature);
    write_u8(w, o, PPSP_OPT_ADDRESSING, o->addressing);
    if (ppsp_options_has(o, PPSP_OPT_DISCARD_WINDOW)) {
        assert(ppsp_options_has(o, PPSP_OPT_ADDRESSING));
        cv_wr_u8(w, PPSP_OPT_DISCARD_WINDOW);
        cv_wr_be(w, o->discard_window, window_len(o->addressing));
    }
    if (ppsp_options_has(o, PPSP_OPT_MESSAGES)) {
        cv_wr_u8(w, PPSP_OPT_MESSAGES);
        write_messages(w, o->messages);
    }
    if (ppsp_options_has(o, PPSP_OPT_CHUNK_SIZE)) {
        cv_wr_u8(w, PPSP_OPT_CHUNK_SIZE);
        cv_wr_be32(w, o->chunk_size);
    }
    cv_wr_u8(w, PPSP_OPT_END);
}
