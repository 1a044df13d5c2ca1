/* Channels and their recordings: what the pointer of a live swarm says, written along with
 * a swarm of ours, or read for one that we watch. */
#include <stdlib.h>
#include <string.h>

#include "node/recordings.h"
#include "node/state.h"
#include "tunnel/hidden.h"

struct node_pointing {
    cv_handle hidden; /* 0: not (yet) */
    struct node_uri channel;
    bool writes, known;
    uint8_t octets[NODE_RECORDINGS_OCTETS]; /* what it writes */
    struct node_recordings recordings;      /* what it writes, or what was read, once `known` */
};

static struct node_pointing *pointing_of(struct node_swarm *s, const struct node_uri *channel) {
    if (!s->pointing)
        s->pointing = calloc(1, sizeof *s->pointing);
    if (s->pointing)
        s->pointing->channel = *channel;
    return s->pointing;
}

/* Only when circuits can be built: a direct swarm in a network without relays has none. */
static void begin(struct node *n, struct cv_now now, struct node_pointing *p) {
    static_assert((int)NODE_RECORDINGS_OCTETS == TUN_POINTER, "they fill a pointer");
    const struct node_uri *u = &p->channel;
    if (p->hidden || !n->client_ready)
        return;
    if (tun_hidden_point(n->client, &now, u->swarm_id, u->swarm_id_len,
                         u->has_secret ? u->secret : NULL, p->writes ? p->octets : NULL,
                         &p->hidden) != CV_ERR_OK)
        p->hidden = 0; /* tried again from node_swarm_retry */
}

void node_pointing_meet(struct node *n, struct cv_now now, struct node_swarm *s) {
    bool watched = s->cfg.uri.kind == NODE_URI_LIVE && !s->cfg.complete;
    struct node_pointing *p = watched ? pointing_of(s, &s->cfg.uri) : s->pointing;
    if (p)
        begin(n, now, p);
}

enum cv_err node_point(struct node *n, struct cv_now now, cv_handle swarm,
                       const struct node_uri *channel,
                       const uint8_t recordings[NODE_RECORDINGS_OCTETS]) {
    struct node_swarm *s = node_swarm_get(n, swarm);
    if (!s)
        return CV_ERR_NOENT;
    if (channel->kind != NODE_URI_LIVE || (s->pointing && !s->pointing->writes))
        return CV_ERR_INVAL;
    struct node_recordings list;
    if (node_recordings_read(&list, recordings, channel))
        return CV_ERR_INVAL;
    struct node_pointing *p = pointing_of(s, channel);
    if (!p)
        return CV_ERR_NOMEM;
    p->known = true;
    p->recordings = list;
    /* The new one goes the ways of the old one: it takes over its third hops. */
    cv_handle before = p->hidden;
    p->hidden = 0;
    p->writes = true;
    memcpy(p->octets, recordings, NODE_RECORDINGS_OCTETS);
    begin(n, now, p);
    if (before)
        tun_hidden_close(n->client, &now, before);
    if (!p->hidden && before) /* there was no room for both */
        begin(n, now, p);
    node_settle(n, now);
    return CV_ERR_OK;
}

void node_pointing_end(struct node *n, struct cv_now now, struct node_swarm *s) {
    if (!s->pointing)
        return;
    if (s->pointing->hidden)
        tun_hidden_close(n->client, &now, s->pointing->hidden);
    free(s->pointing);
    s->pointing = NULL;
}

static struct node_swarm *swarm_of(struct node *n, cv_handle hidden) {
    for (size_t i = 0; i < NODE_SWARMS_MAX; i++) {
        struct node_swarm *s = &n->swarms[i];
        if (s->used && s->pointing && s->pointing->hidden == hidden)
            return s;
    }
    return NULL;
}

/* Somebody may have put an old list there again, or nonsense. */
void node_pointing_on_pointer(struct node *n, const struct tun_event *ev) {
    struct node_swarm *s = swarm_of(n, ev->pointer.hidden);
    struct node_recordings r;
    if (!s || node_recordings_read(&r, ev->pointer.octets, &s->pointing->channel)) {
        n->counters.pointers_refused++;
        return;
    }
    struct node_pointing *p = s->pointing;
    if (p->writes || (p->known && r.issued <= p->recordings.issued))
        return;
    p->known = true;
    p->recordings = r;
    node_event_push(
        n, &(struct node_event){.kind = NODE_EVENT_RECORDINGS, .swarm = node_swarm_handle(n, s)});
}

const struct node_recordings *node_recordings(const struct node *n, cv_handle swarm) {
    const struct node_swarm *s = node_swarm_get(n, swarm);
    return s && s->pointing && s->pointing->known ? &s->pointing->recordings : NULL;
}

const struct node_uri *node_recordings_of(const struct node *n, cv_handle swarm, bool *ret_writes) {
    const struct node_swarm *s = node_swarm_get(n, swarm);
    if (!s || !s->pointing)
        return NULL;
    *ret_writes = s->pointing->writes;
    return &s->pointing->channel;
}

bool node_pointed(const struct node *n, cv_handle swarm) {
    const struct node_swarm *s = node_swarm_get(n, swarm);
    struct tun_hidden_info info;
    return s && s->pointing && s->pointing->writes && s->pointing->hidden &&
           tun_hidden_info(n->client, s->pointing->hidden, &info) == CV_ERR_OK &&
           info.state == TUN_HIDDEN_SHARED;
}
