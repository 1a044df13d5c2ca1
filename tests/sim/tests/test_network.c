/* The fate of a datagram: exact on a perfect path, exact masks, fair dice. */
#include "sim/tests/toy.h"
#include "support/suite.h"

CV_SUITE(network);

struct world {
    struct sim *s;
    struct toy *a, *b, *c;
};

static struct world make(uint64_t seed) {
    struct world w = {.s = sim_new(&(struct sim_config){.seed = seed})};
    w.a = toy_new(w.s);
    w.b = toy_new(w.s);
    w.c = toy_new(w.s);
    return w;
}

/* Every datagram is accounted for, then everything is freed. */
static void done(struct world *w) {
    const struct sim_counters *c = sim_counters(w->s);
    uint64_t in = c->sent + c->duplicated + c->injected, out = 0;
#define X(name) out += c->name;
    SIM_COUNTERS(X)
#undef X
    cr_expect_eq(out - in, in, "sent %lu, accounted for %lu", in, out - in);
    sim_free(w->s);
    free(w->a);
    free(w->b);
    free(w->c);
}

Test(network, perfect_path_is_exact) {
    struct world w = make(1);
    sim_path(w.s, 0, 1, &(struct sim_path){.delay = 12345});
    toy_send(w.a, w.b, 100, 1000, 500, 1001);
    sim_run(w.s, CV_SEC(1));
    cr_assert_eq(w.b->arrived, 100);
    for (unsigned i = 0; i < 100; i++) {
        cr_expect_eq(w.b->log[i].at, 500 + 1001 * i + 12345);
        cr_expect_eq(w.b->log[i].number, i);
        cr_expect_eq(w.b->log[i].len, 1000);
        cr_expect(cv_addr_equal(&w.b->log[i].from, &w.a->addr));
        cr_expect(cv_addr_equal(&w.b->log[i].to, &w.b->addr));
    }
    cr_expect_eq(w.c->arrived, 0);
    done(&w);
}

Test(network, rates_and_queue_are_exact) {
    struct world w = make(1);
    /* up: 8 Mbit/s, 1 us an octet; path 4 Mbit/s; down 2 Mbit/s: each is a queue. */
    sim_access(w.s, 0, &(struct sim_access){.rate_up = 8000000});
    sim_path(w.s, 0, 1, &(struct sim_path){.rate = 4000000, .delay = 50});
    sim_access(w.s, 1, &(struct sim_access){.rate_down = 2000000});
    w.a->burst = 10;
    toy_send(w.a, w.b, 10, 1000, 0, CV_SEC(1));
    sim_run(w.s, CV_SEC(1));
    cr_assert_eq(w.b->arrived, 10);
    for (unsigned i = 0; i < 10; i++)
        cr_expect_eq(w.b->log[i].at, 1000 + 2000 + 50 + 4000 * (i + 1), "%u at %lu", i,
                     w.b->log[i].at);
    done(&w);

    w = make(1);
    sim_path(w.s, 0, 1, &(struct sim_path){.rate = 8000000, .queue = 5500});
    w.a->burst = 10;
    toy_send(w.a, w.b, 20, 1000, 0, 2500);
    sim_run(w.s, CV_SEC(1));
    /* 5 fit; 2500 us later there is room for 2 (2500 octets are left, 3000 free). */
    cr_expect_eq(w.b->arrived, 5 + 3);
    cr_expect_eq(sim_counters(w.s)->drop_queue_path, 5 + 7);
    cr_expect_eq(w.b->log[4].at, 5000);
    cr_expect_eq(w.b->log[5].number, 10);
    cr_expect_eq(w.b->log[7].at, 8000);
    done(&w);
}

