/*
 * A swarm exit's filter (node/exitfilter.h). Input: operations of an owner, of a peer
 * and of strangers, an octet each, with arguments: circuits, flows, addresses, time, datagrams.
 * Property, held by a second, naive bookkeeping: nothing leaves for an address that may
 * not be called; nothing leaves but a call, until the peer answered one on the channel
 * that it was told; no more calls leave for one address than allowed without an answer;
 * what comes in reaches the flow of that address and socket; flows stay within limits.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/cursor.h"
#include "crypto/rng_seeded.h"
#include "node/exitfilter.h"
#include "node/limits.h"
#include "ppsp/message.h"
#include "ppsp/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PLACES = 8, HOPS = 4, FLOWS = 4, PORTS = 2 };

/* What the world knows of one flow. */
struct seen {
    bool open, answered;
    unsigned place, port;
    bool port_known;
    uint32_t told; /* channel in the last call */
};

static const char *const places[PLACES] = {
    "45.40.7.2:7000", "45.40.7.2:7001", "45.41.7.2:7000", "127.0.0.1:7000",
    "45.20.7.9:7000", "10.0.0.1:7000",  "45.42.7.2:80",   "[2a00:1::2]:7000",
};
static const bool callable[PLACES] = {true, true, true};

static struct cv_addr place(unsigned i) {
    struct cv_addr a;
    enum cv_err err = cv_addr_parse(places[i % PLACES], &a);
    assert(err == CV_ERR_OK);
    (void)err;
    return a;
}

struct fuzz {
    struct exit_filter *f;
    struct cv_now now;
    struct seen seen[HOPS][FLOWS];
    unsigned calls[PLACES]; /* unanswered */
    cv_usec since[PLACES];  /* of the window */
};

static size_t handshake(uint8_t *buf, uint32_t to, uint32_t from) {
    struct cv_wr w = cv_wr_init(buf, 256);
    struct ppsp_options o = {.present = 1u << PPSP_OPT_VERSION | 1u << PPSP_OPT_SWARM_ID,
                             .version = 1,
                             .swarm_id = (const uint8_t *)"12345678901234567890",
                             .swarm_id_len = 20};
    cv_wr_be32(&w, to);
    ppsp_handshake_begin(&w, from);
    ppsp_options_write(&w, &o);
    assert(!w.err);
    return cv_wr_len(&w);
}

static uint32_t be32(const uint8_t *at) {
    struct cv_rd r = cv_rd_init(at, 4);
    return cv_rd_be32(&r);
}

static struct exit_name name_of(unsigned hop, unsigned flow) {
    return (struct exit_name){.hop = 100 + hop, .flow = (uint16_t)(1 + flow)};
}

static void note_call(struct fuzz *z, unsigned p) {
    if (!z->calls[p] || z->now.mono >= z->since[p] + NODE_EXIT_CALL_WINDOW) {
        z->calls[p] = 0;
        z->since[p] = z->now.mono;
    }
    z->calls[p]++;
    assert(z->calls[p] <= NODE_EXIT_ADDRESS_CALLS);
}

static void connect_to(struct fuzz *z, unsigned hop, unsigned flow, unsigned p) {
    struct exit_name name = name_of(hop, flow);
    struct cv_addr to = place(p);
    struct seen *s = &z->seen[hop][flow];
    enum cv_err err = exit_filter_open(z->f, z->now, &name, &to);
    assert(callable[p] || err != CV_ERR_OK);
    assert((err == CV_ERR_EXIST) <= (s->open && s->place == p));
    if (!err) {
        assert(!s->open);
        *s = (struct seen){.open = true, .place = p};
    }
}

static void owner_says(struct fuzz *z, unsigned hop, unsigned flow, uint8_t *buf, size_t len) {
    struct exit_name name = name_of(hop, flow);
    struct seen *s = &z->seen[hop][flow];
    struct cv_addr to, want = place(s->place);
    unsigned port;
    bool call = len >= 4 && be32(buf) == 0;
    if (exit_filter_out(z->f, z->now, &name, buf, len, &port, &to))
        return;
    assert(s->open);
    assert(callable[s->place] && cv_addr_equal(&to, &want));
    assert(!s->port_known || port == s->port);
    s->port = port;
    s->port_known = true;
    if (!call) {
        assert(s->answered);
        return;
    }
    assert(len <= NODE_EXIT_CALL_MAX && buf[4] == PPSP_MSG_HANDSHAKE);
    s->told = be32(buf + 5);
    assert(s->told != 0);
    note_call(z, s->place);
}

