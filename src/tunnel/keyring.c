#include "tunnel/keyring.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "crypto/hash.h"
#include "crypto/tokenkey.h"

enum {
    DAYS = 4, /* two of yesterday, today and tomorrow; two that a wrong clock made, to come */
    VERSION = 1,
    CHECK = 16,
    BLOB_DAY = 4 + 32 + 2 + TUN_DESCRIPTOR_MAX,
    BLOB_MAX = 1 + CV_KEY + 4 + 1 + DAYS * BLOB_DAY + CHECK,
};
/* A calendar that jumps by more than this is believed when it stays: a wrong one, for a moment,
 * would cost the keys of today, which are not made again. */
#define JUMP_S   3600
#define BELIEVED CV_SEC(600)
#define FAR      30 /* days: nobody keeps a descriptor of one for so long */
static_assert((int)BLOB_MAX <= (int)TUN_KEYRING_MAX, "room for a copy");

struct held_day {
    struct tun_keyring_day pub;
    uint8_t seed[32]; /* all secrets of the day come from it */
    bool used, in_blob;
};

struct tun_keyring {
    struct tun_keyring_config cfg;
    struct cv_rng rng;
    struct held_day day[DAYS];
    uint32_t over; /* never sign this day or an earlier one (again) */
    int64_t epoch; /* Unix seconds of mono 0 at the last tick; 0: there was none */
    cv_usec forget_from;
    bool lost, found; /* the days that may be signed already are not known; they are, by now */
    uint8_t blob[BLOB_MAX];
};

static void secret_of(struct cv_x25519_secret *ret, const uint8_t seed[32], const char *label,
                      uint8_t number) {
    uint8_t scalar[CV_KEY];
    CV_BLAKE2B(scalar, sizeof scalar, seed, 32, {label, strlen(label)}, {&number, 1});
    cv_x25519_from_seed(ret, scalar);
    cv_wipe(scalar, sizeof scalar);
}

static void derive(const struct tun_keyring *k, struct held_day *d) {
    secret_of(&d->pub.link_secret, d->seed, "link", 0);
    for (unsigned i = 0; i < TUN_ONION_KEYS; i++)
        secret_of(&d->pub.onion_secret[i], d->seed, "onion", (uint8_t)i);
    tun_linkhs_peer_init(&d->pub.peer, d->pub.link_secret.public_key, k->cfg.network_id);
    if (k->cfg.version)
        tun_linkhs_peer_speaks(&d->pub.peer, k->cfg.version);
}

static struct held_day *free_day(struct tun_keyring *k) {
    for (unsigned i = 0; i < DAYS; i++)
        if (!k->day[i].used)
            return &k->day[i];
    return NULL;
}

static struct held_day *find_day(struct tun_keyring *k, uint32_t day) {
    for (unsigned i = 0; i < DAYS; i++)
        if (k->day[i].used && k->day[i].pub.day == day)
            return &k->day[i];
    return NULL;
}

static void forget(struct tun_keyring *k, struct held_day *d) {
    if (d->pub.day > k->over)
        k->over = d->pub.day;
    cv_wipe(d, sizeof *d);
}

static void name_token_key(const struct tun_keyring *k, struct tun_descriptor *desc) {
    struct cv_voprf_secret token_secret;
    cv_token_key(&token_secret, k->cfg.identity, k->cfg.network_id, cv_token_week(desc->day));
    memcpy(desc->token_key, token_secret.public_key, CV_KEY);
    cv_wipe(&token_secret, sizeof token_secret);
}

/* Clocks that were far ahead, each in another day, would take all the room until then. */
static struct held_day *make_room(struct tun_keyring *k, uint32_t day) {
    struct held_day *last = &k->day[0];
    for (unsigned i = 1; i < DAYS; i++)
        if (k->day[i].pub.day > last->pub.day)
            last = &k->day[i];
    if (last->pub.day <= day + FAR)
        return NULL;
    cv_wipe(last, sizeof *last);
    return last;
}

