/*
 * Paths: every rule of docs/protocol/tunnel.md about who may stand beside whom,
 * checked here in words of its own (not by tun_path_ok) over random populations;
 * and that six relays in six networks are enough for every kind of path,
 * exhaustively: every choice of guards and second layer, every named relay.
 */
#include "tunnel/tests/population.h"

CV_SUITE(tun_path, .init = cv_crypto_init);

static const enum tun_purpose purposes[] = {TUN_PURPOSE_GENERAL,   TUN_PURPOSE_MEET,
                                            TUN_PURPOSE_INTRODUCE, TUN_PURPOSE_WAIT,
                                            TUN_PURPOSE_JOIN,      TUN_PURPOSE_PUBLISH};
static const size_t hops[] = {3, 3, 4, 4, 4, 4};
static const char *const names[] = {"V-G-L-X",    "V-G-L-RP",   "V-G-L-M-IP",
                                    "S-G-L-M-IP", "S-G-L-M-RP", "S-G-L-M-X"};
#define PURPOSES (sizeof purposes / sizeof *purposes)

static bool same_network(const struct cv_addr *a, const struct cv_addr *b) {
    return a->family == b->family && memcmp(a->ip, b->ip, a->family == 4 ? 2 : 4) == 0;
}

static bool names_family(const struct tun_descriptor *a, const struct tun_descriptor *b) {
    for (unsigned i = 0; i < a->families; i++) {
        if (memcmp(a->family[i], b->identity, CV_KEY) == 0)
            return true;
    }
    return false;
}

static bool is_among_first(const struct tun_guards *g, const struct tun_relay *r, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        if (g->first[i].set && memcmp(g->first[i].identity, r->desc.identity, CV_KEY) == 0)
            return true;
    }
    return false;
}

/* The spare is one. */
static bool is_guard(const struct tun_guards *g, const struct tun_relay *r) {
    return is_among_first(g, r, TUN_GUARD_SPARE + 1);
}

static bool is_second(const struct tun_guards *g, const struct tun_relay *r) {
    for (unsigned i = 0; i < TUN_SECOND_MAX; i++) {
        if (g->second[i].set && memcmp(g->second[i].identity, r->desc.identity, CV_KEY) == 0)
            return true;
    }
    return false;
}

/* Behind L, of circuits whose last hop is not told what we look for: others are shown
 * who stands there. */
static bool is_shown(const struct tun_path *p, unsigned at) {
    return at > 1 && (p->n == 4 || p->purpose == TUN_PURPOSE_MEET);
}

static bool has_family(const struct tun_descriptor *d, uint8_t family) {
    bool has = false;
    for (unsigned i = 0; i < d->addrs; i++)
        has |= d->addr[i].family == family;
    return has;
}

/* NULL, or which rule does not hold. */
static const char *broken(const struct tun_path *p, const struct tun_guards *g, size_t want,
                          size_t relays, const struct tun_relay *named) {
    if (p->n != want)
        return "the length is fixed by the purpose";
    if (!is_guard(g, p->hop[0]))
        return "the first hop is a guard";
    if (!is_second(g, p->hop[1]) || is_guard(g, p->hop[1]))
        return "the second hop is one of L and never a guard";
    if (named && p->hop[p->n - 1] != named)
        return "the last hop is the named one";
    for (unsigned i = 0; i < p->n; i++) {
        const struct tun_descriptor *a = &p->hop[i]->desc;
        bool ours = !(named && i + 1 == p->n);
        if (i > 0 && !p->hop[i]->confirmed)
            return "only confirmed relays beyond the first hop";
        const struct tun_descriptor *before = i > 0 ? &p->hop[i - 1]->desc : a;
        if (!(has_family(a, 4) && has_family(before, 4)) &&
            !(has_family(a, 6) && has_family(before, 6)))
            return "neighbours have an address of one family";
        if (i > 1 && !is_shown(p, i) && relays >= 16 && ours && is_guard(g, p->hop[i]))
            return "from 16 relays on no guard is told what we look for";
        for (unsigned k = 0; k < i; k++) {
            const struct tun_descriptor *b = &p->hop[k]->desc;
            if (memcmp(a->identity, b->identity, CV_KEY) == 0)
                return "never twice";
            if (names_family(a, b) && names_family(b, a))
                return "never two of a family";
            for (unsigned x = 0; x < a->addrs; x++) {
                for (unsigned y = 0; y < b->addrs; y++) {
                    if (same_network(&a->addr[x], &b->addr[y]))
                        return "never two in a network";
                }
            }
        }
    }
    return NULL;
}

/* ---- six relays ---- */

static void guard_is(struct tun_guard *g, const struct tun_relay *r) {
    *g = (struct tun_guard){.set = true, .up = true, .until = INT64_MAX};
    memcpy(g->identity, r->desc.identity, CV_KEY);
}

/* All paths of one assignment of guards and L; `dead`: not to be used, or 6. */
static unsigned try_all(struct population *p, const struct tun_guards *g, unsigned dead,
                        unsigned *impossible) {
    unsigned made = 0;
    for (size_t i = 0; i < PURPOSES; i++) {
        for (unsigned named = 0; named <= p->n; named++) {
            /* a path with a last hop of our own choice, then every named one */
            struct tun_path_request req = {.purpose = purposes[i]};
            struct tun_path path;
            if (named < p->n)
                req.named = p->relay[named];
            if (named == dead && dead < p->n)
                continue;
            if (dead < p->n)
                req.without = p->relay[dead]->desc.identity;
            enum cv_err err = tun_path_choose(&path, p->dir, g, &req, &population_now, &p->rng);
            if (err == CV_ERR_UNREACHABLE) {
                (*impossible)++;
                continue;
            }
            cr_assert_eq(err, CV_ERR_OK, "%s named %u: %s", names[i], named, cv_strerror(err));
            const char *rule = broken(&path, g, hops[i], p->n, req.named);
            cr_assert_null(rule, "%s named %u: %s", names[i], named, rule);
            made++;
        }
    }
    return made;
}

