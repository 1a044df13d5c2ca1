/*
 * Bodies of relay and link commands (tunnel/relaycmd.h, tunnel/linkcmd.h). Input:
 * one octet that chooses the body, then its octets.
 * Property: what is accepted is written again as a prefix of what was read (later
 * versions may append), never beyond the cell of its direction; what is refused
 * leaves the result untouched.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "crypto/hash.h"
#include "tunnel/linkcmd.h"
#include "tunnel/relaycmd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BODY(noun, type)                                                                           \
    static void noun##_body(const uint8_t *data, size_t size) {                                    \
        static struct tun_##type m, before;                                                        \
        uint8_t out[TUN_CONTROL_MAX];                                                              \
        memset(&m, 0xdd, sizeof m);                                                                \
        before = m;                                                                                \
        struct cv_rd r = cv_rd_init(data, size);                                                   \
        if (tun_##noun##_read(&r, &m) != CV_ERR_OK) {                                              \
            assert(memcmp(&m, &before, sizeof m) == 0);                                            \
            return;                                                                                \
        }                                                                                          \
        struct cv_wr w = cv_wr_init(out, sizeof out);                                              \
        tun_##noun##_write(&w, &m);                                                                \
        assert(w.err == CV_ERR_OK);                                                                \
        assert(cv_wr_len(&w) <= size);                                                             \
        assert(memcmp(out, data, cv_wr_len(&w)) == 0);                                             \
    }

BODY(transaction, transaction)
BODY(extend, extend)
BODY(bytes, bytes)
BODY(bucket, bucket)
BODY(bucket_answer, bucket_answer)
BODY(capacities, capacities)
BODY(descriptors, descriptors)
BODY(lookup, lookup)
BODY(result, result)
BODY(put_done, put_done)
BODY(establish_intro, establish_intro)
BODY(introduce, introduce)
BODY(introduction, introduce)
BODY(introduce_ack, introduce_ack)
BODY(rendezvous, rendezvous)
BODY(error, error)
BODY(open, open)
BODY(exit, exit)
BODY(connect, connect)
BODY(pace, pace)
BODY(auth, auth)
BODY(new_index, new_index)
BODY(link_descriptors, link_descriptors)
BODY(token, token)
BODY(reach, reach)

/* One command, two shapes: the question says which. */
static void bucket_either_body(const uint8_t *data, size_t size) {
    bucket_answer_body(data, size);
    capacities_body(data, size);
}

/* These two do not write back what they read: an unused cas is zero, parameters
 * are put in order. Reading again must give the same. */
static void put_body(const uint8_t *data, size_t size) {
    struct tun_put m = {.seq = 99}, again;
    uint8_t out[TUN_FORWARD_MAX];
    struct cv_rd r = cv_rd_init(data, size);
    if (tun_put_read(&r, &m) != CV_ERR_OK) {
        assert(m.seq == 99);
        return;
    }
    struct cv_wr w = cv_wr_init(out, sizeof out);
    tun_put_write(&w, &m);
    assert(w.err == CV_ERR_OK);
    r = cv_rd_init(out, cv_wr_len(&w));
    assert(tun_put_read(&r, &again) == CV_ERR_OK);
    assert(again.seq == m.seq && again.value_len == m.value_len);
    assert(memcmp(again.value, m.value, m.value_len) == 0);
}

static void create_body(const uint8_t *data, size_t size) {
    struct tun_create m = {.flight_len = 9999}, again;
    uint8_t out[TUN_CONTROL_MAX];
    struct cv_rd r = cv_rd_init(data, size);
    if (tun_create_read(&r, &m) != CV_ERR_OK) {
        assert(m.flight_len == 9999);
        return;
    }
    struct cv_wr w = cv_wr_init(out, sizeof out);
    tun_create_write(&w, &m);
    assert(w.err == CV_ERR_OK);
    r = cv_rd_init(out, cv_wr_len(&w));
    assert(tun_create_read(&r, &again) == CV_ERR_OK);
    assert(memcmp(&again.params, &m.params, sizeof m.params) == 0);
    assert(again.flight_len == m.flight_len);
    assert(memcmp(again.flight, m.flight, m.flight_len) == 0);
}

static void (*const bodies[])(const uint8_t *, size_t) = {
    transaction_body,   extend_body,        bytes_body,      bucket_body,
    bucket_either_body, descriptors_body,   lookup_body,     result_body,
    put_body,           put_done_body,      introduce_body,  establish_intro_body,
    introduction_body,  introduce_ack_body, rendezvous_body, error_body,
    open_body,          exit_body,          pace_body,       create_body,
    auth_body,          new_index_body,     token_body,      link_descriptors_body,
    reach_body,         connect_body,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size - 1 > TUN_CONTROL_MAX)
        return 0;
    cv_crypto_init();
    bodies[data[0] % (sizeof bodies / sizeof *bodies)](data + 1, size - 1);
    return 0;
}
