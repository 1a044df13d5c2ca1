/*
 * Two relays and a client, whole engines, driven by the input as a script: the
 * client may say anything it has keys for, the network between them drops,
 * repeats, changes and invents datagrams, and the clock makes any step.
 *
 * Property: no crash, no assertion, no leak; after an engine was served its
 * next deadline lies in the future; queues, links and receiver indexes stay
 * within their caps; and no relay sends to an address more datagrams than it
 * received, before a link with that address is open.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "tunnel/core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    PARTIES = 3,
    CLIENT = 2, /* 0 and 1 are relays */
    CIRCUITS = 6,
    SLOTS = 32,
    KEPT = 8, /* datagrams that can be repeated */
    LINKS_MAX = 12,
    HOPS_MAX = 8,
    QUEUE_OCTETS = 256 * 1024,
};

struct party {
    struct tunnel *t;
    struct cv_addr addr;
    struct cv_ed25519_secret identity_secret;
    struct cv_rng_seeded seed;
    struct cv_rng rng;
    cv_handle hop; /* that asked last */
    uint32_t transaction;
};

struct world {
    struct party party[PARTIES];
    struct cv_now now;
    cv_handle circuit[CIRCUITS];
    unsigned circuits;
    struct cv_ed25519_secret auth_secret;
    struct {
        uint8_t octets[TUN_DATAGRAM];
        unsigned to;
        struct cv_addr from;
    } kept[KEPT];
    unsigned keep_next;
    unsigned drop; /* bit i: the i-th next datagram is lost */
    uint16_t flip_at;
    uint8_t flip;
    unsigned stranger_in, stranger_out; /* of an address that never opens a link */
};

static const struct cv_addr stranger = {.ip = {127, 99, 0, 1}, .port = 9, .family = 4};
static const uint8_t cookie[TUN_RENDEZVOUS_COOKIE] = {1, 2, 3};

static void ref(struct world *w, unsigned i, struct tun_relay_ref *ret) {
    size_t len;
    const uint8_t *raw = tun_own_descriptor(w->party[i].t, w->now.wall, &len);
    struct tun_descriptor d;
    memset(ret, 0, sizeof *ret);
    memcpy(ret->identity, w->party[i].identity_secret.public_key, CV_KEY);
    if (raw && tun_descriptor_open(raw, len, (const uint8_t *)"fuzz-net", &d) == CV_ERR_OK)
        tun_descriptor_ref(&d, w->now.wall, ret); /* else a day without a descriptor */
}

static enum cv_err find_relay(void *ctx, const uint8_t identity[CV_KEY], uint32_t day,
                              struct tun_relay_ref *ret, const uint8_t **ret_descriptor,
                              size_t *ret_len) {
    struct world *w = ctx;
    (void)day;
    for (unsigned i = 0; i < CLIENT; i++) {
        if (memcmp(w->party[i].identity_secret.public_key, identity, CV_KEY) != 0)
            continue;
        ref(w, i, ret);
        *ret_descriptor = tun_own_descriptor(w->party[i].t, w->now.wall, ret_len);
        return CV_ERR_OK;
    }
    return CV_ERR_NOENT;
}

static const struct tun_user_ops ops = {.find_relay = find_relay};

static void events(struct world *w, unsigned i) {
    struct party *p = &w->party[i];
    struct tun_event ev;
    while (tun_poll_event(p->t, &ev)) {
        if (ev.kind == TUN_EVENT_SAVE)
            tun_saved(p->t, &w->now, ev.save.which);
        if (ev.kind == TUN_EVENT_REQUEST) {
            p->hop = ev.request.hop;
            p->transaction = ev.request.transaction;
        }
    }
}

