/*
 * Every (state x message) cell of a hidden swarm's own machines: a viewer's meeting,
 * told through the rendezvous and through the introduction point, a seeder's
 * introduction point and its visit to a rendezvous. What arrives is an answer of any
 * command with a body that means nothing, a refusal, or silence; only the one answer
 * that a state waits for moves it. Then their circuits, and those that read and write
 * slots: built, or gone; and time. The relays' side is in test_states.c.
 */
#include "support/suite.h"
#include "tunnel/hiddenstate.h"
#include "tunnel/tests/village.h"

CV_SUITE(tun_hidden_states);

enum {
    COMMANDS = TUN_CMD_CONNECTED + 1, /* the last does not exist */
    REFUSED,
    SILENCE,
    MESSAGES = SILENCE,
    ASKED = 77, /* transaction of a PING under way */
};
static_assert(MESSAGES == 34, "a new command needs a column");

struct scene {
    struct village *v;
    struct tun_hidden *viewer, *seeder;
    unsigned at_viewer, at_seeder; /* their nodes */
    cv_handle viewers, seeders;    /* a circuit that is built, of either */
};

static void begin(struct scene *s) {
    s->v = village_new(&(struct sim_config){.seed = 3}, 6);
    sim_path_default(s->v->w->sim, &(struct sim_path){.delay = CV_MSEC(1)});
    world_run(s->v->w, CV_SEC(3));
    unsigned seeder = village_client(s->v);
    cv_handle share = village_share(s->v, seeder, "film", false);
    world_run(s->v->w, CV_SEC(3));
    unsigned viewer = village_client(s->v);
    cv_handle view = village_view(s->v, viewer, "film");
    cr_assert(village_meet(s->v, viewer, view, 1, CV_SEC(20)));
    s->viewer = village_hidden(s->v, viewer, view);
    s->seeder = village_hidden(s->v, seeder, share);
    s->at_viewer = viewer;
    s->at_seeder = seeder;
    s->viewers = world_circuit(s->v->w, viewer, (const unsigned[]){0, 1}, 2);
    s->seeders = world_circuit(s->v->w, seeder, (const unsigned[]){0, 1}, 2);
    cr_assert(s->viewers && s->seeders);
}

static struct tun_event message(unsigned m, uint32_t transaction) {
    static const uint8_t nothing[40];
    struct tun_event ev = {.kind = TUN_EVENT_REPLY,
                           .reply = {.command = (uint8_t)m,
                                     .transaction = transaction,
                                     .body = nothing,
                                     .len = sizeof nothing}};
    if (m == REFUSED) {
        ev.reply.command = TUN_CMD_ERROR;
        ev.reply.err = CV_ERR_DENIED;
        ev.reply.code = TUN_ERROR_REFUSED;
    } else if (m == SILENCE) {
        ev.reply.command = TUN_CMD_PING; /* what was asked */
        ev.reply.err = CV_ERR_TIMEDOUT;
        ev.reply.body = NULL;
        ev.reply.len = 0;
    }
    return ev;
}

/* ---- a viewer's meeting ---- */

#define NOTHING ".................................."

/* clang-format off */
static const struct {
    const char *name;
    struct tun_meet at; /* the fields that make a state */
    const char *by_rendezvous, *by_introduction; /* commands 1..32, refused, silence */
} meetings[] = {
    /* . nothing  e established  w waits for the seeder  n tries another */
    { "asked",       { .state = TUN_MEET_BUILDING },
      "...............e................nn",
      NOTHING },
    { "established", { .state = TUN_MEET_BUILDING, .established = true },
      NOTHING, NOTHING },
    { "introduced",  { .state = TUN_MEET_BUILDING, .established = true, .introduced = true },
      NOTHING,
      "nnnnnnnnnnnnwnnnnnnnnnnnnnnnnnnnnn" },
    { "waiting",     { .state = TUN_MEET_WAITING, .established = true, .introduced = true },
      NOTHING, NOTHING },
    { "up",          { .state = TUN_MEET_UP, .established = true, .introduced = true, .came = true },
      NOTHING, NOTHING },
};
/* clang-format on */

