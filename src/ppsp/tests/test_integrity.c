/*
 * Hashes and chunks, RFC 7574 section 5: which go out, in which order, and what
 * a peer that lies about them achieves.
 */
#include "support/suite.h"

#include "ppsp/limits.h"
#include "raw.h"

CV_SUITE(ppsp_integrity);

static const struct ppsp_chunkspec chunk32 = {PPSP_ADDRESSING_CHUNK32, 1024, 0};

struct bench {
    struct rig *rig;
    struct raw *raw;
    struct rig_store full;
};

static struct bench begin(uint64_t octets, bool seeder, bool circuits) {
    struct bench b = {.rig = rig_new(1, octets, 1024, CV_SHA256)};
    uint8_t root[CV_SHA_MAX];
    b.rig->circuits = circuits;
    rig_add(b.rig, seeder);
    b.raw = raw_new(b.rig, 0);
    rig_store_init(&b.full, 1024, 32, octets);
    rig_store_fill(&b.full, CV_SHA256, b.rig->content, octets, root);
    return b;
}

static void end(struct bench *b) {
    rig_store_done(&b->full);
    free(b->raw);
    rig_free(b->rig);
}

static struct bench seeder(uint64_t octets, bool circuits) {
    struct bench b = begin(octets, true, circuits);
    struct ppsp_peer_props props = {.mtu = circuits ? 1101 : 1400, .hidden = circuits};
    if (circuits)
        cr_assert_eq(
            ppsp_peer_add(b.rig->engine[0], rig_now(b.rig), b.rig->swarm[0], &b.raw->us, &props),
            CV_ERR_OK);
    cr_assert(raw_call(b.raw));
    return b;
}

static struct bench viewer(uint64_t octets) {
    struct bench b = begin(octets, false, false);
    cr_assert(raw_be_called(b.raw));
    struct cv_wr d = raw_datagram(b.raw);
    raw_put_range(b.raw, &d, PPSP_MSG_HAVE, 0, b.full.size.chunks - 1);
    cr_assert_eq(raw_send(b.raw, &d), CV_ERR_OK);
    raw_listen(b.raw);
    return b;
}

static uint64_t have(const struct bench *b) {
    struct ppsp_stats st = {0};
    rig_drain(b->rig, 0);
    (void)ppsp_stats(b->rig->engine[0], b->rig->swarm[0], &st);
    return st.chunks_have;
}

/* ---- what goes out ---- */

/* A receiver that only follows the text: it keeps the hashes it was sent and
 * those it computed on the way to a peak, and takes a chunk only if that reaches
 * a peak, or what led to one before. Works for any datagram sequence. */
struct naive {
    uint64_t chunks;
    bool known[4096], proven[4096];
    uint8_t hash[4096][32];
};

static void naive_learn(struct naive *n, ppsp_bin bin, const uint8_t *hash) {
    cr_assert_lt(bin, 4096);
    if (n->known[bin])
        cr_assert_arr_eq(n->hash[bin], hash, 32, "bin %lu told twice, differently",
                         (unsigned long)bin);
    n->known[bin] = true;
    memcpy(n->hash[bin], hash, 32);
}

static bool naive_take(struct naive *n, const struct raw_message *m) {
    uint8_t way[16][32];
    ppsp_bin bins[16], b = ppsp_bin_leaf(m->range.first);
    unsigned k = 0;
    cv_sha(CV_SHA256, way[0], m->content, m->len);
    for (;; k++) {
        ppsp_bin parent = ppsp_bin_parent(b), sib = ppsp_bin_sibling(b);
        bins[k] = b;
        if (n->proven[b] || ppsp_bin_last(parent) >= n->chunks)
            break; /* proven already, or b is a peak */
        if (!n->known[sib])
            return false;
        if (ppsp_bin_is_left(b))
            cv_sha2(CV_SHA256, way[k + 1], way[k], 32, n->hash[sib], 32);
        else
            cv_sha2(CV_SHA256, way[k + 1], n->hash[sib], 32, way[k], 32);
        b = parent;
    }
    if (!n->known[b] || memcmp(n->hash[b], way[k], 32) != 0)
        return false;
    while (k-- > 0) {
        naive_learn(n, bins[k], way[k]);
        n->proven[bins[k]] = n->proven[ppsp_bin_sibling(bins[k])] = true;
    }
    return true;
}

