#include "node/recordings.h"

#include <string.h>

#include "base/cursor.h"
#include "ppsp/ppsp.h"

enum { VERSION = 1, FLAG_DIRECT = 1 };

/* The end of the year 9999: what is later, no calendar names. */
static const int64_t latest = INT64_C(253402300799);

static const char context[] = "culvert recordings 1";

/* What is signed: its head is not sent. */
enum { SIGNED_MAX = sizeof context - 1 + 8 + 2 + NODE_URI_SWARM_ID_MAX + NODE_RECORDINGS_OCTETS };

/* A name of at most so many octets, cut at a whole character. */
static size_t cut(const char *name, size_t max) {
    size_t n = strlen(name);
    if (n <= max)
        return n;
    for (n = max; n > 0 && ((uint8_t)name[n] & 0xc0) == 0x80;)
        n--;
    return n;
}

static bool same(const struct node_recording *a, const struct node_recording *b) {
    return a->hash == b->hash && memcmp(a->root, b->root, cv_sha_len((enum cv_sha)a->hash)) == 0;
}

void node_recordings_add(struct node_recordings *r, const struct node_uri *recorded,
                         int64_t ended) {
    struct node_recording fresh = {.ended = ended,
                                   .length = recorded->length,
                                   .chunk_size = recorded->chunk_size,
                                   .hash = recorded->hash,
                                   .addressing = recorded->addressing,
                                   .direct = recorded->direct};
    memcpy(fresh.root, recorded->swarm_id, cv_sha_len((enum cv_sha)recorded->hash));
    memcpy(fresh.name, recorded->name, cut(recorded->name, NODE_RECORDING_NAME_MAX));
    uint32_t at = 0;
    while (at < r->count && !same(&r->v[at], &fresh))
        at++;
    if (at == NODE_RECORDINGS_MAX)
        at--;
    if (at == r->count)
        r->count++;
    memmove(r->v + 1, r->v, at * sizeof *r->v);
    r->v[0] = fresh;
}

bool node_recordings_remove(struct node_recordings *r, const struct node_uri *recorded) {
    uint32_t at = 0;
    while (at < r->count && (r->v[at].hash != recorded->hash ||
                             memcmp(r->v[at].root, recorded->swarm_id,
                                    cv_sha_len((enum cv_sha)recorded->hash)) != 0))
        at++;
    if (at == r->count)
        return false;
    r->count--;
    memmove(&r->v[at], &r->v[at + 1], (r->count - at) * sizeof *r->v);
    return true;
}

/* ---- signing ---- */

static size_t write_signed(uint8_t out[SIGNED_MAX], const struct node_uri *channel,
                           const uint8_t *body, size_t len) {
    struct cv_wr w = cv_wr_init(out, SIGNED_MAX);
    cv_wr_bytes(&w, context, sizeof context - 1);
    cv_wr_bytes(&w, channel->network_id, sizeof channel->network_id);
    cv_wr_le(&w, channel->swarm_id_len, 2);
    cv_wr_bytes(&w, channel->swarm_id, channel->swarm_id_len);
    cv_wr_bytes(&w, body, len);
    return cv_wr_len(&w);
}

static void write_one(struct cv_wr *w, const struct node_recording *r) {
    size_t n = strlen(r->name);
    cv_wr_le(w, (uint64_t)r->ended, 8);
    cv_wr_le(w, r->length, 8);
    cv_wr_le(w, r->chunk_size, 4);
    cv_wr_u8(w, r->hash);
    cv_wr_u8(w, r->addressing);
    cv_wr_u8(w, r->direct ? FLAG_DIRECT : 0);
    cv_wr_bytes(w, r->root, cv_sha_len((enum cv_sha)r->hash));
    cv_wr_u8(w, (uint8_t)n);
    cv_wr_bytes(w, r->name, n);
}

int node_recordings_write(uint8_t ret[NODE_RECORDINGS_OCTETS], const struct node_recordings *r,
                          const struct node_uri *channel, const struct cv_dnssec_secret *key) {
    uint8_t body[NODE_RECORDINGS_OCTETS] = {0}, msg[SIGNED_MAX], sig[CV_DNSSEC_SIGNATURE_MAX];
    uint8_t public_key[CV_DNSSEC_PUBLIC_MAX];
    size_t key_len = cv_dnssec_public_of(key, public_key);
    size_t sig_len = cv_dnssec_signature_len(cv_dnssec_alg(key), public_key, key_len);
    struct cv_wr w = cv_wr_init(body, sizeof body - sig_len);
    cv_wr_u8(&w, VERSION);
    cv_wr_le(&w, (uint64_t)r->issued, 8);
    uint8_t *count = cv_wr_skip(&w, 1);
    *count = 0;
    while (*count < r->count && *count < NODE_RECORDINGS_MAX) {
        struct cv_wr more = w;
        write_one(&more, &r->v[*count]);
        if (more.err)
            break;
        w = more;
        ++*count;
    }
    size_t len = cv_wr_len(&w);
    memset(body + len, 0, sizeof body - len); /* of one that did not fit */
    if (cv_dnssec_sign(key, msg, write_signed(msg, channel, body, len), sig) != sig_len)
        return CV_ERR_NOMEM;
    memcpy(body + len, sig, sig_len);
    memcpy(ret, body, sizeof body);
    return *count;
}

