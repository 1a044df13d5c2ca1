/*
 * The ledger's dear steps, in this process: signatures, import, the file, flows,
 * the ranking, the gate. Sizes follow --records: so many half-blocks in the
 * file, so many rows in the graph of flows and ranking; what is called _1e6 is
 * scaled to a million half-blocks.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "crypto/rng_seeded.h"
#include "culvert-bench/bench.h"
#include "culvert-ledger/signatures.h"
#include "reputation/chain.h"
#include "reputation/flow.h"
#include "reputation/ledger.h"
#include "reputation/rank_ppr.h"
#include "reputation/rank_walk.h"
#include "reputation/store_memory.h"
#include "reputation/store_sqlite.h"

enum {
    PARTNERS = 10,     /* of an owner, in the file */
    RELEASES = 100,    /* half-blocks of an owner */
    ROWS_A_RELAY = 10, /* in the graph */
    IMPORT_COMMIT = 100000,
    BATCH = 16384, /* signatures verified while the batch before is taken in */
    LINKS = 10000, /* clients at the gate */
    WALL = 1800000000,
    FLOW_HOPS = 6,
    TRIES = 21, /* of which the median is given */
};

static const uint8_t network[REP_NETWORK_ID] = "bench";
static const uint8_t hash_key[16] = "bench";
static struct cv_rng_seeded dice;
static struct cv_rng rng;

static void must(enum cv_err err, const char *what) {
    if (err)
        bench_die("%s: %s", what, cv_strerror(err));
}

static void *room(size_t n, size_t size) {
    void *p = calloc(n + 1, size);
    if (!p)
        bench_die("out of memory; give fewer --records");
    return p;
}

/* Of all threads of this process: a busy machine changes it little. */
static double cpu_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- half-blocks ---- */

struct owner {
    struct cv_ed25519_secret secret;
    struct rep_record last;
    uint64_t claim[PARTNERS];
};

struct world {
    struct owner *owner;
    uint32_t owners;
    struct rep_record *r; /* proposal and agreement in turn */
    uint32_t n;
};

static void fill(uint8_t *out, size_t len, uint64_t seed) {
    struct cv_rng_seeded s;
    cv_rng_seeded_init(&s, seed);
    struct cv_rng one = cv_rng_seeded(&s);
    cv_rng_fill(&one, out, len);
}

/* Owner a and one of its partners release; both half-blocks, signed. */
static void release(struct world *w, uint32_t i) {
    uint32_t a = (uint32_t)cv_rng_below(&rng, w->owners),
             k = (uint32_t)cv_rng_below(&rng, PARTNERS);
    uint32_t b = (a + 1 + k * 7) % w->owners;
    struct owner *x = &w->owner[a], *y = &w->owner[b];
    struct rep_record p = {.version = REP_RECORD_VERSION, .type = REP_PROPOSAL};
    memcpy(p.peer, y->secret.public_key, CV_KEY);
    p.seq = x->last.seq + 1;
    memcpy(p.prev, x->last.hash, REP_HASH);
    p.given = p.taken = x->claim[k] += UINT64_C(1) << 27;
    p.epoch = i / (w->owners * PARTNERS);
    rep_record_sign(&p, &x->secret, network);
    x->last = p;
    struct rep_record g = p;
    g.type = REP_AGREEMENT;
    memcpy(g.peer, x->secret.public_key, CV_KEY);
    g.seq = y->last.seq + 1;
    memcpy(g.prev, y->last.hash, REP_HASH);
    g.peer_seq = p.seq;
    memcpy(g.peer_hash, p.hash, REP_HASH);
    rep_record_sign(&g, &y->secret, network);
    y->last = g;
    w->r[i] = p;
    w->r[i + 1] = g;
}

static double sign_all(struct world *w, uint32_t n) {
    w->n = n - n % 2;
    w->owners = n / RELEASES < 100 ? 100 : n / RELEASES;
    w->owner = room(w->owners, sizeof *w->owner);
    w->r = room(n, sizeof *w->r);
    for (uint32_t i = 0; i < w->owners; i++) {
        uint8_t seed[CV_KEY];
        fill(seed, sizeof seed, i + 1);
        cv_ed25519_from_seed(&w->owner[i].secret, seed);
    }
    double from = bench_now();
    for (uint32_t i = 0; i < w->n; i += 2)
        release(w, i);
    return w->n / (bench_now() - from);
}

