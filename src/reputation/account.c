/*
 * Private accounts: what a guard knows about the clients that authenticated
 * with a key made for this one guard. Nothing here is signed or sent. An
 * account too small to tell its client from a new one is not stored; days are
 * all that is kept of times, but for since when somebody owes much who is no debtor
 * yet: to the second for two days at most, as an hour is to be measured by it.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "reputation/ledger_internal.h"

static int64_t day_of(int64_t wall) {
    return wall - wall % 86400;
}

void rep_account_class(struct rep_ledger *l, struct rep_link *k) {
    enum rep_class to = REP_CLASS_NEW;
    if (cv_timer_queued(&k->grant.timer))
        to = REP_CLASS_TOKEN;
    else if (k->client)
        to = k->client->a.gate_class;
    if (to == k->gate_class)
        return;
    k->gate_class = to;
    k->tell_class = true;
    rep_ledger_changed(l, k);
}

static enum cv_err join_network(struct rep_ledger *l, const struct cv_addr *network) {
    struct rep_network *n = cv_map_get(l->networks, network);
    if (!n) {
        n = calloc(1, sizeof *n);
        if (!n)
            return CV_ERR_NOMEM;
        enum cv_err err = cv_map_put(l->networks, network, n);
        if (err) {
            free(n);
            return err;
        }
    }
    if (n->links >= REP_ACCOUNTS_PER_NETWORK)
        return CV_ERR_LIMIT;
    n->links++;
    return CV_ERR_OK;
}

static void leave_network(struct rep_ledger *l, const struct cv_addr *network) {
    struct rep_network *n = cv_map_get(l->networks, network);
    assert(n != NULL);
    assert(n->links > 0);
    if (--n->links == 0)
        free(cv_map_del(l->networks, network));
}

/* Has the calendar gone on like the other clock since it was looked at last, and does nobody
 * doubt it? A wrong one is corrected by a leap. */
static bool calendar_goes_on(const struct rep_ledger *l, struct cv_now now) {
    struct cv_now then = l->calendar;
    int64_t passed = (int64_t)(cv_usec_since(now.mono, then.mono) / CV_SEC(1));
    return now.mono >= l->doubted && now.wall > 0 && then.wall > 0 &&
           now.wall - then.wall >= passed - REP_CALENDAR_SLACK &&
           now.wall - then.wall <= passed + REP_CALENDAR_SLACK;
}

/* Nothing is deleted as early as this, but what is to be is not believed any more. */
static bool is_forgotten(const struct rep_ledger *l, struct cv_now now,
                         const struct rep_account *a) {
    return calendar_goes_on(l, now) && a->last_seen < now.wall - REP_ACCOUNT_DAYS * INT64_C(86400);
}

static enum cv_err find(struct rep_ledger *l, struct cv_now now, const uint8_t key[CV_KEY],
                        struct rep_client **ret) {
    struct rep_client *c = cv_map_get(l->clients, key);
    if (c) {
        *ret = c;
        return CV_ERR_OK;
    }
    c = calloc(1, sizeof *c);
    if (!c)
        return CV_ERR_NOMEM;
    TAILQ_INIT(&c->links);
    enum cv_err err = l->failed ? CV_ERR_NOENT : l->store->account_get(l->store->ctx, key, &c->a);
    if (err && err != CV_ERR_NOENT)
        rep_ledger_fail(l, err);
    if (err || c->a.gate_class >= REP_CLASSES || is_forgotten(l, now, &c->a)) {
        memset(&c->a, 0, sizeof c->a);
        memcpy(c->a.client, key, CV_KEY);
        c->a.gate_class = REP_CLASS_NEW;
    }
    c->a.judged = c->a.taken;
    err = cv_map_put(l->clients, key, c);
    if (err) {
        free(c);
        return err;
    }
    *ret = c;
    return CV_ERR_OK;
}

void rep_account_forget(struct rep_ledger *l, struct rep_client *c) {
    if (c->dirty || !TAILQ_EMPTY(&c->links))
        return;
    cv_map_del(l->clients, c->a.client);
    free(c);
}

enum cv_err rep_account_open(struct rep_ledger *l, struct cv_now now, struct rep_link *k,
                             const uint8_t key[CV_KEY]) {
    struct rep_client *c;
    enum cv_err err = join_network(l, &k->network);
    if (err)
        return err;
    err = find(l, now, key, &c);
    if (err) {
        leave_network(l, &k->network);
        return err;
    }
    k->client = c;
    TAILQ_INSERT_HEAD(&c->links, k, of_owner);
    rep_account_class(l, k);
    return CV_ERR_OK;
}

