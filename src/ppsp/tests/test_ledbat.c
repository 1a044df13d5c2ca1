/*
 * LEDBAT by itself: RFC 6817's rules one by one, then a flow over a bottleneck
 * drawn as arithmetic: 10 Mbit/s, 50 ms, a queue of 500 ms.
 */
#include "support/suite.h"

#include "ppsp/ledbat.h"

CV_SUITE(ppsp_ledbat);

enum { MSS = 1045 };

static struct ppsp_ledbat fresh(void) {
    struct ppsp_ledbat l;
    ppsp_ledbat_init(&l, MSS, CV_MSEC(100), CV_SEC(1));
    return l;
}

Test(ppsp_ledbat, starts_with_a_small_window) {
    struct ppsp_ledbat l = fresh();
    cv_usec at;
    cr_expect_eq(ppsp_ledbat_allowance(&l, CV_SEC(1), &at), LEDBAT_INIT_CWND * MSS);
    ppsp_ledbat_sent(&l, CV_SEC(1), LEDBAT_INIT_CWND * MSS);
    cr_expect_eq(ppsp_ledbat_allowance(&l, CV_SEC(1), &at), 0);
    cr_expect_eq(at, CV_USEC_NEVER, "only an acknowledgement helps");
}

Test(ppsp_ledbat, who_takes_anothers_place_begins_with_half_of_its_window) {
    struct ppsp_ledbat was, l;
    ppsp_ledbat_init(&was, 1000, CV_MSEC(60), CV_SEC(1));
    cr_expect_eq(ppsp_ledbat_legacy(&was), 0, "nobody inherits what everybody has");
    was.cwnd = 40000;
    was.ssthresh = 30000;
    cr_expect_eq(ppsp_ledbat_legacy(&was), 40000);
    was.cwnd = 1000; /* timed out */
    was.ssthresh = 20000;
    cr_expect_eq(ppsp_ledbat_legacy(&was), 40000);
    ppsp_ledbat_init(&l, 1000, CV_MSEC(60), CV_SEC(2));
    ppsp_ledbat_resume(&l, ppsp_ledbat_legacy(&was));
    cr_expect_eq(l.cwnd, 20000);
    cr_expect_eq(l.ssthresh, 40000, "then it grows like anybody");
    ppsp_ledbat_bequeath(&was);
    cr_expect_eq(was.cwnd, 1000);
    cr_expect_eq(ppsp_ledbat_legacy(&was), 0);
    ppsp_ledbat_init(&l, 1000, CV_MSEC(60), CV_SEC(2));
    uint64_t first = l.cwnd;
    ppsp_ledbat_resume(&l, 100); /* nobody begins with less */
    cr_expect_eq(l.cwnd, first);
    cr_expect_eq(l.ssthresh, UINT64_MAX);
}

Test(ppsp_ledbat, queuing_delay_is_against_the_least_of_ten_minutes) {
    struct ppsp_ledbat l = fresh();
    ppsp_ledbat_delay(&l, CV_SEC(1), 5000);
    cr_expect_eq(l.queuing_delay, 0);
    ppsp_ledbat_delay(&l, CV_SEC(2), 45000);
    cr_expect_eq(l.queuing_delay, 40000);
    /* a lower one counts at once, also "below zero" when clocks differ */
    ppsp_ledbat_delay(&l, CV_SEC(3), (uint64_t)-5000);
    ppsp_ledbat_delay(&l, CV_SEC(4), 5000);
    cr_expect_eq(l.queuing_delay, 10000);
    /* eleven minutes later the path is another one */
    for (unsigned minute = 1; minute <= 11; minute++)
        ppsp_ledbat_delay(&l, CV_SEC(4 + 60 * minute), 5000);
    cr_expect_eq(l.queuing_delay, 0);
}

Test(ppsp_ledbat, after_ten_idle_minutes_measurement_begins_anew) {
    struct ppsp_ledbat l = fresh();
    ppsp_ledbat_delay(&l, CV_SEC(1), 5000);
    ppsp_ledbat_delay(&l, CV_SEC(3601), 95000);
    cr_expect_eq(l.queuing_delay, 0);
}

Test(ppsp_ledbat, filter_is_the_minimum_of_the_last_round_trip) {
    struct ppsp_ledbat l = fresh();
    ppsp_ledbat_rtt(&l, CV_MSEC(50));
    ppsp_ledbat_delay(&l, CV_SEC(1), 1000);
    ppsp_ledbat_rtt(&l, CV_MSEC(80));
    ppsp_ledbat_delay(&l, CV_SEC(2), 31000);
    ppsp_ledbat_rtt(&l, CV_MSEC(140));
    ppsp_ledbat_delay(&l, CV_SEC(2) + CV_MSEC(10), 91000); /* a busy receiver */
    cr_expect_eq(l.queuing_delay, 30000);
    ppsp_ledbat_delay(&l, CV_SEC(2) + CV_MSEC(90), 91000); /* it stays so: it is a queue */
    cr_expect_eq(l.queuing_delay, 90000);
}

