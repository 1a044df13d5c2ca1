#include "crypto/rng_system.h"

#include <pthread.h>
#include <sodium.h>
#include <string.h>

/*
 * A system call costs more than most of what dice are asked for: a few octets to
 * choose a chunk or number a message. These come from a store that is wiped as
 * it is used; keys are longer than SMALL and come from the system, each.
 */
enum { STORE = 1024, SMALL = 16 };

static _Thread_local struct {
    uint8_t octets[STORE];
    size_t left;
} store;

/* The child of a fork must not throw what its parent throws. */
static void forked(void) {
    sodium_memzero(&store, sizeof store);
}

static void once(void) {
    (void)pthread_atfork(NULL, NULL, forked);
}

static void refill(void) {
    static pthread_once_t registered = PTHREAD_ONCE_INIT;
    (void)pthread_once(&registered, once);
    randombytes_buf(store.octets, sizeof store.octets);
    store.left = sizeof store.octets;
}

static void fill(void *ctx, void *buf, size_t len) {
    (void)ctx;
    if (len > SMALL) {
        randombytes_buf(buf, len);
        return;
    }
    if (store.left < len)
        refill();
    uint8_t *from = store.octets + STORE - store.left;
    memcpy(buf, from, len);
    memset(from, 0, len);
    store.left -= len;
}

const struct cv_rng *cv_rng_system(void) {
    static const struct cv_rng rng = {.fill = fill};
    return &rng;
}
