/*
 * Circuits: two or three ready before anybody wants one, each given away once
 * (one circuit serves one swarm); what every circuit's hops are, so that whoever
 * fails to answer is avoided for a while. See clientstate.h.
 */
#include <assert.h>
#include <string.h>

#include "base/trace.h"
#include "tunnel/clientstate.h"

#define STALE CV_SEC(600) /* no new use of circuits older than this */
#define IDLE  CV_SEC(600) /* so long without anybody asking for one */
#define SHUN  CV_SEC(30)
/* For a circuit that is being built: six times what others took, within these. */
#define PATIENCE_MIN CV_SEC(1)
#define PATIENCE_MAX CV_SEC(6)
#define PATIENCE     CV_SEC(4) /* as long as there were no others */
/* For a hop that is asked whether it is there: twice what circuits take. */
#define DOUBT_MIN CV_MSEC(250)
#define DOUBT_MAX CV_MSEC(1000)

static cv_usec now(const struct tun_client *c) {
    return c->now.mono;
}

static size_t network_size(const struct tun_client *c) {
    return tun_directory_count(c->dir, tun_descriptor_day(c->now.wall), TUN_DIRECTORY_CONFIRMED);
}

/* ---- lanes ---- */

struct tun_lane *tun_ahead_lane(struct tun_client *c, cv_handle circuit) {
    for (uint32_t i = 0; i < c->lanes; i++) {
        if (c->lane[i].circuit == circuit)
            return &c->lane[i];
    }
    return NULL;
}

void tun_ahead_forget(struct tun_client *c, struct tun_lane *lane) {
    *lane = c->lane[--c->lanes];
}

static void lane_hops(struct tun_lane *lane, const struct tun_path *p) {
    lane->n = p->n;
    for (unsigned i = 0; i < p->n; i++) {
        memcpy(lane->hop[i], p->hop[i]->desc.identity, CV_KEY);
        lane->day[i] = p->hop[i]->desc.day;
    }
}

/* The path that a lane goes along, false when one of its relays is gone from
 * the directory. */
static bool lane_path(const struct tun_client *c, const struct tun_lane *lane,
                      struct tun_path *ret) {
    *ret = (struct tun_path){.purpose = lane->purpose, .n = lane->n};
    for (unsigned i = 0; i < lane->n; i++) {
        ret->hop[i] = tun_directory_find(c->dir, lane->hop[i], lane->day[i]);
        if (!ret->hop[i] || ret->hop[i]->raw_len == 0)
            return false;
    }
    return true;
}

/* Circuits that the node closed leave their lanes behind. */
static void lanes_sweep(struct tun_client *c) {
    for (uint32_t i = 0; i < c->lanes;) {
        struct tun_circuit_info info;
        if (tun_circuit_info(c->t, c->lane[i].circuit, &info) == CV_ERR_OK)
            i++;
        else
            tun_ahead_forget(c, &c->lane[i]);
    }
}

/* The last look at a path before anybody hears of it: all rules hold, and whom
 * somebody else named does not stand beside our guard. What is wrong here is wrong
 * with us or with what we kept; no circuit is better than that one. */
static bool lawful(struct tun_client *c, const struct tun_path *p) {
    bool ok = tun_path_ok(p, &c->guards, network_size(c));
    if (!ok)
        tun_count_path_refused(c->t);
    return ok;
}

static enum cv_err build(struct tun_client *c, const struct tun_path *p, enum tun_user user,
                         bool ahead, cv_handle *ret) {
    if (!lawful(c, p))
        return CV_ERR_UNREACHABLE;
    if (c->lanes == TUN_CIRCUITS_MAX)
        lanes_sweep(c);
    if (c->lanes == TUN_CIRCUITS_MAX)
        return CV_ERR_LIMIT;
    struct tun_circuit_plan plan = {.purpose = p->purpose, .user = user, .hops = p->n};
    for (unsigned i = 0; i < p->n; i++)
        tun_relay_ref_fill(&plan.hop[i], p->hop[i], c->now.wall);
    /* A guard is spoken to at the address at which we know it. */
    const struct tun_guard *g = tun_guards_find_first(&c->guards, p->hop[0]->desc.identity);
    if (g && g->addr.family) {
        memset(plan.hop[0].addr, 0, sizeof plan.hop[0].addr);
        plan.hop[0].addr[0] = g->addr;
    }
    cv_handle circuit;
    enum cv_err err = tun_circuit_build(c->t, &c->now, &plan, &circuit);
    if (err)
        return err;
    struct tun_lane *lane = &c->lane[c->lanes++];
    *lane = (struct tun_lane){
        .circuit = circuit, .ahead = ahead, .purpose = p->purpose, .opened_at = now(c)};
    lane_hops(lane, p);
    *ret = circuit;
    return CV_ERR_OK;
}

