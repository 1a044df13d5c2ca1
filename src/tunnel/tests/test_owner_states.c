/*
 * Every (state x message) cell of a circuit at its owner, from the first flight of its
 * link to the rate that runs on when nobody uses it any more: what each of its hops
 * says, what the guard says of it by the link, what its user does with it, and what
 * befalls it: its link lost, silence, a wall clock that jumps. After each cell the circuit
 * still becomes, or stays, what it was to be. Relays: test_states.c.
 */
#include "support/suite.h"
#include "tunnel/tests/world.h"

CV_SUITE(tun_owner_states);

enum {
    COMMANDS = TUN_CMD_CONNECTED + 1, /* the last does not exist */
    RELAYS = 4,
    ONE = RELAYS, /* the owner */
    MBIT = 1,
    RUN_ON_S = 20,
};
static_assert(COMMANDS == 32, "a new command needs a column");

struct scene {
    struct world *w;
    cv_handle circuit;
    unsigned guard; /* the relay that its link leads to */
    unsigned hop;   /* who speaks, by its number in the circuit, */
    unsigned relay; /* and where it lives */
    bool holds;     /* what comes to the owner is kept back: */
    uint8_t held[TUN_DATAGRAM];
    bool has_held;
};

static struct tunnel *owner(struct scene *s) {
    return s->w->node[ONE].t;
}

static struct tun_circuit *circuit_of(struct scene *s) {
    return tun_handles_get(&owner(s)->circuits, s->circuit);
}

static enum sim_verdict hold(void *ctx, const struct sim_datagram *d) {
    struct scene *s = ctx;
    if (!s->holds || d->to_node != ONE || d->len != TUN_DATAGRAM)
        return SIM_PASS;
    memcpy(s->held, d->buf, TUN_DATAGRAM);
    s->has_held = true;
    return SIM_DROP;
}

static void run(struct scene *s, cv_usec for_so_long) {
    sim_touch(s->w->sim, ONE);
    world_run(s->w, for_so_long);
}

static void path(struct scene *s, unsigned from, unsigned to, bool cut) {
    sim_path(s->w->sim, from, to, &(struct sim_path){.delay = CV_MSEC(2), .cut = cut});
}

static void begin(struct scene *s) {
    *s = (struct scene){.w = world_new(&(struct sim_config){.seed = 1})};
    for (unsigned i = 0; i < RELAYS; i++)
        world_relay(s->w, NULL);
    world_client(s->w, NULL);
    sim_path_default(s->w->sim, &(struct sim_path){.delay = CV_MSEC(2)});
    sim_hook(s->w->sim, hold, s);
}

/* ---- states ---- */

/* Flight 1 of its link is out. */
static void linking(struct scene *s) {
    path(s, 0, ONE, true);
    s->circuit = world_open(s->w, ONE, (const unsigned[]){0, 1}, 2);
    run(s, CV_MSEC(40));
    cr_assert_eq(circuit_of(s)->state, TUN_CIRCUIT_LINKING);
    cr_assert_not(tun_link_is_up(circuit_of(s)->leg.link));
}

/* The link is up this moment, and the circuit had no turn since. */
static void linked(struct scene *s) {
    s->holds = true;
    s->circuit = world_open(s->w, ONE, (const unsigned[]){0, 1}, 2);
    run(s, CV_MSEC(40));
    cr_assert(s->has_held);
    s->holds = false;
    struct cv_now now = world_now(s->w, ONE);
    (void)tun_on_datagram(owner(s), &now, &s->w->node[0].addr, s->held, TUN_DATAGRAM);
    cr_assert_eq(circuit_of(s)->state, TUN_CIRCUIT_LINKING);
    cr_assert(tun_link_is_up(circuit_of(s)->leg.link));
}

/* The link is up, CREATE came, CREATED got lost. */
static void creating(struct scene *s) {
    struct cv_now now = world_now(s->w, ONE);
    cv_handle first = world_circuit(s->w, ONE, (const unsigned[]){1}, 1);
    cr_assert_neq(first, 0);
    tun_circuit_close(owner(s), &now, first);
    run(s, CV_MSEC(40));
    path(s, 1, ONE, true);
    s->circuit = world_open(s->w, ONE, (const unsigned[]){1, 0}, 2);
    run(s, CV_MSEC(40));
    path(s, 1, ONE, false);
    s->guard = s->relay = 1;
    cr_assert_eq(circuit_of(s)->state, TUN_CIRCUIT_CREATING);
}

