#include "tunnel/scheduler.h"

#include <assert.h>
#include <stdlib.h>

enum {
    BLOCK_CELLS = 64,
    BURST = 16, /* cells: long enough to leave in one segmented send */
    TURNS_A_SECOND = 250,
};

#define CODEL_TARGET   CV_MSEC(TUN_CODEL_TARGET_MS)
#define CODEL_INTERVAL CV_MSEC(TUN_CODEL_INTERVAL_MS)

/* Of a hundred, in gate classes 0 to 3; each of the other two has as much as all these. */
enum { GATE_CLASSES = 4 };
static const uint64_t share[GATE_CLASSES] = {50, 25, 20, 5};

/* What a group counts for beside one of another gate class, when classes are one pool. */
static const uint64_t head[GATE_CLASSES] = {4, 4, 4, 1};

/* Virtual time that a cell takes of a class that has everything; fine enough for shares
 * of thousands of groups. */
#define COST UINT64_C(4096)

/* No class is slowed down by more than this, so that virtual time never runs over. */
#define SLOWEST 4096

/* Of a class that keeps its own share: 100 by that, no division where it counts. */
static uint64_t own_cost(unsigned class) {
    static const uint64_t cost[TUN_SCHED_CLASSES] = {2 * COST,  4 * COST, 5 * COST,
                                                     20 * COST, COST,     COST};
    return cost[class];
}

enum cv_err tun_sched_init(struct tun_sched *s, uint64_t octets_max) {
    uint64_t blocks = octets_max / (BLOCK_CELLS * sizeof(struct tun_cell));
    *s = (struct tun_sched){.blocks_max = blocks < 1 ? 1 : (uint32_t)blocks, .burst = BURST};
    s->blocks = calloc(s->blocks_max, sizeof *s->blocks);
    if (!s->blocks)
        return CV_ERR_NOMEM;
    for (unsigned i = 0; i < TUN_SCHED_CLASSES; i++) {
        TAILQ_INIT(&s->class[i]);
        s->cost[i] = own_cost(i);
    }
    return CV_ERR_OK;
}

void tun_sched_pace(struct tun_sched *s, uint64_t octets_s) {
    uint64_t cells = octets_s / TUN_DATAGRAM / TURNS_A_SECOND;
    s->burst = octets_s == 0 || cells > BURST ? BURST : cells < 1 ? 1 : (int32_t)cells;
}

static void free_blocks(struct tun_sched *s) {
    for (uint32_t i = 0; i < s->blocks_used; i++)
        free(s->blocks[i]);
    s->blocks_used = 0;
    s->free = NULL;
}

void tun_sched_done(struct tun_sched *s) {
    free_blocks(s);
    free(s->blocks);
    s->blocks = NULL;
}

void tun_sched_trim(struct tun_sched *s) {
    if (s->cells_used == 0)
        free_blocks(s);
}

static bool grow(struct tun_sched *s) {
    if (s->blocks_used == s->blocks_max)
        return false;
    struct tun_cell *block = malloc(BLOCK_CELLS * sizeof *block);
    if (!block)
        return false;
    s->blocks[s->blocks_used++] = block;
    for (unsigned i = 0; i < BLOCK_CELLS; i++) {
        block[i].next = s->free;
        s->free = &block[i];
    }
    return true;
}

struct tun_cell *tun_sched_take(struct tun_sched *s) {
    if (!s->free && !grow(s))
        return NULL;
    struct tun_cell *c = s->free;
    s->free = c->next;
    s->cells_used++;
    return c;
}

void tun_sched_release(struct tun_sched *s, struct tun_cell *c) {
    assert(s->cells_used > 0);
    c->next = s->free;
    s->free = c;
    s->cells_used--;
}

/* ---- groups and flows ---- */

void tun_sched_group_init(struct tun_sched_group *g, unsigned class, unsigned weight) {
    assert(class < TUN_SCHED_CLASSES);
    *g = (struct tun_sched_group){.class = (uint8_t) class,
                                  .weight = (uint16_t)(weight ? weight : 1)};
    TAILQ_INIT(&g->fresh);
    TAILQ_INIT(&g->tired);
}

/* In tenths of a cell, TUN_WEIGHT_NEW of them: the least weight saves up for a few rounds. */
static int32_t group_turn(const struct tun_sched *s, const struct tun_sched_group *g) {
    return (int32_t)g->weight * s->burst;
}

