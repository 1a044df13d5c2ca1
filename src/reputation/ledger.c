#include "reputation/ledger.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/trace.h"
#include "crypto/hash.h"
#include "reputation/ledger_internal.h"
#include "reputation/release.h"

static void check(struct rep_ledger *l, struct cv_now now) {
    assert(now.mono >= l->last_mono);
    assert(l->failed || l->in_transaction == false || l->commit_at != CV_USEC_NEVER);
    l->last_mono = now.mono;
}

/* ---- life ---- */

void rep_config_init(struct rep_config *ret) {
    memset(ret, 0, sizeof *ret);
    ret->epoch_seconds = REP_EPOCH_SECONDS;
    ret->minimum_octets = REP_MINIMUM_OCTETS;
    ret->gate = rep_gate_defaults;
}

bool rep_is_world(const uint8_t network_id[REP_NETWORK_ID]) {
    uint8_t world[REP_NETWORK_ID];
    CV_BLAKE2B(world, sizeof world, NULL, 0, {"culvert", 7});
    return memcmp(network_id, world, sizeof world) == 0;
}

static enum cv_err check_config(const struct rep_config *cfg) {
    if (cfg->epoch_seconds < REP_EPOCH_SECONDS_MIN || cfg->epoch_seconds > REP_EPOCH_SECONDS_MAX)
        return CV_ERR_INVAL;
    if (cfg->minimum_octets == 0 || cfg->minimum_octets > REP_AMOUNT_MAX)
        return CV_ERR_INVAL;
    if (rep_is_world(cfg->network_id) &&
        (cfg->epoch_seconds < REP_EPOCH_SECONDS || cfg->minimum_octets < REP_MINIMUM_OCTETS ||
         cfg->tokens_at_once))
        return CV_ERR_DENIED;
    return CV_ERR_OK;
}

static bool make_tables(struct rep_ledger *l) {
    l->peers = cv_map_new(CV_KEY, REP_PEERS, cv_siphash_map, l->hash_key);
    l->clients = cv_map_new(CV_KEY, REP_ACCOUNTS, cv_siphash_map, l->hash_key);
    l->links = cv_map_new(sizeof(cv_handle), REP_LINKS, cv_siphash_map, l->hash_key);
    l->networks = cv_map_new(sizeof(struct cv_addr), REP_LINKS, cv_siphash_map, l->hash_key);
    l->graph = rep_graph_new(REP_GRAPH_NODES, l->hash_key);
    l->walks = rep_walks_new(&(struct rep_walk_config){
        .walks = REP_WALKS, .alpha_permille = REP_ALPHA_PERMILLE, .seed = l->cfg.seed});
    return l->peers && l->clients && l->links && l->networks && l->graph && l->walks;
}

enum cv_err rep_ledger_new(const struct rep_config *cfg, const struct rep_store *store,
                           const struct cv_rng *rng, struct cv_now now, struct rep_ledger **ret) {
    enum cv_err err = check_config(cfg);
    if (err)
        return err;
    struct rep_ledger *l = calloc(1, sizeof *l);
    if (!l)
        return CV_ERR_NOMEM;
    l->cfg = *cfg;
    cv_wipe(&l->cfg.identity_secret, sizeof l->cfg.identity_secret);
    l->identity_secret = cfg->identity_secret;
    l->store = store;
    l->rng = rng;
    l->last_mono = now.mono;
    l->commit_at = l->rerank_at = l->prune_at = CV_USEC_NEVER;
    cv_rng_fill(rng, l->hash_key, sizeof l->hash_key);
    cv_tokenbucket_init(&l->issues, REP_TOKEN_ISSUES_S, 2 * REP_TOKEN_ISSUES_S, now.mono);
    cv_tokenbucket_init(&l->redeems, REP_TOKEN_TRIES_S, 2 * REP_TOKEN_TRIES_S, now.mono);
    TAILQ_INIT(&l->dirty_rows);
    TAILQ_INIT(&l->dirty_clients);
    TAILQ_INIT(&l->changed);
    STAILQ_INIT(&l->ready);
    STAILQ_INIT(&l->held);
    cv_heap_init(&l->timers, REP_PEERS * (REP_RELEASE_EPOCHS_KEPT + 1) + REP_LINKS);

    if (!make_tables(l))
        err = CV_ERR_NOMEM;
    if (!err)
        err = rep_gossip_init(l);
    if (!err)
        err = rep_chain_pruned(store, &l->pruned, &(uint32_t){0});
    if (!err)
        err = rep_counter_load(l, now);
    if (!err)
        err = rep_standing_load(l);
    if (!err)
        err = rep_succession_load(l);
    if (!err)
        err = rep_wallet_load(l, now);
    if (err) {
        rep_ledger_free(l);
        return err;
    }
    rep_account_expire(l, now);
    rep_counter_epoch(l, now);
    rep_standing_dirty(l, now, REP_BECAUSE_START);
    *ret = l;
    return CV_ERR_OK;
}

