/*
 * Who sends next. Cells wait in one queue a circuit and direction (a flow);
 * flows are served quietest first, then round robin, inside their group (the
 * /24 or /56 of the client; the neighbour relay, or the /16 or /32 of those
 * without standing); groups by deficit round robin inside their class; classes
 * by virtual time in proportion to their shares: 50, 25, 20, 5 for the gate's
 * classes 0 to 3, and as much as all of these for traffic between relays. What
 * a class does not use the others get.
 * No group is served faster than one of a higher gate class, and none of class 3
 * more than a quarter as fast: where few share one class and many the one above,
 * both shares are one that is divided by heads. Else whoever throws away a name
 * that is in debt would be better off than who gives (decision 0085). Every step
 * is O(1).
 *
 * A turn of a flow or class is sixteen cells, which leave in one segmented
 * send, or what the relay's rate carries in 4 ms if that is less: whoever waits
 * for the turns of others must not take them for a queue of his own, or
 * delay-based congestion control gives way to everybody who sends more.
 *
 * Each queue runs CoDel (RFC 8289) with target 100 ms and interval 300 ms: the
 * usual 5 ms would starve a delay-based congestion control with a 60 ms
 * target. Drops are at the head. Queue memory comes from one pool that is
 * capped as a whole; flows have caps of their own, beyond which the oldest
 * cell goes. What waits for one link is counted for whoever caps that.
 */
#ifndef CULVERT_TUNNEL_SCHEDULER_H
#define CULVERT_TUNNEL_SCHEDULER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/err.h"
#include "base/time.h"
#include "tunnel/limits.h"

/* Classes: 0..3 of the gate, then these. */
enum tun_sched_class {
    TUN_SCHED_GATE = 0,
    TUN_SCHED_RELAYS = 4, /* both neighbours are relays */
    TUN_SCHED_OWN,        /* circuits of this node */
    TUN_SCHED_CLASSES,
};

struct tun_cell {
    struct tun_cell *next;
    cv_usec queued_at;
    uint32_t layer;                /* layer sequence of the link header */
    uint8_t octets[TUN_WRAP_ROOM]; /* a cell, and room to wrap our own */
};

struct tun_flow;
TAILQ_HEAD(tun_flow_list, tun_flow);

/* Flows that are counted as one neighbour or one network. Made by whoever
 * keeps the links; lives until its last flow left. */
struct tun_sched_group {
    TAILQ_ENTRY(tun_sched_group) entry; /* in its class, while it has cells */
    struct tun_flow_list fresh, tired;  /* flows with cells */
    int32_t deficit;
    uint16_t weight; /* share of its class; TUN_WEIGHT_NEW: one turn a round */
    uint8_t class;   /* enum tun_sched_class */
    bool active;
};

TAILQ_HEAD(tun_sched_groups, tun_sched_group);

enum tun_flow_state { TUN_FLOW_IDLE = 0, TUN_FLOW_FRESH, TUN_FLOW_TIRED };

/* One queue. Zeroed, then tun_flow_init(). */
struct tun_flow {
    /* seldom: */
    cv_usec drop_at;  /* CoDel's, */
    uint32_t drops;   /* in this dropping state */
    uint32_t granted; /* cells that may go before the next grant */
    /* with every cell: */
    TAILQ_ENTRY(tun_flow) entry;
    struct tun_sched_group *group; /* borrowed */
    void *owner;                   /* whoever sends its cells */
    struct tun_cell *head, *tail;
    uint32_t *load;   /* cells of all flows to the same link; borrowed. NULL: not counted */
    cv_usec above_at; /* when the delay will have been too long for an interval; 0: it is not */
    uint32_t count, max;
    int32_t deficit;
    uint8_t state; /* enum tun_flow_state */
    bool patient;  /* no CoDel: the sender itself is told to wait */
    bool held;     /* only what was granted goes out: a constant rate */
    bool dropping; /* CoDel's */
};

struct tun_sched {
    struct tun_sched_groups class[TUN_SCHED_CLASSES];
    uint64_t pass[TUN_SCHED_CLASSES]; /* virtual time at which its next cell begins */
    uint64_t cost[TUN_SCHED_CLASSES]; /* virtual time that a cell of it takes now */
    uint64_t load[TUN_SCHED_CLASSES]; /* sum of the weights of groups with cells */
    uint64_t virtual_now;
    unsigned current; /* class being served, */
    int32_t turn;     /* and for so many cells more */
    int32_t burst;    /* cells of one turn */
    /* pool */
    struct tun_cell *free;
    void **blocks;
    uint32_t blocks_used, blocks_max;
    uint32_t cells_used, cells_queued;
    uint32_t listed; /* flows with something to send now */
    uint64_t dropped_codel, dropped_cap;
};

/* At most `octets_max` of memory for cells. Allocates as it grows. */
enum cv_err tun_sched_init(struct tun_sched *s, uint64_t octets_max);
/* It is emptied at `octets_s`; 0, and before this was called: at once. */
void tun_sched_pace(struct tun_sched *s, uint64_t octets_s);
void tun_sched_done(struct tun_sched *s); /* flows are simply forgotten */

/* An empty cell, NULL when the pool is at its cap. Give it to tun_sched_put()
 * or back with tun_sched_release(). */
struct tun_cell *tun_sched_take(struct tun_sched *s);
void tun_sched_release(struct tun_sched *s, struct tun_cell *c);

void tun_sched_group_init(struct tun_sched_group *g, unsigned class, unsigned weight);
/* Moves a group with all its waiting cells to another class or weight. */
void tun_sched_group_set(struct tun_sched *s, struct tun_sched_group *g, unsigned class,
                         unsigned weight);

void tun_flow_init(struct tun_flow *f, struct tun_sched_group *g, void *owner, uint32_t max);
/* From now on its cells are counted in *load, too. The flow is empty. */
void tun_flow_count(struct tun_flow *f, uint32_t *load);
/* Moves a flow, with its cells, to another group. */
void tun_flow_move(struct tun_sched *s, struct tun_flow *f, struct tun_sched_group *g);
/* Drops what waits; afterwards the flow is in no list. */
void tun_flow_clear(struct tun_sched *s, struct tun_flow *f);

/* From now on it sends what is granted and nothing else. */
void tun_flow_hold(struct tun_sched *s, struct tun_flow *f);
/* `cells` more of a held flow may go, to TUN_GRANT_MAX; CoDel looks at what waits.
 * Returns how many of these are missing: put so many, or less goes out. */
uint32_t tun_flow_grant(struct tun_sched *s, struct tun_flow *f, uint32_t cells, cv_usec now);
/* The next cell of a held flow, past CoDel and out of any turn: for one that goes where the
 * scheduler does not send. NULL: it is empty. The caller's, as tun_sched_next(). */
struct tun_cell *tun_flow_take(struct tun_sched *s, struct tun_flow *f, cv_usec now);
/* The end of holding: all that waits may go. */
void tun_flow_let_go(struct tun_sched *s, struct tun_flow *f);

static inline bool tun_flow_full(const struct tun_flow *f) {
    return f->count >= f->max;
}

/* Takes over `c`. A full flow loses its oldest cell instead. */
void tun_sched_put(struct tun_sched *s, struct tun_flow *f, struct tun_cell *c, cv_usec now);

/* The next cell to send and its flow; NULL when nothing waits that may go. The cell is the
 * caller's: tun_sched_release() it. */
struct tun_cell *tun_sched_next(struct tun_sched *s, cv_usec now, struct tun_flow **ret_flow);

/* Gives the pool's memory back when no cell is out: for idle moments. */
void tun_sched_trim(struct tun_sched *s);

#endif
