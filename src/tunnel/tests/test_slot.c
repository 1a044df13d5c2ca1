/*
 * Keys, contacts, slots and items of hidden swarms: equal to a second
 * implementation (tests/vectors/hidden.py), and what anybody may do to them.
 */
#include "tunnel/slot.h"

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "tunnel/limits.h"
#include "tunnel/tests/octets.h"

CV_SUITE(tun_slot, .init = cv_crypto_init);

#define WALL 1780000000

static struct tun_swarm_secret swarm(bool with_secret) {
    uint8_t id[32], secret[32];
    struct tun_swarm_secret s;
    octets(id, 1, sizeof id);
    octets(secret, 100, sizeof secret);
    tun_swarm_derive(&s, hidden_network, id, sizeof id, with_secret ? secret : NULL);
    return s;
}

static struct tun_contact contact(unsigned i) {
    struct tun_contact c = {.expiry = WALL + i, .effort = (uint8_t)i};
    octets(c.ip, 10 * i, sizeof c.ip);
    octets(c.d, 20 * i, sizeof c.d);
    octets(c.auth, 30 * i, sizeof c.auth);
    octets(c.service, 40 * i, sizeof c.service);
    return c;
}

Test(tun_slot, keys_are_those_of_the_second_implementation) {
    static const struct {
        const char *section;
        bool secret;
    } rows[] = {{"swarm open", false}, {"swarm secret", true}};
    for (size_t i = 0; i < 2; i++) {
        struct tun_swarm_secret s = swarm(rows[i].secret);
        struct tun_period_secret p;
        uint8_t offset[4];
        for (int k = 0; k < 4; k++)
            offset[k] = (uint8_t)(s.offset >> (8 * k));
        tun_period_derive(&p, &s, HIDDEN_PERIOD);
        expect_hidden(rows[i].section, "s", s.s, 32);
        expect_hidden(rows[i].section, "offset", offset, 4);
        expect_hidden(rows[i].section, "seal", p.seal, 32);
        expect_hidden(rows[i].section, "psk", p.psk, 32);
        static const struct {
            unsigned j;
            const char *label;
        } slots[] = {{0, "slot0"}, {7, "slot7"}, {15, "slot15"}, {TUN_SLOT_POINTER, "slot16"}};
        for (size_t k = 0; k < sizeof slots / sizeof *slots; k++) {
            struct cv_ed25519_secret key;
            tun_slot_key(&key, &s, HIDDEN_PERIOD, slots[k].j);
            expect_hidden(rows[i].section, slots[k].label, key.public_key, 32);
        }
    }
}

Test(tun_slot, a_period_lasts_a_day_and_turns_at_the_swarms_own_second) {
    struct tun_swarm_secret s = swarm(false);
    int64_t turn = tun_swarm_period_begins(&s, HIDDEN_PERIOD);
    cr_expect_eq(tun_swarm_period(&s, turn - 1), HIDDEN_PERIOD - 1);
    cr_expect_eq(tun_swarm_period(&s, turn), HIDDEN_PERIOD);
    cr_expect_eq(tun_swarm_period(&s, turn + 86399), HIDDEN_PERIOD);
    cr_expect_eq(tun_swarm_period(&s, turn + 86400), HIDDEN_PERIOD + 1);
    cr_expect_eq(turn % 86400, s.offset);
}

Test(tun_slot, a_slot_and_its_signature_are_those_of_the_second_implementation) {
    struct tun_swarm_secret s = swarm(false);
    struct tun_period_secret p;
    struct cv_ed25519_secret key;
    struct tun_slot slot = {.count = 2, .contact = {contact(1), contact(2)}}, back;
    struct tun_item item = {.seq = 1780000123};
    unsigned first = 77;
    struct cv_rng rng = octets_rng(&first);
    tun_period_derive(&p, &s, HIDDEN_PERIOD);
    tun_slot_key(&key, &s, HIDDEN_PERIOD, 7);
    tun_slot_seal(item.value, &slot, &p, &rng);
    tun_item_sign(&item, &key);
    expect_hidden("slot", "value", item.value, sizeof item.value);
    expect_hidden("slot", "signature", item.sig, sizeof item.sig);
    cr_expect(tun_item_verify(&item));
    cr_assert_eq(tun_slot_open(&back, item.value, sizeof item.value, &p), CV_ERR_OK);
    cr_expect_eq(back.count, 2);
    cr_expect_arr_eq(back.contact, slot.contact, 2 * sizeof *slot.contact);
}

Test(tun_slot, whoever_changes_an_octet_or_lacks_the_key_opens_nothing) {
    struct tun_swarm_secret s = swarm(false);
    struct tun_period_secret p, other;
    struct tun_slot slot = {.count = 1, .contact = {contact(3)}}, got = {.count = 99};
    uint8_t value[TUN_SLOT_VALUE];
    uint64_t seed = 1;
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, seed);
    struct cv_rng rng = cv_rng_seeded(&dice);
    tun_period_derive(&p, &s, HIDDEN_PERIOD);
    tun_period_derive(&other, &s, HIDDEN_PERIOD + 1);
    tun_slot_seal(value, &slot, &p, &rng);
    cr_expect_eq(tun_slot_open(&got, value, sizeof value, &other), CV_ERR_AUTH);
    cr_expect_eq(tun_slot_open(&got, value, sizeof value - 1, &p), CV_ERR_MALFORMED);
    for (size_t i = 0; i < sizeof value; i++) {
        value[i] ^= 0x10;
        cr_assert_eq(tun_slot_open(&got, value, sizeof value, &p), CV_ERR_AUTH, "octet %zu", i);
        value[i] ^= 0x10;
    }
    cr_expect_eq(got.count, 99, "result clobbered on failure");
}