static void free_sends(struct rep_sends *q) {
    while (!STAILQ_EMPTY(q)) {
        struct rep_send *s = STAILQ_FIRST(q);
        STAILQ_REMOVE_HEAD(q, next);
        free(s);
    }
}

static void free_all(struct cv_map *m) {
    void *cursor = NULL;
    void *value;
    while (m && (value = cv_map_next(m, &cursor, NULL)))
        free(value);
    cv_map_free(m);
}

static void free_peers(struct rep_ledger *l) {
    void *cursor = NULL;
    struct rep_peer *p;
    while (l->peers && (p = cv_map_next(l->peers, &cursor, NULL))) {
        while (!TAILQ_EMPTY(&p->rows))
            rep_counter_forget(l, TAILQ_FIRST(&p->rows));
        cv_wipe(p->pair_secret, sizeof p->pair_secret);
    }
    free_all(l->peers);
}

struct rep_ledger *rep_ledger_free(struct rep_ledger *l) {
    if (!l)
        return NULL;
    if (l->in_transaction)
        l->store->rollback(l->store->ctx);
    cv_heap_done(&l->timers); /* first: it touches the timers it forgets */
    free_peers(l);
    free_all(l->clients);
    free_all(l->links);
    free_all(l->networks);
    rep_wallet_free(l);
    rep_gossip_done(l);
    rep_walks_free(l->walks);
    rep_graph_free(l->graph);
    free_sends(&l->ready);
    free_sends(&l->held);
    cv_wipe(l, sizeof *l);
    free(l);
    return NULL;
}

/* ---- the group commit ---- */

void rep_ledger_fail(struct rep_ledger *l, enum cv_err err) {
    assert(err != CV_ERR_OK);
    if (l->failed)
        return;
    l->failed = err;
    l->tell_failed = true;
    l->commit_at = CV_USEC_NEVER;
    if (l->in_transaction)
        l->store->rollback(l->store->ctx);
    l->in_transaction = false;
    free_sends(&l->held); /* what is not durable never leaves */
    CV_TRACE(LEDGER, failed, l->last_mono, "err=%d", (int)err);
}

bool rep_ledger_begin(struct rep_ledger *l, struct cv_now now) {
    if (l->failed)
        return false;
    if (l->in_transaction)
        return true;
    enum cv_err err = l->store->begin(l->store->ctx, now.wall);
    if (err) {
        rep_ledger_fail(l, err);
        return false;
    }
    l->in_transaction = true;
    rep_ledger_touch(l, now, 0);
    return true;
}

static void commit(struct rep_ledger *l, struct cv_now now) {
    if (!rep_ledger_begin(l, now))
        return;
    enum cv_err err = rep_counter_write(l);
    if (!err)
        err = rep_account_write(l);
    if (!err)
        err = l->store->commit(l->store->ctx);
    if (err) {
        rep_ledger_fail(l, err);
        return;
    }
    l->in_transaction = false;
    l->commit_at = CV_USEC_NEVER;
    l->changes = 0;
    l->stats.commits++;
    STAILQ_CONCAT(&l->ready, &l->held);
}

