/*
 * What relays tell each other of rows between others, and of forgers.
 *
 * Now and then a relay sends one neighbour, drawn at random, how far it knows the
 * chains of some owners: those near it in the graph of rows, in turn, and a few of
 * any distance. The neighbour answers with what it knows further, or otherwise,
 * and each then asks the other for what it lacks (ASK and BLOCKS, as of direct
 * neighbours' chains). A half-block is taken only when it was asked for, its
 * signature and chain are right, it is of an owner within three rows or leads on
 * from somebody within two, and the neighbour has not used up what it may bring
 * in an epoch.
 *
 * Two ends of a fork meet where two neighbours know one chain otherwise: whoever
 * sees it asks back until the half-blocks that contradict each other are there.
 * The proof is told to all neighbours at once, and goes on for three hops.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/trace.h"
#include "reputation/ledger_internal.h"

enum {
    NEAR_HOPS = 3,      /* chains are told of so far away */
    CLOSE_HOPS = 2,     /* and the other end of what leads farther */
    CLOSE_ENTRIES = 10, /* of a digest: owners within CLOSE_HOPS */
    LOOK_AHEAD = 64,    /* half-blocks a cursor moves at a time */
    BACK_MAX = 12,      /* questions back along a chain that does not fit */
};

/* How far we know the chain of one owner, and how far away it is. */
struct rep_known {
    uint8_t owner[CV_KEY];
    uint64_t own;  /* all half-blocks 1..own are known, but for what we pruned (prune.h) */
    uint64_t told; /* that, or as far as a neighbour told all that it knows */
    uint64_t upto; /* what digests say: the newest we have up to these, */
    uint8_t own_head[REP_DIGEST_HASH], head[REP_DIGEST_HASH]; /* its hash */
    uint32_t hops;
    uint64_t generation; /* of the neighbourhood it was last seen in */

    /* While the neighbourhood is looked at. */
    struct rep_known *via;         /* the relay one row away that led here */
    STAILQ_ENTRY(rep_known) turn;  /* in via->ends */
    STAILQ_HEAD(, rep_known) ends; /* of those one row away: whose rows may lead on */
    uint32_t node, next;           /* of the graph; which of its row is looked at next */
};

/* ---- the neighbourhood ---- */

static struct rep_known *known(const struct rep_ledger *l, const uint8_t owner[CV_KEY]) {
    return cv_map_get(l->gossip.known, owner);
}

/* via NULL: it is its own. */
static void place(struct rep_ledger *l, const uint8_t owner[CV_KEY], uint32_t hops,
                  struct rep_known *via) {
    struct rep_gossip *g = &l->gossip;
    struct rep_known *k = known(l, owner);
    if (g->near_n == REP_GOSSIP_OWNERS || (k && k->generation == g->generation))
        return; /* farther ones are not told of; or nearer already */
    if (!k) {
        k = calloc(1, sizeof *k);
        if (!k)
            return;
        memcpy(k->owner, owner, CV_KEY);
        if (cv_map_put(g->known, k->owner, k)) {
            free(k);
            return;
        }
    }
    k->hops = hops;
    k->generation = g->generation;
    k->via = via ? via : k;
    STAILQ_INIT(&k->ends);
    g->near[g->near_n++] = k;
}

/* Whoever is not near any more makes room for the next time. */
static void forget_far(struct rep_gossip *g) {
    void *cursor = NULL;
    struct rep_known *k;
    while ((k = cv_map_next(g->known, &cursor, NULL))) {
        if (k->generation == g->generation)
            continue;
        cv_map_del(g->known, k->owner);
        free(k);
    }
}

/* One look at where a row behind `first` leads, a row at a time; false: no more. */
static bool look_farther(struct rep_ledger *l, struct rep_known *first) {
    struct rep_known *k = STAILQ_FIRST(&first->ends);
    uint32_t n = 0;
    uint64_t total;
    if (!k)
        return false;
    STAILQ_REMOVE_HEAD(&first->ends, turn);
    const struct rep_half *row = rep_graph_row(l->graph, k->node, &n, &total);
    if (k->next < n)
        place(l, rep_graph_key(l->graph, row[k->next++].to), k->hops + 1, first);
    if (k->next < n)
        STAILQ_INSERT_TAIL(&first->ends, k, turn);
    return true;
}

