/* Taking: hashes and chunks from a peer, and giving up on what does not come. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ppsp/engine.h"

/* What may arrive before it is acknowledged: 16 KiB, at least the two datagrams of
 * RFC 6817. Not a number of chunks: of large ones a few fill the sender's window, and
 * it would wait for ACK_DELAY with each. */
enum { ACK_OCTETS = 1 << 14, ACK_LEAST = 2, STALL_DOUBLINGS = 3, DISORDER_MAX = 3 };

#define ACK_DELAY            CV_MSEC(2)
#define ACK_DELAY_HIDDEN     CV_MSEC(8)  /* an eighth of the round trip, at least and .. */
#define ACK_DELAY_HIDDEN_MAX CV_MSEC(40) /* .. at most */
#define STALL_MIN            CV_MSEC(400)
#define STALL_END            CV_MSEC(30)
#define REORDER_MIN          CV_MSEC(4)
#define REORDER_MAX          CV_MSEC(250)
#define RTT_UNKNOWN          CV_MSEC(300)

/* ---- hashes ------------------------------------------------------------------ */

enum cv_err ppsp_fetch_integrity(struct ppsp_channel *c, cv_usec now,
                                 const struct ppsp_integrity_hash *node) {
    struct ppsp_swarm *s = c->swarm;
    struct ppsp *p = s->p;
    ppsp_bin bin = ppsp_bin_of_range(node->chunks.first, node->chunks.last);
    (void)now;
    bool outside = bin != PPSP_BIN_NONE && s->tree.proven &&
                   ppsp_bin_last(bin) > ppsp_bin_last(s->tree.root_bin);
    outside |= s->config.integrity == PPSP_INTEGRITY_NONE;
    outside |= s->live && (s->live->sign_all || node->chunks.last < s->live->first ||
                           node->chunks.last - node->chunks.first >= PPSP_MUNRO_CHUNKS_MAX);
    if (bin == PPSP_BIN_NONE || outside) {
        PPSP_COUNT(p, drop_integrity);
        return CV_ERR_OK;
    }
    if (!s->tree.proven) {
        ppsp_peaks_offer(&p->peaks, bin, node->hash, s->hash_len);
    } else {
        const uint8_t *known;
        enum cv_err err = ppsp_tree_get(&s->tree, bin, &known);
        if (err == CV_ERR_OK && memcmp(known, node->hash, s->hash_len) != 0) {
            err = ppsp_tree_sure(&s->tree, bin); /* else the store was damaged, perhaps */
            if (err == CV_ERR_OK) {
                PPSP_COUNT(p, drop_integrity_bad);
                return CV_ERR_AUTH;
            }
        }
        if (err != CV_ERR_NOENT) {
            PPSP_COUNT(p, drop_integrity);
            return CV_ERR_OK;
        }
    }
    if (!c->pending && !(c->pending = calloc(1, sizeof *c->pending))) {
        PPSP_COUNT(p, drop_integrity);
        return CV_ERR_OK;
    }
    ppsp_pending_add(c->pending, bin, node->hash, s->hash_len);
    return CV_ERR_OK;
}

/* The first hashes of all: which chunks there are (section 5.6.2). */
static void prove_peaks(struct ppsp_swarm *s, cv_usec now) {
    struct ppsp *p = s->p;
    uint64_t chunks;
    if (ppsp_peaks_check(&s->tree, &p->peaks, false, &chunks)) {
        PPSP_COUNT(p, drop_integrity);
        return;
    }
    if (ppsp_swarm_size_proven(s, now, chunks) &&
        ppsp_peaks_check(&s->tree, &p->peaks, true, &chunks))
        s->tree.proven = false; /* the store failed half-way: again with the next peaks */
}

