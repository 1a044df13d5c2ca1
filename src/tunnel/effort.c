#include "tunnel/effort.h"

#include <string.h>

#include "tunnel/limits.h"

/* 2^12 tries are a millisecond or so, each step costs sixteen times the one before. */
static const uint8_t steps[] = {0, TUN_EFFORT_FIRST, TUN_EFFORT_SECOND, TUN_EFFORT_MAX};
#define STEPS (sizeof steps / sizeof *steps)

static uint8_t lower(const struct tun_effort *e) {
    uint8_t found = 0;
    for (size_t i = 0; i < STEPS && steps[i] < e->asked; i++)
        found = steps[i];
    return found;
}

static uint8_t higher(const struct tun_effort *e) {
    for (size_t i = 0; i < STEPS; i++)
        if (steps[i] > e->asked && steps[i] <= e->most)
            return steps[i];
    return e->asked;
}

void tun_effort_init(struct tun_effort *e, cv_usec now, cv_usec tick) {
    *e = (struct tun_effort){
        .most = TUN_EFFORT_MAX, .tick = tick, .tick_ends = cv_usec_add(now, tick)};
}

bool tun_effort_came(struct tun_effort *e, unsigned effort) {
    e->enough += effort >= lower(e);
    return effort >= e->required;
}

void tun_effort_lost(struct tun_effort *e) {
    e->lost++;
}

static void ask(struct tun_effort *e, cv_usec now, uint8_t effort) {
    e->asked = effort;
    e->required = e->required < effort ? e->required : effort;
    e->rise_at = cv_usec_add(now, TUN_EFFORT_REST * e->tick);
    e->calm = 0;
}

bool tun_effort_step(struct tun_effort *e, cv_usec now) {
    if (now < e->tick_ends)
        return false;
    /* Several ticks may be over: nothing was to be done in those without anything. */
    uint64_t over = 1 + cv_usec_since(now, e->tick_ends) / e->tick;
    unsigned before = e->asked;
    e->tick_ends = cv_usec_add(now, e->tick);
    if (e->lost >= TUN_EFFORT_LOST && now >= e->rise_at)
        ask(e, now, higher(e));
    else if (e->lost > 0 || e->enough > TUN_EFFORT_ANSWERED)
        e->calm = 0;
    else
        e->calm += over > TUN_EFFORT_CALM ? TUN_EFFORT_CALM : (unsigned)over;
    if (e->asked && e->calm >= TUN_EFFORT_CALM)
        ask(e, now, lower(e));
    e->lost = e->enough = 0;
    return e->asked != before;
}

void tun_effort_said(struct tun_effort *e, unsigned effort) {
    if (effort == e->asked)
        e->required = e->asked;
}

cv_usec tun_effort_due(const struct tun_effort *e) {
    return e->asked || e->lost ? e->tick_ends : CV_USEC_NEVER;
}
