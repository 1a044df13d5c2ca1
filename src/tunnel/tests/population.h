/* Populations of relays for tests of the directory, guards and paths: signed
 * descriptors at chosen addresses, in chosen families. */
#ifndef CULVERT_TUNNEL_TESTS_POPULATION_H
#define CULVERT_TUNNEL_TESTS_POPULATION_H

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "support/suite.h"
#include "tunnel/directory.h"
#include "tunnel/guard.h"
#include "tunnel/path.h"

#define POPULATION_MAX 128
/* Noon of a day. */
#define POPULATION_DAY  20600
#define POPULATION_WALL ((int64_t)POPULATION_DAY * 86400 + 43200)

struct population {
    struct cv_rng_seeded dice;
    struct cv_rng rng;
    struct tun_directory *dir;
    struct tun_relay *relay[POPULATION_MAX];
    struct cv_ed25519_secret identity[POPULATION_MAX];
    unsigned n;
};

static const uint8_t population_network[TUN_NETWORK_ID] = "testnet";

static inline void population_init(struct population *p, uint64_t seed) {
    memset(p, 0, sizeof *p);
    cv_rng_seeded_init(&p->dice, seed);
    p->rng = cv_rng_seeded(&p->dice);
    p->dir = tun_directory_new(population_network, &p->rng);
    cr_assert_not_null(p->dir);
}

static inline void population_done(struct population *p) {
    p->dir = tun_directory_free(p->dir);
}

static inline struct cv_addr population_addr4(unsigned net16, unsigned host) {
    return (struct cv_addr){
        .family = 4,
        .port = 4000,
        .ip = {(uint8_t)(net16 >> 8), (uint8_t)net16, (uint8_t)(host >> 8), (uint8_t)host}};
}

static inline struct cv_addr population_addr6(uint32_t net32, unsigned host) {
    return (struct cv_addr){.family = 6,
                            .port = 4000,
                            .ip = {(uint8_t)(net32 >> 24), (uint8_t)(net32 >> 16),
                                   (uint8_t)(net32 >> 8), (uint8_t)net32,
                                   (uint8_t)host, [15] = (uint8_t)host}};
}

/* A descriptor of relay i for `day`, as octets. */
static inline size_t population_sign(struct population *p, unsigned i, uint32_t day,
                                     const struct tun_descriptor *what,
                                     uint8_t raw[TUN_DESCRIPTOR_MAX]) {
    struct tun_descriptor d = *what;
    memcpy(d.network_id, population_network, TUN_NETWORK_ID);
    d.day = day;
    cv_rng_fill(&p->rng, d.link_key, sizeof d.link_key);
    ssize_t len = tun_descriptor_sign(&d, &p->identity[i], raw, TUN_DESCRIPTOR_MAX);
    cr_assert_gt(len, 0);
    return (size_t)len;
}

static inline void population_identity(struct population *p, unsigned i) {
    uint8_t seed[CV_KEY];
    cv_rng_fill(&p->rng, seed, sizeof seed);
    cv_ed25519_from_seed(&p->identity[i], seed);
}

/* Adds relay p->n (whose identity is made unless it was) as described. */
static inline struct tun_relay *population_add(struct population *p,
                                               const struct tun_descriptor *what) {
    static const uint8_t none[CV_KEY];
    uint8_t raw[TUN_DESCRIPTOR_MAX];
    unsigned i = p->n++;
    cr_assert_lt(i, POPULATION_MAX);
    if (memcmp(p->identity[i].public_key, none, CV_KEY) == 0)
        population_identity(p, i);
    size_t len = population_sign(p, i, POPULATION_DAY, what, raw);
    cr_assert_eq(tun_directory_add(p->dir, POPULATION_WALL, raw, len, &p->relay[i], NULL),
                 CV_ERR_OK);
    return p->relay[i];
}

/* One in the v4 network `net16`, offering everything. */
static inline struct tun_relay *population_simple(struct population *p, unsigned net16) {
    struct tun_descriptor d = {.flags = 0x1f, .suites = 1, .bandwidth = 1000, .addrs = 1};
    d.addr[0] = population_addr4(net16, p->n + 1);
    return population_add(p, &d);
}

/* Every relay says what it knows of every other. */
static inline void population_confirm(struct population *p) {
    for (unsigned by = 0; by < p->n; by++) {
        for (unsigned of = 0; of < p->n; of++)
            (void)tun_directory_claim(p->dir, POPULATION_WALL, p->relay[of]->desc.identity,
                                      POPULATION_DAY, p->relay[of]->desc.digest,
                                      p->relay[by]->desc.identity, NULL, 0);
    }
}

static inline void population_guards(struct population *p, struct tun_guards *g) {
    struct tun_guard_contact contacts[TUN_CONTACTS_MAX];
    size_t n = 0;
    memset(g, 0, sizeof *g);
    unsigned start = (unsigned)cv_rng_below(&p->rng, p->n);
    for (unsigned i = 0; i < p->n && n < TUN_CONTACTS_MAX; i++) {
        struct tun_relay *r = p->relay[(start + i) % p->n];
        contacts[n++] = (struct tun_guard_contact){.relay = r, .addr = r->desc.addr[0]};
    }
    tun_guards_choose_first(g, contacts, n, p->n, p->dir, POPULATION_WALL, &p->rng);
    tun_guards_choose_second(g, p->dir, POPULATION_WALL, &p->rng);
    for (unsigned i = 0; i < TUN_GUARD_FIRSTS; i++)
        g->first[i].up = g->first[i].set;
}

static const struct cv_now population_now = {.mono = 1000000, .wall = POPULATION_WALL};

#endif
