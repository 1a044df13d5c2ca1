/* What a client is for, in the order in which it happens (client.h). */
#include "tunnel/client.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tunnel/clientstate.h"
#include "tunnel/linkcmd.h"

static cv_usec now(const struct tun_client *c) {
    return c->now.mono;
}

static uint32_t today(const struct tun_client *c) {
    return tun_descriptor_day(c->now.wall);
}

/* ---- descriptors ---- */

void tun_client_day(struct tun_client *c, const struct cv_addr *from, uint32_t day) {
    tun_calendar_note(&c->calendar, from, day, c->now.wall);
    struct tun_event ev = {.kind = TUN_EVENT_CLOCK_OFF};
    ev.clock_off.seconds = tun_calendar_off(&c->calendar) * 86400;
    bool off = ev.clock_off.seconds != 0, told = c->calendar_told_at != 0;
    if (off ? told && cv_usec_since(now(c), c->calendar_told_at) < CV_SEC(60) : !told)
        return;
    c->calendar_told_at = off ? now(c) : 0;
    tun_event_push(c->t, &ev);
}

static void tell_proof(struct tun_client *c, const struct tun_relay *r) {
    if (!r->other)
        return; /* no memory for it: it is not used, and others will find out */
    struct tun_event ev = {.kind = TUN_EVENT_PROOF};
    memcpy(c->proof[0], r->raw, r->raw_len);
    memcpy(c->proof[1], r->other, r->other_len);
    memcpy(c->proof_liar, r->desc.identity, CV_KEY);
    c->proof_len[0] = ev.proof.first_len = r->raw_len;
    c->proof_len[1] = ev.proof.second_len = r->other_len;
    ev.proof.first = c->proof[0];
    ev.proof.second = c->proof[1];
    tun_event_push(c->t, &ev);
    /* Relays compare what they know anyway. */
    c->proof_left = c->relay ? 0 : TUN_PROOF_TOLD;
    if (c->proof_left > 0)
        tun_sync_soon(c);
}

enum cv_err tun_client_learn(struct tun_client *c, const void *raw, size_t len,
                             struct tun_relay **ret) {
    struct tun_relay *r = NULL;
    enum cv_err err = tun_directory_add(c->dir, c->now.wall, raw, len, &r, NULL);
    if (err == CV_ERR_DIFFERS)
        tell_proof(c, r);
    if (err == CV_ERR_OK) {
        c->need_pause = 0;
        if (c->relay && r->desc.day <= today(c)) /* tomorrow's nobody answers with yet */
            tun_contact_reach(c, r);             /* passed on only after it answered us */
    }
    if (ret)
        *ret = r;
    return err;
}

/* ---- guards ---- */

static void choose_first(struct tun_client *c) {
    unsigned missing = 0;
    for (unsigned i = 0; i < TUN_GUARD_SPARE; i++)
        missing += !c->guards.first[i].set;
    unsigned linked = tun_contact_linked(c);
    size_t n = tun_directory_count(c->dir, today(c), TUN_DIRECTORY_KNOWN);
    bool spare = n >= TUN_SPARE_FROM && !c->guards.first[TUN_GUARD_SPARE].set;
    if ((missing == 0 && !spare) || linked == 0)
        return;
    /* A moment for more to answer: the choice is for months. */
    cv_usec age = cv_usec_since(now(c), c->first_link_at);
    cv_usec wait = linked >= TUN_CONTACTS_WANTED ? 0
                   : linked >= 3                 ? CV_MSEC(250)
                   : linked == 2                 ? CV_MSEC(1000)
                                                 : CV_SEC(5);
    if (missing > 0 && age < wait) {
        tun_client_by(c, cv_usec_add(c->first_link_at, wait));
        return;
    }
    struct tun_guard_contact contacts[TUN_CONTACTS_MAX];
    size_t count = 0;
    for (unsigned i = 0; i < TUN_CONTACTS_MAX; i++) {
        const struct tun_neighbour *nb = &c->neighbour[i];
        const struct tun_relay *r =
            nb->set && nb->up ? tun_directory_find_now(c->dir, nb->identity, c->now.wall) : NULL;
        if (r)
            contacts[count++] = (struct tun_guard_contact){.relay = r, .addr = nb->addr};
    }
    if (!tun_guards_choose_first(&c->guards, contacts, count, n, c->dir, c->now.wall,
                                 tun_client_rng(c)))
        return;
    for (unsigned i = 0; i < TUN_GUARD_FIRSTS; i++) {
        struct tun_guard *g = &c->guards.first[i];
        const struct tun_neighbour *nb = g->set ? tun_contact_neighbour(c, g->identity) : NULL;
        g->up = nb && nb->up;
    }
    c->guards_at = now(c);
    c->guards_change = true;
}