Test(network, downward_queue_is_shared_by_all_senders) {
    struct world w = make(1);
    sim_access(w.s, 2, &(struct sim_access){.rate_down = 8000000, .queue_down = 2000});
    toy_send(w.a, w.c, 2, 1000, 0, 0);
    toy_send(w.b, w.c, 2, 1000, 0, 0);
    sim_run(w.s, CV_SEC(1));
    cr_expect_eq(w.c->arrived, 2);
    cr_expect_eq(sim_counters(w.s)->drop_queue_down, 2);
    done(&w);
}

Test(network, loss_mask_is_exact) {
    struct world w = make(1);
    uint64_t mask = 0xf0000000000000a5;
    sim_loss_mask(w.s, 0, 1, mask);
    toy_send(w.a, w.b, 128, 100, 0, 10);
    sim_run(w.s, CV_SEC(1));
    unsigned at = 0;
    for (unsigned i = 0; i < 128; i++)
        if (!(mask >> (i & 63) & 1))
            cr_expect_eq(w.b->log[at++].number, i);
    cr_expect_eq(w.b->arrived, at);
    cr_expect_eq(sim_counters(w.s)->drop_mask, 2 * 8);

    sim_loss_mask(w.s, 0, 1, 1); /* begins anew: exactly the next one */
    w.b->arrived = 0;
    toy_send(w.a, w.b, 3, 100, CV_SEC(1), 10);
    sim_run(w.s, CV_SEC(2));
    cr_expect_eq(w.b->arrived, 2);
    cr_expect_eq(w.b->log[0].number, 1);
    done(&w);
}

static unsigned arrivals(uint64_t seed, const struct sim_path *path, unsigned n) {
    struct world w = make(seed);
    sim_path_default(w.s, path);
    toy_send(w.a, w.b, n, 50, 0, 10);
    sim_run(w.s, CV_SEC(100));
    unsigned got = w.b->arrived;
    done(&w);
    return got;
}

Test(network, loss_and_duplication_rates) {
    enum { N = 100000 };
    unsigned got = arrivals(1, &(struct sim_path){.loss_ppm = 30000}, N);
    cr_expect(got > 96780 && got < 97220, "3 %% loss: %u (4 sigma: 216)", got);
    got = arrivals(2, &(struct sim_path){.duplicate_ppm = 50000}, N);
    cr_expect(got > 104724 && got < 105276, "5 %% twice: %u (4 sigma: 276)", got);
    cr_expect_eq(arrivals(3, &(struct sim_path){.loss_ppm = 1000000}, 1000), 0);
    cr_expect_eq(arrivals(3, &(struct sim_path){.duplicate_ppm = 1000000}, 1000), 2000);
}

Test(network, jitter_keeps_order_and_reordering_does_not) {
    struct world w = make(5);
    sim_path(w.s, 0, 1, &(struct sim_path){.delay = 1000, .jitter = 5000});
    toy_send(w.a, w.b, 2000, 50, 0, 100);
    sim_run(w.s, CV_SEC(1));
    cr_assert_eq(w.b->arrived, 2000);
    unsigned late = 0;
    for (unsigned i = 0; i < 2000; i++) {
        cr_assert_eq(w.b->log[i].number, i);
        cr_assert(w.b->log[i].at >= 100 * i + 1000 && w.b->log[i].at <= 100 * i + 6000);
        late += w.b->log[i].at > 100 * i + 3500;
    }
    cr_expect_gt(late, 500, "jitter is really used");
    done(&w);

    w = make(5);
    sim_path(w.s, 0, 1, &(struct sim_path){.delay = 1000, .reorder_ppm = 100000, .reorder = 5000});
    toy_send(w.a, w.b, 2000, 50, 0, 100);
    sim_run(w.s, CV_SEC(1));
    cr_assert_eq(w.b->arrived, 2000);
    unsigned overtaken = 0;
    for (unsigned i = 1; i < 2000; i++)
        overtaken += w.b->log[i].number < w.b->log[i - 1].number;
    cr_expect(overtaken > 120 && overtaken < 260, "%u of about 200", overtaken);
    done(&w);
}

