/*
 * Constant rate at a relay: it sends an owner cells at the rate that was ordered,
 * what waits for the owner first and padding for the rest. See pacer.h.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/trace.h"
#include "tunnel/core.h"

/* Mbit/s that this engine promises, its part of the relay's: half of what it may send, if
 * that is limited. */
static uint32_t promise_max(const struct tunnel *t) {
    uint64_t half = t->cfg.send_octets_s / (2 * 125000);
    uint32_t max = TUN_PACE_MBIT / (t->cfg.workers > 1 ? t->cfg.workers : 1);
    return t->cfg.send_octets_s && half < max ? (uint32_t)half : max;
}

/* Over one link, or over all (NULL). */
static uint32_t promised(const struct tunnel *t, const struct tun_link *l) {
    uint32_t sum = 0;
    const struct tun_hop_pace *p;
    TAILQ_FOREACH(p, &t->paces, entry)
    if (!l || p->hop->prev.link == l)
        sum += p->pacer.cells;
    return sum;
}

/* The circuit that was owed the most ticks for its owner's silence, if these are many. */
static struct tun_hop *idlest(const struct tunnel *t, const struct tun_link *l) {
    const struct tun_hop_pace *p, *worst = NULL;
    TAILQ_FOREACH(p, &t->paces, entry) {
        if ((l && p->hop->prev.link != l) || !tun_pacer_is_idle(&p->pacer))
            continue;
        if (!worst || p->pacer.owed * worst->pacer.cells > worst->pacer.owed * p->pacer.cells)
            worst = p;
    }
    return worst ? worst->hop : NULL;
}

/* Is there as much to promise? Whoever has been silent for half a second more than he
 * had saved up gives way: else a stranger keeps all of it by ordering anew every five. */
static bool make_room(struct tunnel *t, const struct tun_link *l, uint32_t mbit) {
    uint32_t max = promise_max(t);
    for (;;) {
        bool of_link = promised(t, l) + mbit > max / TUN_PACE_LINK;
        if (!of_link && promised(t, NULL) + mbit <= max)
            return true;
        struct tun_hop *idle = idlest(t, of_link ? l : NULL);
        if (!idle)
            return false;
        tun_hop_destroy(t, idle, NULL);
    }
}

/* 0, or why not. */
static uint8_t begin(struct tunnel *t, const struct cv_now *now, struct tun_hop *h, uint8_t mbit) {
    const struct tun_link *l = h->prev.link;
    if (!h->extended) /* a rate is for what passes through, to somebody behind us */
        return TUN_ERROR_REFUSED;
    if (l->group->class == TUN_CLASS_DEBT || !make_room(t, l, mbit))
        return TUN_ERROR_LIMIT;
    struct tun_hop_pace *p = malloc(sizeof *p);
    if (!p)
        return TUN_ERROR_BUSY;
    *p = (struct tun_hop_pace){.hop = h};
    tun_pacer_init(&p->pacer, mbit, 0, now->mono);
    TAILQ_INSERT_TAIL(&t->paces, p, entry);
    h->pace = p;
    h->paced = true;
    tun_flow_hold(&t->sched, &h->prev.flow);
    return 0;
}

/* What it was for is over: the rest of the way goes, the rate stays for so long. */
static void run_on(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                   uint32_t seconds) {
    h->pace->pacer.until = cv_usec_add(now->mono, CV_SEC(seconds));
    h->extended = false;
    if (h->next.link)
        tun_link_send_destroy(t, h->next.link, h->next.id);
    tun_leg_detach(t, &h->next);
}

static uint8_t order(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                     const struct tun_pace *m) {
    if (!tun_pacer_is_rate(m->rate) || m->seconds > TUN_PACE_RUN_ON_MAX_S)
        return TUN_ERROR_REFUSED;
    if (!h->pace)
        return m->seconds ? TUN_ERROR_REFUSED : begin(t, now, h, m->rate);
    /* Once ordered a rate does not change: it would follow something. */
    const struct tun_pacer *p = &h->pace->pacer;
    if (m->rate != p->cells || m->seconds == 0 || h->pace->ends)
        return TUN_ERROR_REFUSED;
    h->pace->ends = true;
    run_on(t, now, h, m->seconds);
    return 0;
}

void tun_hop_pace(struct tunnel *t, const struct cv_now *now, struct tun_hop *h,
                  const struct tun_inner *in) {
    struct cv_rd r = cv_rd_init(in->data, in->len);
    struct tun_pace m;
    if (tun_pace_read(&r, &m)) {
        struct cv_rd first = cv_rd_init(in->data, in->len);
        tun_hop_error(t, now, h, cv_rd_le32(&first), TUN_ERROR_MALFORMED, NULL, 0);
        return;
    }
    uint8_t code = order(t, now, h, &m);
    CV_TRACE(TUNNEL, pace_ordered, now->mono, "hop=%llx rate=%u seconds=%u code=%u",
             (unsigned long long)h->handle, m.rate, m.seconds, code);
    if (code) {
        t->count.paces_refused++;
        tun_hop_error(t, now, h, m.transaction, code, NULL, 0);
        return;
    }
    uint8_t body[16];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    tun_pace_write(&w, &m);
    tun_hop_answer(t, now, h, TUN_CMD_PACE, body, cv_wr_len(&w));
    tun_hop_schedule(t, h);
}

/* Said once: when it is lost, the owner notices that the last hop is silent. */
void tun_hop_pace_alone(struct tunnel *t, const struct cv_now *now, struct tun_hop *h) {
    assert(h->pace && h->extended);
    h->extended = false;
    tun_leg_detach(t, &h->next);
    h->pace->pacer.until = cv_usec_add(now->mono, CV_SEC(TUN_PACE_RUN_ON_MAX_S));
    tun_hop_error(t, now, h, 0, TUN_ERROR_UNREACHABLE, NULL, 0);
    tun_hop_schedule(t, h);
}

void tun_hop_pace_done(struct tunnel *t, struct tun_hop *h) {
    if (!h->pace)
        return;
    TAILQ_REMOVE(&t->paces, h->pace, entry);
    free(h->pace);
    h->pace = NULL;
    h->paced = false;
    tun_flow_let_go(&t->sched, &h->prev.flow);
}

bool tun_hop_pace_due(struct tunnel *t, const struct cv_now *now, struct tun_hop *h) {
    struct tun_pacer *p = &h->pace->pacer;
    if (now->mono >= p->until || tun_pacer_deserted(p)) {
        tun_hop_destroy(t, h, NULL);
        return false;
    }
    uint32_t cells = tun_pacer_spend(p, tun_pacer_take(p, now->mono));
    uint32_t missing = cells ? tun_flow_grant(&t->sched, &h->prev.flow, cells, now->mono) : 0;
    while (missing-- > 0 && !tun_hop_send(t, now, h, TUN_CMD_PADDING, NULL, 0))
        t->count.padding_cells++;
    return true;
}