/* True when a new descriptor was signed. */
static bool sign(struct tun_keyring *k, uint32_t day) {
    if (day <= k->over || find_day(k, day))
        return false;
    struct held_day *d = free_day(k);
    if (!d)
        d = make_room(k, day);
    if (!d)
        return false;
    d->used = true;
    d->pub.day = day;
    cv_rng_fill(&k->rng, d->seed, sizeof d->seed);
    derive(k, d);
    struct tun_descriptor desc;
    memset(&desc, 0, sizeof desc);
    memcpy(desc.network_id, k->cfg.network_id, sizeof desc.network_id);
    memcpy(desc.identity, k->cfg.identity->public_key, CV_KEY);
    desc.day = day;
    memcpy(desc.link_key, d->pub.link_secret.public_key, CV_KEY);
    for (unsigned i = 0; i < TUN_ONION_KEYS; i++)
        memcpy(desc.onion_key[i], d->pub.onion_secret[i].public_key, CV_KEY);
    if (k->cfg.tokens)
        name_token_key(k, &desc);
    desc.flags = k->cfg.flags;
    desc.version = k->cfg.version;
    desc.suites = d->pub.suites = k->cfg.suites;
    desc.bandwidth = k->cfg.bandwidth;
    desc.addrs = k->cfg.addrs;
    memcpy(desc.addr, k->cfg.addr, sizeof desc.addr);
    ssize_t len =
        tun_descriptor_sign(&desc, k->cfg.identity, d->pub.descriptor, sizeof d->pub.descriptor);
    assert(len > 0); /* all of it is ours */
    d->pub.descriptor_len = (uint16_t)len;
    tun_descriptor_digest(d->pub.descriptor, (size_t)len, d->pub.digest);
    return true;
}

static void watch_clock(struct tun_keyring *k, const struct cv_now *now) {
    int64_t epoch = now->wall - (int64_t)(now->mono / CV_SEC(1));
    bool first = k->epoch == 0, jumped = epoch > k->epoch + JUMP_S || epoch < k->epoch - JUMP_S;
    k->epoch = epoch ? epoch : 1;
    if (first || jumped)
        k->forget_from = cv_usec_add(now->mono, BELIEVED);
}

/* There was a ring and it cannot be read: what it may have signed must not be signed again. What
 * cost it may have cost the clock as well: until that is believed, and anew when it jumps before
 * there is a day to use, each day that it shows is kept from being signed. Stored is it when it
 * is believed, so that a start before begins all of this anew; a day that is further off than
 * anybody keeps a descriptor for is not kept then. True: now. */
static bool stay_silent(struct tun_keyring *k, const struct cv_now *now) {
    if (!k->lost)
        return false;
    uint32_t today = cv_day(now->wall);
    uint32_t last = tun_descriptor_is_current(today + 1, now->wall) ? today + 1 : today;
    if (now->mono >= k->forget_from) {
        bool found = !k->found;
        k->found = true;
        if (k->over > last + FAR) /* a clock was far ahead; we signed nothing by it */
            k->over = last;
        k->lost = !tun_keyring_current(k, now->wall);
        return found;
    }
    if (last > k->over)
        k->over = last;
    k->found = false;
    return false;
}

/* Days to come stay, whenever that will be: to forget one is to sign none before it. True when
 * there was one that is over. */
static bool forget_past(struct tun_keyring *k, const struct cv_now *now) {
    bool any = false;
    for (unsigned i = 0; i < DAYS && now->mono >= k->forget_from; i++)
        if (k->day[i].used && k->day[i].pub.day < cv_day(now->wall) &&
            !tun_descriptor_is_current(k->day[i].pub.day, now->wall)) {
            forget(k, &k->day[i]);
            any = true;
        }
    return any;
}