/* The second layer is drawn once from all there is, not from whoever was
 * confirmed first: wait until every neighbour has told what he knows. */
static void choose_second(struct tun_client *c) {
    if (!c->guards.first[0].set)
        return;
    bool complete = true;
    for (unsigned i = 0; i < TUN_CONTACTS_MAX; i++) {
        const struct tun_neighbour *n = &c->neighbour[i];
        complete &= !n->set || !n->up || n->sync.complete;
    }
    cv_usec patience = cv_usec_add(c->guards_at, tun_client_pause(c, CV_MSEC(1500), CV_MSEC(700)));
    if (!complete && !tun_due(patience, now(c))) {
        tun_client_by(c, patience);
        return;
    }
    c->guards_change |=
        tun_guards_choose_second(&c->guards, c->dir, c->now.wall, tun_client_rng(c));
}

/* Whom we gave up for letting too little through is a stranger again. */
static void forget_dismissed(struct tun_client *c) {
    struct tun_neighbour *n = tun_contact_neighbour(c, c->guards.dismissed);
    if (n && !tun_guards_find_sampled(&c->guards, n->identity))
        memset(n, 0, sizeof *n);
}

static void guards_work(struct tun_client *c) {
    bool any = tun_directory_count(c->dir, today(c), TUN_DIRECTORY_CONFIRMED) > 0;
    if (any && c->anew_until == CV_USEC_NEVER)
        c->anew_until = cv_usec_add(now(c), tun_client_pause(c, CV_SEC(60), CV_SEC(20)));
    bool told = tun_due(c->anew_until, now(c));
    if (!told)
        tun_client_by(c, c->anew_until);
    if (c->cut_at == 0 && any &&
        tun_guards_retire(&c->guards, c->dir, c->ready_at > 0 && told, c->now.wall)) {
        c->guards_change = true;
        forget_dismissed(c);
    }
    choose_first(c);
    choose_second(c);
    if (!c->guards_change)
        return;
    c->guards_change = false;
    /* The event points here until it is taken; two, so that a second change
     * leaves the first one whole. */
    uint8_t *blob = c->blob[c->blob_next];
    c->blob_next ^= 1;
    struct tun_event ev = {.kind = TUN_EVENT_SAVE};
    ev.save.which = TUN_BLOB_GUARDS;
    ev.save.len = tun_guards_save(&c->guards, blob);
    ev.save.blob = blob;
    tun_event_push(c->t, &ev);
}

/* ---- needs ---- */

static void needs_work(struct tun_client *c) {
    uint32_t known = (uint32_t)tun_directory_count(c->dir, today(c), TUN_DIRECTORY_KNOWN);
    bool enough = !c->relay && c->ready_at && known >= TUN_RELAYS_ENOUGH;
    if (known != c->need_known) {
        c->need_known = known;
        c->need_pause = 0;
    }
    if (enough)
        return;
    if (tun_due(c->need_at, now(c))) {
        struct tun_event ev = {.kind = TUN_EVENT_NEED_CONTACTS};
        ev.need_contacts.known = known;
        ev.need_contacts.wanted = TUN_RELAYS_ENOUGH;
        tun_event_push(c->t, &ev);
        c->need_pause =
            c->need_pause ? c->need_pause * 2 : tun_client_pause(c, CV_MSEC(1000), CV_MSEC(300));
        if (c->need_pause > CV_SEC(60))
            c->need_pause = CV_SEC(60);
        c->need_at = cv_usec_add(now(c), c->need_pause);
    }
    tun_client_by(c, c->need_at);
}

bool tun_client_is_short(const struct tun_client *c) {
    return tun_directory_count(c->dir, today(c), TUN_DIRECTORY_CONFIRMED) < TUN_RELAYS_ENOUGH;
}

