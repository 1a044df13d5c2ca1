/*
 * A swarm exit, the relay's side: circuits that end here speak PPSPP to peers of direct
 * swarms (relay commands CONNECT and EXIT). What may pass is exitfilter.h's business;
 * here are its sockets' datagrams and its circuits' cells.
 *
 * The exit has sockets of its own. On the relay's port strangers could answer in the
 * length of a cell and would cost the links a look at each, and one port could call a
 * peer once: it tells its callers apart by where they come from.
 */
#include <stdlib.h>
#include <string.h>

#include "node/exitfilter.h"
#include "node/exitpart.h"
#include "node/state.h"
#include "tunnel/relaycmd.h"

struct waiting {
    struct cv_addr to;
    uint16_t len;
    uint8_t octets[EXIT_MTU_FORWARD];
};

struct queue { /* a ring */
    uint32_t first, count;
    struct waiting at[NODE_EXIT_QUEUE];
};

struct node_exit {
    struct exit_filter *filter;
    uint8_t number; /* of the last datagram in two halves */
    uint64_t queue_full, circuit_full;
    struct queue queue[NODE_EXITS];
};

static enum exit_scope scope_of(const struct node_config *cfg) {
    if (cfg->loopback)
        return EXIT_SCOPE_LOOPBACK;
    return cfg->private_network ? EXIT_SCOPE_PRIVATE : EXIT_SCOPE_PUBLIC;
}

uint64_t node_exit_share(const struct node_config *cfg) {
    uint64_t quarter = cfg->relay_octets_s / 4;
    return cfg->exit && cfg->relay_octets_s ? quarter + !quarter : 0;
}

struct node_exit *node_exit_new(const struct node_config *cfg, const struct cv_rng *rng,
                                struct cv_now now) {
    struct node_exit *x = calloc(1, sizeof *x);
    if (!x)
        return NULL;
    struct cv_addr own[NODE_EXIT_OWN_MAX];
    size_t count = 0;
    for (size_t i = 0; i < cfg->relay_addrs_count; i++)
        own[count++] = cfg->relay_addrs[i];
    for (size_t i = 0; i < cfg->machine_addrs_count && count < NODE_EXIT_OWN_MAX; i++)
        own[count++] = cfg->machine_addrs[i];
    struct exit_config c = {.scope = scope_of(cfg),
                            .family = cfg->main_family,
                            .ports = NODE_EXITS,
                            .own = own,
                            .own_count = count,
                            .octets_s = node_exit_share(cfg)};
    x->filter = exit_filter_new(&c, rng, now);
    return x->filter ? x : node_exit_free(x);
}

struct node_exit *node_exit_free(struct node_exit *x) {
    if (x)
        exit_filter_free(x->filter);
    free(x);
    return NULL;
}

const struct exit_counters *node_exit_counters(const struct node *n) {
    return n->exit ? exit_filter_counters(n->exit->filter) : NULL;
}

bool node_exit_may_call(const struct node *n, const struct cv_addr *to) {
    return n->exit && exit_filter_may_call(n->exit->filter, to);
}

/* ---- circuits ---- */

static void refuse(struct node *n, struct cv_now now, const struct tun_event *ev,
                   enum tun_cmd_error code) {
    uint8_t body = (uint8_t)code;
    tun_answer(n->relay, &now, ev->request.hop, ev->request.transaction, TUN_CMD_ERROR, &body, 1);
}

static enum tun_cmd_error code_of(enum cv_err err) {
    switch ((int)err) {
    case CV_ERR_UNREACHABLE:
        return TUN_ERROR_UNREACHABLE;
    case CV_ERR_LIMIT:
        return TUN_ERROR_LIMIT;
    case CV_ERR_AGAIN:
        return TUN_ERROR_BUSY;
    default:
        return TUN_ERROR_REFUSED;
    }
}

void node_exit_on_connect(struct node *n, struct cv_now now, const struct tun_event *ev) {
    uint8_t buf[TUN_DATAGRAM];
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    cv_wr_le32(&w, ev->request.transaction);
    cv_wr_bytes(&w, ev->request.body, ev->request.len);
    struct cv_rd r = cv_rd_init(buf, cv_wr_len(&w));
    struct tun_connect m;
    if (!n->exit || n->draining) {
        refuse(n, now, ev, n->draining ? TUN_ERROR_BUSY : TUN_ERROR_REFUSED);
        return;
    }
    if (tun_connect_read(&r, &m) != CV_ERR_OK) {
        refuse(n, now, ev, TUN_ERROR_MALFORMED);
        return;
    }
    struct exit_name name = {.hop = ev->request.hop, .flow = m.flow};
    enum cv_err err = exit_filter_open(n->exit->filter, now, &name, &m.addr);
    if (err && err != CV_ERR_EXIST) {
        refuse(n, now, ev, code_of(err));
        return;
    }
    if (tun_answer(n->relay, &now, name.hop, m.transaction, TUN_CMD_CONNECTED, NULL, 0)) {
        exit_filter_close(n->exit->filter, &name); /* gone, or something else by now */
        refuse(n, now, ev, TUN_ERROR_REFUSED);
    }
}

