/*
 * Every (state x message) cell of contact.c: an address that is or will be asked who
 * lives there, and a relay that we speak to from our own address, each at a relay and
 * at a client. What arrives is any datagram that could be an answer, what others say of
 * an address or a relay, links that come and go, silence, and time. And two things that a node
 * learns of itself in this way: that its own network is away, and that its clock is wrong.
 */
#include "tunnel/clientstate.h"
#include "tunnel/link.h"
#include "tunnel/tests/rows.h"
#include "tunnel/tests/village.h"

CV_SUITE(tun_contact_states);

enum { LIVE = 1, RELAYS = 6 }; /* relays of the village; to the first of these there is a link */
enum { HERE = 70, THERE };     /* addresses where nobody lives */

struct scene {
    struct village *v;
    unsigned node;
    struct tun_client *c;
    struct cv_ed25519_secret secret; /* of a relay that does not run, another for each cell */
    uint8_t number;
};

static struct cv_addr here(void) {
    return sim_addr(HERE, 4000);
}

static struct cv_addr there(void) {
    return sim_addr(THERE, 4000);
}

/* Relay or client, in a village that knows itself; of both families, or of IPv4. */
static void begin_in(struct scene *s, bool relay, bool mixed) {
    *s = (struct scene){.v = village_new(&(struct sim_config){.seed = 3}, mixed ? 0 : RELAYS)};
    s->v->w->mixed = mixed;
    while (s->v->w->nodes < RELAYS)
        village_relay(s->v);
    sim_path_default(s->v->w->sim, &(struct sim_path){.delay = CV_MSEC(1)});
    world_run(s->v->w, CV_SEC(12));
    s->node = relay ? 0 : village_client(s->v);
    world_run(s->v->w, CV_SEC(24));
    s->c = tun_attached(s->v->w->node[s->node].t, TUN_USER_CLIENT);
}

static void begin(struct scene *s, bool relay) {
    begin_in(s, relay, /* mixed= */ false);
}

/* It knows the same relays as before, and has nothing to do with any of them. */
static void clear(struct scene *s) {
    struct tun_client *c = s->c;
    tun_contact_done(c);
    memset(c->neighbour, 0, sizeof c->neighbour);
    memset(&c->guards, 0, sizeof c->guards);
    tun_questions_init(&c->questions, tun_client_rng(c));
    c->guards_saved = false;
    c->now = world_now(s->v->w, s->node);
    cv_ed25519_from_seed(&s->secret, (const uint8_t[CV_KEY]){200, ++s->number, c->relay});
}

static size_t sign(struct scene *s, const struct cv_addr *addr, uint32_t day, uint32_t bandwidth,
                   uint8_t raw[TUN_DESCRIPTOR_MAX]) {
    struct tun_descriptor d = {.day = day,
                               .flags = TUN_RELAY_RELAY,
                               .suites = TUN_SUITES_CHACHA,
                               .bandwidth = bandwidth,
                               .addrs = 1,
                               .addr = {*addr}};
    memcpy(d.network_id, tun_config(s->c->t)->network_id, sizeof d.network_id);
    ssize_t len = tun_descriptor_sign(&d, &s->secret, raw, TUN_DESCRIPTOR_MAX);
    cr_assert_gt(len, 0);
    return (size_t)len;
}

static void learn(struct scene *s, uint32_t bandwidth, enum cv_err want) {
    uint8_t raw[TUN_DESCRIPTOR_MAX];
    struct cv_addr addr = here();
    size_t len = sign(s, &addr, tun_descriptor_day(s->c->now.wall), bandwidth, raw);
    cr_assert_eq(tun_client_learn(s->c, raw, len, NULL), want);
    tun_contact_done(s->c); /* a relay looks for whom it has learnt of */
}

/* ---- addresses ---- */

enum {
    JUNK,      /* octets from there */
    QUESTION,  /* somebody there asks us */
    OTHERWISE, /* the answer to another question */
    FORGED,    /* the answer by its mac, and not by its seal */
    RUBBISH,   /* it holds no descriptor */
    ELSEWHERE, /* of a relay that does not live there */
    STALE,     /* of three days ago */
    SECOND,    /* another one of that day is known */
    LIAR,      /* two of that day are */
    RIGHT,
    BY_OTHER, /* RIGHT, from another address */
    FOUND,    /* the DHT names the address */
    SAVED,    /* it is a first hop's */
    NAMED,    /* a descriptor names it */
    EARLY,    /* time, before it has to do with the address */
    DUE,
    MESSAGES,
};
static_assert(MESSAGES == 16, "a new message needs a column");

