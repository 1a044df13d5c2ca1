/*
 * A ledger among a relay, a second one, a client and a nameless link. The input
 * is a script of steps; most of what the first relay sends is signed for it, so
 * that the engine's answers are reached. Step: one octet of what to do, then
 * its operands (see step()).
 * Property: no assertion; next_timeout() is not in the past after the engine was
 * served; our own chain in the store never forks and never falls; a commit that
 * fails stops signing; accounts never become rows; stats only grow.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "reputation/ledger.h"
#include "reputation/message.h"
#include "reputation/store_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RELAY = 1, OTHER = 2, CLIENT = 3, NAMELESS = 4, LINKS = 4, STEPS_MAX = 400 };

struct state {
    struct rep_config cfg;
    struct cv_ed25519_secret relays[3]; /* by link; 0 is not used */
    struct rep_store_memory *memory;
    const struct rep_store *s;
    struct rep_ledger *l;
    struct cv_rng_seeded dice;
    struct cv_rng rng;
    struct cv_now now;
    struct rep_record theirs[3], ours; /* newest half-block of each; ours as last seen */
    uint64_t head;
    enum cv_err failed;
};

static void boot(struct state *st) {
    enum cv_err err = rep_ledger_new(&st->cfg, st->s, &st->rng, st->now, &st->l);
    assert(err == CV_ERR_OK);
    st->failed = CV_ERR_OK;
}

static void begin(struct state *st) {
    cv_crypto_init();
    memset(st, 0, sizeof *st);
    cv_rng_seeded_init(&st->dice, 1);
    st->rng = cv_rng_seeded(&st->dice);
    rep_config_init(&st->cfg);
    st->cfg.epoch_seconds = 70;
    st->cfg.minimum_octets = 1000;
    memcpy(st->cfg.network_id, "testnet1", REP_NETWORK_ID);
    uint8_t seed[CV_KEY] = {1};
    cv_ed25519_from_seed(&st->cfg.identity_secret, seed);
    for (unsigned i = RELAY; i <= OTHER; i++) {
        seed[0] = (uint8_t)(i + 10);
        cv_ed25519_from_seed(&st->relays[i], seed);
    }
    st->memory = rep_store_memory_new();
    st->s = rep_store_memory_ops(st->memory);
    st->now = (struct cv_now){.mono = CV_SEC(1), .wall = 1700000000};
    boot(st);
}

static const uint8_t *me(const struct state *st) {
    return st->cfg.identity_secret.public_key;
}

/* Our own chain: every half-block linked to the one before, nothing lost. */
static void check_chain(struct state *st) {
    struct rep_record r;
    while (st->s->block_get(st->s->ctx, me(st), st->head + 1, &r) == CV_ERR_OK) {
        if (st->head)
            assert(memcmp(r.prev, st->ours.hash, REP_HASH) == 0);
        assert(rep_record_verify(&r, st->cfg.network_id));
        st->ours = r;
        st->head++;
    }
    struct rep_fork f;
    assert(st->s->fork_get(st->s->ctx, me(st), &f) == CV_ERR_NOENT);
}

static void drain(struct state *st) {
    struct rep_event e;
    while (rep_ledger_poll_event(st->l, &e)) {
        if (e.kind == REP_EVENT_SEND)
            assert(e.link == RELAY || e.link == OTHER);
        if (e.kind == REP_EVENT_CLASS)
            assert(e.link == CLIENT || e.link == NAMELESS);
        if (e.kind == REP_EVENT_FAILED)
            st->failed = e.err;
    }
    check_chain(st);
}

static void pass(struct state *st, cv_usec d) {
    st->now.mono += d;
    st->now.wall += (int64_t)(d / 1000000);
    rep_ledger_on_timeout(st->l, st->now);
    drain(st);
    assert(rep_ledger_next_timeout(st->l) > st->now.mono);
}

static void up(struct state *st, unsigned link, uint8_t who) {
    struct cv_addr addr = {.ip = {127, 11, link == CLIENT ? who : 0, 1}, .port = 1, .family = 4};
    uint8_t client[CV_KEY] = {who, 1};
    enum rep_role role = link <= OTHER    ? REP_ROLE_RELAY
                         : link == CLIENT ? REP_ROLE_CLIENT
                                          : REP_ROLE_NAMELESS;
    const uint8_t *key = link <= OTHER ? st->relays[link].public_key : client;
    (void)rep_ledger_link_up(st->l, st->now, link, role, key, &addr);
}

/* A half-block of the relay behind `link`, as its owner would sign it. */
static struct rep_record write_record(struct state *st, unsigned link, struct cv_rd *rd) {
    struct rep_record r, *last = &st->theirs[link];
    uint8_t how = cv_rd_u8(rd), up_given = cv_rd_u8(rd), up_taken = cv_rd_u8(rd);
    memset(&r, 0, sizeof r);
    r.version = REP_RECORD_VERSION;
    memcpy(r.peer, how & 1 ? st->relays[3 - link].public_key : me(st), CV_KEY);
    r.seq = last->seq + 1 + (how >> 6 == 3);
    memcpy(r.prev, last->hash, REP_HASH);
    if (r.seq > 1 && last->seq == 0)
        memset(r.prev, 7, REP_HASH);
    r.type = REP_PROPOSAL;
    if (how & 2 && st->head) {
        r.type = REP_AGREEMENT;
        r.peer_seq = st->ours.seq;
        memcpy(r.peer_hash, st->ours.hash, REP_HASH);
    }
    r.given = last->given + ((uint64_t)up_given << 12);
    r.taken = last->taken + ((uint64_t)up_taken << 12);
    if (how & 4 && r.given)
        r.given -= r.given / 2;
    r.epoch = (uint32_t)(st->now.wall / 70) - (how >> 3 & 3);
    rep_record_sign(&r, &st->relays[link], st->cfg.network_id);
    if (!(how & 32))
        *last = r;
    return r;
}

