/*
 * The culvert: URI (node/uri.h). Input: the text, without its check at the end,
 * which is put right here so that what stands behind it is reached; an input
 * that begins with '!' is read as it is.
 * Property: what is read is written again as a text that reads as the same; its
 * name is printable; what is refused leaves the result untouched and says why.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/text.h"
#include "crypto/hash.h"
#include "node/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const struct node_uri *u) {
    static struct node_uri got;
    char text[NODE_URI_MAX + 1];
    ssize_t len = node_uri_write(u, text, sizeof text);
    if (len < 0) {
        assert(len == CV_ERR_NOBUFS); /* escaping made it longer */
        return;
    }
    assert((size_t)len == strlen(text));
    assert(node_uri_read(text, &got, NULL) == CV_ERR_OK);
    assert(strcmp(u->name, got.name) == 0 && u->length == got.length);
    assert(u->swarm_id_len == got.swarm_id_len);
    assert(memcmp(u->swarm_id, got.swarm_id, u->swarm_id_len) == 0);
    assert(u->kind == got.kind && u->chunk_size == got.chunk_size && u->hash == got.hash);
    assert(u->integrity == got.integrity && u->addressing == got.addressing);
    assert(u->folder == got.folder && u->has_secret == got.has_secret);
    assert(memcmp(u->secret, got.secret, sizeof u->secret) == 0);
    assert(u->authority_len == got.authority_len);
    assert(memcmp(u->authority, got.authority, u->authority_len) == 0);
    assert(u->contacts_count == got.contacts_count);
    for (size_t i = 0; i < u->contacts_count; i++)
        assert(cv_addr_equal(&u->contacts[i], &got.contacts[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char text[NODE_URI_MAX + 32];
    static struct node_uri got, untouched;
    const char *why = NULL;
    if (size > NODE_URI_MAX + 8)
        return 0;
    bool raw = size && data[0] == '!';
    memcpy(text, data + raw, size - raw);
    size_t len = size - raw;
    text[len] = '\0';
    if (!raw) {
        uint8_t hash[32];
        len = strlen(text);
        CV_BLAKE2B(hash, sizeof hash, NULL, 0, {text, len});
        memcpy(text + len, "&c=", 3);
        cv_base32(hash, 5, text + len + 3);
    }
    memset(&got, 0xee, sizeof got);
    memset(&untouched, 0xee, sizeof untouched);
    if (node_uri_read(text, &got, &why) == CV_ERR_OK) {
        for (const char *p = got.name; *p; p++)
            assert((uint8_t)*p >= 0x20 && *p != 0x7f);
        again(&got);
    } else {
        assert(why && *why);
        assert(memcmp(&got, &untouched, sizeof got) == 0);
    }
    return 0;
}