/* . nothing  t taken, and it waits on  n to be asked, from now on  g the same, as a first hop's
 * m the same, as only named  q is asked (again)  r rests, for a minute  x forgotten
 * N rests, and who lives there is a neighbour  X forgotten, and a neighbour
 * G is a first hop's from now on  u is not only named any more, or at a client from now on
 *
 * Columns: junk, question, otherwise, forged, rubbish, elsewhere, stale, second, liar, right,
 * by other; found, saved, named; early, due. */
/* clang-format off */
static const struct {
    const char *name;
    struct tun_address at;
    const char *relay, *client;
    bool gone; /* the first hop whose it was has another address, or is none any more */
} addresses[] = {
    { "nobody's",                { .tries = 0 },
      "..........." "ngm" "..",
      "..........." "ngm" "..", false },
    { "to be asked",             { .addr.family = 4 },
      "..........." ".G." ".q",
      "..........." ".Gu" ".q", false },
    { "asked",                   { .addr.family = 4, .asked = true, .tries = 1 },
      "...trrrrrN." ".G." ".q",
      "...trrrrrN." ".G." ".q", false },
    { "asked for the last time", { .addr.family = 4, .asked = true, .tries = TUN_TRIES },
      "...trrrrrN." ".G." ".r",
      "...trrrrrN." ".G." ".r", false },
    { "a first hop's",           { .addr.family = 4, .guard = true },
      "..........." "..." ".q",
      "..........." "..." ".q", false },
    { "a first hop's, asked",    { .addr.family = 4, .guard = true, .asked = true, .tries = 6 },
      "...trrrrrN." "..." ".q",
      "...trrrrrN." "..." ".q", false },
    { "no first hop's any more", { .addr.family = 4, .guard = true, .asked = true, .tries = 6 },
      "...trrrrrN." "..." ".r",
      "...trrrrrN." "..." ".r", true },
    { "only named",              { .addr.family = 4, .named = true },
      "..........." "uG." ".q",
      "..........." ".G." ".q", false },
    { "only named, asked",       { .addr.family = 4, .named = true, .asked = true, .tries = 1 },
      "...txxxxxX." "uG." ".q",
      "...txxxxxX." ".G." ".q", false },
    { "only named, for the last", { .addr.family = 4, .named = true, .asked = true, .tries = TUN_NAMED_TRIES },
      "...txxxxxX." "uG." ".x",
      "...txxxxxX." ".G." ".x", false },
    { "rests",                   { .addr.family = 4, .tries = UINT8_MAX },
      "..........." ".G." ".x",
      "..........." ".Gu" ".x", false },
};
/* clang-format on */

static struct tun_address *address_of(struct tun_client *c, const struct cv_addr *addr) {
    for (unsigned i = 0; i < TUN_ADDRESSES_MAX; i++)
        if (c->address[i].addr.family && cv_addr_equal(&c->address[i].addr, addr))
            return &c->address[i];
    return NULL;
}

/* The octets of a message that is a datagram. */
static void datagram(struct scene *s, unsigned m, const uint8_t *question,
                     uint8_t out[TUN_DATAGRAM]) {
    const struct tun_describe_net *net = &s->c->net;
    const struct cv_rng *rng = sim_rng(s->v->w->sim);
    struct cv_addr at = m == ELSEWHERE ? there() : here();
    uint32_t day = tun_descriptor_day(s->c->now.wall) - (m == STALE ? 3 : 0);
    struct tun_describe another;
    uint8_t raw[TUN_DESCRIPTOR_MAX] = {1, 2, 3}, asked[TUN_DATAGRAM];
    size_t len = m == RUBBISH ? 3 : sign(s, &at, day, 100, raw);
    cv_rng_fill(rng, out, TUN_DATAGRAM);
    if (m == JUNK)
        return;
    tun_describe_ask(&another, net, rng, asked);
    tun_describe_done(&another);
    if (m == QUESTION)
        memcpy(out, asked, sizeof asked);
    else
        cr_assert_eq(
            tun_describe_answer(net, m == OTHERWISE ? asked : question, raw, len, rng, out),
            CV_ERR_OK);
    if (m == FORGED)
        out[TUN_DATAGRAM - 1] ^= 1;
}