/* ---- reading ---- */

static enum cv_err read_one(struct cv_rd *in, struct node_recording *ret) {
    struct node_uri name;
    ret->ended = (int64_t)cv_rd_le64(in);
    ret->length = cv_rd_le64(in);
    ret->chunk_size = cv_rd_le32(in);
    ret->hash = cv_rd_u8(in);
    ret->addressing = cv_rd_u8(in);
    ret->direct = cv_rd_u8(in) & FLAG_DIRECT;
    size_t hash_len = cv_sha_len((enum cv_sha)ret->hash);
    if (in->err || !hash_len || !ret->length || !ret->chunk_size || ret->ended < 0 ||
        ret->ended > latest)
        return CV_ERR_MALFORMED;
    cv_rd_copy(in, ret->root, hash_len);
    size_t n = cv_rd_u8(in);
    const uint8_t *text = cv_rd_bytes(in, n);
    if (!text || n > NODE_RECORDING_NAME_MAX)
        return CV_ERR_MALFORMED;
    node_uri_name(&name, (const char *)text, n);
    memcpy(ret->name, name.name, cut(name.name, NODE_RECORDING_NAME_MAX));
    return CV_ERR_OK;
}

static enum cv_err verify(const struct node_uri *channel, const uint8_t *body, size_t len) {
    enum cv_dnssec_alg alg = (enum cv_dnssec_alg)channel->swarm_id[0];
    uint8_t msg[SIGNED_MAX];
    struct cv_dnssec_public *key;
    size_t key_len = channel->swarm_id_len - 1;
    size_t sig_len = cv_dnssec_signature_len(alg, channel->swarm_id + 1, key_len);
    if (!sig_len || sig_len > NODE_RECORDINGS_OCTETS - len)
        return CV_ERR_MALFORMED;
    enum cv_err err = cv_dnssec_public_new(alg, channel->swarm_id + 1, key_len, &key);
    if (err)
        return err == CV_ERR_NOMEM ? err : CV_ERR_MALFORMED;
    bool good =
        cv_dnssec_verify(key, msg, write_signed(msg, channel, body, len), body + len, sig_len);
    cv_dnssec_public_free(key);
    return good ? CV_ERR_OK : CV_ERR_AUTH;
}

enum cv_err node_recordings_read(struct node_recordings *ret,
                                 const uint8_t in[NODE_RECORDINGS_OCTETS],
                                 const struct node_uri *channel) {
    struct cv_rd rd = cv_rd_init(in, NODE_RECORDINGS_OCTETS);
    struct node_recordings r = {0};
    if (channel->kind != NODE_URI_LIVE || channel->swarm_id_len < 2)
        return CV_ERR_MALFORMED;
    if (cv_rd_u8(&rd) != VERSION)
        return CV_ERR_VERSION;
    r.issued = (int64_t)cv_rd_le64(&rd);
    r.count = cv_rd_u8(&rd);
    if (r.count > NODE_RECORDINGS_MAX || r.issued < 0)
        return CV_ERR_MALFORMED;
    for (uint32_t i = 0; i < r.count; i++)
        if (read_one(&rd, &r.v[i]))
            return CV_ERR_MALFORMED;
    enum cv_err err = verify(channel, in, NODE_RECORDINGS_OCTETS - cv_rd_left(&rd));
    if (!err)
        *ret = r;
    return err;
}

void node_recording_uri(const struct node_recording *r, const struct node_uri *channel,
                        struct node_uri *ret) {
    *ret = (struct node_uri){.kind = NODE_URI_VOD,
                             .integrity = PPSP_INTEGRITY_MERKLE,
                             .hash = r->hash,
                             .addressing = r->addressing,
                             .chunk_size = r->chunk_size,
                             .swarm_id_len = cv_sha_len((enum cv_sha)r->hash),
                             .length = r->length,
                             .direct = r->direct};
    memcpy(ret->network_id, channel->network_id, sizeof ret->network_id);
    memcpy(ret->swarm_id, r->root, ret->swarm_id_len);
    memcpy(ret->name, r->name, sizeof r->name);
    if (r->direct) {
        memcpy(ret->authority, channel->authority, channel->authority_len);
        ret->authority_len = channel->authority_len;
    }
    memcpy(ret->contacts, channel->contacts, sizeof ret->contacts);
    ret->contacts_count = channel->contacts_count;
}
