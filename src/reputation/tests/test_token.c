/* Tokens as octets: requests, replies and what is shown; whatever is changed in
 * them is noticed. */
#include "support/suite.h"

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "crypto/tokenkey.h"
#include "reputation/tests/people.h"
#include "reputation/token.h"

CV_SUITE(rep_token);

enum { WEEK = 2810 };

static struct cv_ed25519_secret issuer, asker;
static struct cv_voprf_secret key;
static struct cv_rng_seeded dice;
static struct cv_rng rng;
static struct rep_purse purse;
static uint8_t request[REP_TOKEN_REQUEST + 1], reply[REP_TOKEN_REPLY + 1];

static void begin(void) {
    person(1, &issuer);
    person(2, &asker);
    cv_rng_seeded_init(&dice, 7);
    rng = cv_rng_seeded(&dice);
    cv_token_key(&key, &issuer, test_network, WEEK);
    memset(&purse, 0, sizeof purse);
    purse.week = WEEK;
    memcpy(purse.issuer, issuer.public_key, CV_KEY);
    memcpy(purse.key, key.public_key, sizeof purse.key);
    cv_rng_fill(&rng, purse.seed, sizeof purse.seed);
    rep_token_request_write(&purse, &asker, test_network, request);
    struct rep_token_request m;
    cr_assert_eq(rep_token_request_read(request, REP_TOKEN_REQUEST, &m), CV_ERR_OK);
    cr_assert_eq(rep_token_reply_write(&m, &key, &rng, reply), CV_ERR_OK);
}

Test(rep_token, the_weekly_key_is_of_one_identity_network_and_week) {
    struct cv_voprf_secret other;
    begin();
    cv_token_key(&other, &issuer, test_network, WEEK);
    cr_expect_arr_eq(&other, &key, sizeof key);
    cv_token_key(&other, &issuer, test_network, WEEK + 1);
    cr_expect_neq(memcmp(other.public_key, key.public_key, CV_KEY), 0);
    cv_token_key(&other, &issuer, (const uint8_t *)"testnet2", WEEK);
    cr_expect_neq(memcmp(other.public_key, key.public_key, CV_KEY), 0);
    cv_token_key(&other, &asker, test_network, WEEK);
    cr_expect_neq(memcmp(other.public_key, key.public_key, CV_KEY), 0);
}

Test(rep_token, a_request_is_read_as_written_and_not_when_it_is_short_or_long) {
    struct rep_token_request m = {.week = 1};
    begin();
    for (size_t len = 0; len < REP_TOKEN_REQUEST; len++)
        cr_assert_eq(rep_token_request_read(request, len, &m), CV_ERR_TRUNCATED, "%zu", len);
    cr_expect_eq(rep_token_request_read(request, sizeof request, &m), CV_ERR_MALFORMED);
    cr_expect_eq(m.week, 1, "clobbered on failure");
    cr_expect_eq(rep_token_request_read(request, REP_TOKEN_REQUEST, &m), CV_ERR_OK);
    cr_expect_eq(m.week, WEEK);
    cr_expect_arr_eq(m.identity, asker.public_key, CV_KEY);
}

Test(rep_token, a_request_is_signed_for_one_issuer_and_network) {
    begin();
    cr_expect(rep_token_request_verify(request, issuer.public_key, test_network));
    cr_expect(!rep_token_request_verify(request, asker.public_key, test_network));
    cr_expect(!rep_token_request_verify(request, issuer.public_key, (const uint8_t *)"testnet2"));
    for (size_t i = 0; i < REP_TOKEN_REQUEST; i += 13) {
        request[i] ^= 1;
        cr_expect(!rep_token_request_verify(request, issuer.public_key, test_network), "%zu", i);
        request[i] ^= 1;
    }
}

Test(rep_token, nothing_of_a_batch_is_used_when_its_proof_is_wrong) {
    begin();
    struct rep_purse before = purse;
    for (size_t i = 0; i < REP_TOKEN_REPLY; i += 61) {
        reply[i] ^= 1;
        cr_expect_eq(rep_token_take(&purse, reply, REP_TOKEN_REPLY), CV_ERR_AUTH, "octet %zu", i);
        cr_expect_arr_eq(&purse, &before, sizeof purse, "octet %zu", i);
        reply[i] ^= 1;
    }
    cr_expect_eq(rep_token_take(&purse, reply, REP_TOKEN_REPLY - 1), CV_ERR_TRUNCATED);
    cr_expect_eq(rep_token_take(&purse, reply, REP_TOKEN_REPLY + 1), CV_ERR_MALFORMED);
    cr_expect_eq(rep_token_take(&purse, reply, REP_TOKEN_REPLY), CV_ERR_OK);
    cr_expect_eq(purse.left, (1u << REP_TOKENS) - 1);
    cr_expect_eq(purse.had, 1);
}

