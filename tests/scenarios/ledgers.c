#include "scenarios/ledgers.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "reputation/message.h"

const uint8_t ledgers_network[REP_NETWORK_ID] = "ledgers";

struct ledgers_message {
    cv_usec at;
    uint64_t order;
    unsigned from, to;
    size_t len;
    uint8_t body[];
};

static void *alloc(size_t n, size_t size) {
    void *p = calloc(n, size);
    if (!p)
        abort();
    return p;
}

static cv_handle handle_of(unsigned other) {
    return 1000 + other;
}

static void boot(struct ledgers *w, unsigned i, uint32_t epoch_seconds, uint64_t minimum) {
    struct ledgers_node *n = &w->node[i];
    struct rep_config cfg;
    rep_config_init(&cfg);
    cfg.identity_secret = n->identity;
    memcpy(cfg.network_id, ledgers_network, sizeof cfg.network_id);
    cfg.epoch_seconds = epoch_seconds;
    cfg.minimum_octets = minimum;
    cfg.seed = i;
    enum cv_err err =
        rep_ledger_new(&cfg, rep_store_memory_ops(n->memory), &w->rng, w->now, &n->ledger);
    assert(err == CV_ERR_OK);
    (void)err;
}

static uint32_t epoch_length;
static uint64_t epoch_minimum;

struct ledgers *ledgers_new(unsigned n, unsigned played, uint64_t seed, uint32_t epoch_seconds,
                            uint64_t minimum) {
    struct ledgers *w = alloc(1, sizeof *w);
    cv_crypto_init();
    assert(n <= LEDGERS_MAX);
    w->n = n;
    w->node = alloc(n, sizeof *w->node);
    w->now = (struct cv_now){.mono = CV_SEC(5), .wall = 1800000000};
    w->delay_min = CV_MSEC(10);
    w->delay_max = CV_MSEC(100);
    cv_rng_seeded_init(&w->dice, seed);
    w->rng = cv_rng_seeded(&w->dice);
    epoch_length = epoch_seconds;
    epoch_minimum = minimum;
    for (unsigned i = 0; i < n; i++) {
        uint8_t key_seed[CV_KEY];
        cv_rng_fill(&w->rng, key_seed, sizeof key_seed);
        cv_ed25519_from_seed(&w->node[i].identity, key_seed);
        if (i < played)
            continue;
        w->node[i].memory = rep_store_memory_new();
        assert(w->node[i].memory);
        boot(w, i, epoch_seconds, minimum);
    }
    return w;
}

struct ledgers *ledgers_free(struct ledgers *w) {
    for (unsigned i = 0; i < w->n; i++) {
        rep_ledger_free(w->node[i].ledger);
        rep_store_memory_free(w->node[i].memory);
    }
    for (uint32_t i = 0; i < w->flying_n; i++)
        free(w->flying[i]);
    free(w->flying);
    free(w->node);
    free(w);
    return NULL;
}

const uint8_t *ledgers_key(const struct ledgers *w, unsigned i) {
    return w->node[i].identity.public_key;
}

void ledgers_restart(struct ledgers *w) {
    for (unsigned i = 0; i < w->n; i++) {
        if (!w->node[i].ledger)
            continue;
        assert(w->node[i].links == 0);
        rep_ledger_flush(w->node[i].ledger, w->now);
        rep_ledger_free(w->node[i].ledger);
        boot(w, i, epoch_length, epoch_minimum);
    }
}

void ledgers_row(struct ledgers *w, unsigned giver, unsigned taker, uint64_t octets) {
    struct rep_edge e = {.octets = octets, .recent = octets};
    e.epoch = (uint32_t)(w->now.wall / epoch_length);
    memcpy(e.giver, ledgers_key(w, giver), CV_KEY);
    memcpy(e.taker, ledgers_key(w, taker), CV_KEY);
    for (unsigned i = 0; i < w->n; i++) {
        if (!w->node[i].ledger)
            continue;
        rep_ledger_flush(w->node[i].ledger, w->now);
        const struct rep_store *s = rep_store_memory_ops(w->node[i].memory);
        enum cv_err err = s->begin(s->ctx, w->now.wall);
        if (!err)
            err = s->edge_put(s->ctx, &e);
        if (!err)
            err = s->commit(s->ctx);
        assert(err == CV_ERR_OK);
    }
}

/* ---- messages ---- */

static bool sooner(const struct ledgers_message *a, const struct ledgers_message *b) {
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void push(struct ledgers *w, struct ledgers_message *m) {
    if (w->flying_n == w->flying_cap) {
        w->flying_cap = w->flying_cap ? 2 * w->flying_cap : 256;
        w->flying = realloc(w->flying, w->flying_cap * sizeof *w->flying);
        if (!w->flying)
            abort();
    }
    uint32_t i = w->flying_n++;
    for (; i > 0 && sooner(m, w->flying[(i - 1) / 2]); i = (i - 1) / 2)
        w->flying[i] = w->flying[(i - 1) / 2];
    w->flying[i] = m;
}

static struct ledgers_message *pop(struct ledgers *w) {
    struct ledgers_message *top = w->flying[0], *last = w->flying[--w->flying_n];
    uint32_t i = 0;
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= w->flying_n)
            break;
        if (child + 1 < w->flying_n && sooner(w->flying[child + 1], w->flying[child]))
            child++;
        if (!sooner(w->flying[child], last))
            break;
        w->flying[i] = w->flying[child];
        i = child;
    }
    w->flying[i] = last;
    return top;
}

