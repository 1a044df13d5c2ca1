/*
 * Every (state x message) cell of what workers of one relay tell each other: a circuit at
 * a worker that is neither the face nor who tells it, in each role it can have, and any
 * message about it, in time, late, or about another; what the face is told of where
 * something is; then every kind of message there is, about nothing.
 */
#include <string.h>

#include "support/suite.h"
#include "tunnel/circuit.h"
#include "tunnel/tests/world.h"

CV_SUITE(tun_worker_states);

enum { FAR, RP, WORKERS = 3, HERE = 1, THERE = 2 };

/* A circuit of the other worker's that is not there. */
#define NOBODY ((cv_handle)1 << 32 | (cv_handle)THERE << TUN_HANDLE_WORKER_SHIFT | 9)

static_assert(TUN_MESSAGE_PARTED == 31, "a new message needs its columns, and a row at the end");

/* Messages about a circuit, in the order of the tables' columns. */
enum column {
    UNASKED,       /* what it asked was lost */
    UNASKED_OTHER, /* something else was */
    OPENED,        /* the node answers its question */
    CONNECTED,
    REFUSED,
    RESULT,
    SEND,      /* the node sends */
    SEND_FLOW, /* on a flow of an exit */
    RELAY,     /* what it extends to is known */
    NO_RELAY,
    MOVED, /* its key is somebody else's now */
    MOVED_OTHER,
    INTRODUCE, /* somebody asks for it by its key */
    INTRODUCED,
    MEET, /* somebody joins it by its cookie */
    MEET_OTHER,
    MET, /* it is joined */
    NOT_MET,
    JOINED, /* what its other half says */
    JOINED_OTHER,
    PARTED, /* its other half is gone */
    PARTED_OTHER,
    DRAIN,
    HOPS_END,
    COLUMNS,
};

/* . nothing  d it is gone  j joined to a circuit elsewhere  o open  x an exit  n extends
 * p whoever takes it for joined is told that it is not  u counts as not asked
 * l a point no more  e an error is answered  a something else is
 * c its owner is sent a cell */
/* clang-format off */
static const struct {
    const char *name;
    const char *answers;
} states[] = {
    { "gone",                "................p......." },
    { "free",                "..oxea..ne...a..je.....d" },
    { "extends",             "u.eeea..ee...a..pe.....d" },
    { "passes on",           "..eeea..ee...a..pe.....d" },
    { "is a point",          "..eeea..eel.ca..pe.....d" },
    { "waits to be joined",  "..eeea..ee...aj.pe.....d" },
    { "is joined here",      "..eeea..ee...a..pe.....d" },
    { "is joined elsewhere", "..eeea..ee...a..pec.d..d" },
    { "is being opened",     "u.oeua..ee...a..pe.....d" },
    { "is open",             "..aeeac.ee...a..pe.....d" },
    { "is an exit",          "..eaea.cee...a..pe.....d" },
};
/* clang-format on */
enum { GONE, FREE, EXTENDS, PASSES_ON, POINT, WAITS, HERE_TOO, ELSEWHERE, OPENING, OPEN, EXIT };

static const uint8_t cookie[TUN_RENDEZVOUS_COOKIE] = "its own cookie",
                     other_cookie[TUN_RENDEZVOUS_COOKIE] = "another cookie";

struct scene {
    struct world *w;
    unsigned owner, beside, there; /* two at the worker, one at the other */
    struct cv_ed25519_secret auth_secret, other_secret;
    cv_handle circuit, second; /* of the owner, and of who is joined to it */
    struct tun_hop *h;
    cv_handle handle, half; /* the hop's, and what it is joined to */
    uint32_t asked;
};

static struct tunnel *worker(struct scene *s, unsigned i) {
    return s->w->node[RP].worker[i];
}

static unsigned owner_at(struct scene *s, unsigned at) {
    for (;;) {
        unsigned owner = world_client(s->w, NULL);
        if (tun_worker_by_address(worker(s, at), &s->w->node[owner].addr) == at)
            return owner;
    }
}

