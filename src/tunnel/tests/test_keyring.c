/*
 * The relay's own keys by the calendar: what is signed when, kept how long,
 * and never signed twice.
 */
#include "crypto/rng_seeded.h"
#include "support/suite.h"
#include "tunnel/keyring.h"
#include "tunnel/params.h"

CV_SUITE(tun_keyring);

#define DAY     86400
#define NOON    ((int64_t)20000 * DAY + DAY / 2)
#define HOUR(h) ((int64_t)20000 * DAY + (h)*3600)

struct bench {
    struct cv_ed25519_secret identity_secret;
    struct cv_rng_seeded seed;
    struct cv_rng rng;
    struct tun_keyring_config cfg;
};

static void init(struct bench *b) {
    *b = (struct bench){.cfg = {.network_id = "keyring",
                                .addr = {{.ip = {198, 51, 7, 1}, .port = 9000, .family = 4}},
                                .addrs = 1,
                                .flags = TUN_RELAY_RELAY}};
    cv_ed25519_from_seed(&b->identity_secret, (const uint8_t[CV_KEY]){7});
    b->cfg.identity = &b->identity_secret;
    cv_rng_seeded_init(&b->seed, 1);
    b->rng = cv_rng_seeded(&b->seed);
}

static struct tun_keyring *make(struct bench *b, const void *blob, size_t len, enum cv_err want) {
    enum cv_err err;
    struct tun_keyring *k = tun_keyring_new(&b->cfg, &b->rng, blob, len, &err);
    cr_assert_not_null(k);
    cr_expect_eq(err, want);
    return k;
}

static bool tick_at(struct tun_keyring *k, cv_usec mono, int64_t wall) {
    struct cv_now now = {.mono = mono, .wall = wall};
    bool changed = tun_keyring_tick(k, &now);
    if (changed) {
        size_t len;
        tun_keyring_blob(k, &len);
        tun_keyring_saved(k);
    }
    return changed;
}

static bool tick(struct tun_keyring *k, int64_t wall) {
    return tick_at(k, CV_SEC((uint64_t)wall) + 1, wall);
}

Test(tun_keyring, shows_nothing_before_it_is_stored) {
    struct bench b;
    init(&b);
    struct tun_keyring *k = make(&b, NULL, 0, CV_ERR_OK);
    struct cv_now now = {.mono = 1, .wall = NOON};
    cr_expect(tun_keyring_tick(k, &now));
    cr_expect_null(tun_keyring_current(k, NOON));
    size_t len;
    tun_keyring_blob(k, &len);
    cr_expect_null(tun_keyring_current(k, NOON));
    tun_keyring_saved(k);
    const struct tun_keyring_day *day = tun_keyring_current(k, NOON);
    cr_assert_not_null(day);
    struct tun_descriptor d;
    cr_assert_eq(tun_descriptor_open(day->descriptor, day->descriptor_len, b.cfg.network_id, &d),
                 CV_ERR_OK);
    cr_expect_eq(d.day, 20000);
    cr_expect(tun_descriptor_has_addr(&d, &b.cfg.addr[0]));
    cr_expect_arr_eq(d.link_key, day->link_secret.public_key, CV_KEY);
    cr_expect_not(tun_keyring_tick(k, &now), "once a day");
    tun_keyring_free(k);
}

/* The relay is started again at another address: what is signed stays. */
static void move(struct bench *b, struct tun_keyring **k, int64_t wall) {
    uint8_t blob[TUN_KEYRING_MAX];
    size_t len = tun_keyring_copy(*k, blob);
    tun_keyring_free(*k);
    b->cfg.addr[0].ip[3]++;
    *k = make(b, blob, len, CV_ERR_OK);
    tick(*k, wall);
}

