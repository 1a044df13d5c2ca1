/*
 * Every (state x message) cell of what a node learns of relays: asking one what relays there
 * are (sync.c), over a circuit and over a link, and asking the hops of a suspected circuit
 * who is alive (ahead.c); and of what becomes of the circuits of both, told or with time. What
 * arrives is any command with a body that means nothing, a refusal, silence, answers that mean
 * something, and these under another name or number.
 */
#include <stdlib.h>

#include "tunnel/bodies.h"
#include "tunnel/clientstate.h"
#include "tunnel/layerbits.h"
#include "tunnel/linkcmd.h"
#include "tunnel/tests/rows.h"
#include "tunnel/tests/village.h"

CV_SUITE(tun_client_states);

enum {
    COMMANDS = TUN_CMD_CONNECTED + 1, /* the last is one that does not exist */
    REFUSED,                          /* over a link: an ERROR */
    SILENCE,                          /* over a circuit: the engine gave up */
    EMPTY,                            /* BUCKET: no relays at all */
    NAMES,                            /* BUCKET: one, whom nobody knows, of three */
    MEASURED,                         /* BUCKET: one, who is known, of three, with a capacity */
    NONE,                             /* DESCRIPTORS: there is none */
    RUBBISH,                          /* DESCRIPTORS: octets that are none */
    WRONG_NAME,                       /* the body of EMPTY, called DESCRIPTORS */
    ANOTHER,                          /* EMPTY, with another transaction */
    MESSAGES = ANOTHER,
    ASKED = 77, /* the transaction */
};
static_assert(MESSAGES == 41, "a new message needs a column");

/* . nothing  b asks for names  d for descriptors  w waits for others who were asked
 * m asks what relays carry  c came to its end  x gave up */
#define IGNORED "........................................."

static const struct {
    const char *name;
    enum tun_sync_phase phase;
    bool some; /* of the answers is there */
    uint8_t command;
    const char *circuit, *link;
} states[] = {
    {"idle", TUN_SYNC_IDLE, false, TUN_CMD_BUCKET, IGNORED, IGNORED},
    {"opening", TUN_SYNC_OPENING, false, 0, "................................xx.......", IGNORED},
    {"descriptors", TUN_SYNC_FETCH, false, TUN_CMD_DESCRIPTORS,
     "....c...........................xx...ccc.", "....c................................ccc."},
    {"waits for others", TUN_SYNC_FETCH, false, 0, "................................xx.......",
     IGNORED},
    {"some descriptors", TUN_SYNC_FETCH, true, TUN_CMD_DESCRIPTORS,
     "....c...........................xx...ccc.", "....c................................ccc."},
    {"measured", TUN_SYNC_MEASURED, false, TUN_CMD_BUCKET,
     ".....................c..........xx..m....", "....................................m...."},
    {"names", TUN_SYNC_BUCKET, false, TUN_CMD_BUCKET, "................................xxcb.....",
     "..................................cb....."},
};

static struct tun_client *client_of(struct village *v, unsigned node) {
    return tun_attached(v->w->node[node].t, TUN_USER_CLIENT);
}

/* What stands behind the transaction. */
static size_t body_of(struct village *v, unsigned m, uint8_t *command, uint8_t out[256]) {
    static const uint8_t stranger[CV_KEY + TUN_DIGEST] = {9, 9};
    struct cv_wr w = cv_wr_init(out, 256);
    memset(out, 0, 256);
    *command = (uint8_t)m;
    switch (m) {
    case REFUSED:
        *command = TUN_CMD_ERROR;
        cv_wr_u8(&w, TUN_ERROR_REFUSED);
        break;
    case EMPTY:
    case WRONG_NAME:
    case ANOTHER:
    case NAMES:
        *command = m == WRONG_NAME ? TUN_CMD_DESCRIPTORS : TUN_CMD_BUCKET;
        cv_wr_zero(&w, 16);
        cv_wr_le16(&w, m == NAMES ? 3 : 0);
        cv_wr_bytes(&w, stranger, m == NAMES ? sizeof stranger : 0);
        break;
    case MEASURED:
        *command = TUN_CMD_BUCKET;
        cv_wr_le16(&w, 3);
        cv_wr_bytes(&w, v->w->node[0].identity_secret.public_key, 8);
        cv_wr_u8(&w, 40);
        break;
    case NONE:
    case RUBBISH:
        *command = TUN_CMD_DESCRIPTORS;
        cv_wr_zero(&w, m == NONE ? 0 : 100);
        break;
    default:
        cv_wr_zero(&w, 40);
        break;
    }
    cr_assert_not(w.err);
    return cv_wr_len(&w);
}

