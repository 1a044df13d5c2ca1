/*
 * A relay is proven to have forged while a film is shared through others: whole nodes end their
 * links with it, whichever worker has them, and end those that are made anew. The film goes on.
 */
#include <stdio.h>
#include <string.h>

#include "node/state.h"
#include "reputation/ledger_internal.h"
#include "scenarios/scenario.h"
#include "scenarios/world.h"
#include "tunnel/core.h"

enum { RELAYS = 9, FILM = 1 << 20, FORGER = 0, SOON = 60 };

static struct tunnel *engine(const struct world_node *n, unsigned worker) {
    return worker ? n->workers[worker] : n->node->relay;
}

/* Links of a relay's workers whose other end proved to be the forger. */
static unsigned linked(const struct world *w, unsigned relay) {
    const struct world_node *n = w->nodes[relay];
    const uint8_t *forger = w->nodes[FORGER]->cfg.identity_secret.public_key;
    unsigned found = 0;
    for (unsigned i = 0; i == 0 || i < n->cfg.relay_workers; i++) {
        struct tunnel *t = engine(n, i);
        uint32_t cursor = 0;
        const struct tun_link *l;
        while ((l = tun_handles_next(&t->links, &cursor)) != NULL)
            found += l->state == TUN_STATE_OPEN && l->role == TUN_ROLE_RELAY &&
                     memcmp(l->identity, forger, CV_KEY) == 0;
    }
    return found;
}

static unsigned all_linked(const struct world *w) {
    unsigned n = 0;
    for (unsigned i = 0; i < RELAYS; i++)
        n += i == FORGER ? 0 : linked(w, i);
    return n;
}

static bool parted(void *ctx) {
    return all_linked(ctx) == 0;
}

/* Some relay with a link to this one. */
static struct rep_peer *neighbour(const struct world *w, unsigned of) {
    void *cursor = NULL;
    struct rep_peer *p;
    while ((p = cv_map_next(w->nodes[of]->node->ledger->peers, &cursor, NULL)))
        if (!TAILQ_EMPTY(&p->links))
            return p;
    return NULL;
}

/* Somebody hears of it from a neighbour, and it goes on from there. */
static bool prove(struct world *w, struct cv_now now, unsigned to) {
    const struct world_node *forger = w->nodes[FORGER], *n = w->nodes[to];
    uint8_t two[2 * REP_RECORD], body[REP_MESSAGE_MAX];
    for (unsigned i = 0; i < 2; i++) {
        struct rep_record r = {.version = REP_RECORD_VERSION, .type = REP_PROPOSAL, .seq = 1};
        memcpy(r.peer, n->cfg.identity_secret.public_key, CV_KEY);
        r.given = 1 + i;
        r.epoch = n->node->ledger->epoch;
        rep_record_sign(&r, &forger->cfg.identity_secret, n->cfg.network_id);
        rep_record_write(&r, two + i * REP_RECORD);
    }
    struct rep_message m = {.kind = REP_MESSAGE_FORK, .ttl = REP_FORK_TTL, .records = two};
    ssize_t len = rep_message_write(&m, body, sizeof body);
    const struct rep_peer *from = neighbour(w, to);
    return from && rep_ledger_on_message(n->node->ledger, now, TAILQ_FIRST(&from->links)->handle,
                                         body, (size_t)len) == CV_ERR_OK;
}

static unsigned know(const struct world *w) {
    unsigned n = 0;
    for (unsigned i = 1; i < RELAYS; i++) {
        struct rep_stats st;
        rep_ledger_stats(w->nodes[i]->node->ledger, &st);
        n += st.forks > 0;
    }
    return n;
}

static bool all_know(void *ctx) {
    return know(ctx) == RELAYS - 1;
}

static bool check(struct world *w, struct scenario_result *ret) {
    struct sim *s = w->sim;
    for (unsigned i = 0; i < RELAYS; i++)
        world_node_new(w,
                       &(struct world_node_config){.relay = true, .workers = (uint8_t)(1 + i % 3)});
    struct world_node *seeder = world_node_new(w, &(struct world_node_config){0});
    struct world_node *viewer = world_node_new(w, &(struct world_node_config){0});
    const struct world_film *film = world_film_new(w, FILM);
    world_links(w, CV_MSEC(5), CV_MSEC(20), 1000);
    SCENARIO_CHECK(sim_run_while_not(s, world_relays_ready, w, CV_SEC(60)), "relays not ready");
    world_open(seeder, film, WORLD_SEEDER, 0, false);
    SCENARIO_CHECK(sim_run_while_not(s, world_shared, w, CV_SEC(120)), "not shared");
    unsigned before = all_linked(w);
    cv_usec from = sim_now(s);
    struct cv_now now = sim_node_now(s, w->nodes[1]->number);
    SCENARIO_CHECK(prove(w, now, 1), "nobody takes the proof");
    sim_touch(s, w->nodes[1]->number);
    SCENARIO_CHECK(sim_run_while_not(s, all_know, w, from + CV_SEC(SOON)), "%u know", know(w));
    SCENARIO_CHECK(sim_run_while_not(s, parted, w, from + CV_SEC(SOON)), "%u of %u links are left",
                   all_linked(w), before);
    world_open(viewer, film, WORLD_VIEWER, 0, true);
    SCENARIO_CHECK(sim_run_while_not(s, world_all_complete, w, sim_now(s) + CV_SEC(120)),
                   "not complete");
    SCENARIO_CHECK(sim_run_while_not(s, parted, w, sim_now(s) + CV_SEC(SOON)),
                   "%u new links are kept", all_linked(w));
    snprintf(ret->note, sizeof ret->note, "%u links ended", before);
    return true;
}

bool scenario_banned(const struct scenario_args *args, struct scenario_result *ret) {
    struct world *w = world_new(args->seed);
    bool ok = check(w, ret);
    scenario_measure(ret, w->sim, w->nodes_count);
    world_free(w);
    return ok;
}
