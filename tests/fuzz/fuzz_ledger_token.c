/*
 * Tokens among a guard and a relay that has a score there, with links that name
 * nobody, an account and a relay. Step: one octet of what to do, one of what to
 * change in the octets that are passed on (0: nothing), one of how far time goes.
 * Property: no assertion; a token is redeemed once at most, and only as it was
 * made; a batch is issued to one request a week; what was asked, answered, shown
 * with a change is refused; reading and writing a request are inverse.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/cursor.h"
#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "crypto/tokenkey.h"
#include "reputation/priority.h"
#include "reputation/store_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { GUARD, RELAY, SIDES, NAMELESS = 1, OTHER = 2, CLIENT = 3, STEPS_MAX = 60, DAY = 86400 };

struct state {
    struct cv_rng_seeded dice;
    struct cv_rng rng;
    struct cv_ed25519_secret who[SIDES];
    struct rep_store_memory *memory[SIDES];
    struct rep_ledger *ledger[SIDES];
    struct cv_now now;
    uint8_t key[CV_VOPRF_ELEMENT];
    uint8_t request[REP_TOKEN_REQUEST], reply[REP_TOKEN_REPLY], shown[REP_TOKEN_SHOWN];
    uint64_t spent, redeemed;
    bool asked, issued, showing;
};

static uint32_t week_of(const struct state *st) {
    return cv_token_week(cv_day(st->now.wall - 3 * 3600));
}

static void boot(struct state *st, unsigned side, bool at_once) {
    struct rep_config cfg;
    rep_config_init(&cfg);
    cfg.identity_secret = st->who[side];
    cfg.tokens_at_once = at_once;
    memcpy(cfg.network_id, "testnet1", REP_NETWORK_ID);
    rep_ledger_free(st->ledger[side]);
    enum cv_err err = rep_ledger_new(&cfg, rep_store_memory_ops(st->memory[side]), &st->rng,
                                     st->now, &st->ledger[side]);
    assert(err == CV_ERR_OK);
    static const uint8_t account[CV_KEY] = {9};
    for (cv_handle link = NAMELESS; side == GUARD && link <= CLIENT; link++) {
        struct cv_addr addr = {.ip = {127, 1, (uint8_t)link, 1}, .port = 1, .family = 4};
        rep_ledger_link_up(st->ledger[side], st->now, link,
                           link == CLIENT ? REP_ROLE_CLIENT : REP_ROLE_NAMELESS, account, &addr);
    }
}

static void begin(struct state *st, bool at_once) {
    cv_crypto_init();
    memset(st, 0, sizeof *st);
    cv_rng_seeded_init(&st->dice, 1);
    st->rng = cv_rng_seeded(&st->dice);
    st->now = (struct cv_now){.mono = CV_SEC(1), .wall = INT64_C(2810) * 7 * DAY + 4 * 3600};
    for (unsigned i = 0; i < SIDES; i++) {
        uint8_t seed[CV_KEY] = {(uint8_t)(i + 1)};
        cv_ed25519_from_seed(&st->who[i], seed);
        st->memory[i] = rep_store_memory_new();
    }
    const struct rep_store *s = rep_store_memory_ops(st->memory[GUARD]);
    struct rep_edge e = {.octets = 1 << 20, .recent = 1 << 20, .epoch = 2810};
    memcpy(e.giver, st->who[GUARD].public_key, CV_KEY);
    memcpy(e.taker, st->who[RELAY].public_key, CV_KEY);
    s->begin(s->ctx, st->now.wall);
    s->edge_put(s->ctx, &e);
    s->commit(s->ctx);
    for (unsigned i = 0; i < SIDES; i++)
        boot(st, i, at_once);
}

static void pass(struct state *st, uint8_t how) {
    cv_usec d = how < 128 ? CV_SEC(how) : CV_SEC((how - 127u) * 4000);
    st->now.mono += d + CV_SEC(1);
    st->now.wall += (int64_t)(d / 1000000) + 1;
    for (unsigned i = 0; i < SIDES; i++) {
        struct rep_event e;
        rep_ledger_on_timeout(st->ledger[i], st->now);
        while (rep_ledger_poll_event(st->ledger[i], &e))
            assert(e.kind != REP_EVENT_FAILED);
        assert(rep_ledger_next_timeout(st->ledger[i]) > st->now.mono);
    }
}

/* One octet of `buf` changed by `how`; 0: as it is. */
static void change(uint8_t *buf, size_t len, uint8_t how) {
    if (how)
        buf[how * 31u % len] ^= how;
}

