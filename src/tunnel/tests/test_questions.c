/* Questions are cheap for whoever is answered and few for whoever is not. */
#include "crypto/rng_seeded.h"
#include "support/suite.h"
#include "tunnel/limits.h"
#include "tunnel/questions.h"

CV_SUITE(tun_questions);

static const cv_usec begin = CV_SEC(1000), every = CV_MSEC(TUN_QUESTIONS_EVERY_MS);

static struct cv_addr address(unsigned net, uint8_t host, uint16_t port) {
    return (struct cv_addr){
        .family = 4, .port = port, .ip = {20, (uint8_t)(net >> 8), (uint8_t)net, host}};
}

static void init(struct tun_questions *q) {
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 5);
    struct cv_rng rng = cv_rng_seeded(&dice);
    tun_questions_init(q, &rng);
}

/* How many of `n` questions to all hosts and ports of one /24 go out. */
static unsigned flood(struct tun_questions *q, unsigned net, unsigned n, cv_usec now) {
    unsigned sent = 0;
    for (unsigned i = 0; i < n; i++) {
        struct cv_addr a = address(net, (uint8_t)i, (uint16_t)(1 + i));
        sent += tun_questions_take(q, &a, now);
    }
    return sent;
}

Test(tun_questions, who_never_answers_is_asked_a_few_times_then_rarely) {
    struct tun_questions q;
    init(&q);
    cr_expect_eq(flood(&q, 1, 1000, begin), TUN_QUESTIONS_BURST);
    cr_expect_eq(flood(&q, 1, 1000, begin + every - CV_MSEC(1)), 0);
    cr_expect_eq(flood(&q, 1, 1000, begin + every), 1);
    cr_expect_eq(flood(&q, 1, 1000, begin + 3 * every), 2);
    cr_expect_eq(flood(&q, 1, 1000, begin + 1000 * every), TUN_QUESTIONS_BURST, "no more saved up");
    cr_expect_eq(flood(&q, 2, 1000, begin), TUN_QUESTIONS_BURST, "another network");
}

Test(tun_questions, who_answers_may_be_many_at_one_address) {
    struct tun_questions q;
    init(&q);
    for (unsigned i = 0; i < 500; i++) {
        struct cv_addr a = address(1, 1, (uint16_t)(1 + i));
        cr_assert(tun_questions_take(&q, &a, begin));
        tun_questions_answered(&q, &a, begin + CV_MSEC(3));
    }
    cr_expect_geq(flood(&q, 1, 1000, begin), TUN_QUESTIONS_BURST - 1);
}
