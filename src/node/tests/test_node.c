/* The node from inside: events that must not be lost, handles of swarms, who a
 * datagram of MAIN is for, days of relay keys. */
#include <stdio.h>
#include <string.h>

#include "crypto/dnssec.h"
#include "crypto/hash.h"
#include "crypto/keys.h"
#include "crypto/rng_seeded.h"
#include "node/recordings.h"
#include "node/state.h"
#include "node/tests/empty_store.h"
#include "ppsp/engine.h"
#include "reputation/ledger_internal.h"
#include "reputation/store_memory.h"
#include "support/suite.h"
#include "tunnel/hiddenstate.h"
#include "tunnel/relaycmd.h"

CV_SUITE(node_node);

static struct cv_rng_seeded dice;
static struct cv_rng rng;

static struct node *make(bool relay, int64_t wall) {
    struct node_config cfg = {.loopback = true, .main_family = 4, .direct = true, .relay = relay};
    uint8_t seed[CV_KEY] = {7};
    struct node *n = NULL;
    cv_rng_seeded_init(&dice, 1);
    rng = cv_rng_seeded(&dice);
    node_network_id("test", cfg.network_id);
    cv_ed25519_from_seed(&cfg.identity_secret, seed);
    if (relay) {
        cr_assert_eq(cv_addr_parse("127.0.0.1:4000", &cfg.relay_addrs[0]), CV_ERR_OK);
        cfg.relay_addrs_count = 1;
    }
    cr_assert_eq(node_new(&cfg, &rng, (struct cv_now){.mono = 1000, .wall = wall}, &n), CV_ERR_OK);
    struct node_event ev;
    while (node_poll_event(n, &ev))
        ;
    return n;
}

Test(node_node, every_engine_of_swarms_sends_as_the_node_was_told_to) {
    for (unsigned plus = 0; plus < 2; plus++) {
        struct node *n = make(false, 1000000);
        n->cfg.ledbat_plus = plus;
        for (enum node_swarm_mode m = NODE_SWARM_HIDDEN; m <= NODE_SWARM_DIRECT; m++) {
            struct ppsp *p = node_swarm_engine(n, m);
            cr_expect_eq(p->config.ledbat_plus, plus, "mode %u", m);
            ppsp_free(p);
        }
        node_free(n);
    }
}

/* One measure for all engines; none where nothing leaves the machine, or nobody asked. */
Test(node_node, a_part_of_our_line_is_spared_where_there_is_a_line) {
    static const struct {
        bool loopback, spare, measured;
    } rows[] = {{false, true, true}, {true, true, false}, {false, false, false}};
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct node *n = make(false, 1000000);
        n->cfg.loopback = rows[i].loopback;
        n->cfg.spare_upstream = rows[i].spare;
        for (enum node_swarm_mode m = NODE_SWARM_HIDDEN; m <= NODE_SWARM_OPEN; m++) {
            struct ppsp *p = node_swarm_engine(n, m);
            cr_expect_eq(p->config.upstream, rows[i].measured ? &n->upstream : NULL, "row %u", i);
            ppsp_free(p);
        }
        node_free(n);
    }
}

/* Who broadcasts cannot wait for the rest of the line, and what a constant rate leaves unused
 * nobody else can have. */
Test(node_node, a_source_and_a_constant_rate_have_no_limit_that_nobody_gave) {
    static const struct {
        uint8_t kind, rate;
        bool complete;
        uint64_t given, limit;
    } rows[] = {
        {NODE_URI_VOD, 0, true, 0, 0},
        {NODE_URI_VOD, 0, false, 0, 0},
        {NODE_URI_VOD, 0, true, 5000, 5000},
        {NODE_URI_VOD, 0, true, PPSP_UNLIMITED, PPSP_UNLIMITED},
        {NODE_URI_VOD, 4, true, 0, PPSP_UNLIMITED},
        {NODE_URI_VOD, 4, false, 5000, 5000},
        {NODE_URI_LIVE, 0, false, 0, 0}, /* a viewer */
        {NODE_URI_LIVE, 0, true, 0, PPSP_UNLIMITED},
        {NODE_URI_LIVE, 0, true, 5000, 5000},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct node_swarm_config c = {.uri.kind = rows[i].kind,
                                      .constant_rate = rows[i].rate,
                                      .complete = rows[i].complete,
                                      .upload_limit = rows[i].given};
        cr_expect_eq(node_upstream_limit(&c), rows[i].limit, "row %u", i);
    }
}

