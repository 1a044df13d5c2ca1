/*
 * Every (state x event) cell of a place among our guards: of a first hop, of the second layer,
 * of a contact. Whoever stands there answers or is silent, lets circuits through or not, is
 * asked to make room, is proved to lie; strangers come; days go by, or the clock says so. Beside
 * it stand others of its kind with whom all is well.
 */
#include "tunnel/tests/population.h"
#include "tunnel/tests/rows.h"

CV_SUITE(tun_guard_states, .init = cv_crypto_init);

#define DAY_S INT64_C(86400)

enum { FIRST, SECOND, CONTACT, PLACES, STRANGER = 6, RELAYS };

enum {
    HEARD,
    SILENT,
    THROUGH, /* a circuit came to be through it, */
    NOT_THROUGH,
    MOVED,       /* it answered elsewhere */
    ANSWERS,     /* as whoever we do not know yet */
    A_STRANGER,  /* somebody does whom we do not know */
    CHOOSE,      /* first hops, */
    CHOOSE_NEXT, /* and those behind them, are filled up */
    DROP,        /* it could not be linked to */
    RETIRE,      /* whoever is to go goes, */
    UNTOLD,      /* before all was heard that others know; */
    TOMORROW,    /* a day later, */
    IN_A_WEEK,
    IN_A_YEAR,
    BACK, /* with a clock that is a day behind */
    RESTART,
    EVENTS,
};
static_assert(EVENTS == 17, "a new event needs a column");

/* . as it was  h its silence is forgotten  s it is silent from now on  c counted  C counted, and
 * to be saved  a it has another address  d the link is forgotten  n somebody else is there
 * x nobody is any more  D the same, and it does not come back for a month  - nobody is there, or
 * nobody whom we call
 *
 * Columns: heard, silent, through, not, moved; answers, a stranger; choose, next, drop; retire,
 * untold, tomorrow, in a week, in a year, back; restart. */
/* clang-format off */
static const struct {
    const char *name;
    int place;
    struct tun_guard at; /* its times as seconds from now; until 0: for long */
    bool lied, unknown, unconfirmed, lately; /* lately: one was given up two days ago */
    bool empty;
    const char *answers;
} states[] = {
    { "first, none",            FIRST, { .set = false }, .empty = true, .answers =
      "-----" "..n.." "......" "." },
    { "first",                  FIRST, { .up = true }, .answers =
      ".scca" "....." "....x." "d" },
    { "first, silent",          FIRST, { .silent_since = -3600 }, .answers =
      "h.cca" "....." "..xxx." "." },
    { "first, silent for long", FIRST, { .silent_since = -DAY_S - 60 }, .answers =
      "h.cca" "....." "xxxxx." "." },
    { "first, one gave up",     FIRST, { .silent_since = -DAY_S - 60 }, .lately = true, .answers =
      "h.cca" "....." "...xx." "." },
    { "first, counted",         FIRST, { .up = true, .begun = 79, .through = 79 }, .answers =
      ".sCCa" "....." "....x." "d" },
    { "first, poor",            FIRST, { .up = true, .begun = 64, .through = 10 }, .answers =
      ".scca" "....." "DDDDDD" "d" },
    { "first, poor, one gave up", FIRST, { .up = true, .begun = 64, .through = 10 }, .lately = true, .answers =
      ".scca" "....." "...DD." "d" },
    { "first, silent from then on", FIRST, { .silent_since = 400 * DAY_S }, .answers =
      "hscca" "....." "....x." "." },
    { "first, over, linked",    FIRST, { .up = true, .until = -1 }, .answers =
      ".scca" "....." "xxxxx." "d" },
    { "first, over",            FIRST, { .until = -1 }, .answers =
      ".scca" "....." "xxxxx." "." },
    { "first, a liar",          FIRST, { .up = true }, .lied = true, .answers =
      ".scca" "....." "DDD.xD" "d" },
    { "first, unknown today",   FIRST, { .silent_since = -3600 }, .unknown = true, .answers =
      "h.cca" "....." "..xxx." "." },
    { "second, none",           SECOND, { .set = false }, .empty = true, .answers =
      "-----" "...n." "......" "." },
    { "second",                 SECOND, { .set = false }, .answers =
      "-----" "....." "...xx." "." },
    { "second, unconfirmed",    SECOND, { .set = false }, .unconfirmed = true, .answers =
      "-----" "....." "...xx." "." },
    { "second, over",           SECOND, { .until = -1 }, .answers =
      "-----" "....." "x.xxx." "." },
    { "second, a liar",         SECOND, { .set = false }, .lied = true, .answers =
      "-----" "....." "x.xxxx" "." },
    { "second, unknown today",  SECOND, { .set = false }, .unknown = true, .answers =
      "-----" "....." "x.xxxx" "." },
    { "contact, none",          CONTACT, { .set = false }, .empty = true, .answers =
      "-----" "nn..." "......" "." },
    { "contact",                CONTACT, { .up = true }, .answers =
      ".scca" "....x" "......" "d" },
    { "contact, silent",        CONTACT, { .silent_since = -3600 }, .answers =
      "h.cca" "....x" "..xx.." "." },
    { "contact, silent for long", CONTACT, { .silent_since = -DAY_S - 60 }, .answers =
      "h.cca" "....x" "xxxx.." "." },
    { "contact, one gave up",   CONTACT, { .silent_since = -DAY_S - 60 }, .lately = true, .answers =
      "h.cca" "....x" "..xx.." "." },
    { "contact, silent from then on", CONTACT, { .silent_since = 400 * DAY_S }, .answers =
      "hscca" "....x" "......" "." },
    { "contact, over, linked",  CONTACT, { .up = true, .until = -1 }, .answers =
      ".scca" "....x" "xxxx.." "d" },
    { "contact, over",          CONTACT, { .until = -1 }, .answers =
      ".scca" "....x" "xxxx.." "." },
    { "contact, a liar",        CONTACT, { .up = true }, .lied = true, .answers =
      ".scca" "....x" "xxx..x" "d" },
    { "contact, unknown today", CONTACT, { .silent_since = -3600 }, .unknown = true, .answers =
      "h.cca" "....x" "..xx.." "." },
};
/* clang-format on */