static double verify_rate(const struct world *w) {
    uint32_t n = w->n < 5000 ? w->n : 5000;
    double from = bench_now();
    for (uint32_t i = 0; i < n; i++)
        if (!rep_record_verify(&w->r[i], network))
            bench_die("a record that was signed does not verify");
    return n / (bench_now() - from);
}

/* ---- the file ---- */

static const char *db_path(void) {
    static char path[4200];
    if (!path[0])
        snprintf(path, sizeof path, "%sbench-ledger-%d.db", spawn_folder(), (int)getpid());
    return path;
}

static void remove_db(void) {
    static const char *const ends[] = {"", "-wal", "-shm"};
    char path[4300];
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        snprintf(path, sizeof path, "%s%s", db_path(), ends[i]);
        unlink(path);
    }
}

static struct rep_store_sqlite *open_db(const struct world *w) {
    struct rep_store_sqlite *s;
    char why[256] = "";
    if (rep_store_sqlite_open(db_path(), network, w->owner[0].secret.public_key, REP_SQLITE_FULL,
                              &s, why, sizeof why))
        bench_die("%s", why);
    return s;
}

static void add(const struct rep_store *s, const struct rep_record *r, bool verified) {
    struct rep_chain_result result;
    must(rep_chain_add(s, network, r, verified, WALL, &result), "import");
}

/* Everything by one thread, signatures too; seconds for n of them. */
static double import_single(const struct world *w, uint32_t n) {
    struct rep_store_sqlite *file = open_db(w);
    const struct rep_store *s = rep_store_sqlite_ops(file);
    rep_store_sqlite_bulk(file);
    double from = bench_now();
    must(s->begin(s->ctx, WALL), "begin");
    for (uint32_t i = 0; i < n; i++)
        add(s, &w->r[i], false);
    must(s->commit(s->ctx), "commit");
    double took = bench_now() - from;
    rep_store_sqlite_close(file);
    remove_db();
    return took;
}

/* Signatures by the pool, a batch ahead; rows by this thread. */
static double import_pool(const struct world *w, const struct rep_store *s, uint32_t n) {
    struct signatures job[2];
    bool *good[2] = {room(BATCH, 1), room(BATCH, 1)};
    double from = bench_now();
    must(s->begin(s->ctx, WALL), "begin");
    signatures_start(&job[0], w->r, n < BATCH ? n : BATCH, network, good[0]);
    for (uint32_t at = 0, k = 0; at < n; at += BATCH, k = !k) {
        signatures_finish(&job[k]);
        uint32_t next = at + BATCH;
        if (next < n)
            signatures_start(&job[!k], w->r + next, n - next < BATCH ? n - next : BATCH, network,
                             good[!k]);
        for (size_t i = 0; i < job[k].n; i++) {
            if (!good[k][i])
                bench_die("a record that was signed does not verify");
            add(s, &w->r[at + i], true);
            if ((at + i + 1) % IMPORT_COMMIT == 0) {
                must(s->commit(s->ctx), "commit");
                must(s->begin(s->ctx, WALL), "begin");
            }
        }
    }
    must(s->commit(s->ctx), "commit");
    double took = bench_now() - from;
    free(good[0]);
    free(good[1]);
    return took;
}

/* Signed one after the other and on disk within 100 ms, as a busy relay would. */
static double durable_rate(struct world *w, const struct rep_store *s, uint32_t n) {
    struct owner *x = &w->owner[0];
    double from = bench_now(), began = from;
    must(s->begin(s->ctx, WALL), "begin");
    for (uint32_t i = 0, open = 0; i < n; i++) {
        struct rep_record p;
        must(rep_chain_next(s, x->secret.public_key,
                            w->owner[1 + i % (w->owners - 1)].secret.public_key, &p),
             "next");
        p.type = REP_PROPOSAL;
        p.given += UINT64_C(1) << 27;
        p.epoch = 1000;
        rep_record_sign(&p, &x->secret, network);
        add(s, &p, true);
        if (++open == REP_COMMIT_RECORDS || bench_now() - began >= 0.1 || i + 1 == n) {
            must(s->commit(s->ctx), "commit");
            if (i + 1 < n)
                must(s->begin(s->ctx, WALL), "begin");
            began = bench_now();
            open = 0;
        }
    }
    return n / (bench_now() - from);
}