/* Asks for everything, acknowledges what verifies, asks again; counts. */
struct reading {
    uint64_t chunks, hashes, unverifiable;
};

static struct reading read_all(struct bench *b, unsigned lose_one_in, unsigned rounds) {
    static struct raw_message m[RAW_MESSAGES];
    static struct naive n;
    struct reading got = {0};
    uint64_t chunks = b->full.size.chunks;
    bool done[2048] = {false};
    memset(&n, 0, sizeof n);
    n.chunks = chunks;
    for (unsigned round = 0; round < rounds && got.chunks < chunks; round++) {
        struct cv_wr d = raw_datagram(b->raw);
        uint64_t at = 0;
        for (unsigned k = 0; k < 20 && at < chunks; k++) {
            uint64_t first = at;
            while (first < chunks && done[first])
                first++;
            uint64_t last = first;
            while (last + 1 < chunks && !done[last + 1] && last - first < 40)
                last++;
            if (first < chunks)
                raw_put_range(b->raw, &d, PPSP_MSG_REQUEST, first, last);
            at = last + 1;
        }
        cr_assert_eq(raw_send(b->raw, &d), CV_ERR_OK);
        for (unsigned beat = 0; beat < 60; beat++) {
            raw_clear(b->raw);
            raw_wait(b->raw, CV_MSEC(20));
            cr_assert(!b->raw->overrun);
            size_t count = raw_messages(b->raw, m);
            bool lost[RAW_HEARD];
            for (unsigned i = 0; i < RAW_HEARD; i++)
                lost[i] = lose_one_in && cv_rng_below(&b->rig->rng[RIG_ENGINES], lose_one_in) == 0;
            d = raw_datagram(b->raw);
            for (size_t i = 0; i < count; i++) {
                if (lost[m[i].datagram])
                    continue;
                if (m[i].type == PPSP_MSG_INTEGRITY) {
                    got.hashes++;
                    naive_learn(&n, ppsp_bin_of_range(m[i].range.first, m[i].range.last),
                                m[i].content);
                }
                if (m[i].type != PPSP_MSG_DATA)
                    continue;
                uint64_t c = m[i].range.first;
                if (!naive_take(&n, &m[i])) {
                    got.unverifiable++;
                    continue;
                }
                got.chunks += !done[c];
                done[c] = true;
                if (cv_wr_room(&d) > 64)
                    ppsp_ack_write(&d, &chunk32, &(struct ppsp_ack){{c, c}, 5000});
            }
            if (cv_wr_len(&d) > 4)
                cr_assert_eq(raw_send(b->raw, &d), CV_ERR_OK);
            if (count == 0)
                break;
        }
    }
    return got;
}

Test(ppsp_integrity, R5_4_1_R5_4_2_a_receiver_that_knows_only_the_text_verifies_all) {
    static const uint64_t sizes[] = {1, 2, 3, 7, 15, 16, 17, 33, 64, 100, 257, 700};
    for (int circuits = 0; circuits < 2; circuits++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct bench b = seeder(sizes[i] * 1024 - 100, circuits);
            struct reading got = read_all(&b, 0, 40);
            cr_expect_eq(got.chunks, sizes[i], "%lu chunks (circuits %d): %lu verified",
                         (unsigned long)sizes[i], circuits, (unsigned long)got.chunks);
            cr_expect_eq(got.unverifiable, 0, "%lu chunks", (unsigned long)sizes[i]);
            cr_expect_leq(got.hashes, 3 * sizes[i] + 20, "%lu hashes", (unsigned long)got.hashes);
            end(&b);
        }
}

