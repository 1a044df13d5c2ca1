/*
 * The tunnel engine: links between neighbours, onion circuits over links, and
 * the cells that travel on them (docs/protocol/tunnel.md). One relay and one
 * client are two instances of this engine on two UDP sockets: a node's own
 * circuits never share a link, a port or an instance with what it relays.
 *
 * An engine does no I/O. The order of calls:
 *
 *     tun_on_datagram(t, now, from, ...)   one datagram of 1232 octets arrived
 *     tun_on_timeout(t, now)               the deadline passed; early or twice is harmless
 *     tun_poll_transmit(t, now, batch)     take what is to be sent; until it says false
 *     tun_poll_event(t, &event)            take what happened; until it says false
 *     tun_next_timeout(t)                  when to call tun_on_timeout()
 *
 * After any call but the last two, drain poll_transmit and poll_event, then
 * read next_timeout again. At most TUN_EVENTS_MAX events wait: a DATAGRAM
 * beyond that is dropped and counted, so drain at least once in that many
 * datagrams. `now->mono` never goes backwards. Not thread-safe. Nothing calls
 * back into the caller. A forged datagram changes a counter and nothing else.
 */
#ifndef CULVERT_TUNNEL_TUNNEL_H
#define CULVERT_TUNNEL_TUNNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/batch.h"
#include "base/endpoint.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/time.h"
#include "crypto/keys.h"
#include "tunnel/descriptor.h"
#include "tunnel/limits.h"
#include "tunnel/linkcmd.h"

struct tunnel;

/* Octets of one DATAGRAM: to the last hop, from it, and through a rendezvous. */
#define TUN_MTU_FORWARD    1121
#define TUN_MTU_BACKWARD   1169
#define TUN_MTU_RENDEZVOUS 1101
/* Octets of one EXIT behind its flow. */
#define TUN_EXIT_FORWARD  (TUN_MTU_FORWARD - TUN_EXIT_OVERHEAD)
#define TUN_EXIT_BACKWARD (TUN_MTU_BACKWARD - TUN_EXIT_OVERHEAD)

/* What addresses we talk to, extend to and store. A node that listens on
 * loopback speaks to loopback only; PRIVATE allows any unicast address. */
enum tun_address_class { TUN_ADDRESS_PUBLIC = 0, TUN_ADDRESS_LOOPBACK, TUN_ADDRESS_PRIVATE };

/* State the node keeps for the engine between runs; see TUN_EVENT_SAVE. */
enum tun_blob {
    TUN_BLOB_KEYRING = 0, /* relay: signed descriptor and secrets of the day */
    TUN_BLOB_GUARDS,      /* client: guards and second-layer guards */
    TUN_BLOB_COUNT,
};

struct tun_config {
    bool relay;             /* accept links, extend circuits, answer requests */
    uint16_t relay_flags;   /* enum tun_relay_flag, published in the descriptor */
    uint8_t worker;         /* number put into our receiver indices */
    uint8_t workers;        /* engines that are this relay together (worker.h); 0 or 1: this one.
                             * All get the same configuration but `worker` and saved state. */
    uint8_t worker_key[16]; /* the same random octets for all of them */
    uint8_t network_id[8];  /* nothing is exchanged across networks */
    uint8_t address_class;  /* enum tun_address_class */
    uint8_t family;         /* 4 or 6: what its sockets are bound to; 0: both */

    /* relay: the node's identity, which signs the descriptor and AUTH. client:
     * the seed of an account key of its own for each guard, and the relay that no
     * path of ours contains. NULL on a client: its links stay nameless. Copied. */
    const struct cv_ed25519_secret *identity;
    bool nameless; /* client: its links stay nameless in spite of an identity */

    /* relay: where others reach us, of each family at most one; family 0 = none */
    struct cv_addr addr[2];
    bool elsewhere;           /* relay: each of these has another port, see tun_poll_elsewhere() */
    uint32_t bandwidth_kib_s; /* published in the descriptor */
    uint32_t measure_from;    /* relays there must be before capacities are measured */
    uint64_t send_octets_s;   /* shape all sending to this; 0 = as fast as asked */
    bool aes;                 /* the processor has it: suite 2 where both ends do */
    bool gate;                /* obey link classes; false: every link weighs the same */
    uint8_t version;          /* 0: TUN_VERSION; tests have neighbours that are ahead */
    bool tokens;              /* relay: issues priority tokens (crypto/tokenkey.h) */

    /* Limits; 0 = the default of limits.h. */
    uint32_t links_max, hops_max, circuits_max;
    uint64_t queue_octets_max; /* memory of all queues together */

    /* State saved earlier, or NULL. Only read during tun_new(). */
    const void *blob[TUN_BLOB_COUNT];
    size_t blob_len[TUN_BLOB_COUNT];

