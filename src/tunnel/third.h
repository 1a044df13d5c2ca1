/*
 * The third layer: the hops that stand behind L in a seeder's circuits and in those of who
 * writes a pointer, and stay for days (docs/protocol/tunnel.md, roles and paths). Whoever
 * lets a seeder come as often as he likes sees the same few relays before him. Each one he
 * sees is one more that may be his and then shows him a second-layer guard.
 *
 * Nothing is kept but a key, drawn for each swarm that is shared or pointed at and for as long
 * as it is: a swarm's third hops are those that the key puts first among the relays there are,
 * by weight. So two swarms of one seeder have different ones, and which they are has
 * nothing to do with its guards (docs/decisions/0088).
 */
#ifndef CULVERT_TUNNEL_THIRD_H
#define CULVERT_TUNNEL_THIRD_H

#include <stdint.h>

#include "base/rng.h"
#include "crypto/siphash.h"
#include "tunnel/directory.h"

struct tun_third {
    uint8_t key[CV_SIPHASH_KEY];
};

void tun_third_init(struct tun_third *t, const struct cv_rng *rng);

/*
 * Puts the n relays of `v` into the order in which they are third hops at `wall` (Unix
 * seconds): first the TUN_THIRDS that stay, in an order drawn anew, then whoever is there
 * when those are not. Relays come first as often as their weights say, of which none counts
 * for more than `cap` (1: all alike). NOMEM; v is then as before.
 */
enum cv_err tun_third_order(const struct tun_third *t, int64_t wall, struct tun_relay **v, size_t n,
                            uint64_t cap, const struct cv_rng *rng);

/*
 * The places 0..TUN_SECOND_MAX-1 of the second layer in the order in which the swarm uses
 * them: always the same. Its circuits stand behind the first TUN_THIRD_SECONDS that are there,
 * and behind others only when those do not serve: whoever pulls from a swarm knows its
 * circuits again, and each second hop that carries them sees a guard
 * (docs/decisions/0089).
 */
void tun_third_places(const struct tun_third *t, unsigned ret[TUN_SECOND_MAX]);

#endif