Test(ppsp_integrity, R5_3_1_lost_hashes_cost_no_group_for_ever) {
    for (int circuits = 0; circuits < 2; circuits++) {
        struct bench b = seeder(300 * 1024, circuits);
        struct reading got = read_all(&b, 8, 400);
        cr_expect_eq(got.chunks, 300, "%lu", (unsigned long)got.chunks);
        end(&b);
    }
}

Test(ppsp_integrity, R5_6_1_peaks_first_and_R5_6_2_before_uncles_in_R5_4_4_descending_height) {
    static struct raw_message m[RAW_MESSAGES];
    struct bench b = seeder(7162, false); /* figure 4: peaks 3, 9, 12 */
    cr_assert_eq(raw_send_hex(b.raw, "08 00000000 00000000"), CV_ERR_OK);
    raw_clear(b.raw);
    raw_listen(b.raw);
    size_t n = raw_messages(b.raw, m), k = 0;
    ppsp_bin bins[16];
    for (size_t i = 0; i < n; i++)
        if (m[i].type == PPSP_MSG_INTEGRITY)
            bins[k++] = ppsp_bin_of_range(m[i].range.first, m[i].range.last);
    cr_assert_eq(k, 5);
    static const ppsp_bin want[] = {3, 9, 12, 5, 2};
    cr_expect_arr_eq(bins, want, sizeof want, "R5.4.3: chunks under each node");
    struct raw_message data, hash;
    cr_assert(raw_find(b.raw, PPSP_MSG_DATA, 0, &data));
    cr_assert(raw_find(b.raw, PPSP_MSG_INTEGRITY, 0, &hash));
    cr_expect_eq(data.datagram, hash.datagram, "R5.3.3: one chunk, one datagram");
    end(&b);
}

Test(ppsp_integrity, R5_6_1_no_peaks_for_who_acknowledged_a_chunk) {
    struct bench b = seeder(7162, false);
    cr_assert_eq(raw_send_hex(b.raw, "03 00000000 00000000 08 00000001 00000001"), CV_ERR_OK);
    raw_clear(b.raw);
    raw_listen(b.raw);
    cr_expect_eq(raw_count(b.raw, PPSP_MSG_DATA), 1);
    cr_expect_eq(raw_count(b.raw, PPSP_MSG_INTEGRITY), 0, "it must know all of chunk 1's hashes");
    end(&b);
}

/* Section 5.3: having C0 and C1, it needs nodes 14 and 9 for C7. */
Test(ppsp_integrity, R5_3_6_example_of_section_5_3) {
    struct bench b = seeder(8 * 1024, false);
    cr_assert_eq(raw_send_hex(b.raw, "03 00000000 00000001 08 00000007 00000007"), CV_ERR_OK);
    raw_clear(b.raw);
    raw_listen(b.raw);
    struct raw_message m;
    cr_assert_eq(raw_count(b.raw, PPSP_MSG_INTEGRITY), 2);
    cr_assert(raw_find(b.raw, PPSP_MSG_INTEGRITY, 0, &m));
    cr_expect_eq(ppsp_bin_of_range(m.range.first, m.range.last), 9);
    cr_assert(raw_find(b.raw, PPSP_MSG_INTEGRITY, 1, &m));
    cr_expect_eq(ppsp_bin_of_range(m.range.first, m.range.last), 12, "the sibling of chunk 7");
    end(&b);
}