/* An issuer that uses a key of its own for each asker would know them again. */
Test(rep_token, a_batch_under_another_key_than_the_descriptors_is_refused) {
    struct cv_voprf_secret tagged;
    struct rep_token_request m;
    begin();
    cv_token_key(&tagged, &issuer, test_network, WEEK + 1);
    cr_assert_eq(rep_token_request_read(request, REP_TOKEN_REQUEST, &m), CV_ERR_OK);
    cr_assert_eq(rep_token_reply_write(&m, &tagged, &rng, reply), CV_ERR_OK);
    cr_expect_eq(rep_token_take(&purse, reply, REP_TOKEN_REPLY), CV_ERR_AUTH);
    cr_expect_eq(purse.left, 0);
}

Test(rep_token, what_is_no_element_is_not_evaluated) {
    struct rep_token_request m;
    begin();
    memset(request + CV_KEY + 4 + 5 * CV_VOPRF_ELEMENT, 0xff, CV_VOPRF_ELEMENT);
    cr_assert_eq(rep_token_request_read(request, REP_TOKEN_REQUEST, &m), CV_ERR_OK);
    cr_expect_eq(rep_token_reply_write(&m, &key, &rng, reply), CV_ERR_MALFORMED);
}

Test(rep_token, a_token_is_good_for_one_key_and_one_link) {
    struct cv_voprf_secret other;
    uint8_t link[REP_LINK_HASH], second[REP_LINK_HASH], shown[REP_TOKEN_SHOWN];
    begin();
    memset(link, 3, sizeof link);
    memset(second, 4, sizeof second);
    cv_token_key(&other, &issuer, test_network, WEEK + 1);
    cr_assert_eq(rep_token_take(&purse, reply, REP_TOKEN_REPLY), CV_ERR_OK);
    for (unsigned i = 0; i < REP_TOKENS; i++) {
        rep_token_show(&purse, i, link, shown);
        cr_expect(rep_token_is(&key, shown, link), "token %u", i);
        cr_expect(!rep_token_is(&key, shown, second), "token %u on another link", i);
        cr_expect(!rep_token_is(&other, shown, link), "token %u by another key", i);
        shown[i * 3 % REP_TOKEN_SHOWN] ^= 1;
        cr_expect(!rep_token_is(&key, shown, link), "token %u, changed", i);
    }
}

/* What is asked for, issued and shown is RFC 9497 unchanged: with the key of its appendix A.1.2
 * and no more than its functions an issuer serves the request, and knows F(t) of what is shown. */
Test(rep_token, an_issuer_needs_nothing_but_rfc_9497) {
    struct rep_token_request m;
    uint8_t seed[32], link[REP_LINK_HASH] = {5}, evaluated[REP_TOKENS][CV_VOPRF_ELEMENT];
    uint8_t r[CV_VOPRF_SCALAR] = {6};
    begin();
    memset(seed, 0xa3, sizeof seed);
    cr_assert_eq(cv_voprf_derive(&key, seed, "test key", 8), CV_ERR_OK);
    memcpy(purse.key, key.public_key, sizeof purse.key);
    cr_assert_eq(rep_token_request_read(request, REP_TOKEN_REQUEST, &m), CV_ERR_OK);
    cr_assert_eq(cv_voprf_evaluate(&key, (const uint8_t(*)[CV_VOPRF_ELEMENT])m.blinded, REP_TOKENS,
                                   r, evaluated, reply + sizeof evaluated),
                 CV_ERR_OK);
    memcpy(reply, evaluated, sizeof evaluated);
    cr_assert_eq(rep_token_take(&purse, reply, REP_TOKEN_REPLY), CV_ERR_OK);
    for (unsigned i = 0; i < REP_TOKENS; i++) {
        uint8_t shown[REP_TOKEN_SHOWN], output[CV_VOPRF_OUTPUT], mac[REP_TOKEN_MAC];
        rep_token_show(&purse, i, link, shown);
        cr_assert_eq(cv_voprf_output(output, &key, shown, REP_TOKEN), CV_ERR_OK);
        CV_BLAKE2B(mac, sizeof mac, output, sizeof output, {link, sizeof link});
        cr_expect_arr_eq(shown + REP_TOKEN, mac, sizeof mac, "token %u", i);
    }
}
