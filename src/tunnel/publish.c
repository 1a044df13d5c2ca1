/*
 * A seeder writes its contacts: slot 0 when there is room, and two slots at
 * random, again every 30 to 60 minutes and when its points change. Each slot
 * through two circuits of its own that end apart, so that no last hop learns two
 * slots of a swarm, and none alone decides what the slot is said to hold or
 * whether it is written: what is there is read through both, the newest that
 * verifies is opened, completed, signed, and put through both with cas. See
 * hiddenstate.h.
 */
#include <string.h>

#include "tunnel/bodies.h"
#include "tunnel/hiddenstate.h"

#define ANSWER CV_SEC(15) /* a look-up or a put in the DHT */
#define OTHER  CV_SEC(2)  /* what one way read is enough, when the other takes longer */

static cv_usec now(const struct tun_hidden *h) {
    return tun_hidden_now(h);
}

static void copy_idle(struct tun_copy *c) {
    tun_road_close(&c->road);
    c->state = TUN_COPY_IDLE;
}

void tun_publication_idle(struct tun_publication *p) {
    for (unsigned i = 0; i < 2; i++)
        copy_idle(&p->copy[i]);
}

/* Reads and writes anew, from the beginning. */
void tun_publication_begin(struct tun_publication *p, cv_usec at) {
    for (unsigned i = 0; i < 2; i++) {
        tun_road_close(&p->copy[i].road);
        p->copy[i] = (struct tun_copy){.state = TUN_COPY_BUILDING, .retry_at = at};
    }
    p->found = p->ready = false;
}

static void count_slots(struct tun_hidden *h) {
    struct tun_seeder *s = h->seeder;
    unsigned n = 0;
    for (unsigned i = 0; i < TUN_PUBLICATIONS; i++)
        n += s->publication[i].written && s->publication[i].period == s->now.keys.period;
    if (n > 0 && h->info.slots == 0 && h->info.published_at == 0)
        h->info.published_at = now(h);
    h->info.slots = n;
    if (n > 0)
        tun_hidden_set_state(h, TUN_HIDDEN_SHARED);
}

/* A slot of 1..15 that none of the others has. */
static uint8_t another_slot(struct tun_hidden *h) {
    struct tun_seeder *s = h->seeder;
    for (;;) {
        uint8_t slot = (uint8_t)cv_rng_between(tun_hidden_rng(h), 1, TUN_SLOTS - 1);
        bool taken = false;
        for (unsigned i = 0; i < TUN_PUBLICATIONS; i++)
            taken |= s->publication[i].slot == slot;
        if (!taken)
            return slot;
    }
}

/* The DHT does not want it now: later, all slots once more. */
static void publication_failed(struct tun_hidden *h, struct tun_publication *p) {
    tun_publication_idle(p);
    if (p->slot == TUN_SLOT_POINTER) {
        tun_pointer_failed(h);
        return;
    }
    struct tun_seeder *s = h->seeder;
    cv_usec again = cv_usec_add(now(h), tun_hidden_pause(h, CV_SEC(60), CV_SEC(3)));
    s->publish_at = cv_usec_min(s->publish_at, again);
}

/* Somebody else wrote it in between, or it cannot be written: read it again, or
 * another one. */
static void publication_again(struct tun_hidden *h, struct tun_publication *p, bool elsewhere) {
    if (++p->again >= TUN_PUBLISH_TRIES) {
        publication_failed(h, p);
        return;
    }
    if (elsewhere && p->slot != 0 && p->slot != TUN_SLOT_POINTER)
        p->slot = another_slot(h);
    tun_publication_begin(p, cv_usec_add(now(h), CV_MSEC(200) << p->again));
    tun_hidden_by(h, now(h));
}

/* This way did not lead there: another one, or the other alone. */
static void copy_failed(struct tun_hidden *h, struct tun_publication *p, struct tun_copy *c) {
    tun_road_close(&c->road);
    if (++c->tries < TUN_PUBLISH_TRIES) {
        c->state = TUN_COPY_BUILDING;
        c->retry_at = cv_usec_add(now(h), CV_MSEC(200) << c->tries);
        tun_hidden_by(h, c->retry_at);
        return;
    }
    c->state = TUN_COPY_IDLE;
    tun_hidden_by(h, now(h));
    const struct tun_copy *other = &p->copy[c == p->copy];
    if (other->state == TUN_COPY_IDLE && !other->written)
        publication_failed(h, p);
}

/* ---- reading ---- */

static void slot_key(const struct tun_hidden *h, const struct tun_publication *p,
                     struct cv_ed25519_secret *ret) {
    tun_slot_key(ret, &h->swarm_secret, p->period, p->slot);
}

