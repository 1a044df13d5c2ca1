/*
 * Lists of relays that do not fit one answer: whoever asks is told of every relay by a source
 * that knows any number of them, though a message holds TUN_BUCKET_PAIRS_MAX names, a question
 * asks for a dozen descriptors, one source may leave TUN_BARE_OF_ONE names without, and what
 * was measured comes in pages, too. The source is a model: a sorted list, and how often each
 * part of it was asked for. Every state and message: test_client_states.c.
 */
#include <stdlib.h>

#include "support/suite.h"
#include "tunnel/bodies.h"
#include "tunnel/capacity.h"
#include "tunnel/clientstate.h"
#include "tunnel/linkcmd.h"
#include "tunnel/tests/village.h"

CV_SUITE(tun_sync);

enum {
    SOURCE = 1, /* the relay of the village in whose name the model speaks */
    LISTED_MAX = 2100,
    CIRCUIT = 0x7fff0001, /* of nobody: what is asked over it goes nowhere else */
    STEPS_MAX = 4000,
};

struct listed {
    struct cv_ed25519_secret secret;
    uint8_t raw[TUN_DESCRIPTOR_MAX], digest[TUN_DIGEST];
    size_t len;
    unsigned asked;
};

struct model {
    struct listed *relay[LISTED_MAX];        /* in order of identity */
    unsigned n, shown;                       /* of the others it has no descriptor, */
    unsigned hidden_every;                   /* nor of one in so many; 0: of all the rest */
    bool one_a_time;                         /* and shows one for each question */
    unsigned names, descriptors, capacities; /* questions */
    unsigned page[LISTED_MAX];               /* how often names from there on were asked for */
};

static int by_identity(const void *a, const void *b) {
    const struct listed *const *x = a, *const *y = b;
    return memcmp((*x)->secret.public_key, (*y)->secret.public_key, CV_KEY);
}

/* All in one network, where no relay of the village is. */
static struct cv_addr lonely(unsigned i) {
    return (struct cv_addr){
        .family = 4, .port = 4000, .ip = {91, 7, (uint8_t)(i >> 8), (uint8_t)i}};
}

static struct listed *listed_new(const struct tun_client *c, unsigned i) {
    struct listed *l = calloc(1, sizeof *l);
    cr_assert_not_null(l);
    cv_ed25519_from_seed(&l->secret, (const uint8_t[CV_KEY]){77, (uint8_t)i, (uint8_t)(i >> 8)});
    struct tun_descriptor d = {.day = tun_descriptor_day(c->now.wall),
                               .flags = TUN_RELAY_RELAY,
                               .suites = TUN_SUITES_CHACHA,
                               .bandwidth = 1000,
                               .addrs = 1,
                               .addr = {lonely(i)}};
    memcpy(d.network_id, tun_config(c->t)->network_id, sizeof d.network_id);
    ssize_t len = tun_descriptor_sign(&d, &l->secret, l->raw, sizeof l->raw);
    cr_assert_gt(len, 0);
    l->len = (size_t)len;
    tun_descriptor_digest(l->raw, l->len, l->digest);
    return l;
}

static void model_init(struct model *m, const struct tun_client *c, unsigned n, unsigned shown) {
    *m = (struct model){.n = n, .shown = shown};
    for (unsigned i = 0; i < n; i++)
        m->relay[i] = listed_new(c, i);
    qsort(m->relay, n, sizeof *m->relay, by_identity);
}

static void model_done(struct model *m) {
    for (unsigned i = 0; i < m->n; i++)
        free(m->relay[i]);
}

/* Its number. */
static unsigned model_find(const struct model *m, const uint8_t identity[CV_KEY]) {
    for (unsigned i = 0; i < m->n; i++)
        if (memcmp(m->relay[i]->secret.public_key, identity, CV_KEY) == 0)
            return i;
    cr_assert_fail("asked for whom nobody named");
    return 0;
}