/* From 03:00 UTC on everybody uses other descriptors. Who did not learn them before (asleep,
 * cut off, or relays told him nothing) begins anew, as at the first start: no circuit can be
 * built, over which others could be asked. */
static void day_work(struct tun_client *c) {
    uint32_t day = today(c), before = c->day;
    if (c->now.wall <= 0)
        return;
    int64_t left = tun_descriptor_day_begins(day + 1) - c->now.wall;
    tun_client_by(c, cv_usec_add(now(c), CV_SEC((uint64_t)left)));
    c->day = day;
    if (before == 0 || before == day)
        return;
    size_t n = tun_directory_count(c->dir, day, TUN_DIRECTORY_CONFIRMED);
    c->expire_at = now(c); /* its guards' descriptors */
    if (n >= TUN_RELAYS_ENOUGH &&
        2 * n >= tun_directory_count(c->dir, before, TUN_DIRECTORY_CONFIRMED))
        return;
    /* Whoever sleeps would have other L every day, because the first answers do not name them. */
    c->anew_until = CV_USEC_NEVER;
    c->far.rounds = 0;
    c->far_pause = 0;
    c->far_at = now(c);
    for (unsigned i = 0; i < TUN_CONTACTS_MAX; i++) {
        c->neighbour[i].sync.pause = 0;
        c->neighbour[i].sync.next_at = now(c);
    }
}

static void upkeep(struct tun_client *c) {
    if (!tun_due(c->expire_at, now(c))) {
        tun_client_by(c, c->expire_at);
        return;
    }
    c->expire_at = cv_usec_add(now(c), CV_SEC(600));
    tun_directory_expire(c->dir, c->now.wall);
    /* Guards' descriptors of the new day are asked for at their own addresses; when there is
     * nobody else's either, those of the other contacts, too. */
    unsigned n = TUN_GUARD_FIRSTS + (tun_client_is_short(c) ? TUN_CONTACTS_WANTED : 0);
    for (unsigned i = 0; i < n; i++) {
        const struct tun_guard *g =
            i < TUN_GUARD_FIRSTS ? &c->guards.first[i] : &c->guards.contact[i - TUN_GUARD_FIRSTS];
        if (i >= TUN_GUARD_FIRSTS && !tun_contact_neighbour(c, g->identity))
            continue; /* of an earlier run, and not asked in this one (yet) */
        if (g->set && g->addr.family && !tun_directory_find(c->dir, g->identity, today(c)))
            tun_contact_guard(c, g);
    }
    tun_client_by(c, c->expire_at);
}

/* NULL: there is none (yet). */
static struct tun_relay *own_add(struct tun_client *c, const uint8_t *own, size_t len) {
    struct tun_relay *r = NULL;
    if (own)
        (void)tun_directory_add(c->dir, c->now.wall, own, len, &r, NULL);
    if (r) {
        r->reached = r->outside = r->tried;
        r->kept = 0;
        r->reached_at = (struct cv_addr){.family = 0}; /* nobody goes to itself */
    }
    return r;
}

/* What we say of ourselves belongs to what we tell of others: two relays that
 * know the same then hold the same. */
static void own_work(struct tun_client *c) {
    if (!tun_due(c->own_at, now(c))) {
        tun_client_by(c, c->own_at);
        return;
    }
    size_t len;
    const uint8_t *own = tun_own_descriptor(c->t, c->now.wall, &len);
    struct tun_relay *r = own_add(c, own, len);
    own = tun_next_descriptor(c->t, c->now.wall, &len);
    (void)own_add(c, own, len);
    c->own_at = cv_usec_add(now(c), r ? CV_SEC(60) : CV_MSEC(200));
    tun_client_by(c, c->own_at);
}

/* ---- the engine's calls ---- */

static void work(struct tun_client *c) {
    c->next = CV_USEC_NEVER;
    if (!c->relay)
        day_work(c);
    upkeep(c);
    tun_contact_work(c);
    tun_sync_work(c);
    tun_probe_work(c);
    if (c->relay) {
        tun_reach_work(c);
        own_work(c);
    } else {
        guards_work(c);
        tun_ahead_work(c);
    }
    needs_work(c);
}