static void extending(struct scene *s) {
    path(s, 0, 1, true);
    s->circuit = world_open(s->w, ONE, (const unsigned[]){0, 1}, 2);
    run(s, CV_MSEC(40));
    cr_assert_eq(circuit_of(s)->state, TUN_CIRCUIT_EXTENDING);
}

static void ready_first(struct scene *s) {
    s->circuit = world_circuit(s->w, ONE, (const unsigned[]){0, 1, 2}, 3);
    cr_assert_neq(s->circuit, 0);
}

static void ready_last(struct scene *s) {
    ready_first(s);
    s->hop = s->relay = 2;
}

/* It was ready, and is to have one hop more. */
static void extending_on(struct scene *s) {
    struct tun_relay_ref to;
    ready_last(s);
    path(s, 2, 3, true);
    world_ref(s->w, 3, &to);
    struct cv_now now = world_now(s->w, ONE);
    cr_assert_eq(tun_circuit_extend(owner(s), &now, s->circuit, &to), CV_ERR_OK);
    run(s, CV_MSEC(40));
    cr_assert_eq(circuit_of(s)->state, TUN_CIRCUIT_EXTENDING);
}

static void order(struct scene *s) {
    struct cv_now now = world_now(s->w, ONE);
    cr_assert_eq(tun_circuit_pace(owner(s), &now, s->circuit, MBIT), CV_ERR_OK);
    run(s, CV_MSEC(40));
}

/* The second hop keeps the rate, and its answer got lost. */
static void ordered(struct scene *s) {
    ready_first(s);
    s->hop = s->relay = 1;
    path(s, 1, 0, true);
    order(s);
    path(s, 1, 0, false);
    cr_assert(circuit_of(s)->paced);
    cr_assert_eq(circuit_of(s)->asked, 1);
}

static void paced_first(struct scene *s) {
    ready_first(s);
    order(s);
    cr_assert_eq(circuit_of(s)->asked, 0);
}

static void paced_second(struct scene *s) {
    paced_first(s);
    s->hop = s->relay = 1;
}

static void paced_last(struct scene *s) {
    paced_first(s);
    s->hop = s->relay = 2;
}

static void end_use(struct scene *s) {
    struct cv_now now = world_now(s->w, ONE);
    cr_assert_eq(tun_circuit_run_on(owner(s), &now, s->circuit, RUN_ON_S), CV_ERR_OK);
}

static void runs_on_first(struct scene *s) {
    paced_first(s);
    end_use(s);
    run(s, CV_MSEC(40));
    cr_assert_eq(circuit_of(s)->asked, 0);
}

static void runs_on_second(struct scene *s) {
    runs_on_first(s);
    s->hop = s->relay = 1;
}

/* The second hop is still to hear, or to say, that it ends. */
static void runs_on_ordered(struct scene *s) {
    paced_second(s);
    end_use(s);
    cr_assert_eq(circuit_of(s)->asked, 1);
}

/* What the last hop said before it knew. */
static void runs_on_last(struct scene *s) {
    paced_last(s);
    end_use(s);
}

/*
 * What hops say: . nothing  r REPLY  d DATAGRAM  R ready (again)  ! the circuit is given up
 * D it is said to be down, and its rate runs on. Columns are commands 1 to 32; no hop has a
 * voice before CREATED.
 *
 * What the link says: a cell of nobody's, CREATE, CREATED (empty, of a flight, longer),
 * DESTROY, PADDING, CONTINUE.
 *
 * What its user does, and is told: . done  a AGAIN  i INVAL  n NOENT. Send; ask the first hop,
 * the last, one beyond; forget a question; give; extend; order a rate; let it run on; close.
 *
 * What befalls it: . it becomes, or stays, what it was to be  ! its user is told that it is
 * down: link lost (l), silence (t)  x it is gone, and nobody is told. Its link is lost; the
 * guard falls silent; so does who is behind the guard; the wall clock jumps back, ahead.
 */
