/* The ring of events and the outbox: order, copies, what is lost when full. */
#include <string.h>

#include "support/suite.h"
#include "tunnel/events.h"
#include "tunnel/outbox.h"

CV_SUITE(tun_events);

static struct tun_event datagram(const uint8_t *buf, size_t len) {
    return (struct tun_event){.kind = TUN_EVENT_DATAGRAM, .datagram = {.buf = buf, .len = len}};
}

Test(tun_events, keeps_order_and_copies_what_is_pointed_to) {
    struct tun_events q;
    tun_events_init(&q);
    uint8_t buf[TUN_DATAGRAM];
    unsigned pushed = 0, taken = 0, user;
    struct tun_event ev;
    /* in bursts, so that the ring turns and grows while it holds something */
    for (unsigned burst = 1; burst < 60; burst++) {
        for (unsigned i = 0; i < burst; i++, pushed++) {
            memset(buf, (int)(pushed & 0xff), sizeof buf);
            struct tun_event in = datagram(buf, pushed % TUN_DATAGRAM);
            cr_assert(tun_events_push(&q, pushed % 3, &in));
        }
        for (unsigned i = 0; i < burst - 1 || (burst == 59 && taken < pushed); i++, taken++) {
            cr_assert(tun_events_take(&q, &user, &ev));
            cr_expect_eq(user, taken % 3);
            cr_assert_eq(ev.datagram.len, taken % TUN_DATAGRAM);
            for (size_t k = 0; k < ev.datagram.len; k++)
                cr_assert_eq(ev.datagram.buf[k], taken & 0xff);
        }
    }
    cr_expect_eq(taken, pushed);
    cr_expect_not(tun_events_take(&q, &user, &ev));
    tun_events_done(&q);
}

Test(tun_events, loses_datagrams_first) {
    struct tun_events q;
    tun_events_init(&q);
    unsigned n = 0, user;
    struct tun_event in = datagram((const uint8_t *)"x", 1), ev;
    while (n < 100000 && tun_events_push(&q, 0, &in))
        n++;
    cr_expect_eq(n, TUN_EVENTS_MAX);
    struct tun_event down = {.kind = TUN_EVENT_CIRCUIT_DOWN};
    for (unsigned i = 0; i < TUN_EVENTS_MAX; i++)
        cr_assert(tun_events_push(&q, 0, &down));
    cr_expect_not(tun_events_push(&q, 0, &down), "there is an end to everything");
    cr_assert(tun_events_take(&q, &user, &ev));
    cr_expect_eq(ev.kind, TUN_EVENT_DATAGRAM);
    tun_events_done(&q);
}

Test(tun_events, an_outbox_is_a_bounded_queue) {
    struct tun_outbox o;
    tun_outbox_init(&o);
    cr_expect_null(tun_outbox_first(&o));
    uint32_t put = 0, got = 0;
    struct tun_outgoing *item;
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < 40 && (item = tun_outbox_add(&o)) != NULL; i++)
            item->circuit = put++;
        for (unsigned i = 0; i < 30; i++, got++) {
            item = tun_outbox_first(&o);
            cr_assert_not_null(item);
            cr_expect_eq(item->circuit, got);
            tun_outbox_drop(&o);
        }
    }
    while ((item = tun_outbox_add(&o)) != NULL)
        item->circuit = put++;
    cr_expect_eq(put - got, TUN_OUTBOX_MAX);
    tun_outbox_done(&o);
}
