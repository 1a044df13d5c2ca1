/* A guard among hostile askers: what they do must not cost others their turn. */
#include "support/suite.h"

#include "crypto/hash.h"
#include "reputation/backup.h"
#include "reputation/chain.h"
#include "reputation/message.h"
#include "reputation/store_memory.h"
#include "reputation/tests/guard_world.h"

CV_SUITE(rep_issue);

enum { W = 2810, HONEST = 20 };

static struct cv_ed25519_secret secret[HONEST + 1]; /* 0: the guard */
static struct rep_store_memory *memory;
static struct rep_ledger *guard;

static const struct rep_store *store(void) {
    return rep_store_memory_ops(memory);
}

static void begin(void) {
    cv_rng_seeded_init(&gw_dice, 3);
    gw_rng = cv_rng_seeded(&gw_dice);
    for (unsigned i = 0; i <= HONEST; i++)
        gw_identity(i, &secret[i]);
    memory = rep_store_memory_new();
    gw_rows(store(), &secret[0], HONEST);
}

static void start(void) {
    guard = gw_ledger(&secret[0], store(), gw_at(0), true);
    rep_ledger_on_timeout(guard, gw_at(5));
}

static void end(void) {
    rep_ledger_free(guard);
    rep_store_memory_free(memory);
}

static enum cv_err ask(const struct cv_ed25519_secret *who, int64_t at, bool forged) {
    uint8_t request[REP_TOKEN_REQUEST], reply[REP_TOKEN_REPLY];
    struct rep_purse p = {.week = W, .seed = {1}};
    memcpy(p.issuer, secret[0].public_key, CV_KEY);
    rep_token_request_write(&p, who, test_network, request);
    request[REP_TOKEN_REQUEST - 1] ^= forged;
    return rep_ledger_issue(guard, gw_at(at), request, sizeof request, reply);
}

Test(rep_issue, who_claims_a_name_uses_up_nobodys_turn) {
    begin();
    start();
    for (unsigned i = 0; i < 3 * REP_TOKEN_ISSUES_S; i++)
        cr_assert_eq(ask(&secret[1], 10, true), CV_ERR_AUTH, "forgery %u", i);
    cr_expect_eq(ask(&secret[2], 10, false), CV_ERR_OK);
    end();
}

/* Its rows count until the next ranking, a second later. */
Test(rep_issue, a_proven_forger_gets_nothing_from_then_on) {
    uint8_t two[2 * REP_RECORD], body[REP_MESSAGE_MAX];
    struct cv_addr addr = {.ip = {192, 0, 2, 1}, .port = 1, .family = 4};
    begin();
    start();
    for (unsigned i = 0; i < 2; i++) {
        struct rep_record r = {.version = REP_RECORD_VERSION, .type = REP_PROPOSAL, .seq = 1};
        r.given = 100 + i;
        r.epoch = 2800;
        memcpy(r.peer, secret[3].public_key, CV_KEY);
        rep_record_sign(&r, &secret[1], test_network);
        rep_record_write(&r, two + i * REP_RECORD);
    }
    struct rep_message m = {.kind = REP_MESSAGE_FORK, .records = two};
    ssize_t len = rep_message_write(&m, body, sizeof body);
    cr_assert_eq(
        rep_ledger_link_up(guard, gw_at(9), 5, REP_ROLE_RELAY, secret[2].public_key, &addr),
        CV_ERR_OK);
    cr_assert_eq(rep_ledger_on_message(guard, gw_at(9), 5, body, (size_t)len), CV_ERR_OK);
    cr_expect_eq(ask(&secret[1], 9, false), CV_ERR_DENIED);
    cr_expect_eq(ask(&secret[3], 9, false), CV_ERR_OK, "nobody else is held to it");
    end();
}

Test(rep_issue, a_link_that_guesses_uses_up_nobodys_turn) {
    uint8_t token[REP_TOKEN_SHOWN], hash[REP_LINK_HASH] = {7};
    struct cv_voprf_secret key;
    uint8_t output[CV_VOPRF_OUTPUT];
    struct cv_addr addr = {.ip = {192, 0, 2, 1}, .port = 9, .family = 4};
    begin();
    start();
    for (cv_handle link = 1; link <= 2; link++)
        cr_assert_eq(rep_ledger_link_up(guard, gw_at(10), link, REP_ROLE_NAMELESS, NULL, &addr),
                     CV_ERR_OK);
    memset(token, 5, sizeof token);
    for (unsigned i = 0; i < 3 * REP_TOKEN_TRIES_S; i++)
        cr_assert_neq(rep_ledger_redeem(guard, gw_at(10), 1, token, hash), CV_ERR_OK);
    cv_token_key(&key, &secret[0], test_network, W);
    cr_assert_eq(cv_voprf_output(output, &key, token, REP_TOKEN), CV_ERR_OK);
    CV_BLAKE2B(token + REP_TOKEN, REP_TOKEN_MAC, output, sizeof output, {hash, sizeof hash});
    cr_expect_eq(rep_ledger_redeem(guard, gw_at(10), 2, token, hash), CV_ERR_OK);
    end();
}

