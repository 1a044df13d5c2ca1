/*
 * What the ledger costs on this machine, as one JSON object: signing and
 * verifying, import into an SQLite file, durable group commits, ranking.
 * Usage: bench_ledger FILE [RECORDS [EDGES [cpu]]]; FILE is made and removed.
 * `cpu`: processor time instead of real time, on a machine that is shared.
 * Needs a build without sanitizers to mean anything.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "reputation/chain.h"
#include "reputation/gate.h"
#include "reputation/rank_ppr.h"
#include "reputation/rank_walk.h"
#include "reputation/store_sqlite.h"

enum { OWNERS = 1000, NODES = 100000, COMMIT = 1000 };

static const uint8_t network[REP_NETWORK_ID] = "testnet1";
static struct cv_ed25519_secret people[OWNERS];
static struct rep_record last[OWNERS];
static struct cv_rng_seeded dice;
static struct cv_rng rng;

static clockid_t watch = CLOCK_MONOTONIC;

static double seconds(void) {
    struct timespec t;
    clock_gettime(watch, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(enum cv_err err, const char *what) {
    if (err) {
        fprintf(stderr, "bench_ledger: %s: %s\n", what, cv_strerror(err));
        exit(1);
    }
}

/* Claims within a pair, so that none ever falls. */
static uint64_t claims[OWNERS][8];

/* n half-blocks, proposal and agreement in turn, signed: n / 2 agreed rows. */
static void write_records(struct rep_record *out, unsigned n) {
    for (unsigned i = 0; i + 1 < n; i += 2) {
        unsigned a = (unsigned)cv_rng_below(&rng, OWNERS), k = (unsigned)cv_rng_below(&rng, 8);
        unsigned b = (a + 1 + k * 37) % OWNERS;
        struct rep_record p, g;
        memset(&p, 0, sizeof p);
        p.version = REP_RECORD_VERSION;
        p.type = REP_PROPOSAL;
        memcpy(p.peer, people[b].public_key, CV_KEY);
        p.seq = last[a].seq + 1;
        memcpy(p.prev, last[a].hash, REP_HASH);
        p.given = p.taken = claims[a][k] += UINT64_C(1) << 27;
        p.epoch = i / 1000;
        rep_record_sign(&p, &people[a], network);
        last[a] = p;
        g = p;
        g.type = REP_AGREEMENT;
        memcpy(g.peer, people[a].public_key, CV_KEY);
        g.seq = last[b].seq + 1;
        memcpy(g.prev, last[b].hash, REP_HASH);
        g.peer_seq = p.seq;
        memcpy(g.peer_hash, p.hash, REP_HASH);
        rep_record_sign(&g, &people[b], network);
        last[b] = g;
        out[i] = p;
        out[i + 1] = g;
    }
}

static struct rep_store_sqlite *open_file(const char *path, enum rep_sqlite_sync sync) {
    struct rep_store_sqlite *s;
    char why[256];
    if (rep_store_sqlite_open(path, network, people[0].public_key, sync, &s, why, sizeof why)) {
        fprintf(stderr, "bench_ledger: %s\n", why);
        exit(1);
    }
    return s;
}

/* Half-blocks a second through all rules into the file, `per` a commit. */
static double import(const struct rep_store *s, const struct rep_record *r, unsigned n,
                     unsigned per, bool verified) {
    double from = seconds();
    for (unsigned i = 0; i < n; i++) {
        struct rep_chain_result res;
        if (i % per == 0)
            must(s->begin(s->ctx, 1700000000), "begin");
        must(rep_chain_add(s, network, &r[i], verified, 0, &res), "add");
        if (i % per == per - 1 || i + 1 == n)
            must(s->commit(s->ctx), "commit");
    }
    return n / (seconds() - from);
}

