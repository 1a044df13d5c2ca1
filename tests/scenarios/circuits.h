/*
 * Known circuits: who would build which, by the tunnel's own guards and paths over
 * signed, confirmed descriptors of the day. No cell flies; for what only the choice
 * of hops and the octets along them decide. Running out of memory ends the program.
 */
#ifndef CULVERT_TESTS_SCENARIOS_CIRCUITS_H
#define CULVERT_TESTS_SCENARIOS_CIRCUITS_H

#include <stdbool.h>
#include <stdint.h>

#include "crypto/keys.h"
#include "tunnel/path.h"

enum { CIRCUITS_NODES_MAX = 512 };

struct circuits {
    struct tun_directory *dir;
    const struct cv_rng *rng;
    int64_t wall;           /* now */
    unsigned nodes, relays; /* numbers below `relays` relay, too */
    const struct cv_ed25519_secret *identity[CIRCUITS_NODES_MAX]; /* of relays; borrowed */
    uint32_t bandwidth[CIRCUITS_NODES_MAX];                       /* of relays, KiB/s */
    uint32_t day;                                                 /* of the descriptors */
    bool apart; /* planted: guards and one's own relay are never shown, as it was before 0088 */
    struct tun_guards guards[CIRCUITS_NODES_MAX];
    struct tun_third third[CIRCUITS_NODES_MAX]; /* each shares one swarm */
};

/* identity, bandwidth, nodes, relays, rng and wall are set; chooses everybody's guards. */
void circuits_begin(struct circuits *c);
void circuits_end(struct circuits *c);

/* To c->wall: descriptors of the day, second layers whose time is over. */
void circuits_day(struct circuits *c);

/* The hops of a circuit of `node`, by number; `last` < 0: as the node likes. Returns
 * how many; 0: the rules leave no path. */
unsigned circuits_path(struct circuits *c, unsigned node, enum tun_purpose purpose, int last,
                       unsigned ret[TUN_HOPS_MAX]);

/* Is relay r a first hop in use of `node`? */
bool circuits_is_guard(const struct circuits *c, unsigned node, unsigned r);

#endif
