/*
 * One relay engine in a process of its own, stepped by another through shared
 * memory: datagrams and a time go in, datagrams and what that cost come out. No
 * socket, no clock, and no memory but the relay's.
 */
#ifndef CULVERT_TOOLS_CULVERT_BENCH_RELAY_PROCESS_H
#define CULVERT_TOOLS_CULVERT_BENCH_RELAY_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/batch.h"
#include "base/time.h"
#include "culvert-bench/party.h"
#include "tunnel/limits.h"

enum { RELAY_SLOTS = 256 };

/* What both processes see. */
struct relay_post {
    /* to the relay */
    struct cv_now now;
    struct party_relays next; /* relays that it extends to */
    unsigned in;              /* datagrams, with the address each came from */
    struct cv_addr from[RELAY_SLOTS];
    uint8_t datagram[RELAY_SLOTS][TUN_DATAGRAM];
    /* from it */
    struct cv_run run[RELAY_SLOTS];
    unsigned runs;
    uint8_t arena[RELAY_SLOTS * TUN_DATAGRAM];
    bool more; /* the arena is full: step again with in = 0 */
    uint8_t descriptor[TUN_DESCRIPTOR_MAX];
    size_t descriptor_len;
    double cpu_s; /* of the engine, since the process began */
    uint64_t relayed, hops;
};

struct relay_process {
    struct relay_post *post;
    int to, back; /* pipes: a command; done */
    pid_t pid;
};

/* Starts it; its descriptor is in the post afterwards. */
void relay_process_start(struct relay_process *p, uint32_t hops_max, struct cv_now now);
/* Takes post->in datagrams, does what is due at post->now, fills the arena. */
void relay_process_step(struct relay_process *p);
/* Octets of memory that are its own and resident. */
double relay_process_rss(const struct relay_process *p);
void relay_process_end(struct relay_process *p);

#endif
