/*
 * Nobody is sent more octets than came from his address before he proved that it is
 * his: every message there is, to a relay and to a client, from an address that
 * proved nothing. Whoever adds a message adds it here: the table of link commands
 * is as long as the enum, and what comes before a link stands in `strange`: the kinds
 * that the dispatch of a datagram without a link tells apart (tunnel.c).
 */
#include "crypto/rng_seeded.h"
#include "support/suite.h"
#include "tunnel/tests/village.h"
#include "tunnel/tests/world.h"

CV_SUITE(tun_amplification);

enum { RELAY, CLIENT, TIMES = 60 };

struct scene {
    struct world *w;
    unsigned target;
    struct cv_addr from; /* where the messages come from: nobody lives there */
    uint64_t in, out, most;
    struct cv_rng_seeded seed;
    struct cv_rng rng;
    struct tun_linkhs_peer peer; /* the relay, as initiators see it */
    struct tun_describe_net net;
    uint8_t seen[64][TUN_DATAGRAM]; /* between the client and the relay, once */
    unsigned seens;
};

static enum sim_verdict watch(void *ctx, const struct sim_datagram *d) {
    struct scene *s = ctx;
    if (cv_addr_equal(d->to, &s->from)) {
        s->out += d->len;
        s->most = s->out > s->in ? s->out - s->in : s->most;
    }
    if (s->seens < 64 && d->len == TUN_DATAGRAM && !s->in)
        memcpy(s->seen[s->seens++], d->buf, d->len);
    return SIM_PASS;
}

static void begin(struct scene *s, unsigned target, bool loaded) {
    static const unsigned relay = RELAY;
    *s = (struct scene){.w = world_new(&(struct sim_config){.seed = 1}), .target = target};
    world_relay(s->w, NULL);
    world_client(s->w, NULL);
    s->from = sim_addr(900, 9000);
    sim_hook(s->w->sim, watch, s);
    cr_assert_neq(world_circuit(s->w, CLIENT, &relay, 1), 0);
    world_run(s->w, CV_SEC(8)); /* names are said, spares given */
    cv_rng_seeded_init(&s->seed, 1);
    s->rng = cv_rng_seeded(&s->seed);
    struct tun_relay_ref ref;
    world_ref(s->w, RELAY, &ref);
    tun_linkhs_peer_init(&s->peer, ref.link_key, s->w->node[RELAY].cfg.network_id);
    tun_describe_net_init(&s->net, s->w->node[RELAY].cfg.network_id);
    if (loaded) /* as if a thousand handshakes were under way */
        s->w->node[RELAY].t->halves += TUN_HALF_OPEN_MAX / 2;
}

static void put(struct scene *s, const uint8_t *buf, size_t len) {
    s->in += len;
    (void)sim_inject(s->w->sim, &s->from, &s->w->node[s->target].addr, buf, len);
}

/* ---- before there is a link ---- */

static void noise(struct scene *s, unsigned i) {
    static const size_t lengths[] = {1, 27, 28, 100, 1231, TUN_DATAGRAM, 1233, 1400};
    uint8_t buf[1400];
    cv_rng_fill(&s->rng, buf, sizeof buf);
    put(s, buf, lengths[i % 8]);
}

static void zeros(struct scene *s, unsigned i) {
    uint8_t buf[TUN_DATAGRAM] = {0};
    (void)i;
    put(s, buf, sizeof buf);
}

static void dht_like(struct scene *s, unsigned i) {
    uint8_t buf[TUN_DATAGRAM];
    (void)i;
    memset(buf, '1', sizeof buf);
    buf[0] = 'd';
    buf[sizeof buf - 1] = 'e';
    put(s, buf, sizeof buf);
}

static void stolen_index(struct scene *s, unsigned i) {
    uint8_t buf[TUN_DATAGRAM];
    cv_rng_fill(&s->rng, buf, sizeof buf);
    struct cv_wr wr = cv_wr_init(buf, 4);
    struct tun_link *l = world_link(s->w, s->target);
    cv_wr_le32(&wr, i & 1 || !l->spares_local ? l->now.local_index : l->spare_local[0]);
    put(s, buf, sizeof buf);
}

static void question(struct scene *s, unsigned i) {
    uint8_t buf[TUN_DATAGRAM];
    struct tun_describe d;
    (void)i;
    tun_describe_ask(&d, &s->net, &s->rng, buf);
    tun_describe_done(&d);
    put(s, buf, sizeof buf);
}

static void question_again(struct scene *s, unsigned i) {
    struct cv_rng_seeded one;
    cv_rng_seeded_init(&one, 5);
    s->rng = cv_rng_seeded(&one);
    question(s, i);
    s->rng = cv_rng_seeded(&s->seed);
}

static void answer(struct scene *s, unsigned i) {
    uint8_t ask[TUN_DATAGRAM], buf[TUN_DATAGRAM];
    struct tun_describe d;
    (void)i;
    tun_describe_ask(&d, &s->net, &s->rng, ask);
    cr_assert_eq(tun_describe_answer(&s->net, ask, "descriptor", 10, &s->rng, buf), CV_ERR_OK);
    tun_describe_done(&d);
    put(s, buf, sizeof buf);
}

