/*
 * A hidden seeder: introduction points, where it can be asked, and visitors, to
 * whose rendezvous it comes. The points learn neither swarm nor slot; whoever
 * does not know the swarm cannot write an introduction that opens. See
 * hiddenstate.h.
 */
#include <stdlib.h>
#include <string.h>

#include "base/trace.h"
#include "tunnel/bodies.h"
#include "tunnel/hiddenstate.h"

#define ANSWER CV_SEC(10)   /* for any one request of a seeder */
#define LOOK   CV_MSEC(400) /* whether a visitor is there, while there is talk */
#define REST   CV_SEC(2)    /* and when there is none */
#define CHANGE CV_SEC(300)  /* before its end a point gets a successor */
#define GRACE  CV_SEC(3600) /* introductions of the last period are still read */

static cv_usec now(const struct tun_hidden *h) {
    return tun_hidden_now(h);
}

void tun_seeder_init(struct tun_hidden *h, bool viewer) {
    struct tun_seeder *s = h->seeder;
    s->viewer = viewer;
    s->publish_at = CV_USEC_NEVER;
    /* In thousandths: one in ten seconds is less than a unit a second. */
    uint64_t rate = h->all->hurry ? 1000 : 1000000 / TUN_INTRO_EVERY_MS;
    cv_tokenbucket_init(&s->introductions, rate, TUN_INTRO_BURST * 1000, now(h));
    tun_effort_init(&s->effort, now(h), CV_SEC(TUN_EFFORT_ANSWERED) * 1000 / rate);
    tun_hidden_set_state(h, TUN_HIDDEN_WAITING);
}

/* ---- periods ---- */

static void turn(struct tun_hidden *h) {
    struct tun_seeder *s = h->seeder;
    if (s->before.set && now(h) >= s->before_until)
        cv_wipe(&s->before, sizeof s->before);
    if (h->all->now.wall <= TUN_PERIOD_S)
        return;
    uint32_t p = tun_swarm_period(&h->swarm_secret, h->all->now.wall);
    if (s->now.set && s->now.keys.period == p)
        return;
    if (s->now.set) {
        s->before = s->now;
        s->before_until = cv_usec_add(now(h), GRACE);
    }
    uint8_t seed[CV_KEY];
    cv_rng_fill(tun_hidden_rng(h), seed, sizeof seed);
    s->now.set = true;
    tun_period_derive(&s->now.keys, &h->swarm_secret, p);
    cv_x25519_from_seed(&s->now.service_secret, seed);
    cv_wipe(seed, sizeof seed);
    s->changed = true;
}

/* ---- introduction points ---- */

static bool point_up(const struct tun_point *p) {
    return p->state == TUN_POINT_UP;
}

unsigned tun_seeder_contacts(const struct tun_hidden *h, struct tun_contact *ret, unsigned cap) {
    const struct tun_seeder *s = h->seeder;
    unsigned n = 0;
    for (unsigned i = 0; i < TUN_POINTS && n < cap; i++) {
        const struct tun_point *p = &s->point[i];
        if (!point_up(p))
            continue;
        struct tun_contact *c = &ret[n++];
        memset(c, 0, sizeof *c);
        memcpy(c->ip, p->ip, CV_KEY);
        memcpy(c->d, p->d, sizeof c->d);
        memcpy(c->auth, p->auth_secret.public_key, CV_KEY);
        memcpy(c->service, s->now.service_secret.public_key, CV_KEY);
        c->expiry = p->expiry;
        c->effort = s->effort.asked;
    }
    return n;
}

static void point_clear(struct tun_hidden *h, struct tun_point *p) {
    struct tun_seeder *s = h->seeder;
    bool told = point_up(p) || p->state == TUN_POINT_LEAVING;
    s->changed |= point_up(p);
    tun_road_close(&p->road);
    cv_wipe(p, sizeof *p);
    for (unsigned i = 0; i < TUN_POINTS; i++)
        if (point_up(&s->point[i]) || s->point[i].state == TUN_POINT_LEAVING)
            return;
    if (told) {
        s->lost = true;
        s->settle_at = 0; /* there is more haste than it was set for */
    }
}