static void begin(struct scene *s) {
    memset(s, 0, sizeof *s);
    s->w = world_new(&(struct sim_config){.seed = 1});
    sim_path_default(s->w->sim, &(struct sim_path){.delay = CV_MSEC(1)});
    world_relay(s->w, &(struct tun_config){.gate = true, .workers = 1});
    world_relay(s->w, &(struct tun_config){.gate = true,
                                           .workers = WORKERS,
                                           .relay_flags = TUN_RELAY_EXIT,
                                           .worker_key = "sixteen"});
    s->owner = owner_at(s, HERE);
    s->beside = owner_at(s, HERE);
    s->there = owner_at(s, THERE);
    cv_ed25519_from_seed(&s->auth_secret, (const uint8_t[CV_KEY]){1});
    cv_ed25519_from_seed(&s->other_secret, (const uint8_t[CV_KEY]){2});
}

static void run(struct scene *s) {
    world_run(s->w, CV_MSEC(20));
}

static cv_handle straight(struct scene *s, unsigned owner) {
    cv_handle c = world_circuit(s->w, owner, (const unsigned[]){RP}, 1);
    cr_assert_neq(c, 0);
    return c;
}

static uint32_t ask(struct scene *s, unsigned owner, cv_handle c, uint8_t command, const void *body,
                    size_t len) {
    uint32_t transaction = world_request(s->w, owner, c, command, body, len);
    run(s);
    return transaction;
}

static size_t rendezvous(uint8_t ret[64], const uint8_t *which, uint32_t transaction, bool join) {
    struct tun_rendezvous m = {.transaction = transaction,
                               .flight = (const uint8_t *)"flight",
                               .flight_len = join ? 6 : 0};
    memcpy(m.cookie, which, sizeof m.cookie);
    struct cv_wr wr = cv_wr_init(ret, 64);
    tun_rendezvous_write(&wr, &m);
    return cv_wr_len(&wr);
}

static size_t extend(struct scene *s, uint8_t ret[256]) {
    struct tun_relay_ref to;
    world_ref(s->w, FAR, &to);
    struct tun_extend m = {
        .transaction = s->asked, .day = to.day, .flight = to.identity, .flight_len = CV_KEY};
    memcpy(m.identity, to.identity, sizeof m.identity);
    memcpy(m.digest, to.d, sizeof m.digest);
    struct cv_wr wr = cv_wr_init(ret, 256);
    tun_extend_write(&wr, &m);
    return cv_wr_len(&wr);
}

static void establish(struct scene *s) {
    struct tun_establish_intro m;
    uint8_t binding[32], body[256];
    cr_assert_eq(tun_circuit_binding(s->w->node[s->owner].t, s->circuit, 0, binding), CV_ERR_OK);
    tun_establish_intro_sign(&m, &s->auth_secret, binding);
    struct cv_wr wr = cv_wr_init(body, sizeof body);
    tun_establish_intro_write(&wr, &m);
    ask(s, s->owner, s->circuit, TUN_CMD_ESTABLISH_INTRO, body + 4, cv_wr_len(&wr) - 4);
}

static void join(struct scene *s, unsigned by) {
    uint8_t body[64];
    ask(s, s->owner, s->circuit, TUN_CMD_ESTABLISH_RENDEZVOUS, cookie, sizeof cookie);
    s->second = straight(s, by);
    size_t len = rendezvous(body, cookie, 0, true);
    ask(s, by, s->second, TUN_CMD_JOIN, body + 4, len - 4);
}

static void node_answers(struct scene *s, uint8_t command) {
    struct cv_now now = world_now(s->w, RP);
    cr_assert_eq(tun_answer(s->w->node[RP].t, &now, s->handle, s->asked, command, NULL, 0),
                 CV_ERR_OK);
    sim_touch(s->w->sim, RP);
    run(s);
}