/* False: a datagram that nobody took. */
static bool happens(struct scene *s, unsigned m, const uint8_t *question) {
    struct tun_client *c = s->c;
    struct cv_addr at = here(), from = m == BY_OTHER ? there() : here();
    uint8_t buf[TUN_DATAGRAM];
    switch (m) {
    case FOUND:
    case SAVED:
        cr_assert_eq(tun_contact_add(c, &at, m == SAVED), CV_ERR_OK);
        return true;
    case NAMED:
        (void)tun_contact_reach_at(c, s->secret.public_key, &at);
        return true;
    case EARLY:
    case DUE:
        tun_contact_work(c);
        return true;
    default:
        datagram(s, m, question, buf);
        return tun_contact_on_raw(c, &from, buf);
    }
}

static char became(struct scene *s, const struct tun_address *was, unsigned m, bool taken) {
    struct cv_addr at = here();
    const struct tun_address *a = address_of(s->c, &at);
    bool had = was->addr.family != 0, rests = a && a->tries == UINT8_MAX;
    const struct tun_neighbour *n = tun_contact_neighbour(s->c, s->secret.public_key);
    if (n)
        return !a ? 'X' : rests && !a->asked ? 'N' : '!';
    if (!a)
        return had ? 'x' : '.';
    if (!had)
        return a->guard ? 'g' : a->named ? 'm' : 'n';
    if (rests && was->tries != UINT8_MAX)
        return a->asked ? '!' : 'r';
    if (a->sent_at != was->sent_at)
        return a->asked && a->sent_at == s->c->now.mono ? 'q' : '!';
    if (a->guard != was->guard)
        return 'G';
    if (a->named != was->named)
        return 'u';
    return m < FOUND && taken ? 't' : '.';
}

static char asked(struct scene *s, size_t row, unsigned m) {
    struct tun_client *c = s->c;
    uint8_t question[TUN_DATAGRAM];
    struct tun_describe describe;
    clear(s);
    if (m == SECOND || m == LIAR)
        learn(s, 1, CV_ERR_OK);
    if (m == LIAR) {
        learn(s, 2, CV_ERR_DIFFERS);
        learn(s, 100, CV_ERR_EXIST);
    }
    tun_describe_ask(&describe, &c->net, sim_rng(s->v->w->sim), question);
    struct tun_address *a = &c->address[5];
    *a = addresses[row].at;
    if (a->addr.family) {
        a->addr = here();
        a->at = m == DUE ? c->now.mono : cv_usec_add(c->now.mono, CV_SEC(5));
        a->question = describe; /* of one that is not asked any more, the last */
        memcpy(a->whose, s->secret.public_key, CV_KEY);
    }
    if (a->guard && !addresses[row].gone) {
        c->guards.first[0] = (struct tun_guard){.set = true, .addr = here()};
        memcpy(c->guards.first[0].identity, s->secret.public_key, CV_KEY);
    }
    struct tun_address was = *a;
    bool taken = happens(s, m, question);
    tun_describe_done(&describe);
    return became(s, &was, m, taken);
}

Test(tun_contact_states, of_addresses) {
    for (unsigned relay = 0; relay < 2; relay++) {
        static struct scene s;
        begin(&s, relay);
        for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
            char got[MESSAGES + 1] = {0};
            for (unsigned m = 0; m < MESSAGES; m++)
                got[m] = asked(&s, i, m);
            expect_row(relay ? "relay" : "client", addresses[i].name, got,
                       relay ? addresses[i].relay : addresses[i].client);
        }
        clear(&s);
        village_free(s.v);
    }
}

/* ---- neighbours ---- */

enum {
    UP,         /* our link to it */
    UP_ANEW,    /* the same, another link */
    UP_OTHER,   /* a link of ours to somebody else */
    CAME,       /* its link to us */
    CAME_NEW,   /* the link of a relay that nobody knows */
    DOWN,       /* its link is gone */
    DOWN_OTHER, /* another is */
    ANSWERED,   /* it is to be a neighbour, at another address */
    BEFORE,     /* time, before it is tried again */
    AFTER,
    EVENTS,
    LINK = 0x7001, /* handles of nobody's links */
    OTHER_LINK,
};
static_assert(EVENTS == 10, "a new event needs a column");

/* . nothing  s a neighbour, without a link  S a neighbour, up  u up  l up, by another link
 * d down, and tried again later  m its address is another  x forgotten: room for others
 * a the caller is to be asked who it is
 *
 * Columns: up, anew, other; came, new; down, other; answered; before, after. A live one has
 * a link, whatever the events say. */