/* Whom the rows of near[from] .. near[upto - 1] lead to, until `most` are placed: those
 * one row away, near[1] .. near[first_n], take turns, and so do relays behind each, so
 * that nobody with many rows takes the places of others' neighbours. */
static void spread(struct rep_ledger *l, uint32_t first_n, uint32_t from, uint32_t most) {
    struct rep_gossip *g = &l->gossip;
    for (uint32_t i = from, upto = g->near_n; i < upto; i++) {
        struct rep_known *k = g->near[i];
        k->node = rep_graph_find(l->graph, k->owner);
        k->next = 0;
        if (k->node != REP_NO_NODE && !rep_graph_excluded(l->graph, k->node))
            STAILQ_INSERT_TAIL(&k->via->ends, k, turn);
    }
    bool more = true;
    while (more && g->near_n < most) {
        more = false;
        for (uint32_t i = 1; i <= first_n && g->near_n < most; i++)
            more |= look_farther(l, g->near[i]);
    }
    for (uint32_t i = 1; i <= first_n; i++)
        STAILQ_INIT(&g->near[i]->ends);
}

/* Us, relays with links or a row with us, and whoever shares rows with these, by
 * distance. */
static void survey(struct rep_ledger *l) {
    struct rep_gossip *g = &l->gossip;
    void *cursor = NULL;
    const struct rep_peer *p;
    uint32_t n = 0;
    uint64_t total;
    g->generation++;
    g->near_n = 0;
    place(l, l->identity_secret.public_key, 0, NULL);
    while ((p = cv_map_next(l->peers, &cursor, NULL)))
        if (!TAILQ_EMPTY(&p->links) && !p->banned)
            place(l, p->key, 1, NULL);
    const struct rep_half *row = rep_graph_row(l->graph, l->ego, &n, &total);
    for (uint32_t j = 0; j < n; j++)
        place(l, rep_graph_key(l->graph, row[j].to), 1, NULL);
    static_assert(NEAR_HOPS == 3 && CLOSE_HOPS == 2, "two distances follow");
    uint32_t first_n = g->near_n - (g->near_n > 0);
    /* Half of the room is for those three rows away, however many are nearer. */
    spread(l, first_n, 1, g->near_n + (REP_GOSSIP_OWNERS - g->near_n) / 2);
    g->close_n = g->near_n;
    spread(l, first_n, 1 + first_n, REP_GOSSIP_OWNERS);
    forget_far(g);
}

/* Moves a cursor behind what is known by now, from `next` on. */
static enum cv_err follow(struct rep_ledger *l, const uint8_t owner[CV_KEY], uint64_t next,
                          uint64_t *upto, uint8_t head[REP_DIGEST_HASH]) {
    struct rep_record r;
    enum cv_err err = CV_ERR_OK;
    for (unsigned i = 0; !err && i < LOOK_AHEAD; i++) {
        err = l->store->block_get(l->store->ctx, owner, next++, &r);
        if (err)
            break;
        *upto = r.seq;
        memcpy(head, r.hash, REP_DIGEST_HASH);
    }
    return err == CV_ERR_NOENT ? CV_ERR_OK : err;
}

/* How far the chain is known by now. What ended it may have been pruned since. */
static enum cv_err look(struct rep_ledger *l, struct rep_known *k) {
    struct rep_record r;
    uint64_t whole;
    enum cv_err err = l->store->whole_get(l->store->ctx, k->owner, &whole);
    if (!err)
        err = follow(l, k->owner, whole > k->own ? whole : k->own + 1, &k->own, k->own_head);
    k->upto = k->own;
    memcpy(k->head, k->own_head, sizeof k->head);
    if (err || k->told <= k->own)
        return err;
    err = l->store->block_seek(l->store->ctx, k->owner, NULL, k->told + 1, REP_SEEK_BELOW, &r);
    if (err || r.seq <= k->own)
        return err == CV_ERR_NOENT ? CV_ERR_OK : err;
    k->upto = r.seq;
    memcpy(k->head, r.hash, sizeof k->head);
    uint64_t end = k->told;
    err = follow(l, k->owner, end + 1, &end, k->head);
    if (end > k->told)
        k->upto = k->told = end;
    return err;
}

/* ---- holes that neighbours left ---- */