/* ---- time and blame ---- */

cv_usec tun_client_patience(const struct tunnel *t) {
    const struct tun_client *c = tun_attached(t, TUN_USER_CLIENT);
    if (c->build_time == 0)
        return PATIENCE;
    cv_usec p = 6 * c->build_time;
    return p < PATIENCE_MIN ? PATIENCE_MIN : p > PATIENCE_MAX ? PATIENCE_MAX : p;
}

cv_usec tun_client_back_at(const struct tunnel *t) {
    const struct tun_client *c = tun_attached(t, TUN_USER_CLIENT);
    return c ? c->back_at : 0;
}

static void later(cv_usec *until, cv_usec than) {
    if (*until < than)
        *until = than;
}

/* This hop did not answer us. As guards they are not avoided for long: there are
 * two. Elsewhere they are like anybody. */
static void shun(struct tun_client *c, const struct tun_lane *lane, unsigned at, cv_usec time,
                 bool gone) {
    const uint8_t *who = lane->hop[at];
    struct tun_relay *r = tun_directory_find(c->dir, who, lane->day[at]);
    struct tun_guard *g = at == 0 ? tun_guards_find_first(&c->guards, who) : NULL;
    if (g)
        later(&g->shunned_until, cv_usec_add(now(c), time < SHUN / 6 ? time : SHUN / 6));
    if (r)
        later(gone ? &r->gone_until : &r->shunned_until, cv_usec_add(now(c), time));
    tun_client_by(c, now(c));
}

/* This hop has just answered, whatever was thought of it before. */
static void forgive(struct tun_client *c, const struct tun_lane *lane, unsigned at) {
    struct tun_relay *r = tun_directory_find(c->dir, lane->hop[at], lane->day[at]);
    struct tun_guard *g = at == 0 ? tun_guards_find_first(&c->guards, lane->hop[0]) : NULL;
    if (r)
        r->shunned_until = r->gone_until = 0;
    if (g)
        g->shunned_until = 0;
}

/* Whom hop `at` of a lane was to be reached through; NULL: by us. */
static const uint8_t *before(const struct tun_lane *lane, unsigned at) {
    return at ? lane->hop[at - 1] : NULL;
}

/* What became of it, once: a path that is lengthened later was ready before. Nothing
 * is said of a guard that has no link: then it may be our own network. */
static void count_guard(struct tun_client *c, struct tun_lane *lane, bool through) {
    struct tun_guard *g = tun_guards_find_first(&c->guards, lane->hop[0]);
    if (g && !lane->counted && (through || g->up))
        c->guards_change |= tun_guard_counted(g, through);
    lane->counted = true;
}

void tun_client_failed(struct tunnel *t, const struct cv_now *at, cv_handle circuit,
                       uint32_t built) {
    struct tun_client *c = tun_attached(t, TUN_USER_CLIENT);
    struct tun_lane *lane = c ? tun_ahead_lane(c, circuit) : NULL;
    if (!lane)
        return;
    c->now = *at;
    if (built < lane->n)
        count_guard(c, lane, /* through= */ false);
    if (built == 0)
        shun(c, lane, 0, SHUN, /* gone= */ false);
    if (built < lane->n)
        tun_refusals_note(&c->refusals, before(lane, built), lane->hop[built], now(c),
                          tun_client_rng(c));
    tun_ahead_forget(c, lane);
}

/* After so long without an answer a hop is avoided until it is judged: whoever
 * builds anew in the meantime should not meet the same one again. */
static cv_usec doubt(const struct tun_client *c) {
    cv_usec d = 2 * c->build_time;
    return d == 0 || d > DOUBT_MAX ? DOUBT_MAX : d < DOUBT_MIN ? DOUBT_MIN : d;
}