static void flight(struct scene *s, const uint8_t *with_cookie) {
    struct tun_linkhs hs;
    uint8_t buf[TUN_DATAGRAM];
    cr_assert_eq(tun_linkhs_create_1(&hs, &s->peer, cv_rng_u32(&s->rng), with_cookie, &s->rng, buf),
                 CV_ERR_OK);
    tun_linkhs_done(&hs);
    put(s, buf, sizeof buf);
}

static void flight_1(struct scene *s, unsigned i) {
    (void)i;
    flight(s, NULL);
}

static void flight_1_with_cookie(struct scene *s, unsigned i) {
    uint8_t cookie[TUN_COOKIE];
    (void)i;
    tun_cookie_make(&s->w->node[RELAY].t->jar, &s->from, cookie);
    flight(s, cookie);
}

static void flight_1_again(struct scene *s, unsigned i) {
    struct cv_rng_seeded one;
    cv_rng_seeded_init(&one, 6);
    s->rng = cv_rng_seeded(&one);
    flight_1(s, i);
    s->rng = cv_rng_seeded(&s->seed);
}

static void flight_1_damaged(struct scene *s, unsigned i) {
    struct tun_linkhs hs;
    uint8_t buf[TUN_DATAGRAM];
    cr_assert_eq(tun_linkhs_create_1(&hs, &s->peer, 7, NULL, &s->rng, buf), CV_ERR_OK);
    tun_linkhs_done(&hs);
    buf[(128 + i * 19) % TUN_DATAGRAM] ^= 1; /* behind what mac1 covers, and within */
    put(s, buf, sizeof buf);
}

/* Answers to a handshake that nobody began. */
static void flight_2(struct scene *s, unsigned i) {
    uint8_t buf[TUN_DATAGRAM];
    cv_rng_fill(&s->rng, buf, sizeof buf);
    struct cv_wr wr = cv_wr_init(buf, 4);
    cv_wr_le32(&wr, world_link(s->w, s->target)->now.local_index + (i & 1));
    put(s, buf, sizeof buf);
}

/* All that the client and the relay ever said to each other, from elsewhere. */
static void replay(struct scene *s, unsigned i) {
    cr_assert_gt(s->seens, 4);
    put(s, s->seen[i % s->seens], TUN_DATAGRAM);
}

/* clang-format off */
static const struct {
    const char *name;
    void (*send)(struct scene *, unsigned);
    bool answered; /* by a relay: else the row tests nothing */
} strange[] = {
    { "noise of every length",     noise,                false },
    { "zeros",                     zeros,                false },
    { "like a DHT message",        dht_like,             false },
    { "an index seen on the wire", stolen_index,         false },
    { "DESCRIBE",                  question,             true },
    { "DESCRIBE, the same again",  question_again,       true },
    { "answer to DESCRIBE",        answer,               false },
    { "flight 1",                  flight_1,             true },
    { "flight 1, the same again",  flight_1_again,       true },
    { "flight 1, damaged",         flight_1_damaged,     false },
    { "flight 1 with a cookie",    flight_1_with_cookie, true },
    { "flight 2",                  flight_2,             false },
    { "replays",                   replay,               true }, /* of flight 1 */
};
/* clang-format on */

Test(tun_amplification, of_all_that_strangers_say) {
    for (size_t k = 0; k < sizeof strange / sizeof *strange; k++)
        for (unsigned how = 0; how < 3; how++) { /* relay, relay under load, client */
            static struct scene s;
            begin(&s, how == 2 ? CLIENT : RELAY, how == 1);
            for (unsigned i = 0; i < TIMES; i++) {
                strange[k].send(&s, i);
                world_run(s.w, CV_MSEC(how == 1 ? 5 : 150));
            }
            world_run(s.w, CV_SEC(40)); /* what is repeated by itself */
            cr_expect_eq(s.most, 0, "%s, %u: %lu octets more than came", strange[k].name, how,
                         s.most);
            if (how < 2 && strange[k].answered)
                cr_expect_gt(s.out, 0, "%s, %u: not answered", strange[k].name, how);
            if (how == 1)
                s.w->node[RELAY].t->halves -= TUN_HALF_OPEN_MAX / 2;
            world_free(s.w);
        }
}

/* ---- with the keys of a link, from an address that its owner never proved ---- */

static void sealed(struct scene *s, uint8_t command, uint32_t circuit, const void *body,
                   size_t len) {
    uint8_t buf[TUN_DATAGRAM] = {0};
    struct tun_session *from = &world_link(s->w, !s->target)->now;
    struct tun_header h = {.sequence = ++from->sent,
                           .index = from->remote_index,
                           .circuit = circuit,
                           .command = command};
    if (command == TUN_LINKCMD_RELAY) {
        tun_cell_seal(buf, &h, &from->tx_secret);
    } else {
        if (len)
            memcpy(tun_cell_control_body(buf), body, len);
        tun_cell_seal_control(buf, &h, &from->tx_secret, len);
    }
    put(s, buf, sizeof buf);
}