Test(tun_slot, an_item_is_signed_as_a_whole) {
    struct tun_swarm_secret s = swarm(false);
    struct cv_ed25519_secret key;
    struct tun_item item = {.seq = 7};
    tun_slot_key(&key, &s, HIDDEN_PERIOD, 1);
    memset(item.value, 5, sizeof item.value);
    tun_item_sign(&item, &key);
    cr_expect(tun_item_verify(&item));
    item.seq++;
    cr_expect_not(tun_item_verify(&item));
    item.seq = -1;
    cr_expect_not(tun_item_verify(&item), "a negative seq is nobody's");
    item.seq = 7;
    item.value[899] ^= 1;
    cr_expect_not(tun_item_verify(&item));
}

Test(tun_slot, what_is_signed_is_bencoding) {
    static const struct {
        int64_t seq;
        const char *head;
    } rows[] = {{0, "3:seqi0e1:v900:"},
                {9, "3:seqi9e1:v900:"},
                {10, "3:seqi10e1:v900:"},
                {INT64_MAX, "3:seqi9223372036854775807e1:v900:"}};
    uint8_t value[TUN_SLOT_VALUE] = {'x'}, out[TUN_ITEM_SIGNED_MAX];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = strlen(rows[i].head);
        cr_assert_eq(tun_item_signed(out, rows[i].seq, value), n + TUN_SLOT_VALUE);
        cr_expect_arr_eq(out, rows[i].head, n);
        cr_expect_arr_eq(out + n, value, TUN_SLOT_VALUE);
    }
}

Test(tun_slot, contacts_are_current_for_three_hours_at_most) {
    static const struct {
        const char *name;
        int64_t expiry;
        bool want;
    } rows[] = {{"over by any clock", WALL - 2 * TUN_CLOCK_OFF_S, false},
                {"perhaps not by its writer's", WALL - 2 * TUN_CLOCK_OFF_S + 1, true},
                {"the longest", WALL + TUN_CONTACT_LIFE_MAX_S, true},
                {"longer than any seeder says", WALL + TUN_CONTACT_LIFE_MAX_S + 1, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tun_contact c = contact(1);
        c.expiry = (uint32_t)rows[i].expiry;
        cr_expect_eq(tun_contact_current(&c, WALL), rows[i].want, "%s", rows[i].name);
    }
}

/* ---- merging ---- */

static struct tun_contact of(unsigned seeder, unsigned point, int64_t expiry) {
    struct tun_contact c = {.expiry = (uint32_t)expiry};
    memset(c.service, (int)seeder, sizeof c.service);
    memset(c.auth, (int)(16 * seeder + point), sizeof c.auth);
    return c;
}

static unsigned count_of(const struct tun_slot *slot, unsigned seeder) {
    unsigned n = 0;
    for (unsigned i = 0; i < slot->count; i++)
        n += slot->contact[i].service[0] == seeder;
    return n;
}

Test(tun_slot, merging_keeps_others_and_replaces_what_is_ours_or_over) {
    uint64_t seed = 3;
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, seed);
    struct cv_rng rng = cv_rng_seeded(&dice);
    const struct tun_contact ours[3] = {of(1, 0, WALL + 9), of(1, 1, WALL + 9), of(1, 2, WALL + 9)};
    static const struct {
        const char *name;
        unsigned others, old, over; /* contacts there: of others, of ours, expired */
        bool evict;
        unsigned want_ours, want_others;
    } rows[] = {
        {"empty", 0, 0, 0, false, 3, 0},           {"room for all", 3, 0, 0, false, 3, 3},
        {"room for two", 4, 0, 0, false, 2, 4},    {"ours again", 3, 3, 0, false, 3, 3},
        {"over makes room", 3, 0, 3, false, 3, 3}, {"full", 6, 0, 0, false, 0, 6},
        {"full, one yields", 6, 0, 0, true, 1, 5},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tun_slot slot = {0};
        for (unsigned k = 0; k < rows[i].others; k++)
            slot.contact[slot.count++] = of(2 + k, 0, WALL + 5);
        for (unsigned k = 0; k < rows[i].old; k++)
            slot.contact[slot.count++] = of(1, 8 + k, WALL + 5);
        for (unsigned k = 0; k < rows[i].over; k++)
            slot.contact[slot.count++] = of(9, k, WALL - 2 * TUN_CLOCK_OFF_S - 5);
        unsigned added = tun_slot_merge(&slot, ours, 3, rows[i].evict, WALL, &rng);
        cr_expect_eq(added, rows[i].want_ours, "%s: %u added", rows[i].name, added);
        cr_expect_eq(count_of(&slot, 1), rows[i].want_ours, "%s", rows[i].name);
        cr_expect(!added || slot.contact[slot.count - 1].service[0] == 1, "%s: ours stand last",
                  rows[i].name);
        cr_expect_eq(slot.count, rows[i].want_ours + rows[i].want_others, "%s", rows[i].name);
    }
}