bool tun_keyring_tick(struct tun_keyring *k, const struct cv_now *now) {
    if (now->wall <= 0)
        return false; /* days mean nothing without a clock */
    watch_clock(k, now);
    bool changed = stay_silent(k, now);
    changed |= forget_past(k, now); /* on disk, too */
    uint32_t today = cv_day(now->wall);
    changed |= sign(k, tun_descriptor_day(now->wall));
    changed |= sign(k, today);
    if (tun_descriptor_is_current(today + 1, now->wall))
        changed |= sign(k, today + 1);
    return changed;
}

/* ---- stored ---- */

/* version u8 | identity 32 | over u32 | n u8 | n x (day u32 | seed 32 |
 * length u16 | descriptor) | BLAKE2b-128 keyed with the identity's seed. */
static void check_sum(const struct tun_keyring *k, const void *blob, size_t len,
                      uint8_t ret[CHECK]) {
    CV_BLAKE2B(ret, CHECK, k->cfg.identity->seed, CV_KEY, {"culvert keyring", 15}, {blob, len});
}

static bool is_written(const struct held_day *d, bool saved_only) {
    return d->used && (d->pub.saved || !saved_only);
}

static size_t write_ring(const struct tun_keyring *k, uint8_t *ret, size_t cap, bool saved_only) {
    struct cv_wr w = cv_wr_init(ret, cap);
    uint8_t n = 0;
    for (unsigned i = 0; i < DAYS; i++)
        n = (uint8_t)(n + is_written(&k->day[i], saved_only));
    cv_wr_u8(&w, VERSION);
    cv_wr_bytes(&w, k->cfg.identity->public_key, CV_KEY);
    cv_wr_le32(&w, k->over);
    cv_wr_u8(&w, n);
    for (unsigned i = 0; i < DAYS; i++) {
        const struct held_day *d = &k->day[i];
        if (!is_written(d, saved_only))
            continue;
        cv_wr_le32(&w, d->pub.day);
        cv_wr_bytes(&w, d->seed, sizeof d->seed);
        cv_wr_le16(&w, d->pub.descriptor_len);
        cv_wr_bytes(&w, d->pub.descriptor, d->pub.descriptor_len);
    }
    size_t len = cv_wr_len(&w);
    check_sum(k, ret, len, cv_wr_skip(&w, CHECK));
    assert(!w.err);
    return cv_wr_len(&w);
}

const uint8_t *tun_keyring_blob(struct tun_keyring *k, size_t *ret_len) {
    *ret_len = write_ring(k, k->blob, sizeof k->blob, false);
    for (unsigned i = 0; i < DAYS; i++)
        k->day[i].in_blob |= k->day[i].used;
    return k->blob;
}

size_t tun_keyring_copy(const struct tun_keyring *k, uint8_t ret[TUN_KEYRING_MAX]) {
    return write_ring(k, ret, TUN_KEYRING_MAX, true);
}

void tun_keyring_saved(struct tun_keyring *k) {
    for (unsigned i = 0; i < DAYS; i++)
        if (k->day[i].used && k->day[i].in_blob)
            k->day[i].pub.saved = true;
}

static enum cv_err load_day(struct tun_keyring *k, struct cv_rd *r) {
    struct held_day *d = free_day(k);
    if (!d)
        return CV_ERR_CORRUPT;
    uint32_t day = cv_rd_le32(r);
    cv_rd_copy(r, d->seed, sizeof d->seed);
    uint16_t len = cv_rd_le16(r);
    const uint8_t *descriptor = cv_rd_bytes(r, len);
    struct tun_descriptor desc;
    if (r->err || find_day(k, day) ||
        tun_descriptor_open(descriptor, len, k->cfg.network_id, &desc))
        return CV_ERR_CORRUPT;
    d->used = true;
    d->pub.day = day;
    d->pub.saved = d->in_blob = true;
    d->pub.descriptor_len = len;
    memcpy(d->pub.descriptor, descriptor, len);
    memcpy(d->pub.digest, desc.digest, sizeof d->pub.digest);
    d->pub.suites = desc.suites;
    derive(k, d);
    bool mine = cv_equal(desc.identity, k->cfg.identity->public_key, CV_KEY) && desc.day == day &&
                cv_equal(desc.link_key, d->pub.link_secret.public_key, CV_KEY);
    return mine ? CV_ERR_OK : CV_ERR_CORRUPT;
}

