/*
 * Getting into the network and staying there: bootstrap, look-ups around the
 * own id, refresh of silent buckets, checks of doubtful nodes, pings of those
 * who ask us, and the vote on our own address.
 */
#include <stdlib.h>
#include <string.h>

#include "dht/engine.h"

enum { SEED_CONTACTS = 8, SEED_SAVED = 16 };

static cv_usec jittered(const struct dht *d, cv_usec t) {
    return t - t / 5 + cv_rng_below(d->rng, 2 * t / 5 + 1);
}

void dht_upkeep_init(struct dht *d, cv_usec now) {
    cv_usec wait = d->cfg.bootstrap_timeout ? d->cfg.bootstrap_timeout : DHT_BOOTSTRAP_WAIT;
    d->no_bootstrap_at = cv_usec_add(now, wait);
    d->upkeep_at = cv_usec_add(now, jittered(d, DHT_UPKEEP_EVERY));
    d->expire_at = cv_usec_add(now, CV_SEC(60));
    d->keep_at = CV_USEC_NEVER;
    cv_tokenbucket_init(&d->pings, DHT_PING_RATE, DHT_PING_BURST, now);
    for (unsigned i = 0; i < 2; i++) {
        d->sides[i].self_at = CV_USEC_NEVER;
        d->sides[i].saved_at = CV_USEC_NEVER;
        d->sides[i].refresh_at = CV_USEC_NEVER;
        d->sides[i].self_gap = DHT_BOOTSTRAP_GAP;
    }
}

/* --- bootstrap ---------------------------------------------------------- */

enum cv_err dht_bootstrap_add(struct dht *d, struct cv_now now, const struct cv_addr *addr) {
    if (!dht_in_scope(d, addr) || !dht_side_of(d, addr->family)->enabled)
        return CV_ERR_DENIED;
    for (unsigned i = 0; i < d->contact_count; i++)
        if (cv_addr_equal(&d->contacts[i], addr))
            return CV_ERR_OK;
    if (d->contact_count == DHT_BOOTSTRAP_CONTACTS)
        return CV_ERR_LIMIT;
    d->contacts[d->contact_count++] = *addr;
    unsigned side = addr->family == 6;
    if (!d->sides[side].answered_any)
        dht_upkeep_wake(d, now.mono, side);
    return CV_ERR_OK;
}

/* Home look-up now, beginning anew with short pauses. */
void dht_upkeep_wake(struct dht *d, cv_usec now, unsigned side) {
    d->sides[side].self_at = now;
    d->sides[side].self_gap = DHT_BOOTSTRAP_GAP;
}

void dht_upkeep_seed(struct dht *d, cv_usec now, unsigned side, struct dht_lookup *l,
                     bool bootstrap) {
    struct dht_side *s = &d->sides[side];
    const struct dht_entry *e[DHT_STARTS];
    size_t n = dht_table_closest(&s->table, now, &l->target, DHT_PICK_ASK, e, DHT_STARTS);
    bool few = n < DHT_K;
    if (n == 0)
        n = dht_table_closest(&s->table, now, &l->target, DHT_PICK_ALL, e, DHT_STARTS);
    for (size_t i = 0; i < n; i++)
        dht_lookup_start(l, &e[i]->id, &e[i]->addr);
    if (!few && !(bootstrap && !d->ready))
        return;
    /* In turn, so that dead ones do not block the way for good. */
    for (unsigned i = 0, taken = 0; i < d->contact_count && taken < SEED_CONTACTS; i++) {
        const struct cv_addr *c = &d->contacts[(d->contact_next + i) % d->contact_count];
        if (c->family == s->family)
            taken += dht_lookup_start(l, NULL, c);
    }
    if (d->contact_count)
        d->contact_next = (d->contact_next + SEED_CONTACTS) % d->contact_count;
    for (unsigned i = 0; i < s->saved_count && i < SEED_SAVED; i++) {
        const struct dht_node *v = &s->saved[(s->saved_next + i) % s->saved_count];
        dht_lookup_start(l, &v->id, &v->addr);
    }
}

static void become_ready(struct dht *d, cv_usec now) {
    if (d->ready)
        return;
    d->ready = d->ready_due = true;
    dht_ops_start_waiting(d, now);
}

