/*
 * Every (state x message) cell of reading and writing slots: a viewer's circuit that
 * fetches some, and one of the two ways on which a seeder reads and writes one. What
 * arrives is any command with a body that means nothing, a refusal, silence, and the
 * answers that mean something, also under a name that is not theirs; and what time does
 * to such a way.
 */
#include "support/suite.h"
#include "tunnel/hiddenstate.h"
#include "tunnel/tests/village.h"

CV_SUITE(tun_slot_states);

enum {
    COMMANDS = TUN_CMD_CONNECTED + 1, /* the last is one that does not exist */
    REFUSED,
    SILENCE,
    NOTHING_THERE, /* RESULT: the slot is empty */
    STORED,        /* PUT_DONE by three nodes */
    NEWER,         /* PUT_DONE: 302, something newer is there */
    NOBODY,        /* PUT_DONE by nobody */
    WRONG_NAME,    /* the body of STORED, called PONG */
    MESSAGES = WRONG_NAME,
    ASKED = 77, /* the transaction */
};
static_assert(MESSAGES == 39, "a new message needs a column");

static struct tun_event message(unsigned m) {
    static const uint8_t nothing[100], stored[3] = {3}, newer[3] = {0, 302 & 255, 302 >> 8};
    static uint8_t empty[1 + 1 + 1 + 8 + 64 + 2] = {TUN_LOOKUP_ITEMS};
    struct tun_event ev = {
        .kind = TUN_EVENT_REPLY,
        .reply = {.command = (uint8_t)m, .transaction = ASKED, .body = nothing, .len = 40}};
    switch (m) {
    case REFUSED:
        ev.reply.command = TUN_CMD_ERROR;
        ev.reply.err = CV_ERR_DENIED;
        ev.reply.code = TUN_ERROR_REFUSED;
        break;
    case SILENCE:
        ev.reply.command = TUN_CMD_LOOKUP; /* what was asked */
        ev.reply.err = CV_ERR_TIMEDOUT;
        ev.reply.body = NULL;
        ev.reply.len = 0;
        break;
    case NOTHING_THERE:
        ev.reply.command = TUN_CMD_RESULT;
        ev.reply.body = empty;
        ev.reply.len = sizeof empty;
        break;
    case STORED:
    case NEWER:
    case NOBODY:
    case WRONG_NAME:
        ev.reply.command = m == WRONG_NAME ? TUN_CMD_PONG : TUN_CMD_PUT_DONE;
        ev.reply.body = m == NEWER ? newer : m == NOBODY ? nothing : stored;
        ev.reply.len = 3;
        break;
    default:
        break;
    }
    return ev;
}

#define IGNORED "......................................."

/* ---- a viewer's circuit ---- */

/* . nothing  a one of two slots answered  g none of them is waited for any more */
/* clang-format off */
static const struct {
    const char *name;
    unsigned sent, transaction, answered;
    const char *answers; /* commands 1..32, refused, silence, the rest as above */
} searches[] = {
    { "not asked yet",    0, ASKED,     0, IGNORED },
    { "asked",            1, ASKED,     0, "gggggg.gggggggggggggggggggggggggggagggg" },
    { "one is answered",  1, ASKED,     1, "gggggg.gggggggggggggggggggggggggggagggg" },
    { "both are",         1, ASKED,     2, IGNORED },
    { "asked elsewhere",  1, ASKED + 1, 0, IGNORED },
};
/* clang-format on */