/* Those that fail at once fail for one reason, a relay that is gone: then the pause
 * grows once, or the more points it takes, the longer nobody could come. */
static void point_fail(struct tun_hidden *h, struct tun_point *p) {
    struct tun_seeder *s = h->seeder;
    point_clear(h, p);
    if (s->point_at > now(h))
        return;
    s->point_pause = s->point_pause ? s->point_pause * 2 : CV_MSEC(200);
    if (s->point_pause > CV_SEC(30))
        s->point_pause = CV_SEC(30);
    s->point_at = cv_usec_add(now(h), s->point_pause);
}

static void point_establish(struct tun_hidden *h, struct tun_point *p) {
    struct tun_circuit_info info;
    uint8_t binding[32], seed[CV_KEY];
    if (tun_circuit_info(h->all->t, p->road.circuit, &info) ||
        tun_circuit_binding(h->all->t, p->road.circuit, info.hops - 1, binding)) {
        point_fail(h, p);
        return;
    }
    const struct tun_relay_ref *ip = tun_circuit_hop(h->all->t, p->road.circuit, info.hops - 1);
    memcpy(p->ip, ip->identity, CV_KEY);
    memcpy(p->d, ip->d, sizeof p->d);
    cv_rng_fill(tun_hidden_rng(h), seed, sizeof seed);
    cv_ed25519_from_seed(&p->auth_secret, seed);
    cv_wipe(seed, sizeof seed);
    cv_tokenbucket_init(&p->introductions, TUN_INTRODUCTIONS_S * 2, TUN_INTRODUCTIONS_BURST * 2,
                        now(h));
    p->expiry = (uint32_t)(h->all->now.wall +
                           (int64_t)(cv_usec_since(p->road.expires_at, now(h)) / CV_SEC(1)));

    struct tun_establish_intro msg = {.transaction = 0};
    tun_establish_intro_sign(&msg, &p->auth_secret, binding);
    struct tun_body b;
    uint32_t transaction;
    tun_body_init(&b);
    tun_establish_intro_write(&b.w, &msg);
    if (tun_road_request(&p->road, TUN_CMD_ESTABLISH_INTRO, tun_body_data(&b), tun_body_len(&b),
                         &transaction)) {
        point_fail(h, p);
        return;
    }
    p->state = TUN_POINT_ESTABLISHING;
    p->until = cv_usec_add(now(h), ANSWER);
}

/* From 03:00 UTC on a relay has another D, by which who comes new finds it. Not all seeders
 * write at one moment. */
static void points_follow_day(struct tun_hidden *h) {
    struct tun_seeder *s = h->seeder;
    uint32_t day = tun_descriptor_day(h->all->now.wall);
    const struct tun_directory *dir = tun_client_directory(h->all->t);
    bool follow = false;
    for (unsigned i = 0; i < TUN_POINTS; i++) {
        struct tun_point *p = &s->point[i];
        const struct tun_relay *r = point_up(p) ? tun_directory_find(dir, p->ip, day) : NULL;
        if (!r || !r->confirmed || r->liar || memcmp(r->desc.digest, p->d, sizeof p->d) == 0)
            continue;
        if (!follow && cv_rng_below(tun_hidden_rng(h), 6) > 0)
            return;
        follow = true;
        memcpy(p->d, r->desc.digest, sizeof p->d);
        s->changed = true;
    }
}

/* A point that nobody uses says nothing when the way to it is cut. */
static void point_ping(struct tun_hidden *h, struct tun_point *p) {
    if (now(h) >= p->ping_at && p->ping == 0) {
        points_follow_day(h);
        p->ping_at = cv_usec_add(now(h), tun_hidden_pause(h, CV_SEC(20), CV_SEC(3)));
        p->ping_until = cv_usec_add(now(h), CV_SEC(1) + tun_client_patience(h->all->t));
        if (tun_road_request(&p->road, TUN_CMD_PING, NULL, 0, &p->ping))
            p->ping = 0;
    }
    if (p->ping && now(h) >= p->ping_until) {
        tun_road_suspect(&p->road);
        point_fail(h, p);
        return;
    }
    tun_hidden_by(h, p->ping ? p->ping_until : p->ping_at);
}

