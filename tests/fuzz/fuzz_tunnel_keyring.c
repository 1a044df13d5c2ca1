/*
 * A relay's keys over days, as a script: its clock goes on, jumps and is lost, the ring
 * is stored or is not, the process ends at any moment and starts again from the file as
 * it is, damaged, cut, somebody else's, or changed by somebody who can compute its sum.
 *
 * Property: of one day no second descriptor is ever shown; what is shown was on the disk
 * before, and its secrets belong to it; whatever the calendar wants is signed at once
 * unless it may have been signed before; days and onion secrets that are in use are those
 * that the calendar names; a copy holds what is stored and nothing else.
 */
#include <assert.h>
#include <string.h>

#include "base/cursor.h"
#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "tunnel/keyring.h"
#include "tunnel/params.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HOUR 3600
#define DAY  (24 * HOUR)

enum {
    FIRST = 20000, /* days that are looked at */
    DAYS = 64,
    LAST = FIRST + DAYS - 4,
    CHECK = 16,
    STEPS = 200,
};

/* A ring as it is stored, read a second time. */
struct stored {
    uint32_t over;
    unsigned n;
    uint32_t day[4];
    uint8_t digest[4][TUN_DIGEST];
};

struct world {
    struct cv_ed25519_secret identity_secret, stranger_secret;
    struct cv_rng_seeded seed;
    struct cv_rng rng;
    struct tun_keyring_config cfg;
    struct tun_keyring *k;
    struct cv_now now;
    uint8_t disk[TUN_KEYRING_MAX];
    size_t len;
    bool unreadable, lost;
    struct {
        bool is;
        uint8_t digest[TUN_DIGEST];
    } on_disk[DAYS][4], shown[DAYS];
};

static void read_blob(const uint8_t *blob, size_t len, struct stored *ret) {
    struct cv_rd r = cv_rd_init(blob, len - CHECK);
    memset(ret, 0, sizeof *ret);
    cv_rd_bytes(&r, 1 + CV_KEY);
    ret->over = cv_rd_le32(&r);
    ret->n = cv_rd_u8(&r);
    assert(ret->n <= 4);
    for (unsigned i = 0; i < ret->n; i++) {
        ret->day[i] = cv_rd_le32(&r);
        cv_rd_bytes(&r, 32);
        uint16_t size = cv_rd_le16(&r);
        const uint8_t *raw = cv_rd_bytes(&r, size);
        assert(raw);
        tun_descriptor_digest(raw, size, ret->digest[i]);
    }
    assert(!r.err && cv_rd_left(&r) == 0);
}

static bool has(const struct stored *s, uint32_t day) {
    for (unsigned i = 0; i < s->n; i++)
        if (s->day[i] == day)
            return true;
    return false;
}

/* ---- the calendar, once more ---- */

static int64_t into(uint32_t day, int64_t wall) {
    return wall - (int64_t)day * DAY;
}

/* From 21:00 of the day before to 08:00 of the day behind it. */
static bool serves(uint32_t day, int64_t wall) {
    return into(day, wall) >= -3 * HOUR && into(day, wall) < 32 * HOUR;
}

/* Each for six hours, the last for three of the next day; two hours either way. */
static bool accepts(uint32_t day, unsigned key, int64_t wall) {
    static const int64_t from[] = {0, 6, 12, 18, 24}, to[] = {6, 12, 18, 24, 27};
    return into(day, wall) >= (from[key] - 2) * HOUR && into(day, wall) < (to[key] + 2) * HOUR;
}

/* ---- what is shown ---- */

static void check_secrets(const struct world *w, const struct tun_keyring_day *d) {
    struct tun_descriptor desc;
    assert(tun_descriptor_open(d->descriptor, d->descriptor_len, w->cfg.network_id, &desc) ==
           CV_ERR_OK);
    assert(desc.day == d->day && desc.suites == d->suites);
    assert(memcmp(desc.identity, w->identity_secret.public_key, CV_KEY) == 0);
    assert(memcmp(desc.link_key, d->link_secret.public_key, CV_KEY) == 0);
    for (unsigned i = 0; i < TUN_ONION_KEYS; i++)
        assert(memcmp(desc.onion_key[i], d->onion_secret[i].public_key, CV_KEY) == 0);
}

static void show(struct world *w, const struct tun_keyring_day *d) {
    assert(d->saved && d->day >= FIRST && d->day < FIRST + DAYS);
    unsigned at = d->day - FIRST;
    if (w->shown[at].is) {
        assert(memcmp(w->shown[at].digest, d->digest, TUN_DIGEST) == 0);
        return;
    }
    bool stored = false;
    for (unsigned i = 0; i < 4; i++)
        stored |=
            w->on_disk[at][i].is && memcmp(w->on_disk[at][i].digest, d->digest, TUN_DIGEST) == 0;
    assert(stored);
    check_secrets(w, d);
    w->shown[at].is = true;
    memcpy(w->shown[at].digest, d->digest, TUN_DIGEST);
}

