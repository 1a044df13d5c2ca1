/*
 * A direct swarm seen through a swarm exit, the viewer's side: a circuit that ends at
 * an exit, a question there for peers of the swarm (the DHT, at the last hop), and a
 * flow to each of a few of them. Each flow is one peer of the ppsp engine of hidden
 * swarms: nothing that tells of us leaves by it, and no socket of ours can reach them.
 *
 * What does not work at one exit (its peers cannot be reached from there, it is busy)
 * is tried at another: the circuit is given up when nothing is left that could be
 * called, and another is opened with the next retry.
 *
 * No circuit is used for longer than it drew (40 to 60 minutes): some minutes before that
 * another way is made beside it, and the peers of the old one stay until its circuit ends.
 */
#include <stdlib.h>
#include <string.h>

#include "node/exitway.h"
#include "node/state.h"
#include "tunnel/client.h"
#include "tunnel/relaycmd.h"

enum { HASH = 20 }; /* of the DHT's key: what the swarm id begins with */

struct node_way *node_way_new(void) {
    struct node_way *w = calloc(1, sizeof *w);
    if (w)
        w->ends_at = CV_USEC_NEVER;
    return w;
}

static void soon(struct node *n, cv_usec at) {
    n->way_at = cv_usec_min(n->way_at, at);
}

static struct node_way *way_at(const struct node_swarm *s, cv_handle circuit) {
    if (s->way && s->way->circuit == circuit)
        return s->way;
    return s->leaving && s->leaving->circuit == circuit ? s->leaving : NULL;
}

static struct node_swarm *by_circuit(struct node *n, cv_handle circuit) {
    for (size_t i = 0; circuit && i < NODE_SWARMS_MAX; i++)
        if (n->swarms[i].used && way_at(&n->swarms[i], circuit))
            return &n->swarms[i];
    return NULL;
}

static struct node_way_peer *by_flow(struct node_way *w, uint16_t flow) {
    for (unsigned i = 0; flow && i < w->peers; i++)
        if (w->peer[i].state != NODE_WAY_IDLE && w->peer[i].flow == flow)
            return &w->peer[i];
    return NULL;
}

static unsigned busy(const struct node_way *w) {
    unsigned count = 0;
    for (unsigned i = 0; i < w->peers; i++)
        count += w->peer[i].state != NODE_WAY_IDLE;
    return count;
}

/* ---- the circuit ---- */

/* Seldom: there may be exits that nobody has told us of yet. */
static void say_exitless(struct node *n, struct cv_now now, struct node_swarm *s) {
    struct node_way *w = s->way;
    if (!w->exitless_at) {
        w->exitless_at = cv_usec_add(now.mono, NODE_WAY_EXITLESS);
    } else if (now.mono >= w->exitless_at) {
        w->exitless_at = cv_usec_add(now.mono, NODE_WAY_PEER_WAIT);
        node_event_push(
            n, &(struct node_event){.kind = NODE_EVENT_NO_EXIT, .swarm = node_swarm_handle(n, s)});
    }
}

/* A path is looked up in memory, so it is tried again soon. */
void node_way_dial(struct node *n, struct cv_now now, struct node_swarm *s) {
    if (s->way->circuit || s->complete || now.mono < s->way->dial_at)
        return;
    enum cv_err err = tun_circuit_open(n->client, &now, TUN_PURPOSE_EXIT, NULL, &s->way->circuit);
    if (err)
        soon(n, cv_usec_add(now.mono, NODE_WAY_WAIT));
    if (err != CV_ERR_UNREACHABLE)
        s->way->exitless_at = 0; /* there is one, if only one that has no place just now */
    else if (!s->leaving)        /* what is watched comes by the old one */
        say_exitless(n, now, s);
}

/* The peer is called again, here or from another exit, at `again_at`. */
static void let_go(struct node *n, struct cv_now now, struct node_swarm *s,
                   const struct node_way *w, struct node_way_peer *p, cv_usec again_at) {
    struct cv_endpoint ep = cv_endpoint_circuit(w->circuit, p->flow);
    if (p->state == NODE_WAY_UP)
        ppsp_peer_remove(s->engine, now, &ep, /* goodbye= */ false);
    p->state = NODE_WAY_IDLE;
    p->flow = 0;
    p->join.len = 0;
    p->again_at = again_at;
    soon(n, again_at);
}