/* The one hop of the owner's. */
static struct tun_hop *hop_of(struct scene *s, unsigned owner) {
    uint32_t cursor = 0;
    struct tun_hop *h;
    while ((h = tun_handles_next(&worker(s, HERE)->hops, &cursor)) != NULL)
        if (cv_addr_equal(&h->prev.link->addr, &s->w->node[owner].addr))
            return h;
    return NULL;
}

/* A circuit of the owner's, in that state. */
static void reach(struct scene *s, unsigned state) {
    static const unsigned far[] = {RP, FAR};
    uint8_t body[256];
    if (state == EXTENDS)
        sim_path(s->w->sim, FAR, RP, &(struct sim_path){.cut = true});
    s->circuit = world_circuit(s->w, s->owner, far, state == PASSES_ON ? 2 : 1);
    cr_assert_neq(s->circuit, 0);
    s->h = hop_of(s, s->owner);
    cr_assert_not_null(s->h);
    s->handle = s->h->handle;
    s->half = 0;
    s->asked = 77;
    switch (state) {
    case GONE:
        tun_hop_destroy(worker(s, HERE), s->h, NULL);
        sim_touch(s->w->sim, RP);
        run(s);
        break;
    case EXTENDS: /* and hears nothing */
        s->asked = 0;
        s->asked = ask(s, s->owner, s->circuit, TUN_CMD_EXTEND, body + 4, extend(s, body) - 4);
        cr_assert(s->h->next.link && !s->h->extended);
        break;
    case POINT:
        establish(s);
        cr_assert(s->h->is_intro);
        break;
    case WAITS:
        ask(s, s->owner, s->circuit, TUN_CMD_ESTABLISH_RENDEZVOUS, cookie, sizeof cookie);
        cr_assert(s->h->is_rendezvous);
        break;
    case HERE_TOO:
        join(s, s->beside);
        cr_assert_not_null(s->h->spliced);
        s->half = s->h->spliced->handle;
        break;
    case ELSEWHERE:
        join(s, s->there);
        s->half = s->h->spliced_away;
        cr_assert_neq(s->half, 0);
        break;
    case OPENING:
    case OPEN:
        s->asked = ask(s, s->owner, s->circuit, TUN_CMD_OPEN, "\1\0x", 3);
        cr_assert(s->h->opening);
        if (state == OPEN)
            node_answers(s, TUN_CMD_OPENED);
        break;
    case PASSES_ON:
        cr_assert(s->h->extended);
        break;
    case EXIT:
        s->asked = ask(s, s->owner, s->circuit, TUN_CMD_CONNECT, "\1\0x", 3);
        node_answers(s, TUN_CMD_CONNECTED);
        cr_assert(s->h->exit);
        break;
    default:
        break;
    }
}

static struct tun_message *message(const struct tun_message *m, const void *octets, size_t len) {
    struct tun_message *copy = calloc(1, sizeof *copy + len + 1);
    *copy = *m;
    copy->len = len;
    if (len)
        memcpy(copy->octets, octets, len);
    return copy;
}