static void peer_says(struct fuzz *z, unsigned p, unsigned port, uint8_t *buf, size_t len) {
    struct cv_addr from = place(p);
    struct exit_name name;
    uint32_t to = len >= 4 ? be32(buf) : 0;
    if (exit_filter_in(z->f, z->now, port, &from, buf, len, &name))
        return;
    struct seen *s = &z->seen[name.hop - 100][name.flow - 1];
    assert(s->open && s->place == p && (!s->port_known || s->port == port));
    assert(to == s->told || s->answered);
    if (to == s->told) {
        s->answered = true;
        z->calls[p] = 0;
    }
}

static void expire(struct fuzz *z) {
    struct exit_name name;
    while (exit_filter_expired(z->f, z->now, &name))
        z->seen[name.hop - 100][name.flow - 1] = (struct seen){.open = false};
    assert(exit_filter_next(z->f) > z->now.mono);
}

static void operation(struct fuzz *z, struct cv_rd *r) {
    uint8_t op = cv_rd_u8(r), a = cv_rd_u8(r), b = cv_rd_u8(r), buf[2048];
    unsigned hop = a % HOPS, flow = a / HOPS % FLOWS, p = b % PLACES;
    struct seen *s = &z->seen[hop][flow];
    struct exit_name name = name_of(hop, flow);
    size_t len;
    switch (op % 9) {
    case 0:
        connect_to(z, hop, flow, p);
        break;
    case 1: /* a call as it should be */
        owner_says(z, hop, flow, buf, handshake(buf, 0, 1u + b));
        break;
    case 2: /* its answer */
        peer_says(z, s->place, s->port, buf, handshake(buf, s->told, 1000u + b));
        break;
    case 3: /* anything at all */
    case 4:
        len = (size_t)b * 6;
        len = len < cv_rd_left(r) ? len : cv_rd_left(r);
        if (len)
            memcpy(buf, cv_rd_bytes(r, len), len);
        if (op % 9 == 3)
            owner_says(z, hop, flow, buf, len);
        else
            peer_says(z, p, a % PORTS, buf, len);
        break;
    case 5: /* of the exchange that was answered */
        memset(buf, b, sizeof buf);
        handshake(buf, 1000u + b, 0xffff);
        owner_says(z, hop, flow, buf, 4 + (size_t)b * 5);
        memset(buf, b, sizeof buf);
        handshake(buf, s->told, 0xffff);
        buf[4] = b;
        peer_says(z, s->place, s->port, buf, 4 + (size_t)b * 6);
        break;
    case 6:
        if (b & 1) {
            exit_filter_close_hop(z->f, name.hop);
            memset(z->seen[hop], 0, sizeof z->seen[hop]);
        } else {
            exit_filter_close(z->f, &name);
            *s = (struct seen){.open = false};
        }
        break;
    default:
        z->now.mono += CV_MSEC(1) << (b % 18);
        expire(z);
        break;
    }
    assert(exit_filter_counters(z->f)->flows <= HOPS * FLOWS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct cv_rng_seeded dice;
    struct cv_addr own;
    enum cv_err err = cv_addr_parse("45.20.7.2:7000", &own);
    assert(err == CV_ERR_OK);
    (void)err;
    cv_rng_seeded_init(&dice, 7);
    struct cv_rng rng = cv_rng_seeded(&dice);
    struct fuzz z = {.now = {.mono = CV_SEC(100), .wall = 1000000}};
    z.f = exit_filter_new(
        &(struct exit_config){.family = 4, .ports = PORTS, .own = &own, .own_count = 1}, &rng,
        z.now);
    assert(z.f);
    struct cv_rd r = cv_rd_init(data, size);
    while (cv_rd_left(&r) >= 3)
        operation(&z, &r);
    exit_filter_free(z.f);
    return 0;
}