static bool is_found(const struct bench *b, struct tun_keyring *k, int64_t wall) {
    struct tun_descriptor d;
    tick(k, wall);
    const struct tun_keyring_day *day = tun_keyring_current(k, wall);
    cr_assert_not_null(day);
    cr_assert_eq(tun_descriptor_open(day->descriptor, day->descriptor_len, b->cfg.network_id, &d),
                 CV_ERR_OK);
    return tun_descriptor_has_addr(&d, &b->cfg.addr[0]);
}

/* As docs/operating.md and `culvert doctor` say. */
Test(tun_keyring, a_new_address_is_told_of_from_the_first_day_that_was_not_signed) {
    struct bench b;
    init(&b);
    struct tun_keyring *k = make(&b, NULL, 0, CV_ERR_OK);
    tick(k, HOUR(12));
    move(&b, &k, HOUR(13));
    cr_expect_not(is_found(&b, k, HOUR(13)));
    cr_expect_not(is_found(&b, k, HOUR(24 + 2)));
    cr_expect(is_found(&b, k, HOUR(24 + 3)), "at three");
    tick(k, HOUR(24 + 22));
    move(&b, &k, HOUR(24 + 23));
    cr_expect_not(is_found(&b, k, HOUR(48 + 4)), "tomorrow's was signed at nine");
    cr_expect(is_found(&b, k, HOUR(72 + 3)));
    tun_keyring_free(k);
}

/* clang-format off */
static const struct {
    const char *name;
    int64_t wall;
    uint32_t current; /* day in use */
    unsigned days;    /* whose link keys are answered */
    unsigned onion;   /* secrets accepted */
} calendar[] = {
    { "noon",          HOUR(12), 20000, 1, 2 },
    { "before nine",   HOUR(20), 20000, 1, 0 },
    { "after nine",    HOUR(22), 20000, 2, 0 },
    { "after midnight",HOUR(25), 20000, 2, 0 },
    { "after three",   HOUR(28), 20001, 2, 0 },
    { "next noon",     HOUR(36), 20001, 1, 0 },
};
/* clang-format on */

Test(tun_keyring, follows_the_calendar) {
    struct bench b;
    init(&b);
    struct tun_keyring *k = make(&b, NULL, 0, CV_ERR_OK);
    for (size_t i = 0; i < sizeof calendar / sizeof *calendar; i++) {
        for (int64_t at = i ? calendar[i - 1].wall : HOUR(11); at <= calendar[i].wall; at += 600)
            tick(k, at);
        const struct tun_keyring_day *now = tun_keyring_current(k, calendar[i].wall);
        cr_assert_not_null(now, "%s", calendar[i].name);
        cr_expect_eq(now->day, calendar[i].current, "%s", calendar[i].name);
        const struct tun_keyring_day *days[3];
        size_t n = tun_keyring_days(k, calendar[i].wall, days);
        cr_expect_eq(n, calendar[i].days, "%s: %zu days", calendar[i].name, n);
        const struct cv_x25519_secret *secrets[15];
        n = tun_keyring_onion(k, calendar[i].wall, secrets, 15);
        cr_expect_geq(n, 1, "%s", calendar[i].name);
        cr_expect_leq(n, 4, "%s: %zu onion keys", calendar[i].name, n);
        /* the one a client would take is among them */
        unsigned newest = tun_onion_key_newest(now->day, calendar[i].wall);
        bool found = false;
        for (size_t j = 0; j < n; j++)
            found |= secrets[j] == &now->onion_secret[newest];
        cr_expect(found, "%s", calendar[i].name);
    }
    tun_keyring_free(k);
}