Test(tun_path, six_relays_in_six_networks_are_enough_for_every_path) {
    struct population p;
    unsigned assignments = 0, made = 0;
    population_init(&p, 1);
    for (unsigned i = 0; i < 6; i++)
        population_simple(&p, 0x1000 + 0x100 * i);
    population_confirm(&p);
    for (unsigned a = 0; a < 6; a++) {
        for (unsigned b = 0; b < 6; b++) {
            for (unsigned c = 0; c < 6; c++) {
                for (unsigned d = c + 1; d < 6; d++) {
                    if (a == b || c == a || c == b || d == a || d == b)
                        continue;
                    struct tun_guards g = {.first[0] = {.set = false}};
                    unsigned impossible = 0;
                    guard_is(&g.first[0], p.relay[a]);
                    guard_is(&g.first[1], p.relay[b]);
                    guard_is(&g.second[0], p.relay[c]);
                    guard_is(&g.second[1], p.relay[d]);
                    made += try_all(&p, &g, 6, &impossible);
                    cr_assert_eq(impossible, 0, "guards %u %u, L %u %u", a, b, c, d);
                    assignments++;
                }
            }
        }
    }
    cr_expect_eq(assignments, 6 * 5 * 6);
    cr_expect_eq(made, assignments * 6 * 7);
    population_done(&p);
}

Test(tun_path, with_one_of_six_dead_only_what_is_named_may_be_out_of_reach) {
    struct population p;
    population_init(&p, 2);
    for (unsigned i = 0; i < 6; i++)
        population_simple(&p, 0x1000 + 0x100 * i);
    population_confirm(&p);
    for (unsigned dead = 0; dead < 6; dead++) {
        struct tun_guards g = {.first[0] = {.set = false}};
        unsigned impossible = 0;
        guard_is(&g.first[0], p.relay[0]);
        guard_is(&g.first[1], p.relay[1]);
        guard_is(&g.second[0], p.relay[2]);
        guard_is(&g.second[1], p.relay[3]);
        unsigned made = try_all(&p, &g, dead, &impossible);
        /* Six kinds of path, a last hop of our choice and five named ones. A dead
         * guard leaves one, which then cannot be named (6 kinds); a dead L the
         * other (6 kinds); of the rest nobody is missed. */
        cr_expect_eq(impossible, dead < 4 ? 6 : 0, "relay %u dead: %u impossible", dead,
                     impossible);
        cr_expect_eq(made + impossible, 6 * 6);
    }
    population_done(&p);
}

/* Of what we chose ourselves. */
static unsigned shared(const struct tun_path *a, const struct tun_path *b) {
    unsigned n = 0;
    for (unsigned i = 0; i < tun_path_chosen(a); i++)
        for (unsigned k = 0; k < tun_path_chosen(b); k++)
            n += a->hop[i] == b->hop[k];
    return n;
}

/* Two ways, the second apart from the first; `named`: where a seeder is asked to come. */
static void two_ways(struct population *p, const struct tun_guards *g, enum tun_purpose purpose,
                     struct tun_relay *named, struct tun_relay *second_named) {
    struct tun_path_apart before = {.fronts = 0};
    struct tun_path first, second;
    struct tun_path_request req = {.purpose = purpose, .named = named};
    cr_assert_eq(tun_path_choose(&first, p->dir, g, &req, &population_now, &p->rng), CV_ERR_OK);
    cr_expect(tun_path_leaves_second(&first, p->dir, g, &req, &population_now, &p->rng));
    for (unsigned i = 0; i < first.n; i++)
        tun_path_apart_add(&before, i, first.hop[i]->desc.identity);
    req.named = second_named;
    req.apart = &before;
    cr_assert_eq(tun_path_choose(&second, p->dir, g, &req, &population_now, &p->rng), CV_ERR_OK);
    cr_assert_eq(shared(&first, &second), 0, "the end of one relay would be that of both ways");
}

Test(tun_path, two_ways_share_no_relay_where_eight_allow_it) {
    struct population p;
    population_init(&p, 5);
    for (unsigned i = 0; i < 8; i++)
        population_simple(&p, 0x1000 + 0x100 * i);
    population_confirm(&p);
    for (unsigned round = 0; round < 200; round++) {
        unsigned at[8] = {0, 1, 2, 3, 4, 5, 6, 7};
        struct tun_guards g = {.first[0] = {.set = false}};
        for (unsigned i = 8; i > 1; i--) {
            unsigned k = (unsigned)cv_rng_below(&p.rng, i), t = at[i - 1];
            at[i - 1] = at[k];
            at[k] = t;
        }
        guard_is(&g.first[0], p.relay[at[0]]);
        guard_is(&g.first[1], p.relay[at[1]]);
        guard_is(&g.second[0], p.relay[at[2]]);
        guard_is(&g.second[1], p.relay[at[3]]);
        two_ways(&p, &g, TUN_PURPOSE_MEET, NULL, NULL);
        two_ways(&p, &g, TUN_PURPOSE_JOIN, p.relay[at[4]], p.relay[at[5]]);
    }
    /* With one guard there is no second: a way is found all the same. */
    struct tun_path path;
    struct tun_guards g = {.first[0] = {.set = false}};
    struct tun_path_request req = {.purpose = TUN_PURPOSE_MEET};
    guard_is(&g.first[0], p.relay[0]);
    guard_is(&g.second[0], p.relay[1]);
    cr_assert_eq(tun_path_choose(&path, p.dir, &g, &req, &population_now, &p.rng), CV_ERR_OK);
    cr_expect_not(tun_path_leaves_second(&path, p.dir, &g, &req, &population_now, &p.rng));
    population_done(&p);
}

