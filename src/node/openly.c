/*
 * Swarms that a relay shares under its own name (relay commands OPEN and
 * OPENED): the viewer's circuit ends at that relay, and flow 0 of the circuit is
 * the swarm. The relay sees what is asked for, not who asks.
 *
 * Both ends are here: a viewer's peer is a circuit of the client engine and
 * lives in the same ppsp engine as hidden swarms do; at the relay it is a
 * circuit of somebody's that ends there, in an engine of its own.
 *
 * No circuit is used for longer than it drew (40 to 60 minutes): another is made some minutes
 * before that, and the old one stays until then.
 */
#include <string.h>

#include "node/state.h"
#include "tunnel/client.h"
#include "tunnel/relaycmd.h"

/* ---- viewer ---- */

static struct node_swarm *by_circuit(struct node *n, cv_handle circuit) {
    for (size_t i = 0; circuit && i < NODE_SWARMS_MAX; i++)
        if (n->swarms[i].used && (n->swarms[i].circuit == circuit || n->swarms[i].left == circuit))
            return &n->swarms[i];
    return NULL;
}

static void by(struct node *n, cv_usec at) {
    n->dial_at = cv_usec_min(n->dial_at, at);
}

void node_openly_dial(struct node *n, struct cv_now now, struct node_swarm *s) {
    if (s->circuit || s->complete)
        return;
    /* Not known yet, or no path yet: both are looked up in memory, so it is
     * tried again soon. Beyond that whatever fails waits for the slow retry. */
    enum cv_err err =
        tun_circuit_open(n->client, &now, TUN_PURPOSE_GENERAL, s->cfg.at, &s->circuit);
    struct tun_circuit_info info;
    if (err) {
        by(n, cv_usec_add(now.mono, NODE_DIAL_WAIT));
    } else if (!tun_circuit_info(n->client, s->circuit, &info)) {
        s->circuit_ends = info.expires_at;
        by(n, s->circuit_ends - NODE_CIRCUIT_CHANGE);
    }
}

/* `circuit`: one of ours, to the relay now or the one before it. */
static void forget(struct node *n, struct cv_now now, struct node_swarm *s, cv_handle circuit) {
    struct cv_endpoint ep = cv_endpoint_circuit(circuit, 0);
    ppsp_peer_remove(n->hidden, now, &ep, /* goodbye= */ false);
    if (circuit == s->left) {
        s->left = 0;
    } else {
        s->circuit = 0;
        s->circuit_ends = 0;
        s->transaction = 0;
    }
}

static void hang_up(struct node *n, struct cv_now now, struct node_swarm *s, cv_handle circuit) {
    if (!circuit)
        return;
    /* What ppsp has to say goodbye with goes first. */
    node_route_pump(n, now, n->hidden);
    tun_circuit_close(n->client, &now, circuit);
    forget(n, now, s, circuit);
}

void node_openly_close(struct node *n, struct cv_now now, struct node_swarm *s) {
    hang_up(n, now, s, s->circuit);
    hang_up(n, now, s, s->left);
}

void node_openly_peer_down(struct node *n, struct cv_now now, struct node_swarm *s,
                           const struct cv_endpoint *ep) {
    if (ep->handle == s->circuit || ep->handle == s->left)
        hang_up(n, now, s, ep->handle);
}

/* Time for another circuit, or over. */
static void change(struct node *n, struct cv_now now, struct node_swarm *s) {
    if (s->left && now.mono >= s->left_ends)
        hang_up(n, now, s, s->left);
    if (!s->circuit || !s->circuit_ends) {
        /* nothing ends */
    } else if (now.mono >= s->circuit_ends) {
        hang_up(n, now, s, s->circuit);
    } else if (s->complete) {
        by(n, s->circuit_ends);
    } else if (cv_usec_add(now.mono, NODE_CIRCUIT_CHANGE) < s->circuit_ends) {
        by(n, s->circuit_ends - NODE_CIRCUIT_CHANGE);
    } else {
        hang_up(n, now, s, s->left);
        s->left = s->circuit;
        s->left_ends = s->circuit_ends;
        s->circuit = 0;
        s->circuit_ends = 0;
        s->transaction = 0;
    }
    if (s->left)
        by(n, s->left_ends);
}

void node_openly_on_timeout(struct node *n, struct cv_now now) {
    if (now.mono < n->dial_at)
        return;
    n->dial_at = CV_USEC_NEVER;
    for (size_t i = 0; i < NODE_SWARMS_MAX; i++) {
        struct node_swarm *s = &n->swarms[i];
        if (s->used && s->cfg.mode == NODE_SWARM_OPEN && s->engine == n->hidden) {
            change(n, now, s);
            node_openly_dial(n, now, s);
        }
    }
}

