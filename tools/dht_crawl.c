#include "dht_crawl.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"
#include "crypto/rng_system.h"
#include "crypto/siphash.h"

enum {
    AT_ONCE = 32,
    TARGETS = 8, /* asked of each: around its id, then farther and farther away */
    NODES_MAX = 200000,
};

struct walked {
    struct dht_crawled seen;
    unsigned asked; /* targets */
};

struct dht_crawl {
    struct dht_session *session;
    struct walked **v;
    size_t count, cap, next; /* next: the first that may have targets left */
    struct cv_map *known;    /* address -> struct walked */
    uint8_t key[CV_SIPHASH_KEY];
    struct {
        dht_op op;
        struct walked *of;
    } open[AT_ONCE];
    unsigned open_count;
};

static void *must(void *p) {
    if (!p) {
        fprintf(stderr, "culvert-dht: out of memory\n");
        exit(EXIT_FAILURE);
    }
    return p;
}

struct dht_crawl *dht_crawl_new(struct dht_session *s) {
    struct dht_crawl *c = must(calloc(1, sizeof *c));
    c->session = s;
    cv_rng_fill(cv_rng_system(), c->key, sizeof c->key);
    c->known = must(cv_map_new(sizeof(struct cv_addr), NODES_MAX, cv_siphash_map, c->key));
    return c;
}

struct dht_crawl *dht_crawl_free(struct dht_crawl *c) {
    if (!c)
        return NULL;
    for (size_t i = 0; i < c->count; i++)
        free(c->v[i]);
    free(c->v);
    cv_map_free(c->known);
    free(c);
    return NULL;
}

void dht_crawl_add(struct dht_crawl *c, const struct cv_addr *addr) {
    if (c->count == NODES_MAX || cv_map_get(c->known, addr))
        return;
    if (c->count == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 64;
        c->v = must(reallocarray(c->v, c->cap, sizeof(struct walked *)));
    }
    struct walked *w = must(calloc(1, sizeof *w));
    w->seen.node.addr = *addr;
    if (cv_map_put(c->known, addr, w)) {
        free(w);
        return;
    }
    c->v[c->count++] = w;
}

/* The next one to ask something; one that has not answered yet waits. */
static struct walked *next_of(struct dht_crawl *c) {
    while (c->next < c->count && c->v[c->next]->asked == TARGETS)
        c->next++;
    for (size_t i = c->next; i < c->count; i++) {
        struct walked *w = c->v[i];
        bool busy = false;
        for (unsigned k = 0; k < AT_ONCE; k++)
            busy |= c->open[k].op && c->open[k].of == w;
        if (w->asked < TARGETS && !busy)
            return w;
    }
    return NULL;
}

static bool ask(struct dht_crawl *c, struct walked *w) {
    struct cv_now now = dht_session_now();
    unsigned i = 0;
    while (c->open[i].op)
        i++;
    /* The bits it shares with the target: many first, then fewer. */
    struct dht_id target =
        w->asked == 0 ? dht_id_random(cv_rng_system())
                      : dht_id_random_at(&w->seen.node.id, TARGETS - 1 - w->asked, cv_rng_system());
    enum cv_err err =
        dht_ask(dht_session_engine(c->session), now, &w->seen.node.addr, &target, &c->open[i].op);
    if (err == CV_ERR_LIMIT)
        return false;
    w->asked = err ? TARGETS : w->asked + 1;
    if (err)
        c->open[i].op = 0;
    c->open[i].of = w;
    c->open_count += err == CV_ERR_OK;
    return true;
}

bool dht_crawl_over(const struct dht_crawl *c) {
    for (size_t i = c->next; i < c->count; i++)
        if (c->v[i]->asked < TARGETS)
            return false;
    return c->open_count == 0;
}

void dht_crawl_go_on(struct dht_crawl *c) {
    struct walked *w;
    while (c->open_count < AT_ONCE && (w = next_of(c)) && ask(c, w)) {}
    if (dht_crawl_over(c))
        dht_session_stop(c->session);
}

bool dht_crawl_event(struct dht_crawl *c, const struct dht_event *e) {
    unsigned i = 0;
    while (i < AT_ONCE && (!e->op || c->open[i].op != e->op))
        i++;
    if (i == AT_ONCE)
        return false;
    struct walked *w = c->open[i].of;
    if (e->kind == DHT_EVENT_NODES) {
        w->seen.answered = true;
        w->seen.node.id = e->nodes.v[0].id;
        for (size_t k = 1; k < e->nodes.n; k++)
            dht_crawl_add(c, &e->nodes.v[k].addr);
    } else if (e->kind == DHT_EVENT_DONE) {
        c->open[i].op = 0;
        c->open_count--;
        if (e->done.err && !w->seen.answered)
            w->asked = TARGETS; /* nobody there */
        dht_crawl_go_on(c);
    }
    return true;
}

size_t dht_crawl_count(const struct dht_crawl *c) {
    return c->count;
}

const struct dht_crawled *dht_crawl_at(const struct dht_crawl *c, size_t i) {
    return &c->v[i]->seen;
}