Test(ppsp_integrity, equal_sizes_leave_in_runs) {
    struct bench b = seeder(1000 * 1024, false);
    struct rig *r = b.rig;
    cr_assert_eq(raw_send_hex(b.raw, "08 00000000 000003e7"), CV_ERR_OK);
    unsigned longest = 0;
    uint64_t acked = 0;
    for (unsigned beat = 0; beat < 40; beat++) {
        r->now += CV_MSEC(5);
        struct cv_wr d = raw_datagram(b.raw);
        ppsp_on_timeout(r->engine[0], rig_now(r));
        cv_batch_clear(&r->batch);
        (void)ppsp_poll_transmit(r->engine[0], rig_now(r), &r->batch);
        for (uint32_t i = 0; i < r->batch.runs_used; i++) {
            if (r->runs[i].size == 1045)
                acked += r->runs[i].count;
            if (r->runs[i].size == 1045 && r->runs[i].count > longest)
                longest = r->runs[i].count;
        }
        if (acked) {
            raw_put_range(b.raw, &d, PPSP_MSG_HAVE, 0, (acked < 999 ? acked : 999) - 1);
            ppsp_ack_write(&d, &chunk32,
                           &(struct ppsp_ack){{0, (acked < 999 ? acked : 999) - 1}, 5000});
            cr_assert_eq(raw_send(b.raw, &d), CV_ERR_OK);
        }
    }
    cr_expect_geq(longest, 48);
    end(&b);
}

/* ---- what comes in ---- */

static enum cv_err give(struct bench *b, uint64_t chunk, bool peaks, bool hashes, uint8_t spoil) {
    struct cv_wr d = raw_datagram(b->raw);
    if (hashes)
        raw_put_hashes(b->raw, &d, &b->full, chunk, peaks);
    raw_put_data(b->raw, &d, &b->full, chunk, 1000);
    d.p[-1] ^= spoil;
    return raw_send(b->raw, &d);
}

Test(ppsp_integrity, R5_2_1_no_chunk_without_its_hashes_and_R5_3_5_it_is_dropped) {
    struct bench b = viewer(100 * 1024);
    cr_expect_eq(give(&b, 0, false, false, 0), CV_ERR_OK);
    cr_expect_eq(have(&b), 0);
    cr_expect_eq(raw_counters(b.raw)->drop_data_unverifiable, 1);
    cr_expect_eq(give(&b, 0, true, true, 0), CV_ERR_OK);
    cr_expect_eq(have(&b), 1);
    cr_expect_eq(give(&b, 1, false, false, 0), CV_ERR_OK);
    cr_expect_eq(have(&b), 2, "R5.3.7: its hash is remembered from chunk 0");
    end(&b);
}

Test(ppsp_integrity, R5_3_4_hashes_may_come_in_earlier_datagrams) {
    struct bench b = viewer(100 * 1024);
    struct cv_wr d = raw_datagram(b.raw);
    raw_put_hashes(b.raw, &d, &b.full, 0, true);
    cr_assert_eq(raw_send(b.raw, &d), CV_ERR_OK);
    cr_expect_eq(give(&b, 0, false, false, 0), CV_ERR_OK);
    cr_expect_eq(have(&b), 1);
    end(&b);
}

Test(ppsp_integrity, INTEGRITY_1_a_bad_chunk_drops_the_peer_and_nothing_is_stored) {
    struct bench b = viewer(100 * 1024);
    cr_expect_eq(give(&b, 0, true, true, 0x80), CV_ERR_AUTH);
    cr_expect_eq(have(&b), 0);
    cr_expect_eq(b.rig->store[0].writes, 0);
    const struct ppsp_counters *c = raw_counters(b.raw);
    cr_expect_eq(c->drop_data_bad, 1);
    cr_expect_eq(c->peers_dropped_bad, 1);
    cr_assert_eq(rig_events(b.rig, 0, PPSP_EVENT_PEER_DOWN), 1);
    struct ppsp_peer_props props = {.mtu = 1400, .initiate = true};
    cr_expect_eq(
        ppsp_peer_add(b.rig->engine[0], rig_now(b.rig), b.rig->swarm[0], &b.raw->us, &props),
        CV_ERR_DENIED, "not soon again");
    cr_expect(!raw_call(b.raw), "nor may it call");
    cr_expect_eq(c->drop_handshake_banned, 1);
    b.rig->now += PPSP_BAN_TIME;
    cr_expect(raw_call(b.raw), "but not for ever");
    end(&b);
}