static void ask(struct state *st, uint8_t how) {
    struct cv_voprf_secret secret;
    cv_token_key(&secret, &st->who[GUARD], (const uint8_t *)"testnet1", week_of(st) + (how == 255));
    enum cv_err err =
        rep_ledger_token_ask(st->ledger[RELAY], st->now, st->who[GUARD].public_key,
                             secret.public_key, week_of(st) - (how == 254), st->request);
    st->asked |= err == CV_ERR_OK;
}

static void issue(struct state *st, uint8_t how) {
    uint8_t body[REP_TOKEN_REQUEST], reply[REP_TOKEN_REPLY];
    if (!st->asked)
        return;
    memcpy(body, st->request, sizeof body);
    change(body, sizeof body, how);
    size_t len = how == 77 ? sizeof body - 1 : sizeof body;
    enum cv_err err = rep_ledger_issue(st->ledger[GUARD], st->now, body, len, reply);
    assert(err != CV_ERR_OK || how == 0);
    if (!err) {
        memcpy(st->reply, reply, sizeof reply);
        st->issued = true;
    }
}

static void answer(struct state *st, uint8_t how) {
    uint8_t reply[REP_TOKEN_REPLY];
    if (!st->issued)
        return;
    memcpy(reply, st->reply, sizeof reply);
    change(reply, sizeof reply, how);
    unsigned before = rep_ledger_tokens_left(st->ledger[RELAY]);
    enum cv_err err =
        rep_ledger_token_answer(st->ledger[RELAY], st->now, st->who[GUARD].public_key, week_of(st),
                                how == 200 ? NULL : reply, sizeof reply - (how == 201));
    unsigned after = rep_ledger_tokens_left(st->ledger[RELAY]);
    assert(after == before + (err ? 0 : REP_TOKENS));
    assert(err != CV_ERR_OK || how == 0);
}

static void spend(struct state *st, uint8_t how) {
    uint8_t hash[REP_LINK_HASH] = {how};
    if (rep_ledger_token_spend(st->ledger[RELAY], st->now, st->who[GUARD].public_key, hash,
                               st->shown))
        return;
    st->spent++;
    st->showing = true;
}

static void redeem(struct state *st, uint8_t how, cv_handle link) {
    uint8_t hash[REP_LINK_HASH] = {how}, shown[REP_TOKEN_SHOWN];
    struct rep_stats before, after;
    if (!st->showing)
        return;
    memcpy(shown, st->shown, sizeof shown);
    if (how & 1)
        change(shown, sizeof shown, how);
    rep_ledger_stats(st->ledger[GUARD], &before);
    enum cv_err err = rep_ledger_redeem(st->ledger[GUARD], st->now, link, shown, hash);
    rep_ledger_stats(st->ledger[GUARD], &after);
    st->redeemed += after.tokens_redeemed - before.tokens_redeemed;
    assert(st->redeemed <= st->spent);
    assert(err || (!(how & 1) && link != CLIENT));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct state st;
    struct cv_rd rd = cv_rd_init(data, size);
    struct rep_token_request m;
    bool at_once = cv_rd_u8(&rd) & 1;
    begin(&st, at_once);
    if (rep_token_request_read(data, size, &m) == CV_ERR_OK)
        assert(memcmp(m.identity, data, CV_KEY) == 0 && size == REP_TOKEN_REQUEST);
    for (unsigned i = 0; i < STEPS_MAX && cv_rd_left(&rd) >= 3; i++) {
        uint8_t what = cv_rd_u8(&rd), how = cv_rd_u8(&rd);
        pass(&st, cv_rd_u8(&rd));
        switch (what % 8) {
        case 0:
            ask(&st, how);
            break;
        case 1:
            issue(&st, how);
            break;
        case 2:
            answer(&st, how);
            break;
        case 3:
            spend(&st, how);
            break;
        case 7:
            boot(&st, what / 8 % SIDES, at_once);
            break;
        default:
            redeem(&st, how, (cv_handle)(what % 8 - 3));
        }
    }
    for (unsigned i = 0; i < SIDES; i++) {
        rep_ledger_free(st.ledger[i]);
        rep_store_memory_free(st.memory[i]);
    }
    return 0;
}