/* As the face, or the worker THERE, would tell it. */
static struct tun_message *about(struct scene *s, enum column which) {
    struct tun_message m = {.to = HERE, .at = s->handle, .transaction = s->asked, .other = NOBODY};
    struct tun_introduce in = {
        .transaction = 5, .flight = (const uint8_t *)"flight", .flight_len = 6};
    uint8_t body[256 + sizeof(struct tun_relay_ref)];
    size_t len = 0;
    struct cv_wr wr = cv_wr_init(body, sizeof body);
    struct tun_relay_ref to;
    switch (which) {
    case UNASKED:
    case UNASKED_OTHER:
        m.kind = TUN_MESSAGE_UNASKED;
        m.transaction += which == UNASKED_OTHER;
        break;
    case OPENED:
    case CONNECTED:
    case REFUSED:
    case RESULT:
        m.kind = TUN_MESSAGE_ANSWER;
        m.command = which == OPENED      ? TUN_CMD_OPENED
                    : which == CONNECTED ? TUN_CMD_CONNECTED
                    : which == REFUSED   ? TUN_CMD_ERROR
                                         : TUN_CMD_RESULT;
        len = which == REFUSED;
        body[0] = TUN_ERROR_NOENT;
        break;
    case SEND:
    case SEND_FLOW:
        m.kind = TUN_MESSAGE_SEND;
        m.number = which == SEND_FLOW;
        len = 5;
        memcpy(body, "hello", len);
        break;
    case RELAY:
    case NO_RELAY:
        m.kind = TUN_MESSAGE_RELAY;
        m.code = which == RELAY;
        world_ref(s->w, FAR, &to);
        memcpy(body, &to, sizeof to);
        m.number = extend(s, body + sizeof to);
        len = sizeof to + m.number;
        break;
    case MOVED:
    case MOVED_OTHER:
        m.kind = TUN_MESSAGE_POINT_MOVED;
        len = CV_KEY;
        memcpy(body, (which == MOVED ? &s->auth_secret : &s->other_secret)->public_key, len);
        break;
    case INTRODUCE:
        m.kind = TUN_MESSAGE_INTRODUCE;
        memcpy(in.auth_key, s->auth_secret.public_key, CV_KEY);
        tun_introduce_write(&wr, &in);
        len = cv_wr_len(&wr);
        break;
    case INTRODUCED:
        m.kind = TUN_MESSAGE_INTRODUCED;
        break;
    case MEET:
    case MEET_OTHER:
        m.kind = TUN_MESSAGE_MEET;
        len = rendezvous(body, which == MEET ? cookie : other_cookie, 5, true);
        break;
    case MET:
    case NOT_MET:
        m.kind = TUN_MESSAGE_MET;
        m.code = which == NOT_MET ? TUN_ERROR_NOENT : 0;
        break;
    case JOINED:
    case JOINED_OTHER:
        m.kind = TUN_MESSAGE_JOINED;
        m.other = which == JOINED && s->half ? s->half : NOBODY;
        len = 5;
        memcpy(body, "hello", len);
        break;
    case PARTED:
    case PARTED_OTHER:
        m.kind = TUN_MESSAGE_PARTED;
        m.other = which == PARTED && s->half ? s->half : NOBODY;
        break;
    case DRAIN:
        m.kind = TUN_MESSAGE_DRAIN;
        break;
    case HOPS_END:
        m.kind = TUN_MESSAGE_HOPS_END;
        break;
    case COLUMNS:
        break;
    }
    return message(&m, body, len);
}

/* ---- what it does ---- */

struct seen {
    bool alive, joined, open, exit, extends, opening, point;
    unsigned memos, answers, cells;
    uint8_t last; /* command of the last answer */
};

static struct seen look(struct scene *s) {
    const struct tun_hop *h = tun_hop_get(worker(s, HERE), s->handle);
    struct seen seen = {.alive = h != NULL};
    if (!h)
        return seen;
    seen.joined = h->spliced_away != 0;
    seen.open = h->open;
    seen.exit = h->exit;
    seen.extends = h->next.link != NULL;
    seen.opening = h->opening;
    seen.point = h->is_intro;
    seen.memos = h->memo_count;
    seen.cells = h->prev.flow.count;
    for (const struct tun_memo *m = h->memos; m; m = m->next) {
        seen.answers += m->command != 0;
        seen.last = m->command ? m->command : seen.last;
    }
    return seen;
}

static bool has_told(struct scene *s, unsigned at, uint8_t kind) {
    for (const struct tun_message *m = worker(s, at)->told; m; m = m->next)
        if (m->kind == kind)
            return true;
    return false;
}