Test(ppsp_integrity, a_chunk_that_is_cut_is_malformed) {
    struct bench b = viewer(100 * 1024);
    struct cv_wr d = raw_datagram(b.raw);
    raw_put_hashes(b.raw, &d, &b.full, 0, true);
    raw_put_data(b.raw, &d, &b.full, 0, 1000);
    d.p -= 24;
    cr_expect_eq(raw_send(b.raw, &d), CV_ERR_MALFORMED);
    cr_expect_eq(have(&b), 0);
    end(&b);
}

Test(ppsp_integrity, a_wrong_hash_among_right_ones_is_found_when_it_matters) {
    struct bench b = viewer(100 * 1024);
    struct cv_wr d = raw_datagram(b.raw);
    raw_put_hashes(b.raw, &d, &b.full, 0, true);
    d.p[-1] ^= 1; /* the sibling of chunk 0 */
    raw_put_data(b.raw, &d, &b.full, 0, 1000);
    cr_expect_eq(raw_send(b.raw, &d), CV_ERR_AUTH);
    cr_expect_eq(have(&b), 0);
    end(&b);
}

Test(ppsp_integrity, false_peaks_prove_nothing) {
    struct bench b = viewer(100 * 1024);
    b.full.tree[63 * 32] ^= 1; /* the peak above chunks 0..63 */
    cr_expect_eq(give(&b, 0, true, true, 0), CV_ERR_OK, "perhaps only lost: no proof of guilt");
    cr_expect_eq(have(&b), 0);
    struct ppsp_stats st;
    cr_assert_eq(ppsp_stats(b.rig->engine[0], b.rig->swarm[0], &st), CV_ERR_OK);
    cr_expect_eq(st.chunks, 0);
    end(&b);
}