/* What is learned anew when it is damaged: the node starts, and says which it was. */
Test(node_node, says_what_of_the_saved_is_lost) {
    static const struct {
        enum node_saved which;
        const char *octets;
        size_t len;
        bool lost;
    } rows[] = {
        {NODE_SAVED_DHT, "CVD1", 4, true},       {NODE_SAVED_DESCRIPTOR, "", 1, true},
        {NODE_SAVED_UPSTREAM, "\1\1a", 3, true}, {NODE_SAVED_UPSTREAM, "\1\0", 2, false},
        {NODE_SAVED_KINDS, NULL, 0, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct node_config cfg = {.main_family = 4, .relay = true, .spare_upstream = true};
        struct node *n = NULL;
        uint8_t seed[CV_KEY] = {7};
        cv_rng_seeded_init(&dice, 1);
        rng = cv_rng_seeded(&dice);
        cv_ed25519_from_seed(&cfg.identity_secret, seed);
        cr_assert_eq(cv_addr_parse("9.9.9.9:4000", &cfg.relay_addrs[0]), CV_ERR_OK);
        cfg.relay_addrs_count = 1;
        if (rows[i].which < NODE_SAVED_KINDS)
            cfg.saved[rows[i].which] =
                (struct node_blob){(const uint8_t *)rows[i].octets, rows[i].len};
        cr_assert_eq(node_new(&cfg, &rng, (struct cv_now){.mono = 1000, .wall = 1000000}, &n),
                     CV_ERR_OK);
        for (enum node_saved which = 0; which < NODE_SAVED_KINDS; which++)
            cr_expect_eq(node_saved_is_lost(n, which), rows[i].lost && which == rows[i].which,
                         "row %zu: %d", i, (int)which);
        node_free(n);
    }
}

/* It hurries in what concerns itself; what others' privacy rests on it does not. */
Test(node_node, a_relay_may_start_quickly_on_any_network) {
    static const char *const networks[] = {"test", "culvert"};
    for (unsigned i = 0; i < 2; i++) {
        struct rep_store_memory *ledger = rep_store_memory_new();
        struct node *like = make(true, 1000000), *n = NULL;
        struct node_config cfg = like->cfg;
        cfg.quick_start = true;
        cfg.ledger_store = rep_store_memory_ops(ledger);
        node_network_id(networks[i], cfg.network_id);
        enum cv_err err = node_new(&cfg, &rng, (struct cv_now){.mono = 1000, .wall = 1000000}, &n);
        cr_expect_eq(err, CV_ERR_OK, "%s: %s", networks[i], cv_strerror(err));
        node_free(n);
        node_free(like);
        rep_store_memory_free(ledger);
    }
}

/* Owners of circuits are told by each engine at its pace, and none has much more than the others.
 */
Test(node_node, circuits_end_in_a_time_that_is_known) {
    cr_expect_eq(node_drop_takes(0, 1), 0);
    cr_expect_eq(node_drop_takes(TUN_ENDINGS_BURST, 16), 0);
    cr_expect_eq(node_drop_takes(50000, 1), CV_SEC(20));
    cr_expect_eq(node_drop_takes(50000, 2), CV_SEC(20));
    cr_expect_eq(node_drop_takes(50000, 4), CV_SEC(10));
    cr_expect_geq(node_drop_takes(UINT32_MAX, 3), CV_SEC(1000000));
}

Test(node_node, who_hides_where_its_circuits_leave_from_asks_for_no_tokens) {
    for (unsigned elsewhere = 0; elsewhere < 2; elsewhere++) {
        struct rep_store_memory *ledger = rep_store_memory_new();
        struct node *like = make(true, 1000000), *n = NULL;
        struct node_config cfg = like->cfg;
        struct cv_now now = {.mono = 1000, .wall = 1000000};
        cfg.ledger_store = rep_store_memory_ops(ledger);
        cfg.own_elsewhere = elsewhere;
        cr_assert_eq(node_new(&cfg, &rng, now, &n), CV_ERR_OK);
        for (unsigned i = 0; i < 5; i++) {
            now.mono += CV_SEC(61);
            node_on_timeout(n, now);
        }
        cr_expect_eq(n->priority.at == CV_USEC_NEVER, elsewhere);
        node_free(n);
        node_free(like);
        rep_store_memory_free(ledger);
    }
}

/* --own, or a second interface: no less this machine than the address in the descriptor. */
Test(node_node, an_exit_calls_no_address_of_its_machine) {
    static const struct {
        const char *to;
        bool ok;
    } rows[] = {
        {"127.0.0.9:7000", false}, /* where it listens */
        {"127.7.7.9:7000", false},
        {"127.8.8.9:7000", false},
        {"127.9.9.9:7000", true},
    };
    struct cv_addr machine[NODE_EXIT_OWN_MAX + 3] = {{.port = 0}}; /* more than there is room for */
    cr_assert_eq(cv_addr_parse("127.7.7.7:1", &machine[0]), CV_ERR_OK);
    cr_assert_eq(cv_addr_parse("127.8.8.8:1", &machine[1]), CV_ERR_OK);
    for (size_t i = 2; i < sizeof machine / sizeof *machine; i++)
        machine[i] = machine[0];
    struct rep_store_memory *ledger = rep_store_memory_new();
    struct node *like = make(true, 1000000), *n = NULL;
    struct node_config cfg = like->cfg;
    cfg.ledger_store = rep_store_memory_ops(ledger);
    cfg.exit = true;
    cfg.machine_addrs = machine;
    cfg.machine_addrs_count = sizeof machine / sizeof *machine;
    cr_assert_eq(node_new(&cfg, &rng, (struct cv_now){.mono = 1000, .wall = 1000000}, &n),
                 CV_ERR_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cv_addr to;
        cr_assert_eq(cv_addr_parse(rows[i].to, &to), CV_ERR_OK);
        cr_expect_eq(node_exit_may_call(n, &to), rows[i].ok, "%s", rows[i].to);
    }
    node_free(n);
    node_free(like);
    rep_store_memory_free(ledger);
}

/* ---- where we stand ---- */

Test(node_node, where_we_stand_follows_what_own_circuits_gave_and_took) {
    struct node *n = make(false, 1000000);
    struct node_status st;
    struct cv_now now = {.mono = 2000, .wall = 1000000};
    static const struct {
        int64_t after;
        uint64_t gave, took;
        enum node_standing stands;
    } steps[] = {
        {0, 0, 0, NODE_STANDS_NEW},
        {10, 4 << 20, 3 << 20, NODE_STANDS_GIVER},
        {70, 0, 200 << 20, NODE_STANDS_NEW},
        {3700, 0, 1 << 20, NODE_STANDS_DEBT},
        {3800, 300 << 20, 0, NODE_STANDS_GIVER},
    };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        now.wall = 1000000 + steps[i].after;
        node_accounts_own(n, now, steps[i].gave, steps[i].took);
        node_status(n, &st);
        cr_expect_eq(st.stands, steps[i].stands, "step %zu: %d", i, (int)st.stands);
    }
    cr_expect(st.own_account);
    cr_expect_eq(st.own_given, UINT64_C(304) << 20);
    cr_expect_eq(st.own_taken, UINT64_C(204) << 20);
    cr_expect_eq(st.own_since, 1000000 / 86400 * 86400);
    cr_expect_eq(st.tokens, 0);
    /* Each change is explained, the newest first. */
    static const uint8_t causes[] = {REP_BECAUSE_GIVES, REP_BECAUSE_OWES, REP_BECAUSE_GIVES_LESS,
                                     REP_BECAUSE_GIVES};
    struct rep_why row;
    for (size_t i = 0; i < sizeof causes; i++) {
        cr_assert(node_own_row(n, i, &row));
        cr_expect_eq(row.cause, causes[i], "row %zu: %s", i, rep_why_text(row.cause));
    }
    cr_expect(!node_own_row(n, sizeof causes, &row));
    node_free(n);
}

