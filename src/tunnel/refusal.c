#include "tunnel/refusal.h"

#include <stddef.h>
#include <string.h>

/* Nobody is asked again and again as fast as he refuses, nor by all whom he
 * refused at once. */
#define HOLD     CV_MSEC(250)
#define HOLD_MAX CV_SEC(16)
#define AVOID    CV_SEC(30)

static const uint8_t ourselves[CV_KEY];

const struct tun_refusal *tun_refusals_find(const struct tun_refusals *f, const uint8_t *by,
                                            const uint8_t to[CV_KEY]) {
    for (unsigned i = 0; f && i < TUN_REFUSALS_MAX; i++) {
        const struct tun_refusal *r = &f->row[i];
        if (r->times && memcmp(r->to, to, CV_KEY) == 0 &&
            memcmp(r->by, by ? by : ourselves, CV_KEY) == 0)
            return r;
    }
    return NULL;
}

static struct tun_refusal *find(struct tun_refusals *f, const uint8_t *by, const uint8_t *to) {
    const struct tun_refusal *r = tun_refusals_find(f, by, to);
    return r ? &f->row[r - f->row] : NULL;
}

void tun_refusals_note(struct tun_refusals *f, const uint8_t *by, const uint8_t to[CV_KEY],
                       cv_usec now, const struct cv_rng *rng) {
    struct tun_refusal *r = find(f, by, to);
    if (!r) {
        r = &f->row[f->next];
        f->next = (f->next + 1) % TUN_REFUSALS_MAX;
        memset(r, 0, sizeof *r);
        memcpy(r->by, by ? by : ourselves, CV_KEY);
        memcpy(r->to, to, CV_KEY);
    }
    cv_usec wait = HOLD << r->times;
    wait = wait < HOLD_MAX ? wait : HOLD_MAX;
    r->times = (uint8_t)(r->times < 6 ? r->times + 1 : 6);
    r->held_until = cv_usec_add(now, cv_rng_between(rng, wait - wait / 4, wait + wait / 4));
    r->avoided_until = cv_usec_add(now, AVOID);
}

void tun_refusals_forget(struct tun_refusals *f, const uint8_t *by, const uint8_t to[CV_KEY]) {
    struct tun_refusal *r = find(f, by, to);
    if (r)
        memset(r, 0, sizeof *r);
}