Test(ppsp_integrity, nodes_that_do_not_exist_are_counted) {
    struct bench b = viewer(100 * 1024);
    cr_assert_eq(give(&b, 0, true, true, 0), CV_ERR_OK);
    uint64_t before = raw_counters(b.raw)->drop_integrity;
    static const char hash[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    static const char *const ranges[] = {
        "04 00000001 00000002", "04 00000000 00000002", "04 00000000 fffffffe",
        "04 ffffffff ffffffff", "04 00000000 ffffffff",
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        struct cv_wr d = raw_datagram(b.raw);
        size_t n = cv_test_unhex(ranges[i], d.p, cv_wr_room(&d));
        (void)cv_wr_skip(&d, n);
        n = cv_test_unhex(hash, d.p, cv_wr_room(&d));
        (void)cv_wr_skip(&d, n);
        cr_expect_eq(raw_send(b.raw, &d), CV_ERR_OK, "%s", ranges[i]);
    }
    cr_expect_eq(raw_counters(b.raw)->drop_integrity, before + 5);
    end(&b);
}

/* Known already: a different hash for it is a lie. */
Test(ppsp_integrity, contradicting_what_is_proven_drops_the_peer) {
    struct bench b = viewer(100 * 1024);
    cr_assert_eq(give(&b, 0, true, true, 0), CV_ERR_OK);
    b.full.tree[2 * 32] ^= 1;
    struct cv_wr d = raw_datagram(b.raw);
    raw_put_hashes(b.raw, &d, &b.full, 0, false);
    cr_expect_eq(raw_send(b.raw, &d), CV_ERR_AUTH);
    cr_expect_eq(raw_counters(b.raw)->drop_integrity_bad, 1);
    end(&b);
}

Test(ppsp_integrity, content_of_one_chunk_needs_no_hash) { /* section 8.16 */
    struct bench b = viewer(12);
    struct cv_wr d = raw_datagram(b.raw);
    raw_put_data(b.raw, &d, &b.full, 0, 0x0004e94180b7db44);
    cr_assert_eq(raw_send(b.raw, &d), CV_ERR_OK);
    rig_drain(b.rig, 0);
    cr_expect(rig_complete(b.rig, 0));
    cr_expect(rig_equal(b.rig, 0));
    end(&b);
}

Test(ppsp_integrity, R5_6_4_the_last_chunk_is_fetched_early_and_tells_the_size) {
    struct bench b = viewer(100 * 1024 - 7);
    cr_assert_eq(give(&b, 0, true, true, 0), CV_ERR_OK);
    raw_clear(b.raw);
    raw_listen(b.raw);
    struct raw_message m;
    cr_assert(raw_find(b.raw, PPSP_MSG_REQUEST, 0, &m));
    cr_expect(m.range.first == 99 && m.range.last == 99, "before all others");
    cr_assert_eq(give(&b, 99, false, true, 0), CV_ERR_OK);
    rig_drain(b.rig, 0);
    cr_assert_eq(rig_events(b.rig, 0, PPSP_EVENT_SIZE_KNOWN), 1);
    for (unsigned i = 0; i < b.rig->event_count[0]; i++)
        if (b.rig->events[0][i].type == PPSP_EVENT_SIZE_KNOWN)
            cr_expect_eq(b.rig->events[0][i].octets, 100 * 1024 - 7);
    end(&b);
}

/* ---- a trusted length ---- */

static struct bench with_length(uint64_t octets, uint64_t length) {
    struct bench b = {.rig = rig_new(1, octets, 1024, CV_SHA256)};
    uint8_t root[CV_SHA_MAX];
    b.rig->config.length = length;
    rig_add(b.rig, false);
    b.raw = raw_new(b.rig, 0);
    rig_store_init(&b.full, 1024, 32, octets);
    rig_store_fill(&b.full, CV_SHA256, b.rig->content, octets, root);
    cr_assert(raw_be_called(b.raw));
    struct cv_wr d = raw_datagram(b.raw);
    raw_put_range(b.raw, &d, PPSP_MSG_HAVE, 0, b.full.size.chunks - 1);
    cr_assert_eq(raw_send(b.raw, &d), CV_ERR_OK);
    raw_listen(b.raw);
    return b;
}

static enum cv_err size_event(const struct bench *b) {
    rig_drain(b->rig, 0);
    for (unsigned i = 0; i < b->rig->event_count[0]; i++)
        if (b->rig->events[0][i].type == PPSP_EVENT_SIZE_KNOWN)
            return b->rig->events[0][i].err;
    return CV_ERR_NOENT;
}

Test(ppsp_integrity, a_wrong_length_in_the_last_chunk_is_told) {
    struct bench b = with_length(20 * 1024 - 7, 20 * 1024 - 8);
    cr_assert_eq(give(&b, 19, true, true, 0), CV_ERR_OK);
    cr_expect_eq(size_event(&b), CV_ERR_DIFFERS);
    end(&b);
}

Test(ppsp_integrity, a_length_of_other_chunks_is_told_and_not_overruled) {
    struct bench b = with_length(20 * 1024, 40 * 1024);
    cr_expect_eq(give(&b, 0, true, true, 0), CV_ERR_OK);
    cr_expect_eq(size_event(&b), CV_ERR_DIFFERS);
    cr_expect_eq(have(&b), 0);
    end(&b);
}

/* Two leaf hashes in a row look like a chunk whose hash is their parent: a
 * smaller tree with the same root. A trusted length refuses it. */
Test(ppsp_integrity, an_inner_node_sold_as_a_chunk_is_refused) {
    struct bench b = with_length(2 * 1024, 2 * 1024);
    struct cv_wr d = raw_datagram(b.raw);
    struct ppsp_integrity_hash root = {.chunks = {0, 0}, .hash = b.rig->root};
    ppsp_integrity_write(&d, &chunk32, 32, &root);
    uint8_t both[64];
    memcpy(both, b.full.tree, 32);
    memcpy(both + 32, b.full.tree + 64, 32);
    struct ppsp_data data = {.chunk = 0, .content = both, .len = 64};
    ppsp_data_write(&d, &chunk32, &data);
    cr_expect_neq(raw_send(b.raw, &d), CV_ERR_OK);
    cr_expect_eq(have(&b), 0);
    end(&b);
}

/* ---- one test a rule -------------------------------------------------------------- */

/* One datagram alone is enough to verify its chunk. */
static void expect_standalone(uint64_t chunk) {
    static struct raw_message m[RAW_MESSAGES];
    static struct naive n;
    struct bench b = seeder(40 * 1024, false);
    struct cv_wr d = raw_datagram(b.raw);
    raw_put_range(b.raw, &d, PPSP_MSG_REQUEST, chunk, chunk);
    cr_assert_eq(raw_send(b.raw, &d), CV_ERR_OK);
    raw_clear(b.raw);
    raw_listen(b.raw);
    size_t count = raw_messages(b.raw, m);
    struct raw_message data;
    cr_assert(raw_find(b.raw, PPSP_MSG_DATA, 0, &data));
    memset(&n, 0, sizeof n);
    n.chunks = 40;
    for (size_t i = 0; i < count; i++)
        if (m[i].type == PPSP_MSG_INTEGRITY && m[i].datagram == data.datagram)
            naive_learn(&n, ppsp_bin_of_range(m[i].range.first, m[i].range.last), m[i].content);
    cr_expect(naive_take(&n, &data), "chunk %lu", (unsigned long)chunk);
    end(&b);
}

Test(ppsp_integrity, R5_3_2_the_first_chunks_need_no_other_datagram) {
    static const uint64_t chunks[] = {0, 1, 17, 31, 32, 39};
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++)
        expect_standalone(chunks[i]);
}

