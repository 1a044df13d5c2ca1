/*
 * What day others say it is: each relay that answers our DESCRIBE at its own
 * address shows the descriptor of the day in which it lives. When the median of
 * these says that we live in another one, our clock is wrong and nothing else
 * will work, because descriptors, DHT keys and slots are all of a day.
 *
 * One voice for each network (/16 of v4, /32 of v6), so that one relay that lies
 * is one of at least TUN_CALENDAR_MIN; of the last TUN_CALENDAR_MAX the median
 * counts. A plain struct, zeroed to begin.
 */
#ifndef CULVERT_TUNNEL_CALENDAR_H
#define CULVERT_TUNNEL_CALENDAR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/endpoint.h"
#include "tunnel/limits.h"

struct tun_calendar {
    struct {
        struct cv_addr network;
        int64_t days; /* theirs minus ours; 0: we live in the same */
    } voice[TUN_CALENDAR_MAX];
    unsigned voices, next;
};

/* The relay at `from` lives in `day`; it is `wall` here. */
void tun_calendar_note(struct tun_calendar *c, const struct cv_addr *from, uint32_t day,
                       int64_t wall);

/* How many days we are behind (> 0) or ahead; 0: none, or too few said so. */
int64_t tun_calendar_off(const struct tun_calendar *c);

#endif
