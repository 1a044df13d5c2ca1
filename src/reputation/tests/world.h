/*
 * Several ledgers in one process, in virtual time: relays joined by links that
 * delay, lose, duplicate and reorder LEDGER messages, each over its own memory
 * store, which outlives a crash. Same seed, same run.
 */
#ifndef CULVERT_REPUTATION_TESTS_WORLD_H
#define CULVERT_REPUTATION_TESTS_WORLD_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "reputation/ledger.h"
#include "reputation/store_memory.h"

enum { WORLD_NODES = 16, WORLD_FLYING = 4096 };

struct world_node {
    struct rep_config cfg;
    struct rep_store_memory *memory;
    const struct rep_store *store; /* memory's, unless a test gives another */
    struct rep_ledger *ledger;
    struct cv_rng_seeded dice;
    struct cv_rng rng;
    bool up[WORLD_NODES]; /* links, by the other node */
    uint32_t weight[WORLD_NODES];
    enum rep_class gate_class[WORLD_NODES];
    unsigned banned[WORLD_NODES], sends;
    enum cv_err failed, last_err;
};

struct world_message {
    cv_usec at;
    unsigned from, to;
    uint16_t len;
    uint8_t body[REP_MESSAGE_MAX];
};

struct world {
    struct world_node node[WORLD_NODES];
    unsigned n;
    struct cv_now now;
    cv_usec wall_from; /* mono at which wall was wall_start */
    int64_t wall_start;
    struct cv_rng_seeded dice;
    struct cv_rng rng;
    unsigned loss_permille, dup_permille;
    cv_usec delay_min, delay_max;
    struct world_message *flying[WORLD_FLYING];
    unsigned flying_n;
    /* Sees every event before it takes effect; may be NULL. */
    void (*watch)(void *ctx, unsigned i, const struct rep_event *e);
    void *watch_ctx;
};

static inline cv_handle world_link(unsigned to) {
    return 1000 + to;
}

static inline void world_boot(struct world *w, unsigned i) {
    struct world_node *n = &w->node[i];
    enum cv_err err = rep_ledger_new(&n->cfg, n->store, &n->rng, w->now, &n->ledger);
    cr_assert_eq(err, CV_ERR_OK, "%s", cv_strerror(err));
    memset(n->up, 0, sizeof n->up);
}

static inline void world_init(struct world *w, unsigned n, uint64_t seed, uint32_t epoch_seconds,
                              uint64_t minimum) {
    memset(w, 0, sizeof *w);
    cv_crypto_init();
    w->n = n;
    w->wall_start = 1700000000;
    w->now = (struct cv_now){.mono = CV_SEC(5), .wall = w->wall_start};
    w->wall_from = w->now.mono;
    w->delay_min = w->delay_max = CV_MSEC(20);
    cv_rng_seeded_init(&w->dice, seed);
    w->rng = cv_rng_seeded(&w->dice);
    for (unsigned i = 0; i < n; i++) {
        struct world_node *node = &w->node[i];
        uint8_t key_seed[CV_KEY];
        cv_rng_seeded_init(&node->dice, seed * 1000 + i);
        node->rng = cv_rng_seeded(&node->dice);
        rep_config_init(&node->cfg);
        cv_rng_fill(&node->rng, key_seed, sizeof key_seed);
        cv_ed25519_from_seed(&node->cfg.identity_secret, key_seed);
        memcpy(node->cfg.network_id, "testnet1", REP_NETWORK_ID);
        node->cfg.epoch_seconds = epoch_seconds;
        node->cfg.minimum_octets = minimum;
        node->cfg.seed = seed;
        node->memory = rep_store_memory_new();
        node->store = rep_store_memory_ops(node->memory);
        world_boot(w, i);
    }
}

static inline void world_done(struct world *w) {
    for (unsigned i = 0; i < w->n; i++) {
        rep_ledger_free(w->node[i].ledger);
        rep_store_memory_free(w->node[i].memory);
    }
    for (unsigned i = 0; i < w->flying_n; i++)
        free(w->flying[i]);
}

static inline const uint8_t *world_key(const struct world *w, unsigned i) {
    return w->node[i].cfg.identity_secret.public_key;
}

static inline void world_send(struct world *w, unsigned from, unsigned to, const uint8_t *body,
                              uint16_t len) {
    unsigned copies = 1 + (cv_rng_below(&w->rng, 1000) < w->dup_permille);
    for (unsigned i = 0; i < copies; i++) {
        if (cv_rng_below(&w->rng, 1000) < w->loss_permille)
            continue;
        struct world_message *m = malloc(sizeof *m);
        assert(m != NULL);
        assert(w->flying_n < WORLD_FLYING);
        *m = (struct world_message){.from = from, .to = to, .len = len};
        m->at = w->now.mono + cv_rng_between(&w->rng, w->delay_min, w->delay_max);
        memcpy(m->body, body, len);
        w->flying[w->flying_n++] = m;
    }
}

