/*
 * Priority tokens as a guard: a batch a week for every identity with a score,
 * and an hour in class 0 for whoever shows one, whoever that is.
 */
#include <assert.h>
#include <string.h>

#include "base/trace.h"
#include "crypto/hash.h"
#include "crypto/tokenkey.h"
#include "reputation/ledger_internal.h"

bool rep_token_week(struct cv_now now, uint32_t *ret) {
    if (now.wall <= 3 * 3600)
        return false;
    *ret = cv_token_week(cv_day(now.wall - 3 * 3600));
    return true;
}

/* The key of a week: two are in use, so two are kept. */
static const struct cv_voprf_secret *key_of(struct rep_ledger *l, uint32_t week) {
    unsigned i = week & 1;
    if (l->token_after[i] != week + 1) {
        cv_token_key(&l->token_secret[i], &l->identity_secret, l->cfg.network_id, week);
        l->token_after[i] = week + 1;
    }
    return &l->token_secret[i];
}

void rep_token_expire(struct rep_ledger *l, struct cv_now now) {
    /* A week that the clock, put back a little, would begin again is not over yet. */
    struct cv_now late = {.mono = now.mono, .wall = now.wall - REP_CALENDAR_SLACK};
    uint32_t week;
    if (!rep_token_week(late, &week) || week == 0 || !rep_ledger_begin(l, now))
        return;
    enum cv_err err = l->store->token_prune(l->store->ctx, week - 1);
    if (err)
        rep_ledger_fail(l, err);
    else
        rep_ledger_touch(l, now, 1);
    rep_wallet_expire(l, week - 1);
}

/* ---- issuing ---- */

static uint64_t least_hits(const struct rep_ledger *l) {
    uint64_t least = l->hits_mean / REP_TOKEN_HITS_PART;
    return least > REP_TOKEN_HITS ? least : REP_TOKEN_HITS;
}

static bool has_score(const struct rep_ledger *l, const uint8_t identity[CV_KEY]) {
    uint32_t node = rep_graph_find(l->graph, identity);
    /* A proven forger's walks are those of before the proof until the next ranking. */
    return node != REP_NO_NODE && !rep_graph_excluded(l->graph, node) &&
           rep_walks_hits(l->walks, node) >= least_hits(l);
}

bool rep_token_earned(const struct rep_ledger *l, const uint8_t identity[CV_KEY]) {
    return has_score(l, identity) &&
           rep_walks_apart(l->walks, rep_graph_find(l->graph, identity)) >= least_hits(l);
}

/* Did a key whose place this one took get this week's? */
static enum cv_err had_before(struct rep_ledger *l, const struct rep_token_request *m) {
    uint32_t k = rep_graph_find(l->graph, m->identity);
    uint8_t request[REP_HASH];
    enum cv_err err = CV_ERR_NOENT;
    while (err == CV_ERR_NOENT && k != REP_NO_NODE &&
           (k = rep_graph_before(l->graph, k)) != REP_NO_NODE)
        err = l->store->issued_get(l->store->ctx, m->week, rep_graph_key(l->graph, k), request);
    return err;
}

/* Was it elsewhere in that week, where nobody knows here what it issued and redeemed? */
static enum cv_err was_elsewhere(struct rep_ledger *l, uint32_t week) {
    uint8_t request[REP_HASH];
    return l->store->issued_get(l->store->ctx, week, l->identity_secret.public_key, request);
}

/* The first request of the week, or that one again. */
static enum cv_err admit(struct rep_ledger *l, struct cv_now now, const struct rep_token_request *m,
                         const uint8_t request[REP_HASH]) {
    uint8_t first[REP_HASH] = {0};
    uint64_t batches;
    enum cv_err err = was_elsewhere(l, m->week);
    if (!err)
        return CV_ERR_LIMIT;
    if (err == CV_ERR_NOENT)
        err = l->store->issued_get(l->store->ctx, m->week, m->identity, first);
    if (!err)
        return memcmp(first, request, REP_HASH) == 0 ? CV_ERR_OK : CV_ERR_LIMIT;
    if (err == CV_ERR_NOENT && (err = had_before(l, m)) == CV_ERR_OK)
        return CV_ERR_LIMIT;
    if (err == CV_ERR_NOENT)
        err = l->store->issued_count(l->store->ctx, m->week, &batches);
    if (!err && batches >= REP_TOKEN_BATCHES)
        return CV_ERR_LIMIT;
    if (!err && !rep_ledger_begin(l, now))
        return l->failed;
    if (!err)
        err = l->store->issued_put(l->store->ctx, m->week, m->identity, request);
    if (err) {
        rep_ledger_fail(l, err);
        return err;
    }
    rep_ledger_touch(l, now, 1);
    l->stats.tokens_issued++;
    return rep_ledger_flush(l, now); /* before anybody has them */
}

