#include "tunnel/relaycmd.h"

#include <string.h>

#include "codec_table.h"
#include "crypto/hash.h"
#include "support/suite.h"

CV_SUITE(tunnel_relaycmd, .init = cv_crypto_init);

CODEC(transaction)
CODEC(extend)
CODEC(bytes)
CODEC(bucket)
CODEC(bucket_answer)
CODEC(capacities)
CODEC(descriptors)
CODEC(lookup)
CODEC(result)
CODEC(put)
CODEC(put_done)
CODEC(establish_intro)
CODEC_OF(introduce, introduce)
CODEC_OF(introduction, introduce)
CODEC(introduce_ack)
CODEC(rendezvous)
CODEC(error)
CODEC(open)
CODEC(exit)
CODEC(connect)
CODEC(pace)

/* clang-format off */
#define T    "04030201 "
#define K    "000102030405060708090a0b0c0d0e0f 101112131415161718191a1b1c1d1e1f "
#define D16  "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf "
#define S64  K K
static const struct codec_row rows[] = {
    { "transaction",         codec_transaction, T,                                     CV_ERR_OK },
    { "extend",              codec_extend,      T K "204e0000" D16 "aabbcc",           CV_ERR_OK },
    { "extend, no flight",   codec_extend,      T K "204e0000" D16,                    CV_ERR_MALFORMED },
    { "bytes",               codec_bytes,       T "0102",                              CV_ERR_OK },
    { "bytes, none",         codec_bytes,       T,                                     CV_ERR_OK },
    { "bucket",              codec_bucket,      T "204e0000 08 ff00 1700",             CV_ERR_OK },
    { "bucket level 5",      codec_bucket,      T "204e0000 05 0000 0000",             CV_ERR_MALFORMED },
    { "bucket 16 of 16",     codec_bucket,      T "204e0000 04 1000 0000",             CV_ERR_MALFORMED },
    { "bucket 1 of 1",       codec_bucket,      T "204e0000 00 0100 0000",             CV_ERR_MALFORMED },
    { "bucket, measured",    codec_bucket,      T "204e0000 80 0000 1700",             CV_ERR_OK },
    { "measured, bucket 1",  codec_bucket,      T "204e0000 80 0100 0000",             CV_ERR_MALFORMED },
    { "capacities, none",    codec_capacities,  T "0000",                              CV_ERR_OK },
    { "capacities, two",     codec_capacities,  T "0300 0102030405060708 20 a102030405060708 71", CV_ERR_OK },
    { "capacities, half",    codec_capacities,  T "0300 01020304",                     CV_ERR_MALFORMED },
    { "capacities, beyond",  codec_capacities,  T "0000 0102030405060708 20",          CV_ERR_MALFORMED },
    { "answer, empty",       codec_bucket_answer, T D16 "0000",                        CV_ERR_OK },
    { "answer, two",         codec_bucket_answer, T D16 "0200" K D16 K D16,            CV_ERR_OK },
    { "answer, part",        codec_bucket_answer, T D16 "6400" K D16,                  CV_ERR_OK },
    { "answer, half a pair", codec_bucket_answer, T D16 "6400" K,                      CV_ERR_MALFORMED },
    { "answer beyond count", codec_bucket_answer, T D16 "0000" K D16,                  CV_ERR_MALFORMED },
    { "descriptors",         codec_descriptors, T "204e0000" K K,                      CV_ERR_OK },
    { "descriptors of none", codec_descriptors, T "204e0000",                          CV_ERR_MALFORMED },
    { "descriptors, odd",    codec_descriptors, T "204e0000" K "00",                   CV_ERR_MALFORMED },
    { "lookup items",        codec_lookup,      T "01 02" K K,                         CV_ERR_OK },
    { "lookup peers",        codec_lookup,      T "02 01" D16 "01020304",              CV_ERR_OK },
    { "lookup of none",      codec_lookup,      T "01 00",                             CV_ERR_MALFORMED },
    { "lookup of five",      codec_lookup,      T "01 05" K K K K K,                   CV_ERR_MALFORMED },
    { "lookup two hashes",   codec_lookup,      T "02 02" K K,                         CV_ERR_MALFORMED },
    { "lookup kind 3",       codec_lookup,      T "03 01" K,                           CV_ERR_MALFORMED },
    { "result item",         codec_result,      T "01 02 01 0807060504030201" S64 "0300 aabbcc", CV_ERR_OK },
    { "result, nothing",     codec_result,      T "01 02 00",                          CV_ERR_OK },
    { "result, key 4",       codec_result,      T "01 04 00",                          CV_ERR_MALFORMED },
    { "result, found 2",     codec_result,      T "01 00 02",                          CV_ERR_MALFORMED },
    { "result, too long",    codec_result,      T "01 02 01 0807060504030201" S64 "e903 aabbcc", CV_ERR_MALFORMED },
    { "result, length lies", codec_result,      T "01 02 01 0807060504030201" S64 "0400 aabbcc", CV_ERR_TRUNCATED },
    { "result peers",        codec_result,      T "02 02 04c0000207 9210 06" D16 "bb01", CV_ERR_OK },
    { "result 51 peers",     codec_result,      T "02 33 04c0000207 9210",             CV_ERR_MALFORMED },
    { "result family 5",     codec_result,      T "02 01 05c0000207 9210",             CV_ERR_MALFORMED },
    { "put",                 codec_put,         T K "0807060504030201 01 0706050403020100" S64 "0200 6465", CV_ERR_OK },
    { "put without cas",     codec_put,         T K "0807060504030201 00 0000000000000000" S64 "0200 6465", CV_ERR_OK },
    { "put cas 2",           codec_put,         T K "0807060504030201 02 0000000000000000" S64 "0200 6465", CV_ERR_MALFORMED },
    { "put, too long",       codec_put,         T K "0807060504030201 00 0000000000000000" S64 "e903 6465", CV_ERR_MALFORMED },
    { "put done",            codec_put_done,    T "08 2d01",                           CV_ERR_OK },
    { "establish intro",     codec_establish_intro, T K S64,                           CV_ERR_OK },
    { "introduce",           codec_introduce,   T K D16 "ff",                          CV_ERR_OK },
    { "introduce nothing",   codec_introduce,   T K D16,                               CV_ERR_MALFORMED },
    { "introduction",        codec_introduction, K D16 "ff",                           CV_ERR_OK },
    { "introduce ack",       codec_introduce_ack, T "04",                              CV_ERR_OK },
    { "rendezvous",          codec_rendezvous,  T D16 "01020304",                      CV_ERR_OK },
    { "join",                codec_rendezvous,  T D16 "01020304 c0ffee",               CV_ERR_OK },
    { "error",               codec_error,       T "03 c0ffee",                         CV_ERR_OK },
    { "error of nothing",    codec_error,       T "00",                                CV_ERR_MALFORMED },
    { "open",                codec_open,        T "0400 deadbeef",                     CV_ERR_OK },
    { "open nothing",        codec_open,        T "0000",                              CV_ERR_MALFORMED },
    { "open 513 octets",     codec_open,        T "0102 00",                           CV_ERR_MALFORMED },
    { "exit",                codec_exit,        "3412 abcd",                           CV_ERR_OK },
    { "exit, over",          codec_exit,        "3412",                                CV_ERR_OK },
    { "connect",             codec_connect,     T "0100 04c0000207 9210",              CV_ERR_OK },
    { "connect, v6",         codec_connect,     T "ffff 06" D16 "bb01",                CV_ERR_OK },
    { "connect flow 0",      codec_connect,     T "0000 04c0000207 9210",              CV_ERR_MALFORMED },
    { "connect family 5",    codec_connect,     T "0100 05c0000207 9210",              CV_ERR_MALFORMED },
    { "pace",                codec_pace,        T "04 2c010000",                       CV_ERR_OK },
};
/* clang-format on */