static void point_step(struct tun_hidden *h, struct tun_point *p) {
    if (p->state == TUN_POINT_IDLE)
        return;
    if (p->road.kind == TUN_ROAD_NONE) {
        point_fail(h, p);
        return;
    }
    if (tun_road_stuck(&p->road)) {
        (void)tun_road_give_up(&p->road);
        point_fail(h, p);
        return;
    }
    if (p->state == TUN_POINT_BUILDING && p->road.ready)
        point_establish(h, p);
    if (p->state == TUN_POINT_ESTABLISHING) {
        if (now(h) >= p->until) {
            tun_road_suspect(&p->road);
            point_fail(h, p);
        } else {
            tun_hidden_by(h, p->until);
        }
    }
    if (point_up(p) && tun_client_avoids(h->all->t, p->road.circuit)) {
        point_fail(h, p); /* found gone by another of our circuits: nobody gets through here */
        return;
    }
    if (point_up(p))
        point_ping(h, p);
    if (point_up(p)) {
        cv_usec change = p->road.expires_at > CHANGE ? p->road.expires_at - CHANGE : 0;
        if (now(h) >= change) {
            p->state = TUN_POINT_LEAVING;
            h->seeder->changed = true;
        } else {
            tun_hidden_by(h, change);
        }
    }
    if (p->state == TUN_POINT_LEAVING) {
        if (now(h) >= p->road.expires_at)
            point_clear(h, p);
        else
            tun_hidden_by(h, p->road.expires_at);
    }
}

static void point_open(struct tun_hidden *h) {
    struct tun_seeder *s = h->seeder;
    uint8_t taken[TUN_POINTS][CV_KEY];
    struct tun_path_apart apart = {.fronts = 0};
    size_t n = 0;
    struct tun_point *p = NULL;
    for (unsigned i = 0; i < TUN_POINTS; i++) {
        struct tun_circuit_info info;
        struct tun_point *at = &s->point[i];
        if (at->state == TUN_POINT_IDLE)
            p = p ? p : at;
        else if (tun_circuit_info(h->all->t, at->road.circuit, &info) == CV_ERR_OK)
            memcpy(taken[n++],
                   tun_circuit_hop(h->all->t, at->road.circuit, info.hops - 1)->identity, CV_KEY);
        tun_road_relays(&at->road, &apart);
    }
    /* One relay's end should not be that of all points. */
    struct tun_path_request req = {.purpose = TUN_PURPOSE_WAIT,
                                   .avoid = (const uint8_t(*)[CV_KEY])taken,
                                   .avoids = n,
                                   .apart = apart.fronts ? &apart : NULL,
                                   .third = &h->third};
    if (!p)
        return;
    enum cv_err err = tun_road_open(h, &p->road, TUN_ROAD_POINT, p, &req);
    if (err == CV_ERR_UNREACHABLE && n > 0) {
        /* Too few relays for three: two circuits to one are better than none. */
        req.avoids = 0;
        err = tun_road_open(h, &p->road, TUN_ROAD_POINT, p, &req);
    }
    if (err)
        s->point_at = cv_usec_add(now(h), CV_MSEC(200));
    else
        p->state = TUN_POINT_BUILDING;
}

static void points_work(struct tun_hidden *h) {
    struct tun_seeder *s = h->seeder;
    unsigned active = 0, up = 0;
    for (unsigned i = 0; i < TUN_POINTS; i++) {
        struct tun_point *p = &s->point[i];
        point_step(h, p);
        active += p->state != TUN_POINT_IDLE && p->state != TUN_POINT_LEAVING;
        up += point_up(p);
    }
    h->info.points = up;
    for (; active < TUN_INTRO_POINTS; active++) {
        if (s->point_at > now(h)) {
            tun_hidden_by(h, s->point_at);
            return;
        }
        point_open(h);
    }
}

