/*
 * A guard that keeps everything it ever saw of tokens: who asked when for which
 * blinded elements, what it answered, which tokens were shown when. For every
 * token and every identity it computes how well they fit, by several measures;
 * the chance that the true identity fits better than another is the area under
 * the ROC curve (AUC), and by none of them better than a coin's.
 *
 * That the measures measure is shown by two wallets that are broken on purpose:
 * one that does not blind, one that spends as soon as it can. These are found.
 */
#include "support/suite.h"

#include <math.h>

#include "reputation/store_memory.h"
#include "reputation/tests/guard_world.h"

CV_SUITE(rep_unlinkable);

enum { RELAYS = 150, TOKENS = RELAYS * REP_TOKENS };

enum measure { EQUAL, BLINDED, EVALUATED, TIME, MEASURES };
static const char *const names[MEASURES] = {"the element itself", "octets of the blinded",
                                            "octets of the evaluated", "nearness in time"};

enum broken { NOTHING, NO_BLINDS, AT_ONCE };

/* What the guard has. */
struct asked {
    int64_t at;
    uint8_t blinded[REP_TOKENS][CV_VOPRF_ELEMENT], evaluated[REP_TOKENS][CV_VOPRF_ELEMENT];
};
struct shown {
    int64_t at;
    unsigned who; /* the truth; not looked at when guessing */
    uint8_t element[CV_VOPRF_ELEMENT], evaluated[CV_VOPRF_ELEMENT];
};

static struct asked asked[RELAYS];
static struct shown shown[TOKENS];
static struct cv_ed25519_secret guard_secret;
static const uint8_t one[CV_VOPRF_SCALAR] = {1};

/* What hashing the token to the group gives: a blind of one changes nothing. */
static void element_of(const uint8_t t[REP_TOKEN], uint8_t ret[CV_VOPRF_ELEMENT]) {
    cr_assert_eq(cv_voprf_blind(ret, t, REP_TOKEN, one), CV_ERR_OK);
}

/* ---- the run ---- */

static void token_without_blind(unsigned who, unsigned i, uint8_t ret[REP_TOKEN]) {
    memset(ret, 0, REP_TOKEN);
    ret[0] = (uint8_t)who;
    ret[1] = (uint8_t)i;
}

/* The request of somebody who forgot to blind, signed again. */
static void unblind(unsigned who, const struct cv_ed25519_secret *relay,
                    uint8_t request[REP_TOKEN_REQUEST]) {
    uint8_t text[REP_NETWORK_ID + CV_KEY + REP_TOKEN_REQUEST - CV_SIGNATURE], t[REP_TOKEN];
    const size_t body = REP_TOKEN_REQUEST - CV_SIGNATURE;
    for (unsigned i = 0; i < REP_TOKENS; i++) {
        token_without_blind(who, i, t);
        element_of(t, request + CV_KEY + 4 + i * CV_VOPRF_ELEMENT);
    }
    memcpy(text, test_network, REP_NETWORK_ID);
    memcpy(text + REP_NETWORK_ID, guard_secret.public_key, CV_KEY);
    memcpy(text + REP_NETWORK_ID + CV_KEY, request, body);
    cv_ed25519_sign(request + body, relay, "culvert token request 1", text, sizeof text);
}

static void see_token(struct shown *s, unsigned who, int64_t at, const uint8_t t[REP_TOKEN]) {
    struct cv_voprf_secret key;
    uint8_t proof[CV_VOPRF_PROOF], evaluated[1][CV_VOPRF_ELEMENT], blinded[1][CV_VOPRF_ELEMENT];
    uint8_t dice[64], r[CV_VOPRF_SCALAR];
    *s = (struct shown){.at = at, .who = who};
    element_of(t, s->element);
    cv_token_key(&key, &guard_secret, test_network, 2810);
    memcpy(blinded[0], s->element, CV_VOPRF_ELEMENT);
    cv_rng_fill(&gw_rng, dice, sizeof dice);
    cv_voprf_scalar(r, dice);
    cr_assert_eq(cv_voprf_evaluate(&key, (const uint8_t(*)[CV_VOPRF_ELEMENT])blinded, 1, r,
                                   evaluated, proof),
                 CV_ERR_OK);
    memcpy(s->evaluated, evaluated[0], CV_VOPRF_ELEMENT);
}