enum cv_err rep_ledger_issue(struct rep_ledger *l, struct cv_now now, const uint8_t *body,
                             size_t len, uint8_t ret[REP_TOKEN_REPLY]) {
    struct rep_token_request m;
    uint32_t week;
    uint8_t request[REP_HASH];
    if (l->failed)
        return l->failed;
    enum cv_err err = rep_token_request_read(body, len, &m);
    if (err)
        return err;
    if (!rep_token_week(now, &week) || m.week != week)
        return CV_ERR_STALE;
    if (!has_score(l, m.identity))
        return CV_ERR_DENIED;
    /* First: who only claims a name must not use up the turns of those who have one, nor have
     * us look through all walks. */
    if (!rep_token_request_verify(body, l->identity_secret.public_key, l->cfg.network_id))
        return CV_ERR_AUTH;
    if (!rep_token_earned(l, m.identity))
        return CV_ERR_DENIED;
    if (!cv_tokenbucket_take(&l->issues, now.mono, 1))
        return CV_ERR_AGAIN;
    /* Made first: a batch that cannot be made must not use up the week's. */
    uint8_t reply[REP_TOKEN_REPLY];
    err = rep_token_reply_write(&m, key_of(l, week), l->rng, reply);
    if (err)
        return err;
    CV_BLAKE2B(request, sizeof request, NULL, 0, {body, len - CV_SIGNATURE});
    err = admit(l, now, &m, request);
    if (err)
        return err;
    memcpy(ret, reply, sizeof reply);
    CV_TRACE(LEDGER, issued, now.mono, "identity=%08x week=%u", cv_id_short(m.identity, CV_KEY),
             week);
    return CV_ERR_OK;
}

/* ---- redeeming ---- */

static void grant(struct rep_ledger *l, struct cv_now now, struct rep_link *k) {
    cv_usec from = cv_timer_queued(&k->grant.timer) ? k->grant.timer.at : now.mono;
    rep_ledger_grant(l, now, k->handle, cv_usec_add(from, REP_TOKEN_TIME));
}

static enum cv_err spend(struct rep_ledger *l, struct cv_now now, struct rep_link *k, uint32_t week,
                         const uint8_t token[REP_TOKEN]) {
    enum cv_err err = was_elsewhere(l, week);
    if (!err)
        return CV_ERR_EXIST;
    if (err == CV_ERR_NOENT && !rep_ledger_begin(l, now))
        return l->failed;
    if (err == CV_ERR_NOENT)
        err = l->store->spent_put(l->store->ctx, week, token);
    if (err == CV_ERR_EXIST)
        return memcmp(k->token, token, REP_TOKEN) == 0 ? CV_ERR_OK : CV_ERR_EXIST;
    if (err) {
        rep_ledger_fail(l, err);
        return err;
    }
    rep_ledger_touch(l, now, 1);
    err = rep_ledger_flush(l, now); /* spent before it is worth anything */
    if (err)
        return err;
    memcpy(k->token, token, REP_TOKEN);
    l->stats.tokens_redeemed++;
    grant(l, now, k);
    return CV_ERR_OK;
}

enum cv_err rep_ledger_redeem(struct rep_ledger *l, struct cv_now now, cv_handle link,
                              const uint8_t shown[REP_TOKEN_SHOWN],
                              const uint8_t link_hash[REP_LINK_HASH]) {
    struct rep_link *k = cv_map_get(l->links, &link);
    uint32_t week;
    if (!k)
        return CV_ERR_NOENT;
    if (l->failed)
        return l->failed;
    if (k->role != REP_ROLE_NAMELESS)
        return CV_ERR_DENIED; /* it would say whose token this is */
    /* Its own tries first: one link must not use up those of all. */
    if (!cv_tokenbucket_take(&k->tries, now.mono, REP_TOKEN_TRY_S) ||
        !cv_tokenbucket_take(&l->redeems, now.mono, 1) || !rep_token_week(now, &week))
        return CV_ERR_AGAIN;
    enum cv_err err = CV_ERR_AUTH;
    for (uint32_t back = 0; err == CV_ERR_AUTH && back <= 1 && back <= week; back++)
        if (rep_token_is(key_of(l, week - back), shown, link_hash))
            err = spend(l, now, k, week - back, shown);
    l->stats.tokens_refused += err != CV_ERR_OK;
    return err;
}