/* clang-format off */
static const struct {
    const char *name;
    struct tun_neighbour at;
    bool first; /* one of our first hops */
    const char *relay, *client; /* both may be the same of one that lives ... */
    const char *relay_dead, *client_dead; /* ... and of one that does not */
} neighbours[] = {
    { "nobody",         { .set = false }, false,
      "....a..S..", ".......S..", "....a..s..", ".......s.." },
    { "down",           { .set = true }, false,
      "uu..a..u.u", "uu.....u.u", "uu..a..m.d", "uu.....m.d" },
    { "down for long",  { .set = true, .since = 1 }, false,
      "uu..a..u.u", "uu.....u.u", "uu..a..m.x", "uu.....m.x" },
    { "down, a first",  { .set = true, .since = 1 }, true,
      "uu..a..u.u", "uu.....u.u", "uu..a..m.d", "uu.....m.d" },
    { "up",             { .set = true, .up = true, .link = LINK }, false,
      ".l..ad....", ".l...d....", ".l..ad....", ".l...d...." },
    { "up, not told",   { .set = true, .up = true }, false,
      "ll..a.....", "ll........", "ll..add...", "ll...dd..." },
};
/* clang-format on */

static void link_event(struct scene *s, unsigned m, const uint8_t identity[CV_KEY]) {
    static const uint8_t other[CV_KEY] = {5, 5};
    struct tun_event ev = {.kind = TUN_EVENT_LINK_UP,
                           .link_up = {.link = m == UP ? LINK : OTHER_LINK,
                                       .role = TUN_ROLE_RELAY,
                                       .addr = there(),
                                       .ours = m <= UP_OTHER}};
    memcpy(ev.link_up.identity, m == UP_OTHER || m == CAME_NEW ? other : identity, CV_KEY);
    if (m == DOWN || m == DOWN_OTHER)
        ev = (struct tun_event){.kind = TUN_EVENT_LINK_DOWN,
                                .link_down = {.link = m == DOWN ? LINK : OTHER_LINK}};
    tun_contact_on_link(s->c, &ev);
}

static char neighbour_became(struct scene *s, const struct tun_neighbour *was,
                             const uint8_t identity[CV_KEY]) {
    const struct tun_neighbour *n = tun_contact_neighbour(s->c, identity);
    struct cv_addr caller = there();
    if (!n)
        return was->set ? 'x' : address_of(s->c, &caller) ? 'a' : '.';
    const struct tun_guard *g = tun_guards_find_sampled(&s->c->guards, identity);
    if (!g || g->up != n->up || (!n->up && (n->link || n->sync.phase)))
        return '!';
    if (!was->set)
        return n->up ? 'S' : 's';
    if (n->up != was->up)
        return n->up ? 'u' : 'd';
    if (n->link != was->link)
        return 'l';
    if (n->retry_wait != was->retry_wait)
        return n->retry_at > s->c->now.mono ? 'd' : '!';
    if (!cv_addr_equal(&n->addr, &was->addr))
        return 'm';
    return address_of(s->c, &caller) ? 'a' : '.';
}

static char neighbour(struct scene *s, size_t row, unsigned m, bool live) {
    struct tun_client *c = s->c;
    clear(s);
    learn(s, 1, CV_ERR_OK);
    const uint8_t *identity =
        live ? s->v->w->node[LIVE].identity_secret.public_key : s->secret.public_key;
    const struct tun_relay *r = tun_directory_find_now(c->dir, identity, c->now.wall);
    struct tun_guard *g = &(neighbours[row].first ? c->guards.first : c->guards.contact)[0];
    *g = (struct tun_guard){.set = true, .up = neighbours[row].at.up};
    memcpy(g->identity, identity, CV_KEY);

    struct tun_neighbour *n = &c->neighbour[3];
    *n = neighbours[row].at;
    if (n->set) {
        memcpy(n->identity, identity, CV_KEY);
        n->addr = r->desc.addr[0];
        n->since = c->now.mono - (n->since ? CV_SEC(20) : 0);
        n->retry_at = m == AFTER ? c->now.mono : cv_usec_add(c->now.mono, CV_SEC(5));
    }
    struct tun_neighbour was = *n;
    if (m <= DOWN_OTHER) {
        link_event(s, m, identity);
    } else if (m == ANSWERED) {
        struct cv_addr at = there();
        tun_contact_neighbour_add(c, r, &at);
    } else {
        tun_contact_work(c);
    }
    return neighbour_became(s, &was, identity);
}

