/*
 * Every (state x message) cell of the state machines that strangers can reach: what
 * a relay does with each relay command in each role of a circuit (introduction and
 * rendezvous are two of them), and what the links on either side say of one. A table
 * says what happens, a loop makes it happen, and after each cell the circuit still does
 * what it did before. Owners: test_owner_states.c, links: test_link_states.c.
 */
#include "support/suite.h"
#include "tunnel/tests/world.h"

CV_SUITE(tun_states);

enum {
    COMMANDS = TUN_CMD_CONNECTED + 1, /* the last does not exist */
    RELAYS = 4,
    ONE = RELAYS, /* clients */
    TWO,
};
static_assert(COMMANDS == 32, "a new command needs a column");

/* ---- what is seen ---- */

struct scene {
    struct world *w;
    cv_handle circuit;            /* of client ONE, to the hop that is looked at */
    unsigned hop;                 /* its number in the circuit */
    unsigned relay;               /* where it lives */
    cv_handle other;              /* of client TWO, where a second is needed */
    unsigned requests, datagrams; /* given to the users at that relay */
    char said, said_first;        /* by that hop to ONE; 0: nothing */
    bool two_heard;
};

static struct tun_circuit *circuit_of(struct scene *s, unsigned node, cv_handle c) {
    return tun_handles_get(&s->w->node[node].t->circuits, c);
}

static struct tun_hop *hop_of(struct scene *s) {
    /* the first that was made there: that of ONE */
    return world_hop(s->w, s->relay);
}

static char letter(const struct tun_inner *in) {
    static const char codes[] = "?umdnxrlb";
    switch (in->command) {
    case TUN_CMD_ERROR:
        return in->len > 4 && in->data[4] < 9 ? codes[in->data[4]] : '?';
    case TUN_CMD_INTRODUCE_ACK: /* whatever it says about the other circuit */
    case TUN_CMD_EXTENDED:
    case TUN_CMD_INTRO_ESTABLISHED:
    case TUN_CMD_RENDEZVOUS_ESTABLISHED:
    case TUN_CMD_JOINED:
    case TUN_CMD_PACE:
    case TUN_CMD_PONG:
        return '+';
    default:
        return '*';
    }
}

/* Opens what goes to ONE with a copy of its keys. */
static enum sim_verdict listen(void *ctx, const struct sim_datagram *d) {
    struct scene *s = ctx;
    struct tun_circuit *c = s->circuit ? circuit_of(s, ONE, s->circuit) : NULL;
    struct tun_header h;
    if (d->to_node == TWO)
        s->two_heard = true;
    if (!c || d->to_node != ONE || d->len != TUN_DATAGRAM ||
        !tun_cell_open(d->buf, &c->leg.link->now.rx_secret, &h) || h.command != TUN_LINKCMD_RELAY ||
        h.circuit != c->leg.id)
        return SIM_PASS;
    static struct tun_onion copy;
    uint8_t cell[TUN_CELL];
    unsigned who;
    struct tun_inner in;
    copy = c->onion;
    memcpy(cell, d->buf + TUN_HEADER, TUN_CELL);
    if (tun_onion_unwrap(&copy, d->at, cell, h.layer, &who, &in) == CV_ERR_OK && who == s->hop &&
        in.command != TUN_CMD_PADDING) {
        s->said = letter(&in);
        if (!s->said_first)
            s->said_first = s->said;
    }
    return SIM_PASS;
}

static struct scene *watched; /* the users' callbacks have no other way to it */

static void to_node(struct world_node *n, const struct cv_now *now, const struct tun_event *ev) {
    (void)now;
    if (n->id != watched->relay)
        return;
    watched->requests += ev->kind == TUN_EVENT_REQUEST;
    watched->datagrams += ev->kind == TUN_EVENT_HOP_DATAGRAM;
}

static void to_client(void *ctx, struct tunnel *t, const struct cv_now *now,
                      const struct tun_event *ev) {
    (void)now;
    (void)ctx;
    if (t == watched->w->node[watched->relay].t)
        watched->requests += ev->kind == TUN_EVENT_REQUEST;
}

