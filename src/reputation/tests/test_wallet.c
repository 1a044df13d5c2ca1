/*
 * A guard and a relay over real files: what is issued, kept, spent and refused,
 * also after a process was killed.
 */
#include "support/suite.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reputation/store_sqlite.h"
#include "reputation/tests/guard_world.h"
#include "support/folder.h"

CV_SUITE(rep_wallet);

enum { GUARD, RELAY, STRANGER, W = 2810, SIDES = 2 };

static char folder[256];
static struct cv_ed25519_secret secret[3];
static struct rep_store_sqlite *file[SIDES];
static struct rep_ledger *ledger[SIDES];
static uint8_t key[CV_VOPRF_ELEMENT], request[REP_TOKEN_REQUEST], reply[REP_TOKEN_REPLY];
static bool at_once;

static void path_of(unsigned side, char ret[300]) {
    snprintf(ret, 300, "%s/%u.db", folder, side);
}

static const struct rep_store *store(unsigned side) {
    return rep_store_sqlite_ops(file[side]);
}

static void start(unsigned side, struct cv_now now) {
    char path[300], why[256] = "";
    path_of(side, path);
    cr_assert_eq(rep_store_sqlite_open(path, test_network, secret[side].public_key, REP_SQLITE_FULL,
                                       &file[side], why, sizeof why),
                 CV_ERR_OK, "%s", why);
    if (side == GUARD) {
        struct rep_edge e;
        if (store(GUARD)->edge_get(store(GUARD)->ctx, secret[GUARD].public_key,
                                   secret[RELAY].public_key, &e))
            gw_rows(store(GUARD), &secret[GUARD], RELAY);
    }
    ledger[side] = gw_ledger(&secret[side], store(side), now, at_once);
    now.mono += CV_SEC(5);
    rep_ledger_on_timeout(ledger[side], now);
}

static void stop(unsigned side, struct cv_now now) {
    if (ledger[side])
        rep_ledger_flush(ledger[side], now);
    ledger[side] = rep_ledger_free(ledger[side]);
    file[side] = rep_store_sqlite_close(file[side]);
}

static void begin(bool hurry) {
    at_once = hurry;
    cv_rng_seeded_init(&gw_dice, 11);
    gw_rng = cv_rng_seeded(&gw_dice);
    for (unsigned i = 0; i < 3; i++)
        gw_identity(i, &secret[i]);
    folder_make(folder);
    gw_key(&secret[GUARD], W, key);
    start(GUARD, gw_at(0));
    start(RELAY, gw_at(0));
}

static void end(int64_t at) {
    stop(GUARD, gw_at(at));
    stop(RELAY, gw_at(at));
    folder_remove(folder);
}

static enum cv_err ask(int64_t at) {
    return rep_ledger_token_ask(ledger[RELAY], gw_at(at), secret[GUARD].public_key, key, W,
                                request);
}

static enum cv_err issue(int64_t at) {
    return rep_ledger_issue(ledger[GUARD], gw_at(at), request, sizeof request, reply);
}

static enum cv_err take(int64_t at) {
    return rep_ledger_token_answer(ledger[RELAY], gw_at(at), secret[GUARD].public_key, W, reply,
                                   sizeof reply);
}

/* A batch; when it was there. */
static int64_t fetch(void) {
    int64_t at = 100;
    while (ask(at) == CV_ERR_AGAIN)
        at += 60;
    cr_assert_lt(at, 2 * 86400);
    cr_assert_eq(issue(at), CV_ERR_OK);
    cr_assert_eq(take(at), CV_ERR_OK);
    cr_assert_eq(rep_ledger_tokens_left(ledger[RELAY]), REP_TOKENS);
    return at;
}

static enum cv_err spend(int64_t at, const uint8_t hash[REP_LINK_HASH], uint8_t *ret) {
    return rep_ledger_token_spend(ledger[RELAY], gw_at(at), secret[GUARD].public_key, hash, ret);
}

static void link_up(cv_handle link, enum rep_role role, int64_t at) {
    struct cv_addr addr = {.ip = {192, 0, 2, (uint8_t)link}, .port = 9, .family = 4};
    uint8_t account[CV_KEY] = {5};
    cr_assert_eq(rep_ledger_link_up(ledger[GUARD], gw_at(at), link, role, account, &addr),
                 CV_ERR_OK);
}

static enum cv_err redeem(int64_t at, cv_handle link, const uint8_t *shown, const uint8_t *hash) {
    return rep_ledger_redeem(ledger[GUARD], gw_at(at), link, shown, hash);
}