/* What a guard's clock says on a machine without one: week 0. */
Test(rep_issue, week_0_has_a_secret_too) {
    uint8_t token[REP_TOKEN_SHOWN] = {9}, hash[REP_LINK_HASH] = {7}, output[CV_VOPRF_OUTPUT];
    static const struct cv_voprf_secret nothing;
    struct cv_addr addr = {.ip = {192, 0, 2, 1}, .port = 9, .family = 4};
    struct cv_now now = {.mono = CV_SEC(20), .wall = 86400};
    begin();
    guard =
        gw_ledger(&secret[0], store(), (struct cv_now){.mono = CV_SEC(10), .wall = 86390}, true);
    cr_assert_eq(rep_ledger_link_up(guard, now, 1, REP_ROLE_NAMELESS, NULL, &addr), CV_ERR_OK);
    cr_assert_eq(cv_voprf_output(output, &nothing, token, REP_TOKEN), CV_ERR_OK);
    CV_BLAKE2B(token + REP_TOKEN, REP_TOKEN_MAC, output, sizeof output, {hash, sizeof hash});
    cr_expect_eq(rep_ledger_redeem(guard, now, 1, token, hash), CV_ERR_AUTH, "made by anybody");
    end();
}

/* Whoever renews its key has its standing at once, and no second batch. */
Test(rep_issue, a_new_key_gets_what_its_old_one_did_not) {
    struct cv_ed25519_secret heir[2];
    begin();
    start();
    cr_assert_eq(ask(&secret[1], 10, false), CV_ERR_OK);
    cr_assert_eq(rep_ledger_flush(guard, gw_at(11)), CV_ERR_OK);
    guard = rep_ledger_free(guard);
    cr_assert_eq(store()->begin(store()->ctx, WEEK_BEGIN), CV_ERR_OK);
    for (unsigned i = 0; i < 2; i++) {
        struct rep_chain_result res;
        struct rep_record r;
        gw_identity(5000 + i, &heir[i]);
        rep_record_succeed(&secret[1 + i], &heir[i], test_network, 2810, &r);
        cr_assert_eq(rep_chain_add(store(), test_network, &r, false, WEEK_BEGIN, &res), CV_ERR_OK);
    }
    cr_assert_eq(store()->commit(store()->ctx), CV_ERR_OK);
    start();
    cr_expect_eq(ask(&heir[0], 20, false), CV_ERR_LIMIT, "sixteen more");
    cr_expect_eq(ask(&heir[1], 21, false), CV_ERR_OK, "its old key had none");
    cr_expect_eq(ask(&secret[2], 22, false), CV_ERR_DENIED, "a closed key");
    end();
}

static enum cv_err show_of(uint32_t week, cv_handle link, int64_t at) {
    uint8_t token[REP_TOKEN_SHOWN] = {3}, hash[REP_LINK_HASH] = {7}, output[CV_VOPRF_OUTPUT];
    struct cv_addr addr = {.ip = {192, 0, 2, 1}, .port = 9, .family = 4};
    struct cv_voprf_secret key;
    cr_assert_eq(rep_ledger_link_up(guard, gw_at(at), link, REP_ROLE_NAMELESS, NULL, &addr),
                 CV_ERR_OK);
    cv_token_key(&key, &secret[0], test_network, week);
    cr_assert_eq(cv_voprf_output(output, &key, token, REP_TOKEN), CV_ERR_OK);
    CV_BLAKE2B(token + REP_TOKEN, REP_TOKEN_MAC, output, sizeof output, {hash, sizeof hash});
    return rep_ledger_redeem(guard, gw_at(at), link, token, hash);
}

/* What it issued and what was spent stayed where it was: nothing of these weeks is issued
 * or redeemed again where it goes on. */
