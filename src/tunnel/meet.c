/*
 * A viewer meets seeders: a rendezvous point of its choice is asked to wait,
 * the seeder is told through its introduction point, and comes or does not.
 * Several at a time, at different points. See hiddenstate.h.
 */
#include <string.h>

#include "base/trace.h"
#include "tunnel/bodies.h"
#include "tunnel/hiddenstate.h"

/* How long a seeder may take to come: to be told, to build a circuit, to join;
 * twice what a circuit may take, within these. */
#define COME_MIN CV_SEC(2)
#define COME_MAX CV_SEC(5)
#define CHANGE   CV_SEC(120)  /* before its end a circuit gets a successor */
#define LOOK     CV_MSEC(400) /* whether the seeder is there, while there is talk */
#define REST     CV_SEC(2)    /* and when there is none */
/* Without any answer for so long, the way to the seeder is cut. */
#define QUIET_MIN CV_MSEC(1500)
#define QUIET_MAX CV_SEC(4)
#define DOUBT     CV_MSEC(500) /* likewise: time to look for another */
#define HEDGE     CV_MSEC(1500)
#define UNPACED   CV_SEC(2) /* after a relay that would not keep the rate */

static cv_usec now(const struct tun_hidden *h) {
    return tun_hidden_now(h);
}

#define TRACE(h, m, event)                                                                         \
    CV_TRACE(TUNNEL, event, now(h), "hidden=%u meeting=%u point=%08x tries=%u state=%d",           \
             (unsigned)(h)->handle, (unsigned)((m) - (h)->viewer->meet),                           \
             cv_id_short((m)->contact.ip, CV_KEY), (m)->tries, (int)(m)->state)

/* ---- whom to meet ---- */

static struct tun_known *known_of(struct tun_hidden *h, const struct tun_contact *c) {
    struct tun_viewer *v = h->viewer;
    for (unsigned i = 0; i < v->knowns; i++) {
        if (memcmp(&v->known[i].contact, c, sizeof *c) == 0)
            return &v->known[i];
    }
    return NULL;
}

/* Under way or up, and to stay. */
static bool is_with(const struct tun_meet *m) {
    return m->state != TUN_MEET_IDLE && !m->leaving && !m->lags;
}

/* Meetings but this one with the seeder of this contact; and through it. */
static unsigned with_seeder(const struct tun_viewer *v, const struct tun_contact *c,
                            const struct tun_meet *but, unsigned *ret_through) {
    unsigned n = 0;
    *ret_through = 0;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
        const struct tun_meet *m = &v->meet[i];
        if (m == but || !is_with(m))
            continue;
        n += memcmp(m->contact.service, c->service, CV_KEY) == 0;
        *ret_through += memcmp(m->contact.auth, c->auth, CV_KEY) == 0;
    }
    return n;
}

static struct tun_relay *point_of(const struct tun_hidden *h, const struct tun_contact *c) {
    return tun_directory_find_meant(tun_client_directory(h->all->t), c->ip, c->d, h->all->now.wall);
}

static bool usable(struct tun_hidden *h, const struct tun_known *k) {
    if (k->not_before > now(h)) {
        tun_hidden_by(h, k->not_before);
        return false;
    }
    int64_t wall = h->all->now.wall;
    if (tun_known_given_up(k, wall) || !tun_contact_current(&k->contact, wall) ||
        tun_hidden_is_ours(h, &k->contact))
        return false;
    const struct tun_relay *r = point_of(h, &k->contact);
    return r && r->confirmed && !r->liar;
}

/* A way that lags and has no other in its place yet; NULL: none. */
static const struct tun_meet *to_replace(const struct tun_viewer *v, const struct tun_meet *but) {
    unsigned through;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++)
        if (v->meet[i].lags && with_seeder(v, &v->meet[i].contact, but, &through) < 2)
            return &v->meet[i];
    return NULL;
}

/* ---- who is one ---- */

/* A seeder has another key in each period, and near a turn it is seen under two. Nobody may say
 * of two keys that they are one's: whoever did could keep us from a seeder. So seeders are
 * counted by period, and there are as many as the one shows that shows most. */

static bool of_one(const struct tun_contact *a, const struct tun_contact *b) {
    return memcmp(a->service, b->service, CV_KEY) == 0;
}

/* By their keys of this period, that meetings but this one are with. */
static unsigned met_in(const struct tun_viewer *v, uint32_t period, const struct tun_meet *but) {
    bool counted[TUN_MEETINGS_MAX] = {false};
    unsigned n = 0;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
        const struct tun_meet *m = &v->meet[i];
        counted[i] = m != but && is_with(m) && m->period == period;
        for (unsigned k = 0; k < i && counted[i]; k++)
            counted[i] = !counted[k] || !of_one(&v->meet[k].contact, &m->contact);
        n += counted[i];
    }
    return n;
}

