/*
 * Signatures of many half-blocks, verified by worker threads: 44 us each are
 * the dearest part of an import, and need nothing but the half-block itself.
 * The rules of chains stay on one thread, which has something else to do
 * meanwhile: start a batch, take the one before it in, finish.
 */
#ifndef CULVERT_TOOLS_CULVERT_LEDGER_SIGNATURES_H
#define CULVERT_TOOLS_CULVERT_LEDGER_SIGNATURES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "reputation/record.h"

enum { SIGNATURE_THREADS_MAX = 16 };

struct signatures {
    const struct rep_record *records;
    bool *good; /* by record; what finish() leaves */
    size_t n;
    uint8_t network_id[REP_NETWORK_ID];
    atomic_size_t next; /* the first record nobody has taken */
    pthread_t thread[SIGNATURE_THREADS_MAX];
    unsigned threads;
};

/* Begins on records[0..n) with a thread for each core but the caller's, who takes the
 * batch before in meanwhile and then helps: one more would only take turns with the
 * caller, whose work is the longest that cannot be divided. With fewer when they cannot be
 * made. Borrows both arrays until finish(). */
void signatures_start(struct signatures *s, const struct rep_record *records, size_t n,
                      const uint8_t network_id[REP_NETWORK_ID], bool *good);

/* Helps, then waits. good[i] says whether records[i] verifies. */
void signatures_finish(struct signatures *s);

#endif
