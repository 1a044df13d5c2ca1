/*
 * Every (state x message) cell of what the directory holds of one relay: its descriptors of
 * today and of tomorrow, from a name that somebody said to a relay that is passed on, doubted
 * or proved to lie. What comes is any descriptor that it or somebody else signs, every word of
 * others about it, and time. It is ten in the evening, when both days' are current.
 */
#include "tunnel/tests/population.h"
#include "tunnel/tests/rows.h"

CV_SUITE(tun_directory_states, .init = cv_crypto_init);

#define EVENING (POPULATION_WALL + 10 * 3600)

enum { A, B, C, KIN, NEIGHBOUR, LIAR, RELAYS, IT = RELAYS, NOBODY };

enum message {
    DESCRIPTOR, /* of today */
    ANOTHER,    /* the same day, signed as well */
    TOMORROWS,
    TOMORROWS_OTHER,
    OLD,       /* of three days ago */
    ELSEWHERE, /* for another network of relays */
    FORGED,    /* one bit of it */
    BY_A,      /* a relay names it by that descriptor */
    BY_B,
    BY_KIN,       /* one of A's network does */
    BY_NEIGHBOUR, /* one of its own network */
    BY_ITSELF,
    BY_LIAR, /* one that signed two descriptors */
    BY_NOBODY,
    THROUGH_IT, /* B does, asked through it, */
    THROUGH_NEIGHBOUR,
    OLD_NAME,  /* A, on a day that is over */
    OTHERWISE, /* A names it by another one that nobody has shown, */
    PROVED,    /* or says that there are two */
    MEASURED,  /* A says what it carries, */
    MEASURED_BY_LIAR,
    KEEP, /* tomorrow's day is in use here */
    SOON, /* the time: nine minutes later, */
    LATER,
    MORNING, /* just before eight, */
    OVER,
    BACK, /* a clock that jumps by a day */
    AHEAD,
    MESSAGES,
    REACHED = MESSAGES, /* not told to the directory: it answered us, at its address */
    END,
};
static_assert(MESSAGES == 28, "a new message needs a column");

/* - nothing  n a name that counts for nothing  1 a name by one  2 by more  z by one who says that
 * there are two  k known  K and named by one  c confirmed  r reached  p passed on  d doubted: who
 * names it otherwise is asked  D the same, and confirmed  a said to lie  A the same, and confirmed
 * L a proved liar  l one that lied on another day
 *
 * . it is as it was, in every field  = something else of it is new
 *
 * And what is said to whoever brought it: . it was taken  e known already  d it differs  s stale
 * n nobody says that  x of elsewhere  f forged */