static const uint8_t hash_1[REP_LINK_HASH] = {1}, hash_2[REP_LINK_HASH] = {2};

Test(rep_wallet, a_batch_is_asked_for_at_a_random_time_and_spent_from_the_next_week_on) {
    uint8_t shown[REP_TOKEN_SHOWN];
    begin(false);
    int64_t at = fetch();
    cr_expect_gt(at, 100, "asked as soon as it was up");
    cr_expect_eq(ask(at), CV_ERR_EXIST);
    cr_expect_eq(spend(WEEK - 60, hash_1, shown), CV_ERR_NOENT, "spent in its own week");
    cr_expect_eq(spend(WEEK + 86400, hash_1, shown), CV_ERR_OK);
    cr_expect_eq(rep_ledger_tokens_left(ledger[RELAY]), REP_TOKENS - 1);
    cr_expect_eq(spend(2 * WEEK + 60, hash_1, shown), CV_ERR_NOENT, "two weeks later");
    end(2 * WEEK + 60);
}

Test(rep_wallet, nobody_asks_in_the_last_hours_of_a_week) {
    begin(false);
    cr_expect_eq(ask(WEEK - 6 * 3600), CV_ERR_AGAIN);
    cr_expect_eq(ask(WEEK + 60), CV_ERR_AGAIN, "a descriptor of the week before");
    end(WEEK + 60);
}

Test(rep_wallet, who_gets_a_batch) {
    struct rep_purse other = {.week = W};
    begin(true);
    cr_assert_eq(ask(10), CV_ERR_OK);
    memcpy(other.issuer, secret[GUARD].public_key, CV_KEY);

    request[CV_KEY + 4] ^= 1;
    cr_expect_eq(issue(10), CV_ERR_AUTH, "not what was signed");
    request[CV_KEY + 4] ^= 1;
    cr_expect_eq(rep_ledger_issue(ledger[GUARD], gw_at(10), request, 100, reply), CV_ERR_TRUNCATED);
    cr_expect_eq(issue(WEEK + 10), CV_ERR_STALE, "last week's");
    cr_expect_eq(issue(WEEK + 20), CV_ERR_STALE);

    rep_token_request_write(&other, &secret[STRANGER], test_network, request);
    cr_expect_eq(issue(WEEK + 30), CV_ERR_STALE);
    end(WEEK + 30);

    begin(true);
    rep_token_request_write(&other, &secret[STRANGER], test_network, request);
    cr_expect_eq(issue(10), CV_ERR_DENIED, "nobody knows it");
    cr_assert_eq(ask(11), CV_ERR_OK);
    cr_expect_eq(issue(11), CV_ERR_OK);
    cr_expect_eq(issue(12), CV_ERR_OK, "the same again: the answer was lost");
    cr_expect_eq(take(12), CV_ERR_OK);
    rep_token_request_write(&other, &secret[RELAY], test_network, request);
    cr_expect_eq(issue(13), CV_ERR_LIMIT, "sixteen more");
    stop(GUARD, gw_at(14));
    start(GUARD, gw_at(15));
    cr_expect_eq(issue(25), CV_ERR_LIMIT, "sixteen more after a restart");
    unsigned refused = 0;
    for (unsigned i = 0; i < 3 * REP_TOKEN_ISSUES_S; i++)
        refused += issue(26) == CV_ERR_AGAIN;
    cr_expect_gt(refused, 0, "as fast as one likes");
    end(27);
}

Test(rep_wallet, a_key_that_changes_within_the_week_is_not_used) {
    begin(true);
    cr_assert_eq(ask(10), CV_ERR_OK);
    gw_key(&secret[GUARD], W + 1, key);
    cr_expect_eq(ask(100), CV_ERR_DIFFERS);
    gw_key(&secret[GUARD], W, key);
    cr_expect_eq(ask(200), CV_ERR_DIFFERS, "and not asked any more");
    end(200);
}

/* A key a day would tell by the day who came: noticed also after the batch is there, kept
 * over a restart, and remembered into the next week. */