/* What a SAVE event said last of our own account, or nothing. */
static size_t kept_account(struct node *n, uint8_t ret[NODE_OWN_SAVED]) {
    struct node_event ev;
    size_t len = 0;
    while (node_poll_event(n, &ev))
        if (ev.kind == NODE_EVENT_SAVE && ev.u.save.which == NODE_SAVED_OWN) {
            len = ev.u.save.len;
            memcpy(ret, ev.u.save.data, len);
        }
    return len;
}

/* The same node, later, with what was kept; `seed` of its key. */
static struct node *again(uint8_t seed, int64_t wall, const uint8_t *data, size_t len,
                          const struct rep_store *ledger) {
    struct node *like = make(ledger != NULL, wall), *n = NULL;
    struct node_config cfg = like->cfg;
    uint8_t octets[CV_KEY] = {seed};
    cv_ed25519_from_seed(&cfg.identity_secret, octets);
    cfg.ledger_store = ledger;
    cfg.saved[NODE_SAVED_OWN] = (struct node_blob){data, len};
    cr_assert_eq(node_new(&cfg, &rng, (struct cv_now){.mono = 1000, .wall = wall}, &n), CV_ERR_OK);
    node_free(like);
    return n;
}

Test(node_node, our_own_account_lasts) {
    struct node *n = make(false, 1000000);
    struct node_status st;
    struct rep_why row;
    uint8_t kept[NODE_OWN_SAVED];
    struct cv_now now = {.mono = 2000, .wall = 1000000};
    node_save(n);
    cr_expect_eq(kept_account(n, kept), 0, "nothing to keep");
    node_accounts_own(n, now, 1 << 19, 0);
    cr_expect_eq(kept_account(n, kept), 0, "it can wait for the rest");
    node_accounts_own(n, now, 4 << 20, 0);
    size_t len = kept_account(n, kept);
    cr_expect_gt(len, 0, "the class changed: at once");
    node_accounts_own(n, now, 0, 1 << 20);
    cr_expect_eq(kept_account(n, kept), 0);
    node_save(n);
    len = kept_account(n, kept);
    cr_expect_gt(len, 0);
    node_free(n);

    /* Again and again: giving alone, nothing falls. */
    for (unsigned i = 0; i < 3; i++) {
        now.wall = 1000000 + 86400 * (i + 1);
        n = again(7, now.wall, kept, len, NULL);
        node_status(n, &st);
        cr_expect_eq(st.own_given, (uint64_t)(9 + 2 * i) << 19, "run %u", i);
        cr_expect_eq(st.own_taken, UINT64_C(1) << 20);
        cr_expect_eq(st.stands, NODE_STANDS_GIVER);
        cr_expect_eq(st.own_since, 1000000 / 86400 * 86400);
        cr_assert(node_own_row(n, 0, &row));
        cr_expect_eq(row.cause, REP_BECAUSE_GIVES);
        cr_expect(!node_own_row(n, 1, &row));
        node_accounts_own(n, now, 1 << 20, 0);
        node_save(n);
        len = kept_account(n, kept);
        node_free(n);
    }

    /* Thirty days on: only where the day is known to be right. */
    now.wall += 40 * 86400;
    n = again(7, now.wall, kept, len, NULL);
    node_save(n);
    node_status(n, &st);
    cr_expect_eq(st.own_given, UINT64_C(15) << 19, "a clock may be wrong");
    n->client_ready = true;
    node_save(n);
    node_status(n, &st);
    cr_expect_eq(st.own_given, 0);
    cr_expect_eq(st.stands, NODE_STANDS_NEW);
    cr_assert(node_own_row(n, 0, &row));
    cr_expect_eq(row.cause, REP_BECAUSE_FORGOTTEN);
    cr_expect_gt(kept_account(n, kept), 0, "on disk, too");
    node_free(n);
}

Test(node_node, an_account_that_is_not_to_be_had_begins_anew_and_says_why) {
    struct node *n = make(false, 1000000);
    struct node_status st;
    struct rep_why row;
    uint8_t kept[NODE_OWN_SAVED], bad[NODE_OWN_SAVED];
    node_accounts_own(n, (struct cv_now){.mono = 2000, .wall = 1000000}, 4 << 20, 0);
    size_t len = kept_account(n, kept);
    cr_assert_gt(len, 4);
    memcpy(bad, kept, len);
    node_free(n);
    const struct {
        uint8_t seed;
        size_t at, len;
        uint8_t octet;
        enum cv_err said;
        enum rep_why_cause why;
    } rows[] = {
        {7, 20, len, 77, CV_ERR_CORRUPT, REP_BECAUSE_UNREADABLE},
        {7, 3, len, '2', CV_ERR_VERSION, REP_BECAUSE_UNREADABLE},
        {7, 0, 0, kept[0], CV_ERR_CORRUPT, REP_BECAUSE_UNREADABLE},
        {8, 0, len, kept[0], CV_ERR_OK, REP_BECAUSE_OTHER_KEY},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        memcpy(bad, kept, len);
        bad[rows[i].at] = rows[i].octet;
        struct node_blob blob = {bad, rows[i].len};
        cr_expect_eq(node_saved_check(NODE_SAVED_OWN, &blob), rows[i].said, "row %zu", i);
        n = again(rows[i].seed, 1000000, bad, rows[i].len, NULL);
        node_status(n, &st);
        cr_expect_eq(st.own_given, 0);
        cr_expect_eq(st.stands, NODE_STANDS_NEW);
        cr_assert(node_own_row(n, 0, &row));
        cr_expect_eq(row.cause, rows[i].why, "row %zu: %s", i, rep_why_text(row.cause));
        node_free(n);
    }
}

