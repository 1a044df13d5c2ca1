#include "tunnel/directory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "crypto/hash.h"
#include "crypto/siphash.h"
#include "tunnel/capacity.h"

struct tun_directory {
    uint8_t network_id[TUN_NETWORK_ID];
    uint8_t hash_key[CV_SIPHASH_KEY];
    struct cv_map *relays;        /* struct key to struct tun_relay, owned */
    TAILQ_HEAD(, tun_relay) bare; /* those without a descriptor, oldest first */
    size_t bares;
    uint8_t own[CV_KEY];
    bool has_own;
    uint8_t family; /* of our sockets; 0: both */
    struct liar {
        uint8_t identity[CV_KEY];
        int64_t until; /* 0: none */
        bool vouched;  /* others had it in use, or we reached it */
    } liar[TUN_LIARS_MAX];
};

struct key {
    uint8_t identity[CV_KEY];
    uint8_t day[4];
};
static_assert(sizeof(struct key) == CV_KEY + 4, "hashed as octets");

static struct key key_of(const uint8_t identity[CV_KEY], uint32_t day) {
    struct key k;
    memcpy(k.identity, identity, CV_KEY);
    for (int i = 0; i < 4; i++)
        k.day[i] = (uint8_t)(day >> (8 * i));
    return k;
}

struct tun_directory *tun_directory_new(const uint8_t network_id[TUN_NETWORK_ID],
                                        const struct cv_rng *rng) {
    struct tun_directory *dir = calloc(1, sizeof *dir);
    if (!dir)
        return NULL;
    memcpy(dir->network_id, network_id, TUN_NETWORK_ID);
    TAILQ_INIT(&dir->bare);
    cv_rng_fill(rng, dir->hash_key, sizeof dir->hash_key);
    dir->relays = cv_map_new(sizeof(struct key), TUN_DIRECTORY_MAX, cv_siphash_map, dir->hash_key);
    return dir->relays ? dir : tun_directory_free(dir);
}

void tun_directory_speaks(struct tun_directory *dir, uint8_t family) {
    dir->family = family;
}

void tun_directory_own(struct tun_directory *dir, const uint8_t identity[CV_KEY]) {
    memcpy(dir->own, identity, CV_KEY);
    dir->has_own = true;
}

struct tun_directory *tun_directory_free(struct tun_directory *dir) {
    if (!dir)
        return NULL;
    void *cursor = NULL;
    struct tun_relay *r;
    while (dir->relays && (r = cv_map_next(dir->relays, &cursor, NULL))) {
        free(r->other);
        free(r);
    }
    cv_map_free(dir->relays);
    free(dir);
    return NULL;
}

struct tun_relay *tun_directory_find(const struct tun_directory *dir,
                                     const uint8_t identity[CV_KEY], uint32_t day) {
    struct key k = key_of(identity, day);
    return cv_map_get(dir->relays, &k);
}

struct tun_relay *tun_directory_find_d(const struct tun_directory *dir,
                                       const uint8_t identity[CV_KEY],
                                       const uint8_t d[TUN_DIGEST]) {
    void *cursor = NULL;
    struct tun_relay *r;
    while ((r = cv_map_next(dir->relays, &cursor, NULL))) {
        if (r->raw_len > 0 && memcmp(r->desc.digest, d, TUN_DIGEST) == 0 &&
            memcmp(r->desc.identity, identity, CV_KEY) == 0)
            return r;
    }
    return NULL;
}

struct tun_relay *tun_directory_find_meant(const struct tun_directory *dir,
                                           const uint8_t identity[CV_KEY],
                                           const uint8_t d[TUN_DIGEST], int64_t wall) {
    struct tun_relay *r = tun_directory_find_d(dir, identity, d);
    uint32_t day = tun_descriptor_day(wall), other = tun_descriptor_other_day(wall);
    if (other == day || (r && (r->confirmed || r->liar || r->desc.day != other)))
        return r;
    /* Of both days we have its descriptor, and this is neither: it may have signed two. */
    const struct tun_relay *known = tun_directory_find(dir, identity, other);
    if (!r && known && known->raw_len > 0)
        return NULL;
    struct tun_relay *ours = tun_directory_find(dir, identity, day);
    return ours && ours->raw_len > 0 ? ours : r;
}