static char meeting(struct scene *s, const struct tun_meet *at, bool by_rendezvous, unsigned m) {
    static struct tun_meet meet; /* of nobody: what it opens is closed below */
    meet = *at;
    meet.contact = s->viewer->viewer->known[0].contact;
    meet.period = s->viewer->viewer->known[0].period;
    struct tun_event ev = message(m, ASKED);
    tun_meet_on_reply(s->viewer, &meet, by_rendezvous ? &meet.rp : &meet.ip, &ev);
    char got = '.';
    if (meet.came && !at->came)
        got = 'c';
    else if (meet.established && !at->established)
        got = 'e';
    else if (meet.state == TUN_MEET_WAITING && at->state != TUN_MEET_WAITING)
        got = 'w';
    else if (meet.state != at->state || meet.tries != at->tries ||
             meet.established != at->established || meet.introduced != at->introduced ||
             meet.retry_at || meet.rp.kind || meet.ip.kind)
        got = 'n';
    tun_road_close(&meet.rp);
    tun_road_close(&meet.ip);
    return got;
}

Test(tun_hidden_states, of_a_viewers_meeting) {
    struct scene s;
    begin(&s);
    for (size_t i = 0; i < sizeof meetings / sizeof *meetings; i++)
        for (unsigned way = 0; way < 2; way++) {
            char got[MESSAGES + 1] = {0};
            for (unsigned m = 1; m <= MESSAGES; m++)
                got[m - 1] = meeting(&s, &meetings[i].at, way == 0, m);
            const char *want = way ? meetings[i].by_introduction : meetings[i].by_rendezvous;
            cr_expect_str_eq(got, want, "%s, by %s:\n got %s\nwant %s", meetings[i].name,
                             way ? "introduction" : "rendezvous", got, want);
        }
    village_free(s.v);
}

/* ---- a seeder ---- */

/* . nothing  u up  p the PING is answered  x given up: another is opened */
/* clang-format off */
static const struct {
    const char *name;
    enum tun_point_state at;
    bool pinged;
    const char *answers;
} points[] = {
    { "building",     TUN_POINT_BUILDING,     false, NOTHING },
    { "establishing", TUN_POINT_ESTABLISHING, false, "xxxxxxxxxxuxx.xxxxxxxxxxxxxxxxxxxx" },
    { "up",           TUN_POINT_UP,           false, NOTHING },
    { "up, pinged",   TUN_POINT_UP,           true,  "ppppppppppppp.pppppppppppppppppp.." },
    { "leaving",      TUN_POINT_LEAVING,      false, NOTHING },
};
static const struct {
    const char *name;
    enum tun_join_state at;
    const char *answers;
} joins[] = {
    { "building", TUN_JOIN_BUILDING, NOTHING },
    { "joining",  TUN_JOIN_JOINING,  "xxxxxxxxxxxxxxxxxuxxxxxxxxxxxxxxxx" },
    { "up",       TUN_JOIN_UP,       NOTHING },
};
/* clang-format on */

static char point(struct scene *s, enum tun_point_state at, bool pinged, unsigned m) {
    static struct tun_point p; /* of nobody */
    p = (struct tun_point){.state = at, .ping = pinged ? ASKED : 0};
    struct tun_road road = {.kind = TUN_ROAD_POINT, .part = &p, .owner = s->seeder};
    struct tun_event ev = message(m, ASKED);
    uint32_t before = s->seeder->info.introductions;
    tun_seeder_on_reply(s->seeder, &road, &ev);
    cr_expect_eq(s->seeder->info.introductions, before, "an introduction of nothing");
    if (p.state == TUN_POINT_UP && at != TUN_POINT_UP)
        return 'u';
    if (p.state != at)
        return 'x';
    return pinged && p.ping == 0 ? 'p' : '.';
}

static char join(struct scene *s, enum tun_join_state at, unsigned m) {
    static struct tun_join j; /* of nobody */
    j = (struct tun_join){.state = at};
    struct tun_road road = {.kind = TUN_ROAD_JOIN, .part = &j, .owner = s->seeder};
    struct tun_event ev = message(m, ASKED);
    tun_seeder_on_reply(s->seeder, &road, &ev);
    if (j.state == TUN_JOIN_UP && at != TUN_JOIN_UP)
        return 'u';
    return j.state == at ? '.' : 'x';
}

