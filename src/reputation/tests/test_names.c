/* Names cost nothing: a thousand of them, each a relay by its signature alone, fill neither
 * the store nor the table of proofs, and keep away nothing from those who carry. */
#include "support/suite.h"

#include "reputation/chain.h"
#include "reputation/ledger_internal.h"
#include "reputation/message.h"
#include "reputation/tests/world.h"

CV_SUITE(rep_names, .timeout = 600);

enum { EPOCH = 70, LINK = 5000 /* of names; none of the world's */ };

static struct world w;

static void name(unsigned who, struct cv_ed25519_secret *ret) {
    uint8_t seed[CV_KEY] = {1, (uint8_t)who, (uint8_t)(who >> 8)};
    cv_ed25519_from_seed(ret, seed);
}

static enum cv_err link_up(unsigned who, const struct cv_ed25519_secret *key) {
    struct cv_addr addr = {.ip = {127, 30, 0, 1}, .port = 1, .family = 4};
    enum cv_err err = rep_ledger_link_up(w.node[0].ledger, w.now, LINK + who, REP_ROLE_RELAY,
                                         key->public_key, &addr);
    world_drain(&w, 0);
    return err;
}

static void link_down(unsigned who) {
    rep_ledger_link_down(w.node[0].ledger, w.now, LINK + who);
    world_drain(&w, 0);
}

static enum cv_err tell(cv_handle link, const struct rep_message *m) {
    uint8_t body[REP_MESSAGE_MAX];
    ssize_t len = rep_message_write(m, body, sizeof body);
    cr_assert_gt(len, 0);
    enum cv_err err = rep_ledger_on_message(w.node[0].ledger, w.now, link, body, (size_t)len);
    world_drain(&w, 0);
    return err;
}

static struct rep_record claim(const struct cv_ed25519_secret *key, const uint8_t peer[CV_KEY],
                               const struct rep_record *prev, uint64_t octets) {
    struct rep_record r = {.version = REP_RECORD_VERSION, .type = REP_PROPOSAL};
    r.seq = prev ? prev->seq + 1 : 1;
    if (prev)
        memcpy(r.prev, prev->hash, REP_HASH);
    memcpy(r.peer, peer, CV_KEY);
    r.given = r.taken = octets;
    r.epoch = (uint32_t)(w.now.wall / EPOCH);
    rep_record_sign(&r, key, w.node[0].cfg.network_id);
    return r;
}

/* Pushes `n` half-blocks about node 0, with one number each or all with the same. */
static enum cv_err push(unsigned who, const struct cv_ed25519_secret *key, unsigned n, bool forks) {
    uint8_t octets[REP_RECORDS_PER_MESSAGE * REP_RECORD];
    struct rep_message m = {.kind = REP_MESSAGE_RECORDS, .count = (uint8_t)n, .records = octets};
    struct rep_record r;
    for (unsigned i = 0; i < n; i++) {
        r = claim(key, world_key(&w, 0), i && !forks ? &r : NULL, 5000 + i);
        rep_record_write(&r, octets + i * REP_RECORD);
    }
    return tell(LINK + who, &m);
}

static uint64_t blocks(void) {
    uint64_t n = 0;
    const struct rep_store *s = w.node[0].store;
    cr_assert_eq(s->block_count(s->ctx, &n), CV_ERR_OK);
    return n;
}

static uint64_t forks(unsigned i) {
    struct rep_stats st;
    rep_ledger_stats(w.node[i].ledger, &st);
    return st.forks;
}

/* Node 0 with a row to 1, which has one to 2; 3 has nothing. */
static void begin(uint64_t seed) {
    world_init(&w, 4, seed, EPOCH, 1000);
    for (unsigned i = 0; i < 2; i++)
        world_join(&w, i, i + 1);
    for (unsigned i = 0; i < 2; i++)
        world_carry(&w, i, i + 1, 50000);
    world_run(&w, w.now.mono + CV_SEC(6 * EPOCH));
    struct rep_row row;
    cr_assert(world_row(&w, 0, 1, &row) && row.released_given > 0);
}