Test(tun_keyring, comes_back_from_its_blob_and_signs_nothing_twice) {
    struct bench b;
    init(&b);
    struct tun_keyring *k = make(&b, NULL, 0, CV_ERR_OK);
    tick(k, NOON);
    uint8_t digest[TUN_DIGEST], blob[8192];
    memcpy(digest, tun_keyring_current(k, NOON)->digest, sizeof digest);
    size_t len;
    const uint8_t *at = tun_keyring_blob(k, &len);
    cr_assert_leq(len, sizeof blob);
    memcpy(blob, at, len);
    tun_keyring_free(k);

    k = make(&b, blob, len, CV_ERR_OK);
    cr_expect_not(tick(k, NOON + 60));
    cr_assert_not_null(tun_keyring_current(k, NOON));
    cr_expect_arr_eq(tun_keyring_current(k, NOON)->digest, digest, sizeof digest);
    tun_keyring_free(k);

    for (size_t i = 0; i < len; i += 7) {
        blob[i] ^= 1;
        k = make(&b, blob, len, CV_ERR_CORRUPT);
        blob[i] ^= 1;
        tick(k, NOON);
        cr_expect_null(tun_keyring_current(k, NOON), "silent for the day; octet %zu", i);
        tick(k, NOON + DAY);
        cr_expect_not_null(tun_keyring_current(k, NOON + DAY), "back the next");
        tun_keyring_free(k);
    }
    k = make(&b, blob, len / 2, CV_ERR_CORRUPT);
    tun_keyring_free(k);
}

/* Moved to a machine without AES: what was promised stays so until those days are over. */
Test(tun_keyring, keeps_the_suites_it_promised) {
    struct bench b;
    init(&b);
    b.cfg.suites = TUN_SUITES_CHACHA | TUN_SUITES_AES;
    struct tun_keyring *k = make(&b, NULL, 0, CV_ERR_OK);
    tick(k, NOON);
    uint8_t blob[8192];
    size_t len;
    const uint8_t *at = tun_keyring_blob(k, &len);
    cr_assert_leq(len, sizeof blob);
    memcpy(blob, at, len);
    tun_keyring_free(k);

    b.cfg.suites = TUN_SUITES_CHACHA;
    k = make(&b, blob, len, CV_ERR_OK);
    for (unsigned hour = 0; hour <= 48; hour++) {
        int64_t wall = NOON + hour * INT64_C(3600);
        tick(k, wall);
        const struct tun_keyring_day *day = tun_keyring_current(k, wall);
        cr_assert_not_null(day, "hour %u", hour);
        if (day->suites & TUN_SUITES_AES)
            cr_expect(tun_keyring_offers(k, wall, TUN_SUITES_AES), "hour %u", hour);
    }
    cr_expect_not(tun_keyring_offers(k, NOON + 2 * DAY, TUN_SUITES_AES), "two days later");
    cr_expect(tun_keyring_offers(k, NOON + 2 * DAY, TUN_SUITES_CHACHA));
    tun_keyring_free(k);
}

/* A ring that cannot be read, and when its relay starts again: no day is signed that the
 * lost ring may have signed, however often it starts, and the next one is. */
Test(tun_keyring, a_lost_ring_is_silent_for_all_it_may_have_signed) {
    static const struct {
        const char *name;
        int64_t start, calendar; /* the clock at its start, and when it is right */
        uint32_t first;          /* day that may be signed */
    } table[] = {
        {"at night", HOUR(1), HOUR(1), 20001},
        {"at noon", HOUR(12), HOUR(12), 20001},
        {"tomorrow's is out", HOUR(21), HOUR(21), 20002},
        {"late", HOUR(23), HOUR(23), 20002},
        {"without a clock", 0, HOUR(12), 20001},
        {"without a clock, late", 0, HOUR(22), 20002},
    };
    static const uint8_t unreadable[1];
    for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
        struct bench b;
        uint8_t blob[8192];
        size_t len;
        init(&b);
        struct tun_keyring *k = make(&b, unreadable, sizeof unreadable, CV_ERR_CORRUPT);
        cr_expect_not(tick(k, table[i].start), "%s", table[i].name);
        tick(k, table[i].calendar);
        cr_expect(tick(k, table[i].calendar + 600), "%s: kept", table[i].name);
        const uint8_t *at = tun_keyring_blob(k, &len);
        memcpy(blob, at, len);
        tun_keyring_free(k);
        k = make(&b, blob, len, CV_ERR_OK);
        for (int64_t wall = table[i].calendar + 60; wall < HOUR(3 * 24); wall += 600) {
            tick(k, wall);
            for (uint32_t day = 19998; day < table[i].first; day++)
                cr_expect_null(tun_keyring_find(k, day), "%s: day %u", table[i].name, day);
        }
        cr_expect_not_null(tun_keyring_find(k, 20002), "%s: back", table[i].name);
        tun_keyring_free(k);
    }
}

