#include "tunnel/calendar.h"

#include <string.h>

#include "tunnel/descriptor.h"

void tun_calendar_note(struct tun_calendar *c, const struct cv_addr *from, uint32_t day,
                       int64_t wall) {
    struct cv_addr network = cv_addr_network(from, 16, 32);
    unsigned at = 0;
    while (at < c->voices && !cv_addr_equal(&c->voice[at].network, &network))
        at++;
    if (at == TUN_CALENDAR_MAX) {
        at = c->next;
        c->next = (c->next + 1) % TUN_CALENDAR_MAX;
    } else if (at == c->voices) {
        c->voices++;
    }
    c->voice[at].network = network;
    c->voice[at].days =
        tun_descriptor_is_current(day, wall) ? 0 : (int64_t)day - (int64_t)tun_descriptor_day(wall);
}

int64_t tun_calendar_off(const struct tun_calendar *c) {
    int64_t v[TUN_CALENDAR_MAX] = {0};
    if (c->voices < TUN_CALENDAR_MIN)
        return 0;
    for (unsigned i = 0; i < c->voices; i++) {
        unsigned k = i;
        for (; k > 0 && v[k - 1] > c->voice[i].days; k--)
            v[k] = v[k - 1];
        v[k] = c->voice[i].days;
    }
    /* Of an even number the one nearer to us. */
    int64_t low = v[(c->voices - 1) / 2], high = v[c->voices / 2];
    return (low < 0 ? -low : low) < (high < 0 ? -high : high) ? low : high;
}
