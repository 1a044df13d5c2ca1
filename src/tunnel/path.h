/*
 * Choosing the hops of a circuit (docs/protocol/tunnel.md, roles and paths).
 * Path lengths are fixed by purpose. The rules, which tun_path_ok() knows a second
 * time; ahead.c asks it before anything is built, and what breaks one is not built:
 *
 *   - the first hop is one of our guards, the second one of our second layer L;
 *   - never a relay twice, never two of one /16 (v4), /32 (v6) or family;
 *   - beyond the first hop only confirmed relays;
 *   - a relay named by somebody else is never next to our guard, and is reached
 *     through another guard or L when it is one of ours;
 *   - L is never a guard or the spare. Nor is, from TUN_GUARDS_APART relays on, a last
 *     hop that we choose and that is told what we look for (GENERAL, EXIT);
 *   - what others are shown of many of our circuits, the hops behind L of every other
 *     purpose, is drawn before guard and L and whoever these are: whoever never stood
 *     there would be a guard, or would be us (docs/decisions/0088). Below 12 relays two
 *     ways that share none count for more;
 *   - no weight but measured bandwidth, and nobody has more than a twentieth of
 *     it; flat in small networks.
 *
 * For the same reason our own relay may stand where others are shown who stands, and
 * be named as the last hop by somebody else; it is no other hop of our circuits.
 *
 * Pure functions. Too few relays is an error, never a relaxed rule.
 */
#ifndef CULVERT_TUNNEL_PATH_H
#define CULVERT_TUNNEL_PATH_H

#include "tunnel/circuit.h"
#include "tunnel/directory.h"
#include "tunnel/guard.h"
#include "tunnel/refusal.h"
#include "tunnel/third.h"

/* Relays of circuits that a new one should outlive, as many as find room. */
struct tun_path_apart {
    size_t fronts, showns;
    uint8_t front[2 * TUN_APART_MAX][CV_KEY]; /* guards and L: decide about those only */
    uint8_t shown[2 * TUN_APART_MAX][CV_KEY]; /* behind them */
};

/* The next relay of such a circuit: its hop number `at`. */
void tun_path_apart_add(struct tun_path_apart *a, size_t at, const uint8_t identity[CV_KEY]);

struct tun_path_request {
    enum tun_purpose purpose;
    struct tun_relay *named; /* the last hop, when somebody else or a link named it */
    /* Not as last hop: those that were used or failed before. */
    const uint8_t (*avoid)[CV_KEY];
    size_t avoids;
    const struct tun_path_apart *apart; /* as few of them as can be; or NULL */
    bool alive;                         /* rather no path than one through whoever failed lately */
    /* Nowhere: what a confirmation is about must not carry it. Identity or NULL. */
    const uint8_t *without;
    const struct tun_refusals *refusals; /* or NULL */
    /* Of a swarm that is shared: whose third hop of four stays, and behind few of our L;
     * NULL: drawn for this path. */
    const struct tun_third *third;
};

struct tun_path {
    enum tun_purpose purpose;
    uint8_t n;
    const struct tun_relay *named; /* the last hop, when it was not chosen by us; else NULL */
    struct tun_relay *hop[TUN_HOPS_MAX];
};

/* The first so many hops of a path are ours to choose. */
static inline unsigned tun_path_chosen(const struct tun_path *p) {
    return p->n - (p->named != NULL);
}

/* 3 or 4. */
unsigned tun_path_length(enum tun_purpose purpose);

/* Are the hops behind L of such paths shown to others, who may collect them? */
bool tun_path_shown(enum tun_purpose purpose);

/* Descriptor flag that the last hop must have (enum tun_relay_flag). */
unsigned tun_path_flag(enum tun_purpose purpose);

/*
 * AGAIN: no guards or no second layer yet, or what is left is held
 * (refusal.h) for a moment. UNREACHABLE: no path keeps the rules with the relays
 * there are. DENIED: the named relay is not confirmed, a liar, or does not do
 * this. NOMEM. *ret untouched then.
 */
enum cv_err tun_path_choose(struct tun_path *ret, const struct tun_directory *dir,
                            const struct tun_guards *guards, const struct tun_path_request *req,
                            const struct cv_now *now, const struct cv_rng *rng);

/*
 * A viewer's way to a rendezvous point, and a seeder's, is the first of two when there is
 * nothing that it should be apart from: the second shall share no relay with it.
 * Where L are two (below 12 relays) tun_path_choose() prefers a first one that leaves
 * relays for that; here: does this path do so? True for every other request.
 */
bool tun_path_leaves_second(const struct tun_path *path, const struct tun_directory *dir,
                            const struct tun_guards *guards, const struct tun_path_request *req,
                            const struct cv_now *now, const struct cv_rng *rng);

/*
 * One more hop behind a path of three (G-L-M) that a circuit was built along,
 * so that a circuit built ahead becomes one to `last`. False: the rules forbid it.
 */
bool tun_path_extend(struct tun_path *path, struct tun_relay *last, bool named,
                     enum tun_purpose purpose, const struct tun_guards *guards, size_t relays);

/* Do all rules hold, in a network of `relays`? Never false for a path from above,
 * unless `guards` themselves break a rule. */
bool tun_path_ok(const struct tun_path *path, const struct tun_guards *guards, size_t relays);

/* A relay out of n >= 1, by bounded bandwidth (flat below TUN_WEIGHTS_FROM). */
struct tun_relay *tun_path_pick(struct tun_relay *const *relays, size_t n,
                                const struct cv_rng *rng);

#endif
