/*
 * Peer exchange (RFC 7574 sections 3.10 and 8.13), in swarms that say so and
 * between UDP addresses only: an address is what a circuit hides. Addresses are
 * plain PEX_RESv4 and PEX_RESv6, which the RFC allows where peers are benign; so
 * what a stranger names is called, never trusted, and never makes up more than
 * half of our peers.
 */
#include "ppsp/engine.h"

static bool may(const struct ppsp_channel *c) {
    return c->swarm->config.pex && !c->hidden && c->endpoint.kind == CV_ENDPOINT_UDP;
}

/* Section 8.13: nothing private is said to, or believed of, somebody public. */
static bool fits(const struct cv_addr *named, const struct cv_addr *other) {
    return named->port != 0 && (cv_addr_is_public(named) || !cv_addr_is_public(other));
}

void ppsp_pex_request(struct ppsp_channel *c, cv_usec now) {
    if (!may(c) || now < c->pex_answer_at) {
        PPSP_COUNT(c->swarm->p, drop_pex);
        return;
    }
    c->pex_answer_at = cv_usec_add(now, PPSP_PEX_EVERY);
    c->pex_asked = true;
}

/* Peers of our own choice, and of the exchange: those must stay the fewer. */
static bool balanced(const struct ppsp_swarm *s) {
    const struct ppsp_channel *c;
    uint32_t named = 0;
    TAILQ_FOREACH(c, &s->channels, of_swarm)
    named += c->from_pex;
    return named < PPSP_PEX_PEERS && 2 * (named + 1) <= s->channel_count + 1;
}

void ppsp_pex_response(struct ppsp_channel *c, cv_usec now, const struct cv_addr *addr) {
    struct ppsp_swarm *s = c->swarm;
    struct cv_endpoint ep = cv_endpoint_udp(addr);
    bool good = may(c) && c->pex_expected > 0 && fits(addr, &c->endpoint.addr) &&
                !ppsp_banned(s->p, &ep, now) && ppsp_swarm_meets(s, &ep);
    if (good) {
        c->pex_expected--;
        if (ppsp_channel_find(s->p, &ep, s))
            return; /* known */
        good = balanced(s);
    }
    struct ppsp_channel *n =
        good ? ppsp_channel_new(s, now, &ep, ppsp_mtu_udp(s), /* hidden= */ false) : NULL;
    if (!n) {
        PPSP_COUNT(s->p, drop_pex);
        return;
    }
    n->from_pex = true;
    ppsp_channel_call(n, now);
}

static bool wants(const struct ppsp_channel *c, cv_usec now) {
    return may(c) && now >= c->pex_ask_at && (c->messages >> PPSP_MSG_PEX_REQ & 1) &&
           ppsp_swarm_hungry(c->swarm);
}

bool ppsp_pex_due(const struct ppsp_channel *c, cv_usec now) {
    return c->pex_asked || wants(c, now);
}

cv_usec ppsp_pex_next(const struct ppsp_channel *c) {
    bool later = may(c) && c->pex_ask_at > c->swarm->p->last_now;
    return later && ppsp_swarm_hungry(c->swarm) ? c->pex_ask_at : CV_USEC_NEVER;
}

/* A few of the peers that were heard of late, by lot. */
static uint32_t choose(const struct ppsp_channel *c, cv_usec now,
                       struct cv_addr ret[PPSP_PEX_ANSWER]) {
    const struct ppsp_channel *o;
    uint32_t seen = 0;
    TAILQ_FOREACH(o, &c->swarm->channels, of_swarm) {
        if (o == c || o->state != PPSP_PEER_OPEN || !may(o) ||
            cv_usec_since(now, o->heard_at) > PPSP_PEX_HEARD ||
            !fits(&o->endpoint.addr, &c->endpoint.addr))
            continue;
        uint64_t at = seen < PPSP_PEX_ANSWER ? seen : cv_rng_below(c->swarm->p->rng, seen + 1);
        if (at < PPSP_PEX_ANSWER)
            ret[at] = o->endpoint.addr;
        seen++;
    }
    return seen < PPSP_PEX_ANSWER ? seen : PPSP_PEX_ANSWER;
}

void ppsp_pex_put(struct ppsp_channel *c, cv_usec now, struct cv_wr *w, size_t spare) {
    enum { LONGEST = 1 + 16 + 2 };
    struct cv_addr list[PPSP_PEX_ANSWER];
    if (wants(c, now) && cv_wr_room(w) >= 1 + spare) {
        ppsp_bare_write(w, PPSP_MSG_PEX_REQ);
        c->pex_ask_at = cv_usec_add(now, PPSP_PEX_EVERY + CV_SEC(1)); /* not too early for it */
        c->pex_expected = PPSP_PEX_ANSWER;
    }
    if (!c->pex_asked)
        return;
    c->pex_asked = false;
    uint32_t n = choose(c, now, list);
    for (uint32_t i = 0; i < n && cv_wr_room(w) >= LONGEST + spare; i++)
        ppsp_pex_write(w, &list[i]);
}