void rep_ledger_touch(struct rep_ledger *l, struct cv_now now, uint32_t n) {
    if (l->failed)
        return;
    l->changes += n;
    if (l->changes >= REP_COMMIT_RECORDS)
        l->commit_at = now.mono; /* at the end of this step: see end_step() */
    else if (l->commit_at == CV_USEC_NEVER)
        l->commit_at = cv_usec_add(now.mono, REP_COMMIT_WAIT);
}

/* Every entry point ends here: a commit that became due during the step. */
static void end_step(struct rep_ledger *l, struct cv_now now) {
    if (l->commit_at <= now.mono)
        commit(l, now);
}

enum cv_err rep_ledger_flush(struct rep_ledger *l, struct cv_now now) {
    check(l, now);
    if (l->commit_at != CV_USEC_NEVER)
        commit(l, now);
    return l->failed;
}

/* ---- messages and events ---- */

void rep_ledger_send(struct rep_ledger *l, const struct rep_peer *p, const struct rep_message *m,
                     bool durable) {
    uint8_t buf[REP_MESSAGE_MAX];
    if (l->failed || TAILQ_EMPTY(&p->links) || l->queued >= REP_SENDS_QUEUED)
        return;
    ssize_t len = rep_message_write(m, buf, sizeof buf);
    assert(len > 0);
    struct rep_send *s = malloc(sizeof *s + (size_t)len);
    if (!s)
        return;
    s->link = TAILQ_FIRST(&p->links)->handle;
    s->len = (uint16_t)len;
    memcpy(s->body, buf, (size_t)len);
    if (durable && l->in_transaction)
        STAILQ_INSERT_TAIL(&l->held, s, next);
    else
        STAILQ_INSERT_TAIL(&l->ready, s, next);
    l->queued++;
}

void rep_ledger_changed(struct rep_ledger *l, struct rep_link *k) {
    if (!k->changed) {
        k->changed = true;
        TAILQ_INSERT_TAIL(&l->changed, k, of_changed);
    }
}

static bool poll_change(struct rep_ledger *l, struct rep_event *ret) {
    struct rep_link *k = TAILQ_FIRST(&l->changed);
    if (!k)
        return false;
    ret->link = k->handle;
    if (k->tell_banned) {
        k->tell_banned = false;
        ret->kind = REP_EVENT_BANNED;
    } else if (k->tell_class) {
        k->tell_class = false;
        ret->kind = REP_EVENT_CLASS;
        ret->gate_class = k->gate_class;
    } else {
        assert(k->tell_weight);
        k->tell_weight = false;
        ret->kind = REP_EVENT_WEIGHT;
        ret->weight = k->weight;
    }
    if (!k->tell_banned && !k->tell_class && !k->tell_weight) {
        k->changed = false;
        TAILQ_REMOVE(&l->changed, k, of_changed);
    }
    return true;
}

bool rep_ledger_poll_event(struct rep_ledger *l, struct rep_event *ret) {
    if (l->tell_failed) {
        l->tell_failed = false;
        ret->kind = REP_EVENT_FAILED;
        ret->link = 0;
        ret->err = l->failed;
        return true;
    }
    if (poll_change(l, ret))
        return true;
    struct rep_send *s = STAILQ_FIRST(&l->ready);
    if (!s)
        return false;
    STAILQ_REMOVE_HEAD(&l->ready, next);
    l->queued--;
    ret->kind = REP_EVENT_SEND;
    ret->link = s->link;
    ret->send.len = s->len;
    memcpy(ret->send.body, s->body, s->len);
    free(s);
    return true;
}

/* ---- links ---- */

