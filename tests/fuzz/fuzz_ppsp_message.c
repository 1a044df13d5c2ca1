/*
 * Every message and the options of a handshake, from arbitrary octets.
 * Property: no crash; a reader never passes the end; what a reader accepts is
 * written as the same octets again. Byte ranges, which may end in several ways
 * with the last chunk, and options: what is written reads the same.
 */
#include <assert.h>
#include <string.h>

#include "ppsp/message.h"
#include "ppsp/options.h"

enum { HASH = 20, SIGNATURE = 24, CHUNK = 64, LENGTH = 1000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect_same(const struct cv_wr *w, const struct cv_rd *r, const uint8_t *from) {
    size_t used = (size_t)(r->p - from);
    assert(!w->err);
    assert(cv_wr_len(w) == used + 1);
    assert(memcmp(w->start + 1, from, used) == 0);
}

static void expect_range(const struct ppsp_chunkspec *spec, const struct ppsp_range *range,
                         const struct cv_rd *r, const uint8_t *from) {
    uint8_t out[32];
    struct cv_wr w = cv_wr_init(out, sizeof out);
    struct ppsp_range again = {1, 0};
    ppsp_range_write(&w, PPSP_MSG_HAVE, spec, range);
    if (spec->method != PPSP_ADDRESSING_BYTE64)
        expect_same(&w, r, from);
    struct cv_rd written = cv_rd_init(out + 1, cv_wr_len(&w) - 1);
    enum cv_err err = ppsp_spec_read(&written, spec, &again);
    assert(!err && cv_rd_left(&written) == 0);
    assert(again.first == range->first && again.last == range->last);
    (void)err;
}

static void messages(enum ppsp_addressing method, const uint8_t *data, size_t size) {
    struct ppsp_chunkspec spec = {method, CHUNK, method == PPSP_ADDRESSING_BYTE64 ? LENGTH : 0};
    uint8_t out[256];
    struct ppsp_range range;
    struct cv_rd r = cv_rd_init(data, size);
    struct cv_wr w = cv_wr_init(out, sizeof out);
    if (!ppsp_spec_read(&r, &spec, &range)) {
        assert(range.first <= range.last);
        expect_range(&spec, &range, &r, data);
    }
    struct ppsp_data d;
    r = cv_rd_init(data, size);
    w = cv_wr_init(out, sizeof out);
    if (!ppsp_data_read(&r, &spec, &d)) {
        assert(d.len >= 1 && d.len <= CHUNK);
        ppsp_data_write(&w, &spec, &d);
        expect_same(&w, &r, data);
    }
    struct ppsp_ack ack;
    r = cv_rd_init(data, size);
    w = cv_wr_init(out, sizeof out);
    if (!ppsp_ack_read(&r, &spec, &ack)) {
        ppsp_ack_write(&w, &spec, &ack);
        if (method != PPSP_ADDRESSING_BYTE64)
            expect_same(&w, &r, data);
        struct cv_rd written = cv_rd_init(out + 1, cv_wr_len(&w) - 1);
        struct ppsp_ack again;
        enum cv_err err = ppsp_ack_read(&written, &spec, &again);
        assert(!err && again.delay == ack.delay);
        assert(again.chunks.first == ack.chunks.first && again.chunks.last == ack.chunks.last);
        (void)err;
    }
    struct ppsp_integrity_hash node;
    r = cv_rd_init(data, size);
    w = cv_wr_init(out, sizeof out);
    if (!ppsp_integrity_read(&r, &spec, HASH, &node)) {
        ppsp_integrity_write(&w, &spec, HASH, &node);
        if (method != PPSP_ADDRESSING_BYTE64) { /* there a node is written with its padding */
            expect_same(&w, &r, data);
        } else {
            struct ppsp_integrity_hash again;
            r = cv_rd_init(out + 1, cv_wr_len(&w) - 1);
            enum cv_err err = ppsp_integrity_read(&r, &spec, HASH, &again);
            assert(!err && again.chunks.first == node.chunks.first);
            assert(again.chunks.last == node.chunks.last);
            (void)err;
        }
    }
    struct ppsp_signed_integrity sig;
    r = cv_rd_init(data, size);
    w = cv_wr_init(out, sizeof out);
    if (!ppsp_signed_read(&r, &spec, SIGNATURE, &sig)) {
        ppsp_signed_write(&w, &spec, SIGNATURE, &sig);
        if (method != PPSP_ADDRESSING_BYTE64) /* likewise */
            expect_same(&w, &r, data);
        struct ppsp_signed_integrity again;
        struct cv_rd written = cv_rd_init(out + 1, cv_wr_len(&w) - 1);
        assert(!ppsp_signed_read(&written, &spec, SIGNATURE, &again));
        assert(again.chunks.first == sig.chunks.first && again.chunks.last == sig.chunks.last);
        assert(again.ntp == sig.ntp && memcmp(again.signature, sig.signature, SIGNATURE) == 0);
    }
}

static void addresses(const uint8_t *data, size_t size) {
    uint8_t out[70000];
    static const enum ppsp_message_type pex[] = {PPSP_MSG_PEX_RESV4, PPSP_MSG_PEX_RESV6};
    for (size_t i = 0; i < sizeof pex / sizeof *pex; i++) {
        struct cv_addr addr;
        struct cv_rd r = cv_rd_init(data, size);
        struct cv_wr w = cv_wr_init(out, sizeof out);
        if (ppsp_pex_read(&r, pex[i], &addr))
            continue;
        ppsp_pex_write(&w, &addr);
        expect_same(&w, &r, data);
    }
    struct ppsp_pex_cert cert;
    struct cv_rd r = cv_rd_init(data, size);
    struct cv_wr w = cv_wr_init(out, sizeof out);
    if (!ppsp_pex_cert_read(&r, &cert)) {
        ppsp_pex_cert_write(&w, &cert);
        expect_same(&w, &r, data);
    }
    struct ppsp_pex_contact contact;
    r = cv_rd_init(data, size);
    w = cv_wr_init(out, sizeof out);
    if (!ppsp_pex_contact_read(&r, &contact)) {
        ppsp_pex_contact_write(&w, &contact);
        expect_same(&w, &r, data);
    }
    w = cv_wr_init(out, sizeof out);
    ppsp_bare_write(&w, PPSP_MSG_PEX_REQ);
    ppsp_handshake_close(&w);
    assert(cv_wr_len(&w) == 7);
}

static void options(const uint8_t *data, size_t size) {
    static uint8_t out[70000];
    struct ppsp_options o, again;
    struct cv_rd r = cv_rd_init(data, size);
    if (ppsp_options_read(&r, &o))
        return;
    struct cv_wr w = cv_wr_init(out, sizeof out);
    ppsp_options_write(&w, &o);
    assert(!w.err);
    struct cv_rd back = cv_rd_init(out, cv_wr_len(&w));
    enum cv_err err = ppsp_options_read(&back, &again);
    assert(!err);
    (void)err;
    assert(cv_rd_left(&back) == 0);
    assert(o.present == again.present && o.version == again.version);
    assert(o.min_version == again.min_version && o.integrity == again.integrity);
    assert(o.hash == again.hash && o.signature == again.signature);
    assert(o.addressing == again.addressing && o.discard_window == again.discard_window);
    assert(o.messages == again.messages && o.chunk_size == again.chunk_size);
    assert(o.swarm_id_len == again.swarm_id_len);
    assert(!o.swarm_id_len || memcmp(o.swarm_id, again.swarm_id, o.swarm_id_len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    for (int m = PPSP_ADDRESSING_BIN32; m <= PPSP_ADDRESSING_CHUNK64; m++)
        messages((enum ppsp_addressing)m, data, size);
    addresses(data, size);
    options(data, size);
    return 0;
}
