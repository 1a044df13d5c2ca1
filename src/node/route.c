/*
 * Chunks and circuits: the one place where the two engines meet. What a hidden
 * swarm sends goes into circuits and nowhere else.
 */
#include <assert.h>
#include <string.h>

#include "node/state.h"
#include "tunnel/hidden.h"
#include "tunnel/limits.h"

static void on_peer_up(struct node *n, struct cv_now now, const struct tun_event *ev) {
    struct node_swarm *s = node_swarm_by_hidden(n, ev->peer_up.hidden);
    if (!s)
        return;
    /* The viewer calls; a seeder only lets whoever came call. */
    ppsp_peer_add(s->engine, now, s->ppsp, &ev->peer_up.endpoint,
                  &(struct ppsp_peer_props){.mtu = ev->peer_up.mtu,
                                            .hidden = true,
                                            .initiate = ev->peer_up.hidden == s->view});
}

static void on_hidden_state(struct node *n, const struct tun_event *ev) {
    struct node_swarm *s = node_swarm_by_hidden(n, ev->hidden_state.hidden);
    if (s && s->share == ev->hidden_state.hidden && !s->shared &&
        ev->hidden_state.state == TUN_HIDDEN_SHARED) {
        s->shared = true;
        node_event_push(
            n, &(struct node_event){.kind = NODE_EVENT_SHARED, .swarm = node_swarm_handle(n, s)});
    }
    if (s && s->view == ev->hidden_state.hidden && ev->hidden_state.state == TUN_HIDDEN_NOBODY)
        node_event_push(
            n, &(struct node_event){.kind = NODE_EVENT_NOBODY, .swarm = node_swarm_handle(n, s)});
}

static void on_link_up(struct node *n, const struct tun_event *ev) {
    size_t i = 0;
    while (i < n->first_hops_count && !cv_addr_equal(&n->first_hops[i].addr, &ev->link_up.addr))
        i++;
    /* Who knows our address now is worth more than who did. */
    for (size_t k = 0; i == NODE_FIRST_HOPS_MAX && k < NODE_FIRST_HOPS_MAX; k++)
        i = n->first_hops[k].up ? i : k;
    if (i == NODE_FIRST_HOPS_MAX)
        return;
    if (i == n->first_hops_count)
        n->first_hops_count++;
    memcpy(n->first_hops[i].identity, ev->link_up.identity, CV_KEY);
    n->first_hops[i].addr = ev->link_up.addr;
    n->first_hops[i].up = true;
    n->first_links[i] = ev->link_up.link;
}

static void on_link_down(struct node *n, const struct tun_event *ev) {
    node_priority_on_link_down(n, ev->link_down.link);
    for (size_t i = 0; i < n->first_hops_count; i++)
        if (n->first_links[i] == ev->link_down.link)
            n->first_hops[i].up = false;
}

void node_route_on_tunnel(struct node *n, struct cv_now now, const struct tun_event *ev) {
    switch ((int)ev->kind) {
    case TUN_EVENT_DATAGRAM:
        if (ev->datagram.from.flow) {
            node_way_on_cell(n, now, ev);
            break;
        }
        ppsp_on_datagram(n->hidden, now, &ev->datagram.from, ev->datagram.buf, ev->datagram.len);
        break;
    case TUN_EVENT_PEER_UP:
        on_peer_up(n, now, ev);
        break;
    case TUN_EVENT_PEER_DOWN:
        ppsp_peer_remove(n->hidden, now, &ev->peer_down.endpoint, false);
        break;
    case TUN_EVENT_LINK_UP:
        on_link_up(n, ev);
        break;
    case TUN_EVENT_LINK_DOWN:
        on_link_down(n, ev);
        break;
    case TUN_EVENT_LINK_CARRIED:
        node_accounts_own(n, now, ev->link_carried.out_octets, ev->link_carried.in_octets);
        break;
    case TUN_EVENT_HIDDEN_STATE:
        on_hidden_state(n, ev);
        break;
    case TUN_EVENT_POINTER:
        node_pointing_on_pointer(n, ev);
        break;
    case TUN_EVENT_CIRCUIT_READY:
    case TUN_EVENT_CIRCUIT_DOWN:
    case TUN_EVENT_REPLY:
        node_openly_on_circuit(n, now, ev);
        node_way_on_circuit(n, now, ev);
        node_priority_on_circuit(n, now, ev);
        break;
    default:
        break;
    }
}

