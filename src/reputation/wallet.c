/*
 * Priority tokens of our own: a batch of each guard and week, asked for at a
 * random time, kept with its secrets, spent one by one. What is asked for and
 * what is spent is in the store before anybody sees it: a second request with
 * other blinds would be refused, a token shown twice too.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/trace.h"
#include "reputation/ledger_internal.h"

/* Unix seconds at which a week begins: its first descriptor comes into use. */
static int64_t begin_of(uint32_t week) {
    return (int64_t)week * 7 * 86400 + 3 * 3600;
}

enum cv_err rep_wallet_load(struct rep_ledger *l, struct cv_now now) {
    struct rep_purse *all = NULL;
    size_t n = 0;
    l->batches = calloc(REP_PURSES, sizeof *l->batches);
    enum cv_err err = l->batches ? CV_ERR_OK : CV_ERR_NOMEM;
    if (!err)
        err = l->store->purse_load(l->store->ctx, &all, &n);
    for (size_t i = 0; !err && i < n && l->batches_n < REP_PURSES; i++)
        l->batches[l->batches_n++] = (struct rep_batch){.secret = all[i], .ask_at = now.mono};
    if (all)
        cv_wipe(all, n * sizeof *all);
    free(all);
    return err;
}

void rep_wallet_free(struct rep_ledger *l) {
    if (l->batches)
        cv_wipe(l->batches, REP_PURSES * sizeof *l->batches);
    free(l->batches);
}

void rep_wallet_expire(struct rep_ledger *l, uint32_t week) {
    for (uint32_t i = l->batches_n; i-- > 0;)
        if (l->batches[i].secret.week < week)
            l->batches[i] = l->batches[--l->batches_n];
}

static struct rep_batch *find(struct rep_ledger *l, const uint8_t issuer[CV_KEY], uint32_t week) {
    for (uint32_t i = 0; i < l->batches_n; i++)
        if (l->batches[i].secret.week == week &&
            memcmp(l->batches[i].secret.issuer, issuer, CV_KEY) == 0)
            return &l->batches[i];
    return NULL;
}

/* Tokens of this issuer became more or fewer. */
static void tell_why(struct rep_ledger *l, struct cv_now now, const struct rep_batch *b,
                     unsigned was, enum rep_why_cause cause) {
    struct rep_why w = {.kind = REP_WHY_TOKENS,
                        .cause = (uint8_t)cause,
                        .was = was,
                        .became = (unsigned)__builtin_popcount(b->secret.left)};
    memcpy(w.who, b->secret.issuer, CV_KEY);
    rep_ledger_because(l, now, &w);
}

/* All that are left are worth nothing. */
static void tell_why_none(struct rep_ledger *l, struct cv_now now, const struct rep_batch *b) {
    struct rep_batch none = *b;
    none.secret.left = 0;
    tell_why(l, now, &none, (unsigned)__builtin_popcount(b->secret.left), REP_BECAUSE_TWO_KEYS);
    cv_wipe(&none, sizeof none);
}

/* The batch as it is now, for good. */
static enum cv_err keep(struct rep_ledger *l, struct cv_now now, const struct rep_batch *b) {
    if (!rep_ledger_begin(l, now))
        return l->failed;
    enum cv_err err = l->store->purse_put(l->store->ctx, &b->secret);
    if (err) {
        rep_ledger_fail(l, err);
        return err;
    }
    rep_ledger_touch(l, now, 1);
    return rep_ledger_flush(l, now);
}

/* ---- two keys of one week ---- */

/* Zeros in place of a key: the issuer showed two for one week. Whoever asks with a key of
 * a day is told apart from those of other days, so none of its tokens is worth having. */
static bool is_marked(const struct rep_ledger *l, const uint8_t issuer[CV_KEY]) {
    static const uint8_t none[CV_VOPRF_ELEMENT];
    for (uint32_t i = 0; i < l->batches_n; i++)
        if (memcmp(l->batches[i].secret.issuer, issuer, CV_KEY) == 0 &&
            memcmp(l->batches[i].secret.key, none, sizeof none) == 0)
            return true;
    return false;
}

/* For as long as this week's purses are kept. */
static enum cv_err mark(struct rep_ledger *l, struct cv_now now, struct rep_batch *b) {
    tell_why_none(l, now, b);
    b->secret.left = 0;
    cv_wipe(b->secret.key, sizeof b->secret.key);
    cv_wipe(b->secret.seed, sizeof b->secret.seed);
    cv_wipe(b->secret.output, sizeof b->secret.output);
    CV_TRACE(LEDGER, two_token_keys, now.mono, "issuer=%08x week=%u",
             cv_id_short(b->secret.issuer, CV_KEY), b->secret.week);
    enum cv_err err = keep(l, now, b);
    return err ? err : CV_ERR_DIFFERS;
}

/* ---- asking ---- */

static cv_usec some_time(const struct rep_ledger *l, struct cv_now now) {
    if (l->cfg.tokens_at_once)
        return now.mono;
    return cv_usec_add(now.mono, CV_SEC(cv_rng_below(l->rng, REP_TOKEN_SPREAD)));
}