static void check(struct world *w) {
    const struct tun_keyring_day *days[3], *d;
    const struct cv_x25519_secret *secrets[32];
    int64_t wall = w->now.wall;
    unsigned serving = 0, offered = 0;
    for (uint32_t day = FIRST; day < FIRST + DAYS; day++) {
        d = tun_keyring_find(w->k, day);
        if (!d)
            continue;
        show(w, d);
        serving += serves(day, wall);
        offered |= serves(day, wall) ? d->suites : 0;
    }
    size_t n = tun_keyring_days(w->k, wall, days);
    assert(n == serving);
    for (size_t i = 0; i < n; i++) {
        assert(serves(days[i]->day, wall));
        assert(i == 0 || days[i]->day < days[i - 1]->day);
    }
    for (uint8_t bit = 1; bit < 8; bit = (uint8_t)(bit << 1))
        assert(tun_keyring_offers(w->k, wall, bit) == ((offered & bit) != 0));
    d = tun_keyring_current(w->k, wall);
    assert(!d || (int64_t)d->day == (wall - 3 * HOUR) / DAY);

    struct stored all;
    size_t len, accepted = 0;
    const uint8_t *blob = tun_keyring_blob(w->k, &len);
    read_blob(blob, len, &all);
    for (unsigned i = 0; i < all.n; i++)
        for (unsigned key = 0; key < TUN_ONION_KEYS; key++)
            accepted += accepts(all.day[i], key, wall);
    assert(tun_keyring_onion(w->k, wall, secrets, 32) == accepted);
    assert(accepted <= 2 * all.n);
}

/* ---- the script ---- */

static void tick(struct world *w) {
    struct stored s;
    size_t len;
    (void)tun_keyring_tick(w->k, &w->now);
    w->now.mono += CV_SEC(601); /* what is over is forgotten by then, whatever the clock did */
    (void)tun_keyring_tick(w->k, &w->now);
    int64_t wall = w->now.wall;
    if (wall <= 0)
        return;
    uint32_t today = (uint32_t)(wall / DAY),
             due[] = {(uint32_t)((wall - 3 * HOUR) / DAY), today, today + 1};
    const uint8_t *blob = tun_keyring_blob(w->k, &len);
    read_blob(blob, len, &s);
    for (unsigned i = 0; i < s.n; i++)
        assert(serves(s.day[i], wall) || s.day[i] > today);
    for (unsigned i = 0; i < 3; i++) /* or there is no room beside what wrong clocks made */
        assert(!serves(due[i], wall) || due[i] <= s.over || has(&s, due[i]) || s.n == 4);
    if (!w->lost)
        return;
    /* of later days it cannot know whether that ring had signed them by another clock */
    w->lost = false;
    uint32_t last = serves(today + 1, wall) ? today + 1 : today;
    assert(s.n == 0 && s.over >= last);
    for (uint32_t day = last + 1; day < FIRST + DAYS; day++)
        w->shown[day - FIRST].is = false;
}

static void store(struct world *w) {
    struct stored s;
    size_t len;
    if (w->lost) /* nobody asks for that */
        return;
    const uint8_t *blob = tun_keyring_blob(w->k, &len);
    memcpy(w->disk, blob, len);
    w->len = len;
    w->unreadable = false;
    read_blob(w->disk, w->len, &s);
    for (unsigned i = 0; i < s.n; i++) {
        unsigned at = s.day[i] - FIRST, k = 0;
        while (k < 3 && w->on_disk[at][k].is &&
               memcmp(w->on_disk[at][k].digest, s.digest[i], TUN_DIGEST) != 0)
            k++;
        w->on_disk[at][k].is = true;
        memcpy(w->on_disk[at][k].digest, s.digest[i], TUN_DIGEST);
    }
}

/* The process ends, and begins again with what is on the disk. */
static void restart(struct world *w) {
    enum cv_err err;
    tun_keyring_free(w->k);
    w->k =
        tun_keyring_new(&w->cfg, &w->rng, w->len || w->unreadable ? w->disk : NULL, w->len, &err);
    assert(w->k);
    assert((err != CV_ERR_OK) == w->unreadable);
    w->lost = w->unreadable;
}

static void damage(struct world *w, uint8_t how, uint8_t where) {
    if (w->len == 0 || w->unreadable)
        return;
    w->unreadable = true;
    if (how % 4 == 0)
        w->len = where % w->len;
    else if (how % 4 == 1)
        w->len -= 1 + where % 8;
    else
        w->disk[where * 3U % w->len] ^= how;
    restart(w);
    tick(w);
}

