/*
 * Every (state x event) cell of what a node remembers of links: first hops of its own circuits,
 * who know its address, and relays with a link to ours, whose weight counts in direct swarms.
 */
#include <stdio.h>
#include <string.h>

#include "crypto/keys.h"
#include "crypto/rng_seeded.h"
#include "node/state.h"
#include "reputation/limits.h"
#include "support/suite.h"

CV_SUITE(node_links, .init = cv_crypto_init);

enum { LINK = 1000 };

static struct cv_rng_seeded dice;
static struct cv_rng rng;

static struct node *make(void) {
    struct node_config cfg = {.loopback = true, .main_family = 4, .direct = true};
    uint8_t seed[CV_KEY] = {7};
    struct node *n = NULL;
    cv_rng_seeded_init(&dice, 1);
    rng = cv_rng_seeded(&dice);
    cv_ed25519_from_seed(&cfg.identity_secret, seed);
    cr_assert_eq(node_new(&cfg, &rng, (struct cv_now){.mono = 1000, .wall = 1000000}, &n),
                 CV_ERR_OK);
    return n;
}

/* The link of relay `who`, at an address of its own. */
static struct tun_event link_up(unsigned who, unsigned again, uint8_t role) {
    struct tun_event ev = {.kind = TUN_EVENT_LINK_UP};
    char at[32];
    (void)snprintf(at, sizeof at, "127.%u.0.1:4000", who + 1);
    cr_assert_eq(cv_addr_parse(at, &ev.link_up.addr), CV_ERR_OK);
    ev.link_up.link = LINK + 1000 * again + who;
    ev.link_up.role = role;
    ev.link_up.identity[0] = (uint8_t)(who + 1);
    return ev;
}

static struct tun_event link_down(unsigned who, unsigned again) {
    struct tun_event ev = {.kind = TUN_EVENT_LINK_DOWN};
    ev.link_down.link = LINK + 1000 * again + who;
    return ev;
}

/* ---- first hops: 0 is the one that counts ---- */

enum of_first { UP, UP_AGAIN, DOWN, DOWN_LATE, OTHER_UP, OTHER_DOWN, OF_FIRST };

/* What is remembered of it and of the other: . nothing  u up  d down. */
/* clang-format off */
static const struct {
    const char *name, *it, *other;
    unsigned first, last; /* relays that have or had a link */
    bool down;            /* 0 has none any more */
    unsigned also_down;   /* nor has this one; 0: all have one */
} hops[] = {
    {"nobody",             "uu.u..", "....u.", 1, 0, false, 0},
    {"up",                 "uuduuu", "....u.", 0, 0, false, 0},
    {"down",               "uududd", "....u.", 0, 0, true,  0},
    {"full",               "uuduuu", "......", 0, NODE_FIRST_HOPS_MAX - 1, false, 0},
    {"full, it is down",   "uudu.d", "....u.", 0, NODE_FIRST_HOPS_MAX - 1, true,  0},
    {"full, with it up",   "uuduuu", "....u.", 0, NODE_FIRST_HOPS_MAX - 1, false, 5},
    {"full without it",    "......", "......", 1, NODE_FIRST_HOPS_MAX, false, 0},
    {"full, another down", "uu.u..", "....u.", 1, NODE_FIRST_HOPS_MAX, false, 5},
};
/* clang-format on */
enum { OTHER = 60 };

static char first_hop(const struct node *n, unsigned who) {
    struct node_first_hop h;
    char got = '.';
    for (size_t i = 0; node_first_hop(n, i, &h); i++) {
        if (h.identity[0] != who + 1)
            continue;
        cr_expect_eq(got, '.', "named twice");
        got = h.up ? 'u' : 'd';
    }
    return got;
}

static void to_client(struct node *n, struct tun_event ev) {
    node_route_on_tunnel(n, n->now, &ev);
}

