/*
 * Every (state x message) cell of a link: seven states, on either side of a
 * handshake, and every datagram that can come to one: each link command, sealed
 * under the keys of the session and of the one before it; cells; both flights,
 * cookies, replays and junk. The table says what becomes of the link and what is
 * answered; afterwards the link carries what it carried before. A second one says what
 * befalls it: silence, its end, a wall clock that jumps. A third one says where the other side
 * is taken to be, by whatever comes from there and from elsewhere.
 */
#include "crypto/rng_seeded.h"
#include "tunnel/tests/rows.h"
#include "tunnel/tests/world.h"

CV_SUITE(tun_link_states);

enum { RELAY, CLIENT };

/* Messages: link commands 1..15 and 16 (none), then those without a link. */
enum {
    COMMANDS = TUN_LINKCMD_CONTINUE + 1,
    FLIGHT_1 = COMMANDS + 1, /* a new one */
    FLIGHT_1_AGAIN,          /* that of this link */
    FLIGHT_2,                /* that of this link, again */
    FLIGHT_2_FORGED,
    COOKIE_FORGED,
    CELL_AGAIN, /* the last one that came */
    JUNK,       /* under this link's index */
    MESSAGES = JUNK,
};

struct scene {
    struct world *w;
    unsigned at; /* the side that is looked at */
    uint8_t flight_1[TUN_DATAGRAM], flight_2[TUN_DATAGRAM], cell[TUN_DATAGRAM];
    bool has_1, has_2, has_cell;
    unsigned out;      /* sent by that side, */
    struct cv_addr to; /* the last of it there */
    uint8_t said;      /* the last command among them, if it opens; 0xff: a flight */
    bool mute;         /* nothing goes through: only counted */
};

static enum sim_verdict watch(void *ctx, const struct sim_datagram *d) {
    struct scene *s = ctx;
    if (d->from_node == s->at && d->len == TUN_DATAGRAM) {
        struct tun_header h;
        struct tun_link *l = world_link(s->w, s->at);
        s->out++;
        s->to = *d->to;
        s->said = 0xff;
        for (unsigned i = 0; l && i < 3; i++) {
            struct tun_session *one = i == 0 ? &l->now : i == 1 ? &l->next : &l->old;
            if (one->live && tun_cell_open(d->buf, &one->tx_secret, &h))
                s->said = h.command;
        }
    }
    if (d->from_node == CLIENT && !s->has_1) {
        memcpy(s->flight_1, d->buf, TUN_DATAGRAM);
        s->has_1 = true;
    } else if (d->from_node == RELAY && !s->has_2) {
        memcpy(s->flight_2, d->buf, TUN_DATAGRAM);
        s->has_2 = true;
    } else if (d->to_node == s->at && d->len == TUN_DATAGRAM) {
        memcpy(s->cell, d->buf, TUN_DATAGRAM);
        s->has_cell = true;
    }
    return s->mute ? SIM_DROP : SIM_PASS;
}

/* ---- states ---- */

static void open_link(struct scene *s) {
    static const unsigned relay = RELAY;
    cr_assert_neq(world_open(s->w, CLIENT, &relay, 1), 0);
}

static void making(struct scene *s) { /* flight 1 is out */
    s->at = CLIENT;
    sim_path(s->w->sim, CLIENT, RELAY, &(struct sim_path){.cut = true});
    open_link(s);
    world_run(s->w, CV_MSEC(20));
}

static void answered(struct scene *s) { /* flight 2 is out, and lost */
    s->at = RELAY;
    sim_path(s->w->sim, RELAY, CLIENT, &(struct sim_path){.cut = true});
    open_link(s);
    world_run(s->w, CV_MSEC(20));
}

static void open_initiator(struct scene *s) {
    s->at = CLIENT;
    open_link(s);
    world_run(s->w, CV_SEC(8));
}

static void open_responder(struct scene *s) {
    s->at = RELAY;
    open_link(s);
    world_run(s->w, CV_SEC(8));
}

