/*
 * Lists of relays that do not fit one answer: whoever asks is told of every relay by a source
 * that knows any number of them, though a message holds TUN_BUCKET_PAIRS_MAX names, a question
 * asks for a dozen descriptors, one source may leave TUN_BARE_OF_ONE names without, and what
 * was measured comes in pages, too. Relays page through those buckets alone that differ. The
 * source is a model: a sorted list, and every question for names, in order, which have to be
 * those that a naive walk over both lists finds. Every state and message: test_client_states.c.
 */
#include <stdio.h>
#include <stdlib.h>

#include "crypto/hash.h"
#include "support/suite.h"
#include "tunnel/bodies.h"
#include "tunnel/capacity.h"
#include "tunnel/clientstate.h"
#include "tunnel/layerbits.h"
#include "tunnel/linkcmd.h"
#include "tunnel/tests/village.h"

CV_SUITE(tun_sync);

enum {
    SOURCE = 1, /* the relay of the village in whose name the model speaks */
    LISTED_MAX = 4000,
    QUESTIONS_MAX = 400,
    CIRCUIT = 0x7fff0001, /* of nobody: what is asked over it goes nowhere else */
    STEPS_MAX = 4000,
};

struct listed {
    struct cv_ed25519_secret secret;
    uint8_t raw[TUN_DESCRIPTOR_MAX], digest[TUN_DIGEST];
    size_t len;
    unsigned asked;
    unsigned bucket;   /* of level 8 */
    bool theirs, ours; /* who passes it on: the model, whoever asks */
    bool proved;       /* the model knows that it signed `other`, too */
    uint8_t other[TUN_DESCRIPTOR_MAX];
    size_t other_len;
};

struct question {
    unsigned level, bucket, from;
};