/* ---- answers ---- */

struct talk {
    struct village *v;
    struct tun_client *c;
    struct tun_neighbour *n; /* NULL: over a circuit */
    struct tun_sync *s;
    struct model m;
    uint32_t answered; /* transaction */
};

/* `body` begins with the transaction. */
static void answer(struct talk *k, uint8_t command, const uint8_t *body, size_t len) {
    struct tun_event ev = {.kind = TUN_EVENT_REPLY,
                           .reply = {.circuit = CIRCUIT,
                                     .transaction = k->s->transaction,
                                     .command = command,
                                     .body = body + 4,
                                     .len = len - 4}};
    if (!k->n) {
        tun_sync_on_reply(k->c, &ev);
        return;
    }
    uint8_t cell[TUN_CONTROL_MAX];
    struct cv_wr w = cv_wr_init(cell, sizeof cell);
    tun_link_descriptors_write(&w,
                               &(struct tun_link_descriptors){
                                   .command = command, .answer = true, .body = body, .len = len});
    cr_assert_not(w.err);
    ev = (struct tun_event){.kind = TUN_EVENT_LINK_MESSAGE,
                            .link_message = {.link = tun_link_handle(tun_contact_link(k->c, k->n)),
                                             .command = TUN_LINKCMD_DESCRIPTORS,
                                             .body = cell,
                                             .len = cv_wr_len(&w)}};
    tun_sync_on_link(k->c, &ev);
}

static void answer_capacities(struct talk *k, const struct tun_bucket *q) {
    struct model *m = &k->m;
    uint8_t rows[TUN_CAPACITIES_MAX * TUN_CAPACITY_ROW], body[TUN_BACKWARD_MAX];
    struct tun_capacities a = {
        .transaction = k->s->transaction, .count = (uint16_t)m->n, .rows = rows};
    for (unsigned i = q->from; i < m->n && a.n < TUN_CAPACITIES_MAX; i++) {
        uint8_t *row = rows + a.n++ * TUN_CAPACITY_ROW;
        memcpy(row, m->relay[i]->secret.public_key, 8);
        row[8] = tun_capacity_code(500);
    }
    m->capacities++;
    struct cv_wr w = cv_wr_init(body, sizeof body);
    tun_capacities_write(&w, &a);
    cr_assert_not(w.err);
    answer(k, TUN_CMD_BUCKET, body, cv_wr_len(&w));
}

static void answer_names(struct talk *k, const struct tun_bucket *q) {
    struct model *m = &k->m;
    uint8_t pairs[TUN_BUCKET_PAIRS_MAX * (CV_KEY + TUN_DIGEST)], body[TUN_BACKWARD_MAX];
    struct tun_bucket_answer a = {
        .transaction = k->s->transaction, .count = (uint16_t)m->n, .pairs = pairs};
    for (unsigned i = q->from; i < m->n && a.n < TUN_BUCKET_PAIRS_MAX; i++) {
        uint8_t *pair = pairs + a.n++ * (CV_KEY + TUN_DIGEST);
        memcpy(pair, m->relay[i]->secret.public_key, CV_KEY);
        memcpy(pair + CV_KEY, m->relay[i]->digest, TUN_DIGEST);
    }
    cr_assert_leq(q->from, m->n);
    m->names++;
    m->page[q->from]++;
    struct cv_wr w = cv_wr_init(body, sizeof body);
    tun_bucket_answer_write(&w, &a);
    cr_assert_not(w.err);
    answer(k, TUN_CMD_BUCKET, body, cv_wr_len(&w));
}

static void show(struct talk *k, const void *raw, size_t len) {
    uint8_t body[TUN_BACKWARD_MAX];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    tun_bytes_write(&w,
                    &(struct tun_bytes){.transaction = k->s->transaction, .data = raw, .len = len});
    cr_assert_not(w.err);
    answer(k, TUN_CMD_DESCRIPTORS, body, cv_wr_len(&w));
}