static void renew(struct scene *s) {
    struct tun_link *l = world_link(s->w, CLIENT);
    l->rekey_at = sim_now(s->w->sim);
    struct cv_now now = world_now(s->w, CLIENT);
    l->rekey_at = now.mono;
    tun_epoch_on_timeout(s->w->node[CLIENT].t, &now, l);
    tun_link_schedule(s->w->node[CLIENT].t, l);
    sim_touch(s->w->sim, CLIENT);
}

static void renewing(struct scene *s) { /* flight 1 of the next session is out */
    open_initiator(s);
    sim_path(s->w->sim, CLIENT, RELAY, &(struct sim_path){.cut = true});
    renew(s);
    world_run(s->w, CV_MSEC(20));
}

static void continuing(struct scene *s) { /* flight 2 came, CONTINUE is not answered */
    open_initiator(s);
    renew(s);
    world_run(s->w, CV_MSEC(6));
    sim_path(s->w->sim, CLIENT, RELAY, &(struct sim_path){.cut = true});
    world_run(s->w, CV_MSEC(30));
    cr_assert(world_link(s->w, CLIENT)->next.live);
}

static void renewed(struct scene *s) { /* the responder moved; the initiator did not hear */
    open_responder(s);
    renew(s);
    world_run(s->w, CV_MSEC(11));
    sim_path(s->w->sim, RELAY, CLIENT, &(struct sim_path){.cut = true});
    world_run(s->w, CV_MSEC(30));
    cr_assert(world_link(s->w, RELAY)->old.live);
}

/* ---- messages ---- */

static void give(struct scene *s, const uint8_t buf[TUN_DATAGRAM]) {
    struct cv_now now = world_now(s->w, s->at);
    (void)tun_on_datagram(s->w->node[s->at].t, &now, &s->w->node[!s->at].addr, buf, TUN_DATAGRAM);
    sim_touch(s->w->sim, s->at);
}

/* A body that is read, where there is one. */
static size_t body_of(uint8_t command, uint8_t body[64]) {
    memset(body, 0, 64);
    switch (command) {
    case TUN_LINKCMD_PATH_CHALLENGE:
    case TUN_LINKCMD_PATH_RESPONSE:
        return 8;
    case TUN_LINKCMD_NEW_INDEX:
        body[0] = 1;
        return 5;
    case TUN_LINKCMD_CONTINUE:
        return TUN_CONTINUE;
    case TUN_LINKCMD_DESTROY:
    case TUN_LINKCMD_KEEPALIVE:
        return 0;
    default:
        return 40;
    }
}

/* False: nobody on the other side could say it. */
static bool sealed(struct scene *s, uint8_t command) {
    uint8_t buf[TUN_DATAGRAM] = {0}, body[64];
    struct tun_link *peer = world_link(s->w, !s->at);
    if (!peer || !peer->now.live)
        return false;
    struct tun_session *from = &peer->now;
    struct tun_header h = {.sequence = ++from->sent,
                           .index = from->remote_index,
                           .circuit = 77 | (s->at == RELAY ? TUN_CIRCUIT_INITIATOR : 0),
                           .command = command};
    size_t len = body_of(command, body);
    if (command == TUN_LINKCMD_RELAY) {
        tun_cell_seal(buf, &h, &from->tx_secret);
    } else {
        memcpy(tun_cell_control_body(buf), body, len);
        tun_cell_seal_control(buf, &h, &from->tx_secret, len);
    }
    give(s, buf);
    return true;
}

static uint32_t index_of(struct scene *s) {
    struct tun_link *l = world_link(s->w, s->at);
    bool waits = l->making && !l->making->answered;
    return waits ? l->making->hs.local_index : l->now.local_index;
}