static void keep_given(struct node_way *w, const struct node_way *of) {
    unsigned n = 0;
    for (unsigned i = 0; i < of->peers; i++)
        if (of->peer[i].given)
            w->peer[n++] = of->peer[i];
    w->peers = n;
}

static void forget(struct node *n, struct cv_now now, struct node_swarm *s, struct node_way *w) {
    for (unsigned i = 0; i < w->peers; i++)
        if (w->peer[i].state != NODE_WAY_IDLE)
            let_go(n, now, s, w, &w->peer[i], now.mono);
    if (w == s->leaving) {
        free(w);
        s->leaving = NULL;
        return;
    }
    /* What one exit said is not told to the next: made-up addresses would fill the list for
     * good, and one of its own would show an exit that it has the same viewer as another. */
    keep_given(w, w);
    w->circuit = 0;
    w->ends_at = CV_USEC_NEVER;
    w->ready = w->looked = false;
    w->lookup = 0;
    w->look_at = now.mono;
}

static void hang_up(struct node *n, struct cv_now now, struct node_swarm *s, struct node_way *w) {
    /* What ppsp has to say goodbye with goes first. */
    node_route_pump(n, now, n->hidden);
    tun_circuit_close(n->client, &now, w->circuit);
    forget(n, now, s, w);
}

void node_way_close(struct node *n, struct cv_now now, struct node_swarm *s) {
    if (s->leaving)
        hang_up(n, now, s, s->leaving);
    if (s->way && s->way->circuit)
        hang_up(n, now, s, s->way);
    free(s->way);
    s->way = NULL;
}

/* ---- peers ---- */

static void add(struct node_way *w, const struct cv_addr *addr, bool given) {
    for (unsigned i = 0; i < w->peers; i++) {
        if (cv_addr_equal(&w->peer[i].addr, addr)) {
            w->peer[i].given |= given;
            return;
        }
    }
    if (w->peers < NODE_WAY_PEERS)
        w->peer[w->peers++] = (struct node_way_peer){.addr = *addr, .given = given};
}

enum cv_err node_way_peer(struct node *n, struct cv_now now, struct node_swarm *s,
                          const struct cv_addr *addr) {
    add(s->way, addr, /* given= */ true);
    soon(n, now.mono);
    return CV_ERR_OK;
}

static uint16_t new_flow(struct node_way *w) {
    do
        w->last_flow++;
    while (w->last_flow == 0 || by_flow(w, w->last_flow));
    return w->last_flow;
}

static void call(struct node *n, struct cv_now now, struct node_swarm *s, struct node_way_peer *p) {
    uint8_t body[64];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    struct tun_connect m = {.flow = new_flow(s->way), .addr = p->addr};
    tun_connect_write(&w, &m);
    if (tun_request(n->client, &now, s->way->circuit, TUN_CMD_CONNECT, body + 4, cv_wr_len(&w) - 4,
                    &p->transaction)) {
        p->again_at = cv_usec_add(now.mono, NODE_WAY_WAIT);
        return;
    }
    p->flow = m.flow;
    p->state = NODE_WAY_ASKED;
    p->join.len = 0;
}

static void look(struct node *n, struct cv_now now, struct node_swarm *s) {
    uint8_t body[64];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    struct tun_lookup m = {.kind = TUN_LOOKUP_PEERS, .n = 1, .keys = s->cfg.uri.swarm_id};
    s->way->look_at = cv_usec_add(now.mono, NODE_WAY_LOOK_EVERY);
    tun_lookup_write(&w, &m);
    if (tun_request(n->client, &now, s->way->circuit, TUN_CMD_LOOKUP, body + 4, cv_wr_len(&w) - 4,
                    &s->way->lookup))
        s->way->lookup = 0;
}

/* Nobody is called, nobody can be until long from now, and nobody new may be named soon. */
static bool is_in_vain(const struct node_way *w, cv_usec now) {
    for (unsigned i = 0; i < w->peers; i++)
        if (w->peer[i].state != NODE_WAY_IDLE || w->peer[i].again_at <= now)
            return false;
    return w->looked && !w->lookup;
}