Test(tun_hidden_states, of_a_seeder) {
    struct scene s;
    begin(&s);
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        char got[MESSAGES + 1] = {0};
        for (unsigned m = 1; m <= MESSAGES; m++)
            got[m - 1] = point(&s, points[i].at, points[i].pinged, m);
        cr_expect_str_eq(got, points[i].answers, "point, %s:\n got %s\nwant %s", points[i].name,
                         got, points[i].answers);
    }
    for (size_t i = 0; i < sizeof joins / sizeof *joins; i++) {
        char got[MESSAGES + 1] = {0};
        for (unsigned m = 1; m <= MESSAGES; m++)
            got[m - 1] = join(&s, joins[i].at, m);
        cr_expect_str_eq(got, joins[i].answers, "join, %s:\n got %s\nwant %s", joins[i].name, got,
                         joins[i].answers);
    }
    village_free(s.v);
}

/* ---- the circuits of all of them ---- */

enum {
    READY,
    READY_OTHER,
    GONE,         /* none of its hops had answered, */
    GONE_BUT_ONE, /* all but the last */
    GONE_BUILT,   /* all */
    GONE_OTHER,
    CIRCUIT_EVENTS,
};

/* . nothing  r ready  c cleared: the part sees in its next step that it has no circuit
 * d the same, and the peer is told down  i the meeting is over, and the peer told down
 * n its introduction point is not there: another */
/* clang-format off */
static const struct {
    const char *name;
    enum tun_road_kind kind;
    bool joined;        /* datagrams go over it */
    struct tun_meet at; /* of those of a meeting */
    const char *answers;
} roads[] = {
    { "none",                     TUN_ROAD_NONE,       false, { .state = TUN_MEET_IDLE }, "......" },
    { "search",                   TUN_ROAD_SEARCH,     false, { .state = TUN_MEET_IDLE }, "r.ccc." },
    { "rendezvous, asked",        TUN_ROAD_RENDEZVOUS, false, { .state = TUN_MEET_BUILDING }, "r.ccc." },
    { "rendezvous, waiting",      TUN_ROAD_RENDEZVOUS, false, { .state = TUN_MEET_WAITING }, "r.ccc." },
    { "rendezvous, up",           TUN_ROAD_RENDEZVOUS, true,  { .state = TUN_MEET_UP }, "r.iii." },
    { "introduction",             TUN_ROAD_INTRODUCE,  false, { .state = TUN_MEET_BUILDING }, "r.cnc." },
    { "introduction, introduced", TUN_ROAD_INTRODUCE,  false,
      { .state = TUN_MEET_BUILDING, .introduced = true }, "r.cnc." },
    { "introduction, waiting",    TUN_ROAD_INTRODUCE,  false, { .state = TUN_MEET_WAITING }, "r.ccc." },
    { "point",                    TUN_ROAD_POINT,      false, { .state = TUN_MEET_IDLE }, "r.ccc." },
    { "publication",              TUN_ROAD_PUBLISH,    false, { .state = TUN_MEET_IDLE }, "r.ccc." },
    { "join",                     TUN_ROAD_JOIN,       false, { .state = TUN_MEET_IDLE }, "r.ccc." },
    { "join, up",                 TUN_ROAD_JOIN,       true,  { .state = TUN_MEET_IDLE }, "r.ddd." },
};
static_assert(TUN_ROAD_JOIN == 6, "a new kind needs a row");
/* clang-format on */

static struct tun_event circuit_event(unsigned m, cv_handle circuit, unsigned hops) {
    struct tun_event ev = {.kind = TUN_EVENT_CIRCUIT_READY,
                           .circuit_ready = {.circuit = m == READY_OTHER ? 1 : circuit}};
    if (m >= GONE)
        ev = (struct tun_event){.kind = TUN_EVENT_CIRCUIT_DOWN,
                                .circuit_down = {.circuit = m == GONE_OTHER ? 1 : circuit,
                                                 .err = CV_ERR_CLOSED,
                                                 .hops = m == GONE           ? 0
                                                         : m == GONE_BUT_ONE ? hops - 1
                                                                             : hops}};
    return ev;
}

