/* What relays tell each other of rows between others, and of forgers: how far it
 * goes, what is not taken, and that a neighbour cannot bring what it likes. */
#include "support/suite.h"

#include "reputation/ledger_internal.h"
#include "reputation/message.h"
#include "reputation/tests/people.h"
#include "reputation/tests/world.h"

CV_SUITE(rep_gossip, .timeout = 600);

enum { EPOCH = 70 };

static struct world w;

static const struct rep_store *store_of(unsigned i) {
    return w.node[i].store;
}

static bool has(unsigned i, unsigned owner, uint64_t seq) {
    struct rep_record r;
    return store_of(i)->block_get(store_of(i)->ctx, world_key(&w, owner), seq, &r) == CV_ERR_OK;
}

static bool has_row(unsigned i, unsigned giver, unsigned taker) {
    struct rep_edge e;
    return store_of(i)->edge_get(store_of(i)->ctx, world_key(&w, giver), world_key(&w, taker),
                                 &e) == CV_ERR_OK;
}

/* Relays in a line, each with links and a row to the next. */
static void line(unsigned n, uint64_t seed) {
    world_init(&w, n, seed, EPOCH, 1000);
    for (unsigned i = 0; i + 1 < n; i++)
        world_join(&w, i, i + 1);
    for (unsigned i = 0; i + 1 < n; i++)
        world_carry(&w, i, i + 1, 50000);
    world_run(&w, w.now.mono + CV_SEC(6 * EPOCH));
}

static enum cv_err tell(unsigned to, unsigned from, const struct rep_message *m) {
    uint8_t body[REP_MESSAGE_MAX];
    ssize_t len = rep_message_write(m, body, sizeof body);
    cr_assert_gt(len, 0);
    enum cv_err err =
        rep_ledger_on_message(w.node[to].ledger, w.now, world_link(from), body, (size_t)len);
    world_drain(&w, to);
    return err;
}

static uint64_t forks(unsigned i) {
    struct rep_stats st;
    rep_ledger_stats(w.node[i].ledger, &st);
    return st.forks;
}

static struct rep_fork forged_by(const struct cv_ed25519_secret *who, unsigned peer) {
    struct rep_fork f;
    for (unsigned i = 0; i < 2; i++) {
        struct rep_record r = {.version = REP_RECORD_VERSION, .type = REP_PROPOSAL, .seq = 1};
        memcpy(r.peer, world_key(&w, peer), CV_KEY);
        r.given = r.taken = 1000 * (i + 1);
        r.epoch = (uint32_t)(w.now.wall / EPOCH);
        rep_record_sign(&r, who, w.node[peer].cfg.network_id);
        rep_record_write(&r, i ? f.b : f.a);
    }
    return f;
}

static struct rep_fork forged(unsigned who, unsigned peer) {
    return forged_by(&w.node[who].cfg.identity_secret, peer);
}

Test(rep_gossip, rows_travel_three_rows_and_no_farther) {
    line(8, 1);
    for (unsigned i = 0; i + 1 < 8; i++)
        cr_assert(has_row(i, i, i + 1), "%u has no row with the next", i);
    cr_expect(has_row(0, 1, 2), "two rows away");
    cr_expect(has_row(0, 2, 3), "three rows away");
    cr_expect(!has(0, 5, 1), "half-blocks of a relay five rows away");
    cr_expect(!has_row(0, 5, 6));
    cr_expect(has_row(4, 2, 3) && has_row(4, 5, 6));
    world_done(&w);
}

/* A store that says it is nearly full: two half-blocks more, and then only what is about us. */
static struct rep_store nearly_full;

static enum cv_err many(void *ctx, uint64_t *ret) {
    (void)ctx;
    *ret = REP_BLOCKS_KEPT - 2;
    return CV_ERR_OK;
}

Test(rep_gossip, a_full_store_takes_only_what_is_about_us) {
    world_init(&w, 4, 12, EPOCH, 1000);
    nearly_full = *w.node[0].store;
    nearly_full.block_count = many;
    w.node[0].ledger = rep_ledger_free(w.node[0].ledger);
    w.node[0].store = &nearly_full;
    world_boot(&w, 0);
    for (unsigned i = 0; i + 1 < 4; i++)
        world_join(&w, i, i + 1);
    for (unsigned i = 1; i + 1 < 4; i++) /* before we have anything to say */
        world_carry(&w, i, i + 1, 50000);
    world_run(&w, w.now.mono + CV_SEC(6 * EPOCH));
    uint64_t n;
    rep_store_memory_ops(w.node[0].memory)->block_count(w.node[0].store->ctx, &n);
    cr_expect_eq(n, 2, "%lu half-blocks of others", (unsigned long)n);
    world_carry(&w, 0, 1, 50000);
    world_run(&w, w.now.mono + CV_SEC(6 * EPOCH));
    struct rep_row row;
    cr_assert(world_row(&w, 0, 1, &row));
    cr_expect_gt(row.released_given, 1000, "our own rows are made as ever");
    cr_expect_eq(w.node[0].failed, CV_ERR_OK);
    world_done(&w);
}