enum cv_err ppsp_fetch_resolve(struct ppsp_channel *c, cv_usec now) {
    struct ppsp_swarm *s = c->swarm;
    if (s->config.integrity == PPSP_INTEGRITY_NONE)
        return CV_ERR_OK;
    if (!s->tree.proven)
        prove_peaks(s, now);
    if (!s->tree.proven || !c->pending)
        return CV_ERR_OK;
    if (ppsp_pending_resolve(c->pending, &s->tree) == CV_ERR_AUTH) {
        PPSP_COUNT(s->p, drop_integrity_bad);
        return CV_ERR_AUTH;
    }
    if (s->live)
        ppsp_live_proven(s);
    return CV_ERR_OK;
}

/* ---- chunks ------------------------------------------------------------------ */

static void waste(struct ppsp_swarm *s, const struct ppsp_data *data) {
    s->wasted += data->len;
}

/* Content of one chunk needs no hash but the root. */
static enum cv_err only_chunk(struct ppsp_swarm *s, cv_usec now, const struct ppsp_data *data,
                              const uint8_t *hash) {
    if (s->chunks > 1 || data->chunk != 0 || memcmp(hash, s->tree.root, s->hash_len) != 0)
        return CV_ERR_NOENT;
    return ppsp_swarm_size_proven(s, now, 1) ? CV_ERR_OK : CV_ERR_NOENT;
}

/* CV_ERR_OK: right. NOENT: cannot tell. AUTH: wrong, and that is sure. */
static enum cv_err verify(struct ppsp_channel *c, cv_usec now, const struct ppsp_data *data) {
    struct ppsp_swarm *s = c->swarm;
    uint8_t hash[CV_SHA_MAX];
    if (s->config.integrity == PPSP_INTEGRITY_NONE)
        return CV_ERR_OK;
    if (s->live && s->live->sign_all)
        return ppsp_live_check(c, now, data->chunk, data->content, data->len);
    cv_sha(s->config.hash, hash, data->content, data->len);
    if (!s->tree.proven)
        return only_chunk(s, now, data, hash);
    enum cv_err err = ppsp_tree_check(&s->tree, c->pending, data->chunk, hash);
    if (s->live && !err)
        ppsp_live_proven(s);
    return err;
}

/* An ACK through a circuit takes a cell as large as a chunk's, and the room of one. */
static cv_usec ack_delay(const struct ppsp_channel *c) {
    if (!c->hidden)
        return ACK_DELAY;
    cv_usec part = c->rtt / 8;
    return part < ACK_DELAY_HIDDEN       ? ACK_DELAY_HIDDEN
           : part > ACK_DELAY_HIDDEN_MAX ? ACK_DELAY_HIDDEN_MAX
                                         : part;
}

static uint32_t ack_every(const struct ppsp_channel *c) {
    uint32_t n = ACK_OCTETS / c->swarm->config.chunk_size;
    return n < ACK_LEAST ? ACK_LEAST : n;
}

static void ack_add(struct ppsp_channel *c, cv_usec now, uint64_t chunk, uint64_t timestamp) {
    uint64_t delay = ppsp_channel_clock(c, now) - timestamp;
    struct ppsp_ack_due *last = c->ack_count ? &c->acks[c->ack_count - 1] : NULL;
    if (last && last->chunks.last + 1 == chunk) {
        last->chunks.last = chunk;
        last->delay = delay;
    } else if (c->ack_count < PPSP_ACKS) {
        c->acks[c->ack_count++] = (struct ppsp_ack_due){{chunk, chunk}, delay};
    } /* else: the next ACK's biggest interval covers it, or HAVE tells later */
    c->ack_chunks++;
    if (c->ack_chunks >= ack_every(c) || c->ack_count == PPSP_ACKS)
        c->ack_at = now;
    else if (c->ack_at == CV_USEC_NEVER)
        c->ack_at = cv_usec_add(now, ack_delay(c));
}

