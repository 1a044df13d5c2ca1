/*
 * A DHT node under queries of strangers: with a full table and full stores in
 * this process and virtual time (codec, table, stores, limiter; no socket), and
 * over loopback, as a process of its own. Everything enters as datagrams: nodes
 * answer the node's checks, peers fetch a token and announce themselves.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "crypto/keys.h"
#include "crypto/rng_seeded.h"
#include "culvert-bench/bench.h"
#include "dht/dht.h"
#include "dht/krpc.h"
#include "dht/limits.h"
#include "io/clock.h"
#include "io/udp.h"

enum {
    TABLE = 600,      /* nodes that offer themselves */
    QUERIES = 4096,   /* different ones, asked again and again */
    NETWORKS = 60000, /* that peers announce themselves from */
    SLOTS = 64,
    PORT = 4242,
};

/* A node and the world around it. */
struct world {
    struct dht *d;
    struct cv_now now;
    struct cv_rng_seeded dice;
    struct cv_rng rng;
    bool loopback;
    uint8_t arena[SLOTS * DHT_DATAGRAM_MAX];
    struct cv_run runs[SLOTS];
    uint64_t answers;
    uint8_t last[DHT_DATAGRAM_MAX]; /* the last datagram it sent, and to whom */
    size_t last_len;
    struct cv_addr last_to;
    struct dht_id keys[DHT_HASHES], items[DHT_ITEMS];
    unsigned hashes, peers, item_count;
};

static _Noreturn void die_of(const char *what) {
    char words[128];
    bench_die("%s: %s", what, strerror_r(errno, words, sizeof words));
}

/* Each `i` another /24 (and mostly another /16): 11/8 .. 75/8, or 127/8. */
static struct cv_addr address(const struct world *w, unsigned i) {
    struct cv_addr a = {.family = 4, .port = 6881};
    unsigned x = (unsigned)((uint64_t)i * 1000003 % (64 * 65536));
    a.ip[0] = (uint8_t)(w->loopback ? 127 : 11 + x / 65536);
    a.ip[1] = (uint8_t)(w->loopback ? 1 + x % 250 : x >> 8);
    a.ip[2] = (uint8_t)(w->loopback ? x / 250 : x);
    a.ip[3] = 9;
    return a;
}

static struct dht_id id_at(const struct cv_addr *a) {
    struct cv_rng_seeded s;
    cv_rng_seeded_init(&s, (uint64_t)a->ip[1] << 16 | (uint64_t)a->ip[0] << 8 | a->ip[2]);
    struct cv_rng rng = cv_rng_seeded(&s);
    return dht_id_for_address(a, &rng);
}

/* Keys are sorted, so that the kind comes last. The node's own queries (it
 * checks who asks) are not to be counted. */
static bool is_answer(const uint8_t *p, size_t n) {
    static const char end[] = "1:y1:re";
    return n >= sizeof end - 1 && memcmp(p + n - (sizeof end - 1), end, sizeof end - 1) == 0;
}

/* Takes what the node sends. */
static void drain(struct world *w) {
    struct cv_batch b = cv_batch_init(w->arena, SLOTS, DHT_DATAGRAM_MAX, 0, w->runs, SLOTS);
    for (;;) {
        cv_batch_clear(&b);
        dht_poll_transmit(w->d, w->now, &b);
        if (b.slots_used == 0)
            return;
        const struct cv_run *r = w->runs;
        for (; r < w->runs + b.runs_used; r++)
            for (uint16_t i = 0; i < r->count; i++)
                w->answers += is_answer(cv_batch_at(&b, r, i), r->size);
        r--;
        w->last_len = r->size;
        w->last_to = r->to.addr;
        memcpy(w->last, cv_batch_at(&b, r, (uint16_t)(r->count - 1)), r->size);
    }
}

static size_t compose(uint8_t *buf, size_t cap, const struct dht_msg *m) {
    struct cv_wr w = cv_wr_init(buf, cap);
    dht_msg_write(&w, m);
    if (w.err)
        bench_die("a query does not fit");
    return cv_wr_len(&w);
}

/* One query from `from`; the answer is w->last. */
static bool ask(struct world *w, const struct cv_addr *from, struct dht_msg *q,
                struct dht_msg *ret) {
    uint8_t buf[2048];
    struct dht_id id = id_at(from);
    q->kind = DHT_QUERY;
    q->id = (struct dht_span){id.b, DHT_ID};
    q->t = (struct dht_span){(const uint8_t *)"bb", 2};
    w->last_len = 0;
    w->now.mono += 50;
    (void)dht_on_datagram(w->d, w->now, from, buf, compose(buf, sizeof buf, q));
    drain(w);
    return w->last_len && dht_msg_read(w->last, w->last_len, ret) == CV_ERR_OK;
}