static bool say(struct scene *s, unsigned message) {
    uint8_t buf[TUN_DATAGRAM];
    struct tun_relay_ref ref;
    struct tun_linkhs_peer peer;
    struct tun_linkhs hs;
    cv_rng_fill(sim_rng(s->w->sim), buf, sizeof buf);
    if (message <= COMMANDS)
        return sealed(s, (uint8_t)message);
    switch (message) {
    case FLIGHT_1:
        world_ref(s->w, RELAY, &ref);
        tun_linkhs_peer_init(&peer, ref.link_key, s->w->node[RELAY].cfg.network_id);
        cr_assert_eq(tun_linkhs_create_1(&hs, &peer, 5, NULL, sim_rng(s->w->sim), buf), CV_ERR_OK);
        tun_linkhs_done(&hs);
        break;
    case FLIGHT_1_AGAIN:
        memcpy(buf, s->flight_1, sizeof buf);
        break;
    case FLIGHT_2:
        if (!s->has_2)
            return false;
        memcpy(buf, s->flight_2, sizeof buf);
        break;
    case CELL_AGAIN:
        if (!s->has_cell)
            return false;
        memcpy(buf, s->cell, sizeof buf);
        break;
    default: { /* of the forged ones the index is right and nothing else */
        struct cv_wr w = cv_wr_init(buf, 4);
        cv_wr_le32(&w, index_of(s));
        break;
    }
    }
    give(s, buf);
    return true;
}

/*
 * What the side that is looked at sends within 5 ms, and whether its link opened:
 *   .  nothing    k  KEEPALIVE   c  CREATED    d  DESTROY   r  PATH_RESPONSE
 *   n  NEW_INDEX  o  opened (and said what a new link says)   f  a flight
 *   -  cannot be said in this state
 */
/* clang-format off */
static const struct {
    const char *name;
    void (*reach)(struct scene *);
    /* commands 1..16, flight 1 (new, again), flight 2 (again, forged), cookie, replay, junk */
    const char *answers;
} states[] = {
    { "making",                making,         "----------------" "..-..-." },
    { "answered",              answered,       "oooooooooooooo.o" "ff...o." },
    { "open, initiator",       open_initiator, "d.......r.....k." "......." },
    { "open, responder",       open_responder, "dd......r.....k." "ff....." },
    { "renewing, initiator",   renewing,       "d.......r.....k." "......." },
    { "continuing, initiator", continuing,     "d.......r.....k." "......." },
    { "renewed, responder",    renewed,        "dd......r.....k." "ff....." },
};
/* clang-format on */

static char letter(const struct scene *s, uint8_t before) {
    struct tun_link *l = world_link(s->w, s->at);
    if (before == TUN_STATE_ANSWERED && l && l->state == TUN_STATE_OPEN)
        return 'o';
    if (!s->out)
        return '.';
    switch (s->said) {
    case TUN_LINKCMD_KEEPALIVE:
        return 'k';
    case TUN_LINKCMD_CREATED:
        return 'c';
    case TUN_LINKCMD_DESTROY:
        return 'd';
    case TUN_LINKCMD_PATH_RESPONSE:
        return 'r';
    case TUN_LINKCMD_NEW_INDEX:
        return 'n';
    case 0xff:
        return 'f';
    default:
        return '?';
    }
}

static void begin(struct scene *s, size_t row) {
    *s = (struct scene){.w = world_new(&(struct sim_config){.seed = 1})};
    world_relay(s->w, NULL);
    world_client(s->w, NULL);
    sim_path_default(s->w->sim, &(struct sim_path){.delay = CV_MSEC(5)});
    sim_hook(s->w->sim, watch, s);
    states[row].reach(s);
}

Test(tun_link_states, of_links) {
    for (size_t r = 0; r < sizeof states / sizeof *states; r++) {
        char got[MESSAGES + 1] = {0};
        for (unsigned m = 1; m <= MESSAGES; m++) {
            static struct scene s;
            begin(&s, r);
            if (states[r].reach == answered) { /* whoever holds the keys can speak */
                struct cv_now now = world_now(s.w, CLIENT);
                sim_path(s.w->sim, CLIENT, RELAY, &(struct sim_path){.cut = true});
                (void)tun_on_datagram(s.w->node[CLIENT].t, &now, &s.w->node[RELAY].addr, s.flight_2,
                                      TUN_DATAGRAM);
                sim_touch(s.w->sim, CLIENT);
                world_run(s.w, CV_MSEC(5));
            }
            s.mute = true;
            s.out = 0;
            uint8_t before = world_link(s.w, s.at)->state;
            uint64_t heard = tun_counters(s.w->node[s.at].t)->datagrams_in;
            bool said = say(&s, m);
            world_run(s.w, CV_MSEC(4));
            got[m - 1] = said ? letter(&s, before) : '-';
            cr_expect_leq(s.out, tun_counters(s.w->node[s.at].t)->datagrams_in - heard + 3);
            cr_expect_not_null(world_link(s.w, s.at), "%s, message %u: the link ended",
                               states[r].name, m);
            world_free(s.w);
        }
        cr_expect_str_eq(got, states[r].answers, "%s:\n got %s\nwant %s", states[r].name, got,
                         states[r].answers);
    }
}