/* Out of the page cache, as far as the kernel does what it is told. */
static void make_cold(void) {
    int fd = open(db_path(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
        bench_die("%s: cannot be made cold", db_path());
    close(fd);
}

/* Open, load every row, rank all relays; *ret_open is the first of these. */
static double cold_rank(const struct world *w, double *ret_open) {
    struct rep_edge *edges = NULL;
    size_t n = 0;
    uint32_t ego;
    struct rep_walk_config cfg = {
        .walks = REP_WALKS, .alpha_permille = REP_ALPHA_PERMILLE, .seed = 1};
    make_cold();
    double from = bench_now();
    struct rep_store_sqlite *file = open_db(w);
    *ret_open = bench_now() - from;
    const struct rep_store *s = rep_store_sqlite_ops(file);
    struct rep_graph *g = rep_graph_new(REP_GRAPH_NODES, hash_key);
    struct rep_walks *walks = rep_walks_new(&cfg);
    if (!g || !walks)
        bench_die("out of memory");
    must(s->edge_load(s->ctx, &edges, &n), "load");
    must(rep_graph_load(g, edges, n), "graph");
    must(rep_graph_node(g, w->owner[0].secret.public_key, &ego), "graph");
    must(rep_walks_update(walks, g, ego), "walk");
    double took = bench_now() - from;
    rep_walks_free(walks);
    rep_graph_free(g);
    free(edges);
    rep_store_sqlite_close(file);
    return took;
}

static void bench_file(json_t *o, uint32_t records) {
    struct world w;
    struct stat st;
    double million = 1e6 / records, open_s;
    uint32_t sample = records / 10 < 20 ? 20 : records / 10;
    json_object_set_new(o, "signed_per_s", json_real(sign_all(&w, records)));
    json_object_set_new(o, "verified_per_s", json_real(verify_rate(&w)));
    remove_db();
    json_object_set_new(o, "import_single_s_1e6",
                        json_real(import_single(&w, sample) * 1e6 / sample));
    struct rep_store_sqlite *file = open_db(&w);
    rep_store_sqlite_bulk(file); /* as culvert-ledger import does */
    double cpu = cpu_now();
    json_object_set_new(o, "import_s_1e6",
                        json_real(import_pool(&w, rep_store_sqlite_ops(file), w.n) * million));
    rep_store_sqlite_close(file);
    json_object_set_new(o, "import_cpu_s_1e6", json_real((cpu_now() - cpu) * million));
    if (stat(db_path(), &st))
        bench_die("%s: is gone", db_path());
    json_object_set_new(o, "octets_per_record", json_real((double)st.st_size / w.n));
    cpu = cpu_now();
    json_object_set_new(o, "cold_rank_s_1e6", json_real(cold_rank(&w, &open_s) * million));
    json_object_set_new(o, "cold_rank_cpu_s_1e6", json_real((cpu_now() - cpu) * million));
    json_object_set_new(o, "cold_open_s_1e6", json_real(open_s * million));
    file = open_db(&w);
    json_object_set_new(o, "durable_records_per_s",
                        json_real(durable_rate(&w, rep_store_sqlite_ops(file), sample)));
    rep_store_sqlite_close(file);
    remove_db();
    free(w.owner);
    free(w.r);
}

/* ---- the graph ---- */

/* Some relays have many rows, most have few. */
static struct rep_edge random_edge(uint32_t relays) {
    struct rep_edge e = {.epoch = 1};
    uint32_t a = (uint32_t)cv_rng_below(&rng, relays);
    uint32_t b = (uint32_t)cv_rng_below(&rng, 1 + cv_rng_below(&rng, relays));
    b = a == b ? (b + 1) % relays : b;
    memcpy(e.giver, &a, sizeof a);
    memcpy(e.taker, &b, sizeof b);
    e.octets = e.recent = (1 << 20) + cv_rng_below(&rng, UINT64_C(1) << 40);
    return e;
}

static void flows(json_t *o, struct rep_graph *g) {
    double took[TRIES];
    uint64_t octets;
    struct rep_flow *f = rep_flow_new(g);
    if (!f)
        bench_die("out of memory");
    for (unsigned hops = FLOW_HOPS;; hops = REP_FLOW_UNLIMITED) {
        for (unsigned i = 0; i < TRIES; i++) {
            uint32_t n = rep_graph_count(g), a = (uint32_t)cv_rng_below(&rng, n - 1) + 1;
            double from = bench_now();
            must(rep_flow_max(f, a, 0, hops, NULL, &octets), "flow");
            took[i] = bench_now() - from;
        }
        if (hops == REP_FLOW_UNLIMITED)
            break;
        json_object_set_new(o, "flow_ms", json_real(bench_median(took, TRIES) * 1e3));
        json_object_set_new(o, "flow_ms_max", json_real(took[TRIES - 1] * 1e3));
    }
    json_object_set_new(o, "maxflow_s", json_real(bench_median(took, TRIES)));
    json_object_set_new(o, "maxflow_s_max", json_real(took[TRIES - 1]));
    rep_flow_free(f);
}

static void bench_graph(json_t *o, uint32_t rows) {
    uint32_t relays = rows / ROWS_A_RELAY < 50 ? 50 : rows / ROWS_A_RELAY;
    struct rep_walk_config cfg = {
        .walks = REP_WALKS, .alpha_permille = REP_ALPHA_PERMILLE, .seed = 1};
    struct rep_graph *g = rep_graph_new(relays, hash_key);
    struct rep_walks *w = rep_walks_new(&cfg);
    double took[TRIES], *shares;
    if (!g || !w)
        bench_die("out of memory");
    for (uint32_t i = 0; i < rows; i++) {
        struct rep_edge e = random_edge(relays);
        must(rep_graph_set(g, &e), "graph");
    }
    rep_graph_epoch(g, 2);
    double from = bench_now();
    must(rep_walks_update(w, g, 0), "walk");
    json_object_set_new(o, "walk_ms", json_real((bench_now() - from) * 1e3));
    for (unsigned i = 0; i < TRIES; i++) {
        struct rep_edge e = random_edge(relays);
        from = bench_now();
        must(rep_graph_set(g, &e), "graph");
        must(rep_walks_update(w, g, 0), "walk");
        took[i] = bench_now() - from;
    }
    json_object_set_new(o, "rerank_ms", json_real(bench_median(took, TRIES) * 1e3));
    json_object_set_new(o, "rerank_ms_max", json_real(took[TRIES - 1] * 1e3));
    rep_walks_free(w);
    shares = room(rep_graph_count(g), sizeof *shares);
    from = bench_now();
    must(rep_rank_ppr(g, 0, REP_BOTH, 0.85, 1e-9, shares), "ppr");
    json_object_set_new(o, "ppr_ms", json_real((bench_now() - from) * 1e3));
    free(shares);
    flows(o, g);
    rep_graph_free(g);
}

/* ---- the gate ---- */

static void bench_gate(json_t *o) {
    struct rep_store_memory *memory = rep_store_memory_new();
    struct cv_now now = {.mono = 1, .wall = WALL};
    struct rep_config cfg;
    struct rep_ledger *l;
    unsigned sum = 0, asked = 1000000;
    rep_config_init(&cfg);
    fill(cfg.identity_secret.seed, CV_KEY, 1);
    cv_ed25519_from_seed(&cfg.identity_secret, cfg.identity_secret.seed);
    memcpy(cfg.network_id, network, sizeof network);
    if (!memory)
        bench_die("out of memory");
    must(rep_ledger_new(&cfg, rep_store_memory_ops(memory), &rng, now, &l), "ledger");
    for (unsigned i = 0; i < LINKS; i++) {
        uint8_t client[CV_KEY];
        struct cv_addr addr = {
            .ip = {10, (uint8_t)(i >> 8), (uint8_t)i, 1}, .port = 1, .family = 4};
        fill(client, sizeof client, i + 1);
        must(rep_ledger_link_up(l, now, i + 1, REP_ROLE_CLIENT, client, &addr), "link");
    }
    double from = bench_now();
    for (unsigned i = 0; i < asked; i++)
        sum += rep_ledger_class(l, 1 + (i * 7919u) % LINKS);
    json_object_set_new(o, "gate_us", json_real((bench_now() - from) / asked * 1e6));
    if (sum != asked * REP_CLASS_NEW)
        bench_die("not everybody is new");
    rep_ledger_free(l);
    rep_store_memory_free(memory);
}

json_t *bench_ledger(const struct bench_options *opt) {
    json_t *o = json_object();
    if (opt->records < 200 || opt->records > 10000000)
        bench_die("--records: give a number from 200 to 10000000");
    cv_rng_seeded_init(&dice, 1);
    rng = cv_rng_seeded(&dice);
    bench_file(o, opt->records);
    bench_graph(o, opt->records);
    bench_gate(o);
    json_object_set_new(o, "records", json_integer(opt->records));
    json_object_set_new(o, "rows", json_integer(opt->records));
    json_object_set_new(o, "hops", json_integer(FLOW_HOPS));
    json_object_set_new(o, "walks", json_integer(REP_WALKS));
    json_object_set_new(o, "links", json_integer(LINKS));
    return o;
}