Test(tunnel_relaycmd, table) {
    codec_table(rows, sizeof rows / sizeof *rows);
}

Test(tunnel_relaycmd, intro_signature) {
    struct cv_ed25519_secret auth;
    struct tun_establish_intro m = {.transaction = 1};
    uint8_t seed[32], binding[32];
    octets(seed, 61, sizeof seed);
    octets(binding, 6, sizeof binding);
    cv_ed25519_from_seed(&auth, seed);
    tun_establish_intro_sign(&m, &auth, binding);
    expect_vector("signatures", "intro", m.auth_key, CV_KEY + CV_SIGNATURE);
    cr_assert(tun_establish_intro_verify(&m, binding));
    binding[31] ^= 1;
    cr_assert_not(tun_establish_intro_verify(&m, binding), "replayed on another circuit");
}

Test(tunnel_relaycmd, connect_and_exit) {
    uint8_t buf[TUN_BACKWARD_MAX], body[1600];
    struct tun_connect m = {.transaction = 0x01020304,
                            .flow = 9,
                            .addr = {.family = 4, .ip = {192, 0, 2, 7}, .port = 7000}};
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    tun_connect_write(&w, &m);
    expect_vector("exit", "connect", buf, cv_wr_len(&w));
    m.addr.family = 6;
    octets(m.addr.ip, 70, 16);
    w = cv_wr_init(buf, sizeof buf);
    tun_connect_write(&w, &m);
    expect_vector("exit", "connect6", buf, cv_wr_len(&w));
    body[0] = 0; /* whole */
    octets(body + 1, 80, 40);
    w = cv_wr_init(buf, sizeof buf);
    tun_exit_write(&w, &(struct tun_exit){.flow = 9, .data = body, .len = 41});
    expect_vector("exit", "whole", buf, cv_wr_len(&w));
    w = cv_wr_init(buf, sizeof buf);
    tun_exit_write(&w, &(struct tun_exit){.flow = 9});
    expect_vector("exit", "over", buf, cv_wr_len(&w));
}