    /* Lab and demo: publish, confirm and announce without the waits that only
     * matter among strangers. Never on the network "culvert". */
    bool hurry;
};

/* Borrows `rng` for the life of the engine. NULL: out of memory, or a relay
 * without an identity. A worker other than 0 has no directory and no hidden swarms. */
struct tunnel *tun_new(const struct tun_config *cfg, const struct cv_rng *rng,
                       const struct cv_now *now);
/* NULL is allowed; always returns NULL. Says goodbye to nobody: close first. */
struct tunnel *tun_free(struct tunnel *t);

/* Does this datagram belong to the tunnel? True for every datagram of 1232
 * octets that is not a DHT message: a known receiver index, or a first octet
 * other than 'd' or a last one other than 'e'. */
bool tun_is_ours(const struct tunnel *t, const void *buf, size_t len);

/* `buf` will be given to tun_on_datagram() after TUN_EXPECT - 1 others, unless it is not: what
 * it needs is fetched while these are worked on. Nothing else changes, whatever is in it, and
 * nothing is borrowed. For who has several at once and many circuits; see docs/performance.md. */
enum { TUN_EXPECT = 2 };
void tun_expect(struct tunnel *t, const void *buf, size_t len);

/* `buf` is only read during the call. The result is for tests and counters:
 * OK when something was accepted, else why it was dropped. */
enum cv_err tun_on_datagram(struct tunnel *t, const struct cv_now *now, const struct cv_addr *from,
                            const void *buf, size_t len);
void tun_on_timeout(struct tunnel *t, const struct cv_now *now);

/* Fills what room the batch has with runs of 1232 octets to UDP endpoints.
 * True: the batch is full and there may be more; false: nothing more to send
 * now. The batch's stride must leave room for 1232 octets. */
bool tun_poll_transmit(struct tunnel *t, const struct cv_now *now, struct cv_batch *batch);

cv_usec tun_next_timeout(const struct tunnel *t);

/* Our own address changed (another network, another NAT mapping as far as we
 * know): all links continue under fresh receiver indices. */
void tun_on_rebind(struct tunnel *t, const struct cv_now *now);

/* ---- events ---- */

enum tun_event_kind {
    TUN_EVENT_NONE = 0,
    TUN_EVENT_CIRCUIT_READY,
    TUN_EVENT_CIRCUIT_DOWN,
    TUN_EVENT_DATAGRAM,
    TUN_EVENT_REPLY,
    TUN_EVENT_REQUEST,
    TUN_EVENT_HOP_DATAGRAM,
    TUN_EVENT_HOP_DOWN,
    TUN_EVENT_LINK_UP,
    TUN_EVENT_LINK_DOWN,
    TUN_EVENT_LINK_CARRIED,
    TUN_EVENT_LINK_MESSAGE,
    TUN_EVENT_PEER_UP,
    TUN_EVENT_PEER_DOWN,
    TUN_EVENT_HIDDEN_STATE,
    TUN_EVENT_POINTER,
    TUN_EVENT_SAVE,
    TUN_EVENT_NEED_CONTACTS,
    TUN_EVENT_PROOF,
    TUN_EVENT_CLOCK_OFF,
};

/* Who the other end of a link is, as far as it proved: TUN_ROLE_RELAY or
 * TUN_ROLE_CLIENT (an account key of its own for us; linkcmd.h), or this. */
enum { TUN_ROLE_NAMELESS = 0 };

/* Pointers are borrowed and valid until the next call of any function of this
 * engine. */