static void read_slot(struct tun_hidden *h, struct tun_publication *p, struct tun_copy *c) {
    struct cv_ed25519_secret slot_secret;
    slot_key(h, p, &slot_secret);
    struct tun_body b;
    uint32_t transaction;
    tun_body_init(&b);
    tun_lookup_write(&b.w, &(struct tun_lookup){
                               .kind = TUN_LOOKUP_ITEMS, .n = 1, .keys = slot_secret.public_key});
    cv_wipe(slot_secret.seed, sizeof slot_secret.seed);
    if (tun_road_request(&c->road, TUN_CMD_LOOKUP, tun_body_data(&b), tun_body_len(&b),
                         &transaction)) {
        copy_failed(h, p, c);
        return;
    }
    c->state = TUN_COPY_READING;
    c->asked_at = now(h);
    c->until = cv_usec_add(now(h), ANSWER);
}

/* What the slot holds, verified; false when there is nothing or a lie. */
static bool result_item(const struct tun_hidden *h, const struct tun_publication *p,
                        const struct tun_result *r, struct tun_item *ret) {
    if (!r->found || r->value_len != 4 + TUN_SLOT_VALUE || memcmp(r->value, "900:", 4) != 0 ||
        r->seq > INT64_MAX)
        return false;
    struct cv_ed25519_secret slot_secret;
    slot_key(h, p, &slot_secret);
    ret->seq = (int64_t)r->seq;
    memcpy(ret->key, slot_secret.public_key, CV_KEY);
    memcpy(ret->sig, r->signature, CV_SIGNATURE);
    memcpy(ret->value, r->value + 4, TUN_SLOT_VALUE);
    cv_wipe(&slot_secret, sizeof slot_secret);
    return tun_item_verify(ret);
}

/* The newer one is what the slot holds. */
static void on_result(struct tun_hidden *h, struct tun_publication *p, struct tun_copy *c,
                      const struct tun_result *r) {
    struct tun_item item;
    bool found = result_item(h, p, r, &item);
    if (found && (!p->found || item.seq > p->old.seq)) {
        p->found = true;
        p->old = item;
    }
    if (found && p->slot == TUN_SLOT_POINTER)
        tun_pointer_found(h, &item);
    c->state = TUN_COPY_READ;
    c->until = cv_usec_add(now(h), OTHER);
}

/* ---- writing ---- */

/* `slot`: NULL for a pointer. */
static void make_item(struct tun_hidden *h, struct tun_publication *p,
                      const struct tun_slot *slot) {
    struct tun_item *item = &p->item;
    struct tun_period_secret period_secret;
    struct cv_ed25519_secret slot_secret;
    tun_period_derive(&period_secret, &h->swarm_secret, p->period);
    if (slot)
        tun_slot_seal(item->value, slot, &period_secret, tun_hidden_rng(h));
    else
        tun_pointer_seal(item->value, h->pointer->octets, &period_secret, tun_hidden_rng(h));
    cv_wipe(&period_secret, sizeof period_secret);
    item->seq = h->all->now.wall;
    if (p->found && p->old.seq >= item->seq)
        item->seq = p->old.seq + 1;
    slot_key(h, p, &slot_secret);
    tun_item_sign(item, &slot_secret);
    cv_wipe(&slot_secret, sizeof slot_secret);
    p->ready = true;
}

static void put(struct tun_hidden *h, struct tun_publication *p, struct tun_copy *c) {
    uint8_t value[4 + TUN_SLOT_VALUE];
    memcpy(value, "900:", 4);
    memcpy(value + 4, p->item.value, TUN_SLOT_VALUE);
    struct tun_put msg = {.seq = (uint64_t)p->item.seq,
                          .has_cas = p->found,
                          .cas = p->found ? (uint64_t)p->old.seq : 0,
                          .value = value,
                          .value_len = sizeof value};
    memcpy(msg.public_key, p->item.key, CV_KEY);
    memcpy(msg.signature, p->item.sig, CV_SIGNATURE);
    struct tun_body b;
    uint32_t transaction;
    tun_body_init(&b);
    tun_put_write(&b.w, &msg);
    if (b.w.err || tun_road_request(&c->road, TUN_CMD_PUT, tun_body_data(&b), tun_body_len(&b),
                                    &transaction)) {
        copy_failed(h, p, c);
        return;
    }
    c->state = TUN_COPY_WRITING;
    c->asked_at = now(h);
    c->until = cv_usec_add(now(h), ANSWER);
}