static char search(struct tun_hidden *h, size_t row, unsigned m) {
    struct tun_search s = {.active = true,
                           .lookups = 1,
                           .sent = (uint8_t)searches[row].sent,
                           .transaction = {searches[row].transaction},
                           .keys = {2},
                           .missing = (uint8_t)(2 - searches[row].answered)};
    for (unsigned k = 0; k < TUN_LOOKUP_KEYS_MAX; k++)
        s.key[0][k].slot = UINT8_MAX;
    /* the first is what NOTHING_THERE is about */
    for (unsigned k = 0; k < 2 - searches[row].answered; k++)
        s.key[0][k].slot = (uint8_t)k;
    unsigned before = s.missing, known = h->viewer->knowns;
    if (searches[row].answered == 2)
        s.keys[0] = 0;
    struct tun_event ev = message(m);
    tun_search_on_reply(h, &s, &ev);
    cr_expect_eq(h->viewer->knowns, known, "a contact out of nothing");
    if (s.missing == before)
        return '.';
    return s.missing == 0 && s.keys[0] == 0 ? 'g' : 'a';
}

Test(tun_slot_states, of_a_circuit_that_reads_slots) {
    struct village *v = village_new(&(struct sim_config){.seed = 3}, 6);
    sim_path_default(v->w->sim, &(struct sim_path){.delay = CV_MSEC(1)});
    world_run(v->w, CV_SEC(3));
    unsigned node = village_client(v);
    cv_handle view = village_view(v, node, "film");
    world_run(v->w, CV_SEC(3));
    struct tun_hidden *h = village_hidden(v, node, view);
    for (size_t i = 0; i < sizeof searches / sizeof *searches; i++) {
        char got[MESSAGES + 1] = {0};
        for (unsigned m = 1; m <= MESSAGES; m++)
            got[m - 1] = search(h, i, m);
        cr_expect_str_eq(got, searches[i].answers, "%s:\n got %s\nwant %s", searches[i].name, got,
                         searches[i].answers);
    }
    village_free(v);
}

/* ---- one of a seeder's two ways ---- */

/* . nothing  r has read  w written  s something newer stands there  f the way failed */
/* clang-format off */
static const struct {
    const char *name;
    enum tun_copy_state at;
    const char *answers;
} copies[] = {
    { "idle",     TUN_COPY_IDLE,     IGNORED },
    { "building", TUN_COPY_BUILDING, IGNORED },
    { "reading",  TUN_COPY_READING,  "................................ffr...." },
    { "has read", TUN_COPY_READ,     IGNORED },
    { "writing",  TUN_COPY_WRITING,  "ffffff.fffffffffffffffffffffffffff.wsff" },
    { "refused",  TUN_COPY_REFUSED,  IGNORED },
};
/* clang-format on */

static char copy(struct tun_hidden *h, enum tun_copy_state at, unsigned m) {
    static struct tun_publication p; /* of nobody */
    p = (struct tun_publication){.slot = 3};
    p.copy[0].state = at;
    p.copy[1].state = TUN_COPY_BUILDING; /* the other way goes on */
    struct tun_event ev = message(m);
    tun_publish_on_reply(h, &p, &p.copy[0].road, &ev);
    const struct tun_copy *c = &p.copy[0];
    cr_expect_eq(p.copy[1].state, TUN_COPY_BUILDING);
    if (c->written)
        return p.written ? 'w' : '!';
    if (c->tries > 0)
        return c->state == TUN_COPY_BUILDING ? 'f' : '!';
    if (c->state == at)
        return '.';
    return c->state == TUN_COPY_READ ? 'r' : c->state == TUN_COPY_REFUSED ? 's' : '!';
}

/* A node that shares a film, in a village of six. */
static struct village *sharing(unsigned *node, struct tun_hidden **h) {
    struct village *v = village_new(&(struct sim_config){.seed = 3}, 6);
    sim_path_default(v->w->sim, &(struct sim_path){.delay = CV_MSEC(1)});
    world_run(v->w, CV_SEC(3));
    *node = village_client(v);
    cv_handle share = village_share(v, *node, "film", false);
    world_run(v->w, CV_SEC(3));
    *h = village_hidden(v, *node, share);
    return v;
}