Test(network, partition_heals) {
    struct world w = make(1);
    sim_path_default(w.s, &(struct sim_path){.delay = 1000});
    toy_send(w.a, w.b, 1000, 50, 0, CV_MSEC(1));
    sim_run(w.s, CV_MSEC(100));
    cr_expect_eq(w.b->arrived, 100); /* 0..99, the last sent at 99 ms */
    sim_partition(w.s, 0, 1);        /* the one in flight (sent at 100 ms) is lost too */
    sim_run(w.s, CV_MSEC(200));
    cr_expect_eq(w.b->arrived, 100);
    sim_heal(w.s);
    sim_run(w.s, CV_MSEC(300));
    cr_expect_eq(w.b->arrived, 199);
    cr_expect_eq(w.b->log[100].number, 201);
    cr_expect_eq(sim_counters(w.s)->drop_partition, 101);

    sim_path(w.s, 0, 1, &(struct sim_path){.cut = true}); /* one direction only */
    toy_send(w.b, w.a, 5, 50, sim_now(w.s), 10);
    sim_run(w.s, CV_MSEC(400));
    cr_expect_eq(w.a->arrived, 5);
    cr_expect_eq(w.b->arrived, 200);
    done(&w);
}

Test(network, clog_holds_and_releases_in_order) {
    struct world w = make(1);
    sim_clog(w.s, 0, 1, CV_MSEC(500));
    toy_send(w.a, w.b, 10, 50, 0, CV_MSEC(100));
    sim_run(w.s, CV_MSEC(499));
    cr_expect_eq(w.b->arrived, 0);
    sim_run(w.s, CV_SEC(2));
    cr_assert_eq(w.b->arrived, 10);
    for (unsigned i = 0; i < 10; i++) {
        cr_expect_eq(w.b->log[i].number, i);
        cr_expect_eq(w.b->log[i].at, i < 5 ? CV_MSEC(500) : CV_MSEC(100) * i);
    }
    done(&w);
}

Test(network, addresses_sockets_and_size) {
    struct world w = make(1);
    struct cv_addr second = sim_addr(1, TOY_PORT + 1), nobody = sim_addr(77, 1), v6, v6b;
    cr_assert_eq(cv_addr_parse("[2a00:1450::1]:5", &v6), CV_ERR_OK);
    cr_assert_eq(cv_addr_parse("[2a00:1450::2]:5", &v6b), CV_ERR_OK);
    cr_expect_eq(sim_bind(w.s, 1, 2, &second), CV_ERR_OK);
    cr_expect_eq(sim_bind(w.s, 2, 1, &second), CV_ERR_EXIST);
    cr_expect_eq(sim_bind(w.s, 1, 0, &v6), CV_ERR_OK, "a socket has one of each family");

    toy_send(w.a, w.b, 1, 50, 0, 1);
    w.a->to = second;
    sim_run(w.s, 1);
    cr_expect_eq(w.b->log[0].socket, 2);
    cr_expect(cv_addr_equal(&w.b->log[0].to, &second));

    toy_send(w.a, w.b, 1, 50, 2, 1);
    w.a->to = nobody;
    sim_run(w.s, 3);
    cr_expect_eq(sim_counters(w.s)->drop_address, 1);

    toy_send(w.a, w.b, 1, 50, 4, 1);
    w.a->to = v6; /* from a node that has no such address */
    sim_run(w.s, 5);
    cr_expect_eq(sim_counters(w.s)->drop_address, 2);

    cr_expect_eq(sim_bind(w.s, 0, 0, &v6b), CV_ERR_OK);
    toy_send(w.a, w.b, 1, 50, 6, 1);
    w.a->to = v6;
    sim_run(w.s, 7);
    cr_expect_eq(w.b->arrived, 2);
    cr_expect(cv_addr_equal(&w.b->log[1].from, &v6b));

    sim_path_default(w.s, &(struct sim_path){.mtu = 1232});
    toy_send(w.a, w.b, 1, 1232, 8, 1);
    sim_run(w.s, 9);
    toy_send(w.a, w.b, 1, 1233, 10, 1);
    sim_run(w.s, 11);
    cr_expect_eq(w.b->arrived, 3);
    cr_expect_eq(sim_counters(w.s)->drop_mtu, 1);
    done(&w);
}