static void begin(struct world *w) {
    cv_rng_seeded_init(&w->dice, 1);
    w->rng = cv_rng_seeded(&w->dice);
    w->now = (struct cv_now){.mono = CV_SEC(1), .wall = 1800000000};
    struct dht_config cfg = {.scope = w->loopback ? DHT_SCOPE_LOOPBACK : DHT_SCOPE_PUBLIC,
                             .ipv4 = true};
    w->d = dht_new(&cfg, &w->rng, w->now);
    if (!w->d)
        bench_die("out of memory");
}

/* Nodes ask, are checked, answer, and stand in the table. */
static void fill_table(struct world *w) {
    for (unsigned i = 0; i < TABLE; i++) {
        struct cv_addr a = address(w, 100000 + i);
        struct dht_msg q = {.method = DHT_METHOD_PING}, m;
        w->now.mono += CV_MSEC(400);
        if (!ask(w, &a, &q, &m) || m.kind != DHT_QUERY || !cv_addr_equal(&w->last_to, &a))
            continue; /* no place for it */
        struct dht_id id = id_at(&a);
        uint8_t buf[256];
        struct dht_msg r = {.kind = DHT_ANSWER, .t = m.t, .id = {id.b, DHT_ID}};
        (void)dht_on_datagram(w->d, w->now, &a, buf, compose(buf, sizeof buf, &r));
        drain(w);
    }
}

static void announce(struct world *w, unsigned network, const struct dht_id *key) {
    struct cv_addr a = address(w, network);
    struct dht_msg m, q = {.method = DHT_METHOD_GET_PEERS, .info_hash = {key->b, DHT_ID}};
    if (!ask(w, &a, &q, &m) || !m.token.p)
        return;
    uint8_t token[DHT_TOKEN_MAX];
    memcpy(token, m.token.p, m.token.n);
    q = (struct dht_msg){.method = DHT_METHOD_ANNOUNCE,
                         .info_hash = {key->b, DHT_ID},
                         .port = {7000, true},
                         .token = {token, m.token.n}};
    w->peers += ask(w, &a, &q, &m) && m.kind == DHT_ANSWER;
}

static void put(struct world *w, unsigned i) {
    struct cv_addr a = address(w, i * 7);
    struct dht_item item = {0};
    uint8_t octets[990], token[DHT_TOKEN_MAX];
    cv_rng_fill(&w->rng, octets, sizeof octets);
    (void)dht_item_set_bytes(&item, octets, sizeof octets);
    struct dht_id target = dht_item_target(&item);
    struct dht_msg m, q = {.method = DHT_METHOD_GET, .target = {target.b, DHT_ID}};
    if (!ask(w, &a, &q, &m) || !m.token.p)
        return;
    memcpy(token, m.token.p, m.token.n);
    q = (struct dht_msg){
        .method = DHT_METHOD_PUT, .value = {item.v, item.v_len}, .token = {token, m.token.n}};
    if (ask(w, &a, &q, &m) && m.kind == DHT_ANSWER)
        w->items[w->item_count++] = target;
}

static void fill_stores(struct world *w, unsigned hashes) {
    for (unsigned i = 0; i < hashes; i++)
        w->keys[i] = dht_id_random(&w->rng);
    w->hashes = hashes;
    /* Key by key in turn, as many networks as it takes: some are refused,
     * because two networks may share a counter. */
    uint64_t most = (uint64_t)hashes * DHT_PEERS_PER_HASH;
    for (uint64_t i = 0; i < most * 5 / 4 && w->peers < most; i++)
        announce(w, (unsigned)((i / hashes * 97 + i) % NETWORKS), &w->keys[i % hashes]);
    for (unsigned i = 0; i < DHT_ITEMS && i < hashes; i++)
        put(w, i);
}

/* ---- asking ---- */

struct query {
    struct cv_addr from;
    uint16_t len;
    uint8_t data[160];
};

/* Four in ten look for nodes, four for peers (half of them of keys that are
 * there), one for an item, one pings. */