/* ---- visitors ---- */

static void join_clear(struct tun_join *j) {
    if (j->state == TUN_JOIN_UP)
        tun_road_run_on(&j->road);
    tun_road_close(&j->road);
    cv_wipe(j, sizeof *j);
}

/* What runs on for visitors who left takes the place of others. */
static struct tun_join *join_free(const struct tun_hidden *h) {
    struct tun_seeder *s = h->seeder;
    struct tun_join *found = NULL;
    unsigned busy = tun_hidden_running_on(h);
    for (unsigned i = 0; i < s->joins_max; i++) {
        if (s->join[i].state != TUN_JOIN_IDLE)
            busy++;
        else if (!found)
            found = &s->join[i];
    }
    return busy < s->joins_max ? found : NULL;
}

/* The services that it may be meant for: of this period and of the last one. */
static const struct tun_service *service(const struct tun_hidden *h, unsigned i) {
    const struct tun_service *s = i == 0 ? &h->seeder->now : &h->seeder->before;
    return s->set ? s : NULL;
}

/* Opens an introduction whose stamp is good enough; every other costs two hashes. */
static bool receive(struct tun_hidden *h, const struct tun_point *p, const struct tun_introduce *in,
                    const unsigned effort[2], struct tun_waiting *ret) {
    struct tun_e2e_context ctx;
    memcpy(ctx.network_id, h->all->network_id, sizeof ctx.network_id);
    memcpy(ctx.ip, p->ip, CV_KEY);
    memcpy(ctx.auth, p->auth_secret.public_key, CV_KEY);
    for (unsigned i = 0; i < 2; i++) {
        const struct tun_service *s = service(h, i);
        if (!s || effort[i] < h->seeder->effort.required ||
            tun_e2e_consume_1(&ret->noise, &ret->where, in->flight, in->flight_len, &ctx, &s->keys,
                              &s->service_secret, tun_hidden_rng(h)) != CV_ERR_OK)
            continue;
        ret->effort = effort[i];
        return true;
    }
    return false;
}

/* Relays of the newest road to a visitor: it may be the same one, who asked for
 * a second way so that one relay's end is not the film's. */
static void newest_join(const struct tun_hidden *h, const struct tun_join *j,
                        struct tun_path_apart *ret) {
    *ret = (struct tun_path_apart){.fronts = 0};
    const struct tun_road *newest = NULL;
    for (unsigned i = 0; i < h->seeder->joins_max; i++) {
        const struct tun_join *o = &h->seeder->join[i];
        if (o != j && o->road.kind && (!newest || o->road.opened_at > newest->opened_at))
            newest = &o->road;
    }
    if (newest)
        tun_road_relays(newest, ret);
}

static enum cv_err join_open(struct tun_hidden *h, struct tun_join *j) {
    struct tun_directory *dir = tun_client_directory(h->all->t);
    struct tun_relay *rp = tun_directory_find_meant(dir, j->where.rp, j->where.d, h->all->now.wall);
    struct tun_path_request req = {.purpose = TUN_PURPOSE_JOIN, .named = rp, .third = &h->third};
    struct tun_path_apart apart;
    newest_join(h, j, &apart);
    req.apart = apart.fronts ? &apart : NULL;
    return rp ? tun_road_open(h, &j->road, TUN_ROAD_JOIN, j, &req) : CV_ERR_NOENT;
}

static void go(struct tun_hidden *h, struct tun_join *j, struct cv_noise *noise,
               const struct tun_meeting *where) {
    j->where = *where;
    /* A rendezvous that we do not know, do not trust, or cannot reach without
     * showing a guard to it: silence; the viewer tries another. */
    enum cv_err err = tun_e2e_create_2(noise, j->flight, &j->e2e);
    if (!err)
        err = join_open(h, j);
    if (err && err != CV_ERR_AGAIN) {
        join_clear(j);
        h->info.refused++;
        return;
    }
    j->state = TUN_JOIN_BUILDING;
    j->until = cv_usec_add(now(h), ANSWER);
}