/* A relay asks at the time its wallet says, and keeps its store. */
static void asks(unsigned who, enum broken broken, struct rep_ledger *guard,
                 const struct rep_store *s, int64_t from) {
    struct cv_ed25519_secret relay;
    uint8_t request[REP_TOKEN_REQUEST], reply[REP_TOKEN_REPLY], key[CV_VOPRF_ELEMENT];
    const uint8_t *me = guard_secret.public_key;
    gw_identity(who + 1, &relay);
    gw_key(&guard_secret, 2810, key);
    struct rep_ledger *l = gw_ledger(&relay, s, gw_at(from), broken == AT_ONCE);
    int64_t at = from;
    while (rep_ledger_token_ask(l, gw_at(at), me, key, 2810, request) == CV_ERR_AGAIN) {
        at += 60;
        cr_assert_lt(at, WEEK, "never asked");
    }
    if (broken == NO_BLINDS)
        unblind(who, &relay, request);
    /* Relays come in order of `who`, times do not: the guard lives through each as
     * if in order, which its answers do not hang on. */
    struct cv_now now = gw_at(from);
    now.wall = WEEK_BEGIN + at;
    cr_assert_eq(rep_ledger_issue(guard, now, request, sizeof request, reply), CV_ERR_OK);
    asked[who].at = at;
    memcpy(asked[who].blinded, request + CV_KEY + 4, sizeof asked[who].blinded);
    memcpy(asked[who].evaluated, reply, sizeof asked[who].evaluated);
    enum cv_err err = rep_ledger_token_answer(l, gw_at(at), me, 2810, reply, sizeof reply);
    cr_assert_eq(err, broken == NO_BLINDS ? CV_ERR_AUTH : CV_ERR_OK);
    rep_ledger_free(l);
}

/* Shows all it has, the first as soon as its wallet gives one, the others later. */
static unsigned shows(unsigned who, enum broken broken, const struct rep_store *s, unsigned n) {
    struct cv_ed25519_secret relay;
    uint8_t token[REP_TOKEN_SHOWN], link[REP_LINK_HASH] = {0};
    gw_identity(who + 1, &relay);
    int64_t at = asked[who].at + 60;
    if (broken == NO_BLINDS) {
        for (unsigned i = 0; i < REP_TOKENS; i++) {
            token_without_blind(who, i, token);
            see_token(&shown[n++], who, WEEK + (int64_t)cv_rng_below(&gw_rng, 86400), token);
        }
        return n;
    }
    struct rep_ledger *l = gw_ledger(&relay, s, gw_at(at), broken == AT_ONCE);
    for (unsigned i = 0; i < REP_TOKENS; i++) {
        cv_rng_fill(&gw_rng, link, sizeof link);
        enum cv_err err;
        while ((err = rep_ledger_token_spend(l, gw_at(at), guard_secret.public_key, link, token)) ==
               CV_ERR_NOENT) {
            at += 600;
            cr_assert_lt(at, 2 * WEEK, "relay %u may never spend", who);
        }
        cr_assert_eq(err, CV_ERR_OK);
        cr_assert(broken != NOTHING || at >= asked[who].at + 6 * 3600, "sooner than six hours");
        see_token(&shown[n++], who, at, token);
        at += (int64_t)cv_rng_below(&gw_rng, 7200);
    }
    rep_ledger_free(l);
    return n;
}

