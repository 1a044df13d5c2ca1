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

static bool is_guard(const struct tun_guards *g, const struct tun_relay *r) {
    for (unsigned i = 0; i < 3; i++) {
        if (g->first[i].set && memcmp(g->first[i].identity, r->desc.identity, CV_KEY) == 0)
            return true;
    }
    return false;
}

static bool is_second(const struct tun_guards *g, const struct tun_relay *r) {
    for (unsigned i = 0; i < TUN_SECOND_MAX; i++) {
        if (g->second[i].set && memcmp(g->second[i].identity, r->desc.identity, CV_KEY) == 0)
            return true;
    }
    return false;
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
        if (i > 1 && relays >= 16 && ours && is_guard(g, p->hop[i]))
            return "from 16 relays on guards stand nowhere else";
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
    for (int i = 0; i < a->n - a->named; i++)
        for (int k = 0; k < b->n - b->named; k++)
            n += a->hop[i] == b->hop[k];
    return n;
}

/* Two ways, the second apart from the first; `named`: where a seeder is asked to come. */
static void two_ways(struct population *p, const struct tun_guards *g, enum tun_purpose purpose,
                     struct tun_relay *named, struct tun_relay *second_named) {
    uint8_t before[TUN_HOPS_MAX][CV_KEY];
    struct tun_path first, second;
    struct tun_path_request req = {.purpose = purpose, .named = named};
    cr_assert_eq(tun_path_choose(&first, p->dir, g, &req, &population_now, &p->rng), CV_ERR_OK);
    cr_expect(tun_path_leaves_second(&first, p->dir, g, &req, &population_now, &p->rng));
    for (unsigned i = 0; i < first.n; i++)
        memcpy(before[i], first.hop[i]->desc.identity, CV_KEY);
    req.named = second_named;
    req.apart = (const uint8_t(*)[CV_KEY])before;
    req.aparts = first.n;
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

Test(tun_path, every_rule_holds_in_every_population) {
    unsigned made = 0, refused = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct population p;
        population_init(&p, 100 + seed);
        crowd(&p, 4 + (unsigned)cv_rng_below(&p.rng, 30));
        population_confirm(&p);
        size_t confirmed = tun_directory_count(p.dir, POPULATION_DAY, TUN_DIRECTORY_CONFIRMED);
        struct tun_guards g;
        population_guards(&p, &g);
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
                req.apart = req.avoid;
                req.aparts = 1;
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
    struct tun_path path = {.purpose = purpose, .named = named != NULL, .n = (uint8_t)n};
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
        population_init(&p, 500 + seed);
        crowd(&p, 5 + (unsigned)cv_rng_below(&p.rng, 5));
        population_confirm(&p);
        size_t confirmed = tun_directory_count(p.dir, POPULATION_DAY, TUN_DIRECTORY_CONFIRMED);
        struct tun_guards g;
        population_guards(&p, &g);
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

Test(tun_path, a_relay_is_no_hop_of_its_own_circuits) {
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
                cr_expect_neq(path.hop[i], p.relay[0], "hop %u of purpose %u", i, purpose);
            /* Whoever names it as the last hop cannot tell it from another. */
            req.named = p.relay[0];
            cr_assert_eq(tun_path_choose(&path, p.dir, &g, &req, &population_now, &p.rng),
                         CV_ERR_OK);
            for (unsigned i = 0; i + 1 < path.n; i++)
                cr_expect_neq(path.hop[i], p.relay[0]);
        }
        population_done(&p);
    }
}
