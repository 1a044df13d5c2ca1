#include "ppsp/reciprocity.h"

#include "ppsp/engine.h"

#define ROUND    CV_SEC(10)
#define LUCK     CV_SEC(30)
#define SOON     CV_SEC(1) /* somebody new came: no sooner than this */
#define TELL     CV_SEC(1) /* again; doubled for UNCHOKE up to .. */
#define TELL_MAX CV_SEC(64)

/* ---- who ----------------------------------------------------------------------- */

static bool wants(const struct ppsp_channel *c) {
    uint64_t chunks = c->swarm->chunks;
    return c->state == PPSP_PEER_OPEN && (chunks == 0 || c->have.count < chunks);
}

static void set(struct ppsp_channel *c, bool choking) {
    if (c->choking == choking)
        return;
    c->choking = choking;
    if (choking)
        c->queued = 0; /* what is under way arrives, the rest it asks for again */
    c->choke_at = 0;
    c->choke_wait = TELL;
    ppsp_channel_wake(c);
}

/* Rank, then what it gave, then whoever is served already: so that little changes. */
static bool before(const struct ppsp_channel *a, const struct ppsp_channel *b) {
    if (a->rank != b->rank)
        return a->rank > b->rank;
    uint64_t gave_a = a->down - a->down_before, gave_b = b->down - b->down_before;
    if (gave_a != gave_b)
        return gave_a > gave_b;
    return !a->choking && b->choking;
}

static void give_by_rank(struct ppsp_swarm *s) {
    struct ppsp_channel *c;
    for (uint32_t i = 0; i < s->slots; i++) {
        struct ppsp_channel *best = NULL;
        TAILQ_FOREACH(c, &s->channels, of_swarm) {
            if (wants(c) && c->slot == PPSP_SLOT_NONE && (!best || before(c, best)))
                best = c;
        }
        if (!best)
            return;
        best->slot = PPSP_SLOT_RANK;
    }
}

/* Among those who waited longest, or bad luck could starve one for ever; whoever comes
 * anew waits like others, so that coming again earns nothing. */
static void give_by_lot(struct ppsp_swarm *s, cv_usec now) {
    uint32_t lots = (s->slots + 3) / 4;
    for (uint32_t i = 0; i < lots; i++) {
        struct ppsp_channel *c, *drawn = NULL;
        uint32_t n = 0;
        TAILQ_FOREACH(c, &s->channels, of_swarm) {
            if (!wants(c) || c->slot != PPSP_SLOT_NONE || (drawn && c->lot_at > drawn->lot_at))
                continue;
            n = drawn && c->lot_at == drawn->lot_at ? n + 1 : 1;
            if (cv_rng_below(s->p->rng, n) == 0)
                drawn = c;
        }
        if (!drawn)
            return;
        drawn->slot = PPSP_SLOT_LOT;
        drawn->lot_at = now;
    }
}

void ppsp_reciprocity_work(struct ppsp_swarm *s, cv_usec now) {
    struct ppsp_channel *c;
    if (now < s->slots_at)
        return;
    bool redraw = now >= s->luck_at;
    uint32_t kept = 0;
    TAILQ_FOREACH(c, &s->channels, of_swarm) {
        bool keeps = c->slot == PPSP_SLOT_LOT && !redraw && wants(c);
        kept += keeps;
        c->slot = keeps ? PPSP_SLOT_LOT : PPSP_SLOT_NONE;
    }
    give_by_rank(s);
    if (redraw)
        s->luck_at = cv_usec_add(now, LUCK);
    if (redraw || kept < (s->slots + 3) / 4)
        give_by_lot(s, now);
    TAILQ_FOREACH(c, &s->channels, of_swarm) {
        if (c->state == PPSP_PEER_OPEN)
            set(c, s->slots && wants(c) && c->slot == PPSP_SLOT_NONE);
        c->down_before = c->down;
    }
    s->slots_at = s->slots ? cv_usec_add(now, ROUND) : CV_USEC_NEVER;
}

cv_usec ppsp_reciprocity_next(const struct ppsp_swarm *s) {
    return s->slots_at;
}

void ppsp_reciprocity_up(struct ppsp_channel *c, cv_usec now) {
    struct ppsp_swarm *s = c->swarm;
    c->choking = false;
    c->choke_at = CV_USEC_NEVER; /* nobody is choked to begin with */
    c->slot = PPSP_SLOT_NONE;
    c->lot_at = now;
    c->down_before = c->down;
    if (s->slots && s->slots_at > cv_usec_add(now, SOON)) {
        s->slots_at = cv_usec_add(now, SOON);
        ppsp_swarm_reschedule(s);
    }
}

/* ---- what is said --------------------------------------------------------------- */

bool ppsp_reciprocity_serves(struct ppsp_channel *c, cv_usec now) {
    if (c->swarm->slots && !wants(c))
        return false; /* it said that it has everything: so it holds no slot */
    if (!c->choking) {
        c->choke_at = CV_USEC_NEVER; /* it heard */
        return true;
    }
    if (c->choke_at == CV_USEC_NEVER && now >= cv_usec_add(c->choke_told, TELL)) {
        c->choke_at = now;
        ppsp_channel_wake(c);
    }
    return false;
}

cv_usec ppsp_reciprocity_tells(const struct ppsp_channel *c) {
    return c->messages >> PPSP_MSG_CHOKE & 1 ? c->choke_at : CV_USEC_NEVER;
}

void ppsp_reciprocity_tell(struct ppsp_channel *c, cv_usec now, struct cv_wr *w) {
    if (now < ppsp_reciprocity_tells(c) || cv_wr_room(w) < 1)
        return;
    ppsp_bare_write(w, c->choking ? PPSP_MSG_CHOKE : PPSP_MSG_UNCHOKE);
    c->choke_told = now;
    c->choke_at = c->choking ? CV_USEC_NEVER : cv_usec_add(now, c->choke_wait);
    c->choke_wait = cv_usec_min(c->choke_wait * 2, TELL_MAX);
}

/* ---- from outside --------------------------------------------------------------- */

void ppsp_swarm_slots(struct ppsp *p, struct cv_now now, cv_handle swarm, uint32_t slots) {
    struct ppsp_swarm *s = ppsp_swarm_find(p, swarm);
    if (!s || s->slots == slots)
        return;
    s->slots = slots;
    s->slots_at = s->luck_at = now.mono;
    ppsp_reciprocity_work(s, now.mono);
    ppsp_swarm_reschedule(s);
}

void ppsp_peer_rank(struct ppsp *p, struct cv_now now, cv_handle swarm,
                    const struct cv_endpoint *endpoint, uint32_t rank) {
    struct ppsp_swarm *s = ppsp_swarm_find(p, swarm);
    struct ppsp_channel *c = s ? ppsp_channel_find(p, endpoint, s) : NULL;
    (void)now;
    if (c)
        c->rank = rank;
}