/* Of those whom a period shows so many may be met by their keys of another. */
static unsigned met_elsewhere(const struct tun_viewer *v, uint32_t period,
                              const struct tun_meet *but) {
    unsigned most = 0, here = met_in(v, period, but);
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
        unsigned n = v->meet[i].period == period ? 0 : met_in(v, v->meet[i].period, but);
        most = n > most ? n : most;
    }
    return most > here ? most - here : 0;
}

/* Of the contacts before number `i`, and it, those of its period that are marked. */
static unsigned marked(const struct tun_viewer *v, const bool *mark, unsigned i) {
    unsigned n = 0;
    for (unsigned k = 0; k <= i; k++)
        n += mark[k] && v->known[k].period == v->known[i].period;
    return n;
}

/* Is it the first of its seeder's that is? */
static bool first(const struct tun_viewer *v, const bool *mark, unsigned i) {
    for (unsigned k = 0; k < i; k++)
        if (mark[k] && of_one(&v->known[k].contact, &v->known[i].contact))
            return false;
    return true;
}

/* Seeders that slots show, and that did not fail. */
static unsigned seeders(const struct tun_hidden *h) {
    const struct tun_viewer *v = h->viewer;
    bool counted[TUN_KNOWN_CONTACTS_MAX + TUN_NAMED_CONTACTS_MAX] = {false};
    unsigned most = 0;
    for (unsigned i = 0; i < v->knowns; i++) {
        const struct tun_known *k = &v->known[i];
        counted[i] = !k->namer && tun_known_rank(k, h->all->now.wall) == 0 && first(v, counted, i);
        unsigned n = counted[i] ? marked(v, counted, i) : 0;
        most = n > most ? n : most;
    }
    return most;
}

/* A slot shows, or a peer named, a seeder that could be met, and no meeting but `but` is with. */
static bool unmet(struct tun_hidden *h, bool named, const struct tun_meet *but) {
    const struct tun_viewer *v = h->viewer;
    bool counted[TUN_KNOWN_CONTACTS_MAX + TUN_NAMED_CONTACTS_MAX] = {false};
    for (unsigned i = 0; i < v->knowns; i++) {
        const struct tun_known *k = &v->known[i];
        unsigned through;
        bool good = named ? k->namer && k->fails < TUN_NAMED_FAILS
                          : !k->namer && tun_known_rank(k, h->all->now.wall) == 0;
        counted[i] = good && with_seeder(v, &k->contact, but, &through) == 0 && usable(h, k) &&
                     first(v, counted, i);
        if (counted[i] && marked(v, counted, i) > met_elsewhere(v, k->period, but))
            return true;
    }
    return false;
}

/* ---- whom to take ---- */

/* The contact that failed least, of the seeder that we meet least; among equals
 * a random one. In the place of a way that lags: of its seeder, if that can be met.
 * For a meeting with somebody whom a peer named: of a seeder that no other meeting
 * than `m` is with. */
static struct tun_known *pick(struct tun_hidden *h, bool named, const struct tun_meet *m) {
    struct tun_viewer *v = h->viewer;
    struct tun_known *best = NULL;
    if (named && !unmet(h, named, m))
        return NULL;
    const struct tun_meet *lags = named ? NULL : to_replace(v, m);
    unsigned best_cost = 0, ties = 0;
    for (unsigned i = 0; i < v->knowns; i++) {
        struct tun_known *k = &v->known[i];
        unsigned through, met = with_seeder(v, &k->contact, named ? m : NULL, &through);
        if (named != (k->namer != 0) || (named && (met || k->fails >= TUN_NAMED_FAILS)))
            continue;
        if (through >= 2 || !usable(h, k))
            continue;
        if (lags && memcmp(lags->contact.service, k->contact.service, CV_KEY) != 0)
            met += TUN_MEETINGS_MAX;
        /* Who asks for work has too many visitors: others come first. */
        unsigned rank = tun_known_rank(k, h->all->now.wall);
        unsigned cost = (met * 256 + through * 32 + rank) * 256 + k->contact.effort;
        ties = !best || cost < best_cost ? 1 : ties + (cost == best_cost);
        if (!best || cost < best_cost ||
            (cost == best_cost && cv_rng_below(tun_hidden_rng(h), ties) == 0)) {
            best = k;
            best_cost = cost;
        }
    }
    return best;
}

/* Two ways to one seeder, so that one relay's end is not the film's; more when
 * there are more seeders, and no constant rate that is theirs together. Whom peers
 * named is beside that, where there is room. */
unsigned tun_meet_wanted(const struct tun_hidden *h) {
    unsigned n = h->pace ? TUN_PACED_CIRCUITS : seeders(h);
    return n < 2 ? 2 : n > TUN_MEETINGS_MAX ? TUN_MEETINGS_MAX : n;
}

/* ---- ends ---- */

