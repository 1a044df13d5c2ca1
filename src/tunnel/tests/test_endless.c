/*
 * An owner that wraps its cells in 45 layers: one cell of its own would travel 45
 * links, and a circuit could be led back to where it began. Layers need hops, hops
 * need EXTENDs, and each takes one of the ttl. The owner here is not ours: it keeps
 * as many layers as it likes, with the keys that it would have of every hop.
 */
#include "support/suite.h"
#include "tunnel/layerbits.h"
#include "tunnel/relaycmd.h"
#include "tunnel/tests/world.h"

CV_SUITE(tun_endless);

enum {
    LAYERS = 45,
    RELAYS = 12,
    CLIENT = RELAYS,
    ROOM = TUN_FORWARD_PLAIN - TUN_FILLER * (LAYERS - 1), /* what fillers leave of 45 */
};
static_assert(ROOM > TUN_INNER + 4 + CV_KEY + 4 + TUN_DIGEST + TUN_FLIGHT1, "an EXTEND fits");

struct layer {
    struct tun_ratchet_tx forward;
    uint8_t mask[16], filler[32], salt[8];
};

struct owner {
    struct world *w;
    cv_handle circuit;
    struct layer layer[LAYERS];
    unsigned hops;
};

/* What a handshake with this hop leaves its owner with. */
static void learn(struct owner *o, unsigned relay) {
    const struct tun_layer *l = &world_hop(o->w, relay)->layer;
    struct layer *to = &o->layer[o->hops++];
    tun_ratchet_tx_init(&to->forward, l->forward.start, &l->forward.secret);
    to->forward.n = l->forward.window.top;
    memcpy(to->mask, l->forward_mask_key, sizeof to->mask);
    memcpy(to->filler, l->forward_filler_key, sizeof to->filler);
    memcpy(to->salt, l->forward_salt, sizeof to->salt);
}

/* onion.c without its limit of four: `cell` is for layer `target`. */
static void wrap(struct owner *o, unsigned target, uint8_t command, const uint8_t *data, size_t len,
                 uint8_t cell[TUN_CELL]) {
    uint32_t number[LAYERS];
    uint8_t nonce[LAYERS][CV_AEAD_NONCE], forced[TUN_FILLER * LAYERS], plain[TUN_CELL];
    size_t n = 0;
    for (unsigned i = 0; i <= target; i++) {
        struct layer *l = &o->layer[i];
        cr_assert_eq(tun_ratchet_next(&l->forward, 1, &number[i]), CV_ERR_OK);
        if (i == target)
            number[i] |= TUN_FOR_YOU;
        tun_layer_nonce(nonce[i], l->salt, number[i]);
        uint8_t stream[TUN_FORWARD_PLAIN] = {0};
        cv_chacha20_xor_at(stream, sizeof stream, 1, nonce[i], l->forward.secret.key[0]);
        for (size_t k = 0; k < n; k++)
            forced[k] ^= stream[sizeof stream - n + k];
        if (i < target) {
            tun_filler(forced + n, l->filler, number[i]);
            n += TUN_FILLER;
        }
    }
    cr_assert_leq(TUN_INNER + len + n, TUN_FORWARD_PLAIN);
    memset(plain, 0, sizeof plain);
    plain[0] = command;
    plain[1] = (uint8_t)len;
    plain[2] = (uint8_t)(len >> 8);
    memcpy(plain + TUN_INNER, data, len);
    memcpy(plain + TUN_FORWARD_PLAIN - n, forced, n);
    for (unsigned i = target + 1; i-- > 0;) {
        struct layer *l = &o->layer[i];
        cv_aead_seal(cell + TUN_LAYER_HEAD, cell + 4, plain, TUN_FORWARD_PLAIN, NULL, 0, nonce[i],
                     l->forward.secret.key[0]);
        tun_put_le32(cell, number[i] ^ tun_number_mask(l->mask, cell + 4));
        memcpy(plain, cell, TUN_FORWARD_PLAIN);
    }
}

static void send(struct owner *o, const uint8_t octets[TUN_CELL]) {
    struct tunnel *t = o->w->node[CLIENT].t;
    struct tun_circuit *c = tun_handles_get(&t->circuits, o->circuit);
    cr_assert_not_null(c);
    struct tun_cell *cell = tun_cell_take(t);
    cr_assert_not_null(cell);
    memcpy(cell->octets, octets, TUN_CELL);
    cell->layer = 0;
    tun_put(t, &c->leg, cell, world_now(o->w, CLIENT).mono);
    sim_touch(o->w->sim, CLIENT);
    world_run(o->w, CV_MSEC(400));
}

