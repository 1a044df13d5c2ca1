/*
 * Capacity probes in a village whose relays hang on lines of known speed: what is
 * measured is what the line carries, whatever a relay says of itself and whatever a
 * clique reports about its own; and what probes cost. The table of states is below.
 */
#include "support/suite.h"
#include "tunnel/clientstate.h"
#include "tunnel/directory.h"
#include "tunnel/tests/village.h"

CV_SUITE(tun_probe);

enum {
    RELAYS = 14,
    SLOW = 4,            /* 0..3: 2 Mbit/s, of which */
    CLIQUE = 3,          /* 0..2 report that all of them are as fast as can be */
    SLOW_KIB = 244,      /* 2 Mbit/s */
    FAST_KIB = 244 * 20, /* 40 Mbit/s */
    BY = 7,              /* one of the fast, that is watched */
};

static const struct sim_path near = {.delay = CV_MSEC(5), .jitter = CV_MSEC(1)};

static struct tun_relay *known(struct village *v, unsigned node, unsigned relay) {
    struct cv_now now = world_now(v->w, node);
    return tun_directory_find_now(tun_client_directory(v->w->node[node].t),
                                  v->w->node[relay].identity_secret.public_key, now.wall);
}

static void line(struct village *v, unsigned node, uint64_t rate) {
    sim_access(v->w->sim, node, &(struct sim_access){.rate_up = rate, .rate_down = rate});
}

static struct village *village(uint64_t seed, uint32_t measure_from) {
    struct village *v = village_new(&(struct sim_config){.seed = seed}, 0);
    v->measure_from = measure_from;
    sim_path_default(v->w->sim, &near);
    for (unsigned i = 0; i < RELAYS; i++) {
        village_relay(v);
        line(v, i, i < SLOW ? 2000000 : 40000000);
    }
    return v;
}

/* The clique says what it likes, again and again. */
static void live(struct village *v, unsigned minutes, bool lie) {
    for (unsigned m = 0; m < minutes; m++) {
        world_run(v->w, CV_SEC(60));
        for (unsigned by = 0; by < CLIQUE && lie; by++)
            for (unsigned of = 0; of < CLIQUE; of++)
                if (by != of && known(v, by, of))
                    known(v, by, of)->measured = TUN_CAPACITY_MAX;
    }
}

Test(tun_probe, lines_are_measured_and_cliques_are_not_believed) {
    struct village *v = village(1, 4);
    live(v, 35, true);
    unsigned measured = 0;
    for (unsigned by = CLIQUE; by < RELAYS; by++) {
        for (unsigned of = 0; of < RELAYS; of++) {
            const struct tun_relay *r = by == of ? NULL : known(v, by, of);
            if (!r || !r->measured)
                continue;
            measured++;
            if (of < SLOW)
                cr_expect_leq(r->measured, SLOW_KIB * 5 / 4, "%u of %u: %u", by, of, r->measured);
            else if (by >= SLOW) /* what a slow one sees is no faster than itself, and two
                                    probes may share a slow line between */
                cr_expect_geq(r->measured, SLOW_KIB / 2, "%u of %u: %u", by, of, r->measured);
        }
    }
    cr_expect_geq(measured, RELAYS * RELAYS / 3, "only %u pairs", measured);

    /* A client takes the median of what it hears over circuits. */
    unsigned client = village_client(v), heard = 0;
    live(v, 40, true);
    uint64_t slow = 0, fast = 0, slows = 0, fasts = 0;
    for (unsigned of = 0; of < RELAYS; of++) {
        const struct tun_relay *r = known(v, client, of);
        if (!r || !r->capacity)
            continue;
        heard++;
        if (of < SLOW) {
            cr_expect_leq(r->capacity, SLOW_KIB * 5 / 4, "relay %u: %u", of, r->capacity);
            slow += r->capacity;
            slows++;
        } else {
            fast += r->capacity;
            fasts++;
        }
    }
    cr_expect_geq(heard, RELAYS / 2, "only %u", heard);
    cr_assert(slows > 0 && fasts > 0);
    cr_expect_geq(fast / fasts, 3 * (slow / slows), "fast %lu, slow %lu", fast / fasts,
                  slow / slows);
    village_free(v);
}

/* A probe is 60 cells each way, once in one to two minutes; below the number of
 * relays from which capacities count there is none at all. */
Test(tun_probe, it_is_cheap_and_only_where_it_is_of_use) {
    for (unsigned on = 0; on < 2; on++) {
        struct village *v = village(2, on ? 4 : 0);
        world_run(v->w, CV_SEC(60));
        uint64_t cells[RELAYS];
        for (unsigned i = 0; i < RELAYS; i++)
            cells[i] = tun_counters(v->w->node[i].t)->own_cells_in;
        enum { MINUTES = 10 };
        live(v, MINUTES, false);
        unsigned measured = 0;
        for (unsigned i = 0; i < RELAYS; i++) {
            uint64_t got = tun_counters(v->w->node[i].t)->own_cells_in - cells[i];
            /* answers of three hops and sixty PONGs a probe, some of them twice */
            cr_expect_leq(got, on ? (MINUTES + 1) * 75u : 0, "relay %u: %lu cells", i, got);
            for (unsigned of = 0; of < RELAYS; of++)
                measured += of != i && known(v, i, of) && known(v, i, of)->measured;
            cr_expect_leq(tun_counters(v->w->node[i].t)->circuits, 1);
        }
        cr_expect_eq(measured > 0, on);
        village_free(v);
    }
}