/* So many half-blocks of others a neighbour may bring now; the store grows by them. */
static unsigned brings(struct rep_ledger *l, unsigned who, uint32_t hits) {
    struct rep_peer *p = NULL;
    unsigned n = 0;
    struct cv_ed25519_secret key;
    person(30 + who, &key);
    cr_assert_eq(rep_ledger_peer(l, key.public_key, &p), CV_ERR_OK);
    p->hits = hits;
    for (; n < 2 * REP_GOSSIP_PER_EPOCH && rep_gossip_may_take(l, p); n++)
        l->gossip.blocks++;
    return n;
}

Test(rep_gossip, scarce_room_is_shared_and_lasts) {
    enum { ONE = REP_RATION / REP_RATION_PART, CROWD = REP_RATION_PART };
    world_init(&w, 2, 13, EPOCH, 1000);
    world_run(&w, w.now.mono + CV_SEC(EPOCH));
    struct rep_ledger *l = w.node[0].ledger;
    l->gossip.blocks = REP_BLOCKS_SCARCE - REP_GOSSIP_PER_EPOCH;
    cr_expect_eq(brings(l, 1, 0), REP_GOSSIP_PER_EPOCH, "there is plenty");
    cr_expect_eq(brings(l, 1, 5), 0, "but not more for one");
    uint64_t before = l->gossip.blocks;
    for (unsigned i = 0; i < CROWD; i++)
        cr_expect_eq(brings(l, 2 + i, 0), ONE, "%u", i);
    cr_expect_eq(brings(l, 2 + CROWD, 0), 0, "one name more brings nothing");
    for (unsigned i = 0; i < CROWD; i++)
        cr_expect_eq(brings(l, 3 + CROWD + i, 1), ONE, "%u has a score", i);
    cr_expect_eq(brings(l, 2 + CROWD, 1), 0);
    uint64_t epoch = l->gossip.blocks - before;
    cr_expect_geq((REP_BLOCKS_KEPT - REP_BLOCKS_SCARCE) / epoch, 52, "it lasts a year of weeks");
    l->epoch++;
    cr_expect_eq(brings(l, 2, 0), ONE, "the next epoch");
    l->gossip.blocks = REP_BLOCKS_KEPT - 3;
    cr_expect_eq(brings(l, 3, 0), 3, "and then it is full");
    world_done(&w);
}

Test(rep_gossip, it_comes_through_in_spite_of_losses) {
    world_init(&w, 5, 3, EPOCH, 1000);
    w.loss_permille = 300;
    for (unsigned i = 0; i + 1 < 5; i++)
        world_join(&w, i, i + 1);
    for (unsigned i = 0; i + 1 < 5; i++)
        world_carry(&w, i, i + 1, 50000);
    world_run(&w, w.now.mono + CV_SEC(20 * EPOCH));
    cr_expect(has_row(0, 1, 2));
    cr_expect(has_row(0, 2, 3));
    world_done(&w);
}

Test(rep_gossip, half_blocks_that_nobody_asked_for_are_not_taken) {
    struct rep_record r = {.version = REP_RECORD_VERSION, .type = REP_PROPOSAL, .seq = 1};
    uint8_t octets[REP_RECORD];
    line(4, 2);
    struct cv_ed25519_secret stranger;
    person(90, &stranger);
    memcpy(r.peer, world_key(&w, 1), CV_KEY);
    r.given = 5000;
    r.epoch = (uint32_t)(w.now.wall / EPOCH);
    rep_record_sign(&r, &stranger, w.node[0].cfg.network_id);
    rep_record_write(&r, octets);
    struct rep_message m = {.kind = REP_MESSAGE_RECORDS, .count = 1, .records = octets};
    cr_expect_eq(tell(0, 1, &m), CV_ERR_DENIED);
    struct rep_record got;
    cr_expect_eq(store_of(0)->block_get(store_of(0)->ctx, stranger.public_key, 1, &got),
                 CV_ERR_NOENT);
    world_done(&w);
}

/* A neighbour claims chains of relays that only it knows; it is asked, and what it
 * then brings is near only through itself. */
