/*
 * An engine and a script of what a peer, the clock, the store and the owner do.
 * First octet: bit 0 the engine has everything, bit 1 circuits, bit 2 the length
 * is known, bits 3, 6 and 7 how chunks are named (three of their values with an
 * authority), bits 4-5 the hash function. Then operations: one octet of kind, arguments behind it
 * (see step()).
 *
 * Property: no crash and no assertion; what is in the store is the content,
 * octet for octet, whatever was said, and whatever became of its tree; after the engine was served,
 * its next deadline lies in the future; what leaves fits the endpoint.
 */
#include <assert.h>

#include "ppsp/membership.h"
#include "ppsp/tests/raw.h"

enum { OCTETS = 69 * 512 + 100, CHUNKS = 70, OPERATIONS_MAX = 400 };

struct world {
    struct rig *rig;
    struct raw *raw;
    struct rig_store full;
    struct cv_rd script;
    ppsp_want_id want;
    struct ppsp_authority authority; /* id NULL: there is none */
    uint8_t authority_id[1 + CV_DNSSEC_PUBLIC_MAX];
    struct cv_dnssec_secret *key;
    struct ppsp_membership membership;
    struct ppsp_member own;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A datagram of the script's own octets behind `d`. */
static void script_octets(struct world *w, struct cv_wr *d) {
    size_t n = cv_rd_u8(&w->script);
    n = n < cv_rd_left(&w->script) ? n : cv_rd_left(&w->script);
    const uint8_t *p = cv_rd_bytes(&w->script, n);
    cv_wr_bytes(d, p, p ? n : 0);
}

static void give(struct world *w) {
    uint8_t k = cv_rd_u8(&w->script), how = cv_rd_u8(&w->script);
    uint64_t chunk = k % CHUNKS;
    struct cv_wr d = raw_datagram(w->raw);
    if (how & 1)
        raw_put_hashes(w->raw, &d, &w->full, chunk, how & 2);
    if (how & 4)
        d.p[-1] ^= 1; /* a wrong hash, or channel */
    if (!(how & 8))
        raw_put_data(w->raw, &d, &w->full, chunk, 1000u * k);
    if (how & 16)
        d.p[-1] ^= 1; /* a wrong chunk */
    (void)raw_send(w->raw, &d);
}

static void range(struct world *w, enum ppsp_message_type type) {
    uint8_t a = cv_rd_u8(&w->script), b = cv_rd_u8(&w->script);
    struct cv_wr d = raw_datagram(w->raw);
    uint64_t first = a < b ? a : b, last = a < b ? b : a;
    struct ppsp_chunkspec spec = raw_spec(w->raw);
    if (type == PPSP_MSG_ACK)
        ppsp_ack_write(
            &d, &spec,
            &(struct ppsp_ack){.chunks = ppsp_spec_head(&spec, &(struct ppsp_range){first, last}),
                               .delay = 977u * a});
    else
        raw_put_range(w->raw, &d, type, first, last);
    (void)raw_send(w->raw, &d);
}

/* Between circuits, of a peer that understands contacts. */
static struct ppsp_options peer_options(const struct world *w) {
    struct ppsp_options o = raw_options(w->raw);
    if (w->rig->circuits)
        o.present |= 1u << PPSP_OPT_MESSAGES;
    o.messages = UINT16_MAX;
    return o;
}

static void call(struct world *w) {
    struct ppsp_options o = peer_options(w);
    w->raw->ours = cv_rd_u8(&w->script) + 1u;
    (void)raw_send_handshake(w->raw, 0, w->raw->ours, &o);
}

static void be_called(struct world *w, bool initiate) {
    struct rig *r = w->rig;
    struct ppsp_peer_props props = {
        .mtu = r->circuits ? 1101 : 1400, .hidden = r->circuits, .initiate = initiate};
    if (ppsp_peer_add(r->engine[0], rig_now(r), r->swarm[0], &w->raw->us, &props) || !initiate)
        return;
    raw_serve(w->raw);
    struct ppsp_options o = peer_options(w);
    (void)raw_send_handshake(w->raw, w->raw->theirs, w->raw->ours, &o);
}

static void faults(struct world *w) {
    static const enum cv_err errs[] = {CV_ERR_OK,    CV_ERR_OK,    CV_ERR_OK,   CV_ERR_OK,
                                       CV_ERR_AGAIN, CV_ERR_STORE, CV_ERR_FULL, CV_ERR_CORRUPT};
    uint8_t k = cv_rd_u8(&w->script);
    struct rig_store *st = &w->rig->store[0];
    st->write_err = errs[k & 7];
    st->read_err = errs[k >> 3 & 7] == CV_ERR_FULL ? CV_ERR_OK : errs[k >> 3 & 7];
    st->tree_err = k & 64 ? CV_ERR_AGAIN : CV_ERR_OK;
    if (k & 128) /* the tree file is not what it was */
        st->tree[cv_rd_be16(&w->script) % (2 * st->cap * st->hash_len)] ^= (uint8_t)(k | 1);
}

/* What its owner does with a store whose tree leads nowhere. */
static void discard(struct rig_store *st) {
    memset(&st->size, 0, sizeof st->size);
    memset(st->have, 0, st->cap / 64 * sizeof *st->have);
    memset(st->tree, 0, 2 * st->cap * st->hash_len);
}

static void reopen(struct world *w) {
    struct rig *r = w->rig;
    struct ppsp_swarm_config config = r->config;
    config.store_ctx = &r->store[0];
    r->store[0].tree_err = CV_ERR_OK;
    ppsp_swarm_close(r->engine[0], rig_now(r), r->swarm[0]);
    enum cv_err err = ppsp_swarm_open(r->engine[0], rig_now(r), &config, &r->swarm[0]);
    if (err == CV_ERR_CORRUPT) {
        discard(&r->store[0]);
        err = ppsp_swarm_open(r->engine[0], rig_now(r), &config, &r->swarm[0]);
    }
    assert(!err);
    (void)err;
    w->want = 0;
}

/* A certificate for some address: of the authority, or damaged. */
static void certify(struct world *w, uint8_t k) {
    struct cv_addr addr = {.ip = {10, 0, 0, k >> 6}, .port = 1, .family = 4};
    struct ppsp_member m = {0};
    struct cv_wr d = raw_datagram(w->raw);
    const struct ppsp_swarm_config *c = &w->rig->config;
    if (k & 16)
        addr = w->raw->us.addr;
    if (!w->authority.id ||
        ppsp_membership_issue(&w->membership, rig_now(w->rig).wall, &w->rig->rng[RIG_ENGINES],
                              c->id, c->id_len, &addr, &m))
        return;
    m.der[m.len / 2] ^= k >> 5 & 1;
    ppsp_pex_cert_write(&d, &(struct ppsp_pex_cert){m.der, m.len});
    (void)raw_send(w->raw, &d);
    ppsp_member_done(&m);
}

static void tell(struct world *w, uint8_t k) {
    struct ppsp_contact c[PPSP_CONTACTS];
    for (unsigned i = 0; i < PPSP_CONTACTS; i++) {
        c[i] = (struct ppsp_contact){.period = k, .len = (uint16_t)(1 + k % PPSP_CONTACT_MAX)};
        memset(c[i].octets, k, sizeof c[i].octets);
    }
    enum cv_err err = ppsp_peer_tell(w->rig->engine[0], rig_now(w->rig), w->rig->swarm[0],
                                     &w->raw->us, c, k >> 3 & 7);
    assert(!err);
    (void)err;
}

static void owner(struct world *w) {
    struct rig *r = w->rig;
    struct ppsp *p = r->engine[0];
    uint8_t k = cv_rd_u8(&w->script);
    switch (k % 8) {
    case 0:
        (void)ppsp_want(p, rig_now(r), r->swarm[0], k * 200u, OCTETS, r->now + k, k, &w->want);
        break;
    case 1:
        ppsp_unwant(p, rig_now(r), r->swarm[0], w->want);
        break;
    case 2:
        ppsp_swarm_limits(p, rig_now(r), r->swarm[0], k * 1000u, (255u - k) * 1000u);
        break;
    case 3:
        ppsp_swarm_fetch_all(p, rig_now(r), r->swarm[0], k & 8);
        break;
    case 4:
        ppsp_swarm_ready(p, rig_now(r), r->swarm[0]);
        break;
    case 5:
        ppsp_peer_remove(p, rig_now(r), &w->raw->us, k & 8);
        break;
    case 6:
        reopen(w);
        break;
    default: {
        if (w->rig->circuits)
            tell(w, k);
        else if (k & 8)
            certify(w, k);
        struct ppsp_peer_stats rows[4];
        struct ppsp_stats st;
        (void)ppsp_peers(p, r->swarm[0], rows, 4);
        (void)ppsp_stats(p, r->swarm[0], &st);
        (void)ppsp_first_missing(p, r->swarm[0], k);
        break;
    }
    }
}

static void step(struct world *w) {
    static uint8_t buf[512];
    struct cv_wr d = cv_wr_init(buf, sizeof buf);
    switch (cv_rd_u8(&w->script) % 14) {
    case 0: /* any octets */
        script_octets(w, &d);
        (void)raw_send(w->raw, &d);
        break;
    case 1: /* any octets to our channel */
        d = raw_datagram(w->raw);
        script_octets(w, &d);
        (void)raw_send(w->raw, &d);
        break;
    case 2:
        w->rig->now += CV_MSEC(10) * cv_rd_u8(&w->script) + 1;
        break;
    case 3:
        w->rig->now += CV_SEC(1) * cv_rd_u8(&w->script) + 1;
        break;
    case 4:
        give(w);
        break;
    case 5:
        range(w, PPSP_MSG_HAVE);
        break;
    case 6:
        range(w, PPSP_MSG_REQUEST);
        break;
    case 7:
        range(w, PPSP_MSG_CANCEL);
        break;
    case 8:
        range(w, PPSP_MSG_ACK);
        break;
    case 9:
        call(w);
        break;
    case 10:
        be_called(w, true);
        break;
    case 11:
        be_called(w, false);
        break;
    case 12:
        faults(w);
        break;
    default:
        owner(w);
        break;
    }
    raw_serve(w->raw);
}

/* Peers are named by certificates. */
static void begin_authority(struct world *w, bool is_it) {
    uint8_t seed[CV_KEY] = {7};
    const struct ppsp_swarm_config *c = &w->rig->config;
    struct cv_addr us = {.ip = {10, 0, 0, 9}, .port = 9, .family = 4};
    enum cv_err err = cv_dnssec_secret_from_seed(seed, &w->key);
    assert(!err);
    w->authority_id[0] = CV_DNSSEC_ED25519;
    w->authority.id = w->authority_id;
    w->authority.id_len = 1 + cv_dnssec_public_of(w->key, w->authority_id + 1);
    w->authority.key = w->key;
    err = ppsp_membership_init(&w->membership, &w->authority, c->id, c->id_len);
    assert(!err);
    err = ppsp_membership_issue(&w->membership, rig_now(w->rig).wall, &w->rig->rng[RIG_ENGINES],
                                c->id, c->id_len, &us, &w->own);
    assert(!err);
    (void)err;
    w->authority.key = is_it ? w->key : NULL;
    w->authority.certificate = w->own.der;
    w->authority.certificate_len = w->own.len;
    w->rig->config.authority = &w->authority;
}

static void end_authority(struct world *w) {
    ppsp_member_done(&w->own);
    ppsp_membership_done(&w->membership);
    cv_dnssec_secret_free(w->key);
}

static void expect_content(const struct world *w) {
    const struct rig_store *st = &w->rig->store[0];
    for (uint64_t i = 0; i < CHUNKS; i++)
        if (st->have[i >> 6] >> (i & 63) & 1) {
            size_t at = i * 512, len = i + 1 < CHUNKS ? 512 : 100;
            assert(memcmp(st->content + at, w->rig->content + at, len) == 0);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const enum cv_sha hashes[] = {CV_SHA1, CV_SHA256, CV_SHA512, CV_SHA256};
    static const enum ppsp_addressing methods[] = {PPSP_ADDRESSING_CHUNK32, PPSP_ADDRESSING_CHUNK64,
                                                   PPSP_ADDRESSING_BIN32,   PPSP_ADDRESSING_BIN64,
                                                   PPSP_ADDRESSING_BYTE64,  PPSP_ADDRESSING_BYTE64,
                                                   PPSP_ADDRESSING_BIN32,   PPSP_ADDRESSING_BIN64};
    struct world w = {.script = cv_rd_init(data, size)};
    uint8_t kind = cv_rd_u8(&w.script);
    uint8_t root[CV_SHA_MAX];
    w.rig = rig_new(1, OCTETS, 512, hashes[kind >> 4 & 3]);
    w.rig->circuits = kind & 2;
    w.rig->config.length = kind & 4 ? OCTETS : 0;
    unsigned how = (kind >> 3 & 1) | (kind >> 5 & 6);
    w.rig->config.addressing = methods[how];
    w.rig->config.pex = !w.rig->circuits;
    w.rig->config.contacts = w.rig->circuits;
    if (how > 4)
        begin_authority(&w, kind & 1);
    rig_add(w.rig, kind & 1);
    w.raw = raw_new(w.rig, 0);
    rig_store_init(&w.full, 512, w.rig->config.id_len, OCTETS);
    rig_store_fill(&w.full, w.rig->config.hash, w.rig->content, OCTETS, root);
    for (unsigned i = 0; i < OPERATIONS_MAX && cv_rd_left(&w.script); i++)
        step(&w);
    expect_content(&w);
    rig_store_done(&w.full);
    free(w.raw);
    rig_free(w.rig);
    end_authority(&w);
    return 0;
}
