#include "support/suite.h"

#include "dht/tests/switch.h"

CV_SUITE(dht_restore);

static uint8_t blob[DHT_SAVE_MAX];

/* A node stops and comes back with its blob, without any bootstrap contact. */
Test(dht_restore, usable_within_two_seconds_without_contacts) {
    struct net *n = net_of(31, 40, false);
    n->delay_min = CV_MSEC(20);
    n->delay_max = CV_MSEC(120);
    net_run(n, CV_SEC(30));
    struct switch_node *v = &n->v[7];
    struct dht_status before, after;
    dht_status(v->d, &before);
    size_t len = dht_save(v->d, blob, sizeof blob);
    cr_assert(len > 0 && len <= sizeof blob);
    v->d = dht_free(v->d);
    net_run(n, CV_SEC(60));

    struct dht_config cfg = {.ipv4 = true, .scope = DHT_SCOPE_PUBLIC};
    v->d = dht_new(&cfg, &v->rng, n->now);
    cr_assert_eq(dht_restore(v->d, n->now, blob, len), CV_ERR_OK);
    struct dht_id key = {{5}};
    dht_op op;
    cv_usec from = n->now.mono;
    cr_assert_eq(dht_find_peers(v->d, n->now, &key, &op), CV_ERR_OK);
    const struct switch_event *e = net_wait(n, v, op, CV_SEC(10));
    cr_assert(e);
    cr_expect_eq(e->done.err, CV_ERR_OK);
    cr_expect_lt(e->at - from, CV_SEC(2), "%lu ms", (unsigned long)(e->at - from) / 1000);
    dht_status(v->d, &after);
    cr_expect(dht_id_equal(&before.ipv4.id, &after.ipv4.id), "keeps its id");
    cr_expect(cv_addr_equal(&before.ipv4.external, &after.ipv4.external));
    net_run(n, CV_SEC(10));
    dht_status(v->d, &after);
    cr_expect_geq(after.ipv4.nodes_good * 2, before.ipv4.nodes_good);
    net_free(n);
}

Test(dht_restore, survives_when_all_saved_nodes_are_gone) {
    struct net *n = net_of(32, 10, true);
    net_run(n, CV_SEC(5));
    size_t len = dht_save(n->v[1].d, blob, sizeof blob);
    for (unsigned i = 0; i < 10; i++)
        n->v[i].d = dht_free(n->v[i].d);
    struct dht_config cfg = {.ipv4 = true, .scope = DHT_SCOPE_LOOPBACK};
    n->v[1].d = dht_new(&cfg, &n->v[1].rng, n->now);
    n->v[1].log_count = 0;
    cr_assert_eq(dht_restore(n->v[1].d, n->now, blob, len), CV_ERR_OK);
    net_run(n, CV_SEC(10));
    const struct switch_event *e = net_event(&n->v[1], DHT_EVENT_NO_BOOTSTRAP, 0);
    cr_assert(e);
    cr_expect_eq(e->tried, 9);
    /* One comes back much later. */
    n->v[4].d = dht_new(&cfg, &n->v[4].rng, n->now);
    net_run(n, CV_SEC(180));
    cr_expect(net_event(&n->v[1], DHT_EVENT_READY, 0));
    net_free(n);
}

Test(dht_restore, damaged_blobs_change_nothing) {
    struct net *n = net_of(33, 10, true);
    net_run(n, CV_SEC(5));
    size_t len = dht_save(n->v[1].d, blob, sizeof blob);
    struct dht_config cfg = {.ipv4 = true, .scope = DHT_SCOPE_LOOPBACK};
    struct cv_addr addr = switch_loopback(50);
    struct switch_node *v = net_add(n, &cfg, &addr);
    struct dht_status before, after;
    dht_status(v->d, &before);
    for (size_t cut = 0; cut < len; cut++)
        cr_expect_lt(dht_restore(v->d, n->now, blob, cut), 0);
    for (size_t i = 0; i < len; i++) {
        blob[i] ^= 0x10;
        cr_expect_eq(dht_restore(v->d, n->now, blob, len), i == 3 ? CV_ERR_VERSION : CV_ERR_CORRUPT,
                     "octet %zu", i);
        blob[i] ^= 0x10;
    }
    dht_status(v->d, &after);
    cr_expect(dht_id_equal(&before.ipv4.id, &after.ipv4.id));
    cr_expect_eq(dht_restore(v->d, n->now, blob, len), CV_ERR_OK);
    cr_expect_eq(dht_save(v->d, NULL, 0), dht_save(v->d, blob, sizeof blob), "length without room");
    net_free(n);
}
