/*
 * One relay of one engine and one of two, each engine in a thread of its own when it is
 * measured; real cryptography, virtual time, no sockets. Clients and the relays behind are
 * engines, too: they make all cells of a round beforehand, as many for each worker, each
 * for a circuit of that worker drawn anew, and take nothing back. From the first datagram
 * in to the last one out is a round's time.
 */
#include "culvert-bench/relay_workers.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "culvert-bench/bench.h"
#include "tunnel/engine.h"
#include "tunnel/relaycmd.h"
#include "tunnel/worker.h"

enum {
    WORKERS = 2, /* at most */
    CLIENTS = 16,
    NEXTS = 8,
    PARTIES = CLIENTS + NEXTS,
    CIRCUITS = 320,
    BURST = 16,    /* cells of one circuit together */
    CELLS = 20480, /* of a round, each way */
    STEP = 256,    /* datagrams between two looks at what is to be sent */
    ROUNDS_MAX = 64,
};

static const uint8_t network[TUN_NETWORK_ID] = "benchwrk";

struct party {
    struct tunnel *t;
    struct cv_addr addr;
    struct cv_ed25519_secret identity_secret;
    struct cv_rng_seeded dice;
    struct cv_rng rng;
};

struct ends {
    struct party *client, *next;
    cv_handle circuit, hop;
};

/* What a worker gets in a round, and what that took. */
struct load {
    struct tunnel *t;
    struct cv_now now;
    unsigned count;
    struct cv_addr *from;
    uint8_t (*datagram)[TUN_DATAGRAM];
    pthread_barrier_t *start;
    struct timespec began, ended;
    double cpu_s;
};

struct relay {
    unsigned workers;
    struct party worker[WORKERS]; /* of one identity and address */
    struct party party[PARTIES];  /* clients, then relays behind */
    struct tun_relay_ref self, next[NEXTS];
    struct ends ends[CIRCUITS];
    unsigned of[WORKERS][CIRCUITS], of_count[WORKERS]; /* circuits of each */
    unsigned open;
    struct cv_now now;
    struct load load[WORKERS];
    struct cv_rng_seeded dice;
    struct cv_rng rng;
};

static struct cv_addr address(unsigned i) {
    return (struct cv_addr){.family = 4, .port = 4000, .ip = {30, (uint8_t)i, 0, 1}};
}

static void ref_of(struct tunnel *t, int64_t wall, struct tun_relay_ref *ret) {
    struct tun_descriptor d;
    size_t len;
    const uint8_t *raw = tun_own_descriptor(t, wall, &len);
    if (!raw || tun_descriptor_open(raw, len, network, &d))
        bench_die("a relay has no descriptor");
    memset(ret, 0, sizeof *ret);
    memcpy(ret->identity, d.identity, CV_KEY);
    ret->day = d.day;
    memcpy(ret->d, d.digest, sizeof ret->d);
    memcpy(ret->link_key, d.link_key, CV_KEY);
    memcpy(ret->onion_key, d.onion_key[tun_onion_key_newest(d.day, wall)], CV_KEY);
    ret->addr[0] = d.addr[0];
}

static enum cv_err find_relay(void *ctx, const uint8_t identity[CV_KEY], uint32_t day,
                              struct tun_relay_ref *ret, const uint8_t **ret_descriptor,
                              size_t *ret_len) {
    const struct relay *r = ctx;
    (void)day;
    (void)ret_descriptor;
    (void)ret_len;
    for (unsigned i = 0; i < NEXTS; i++) {
        if (memcmp(r->next[i].identity, identity, CV_KEY) == 0) {
            *ret = r->next[i];
            return CV_ERR_OK;
        }
    }
    return CV_ERR_NOENT;
}

static const struct tun_user_ops ops = {.find_relay = find_relay};

/* ---- building, in one thread ---- */

static void events(struct relay *r, struct party *p) {
    struct tun_event ev;
    while (tun_poll_event(p->t, &ev)) {
        if (ev.kind == TUN_EVENT_SAVE)
            tun_saved(p->t, &r->now, ev.save.which);
        if (ev.kind == TUN_EVENT_CIRCUIT_DOWN)
            bench_die("a circuit failed");
        if (ev.kind != TUN_EVENT_REQUEST || ev.request.len < 2 + sizeof(uint32_t))
            continue;
        uint32_t i;
        memcpy(&i, ev.request.body + 2, sizeof i);
        if (i >= CIRCUITS || r->ends[i].hop)
            continue;
        r->ends[i].hop = ev.request.hop;
        r->open++;
        tun_answer(p->t, &r->now, ev.request.hop, ev.request.transaction, TUN_CMD_OPENED, NULL, 0);
    }
}