Test(rep_issue, a_guard_that_was_moved_begins_with_the_next_week) {
    struct rep_backup b = {.moved = true};
    for (int moved = 1; moved >= 0; moved--) {
        begin();
        b.moved = moved;
        b.identity_secret = secret[0];
        cr_assert_eq(store()->begin(store()->ctx, gw_at(5).wall), CV_ERR_OK);
        for (int twice = 0; twice < 2; twice++)
            cr_assert_eq(rep_backup_restore(store(), &b, gw_at(5).wall), CV_ERR_OK);
        cr_assert_eq(store()->commit(store()->ctx), CV_ERR_OK);
        start();
        cr_expect_eq(ask(&secret[1], 10, false), moved ? CV_ERR_LIMIT : CV_ERR_OK);
        cr_expect_eq(show_of(W - 1, 1, 20), moved ? CV_ERR_EXIST : CV_ERR_OK, "of last week");
        cr_expect_eq(show_of(W, 2, 30), moved ? CV_ERR_EXIST : CV_ERR_OK, "of this week");
        cr_expect_eq(show_of(W, 3, WEEK + 60), CV_ERR_EXIST, "and in the next");
        cr_expect_eq(show_of(W + 1, 4, WEEK + 90), CV_ERR_OK, "of the next");
        end();
    }
}

/* ---- fakes ---- */

enum { FAKES = 300, ASKING = 80 };

static void edge(const uint8_t giver[CV_KEY], const uint8_t taker[CV_KEY], uint64_t octets) {
    struct rep_edge e = {.octets = octets, .recent = octets, .epoch = 2809};
    memcpy(e.giver, giver, CV_KEY);
    memcpy(e.taker, taker, CV_KEY);
    cr_assert_eq(store()->edge_put(store()->ctx, &e), CV_ERR_OK);
}

/*
 * A relay like the others has a crowd of its own behind it; the crowd links to
 * the guard, and it does not. Were they neighbours, whose hits count for the
 * mean, most of them would lower it with one hit each, so that ten were a score.
 */
Test(rep_issue, a_crowd_behind_one_relay_gets_no_batches) {
    struct cv_ed25519_secret fake;
    unsigned batches = 0;
    begin();
    cr_assert_eq(store()->begin(store()->ctx, WEEK_BEGIN), CV_ERR_OK);
    for (unsigned i = 0; i < FAKES; i++) {
        gw_identity(1000 + i, &fake);
        uint64_t octets = UINT64_C(1) << (i < ASKING ? 40 : 36);
        edge(secret[1].public_key, fake.public_key, octets);
        edge(fake.public_key, secret[1].public_key, octets);
    }
    cr_assert_eq(store()->commit(store()->ctx), CV_ERR_OK);
    start();
    for (unsigned i = 0; i < FAKES; i++) {
        struct cv_addr addr = {
            .ip = {198, 51, (uint8_t)(i >> 8), (uint8_t)i}, .port = 9, .family = 4};
        gw_identity(1000 + i, &fake);
        cr_assert_eq(
            rep_ledger_link_up(guard, gw_at(6), 100 + i, REP_ROLE_RELAY, fake.public_key, &addr),
            CV_ERR_OK);
    }
    rep_ledger_on_timeout(guard, gw_at(10));
    for (unsigned i = 0; i < ASKING; i++) {
        gw_identity(1000 + i, &fake);
        enum cv_err err = ask(&fake, 11 + i, false);
        cr_assert(err == CV_ERR_OK || err == CV_ERR_DENIED, "%s", cv_strerror(err));
        batches += err == CV_ERR_OK;
    }
    cr_expect_eq(batches, 0, "%u batches", batches);
    cr_expect_eq(ask(&secret[2], 1000, false), CV_ERR_OK, "an honest one");
    end();
}

/* Known here by others' rows only: one word is not enough, two are. */
Test(rep_issue, one_relays_word_earns_nothing) {
    struct cv_ed25519_secret by_one, by_two;
    gw_identity(1000, &by_one);
    gw_identity(1001, &by_two);
    begin();
    cr_assert_eq(store()->begin(store()->ctx, WEEK_BEGIN), CV_ERR_OK);
    edge(secret[1].public_key, by_one.public_key, UINT64_C(1) << 40);
    edge(secret[2].public_key, by_two.public_key, UINT64_C(1) << 40);
    edge(secret[3].public_key, by_two.public_key, UINT64_C(1) << 40);
    cr_assert_eq(store()->commit(store()->ctx), CV_ERR_OK);
    start();
    cr_expect_eq(ask(&by_one, 10, true), CV_ERR_AUTH, "all walks are looked through for it");
    cr_expect_eq(ask(&by_one, 10, false), CV_ERR_DENIED);
    cr_expect_eq(ask(&by_two, 11, false), CV_ERR_OK);
    cr_expect_eq(ask(&secret[1], 12, false), CV_ERR_OK, "by its row with us");
    end();
}