static void clear(struct tun_meet *m) {
    tun_road_run_on(&m->rp);
    tun_road_close(&m->ip);
    cv_noise_done(&m->noise);
    tun_e2e_done(&m->e2e);
    cv_usec retry_at = m->retry_at;
    memset(m, 0, sizeof *m);
    m->retry_at = retry_at;
}

/* The meeting with the peer that named this contact; NULL: none did, or it is gone. */
static struct tun_meet *namer_of(struct tun_hidden *h, const struct tun_known *k) {
    for (unsigned i = 0; k->namer && i < TUN_MEETINGS_MAX; i++) {
        struct tun_meet *m = &h->viewer->meet[i];
        if (m->rp.kind && m->rp.circuit == k->namer)
            return m;
    }
    return NULL;
}

static void blame(struct tun_hidden *h, const struct tun_contact *c) {
    struct tun_known *k = known_of(h, c);
    if (!k)
        return;
    struct tun_meet *namer = namer_of(h, k);
    h->info.misnamed += k->namer != 0;
    if (namer && namer->misled < TUN_MISLED_MAX)
        namer->misled++;
    k->fails = (uint8_t)(k->fails < 16 ? k->fails + 1 : 16);
    /* A contact that failed once may have been unlucky; often, it is gone. */
    unsigned shift = k->fails > 6 ? 6 : k->fails;
    k->not_before = cv_usec_add(now(h), CV_SEC(5) << shift);
}

/* The contact is no good; a rendezvous that waits serves the next one. */
static void next_contact(struct tun_hidden *h, struct tun_meet *m) {
    TRACE(h, m, meet_next_contact);
    blame(h, &m->contact);
    h->viewer->missed |= !m->named;
    tun_road_close(&m->ip);
    m->introduced = m->written = false;
    m->stuck = m->busy = 0;
    tun_hidden_by(h, now(h));
    struct tun_known *k = pick(h, m->named, m);
    if (!k) {
        m->retry_at = cv_usec_add(now(h), CV_MSEC(300));
        clear(m);
        return;
    }
    m->contact = k->contact;
    m->period = k->period;
    m->tries = 0;
}

enum end { NEVER_BUILT, SILENT, NOBODY_CAME };

/* The rendezvous is no good: another, at most four for one contact. */
static void next_rendezvous(struct tun_hidden *h, struct tun_meet *m, enum end end) {
    TRACE(h, m, meet_next_rendezvous);
    if (m->rp.kind) {
        struct tun_circuit_info info;
        if (tun_circuit_info(h->all->t, m->rp.circuit, &info) == CV_ERR_OK)
            memcpy(m->used[m->tries % TUN_MEETING_TRIES],
                   tun_circuit_hop(h->all->t, m->rp.circuit, info.hops - 1)->identity, CV_KEY);
    }
    if (end == NEVER_BUILT)
        (void)tun_road_give_up(&m->rp);
    else if (end == SILENT && !m->rp.keeps)
        tun_road_suspect(&m->rp);
    else
        tun_road_run_on(&m->rp);
    tun_road_close(&m->ip);
    tun_e2e_done(&m->e2e);
    m->asked = m->established = m->introduced = m->came = m->pacing = m->written = false;
    m->busy = 0;
    m->state = TUN_MEET_BUILDING;
    tun_hidden_by(h, now(h));
    if (++m->tries >= TUN_MEETING_TRIES) {
        next_contact(h, m);
        return;
    }
    if (end != NOBODY_CAME)
        return;
    /* The seeder may be cut off from this introduction point without the point
     * knowing: by another, if there is one; and slots may say more by now. */
    struct tun_known *k = known_of(h, &m->contact);
    if (k) {
        k->fails = (uint8_t)(k->fails < 16 ? k->fails + 1 : 16);
        k->not_before = cv_usec_add(now(h), CV_SEC(2));
    }
    h->viewer->missed |= !m->named;
    if ((k = pick(h, m->named, m))) {
        m->contact = k->contact;
        m->period = k->period;
    }
}

void tun_meet_drop(struct tun_hidden *h, struct tun_meet *m) {
    blame(h, &m->contact);
    m->retry_at = now(h);
    clear(m);
}

void tun_meet_on_down(struct tun_hidden *h, struct tun_meet *m) {
    m->retry_at = now(h);
    clear(m);
}

void tun_meet_on_introduction_down(struct tun_hidden *h, struct tun_meet *m, uint32_t built) {
    /* Three of four answered: the introduction point is not there. */
    if (m->state == TUN_MEET_BUILDING && built + 1 == tun_path_length(TUN_PURPOSE_INTRODUCE))
        next_contact(h, m);
}

void tun_meet_anew(struct tun_hidden *h) {
    struct tun_viewer *v = h->viewer;
    for (unsigned i = 0; i < v->knowns; i++) {
        v->known[i].fails = 0;
        v->known[i].not_before = now(h);
    }
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
        v->meet[i].retry_at = now(h);
        if (v->meet[i].state == TUN_MEET_BUILDING || v->meet[i].state == TUN_MEET_WAITING)
            clear(&v->meet[i]);
    }
    v->missed = true; /* slots may say more by now */
    v->lost_at = now(h);
    v->search_pause = 0;
}

