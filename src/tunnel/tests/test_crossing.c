/*
 * What crosses between workers of one relay, when there is no room for it, when it is lost,
 * and when the owners of circuits wish the relay ill: roles that exclude each other asked
 * for at once, answers that come too late, circuits that end in between.
 */
#include "support/model.h"
#include "support/suite.h"
#include "tunnel/circuit.h"
#include "tunnel/tests/world.h"

CV_SUITE(tun_crossing);

enum { RP = 2, WORKERS = 3, OWNERS = 18, FIRST = 3 };

static struct world *three(uint64_t seed) {
    struct world *w = world_new(&(struct sim_config){.seed = seed});
    struct tun_config shared = {
        .gate = true, .workers = WORKERS, .relay_flags = TUN_RELAY_EXIT, .worker_key = "sixteen"};
    for (unsigned i = 0; i < RP; i++)
        world_relay(w, NULL);
    world_relay(w, &shared);
    for (unsigned i = 0; i < OWNERS; i++)
        world_client(w, NULL);
    sim_path_default(w->sim, &(struct sim_path){.delay = CV_MSEC(2)});
    return w;
}

static struct tunnel *worker(struct world *w, unsigned i) {
    return w->node[RP].worker[i];
}

static unsigned owner_at(struct world *w, unsigned at, unsigned skip) {
    for (unsigned i = FIRST; i < FIRST + OWNERS; i++)
        if (tun_worker_by_address(worker(w, at), &w->node[i].addr) == at && skip-- == 0)
            return i;
    cr_assert_fail("no owner for worker %u", at);
    return 0;
}

static cv_handle straight(struct world *w, unsigned owner) {
    cv_handle c = world_circuit(w, owner, (const unsigned[]){RP}, 1);
    cr_assert_neq(c, 0);
    return c;
}

/* The only one of that worker. */
static struct tun_hop *hop_at(struct world *w, unsigned at) {
    uint32_t cursor = 0;
    struct tun_hop *h = tun_handles_next(&worker(w, at)->hops, &cursor);
    cr_assert_not_null(h);
    return h;
}

/* One cell of the owner's for RP, with the transaction that he likes, never repeated. */
static void cell(struct world *w, unsigned owner, cv_handle circuit, uint8_t command,
                 const void *data, size_t len) {
    struct tunnel *t = w->node[owner].t;
    struct tun_circuit *c = tun_handles_get(&t->circuits, circuit);
    struct tun_cell *cell = c ? tun_cell_take(t) : NULL;
    if (!cell)
        return;
    if (len)
        memcpy(tun_onion_data(cell->octets, 0), data, len);
    cr_assert_eq(tun_onion_wrap(&c->onion, &t->fast, cell->octets, 0, command, len), CV_ERR_OK);
    cell->layer = 0;
    tun_put(t, &c->leg, cell, world_now(w, owner).mono);
    sim_touch(w->sim, owner);
}

struct body {
    uint8_t octets[TUN_FORWARD_MAX];
    size_t len;
};

static struct body extend(struct world *w, unsigned relay, uint32_t transaction) {
    struct body b;
    struct tun_relay_ref to;
    world_ref(w, relay, &to);
    struct tun_extend m = {
        .transaction = transaction, .day = to.day, .flight = to.identity, .flight_len = CV_KEY};
    memcpy(m.identity, to.identity, sizeof m.identity);
    memcpy(m.digest, to.d, sizeof m.digest);
    struct cv_wr wr = cv_wr_init(b.octets, sizeof b.octets);
    tun_extend_write(&wr, &m);
    b.len = cv_wr_len(&wr);
    return b;
}

static struct body swarm(uint32_t transaction) {
    struct body b;
    struct cv_wr wr = cv_wr_init(b.octets, sizeof b.octets);
    tun_open_write(
        &wr,
        &(struct tun_open){.transaction = transaction, .swarm_id = (const uint8_t *)"x", .len = 1});
    b.len = cv_wr_len(&wr);
    return b;
}

static struct body rendezvous(uint32_t transaction, uint8_t number, bool join) {
    struct body b;
    struct tun_rendezvous m = {.transaction = transaction,
                               .cookie = {number},
                               .flight = (const uint8_t *)"flight",
                               .flight_len = join ? 6 : 0};
    struct cv_wr wr = cv_wr_init(b.octets, sizeof b.octets);
    tun_rendezvous_write(&wr, &m);
    b.len = cv_wr_len(&wr);
    return b;
}

static struct body introduce(uint32_t transaction, const struct cv_ed25519_secret *auth) {
    struct body b;
    struct tun_introduce m = {
        .transaction = transaction, .flight = (const uint8_t *)"flight", .flight_len = 6};
    memcpy(m.auth_key, auth->public_key, CV_KEY);
    struct cv_wr wr = cv_wr_init(b.octets, sizeof b.octets);
    tun_introduce_write(&wr, &m);
    b.len = cv_wr_len(&wr);
    return b;
}

