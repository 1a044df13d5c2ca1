#include "reputation/rank_walk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "reputation/wide.h"

struct rep_walks {
    struct rep_walk_config cfg;
    uint8_t *len;          /* of each walk's list of nodes */
    uint32_t *nodes;       /* REP_WALK_STEPS a walk: where it came by, without ego */
    uint32_t *hits, *seen; /* by node; seen: stamp of the last walk that came by */
    uint32_t count, cap;   /* of the two */
    uint32_t stamp, ego, repaired;
    uint64_t version; /* of the graph that was walked */
    bool walked;
    uint32_t *given; /* rivals as they were told, .. */
    uint32_t given_n;
    struct rival *rivals; /* .. and with those whose place they took, by node */
    uint32_t rival_n;
};

/* One of those that compete, and its row without the others. */
struct rival {
    uint32_t node;
    uint64_t *sum;    /* as in the row, others add nothing */
    uint64_t version; /* of the graph it was summed up in; 0: not yet */
};

/* splitmix64: good enough to walk by, and the same everywhere. */
static uint64_t mix(uint64_t z) {
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static uint64_t next(uint64_t *state) {
    return mix(*state += 0x9e3779b97f4a7c15);
}

struct rep_walks *rep_walks_new(const struct rep_walk_config *cfg) {
    assert(cfg->walks > 0);
    assert(cfg->alpha_permille < 1000);
    struct rep_walks *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->cfg = *cfg;
    w->len = calloc(cfg->walks, sizeof *w->len);
    w->nodes = calloc((size_t)cfg->walks * REP_WALK_STEPS, sizeof *w->nodes);
    return w->len && w->nodes ? w : rep_walks_free(w);
}

static void free_rivals(struct rival *v, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        free(v[i].sum);
    free(v);
}

struct rep_walks *rep_walks_free(struct rep_walks *w) {
    if (!w)
        return NULL;
    free(w->len);
    free(w->nodes);
    free(w->hits);
    free(w->seen);
    free(w->given);
    free_rivals(w->rivals, w->rival_n);
    free(w);
    return NULL;
}

uint32_t rep_walks_hits(const struct rep_walks *w, uint32_t i) {
    return i < w->count ? w->hits[i] : 0;
}

void rep_walks_via(const struct rep_walks *w, uint32_t target, uint32_t *via) {
    for (uint32_t number = 0; number < w->cfg.walks; number++) {
        const uint32_t *list = &w->nodes[(size_t)number * REP_WALK_STEPS];
        for (unsigned i = 0; i < w->len[number]; i++)
            if (list[i] == target)
                via[list[0]]++;
    }
}

uint32_t rep_walks_apart(const struct rep_walks *w, uint32_t target) {
    uint32_t *before = calloc((size_t)w->count + 1, sizeof *before), most = 0;
    if (!before)
        return 0;
    for (uint32_t number = 0; number < w->cfg.walks; number++) {
        const uint32_t *list = &w->nodes[(size_t)number * REP_WALK_STEPS];
        unsigned at = 0;
        while (at < w->len[number] && list[at] != target)
            at++;
        for (unsigned i = 0; at < w->len[number] && i < at; i++)
            if (++before[list[i]] > most)
                most = before[list[i]];
    }
    free(before);
    return rep_walks_hits(w, target) - most;
}

uint32_t rep_walks_repaired(const struct rep_walks *w) {
    return w->repaired;
}

/* ---- rivals ---- */

static int by_node(const void *a, const void *b) {
    const struct rival *x = a, *y = b;
    return (x->node > y->node) - (x->node < y->node);
}

static struct rival *find_rival(const struct rep_walks *w, uint32_t node) {
    struct rival key = {.node = node};
    return w->rival_n ? bsearch(&key, w->rivals, w->rival_n, sizeof key, by_node) : NULL;
}

enum cv_err rep_walks_rivals(struct rep_walks *w, const uint32_t *nodes, uint32_t n) {
    uint32_t *given = calloc((size_t)n + 1, sizeof *given);
    if (!given)
        return CV_ERR_NOMEM;
    for (uint32_t i = 0; i < n; i++)
        given[i] = nodes[i];
    free(w->given);
    w->given = given;
    w->given_n = n;
    return CV_ERR_OK;
}

/* Who competes, by all the keys it had. */
static enum cv_err find_rivals(struct rep_walks *w, const struct rep_graph *g) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->given_n; i++)
        for (uint32_t k = w->given[i]; k != REP_NO_NODE; k = rep_graph_before(g, k))
            n++;
    struct rival *v = calloc((size_t)n + 1, sizeof *v);
    if (!v)
        return CV_ERR_NOMEM;
    n = 0;
    for (uint32_t i = 0; i < w->given_n; i++)
        for (uint32_t k = w->given[i]; k != REP_NO_NODE; k = rep_graph_before(g, k))
            v[n++].node = k;
    qsort(v, n, sizeof *v, by_node);
    bool same = n == w->rival_n;
    for (uint32_t i = 0; same && i < n; i++)
        same = v[i].node == w->rivals[i].node;
    if (same) {
        free(v);
        return CV_ERR_OK;
    }
    free_rivals(w->rivals, w->rival_n);
    w->rivals = v;
    w->rival_n = n;
    w->walked = false;
    return CV_ERR_OK;
}

