/*
 * What strangers say about relays, and what we make of it (tunnel/directory.h,
 * tunnel/guard.h, tunnel/path.h). Input: one octet that chooses. Even: a saved
 * blob of guards, as it is or with its hash mended. Odd: a script of
 * descriptors (signed here by one of 16 identities, with addresses, families
 * and flags of the script), claims, days passing, choices of guards and paths.
 * Property: a blob that loads is saved as a blob that loads to the same; every
 * path that is chosen keeps every rule; nobody is confirmed by less than two.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/cursor.h"
#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "tunnel/directory.h"
#include "tunnel/guard.h"
#include "tunnel/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DAY  20600
#define NODE 16

static void blob(const uint8_t *data, size_t size, bool mend) {
    uint8_t buf[TUN_GUARDS_BLOB_MAX + 40], again[TUN_GUARDS_BLOB_MAX];
    struct tun_guards g, back;
    if (size > sizeof buf || size < 16)
        return;
    memcpy(buf, data, size);
    if (mend)
        CV_BLAKE2B(buf + size - 16, 16, NULL, 0, {buf, size - 16});
    if (tun_guards_load(&g, buf, size))
        return;
    size_t len = tun_guards_save(&g, again);
    assert(buf[3] == again[3] ? len == size : len > size); /* older versions hold less */
    assert(tun_guards_load(&back, again, len) == CV_ERR_OK);
    uint8_t third[TUN_GUARDS_BLOB_MAX];
    assert(tun_guards_save(&back, third) == len);
    assert(memcmp(again, third, len) == 0);
}

struct world {
    struct cv_rng rng;
    struct tun_directory *dir;
    struct tun_guards guards;
    struct tun_refusals refusals;
    struct cv_ed25519_secret identity[NODE];
    int64_t wall;
};

static void add(struct world *w, struct cv_rd *r) {
    struct tun_descriptor d = {.suites = 1, .day = tun_descriptor_day(w->wall)};
    unsigned who = cv_rd_u8(r) % NODE, more = cv_rd_u8(r);
    d.flags = (uint16_t)(cv_rd_u8(r) | TUN_RELAY_RELAY);
    d.day += more >> 7;
    d.bandwidth = cv_rd_u8(r);
    d.addrs = 1;
    d.addr[0] = (struct cv_addr){.family = more & 1 ? 6 : 4, .port = 9};
    d.addr[0].ip[0] = 20;
    d.addr[0].ip[1] = cv_rd_u8(r);
    d.addr[0].ip[4] = d.addr[0].family == 6 ? (uint8_t)who : 0;
    for (unsigned i = 0; i < (more >> 1 & 3); i++)
        memcpy(d.family[d.families++], w->identity[cv_rd_u8(r) % NODE].public_key, CV_KEY);
    memcpy(d.network_id, "testnet", 8);
    uint8_t raw[TUN_DESCRIPTOR_MAX];
    ssize_t len = tun_descriptor_sign(&d, &w->identity[who], raw, sizeof raw);
    assert(len > 0);
    if (more & 64)
        raw[cv_rd_u8(r)] ^= 1;
    struct tun_relay *relay = NULL;
    enum cv_err err = tun_directory_add(w->dir, w->wall, raw, (size_t)len, &relay, NULL);
    if (err == CV_ERR_DIFFERS) {
        assert(tun_descriptor_is_proof(relay->raw, relay->raw_len, relay->other, relay->other_len,
                                       (const uint8_t *)"testnet"));
        assert(relay->liar);
    }
}