void dht_upkeep_op_over(struct dht *d, cv_usec now, const struct dht_operation *op) {
    struct dht_side *s = &d->sides[op->side];
    if (op->kind == DHT_OP_REFRESH) {
        s->refresh_op = 0;
        s->refresh_at = now;
        return;
    }
    s->self_op = 0;
    unsigned good = dht_table_count_good(&s->table, now);
    if (op->done.answered) {
        s->rounds++;
        s->answered_any = true;
        s->refresh_at = cv_usec_min(s->refresh_at, cv_usec_add(now, DHT_REFRESH_FIRST));
    }
    /* In a network of newcomers the first answer knows nobody yet: the second
     * round finds those who came at the same time. */
    if (s->rounds >= 2 || (s->rounds && good >= DHT_K))
        become_ready(d, now);
    if (good >= DHT_K) {
        s->self_at = cv_usec_add(now, jittered(d, DHT_HOME_EVERY));
        s->self_gap = DHT_BOOTSTRAP_GAP;
        return;
    }
    s->self_at = cv_usec_add(now, jittered(d, s->self_gap));
    s->self_gap = cv_usec_min(s->self_gap * 2, DHT_BOOTSTRAP_SLOW);
}

static void self_lookup(struct dht *d, cv_usec now, unsigned side) {
    struct dht_side *s = &d->sides[side];
    if (s->self_op) {
        s->self_at = CV_USEC_NEVER; /* set again when it is over */
        return;
    }
    bool anybody = s->saved_count || dht_table_count(&s->table);
    for (unsigned i = 0; i < d->contact_count; i++)
        anybody |= d->contacts[i].family == s->family;
    s->self_at = CV_USEC_NEVER;
    if (!anybody)
        return; /* woken by the first node that turns up */
    struct dht_id own = s->table.own;
    dht_op op = dht_op_internal(d, now, DHT_OP_HOME, (uint8_t)side, &own);
    if (op)
        s->self_op = op;
    else if (s->self_at == CV_USEC_NEVER)
        s->self_at = cv_usec_add(now, CV_SEC(1)); /* no place for it just now */
}

/* Asks restored nodes, a handful at a time, so that the table fills again. */
static void ask_saved(struct dht *d, cv_usec now, unsigned side) {
    struct dht_side *s = &d->sides[side];
    if (s->saved_next == s->saved_count) {
        /* One round is over and had time to be answered. */
        unsigned good = dht_table_count_good(&s->table, now);
        s->saved_next = 0;
        if (good >= DHT_K || (good > 0 && s->saved_rounds >= 2) || s->saved_count == 0) {
            free(s->saved);
            s->saved = NULL;
            s->saved_count = 0;
            s->saved_at = CV_USEC_NEVER;
            return;
        }
        s->saved_rounds++;
    }
    for (unsigned n = 0; n < SEED_SAVED && s->saved_next < s->saved_count; n++) {
        const struct dht_node *v = &s->saved[s->saved_next++];
        struct dht_query q = {.side = (uint8_t)side,
                              .kind = DHT_QUERY_CHECK,
                              .has_id = true,
                              .id = v->id,
                              .addr = v->addr};
        (void)dht_query_send(d, now, &q);
    }
    unsigned doubled = s->saved_rounds < 5 ? s->saved_rounds : 5;
    s->saved_at =
        cv_usec_add(now, s->saved_next < s->saved_count ? CV_MSEC(200) : CV_SEC(2) << doubled);
}

/* --- routine ------------------------------------------------------------ */

static void check_node(struct dht *d, cv_usec now, unsigned side, const struct dht_id *id,
                       const struct cv_addr *addr) {
    struct dht_query q = {.side = (uint8_t)side,
                          .kind = DHT_QUERY_CHECK,
                          .tries_left = DHT_TRIES - 1,
                          .has_id = true,
                          .id = *id,
                          .addr = *addr};
    (void)dht_query_send(d, now, &q);
}

/* Looks up something in a bucket (-1: none). After joining all are looked up
 * once, one after the other: until then a node knows its own neighbourhood only,
 * and whoever it met first has a say in everything it finds. */
static void refresh(struct dht *d, cv_usec now, unsigned side, int bucket) {
    struct dht_side *s = &d->sides[side];
    if (bucket < 0 || s->refresh_op || dht_table_count(&s->table) == 0)
        return;
    dht_table_refreshed(&s->table, now, (unsigned)bucket);
    struct dht_id target = dht_id_random_at(&s->table.own, (unsigned)bucket, d->rng);
    dht_op op = dht_op_internal(d, now, DHT_OP_REFRESH, (uint8_t)side, &target);
    s->refresh_op = op; /* 0: over already, or no place for it just now */
}

static void routine(struct dht *d, cv_usec now, unsigned side) {
    struct dht_side *s = &d->sides[side];
    for (unsigned n = 0; n < 2; n++) {
        struct dht_entry *e = dht_table_questionable(&s->table, now);
        if (!e)
            break;
        e->pinged = now;
        struct dht_entry copy = *e;
        check_node(d, now, side, &copy.id, &copy.addr);
    }
    refresh(d, now, side, dht_table_stale(&s->table, now));
}

