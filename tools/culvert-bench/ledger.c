/* The ledger's dear steps, in this process: signatures, the file, the ranking. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/rng_seeded.h"
#include "culvert-bench/bench.h"
#include "reputation/graph.h"
#include "reputation/rank_ppr.h"
#include "reputation/rank_walk.h"
#include "reputation/record.h"
#include "reputation/store_sqlite.h"

enum {
    PEERS = 1000,    /* relays that the file tells of */
    RELAYS = 10000,  /* of the graph that is ranked */
    NEIGHBOURS = 10, /* that each of them gave something */
    WALL = 1800000000,
};

static const uint8_t network[REP_NETWORK_ID] = "bench";

static void fill(uint8_t *out, size_t len, uint64_t seed) {
    struct cv_rng_seeded s;
    cv_rng_seeded_init(&s, seed);
    struct cv_rng rng = cv_rng_seeded(&s);
    cv_rng_fill(&rng, out, len);
}

static void must(enum cv_err err, const char *what) {
    if (err)
        bench_die("%s: %s", what, cv_strerror(err));
}

/* One chain of proposals to many peers. Returns signatures a second. */
static double sign(struct rep_record *v, unsigned n, struct cv_ed25519_secret *me) {
    uint8_t seed[CV_KEY];
    fill(seed, sizeof seed, 1);
    cv_ed25519_from_seed(me, seed);
    for (unsigned i = 0; i < n; i++) {
        v[i] = (struct rep_record){.seq = i + 1,
                                   .given = 1 << 20,
                                   .taken = 1 << 20,
                                   .epoch = 1,
                                   .type = REP_PROPOSAL,
                                   .version = REP_RECORD_VERSION};
        fill(v[i].peer, sizeof v[i].peer, 2 + i % PEERS);
    }
    double from = bench_now();
    for (unsigned i = 0; i < n; i++) {
        if (i)
            memcpy(v[i].prev, v[i - 1].hash, REP_HASH);
        rep_record_sign(&v[i], me, network);
    }
    return n / (bench_now() - from);
}

static double verify(const struct rep_record *v, unsigned n) {
    double from = bench_now();
    for (unsigned i = 0; i < n; i++)
        if (!rep_record_verify(&v[i], network))
            bench_die("a record that was signed does not verify");
    return n / (bench_now() - from);
}

/* Puts v[0..n), `group` of them a commit; half-blocks a second, all on disk. */
static double put(const struct rep_store *store, const struct rep_record *v, unsigned n,
                  unsigned group) {
    double from = bench_now();
    for (unsigned i = 0; i < n; i++) {
        if (i % group == 0)
            must(store->begin(store->ctx, WALL), "begin");
        must(store->block_put(store->ctx, &v[i]), "block");
        if (i % group == group - 1 || i == n - 1)
            must(store->commit(store->ctx), "commit");
    }
    return n / (bench_now() - from);
}

/* A file beside the programs: memory would make its fsync a promise of nothing. */
static void store_rates(const struct rep_record *v, unsigned n, const struct cv_ed25519_secret *me,
                        double *ret_grouped, double *ret_single) {
    char path[4200], more[4300], why[256] = "";
    snprintf(path, sizeof path, "%sbench-ledger-%d.db", spawn_folder(), (int)getpid());
    struct rep_store_sqlite *s;
    if (rep_store_sqlite_open(path, network, me->public_key, REP_SQLITE_FULL, &s, why, sizeof why))
        bench_die("%s", why);
    unsigned single = n / 20;
    *ret_grouped = put(rep_store_sqlite_ops(s), v, n - single, REP_COMMIT_RECORDS);
    *ret_single = put(rep_store_sqlite_ops(s), v + n - single, single, 1);
    rep_store_sqlite_close(s);
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        snprintf(more, sizeof more, "%s%s", path, ends[i]);
        unlink(more);
    }
}

static struct rep_graph *make_graph(void) {
    static const uint8_t hash_key[16];
    struct rep_edge *e = calloc((size_t)RELAYS * NEIGHBOURS, sizeof *e);
    struct rep_graph *g = rep_graph_new(RELAYS, hash_key);
    if (!e || !g)
        bench_die("out of memory");
    struct cv_rng_seeded s;
    cv_rng_seeded_init(&s, 1);
    struct cv_rng rng = cv_rng_seeded(&s);
    for (uint32_t i = 0; i < RELAYS * NEIGHBOURS; i++) {
        uint32_t giver = i / NEIGHBOURS, taker = (uint32_t)cv_rng_below(&rng, RELAYS - 1);
        taker += taker >= giver;
        fill(e[i].giver, CV_KEY, giver);
        fill(e[i].taker, CV_KEY, taker);
        e[i].octets = e[i].recent = (1 << 20) + cv_rng_below(&rng, 1 << 30);
        e[i].epoch = 1;
    }
    must(rep_graph_load(g, e, (size_t)RELAYS * NEIGHBOURS), "graph");
    rep_graph_epoch(g, 2);
    free(e);
    return g;
}

static void rank(double *ret_walk_ms, double *ret_ppr_ms) {
    struct rep_graph *g = make_graph();
    uint32_t n = rep_graph_count(g);
    uint32_t *hits = calloc(n, sizeof *hits);
    double *shares = calloc(n, sizeof *shares);
    if (!hits || !shares)
        bench_die("out of memory");
    struct rep_walk_config cfg = {.walks = REP_WALKS, .alpha_permille = 850, .seed = 1};
    double from = bench_now();
    must(rep_rank_walk(g, 0, &cfg, hits), "walks");
    *ret_walk_ms = (bench_now() - from) * 1e3;
    from = bench_now();
    must(rep_rank_ppr(g, 0, REP_BOTH, 0.85, 1e-9, shares), "ppr");
    *ret_ppr_ms = (bench_now() - from) * 1e3;
    free(hits);
    free(shares);
    rep_graph_free(g);
}

json_t *bench_ledger(const struct bench_options *o) {
    struct rep_record *v = calloc(o->records, sizeof *v);
    struct cv_ed25519_secret me;
    double grouped, single, walk_ms, ppr_ms;
    if (!v || o->records < 20)
        bench_die("--records: at least 20, and no more than memory holds");
    double signed_s = sign(v, o->records, &me);
    double verified_s = verify(v, o->records);
    store_rates(v, o->records, &me, &grouped, &single);
    rank(&walk_ms, &ppr_ms);
    free(v);
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:i, s:i, s:i, s:i, s:i}", "signed_per_s",
                     signed_s, "verified_per_s", verified_s, "stored_per_s", grouped,
                     "stored_singly_per_s", single, "walk_ms", walk_ms, "ppr_ms", ppr_ms, "records",
                     (int)o->records, "records_a_commit", (int)REP_COMMIT_RECORDS, "relays_ranked",
                     (int)RELAYS, "edges", (int)RELAYS * NEIGHBOURS, "walks", (int)REP_WALKS);
}