Test(tun_path, a_named_guard_or_second_is_reached_through_the_others) {
    struct population p;
    population_init(&p, 3);
    for (unsigned i = 0; i < 20; i++)
        population_simple(&p, 0x1000 + 0x100 * i);
    population_confirm(&p);
    struct tun_guards g;
    population_guards(&p, &g);
    for (unsigned i = 0; i < p.n; i++) {
        for (unsigned round = 0; round < 20; round++) {
            struct tun_path_request req = {.purpose = TUN_PURPOSE_JOIN, .named = p.relay[i]};
            struct tun_path path;
            cr_assert_eq(tun_path_choose(&path, p.dir, &g, &req, &population_now, &p.rng),
                         CV_ERR_OK);
            cr_assert_null(broken(&path, &g, 4, p.n, p.relay[i]));
        }
    }
    population_done(&p);
}

/* ---- any population ---- */

/* Networks, families, flags, both address families: crowded on purpose. */
static void crowd(struct population *p, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        population_identity(p, i);
    unsigned networks = 3 + (unsigned)cv_rng_below(&p->rng, 3 * n);
    for (unsigned i = 0; i < n; i++) {
        struct tun_descriptor d = {.suites = 1, .flags = TUN_RELAY_RELAY};
        d.flags |= (uint16_t)cv_rng_below(&p->rng, 32);
        d.bandwidth = (uint32_t)cv_rng_below(&p->rng, 100000);
        if (cv_rng_below(&p->rng, 4))
            d.addr[d.addrs++] =
                population_addr4(0x1000 + (unsigned)cv_rng_below(&p->rng, networks), i + 1);
        if (d.addrs == 0 || cv_rng_below(&p->rng, 3) == 0)
            d.addr[d.addrs++] =
                population_addr6(0x20010000 + (uint32_t)cv_rng_below(&p->rng, networks), i + 1);
        /* families in threes, sometimes not mutual */
        for (unsigned k = i / 3 * 3; k < i / 3 * 3 + 3 && k < n; k++) {
            if (k != i && i % 7 < 4 && cv_rng_below(&p->rng, 5))
                memcpy(d.family[d.families++], p->identity[k].public_key, CV_KEY);
        }
        population_add(p, &d);
    }
}

/* A crowd of `least` relays and fewer than `more` beside, and guards; how many are confirmed. */
static size_t crowded(struct population *p, uint64_t seed, unsigned least, unsigned more,
                      struct tun_guards *g) {
    population_init(p, seed);
    crowd(p, least + (unsigned)cv_rng_below(&p->rng, more));
    population_confirm(p);
    population_guards(p, g);
    return tun_directory_count(p->dir, POPULATION_DAY, TUN_DIRECTORY_CONFIRMED);
}

Test(tun_path, every_rule_holds_in_every_population) {
    unsigned made = 0, refused = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct population p;
        struct tun_guards g;
        size_t confirmed = crowded(&p, 100 + seed, 4, 30, &g);
        for (unsigned round = 0; round < 40; round++) {
            for (size_t i = 0; i < PURPOSES; i++) {
                struct tun_path_request req = {.purpose = purposes[i]};
                struct tun_path path = {.n = 99};
                if (round % 2)
                    req.named = p.relay[cv_rng_below(&p.rng, p.n)];
                uint8_t avoid[2][CV_KEY];
                for (unsigned k = 0; k < 2; k++)
                    memcpy(avoid[k], p.relay[cv_rng_below(&p.rng, p.n)]->desc.identity, CV_KEY);
                req.avoid = (const uint8_t(*)[CV_KEY])avoid;
                req.avoids = 2;
                struct tun_path_apart apart = {.fronts = 0};
                tun_path_apart_add(&apart, round % 4, avoid[0]);
                req.apart = &apart;
                if (round % 3 == 0)
                    req.without = p.relay[cv_rng_below(&p.rng, p.n)]->desc.identity;
                enum cv_err err = tun_path_choose(&path, p.dir, &g, &req, &population_now, &p.rng);
                if (err) {
                    cr_assert(err == CV_ERR_AGAIN || err == CV_ERR_UNREACHABLE ||
                              err == CV_ERR_DENIED);
                    cr_assert_eq(path.n, 99, "result clobbered on failure");
                    refused++;
                    continue;
                }
                made++;
                const char *rule = broken(&path, &g, hops[i], confirmed, req.named);
                cr_assert_null(rule, "seed %lu, %s: %s", seed, names[i], rule);
                for (unsigned k = 0; req.without && k < path.n; k++)
                    cr_assert_neq(memcmp(path.hop[k]->desc.identity, req.without, CV_KEY), 0);
                for (unsigned k = 0; k < 2 && !req.named; k++)
                    cr_assert_neq(memcmp(path.hop[path.n - 1]->desc.identity, avoid[k], CV_KEY), 0);
                cr_assert(path.hop[path.n - 1]->desc.flags & tun_path_flag(purposes[i]) ||
                          (req.named && purposes[i] == TUN_PURPOSE_GENERAL));
            }
        }
        population_done(&p);
    }
    cr_expect(made > 3000, "only %u paths", made);
    cr_expect(refused > 300, "only %u refused", refused);
}

