/*
 * Every (state x event) cell of a relay's keyring: what it holds of yesterday, today and the
 * days to come, signed, stored or lost, and what befalls it: ticks, the disk's word, hours,
 * restarts from what was stored last or from something that cannot be read, and a clock that
 * is a day off, for a moment or for long. Nobody may ever see two descriptors of one day.
 */
#include <ctype.h>
#include <stdio.h>

#include "base/cursor.h"
#include "crypto/rng_seeded.h"
#include "tunnel/keyring.h"
#include "tunnel/tests/rows.h"

CV_SUITE(tun_keyring_states);

#define DAY     86400
#define TODAY   20000u
#define HOUR(h) ((int64_t)TODAY * DAY + (h)*3600)

enum { KNOWN_DAYS = 8, KNOWN_FROM = TODAY - 3 };

struct scene {
    struct cv_ed25519_secret identity_secret;
    struct cv_rng_seeded seed;
    struct cv_rng rng;
    struct tun_keyring_config cfg;
    struct tun_keyring *k;
    cv_usec mono;
    int64_t wall, off;             /* what it is, and by how much the clock is off */
    bool due;                      /* the last tick asked for the ring to be stored */
    uint8_t disk[TUN_KEYRING_MAX]; /* what is stored */
    size_t len;
    bool seen[KNOWN_DAYS], twice; /* a day's descriptor was shown; another one, too */
    uint8_t digest[KNOWN_DAYS][TUN_DIGEST];
};

/* ---- a relay ---- */

/* Somebody asks for everything there is. */
static void look(struct scene *s) {
    for (unsigned i = 0; i < KNOWN_DAYS; i++) {
        const struct tun_keyring_day *d = tun_keyring_find(s->k, KNOWN_FROM + i);
        if (!d)
            continue;
        s->twice |= s->seen[i] && memcmp(s->digest[i], d->digest, TUN_DIGEST) != 0;
        memcpy(s->digest[i], d->digest, TUN_DIGEST);
        s->seen[i] = true;
    }
}

static void write_disk(struct scene *s) {
    const uint8_t *blob = tun_keyring_blob(s->k, &s->len);
    cr_assert_leq(s->len, sizeof s->disk);
    memcpy(s->disk, blob, s->len);
}

static void store(struct scene *s) {
    write_disk(s);
    tun_keyring_saved(s->k);
    look(s);
}

static void tick(struct scene *s) {
    struct cv_now now = {.mono = s->mono, .wall = s->wall ? s->wall + s->off : 0};
    s->due = tun_keyring_tick(s->k, &now);
    look(s);
}

static void later(struct scene *s, int64_t seconds) {
    s->mono = cv_usec_add(s->mono, CV_SEC((uint64_t)seconds));
    s->wall += seconds;
}

static void run_until(struct scene *s, int64_t wall) {
    while (s->wall < wall) {
        later(s, wall - s->wall < 60 ? wall - s->wall : 60);
        tick(s);
        if (s->due)
            store(s);
    }
}

static void start(struct scene *s, const void *blob, size_t len) {
    enum cv_err err;
    tun_keyring_free(s->k);
    s->k = tun_keyring_new(&s->cfg, &s->rng, blob, len, &err);
    cr_assert_not_null(s->k);
    s->mono = CV_SEC(3);
}

static void damaged(struct scene *s) {
    static const uint8_t unreadable[1];
    start(s, unreadable, sizeof unreadable);
}

static void begin(struct scene *s) {
    *s = (struct scene){.cfg = {.network_id = "keyring",
                                .addr = {{.ip = {198, 51, 7, 1}, .port = 9000, .family = 4}},
                                .addrs = 1,
                                .flags = TUN_RELAY_RELAY}};
    cv_ed25519_from_seed(&s->identity_secret, (const uint8_t[CV_KEY]){7});
    s->cfg.identity = &s->identity_secret;
    cv_rng_seeded_init(&s->seed, 1);
    s->rng = cv_rng_seeded(&s->seed);
    s->wall = HOUR(12);
    start(s, NULL, 0);
}

/* ---- states ---- */

static void none(struct scene *s) {
    (void)s;
}