enum about { NOTHING, SOMETHING_ELSE, WHAT_WAS_ASKED, ALONE, ABOUTS };
static const char *const about_names[ABOUTS] = {"empty", "an unknown transaction", "what was asked",
                                                "that it is alone"};
#define MUTE "................................"
/* clang-format off */
static const struct {
    const char *name;
    void (*reach)(struct scene *);
    const char *answers[ABOUTS], *told, *used, *fate;
} owners[] = {
    { "linking", linking, { NULL },
      "........", "aiai..aii.", "ltt.." },
    { "linked", linked, { NULL },
      ".....!..", "aiai..aii.", "ltt.." },
    { "creating", creating, { MUTE, MUTE, MUTE, MUTE },
      ".....!..", "aiai..aii.", "ltt.." },
    { "extending", extending, {
        MUTE,
        MUTE,
        "..!..................!..........",
        MUTE },
      ".....!..", "a..i..aii.", "ltt.." },
    { "ready, first hop", ready_first, {
        MUTE,
        MUTE,
        ".rrrrrrrrrrrr.rrrrrr.rr.rrrrrrrr",
        MUTE },
      ".....!..", "...i....i.", "ltt.." },
    { "ready, last hop", ready_last, {
        "d............r..................",
        "d............r...r.....d........",
        "drrrrrrrrrrrrrrrrrrr.rrdrrrrrrrr",
        "d............r...r.............." },
      ".....!..", "...i....i.", "ltt.." },
    { "extending on", extending_on, {
        MUTE,
        MUTE,
        "..!..................!..........",
        MUTE },
      ".....!..", "...i..aii.", "ltt.." },
    { "rate ordered", ordered, {
        MUTE,
        MUTE,
        ".....................!..R.......",
        ".....................D.........." },
      ".....!..", "...i...i..", "ltt.." },
    { "rate, first hop", paced_first, {
        MUTE,
        MUTE,
        ".rrrrrrrrrrrr.rrrrrr.rr.rrrrrrrr",
        MUTE },
      ".....!..", "...i...i..", "ltt.." },
    { "rate, second hop", paced_second, {
        MUTE,
        MUTE,
        ".rrrrrrrrrrrr.rrrrrr.rr.rrrrrrrr",
        ".....................D.........." },
      ".....!..", "...i...i..", "ltt.." },
    { "rate, last hop", paced_last, {
        "d............r..................",
        "d............r...r.....d........",
        "drrrrrrrrrrrrrrrrrrr.rrdrrrrrrrr",
        "d............r...r.............." },
      ".....!..", "...i...i..", "ltt.." },
    { "runs on, first hop", runs_on_first, { MUTE, MUTE, MUTE, MUTE },
      ".....x..", "nnnn..nii.", "xxx.." },
    { "runs on, second hop", runs_on_second, { MUTE, MUTE, MUTE, MUTE },
      ".....x..", "nnnn..nii.", "xxx.." },
    { "runs on, not agreed", runs_on_ordered, {
        MUTE,
        MUTE,
        ".....................x..........",
        MUTE },
      ".....x..", "nnnn..nii.", "xxx.." },
    { "runs on, last hop", runs_on_last, { MUTE, MUTE, MUTE, MUTE },
      ".....x..", "nnnn..nii.", "xxx.." },
};
/* clang-format on */
enum { OWNERS = sizeof owners / sizeof *owners };

/* ---- what is seen ---- */

struct seen {
    unsigned replies, ready, down;
    uint64_t datagrams;
};

static struct seen look(struct scene *s) {
    return (struct seen){.replies = world_count(s->w, ONE, TUN_EVENT_REPLY),
                         .ready = world_count(s->w, ONE, TUN_EVENT_CIRCUIT_READY),
                         .down = world_count(s->w, ONE, TUN_EVENT_CIRCUIT_DOWN),
                         .datagrams = s->w->node[ONE].datagrams};
}

static char became(struct scene *s, const struct seen *was) {
    struct seen is = look(s);
    bool down = is.down != was->down;
    if (!circuit_of(s))
        return down ? '!' : 'x';
    if (down)
        return circuit_of(s)->running_on ? 'D' : '?';
    if (is.datagrams != was->datagrams)
        return 'd';
    if (is.ready != was->ready)
        return 'R';
    return is.replies != was->replies ? 'r' : '.';
}