/* Whoever counted octets with node 0 gets a row, whatever names did. */
static void carries_and_gets_a_row(void) {
    struct rep_row before, after;
    cr_assert(world_row(&w, 0, 1, &before));
    world_carry(&w, 0, 1, 50000);
    world_run(&w, w.now.mono + CV_SEC(3 * EPOCH));
    cr_assert(world_row(&w, 0, 1, &after));
    cr_expect_gt(after.released_given, before.released_given);
    cr_expect_eq(w.node[0].failed, CV_ERR_OK);
}

Test(rep_names, a_thousand_names_do_not_fill_the_store) {
    enum { NAMES = 1000, EACH = 4 };
    struct cv_ed25519_secret key;
    begin(1);
    uint64_t before = blocks();
    static_assert(NAMES * EACH > 2 * REP_STRANGERS_KEPT, "that would be more");
    for (unsigned i = 0; i < NAMES; i++) {
        name(i, &key);
        cr_assert_eq(link_up(i, &key), CV_ERR_OK);
        cr_expect_eq(push(i, &key, EACH, false),
                     i < REP_STRANGERS_KEPT / EACH ? CV_ERR_OK : CV_ERR_LIMIT, "name %u", i);
        link_down(i);
    }
    cr_expect_eq(blocks() - before, REP_STRANGERS_KEPT);
    cr_expect_eq(w.node[0].ledger->gossip.blocks, blocks());
    carries_and_gets_a_row();
    world_done(&w);
}

/* A row with somebody invented gives a name standing, but no room: its pushes are forgotten with
 * its links, and it would begin anew with each. */
Test(rep_names, one_name_with_an_invented_row_fills_no_more) {
    enum { LINKS = REP_STRANGERS_KEPT / 4 + 20, EACH = 4 };
    struct cv_ed25519_secret key, friend;
    struct rep_record r = {.seq = 0};
    begin(9);
    uint64_t before = blocks();
    name(1, &key);
    name(2, &friend);
    struct rep_edge e = {.octets = 1, .recent = 1, .epoch = w.node[0].ledger->epoch};
    memcpy(e.giver, key.public_key, CV_KEY);
    memcpy(e.taker, friend.public_key, CV_KEY);
    cr_assert_eq(rep_graph_set(w.node[0].ledger->graph, &e), CV_ERR_OK);
    cr_assert(rep_names_standing(w.node[0].ledger, key.public_key));
    for (unsigned i = 0; i < LINKS; i++) {
        uint8_t octets[EACH * REP_RECORD];
        struct rep_message m = {.kind = REP_MESSAGE_RECORDS, .count = EACH, .records = octets};
        for (unsigned j = 0; j < EACH; j++) {
            r = claim(&key, world_key(&w, 0), r.seq ? &r : NULL, 5000 + r.seq);
            rep_record_write(&r, octets + j * REP_RECORD);
        }
        cr_assert_eq(link_up(1, &key), CV_ERR_OK);
        cr_expect_eq(tell(LINK + 1, &m), i < REP_STRANGERS_KEPT / EACH ? CV_ERR_OK : CV_ERR_LIMIT,
                     "link %u", i);
        link_down(1);
    }
    cr_expect_eq(blocks() - before, REP_STRANGERS_KEPT);
    carries_and_gets_a_row();
    world_done(&w);
}

/* What is refused does not use up what is for half-blocks that are expected. */
Test(rep_names, what_is_refused_keeps_nothing_away) {
    struct cv_ed25519_secret key;
    begin(10);
    name(1, &key);
    cr_assert_eq(link_up(1, &key), CV_ERR_OK);
    w.node[0].ledger->gossip.blocks = REP_BLOCKS_KEPT;
    for (unsigned i = 0; i < 2 * REP_RECORDS_PER_EPOCH; i++)
        cr_expect_eq(push(1, &key, 1, false), CV_ERR_LIMIT, "%u", i);
    rep_ledger_carried(w.node[0].ledger, w.now, LINK + 1, 1000, 1000);
    cr_expect_eq(push(1, &key, 1, false), CV_ERR_OK, "it proposes what was counted");
    world_done(&w);
}