static void no_clock(struct scene *s) {
    s->wall = 0;
    tick(s);
    s->wall = HOUR(12);
}

static void is_signed(struct scene *s) {
    tick(s);
    cr_assert(s->due);
}

static void is_written(struct scene *s) {
    is_signed(s);
    write_disk(s);
}

static void stored(struct scene *s) {
    is_written(s);
    store(s);
}

static void evening(struct scene *s) {
    stored(s);
    run_until(s, HOUR(22));
}

static void midnight(struct scene *s) {
    stored(s);
    run_until(s, HOUR(24) + 60);
}

static void in_use(struct scene *s) { /* tomorrow's */
    stored(s);
    run_until(s, HOUR(24 + 4));
}

static void read_again(struct scene *s) {
    evening(s);
    start(s, s->disk, s->len);
}

static void lost(struct scene *s) {
    stored(s);
    damaged(s);
}

static void lost_late(struct scene *s) {
    evening(s);
    damaged(s);
}

static void silent(struct scene *s) {
    lost(s);
    run_until(s, s->wall + 1200);
}

static void to_come(struct scene *s) { /* a day that a wrong clock made */
    stored(s);
    s->off = 2 * DAY;
    run_until(s, s->wall + 60);
    s->off = 0;
    run_until(s, s->wall + 1200);
}

static void full(struct scene *s) { /* of such days, years off */
    for (unsigned year = 1; year <= 4; year++) {
        s->off = year * INT64_C(365) * DAY;
        run_until(s, s->wall + 60);
    }
    s->off = 0;
}

/* ---- what befalls it ---- */

enum {
    TICK, /* a minute later */
    TICK_TIMELESS,
    SAVED,  /* the disk has what was written last */
    STORED, /* it is written, and the disk has it */
    EVENING,
    MIDNIGHT,
    THREE,
    EIGHT,     /* the next of each, and what is due is stored */
    SLEPT,     /* for a day, and nothing was done in it */
    BACK,      /* the clock, by a day; it is right again after nine minutes, */
    BACK_LONG, /* after twenty */
    AHEAD,     /* the same, ahead */
    AHEAD_LONG,
    RESTART,      /* with what is stored */
    RESTART_BACK, /* and the clock is a day off for the first minute */
    RESTART_AHEAD,
    DAMAGED, /* with something that cannot be read, and the same */
    DAMAGED_BACK,
    DAMAGED_AHEAD,
    EVENTS,
};

/* t today's  y yesterday's  n tomorrow's  m of the day after  f of another year: signed only
 * T Y N M F the same, on disk: anybody may see it  - none of any day  * it is to be stored
 * ! somebody saw two of one day
 *
 * Columns: tick, timeless; saved, stored; evening, midnight, three, eight; slept; back, for
 * long, ahead, for long; restart, back, ahead; damaged, back, ahead. */
/* clang-format off */
static const struct {
    const char *name;
    void (*reach)(struct scene *);
    const char *answers;
} states[] = {
    { "new",                 none,       "t* - - - TN TN TN N n* T T TN TN T T TN - - -" },
    { "without a clock",     no_clock,   "t* - - - TN TN TN N n* T T TN TN T T TN - - -" },
    { "signed",              is_signed,  "t t t T TN TN TN N n* T T TN N T T TN - - -" },
    { "being stored",        is_written, "t t T T TN TN TN N n* T T TN N T T TN - - -" },
    { "today's",             stored,     "T T T T TN TN TN N n* T T TN N T T TN - - -" },
    { "tomorrow's, too",     evening,    "TN TN TN TN NM TN TN N Nm* TN TN TNM NM TN TN TNM - - -" },
    { "after midnight",      midnight,   "TN TN TN TN NM NM TN N Nm* TN TN TNM NM TN TN TNM - - -" },
    { "tomorrow's in use",   in_use,     "TN TN TN TN NM NM NM N Nm* TN TN TNM NM TN TN TNM - - -" },
    { "read again",          read_again, "TN TN TN TN NM TN TN N TNm* TN TN TNM NM TN TN TNM - - -" },
    { "lost",                lost,       "- - - - N N N N - - - - - T T TN - - -" },
    { "lost in the evening", lost_late,  "- - - - M - - - - - - - - TN TN TNM - - -" },
    { "silent",              silent,     "- - - - N N N N n* - - - - - - N - - -" },
    { "one to come",         to_come,    "TM TM TM TM TNM TNM TNM NM nM* TM TM TNM NM TM TM TNM - - -" },
    { "full of those",       full,       "tFFF* FFFF FFFF FFFF TNFF TNFF TNFF NFF nFFF* TFF TFF TNFF TNFF TFFF TFF TNFF - - -" },
};
/* clang-format on */