static void on_event(void *ctx, struct tunnel *t, const struct cv_now *at,
                     const struct tun_event *ev) {
    struct tun_client *c = ctx;
    (void)t;
    c->now = *at;
    if (tun_probe_on_event(c, ev)) {
        tun_client_by(c, c->probe.at);
        return;
    }
    switch (ev->kind) {
    case TUN_EVENT_CIRCUIT_READY:
    case TUN_EVENT_CIRCUIT_DOWN:
        tun_ahead_on_circuit(c, ev);
        tun_sync_on_circuit(c, ev);
        break;
    case TUN_EVENT_REPLY:
        tun_sync_on_reply(c, ev);
        tun_ahead_on_reply(c, ev);
        break;
    case TUN_EVENT_REQUEST:
        tun_sync_on_request(c, ev);
        return; /* others' questions move nothing of ours */
    case TUN_EVENT_LINK_UP:
    case TUN_EVENT_LINK_DOWN:
        /* neighbours are who is there by a link of this worker's (worker.h) */
        if (ev->kind == TUN_EVENT_LINK_DOWN || !ev->link_up.ours ||
            tun_link_get(c->t, ev->link_up.link))
            tun_contact_on_link(c, ev);
        if (ev->kind == TUN_EVENT_LINK_UP)
            tun_reach_on_link(c, ev);
        break;
    case TUN_EVENT_LINK_MESSAGE:
        if (ev->link_message.command == TUN_LINKCMD_DESCRIPTORS)
            tun_sync_on_link(c, ev);
        else if (ev->link_message.command == TUN_LINKCMD_REACH)
            tun_reach_on_message(c, ev);
        break;
    case TUN_EVENT_NONE:
    case TUN_EVENT_DATAGRAM:
    case TUN_EVENT_HOP_DATAGRAM:
    case TUN_EVENT_HOP_DOWN:
    case TUN_EVENT_LINK_CARRIED:
    case TUN_EVENT_PEER_UP:
    case TUN_EVENT_PEER_DOWN:
    case TUN_EVENT_HIDDEN_STATE:
    case TUN_EVENT_POINTER:
    case TUN_EVENT_SAVE:
    case TUN_EVENT_NEED_CONTACTS:
    case TUN_EVENT_PROOF:
    case TUN_EVENT_CLOCK_OFF:
        return;
    }
    work(c);
}

static bool on_raw(void *ctx, struct tunnel *t, const struct cv_now *at, const struct cv_addr *from,
                   const uint8_t *buf) {
    struct tun_client *c = ctx;
    (void)t;
    c->now = *at;
    if (!tun_reach_on_raw(c, from, buf) && !tun_contact_on_raw(c, from, buf))
        return false;
    work(c);
    return true;
}

static cv_usec next_timeout(const void *ctx) {
    const struct tun_client *c = ctx;
    return cv_usec_min(c->next, tun_contact_silent_at(c));
}

static void on_timeout(void *ctx, struct tunnel *t, const struct cv_now *at) {
    struct tun_client *c = ctx;
    (void)t;
    c->now = *at;
    if (tun_due(next_timeout(c), now(c)))
        work(c);
}

static enum cv_err find_relay(void *ctx, const uint8_t identity[CV_KEY], uint32_t day,
                              struct tun_relay_ref *ret, const uint8_t **ret_descriptor,
                              size_t *ret_len) {
    const struct tun_client *c = ctx;
    const struct tun_relay *r = tun_directory_find(c->dir, identity, day);
    /* Whoever asks for EXTEND may have signed it himself: only an address that
     * answered us is sent a link handshake. */
    if (!r || r->raw_len == 0 || r->liar || !r->reached)
        return CV_ERR_NOENT;
    tun_relay_ref_fill(ret, r, c->now.wall);
    if (ret_descriptor) {
        *ret_descriptor = r->raw;
        *ret_len = r->raw_len;
    }
    return CV_ERR_OK;
}

static void on_differs(void *ctx, const struct cv_now *at, const struct tun_relay_ref *meant,
                       const struct tun_relay_ref *by, const uint8_t *raw, size_t len) {
    struct tun_client *c = ctx;
    c->now = *at;
    tun_ahead_on_differs(c, meant, by, raw, len);
}

static void client_free(void *ctx) {
    struct tun_client *c = ctx;
    if (!c)
        return;
    tun_contact_done(c);
    tun_reach_done(c);
    tun_directory_free(c->dir);
    cv_wipe(c, sizeof *c);
    free(c);
}

