/*
 * What relays there are: asked page by page, (identity, D), relays by buckets that differ, then
 * descriptor by descriptor; from neighbours over links while we begin, from the last hops of
 * circuits later. Every pair that somebody names is his claim (directory.h).
 * The same questions answered for others. See clientstate.h.
 */
#include <string.h>

#include "tunnel/bodies.h"
#include "tunnel/capacity.h"
#include "tunnel/clientstate.h"
#include "tunnel/link.h"
#include "tunnel/linkcmd.h"

/* A relay remembers 16 cells of answers; what it repeats must be among them. */
#define ASK_MAX 12
/* Who names relays and does not show their descriptors is heard out soon. */
#define FRUITLESS_MAX 4
#define ROUND_MAX     CV_SEC(300)
/* Descriptors come one behind the other. When none follows the last one for so long, or the one
 * that was asked for last is there, what lacks is not shown, or was lost: it is asked for
 * again, and of somebody else when that happened so often in a row. */
#define GAP        CV_SEC(1)
#define OVERTAKEN  CV_MSEC(100)
#define PARTLY_MAX 4
/* A client that is told of no more than so many needs but one hash. */
#define ALIKE_MAX 64

static cv_usec now(const struct tun_client *c) {
    return c->now.mono;
}

static enum tun_directory_which ours(const struct tun_client *c) {
    return c->relay ? TUN_DIRECTORY_PASSED : TUN_DIRECTORY_KNOWN;
}

/* ---- asking ---- */

static void send_question(struct tun_client *c, struct tun_sync *s) {
    if (s->circuit) {
        /* The engine repeats it. */
        uint32_t transaction;
        if (tun_request(c->t, &c->now, s->circuit, s->command, s->body + 4, s->body_len - 4u,
                        &transaction) == CV_ERR_OK)
            s->transaction = transaction;
        s->at = cv_usec_add(now(c), CV_SEC(10));
        return;
    }
    struct tun_neighbour *n = tun_contact_neighbour(c, s->source);
    struct tun_link *l = n ? tun_contact_link(c, n) : NULL;
    uint8_t buf[TUN_CONTROL_MAX];
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    tun_link_descriptors_write(&w, &(struct tun_link_descriptors){
                                       .command = s->command, .body = s->body, .len = s->body_len});
    if (l && !w.err)
        (void)tun_link_control(c->t, l, TUN_LINKCMD_DESCRIPTORS, 0, buf, cv_wr_len(&w));
    s->tries++;
    s->at = cv_usec_add(now(c), s->wait);
    s->wait *= 2;
}

static void question(struct tun_client *c, struct tun_sync *s, uint8_t command,
                     const struct cv_wr *w) {
    s->command = command;
    s->body_len = (uint16_t)cv_wr_len(w);
    s->tries = 0;
    s->some = false;
    s->wait = CV_MSEC(250);
    send_question(c, s);
}

/* Behind our question: the two descriptors of a relay that lied, one with each of
 * two questions, for whoever is asked over a circuit and holds one of them. */
static void show_proof(struct tun_client *c, struct tun_sync *s, struct cv_wr *w) {
    if (!s->circuit || (s->shown == 0 && c->proof_left == 0) || s->shown == 2)
        return;
    for (unsigned i = 0; i < s->path_n; i++) {
        if (memcmp(s->path[i], c->proof_liar, CV_KEY) == 0)
            return;
    }
    c->proof_left -= s->shown == 0;
    cv_wr_bytes(w, c->proof[s->shown], c->proof_len[s->shown]);
    s->shown++;
}

static void ask_bucket(struct tun_client *c, struct tun_sync *s) {
    struct cv_wr w = cv_wr_init(s->body, sizeof s->body);
    s->phase = TUN_SYNC_BUCKET;
    s->transaction = cv_rng_u32(tun_client_rng(c));
    s->asked++;
    tun_bucket_write(&w, &(struct tun_bucket){.transaction = s->transaction,
                                              .day = s->day,
                                              .level = s->level,
                                              .bucket = s->bucket,
                                              .from = s->from});
    show_proof(c, s, &w);
    question(c, s, TUN_CMD_BUCKET, &w);
}

