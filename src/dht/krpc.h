/*
 * KRPC messages (BEP 5 with the keys of BEP 32, 33, 42, 43, 44 and 51): one
 * struct for all of them, a reader and a writer. Every span borrows from the
 * datagram (reading) or from the caller (writing); p == NULL means absent.
 */
#ifndef CULVERT_DHT_KRPC_H
#define CULVERT_DHT_KRPC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cursor.h"
#include "base/endpoint.h"
#include "dht/bencode.h"
#include "dht/nodeid.h"

enum dht_kind { DHT_QUERY, DHT_ANSWER, DHT_ERROR };

enum dht_method {
    DHT_METHOD_UNKNOWN,
    DHT_METHOD_PING,
    DHT_METHOD_FIND_NODE,
    DHT_METHOD_GET_PEERS,
    DHT_METHOD_ANNOUNCE,
    DHT_METHOD_GET,
    DHT_METHOD_PUT,
    DHT_METHOD_SAMPLE,
};

enum dht_code {
    DHT_CODE_GENERIC = 201,
    DHT_CODE_SERVER = 202,
    DHT_CODE_PROTOCOL = 203, /* malformed, invalid argument, bad token */
    DHT_CODE_METHOD = 204,
    DHT_CODE_VALUE_BIG = 205, /* BEP 44 from here on */
    DHT_CODE_SIGNATURE = 206,
    DHT_CODE_SALT_BIG = 207,
    DHT_CODE_CAS = 301,
    DHT_CODE_SEQ = 302,
};

struct dht_int {
    int64_t v;
    bool has;
};

struct dht_msg {
    enum dht_kind kind;
    enum dht_method method;      /* queries */
    struct dht_span method_name; /* queries, when method is UNKNOWN; the writer needs it then */
    struct dht_span t;           /* transaction id, 1..DHT_TID_MAX octets */
    struct dht_span client;      /* v */
    struct dht_span ip;          /* answers: compact address of the receiver (BEP 42) */
    bool read_only;              /* ro (BEP 43) */
    int64_t code;                /* errors */
    struct dht_span text;        /* errors */

    /* Arguments or return values, in the order of the wire. */
    struct dht_span filter_peers, filter_seeds; /* BFpe, BFsd: 256 octets */
    struct dht_int cas;
    struct dht_span id; /* 20 octets */
    struct dht_int implied_port;
    struct dht_span info_hash; /* 20 */
    struct dht_int interval;
    struct dht_span k;      /* 32 */
    struct dht_span nodes;  /* n x 26 */
    struct dht_span nodes6; /* n x 38 */
    struct dht_int noseed;
    struct dht_int num;
    struct dht_int port;
    struct dht_span salt;
    struct dht_span samples; /* n x 20 */
    struct dht_int scrape;
    struct dht_int seed;
    struct dht_int seq;
    struct dht_span sig;    /* 64 */
    struct dht_span target; /* 20 */
    struct dht_span token;
    struct dht_span value;  /* v: raw bencoding, as received */
    struct dht_span values; /* raw bencoded list of 6- or 18-octet strings */
    struct dht_span want;   /* raw bencoded list of strings */

    /* Reading only: what is wrong inside, in words, NULL when nothing is. Such
     * a query deserves error 203, such an answer nothing. */
    const char *fault;
};

/*
 * CV_ERR_OK and *ret filled; look at ret->fault before anything but kind, t
 * and method. Unknown keys are ignored. CV_ERR_TRUNCATED, _MALFORMED, _LIMIT
 * when the datagram is not one dictionary with usable t and y; *ret
 * is untouched then.
 */
enum cv_err dht_msg_read(const uint8_t *buf, size_t len, struct dht_msg *ret);

/* Canonical. Errors stick to the writer. */
void dht_msg_write(struct cv_wr *w, const struct dht_msg *m);

/* BEP 32: bit 0 = n4, bit 1 = n6; what the own family implies when absent. */
enum { DHT_WANT_N4 = 1, DHT_WANT_N6 = 2 };
unsigned dht_msg_wants(const struct dht_msg *m, uint8_t family);

/* Compact addresses (BEP 5, 32): 4 or 16 octets and the port. */
#define DHT_COMPACT_MAX 18
static inline size_t dht_compact_len(uint8_t family) {
    return family == 4 ? 6 : 18;
}
void dht_compact_write(struct cv_wr *w, const struct cv_addr *addr);
/* false when `s` has neither length; port 0 is left to the caller to refuse. */
bool dht_compact_read(struct dht_span s, struct cv_addr *ret);

#endif
