/*
 * Whom to serve when not everybody can be served (CHOKE and UNCHOKE, RFC 7574
 * section 3.9). A swarm has so many slots; every ten seconds they go to the peers of
 * the highest rank, which comes from outside (ppsp_peer_rank), among equals to those
 * that gave us most since the last time. One slot more for four goes by lot, for
 * half a minute, among those who waited longest: whoever is new has to be able to show himself. All
 * others are choked. Whoever has everything needs no slot, and is served nothing.
 *
 * Without slots (0, the default) nobody is choked. Both messages may get lost: an
 * UNCHOKE is said again, at growing intervals, until a REQUEST comes; a REQUEST of a
 * choked peer is answered with CHOKE, at most once a second.
 */
#ifndef CULVERT_PPSP_RECIPROCITY_H
#define CULVERT_PPSP_RECIPROCITY_H

#include <stdbool.h>

#include "base/cursor.h"
#include "base/time.h"

struct ppsp_channel;
struct ppsp_swarm;

/* Gives the slots anew when it is time to. */
void ppsp_reciprocity_work(struct ppsp_swarm *s, cv_usec now);
cv_usec ppsp_reciprocity_next(const struct ppsp_swarm *s);

/* A channel opened: unchoked, until the slots are given anew, which is soon. */
void ppsp_reciprocity_up(struct ppsp_channel *c, cv_usec now);

/* A REQUEST came. False: the peer is choked, or said that it lacks nothing. */
bool ppsp_reciprocity_serves(struct ppsp_channel *c, cv_usec now);

/* CHOKE or UNCHOKE that has to be said; ppsp_reciprocity_tells() says whether and when. */
cv_usec ppsp_reciprocity_tells(const struct ppsp_channel *c);
void ppsp_reciprocity_tell(struct ppsp_channel *c, cv_usec now, struct cv_wr *w);

#endif