/* More than is needed to keep the way full is asked for only while growing. */
static void grow_window(struct ppsp_channel *c, cv_usec now) {
    uint64_t rate = ppsp_rate_get(&c->down_rate, now) / c->swarm->config.chunk_size;
    uint64_t most = PPSP_WINDOW_MAX;
    if (rate)
        most = 2 * rate * (c->rtt + CV_MSEC(40)) / 1000000;
    most = most < PPSP_WINDOW_MIN ? PPSP_WINDOW_MIN : most;
    most = most > PPSP_WINDOW_MAX ? PPSP_WINDOW_MAX : most;
    c->window = c->window < most ? c->window + 1 : (uint32_t)most;
}

/* Others who were asked for it, now or before it was given up, need not send it any more.
 * Whoever left it out on purpose would take our next ACK, of the biggest interval, for a
 * lie: CANCEL stands before it. */
static void settle_elsewhere(struct ppsp_channel *c, uint64_t chunk, bool asked_here) {
    struct ppsp_channel *o;
    if (c->swarm->open_count < 2)
        return;
    TAILQ_FOREACH(o, &c->swarm->channels, of_swarm) {
        if (o == c || (asked_here && ppsp_flight_empty(&o->late)))
            continue;
        uint64_t asked = 0, late = ppsp_flight_take(&o->late, chunk, chunk, false).chunks;
        if (!asked_here) /* nobody is asked for it while another is */
            asked = ppsp_flight_take(&o->asked, chunk, chunk, false).chunks;
        if (asked + late == 0)
            continue;
        ppsp_fetch_cancel(o, chunk, chunk);
        ppsp_channel_wake(o);
    }
}

/* Peers serve in order (section 3.7): these chunks of a run were overtaken. */
static void overtaken(struct ppsp_run *r, cv_usec now, uint64_t mask) {
    if (!mask || (r->passed & r->mask))
        return; /* what was overtaken before them is given up first */
    r->passed = mask;
    r->passed_at = now;
}

/* Given up because it was overtaken, not because nobody waited for it. */
static bool taken_for_lost(const struct ppsp_channel *c, uint64_t chunk) {
    for (uint64_t i = c->late.head; i < c->late.tail; i++) {
        const struct ppsp_run *r = ppsp_flight_at(&c->late, i);
        if (ppsp_run_part(r, chunk, chunk) & r->passed)
            return true;
    }
    return false;
}

static void arrived(struct ppsp_channel *c, cv_usec now, const struct ppsp_data *data) {
    /* A chunk is asked of a peer once at a time. */
    struct ppsp_taken t = ppsp_flight_take(&c->asked, data->chunk, data->chunk, true);
    /* Sooner than what it was asked for again can come: its way reorders. What is overtaken
     * next is waited for longer. */
    bool first_copy = !t.chunks || cv_usec_since(now, t.at) < c->rtt / 2;
    if (first_copy && c->disorder < DISORDER_MAX && taken_for_lost(c, data->chunk))
        c->disorder++;
    (void)ppsp_flight_take(&c->late, data->chunk, data->chunk, false);
    settle_elsewhere(c, data->chunk, t.chunks > 0);
    if (t.chunks) {
        if (t.newest > c->asked_passed)
            c->asked_passed = t.newest;
        if (t.newest >= c->asked.head && data->chunk > 0) {
            struct ppsp_run *r = ppsp_flight_at(&c->asked, t.newest);
            overtaken(r, now, ppsp_run_part(r, 0, data->chunk - 1));
        }
        if (!t.again)
            ppsp_channel_rtt(c, cv_usec_since(now, t.at));
    }
    c->data_at = now;
    c->stalls_running = 0;
    c->doubted = 0;
    c->down += data->len;
    ppsp_rate_add(&c->down_rate, now, data->len);
    grow_window(c, now);
    ack_add(c, now, data->chunk, data->timestamp);
}

/* Its hashes got lost, and with them, over circuits, a whole group's: it is asked for
 * again at once, and they come with it. A group at most, until something is verified:
 * whoever sends chunks without hashes is waited for like one who sends nothing. */