/* clang-format off */
static const struct {
    const char *name;
    enum message way[6];
    const char *today, *tomorrow, *said;
} states[] = {
    { "nobody",                   { END },
      "kk....." "1111.1.n1.1z" "..." "......",
      "..kk..." "............" "..." "......",
      "....sxf" "....n.n..s.." "..." "......" },
    { "a name by itself",         { TOMORROWS, BY_ITSELF, END },
      "kk....." "1111.1..1.1z" "..." ".-----",
      "...L..." "............" "..." "....-.",
      "..edsxf" "......n..s.." "..." "......" },
    { "named",                    { BY_A, END },
      "Kd....." ".222.2..2.=z" "..." ".-----",
      "..kk..." "............" "..." "......",
      "....sxf" "....n.n..s.." "..." "......" },
    { "named by two",             { BY_A, BY_B, END },
      "cd....." "..==.=....=z" "..." ".-----",
      "..kk..." "............" "..." "......",
      "....sxf" "....n.n..s.." "..." "......" },
    { "named by one network",     { BY_A, BY_KIN, END },
      "Kd....." ".=.=.=..=.=z" "..." ".-----",
      "..kk..." "............" "..." "......",
      "....sxf" "....n.n..s.." "..." "......" },
    { "named otherwise",          { OTHERWISE, END },
      "dd....." "=222.2..2..z" "..." ".-----",
      "..kk..." "............" "..." "......",
      "....sxf" "....n.n..s.." "..." "......" },
    { "named as a liar",          { PROVED, END },
      "aa....." "====.=..=.=." "..." ".-----",
      "..kk..." "............" "..." "......",
      "....sxf" "....n.n..s.." "..." "......" },
    { "known",                    { DESCRIPTOR, END },
      ".L....." "KKK..K....da" "==." "...-.-",
      "..kk..." "............" "..." "......",
      "ed..sxf" "......n..sdd" "..." "......" },
    { "known and named",          { DESCRIPTOR, BY_A, END },
      ".L....." ".c=..=....da" "==." "...-.-",
      "..kk..." "............" "..." "......",
      "ed..sxf" "......n..sdd" "..." "......" },
    { "confirmed",                { DESCRIPTOR, BY_A, BY_B, END },
      ".L....." "..........DA" "==." "...-.-",
      "..kk..." "............" "..." "......",
      "ed..sxf" "......n..sdd" "..." "......" },
    { "reached",                  { DESCRIPTOR, REACHED, END },
      ".L....." "===..=....da" "==." "...-.-",
      "..rr..." "............" "..." "......",
      "ed..sxf" "......n..sdd" "..." "......" },
    { "passed on",                { DESCRIPTOR, BY_A, BY_B, REACHED, END },
      ".L....." "..........DA" "==." "...-.-",
      "..rr..." "............" "..." "......",
      "ed..sxf" "......n..sdd" "..." "......" },
    { "doubted",                  { DESCRIPTOR, OTHERWISE, END },
      ".L....." "===..=.....a" "==." "...-.-",
      "..kk..." "............" "..." "......",
      "ed..sxf" "......n..sdd" "..." "......" },
    { "confirmed and doubted",    { DESCRIPTOR, BY_A, BY_B, OTHERWISE, END },
      ".L....." "...........A" "==." "...-.-",
      "..kk..." "............" "..." "......",
      "ed..sxf" "......n..sdd" "..." "......" },
    { "accused",                  { DESCRIPTOR, PROVED, END },
      ".L....." "===..=....d." "==." "...-.-",
      "..kk..." "............" "..." "......",
      "ed..sxf" "......n..sdd" "..." "......" },
    { "a liar",                   { DESCRIPTOR, ANOTHER, END },
      "......." "===..=......" "==." "...-.-",
      "..ll..." "............" "..." "......",
      "ee..sxf" "......n..sdd" "..." "......" },
    { "a liar that was confirmed",{ DESCRIPTOR, BY_A, BY_B, ANOTHER, END },
      "......." "............" "==." "...-.-",
      "..ll..." "............" "..." "......",
      "ee..sxf" "......n..sdd" "..." "......" },
    { "known for tomorrow",       { TOMORROWS, END },
      "kk....." "1111n1.n1.1z" "..." "......",
      "...L..." "............" "..." "....-.",
      "..edsxf" "......n..s.." "..." "......" },
    { "known for both",           { DESCRIPTOR, TOMORROWS, END },
      ".L.l..." "KKK..K....da" "==." "...-.-",
      ".l.L..." "............" "..." "....-.",
      "ededsxf" "......n..sdd" "..." "......" },
    { "passed on, and tomorrow's",{ DESCRIPTOR, BY_A, BY_B, TOMORROWS, REACHED, END },
      ".L.l..." "..........DA" "==." "...-.-",
      ".l.L..." "............" "..r" "....-.",
      "ededsxf" "......n..sdd" "..." "......" },
    { "a liar tomorrow",          { TOMORROWS, TOMORROWS_OTHER, END },
      "ll....." "1111n1.n1.1z" "..." "......",
      "......." "............" "..." "....-.",
      "..eesxf" "......n..s.." "..." "......" },
    { "known after a lie",        { TOMORROWS, TOMORROWS_OTHER, DESCRIPTOR, END },
      ".L....." "===..=......" "==." "...-.-",
      "......." "............" "..." "....-.",
      "edeesxf" "......n..sdd" "..." "......" },
};
/* clang-format on */