Test(node_links, every_state_and_every_event_of_first_hops) {
    for (size_t i = 0; i < sizeof hops / sizeof *hops; i++) {
        char got[2][OF_FIRST + 1] = {0};
        for (enum of_first e = 0; e < OF_FIRST; e++) {
            struct node *n = make();
            for (unsigned who = hops[i].first; who <= hops[i].last; who++)
                to_client(n, link_up(who, 0, 0));
            if (hops[i].down)
                to_client(n, link_down(0, 0));
            if (hops[i].also_down)
                to_client(n, link_down(hops[i].also_down, 0));
            bool late = e == DOWN_LATE; /* of the link before, when there is another */
            if (e == UP || e == UP_AGAIN || late)
                to_client(n, link_up(0, e != UP, 0));
            if (e == DOWN || late)
                to_client(n, link_down(0, 0));
            if (e == OTHER_UP)
                to_client(n, link_up(OTHER, 0, 0));
            if (e == OTHER_DOWN)
                to_client(n, link_down(OTHER, 0));
            got[0][e] = first_hop(n, 0);
            got[1][e] = first_hop(n, OTHER);
            node_free(n);
        }
        cr_expect_str_eq(got[0], hops[i].it, "%s, 0:\n got %s\nwant %s", hops[i].name, got[0],
                         hops[i].it);
        cr_expect_str_eq(got[1], hops[i].other, "%s, 1:\n got %s\nwant %s", hops[i].name, got[1],
                         hops[i].other);
    }
}

/* ---- neighbours of a relay ---- */

enum of_neighbour { N_UP, N_CLIENT, N_WEIGHT, N_DOWN, N_OTHER_WEIGHT, N_OTHER_DOWN, OF_NEIGHBOUR };

/* . not known  0 without weight  w with */
/* clang-format off */
static const struct {
    const char *name, *answers;
    bool known, weighty, full;
} neighbours[] = {
    {"unknown",  "0.....", false, false, false},
    {"known",    "00w.00", true,  false, false},
    {"weighty",  "0ww.ww", true,  true,  false},
    {"no place", "......", false, false, true},
};
/* clang-format on */

static char neighbour(const struct node *n, cv_handle link) {
    for (size_t i = 0; i < n->neighbours_count; i++)
        if (n->neighbours[i].link == link)
            return n->neighbours[i].weight > REP_WEIGHT_MIN ? 'w' : '0';
    return '.';
}

static void to_relay(struct node *n, struct tun_event ev) {
    node_accounts_on_tunnel(n, n->now, &ev);
}

Test(node_links, every_state_and_every_event_of_neighbours) {
    for (size_t i = 0; i < sizeof neighbours / sizeof *neighbours; i++) {
        char got[OF_NEIGHBOUR + 1] = {0};
        for (enum of_neighbour e = 0; e < OF_NEIGHBOUR; e++) {
            struct node *n = make();
            for (unsigned k = 0; neighbours[i].full && k < NODE_NEIGHBOURS_MAX; k++)
                to_relay(n, link_up(1 + k % 100, 1 + k, TUN_ROLE_RELAY));
            if (neighbours[i].known)
                to_relay(n, link_up(0, 0, TUN_ROLE_RELAY));
            if (neighbours[i].known) /* and somebody else */
                to_relay(n, link_up(1, 0, TUN_ROLE_RELAY));
            if (neighbours[i].weighty)
                node_favour_weight(n, n->now, LINK, REP_WEIGHT_MIN + 50);
            size_t before = n->neighbours_count;
            if (e == N_UP || e == N_CLIENT)
                to_relay(n, link_up(0, 0, e == N_UP ? TUN_ROLE_RELAY : TUN_ROLE_CLIENT));
            if (e == N_WEIGHT || e == N_OTHER_WEIGHT)
                node_favour_weight(n, n->now, e == N_WEIGHT ? LINK : LINK + 1, 300);
            if (e == N_DOWN || e == N_OTHER_DOWN)
                to_relay(n, link_down(e == N_DOWN ? 0 : 1, 0));
            got[e] = neighbour(n, LINK);
            bool other_gone = e == N_OTHER_DOWN && neighbours[i].known;
            cr_expect_eq(n->neighbours_count + neighbours[i].known + other_gone,
                         before + (got[e] != '.'), "%s, %u", neighbours[i].name, e);
            if (neighbours[i].known)
                cr_expect_eq(neighbour(n, LINK + 1), other_gone            ? '.'
                                                     : e == N_OTHER_WEIGHT ? 'w'
                                                                           : '0');
            node_free(n);
        }
        cr_expect_str_eq(got, neighbours[i].answers, "%s:\n got %s\nwant %s", neighbours[i].name,
                         got, neighbours[i].answers);
    }
}
