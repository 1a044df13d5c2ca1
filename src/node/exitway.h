/*
 * What a viewer knows of its way through a swarm exit: the circuit, a question there for
 * peers, and a flow to each of a few of them. Of exitway.c, and of the table of its states
 * and messages; everybody else has the functions of state.h. Times: microseconds (struct
 * cv_now's mono). Nothing here is owned by anybody but node_way_new()'s caller.
 */
#ifndef CULVERT_NODE_EXITWAY_H
#define CULVERT_NODE_EXITWAY_H

#include "base/endpoint.h"
#include "node/exitpart.h"
#include "node/limits.h"

enum node_way_peer_state {
    NODE_WAY_IDLE = 0, /* not called, or not any more */
    NODE_WAY_ASKED,    /* CONNECT is under way */
    NODE_WAY_UP,       /* a peer of the ppsp engine */
};

struct node_way_peer {
    struct cv_addr addr;
    enum node_way_peer_state state;
    uint16_t flow;        /* not 0 when it is not idle */
    uint32_t transaction; /* of the CONNECT */
    cv_usec again_at;     /* idle: not before */
    bool given;           /* by the user, not by an exit */
    struct exit_join join;
};

struct node_way {
    cv_handle circuit; /* to the exit; 0: not (yet) */
    cv_usec ends_at;   /* ready: it is used no longer */
    bool ready;        /* the circuit is there */
    bool looked;       /* the exit was asked and answered */
    uint32_t lookup;   /* transaction of the question under way */
    cv_usec look_at, dial_at;
    cv_usec pause;       /* before the next circuit, once one went; 0: a peer was there since */
    cv_usec exitless_at; /* when it is said that there is no path to an exit; 0: there was one */
    uint16_t last_flow;
    unsigned peers;
    struct node_way_peer peer[NODE_WAY_PEERS];
};

#endif
