#include "culvert-bench/relay_process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "culvert-bench/bench.h"

/* One octet each. The end of the pipe is no sign: later processes hold it open. */
static const char STEP = 's', END = 'e';

struct relay {
    struct party self;
    struct relay_post *post;
    struct circuits none;
    cv_usec next;
};

static double cpu(void) {
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void events(struct relay *r) {
    party_events(&r->self, &r->post->now, &r->none);
}

static void step(struct relay *r) {
    struct relay_post *p = r->post;
    struct cv_batch b = cv_batch_init(p->arena, RELAY_SLOTS, TUN_DATAGRAM, 0, p->run, RELAY_SLOTS);
    double began = cpu();
    for (unsigned i = 0; i < p->in; i++) {
        if (i + TUN_EXPECT < p->in)
            tun_expect(r->self.t, p->datagram[i + TUN_EXPECT], TUN_DATAGRAM);
        (void)tun_on_datagram(r->self.t, &p->now, &p->from[i], p->datagram[i], TUN_DATAGRAM);
    }
    if (r->next <= p->now.mono)
        tun_on_timeout(r->self.t, &p->now);
    p->more = tun_poll_transmit(r->self.t, &p->now, &b);
    events(r);
    r->next = tun_next_timeout(r->self.t);
    p->cpu_s += cpu() - began;
    p->runs = b.runs_used;
    p->relayed = tun_counters(r->self.t)->relayed_cells;
    p->hops = tun_counters(r->self.t)->hops;
}

static void descriptor(struct relay *r) {
    struct relay_post *p = r->post;
    events(r);
    const uint8_t *own = tun_own_descriptor(r->self.t, p->now.wall, &p->descriptor_len);
    if (own)
        memcpy(p->descriptor, own, p->descriptor_len);
}

static _Noreturn void serve(struct relay_process *at, uint32_t hops_max, pid_t parent) {
    static struct relay r;
    char command;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EXIT_FAILURE);
    r.post = at->post;
    struct tun_config cfg = {.relay = true, .hops_max = hops_max};
    party_start(&r.self, &cfg, 0, 0, &r.post->now);
    tun_attach(r.self.t, TUN_USER_CLIENT, &party_ops, &r.post->next);
    descriptor(&r);
    while (write(at->back, "", 1) == 1 && read(at->to, &command, 1) == 1 && command == STEP)
        step(&r);
    tun_free(r.self.t);
    _exit(EXIT_SUCCESS);
}

static void wait_for(struct relay_process *p) {
    char done;
    if (read(p->back, &done, 1) != 1)
        bench_die("the relay's process ended");
}

void relay_process_start(struct relay_process *p, uint32_t hops_max, struct cv_now now) {
    int to[2], back[2];
    pid_t parent = getpid();
    p->post =
        mmap(NULL, sizeof *p->post, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p->post == MAP_FAILED || pipe(to) != 0 || pipe(back) != 0)
        bench_die("no memory or pipes for a relay");
    p->post->now = now;
    p->pid = fork();
    if (p->pid < 0)
        bench_die("cannot start a process");
    if (p->pid == 0) {
        close(to[1]);
        close(back[0]);
        serve(&(struct relay_process){.post = p->post, .to = to[0], .back = back[1]}, hops_max,
              parent);
    }
    close(to[0]);
    close(back[1]);
    p->to = to[1];
    p->back = back[0];
    wait_for(p);
}

void relay_process_step(struct relay_process *p) {
    if (write(p->to, &STEP, 1) != 1)
        bench_die("the relay's process ended");
    wait_for(p);
}

double relay_process_rss(const struct relay_process *p) {
    char path[64], line[256];
    unsigned long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)p->pid);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "RssAnon:", 8) == 0)
            kib = strtoul(line + 8, NULL, 10);
    if (!f || fclose(f) != 0 || kib == 0)
        bench_die("%s: cannot be read", path);
    return (double)kib * 1024;
}

void relay_process_end(struct relay_process *p) {
    int status;
    if (write(p->to, &END, 1) != 1)
        bench_die("the relay's process ended");
    if (waitpid(p->pid, &status, 0) != p->pid || status != 0)
        bench_die("the relay's process did not end well");
    close(p->to);
    close(p->back);
    munmap(p->post, sizeof *p->post);
}