static void begin(struct scene *s) {
    static struct tun_user_ops ops;
    *s = (struct scene){.w = world_new(&(struct sim_config){.seed = 1})};
    watched = s;
    for (unsigned i = 0; i < RELAYS; i++) {
        world_relay(s->w, &(struct tun_config){.relay_flags = TUN_RELAY_EXIT});
        s->w->node[i].on_event = to_node;
        struct tunnel *t = s->w->node[i].t;
        ops = *t->ops[TUN_USER_CLIENT];
        ops.on_event = to_client;
        t->ops[TUN_USER_CLIENT] = &ops;
    }
    world_client(s->w, NULL);
    world_client(s->w, NULL);
    sim_path_default(s->w->sim, &(struct sim_path){.delay = CV_MSEC(2)});
    sim_hook(s->w->sim, listen, s);
}

/* A cell of the owner's to hop `hop`, whatever it says. */
static void say(struct scene *s, unsigned node, cv_handle circuit, unsigned hop, uint8_t command,
                const void *data, size_t len) {
    struct tunnel *t = s->w->node[node].t;
    struct tun_circuit *c = circuit_of(s, node, circuit);
    cr_assert_not_null(c);
    struct tun_cell *cell = tun_cell_take(t);
    cr_assert_not_null(cell);
    if (len)
        memcpy(tun_onion_data(cell->octets, hop), data, len);
    cr_assert_eq(tun_onion_wrap(&c->onion, &t->fast, cell->octets, hop, command, len), CV_ERR_OK);
    cell->layer = 0;
    tun_put(t, &c->leg, cell, world_now(s->w, node).mono);
    sim_touch(s->w->sim, node);
    world_run(s->w, CV_MSEC(60));
}

/* ---- bodies ---- */

enum body { SHORT, BARE, JUNK, RIGHT, BODIES };
static const char *const body_names[BODIES] = {"cut short", "a transaction alone", "junk", "right"};

static const uint8_t cookie[TUN_RENDEZVOUS_COOKIE] = {1, 2, 3}, fresh_cookie[20] = {9};
static const struct cv_ed25519_secret *auth_key(void) {
    static struct cv_ed25519_secret secret;
    cv_ed25519_from_seed(&secret, (const uint8_t[CV_KEY]){42});
    return &secret;
}

/* A body as it should be, for this hop, and one that could be granted. */
static size_t right_body(struct scene *s, uint8_t command, uint32_t transaction, uint8_t *body,
                         size_t cap) {
    struct cv_wr w = cv_wr_init(body, cap);
    static const uint8_t flight[TUN_FLIGHT1] = {1};
    switch (command) {
    case TUN_CMD_EXTEND: {
        struct tun_relay_ref to;
        world_ref(s->w, 3, &to);
        struct tun_extend m = {.transaction = transaction, .day = to.day, .flight = flight};
        m.flight_len = sizeof flight;
        memcpy(m.identity, to.identity, sizeof m.identity);
        memcpy(m.digest, to.d, sizeof m.digest);
        tun_extend_write(&w, &m);
        break;
    }
    case TUN_CMD_ESTABLISH_INTRO: {
        struct tun_establish_intro m = {.transaction = transaction};
        tun_establish_intro_sign(&m, auth_key(), hop_of(s)->binding);
        tun_establish_intro_write(&w, &m);
        break;
    }
    case TUN_CMD_INTRODUCE: {
        struct tun_introduce m = {.transaction = transaction, .flight = flight, .flight_len = 100};
        memcpy(m.auth_key, auth_key()->public_key, CV_KEY);
        tun_introduce_write(&w, &m);
        break;
    }
    case TUN_CMD_ESTABLISH_RENDEZVOUS:
    case TUN_CMD_JOIN: {
        struct tun_rendezvous m = {.transaction = transaction, .flight = flight};
        m.flight_len = command == TUN_CMD_JOIN ? 48 : 0;
        memcpy(m.cookie, command == TUN_CMD_JOIN ? cookie : fresh_cookie, sizeof m.cookie);
        tun_rendezvous_write(&w, &m);
        break;
    }
    case TUN_CMD_CONNECT: {
        struct tun_connect m = {.transaction = transaction, .flow = 1};
        m.addr = (struct cv_addr){.family = 4, .ip = {45, 1, 2, 3}, .port = 7000};
        tun_connect_write(&w, &m);
        break;
    }
    case TUN_CMD_PACE:
        tun_pace_write(&w, &(struct tun_pace){.transaction = transaction, .rate = 2});
        break;
    default:
        cv_wr_le32(&w, transaction);
        for (unsigned i = 0; i < 40; i++)
            cv_wr_u8(&w, (uint8_t)i);
        break;
    }
    cr_assert(!w.err);
    return cv_wr_len(&w);
}