static void tell(struct relay *r) {
    bool any;
    do {
        any = false;
        for (unsigned i = 0; i < r->workers; i++) {
            struct tun_message *m;
            while ((m = tun_poll_message(r->worker[i].t)) != NULL) {
                tun_on_message(r->worker[m->to].t, &r->now, m);
                any = true;
            }
        }
    } while (any);
}

static void to_relay(struct relay *r, const struct cv_addr *from, const uint8_t *d) {
    (void)tun_on_datagram(r->worker[tun_worker_of(d, r->workers)].t, &r->now, from, d,
                          TUN_DATAGRAM);
    tell(r);
}

typedef void taken_fn(struct relay *r, const struct party *from, const struct cv_addr *to,
                      const uint8_t *d);

static bool poll(struct relay *r, struct party *p, taken_fn *taken) {
    static uint8_t arena[STEP * TUN_DATAGRAM];
    static struct cv_run runs[STEP];
    struct cv_batch b = cv_batch_init(arena, STEP, TUN_DATAGRAM, 0, runs, STEP);
    bool any = false;
    for (bool more = true; more;) {
        cv_batch_clear(&b);
        more = tun_poll_transmit(p->t, &r->now, &b);
        any |= b.runs_used > 0;
        for (uint32_t i = 0; i < b.runs_used; i++)
            for (uint16_t k = 0; k < runs[i].count; k++)
                taken(r, p, &runs[i].to.addr, cv_batch_at(&b, &runs[i], k));
    }
    return any;
}

static void carry(struct relay *r, const struct party *from, const struct cv_addr *to,
                  const uint8_t *d) {
    if (to->ip[1] == 0) {
        to_relay(r, &from->addr, d);
        return;
    }
    struct party *p = &r->party[to->ip[1] - 1];
    (void)tun_on_datagram(p->t, &r->now, &from->addr, d, TUN_DATAGRAM);
    events(r, p);
}

static void settle(struct relay *r) {
    for (bool any = true; any;) {
        any = false;
        for (unsigned i = 0; i < PARTIES; i++)
            any |= poll(r, &r->party[i], carry);
        for (unsigned i = 0; i < r->workers; i++)
            any |= poll(r, &r->worker[i], carry);
        tell(r);
    }
}

static void pass(struct relay *r, cv_usec time) {
    r->now.mono += time;
    for (unsigned i = 0; i < PARTIES; i++) {
        tun_on_timeout(r->party[i].t, &r->now);
        events(r, &r->party[i]);
    }
    for (unsigned i = 0; i < r->workers; i++) {
        tun_on_timeout(r->worker[i].t, &r->now);
        events(r, &r->worker[i]);
    }
    tell(r);
    settle(r);
}

static void start(struct relay *r, struct party *p, unsigned seed, struct tun_config *cfg) {
    cv_rng_seeded_init(&p->dice, seed);
    p->rng = cv_rng_seeded(&p->dice);
    cfg->gate = true;
    cfg->identity = &p->identity_secret;
    memcpy(cfg->network_id, network, sizeof network);
    if (cfg->relay)
        cfg->addr[0] = p->addr;
    p->t = tun_bare_new(cfg, &p->rng, &r->now);
    if (!p->t)
        bench_die("out of memory");
    events(r, p);
}

static void start_all(struct relay *r) {
    uint8_t seed[CV_KEY] = "the relay";
    for (unsigned i = 0; i < r->workers; i++) {
        struct party *p = &r->worker[i];
        struct tun_config cfg = {
            .relay = true, .workers = (uint8_t)r->workers, .worker = (uint8_t)i};
        p->addr = address(0);
        cv_ed25519_from_seed(&p->identity_secret, seed);
        start(r, p, 1000 + i, &cfg);
    }
    tun_attach(r->worker[0].t, TUN_USER_CLIENT, &ops, r);
    tell(r);
    ref_of(r->worker[0].t, r->now.wall, &r->self);
    for (unsigned i = 0; i < PARTIES; i++) {
        struct party *p = &r->party[i];
        struct tun_config cfg = {.relay = i >= CLIENTS, .circuits_max = CIRCUITS};
        uint8_t own[CV_KEY] = {(uint8_t)(i + 1)};
        p->addr = address(i + 1);
        cv_ed25519_from_seed(&p->identity_secret, own);
        start(r, p, i, &cfg);
        if (i >= CLIENTS)
            ref_of(p->t, r->now.wall, &r->next[i - CLIENTS]);
    }
}

