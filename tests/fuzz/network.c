#include "fuzz/network.h"

#include <assert.h>
#include <string.h>

#include "tunnel/client.h"
#include "tunnel/descriptor.h"
#include "tunnel/engine.h"

enum { SLOTS = 32 };

void network_begin(struct network *n, unsigned served_max, void *ctx,
                   void (*events)(void *ctx, unsigned i)) {
    *n = (struct network){.now = {.mono = 1000000, .wall = 1790000000},
                          .served_max = served_max,
                          .ctx = ctx,
                          .events = events};
}

void network_script(struct network *n, struct cv_rd *script, unsigned steps,
                    void (*step)(void *ctx, struct cv_rd *script), void (*check)(void *ctx)) {
    for (unsigned i = 0;
         i < steps && !script->err && cv_rd_left(script) && n->served < n->served_max; i++) {
        step(n->ctx, script);
        check(n->ctx);
    }
}

void network_end(struct network *n) {
    for (unsigned i = 0; i < n->ends; i++)
        tun_free(n->end[i].t);
    n->ends = 0;
}

void network_add(struct network *n, struct tunnel *t, const struct cv_addr *addr,
                 const struct cv_addr *elsewhere) {
    assert(n->ends < NETWORK_ENDS);
    struct network_end *e = &n->end[n->ends++];
    *e = (struct network_end){.t = t, .addr = *addr};
    if (elsewhere)
        e->elsewhere = *elsewhere;
    n->events(n->ctx, n->ends - 1);
}

bool network_ref(const struct tunnel *t, int64_t wall, struct tun_relay_ref *ret) {
    size_t len;
    const uint8_t *raw = tun_own_descriptor(t, wall, &len);
    struct tun_descriptor d;
    if (!raw || tun_descriptor_open(raw, len, tun_config(t)->network_id, &d))
        return false;
    tun_descriptor_ref(&d, wall, ret);
    return true;
}

static void deliver(struct network *n, const struct cv_addr *from, const struct cv_addr *to,
                    const uint8_t *buf) {
    uint8_t copy[TUN_DATAGRAM];
    for (unsigned i = 0; i < n->ends; i++) {
        bool elsewhere = cv_addr_equal(to, &n->end[i].elsewhere);
        if (!elsewhere && !cv_addr_equal(to, &n->end[i].addr))
            continue;
        unsigned at = n->whose && !elsewhere ? n->whose(n->ctx, i, buf) : i;
        if (n->end[at].deaf)
            return;
        bool lost = n->drop & 1;
        n->drop >>= 1;
        if (lost)
            return;
        memcpy(copy, buf, sizeof copy);
        copy[n->flip_at % TUN_DATAGRAM] ^= n->flip;
        n->flip = 0;
        if (elsewhere)
            (void)tun_on_elsewhere(n->end[at].t, &n->now, from, copy, sizeof copy);
        else
            (void)tun_on_datagram(n->end[at].t, &n->now, from, copy, sizeof copy);
        n->events(n->ctx, at);
        return;
    }
}

unsigned network_turn(struct network *n) {
    static uint8_t arena[SLOTS * TUN_DATAGRAM], buf[TUN_DATAGRAM];
    static struct cv_run runs[SLOTS];
    unsigned sent = 0;
    for (unsigned i = 0; i < n->ends; i++) {
        struct network_end *e = &n->end[i];
        struct cv_batch b = cv_batch_init(arena, SLOTS, TUN_DATAGRAM, 0, runs, SLOTS);
        struct cv_addr to;
        (void)tun_poll_transmit(e->t, &n->now, &b);
        for (uint32_t r = 0; r < b.runs_used; r++)
            for (uint16_t k = 0; k < b.runs[r].count; k++, sent++)
                deliver(n, &e->addr, &b.runs[r].to.addr, cv_batch_at(&b, &b.runs[r], k));
        while (e->elsewhere.family && tun_poll_elsewhere(e->t, &n->now, &to, buf)) {
            deliver(n, &e->elsewhere, &to, buf);
            sent++;
        }
    }
    return sent;
}

void network_serve(struct network *n) {
    n->served++;
    for (unsigned i = 0; i < n->ends; i++) {
        struct tunnel *t = n->end[i].t;
        /* what became due at this very instant is served in the next call */
        for (unsigned k = 0; k < 6 && tun_next_timeout(t) <= n->now.mono; k++) {
            tun_on_timeout(t, &n->now);
            n->events(n->ctx, i);
            network_turn(n);
        }
        assert(tun_next_timeout(t) > n->now.mono);
    }
}

void network_settle(struct network *n) {
    network_serve(n);
    for (unsigned i = 0; i < 32 && network_turn(n) && n->served < n->served_max; i++)
        network_serve(n);
}

static cv_usec due(const struct network *n) {
    cv_usec at = CV_USEC_NEVER;
    for (unsigned i = 0; i < n->ends; i++)
        at = cv_usec_min(at, tun_next_timeout(n->end[i].t));
    return at;
}

void network_run(struct network *n, cv_usec time, bool (*met)(const void *ctx)) {
    cv_usec end = n->now.mono + time;
    network_settle(n);
    while (n->now.mono < end && n->served < n->served_max && !(met && met(n->ctx))) {
        cv_usec at = cv_usec_min(due(n), end);
        /* a network is never quicker than this, and what is due within it is served at once */
        n->now.mono = at > n->now.mono + CV_MSEC(1) ? at : n->now.mono + CV_MSEC(1);
        network_settle(n);
    }
}

void network_run_some(struct network *n, struct cv_rd *script) {
    network_run(n, CV_MSEC(20) * (1 + cv_rd_u8(script)), NULL);
}

void network_sleep(struct network *n, struct cv_rd *script) {
    uint8_t a = cv_rd_u8(script), b = cv_rd_u8(script);
    unsigned seconds = a * (b & 1 ? 60 : 1);
    n->now.mono += CV_SEC(seconds);
    n->now.wall += seconds + (b >> 1) * 900;
}

void network_lose(struct network *n, struct cv_rd *script) {
    uint8_t a = cv_rd_u8(script), b = cv_rd_u8(script);
    n->drop = a | (unsigned)b << 8;
}