enum cv_err rep_ledger_peer(struct rep_ledger *l, const uint8_t key[CV_KEY],
                            struct rep_peer **ret) {
    struct rep_peer *p = cv_map_get(l->peers, key);
    if (!p) {
        p = calloc(1, sizeof *p);
        if (!p)
            return CV_ERR_NOMEM;
        memcpy(p->key, key, CV_KEY);
        TAILQ_INIT(&p->rows);
        TAILQ_INIT(&p->links);
        p->ask.kind = REP_TIMER_ASK;
        cv_tokenbucket_init(&p->answers, 1, REP_ASK_MESSAGES_PER_MINUTE, l->last_mono);
        enum cv_err err = cv_map_put(l->peers, key, p);
        if (err) {
            free(p);
            return err;
        }
    }
    *ret = p;
    return CV_ERR_OK;
}

/* Is the key of a proven forger whose ban runs? */
static bool is_banned(struct rep_ledger *l, struct cv_now now, const uint8_t key[CV_KEY]) {
    int64_t until;
    if (l->failed)
        return false;
    enum cv_err err = l->store->ban_get(l->store->ctx, key, &until);
    if (err && err != CV_ERR_NOENT)
        rep_ledger_fail(l, err);
    return !err && (now.wall == 0 || now.wall < until);
}

static enum cv_err relay_up(struct rep_ledger *l, struct cv_now now, struct rep_link *k,
                            const uint8_t *key) {
    if (memcmp(key, l->identity_secret.public_key, CV_KEY) == 0)
        return CV_ERR_INVAL;
    if (is_banned(l, now, key))
        return CV_ERR_DENIED;
    enum cv_err err = rep_ledger_peer(l, key, &k->peer);
    if (err)
        return err;
    k->peer->banned = false;
    TAILQ_INSERT_HEAD(&k->peer->links, k, of_owner);
    k->weight = 0; /* so that the first one is told */
    rep_standing_weigh(l, k);
    rep_standing_dirty(l, now, REP_BECAUSE_NEIGHBOURS); /* one more competes */
    rep_settle_link_up(l, now, k->peer);
    rep_ask_link_up(l, now, k->peer);
    rep_gossip_link_up(l, now, k->peer);
    return CV_ERR_OK;
}

enum cv_err rep_ledger_link_up(struct rep_ledger *l, struct cv_now now, cv_handle link,
                               enum rep_role role, const uint8_t *public_key,
                               const struct cv_addr *addr) {
    check(l, now);
    rep_counter_epoch(l, now);
    if (cv_map_get(l->links, &link))
        return CV_ERR_EXIST;
    struct rep_link *k = calloc(1, sizeof *k);
    if (!k)
        return CV_ERR_NOMEM;
    k->handle = link;
    k->role = role;
    k->network = cv_addr_network(addr, 24, 56);
    k->gate_class = REP_CLASS_NEW;
    k->weight = REP_WEIGHT_MEAN;
    k->grant.kind = REP_TIMER_GRANT;
    cv_tokenbucket_init(&k->tries, 1, (uint64_t)REP_TOKEN_TRY_S * REP_TOKEN_TRIES_LINK, now.mono);
    cv_tokenbucket_init(&k->messages, REP_MESSAGES_S, REP_MESSAGES_BURST, now.mono);
    enum cv_err err = cv_map_put(l->links, &link, k);
    if (err) {
        free(k);
        return err;
    }
    if (role == REP_ROLE_RELAY)
        err = relay_up(l, now, k, public_key);
    else if (role == REP_ROLE_CLIENT)
        err = rep_account_open(l, now, k, public_key);
    if (err == CV_ERR_LIMIT && role == REP_ROLE_CLIENT)
        err = CV_ERR_OK; /* too many of its network: served as nameless */
    if (err) {
        free(cv_map_del(l->links, &link));
        return err;
    }
    if (role != REP_ROLE_RELAY) {
        k->tell_class = true;
        rep_ledger_changed(l, k);
    }
    l->stats.links++;
    l->stats.links_relay += role == REP_ROLE_RELAY;
    l->stats.links_client += role == REP_ROLE_CLIENT;
    end_step(l, now);
    return CV_ERR_OK;
}