Test(rep_wallet, who_shows_two_keys_in_a_week_is_not_used_any_more) {
    uint8_t shown[REP_TOKEN_SHOWN];
    begin(false);
    int64_t at = fetch();
    cr_expect_eq(ask(at + 60), CV_ERR_EXIST);
    gw_key(&secret[GUARD], W + 1, key); /* the next day's descriptor */
    cr_expect_eq(ask(at + 86400), CV_ERR_DIFFERS);
    cr_expect_eq(rep_ledger_tokens_left(ledger[RELAY]), 0);
    gw_key(&secret[GUARD], W, key);
    cr_expect_eq(ask(at + 86460), CV_ERR_DIFFERS, "and back");
    stop(RELAY, gw_at(at + 86500));
    start(RELAY, gw_at(at + 86500));
    cr_expect_eq(ask(at + 86600), CV_ERR_DIFFERS, "after a restart");
    cr_expect_eq(take(at + 86600), CV_ERR_NOENT);
    cr_expect_eq(spend(WEEK + 86400, hash_1, shown), CV_ERR_NOENT);
    gw_key(&secret[GUARD], W + 1, key);
    cr_expect_eq(rep_ledger_token_ask(ledger[RELAY], gw_at(WEEK + 7200), secret[GUARD].public_key,
                                      key, W + 1, request),
                 CV_ERR_DIFFERS, "the week after");
    struct rep_why *why = NULL;
    size_t n = 0;
    cr_assert_eq(store(RELAY)->why_load(store(RELAY)->ctx, &why, &n), CV_ERR_OK);
    cr_assert_gt(n, 0);
    cr_expect_eq(why[0].cause, REP_BECAUSE_TWO_KEYS);
    cr_expect_eq(why[0].was, REP_TOKENS);
    free(why);
    end(WEEK + 86400);
}

Test(rep_wallet, a_refusal_or_a_wrong_proof_is_asked_again_later) {
    begin(false);
    int64_t at = 100;
    while (ask(at) == CV_ERR_AGAIN)
        at += 60;
    cr_assert_eq(issue(at), CV_ERR_OK);
    reply[3] ^= 1;
    cr_expect_eq(take(at), CV_ERR_AUTH);
    reply[3] ^= 1;
    cr_expect_eq(ask(at + 3600), CV_ERR_AGAIN);
    cr_expect_eq(ask(at + 7 * 3600), CV_ERR_OK);
    cr_expect_eq(rep_ledger_token_answer(ledger[RELAY], gw_at(at + 7 * 3600),
                                         secret[GUARD].public_key, W, NULL, 0),
                 CV_ERR_DENIED);
    cr_expect_eq(ask(at + 8 * 3600), CV_ERR_AGAIN);
    stop(RELAY, gw_at(at + 8 * 3600));
    start(RELAY, gw_at(at + 8 * 3600));
    cr_expect_eq(ask(at + 8 * 3600 + 10), CV_ERR_OK, "the same blinds after a restart:");
    cr_expect_eq(issue(at + 8 * 3600 + 10), CV_ERR_OK);
    cr_expect_eq(take(at + 8 * 3600 + 10), CV_ERR_OK);
    end(at + 9 * 3600);
}

/* In a private network in a hurry, too: a relay that settles and whose score never suffices would
 * open a circuit a second, with sixteen blinds and a guard's work for each. */
Test(rep_wallet, in_a_hurry_refusals_come_ever_more_rarely) {
    unsigned asked = 0, at_first = 0;
    begin(true);
    for (int64_t at = 100; at < 100 + 3600; at++)
        if (ask(at) == CV_ERR_OK) {
            cr_expect_eq(rep_ledger_token_answer(ledger[RELAY], gw_at(at), secret[GUARD].public_key,
                                                 W, NULL, 0),
                         CV_ERR_DENIED);
            at_first += at < 100 + 20;
            asked++;
        }
    cr_expect_geq(at_first, 3, "a score of the first minute is soon worth something");
    cr_expect_geq(asked, 60, "%u in an hour", asked);
    cr_expect_leq(asked, 65, "%u in an hour", asked);
    end(100 + 3600);
}

/* A guard that takes requests and never answers would have a circuit a minute. */
Test(rep_wallet, no_answer_is_asked_for_ever_more_rarely) {
    unsigned asked = 0;
    begin(false);
    for (int64_t at = 100; at < 3 * 86400; at += 60)
        asked += ask(at) == CV_ERR_OK;
    cr_expect_geq(asked, 12);
    cr_expect_leq(asked, 20, "%u in three days", asked);
    end(3 * 86400);
}

