/*
 * What a channel says of its recordings: the swarms that finished broadcasts were turned
 * into. It stands in the pointer of the channel's swarm (tunnel/hidden.h), which everybody
 * can write who knows the swarm, so it is signed with the channel's key; newest first
 * (docs/protocol/tunnel.md, pointers). All integers little-endian:
 *
 *     version 1 | issued u64 | count u8 | count x (ended u64 | length u64 | chunk size u32 |
 *     hash u8 | addressing u8 | flags u8 (1: direct) | root hash |
 *     name length u8 | name) | signature | zeros
 *
 * The signature has the form of the channel's algorithm (crypto/dnssec.h) and covers
 * "culvert recordings 1" | network id 8 | length u16 of the swarm id | swarm id, and all
 * that stands before it.
 */
#ifndef CULVERT_NODE_RECORDINGS_H
#define CULVERT_NODE_RECORDINGS_H

#include "crypto/dnssec.h"
#include "crypto/hash.h"
#include "node/uri.h"

enum {
    NODE_RECORDINGS_OCTETS = 860,
    NODE_RECORDINGS_MAX = 8,
    NODE_RECORDING_NAME_MAX = 64, /* octets */
};

struct node_recording {
    int64_t ended;   /* when the broadcast did, Unix seconds; of people's clocks */
    uint64_t length; /* octets */
    uint32_t chunk_size;
    uint8_t hash, addressing; /* as in a URI */
    bool direct;
    uint8_t root[CV_SHA_MAX];
    char name[NODE_RECORDING_NAME_MAX + 1]; /* printable */
};

struct node_recordings {
    int64_t issued; /* Unix seconds; of two lists of a channel the later one counts */
    uint32_t count;
    struct node_recording v[NODE_RECORDINGS_MAX];
};

/* One more, of a static swarm, in front of all; the last goes when there is no room. One
 * with the same root hash is moved. */
void node_recordings_add(struct node_recordings *r, const struct node_uri *recorded, int64_t ended);

/* Without the one of this root hash; false: it is not in there. */
bool node_recordings_remove(struct node_recordings *r, const struct node_uri *recorded);

/* Signs as many as fit, the newest first, for the channel whose key this is; how many, or
 * NOMEM. With 4096 bits of RSA there is room for two or three, else for six or more. */
int node_recordings_write(uint8_t ret[NODE_RECORDINGS_OCTETS], const struct node_recordings *r,
                          const struct node_uri *channel, const struct cv_dnssec_secret *key);

/* MALFORMED; AUTH: not signed by this channel; VERSION; NOMEM. *ret is untouched then. */
enum cv_err node_recordings_read(struct node_recordings *ret,
                                 const uint8_t in[NODE_RECORDINGS_OCTETS],
                                 const struct node_uri *channel);

/* The link of one. */
void node_recording_uri(const struct node_recording *r, const struct node_uri *channel,
                        struct node_uri *ret);

#endif
