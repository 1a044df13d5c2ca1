/*
 * Every (state x message) cell of what a node learns of relays: asking one what relays there
 * are (sync.c), over a circuit and over a link, and asking the hops of a suspected circuit
 * who is alive (ahead.c). What arrives is any command with a body that means nothing, a
 * refusal, silence, answers that mean something, and these under another name or number.
 */
#include "support/suite.h"
#include "tunnel/bodies.h"
#include "tunnel/clientstate.h"
#include "tunnel/layerbits.h"
#include "tunnel/linkcmd.h"
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
    uint8_t command;
    const char *circuit, *link;
} states[] = {
    {"idle", TUN_SYNC_IDLE, TUN_CMD_BUCKET, IGNORED, IGNORED},
    {"opening", TUN_SYNC_OPENING, 0, "................................xx.......", IGNORED},
    {"descriptors", TUN_SYNC_FETCH, TUN_CMD_DESCRIPTORS,
     "....c...........................xx...ccc.", "....c................................ccc."},
    {"waits for others", TUN_SYNC_FETCH, 0, "................................xx.......", IGNORED},
    {"measured", TUN_SYNC_MEASURED, TUN_CMD_BUCKET, ".....................c..........xx..m....",
     "....................................m...."},
    {"names", TUN_SYNC_BUCKET, TUN_CMD_BUCKET, "................................xxcb.....",
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

Test(tun_client_states, over_a_link) {
    struct village *v;
    struct tun_client *c = settled(&v);
    struct tun_neighbour *n = NULL;
    for (unsigned k = 0; k < TUN_CONTACTS_MAX && !n; k++)
        if (c->neighbour[k].set && c->neighbour[k].up)
            n = &c->neighbour[k];
    cr_assert_not_null(n);
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