/* A relay that never counted for anything is not remembered: keys are cheap. */
static void forget_stranger(struct rep_ledger *l, struct rep_peer *p) {
    if (!TAILQ_EMPTY(&p->links) || !TAILQ_EMPTY(&p->rows) || p->held_given || p->held_taken ||
        p->released_given || p->released_taken || p->hits)
        return;
    cv_heap_remove(&l->timers, &p->ask.timer);
    cv_map_del(l->peers, p->key);
    cv_wipe(p->pair_secret, sizeof p->pair_secret);
    free(p);
}

void rep_ledger_link_down(struct rep_ledger *l, struct cv_now now, cv_handle link) {
    check(l, now);
    struct rep_link *k = cv_map_del(l->links, &link);
    if (!k)
        return;
    if (k->peer) {
        TAILQ_REMOVE(&k->peer->links, k, of_owner);
        rep_standing_dirty(l, now, REP_BECAUSE_NEIGHBOURS);
        forget_stranger(l, k->peer);
    }
    rep_account_close(l, k);
    if (k->changed)
        TAILQ_REMOVE(&l->changed, k, of_changed);
    cv_heap_remove(&l->timers, &k->grant.timer);
    l->stats.links--;
    l->stats.links_relay -= k->role == REP_ROLE_RELAY;
    l->stats.links_client -= k->role == REP_ROLE_CLIENT;
    free(k);
    end_step(l, now);
}

void rep_ledger_carried(struct rep_ledger *l, struct cv_now now, cv_handle link, uint64_t out,
                        uint64_t in) {
    check(l, now);
    struct rep_link *k = cv_map_get(l->links, &link);
    if (!k)
        return;
    /* By the calendar: seconds of the other clock have fractions of their own. */
    if (l->epoch_look <= now.mono || now.wall >= l->epoch_end)
        rep_counter_epoch(l, now);
    if (k->peer) {
        l->stats.given += out;
        l->stats.taken += in;
        rep_counter_add(l, now, k->peer, out, in);
    } else if (k->client) {
        l->stats.client_given += in;
        l->stats.client_taken += out;
        rep_account_carried(l, now, k, out, in);
    }
    end_step(l, now);
}

void rep_ledger_grant(struct rep_ledger *l, struct cv_now now, cv_handle link, cv_usec until) {
    check(l, now);
    struct rep_link *k = cv_map_get(l->links, &link);
    if (!k || k->role == REP_ROLE_RELAY || until <= now.mono)
        return;
    if (cv_heap_set(&l->timers, &k->grant.timer, until) == CV_ERR_OK)
        rep_account_class(l, k);
}

/* ---- half-blocks ---- */

void rep_ledger_banned(struct rep_ledger *l, struct cv_now now, const uint8_t owner[CV_KEY]) {
    l->stats.forks++;
    rep_gossip_soon(l, now);
    (void)rep_keys_add(&l->gossip.forgers[rep_names_standing(l, owner)], owner);
    (void)rep_graph_exclude(l->graph, owner); /* out of memory: after a restart */
    rep_standing_dirty(l, now, REP_BECAUSE_FORGER);
    rep_ledger_touch(l, now, 1);
    struct rep_peer *p = cv_map_get(l->peers, owner);
    if (!p)
        return;
    p->banned = true;
    struct rep_link *k;
    TAILQ_FOREACH(k, &p->links, of_owner) {
        k->tell_banned = true;
        rep_ledger_changed(l, k);
    }
}