static size_t make_body(struct scene *s, enum body kind, uint8_t command, uint8_t *body,
                        size_t cap) {
    static uint32_t transaction = 1000;
    transaction++;
    memset(body, 0, cap);
    switch (kind) {
    case SHORT:
        return 3;
    case BARE:
        memcpy(body, &transaction, 4);
        return 4;
    case JUNK:
        cv_rng_fill(sim_rng(s->w->sim), body, TUN_FORWARD_MAX);
        memcpy(body, &transaction, 4);
        return TUN_FORWARD_MAX;
    case RIGHT:
    case BODIES:
        break;
    }
    return right_body(s, command, transaction, body, cap);
}

/* ---- roles of a circuit at a relay ---- */

static void meet(struct scene *s, unsigned node, cv_handle *circuit) {
    *circuit = world_circuit(s->w, node, (const unsigned[]){0, 1}, 2);
    cr_assert_neq(*circuit, 0);
}

static void fresh(struct scene *s) {
    meet(s, ONE, &s->circuit);
    s->hop = s->relay = 1;
}

static void extended(struct scene *s) {
    s->circuit = world_circuit(s->w, ONE, (const unsigned[]){0, 1, 2}, 3);
    cr_assert_neq(s->circuit, 0);
    s->hop = s->relay = 1;
}

static void paced(struct scene *s) {
    extended(s);
    struct cv_now now = world_now(s->w, ONE);
    cr_assert_eq(tun_circuit_pace(s->w->node[ONE].t, &now, s->circuit, 2), CV_ERR_OK);
    sim_touch(s->w->sim, ONE);
    world_run(s->w, CV_MSEC(60));
    cr_assert_not_null(hop_of(s)->pace);
}

static void running_on(struct scene *s) {
    paced(s);
    struct cv_now now = world_now(s->w, ONE);
    cr_assert_eq(tun_circuit_run_on(s->w->node[ONE].t, &now, s->circuit, 60), CV_ERR_OK);
    sim_touch(s->w->sim, ONE);
    world_run(s->w, CV_MSEC(60));
    cr_assert_not(hop_of(s)->extended);
}

/* EXTEND to relay 2, with octets for a flight. */
static void ask_extend(struct scene *s) {
    struct tun_relay_ref to;
    world_ref(s->w, 2, &to);
    struct tun_extend m = {.transaction = 5, .day = to.day, .flight = to.identity};
    m.flight_len = CV_KEY;
    memcpy(m.identity, to.identity, sizeof m.identity);
    memcpy(m.digest, to.d, sizeof m.digest);
    uint8_t body[300];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    tun_extend_write(&w, &m);
    say(s, ONE, s->circuit, 1, TUN_CMD_EXTEND, body, cv_wr_len(&w));
    cr_assert_not_null(hop_of(s)->flight);
}

static void extending(struct scene *s) {
    fresh(s);
    sim_path(s->w->sim, 1, 2, &(struct sim_path){.cut = true});
    ask_extend(s);
}

static void opened(struct scene *s) {
    fresh(s);
    hop_of(s)->asked = true;
    struct cv_now now = world_now(s->w, 1);
    cr_assert_eq(tun_answer(s->w->node[1].t, &now, hop_of(s)->handle, 6, TUN_CMD_OPENED, NULL, 0),
                 CV_ERR_OK);
    sim_touch(s->w->sim, 1);
    world_run(s->w, CV_MSEC(50));
}

/* The node was asked and has not said anything yet. */
static void opening(struct scene *s) {
    fresh(s);
    say(s, ONE, s->circuit, 1, TUN_CMD_OPEN, (const uint8_t[]){6, 0, 0, 0, 1, 0, 'a'}, 7);
    cr_assert(hop_of(s)->opening);
}

static void exiting(struct scene *s) {
    fresh(s);
    hop_of(s)->asked = true;
    struct cv_now now = world_now(s->w, 1);
    cr_assert_eq(
        tun_answer(s->w->node[1].t, &now, hop_of(s)->handle, 6, TUN_CMD_CONNECTED, NULL, 0),
        CV_ERR_OK);
    sim_touch(s->w->sim, 1);
    world_run(s->w, CV_MSEC(50));
    cr_assert(hop_of(s)->exit);
}

