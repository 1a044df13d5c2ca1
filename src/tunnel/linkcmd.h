/*
 * Link commands: what two neighbours say to each other (details.md section 3).
 * RELAY carries onion cells; every other command is a sealed control cell
 * (cell.h) whose body is defined here. Readers borrow from the datagram, return
 * CV_ERR_TRUNCATED or CV_ERR_MALFORMED and leave *ret untouched on failure.
 * KEEPALIVE, PADDING and DESTROY have no body: a reason would carry bits past
 * honest relays. LEDGER: up to 5 half-blocks of 232 octets, as they are.
 */
#ifndef CULVERT_TUNNEL_LINKCMD_H
#define CULVERT_TUNNEL_LINKCMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cursor.h"
#include "base/endpoint.h"
#include "crypto/keys.h"
#include "crypto/noise.h"
#include "tunnel/limits.h"
#include "tunnel/params.h"

enum tun_link_command {
    TUN_LINKCMD_RELAY = 1,
    TUN_LINKCMD_CREATE = 2,
    TUN_LINKCMD_CREATED = 3,
    TUN_LINKCMD_DESTROY = 4, /* also the answer to a CREATE that is refused */
    TUN_LINKCMD_PADDING = 5,
    TUN_LINKCMD_KEEPALIVE = 6,
    TUN_LINKCMD_AUTH = 7,
    TUN_LINKCMD_NEW_INDEX = 8,
    TUN_LINKCMD_PATH_CHALLENGE = 9, /* 8 octets, to be returned */
    TUN_LINKCMD_PATH_RESPONSE = 10, /* the 8 octets */
    TUN_LINKCMD_LEDGER = 11,
    TUN_LINKCMD_DESCRIPTORS = 12,
    TUN_LINKCMD_TOKEN = 13,
    TUN_LINKCMD_REACH = 14,
    /* First cell of a renewed link: receiver index of the link that goes on u32 |
     * BLAKE2b-256(key = its handshake hash, "culvert link continue" | this
     * handshake's hash). */
    TUN_LINKCMD_CONTINUE = 15,
    TUN_LINKCMD_LAST = TUN_LINKCMD_CONTINUE,
};

enum { TUN_CONTINUE = 4 + 32 }; /* octets of a CONTINUE */

/* Circuit ids are chosen by the sender of CREATE; top bit = it initiated the
 * link, so that the two sides never choose the same. */
#define TUN_CIRCUIT_INITIATOR UINT32_C(0x80000000)

/* CREATE: length u8 | parameters (params.h: ttl) | flight 1.
 * The flight is the owner's, end to end; the ttl is the sender's: what came in,
 * less one. CREATED has no parameters: its body is flight 2. */
struct tun_create {
    struct tun_params params;
    const uint8_t *flight;
    size_t flight_len; /* <= TUN_EXTEND_FLIGHT_MAX */
};
enum cv_err tun_create_read(struct cv_rd *r, struct tun_create *ret);
void tun_create_write(struct cv_wr *w, const struct tun_create *m);

enum tun_role { TUN_ROLE_RELAY = 1, TUN_ROLE_CLIENT = 2 };

/* AUTH: role u8 | identity 32 | signature 64 over "culvert link auth v1" | role |
 * handshake hash. */
#define TUN_AUTH_OCTETS (1 + CV_KEY + CV_SIGNATURE)
struct tun_auth {
    uint8_t role;
    uint8_t identity[CV_KEY];
    uint8_t signature[CV_SIGNATURE];
};
enum cv_err tun_auth_read(struct cv_rd *r, struct tun_auth *ret);
void tun_auth_write(struct cv_wr *w, const struct tun_auth *m);
void tun_auth_sign(struct tun_auth *m, enum tun_role role, const struct cv_ed25519_secret *identity,
                   const uint8_t handshake_hash[CV_NOISE_HASH]);
bool tun_auth_verify(const struct tun_auth *m, const uint8_t handshake_hash[CV_NOISE_HASH]);

/* NEW_INDEX: n u8 | n x u32: further receiver indexes of the sender. */
struct tun_new_index {
    uint32_t index[TUN_SPARE_INDEXES_MAX];
    uint8_t n;
};
enum cv_err tun_new_index_read(struct cv_rd *r, struct tun_new_index *ret);
void tun_new_index_write(struct cv_wr *w, const struct tun_new_index *m);

/* DESCRIPTORS: relay command u8 (BUCKET or DESCRIPTORS) | answer u8 | its body. */
struct tun_link_descriptors {
    uint8_t command; /* TUN_CMD_BUCKET or TUN_CMD_DESCRIPTORS */
    bool answer;
    const uint8_t *body;
    size_t len;
};
enum cv_err tun_link_descriptors_read(struct cv_rd *r, struct tun_link_descriptors *ret);
void tun_link_descriptors_write(struct cv_wr *w, const struct tun_link_descriptors *m);

/* TOKEN: t 32 | BLAKE2b-128(key F(t), handshake hash). */
struct tun_token {
    uint8_t t[32], mac[16];
};
enum cv_err tun_token_read(struct cv_rd *r, struct tun_token *ret);
void tun_token_write(struct cv_wr *w, const struct tun_token *m);

enum tun_reach_kind {
    TUN_REACH_ASK = 1,     /* newcomer: have this address of mine tried from outside */
    TUN_REACH_TRY = 2,     /* asked relay to a third: send DESCRIBE there, and tell me */
    TUN_REACH_REACHED = 3, /* it answered with a descriptor that contains it */
    TUN_REACH_SILENT = 4,
};

/* REACH: kind u8 | token 8 | address. */
struct tun_reach {
    uint8_t kind;
    uint8_t token[8];
    struct cv_addr addr;
};
enum cv_err tun_reach_read(struct cv_rd *r, struct tun_reach *ret);
void tun_reach_write(struct cv_wr *w, const struct tun_reach *m);

#endif