static void doubt(struct ppsp_channel *c, uint64_t chunk) {
    struct ppsp_swarm *s = c->swarm;
    if (c->doubted >= PPSP_GROUP_CHUNKS || !ppsp_flight_has(&c->asked, chunk))
        return;
    for (uint64_t i = c->asked.head; i < c->asked.tail; i++)
        ppsp_fetch_give_up(c, i, ppsp_run_part(ppsp_flight_at(&c->asked, i), chunk, chunk));
    c->doubted++;
    PPSP_COUNT(s->p, requests_expired);
    ppsp_swarm_wake(s);
}

enum cv_err ppsp_fetch_data(struct ppsp_channel *c, cv_usec now, const struct ppsp_data *data) {
    struct ppsp_swarm *s = c->swarm;
    struct ppsp *p = s->p;
    bool gone = s->live && data->chunk < s->live->first; /* its place may be another's by now */
    if (gone ||
        (!ppsp_chunkset_has(&s->taken, data->chunk) && !ppsp_flight_has(&c->late, data->chunk))) {
        PPSP_COUNT(p, drop_data_unasked);
        waste(s, data);
        return CV_ERR_OK;
    }
    if (ppsp_chunkset_has(&s->have, data->chunk) || ppsp_stage_any(s, data->chunk, data->chunk)) {
        PPSP_COUNT(p, drop_data_duplicate);
        waste(s, data);
        ack_add(c, now, data->chunk, data->timestamp); /* our ACK was lost */
        return CV_ERR_OK;
    }
    size_t len = ppsp_swarm_chunk_len(s, data->chunk);
    if (len && data->len != len)
        return CV_ERR_MALFORMED;
    enum cv_err err = verify(c, now, data);
    if (err == CV_ERR_AUTH) {
        PPSP_COUNT(p, drop_data_bad);
        waste(s, data);
        return err;
    }
    if (err == CV_ERR_NOENT) {
        PPSP_COUNT(p, drop_data_unverifiable);
        waste(s, data);
        doubt(c, data->chunk);
        return CV_ERR_OK;
    }
    if (!err)
        err = ppsp_stage_add(s, now, data->chunk, data->content, data->len);
    if (err) {
        PPSP_COUNT(p, drop_data_store);
        return CV_ERR_OK;
    }
    arrived(c, now, data);
    return CV_ERR_OK;
}

static void untake(struct ppsp_swarm *s, uint64_t first, uint64_t mask) {
    while (mask) {
        unsigned a = (unsigned)__builtin_ctzll(mask);
        uint64_t rest = ~(mask >> a);
        unsigned len = rest ? (unsigned)__builtin_ctzll(rest) : 64 - a;
        ppsp_swarm_untake(s, first + a, first + a + len - 1);
        mask &= a + len >= 64 ? 0 : UINT64_MAX << (a + len);
    }
}

enum { LATE_RUNS = 256 };

void ppsp_fetch_give_up(struct ppsp_channel *c, uint64_t run, uint64_t mask) {
    struct ppsp_run was = *ppsp_flight_at(&c->asked, run);
    mask &= was.mask;
    if (!mask)
        return;
    (void)ppsp_flight_clear(&c->asked, run, mask);
    untake(c->swarm, was.first, mask);
    if (c->late.tail - c->late.head >= LATE_RUNS)
        (void)ppsp_flight_clear(&c->late, c->late.head, UINT64_MAX);
    (void)ppsp_flight_push(&c->late, was.first, mask, was.at, true);
}

/* ---- what peers have ----------------------------------------------------------- */

/* Asked for before it said what it has: what it has not will not come. */
static void end_guess(struct ppsp_channel *c) {
    c->guess = false;
    c->guess_until = CV_USEC_NEVER;
    for (uint64_t i = c->asked.head; i < c->asked.tail; i++) {
        const struct ppsp_run *r = ppsp_flight_at(&c->asked, i);
        uint64_t not = 0;
        for (unsigned b = 0; b < 64; b++)
            if (r->mask >> b & 1 && !ppsp_chunkset_has(&c->have, r->first + b))
                not |= (uint64_t)1 << b;
        ppsp_fetch_give_up(c, i, not );
    }
    ppsp_swarm_wake(c->swarm);
}