static char answer(struct scene *s, enum column which) {
    struct cv_now now = world_now(s->w, RP);
    struct tun_message *m = about(s, which);
    cr_assert_not_null(m);
    struct seen before = look(s);
    tun_on_message(worker(s, HERE), &now, m);
    struct seen after = look(s);
    if (before.alive && !after.alive)
        return 'd';
    if (after.joined && !before.joined)
        return 'j';
    if (after.open && !before.open)
        return after.opening ? '!' : 'o';
    if (after.exit && !before.exit)
        return 'x';
    if (after.extends && !before.extends)
        return 'n';
    if (has_told(s, HERE, TUN_MESSAGE_PARTED))
        return !after.alive || after.last == TUN_CMD_ERROR ? 'p' : '!';
    if (after.memos < before.memos || before.opening != after.opening)
        return 'u';
    if (before.point && !after.point)
        return cv_map_count(worker(s, HERE)->intros) ? '!' : 'l';
    if (after.answers != before.answers)
        return after.last == TUN_CMD_ERROR ? 'e' : 'a';
    return after.cells != before.cells ? 'c' : '.';
}

Test(tun_worker_states, of_a_circuit) {
    for (unsigned i = 0; i < sizeof states / sizeof *states; i++) {
        static struct scene s;
        char got[COLUMNS + 1] = {0};
        begin(&s);
        for (unsigned m = 0; m < COLUMNS; m++) {
            reach(&s, i);
            got[m] = answer(&s, (enum column)m);
            struct cv_now now = world_now(s.w, RP);
            tun_hops_end(s.w->node[RP].t, &now, 0);
            sim_touch(s.w->sim, RP);
            world_run(s.w, CV_MSEC(50));
        }
        cr_expect_str_eq(got, states[i].answers, "%s:\n got %s\nwant %s", states[i].name, got,
                         states[i].answers);
        world_free(s.w);
    }
}

/* ---- where something is ---- */

/* . as it was  + at the teller's  - nowhere  m the same, and who had it is told
 * o the same, and ours is it no more */
/* clang-format off */
static const struct {
    const char *name;
    const char *answers; /* is and is no more: cookie, point, address, link */
} places[] = {
    { "nowhere",       "+.+.+.+." },
    { "the teller's",  ".-.-.-.-" },
    { "another's",     "..m.+..." },
    { "the face's own", "..o....." },
};
/* clang-format on */
enum { NOWHERE, TELLERS, ANOTHERS, OWN };

static const cv_handle another = (cv_handle)1 << 32 | (cv_handle)HERE << TUN_HANDLE_WORKER_SHIFT;

/* NULL: the messages are about links: where they are, and their handles, which are names. */
static struct cv_map *map_of(struct scene *s, unsigned what) {
    struct tun_others *face = worker(s, 0)->others;
    return what == 0 ? face->cookies : what == 1 ? face->points : NULL;
}

static cv_handle where(struct scene *s, unsigned what, const void *key) {
    if (what == 3)
        return cv_map_get(worker(s, 0)->others->links, &(cv_handle){NOBODY}) ? NOBODY : 0;
    if (what == 2) { /* several may be there */
        const struct tun_moved *m = cv_map_get(worker(s, 0)->others->moved, key);
        for (uint32_t i = 0; m && i < m->count; i++)
            if (m->links[i] == NOBODY)
                return NOBODY;
        return m ? m->links[0] : 0;
    }
    const struct tun_place *p = tun_place_find(map_of(s, what), key);
    return p ? p->handle : 0;
}

static void tell_address(struct scene *s, bool is, const void *addr, cv_handle link) {
    struct tun_message m = {.from = THERE, .kind = TUN_MESSAGE_ADDRESS, .other = link, .code = is};
    struct cv_now now = world_now(s->w, RP);
    memcpy(&m.addr, addr, sizeof m.addr);
    tun_on_message(worker(s, 0), &now, message(&m, addr, 0));
}