static void introduction(struct scene *s) {
    uint8_t body[TUN_FORWARD_MAX];
    fresh(s);
    size_t len = right_body(s, TUN_CMD_ESTABLISH_INTRO, 7, body, sizeof body);
    say(s, ONE, s->circuit, 1, TUN_CMD_ESTABLISH_INTRO, body, len);
    cr_assert(hop_of(s)->is_intro);
}

static void establish(struct scene *s, unsigned node, cv_handle circuit, uint8_t command) {
    struct tun_rendezvous m = {.transaction = 8, .flight = cookie};
    m.flight_len = command == TUN_CMD_JOIN ? sizeof cookie : 0;
    memcpy(m.cookie, cookie, sizeof cookie);
    uint8_t body[100];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    tun_rendezvous_write(&w, &m);
    say(s, node, circuit, 1, command, body, cv_wr_len(&w));
}

static void rendezvous(struct scene *s) {
    fresh(s);
    establish(s, ONE, s->circuit, TUN_CMD_ESTABLISH_RENDEZVOUS);
    cr_assert(hop_of(s)->is_rendezvous);
}

static void viewer(struct scene *s) {
    rendezvous(s);
    meet(s, TWO, &s->other);
    establish(s, TWO, s->other, TUN_CMD_JOIN);
    cr_assert_not_null(hop_of(s)->spliced);
}

static void seeder(struct scene *s) {
    fresh(s);
    meet(s, TWO, &s->other);
    establish(s, TWO, s->other, TUN_CMD_ESTABLISH_RENDEZVOUS);
    establish(s, ONE, s->circuit, TUN_CMD_JOIN);
    cr_assert_not_null(hop_of(s)->spliced);
}

/*
 * .  nothing      +  the answer that was asked for     ?  asked of the node or the client
 * u  unknown      m  malformed     n  no such thing    x  unreachable    r  refused
 * D  a datagram for the node       >  passed on to the other circuit
 *
 * Columns are commands 1 to 32: what is an answer or comes from relays only is
 * unknown here; an EXIT that belongs to no flow is unknown. A second
 * "right" EXTEND is x because the relay that is meant refuses the flight.
 */
/* clang-format off */
#define ALL_SHORT(first) first "mmmmmmmmmmmmmmmmmmm.mmmmmmmmmmm"
static const struct {
    const char *name;
    void (*reach)(struct scene *);
    /* cut short, a transaction alone, junk, right:
         12345678911111111112222222222333
                  01234567890123456789012 */
    const char *answers[BODIES];
} roles[] = {
    { "fresh", fresh, {
        ALL_SHORT("."),
        ".mu???u?umumuumumu+u.u?um?uuu?uu",
        ".mu???u?uru+uu+unu+u.u?ur?uuu?uu",
        ".xu???u?u+u+uu+unu+u.u?ur?uuu?uu" } },
    { "extending", extending, {
        ALL_SHORT("."),
        ".mu???u?umumuumumu+u.urum?uuuruu",
        ".mu???u?uru+uururu+u.urur?uuuruu",
        ".ru???u?uru+uururu+u.urur?uuuruu" } },
    { "extended", extended, {
        ALL_SHORT("."),
        ".mu???u?umumuumumu+u.urum?uuuruu",
        ".mu???u?uru+uururu+u.urur?uuuruu",
        ".ru???u?uru+uururu+u.uru+?uuuruu" } },
    { "paced", paced, {
        ALL_SHORT("."),
        ".mu???u?umumuumumu+u.urum?uuuruu",
        ".mu???u?uru+uururu+u.urur?uuuruu",
        ".ru???u?uru+uururu+u.urur?uuuruu" } },
    { "running on", running_on, {
        ALL_SHORT("."),
        ".mu???u?umumuumumu+u.urum?uuuruu",
        ".mu???u?uru+uururu+u.urur?uuuruu",
        ".ru???u?uru+uururu+u.urur?uuuruu" } },
    { "opening", opening, {
        ALL_SHORT("D"),
        "Dmu???u?umumuumumu+u.urum?uuuruu",
        "Dmu???u?uru+uururu+u.urur?uuuruu",
        "Dru???u?uru+uururu+u.urur?uuuruu" } },
    { "open", opened, {
        ALL_SHORT("D"),
        "Dmu???u?umumuumumu+u.u?um?uuuruu",
        "Dmu???u?uru+uururu+u.u?ur?uuuruu",
        "Dru???u?uru+uururu+u.u?ur?uuuruu" } },
    { "exit", exiting, {
        ".mmmmmmmmmmmmmmmmmmm.mm.mmmmmmmm",
        ".mu???u?umumuumumu+u.urDm?uuu?uu",
        ".mu???u?uru+uururu+u.urDr?uuu?uu",
        ".ru???u?uru+uururu+u.urDr?uuu?uu" } },
    { "introduction", introduction, {
        ALL_SHORT("."),
        ".mu???u?umumuumumu+u.urum?uuuruu",
        ".mu???u?uru+uururu+u.urur?uuuruu",
        ".ru???u?uru+uururu+u.urur?uuuruu" } },
    { "rendezvous", rendezvous, {
        ALL_SHORT("."),
        ".mu???u?umumuumumu+u.urum?uuuruu",
        ".mu???u?uru+uururu+u.urur?uuuruu",
        ".ru???u?uru+uururu+u.urur?uuuruu" } },
    { "viewer, joined", viewer, {
        ALL_SHORT(">"),
        ">mu???u?umumuumumu+u.urum?uuuruu",
        ">mu???u?uru+uururu+u.urur?uuuruu",
        ">ru???u?uru+uururu+u.urur?uuuruu" } },
    { "seeder, joined", seeder, {
        ALL_SHORT(">"),
        ">mu???u?umumuumumu+u.urum?uuuruu",
        ">mu???u?uru+uururu+u.urur?uuuruu",
        ">ru???u?uru+uururu+u.urur?uuuruu" } },
};
/* clang-format on */