static void add(struct world *w, unsigned i) {
    struct party *p = &w->party[i];
    p->addr = (struct cv_addr){.ip = {127, (uint8_t)(10 + i), 0, 1}, .port = 4000, .family = 4};
    uint8_t seed[CV_KEY] = {(uint8_t)(i + 1)};
    cv_ed25519_from_seed(&p->identity_secret, seed);
    cv_rng_seeded_init(&p->seed, i);
    p->rng = cv_rng_seeded(&p->seed);
    struct tun_config cfg = {.relay = i != CLIENT,
                             .relay_flags =
                                 TUN_RELAY_RELAY | TUN_RELAY_INTRO | TUN_RELAY_RENDEZVOUS,
                             .address_class = TUN_ADDRESS_LOOPBACK,
                             .identity = &p->identity_secret,
                             .gate = true,
                             .links_max = LINKS_MAX,
                             .hops_max = HOPS_MAX,
                             .circuits_max = CIRCUITS,
                             .queue_octets_max = QUEUE_OCTETS,
                             .send_octets_s = i == 0 ? 400000 : 0};
    memcpy(cfg.network_id, "fuzz-net", 8);
    if (cfg.relay)
        cfg.addr[0] = p->addr;
    p->t = tun_bare_new(&cfg, &p->rng, &w->now);
    assert(p->t);
    if (cfg.relay)
        tun_attach(p->t, TUN_USER_CLIENT, &ops, w);
    events(w, i);
}

static void deliver(struct world *w, unsigned to, const struct cv_addr *from, const uint8_t *buf) {
    uint8_t copy[TUN_DATAGRAM];
    memcpy(copy, buf, sizeof copy);
    bool lost = w->drop & 1;
    w->drop >>= 1;
    if (lost)
        return;
    copy[w->flip_at % TUN_DATAGRAM] ^= w->flip;
    w->flip = 0;
    (void)tun_on_datagram(w->party[to].t, &w->now, from, copy, sizeof copy);
    events(w, to);
}

static void carry(struct world *w, unsigned from, const struct cv_run *run, uint8_t *buf) {
    if (cv_addr_equal(&run->to.addr, &stranger))
        w->stranger_out++;
    for (unsigned to = 0; to < PARTIES; to++) {
        if (!cv_addr_equal(&run->to.addr, &w->party[to].addr))
            continue;
        unsigned k = w->keep_next++ % KEPT;
        memcpy(w->kept[k].octets, buf, TUN_DATAGRAM);
        w->kept[k].to = to;
        w->kept[k].from = w->party[from].addr;
        deliver(w, to, &w->party[from].addr, buf);
    }
}

/* Everything that waits, once around. */
static void turn(struct world *w) {
    static uint8_t arena[PARTIES][SLOTS * TUN_DATAGRAM];
    static struct cv_run runs[PARTIES][SLOTS];
    for (unsigned i = 0; i < PARTIES; i++) {
        struct cv_batch b = cv_batch_init(arena[i], SLOTS, TUN_DATAGRAM, 0, runs[i], SLOTS);
        (void)tun_poll_transmit(w->party[i].t, &w->now, &b);
        for (uint32_t r = 0; r < b.runs_used; r++)
            for (uint16_t k = 0; k < b.runs[r].count; k++)
                carry(w, i, &b.runs[r], cv_batch_at(&b, &b.runs[r], k));
    }
}

static void serve(struct world *w) {
    for (unsigned i = 0; i < PARTIES; i++) {
        struct tunnel *t = w->party[i].t;
        tun_on_timeout(t, &w->now);
        events(w, i);
        /* what became due at this very instant is served in the next call */
        for (unsigned k = 0; k < 4 && tun_next_timeout(t) <= w->now.mono; k++) {
            tun_on_timeout(t, &w->now);
            events(w, i);
            turn(w);
        }
        assert(tun_next_timeout(t) > w->now.mono);
        assert(tun_counters(t)->links <= t->cfg.links_max + t->halves);
        assert(t->sched.cells_queued <= t->sched.cells_used);
        assert((uint64_t)t->sched.blocks_used * 64 * sizeof(struct tun_cell) <= QUEUE_OCTETS);
        assert(tun_rxindex_count(t->rx) <= (size_t)t->cfg.links_max * (TUN_SPARES + 4) + t->halves);
    }
    assert(w->stranger_out <= w->stranger_in);
}

static cv_handle chosen(struct world *w, uint8_t which) {
    return w->circuits ? w->circuit[which % w->circuits] : 0;
}

static void open_circuit(struct world *w, uint8_t how) {
    if (w->circuits == CIRCUITS)
        return;
    unsigned first = how & 1;
    struct tun_circuit_plan plan = {.hops = 1 + (how >> 1 & 1)};
    ref(w, first, &plan.hop[0]);
    ref(w, !first, &plan.hop[1]);
    if (how & 4)
        plan.hop[1].d[0] ^= 1;
    cv_handle c;
    if (tun_circuit_build(w->party[CLIENT].t, &w->now, &plan, &c) == CV_ERR_OK)
        w->circuit[w->circuits++] = c;
}

