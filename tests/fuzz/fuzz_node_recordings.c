/*
 * What a channel says of its recordings (node/recordings.h). Input: the octets of a pointer
 * up to the signature, which is put behind them here, where the format says that they end,
 * so that what a channel itself may say is reached; an input that begins with '!' is read
 * as it is.
 * Property: what verifies is written again by the channel as a list that reads as the same,
 * each of it has a link, and what is refused leaves the result untouched. A list that ends
 * where it says is refused for its content alone.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "node/recordings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct cv_dnssec_secret *key;
static struct node_uri channel;

static void begin(void) {
    cv_crypto_init();
    enum cv_err err = cv_dnssec_secret_from_seed((const uint8_t[CV_KEY]){1}, &key);
    assert(!err);
    (void)err;
    channel = (struct node_uri){.kind = NODE_URI_LIVE, .network_id = {1, 2, 3}, .chunk_size = 1024};
    channel.swarm_id[0] = CV_DNSSEC_ED25519;
    channel.swarm_id_len = 1 + cv_dnssec_public_of(key, channel.swarm_id + 1);
}

/* Where a list ends by its own account; 0: nowhere. */
static size_t end_of(const uint8_t *octets) {
    size_t at = 10;
    for (unsigned i = 0; i < octets[9]; i++) {
        if (at + 23 > NODE_RECORDINGS_OCTETS)
            return 0;
        at += 23 + cv_sha_len((enum cv_sha)octets[at + 20]);
        if (at + 1 > NODE_RECORDINGS_OCTETS)
            return 0;
        at += 1u + octets[at];
    }
    return at + CV_SIGNATURE <= NODE_RECORDINGS_OCTETS ? at : 0;
}

static void sign(uint8_t octets[NODE_RECORDINGS_OCTETS], size_t end) {
    uint8_t msg[20 + 8 + 2 + 1 + CV_KEY + NODE_RECORDINGS_OCTETS], sig[CV_DNSSEC_SIGNATURE_MAX];
    memcpy(msg, "culvert recordings 1", 20);
    memcpy(msg + 20, channel.network_id, 8);
    msg[28] = (uint8_t)channel.swarm_id_len;
    msg[29] = 0;
    memcpy(msg + 30, channel.swarm_id, channel.swarm_id_len);
    memcpy(msg + 30 + channel.swarm_id_len, octets, end);
    size_t n = cv_dnssec_sign(key, msg, 30 + channel.swarm_id_len + end, sig);
    memcpy(octets + end, sig, n);
}

static void again(const struct node_recordings *r) {
    uint8_t octets[NODE_RECORDINGS_OCTETS];
    static struct node_recordings got;
    int n = node_recordings_write(octets, r, &channel, key);
    assert(n == (int)r->count); /* a name grows by nothing when it is made printable */
    assert(node_recordings_read(&got, octets, &channel) == CV_ERR_OK);
    assert(got.issued == r->issued && got.count == r->count);
    assert(memcmp(got.v, r->v, r->count * sizeof *r->v) == 0);
    for (uint32_t i = 0; i < r->count; i++) {
        struct node_uri uri;
        char text[NODE_URI_MAX];
        node_recording_uri(&r->v[i], &channel, &uri);
        assert(node_uri_write(&uri, text, sizeof text) > 0);
    }
    struct node_uri one;
    got = *r;
    if (r->count) {
        node_recording_uri(&r->v[r->count - 1], &channel, &one);
        node_recordings_add(&got, &one, 1);
        assert(got.count == r->count || got.count == r->count + 1);
        assert(memcmp(got.v[0].root, one.swarm_id, one.swarm_id_len) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t octets[NODE_RECORDINGS_OCTETS] = {0};
    static struct node_recordings got, untouched;
    if (!key)
        begin();
    bool raw = size && data[0] == '!';
    if (size - raw > sizeof octets)
        return 0;
    if (size > raw)
        memcpy(octets, data + raw, size - raw);
    size_t end = raw ? 0 : end_of(octets);
    if (end)
        sign(octets, end);
    memset(&got, 0xee, sizeof got);
    memset(&untouched, 0xee, sizeof untouched);
    enum cv_err err = node_recordings_read(&got, octets, &channel);
    if (!err)
        again(&got);
    else
        assert(memcmp(&got, &untouched, sizeof got) == 0 && (!end || err != CV_ERR_AUTH));
    return 0;
}
