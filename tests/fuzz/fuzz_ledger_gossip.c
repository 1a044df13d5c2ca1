/*
 * A ledger with two relays for neighbours that gossip as the input says: digests
 * of chains that exist, are longer, or differ; answers to what it asks, whole,
 * with gaps, changed or of another branch; proofs, true and false; successions, of
 * which only the forger signs two; links that come and go, time that passes. Step: what, how, how
 * long. Property: no assertion; next_timeout() is not in the past; whatever is in the store
 * verifies; nobody is banned who did not sign two half-blocks that contradict each other; what it
 * sends is what it can read.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/cursor.h"
#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "reputation/ledger.h"
#include "reputation/message.h"
#include "reputation/store_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The neighbours are owners 0 and 1; owner FORGER has two branches. */
enum { OWNERS = 6, CHAIN = 6, BRANCHES = 2, FORGER = 3, STEPS_MAX = 120 };

static const uint8_t network[REP_NETWORK_ID] = "testnet1";
static struct cv_ed25519_secret people[OWNERS];
static struct rep_record chain[OWNERS][BRANCHES][CHAIN];

struct state {
    struct cv_rng_seeded dice;
    struct cv_rng rng;
    struct cv_ed25519_secret me;
    struct rep_store_memory *memory;
    struct rep_ledger *l;
    struct cv_now now;
    uint8_t asked[2][CV_KEY];
    uint64_t from[2];
};

/* Owner i has half-blocks about owner i + 1, the forger two of each number. */
static void make_chains(void) {
    if (people[0].public_key[0] | people[0].public_key[1])
        return;
    cv_crypto_init();
    for (unsigned i = 0; i < OWNERS; i++) {
        uint8_t seed[CV_KEY] = {(uint8_t)(i + 1), 5};
        cv_ed25519_from_seed(&people[i], seed);
    }
    for (unsigned i = 0; i < OWNERS; i++)
        for (unsigned b = 0; b < BRANCHES; b++)
            for (unsigned k = 0; k < CHAIN; k++) {
                struct rep_record *r = &chain[i][b][k];
                unsigned branch = i == FORGER && k >= CHAIN / 2 ? b : 0;
                *r = (struct rep_record){.version = REP_RECORD_VERSION, .type = REP_PROPOSAL};
                r->seq = k + 1;
                memcpy(r->peer, people[(i + 1) % OWNERS].public_key, CV_KEY);
                if (k)
                    memcpy(r->prev, chain[i][b][k - 1].hash, REP_HASH);
                r->given = r->taken = (k + 1) * 1000 + branch;
                r->epoch = 2800;
                rep_record_sign(r, &people[i], network);
            }
}

static void drain(struct state *st) {
    struct rep_event e;
    while (rep_ledger_poll_event(st->l, &e)) {
        struct rep_message m;
        assert(e.kind != REP_EVENT_FAILED);
        if (e.kind != REP_EVENT_SEND)
            continue;
        enum cv_err err = rep_message_read(e.send.body, e.send.len, &m);
        assert(err == CV_ERR_OK);
        if (m.kind == REP_MESSAGE_ASK && e.link < 2) {
            memcpy(st->asked[e.link], m.owner, CV_KEY);
            st->from[e.link] = m.from;
        }
    }
}

static void tell(struct state *st, cv_handle link, const struct rep_message *m, uint8_t harm) {
    uint8_t body[REP_MESSAGE_MAX];
    ssize_t len = rep_message_write(m, body, sizeof body);
    assert(len > 0);
    if (harm)
        body[harm * 31u % (size_t)len] ^= harm;
    (void)rep_ledger_on_message(st->l, st->now, link, body, (size_t)len);
    drain(st);
}

static void up(struct state *st, cv_handle link) {
    struct cv_addr addr = {.ip = {127, 11, (uint8_t)link, 1}, .port = 1, .family = 4};
    (void)rep_ledger_link_up(st->l, st->now, link, REP_ROLE_RELAY, people[link].public_key, &addr);
    drain(st);
}

static void digest(struct state *st, cv_handle link, uint8_t how, enum rep_message_kind kind) {
    struct rep_message m = {.kind = kind};
    m.count = (uint8_t)(1 + how % OWNERS);
    for (unsigned i = 0; i < m.count; i++) {
        struct rep_digest *d = &m.digest[i];
        unsigned owner = (i + how / OWNERS) % OWNERS, upto = (how + i) % (CHAIN + 1);
        memcpy(d->owner, people[owner].public_key, CV_KEY);
        d->upto = upto;
        if (upto)
            memcpy(d->head, chain[owner][how & 1][upto - 1].hash, REP_DIGEST_HASH);
    }
    tell(st, link, &m, 0);
}

/* What it asked this neighbour for last. */
static void answer(struct state *st, cv_handle link, uint8_t how) {
    uint8_t octets[REP_RECORDS_PER_MESSAGE * REP_RECORD];
    struct rep_message m = {.kind = REP_MESSAGE_RECORDS, .records = octets};
    for (unsigned i = 0; i < OWNERS; i++) {
        if (memcmp(people[i].public_key, st->asked[link], CV_KEY) != 0)
            continue;
        for (uint64_t seq = st->from[link] + (how >> 6); seq <= CHAIN && m.count < 5; seq++)
            rep_record_write(&chain[i][how & 1][seq - 1], octets + m.count++ * REP_RECORD);
    }
    tell(st, link, &m, (how & 0x3e) == 0x3e ? how : 0);
}