struct tun_relay *tun_directory_find_now(const struct tun_directory *dir,
                                         const uint8_t identity[CV_KEY], int64_t wall) {
    uint32_t day = tun_descriptor_day(wall);
    const uint32_t days[] = {day, day + 1, day - 1};
    for (size_t i = 0; i < sizeof days / sizeof *days; i++) {
        struct tun_relay *r = tun_directory_find(dir, identity, days[i]);
        if (r && r->raw_len > 0)
            return r;
    }
    return NULL;
}

/* ---- entries and their number ---- */

static void bare_remove(struct tun_directory *dir, struct tun_relay *r) {
    TAILQ_REMOVE(&dir->bare, r, bare);
    dir->bares--;
}

static void forget(struct tun_directory *dir, struct tun_relay *r) {
    struct key k = key_of(r->desc.identity, r->desc.day);
    cv_map_del(dir->relays, &k);
    if (r->raw_len == 0)
        bare_remove(dir, r);
    free(r->other);
    free(r);
}

/* How many names without a descriptor we have from this relay. */
static size_t bares_of(const struct tun_directory *dir, const uint8_t by[CV_KEY]) {
    const struct tun_relay *r;
    size_t n = 0;
    TAILQ_FOREACH(r, &dir->bare, bare)
    n += memcmp(r->named_by, by, CV_KEY) == 0;
    return n;
}

/* The oldest that nobody vouches for: neither two others nor our own question. */
static struct tun_relay *oldest_unproven(const struct tun_directory *dir) {
    void *cursor = NULL;
    struct tun_relay *r;
    while ((r = cv_map_next(dir->relays, &cursor, NULL))) {
        if (!r->confirmed && !r->reached && !r->ours)
            return r;
    }
    return NULL;
}

/* Whoever fills the directory with what he invents loses that first. */
static void make_room(struct tun_directory *dir) {
    if (cv_map_count(dir->relays) < TUN_DIRECTORY_MAX)
        return;
    struct tun_relay *r = dir->bares ? TAILQ_FIRST(&dir->bare) : oldest_unproven(dir);
    if (r)
        forget(dir, r);
}

/* Those of its addresses that `before` names as well, with `of` set there. */
static uint8_t stays(const struct tun_relay *r, const struct tun_relay *before, unsigned of) {
    uint8_t bits = 0;
    for (unsigned i = 0; i < r->desc.addrs; i++) {
        int k = tun_descriptor_addr(&before->desc, &r->desc.addr[i]);
        if (k >= 0 && of >> k & 1)
            bits |= (uint8_t)(1u << i);
    }
    return bits;
}

/* Where it answered us yesterday it is taken to be today, until it is asked: a relay answers
 * DESCRIBE with the descriptor in use, so tomorrow's could not be passed on before it is
 * needed, nor today's in the hours until everybody has asked everybody. */
static void keep_reached(struct tun_relay *r, const struct tun_relay *before) {
    r->outside |= stays(r, before, before->outside);
    uint8_t kept = (uint8_t)(stays(r, before, before->reached & ~before->kept) & ~r->reached);
    if (!r->reached && kept) {
        int first = tun_descriptor_addr(&r->desc, &before->reached_at);
        bool same = first >= 0 && kept >> first & 1;
        r->reached_at = same ? before->reached_at : r->desc.addr[__builtin_ctz(kept)];
    }
    r->kept |= kept;
    r->reached |= kept;
}