void node_route_contacts(struct node *n, struct cv_now now, const struct node_swarm *s,
                         const struct cv_endpoint *peer) {
    static_assert(TUN_CONTACT <= PPSP_CONTACT_MAX && (int)TUN_TELL_CONTACTS <= (int)PPSP_CONTACTS,
                  "what the tunnel tells, peers carry");
    struct tun_named named[TUN_TELL_CONTACTS];
    struct ppsp_contact contacts[TUN_TELL_CONTACTS] = {0};
    unsigned count = tun_hidden_tell(n->client, &now, peer, named);
    for (unsigned i = 0; i < count; i++) {
        contacts[i].period = named[i].period;
        contacts[i].len = TUN_CONTACT;
        memcpy(contacts[i].octets, named[i].contact, TUN_CONTACT);
    }
    /* Without memory it asks again in a minute. */
    (void)ppsp_peer_tell(s->engine, now, s->ppsp, peer, contacts, count);
}

/* What came by each of them, for ways to be compared. */
static void compare(struct node *n, struct cv_now now, const struct node_swarm *s) {
    struct ppsp_peer_stats peer[NODE_PEERS_SHOWN];
    struct tun_brought way[NODE_PEERS_SHOWN];
    size_t count = ppsp_peers(s->engine, s->ppsp, peer, NODE_PEERS_SHOWN);
    count = count < NODE_PEERS_SHOWN ? count : NODE_PEERS_SHOWN;
    for (size_t i = 0; i < count; i++)
        way[i] = (struct tun_brought){
            .peer = peer[i].endpoint, .octets = peer[i].down, .asked_since = peer[i].asked_since};
    tun_hidden_brought(n->client, &now, s->view, way, (unsigned)count);
}

void node_route_compare(struct node *n, struct cv_now now) {
    static_assert(NODE_SWARM_RETRY == TUN_LAG_LOOK, "looks come as often as they are judged");
    for (size_t i = 0; i < NODE_SWARMS_MAX; i++)
        if (n->swarms[i].used && n->swarms[i].view)
            compare(n, now, &n->swarms[i]);
}

static void send_run(struct node *n, struct cv_now now, struct tunnel *t,
                     const struct cv_run *run) {
    /* Fail closed: rather stop the program than tell a swarm who we are. */
    assert(run->to.kind == CV_ENDPOINT_CIRCUIT);
    for (uint16_t i = 0; i < run->count; i++) {
        /* A full circuit loses it, as any path may; LEDBAT slows down. */
        const uint8_t *at = cv_batch_at(&n->scratch, run, i);
        if (run->to.flow ? node_way_send(n, now, &run->to, at, run->size)
                         : tun_send(t, &now, &run->to, at, run->size))
            n->counters.circuit_full++;
    }
}

bool node_route_pump_some(struct node *n, struct cv_now now, struct ppsp *from) {
    assert(from != n->direct);
    struct tunnel *t = from == n->open ? n->relay : n->client;
    cv_batch_clear(&n->scratch);
    bool more = ppsp_poll_transmit(from, now, &n->scratch);
    for (uint32_t i = 0; i < n->scratch.runs_used; i++)
        send_run(n, now, t, &n->scratch.runs[i]);
    return more;
}

void node_route_pump(struct node *n, struct cv_now now, struct ppsp *from) {
    while (node_route_pump_some(n, now, from))
        continue;
}