/* Sums up the rows of rivals that changed. A node is marked when its row or
 * that of a neighbour's exclusion changed, so nothing else can be stale. */
static enum cv_err sum_rivals(struct rep_walks *w, struct rep_graph *g) {
    for (uint32_t i = 0; i < w->rival_n; i++) {
        struct rival *r = &w->rivals[i];
        uint32_t n;
        uint64_t total, below = 0, sum = 0;
        if (r->sum && rep_graph_changed(g, r->node) <= r->version)
            continue;
        const struct rep_half *row = rep_graph_row(g, r->node, &n, &total);
        uint64_t *more = realloc(r->sum, ((size_t)n + 1) * sizeof *more);
        if (!more)
            return CV_ERR_NOMEM;
        r->sum = more;
        for (uint32_t j = 0; j < n; j++) {
            if (!find_rival(w, row[j].to))
                sum += row[j].sum - below;
            below = row[j].sum;
            r->sum[j] = sum;
        }
        r->version = rep_graph_version(g);
    }
    return CV_ERR_OK;
}

/* ---- walking ---- */

/* A row to go on by: sums in it, or beside it for a rival. */
struct way {
    const struct rep_half *row;
    const uint64_t *sum; /* NULL: those of the row */
    uint32_t n;
    uint64_t total;
};

static struct way way_from(const struct rep_walks *w, struct rep_graph *g, uint32_t node) {
    struct way way = {0};
    way.row = rep_graph_row(g, node, &way.n, &way.total);
    const struct rival *r = find_rival(w, node);
    if (r && way.n) {
        way.sum = r->sum;
        way.total = r->sum[way.n - 1];
    }
    return way;
}

/* The node whose share of the row holds `at` (< total). */
static uint32_t pick(const struct way *way, uint64_t at) {
    uint32_t lo = 0, hi = way->n - 1;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if ((way->sum ? way->sum[mid] : way->row[mid].sum) > at)
            hi = mid;
        else
            lo = mid + 1;
    }
    return way->row[lo].to;
}

/* One step from a relay by the rows of all the keys it had; REP_NO_NODE: nothing leads on. */
static uint32_t step_from(const struct rep_walks *w, struct rep_graph *g, uint32_t at,
                          uint64_t *state) {
    struct way way[REP_HEIRS];
    uint64_t total = 0;
    unsigned n = 0;
    for (uint32_t k = at; k != REP_NO_NODE && n < REP_HEIRS; k = rep_graph_before(g, k)) {
        way[n] = way_from(w, g, k);
        if (__builtin_add_overflow(total, way[n].total, &total))
            total -= way[n].total; /* 2^64 octets are enough to go by */
        else
            n++;
    }
    if (total == 0)
        return REP_NO_NODE;
    uint64_t share = (uint64_t)((rep_u128)next(state) * total >> 64);
    unsigned i = 0;
    for (; share >= way[i].total; i++)
        share -= way[i].total;
    assert(i < n);
    return rep_graph_now(g, pick(&way[i], share));
}

static void walk(struct rep_walks *w, struct rep_graph *g, uint32_t number) {
    uint64_t state = mix(w->cfg.seed ^ mix(number + UINT64_C(1)));
    uint64_t go_on = ((uint64_t)w->cfg.alpha_permille << 32) / 1000;
    uint32_t *list = &w->nodes[(size_t)number * REP_WALK_STEPS];
    uint32_t at = w->ego;
    uint8_t len = 0;
    w->seen[at] = ++w->stamp;
    for (unsigned step = 0; step < REP_WALK_STEPS && next(&state) >> 32 < go_on; step++) {
        at = step_from(w, g, at, &state);
        if (at == REP_NO_NODE)
            break;
        if (w->seen[at] != w->stamp) {
            w->seen[at] = w->stamp;
            w->hits[at]++;
            list[len++] = at;
        }
    }
    w->len[number] = len;
}

/* Did the row of any node it came by change? */
static bool stale(const struct rep_walks *w, const struct rep_graph *g, uint32_t number) {
    const uint32_t *list = &w->nodes[(size_t)number * REP_WALK_STEPS];
    for (unsigned i = 0; i < w->len[number]; i++)
        if (rep_graph_changed(g, list[i]) > w->version)
            return true;
    return false;
}

static void forget(struct rep_walks *w, uint32_t number) {
    const uint32_t *list = &w->nodes[(size_t)number * REP_WALK_STEPS];
    for (unsigned i = 0; i < w->len[number]; i++)
        w->hits[list[i]]--;
}