/* Where room is scarce they take of what is for neighbours without a score, and of none where
 * there is none left. */
Test(rep_names, what_nobody_counted_asks_for_room) {
    static const struct {
        uint64_t blocks;
        enum cv_err err;
    } rows[] = {{REP_BLOCKS_SCARCE, CV_ERR_OK}, {REP_BLOCKS_KEPT, CV_ERR_LIMIT}};
    struct cv_ed25519_secret key;
    name(1, &key);
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        begin(2);
        w.node[0].ledger->gossip.blocks = rows[i].blocks;
        cr_assert_eq(link_up(1, &key), CV_ERR_OK);
        cr_expect_eq(push(1, &key, 3, false), rows[i].err, "row %u", i);
        cr_expect_eq(w.node[0].ledger->gossip.rationed[0], rows[i].err ? 0 : 3, "row %u", i);
        carries_and_gets_a_row();
        world_done(&w);
    }
}

/* A cell is quickly sent: what counts is what becomes a row. */
Test(rep_names, a_few_octets_are_no_standing) {
    begin(3);
    struct cv_ed25519_secret key;
    name(1, &key);
    cr_assert_eq(link_up(1, &key), CV_ERR_OK);
    cr_expect(!rep_names_standing(w.node[0].ledger, key.public_key), "a link");
    rep_ledger_carried(w.node[0].ledger, w.now, LINK + 1, 999, 999);
    cr_expect(!rep_names_standing(w.node[0].ledger, key.public_key), "some octets");
    rep_ledger_carried(w.node[0].ledger, w.now, LINK + 1, 1, 1);
    cr_expect(rep_names_standing(w.node[0].ledger, key.public_key), "enough for a row");
    w.node[0].ledger->gossip.blocks = REP_BLOCKS_KEPT;
    cr_expect_eq(push(1, &key, 1, false), CV_ERR_OK, "it proposes what was counted");
    cr_expect(rep_names_standing(w.node[0].ledger, world_key(&w, 1)), "a row with us");
    cr_expect(rep_names_standing(w.node[0].ledger, world_key(&w, 2)), "a row with a neighbour");
    cr_expect(!rep_names_standing(w.node[0].ledger, world_key(&w, 3)));
    cr_assert_eq(rep_graph_succeed(w.node[0].ledger->graph, world_key(&w, 2), world_key(&w, 3)),
                 CV_ERR_OK);
    cr_expect(rep_names_standing(w.node[0].ledger, world_key(&w, 3)), "by succession");
    world_done(&w);
}

static struct rep_message proof(unsigned who, uint8_t two[2 * REP_RECORD]) {
    for (unsigned i = 0; i < 2; i++) {
        struct rep_record r =
            claim(&w.node[who].cfg.identity_secret, world_key(&w, who == 3 ? 2 : 3), NULL, i);
        r.seq = 1000;
        memset(r.prev, 5, sizeof r.prev);
        rep_record_sign(&r, &w.node[who].cfg.identity_secret, w.node[0].cfg.network_id);
        rep_record_write(&r, two + i * REP_RECORD);
    }
    return (struct rep_message){.kind = REP_MESSAGE_FORK, .records = two};
}

struct told {
    unsigned forks, about;
    const uint8_t *who;
};

static void watch(void *ctx, unsigned i, const struct rep_event *e) {
    struct told *t = ctx;
    struct rep_message m;
    struct rep_record r;
    if (i != 0 || e->kind != REP_EVENT_SEND || e->link != world_link(3) ||
        rep_message_read(e->send.body, e->send.len, &m) || m.kind != REP_MESSAGE_FORK)
        return;
    cr_assert_eq(rep_record_read(m.records, &r), CV_ERR_OK);
    t->forks++;
    t->about += memcmp(r.owner, t->who, CV_KEY) == 0;
}