static void put(struct tun_client *c, struct tun_sync *s, size_t row, cv_handle circuit,
                const uint8_t source[CV_KEY]) {
    *s = (struct tun_sync){.phase = states[row].phase,
                           .day = tun_descriptor_day(c->now.wall),
                           .circuit = circuit,
                           .transaction = ASKED,
                           .command = states[row].command,
                           .body_len = states[row].command ? 40 : 0,
                           .expected = 1,
                           .some = states[row].some,
                           .at = cv_usec_add(c->now.mono, CV_SEC(5)),
                           .until = cv_usec_add(c->now.mono, CV_SEC(100))};
    memcpy(s->source, source, CV_KEY);
    memcpy(s->path[0], source, CV_KEY);
    s->path_n = circuit != 0;
}

static char became(const struct tun_sync *s, size_t row) {
    if (s->phase == states[row].phase && s->transaction == ASKED && s->rounds == 0)
        return '.';
    switch (s->phase) {
    case TUN_SYNC_BUCKET:
        return 'b';
    case TUN_SYNC_FETCH:
        return s->body_len ? 'd' : 'w';
    case TUN_SYNC_MEASURED:
        return 'm';
    case TUN_SYNC_IDLE:
        return s->complete ? 'c' : 'x';
    case TUN_SYNC_OPENING:
        break;
    }
    return '?';
}

static char reply(struct village *v, struct tun_client *c, size_t row, unsigned m) {
    enum { CIRCUIT = 0x7fff0001 }; /* of nobody: what is asked over it goes nowhere */
    uint8_t body[256], command;
    struct tun_sync *s = &c->far;
    put(c, s, row, states[row].phase == TUN_SYNC_IDLE ? 0 : CIRCUIT,
        v->w->node[1].identity_secret.public_key);
    size_t len = body_of(v, m, &command, body);
    struct tun_event ev = {.kind = TUN_EVENT_REPLY,
                           .reply = {.circuit = CIRCUIT,
                                     .transaction = m == ANOTHER ? ASKED + 1 : ASKED,
                                     .command = command,
                                     .body = body,
                                     .len = len}};
    if (m == REFUSED || m == SILENCE) {
        ev.reply.err = m == REFUSED ? CV_ERR_DENIED : CV_ERR_TIMEDOUT;
        ev.reply.code = m == REFUSED ? TUN_ERROR_REFUSED : 0;
    }
    tun_sync_on_reply(c, &ev);
    return became(s, row);
}

static char over_link(struct village *v, struct tun_client *c, struct tun_neighbour *n, size_t row,
                      unsigned m) {
    uint8_t body[256 + 4], cell[TUN_CONTROL_MAX], command;
    put(c, &n->sync, row, 0, n->identity);
    size_t len = body_of(v, m, &command, body + 4);
    tun_put_le32(body, m == ANOTHER ? ASKED + 1 : ASKED);
    struct cv_wr w = cv_wr_init(cell, sizeof cell);
    struct tun_link_descriptors d = {
        .command = command, .answer = true, .body = body, .len = len + 4};
    tun_link_descriptors_write(&w, &d);
    cr_assert_not(w.err);
    struct tun_event ev = {.kind = TUN_EVENT_LINK_MESSAGE,
                           .link_message = {.link = tun_link_handle(tun_contact_link(c, n)),
                                            .command = TUN_LINKCMD_DESCRIPTORS,
                                            .body = cell,
                                            .len = cv_wr_len(&w)}};
    if (m != SILENCE) /* over a link nobody says so: time does */
        tun_sync_on_link(c, &ev);
    return became(&n->sync, row);
}