static enum cv_err begin(struct rep_ledger *l, struct cv_now now, const uint8_t issuer[CV_KEY],
                         const uint8_t key[CV_VOPRF_ELEMENT], uint32_t week,
                         struct rep_batch **ret) {
    if (l->batches_n == REP_PURSES)
        return CV_ERR_LIMIT;
    struct rep_batch *b = &l->batches[l->batches_n];
    memset(b, 0, sizeof *b);
    memcpy(b->secret.issuer, issuer, CV_KEY);
    memcpy(b->secret.key, key, CV_VOPRF_ELEMENT);
    b->secret.week = week;
    cv_rng_fill(l->rng, b->secret.seed, sizeof b->secret.seed);
    /* Drawn now, so that nothing about it hangs on when we ask. */
    if (!l->cfg.tokens_at_once)
        b->secret.from = begin_of(week + 1) + (int64_t)cv_rng_below(l->rng, 86400);
    b->ask_at = some_time(l, now);
    enum cv_err err = keep(l, now, b);
    if (err)
        return err;
    l->batches_n++;
    *ret = b;
    return CV_ERR_OK;
}

enum cv_err rep_ledger_token_ask(struct rep_ledger *l, struct cv_now now,
                                 const uint8_t issuer[CV_KEY], const uint8_t key[CV_VOPRF_ELEMENT],
                                 uint32_t week, uint8_t ret[REP_TOKEN_REQUEST]) {
    uint32_t running;
    if (l->failed)
        return l->failed;
    if (!rep_token_week(now, &running) || running != week)
        return CV_ERR_AGAIN; /* a descriptor of yesterday or tomorrow */
    struct rep_batch *b = find(l, issuer, week);
    if (is_marked(l, issuer))
        return CV_ERR_DIFFERS;
    if (b && memcmp(b->secret.key, key, CV_VOPRF_ELEMENT) != 0)
        return mark(l, now, b);
    if (!l->cfg.tokens_at_once && now.wall >= begin_of(week + 1) - REP_TOKEN_LAST_HOURS * 3600)
        return CV_ERR_AGAIN;
    enum cv_err err = b ? CV_ERR_OK : begin(l, now, issuer, key, week, &b);
    if (err)
        return err;
    if (b->secret.had)
        return CV_ERR_EXIST;
    if (now.mono < b->ask_at)
        return CV_ERR_AGAIN;
    cv_usec wait = l->cfg.tokens_at_once ? REP_TOKEN_RETRY : REP_TOKEN_RETRY << b->tries;
    b->ask_at = cv_usec_add(now.mono, cv_usec_min(wait, REP_TOKEN_AGAIN));
    b->tries = (uint8_t)(b->tries + (b->tries < REP_TOKEN_DOUBLINGS));
    rep_token_request_write(&b->secret, &l->identity_secret, l->cfg.network_id, ret);
    return CV_ERR_OK;
}

enum cv_err rep_ledger_token_answer(struct rep_ledger *l, struct cv_now now,
                                    const uint8_t issuer[CV_KEY], uint32_t week,
                                    const uint8_t *reply, size_t len) {
    struct rep_batch *b = find(l, issuer, week);
    if (l->failed)
        return l->failed;
    if (!b || b->secret.had || is_marked(l, issuer))
        return CV_ERR_NOENT;
    enum cv_err err = reply ? rep_token_take(&b->secret, reply, len) : CV_ERR_DENIED;
    if (err) { /* a proof that is wrong today is no better in a minute */
        cv_usec soon = cv_usec_min((REP_TOKEN_RETRY / 60) << b->tries, REP_TOKEN_RETRY);
        b->ask_at = cv_usec_add(now.mono, l->cfg.tokens_at_once ? soon : REP_TOKEN_AGAIN);
        return err;
    }
    tell_why(l, now, b, 0, REP_BECAUSE_ISSUED);
    return keep(l, now, b);
}

/* ---- spending ---- */

static bool may_show(const struct rep_batch *b, struct cv_now now, uint32_t week) {
    return b->secret.left != 0 && now.wall >= b->secret.from && b->secret.week + 1 >= week;
}

enum cv_err rep_ledger_token_spend(struct rep_ledger *l, struct cv_now now,
                                   const uint8_t issuer[CV_KEY],
                                   const uint8_t link_hash[REP_LINK_HASH],
                                   uint8_t ret[REP_TOKEN_SHOWN]) {
    uint32_t week;
    if (l->failed)
        return l->failed;
    if (!rep_token_week(now, &week))
        return CV_ERR_NOENT;
    for (uint32_t i = 0; i < l->batches_n; i++) {
        struct rep_batch *b = &l->batches[i];
        if (memcmp(b->secret.issuer, issuer, CV_KEY) != 0 || !may_show(b, now, week))
            continue;
        unsigned which = (unsigned)__builtin_ctz(b->secret.left);
        unsigned before = (unsigned)__builtin_popcount(b->secret.left);
        b->secret.left &= ~(1u << which);
        tell_why(l, now, b, before, REP_BECAUSE_SPENT);
        enum cv_err err = keep(l, now, b);
        if (err)
            return err;
        rep_token_show(&b->secret, which, link_hash, ret);
        return CV_ERR_OK;
    }
    return CV_ERR_NOENT;
}

unsigned rep_ledger_tokens_left(const struct rep_ledger *l) {
    unsigned n = 0;
    for (uint32_t i = 0; i < l->batches_n; i++)
        n += (unsigned)__builtin_popcount(l->batches[i].secret.left);
    return n;
}