Test(rep_gossip, invented_relays_come_no_nearer_than_their_inventor) {
    struct rep_record r[3];
    uint8_t octets[REP_RECORD];
    struct cv_ed25519_secret fake[3];
    line(3, 4);
    for (unsigned i = 0; i < 3; i++)
        person(70 + i, &fake[i]);
    struct rep_message claim = {.kind = REP_MESSAGE_DIGEST_ANSWER, .count = 1};
    memcpy(claim.digest[0].owner, fake[0].public_key, CV_KEY);
    claim.digest[0].upto = 1;
    memset(claim.digest[0].head, 7, REP_DIGEST_HASH);
    /* fake 0 - inventor, then fake 1 - fake 2: nothing of ours is near the second. */
    for (unsigned i = 0; i < 2; i++) {
        memset(&r[i], 0, sizeof r[i]);
        r[i].version = REP_RECORD_VERSION;
        r[i].type = REP_PROPOSAL;
        r[i].seq = 1;
        r[i].given = 9000;
        r[i].epoch = (uint32_t)(w.now.wall / EPOCH);
        memcpy(r[i].peer, i ? fake[2].public_key : world_key(&w, 1), CV_KEY);
        rep_record_sign(&r[i], &fake[i], w.node[0].cfg.network_id);
    }
    for (unsigned i = 0; i < 2; i++) {
        memcpy(claim.digest[0].owner, fake[i].public_key, CV_KEY);
        cr_expect_eq(tell(0, 1, &claim), CV_ERR_OK);
        rep_record_write(&r[i], octets);
        struct rep_message m = {.kind = REP_MESSAGE_RECORDS, .count = 1, .records = octets};
        enum cv_err err = tell(0, 1, &m);
        cr_expect_eq(err, CV_ERR_OK, "fake %u: %s", i, cv_strerror(err));
        struct rep_record got;
        cr_expect_eq(store_of(0)->block_get(store_of(0)->ctx, fake[i].public_key, 1, &got),
                     i ? CV_ERR_NOENT : CV_ERR_OK, "fake %u", i);
        struct rep_message none = {.kind = REP_MESSAGE_RECORDS};
        (void)tell(0, 1, &none);
        (void)tell(0, 1, &none);
    }
    world_done(&w);
}

static void row_at_0(const uint8_t *giver, const uint8_t *taker) {
    struct rep_edge e = {
        .octets = 1 << 20, .recent = 1 << 20, .epoch = (uint32_t)(w.now.wall / EPOCH)};
    memcpy(e.giver, giver, CV_KEY);
    memcpy(e.taker, taker, CV_KEY);
    cr_assert_eq(store_of(0)->edge_put(store_of(0)->ctx, &e), CV_ERR_OK);
}

/* Does relay 0 take a half-block of `owner`, with a stranger, that `from` brings? */
static bool takes(unsigned from, unsigned owner) {
    struct rep_record r = {.version = REP_RECORD_VERSION, .type = REP_PROPOSAL, .seq = 1};
    struct cv_ed25519_secret stranger;
    uint8_t octets[REP_RECORD];
    person(99, &stranger);
    memcpy(r.peer, stranger.public_key, CV_KEY);
    r.given = 5000;
    r.epoch = (uint32_t)(w.now.wall / EPOCH);
    rep_record_sign(&r, &w.node[owner].cfg.identity_secret, w.node[0].cfg.network_id);
    rep_record_write(&r, octets);
    struct rep_message claim = {.kind = REP_MESSAGE_DIGEST_ANSWER, .count = 1};
    memcpy(claim.digest[0].owner, world_key(&w, owner), CV_KEY);
    claim.digest[0].upto = 1;
    cr_assert_eq(tell(0, from, &claim), CV_ERR_OK);
    struct rep_message m = {.kind = REP_MESSAGE_RECORDS, .count = 1, .records = octets};
    cr_assert_eq(tell(0, from, &m), CV_ERR_OK);
    struct rep_message none = {.kind = REP_MESSAGE_RECORDS};
    (void)tell(0, from, &none);
    (void)tell(0, from, &none);
    return has(0, owner, 1);
}

/* Relay 1 is a neighbour of 0 like 2, which has rows with two more; one of them has
 * rows with more relays than there is room for. That is no reason to know nothing of
 * another two rows away, and of one behind that. */