/* Asks every hop, unless they are being asked. */
static void examine(struct tun_client *c, struct tun_lane *lane) {
    if (!lane->suspect) {
        lane->suspect = true;
        lane->suspect_until = cv_usec_add(now(c), tun_client_patience(c->t));
        lane->doubt_at = cv_usec_add(now(c), doubt(c));
        for (unsigned i = 0; i < lane->n; i++) {
            if (tun_circuit_request(c->t, &c->now, lane->circuit, i, TUN_CMD_PING, NULL, 0,
                                    &lane->ping[i]))
                lane->ping[i] = 0;
        }
    }
    tun_client_by(c, lane->doubt_at < lane->suspect_until ? lane->doubt_at : lane->suspect_until);
}

void tun_client_suspect(struct tunnel *t, const struct cv_now *at, cv_handle circuit) {
    struct tun_client *c = tun_attached(t, TUN_USER_CLIENT);
    struct tun_lane *lane = tun_ahead_lane(c, circuit);
    struct tun_circuit_info info;
    c->now = *at;
    if (!lane || tun_circuit_info(t, circuit, &info) || !info.ready ||
        tun_circuit_give(t, circuit, TUN_USER_CLIENT)) {
        tun_circuit_close(t, at, circuit);
        tun_client_failed(t, at, circuit, TUN_HOPS_MAX);
        return;
    }
    examine(c, lane);
    lane->suspect_kept = false;
}

void tun_client_probe(struct tunnel *t, const struct cv_now *at, cv_handle circuit) {
    struct tun_client *c = tun_attached(t, TUN_USER_CLIENT);
    struct tun_lane *lane = tun_ahead_lane(c, circuit);
    if (!lane || lane->suspect)
        return;
    c->now = *at;
    examine(c, lane);
    lane->suspect_kept = true;
}

bool tun_client_is_dead(const struct tunnel *t, cv_handle circuit) {
    const struct tun_lane *lane = tun_ahead_lane(tun_attached(t, TUN_USER_CLIENT), circuit);
    return lane && lane->dead;
}

void tun_client_on_pong(struct tunnel *t, const struct cv_now *at, const struct tun_event *ev) {
    struct tun_client *c = tun_attached(t, TUN_USER_CLIENT);
    c->now = *at;
    tun_ahead_on_reply(c, ev);
}

void tun_ahead_on_reply(struct tun_client *c, const struct tun_event *ev) {
    struct tun_lane *lane = tun_ahead_lane(c, ev->reply.circuit);
    if (!lane || !lane->suspect || ev->reply.err)
        return;
    for (unsigned i = 0; i < lane->n; i++) {
        /* What a relay says unasked has transaction 0, and is no answer of who gave his. */
        if (!lane->ping[i] || lane->ping[i] != ev->reply.transaction)
            continue;
        lane->ping[i] = 0;
        if (lane->doubted)
            forgive(c, lane, i); /* it was only slow */
    }
}

/* The first that did not answer yet. */
static bool silent(const struct tun_lane *lane, unsigned *ret) {
    for (*ret = 0; *ret < lane->n; ++*ret)
        if (lane->ping[*ret])
            return true;
    return false;
}

/* Time is up for a suspect: whoever comes first of those that did not answer. */
static void judge(struct tun_client *c, struct tun_lane *lane) {
    unsigned at;
    if (silent(lane, &at)) {
        shun(c, lane, at, SHUN, /* gone= */ true);
        lane->dead = true;
    }
    lane->suspect = lane->doubted = false;
    if (lane->suspect_kept)
        return;
    tun_circuit_close(c->t, &c->now, lane->circuit);
    tun_ahead_forget(c, lane);
}

static void doubt_due(struct tun_client *c, struct tun_lane *lane) {
    unsigned at;
    if (lane->doubted || !tun_due(lane->doubt_at, now(c)))
        return;
    lane->doubted = true;
    if (silent(lane, &at))
        shun(c, lane, at, lane->suspect_until - now(c), /* gone= */ true);
}

static bool has_gone(const struct tun_client *c, const struct tun_lane *lane) {
    for (unsigned i = 0; i < lane->n; i++) {
        const struct tun_relay *r = tun_directory_find(c->dir, lane->hop[i], lane->day[i]);
        if (r && r->gone_until > now(c))
            return true;
    }
    return false;
}

