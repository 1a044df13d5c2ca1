/*
 * A link: a session with one neighbour, over which circuits' cells and control
 * commands travel (docs/protocol/tunnel.md, link handshake and link header).
 * Whoever sends the first flight is the initiator and stays responsible for
 * the next epochs (120 s or 2^20 cells). A session carries once its first
 * valid cell arrived; the one before it is accepted for two round trips more.
 *
 * Inside the engine only; the node names links by handle.
 */
#ifndef CULVERT_TUNNEL_LINK_H
#define CULVERT_TUNNEL_LINK_H

#include "tunnel/relayref.h"
#include "tunnel/tunnel.h"

struct tun_link;

/* What we speak with this relay (version.h); 0: it is too far from us. */
uint8_t tun_ref_version(const struct tunnel *t, const struct tun_relay_ref *to);

/*
 * The link to this relay: the one that is up, the one that is being made, or
 * a new one whose first flight leaves with the next poll_transmit. Borrowed;
 * links live until they go silent. CV_ERR_VERSION: no version in common; LIMIT: table full; DENIED:
 * an address we do not talk to; UNREACHABLE: no address of a family we have.
 */
enum cv_err tun_link_open(struct tunnel *t, const struct cv_now *now,
                          const struct tun_relay_ref *to, struct tun_link **ret);

/* NULL when the handle is dead. */
struct tun_link *tun_link_get(const struct tunnel *t, cv_handle link);

/* Seals and queues a control command (linkcmd.h), ahead of all cells. Its
 * cells are not retried: what matters is repeated by whoever sends it.
 * CV_ERR_AGAIN: the link is not up yet. */
enum cv_err tun_link_control(struct tunnel *t, struct tun_link *l, uint8_t command,
                             uint32_t circuit, const void *body, size_t len);

/* A link, of whichever worker of a relay (worker.h). */
struct tun_link_view {
    const uint8_t *relay; /* as tun_link_relay(); borrowed for this step */
    struct cv_addr addr;  /* as tun_link_addr() */
    bool up;
    bool moving; /* as tun_link_is_moving(); of another worker's: when it said something last */
};
/* False: the handle is dead. */
bool tun_link_view(const struct tunnel *t, cv_handle link, struct tun_link_view *ret);

bool tun_link_is_up(const struct tun_link *l);
cv_handle tun_link_handle(const struct tun_link *l);
struct cv_addr tun_link_addr(const struct tun_link *l); /* of the other end */
cv_usec tun_link_heard_at(const struct tun_link *l);    /* something authentic, last */
/* Since when it has had something to answer and said nothing; 0: it has not. */
cv_usec tun_link_waits_since(const struct tun_link *l);
/* Says something that must be answered at once. Only of one that is up. */
void tun_link_ask(struct tunnel *t, struct tun_link *l);
/* Asks at another address of the other end's own, as its descriptor has it: the link moves there
 * when the answer comes from there. Only of one that is up and ours. */
void tun_link_try(struct tunnel *t, const struct cv_now *now, struct tun_link *l,
                  const struct cv_addr *addr);
/* One that is being made begins anew with what is left of it: the other end was not to be
 * reached before. No-op for others. */
void tun_link_hurry(struct tunnel *t, const struct cv_now *now, struct tun_link *l);
/* What came last came from an address that has not proved to be the other end's: who
 * challenges it must not send it anything else for the same datagram. */
bool tun_link_is_moving(const struct tun_link *l);
/* The identity of a relay at the other end that proved it; NULL: somebody else. */
const uint8_t *tun_link_relay(const struct tun_link *l);

#endif
