#include "tunnel/questions.h"

#include <string.h>

#include "tunnel/limits.h"

void tun_questions_init(struct tun_questions *q, const struct cv_rng *rng) {
    memset(q, 0, sizeof *q);
    cv_rng_fill(rng, q->key, sizeof q->key);
}

/* What the network still owes at `now`; 32 bits of milliseconds wrap after 49
 * days, which costs nobody more than one empty account. */
static uint32_t *owed(struct tun_questions *q, const struct cv_addr *addr, cv_usec now) {
    struct cv_addr network = cv_addr_network(addr, 24, 56);
    uint64_t h = cv_siphash(q->key, &network, sizeof network);
    struct tun_questions_cell *c = &q->cell[h % TUN_QUESTIONS_CELLS];
    uint32_t now_ms = (uint32_t)(now / 1000), passed = now_ms - c->at_ms;
    c->owed_ms -= passed < c->owed_ms ? passed : c->owed_ms;
    c->at_ms = now_ms;
    return &c->owed_ms;
}

bool tun_questions_take(struct tun_questions *q, const struct cv_addr *to, cv_usec now) {
    uint32_t *ms = owed(q, to, now);
    if (*ms > (TUN_QUESTIONS_BURST - 1) * TUN_QUESTIONS_EVERY_MS)
        return false;
    *ms += TUN_QUESTIONS_EVERY_MS;
    return true;
}

void tun_questions_answered(struct tun_questions *q, const struct cv_addr *from, cv_usec now) {
    uint32_t *ms = owed(q, from, now);
    *ms -= *ms < TUN_QUESTIONS_EVERY_MS ? *ms : TUN_QUESTIONS_EVERY_MS;
}