struct scene {
    struct population p;
    struct tun_directory *dir;
    struct tun_guards g;
    struct tun_guard *it;
    struct tun_relay *relay; /* who is there */
};

static struct tun_guard guard(const struct tun_relay *r) {
    struct tun_guard g = {.set = true,
                          .up = true,
                          .chosen = POPULATION_WALL - 10 * DAY_S,
                          .until = POPULATION_WALL + 60 * DAY_S,
                          .begun = 64,
                          .through = 64};
    memcpy(g.identity, r->desc.identity, CV_KEY);
    return g;
}

/* Two of each kind, and one that is a stranger: more relays there are not. */
static void begin(struct scene *s, size_t row) {
    struct tun_guard *at[] = {s->g.first, s->g.second, s->g.contact};
    population_init(&s->p, 4);
    for (unsigned i = 0; i < RELAYS; i++)
        population_simple(&s->p, 0x1000 + 0x100 * i);
    s->g = (struct tun_guards){.replaced_at = 0};
    for (unsigned i = 0; i < 2 * PLACES; i++) {
        struct tun_guard *g = &at[i / 2][i % 2];
        *g = guard(s->p.relay[i]);
        if (i / 2 != SECOND)
            tun_guard_answered_at(g, &s->p.relay[i]->desc.addr[0], &s->p.relay[i]->desc);
    }
    s->it = at[states[row].place];
    s->relay = s->p.relay[2 * states[row].place];
}

/* What this client knows of relays. */
static void learn(struct scene *s, size_t row) {
    uint8_t raw[TUN_DESCRIPTOR_MAX];
    s->dir = tun_directory_new(population_network, &s->p.rng);
    cr_assert_not_null(s->dir);
    for (unsigned i = 0; i < RELAYS; i++)
        if (!states[row].unknown || s->p.relay[i] != s->relay)
            cr_assert_eq(tun_directory_add(s->dir, POPULATION_WALL, s->p.relay[i]->raw,
                                           s->p.relay[i]->raw_len, NULL, NULL),
                         CV_ERR_OK);
    for (unsigned i = 0; i < RELAYS; i++)
        for (unsigned by = 0; by < RELAYS; by++)
            if (!states[row].unconfirmed || s->p.relay[i] != s->relay)
                (void)tun_directory_claim(s->dir, POPULATION_WALL, s->p.relay[i]->desc.identity,
                                          POPULATION_DAY, s->p.relay[i]->desc.digest,
                                          s->p.relay[by]->desc.identity, NULL, 0);
    if (!states[row].lied)
        return;
    size_t len = population_sign(&s->p, 2 * (unsigned)states[row].place, POPULATION_DAY,
                                 &s->relay->desc, raw);
    cr_assert_eq(tun_directory_add(s->dir, POPULATION_WALL, raw, len, NULL, NULL), CV_ERR_DIFFERS);
}

