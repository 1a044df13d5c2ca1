#include "culvert-bench/circuits.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "crypto/aes.h"
#include "crypto/rng_system.h"
#include "io/clock.h"
#include "io/state.h"
#include "io/store_file.h"
#include "io/udp.h"
#include "node/node.h"
#include "tunnel/client.h"
#include "tunnel/relaycmd.h"

enum { SLOTS = 64, RUNS = 16 };

struct owner {
    struct io_udp *udp;
    struct tunnel *t;
    struct ppsp *ppsp;
    struct cv_now now;
    uint8_t cells[SLOTS][TUN_DATAGRAM], said[SLOTS][TUN_DATAGRAM];
    struct cv_run cells_runs[RUNS], said_runs[RUNS];
    struct cv_batch out, saying; /* to the socket; to circuits */
    struct cv_addr relay[WORLD_RELAYS];

    struct io_state *state;
    struct io_store *store;
    struct node_uri film;
    cv_handle swarm;

    /* of the circuit that is measured */
    cv_handle circuit;
    uint32_t ping, open;
    bool down;
    double ready_at, pong_at, chunk_at; /* seconds; 0: not yet */
    double whole_at;                    /* the film */
};

/* ---- the loop ---- */

static void wait_for(struct owner *o, short what, double seconds) {
    struct pollfd p = {.fd = io_udp_fd(o->udp), .events = what};
    struct timespec ts = {.tv_sec = (time_t)seconds,
                          .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    if (ppoll(&p, 1, &ts, NULL) < 0 && errno != EINTR)
        bench_die("a socket cannot be waited for");
}

static void flush(struct owner *o) {
    for (bool more = true; more;) {
        more = tun_poll_transmit(o->t, &o->now, &o->out);
        while (io_udp_send(o->udp, &o->out) == CV_ERR_AGAIN)
            wait_for(o, POLLOUT, 1);
    }
}

/* What the peer protocol says goes into the circuit. */
static void say(struct owner *o) {
    for (bool more = true; more;) {
        cv_batch_clear(&o->saying);
        more = ppsp_poll_transmit(o->ppsp, o->now, &o->saying);
        for (uint32_t r = 0; r < o->saying.runs_used; r++) {
            const struct cv_run *run = &o->said_runs[r];
            for (uint16_t i = 0; i < run->count; i++)
                (void)tun_send(o->t, &o->now, &run->to, cv_batch_at(&o->saying, run, i), run->size);
        }
        flush(o);
    }
}

static void on_tunnel(struct owner *o, const struct tun_event *ev) {
    if (ev->kind == TUN_EVENT_NEED_CONTACTS) {
        for (unsigned i = 0; i < WORLD_RELAYS; i++)
            (void)tun_contact(o->t, &o->now, &o->relay[i]);
    } else if (ev->kind == TUN_EVENT_DATAGRAM) {
        (void)ppsp_on_datagram(o->ppsp, o->now, &ev->datagram.from, ev->datagram.buf,
                               ev->datagram.len);
    } else if (ev->kind == TUN_EVENT_CIRCUIT_READY && ev->circuit_ready.circuit == o->circuit) {
        o->ready_at = bench_now();
    } else if (ev->kind == TUN_EVENT_CIRCUIT_DOWN && ev->circuit_down.circuit == o->circuit) {
        o->down = true;
    } else if (ev->kind == TUN_EVENT_REPLY && ev->reply.circuit == o->circuit) {
        if (ev->reply.transaction == o->ping && ev->reply.command == TUN_CMD_PONG)
            o->pong_at = o->pong_at > 0 ? o->pong_at : bench_now();
        o->down |= ev->reply.err != CV_ERR_OK;
    }
}

/* Until nobody has anything to say. */
static void work(struct owner *o) {
    struct tun_event ev;
    struct ppsp_event p;
    bool any;
    do {
        any = false;
        while (tun_poll_event(o->t, &ev)) {
            on_tunnel(o, &ev);
            any = true;
        }
        say(o);
        while (ppsp_poll_event(o->ppsp, &p)) {
            if (p.type == PPSP_EVENT_CHUNKS_READY && !(o->chunk_at > 0))
                o->chunk_at = bench_now();
            if (p.type == PPSP_EVENT_COMPLETE)
                o->whole_at = bench_now();
            any = true;
        }
    } while (any);
}

static void step(struct owner *o, double seconds) {
    cv_usec next = cv_usec_min(tun_next_timeout(o->t), ppsp_next_timeout(o->ppsp));
    struct io_datagram *d;
    o->now = io_clock_now();
    if (next != CV_USEC_NEVER) {
        double due = (double)cv_usec_since(next, o->now.mono) / 1e6;
        seconds = due < seconds ? due : seconds;
    }
    wait_for(o, POLLIN, seconds);
    o->now = io_clock_now();
    for (size_t n; (n = io_udp_receive(o->udp, &d)) > 0;)
        for (size_t i = 0; i < n; i++)
            (void)tun_on_datagram(o->t, &o->now, &d[i].from, d[i].data, d[i].len);
    if (tun_next_timeout(o->t) <= o->now.mono)
        tun_on_timeout(o->t, &o->now);
    if (ppsp_next_timeout(o->ppsp) <= o->now.mono)
        ppsp_on_timeout(o->ppsp, o->now);
    work(o);
}

static void rest(struct owner *o, double seconds) {
    double until = bench_now() + seconds, left = seconds;
    while (left > 0) {
        step(o, left);
        left = until - bench_now();
    }
}

/* False: the circuit did not live so long. */
static bool until(struct owner *o, const double *happened, const char *what, unsigned minutes) {
    double end = bench_now() + 60 * minutes;
    while (!(*happened > 0) && !o->down) {
        if (bench_now() > end)
            bench_die("no %s of a circuit in %u min", what, minutes);
        step(o, 1);
    }
    return !o->down;
}

/* ---- beginning and end ---- */

static void begin(struct owner *o, const struct world *w, const struct bench_options *opt) {
    static const struct ppsp_config none = {.swarms_max = 1, .channels_max = 8, .peers_max = 8};
    struct io_why why = {.text = ""};
    struct io_udp_config udp = {.addr = {.family = 4, .ip = {127, 99, 0, 1}},
                                .buffer = opt->buffer_mib << 20};
    struct tun_config cfg = {
        .address_class = TUN_ADDRESS_LOOPBACK, .hurry = true, .aes = cv_aes_is_fast()};
    node_network_id(WORLD_NETWORK, cfg.network_id);
    for (unsigned i = 0; i < WORLD_RELAYS; i++)
        world_relay_address(w, i, &o->relay[i]);
    if (io_udp_open(&udp, &o->udp, &why))
        bench_die("%s", why.text);
    o->now = io_clock_now();
    o->out = cv_batch_init(o->cells[0], SLOTS, TUN_DATAGRAM, 0, o->cells_runs, RUNS);
    o->saying = cv_batch_init(o->said[0], SLOTS, TUN_DATAGRAM, 0, o->said_runs, RUNS);
    o->t = tun_new(&cfg, cv_rng_system(), &o->now);
    o->ppsp = ppsp_new(&none, cv_rng_system());
    if (!o->t || !o->ppsp)
        bench_die("out of memory");
}

static void open_film(struct owner *o, const char *uri) {
    char path[300];
    struct io_why why = {.text = ""};
    const char *what;
    if (node_uri_read(uri, &o->film, &what))
        bench_die("a link of ours: %s", what);
    snprintf(path, sizeof path, "%s/circuits", bench_folder());
    struct io_store_config store = {.chunk_size = o->film.chunk_size,
                                    .alg = (enum cv_sha)o->film.hash};
    memcpy(store.id, o->film.swarm_id, sizeof store.id);
    if (io_state_open(path, &o->state, &why) || io_store_open(o->state, &store, &o->store, &why))
        bench_die("%s", why.text);
    struct ppsp_swarm_config swarm = {.id_len = o->film.swarm_id_len,
                                      .integrity = (enum ppsp_integrity)o->film.integrity,
                                      .hash = (enum cv_sha)o->film.hash,
                                      .addressing = (enum ppsp_addressing)o->film.addressing,
                                      .chunk_size = o->film.chunk_size,
                                      .length = o->film.length,
                                      .store = &io_store_ops,
                                      .store_ctx = o->store};
    memcpy(swarm.id, o->film.swarm_id, o->film.swarm_id_len);
    if (ppsp_swarm_open(o->ppsp, o->now, &swarm, &o->swarm))
        bench_die("a swarm cannot be opened");
}

static void end(struct owner *o) {
    ppsp_swarm_close(o->ppsp, o->now, o->swarm);
    work(o);
    ppsp_free(o->ppsp);
    tun_free(o->t);
    io_store_close(o->store);
    io_state_close(o->state);
    io_udp_close(o->udp);
}

/* Some relays and, last, the one that shares; all of them are known, and so know each other. */
static void choose(struct owner *o, unsigned hops, struct tun_circuit_plan *ret) {
    const struct tun_directory *dir = tun_client_directory(o->t);
    struct tun_relay *v[WORLD_RELAYS];
    double end = bench_now() + 120;
    size_t n = 0;
    while (n < WORLD_RELAYS) {
        if (bench_now() > end)
            bench_die("%zu of %d relays are known after two minutes", n, WORLD_RELAYS);
        step(o, 0.2);
        n = tun_directory_list(dir, tun_descriptor_day(o->now.wall), TUN_DIRECTORY_CONFIRMED, v,
                               WORLD_RELAYS);
    }
    *ret = (struct tun_circuit_plan){.purpose = TUN_PURPOSE_GENERAL, .hops = hops};
    for (unsigned i = 0, at = 0; i < n; i++) {
        bool last = cv_addr_equal(&v[i]->desc.addr[0], &o->relay[WORLD_RELAYS - 1]);
        if (last || at < hops - 1)
            tun_relay_ref_fill(&ret->hop[last ? hops - 1 : at++], v[i], o->now.wall);
    }
}

/* ---- one circuit ---- */

static bool build(struct owner *o, const struct tun_circuit_plan *plan, double *ret_ms) {
    double began = bench_now();
    o->now = io_clock_now();
    o->down = false;
    o->ready_at = o->pong_at = o->chunk_at = 0;
    if (tun_circuit_build(o->t, &o->now, plan, &o->circuit))
        return false;
    work(o);
    if (!until(o, &o->ready_at, "end", 1))
        return false;
    *ret_ms = (o->ready_at - began) * 1e3;
    return true;
}

static bool there_and_back(struct owner *o, double *ret_ms) {
    double began = bench_now();
    o->now = io_clock_now();
    if (tun_request(o->t, &o->now, o->circuit, TUN_CMD_PING, NULL, 0, &o->ping))
        return false;
    work(o);
    if (!until(o, &o->pong_at, "PONG", 1))
        return false;
    *ret_ms = (o->pong_at - began) * 1e3;
    return true;
}

/* As node/openly.c does it: the call goes right behind OPEN. The octets first..last are wanted. */
static void call(struct owner *o, uint64_t first, uint64_t last, struct cv_endpoint *ret_peer,
                 ppsp_want_id *ret_want) {
    struct ppsp_peer_props props = {.mtu = TUN_MTU_FORWARD, .hidden = true, .initiate = true};
    uint8_t body[4 + 2 + NODE_URI_SWARM_ID_MAX];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    *ret_peer = cv_endpoint_circuit(o->circuit, 0);
    tun_open_write(&w,
                   &(struct tun_open){.swarm_id = o->film.swarm_id, .len = o->film.swarm_id_len});
    o->now = io_clock_now();
    if (ppsp_want(o->ppsp, o->now, o->swarm, first, last, o->now.mono, 0, ret_want) ||
        tun_request(o->t, &o->now, o->circuit, TUN_CMD_OPEN, body + 4, cv_wr_len(&w) - 4,
                    &o->open) ||
        ppsp_peer_add(o->ppsp, o->now, o->swarm, ret_peer, &props))
        bench_die("a swarm cannot be asked for");
    work(o);
}

static void hang_up(struct owner *o, const struct cv_endpoint *peer, ppsp_want_id want,
                    bool goodbye) {
    ppsp_unwant(o->ppsp, o->now, o->swarm, want);
    ppsp_peer_remove(o->ppsp, o->now, peer, goodbye);
    work(o);
}

static bool first_chunk(struct owner *o, uint64_t chunk, double *ret_ms) {
    struct cv_endpoint peer;
    ppsp_want_id want;
    uint64_t first = chunk * o->film.chunk_size;
    double began = bench_now();
    call(o, first, first, &peer, &want);
    bool came = until(o, &o->chunk_at, "chunk", 1);
    hang_up(o, &peer, want, /* goodbye= */ came);
    *ret_ms = (o->chunk_at - began) * 1e3;
    return came;
}

/* What is left of the film, through one circuit more. */
static double whole_film(struct owner *o, const struct tun_circuit_plan *plan) {
    struct cv_endpoint peer;
    ppsp_want_id want;
    struct ppsp_stats before, after;
    double unused;
    if (!build(o, plan, &unused) || ppsp_stats(o->ppsp, o->swarm, &before))
        bench_die("no circuit for the whole film");
    double began = bench_now();
    call(o, 0, o->film.length - 1, &peer, &want);
    if (!until(o, &o->whole_at, "whole film", 15) || ppsp_stats(o->ppsp, o->swarm, &after))
        bench_die("the circuit did not live as long as the film");
    hang_up(o, &peer, want, /* goodbye= */ true);
    tun_circuit_close(o->t, &o->now, o->circuit);
    work(o);
    return (double)(after.down - before.down) / (o->whole_at - began) / 1e6;
}

void circuits_measure(const struct world *w, const struct bench_options *opt, unsigned runs,
                      const char *uri, struct circuits_figures *ret) {
    static struct owner o;
    struct tun_circuit_plan plan;
    unsigned wanted = runs * CIRCUITS_A_RUN, failed = 0;
    bool warm = false; /* the first one makes the links */
    memset(&o, 0, sizeof o);
    begin(&o, w, opt);
    open_film(&o, uri);
    choose(&o, opt->hops, &plan);
    uint64_t chunks = o.film.length / o.film.chunk_size, spread = chunks / (wanted + 1);
    if (spread == 0)
        bench_die("%u circuits want as many chunks: fewer runs, or a larger file", wanted + 1);
    for (ret->count = 0; ret->count < wanted;) {
        unsigned i = ret->count;
        bool well = build(&o, &plan, &ret->build_ms[i]) && there_and_back(&o, &ret->rtt_ms[i]) &&
                    first_chunk(&o, (warm ? i + 1 : 0) * spread, &ret->first_ms[i]);
        tun_circuit_close(o.t, &o.now, o.circuit);
        work(&o);
        if (!well && ++failed > wanted)
            bench_die("%u circuits failed, %u did not", failed, ret->count);
        if (well && warm) {
            ret->first_rtts[i] = ret->first_ms[i] / ret->rtt_ms[i];
            ret->count++;
        }
        warm |= well;
        rest(&o, 0.025); /* a link takes fifty a second */
    }
    ret->mb_per_s = whole_film(&o, &plan);
    end(&o);
    bench_sort(ret->build_ms, wanted);
    bench_sort(ret->rtt_ms, wanted);
    bench_sort(ret->first_ms, wanted);
    bench_sort(ret->first_rtts, wanted);
}