/* Keyed by a secret: nobody makes two of them meet. */
static uint64_t told_of(const struct rep_ledger *l, const struct rep_peer *p,
                        const uint8_t owner[CV_KEY]) {
    uint8_t both[2 * CV_KEY];
    memcpy(both, p->key, CV_KEY);
    memcpy(both + CV_KEY, owner, CV_KEY);
    return cv_siphash_map(l->hash_key, both, sizeof both) | 1;
}

static struct rep_told *told_slot(const struct rep_ledger *l, uint64_t of) {
    return &l->gossip.told[(of >> 1) % REP_TOLD];
}

/* What a neighbour is not asked for: what we know, and as far as it told all. */
static uint64_t lacks(const struct rep_ledger *l, const struct rep_peer *p,
                      const struct rep_known *k) {
    uint64_t of = told_of(l, p, k->owner);
    const struct rep_told *t = l->gossip.told ? told_slot(l, of) : NULL;
    return t && t->of == of && t->upto > k->own ? t->upto : k->own;
}

static void keep_told(struct rep_ledger *l, const struct rep_peer *p, struct rep_known *k,
                      uint64_t upto) {
    uint64_t of = told_of(l, p, k->owner);
    if (!l->gossip.told)
        l->gossip.told = calloc(REP_TOLD, sizeof *l->gossip.told);
    if (!l->gossip.told)
        return; /* then it is asked again */
    *told_slot(l, of) = (struct rep_told){.of = of, .upto = upto};
    k->told = upto > k->told ? upto : k->told;
}

/* lacks(), over what came in the meantime. */
static enum cv_err told_by(struct rep_ledger *l, const struct rep_peer *p, struct rep_known *k,
                           uint64_t *ret) {
    uint8_t head[REP_DIGEST_HASH];
    uint64_t was = lacks(l, p, k), upto = was;
    enum cv_err err = was > k->own ? follow(l, k->owner, was + 1, &upto, head) : CV_ERR_OK;
    if (!err && upto > was)
        keep_told(l, p, k, upto);
    *ret = upto;
    return err;
}

/* ---- wants ---- */

static void ask_next(struct rep_ledger *l, struct cv_now now, struct rep_peer *p) {
    struct rep_wants *w = &p->wants;
    /* One question to a neighbour at a time, of whatever kind: an answer without
     * half-blocks does not say what it answers. */
    if (p->asked || (w->asked && now.mono < w->until))
        return;
    if (w->asked && ++w->tries >= REP_ASK_TRIES) {
        w->n--; /* no answer: for another day */
        memmove(w->list, w->list + 1, w->n * sizeof *w->list);
        w->tries = 0;
    }
    w->asked = w->n > 0;
    if (!w->asked)
        return;
    struct rep_message m = {.kind = REP_MESSAGE_ASK, .from = w->list[0].from};
    memcpy(m.owner, w->list[0].owner, CV_KEY);
    w->until = cv_usec_add(now.mono, REP_ASK_WAIT);
    rep_ledger_send(l, p, &m, false);
}

/* Asked for in vain before, and no nearer since? Remembers that it was asked for. */
static bool in_vain(struct rep_ledger *l, const struct rep_digest *d) {
    struct rep_gossip *g = &l->gossip;
    struct rep_digest *slot = &g->vain[d->owner[0] % REP_VAIN];
    if (g->vain_near != g->near_n)
        memset(g->vain, 0, sizeof g->vain);
    g->vain_near = g->near_n;
    if (memcmp(slot, d, sizeof *d) == 0)
        return true;
    *slot = *d;
    return false;
}

static void want(struct rep_ledger *l, struct cv_now now, struct rep_peer *p,
                 const struct rep_digest *d, uint64_t from) {
    struct rep_wants *w = &p->wants;
    const struct rep_known *k = known(l, d->owner);
    for (unsigned i = 0; i < w->n; i++)
        if (memcmp(w->list[i].owner, d->owner, CV_KEY) == 0)
            return;
    if (w->n == REP_WANTS || memcmp(d->owner, l->identity_secret.public_key, CV_KEY) == 0)
        return;
    w->list[w->n] = (struct rep_want){
        .upto = d->upto, .from = from, .back = 1, .near = k && from <= lacks(l, p, k) + 1};
    memcpy(w->list[w->n++].owner, d->owner, CV_KEY);
    ask_next(l, now, p);
}

