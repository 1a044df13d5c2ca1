/*
 * Every (state x message) cell of a relay's door: what becomes of each datagram of somebody
 * whom it does not know while it is calm, hears too many handshakes of a network or of
 * everybody, has all the links that it may have, half-open ones or whole, takes no more circuits
 * or has no keys for the day that its clock shows. Nobody is answered with more than he sent.
 */
#include "tunnel/tests/rows.h"
#include "tunnel/tests/world.h"

CV_SUITE(tun_door_states);

enum { RELAY, OTHER_RELAY };

enum {
    FLIGHT,        /* the first of a handshake */
    WITH_COOKIE,   /* and proof that he is there, */
    COOKIE_BEFORE, /* of the secret before, */
    COOKIE_OLD,    /* of the one before that, */
    COOKIE_OTHERS, /* of another port, */
    COOKIE_MADE_UP,
    FLIGHT_AGAIN,  /* the same a second time */
    TO_ANOTHER,    /* for a key of another relay */
    OF_LATER,      /* in a version that it does not speak */
    FLIGHT_CUT_UP, /* a bit where everybody can check, */
    FLIGHT_FORGED, /* and one where only it can */
    FLIGHT_LATER,  /* half a minute later */
    DESCRIBE,
    DESCRIBE_FORGED,
    DESCRIBED, /* an answer to nothing */
    COOKIE_REPLY,
    NOISE,
    SHORT,
    MESSAGES,
};
static_assert(MESSAGES == 18, "a new message needs a column");

struct scene {
    struct world *w;
    struct tunnel *t;
    struct cv_addr from;
    struct tun_linkhs_peer peer; /* the relay, as others see it */
    struct tun_describe_net net;
    unsigned out; /* to him */
};

static enum sim_verdict watch(void *ctx, const struct sim_datagram *d) {
    struct scene *s = ctx;
    s->out += cv_addr_equal(d->to, &s->from);
    return SIM_PASS;
}

/* ---- who comes, and with what ---- */

static void come(struct scene *s, const struct cv_addr *from, const uint8_t *buf, size_t len) {
    struct cv_now now = world_now(s->w, RELAY);
    (void)tun_on_datagram(s->t, &now, from, buf, len);
    sim_touch(s->w->sim, RELAY);
    world_run(s->w, CV_MSEC(1));
}

static void flight(struct scene *s, const struct tun_linkhs_peer *peer, const uint8_t *cookie,
                   uint8_t buf[TUN_DATAGRAM]) {
    struct tun_linkhs hs;
    const struct cv_rng *rng = sim_rng(s->w->sim);
    cr_assert_eq(tun_linkhs_create_1(&hs, peer, cv_rng_u32(rng), cookie, rng, buf), CV_ERR_OK);
    tun_linkhs_done(&hs);
}

/* Somebody else begins a handshake. */
static void half(struct scene *s, unsigned network, uint16_t port) {
    uint8_t buf[TUN_DATAGRAM];
    struct cv_addr from = sim_addr(network, port);
    flight(s, &s->peer, NULL, buf);
    come(s, &from, buf, sizeof buf);
}

/* Somebody else has a link. */
static void guest(struct scene *s, const struct cv_addr *addr) {
    struct cv_now now = world_now(s->w, RELAY);
    struct tun_link *l = tun_link_alloc(s->t, &now, addr, false);
    cr_assert_not_null(l);
    l->state = TUN_STATE_OPEN;
    tun_link_regroup(s->t, l);
}

/* ---- states ---- */

static void calm(struct scene *s) {
    (void)s;
}

static void spend(struct scene *s, enum tun_admission_kind kind, const struct cv_addr *from) {
    cv_usec now = world_now(s->w, RELAY).mono;
    for (unsigned i = 0; i < 5000 && tun_admit(s->t->admission, kind, from, now); i++)
        ;
}

static void network_claimed(struct scene *s) { /* his network claimed too often */
    spend(s, TUN_ADMIT_CLAIMED, &s->from);
}

static void network_spent(struct scene *s) { /* and proved, and asked */
    for (unsigned kind = 0; kind < TUN_ADMIT_KINDS; kind++)
        spend(s, (enum tun_admission_kind)kind, &s->from);
}

static void loaded(struct scene *s) {
    while (!tun_admission_loaded(s->t->admission, world_now(s->w, RELAY).mono))
        ;
}

static void spent(struct scene *s) { /* by everybody, with proof */
    loaded(s);
    for (unsigned i = 0; i < 400; i++) {
        struct cv_addr from = sim_addr(1000 + i, 1);
        spend(s, TUN_ADMIT_PROVED, &from);
        spend(s, TUN_ADMIT_DESCRIBE, &from);
    }
}