/* A viewer who knows all six relays, and nobody who was asked just now. */
static struct tun_client *settled(struct village **ret) {
    struct village *v = village_new(&(struct sim_config){.seed = 3}, 6);
    sim_path_default(v->w->sim, &(struct sim_path){.delay = CV_MSEC(1)});
    world_run(v->w, CV_SEC(12));
    unsigned node = village_client(v);
    world_run(v->w, CV_SEC(12));
    struct tun_client *c = client_of(v, node);
    cr_assert_gt(c->ready_at, 0);
    *ret = v;
    return c;
}

Test(tun_client_states, over_a_circuit) {
    struct village *v;
    struct tun_client *c = settled(&v);
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        char got[MESSAGES + 1] = {0};
        for (unsigned m = 1; m <= MESSAGES; m++)
            got[m - 1] = reply(v, c, i, m);
        cr_expect_str_eq(got, states[i].circuit, "%s:\n got %s\nwant %s", states[i].name, got,
                         states[i].circuit);
    }
    c->far = (struct tun_sync){.phase = TUN_SYNC_IDLE};
    village_free(v);
}

static struct tun_neighbour *neighbour_of(struct tun_client *c) {
    for (unsigned k = 0; k < TUN_CONTACTS_MAX; k++)
        if (c->neighbour[k].set && c->neighbour[k].up)
            return &c->neighbour[k];
    cr_assert_fail("no neighbour");
    return NULL;
}

Test(tun_client_states, over_a_link) {
    struct village *v;
    struct tun_client *c = settled(&v);
    struct tun_neighbour *n = neighbour_of(c);
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        char got[MESSAGES + 1] = {0};
        for (unsigned m = 1; m <= MESSAGES; m++)
            got[m - 1] = over_link(v, c, n, i, m);
        cr_expect_str_eq(got, states[i].link, "%s:\n got %s\nwant %s", states[i].name, got,
                         states[i].link);
    }
    n->sync = (struct tun_sync){.phase = TUN_SYNC_IDLE};
    village_free(v);
}

/* ---- time ---- */

enum { EARLY, DUE, DUE_LAST, TIMES }; /* last: it was said as often as anything is */

/* As above, over a circuit that waits ready-made; r is asked again. Early, due, due for the
 * last time. */
static const struct {
    const char *circuit, *link;
} times[] = {
    {".bb", ".bb"}, /* idle */
    {".xx", ".rx"}, /* opening */
    {".xx", ".rx"}, /* descriptors */
    {".cc", ".cc"}, /* waits for others: looks whether these brought what was missing */
    {".cc", ".cc"}, /* some descriptors: likewise */
    {".xx", ".rx"}, /* measured */
    {".xx", ".rx"}, /* names */
};
static_assert(sizeof times / sizeof *times == sizeof states / sizeof *states,
              "a new state needs a row");

/* `n`: over a link of it; NULL: over a circuit. Nothing else is due. */
static char time_passes(struct village *v, struct tun_client *c, struct tun_neighbour *n,
                        size_t row, unsigned m) {
    enum { CIRCUIT = 0x7fff0001 };
    struct tun_sync *s = n ? &n->sync : &c->far;
    cv_usec later = cv_usec_add(c->now.mono, CV_SEC(5)), at = m == EARLY ? later : c->now.mono;
    bool idle = states[row].phase == TUN_SYNC_IDLE;
    c->far = (struct tun_sync){.phase = TUN_SYNC_IDLE};
    c->far_at = !n && idle ? at : later;
    for (unsigned i = 0; i < TUN_CONTACTS_MAX; i++)
        c->neighbour[i].sync = (struct tun_sync){.next_at = later};
    put(c, s, row, n || idle ? 0 : CIRCUIT,
        n ? n->identity : v->w->node[1].identity_secret.public_key);
    s->at = at;
    s->next_at = n && idle ? at : later;
    s->tries = m == DUE_LAST ? TUN_TRIES : 1;
    s->wait = CV_MSEC(250);
    uint8_t tries = s->tries;
    tun_sync_work(c);
    return s->transaction == ASKED && s->tries != tries ? 'r' : became(s, row);
}