static struct query *make_queries(struct world *w) {
    struct query *v = calloc(QUERIES, sizeof *v);
    if (!v)
        bench_die("out of memory");
    for (unsigned i = 0; i < QUERIES; i++) {
        v[i].from = address(w, 200000 + i);
        struct dht_id id = id_at(&v[i].from), target = dht_id_random(&w->rng);
        if (i % 20 >= 8 && i % 20 < 12 && w->hashes)
            target = w->keys[i % w->hashes];
        if (i % 10 == 8 && w->item_count)
            target = w->items[i % w->item_count];
        struct dht_msg m = {.kind = DHT_QUERY,
                            .method = DHT_METHOD_FIND_NODE,
                            .t = {(const uint8_t *)&i, 4},
                            .id = {id.b, DHT_ID}};
        if (i % 10 == 9)
            m.method = DHT_METHOD_PING;
        else if (i % 10 == 8)
            m.method = DHT_METHOD_GET;
        else if (i % 20 >= 8 && i % 20 < 18)
            m.method = DHT_METHOD_GET_PEERS;
        if (m.method == DHT_METHOD_GET_PEERS)
            m.info_hash = (struct dht_span){target.b, DHT_ID};
        else if (m.method != DHT_METHOD_PING)
            m.target = (struct dht_span){target.b, DHT_ID};
        v[i].len = (uint16_t)compose(v[i].data, sizeof v[i].data, &m);
    }
    return v;
}

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Queries answered a second of CPU time. Virtual time goes on so that no source
 * asks more than the limiter allows. */
static double ask_engine(struct world *w, const struct query *v, unsigned count,
                         double *ret_answered) {
    uint64_t before = w->answers;
    double from = cpu_seconds();
    for (unsigned i = 0; i < count; i++) {
        const struct query *q = &v[i % QUERIES];
        w->now.mono += 20;
        (void)dht_on_datagram(w->d, w->now, &q->from, q->data, q->len);
        if (i % 32 == 31)
            drain(w);
    }
    drain(w);
    double took = cpu_seconds() - from;
    *ret_answered = 100.0 * (double)(w->answers - before) / count;
    return (double)(w->answers - before) / took;
}

/* ---- over loopback ---- */

static struct io_udp *open_node(struct cv_addr *ret) {
    struct io_why why;
    struct io_udp *u;
    struct io_udp_config cfg = {.addr = {.ip = {127, 200, 0, 1}, .family = 4}, .buffer = 4 << 20};
    if (io_udp_open(&cfg, &u, &why))
        bench_die("%s", why.text);
    *ret = io_udp_addr(u);
    return u;
}

/* The node's process: until it is killed, or its parent has ended. */
static void serve(struct world *w, struct io_udp *u, pid_t parent) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EXIT_FAILURE);
    struct pollfd p = {.fd = io_udp_fd(u), .events = POLLIN};
    /* Its clock goes on from where filling the table left it. */
    cv_usec offset = w->now.mono - io_clock_now().mono;
    for (;;) {
        struct io_datagram *dg;
        (void)poll(&p, 1, -1);
        for (size_t n; (n = io_udp_receive(u, &dg)) > 0;) {
            w->now.mono = io_clock_now().mono + offset;
            for (size_t i = 0; i < n; i++)
                (void)dht_on_datagram(w->d, w->now, &dg[i].from, dg[i].data, dg[i].len);
            struct cv_batch b = cv_batch_init(w->arena, SLOTS, DHT_DATAGRAM_MAX, 0, w->runs, SLOTS);
            do {
                cv_batch_clear(&b);
                dht_poll_transmit(w->d, w->now, &b);
                if (b.slots_used && io_udp_send(u, &b))
                    break; /* full: lost, like any datagram */
            } while (b.slots_used);
        }
    }
}

/* A message that leaves from an address of 127/8 of our choice. */
struct outgoing {
    struct iovec iov;
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(struct in_pktinfo))];
};

static void set_message(struct msghdr *m, struct outgoing *o, const struct query *q,
                        struct sockaddr_in *to) {
    o->iov = (struct iovec){(void *)(uintptr_t)q->data, q->len};
    *m = (struct msghdr){.msg_name = to,
                         .msg_namelen = sizeof *to,
                         .msg_iov = &o->iov,
                         .msg_iovlen = 1,
                         .msg_control = o->control,
                         .msg_controllen = sizeof o->control};
    struct in_pktinfo info = {0};
    memcpy(&info.ipi_spec_dst, q->from.ip, 4);
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    c->cmsg_level = IPPROTO_IP;
    c->cmsg_type = IP_PKTINFO;
    c->cmsg_len = CMSG_LEN(sizeof info);
    memcpy(CMSG_DATA(c), &info, sizeof info);
}

