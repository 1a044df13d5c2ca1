/*
 * Control exchanges of one shape: what somebody sees who watches the first link of a client
 * while circuits are built and questions asked, granted and refused. A table says the
 * datagrams of each exchange in order, '>' from the client and '<' to it; every one has
 * the same size. Where the shape tells something, docs/protocol/tunnel-security.md says what.
 * PACE, behind whose answer a stream begins, is in test_pace.c.
 */
#include "support/suite.h"
#include "tunnel/bodies.h"
#include "tunnel/tests/village.h"

CV_SUITE(tun_shape);

enum { COMMANDS = TUN_CMD_CONNECTED + 2 }; /* the last does not exist */
static_assert(COMMANDS == 33, "a new command needs its rows");

enum { RELAYS = 8, OWNER = RELAYS, OTHER, POINT = 3 };

struct scene {
    struct village *v;
    struct world *w;
    char seen[128];
    unsigned n;
    cv_handle circuit; /* of OWNER, the one that is asked on */
    cv_handle waits;   /* of OTHER, an introduction or rendezvous point, or 0 */
    bool refuses;      /* whatever is asked of a last hop's node */
    void (*to_village)(struct world_node *n, const struct cv_now *now, const struct tun_event *ev);
};
static struct scene s;

/* ---- the world ---- */

static enum sim_verdict watch(void *ctx, const struct sim_datagram *d) {
    (void)ctx;
    if (d->from_node != OWNER && d->to_node != OWNER)
        return SIM_PASS;
    cr_expect_eq(d->len, TUN_DATAGRAM);
    if (s.n < sizeof s.seen - 1)
        s.seen[s.n++] = d->from_node == OWNER ? '>' : '<';
    s.seen[s.n] = 0;
    return SIM_PASS;
}

static void say(struct world_node *n, const struct cv_now *now, const struct tun_event *ev,
                uint8_t command, const void *body, size_t len) {
    (void)tun_answer(n->t, now, ev->request.hop, ev->request.transaction, command, body, len);
}

/* What a relay's node is asked, apart from what the village's answer. */
static void node(struct world_node *n, const struct cv_now *now, const struct tun_event *ev) {
    static const uint8_t refused = TUN_ERROR_REFUSED, tokens[700] = {1};
    struct tun_result peers = {.kind = TUN_LOOKUP_PEERS, .peers = s.refuses ? 0 : TUN_PEERS_MAX};
    struct tun_body b;
    uint8_t command = ev->kind == TUN_EVENT_REQUEST ? ev->request.command : 0;
    bool peers_asked = command == TUN_CMD_LOOKUP && ev->request.body[0] == TUN_LOOKUP_PEERS;
    bool ours = peers_asked || command == TUN_CMD_OPEN || command == TUN_CMD_CONNECT ||
                command == TUN_CMD_TOKEN_REQUEST;
    if (!ours) {
        s.to_village(n, now, ev);
    } else if (peers_asked) {
        for (unsigned i = 0; i < peers.peers; i++)
            peers.peer[i] = sim_addr6(i, 7000);
        tun_body_init(&b);
        tun_result_write(&b.w, &peers);
        say(n, now, ev, TUN_CMD_RESULT, tun_body_data(&b), tun_body_len(&b));
    } else if (s.refuses) {
        say(n, now, ev, TUN_CMD_ERROR, &refused, 1);
    } else if (command == TUN_CMD_OPEN) {
        say(n, now, ev, TUN_CMD_OPENED, NULL, 0);
    } else if (command == TUN_CMD_CONNECT) {
        say(n, now, ev, TUN_CMD_CONNECTED, NULL, 0);
    } else {
        say(n, now, ev, TUN_CMD_TOKEN_REPLY, tokens, sizeof tokens);
    }
}

