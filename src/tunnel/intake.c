#include "tunnel/intake.h"

#include <assert.h>
#include <string.h>

#include "crypto/keys.h"

static const struct tun_replay *remembered(const struct tun_intake *in, const uint8_t *flight,
                                           const uint8_t *cookie) {
    for (unsigned i = 0; i < in->replays; i++) {
        const struct tun_replay *r = &in->replay[i];
        if (memcmp(r->ephemeral, flight, TUN_REPLAY) == 0 ||
            (cookie && memcmp(r->cookie, cookie, TUN_REPLAY) == 0))
            return r;
    }
    return NULL;
}

bool tun_intake_knows(const struct tun_intake *in, const uint8_t *flight) {
    return remembered(in, flight, NULL) != NULL;
}

bool tun_intake_replayed(struct tun_intake *in, const uint8_t *flight, const uint8_t *cookie) {
    if (remembered(in, flight, cookie))
        return true;
    struct tun_replay *r = &in->replay[in->replay_next];
    in->replay_next = (in->replay_next + 1) % TUN_INTRO_REPLAYS;
    if (in->replays < TUN_INTRO_REPLAYS)
        in->replays++;
    memcpy(r->ephemeral, flight, TUN_REPLAY);
    memcpy(r->cookie, cookie, TUN_REPLAY);
    return false;
}

/* `last`: who is answered last, else first. count > 0. */
static unsigned find(const struct tun_intake *in, bool last) {
    unsigned at = 0;
    for (unsigned i = 1; i < in->count; i++) {
        const struct tun_waiting *a = &in->waiting[i], *b = &in->waiting[at];
        bool before = a->effort != b->effort ? a->effort > b->effort : a->order < b->order;
        if (before != last)
            at = i;
    }
    return at;
}

static void drop(struct tun_intake *in, unsigned at) {
    tun_waiting_done(&in->waiting[at]);
    in->count--;
    if (at == in->count)
        return;
    in->waiting[at] = in->waiting[in->count];
    tun_waiting_done(&in->waiting[in->count]);
}

bool tun_intake_has_room(const struct tun_intake *in, unsigned effort) {
    return in->count < TUN_INTRO_QUEUE || in->waiting[find(in, /* last= */ true)].effort < effort;
}

bool tun_intake_put(struct tun_intake *in, struct tun_waiting *w) {
    assert(tun_intake_has_room(in, w->effort));
    bool full = in->count == TUN_INTRO_QUEUE;
    if (full)
        drop(in, find(in, /* last= */ true));
    w->order = in->orders++;
    in->waiting[in->count++] = *w;
    tun_waiting_done(w);
    return full;
}

bool tun_intake_take(struct tun_intake *in, struct tun_waiting *ret) {
    if (in->count == 0)
        return false;
    unsigned at = find(in, /* last= */ false);
    *ret = in->waiting[at];
    drop(in, at);
    return true;
}

unsigned tun_intake_expire(struct tun_intake *in, cv_usec now) {
    unsigned n = 0;
    for (unsigned i = in->count; i-- > 0;) {
        if (in->waiting[i].until > now)
            continue;
        drop(in, i);
        n++;
    }
    return n;
}

cv_usec tun_intake_due(const struct tun_intake *in) {
    cv_usec due = CV_USEC_NEVER;
    for (unsigned i = 0; i < in->count; i++)
        due = cv_usec_min(due, in->waiting[i].until);
    return due;
}

void tun_waiting_done(struct tun_waiting *w) {
    cv_wipe(w, sizeof *w); /* the handshake in it, too */
}

void tun_intake_done(struct tun_intake *in) {
    while (in->count > 0)
        drop(in, in->count - 1);
    cv_wipe(in, sizeof *in);
}