bool tun_client_avoids(const struct tunnel *t, cv_handle circuit) {
    struct tun_client *c = tun_attached(t, TUN_USER_CLIENT);
    const struct tun_lane *lane = tun_ahead_lane(c, circuit);
    return lane && has_gone(c, lane);
}

/* ---- EXTEND's ERROR(differs) ---- */

void tun_ahead_on_differs(struct tun_client *c, const struct tun_relay_ref *meant,
                          const struct tun_relay_ref *by, const uint8_t *raw, size_t len) {
    struct tun_descriptor desc;
    struct tun_relay *r = NULL;
    enum cv_err err = tun_descriptor_open(raw, len, tun_config(c->t)->network_id, &desc);
    bool about = !err && desc.day == meant->day &&
                 memcmp(desc.identity, meant->identity, CV_KEY) == 0 &&
                 memcmp(desc.digest, meant->d, TUN_DIGEST) != 0;
    if (about)
        err = tun_client_learn(c, raw, len, &r);
    CV_TRACE(TUNNEL, extend_differs, now(c), "relay=%08x by=%08x err=%d",
             cv_id_short(meant->identity, CV_KEY), cv_id_short(by->identity, CV_KEY), err);
    if (about && r && r->liar)
        return; /* it signed both */
    /* Nothing that differs: whoever says so only does not want to. */
    r = tun_directory_find(c->dir, by->identity, by->day);
    if (r)
        r->shunned_until = cv_usec_add(now(c), SHUN);
}

/* ---- ahead ---- */

uint32_t tun_ahead_ready(const struct tun_client *c) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->lanes; i++)
        n += c->lane[i].ahead && c->lane[i].ready_at;
    return n;
}

static bool fresh(const struct tun_client *c, const struct tun_lane *lane) {
    return lane->ahead && lane->ready_at && cv_usec_since(now(c), lane->ready_at) < STALE;
}

/* One more, ending at another relay than those that wait already if possible. It may
 * become a circuit whose hops others are shown: so its last is drawn as theirs are. */
static enum cv_err build_ahead(struct tun_client *c) {
    uint8_t last[TUN_AHEAD][CV_KEY];
    size_t n = 0;
    for (uint32_t i = 0; i < c->lanes && n < TUN_AHEAD; i++) {
        if (c->lane[i].ahead)
            memcpy(last[n++], c->lane[i].hop[c->lane[i].n - 1], CV_KEY);
    }
    struct tun_path_request req = {.purpose = TUN_PURPOSE_MEET,
                                   .avoid = (const uint8_t(*)[CV_KEY])last,
                                   .avoids = n,
                                   .refusals = &c->refusals};
    struct tun_path path;
    enum cv_err err = tun_path_choose(&path, c->dir, &c->guards, &req, &c->now, tun_client_rng(c));
    if (err == CV_ERR_UNREACHABLE && n > 0) {
        req.avoids = 0;
        err = tun_path_choose(&path, c->dir, &c->guards, &req, &c->now, tun_client_rng(c));
    }
    cv_handle circuit;
    return err ? err : build(c, &path, TUN_USER_CLIENT, /* ahead= */ true, &circuit);
}

static void ahead_close(struct tun_client *c, struct tun_lane *lane) {
    tun_circuit_close(c->t, &c->now, lane->circuit);
    tun_ahead_forget(c, lane);
}

/* Whoever lets a node stand all day pays for what nobody takes: a third less. */
static unsigned ahead_wanted(struct tun_client *c) {
    cv_usec from = c->wanted_at > c->ready_at ? c->wanted_at : c->ready_at;
    return c->ready_at && cv_usec_since(now(c), from) >= IDLE ? TUN_AHEAD_IDLE : TUN_AHEAD;
}

