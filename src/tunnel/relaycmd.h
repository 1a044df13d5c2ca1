/*
 * Relay commands: what the owner of a circuit and its hops say to each other
 * inside the onion (details.md section 3). Each body has a struct, a reader and
 * a writer; readers borrow from the cell and return CV_ERR_TRUNCATED or
 * CV_ERR_MALFORMED leaving *ret untouched; writers stick to the cv_wr. What
 * follows a body of fixed shape belongs to later versions and is ignored.
 *
 * Every request and its answer begin with the transaction, u32, chosen by the
 * asker; cells get lost, so a request is repeated in a new cell with the same
 * transaction and the remembered answer is repeated. Where question and answer
 * share a command the direction tells them apart.
 *
 * DATAGRAM has no structure: its data is one datagram of flow 0, or, through a
 * rendezvous, a cell of the end-to-end layer.
 */
#ifndef CULVERT_TUNNEL_RELAYCMD_H
#define CULVERT_TUNNEL_RELAYCMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cursor.h"
#include "base/endpoint.h"
#include "crypto/keys.h"
#include "tunnel/limits.h"

enum tun_relay_command {
    TUN_CMD_DATAGRAM = 1,
    TUN_CMD_EXTEND = 2,
    TUN_CMD_EXTENDED = 3,
    TUN_CMD_BUCKET = 4,      /* question and answer */
    TUN_CMD_DESCRIPTORS = 5, /* question and answer */
    TUN_CMD_LOOKUP = 6,
    TUN_CMD_RESULT = 7,
    TUN_CMD_PUT = 8,
    TUN_CMD_PUT_DONE = 9,
    TUN_CMD_ESTABLISH_INTRO = 10,
    TUN_CMD_INTRO_ESTABLISHED = 11,
    TUN_CMD_INTRODUCE = 12,
    TUN_CMD_INTRODUCE_ACK = 13,
    TUN_CMD_INTRODUCTION = 14, /* introduction point to seeder; no transaction */
    TUN_CMD_ESTABLISH_RENDEZVOUS = 15,
    TUN_CMD_RENDEZVOUS_ESTABLISHED = 16,
    TUN_CMD_JOIN = 17,
    TUN_CMD_JOINED = 18,
    TUN_CMD_PING = 19,
    TUN_CMD_PONG = 20,
    TUN_CMD_PADDING = 21,
    TUN_CMD_ERROR = 22,
    TUN_CMD_OPEN = 23,
    TUN_CMD_EXIT = 24,
    TUN_CMD_PACE = 25,
    TUN_CMD_TOKEN_REQUEST = 26,
    TUN_CMD_TOKEN_REPLY = 27,
    TUN_CMD_OPENED = 28, /* answer to OPEN; flow 0 of the circuit is now that swarm */
    TUN_CMD_CONNECT = 30,
    TUN_CMD_CONNECTED = 31, /* answer to CONNECT; EXIT cells of that flow go there now */
};

/* Codes of ERROR. */
enum tun_cmd_error {
    TUN_ERROR_UNKNOWN_COMMAND = 1,
    TUN_ERROR_MALFORMED = 2,
    TUN_ERROR_DIFFERS = 3,     /* EXTEND: data = my own descriptor of that day */
    TUN_ERROR_NOENT = 4,       /* no such descriptor, swarm, cookie, introduction */
    TUN_ERROR_UNREACHABLE = 5, /* no link could be made, or it did not answer */
    TUN_ERROR_REFUSED = 6,     /* address, role or rule forbids it */
    TUN_ERROR_LIMIT = 7,       /* ttl, extends, rate; do not repeat soon */
    TUN_ERROR_BUSY = 8,        /* later */
};

/* INTRO_ESTABLISHED, RENDEZVOUS_ESTABLISHED, PING, PONG, OPENED, CONNECTED, and the
 * first four octets of every other request. */
struct tun_transaction {
    uint32_t transaction;
};
enum cv_err tun_transaction_read(struct cv_rd *r, struct tun_transaction *ret);
void tun_transaction_write(struct cv_wr *w, const struct tun_transaction *t);

/* EXTEND: transaction | identity 32 | day u32 | D 16 | flight 1 (<= 400). */
struct tun_extend {
    uint32_t transaction, day;
    uint8_t identity[CV_KEY];
    uint8_t digest[TUN_DIGEST];
    const uint8_t *flight;
    size_t flight_len;
};
enum cv_err tun_extend_read(struct cv_rd *r, struct tun_extend *ret);
void tun_extend_write(struct cv_wr *w, const struct tun_extend *m);

/* EXTENDED: transaction | flight 2. Also the shape of DESCRIPTORS answers
 * (one descriptor; empty = I have none of them), TOKEN_REQUEST, TOKEN_REPLY,
 * JOINED (flight 2 of the seeder towards the viewer, whose ESTABLISH_RENDEZVOUS
 * transaction it carries; empty towards the seeder). */
