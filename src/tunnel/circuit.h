/*
 * A circuit of our own: telescoped hop by hop with CREATE and EXTEND, then a
 * pipe of DATAGRAMs and requests to its last hop. Choosing the hops is
 * path.h's business, what a circuit is for is its user's.
 *
 * Users inside the module (client, hidden) get their circuits' events through
 * struct tun_user_ops (engine.h), the node through tun_poll_event(): READY when
 * all hops of the plan answered (and again after each extend), DOWN, DATAGRAM,
 * REPLY. Closing a circuit oneself gives no event.
 */
#ifndef CULVERT_TUNNEL_CIRCUIT_H
#define CULVERT_TUNNEL_CIRCUIT_H

#include "tunnel/limits.h"
#include "tunnel/relayref.h"
#include "tunnel/tunnel.h"

/* Whose circuit it is: where its events go. */
enum tun_user { TUN_USER_NODE = 0, TUN_USER_CLIENT, TUN_USER_HIDDEN, TUN_USER_COUNT };

struct tun_circuit_plan {
    enum tun_purpose purpose;
    enum tun_user user;
    uint32_t
        hops; /* 1..TUN_HOPS_MAX; a path of one hop hides nothing and is for guards' own talk */
    struct tun_relay_ref hop[TUN_HOPS_MAX];
};

/* Copies the plan and starts building. CV_ERR_LIMIT: too many circuits; else
 * as tun_link_open(). Later failures are an event CIRCUIT_DOWN. */
enum cv_err tun_circuit_build(struct tunnel *t, const struct cv_now *now,
                              const struct tun_circuit_plan *plan, cv_handle *ret);

/* One hop more, at the end of a circuit that is READY: READY again or DOWN.
 * So a circuit built ahead becomes one to a named relay. LIMIT: four hops. */
enum cv_err tun_circuit_extend(struct tunnel *t, const struct cv_now *now, cv_handle circuit,
                               const struct tun_relay_ref *hop);

/* Hands a circuit to another user, with all later events. */
enum cv_err tun_circuit_give(struct tunnel *t, cv_handle circuit, enum tun_user user);

/* Asks hop `index` (0 = first); tun_request() asks the last one. */
enum cv_err tun_circuit_request(struct tunnel *t, const struct cv_now *now, cv_handle circuit,
                                uint32_t index, uint8_t command, const void *body, size_t len,
                                uint32_t *ret_transaction);

/* Stops repeating a request; a late answer is still reported. */
void tun_circuit_forget(struct tunnel *t, cv_handle circuit, uint32_t transaction);

/* One cell of any relay command without transaction to the last hop, unrepeated. */
enum cv_err tun_circuit_send(struct tunnel *t, const struct cv_now *now, cv_handle circuit,
                             uint8_t command, const void *buf, size_t len);

/* Constant rate: from now on its first two links carry `mbit` (1, 2, 4, 8, 16)
 * Mbit/s in both directions, whatever is said. For good: a rate that changes tells
 * something. READY again when the second hop agrees; use it only then. It goes DOWN
 * with CV_ERR_LIMIT when that hop does not. INVAL: no such rate, not READY, fewer than
 * two hops, or paced already. */
enum cv_err tun_circuit_pace(struct tunnel *t, const struct cv_now *now, cv_handle circuit,
                             unsigned mbit);

/* Instead of tun_circuit_close(): the user is told nothing more and can say nothing (NOENT),
 * but the rate goes on for `seconds` (to TUN_PACE_RUN_ON_MAX_S). INVAL: it has no rate, or runs on
 * already; LIMIT, NOMEM. Then it is still open. */
enum cv_err tun_circuit_run_on(struct tunnel *t, const struct cv_now *now, cv_handle circuit,
                               uint32_t seconds);

struct tun_circuit_info {
    enum tun_purpose purpose;
    enum tun_user user;
    bool ready;
    uint32_t hops, built;        /* planned, answered */
    cv_usec opened_at, ready_at; /* ready_at 0: not yet */
    cv_usec expires_at;          /* drawn 40 to 60 minutes after opening */
    cv_usec heard_at;            /* last cell from any of its hops */
    uint64_t cells_out, cells_in;
    uint32_t queued;       /* cells of ours that wait */
    uint8_t pace;          /* Mbit/s, kept in both directions; 0: none */
    cv_usec runs_on_until; /* nobody uses it any more, but its rate goes on; 0: not so */
};

/* CV_ERR_NOENT when the handle is dead. */
enum cv_err tun_circuit_info(const struct tunnel *t, cv_handle circuit,
                             struct tun_circuit_info *ret);
/* The i-th hop as planned; NULL when there is none. Valid until the next call. */
const struct tun_relay_ref *tun_circuit_hop(const struct tunnel *t, cv_handle circuit, uint32_t i);

/* The secret that hop `index` shares with us and nobody else: what ESTABLISH_INTRO
 * signs. CV_ERR_NOENT: no such circuit, or that hop has not answered. */
enum cv_err tun_circuit_binding(const struct tunnel *t, cv_handle circuit, uint32_t index,
                                uint8_t ret[32]);

/* Handles of a user's circuits, at most `cap`; how many were written. */
size_t tun_circuit_list(const struct tunnel *t, enum tun_user user, cv_handle *ret, size_t cap);

#endif
