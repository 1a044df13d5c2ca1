/* Every limit of the node in one place; what happens beyond it is at its use. */
#ifndef CULVERT_NODE_LIMITS_H
#define CULVERT_NODE_LIMITS_H

#include "base/time.h"

#define NODE_DHT_SAVE_EVERY    CV_SEC(300)
#define NODE_LOOKUP_WAIT_FIRST CV_MSEC(200) /* between look-ups of relays; doubles */
#define NODE_LOOKUP_WAIT_MAX   CV_SEC(600)
#define NODE_WANTED_AGAIN      CV_SEC(150)  /* who is short of relays says so every minute */
#define NODE_ANNOUNCE_EVERY    CV_SEC(1500) /* entries live 30 to 45 minutes */
#define NODE_ANNOUNCE_RETRY    CV_SEC(1)
#define NODE_OTHER_DAYS_AFTER  CV_SEC(4)   /* without any relay: is our clock wrong? */
#define NODE_SLEPT             CV_SEC(600) /* without a moment of ours: the machine did */
#define NODE_CLOCK_SET         600         /* seconds: a wall clock that was wrong, or is */
#define NODE_TOO_FEW_AFTER     CV_SEC(10)
#define NODE_SWARM_RETRY       CV_SEC(5)
#define NODE_PRIORITY_EVERY    CV_SEC(60) /* what a relay does about its tokens; in a hurry */
#define NODE_PRIORITY_HURRY    CV_SEC(1)
#define NODE_PRIORITY_REPEAT   CV_SEC(2)   /* a token is said again: links lose cells */
#define NODE_DIAL_WAIT         CV_MSEC(50) /* until a relay is known; costs no datagram */

enum node_limits {
    NODE_WORKERS_MAX = 16, /* engines of one relay (tunnel/worker.h) */
    NODE_SWARMS_MAX = 256, /* open at once; node_swarm_open says LIMIT */
    NODE_EVENTS_MAX = 256, /* waiting; beyond it peers' comings and goings are lost */
    /* ... and of all else one a kind and swarm waits, so that nothing is lost:
     * seven kinds of a swarm, sixteen of the node. */
    NODE_EVENTS_ALL = NODE_EVENTS_MAX + 7 * NODE_SWARMS_MAX + 16,
    NODE_ERRANDS_MAX = 256,   /* DHT work for others' circuits; refused beyond */
    NODE_ERRANDS_HOP = 32,    /* of them for one circuit, */
    NODE_ERRANDS_NETWORK = 4, /* and one part in so many of what is free for one network */
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

    /* --- a swarm exit (exitfilter.h) --- */
    NODE_EXITS = 8,            /* its sockets: callers of one peer at a time */
    NODE_EXIT_OWN_MAX = 32,    /* addresses whose networks are never called, */
    NODE_EXIT_OWN_BITS_4 = 24, /* so many bits of them */
    NODE_EXIT_OWN_BITS_6 = 48,
    NODE_EXIT_FLOWS_MAX = 1024,       /* in all, */
    NODE_EXIT_OWNER_FLOWS = 16,       /* and of one circuit */
    NODE_EXIT_OWNERS_MAX = 1024,      /* circuits with flows, or with some a minute ago */
    NODE_EXIT_OPENS_S = 1,            /* CONNECTs of one circuit a second, */
    NODE_EXIT_OPENS_BURST = 32,       /* and at once */
    NODE_EXIT_CALL_MAX = 256,         /* octets of a handshake that calls */
    NODE_EXIT_CALLS_S = 50,           /* of all circuits, a second; burst four times that */
    NODE_EXIT_OWNER_CALLS_S = 1,      /* of one circuit, a second, */
    NODE_EXIT_OWNER_CALLS_BURST = 48, /* and at once: three to each of its flows */
    NODE_EXIT_ADDRESS_CALLS = 3,      /* without an answer in NODE_EXIT_CALL_WINDOW, */
    NODE_EXIT_HOST_CALLS = 9,         /* and to all ports of a host (a /64) */
    NODE_EXIT_CALLED_MAX = 8192,      /* addresses and hosts remembered for that; then nobody new */
    NODE_EXIT_DATAGRAM_MAX = 1500,    /* octets; what is longer did not come in one piece */
    NODE_EXIT_OUT_S = 2 << 20,        /* octets a second of one flow, to its peer */
    NODE_EXIT_IN_S = 32 << 20,        /* and from it */
    NODE_EXIT_QUEUE = 128,            /* datagrams that wait for one of the sockets */

    /* --- a viewer who uses one (exitway.c) --- */
    NODE_WAY_PEERS = 32, /* known of one swarm */
    NODE_WAY_FLOWS = 8,  /* called at a time */
};

/* Before its end (40 to 60 minutes) a circuit to an exit, or to a relay that shares openly, gets a
 * successor. */
#define NODE_CIRCUIT_CHANGE   CV_SEC(300)
#define NODE_DRAIN_IDLE       CV_SEC(10) /* of silence: a circuit that does nothing */
#define NODE_EXIT_CALL_WINDOW CV_SEC(60)
#define NODE_EXIT_UNANSWERED  CV_SEC(30)  /* a flow that nobody answered */
#define NODE_EXIT_SILENCE     CV_SEC(120) /* one on which either side is silent */
#define NODE_EXIT_LOOK_EVERY  CV_SEC(1)
#define NODE_WAY_WAIT         CV_MSEC(250) /* until a path to an exit is looked for again */
#define NODE_WAY_EXITLESS     CV_SEC(5)    /* without a path to an exit, until that is said */
#define NODE_WAY_PEER_WAIT    CV_SEC(30)   /* until who did not answer is called again */
#define NODE_WAY_LOOK_EVERY   CV_SEC(120)  /* for peers in the DHT, while there are too few */

#endif