static struct body point(struct world *w, unsigned owner, cv_handle circuit, uint32_t transaction,
                         const struct cv_ed25519_secret *auth) {
    struct body b = {.len = 0};
    struct tun_establish_intro m = {.transaction = transaction};
    uint8_t binding[32];
    if (tun_circuit_binding(w->node[owner].t, circuit, 0, binding))
        return b;
    tun_establish_intro_sign(&m, auth, binding);
    struct cv_wr wr = cv_wr_init(b.octets, sizeof b.octets);
    tun_establish_intro_write(&wr, &m);
    b.len = cv_wr_len(&wr);
    return b;
}

static void say(struct world *w, unsigned owner, cv_handle c, uint8_t command, struct body b) {
    cell(w, owner, c, command, b.octets, b.len);
    world_run(w, CV_MSEC(30));
}

static void answer(struct world *w, const struct tun_hop *h, uint32_t transaction,
                   uint8_t command) {
    struct cv_now now = world_now(w, RP);
    uint8_t code = TUN_ERROR_NOENT;
    (void)tun_answer(w->node[RP].t, &now, h->handle, transaction, command, &code,
                     command == TUN_CMD_ERROR);
    sim_touch(w->sim, RP);
    world_run(w, CV_MSEC(30));
}

/* The last answer that RP remembers of this transaction; 0: none. */
static uint8_t answered(const struct tun_hop *h, uint32_t transaction, uint8_t *ret_code) {
    uint8_t command = 0;
    *ret_code = 0;
    for (const struct tun_memo *m = h->memos; m; m = m->next)
        if (m->transaction == transaction) {
            command = m->command;
            *ret_code = m->len > 4 ? m->body[4] : 0;
        }
    return command;
}

static void expect_error(const struct tun_hop *h, uint32_t transaction, uint8_t code) {
    uint8_t got;
    cr_expect_eq(answered(h, transaction, &got), TUN_CMD_ERROR, "%u", transaction);
    cr_expect_eq(got, code, "%u: code %u", transaction, got);
}

/* As if the other had not taken anything for a long time. */
static void fill(struct world *w, unsigned from, unsigned to) {
    worker(w, from)->others->to[to].untaken = worker(w, from)->others->room;
}

static void take(struct world *w, unsigned from, unsigned to) {
    struct tun_message said = {
        .from = (uint8_t)to, .kind = TUN_MESSAGE_TAKEN, .number = worker(w, from)->others->room};
    struct cv_now now = world_now(w, RP);
    tun_crossing_on_taken(worker(w, from), &now, &said);
    sim_touch(w->sim, RP);
    world_run(w, CV_MSEC(30));
}

/* ---- roles ---- */

/* What waits for the node is in the queue of the next hop, which EXTEND would give to a
 * link: as long as it waits the circuit has a role, whatever was answered. */
Test(tun_crossing, no_hop_is_added_to_a_circuit_whose_cells_wait) {
    for (unsigned refused = 0; refused < 2; refused++) {
        struct world *w = three(1);
        unsigned owner = owner_at(w, 1, 0);
        cv_handle c = straight(w, owner);
        struct tun_hop *h = hop_at(w, 1);
        say(w, owner, c, TUN_CMD_OPEN, swarm(1));
        cr_assert(h->opening);
        fill(w, 1, 0);
        for (unsigned i = 0; i < 5; i++)
            cell(w, owner, c, TUN_CMD_DATAGRAM, "x", 1);
        world_run(w, CV_MSEC(30));
        cr_assert_eq(h->next.flow.count, 5, "nothing waits: the test tests nothing");
        say(w, owner, c, TUN_CMD_EXTEND, extend(w, 0, 2));
        expect_error(h, 2, TUN_ERROR_REFUSED);
        answer(w, h, 1, refused ? TUN_CMD_ERROR : TUN_CMD_OPENED);
        cr_expect_eq(worker(w, 1)->others->to[0].waiting, refused ? 0 : 5);
        take(w, 1, 0);
        cr_expect_null(h->crossing);
        cr_expect_not(h->next.flow.held);
        say(w, owner, c, TUN_CMD_EXTEND, extend(w, 0, 3));
        if (refused) /* it is as it was: only the first flight is nonsense */
            expect_error(h, 3, TUN_ERROR_UNREACHABLE);
        else
            expect_error(h, 3, TUN_ERROR_REFUSED);
        cr_expect_eq(w->node[RP].datagrams, refused ? 0 : 5);
        world_free(w);
    }
}

/* An OPEN is decided by its own answer, not by that of something asked before it. */
Test(tun_crossing, another_answer_does_not_end_an_open) {
    struct world *w = three(2);
    unsigned owner = owner_at(w, 1, 0);
    cv_handle c = straight(w, owner);
    struct tun_hop *h = hop_at(w, 1);
    say(w, owner, c, TUN_CMD_LOOKUP, (struct body){.octets = {1}, .len = 4});
    say(w, owner, c, TUN_CMD_OPEN, swarm(2));
    answer(w, h, 1, TUN_CMD_ERROR);
    cr_expect(h->opening);
    say(w, owner, c, TUN_CMD_EXTEND, extend(w, 0, 3));
    expect_error(h, 3, TUN_ERROR_REFUSED);
    answer(w, h, 2, TUN_CMD_OPENED);
    cr_expect(h->open);
    cr_expect_not(h->opening);
    world_free(w);
}