static void claim(struct world *w, struct cv_rd *r) {
    unsigned by = cv_rd_u8(r), of = cv_rd_u8(r);
    uint32_t day = tun_descriptor_day(w->wall);
    uint8_t d[TUN_DIGEST] = {(uint8_t)of}, path[1][CV_KEY];
    const uint8_t *identity = w->identity[of % NODE].public_key;
    const struct tun_relay *relay = tun_directory_find(w->dir, identity, day);
    if (relay && relay->raw_len > 0 && !(by & 128))
        memcpy(d, relay->desc.digest, sizeof d);
    memcpy(path[0], w->identity[cv_rd_u8(r) % NODE].public_key, CV_KEY);
    (void)tun_directory_claim(w->dir, w->wall, identity, day, d, w->identity[by % NODE].public_key,
                              (const uint8_t(*)[CV_KEY])path, of >> 7);
    tun_directory_report(w->dir, day, identity, (uint8_t)(by + of),
                         w->identity[by % NODE].public_key);
    if (relay)
        assert(tun_relay_weight(relay) <= TUN_CAPACITY_MAX);
}

static void guards(struct world *w) {
    struct tun_relay *all[NODE];
    struct tun_guard_contact contacts[TUN_CONTACTS_MAX];
    size_t n = tun_directory_list(w->dir, tun_descriptor_day(w->wall), TUN_DIRECTORY_KNOWN, all,
                                  NODE),
           k = 0;
    for (; k < n && k < TUN_CONTACTS_MAX; k++)
        contacts[k] = (struct tun_guard_contact){.relay = all[k], .addr = all[k]->desc.addr[0]};
    for (size_t i = 0; i < k; i++) {
        bool changed = false;
        unsigned before = tun_guards_sampled(&w->guards);
        bool is = tun_guards_sample(&w->guards, all[i], &contacts[i].addr, w->dir, w->wall, &w->rng,
                                    &changed);
        assert(tun_guards_sampled(&w->guards) == before + changed);
        assert(is == (tun_guards_find_sampled(&w->guards, all[i]->desc.identity) != NULL));
        assert(!changed || before < TUN_CONTACTS_WANTED);
    }
    (void)tun_guards_choose_first(&w->guards, contacts, k, n, w->dir, w->wall, &w->rng);
    (void)tun_guards_choose_second(&w->guards, w->dir, w->wall, &w->rng);
    if (w->guards.first[0].set)
        tun_guard_silent(&w->guards.first[0], w->wall);
    if (w->guards.first[1].set)
        tun_guard_heard(&w->guards.first[1]);
    for (unsigned i = 0; i < TUN_CONTACTS_WANTED; i += 2)
        tun_guard_silent(&w->guards.contact[i], w->wall);
    uint8_t blob[TUN_GUARDS_BLOB_MAX];
    struct tun_guards back;
    assert(tun_guards_load(&back, blob, tun_guards_save(&w->guards, blob)) == CV_ERR_OK);
    assert(tun_guards_sampled(&back) == tun_guards_sampled(&w->guards));
}