/* It named relays that it does not show: others do, and are asked at once. Not time and again, if
 * these do the same. */
static void elsewhere(struct tun_client *c, struct tun_sync *s) {
    struct tun_relay *one;
    s->elsewhere = !s->elsewhere && tun_directory_missing(c->dir, s->day, s->source, &one, 1) > 0;
    if (s->elsewhere)
        tun_sync_soon(c);
}

static void finish(struct tun_client *c, struct tun_sync *s, bool complete) {
    if (s->path_n && s->phase != TUN_SYNC_OPENING)
        elsewhere(c, s);
    s->phase = TUN_SYNC_IDLE;
    s->complete |= complete;
    s->rounds++;
    s->at = CV_USEC_NEVER;
    if (s->circuit) {
        tun_circuit_close(c->t, &c->now, s->circuit);
        struct tun_lane *lane = tun_ahead_lane(c, s->circuit);
        if (lane)
            tun_ahead_forget(c, lane);
        s->circuit = 0;
    }
    /* Soon again while things move, then ever more rarely. */
    s->pause = s->pause ? s->pause * 2 : tun_client_pause(c, CV_SEC(1), CV_MSEC(300));
    cv_usec max = !c->relay && tun_client_is_short(c) ? CV_SEC(60) : CV_SEC(300);
    s->pause = cv_usec_min(s->pause, max);
    s->next_at = cv_usec_add(now(c), s->pause);
    tun_client_by(c, now(c));
}

/* What relays carry is asked of last hops, where it is of use. */
static void ask_measured(struct tun_client *c, struct tun_sync *s) {
    struct cv_wr w = cv_wr_init(s->body, sizeof s->body);
    s->phase = TUN_SYNC_MEASURED;
    s->transaction = cv_rng_u32(tun_client_rng(c));
    tun_bucket_write(&w, &(struct tun_bucket){.transaction = s->transaction,
                                              .day = s->day,
                                              .level = TUN_BUCKET_CAPACITIES,
                                              .from = s->from});
    question(c, s, TUN_CMD_BUCKET, &w);
}

/* Everything about who there is was said. */
static void told(struct tun_client *c, struct tun_sync *s) {
    if (c->relay || !s->circuit ||
        tun_directory_count(c->dir, s->day, TUN_DIRECTORY_KNOWN) < c->measure_from) {
        finish(c, s, true);
        return;
    }
    s->from = 0;
    ask_measured(c, s);
}

static void on_measured(struct tun_client *c, struct tun_sync *s, struct cv_rd *rd) {
    struct tun_capacities a;
    if (tun_capacities_read(rd, &a))
        return;
    for (size_t i = 0; i < a.n; i++) {
        const uint8_t *row = a.rows + i * TUN_CAPACITY_ROW;
        tun_directory_report(c->dir, s->day, row, row[8], s->source);
    }
    unsigned next = s->from + (unsigned)a.n;
    if (a.n == 0 || next >= a.count || next >= TUN_DIRECTORY_MAX / 2) {
        finish(c, s, true);
        return;
    }
    s->from = (uint16_t)next;
    ask_measured(c, s);
}