/* Nothing: the flow is over. */
static void tell_over(struct node *n, struct cv_now now, const struct exit_name *name) {
    struct cv_endpoint ep = cv_endpoint_circuit(name->hop, name->flow);
    tun_send(n->relay, &now, &ep, NULL, 0);
}

void node_exit_on_cell(struct node *n, struct cv_now now, const struct tun_event *ev) {
    struct node_exit *x = n->exit;
    struct exit_name name = {.hop = ev->hop_datagram.from.handle,
                             .flow = ev->hop_datagram.from.flow};
    const uint8_t *cell = ev->hop_datagram.buf;
    size_t len = ev->hop_datagram.len;
    if (!x)
        return;
    if (len == 0) {
        exit_filter_close(x->filter, &name);
        return;
    }
    if (len - 1 > EXIT_MTU_FORWARD || cell[0] != 0) /* owners know how long a cell is */
        return;
    /* The queue is that of the flow's socket, which only the filter knows. */
    uint8_t octets[EXIT_MTU_FORWARD];
    struct cv_addr to;
    unsigned port;
    memcpy(octets, cell + 1, len - 1);
    enum cv_err err = exit_filter_out(x->filter, now, &name, octets, len - 1, &port, &to);
    if (err == CV_ERR_NOENT)
        tell_over(n, now, &name);
    if (err)
        return;
    struct queue *q = &x->queue[port];
    if (q->count == NODE_EXIT_QUEUE) {
        x->queue_full++;
        return;
    }
    struct waiting *d = &q->at[(q->first + q->count++) % NODE_EXIT_QUEUE];
    d->to = to;
    d->len = (uint16_t)(len - 1);
    memcpy(d->octets, octets, len - 1);
}

void node_exit_on_hop_down(struct node *n, cv_handle hop) {
    if (n->exit)
        exit_filter_close_hop(n->exit->filter, hop);
}

/* ---- sockets ---- */

void node_exit_on_datagram(struct node *n, struct cv_now now, unsigned port,
                           const struct cv_addr *from, const uint8_t *buf, size_t len) {
    struct node_exit *x = n->exit;
    uint8_t octets[NODE_EXIT_DATAGRAM_MAX];
    struct exit_name name;
    struct exit_cell cells[2];
    if (!x)
        return;
    memcpy(octets, buf, len < sizeof octets ? len : sizeof octets);
    if (exit_filter_in(x->filter, now, port, from, octets, len, &name))
        return;
    struct cv_endpoint ep = cv_endpoint_circuit(name.hop, name.flow);
    unsigned count = exit_part_write(++x->number, octets, len, cells);
    for (unsigned i = 0; i < count; i++) {
        enum cv_err err = tun_send(n->relay, &now, &ep, cells[i].octets, cells[i].len);
        if (err == CV_ERR_AGAIN) /* lost, as on any path; LEDBAT slows down */
            x->circuit_full++;
        if (err)
            return;
    }
}

void node_exit_poll_transmit(struct node *n, unsigned port, struct cv_batch *batch) {
    struct queue *q = n->exit ? &n->exit->queue[port] : NULL;
    uint8_t *slot;
    while (q && q->count && (slot = cv_batch_slot(batch)) != NULL) {
        const struct waiting *d = &q->at[q->first];
        struct cv_endpoint ep = cv_endpoint_udp(&d->to);
        memcpy(slot, d->octets, d->len);
        cv_batch_commit(batch, &ep, d->len);
        q->first = (q->first + 1) % NODE_EXIT_QUEUE;
        q->count--;
    }
}

/* ---- time ---- */

void node_exit_on_timeout(struct node *n, struct cv_now now) {
    struct exit_name name;
    while (n->exit && exit_filter_expired(n->exit->filter, now, &name))
        tell_over(n, now, &name);
}

cv_usec node_exit_next(const struct node *n) {
    return n->exit ? exit_filter_next(n->exit->filter) : CV_USEC_NEVER;
}