void tun_meet_let_go(struct tun_hidden *h, struct tun_meet *m) {
    tun_hidden_peer_down(h, &m->rp);
    clear(m);
}

void tun_meet_done(struct tun_hidden *h) {
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++)
        clear(&h->viewer->meet[i]);
}

static cv_usec come(const struct tun_hidden *h) {
    cv_usec t = 2 * tun_client_patience(h->all->t);
    return t < COME_MIN ? COME_MIN : t > COME_MAX ? COME_MAX : t;
}

/* ---- steps ---- */

static void begin(struct tun_hidden *h, struct tun_meet *m, bool named) {
    struct tun_known *k = pick(h, named, m);
    if (!k)
        return;
    clear(m);
    m->named = named;
    m->state = TUN_MEET_BUILDING;
    m->begun_at = now(h);
    TRACE(h, m, meet_begun);
    m->contact = k->contact;
    m->period = k->period;
}

/* Of one that lags not the guard, nor L where there are two: first comes that nobody ends all
 * of the ways that stay, and they have the others. */
static void behind(const struct tun_hidden *h, const struct tun_road *r,
                   struct tun_path_apart *ret) {
    struct tun_path_apart hops = {.fronts = 0};
    size_t relays =
        tun_directory_count(tun_client_directory(h->all->t), tun_descriptor_day(h->all->now.wall),
                            TUN_DIRECTORY_CONFIRMED);
    tun_road_relays(r, &hops);
    for (size_t i = 1; i < hops.fronts && tun_guards_seconds(relays) > 2; i++)
        tun_path_apart_add(ret, 1, hops.front[i]);
    for (size_t i = 0; i < hops.showns; i++)
        tun_path_apart_add(ret, 2, hops.shown[i]);
}

/* Relays that carry the other meetings: this one should survive their end. */
static void others(const struct tun_hidden *h, const struct tun_meet *m,
                   struct tun_path_apart *ret) {
    *ret = (struct tun_path_apart){.fronts = 0};
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
        const struct tun_meet *o = &h->viewer->meet[i];
        if (o == m || !o->rp.kind || o->leaving)
            continue;
        if (o->lags)
            behind(h, &o->rp, ret);
        else
            tun_road_relays(&o->rp, ret);
    }
}

static void open_rendezvous(struct tun_hidden *h, struct tun_meet *m) {
    cv_usec again = cv_usec_add(h->refused_at, UNPACED);
    if (h->refused_at && now(h) < again) {
        tun_hidden_by(h, again);
        return;
    }
    struct tun_path_apart apart;
    struct tun_path_request req = {.purpose = TUN_PURPOSE_MEET,
                                   .avoid = (const uint8_t(*)[CV_KEY])m->used,
                                   .avoids = m->tries};
    others(h, m, &apart);
    req.apart = apart.fronts || apart.showns ? &apart : NULL;
    if (tun_road_open(h, &m->rp, TUN_ROAD_RENDEZVOUS, m, &req) == CV_ERR_UNREACHABLE) {
        /* Every rendezvous was tried: begin again with the first. */
        req.avoids = 0;
        (void)tun_road_open(h, &m->rp, TUN_ROAD_RENDEZVOUS, m, &req);
    }
    if (!m->rp.kind)
        tun_hidden_by(h, cv_usec_add(now(h), CV_MSEC(200)));
}

static void open_introduction(struct tun_hidden *h, struct tun_meet *m) {
    struct tun_relay *r = point_of(h, &m->contact);
    /* Another contact is better than a way through somebody who is gone. */
    struct tun_path_request req = {
        .purpose = TUN_PURPOSE_INTRODUCE, .named = r, .alive = h->viewer->knowns > 1};
    enum cv_err err =
        r ? tun_road_open(h, &m->ip, TUN_ROAD_INTRODUCE, m, &req) : CV_ERR_UNREACHABLE;
    if (err == CV_ERR_UNREACHABLE || err == CV_ERR_DENIED)
        next_contact(h, m); /* it is our only guard, or no relay at all */
    else if (err)
        tun_hidden_by(h, cv_usec_add(now(h), CV_MSEC(200)));
}

static void establish(struct tun_hidden *h, struct tun_meet *m) {
    struct tun_body b;
    uint32_t transaction;
    cv_rng_fill(tun_hidden_rng(h), m->where.cookie, sizeof m->where.cookie);
    tun_body_init(&b);
    struct tun_rendezvous msg = {.transaction = 0};
    memcpy(msg.cookie, m->where.cookie, sizeof msg.cookie);
    tun_rendezvous_write(&b.w, &msg);
    if (tun_road_request(&m->rp, TUN_CMD_ESTABLISH_RENDEZVOUS, tun_body_data(&b), tun_body_len(&b),
                         &transaction) == CV_ERR_OK) {
        m->asked = true;
        m->written = false; /* another cookie */
        m->until = cv_usec_add(now(h), tun_client_patience(h->all->t));
    }
}

