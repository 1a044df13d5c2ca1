/* What the benches share: options, a file to carry, the frame of the answer. */
#ifndef CULVERT_TOOLS_CULVERT_BENCH_BENCH_H
#define CULVERT_TOOLS_CULVERT_BENCH_BENCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "culvert-bench/spawn.h"

struct bench_options {
    unsigned mib;        /* of the file that is carried */
    unsigned buffer_mib; /* socket buffers; 0 = the system's default */
    unsigned runs;       /* repetitions where a median is given */
    unsigned minutes;    /* simulated, of `sim` */
    unsigned records;    /* of `ledger` */
    unsigned hashes;     /* that `dht` stores 500 peers each for */
    unsigned circuits;   /* through the relay of `relay` */
    unsigned chunk_size; /* of `ppsp`, octets */
    unsigned viewers;    /* of `ppsp`, at once */
    unsigned streams;    /* viewers of `tunnel` and `hidden`, at once */
    unsigned hops;       /* of the circuits that `tunnel` builds itself, 1..4 */
    const char *vs;      /* of `ppsp`: "libtorrent", "libtorrent-utp" or NULL */
};

/* Each returns one JSON object with the keys that docs/performance.md lists. */
json_t *bench_ppsp(const struct bench_options *o);
json_t *bench_tunnel(const struct bench_options *o);
json_t *bench_hidden(const struct bench_options *o);
json_t *bench_ledger(const struct bench_options *o);
json_t *bench_dht_node(const struct bench_options *o);
json_t *bench_sim(const struct bench_options *o);
json_t *bench_gateway(const struct bench_options *o);
json_t *bench_relay(const struct bench_options *o);

/* A folder of this run in memory (/dev/shm where there is one), removed at the
 * end; a file of incompressible octets in it; SHA-256 of a file in hex.
 *
 * bench_touch_memory() writes so much into the folder and removes it: memory that
 * a hypervisor has yet to find would be paid for by whoever writes a file there
 * first, and that is neither PPSPP's nor any disk's price. */
const char *bench_folder(void);
void bench_make_file(const char *path, unsigned mib);
void bench_touch_memory(unsigned mib);
void bench_sha256(const char *path, char out[65]);
void bench_folder_remove(void);

/* BUILD/src/cli/culvert and BUILD/tools/culvert-dht. */
const char *bench_culvert(void);
const char *bench_dht(void);

/* What the running node of a state folder says of itself, added to what others said: cells
 * relayed; of its sockets datagrams and system calls both ways, datagrams lost, buffers. */
void bench_count(json_t *sums, const char *state);

/* Ascending; of at least one, the one in the middle, which sorts them, too. */
void bench_sort(double *v, size_t n);
double bench_median(double *v, size_t n);

/* Adds commit, suite, kernel and buffers. */
void bench_describe(json_t *o, const struct bench_options *opt);

#endif