void tun_ahead_work(struct tun_client *c) {
    unsigned waiting = 0, want = ahead_wanted(c);
    for (uint32_t i = 0; i < c->lanes;) {
        struct tun_lane *lane = &c->lane[i];
        cv_usec end = cv_usec_add(lane->ready_at ? lane->ready_at : lane->opened_at,
                                  lane->ready_at ? STALE : tun_client_patience(c->t));
        if (lane->suspect && tun_due(lane->suspect_until, now(c))) {
            judge(c, lane);
        } else if (lane->suspect) {
            doubt_due(c, lane);
            tun_client_by(c, lane->doubted ? lane->suspect_until : lane->doubt_at);
            i++;
        } else if (!lane->ahead) {
            i++;
        } else if (lane->ready_at && has_gone(c, lane)) {
            ahead_close(c, lane); /* it goes through somebody who is gone */
        } else if (!tun_due(end, now(c))) {
            tun_client_by(c, end);
            waiting++;
            i++;
        } else if (lane->ready_at) {
            ahead_close(c, lane);
        } else {
            struct tun_circuit_info info = {.built = 0};
            cv_handle circuit = lane->circuit;
            (void)tun_circuit_info(c->t, circuit, &info);
            tun_circuit_close(c->t, &c->now, circuit);
            tun_client_failed(c->t, &c->now, circuit, info.built);
        }
    }
    if (waiting >= want)
        return;
    if (!tun_due(c->ahead_at, now(c))) {
        tun_client_by(c, c->ahead_at);
        return;
    }
    while (waiting < want && build_ahead(c) == CV_ERR_OK)
        waiting++;
    if (waiting < want) {
        /* No path yet, or no room: whatever changes calls us again, and so does time. */
        c->ahead_at = cv_usec_add(now(c), c->ready_at ? CV_SEC(1) : CV_MSEC(50));
        tun_client_by(c, c->ahead_at);
    }
}

static void all_answered(struct tun_client *c, struct tun_lane *lane) {
    count_guard(c, lane, /* through= */ true);
    for (unsigned i = 0; i < lane->n; i++) {
        forgive(c, lane, i);
        tun_refusals_forget(&c->refusals, before(lane, i), lane->hop[i]);
    }
}

void tun_client_built(struct tunnel *t, const struct cv_now *at, cv_handle circuit) {
    struct tun_client *c = tun_attached(t, TUN_USER_CLIENT);
    struct tun_lane *lane = c ? tun_ahead_lane(c, circuit) : NULL;
    if (!lane)
        return;
    c->now = *at;
    all_answered(c, lane);
}

void tun_ahead_on_circuit(struct tun_client *c, const struct tun_event *ev) {
    if (ev->kind == TUN_EVENT_CIRCUIT_READY) {
        struct tun_lane *lane = tun_ahead_lane(c, ev->circuit_ready.circuit);
        if (lane)
            all_answered(c, lane);
        if (lane && !lane->ready_at) {
            lane->ready_at = now(c);
            cv_usec took = lane->ready_at - lane->opened_at;
            c->build_time = c->build_time ? (7 * c->build_time + took) / 8 : took;
        }
        if (c->ready_at == 0)
            c->ready_at = now(c);
        c->ahead_pause = 0;
        return;
    }
    tun_client_failed(c->t, &c->now, ev->circuit_down.circuit, ev->circuit_down.hops);
    /* Not at once: a network that is down must not be hammered. */
    c->ahead_pause = c->ahead_pause ? c->ahead_pause * 2 : CV_MSEC(50);
    if (c->ahead_pause > CV_SEC(10))
        c->ahead_pause = CV_SEC(10);
    c->ahead_at = cv_usec_add(now(c), cv_rng_between(tun_client_rng(c), c->ahead_pause / 2,
                                                     c->ahead_pause + c->ahead_pause / 2));
}

/* ---- giving circuits away ---- */

static bool listed(const uint8_t (*list)[CV_KEY], size_t n, const uint8_t identity[CV_KEY]) {
    for (size_t i = 0; i < n; i++) {
        if (memcmp(list[i], identity, CV_KEY) == 0)
            return true;
    }
    return false;
}

static bool last_fits(const struct tun_client *c, const struct tun_path_request *req,
                      const struct tun_relay *last, unsigned flag) {
    if (req->named)
        return req->named == last;
    if (flag == TUN_RELAY_DHT &&
        !tun_descriptor_has_family(&last->desc, tun_directory_dht_family(c->dir, last->desc.day)))
        return false;
    return (last->desc.flags & flag) == flag &&
           !listed(req->avoid, req->avoids, last->desc.identity);
}

