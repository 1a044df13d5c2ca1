#include "tunnel/linkcmd.h"

#include <string.h>

#include "codec_table.h"
#include "crypto/hash.h"
#include "support/suite.h"
#include "tunnel/relaycmd.h"

CV_SUITE(tunnel_linkcmd, .init = cv_crypto_init);

CODEC(create)
CODEC(auth)
CODEC(new_index)
CODEC(link_descriptors)
CODEC(token)
CODEC(reach)

/* clang-format off */
#define K    "000102030405060708090a0b0c0d0e0f 101112131415161718191a1b1c1d1e1f "
#define D16  "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf "
#define T8   "0102030405060708 "
static const struct codec_row rows[] = {
    { "create",               codec_create,    "03 010106 aabbcc",      CV_ERR_OK },
    { "create without ttl",   codec_create,    "00 aabbcc",             CV_ERR_OK },
    { "create, no flight",    codec_create,    "03 010106",             CV_ERR_TRUNCATED },
    { "create, length lies",  codec_create,    "09 010106 aa",          CV_ERR_TRUNCATED },
    { "create, ttl twice",    codec_create,    "06 010106 010105 aabb", CV_ERR_MALFORMED },
    { "auth",                 codec_auth,      "01" K K K,              CV_ERR_OK },
    { "auth role 3",          codec_auth,      "03" K K K,              CV_ERR_MALFORMED },
    { "four indexes",         codec_new_index, "04" D16,                CV_ERR_OK },
    { "no index",             codec_new_index, "00",                    CV_ERR_MALFORMED },
    { "nine indexes",         codec_new_index, "09" K "01020304",       CV_ERR_MALFORMED },
    { "bucket question",      codec_link_descriptors, "04 00 0102",     CV_ERR_OK },
    { "descriptors answer",   codec_link_descriptors, "05 01",          CV_ERR_OK },
    { "any other command",    codec_link_descriptors, "06 00",          CV_ERR_MALFORMED },
    { "answer 2",             codec_link_descriptors, "05 02",          CV_ERR_MALFORMED },
    { "token",                codec_token,     K D16,                   CV_ERR_OK },
    { "reach v4",             codec_reach,     "01" T8 "04c0000207 9210", CV_ERR_OK },
    { "reach v6",             codec_reach,     "04" T8 "06" D16 "9210", CV_ERR_OK },
    { "reach kind 5",         codec_reach,     "05" T8 "04c0000207 9210", CV_ERR_MALFORMED },
    { "reach port 0",         codec_reach,     "01" T8 "04c0000207 0000", CV_ERR_MALFORMED },
    { "reach family 0",       codec_reach,     "01" T8 "00c0000207 9210", CV_ERR_MALFORMED },
};
/* clang-format on */

Test(tunnel_linkcmd, table) {
    codec_table(rows, sizeof rows / sizeof *rows);
}

Test(tunnel_linkcmd, auth_signature) {
    struct cv_ed25519_secret identity;
    struct tun_auth m;
    uint8_t seed[32], hash[CV_NOISE_HASH], buf[1 + CV_KEY + CV_SIGNATURE];
    octets(seed, 61, sizeof seed);
    octets(hash, 5, sizeof hash);
    cv_ed25519_from_seed(&identity, seed);
    tun_auth_sign(&m, TUN_ROLE_RELAY, &identity, hash);
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    tun_auth_write(&w, &m);
    expect_vector("signatures", "auth", buf, sizeof buf);
    cr_assert(tun_auth_verify(&m, hash));
    m.role = TUN_ROLE_CLIENT;
    cr_assert_not(tun_auth_verify(&m, hash), "another role");
    m.role = TUN_ROLE_RELAY;
    hash[0] ^= 1;
    cr_assert_not(tun_auth_verify(&m, hash), "another link");
}