/* Whose a circuit is: cells of it go to that worker. */
static void note_worker(struct relay *r, const struct party *from, const struct cv_addr *to,
                        const uint8_t *d) {
    (void)from;
    (void)to;
    r->of_count[tun_worker_of(d, r->workers)]++;
}

static void build(struct relay *r) {
    for (unsigned i = 0; i < CIRCUITS; i++) {
        struct ends *e = &r->ends[i];
        unsigned next = (i / CLIENTS) % NEXTS;
        struct tun_circuit_plan plan = {.hops = 2};
        plan.hop[0] = r->self;
        plan.hop[1] = r->next[next];
        e->client = &r->party[i % CLIENTS];
        e->next = &r->party[CLIENTS + next];
        if (tun_circuit_build(e->client->t, &r->now, &plan, &e->circuit))
            bench_die("no circuit");
        settle(r);
        uint8_t body[2 + sizeof(uint32_t)] = {sizeof(uint32_t)};
        struct tun_circuit_info info;
        uint32_t transaction, number = i;
        memcpy(body + 2, &number, sizeof number);
        for (unsigned k = 0;
             k < 100 && (tun_circuit_info(e->client->t, e->circuit, &info) || !info.ready); k++)
            pass(r, CV_MSEC(10));
        if (tun_request(e->client->t, &r->now, e->circuit, TUN_CMD_OPEN, body, sizeof body,
                        &transaction))
            bench_die("no end");
        settle(r);
        pass(r, CV_MSEC(25)); /* not faster than a relay accepts them */
    }
    if (r->open < CIRCUITS)
        bench_die("%u of %u circuits", r->open, (unsigned)CIRCUITS);
    pass(r, CV_SEC(1));
    memset(r->of_count, 0, sizeof r->of_count);
    for (unsigned i = 0; i < CIRCUITS; i++) {
        unsigned before[WORKERS];
        memcpy(before, r->of_count, sizeof before);
        struct cv_endpoint to = cv_endpoint_circuit(r->ends[i].circuit, 0);
        (void)tun_send(r->ends[i].client->t, &r->now, &to, "x", 1);
        (void)poll(r, r->ends[i].client, note_worker);
        for (unsigned k = 0; k < r->workers; k++) {
            if (r->of_count[k] == before[k])
                continue;
            r->of_count[k] = before[k] + 1;
            r->of[k][before[k]] = i;
        }
    }
}

/* ---- a round ---- */

static void keep(struct relay *r, const struct party *from, const struct cv_addr *to,
                 const uint8_t *d) {
    struct load *l = &r->load[tun_worker_of(d, r->workers)];
    (void)to;
    if (l->count == 2 * CELLS)
        bench_die("more datagrams than were asked for");
    l->from[l->count] = from->addr;
    memcpy(l->datagram[l->count++], d, TUN_DATAGRAM);
}

static void make_cells(struct relay *r, unsigned worker, bool forward) {
    static const uint8_t buf[TUN_MTU_FORWARD];
    unsigned i = r->of[worker][cv_rng_below(&r->rng, r->of_count[worker])];
    const struct ends *e = &r->ends[i];
    struct cv_endpoint to = cv_endpoint_circuit(forward ? e->circuit : e->hop, 0);
    struct party *p = forward ? e->client : e->next;
    for (unsigned k = 0; k < BURST; k++)
        if (tun_send(p->t, &r->now, &to, buf, sizeof buf))
            bench_die("a datagram was not taken");
    (void)poll(r, p, keep);
}

static void *work(void *arg) {
    struct load *l = arg;
    static _Thread_local uint8_t arena[STEP * TUN_DATAGRAM];
    static _Thread_local struct cv_run runs[STEP];
    struct timespec cpu[2];
    struct tun_message *m;
    struct tun_event ev;
    pthread_barrier_wait(l->start);
    clock_gettime(CLOCK_MONOTONIC, &l->began);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu[0]);
    for (unsigned i = 0; i < l->count;) {
        for (unsigned k = 0; k < STEP && i < l->count; k++, i++)
            (void)tun_on_datagram(l->t, &l->now, &l->from[i], l->datagram[i], TUN_DATAGRAM);
        struct cv_batch b = cv_batch_init(arena, STEP, TUN_DATAGRAM, 0, runs, STEP);
        while (tun_poll_transmit(l->t, &l->now, &b))
            cv_batch_clear(&b);
        while ((m = tun_poll_message(l->t)) != NULL)
            tun_message_free(m);
        while (tun_poll_event(l->t, &ev)) {}
        l->now.mono += 100;
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu[1]);
    clock_gettime(CLOCK_MONOTONIC, &l->ended);
    l->cpu_s =
        (double)(cpu[1].tv_sec - cpu[0].tv_sec) + (double)(cpu[1].tv_nsec - cpu[0].tv_nsec) / 1e9;
    cv_crypto_thread_done();
    return NULL;
}