static bool has(const struct tun_keyring *k, int64_t wall, const uint8_t digest[TUN_DIGEST]) {
    const struct tun_keyring_day *day = tun_keyring_current(k, wall);
    return day && memcmp(day->digest, digest, TUN_DIGEST) == 0;
}

/* Somebody sets the clock wrong, sees it and sets it right: no day is lost, none signed twice. */
Test(tun_keyring, a_clock_that_jumps_for_a_moment_costs_no_day) {
    static const int64_t jumps[] = {DAY, 5 * DAY, 3650 * (int64_t)DAY, -DAY, -5 * DAY};
    for (size_t i = 0; i < sizeof jumps / sizeof *jumps; i++) {
        struct bench b;
        uint8_t digest[TUN_DIGEST];
        init(&b);
        struct tun_keyring *k = make(&b, NULL, 0, CV_ERR_OK);
        tick_at(k, CV_SEC(1000), NOON);
        memcpy(digest, tun_keyring_current(k, NOON)->digest, sizeof digest);
        for (unsigned s = 60; s < 600; s += 60)
            tick_at(k, CV_SEC(1000 + s), NOON + s + jumps[i]);
        cr_expect_not(tick_at(k, CV_SEC(1600), NOON + 600), "jump %zu", i);
        cr_expect(has(k, NOON + 600, digest), "jump %zu", i);
        tick_at(k, CV_SEC(1000) + CV_SEC(DAY), NOON + DAY);
        cr_expect_not_null(tun_keyring_current(k, NOON + DAY), "jump %zu: the next day", i);
        tun_keyring_free(k);
    }
}

/* It stays wrong for longer than that is believed to be a mistake, ten years ahead: today is lost
 * and not signed again, also not after a restart; the next day is there. */
Test(tun_keyring, a_clock_that_was_years_ahead_does_not_silence_it_for_years) {
    struct bench b;
    uint8_t blob[8192];
    size_t len;
    init(&b);
    struct tun_keyring *k = make(&b, NULL, 0, CV_ERR_OK);
    tick_at(k, CV_SEC(1000), NOON);
    int64_t wrong = 3650 * (int64_t)DAY + 10 * 3600; /* late: the next day's is signed, too */
    cr_expect(tick_at(k, CV_SEC(1060), NOON + 60 + wrong));
    tick_at(k, CV_SEC(2000), NOON + 1000 + wrong);
    cr_expect_null(tun_keyring_find(k, 20000), "it stayed: it is believed");
    const uint8_t *at = tun_keyring_blob(k, &len);
    cr_assert_leq(len, sizeof blob);
    memcpy(blob, at, len);
    tun_keyring_free(k);

    k = make(&b, blob, len, CV_ERR_OK);
    for (unsigned minute = 20; minute < 5 * 24 * 60; minute += 10) {
        int64_t wall = NOON + minute * INT64_C(60);
        tick(k, wall);
        const struct tun_keyring_day *day = tun_keyring_current(k, wall);
        if (wall >= HOUR(27))
            cr_expect(day && day->day == tun_descriptor_day(wall), "minute %u", minute);
    }
    tun_keyring_free(k);
}

/* What cost the ring cost the clock, too, which was far ahead for a moment: nothing was signed
 * then, and once the clock is right the relay is silent for no longer than if it always had been.
 */
