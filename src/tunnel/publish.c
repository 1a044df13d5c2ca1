/*
 * A seeder writes its contacts: slot 0 when there is room, and two slots at
 * random, again every 30 to 60 minutes and when its points change. Each slot
 * through a circuit of its own: what is there is read, opened, completed,
 * signed and put with cas; so no last hop learns two slots of a swarm. See
 * hiddenstate.h.
 */
#include <string.h>

#include "tunnel/bodies.h"
#include "tunnel/hiddenstate.h"

#define ANSWER CV_SEC(15) /* a look-up or a put in the DHT */
#define TRIES  4
/* Somebody who knows the swarm can sign far into the future, and nobody writes
 * that slot again in its period. */
#define AHEAD_S 7200

static cv_usec now(const struct tun_hidden *h) {
    return tun_hidden_now(h);
}

static void publication_idle(struct tun_publication *p) {
    tun_road_close(&p->road);
    p->state = TUN_PUBLICATION_IDLE;
    p->retry_at = CV_USEC_NEVER;
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

static void fail(struct tun_hidden *h, struct tun_publication *p, bool elsewhere) {
    tun_road_close(&p->road);
    if (++p->tries >= TRIES) {
        publication_idle(p);
        /* The DHT does not want it now: later, all slots once more. */
        struct tun_seeder *s = h->seeder;
        cv_usec again = cv_usec_add(now(h), tun_hidden_pause(h, CV_SEC(60), CV_SEC(3)));
        s->publish_at = cv_usec_min(s->publish_at, again);
        return;
    }
    if (elsewhere && p->slot != 0)
        p->slot = another_slot(h);
    p->state = TUN_PUBLICATION_BUILDING;
    p->retry_at = cv_usec_add(now(h), CV_MSEC(200) << p->tries);
    tun_hidden_by(h, p->retry_at);
}

/* ---- reading ---- */

static void slot_key(const struct tun_hidden *h, const struct tun_publication *p,
                     struct cv_ed25519_secret *ret) {
    tun_slot_key(ret, &h->swarm_secret, p->period, p->slot);
}

static void read_slot(struct tun_hidden *h, struct tun_publication *p) {
    struct cv_ed25519_secret slot_secret;
    slot_key(h, p, &slot_secret);
    struct tun_body b;
    uint32_t transaction;
    tun_body_init(&b);
    tun_lookup_write(&b.w, &(struct tun_lookup){
                               .kind = TUN_LOOKUP_ITEMS, .n = 1, .keys = slot_secret.public_key});
    cv_wipe(slot_secret.seed, sizeof slot_secret.seed);
    if (tun_road_request(&p->road, TUN_CMD_LOOKUP, tun_body_data(&b), tun_body_len(&b),
                         &transaction)) {
        fail(h, p, /* elsewhere= */ false);
        return;
    }
    p->state = TUN_PUBLICATION_READING;
    p->asked_at = now(h);
    p->until = cv_usec_add(now(h), ANSWER);
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

/* ---- writing ---- */

static void put(struct tun_hidden *h, struct tun_publication *p, const struct tun_slot *slot,
                const struct tun_item *old) {
    struct tun_item item;
    struct tun_period_secret period_secret;
    struct cv_ed25519_secret slot_secret;
    tun_period_derive(&period_secret, &h->swarm_secret, p->period);
    tun_slot_seal(item.value, slot, &period_secret, tun_hidden_rng(h));
    cv_wipe(&period_secret, sizeof period_secret);
    item.seq = h->all->now.wall;
    if (old && old->seq >= item.seq)
        item.seq = old->seq + 1;
    slot_key(h, p, &slot_secret);
    tun_item_sign(&item, &slot_secret);
    cv_wipe(&slot_secret, sizeof slot_secret);

    uint8_t value[4 + TUN_SLOT_VALUE];
    memcpy(value, "900:", 4);
    memcpy(value + 4, item.value, TUN_SLOT_VALUE);
    struct tun_put msg = {.seq = (uint64_t)item.seq,
                          .has_cas = old != NULL,
                          .cas = old ? (uint64_t)old->seq : 0,
                          .value = value,
                          .value_len = sizeof value};
    memcpy(msg.public_key, item.key, CV_KEY);
    memcpy(msg.signature, item.sig, CV_SIGNATURE);
    struct tun_body b;
    uint32_t transaction;
    tun_body_init(&b);
    tun_put_write(&b.w, &msg);
    if (b.w.err || tun_road_request(&p->road, TUN_CMD_PUT, tun_body_data(&b), tun_body_len(&b),
                                    &transaction)) {
        fail(h, p, /* elsewhere= */ false);
        return;
    }
    p->state = TUN_PUBLICATION_WRITING;
    p->asked_at = now(h);
    p->until = cv_usec_add(now(h), ANSWER);
}

static void write_slot(struct tun_hidden *h, struct tun_publication *p,
                       const struct tun_result *r) {
    struct tun_item old;
    struct tun_slot slot = {0};
    bool found = result_item(h, p, r, &old);
    if (found && old.seq > h->all->now.wall + AHEAD_S) {
        if (p->slot == 0)
            publication_idle(p);
        else
            fail(h, p, /* elsewhere= */ true);
        return;
    }
    if (found) {
        struct tun_period_secret period_secret;
        tun_period_derive(&period_secret, &h->swarm_secret, p->period);
        /* Nonsense under a good signature is written over. */
        (void)tun_slot_open(&slot, old.value, TUN_SLOT_VALUE, &period_secret);
        cv_wipe(&period_secret, sizeof period_secret);
    }
    struct tun_contact ours[TUN_INTRO_POINTS];
    unsigned n = tun_seeder_contacts(h, ours, TUN_INTRO_POINTS);
    if (n == 0 || tun_slot_merge(&slot, ours, n, /* evict= */ p->slot != 0, h->all->now.wall,
                                 tun_hidden_rng(h)) == 0) {
        publication_idle(p); /* no room in slot 0: others are there already */
        return;
    }
    put(h, p, &slot, found ? &old : NULL);
}

void tun_publish_on_reply(struct tun_hidden *h, struct tun_publication *p,
                          const struct tun_event *ev) {
    struct tun_body b;
    struct cv_rd rd = tun_body_rd(&b, ev->reply.transaction, ev->reply.body, ev->reply.len);
    if (p->state == TUN_PUBLICATION_READING) {
        struct tun_result r;
        if (ev->reply.err)
            fail(h, p, /* elsewhere= */ false);
        else if (ev->reply.command == TUN_CMD_RESULT && tun_result_read(&rd, &r) == CV_ERR_OK)
            write_slot(h, p, &r);
    } else if (p->state == TUN_PUBLICATION_WRITING) {
        struct tun_put_done done;
        if (ev->reply.err)
            fail(h, p, /* elsewhere= */ false);
        else if (ev->reply.command == TUN_CMD_RESULT)
            return; /* the look-up's, once more */
        else if (tun_put_done_read(&rd, &done) || done.error || done.stored == 0)
            fail(h, p, /* elsewhere= */ false);
        else {
            p->written = true;
            publication_idle(p);
            count_slots(h);
        }
    }
}

/* ---- when ---- */

static void publication_step(struct tun_hidden *h, struct tun_publication *p) {
    if (p->state == TUN_PUBLICATION_IDLE)
        return;
    if (tun_road_stuck(&p->road)) {
        (void)tun_road_give_up(&p->road);
        fail(h, p, /* elsewhere= */ false);
        return;
    }
    if (p->state == TUN_PUBLICATION_BUILDING && p->road.kind == TUN_ROAD_NONE) {
        if (p->retry_at > now(h)) {
            tun_hidden_by(h, p->retry_at);
            return;
        }
        struct tun_path_request req = {.purpose = TUN_PURPOSE_PUBLISH};
        if (tun_road_open(h, &p->road, TUN_ROAD_PUBLISH, p, &req)) {
            p->retry_at = cv_usec_add(now(h), CV_MSEC(200));
            tun_hidden_by(h, p->retry_at);
            return;
        }
    }
    if (p->state == TUN_PUBLICATION_BUILDING && p->road.ready) {
        read_slot(h, p);
        return;
    }
    if (p->state == TUN_PUBLICATION_READING || p->state == TUN_PUBLICATION_WRITING) {
        if (p->road.kind && tun_road_dead(&p->road, p->asked_at))
            tun_road_close(&p->road);
        if (now(h) >= p->until)
            tun_road_suspect(&p->road);
        if (p->road.kind == TUN_ROAD_NONE)
            fail(h, p, /* elsewhere= */ false);
        else
            tun_hidden_by(h, p->until);
    }
}

static void begin(struct tun_hidden *h) {
    struct tun_seeder *s = h->seeder;
    uint32_t period = s->now.keys.period;
    for (unsigned i = 0; i < TUN_PUBLICATIONS; i++) {
        struct tun_publication *p = &s->publication[i];
        tun_road_close(&p->road);
        /* The two slots stay ours for a period: whoever knows the swarm learns
         * no more from two than from all. */
        if (p->period != period) {
            *p = (struct tun_publication){.period = period};
            p->slot = i == 0 ? 0 : another_slot(h);
        }
        p->state = TUN_PUBLICATION_BUILDING;
        p->tries = 0;
        p->retry_at = now(h);
    }
    s->changed = false;
    s->publish_at = cv_usec_add(now(h), CV_SEC(cv_rng_between(tun_hidden_rng(h), 1800, 3600)));
    tun_hidden_by(h, now(h));
}

void tun_publish_work(struct tun_hidden *h) {
    struct tun_seeder *s = h->seeder;
    if (!s->now.set)
        return;
    count_slots(h);
    for (unsigned i = 0; i < TUN_PUBLICATIONS; i++)
        publication_step(h, &s->publication[i]);
    if (h->info.points == 0)
        return;
    if (s->changed && s->settle_at == 0) {
        /* All three points, if they come soon; one is better than waiting. */
        bool first = h->info.slots == 0 && h->info.points < TUN_INTRO_POINTS;
        cv_usec wait = h->info.points >= TUN_INTRO_POINTS && h->info.slots == 0 ? 0
                       : first                                                  ? CV_MSEC(500)
                               : tun_hidden_pause(h, CV_SEC(5), CV_MSEC(500));
        s->settle_at = cv_usec_add(now(h), wait);
    }
    if (s->changed && h->info.slots == 0 && h->info.points >= TUN_INTRO_POINTS)
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
        tun_road_close(&h->seeder->publication[i].road);
}