/* As if so many more were under way. */
static void halves(struct scene *s, uint32_t n) {
    s->t->halves += n;
}

static void many_halves(struct scene *s) {
    halves(s, TUN_HALF_OPEN_MAX / 4 + 1);
}

static void full_of_one(struct scene *s) { /* most of which are of one network */
    for (uint16_t i = 1; i <= 3; i++)
        half(s, 500, i);
    halves(s, TUN_HALF_OPEN_MAX);
}

static void full_of_each(struct scene *s) {
    half(s, 500, 1);
    half(s, 700, 1);
    halves(s, TUN_HALF_OPEN_MAX);
}

static void full_of_his(struct scene *s) { /* he has one himself */
    full_of_each(s);
    halves(s, -(uint32_t)TUN_HALF_OPEN_MAX);
    half(s, 900, 1);
    halves(s, TUN_HALF_OPEN_MAX);
}

static void taken(struct scene *s) { /* all links, most by one network */
    for (uint16_t i = 1; i <= 3; i++) {
        struct cv_addr addr = sim_addr(500, i);
        guest(s, &addr);
    }
    s->t->cfg.links_max = 3;
    cr_assert(tun_places_are_taken(s->t));
}

static void taken_by_each(struct scene *s) {
    struct cv_addr addr = sim_addr(500, 1);
    guest(s, &addr);
    s->t->cfg.links_max = 2; /* one of them for its own */
    cr_assert(tun_places_are_taken(s->t));
}

static void taken_by_him(struct scene *s) { /* who may want to renew it */
    guest(s, &s->from);
    s->t->cfg.links_max = 2;
    cr_assert(tun_places_are_taken(s->t));
}

static void draining(struct scene *s) {
    tun_drain(s->t, true);
}

static void ahead(struct scene *s) { /* its clock, by a day */
    sim_wall_skew(s->w->sim, RELAY, 86400);
}

static void behind(struct scene *s) {
    sim_wall_skew(s->w->sim, RELAY, -86400);
}

static void nowhere(struct scene *s) { /* he is where nobody can be */
    s->from = (struct cv_addr){.family = 4, .ip = {127, 0, 0, 1}, .port = 4000};
}

/* . nothing  a answered  A the same, and another half-open one ended for it  c asked to prove that
 * he is there  d told who lives here
 *
 * Columns: flight; with a cookie, before, old, others', made up; again, to another, of later;
 * cut up, forged, later; DESCRIBE, forged, answer; cookie, noise, short. */
/* clang-format off */
static const struct {
    const char *name;
    void (*reach)(struct scene *);
    const char *answers;
} states[] = {
    { "calm",                     calm,            "a" "aaaaa" "a.." "..a" "d.." "..." },
    { "his network claims much",  network_claimed, "c" "aaccc" "c.." "..a" "d.." "..." },
    { "his network asks much",    network_spent,   "c" "..ccc" "c.." "..a" "..." "..." },
    { "all claim much",           loaded,          "c" "aaccc" "c.." "..a" "d.." "..." },
    { "all ask much",             spent,           "c" "..ccc" "c.." "..a" "..." "..." },
    { "many half-open",           many_halves,     "c" "aaccc" "c.." "..c" "d.." "..." },
    { "all, one has most",        full_of_one,     "c" "AAccc" "c.." "..c" "d.." "..." },
    { "all, each has one",        full_of_each,    "c" "..ccc" "c.." "..c" "d.." "..." },
    { "all, he has one, too",     full_of_his,     "c" "AAccc" "c.." "..c" "d.." "..." },
    { "places, one has most",     taken,           "c" "aaccc" "c.." "..c" "d.." "..." },
    { "places, each has one",     taken_by_each,   "c" "..ccc" "c.." "..c" "d.." "..." },
    { "places, he has one",       taken_by_him,    "c" "aaccc" "c.." "..c" "d.." "..." },
    { "takes no more circuits",   draining,        "a" "aaaaa" "a.." "..a" "d.." "..." },
    { "a day ahead",              ahead,           "." "....." "..." "..." "..." "..." },
    { "a day behind",             behind,          "." "....." "..." "..." "..." "..." },
    { "asked from nowhere",       nowhere,         "." "....." "..." "..." "..." "..." },
};
/* clang-format on */

/* ---- messages ---- */