/* Its circuits name nobody: what they gave and took is nobody's business, not even a disk's. */
Test(node_node, a_relay_keeps_no_account_of_itself) {
    struct rep_store_memory *ledger = rep_store_memory_new();
    uint8_t kept[NODE_OWN_SAVED], before[NODE_OWN_SAVED];
    struct node_status st;
    struct rep_why row;
    struct cv_now now = {.mono = 2000, .wall = 1000000};
    struct node *n = again(7, now.wall, NULL, 0, rep_store_memory_ops(ledger));
    node_accounts_own(n, now, 4 << 20, 1 << 20);
    node_save(n);
    node_status(n, &st);
    cr_expect_eq(kept_account(n, kept), 0);
    cr_expect_eq(st.own_given, UINT64_C(4) << 20, "since the start");
    cr_expect_eq(st.own_taken, UINT64_C(1) << 20);
    node_free(n);

    /* One from when it was none stays as it is until it is forgotten. */
    n = make(false, now.wall);
    node_accounts_own(n, now, 4 << 20, 0);
    size_t len = kept_account(n, before);
    node_free(n);
    n = again(7, now.wall, before, len, rep_store_memory_ops(ledger));
    node_accounts_own(n, now, 0, 200 << 20);
    node_save(n);
    node_status(n, &st);
    cr_expect_eq(st.own_given, 0);
    cr_expect_eq(st.own_since, 0);
    cr_expect(!node_own_row(n, 0, &row));
    cr_assert_eq(kept_account(n, kept), len);
    cr_expect_arr_eq(kept, before, len);
    node_free(n);
    rep_store_memory_free(ledger);
}

/* A relay has no account with its first hops, and says why its ledger stopped. */
Test(node_node, where_a_relay_stands) {
    static const enum cv_err rows[] = {CV_ERR_OK, CV_ERR_DIFFERS, CV_ERR_STORE};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rep_store_memory *ledger = rep_store_memory_new();
        struct node *like = make(true, 1000000), *n = NULL;
        struct node_config cfg = like->cfg;
        struct cv_now now = {.mono = 1000, .wall = 1000000};
        struct node_status st;
        cfg.ledger_store = rep_store_memory_ops(ledger);
        cr_assert_eq(node_new(&cfg, &rng, now, &n), CV_ERR_OK);
        node_accounts_own(n, now, 4 << 20, 0);
        if (rows[i])
            rep_ledger_fail(n->ledger, rows[i]);
        node_on_timeout(n, now);
        node_status(n, &st);
        cr_expect(!st.own_account);
        cr_expect_eq(st.stands, NODE_STANDS_NEW, "whatever its own circuits gave");
        cr_expect_eq(st.ledger_failed, rows[i], "%s", cv_strerror(st.ledger_failed));
        node_free(n);
        node_free(like);
        rep_store_memory_free(ledger);
    }
}

/* ---- events ---- */

Test(node_node, what_must_not_be_lost_is_there_after_a_flood) {
    struct node *n = make(false, 1000000);
    struct node_event ev, ready = {.kind = NODE_EVENT_CHUNKS_READY, .swarm = 1};
    for (uint64_t i = 0; i < 3000; i++) {
        ready.u.range.first = (i * 7 % 3000) * 1024;
        ready.u.range.last = ready.u.range.first + 1023;
        node_event_push(n, &ready);
        node_event_push(n, &(struct node_event){.kind = NODE_EVENT_PEER_UP, .swarm = 1});
    }
    node_event_push(n, &(struct node_event){.kind = NODE_EVENT_COMPLETE, .swarm = 1});
    node_event_save(n, NODE_SAVED_GUARDS, "abc", 3);
    node_event_save(n, NODE_SAVED_DESCRIPTOR, "d", 1);
    for (uint64_t s = 2; s <= NODE_SWARMS_MAX; s++)
        for (int twice = 0; twice < 2; twice++) {
            ready.swarm = s;
            node_event_push(n, &ready);
            node_event_push(n, &(struct node_event){.kind = NODE_EVENT_STORE_ERROR, .swarm = s});
            node_event_push(n, &(struct node_event){.kind = NODE_EVENT_COMPLETE, .swarm = s});
        }

    uint64_t low = UINT64_MAX, high = 0, complete = 0, saves = 0, swarms = 0;
    while (node_poll_event(n, &ev)) {
        if (ev.kind == NODE_EVENT_CHUNKS_READY && ev.swarm == 1) {
            low = ev.u.range.first < low ? ev.u.range.first : low;
            high = ev.u.range.last > high ? ev.u.range.last : high;
        }
        swarms += ev.kind == NODE_EVENT_CHUNKS_READY && ev.swarm != 1;
        complete += ev.kind == NODE_EVENT_COMPLETE;
        saves += ev.kind == NODE_EVENT_SAVE;
    }
    cr_expect_eq(low, 0);
    cr_expect_eq(high, 3000 * 1024 - 1);
    cr_expect_eq(complete, NODE_SWARMS_MAX);
    cr_expect_eq(swarms, NODE_SWARMS_MAX - 1);
    cr_expect_eq(saves, 2);
    node_free(n);
}

Test(node_node, the_newest_of_what_is_to_be_saved_replaces_what_waits) {
    struct node *n = make(false, 1000000);
    struct node_event ev;
    node_event_save(n, NODE_SAVED_GUARDS, "old", 3);
    node_event_save(n, NODE_SAVED_GUARDS, "newer", 5);
    cr_assert(node_poll_event(n, &ev));
    cr_expect_eq(ev.u.save.len, 5);
    cr_expect_arr_eq(ev.u.save.data, "newer", 5);
    cr_expect(!node_poll_event(n, &ev));
    node_free(n);
}

/* ---- swarms ---- */

static struct node_swarm_config swarm(const struct node *n, uint8_t id) {
    struct node_swarm_config c = {.uri = {.integrity = PPSP_INTEGRITY_MERKLE,
                                          .hash = CV_SHA256,
                                          .addressing = PPSP_ADDRESSING_CHUNK32,
                                          .chunk_size = 1024,
                                          .swarm_id = {id},
                                          .swarm_id_len = 32,
                                          .length = 100000},
                                  .store = &empty_store,
                                  .mode = NODE_SWARM_DIRECT};
    memcpy(c.uri.network_id, n->cfg.network_id, sizeof c.uri.network_id);
    return c;
}

