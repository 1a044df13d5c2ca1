#include <assert.h>
#include <string.h>

#include "node/state.h"
#include "tunnel/client.h"

bool node_first_hop(const struct node *n, size_t i, struct node_first_hop *ret) {
    if (i >= n->first_hops_count)
        return false;
    *ret = n->first_hops[i];
    return true;
}

static_assert((int)NODE_STANDS_TOKEN == (int)REP_CLASS_TOKEN &&
                  (int)NODE_STANDS_DEBT == (int)REP_CLASS_DEBT,
              "the gate's classes");

void node_status(const struct node *n, struct node_status *ret) {
    struct dht_status d;
    dht_status(n->dht, &d);
    const struct tun_counters *own = tun_counters(n->client);
    memset(ret, 0, sizeof *ret);
    ret->dht_good = d.ipv4.nodes_good + d.ipv6.nodes_good;
    ret->dht_nodes = d.ipv4.nodes_total + d.ipv6.nodes_total;
    ret->external = d.ipv4.external.family ? d.ipv4.external : d.ipv6.external;
    ret->external_same_port = d.ipv4.external.family ? d.ipv4.same_port : d.ipv6.same_port;
    struct tun_client_status c;
    tun_client_status(n->client, &n->now, &c);
    ret->relays_known = c.known;
    ret->relays_missing = c.missing;
    ret->guards = c.guards_up;
    ret->guards_poor = c.guards_poor;
    ret->circuits = own->circuits;
    ret->links = own->links;
    ret->dropped = n->counters.nobodys;
    ret->circuit_full = n->counters.circuit_full;
    ret->paths_refused = own->paths_refused;
    ret->liars = n->counters.proofs;
    if (n->relay) {
        const struct tun_counters *r = tun_counters(n->relay);
        ret->links += r->links;
        ret->hops_carried = r->hops;
        ret->cells_relayed = r->relayed_cells;
        ret->draining = n->draining;
        ret->workers = n->cfg.relay_workers > 1 ? n->cfg.relay_workers : 1;
        tun_client_status(n->relay, &n->now, &c);
        for (size_t i = 0; i < n->cfg.relay_addrs_count; i++) {
            ret->reach[i].addr = n->cfg.relay_addrs[i];
            ret->reach[i].by = c.reach[i].by;
            ret->reach[i].not_by = c.reach[i].not_by;
        }
    }
    struct tun_rates rates;
    tun_rates(n->client, &rates);
    ret->rate_circuits = rates.circuits;
    ret->rate_mbit = rates.mbit;
    ret->rate_running_on = rates.running_on;
    ret->rate_seconds = (uint32_t)(cv_usec_since(rates.until, n->now.mono) / CV_SEC(1));
    ret->upstream = n->upstream.measured;
    ret->upstream_limit = ppsp_upstream_limit(&n->upstream);
    ret->upstream_lifted = n->upstream.lifted;
    ret->own_account = !n->ledger;
    ret->own_given = n->ledger ? n->nameless_given : n->own.a.given;
    ret->own_taken = n->ledger ? n->nameless_taken : n->own.a.taken;
    ret->own_since = n->ledger ? 0 : node_own_since(&n->own);
    ret->ledger_failed = n->ledger_failed;
    ret->stands = n->ledger ? NODE_STANDS_NEW : (enum node_standing)n->own.a.gate_class;
    if (n->ledger) {
        ret->tokens = rep_ledger_tokens_left(n->ledger);
        if (node_priority_runs(n))
            ret->stands = NODE_STANDS_TOKEN;
        struct rep_stats s;
        struct rep_row row;
        void *cursor = NULL;
        rep_ledger_stats(n->ledger, &s);
        ret->ledger_pending = s.pending_given + s.pending_taken;
        ret->ledger_given = s.released_given;
        ret->ledger_taken = s.released_taken;
        while (rep_ledger_row(n->ledger, &cursor, &row))
            ret->ledger_rows++;
    }
}

bool node_own_row(const struct node *n, size_t i, struct rep_why *ret) {
    if (n->ledger || i >= n->own.count)
        return false;
    *ret = n->own.rows[n->own.count - 1 - i];
    return true;
}

const struct ppsp_counters *node_ppsp_counters(const struct node *n, enum node_swarm_mode mode) {
    const struct ppsp *p = mode == NODE_SWARM_DIRECT ? n->direct
                           : mode == NODE_SWARM_OPEN ? n->open
                                                     : n->hidden;
    return p ? ppsp_counters(p) : NULL;
}