Test(rep_wallet, a_token_buys_an_hour_once_on_a_link_that_names_nobody) {
    uint8_t shown[REP_TOKEN_SHOWN], next[REP_TOKEN_SHOWN];
    begin(true);
    fetch();
    link_up(1, REP_ROLE_NAMELESS, 1000);
    link_up(2, REP_ROLE_NAMELESS, 1000);
    link_up(3, REP_ROLE_CLIENT, 1000);
    cr_assert_eq(spend(1000, hash_1, shown), CV_ERR_OK);
    cr_expect_eq(redeem(1000, 1, shown, hash_2), CV_ERR_AUTH, "made for another link");
    cr_expect_eq(redeem(1000, 3, shown, hash_1), CV_ERR_DENIED, "beside a name");
    cr_expect_eq(redeem(1000, 9, shown, hash_1), CV_ERR_NOENT);
    cr_expect_eq(rep_ledger_class(ledger[GUARD], 1), REP_CLASS_NEW);

    cr_expect_eq(redeem(1000, 1, shown, hash_1), CV_ERR_OK);
    cr_expect_eq(rep_ledger_class(ledger[GUARD], 1), REP_CLASS_TOKEN);
    cr_expect_eq(redeem(1002, 1, shown, hash_1), CV_ERR_OK, "repeated: links lose cells");
    struct rep_stats st;
    rep_ledger_stats(ledger[GUARD], &st);
    cr_expect_eq(st.tokens_redeemed, 1);
    cr_expect_eq(redeem(1002, 2, shown, hash_1), CV_ERR_EXIST, "spent twice");
    cr_expect_eq(rep_ledger_class(ledger[GUARD], 2), REP_CLASS_NEW);

    cr_assert_eq(spend(1003, hash_1, next), CV_ERR_OK);
    cr_expect_neq(memcmp(next, shown, REP_TOKEN), 0);
    cr_expect_eq(redeem(1003, 1, next, hash_1), CV_ERR_OK);
    rep_ledger_on_timeout(ledger[GUARD], gw_at(1000 + 7190));
    cr_expect_eq(rep_ledger_class(ledger[GUARD], 1), REP_CLASS_TOKEN, "two hours for two");
    rep_ledger_on_timeout(ledger[GUARD], gw_at(1000 + 7210));
    cr_expect_eq(rep_ledger_class(ledger[GUARD], 1), REP_CLASS_NEW);
    unsigned busy = 0;
    for (unsigned i = 0; i < 3 * REP_TOKEN_TRIES_S; i++)
        busy += redeem(1000 + 7210, 2, shown, hash_2) == CV_ERR_AGAIN;
    cr_expect_gt(busy, 0, "guesses cost nothing");
    end(1000 + 7210);
}

/* The child shows a token and dies; what it was told is OK is spent. */
static void redeem_and_die(int64_t at, const uint8_t *shown) {
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        start(GUARD, gw_at(at));
        link_up(1, REP_ROLE_NAMELESS, at + 10);
        if (redeem(at + 10, 1, shown, hash_1) == CV_ERR_OK)
            kill(getpid(), SIGKILL);
        _exit(1);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "not redeemed: %d", status);
}

Test(rep_wallet, what_is_spent_is_spent_after_a_kill_and_forgotten_with_its_week) {
    uint8_t shown[REP_TOKEN_SHOWN], second[REP_TOKEN_SHOWN];
    begin(true);
    fetch();
    cr_assert_eq(spend(1000, hash_1, shown), CV_ERR_OK);
    ledger[RELAY] = rep_ledger_free(ledger[RELAY]); /* as a crash would */
    file[RELAY] = rep_store_sqlite_close(file[RELAY]);
    start(RELAY, gw_at(1010));
    cr_expect_eq(rep_ledger_tokens_left(ledger[RELAY]), REP_TOKENS - 1);
    cr_assert_eq(spend(1020, hash_1, second), CV_ERR_OK);
    cr_expect_neq(memcmp(second, shown, REP_TOKEN), 0, "shown before the crash");

    stop(GUARD, gw_at(1000));
    redeem_and_die(2000, shown);
    start(GUARD, gw_at(3000));
    link_up(1, REP_ROLE_NAMELESS, 3010);
    cr_expect_eq(redeem(3010, 1, shown, hash_1), CV_ERR_EXIST);
    cr_expect_eq(redeem(3010, 1, second, hash_1), CV_ERR_OK);
    cr_expect_eq(redeem(2 * WEEK + 10, 1, shown, hash_1), CV_ERR_AUTH, "its week is over");

    stop(GUARD, gw_at(2 * WEEK + 10));
    stop(RELAY, gw_at(2 * WEEK + 10));
    char path[300];
    static const char *const tables[] = {"issued", "spent", "purse"};
    for (unsigned side = GUARD; side <= RELAY; side++) {
        start(side, gw_at(2 * WEEK + 20));
        rep_ledger_on_timeout(ledger[side], gw_at(2 * WEEK + 20 + REP_CALENDAR_HOLDS));
        stop(side, gw_at(2 * WEEK + 20 + REP_CALENDAR_HOLDS));
        path_of(side, path);
        sqlite3 *db;
        cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
        for (unsigned i = 0; i < 3; i++) {
            sqlite3_stmt *st;
            char sql[64];
            snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", tables[i]);
            cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
            cr_assert_eq(sqlite3_step(st), SQLITE_ROW);
            cr_expect_eq(sqlite3_column_int(st, 0), 0, "%s of side %u", tables[i], side);
            sqlite3_finalize(st);
        }
        sqlite3_close(db);
    }
    folder_remove(folder);
}

