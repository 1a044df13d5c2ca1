/* A node for tests of the simulator itself: sends datagrams at given times,
 * remembers what arrives and when, and answers when told to. */
#ifndef CULVERT_TESTS_SIM_TESTS_TOY_H
#define CULVERT_TESTS_SIM_TESTS_TOY_H

#include <stdlib.h>
#include <string.h>

#include "sim/sim.h"

enum { TOY_LOG = 4096, TOY_PORT = 4000 };

struct toy_arrival {
    cv_usec at;
    unsigned number; /* first octets of the datagram */
    size_t len;
    struct cv_addr from, to;
    unsigned socket;
};

struct toy {
    struct sim *s;
    unsigned node;
    struct cv_addr addr;

    /* What it sends: `left` datagrams of `len` octets to `to`, `every` so often. */
    struct cv_addr to;
    uint16_t len;
    unsigned left, sent;
    unsigned burst; /* so many at a time; 0: one */
    cv_usec every, next;
    bool echo;

    struct toy_arrival log[TOY_LOG];
    unsigned arrived;
    unsigned kept, restarts; /* "on disk" */
    struct {
        struct cv_addr to;
        unsigned number;
        uint16_t len;
    } answers[64];
    unsigned answers_count;
};

static inline cv_usec toy_mono(const struct toy *t, cv_usec at) {
    return at + (sim_node_now(t->s, t->node).mono - sim_now(t->s));
}

static inline void toy_on_datagram(void *ctx, struct cv_now now, unsigned socket,
                                   const struct cv_addr *to, const struct cv_addr *from,
                                   const uint8_t *buf, size_t len) {
    struct toy *t = ctx;
    (void)now;
    unsigned number = 0;
    memcpy(&number, buf, len < sizeof number ? len : sizeof number);
    if (t->arrived < TOY_LOG)
        t->log[t->arrived] = (struct toy_arrival){sim_now(t->s), number, len, *from, *to, socket};
    t->arrived++;
    t->kept++;
    sim_event(t->s, t->node, &number, sizeof number);
    if (t->echo && t->answers_count < 64) {
        t->answers[t->answers_count].to = *from;
        t->answers[t->answers_count].number = number;
        t->answers[t->answers_count++].len = (uint16_t)len;
    }
}

static inline void toy_write(struct cv_batch *b, const struct cv_addr *to, unsigned number,
                             uint16_t len) {
    uint8_t *at = cv_batch_slot(b);
    struct cv_endpoint ep = cv_endpoint_udp(to);
    memset(at, 0, len);
    memcpy(at, &number, len < sizeof number ? len : sizeof number);
    cv_batch_commit(b, &ep, len);
}

static inline void toy_on_timeout(void *ctx, struct cv_now now) {
    (void)ctx, (void)now;
}

static inline bool toy_poll_transmit(void *ctx, struct cv_now now, unsigned socket,
                                     struct cv_batch *batch) {
    struct toy *t = ctx;
    if (socket != 0)
        return false;
    while (t->answers_count && cv_batch_slot(batch)) {
        t->answers_count--;
        toy_write(batch, &t->answers[t->answers_count].to, t->answers[t->answers_count].number,
                  t->answers[t->answers_count].len);
    }
    while (t->left && now.mono >= toy_mono(t, t->next)) {
        for (unsigned i = 0; i < (t->burst ? t->burst : 1) && t->left; i++) {
            if (!cv_batch_slot(batch))
                return true;
            toy_write(batch, &t->to, t->sent++, t->len);
            t->left--;
        }
        t->next += t->every;
    }
    return false;
}

static inline cv_usec toy_next_timeout(void *ctx) {
    struct toy *t = ctx;
    return t->left ? toy_mono(t, t->next) : CV_USEC_NEVER;
}

static inline void toy_crash(void *ctx) {
    struct toy *t = ctx;
    t->arrived = 0; /* memory is lost, t->kept is a file */
    t->left = 0;
}

static inline void toy_restart(void *ctx, struct cv_now now) {
    struct toy *t = ctx;
    (void)now;
    t->restarts++;
}

static const struct sim_node_ops toy_ops = {
    .on_datagram = toy_on_datagram,
    .on_timeout = toy_on_timeout,
    .poll_transmit = toy_poll_transmit,
    .next_timeout = toy_next_timeout,
    .crash = toy_crash,
    .restart = toy_restart,
};

static inline struct toy *toy_new(struct sim *s) {
    struct toy *t = calloc(1, sizeof *t);
    t->s = s;
    t->node = sim_add(s, &toy_ops, t);
    t->addr = sim_addr(t->node, TOY_PORT);
    sim_bind(s, t->node, 0, &t->addr);
    return t;
}

static inline void toy_send(struct toy *t, const struct toy *to, unsigned n, uint16_t len,
                            cv_usec first, cv_usec every) {
    t->to = to->addr;
    t->left = n;
    t->sent = 0;
    t->len = len;
    t->next = first;
    t->every = every;
    sim_touch(t->s, t->node);
}

#endif