static void ask_descriptors(struct tun_client *c, struct tun_sync *s) {
    struct tun_relay *missing[TUN_BARE_OF_ONE];
    size_t n = tun_directory_missing(c->dir, s->day, s->source, missing, TUN_BARE_OF_ONE);
    uint8_t ids[ASK_MAX * CV_KEY];
    size_t asked = 0;
    unsigned expected = 0;
    bool others = false;
    for (size_t i = 0; i < n && expected < ASK_MAX; i++) {
        struct tun_relay *r = missing[i];
        /* Somebody else was asked a moment ago: let him answer. */
        if (r->asked_at && cv_usec_since(now(c), r->asked_at) < CV_MSEC(400)) {
            others = true;
            continue;
        }
        r->asked_at = now(c);
        expected += r->accused ? 2 : 1;
        r->disputed = r->accused = false; /* asked once; claimed again, asked again */
        memcpy(ids + CV_KEY * asked++, r->desc.identity, CV_KEY);
    }
    s->phase = TUN_SYNC_FETCH;
    s->expected = (uint8_t)expected;
    bool over =
        s->fruitless >= FRUITLESS_MAX || s->partly >= PARTLY_MAX || tun_due(s->until, now(c));
    if (over || (asked == 0 && !others)) {
        if (s->paused && s->gained && !over && s->asked < TUN_BUCKETS_ASKED_MAX)
            ask_bucket(c, s);
        else
            told(c, s);
        return;
    }
    if (asked == 0) {
        s->at = cv_usec_add(now(c), CV_MSEC(100));
        s->tries = 0;
        s->body_len = 0; /* nothing under way: look again then */
        return;
    }
    struct cv_wr w = cv_wr_init(s->body, sizeof s->body);
    s->transaction = cv_rng_u32(tun_client_rng(c));
    tun_descriptors_write(
        &w, &(struct tun_descriptors){
                .transaction = s->transaction, .day = s->day, .identities = ids, .n = asked});
    s->fruitless++;
    question(c, s, TUN_CMD_DESCRIPTORS, &w);
}

void tun_sync_begin(struct tun_client *c, struct tun_sync *s, uint32_t day,
                    const uint8_t source[CV_KEY]) {
    s->day = day;
    s->from = s->bucket = s->asked = 0;
    s->level = 0;
    s->fruitless = s->partly = 0;
    s->shown = 0;
    s->until = cv_usec_add(now(c), ROUND_MAX);
    if (source != s->source)
        memcpy(s->source, source, CV_KEY);
    ask_bucket(c, s);
}

/* ---- what comes back ---- */

static enum cv_err claim(struct tun_client *c, const struct tun_sync *s,
                         const uint8_t identity[CV_KEY], const uint8_t d[TUN_DIGEST]) {
    return tun_directory_claim(c->dir, c->now.wall, identity, s->day, d, s->source,
                               (const uint8_t(*)[CV_KEY])s->path, s->path_n);
}

/* One hash said it all: every pair of the bucket that we hold is claimed. */
static void claim_all(struct tun_client *c, const struct tun_sync *s) {
    struct tun_relay *all[TUN_DIRECTORY_MAX];
    size_t n = tun_directory_list(c->dir, s->day, ours(c), all, sizeof all / sizeof *all);
    for (size_t i = 0; i < n; i++) {
        const struct tun_descriptor *d = &all[i]->desc;
        if (tun_relay_bucket(d->identity, s->day, s->level) == s->bucket)
            (void)claim(c, s, d->identity, d->digest);
    }
}

/* Both sides hold the same of the bucket that was asked for. */
static bool is_alike(struct tun_client *c, const struct tun_sync *s,
                     const struct tun_bucket_answer *a) {
    uint8_t hash[16];
    uint16_t total;
    if (s->from > 0 || (!c->relay && a->count > ALIKE_MAX))
        return false;
    return tun_directory_bucket(c->dir, s->day, s->level, s->bucket, ours(c), 0, hash, &total, NULL,
                                0) >= 0 &&
           total == a->count && cv_equal(hash, a->hash, sizeof hash);
}

/*
 * What comes behind a page. Clients page through everybody, whomever they know: what a client asks
 * would tell. Relays know the same but for a few, so that of a large bucket they ask for the
 * sixteen in it, and page through those alone that differ.
 */
static bool go_on(const struct tun_client *c, struct tun_sync *s, const struct tun_bucket_answer *a,
                  bool alike) {
    unsigned next = s->from + (unsigned)a->n;
    if (!alike && c->relay && s->level < 8 && a->count > TUN_BUCKET_PAGED_MAX) {
        s->level += 4;
        s->bucket = (uint16_t)(s->bucket << 4);
        s->from = 0;
        return true;
    }
    if (!alike && a->n > 0 && next < a->count && next < TUN_DIRECTORY_MAX / 2) {
        s->from = (uint16_t)next;
        return true;
    }
    for (; s->level > 0 && s->bucket % 16 == 15; s->level -= 4)
        s->bucket >>= 4;
    if (s->level == 0)
        return false;
    s->bucket++;
    s->from = 0;
    return true;
}