static const struct tun_user_ops ops = {
    .on_event = on_event,
    .on_raw = on_raw,
    .on_timeout = on_timeout,
    .next_timeout = next_timeout,
    .find_relay = find_relay,
    .on_differs = on_differs,
    .free = client_free,
};

enum cv_err tun_client_attach(struct tunnel *t, const struct cv_now *at, const void *guards,
                              size_t guards_len) {
    const struct tun_config *cfg = tun_config(t);
    struct tun_client *c = calloc(1, sizeof *c);
    if (!c)
        return CV_ERR_NOMEM;
    c->t = t;
    c->now = *at;
    c->relay = cfg->relay;
    c->hurry = cfg->hurry;
    c->attached_at = at->mono;
    c->measure_from = cfg->measure_from ? cfg->measure_from : TUN_WEIGHTS_FROM;
    tun_describe_net_init(&c->net, cfg->network_id);
    tun_questions_init(&c->questions, tun_rng(t));
    tun_questions_init(&c->reach.questions, tun_rng(t));
    cv_tokenbucket_init(&c->answers, TUN_ANSWERS_S, TUN_ANSWERS_BURST, at->mono);
    cv_tokenbucket_init(&c->told, TUN_ANSWERS_S, TUN_ANSWERS_BURST, at->mono);
    cv_tokenbucket_init(&c->shown, TUN_PROOFS_S, TUN_PROOFS_BURST, at->mono);
    c->dir = tun_directory_new(cfg->network_id, tun_rng(t));
    if (!c->dir) {
        free(c);
        return CV_ERR_NOMEM;
    }
    tun_directory_speaks(c->dir, cfg->family);
    if (!c->relay && cfg->identity)
        tun_directory_own(c->dir, cfg->identity->public_key);
    if (!c->relay && guards && tun_guards_load(&c->guards, guards, guards_len) == CV_ERR_OK)
        c->guards_saved = tun_guards_sampled(&c->guards) > 0;
    tun_attach(t, TUN_USER_CLIENT, &ops, c);
    for (unsigned i = 0; i < TUN_GUARD_FIRSTS; i++) {
        const struct tun_guard *g = &c->guards.first[i];
        if (g->set)
            tun_contact_guard(c, g);
    }
    c->next = at->mono;
    return CV_ERR_OK;
}

enum cv_err tun_guards_blob_check(const void *blob, size_t len) {
    struct tun_guards g;
    return tun_guards_load(&g, blob, len);
}

struct tun_directory *tun_client_directory(const struct tunnel *t) {
    struct tun_client *c = tun_attached(t, TUN_USER_CLIENT);
    return c ? c->dir : NULL;
}

enum cv_err tun_client_show(struct tunnel *t, const struct cv_now *at, const void *raw,
                            size_t len) {
    struct tun_client *c = tun_attached(t, TUN_USER_CLIENT);
    c->now = *at;
    return tun_client_learn(c, raw, len, NULL);
}

const struct tun_guards *tun_client_guards(const struct tunnel *t) {
    struct tun_client *c = tun_attached(t, TUN_USER_CLIENT);
    return c ? &c->guards : NULL;
}

/* ---- the node's calls ---- */

enum cv_err tun_contact(struct tunnel *t, const struct cv_now *at, const struct cv_addr *addr) {
    struct tun_client *c = tun_attached(t, TUN_USER_CLIENT);
    if (!c)
        return CV_ERR_INVAL;
    c->now = *at;
    return tun_contact_add(c, addr, /* guard= */ false);
}

bool tun_poll_elsewhere(struct tunnel *t, const struct cv_now *at, struct cv_addr *ret_to,
                        uint8_t ret[TUN_DATAGRAM]) {
    struct tun_client *c = tun_attached(t, TUN_USER_CLIENT);
    if (!c || !c->relay)
        return false;
    c->now = *at;
    return tun_reach_elsewhere(c, ret_to, ret);
}

bool tun_on_elsewhere(struct tunnel *t, const struct cv_now *at, const struct cv_addr *from,
                      const uint8_t *buf, size_t len) {
    struct tun_client *c = tun_attached(t, TUN_USER_CLIENT);
    if (!c || !c->relay || len != TUN_DATAGRAM)
        return false;
    c->now = *at;
    if (!tun_reach_on_raw(c, from, buf))
        return false;
    work(c);
    return true;
}