static bool shows(const struct model *m, unsigned number) {
    return number < m->shown && (!m->hidden_every || number % m->hidden_every);
}

static void answer_descriptors(struct talk *k, const struct tun_descriptors *q) {
    struct model *m = &k->m;
    uint8_t ids[TUN_FORWARD_MAX];
    size_t n = q->n;
    unsigned shown = 0;
    m->descriptors++;
    cr_assert_leq(n * CV_KEY, sizeof ids);
    memcpy(ids, q->identities, n * CV_KEY); /* the next question overwrites this one */
    for (size_t i = 0; i < n; i++) {
        unsigned number = model_find(m, ids + i * CV_KEY);
        struct listed *l = m->relay[number];
        l->asked++;
        if (!shows(m, number) || (m->one_a_time && shown))
            continue;
        shown++;
        show(k, l->raw, l->len);
    }
    if (shown == 0)
        show(k, NULL, 0);
}

/* Answers the question under way; false: there is none. */
static bool step(struct talk *k) {
    struct tun_sync *s = k->s;
    if (s->phase == TUN_SYNC_IDLE)
        return false;
    /* Somebody was asked a moment ago: again a little later; or the answer is in, and not all that
     * was waited for. */
    if (s->body_len == 0 || (s->phase == TUN_SYNC_FETCH && s->transaction == k->answered)) {
        k->c->now.mono = s->at;
        tun_sync_work(k->c);
        return true;
    }
    struct cv_rd rd = cv_rd_init(s->body, s->body_len);
    if (s->phase == TUN_SYNC_FETCH)
        k->answered = s->transaction;
    if (s->command == TUN_CMD_DESCRIPTORS) {
        struct tun_descriptors q;
        cr_assert_eq(tun_descriptors_read(&rd, &q), CV_ERR_OK);
        answer_descriptors(k, &q);
        return true;
    }
    struct tun_bucket q;
    cr_assert_eq(tun_bucket_read(&rd, &q), CV_ERR_OK);
    cr_assert_eq(q.day, s->day);
    if (q.level == TUN_BUCKET_CAPACITIES)
        answer_capacities(k, &q);
    else
        answer_names(k, &q);
    return true;
}

/* ---- who asks ---- */

static void begin(struct talk *k, bool relay, bool link, unsigned n, unsigned shown) {
    k->v = village_new(&(struct sim_config){.seed = 3}, 6);
    sim_path_default(k->v->w->sim, &(struct sim_path){.delay = CV_MSEC(1)});
    world_run(k->v->w, CV_SEC(12));
    unsigned node = relay ? 0 : village_client(k->v);
    world_run(k->v->w, CV_SEC(12));
    k->c = tun_attached(k->v->w->node[node].t, TUN_USER_CLIENT);
    k->c->now = world_now(k->v->w, node);
    k->c->measure_from = 4;
    k->n = NULL;
    for (unsigned i = 0; link && i < TUN_CONTACTS_MAX && !k->n; i++)
        if (k->c->neighbour[i].set && k->c->neighbour[i].up)
            k->n = &k->c->neighbour[i];
    cr_assert(k->n || !link);
    k->s = link ? &k->n->sync : &k->c->far;
    model_init(&k->m, k->c, n, shown);
    *k->s = (struct tun_sync){.circuit = link ? 0 : CIRCUIT};
}

static void end(struct talk *k) {
    *k->s = (struct tun_sync){.phase = TUN_SYNC_IDLE};
    tun_contact_done(k->c);
    model_done(&k->m);
    village_free(k->v);
}

static unsigned converse_with(struct talk *k, const uint8_t source[CV_KEY]) {
    unsigned steps = 0;
    k->answered = 0;
    tun_sync_begin(k->c, k->s, tun_descriptor_day(k->c->now.wall), source);
    while (steps < STEPS_MAX && step(k))
        steps++;
    cr_expect_lt(steps, STEPS_MAX, "without end");
    return steps;
}