static void on_bucket(struct tun_client *c, struct tun_sync *s, struct cv_rd *rd) {
    struct tun_bucket_answer a;
    if (tun_bucket_answer_read(rd, &a))
        return;
    if (s->shown == 1) { /* the other half, with the same question */
        ask_bucket(c, s);
        return;
    }
    bool alike = is_alike(c, s, &a);
    s->paused = false;
    if (alike)
        claim_all(c, s);
    for (size_t i = 0; !alike && i < a.n; i++) {
        const uint8_t *pair = a.pairs + i * (CV_KEY + TUN_DIGEST);
        s->paused |= claim(c, s, pair, pair + CV_KEY) == CV_ERR_LIMIT;
    }
    if (s->paused) {
        /* Enough names; this page again when some of them have a descriptor. */
        s->gained = false;
        ask_descriptors(c, s);
    } else if (alike && s->level == 0) {
        told(c, s);
    } else if (go_on(c, s, &a, alike) && s->asked < TUN_BUCKETS_ASKED_MAX &&
               !tun_due(s->until, now(c))) {
        ask_bucket(c, s);
    } else {
        ask_descriptors(c, s);
    }
}

/* Of whom the question names last. */
static bool is_last(const struct tun_sync *s, const struct tun_bytes *a) {
    return a->len >= TUN_DESCRIPTOR_HEAD && s->body_len >= CV_KEY &&
           memcmp(a->data + TUN_DESCRIPTOR_HEAD - 4 - CV_KEY, s->body + s->body_len - CV_KEY,
                  CV_KEY) == 0;
}

static void on_descriptor(struct tun_client *c, struct tun_sync *s, struct cv_rd *rd) {
    struct tun_bytes a;
    if (tun_bytes_read(rd, &a))
        return;
    enum cv_err err = a.len > 0 ? tun_client_learn(c, a.data, a.len, NULL) : CV_ERR_NOENT;
    if (err == CV_ERR_OK || err == CV_ERR_DIFFERS) {
        s->fruitless = 0;
        s->gained = true;
    }
    if (a.len == 0 || s->expected <= 1) {
        s->partly = 0;
        ask_descriptors(c, s);
        return;
    }
    s->expected--;
    s->some = true;
    if (s->circuit) /* over links there is less to wait for */
        s->at = cv_usec_min(s->at, cv_usec_add(now(c), is_last(s, &a) ? OVERTAKEN : GAP));
}

/* What was asked for is not all there. */
static void ask_rest(struct tun_client *c, struct tun_sync *s) {
    s->partly++;
    ask_descriptors(c, s);
}

static void on_answer(struct tun_client *c, struct tun_sync *s, uint8_t command, struct cv_rd *rd) {
    if (s->phase == TUN_SYNC_MEASURED && command == TUN_CMD_ERROR)
        finish(c, s, true); /* of a version that measures nothing */
    if (command != s->command || s->body_len == 0)
        return;
    if (s->phase == TUN_SYNC_BUCKET && command == TUN_CMD_BUCKET)
        on_bucket(c, s, rd);
    else if (s->phase == TUN_SYNC_MEASURED && command == TUN_CMD_BUCKET)
        on_measured(c, s, rd);
    else if (s->phase == TUN_SYNC_FETCH && command == TUN_CMD_DESCRIPTORS)
        on_descriptor(c, s, rd);
}

/* ---- answering ---- */

/* To whoever asked: a link or a circuit that ends here. */
struct asker {
    cv_handle link;
    cv_handle hop;
    uint32_t transaction;
};

static void answer(struct tun_client *c, const struct asker *to, uint8_t command,
                   const struct tun_body *b) {
    if (!cv_tokenbucket_take(to->link ? &c->told : &c->answers, now(c), 1))
        return;
    if (!to->link) {
        (void)tun_answer(c->t, &c->now, to->hop, to->transaction, command, tun_body_data(b),
                         tun_body_len(b));
        return;
    }
    uint8_t buf[TUN_CONTROL_MAX];
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    tun_link_descriptors_write(
        &w, &(struct tun_link_descriptors){
                .command = command, .answer = true, .body = b->buf, .len = cv_wr_len(&b->w)});
    if (!w.err)
        (void)tun_link_send(c->t, &c->now, to->link, TUN_LINKCMD_DESCRIPTORS, buf, cv_wr_len(&w));
}