/* What outlives the day: since when a relay is known, and what it carries. */
static void inherit(const struct tun_directory *dir, struct tun_relay *r) {
    const uint32_t days[] = {r->desc.day - 1, r->desc.day + 1};
    for (size_t i = 0; i < sizeof days / sizeof *days; i++) {
        const struct tun_relay *o = tun_directory_find(dir, r->desc.identity, days[i]);
        if (!o || o->raw_len == 0)
            continue;
        if (o->first_seen < r->first_seen)
            r->first_seen = o->first_seen;
        if (r->measured == 0)
            r->measured = o->measured;
        if (o->desc.day < r->desc.day)
            keep_reached(r, o);
        else
            r->outside |= stays(r, o, o->outside);
        if (r->reports > 0)
            continue;
        memcpy(r->report, o->report, sizeof r->report);
        r->reports = o->reports;
        r->report_next = o->report_next;
        r->capacity = o->capacity;
    }
}

void tun_directory_keep(struct tun_directory *dir, uint32_t day) {
    void *cursor = NULL;
    struct tun_relay *r;
    while ((r = cv_map_next(dir->relays, &cursor, NULL))) {
        const struct tun_relay *before = r->desc.day == day && r->raw_len > 0
                                             ? tun_directory_find(dir, r->desc.identity, day - 1)
                                             : NULL;
        if (before && before->raw_len > 0)
            keep_reached(r, before);
    }
}

/* A new entry, bare until somebody fills in its descriptor. */
static enum cv_err entry_new(struct tun_directory *dir, int64_t wall,
                             const uint8_t identity[CV_KEY], uint32_t day, struct tun_relay **ret) {
    make_room(dir);
    struct tun_relay *r = calloc(1, sizeof *r);
    if (!r)
        return CV_ERR_NOMEM;
    memcpy(r->desc.identity, identity, CV_KEY);
    r->desc.day = day;
    r->first_seen = wall;
    r->ours = dir->has_own && memcmp(identity, dir->own, CV_KEY) == 0;
    struct key k = key_of(identity, day);
    enum cv_err err = cv_map_put(dir->relays, &k, r);
    if (err) {
        free(r);
        return err;
    }
    TAILQ_INSERT_TAIL(&dir->bare, r, bare);
    dir->bares++;
    *ret = r;
    return CV_ERR_OK;
}

/* The entry, made when it is not there and `by` may name more. */
static enum cv_err entry_named(struct tun_directory *dir, int64_t wall,
                               const uint8_t identity[CV_KEY], uint32_t day,
                               const uint8_t by[CV_KEY], struct tun_relay **ret) {
    *ret = tun_directory_find(dir, identity, day);
    if (*ret)
        return CV_ERR_OK;
    if (bares_of(dir, by) >= TUN_BARE_OF_ONE)
        return CV_ERR_LIMIT;
    if (dir->bares >= TUN_BARE_MAX)
        forget(dir, TAILQ_FIRST(&dir->bare));
    enum cv_err err = entry_new(dir, wall, identity, day, ret);
    if (!err)
        memcpy((*ret)->named_by, by, CV_KEY);
    return err;
}

/* ---- who may stand beside whom ---- */

static bool in_family(const struct tun_descriptor *a, const struct tun_descriptor *b) {
    for (unsigned i = 0; i < a->families; i++) {
        if (memcmp(a->family[i], b->identity, CV_KEY) == 0)
            return true;
    }
    return false;
}

bool tun_relay_conflict(const struct tun_descriptor *a, const struct tun_descriptor *b) {
    if (memcmp(a->identity, b->identity, CV_KEY) == 0)
        return true;
    /* Mutual: otherwise anybody could keep a relay away from all others. */
    if (in_family(a, b) && in_family(b, a))
        return true;
    for (unsigned i = 0; i < a->addrs; i++) {
        for (unsigned k = 0; k < b->addrs; k++) {
            if (a->addr[i].family != b->addr[k].family)
                continue;
            unsigned bits = a->addr[i].family == 4 ? 16 : 32;
            if (cv_addr_common_bits(&a->addr[i], &b->addr[k]) >= bits)
                return true;
        }
    }
    return false;
}

