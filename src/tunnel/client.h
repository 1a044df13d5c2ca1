/*
 * What a client does before anybody asks for a circuit, and a relay to know its
 * neighbours (docs/protocol/tunnel.md, discovery): addresses found in the DHT
 * are asked for their descriptors in one datagram each; of those that answer, a
 * few in different networks become contacts, two of these guards; contacts tell
 * what relays there are and confirm each other's word; second-layer guards are
 * drawn; and two or three circuits wait ready-made. With nothing kept from
 * earlier that takes about ten round trips, all of them in parallel where one
 * does not need the other. Later news comes over circuits only.
 *
 * Attached to a struct tunnel as TUN_USER_CLIENT; it has no calls of its own
 * for time or datagrams. Events NEED_CONTACTS, SAVE, PROOF and CLOCK_OFF are its.
 */
#ifndef CULVERT_TUNNEL_CLIENT_H
#define CULVERT_TUNNEL_CLIENT_H

#include "tunnel/circuit.h"
#include "tunnel/path.h"
#include "tunnel/tunnel.h"

/* ---- for the node ---- */

/* An address under which the DHT says a relay answers. May be called for the
 * same one again and again. LIMIT: enough wait already; DENIED: not an address
 * we talk to. */
enum cv_err tun_contact(struct tunnel *t, const struct cv_now *now, const struct cv_addr *addr);

/*
 * A relay tries others at their addresses from a port from which it has said nothing
 * to them (reach.c), when the node has one: struct tun_config's `elsewhere`. Takes the
 * next question, of 1232 octets; false: none. Call until false, and after it read
 * tun_next_timeout() again. */
bool tun_poll_elsewhere(struct tunnel *t, const struct cv_now *now, struct cv_addr *ret_to,
                        uint8_t ret[TUN_DATAGRAM]);
/* A datagram came there. True: it was the answer to one of these. */
bool tun_on_elsewhere(struct tunnel *t, const struct cv_now *now, const struct cv_addr *from,
                      const uint8_t *buf, size_t len);

/*
 * A circuit for the node: one built ahead when it fits, else a new one along a
 * path of the purpose. `named`: identity of the last hop, or NULL for any. The
 * event CIRCUIT_READY follows in both cases, or CIRCUIT_DOWN. AGAIN: still
 * looking for relays; UNREACHABLE: too few of them, see tun_client_status();
 * NOENT, DENIED: the named relay is not known, or not confirmed.
 */
enum cv_err tun_circuit_open(struct tunnel *t, const struct cv_now *now, enum tun_purpose purpose,
                             const uint8_t *named, cv_handle *ret);

struct tun_client_status {
    uint32_t addresses;   /* waiting to be asked, or being asked */
    uint32_t contacts;    /* relays with a link that tell us of others */
    uint32_t known;       /* relays with a descriptor of the day */
    uint32_t confirmed;   /* of these, usable anywhere in a path */
    uint32_t guards;      /* chosen first hops, of */
    uint32_t guards_up;   /* which so many have a link */
    uint32_t guards_poor; /* which so many let too few circuits through (guard.h) */
    uint32_t seconds;     /* second-layer guards */
    uint32_t ahead;       /* circuits ready and waiting */
    uint32_t missing;     /* relays short of what every kind of path needs; 0: enough */
    struct {              /* relay, for each of tun_config's addr: others that had us tried from */
        uint32_t by;      /* outside, and we were there; */
        uint32_t not_by;  /* the same, and we were not: they tell nobody of us */
    } reach[2];
    bool ready;       /* a circuit was built */
    cv_usec ready_at; /* when first; 0: not yet */
};

/* Zeros for an engine without a client. */
void tun_client_status(const struct tunnel *t, const struct cv_now *now,
                       struct tun_client_status *ret);

/* A first hop of ours, as far as priority tokens go. */
struct tun_client_guard {
    uint8_t identity[CV_KEY];
    cv_handle link;            /* 0: none is up */
    bool issues;               /* its confirmed descriptor of the day in use names a key: */
    uint8_t token_key[CV_KEY]; /* this one */
    uint32_t day;
};

/* The i-th; false when there are no more. */
bool tun_client_guard(const struct tunnel *t, const struct cv_now *now, size_t i,
                      struct tun_client_guard *ret);

/* Is a saved blob of guards sound? CV_ERR_CORRUPT or VERSION when it is not;
 * tun_new() would begin with new guards then, which is worth a word to a person. */
enum cv_err tun_guards_blob_check(const void *blob, size_t len);

/* ---- inside the module ---- */

/* Plugs a client into an engine; the engine frees it. `guards`: the saved blob
 * or NULL. NOMEM. */
enum cv_err tun_client_attach(struct tunnel *t, const struct cv_now *now, const void *guards,
                              size_t guards_len);

struct tun_directory *tun_client_directory(const struct tunnel *t);
/* A signed descriptor, whoever showed it: as tun_directory_add(). */
enum cv_err tun_client_show(struct tunnel *t, const struct cv_now *now, const void *raw,
                            size_t len);
const struct tun_guards *tun_client_guards(const struct tunnel *t);

/*
 * A circuit for `user` along a path for `req`: one built ahead, possibly with a
 * hop more, or a new one. It may be ready already: ask tun_circuit_info(). Errors
 * as tun_path_choose() and tun_circuit_build().
 */
enum cv_err tun_client_open(struct tunnel *t, const struct cv_now *now,
                            const struct tun_path_request *req, enum tun_user user, cv_handle *ret);

/* A user's circuit went DOWN after `built` hops had answered, or stands still
 * there: whoever did not answer is avoided for a while. Call it for every such
 * event, and before closing what took too long. */
void tun_client_failed(struct tunnel *t, const struct cv_now *now, cv_handle circuit,
                       uint32_t built);

/* A user's circuit became READY: all its hops answered, and none of them is
 * avoided any more. Else what is left when nothing better is would be built,
 * given up for its hop's sake, and built again as fast as the wire allows. */
void tun_client_built(struct tunnel *t, const struct cv_now *now, cv_handle circuit);

/* A READY circuit fell silent. Takes it from its user and asks each hop for a
 * sign of life; the first that gives none is avoided for a while. */
void tun_client_suspect(struct tunnel *t, const struct cv_now *now, cv_handle circuit);

/* The same for a circuit that may only be slow: its user keeps it, and hands on
 * every REPLY that is a PONG or none at all. */
void tun_client_probe(struct tunnel *t, const struct cv_now *now, cv_handle circuit);
/* A probe found that one of its hops does not answer. */
bool tun_client_is_dead(const struct tunnel *t, cv_handle circuit);
/* One of its hops did not answer lately, to whichever circuit. */
bool tun_client_avoids(const struct tunnel *t, cv_handle circuit);
void tun_client_on_pong(struct tunnel *t, const struct cv_now *now, const struct tun_event *ev);

/* When there was a link again after all had been lost: what failed before it is nobody's fault.
 * 0: never. */
cv_usec tun_client_back_at(const struct tunnel *t);

/* How long a circuit may take to be built, by what others took. */
cv_usec tun_client_patience(const struct tunnel *t);

#endif