static uint32_t measured_by(struct village *v, unsigned by, const uint8_t identity[CV_KEY]) {
    for (unsigned of = 0; of < RELAYS; of++)
        if (memcmp(v->w->node[of].identity_secret.public_key, identity, CV_KEY) == 0)
            return known(v, by, of) ? known(v, by, of)->measured : 0;
    return 0;
}

/* Who is looked at stands in the middle, where it passes on what it cannot read. */
Test(tun_probe, whom_it_measures_only_passes_cells_on) {
    enum { PROBES = 3 };
    struct village *v = village(3, 4);
    struct tunnel *t = v->w->node[BY].t;
    world_run(v->w, CV_SEC(30));
    unsigned seen = 0;
    for (unsigned step = 0; step < 100000 && seen < PROBES; step++) {
        cv_handle circuit;
        uint8_t hop[3][CV_KEY];
        uint32_t before[3];
        world_run(v->w, CV_MSEC(10));
        if (tun_circuit_list(t, TUN_USER_CLIENT, &circuit, 1) == 0)
            continue;
        for (unsigned i = 0; i < 3; i++) {
            memcpy(hop[i], tun_circuit_hop(t, circuit, i)->identity, CV_KEY);
            before[i] = measured_by(v, BY, hop[i]);
        }
        while (tun_circuit_hop(t, circuit, 0))
            world_run(v->w, CV_MSEC(10));
        cr_expect_eq(measured_by(v, BY, hop[0]), before[0], "the first hop");
        cr_expect_eq(measured_by(v, BY, hop[2]), before[2], "the last hop");
        seen += measured_by(v, BY, hop[1]) != before[1];
    }
    cr_expect_eq(seen, PROBES);
    village_free(v);
}

/* ---- every state and every message ---- */

enum {
    COMMANDS = TUN_CMD_CONNECTED + 1, /* the last does not exist */
    REFUSED,
    SILENCE, /* the engine gave up */
    UNASKED, /* PONG with transaction 0, */
    OTHERS,  /* of something that is not waited for (any more), */
    BEFORE,  /* of the probe before, */
    FOREIGN, /* and over another circuit */
    READY,   /* the circuit is built, */
    READY_OTHER,
    GONE, /* or gone; and so for another one */
    GONE_OTHER,
    EARLY, /* time, before it has to do with it */
    DUE,
    MESSAGES = DUE,
    ASKED = 0x70000000, /* transaction of the PINGs of a train, and the next ones */
    WAS = 0x60000000,   /* the same of the probe before */
};
static_assert(MESSAGES == 44, "a new message needs a column");

/* . nothing  - it is about something else  b a probe begins  t a train is sent  a answered
 * c it comes to its end  x given up  r the circuit is gone: it rests */
#define COMMANDS_BUT_PONG(pong) "xxxxxxxxxxxxxxxxxxx" pong "xxxxxxxxxxxx"
static const struct {
    const char *name;
    bool open, sent;
    unsigned trains, missing; /* PONGs of this train */
    const char *answers;      /* commands 1..32, refused, silence, the rest as above */
} states[] = {
    {"rests", false, false, 0, 0,
     "--------------------------------"
     "------"
     "----"
     ".b"},
    {"building", true, false, 0, 0,
     "................................"
     ".....-"
     "t-r-"
     ".x"},
    {"first train", true, true, 0, TUN_PROBE_TRAIN,
     COMMANDS_BUT_PONG("a") "xx...-"
                            ".-r-"
                            ".x"},
    {"first train, one missing", true, true, 0, 1,
     COMMANDS_BUT_PONG("t") "xx...-"
                            ".-r-"
                            ".x"},
    {"last train", true, true, TUN_PROBE_TRAINS - 1, TUN_PROBE_TRAIN,
     COMMANDS_BUT_PONG("a") "xx...-"
                            ".-r-"
                            ".x"},
    {"last train, one missing", true, true, TUN_PROBE_TRAINS - 1, 1,
     COMMANDS_BUT_PONG("c") "xx...-"
                            ".-r-"
                            ".x"},
};

struct scene {
    struct village *v;
    struct tun_client *c;
    struct tun_relay *whom;
    cv_handle circuit, foreign;
};

static void begin(struct scene *s) {
    s->v = village_new(&(struct sim_config){.seed = 4}, 0);
    s->v->measure_from = 4;
    for (unsigned i = 0; i < 5; i++)
        village_relay(s->v);
    sim_path_default(s->v->w->sim, &(struct sim_path){.delay = CV_MSEC(1)});
    world_run(s->v->w, CV_SEC(12));
    s->c = tun_attached(s->v->w->node[0].t, TUN_USER_CLIENT);
    s->whom = known(s->v, 0, 2);
    cr_assert_not_null(s->whom);
    s->circuit = 0;
    s->foreign = 0x7fff0001; /* nobody's */
}