static bool is_asking(const struct tun_circuit *c) {
    const struct tun_asking *a;
    TAILQ_FOREACH(a, &c->askings, entry)
    if (!a->answered)
        return true;
    return false;
}

/* With a network that works it becomes what it was to be, or is that still. */
static bool goes_on(struct scene *s, bool ran_on) {
    for (unsigned i = 0; i <= ONE; i++)
        for (unsigned j = 0; j <= ONE; j++)
            path(s, i, j, false);
    s->holds = false;
    run(s, CV_SEC(8));
    const struct tun_circuit *c = circuit_of(s);
    return c && c->state == TUN_CIRCUIT_READY && c->running_on == ran_on &&
           c->onion.hops == c->plan.hops && !is_asking(c);
}

/* ---- what hops say ---- */

/* The newest at that relay. */
static struct tun_hop *newest_hop(struct scene *s) {
    struct tun_hop *h, *last = NULL;
    uint32_t cursor = 0;
    while ((h = tun_handles_next(&s->w->node[s->relay].t->hops, &cursor)) != NULL)
        last = h;
    return last;
}

static uint32_t transaction_of(struct scene *s, enum about about) {
    struct tun_circuit *c = circuit_of(s);
    uint32_t transaction = 0xdeadbeef;
    if (about == ALONE)
        return 0;
    if (about != WHAT_WAS_ASKED || c->state == TUN_CIRCUIT_CREATING)
        return transaction;
    if (c->asked) /* by the circuit itself */
        return TAILQ_FIRST(&c->askings)->transaction;
    struct cv_now now = world_now(s->w, ONE);
    (void)tun_circuit_request(owner(s), &now, s->circuit, s->hop, TUN_CMD_LOOKUP, "x", 1,
                              &transaction);
    return transaction;
}

static char said(struct scene *s, uint8_t command, enum about about) {
    uint8_t body[40] = {0};
    uint32_t transaction = transaction_of(s, about);
    memcpy(body, &transaction, 4);
    body[4] = about == ALONE ? TUN_ERROR_UNREACHABLE : 0;
    struct seen was = look(s);
    struct cv_now now = world_now(s->w, s->relay);
    cr_assert_eq(tun_hop_send(s->w->node[s->relay].t, &now, newest_hop(s), command, body,
                              about == NOTHING ? 0 : sizeof body),
                 CV_ERR_OK);
    sim_touch(s->w->sim, s->relay);
    run(s, CV_MSEC(30));
    return became(s, &was);
}

/* Nothing is under way that time would change. */
static bool is_at_rest(struct scene *s) {
    const struct tun_circuit *c = circuit_of(s);
    return c && c->state == TUN_CIRCUIT_READY && c->asked == 0 && newest_hop(s);
}

Test(tun_owner_states, of_what_hops_say) {
    for (size_t r = 0; r < OWNERS; r++)
        for (enum about about = NOTHING; about < ABOUTS && owners[r].answers[about]; about++) {
            static struct scene s;
            char got[COMMANDS + 1] = {0};
            bool fit = false; /* for the next command, too */
            for (uint8_t command = 1; command <= (uint8_t)COMMANDS; command++) {
                if (!fit) {
                    begin(&s);
                    owners[r].reach(&s);
                }
                fit = is_at_rest(&s);
                got[command - 1] = said(&s, command, about);
                fit = fit && strchr(".rd", got[command - 1]) && is_at_rest(&s);
                if (!fit || command == COMMANDS)
                    world_free(s.w);
            }
            cr_expect_str_eq(got, owners[r].answers[about], "%s, %s:\n got %s\nwant %s",
                             owners[r].name, about_names[about], got, owners[r].answers[about]);
        }
}

/* ---- what the guard says of it by the link ---- */

static const struct {
    uint8_t command, len;
} by_link[] = {
    {TUN_LINKCMD_RELAY, 0},     {TUN_LINKCMD_CREATE, 100},  {TUN_LINKCMD_CREATED, 0},
    {TUN_LINKCMD_CREATED, 144}, {TUN_LINKCMD_CREATED, 200}, {TUN_LINKCMD_DESTROY, 0},
    {TUN_LINKCMD_PADDING, 100}, {TUN_LINKCMD_CONTINUE, 36},
};
enum { BY_LINK = sizeof by_link / sizeof *by_link };
static_assert(TUN_CMD_CONNECTED == 31 && TUN_LINKCMD_CONTINUE == 15,
              "which of them name a circuit?");