static void begin_epoch(struct rep_ledger *l, struct rep_peer *p) {
    struct rep_gossip *g = &l->gossip;
    if (p->wants.epoch != l->epoch) {
        p->wants.epoch = l->epoch;
        p->wants.taken = p->wants.looked = 0;
    }
    if (g->epoch != l->epoch) {
        g->epoch = l->epoch;
        g->rationed[0] = g->rationed[1] = 0;
        free(g->told); /* who told a chain with holes may have heard the rest by now */
        g->told = NULL;
    }
}

/* May this neighbour bring more half-blocks that are not about us in this epoch? What is
 * taken stays, so that the last half of the room lasts for more than a year of epochs,
 * whoever brings as much as he may; and names, which cost nothing, take none of what is
 * for those who carried something. */
static bool has_room(struct rep_ledger *l, struct rep_peer *p) {
    const struct rep_gossip *g = &l->gossip;
    begin_epoch(l, p);
    if (g->blocks < REP_BLOCKS_SCARCE)
        return p->wants.taken < REP_GOSSIP_PER_EPOCH;
    return g->blocks < REP_BLOCKS_KEPT && p->wants.taken < REP_RATION / REP_RATION_PART &&
           g->rationed[p->hits > 0] < REP_RATION;
}

/* ---- telling of proofs ---- */

static void tell_fork(struct rep_ledger *l, const struct rep_peer *to, const struct rep_fork *f,
                      uint8_t ttl) {
    struct rep_message m = {.kind = REP_MESSAGE_FORK, .ttl = ttl, .records = f->a};
    static_assert(offsetof(struct rep_fork, b) == REP_RECORD, "both in a row");
    rep_ledger_send(l, to, &m, true);
}

/* From a random one on. */
static void tell_some(struct rep_ledger *l, const struct rep_peer *to,
                      const struct rep_keys *forgers, unsigned most) {
    uint64_t first = most ? cv_rng_below(l->rng, forgers->n) : 0;
    struct rep_fork f;
    for (unsigned i = 0; i < most; i++) /* not OK: the next write will say why */
        if (l->store->fork_get(l->store->ctx, forgers->v[(first + i) % forgers->n], &f) ==
            CV_ERR_OK)
            tell_fork(l, to, &f, 0);
}

/* Some of the proofs we know: half of them against those that had standing, however many
 * names forge that have none; more where there are too few of the others. */
static void tell_forks(struct rep_ledger *l, const struct rep_peer *to, unsigned most) {
    const struct rep_keys *strange = &l->gossip.forgers[0], *stood = &l->gossip.forgers[1];
    if (strange->n + stood->n == 0)
        return;
    unsigned half = (most + (unsigned)cv_rng_below(l->rng, 2)) / 2;
    unsigned first = stood->n < half ? stood->n : half;
    unsigned rest = strange->n < most - first ? strange->n : most - first;
    first = stood->n < most - rest ? stood->n : most - rest;
    tell_some(l, to, stood, first);
    tell_some(l, to, strange, rest);
}

/* ---- digests ---- */

static bool listed(const struct rep_message *m, const uint8_t owner[CV_KEY]) {
    for (unsigned i = 0; i < m->count; i++)
        if (memcmp(m->digest[i].owner, owner, CV_KEY) == 0)
            return true;
    return false;
}

static bool list(struct rep_ledger *l, struct rep_message *m, struct rep_known *k) {
    if (m->count == REP_DIGESTS_PER_MESSAGE || listed(m, k->owner))
        return true;
    enum cv_err err = look(l, k);
    if (err) {
        rep_ledger_fail(l, err);
        return false;
    }
    struct rep_digest *d = &m->digest[m->count++];
    memcpy(d->owner, k->owner, CV_KEY);
    memcpy(d->head, k->head, sizeof d->head);
    d->upto = k->upto;
    return true;
}