/* A request that is as it should be, but for what the script adds to it. */
static void proper(struct world *w, uint8_t what, cv_handle c, uint8_t twist) {
    struct tunnel *t = w->party[CLIENT].t;
    uint8_t body[TUN_FORWARD_MAX];
    struct cv_wr wr = cv_wr_init(body, sizeof body);
    struct tun_circuit_info info;
    if (tun_circuit_info(t, c, &info) || !info.built)
        return;
    uint8_t command;
    switch (what % 5) {
    case 0: {
        struct tun_relay_ref to;
        ref(w, twist & 1, &to);
        struct tun_extend m = {.day = to.day, .flight = body + 600, .flight_len = 120};
        memset(body + 600, twist, 120);
        memcpy(m.identity, to.identity, sizeof m.identity);
        memcpy(m.digest, to.d, sizeof m.digest);
        tun_extend_write(&wr, &m);
        command = TUN_CMD_EXTEND;
        break;
    }
    case 1: {
        struct tun_establish_intro m;
        uint8_t binding[32];
        (void)tun_circuit_binding(t, c, info.built - 1, binding);
        tun_establish_intro_sign(&m, &w->auth_secret, binding);
        tun_establish_intro_write(&wr, &m);
        command = TUN_CMD_ESTABLISH_INTRO;
        break;
    }
    case 2: {
        struct tun_introduce m = {.flight = body + 600, .flight_len = twist};
        memcpy(m.auth_key, w->auth_secret.public_key, CV_KEY);
        tun_introduce_write(&wr, &m);
        command = TUN_CMD_INTRODUCE;
        break;
    }
    default: {
        struct tun_rendezvous m = {.flight = body + 600, .flight_len = what % 5 == 4 ? twist : 0};
        memcpy(m.cookie, cookie, sizeof cookie);
        tun_rendezvous_write(&wr, &m);
        command = what % 5 == 4 ? TUN_CMD_JOIN : TUN_CMD_ESTABLISH_RENDEZVOUS;
        break;
    }
    }
    uint32_t transaction;
    (void)tun_request(t, &w->now, c, command, body + 4, cv_wr_len(&wr) - 4, &transaction);
}

static void link_command(struct world *w, struct cv_rd *r) {
    struct tunnel *t = w->party[CLIENT].t;
    uint8_t command = cv_rd_u8(r), which = cv_rd_u8(r), len = cv_rd_u8(r);
    const uint8_t *body = cv_rd_bytes(r, len);
    struct tun_circuit *c = tun_handles_get(&t->circuits, chosen(w, which));
    uint32_t cursor = 0;
    struct tun_link *l = c ? c->leg.link : tun_handles_next(&t->links, &cursor);
    if (!l || !body || command == TUN_LINKCMD_RELAY)
        return;
    uint32_t id = which & 0x80 ? TUN_CIRCUIT_INITIATOR | which : c ? c->leg.id : 0;
    (void)tun_link_control(t, l, command, id, body, len);
}

static void relay_command(struct world *w, struct cv_rd *r) {
    struct tunnel *t = w->party[CLIENT].t;
    uint8_t command = cv_rd_u8(r), which = cv_rd_u8(r), len = cv_rd_u8(r);
    const uint8_t *body = cv_rd_bytes(r, len);
    uint32_t transaction;
    if (!body)
        return;
    if (which & 0x80)
        (void)tun_circuit_send(t, &w->now, chosen(w, which & 0x7f), command, body, len);
    else
        (void)tun_request(t, &w->now, chosen(w, which), command, body, len, &transaction);
}

static void raw(struct world *w, struct cv_rd *r) {
    uint8_t buf[TUN_DATAGRAM] = {0}, how = cv_rd_u8(r), len = cv_rd_u8(r);
    const uint8_t *head = cv_rd_bytes(r, len);
    if (!head)
        return;
    struct tun_describe question;
    struct tun_linkhs hs = {.local_index = 7};
    struct tun_linkhs_peer peer;
    struct tun_relay_ref to;
    unsigned target = how & 1;
    switch (how >> 1 & 3) {
    case 0:
        memcpy(buf, head, len);
        break;
    case 1:
        tun_describe_ask(&question, &w->party[CLIENT].t->describe_net, &w->party[CLIENT].rng, buf);
        tun_describe_done(&question);
        break;
    default:
        ref(w, target, &to);
        tun_linkhs_peer_init(&peer, to.link_key, (const uint8_t *)"fuzz-net");
        if (tun_linkhs_create_1(&hs, &peer, 7, NULL, &w->party[CLIENT].rng, buf))
            return;
        tun_linkhs_done(&hs);
        break;
    }
    w->stranger_in++;
    (void)tun_on_datagram(w->party[target].t, &w->now, &stranger, buf,
                          how & 0x80 ? len : sizeof buf);
}