/* ---- what befalls it ---- */

enum {
    HEALED,     /* whatever was lost: nothing is from now on */
    SILENCE,    /* nothing comes or goes for 9 s, */
    SILENCES,   /* for 20 s, */
    DEATH,      /* for more than TUN_LINK_SILENCE; then all of it does again */
    END,        /* the node ends it */
    CLOCK_BACK, /* the wall clock, by a day */
    CLOCK_AHEAD,
    FATES,
};

/* . it is there, open, with one session, and carries the circuit  ! it is gone, and the node was
 * told x the same, without a word: there was none yet r the same, and the next flight 1 made
 * another */
static const char *const fates[] = {
    ".!!!!..", /* making */
    "rxxxrxx", /* answered; a relay that is a day off has keys of other days */
    "...!!..", /* open, initiator */
    "...!!..", /* open, responder */
    "...!!..", /* renewing, initiator */
    "...!!..", /* continuing, initiator */
    "...!!..", /* renewed, responder */
};
static_assert(sizeof fates / sizeof *fates == sizeof states / sizeof *states,
              "a new state needs a row");

static void cut(struct scene *s, bool cut) {
    sim_link(s->w->sim, RELAY, CLIENT, &(struct sim_path){.delay = CV_MSEC(5), .cut = cut});
}

static void befall(struct scene *s, unsigned m) {
    static const cv_usec silences[] = {0, CV_SEC(9), CV_SEC(20), TUN_LINK_SILENCE + CV_SEC(5)};
    struct cv_now now = world_now(s->w, s->at);
    if (m <= DEATH) {
        cut(s, true);
        world_run(s->w, silences[m]);
    } else if (m == END) {
        tun_link_end(s->w->node[s->at].t, &now, world_link(s->w, s->at)->handle);
    } else {
        sim_wall_skew(s->w->sim, s->at, m == CLOCK_BACK ? -86400 : 86400);
    }
}

static char fate(struct scene *s, unsigned m) {
    struct tunnel *t = s->w->node[s->at].t;
    cv_handle link = world_link(s->w, s->at)->handle;
    unsigned down = world_count(s->w, s->at, TUN_EVENT_LINK_DOWN);
    befall(s, m);
    cut(s, false);
    sim_touch(s->w->sim, s->at);
    /* longer than a half-open one is kept, and than nothing is said over an open one */
    world_run(s->w, TUN_KEEPALIVE + CV_SEC(10));
    struct tun_link *l = tun_link_get(t, link);
    bool ready = world_count(s->w, CLIENT, TUN_EVENT_CIRCUIT_READY) > 0;
    if (!l)
        return world_count(s->w, s->at, TUN_EVENT_LINK_DOWN) != down ? '!' : ready ? 'r' : 'x';
    bool settled = !l->making && !l->next.live && !l->old.live;
    return l->state == TUN_STATE_OPEN && ready && l->circuits.count == 1 && settled ? '.' : '?';
}

Test(tun_link_states, of_what_befalls_links) {
    for (size_t r = 0; r < sizeof states / sizeof *states; r++) {
        char got[FATES + 1] = {0};
        for (unsigned m = 0; m < FATES; m++) {
            static struct scene s;
            begin(&s, r);
            got[m] = fate(&s, m);
            world_free(s.w);
        }
        cr_expect_str_eq(got, fates[r], "%s:\n got %s\nwant %s", states[r].name, got, fates[r]);
    }
}

/* ---- where it is ---- */