/* Whatever became of the circuit while the node thought, or whatever it asks unasked. */
Test(tun_crossing, an_answer_gives_no_second_role) {
    static const uint8_t commands[] = {TUN_CMD_OPENED, TUN_CMD_CONNECTED};
    for (unsigned at = 0; at < WORKERS; at++)
        for (unsigned k = 0; k < 4; k++) {
            struct world *w = three(3);
            unsigned owner = owner_at(w, at, 0);
            cv_handle c = straight(w, owner);
            struct tun_hop *h = hop_at(w, at);
            if (k / 2) {
                say(w, owner, c, TUN_CMD_ESTABLISH_RENDEZVOUS, rendezvous(1, 1, false));
            } else {
                sim_path(w->sim, RP, 0, &(struct sim_path){.cut = true});
                say(w, owner, c, TUN_CMD_EXTEND, extend(w, 0, 1));
                cr_assert_not_null(h->next.link);
            }
            answer(w, h, 9, commands[k % 2]);
            cr_expect_not(h->open || h->exit, "worker %u, %u", at, k);
            if (at) /* else the node itself is told */
                expect_error(h, 9, TUN_ERROR_REFUSED);
            for (unsigned i = 0; i < 3; i++)
                cell(w, owner, c, k % 2 ? TUN_CMD_EXIT : TUN_CMD_DATAGRAM, "\1\0\0", 3);
            world_run(w, CV_MSEC(30));
            cr_expect_eq(w->node[RP].datagrams, 0);
            /* and the node keeps nothing of it */
            cr_expect_eq(world_count(w, RP, TUN_EVENT_HOP_DOWN), at ? 1 : 0, "worker %u, %u", at,
                         k);
            world_free(w);
        }
}

/* ---- what was not asked does not count as asked ---- */

Test(tun_crossing, an_open_without_room_is_not_an_open) {
    struct world *w = three(4);
    unsigned owner = owner_at(w, 1, 0);
    cv_handle c = straight(w, owner);
    struct tun_hop *h = hop_at(w, 1);
    fill(w, 1, 0);
    say(w, owner, c, TUN_CMD_OPEN, swarm(1));
    cr_expect_not(h->opening);
    cr_expect_eq(h->memo_count, 0);
    say(w, owner, c, TUN_CMD_DATAGRAM, swarm(0));
    cr_expect_null(h->crossing);
    take(w, 1, 0);
    say(w, owner, c, TUN_CMD_OPEN, swarm(1));
    cr_expect(h->opening);
    cr_expect_eq(world_count(w, RP, TUN_EVENT_REQUEST), 1);
    world_free(w);
}

/* The node's own queue is full. */
Test(tun_crossing, an_event_that_is_lost_was_not_asked) {
    struct world *w = three(5);
    unsigned owner = owner_at(w, 0, 0);
    cv_handle c = straight(w, owner);
    struct tunnel *t = worker(w, 0);
    struct tun_hop *h = hop_at(w, 0);
    struct tun_event full = {.kind = TUN_EVENT_HOP_DOWN};
    while (tun_event_push(t, &full)) {}
    cr_expect_not(tun_event_to(t, TUN_USER_NODE, &full));
    say(w, owner, c, TUN_CMD_OPEN, swarm(1));
    cr_expect_eq(world_count(w, RP, TUN_EVENT_REQUEST), 0);
    cr_expect_not(h->opening);
    cr_expect_not(h->asked);
    cr_expect_eq(h->memo_count, 0);
    world_free(w);
}

static bool fills_the_node(struct world_node *n, const struct tun_message *m) {
    struct tun_event full = {.kind = TUN_EVENT_HOP_DOWN};
    while (m->kind == TUN_MESSAGE_REQUEST && n->ctx && tun_event_push(n->t, &full)) {}
    return false;
}

/* ... and another worker had asked. */
Test(tun_crossing, a_request_that_the_face_loses_was_not_asked) {
    struct world *w = three(12);
    unsigned owner = owner_at(w, 1, 0);
    cv_handle c = straight(w, owner);
    struct tun_hop *h = hop_at(w, 1);
    w->node[RP].loses = fills_the_node;
    w->node[RP].ctx = w;
    say(w, owner, c, TUN_CMD_OPEN, swarm(1));
    cr_assert_gt(world_count(w, RP, TUN_EVENT_HOP_DOWN), 0, "it was not full");
    cr_expect_eq(world_count(w, RP, TUN_EVENT_REQUEST), 0);
    cr_expect_not(h->opening);
    cr_expect_eq(h->memo_count, 0);
    w->node[RP].ctx = NULL;
    say(w, owner, c, TUN_CMD_OPEN, swarm(1));
    cr_expect_eq(world_count(w, RP, TUN_EVENT_REQUEST), 1);
    cr_expect(h->opening);
    world_free(w);
}