static void no_bootstrap(struct dht *d, cv_usec now) {
    d->no_bootstrap_at = CV_USEC_NEVER;
    if (d->ready)
        return;
    d->gave_up = d->gave_up_due = true;
    dht_ops_start_waiting(d, now);
}

void dht_upkeep(struct dht *d, cv_usec now) {
    for (unsigned i = 0; i < 2; i++) {
        if (!d->sides[i].enabled)
            continue;
        if (now >= d->sides[i].self_at)
            self_lookup(d, now, i);
        if (now >= d->sides[i].saved_at)
            ask_saved(d, now, i);
        if (now >= d->sides[i].refresh_at) {
            d->sides[i].refresh_at = CV_USEC_NEVER;
            refresh(d, now, i, dht_table_fresh(&d->sides[i].table));
        }
    }
    if (now >= d->no_bootstrap_at)
        no_bootstrap(d, now);
    if (now >= d->keep_at)
        dht_ops_keep(d, now);
    if (now >= d->upkeep_at) {
        d->upkeep_at = cv_usec_add(now, jittered(d, DHT_UPKEEP_EVERY));
        for (unsigned i = 0; i < 2; i++)
            if (d->sides[i].enabled)
                routine(d, now, i);
    }
    if (now >= d->expire_at) {
        d->expire_at = cv_usec_add(now, CV_SEC(60));
        dht_peerstore_expire(&d->peers, now);
        dht_itemstore_expire(&d->items, now);
    }
}

cv_usec dht_upkeep_next(const struct dht *d) {
    cv_usec next = cv_usec_min(d->upkeep_at, d->expire_at);
    next = cv_usec_min(cv_usec_min(next, d->no_bootstrap_at), d->keep_at);
    for (unsigned i = 0; i < 2; i++)
        if (d->sides[i].enabled)
            next = cv_usec_min(cv_usec_min(next, d->sides[i].refresh_at),
                               cv_usec_min(d->sides[i].self_at, d->sides[i].saved_at));
    return next;
}

/* --- overheard ---------------------------------------------------------- */

static bool is_liar(const struct dht *d, cv_usec now, const struct cv_addr *addr) {
    for (unsigned i = 0; i < DHT_LIARS; i++)
        if (d->liars[i].times >= 2 && cv_addr_same_ip(&d->liars[i].addr, addr) &&
            cv_usec_since(now, d->liars[i].at) < DHT_LIAR_FOR)
            return true;
    return false;
}

/* Changing one's id once is what a restart looks like; twice is lying. */
static void note_liar(struct dht *d, cv_usec now, const struct cv_addr *addr) {
    for (unsigned i = 0; i < DHT_LIARS; i++)
        if (cv_addr_same_ip(&d->liars[i].addr, addr)) {
            bool recent = cv_usec_since(now, d->liars[i].at) < DHT_LIAR_FOR;
            d->liars[i].times = recent ? d->liars[i].times + 1 : 1;
            d->liars[i].at = now;
            return;
        }
    unsigned i = d->liar_next++ % DHT_LIARS;
    d->liars[i].addr = *addr;
    d->liars[i].at = now;
    d->liars[i].times = 1;
}

static bool pinged_lately(struct dht *d, cv_usec now, const struct cv_addr *addr) {
    for (unsigned i = 0; i < 64; i++)
        if (cv_addr_equal(&d->overheard[i].addr, addr) &&
            cv_usec_since(now, d->overheard[i].at) < CV_SEC(2))
            return true;
    return false;
}

void dht_upkeep_overheard(struct dht *d, cv_usec now, const struct dht_id *id,
                          const struct cv_addr *addr) {
    unsigned side = addr->family == 6;
    struct dht_side *s = &d->sides[side];
    /* The cheap test first: under a flood of queries this is all that happens. */
    if (cv_tokenbucket_ready(&d->pings, now, 1) > now)
        return;
    if (!dht_table_wants(&s->table, now, id, addr) || pinged_lately(d, now, addr) ||
        is_liar(d, now, addr))
        return;
    /* A full table has no hurry: leave most of the allowance alone. */
    bool hurry = dht_table_count_good(&s->table, now) < DHT_NEARLY_EMPTY;
    if (!hurry && d->pings.level < DHT_PING_BURST)
        return;
    (void)cv_tokenbucket_take(&d->pings, now, 1);
    unsigned i = d->overheard_next++ % 64;
    d->overheard[i].addr = *addr;
    d->overheard[i].at = now;
    check_node(d, now, side, id, addr);
}

/* --- size of the network ------------------------------------------------ */