Test(node_node, a_handle_never_names_a_later_swarm) {
    struct node *n = make(false, 1000000);
    struct cv_now now = n->now;
    struct node_swarm_config c = swarm(n, 1);
    cv_handle first, second;
    uint64_t want;
    uint8_t buf[16];
    cr_assert_eq(node_swarm_open(n, now, &c, &first), CV_ERR_OK);
    cr_expect_neq(first, 0);
    cr_expect_eq(node_swarm_open(n, now, &c, &second), CV_ERR_EXIST);
    c.mode = NODE_SWARM_HIDDEN;
    cr_expect_eq(node_swarm_open(n, now, &c, &second), CV_ERR_EXIST,
                 "the modes exclude each other");
    node_swarm_close(n, now, first);
    c = swarm(n, 2);
    cr_assert_eq(node_swarm_open(n, now, &c, &second), CV_ERR_OK);
    cr_expect_neq(first, second);
    cr_expect_eq(node_want(n, now, first, 0, 1, 0, &want), CV_ERR_NOENT);
    cr_expect_eq(node_read(n, first, 0, buf, sizeof buf), CV_ERR_NOENT);
    node_swarm_close(n, now, first);
    cr_expect(node_swarm_get(n, second) != NULL, "closed through an old handle");
    cr_expect_eq(node_read(n, second, UINT64_MAX, buf, sizeof buf), CV_ERR_AGAIN);
    node_free(n);
}

static struct tun_hidden_info *hidden_info(struct node *n, cv_handle hidden) {
    struct tun_hiddens *all = tun_attached(n->client, TUN_USER_HIDDEN);
    struct tun_hidden *h = tun_handles_get(&all->swarms, hidden);
    cr_assert_not_null(h);
    return &h->info;
}

/* What a seeder asks, and what a viewer does, each in its place. */
Test(node_node, the_status_of_a_hidden_swarm_tells_of_work) {
    struct node *n = make(false, 1000000);
    struct node_swarm_config c = swarm(n, 1);
    struct node_swarm_status st;
    cv_handle h;
    c.mode = NODE_SWARM_HIDDEN;
    cr_assert_eq(node_swarm_open(n, n->now, &c, &h), CV_ERR_OK);
    cr_assert(node_swarm_status(n, 0, &st));
    cr_expect_eq(memcmp(&st.stamps, &(struct node_stamps){.asked = 0}, sizeof st.stamps), 0);
    struct node_swarm *s = node_swarm_get(n, h);
    n->client_ready = s->worth_sharing = true;
    node_swarm_retry(n, n->now);
    *hidden_info(n, s->share) = (struct tun_hidden_info){
        .seeder = true, .effort = 12, .introductions = 40, .refused = 31, .below = 29};
    *hidden_info(n, s->view) = (struct tun_hidden_info){.effort = 17, .stamps = 3};
    cr_assert(node_swarm_status(n, 0, &st));
    struct node_stamps want = {
        .asked = 12, .came = 40, .refused = 31, .below = 29, .given = 3, .given_of = 17};
    cr_expect_eq(memcmp(&st.stamps, &want, sizeof want), 0);
    node_free(n);
}

/* A way that lags when a film becomes complete, and the one met in its place, are looked at to
 * the end: else three stay. */
Test(node_node, ways_of_a_complete_film_are_looked_at) {
    struct node *n = make(false, 1000000);
    struct node_swarm_config c = swarm(n, 1);
    cv_handle h;
    c.mode = NODE_SWARM_HIDDEN;
    cr_assert_eq(node_swarm_open(n, n->now, &c, &h), CV_ERR_OK);
    struct node_swarm *s = node_swarm_get(n, h);
    n->client_ready = true;
    node_swarm_retry(n, n->now);
    struct tun_hiddens *all = tun_attached(n->client, TUN_USER_HIDDEN);
    struct tun_hidden *hidden = tun_handles_get(&all->swarms, s->view);
    cr_assert_not_null(hidden);
    for (unsigned complete = 0; complete < 2; complete++) {
        hidden->viewer->meet[0].lag.counts = true;
        s->complete = complete;
        node_route_compare(n, n->now);
        cr_expect(!hidden->viewer->meet[0].lag.counts, "complete: %u", complete);
    }
    node_free(n);
}

/* There is no place for what it says now beside what it said before. */
Test(node_node, a_pointer_that_changes_needs_no_second_place_among_hidden_swarms) {
    struct node *n = make(false, 1000000);
    struct node_swarm_config c = swarm(n, 1);
    struct cv_dnssec_secret *key;
    struct node_uri channel = {.kind = NODE_URI_LIVE, .chunk_size = 1024};
    uint8_t octets[NODE_RECORDINGS_OCTETS];
    cv_handle h, other;
    cr_assert_eq(cv_dnssec_secret_from_seed((uint8_t[CV_KEY]){1}, &key), CV_ERR_OK);
    memcpy(channel.network_id, n->cfg.network_id, sizeof channel.network_id);
    channel.swarm_id[0] = (uint8_t)cv_dnssec_alg(key);
    channel.swarm_id_len = 1 + cv_dnssec_public_of(key, channel.swarm_id + 1);
    cr_assert_eq(node_swarm_open(n, n->now, &c, &h), CV_ERR_OK);
    n->client_ready = true;
    for (unsigned turn = 0; turn < 2; turn++) {
        struct node_recordings list = {.issued = 1000000 + turn};
        node_recordings_add(&list, &c.uri, 1000000);
        cr_assert_eq(node_recordings_write(octets, &list, &channel, key), 1);
        cr_assert_eq(node_point(n, n->now, h, &channel, octets), CV_ERR_OK);
        unsigned others = 0;
        while (tun_hidden_point(n->client, &n->now, &others, sizeof others, NULL, NULL, &other) ==
               CV_ERR_OK)
            others++;
        cr_expect_eq(others, turn ? 0 : TUN_HIDDEN_MAX - 1, "turn %u: room for %u", turn, others);
        cr_expect_eq(node_recordings(n, h)->issued, list.issued);
    }
    cv_dnssec_secret_free(key);
    node_free(n);
}

/* ---- whom to serve first ---- */