/* Nobody at the face's side of a question has room for it: it is asked again. */
Test(tun_crossing, the_face_says_that_it_could_not_ask) {
    for (unsigned k = 0; k < 2; k++) {
        struct world *w = three(6);
        struct cv_ed25519_secret auth;
        cv_ed25519_from_seed(&auth, (const uint8_t[CV_KEY]){1});
        unsigned asker = owner_at(w, 1, 0), holder = owner_at(w, 2, 0);
        cv_handle asks = straight(w, asker), holds = straight(w, holder);
        struct tun_hop *h = hop_at(w, 1);
        if (k)
            say(w, holder, holds, TUN_CMD_ESTABLISH_INTRO, point(w, holder, holds, 1, &auth));
        else
            say(w, holder, holds, TUN_CMD_ESTABLISH_RENDEZVOUS, rendezvous(1, 1, false));
        uint8_t command = k ? TUN_CMD_INTRODUCE : TUN_CMD_JOIN, code;
        struct body b = k ? introduce(2, &auth) : rendezvous(2, 1, true);
        fill(w, 0, 2);
        say(w, asker, asks, command, b);
        cr_expect_eq(h->memo_count, 0, "%u: it counts as asked", k);
        take(w, 0, 2);
        say(w, asker, asks, command, b);
        cr_expect_eq(answered(h, 2, &code), k ? TUN_CMD_INTRODUCE_ACK : TUN_CMD_JOINED);
        cr_expect_eq(code, 0);
        world_free(w);
    }
}

static bool loses_answers(struct world_node *n, const struct tun_message *m) {
    unsigned *left = n->ctx;
    return m->kind == TUN_MESSAGE_ANSWER && *left && (*left)--;
}

Test(tun_crossing, a_lost_answer_is_asked_for_again) {
    struct world *w = three(7);
    unsigned owner = owner_at(w, 1, 0), left = 1;
    cv_handle c = straight(w, owner);
    struct tun_hop *h = hop_at(w, 1);
    w->node[RP].loses = loses_answers;
    w->node[RP].ctx = &left;
    for (unsigned i = 0; i < 2; i++) {
        say(w, owner, c, TUN_CMD_OPEN, swarm(1));
        cr_expect_eq(world_count(w, RP, TUN_EVENT_REQUEST), i + 1);
        answer(w, h, 1, TUN_CMD_OPENED);
        cr_expect_eq(h->open, i == 1);
        cr_expect_not(h->opening);
    }
    world_free(w);
}

/* What others would not find is not said to be there. */
Test(tun_crossing, places_need_room_at_the_face) {
    for (unsigned lost = 0; lost < 2; lost++)
        for (unsigned k = 0; k < 2; k++) {
            struct world *w = three(8);
            struct cv_ed25519_secret auth;
            cv_ed25519_from_seed(&auth, (const uint8_t[CV_KEY]){1});
            unsigned owner = owner_at(w, 1, 0);
            cv_handle c = straight(w, owner);
            struct tunnel *t = worker(w, 1);
            struct tun_hop *h = hop_at(w, 1);
            if (lost) { /* told, and then nobody could carry it */
                struct tun_message *m = calloc(1, sizeof *m);
                *m = (struct tun_message){.from = 1,
                                          .kind = k ? TUN_MESSAGE_POINT : TUN_MESSAGE_COOKIE,
                                          .counted = true,
                                          .other = h->handle,
                                          .code = 1};
                h->is_rendezvous = true;
                tun_on_lost(t, m);
                sim_touch(w->sim, RP);
                world_run(w, CV_MSEC(30));
                cr_expect_eq(world_count(w, owner, TUN_EVENT_CIRCUIT_DOWN), 1, "%u", k);
                world_free(w);
                continue;
            }
            fill(w, 1, 0);
            if (k)
                say(w, owner, c, TUN_CMD_ESTABLISH_INTRO, point(w, owner, c, 1, &auth));
            else
                say(w, owner, c, TUN_CMD_ESTABLISH_RENDEZVOUS, rendezvous(1, 1, false));
            expect_error(h, 1, TUN_ERROR_BUSY);
            cr_expect_not(h->is_intro || h->is_rendezvous);
            cr_expect_eq(cv_map_count(t->intros) + cv_map_count(t->cookies), 0);
            world_free(w);
        }
}

/* ---- room ---- */

/* Those of one kind, as long as somebody wants it. */
static bool loses_kind(struct world_node *n, const struct tun_message *m) {
    return n->ctx && m->kind == *(const uint8_t *)n->ctx;
}

struct pair {
    struct world *w;
    unsigned viewer, seeder;
    cv_handle a, b;
};

static struct pair meet(uint64_t seed) {
    struct pair p = {.w = three(seed)};
    p.viewer = owner_at(p.w, 1, 0);
    p.seeder = owner_at(p.w, 2, 0);
    p.a = straight(p.w, p.viewer);
    p.b = straight(p.w, p.seeder);
    say(p.w, p.viewer, p.a, TUN_CMD_ESTABLISH_RENDEZVOUS, rendezvous(1, 1, false));
    say(p.w, p.seeder, p.b, TUN_CMD_JOIN, rendezvous(1, 1, true));
    cr_assert_neq(hop_at(p.w, 1)->spliced_away, 0);
    p.w->node[RP].loses = loses_kind;
    return p;
}

