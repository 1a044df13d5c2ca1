#include "tunnel/pacer.h"

#include <assert.h>

static uint32_t balance_max(const struct tun_pacer *p) {
    return (uint32_t)p->cells * TUN_PACE_SILENT;
}

static cv_usec tick_at(const struct tun_pacer *p, uint64_t tick) {
    return cv_usec_add(p->start, tick * TUN_PACE_TICK_US * (uint64_t)(1000000 + p->ppm) / 1000000);
}

void tun_pacer_init(struct tun_pacer *p, unsigned mbit, int ppm, cv_usec now) {
    assert(tun_pacer_is_rate(mbit) && ppm >= -TUN_PACE_PPM && ppm <= TUN_PACE_PPM);
    *p = (struct tun_pacer){
        .cells = (uint8_t)mbit, .ppm = (int8_t)ppm, .start = now, .until = CV_USEC_NEVER};
    p->balance = p->cells * TUN_PACE_BEGIN;
}

cv_usec tun_pacer_next(const struct tun_pacer *p) {
    return tick_at(p, p->ticks + 1);
}

uint32_t tun_pacer_take(struct tun_pacer *p, cv_usec now) {
    uint32_t due = 0;
    while (due < TUN_PACE_LATE && tun_pacer_next(p) <= now) {
        p->ticks++;
        due++;
    }
    if (tun_pacer_next(p) <= now) {
        p->start = now;
        p->ticks = 0;
    }
    return due * p->cells;
}

void tun_pacer_heard(struct tun_pacer *p) {
    p->balance += 2;
    if (p->balance > balance_max(p))
        p->balance = balance_max(p);
}

uint32_t tun_pacer_spend(struct tun_pacer *p, uint32_t cells) {
    uint32_t n = cells < p->balance ? cells : p->balance;
    p->balance -= n;
    p->owed += cells - n;
    p->owed -= n < p->owed ? n : p->owed;
    return n;
}

bool tun_pacer_deserted(const struct tun_pacer *p) {
    return p->owed >= (uint32_t)p->cells * TUN_PACE_SHORT;
}

bool tun_pacer_is_idle(const struct tun_pacer *p) {
    return p->owed >= (uint32_t)p->cells * TUN_PACE_IDLE;
}