/* Whoever asks shows a descriptor. It is looked at when it is of a relay that we
 * know under another one of that day: then it proves something. */
static void on_shown(struct tun_client *c, const uint8_t *raw, size_t len) {
    uint8_t digest[TUN_DIGEST];
    if (len < TUN_DESCRIPTOR_HEAD || len > TUN_DESCRIPTOR_MAX)
        return;
    struct cv_rd r = cv_rd_init(raw + TUN_DESCRIPTOR_HEAD - 4, 4);
    const struct tun_relay *known =
        tun_directory_find(c->dir, raw + TUN_DESCRIPTOR_HEAD - 4 - CV_KEY, cv_rd_le32(&r));
    if (!known || known->raw_len == 0 || known->other)
        return;
    tun_descriptor_digest(raw, len, digest);
    if (memcmp(digest, known->desc.digest, TUN_DIGEST) != 0 &&
        cv_tokenbucket_take(&c->shown, now(c), 1))
        (void)tun_client_learn(c, raw, len, NULL);
}

static void answer_measured(struct tun_client *c, const struct asker *to,
                            const struct tun_bucket *q) {
    struct tun_relay *all[TUN_DIRECTORY_MAX / 2];
    uint8_t rows[TUN_CAPACITIES_MAX * TUN_CAPACITY_ROW];
    struct tun_capacities a = {.transaction = to->transaction, .rows = rows};
    size_t n =
        tun_directory_list(c->dir, q->day, TUN_DIRECTORY_PASSED, all, sizeof all / sizeof *all);
    for (size_t i = 0; i < n; i++) {
        if (all[i]->measured == 0 || a.count++ < q->from || a.n == TUN_CAPACITIES_MAX)
            continue;
        uint8_t *row = rows + a.n++ * TUN_CAPACITY_ROW;
        memcpy(row, all[i]->desc.identity, 8);
        row[8] = tun_capacity_code(all[i]->measured);
    }
    struct tun_body b;
    tun_body_init(&b);
    tun_capacities_write(&b.w, &a);
    if (!b.w.err)
        answer(c, to, TUN_CMD_BUCKET, &b);
}

static void answer_bucket(struct tun_client *c, const struct asker *to, struct cv_rd *rd) {
    struct tun_bucket q;
    if (tun_bucket_read(rd, &q))
        return;
    if (q.level == TUN_BUCKET_CAPACITIES) {
        answer_measured(c, to, &q);
        return;
    }
    size_t shown = cv_rd_left(rd);
    on_shown(c, cv_rd_bytes(rd, shown), shown);
    struct tun_bucket_answer a = {.transaction = to->transaction};
    struct tun_pair pairs[TUN_BUCKET_PAIRS_MAX];
    ssize_t n = tun_directory_bucket(c->dir, q.day, q.level, q.bucket, TUN_DIRECTORY_PASSED, q.from,
                                     a.hash, &a.count, pairs, TUN_BUCKET_PAIRS_MAX);
    if (n < 0)
        return;
    a.pairs = (const uint8_t *)pairs;
    a.n = (size_t)n;
    struct tun_body b;
    tun_body_init(&b);
    tun_bucket_answer_write(&b.w, &a);
    if (!b.w.err)
        answer(c, to, TUN_CMD_BUCKET, &b);
}

static void answer_descriptor(struct tun_client *c, const struct asker *to, const void *raw,
                              size_t len) {
    struct tun_body b;
    tun_body_init(&b);
    tun_bytes_write(&b.w,
                    &(struct tun_bytes){.transaction = to->transaction, .data = raw, .len = len});
    if (!b.w.err)
        answer(c, to, TUN_CMD_DESCRIPTORS, &b);
}