/* A peer at an address that calls our direct swarm. */
static struct ppsp *caller(struct node *n, const struct cv_addr *at, const struct node_uri *uri) {
    static uint8_t arena[64 * 1500];
    struct cv_run runs[64];
    struct cv_batch b = cv_batch_init(arena, 64, 1500, 0, runs, 64);
    struct ppsp *p = ppsp_new(NULL, &rng);
    struct cv_addr here;
    cr_assert_eq(cv_addr_parse("127.0.0.1:4001", &here), CV_ERR_OK);
    struct cv_endpoint there = cv_endpoint_udp(&here);
    struct ppsp_swarm_config c = {.id_len = uri->swarm_id_len,
                                  .integrity = PPSP_INTEGRITY_MERKLE,
                                  .hash = CV_SHA256,
                                  .addressing = PPSP_ADDRESSING_CHUNK32,
                                  .chunk_size = 1024,
                                  .length = uri->length,
                                  .store = &empty_store};
    cv_handle h;
    memcpy(c.id, uri->swarm_id, c.id_len);
    cr_assert_eq(ppsp_swarm_open(p, n->now, &c, &h), CV_ERR_OK);
    struct ppsp_peer_props props = {.mtu = 1400, .initiate = true};
    cr_assert_eq(ppsp_peer_add(p, n->now, h, &there, &props), CV_ERR_OK);
    for (int i = 0; i < 3; i++) {
        cv_batch_clear(&b);
        (void)ppsp_poll_transmit(p, n->now, &b);
        for (uint32_t r = 0; r < b.runs_used; r++)
            for (uint16_t k = 0; k < runs[r].count; k++)
                node_on_datagram(n, n->now, NODE_SOCKET_DIRECT, at, cv_batch_at(&b, &runs[r], k),
                                 runs[r].size);
        cv_batch_clear(&b);
        node_poll_transmit(n, n->now, NODE_SOCKET_DIRECT, &b);
        for (uint32_t r = 0; r < b.runs_used; r++)
            for (uint16_t k = 0; k < runs[r].count && cv_addr_equal(&runs[r].to.addr, at); k++)
                (void)ppsp_on_datagram(p, n->now, &there, cv_batch_at(&b, &runs[r], k),
                                       runs[r].size);
    }
    return p;
}

static uint32_t rank_at(const struct node *n, cv_handle swarm, const struct cv_addr *at) {
    struct ppsp_peer_stats ps[8];
    const struct node_swarm *s = &n->swarms[(uint32_t)swarm];
    size_t count = ppsp_peers(s->engine, s->ppsp, ps, 8);
    for (size_t i = 0; i < count; i++)
        if (ps[i].state == PPSP_PEER_OPEN && cv_addr_equal(&ps[i].endpoint.addr, at))
            return ps[i].rank;
    cr_assert(false, "not connected");
    return 0;
}

static void link_event(struct node *n, bool up, cv_handle link, uint8_t role, const char *at) {
    struct tun_event ev = {.kind = up ? TUN_EVENT_LINK_UP : TUN_EVENT_LINK_DOWN};
    if (up) {
        ev.link_up.link = link;
        ev.link_up.role = role;
        cr_assert_eq(cv_addr_parse(at, &ev.link_up.addr), CV_ERR_OK);
    } else {
        ev.link_down.link = link;
    }
    node_accounts_on_tunnel(n, n->now, &ev);
}

Test(node_node, what_a_relay_carried_is_its_rank_in_direct_swarms) {
    struct node *n = make(false, 1000000);
    struct node_swarm_config c = swarm(n, 1);
    struct cv_addr relay, client, stranger;
    struct ppsp_stats st;
    cv_handle h;
    cr_assert_eq(cv_addr_parse("127.0.0.7:5000", &relay), CV_ERR_OK);
    cr_assert_eq(cv_addr_parse("127.0.0.8:5000", &client), CV_ERR_OK);
    cr_assert_eq(cv_addr_parse("127.0.0.9:5000", &stranger), CV_ERR_OK);
    c.upload_limit = 8 * NODE_SLOT_OCTETS_S;
    cr_assert_eq(node_swarm_open(n, n->now, &c, &h), CV_ERR_OK);
    const struct node_swarm *s = &n->swarms[(uint32_t)h];
    cr_assert_eq(ppsp_stats(s->engine, s->ppsp, &st), CV_ERR_OK);
    cr_expect_eq(st.slots, 8);

    link_event(n, true, 11, TUN_ROLE_RELAY, "127.0.0.7:4000");
    link_event(n, true, 12, TUN_ROLE_CLIENT, "127.0.0.8:4000");
    node_favour_weight(n, n->now, 11, 300);
    node_favour_weight(n, n->now, 12, 300); /* clients have no weight */
    struct ppsp *callers[] = {caller(n, &relay, &c.uri), caller(n, &client, &c.uri),
                              caller(n, &stranger, &c.uri)};
    cr_expect_eq(rank_at(n, h, &relay), 250);
    cr_expect_eq(rank_at(n, h, &client), 0);
    cr_expect_eq(rank_at(n, h, &stranger), 0);
    node_favour_weight(n, n->now, 11, 120);
    cr_expect_eq(rank_at(n, h, &relay), 70);
    link_event(n, false, 11, 0, NULL);
    cr_expect_eq(rank_at(n, h, &relay), 0);
    for (int i = 0; i < 3; i++)
        ppsp_free(callers[i]);
    node_free(n);
}

Test(node_node, slots_follow_the_upload_limit) {
    cr_expect_eq(node_favour_slots(0), 0, "everybody is served");
    cr_expect_eq(node_favour_slots(1), NODE_SLOTS_MIN);
    cr_expect_eq(node_favour_slots(10 * NODE_SLOT_OCTETS_S), 10);
    cr_expect_eq(node_favour_slots(UINT64_MAX - 1), NODE_SLOTS_MAX);
    cr_expect_eq(node_favour_slots(PPSP_UNLIMITED), 0);
}

/* A link may claim any length: looking for what is there must not take longer. */
Test(node_node, nothing_is_found_in_no_time_in_a_link_of_terabytes, .timeout = 600) {
    struct node *n = make(false, 1000000);
    struct node_swarm_config c = swarm(n, 1);
    uint64_t first, last;
    cv_handle h;
    c.uri.length = (uint64_t)1 << 41; /* as much as 32-bit chunk numbers name */
    cr_assert_eq(node_swarm_open(n, n->now, &c, &h), CV_ERR_OK);
    for (int i = 0; i < 1000; i++)
        cr_expect_not(node_range(n, h, (uint64_t)i << 30, &first, &last));
    cr_expect_not(node_range(n, h, c.uri.length, &first, &last));
    node_free(n);
}

