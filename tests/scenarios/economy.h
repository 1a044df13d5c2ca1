/*
 * The two halves of the scenario `economy`: who ranks, and who is served. Both
 * through the ledger, its ranking, its gate and the tunnel's scheduler as they are.
 * Running out of memory ends the program.
 */
#ifndef CULVERT_TESTS_SCENARIOS_ECONOMY_H
#define CULVERT_TESTS_SCENARIOS_ECONOMY_H

#include <stdint.h>
#include <stdio.h>

/*
 * A network of relays with rows, as one of them ranks it: its neighbours compete for
 * what it carries, and rows between competitors count nothing (rank_walk.h). One relay
 * after the other attacks. Figures are the worst of all attackers, shapes of what they
 * hang behind themselves (star, cycle, clique) and numbers of fakes.
 */
enum { ECONOMY_SIZES = 4 }; /* 1, 10, 100, 1000 fakes */
extern const unsigned economy_sizes[ECONOMY_SIZES];

enum economy_shape { ECONOMY_STAR, ECONOMY_CYCLE, ECONOMY_CLIQUE, ECONOMY_SHAPES };
extern const char *const economy_shapes[ECONOMY_SHAPES];

/* Relays by number; fakes come behind the honest ones. EGO is the relay that ranks and serves, HUB
 * the one with the most neighbours. */
enum { ECONOMY_RELAYS = 120, ECONOMY_FAKES_MAX = 1000, ECONOMY_EGO = 0, ECONOMY_HUB = 1 };

struct economy_row {
    unsigned a, b;   /* not the same */
    uint64_t octets; /* each way */
};

struct economy_network {
    struct economy_row rows[ECONOMY_RELAYS * 5]; /* of two for one pair the last one stands */
    unsigned n;
};

/* Few relays carry much, and have many neighbours. */
void economy_honest(uint64_t seed, struct economy_network *ret);

/* What `n` fakes behind an attacker say of each other, row by row. */
typedef void economy_put(void *ctx, unsigned a, unsigned b, uint64_t octets);
void economy_fakes(unsigned attacker, enum economy_shape shape, unsigned n, economy_put *put,
                   void *ctx);

enum { ECONOMY_PROOF_S = 60 }; /* a forgery is proven within so long */

struct economy_standing {
    double own;                /* the attacker's score, of what it is without fakes */
    double all[ECONOMY_SIZES]; /* that of it and its fakes together */
    double all_off;        /* by how many deviations, as walks are drawn, that is above 1 / .15 */
    double order;          /* honest competitors that change places: part of all pairs */
    double order_hub;      /* the same, behind the relay with the most neighbours */
    double order_word;     /* the same without fakes: what the attacker's word decides */
    double order_beyond;   /* the worst of `order`, less that attacker's word */
    double off;            /* walks, of a relay whose chance is not what the walks say; 0 */
    double order_hub_far;  /* of all honest relays, not only of those that compete */
    double order_gone;     /* when that relay has no fakes, and no rows any more: */
    double order_gone_far; /* what anybody can do who others are known through */
    unsigned batches;      /* of priority tokens, for an attacker and its fakes */
    double collusion;      /* two competitors that vouch for each other: both scores, of before */
    double collusion_far;  /* the same for two that have no link here */
    double junk_own;       /* what pushing junk through honest relays to a sink of one's own adds
                              to one's score, of what carrying as much for others would, */
    double junk;           /* and what it adds to that and the sink's together */
    /* The hub shows two half-blocks with one number to two that have no link with each other. */
    uint32_t forger_before;
    uint32_t forger; /* its score once ego has the proof */
    double proof_s;  /* until then */
};

/* Writes rows to csv when it is not NULL. */
void economy_standing(uint64_t seed, FILE *csv, struct economy_standing *ret);

/*
 * One saturated relay whose clients always want more: contributors, free-riders,
 * whitewashers who take a new key whenever they are in debt, newcomers, holders of
 * tokens, and a thousand fake newcomers behind ten networks. Once with as many of
 * each, once with a crowd of one kind and one of the others. Medians of the worst. Some
 * newcomers come before the fakes and some after.
 */
#define ECONOMY_NEWCOMER 0.15     /* of a fair share: what somebody new has soon */
enum { ECONOMY_NEVER = 1000000 }; /* seconds: not within the minute that was looked at */

struct economy_service {
    double contributor; /* cells a second, in the first population */
    double rider;       /* of a contributor */
    double washer;      /* of a contributor */
    double newcomer;    /* in the first minute, of an equal share */
    /* Seconds until a newcomer had ECONOMY_NEWCOMER for good: the median of all newcomers, and
     * the 95th of a hundred. Beside the fakes a share is that of a network. */
    double newcomer_median, newcomer_late;
    double flooded; /* what class 0 has left, once the fakes are there */
    double alone;   /* what a free-rider gets of an idle relay, of all there is */
};

void economy_service(uint64_t seed, FILE *csv, struct economy_service *ret);

/*
 * What one relay carries in an epoch for an attacker and its fakes, who have addresses in two
 * providers' networks and want more than there is, as do all others: relays that compete here,
 * their owners with their tokens, clients of all classes. Of what it carries for the attacker
 * without fakes, from the same addresses; the worst of all attackers, shapes, and of who of them
 * has links as a relay.
 */
struct economy_epoch {
    double served[ECONOMY_SIZES];
    double links;     /* the same without fakes, for many links under one name */
    unsigned batches; /* of priority tokens, for an attacker and its fakes */
    unsigned honest_batches;
};

void economy_epoch(uint64_t seed, FILE *csv, struct economy_epoch *ret);

#endif