/*
 * Divides the shares anew. Of two neighbouring classes with cells whose lower one would
 * serve a group faster, both shares make one pool, and so on upwards (pool adjacent
 * violators): then the pace of groups falls from class to class.
 */
static void share_out(struct tun_sched *s) {
    struct {
        uint64_t share, heads;
    } pool[GATE_CLASSES];
    unsigned of[GATE_CLASSES], n = 0; /* of which pool a class is */
    for (unsigned i = 0; i < GATE_CLASSES; i++) {
        if (s->load[i] == 0)
            continue;
        pool[n].share = share[i];
        pool[n].heads = s->load[i] * head[i];
        of[i] = n++;
        while (n > 1 &&
               pool[n - 2].share * pool[n - 1].heads < pool[n - 1].share * pool[n - 2].heads) {
            pool[n - 2].share += pool[n - 1].share;
            pool[n - 2].heads += pool[n - 1].heads;
            n--;
            for (unsigned k = 0; k <= i; k++)
                if (s->load[k] && of[k] == n)
                    of[k] = n - 1;
        }
    }
    for (unsigned i = 0; i < GATE_CLASSES; i++) {
        if (s->load[i] == 0)
            continue;
        uint64_t heads = s->load[i] * head[i];
        s->cost[i] = own_cost(i);
        if (pool[of[i]].heads == heads) /* a pool of its own */
            continue;
        uint64_t cost = 100 * COST * pool[of[i]].heads / (pool[of[i]].share * heads);
        s->cost[i] = cost < s->cost[i] * SLOWEST ? cost : s->cost[i] * SLOWEST;
    }
}

static void count_load(struct tun_sched *s, const struct tun_sched_group *g, bool comes) {
    s->load[g->class] += comes ? g->weight : -(uint64_t)g->weight;
    if (g->class < GATE_CLASSES)
        share_out(s);
}

static void group_activate(struct tun_sched *s, struct tun_sched_group *g) {
    if (g->active)
        return;
    g->active = true;
    g->deficit = group_turn(s, g);
    TAILQ_INSERT_TAIL(&s->class[g->class], g, entry);
    count_load(s, g, true);
}

static void group_deactivate(struct tun_sched *s, struct tun_sched_group *g) {
    if (!g->active)
        return;
    g->active = false;
    TAILQ_REMOVE(&s->class[g->class], g, entry);
    count_load(s, g, false);
}

static bool group_is_empty(const struct tun_sched_group *g) {
    return TAILQ_EMPTY(&g->fresh) && TAILQ_EMPTY(&g->tired);
}

void tun_sched_group_set(struct tun_sched *s, struct tun_sched_group *g, unsigned class,
                         unsigned weight) {
    assert(class < TUN_SCHED_CLASSES);
    bool active = g->active;
    group_deactivate(s, g);
    g->class = (uint8_t) class;
    g->weight = (uint16_t)(weight ? weight : 1);
    if (active)
        group_activate(s, g);
}

void tun_flow_init(struct tun_flow *f, struct tun_sched_group *g, void *owner, uint32_t max) {
    *f = (struct tun_flow){.group = g, .owner = owner, .max = max};
}

void tun_flow_count(struct tun_flow *f, uint32_t *load) {
    assert(f->count == 0);
    f->load = load;
}

/* Held flows wait for a grant even when they have cells. */
static bool flow_may_send(const struct tun_flow *f) {
    return f->head && (!f->held || f->granted > 0);
}

static void flow_unlist(struct tun_sched *s, struct tun_flow *f) {
    s->listed -= f->state != TUN_FLOW_IDLE;
    if (f->state == TUN_FLOW_FRESH)
        TAILQ_REMOVE(&f->group->fresh, f, entry);
    else if (f->state == TUN_FLOW_TIRED)
        TAILQ_REMOVE(&f->group->tired, f, entry);
    f->state = TUN_FLOW_IDLE;
    if (f->group && group_is_empty(f->group))
        group_deactivate(s, f->group);
}

/* A flow that was idle goes before those that always have something to send:
 * few cells in a long time mean a person who waits. */
static void flow_list_fresh(struct tun_sched *s, struct tun_flow *f) {
    assert(f->state == TUN_FLOW_IDLE);
    s->listed++;
    f->state = TUN_FLOW_FRESH;
    f->deficit = s->burst;
    TAILQ_INSERT_TAIL(&f->group->fresh, f, entry);
    group_activate(s, f->group);
}

