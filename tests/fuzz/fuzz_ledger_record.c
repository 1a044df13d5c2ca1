/*
 * Half-blocks and LEDGER messages (reputation/record.h, message.h, forkproof.h).
 * Input: octets.
 * Property: what a reader accepts is written again as the same octets; what it
 * refuses leaves the result untouched; a record made of the input is never
 * taken for signed, and two of them never prove anything about anybody.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "crypto/hash.h"
#include "reputation/forkproof.h"
#include "reputation/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The corpus holds half-blocks that were signed for another network. */
static const uint8_t network[REP_NETWORK_ID] = "fuzznet0";

static void record(const uint8_t *data) {
    struct rep_record r, before;
    uint8_t back[REP_RECORD];
    memset(&r, 0xdd, sizeof r);
    before = r;
    if (rep_record_read(data, &r) != CV_ERR_OK) {
        assert(memcmp(&r, &before, sizeof r) == 0);
        return;
    }
    rep_record_write(&r, back);
    assert(memcmp(back, data, sizeof back) == 0);
    assert(!rep_record_verify(&r, network));
}

static void message(const uint8_t *data, size_t size) {
    struct rep_message m, before;
    uint8_t back[REP_MESSAGE_MAX];
    memset(&m, 0xdd, sizeof m);
    before = m;
    if (rep_message_read(data, size, &m) != CV_ERR_OK) {
        assert(memcmp(&m, &before, sizeof m) == 0);
        return;
    }
    assert(rep_message_write(&m, back, sizeof back) == (ssize_t)size);
    assert(memcmp(back, data, size) == 0);
    for (unsigned i = 0; m.kind == REP_MESSAGE_RECORDS && i < m.count; i++)
        record(m.records + i * REP_RECORD);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cv_crypto_init();
    message(data, size);
    if (size >= REP_RECORD)
        record(data);
    if (size >= 2 * REP_RECORD) {
        struct rep_fork f;
        uint8_t owner[CV_KEY];
        memcpy(f.a, data, REP_RECORD);
        memcpy(f.b, data + REP_RECORD, REP_RECORD);
        assert(rep_forkproof_check(&f, network, owner) != CV_ERR_OK);
    }
    return 0;
}