/* What is new, then the near in turn, the close ones more often. */
static bool fill(struct rep_ledger *l, struct rep_message *m) {
    struct rep_gossip *g = &l->gossip;
    for (unsigned i = 0; i < REP_FRESH; i++) {
        struct rep_known *k = known(l, g->fresh[i]);
        if (k && !list(l, m, k))
            return false;
    }
    for (unsigned i = 0; i < CLOSE_ENTRIES && i < g->close_n; i++)
        if (!list(l, m, g->near[g->close_at++ % g->close_n]))
            return false;
    for (unsigned i = 0; i < REP_DIGESTS_PER_MESSAGE && i < g->near_n; i++)
        if (!list(l, m, g->near[g->near_at++ % g->near_n]))
            return false;
    return true;
}

static void send_digest(struct rep_ledger *l, struct rep_peer *p, struct rep_message *m) {
    if (m->count)
        rep_ledger_send(l, p, m, true);
}

static struct rep_peer *any_neighbour(struct rep_ledger *l) {
    struct rep_peer *p, *chosen = NULL;
    void *cursor = NULL;
    uint64_t n = 0;
    while ((p = cv_map_next(l->peers, &cursor, NULL)))
        if (!TAILQ_EMPTY(&p->links) && !p->banned && cv_rng_below(l->rng, ++n) == 0)
            chosen = p;
    return chosen;
}

static void later(struct rep_ledger *l, struct cv_now now) {
    cv_usec wait = l->gossip.wait;
    l->gossip.at = cv_usec_add(now.mono, wait / 2 + cv_rng_below(l->rng, wait));
}

void rep_gossip_soon(struct rep_ledger *l, struct cv_now now) {
    if (l->gossip.wait == REP_GOSSIP_FIRST)
        return;
    l->gossip.wait = REP_GOSSIP_FIRST;
    if (l->gossip.at != CV_USEC_NEVER)
        later(l, now);
}

/* Something new is known here: others may lack it, and who told it may have more. */
void rep_gossip_news(struct rep_ledger *l, struct cv_now now, const uint8_t owner[CV_KEY]) {
    struct rep_gossip *g = &l->gossip;
    bool there = false;
    for (unsigned i = 0; i < REP_FRESH; i++)
        there |= memcmp(g->fresh[i], owner, CV_KEY) == 0;
    if (!there)
        memcpy(g->fresh[g->fresh_at++ % REP_FRESH], owner, CV_KEY);
    rep_gossip_soon(l, now);
}

void rep_gossip_due(struct rep_ledger *l, struct cv_now now) {
    struct rep_message m = {.kind = REP_MESSAGE_DIGEST};
    struct rep_peer *p = l->failed ? NULL : any_neighbour(l);
    l->gossip.at = CV_USEC_NEVER;
    if (!p)
        return; /* begins again with the next link */
    survey(l);
    if (fill(l, &m))
        send_digest(l, p, &m);
    tell_forks(l, p, 1);
    rep_succession_tell(l, p, 1);
    ask_next(l, now, p);
    later(l, now);
    l->gossip.wait = cv_usec_min(l->gossip.wait * 2, REP_GOSSIP_MAX);
}

enum cv_err rep_gossip_digest(struct rep_ledger *l, struct cv_now now, struct rep_peer *p,
                              const struct rep_message *m) {
    struct rep_message answer = {.kind = REP_MESSAGE_DIGEST_ANSWER};
    if (l->failed)
        return CV_ERR_DENIED;
    if (!cv_tokenbucket_take(&p->answers, now.mono, 1))
        return CV_ERR_LIMIT;
    if (l->gossip.near_n == 0)
        survey(l);
    begin_epoch(l, p);
    for (unsigned i = 0; i < m->count; i++) {
        const struct rep_digest *d = &m->digest[i];
        struct rep_known unknown = {.own = 0}, *k = known(l, d->owner);
        memcpy(unknown.owner, d->owner, CV_KEY);
        if (!k && in_vain(l, d))
            continue;
        enum cv_err err = look(l, k ? k : (k = &unknown));
        if (err) {
            rep_ledger_fail(l, err);
            return err;
        }
        bool otherwise = d->upto == k->upto && memcmp(d->head, k->head, sizeof d->head) != 0;
        uint64_t have = 0;
        err = told_by(l, p, k, &have);
        if (err) {
            rep_ledger_fail(l, err);
            return err;
        }
        if (otherwise)
            want(l, now, p, d, k->upto);
        else if (d->upto > have && has_room(l, p))
            want(l, now, p, d, have + 1);
        if ((k->upto > d->upto || otherwise) && !list(l, &answer, k))
            return l->failed;
    }
    if (m->kind == REP_MESSAGE_DIGEST && fill(l, &answer))
        send_digest(l, p, &answer);
    return l->failed;
}