/* Returns how many datagrams came; 0 when none did for `wait_ms`. */
static unsigned take_answers(int fd, int wait_ms, unsigned *answers) {
    static uint8_t room[SLOTS][DHT_DATAGRAM_MAX];
    static struct mmsghdr in[SLOTS];
    static struct iovec iov[SLOTS];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (wait_ms && poll(&p, 1, wait_ms) <= 0)
        return 0;
    for (unsigned i = 0; i < SLOTS; i++) {
        iov[i] = (struct iovec){room[i], sizeof room[i]};
        in[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
    }
    int n = recvmmsg(fd, in, SLOTS, MSG_DONTWAIT, NULL);
    for (int i = 0; i < n; i++)
        *answers += is_answer(room[i], in[i].msg_len);
    return n > 0 ? (unsigned)n : 0;
}

/* Asks `count` queries, some hundred under way at a time; how many came back. */
static unsigned ask_socket(const struct query *v, const struct cv_addr *node, unsigned count,
                           unsigned *ret_sent) {
    static struct mmsghdr out[SLOTS];
    static struct outgoing o[SLOTS];
    struct sockaddr_in any = {.sin_family = AF_INET}, to = any;
    memcpy(&to.sin_addr, node->ip, 4);
    to.sin_port = htons(node->port);
    int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 4 << 20;
    if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof any))
        die_of("no socket");
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    unsigned sent = 0, answers = 0, lost = 0;
    while (sent < count) {
        for (unsigned i = 0; i < SLOTS; i++)
            set_message(&out[i].msg_hdr, &o[i], &v[(sent + i) % QUERIES], &to);
        int n = sendmmsg(fd, out, SLOTS, 0);
        sent += n > 0 ? (unsigned)n : 0;
        while (take_answers(fd, sent - answers - lost >= 256 ? 50 : 0, &answers) > 0) {}
        if (sent - answers - lost >= 512)
            lost = sent - answers; /* nothing came for 50 ms */
    }
    while (take_answers(fd, 100, &answers) > 0) {}
    close(fd);
    *ret_sent = sent;
    return answers;
}

struct loopback {
    double per_cpu_s, per_s, answered;
};

static struct loopback over_loopback(unsigned count) {
    struct world *w = calloc(1, sizeof *w);
    struct cv_addr node;
    if (!w)
        bench_die("out of memory");
    w->loopback = true;
    begin(w);
    fill_table(w);
    struct query *v = make_queries(w);
    struct io_udp *u = open_node(&node);
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        die_of("fork");
    if (pid == 0)
        serve(w, u, parent);
    double from = bench_now();
    unsigned sent, got = ask_socket(v, &node, count, &sent);
    double took = bench_now() - from;
    struct rusage usage;
    kill(pid, SIGKILL);
    if (wait4(pid, NULL, 0, &usage) != pid)
        die_of("wait4");
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    io_udp_close(u);
    dht_free(w->d);
    free(w);
    free(v);
    return (struct loopback){got / cpu, got / took, 100.0 * got / sent};
}

json_t *bench_dht_node(const struct bench_options *o) {
    unsigned hashes = o->hashes < DHT_HASHES ? o->hashes : DHT_HASHES;
    unsigned count = hashes < DHT_HASHES ? 20000 : 1000000;
    struct loopback lo = over_loopback(count / 2); /* first: a small process to fork */
    struct world *w = calloc(1, sizeof *w);
    if (!w)
        bench_die("out of memory");
    begin(w);
    fill_table(w);
    fill_stores(w, hashes);
    double answered, rss = spawn_rss(&(struct spawn){.pid = getpid()}) / (1 << 20);
    struct query *v = make_queries(w);
    double engine = ask_engine(w, v, count, &answered);
    struct dht_status st;
    dht_status(w->d, &st);
    dht_free(w->d);
    json_t *ret = json_pack(
        "{s:f, s:f, s:f, s:f, s:f, s:f, s:i, s:i, s:i, s:i, s:i}", "queries_per_s_engine", engine,
        "queries_per_s_loopback", lo.per_cpu_s, "rss_mib_full", rss, "answered_percent_engine",
        answered, "answered_percent_loopback", lo.answered, "loopback_elapsed_per_s", lo.per_s,
        "hashes", (int)st.hashes, "peers", (int)st.peers, "items", (int)st.items, "table",
        (int)st.ipv4.nodes_total, "queries", (int)count);
    free(v);
    free(w);
    return ret;
}