/* Untold, it is told later: room is not gone with the message that gave it back. */
Test(tun_crossing, room_comes_back_though_the_message_is_lost) {
    struct pair p = meet(9);
    struct tun_others *from = worker(p.w, 1)->others, *to = worker(p.w, 2)->others;
    uint8_t kind = TUN_MESSAGE_TAKEN;
    from->room = to->room = 64;
    p.w->node[RP].ctx = &kind;
    for (unsigned i = 0; i < 100; i++)
        cell(p.w, p.viewer, p.a, TUN_CMD_DATAGRAM, "x", 1);
    world_run(p.w, CV_MSEC(500));
    cr_assert_gt(from->to[2].waiting, 0, "there is room: the test tests nothing");
    cr_expect_eq(to->to[1].taken, from->to[2].untaken);
    p.w->node[RP].ctx = NULL;
    world_run(p.w, CV_SEC(2));
    cr_expect_eq(from->to[2].waiting, 0);
    cr_expect_lt(from->to[2].untaken, 64 / 16);
    cr_expect_eq(p.w->node[p.seeder].datagrams, 100);
    world_free(p.w);
}

/* Room that comes back with what was lost is given to who waits for it. */
Test(tun_crossing, who_waits_is_served_when_what_was_told_is_lost) {
    struct pair p = meet(10);
    struct tunnel *t = worker(p.w, 1);
    struct tun_message question = {.to = 2, .kind = TUN_MESSAGE_INTRODUCE};
    uint8_t kind = TUN_MESSAGE_INTRODUCE;
    t->others->room = 64;
    while (tun_tell_question(t, &question, "0123", 4)) {}
    p.w->node[RP].ctx = &kind;
    for (unsigned i = 0; i < 10; i++)
        cell(p.w, p.viewer, p.a, TUN_CMD_DATAGRAM, "x", 1);
    world_run(p.w, CV_SEC(2));
    cr_expect_eq(t->others->to[2].waiting, 0);
    cr_expect_eq(p.w->node[p.seeder].datagrams, 10);
    world_free(p.w);
}

/* Of 16 parts of its room, worker 1 has so many for the face. */
static unsigned sixteenths(struct world *w) {
    const struct tun_others *o = worker(w, 1)->others;
    return (o->to[0].untaken * 16 + o->room - 1) / o->room;
}

/* While cells wait for a worker without much time, others find room there at last: it is
 * asked at any time, and hears of links and strangers, too. */
Test(tun_crossing, cells_that_wait_leave_room_for_others) {
    struct world *w = three(78);
    unsigned owner = owner_at(w, 1, 0);
    cv_handle c = straight(w, owner);
    struct tun_hop *h = hop_at(w, 1);
    struct tunnel *t = worker(w, 1);
    struct cv_now now = world_now(w, RP);
    uint8_t octet = 1;
    struct tun_inner in = {.command = TUN_CMD_DATAGRAM, .len = 1, .data = &octet};
    say(w, owner, c, TUN_CMD_OPEN, swarm(1));
    cr_assert(h->opening);
    for (unsigned i = 0; i < 2 * t->others->room; i++)
        tun_cross(t, &now, h, &in);
    cr_assert_gt(h->next.flow.count, t->others->room / 2, "nothing waits: the test tests nothing");
    cr_assert_eq(sixteenths(w), 14);
    unsigned taken = 0;
    for (; h->crossing && taken < 100; taken++) {
        cr_assert(tun_crossing_has_room(t, 0, TUN_MESSAGE_REQUEST), "after %u", taken);
        cr_assert(taken < 1 || tun_crossing_has_room(t, 0, TUN_MESSAGE_EVENT), "after %u", taken);
        cr_assert(taken < 3 || tun_crossing_has_room(t, 0, TUN_MESSAGE_FLIGHT), "after %u", taken);
        struct tun_message said = {.kind = TUN_MESSAGE_TAKEN, .number = t->others->room / 16};
        tun_crossing_on_taken(t, &now, &said);
    }
    cr_expect_lt(taken, 100, "what waits is not served");
    world_free(w);
}

/* Who comes later waits behind them. */
Test(tun_crossing, nobody_passes_cells_that_wait) {
    struct world *w = three(79);
    unsigned owner = owner_at(w, 1, 0), beside = owner_at(w, 1, 1);
    cv_handle c = straight(w, owner);
    struct tun_hop *first = hop_at(w, 1), *second = NULL;
    cv_handle d = straight(w, beside);
    uint32_t cursor = 0;
    struct tun_hop *h;
    while ((h = tun_handles_next(&worker(w, 1)->hops, &cursor)) != NULL)
        second = h != first ? h : second;
    cr_assert_not_null(second);
    say(w, owner, c, TUN_CMD_OPEN, swarm(1));
    say(w, beside, d, TUN_CMD_OPEN, swarm(1));
    struct tunnel *t = worker(w, 1);
    fill(w, 1, 0);
    say(w, owner, c, TUN_CMD_DATAGRAM, swarm(1));
    cr_assert_not_null(first->crossing);
    t->others->to[0].untaken = t->others->room * 3 / 4; /* more than what waits is given */
    say(w, beside, d, TUN_CMD_DATAGRAM, swarm(1));
    cr_expect_not_null(second->crossing);
    take(w, 1, 0);
    sim_touch(w->sim, RP);
    world_run(w, CV_MSEC(30));
    cr_expect_eq(w->node[RP].datagrams, 2);
    cr_expect_null(first->crossing);
    cr_expect_null(second->crossing);
    world_free(w);
}