static void answer_descriptors(struct tun_client *c, const struct asker *to, struct cv_rd *rd) {
    struct tun_descriptors q;
    if (tun_descriptors_read(rd, &q))
        return;
    unsigned found = 0;
    for (size_t i = 0; i < q.n; i++) {
        const struct tun_relay *r = tun_directory_find(c->dir, q.identities + i * CV_KEY, q.day);
        if (!r || !tun_relay_is_shown(r))
            continue;
        answer_descriptor(c, to, r->raw, r->raw_len);
        if (r->liar)
            answer_descriptor(c, to, r->other, r->other_len);
        found++;
    }
    if (found == 0)
        answer_descriptor(c, to, NULL, 0);
}

static void on_question(struct tun_client *c, const struct asker *to, uint8_t command,
                        struct cv_rd *rd) {
    if (command == TUN_CMD_BUCKET)
        answer_bucket(c, to, rd);
    else if (command == TUN_CMD_DESCRIPTORS)
        answer_descriptors(c, to, rd);
}

void tun_sync_on_request(struct tun_client *c, const struct tun_event *ev) {
    struct asker to = {.hop = ev->request.hop, .transaction = ev->request.transaction};
    struct tun_body b;
    struct cv_rd rd = tun_body_rd(&b, to.transaction, ev->request.body, ev->request.len);
    on_question(c, &to, ev->request.command, &rd);
}

void tun_sync_on_link(struct tun_client *c, const struct tun_event *ev) {
    struct cv_rd rd = cv_rd_init(ev->link_message.body, ev->link_message.len);
    struct tun_link_descriptors m;
    if (tun_link_descriptors_read(&rd, &m))
        return;
    struct cv_rd body = cv_rd_init(m.body, m.len), peek = body;
    struct tun_transaction transaction;
    if (tun_transaction_read(&peek, &transaction))
        return;
    if (!m.answer) {
        struct asker to = {.link = ev->link_message.link, .transaction = transaction.transaction};
        if (c->relay)
            on_question(c, &to, m.command, &body);
        return;
    }
    struct tun_link *l = tun_link_get(c->t, ev->link_message.link);
    if (!l) /* another worker's: contacts are asked over links of this one */
        return;
    for (unsigned i = 0; i < TUN_CONTACTS_MAX; i++) {
        struct tun_neighbour *n = &c->neighbour[i];
        if (n->set && n->sync.phase && n->sync.transaction == transaction.transaction &&
            tun_contact_link(c, n) == l) {
            on_answer(c, &n->sync, m.command, &body);
            return;
        }
    }
}

/* ---- over circuits ---- */

void tun_sync_on_reply(struct tun_client *c, const struct tun_event *ev) {
    struct tun_sync *s = &c->far;
    if (ev->reply.circuit != s->circuit || !s->circuit || ev->reply.transaction != s->transaction)
        return;
    if (ev->reply.err) {
        finish(c, s, false);
        return;
    }
    struct tun_body b;
    struct cv_rd rd = tun_body_rd(&b, ev->reply.transaction, ev->reply.body, ev->reply.len);
    on_answer(c, s, ev->reply.command, &rd);
}

static void far_ready(struct tun_client *c) {
    struct tun_sync *s = &c->far;
    s->path_n = (uint8_t)tun_circuit_path(c->t, s->circuit, s->path, TUN_HOPS_MAX);
    if (s->path_n == 0) {
        finish(c, s, false);
        return;
    }
    /* The last hop is the source itself. */
    tun_sync_begin(c, s, s->day, s->path[s->path_n - 1]);
}

void tun_sync_on_circuit(struct tun_client *c, const struct tun_event *ev) {
    struct tun_sync *s = &c->far;
    if (ev->kind == TUN_EVENT_CIRCUIT_READY && ev->circuit_ready.circuit == s->circuit &&
        s->phase == TUN_SYNC_OPENING)
        far_ready(c);
    if (ev->kind == TUN_EVENT_CIRCUIT_DOWN && ev->circuit_down.circuit == s->circuit &&
        s->phase != TUN_SYNC_IDLE) {
        s->circuit = 0;
        finish(c, s, false);
    }
}

/* The first relay that is known and not confirmed, or NULL. */
static const struct tun_relay *unconfirmed(struct tun_client *c, uint32_t day) {
    struct tun_relay *all[TUN_DIRECTORY_MAX];
    size_t n = tun_directory_list(c->dir, day, TUN_DIRECTORY_KNOWN, all, sizeof all / sizeof *all);
    for (size_t i = 0; i < n; i++) {
        if (!all[i]->confirmed)
            return all[i];
    }
    return NULL;
}