void dht_upkeep_measured(struct dht *d, unsigned side, double size, bool home) {
    struct dht_side *s = &d->sides[side];
    if (home)
        s->home_size = size;
    if (size <= 0 || home)
        return;
    s->sizes[s->size_next] = size;
    s->size_next = (s->size_next + 1) % DHT_SIZES;
    s->size_count += s->size_count < DHT_SIZES;
}

struct dht_size dht_upkeep_size(const struct dht *d, unsigned side) {
    const struct dht_side *s = &d->sides[side];
    double sorted[DHT_SIZES + 1];
    unsigned n = 0;
    bool few = s->size_count < 4;
    for (unsigned i = 0; i < s->size_count + few; i++) {
        double v = i < s->size_count ? s->sizes[i] : s->home_size;
        unsigned at = n++;
        for (; at > 0 && sorted[at - 1] > v; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = v;
    }
    return (struct dht_size){sorted[n / 2], sorted[n * 3 / 4]};
}

/* --- answers ------------------------------------------------------------ */

static void restart_with_id(struct dht *d, cv_usec now, struct dht_side *s,
                            const struct dht_id *id) {
    struct dht_table fresh;
    if (dht_table_init(&fresh, id, now))
        return;
    const struct dht_entry *e[DHT_PICK_MAX];
    size_t n = dht_table_closest(&s->table, now, id, DHT_PICK_ASK, e, DHT_PICK_MAX);
    for (size_t i = 0; i < n; i++)
        (void)dht_table_answered(&fresh, e[i]->replied, &e[i]->id, &e[i]->addr, e[i]->rtt_ms);
    dht_table_done(&s->table);
    s->table = fresh;
    dht_upkeep_wake(d, now, s->family == 6);
}

static void adopt_external(struct dht *d, cv_usec now, struct dht_side *s,
                           const struct cv_addr *addr) {
    s->external = *addr;
    d->external_due[s->family == 6] = true;
    static const struct dht_id none;
    if (d->cfg.scope != DHT_SCOPE_PUBLIC || !dht_id_equal(&d->cfg.id, &none) ||
        dht_id_fits_address(&s->table.own, addr))
        return;
    struct dht_id id = dht_id_for_address(addr, d->rng);
    restart_with_id(d, now, s, &id);
}

/* Somebody tells us how he sees us. Believed when several say the same who do
 * not live in one network, and more of them than contradict. */
static void vote(struct dht *d, cv_usec now, struct dht_side *s, const struct cv_addr *voter,
                 struct dht_span ip) {
    struct dht_vote v = {.voter = cv_addr_network(voter, 16, 32)};
    if (!ip.p || !dht_compact_read(ip, &v.claimed) || v.claimed.family != s->family ||
        !dht_in_scope(d, &v.claimed))
        return;
    unsigned at = s->vote_next, size = sizeof s->votes / sizeof *s->votes;
    for (unsigned i = 0; i < s->vote_count; i++)
        if (cv_addr_equal(&s->votes[i].voter, &v.voter))
            at = i;
    if (at == s->vote_next) {
        s->vote_next = (s->vote_next + 1) % size;
        s->vote_count += s->vote_count < size;
    }
    s->votes[at] = v;
    unsigned agree = 0;
    for (unsigned i = 0; i < s->vote_count; i++)
        agree += cv_addr_same_ip(&s->votes[i].claimed, &v.claimed);
    if (agree >= DHT_EXTERNAL_VOTES && agree * 2 > s->vote_count &&
        !cv_addr_same_ip(&s->external, &v.claimed))
        adopt_external(d, now, s, &v.claimed);
}

void dht_upkeep_answered(struct dht *d, cv_usec now, const struct dht_query *q,
                         const struct dht_msg *m) {
    struct dht_side *s = &d->sides[q->side];
    struct dht_id id;
    memcpy(id.b, m->id.p, sizeof id.b);
    vote(d, now, s, &q->addr, m->ip);
    /* Another id than expected. The expectation may be a third party's lie, so
     * that alone is held against nobody; but a stranger does not get in by it. */
    bool expected = !q->has_id || dht_id_equal(&q->id, &id);
    if (is_liar(d, now, &q->addr) || (!expected && !dht_table_find(&s->table, &q->addr)))
        return;
    bool alone = dht_table_count(&s->table) == 0;
    unsigned rtt_ms = (unsigned)(cv_usec_since(now, q->sent) / 1000);
    if (dht_table_answered(&s->table, now, &id, &q->addr, rtt_ms) == CV_ERR_DIFFERS)
        note_liar(d, now, &q->addr);
    /* The first node that turned up by itself: a way into the network. */
    if (alone && dht_table_count(&s->table) && !s->self_op && s->self_at > now)
        dht_upkeep_wake(d, now, q->side);
}
