/*
 * Peer exchange between peers that have no addresses: what is told is a contact, octets
 * that the owner of the engine wrote and understands (message 14). Asked as for addresses,
 * by PEX_REQ and no more than once a minute; by who lacks chunks, and by who was called, to
 * have somebody to name to others. What comes is given to the owner as it is.
 */
#include <stdlib.h>
#include <string.h>

#include "ppsp/engine.h"

static bool may(const struct ppsp_channel *c) {
    return c->swarm->config.contacts && c->hidden && (c->messages >> PPSP_MSG_PEX_CONTACT & 1);
}

/* Nobody fills the ring of events with these. */
static bool push(struct ppsp_channel *c, struct ppsp_event *e) {
    struct ppsp *p = c->swarm->p;
    e->swarm = c->swarm->handle;
    e->endpoint = c->endpoint;
    if (p->contact_count == PPSP_CONTACTS_DUE || !ppsp_event_push(p, e))
        return false;
    p->contact_count++;
    return true;
}

void ppsp_contacts_request(struct ppsp_channel *c, cv_usec now) {
    struct ppsp_event e = {.type = PPSP_EVENT_CONTACTS_WANTED};
    if (!may(c) || now < c->pex_answer_at || !push(c, &e)) {
        PPSP_COUNT(c->swarm->p, drop_pex);
        return;
    }
    c->pex_answer_at = cv_usec_add(now, PPSP_PEX_EVERY);
}

enum cv_err ppsp_contacts_in(struct ppsp_channel *c, struct cv_rd *r) {
    struct ppsp_event e = {.type = PPSP_EVENT_CONTACT};
    struct ppsp_pex_contact m;
    enum cv_err err = ppsp_pex_contact_read(r, &m);
    if (err)
        return err;
    if (!may(c) || c->pex_expected == 0 || m.len == 0 || m.len > PPSP_CONTACT_MAX) {
        PPSP_COUNT(c->swarm->p, drop_contact);
        return CV_ERR_OK;
    }
    c->pex_expected--;
    e.period = m.period;
    memcpy(e.id, m.octets, m.len);
    e.id_len = m.len;
    if (!push(c, &e))
        PPSP_COUNT(c->swarm->p, drop_contact);
    return CV_ERR_OK;
}

static bool asks(const struct ppsp_channel *c) {
    return may(c) && (c->messages >> PPSP_MSG_PEX_REQ & 1) &&
           (c->called_us || ppsp_swarm_hungry(c->swarm));
}

bool ppsp_contacts_due(const struct ppsp_channel *c, cv_usec now) {
    return c->contacts || (now >= c->pex_ask_at && asks(c));
}

cv_usec ppsp_contacts_next(const struct ppsp_channel *c) {
    return c->pex_ask_at > c->swarm->p->last_now && asks(c) ? c->pex_ask_at : CV_USEC_NEVER;
}

/* What does not fit goes into the next datagram. */
static void put_answer(struct ppsp_channel *c, struct cv_wr *w, size_t spare) {
    while (c->contact_count) {
        const struct ppsp_contact *last = &c->contacts[c->contact_count - 1];
        if (cv_wr_room(w) < PPSP_PEX_CONTACT_LEN(last->len) + spare)
            return;
        ppsp_pex_contact_write(w,
                               &(struct ppsp_pex_contact){last->period, last->octets, last->len});
        c->contact_count--;
    }
    ppsp_contacts_done(c);
}

void ppsp_contacts_put(struct ppsp_channel *c, cv_usec now, struct cv_wr *w, size_t spare) {
    if (now >= c->pex_ask_at && asks(c) && cv_wr_room(w) >= 1 + spare) {
        ppsp_bare_write(w, PPSP_MSG_PEX_REQ);
        c->pex_ask_at = cv_usec_add(now, PPSP_PEX_EVERY + CV_SEC(1)); /* not too early for it */
        c->pex_expected = PPSP_CONTACTS;
    }
    if (c->contacts)
        put_answer(c, w, spare);
}

void ppsp_contacts_done(struct ppsp_channel *c) {
    free(c->contacts);
    c->contacts = NULL;
    c->contact_count = 0;
}

enum cv_err ppsp_peer_tell(struct ppsp *p, struct cv_now now, cv_handle swarm,
                           const struct cv_endpoint *endpoint, const struct ppsp_contact *contacts,
                           unsigned n) {
    struct ppsp_swarm *s = ppsp_swarm_find(p, swarm);
    struct ppsp_channel *c = s ? ppsp_channel_find(p, endpoint, s) : NULL;
    (void)now;
    if (!c || c->state != PPSP_PEER_OPEN || !may(c) || n == 0)
        return CV_ERR_OK;
    n = n < PPSP_CONTACTS ? n : PPSP_CONTACTS;
    struct ppsp_contact *list = malloc(n * sizeof *list);
    if (!list)
        return CV_ERR_NOMEM;
    memcpy(list, contacts, n * sizeof *list);
    ppsp_contacts_done(c);
    c->contacts = list;
    c->contact_count = (uint8_t)n;
    ppsp_channel_wake(c);
    return CV_ERR_OK;
}