/* The same search by brute force: is there any path at all? */
static bool any_path(const struct population *p, const struct tun_guards *g, size_t n,
                     enum tun_purpose purpose, size_t confirmed, struct tun_relay *named) {
    struct tun_path path = {.purpose = purpose, .named = named, .n = (uint8_t)n};
    for (unsigned a = 0; a < p->n; a++) {
        for (unsigned b = 0; b < p->n; b++) {
            for (unsigned c = 0; c < p->n; c++) {
                for (unsigned d = 0; d < (n == 4 ? p->n : 1); d++) {
                    path.hop[0] = p->relay[a];
                    path.hop[1] = p->relay[b];
                    path.hop[2] = p->relay[c];
                    path.hop[3] = n == 4 ? p->relay[d] : NULL;
                    const struct tun_relay *last = path.hop[n - 1];
                    bool does = last->desc.flags & tun_path_flag(purpose) ||
                                (named && purpose == TUN_PURPOSE_GENERAL);
                    if (does && !broken(&path, g, n, confirmed, named))
                        return true;
                }
            }
        }
    }
    return false;
}

Test(tun_path, a_path_is_found_whenever_there_is_one) {
    unsigned found = 0, none = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct population p;
        struct tun_guards g;
        size_t confirmed = crowded(&p, 500 + seed, 5, 5, &g);
        for (size_t i = 0; i < PURPOSES; i++) {
            struct tun_path_request req = {.purpose = purposes[i]};
            struct tun_path path;
            if (seed % 2)
                req.named = p.relay[cv_rng_below(&p.rng, p.n)];
            bool want = any_path(&p, &g, hops[i], purposes[i], confirmed, req.named);
            bool got =
                tun_path_choose(&path, p.dir, &g, &req, &population_now, &p.rng) == CV_ERR_OK;
            cr_assert_eq(got, want, "seed %lu, %s: %s", seed, names[i],
                         want ? "missed" : "invented");
            found += want;
            none += !want;
        }
        population_done(&p);
    }
    cr_expect(found > 30 && none > 30, "%u found, %u impossible", found, none);
}

/* IPv4 and IPv6 have a DHT each: what is looked up is looked for where others store it. Where
 * nobody with that family fits, somebody else does. */
Test(tun_path, look_ups_meet_in_one_dht) {
    static const struct {
        unsigned both, four, six;
        uint8_t family;
    } rows[] = {{8, 2, 4, 6}, {8, 4, 2, 4}, {8, 3, 3, 4}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct population p;
        struct tun_guards g;
        population_init(&p, 700 + i);
        for (unsigned k = 0; k < rows[i].both + rows[i].four + rows[i].six; k++) {
            struct tun_descriptor d = {.flags = 0x1f, .suites = 1, .bandwidth = 1000};
            if (k < rows[i].both + rows[i].four)
                d.addr[d.addrs++] = population_addr4(0x1000 + 0x100 * k, k + 1);
            if (k < rows[i].both || k >= rows[i].both + rows[i].four)
                d.addr[d.addrs++] = population_addr6(0x20010000 + k, k + 1);
            population_add(&p, &d);
        }
        population_confirm(&p);
        cr_expect_eq(tun_directory_dht_family(p.dir, POPULATION_DAY), rows[i].family);
        population_guards(&p, &g);
        unsigned single = 0;
        for (unsigned round = 0; round < 300; round++) {
            struct tun_path_request req = {.purpose = round % 2 ? TUN_PURPOSE_GENERAL
                                                                : TUN_PURPOSE_PUBLISH};
            struct tun_path path;
            cr_assert_eq(tun_path_choose(&path, p.dir, &g, &req, &population_now, &p.rng),
                         CV_ERR_OK);
            const struct tun_descriptor *last = &path.hop[path.n - 1]->desc;
            cr_assert(has_family(last, rows[i].family), "row %zu", i);
            single += last->addrs == 1;
            req.purpose = TUN_PURPOSE_MEET; /* nobody asks the DHT there */
            cr_assert_eq(tun_path_choose(&path, p.dir, &g, &req, &population_now, &p.rng),
                         CV_ERR_OK);
        }
        cr_expect_gt(single, 0, "row %zu: the test tests nothing", i);
        population_done(&p);
    }
}

/* ---- choices ---- */

Test(tun_path, what_failed_lately_is_avoided_as_long_as_there_is_another) {
    struct population p;
    population_init(&p, 9);
    for (unsigned i = 0; i < 10; i++)
        population_simple(&p, 0x1000 + 0x100 * i);
    population_confirm(&p);
    struct tun_guards g;
    population_guards(&p, &g);
    struct tun_path_request req = {.purpose = TUN_PURPOSE_WAIT};
    struct tun_path path;
    for (unsigned i = 0; i < p.n; i += 2)
        p.relay[i]->shunned_until = population_now.mono + 1;
    unsigned shunned = 0;
    for (unsigned round = 0; round < 50; round++) {
        if (tun_path_choose(&path, p.dir, &g, &req, &population_now, &p.rng))
            continue;
        for (unsigned i = 2; i < path.n; i++)
            shunned += path.hop[i]->shunned_until > 0;
    }
    bool l_shunned = true;
    for (unsigned i = 0; i < TUN_SECOND_MAX; i++) {
        if (!g.second[i].set)
            continue;
        struct tun_relay *r = tun_directory_find(p.dir, g.second[i].identity, POPULATION_DAY);
        l_shunned &= r->shunned_until > 0;
    }
    if (!l_shunned)
        cr_expect_eq(shunned, 0);
    for (unsigned i = 0; i < p.n; i++)
        p.relay[i]->shunned_until = population_now.mono + 1;
    cr_expect_eq(tun_path_choose(&path, p.dir, &g, &req, &population_now, &p.rng), CV_ERR_OK,
                 "all shunned: better one of these than none");
    population_done(&p);
}