/* What the seeder asks, and more each time that nobody came: others work, too. */
static unsigned effort(const struct tun_meet *m) {
    unsigned more = m->tries < TUN_EFFORT_BEYOND ? m->tries : TUN_EFFORT_BEYOND;
    return m->contact.effort ? m->contact.effort + more : 0;
}

static void write_introduction(struct tun_hidden *h, struct tun_meet *m) {
    struct tun_circuit_info info;
    if (tun_circuit_info(h->all->t, m->rp.circuit, &info))
        return;
    const struct tun_relay_ref *rp = tun_circuit_hop(h->all->t, m->rp.circuit, info.hops - 1);
    memcpy(m->where.rp, rp->identity, CV_KEY);
    memcpy(m->where.d, rp->d, sizeof m->where.d);

    struct tun_e2e_context ctx;
    memcpy(ctx.network_id, h->all->network_id, sizeof ctx.network_id);
    memcpy(ctx.ip, m->contact.ip, CV_KEY);
    memcpy(ctx.auth, m->contact.auth, CV_KEY);
    struct tun_period_secret period_secret;
    tun_period_derive(&period_secret, &h->swarm_secret, m->period);
    cv_noise_done(&m->noise);
    enum cv_err err = tun_e2e_create_1(&m->noise, m->flight, &ctx, &period_secret,
                                       m->contact.service, &m->where, tun_hidden_rng(h));
    cv_wipe(&period_secret, sizeof period_secret);
    if (err) {
        next_contact(h, m);
        return;
    }
    m->written = true;
    tun_stamp_begin(&m->stamp, effort(m), m->contact.service, m->period, m->flight,
                    sizeof m->flight, tun_hidden_rng(h));
}

/* A little at a time: all of a node's meetings together never keep it from anything else
 * for longer than a millisecond or two. */
static bool stamped(struct tun_hidden *h, struct tun_meet *m) {
    struct tun_hiddens *all = h->all;
    if (m->stamp.found)
        return true;
    if (now(h) >= all->stamp_at) {
        all->stamp_at = cv_usec_add(now(h), CV_MSEC(TUN_STAMP_PAUSE_MS));
        if (tun_stamp_try(&m->stamp, TUN_STAMP_TRIES))
            return true;
    }
    tun_hidden_by(h, all->stamp_at);
    return false;
}

static void introduce(struct tun_hidden *h, struct tun_meet *m) {
    struct tun_introduce msg = {.flight = m->flight, .flight_len = sizeof m->flight};
    memcpy(msg.auth_key, m->contact.auth, CV_KEY);
    memcpy(msg.stamp, tun_stamp_get(&m->stamp), sizeof msg.stamp);
    struct tun_body b;
    uint32_t transaction;
    tun_body_init(&b);
    tun_introduce_write(&b.w, &msg);
    if (tun_road_request(&m->ip, TUN_CMD_INTRODUCE, tun_body_data(&b), tun_body_len(&b),
                         &transaction) == CV_ERR_OK) {
        const struct tun_known *k = known_of(h, &m->contact);
        m->introduced = true;
        m->was_outdated = k && k->outdated;
        if (m->stamp.effort && !m->busy) { /* else the same one again */
            h->info.stamps++;
            h->info.effort = m->stamp.effort;
        }
        TRACE(h, m, meet_introduced);
        m->until = cv_usec_add(now(h), come(h));
    }
}

/* The rendezvous waits: the seeder is told, once that is worth its while. */
static void introduce_step(struct tun_hidden *h, struct tun_meet *m) {
    if (!m->written && (m->ip.ready || m->contact.effort))
        write_introduction(h, m);
    if (!m->written || !stamped(h, m) || !m->ip.ready)
        return;
    if (now(h) >= m->again_at)
        introduce(h, m);
    else
        tun_hidden_by(h, m->again_at);
}