static void at_relay(struct world *w, uint8_t what, uint8_t arg) {
    struct party *p = &w->party[what & 1];
    uint32_t cursor = 0;
    struct tun_link *l;
    static const uint8_t command[4] = {TUN_CMD_OPENED, TUN_CMD_RESULT, TUN_CMD_PUT_DONE,
                                       TUN_CMD_DESCRIPTORS};
    struct cv_endpoint to = cv_endpoint_circuit(p->hop, 0);
    switch (what >> 1 & 3) {
    case 0:
        (void)tun_answer(p->t, &w->now, p->hop, p->transaction, command[arg & 3], "answer", 6);
        break;
    case 1:
        (void)tun_send(p->t, &w->now, &to, "datagram", arg % 9);
        break;
    case 2:
        while ((l = tun_handles_next(&p->t->links, &cursor)) != NULL)
            tun_link_class(p->t, l->handle, arg & 3);
        break;
    default:
        while ((l = tun_handles_next(&p->t->links, &cursor)) != NULL)
            tun_link_weight(p->t, l->handle, arg);
        break;
    }
}

static void step(struct world *w, struct cv_rd *r) {
    struct tunnel *client = w->party[CLIENT].t;
    struct cv_endpoint to;
    uint8_t op = cv_rd_u8(r), a = cv_rd_u8(r), b = cv_rd_u8(r);
    switch (op % 16) {
    case 0:
        for (unsigned i = 0; i <= a % 16; i++)
            turn(w);
        break;
    case 1:
        w->now.mono += CV_MSEC(10) * a;
        break;
    case 2:
        w->now.mono += CV_SEC(a);
        w->now.wall += a * 1 + b * 3600;
        break;
    case 3:
        raw(w, r);
        break;
    case 4:
        w->flip = a;
        w->flip_at = (uint16_t)(b * 5);
        break;
    case 5:
        w->drop = a | (unsigned)b << 8;
        break;
    case 6:
        deliver(w, w->kept[a % KEPT].to, b & 1 ? &stranger : &w->kept[a % KEPT].from,
                w->kept[a % KEPT].octets);
        w->stranger_in += b & 1;
        break;
    case 7:
        open_circuit(w, a);
        break;
    case 8:
        relay_command(w, r);
        break;
    case 9:
        link_command(w, r);
        break;
    case 10:
        at_relay(w, a, b);
        break;
    case 11:
        proper(w, a, chosen(w, b), cv_rd_u8(r));
        break;
    case 12:
        tun_circuit_close(client, &w->now, chosen(w, a));
        break;
    case 13:
        w->party[CLIENT].addr.port = (uint16_t)(4000 + a);
        tun_on_rebind(client, &w->now);
        break;
    case 14:
        to = cv_endpoint_circuit(chosen(w, a), 0);
        for (unsigned i = 0; i < b; i++)
            (void)tun_send(client, &w->now, &to, "datagram", 8);
        break;
    default:
        for (unsigned i = 0; i < 6; i++) { /* until all is quiet */
            turn(w);
            w->now.mono += CV_MSEC(20);
            serve(w);
        }
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct world world;
    struct world *w = &world;
    cv_crypto_init();
    memset(w, 0, sizeof *w);
    w->now = (struct cv_now){.mono = 1000000, .wall = 1790000000};
    cv_ed25519_from_seed(&w->auth_secret, (const uint8_t[CV_KEY]){42});
    for (unsigned i = 0; i < PARTIES; i++)
        add(w, i);
    struct cv_rd r = cv_rd_init(data, size < 2000 ? size : 2000);
    while (!r.err && cv_rd_left(&r) >= 3) {
        step(w, &r);
        serve(w);
    }
    for (unsigned i = 0; i < PARTIES; i++)
        tun_free(w->party[i].t);
    return 0;
}
