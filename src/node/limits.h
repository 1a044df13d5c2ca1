/* Every limit of the node in one place; what happens beyond it is at its use. */
#ifndef CULVERT_NODE_LIMITS_H
#define CULVERT_NODE_LIMITS_H

#include "base/time.h"

#define NODE_DHT_SAVE_EVERY    CV_SEC(300)
#define NODE_LOOKUP_WAIT_FIRST CV_MSEC(200) /* between look-ups of relays; doubles */
#define NODE_LOOKUP_WAIT_MAX   CV_SEC(600)
#define NODE_ANNOUNCE_EVERY    CV_SEC(1500) /* entries live 30 to 45 minutes */
#define NODE_ANNOUNCE_RETRY    CV_SEC(1)
#define NODE_OTHER_DAYS_AFTER  CV_SEC(4) /* without any relay: is our clock wrong? */
#define NODE_TOO_FEW_AFTER     CV_SEC(10)
#define NODE_SWARM_RETRY       CV_SEC(5)
#define NODE_PRIORITY_EVERY    CV_SEC(60) /* what a relay does about its tokens; in a hurry */
#define NODE_PRIORITY_HURRY    CV_SEC(1)
#define NODE_PRIORITY_REPEAT   CV_SEC(2)   /* a token is said again: links lose cells */
#define NODE_DIAL_WAIT         CV_MSEC(50) /* until a relay is known; costs no datagram */

enum node_limits {
    NODE_SWARMS_MAX = 256, /* open at once; node_swarm_open says LIMIT */
    NODE_EVENTS_MAX = 256, /* waiting; beyond it peers' comings and goings are lost */
    /* ... and of all else one a kind and swarm waits, so that nothing is lost:
     * six kinds of a swarm, sixteen of the node. */
    NODE_EVENTS_ALL = NODE_EVENTS_MAX + 6 * NODE_SWARMS_MAX + 16,
    NODE_ERRANDS_MAX = 256,   /* DHT work for others' circuits; refused beyond */
    NODE_ERRANDS_HOP = 32,    /* of them for one circuit: nobody takes them all */
    NODE_ANNOUNCES_MAX = 6,   /* three levels, two days */
    NODE_LEVEL_FULL = 300,    /* peers at a relay key from which on we do not add */
    NODE_SCRATCH_SLOTS = 128, /* datagrams moved from ppsp to circuits at once */
    NODE_SCRATCH_RUNS = 64,
    NODE_SCRATCH_STRIDE = 1232,
    NODE_READ_OCTETS = 65536,    /* of one node_read; a chunk is never larger */
    NODE_SHARE_FROM_CHUNKS = 64, /* a viewer that has so many becomes a seeder */
    NODE_FIRST_HOPS_MAX = 32,    /* remembered for status */
    NODE_PEERS_SHOWN = 64,       /* of one swarm in peers and path */
    NODE_NEIGHBOURS_MAX = 256,   /* relays with a link, known by address; beyond: unknown */
    NODE_RANKED_MAX = 128,       /* peers of a swarm, as many as ppsp has */
    NODE_SLOTS_MIN = 4,          /* peers served at a time by a swarm whose upload is limited, */
    NODE_SLOTS_MAX = 64,         /* .. at most, and one for each so many octets a second */
    NODE_SLOT_OCTETS_S = 65536,
    NODE_PRIORITY_LINKS = 4, /* first hops with a token shown at a time */
    NODE_PRIORITY_TRIES = 3,
    NODE_SETTLE_ROUNDS = 1000, /* more is put off to the next step */
};

#endif