enum {
    HOME, /* something new, and from where it always was */
    NEW,  /* the same from a new address, */
    THIRD,
    NOWHERE,    /* or one that nobody can have */
    NEW_LATE,   /* from there, and overtaken */
    NEW_AGAIN,  /* what came from home already */
    NEW_ASKS,   /* a challenge of its own */
    HOME_RIGHT, /* the answer to ours, */
    NEW_RIGHT,
    THIRD_RIGHT,
    NEW_WRONG, /* one to nothing that was asked, */
    NEW_SHORT, /* and a cut one */
    NEW_JUNK,  /* under its index */
    SECONDS,   /* two, and nothing comes */
    REBIND,    /* we have a new address ourselves */
    PLACES,
};
static_assert(PLACES == 15, "a new message needs a column");

/* . nothing  c the new address is challenged  t the third is  r the new one gets its answer
 * m it is there now  M the same, and was challenged once more  h it is still at home
 * k it is told of our address  o the old one is challenged
 *
 * Columns: home; new, third, nowhere; late, again, asks; home's answer, the new one's, the third's;
 * wrong, short, junk; seconds, rebind. */
/* clang-format off */
static const struct {
    const char *name;
    bool asked, waited, answered; /* something came from NEW; 1.5 s ago; the answer too */
    const char *answers;
} wheres[] = {
    { "at home",           false, false, false, "." "ct." "..r" ".ct" "cc." ".k" },
    { "challenged",        true,  false, false, "h" "..." "hhr" "hm." "..." ".k" },
    { "challenged before", true,  true,  false, "h" "ct." "hhr" "hMt" "cc." ".k" },
    { "moved",             true,  false, true,  "o" ".t." "oor" "o.t" "..." ".k" },
};
/* clang-format on */

static struct cv_addr where(const struct scene *s, unsigned m) {
    switch (m) {
    case HOME:
    case HOME_RIGHT:
        return s->w->node[!s->at].addr;
    case THIRD:
    case THIRD_RIGHT:
        return sim_addr(88, 8000);
    case NOWHERE:
        return (struct cv_addr){.family = 4, .ip = {127, 0, 0, 1}, .port = 4000};
    default:
        return sim_addr(77, 7000);
    }
}

/* What the other side says, `skipped` numbers further. */
static void comes(struct scene *s, uint8_t command, const uint8_t *body, size_t len,
                  unsigned skipped, const struct cv_addr *from, uint8_t buf[TUN_DATAGRAM]) {
    struct tun_session *peer = &world_link(s->w, !s->at)->now;
    struct tun_header h = {
        .sequence = peer->sent + 1 + skipped, .index = peer->remote_index, .command = command};
    struct cv_now now = world_now(s->w, s->at);
    memset(buf, 0, TUN_DATAGRAM);
    if (len)
        memcpy(tun_cell_control_body(buf), body, len);
    tun_cell_seal_control(buf, &h, &peer->tx_secret, len);
    (void)tun_on_datagram(s->w->node[s->at].t, &now, from, buf, TUN_DATAGRAM);
    peer->sent += skipped ? 0 : 1;
}

static void place(struct scene *s, unsigned m) {
    struct tunnel *t = s->w->node[s->at].t;
    struct cv_now now = world_now(s->w, s->at);
    struct cv_addr from = where(s, m), home = where(s, HOME);
    uint8_t buf[TUN_DATAGRAM], body[8] = {1, 2, 3};
    struct cv_wr index = cv_wr_init(buf, 4);
    switch (m) {
    case NEW_LATE:
        comes(s, TUN_LINKCMD_KEEPALIVE, NULL, 0, 1, &home, buf);
        comes(s, TUN_LINKCMD_KEEPALIVE, NULL, 0, 0, &from, buf);
        break;
    case NEW_AGAIN:
        comes(s, TUN_LINKCMD_KEEPALIVE, NULL, 0, 0, &home, buf);
        (void)tun_on_datagram(t, &now, &from, buf, TUN_DATAGRAM);
        break;
    case NEW_ASKS:
        comes(s, TUN_LINKCMD_PATH_CHALLENGE, body, sizeof body, 0, &from, buf);
        break;
    case HOME_RIGHT:
    case NEW_RIGHT:
    case THIRD_RIGHT:
    case NEW_WRONG:
    case NEW_SHORT:
        if (m != NEW_WRONG)
            memcpy(body, world_link(s->w, s->at)->challenge, sizeof body);
        comes(s, TUN_LINKCMD_PATH_RESPONSE, body, m == NEW_SHORT ? 7 : 8, 0, &from, buf);
        break;
    case NEW_JUNK: /* of the octets only the index is right */
        cv_rng_fill(sim_rng(s->w->sim), buf, sizeof buf);
        cv_wr_le32(&index, index_of(s));
        (void)tun_on_datagram(t, &now, &from, buf, TUN_DATAGRAM);
        break;
    case SECONDS:
        world_run(s->w, CV_SEC(2));
        break;
    case REBIND:
        tun_on_rebind(t, &now);
        break;
    default:
        comes(s, TUN_LINKCMD_KEEPALIVE, NULL, 0, 0, &from, buf);
        break;
    }
    sim_touch(s->w->sim, s->at);
    world_run(s->w, CV_MSEC(4));
}