Test(tun_client_states, of_time) {
    struct village *v;
    struct tun_client *c = settled(&v);
    struct tun_neighbour *n = neighbour_of(c);
    for (unsigned link = 0; link < 2; link++)
        for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
            const char *want = link ? times[i].link : times[i].circuit;
            char got[TIMES + 1] = {0};
            for (unsigned m = 0; m < TIMES; m++)
                got[m] = time_passes(v, c, link ? n : NULL, i, m);
            cr_expect_str_eq(got, want, "%s, over a %s:\n got %s\nwant %s", states[i].name,
                             link ? "link" : "circuit", got, want);
        }
    c->far = n->sync = (struct tun_sync){.phase = TUN_SYNC_IDLE};
    village_free(v);
}

/* ---- circuits that are built, and gone ---- */

enum { READY, READY_OTHER, GONE, GONE_OTHER, CIRCUIT_EVENTS };

static struct tun_event circuit_event(unsigned m, cv_handle circuit, uint32_t hops) {
    enum { OTHER = 0x7fff0002 };
    struct tun_event ev = {
        .kind = TUN_EVENT_CIRCUIT_READY,
        .circuit_ready = {.circuit = m == READY_OTHER ? OTHER : circuit, .hops = hops}};
    if (m == GONE || m == GONE_OTHER)
        ev = (struct tun_event){.kind = TUN_EVENT_CIRCUIT_DOWN,
                                .circuit_down = {.circuit = m == GONE_OTHER ? OTHER : circuit,
                                                 .err = CV_ERR_CLOSED,
                                                 .hops = hops}};
    return ev;
}

/* As above; ready, another's, gone, another's. */
static const char *const told_of_circuits[] = {"....", "b.x.", "..x.", "..x.",
                                               "..x.", "..x.", "..x."};
static_assert(sizeof told_of_circuits / sizeof *told_of_circuits == sizeof states / sizeof *states,
              "a new state needs a row");

Test(tun_client_states, the_circuit_over_which_it_asks) {
    struct village *v;
    struct tun_client *c = settled(&v);
    cr_assert_gt(c->lanes, 0);
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        char got[CIRCUIT_EVENTS + 1] = {0};
        for (unsigned m = 0; m < CIRCUIT_EVENTS; m++) {
            struct tun_event ev = circuit_event(m, c->lane[0].circuit, 2);
            put(c, &c->far, i, c->lane[0].circuit, v->w->node[1].identity_secret.public_key);
            tun_sync_on_circuit(c, &ev);
            got[m] = became(&c->far, i);
        }
        cr_expect_str_eq(got, told_of_circuits[i], "%s:\n got %s\nwant %s", states[i].name, got,
                         told_of_circuits[i]);
    }
    c->far = (struct tun_sync){.phase = TUN_SYNC_IDLE};
    village_free(v);
}

/* . nothing  r ready  f ready before: whoever was avoided is not any more
 * g gone, its guard did not answer  n gone, the next hop did not  x gone, for no fault of theirs
 *
 * Ready; gone when none had answered, one had, all had. */
static const struct {
    const char *name;
    bool known, ready, suspect;
    const char *answers;
} lanes[] = {
    {"nobody's", false, false, false, "...."},
    {"being built", true, false, false, "rgnx"},
    {"ready", true, true, false, "fgnx"},
    {"suspected", true, true, true, "fgnx"},
};