/* Begins like a DHT message, ends otherwise: no receiver index begins so. */
Test(tun_crossing, junk_of_the_dhts_is_told_to_nobody) {
    struct world *w = three(77);
    struct tunnel *t = worker(w, 0);
    struct cv_now now = world_now(w, RP);
    uint8_t junk[TUN_DATAGRAM] = {'d'};
    for (unsigned i = 0; i < 256; i++) {
        junk[3] = (uint8_t)i;
        (void)tun_on_datagram(t, &now, &w->node[FIRST].addr, junk, sizeof junk);
    }
    cr_expect_eq(t->told_count, 0, "%u", t->told_count);
    world_free(w);
}

/* Datagrams at the wrong socket do not stop the node. */
Test(tun_crossing, junk_does_not_stop_the_node) {
    struct world *w = three(80);
    struct tunnel *t = worker(w, 0);
    struct cv_now now = world_now(w, RP);
    uint8_t junk[TUN_DATAGRAM] = {1, 2, 3, 1 << 2};
    for (unsigned i = 0; i < 2 * t->others->room; i++)
        (void)tun_on_datagram(t, &now, &w->node[FIRST].addr, junk, sizeof junk);
    cr_assert_gt(t->others->to[1].untaken, t->others->room / 2, "none: the test tests nothing");
    cr_expect(tun_has_room(t));
    world_free(w);
}

/* However many of them die at once, every other half does. */
Test(tun_crossing, what_must_arrive_has_no_limit) {
    struct world *w = three(11);
    struct tunnel *t = worker(w, 1);
    struct tun_message gone = {.to = 2, .kind = TUN_MESSAGE_PARTED};
    for (unsigned i = 0; i < 3 * TUN_MESSAGES_MAX; i++)
        cr_assert(tun_tell(t, &gone, NULL, 0));
    struct tun_message may = {.to = 2, .kind = TUN_MESSAGE_ANSWER, .may_be_lost = true};
    cr_expect_not(tun_tell(t, &may, NULL, 0));
    world_free(w);
}

/* ---- anything, in any order ---- */

enum { CIRCUITS = 12, ASKED = 64, KEYS = 3 };

struct chaos {
    struct world *w;
    struct cv_rng rng;
    uint64_t state;
    unsigned loss; /* of a hundred messages */
    struct cv_ed25519_secret auth[KEYS];
    struct {
        unsigned owner;
        cv_handle handle;
    } circuit[CIRCUITS];
    struct tun_event asked[ASKED]; /* of the node, not answered yet */
    unsigned asked_count;
    cv_handle open;                          /* the node sends there */
    unsigned lost, waited, joined, extended; /* so often seen: it does happen */
};

static unsigned draw(struct chaos *x, unsigned n) {
    return (unsigned)cv_rng_below(&x->rng, n);
}

static bool loses_some(struct world_node *n, const struct tun_message *m) {
    struct chaos *x = n->ctx;
    bool may = m->counted || m->may_be_lost || m->kind == TUN_MESSAGE_TAKEN;
    bool is_lost = may && draw(x, 100) < x->loss;
    x->lost += is_lost;
    return is_lost;
}

static void note(struct world_node *n, const struct cv_now *now, const struct tun_event *ev) {
    struct chaos *x = n->ctx;
    (void)now;
    if (ev->kind == TUN_EVENT_REQUEST && x->asked_count < ASKED)
        x->asked[x->asked_count++] = *ev;
}

/* The node answers something that it was asked, or not. */
static void think(struct chaos *x) {
    struct cv_now now = world_now(x->w, RP);
    struct cv_endpoint to = cv_endpoint_circuit(x->open, 0);
    if (x->open)
        (void)tun_send(x->w->node[RP].t, &now, &to, "from the node", 13);
    if (!x->asked_count)
        return;
    unsigned i = draw(x, x->asked_count);
    struct tun_event ev = x->asked[i];
    x->asked[i] = x->asked[--x->asked_count];
    uint8_t command = TUN_CMD_ERROR, code = TUN_ERROR_NOENT;
    if (draw(x, 3))
        command = ev.request.command == TUN_CMD_OPEN      ? TUN_CMD_OPENED
                  : ev.request.command == TUN_CMD_CONNECT ? TUN_CMD_CONNECTED
                                                          : TUN_CMD_RESULT;
    x->open = ev.request.hop;
    (void)tun_answer(x->w->node[RP].t, &now, ev.request.hop, ev.request.transaction, command, &code,
                     command == TUN_CMD_ERROR);
    sim_touch(x->w->sim, RP);
}

