#include "tunnel/lag.h"

#include "tunnel/limits.h"

void tun_lag_look(struct tun_lag *l, cv_usec now, uint64_t octets, cv_usec asked_since) {
    cv_usec passed = cv_usec_since(now, l->at);
    /* Not after a machine that slept, nor of two looks at once. */
    bool in_time = passed >= TUN_LAG_LOOK / 2 && passed <= TUN_LAG_LOOK * 2;
    bool asked = asked_since != CV_USEC_NEVER;
    l->counts =
        l->seen && in_time && l->asked && asked && asked_since <= l->at && octets >= l->octets;
    l->brought = l->counts ? octets - l->octets : 0;
    l->seen = true;
    l->at = now;
    l->octets = octets;
    l->asked = asked;
}

void tun_lag_judge(struct tun_lag *l, uint64_t others, unsigned count) {
    /* Among ways that all bring next to nothing each is luckier than the other for a while. */
    bool enough = count > 0 && others / count >= TUN_LAG_LEAST;
    if (!l->counts || !enough || l->brought * 2 >= others / count)
        l->looks = 0;
    else if (l->looks < TUN_LAG_LOOKS)
        l->looks++;
}

bool tun_lag_is(const struct tun_lag *l) {
    return l->looks >= TUN_LAG_LOOKS;
}