static char lane_became(struct tun_client *c, const struct tun_lane *was) {
    const struct tun_lane *lane = tun_ahead_lane(c, was->circuit);
    const struct tun_guard *g = tun_guards_find_first(&c->guards, was->hop[0]);
    const struct tun_relay *last = tun_directory_find(c->dir, was->hop[1], was->day[1]);
    if (lane && last->shunned_until == 0)
        return was->ready_at ? 'f' : lane->ready_at == c->now.mono ? 'r' : '!';
    if (lane)
        return memcmp(lane, was, sizeof *lane) == 0 ? '.' : '!';
    bool first = tun_refusals_find(&c->refusals, NULL, was->hop[0]) && g->shunned_until > 0;
    bool second = tun_refusals_find(&c->refusals, was->hop[0], was->hop[1]) != NULL;
    return first && second ? '!' : first ? 'g' : second ? 'n' : 'x';
}

Test(tun_client_states, of_circuits_built_ahead) {
    struct village *v;
    struct tun_client *c = settled(&v), *kept = malloc(sizeof *kept);
    cr_assert_gt(c->lanes, 0);
    cr_assert_geq(c->lane[0].n, 2);
    memcpy(kept, c, sizeof *kept);
    for (size_t i = 0; i < sizeof lanes / sizeof *lanes; i++) {
        char got[4 + 1] = {0};
        for (unsigned m = 0; m < 4; m++) {
            memcpy(c, kept, sizeof *c);
            struct tun_lane *lane = &c->lane[0];
            memset(&c->refusals, 0, sizeof c->refusals);
            lane->ready_at = lanes[i].ready ? lane->ready_at : 0;
            lane->suspect = lanes[i].suspect;
            lane->counted = false;
            for (unsigned k = 0; k < lane->n; k++)
                tun_directory_find(c->dir, lane->hop[k], lane->day[k])->shunned_until = 1;
            tun_guards_find_first(&c->guards, lane->hop[0])->shunned_until = 0;
            struct tun_lane was = *lane;
            struct tun_event ev =
                circuit_event(m == 0 ? READY : GONE, lane->circuit, m == 3 ? lane->n : m - 1);
            if (!lanes[i].known)
                ev = circuit_event(m == 0 ? READY_OTHER : GONE_OTHER, 0, m);
            tun_ahead_on_circuit(c, &ev);
            got[m] = lane_became(c, &was);
        }
        cr_expect_str_eq(got, lanes[i].answers, "%s:\n got %s\nwant %s", lanes[i].name, got,
                         lanes[i].answers);
    }
    memcpy(c, kept, sizeof *c);
    free(kept);
    village_free(v);
}

/* ---- who of a circuit is alive ---- */

enum {
    UNASKED = SILENCE + 1, /* what relays say of themselves has transaction 0 */
    OTHERS,                /* with the transaction of something else */
    ANSWERS = OTHERS,
};
static_assert(ANSWERS == 36, "a new message needs a column");
#define NEVER "...................................."