static struct body anything(struct chaos *x, unsigned owner, cv_handle c, uint8_t *ret_command) {
    static const uint8_t commands[] = {
        TUN_CMD_OPEN,      TUN_CMD_EXTEND,    TUN_CMD_ESTABLISH_RENDEZVOUS,
        TUN_CMD_JOIN,      TUN_CMD_CONNECT,   TUN_CMD_ESTABLISH_RENDEZVOUS,
        TUN_CMD_JOIN,      TUN_CMD_JOIN,      TUN_CMD_ESTABLISH_INTRO,
        TUN_CMD_INTRODUCE, TUN_CMD_INTRODUCE, TUN_CMD_LOOKUP,
        TUN_CMD_DATAGRAM,  TUN_CMD_DATAGRAM,  TUN_CMD_DATAGRAM,
        TUN_CMD_DATAGRAM,  TUN_CMD_EXIT,      TUN_CMD_EXIT,
        TUN_CMD_PACE,      TUN_CMD_BUCKET};
    uint32_t transaction = draw(x, 40); /* few: also the same again, and another's */
    struct body b = {.octets = {(uint8_t)transaction, 0}, .len = 4 + draw(x, 20)};
    *ret_command = commands[draw(x, sizeof commands)];
    switch (*ret_command) {
    case TUN_CMD_OPEN:
        return swarm(transaction);
    case TUN_CMD_EXTEND:
        return extend(x->w, draw(x, RP), transaction);
    case TUN_CMD_ESTABLISH_RENDEZVOUS:
    case TUN_CMD_JOIN:
        return rendezvous(transaction, (uint8_t)draw(x, 3), *ret_command == TUN_CMD_JOIN);
    case TUN_CMD_ESTABLISH_INTRO:
        return point(x->w, owner, c, transaction, &x->auth[draw(x, KEYS)]);
    case TUN_CMD_INTRODUCE:
        return introduce(transaction, &x->auth[draw(x, KEYS)]);
    case TUN_CMD_EXIT:
        b.octets[0] = 1; /* a flow */
        return b;
    default:
        return b;
    }
}

static bool is_ready(struct chaos *x, unsigned i) {
    struct tun_circuit_info info;
    return tun_circuit_info(x->w->node[x->circuit[i].owner].t, x->circuit[i].handle, &info) ==
               CV_ERR_OK &&
           info.ready;
}

/* Two that want each other, so that it comes to something more often than by chance. */
static void pair(struct chaos *x, unsigned viewer, unsigned seeder) {
    uint8_t number = (uint8_t)(3 + draw(x, 200));
    struct body leaves = rendezvous(draw(x, 40), number, false),
                joins = rendezvous(draw(x, 40), number, true);
    if (!x->circuit[seeder].handle || !is_ready(x, seeder))
        return;
    cell(x->w, x->circuit[viewer].owner, x->circuit[viewer].handle, TUN_CMD_ESTABLISH_RENDEZVOUS,
         leaves.octets, leaves.len);
    world_run(x->w, CV_MSEC(draw(x, 6)));
    cell(x->w, x->circuit[seeder].owner, x->circuit[seeder].handle, TUN_CMD_JOIN, joins.octets,
         joins.len);
}

static void act(struct chaos *x) {
    unsigned i = draw(x, CIRCUITS), burst = draw(x, 3) ? 1 + draw(x, 4) : 60;
    if (!x->circuit[i].handle) {
        unsigned hops = 1 + !draw(x, 8);
        x->circuit[i].owner = FIRST + draw(x, OWNERS);
        x->circuit[i].handle =
            world_open(x->w, x->circuit[i].owner, (const unsigned[]){RP, draw(x, RP)}, hops);
        return;
    }
    unsigned owner = x->circuit[i].owner;
    cv_handle c = x->circuit[i].handle;
    if (!tun_handles_get(&x->w->node[owner].t->circuits, c) || !draw(x, 40)) {
        struct cv_now now = world_now(x->w, owner);
        tun_circuit_close(x->w->node[owner].t, &now, c);
        sim_touch(x->w->sim, owner);
        x->circuit[i].handle = 0;
        return;
    }
    if (!is_ready(x, i))
        return;
    if (!draw(x, 6)) {
        pair(x, i, draw(x, CIRCUITS));
        return;
    }
    uint8_t command;
    struct body b = anything(x, owner, c, &command);
    unsigned count = command == TUN_CMD_DATAGRAM || command == TUN_CMD_EXIT ? burst : 1;
    while (count--)
        cell(x->w, owner, c, command, b.octets, b.len);
}

/* One role each; a queue is the scheduler's or waits for a worker. */
static void check_circuits(struct chaos *x) {
    for (unsigned i = 0; i < WORKERS; i++) {
        uint32_t cursor = 0, waiting = 0;
        const struct tun_hop *h;
        while ((h = tun_handles_next(&worker(x->w, i)->hops, &cursor)) != NULL) {
            bool joined = h->is_rendezvous || h->spliced || h->spliced_away;
            unsigned roles =
                (h->next.link != NULL) + h->is_intro + joined + (h->open || h->opening) + h->exit;
            cr_assert_leq(roles, 1);
            cr_assert_eq(h->next.flow.held, h->crossing != NULL);
            cr_assert(!h->crossing || !h->next.link);
            waiting += h->crossing ? h->next.flow.count : 0;
            x->waited += h->crossing != NULL;
            x->joined += h->spliced_away != 0;
            x->extended += h->extended;
        }
        for (unsigned k = 0; k < WORKERS; k++)
            waiting -= worker(x->w, i)->others->to[k].waiting;
        cr_assert_eq(waiting, 0);
    }
}