static void flow_list_tired(const struct tun_sched *s, struct tun_flow *f) {
    f->state = TUN_FLOW_TIRED;
    f->deficit = s->burst;
    TAILQ_INSERT_TAIL(&f->group->tired, f, entry);
}

void tun_flow_move(struct tun_sched *s, struct tun_flow *f, struct tun_sched_group *g) {
    if (f->group == g)
        return;
    if (f->group)
        flow_unlist(s, f);
    f->group = g;
    if (flow_may_send(f))
        flow_list_fresh(s, f);
}

static struct tun_cell *flow_pop(struct tun_sched *s, struct tun_flow *f) {
    struct tun_cell *c = f->head;
    f->head = c->next;
    if (!f->head)
        f->tail = NULL;
    f->count--;
    s->cells_queued--;
    if (f->load)
        --*f->load;
    return c;
}

void tun_flow_clear(struct tun_sched *s, struct tun_flow *f) {
    while (f->head)
        tun_sched_release(s, flow_pop(s, f));
    if (f->group)
        flow_unlist(s, f);
    f->dropping = false;
    f->above_at = 0;
}

void tun_sched_put(struct tun_sched *s, struct tun_flow *f, struct tun_cell *c, cv_usec now) {
    assert(f->group);
    if (tun_flow_full(f) && f->head) {
        tun_sched_release(s, flow_pop(s, f));
        s->dropped_cap++;
    }
    c->next = NULL;
    c->queued_at = now;
    if (f->tail)
        f->tail->next = c;
    else
        f->head = c;
    f->tail = c;
    f->count++;
    s->cells_queued++;
    if (f->load)
        ++*f->load;
    if (f->state == TUN_FLOW_IDLE && flow_may_send(f))
        flow_list_fresh(s, f);
}

/* ---- CoDel, RFC 8289 section 5 ---- */

static uint32_t isqrt(uint32_t n) {
    uint32_t r = 0, bit = 1u << 30;
    while (bit > n)
        bit >>= 2;
    for (; bit; bit >>= 2) {
        if (n >= r + bit) {
            n -= r + bit;
            r = (r >> 1) + bit;
        } else {
            r >>= 1;
        }
    }
    return r;
}

/* interval / sqrt(drops), with eight bits of fraction */
static cv_usec control_law(cv_usec t, uint32_t drops) {
    uint32_t n = drops < 60000 ? drops : 60000;
    return t + CODEL_INTERVAL * 256 / isqrt(n << 16);
}

/* Has the head waited too long for a whole interval? */
static bool overdue(struct tun_flow *f, cv_usec now) {
    if (!f->head || cv_usec_since(now, f->head->queued_at) < CODEL_TARGET || f->count <= 1) {
        f->above_at = 0;
        return false;
    }
    if (f->above_at == 0) {
        f->above_at = cv_usec_add(now, CODEL_INTERVAL);
        return false;
    }
    return now >= f->above_at;
}

static void codel_drop(struct tun_sched *s, struct tun_flow *f) {
    tun_sched_release(s, flow_pop(s, f));
    s->dropped_codel++;
}

static void codel(struct tun_sched *s, struct tun_flow *f, cv_usec now) {
    bool late = overdue(f, now);
    if (f->dropping) {
        if (!late) {
            f->dropping = false;
            return;
        }
        while (f->dropping && now >= f->drop_at) {
            codel_drop(s, f);
            f->drops++;
            if (!overdue(f, now))
                f->dropping = false;
            else
                f->drop_at = control_law(f->drop_at, f->drops);
        }
    } else if (late) {
        codel_drop(s, f);
        (void)overdue(f, now);
        f->dropping = true;
        /* dropped a moment ago: go on at nearly the rate that helped then */
        bool recent = f->drops > 2 && cv_usec_since(now, f->drop_at) < 16 * CODEL_INTERVAL;
        f->drops = recent ? f->drops - 2 : 1;
        f->drop_at = control_law(now, f->drops);
    }
}

/* ---- constant rate ---- */

void tun_flow_hold(struct tun_sched *s, struct tun_flow *f) {
    assert(!f->held);
    f->held = true;
    f->granted = 0;
    if (f->group)
        flow_unlist(s, f);
}