static void begin(void) {
    s = (struct scene){.v = village_new(&(struct sim_config){.seed = 1}, 0)};
    s.w = s.v->w;
    for (unsigned i = 0; i < RELAYS; i++) {
        village_relay(s.v);
        s.to_village = s.w->node[i].on_event;
        s.w->node[i].on_event = node;
        s.w->node[i].t->cfg.relay_flags |= TUN_RELAY_EXIT;
    }
    s.w->whole = false; /* clients that do nothing by themselves */
    world_client(s.w, NULL);
    world_client(s.w, NULL);
    sim_path_default(s.w->sim, &(struct sim_path){.delay = CV_MSEC(5)});
    world_run(s.w, CV_SEC(12));
    /* the links are there before anybody looks */
    cv_handle warm = world_circuit(s.w, OWNER, (const unsigned[]){0, 1, 2, POINT}, 4);
    cr_assert_neq(warm, 0);
    world_run(s.w, CV_SEC(2));
    sim_hook(s.w->sim, watch, NULL);
}

static void leave(unsigned node, cv_handle *circuit) {
    struct cv_now now = world_now(s.w, node);
    tun_circuit_close(s.w->node[node].t, &now, *circuit);
    *circuit = 0;
    sim_touch(s.w->sim, node);
    world_run(s.w, CV_MSEC(100));
}

static void look_anew(void) {
    s.n = 0;
    s.seen[0] = 0;
}

/* ---- building ---- */

/* clang-format off */
static const struct {
    const char *name;
    unsigned hops;
    enum { WELL, FULL, DIFFERS, UNHEARD } end; /* of the first hop; of the last one */
    const char *wire;
} builds[] = {
    { "one hop",                            1, WELL,    "><"        },
    { "two",                                2, WELL,    "><><"      },
    { "three",                              3, WELL,    "><><><"    },
    { "four",                               4, WELL,    "><><><><"  },
    /* '>' at the end: the circuit is given up */
    { "the first refuses",                  3, FULL,    "><>"       },
    { "the third has another descriptor",   3, DIFFERS, "><><><>"   },
    { "the fourth has another",             4, DIFFERS, "><><><><>" },
    { "the third is a stranger to others",  3, UNHEARD, "><><><>"   },
    { "the fourth is one",                  4, UNHEARD, "><><><><>" },
};
/* clang-format on */

Test(tun_shape, a_hop_costs_one_exchange) {
    begin();
    for (size_t i = 0; i < sizeof builds / sizeof *builds; i++) {
        struct tun_circuit_plan plan = {.purpose = TUN_PURPOSE_GENERAL, .hops = builds[i].hops};
        for (unsigned k = 0; k < plan.hops; k++)
            world_ref(s.w, k, &plan.hop[k]);
        struct tun_relay_ref *last = &plan.hop[plan.hops - 1];
        last->d[0] ^= builds[i].end == DIFFERS;
        last->identity[0] ^= builds[i].end == UNHEARD;
        tun_drain(s.w->node[0].t, builds[i].end == FULL);
        struct cv_now now = world_now(s.w, OWNER);
        look_anew();
        cr_assert_eq(tun_circuit_build(s.w->node[OWNER].t, &now, &plan, &s.circuit), CV_ERR_OK);
        sim_touch(s.w->sim, OWNER);
        world_run(s.w, CV_MSEC(600));
        cr_expect_str_eq(s.seen, builds[i].wire, "%s: %s", builds[i].name, s.seen);
        struct tun_circuit_info info;
        bool up = tun_circuit_info(s.w->node[OWNER].t, s.circuit, &info) == CV_ERR_OK && info.ready;
        cr_expect_eq(up, builds[i].end == WELL, "%s", builds[i].name);
        leave(OWNER, &s.circuit);
    }
    village_free(s.v);
}

/* ---- questions ---- */

static const uint8_t cookie[TUN_RENDEZVOUS_COOKIE] = {1, 2, 3}, flight[96] = {4};

static const struct cv_ed25519_secret *secret(uint8_t which) {
    static struct cv_ed25519_secret key;
    cv_ed25519_from_seed(&key, (const uint8_t[CV_KEY]){which});
    return &key;
}

static void nothing(struct cv_wr *w) {
    (void)w;
}

static void bucket(struct cv_wr *w) {
    struct tun_bucket m = {.day = tun_descriptor_day(world_now(s.w, OWNER).wall)};
    tun_bucket_write(w, &m);
}