/* The guard's half of the link, from the moment of flight 1. */
static struct tun_link *guards_half(struct scene *s) {
    uint32_t cursor = 0;
    struct tun_link *l;
    while ((l = tun_handles_next(&s->w->node[s->guard].t->links, &cursor)) != NULL)
        if (cv_addr_equal(&l->addr, &s->w->node[ONE].addr))
            return l;
    cr_assert_fail("no link");
    return NULL;
}

/* Sealed as the guard can seal it, and heard in the same moment. */
static char told(struct scene *s, unsigned m) {
    uint8_t buf[TUN_DATAGRAM] = {0};
    struct tun_session *from = &guards_half(s)->now;
    struct tun_header h = {.sequence = ++from->sent,
                           .index = from->remote_index,
                           .circuit = circuit_of(s)->leg.id,
                           .command = by_link[m].command};
    struct seen was = look(s);
    memset(tun_cell_control_body(buf), 7, by_link[m].len);
    if (h.command == TUN_LINKCMD_RELAY)
        tun_cell_seal(buf, &h, &from->tx_secret);
    else
        tun_cell_seal_control(buf, &h, &from->tx_secret, by_link[m].len);
    struct cv_now now = world_now(s->w, ONE);
    (void)tun_on_datagram(owner(s), &now, &s->w->node[s->guard].addr, buf, TUN_DATAGRAM);
    run(s, CV_MSEC(5));
    return became(s, &was);
}

Test(tun_owner_states, of_what_the_link_says) {
    for (size_t r = 0; r < OWNERS; r++) {
        char got[BY_LINK + 1] = {0};
        for (unsigned m = 0; m < BY_LINK; m++) {
            static struct scene s;
            begin(&s);
            owners[r].reach(&s);
            bool ran_on = circuit_of(&s)->running_on;
            got[m] = told(&s, m);
            cr_expect(!circuit_of(&s) || goes_on(&s, ran_on), "%s, message %u: stuck",
                      owners[r].name, m);
            world_free(s.w);
        }
        cr_expect_str_eq(got, owners[r].told, "%s:\n got %s\nwant %s", owners[r].name, got,
                         owners[r].told);
    }
}

/* ---- what its user does ---- */

enum {
    SEND,
    ASK_FIRST,
    ASK_LAST,
    ASK_BEYOND,
    FORGET,
    GIVE,
    EXTEND,
    PACE,
    RUN_ON,
    CLOSE,
    USES,
};

static enum cv_err use(struct scene *s, unsigned m) {
    struct tunnel *t = owner(s);
    struct cv_now now = world_now(s->w, ONE);
    uint32_t transaction;
    struct tun_relay_ref to;
    switch (m) {
    case SEND:
        return tun_circuit_send(t, &now, s->circuit, TUN_CMD_DATAGRAM, "x", 1);
    case ASK_FIRST:
    case ASK_BEYOND:
        return tun_circuit_request(t, &now, s->circuit, m == ASK_FIRST ? 0 : TUN_HOPS_MAX - 1,
                                   TUN_CMD_PING, NULL, 0, &transaction);
    case ASK_LAST:
        return tun_request(t, &now, s->circuit, TUN_CMD_PING, NULL, 0, &transaction);
    case FORGET:
        tun_circuit_forget(t, s->circuit, 0xdeadbeef);
        return CV_ERR_OK;
    case GIVE:
        return tun_circuit_give(t, s->circuit, TUN_USER_NODE);
    case EXTEND:
        world_ref(s->w, 3, &to);
        return tun_circuit_extend(t, &now, s->circuit, &to);
    case PACE:
        return tun_circuit_pace(t, &now, s->circuit, MBIT);
    case RUN_ON:
        return tun_circuit_run_on(t, &now, s->circuit, RUN_ON_S);
    default:
        tun_circuit_close(t, &now, s->circuit);
        return CV_ERR_OK;
    }
}

