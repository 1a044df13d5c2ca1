/*
 * What workers tell each other (worker.h), and what the files of the engine use
 * to say it. Private to the engine.
 */
#ifndef CULVERT_TUNNEL_MESSAGES_H
#define CULVERT_TUNNEL_MESSAGES_H

#include "tunnel/worker.h"

enum tun_message_kind {
    /* datagrams; octets: the datagram, addr: whence */
    TUN_MESSAGE_DATAGRAM = 1, /* of a link of yours, by its index */
    TUN_MESSAGE_FLIGHT,       /* first flight from a network of yours; code 1: or from a link's
                               * new address, answer it */
    TUN_MESSAGE_STRANGER,     /* perhaps an answer to a question of the face's */
    TUN_MESSAGE_FOREIGN,      /* none of the tunnel's */
    TUN_MESSAGE_ADDRESS,      /* addr is (code 1) or is not any more where a link of mine is */

    TUN_MESSAGE_TAKEN,   /* number: so many counted ones of yours are read, transaction: so
                          * many of these were SENDs */
    TUN_MESSAGE_UNASKED, /* at: hop, transaction: its question was lost; code 1: an EXTEND */

    /* from the face */
    TUN_MESSAGE_KEYRING,     /* octets: what is on disk */
    TUN_MESSAGE_ANSWER,      /* at: hop; as tun_answer() */
    TUN_MESSAGE_SEND,        /* at: hop, number: flow; as tun_send() */
    TUN_MESSAGE_LINK_SEND,   /* at: link; as tun_link_send() */
    TUN_MESSAGE_LINK_CLASS,  /* at: link, number */
    TUN_MESSAGE_LINK_WEIGHT, /* at: link, number */
    TUN_MESSAGE_LINK_END,    /* at: link */
    TUN_MESSAGE_DRAIN,       /* code: on */
    TUN_MESSAGE_HOPS_END,    /* number: idle time */
    TUN_MESSAGE_RELAY,       /* at: hop that extends, code: found; octets: struct tun_relay_ref |
                              * (number of octets) EXTEND | descriptor */

    /* to the face */
    TUN_MESSAGE_EVENT,    /* number: user; octets: struct tun_event | what it points to; of a
                           * link's message, addr: of the link, code 1: it is moving */
    TUN_MESSAGE_REQUEST,  /* the same of an event REQUEST, a question */
    TUN_MESSAGE_COUNTERS, /* octets: struct tun_counters */
    TUN_MESSAGE_FIND,     /* other: hop that extends; octets: EXTEND */

    /* introductions; the face knows where the others' points are */
    TUN_MESSAGE_POINT,       /* other: hop, code: is (1) or is no more; octets: key */
    TUN_MESSAGE_POINT_MOVED, /* at: hop; somebody else's holds that key now */
    TUN_MESSAGE_INTRODUCE,   /* other: who asks, at: 0 at the face, then the point */
    TUN_MESSAGE_INTRODUCED,  /* at: who asked, code: status */

    /* rendezvous; the face knows where the others' cookies are */
    TUN_MESSAGE_COOKIE, /* other: hop, code: is (1) or is no more; octets: cookie */
    TUN_MESSAGE_JOIN,   /* other: who joins; octets: cookie | flight */
    TUN_MESSAGE_MEET,   /* at: whose cookie, other: who joins; octets: cookie | flight */
    TUN_MESSAGE_MET,    /* at: who joins, other: whose cookie, code: 0, or why not */
    TUN_MESSAGE_JOINED, /* at: the other circuit's, other: mine; octets: a DATAGRAM's */
    TUN_MESSAGE_PARTED, /* at: the other circuit's, other: mine, which is gone */
};

/* Tells it: a copy of *m with `len` octets behind it, `from` filled in. False, and it is lost:
 * without memory; when it is counted and there is no room; when it may be lost and too
 * many were told in this step. */
bool tun_tell(struct tunnel *t, const struct tun_message *m, const void *buf, size_t len);
/* A stranger's question, that its owner repeats: it takes no room from what must arrive.
 * False: it is lost, and must not count as asked. */
bool tun_tell_question(struct tunnel *t, struct tun_message *m, const void *buf, size_t len);
enum tun_asked { TUN_ASKED_NOBODY, TUN_ASKED_SOMEBODY, TUN_ASKED_LOST };
/* The same as tun_tell() to every other worker. */
void tun_tell_all(struct tunnel *t, const struct tun_message *m, const void *buf, size_t len);

#endif