static void show_fork(struct state *st, cv_handle link, uint8_t how) {
    uint8_t two[2 * REP_RECORD];
    unsigned owner = how & 8 ? how % OWNERS : FORGER;
    struct rep_message m = {.kind = REP_MESSAGE_FORK, .ttl = how & 3, .records = two};
    rep_record_write(&chain[owner][0][CHAIN - 1], two);
    rep_record_write(&chain[owner][1][CHAIN - 1 - (how >> 7)], two + REP_RECORD);
    tell(st, link, &m, (how & 0x70) == 0x70 ? how : 0);
}

static void show_succession(struct state *st, cv_handle link, uint8_t how) {
    uint8_t octets[REP_RECORD];
    struct rep_record r;
    unsigned owner = how % OWNERS, heir = (owner + 2) % OWNERS;
    if (owner == FORGER && how & 0x40)
        heir = 0;
    rep_record_succeed(&people[owner], &people[heir], network, 2801, &r);
    rep_record_write(&r, octets);
    tell(st, link,
         &(struct rep_message){.kind = REP_MESSAGE_RECORDS, .count = 1, .records = octets},
         (how & 0xb8) == 0xb8 ? how : 0);
}

static void check(struct state *st) {
    const struct rep_store *s = rep_store_memory_ops(st->memory);
    for (unsigned i = 0; i < OWNERS; i++) {
        struct rep_record r;
        struct rep_fork f;
        for (uint64_t seq = 1; seq <= CHAIN; seq++)
            if (s->block_get(s->ctx, people[i].public_key, seq, &r) == CV_ERR_OK)
                assert(rep_record_verify(&r, network));
        if (i != FORGER)
            assert(s->fork_get(s->ctx, people[i].public_key, &f) == CV_ERR_NOENT);
    }
}

static void begin(struct state *st) {
    memset(st, 0, sizeof *st);
    cv_rng_seeded_init(&st->dice, 1);
    st->rng = cv_rng_seeded(&st->dice);
    struct rep_config cfg;
    rep_config_init(&cfg);
    memcpy(cfg.network_id, network, sizeof network);
    uint8_t seed[CV_KEY] = {99};
    cv_ed25519_from_seed(&st->me, seed);
    cfg.identity_secret = st->me;
    st->memory = rep_store_memory_new();
    const struct rep_store *s = rep_store_memory_ops(st->memory);
    s->begin(s->ctx, 1);
    for (unsigned i = 0; i < 4; i++) { /* me - 0 - 2, me - 1 - forger */
        struct rep_edge e = {.octets = 1 << 20, .recent = 1 << 20, .epoch = 2800};
        memcpy(e.giver, i < 2 ? st->me.public_key : people[i - 2].public_key, CV_KEY);
        memcpy(e.taker, people[i].public_key, CV_KEY);
        s->edge_put(s->ctx, &e);
    }
    struct cv_ed25519_secret before; /* a key that we had, and one before it */
    struct rep_record r;
    uint8_t old[CV_KEY] = {98};
    cv_ed25519_from_seed(&before, old);
    rep_record_succeed(&before, &st->me, network, 2790, &r);
    s->block_put(s->ctx, &r);
    s->commit(s->ctx);
    st->now = (struct cv_now){.mono = CV_SEC(1), .wall = INT64_C(2801) * REP_EPOCH_SECONDS};
    enum cv_err err = rep_ledger_new(&cfg, s, &st->rng, st->now, &st->l);
    assert(err == CV_ERR_OK);
    up(st, 0);
    up(st, 1);
}

static void pass(struct state *st, uint8_t how) {
    cv_usec d = how < 128 ? CV_MSEC(20u * how) : CV_SEC(how - 127u);
    st->now.mono += d;
    st->now.wall += (int64_t)(d / 1000000);
    rep_ledger_on_timeout(st->l, st->now);
    drain(st);
    assert(rep_ledger_next_timeout(st->l) > st->now.mono);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct state st;
    struct cv_rd rd = cv_rd_init(data, size);
    make_chains();
    begin(&st);
    for (unsigned i = 0; i < STEPS_MAX && cv_rd_left(&rd) >= 3; i++) {
        uint8_t what = cv_rd_u8(&rd), how = cv_rd_u8(&rd);
        cv_handle link = what >> 7;
        pass(&st, cv_rd_u8(&rd));
        if ((what & 0x7f) == 0x7f) {
            show_succession(&st, link, how);
            continue;
        }
        switch (what & 7) {
        case 0:
            digest(&st, link, how, REP_MESSAGE_DIGEST);
            break;
        case 1:
            digest(&st, link, how, REP_MESSAGE_DIGEST_ANSWER);
            break;
        case 2:
        case 3:
        case 4:
            answer(&st, link, how);
            break;
        case 5:
            show_fork(&st, link, how);
            break;
        case 6:
            rep_ledger_link_down(st.l, st.now, link);
            break;
        default:
            up(&st, link);
        }
    }
    check(&st);
    rep_ledger_free(st.l);
    rep_store_memory_free(st.memory);
    return 0;
}