Test(node_node, what_a_link_says_is_checked) {
    struct node *n = make(false, 1000000);
    struct node_swarm_config c;
    cv_handle h;
    static const uint32_t sizes[] = {1, 65537, 1u << 31, UINT32_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        c = swarm(n, 1);
        c.uri.chunk_size = sizes[i];
        cr_expect_eq(node_swarm_open(n, n->now, &c, &h), CV_ERR_INVAL, "chunks of %u", sizes[i]);
    }
    c = swarm(n, 1);
    c.uri.swarm_id_len = 31;
    cr_expect_eq(node_swarm_open(n, n->now, &c, &h), CV_ERR_INVAL);
    c = swarm(n, 1);
    c.uri.hash = 200;
    cr_expect_eq(node_swarm_open(n, n->now, &c, &h), CV_ERR_INVAL);
    c = swarm(n, 1);
    c.uri.network_id[0] ^= 1;
    cr_expect_eq(node_swarm_open(n, n->now, &c, &h), CV_ERR_DIFFERS);
    c = swarm(n, 1);
    c.uri.length = UINT64_MAX;
    cr_expect_neq(node_swarm_open(n, n->now, &c, &h), CV_ERR_OK);
    node_free(n);
}

/* ---- which engine ---- */

Test(node_node, a_datagram_of_main_is_the_tunnels_or_the_dhts) {
    uint8_t b[TUN_DATAGRAM + 1];
    memset(b, 'x', sizeof b);
    struct node *n = make(true, 1000000), *plain = make(false, 1000000);
    cr_expect(node_demux_is_tunnel(n, b, TUN_DATAGRAM));
    cr_expect(!node_demux_is_tunnel(plain, b, TUN_DATAGRAM), "who carries nobody has no links");
    cr_expect(!node_demux_is_tunnel(n, b, TUN_DATAGRAM - 1));
    cr_expect(!node_demux_is_tunnel(n, b, TUN_DATAGRAM + 1));
    cr_expect(!node_demux_is_tunnel(n, b, 0));
    b[0] = 'd';
    cr_expect(node_demux_is_tunnel(n, b, TUN_DATAGRAM));
    b[TUN_DATAGRAM - 1] = 'e';
    cr_expect(!node_demux_is_tunnel(n, b, TUN_DATAGRAM), "bencoded");

    /* Nothing of any length stops a node, on any socket. */
    struct cv_addr from;
    cr_assert_eq(cv_addr_parse("127.0.0.1:9", &from), CV_ERR_OK);
    for (size_t len = 0; len <= TUN_DATAGRAM; len++) {
        memset(b, (int)len, sizeof b);
        if (len % 3 == 0 && len > 1) {
            b[0] = 'd';
            b[len - 1] = 'e';
        }
        for (enum node_socket s = NODE_SOCKET_MAIN; s < NODE_SOCKETS; s++)
            node_on_datagram(n, n->now, s, &from, b, len);
    }
    node_on_timeout(n, (struct cv_now){.mono = 2000000, .wall = 1000001});
    node_free(n);
    node_free(plain);
}

/* ---- days ---- */

Test(node_node, any_clock_will_do) {
    static const int64_t walls[] = {0,     1,     3 * 3600 - 1, 3 * 3600,     21 * 3600,
                                    86399, 86400, -1,           -86400 * 400, 1LL << 40};
    for (size_t i = 0; i < sizeof walls / sizeof *walls; i++) {
        struct node *n = make(true, walls[i]);
        node_discovery_on_dht(n, n->now, &(struct dht_event){.kind = DHT_EVENT_READY});
        node_discovery_need(n, n->now, false, 3);
        for (int step = 1; step < 50; step++)
            node_on_timeout(
                n, (struct cv_now){.mono = (cv_usec)step * 500000, .wall = walls[i] + step});
        node_free(n);
    }
}

static unsigned announcing(int64_t wall) {
    struct node *n = make(true, wall);
    unsigned count = 0;
    node_discovery_on_dht(n, n->now, &(struct dht_event){.kind = DHT_EVENT_READY});
    n->announce_at = 0;
    node_discovery_on_timeout(n, n->now);
    for (size_t i = 0; i < NODE_ANNOUNCES_MAX; i++)
        count += n->announce_ops[i] != 0;
    node_free(n);
    return count;
}

Test(node_node, two_days_are_announced_while_they_overlap) {
    int64_t day = 20000LL * 86400;
    cr_expect_eq(announcing(day + 21 * 3600 - 1), 3);
    cr_expect_eq(announcing(day + 21 * 3600), 6);
    cr_expect_eq(announcing(day + 86400), 6);
    cr_expect_eq(announcing(day + 3 * 3600 - 1), 6);
    cr_expect_eq(announcing(day + 3 * 3600), 3);
    cr_expect_eq(announcing(day + 12 * 3600), 3);
}

/* ---- part of the DHT or only its guest ---- */

/* Every DHT datagram that leaves: how many questions, with and without `ro`, and
 * answers. */
struct left {
    unsigned questions, read_only, answers;
};

static bool ends_with(const uint8_t *b, size_t len, const char *end) {
    size_t n = strlen(end);
    return len >= n && memcmp(b + len - n, end, n) == 0;
}

static struct left leave(struct node *n, struct cv_now now) {
    static uint8_t arena[64 * TUN_DATAGRAM];
    struct cv_run runs[64];
    struct left l = {0};
    for (enum node_socket socket = NODE_SOCKET_MAIN; socket < NODE_SOCKETS; socket++) {
        struct cv_batch batch = cv_batch_init(arena, 64, TUN_DATAGRAM, 0, runs, 64);
        node_poll_transmit(n, now, socket, &batch);
        for (uint32_t i = 0; i < batch.runs_used; i++)
            for (uint16_t k = 0; k < runs[i].count; k++) {
                const uint8_t *b = cv_batch_at(&batch, &runs[i], k);
                bool question = ends_with(b, runs[i].size, "1:y1:qe");
                l.questions += question;
                l.read_only += question && memmem(b, runs[i].size, "2:roi1e", 7);
                l.answers += ends_with(b, runs[i].size, "1:y1:re");
            }
    }
    return l;
}