/* Nobody waits longer than a viewer: who works for it waits for the next answer, too. */
static cv_usec waits(const struct tun_hidden *h) {
    return h->seeder->effort.required ? tun_hidden_pause(h, TUN_STAMP_WAIT, TUN_STAMP_WAIT_HURRY)
                                      : TUN_INTRO_WAIT;
}

/* What it shows for each of the services; the most. */
static unsigned weigh(const struct tun_hidden *h, const struct tun_introduce *in, unsigned ret[2]) {
    unsigned most = 0;
    for (unsigned i = 0; i < 2; i++) {
        const struct tun_service *s = service(h, i);
        ret[i] = !s ? 0
                    : tun_stamp_effort(in->stamp, s->service_secret.public_key, s->keys.period,
                                       in->flight, in->flight_len);
        most = ret[i] > most ? ret[i] : most;
    }
    return most;
}

/* One that may be answered. */
static void wait(struct tun_hidden *h, const struct tun_introduce *in, struct tun_waiting *w) {
    struct tun_seeder *s = h->seeder;
    /* There was room for the better of two services' stamps; this opened with the other. */
    if (!tun_intake_has_room(&s->intake, w->effort)) {
        tun_effort_lost(&s->effort);
        h->info.refused++;
        return;
    }
    if (tun_intake_replayed(&s->intake, in->flight, w->where.cookie)) {
        h->info.replayed++;
        h->info.refused++;
        return;
    }
    w->until = cv_usec_add(now(h), waits(h));
    if (tun_intake_put(&s->intake, w)) {
        tun_effort_lost(&s->effort);
        h->info.refused++;
    }
    tun_hidden_by(h, now(h));
}

/* Cheapest first: rate, memory, two hashes, a place to wait; then a key exchange. */
static void on_introduction(struct tun_hidden *h, struct tun_point *p, const struct tun_event *ev) {
    struct tun_seeder *s = h->seeder;
    struct cv_rd rd = cv_rd_init(ev->reply.body, ev->reply.len);
    struct tun_introduce in;
    if (tun_introduction_read(&rd, &in) || in.flight_len != TUN_E2E_FLIGHT1 ||
        memcmp(in.auth_key, p->auth_secret.public_key, CV_KEY) != 0)
        return;
    h->info.introductions++;
    CV_TRACE(TUNNEL, introduced, now(h), "hidden=%u point=%08x", (unsigned)h->handle,
             cv_id_short(p->ip, CV_KEY));
    unsigned efforts[2] = {0, 0};
    if (!cv_tokenbucket_take(&p->introductions, now(h), 1)) {
        h->info.refused++; /* no honest point passes on so many */
        return;
    }
    if (tun_intake_knows(&s->intake, in.flight)) {
        h->info.replayed++;
        h->info.refused++;
        return;
    }
    unsigned effort = weigh(h, &in, efforts);
    if (!tun_effort_came(&s->effort, effort)) {
        h->info.below++;
        h->info.refused++;
        return;
    }
    if (!tun_intake_has_room(&s->intake, effort)) {
        tun_effort_lost(&s->effort);
        h->info.refused++;
        return;
    }
    struct tun_waiting w = {.effort = 0};
    if (receive(h, p, &in, efforts, &w))
        wait(h, &in, &w);
    tun_waiting_done(&w);
}

/* As many as may be met now, those who worked most first. */
static void answer(struct tun_hidden *h) {
    struct tun_seeder *s = h->seeder;
    for (unsigned gone = tun_intake_expire(&s->intake, now(h)); gone > 0; gone--) {
        tun_effort_lost(&s->effort);
        h->info.refused++;
    }
    struct tun_join *j = NULL;
    while (s->intake.count > 0 && (j = join_free(h)) &&
           cv_tokenbucket_take(&s->introductions, now(h), 1000)) {
        struct tun_waiting w;
        (void)tun_intake_take(&s->intake, &w);
        go(h, j, &w.noise, &w.where);
        tun_waiting_done(&w);
    }
    if (s->intake.count == 0)
        return;
    tun_hidden_by(h, tun_intake_due(&s->intake));
    if (j)
        tun_hidden_by(h, cv_tokenbucket_ready(&s->introductions, now(h), 1000));
}

