/*
 * What the last hop of a circuit says for the DHT, in tests and fuzz targets: the items
 * that LOOKUP asks for, and what PUT brings. Which item that is, and whether it is stored, the
 * test decides; nobody has a DHT here.
 */
#ifndef CULVERT_TUNNEL_TESTS_LASTHOP_H
#define CULVERT_TUNNEL_TESTS_LASTHOP_H

#include <assert.h>
#include <string.h>

#include "tunnel/bodies.h"
#include "tunnel/relaycmd.h"
#include "tunnel/slot.h"
#include "tunnel/tunnel.h"

/* Answers `ev`, a LOOKUP, for its key number `key`; `item` NULL: there is nothing. */
static inline void lasthop_result(struct tunnel *t, const struct cv_now *now,
                                  const struct tun_event *ev, unsigned key,
                                  const struct tun_item *item) {
    uint8_t value[4 + TUN_SLOT_VALUE] = "900:";
    struct tun_result r = {.kind = TUN_LOOKUP_ITEMS, .key = (uint8_t)key, .found = item != NULL};
    if (item) {
        r.seq = (uint64_t)item->seq;
        memcpy(r.signature, item->sig, CV_SIGNATURE);
        memcpy(value + 4, item->value, TUN_SLOT_VALUE);
        r.value = value;
        r.value_len = sizeof value;
    }
    struct tun_body b;
    tun_body_init(&b);
    tun_result_write(&b.w, &r);
    assert(!b.w.err);
    (void)tun_answer(t, now, ev->request.hop, ev->request.transaction, TUN_CMD_RESULT,
                     tun_body_data(&b), tun_body_len(&b));
}

/* What a PUT brings; it was signed by whom it says. */
static inline struct tun_item lasthop_item(const struct tun_put *q) {
    struct tun_item item = {.seq = (int64_t)q->seq};
    assert(q->value_len == 4 + TUN_SLOT_VALUE);
    memcpy(item.key, q->public_key, CV_KEY);
    memcpy(item.sig, q->signature, CV_SIGNATURE);
    memcpy(item.value, q->value + 4, TUN_SLOT_VALUE);
    assert(tun_item_verify(&item));
    return item;
}

/* Answers `ev`, a PUT. */
static inline void lasthop_put_done(struct tunnel *t, const struct cv_now *now,
                                    const struct tun_event *ev, const struct tun_put_done *done) {
    struct tun_body b;
    tun_body_init(&b);
    tun_put_done_write(&b.w, done);
    (void)tun_answer(t, now, ev->request.hop, ev->request.transaction, TUN_CMD_PUT_DONE,
                     tun_body_data(&b), tun_body_len(&b));
}

#endif
