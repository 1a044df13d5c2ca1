#include "tunnel/guard.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "crypto/hash.h"
#include "tunnel/path.h"

#define DAY_S 86400

unsigned tun_guards_seconds(size_t n) {
    size_t quarter = n / 4;
    return quarter < 2 ? 2 : quarter > TUN_SECOND_MAX ? TUN_SECOND_MAX : (unsigned)quarter;
}

static bool is(const struct tun_guard *g, const uint8_t identity[CV_KEY]) {
    return g->set && memcmp(g->identity, identity, CV_KEY) == 0;
}

bool tun_guards_is_first(const struct tun_guards *g, const uint8_t identity[CV_KEY]) {
    for (unsigned i = 0; i < TUN_GUARD_FIRSTS; i++) {
        if (is(&g->first[i], identity))
            return true;
    }
    return false;
}

bool tun_guards_is_second(const struct tun_guards *g, const uint8_t identity[CV_KEY]) {
    for (unsigned i = 0; i < TUN_SECOND_MAX; i++) {
        if (is(&g->second[i], identity))
            return true;
    }
    return false;
}

struct tun_guard *tun_guards_find_first(struct tun_guards *g, const uint8_t identity[CV_KEY]) {
    for (unsigned i = 0; i < TUN_GUARD_FIRSTS; i++) {
        if (is(&g->first[i], identity))
            return &g->first[i];
    }
    return NULL;
}

static struct tun_guard *find_contact(struct tun_guards *g, const uint8_t identity[CV_KEY]) {
    for (unsigned i = 0; i < TUN_CONTACTS_WANTED; i++) {
        if (is(&g->contact[i], identity))
            return &g->contact[i];
    }
    return NULL;
}

struct tun_guard *tun_guards_find_sampled(struct tun_guards *g, const uint8_t identity[CV_KEY]) {
    struct tun_guard *first = tun_guards_find_first(g, identity);
    return first ? first : find_contact(g, identity);
}

unsigned tun_guards_sampled(const struct tun_guards *g) {
    unsigned n = 0;
    for (unsigned i = 0; i < TUN_GUARD_FIRSTS; i++)
        n += g->first[i].set;
    for (unsigned i = 0; i < TUN_CONTACTS_WANTED; i++)
        n += g->contact[i].set;
    return n;
}

static bool is_over(const struct tun_guard *g, int64_t wall) {
    return g->set && !g->up && wall >= g->until;
}

unsigned tun_guards_over(const struct tun_guards *g, int64_t wall) {
    unsigned n = 0;
    for (unsigned i = 0; i < TUN_GUARD_FIRSTS; i++)
        n += is_over(&g->first[i], wall);
    for (unsigned i = 0; i < TUN_CONTACTS_WANTED; i++)
        n += is_over(&g->contact[i], wall);
    return n;
}

bool tun_guards_drop_contact(struct tun_guards *g, const uint8_t identity[CV_KEY]) {
    struct tun_guard *c = find_contact(g, identity);
    if (c)
        memset(c, 0, sizeof *c);
    return c != NULL;
}

static bool is_dismissed(const struct tun_guards *g, const uint8_t identity[CV_KEY], int64_t wall) {
    return wall < g->dismissed_until && memcmp(g->dismissed, identity, CV_KEY) == 0;
}

static int64_t days(const struct cv_rng *rng, unsigned lo, unsigned hi) {
    return (int64_t)cv_rng_between(rng, (uint64_t)lo * DAY_S, (uint64_t)hi * DAY_S);
}

static void place(struct tun_guard *g, const struct tun_relay *r, int64_t wall, int64_t life) {
    *g = (struct tun_guard){.set = true, .chosen = wall, .until = wall + life};
    memcpy(g->identity, r->desc.identity, CV_KEY);
}

/* May `r` stand beside the first hops there are? */
static bool first_fits(const struct tun_guards *g, const struct tun_directory *dir,
                       const struct tun_relay *r, int64_t wall) {
    if (r->liar || r->ours || tun_guards_is_second(g, r->desc.identity) ||
        is_dismissed(g, r->desc.identity, wall))
        return false;
    for (unsigned i = 0; i < TUN_GUARD_FIRSTS; i++) {
        if (!g->first[i].set)
            continue;
        if (is(&g->first[i], r->desc.identity))
            return false;
        const struct tun_relay *other = tun_directory_find_now(dir, g->first[i].identity, wall);
        if (other && tun_relay_conflict(&other->desc, &r->desc))
            return false;
    }
    return true;
}