/* More or less is asked than before: the slots have to say so. */
static void effort_step(struct tun_hidden *h) {
    struct tun_seeder *s = h->seeder;
    if (tun_effort_step(&s->effort, now(h))) {
        s->changed = true;
        CV_TRACE(TUNNEL, effort_asked, now(h), "hidden=%u effort=%u", (unsigned)h->handle,
                 s->effort.asked);
    }
    h->info.effort = s->effort.asked;
    tun_hidden_by(h, tun_effort_due(&s->effort));
}

static void join_ask(struct tun_hidden *h, struct tun_join *j) {
    struct tun_rendezvous msg = {.flight = j->flight, .flight_len = sizeof j->flight};
    memcpy(msg.cookie, j->where.cookie, sizeof msg.cookie);
    struct tun_body b;
    uint32_t transaction;
    tun_body_init(&b);
    tun_rendezvous_write(&b.w, &msg);
    if (tun_road_request(&j->road, TUN_CMD_JOIN, tun_body_data(&b), tun_body_len(&b),
                         &transaction) == CV_ERR_OK) {
        j->state = TUN_JOIN_JOINING;
        j->until = cv_usec_add(now(h), ANSWER);
    }
}

/* Who says something and hears nothing asks his own relays, and so does who heard
 * something and does not any more: a window that nobody acknowledges is soon full, and
 * then nothing is said either. The visitor will come again, and no time must be lost
 * with one who is gone, least of all on the ways to the introduction points. */
static bool join_dead(struct tun_hidden *h, struct tun_join *j) {
    struct tun_circuit_info info;
    if (tun_client_is_dead(h->all->t, j->road.circuit))
        return true;
    if (now(h) < j->look_at || tun_circuit_info(h->all->t, j->road.circuit, &info)) {
        tun_hidden_by(h, j->look_at);
        return false;
    }
    bool heard = j->road.heard != j->seen_in, said = info.cells_out != j->seen_out;
    bool silent = !heard && ((said && j->seen_out) || j->talk);
    if (silent) {
        j->quiet_until = cv_usec_add(now(h), tun_client_patience(h->all->t));
        tun_client_probe(h->all->t, &h->all->now, j->road.circuit);
    }
    (void)tun_circuit_info(h->all->t, j->road.circuit, &info);
    j->talk = heard;
    j->seen_in = j->road.heard;
    j->seen_out = info.cells_out;
    bool busy = heard || said || now(h) < j->quiet_until; /* who was asked may be found gone */
    j->look_at = cv_usec_add(now(h), busy ? LOOK : REST);
    tun_hidden_by(h, j->look_at);
    return false;
}

static void join_step(struct tun_hidden *h, struct tun_join *j) {
    if (j->state == TUN_JOIN_IDLE)
        return;
    bool stuck = tun_road_stuck(&j->road), no_rendezvous = stuck && tun_road_give_up(&j->road);
    if (stuck)
        CV_TRACE(TUNNEL, join_stuck, now(h), "hidden=%u tries=%u", (unsigned)h->handle, j->tries);
    if (j->road.kind == TUN_ROAD_NONE) {
        /* Somebody on our way is gone: by another, while the viewer waits. */
        enum cv_err err = CV_ERR_UNREACHABLE;
        if (j->state == TUN_JOIN_BUILDING && !no_rendezvous && j->tries <= 2 && now(h) < j->until)
            err = join_open(h, j);
        if (err == CV_ERR_AGAIN) {
            tun_hidden_by(h, cv_usec_add(now(h), CV_MSEC(100)));
            return;
        }
        if (err) {
            join_clear(j);
            return;
        }
        j->tries++;
    }
    if (j->state == TUN_JOIN_BUILDING && j->road.ready)
        join_ask(h, j);
    cv_usec end = j->state == TUN_JOIN_UP ? j->road.expires_at : j->until;
    if (now(h) < end && !(j->state == TUN_JOIN_UP && join_dead(h, j))) {
        tun_hidden_by(h, end);
        return;
    }
    if (j->state == TUN_JOIN_UP)
        tun_hidden_peer_down(h, &j->road);
    join_clear(j);
}

