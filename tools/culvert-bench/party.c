#include "culvert-bench/party.h"

#include <string.h>

#include "culvert-bench/bench.h"
#include "tunnel/relaycmd.h"

const uint8_t party_network[TUN_NETWORK_ID] = "benchrly";

struct cv_addr party_address(unsigned number) {
    return (struct cv_addr){.family = 4, .port = 4000, .ip = {20, (uint8_t)number, 0, 1}};
}

void party_ref(const uint8_t *descriptor, size_t len, int64_t wall, struct tun_relay_ref *ret) {
    struct tun_descriptor d;
    if (!descriptor || tun_descriptor_open(descriptor, len, party_network, &d))
        bench_die("a relay has no descriptor");
    tun_descriptor_ref(&d, wall, ret);
}

void party_own_ref(const struct party *p, int64_t wall, struct tun_relay_ref *ret) {
    size_t len;
    const uint8_t *raw = tun_own_descriptor(p->t, wall, &len);
    party_ref(raw, len, wall, ret);
}

static enum cv_err find_relay(void *ctx, const uint8_t identity[CV_KEY], uint32_t day,
                              struct tun_relay_ref *ret, const uint8_t **ret_descriptor,
                              size_t *ret_len) {
    const struct party_relays *relays = ctx;
    (void)day;
    (void)ret_descriptor;
    (void)ret_len;
    for (unsigned i = 0; i < relays->n; i++) {
        if (memcmp(relays->v[i].identity, identity, CV_KEY) == 0) {
            *ret = relays->v[i];
            return CV_ERR_OK;
        }
    }
    return CV_ERR_NOENT;
}

const struct tun_user_ops party_ops = {.find_relay = find_relay};

void party_start(struct party *p, struct tun_config *cfg, unsigned number, uint8_t seed,
                 const struct cv_now *now) {
    const uint8_t identity[CV_KEY] = {seed, 1};
    p->addr = party_address(number);
    cv_ed25519_from_seed(&p->identity_secret, identity);
    cv_rng_seeded_init(&p->dice, (uint64_t)cfg->worker << 8 | seed);
    p->rng = cv_rng_seeded(&p->dice);
    cfg->gate = true;
    cfg->identity = &p->identity_secret;
    memcpy(cfg->network_id, party_network, sizeof cfg->network_id);
    if (cfg->relay)
        cfg->addr[0] = p->addr;
    p->t = tun_bare_new(cfg, &p->rng, now);
    if (!p->t)
        bench_die("out of memory");
}

static void on_request(struct party *p, const struct cv_now *now, struct circuits *c,
                       const struct tun_event *ev) {
    uint32_t i;
    if (ev->request.len < 2 + sizeof i)
        return;
    memcpy(&i, ev->request.body + 2, sizeof i);
    if (i >= c->wanted || c->v[i].hop)
        return;
    c->v[i].hop = ev->request.hop;
    c->open++;
    tun_answer(p->t, now, ev->request.hop, ev->request.transaction, TUN_CMD_OPENED, NULL, 0);
}

void party_events(struct party *p, const struct cv_now *now, struct circuits *c) {
    struct tun_event ev;
    while (tun_poll_event(p->t, &ev)) {
        if (ev.kind == TUN_EVENT_SAVE)
            tun_saved(p->t, now, ev.save.which);
        c->arrived += ev.kind == TUN_EVENT_DATAGRAM || ev.kind == TUN_EVENT_HOP_DATAGRAM;
        c->ready += ev.kind == TUN_EVENT_CIRCUIT_READY;
        c->failed += ev.kind == TUN_EVENT_CIRCUIT_DOWN;
        if (ev.kind == TUN_EVENT_REQUEST)
            on_request(p, now, c, &ev);
    }
}

void ends_build(struct ends *e, const struct cv_now *now, const struct tun_relay_ref *relay,
                const struct tun_relay_ref *next) {
    struct tun_circuit_plan plan = {.hops = 2, .hop = {*relay, *next}};
    if (tun_circuit_build(e->client->t, now, &plan, &e->circuit))
        bench_die("no circuit");
}

bool ends_ready(const struct ends *e) {
    struct tun_circuit_info info;
    return tun_circuit_info(e->client->t, e->circuit, &info) == CV_ERR_OK && info.ready;
}

void ends_open(const struct circuits *c, unsigned i, const struct cv_now *now) {
    uint8_t body[2 + sizeof(uint32_t)] = {sizeof(uint32_t)};
    uint32_t transaction, number = i;
    memcpy(body + 2, &number, sizeof number);
    if (tun_request(c->v[i].client->t, now, c->v[i].circuit, TUN_CMD_OPEN, body, sizeof body,
                    &transaction))
        bench_die("no end");
}

void ends_send(const struct ends *e, bool forward, const struct cv_now *now) {
    static const uint8_t buf[TUN_MTU_FORWARD];
    struct cv_endpoint to = cv_endpoint_circuit(forward ? e->circuit : e->hop, 0);
    if (tun_send(forward ? e->client->t : e->next->t, now, &to, buf, sizeof buf))
        bench_die("a datagram was not taken");
}