static void tell_where(struct scene *s, unsigned what, bool is, const uint8_t *key) {
    if (what == 2) {
        tell_address(s, is, key, NOBODY);
        return;
    }
    static const uint8_t kinds[] = {TUN_MESSAGE_COOKIE, TUN_MESSAGE_POINT, 0, TUN_MESSAGE_EVENT};
    struct tun_message m = {.from = THERE, .kind = kinds[what], .other = NOBODY, .code = is};
    struct cv_now now = world_now(s->w, RP);
    uint8_t octets[sizeof(struct tun_event) + CV_NOISE_HASH] = {0};
    struct tun_event ev = {.kind = TUN_EVENT_LINK_UP, .link_up = {.link = NOBODY}};
    size_t len = what == 0 ? TUN_RENDEZVOUS_COOKIE : CV_KEY;
    memcpy(octets, key, CV_KEY);
    if (!is)
        ev = (struct tun_event){.kind = TUN_EVENT_LINK_DOWN, .link_down = {.link = NOBODY}};
    if (what == 3) {
        memcpy(octets, &ev, sizeof ev);
        len = sizeof octets;
    }
    tun_on_message(worker(s, 0), &now, message(&m, octets, len));
}

static char place(struct scene *s, unsigned state, unsigned what, bool is) {
    static struct tun_hop ours;
    struct tunnel *face = worker(s, 0);
    struct cv_addr addr = s->w->node[s->owner].addr;
    uint8_t key[CV_KEY + sizeof addr] = {7};
    if (what == 2)
        memcpy(key, &addr, sizeof addr);
    memset(&ours, 0, sizeof ours);
    memcpy(ours.intro_key, key, CV_KEY);
    ours.is_intro = what == 1;
    cv_handle before = state == TELLERS ? NOBODY : state == ANOTHERS ? another : 0;
    if (state == OWN)
        cr_assert_eq(cv_map_put(what == 1 ? face->intros : face->cookies, key, &ours), CV_ERR_OK);
    else if (before && what == 2)
        tell_address(s, true, key, before);
    else if (before && what < 2)
        cr_assert_not_null(tun_place_put(map_of(s, what), key, before));
    else if (state == TELLERS)
        tell_where(s, what, true, key);
    tell_where(s, what, is, key);
    cv_handle after = where(s, what, key);
    bool moved = has_told(s, 0, TUN_MESSAGE_POINT_MOVED),
         gave_way = state == OWN && what == 1 && !ours.is_intro;
    cv_map_del(face->intros, key);
    cv_map_del(face->cookies, key);
    if (what < 2)
        tun_place_del(map_of(s, what), key);
    else
        tell_where(s, what, false, key);
    if (what == 2)
        tell_address(s, false, key, another);
    sim_touch(s->w->sim, RP);
    run(s);
    if (after == NOBODY && before != NOBODY)
        return gave_way ? 'o' : moved ? 'm' : '+';
    if (moved || gave_way)
        return '!';
    return after == before ? '.' : after == 0 ? '-' : '!';
}

Test(tun_worker_states, of_where_something_is) {
    static struct scene s;
    begin(&s);
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        char got[9] = "........";
        for (unsigned m = 0; m < 8; m++)
            if (i <= TELLERS || m < 6 - 2 * (i == OWN)) /* names of links are one worker's */
                got[m] = place(&s, i, m / 2, m % 2 == 0);
        cr_expect_str_eq(got, places[i].answers, "%s:\n got %s\nwant %s", places[i].name, got,
                         places[i].answers);
    }
    cr_expect(cv_map_count(worker(&s, 0)->others->points) == 0);
    world_free(s.w);
}

/* ---- about nothing ---- */

/* What is said to a worker about something that is not there, or not any more: who waits for
 * an answer has one, and nothing else happens. */