enum cv_err ppsp_fetch_have(struct ppsp_channel *c, cv_usec now, const struct ppsp_range *range) {
    struct ppsp_swarm *s = c->swarm;
    (void)now;
    /* "Everything" is a bin over 2^63 chunks: more than any content has. */
    uint64_t last = range->last < PPSP_CHUNKS_MAX ? range->last : PPSP_CHUNKS_MAX - 1;
    if (range->first > last || (s->chunks && range->first >= s->chunks && !s->live) ||
        ppsp_chunkset_add(&c->have, range->first, last)) {
        PPSP_COUNT(s->p, drop_have_bad);
        return CV_ERR_OK;
    }
    if (s->live)
        ppsp_live_shown(c, last);
    c->idle_until = 0;
    ppsp_serve_cancel(c, range, true); /* section 3.8 */
    if (c->guess)
        end_guess(c);
    return CV_ERR_OK;
}

/* ---- giving up ------------------------------------------------------------------ */

/* Gives up what it is asked for of `part`; returns where that lies, first > last if nowhere. */
static struct ppsp_range give_up_part(struct ppsp_channel *c, const struct ppsp_range *part) {
    struct ppsp_range gone = {PPSP_CHUNK_NONE, 0};
    for (uint64_t i = c->asked.head; i < c->asked.tail; i++) {
        const struct ppsp_run *r = ppsp_flight_at(&c->asked, i);
        uint64_t mask = ppsp_run_part(r, part->first, part->last);
        if (!mask)
            continue;
        uint64_t first = r->first + (unsigned)__builtin_ctzll(mask);
        uint64_t last = r->first + 63 - (unsigned)__builtin_clzll(mask);
        gone.first = first < gone.first ? first : gone.first;
        gone.last = last > gone.last ? last : gone.last;
        ppsp_fetch_give_up(c, i, mask);
    }
    return gone;
}

static uint64_t asked_within(const struct ppsp_channel *c, const struct ppsp_range *part) {
    uint64_t n = 0;
    for (uint64_t i = c->asked.head; i < c->asked.tail && part->first <= part->last; i++)
        n += (unsigned)__builtin_popcountll(
            ppsp_run_part(ppsp_flight_at(&c->asked, i), part->first, part->last));
    return n;
}

/* What lies between the two; first > last when they touch. */
static struct ppsp_range between(const struct ppsp_range *a, const struct ppsp_range *b) {
    if (a->last < b->first)
        return (struct ppsp_range){a->last + 1, b->first - 1};
    if (b->last < a->first)
        return (struct ppsp_range){b->last + 1, a->first - 1};
    return (struct ppsp_range){1, 0};
}

static uint64_t apart(const struct ppsp_range *a, const struct ppsp_range *b) {
    struct ppsp_range gap = between(a, b);
    return gap.first <= gap.last ? gap.last - gap.first + 1 : 0;
}

/* There is no room for another: one that waits grows as far as this, that below or that above
 * it. Of what lies between, the peer has nothing to cancel that it is not asked for; what it
 * is asked for there is given up, and asked for again behind the CANCEL. */
static void cancel_with_another(struct ppsp_channel *c, const struct ppsp_range *r) {
    struct ppsp_range *near[2] = {NULL, NULL}, *to = NULL;
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < c->cancel_count; i++) {
        struct ppsp_range *o = &c->cancels[i], **side = &near[o->first > r->first];
        if (!*side || apart(o, r) < apart(*side, r))
            *side = o;
    }
    for (unsigned i = 0; i < 2; i++) {
        struct ppsp_range gap = near[i] ? between(near[i], r) : (struct ppsp_range){1, 0};
        uint64_t lost = near[i] ? asked_within(c, &gap) : UINT64_MAX;
        if (lost >= least)
            continue;
        least = lost;
        to = near[i];
    }
    struct ppsp_range gap = between(to, r);
    if (least > 0)
        (void)give_up_part(c, &gap);
    to->first = r->first < to->first ? r->first : to->first;
    to->last = r->last > to->last ? r->last : to->last;
    if (least > 0)
        ppsp_swarm_wake(c->swarm);
}