Test(tun_path, weights_are_flat_in_small_networks_and_bounded_in_large_ones) {
    struct population p;
    population_init(&p, 10);
    unsigned hits = 0;
    for (unsigned i = 0; i < 110; i++) {
        struct tun_descriptor d = {.flags = 0x1f, .suites = 1, .addrs = 1};
        d.bandwidth = UINT32_MAX;
        d.addr[0] = population_addr4(0x1000 + i, 1);
        population_add(&p, &d)->capacity = i == 0 ? TUN_CAPACITY_MAX : 100;
    }
    for (unsigned i = 0; i < 4000; i++)
        hits += tun_path_pick(p.relay, 50, &p.rng) == p.relay[0];
    cr_expect(hits > 40 && hits < 130, "flat: %u of 4000, expected 80", hits);
    hits = 0;
    for (unsigned i = 0; i < 4000; i++)
        hits += tun_path_pick(p.relay, 110, &p.rng) == p.relay[0];
    cr_expect(hits > 120 && hits < 260, "bounded: %u of 4000, at most 5 %% expected", hits);
    population_done(&p);
}

/* Fifteen relays are as fast as can be, everybody else is slow: each of them would
 * have a fifteenth, and all together everything. */
Test(tun_path, nobody_has_more_than_a_twentieth_however_fast) {
    static const unsigned loud[] = {1, 15, 30};
    for (size_t k = 0; k < sizeof loud / sizeof *loud; k++) {
        enum { DRAWS = 40000 };
        struct population p;
        unsigned hits[110] = {0}, most = 0;
        population_init(&p, 40 + k);
        for (unsigned i = 0; i < 110; i++) {
            struct tun_descriptor d = {.flags = 0x1f, .suites = 1, .addrs = 1};
            d.bandwidth = UINT32_MAX;
            d.addr[0] = population_addr4(0x1000 + i, 1);
            population_add(&p, &d)->capacity = i < loud[k] ? TUN_CAPACITY_MAX : 1;
        }
        for (unsigned i = 0; i < DRAWS; i++) {
            const struct tun_relay *r = tun_path_pick(p.relay, p.n, &p.rng);
            for (unsigned at = 0; at < p.n; at++)
                hits[at] += p.relay[at] == r;
        }
        for (unsigned at = 0; at < p.n; at++)
            most = hits[at] > most ? hits[at] : most;
        /* 5 % of these draws is 2,000, their deviation 44. */
        cr_expect_lt(most, 2000 + 6 * 44, "%u loud ones: one has %u of %u", loud[k], most, DRAWS);
        population_done(&p);
    }
}

Test(tun_path, without_guards_or_confirmation_there_is_no_path) {
    struct population p;
    population_init(&p, 11);
    for (unsigned i = 0; i < 8; i++)
        population_simple(&p, 0x1000 + 0x100 * i);
    struct tun_guards g = {.first[0] = {.set = false}};
    struct tun_path_request req = {.purpose = TUN_PURPOSE_GENERAL};
    struct tun_path path;
    cr_expect_eq(tun_path_choose(&path, p.dir, &g, &req, &population_now, &p.rng), CV_ERR_AGAIN);
    req.named = p.relay[3];
    cr_expect_eq(tun_path_choose(&path, p.dir, &g, &req, &population_now, &p.rng), CV_ERR_DENIED,
                 "named, but nobody confirmed it");
    population_done(&p);
}

/* The invariant that is asserted whenever a circuit is built or taken: planted, as no search finds
 * such a path. */
Test(tun_path, a_named_relay_anywhere_but_last_is_refused) {
    struct population p;
    population_init(&p, 13);
    for (unsigned i = 0; i < 20; i++)
        population_simple(&p, 0x1000 + 0x100 * i);
    population_confirm(&p);
    struct tun_guards g;
    population_guards(&p, &g);
    for (unsigned i = 0; i < 20; i++) {
        struct tun_path_request req = {.purpose = TUN_PURPOSE_INTRODUCE, .named = p.relay[i]};
        struct tun_path path;
        if (tun_path_choose(&path, p.dir, &g, &req, &population_now, &p.rng))
            continue;
        cr_expect(path.named == p.relay[i] && tun_path_ok(&path, &g, p.n));
        for (unsigned at = 0; at < path.n; at++) {
            path.named = path.hop[at];
            cr_expect_eq(tun_path_ok(&path, &g, p.n), at + 1 == path.n, "hop %u is named", at);
        }
    }
    population_done(&p);
}