static void off_for(struct scene *s, int64_t off, int64_t seconds) {
    s->off = off;
    run_until(s, s->wall + seconds);
    s->off = 0;
    run_until(s, s->wall + 1200);
}

static void restart(struct scene *s, bool readable, int64_t off) {
    if (readable)
        start(s, s->len ? s->disk : NULL, s->len);
    else
        damaged(s);
    off_for(s, off, 60);
}

static void happens(struct scene *s, unsigned m) {
    static const int64_t hours[] = {21 * 3600, 24 * 3600, 3 * 3600, 8 * 3600};
    static const int64_t offs[] = {0, -DAY, DAY};
    s->due = false;
    switch (m) {
    case TICK:
    case TICK_TIMELESS:
        later(s, 60);
        s->wall = m == TICK ? s->wall : 0;
        tick(s);
        break;
    case SAVED:
        tun_keyring_saved(s->k);
        break;
    case STORED:
        store(s);
        break;
    case EVENING:
    case MIDNIGHT:
    case THREE:
    case EIGHT: {
        int64_t of_day = s->wall % DAY, to = hours[m - EVENING];
        run_until(s, s->wall - of_day + to + (to <= of_day ? DAY : 0) + 60);
        break;
    }
    case SLEPT:
        later(s, DAY);
        tick(s);
        break;
    case BACK:
    case BACK_LONG:
    case AHEAD:
    case AHEAD_LONG:
        off_for(s, m < AHEAD ? -DAY : DAY, m == BACK || m == AHEAD ? 540 : 1200);
        break;
    default:
        restart(s, m < DAMAGED, offs[(m - RESTART) % 3]);
        break;
    }
    look(s);
}

/* All that it holds, in order of days. Takes what would be written to see what is only signed. */
static void holds(struct scene *s, char *word) {
    static const char names[] = "ytnm";
    size_t len;
    const uint8_t *blob = tun_keyring_blob(s->k, &len);
    struct cv_rd r = cv_rd_init(blob + 1 + CV_KEY + 4, len - 1 - CV_KEY - 4 - 16);
    unsigned n = cv_rd_u8(&r), at = 0;
    uint32_t day[8];
    cr_assert_leq(n, 8);
    for (unsigned i = 0; i < n; i++) {
        uint32_t d = cv_rd_le32(&r);
        cv_rd_bytes(&r, 32);
        cv_rd_bytes(&r, cv_rd_le16(&r));
        unsigned k = i;
        for (; k > 0 && day[k - 1] > d; k--)
            day[k] = day[k - 1];
        day[k] = d;
    }
    cr_assert(!r.err);
    for (unsigned i = 0; i < n; i++) {
        uint32_t which = day[i] - (TODAY - 1);
        char c = which < 4 ? names[which] : 'f';
        word[at++] = (char)(tun_keyring_find(s->k, day[i]) ? toupper(c) : c);
    }
    if (n == 0)
        word[at++] = '-';
    if (s->due)
        word[at++] = '*';
    if (s->twice)
        word[at++] = '!';
    word[at] = 0;
}

Test(tun_keyring_states, of_a_relays_days) {
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        char got[EVENTS * 10] = {0};
        size_t len = 0;
        for (unsigned m = 0; m < EVENTS; m++) {
            static struct scene s;
            char word[10];
            begin(&s);
            states[i].reach(&s);
            happens(&s, m);
            holds(&s, word);
            len += (size_t)snprintf(got + len, sizeof got - len, m ? " %s" : "%s", word);
            s.k = tun_keyring_free(s.k);
        }
        expect_row("days", states[i].name, got, states[i].answers);
    }
}