static void build_step(struct tun_hidden *h, struct tun_meet *m) {
    if (tun_road_stuck(&m->rp)) {
        next_rendezvous(h, m, NEVER_BUILT);
        return;
    }
    if (tun_road_stuck(&m->ip) && (tun_road_give_up(&m->ip) || ++m->stuck >= 2)) {
        next_contact(h, m); /* it does not answer, or nothing leads there */
        return;
    }
    if (!m->rp.kind && m->introduced) {
        /* It went while the seeder was on his way to it. */
        next_rendezvous(h, m, NEVER_BUILT);
        return;
    }
    if (!m->rp.kind) {
        m->asked = m->established = false;
        open_rendezvous(h, m);
    }
    if (!m->ip.kind && !m->introduced)
        open_introduction(h, m);
    if (m->state != TUN_MEET_BUILDING)
        return;
    if (m->rp.ready && !m->asked)
        establish(h, m);
    if (m->asked && !m->established) {
        if (now(h) >= m->until) {
            next_rendezvous(h, m, SILENT);
            return;
        }
        tun_hidden_by(h, m->until);
    }
    if (m->established && !m->introduced)
        introduce_step(h, m);
    if (m->introduced) {
        /* Answered or not, the introduction point gets no more than the seeder's time. */
        if (now(h) >= m->until) {
            tun_road_suspect(&m->ip);
            next_contact(h, m);
        } else {
            tun_hidden_by(h, m->until);
        }
    }
}

/* Up, but silent: another is begun before this one is given up. */
static bool doubtful(const struct tun_hidden *h, const struct tun_meet *m) {
    return m->state == TUN_MEET_UP && m->quiet_at && cv_usec_since(now(h), m->quiet_at) >= DOUBT;
}

bool tun_meet_steady(const struct tun_hidden *h, const struct tun_meet *m) {
    return m->state == TUN_MEET_UP && !m->named && !m->leaving && !m->lags && !doubtful(h, m);
}

/* ---- one rate for another ---- */

unsigned tun_meet_rates(const struct tun_hidden *h) {
    unsigned n = tun_hidden_running_on(h);
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
        const struct tun_road *r = &h->viewer->meet[i].rp;
        struct tun_circuit_info info;
        n += r->kind && tun_circuit_info(h->all->t, r->circuit, &info) == CV_ERR_OK && info.pace;
    }
    return n;
}

/* Another way, up or about to be, that this one need not take the place of. */
static bool stays(const struct tun_hidden *h, const struct tun_meet *m) {
    return m->pacing || (m->state == TUN_MEET_UP && !m->leaving && !doubtful(h, m));
}

/* Somebody came: true when this way keeps the rate. Until its second hop has agreed nothing is
 * said on it; if all that there should be are there without it, it ends. */
static bool rate_taken(struct tun_hidden *h, struct tun_meet *m) {
    unsigned others = 0;
    if (!m->rp.kind) { /* it is gone, or will not keep it */
        next_rendezvous(h, m, NEVER_BUILT);
        return false;
    }
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++)
        others += &h->viewer->meet[i] != m && stays(h, &h->viewer->meet[i]);
    if (h->pace && m->pacing && m->rp.keeps && others >= TUN_PACED_CIRCUITS) {
        tun_road_close(&m->rp); /* a way that was silent speaks again: no third rate */
        m->retry_at = cv_usec_add(now(h), UNPACED);
        clear(m);
        return false;
    }
    if (!h->pace || m->rp.keeps)
        return true;
    if (m->pacing)
        return false;
    if (others >= TUN_PACED_CIRCUITS ||
        tun_circuit_pace(h->all->t, &h->all->now, m->rp.circuit, h->pace)) {
        m->retry_at = cv_usec_add(now(h), UNPACED);
        clear(m);
        return false;
    }
    tun_road_close(&m->ip);
    m->pacing = true;
    m->state = TUN_MEET_WAITING;
    m->until = cv_usec_add(now(h), tun_client_patience(h->all->t));
    tun_hidden_by(h, m->until);
    return false;
}

/* Which way that keeps the rate is missed least: one that would have ended soon, one to which
 * nobody came yet, one that has been silent. 0: it is not to be missed. */
static unsigned spare(const struct tun_hidden *h, const struct tun_meet *m) {
    if (!m->rp.keeps || stays(h, m) || m->came)
        return 0;
    return m->leaving ? 3 : m->state != TUN_MEET_UP ? 2 : 1;
}

/* Those that a second hop has agreed on, and what runs on: one that is only ordered may yet be
 * refused. */
static unsigned kept(const struct tun_hidden *h) {
    unsigned n = tun_hidden_running_on(h);
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++)
        n += h->viewer->meet[i].rp.keeps;
    return n;
}

/* A new way keeps its part of the rate: what is more than all of it ends, what runs on first. */
static void end_more(struct tun_hidden *h, const struct tun_meet *but) {
    while (kept(h) > TUN_PACED_CIRCUITS) {
        struct tun_meet *worst = NULL;
        if (tun_hidden_end_one(h))
            continue;
        for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
            struct tun_meet *m = &h->viewer->meet[i];
            if (m != but && spare(h, m) > (worst ? spare(h, worst) : 0))
                worst = m;
        }
        if (!worst)
            return;
        if (worst->state == TUN_MEET_UP)
            tun_hidden_peer_down(h, &worst->rp);
        tun_road_close(&worst->rp);
        clear(worst);
        tun_hidden_by(h, now(h));
    }
}

