/*
 * The culvert: URI, which names a swarm completely:
 *
 *     culvert:?x=BASE32&n=NAME&l=LENGTH[&f=1][&k=SECRET][&a=BASE32][&b=IP:PORT...]&c=CHECK
 *
 * x  version 1 | kind u8 | network id 8 | integrity u8 | hash u8 |
 *    addressing u8 | chunk size u32 (big-endian) | swarm id
 * n  file name, percent-encoded; for people, never used as a path
 * l  content length in octets: HTTP must state it before the last chunk is there
 * f  1: a folder as one swarm
 * k  32 secret octets of a secret link, base32
 * a  of a direct swarm: who certifies its peers, base32 of the number of a signature
 *    algorithm and a public key (RFC 7574 section 12.2.2: part of the metadata)
 * b  up to 3 DHT contacts (never the seeder's)
 * c  base32 of the first 5 octets of BLAKE2b of everything before "&c=": a cut
 *    or a change anywhere is noticed
 *
 * Unknown parameters are ignored and covered by c.
 */
#ifndef CULVERT_NODE_URI_H
#define CULVERT_NODE_URI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/endpoint.h"
#include "base/err.h"

enum {
    NODE_URI_NAME_MAX = 255, /* octets of the decoded name */
    NODE_URI_CONTACTS_MAX = 3,
    NODE_URI_SWARM_ID_MAX = 600, /* RSA-4096 key of a live swarm fits */
    NODE_URI_AUTHORITY_MAX = 300,
    NODE_URI_MAX = 4096, /* octets of the text */
};

enum node_uri_kind { NODE_URI_VOD = 0, NODE_URI_LIVE = 1 };

struct node_uri {
    uint8_t kind; /* enum node_uri_kind */
    uint8_t network_id[8];
    uint8_t integrity, hash, addressing; /* RFC 7574 sections 7.5, 7.6, 7.8 */
    uint32_t chunk_size;
    uint8_t swarm_id[NODE_URI_SWARM_ID_MAX];
    size_t swarm_id_len;
    char name[NODE_URI_NAME_MAX + 1];
    uint64_t length;
    bool folder, has_secret;
    bool direct; /* a direct swarm: its peers have addresses and no rendezvous */
    uint8_t secret[32];
    uint8_t authority[NODE_URI_AUTHORITY_MAX];
    size_t authority_len; /* 0: none */
    struct cv_addr contacts[NODE_URI_CONTACTS_MAX];
    size_t contacts_count;
};

/* Makes `text` the name: what is not printable UTF-8 becomes '_', so that a
 * name chosen by a stranger may be shown anywhere; cut at a whole character. */
void node_uri_name(struct node_uri *uri, const char *text, size_t len);

/* Length without the NUL, or CV_ERR_NOBUFS. */
ssize_t node_uri_write(const struct node_uri *uri, char *out, size_t cap);

/*
 * CV_ERR_MALFORMED, CV_ERR_TRUNCATED (no check at the end) or CV_ERR_VERSION
 * leave *ret untouched; *ret_why is then a static sentence for the user (may be
 * passed as NULL).
 */
enum cv_err node_uri_read(const char *text, struct node_uri *ret, const char **ret_why);

#endif