Test(rep_names, two_thousand_forgers_hide_none_that_matters) {
    enum { NAMES = 2000 };
    struct cv_ed25519_secret key;
    uint8_t two[2 * REP_RECORD];
    begin(4);
    for (unsigned i = 0; i < NAMES; i++) {
        name(i, &key);
        cr_assert_eq(link_up(i, &key), CV_ERR_OK);
        w.node[0].ledger->names.kept = 0; /* in whatever epoch the first of the two came */
        enum cv_err err = push(i, &key, 2, true);
        cr_expect_eq(err, i < REP_FORKS_STRANGE_ALL ? CV_ERR_DIFFERS : CV_ERR_LIMIT, "name %u", i);
        link_down(i);
    }
    cr_expect_eq(forks(0), REP_FORKS_STRANGE_ALL);
    struct rep_message m = proof(2, two);
    cr_expect_eq(tell(world_link(1), &m), CV_ERR_OK, "one with a row is proven");
    cr_expect_eq(forks(0), REP_FORKS_STRANGE_ALL + 1);
    struct rep_ledger *l = w.node[0].ledger;
    cr_expect_eq(l->gossip.forgers[0].n, REP_FORKS_STRANGE_ALL);
    cr_expect_eq(l->gossip.forgers[1].n, 1);
    world_run(&w, w.now.mono + CV_SEC(1));
    for (unsigned again = 0; again < 2; again++) { /* the second time after a restart */
        struct told t = {.who = world_key(&w, 2)};
        w.watch = watch;
        w.watch_ctx = &t;
        world_up(&w, 0, 3);
        w.watch = NULL;
        cr_expect_eq(t.forks, REP_FORKS_TOLD);
        cr_expect_eq(t.about, 1, "a new neighbour hears of it");
        world_crash(&w, 0);
    }
    world_done(&w);
}

/* A name is left alone whose second half-block there is no room for as a proof; what it shows
 * again is known as ever. */
Test(rep_names, a_fork_beyond_the_limit_is_not_taken) {
    struct cv_ed25519_secret key;
    begin(5);
    name(1, &key);
    cr_assert_eq(link_up(1, &key), CV_ERR_OK);
    cr_assert_eq(push(1, &key, 1, false), CV_ERR_OK);
    w.node[0].ledger->names.accused = REP_FORKS_STRANGE_ALL;
    cr_expect_eq(push(1, &key, 2, true), CV_ERR_LIMIT);
    cr_expect_eq(push(1, &key, 1, false), CV_ERR_OK, "known");
    cr_expect_eq(forks(0), 0);
    cr_expect_eq(push(1, &key, 2, false), CV_ERR_OK, "on with the chain");
    rep_ledger_carried(w.node[0].ledger, w.now, LINK + 1, 1000, 1000);
    cr_expect_eq(push(1, &key, 2, true), CV_ERR_DIFFERS, "it has standing now");
    cr_expect_eq(forks(0), 1);
    world_done(&w);
}

Test(rep_names, successions_of_names_are_few) {
    struct cv_ed25519_secret key, next;
    begin(6);
    w.node[0].ledger->names =
        (struct rep_names){.epoch = w.node[0].ledger->epoch, .kept = REP_STRANGERS_KEPT - 1};
    for (unsigned i = 0; i < 2; i++) {
        uint8_t octets[REP_RECORD];
        struct rep_record r;
        name(2 * i, &key);
        name(2 * i + 1, &next);
        cr_assert_eq(link_up(i, &key), CV_ERR_OK);
        rep_record_succeed(&key, &next, w.node[0].cfg.network_id, w.node[0].ledger->epoch, &r);
        rep_record_write(&r, octets);
        struct rep_message m = {.kind = REP_MESSAGE_RECORDS, .count = 1, .records = octets};
        cr_expect_eq(tell(LINK + i, &m), i ? CV_ERR_LIMIT : CV_ERR_OK, "%u", i);
    }
    world_done(&w);
}