static void bench_records(const char *path, unsigned n) {
    struct rep_record *r = calloc(n, sizeof *r);
    struct stat st;
    if (!r)
        exit(1);
    double from = seconds();
    write_records(r, n);
    printf("  \"sign_per_s\": %.0f,\n", n / (seconds() - from));
    unsigned bad = 0, checked = n < 20000 ? n : 20000;
    from = seconds();
    for (unsigned i = 0; i < checked; i++)
        bad += !rep_record_verify(&r[i], network);
    printf("  \"verify_per_s\": %.0f,\n", checked / (seconds() - from));
    if (bad)
        exit(1);

    unlink(path);
    struct rep_store_sqlite *s = open_file(path, REP_SQLITE_FULL);
    unsigned durable = n / 10;
    printf("  \"import_verified_per_s\": %.0f,\n",
           import(rep_store_sqlite_ops(s), r, durable, 10000, false));
    printf("  \"durable_commits_of_%d_per_s\": %.0f,\n", COMMIT,
           import(rep_store_sqlite_ops(s), r + durable, durable, COMMIT, true));
    printf("  \"durable_commits_of_10_per_s\": %.0f,\n",
           import(rep_store_sqlite_ops(s), r + 2 * durable, durable / 10, 10, true));
    unsigned done = 2 * durable + durable / 10;
    printf("  \"import_preverified_per_s\": %.0f,\n",
           import(rep_store_sqlite_ops(s), r + done, n - done, 10000, true));
    rep_store_sqlite_close(s);
    if (stat(path, &st) == 0)
        printf("  \"octets_per_record\": %.0f,\n", (double)st.st_size / n);

    struct rep_edge *edges;
    size_t count;
    from = seconds();
    s = open_file(path, REP_SQLITE_FULL);
    printf("  \"open_ms\": %.1f,\n", 1000 * (seconds() - from));
    from = seconds();
    must(rep_store_sqlite_ops(s)->edge_load(rep_store_sqlite_ops(s)->ctx, &edges, &count), "load");
    printf("  \"load_%zu_edges_ms\": %.1f,\n", count, 1000 * (seconds() - from));
    free(edges);
    rep_store_sqlite_close(s);
    unlink(path);
    free(r);
}

static void bench_graph(unsigned edges) {
    static const uint8_t hash_key[16] = {1};
    struct rep_edge *e = calloc(edges, sizeof *e);
    struct rep_graph *g = rep_graph_new(NODES + 1, hash_key);
    if (!e || !g)
        exit(1);
    for (unsigned i = 0; i < edges; i++) {
        uint32_t a = (uint32_t)cv_rng_below(&rng, NODES);
        uint32_t b = (uint32_t)cv_rng_below(&rng, 1 + cv_rng_below(&rng, NODES));
        memcpy(e[i].giver, &a, sizeof a);
        memcpy(e[i].taker, &b, sizeof b);
        e[i].octets = e[i].recent = 1 + cv_rng_below(&rng, UINT64_C(1) << 40);
    }
    double from = seconds();
    must(rep_graph_load(g, e, edges), "graph");
    printf("  \"graph_of_%u_edges_ms\": %.1f,\n", edges, 1000 * (seconds() - from));

    uint32_t n = rep_graph_count(g), *hits = calloc(n, sizeof *hits);
    double *value = calloc(n, sizeof *value);
    struct rep_walk_config cfg = {.walks = REP_WALKS, .alpha_permille = 850, .seed = 1};
    if (!hits || !value)
        exit(1);
    from = seconds();
    must(rep_rank_walk(g, 0, &cfg, hits), "walk");
    printf("  \"walk_first_ms\": %.2f,\n", 1000 * (seconds() - from));
    from = seconds();
    must(rep_rank_walk(g, 0, &cfg, hits), "walk");
    printf("  \"walk_again_ms\": %.2f,\n", 1000 * (seconds() - from));
    from = seconds();
    e[0].recent++;
    must(rep_graph_set(g, &e[0]), "set");
    must(rep_rank_walk(g, 0, &cfg, hits), "walk");
    printf("  \"rerank_ms\": %.2f,\n", 1000 * (seconds() - from));
    from = seconds();
    must(rep_rank_ppr(g, 0, REP_BOTH, 0.85, 1e-9, value), "ppr");
    printf("  \"ppr_ms\": %.1f,\n", 1000 * (seconds() - from));
    free(e);
    free(hits);
    free(value);
    rep_graph_free(g);
}

static void bench_gate(void) {
    struct rep_account a = {.given = 5 << 20, .taken = 90 << 20};
    unsigned sum = 0;
    double from = seconds();
    for (unsigned i = 0; i < 10000000; i++) {
        a.given += i & 1023;
        sum += rep_gate_judge(&rep_gate_defaults, &a, 1, 1700000000 + i / 1000);
    }
    printf("  \"gate_ns\": %.1f, \"gate_sum\": %u\n", 100 * (seconds() - from), sum);
}

int main(int argc, char **argv) {
    if (argc < 2)
        return 2;
    unsigned records = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 100000;
    unsigned edges = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 1000000;
    cv_crypto_init();
    cv_rng_seeded_init(&dice, 1);
    rng = cv_rng_seeded(&dice);
    for (unsigned i = 0; i < OWNERS; i++) {
        uint8_t seed[CV_KEY];
        cv_rng_fill(&rng, seed, sizeof seed);
        cv_ed25519_from_seed(&people[i], seed);
    }
    if (argc > 4)
        watch = CLOCK_PROCESS_CPUTIME_ID;
    printf("{\n  \"records\": %u,\n  \"clock\": \"%s\",\n", records, argc > 4 ? "cpu" : "real");
    bench_records(argv[1], records);
    bench_graph(edges);
    bench_gate();
    printf("}\n");
    return 0;
}