/* clang-format off */
static const struct {
    const char *name;
    unsigned to;
    uint8_t answer; /* 0: none */
} rows[] = {
    [TUN_MESSAGE_DATAGRAM]    = { "a datagram of no link", HERE, TUN_MESSAGE_STRANGER },
    [TUN_MESSAGE_FLIGHT]      = { "no first flight",       HERE, 0 },
    [TUN_MESSAGE_STRANGER]    = { "nobody's datagram",     0,    0 },
    [TUN_MESSAGE_FOREIGN]     = { "none of the tunnel's",  0,    0 },
    [TUN_MESSAGE_ADDRESS]     = { "a link was there",      HERE, 0 },
    [TUN_MESSAGE_TAKEN]       = { "more than was told",    HERE, 0 },
    [TUN_MESSAGE_UNASKED]     = { "a question is lost",    HERE, 0 },
    [TUN_MESSAGE_KEYRING]     = { "the same keys",         HERE, 0 },
    [TUN_MESSAGE_ANSWER]      = { "an answer",             HERE, 0 },
    [TUN_MESSAGE_SEND]        = { "a datagram for it",     HERE, 0 },
    [TUN_MESSAGE_LINK_SEND]   = { "a command for a link",  HERE, 0 },
    [TUN_MESSAGE_LINK_CLASS]  = { "its class",             HERE, 0 },
    [TUN_MESSAGE_LINK_WEIGHT] = { "its weight",            HERE, 0 },
    [TUN_MESSAGE_LINK_END]    = { "its end",               HERE, 0 },
    [TUN_MESSAGE_DRAIN]       = { "no draining",           HERE, 0 },
    [TUN_MESSAGE_HOPS_END]    = { "an end to circuits",    HERE, 0 },
    [TUN_MESSAGE_RELAY]       = { "what it extends to",    HERE, 0 },
    [TUN_MESSAGE_EVENT]       = { "a link is down",        0,    0 },
    [TUN_MESSAGE_REQUEST]     = { "a question for nobody", 0,    0 },
    [TUN_MESSAGE_COUNTERS]    = { "the same counters",     0,    0 },
    [TUN_MESSAGE_FIND]        = { "an unknown relay",      0,    TUN_MESSAGE_RELAY },
    [TUN_MESSAGE_POINT]       = { "a point no more",       0,    0 },
    [TUN_MESSAGE_POINT_MOVED] = { "a point has moved",     HERE, 0 },
    [TUN_MESSAGE_INTRODUCE]   = { "an introduction",       0,    TUN_MESSAGE_INTRODUCED },
    [TUN_MESSAGE_INTRODUCED]  = { "it was introduced",     HERE, 0 },
    [TUN_MESSAGE_COOKIE]      = { "a cookie no more",      0,    0 },
    [TUN_MESSAGE_JOIN]        = { "no such cookie",        0,    TUN_MESSAGE_MET },
    [TUN_MESSAGE_MEET]        = { "it is spent",           HERE, TUN_MESSAGE_MET },
    [TUN_MESSAGE_MET]         = { "it is met",             HERE, TUN_MESSAGE_PARTED },
    [TUN_MESSAGE_JOINED]      = { "what a half says",      HERE, 0 },
    [TUN_MESSAGE_PARTED]      = { "a half is gone",        HERE, 0 },
};
/* clang-format on */

