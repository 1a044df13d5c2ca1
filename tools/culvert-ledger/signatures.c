#include "culvert-ledger/signatures.h"

#include <string.h>
#include <unistd.h>

enum { STEP = 64 }; /* records a thread takes at a time */

static void *work(void *arg) {
    struct signatures *s = arg;
    for (;;) {
        size_t from = atomic_fetch_add(&s->next, STEP);
        if (from >= s->n)
            return NULL;
        for (size_t i = from; i < s->n && i < from + STEP; i++)
            s->good[i] = rep_record_verify(&s->records[i], s->network_id);
    }
}

void signatures_start(struct signatures *s, const struct rep_record *records, size_t n,
                      const uint8_t network_id[REP_NETWORK_ID], bool *good) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t want = cores < 1 ? 0 : (size_t)cores - 1; /* and the caller, who helps */
    s->records = records;
    s->good = good;
    s->n = n;
    s->threads = 0;
    memcpy(s->network_id, network_id, REP_NETWORK_ID);
    atomic_init(&s->next, 0);
    want = want > SIGNATURE_THREADS_MAX ? SIGNATURE_THREADS_MAX : want;
    want = want > (n + STEP - 1) / STEP ? (n + STEP - 1) / STEP : want;
    while (s->threads < want && pthread_create(&s->thread[s->threads], NULL, work, s) == 0)
        s->threads++;
}

void signatures_finish(struct signatures *s) {
    work(s);
    for (unsigned i = 0; i < s->threads; i++)
        pthread_join(s->thread[i], NULL);
}
