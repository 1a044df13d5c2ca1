/*
 * Peer exchange (RFC 7574 sections 3.10, 8.13 and 12.2), in swarms that say so and
 * between UDP addresses only: an address is what a circuit hides. Where the swarm has an
 * authority, peers are named by its certificates (membership.h) and no other way; else
 * by plain PEX_RESv4 and PEX_RESv6, which the RFC allows where peers are benign. In both
 * cases what a stranger names is called, never trusted, and never makes up more than half
 * of our peers.
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
    uint32_t from_pex = 0;
    TAILQ_FOREACH(c, &s->channels, of_swarm)
    from_pex += c->from_pex;
    return from_pex < PPSP_PEX_PEERS && 2 * (from_pex + 1) <= s->channel_count + 1;
}

/* Calls a peer that `c` named, unless those are too many already. */
static struct ppsp_channel *call(struct ppsp_swarm *s, cv_usec now, const struct cv_endpoint *ep) {
    struct ppsp_channel *n =
        balanced(s) ? ppsp_channel_new(s, now, ep, ppsp_mtu_udp(s), /* hidden= */ false) : NULL;
    if (!n) {
        PPSP_COUNT(s->p, drop_pex);
        return NULL;
    }
    n->from_pex = true;
    ppsp_channel_call(n, now);
    return n;
}

/* The peer that `c` names, known or called now; NULL: it is not to be. */
static struct ppsp_channel *named(struct ppsp_channel *c, cv_usec now, const struct cv_addr *addr) {
    struct ppsp_swarm *s = c->swarm;
    struct cv_endpoint ep = cv_endpoint_udp(addr);
    if (!fits(addr, &c->endpoint.addr) || ppsp_banned(s->p, &ep, now) ||
        !ppsp_swarm_meets(s, &ep)) {
        PPSP_COUNT(s->p, drop_pex);
        return NULL;
    }
    struct ppsp_channel *known = ppsp_channel_find(s->p, &ep, s);
    return known ? known : call(s, now, &ep);
}

void ppsp_pex_response(struct ppsp_channel *c, cv_usec now, const struct cv_addr *addr) {
    if (!may(c) || c->swarm->membership.authority || c->pex_expected == 0) {
        PPSP_COUNT(c->swarm->p, drop_pex);
        return;
    }
    c->pex_expected--;
    (void)named(c, now, addr);
}

/* Section 12.2.2: after a defective one the rest of an answer is not looked at, so that
 * a stranger cannot make us check signatures for nothing. */
void ppsp_pex_certificate(struct ppsp_channel *c, cv_usec now, const struct ppsp_pex_cert *cert) {
    struct ppsp_swarm *s = c->swarm;
    struct cv_addr addr;
    int64_t until;
    if (!may(c) || !s->membership.authority || c->pex_expected == 0) {
        PPSP_COUNT(s->p, drop_pex);
        return;
    }
    c->pex_expected--;
    if (ppsp_membership_check(&s->membership, s->p->wall, s->config.id, s->config.id_len, cert->der,
                              cert->len, &addr, &until)) {
        PPSP_COUNT(s->p, drop_pex_certificate);
        c->pex_expected = 0;
        return;
    }
    struct ppsp_channel *n = named(c, now, &addr);
    if (n && until > n->member.until) /* to be given on; without memory for it it is not */
        (void)ppsp_member_keep(&n->member, cert->der, cert->len, until);
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

/* `o` can be named to `c` in the way that this swarm does it. */
static bool tellable(const struct ppsp_channel *c, const struct ppsp_channel *o, cv_usec now) {
    const struct ppsp_membership *m = &c->swarm->membership;
    int64_t wall = c->swarm->p->wall;
    if (o == c || o->state != PPSP_PEER_OPEN || !may(o) ||
        cv_usec_since(now, o->heard_at) > PPSP_PEX_HEARD ||
        !fits(&o->endpoint.addr, &c->endpoint.addr))
        return false;
    return !m->authority || ppsp_member_usable(&o->member, wall) || (m->key && wall > 0);
}

/* A few of the peers that were heard of late, by lot. */
static uint32_t choose(const struct ppsp_channel *c, cv_usec now,
                       struct ppsp_channel *ret[PPSP_PEX_ANSWER]) {
    struct ppsp_channel *o;
    uint32_t seen = 0;
    TAILQ_FOREACH(o, &c->swarm->channels, of_swarm) {
        if (!tellable(c, o, now))
            continue;
        uint64_t at = seen < PPSP_PEX_ANSWER ? seen : cv_rng_below(c->swarm->p->rng, seen + 1);
        if (at < PPSP_PEX_ANSWER)
            ret[at] = o;
        seen++;
    }
    return seen < PPSP_PEX_ANSWER ? seen : PPSP_PEX_ANSWER;
}

static bool put_certificate(struct cv_wr *w, size_t spare, const struct ppsp_member *member) {
    if (cv_wr_room(w) < PPSP_PEX_CERT_LEN(member->len) + spare)
        return false;
    ppsp_pex_cert_write(w, &(struct ppsp_pex_cert){member->der, member->len});
    return true;
}

/* The certificate of a peer; who can makes it. Longer ones than there is room for wait for
 * another answer, and are not signed before. */
static void put_member(struct ppsp_channel *o, struct cv_wr *w, size_t spare) {
    struct ppsp_swarm *s = o->swarm;
    bool usable = ppsp_member_usable(&o->member, s->p->wall);
    if (!usable && cv_wr_room(w) < PPSP_PEX_CERT_LEN(s->membership.issued_len) + spare)
        return;
    if (!usable && ppsp_membership_issue(&s->membership, s->p->wall, s->p->rng, s->config.id,
                                         s->config.id_len, &o->endpoint.addr, &o->member))
        return;
    (void)put_certificate(w, spare, &o->member);
}

/* An answer is what fits into one datagram. */
static void put_answer(struct ppsp_channel *c, cv_usec now, struct cv_wr *w, size_t spare) {
    enum { LONGEST = 1 + 16 + 2 };
    struct ppsp_channel *list[PPSP_PEX_ANSWER];
    const struct ppsp_membership *m = &c->swarm->membership;
    uint32_t n = choose(c, now, list);
    if (m->authority && !(c->messages >> PPSP_MSG_PEX_RESCERT & 1))
        return;
    if (ppsp_member_usable(&m->own, c->swarm->p->wall) && fits(&m->own_addr, &c->endpoint.addr))
        (void)put_certificate(w, spare, &m->own);
    for (uint32_t i = 0; i < n; i++) {
        const struct cv_addr *addr = &list[i]->endpoint.addr;
        if (m->authority)
            put_member(list[i], w, spare);
        else if (c->messages >> ppsp_pex_type(addr) & 1 && cv_wr_room(w) >= LONGEST + spare)
            ppsp_pex_write(w, addr);
    }
}

void ppsp_pex_put(struct ppsp_channel *c, cv_usec now, struct cv_wr *w, size_t spare) {
    if (wants(c, now) && cv_wr_room(w) >= 1 + spare) {
        ppsp_bare_write(w, PPSP_MSG_PEX_REQ);
        c->pex_ask_at = cv_usec_add(now, PPSP_PEX_EVERY + CV_SEC(1)); /* not too early for it */
        c->pex_expected = PPSP_PEX_ANSWER;
    }
    if (c->pex_asked)
        put_answer(c, now, w, spare);
    c->pex_asked = false;
}