bool tun_guards_sample(struct tun_guards *g, const struct tun_relay *r, const struct cv_addr *addr,
                       const struct tun_directory *dir, int64_t wall, const struct cv_rng *rng,
                       bool *changed) {
    if (tun_guards_find_sampled(g, r->desc.identity))
        return true;
    if (r->ours || tun_guards_sampled(g) - tun_guards_over(g, wall) >= TUN_CONTACTS_WANTED ||
        is_dismissed(g, r->desc.identity, wall))
        return false;
    struct tun_guard *room = NULL;
    for (unsigned i = 0; i < TUN_GUARD_FIRSTS + TUN_CONTACTS_WANTED; i++) {
        struct tun_guard *e =
            i < TUN_GUARD_FIRSTS ? &g->first[i] : &g->contact[i - TUN_GUARD_FIRSTS];
        const struct tun_relay *other =
            e->set ? tun_directory_find_now(dir, e->identity, wall) : NULL;
        if (other && tun_relay_conflict(&other->desc, &r->desc))
            return false;
        if (i >= TUN_GUARD_FIRSTS && (!e->set || (is_over(e, wall) && !room)))
            room = room && !room->set ? room : e;
    }
    assert(room);
    place(room, r, wall, days(rng, TUN_GUARD_DAYS_MIN, TUN_GUARD_DAYS_MAX));
    tun_guard_answered_at(room, addr, &r->desc);
    *changed = true;
    return true;
}

/* Since when we know this relay: whom we drew into the sample, since then at least,
 * which a restart does not forget. */
static int64_t known_since(struct tun_guards *g, const struct tun_relay *r) {
    const struct tun_guard *s = tun_guards_find_sampled(g, r->desc.identity);
    return s && s->chosen < r->first_seen ? s->chosen : r->first_seen;
}

bool tun_guards_choose_first(struct tun_guards *g, const struct tun_guard_contact *contacts,
                             size_t count, size_t n, const struct tun_directory *dir, int64_t wall,
                             const struct cv_rng *rng) {
    unsigned want = n >= TUN_SPARE_FROM ? TUN_GUARD_FIRSTS : TUN_GUARD_SPARE;
    bool changed = false;
    for (unsigned i = 0; i < want; i++) {
        if (g->first[i].set)
            continue;
        struct tun_relay *fit[TUN_CONTACTS_MAX];
        size_t fits = 0;
        /* Known for a week first: an attacker's new relays must wait. */
        for (int known = 1; known >= 0 && fits == 0; known--) {
            for (size_t k = 0; k < count && fits < TUN_CONTACTS_MAX; k++) {
                const struct tun_relay *r = contacts[k].relay;
                if (known && known_since(g, r) > wall - (int64_t)TUN_GUARD_KNOWN_DAYS * DAY_S)
                    continue;
                if (first_fits(g, dir, r, wall))
                    fit[fits++] = tun_directory_find(dir, r->desc.identity, r->desc.day);
            }
        }
        if (fits == 0)
            break;
        const struct tun_relay *r = tun_path_pick(fit, fits, rng);
        place(&g->first[i], r, wall, days(rng, TUN_GUARD_DAYS_MIN, TUN_GUARD_DAYS_MAX));
        for (size_t k = 0; k < count; k++) {
            if (memcmp(contacts[k].relay->desc.identity, r->desc.identity, CV_KEY) == 0)
                tun_guard_answered_at(&g->first[i], &contacts[k].addr, &r->desc);
        }
        (void)tun_guards_drop_contact(g, r->desc.identity);
        changed = true;
    }
    return changed;
}

/* 2: in conflict with no first hop and no other L; 1: with not all first hops; 0: unusable.
 * A first hop without an address of its families could not have a link to it. */
