/*
 * Who may make us work: handshakes, DESCRIBE requests and new circuits cost
 * scalar multiplications, so each is counted by the /24 or /56 it comes from
 * and altogether. Fixed memory: networks share buckets by a keyed hash, so a
 * flood from many networks makes neighbours in the table pay, never the heap.
 */
#ifndef CULVERT_TUNNEL_ADMISSION_H
#define CULVERT_TUNNEL_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/endpoint.h"
#include "base/rng.h"
#include "base/time.h"
#include "crypto/siphash.h"

enum tun_admission_kind {
    TUN_ADMIT_CLAIMED = 0, /* a handshake from an address that may be forged */
    TUN_ADMIT_PROVED,      /* one with our cookie */
    TUN_ADMIT_DESCRIBE,
    TUN_ADMIT_KINDS,
};

/* 16 octets a network and kind: level in thousandths, time in ms. */
struct tun_admission_cell {
    uint32_t level_milli;
    uint32_t at_ms;
};

#define TUN_ADMISSION_CELLS 2048

struct tun_admission {
    uint8_t key[CV_SIPHASH_KEY];
    struct tun_admission_cell cell[TUN_ADMIT_KINDS][TUN_ADMISSION_CELLS];
    struct tun_admission_cell all[TUN_ADMIT_KINDS]; /* from everybody */
    struct tun_admission_cell creates;
};

void tun_admission_init(struct tun_admission *a, const struct cv_rng *rng, cv_usec now);

/* May this network have one more? */
bool tun_admit(struct tun_admission *a, enum tun_admission_kind kind, const struct cv_addr *from,
               cv_usec now);

/* More handshakes than we answer without a proof of address? Counts one. */
bool tun_admission_loaded(struct tun_admission *a, cv_usec now);

/* May one more CREATE be computed, over all links? */
bool tun_admit_create(struct tun_admission *a, cv_usec now);

#endif