static void crowd(unsigned of, unsigned close, unsigned behind) {
    world_init(&w, 6, 9, EPOCH, 1000);
    cr_assert_eq(store_of(0)->begin(store_of(0)->ctx, w.now.wall), CV_ERR_OK);
    for (uint32_t i = 0; i < REP_GOSSIP_OWNERS + 100; i++) {
        uint8_t invented[CV_KEY] = {1};
        memcpy(invented + 1, &i, sizeof i);
        row_at_0(world_key(&w, of), invented);
    }
    for (unsigned i = 1; i <= 2; i++)
        row_at_0(world_key(&w, 0), world_key(&w, i));
    row_at_0(world_key(&w, 2), world_key(&w, 3));
    row_at_0(world_key(&w, 2), world_key(&w, 5));
    row_at_0(world_key(&w, close), world_key(&w, behind));
    cr_assert_eq(store_of(0)->commit(store_of(0)->ctx), CV_ERR_OK);
    world_crash(&w, 0);
    for (unsigned i = 1; i <= 2; i++)
        world_join(&w, 0, i);
    cr_expect(takes(2, close), "two rows away, crowd of %u", of);
    cr_expect(takes(2, behind), "three rows away, crowd of %u", of);
    world_done(&w);
}

Test(rep_gossip, a_crowd_takes_no_places_of_others) {
    crowd(1, 3, 4);
    crowd(3, 5, 4); /* in whatever order 3 and 5 are known */
    crowd(5, 3, 4);
}

Test(rep_gossip, a_proof_goes_on_to_everybody_once_and_a_false_one_to_nobody) {
    line(6, 5);
    struct rep_fork f = forged(5, 4), bad = f;
    uint8_t two[2 * REP_RECORD];
    struct rep_message m = {.kind = REP_MESSAGE_FORK, .ttl = REP_FORK_TTL, .records = two};
    bad.b[150] ^= 1;
    memcpy(two, &bad, sizeof two);
    cr_expect_eq(tell(1, 0, &m), CV_ERR_AUTH);
    cr_expect_eq(forks(1), 0);
    memcpy(two, f.a, REP_RECORD);
    memcpy(two + REP_RECORD, f.a, REP_RECORD);
    cr_expect_neq(tell(1, 0, &m), CV_ERR_OK, "the same half-block twice");
    cr_expect_eq(forks(1), 0);

    memcpy(two, &f, sizeof two);
    cr_expect_eq(tell(1, 0, &m), CV_ERR_OK);
    cr_expect_eq(tell(1, 0, &m), CV_ERR_EXIST);
    world_run(&w, w.now.mono + CV_SEC(2));
    for (unsigned i = 1; i <= 4; i++)
        cr_expect_eq(forks(i), 1, "relay %u", i);
    cr_expect_eq(w.node[4].banned[5], 1, "its neighbour goes on with it");
    world_done(&w);
}

/* Proofs are kept for good: who invents forgers fills nobody's disk, and cannot keep
 * away what is proved of relays that are known. */
Test(rep_gossip, invented_forgers_are_few) {
    line(5, 8);
    uint8_t two[2 * REP_RECORD];
    struct rep_message m = {.kind = REP_MESSAGE_FORK, .records = two};
    for (unsigned i = 0; i < 2 * REP_FORKS_STRANGE; i++) {
        struct cv_ed25519_secret invented;
        person(100 + i, &invented);
        struct rep_fork f = forged_by(&invented, 0);
        memcpy(two, &f, sizeof two);
        cr_expect_eq(tell(1, 0, &m), i < REP_FORKS_STRANGE ? CV_ERR_OK : CV_ERR_LIMIT, "%u", i);
    }
    cr_expect_eq(forks(1), REP_FORKS_STRANGE);
    struct rep_fork f = forged(3, 2);
    memcpy(two, &f, sizeof two);
    cr_expect_eq(tell(1, 0, &m), CV_ERR_OK, "a relay that is known");
    world_done(&w);
}

Test(rep_gossip, a_proof_about_ourselves_is_not_taken) {
    line(3, 6);
    struct rep_fork f = forged(0, 1);
    uint8_t two[2 * REP_RECORD];
    memcpy(two, &f, sizeof two);
    struct rep_message m = {.kind = REP_MESSAGE_FORK, .records = two};
    cr_expect_eq(tell(0, 1, &m), CV_ERR_DENIED);
    cr_expect_eq(forks(0), 0);
    world_done(&w);
}

Test(rep_gossip, a_new_neighbour_hears_of_forgers) {
    line(4, 7);
    struct rep_fork f = forged(3, 2);
    uint8_t two[2 * REP_RECORD];
    memcpy(two, &f, sizeof two);
    struct rep_message m = {.kind = REP_MESSAGE_FORK, .ttl = 0, .records = two};
    cr_assert_eq(tell(1, 2, &m), CV_ERR_OK);
    world_run(&w, w.now.mono + CV_SEC(1));
    cr_expect_eq(forks(0), 0, "ttl 0 goes on");
    world_down(&w, 0, 1);
    world_down(&w, 1, 0);
    world_join(&w, 0, 1);
    world_run(&w, w.now.mono + CV_SEC(1));
    cr_expect_eq(forks(0), 1);
    world_done(&w);
}