/* One of loopback with a contact, after a second, once it has been asked. */
static struct left asked(bool relay) {
    static const char ping[] = "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
    struct node *n = make(relay, 1000000);
    struct cv_now now = n->now;
    struct cv_addr from;
    cr_assert_eq(cv_addr_parse("127.0.0.1:9", &from), CV_ERR_OK);
    cr_assert_eq(dht_bootstrap_add(n->dht, now, &from), CV_ERR_OK);
    now.mono += 1000000;
    node_on_timeout(n, now);
    node_on_datagram(n, now, NODE_SOCKET_MAIN, &from, (const uint8_t *)ping, strlen(ping));
    struct left l = leave(n, now);
    node_free(n);
    return l;
}

Test(node_node, who_does_not_relay_only_reads_the_dht) {
    struct left relay = asked(true), viewer = asked(false);
    cr_expect_geq(relay.questions, 1);
    cr_expect_eq(relay.read_only, 0);
    cr_expect_eq(relay.answers, 1);
    cr_expect_geq(viewer.questions, 1);
    cr_expect_eq(viewer.read_only, viewer.questions);
    cr_expect_eq(viewer.answers, 0, "who answers is in others' tables");
}

/* ---- work for others' circuits ---- */

static unsigned errands(const struct node *n) {
    unsigned count = 0;
    for (size_t i = 0; i < NODE_ERRANDS_MAX; i++)
        count += n->errands[i].op != 0;
    return count;
}

/* A new circuit over a link with `from` asks for four keys, twice: how many it gets. */
static unsigned ask(struct node *n, const char *from, cv_handle hop) {
    static const uint8_t keys[TUN_LOOKUP_KEYS_MAX * CV_KEY] = {1};
    unsigned before = errands(n);
    uint8_t body[TUN_DATAGRAM];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    struct tun_lookup m = {.kind = TUN_LOOKUP_ITEMS, .n = TUN_LOOKUP_KEYS_MAX, .keys = keys};
    tun_lookup_write(&w, &m);
    struct tun_event ev = {.kind = TUN_EVENT_REQUEST,
                           .request = {.hop = hop,
                                       .command = TUN_CMD_LOOKUP,
                                       .body = body + 4, /* without the transaction */
                                       .len = cv_wr_len(&w) - 4}};
    cr_assert_eq(cv_addr_parse(from, &ev.request.from), CV_ERR_OK);
    for (unsigned i = 0; i < 2; i++)
        node_discovery_on_request(n, n->now, &ev);
    return errands(n) - before;
}

/* A link makes 50 circuits a second: without a share of its network's all DHT work of a relay
 * would be for one neighbour. */
Test(node_node, no_network_has_all_errands, .init = cv_crypto_init) {
    static const struct {
        const char *name, *a, *b, *c;
        unsigned of_a, of_b;
    } rows[] = {
        {"IPv4", "203.1.113.7:4000", "203.1.99.9:4001", "198.52.100.2:4000", 64, 0},
        {"IPv6", "[2a00:db8:1::1]:4000", "[2a00:db8:ffff::2]:4000", "[2a00:db9::1]:4000", 64, 0},
        {"one machine", "127.0.0.1:4000", "127.0.0.1:4001", "127.0.0.1:4002", 64, 48},
        {"one private network", "10.0.0.1:4000", "10.0.0.2:4000", "10.0.0.3:4000", 64, 48},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct node *n = make(true, 1000000);
        unsigned of_a = 0, of_b = 0;
        for (unsigned k = 0; k < 100; k++)
            of_a += ask(n, rows[i].a, 1 + k);
        for (unsigned k = 0; k < 100; k++)
            of_b += ask(n, rows[i].b, 1000 + k);
        cr_expect_eq(of_a, rows[i].of_a, "%s: %u", rows[i].name, of_a);
        cr_expect_eq(of_b, rows[i].of_b, "%s: %u", rows[i].name, of_b);
        cr_expect_eq(ask(n, rows[i].c, 5000), 8, "%s: somebody else", rows[i].name);
        node_free(n);
    }
}

/* Twelve networks that take what they can leave something for the next. */
Test(node_node, many_networks_leave_some_errands, .init = cv_crypto_init) {
    struct node *n = make(true, 1000000);
    for (unsigned k = 0; k < 12 * 40; k++) {
        char from[32];
        (void)snprintf(from, sizeof from, "%u.1.1.1:4000", 20 + k % 12);
        (void)ask(n, from, 1 + k);
    }
    cr_expect_leq(errands(n), NODE_ERRANDS_MAX - 8, "%u", errands(n));
    cr_expect_geq(ask(n, "80.1.1.1:4000", 5000), 1);
    node_free(n);
}

/* What is left is for those who have nothing yet, as long as it lasts: one look-up each. */
Test(node_node, a_network_without_errands_has_one_look_up, .init = cv_crypto_init) {
    struct node *n = make(true, 1000000);
    unsigned of_last = 0;
    for (unsigned k = 0; k < 64 && errands(n) < NODE_ERRANDS_MAX - 2 * TUN_LOOKUP_KEYS_MAX; k++) {
        char from[32];
        (void)snprintf(from, sizeof from, "%u.1.1.1:4000", 20 + k);
        unsigned before = errands(n);
        for (unsigned i = 0; i < 9; i++)
            (void)ask(n, from, 1 + 16 * k + i);
        of_last = errands(n) - before;
        cr_expect_geq(of_last, TUN_LOOKUP_KEYS_MAX, "network %u: %u", k, of_last);
    }
    cr_expect_geq(errands(n), NODE_ERRANDS_MAX - 2 * TUN_LOOKUP_KEYS_MAX, "%u", errands(n));
    cr_expect_eq(of_last, TUN_LOOKUP_KEYS_MAX, "%u", of_last);
    node_free(n);
}