static char road(struct scene *s, size_t row, unsigned m) {
    static struct tun_meet meet;  /* of nobody, */
    static struct tun_road other; /* or what has no state of its own here */
    static struct tun_e2e e2e;
    struct tun_hidden *h = roads[row].kind < TUN_ROAD_POINT ? s->viewer : s->seeder;
    struct tun_hiddens *all = h->all;
    cv_handle circuit = m >= GONE ? 0x7fff0001 : h->viewer ? s->viewers : s->seeders;
    meet = roads[row].at;
    meet.contact = s->viewer->viewer->known[0].contact;
    struct tun_road *r = roads[row].kind == TUN_ROAD_RENDEZVOUS  ? &meet.rp
                         : roads[row].kind == TUN_ROAD_INTRODUCE ? &meet.ip
                                                                 : &other;
    *r = (struct tun_road){.kind = roads[row].kind,
                           .circuit = circuit,
                           .owner = h,
                           .part = &meet,
                           .e2e = roads[row].joined ? &e2e : NULL};
    if (r->kind)
        cr_assert_eq(tun_idtable_put(&all->roads, (uint32_t)circuit, r), CV_ERR_OK);
    uint32_t peers = h->info.peers;
    h->info.peers++; /* the one over this road */
    if (h->viewer)
        h->viewer->missed = false;
    struct tun_event ev = circuit_event(m, circuit, tun_path_length(TUN_PURPOSE_INTRODUCE));
    struct cv_now now = all->now;
    all->t->ops[TUN_USER_HIDDEN]->on_event(all, all->t, &now, &ev);
    bool down = h->info.peers == peers, next = h->viewer && h->viewer->missed;
    bool over = meet.state != roads[row].at.state;
    h->info.peers = peers;
    if (r->kind) {
        tun_idtable_del(&all->roads, (uint32_t)circuit);
        return down || next || over ? '!' : r->ready ? 'r' : '.';
    }
    if (next) /* at once, or there is no other and the meeting is over */
        return down ? '!' : 'n';
    if (over)
        return down && r == &meet.rp ? 'i' : '!';
    if (roads[row].kind == TUN_ROAD_NONE)
        return down ? '!' : '.';
    return down ? 'd' : 'c';
}

Test(tun_hidden_states, of_their_circuits) {
    struct scene s;
    begin(&s);
    for (size_t i = 0; i < sizeof roads / sizeof *roads; i++) {
        char got[CIRCUIT_EVENTS + 1] = {0};
        for (unsigned m = 0; m < CIRCUIT_EVENTS; m++)
            got[m] = road(&s, i, m);
        cr_expect_str_eq(got, roads[i].answers, "%s:\n got %s\nwant %s", roads[i].name, got,
                         roads[i].answers);
    }
    village_free(s.v);
}

/* ---- time ---- */

enum {
    EARLY,
    DUE,       /* an answer, or the seeder */
    PING_DUE,  /* nothing was said for long */
    PONG_DUE,  /* what was asked then is not answered */
    ENDS_SOON, /* its circuit */
    ENDED,
    TIMES,
};

/* . nothing  q asks whether it is there  l leaves: another takes its place  x given up, or gone
 * n tries another, or rests until its next turn */
/* clang-format off */
static const struct {
    const char *name;
    enum tun_point_state at;
    bool pinged;
    const char *answers;
} point_times[] = {
    { "building",     TUN_POINT_BUILDING,     false, "......" },
    { "establishing", TUN_POINT_ESTABLISHING, false, ".x...." },
    { "up",           TUN_POINT_UP,           false, "..q.lx" },
    { "up, pinged",   TUN_POINT_UP,           true,  "...xlx" },
    { "leaving",      TUN_POINT_LEAVING,      false, ".....x" },
};
static const struct {
    const char *name;
    enum tun_join_state at;
    const char *answers;
} join_times[] = {
    { "building", TUN_JOIN_BUILDING, ".x...." },
    { "joining",  TUN_JOIN_JOINING,  ".x...." },
    { "up",       TUN_JOIN_UP,       ".....x" },
};
static const struct {
    const char *name;
    struct tun_meet at;
    const char *answers;
} meeting_times[] = {
    { "asked",      { .state = TUN_MEET_BUILDING, .asked = true }, ".n...." },
    { "introduced", { .state = TUN_MEET_BUILDING, .asked = true, .established = true, .introduced = true },
      ".n...." },
    { "waiting",    { .state = TUN_MEET_WAITING, .established = true, .introduced = true }, ".n...." },
    { "up",         { .state = TUN_MEET_UP, .established = true, .introduced = true }, "....lx" },
    { "leaving",    { .state = TUN_MEET_UP, .established = true, .introduced = true, .leaving = true },
      ".....x" },
};
/* clang-format on */