Test(tun_path, a_circuit_ahead_becomes_one_to_a_named_relay_only_by_the_rules) {
    struct population p;
    population_init(&p, 12);
    for (unsigned i = 0; i < 20; i++)
        population_simple(&p, 0x1000 + 0x100 * (i % 15));
    population_confirm(&p);
    struct tun_guards g;
    population_guards(&p, &g);
    for (unsigned round = 0; round < 200; round++) {
        struct tun_path_request req = {.purpose = TUN_PURPOSE_GENERAL};
        struct tun_path path, longer;
        cr_assert_eq(tun_path_choose(&path, p.dir, &g, &req, &population_now, &p.rng), CV_ERR_OK);
        struct tun_relay *last = p.relay[cv_rng_below(&p.rng, p.n)];
        longer = path;
        if (tun_path_extend(&longer, last, true, TUN_PURPOSE_INTRODUCE, &g, p.n))
            cr_assert_null(broken(&longer, &g, 4, p.n, last));
        else
            cr_expect_eq(longer.n, 3);
        longer = path;
        cr_expect_not(tun_path_extend(&longer, last, true, TUN_PURPOSE_MEET, &g, p.n),
                      "a meeting has three hops");
    }
    population_done(&p);
}

Test(tun_path, a_relay_is_a_hop_of_its_own_circuits_only_where_others_are_shown_hops) {
    for (unsigned seed = 0; seed < 60; seed++) {
        struct population p;
        population_init(&p, seed);
        population_identity(&p, 0);
        tun_directory_own(p.dir, p.identity[0].public_key);
        for (unsigned i = 0; i < 9; i++)
            population_simple(&p, 0x1000 + 0x100 * i);
        population_confirm(&p);
        cr_assert(p.relay[0]->ours && !p.relay[1]->ours);
        struct tun_guards g;
        population_guards(&p, &g);
        cr_expect(!tun_guards_is_first(&g, p.relay[0]->desc.identity));
        cr_expect(!tun_guards_is_second(&g, p.relay[0]->desc.identity));
        for (enum tun_purpose purpose = 0; purpose < TUN_PURPOSE_COUNT; purpose++) {
            struct tun_path_request req = {.purpose = purpose};
            struct tun_path path;
            cr_assert_eq(tun_path_choose(&path, p.dir, &g, &req, &population_now, &p.rng),
                         CV_ERR_OK);
            for (unsigned i = 0; i < path.n; i++)
                cr_expect(path.hop[i] != p.relay[0] || is_shown(&path, i), "hop %u of purpose %u",
                          i, purpose);
            /* Whoever names it as the last hop cannot tell it from another. */
            req.named = p.relay[0];
            cr_assert_eq(tun_path_choose(&path, p.dir, &g, &req, &population_now, &p.rng),
                         CV_ERR_OK);
            for (unsigned i = 0; i + 1 < path.n; i++)
                cr_expect(path.hop[i] != p.relay[0] || is_shown(&path, i));
        }
        population_done(&p);
    }
}

/* ---- what others are shown ---- */

enum { SHOWN_RELAYS = 20, SHOWN_SEEDS = 200, SHOWN_PATHS = 20 };

/* How often relays of a kind stood somewhere, and how often as many others would have. */
struct shares {
    unsigned seen;
    double expected;
};

/* A place that others are shown, in a circuit or (`apart`) in the second of two of which
 * one should outlive the other. */
struct place {
    const char *what;
    enum tun_purpose purpose;
    size_t at;
    bool stays;
};

static void count_path(struct population *p, const struct tun_guards *g,
                       const struct tun_third *third, const struct place *place, bool apart,
                       struct shares share[4]) {
    struct tun_path_request req = {.purpose = place->purpose, .third = place->stays ? third : NULL};
    struct tun_path first, path;
    struct tun_path_apart used = {.fronts = 0};
    if (place->at + 1 < tun_path_length(place->purpose)) { /* named: somebody's, not ours */
        do
            req.named = p->relay[cv_rng_between(&p->rng, 1, SHOWN_RELAYS - 1)];
        while (is_guard(g, req.named) || is_second(g, req.named));
    }
    cr_assert_eq(tun_path_choose(&first, p->dir, g, &req, &population_now, &p->rng), CV_ERR_OK);
    for (unsigned i = 0; i < first.n; i++)
        tun_path_apart_add(&used, i, first.hop[i]->desc.identity);
    req.apart = apart ? &used : NULL;
    cr_assert_eq(tun_path_choose(&path, p->dir, g, &req, &population_now, &p->rng), CV_ERR_OK);
    /* What stood in view before, there or beside it, is passed over by right. */
    unsigned left = 0;
    bool may[SHOWN_RELAYS];
    for (unsigned i = 0; i < p->n; i++) {
        may[i] = p->relay[i] != req.named;
        for (unsigned k = 2; k < first.n && apart; k++)
            may[i] &= p->relay[i] != first.hop[k];
        left += may[i];
    }
    for (unsigned i = 0; i < p->n; i++) {
        unsigned kind = i == 0                                            ? 0
                        : is_among_first(g, p->relay[i], TUN_GUARD_SPARE) ? 1
                        : is_second(g, p->relay[i])                       ? 2
                                                                          : 3;
        share[kind].seen += path.hop[place->at] == p->relay[i];
        share[kind].expected += may[i] ? 1.0 / left : 0;
    }
}