/* Not by chance: the sum is right. Whatever it says is taken, or refused as a whole. */
static void forge(struct world *w, uint8_t at, uint8_t flip) {
    enum cv_err err;
    if (w->len < CHECK + 64 || w->unreadable)
        return;
    uint8_t copy[TUN_KEYRING_MAX];
    size_t len = w->len - CHECK;
    memcpy(copy, w->disk, w->len);
    static const uint16_t places[] = {0, 33, 37, 38, 42, 73, 74, 75, 76, 77, 140, 300};
    copy[places[at % 12] % len] ^= flip;
    if (at >= 128)
        len -= 1 + at % 32;
    CV_BLAKE2B(copy + len, CHECK, w->identity_secret.seed, CV_KEY, {"culvert keyring", 15},
               {copy, len});
    struct tun_keyring *k = tun_keyring_new(&w->cfg, &w->rng, copy, len + CHECK, &err);
    assert(k && (err == CV_ERR_OK || err == CV_ERR_CORRUPT));
    (void)tun_keyring_tick(k, &w->now);
    for (uint32_t day = FIRST; err && day < FIRST + DAYS; day++)
        assert(!tun_keyring_find(k, day));
    tun_keyring_free(k);
}

/* What another worker of the relay is given. */
static void copy(struct world *w) {
    uint8_t blob[TUN_KEYRING_MAX];
    enum cv_err err;
    size_t len = tun_keyring_copy(w->k, blob);
    struct tun_keyring *k = tun_keyring_new(&w->cfg, &w->rng, blob, len, &err);
    assert(k && err == CV_ERR_OK);
    for (uint32_t day = FIRST; day < FIRST + DAYS; day++) {
        const struct tun_keyring_day *a = tun_keyring_find(w->k, day),
                                     *b = tun_keyring_find(k, day);
        assert(!a == !b);
        if (a) {
            assert(memcmp(a->digest, b->digest, TUN_DIGEST) == 0);
            check_secrets(w, b);
        }
    }
    tun_keyring_free(k);
    /* somebody else's ring is nobody's */
    struct tun_keyring_config other = w->cfg;
    other.identity = &w->stranger_secret;
    k = tun_keyring_new(&other, &w->rng, blob, len, &err);
    assert(k && err == CV_ERR_CORRUPT);
    tun_keyring_free(k);
}

static void clock_set(struct world *w, uint8_t op, uint8_t a) {
    int64_t wall = w->now.wall ? w->now.wall : (int64_t)(FIRST + 2) * DAY;
    wall += op & 8 ? (int64_t)a * 360 : (int64_t)a * HOUR / 4;
    if (op & 16)
        wall -= 2 * (int64_t)a * HOUR;
    if (wall < (int64_t)(FIRST + 2) * DAY)
        wall = (int64_t)(FIRST + 2) * DAY;
    if (wall > (int64_t)LAST * DAY)
        wall = (int64_t)LAST * DAY;
    w->now.wall = op & 32 && op & 64 ? 0 : wall; /* no clock */
}

static void step(struct world *w, struct cv_rd *r) {
    uint8_t op = cv_rd_u8(r), a = cv_rd_u8(r);
    switch (op % 8) {
    case 0:
    case 1:
        clock_set(w, op, a);
        tick(w);
        break;
    case 2:
        store(w);
        if (op & 16 && w->now.wall && !w->lost) { /* another day is signed meanwhile */
            w->now.wall += 3 * HOUR;
            (void)tun_keyring_tick(w->k, &w->now);
        }
        if (op & 8 && !w->lost)
            tun_keyring_saved(w->k);
        break;
    case 3:
        restart(w);
        if (op & 8)
            tick(w);
        break;
    case 4:
        damage(w, a, (uint8_t)(op >> 3 ^ a));
        break;
    case 5:
        forge(w, a, (uint8_t)(1 + (op >> 3)));
        break;
    case 6: /* another machine, or another version */
        w->cfg.suites = TUN_SUITES_CHACHA | (a & 1 ? TUN_SUITES_AES : 0);
        w->cfg.tokens = a & 2;
        w->cfg.version = a & 4 ? 2 : 0;
        restart(w);
        break;
    default:
        copy(w);
        break;
    }
    if (w->now.wall)
        check(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct world world;
    struct world *w = &world;
    cv_crypto_init();
    memset(w, 0, sizeof *w);
    w->cfg = (struct tun_keyring_config){.identity = &w->identity_secret,
                                         .network_id = "keyring",
                                         .addr = {{.ip = {198, 51, 7, 1}, .port = 9, .family = 4}},
                                         .addrs = 1,
                                         .flags = TUN_RELAY_RELAY,
                                         .suites = TUN_SUITES_CHACHA};
    cv_ed25519_from_seed(&w->identity_secret, (const uint8_t[CV_KEY]){7});
    cv_ed25519_from_seed(&w->stranger_secret, (const uint8_t[CV_KEY]){8});
    cv_rng_seeded_init(&w->seed, 1);
    w->rng = cv_rng_seeded(&w->seed);
    w->now = (struct cv_now){.mono = 1, .wall = (int64_t)(FIRST + 2) * DAY};
    enum cv_err err;
    w->k = tun_keyring_new(&w->cfg, &w->rng, NULL, 0, &err);
    assert(w->k && err == CV_ERR_OK);
    struct cv_rd r = cv_rd_init(data, size);
    for (unsigned i = 0; i < STEPS && !r.err && cv_rd_left(&r) >= 2; i++)
        step(w, &r);
    tun_keyring_free(w->k);
    return 0;
}
