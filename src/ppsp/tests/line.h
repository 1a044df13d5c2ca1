/*
 * A bottleneck as arithmetic: one queue that drains at a fixed rate, drops what
 * finds it full, and gives every datagram the same way before and after. Flows
 * of two kinds send through it as fast as they may: LEDBAT, and Cubic (RFC 9438)
 * as a model of the others on a home line. Time steps of 100 us; the same run
 * every time.
 */
#ifndef CULVERT_PPSP_TESTS_LINE_H
#define CULVERT_PPSP_TESTS_LINE_H

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ppsp/ledbat.h"

enum { LINE_MSS = 1045, LINE_FLOWS = 4, LINE_SLOTS = 8192 };

#define LINE_STEP 100

struct line_cubic {
    double cwnd, ssthresh, w_max, k; /* datagrams; seconds */
    cv_usec epoch, recovered;
};

struct line_packet {
    cv_usec sent, acked_at; /* 0: dropped */
    uint64_t delay;
};

struct line_flow {
    bool cubic;
    cv_usec from; /* silent before */
    int64_t skew_ppm;
    struct ppsp_ledbat l;
    struct line_cubic c;
    struct line_packet p[LINE_SLOTS];
    uint64_t head, tail;
    uint64_t passed;          /* LEDBAT: all before it were acknowledged or lost */
    uint64_t delivered, lost; /* datagrams */
    /* Its receiver is away for so long, every so often, and reads in a heap then, by
     * one clock, what arrived meanwhile: 0 = never. */
    cv_usec stall_every, stall_for;
};

struct line {
    uint64_t rate; /* octets a second */
    cv_usec one_way, queue_max, now, busy;
    struct line_flow flow[LINE_FLOWS];
    unsigned flows;
    bool (*may_send)(void *ctx, unsigned flow); /* asked before each datagram; NULL: yes */
    void *ctx;
    /* since line_measure() */
    uint64_t before[LINE_FLOWS];
    double waited;
    uint64_t samples;
    cv_usec worst, began;
};

static inline struct line *line_new(uint64_t bits, cv_usec one_way, cv_usec queue_max) {
    struct line *n = calloc(1, sizeof *n);
    assert(n);
    n->rate = bits / 8;
    n->one_way = one_way;
    n->queue_max = queue_max;
    n->now = CV_SEC(1);
    return n;
}

static inline struct line_flow *line_flow(struct line *n, bool cubic, cv_usec after) {
    assert(n->flows < LINE_FLOWS);
    struct line_flow *f = &n->flow[n->flows++];
    f->cubic = cubic;
    f->from = n->now + after;
    f->c = (struct line_cubic){.cwnd = 10, .ssthresh = 1e9};
    return f;
}

static inline cv_usec line_wait(const struct line *n) {
    return n->busy > n->now ? n->busy - n->now : 0;
}

static inline void line_send(struct line *n, struct line_flow *f) {
    assert(f->tail - f->head < LINE_SLOTS);
    struct line_packet *p = &f->p[f->tail++ % LINE_SLOTS];
    *p = (struct line_packet){.sent = n->now};
    cv_usec wait = line_wait(n);
    if (wait > n->queue_max)
        return;
    n->busy = n->now + wait + (cv_usec)LINE_MSS * 1000000 / n->rate;
    p->delay = n->busy + n->one_way - n->now + 123456789;
    p->delay += (uint64_t)((int64_t)(n->now / 1000) * f->skew_ppm / 1000);
    p->acked_at = n->busy + 2 * n->one_way;
}

/* ---- Cubic, RFC 9438 sections 4.2 to 4.6 ---- */

static inline void line_cubic_lost(struct line *n, struct line_flow *f, cv_usec sent) {
    struct line_cubic *c = &f->c;
    if (sent < c->recovered)
        return;
    c->recovered = n->now;
    c->w_max = c->cwnd < c->w_max ? c->cwnd * (1 + 0.7) / 2 : c->cwnd;
    c->cwnd = c->cwnd * 0.7 < 2 ? 2 : c->cwnd * 0.7;
    c->ssthresh = c->cwnd;
    c->epoch = 0;
}

static inline void line_cubic_acked(struct line *n, struct line_flow *f, cv_usec rtt) {
    struct line_cubic *c = &f->c;
    if (c->cwnd < c->ssthresh) {
        c->cwnd += 1;
        return;
    }
    if (!c->epoch) {
        c->epoch = n->now;
        c->k = c->w_max > c->cwnd ? cbrt((c->w_max - c->cwnd) / 0.4) : 0;
    }
    double t = (double)(n->now - c->epoch + rtt) / 1e6 - c->k;
    double target = 0.4 * t * t * t + (c->w_max > c->cwnd || c->k > 0 ? c->w_max : c->cwnd);
    if (target > 1.5 * c->cwnd)
        target = 1.5 * c->cwnd;
    c->cwnd += target > c->cwnd ? (target - c->cwnd) / c->cwnd : 0.01 / c->cwnd;
}

/* ---- time ---- */