bool tun_relay_meets(const struct tun_descriptor *a, const struct tun_descriptor *b) {
    for (unsigned i = 0; i < a->addrs; i++) {
        if (tun_descriptor_has_family(b, a->addr[i].family))
            return true;
    }
    return false;
}

/* Any descriptor of a relay will do to know its network and family. */
static const struct tun_descriptor *anything_of(const struct tun_directory *dir,
                                                const uint8_t identity[CV_KEY], uint32_t day) {
    const uint32_t days[] = {day, day - 1, day + 1};
    for (size_t i = 0; i < sizeof days / sizeof *days; i++) {
        const struct tun_relay *r = tun_directory_find(dir, identity, days[i]);
        if (r && r->raw_len > 0)
            return &r->desc;
    }
    return NULL;
}

static bool is_liar(const struct tun_directory *dir, const uint8_t identity[CV_KEY], uint32_t day) {
    for (uint32_t d = day - 1; d != day + 2; d++) {
        const struct tun_relay *r = tun_directory_find(dir, identity, d);
        if (r && r->liar)
            return true;
    }
    return false;
}

/* Do claims by `a` and `b` count as two, and each for r? Those of its addresses that neither
 * of them could reach they do not vouch for. */
static bool independent(const struct tun_directory *dir, const struct tun_relay *r,
                        const uint8_t a[CV_KEY], const uint8_t b[CV_KEY], uint8_t *ret_unvouched) {
    const struct tun_descriptor *da = anything_of(dir, a, r->desc.day);
    const struct tun_descriptor *db = anything_of(dir, b, r->desc.day);
    if (!da || !db || tun_relay_conflict(da, db) || tun_relay_conflict(da, &r->desc) ||
        tun_relay_conflict(db, &r->desc) || is_liar(dir, a, r->desc.day) ||
        is_liar(dir, b, r->desc.day))
        return false;
    *ret_unvouched = 0;
    for (unsigned i = 0; i < r->desc.addrs; i++) {
        uint8_t family = r->desc.addr[i].family;
        if (!tun_descriptor_has_family(da, family) || !tun_descriptor_has_family(db, family))
            *ret_unvouched |= (uint8_t)(1u << i);
    }
    return true;
}

static bool is_judged(const struct tun_relay *r) {
    return r->confirmed && !r->unvouched;
}

static void judge(const struct tun_directory *dir, struct tun_relay *r) {
    if (r->raw_len == 0 || is_judged(r))
        return;
    for (unsigned i = 0; i < r->claims; i++) {
        if (memcmp(r->claim[i].d, r->desc.digest, TUN_DIGEST) != 0)
            continue;
        for (unsigned k = 0; k < i; k++) {
            uint8_t unvouched;
            if (memcmp(r->claim[k].d, r->desc.digest, TUN_DIGEST) != 0 ||
                !independent(dir, r, r->claim[i].by, r->claim[k].by, &unvouched))
                continue;
            r->unvouched = r->confirmed ? r->unvouched & unvouched : unvouched;
            r->confirmed = true;
        }
    }
}

/* ---- liars ---- */

static bool lied_lately(const struct tun_directory *dir, const uint8_t identity[CV_KEY],
                        int64_t wall) {
    for (unsigned i = 0; i < TUN_LIARS_MAX; i++) {
        if (dir->liar[i].until > wall && memcmp(dir->liar[i].identity, identity, CV_KEY) == 0)
            return true;
    }
    return false;
}

/* Where the next one is written down. Anybody invents liars by the dozen: such a one gives its
 * place first, and one that was in use only to another that was. NULL: nowhere. */
static struct liar *liar_place(struct tun_directory *dir, int64_t wall, bool vouched) {
    struct liar *found = NULL;
    for (unsigned i = 0; i < TUN_LIARS_MAX; i++) {
        struct liar *l = &dir->liar[i];
        if (l->until <= wall)
            return l;
        if (l->vouched && !vouched)
            continue;
        if (!found || l->vouched < found->vouched ||
            (l->vouched == found->vouched && l->until < found->until))
            found = l;
    }
    return found;
}