/* A direction of an agreed pair: for the ranking, and for display if ours. */
static void on_edge(struct rep_ledger *l, struct cv_now now, const struct rep_edge *e) {
    const uint8_t *me = l->identity_secret.public_key;
    if (e->octets == 0)
        return;
    (void)rep_graph_set(l->graph, e); /* out of memory: after a restart */
    rep_standing_dirty(l, now, REP_BECAUSE_ROWS);
    struct rep_peer *p;
    if (memcmp(e->giver, me, CV_KEY) == 0 && (p = cv_map_get(l->peers, e->taker)))
        p->released_given = e->octets;
    if (memcmp(e->taker, me, CV_KEY) == 0 && (p = cv_map_get(l->peers, e->giver)))
        p->released_taken = e->octets;
}

/* Does it contradict what is kept? Then it would prove that its owner forges. */
static bool accuses(struct rep_ledger *l, const struct rep_record *r) {
    struct rep_record known;
    bool fits = false;
    enum cv_err err = l->store->block_get(l->store->ctx, r->owner, r->seq, &known);
    if (!err && memcmp(known.hash, r->hash, REP_HASH) == 0)
        return false;
    if (err == CV_ERR_NOENT)
        err = rep_chain_fits(l->store, r, &fits);
    if (err)
        rep_ledger_fail(l, err);
    return !fits;
}

enum cv_err rep_ledger_add(struct rep_ledger *l, struct cv_now now, const struct rep_record *r,
                           struct rep_peer *from, struct rep_chain_result *ret) {
    assert(l->in_transaction);
    if (from && !rep_names_may_accuse(l, from, r->owner) && accuses(l, r)) {
        l->stats.blocks_refused++;
        return l->failed ? l->failed : CV_ERR_LIMIT;
    }
    enum cv_err err = rep_chain_add(l->store, l->cfg.network_id, r, !from, now.wall, ret);
    if (ret->forked) {
        if (from)
            rep_names_accused(l, from, r->owner);
        rep_ledger_banned(l, now, r->owner);
        rep_gossip_fork(l, &ret->fork, REP_FORK_TTL, NULL);
    }
    if (err == CV_ERR_OK) {
        l->stats.blocks_taken += from != NULL;
        l->gossip.blocks++;
        rep_ledger_touch(l, now, 1);
        rep_gossip_news(l, now, r->owner);
        for (unsigned i = 0; ret->agreed && i < 2; i++)
            on_edge(l, now, &ret->ab[i]);
        if (ret->succeeds)
            rep_succession_new(l, now, r);
    } else if (err == CV_ERR_STORE || err == CV_ERR_FULL || err == CV_ERR_CORRUPT ||
               err == CV_ERR_NOMEM) {
        rep_ledger_fail(l, err);
    } else if (err != CV_ERR_EXIST) {
        l->stats.blocks_refused++;
    }
    return err;
}

enum cv_err rep_ledger_on_message(struct rep_ledger *l, struct cv_now now, cv_handle link,
                                  const uint8_t *body, size_t len) {
    check(l, now);
    struct rep_message m;
    struct rep_link *k = cv_map_get(l->links, &link);
    if (!k)
        return CV_ERR_NOENT;
    rep_counter_epoch(l, now);
    enum cv_err err = CV_ERR_DENIED; /* ledgers are between relays */
    if (k->peer && !k->peer->banned)
        err = cv_tokenbucket_take(&k->messages, now.mono, 1) ? rep_message_read(body, len, &m)
                                                             : CV_ERR_LIMIT;
    if (!err && m.kind == REP_MESSAGE_COUNTERS)
        err = rep_settle_counters(l, now, k->peer, &m);
    else if (!err && m.kind == REP_MESSAGE_RECORDS)
        err = rep_ask_records(l, now, k->peer, &m);
    else if (!err && m.kind == REP_MESSAGE_ASK)
        err = rep_ask_answer(l, now, k->peer, &m);
    else if (!err && m.kind == REP_MESSAGE_FORK)
        err = rep_gossip_on_fork(l, now, k->peer, &m);
    else if (!err)
        err = rep_gossip_digest(l, now, k->peer, &m);
    l->stats.messages_refused += err != CV_ERR_OK;
    end_step(l, now);
    return err;
}