static void records(struct state *st, unsigned link, struct cv_rd *rd) {
    uint8_t buf[REP_MESSAGE_MAX];
    uint8_t count = cv_rd_u8(rd) % (REP_RECORDS_PER_MESSAGE + 1);
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    cv_wr_u8(&w, REP_MESSAGE_RECORDS);
    cv_wr_u8(&w, count);
    for (uint8_t i = 0; i < count; i++) {
        struct rep_record r = write_record(st, link, rd);
        rep_record_write(&r, cv_wr_skip(&w, REP_RECORD));
    }
    (void)rep_ledger_on_message(st->l, st->now, link, buf, cv_wr_len(&w));
}

static void counters(struct state *st, unsigned link, struct cv_rd *rd) {
    uint8_t buf[REP_MESSAGE_MAX];
    struct rep_message m = {.kind = REP_MESSAGE_COUNTERS, .flags = cv_rd_u8(rd) & 1};
    m.epoch = (uint32_t)(st->now.wall / 70) - cv_rd_u8(rd) % 4;
    m.given = (uint64_t)cv_rd_u8(rd) << 10;
    m.taken = (uint64_t)cv_rd_u8(rd) << 10;
    ssize_t len = rep_message_write(&m, buf, sizeof buf);
    (void)rep_ledger_on_message(st->l, st->now, link, buf, (size_t)len);
}

static void ask(struct state *st, unsigned link, struct cv_rd *rd) {
    uint8_t buf[REP_MESSAGE_MAX], whose = cv_rd_u8(rd);
    struct rep_message m = {.kind = REP_MESSAGE_ASK, .from = 1 + cv_rd_u8(rd)};
    memcpy(m.owner, whose < 128 ? me(st) : st->relays[1 + whose % 2].public_key, CV_KEY);
    ssize_t len = rep_message_write(&m, buf, sizeof buf);
    (void)rep_ledger_on_message(st->l, st->now, link, buf, (size_t)len);
}

static void raw(struct state *st, unsigned link, struct cv_rd *rd) {
    size_t n = cv_rd_u8(rd);
    n = n < cv_rd_left(rd) ? n : cv_rd_left(rd);
    (void)rep_ledger_on_message(st->l, st->now, link, cv_rd_bytes(rd, n), n);
}

/* The process dies and starts again: what was not committed is gone. */
static void crash(struct state *st) {
    rep_ledger_free(st->l);
    struct rep_record r;
    while (st->head && st->s->block_get(st->s->ctx, me(st), st->head, &r) == CV_ERR_NOENT)
        st->head--;
    st->ours = st->head ? r : (struct rep_record){0};
    boot(st);
}

static void step(struct state *st, struct cv_rd *rd) {
    uint8_t what = cv_rd_u8(rd);
    unsigned link = 1 + what / 16 % LINKS;
    unsigned relay = 1 + what / 16 % 2;
    switch (what % 16) {
    case 0:
        pass(st, CV_MSEC(10) * cv_rd_u8(rd));
        break;
    case 1:
        pass(st, CV_SEC(1) * cv_rd_u8(rd));
        break;
    case 2:
    case 3:
        up(st, link, cv_rd_u8(rd));
        break;
    case 4:
        rep_ledger_link_down(st->l, st->now, link);
        break;
    case 5:
    case 6: {
        uint64_t out = (uint64_t)cv_rd_u8(rd) << 12;
        rep_ledger_carried(st->l, st->now, link, out, (uint64_t)cv_rd_u8(rd) << 12);
        break;
    }
    case 7:
    case 8:
        counters(st, relay, rd);
        break;
    case 9:
    case 10:
        records(st, relay, rd);
        break;
    case 11:
        ask(st, relay, rd);
        break;
    case 12:
        raw(st, link, rd);
        break;
    case 13:
        st->now.wall += ((int64_t)cv_rd_u8(rd) - 128) * 35;
        break;
    case 14:
        if (what == 0xfe)
            rep_store_memory_fail(st->memory, 1, CV_ERR_FULL);
        else if (what == 0xee)
            crash(st);
        else
            (void)rep_ledger_flush(st->l, st->now);
        break;
    default:
        rep_ledger_grant(st->l, st->now, link, st->now.mono + CV_SEC(1) * cv_rd_u8(rd));
    }
    drain(st);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct state st;
    begin(&st);
    struct cv_rd rd = cv_rd_init(data, size);
    up(&st, RELAY, 0);
    for (unsigned i = 0; i < STEPS_MAX && cv_rd_left(&rd) >= 2; i++) {
        struct rep_stats before, after;
        rep_ledger_stats(st.l, &before);
        uint64_t commits = before.commits;
        step(&st, &rd);
        rep_ledger_stats(st.l, &after);
        if (st.failed)
            assert(after.commits == commits || after.commits == 0);
        struct rep_row row;
        void *cursor = NULL;
        while (rep_ledger_row(st.l, &cursor, &row))
            assert(memcmp(row.peer, st.relays[RELAY].public_key, CV_KEY) == 0 ||
                   memcmp(row.peer, st.relays[OTHER].public_key, CV_KEY) == 0);
    }
    rep_ledger_free(st.l);
    rep_store_memory_free(st.memory);
    return 0;
}