/* It signed `raw` too. The first such pair is enough. */
static void convict(struct tun_directory *dir, int64_t wall, struct tun_relay *r, const void *raw,
                    size_t len) {
    if (!r->other && (r->other = malloc(len))) {
        memcpy(r->other, raw, len);
        r->other_len = (uint16_t)len;
    }
    bool vouched = r->confirmed || r->reached;
    struct liar *l =
        lied_lately(dir, r->desc.identity, wall) ? NULL : liar_place(dir, wall, vouched);
    if (l) {
        memcpy(l->identity, r->desc.identity, CV_KEY);
        l->until = wall + (int64_t)TUN_LIAR_DAYS * 86400;
        l->vouched = vouched;
    }
    for (uint32_t day = r->desc.day - 1; day != r->desc.day + 2; day++) {
        struct tun_relay *o = tun_directory_find(dir, r->desc.identity, day);
        if (o && o->raw_len > 0) { /* what it signed for the days around is as little worth */
            o->liar = true;
            o->disputed = o->accused = false;
        }
    }
}

bool tun_digest_is_proof(const uint8_t d[TUN_DIGEST]) {
    static const uint8_t zeros[TUN_DIGEST];
    return memcmp(d, zeros, TUN_DIGEST) == 0;
}

bool tun_relay_is_there(const struct tun_relay *r, unsigned i) {
    unsigned others = r->outside | (r->confirmed ? ~(unsigned)r->unvouched : 0);
    return r->raw_len > 0 && (r->reached & others) >> i & 1;
}

bool tun_relay_is_passed(const struct tun_relay *r) {
    for (unsigned i = 0; i < r->desc.addrs; i++) {
        if (r->tried >> i & 1 && !tun_relay_is_there(r, i))
            return false;
    }
    return r->raw_len > 0 && r->tried;
}

bool tun_relay_is_shown(const struct tun_relay *r) {
    return r->raw_len > 0 &&
           (r->liar ? r->other && (r->reached || r->confirmed) : tun_relay_is_passed(r));
}

enum cv_err tun_directory_add(struct tun_directory *dir, int64_t wall, const void *raw, size_t len,
                              struct tun_relay **ret, uint32_t *ret_day) {
    struct tun_descriptor desc;
    enum cv_err err = tun_descriptor_open(raw, len, dir->network_id, &desc);
    if (err)
        return err == CV_ERR_DIFFERS ? CV_ERR_DENIED : err;
    if (ret_day)
        *ret_day = desc.day;
    if (!tun_descriptor_is_current(desc.day, wall))
        return CV_ERR_STALE;

    struct tun_relay *r = tun_directory_find(dir, desc.identity, desc.day);
    if (!r)
        err = entry_new(dir, wall, desc.identity, desc.day, &r);
    if (err)
        return err;
    if (ret)
        *ret = r;
    if (r->raw_len > 0) {
        if (memcmp(r->desc.digest, desc.digest, TUN_DIGEST) == 0)
            return CV_ERR_EXIST;
        bool told = r->liar && r->other;
        convict(dir, wall, r, raw, len);
        return told ? CV_ERR_EXIST : CV_ERR_DIFFERS;
    }
    bare_remove(dir, r);
    r->desc = desc;
    inherit(dir, r);
    for (unsigned i = 0; i < desc.addrs; i++) {
        if (!dir->family || desc.addr[i].family == dir->family)
            r->tried |= (uint8_t)(1u << i);
    }
    memcpy(r->raw, raw, len);
    r->raw_len = (uint16_t)len;
    r->liar = lied_lately(dir, desc.identity, wall);
    for (unsigned i = 0; i < r->claims; i++) {
        if (memcmp(r->claim[i].d, desc.digest, TUN_DIGEST) != 0) {
            r->disputed = true;
            memcpy(r->disputed_by, r->claim[i].by, CV_KEY);
        }
    }
    judge(dir, r);
    return CV_ERR_OK;
}