struct model {
    struct listed *relay[LISTED_MAX]; /* in order of identity */
    unsigned n, shown;                /* of the others it has no descriptor, */
    unsigned hidden_every;            /* nor of one in so many; 0: of all the rest */
    bool one_a_time;                  /* and shows one for each question */
    unsigned descriptors, capacities; /* questions, */
    struct question q[QUESTIONS_MAX]; /* and those for names, */
    unsigned names;                   /* so many */
    bool lies;                        /* its hash is never what it should be, */
    bool boasts;                      /* it has 65,535 in each bucket, one on a page, */
    bool invents;                     /* always another one, */
    cv_usec slow;                     /* and it takes so long */
    void (*changes)(struct model *, unsigned question); /* meanwhile */
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

static struct listed *listed_new(const struct tun_client *c, uint32_t day, unsigned i) {
    struct listed *l = calloc(1, sizeof *l);
    cr_assert_not_null(l);
    l->theirs = true;
    cv_ed25519_from_seed(&l->secret, (const uint8_t[CV_KEY]){77, (uint8_t)i, (uint8_t)(i >> 8)});
    l->bucket = tun_relay_bucket(l->secret.public_key, day, 8);
    struct tun_descriptor d = {.day = day,
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

/* `only` less than 16: all in that bucket of level 4. */
static void model_init(struct model *m, const struct tun_client *c, uint32_t day, unsigned n,
                       unsigned shown, unsigned only) {
    *m = (struct model){.shown = shown};
    for (unsigned i = 0; m->n < n; i++) {
        struct listed *l = listed_new(c, day, i);
        if (only >= 16 || l->bucket >> 4 == only)
            m->relay[m->n++] = l;
        else
            free(l);
    }
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
    cr_assert(m->invents, "asked for whom nobody named");
    return m->n;
}

/* Those of a bucket that are on one list or on both. */
static unsigned model_bucket(const struct model *m, unsigned level, unsigned bucket, bool ours,
                             bool theirs, const struct listed *ret[LISTED_MAX]) {
    unsigned n = 0;
    for (unsigned i = 0; i < m->n; i++) {
        const struct listed *l = m->relay[i];
        if (((ours && l->ours) || (theirs && l->theirs)) && l->bucket >> (8 - level) == bucket)
            ret[n++] = l;
    }
    return n;
}

/* ---- answers ---- */

struct talk {
    struct village *v;
    struct tun_client *c;
    struct tun_neighbour *n; /* NULL: over a circuit */
    struct tun_sync *s;
    uint32_t day;
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

/* A bucket as the model lists it. */
static unsigned write_pairs(const struct talk *k, const struct tun_bucket *q,
                            struct tun_pair ret[LISTED_MAX]) {
    static const struct listed *all[LISTED_MAX];
    unsigned n = model_bucket(&k->m, q->level, q->bucket, false, true, all);
    for (unsigned i = 0; i < n; i++) {
        memcpy(ret[i].identity, all[i]->secret.public_key, CV_KEY);
        memcpy(ret[i].d, all[i]->digest, TUN_DIGEST);
        if (all[i]->proved)
            memset(ret[i].d, 0, TUN_DIGEST);
    }
    return n;
}

static void answer_names(struct talk *k, const struct tun_bucket *q) {
    static struct tun_pair pairs[LISTED_MAX];
    struct model *m = &k->m;
    uint8_t body[TUN_BACKWARD_MAX];
    unsigned n = write_pairs(k, q, pairs), from = m->boasts ? 0 : q->from, left;
    cr_assert(from <= n || m->changes);
    left = from < n ? n - from : 0;
    cr_assert_lt(m->names, QUESTIONS_MAX);
    m->q[m->names++] = (struct question){q->level, q->bucket, q->from};
    struct tun_bucket_answer a = {.transaction = k->s->transaction,
                                  .count = m->boasts ? 65535 : (uint16_t)n,
                                  .pairs = (const uint8_t *)(pairs + from),
                                  .n = m->boasts                     ? 1
                                       : left < TUN_BUCKET_PAIRS_MAX ? left
                                                                     : TUN_BUCKET_PAIRS_MAX};
    if (!m->lies)
        CV_BLAKE2B(a.hash, sizeof a.hash, NULL, 0, {pairs, n * sizeof *pairs});
    if (m->invents)
        tun_put_le32(pairs[0].identity, m->names);
    struct cv_wr w = cv_wr_init(body, sizeof body);
    tun_bucket_answer_write(&w, &a);
    cr_assert_not(w.err);
    k->c->now.mono = cv_usec_add(k->c->now.mono, m->slow);
    if (m->changes)
        m->changes(m, m->names);
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
        struct listed *l = number < m->n ? m->relay[number] : NULL;
        if (l)
            l->asked++;
        if (!l || !shows(m, number) || !l->theirs || (m->one_a_time && shown))
            continue;
        shown++;
        show(k, l->raw, l->len);
        if (l->proved)
            show(k, l->other, l->other_len);
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

/* It is `node` that asks. What the village passes on is left out of it. */
static void asks(struct talk *k, unsigned node, bool link) {
    struct tun_relay *all[8];
    k->c = tun_attached(k->v->w->node[node].t, TUN_USER_CLIENT);
    k->c->now = world_now(k->v->w, node);
    k->c->measure_from = 4;
    k->n = NULL;
    for (unsigned i = 0; link && i < TUN_CONTACTS_MAX && !k->n; i++)
        if (k->c->neighbour[i].set && k->c->neighbour[i].up)
            k->n = &k->c->neighbour[i];
    cr_assert(k->n || !link);
    k->s = link ? &k->n->sync : &k->c->far;
    *k->s = (struct tun_sync){.circuit = link ? 0 : CIRCUIT};
    k->day = tun_descriptor_day(k->c->now.wall);
    size_t n = tun_directory_list(k->c->dir, k->day, TUN_DIRECTORY_PASSED, all, 8);
    for (size_t i = 0; k->c->relay && i < n; i++)
        all[i]->reached = 0;
}

static void begin(struct talk *k, bool relay, bool link, unsigned n, unsigned shown) {
    k->v = village_new(&(struct sim_config){.seed = 3}, 6);
    sim_path_default(k->v->w->sim, &(struct sim_path){.delay = CV_MSEC(1)});
    world_run(k->v->w, CV_SEC(12));
    unsigned node = relay ? 0 : village_client(k->v);
    world_run(k->v->w, CV_SEC(12));
    asks(k, node, link);
    model_init(&k->m, k->c, k->day, n, shown, 16);
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
    tun_sync_begin(k->c, k->s, k->day, source);
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

static bool is_same(struct question a, struct question b) {
    return a.level == b.level && a.bucket == b.bucket && a.from == b.from;
}

/* Whom a round with the model tells, by definition: a bucket in which all is on both lists is not
 * looked into, a large one by its parts. Writes the questions. */
static unsigned walk(const struct talk *k, unsigned level, unsigned bucket, bool always,
                     struct question *ret) {
    static const struct listed *all[LISTED_MAX];
    unsigned any = model_bucket(&k->m, level, bucket, true, true, all);
    bool differs = always;
    for (unsigned i = 0; i < any; i++)
        differs |= all[i]->ours != all[i]->theirs;
    unsigned count = model_bucket(&k->m, level, bucket, false, true, all), n = 0;
    ret[n++] = (struct question){level, bucket, 0};
    if (!differs)
        return n;
    for (unsigned i = 0; i < 16 && level < 8 && count > 512; i++)
        n += walk(k, level + 4, bucket * 16 + i, always, ret + n);
    for (unsigned from = 23; (level == 8 || count <= 512) && from < count; from += 23)
        ret[n++] = (struct question){level, bucket, from};
    return n;
}

/* The questions are those of the walk; returns how many of them were asked again, at once: when
 * too many names had no descriptor yet. */
static unsigned expect_questions(const struct talk *k, const struct question *want, unsigned n,
                                 const char *who) {
    const struct model *m = &k->m;
    unsigned at = 0, again = 0;
    for (unsigned i = 0; i < m->names; i++) {
        if (i > 0 && is_same(m->q[i], m->q[i - 1])) {
            again++;
            continue;
        }
        cr_assert_lt(at, n, "%s: too many questions", who);
        cr_expect(is_same(m->q[i], want[at]), "%s: question %u is for %u/%u from %u, not %u/%u, %u",
                  who, i, m->q[i].level, m->q[i].bucket, m->q[i].from, want[at].level,
                  want[at].bucket, want[at].from);
        at++;
    }
    cr_expect_eq(at, n, "%s: %u questions of %u", who, at, n);
    return again;
}

static unsigned expect_walk(const struct talk *k, const char *who) {
    static struct question want[QUESTIONS_MAX];
    return expect_questions(k, want, walk(k, 0, 0, k->m.lies, want), who);
}

/* Names are asked for again once for each time that too many of them had no descriptor yet. */
static void expect_no_more_than_needed(const struct talk *k, unsigned n, const char *who) {
    static struct question pages[QUESTIONS_MAX];
    const struct model *m = &k->m;
    unsigned end = k->c->relay ? n : listened_to(n), again;
    for (unsigned i = 0; i < pages_of(end, TUN_BUCKET_PAIRS_MAX); i++)
        pages[i] = (struct question){0, 0, i * TUN_BUCKET_PAIRS_MAX};
    again = k->c->relay ? expect_walk(k, who)
                        : expect_questions(k, pages, pages_of(end, TUN_BUCKET_PAIRS_MAX), who);
    cr_expect_leq(again, end / (TUN_BARE_OF_ONE - TUN_BUCKET_PAIRS_MAX), "%s, %u: %u pages twice",
                  who, n, again);
    cr_expect_leq(m->descriptors, end / 12 + again + 1, "%s, %u: %u for descriptors", who, n,
                  m->descriptors);
    for (unsigned i = 0; i < n; i++) {
        unsigned want = i < end;
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

/* ---- relays among each other ---- */

/* Whoever asks passes it on from now on, as far as it knows it. */
static void pass(struct talk *k, struct listed *l) {
    struct tun_relay *r = tun_directory_find(k->c->dir, l->secret.public_key, k->day);
    if (r && r->raw_len > 0) {
        r->reached = r->outside = r->tried;
        l->ours = true;
    }
}

static void learn(struct talk *k, struct listed *l) {
    (void)tun_directory_add(k->c->dir, k->c->now.wall, l->raw, l->len, NULL, NULL);
    pass(k, l);
    cr_assert(l->ours);
}

static void pass_all(struct talk *k) {
    for (unsigned i = 0; i < k->m.n; i++)
        pass(k, k->m.relay[i]);
}

static unsigned again(struct talk *k) {
    k->m.names = k->m.descriptors = 0;
    (void)converse(k);
    return k->m.names;
}

/* A relay and a model that list so many together, of which each lacks some. */
static void between(struct talk *k, unsigned n, unsigned we_lack, unsigned they_lack) {
    begin(k, true, true, n, n);
    for (unsigned i = 0; i < n; i++) {
        /* spread over all of them, never the same */
        bool missing = i * we_lack / n != (i + 1) * we_lack / n;
        if (!missing)
            learn(k, k->m.relay[i]);
        k->m.relay[i]->theirs = missing || (i + 1) * they_lack / n == (i + 2) * they_lack / n;
    }
}

Test(tun_sync, relays_that_list_the_same_ask_once) {
    static const unsigned some[] = {0, 1, 64, 65, 512, 513, 2000};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        static struct talk k;
        between(&k, some[i], 0, 0);
        (void)converse(&k);
        cr_expect(k.s->complete);
        cr_expect_eq(k.m.names, 1, "%u: %u questions", some[i], k.m.names);
        cr_expect_eq(k.m.descriptors, 0);
        /* Each of them was named, all the same. */
        for (unsigned r = 0; r < some[i]; r++) {
            const uint8_t *id = k.m.relay[r]->secret.public_key;
            const struct tun_relay *known = tun_directory_find(k.c->dir, id, k.day);
            cr_expect(known->claims == 1 &&
                          memcmp(known->claim[0].by, k.n->identity, CV_KEY) == 0 &&
                          memcmp(known->claim[0].d, known->desc.digest, TUN_DIGEST) == 0,
                      "%u: number %u", some[i], r);
        }
        end(&k);
    }
}

/* What two do not both list is asked for, and no more than the buckets with that: then both list
 * all of it. */
static void become_one(unsigned n, unsigned first, unsigned second) {
    static struct talk k;
    static bool has[LISTED_MAX];
    char who[64];
    (void)snprintf(who, sizeof who, "%u less %u, %u", n, first, second);
    between(&k, n, first, second);
    for (unsigned i = 0; i < n; i++)
        has[i] = k.m.relay[i]->theirs;
    for (unsigned turn = 0; turn < 2; turn++) {
        unsigned lacked = turn ? second : first;
        (void)again(&k);
        cr_expect(k.s->complete, "%s", who);
        unsigned twice = expect_walk(&k, who);
        cr_expect_leq(k.m.descriptors, lacked / 12 + twice + 1, "%s: %u for descriptors", who,
                      k.m.descriptors);
        for (unsigned i = 0; i < n; i++)
            cr_expect(knows(&k, k.m.relay[i]), "%s: number %u", who, i);
        pass_all(&k);
        for (unsigned i = 0; i < n; i++)
            k.m.relay[i]->theirs = true;
        cr_expect_eq(again(&k), 1, "%s: not the same yet", who);
        if (turn)
            break;
        /* The other way round: who holds what the model did asks who has learned it. */
        asks(&k, 2, true);
        for (unsigned i = 0; i < n; i++) {
            k.m.relay[i]->ours = false;
            if (has[i])
                learn(&k, k.m.relay[i]);
        }
    }
    end(&k);
}

Test(tun_sync, two_lists_become_one) {
    static const unsigned rows[][3] = {
        {2, 1, 1},   {30, 29, 0}, {64, 1, 0},   {100, 40, 50},    {512, 200, 100},
        {513, 1, 0}, {600, 0, 1}, {1000, 3, 2}, {1000, 500, 400},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        become_one(rows[i][0], rows[i][1], rows[i][2]);
}

/* As many as a directory has room for. */
Test(tun_sync, two_lists_of_thousands_become_one) {
    become_one(2000, 20, 20);
    become_one(4000, 1, 0);
    become_one(4000, 4000, 0);
}

/* Keys can be made until they fall into one bucket: that one is taken apart once more. */
Test(tun_sync, a_crowded_bucket_is_looked_into_by_its_parts) {
    static struct talk k;
    begin(&k, true, true, 0, 0);
    model_init(&k.m, k.c, k.day, 700, 700, 13);
    for (unsigned i = 1; i < k.m.n; i++)
        learn(&k, k.m.relay[i]);
    (void)converse(&k);
    cr_expect_eq(expect_walk(&k, "crowded"), 0);
    cr_expect(knows(&k, k.m.relay[0]));
    cr_expect_leq(k.m.names, 1 + 16 + 16 + 3, "%u questions", k.m.names);
    end(&k);
}

/* ---- who lies, and what changes ---- */

/* Its hash is wrong, or it has no end of names: it is asked, and that is all. */
Test(tun_sync, a_liar_costs_nothing_but_questions) {
    static const struct {
        const char *name;
        bool lies, boasts, invents;
        unsigned slow_s, least, most;
    } rows[] = {
        {"wrong hash", true, false, false, 0, 33, 60},
        {"no end", true, true, false, 0, TUN_BUCKETS_ASKED_MAX, TUN_BUCKETS_ASKED_MAX},
        {"no end of names", true, true, true, 0, TUN_BARE_OF_ONE, TUN_BUCKETS_ASKED_MAX},
        {"no end, slow", true, true, false, 5, 59, 61},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static struct talk k;
        between(&k, 600, 0, 0);
        k.m.lies = rows[i].lies;
        k.m.boasts = rows[i].boasts;
        k.m.invents = rows[i].invents;
        k.m.slow = CV_SEC(rows[i].slow_s);
        for (unsigned round = 0; round < 2; round++) {
            unsigned n = again(&k);
            cr_expect(n >= rows[i].least && n <= rows[i].most, "%s: %u questions", rows[i].name, n);
            cr_expect_leq(k.m.descriptors, 4, "%s: %u for descriptors", rows[i].name,
                          k.m.descriptors);
            cr_expect_eq(k.s->phase, TUN_SYNC_IDLE);
            cr_expect_eq(tun_directory_count(k.c->dir, k.day, TUN_DIRECTORY_PASSED), 600);
        }
        end(&k);
    }
}

static void come_and_go(struct model *m, unsigned question) {
    struct listed *l = m->relay[question * 7919u % m->n];
    l->theirs = !l->theirs;
}

/* Pages shift meanwhile: what one round misses the next one finds. */
Test(tun_sync, lists_may_change_while_they_are_compared) {
    static struct talk k;
    between(&k, 1500, 300, 100);
    k.m.changes = come_and_go;
    (void)converse(&k);
    cr_expect(k.s->complete);
    cr_expect_gt(k.m.names, 40, "%u questions", k.m.names);
    k.m.changes = NULL;
    for (unsigned i = 0; i < k.m.n; i++)
        k.m.relay[i]->theirs = true;
    pass_all(&k);
    (void)again(&k);
    (void)expect_walk(&k, "the next round");
    pass_all(&k);
    for (unsigned i = 0; i < k.m.n; i++)
        cr_expect(k.m.relay[i]->ours, "number %u", i);
    cr_expect_eq(again(&k), 1);
    end(&k);
}

static void sign_another(const struct talk *k, struct listed *l) {
    struct tun_descriptor d;
    cr_assert_eq(tun_descriptor_open(l->raw, l->len, tun_config(k->c->t)->network_id, &d),
                 CV_ERR_OK);
    d.bandwidth++;
    ssize_t len = tun_descriptor_sign(&d, &l->secret, l->other, sizeof l->other);
    cr_assert_gt(len, 0);
    l->other_len = (size_t)len;
}

/* A proved liar stands on both lists with zeros. */
Test(tun_sync, a_proved_liar_is_alike_where_both_hold_the_proof) {
    static const struct {
        const char *name;
        bool ours, theirs;
        unsigned more; /* questions that find it */
        unsigned descriptors;
    } rows[] = {
        {"both", true, true, 0, 0},
        {"they alone", false, true, 16, 1}, /* and show both */
        {"we alone", true, false, 16, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static struct talk k;
        between(&k, 1000, 0, 0);
        struct listed *l = k.m.relay[500];
        sign_another(&k, l);
        if (rows[i].ours)
            (void)tun_directory_add(k.c->dir, k.c->now.wall, l->other, l->other_len, NULL, NULL);
        l->proved = rows[i].theirs;
        (void)converse(&k);
        unsigned pages = k.m.names - 1 - rows[i].more;
        cr_expect(rows[i].more ? pages >= 1 && pages <= 3 : pages == 0, "%s: %u questions",
                  rows[i].name, k.m.names);
        cr_expect_eq(k.m.descriptors, rows[i].descriptors, "%s: %u", rows[i].name, k.m.descriptors);
        const struct tun_relay *r = tun_directory_find(k.c->dir, l->secret.public_key, k.day);
        cr_expect(r->liar && r->other, "%s", rows[i].name);
        if (rows[i].theirs)
            cr_expect_eq(again(&k), 1, "%s: not the same yet", rows[i].name);
        end(&k);
    }
}

static struct tun_client *turning;

static void day_turns(struct model *m, unsigned question) {
    (void)m;
    if (question == 9)
        turning->now.wall += 20;
}

/* Tomorrow's list is another one, in buckets of its own, and a round about it may go on while the
 * day turns. Who was reached today is passed on as soon as tomorrow's descriptor is here. */
Test(tun_sync, tomorrows_lists_become_one_while_the_day_turns) {
    static struct talk k;
    between(&k, 700, 0, 0);
    static struct model today;
    today = k.m;
    turning = k.c;
    k.day++;
    k.c->now.wall = (int64_t)k.day * 86400 + (3 * 3600) - 10;
    model_init(&k.m, k.c, k.day, 700, 700, 16);
    k.m.changes = day_turns;
    for (unsigned i = 2; i < k.m.n; i++)
        learn(&k, k.m.relay[i]);
    cr_expect_eq(tun_descriptor_day(k.c->now.wall), k.day - 1);
    (void)converse(&k);
    cr_expect_eq(tun_descriptor_day(k.c->now.wall), k.day);
    cr_expect_eq(expect_walk(&k, "tomorrow"), 0);
    cr_expect(knows(&k, k.m.relay[0]) && knows(&k, k.m.relay[1]));
    cr_expect_eq(again(&k), 1, "not the same yet");
    model_done(&today);
    end(&k);
}

/* ---- both of them real ---- */

static unsigned node_of(const struct talk *k, const uint8_t identity[CV_KEY]) {
    for (unsigned i = 0; i < 6; i++)
        if (memcmp(k->v->w->node[i].identity_secret.public_key, identity, CV_KEY) == 0)
            return i;
    cr_assert_fail("no relay of the village");
    return 0;
}

Test(tun_sync, two_relays_find_what_differs_over_their_link) {
    enum { LISTED = 1000, LACKED = 3 };
    static struct talk k, other;
    between(&k, LISTED, LACKED, 0);
    other = k;
    other.c = tun_attached(k.v->w->node[node_of(&k, k.n->identity)].t, TUN_USER_CLIENT);
    other.c->now = k.c->now;
    for (unsigned i = 0; i < LISTED; i++)
        learn(&other, k.m.relay[i]);
    tun_sync_begin(k.c, k.s, k.day, k.n->identity);
    sim_touch(k.v->w->sim, 0);
    unsigned most = 0, level = 0;
    for (unsigned i = 0; i < 500 && k.s->phase != TUN_SYNC_IDLE; i++) {
        world_run(k.v->w, CV_MSEC(2));
        most = k.s->asked > most ? k.s->asked : most;
        level = k.s->level > level ? k.s->level : level;
    }
    cr_expect(k.s->complete);
    cr_expect_eq(level, 4);
    /* Fewer than the pages: three of them differ, and six of the village. */
    cr_expect(most > 17 && most < 44, "%u questions", most);
    for (unsigned i = 0; i < LISTED; i++)
        cr_expect(knows(&k, k.m.relay[i]), "number %u", i);
    end(&k);
}