static char outcome(struct scene *s) {
    if (s->requests)
        return '?';
    if (s->datagrams)
        return 'D';
    if (s->two_heard)
        return '>';
    return s->said ? s->said : '.';
}

static char ping(struct scene *s) {
    s->said = 0;
    s->two_heard = false;
    say(s, ONE, s->circuit, s->hop, TUN_CMD_PING, "\xff\xff\xff\x7f", 4);
    return s->said;
}

Test(tun_states, of_circuits_at_a_relay) {
    for (size_t r = 0; r < sizeof roles / sizeof *roles; r++)
        for (enum body b = SHORT; b < BODIES; b++) {
            char got[COMMANDS + 1] = {0};
            for (uint8_t command = 1; command <= (uint8_t)COMMANDS; command++) {
                static struct scene s;
                uint8_t body[TUN_FORWARD_MAX];
                begin(&s);
                roles[r].reach(&s);
                world_run(s.w, CV_MSEC(300)); /* what was repeated has been */
                s.requests = s.datagrams = 0;
                s.two_heard = false;
                s.said = 0;
                size_t len = make_body(&s, b, command, body, sizeof body);
                bool was = hop_of(&s)->is_intro;
                say(&s, ONE, s.circuit, s.hop, command, body, len);
                got[command - 1] = outcome(&s);
                cr_expect_not_null(hop_of(&s), "%s, %s, command %u: the circuit ended",
                                   roles[r].name, body_names[b], command);
                cr_expect(!was || hop_of(&s)->is_intro, "command %u took a role away", command);
                cr_expect_eq(ping(&s), '+', "%s, %s, command %u: then silent", roles[r].name,
                             body_names[b], command);
                world_free(s.w);
            }
            cr_expect_str_eq(got, roles[r].answers[b], "%s, %s:\n got %s\nwant %s", roles[r].name,
                             body_names[b], got, roles[r].answers[b]);
        }
}

/* ---- what the links on either side say of a circuit at a relay ---- */

/* The next relay was asked, and its CREATED is lost. */
static void creating(struct scene *s) {
    struct tun_relay_ref to;
    struct tun_link *l;
    struct cv_now now = world_now(s->w, 1);
    world_ref(s->w, 2, &to);
    cr_assert_eq(tun_link_open(s->w->node[1].t, &now, &to, &l), CV_ERR_OK);
    sim_touch(s->w->sim, 1);
    world_run(s->w, CV_MSEC(100));
    fresh(s);
    sim_path(s->w->sim, 2, 1, &(struct sim_path){.cut = true});
    ask_extend(s);
    sim_path(s->w->sim, 2, 1, &(struct sim_path){.delay = CV_MSEC(2)});
    cr_assert(hop_of(s)->create_tries);
}

enum side { PREVIOUS, NEXT, SIDES };