/* Would what was asked through this relay's hands be its own invention? */
static bool interested(const struct tun_directory *dir, const struct tun_relay *r,
                       const uint8_t relay[CV_KEY]) {
    const struct tun_descriptor *d = anything_of(dir, relay, r->desc.day);
    if (memcmp(relay, r->desc.identity, CV_KEY) == 0)
        return true;
    return d && r->raw_len > 0 && tun_relay_conflict(d, &r->desc);
}

static void claim_store(struct tun_relay *r, const uint8_t d[TUN_DIGEST],
                        const uint8_t by[CV_KEY]) {
    for (unsigned i = 0; i < r->claims; i++) {
        if (memcmp(r->claim[i].by, by, CV_KEY) == 0) {
            memcpy(r->claim[i].d, d, TUN_DIGEST);
            return;
        }
    }
    /* Full: the oldest goes, so that nobody can fill the row for good. */
    struct tun_claim *c = &r->claim[r->claim_next];
    r->claim_next = (uint8_t)((r->claim_next + 1) % TUN_CLAIMS_MAX);
    if (r->claims < TUN_CLAIMS_MAX)
        r->claims++;
    memcpy(c->by, by, CV_KEY);
    memcpy(c->d, d, TUN_DIGEST);
}

enum cv_err tun_directory_claim(struct tun_directory *dir, int64_t wall,
                                const uint8_t identity[CV_KEY], uint32_t day,
                                const uint8_t d[TUN_DIGEST], const uint8_t by[CV_KEY],
                                const uint8_t (*path)[CV_KEY], size_t n) {
    if (!tun_descriptor_is_current(day, wall))
        return CV_ERR_STALE;
    if (!anything_of(dir, by, day))
        return CV_ERR_NOENT;
    struct tun_relay *r;
    enum cv_err err = entry_named(dir, wall, identity, day, by, &r);
    if (err)
        return err;
    if (r->raw_len > 0 && memcmp(r->desc.digest, d, TUN_DIGEST) != 0) {
        if (!r->liar) {
            r->disputed = true;
            r->accused = tun_digest_is_proof(d);
            memcpy(r->disputed_by, by, CV_KEY);
        }
        return CV_ERR_DIFFERS;
    }
    if (is_judged(r) || interested(dir, r, by))
        return CV_ERR_OK;
    for (size_t i = 0; i < n; i++) {
        if (interested(dir, r, path[i]))
            return CV_ERR_OK;
    }
    r->accused |= r->raw_len == 0 && tun_digest_is_proof(d);
    claim_store(r, d, by);
    judge(dir, r);
    return CV_ERR_OK;
}

/* ---- capacities ---- */

/* The lower median of reports by relays that have nothing to do with each other. */
static uint32_t agreed(const struct tun_directory *dir, const struct tun_relay *r) {
    const struct tun_descriptor *kept[TUN_REPORTS_MAX];
    uint32_t kib[TUN_REPORTS_MAX];
    size_t n = 0;
    for (unsigned i = 0; i < r->reports; i++) {
        const struct tun_descriptor *by = anything_of(dir, r->report[i].by, r->desc.day);
        bool counts = by && !is_liar(dir, r->report[i].by, r->desc.day);
        for (size_t k = 0; k < n && counts; k++)
            counts = !tun_relay_conflict(by, kept[k]);
        if (!counts)
            continue;
        kept[n] = by;
        kib[n++] = tun_capacity_kib(r->report[i].code);
    }
    return n >= TUN_REPORTS_MIN ? tun_capacity_median(kib, n) : 0;
}