Test(tun_keyring, a_lost_ring_and_a_clock_years_ahead_do_not_silence_it_for_years) {
    static const uint8_t unreadable[1];
    static const int64_t ahead[] = {31, 32, 365, 3650};
    for (size_t i = 0; i < sizeof ahead / sizeof *ahead; i++) {
        struct bench b;
        init(&b);
        struct tun_keyring *k = make(&b, unreadable, sizeof unreadable, CV_ERR_CORRUPT);
        cr_expect_not(tick_at(k, CV_SEC(3), NOON + ahead[i] * DAY));
        for (unsigned minute = 1; minute < 3 * 24 * 60; minute++) {
            int64_t wall = NOON + minute * INT64_C(60);
            if (tick_at(k, CV_SEC(3 + minute * UINT64_C(60)), wall)) {
                size_t len;
                (void)tun_keyring_blob(k, &len);
                tun_keyring_saved(k);
            }
            cr_expect_null(tun_keyring_find(k, 20000), "%d days, minute %u", (int)ahead[i], minute);
            if (wall >= HOUR(27))
                cr_expect_not_null(tun_keyring_current(k, wall), "%d days, minute %u",
                                   (int)ahead[i], minute);
        }
        tun_keyring_free(k);
    }
}

/* It began with a clock of another year each time, and once it is right there is no room. */
Test(tun_keyring, clocks_that_were_years_ahead_leave_room_for_today) {
    struct bench b;
    init(&b);
    struct tun_keyring *k = make(&b, NULL, 0, CV_ERR_OK);
    for (unsigned year = 1; year <= 4; year++)
        cr_expect(tick_at(k, CV_SEC(year), NOON + year * INT64_C(365) * DAY), "year %u", year);
    cr_expect(tick_at(k, CV_SEC(10), NOON));
    const struct tun_keyring_day *day = tun_keyring_current(k, NOON);
    cr_assert_not_null(day);
    cr_expect_eq(day->day, 20000);
    cr_expect_not_null(tun_keyring_find(k, 20000 + 365), "the nearest stay");
    cr_expect_null(tun_keyring_find(k, 20000 + 4 * 365));
    tun_keyring_free(k);
}

/* Days of the next weeks may be known to somebody and are not signed again. */
Test(tun_keyring, days_that_come_soon_stay_whatever_the_clock_says) {
    struct bench b;
    init(&b);
    struct tun_keyring *k = make(&b, NULL, 0, CV_ERR_OK);
    for (unsigned days = 27; days <= 30; days++)
        cr_expect(tick_at(k, CV_SEC(days), NOON + days * INT64_C(86400)));
    cr_expect_not(tick_at(k, CV_SEC(40), NOON));
    for (unsigned days = 27; days <= 30; days++)
        cr_expect_not_null(tun_keyring_find(k, 20000 + days), "in %u days", days);
    tun_keyring_free(k);
}

/* What is over is to be stored as over: else its keys stay on disk until the next is signed. */
Test(tun_keyring, what_it_forgets_is_stored) {
    struct bench b;
    uint8_t blob[8192];
    size_t len;
    init(&b);
    struct tun_keyring *k = make(&b, NULL, 0, CV_ERR_OK);
    cr_expect(tick_at(k, CV_SEC(1000), HOUR(22)), "today's and tomorrow's");
    const uint8_t *at = tun_keyring_blob(k, &len);
    cr_assert_leq(len, sizeof blob);
    memcpy(blob, at, len);
    tun_keyring_free(k);

    k = make(&b, blob, len, CV_ERR_OK);
    cr_expect_not(tick_at(k, CV_SEC(10), NOON + DAY + 3600));
    cr_expect(tick_at(k, CV_SEC(700), NOON + DAY + 4290), "yesterday's went");
    cr_expect_not(tick_at(k, CV_SEC(760), NOON + DAY + 4350));
    tun_keyring_free(k);
}

Test(tun_keyring, does_nothing_without_a_calendar) {
    struct bench b;
    init(&b);
    struct tun_keyring *k = make(&b, NULL, 0, CV_ERR_OK);
    cr_expect_not(tick(k, 0));
    cr_expect(tick(k, NOON));
    tun_keyring_free(k);
}