static void run(enum broken broken) {
    struct rep_store_memory *stores[RELAYS], *guard_store = rep_store_memory_new();
    cv_rng_seeded_init(&gw_dice, 5);
    gw_rng = cv_rng_seeded(&gw_dice);
    gw_identity(0, &guard_secret);
    gw_rows(rep_store_memory_ops(guard_store), &guard_secret, RELAYS);
    struct rep_ledger *guard =
        gw_ledger(&guard_secret, rep_store_memory_ops(guard_store), gw_at(0), false);
    rep_ledger_on_timeout(guard, gw_at(5));
    for (unsigned i = 0; i < RELAYS; i++) {
        stores[i] = rep_store_memory_new();
        /* They come up at any time of the first five days. */
        asks(i, broken, guard, rep_store_memory_ops(stores[i]),
             10 + i * (5 * INT64_C(86400) / RELAYS));
    }
    unsigned n = 0;
    for (unsigned i = 0; i < RELAYS; i++)
        n = shows(i, broken, rep_store_memory_ops(stores[i]), n);
    cr_assert_eq(n, TOKENS);
    rep_ledger_free(guard);
    rep_store_memory_free(guard_store);
    for (unsigned i = 0; i < RELAYS; i++)
        rep_store_memory_free(stores[i]);
}

/* ---- the guess ---- */

static double same_bits(const uint8_t *a, const uint8_t *b) {
    unsigned different = 0;
    for (unsigned i = 0; i < CV_VOPRF_ELEMENT; i++)
        different += (unsigned)__builtin_popcount(a[i] ^ b[i]);
    return 256 - different;
}

static double fit(enum measure m, const struct shown *s, const struct asked *a) {
    double best = 0;
    if (m == TIME)
        return -fabs((double)(s->at - a->at));
    for (unsigned i = 0; i < REP_TOKENS; i++) {
        double f = m == EQUAL     ? memcmp(s->element, a->blinded[i], CV_VOPRF_ELEMENT) == 0
                   : m == BLINDED ? same_bits(s->element, a->blinded[i])
                                  : same_bits(s->evaluated, a->evaluated[i]);
        best = f > best ? f : best;
    }
    return best;
}

/* Chance that the true identity fits a token better than another one does. */
static double auc(enum measure m) {
    double better = 0, pairs = 0;
    for (unsigned k = 0; k < TOKENS; k++) {
        double truth = fit(m, &shown[k], &asked[shown[k].who]);
        for (unsigned other = 0; other < RELAYS; other++) {
            if (other == shown[k].who)
                continue;
            double f = fit(m, &shown[k], &asked[other]);
            better += truth > f ? 1 : truth == f ? 0.5 : 0;
            pairs++;
        }
    }
    return better / pairs;
}

Test(rep_unlinkable, an_issuer_that_keeps_everything_links_no_better_than_chance, .timeout = 600) {
    run(NOTHING);
    for (enum measure m = 0; m < MEASURES; m++) {
        double a = auc(m);
        /* 150 wallets: the area has a deviation of 0.024 by chance. */
        cr_expect(fabs(a - 0.5) < 0.05, "by %s: %.3f", names[m], a);
    }
}

Test(rep_unlinkable, a_wallet_that_does_not_blind_is_linked, .timeout = 600) {
    run(NO_BLINDS);
    cr_expect(auc(EQUAL) > 0.999, "by %s: %.3f", names[EQUAL], auc(EQUAL));
    cr_expect(auc(BLINDED) > 0.999, "by %s: %.3f", names[BLINDED], auc(BLINDED));
    cr_expect(auc(EVALUATED) > 0.999, "by %s: %.3f", names[EVALUATED], auc(EVALUATED));
}

Test(rep_unlinkable, a_wallet_that_spends_at_once_is_linked_by_time, .timeout = 600) {
    run(AT_ONCE);
    cr_expect(auc(TIME) > 0.8, "by %s: %.3f", names[TIME], auc(TIME));
    cr_expect(fabs(auc(BLINDED) - 0.5) < 0.05, "and only by time");
}