void rep_account_close(struct rep_ledger *l, struct rep_link *k) {
    struct rep_client *c = k->client;
    if (!c)
        return;
    TAILQ_REMOVE(&c->links, k, of_owner);
    k->client = NULL;
    leave_network(l, &k->network);
    rep_account_forget(l, c);
}

static void grow(uint64_t *counter, uint64_t by) {
    if (__builtin_add_overflow(*counter, by, counter) || *counter > REP_AMOUNT_MAX)
        *counter = REP_AMOUNT_MAX;
}

static void tell_why(struct rep_ledger *l, struct cv_now now, const struct rep_account *a,
                     uint8_t was) {
    struct rep_why w = {.kind = REP_WHY_CLASS,
                        .cause = (uint8_t)rep_gate_because(was, a->gate_class),
                        .was = was,
                        .became = a->gate_class,
                        .given = a->given,
                        .taken = a->taken};
    memcpy(w.who, a->client, CV_KEY);
    rep_ledger_because(l, now, &w);
}

void rep_account_carried(struct rep_ledger *l, struct cv_now now, struct rep_link *k, uint64_t out,
                         uint64_t in) {
    struct rep_client *c = k->client;
    if (!c)
        return;
    grow(&c->a.given, in);
    grow(&c->a.taken, out);
    if (now.wall > 0) { /* without a calendar the class stays as it is */
        uint8_t was = c->a.gate_class;
        c->a.last_seen = day_of(now.wall);
        if (rep_gate_judge(&l->cfg.gate, &c->a, c->changed_at, now.wall) != was) {
            c->changed_at = now.wall;
            tell_why(l, now, &c->a, was);
        }
        struct rep_link *each;
        if (c->a.gate_class != was)
            TAILQ_FOREACH(each, &c->links, of_owner)
        rep_account_class(l, each);
    }
    if (!c->dirty && c->a.given + c->a.taken >= l->cfg.gate.new_octets && now.wall > 0) {
        c->dirty = true;
        TAILQ_INSERT_TAIL(&l->dirty_clients, c, of_dirty);
        rep_ledger_touch(l, now, 1);
    }
}

enum cv_err rep_account_write(struct rep_ledger *l) {
    while (!TAILQ_EMPTY(&l->dirty_clients)) {
        struct rep_client *c = TAILQ_FIRST(&l->dirty_clients);
        struct rep_account kept = c->a;
        if (kept.gate_class == REP_CLASS_DEBT) /* the hour is over, and the day will do */
            kept.debt_since = day_of(kept.debt_since);
        enum cv_err err = l->store->account_put(l->store->ctx, &kept);
        if (err)
            return err;
        TAILQ_REMOVE(&l->dirty_clients, c, of_dirty);
        c->dirty = false;
        rep_account_forget(l, c);
    }
    return CV_ERR_OK;
}

/* For an hour or more? */
static bool calendar_holds(struct rep_ledger *l, struct cv_now now) {
    bool holds = calendar_goes_on(l, now) &&
                 cv_usec_since(now.mono, l->calendar.mono) >= CV_SEC(REP_CALENDAR_HOLDS);
    l->calendar = now;
    return holds;
}

void rep_ledger_clock_off(struct rep_ledger *l, struct cv_now now) {
    l->doubted = cv_usec_add(now.mono, CV_SEC(REP_CALENDAR_DOUBT));
}

void rep_account_expire(struct rep_ledger *l, struct cv_now now) {
    bool holds = calendar_holds(l, now);
    l->expire_at = cv_usec_add(now.mono, CV_SEC(holds ? 86400 : REP_CALENDAR_HOLDS));
    if (!holds || !rep_ledger_begin(l, now))
        return;
    int64_t before = now.wall - REP_ACCOUNT_DAYS * INT64_C(86400);
    enum cv_err err = l->store->account_expire(l->store->ctx, before, day_of(now.wall));
    if (!err)
        err = l->store->why_expire(l->store->ctx, before, day_of(now.wall));
    if (err)
        rep_ledger_fail(l, err);
    else
        rep_ledger_touch(l, now, 1);
    rep_token_expire(l, now);
    rep_prune_begin(l, now);
}