Test(tun_path, what_others_are_shown_says_nothing_of_guards_or_of_us, .timeout = 120) {
    static const struct place places[] = {
        {"third hop before a rendezvous", TUN_PURPOSE_JOIN, 2, true},
        {"third hop before an introduction point", TUN_PURPOSE_INTRODUCE, 2, false},
        {"rendezvous", TUN_PURPOSE_MEET, 2, false},
        {"introduction point", TUN_PURPOSE_WAIT, 3, true},
        {"writer of contacts", TUN_PURPOSE_PUBLISH, 3, true},
    };
    enum { PLACES = sizeof places / sizeof *places };
    static const char *const kinds[4] = {"we", "a guard", "an L", "another"};
    struct shares share[PLACES][2][4] = {0};
    for (uint64_t seed = 0; seed < SHOWN_SEEDS; seed++) {
        struct population p;
        struct tun_guards g;
        struct tun_third third;
        population_init(&p, 9000 + seed);
        population_identity(&p, 0);
        tun_directory_own(p.dir, p.identity[0].public_key);
        for (unsigned i = 0; i < SHOWN_RELAYS; i++)
            population_simple(&p, 0x1000 + 0x100 * i);
        population_confirm(&p);
        population_guards(&p, &g);
        tun_third_init(&third, &p.rng);
        for (unsigned k = 0; k < PLACES * 2 * SHOWN_PATHS; k++)
            count_path(&p, &g, &third, &places[k % PLACES], k / PLACES % 2,
                       share[k % PLACES][k / PLACES % 2]);
        population_done(&p);
    }
    for (unsigned k = 0; k < PLACES * 2 * 4; k++) {
        const struct place *place = &places[k / 8];
        const struct shares *s = &share[k / 8][k / 4 % 2][k % 4];
        /* Third hops that stay are drawn once in a network: the deviation of that. */
        double spread = place->stays && place->at == 2 ? SHOWN_PATHS / TUN_THIRDS : 1;
        double off = s->seen - s->expected;
        cr_expect(off * off < 25 * s->expected * spread, "%s%s: %s %u times, expected %.0f",
                  place->what, k / 4 % 2 ? ", second circuit" : "", kinds[k % 4], s->seen,
                  s->expected);
    }
}

Test(tun_path, a_guard_in_view_is_reached_through_the_other) {
    struct population p;
    population_init(&p, 13);
    for (unsigned i = 0; i < 20; i++)
        population_simple(&p, 0x1000 + 0x100 * i);
    population_confirm(&p);
    struct tun_guards g;
    population_guards(&p, &g);
    unsigned in_view = 0;
    for (unsigned round = 0; round < 400; round++) {
        struct tun_path_request req = {.purpose = TUN_PURPOSE_MEET};
        struct tun_path path;
        cr_assert_eq(tun_path_choose(&path, p.dir, &g, &req, &population_now, &p.rng), CV_ERR_OK);
        cr_assert_null(broken(&path, &g, 3, p.n, NULL));
        in_view += is_guard(&g, path.hop[2]);
        path.purpose = TUN_PURPOSE_GENERAL; /* the same hops may not be asked about content */
        cr_assert_eq(tun_path_ok(&path, &g, p.n), !is_guard(&g, path.hop[2]));
    }
    cr_expect(in_view > 20, "%u of 400", in_view);
    population_done(&p);
}

/* ---- third hops that stay ---- */

static unsigned thirds_of(struct population *p, const struct tun_guards *g,
                          const struct tun_third *third, int64_t wall, unsigned rounds,
                          bool seen[POPULATION_MAX]) {
    unsigned before = 0, after = 0;
    for (unsigned i = 0; i < p->n; i++)
        before += seen[i];
    for (unsigned round = 0; round < rounds; round++) {
        struct tun_path_request req = {.purpose = TUN_PURPOSE_WAIT, .third = third};
        struct cv_now now = {.mono = population_now.mono, .wall = wall};
        struct tun_path path;
        cr_assert_eq(tun_path_choose(&path, p->dir, g, &req, &now, &p->rng), CV_ERR_OK);
        for (unsigned i = 0; i < p->n; i++)
            seen[i] |= path.hop[2] == p->relay[i];
    }
    for (unsigned i = 0; i < p->n; i++)
        after += seen[i];
    return after - before;
}

Test(tun_path, a_seeder_shows_few_third_hops_for_days_and_others_to_other_swarms) {
    struct population p;
    population_init(&p, 14);
    for (unsigned i = 0; i < 120; i++) {
        struct tun_descriptor d = {.flags = 0x1f, .suites = 1, .addrs = 1, .bandwidth = UINT32_MAX};
        d.addr[0] = population_addr4(0x1000 + i, 1);
        population_add(&p, &d)->capacity = 100 + 10 * i;
    }
    population_confirm(&p);
    struct tun_guards g;
    population_guards(&p, &g);
    struct tun_third third, other;
    tun_third_init(&third, &p.rng);
    tun_third_init(&other, &p.rng);
    bool seen[POPULATION_MAX] = {false}, others[POPULATION_MAX] = {false};
    /* Two of one slot each, now and then, when the last hop is the first of them. */
    unsigned now = thirds_of(&p, &g, &third, POPULATION_WALL, 200, seen);
    cr_expect(now >= 2 && now <= 2 * TUN_THIRDS, "%u third hops", now);
    cr_expect_leq(thirds_of(&p, &g, &third, POPULATION_WALL + 3600, 200, seen), 2,
                  "an hour later others stand there");
    thirds_of(&p, &g, &other, POPULATION_WALL, 200, others);
    unsigned shared = 0;
    for (unsigned i = 0; i < p.n; i++)
        shared += seen[i] && others[i];
    cr_expect(shared < now, "two swarms of a seeder have the same third hops");
    population_done(&p);
}