/* A link of ours to LIVE that is up. */
static struct tun_link *link_up(struct scene *s) {
    struct tun_relay_ref ref;
    struct tun_link *l;
    struct cv_now now = world_now(s->v->w, s->node);
    world_ref(s->v->w, LIVE, &ref);
    cr_assert_eq(tun_link_open(s->c->t, &now, &ref, &l), CV_ERR_OK);
    sim_touch(s->v->w->sim, s->node);
    world_run(s->v->w, CV_SEC(1));
    cr_assert_eq(tun_link_open(s->c->t, &now, &ref, &l), CV_ERR_OK);
    cr_assert(tun_link_is_up(l));
    return l;
}

Test(tun_contact_states, of_neighbours) {
    for (unsigned relay = 0; relay < 2; relay++) {
        static struct scene s;
        begin(&s, relay);
        (void)link_up(&s);
        for (size_t i = 0; i < sizeof neighbours / sizeof *neighbours; i++)
            for (unsigned live = 0; live < 2; live++) {
                char got[EVENTS + 1] = {0};
                for (unsigned m = 0; m < EVENTS; m++)
                    got[m] = neighbour(&s, i, m, live);
                expect_row(live    ? relay ? "relay" : "client"
                           : relay ? "relay, of a dead one"
                                   : "client, of a dead one",
                           neighbours[i].name, got,
                           live    ? relay ? neighbours[i].relay : neighbours[i].client
                           : relay ? neighbours[i].relay_dead
                                   : neighbours[i].client_dead);
            }
        clear(&s);
        village_free(s.v);
    }
}

/* ---- is our own network away? ---- */

enum {
    QUIET,     /* nobody has anything to answer */
    WAITING,   /* somebody has, for long, and nobody says anything */
    UNLIKE,    /* the same, and others do */
    WORD,      /* one word of anybody, before a question to all would be answered, */
    WORD_SURE, /* and later */
    LOST,      /* one link, and others are heard; */
    LOST_ALL,  /* and nobody is */
    BACK_UP,   /* a link is there again, */
    UP_BACK,   /* after the clock was set back by a day, */
    UP_AHEAD,  /* or ahead */
    OUTAGE,
};
static_assert(OUTAGE == 10, "a new event needs a column");

/* . nothing  h all are asked, as nobody says anything  q somebody does, and he had nothing to
 * answer  f he does, and nobody is avoided any more  c it is away  b it is back: nobody is
 * avoided, and nobody was silent in the meantime  B the same, and it is no longer or shorter by
 * what the clock jumped
 *
 * Columns: quiet, waiting, unlike; word, sure; lost, all; up, back, ahead. */
/* clang-format off */
static const struct {
    const char *name;
    bool hush, cut;
    const char *answers;
} outages[] = {
    { "there", false, false, ".h." ".." ".c" "..." },
    { "hushed", true, false, "..." "qf" ".c" "..." },
    { "away", false, true, ".hb" "bb" ".." "bBB" },
};
/* clang-format on */

/* What all that have a link said last, and whether the first has something to answer. */
static void links_are(struct tun_client *c, cv_usec heard, cv_usec waits) {
    bool first = true;
    for (unsigned i = 0; i < TUN_CONTACTS_MAX; i++) {
        struct tun_link *l = tun_contact_link(c, &c->neighbour[i]);
        if (!c->neighbour[i].set || !l)
            continue;
        l->heard_at = heard;
        l->waiting_at = first ? waits : 0;
        first = false;
    }
}

static struct tun_neighbour *last_up(struct tun_client *c) {
    for (unsigned i = TUN_CONTACTS_MAX; i-- > 0;)
        if (c->neighbour[i].set && c->neighbour[i].up)
            return &c->neighbour[i];
    cr_assert_fail("no neighbour");
    return NULL;
}