static void reach(struct scene *s, size_t row) {
    const struct tun_guard *at = &states[row].at;
    begin(s, row);
    learn(s, row);
    if (states[row].empty) {
        memset(s->it, 0, sizeof *s->it);
        return;
    }
    s->it->up = at->up;
    if (at->begun) {
        s->it->begun = at->begun;
        s->it->through = at->through;
    }
    if (at->silent_since)
        s->it->silent_since = POPULATION_WALL + at->silent_since;
    if (at->until)
        s->it->until = POPULATION_WALL + at->until;
    if (states[row].lately && states[row].place == FIRST)
        s->g.replaced_at = POPULATION_WALL - 2 * DAY_S;
    if (states[row].lately && states[row].place == CONTACT)
        s->g.contact[1].chosen = POPULATION_WALL - 3600;
}

/* ---- what happens ---- */

static void choose(struct scene *s) {
    struct tun_guard_contact contacts[3];
    for (unsigned i = 0; i < 3; i++) {
        struct tun_relay *r =
            tun_directory_find(s->dir, s->p.relay[4 + i]->desc.identity, POPULATION_DAY);
        contacts[i].relay = r ? r : s->p.relay[4 + i];
        contacts[i].addr = s->p.relay[4 + i]->desc.addr[0];
    }
    (void)tun_guards_choose_first(&s->g, contacts, 3, RELAYS, s->dir, POPULATION_WALL, &s->p.rng);
}

/* True: what was counted is to be saved. */
static bool happens(struct scene *s, unsigned m) {
    static const int64_t after[] = {0, 0, DAY_S, 8 * DAY_S, 400 * DAY_S, -DAY_S};
    const struct tun_relay *who = m == ANSWERS ? s->relay : s->p.relay[STRANGER];
    uint8_t blob[TUN_GUARDS_BLOB_MAX];
    struct cv_addr addr = population_addr4(0x5000, 9);
    bool changed;
    switch (m) {
    case HEARD:
        tun_guard_heard(s->it);
        break;
    case SILENT:
        tun_guard_silent(s->it, POPULATION_WALL);
        break;
    case THROUGH:
    case NOT_THROUGH:
        return tun_guard_counted(s->it, m == THROUGH);
    case MOVED:
        tun_guard_answered_at(s->it, &addr, &s->relay->desc);
        break;
    case ANSWERS:
    case A_STRANGER:
        (void)tun_guards_sample(&s->g, who, &who->desc.addr[0], s->dir, POPULATION_WALL, &s->p.rng,
                                &changed);
        break;
    case CHOOSE:
        choose(s);
        break;
    case CHOOSE_NEXT:
        (void)tun_guards_choose_second(&s->g, s->dir, POPULATION_WALL, &s->p.rng);
        break;
    case DROP:
        (void)tun_guards_drop_contact(&s->g, s->relay->desc.identity);
        break;
    case RESTART:
        cr_assert_eq(tun_guards_load(&s->g, blob, tun_guards_save(&s->g, blob)), CV_ERR_OK);
        break;
    default:
        (void)tun_guards_retire(&s->g, s->dir, m != UNTOLD, POPULATION_WALL + after[m - RETIRE]);
        break;
    }
    return false;
}

static char became(const struct scene *s, const struct tun_guard *was, bool save) {
    const struct tun_guard *is = s->it;
    bool dismissed = memcmp(s->g.dismissed, s->relay->desc.identity, CV_KEY) == 0 &&
                     s->g.dismissed_until > POPULATION_WALL + 20 * DAY_S;
    if (was->set && !is->set)
        return dismissed ? 'D' : 'x';
    if (dismissed)
        return '!';
    if (is->set && (!was->set || memcmp(is->identity, was->identity, CV_KEY) != 0))
        return 'n';
    if (is->begun != was->begun)
        return save ? 'C' : 'c';
    if (is->silent_since != was->silent_since)
        return is->silent_since ? 's' : 'h';
    if (!cv_addr_equal(&is->addr, &was->addr))
        return 'a';
    if (is->up != was->up)
        return is->up ? '!' : 'd';
    return memcmp(is, was, sizeof *is) == 0 ? '.' : '!';
}

static void end(struct scene *s) {
    tun_directory_free(s->dir);
    population_done(&s->p);
}

Test(tun_guard_states, of_a_place) {
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        char got[EVENTS + 1] = {0};
        for (unsigned m = 0; m < EVENTS; m++) {
            static struct scene s;
            reach(&s, i);
            struct tun_guard was = *s.it;
            bool called = was.set && states[i].place != SECOND;
            got[m] = m <= MOVED && !called ? '-' : became(&s, &was, happens(&s, m));
            end(&s);
        }
        expect_row("place", states[i].name, got, states[i].answers);
    }
}