Test(tunnel_relaycmd, everything_fits_its_direction) {
    uint8_t buf[TUN_BACKWARD_MAX], zeros[2048] = {0};
    struct cv_wr w = cv_wr_init(buf, TUN_FORWARD_MAX);
    struct tun_put put = {.value = zeros, .value_len = TUN_ITEM_MAX, .has_cas = true};
    tun_put_write(&w, &put);
    cr_assert_gt(cv_wr_done(&w), 0);
    w = cv_wr_init(buf, TUN_FORWARD_MAX);
    struct tun_extend extend = {.flight = zeros, .flight_len = TUN_EXTEND_FLIGHT_MAX};
    tun_extend_write(&w, &extend);
    cr_assert_gt(cv_wr_done(&w), 0);
    w = cv_wr_init(buf, TUN_FORWARD_MAX);
    struct tun_descriptors descriptors = {.identities = zeros, .n = TUN_IDENTITIES_MAX};
    tun_descriptors_write(&w, &descriptors);
    cr_assert_gt(cv_wr_done(&w), 0);

    w = cv_wr_init(buf, TUN_BACKWARD_MAX);
    struct tun_bucket_answer bucket = {.pairs = zeros, .n = TUN_BUCKET_PAIRS_MAX, .count = 99};
    tun_bucket_answer_write(&w, &bucket);
    cr_assert_gt(cv_wr_done(&w), 0);
    w = cv_wr_init(buf, TUN_BACKWARD_MAX);
    static struct tun_result peers = {.kind = TUN_LOOKUP_PEERS, .peers = TUN_PEERS_MAX};
    for (unsigned i = 0; i < TUN_PEERS_MAX; i++)
        peers.peer[i].family = 6;
    tun_result_write(&w, &peers);
    cr_assert_gt(cv_wr_done(&w), 0);
    w = cv_wr_init(buf, TUN_BACKWARD_MAX);
    static struct tun_result item = {.kind = TUN_LOOKUP_ITEMS, .found = true};
    item.value = zeros;
    item.value_len = TUN_ITEM_MAX;
    tun_result_write(&w, &item);
    cr_assert_gt(cv_wr_done(&w), 0);
    w = cv_wr_init(buf, TUN_BACKWARD_MAX);
    struct tun_error differs = {
        .code = TUN_ERROR_DIFFERS, .data = zeros, .len = TUN_DESCRIPTOR_MAX};
    tun_error_write(&w, &differs);
    cr_assert_gt(cv_wr_done(&w), 0);
}