/* A machine starts with a clock months ahead, which is put right within the hour. */
Test(rep_wallet, a_clock_that_was_ahead_makes_nobody_spend_or_get_twice) {
    uint8_t shown[REP_TOKEN_SHOWN];
    begin(true);
    fetch();
    cr_assert_eq(spend(1000, hash_1, shown), CV_ERR_OK);
    link_up(1, REP_ROLE_NAMELESS, 1000);
    cr_assert_eq(redeem(1000, 1, shown, hash_1), CV_ERR_OK);
    for (unsigned side = GUARD; side <= RELAY; side++) {
        stop(side, gw_at(1100));
        struct cv_now ahead = gw_at(1200), later = gw_at(1200 + REP_CALENDAR_HOLDS - 1);
        ahead.wall += 10 * WEEK;
        later.wall += 10 * WEEK;
        start(side, ahead);
        rep_ledger_on_timeout(ledger[side], later);
        /* Put right, and looked at when it would have been for good. */
        rep_ledger_on_timeout(ledger[side], gw_at(1200 + REP_CALENDAR_HOLDS));
    }
    cr_expect_eq(rep_ledger_tokens_left(ledger[RELAY]), REP_TOKENS - 1, "own tokens are lost");
    cr_expect_eq(ask(5000), CV_ERR_EXIST, "asked for twice");
    struct rep_purse other = {.week = W, .seed = {1}};
    memcpy(other.issuer, secret[GUARD].public_key, CV_KEY);
    rep_token_request_write(&other, &secret[RELAY], test_network, request);
    cr_expect_eq(issue(5000), CV_ERR_LIMIT, "issued twice");
    link_up(2, REP_ROLE_NAMELESS, 5000);
    cr_expect_eq(redeem(5000, 2, shown, hash_1), CV_ERR_EXIST, "spent twice");
    end(5000);
}

/* And one that is not put right for hours: relays say that it is wrong, and that is enough. */
Test(rep_wallet, a_clock_that_others_doubt_deletes_nothing) {
    for (int doubted = 0; doubted < 2; doubted++) {
        begin(true);
        fetch();
        stop(RELAY, gw_at(1100));
        struct cv_now now = gw_at(1200);
        now.wall += 10 * WEEK;
        start(RELAY, now);
        for (unsigned hour = 0; hour < 30; hour++) {
            if (doubted && hour < 4)
                rep_ledger_clock_off(ledger[RELAY], now);
            now.mono += CV_SEC(REP_CALENDAR_HOLDS);
            now.wall += REP_CALENDAR_HOLDS;
            rep_ledger_on_timeout(ledger[RELAY], now);
            /* The last word was in the fourth hour: it is believed a day later. */
            unsigned left = rep_ledger_tokens_left(ledger[RELAY]);
            cr_expect_eq(left, doubted && hour < 26 ? REP_TOKENS : 0, "%d, hour %u: %u", doubted,
                         hour, left);
        }
        stop(GUARD, gw_at(1200));
        ledger[RELAY] = rep_ledger_free(ledger[RELAY]);
        file[RELAY] = rep_store_sqlite_close(file[RELAY]);
        folder_remove(folder);
    }
}

Test(rep_wallet, a_disk_that_fails_gives_nothing_away) {
    uint8_t shown[REP_TOKEN_SHOWN];
    begin(true);
    fetch();
    char path[300];
    path_of(RELAY, path);
    sqlite3 *other;
    cr_assert_eq(sqlite3_open(path, &other), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(other, "DROP TABLE purse", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    cr_expect_neq(spend(1000, hash_1, shown), CV_ERR_OK, "not written down, yet given");
    end(1000);
}