static unsigned converse(struct talk *k) {
    return converse_with(k,
                         k->n ? k->n->identity : k->v->w->node[SOURCE].identity_secret.public_key);
}

static bool knows(const struct talk *k, const struct listed *l) {
    const struct tun_relay *r = tun_directory_find(k->c->dir, l->secret.public_key, k->s->day);
    return r && r->raw_len > 0;
}

static unsigned pages_of(unsigned n, unsigned page) {
    return n == 0 ? 1 : (n + page - 1) / page;
}

static const unsigned sizes[] = {0,   1,   12,  13,  23,  24,   240,  256, 257,
                                 276, 511, 512, 513, 600, 1025, 2047, 2100};

/* Who is past the end of what is listened to is left out: names from 2,048 on, in whole pages. */
static unsigned listened_to(unsigned n) {
    unsigned end = pages_of(TUN_DIRECTORY_MAX / 2, TUN_BUCKET_PAIRS_MAX) * TUN_BUCKET_PAIRS_MAX;
    return n < end ? n : end;
}

/* Names are asked for again once for each time that too many of them had no descriptor yet. */
static void expect_no_more_than_needed(const struct talk *k, unsigned n, const char *who) {
    const struct model *m = &k->m;
    unsigned once = pages_of(listened_to(n), TUN_BUCKET_PAIRS_MAX);
    unsigned again = 0;
    for (unsigned i = 0; i < n; i++)
        again += m->page[i] > 1 ? m->page[i] - 1 : 0;
    cr_expect_eq(m->names, once + again, "%s, %u: %u questions for names", who, n, m->names);
    cr_expect_leq(again, listened_to(n) / (TUN_BARE_OF_ONE - TUN_BUCKET_PAIRS_MAX),
                  "%s, %u: %u pages twice", who, n, again);
    cr_expect_leq(m->descriptors, listened_to(n) / 12 + again + 1, "%s, %u: %u for descriptors",
                  who, n, m->descriptors);
    for (unsigned i = 0; i < n; i++) {
        unsigned want = i < listened_to(n);
        cr_expect_eq(m->relay[i]->asked, want, "%s, %u: number %u asked for %u times", who, n, i,
                     m->relay[i]->asked);
        cr_expect_eq(knows(k, m->relay[i]), want, "%s, %u: number %u", who, n, i);
    }
}

/* ---- tests ---- */

static void every_size(bool relay, bool link, const char *who) {
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        static struct talk k;
        begin(&k, relay, link, sizes[i], sizes[i]);
        (void)converse(&k);
        cr_expect(k.s->complete, "%s, %u", who, sizes[i]);
        expect_no_more_than_needed(&k, sizes[i], who);
        /* Clients ask last hops what these measured. */
        unsigned heard = sizes[i] < TUN_DIRECTORY_MAX / 2 ? sizes[i] : TUN_DIRECTORY_MAX / 2;
        cr_expect_eq(k.m.capacities, relay || link ? 0 : pages_of(heard, TUN_CAPACITIES_MAX),
                     "%s, %u: %u for capacities", who, sizes[i], k.m.capacities);
        for (unsigned r = 0; !relay && !link && r < heard; r++)
            cr_expect_eq(
                tun_directory_find(k.c->dir, k.m.relay[r]->secret.public_key, k.s->day)->reports, 1,
                "%s, %u: number %u", who, sizes[i], r);
        end(&k);
    }
}

Test(tun_sync, a_client_is_told_of_everybody_over_a_circuit) {
    every_size(false, false, "client, circuit");
}

Test(tun_sync, a_client_is_told_of_everybody_over_a_link) {
    every_size(false, true, "client, link");
}

Test(tun_sync, a_relay_is_told_of_everybody_over_a_link) {
    every_size(true, true, "relay, link");
}