/* A circuit that is built; the work of its owner is done at that time. */
static cv_handle built(struct scene *s, struct tun_hidden *h) {
    unsigned node = h->viewer ? s->at_viewer : s->at_seeder;
    cv_handle c = world_circuit(s->v->w, node, (const unsigned[]){0, 1}, 2);
    cr_assert_neq(c, 0);
    h->all->now = world_now(s->v->w, node);
    return c;
}

static void lay(struct tun_hidden *h, enum tun_road_kind kind, void *part, struct tun_road *r,
                cv_handle circuit, unsigned m) {
    cv_usec now = h->all->now.mono;
    *r = (struct tun_road){.kind = kind,
                           .circuit = circuit,
                           .owner = h,
                           .part = part,
                           .ready = true,
                           .opened_at = now,
                           .expires_at = m == ENDED       ? now
                                         : m == ENDS_SOON ? now + CV_SEC(60)
                                                          : now + CV_SEC(2000)};
    cr_assert_eq(tun_idtable_put(&h->all->roads, (uint32_t)circuit, r), CV_ERR_OK);
}

static cv_usec due(const struct tun_hidden *h, bool is) {
    return is ? h->all->now.mono : cv_usec_add(h->all->now.mono, CV_SEC(5));
}

static char point_time(struct scene *s, size_t row, unsigned m) {
    struct tun_hidden *h = s->seeder;
    struct tun_point *p = h->seeder->point;
    cv_handle c = built(s, h);
    while (p->state != TUN_POINT_IDLE)
        p++;
    cr_assert_lt(p - h->seeder->point, TUN_POINTS);
    lay(h, TUN_ROAD_POINT, p, &p->road, c, m);
    p->state = point_times[row].at;
    p->road.ready = p->state != TUN_POINT_BUILDING;
    p->until = due(h, m == DUE);
    p->ping_at = due(h, m == PING_DUE);
    p->ping = point_times[row].pinged ? ASKED : 0;
    p->ping_until = due(h, m == PONG_DUE);
    uint32_t ping = p->ping;
    tun_seeder_work(h);
    char got = p->state == TUN_POINT_IDLE                                         ? 'x'
               : p->state == TUN_POINT_LEAVING && point_times[row].at != p->state ? 'l'
               : p->ping != ping                                                  ? 'q'
               : p->state == point_times[row].at                                  ? '.'
                                                                                  : '!';
    tun_road_close(&p->road);
    *p = (struct tun_point){.state = TUN_POINT_IDLE};
    return got;
}

static char join_time(struct scene *s, size_t row, unsigned m) {
    struct tun_hidden *h = s->seeder;
    struct tun_join *j = h->seeder->join;
    static struct tun_e2e e2e;
    cv_handle c = built(s, h);
    while (j->state != TUN_JOIN_IDLE)
        j++;
    cr_assert_lt(j - h->seeder->join, h->seeder->joins_max);
    lay(h, TUN_ROAD_JOIN, j, &j->road, c, m);
    j->state = join_times[row].at;
    j->road.ready = j->state != TUN_JOIN_BUILDING;
    j->road.e2e = j->state == TUN_JOIN_UP ? &e2e : NULL;
    j->until = due(h, m == DUE);
    j->look_at = due(h, false);
    bool up = j->state == TUN_JOIN_UP;
    if (up)
        tun_hidden_peer_up(h, &j->road);
    uint32_t peers = h->info.peers;
    tun_seeder_work(h);
    char got = j->state == TUN_JOIN_IDLE ? 'x' : j->state == join_times[row].at ? '.' : '!';
    cr_expect_eq(h->info.peers, peers - (up && got == 'x'), "%s: told", join_times[row].name);
    if (h->info.peers == peers && up)
        tun_hidden_peer_down(h, &j->road);
    tun_road_close(&j->road);
    *j = (struct tun_join){.state = TUN_JOIN_IDLE};
    return got;
}