/* Of the relays from `first` on. */
static void descriptors(struct cv_wr *w, unsigned first, unsigned n) {
    uint8_t names[TUN_IDENTITIES_MAX * CV_KEY] = {0};
    for (unsigned i = 0; i < n && first + i < RELAYS; i++)
        memcpy(names + i * CV_KEY, s.w->node[first + i].identity_secret.public_key, CV_KEY);
    struct tun_descriptors m = {.day = tun_descriptor_day(world_now(s.w, OWNER).wall)};
    m.identities = names;
    m.n = n;
    tun_descriptors_write(w, &m);
}

static void one_descriptor(struct cv_wr *w) {
    descriptors(w, 0, 1);
}

static void unknown_descriptors(struct cv_wr *w) {
    descriptors(w, RELAYS, 7);
}

static void five_descriptors(struct cv_wr *w) {
    descriptors(w, 0, 5);
}

static struct tun_item item(int64_t seq) {
    struct tun_item it = {.seq = seq, .value = {(uint8_t)seq}};
    tun_item_sign(&it, secret(7));
    return it;
}

/* The one that is stored, and others. */
static void lookup(struct cv_wr *w, unsigned n, bool with_it) {
    uint8_t keys[TUN_LOOKUP_KEYS_MAX * CV_KEY];
    for (unsigned i = 0; i < n; i++)
        memcpy(keys + i * CV_KEY, secret((uint8_t)(with_it && i == 0 ? 7 : 100 + i))->public_key,
               CV_KEY);
    tun_lookup_write(w,
                     &(struct tun_lookup){.kind = TUN_LOOKUP_ITEMS, .n = (uint8_t)n, .keys = keys});
}

static void one_found(struct cv_wr *w) {
    lookup(w, 1, true);
}

static void one_missing(struct cv_wr *w) {
    lookup(w, 1, false);
}

static void three_with_one(struct cv_wr *w) {
    lookup(w, 3, true);
}

static void three_missing(struct cv_wr *w) {
    lookup(w, 3, false);
}

static void four_missing(struct cv_wr *w) {
    lookup(w, 4, false);
}

static void peers(struct cv_wr *w) {
    tun_lookup_write(w, &(struct tun_lookup){.kind = TUN_LOOKUP_PEERS, .n = 1, .keys = flight});
}

static void put(struct cv_wr *w, int64_t seq) {
    uint8_t value[4 + TUN_SLOT_VALUE] = "900:";
    struct tun_item it = item(seq);
    struct tun_put m = {.seq = (uint64_t)seq, .value = value, .value_len = sizeof value};
    memcpy(m.public_key, it.key, CV_KEY);
    memcpy(m.signature, it.sig, CV_SIGNATURE);
    memcpy(value + 4, it.value, TUN_SLOT_VALUE);
    tun_put_write(w, &m);
}

static void put_newer(struct cv_wr *w) {
    put(w, 9);
}

static void put_older(struct cv_wr *w) {
    put(w, 1);
}

static void point(struct cv_wr *w, bool well) {
    struct tun_establish_intro m;
    uint8_t binding[32];
    cr_assert_eq(tun_circuit_binding(s.w->node[OWNER].t, s.circuit, 3, binding), CV_ERR_OK);
    binding[0] ^= !well;
    tun_establish_intro_sign(&m, secret(8), binding);
    tun_establish_intro_write(w, &m);
}

static void point_well(struct cv_wr *w) {
    point(w, true);
}

static void point_of_another(struct cv_wr *w) {
    point(w, false);
}

static void introduce(struct cv_wr *w, uint8_t whom) {
    struct tun_introduce m = {.flight = flight, .flight_len = sizeof flight};
    memcpy(m.auth_key, secret(whom)->public_key, CV_KEY);
    tun_introduce_write(w, &m);
}

static void introduce_known(struct cv_wr *w) {
    introduce(w, 9);
}

static void introduce_unknown(struct cv_wr *w) {
    introduce(w, 10);
}

static void rendezvous(struct cv_wr *w) {
    struct tun_rendezvous m = {.cookie = {5}};
    tun_rendezvous_write(w, &m);
}

static void join(struct cv_wr *w, bool known) {
    struct tun_rendezvous m = {.flight = flight, .flight_len = sizeof flight};
    memcpy(m.cookie, cookie, sizeof cookie);
    m.cookie[0] ^= !known;
    tun_rendezvous_write(w, &m);
}

static void join_known(struct cv_wr *w) {
    join(w, true);
}