/* . nothing  a it lives  f it was only slow, and is avoided no more */
static const struct {
    const char *name;
    bool known, suspect, doubted;
    const char *answers;
} suspects[] = {
    {"nobody's", false, true, true, NEVER},
    {"not suspected", true, false, false, NEVER},
    {"asked", true, true, false, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...."},
    {"doubted", true, true, true, "ffffffffffffffffffffffffffffffff...."},
};

/* The first of its hops has answered; m is of the second. */
static char pong(struct tun_client *c, size_t row, unsigned m) {
    struct tun_lane was = c->lane[0], *lane = &c->lane[0];
    struct tun_relay *hop[2];
    for (unsigned i = 0; i < 2; i++) {
        hop[i] = tun_directory_find(c->dir, lane->hop[i], lane->day[i]);
        cr_assert_not_null(hop[i]);
        hop[i]->shunned_until = cv_usec_add(c->now.mono, CV_SEC(100));
        lane->ping[i] = i ? ASKED : 0;
    }
    lane->suspect = suspects[row].suspect;
    lane->doubted = suspects[row].doubted;
    struct tun_event ev = {.kind = TUN_EVENT_REPLY,
                           .reply = {.circuit = suspects[row].known ? lane->circuit : 0x7fff0001,
                                     .transaction = m == UNASKED  ? 0
                                                    : m == OTHERS ? ASKED + 1
                                                                  : ASKED,
                                     .command = m == REFUSED    ? TUN_CMD_ERROR
                                                : m <= COMMANDS ? (uint8_t)m
                                                                : TUN_CMD_PONG,
                                     .err = m == REFUSED   ? CV_ERR_DENIED
                                            : m == SILENCE ? CV_ERR_TIMEDOUT
                                                           : CV_ERR_OK}};
    tun_ahead_on_reply(c, &ev);
    bool first = hop[0]->shunned_until == 0, second = hop[1]->shunned_until == 0;
    char got = first ? '?' : second ? 'f' : lane->ping[1] == 0 ? 'a' : '.';
    hop[0]->shunned_until = hop[1]->shunned_until = 0;
    *lane = was;
    return got;
}

Test(tun_client_states, who_of_a_circuit_is_alive) {
    struct village *v;
    struct tun_client *c = settled(&v);
    cr_assert_gt(c->lanes, 0);
    cr_assert_geq(c->lane[0].n, 2);
    for (size_t i = 0; i < sizeof suspects / sizeof *suspects; i++) {
        char got[ANSWERS + 1] = {0};
        for (unsigned m = 1; m <= ANSWERS; m++)
            got[m - 1] = pong(c, i, m);
        cr_expect_str_eq(got, suspects[i].answers, "%s:\n got %s\nwant %s", suspects[i].name, got,
                         suspects[i].answers);
    }
    village_free(v);
}

/* ---- circuits and time ---- */

enum {
    NOT_YET,
    DOUBTFUL,     /* nobody has answered for longer than usual, */
    DOUBT_SECOND, /* only the first of them has, */
    DOUBT_NOBODY, /* or all */
    TIME_IS_UP,   /* the same three, for as long as they may take */
    UP_SECOND,
    UP_NOBODY,
    OUTLIVED,    /* as a circuit that is built or waits: for as long as those may take */
    HOP_GONE,    /* somebody on it was found to be gone, on another one */
    DESERTED,    /* whoever had it suspects it, and leaves it to be judged */
    LOOKED_INTO, /* whoever has it wants to know */
    AGES,
};
static_assert(AGES == 11, "a new column");

/* . nothing  s its hops are asked  S the same, and its user has it still  l he has left it  d the
 * first that has not answered is avoided a while, D the second x it is closed, and nobody blamed  f
 * the same, and the first is  g the second is k its user keeps it, and nobody is blamed  F he does,
 * of a dead one, and the first is  G the second
 *
 * Columns: early; doubt, of the second, of nobody; the end, of the second, of nobody; age, gone;
 * deserted, looked into. */
/* clang-format off */
static const struct {
    const char *name;
    bool ahead, ready, suspect, kept, doubted;
    const char *answers;
} ages[] = {
    { "being built",            true,  false, false, false, false, "." "..." "..." "x." "sS" },
    { "waits",                  true,  true,  false, false, false, "." "..." "..." "xx" "sS" },
    { "taken",                  false, true,  false, false, false, "." "..." "..." ".." "sS" },
    { "left and asked",         false, true,  true,  false, false, "." "dDk" "fgx" "f." ".." },
    { "left and doubted",       false, true,  true,  false, true,  "." "..." "fgx" "f." ".." },
    { "taken and asked",        false, true,  true,  true,  false, "." "dDk" "FGk" "F." "l." },
    { "taken and doubted",      false, true,  true,  true,  true,  "." "..." "FGk" "F." "l." },
};
/* clang-format on */

static char aged(struct tun_client *c, const struct tun_lane *was) {
    const struct tun_lane *lane = tun_ahead_lane(c, was->circuit);
    const struct tun_relay *hop[2];
    bool avoided[2];
    for (unsigned i = 0; i < 2; i++) {
        hop[i] = tun_directory_find(c->dir, was->hop[i], was->day[i]);
        avoided[i] = hop[i]->gone_until > c->now.mono || hop[i]->shunned_until > c->now.mono ||
                     tun_refusals_find(&c->refusals, i ? was->hop[0] : NULL, was->hop[i]);
    }
    if (avoided[0] && avoided[1])
        return '!';
    if (!lane)
        return avoided[0] ? 'f' : avoided[1] ? 'g' : 'x';
    if (lane->dead)
        return lane->suspect || !lane->suspect_kept ? '!'
               : avoided[0]                         ? 'F'
               : avoided[1]                         ? 'G'
                                                    : '!';
    if (was->suspect && !lane->suspect)
        return !avoided[0] && !avoided[1] && lane->suspect_kept ? 'k' : '!';
    if (lane->suspect && !was->suspect)
        return !lane->ping[0] || !lane->ping[1] ? '!' : lane->suspect_kept ? 'S' : 's';
    if (lane->suspect_kept != was->suspect_kept)
        return lane->suspect_kept ? '!' : 'l';
    if (lane->doubted != was->doubted && !avoided[0] && !avoided[1])
        return 'k';
    return avoided[0] ? 'd' : avoided[1] ? 'D' : '.';
}

static void age(struct tun_client *c, struct tun_lane *lane, unsigned m) {
    struct tun_relay *other = tun_directory_find(c->dir, lane->hop[1], lane->day[1]);
    cv_handle circuit = lane->circuit;
    bool second = m == DOUBT_SECOND || m == UP_SECOND, none = m == DOUBT_NOBODY || m == UP_NOBODY;
    for (unsigned i = 0; i < lane->n; i++)
        lane->ping[i] = none || (second && i == 0) ? 0 : ASKED;
    if (m >= DOUBTFUL && m <= DOUBT_NOBODY)
        lane->doubt_at = c->now.mono;
    if (m >= TIME_IS_UP && m <= UP_NOBODY)
        lane->doubt_at = lane->suspect_until = c->now.mono;
    if (m == OUTLIVED)
        c->now.mono += CV_SEC(24 * 3600);
    if (m == HOP_GONE)
        other->gone_until = cv_usec_add(c->now.mono, CV_SEC(9));
    if (m == DESERTED)
        tun_client_suspect(c->t, &c->now, circuit);
    else if (m == LOOKED_INTO)
        tun_client_probe(c->t, &c->now, circuit);
    else
        tun_ahead_work(c);
    if (m == HOP_GONE) /* that was known */
        other->gone_until = 0;
}

static char lane_ages(struct tun_client *c, size_t row, unsigned m) {
    struct tun_lane *lane = &c->lane[0];
    struct tun_relay *hop[2];
    lane->ahead = ages[row].ahead;
    lane->suspect = ages[row].suspect;
    lane->suspect_kept = ages[row].kept;
    lane->doubted = ages[row].doubted;
    lane->dead = false;
    lane->opened_at = c->now.mono;
    lane->ready_at = ages[row].ready ? c->now.mono : 0;
    lane->doubt_at = cv_usec_add(c->now.mono, CV_SEC(1));
    lane->suspect_until = cv_usec_add(c->now.mono, CV_SEC(2));
    memset(&c->refusals, 0, sizeof c->refusals);
    for (unsigned i = 0; i < 2; i++) {
        hop[i] = tun_directory_find(c->dir, lane->hop[i], lane->day[i]);
        hop[i]->shunned_until = hop[i]->gone_until = 0;
    }
    c->lanes = 1; /* no other's blame is taken for that of this one */
    c->ahead_at = CV_USEC_NEVER;
    struct tun_lane was = *lane;
    age(c, lane, m);
    char got = aged(c, &was);
    for (unsigned i = 0; i < 2; i++)
        hop[i]->shunned_until = hop[i]->gone_until = 0;
    return got;
}

Test(tun_client_states, of_circuits_and_time) {
    for (size_t i = 0; i < sizeof ages / sizeof *ages; i++) {
        char got[AGES + 1] = {0};
        for (unsigned m = 0; m < AGES; m++) {
            struct village *v;
            struct tun_client *c = settled(&v);
            cr_assert_gt(c->lanes, 0);
            cr_assert_geq(c->lane[0].n, 2);
            got[m] = lane_ages(c, i, m);
            village_free(v);
        }
        expect_row("circuit", ages[i].name, got, ages[i].answers);
    }
}