/* ---- half-blocks of others ---- */

bool rep_gossip_wanted(const struct rep_peer *p, const struct rep_record *r) {
    /* The other halves come with the neighbour's own. */
    return p->wants.asked && (memcmp(r->owner, p->wants.list[0].owner, CV_KEY) == 0 ||
                              memcmp(r->peer, p->wants.list[0].owner, CV_KEY) == 0);
}

bool rep_gossip_near(const struct rep_ledger *l, const struct rep_record *r) {
    const struct rep_known *owner = known(l, r->owner), *peer = known(l, r->peer);
    return owner || (peer && peer->hops <= CLOSE_HOPS);
}

bool rep_gossip_may_take(struct rep_ledger *l, struct rep_peer *p) {
    if (!has_room(l, p))
        return false;
    p->wants.taken++;
    l->gossip.rationed[p->hits > 0] += l->gossip.blocks >= REP_BLOCKS_SCARCE;
    return true;
}

bool rep_gossip_may_look(struct rep_ledger *l, struct rep_peer *p) {
    begin_epoch(l, p);
    return p->wants.looked < REP_LOOKS_PER_EPOCH && ++p->wants.looked;
}

/* Did the answer lead on, over what we know and behind holes that pruning left? */
static bool led_on(struct rep_ledger *l, const struct rep_peer *p, struct rep_want *at,
                   const struct rep_record *first, unsigned n) {
    struct rep_known *k = known(l, at->owner);
    at->near = at->near && k; /* else not all is taken that is shown */
    if (!at->near || at->backs > 0)
        return false;
    /* What it may have pruned, whatever we have. */
    uint32_t before = l->epoch > REP_PRUNE_EPOCHS ? l->epoch - REP_PRUNE_EPOCHS : 0;
    uint64_t was = lacks(l, p, k), upto = was;
    enum cv_err err = rep_prune_answered(l->store, at->owner, at->upto, before, first, n, &upto);
    if (err)
        rep_ledger_fail(l, err);
    if (err || upto == was)
        return false;
    keep_told(l, p, k, upto);
    at->from = upto + 1 > at->from ? upto + 1 : at->from;
    return true;
}

/* Behind what came. False: nothing does, a succession closed the chain. */
static bool move_on(struct rep_want *at, const struct rep_record *first, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        if (memcmp(first[i].owner, at->owner, CV_KEY) == 0 && first[i].seq >= at->from)
            at->from = first[i].seq + 1;
    return at->from <= REP_SEQ_LAST;
}

void rep_gossip_records(struct rep_ledger *l, struct cv_now now, struct rep_peer *p,
                        const struct rep_record *first, unsigned n, unsigned news,
                        enum cv_err err) {
    struct rep_wants *w = &p->wants;
    if (!w->asked) {
        ask_next(l, now, p); /* the neighbour is free */
        return;
    }
    if (n && memcmp(first->owner, w->list[0].owner, CV_KEY) != 0)
        return;
    struct rep_want *at = &w->list[0];
    w->asked = false;
    w->tries = 0;
    bool more = !err && n && (led_on(l, p, at, first, n) || news) && has_room(l, p);
    if (err == CV_ERR_DIFFERS && ++at->backs <= BACK_MAX && at->from > 1) {
        /* It goes on from something that we know otherwise, or not: further back. */
        at->back *= 2;
        at->from = at->from > at->back ? at->from - at->back : 1;
    } else if (!more || !move_on(at, first, n)) {
        w->n--;
        memmove(w->list, w->list + 1, w->n * sizeof *w->list);
    }
    ask_next(l, now, p);
}

/* ---- proofs ---- */

unsigned rep_gossip_choose(struct rep_ledger *l, const struct rep_peer *from,
                           struct rep_peer *ret[REP_FORK_FANOUT]) {
    struct rep_peer *p;
    void *cursor = NULL;
    uint64_t seen = 0;
    unsigned n = 0;
    while ((p = cv_map_next(l->peers, &cursor, NULL))) {
        if (p == from || TAILQ_EMPTY(&p->links) || p->banned)
            continue;
        if (n < REP_FORK_FANOUT) {
            ret[n++] = p;
        } else { /* any of them with the same chance */
            uint64_t i = cv_rng_below(l->rng, ++seen + REP_FORK_FANOUT);
            if (i < REP_FORK_FANOUT)
                ret[i] = p;
        }
    }
    return n;
}