static void join_unknown(struct cv_wr *w) {
    join(w, false);
}

static void open_film(struct cv_wr *w) {
    tun_open_write(w, &(struct tun_open){.swarm_id = flight, .len = 32});
}

static void connect_to(struct cv_wr *w) {
    tun_connect_write(w, &(struct tun_connect){.flow = 1, .addr = sim_addr6(9, 7000)});
}

static void tokens(struct cv_wr *w) {
    tun_bytes_write(w, &(struct tun_bytes){.data = flight, .len = sizeof flight});
}

/* clang-format off */
static const struct {
    const char *name;
    uint8_t command, answer;
    bool refuses;
    void (*body)(struct cv_wr *w);
    const char *wire;
} questions[] = {
    { "ping",                     TUN_CMD_PING,        TUN_CMD_PONG,        false, nothing,             "><"      },
    { "no such command",          COMMANDS,            TUN_CMD_ERROR,       false, nothing,             "><"      },
    { "bucket",                   TUN_CMD_BUCKET,      TUN_CMD_BUCKET,      false, bucket,              "><"      },
    { "put",                      TUN_CMD_PUT,         TUN_CMD_PUT_DONE,    false, put_newer,           "><"      },
    { "put, something newer is there", TUN_CMD_PUT,    TUN_CMD_PUT_DONE,    false, put_older,           "><"      },
    { "tokens",                   TUN_CMD_TOKEN_REQUEST, TUN_CMD_TOKEN_REPLY, false, tokens,            "><"      },
    { "no tokens",                TUN_CMD_TOKEN_REQUEST, TUN_CMD_ERROR,     true,  tokens,              "><"      },
    { "open",                     TUN_CMD_OPEN,        TUN_CMD_OPENED,      false, open_film,           "><"      },
    { "open, not shared here",    TUN_CMD_OPEN,        TUN_CMD_ERROR,       true,  open_film,           "><"      },
    { "connect",                  TUN_CMD_CONNECT,     TUN_CMD_CONNECTED,   false, connect_to,          "><"      },
    { "connect, not there",       TUN_CMD_CONNECT,     TUN_CMD_ERROR,       true,  connect_to,          "><"      },
    { "introduction point",       TUN_CMD_ESTABLISH_INTRO, TUN_CMD_INTRO_ESTABLISHED, false, point_well, "><"     },
    { "for another's circuit",    TUN_CMD_ESTABLISH_INTRO, TUN_CMD_ERROR,   false, point_of_another,    "><"      },
    { "introduce",                TUN_CMD_INTRODUCE,   TUN_CMD_INTRODUCE_ACK, false, introduce_known,   "><"      },
    { "introduce to nobody",      TUN_CMD_INTRODUCE,   TUN_CMD_INTRODUCE_ACK, false, introduce_unknown, "><"      },
    { "rendezvous point",         TUN_CMD_ESTABLISH_RENDEZVOUS, TUN_CMD_RENDEZVOUS_ESTABLISHED, false, rendezvous, "><" },
    { "join",                     TUN_CMD_JOIN,        TUN_CMD_JOINED,      false, join_known,          "><"      },
    { "join nobody",              TUN_CMD_JOIN,        TUN_CMD_ERROR,       false, join_unknown,        "><"      },
    { "peers",                    TUN_CMD_LOOKUP,      TUN_CMD_RESULT,      false, peers,               "><"      },
    { "no peers",                 TUN_CMD_LOOKUP,      TUN_CMD_RESULT,      true,  peers,               "><"      },
    /* an answer a key, found or not */
    { "one item",                 TUN_CMD_LOOKUP,      TUN_CMD_RESULT,      false, one_found,           "><"      },
    { "no item",                  TUN_CMD_LOOKUP,      TUN_CMD_RESULT,      false, one_missing,         "><"      },
    { "one of three",             TUN_CMD_LOOKUP,      TUN_CMD_RESULT,      false, three_with_one,      "><<<"    },
    { "none of three",            TUN_CMD_LOOKUP,      TUN_CMD_RESULT,      false, three_missing,       "><<<"    },
    { "none of four",             TUN_CMD_LOOKUP,      TUN_CMD_RESULT,      false, four_missing,        "><<<<"   },
    /* an answer a relay that is known, one when none is */
    { "a descriptor",             TUN_CMD_DESCRIPTORS, TUN_CMD_DESCRIPTORS, false, one_descriptor,      "><"      },
    { "unknown descriptors",      TUN_CMD_DESCRIPTORS, TUN_CMD_DESCRIPTORS, false, unknown_descriptors, "><"      },
    { "five descriptors",         TUN_CMD_DESCRIPTORS, TUN_CMD_DESCRIPTORS, false, five_descriptors,    "><<<<<"  },
};
/* clang-format on */