static char meeting_time(struct scene *s, size_t row, unsigned m) {
    struct tun_hidden *h = s->viewer;
    struct tun_meet *meet = h->viewer->meet;
    const struct tun_meet *at = &meeting_times[row].at;
    cv_handle rp = built(s, h), ip = built(s, h);
    while (meet->state != TUN_MEET_IDLE)
        meet++;
    cr_assert_lt(meet - h->viewer->meet, TUN_MEETINGS_MAX);
    *meet = *at;
    meet->contact = h->viewer->known[0].contact;
    meet->period = h->viewer->known[0].period;
    lay(h, TUN_ROAD_RENDEZVOUS, meet, &meet->rp, rp, m);
    lay(h, TUN_ROAD_INTRODUCE, meet, &meet->ip, ip, m);
    meet->begun_at = h->all->now.mono;
    meet->until = due(h, m == DUE);
    meet->look_at = due(h, false);
    bool up = at->state == TUN_MEET_UP;
    if (up)
        tun_hidden_peer_up(h, &meet->rp);
    uint32_t peers = h->info.peers;
    tun_meet_work(h);
    char got = '.';
    if (meet->state == TUN_MEET_IDLE)
        got = up ? 'x' : 'n';
    else if (meet->leaving && !at->leaving)
        got = 'l';
    else if (meet->tries != at->tries || !meet->rp.kind || !meet->ip.kind)
        got = 'n';
    else if (meet->state != at->state)
        got = '!';
    cr_expect_eq(h->info.peers, peers - (up && got == 'x'), "%s: told", meeting_times[row].name);
    if (h->info.peers == peers && up)
        tun_hidden_peer_down(h, &meet->rp);
    tun_road_close(&meet->rp);
    tun_road_close(&meet->ip);
    *meet = (struct tun_meet){.state = TUN_MEET_IDLE};
    return got;
}

Test(tun_hidden_states, of_time) {
    static const struct {
        const char *name;
        char (*happens)(struct scene *, size_t row, unsigned m);
        size_t rows;
    } parts[] = {
        {"point", point_time, sizeof point_times / sizeof *point_times},
        {"join", join_time, sizeof join_times / sizeof *join_times},
        {"meeting", meeting_time, sizeof meeting_times / sizeof *meeting_times},
    };
    struct scene s;
    begin(&s);
    for (size_t part = 0; part < sizeof parts / sizeof *parts; part++)
        for (size_t i = 0; i < parts[part].rows; i++) {
            const char *name = part == 0   ? point_times[i].name
                               : part == 1 ? join_times[i].name
                                           : meeting_times[i].name;
            const char *want = part == 0   ? point_times[i].answers
                               : part == 1 ? join_times[i].answers
                                           : meeting_times[i].answers;
            char got[TIMES + 1] = {0};
            for (unsigned m = 0; m < TIMES; m++)
                got[m] = parts[part].happens(&s, i, m);
            cr_expect_str_eq(got, want, "%s, %s:\n got %s\nwant %s", parts[part].name, name, got,
                             want);
        }
    village_free(s.v);
}

/* ---- the keys of a period ---- */

/* Who gets hold of a seeder's memory a day later can open none of the introductions of before: a
 * period's keys are read with for an hour after it, and then they are gone. */
Test(tun_hidden_states, the_keys_of_a_period_are_wiped_an_hour_after_it) {
    struct scene s;
    begin(&s);
    struct tun_hidden *h = s.seeder;
    struct tun_seeder *seeder = h->seeder;
    struct tun_service was = seeder->now, nothing;
    memset(&nothing, 0, sizeof nothing);
    cr_assert(was.set && !seeder->before.set);
    h->all->now.wall += 86400;
    tun_seeder_work(h);
    cr_expect_eq(memcmp(&seeder->before, &was, sizeof was), 0, "still read with");
    cr_expect(seeder->now.set && seeder->now.keys.period == was.keys.period + 1);
    cr_expect_neq(
        memcmp(&seeder->now.service_secret, &was.service_secret, sizeof was.service_secret), 0);
    h->all->now.mono += CV_SEC(3600) - 1;
    tun_seeder_work(h);
    cr_expect(seeder->before.set, "an hour is not over");
    h->all->now.mono++;
    tun_seeder_work(h);
    cr_expect_eq(memcmp(&seeder->before, &nothing, sizeof nothing), 0, "wiped, all of it");
    village_free(s.v);
}