void rep_gossip_fork(struct rep_ledger *l, const struct rep_fork *f, uint8_t ttl,
                     const struct rep_peer *from) {
    struct rep_peer *to[REP_FORK_FANOUT];
    unsigned n = rep_gossip_choose(l, from, to);
    for (unsigned i = 0; i < n; i++)
        tell_fork(l, to[i], f, ttl);
}

enum cv_err rep_gossip_on_fork(struct rep_ledger *l, struct cv_now now, struct rep_peer *p,
                               const struct rep_message *m) {
    struct rep_record a;
    struct rep_fork f, known_one;
    if (l->failed)
        return CV_ERR_DENIED;
    if (now.wall <= 0)
        return CV_ERR_STALE; /* a ban counts days from now; it is told again */
    memcpy(f.a, m->records, REP_RECORD);
    memcpy(f.b, m->records + REP_RECORD, REP_RECORD);
    enum cv_err err = rep_record_read(f.a, &a);
    if (err)
        return err;
    if (memcmp(a.owner, l->identity_secret.public_key, CV_KEY) == 0)
        return CV_ERR_DENIED; /* we would know, and ban ourselves */
    err = l->store->fork_get(l->store->ctx, a.owner, &known_one);
    if (err != CV_ERR_NOENT)
        return err ? err : CV_ERR_EXIST;
    /* A proof stays for good, and keys to forge with cost nothing: of those about somebody
     * of whom nothing is known here, so that nothing hangs on it, a few are enough. */
    if (!cv_tokenbucket_take(&p->answers, now.mono, 1) || !rep_names_may_accuse(l, p, a.owner))
        return CV_ERR_LIMIT;
    if (!rep_ledger_begin(l, now))
        return CV_ERR_DENIED;
    err = rep_chain_add_fork(l->store, l->cfg.network_id, &f, now.wall);
    if (err == CV_ERR_STORE || err == CV_ERR_FULL || err == CV_ERR_CORRUPT || err == CV_ERR_NOMEM)
        rep_ledger_fail(l, err);
    if (err)
        return err;
    rep_names_accused(l, p, a.owner);
    rep_ledger_banned(l, now, a.owner);
    if (m->ttl > 0)
        rep_gossip_fork(l, &f, (uint8_t)(m->ttl - 1), p);
    return CV_ERR_OK;
}

/* ---- life ---- */

enum cv_err rep_gossip_init(struct rep_ledger *l) {
    struct rep_gossip *g = &l->gossip;
    /* Those of the last neighbourhood go when the next is known. */
    g->known = cv_map_new(CV_KEY, 2 * REP_GOSSIP_OWNERS, cv_siphash_map, l->hash_key);
    g->near = calloc(REP_GOSSIP_OWNERS, sizeof *g->near);
    g->at = CV_USEC_NEVER;
    g->wait = REP_GOSSIP_FIRST;
    return g->known && g->near ? l->store->block_count(l->store->ctx, &g->blocks) : CV_ERR_NOMEM;
}

void rep_gossip_done(struct rep_ledger *l) {
    void *cursor = NULL;
    struct rep_known *k;
    while (l->gossip.known && (k = cv_map_next(l->gossip.known, &cursor, NULL)))
        free(k);
    cv_map_free(l->gossip.known);
    free(l->gossip.near);
    free(l->gossip.told);
    free(l->gossip.closed.v);
    for (unsigned i = 0; i < 2; i++)
        free(l->gossip.forgers[i].v);
}

/* A new neighbour hears of forgers that we know, some of them at least. */
void rep_gossip_link_up(struct rep_ledger *l, struct cv_now now, struct rep_peer *p) {
    if (l->gossip.at == CV_USEC_NEVER) {
        l->gossip.wait = REP_GOSSIP_FIRST;
        later(l, now);
    }
    if (!l->failed)
        tell_forks(l, p, REP_FORKS_TOLD);
    rep_succession_link_up(l, p);
}