static char letter(enum cv_err err) {
    static const struct {
        enum cv_err err;
        char letter;
    } letters[] = {{CV_ERR_OK, '.'},    {CV_ERR_AGAIN, 'a'}, {CV_ERR_INVAL, 'i'},
                   {CV_ERR_NOENT, 'n'}, {CV_ERR_LIMIT, 'l'}, {CV_ERR_TIMEDOUT, 't'}};
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
        if (letters[i].err == err)
            return letters[i].letter;
    return '?';
}

/* What it closed is gone at the guard as well, and nobody is told. */
static void expect_used(struct scene *s, size_t row, unsigned m, bool ran_on) {
    struct seen was = look(s);
    if (m == CLOSE) {
        cr_expect_null(circuit_of(s));
        cr_expect(!goes_on(s, ran_on));
        cr_expect_eq(look(s).down, was.down, "%s: told of its own close", owners[row].name);
        cr_expect_null(newest_hop(&(struct scene){.w = s->w, .relay = s->guard}), "%s: left behind",
                       owners[row].name);
    } else {
        cr_expect(goes_on(s, ran_on), "%s, use %u: stuck", owners[row].name, m);
    }
}

Test(tun_owner_states, of_what_its_user_does) {
    for (size_t r = 0; r < OWNERS; r++) {
        char got[USES + 1] = {0};
        for (unsigned m = 0; m < USES; m++) {
            static struct scene s;
            begin(&s);
            owners[r].reach(&s);
            got[m] = letter(use(&s, m));
            expect_used(&s, r, m, circuit_of(&s) && circuit_of(&s)->running_on);
            world_free(s.w);
        }
        cr_expect_str_eq(got, owners[r].used, "%s:\n got %s\nwant %s", owners[r].name, got,
                         owners[r].used);
    }
}

/* Its handle says nothing once it is gone. */
Test(tun_owner_states, of_one_that_is_gone) {
    static struct scene s;
    char got[USES + 1] = {0};
    begin(&s);
    ready_first(&s);
    (void)use(&s, CLOSE);
    for (unsigned m = 0; m < USES; m++)
        got[m] = letter(use(&s, m));
    cr_expect_str_eq(got, "nnnn.nnnn.", "got %s", got);
    world_free(s.w);
}

/* ---- what befalls it ---- */

enum { LINK_LOST, GUARD_SILENT, BEHIND_SILENT, CLOCK_BACK, CLOCK_AHEAD, FATES };

static void befall(struct scene *s, unsigned m) {
    struct cv_now now = world_now(s->w, ONE);
    switch (m) {
    case LINK_LOST:
        tun_link_fail(owner(s), &now, circuit_of(s)->leg.link, CV_ERR_LIMIT);
        break;
    case GUARD_SILENT:
        path(s, s->guard, ONE, true);
        break;
    case BEHIND_SILENT:
        for (unsigned i = 0; i < RELAYS; i++)
            if (i != s->guard)
                path(s, i, s->guard, true);
        break;
    default:
        sim_wall_skew(s->w->sim, ONE, m == CLOCK_BACK ? -86400 : 86400);
        break;
    }
}

static char fate(struct scene *s, unsigned m) {
    struct seen was = look(s);
    bool ran_on = circuit_of(s)->running_on;
    (void)use(s, SEND); /* who says nothing does not miss an answer */
    befall(s, m);
    if (m >= CLOCK_BACK)
        return goes_on(s, ran_on) ? '.' : became(s, &was);
    run(s, CV_SEC(60)); /* longer than the rate runs on */
    char got = became(s, &was);
    if (got != '!')
        return got;
    return letter(world_find(s->w, ONE, TUN_EVENT_CIRCUIT_DOWN, was.down)->ev.circuit_down.err);
}

Test(tun_owner_states, of_what_befalls_it) {
    for (size_t r = 0; r < OWNERS; r++) {
        char got[FATES + 1] = {0};
        for (unsigned m = 0; m < FATES; m++) {
            static struct scene s;
            begin(&s);
            owners[r].reach(&s);
            got[m] = fate(&s, m);
            world_free(s.w);
        }
        cr_expect_str_eq(got, owners[r].fate, "%s:\n got %s\nwant %s", owners[r].name, got,
                         owners[r].fate);
    }
}