static void report(const struct tun_directory *dir, struct tun_relay *r, uint8_t code,
                   const uint8_t by[CV_KEY]) {
    unsigned at = 0;
    while (at < r->reports && memcmp(r->report[at].by, by, CV_KEY) != 0)
        at++;
    if (at == r->reports) {
        at = r->report_next;
        r->report_next = (uint8_t)((r->report_next + 1) % TUN_REPORTS_MAX);
        if (r->reports < TUN_REPORTS_MAX)
            r->reports++;
        memcpy(r->report[at].by, by, CV_KEY);
    }
    r->report[at].code = code;
    r->capacity = agreed(dir, r);
}

void tun_directory_report(struct tun_directory *dir, uint32_t day, const uint8_t prefix[8],
                          uint8_t code, const uint8_t by[CV_KEY]) {
    void *cursor = NULL;
    struct tun_relay *r;
    if (code == 0 || !anything_of(dir, by, day))
        return;
    while ((r = cv_map_next(dir->relays, &cursor, NULL))) {
        if (r->desc.day == day && r->raw_len > 0 && memcmp(r->desc.identity, prefix, 8) == 0 &&
            !interested(dir, r, by))
            report(dir, r, code, by);
    }
}

uint32_t tun_relay_weight(const struct tun_relay *r) {
    uint32_t kib = r->capacity ? r->capacity : TUN_UNMEASURED;
    return r->desc.bandwidth && r->desc.bandwidth < kib ? r->desc.bandwidth : kib;
}

static bool is_proved_liar(const struct tun_relay *r, uint32_t day) {
    return r->desc.day == day && r->liar && tun_relay_is_shown(r);
}

static bool matches(const struct tun_relay *r, uint32_t day, enum tun_directory_which which) {
    if (r->desc.day != day || r->liar)
        return false;
    switch (which) {
    case TUN_DIRECTORY_KNOWN:
        return r->raw_len > 0;
    case TUN_DIRECTORY_REACHED:
        return r->raw_len > 0 && r->reached;
    case TUN_DIRECTORY_PASSED:
        return tun_relay_is_passed(r);
    case TUN_DIRECTORY_CONFIRMED:
        return r->raw_len > 0 && r->confirmed;
    }
    return false;
}

static int by_identity(const void *a, const void *b) {
    const struct tun_relay *const *x = a, *const *y = b;
    return memcmp((*x)->desc.identity, (*y)->desc.identity, CV_KEY);
}

static size_t list_if(const struct tun_directory *dir, uint32_t day, enum tun_directory_which which,
                      bool liars, struct tun_relay **ret, size_t cap) {
    void *cursor = NULL;
    struct tun_relay *r;
    size_t n = 0;
    while (n < cap && (r = cv_map_next(dir->relays, &cursor, NULL))) {
        if (matches(r, day, which) || (liars && is_proved_liar(r, day)))
            ret[n++] = r;
    }
    if (n > 1)
        qsort(ret, n, sizeof(struct tun_relay *), by_identity);
    return n;
}

size_t tun_directory_list(const struct tun_directory *dir, uint32_t day,
                          enum tun_directory_which which, struct tun_relay **ret, size_t cap) {
    return list_if(dir, day, which, /* liars= */ false, ret, cap);
}

size_t tun_directory_count(const struct tun_directory *dir, uint32_t day,
                           enum tun_directory_which which) {
    void *cursor = NULL;
    struct tun_relay *r;
    size_t n = 0;
    while ((r = cv_map_next(dir->relays, &cursor, NULL)))
        n += matches(r, day, which);
    return n;
}

/* Over a link or circuit to itself a relay is asked for what it claimed, and for its own, of
 * which it claims nothing. */
static bool is_missing(const struct tun_relay *r, const uint8_t source[CV_KEY]) {
    if (r->raw_len > 0)
        return r->disputed && memcmp(r->disputed_by, source, CV_KEY) == 0;
    if (memcmp(r->named_by, source, CV_KEY) == 0 && memcmp(r->desc.identity, source, CV_KEY) == 0)
        return true;
    for (unsigned i = 0; i < r->claims; i++) {
        if (memcmp(r->claim[i].by, source, CV_KEY) == 0)
            return true;
    }
    return false;
}

