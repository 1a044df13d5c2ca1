/*
 * A network of whole tunnel engines in one process, for fuzz targets: each engine has a
 * socket, a relay perhaps a second one that it only asks from. Nothing takes time but
 * what the clock is told; of what is sent the script loses some and changes an octet.
 */
#ifndef CULVERT_TESTS_FUZZ_NETWORK_H
#define CULVERT_TESTS_FUZZ_NETWORK_H

#include "base/cursor.h"
#include "tunnel/relayref.h"
#include "tunnel/tunnel.h"

enum { NETWORK_ENDS = 12 };

struct network_end {
    struct tunnel *t;               /* freed with the network */
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

/* Without ends, at the time at which every input begins. */
void network_begin(struct network *n, unsigned served_max, void *ctx,
                   void (*events)(void *ctx, unsigned i));
/* At most `steps` steps of the script, each followed by a look at the properties. */
void network_script(struct network *n, struct cv_rd *script, unsigned steps,
                    void (*step)(void *ctx, struct cv_rd *script), void (*check)(void *ctx));
void network_end(struct network *n);

/* The next end, in the order in which engines are served. `elsewhere` may be NULL. */
void network_add(struct network *n, struct tunnel *t, const struct cv_addr *addr,
                 const struct cv_addr *elsewhere);

/* How to reach a relay; false: it has no descriptor of this day. */
bool network_ref(const struct tunnel *t, int64_t wall, struct tun_relay_ref *ret);

/* Everything that waits, once around; how much it was. */
unsigned network_turn(struct network *n);
/* What is due; afterwards no engine has a deadline that has passed. */
void network_serve(struct network *n);
/* Until all is quiet at this instant. */
void network_settle(struct network *n);
/* For so long, or until `met` (NULL: never). */
void network_run(struct network *n, cv_usec time, bool (*met)(const void *ctx));

/* As the script says: it goes on for 20 ms to 5 s, */
void network_run_some(struct network *n, struct cv_rd *script);
/* nobody is served for up to four hours, and the clock may be a day and more ahead then, */
void network_sleep(struct network *n, struct cv_rd *script);
/* some of the next sixteen datagrams are lost. */
void network_lose(struct network *n, struct cv_rd *script);

#endif