/* Enough was read: what shall stand there? */
static void decide(struct tun_hidden *h, struct tun_publication *p) {
    struct tun_slot slot = {0};
    bool pointer = p->slot == TUN_SLOT_POINTER;
    if (pointer && !h->pointer->writes) {
        tun_publication_idle(p);
        return;
    }
    if (p->found && p->old.seq > h->all->now.wall + TUN_SLOT_AHEAD_S) {
        if (pointer)
            publication_failed(h, p);
        else if (p->slot == 0)
            tun_publication_idle(p);
        else
            publication_again(h, p, /* elsewhere= */ true);
        return;
    }
    if (pointer) {
        make_item(h, p, NULL);
        return;
    }
    if (p->found) {
        struct tun_period_secret period_secret;
        tun_period_derive(&period_secret, &h->swarm_secret, p->period);
        /* Nonsense under a good signature is written over. */
        (void)tun_slot_open(&slot, p->old.value, TUN_SLOT_VALUE, &period_secret);
        cv_wipe(&period_secret, sizeof period_secret);
    }
    struct tun_contact ours[TUN_INTRO_POINTS];
    unsigned n = tun_seeder_contacts(h, ours, TUN_INTRO_POINTS);
    if (n == 0 || tun_slot_merge(&slot, ours, n, /* evict= */ p->slot != 0, h->all->now.wall,
                                 tun_hidden_rng(h)) == 0) {
        tun_publication_idle(p); /* no room in slot 0: others are there already */
        return;
    }
    p->effort = ours[0].effort;
    make_item(h, p, &slot);
}

static void slot_written(struct tun_hidden *h, const struct tun_publication *p) {
    count_slots(h);
    tun_effort_said(&h->seeder->effort, p->effort);
}

static void on_put_done(struct tun_hidden *h, struct tun_publication *p, struct tun_copy *c,
                        const struct tun_put_done *done) {
    if (done->stored > 0 && !done->error) {
        c->written = true;
        copy_idle(c);
        p->written = true;
        if (p->slot == TUN_SLOT_POINTER)
            tun_hidden_set_state(h, TUN_HIDDEN_SHARED);
        else
            slot_written(h, p);
    } else if (done->error == 301 || done->error == 302) {
        tun_road_close(&c->road);
        c->state = TUN_COPY_REFUSED;
    } else {
        copy_failed(h, p, c);
    }
}

void tun_publish_on_reply(struct tun_hidden *h, struct tun_publication *p, const struct tun_road *r,
                          const struct tun_event *ev) {
    struct tun_copy *c = &p->copy[r == &p->copy[1].road];
    struct tun_body b;
    struct cv_rd rd = tun_body_rd(&b, ev->reply.transaction, ev->reply.body, ev->reply.len);
    if (c->state == TUN_COPY_READING) {
        struct tun_result result;
        if (ev->reply.err)
            copy_failed(h, p, c);
        else if (ev->reply.command == TUN_CMD_RESULT && tun_result_read(&rd, &result) == CV_ERR_OK)
            on_result(h, p, c, &result);
    } else if (c->state == TUN_COPY_WRITING) {
        struct tun_put_done done;
        if (ev->reply.err)
            copy_failed(h, p, c);
        else if (ev->reply.command == TUN_CMD_RESULT)
            return; /* the look-up's, once more */
        else if (ev->reply.command != TUN_CMD_PUT_DONE || tun_put_done_read(&rd, &done))
            copy_failed(h, p, c);
        else
            on_put_done(h, p, c, &done);
    }
}

/* ---- when ---- */

/* Whoever writes shows where his ways end, again every hour and for days. Who only reads a
 * pointer shows nobody anything. */
static const struct tun_third *third_of(const struct tun_hidden *h) {
    return h->seeder || h->pointer->writes ? &h->third : NULL;
}

/* Where the other way ends, or ended, this one does not. */
static void copy_open(struct tun_hidden *h, struct tun_publication *p, struct tun_copy *c) {
    const struct tun_copy *other = &p->copy[c == p->copy];
    struct tun_path_request req = {
        .purpose = TUN_PURPOSE_PUBLISH, .avoid = &other->last, .avoids = 1, .third = third_of(h)};
    enum cv_err err = tun_road_open(h, &c->road, TUN_ROAD_PUBLISH, p, &req);
    if (!err) {
        tun_road_last(&c->road, c->last);
    } else if (err == CV_ERR_UNREACHABLE && (other->written || other->state == TUN_COPY_REFUSED)) {
        copy_idle(c); /* there are no two */
    } else {
        c->retry_at = cv_usec_add(now(h), CV_MSEC(200));
        tun_hidden_by(h, c->retry_at);
    }
}

/* Who says that something newer stands there may lie, unless the other way did
 * not get it written either. */
static void copy_refused(struct tun_hidden *h, struct tun_publication *p, struct tun_copy *c) {
    const struct tun_copy *other = &p->copy[c == p->copy];
    if (other->written)
        copy_failed(h, p, c);
    else if (other->state == TUN_COPY_IDLE || other->state == TUN_COPY_REFUSED)
        publication_again(h, p, /* elsewhere= */ false);
}