void tun_seeder_drop(struct tun_hidden *h, struct tun_join *j) {
    (void)h;
    join_clear(j);
}

/* ---- replies ---- */

static void point_reply(struct tun_hidden *h, struct tun_point *p, const struct tun_event *ev) {
    if (ev->reply.command == TUN_CMD_INTRODUCTION && !ev->reply.err) {
        if (point_up(p) || p->state == TUN_POINT_LEAVING)
            on_introduction(h, p, ev);
        return;
    }
    if (p->ping && ev->reply.transaction == p->ping) {
        if (!ev->reply.err)
            p->ping = 0;
        return;
    }
    if (p->state != TUN_POINT_ESTABLISHING)
        return;
    if (ev->reply.err || ev->reply.command != TUN_CMD_INTRO_ESTABLISHED) {
        point_fail(h, p);
        return;
    }
    p->state = TUN_POINT_UP;
    h->seeder->point_pause = 0;
    h->seeder->changed = true;
}

void tun_seeder_anew(struct tun_hidden *h) {
    h->seeder->point_pause = 0;
    h->seeder->point_at = now(h);
}

static void join_reply(struct tun_hidden *h, struct tun_join *j, const struct tun_event *ev) {
    if (j->state != TUN_JOIN_JOINING)
        return;
    if (ev->reply.err || ev->reply.command != TUN_CMD_JOINED) {
        join_clear(j);
        return;
    }
    j->state = TUN_JOIN_UP;
    j->road.e2e = &j->e2e;
    tun_hidden_peer_up(h, &j->road);
}

void tun_seeder_on_reply(struct tun_hidden *h, struct tun_road *r, const struct tun_event *ev) {
    if (r->kind == TUN_ROAD_POINT)
        point_reply(h, r->part, ev);
    else
        join_reply(h, r->part, ev);
}

void tun_seeder_on_down(struct tun_hidden *h, struct tun_road *r) {
    /* The part sees in its next step that its road is gone. */
    (void)r;
    tun_hidden_by(h, now(h));
}

/* ---- all of it ---- */

static void settle_state(struct tun_hidden *h) {
    enum tun_hidden_state state = TUN_HIDDEN_ESTABLISHING;
    if (h->info.slots > 0)
        state = TUN_HIDDEN_SHARED;
    else if (h->info.points > 0)
        state = TUN_HIDDEN_PUBLISHING;
    tun_hidden_set_state(h, state);
}

void tun_seeder_work(struct tun_hidden *h) {
    struct tun_seeder *s = h->seeder;
    turn(h);
    if (!s->now.set) {
        tun_hidden_by(h, cv_usec_add(now(h), CV_SEC(1)));
        return;
    }
    int64_t left =
        tun_swarm_period_begins(&h->swarm_secret, s->now.keys.period + 1) - h->all->now.wall;
    tun_hidden_by(h, cv_usec_add(now(h), CV_SEC((uint64_t)(left > 0 ? left : 1))));
    points_work(h);
    answer(h);
    effort_step(h);
    for (unsigned i = 0; i < s->joins_max; i++)
        join_step(h, &s->join[i]);
    settle_state(h);
}

void tun_seeder_done(struct tun_hidden *h) {
    struct tun_seeder *s = h->seeder;
    for (unsigned i = 0; i < TUN_POINTS; i++)
        point_clear(h, &s->point[i]);
    for (unsigned i = 0; i < s->joins_max; i++) {
        tun_road_run_on(&s->join[i].road);
        join_clear(&s->join[i]);
    }
    free(s->join);
    s->join = NULL;
    tun_intake_done(&s->intake);
}