Test(ppsp_integrity, R5_3_3_hashes_travel_with_the_chunk) {
    struct bench b = seeder(7162, false);
    cr_assert_eq(raw_send_hex(b.raw, "08 00000000 00000000"), CV_ERR_OK);
    raw_clear(b.raw);
    raw_listen(b.raw);
    struct raw_message data, hash;
    cr_assert(raw_find(b.raw, PPSP_MSG_DATA, 0, &data));
    for (unsigned i = 0; i < 5; i++) {
        cr_assert(raw_find(b.raw, PPSP_MSG_INTEGRITY, i, &hash));
        cr_expect_eq(hash.datagram, data.datagram);
    }
    end(&b);
}

Test(ppsp_integrity, R5_3_7_hashes_for_chunks_to_come_are_remembered) {
    struct bench b = viewer(100 * 1024);
    cr_assert_eq(give(&b, 8, true, true, 0), CV_ERR_OK);
    cr_assert_eq(have(&b), 1);
    cr_assert_eq(give(&b, 9, false, false, 0), CV_ERR_OK);
    cr_expect_eq(have(&b), 2, "its hash came as chunk 8's uncle");
    struct cv_wr d = raw_datagram(b.raw);
    raw_put_hashes(b.raw, &d, &b.full, 14, false);
    cr_assert_eq(raw_send(b.raw, &d), CV_ERR_OK);
    raw_wait(b.raw, CV_MSEC(100));
    cr_assert_eq(give(&b, 14, false, false, 0), CV_ERR_OK);
    cr_expect_eq(have(&b), 3, "its hashes came long before");
    end(&b);
}

Test(ppsp_integrity, R5_4_5_data_is_the_chunk_and_its_name) {
    struct bench b = seeder(100 * 1024, false);
    cr_assert_eq(raw_send_hex(b.raw, "08 00000007 00000007"), CV_ERR_OK);
    raw_clear(b.raw);
    raw_listen(b.raw);
    struct raw_message m;
    cr_assert(raw_find(b.raw, PPSP_MSG_DATA, 0, &m));
    cr_expect(m.range.first == 7 && m.range.last == 7 && m.len == 1024);
    cr_expect_arr_eq(m.content, b.rig->content + 7 * 1024, 1024);
    cr_expect(!raw_find(b.raw, PPSP_MSG_DATA, 1, &m));
    end(&b);
}