/* What nobody signed uses up nothing of what all names have together. */
Test(rep_names, octets_without_a_signature_use_up_nothing) {
    struct cv_ed25519_secret key, next;
    struct rep_record r;
    uint8_t two[2 * REP_RECORD];
    begin(11);
    struct rep_ledger *l = w.node[0].ledger;
    name(1, &key);
    name(2, &next);
    cr_assert_eq(link_up(1, &key), CV_ERR_OK);
    uint32_t kept = l->names.epoch == l->epoch ? l->names.kept : 0;
    rep_record_succeed(&key, &next, w.node[0].cfg.network_id, l->epoch, &r);
    rep_record_write(&r, two);
    two[REP_RECORD - 1] ^= 1;
    struct rep_message m = {.kind = REP_MESSAGE_RECORDS, .count = 1, .records = two};
    struct rep_peer *p = cv_map_get(l->peers, key.public_key);
    cr_expect_eq(tell(LINK + 1, &m), CV_ERR_AUTH);
    cr_expect_eq(l->names.kept, kept);
    cr_expect_eq(p->wants.taken, 0);
    m = proof(3, two);
    two[2 * REP_RECORD - 1] ^= 1;
    cr_expect_eq(tell(LINK + 1, &m), CV_ERR_AUTH);
    cr_expect_eq(p->accused + l->names.accused, 0);
    m = proof(3, two);
    cr_expect_eq(tell(LINK + 1, &m), CV_ERR_OK);
    cr_expect_eq(p->accused + l->names.accused, 2);
    m = proof(2, two);
    cr_expect_eq(tell(LINK + 1, &m), CV_ERR_OK);
    cr_expect_eq(p->accused + l->names.accused, 2, "it had standing when it was proven");
    world_done(&w);
}

/* Thirty days from no date are none: a proof waits for a clock. */
Test(rep_names, nobody_is_banned_without_a_clock) {
    uint8_t two[2 * REP_RECORD];
    int64_t until;
    begin(12);
    const struct rep_store *s = w.node[0].store;
    struct rep_message m = proof(3, two);
    struct cv_now now = w.now;
    w.now.wall = 0;
    cr_expect_eq(tell(world_link(1), &m), CV_ERR_STALE);
    cr_expect_eq(s->ban_get(s->ctx, world_key(&w, 3), &until), CV_ERR_NOENT);
    w.now = now;
    cr_expect_eq(tell(world_link(1), &m), CV_ERR_OK);
    cr_assert_eq(s->ban_get(s->ctx, world_key(&w, 3), &until), CV_ERR_OK);
    cr_expect_eq(until, w.now.wall + REP_BAN_DAYS * INT64_C(86400));
    world_done(&w);
}

/* What a proven forger signed is not taken, and hides nothing of who tells it beside his own. */
Test(rep_names, a_forger_hides_nothing_of_others) {
    struct cv_ed25519_secret key;
    struct rep_record own[2], half = {.version = REP_RECORD_VERSION, .type = REP_AGREEMENT};
    uint8_t octets[3 * REP_RECORD], two[2 * REP_RECORD];
    begin(13);
    struct rep_message m = proof(3, two);
    cr_assert_eq(tell(world_link(1), &m), CV_ERR_OK);
    name(1, &key);
    cr_assert_eq(link_up(1, &key), CV_ERR_OK);
    own[0] = claim(&key, world_key(&w, 3), NULL, 5000);
    own[1] = claim(&key, world_key(&w, 1), &own[0], 5000);
    half.seq = half.peer_seq = 1;
    memcpy(half.peer, key.public_key, CV_KEY);
    memcpy(half.peer_hash, own[0].hash, REP_HASH);
    half.given = half.taken = 5000;
    half.epoch = own[0].epoch;
    rep_record_sign(&half, &w.node[3].cfg.identity_secret, w.node[0].cfg.network_id);
    rep_record_write(&own[0], octets);
    rep_record_write(&half, octets + REP_RECORD);
    rep_record_write(&own[1], octets + 2 * REP_RECORD);
    struct rep_peer *p = cv_map_get(w.node[0].ledger->peers, key.public_key);
    p->asked = true;
    memcpy(p->asked_owner, key.public_key, CV_KEY);
    m = (struct rep_message){.kind = REP_MESSAGE_RECORDS, .count = 3, .records = octets};
    uint64_t before = blocks();
    cr_expect_eq(tell(LINK + 1, &m), CV_ERR_OK);
    cr_expect_eq(blocks() - before, 2);
    world_done(&w);
}