static double seconds(const struct timespec *t) {
    return (double)t->tv_sec + (double)t->tv_nsec / 1e9;
}

/* Cells a second and a CPU-second. */
static void round_of(struct relay *r, double *ret_rate, double *ret_per_cpu) {
    pthread_barrier_t barrier;
    pthread_t thread[WORKERS];
    for (unsigned k = 0; k < r->workers; k++)
        r->load[k].count = 0;
    for (unsigned n = 0; n < CELLS / BURST; n++)
        for (unsigned way = 0; way < 2; way++)
            make_cells(r, n % r->workers, way == 0);
    uint64_t before = 0, after = 0;
    pthread_barrier_init(&barrier, NULL, r->workers);
    for (unsigned k = 0; k < r->workers; k++) {
        before += tun_counters(r->worker[k].t)->relayed_cells;
        r->load[k].t = r->worker[k].t;
        r->load[k].now = r->now;
        r->load[k].start = &barrier;
        if (pthread_create(&thread[k], NULL, work, &r->load[k]) != 0)
            bench_die("no thread");
    }
    double began = 1e300, ended = 0, cpu_s = 0;
    for (unsigned k = 0; k < r->workers; k++) {
        struct load *l = &r->load[k];
        pthread_join(thread[k], NULL);
        began = seconds(&l->began) < began ? seconds(&l->began) : began;
        ended = seconds(&l->ended) > ended ? seconds(&l->ended) : ended;
        cpu_s += l->cpu_s;
        r->now.mono = l->now.mono > r->now.mono ? l->now.mono : r->now.mono;
        after += tun_counters(l->t)->relayed_cells;
    }
    pthread_barrier_destroy(&barrier);
    if (after - before < 2 * CELLS)
        bench_die("%u of %u cells passed", (unsigned)(after - before), 2U * CELLS);
    *ret_rate = (double)(after - before) / (ended - began);
    *ret_per_cpu = (double)(after - before) / cpu_s;
}

static struct relay *relay_new(unsigned workers) {
    struct relay *r = calloc(1, sizeof *r);
    if (!r)
        bench_die("out of memory");
    r->workers = workers;
    r->now = (struct cv_now){.mono = CV_SEC(1), .wall = 1790000000};
    cv_rng_seeded_init(&r->dice, 7);
    r->rng = cv_rng_seeded(&r->dice);
    for (unsigned k = 0; k < workers; k++) {
        r->load[k].from = calloc(2 * CELLS, sizeof *r->load[k].from);
        r->load[k].datagram = calloc(2 * CELLS, TUN_DATAGRAM);
        if (!r->load[k].from || !r->load[k].datagram)
            bench_die("out of memory");
    }
    start_all(r);
    build(r);
    return r;
}

static void relay_free(struct relay *r) {
    for (unsigned i = 0; i < PARTIES; i++)
        tun_free(r->party[i].t);
    for (unsigned k = 0; k < r->workers; k++) {
        tun_free(r->worker[k].t);
        free(r->load[k].from);
        free(r->load[k].datagram);
    }
    free(r);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, unsigned n) {
    qsort(v, n, sizeof *v, compare);
    return v[n / 2];
}

void relay_workers_measure(unsigned rounds, struct relay_workers_figures *ret) {
    struct relay *r[WORKERS] = {relay_new(1), relay_new(2)};
    double rate[WORKERS][ROUNDS_MAX], per_cpu[WORKERS][ROUNDS_MAX];
    rounds = rounds < 1 ? 1 : rounds > ROUNDS_MAX ? ROUNDS_MAX : rounds;
    for (unsigned i = 0; i < rounds; i++)
        for (unsigned k = 0; k < WORKERS; k++)
            round_of(r[k], &rate[k][i], &per_cpu[k][i]);
    ret->speedup = median(rate[1], rounds) / median(rate[0], rounds);
    ret->cpu_ratio = median(per_cpu[1], rounds) / median(per_cpu[0], rounds);
    for (unsigned k = 0; k < WORKERS; k++)
        relay_free(r[k]);
}
