/*
 * One relay of one engine and one of two, each engine in a thread of its own when it is
 * measured; real cryptography, virtual time, no sockets. Clients and the relays behind are
 * engines, too: they make all cells of a round beforehand, as many for each worker, each
 * for a circuit of that worker drawn anew, and take nothing back. From the first datagram
 * in to the last one out is a round's time. The control: two processes, each with a relay of one
 * worker and cells of its own, do at the same time what one did alone.
 */
#include "culvert-bench/relay_workers.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "crypto/hash.h"
#include "culvert-bench/bench.h"
#include "culvert-bench/party.h"
#include "tunnel/worker.h"

enum {
    WORKERS = 2, /* at most */
    CLIENTS = 16,
    NEXTS = 8,
    PARTIES = CLIENTS + NEXTS,
    CIRCUITS = 320,
    BURST = 16,    /* cells of one circuit together */
    CELLS = 20480, /* of a round, each way, for each worker */
    STEP = 256,    /* datagrams between two looks at what is to be sent */
    ROUNDS_MAX = 64,
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
    struct tun_relay_ref self;
    struct party_relays next;
    struct ends ends[CIRCUITS];
    struct circuits circuits;
    unsigned of[WORKERS][CIRCUITS], of_count[WORKERS]; /* circuits of each */
    struct cv_now now;
    struct load load[WORKERS];
    struct cv_rng_seeded dice;
    struct cv_rng rng;
};

/* ---- building, in one thread ---- */