struct tun_bytes {
    uint32_t transaction;
    const uint8_t *data;
    size_t len;
};
enum cv_err tun_bytes_read(struct cv_rd *r, struct tun_bytes *ret);
void tun_bytes_write(struct cv_wr *w, const struct tun_bytes *m);

/* BUCKET, question: transaction | day u32 | level u8 | bucket u16 | from u16. Level
 * 128 (bucket 0) asks what the answerer measured; earlier versions call it malformed. */
enum { TUN_BUCKET_CAPACITIES = 128 };
struct tun_bucket {
    uint32_t transaction, day;
    uint16_t bucket, from;
    uint8_t level; /* 0, 4, 8; bucket < 1 << level; or TUN_BUCKET_CAPACITIES */
};
enum cv_err tun_bucket_read(struct cv_rd *r, struct tun_bucket *ret);
void tun_bucket_write(struct cv_wr *w, const struct tun_bucket *m);

/* BUCKET, answer for TUN_BUCKET_CAPACITIES: transaction | count u16 of all that were
 * measured | (first 8 octets of an identity | capacity u8, capacity.h) from `from` on, in
 * order of identity. */
enum { TUN_CAPACITY_ROW = 8 + 1 };
struct tun_capacities {
    uint32_t transaction;
    uint16_t count;
    const uint8_t *rows; /* n x TUN_CAPACITY_ROW */
    size_t n;            /* <= TUN_CAPACITIES_MAX */
};
enum cv_err tun_capacities_read(struct cv_rd *r, struct tun_capacities *ret);
void tun_capacities_write(struct cv_wr *w, const struct tun_capacities *m);

/* BUCKET, answer: transaction | BLAKE2b-128 of the sorted (identity, D) |
 * count u16 of the whole bucket | pairs of 48 from `from` on. */
struct tun_bucket_answer {
    uint32_t transaction;
    uint8_t hash[16];
    uint16_t count;
    const uint8_t *pairs; /* n x (identity 32 | D 16) */
    size_t n;             /* <= TUN_BUCKET_PAIRS_MAX */
};
enum cv_err tun_bucket_answer_read(struct cv_rd *r, struct tun_bucket_answer *ret);
void tun_bucket_answer_write(struct cv_wr *w, const struct tun_bucket_answer *m);

/* DESCRIPTORS, question: transaction | day u32 | identities, 1..20. */
struct tun_descriptors {
    uint32_t transaction, day;
    const uint8_t *identities; /* n x 32 */
    size_t n;
};
enum cv_err tun_descriptors_read(struct cv_rd *r, struct tun_descriptors *ret);
void tun_descriptors_write(struct cv_wr *w, const struct tun_descriptors *m);

enum tun_lookup_kind {
    TUN_LOOKUP_ITEMS = 1, /* mutable items, by public key, no salt */
    TUN_LOOKUP_PEERS = 2, /* peers of one 20-octet hash */
};

/* LOOKUP: transaction | kind u8 | n u8 | n x 32 (ITEMS), or 1 x 20 (PEERS). */
struct tun_lookup {
    uint32_t transaction;
    uint8_t kind, n;
    const uint8_t *keys;
};
enum cv_err tun_lookup_read(struct cv_rd *r, struct tun_lookup *ret);
void tun_lookup_write(struct cv_wr *w, const struct tun_lookup *m);

/* RESULT: transaction | kind u8 | then
 *     ITEMS  key number u8 | found u8 | seq u64 | signature 64 | length u16 | value
 *            (one cell for each key; found = 0 ends there)
 *     PEERS  n u8 | n x (4 | 6 u8, address, port u16). */
struct tun_result {
    uint32_t transaction;
    uint8_t kind;
    uint8_t key; /* ITEMS: number of the key in the LOOKUP */
    bool found;
    uint64_t seq;
    uint8_t signature[CV_SIGNATURE];
    const uint8_t *value; /* bencoded, exactly as it was signed */
    size_t value_len;     /* <= TUN_ITEM_MAX */
    struct cv_addr peer[TUN_PEERS_MAX];
    uint8_t peers;
};
enum cv_err tun_result_read(struct cv_rd *r, struct tun_result *ret);
void tun_result_write(struct cv_wr *w, const struct tun_result *m);

/* PUT: transaction | public key 32 | seq u64 | has_cas u8 | cas u64 |
 * signature 64 | length u16 | value: one complete signed item, no salt. */
struct tun_put {
    uint32_t transaction;
    uint8_t public_key[CV_KEY];
    uint64_t seq, cas;
    bool has_cas;
    uint8_t signature[CV_SIGNATURE];
    const uint8_t *value;
    size_t value_len;
};
enum cv_err tun_put_read(struct cv_rd *r, struct tun_put *ret);
void tun_put_write(struct cv_wr *w, const struct tun_put *m);

/* PUT_DONE: transaction | nodes that stored it u8 | DHT error u16 (301: cas,
 * 302: seq; 0: none). */
struct tun_put_done {
    uint32_t transaction;
    uint8_t stored;
    uint16_t error;
};
enum cv_err tun_put_done_read(struct cv_rd *r, struct tun_put_done *ret);
void tun_put_done_write(struct cv_wr *w, const struct tun_put_done *m);