/* Asks layer `target` to extend to a relay, with a handshake as it should be. */
static void extend(struct owner *o, unsigned target, unsigned relay, uint32_t transaction) {
    static const struct tun_params params = {.suite = TUN_SUITE_CHACHA, .version = TUN_VERSION};
    struct tun_relay_ref to;
    struct tun_handshake hs;
    uint8_t flight[TUN_FLIGHT1], body[TUN_FORWARD_MAX], cell[TUN_CELL];
    world_ref(o->w, relay, &to);
    cr_assert_eq(
        tun_handshake_create_1(&hs, flight, to.identity, to.onion_key, &params, sim_rng(o->w->sim)),
        CV_ERR_OK);
    tun_handshake_done(&hs);
    struct cv_wr wr = cv_wr_init(body, sizeof body);
    struct tun_extend m = {
        .transaction = transaction, .day = to.day, .flight = flight, .flight_len = sizeof flight};
    memcpy(m.identity, to.identity, sizeof m.identity);
    memcpy(m.digest, to.d, sizeof m.digest);
    tun_extend_write(&wr, &m);
    wrap(o, target, TUN_CMD_EXTEND, body, cv_wr_len(&wr), cell);
    send(o, cell);
}

static unsigned relays_reached(struct world *w) {
    unsigned n = 0;
    for (unsigned i = 0; i < RELAYS; i++)
        n += world_hop(w, i) != NULL;
    return n;
}

static void begin(struct owner *o, uint8_t ttl) {
    *o = (struct owner){.w = world_new(&(struct sim_config){.seed = ttl})};
    for (unsigned i = 0; i < RELAYS; i++)
        world_relay(o->w, NULL);
    world_client(o->w, NULL);
    sim_path_default(o->w->sim, &(struct sim_path){.delay = CV_MSEC(5)});
    static const unsigned first = 0;
    o->circuit = world_open(o->w, CLIENT, &first, 1);
    struct tun_circuit *c = tun_handles_get(&o->w->node[CLIENT].t->circuits, o->circuit);
    cr_assert_not_null(c);
    c->ttl = ttl;
    world_run(o->w, CV_SEC(1));
}

Test(tun_endless, forty_five_layers_stop_at_hop_8) {
    for (uint8_t ttl = TUN_TTL_MIN; ttl <= (uint8_t)TUN_TTL_MAX; ttl++) {
        static struct owner o;
        begin(&o, ttl);
        cr_assert_not_null(world_hop(o.w, 0));
        learn(&o, 0);
        /* as far as it goes: each new hop is asked for the next */
        for (unsigned i = 1; i < RELAYS; i++) {
            extend(&o, o.hops - 1, i, 100 + i);
            if (!world_hop(o.w, i))
                break;
            learn(&o, i);
        }
        cr_expect_eq(o.hops, ttl + 1u, "ttl %u: %u hops", ttl, o.hops);
        cr_expect_leq(o.hops, 8);
        cr_expect_eq(tun_counters(o.w->node[ttl].t)->extends_refused, 1);
        /* every hop is asked again, as is each relay beyond the end */
        for (unsigned i = 0; i < o.hops; i++)
            extend(&o, i, RELAYS - 1, 200 + i);
        cr_expect_eq(relays_reached(o.w), ttl + 1u);

        /* 45 layers, those beyond the end with keys of nobody */
        uint8_t cell[TUN_CELL];
        unsigned real = o.hops;
        for (unsigned i = real; i < LAYERS; i++)
            cv_rng_fill(sim_rng(o.w->sim), &o.layer[i].forward.secret, 32);
        uint64_t relayed = 0, bad = 0;
        for (unsigned i = 0; i < RELAYS; i++)
            relayed += tun_counters(o.w->node[i].t)->relayed_cells;
        wrap(&o, LAYERS - 1, TUN_CMD_PADDING, (const uint8_t *)"x", 1, cell);
        send(&o, cell);
        for (unsigned i = 0; i < RELAYS; i++) {
            relayed -= tun_counters(o.w->node[i].t)->relayed_cells;
            bad += tun_counters(o.w->node[i].t)->bad_cell;
        }
        cr_expect_eq(0 - relayed, real - 1, "links travelled: %lu", 0 - relayed);
        cr_expect_eq(bad, 1, "and the last hop has nobody to give it to");
        world_free(o.w);
    }
}

/* A hostile first hop writes what it likes into the next CREATE; honest relays take
 * no more than an owner may draw. */
Test(tun_endless, a_larger_ttl_opens_nothing) {
    static struct owner o;
    begin(&o, 7);
    learn(&o, 0);
    world_hop(o.w, 0)->ttl = 100;
    extend(&o, 0, 1, 1);
    cr_expect_null(world_hop(o.w, 1));
    cr_expect_eq(relays_reached(o.w), 1);
    world_free(o.w);

    begin(&o, 7);
    learn(&o, 0);
    world_hop(o.w, 0)->ttl = 8; /* writes 7: what it buys itself is a path that begins at it */
    extend(&o, 0, 1, 1);
    cr_expect_not_null(world_hop(o.w, 1));
    cr_expect_eq(world_hop(o.w, 1)->ttl, 7);
    world_free(o.w);
}