static void copy_step(struct tun_hidden *h, struct tun_publication *p, struct tun_copy *c) {
    bool asked = c->state == TUN_COPY_READING || c->state == TUN_COPY_WRITING;
    if (c->state == TUN_COPY_IDLE)
        return;
    if (tun_road_stuck(&c->road)) {
        (void)tun_road_give_up(&c->road);
        copy_failed(h, p, c);
    } else if (c->state == TUN_COPY_BUILDING && c->road.kind == TUN_ROAD_NONE) {
        if (c->retry_at <= now(h))
            copy_open(h, p, c);
        else
            tun_hidden_by(h, c->retry_at);
    } else if (c->state == TUN_COPY_BUILDING && c->road.ready) {
        if (p->ready)
            put(h, p, c); /* the other has read, and waited long enough */
        else
            read_slot(h, p, c);
    } else if (c->state == TUN_COPY_REFUSED) {
        copy_refused(h, p, c);
    } else if (c->state == TUN_COPY_READ) {
        if (c->road.kind == TUN_ROAD_NONE)
            c->state = TUN_COPY_BUILDING; /* lost while it waited */
        else if (p->ready)
            put(h, p, c);
    } else if (asked) {
        if (c->road.kind && tun_road_dead(&c->road, c->asked_at))
            tun_road_close(&c->road);
        if (now(h) >= c->until)
            tun_road_suspect(&c->road);
        if (c->road.kind == TUN_ROAD_NONE)
            copy_failed(h, p, c);
        else
            tun_hidden_by(h, c->until);
    }
}

/* Both ways have read, or one and the other takes too long. */
static bool may_decide(struct tun_hidden *h, const struct tun_publication *p) {
    bool read = false, waiting = false, over = false;
    for (unsigned i = 0; i < 2 && !p->ready; i++) {
        const struct tun_copy *c = &p->copy[i];
        waiting |= c->state == TUN_COPY_BUILDING || c->state == TUN_COPY_READING;
        if (c->state != TUN_COPY_READ)
            continue;
        read = true;
        over = now(h) >= c->until;
        tun_hidden_by(h, c->until);
    }
    return read && (!waiting || over);
}

void tun_publication_step(struct tun_hidden *h, struct tun_publication *p) {
    if (may_decide(h, p))
        decide(h, p);
    for (unsigned i = 0; i < 2; i++)
        copy_step(h, p, &p->copy[i]);
}

static void begin(struct tun_hidden *h) {
    struct tun_seeder *s = h->seeder;
    uint32_t period = s->now.keys.period;
    for (unsigned i = 0; i < TUN_PUBLICATIONS; i++) {
        struct tun_publication *p = &s->publication[i];
        tun_publication_idle(p);
        /* The two slots stay ours for a period: whoever knows the swarm learns
         * no more from two than from all. */
        if (p->period != period) {
            *p = (struct tun_publication){.period = period};
            p->slot = i == 0 ? 0 : another_slot(h);
        }
        p->again = 0;
        tun_publication_begin(p, now(h));
    }
    s->changed = s->lost = false;
    s->begun_at = now(h);
    s->publish_at = cv_usec_add(now(h), CV_SEC(cv_rng_between(tun_hidden_rng(h), 1800, 3600)));
    tun_hidden_by(h, now(h));
}

void tun_publish_work(struct tun_hidden *h) {
    struct tun_seeder *s = h->seeder;
    if (!s->now.set)
        return;
    count_slots(h);
    for (unsigned i = 0; i < TUN_PUBLICATIONS; i++)
        tun_publication_step(h, &s->publication[i]);
    if (h->info.points == 0)
        return;
    cv_usec pace = tun_hidden_pause(h, CV_SEC(5), CV_MSEC(500));
    /* The slots lead nobody to us. Whoever cuts us off time and again does not make
     * us write more often than at that pace. */
    bool urgent = h->info.slots == 0 || (s->lost && cv_usec_since(now(h), s->begun_at) >= pace);
    if (s->changed && s->settle_at == 0) {
        /* All three points, if they come soon; one is better than waiting. */
        s->settle_at = cv_usec_add(now(h), urgent ? CV_MSEC(500) : pace);
    }
    if (s->changed && urgent && h->info.points >= TUN_INTRO_POINTS)
        s->settle_at = now(h);
    cv_usec due = s->changed ? s->settle_at : s->publish_at;
    if (due <= now(h)) {
        s->settle_at = 0;
        begin(h);
    } else {
        tun_hidden_by(h, due);
    }
}

void tun_publish_done(struct tun_hidden *h) {
    for (unsigned i = 0; i < TUN_PUBLICATIONS; i++)
        tun_publication_idle(&h->seeder->publication[i]);
}