/* Time for another circuit, or over. Without memory for a second way it is over when it is. */
static void change(struct node *n, struct cv_now now, struct node_swarm *s) {
    struct node_way *w = s->way, *next;
    if (s->leaving && now.mono >= s->leaving->ends_at)
        hang_up(n, now, s, s->leaving);
    if (w->circuit && now.mono >= w->ends_at)
        hang_up(n, now, s, w);
    else if (w->ready && !s->complete && !s->leaving &&
             cv_usec_add(now.mono, NODE_CIRCUIT_CHANGE) >= w->ends_at && (next = node_way_new())) {
        keep_given(next, w);
        for (unsigned i = 0; i < next->peers; i++)
            next->peer[i] = (struct node_way_peer){.addr = next->peer[i].addr, .given = true};
        s->leaving = w;
        s->way = next;
    }
    if (s->leaving)
        soon(n, s->leaving->ends_at);
    w = s->way;
    bool begins = cv_usec_add(now.mono, NODE_CIRCUIT_CHANGE) < w->ends_at;
    if (w->ready)
        soon(n, begins && !s->complete ? w->ends_at - NODE_CIRCUIT_CHANGE : w->ends_at);
}

static void work(struct node *n, struct cv_now now, struct node_swarm *s) {
    change(n, now, s);
    struct node_way *w = s->way;
    node_way_dial(n, now, s);
    if (w->ready && s->complete && busy(w) == 0)
        hang_up(n, now, s, w); /* the exit need not hold for us what we do not use any more */
    if (!w->ready || s->complete)
        return;
    bool has_key = s->cfg.uri.swarm_id_len >= HASH;
    w->looked |= !has_key; /* there is nothing to look for */
    if (has_key && !w->lookup && now.mono >= w->look_at && busy(w) < NODE_WAY_FLOWS)
        look(n, now, s);
    for (unsigned i = 0; i < w->peers && busy(w) < NODE_WAY_FLOWS; i++)
        if (w->peer[i].state == NODE_WAY_IDLE && now.mono >= w->peer[i].again_at)
            call(n, now, s, &w->peer[i]);
    for (unsigned i = 0; i < w->peers; i++)
        if (w->peer[i].state == NODE_WAY_IDLE && busy(w) < NODE_WAY_FLOWS)
            soon(n, w->peer[i].again_at);
    if (has_key && busy(w) < NODE_WAY_FLOWS && !w->lookup)
        soon(n, w->look_at);
    if (is_in_vain(w, now.mono)) {
        hang_up(n, now, s, w); /* perhaps another exit knows more */
        w->dial_at = cv_usec_add(now.mono, NODE_WAY_PEER_WAIT);
        soon(n, w->dial_at);
        if (!s->leaving || busy(s->leaving) == 0) /* else it still comes by the old one */
            node_event_push(n, &(struct node_event){.kind = NODE_EVENT_NOBODY,
                                                    .swarm = node_swarm_handle(n, s)});
    }
}

void node_way_on_timeout(struct node *n, struct cv_now now) {
    if (now.mono < n->way_at)
        return;
    n->way_at = CV_USEC_NEVER;
    for (size_t i = 0; i < NODE_SWARMS_MAX; i++)
        if (n->swarms[i].used && n->swarms[i].way)
            work(n, now, &n->swarms[i]);
}

void node_way_peer_down(struct node *n, struct cv_now now, struct node_swarm *s,
                        const struct cv_endpoint *ep) {
    struct node_way *w = way_at(s, ep->handle);
    struct node_way_peer *p = w ? by_flow(w, ep->flow) : NULL;
    if (!p)
        return;
    node_route_pump(n, now, n->hidden);
    tun_send(n->client, &now, ep, NULL, 0); /* nothing: the flow is over */
    p->state = NODE_WAY_ASKED;              /* the engine has forgotten it already */
    let_go(n, now, s, w, p, cv_usec_add(now.mono, NODE_WAY_PEER_WAIT));
}

/* ---- what the exit says ---- */

static void found(struct node *n, struct cv_now now, struct node_way *way,
                  const struct tun_event *ev) {
    uint8_t buf[TUN_DATAGRAM];
    struct tun_result m;
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    cv_wr_le32(&w, ev->reply.transaction);
    cv_wr_bytes(&w, ev->reply.body, ev->reply.len);
    struct cv_rd r = cv_rd_init(buf, cv_wr_len(&w));
    way->lookup = 0;
    way->looked = true;
    if (!ev->reply.err && ev->reply.command == TUN_CMD_RESULT &&
        tun_result_read(&r, &m) == CV_ERR_OK && m.kind == TUN_LOOKUP_PEERS)
        for (unsigned i = 0; i < m.peers; i++)
            add(way, &m.peer[i], /* given= */ false);
    soon(n, now.mono);
}