/* The queue is seen as it is when a turn begins: a cell that CoDel drops later
 * would be one that is missing on the wire. */
uint32_t tun_flow_grant(struct tun_sched *s, struct tun_flow *f, uint32_t cells, cv_usec now) {
    assert(f->held);
    if (!f->patient)
        codel(s, f, now);
    f->granted = cells > TUN_GRANT_MAX - f->granted ? TUN_GRANT_MAX : f->granted + cells;
    if (f->group && f->state == TUN_FLOW_IDLE && flow_may_send(f))
        flow_list_fresh(s, f);
    /* more than it holds would push out what waits */
    uint32_t want = f->granted < f->max ? f->granted : f->max;
    return want > f->count ? want - f->count : 0;
}

struct tun_cell *tun_flow_take(struct tun_sched *s, struct tun_flow *f, cv_usec now) {
    assert(f->held);
    codel(s, f, now);
    return f->head ? flow_pop(s, f) : NULL;
}

void tun_flow_let_go(struct tun_sched *s, struct tun_flow *f) {
    f->held = false;
    f->granted = 0;
    if (f->group && f->state == TUN_FLOW_IDLE && flow_may_send(f))
        flow_list_fresh(s, f);
}

/* ---- who is next ---- */

static struct tun_flow *next_flow(const struct tun_sched *s, struct tun_sched_group *g) {
    for (;;) {
        struct tun_flow *f = TAILQ_FIRST(&g->fresh);
        bool fresh = f != NULL;
        if (!f)
            f = TAILQ_FIRST(&g->tired);
        assert(f);
        if (f->deficit > 0)
            return f;
        if (fresh)
            TAILQ_REMOVE(&g->fresh, f, entry);
        else
            TAILQ_REMOVE(&g->tired, f, entry);
        flow_list_tired(s, f);
    }
}

static struct tun_sched_group *next_group(struct tun_sched *s, unsigned class) {
    for (;;) {
        struct tun_sched_group *g = TAILQ_FIRST(&s->class[class]);
        assert(g);
        if (g->deficit > 0)
            return g;
        g->deficit += group_turn(s, g);
        TAILQ_REMOVE(&s->class[class], g, entry);
        TAILQ_INSERT_TAIL(&s->class[class], g, entry);
    }
}

/* The class being served keeps its turn while it has cells; then the one whose
 * next cell begins first. A class that was idle begins now: it saved nothing up. */
static unsigned next_class(struct tun_sched *s) {
    if (s->turn > 0 && !TAILQ_EMPTY(&s->class[s->current]))
        return s->current;
    uint64_t first = UINT64_MAX;
    for (unsigned i = 0; i < TUN_SCHED_CLASSES; i++) {
        if (TAILQ_EMPTY(&s->class[i]))
            continue;
        if (s->pass[i] < s->virtual_now)
            s->pass[i] = s->virtual_now;
        if (s->pass[i] < first) {
            first = s->pass[i];
            s->current = i;
        }
    }
    assert(first != UINT64_MAX);
    s->virtual_now = first;
    s->turn = s->burst;
    return s->current;
}

/* With many circuits the next flow was put to a batch ago, and has left the nearest cache;
 * while this cell is sealed it can come back. */
static void fetch_after(const struct tun_sched_group *g) {
    const struct tun_flow *f = TAILQ_FIRST(&g->fresh);
    if (f) {
        __builtin_prefetch(f);
        __builtin_prefetch(f + 1); /* its end, and its owner's beginning */
    }
}

struct tun_cell *tun_sched_next(struct tun_sched *s, cv_usec now, struct tun_flow **ret_flow) {
    while (s->listed) {
        unsigned class = next_class(s);
        struct tun_sched_group *g = next_group(s, class);
        struct tun_flow *f = next_flow(s, g);
        if (!f->patient && !f->held)
            codel(s, f, now);
        struct tun_cell *c = f->head ? flow_pop(s, f) : NULL;
        if (c) {
            f->deficit--;
            g->deficit -= TUN_WEIGHT_NEW;
            s->pass[class] += s->cost[class];
            s->turn--;
            f->granted -= f->held;
        }
        if (!flow_may_send(f))
            flow_unlist(s, f);
        if (c) {
            fetch_after(g);
            *ret_flow = f;
            return c;
        }
    }
    return NULL;
}