struct tun_event {
    enum tun_event_kind kind;
    union {
        /* All hops of a circuit answered; it can carry. `hops` of them. */
        struct {
            cv_handle circuit;
            uint32_t hops;
            cv_usec took; /* since it was opened */
        } circuit_ready;
        /* Gone, the handle is dead. `err`: TIMEDOUT, UNREACHABLE, DIFFERS,
         * CLOSED (torn down by a hop). Never for tun_circuit_close(). */
        struct {
            cv_handle circuit;
            enum cv_err err;
            uint32_t hops; /* how many had answered */
        } circuit_down;
        /* A datagram of the far end of one of our circuits. */
        struct {
            struct cv_endpoint from;
            const uint8_t *buf;
            size_t len;
        } datagram;
        /* What the last hop said: the answer to a request of ours (repeats and
         * several cells for one transaction are possible), or on its own
         * accord (INTRODUCTION, JOINED: transaction 0). err is TIMEDOUT when
         * five tries went unanswered, DENIED with `code` for an ERROR cell. */
        struct {
            cv_handle circuit;
            uint32_t transaction;
            enum cv_err err;
            uint8_t command;     /* relaycmd.h */
            uint8_t code;        /* of an ERROR */
            const uint8_t *body; /* behind the transaction */
            size_t len;
        } reply;
        /* At a relay: somebody's circuit ends here and asks for something that
         * the engine itself cannot answer (LOOKUP, PUT, OPEN, CONNECT). Answer with
         * tun_answer(); a repeated request is not reported again. */
        struct {
            cv_handle hop;
            struct cv_addr from; /* of the hop before */
            uint32_t transaction;
            uint8_t command;
            const uint8_t *body;
            size_t len;
        } request;
        /* At a relay that shares openly: a datagram on a circuit that ends here and was
         * opened with OPEN, or whose OPEN is not answered yet; at a swarm exit, with a flow
         * other than 0, one of a flow that was CONNECTed. Reply with tun_send() to this
         * endpoint. */
        struct {
            struct cv_endpoint from;
            const uint8_t *buf;
            size_t len;
        } hop_datagram;
        /* A circuit that had asked something of the node is gone. */
        struct {
            cv_handle hop;
        } hop_down;
        /* LINK_UP comes when a link carries, and once more when the other side
         * proved who it is. `ours`: we initiated it. */
        struct {
            cv_handle link;
            uint8_t role;             /* TUN_ROLE_NAMELESS or enum tun_role */
            uint8_t identity[CV_KEY]; /* zeros when nameless */
            struct cv_addr addr;
            bool ours;
        } link_up;
        struct {
            cv_handle link;
            enum cv_err err;
        } link_down;
        /* RELAY cells that passed tag and window since the last such event;
         * octets of whole datagrams. At most one a link and second. */
        struct {
            cv_handle link;
            uint64_t out_octets, in_octets;
        } link_carried;
        /* A link command that is the node's business (LEDGER, TOKEN). */
        struct {
            cv_handle link;
            uint8_t command; /* linkcmd.h */
            const uint8_t *body;
            size_t len;
        } link_message;
        /* hidden.h: a hidden swarm met a peer; datagrams flow at `endpoint`. */
        struct {
            cv_handle hidden;
            struct cv_endpoint endpoint;
            uint16_t mtu;
        } peer_up;
        struct {
            cv_handle hidden;
            struct cv_endpoint endpoint;
        } peer_down;
        struct {
            cv_handle hidden;
            uint32_t state;
        } hidden_state;
        /* hidden.h: somebody who knows the swarm wrote these TUN_POINTER octets. May come
         * again, and an older one may follow. */
        struct {
            cv_handle hidden;
            const uint8_t *octets;
        } pointer;
        /* Keep this and pass it to the next tun_new(). For KEYRING: on disk and
         * synced, then tun_saved(): nothing signed is shown to anybody before. */
        struct {
            enum tun_blob which;
            const uint8_t *blob;
            size_t len;
        } save;
        /* The client knows too few relays: pass addresses to tun_contact(). */
        struct {
            uint32_t known, wanted;
        } need_contacts;
        /* Two descriptors of one relay for one day, both signed. */
        struct {
            const uint8_t *first, *second;
            size_t first_len, second_len;
        } proof;
        /* The median of what relays say, minus our wall clock; 0: they agree again. */
        struct {
            int64_t seconds;
        } clock_off;
    };
};

/* Takes the next event; false when there is none, *ret untouched. */
bool tun_poll_event(struct tunnel *t, struct tun_event *ret);

/* ---- circuits of our own ---- */

enum tun_purpose {
    TUN_PURPOSE_GENERAL = 0, /* V-G-L-X: lookups, descriptors, confirmations */
    TUN_PURPOSE_MEET,        /* V-G-L-RP */
    TUN_PURPOSE_INTRODUCE,   /* V-G-L-M-IP */
    TUN_PURPOSE_WAIT,        /* S-G-L-M-IP */
    TUN_PURPOSE_JOIN,        /* S-G-L-M-RP */
    TUN_PURPOSE_PUBLISH,     /* S-G-L-M-X */
    TUN_PURPOSE_EXIT,        /* V-G-L-E, a swarm exit */
    TUN_PURPOSE_COUNT,
};

/* A PPSPP datagram to the far end of a circuit: ours (to the last hop or, once
 * joined, through the rendezvous), or at a relay the owner of a circuit that
 * OPENed a flow here. A flow other than 0 is one of a swarm exit: between its owner
 * and the exit, at most TUN_EXIT_FORWARD or TUN_EXIT_BACKWARD octets. CV_ERR_AGAIN: the circuit's
 * queue is full, drain poll_transmit and come back, or its worker has not taken what it was sent
 * (worker.h), come back after tun_on_message(); NOENT: the circuit is gone; INVAL: too long. */