static void outage_event(struct tun_client *c, unsigned m, struct tun_neighbour *n) {
    cv_usec mono = c->now.mono;
    struct tun_event ev = {.kind = TUN_EVENT_LINK_DOWN, .link_down = {.link = n->link}};
    switch (m) {
    case WAITING:
        links_are(c, c->cut_at ? c->cut_since : mono - CV_SEC(8), mono - CV_SEC(4));
        break;
    case UNLIKE:
        links_are(c, mono - CV_SEC(2), mono - CV_SEC(4));
        break;
    case WORD:
    case WORD_SURE:
        links_are(c, (c->hush_at ? c->hush_at : mono) + CV_MSEC(m == WORD ? 100 : 600), 0);
        c->now.mono += CV_SEC(1);
        break;
    case LOST:
    case LOST_ALL:
        links_are(c, m == LOST ? mono - CV_SEC(1) : mono - TUN_LINK_SILENCE, 0);
        tun_contact_on_link(c, &ev);
        return;
    case BACK_UP:
    case UP_BACK:
    case UP_AHEAD:
        c->now.wall += m == UP_BACK ? -86400 : m == UP_AHEAD ? 86400 : 0;
        ev = (struct tun_event){.kind = TUN_EVENT_LINK_UP,
                                .link_up = {.link = n->link, .role = TUN_ROLE_RELAY, .ours = true}};
        memcpy(ev.link_up.identity, n->identity, CV_KEY);
        n->up = false;
        tun_contact_on_link(c, &ev);
        return;
    default:
        break;
    }
    tun_contact_work(c);
}

static char outage(struct scene *s, size_t row, unsigned m) {
    enum { CUT_S = 60, SILENT_S = 100 };
    struct tun_client *c = s->c;
    struct tun_neighbour *n = last_up(c);
    struct tun_relay *r = tun_directory_find_now(c->dir, n->identity, c->now.wall);
    struct tun_guard *silent = &c->guards.contact[TUN_CONTACTS_WANTED - 1];
    *silent = (struct tun_guard){.set = true, .silent_since = c->now.wall - SILENT_S};
    int64_t since = silent->silent_since;
    c->hush_at = outages[row].hush ? c->now.mono - CV_MSEC(300) : 0;
    c->cut_at = outages[row].cut ? c->now.wall - CUT_S : 0;
    c->cut_since = c->now.mono - CV_SEC(CUT_S);
    links_are(c, c->now.mono - CV_SEC(outages[row].cut ? CUT_S + 5 : 1), 0);
    if (outages[row].hush)
        links_are(c, c->hush_at - CV_SEC(3), 0);
    r->shunned_until = CV_USEC_NEVER;
    cv_usec hush_at = c->hush_at;
    outage_event(c, m, n);
    bool forgiven = r->shunned_until == 0;
    int64_t shifted = silent->silent_since - since;
    r->shunned_until = 0;
    if (outages[row].cut && c->cut_at == 0) {
        if (m == UP_BACK) /* whoever is silent yet is so from now on (guard.h) */
            return shifted == 0 && silent->silent_since > c->now.wall ? 'B' : '!';
        if (m == UP_AHEAD)
            return shifted == CUT_S + 86400 ? 'B' : '!';
        return forgiven && shifted == CUT_S ? 'b' : '!';
    }
    if (shifted != 0)
        return '!';
    if (!outages[row].cut && c->cut_at)
        return 'c';
    if (hush_at && !c->hush_at)
        return forgiven ? 'f' : 'q';
    if (forgiven)
        return '!';
    return c->hush_at != hush_at ? 'h' : '.';
}

Test(tun_contact_states, of_our_own_network) {
    static struct scene s;
    begin(&s, /* relay= */ false);
    world_run(s.v->w, CV_SEC(60));
    struct tun_client *kept = malloc(sizeof *kept);
    s.c->now = world_now(s.v->w, s.node);
    memcpy(kept, s.c, sizeof *kept);
    for (size_t i = 0; i < sizeof outages / sizeof *outages; i++) {
        char got[OUTAGE + 1] = {0};
        for (unsigned m = 0; m < OUTAGE; m++) {
            got[m] = outage(&s, i, m);
            memcpy(s.c, kept, sizeof *kept);
        }
        expect_row("client", outages[i].name, got, outages[i].answers);
    }
    free(kept);
    village_free(s.v);
}

/* ---- is our clock right? ---- */

enum {
    OUR_DAY,        /* a relay of another network lives in our day, */
    NEXT_DAY,       /* in the next, */
    DAY_BEFORE,     /* or in the one before */
    SAME_AGAIN,     /* one says the same again */
    OURS_AFTER_ALL, /* or lives in our day by now */
    SET,            /* our clock was set to the next day, and one says so again; */
    SET_ALL,        /* all do */
    SAYINGS,
};
static_assert(SAYINGS == 7, "a new message needs a column");

/* . nothing  n the node is told that it is a day behind  r that it is right: last, if it is told
 * more than once
 *
 * Columns: ours, next, before; again, ours after all; set, all. */