static uint32_t ask(unsigned node, cv_handle circuit, uint8_t command, const struct tun_body *b) {
    size_t len = cv_wr_len(&b->w) ? tun_body_len(b) : 0;
    cr_assert(!b->w.err);
    return world_request(s.w, node, circuit, command, tun_body_data(b), len);
}

/* The other end of what is asked for here: an introduction point, or a rendezvous point,
 * of somebody else's. */
static void others_end(uint8_t command) {
    struct tun_body b;
    struct tun_establish_intro m;
    struct tun_rendezvous r = {.cookie = {0}};
    uint8_t binding[32];
    if (command != TUN_CMD_INTRODUCE && command != TUN_CMD_JOIN)
        return;
    s.waits = world_circuit(s.w, OTHER, (const unsigned[]){4, 5, 6, POINT}, 4);
    cr_assert_neq(s.waits, 0);
    tun_body_init(&b);
    if (command == TUN_CMD_INTRODUCE) {
        cr_assert_eq(tun_circuit_binding(s.w->node[OTHER].t, s.waits, 3, binding), CV_ERR_OK);
        tun_establish_intro_sign(&m, secret(9), binding);
        tun_establish_intro_write(&b.w, &m);
        ask(OTHER, s.waits, TUN_CMD_ESTABLISH_INTRO, &b);
    } else {
        memcpy(r.cookie, cookie, sizeof cookie);
        tun_rendezvous_write(&b.w, &r);
        ask(OTHER, s.waits, TUN_CMD_ESTABLISH_RENDEZVOUS, &b);
    }
    world_run(s.w, CV_MSEC(200));
}

Test(tun_shape, a_question_and_its_answer_are_a_datagram_each) {
    begin();
    s.v->item[s.v->items++] = item(5);
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
        others_end(questions[i].command);
        s.circuit = world_circuit(s.w, OWNER, (const unsigned[]){0, 1, 2, POINT}, 4);
        cr_assert_neq(s.circuit, 0);
        world_run(s.w, CV_MSEC(50));
        struct tun_body b;
        tun_body_init(&b);
        questions[i].body(&b.w);
        s.refuses = questions[i].refuses;
        look_anew();
        uint32_t transaction = ask(OWNER, s.circuit, questions[i].command, &b);
        world_run(s.w, CV_MSEC(600));
        cr_expect_str_eq(s.seen, questions[i].wire, "%s: %s", questions[i].name, s.seen);
        struct world_event *e = world_reply(s.w, OWNER, transaction);
        cr_assert_not_null(e, "%s", questions[i].name);
        cr_expect_eq(e->ev.reply.command, questions[i].answer, "%s", questions[i].name);
        leave(OWNER, &s.circuit);
        if (s.waits)
            leave(OTHER, &s.waits);
    }
    village_free(s.v);
}

/* Each hop of a circuit can be asked: the wire does not say which one was. The last one is
 * asked in between, as the owner does by itself when that one says nothing for a while. */
Test(tun_shape, whichever_hop_answers) {
    begin();
    s.circuit = world_circuit(s.w, OWNER, (const unsigned[]){0, 1, 2, POINT}, 4);
    cr_assert_neq(s.circuit, 0);
    static const unsigned hops[] = {3, 0, 3, 1, 3, 2, 3};
    for (size_t i = 0; i < sizeof hops / sizeof *hops; i++) {
        unsigned hop = hops[i];
        struct cv_now now = world_now(s.w, OWNER);
        uint32_t transaction;
        look_anew();
        cr_assert_eq(tun_circuit_request(s.w->node[OWNER].t, &now, s.circuit, hop, TUN_CMD_PING,
                                         NULL, 0, &transaction),
                     CV_ERR_OK);
        sim_touch(s.w->sim, OWNER);
        world_run(s.w, CV_MSEC(600));
        cr_expect_str_eq(s.seen, "><", "hop %u: %s", hop, s.seen);
    }
    village_free(s.v);
}