Test(network, a_socket_that_moves_is_at_its_new_address_only) {
    struct world w = make(1);
    struct cv_addr before = w.b->addr, after = sim_addr(77, 1);
    sim_path_default(w.s, &(struct sim_path){.delay = 1000});
    toy_send(w.a, w.b, 1, 50, 0, 1);
    sim_run(w.s, 500);
    cr_expect_eq(sim_move(w.s, 1, 0, &w.a->addr), CV_ERR_EXIST);
    cr_expect_eq(sim_move(w.s, 1, 0, &after), CV_ERR_OK);
    sim_run(w.s, 2000);
    cr_expect_eq(w.b->arrived, 0, "what was on its way is lost");
    cr_expect_eq(sim_counters(w.s)->drop_address, 1);
    toy_send(w.a, w.b, 1, 50, 3000, 1);
    w.a->to = after;
    sim_run(w.s, 5000);
    cr_expect_eq(w.b->arrived, 1);
    toy_send(w.b, w.a, 1, 50, 6000, 1);
    sim_run(w.s, 8000);
    cr_expect(cv_addr_equal(&w.a->log[0].from, &after));
    toy_send(w.a, w.b, 1, 50, 9000, 1);
    w.a->to = before;
    sim_run(w.s, 12000);
    cr_expect_eq(w.b->arrived, 1);
    done(&w);
}

Test(network, generated_addresses_are_public_and_apart) {
    for (unsigned i = 0; i < 50000; i += 7) {
        struct cv_addr a = sim_addr(i, 1);
        cr_assert(cv_addr_is_public(&a));
    }
    for (unsigned i = 0; i < 200; i++)
        for (unsigned j = 0; j < i; j++) {
            struct cv_addr a = sim_addr(i, 1), b = sim_addr(j, 1);
            cr_assert_lt(cv_addr_common_bits(&a, &b), 16u);
        }
    struct cv_addr a = sim_addr(0, 1), b = sim_addr(200, 1);
    cr_expect_not(cv_addr_equal(&a, &b));
}

static enum sim_verdict odd_ones(void *ctx, const struct sim_datagram *d) {
    unsigned *seen = ctx, number;
    ++*seen;
    cr_assert_eq(d->len, 50);
    memcpy(&number, d->buf, sizeof number);
    if (number % 2)
        return SIM_DROP;
    d->buf[1] = 0x12; /* changed on the way: number becomes 0x12xx */
    return SIM_PASS;
}

Test(network, hook_sees_changes_and_drops) {
    struct world w = make(1);
    unsigned seen = 0;
    sim_hook(w.s, odd_ones, &seen);
    toy_send(w.a, w.b, 10, 50, 0, 1);
    sim_run(w.s, 100);
    cr_expect_eq(seen, 10);
    cr_expect_eq(w.b->arrived, 5);
    cr_expect_eq(w.b->log[1].number, 0x1202);
    cr_expect_eq(sim_counters(w.s)->drop_hook, 5);
    done(&w);
}

Test(network, injected_with_any_source) {
    struct world w = make(1);
    uint8_t data[8] = {9};
    struct cv_addr forged = sim_addr(99, 9), nobody = sim_addr(98, 9);
    cr_expect_eq(sim_inject(w.s, &forged, &w.b->addr, data, 8), CV_ERR_OK);
    cr_expect_eq(sim_inject(w.s, &forged, &nobody, data, 8), CV_ERR_UNREACHABLE);
    sim_run(w.s, 1);
    cr_expect_eq(w.b->arrived, 1);
    cr_expect(cv_addr_equal(&w.b->log[0].from, &forged));
    done(&w);
}