static unsigned second_fits(const struct tun_guards *g, const struct tun_directory *dir,
                            const struct tun_relay *r, int64_t wall) {
    if (r->ours || tun_guards_is_first(g, r->desc.identity) ||
        tun_guards_is_second(g, r->desc.identity))
        return 0;
    unsigned clashes = 0, firsts = 0;
    for (unsigned i = 0; i < TUN_GUARD_FIRSTS; i++) {
        if (!g->first[i].set)
            continue;
        const struct tun_relay *other = tun_directory_find_now(dir, g->first[i].identity, wall);
        bool clash = other && (tun_relay_conflict(&other->desc, &r->desc) ||
                               !tun_relay_meets(&other->desc, &r->desc));
        firsts += i < TUN_GUARD_SPARE;
        clashes += clash && i < TUN_GUARD_SPARE;
    }
    if (clashes > 0 && clashes == firsts)
        return 0;
    for (unsigned i = 0; i < TUN_SECOND_MAX; i++) {
        const struct tun_relay *other =
            g->second[i].set ? tun_directory_find_now(dir, g->second[i].identity, wall) : NULL;
        clashes += other && tun_relay_conflict(&other->desc, &r->desc);
    }
    return clashes ? 1 : 2;
}

bool tun_guards_choose_second(struct tun_guards *g, const struct tun_directory *dir, int64_t wall,
                              const struct cv_rng *rng) {
    uint32_t day = tun_descriptor_day(wall);
    size_t n = tun_directory_count(dir, day, TUN_DIRECTORY_CONFIRMED);
    unsigned want = tun_guards_seconds(n), have = 0;
    for (unsigned i = 0; i < TUN_SECOND_MAX; i++)
        have += g->second[i].set;
    if (have >= want || n == 0)
        return false;

    struct tun_relay **all = calloc(n, sizeof(struct tun_relay *));
    struct tun_relay **fit = calloc(n, sizeof(struct tun_relay *));
    bool changed = false;
    n = all && fit ? tun_directory_list(dir, day, TUN_DIRECTORY_CONFIRMED, all, n) : 0;
    for (unsigned i = 0; i < TUN_SECOND_MAX && have < want; i++) {
        if (g->second[i].set)
            continue;
        size_t fits = 0;
        for (unsigned grade = 2; grade > 0 && fits == 0; grade--) {
            for (size_t k = 0; k < n; k++) {
                if (second_fits(g, dir, all[k], wall) == grade)
                    fit[fits++] = all[k];
            }
        }
        if (fits == 0)
            break;
        /* The larger of two draws: a short-lived L is rare, a predictable end
         * is none. */
        int64_t life = days(rng, TUN_SECOND_DAYS_MIN, TUN_SECOND_DAYS_MAX);
        int64_t other = days(rng, TUN_SECOND_DAYS_MIN, TUN_SECOND_DAYS_MAX);
        place(&g->second[i], tun_path_pick(fit, fits, rng), wall, life > other ? life : other);
        have++;
        changed = true;
    }
    free(all);
    free(fit);
    return changed;
}

/* No path begins with one that is proved to lie, which nobody but itself can make it. */
static bool lied(const struct tun_directory *dir, const struct tun_guard *g, int64_t wall) {
    const struct tun_relay *r = tun_directory_find_now(dir, g->identity, wall);
    return r && r->liar;
}

/* All that lie; else one contact at most, when none was drawn for a day. */
static bool contacts_retire(struct tun_guards *g, const struct tun_directory *dir, int64_t wall) {
    struct tun_guard *worst = NULL;
    bool liars = false;
    for (unsigned i = 0; i < TUN_CONTACTS_WANTED; i++) {
        struct tun_guard *c = &g->contact[i];
        if (c->set && lied(dir, c, wall)) {
            memset(c, 0, sizeof *c);
            liars = true;
        }
    }
    for (unsigned i = 0; i < TUN_CONTACTS_WANTED && !liars; i++) {
        struct tun_guard *c = &g->contact[i];
        if (!c->set)
            continue;
        if (wall - c->chosen < DAY_S)
            return false;
        bool silent = c->silent_since && wall - c->silent_since > DAY_S;
        if (wall >= c->until || silent)
            worst = c;
    }
    if (worst)
        memset(worst, 0, sizeof *worst);
    return liars || worst;
}

/* ---- which let too little through ---- */

bool tun_guard_counted(struct tun_guard *g, bool through) {
    if (g->begun == TUN_GUARD_CIRCUITS_MAX) {
        g->begun /= 2;
        g->through /= 2;
    }
    g->begun++;
    g->through += through;
    return g->begun % TUN_GUARD_SAVED_EVERY == 0;
}

/* In ten thousandths. */
static uint32_t share(const struct tun_guard *g) {
    return g->through * UINT32_C(10000) / g->begun;
}