Test(ppsp_ledbat, no_queue_is_longer_than_the_round_trip_has_grown_by) {
    struct ppsp_ledbat l = fresh();
    ppsp_ledbat_delay(&l, CV_SEC(1), 1000);
    ppsp_ledbat_rtt(&l, CV_MSEC(50));
    ppsp_ledbat_rtt(&l, CV_MSEC(65));
    ppsp_ledbat_delay(&l, CV_SEC(100), 81000); /* a clock that runs faster */
    cr_expect_eq(l.queuing_delay, CV_MSEC(15));
}

static void out_of_slow_start(struct ppsp_ledbat *l, uint64_t cwnd) {
    l->cwnd = cwnd;
    l->ssthresh = 0;
}

Test(ppsp_ledbat, grows_by_one_segment_a_round_trip_and_shrinks_above_target) {
    struct ppsp_ledbat l = fresh();
    out_of_slow_start(&l, 20 * MSS);
    ppsp_ledbat_rtt(&l, CV_MSEC(50));
    ppsp_ledbat_delay(&l, CV_SEC(1), 0);
    ppsp_ledbat_sent(&l, CV_SEC(1), 20 * MSS);
    for (int i = 0; i < 20; i++) {
        ppsp_ledbat_acked(&l, CV_SEC(1), MSS);
        ppsp_ledbat_sent(&l, CV_SEC(1), MSS);
    }
    cr_expect(l.cwnd > 20 * MSS + MSS * 9 / 10 && l.cwnd <= 21 * MSS, "%lu", (unsigned long)l.cwnd);
    ppsp_ledbat_rtt(&l, CV_MSEC(200));
    ppsp_ledbat_delay(&l, CV_SEC(2), 100000); /* exactly the target: stays */
    uint64_t cwnd = l.cwnd;
    ppsp_ledbat_acked(&l, CV_SEC(2), MSS);
    cr_expect_eq(l.cwnd, cwnd);
    ppsp_ledbat_delay(&l, CV_SEC(3), 150000);
    ppsp_ledbat_acked(&l, CV_SEC(3), MSS);
    cr_expect_lt(l.cwnd, cwnd);
}

Test(ppsp_ledbat, an_idle_sender_does_not_grow) {
    struct ppsp_ledbat l = fresh();
    out_of_slow_start(&l, 20 * MSS);
    ppsp_ledbat_delay(&l, CV_SEC(1), 0);
    for (int i = 0; i < 1000; i++) {
        ppsp_ledbat_sent(&l, CV_SEC(1), MSS);
        ppsp_ledbat_acked(&l, CV_SEC(1), MSS);
    }
    cr_expect_eq(l.cwnd, 20 * MSS, "flight + ALLOWED_INCREASE is less than the window");
}

Test(ppsp_ledbat, halves_once_per_round_trip_on_loss) {
    struct ppsp_ledbat l = fresh();
    l.cwnd = 40 * MSS;
    l.flight = 40 * MSS;
    ppsp_ledbat_lost(&l, CV_SEC(10), CV_SEC(9), MSS);
    cr_expect_eq(l.cwnd, 20 * MSS);
    ppsp_ledbat_lost(&l, CV_SEC(10) + 5, CV_SEC(9) + 500, MSS); /* sent before we knew */
    cr_expect_eq(l.cwnd, 20 * MSS);
    ppsp_ledbat_lost(&l, CV_SEC(11), CV_SEC(10) + 10, MSS);
    cr_expect_eq(l.cwnd, 10 * MSS);
    for (cv_usec t = 20; t < 40; t++)
        ppsp_ledbat_lost(&l, CV_SEC(t), CV_SEC(t), MSS);
    cr_expect_eq(l.cwnd, LEDBAT_MIN_CWND * MSS);
    cr_expect_eq(l.flight, 40 * MSS - 23 * MSS);
}

