/*
 * What our questions may cost an address that never asked for them. Where a
 * relay lives is said by somebody else, in the DHT or in a descriptor that
 * anybody can sign, so a stranger can name an address that is no relay's: then
 * each DESCRIBE is 1232 octets for a victim. Questions that nobody answered are
 * counted by /24 or /56: TUN_QUESTIONS_BURST, then one in TUN_QUESTIONS_EVERY_MS;
 * an answer takes its own question off the account again, so that however many
 * relays at one address are asked as fast as they answer.
 *
 * Fixed memory, as in admission.h: networks share cells by a keyed hash.
 */
#ifndef CULVERT_TUNNEL_QUESTIONS_H
#define CULVERT_TUNNEL_QUESTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/endpoint.h"
#include "base/rng.h"
#include "base/time.h"
#include "crypto/siphash.h"

enum { TUN_QUESTIONS_CELLS = 512 };

struct tun_questions_cell {
    uint32_t owed_ms; /* TUN_QUESTIONS_EVERY_MS for each question */
    uint32_t at_ms;
};

struct tun_questions {
    uint8_t key[CV_SIPHASH_KEY];
    struct tun_questions_cell cell[TUN_QUESTIONS_CELLS];
};

void tun_questions_init(struct tun_questions *q, const struct cv_rng *rng);

/* May this network get one more? Counts it. */
bool tun_questions_take(struct tun_questions *q, const struct cv_addr *to, cv_usec now);

/* One that was counted has been answered from there. */
void tun_questions_answered(struct tun_questions *q, const struct cv_addr *from, cv_usec now);

#endif