static char placed(struct scene *s, const struct cv_addr *was, bool moving) {
    struct cv_addr fresh = where(s, NEW), third = where(s, THIRD), home = where(s, HOME);
    const struct tun_link *l = world_link(s->w, s->at);
    bool moved = !cv_addr_equal(&l->addr, was);
    unsigned own = moved && l->ours; /* a word from there, by which the other side moves, too */
    cr_expect_leq(s->out, 1 + own);
    if (own && (s->said != TUN_LINKCMD_KEEPALIVE || !cv_addr_equal(&s->to, &fresh)))
        return '!';
    if (moved)
        return tun_link_is_moving(l) || !cv_addr_equal(&l->addr, &fresh) ? '!'
               : s->out > own                                            ? 'M'
                                                                         : 'm';
    if (!s->out)
        return moving && !tun_link_is_moving(l) ? 'h' : '.';
    if (s->said == TUN_LINKCMD_PATH_RESPONSE)
        return cv_addr_equal(&s->to, &fresh) ? 'r' : '!';
    if (s->said == TUN_LINKCMD_KEEPALIVE)
        return cv_addr_equal(&s->to, was) ? 'k' : '!';
    if (s->said != TUN_LINKCMD_PATH_CHALLENGE || !tun_link_is_moving(l))
        return '!';
    return cv_addr_equal(&s->to, &fresh)   ? 'c'
           : cv_addr_equal(&s->to, &third) ? 't'
           : cv_addr_equal(&s->to, &home)  ? 'o'
                                           : '!';
}

static char stands(size_t row, unsigned m, void (*side)(struct scene *)) {
    static struct scene s;
    s = (struct scene){.w = world_new(&(struct sim_config){.seed = 1})};
    world_relay(s.w, NULL);
    world_client(s.w, NULL);
    sim_path_default(s.w->sim, &(struct sim_path){.delay = CV_MSEC(5)});
    sim_hook(s.w->sim, watch, &s);
    side(&s);
    s.mute = true;
    if (wheres[row].asked)
        place(&s, NEW);
    if (wheres[row].waited)
        world_run(s.w, CV_MSEC(1500));
    if (wheres[row].answered)
        place(&s, NEW_RIGHT);
    const struct tun_link *l = world_link(s.w, s.at);
    struct cv_addr was = l->addr;
    bool moving = tun_link_is_moving(l);
    cr_assert_eq(moving, wheres[row].asked && !wheres[row].answered);
    s.out = 0;
    place(&s, m);
    char got = placed(&s, &was, moving);
    world_free(s.w);
    return got;
}

Test(tun_link_states, of_where_the_other_side_is) {
    for (unsigned responder = 0; responder < 2; responder++)
        for (size_t r = 0; r < sizeof wheres / sizeof *wheres; r++) {
            char got[PLACES + 1] = {0};
            for (unsigned m = 0; m < PLACES; m++)
                got[m] = stands(r, m, responder ? open_responder : open_initiator);
            expect_row(responder ? "responder" : "initiator", wheres[r].name, got,
                       wheres[r].answers);
        }
}