Test(ppsp_ledbat, congestion_timeout_backs_off_and_ends) {
    struct ppsp_ledbat l = fresh();
    ppsp_ledbat_sent(&l, CV_SEC(1), 4 * MSS);
    cr_expect_eq(l.cto_at, CV_SEC(2), "one second at first");
    ppsp_ledbat_timeout(&l, CV_SEC(2));
    cr_expect_eq(l.cwnd, MSS);
    cr_expect_eq(l.flight, 0);
    cr_expect_eq(l.cto, CV_SEC(2));
    for (int i = 0; i < 20; i++)
        ppsp_ledbat_timeout(&l, CV_SEC(3));
    cr_expect_eq(l.cto, CV_SEC(60), "the least maximum that the RFC allows");
    ppsp_ledbat_sent(&l, CV_SEC(4), MSS);
    ppsp_ledbat_acked(&l, CV_SEC(5), MSS);
    cr_expect_eq(l.cto, CV_SEC(1));
    cr_expect_eq(l.cto_at, CV_USEC_NEVER, "nothing is in flight");
}

Test(ppsp_ledbat, paces) {
    struct ppsp_ledbat l = fresh();
    cv_usec at;
    out_of_slow_start(&l, 100 * MSS);
    ppsp_ledbat_rtt(&l, CV_SEC(1));
    uint64_t first = ppsp_ledbat_allowance(&l, CV_SEC(5), &at);
    cr_expect(first <= 16 * MSS, "not the whole window at once: %lu", (unsigned long)first);
    ppsp_ledbat_sent(&l, CV_SEC(5), first);
    cr_expect_eq(ppsp_ledbat_allowance(&l, CV_SEC(5), &at), 0);
    cr_expect(at > CV_SEC(5) && at < CV_SEC(5) + CV_MSEC(20), "125 a second: 8 ms each");
    cr_expect_geq(ppsp_ledbat_allowance(&l, at, &at), MSS);
}

/* ---- a bottleneck ---- */

enum { FLIGHT_MAX = 4096 };

struct way {
    struct {
        cv_usec sent, arrives; /* of the acknowledgement; 0: lost */
        uint64_t delay;
    } in_flight[FLIGHT_MAX];
    unsigned head, tail;
    cv_usec busy;
};

#define LINE_RATE (10 * 1000 * 1000 / 8) /* octets a second */
#define ONE_WAY   CV_MSEC(25)
#define QUEUE     CV_MSEC(500)

static void send_one(struct way *w, struct ppsp_ledbat *l, cv_usec now) {
    cv_usec start = w->busy > now ? w->busy : now;
    unsigned i = w->tail++ % FLIGHT_MAX;
    w->in_flight[i].sent = now;
    w->in_flight[i].arrives = 0;
    ppsp_ledbat_sent(l, now, MSS);
    if (start - now > QUEUE)
        return;
    w->busy = start + (cv_usec)MSS * 1000000 / LINE_RATE;
    w->in_flight[i].delay = w->busy + ONE_WAY - now + 123456789; /* clocks differ */
    w->in_flight[i].arrives = w->busy + 2 * ONE_WAY;
}

/* One flow for so long; octets delivered and the greatest standing queue after
 * the first ten seconds. */
static uint64_t flow(struct ppsp_ledbat *l, cv_usec time, cv_usec *ret_queue) {
    static struct way w;
    uint64_t delivered = 0;
    w.head = w.tail = 0;
    w.busy = 0;
    *ret_queue = 0;
    for (cv_usec now = CV_SEC(1); now < CV_SEC(1) + time; now += 100) {
        while (w.head != w.tail) {
            unsigned i = w.head % FLIGHT_MAX;
            if (w.in_flight[i].arrives == 0) {
                if (now < w.in_flight[i].sent + ppsp_ledbat_patience(l))
                    break;
                ppsp_ledbat_lost(l, now, w.in_flight[i].sent, MSS);
            } else {
                if (now < w.in_flight[i].arrives)
                    break;
                ppsp_ledbat_delay(l, now, w.in_flight[i].delay);
                ppsp_ledbat_rtt(l, now - w.in_flight[i].sent);
                ppsp_ledbat_acked(l, now, MSS);
                delivered += MSS;
            }
            w.head++;
        }
        cv_usec at;
        for (uint64_t n = ppsp_ledbat_allowance(l, now, &at); n >= MSS; n -= MSS)
            send_one(&w, l, now);
        if (now > CV_SEC(11) && w.busy > now && w.busy - now > *ret_queue)
            *ret_queue = w.busy - now;
    }
    return delivered;
}

Test(ppsp_ledbat, fills_a_bottleneck_within_the_target) {
    struct ppsp_ledbat l = fresh();
    cv_usec queue;
    uint64_t octets = flow(&l, CV_SEC(60), &queue);
    cr_expect_geq(octets, (uint64_t)LINE_RATE * 60 * 80 / 100, "utilisation %lu %%",
                  (unsigned long)(octets * 100 / ((uint64_t)LINE_RATE * 60)));
    cr_expect_leq(queue, CV_MSEC(130), "queue %lu us", (unsigned long)queue);
    cr_expect_geq(queue, CV_MSEC(60));
}
