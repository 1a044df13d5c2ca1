/*
 * A pointer is a slot of its own (TUN_SLOT_POINTER), with octets of somebody else's
 * choice where the others have contacts; it is read and written as they are (publish.c),
 * through two circuits that end apart. See hiddenstate.h.
 */
#include <string.h>

#include "tunnel/hiddenstate.h"

static cv_usec now(const struct tun_hidden *h) {
    return tun_hidden_now(h);
}

static bool idle(const struct tun_publication *p) {
    return p->copy[0].state == TUN_COPY_IDLE && p->copy[1].state == TUN_COPY_IDLE;
}

/* Whoever knows the swarm signs what stands there; more is for the reader to see. */
void tun_pointer_found(struct tun_hidden *h, const struct tun_item *item) {
    struct tun_pointer *p = h->pointer;
    struct tun_period_secret period_secret;
    uint8_t octets[TUN_POINTER];
    if (p->writes)
        return;
    tun_period_derive(&period_secret, &h->swarm_secret, p->publication.period);
    if (tun_pointer_open(octets, item->value, &period_secret)) {
        struct tun_event ev = {.kind = TUN_EVENT_POINTER};
        ev.pointer.hidden = h->handle;
        ev.pointer.octets = octets;
        p->found = true;
        tun_event_push(h->all->t, &ev);
    }
    cv_wipe(&period_secret, sizeof period_secret);
}

/* The DHT did not answer, or did not want it: soon again, and then less soon. */
void tun_pointer_failed(struct tun_hidden *h) {
    struct tun_pointer *p = h->pointer;
    cv_usec least = tun_hidden_pause(h, CV_SEC(15), CV_MSEC(500));
    cv_usec most = tun_hidden_pause(h, CV_SEC(600), CV_SEC(5));
    p->active = p->missed = false;
    p->pause = p->pause < least ? least : cv_usec_min(2 * p->pause, most);
    p->due = cv_usec_add(now(h), p->pause);
}

/* Nothing stands there: near a turn it may be under the keys of the other period. */
static bool reads_on(struct tun_hidden *h, unsigned periods) {
    struct tun_pointer *p = h->pointer;
    if (p->writes || p->found || p->missed || periods < 2)
        return false;
    p->missed = true;
    p->due = now(h);
    return true;
}

static void ended(struct tun_hidden *h, unsigned periods) {
    struct tun_pointer *p = h->pointer;
    p->active = false;
    if (reads_on(h, periods))
        return;
    p->missed = false;
    if (p->writes ? !p->publication.written : !p->found) {
        tun_pointer_failed(h);
        return;
    }
    p->pause = 0;
    p->due = cv_usec_add(now(h), p->writes ? CV_SEC(cv_rng_between(tun_hidden_rng(h), 1800, 3600))
                                           : tun_hidden_pause(h, CV_SEC(600), CV_SEC(10)));
}

/* A reader near a turn looks at both periods in turn, as the writer's clock may be another; what
 * the first one shows may be what was said before the writer went over to the other. */
static void begin(struct tun_hidden *h, const uint32_t *period, unsigned periods) {
    struct tun_pointer *p = h->pointer;
    uint32_t which = p->writes ? period[0] : period[p->turns % periods];
    p->publication = (struct tun_publication){.period = which, .slot = TUN_SLOT_POINTER};
    tun_publication_begin(&p->publication, now(h));
    p->turns++;
    p->active = true;
    p->found = false;
}

void tun_pointer_work(struct tun_hidden *h) {
    struct tun_pointer *p = h->pointer;
    uint32_t period[2];
    unsigned periods = tun_hidden_periods(h, period);
    if (periods == 0) {
        tun_hidden_by(h, cv_usec_add(now(h), CV_SEC(1)));
        return;
    }
    if (p->active) {
        tun_publication_step(h, &p->publication);
        if (p->active && idle(&p->publication))
            ended(h, periods);
    }
    bool turned = p->writes && p->publication.period != period[0];
    if (!p->active && (p->due <= now(h) || (turned && !p->pause))) {
        begin(h, period, periods);
        tun_hidden_by(h, now(h));
    } else if (!p->active) {
        /* Also within a minute of a turn. */
        tun_hidden_by(h, p->writes ? cv_usec_min(p->due, cv_usec_add(now(h), CV_SEC(60))) : p->due);
    }
}

void tun_pointer_done(struct tun_hidden *h) {
    tun_publication_idle(&h->pointer->publication);
}