/* It is asked for them a few times, a moment apart, and what comes behind goes on. */
Test(tun_sync, who_is_named_and_not_shown_holds_nothing_up) {
    enum { SHOWN = 36, NAMED = 41 }; /* the five make the last question */
    for (unsigned link = 0; link < 2; link++) {
        static struct talk k;
        begin(&k, false, link, NAMED, SHOWN);
        (void)converse(&k);
        cr_expect(k.s->complete, "%s", link ? "link" : "circuit");
        cr_expect_eq(k.m.capacities, !link);
        for (unsigned i = 0; i < NAMED; i++) {
            cr_expect_eq(knows(&k, k.m.relay[i]), i < SHOWN, "number %u", i);
            cr_expect(k.m.relay[i]->asked >= 1 && k.m.relay[i]->asked <= (i < SHOWN ? 1 : 4),
                      "number %u: %u times", i, k.m.relay[i]->asked);
        }
        end(&k);
    }
}

/* The next circuit that asks ends at somebody else than `source`, and is due within a second. */
static void expect_others_asked(struct talk *k, const uint8_t source[CV_KEY]) {
    struct tun_circuit_info info;
    cr_assert_leq(k->c->far_at, cv_usec_add(k->c->now.mono, CV_SEC(1)));
    k->c->now.mono = k->c->far_at;
    tun_sync_work(k->c);
    cr_assert_neq(k->s->phase, TUN_SYNC_IDLE, "nobody is asked");
    cr_assert_eq(tun_circuit_info(k->c->t, k->s->circuit, &info), CV_ERR_OK);
    const struct tun_relay_ref *last = tun_circuit_hop(k->c->t, k->s->circuit, info.hops - 1);
    cr_expect_neq(memcmp(last->identity, source, CV_KEY), 0, "the same relay");
}

/* Three of each dozen lack, and what was not shown is asked for again: he is not heard out. */
Test(tun_sync, what_one_relay_does_not_show_is_soon_asked_of_another) {
    enum { NAMED = 60, EVERY = 4, TIMES = 18 };
    for (unsigned link = 0; link < 2; link++) {
        static struct talk k;
        begin(&k, false, link, NAMED, NAMED);
        k.m.hidden_every = EVERY;
        k.c->far_at = CV_USEC_NEVER;
        k.s->path_n = !link;
        cv_usec began = k.c->now.mono;
        (void)converse(&k);
        cv_usec took = cv_usec_since(k.c->now.mono, began);
        cr_expect_leq(took, CV_SEC(5), "%s: %lu us", link ? "link" : "circuit", took);
        cr_expect(k.s->complete);
        cr_expect_eq(k.s->elsewhere, !link);
        for (unsigned i = 0; !link && i < TIMES; i++) {
            memcpy(k.s->source, k.v->w->node[i % 6].identity_secret.public_key, CV_KEY);
            expect_others_asked(&k, k.v->w->node[i % 6].identity_secret.public_key);
            *k.s = (struct tun_sync){.elsewhere = true};
            k.c->far_at = k.c->now.mono;
        }
        end(&k);
    }
}

/* Who is asked instead may do the same: then all have their time again. */
Test(tun_sync, who_shows_little_makes_nobody_ask_without_end) {
    static struct talk k;
    begin(&k, false, false, 60, 60);
    k.m.one_a_time = true;
    for (unsigned i = 0; i < 4; i++) {
        k.c->far_at = CV_USEC_NEVER;
        k.s->path_n = 1;
        k.s->circuit = CIRCUIT;
        cv_usec began = k.c->now.mono;
        (void)converse(&k);
        cr_expect_leq(cv_usec_since(k.c->now.mono, began), CV_SEC(5), "heard out, round %u", i);
        cr_expect_eq(k.s->elsewhere, i % 2 == 0);
        cr_expect_eq(k.c->far_at != CV_USEC_NEVER, i % 2 == 0, "round %u", i);
    }
    end(&k);
}