static inline void world_event(struct world *w, unsigned i, const struct rep_event *e) {
    struct world_node *n = &w->node[i];
    unsigned to = (unsigned)(e->link - 1000);
    if (w->watch)
        w->watch(w->watch_ctx, i, e);
    if (e->kind != REP_EVENT_FAILED && to >= WORLD_NODES)
        return; /* a link that a test made by itself */
    switch (e->kind) {
    case REP_EVENT_SEND:
        n->sends++;
        if (n->up[to])
            world_send(w, i, to, e->send.body, e->send.len);
        break;
    case REP_EVENT_CLASS:
        n->gate_class[to] = e->gate_class;
        break;
    case REP_EVENT_WEIGHT:
        n->weight[to] = e->weight;
        break;
    case REP_EVENT_BANNED:
        n->banned[to]++;
        break;
    case REP_EVENT_FAILED:
        n->failed = e->err;
        break;
    }
}

static inline void world_drain(struct world *w, unsigned i) {
    struct rep_event e;
    while (rep_ledger_poll_event(w->node[i].ledger, &e))
        world_event(w, i, &e);
}

static inline void world_up(struct world *w, unsigned i, unsigned to) {
    struct cv_addr addr = {.ip = {127, 10, (uint8_t)to, 1}, .port = 1, .family = 4};
    enum cv_err err = rep_ledger_link_up(w->node[i].ledger, w->now, world_link(to), REP_ROLE_RELAY,
                                         world_key(w, to), &addr);
    cr_assert(err == CV_ERR_OK || err == CV_ERR_DENIED, "%s", cv_strerror(err));
    w->node[i].up[to] = err == CV_ERR_OK;
    world_drain(w, i);
}

static inline void world_down(struct world *w, unsigned i, unsigned to) {
    rep_ledger_link_down(w->node[i].ledger, w->now, world_link(to));
    w->node[i].up[to] = false;
    world_drain(w, i);
}

static inline void world_join(struct world *w, unsigned a, unsigned b) {
    world_up(w, a, b);
    world_up(w, b, a);
}

/* `octets` from a to b, counted at both ends. */
static inline void world_carry(struct world *w, unsigned a, unsigned b, uint64_t octets) {
    rep_ledger_carried(w->node[a].ledger, w->now, world_link(b), octets, 0);
    rep_ledger_carried(w->node[b].ledger, w->now, world_link(a), 0, octets);
    world_drain(w, a);
    world_drain(w, b);
}

static inline void world_set_time(struct world *w, cv_usec mono) {
    assert(mono >= w->now.mono);
    w->now.mono = mono;
    w->now.wall = w->wall_start + (int64_t)((mono - w->wall_from) / 1000000);
}

static inline void world_deliver(struct world *w, unsigned index) {
    struct world_message *m = w->flying[index];
    struct world_node *to = &w->node[m->to];
    memmove(&w->flying[index], &w->flying[index + 1],
            (w->flying_n - index - 1) * sizeof *w->flying);
    w->flying_n--;
    if (to->ledger && to->up[m->from]) {
        to->last_err =
            rep_ledger_on_message(to->ledger, w->now, world_link(m->from), m->body, m->len);
        world_drain(w, m->to);
    }
    free(m);
}

/* Serves whatever is due first, until `until`. */
static inline void world_run(struct world *w, cv_usec until) {
    for (;;) {
        cv_usec at = CV_USEC_NEVER;
        unsigned who = 0, message = w->flying_n;
        for (unsigned i = 0; i < w->n; i++) {
            struct rep_ledger *l = w->node[i].ledger;
            cv_usec t = l ? rep_ledger_next_timeout(l) : CV_USEC_NEVER;
            if (t < at) {
                at = t;
                who = i;
            }
        }
        for (unsigned i = 0; i < w->flying_n; i++)
            if (w->flying[i]->at < at) {
                at = w->flying[i]->at;
                message = i;
            }
        if (at > until)
            break;
        world_set_time(w, at > w->now.mono ? at : w->now.mono);
        if (message < w->flying_n) {
            world_deliver(w, message);
        } else {
            rep_ledger_on_timeout(w->node[who].ledger, w->now);
            world_drain(w, who);
        }
    }
    world_set_time(w, until);
}

/* The process ends without warning and starts again over the same store. */
static inline void world_crash(struct world *w, unsigned i) {
    rep_ledger_free(w->node[i].ledger);
    for (unsigned j = 0; j < w->n; j++)
        if (j != i && w->node[j].ledger && w->node[j].up[i])
            world_down(w, j, i);
    world_boot(w, i);
}

static inline bool world_row(struct world *w, unsigned i, unsigned of, struct rep_row *ret) {
    void *cursor = NULL;
    while (rep_ledger_row(w->node[i].ledger, &cursor, ret))
        if (memcmp(ret->peer, world_key(w, of), CV_KEY) == 0)
            return true;
    return false;
}

#endif