/* Of link commands those that name a circuit, right and wrong, and a cell of nobody's. */
static const struct {
    uint8_t command, len;
} said[] = {
    {TUN_LINKCMD_CREATE, 100},  {TUN_LINKCMD_CREATED, 0},      {TUN_LINKCMD_CREATED, TUN_FLIGHT2},
    {TUN_LINKCMD_CREATED, 255}, {TUN_LINKCMD_DESTROY, 0},      {TUN_LINKCMD_PADDING, 100},
    {TUN_LINKCMD_CONTINUE, 36}, {TUN_LINKCMD_CONTINUE + 1, 0},
};
enum { SAID = sizeof said / sizeof *said };
static_assert(TUN_LINKCMD_CONTINUE == 15, "which of them name a circuit?");

/* . nothing  + EXTENDED  x ERROR(unreachable)  ! the circuit ends  - there is nobody on that side
 *
 * CREATE, CREATED (empty, of a flight, longer), DESTROY, PADDING, CONTINUE, one that is none. */
/* clang-format off */
static const struct {
    const char *name;
    void (*reach)(struct scene *);
    const char *answers[SIDES];
} told[] = {
    { "fresh",          fresh,        { "....!...", "--------" } },
    { "extending",      extending,    { "....!...", "--------" } },
    { "creating",       creating,     { "....!...", ".+++x..." } },
    { "extended",       extended,     { "....!...", "....!..." } },
    { "paced",          paced,        { "....!...", "....x..." } },
    { "running on",     running_on,   { "....!...", "--------" } },
    { "opening",        opening,      { "....!...", "--------" } },
    { "open",           opened,       { "....!...", "--------" } },
    { "exit",           exiting,      { "....!...", "--------" } },
    { "introduction",   introduction, { "....!...", "--------" } },
    { "rendezvous",     rendezvous,   { "....!...", "--------" } },
    { "viewer, joined", viewer,       { "....!...", "--------" } },
    { "seeder, joined", seeder,       { "....!...", "--------" } },
};
/* clang-format on */

/* A link of one relay to another; NULL: there is none, or it is not open. */
static struct tun_link *link_between(struct scene *s, unsigned from, unsigned to) {
    uint32_t cursor = 0;
    struct tun_link *l;
    while ((l = tun_handles_next(&s->w->node[from].t->links, &cursor)) != NULL)
        if (cv_addr_equal(&l->addr, &s->w->node[to].addr))
            return l->state == TUN_STATE_OPEN ? l : NULL;
    return NULL;
}

static char told_outcome(struct scene *s, enum side side, unsigned m) {
    uint8_t body[256] = {7};
    const struct tun_leg *leg = side == PREVIOUS ? &hop_of(s)->prev : &hop_of(s)->next;
    unsigned by = side == PREVIOUS ? s->relay - 1 : s->relay + 1;
    struct tun_link *l = leg->link ? link_between(s, by, s->relay) : NULL;
    if (!l)
        return '-';
    cv_handle hop = hop_of(s)->handle;
    s->said_first = 0;
    cr_assert_eq(tun_link_control(s->w->node[by].t, l, said[m].command, leg->id, body, said[m].len),
                 CV_ERR_OK);
    sim_touch(s->w->sim, by);
    world_run(s->w, CV_MSEC(60));
    if (!tun_handles_get(&s->w->node[s->relay].t->hops, hop))
        return '!';
    char got = s->said_first ? s->said_first : '.';
    cr_expect_eq(ping(s), '+', "message %u of side %u: then silent", m, side);
    return got;
}

Test(tun_states, of_circuits_at_a_relay_told_by_the_link) {
    for (size_t r = 0; r < sizeof told / sizeof *told; r++)
        for (enum side side = PREVIOUS; side < SIDES; side++) {
            char got[SAID + 1] = {0};
            static struct scene s;
            bool fit = false; /* for the next message, too */
            for (unsigned m = 0; m < SAID; m++) {
                if (!fit) {
                    begin(&s);
                    told[r].reach(&s);
                    world_run(s.w, CV_MSEC(40));
                }
                got[m] = told_outcome(&s, side, m);
                /* what is repeated goes on with time */
                fit =
                    (got[m] == '.' || got[m] == '-') && !hop_of(&s)->flight && !hop_of(&s)->joined;
                if (!fit || m == SAID - 1)
                    world_free(s.w);
            }
            cr_expect_str_eq(got, told[r].answers[side],
                             "%s, told by the %s one:\n got %s\nwant %s", told[r].name,
                             side == NEXT ? "next" : "previous", got, told[r].answers[side]);
        }
}