static void events(struct relay *r, struct party *p) {
    party_events(p, &r->now, &r->circuits);
    if (r->circuits.failed)
        bench_die("a circuit failed");
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

static void start_all(struct relay *r) {
    for (unsigned i = 0; i < r->workers; i++) {
        struct tun_config cfg = {
            .relay = true, .workers = (uint8_t)r->workers, .worker = (uint8_t)i};
        party_start(&r->worker[i], &cfg, 0, 0, &r->now);
        events(r, &r->worker[i]);
    }
    tun_attach(r->worker[0].t, TUN_USER_CLIENT, &party_ops, &r->next);
    tell(r);
    party_own_ref(&r->worker[0], r->now.wall, &r->self);
    for (unsigned i = 0; i < PARTIES; i++) {
        struct tun_config cfg = {.relay = i >= CLIENTS, .circuits_max = CIRCUITS};
        party_start(&r->party[i], &cfg, i + 1, (uint8_t)(i + 1), &r->now);
        events(r, &r->party[i]);
        if (cfg.relay)
            party_own_ref(&r->party[i], r->now.wall, &r->next.v[r->next.n++]);
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
        e->client = &r->party[i % CLIENTS];
        e->next = &r->party[CLIENTS + next];
        ends_build(e, &r->now, &r->self, &r->next.v[next]);
        settle(r);
        for (unsigned k = 0; k < 100 && !ends_ready(e); k++)
            pass(r, CV_MSEC(10));
        ends_open(&r->circuits, i, &r->now);
        settle(r);
        pass(r, CV_MSEC(25)); /* not faster than a relay accepts them */
    }
    if (r->circuits.open < CIRCUITS)
        bench_die("%u of %u circuits", r->circuits.open, (unsigned)CIRCUITS);
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
    unsigned i = r->of[worker][cv_rng_below(&r->rng, r->of_count[worker])];
    const struct ends *e = &r->ends[i];
    for (unsigned k = 0; k < BURST; k++)
        ends_send(e, forward, &r->now);
    (void)poll(r, forward ? e->client : e->next, keep);
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
        for (unsigned k = 0; k < STEP && i < l->count; k++, i++) {
            if (i + TUN_EXPECT < l->count)
                tun_expect(l->t, l->datagram[i + TUN_EXPECT], TUN_DATAGRAM);
            (void)tun_on_datagram(l->t, &l->now, &l->from[i], l->datagram[i], TUN_DATAGRAM);
        }
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

/* What came of a round, of one process. */
struct outcome {
    uint64_t cells;
    double began, ended, cpu_s;
};

/* Makes the cells, waits for `start` with `r->workers` threads, passes them on. */
static void round_of(struct relay *r, pthread_barrier_t *start, struct outcome *ret) {
    pthread_t thread[WORKERS];
    for (unsigned k = 0; k < r->workers; k++)
        r->load[k].count = 0;
    for (unsigned n = 0; n < r->workers * CELLS / BURST; n++)
        for (unsigned way = 0; way < 2; way++)
            make_cells(r, n % r->workers, way == 0);
    uint64_t before = 0, after = 0;
    for (unsigned k = 0; k < r->workers; k++) {
        before += tun_counters(r->worker[k].t)->relayed_cells;
        r->load[k].t = r->worker[k].t;
        r->load[k].now = r->now;
        r->load[k].start = start;
        if (pthread_create(&thread[k], NULL, work, &r->load[k]) != 0)
            bench_die("no thread");
    }
    *ret = (struct outcome){.began = 1e300};
    for (unsigned k = 0; k < r->workers; k++) {
        struct load *l = &r->load[k];
        pthread_join(thread[k], NULL);
        ret->began = seconds(&l->began) < ret->began ? seconds(&l->began) : ret->began;
        ret->ended = seconds(&l->ended) > ret->ended ? seconds(&l->ended) : ret->ended;
        ret->cpu_s += l->cpu_s;
        r->now.mono = l->now.mono > r->now.mono ? l->now.mono : r->now.mono;
        after += tun_counters(l->t)->relayed_cells;
    }
    if (after - before < r->workers * 2 * CELLS)
        bench_die("%u of %u cells passed", (unsigned)(after - before), r->workers * 2 * CELLS);
    ret->cells = after - before;
}

static void round_alone(struct relay *r, struct outcome *ret) {
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, r->workers);
    round_of(r, &start, ret);
    pthread_barrier_destroy(&start);
}

static struct relay *relay_new(unsigned workers) {
    struct relay *r = calloc(1, sizeof *r);
    if (!r)
        bench_die("out of memory");
    r->workers = workers;
    r->now = (struct cv_now){.mono = CV_SEC(1), .wall = 1790000000};
    r->circuits = (struct circuits){.v = r->ends, .wanted = CIRCUITS};
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

/* ---- two processes ---- */

/* What both see. */
struct pair {
    pthread_barrier_t start;
    struct outcome of[WORKERS];
};

static pid_t begin_half(struct relay *r, struct pair *pair, unsigned number) {
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        bench_die("cannot start a process");
    if (pid > 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EXIT_FAILURE);
    struct outcome
        unused; /* memory that the first one still has to copy is not the second's cost */
    round_alone(r, &unused);
    round_of(r, &pair->start, &pair->of[number]);
    _exit(EXIT_SUCCESS);
}

static void round_of_two(struct relay *r, struct pair *pair, struct outcome *ret) {
    pthread_barrierattr_t shared;
    pid_t pid[WORKERS];
    pthread_barrierattr_init(&shared);
    pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&pair->start, &shared, WORKERS);
    pthread_barrierattr_destroy(&shared);
    for (unsigned k = 0; k < WORKERS; k++)
        pid[k] = begin_half(r, pair, k);
    *ret = (struct outcome){.began = 1e300};
    for (unsigned k = 0; k < WORKERS; k++) {
        const struct outcome *o = &pair->of[k];
        int status;
        if (waitpid(pid[k], &status, 0) != pid[k] || status != 0)
            bench_die("a process with one worker did not end well");
        ret->cells += o->cells;
        ret->cpu_s += o->cpu_s;
        ret->began = o->began < ret->began ? o->began : ret->began;
        ret->ended = o->ended > ret->ended ? o->ended : ret->ended;
    }
    pthread_barrier_destroy(&pair->start);
}

/* ---- figures ---- */

enum { ONE, TWO, PROCESSES, WAYS };

void relay_workers_measure(unsigned rounds, struct relay_workers_figures *ret) {
    struct relay *r[WORKERS] = {relay_new(1), relay_new(2)};
    struct pair *pair =
        mmap(NULL, sizeof *pair, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    double rate[WAYS][ROUNDS_MAX], per_cpu[WAYS][ROUNDS_MAX];
    rounds = rounds < 1 ? 1 : rounds > ROUNDS_MAX ? ROUNDS_MAX : rounds;
    if (pair == MAP_FAILED)
        bench_die("out of memory");
    for (unsigned i = 0; i < rounds; i++) {
        for (unsigned k = 0; k < WAYS; k++) {
            struct outcome o;
            if (k == PROCESSES)
                round_of_two(r[ONE], pair, &o);
            else
                round_alone(r[k], &o);
            rate[k][i] = (double)o.cells / (o.ended - o.began);
            per_cpu[k][i] = (double)o.cells / o.cpu_s;
        }
    }
    munmap(pair, sizeof *pair);
    double one = bench_median(rate[ONE], rounds), one_cpu = bench_median(per_cpu[ONE], rounds);
    ret->speedup = bench_median(rate[TWO], rounds) / one;
    ret->cpu_ratio = bench_median(per_cpu[TWO], rounds) / one_cpu;
    ret->process_speedup = bench_median(rate[PROCESSES], rounds) / one;
    ret->process_cpu_ratio = bench_median(per_cpu[PROCESSES], rounds) / one_cpu;
    for (unsigned k = 0; k < WORKERS; k++)
        relay_free(r[k]);
}