/* Bodies as they should be where that makes a difference; circuit ids known and not. */
static void linked(struct scene *s, uint8_t command, unsigned i) {
    uint8_t body[256];
    size_t len = i % 3 == 0 ? 8 : i % 3 == 1 ? 200 : 0;
    cv_rng_fill(&s->rng, body, sizeof body);
    uint32_t id, circuit = TUN_CIRCUIT_INITIATOR | i;
    struct tun_link *l = world_link(s->w, s->target);
    if (i & 1 && tun_idtable_any(&l->circuits, &id))
        circuit = id;
    if (command == TUN_LINKCMD_CREATE) {
        struct tun_handshake hs;
        uint8_t flight1[TUN_FLIGHT1];
        struct tun_relay_ref to;
        world_ref(s->w, RELAY, &to);
        const struct tun_params params = {.suite = TUN_SUITE_CHACHA, .version = TUN_VERSION};
        cr_assert_eq(
            tun_handshake_create_1(&hs, flight1, to.identity, to.onion_key, &params, &s->rng),
            CV_ERR_OK);
        tun_handshake_done(&hs);
        struct tun_create m = {
            .params = {.ttl = 5}, .flight = flight1, .flight_len = sizeof flight1};
        struct cv_wr wr = cv_wr_init(body, sizeof body);
        tun_create_write(&wr, &m);
        len = cv_wr_len(&wr);
    }
    if (command == TUN_LINKCMD_PATH_RESPONSE && i % 3 == 0)
        memcpy(body, l->challenge, 4); /* half of it guessed */
    sealed(s, command, circuit, body, len);
}

Test(tun_amplification, of_every_link_command_from_an_unproved_address) {
    enum { COMMANDS = TUN_LINKCMD_LAST + 1 }; /* the last is one that does not exist */
    unsigned challenged = 0;
    for (uint8_t command = 0; command <= (uint8_t)COMMANDS; command++)
        for (unsigned target = RELAY; target <= CLIENT; target++)
            for (unsigned slow = 0; slow < 2; slow++) {
                static struct scene s;
                begin(&s, target, false);
                for (unsigned i = 0;
                     i < TIMES && world_link(s.w, target) && world_link(s.w, !target); i++) {
                    linked(&s, command, i);
                    world_run(s.w, slow ? CV_MSEC(400) : CV_MSEC(5));
                }
                world_run(s.w, CV_SEC(40));
                cr_expect_eq(s.most, 0, "command %u to %s: %lu octets more than came", command,
                             target == RELAY ? "a relay" : "a client", s.most);
                challenged += s.out > 0;
                world_free(s.w);
            }
    cr_expect_gt(challenged, COMMANDS, "%u", challenged);
}

/* REACH asks a relay to send to an address that never asked: from that very address, and
 * from the other end's own, with all kinds there are. */
Test(tun_amplification, of_reach) {
    unsigned tried = 0;
    for (unsigned forged = 0; forged < 2; forged++)
        for (unsigned kind = TUN_REACH_ASK; kind <= TUN_REACH_SILENT; kind++) {
            static struct scene s;
            struct village *v = village_new(&(struct sim_config){.seed = 1}, 2);
            world_run(v->w, CV_SEC(10)); /* the two know each other */
            s = (struct scene){.w = v->w, .target = 0, .from = sim_addr(900, 9000)};
            cv_rng_seeded_init(&s.seed, 1);
            s.rng = cv_rng_seeded(&s.seed);
            sim_hook(v->w->sim, watch, &s);
            cr_assert_not_null(world_link(v->w, 0));
            cr_assert_not_null(world_link(v->w, 1));
            struct cv_addr own = v->w->node[1].addr, victim = s.from;
            for (unsigned i = 0; i < TIMES; i++) {
                uint8_t body[64], buf[TUN_DATAGRAM] = {0};
                struct tun_session *from = &world_link(v->w, 1)->now;
                struct tun_header h = {.sequence = ++from->sent,
                                       .index = from->remote_index,
                                       .command = TUN_LINKCMD_REACH};
                struct cv_wr wr = cv_wr_init(body, sizeof body);
                struct tun_reach m = {.kind = (uint8_t)kind, .addr = victim};
                memcpy(m.token, &i, sizeof i);
                tun_reach_write(&wr, &m);
                memcpy(tun_cell_control_body(buf), body, cv_wr_len(&wr));
                tun_cell_seal_control(buf, &h, &from->tx_secret, cv_wr_len(&wr));
                s.in += sizeof buf;
                (void)sim_inject(v->w->sim, forged ? &victim : &own, &v->w->node[0].addr, buf,
                                 sizeof buf);
                world_run(v->w, CV_MSEC(i % 2 ? 300 : 5));
            }
            world_run(v->w, CV_SEC(40));
            cr_expect_eq(s.most, 0, "kind %u, %s: %lu octets more than came", kind,
                         forged ? "forged" : "said", s.most);
            tried += !forged && kind == TUN_REACH_TRY && s.out > 0;
            village_free(v);
        }
    cr_expect_eq(tried, 1, "nothing was tried: the test tests nothing");
}