/* Who waits is told by one datagram, of an introduction and of who joined. */
Test(tun_shape, who_waits_is_told_by_one_datagram) {
    begin();
    for (unsigned joins = 0; joins <= 1; joins++) {
        struct tun_body b;
        tun_body_init(&b);
        s.circuit = world_circuit(s.w, OWNER, (const unsigned[]){0, 1, 2, POINT}, 4);
        s.waits = world_circuit(s.w, OTHER, (const unsigned[]){4, 5, 6, POINT}, 4);
        cr_assert(s.circuit && s.waits);
        struct tun_rendezvous r = {.cookie = {5}, .flight = flight, .flight_len = sizeof flight};
        if (joins)
            rendezvous(&b.w);
        else
            point_well(&b.w);
        ask(OWNER, s.circuit, joins ? TUN_CMD_ESTABLISH_RENDEZVOUS : TUN_CMD_ESTABLISH_INTRO, &b);
        world_run(s.w, CV_MSEC(200));
        look_anew();
        tun_body_init(&b);
        if (joins)
            tun_rendezvous_write(&b.w, &r);
        else
            introduce(&b.w, 8);
        ask(OTHER, s.waits, joins ? TUN_CMD_JOIN : TUN_CMD_INTRODUCE, &b);
        world_run(s.w, CV_MSEC(200));
        cr_expect_str_eq(s.seen, "<", "%u: %s", joins, s.seen);
        leave(OWNER, &s.circuit);
        leave(OTHER, &s.waits);
    }
    village_free(s.v);
}

/* ---- a whole viewer ---- */

enum { TRACE = 8192 };
struct trace {
    unsigned n;
    struct {
        cv_usec at;
        bool out;
    } of[TRACE];
};

static enum sim_verdict record(void *ctx, const struct sim_datagram *d) {
    struct trace *t = ctx;
    if (d->from_node != OWNER && d->to_node != OWNER)
        return SIM_PASS;
    cr_assert_lt(t->n, TRACE);
    t->of[t->n].at = d->at;
    t->of[t->n++].out = d->from_node == OWNER;
    return SIM_PASS;
}

/* What a viewer sends and gets who looks for a swarm of which nobody has written anything
 * that can be read. */
static void view(enum village_manner relays, struct trace *ret) {
    struct village *v = village_new(&(struct sim_config){.seed = 2}, RELAYS);
    sim_path_default(v->w->sim, &(struct sim_path){.delay = CV_MSEC(5)});
    v->stale = item(world_now(v->w, 0).wall);
    for (unsigned i = 0; i < RELAYS; i++)
        v->manner[i] = relays;
    world_run(v->w, CV_SEC(12));
    cr_assert_eq(village_client(v), OWNER);
    *ret = (struct trace){.n = 0};
    sim_hook(v->w->sim, record, ret);
    world_run(v->w, CV_SEC(5));
    unsigned before = ret->n;
    village_view(v, OWNER, "a film");
    world_run(v->w, CV_SEC(30));
    cr_expect_geq(v->lookups, 6, "%u", v->lookups);
    cr_expect_gt(ret->n, before + 6 * 4);
    village_free(v);
}

static bool same(const struct trace *a, const struct trace *b) {
    for (unsigned i = 0; i < a->n && i < b->n; i++)
        if (a->of[i].at != b->of[i].at || a->of[i].out != b->of[i].out)
            return false;
    return a->n == b->n;
}

/* To the microsecond, whether slots hold nothing or what somebody put there. */
Test(tun_shape, what_stands_in_slots_does_not_show) {
    static struct trace nothing_there, something_there, no_answer;
    view(VILLAGE_CENSOR, &nothing_there);
    view(VILLAGE_STALE, &something_there);
    view(VILLAGE_SILENT, &no_answer);
    cr_expect(same(&nothing_there, &something_there), "%u and %u datagrams", nothing_there.n,
              something_there.n);
    cr_expect_not(same(&nothing_there, &no_answer),
                  "silence does show: else this compares nothing");
}
