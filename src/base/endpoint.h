/*
 * What a datagram is sent to: a UDP address, one of our links, or a flow of
 * one of our circuits. Engines compare endpoints for equality only; what an
 * endpoint can carry (mtu, hidden, up, down) arrives as events.
 */
#ifndef CULVERT_BASE_ENDPOINT_H
#define CULVERT_BASE_ENDPOINT_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

/* An IP address and UDP port. v4 addresses use ip[0..3], the rest is zero, so
 * that equality is memcmp over the whole struct. */
struct cv_addr {
    uint8_t ip[16]; /* network order */
    uint16_t port;  /* host order; 0 = none */
    uint8_t family; /* 4, 6, or 0 = none */
    uint8_t zero;
};

enum cv_endpoint_kind {
    CV_ENDPOINT_NONE = 0,
    CV_ENDPOINT_UDP,
    CV_ENDPOINT_LINK,
    CV_ENDPOINT_CIRCUIT,
};

/* Index and generation: a handle to something that is gone never finds its
 * successor in the same slot. 0 is no handle (generations begin at 1). */
typedef uint64_t cv_handle;

/* All unused octets are zero, so that equality is memcmp over the struct. */
struct cv_endpoint {
    union {
        struct cv_addr addr; /* UDP */
        cv_handle handle;    /* LINK, CIRCUIT */
        uint8_t octets[24];
    };
    uint16_t flow; /* CIRCUIT only: several conversations over one circuit */
    uint8_t kind;  /* enum cv_endpoint_kind */
    uint8_t zero[5];
};

static_assert(sizeof(struct cv_endpoint) == 32, "no padding: equality is memcmp");

static inline struct cv_endpoint cv_endpoint_udp(const struct cv_addr *addr) {
    struct cv_endpoint ep;
    memset(&ep, 0, sizeof ep);
    ep.kind = CV_ENDPOINT_UDP;
    ep.addr = *addr;
    return ep;
}

static inline struct cv_endpoint cv_endpoint_link(cv_handle handle) {
    struct cv_endpoint ep;
    memset(&ep, 0, sizeof ep);
    ep.kind = CV_ENDPOINT_LINK;
    ep.handle = handle;
    return ep;
}

static inline struct cv_endpoint cv_endpoint_circuit(cv_handle handle, uint16_t flow) {
    struct cv_endpoint ep;
    memset(&ep, 0, sizeof ep);
    ep.kind = CV_ENDPOINT_CIRCUIT;
    ep.handle = handle;
    ep.flow = flow;
    return ep;
}

static inline bool cv_endpoint_equal(const struct cv_endpoint *a, const struct cv_endpoint *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

static inline bool cv_addr_equal(const struct cv_addr *a, const struct cv_addr *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

/* Same IP, whatever the port. */
static inline bool cv_addr_same_ip(const struct cv_addr *a, const struct cv_addr *b) {
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

/* 127.0.0.0/8 or ::1. */
bool cv_addr_is_loopback(const struct cv_addr *a);

/* Globally routable unicast: not private, shared (100.64/10), link-local,
 * unique-local, loopback, multicast, documentation, benchmark (198.18/15),
 * 192.0.0/24, 240/4, v4-mapped, 64:ff9b::/96, 2002::/16 or 2001::/32; port not 0. */
bool cv_addr_is_public(const struct cv_addr *a);

/* Number of leading bits that `a` and `b` share; 0 for different families. */
unsigned cv_addr_common_bits(const struct cv_addr *a, const struct cv_addr *b);

/* The network a limit or a diversity rule counts by: `bits4` leading bits of a
 * v4 address, `bits6` of a v6 address, port and all other bits zero. */
struct cv_addr cv_addr_network(const struct cv_addr *a, unsigned bits4, unsigned bits6);

#define CV_ADDR_TEXT 64
/* "192.0.2.1:80" or "[2001:db8::1]:80" into `out`; returns `out`. */
const char *cv_addr_text(const struct cv_addr *a, char out[CV_ADDR_TEXT]);

/* Reads what cv_addr_text writes; a port is required. CV_ERR_MALFORMED and
 * *ret untouched for anything else; never asks a resolver. */
enum cv_err cv_addr_parse(const char *text, struct cv_addr *ret);

#endif
