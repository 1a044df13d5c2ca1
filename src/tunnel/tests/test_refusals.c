/*
 * What a client makes of relays that refuse to extend a circuit: it waits ever
 * longer before it asks again, and learns from a descriptor that differs.
 */
#include "support/suite.h"
#include "tunnel/directory.h"
#include "tunnel/tests/village.h"

CV_SUITE(tun_refusals);

static const struct sim_path near = {.delay = CV_MSEC(1)};

enum { RELAYS = 6 };

/* A client that has guards and knows everybody; *ret is the relay that is to be
 * refused: none of its guards, so that others extend to it. */
static struct village *ready(uint64_t seed, unsigned *ret_client, unsigned *ret_target) {
    struct village *v = village_new(&(struct sim_config){.seed = seed}, RELAYS);
    sim_path_default(v->w->sim, &near);
    world_run(v->w, CV_SEC(3));
    *ret_client = village_client(v);
    world_run(v->w, CV_SEC(4));
    const struct tun_guards *g = tun_client_guards(v->w->node[*ret_client].t);
    for (*ret_target = 0; *ret_target < RELAYS; ++*ret_target)
        if (!tun_guards_is_first(g, v->w->node[*ret_target].identity_secret.public_key))
            break;
    cr_assert_lt(*ret_target, RELAYS);
    return v;
}

static struct tun_relay *known(struct village *v, unsigned node, unsigned relay) {
    struct cv_now now = world_now(v->w, node);
    return tun_directory_find_now(tun_client_directory(v->w->node[node].t),
                                  v->w->node[relay].identity_secret.public_key, now.wall);
}

/* Everybody but the client holds another descriptor of the target, as signed. */
static void let_differ(struct village *v, unsigned client, unsigned target) {
    struct tun_descriptor d = known(v, client, target)->desc;
    uint8_t raw[TUN_DESCRIPTOR_MAX];
    d.bandwidth++;
    ssize_t len = tun_descriptor_sign(&d, &v->w->node[target].identity_secret, raw, sizeof raw);
    cr_assert_gt(len, 0);
    for (unsigned i = 0; i < RELAYS; i++) {
        struct tun_relay *r = known(v, i, target);
        if (i == target || !r)
            continue;
        memcpy(r->raw, raw, (size_t)len);
        r->raw_len = (uint16_t)len;
        cr_assert_eq(tun_descriptor_open(raw, (size_t)len, tun_config(v->w->node[i].t)->network_id,
                                         &r->desc),
                     CV_ERR_OK);
    }
}

static enum cv_err dial(struct village *v, unsigned client, unsigned target, cv_handle *ret) {
    struct cv_now now = world_now(v->w, client);
    enum cv_err err = tun_circuit_open(v->w->node[client].t, &now, TUN_PURPOSE_GENERAL,
                                       v->w->node[target].identity_secret.public_key, ret);
    sim_touch(v->w->sim, client);
    return err;
}

Test(tun_refusals, a_descriptor_that_differs_is_proof_against_who_signed_both) {
    for (uint64_t seed = 1; seed <= 3; seed++) {
        unsigned client, target;
        struct village *v = ready(seed, &client, &target);
        let_differ(v, client, target);
        cv_handle circuit;
        for (unsigned i = 0; i < 50 && !world_count(v->w, client, TUN_EVENT_PROOF); i++) {
            (void)dial(v, client, target, &circuit);
            world_run(v->w, CV_MSEC(200));
        }
        struct world_event *e = world_find(v->w, client, TUN_EVENT_PROOF, 0);
        cr_assert_not_null(e, "seed %lu", seed);
        struct tun_relay *r = known(v, client, target);
        cr_expect(!r || r->liar, "seed %lu: used on", seed);
        cr_expect_neq(dial(v, client, target, &circuit), CV_ERR_OK);
        village_free(v);
    }
}

/* "It differs", and what comes with it is what we hold: then it does not. */
Test(tun_refusals, who_shows_nothing_that_differs_is_avoided_himself) {
    unsigned client, target, shunned = 0;
    struct village *v = ready(4, &client, &target);
    for (unsigned i = 0; i < RELAYS; i++) {
        struct tun_relay *r = known(v, i, target);
        if (i != target && r)
            r->desc.digest[0] ^= 1;
    }
    cv_handle circuit;
    for (unsigned i = 0; i < 400; i++) {
        (void)dial(v, client, target, &circuit);
        world_run(v->w, CV_MSEC(5));
        for (unsigned k = 0; k < RELAYS; k++)
            shunned |= (k != target && known(v, client, k)->shunned_until > 0);
    }
    cr_expect(shunned);
    cr_expect_eq(world_count(v->w, client, TUN_EVENT_PROOF), 0);
    cr_expect_not(known(v, client, target)->liar);
    village_free(v);
}

Test(tun_refusals, who_refuses_is_asked_ever_more_rarely) {
    unsigned client, target, asked = 0, early = 0;
    struct village *v = ready(5, &client, &target);
    for (unsigned i = 0; i < RELAYS; i++) { /* nobody knows it any more */
        struct tun_relay *r = known(v, i, target);
        if (i != target && r)
            r->raw_len = 0;
    }
    for (unsigned ms = 0; ms < 20000; ms += 20) {
        cv_handle circuit;
        bool did = dial(v, client, target, &circuit) == CV_ERR_OK;
        asked += did;
        early += did && ms < 2000;
        world_run(v->w, CV_MSEC(20));
    }
    cr_expect(early >= 2 && early <= 10, "%u circuits in two seconds", early);
    cr_expect(asked <= early + 8, "%u circuits in twenty seconds, %u in the first two", asked,
              early);
    village_free(v);
}