Test(tun_slot_states, of_a_way_on_which_a_slot_is_written) {
    unsigned node;
    struct tun_hidden *h;
    struct village *v = sharing(&node, &h);
    for (size_t i = 0; i < sizeof copies / sizeof *copies; i++) {
        char got[MESSAGES + 1] = {0};
        for (unsigned m = 1; m <= MESSAGES; m++)
            got[m - 1] = copy(h, copies[i].at, m);
        cr_expect_str_eq(got, copies[i].answers, "%s:\n got %s\nwant %s", copies[i].name, got,
                         copies[i].answers);
    }
    village_free(v);
}

/* ---- time ---- */

enum {
    EARLY,
    DUE,   /* the answer, or that of the other way */
    RETRY, /* it may be tried again */
    LOST,  /* its circuit is gone */
    TIMES,
};

/* . nothing  o opens a circuit  f the way failed  b is to be built anew  w it is decided what
 * to write, and written. The other way is still being built. */
/* clang-format off */
static const struct {
    const char *name;
    enum tun_copy_state at;
    bool road;
    const char *answers;
} times[] = {
    { "idle",        TUN_COPY_IDLE,     false, "...." },
    { "no circuit",  TUN_COPY_BUILDING, false, "..o." },
    { "building",    TUN_COPY_BUILDING, true,  "...." },
    { "reading",     TUN_COPY_READING,  true,  ".f.f" },
    { "has read",    TUN_COPY_READ,     true,  ".w.b" },
    { "writing",     TUN_COPY_WRITING,  true,  ".f.f" },
    { "refused",     TUN_COPY_REFUSED,  true,  "...." },
};
/* clang-format on */

static char time_passes(struct village *v, unsigned node, struct tun_hidden *h, size_t row,
                        unsigned m) {
    static struct tun_publication p; /* of nobody */
    struct tun_copy *c = &p.copy[0];
    cv_handle circuit = world_circuit(v->w, node, (const unsigned[]){0, 1}, 2);
    cr_assert_neq(circuit, 0);
    h->all->now = world_now(v->w, node);
    cv_usec now = h->all->now.mono, later = cv_usec_add(now, CV_SEC(5));
    p = (struct tun_publication){.period = h->seeder->now.keys.period, .slot = 3};
    p.copy[1] = (struct tun_copy){.state = TUN_COPY_BUILDING, .retry_at = later};
    *c = (struct tun_copy){.state = times[row].at,
                           .asked_at = now,
                           .until = m == DUE ? now : later,
                           .retry_at = m == RETRY ? now : later};
    bool road = times[row].road && m != LOST;
    if (road) {
        c->road = (struct tun_road){.kind = TUN_ROAD_PUBLISH,
                                    .circuit = circuit,
                                    .owner = h,
                                    .part = &p,
                                    .ready = times[row].at != TUN_COPY_BUILDING,
                                    .opened_at = now,
                                    .expires_at = cv_usec_add(now, CV_SEC(2000))};
        cr_assert_eq(tun_idtable_put(&h->all->roads, (uint32_t)circuit, &c->road), CV_ERR_OK);
    }
    tun_publication_step(h, &p);
    char got = '!';
    if (c->tries > 0)
        got = c->state == TUN_COPY_BUILDING && !c->road.kind ? 'f' : '!';
    else if (c->state == times[row].at)
        got = !road && c->road.kind ? 'o' : '.';
    else if (c->state == TUN_COPY_BUILDING)
        got = 'b';
    else if (c->state == TUN_COPY_WRITING)
        got = p.ready ? 'w' : '!';
    tun_road_close(&c->road);
    tun_road_close(&p.copy[1].road);
    return got;
}

Test(tun_slot_states, of_time) {
    unsigned node;
    struct tun_hidden *h;
    struct village *v = sharing(&node, &h);
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        char got[TIMES + 1] = {0};
        for (unsigned m = 0; m < TIMES; m++)
            got[m] = time_passes(v, node, h, i, m);
        cr_expect_str_eq(got, times[i].answers, "%s:\n got %s\nwant %s", times[i].name, got,
                         times[i].answers);
    }
    village_free(v);
}