/* ---- hostile peers ------------------------------------------------------------------ */

/* Right hashes in the wrong place: of another chunk's uncles, of another level.
 * None of them is believed, and none costs the honest rest. */
Test(ppsp_integrity, uncles_that_belong_elsewhere_prove_nothing) {
    struct bench b = viewer(100 * 1024);
    cr_assert_eq(give(&b, 0, true, true, 0), CV_ERR_OK);
    struct cv_wr d = raw_datagram(b.raw);
    for (uint64_t i = 20; i < 40; i++) {
        struct ppsp_integrity_hash node = {.chunks = {i, i},
                                           .hash = b.full.tree + 2 * (i ^ 3) * 32};
        ppsp_integrity_write(&d, &chunk32, 32, &node);
    }
    struct ppsp_integrity_hash pair = {.chunks = {20, 21}, .hash = b.full.tree + (4 * 30 + 1) * 32};
    ppsp_integrity_write(&d, &chunk32, 32, &pair);
    cr_expect_eq(raw_send(b.raw, &d), CV_ERR_OK, "cannot be refuted yet");
    cr_expect_eq(have(&b), 1);
    enum cv_err err = give(&b, 21, false, true, 0);
    cr_expect(err == CV_ERR_OK || err == CV_ERR_AUTH, "%s", cv_strerror(err));
    rig_drain(b.rig, 0);
    const uint8_t *hash = b.rig->store[0].tree + 2 * 20 * 32;
    static const uint8_t zeros[32];
    cr_expect(memcmp(hash, zeros, 32) == 0 || memcmp(hash, b.full.tree + 2 * 20 * 32, 32) == 0,
              "a wrong hash was stored");
    end(&b);
}

/* Every datagram twice, and in any order: nothing is stored twice, nobody is
 * accused. */
Test(ppsp_integrity, replayed_and_reordered_datagrams_do_no_harm) {
    struct bench b = viewer(100 * 1024);
    cr_assert_eq(give(&b, 0, true, true, 0), CV_ERR_OK);
    for (unsigned round = 0; round < 3; round++)
        for (uint64_t i = 0; i < 60; i++) {
            uint64_t chunk = i * 37 % 60;
            cr_assert_eq(give(&b, chunk, i % 7 == 0, true, 0), CV_ERR_OK, "chunk %lu",
                         (unsigned long)chunk);
            raw_wait(b.raw, CV_MSEC(1));
            raw_clear(b.raw);
        }
    cr_expect_geq(have(&b), 40);
    cr_expect_eq(raw_counters(b.raw)->peers_dropped_bad, 0);
    cr_expect_gt(raw_counters(b.raw)->drop_data_duplicate, 60);
    end(&b);
}

/* ---- hashes that got lost on a circuit ---- */

static bool lose_hashes_once(struct rig *r, unsigned from, unsigned to, uint8_t *data, size_t len) {
    bool *lost = r->tap_ctx;
    (void)to;
    if (from != 0 || *lost || len < 5 || data[4] != PPSP_MSG_INTEGRITY || len >= 1040)
        return true;
    *lost = true;
    return false;
}

/* The hashes of a group travel ahead of it in a cell of their own: without them its
 * chunks say nothing, and are asked for again when that is seen, not after a timeout. */
Test(ppsp_integrity, a_group_whose_hashes_got_lost_is_asked_for_again_at_once) {
    struct rig *r = rig_new(1, 16 * 1024, 1024, CV_SHA256);
    bool lost = false;
    r->circuits = true;
    r->tap = lose_hashes_once;
    r->tap_ctx = &lost;
    rig_add(r, true);
    rig_add(r, false);
    rig_connect(r, 1, 0, true);
    rig_connect(r, 0, 1, false);
    cr_expect(rig_run_complete(r, 1, CV_MSEC(300)));
    cr_expect(lost);
    cr_expect_gt(ppsp_counters(r->engine[1])->drop_data_unverifiable, 0);
    rig_free(r);
}