static size_t nothing(struct scene *s, uint8_t kind, uint8_t ret[4096]) {
    struct tun_introduce in = {.flight = (const uint8_t *)"flight", .flight_len = 6};
    struct cv_wr wr = cv_wr_init(ret, 4096);
    struct tun_event ev = {.kind = TUN_EVENT_LINK_DOWN, .link_down = {.link = NOBODY}};
    size_t len = 0;
    switch ((int)kind) {
    case TUN_MESSAGE_DATAGRAM:
    case TUN_MESSAGE_FLIGHT:
    case TUN_MESSAGE_STRANGER:
    case TUN_MESSAGE_FOREIGN:
        return TUN_DATAGRAM;
    case TUN_MESSAGE_KEYRING:
        return tun_keyring_copy(worker(s, 0)->keyring, ret);
    case TUN_MESSAGE_RELAY:
        return sizeof(struct tun_relay_ref) + extend(s, ret + sizeof(struct tun_relay_ref));
    case TUN_MESSAGE_EVENT:
    case TUN_MESSAGE_REQUEST:
        if (kind == TUN_MESSAGE_REQUEST)
            ev = (struct tun_event){.kind = TUN_EVENT_REQUEST, .request = {.hop = NOBODY}};
        memcpy(ret, &ev, sizeof ev);
        return sizeof ev;
    case TUN_MESSAGE_COUNTERS:
        memcpy(ret, &worker(s, 0)->others->count[THERE], sizeof(struct tun_counters));
        return sizeof(struct tun_counters);
    case TUN_MESSAGE_FIND:
        len = extend(s, ret);
        ret[4] ^= 1; /* of its name */
        return len;
    case TUN_MESSAGE_POINT:
    case TUN_MESSAGE_POINT_MOVED:
        return CV_KEY;
    case TUN_MESSAGE_INTRODUCE:
        tun_introduce_write(&wr, &in);
        return cv_wr_len(&wr);
    case TUN_MESSAGE_COOKIE:
        return TUN_RENDEZVOUS_COOKIE;
    case TUN_MESSAGE_JOIN:
    case TUN_MESSAGE_MEET:
        return rendezvous(ret, other_cookie, 5, true);
    default:
        return 0;
    }
}

static bool is_empty(struct scene *s, unsigned at) {
    const struct tunnel *t = worker(s, at);
    bool empty = t->links.count + t->hops.count + t->sched.cells_used == 0 &&
                 cv_map_count(t->intros) + cv_map_count(t->cookies) == 0 &&
                 cv_map_count(t->others->moved) == 0 && t->memo_octets == 0;
    return empty && (at || (cv_map_count(t->others->points) + cv_map_count(t->others->cookies) +
                                cv_map_count(t->others->links) ==
                            0));
}

Test(tun_worker_states, of_nothing) {
    static struct scene s;
    begin(&s);
    cr_assert_eq(sizeof rows / sizeof *rows, TUN_MESSAGE_PARTED + 1);
    for (unsigned k = 1; k <= TUN_MESSAGE_PARTED; k++) {
        uint8_t kind = (uint8_t)k;
        uint8_t octets[4096] = {1, 2, 3, HERE << 2};
        cr_assert_not_null(rows[kind].name, "%u has no row", kind);
        struct tun_message m = {.to = (uint8_t)rows[kind].to,
                                .from = THERE,
                                .kind = kind,
                                .at = s.handle,
                                .other = NOBODY,
                                .addr = s.w->node[s.owner].addr,
                                .number = kind == TUN_MESSAGE_TAKEN ? 1000 : 0};
        size_t len = nothing(&s, kind, octets);
        if (kind == TUN_MESSAGE_RELAY)
            m.number = len - sizeof(struct tun_relay_ref);
        struct cv_now now = world_now(s.w, RP);
        struct tunnel *t = worker(&s, m.to);
        tun_on_message(t, &now, message(&m, octets, len));
        cr_expect_eq(t->told_count, rows[kind].answer ? 1 : 0, "%s", rows[kind].name);
        if (rows[kind].answer)
            cr_expect(has_told(&s, m.to, rows[kind].answer), "%s", rows[kind].name);
        cr_expect_eq(t->others->to[THERE].untaken, 0, "%s", rows[kind].name);
        cr_expect(is_empty(&s, m.to), "%s", rows[kind].name);
        sim_touch(s.w->sim, RP);
        run(&s);
        cr_expect(is_empty(&s, 0) && is_empty(&s, HERE) && is_empty(&s, THERE), "%s",
                  rows[kind].name);
    }
    world_free(s.w);
}