void ledgers_send(struct ledgers *w, unsigned from, unsigned to, const uint8_t *body, size_t len) {
    w->node[from].messages++;
    w->octets += len;
    if (w->on_send)
        w->on_send(w->on_send_ctx, from, body, len);
    if (w->no_gossip && body[0] != REP_MESSAGE_COUNTERS && body[0] != REP_MESSAGE_RECORDS)
        return;
    if (cv_rng_below(&w->rng, 1000) < w->loss_permille)
        return;
    struct ledgers_message *m = alloc(1, sizeof *m + len);
    m->at = w->now.mono + cv_rng_between(&w->rng, w->delay_min, w->delay_max);
    m->order = w->order++;
    m->from = from;
    m->to = to;
    m->len = len;
    memcpy(m->body, body, len);
    push(w, m);
}

static bool joined(const struct ledgers *w, unsigned a, unsigned b) {
    for (unsigned i = 0; i < w->node[a].links; i++)
        if (w->node[a].link[i] == b)
            return true;
    return false;
}

static void part(struct ledgers *w, unsigned a, unsigned b) {
    struct ledgers_node *n = &w->node[a];
    for (unsigned i = 0; i < n->links; i++)
        if (n->link[i] == b)
            n->link[i] = n->link[--n->links];
    if (n->ledger)
        rep_ledger_link_down(n->ledger, w->now, handle_of(b));
}

static void drain(struct ledgers *w, unsigned i) {
    struct rep_event e;
    while (w->node[i].ledger && rep_ledger_poll_event(w->node[i].ledger, &e)) {
        unsigned to = (unsigned)(e.link - 1000);
        assert(e.kind != REP_EVENT_FAILED);
        if (e.kind == REP_EVENT_SEND && joined(w, i, to))
            ledgers_send(w, i, to, e.send.body, e.send.len);
        else if (e.kind == REP_EVENT_BANNED && joined(w, i, to)) {
            part(w, i, to);
            part(w, to, i);
            drain(w, to);
        }
    }
}

static void up(struct ledgers *w, unsigned a, unsigned b) {
    struct ledgers_node *n = &w->node[a];
    struct cv_addr addr = {.ip = {10, (uint8_t)(b >> 8), (uint8_t)b, 1}, .port = 1, .family = 4};
    n->link[n->links++] = b;
    if (n->ledger)
        rep_ledger_link_up(n->ledger, w->now, handle_of(b), REP_ROLE_RELAY, ledgers_key(w, b),
                           &addr);
    drain(w, a);
}

bool ledgers_join(struct ledgers *w, unsigned a, unsigned b) {
    if (a == b || joined(w, a, b) || w->node[a].links == LEDGERS_LINKS_MAX ||
        w->node[b].links == LEDGERS_LINKS_MAX)
        return false;
    up(w, a, b);
    up(w, b, a);
    return true;
}

void ledgers_carry(struct ledgers *w, unsigned a, unsigned b, uint64_t octets) {
    if (w->node[a].ledger)
        rep_ledger_carried(w->node[a].ledger, w->now, handle_of(b), octets, 0);
    if (w->node[b].ledger)
        rep_ledger_carried(w->node[b].ledger, w->now, handle_of(a), 0, octets);
    drain(w, a);
    drain(w, b);
}

/* ---- time ---- */

static void pass(struct ledgers *w, cv_usec to) {
    uint64_t before = w->now.mono / 1000000;
    w->now.mono = to > w->now.mono ? to : w->now.mono;
    w->now.wall += (int64_t)(w->now.mono / 1000000 - before);
}

void ledgers_run(struct ledgers *w, cv_usec until) {
    for (;;) {
        cv_usec at = w->flying_n ? w->flying[0]->at : CV_USEC_NEVER;
        unsigned who = w->n;
        for (unsigned i = 0; i < w->n; i++) {
            struct rep_ledger *l = w->node[i].ledger;
            cv_usec t = l ? rep_ledger_next_timeout(l) : CV_USEC_NEVER;
            if (t < at) {
                at = t;
                who = i;
            }
        }
        if (at > until)
            break;
        pass(w, at);
        if (who < w->n) {
            rep_ledger_on_timeout(w->node[who].ledger, w->now);
            drain(w, who);
            continue;
        }
        struct ledgers_message *m = pop(w);
        struct rep_ledger *l = w->node[m->to].ledger;
        if (l && joined(w, m->to, m->from)) {
            (void)rep_ledger_on_message(l, w->now, handle_of(m->from), m->body, m->len);
            drain(w, m->to);
        }
        free(m);
    }
    pass(w, until);
}