static void put(struct scene *s, size_t row, unsigned m) {
    struct tun_probe *p = &s->c->probe;
    struct tun_circuit_info info;
    tun_circuit_close(s->c->t, &s->c->now, p->circuit);
    *p = (struct tun_probe){.at = CV_USEC_NEVER};
    bool command = m <= COMMANDS && m != 1 && m != TUN_CMD_PONG; /* as command 1 */
    if (!s->circuit || tun_circuit_info(s->c->t, s->circuit, &info))
        s->circuit = world_circuit(s->v->w, 0, (const unsigned[]){1, 2, 3}, 3);
    cr_assert_neq(s->circuit, 0);
    s->c->now = world_now(s->v->w, 0);
    s->whom->measured = 0;
    *p = (struct tun_probe){.circuit = !states[row].open ? 0
                                       : command         ? s->foreign + 1
                                                         : s->circuit,
                            .built = states[row].sent,
                            .trains = states[row].trains,
                            .answered = TUN_PROBE_TRAIN - states[row].missing,
                            .first = s->c->now.mono - CV_MSEC(3)};
    p->at = m == DUE ? s->c->now.mono : s->c->now.mono + CV_SEC(5);
    memcpy(p->whom, s->whom->desc.identity, CV_KEY);
    for (unsigned i = 0; i < TUN_PROBE_TRAIN; i++)
        p->ping[i] = !states[row].sent ? WAS + i : i < states[row].missing ? ASKED + i : 0;
}

static struct tun_event message(const struct scene *s, unsigned m) {
    struct tun_event ev = {.kind = TUN_EVENT_REPLY,
                           .reply = {.circuit = m == FOREIGN ? s->foreign : s->circuit,
                                     .transaction = m == UNASKED  ? 0
                                                    : m == OTHERS ? ASKED - 1
                                                    : m == BEFORE ? WAS
                                                                  : ASKED,
                                     .command = m == REFUSED    ? TUN_CMD_ERROR
                                                : m == SILENCE  ? TUN_CMD_PING
                                                : m <= COMMANDS ? (uint8_t)m
                                                                : TUN_CMD_PONG,
                                     .err = m == REFUSED   ? CV_ERR_DENIED
                                            : m == SILENCE ? CV_ERR_TIMEDOUT
                                                           : CV_ERR_OK}};
    if (m == READY || m == READY_OTHER)
        ev = (struct tun_event){
            .kind = TUN_EVENT_CIRCUIT_READY,
            .circuit_ready = {.circuit = m == READY ? s->circuit : s->foreign, .hops = 3}};
    if (m == GONE || m == GONE_OTHER)
        ev = (struct tun_event){.kind = TUN_EVENT_CIRCUIT_DOWN,
                                .circuit_down = {.circuit = m == GONE ? s->circuit : s->foreign}};
    return ev;
}

static bool is_asking(const struct tun_probe *p, const struct tun_probe *was) {
    for (unsigned i = 0; i < TUN_PROBE_TRAIN; i++)
        if (p->ping[i] == 0 || p->ping[i] == was->ping[i])
            return false;
    return p->answered == 0;
}

static char became(struct scene *s, const struct tun_probe *was) {
    const struct tun_probe *p = &s->c->probe;
    struct tun_circuit_info info;
    cv_usec rest = p->at - s->c->now.mono;
    if (was->circuit && !p->circuit) {
        if (rest < CV_SEC(TUN_PROBE_S_MIN) || rest > CV_SEC(TUN_PROBE_S_MAX))
            return '!';
        if (tun_circuit_info(s->c->t, was->circuit, &info) == CV_ERR_OK)
            return 'r';
        return s->whom->measured ? 'c' : 'x';
    }
    if (!was->circuit && p->circuit)
        return p->built || p->trains || p->ping[0] ? '!' : 'b';
    if (memcmp(p, was, sizeof *p) == 0)
        return '.';
    if (p->answered == was->answered + 1 && p->trains == was->trains)
        return 'a';
    return p->built && is_asking(p, was) ? 't' : '!';
}

static char cell(struct scene *s, size_t row, unsigned m) {
    put(s, row, m);
    struct tun_probe was = s->c->probe;
    struct tun_event ev = message(s, m);
    if (m <= COMMANDS && was.circuit)
        ev.reply.circuit = was.circuit;
    bool taken = true;
    if (m == EARLY || m == DUE)
        tun_probe_work(s->c);
    else
        taken = tun_probe_on_event(s->c, &ev);
    char got = became(s, &was);
    return taken ? got : got == '.' ? '-' : '!';
}

Test(tun_probe, every_state_and_every_message) {
    static struct scene s;
    begin(&s);
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        char got[MESSAGES + 1] = {0};
        for (unsigned m = 1; m <= MESSAGES; m++)
            got[m - 1] = cell(&s, i, m);
        cr_expect_str_eq(got, states[i].answers, "%s:\n got %s\nwant %s", states[i].name, got,
                         states[i].answers);
    }
    village_free(s.v);
}