/* In the order in which they were sent: what is lost is seen when something behind it is
 * acknowledged. */
static inline void line_cubic_acks(struct line *n, struct line_flow *f) {
    for (; f->head != f->tail; f->head++) {
        const struct line_packet *p = &f->p[f->head % LINE_SLOTS];
        if (p->acked_at > n->now)
            break;
        if (p->acked_at) {
            f->delivered++;
            line_cubic_acked(n, f, n->now - p->sent);
            continue;
        }
        bool passed = n->now >= p->sent + 2 * n->one_way + n->queue_max + CV_MSEC(50);
        for (uint64_t i = f->head + 1; i < f->tail && i < f->head + 64 && !passed; i++) {
            const struct line_packet *o = &f->p[i % LINE_SLOTS];
            passed = o->acked_at && o->acked_at <= n->now;
        }
        if (!passed)
            break;
        f->lost++;
        line_cubic_lost(n, f, p->sent);
    }
}

static inline void line_ledbat_acked(struct line *n, struct line_flow *f,
                                     const struct line_packet *p) {
    cv_usec phase = f->stall_every ? p->acked_at % f->stall_every : 0;
    cv_usec late = phase < f->stall_for ? f->stall_for - phase : 0;
    f->delivered++;
    ppsp_ledbat_delay(&f->l, n->now, p->delay + late);
    ppsp_ledbat_rtt(&f->l, n->now - p->sent);
    ppsp_ledbat_acked(&f->l, n->now, LINE_MSS);
}

/* As the engine does it: acknowledgements count at once, what they passed by is lost
 * after the patience of ledbat.h. */
static inline void line_ledbat_acks(struct line *n, struct line_flow *f) {
    for (uint64_t i = f->passed; i < f->tail; i++) {
        const struct line_packet *p = &f->p[i % LINE_SLOTS];
        if (p->acked_at > n->now)
            break;
        if (p->acked_at == 0)
            continue;
        line_ledbat_acked(n, f, p);
        f->passed = i + 1;
    }
    for (; f->head < f->passed; f->head++) {
        const struct line_packet *p = &f->p[f->head % LINE_SLOTS];
        if (p->acked_at)
            continue;
        if (n->now < p->sent + ppsp_ledbat_patience(&f->l))
            break;
        f->lost++;
        ppsp_ledbat_lost(&f->l, n->now, p->sent, LINE_MSS);
    }
}

static inline void line_acks(struct line *n, struct line_flow *f) {
    if (f->stall_every && n->now % f->stall_every < f->stall_for)
        return;
    if (f->cubic)
        line_cubic_acks(n, f);
    else
        line_ledbat_acks(n, f);
}

static inline void line_step(struct line *n) {
    for (unsigned i = 0; i < n->flows; i++) {
        struct line_flow *f = &n->flow[i];
        if (n->now < f->from)
            continue;
        line_acks(n, f);
        if (f->cubic) {
            while ((double)(f->tail - f->head) < f->c.cwnd && f->tail - f->head < LINE_SLOTS)
                line_send(n, f);
            continue;
        }
        if (n->now >= f->l.cto_at) {
            ppsp_ledbat_timeout(&f->l, n->now);
            f->head = f->passed = f->tail;
        }
        cv_usec at;
        for (uint64_t k = ppsp_ledbat_allowance(&f->l, n->now, &at); k >= LINE_MSS; k -= LINE_MSS) {
            if (n->may_send && !n->may_send(n->ctx, i))
                break;
            ppsp_ledbat_sent(&f->l, n->now, LINE_MSS);
            line_send(n, f);
        }
    }
    cv_usec wait = line_wait(n);
    n->waited += (double)wait;
    n->samples++;
    n->worst = wait > n->worst ? wait : n->worst;
    n->now += LINE_STEP;
}

static inline void line_run(struct line *n, cv_usec time) {
    for (cv_usec end = n->now + time; n->now < end;)
        line_step(n);
}

/* Figures count from here on. */
static inline void line_measure(struct line *n) {
    for (unsigned i = 0; i < n->flows; i++)
        n->before[i] = n->flow[i].delivered;
    n->waited = 0;
    n->samples = 0;
    n->worst = 0;
    n->began = n->now;
}

/* Share of the line that a flow had, 0 .. 1. */
static inline double line_share(const struct line *n, unsigned i) {
    double octets = (double)(n->flow[i].delivered - n->before[i]) * LINE_MSS;
    return octets / ((double)n->rate * (double)(n->now - n->began) / 1e6);
}

static inline double line_queued_ms(const struct line *n) {
    return n->waited / (double)n->samples / 1000;
}

/* Jain's index of the first `flows` flows. */
static inline double line_jain(const struct line *n, unsigned flows) {
    double sum = 0, squares = 0;
    for (unsigned i = 0; i < flows; i++) {
        sum += line_share(n, i);
        squares += line_share(n, i) * line_share(n, i);
    }
    return squares > 0 ? sum * sum / (flows * squares) : 0;
}

#endif