/* What one has told another and not heard of is what the other has taken and not said. */
static void check_room(struct chaos *x) {
    for (unsigned i = 0; i < WORKERS; i++)
        for (unsigned k = 0; k < WORKERS; k++) {
            const struct tun_crossing *there = &worker(x->w, i)->others->to[k];
            cr_expect_eq(there->untaken, worker(x->w, k)->others->to[i].taken, "%u to %u", i, k);
            cr_expect_eq(there->untaken_sends, worker(x->w, k)->others->to[i].taken_sends);
            cr_expect_eq(there->waiting, 0);
            cr_expect(TAILQ_EMPTY(&there->circuits));
        }
}

/* Both halves of a rendezvous name each other. */
static void check_joined(struct chaos *x) {
    for (unsigned i = 0; i < WORKERS; i++) {
        uint32_t cursor = 0;
        const struct tun_hop *h;
        while ((h = tun_handles_next(&worker(x->w, i)->hops, &cursor)) != NULL) {
            if (!h->spliced_away)
                continue;
            unsigned at = tun_handle_worker(h->spliced_away);
            const struct tun_hop *other = tun_hop_get(worker(x->w, at), h->spliced_away);
            cr_expect(other && other->spliced_away == h->handle, "worker %u", i);
        }
    }
}

static void check_empty(struct chaos *x) {
    const struct tun_others *face = worker(x->w, 0)->others;
    uint32_t links = 0;
    for (unsigned i = 0; i < WORKERS; i++) {
        const struct tunnel *t = worker(x->w, i);
        cr_expect_eq(t->hops.count, 0, "worker %u", i);
        cr_expect_eq(t->sched.cells_used, 0, "worker %u: %u cells", i, t->sched.cells_used);
        cr_expect_eq(t->memo_octets, 0);
        cr_expect_eq(t->told_count, 0);
        cr_expect_eq(cv_map_count(t->intros) + cv_map_count(t->cookies), 0);
        cr_expect_eq(cv_map_count(t->others->moved), 0);
        cr_expect(TAILQ_EMPTY(&t->paces));
        links += i ? t->links.count : 0;
    }
    cr_expect_eq(cv_map_count(face->points), 0);
    cr_expect_eq(cv_map_count(face->cookies), 0);
    cr_expect_eq(cv_map_count(face->links), links);
}

static void set_room(struct chaos *x, uint32_t room) {
    for (unsigned i = 0; i < WORKERS; i++)
        worker(x->w, i)->others->room = room;
}

static void settle(struct chaos *x) {
    x->loss = 0;
    world_resume(x->w, RP);
    world_run(x->w, CV_SEC(3));
    check_circuits(x);
    check_joined(x);
    check_room(x);
}

static void storm(uint64_t seed, unsigned ret_seen[4]) {
    struct chaos x = {.w = three(seed), .state = seed};
    struct world_node *rp = &x.w->node[RP];
    x.rng = model_rng(&x.state);
    for (unsigned i = 0; i < KEYS; i++)
        cv_ed25519_from_seed(&x.auth[i], (const uint8_t[CV_KEY]){(uint8_t)i});
    rp->on_event = note;
    rp->loses = loses_some;
    rp->ctx = &x;
    set_room(&x, 24);
    for (unsigned step = 0; step < 1500; step++) {
        if (step % 100 == 0) { /* other weather */
            world_resume(x.w, RP);
            x.loss = (unsigned[]){0, 10, 60}[draw(&x, 3)];
            rp->stalled = !draw(&x, 3) ? 0 : 1 + draw(&x, WORKERS - 1);
        }
        act(&x);
        if (!draw(&x, 3))
            think(&x);
        if (!draw(&x, 3))
            world_run(x.w, CV_MSEC(draw(&x, 6)));
        check_circuits(&x);
    }
    settle(&x);
    for (unsigned i = 0; i < CIRCUITS; i++) {
        struct cv_now now = world_now(x.w, x.circuit[i].owner);
        if (x.circuit[i].handle)
            tun_circuit_close(x.w->node[x.circuit[i].owner].t, &now, x.circuit[i].handle);
        sim_touch(x.w->sim, x.circuit[i].owner);
    }
    settle(&x);
    world_run(x.w, TUN_HOP_IDLE); /* whose end was said to a worker without time */
    check_empty(&x);
    world_free(x.w);
    ret_seen[0] += x.lost;
    ret_seen[1] += x.waited;
    ret_seen[2] += x.joined;
    ret_seen[3] += x.extended;
}

Test(tun_crossing, a_storm_leaves_nothing_behind) {
    static const unsigned enough[4] = {300, 10, 1000, 1000};
    unsigned seen[4] = {0};
    for (uint64_t seed = 1; seed <= 6; seed++)
        storm(seed, seen);
    for (unsigned i = 0; i < 4; i++)
        cr_expect_gt(seen[i], enough[i], "%u: %u times", i, seen[i]);
}