static void connected(struct node *n, struct cv_now now, struct node_swarm *s,
                      const struct node_way *w, struct node_way_peer *p,
                      const struct tun_event *ev) {
    struct cv_endpoint ep = cv_endpoint_circuit(w->circuit, p->flow);
    struct ppsp_peer_props props = {.mtu = EXIT_MTU_FORWARD, .hidden = true, .initiate = true};
    bool ok = !ev->reply.err && ev->reply.command == TUN_CMD_CONNECTED;
    bool later = ev->reply.code == TUN_ERROR_BUSY || ev->reply.code == TUN_ERROR_LIMIT;
    enum cv_err err = ok ? ppsp_peer_add(s->engine, now, s->ppsp, &ep, &props) : CV_ERR_DENIED;
    if (err)
        let_go(n, now, s, w, p,
               cv_usec_add(now.mono, later ? NODE_SWARM_RETRY : NODE_WAY_PEER_WAIT));
    else
        p->state = NODE_WAY_UP;
    if (!err)
        s->way->pause = 0;
    soon(n, now.mono);
}

static void on_reply(struct node *n, struct cv_now now, struct node_swarm *s, struct node_way *w,
                     const struct tun_event *ev) {
    if (w->lookup && ev->reply.transaction == w->lookup) {
        found(n, now, w, ev);
        return;
    }
    for (unsigned i = 0; i < w->peers; i++)
        if (w->peer[i].state == NODE_WAY_ASKED && w->peer[i].transaction == ev->reply.transaction) {
            connected(n, now, s, w, &w->peer[i], ev);
            return;
        }
}

void node_way_on_circuit(struct node *n, struct cv_now now, const struct tun_event *ev) {
    cv_handle circuit = ev->kind == TUN_EVENT_CIRCUIT_READY  ? ev->circuit_ready.circuit
                        : ev->kind == TUN_EVENT_CIRCUIT_DOWN ? ev->circuit_down.circuit
                                                             : ev->reply.circuit;
    struct node_swarm *s = by_circuit(n, circuit);
    if (!s)
        return;
    struct node_way *w = way_at(s, circuit);
    if (ev->kind == TUN_EVENT_CIRCUIT_READY) {
        struct tun_circuit_info info;
        w->ready = true;
        w->ends_at = tun_circuit_info(n->client, circuit, &info) ? CV_USEC_NEVER : info.expires_at;
        soon(n, now.mono);
    } else if (ev->kind == TUN_EVENT_CIRCUIT_DOWN) {
        bool current = w == s->way;
        forget(n, now, s, w);
        if (current) { /* who always ends them is not called four times a second for good */
            w->pause = w->pause ? cv_usec_min(2 * w->pause, NODE_WAY_PEER_WAIT) : NODE_WAY_WAIT;
            w->dial_at = cv_usec_add(now.mono, w->pause);
            soon(n, w->dial_at);
        }
    } else {
        on_reply(n, now, s, w, ev);
    }
}

void node_way_on_cell(struct node *n, struct cv_now now, const struct tun_event *ev) {
    const struct cv_endpoint *from = &ev->datagram.from;
    struct node_swarm *s = by_circuit(n, from->handle);
    struct node_way *w = s ? way_at(s, from->handle) : NULL;
    struct node_way_peer *p = w ? by_flow(w, from->flow) : NULL;
    if (!p || p->state != NODE_WAY_UP)
        return;
    if (ev->datagram.len == 0) { /* the flow is over */
        let_go(n, now, s, w, p, cv_usec_add(now.mono, NODE_SWARM_RETRY));
        return;
    }
    size_t len;
    const uint8_t *buf = exit_part_read(&p->join, ev->datagram.buf, ev->datagram.len, &len);
    if (buf)
        ppsp_on_datagram(s->engine, now, from, buf, len);
}

enum cv_err node_way_send(struct node *n, struct cv_now now, const struct cv_endpoint *to,
                          const uint8_t *buf, size_t len) {
    struct exit_cell cells[2];
    if (len == 0 || len > EXIT_MTU_FORWARD)
        return CV_ERR_INVAL;
    exit_part_write(0, buf, len, cells);
    return tun_send(n->client, &now, to, cells[0].octets, cells[0].len);
}
