/* Tunnel and ledger: octets of links go in, classes and weights come out. Only
 * links of the relay engine are ever reported: our own circuits have no row there.
 * What first hops may think of us is an account of its own (own.h), which nobody is sent. */
#include "crypto/hash.h"
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

/* ---- our own account ---- */

/* First hops know us by keys that follow from ours, in this network. */
static void tag_of(const struct node *n, uint8_t ret[NODE_OWN_TAG]) {
    static const char what[] = "culvert own account 1";
    CV_BLAKE2B(ret, NODE_OWN_TAG, NULL, 0, {what, sizeof what - 1},
               {n->cfg.network_id, sizeof n->cfg.network_id},
               {n->cfg.identity_secret.public_key, CV_KEY});
}

void node_accounts_begin(struct node *n, struct cv_now now) {
    const struct node_blob *saved = &n->cfg.saved[NODE_SAVED_OWN];
    uint8_t tag[NODE_OWN_TAG];
    node_own_init(&n->own);
    if (!saved->data)
        return;
    tag_of(n, tag);
    n->own_kept = true;
    enum cv_err err = node_own_read(tag, saved->data, saved->len, now.wall, &n->own);
    if (err)
        node_own_lose(&n->own,
                      err == CV_ERR_DIFFERS ? REP_BECAUSE_OTHER_KEY : REP_BECAUSE_UNREADABLE,
                      now.wall);
}

/* A relay's own links are nameless: nobody keeps an account of it, so neither does it. */
void node_accounts_own(struct node *n, struct cv_now now, uint64_t gave, uint64_t took) {
    if (n->ledger) {
        n->nameless_given += gave;
        n->nameless_taken += took;
        return;
    }
    n->own_kept |= gave || took;
    if (node_own_carried(&n->own, gave, took, now.wall))
        node_accounts_save(n);
}

void node_accounts_save(struct node *n) {
    uint8_t buf[NODE_OWN_SAVED], tag[NODE_OWN_TAG];
    if (!n->own_kept)
        return;
    if (n->client_ready) /* by descriptors of today: then the day is right */
        (void)node_own_forget(&n->own, n->now.wall);
    tag_of(n, tag);
    node_event_save(n, NODE_SAVED_OWN, buf, node_own_write(&n->own, tag, buf));
}

/* ---- the ledger's events ---- */

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