bool tun_guards_is_poor(const struct tun_guards *g, unsigned i) {
    uint32_t of[TUN_GUARD_FIRSTS], n = 0;
    if (!g->first[i].set || g->first[i].begun < TUN_GUARD_CIRCUITS)
        return false;
    for (unsigned k = 0; k < TUN_GUARD_FIRSTS; k++) {
        if (!g->first[k].set || g->first[k].begun < TUN_GUARD_CIRCUITS)
            continue;
        uint32_t s = share(&g->first[k]), at = n++;
        for (; at > 0 && of[at - 1] > s; at--)
            of[at] = of[at - 1];
        of[at] = s;
    }
    if (n < 2)
        return false;
    uint32_t median = (of[(n - 1) / 2] + of[n / 2]) / 2;
    return share(&g->first[i]) * 100 < median * TUN_GUARD_POOR_PERCENT;
}

static void dismiss(struct tun_guards *g, const struct tun_guard *f, int64_t wall) {
    memcpy(g->dismissed, f->identity, CV_KEY);
    g->dismissed_until = wall + (int64_t)TUN_GUARD_DISMISSED_DAYS * DAY_S;
}

bool tun_guards_retire(struct tun_guards *g, const struct tun_directory *dir, bool complete,
                       int64_t wall) {
    bool changed = contacts_retire(g, dir, wall);
    for (unsigned i = 0; i < TUN_GUARD_FIRSTS; i++) {
        struct tun_guard *f = &g->first[i];
        if (!f->set)
            continue;
        bool silent = f->silent_since && wall - f->silent_since > DAY_S;
        bool may = wall - g->replaced_at > 7 * DAY_S;
        bool poor = tun_guards_is_poor(g, i), liar = lied(dir, f, wall);
        if (wall >= f->until || liar || ((silent || poor) && may)) {
            if (poor || liar)
                dismiss(g, f, wall);
            if (wall < f->until && !liar)
                g->replaced_at = wall;
            memset(f, 0, sizeof *f);
            changed = true;
        }
    }
    for (unsigned i = 0; i < TUN_SECOND_MAX && complete; i++) {
        struct tun_guard *s = &g->second[i];
        if (!s->set)
            continue;
        const struct tun_relay *r = tun_directory_find_now(dir, s->identity, wall);
        if (wall >= s->until || !r || r->liar || r->ours) {
            memset(s, 0, sizeof *s);
            changed = true;
        }
    }
    return changed;
}

void tun_guard_answered_at(struct tun_guard *g, const struct cv_addr *addr,
                           const struct tun_descriptor *desc) {
    g->addr = *addr;
    memset(&g->addr_too, 0, sizeof g->addr_too);
    for (unsigned i = 0; i < desc->addrs && !g->addr_too.family; i++) {
        if (desc->addr[i].family != addr->family)
            g->addr_too = desc->addr[i];
    }
}

void tun_guard_heard(struct tun_guard *g) {
    g->silent_since = 0;
    g->shunned_until = 0;
}

void tun_guard_silent(struct tun_guard *g, int64_t wall) {
    if (g->silent_since == 0 || g->silent_since > wall) /* by a clock that was ahead */
        g->silent_since = wall;
}

/* 1: without contacts; 2: nothing counted; 3: one address each */
static const char magic[4] = {'C', 'V', 'G', '4'};

/* Places of the saved form. */
static struct tun_guard *at_place(struct tun_guards *g, unsigned i) {
    if (i < TUN_GUARD_FIRSTS)
        return &g->first[i];
    i -= TUN_GUARD_FIRSTS;
    return i < TUN_SECOND_MAX ? &g->second[i] : &g->contact[i - TUN_SECOND_MAX];
}

static void address_write(struct cv_wr *w, const struct cv_addr *a) {
    cv_wr_u8(w, a->family);
    cv_wr_bytes(w, a->ip, sizeof a->ip);
    cv_wr_le16(w, a->port);
}

static void address_read(struct cv_rd *r, struct cv_addr *ret) {
    ret->family = cv_rd_u8(r);
    cv_rd_copy(r, ret->ip, sizeof ret->ip);
    ret->port = cv_rd_le16(r);
}