/* ESTABLISH_INTRO: transaction | authentication key 32 | signature 64 by it over
 * "culvert intro 1" | the binding of this hop (struct tun_layer_secret), so that
 * nobody who merely read the key in a contact can take its place. */
struct tun_establish_intro {
    uint32_t transaction;
    uint8_t auth_key[CV_KEY];
    uint8_t signature[CV_SIGNATURE];
};
enum cv_err tun_establish_intro_read(struct cv_rd *r, struct tun_establish_intro *ret);
void tun_establish_intro_write(struct cv_wr *w, const struct tun_establish_intro *m);
void tun_establish_intro_sign(struct tun_establish_intro *m, const struct cv_ed25519_secret *auth,
                              const uint8_t binding[32]);
bool tun_establish_intro_verify(const struct tun_establish_intro *m, const uint8_t binding[32]);

/* INTRODUCE: transaction | authentication key 32 | stamp 16 | Noise flight.
 * INTRODUCTION: the same without the transaction. */
struct tun_introduce {
    uint32_t transaction; /* INTRODUCE only */
    uint8_t auth_key[CV_KEY];
    uint8_t stamp[16];
    const uint8_t *flight;
    size_t flight_len;
};
enum cv_err tun_introduce_read(struct cv_rd *r, struct tun_introduce *ret);
void tun_introduce_write(struct cv_wr *w, const struct tun_introduce *m);
enum cv_err tun_introduction_read(struct cv_rd *r, struct tun_introduce *ret);
void tun_introduction_write(struct cv_wr *w, const struct tun_introduce *m);

/* INTRODUCE_ACK: transaction | status u8 (0 = passed on, else enum
 * tun_cmd_error). */
struct tun_introduce_ack {
    uint32_t transaction;
    uint8_t status;
};
enum cv_err tun_introduce_ack_read(struct cv_rd *r, struct tun_introduce_ack *ret);
void tun_introduce_ack_write(struct cv_wr *w, const struct tun_introduce_ack *m);

/* ESTABLISH_RENDEZVOUS: transaction | cookie 20.
 * JOIN: transaction | cookie 20 | Noise flight 2. */
struct tun_rendezvous {
    uint32_t transaction;
    uint8_t cookie[TUN_RENDEZVOUS_COOKIE];
    const uint8_t *flight; /* JOIN only */
    size_t flight_len;
};
enum cv_err tun_rendezvous_read(struct cv_rd *r, struct tun_rendezvous *ret);
void tun_rendezvous_write(struct cv_wr *w, const struct tun_rendezvous *m);

/* ERROR: transaction | code u8 | data. */
struct tun_error {
    uint32_t transaction;
    uint8_t code; /* enum tun_cmd_error, or one of a later version */
    const uint8_t *data;
    size_t len;
};
enum cv_err tun_error_read(struct cv_rd *r, struct tun_error *ret);
void tun_error_write(struct cv_wr *w, const struct tun_error *m);

/* OPEN: transaction | length u16 | swarm id. Afterwards DATAGRAM on this circuit
 * is PPSPP with that swarm at the last hop, which shares it openly. */
struct tun_open {
    uint32_t transaction;
    const uint8_t *swarm_id;
    size_t len; /* 1..TUN_SWARM_ID_MAX */
};
enum cv_err tun_open_read(struct cv_rd *r, struct tun_open *ret);
void tun_open_write(struct cv_wr *w, const struct tun_open *m);

/* CONNECT: transaction | flow u16, not 0 | address of a peer of a direct swarm. */
struct tun_connect {
    uint32_t transaction;
    uint16_t flow;
    struct cv_addr addr;
};
enum cv_err tun_connect_read(struct cv_rd *r, struct tun_connect *ret);
void tun_connect_write(struct cv_wr *w, const struct tun_connect *m);

/* EXIT: flow u16 | what the swarm exit and the owner say to each other about it
 * (docs/protocol/tunnel.md, section 11). No transaction, never repeated. */
struct tun_exit {
    uint16_t flow;
    const uint8_t *data;
    size_t len;
};
enum cv_err tun_exit_read(struct cv_rd *r, struct tun_exit *ret);
void tun_exit_write(struct cv_wr *w, const struct tun_exit *m);

/* PACE: transaction | rate u8 in Mbit/s | seconds u32. */
struct tun_pace {
    uint32_t transaction, seconds;
    uint8_t rate;
};
enum cv_err tun_pace_read(struct cv_rd *r, struct tun_pace *ret);
void tun_pace_write(struct cv_wr *w, const struct tun_pace *m);

/* An address as all tunnel formats write it: 4 | 6 u8, 4 or 16 octets, port
 * u16. Reading refuses other families; port 0 is allowed. */
void tun_addr_read(struct cv_rd *r, struct cv_addr *ret);
void tun_addr_write(struct cv_wr *w, const struct cv_addr *addr);

#endif
