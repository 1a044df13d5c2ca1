#include "support/suite.h"

#include "crypto/rng_seeded.h"
#include "dht/token.h"

CV_SUITE(dht_token);

static struct cv_rng_seeded seeded;
static struct dht_tokens tokens;
static struct cv_rng rng;
static const struct cv_addr alice = {.ip = {11, 1, 7, 9}, .port = 1, .family = 4};

static void setup(void) {
    cv_rng_seeded_init(&seeded, 1);
    rng = cv_rng_seeded(&seeded);
    dht_tokens_init(&tokens, &rng, 0);
}

static bool valid_at(cv_usec now, const struct cv_addr *addr, const struct dht_id *target,
                     const uint8_t token[DHT_TOKEN_LEN]) {
    return dht_token_valid(&tokens, now, addr, target, (struct dht_span){token, DHT_TOKEN_LEN});
}

Test(dht_token, bound_to_address_and_target, .init = setup) {
    struct dht_id t = {.b = {1}}, other_t = {.b = {2}};
    struct cv_addr port = alice, bob = alice, six = alice;
    port.port = 999;
    bob.ip[3] ^= 1;
    six.family = 6;
    uint8_t token[DHT_TOKEN_LEN];
    dht_token_make(&tokens, 0, &alice, &t, token);
    cr_expect(valid_at(0, &alice, &t, token));
    cr_expect(valid_at(0, &port, &t, token), "the port may change (BEP 5)");
    cr_expect_not(valid_at(0, &bob, &t, token));
    cr_expect_not(valid_at(0, &six, &t, token));
    cr_expect_not(valid_at(0, &alice, &other_t, token));
    for (unsigned bit = 0; bit < DHT_TOKEN_LEN * 8; bit++) {
        token[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_expect_not(valid_at(0, &alice, &t, token), "bit %u", bit);
        token[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t n = 0; n < DHT_TOKEN_LEN; n++)
        cr_expect_not(dht_token_valid(&tokens, 0, &alice, &t, (struct dht_span){token, n}));
    cr_expect_not(dht_token_valid(&tokens, 0, &alice, &t, (struct dht_span){NULL, 0}));
}

/* clang-format off */
static const struct {
    cv_usec made, used;
    bool valid;
} ages[] = {
    { CV_SEC(0),    CV_SEC(299), true },
    { CV_SEC(0),    CV_SEC(300), true },
    { CV_SEC(299),  CV_SEC(599), true },
    { CV_SEC(1),    CV_SEC(601), false },
    { CV_SEC(0),    CV_SEC(9000), false }, /* silence in between: both secrets are too old */
};
/* clang-format on */

Test(dht_token, accepted_for_five_to_ten_minutes) {
    for (size_t i = 0; i < sizeof ages / sizeof *ages; i++) {
        setup();
        struct dht_id t = {.b = {1}};
        uint8_t token[DHT_TOKEN_LEN], minute[DHT_TOKEN_LEN];
        dht_token_make(&tokens, ages[i].made, &alice, &t, token);
        for (cv_usec at = ages[i].made; ages[i].used < CV_SEC(9000) && at < ages[i].used;
             at += CV_SEC(60))
            dht_token_make(&tokens, at, &alice, &t, minute); /* a node at work rotates */
        cr_expect_eq(valid_at(ages[i].used, &alice, &t, token), ages[i].valid, "row %zu", i);
    }
}