static size_t handshake(struct scene *s, unsigned m, uint8_t buf[TUN_DATAGRAM]) {
    struct cv_now now = world_now(s->w, RELAY);
    struct tun_linkhs_peer peer = s->peer;
    struct cv_addr who = s->from;
    struct tun_relay_ref ref;
    uint8_t cookie[TUN_COOKIE] = {1, 2, 3};
    who.port = (uint16_t)(who.port + (m == COOKIE_OTHERS));
    tun_cookie_jar_tick(&s->t->jar, &s->t->rng, now.mono);
    if (m != COOKIE_MADE_UP)
        tun_cookie_make(&s->t->jar, &who, cookie);
    if (m == COOKIE_BEFORE || m == COOKIE_OLD)
        s->t->jar.rotated = now.mono - CV_MSEC(TUN_COOKIE_MS) * (m == COOKIE_OLD ? 2 : 1);
    if (m == TO_ANOTHER) {
        world_ref(s->w, OTHER_RELAY, &ref);
        tun_linkhs_peer_init(&peer, ref.link_key, tun_config(s->t)->network_id);
    }
    if (m == OF_LATER)
        tun_linkhs_peer_speaks(&peer, TUN_VERSION + 1);
    bool with = m != FLIGHT && m != FLIGHT_AGAIN && m != FLIGHT_LATER;
    flight(s, &peer, with ? cookie : NULL, buf);
    if (m == FLIGHT_AGAIN) {
        come(s, &s->from, buf, TUN_DATAGRAM);
        s->out = 0;
    }
    if (m == FLIGHT_LATER)
        world_run(s->w, CV_SEC(30));
    if (m == FLIGHT_CUT_UP || m == FLIGHT_FORGED)
        buf[m == FLIGHT_CUT_UP ? 40 : 400] ^= 1;
    return TUN_DATAGRAM;
}

static size_t other(struct scene *s, unsigned m, uint8_t buf[TUN_DATAGRAM]) {
    const struct cv_rng *rng = sim_rng(s->w->sim);
    struct tun_describe d;
    uint8_t asked[TUN_DATAGRAM];
    cv_rng_fill(rng, buf, TUN_DATAGRAM);
    tun_describe_ask(&d, &s->net, rng, asked);
    tun_describe_done(&d);
    if (m == DESCRIBE || m == DESCRIBE_FORGED)
        memcpy(buf, asked, sizeof asked);
    if (m == DESCRIBE_FORGED)
        buf[20] ^= 1;
    if (m == DESCRIBED)
        cr_assert_eq(tun_describe_answer(&s->net, asked, "descriptor", 10, rng, buf), CV_ERR_OK);
    if (m == COOKIE_REPLY) {
        flight(s, &s->peer, NULL, asked);
        tun_linkhs_create_cookie(&s->peer, &s->t->jar, &s->from, asked, rng, buf);
    }
    return m == SHORT ? TUN_DATAGRAM - 1 : TUN_DATAGRAM;
}

static char answer(struct scene *s, unsigned m) {
    uint8_t buf[TUN_DATAGRAM];
    size_t len = m < DESCRIBE ? handshake(s, m, buf) : other(s, m, buf);
    struct tun_counters was = *tun_counters(s->t);
    uint32_t halves_were = s->t->halves;
    come(s, &s->from, buf, len);
    const struct tun_counters *is = tun_counters(s->t);
    bool displaced = is->halves_displaced > was.halves_displaced;
    bool half_open = s->t->halves + displaced == halves_were + 1;
    cr_expect_leq(s->out, 1);
    cr_expect_eq(is->links_displaced, was.links_displaced, "nobody ends for a handshake");
    if (!s->out)
        return half_open || displaced ? '!' : '.';
    if (is->cookies_sent > was.cookies_sent)
        return half_open || is->handshakes_in > was.handshakes_in ? '!' : 'c';
    if (half_open)
        return displaced ? 'A' : 'a';
    return m == DESCRIBE ? 'd' : '!';
}

static void begin(struct scene *s) {
    struct tun_relay_ref ref;
    *s = (struct scene){.w = world_new(&(struct sim_config){.seed = 1}),
                        .from = sim_addr(900, 9000)};
    world_relay(s->w, NULL);
    world_relay(s->w, NULL);
    s->t = s->w->node[RELAY].t;
    sim_hook(s->w->sim, watch, s);
    world_run(s->w, CV_SEC(250)); /* there are secrets of cookies before the one in use */
    world_ref(s->w, RELAY, &ref);
    tun_linkhs_peer_init(&s->peer, ref.link_key, tun_config(s->t)->network_id);
    tun_describe_net_init(&s->net, tun_config(s->t)->network_id);
}

Test(tun_door_states, of_strangers) {
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        char got[MESSAGES + 1] = {0};
        for (unsigned m = 0; m < MESSAGES; m++) {
            static struct scene s;
            begin(&s);
            states[i].reach(&s);
            got[m] = answer(&s, m);
            world_free(s.w);
        }
        expect_row("strangers", states[i].name, got, states[i].answers);
    }
}