struct scene {
    struct population p;
    uint8_t raw[4][TUN_DESCRIPTOR_MAX]; /* DESCRIPTOR to TOMORROWS_OTHER */
    size_t len[4];
    uint8_t d[TUN_DIGEST];
};

static void begin(struct scene *s) {
    struct population *p = &s->p;
    population_init(p, 5);
    static const unsigned network[] = {0x1000, 0x1100, 0x1200, 0x1000, 0x7000, 0x1300, 0x7000};
    struct tun_descriptor d = {.flags = 0x1f, .suites = 1, .bandwidth = 1000, .addrs = 1};
    for (unsigned i = 0; i < RELAYS; i++)
        population_simple(p, network[i]);
    d.addr[0] = population_addr4(0x1300, 9);
    s->len[0] = population_sign(p, LIAR, POPULATION_DAY, &d, s->raw[0]);
    cr_assert_eq(tun_directory_add(p->dir, EVENING, s->raw[0], s->len[0], NULL, NULL),
                 CV_ERR_DIFFERS);

    population_identity(p, IT);
    population_identity(p, NOBODY);
    d.addr[0] = population_addr4(network[IT], 9);
    for (unsigned i = 0; i < 4; i++)
        s->len[i] = population_sign(p, IT, POPULATION_DAY + i / 2, &d, s->raw[i]);
    tun_descriptor_digest(s->raw[0], s->len[0], s->d);
}

static struct tun_relay *entry(struct scene *s, uint32_t day) {
    return tun_directory_find(s->p.dir, s->p.identity[IT].public_key, day);
}

/* ---- what happens ---- */

static enum cv_err shown(struct scene *s, enum message m) {
    struct tun_descriptor d = {.flags = 1, .suites = 1, .addrs = 1};
    uint8_t raw[TUN_DESCRIPTOR_MAX];
    size_t len = m <= TOMORROWS_OTHER ? s->len[m] : s->len[0];
    memcpy(raw, m <= TOMORROWS_OTHER ? s->raw[m] : s->raw[0], len);
    d.addr[0] = population_addr4(0x7000, 9);
    if (m == OLD)
        len = population_sign(&s->p, IT, POPULATION_DAY - 3, &d, raw);
    if (m == FORGED)
        raw[len - 1] ^= 1;
    if (m == ELSEWHERE) {
        d.day = POPULATION_DAY;
        memcpy(d.network_id, "another", sizeof d.network_id);
        len = (size_t)tun_descriptor_sign(&d, &s->p.identity[IT], raw, sizeof raw);
    }
    return tun_directory_add(s->p.dir, EVENING, raw, len, NULL, NULL);
}

static enum cv_err named(struct scene *s, enum message m) {
    static const unsigned by[] = {A, B, KIN, NEIGHBOUR, IT, LIAR, NOBODY, B, B, A, A, A};
    static const uint8_t other[TUN_DIGEST] = {1, 2, 3}, zeros[TUN_DIGEST];
    const uint8_t *d = m == OTHERWISE ? other : m == PROVED ? zeros : s->d;
    uint8_t path[1][CV_KEY];
    memcpy(path[0], s->p.identity[m == THROUGH_IT ? IT : NEIGHBOUR].public_key, CV_KEY);
    return tun_directory_claim(
        s->p.dir, EVENING, s->p.identity[IT].public_key, POPULATION_DAY - (m == OLD_NAME ? 3 : 0),
        d, s->p.identity[by[m - BY_A]].public_key, (const uint8_t(*)[CV_KEY])path,
        m == THROUGH_IT || m == THROUGH_NEIGHBOUR);
}

