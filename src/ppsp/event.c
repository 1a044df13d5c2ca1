/*
 * What is told to the owner. What can happen again waits in a ring and is lost when
 * nobody drains it; what a swarm tells once is a mark at the swarm, and cannot be
 * lost: that it is tuned in and how long it is come before all that waits, that it
 * failed, ended or is complete behind it.
 */
#include "ppsp/engine.h"

bool ppsp_event_push(struct ppsp *p, const struct ppsp_event *event) {
    if (p->event_count) {
        struct ppsp_event *last = &p->events[(p->event_head + p->event_count - 1) % PPSP_EVENTS];
        if (event->type == PPSP_EVENT_CHUNKS_READY && last->type == event->type &&
            last->swarm == event->swarm && last->last + 1 == event->first) {
            last->last = event->last;
            last->edge = event->edge;
            return true;
        }
    }
    if (p->event_count == PPSP_EVENTS) {
        PPSP_COUNT(p, events_lost);
        return false;
    }
    p->events[(p->event_head + p->event_count++) % PPSP_EVENTS] = *event;
    return true;
}

void ppsp_event_once(struct ppsp_swarm *s, enum ppsp_event_type type, enum cv_err err) {
    if (!s->events_due)
        TAILQ_INSERT_TAIL(&s->p->due, s, in_due);
    s->events_due |= 1u << type;
    if (type == PPSP_EVENT_SIZE_KNOWN)
        s->size_err = err;
    if (type == PPSP_EVENT_STORE_ERROR)
        s->store_err = err;
}

static bool about_contacts(enum ppsp_event_type type) {
    return type == PPSP_EVENT_CONTACT || type == PPSP_EVENT_CONTACTS_WANTED;
}

static bool take_ring(struct ppsp *p, struct ppsp_event *ret) {
    if (p->event_count == 0)
        return false;
    *ret = p->events[p->event_head];
    p->event_head = (p->event_head + 1) % PPSP_EVENTS;
    p->event_count--;
    p->asked_count -= ret->type == PPSP_EVENT_ASKED;
    p->contact_count -= about_contacts(ret->type);
    return true;
}

static struct ppsp_event once(const struct ppsp_swarm *s, enum ppsp_event_type type) {
    struct ppsp_event e = {.type = type, .swarm = s->handle};
    if (type == PPSP_EVENT_SIZE_KNOWN) {
        e.err = s->size_err;
        e.octets = s->octets;
    } else if (type == PPSP_EVENT_STORE_ERROR) {
        e.err = s->store_err;
    } else if (type == PPSP_EVENT_LIVE_TUNED) {
        e.first = s->live->tuned_at;
        e.last = s->chunks - 1;
        e.edge = s->chunks;
    } else if (type == PPSP_EVENT_LIVE_ENDED) {
        e.first = s->live->cursor;
        e.last = e.edge = s->chunks;
    }
    return e;
}

static bool take_due(struct ppsp *p, const enum ppsp_event_type *types, unsigned n,
                     struct ppsp_event *ret) {
    struct ppsp_swarm *s;
    TAILQ_FOREACH(s, &p->due, in_due)
    for (unsigned i = 0; i < n; i++) {
        if (!(s->events_due >> types[i] & 1))
            continue;
        s->events_due &= ~(1u << types[i]);
        if (!s->events_due)
            TAILQ_REMOVE(&p->due, s, in_due);
        *ret = once(s, types[i]);
        return true;
    }
    return false;
}

bool ppsp_poll_event(struct ppsp *p, struct ppsp_event *ret) {
    static const enum ppsp_event_type early[] = {PPSP_EVENT_LIVE_TUNED, PPSP_EVENT_SIZE_KNOWN};
    static const enum ppsp_event_type late[] = {PPSP_EVENT_STORE_ERROR, PPSP_EVENT_LIVE_ENDED,
                                                PPSP_EVENT_COMPLETE};
    return take_due(p, early, 2, ret) || take_ring(p, ret) || take_due(p, late, 3, ret);
}

void ppsp_event_forget(struct ppsp_swarm *s) {
    struct ppsp *p = s->p;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < p->event_count; i++) {
        struct ppsp_event e = p->events[(p->event_head + i) % PPSP_EVENTS];
        if (e.swarm != s->handle)
            p->events[(p->event_head + kept++) % PPSP_EVENTS] = e;
        else
            p->contact_count -= about_contacts(e.type);
    }
    p->event_count = kept;
    if (s->events_due)
        TAILQ_REMOVE(&p->due, s, in_due);
    s->events_due = 0;
}