void ppsp_fetch_cancel(struct ppsp_channel *c, uint64_t first, uint64_t last) {
    struct ppsp_range *before = c->cancel_count ? &c->cancels[c->cancel_count - 1] : NULL;
    struct ppsp_range r = {first, last};
    if (!(c->messages >> PPSP_MSG_CANCEL & 1))
        return;
    if (before && before->last + 1 == first)
        before->last = last;
    else if (c->cancel_count < PPSP_CANCELS)
        c->cancels[c->cancel_count++] = r;
    else
        cancel_with_another(c, &r);
}

void ppsp_fetch_release(struct ppsp_channel *c) {
    for (uint64_t i = c->asked.head; i < c->asked.tail; i++)
        ppsp_fetch_give_up(c, i, UINT64_MAX);
    ppsp_swarm_wake(c->swarm);
}

static cv_usec rtt_guess(const struct ppsp_channel *c) {
    return c->rtt ? c->rtt : RTT_UNKNOWN;
}

/* What is lost at the very end is overtaken by nothing: silence is all that shows it.
 * If only one peer is left to ask, asking it again costs a datagram. */
static bool at_the_end(const struct ppsp_channel *c) {
    const struct ppsp_swarm *s = c->swarm;
    return s->open_count == 1 && c->stalls_running == 0 && c->rtt && !s->live &&
           s->taken.count == s->chunks;
}

static cv_usec stall_at(const struct ppsp_channel *c) {
    if (ppsp_flight_empty(&c->asked))
        return CV_USEC_NEVER;
    cv_usec since = c->data_at, wait = STALL_MIN + 3 * rtt_guess(c);
    if (at_the_end(c)) {
        /* Nothing else is under way that would show that the peer is there: so from the
         * last request on, or a request would end in the silence before it. */
        cv_usec asked = ppsp_flight_at(&c->asked, c->asked.tail - 1)->at;
        since = asked > since ? asked : since;
        wait = STALL_END + 3 * rtt_guess(c);
    }
    unsigned doublings = c->stalls_running < STALL_DOUBLINGS ? c->stalls_running : STALL_DOUBLINGS;
    return cv_usec_add(since, wait << doublings);
}

static cv_usec reorder_time(const struct ppsp_channel *c) {
    cv_usec t = rtt_guess(c) / 4 * (1 + c->disorder);
    return t < REORDER_MIN ? REORDER_MIN : t > REORDER_MAX ? REORDER_MAX : t;
}

/* Of the run that was answered last what stood before the answer, of older ones all. */
static void expire_overtaken(struct ppsp_channel *c, cv_usec now) {
    bool any = false;
    for (uint64_t i = c->asked.head; i < c->asked.tail && i <= c->asked_passed; i++) {
        struct ppsp_run *r = ppsp_flight_at(&c->asked, i);
        if (i < c->asked_passed)
            overtaken(r, now, r->mask);
        uint64_t lost = r->passed & r->mask;
        if (!lost || cv_usec_since(now, r->passed_at) < reorder_time(c))
            continue;
        c->swarm->p->counters.requests_expired += (unsigned)__builtin_popcountll(lost);
        uint64_t late = c->late.tail;
        ppsp_fetch_give_up(c, i, lost);
        if (c->late.tail > late)
            ppsp_flight_at(&c->late, late)->passed = lost;
        any = true;
    }
    if (any)
        ppsp_swarm_wake(c->swarm);
}

/* It did not serve at all: others first, and less trust from now on. The only
 * peer is asked for the same again, which it will notice. */