/* From 21:00 on relays learn tomorrow's descriptors of each other, from 22:00 on clients do, so
 * that at 03:00 everything is there: every second round is about that day. */
static uint32_t day_of(const struct tun_client *c, const struct tun_sync *s) {
    uint32_t day = tun_descriptor_day(c->now.wall), next = day + 1;
    bool soon = c->relay ? tun_descriptor_is_current(next, c->now.wall)
                         : c->now.wall >= (int64_t)next * 86400 - 7200;
    return soon && s->rounds % 2 ? next : day;
}

static cv_usec wished_pause(const struct tun_client *c) {
    return tun_client_pause(c, CV_SEC(1), CV_MSEC(250));
}

void tun_sync_wish(struct tun_client *c) {
    /* Once a minute at most: whoever waits for a relay that never comes asks on. */
    if (c->wished_until == 0 || tun_due(cv_usec_add(c->wished_until, CV_SEC(60)), now(c)))
        c->wished_until = cv_usec_add(now(c), CV_SEC(10));
    if (tun_due(c->wished_until, now(c)))
        return;
    c->far_at = cv_usec_min(c->far_at, cv_usec_add(now(c), wished_pause(c)));
    tun_client_by(c, c->far_at);
}

void tun_sync_soon(struct tun_client *c) {
    c->far_at = cv_usec_min(c->far_at, cv_usec_add(now(c), wished_pause(c)));
    tun_client_by(c, c->far_at);
}

static void far_begin(struct tun_client *c) {
    struct tun_sync *s = &c->far;
    uint32_t day = day_of(c, s);
    const struct tun_relay *missing = unconfirmed(c, day);
    struct tun_path_request req = {.purpose = TUN_PURPOSE_GENERAL,
                                   .avoid = (const uint8_t(*)[CV_KEY])s->source,
                                   .avoids = s->elsewhere,
                                   .without = missing ? missing->desc.identity : NULL};
    cv_handle circuit;
    /* Every few seconds as long as somebody waits to be confirmed, or this is
     * the first time; then once in twenty to forty minutes. */
    size_t known = tun_directory_count(c->dir, day, TUN_DIRECTORY_KNOWN);
    unsigned first = known < c->measure_from ? 2 : 2 * TUN_REPORTS_MIN;
    bool eager = missing || s->rounds < first || known < TUN_SPARE_FROM;
    c->far_pause = !eager ? CV_SEC(cv_rng_between(tun_client_rng(c), 1200, 2400))
                   : c->far_pause < CV_SEC(60)
                       ? c->far_pause * 2 + tun_client_pause(c, CV_SEC(2), CV_MSEC(250))
                       : CV_SEC(60);
    if (!tun_due(c->wished_until, now(c)) || c->proof_left > 0)
        c->far_pause = wished_pause(c);
    c->far_at = cv_usec_add(now(c), c->far_pause);
    if (tun_client_open(c->t, &c->now, &req, TUN_USER_CLIENT, &circuit)) {
        s->elsewhere = false; /* there may be nobody else */
        return;
    }
    s->circuit = circuit;
    s->day = day;
    s->phase = TUN_SYNC_OPENING;
    s->at = cv_usec_add(now(c), CV_SEC(10));
    struct tun_circuit_info info;
    if (tun_circuit_info(c->t, circuit, &info) == CV_ERR_OK && info.ready)
        far_ready(c);
}

/* ---- time ---- */

/* Somebody else was asked for all that is missing here. */
static bool is_waiting(const struct tun_sync *s) {
    return s->phase == TUN_SYNC_FETCH && s->body_len == 0;
}

static void near_work(struct tun_client *c, struct tun_neighbour *n, bool begin) {
    struct tun_sync *s = &n->sync;
    if (s->phase == TUN_SYNC_IDLE) {
        if (begin && tun_due(s->next_at, now(c)))
            tun_sync_begin(c, s, day_of(c, s), n->identity);
        else if (begin)
            tun_client_by(c, s->next_at);
    } else if (tun_due(s->at, now(c))) {
        if (is_waiting(s))
            ask_descriptors(c, s);
        else if (s->some)
            ask_rest(c, s);
        else if (s->tries >= TUN_TRIES)
            finish(c, s, false);
        else
            send_question(c, s);
    }
    if (s->phase != TUN_SYNC_IDLE)
        tun_client_by(c, s->at);
}