/* ---- time ---- */

static void fire(struct rep_ledger *l, struct cv_now now, struct cv_timer *t) {
    struct rep_timer *timer = CV_CONTAINER_OF(t, struct rep_timer, timer);
    switch (timer->kind) {
    case REP_TIMER_ROW:
        rep_settle_due(l, now, CV_CONTAINER_OF(timer, struct rep_open_row, wait));
        break;
    case REP_TIMER_ASK:
        rep_ask_due(l, now, CV_CONTAINER_OF(timer, struct rep_peer, ask));
        break;
    case REP_TIMER_GRANT:
        rep_account_class(l, CV_CONTAINER_OF(timer, struct rep_link, grant));
        break;
    }
}

void rep_ledger_on_timeout(struct rep_ledger *l, struct cv_now now) {
    check(l, now);
    if (l->epoch_look <= now.mono)
        rep_counter_epoch(l, now);
    struct cv_timer *t;
    while ((t = cv_heap_pop(&l->timers, now.mono)))
        fire(l, now, t);
    if (l->rerank_at <= now.mono)
        rep_standing_rank(l, now);
    if (l->gossip.at <= now.mono)
        rep_gossip_due(l, now);
    if (l->expire_at <= now.mono)
        rep_account_expire(l, now);
    if (l->prune_at <= now.mono)
        rep_prune_due(l, now);
    end_step(l, now);
}

cv_usec rep_ledger_next_timeout(const struct rep_ledger *l) {
    cv_usec at = cv_usec_min(l->commit_at, l->epoch_look);
    at = cv_usec_min(at, cv_heap_next(&l->timers));
    at = cv_usec_min(at, l->rerank_at);
    at = cv_usec_min(at, l->gossip.at);
    at = cv_usec_min(at, l->prune_at);
    return cv_usec_min(at, l->expire_at);
}

/* ---- for display and for the scheduler ---- */

enum rep_class rep_ledger_class(const struct rep_ledger *l, cv_handle link) {
    const struct rep_link *k = cv_map_get(l->links, &link);
    return k ? k->gate_class : REP_CLASS_NEW;
}

uint32_t rep_ledger_weight(const struct rep_ledger *l, cv_handle link) {
    const struct rep_link *k = cv_map_get(l->links, &link);
    return k ? k->weight : REP_WEIGHT_MIN;
}

static void pending(const struct rep_peer *p, uint64_t *given, uint64_t *taken) {
    const struct rep_open_row *row;
    *given = p->held_given;
    *taken = p->held_taken;
    TAILQ_FOREACH(row, &p->rows, of_peer) {
        *given += row->p.given;
        *taken += row->p.taken;
    }
}

void rep_ledger_stats(const struct rep_ledger *l, struct rep_stats *ret) {
    *ret = l->stats;
    ret->tokens_left = rep_ledger_tokens_left(l);
    void *cursor = NULL;
    const struct rep_peer *p;
    while ((p = cv_map_next(l->peers, &cursor, NULL))) {
        uint64_t given, taken;
        pending(p, &given, &taken);
        ret->pending_given += given;
        ret->pending_taken += taken;
        ret->released_given += p->released_given;
        ret->released_taken += p->released_taken;
    }
}

bool rep_ledger_row(const struct rep_ledger *l, void **cursor, struct rep_row *ret) {
    const struct rep_peer *p = cv_map_next(l->peers, cursor, NULL);
    if (!p)
        return false;
    memset(ret, 0, sizeof *ret);
    memcpy(ret->peer, p->key, CV_KEY);
    ret->up = !TAILQ_EMPTY(&p->links);
    ret->epoch = l->epoch;
    pending(p, &ret->pending_given, &ret->pending_taken);
    ret->released_given = p->released_given;
    ret->released_taken = p->released_taken;
    ret->score = (double)p->hits / REP_WALKS;
    return true;
}