/* Each that is read may cost a signature check and some looks into the store. */
Test(rep_names, a_flood_on_a_link_is_not_read) {
    struct rep_stats st;
    uint8_t octets[REP_RECORD] = {0};
    unsigned read = 0;
    begin(7);
    struct rep_record r = {.version = REP_RECORD_VERSION, .type = REP_SUCCESSION};
    r.seq = REP_SEQ_LAST;
    memcpy(r.owner, world_key(&w, 1), CV_KEY); /* with a signature that is none */
    memcpy(r.peer, world_key(&w, 2), CV_KEY);
    memset(r.peer_hash, 1, sizeof r.peer_hash);
    r.epoch = w.node[0].ledger->epoch;
    rep_record_write(&r, octets);
    struct rep_message m = {.kind = REP_MESSAGE_RECORDS, .count = 1, .records = octets};
    world_set_time(&w, w.now.mono + CV_SEC(60)); /* whatever was said before */
    for (unsigned i = 0; i < 3 * REP_MESSAGES_BURST; i++) {
        enum cv_err err = tell(world_link(1), &m);
        cr_assert(err == CV_ERR_AUTH || err == CV_ERR_LIMIT, "%s", cv_strerror(err));
        read += err == CV_ERR_AUTH;
    }
    cr_expect_eq(read, REP_MESSAGES_BURST);
    world_set_time(&w, w.now.mono + CV_SEC(1));
    for (unsigned i = read = 0; i < 3 * REP_MESSAGES_BURST; i++)
        read += tell(world_link(1), &m) == CV_ERR_AUTH;
    cr_expect_eq(read, REP_MESSAGES_S);
    rep_ledger_stats(w.node[0].ledger, &st);
    cr_expect_geq(st.messages_refused, 6 * REP_MESSAGES_BURST);
    carries_and_gets_a_row();
    world_done(&w);
}

/* What honest relays say at worst is read: one that knows of a long chain tells it as fast as
 * it is asked, and others' epochs end beside. */
Test(rep_names, a_long_chain_is_told_within_the_limit) {
    enum { CHAIN = 600 };
    struct rep_stats st;
    begin(8);
    const struct rep_store *s = w.node[1].store;
    struct cv_ed25519_secret *key = &w.node[2].cfg.identity_secret;
    struct rep_record r;
    struct rep_chain_result result;
    cr_assert_eq(s->block_seek(s->ctx, world_key(&w, 2), NULL, REP_SEQ_LAST, REP_SEEK_BELOW, &r),
                 CV_ERR_OK);
    cr_assert(rep_ledger_begin(w.node[1].ledger, w.now));
    for (unsigned i = 0; i < CHAIN; i++) {
        r = claim(key, world_key(&w, 3), &r, 1000 + i);
        cr_assert_eq(rep_chain_add(s, w.node[0].cfg.network_id, &r, true, 0, &result), CV_ERR_OK);
    }
    uint64_t before = blocks();
    world_run(&w, w.now.mono + CV_SEC(20 * EPOCH));
    cr_expect_geq(blocks(), before + CHAIN);
    rep_ledger_stats(w.node[0].ledger, &st);
    cr_expect_eq(st.messages_refused, 0);
    world_done(&w);
}