/* One that nobody of ours reached yet is looked for again, and some of those that were reached
 * under yesterday's descriptor alone: all of two thousand within some four hours. */
static void reach_some(struct tun_client *c) {
    struct tun_relay *all[TUN_DIRECTORY_MAX];
    size_t n = tun_directory_list(c->dir, tun_descriptor_day(c->now.wall), TUN_DIRECTORY_KNOWN, all,
                                  sizeof all / sizeof *all);
    size_t start = n ? cv_rng_below(tun_client_rng(c), n) : 0;
    unsigned others = 1, kept = TUN_REACH_AGAIN;
    for (size_t i = 0; i < n && others + kept > 0; i++) {
        struct tun_relay *r = all[(start + i) % n];
        unsigned *left = r->kept ? &kept : &others;
        bool wanted = r->kept || r->tried & ~r->reached;
        if (!*left || !wanted || (r->reached && !tun_due(r->again_at, now(c))))
            continue;
        tun_contact_reach(c, r);
        --*left;
    }
}

static void relay_turn(struct tun_client *c) {
    reach_some(c);
    uint32_t next = tun_descriptor_day(c->now.wall) + 1;
    if (tun_descriptor_is_current(next, c->now.wall))
        tun_directory_keep(c->dir, next);
    /* A neighbour that told everything makes room for another. */
    for (unsigned i = 0; i < TUN_CONTACTS_MAX; i++) {
        struct tun_neighbour *n = &c->neighbour[i];
        if (n->set && n->sync.rounds > 1 && n->sync.phase == TUN_SYNC_IDLE)
            memset(n, 0, sizeof *n);
    }
    struct tun_relay *all[TUN_DIRECTORY_MAX];
    size_t n = tun_directory_list(c->dir, tun_descriptor_day(c->now.wall), TUN_DIRECTORY_REACHED,
                                  all, sizeof all / sizeof *all);
    c->far_pause = c->far_pause ? c->far_pause * 2 : tun_client_pause(c, CV_SEC(1), CV_MSEC(300));
    if (c->far_pause > CV_SEC(60))
        c->far_pause = CV_SEC(60);
    c->far_at = cv_usec_add(now(c), c->far_pause);
    if (n == 0)
        return;
    const struct tun_relay *r = all[cv_rng_below(tun_client_rng(c), n)];
    if (tun_address_ok(c->t, &r->reached_at)) /* not so for ourselves */
        tun_contact_neighbour_add(c, r, &r->reached_at);
}

static void far_work(struct tun_client *c) {
    struct tun_sync *s = &c->far;
    if (s->phase == TUN_SYNC_IDLE)
        return;
    if (tun_due(s->at, now(c))) {
        if (is_waiting(s))
            ask_descriptors(c, s);
        else if (s->some)
            ask_rest(c, s);
        else
            finish(c, s, false);
    }
    if (s->phase != TUN_SYNC_IDLE)
        tun_client_by(c, s->at);
}

void tun_sync_work(struct tun_client *c) {
    /* Clients ask their neighbours only until circuits can: again when these lead nowhere. */
    bool begin = c->relay || !c->ready_at || c->far.rounds < 1 || tun_client_is_short(c);
    for (unsigned i = 0; i < TUN_CONTACTS_MAX; i++) {
        if (c->neighbour[i].set && c->neighbour[i].up)
            near_work(c, &c->neighbour[i], begin);
    }
    far_work(c);
    if (!tun_due(c->far_at, now(c))) {
        tun_client_by(c, c->far_at);
    } else if (c->relay) {
        relay_turn(c);
        tun_client_by(c, c->far_at);
    } else if (c->ready_at && c->far.phase == TUN_SYNC_IDLE) {
        far_begin(c);
        tun_client_by(c, c->far_at);
    }
}