static void stalled(struct ppsp_channel *c, cv_usec now) {
    bool alone = c->swarm->open_count == 1;
    c->stalls++;
    c->stalls_running++;
    c->window = PPSP_WINDOW_MIN;
    c->data_at = now;
    c->block = PPSP_CHUNK_NONE;
    c->swarm->p->counters.requests_expired += c->asked.chunks;
    for (uint64_t i = c->asked.head; i < c->asked.tail && !alone; i++) {
        struct ppsp_run *r = ppsp_flight_at(&c->asked, i);
        if (r->mask)
            ppsp_fetch_cancel(c, r->first + (unsigned)__builtin_ctzll(r->mask),
                              r->first + 63 - (unsigned)__builtin_clzll(r->mask));
    }
    if (!ppsp_flight_empty(&c->asked))
        c->block = ppsp_flight_at(&c->asked, c->asked.head)->first / ppsp_block_size(c->swarm);
    ppsp_fetch_release(c);
    if (!alone)
        c->ask_at =
            cv_usec_add(now, CV_MSEC(250) << (c->stalls_running < 5 ? c->stalls_running : 5));
}

void ppsp_fetch_check(struct ppsp_channel *c, cv_usec now) {
    expire_overtaken(c, now);
    if (c->guess && now >= c->guess_until)
        end_guess(c);
    if (now >= stall_at(c))
        stalled(c, now);
}

cv_usec ppsp_fetch_next(const struct ppsp_channel *c) {
    cv_usec at = cv_usec_min(stall_at(c), c->guess ? c->guess_until : CV_USEC_NEVER);
    for (uint64_t i = c->asked.head; i < c->asked.tail && i <= c->asked_passed; i++) {
        const struct ppsp_run *r = ppsp_flight_at(&c->asked, i);
        if (r->passed & r->mask)
            at = cv_usec_min(at, cv_usec_add(r->passed_at, reorder_time(c)));
    }
    return at;
}

/* ---- urgency ---------------------------------------------------------------------- */

/* The chunks that nobody waits for, in order: a stretch more than there are wants, at most. */
static unsigned unwanted(const struct ppsp_swarm *s, struct ppsp_range ret[PPSP_WANTS + 1]) {
    unsigned n = 0;
    for (uint64_t at = 0;;) {
        uint64_t from = at, next = PPSP_CHUNK_NONE;
        for (unsigned i = 0; i < PPSP_WANTS; i++) {
            const struct ppsp_want_entry *w = &s->wants[i];
            if (w->id == 0 || w->first > w->last || w->last < at)
                continue;
            if (w->first <= at)
                at = w->last + 1;
            else if (w->first < next)
                next = w->first;
        }
        if (at != from)
            continue; /* another one may go on from there */
        ret[n++] = (struct ppsp_range){at, next - 1};
        if (next == PPSP_CHUNK_NONE)
            return n;
        at = next;
    }
}

static bool want_open(const struct ppsp_swarm *s) {
    for (unsigned i = 0; i < PPSP_WANTS; i++) {
        const struct ppsp_want_entry *w = &s->wants[i];
        if (w->id && w->first <= w->last && !ppsp_chunkset_covers(&s->taken, w->first, w->last))
            return true;
    }
    return false;
}

/* A reader moved, or left: what nobody waits for must not stand before what others need, nor
 * come at all. One CANCEL between two wants is enough, however many requests lay there:
 * nothing between them is asked of this peer any more, and of what it never was asked for it
 * has nothing to cancel. */
void ppsp_fetch_refocus(struct ppsp_swarm *s) {
    struct ppsp_range gaps[PPSP_WANTS + 1];
    struct ppsp_channel *c;
    if (s->config.fetch_all && !want_open(s))
        return;
    unsigned n = unwanted(s, gaps);
    TAILQ_FOREACH(c, &s->channels, of_swarm) {
        for (unsigned i = 0; i < n && !ppsp_flight_empty(&c->asked); i++) {
            struct ppsp_range gone = give_up_part(c, &gaps[i]);
            if (gone.first <= gone.last)
                ppsp_fetch_cancel(c, gone.first, gone.last);
        }
    }
}