static void came(struct tun_hidden *h, struct tun_meet *m) {
    m->came = m->pacing = false;
    TRACE(h, m, meet_came);
    tun_road_close(&m->ip);
    m->state = TUN_MEET_UP;
    m->rp.e2e = &m->e2e;
    struct tun_known *k = known_of(h, &m->contact);
    struct tun_meet *namer = k ? namer_of(h, k) : NULL;
    if (k) {
        k->fails = k->strange = 0;
        k->outdated = false;
    }
    if (namer)
        namer->misled = 0;
    h->viewer->missed = false;
    if (h->pace)
        end_more(h, m);
    tun_hidden_peer_up(h, &m->rp);
    /* A word, so that both the rendezvous and the seeder know we heard. */
    tun_road_hello(&m->rp);
    m->look_at = cv_usec_add(now(h), LOOK);
}

static void wait_step(struct tun_hidden *h, struct tun_meet *m) {
    const struct tun_known *k = known_of(h, &m->contact);
    /* Said anew meanwhile. What was chosen for want of anything newer has its time like the rest:
     * slots are written one after the other, and the seeder may well be there. */
    bool outdated = !m->came && !m->was_outdated && k && k->outdated;
    if (!m->rp.kind || now(h) >= m->until || outdated)
        next_rendezvous(h, m, m->came ? NEVER_BUILT : NOBODY_CAME); /* somebody did: no rate */
    else
        tun_hidden_by(h, m->until);
}

static cv_usec quiet(const struct tun_hidden *h) {
    cv_usec q = tun_client_patience(h->all->t) + CV_MSEC(500);
    return q < QUIET_MIN ? QUIET_MIN : q > QUIET_MAX ? QUIET_MAX : q;
}

/* Who says something and hears nothing asks, and so does who was told something
 * and is not any more: a film that stops in the middle. When nobody answers in
 * some seconds, the way is cut somewhere. Links would notice in half a minute, a
 * film does not wait so long. */
static bool cut_off(struct tun_hidden *h, struct tun_meet *m) {
    struct tun_circuit_info info;
    if (now(h) < m->look_at || tun_circuit_info(h->all->t, m->rp.circuit, &info))
        return false;
    /* Not cells: the rendezvous answers for itself when the way ends behind it. */
    bool heard = m->rp.heard != m->seen_in, said = info.cells_out != m->seen_out;
    bool told = m->rp.told != m->seen_told;
    if (heard) {
        m->quiet_at = 0;
    } else if ((said || m->talk) && m->quiet_at == 0) {
        m->quiet_at = now(h);
        tun_client_probe(h->all->t, &h->all->now, m->rp.circuit);
    }
    if (m->quiet_at)
        tun_road_hello(&m->rp);
    (void)tun_circuit_info(h->all->t, m->rp.circuit, &info);
    m->talk = told;
    m->seen_in = m->rp.heard;
    m->seen_told = m->rp.told;
    m->seen_out = info.cells_out;
    m->look_at = cv_usec_add(now(h), heard || said || m->quiet_at ? LOOK : REST);
    return m->quiet_at && cv_usec_since(now(h), m->quiet_at) >= quiet(h);
}

static void up_step(struct tun_hidden *h, struct tun_meet *m) {
    cv_usec change = m->rp.expires_at > CHANGE ? m->rp.expires_at - CHANGE : 0;
    if (cut_off(h, m)) {
        tun_hidden_peer_down(h, &m->rp);
        if (!m->rp.keeps) /* else whoever was silent has been found out by now */
            tun_road_suspect(&m->rp);
        m->retry_at = now(h);
        clear(m);
        tun_hidden_by(h, now(h)); /* if it was the last one, what takes long gets company */
        return;
    }
    tun_hidden_by(h, m->look_at);
    if (!m->leaving && now(h) >= change)
        m->leaving = true;
    if (m->leaving && now(h) >= m->rp.expires_at) {
        tun_meet_let_go(h, m);
        return;
    }
    tun_hidden_by(h, m->leaving ? m->rp.expires_at : change);
}

/* The introduction point's answer. One that has too much to do is asked again soon, with the
 * same: it passed nothing on, and the way and the work are there. */
static void introduced(struct tun_hidden *h, struct tun_meet *m, uint8_t status) {
    if (status == 0) {
        cv_usec more =
            m->contact.effort ? tun_hidden_pause(h, TUN_STAMP_WAIT, TUN_STAMP_WAIT_HURRY) : 0;
        m->state = TUN_MEET_WAITING;
        m->until = cv_usec_add(now(h), come(h) + more);
    } else if (status == TUN_ERROR_BUSY && m->busy < TUN_BUSY_TRIES) {
        m->busy++;
        m->introduced = false;
        m->again_at =
            cv_usec_add(now(h), cv_rng_between(tun_hidden_rng(h), CV_MSEC(150), CV_MSEC(450)));
        tun_hidden_by(h, m->again_at);
    } else {
        struct tun_known *k = known_of(h, &m->contact);
        if (k && status == TUN_ERROR_NOENT && k->strange < TUN_STRANGE_MAX)
            k->strange++;
        next_contact(h, m);
    }
}