enum cv_err tun_circuit_open(struct tunnel *t, const struct cv_now *at, enum tun_purpose purpose,
                             const uint8_t *named, cv_handle *ret) {
    struct tun_client *c = tun_attached(t, TUN_USER_CLIENT);
    if (!c || c->relay)
        return CV_ERR_INVAL;
    struct tun_path_request req = {.purpose = purpose};
    if (named) {
        req.named = tun_directory_find_now(c->dir, named, at->wall);
        c->now = *at;
        if (!req.named || !req.named->confirmed)
            tun_sync_wish(c);
        if (!req.named)
            return CV_ERR_NOENT;
    }
    cv_handle circuit;
    enum cv_err err = tun_client_open(t, at, &req, TUN_USER_NODE, &circuit);
    if (err)
        return err;
    struct tun_circuit_info info;
    if (tun_circuit_info(t, circuit, &info) == CV_ERR_OK && info.ready) {
        struct tun_event ev = {.kind = TUN_EVENT_CIRCUIT_READY};
        ev.circuit_ready.circuit = circuit;
        ev.circuit_ready.hops = info.hops;
        tun_event_push(t, &ev);
    }
    *ret = circuit;
    return CV_ERR_OK;
}

bool tun_client_guard(const struct tunnel *t, const struct cv_now *at, size_t i,
                      struct tun_client_guard *ret) {
    static const uint8_t none[CV_KEY];
    struct tun_client *c = tun_attached(t, TUN_USER_CLIENT);
    for (unsigned k = 0; c && k < TUN_GUARD_FIRSTS; k++) {
        const struct tun_guard *g = &c->guards.first[k];
        if (!g->set || i-- > 0)
            continue;
        const struct tun_neighbour *nb = tun_contact_neighbour(c, g->identity);
        uint32_t day = tun_descriptor_day(at->wall);
        const struct tun_relay *r = tun_directory_find(c->dir, g->identity, day);
        *ret = (struct tun_client_guard){.link = nb && nb->up ? nb->link : 0, .day = day};
        memcpy(ret->identity, g->identity, CV_KEY);
        if (r && r->raw_len && r->confirmed && !r->liar) {
            ret->issues = memcmp(r->desc.token_key, none, CV_KEY) != 0;
            memcpy(ret->token_key, r->desc.token_key, CV_KEY);
        }
        return true;
    }
    return false;
}

void tun_client_status(const struct tunnel *t, const struct cv_now *at,
                       struct tun_client_status *ret) {
    const struct tun_client *c = tun_attached(t, TUN_USER_CLIENT);
    *ret = (struct tun_client_status){0};
    if (!c)
        return;
    uint32_t day = tun_descriptor_day(at->wall);
    for (unsigned i = 0; i < TUN_ADDRESSES_MAX; i++)
        ret->addresses += c->address[i].addr.family && c->address[i].tries < UINT8_MAX;
    ret->contacts = tun_contact_linked(c);
    for (unsigned i = 0; i < 2; i++)
        tun_reach_status(c, i, &ret->reach[i].by, &ret->reach[i].not_by);
    ret->known = (uint32_t)tun_directory_count(c->dir, day, TUN_DIRECTORY_KNOWN);
    ret->confirmed = (uint32_t)tun_directory_count(c->dir, day, TUN_DIRECTORY_CONFIRMED);
    for (unsigned i = 0; i < TUN_GUARD_FIRSTS; i++) {
        ret->guards += c->guards.first[i].set;
        ret->guards_up += c->guards.first[i].set && c->guards.first[i].up;
        ret->guards_poor += tun_guards_is_poor(&c->guards, i);
    }
    for (unsigned i = 0; i < TUN_SECOND_MAX; i++)
        ret->seconds += c->guards.second[i].set;
    ret->ahead = tun_ahead_ready(c);
    ret->missing = ret->confirmed < TUN_RELAYS_ENOUGH ? TUN_RELAYS_ENOUGH - ret->confirmed : 0;
    ret->ready = c->ready_at != 0;
    ret->ready_at = c->ready_at;
}