static void nobody(struct node *n, struct cv_now now, struct node_swarm *s) {
    hang_up(n, now, s, s->circuit);
    if (!s->left) /* else it still comes by the old one */
        node_event_push(
            n, &(struct node_event){.kind = NODE_EVENT_NOBODY, .swarm = node_swarm_handle(n, s)});
}

/* What ppsp says first goes right behind the question: the answer to both comes after one
 * round trip. Whichever of them gets lost is said again after the same quarter of a second. */
static void ask(struct node *n, struct cv_now now, struct node_swarm *s) {
    struct cv_endpoint ep = cv_endpoint_circuit(s->circuit, 0);
    struct ppsp_peer_props props = {.mtu = TUN_MTU_FORWARD, .hidden = true, .initiate = true};
    uint8_t body[4 + 2 + NODE_URI_SWARM_ID_MAX];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    struct tun_open m = {.swarm_id = s->cfg.uri.swarm_id, .len = s->cfg.uri.swarm_id_len};
    tun_open_write(&w, &m);
    if (w.err || tun_request(n->client, &now, s->circuit, TUN_CMD_OPEN, body + 4, cv_wr_len(&w) - 4,
                             &s->transaction)) {
        hang_up(n, now, s, s->circuit);
        return;
    }
    enum cv_err err = ppsp_peer_add(s->engine, now, s->ppsp, &ep, &props);
    if (err && err != CV_ERR_EXIST)
        nobody(n, now, s);
}

static void answered(struct node *n, struct cv_now now, struct node_swarm *s,
                     const struct tun_event *ev) {
    if (ev->reply.transaction == s->transaction &&
        (ev->reply.err || ev->reply.command != TUN_CMD_OPENED))
        nobody(n, now, s);
}

void node_openly_on_circuit(struct node *n, struct cv_now now, const struct tun_event *ev) {
    cv_handle circuit = ev->kind == TUN_EVENT_CIRCUIT_READY  ? ev->circuit_ready.circuit
                        : ev->kind == TUN_EVENT_CIRCUIT_DOWN ? ev->circuit_down.circuit
                                                             : ev->reply.circuit;
    struct node_swarm *s = by_circuit(n, circuit);
    if (!s)
        return;
    if (ev->kind == TUN_EVENT_CIRCUIT_DOWN)
        forget(n, now, s, circuit);
    else if (circuit == s->left)
        return; /* nothing is asked of it any more */
    else if (ev->kind == TUN_EVENT_CIRCUIT_READY)
        ask(n, now, s);
    else
        answered(n, now, s, ev);
}

/* ---- relay ---- */

static struct node_swarm *shared(struct node *n, const struct tun_open *m) {
    for (size_t i = 0; n->open && i < NODE_SWARMS_MAX; i++) {
        struct node_swarm *s = &n->swarms[i];
        if (s->used && s->engine == n->open && s->cfg.uri.swarm_id_len == m->len &&
            memcmp(s->cfg.uri.swarm_id, m->swarm_id, m->len) == 0)
            return s;
    }
    return NULL;
}

static void refuse(struct node *n, struct cv_now now, const struct tun_event *ev,
                   enum tun_cmd_error code) {
    uint8_t body = (uint8_t)code;
    tun_answer(n->relay, &now, ev->request.hop, ev->request.transaction, TUN_CMD_ERROR, &body, 1);
}

void node_openly_on_request(struct node *n, struct cv_now now, const struct tun_event *ev) {
    uint8_t buf[TUN_DATAGRAM];
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    cv_wr_le32(&w, ev->request.transaction);
    cv_wr_bytes(&w, ev->request.body, ev->request.len);
    struct cv_rd r = cv_rd_init(buf, cv_wr_len(&w));
    struct tun_open m;
    if (tun_open_read(&r, &m) != CV_ERR_OK) {
        refuse(n, now, ev, TUN_ERROR_MALFORMED);
        return;
    }
    struct node_swarm *s = shared(n, &m);
    if (!s) {
        refuse(n, now, ev, TUN_ERROR_NOENT);
        return;
    }
    if (n->draining) { /* nor visitors whose circuit is there already */
        refuse(n, now, ev, TUN_ERROR_BUSY);
        return;
    }
    struct cv_endpoint ep = cv_endpoint_circuit(ev->request.hop, 0);
    struct ppsp_peer_props props = {.mtu = TUN_MTU_BACKWARD, .hidden = true};
    enum cv_err err = ppsp_peer_add(n->open, now, s->ppsp, &ep, &props);
    if (err && err != CV_ERR_EXIST) {
        refuse(n, now, ev, TUN_ERROR_BUSY);
        return;
    }
    if (tun_answer(n->relay, &now, ev->request.hop, ev->request.transaction, TUN_CMD_OPENED, NULL,
                   0)) {
        ppsp_peer_remove(n->open, now, &ep, /* goodbye= */ false); /* gone, or something else */
        refuse(n, now, ev, TUN_ERROR_REFUSED);
    }
}
