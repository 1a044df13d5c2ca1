/*
 * A network of whole tunnel engines in one process, for fuzz targets: each engine has a
 * socket, a relay perhaps a second one that it only asks from. Nothing takes time but
 * what the clock is told; of what is sent the script loses some and changes an octet.
 */
#ifndef CULVERT_TESTS_FUZZ_NETWORK_H
#define CULVERT_TESTS_FUZZ_NETWORK_H

#include "tunnel/tunnel.h"

enum { NETWORK_ENDS = 12 };

struct network_end {
    struct tunnel *t;               /* borrowed */
    struct cv_addr addr, elsewhere; /* elsewhere.family 0: it has no second socket */
    bool deaf;                      /* nothing reaches it */
};

struct network {
    struct cv_now now;
    struct network_end end[NETWORK_ENDS];
    unsigned ends;
    unsigned drop; /* bit i: the i-th next datagram is lost */
    uint16_t flip_at;
    uint8_t flip;                /* of the next one that arrives; 0: nothing */
    unsigned served, served_max; /* times that all engines are served, in one input */

    void *ctx;
    /* Engine `i` was called: whoever takes its events does so now. */
    void (*events)(void *ctx, unsigned i);
    /* Several engines at one address, the first of which is `i`: whose datagram this is.
     * NULL: there are none. */
    unsigned (*whose)(void *ctx, unsigned i, const uint8_t *buf);
};

/* The next end, in the order in which engines are served. `elsewhere` may be NULL. */
void network_add(struct network *n, struct tunnel *t, const struct cv_addr *addr,
                 const struct cv_addr *elsewhere);

/* Everything that waits, once around; how much it was. */
unsigned network_turn(struct network *n);
/* What is due; afterwards no engine has a deadline that has passed. */
void network_serve(struct network *n);
/* Until all is quiet at this instant. */
void network_settle(struct network *n);
/* For so long, or until `met` (NULL: never). */
void network_run(struct network *n, cv_usec time, bool (*met)(const void *ctx));

#endif