static void time_passes(struct scene *s, enum message m) {
    static const int64_t by[] = {9 * 60, 11 * 60, 10 * 3600 - 1, 10 * 3600, -86400, 86400};
    tun_directory_expire(s->p.dir, EVENING + by[m - SOON]);
}

static void answers_us(struct scene *s) {
    struct tun_relay *r = entry(s, POPULATION_DAY);
    r->reached = r->tried;
    r->reached_at = r->desc.addr[0];
}

static enum cv_err happens(struct scene *s, enum message m) {
    if (m <= FORGED)
        return shown(s, m);
    if (m <= PROVED)
        return named(s, m);
    if (m <= MEASURED_BY_LIAR)
        tun_directory_report(s->p.dir, POPULATION_DAY, s->p.identity[IT].public_key, 77,
                             s->p.identity[m == MEASURED ? A : LIAR].public_key);
    else if (m == KEEP)
        tun_directory_keep(s->p.dir, POPULATION_DAY + 1);
    else if (m < MESSAGES)
        time_passes(s, m);
    else
        answers_us(s);
    return CV_ERR_OK;
}

/* ---- what became of it ---- */

static char letter(const struct tun_relay *r) {
    if (!r)
        return '-';
    if (r->raw_len == 0)
        return r->accused ? 'z' : r->claims > 1 ? '2' : r->claims ? '1' : 'n';
    if (r->liar)
        return r->disputed || r->accused ? '!' : r->other ? 'L' : 'l';
    if (r->disputed)
        return r->accused ? r->confirmed ? 'A' : 'a' : r->confirmed ? 'D' : 'd';
    if (r->accused)
        return '!';
    return tun_relay_is_passed(r) ? 'p'
           : r->confirmed         ? 'c'
           : r->reached           ? 'r'
           : r->claims            ? 'K'
                                  : 'k';
}

struct was {
    bool there;
    struct tun_relay r;
};

static void keep(struct was *w, const struct tun_relay *r) {
    w->there = r != NULL;
    if (r)
        w->r = *r;
    memset(&w->r.bare, 0, sizeof w->r.bare); /* others' places in the list are no matter */
}

static char became(const struct was *was, const struct tun_relay *r) {
    static struct was is;
    keep(&is, r);
    if (!r || !was->there || letter(r) != letter(&was->r))
        return !r && !was->there ? '.' : letter(r);
    return memcmp(&is.r, &was->r, sizeof is.r) == 0 ? '.' : '=';
}

static char said(enum cv_err err) {
    static const struct {
        enum cv_err err;
        char letter;
    } letters[] = {{CV_ERR_OK, '.'},    {CV_ERR_EXIST, 'e'}, {CV_ERR_DIFFERS, 'd'},
                   {CV_ERR_STALE, 's'}, {CV_ERR_NOENT, 'n'}, {CV_ERR_DENIED, 'x'},
                   {CV_ERR_AUTH, 'f'}};
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
        if (letters[i].err == err)
            return letters[i].letter;
    return '?';
}

Test(tun_directory_states, of_a_relay) {
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        char today[MESSAGES + 1] = {0}, tomorrow[MESSAGES + 1] = {0}, answers[MESSAGES + 1] = {0};
        for (unsigned m = 0; m < MESSAGES; m++) {
            static struct scene s;
            static struct was was[2];
            begin(&s);
            for (unsigned k = 0; states[i].way[k] != END; k++)
                (void)happens(&s, states[i].way[k]);
            for (unsigned day = 0; day < 2; day++)
                keep(&was[day], entry(&s, POPULATION_DAY + day));
            answers[m] = said(happens(&s, m));
            today[m] = became(&was[0], entry(&s, POPULATION_DAY));
            tomorrow[m] = became(&was[1], entry(&s, POPULATION_DAY + 1));
            population_done(&s.p);
        }
        expect_row("today's", states[i].name, today, states[i].today);
        expect_row("tomorrow's", states[i].name, tomorrow, states[i].tomorrow);
        expect_row("said", states[i].name, answers, states[i].said);
    }
}