enum cv_err tun_send(struct tunnel *t, const struct cv_now *now, const struct cv_endpoint *to,
                     const void *buf, size_t len);
/* False: another worker has not taken enough yet of what it was sent. Whoever has more than
 * a hundred datagrams to send waits for tun_on_message(). */
bool tun_has_room(const struct tunnel *t);

/* Asks the last hop; the answer is an event REPLY with *ret. `body` is what
 * follows the transaction. Repeated in new cells after 250 ms, doubling, five
 * times. LIMIT: too many under way. */
enum cv_err tun_request(struct tunnel *t, const struct cv_now *now, cv_handle circuit,
                        uint8_t command, const void *body, size_t len, uint32_t *ret_transaction);

void tun_circuit_close(struct tunnel *t, const struct cv_now *now, cv_handle circuit);

/* Identities of the hops, first hop first; how many, 0 when it is gone. */
size_t tun_circuit_path(const struct tunnel *t, cv_handle circuit, uint8_t ret[][CV_KEY],
                        size_t cap);

/* ---- relay ---- */

/* Answers an event REQUEST. May be called several times for one transaction
 * when the answer is several cells; all are repeated when it is asked again. */
enum cv_err tun_answer(struct tunnel *t, const struct cv_now *now, cv_handle hop,
                       uint32_t transaction, uint8_t command, const void *body, size_t len);

/* Takes no circuit on and extends none, or does again: for a relay that is about to
 * end, or has carried what it may. Those that are there go on. */
void tun_drain(struct tunnel *t, bool on);
/* Ends circuits of others from whose owner nothing came for so long; 0: all. */
void tun_hops_end(struct tunnel *t, const struct cv_now *now, cv_usec idle);

/* The keyring that tun_new() got could not be read: for the days that it may have signed
 * nothing is signed, and the relay is silent until they are over (keyring.h). */
bool tun_keyring_was_lost(const struct tunnel *t);
/* The sealed keyring is on disk. */
void tun_saved(struct tunnel *t, const struct cv_now *now, enum tun_blob which);

/* ---- links ---- */

/* A node's own message on a link (LEDGER, TOKEN): up to TUN_CONTROL_MAX octets.
 * DENIED: a TOKEN on a link that says whose it is. */
enum cv_err tun_link_send(struct tunnel *t, const struct cv_now *now, cv_handle link,
                          uint8_t command, const void *body, size_t len);
/* A client's link: class 0 (first) to 3 of the gate; new links are class 2. */
void tun_link_class(struct tunnel *t, cv_handle link, unsigned class);
/* A relay's link: weight 1..100 against other relays' links. Of 5 and less, and until this
 * is called, it has no standing: all such of one /16 or /32 together count as one link of
 * weight 5. */
void tun_link_weight(struct tunnel *t, cv_handle link, unsigned weight);
/* Ends it, with all circuits over it; the other side finds out when nothing answers. */
void tun_link_end(struct tunnel *t, const struct cv_now *now, cv_handle link);
/* The handshake hash of the link's first epoch (64 octets), for proofs bound to it. */
enum cv_err tun_link_hash(const struct tunnel *t, cv_handle link, uint8_t ret[64]);

/* ---- figures ---- */

struct tun_counters {
    uint64_t datagrams_in, datagrams_out;
    uint64_t bad_length, bad_index, bad_tag, bad_window, bad_control, bad_handshake;
    uint64_t bad_cell;     /* forward: not sealed for us */
    uint64_t bad_backward; /* our circuits: no hop's seal fits */
    uint64_t unknown_circuit;
    uint64_t handshakes_in, handshakes_out, cookies_sent, rate_limited;
    uint64_t relayed_cells, own_cells_in, own_cells_out;
    uint64_t dropped_codel, dropped_cap, dropped_event;
    uint64_t padding_cells; /* of constant rates, sent */
    uint64_t paces_refused;
    uint64_t circuits_killed;                 /* memory of queues was short */
    uint64_t links_displaced, hops_displaced; /* all places were taken: for who had fewer */
    uint64_t halves_displaced;                /* of links that wait for a first cell */
    uint64_t extends_refused, unknown_commands;
    uint64_t paths_refused; /* of our own: they broke a rule of path.h, and were not built */
    uint32_t links, hops, circuits; /* now */
    uint64_t queued_cells;          /* now */
};

/* Constant rates that circuits of ours keep now. */
struct tun_rates {
    uint32_t circuits; /* those that run on included */
    uint32_t mbit;     /* of all of them, in each direction */
    uint32_t running_on;
    cv_usec until; /* when the last of these ends; 0: none */
};
void tun_rates(const struct tunnel *t, struct tun_rates *ret);

const struct tun_counters *tun_counters(const struct tunnel *t);

#endif