Test(tun_path, third_hops_come_first_by_weight_and_each_of_them_goes_in_its_time) {
    enum { KEYS = 3000 };
    struct population p;
    population_init(&p, 15);
    struct tun_relay *v[10];
    for (unsigned i = 0; i < 10; i++) {
        struct tun_descriptor d = {.flags = 0x1f, .suites = 1, .addrs = 1, .bandwidth = UINT32_MAX};
        d.addr[0] = population_addr4(0x1000 + i, 1);
        population_add(&p, &d)->capacity = i == 0 ? 899 : 99; /* nine times as much */
    }
    unsigned heavy = 0, flat = 0, stayed = 0, soon = 0;
    for (unsigned k = 0; k < KEYS; k++) {
        struct tun_third third;
        tun_third_init(&third, &p.rng);
        for (int capped = 0; capped < 2; capped++) {
            memcpy(v, p.relay, sizeof v);
            cr_assert_eq(
                tun_third_order(&third, POPULATION_WALL, v, 10, capped ? 1 : UINT64_MAX, &p.rng),
                CV_ERR_OK);
            *(capped ? &flat : &heavy) += v[0] == p.relay[0];
        }
        /* One slot's own: the same dice once more, a day and a life later. */
        struct tun_relay *first[3];
        for (unsigned i = 0; i < 3; i++) {
            struct cv_rng_seeded dice;
            cv_rng_seeded_init(&dice, k);
            struct cv_rng rng = cv_rng_seeded(&dice);
            static const int64_t later[] = {0, 86400, TUN_THIRD_DAYS * 86400};
            memcpy(v, p.relay, sizeof v);
            cr_assert_eq(tun_third_order(&third, POPULATION_WALL + later[i], v, 10, 1, &rng),
                         CV_ERR_OK);
            first[i] = v[0];
        }
        soon += first[0] == first[1];
        stayed += first[0] == first[2];
    }
    cr_expect(heavy > KEYS * 45 / 100 && heavy < KEYS * 55 / 100, "half expected: %u", heavy);
    cr_expect(flat > KEYS * 8 / 100 && flat < KEYS * 12 / 100, "a tenth expected: %u", flat);
    cr_expect(soon > KEYS * 90 / 100, "after a day %u of %d stayed", soon, KEYS);
    cr_expect(stayed < KEYS * 13 / 100, "after its time %u of %d stayed", stayed, KEYS);
    population_done(&p);
}

/* How many second hops a swarm's circuits had, of those that `seen` does not have yet. One in
 * four of them should outlive the first ones. */
static unsigned seconds_of(struct population *p, const struct tun_guards *g,
                           const struct tun_third *third, bool seen[POPULATION_MAX]) {
    static const enum tun_purpose kept[] = {TUN_PURPOSE_JOIN, TUN_PURPOSE_WAIT, TUN_PURPOSE_PUBLISH,
                                            TUN_PURPOSE_JOIN};
    struct tun_path_apart before = {.fronts = 0};
    unsigned count = 0;
    for (unsigned round = 0; round < 400; round++) {
        struct tun_path_request req = {
            .purpose = kept[round % 4], .apart = round % 4 == 3 ? &before : NULL, .third = third};
        struct tun_path path;
        if (req.purpose == TUN_PURPOSE_JOIN)
            req.named = p->relay[cv_rng_below(&p->rng, p->n)];
        cr_assert_eq(tun_path_choose(&path, p->dir, g, &req, &population_now, &p->rng), CV_ERR_OK);
        if (is_second(g, path.hop[2]) || is_second(g, path.hop[3]))
            continue; /* an L that stands behind is missing in front */
        for (unsigned i = 0; i < 2; i++)
            tun_path_apart_add(&before, i, path.hop[i]->desc.identity);
        for (unsigned i = 0; i < p->n; i++) {
            count += path.hop[1] == p->relay[i] && !seen[i];
            seen[i] |= path.hop[1] == p->relay[i];
        }
    }
    return count;
}

Test(tun_path, a_swarm_stands_behind_two_of_our_second_layer_and_behind_others_when_it_must) {
    enum { SWARMS = 40 };
    struct population p;
    population_init(&p, 16);
    for (unsigned i = 0; i < 20; i++)
        population_simple(&p, 0x1000 + 0x100 * i);
    population_confirm(&p);
    struct tun_guards g;
    population_guards(&p, &g);
    unsigned used[POPULATION_MAX] = {0};
    for (unsigned k = 0; k < SWARMS;) {
        struct tun_third third;
        tun_third_init(&third, &p.rng);
        bool seen[POPULATION_MAX] = {false};
        unsigned count = seconds_of(&p, &g, &third, seen);
        if (count == 0)
            continue; /* all its third hops are L */
        k++;
        cr_assert_eq(count, TUN_THIRD_SECONDS);
        struct tun_relay *gone = NULL;
        for (unsigned i = 0; i < p.n; i++) {
            used[i] += seen[i];
            gone = seen[i] ? p.relay[i] : gone;
        }
        gone->shunned_until = UINT64_MAX; /* one of them fails: one other takes its place */
        cr_assert_eq(seconds_of(&p, &g, &third, seen), 1);
        gone->shunned_until = 0;
    }
    unsigned seconds = 0;
    for (unsigned i = 0; i < p.n; i++) {
        seconds += used[i] > 0;
        cr_expect(used[i] == 0 || (used[i] > 8 && used[i] < 32), "%u of %d swarms", used[i],
                  SWARMS);
    }
    cr_expect_eq(seconds, tun_guards_seconds(p.n), "the swarms together use all of them");
    population_done(&p);
}