/* ---- what befalls a circuit at a relay ---- */

enum {
    LINK_LOST,   /* that towards the owner */
    NEXT_LOST,   /* that onwards */
    NEXT_SILENT, /* for half a minute */
    SILENT,      /* its owner, for nearly as long as he may be, */
    SILENT_LONG, /* and longer */
    DRAIN,       /* the relay takes no more */
    ENDED,       /* it ends those that it has */
    CLOCK_BACK,  /* its wall clock, by a day */
    CLOCK_AHEAD,
    FATES,
};

/* . it still answers  x the same, and says that nobody is behind it  ! it is gone, and what
 * it was joined to as well  - there is nobody behind it
 *
 * Whoever keeps a rate is deserted sooner, and one that runs on ends when it was to. */
/* clang-format off */
static const struct {
    const char *name;
    void (*reach)(struct scene *);
    const char *answers;
} fates[] = {
    { "fresh",          fresh,        "!--.!.!.." },
    { "extending",      extending,    "!xxx!.!.." },
    { "creating",       creating,     "!xxx!.!xx" }, /* who is asked refuses, in the end */
    { "extended",       extended,     "!!..!.!.." },
    { "paced",          paced,        "!x.!!.!.." },
    { "running on",     running_on,   "!--!!.!.." },
    { "opening",        opening,      "!--.!.!.." },
    { "open",           opened,       "!--.!.!.." },
    { "exit",           exiting,      "!--.!.!.." },
    { "introduction",   introduction, "!--.!.!.." },
    { "rendezvous",     rendezvous,   "!--.!.!.." },
    { "viewer, joined", viewer,       "!--.!.!.." },
    { "seeder, joined", seeder,       "!--.!.!.." },
};
/* clang-format on */

static void befall(struct scene *s, unsigned m) {
    struct tunnel *t = s->w->node[s->relay].t;
    struct cv_now now = world_now(s->w, s->relay);
    cv_usec until = CV_MSEC(60);
    switch (m) {
    case LINK_LOST:
        tun_link_fail(t, &now, hop_of(s)->prev.link, CV_ERR_CLOSED);
        break;
    case NEXT_LOST:
        tun_link_fail(t, &now, hop_of(s)->next.link, CV_ERR_CLOSED);
        break;
    case NEXT_SILENT:
        sim_path(s->w->sim, s->relay + 1, s->relay, &(struct sim_path){.cut = true});
        until = CV_SEC(30);
        break;
    case SILENT:
    case SILENT_LONG: /* the links are there, and he thinks of nothing any more */
        tun_timer_set(s->w->node[ONE].t, &circuit_of(s, ONE, s->circuit)->timer, CV_USEC_NEVER);
        until = m == SILENT ? TUN_HOP_IDLE - CV_SEC(10) : TUN_HOP_IDLE + CV_SEC(1);
        break;
    case DRAIN:
        tun_drain(t, true);
        break;
    case ENDED:
        tun_hops_end(t, &now, 0);
        break;
    default:
        sim_wall_skew(s->w->sim, s->relay, m == CLOCK_BACK ? -86400 : 86400);
        until = CV_SEC(5);
        break;
    }
    sim_touch(s->w->sim, s->relay);
    world_run(s->w, until);
}

static char fate(struct scene *s, unsigned m) {
    bool behind = hop_of(s)->next.link != NULL;
    if ((m == NEXT_LOST || m == NEXT_SILENT) && !behind)
        return '-';
    s->said_first = 0;
    befall(s, m);
    if (!hop_of(s))
        return '!';
    char first = s->said_first;
    cr_expect_eq(ping(s), '+', "fate %u: then silent", m);
    return first == 'x' ? 'x' : '.';
}

Test(tun_states, of_what_befalls_circuits_at_a_relay) {
    for (size_t r = 0; r < sizeof fates / sizeof *fates; r++) {
        char got[FATES + 1] = {0};
        for (unsigned m = 0; m < FATES; m++) {
            static struct scene s;
            begin(&s);
            fates[r].reach(&s);
            got[m] = fate(&s, m);
            world_free(s.w);
        }
        cr_expect_str_eq(got, fates[r].answers, "%s:\n got %s\nwant %s", fates[r].name, got,
                         fates[r].answers);
    }
}