static enum cv_err load(struct tun_keyring *k, const uint8_t *blob, size_t len) {
    if (len < CHECK)
        return CV_ERR_CORRUPT;
    uint8_t want[CHECK];
    check_sum(k, blob, len - CHECK, want);
    if (!cv_equal(want, blob + len - CHECK, CHECK))
        return CV_ERR_CORRUPT;
    struct cv_rd r = cv_rd_init(blob, len - CHECK);
    uint8_t version = cv_rd_u8(&r);
    cv_rd_bytes(&r, CV_KEY); /* whose it is, for people; the sum proves it */
    k->over = cv_rd_le32(&r);
    uint8_t n = cv_rd_u8(&r);
    if (r.err || version != VERSION || n > DAYS)
        return CV_ERR_CORRUPT;
    for (unsigned i = 0; i < n; i++) {
        enum cv_err err = load_day(k, &r);
        if (err)
            return err;
    }
    return CV_ERR_OK;
}

struct tun_keyring *tun_keyring_new(const struct tun_keyring_config *cfg, const struct cv_rng *rng,
                                    const void *blob, size_t len, enum cv_err *ret_err) {
    struct tun_keyring *k = calloc(1, sizeof *k);
    if (!k)
        return NULL;
    k->cfg = *cfg;
    k->rng = *rng;
    *ret_err = blob ? load(k, blob, len) : CV_ERR_OK;
    if (*ret_err) {
        cv_wipe(k->day, sizeof k->day);
        k->lost = true;
    }
    return k;
}

struct tun_keyring *tun_keyring_free(struct tun_keyring *k) {
    if (k)
        cv_wipe(k, sizeof *k);
    free(k);
    return NULL;
}

/* ---- used ---- */

const struct tun_keyring_day *tun_keyring_find(const struct tun_keyring *k, uint32_t day) {
    for (unsigned i = 0; i < DAYS; i++)
        if (k->day[i].used && k->day[i].pub.day == day && k->day[i].pub.saved)
            return &k->day[i].pub;
    return NULL;
}

const struct tun_keyring_day *tun_keyring_current(const struct tun_keyring *k, int64_t wall) {
    return tun_keyring_find(k, tun_descriptor_day(wall));
}

size_t tun_keyring_days(const struct tun_keyring *k, int64_t wall,
                        const struct tun_keyring_day *ret[3]) {
    size_t n = 0;
    uint32_t today = cv_day(wall);
    for (uint32_t day = today + 1; n < 3 && day + 2 > today; day--) {
        const struct tun_keyring_day *d = tun_keyring_find(k, day);
        if (d && tun_descriptor_is_current(day, wall))
            ret[n++] = d;
    }
    return n;
}

bool tun_keyring_offers(const struct tun_keyring *k, int64_t wall, uint8_t suites) {
    const struct tun_keyring_day *days[3];
    size_t n = tun_keyring_days(k, wall, days);
    for (size_t i = 0; i < n; i++) {
        if (days[i]->suites & suites)
            return true;
    }
    return false;
}

size_t tun_keyring_onion(const struct tun_keyring *k, int64_t wall,
                         const struct cv_x25519_secret **ret, size_t cap) {
    size_t n = 0;
    for (unsigned i = 0; i < DAYS; i++)
        for (unsigned j = 0; k->day[i].used && j < TUN_ONION_KEYS && n < cap; j++)
            if (tun_onion_key_accepted(k->day[i].pub.day, j, wall))
                ret[n++] = &k->day[i].pub.onion_secret[j];
    return n;
}