static void path(struct world *w, struct cv_rd *r) {
    unsigned what = cv_rd_u8(r), named = cv_rd_u8(r);
    uint32_t day = tun_descriptor_day(w->wall);
    struct cv_now now = {.mono = 5, .wall = w->wall};
    struct tun_path_request req = {.purpose = (enum tun_purpose)(what % TUN_PURPOSE_COUNT)};
    struct tun_path p, longer;
    if (named & 1)
        req.named = tun_directory_find(w->dir, w->identity[named >> 1 & 15].public_key, day);
    if (named & 64)
        req.without = w->identity[what >> 4].public_key;
    req.avoid = (const uint8_t(*)[CV_KEY])w->identity[what >> 4].public_key;
    req.avoids = named >> 7;
    struct tun_path_apart apart = {.fronts = 0};
    tun_path_apart_add(&apart, what >> 6, req.avoid[0]);
    req.apart = named >> 7 ? &apart : NULL;
    struct tun_third third;
    tun_third_init(&third, &w->rng);
    req.third = named & 128 && what & 16 ? &third : NULL;
    req.refusals = &w->refusals;
    if (tun_path_choose(&p, w->dir, &w->guards, &req, &now, &w->rng))
        return;
    size_t n = tun_directory_count(w->dir, day, TUN_DIRECTORY_CONFIRMED);
    assert(tun_path_ok(&p, &w->guards, n));
    for (unsigned i = 1; i < p.n; i++) {
        assert(p.hop[i]->confirmed);
        struct tun_relay_ref ref;
        tun_relay_ref_fill(&ref, p.hop[i], w->wall);
        assert(ref.day == p.hop[i]->desc.day);
    }
    if (named & 32) {
        unsigned at = what % p.n;
        const uint8_t *by = at ? p.hop[at - 1]->desc.identity : NULL;
        tun_refusals_note(&w->refusals, by, p.hop[at]->desc.identity, now.mono, &w->rng);
        struct tun_path other;
        if (tun_path_choose(&other, w->dir, &w->guards, &req, &now, &w->rng) == CV_ERR_OK)
            assert(other.hop[at] != p.hop[at] || (at && other.hop[at - 1] != p.hop[at - 1]));
        if (what & 8)
            tun_refusals_forget(&w->refusals, by, p.hop[at]->desc.identity);
    }
    longer = p;
    if (tun_path_extend(&longer, p.hop[0], true, TUN_PURPOSE_JOIN, &w->guards, n))
        assert(false && "the guard once more");
}

static void check(struct world *w) {
    struct tun_relay *all[NODE];
    uint8_t hash[16];
    uint16_t total;
    struct tun_pair pairs[NODE];
    uint32_t day = tun_descriptor_day(w->wall);
    size_t n = tun_directory_list(w->dir, day, TUN_DIRECTORY_CONFIRMED, all, NODE);
    for (size_t i = 0; i < n; i++)
        assert(all[i]->claims >= 2);
    ssize_t listed =
        tun_directory_bucket(w->dir, day, 0, 0, TUN_DIRECTORY_KNOWN, 0, hash, &total, pairs, NODE);
    assert(listed == total);
    for (ssize_t i = 0; i < listed; i++)
        assert(tun_digest_is_proof(pairs[i].d) ||
               tun_directory_find_d(w->dir, pairs[i].identity, pairs[i].d));
    n = tun_directory_missing(w->dir, day, w->identity[0].public_key, all, NODE);
    for (size_t i = 0; i < n; i++)
        assert(all[i]->raw_len == 0 || all[i]->disputed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct cv_rng_seeded dice;
    struct world w = {.wall = (int64_t)DAY * 86400 + 43200};
    cv_crypto_init();
    if (size < 1)
        return 0;
    if (data[0] % 2 == 0) {
        blob(data + 1, size - 1, data[0] & 2);
        return 0;
    }
    cv_rng_seeded_init(&dice, 1);
    w.rng = cv_rng_seeded(&dice);
    for (unsigned i = 0; i < NODE; i++) {
        uint8_t seed[CV_KEY] = {(uint8_t)i};
        cv_ed25519_from_seed(&w.identity[i], seed);
    }
    w.dir = tun_directory_new((const uint8_t *)"testnet", &w.rng);
    assert(w.dir);
    struct cv_rd r = cv_rd_init(data + 1, size - 1);
    for (unsigned steps = 0; cv_rd_left(&r) > 0 && steps < 300; steps++) {
        switch (cv_rd_u8(&r) % 8) {
        case 0:
        case 1:
            add(&w, &r);
            break;
        case 2:
        case 3:
        case 4:
            claim(&w, &r);
            break;
        case 5:
            guards(&w);
            break;
        case 6:
            path(&w, &r);
            break;
        case 7:
            w.wall += 3600 * (cv_rd_u8(&r) % 16);
            tun_directory_expire(w.dir, w.wall);
            (void)tun_guards_retire(&w.guards, w.dir, true, w.wall);
            break;
        }
        check(&w);
    }
    tun_directory_free(w.dir);
    return 0;
}