size_t tun_guards_save(const struct tun_guards *g, uint8_t out[TUN_GUARDS_BLOB_MAX]) {
    struct cv_wr w = cv_wr_init(out, TUN_GUARDS_BLOB_MAX);
    cv_wr_bytes(&w, magic, sizeof magic);
    cv_wr_le64(&w, (uint64_t)g->replaced_at);
    cv_wr_bytes(&w, g->dismissed, CV_KEY);
    cv_wr_le64(&w, (uint64_t)g->dismissed_until);
    uint8_t *count = cv_wr_skip(&w, 1);
    *count = 0;
    struct tun_guards copy = *g;
    for (unsigned i = 0; i < TUN_GUARD_PLACES; i++) {
        const struct tun_guard *e = at_place(&copy, i);
        if (!e->set)
            continue;
        (*count)++;
        cv_wr_u8(&w, (uint8_t)i);
        cv_wr_bytes(&w, e->identity, CV_KEY);
        cv_wr_le64(&w, (uint64_t)e->chosen);
        cv_wr_le64(&w, (uint64_t)e->until);
        cv_wr_le64(&w, (uint64_t)e->silent_since);
        address_write(&w, &e->addr);
        cv_wr_le16(&w, e->begun);
        cv_wr_le16(&w, e->through);
        address_write(&w, &e->addr_too);
    }
    uint8_t hash[16];
    CV_BLAKE2B(hash, sizeof hash, NULL, 0, {out, cv_wr_len(&w)});
    cv_wr_bytes(&w, hash, sizeof hash);
    assert(!w.err);
    return cv_wr_len(&w);
}

static bool entry_read(struct cv_rd *r, struct tun_guards *g, char version) {
    unsigned at = cv_rd_u8(r);
    struct tun_guard e = {.set = true};
    cv_rd_copy(r, e.identity, CV_KEY);
    e.chosen = (int64_t)cv_rd_le64(r);
    e.until = (int64_t)cv_rd_le64(r);
    e.silent_since = (int64_t)cv_rd_le64(r);
    address_read(r, &e.addr);
    if (version >= '3') {
        e.begun = cv_rd_le16(r);
        e.through = cv_rd_le16(r);
    }
    if (version >= '4')
        address_read(r, &e.addr_too);
    if (r->err || at >= TUN_GUARD_PLACES || e.through > e.begun || e.begun > TUN_GUARD_CIRCUITS_MAX)
        return false;
    bool sampled = at < TUN_GUARD_FIRSTS || at >= TUN_GUARD_FIRSTS + TUN_SECOND_MAX;
    if (sampled ? e.addr.family != 4 && e.addr.family != 6 : e.addr.family != 0)
        return false;
    if (e.addr_too.family && e.addr.family + e.addr_too.family != 4 + 6)
        return false;
    /* A contact may stand behind our guards too. */
    if (tun_guards_find_sampled(g, e.identity) ||
        (tun_guards_is_second(g, e.identity) && at < TUN_GUARD_FIRSTS + TUN_SECOND_MAX))
        return false;
    struct tun_guard *slot = at_place(g, at);
    if (slot->set)
        return false;
    *slot = e;
    return true;
}

enum cv_err tun_guards_load(struct tun_guards *ret, const void *blob, size_t len) {
    const uint8_t *p = blob;
    if (len < sizeof magic + 8 + 1 + 16 || len > TUN_GUARDS_BLOB_MAX)
        return CV_ERR_CORRUPT;
    if (memcmp(p, magic, 3) == 0 && (p[3] < '1' || p[3] > (uint8_t)magic[3]))
        return CV_ERR_VERSION;
    uint8_t hash[16];
    CV_BLAKE2B(hash, sizeof hash, NULL, 0, {p, len - 16});
    if (memcmp(p, magic, 3) != 0 || !cv_equal(hash, p + len - 16, 16))
        return CV_ERR_CORRUPT;

    struct tun_guards g = {0};
    struct cv_rd r = cv_rd_init(p + sizeof magic, len - sizeof magic - 16);
    char version = (char)p[3];
    g.replaced_at = (int64_t)cv_rd_le64(&r);
    if (version >= '3') {
        cv_rd_copy(&r, g.dismissed, CV_KEY);
        g.dismissed_until = (int64_t)cv_rd_le64(&r);
    }
    unsigned count = cv_rd_u8(&r);
    for (unsigned i = 0; i < count; i++) {
        if (!entry_read(&r, &g, version))
            return CV_ERR_CORRUPT;
    }
    if (r.err || cv_rd_left(&r) > 0)
        return CV_ERR_CORRUPT;
    *ret = g;
    return CV_ERR_OK;
}