void tun_meet_on_reply(struct tun_hidden *h, struct tun_meet *m, struct tun_road *r,
                       const struct tun_event *ev) {
    bool failed = ev->reply.err != CV_ERR_OK;
    if (r == &m->rp && m->state != TUN_MEET_UP) {
        if (ev->reply.command == TUN_CMD_JOINED && !failed) {
            if (m->introduced && !m->came &&
                tun_e2e_consume_2(&m->noise, ev->reply.body, ev->reply.len, &m->e2e) == CV_ERR_OK)
                m->came = true;
        } else if (ev->reply.command == TUN_CMD_RENDEZVOUS_ESTABLISHED && !failed) {
            m->established = true;
        } else if (failed && !m->established) {
            next_rendezvous(h, m, SILENT);
        }
    } else if (r == &m->ip && m->introduced && m->state == TUN_MEET_BUILDING) {
        uint8_t status = TUN_ERROR_UNREACHABLE; /* no answer is no word of the point's */
        if (!failed && ev->reply.command == TUN_CMD_INTRODUCE_ACK) {
            struct tun_body b;
            struct cv_rd rd = tun_body_rd(&b, 0, ev->reply.body, ev->reply.len);
            struct tun_introduce_ack ack;
            if (tun_introduce_ack_read(&rd, &ack) == CV_ERR_OK)
                status = ack.status;
        }
        introduced(h, m, status);
    }
}

/* With nobody to talk to, what takes long gets company. */
static unsigned hedges(struct tun_hidden *h) {
    unsigned n = 0;
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
        const struct tun_meet *m = &h->viewer->meet[i];
        if (m->state == TUN_MEET_UP)
            return 0;
        if (m->state == TUN_MEET_IDLE)
            continue;
        cv_usec at = cv_usec_add(m->begun_at, HEDGE);
        n += now(h) >= at;
        if (now(h) < at)
            tun_hidden_by(h, at);
    }
    if (n > 0)
        h->viewer->missed = true; /* slots may say more by now */
    return n;
}

/* A third way to one seeder, from a time when it was thought to be cut off; NULL: none. */
static struct tun_meet *surplus(struct tun_hidden *h) {
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
        struct tun_meet *m = &h->viewer->meet[i];
        unsigned through;
        if (m->state == TUN_MEET_UP && !m->leaving &&
            with_seeder(h->viewer, &m->contact, m, &through) >= 2)
            return m;
    }
    return NULL;
}

/* Where all places are taken, a seeder of whom a peer spoke is worth more than a third way
 * to one that we have. */
static void make_room(struct tun_hidden *h) {
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++)
        if (h->viewer->meet[i].state == TUN_MEET_IDLE)
            return;
    struct tun_meet *m = surplus(h);
    if (m && pick(h, /* named= */ true, NULL))
        tun_meet_let_go(h, m);
}

/* Begins meetings of one kind until so many are active. */
static void begin_more(struct tun_hidden *h, bool named, unsigned active, unsigned want) {
    for (unsigned i = 0; i < TUN_MEETINGS_MAX && active < want; i++) {
        struct tun_meet *m = &h->viewer->meet[i];
        if (m->state != TUN_MEET_IDLE)
            continue;
        if (m->retry_at > now(h)) {
            tun_hidden_by(h, m->retry_at);
            continue;
        }
        begin(h, m, named);
        if (m->state == TUN_MEET_IDLE)
            break;
        active++;
        tun_hidden_by(h, now(h));
    }
}

void tun_meet_work(struct tun_hidden *h) {
    struct tun_viewer *v = h->viewer;
    unsigned active = 0, named = 0, want = tun_meet_wanted(h) + hedges(h);
    for (unsigned i = 0; i < TUN_MEETINGS_MAX; i++) {
        struct tun_meet *m = &v->meet[i];
        if (m->came && rate_taken(h, m))
            came(h, m);
        if (m->state == TUN_MEET_BUILDING)
            build_step(h, m);
        else if (m->state == TUN_MEET_WAITING)
            wait_step(h, m);
        else if (m->state == TUN_MEET_UP)
            up_step(h, m);
        named += m->state != TUN_MEET_IDLE && m->named;
        active +=
            m->state != TUN_MEET_IDLE && !m->named && !m->leaving && !m->lags && !doubtful(h, m);
    }
    /* Beside two ways to one seeder, too. */
    if (active >= want && !h->pace && unmet(h, /* named= */ false, NULL))
        want = active + 1;
    begin_more(h, /* named= */ false, active, want);
    unsigned beside = h->pace ? 0 : TUN_NAMED_MEETINGS;
    if (named < beside)
        make_room(h);
    begin_more(h, /* named= */ true, named, beside);
}