/* clang-format off */
static const struct {
    const char *name;
    unsigned behind, agree; /* networks by which we are, and others; the last of them is asked */
    int64_t told;           /* seconds ago; 0: it was not, -1: in this moment */
    const char *answers;
} clocks[] = {
    { "nobody said anything", 0, 0, 0, "..." ".." ".." },
    { "two are a day ahead", 2, 0, 0, "nnn" ".." ".." },
    { "all agree", 0, 3, 0, "..." ".." ".." },
    { "a day behind", 3, 0, -1, "..." ".." ".r" },
    { "a day behind, told before", 3, 0, 59, "..." ".." ".r" },
    { "a day behind, told long ago", 3, 0, 60, "nnn" "nn" "nr" },
    { "most are a day ahead", 3, 2, 59, "r.r" ".r" "rr" },
    { "most agree", 2, 3, 0, "..." ".." ".." },
};
/* clang-format on */

static struct cv_addr network(unsigned n) {
    return (struct cv_addr){.family = 4, .ip = {20, (uint8_t)(1 + n), 0, 1}, .port = 4000};
}

static void says(struct scene *s, unsigned m, unsigned voices) {
    struct tun_client *c = s->c;
    uint32_t day = tun_descriptor_day(c->now.wall);
    struct cv_addr fresh = network(voices), known = network(0);
    c->now.wall += m >= SET ? 86400 : 0;
    switch (m) {
    case OUR_DAY:
    case NEXT_DAY:
    case DAY_BEFORE:
        tun_client_day(c, &fresh, day + (m == NEXT_DAY) - (m == DAY_BEFORE));
        break;
    case SAME_AGAIN:
    case OURS_AFTER_ALL:
        tun_client_day(c, &known, day + (m == SAME_AGAIN && c->calendar.voice[0].days > 0));
        break;
    default:
        for (unsigned i = 0; i < (m == SET_ALL && voices ? voices : 1); i++) {
            struct cv_addr from = network(i);
            tun_client_day(c, &from, day + 1);
        }
        break;
    }
}

static char clock_told(struct scene *s, size_t row, unsigned m) {
    struct tun_client *c = s->c;
    uint32_t day = tun_descriptor_day(c->now.wall);
    char got = '.';
    struct tun_event ev;
    c->calendar = (struct tun_calendar){.voices = 0};
    for (unsigned i = 0; i < clocks[row].behind + clocks[row].agree; i++) {
        struct cv_addr from = network(i);
        tun_calendar_note(&c->calendar, &from, day + (i < clocks[row].behind), c->now.wall);
    }
    cv_usec ago = clocks[row].told > 0 ? CV_SEC((uint64_t)clocks[row].told) : 0;
    c->calendar_told_at = clocks[row].told ? c->now.mono - ago : 0;
    while (tun_poll_event(c->t, &ev))
        ;
    says(s, m, clocks[row].behind + clocks[row].agree);
    while (tun_poll_event(c->t, &ev))
        if (ev.kind == TUN_EVENT_CLOCK_OFF)
            got = ev.clock_off.seconds == 86400 ? 'n' : ev.clock_off.seconds == 0 ? 'r' : '!';
    /* who was told that it is right is told once */
    return c->calendar_told_at && !tun_calendar_off(&c->calendar) ? '!' : got;
}

Test(tun_contact_states, of_our_clock) {
    static struct scene s;
    begin(&s, /* relay= */ false);
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        char got[SAYINGS + 1] = {0};
        for (unsigned m = 0; m < SAYINGS; m++) {
            s.c->now = world_now(s.v->w, s.node);
            got[m] = clock_told(&s, i, m);
        }
        expect_row("clock", clocks[i].name, got, clocks[i].answers);
    }
    village_free(s.v);
}

/* ---- a neighbour's silence ---- */

/* The link is at another address of the relay's, or of nobody's; the relay has no descriptor. */
enum { MOVED = 1, ASTRAY, UNKNOWN };

/* . nothing  a asked where it is  o asked at its other address  r not silent any more, or anew
 * m lives where its link is */