uint8_t tun_directory_dht_family(const struct tun_directory *dir, uint32_t day) {
    size_t four = 0, six = 0;
    void *cursor = NULL;
    const struct tun_relay *r;
    while ((r = cv_map_next(dir->relays, &cursor, NULL))) {
        if (r->desc.day != day || r->liar || !r->confirmed || !(r->desc.flags & TUN_RELAY_DHT))
            continue;
        four += tun_descriptor_has_family(&r->desc, 4);
        six += tun_descriptor_has_family(&r->desc, 6);
    }
    return six > four ? 6 : 4;
}

size_t tun_directory_missing(const struct tun_directory *dir, uint32_t day,
                             const uint8_t source[CV_KEY], struct tun_relay **ret, size_t cap) {
    void *cursor = NULL;
    struct tun_relay *r;
    size_t n = 0;
    while (n < cap && (r = cv_map_next(dir->relays, &cursor, NULL))) {
        if (r->desc.day == day && !r->liar && is_missing(r, source))
            ret[n++] = r;
    }
    return n;
}

ssize_t tun_directory_bucket(const struct tun_directory *dir, uint32_t day, unsigned level,
                             uint16_t bucket, enum tun_directory_which which, size_t from,
                             uint8_t ret_hash[16], uint16_t *ret_total, struct tun_pair *ret_pairs,
                             size_t cap) {
    size_t max = cv_map_count(dir->relays), total = 0;
    struct tun_relay **all = calloc(max + 1, sizeof(struct tun_relay *));
    struct tun_pair *pairs = calloc(max + 1, sizeof *pairs);
    if (all && pairs) {
        max = list_if(dir, day, which, /* liars= */ true, all, max);
        for (size_t i = 0; i < max; i++) {
            if (tun_relay_bucket(all[i]->desc.identity, day, level) != bucket)
                continue;
            memcpy(pairs[total].identity, all[i]->desc.identity, CV_KEY);
            if (!all[i]->liar) /* else zeros */
                memcpy(pairs[total].d, all[i]->desc.digest, TUN_DIGEST);
            total++;
        }
    }
    ssize_t written = all && pairs ? 0 : CV_ERR_NOMEM;
    if (written == 0) {
        static_assert(sizeof(struct tun_pair) == CV_KEY + TUN_DIGEST, "hashed as octets");
        CV_BLAKE2B(ret_hash, 16, NULL, 0, {pairs, total * sizeof *pairs});
        *ret_total = (uint16_t)total;
        for (size_t i = from; i < total && (size_t)written < cap; i++)
            ret_pairs[written++] = pairs[i];
    }
    free(all);
    free(pairs);
    return written;
}

void tun_directory_expire(struct tun_directory *dir, int64_t wall) {
    void *cursor = NULL;
    struct tun_relay *r;
    while ((r = cv_map_next(dir->relays, &cursor, NULL))) {
        bool old = r->raw_len == 0 && (wall < r->first_seen || wall - r->first_seen > TUN_BARE_S);
        if (old || !tun_descriptor_is_current(r->desc.day, wall))
            forget(dir, r);
    }
}

void tun_relay_ref_fill(struct tun_relay_ref *ret, const struct tun_relay *r, int64_t wall) {
    assert(r->raw_len > 0);
    tun_descriptor_ref(&r->desc, wall, ret);
    memset(ret->addr, 0, sizeof ret->addr);
    size_t n = 0;
    bool answered = r->reached && r->reached_at.family;
    if (answered)
        ret->addr[n++] = r->reached_at;
    for (unsigned i = 0; i < r->desc.addrs && n < 2; i++) {
        if (!((answered ? r->reached : r->tried) >> i & 1) ||
            (answered && cv_addr_equal(&r->desc.addr[i], &r->reached_at)))
            continue;
        ret->addr[n++] = r->desc.addr[i];
    }
}
