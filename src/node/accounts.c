/* Tunnel and ledger: octets of links go in, classes and weights come out. Only
 * links of the relay engine are ever reported: our own circuits have no row. */
#include "node/state.h"
#include "tunnel/linkcmd.h"

/* The ledger's mean weight is the tunnel's weight of a new link. */
enum { WEIGHT_RATIO = REP_WEIGHT_MEAN / 10 };

static enum rep_role role_of(uint8_t role) {
    return role == TUN_ROLE_RELAY    ? REP_ROLE_RELAY
           : role == TUN_ROLE_CLIENT ? REP_ROLE_CLIENT
                                     : REP_ROLE_NAMELESS;
}

void node_accounts_on_tunnel(struct node *n, struct cv_now now, const struct tun_event *ev) {
    if (ev->kind == TUN_EVENT_LINK_UP && ev->link_up.role == TUN_ROLE_RELAY)
        node_favour_link_up(n, ev->link_up.link, &ev->link_up.addr);
    else if (ev->kind == TUN_EVENT_LINK_DOWN)
        node_favour_link_down(n, now, ev->link_down.link);
    if (!n->ledger)
        return;
    if (ev->kind == TUN_EVENT_LINK_UP) {
        /* Said again when the other side proved who it is: begin anew. */
        rep_ledger_link_down(n->ledger, now, ev->link_up.link);
        if (rep_ledger_link_up(n->ledger, now, ev->link_up.link, role_of(ev->link_up.role),
                               ev->link_up.identity, &ev->link_up.addr) == CV_ERR_DENIED)
            tun_link_end(n->relay, &now, ev->link_up.link);
    } else if (ev->kind == TUN_EVENT_LINK_DOWN) {
        rep_ledger_link_down(n->ledger, now, ev->link_down.link);
    } else if (ev->kind == TUN_EVENT_LINK_CARRIED) {
        rep_ledger_carried(n->ledger, now, ev->link_carried.link, ev->link_carried.out_octets,
                           ev->link_carried.in_octets);
    } else if (ev->kind == TUN_EVENT_LINK_MESSAGE &&
               ev->link_message.command == TUN_LINKCMD_LEDGER) {
        rep_ledger_on_message(n->ledger, now, ev->link_message.link, ev->link_message.body,
                              ev->link_message.len);
    } else if (ev->kind == TUN_EVENT_LINK_MESSAGE &&
               ev->link_message.command == TUN_LINKCMD_TOKEN) {
        node_priority_on_token(n, now, ev);
    }
}

void node_accounts_own(struct node *n, struct cv_now now, uint64_t gave, uint64_t took) {
    n->own.given += gave;
    n->own.taken += took;
    uint8_t was = n->own.gate_class;
    if (now.wall > 0 &&
        rep_gate_judge(&rep_gate_defaults, &n->own, n->own_changed, now.wall) != was)
        n->own_changed = now.wall;
}

bool node_accounts_settle(struct node *n, struct cv_now now) {
    struct rep_event ev;
    bool any = false;
    while (n->ledger && rep_ledger_poll_event(n->ledger, &ev)) {
        any = true;
        switch (ev.kind) {
        case REP_EVENT_SEND:
            /* A full link loses it; the ledger asks again. */
            tun_link_send(n->relay, &now, ev.link, TUN_LINKCMD_LEDGER, ev.send.body, ev.send.len);
            break;
        case REP_EVENT_CLASS:
            tun_link_class(n->relay, ev.link, ev.gate_class);
            break;
        case REP_EVENT_WEIGHT: {
            uint32_t w = ev.weight / WEIGHT_RATIO;
            tun_link_weight(n->relay, ev.link, w < 1 ? 1 : w > 100 ? 100 : w);
            node_favour_weight(n, now, ev.link, ev.weight);
            break;
        }
        case REP_EVENT_BANNED:
            tun_link_end(n->relay, &now, ev.link);
            break;
        case REP_EVENT_FAILED:
            n->ledger_failed = ev.err;
            node_event_push(
                n, &(struct node_event){.kind = NODE_EVENT_LEDGER_FAILED, .u.err = ev.err});
            break;
        }
    }
    return any;
}