/* clang-format off */
static const struct {
    const char *name;
    unsigned waits_ms, due_ms; /* since when; its next question, from the beginning of that */
    uint8_t asks;              /* before */
    bool other;                /* the silence before was another one */
    bool one;                  /* the relay has one address */
    uint8_t at;
    char client, relay;
} silences[] = {
    { "nothing to answer",         0,    0,    0, false, false, 0, '.', '.' },
    { "it answered",               0,    0,    2, true,  false, 0, 'r', '.' },
    { "for a while",               1999, 2000, 0, false, false, 0, '.', '.' },
    { "silent",                    2000, 2000, 0, false, false, 0, 'a', '.' },
    { "silent, of one family",     9000, 2000, 0, false, true,  0, '.', '.' },
    { "a moment after a question", 2499, 2500, 1, false, false, 0, '.', '.' },
    { "asked in vain",             2500, 2500, 1, false, false, 0, 'o', '.' },
    { "asked elsewhere in vain",   3500, 3500, 2, false, false, 0, 'o', '.' },
    { "for the last time",         5500, 5500, 3, false, false, 0, 'o', '.' },
    { "asked enough",              9500, 9500, 4, false, false, 0, '.', '.' },
    { "silent again",              1000, 9500, 4, true,  false, 0, 'r', '.' },
    { "its link moved",            0,    0,    0, false, false, MOVED, 'm', '.' },
    { "its link is anywhere",      0,    0,    0, false, false, ASTRAY, '.', '.' },
    { "of a day that we know not", 2500, 2500, 2, true, false, UNKNOWN, 'r', '.' },
};
/* clang-format on */

static char silent(struct scene *s, size_t row, struct tun_link *l) {
    struct tun_client *c = s->c;
    clear(s);
    const uint8_t *identity = s->v->w->node[LIVE].identity_secret.public_key;
    struct tun_relay *r = tun_directory_find_now(c->dir, identity, c->now.wall);
    cr_assert(r && r->desc.addrs == 2);
    struct cv_addr other = r->desc.addr[cv_addr_equal(&r->desc.addr[0], &l->addr)], at = l->addr;
    struct tun_guard *g = &c->guards.first[0];
    *g = (struct tun_guard){.set = true, .up = true, .addr = at};
    memcpy(g->identity, identity, CV_KEY);
    cv_usec from = c->now.mono - CV_MSEC(silences[row].waits_ms);
    l->waiting_at = silences[row].waits_ms ? from : 0;
    l->challenged_at = 0;
    struct tun_neighbour *n = &c->neighbour[3];
    *n = (struct tun_neighbour){.set = true,
                                .up = true,
                                .link = l->handle,
                                .addr = at,
                                .silent_since = silences[row].other ? 1 : l->waiting_at,
                                .asks = silences[row].asks,
                                .ask_at = from + CV_MSEC(silences[row].due_ms)};
    memcpy(n->identity, identity, CV_KEY);
    r->desc.addrs = silences[row].one ? 1 : 2;
    if (silences[row].one)
        r->desc.addr[0] = at;
    l->addr = silences[row].at == MOVED ? other : silences[row].at == ASTRAY ? there() : at;
    if (silences[row].at == UNKNOWN)
        c->now.wall += 100 * 86400;
    uint64_t was = c->t->outbox.count;
    tun_contact_work(c);
    cr_expect_gt(tun_contact_silent_at(c), c->now.mono, "%s: without end", silences[row].name);
    bool moved = !cv_addr_equal(&n->addr, &at), told = cv_addr_equal(&g->addr, &n->addr);
    bool tried = l->challenged_at != 0, said = c->t->outbox.count != was;
    r->desc.addrs = 2;
    r->desc.addr[0] = other.family == 6 ? at : other;
    r->desc.addr[1] = other.family == 6 ? other : at;
    l->addr = at;
    if (moved || !told)
        return moved && told && cv_addr_equal(&n->addr, &other) && c->guards_change ? 'm' : '!';
    if (tried)
        return said && cv_addr_equal(&l->new_addr, &other) && n->asks == silences[row].asks + 1
                   ? 'o'
                   : '!';
    if (said)
        return n->asks == silences[row].asks + 1 ? 'a' : '!';
    return n->asks == silences[row].asks ? '.' : n->asks == 0 ? 'r' : '!';
}

Test(tun_contact_states, of_silence) {
    for (unsigned relay = 0; relay < 2; relay++) {
        static struct scene s;
        begin_in(&s, relay, /* mixed= */ true);
        struct tun_link *l = link_up(&s);
        for (size_t i = 0; i < sizeof silences / sizeof *silences; i++) {
            char got[2] = {silent(&s, i, l)};
            char want[2] = {relay ? silences[i].relay : silences[i].client};
            expect_row(relay ? "relay" : "client", silences[i].name, got, want);
        }
        clear(&s);
        village_free(s.v);
    }
}