/* Can this lane serve, as it is or with one hop more (*ret_more, else NULL)? */
static bool reaches(struct tun_client *c, const struct tun_lane *lane,
                    const struct tun_path_request *req, struct tun_path *path,
                    struct tun_relay **ret_more) {
    unsigned flag = tun_path_flag(req->purpose);
    *ret_more = NULL;
    if (!lane_path(c, lane, path) || !tun_path_ok(path, &c->guards, network_size(c)) ||
        has_gone(c, lane))
        return false;
    for (unsigned i = 0; i < lane->n; i++) {
        if (req->without && memcmp(lane->hop[i], req->without, CV_KEY) == 0)
            return false;
        if (path->hop[i]->shunned_until > now(c))
            return false;
    }
    if (tun_path_length(req->purpose) == lane->n) {
        path->purpose = req->purpose;
        path->named = req->named;
        return last_fits(c, req, path->hop[lane->n - 1], flag);
    }

    /* Only a named relay is worth a hop more: what we choose freely is chosen
     * together with the rest. */
    if (!req->named || !req->named->confirmed || req->named->liar || req->named->raw_len == 0)
        return false;
    const struct tun_refusal *f =
        tun_refusals_find(&c->refusals, lane->hop[lane->n - 1], req->named->desc.identity);
    if (f && f->avoided_until > now(c))
        return false;
    *ret_more = req->named;
    return tun_path_extend(path, req->named, /* named= */ true, req->purpose, &c->guards,
                           network_size(c));
}

/* And would it leave relays for a second one, where that is wanted? */
static bool serves(struct tun_client *c, const struct tun_lane *lane,
                   const struct tun_path_request *req, struct tun_path *path,
                   struct tun_relay **ret_more) {
    struct tun_path_request asked = *req;
    asked.refusals = &c->refusals;
    return reaches(c, lane, req, path, ret_more) &&
           tun_path_leaves_second(path, c->dir, &c->guards, &asked, &c->now, tun_client_rng(c));
}

/* A circuit that waits, given to `user`. Who wants a third hop that stays, or to be kept
 * apart from others, has one built: to pass over guards here is to choose what stands
 * behind them. For the same reason a lane that only its end makes unfit is not left for
 * the next who asks. */
static enum cv_err take_ahead(struct tun_client *c, const struct tun_path_request *req,
                              enum tun_user user, cv_handle *ret) {
    if (req->apart || req->third)
        return CV_ERR_NOENT;
    for (uint32_t i = 0; i < c->lanes;) {
        struct tun_lane *lane = &c->lane[i];
        struct tun_path path;
        struct tun_relay *more;
        if (!fresh(c, lane) || !serves(c, lane, req, &path, &more)) {
            i++;
            continue;
        }
        if (!tun_path_ok(&path, &c->guards, network_size(c))) {
            ahead_close(c, lane); /* another lane stands here now */
            continue;
        }
        if (tun_circuit_give(c->t, lane->circuit, user)) {
            i++;
            continue;
        }
        lane->ahead = false;
        lane->purpose = req->purpose;
        if (more) {
            struct tun_relay_ref ref;
            tun_relay_ref_fill(&ref, more, c->now.wall);
            if (tun_circuit_extend(c->t, &c->now, lane->circuit, &ref)) {
                ahead_close(c, lane);
                return CV_ERR_NOENT;
            }
            lane_hops(lane, &path);
        }
        *ret = lane->circuit;
        return CV_ERR_OK;
    }
    return CV_ERR_NOENT;
}

enum cv_err tun_client_open(struct tunnel *t, const struct cv_now *at,
                            const struct tun_path_request *req, enum tun_user user,
                            cv_handle *ret) {
    struct tun_client *c = tun_attached(t, TUN_USER_CLIENT);
    assert(c && !c->relay);
    c->now = *at;
    if (user != TUN_USER_CLIENT)
        c->wanted_at = at->mono;
    if (take_ahead(c, req, user, ret) == CV_ERR_OK) {
        /* Another is built in its place, a little later: whoever watches the
         * first link should not see the two as one movement. */
        c->ahead_at =
            cv_usec_add(at->mono, cv_rng_between(tun_client_rng(c), CV_MSEC(50), CV_MSEC(500)));
        tun_client_by(c, c->ahead_at);
        return CV_ERR_OK;
    }
    struct tun_path path;
    struct tun_path_request asked = *req;
    asked.refusals = &c->refusals;
    enum cv_err err =
        tun_path_choose(&path, c->dir, &c->guards, &asked, &c->now, tun_client_rng(c));
    return err ? err : build(c, &path, user, /* ahead= */ false, ret);
}