static enum cv_err grow(struct rep_walks *w, uint32_t count) {
    if (count > w->cap) {
        uint32_t cap = count > w->cap / 2 * 3 ? count : w->cap / 2 * 3;
        uint32_t *hits = realloc(w->hits, cap * sizeof *hits);
        if (!hits)
            return CV_ERR_NOMEM;
        w->hits = hits;
        uint32_t *seen = realloc(w->seen, cap * sizeof *seen);
        if (!seen)
            return CV_ERR_NOMEM;
        w->seen = seen;
        w->cap = cap;
    }
    memset(w->hits + w->count, 0, (count - w->count) * sizeof *w->hits);
    memset(w->seen + w->count, 0, (count - w->count) * sizeof *w->seen);
    w->count = count;
    return CV_ERR_OK;
}

enum cv_err rep_walks_update(struct rep_walks *w, struct rep_graph *g, uint32_t ego) {
    uint32_t count = rep_graph_count(g);
    assert(ego < count);
    assert(count >= w->count);
    enum cv_err err = grow(w, count);
    if (!err)
        err = find_rivals(w, g);
    if (!err)
        err = sum_rivals(w, g);
    if (err)
        return err;
    if (w->stamp > UINT32_MAX - w->cfg.walks) { /* stamps begin anew */
        memset(w->seen, 0, count * sizeof *w->seen);
        w->stamp = 0;
    }
    bool all = !w->walked || w->ego != ego || rep_graph_changed(g, ego) > w->version;
    w->ego = ego;
    w->repaired = 0;
    for (uint32_t i = 0; i < w->cfg.walks; i++) {
        if (!all && !stale(w, g, i))
            continue;
        forget(w, i);
        walk(w, g, i);
        w->repaired++;
    }
    w->walked = true;
    w->version = rep_graph_version(g);
    return CV_ERR_OK;
}

enum cv_err rep_rank_walk(struct rep_graph *g, uint32_t ego, const struct rep_walk_config *cfg,
                          uint32_t *hits) {
    struct rep_walks *w = rep_walks_new(cfg);
    enum cv_err err = w ? rep_walks_update(w, g, ego) : CV_ERR_NOMEM;
    if (!err)
        memcpy(hits, w->hits, w->count * sizeof *hits);
    rep_walks_free(w);
    return err;
}

/* ---- exactly ---- */

/* Hands `chance` on along the rows of all the keys that node i had; what of it did. */
static double spread(struct rep_graph *g, uint32_t i, double chance, double *then) {
    uint32_t n;
    uint64_t total;
    double all = 0;
    for (uint32_t k = i; k != REP_NO_NODE; k = rep_graph_before(g, k)) {
        rep_graph_row(g, k, &n, &total);
        all += (double)total;
    }
    if (all == 0)
        return 0;
    for (uint32_t k = i; k != REP_NO_NODE; k = rep_graph_before(g, k)) {
        uint64_t below = 0;
        const struct rep_half *row = rep_graph_row(g, k, &n, &total);
        for (uint32_t j = 0; j < n; j++) {
            then[rep_graph_now(g, row[j].to)] += chance / all * (double)(row[j].sum - below);
            below = row[j].sum;
        }
    }
    return chance;
}

/* Expected visits of every node by walks from `from`: v = e + alpha v P, by
 * repetition; what has nowhere to go ends. */
static void visits(struct rep_graph *g, uint32_t from, double alpha, double tolerance, double *v,
                   double *now, double *then) {
    uint32_t count = rep_graph_count(g);
    memset(v, 0, count * sizeof *v);
    memset(now, 0, count * sizeof *now);
    now[from] = 1;
    for (double left = 1; left > tolerance;) {
        memset(then, 0, count * sizeof *then);
        left = 0;
        for (uint32_t i = 0; i < count; i++) {
            if (now[i] == 0)
                continue;
            v[i] += now[i];
            left += spread(g, i, alpha * now[i], then);
        }
        double *swap = now;
        now = then;
        then = swap;
    }
}

/* The chance of a first visit is the number of visits expected from ego, over
 * that of visits expected once one is there. */
enum cv_err rep_rank_walk_exact(struct rep_graph *g, uint32_t ego, double alpha, double tolerance,
                                double *ret) {
    uint32_t count = rep_graph_count(g);
    assert(ego < count);
    assert(alpha >= 0 && alpha < 1);
    double *work = calloc((size_t)count * 3, sizeof *work);
    if (!work)
        return CV_ERR_NOMEM;
    visits(g, ego, alpha, tolerance, ret, work, work + count);
    double *again = work + 2 * (size_t)count;
    for (uint32_t t = 0; t < count; t++)
        if (ret[t] > 0) {
            visits(g, t, alpha, tolerance, again, work, work + count);
            ret[t] /= again[t];
        }
    free(work);
    return CV_ERR_OK;
}
