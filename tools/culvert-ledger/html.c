/*
 * culvert-ledger html: one page with everything in it, that loads nothing from
 * anywhere (its own policy forbids it). page.html draws; here is its data.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "culvert-ledger/print.h"
#include "culvert-ledger/show.h"
#include "culvert-ledger/ways.h"

extern const char ledger_page[];

enum {
    LISTED_MAX = 2000, /* relays in the page, those with most octets */
    DRAWN_MAX = 200,   /* of them in the picture */
    WAYS_MAX = 8,      /* of one relay's explanation */
    HOPS_MAX = 8,
    CURVE_MAX = 100,   /* points of the Lorenz curve */
    BINS = 34,         /* no neighbours, 1, 2 and 3, 4 to 7 ... */
    SOURCES_MAX = 500, /* relays from which hops are counted */
};

struct page {
    struct ledger_file *f;
    struct ledger_graph g;
    uint32_t ego;     /* REP_NO_NODE: there are no relays */
    uint32_t *listed; /* nodes by octets, ego first */
    uint32_t *place;  /* by node: in `listed`; REP_NO_NODE: not there */
    uint32_t n;
    struct rep_walks *walks;
};

static void *room(const struct page *p, size_t n, size_t size) {
    void *room = calloc(n + 1, size);
    if (!room)
        ledger_die(LEDGER_NO_FILE, "%s: out of memory", p->f->path);
    return room;
}

static int most_octets(const void *a, const void *b, void *relays) {
    const struct ledger_relay *x = (struct ledger_relay *)relays + *(const uint32_t *)a;
    const struct ledger_relay *y = (struct ledger_relay *)relays + *(const uint32_t *)b;
    uint64_t m = ledger_plus(x->given, x->taken), n = ledger_plus(y->given, y->taken);
    return m != n ? (m < n ? 1 : -1) : memcmp(x->key, y->key, CV_KEY);
}

static void list_relays(struct page *p) {
    p->listed = room(p, p->g.n, sizeof *p->listed);
    p->place = room(p, p->g.n, sizeof *p->place);
    for (uint32_t i = 0; i < p->g.n; i++)
        p->listed[i] = i;
    qsort_r(p->listed, p->g.n, sizeof *p->listed, most_octets, p->g.relay);
    uint32_t at = 0;
    while (p->ego != REP_NO_NODE && p->listed[at] != p->ego)
        at++;
    memmove(p->listed + 1, p->listed, at * sizeof *p->listed);
    p->listed[0] = p->ego; /* there is room for one more than there are */
    p->n = p->g.n < LISTED_MAX ? p->g.n : LISTED_MAX;
    memset(p->place, 0xff, p->g.n * sizeof *p->place);
    for (uint32_t i = 0; i < p->n; i++)
        p->place[p->listed[i]] = i;
}

/* ---- relays and why they score ---- */

/* The neighbours of ego that lead there, as [place, walks, in, out]. */
static json_t *ways_to(struct page *p, uint32_t node, struct ledger_way *way) {
    json_t *all = json_array();
    uint32_t n = ledger_ways(&p->g, p->walks, p->ego, node, way);
    for (uint32_t i = 0; i < n && json_array_size(all) < WAYS_MAX; i++)
        if (p->place[way[i].via] != REP_NO_NODE)
            json_array_append_new(all, json_pack("[i, i, I, I]", (int)p->place[way[i].via],
                                                 (int)way[i].walks, (json_int_t)way[i].in,
                                                 (json_int_t)way[i].out));
    return all;
}

static json_t *relays(struct page *p) {
    json_t *all = json_array();
    struct ledger_way *way = ledger_ways_room(p->f, &p->g);
    for (uint32_t i = 0; i < p->n; i++) {
        const struct ledger_relay *r = &p->g.relay[p->listed[i]];
        struct rep_inout direct = ledger_between(p->g.g, p->ego, p->listed[i]);
        json_t *o = json_object();
        json_object_set_new(o, "id", ledger_json_id(p->f, r->key));
        json_object_set_new(
            o, "score", json_real((double)rep_walks_hits(p->walks, p->listed[i]) / LEDGER_WALKS));
        json_object_set_new(o, "hits", json_integer(rep_walks_hits(p->walks, p->listed[i])));
        json_object_set_new(o, "given", ledger_json_octets(r->given));
        json_object_set_new(o, "taken", ledger_json_octets(r->taken));
        json_object_set_new(o, "gave_ego", ledger_json_octets(direct.in));
        json_object_set_new(o, "took_from_ego", ledger_json_octets(direct.out));
        json_object_set_new(o, "forger", json_boolean(rep_graph_excluded(p->g.g, p->listed[i])));
        json_object_set_new(o, "ways", ways_to(p, p->listed[i], way));
        json_array_append_new(all, o);
    }
    free(way);
    return all;
}

/* ---- what was carried, over time ---- */

/* Where a relay is listed; all that are not have the place behind them. */
static uint32_t place_of(const struct page *p, const void *key) {
    uint32_t node = rep_graph_find(p->g.g, key);
    return node == REP_NO_NODE || p->place[node] == REP_NO_NODE ? p->n : p->place[node];
}

/* Claims are in all: what is more than `before` was carried in this epoch. */
static void add_carried(const struct page *p, json_t *all, const uint32_t end[2], int64_t epoch,
                        int64_t octets, int64_t *before) {
    if (octets > *before && (end[0] < p->n || end[1] < p->n))
        json_array_append_new(all, json_pack("[i, i, I, I]", (int)end[0], (int)end[1],
                                             (json_int_t)epoch, (json_int_t)(octets - *before)));
    *before = octets > *before ? octets : *before;
}

/* [giver, taker, epoch, octets], of each pair by epoch. Either of the two may have proposed. */
static json_t *carried(const struct page *p) {
    json_t *all = json_array();
    int64_t pair[2] = {0}, before[2] = {0};
    sqlite3_stmt *st = ledger_query(
        p->f, "SELECT o.pk, q.pk, p.epoch, min(p.given, g.taken), min(p.taken, g.given), "
              "min(p.owner, p.peer), max(p.owner, p.peer), p.owner < p.peer "
              "FROM block p JOIN block g ON g.owner = p.peer AND g.peer = p.owner AND g.type = 2 "
              "AND g.peer_seq = p.seq AND g.peer_hash = p.hash JOIN peer o ON o.id = p.owner "
              "JOIN peer q ON q.id = g.owner WHERE p.type = 1 ORDER BY 6, 7, 3, p.seq");
    while (ledger_step(p->f, st)) {
        const void *a = sqlite3_column_blob(st, 0), *b = sqlite3_column_blob(st, 1);
        if (sqlite3_column_bytes(st, 0) != CV_KEY || sqlite3_column_bytes(st, 1) != CV_KEY)
            ledger_die(LEDGER_NOT_ONE, "%s: damaged (a relay's key); restore a backup", p->f->path);
        int64_t low = sqlite3_column_int64(st, 5), high = sqlite3_column_int64(st, 6);
        if (low != pair[0] || high != pair[1])
            before[0] = before[1] = 0;
        pair[0] = low;
        pair[1] = high;
        uint32_t one = place_of(p, a), two = place_of(p, b);
        int by_low = sqlite3_column_int(st, 7); /* before[0]: what the lower one gave */
        int64_t epoch = sqlite3_column_int64(st, 2);
        add_carried(p, all, (uint32_t[]){one, two}, epoch, sqlite3_column_int64(st, 3),
                    &before[!by_low]);
        add_carried(p, all, (uint32_t[]){two, one}, epoch, sqlite3_column_int64(st, 4),
                    &before[by_low]);
    }
    return all;
}

/* ---- coverage ---- */

/* Relays that are 1, 2 ... HOPS_MAX rows away from `from`, added to `met`. */
static void count_hops(const struct page *p, uint32_t from, uint32_t *dist, uint32_t *queue,
                       uint64_t met[HOPS_MAX]) {
    uint32_t head = 0, tail = 0;
    memset(dist, 0xff, p->g.n * sizeof *dist);
    dist[from] = 0;
    queue[tail++] = from;
    while (head < tail) {
        uint32_t at = queue[head++], n;
        uint64_t total;
        const struct rep_half *row = rep_graph_row(p->g.g, at, &n, &total);
        for (uint32_t j = 0; dist[at] < HOPS_MAX && j < n; j++)
            if (dist[row[j].to] == UINT32_MAX) {
                dist[row[j].to] = dist[at] + 1;
                met[dist[at]]++;
                queue[tail++] = row[j].to;
            }
    }
}

/* Share of ordered pairs within 1, 2 ... hops, either way of giving. */
static json_t *coverage(const struct page *p) {
    uint64_t met[HOPS_MAX] = {0}, sum = 0;
    uint32_t *dist = room(p, p->g.n, sizeof *dist), *queue = room(p, p->g.n, sizeof *queue);
    uint32_t sources = p->g.n < SOURCES_MAX ? p->g.n : SOURCES_MAX;
    json_t *all = json_array();
    for (uint32_t i = 0; i < sources; i++)
        count_hops(p, (uint32_t)((uint64_t)i * p->g.n / sources), dist, queue, met);
    for (unsigned h = 0; h < HOPS_MAX; h++) {
        sum += met[h];
        double pairs = p->g.n > 1 ? (double)sources * (p->g.n - 1) : 1;
        json_array_append_new(all, json_real((double)sum / pairs));
    }
    free(dist);
    free(queue);
    return all;
}

/* ---- how even it is ---- */

static int fewer_octets(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Of what each relay gave and took: the coefficient, and which share of it the poorest
 * 1, 2 ... of CURVE_MAX parts of all relays have. */
static void evenness(const struct page *p, json_t *o) {
    uint32_t n = p->g.n, points = n < CURVE_MAX ? n : CURVE_MAX;
    uint64_t *octets = room(p, n, sizeof *octets);
    double all = 0, ranked = 0, sum = 0;
    json_t *curve = json_array();
    for (uint32_t i = 0; i < n; i++)
        octets[i] = ledger_plus(p->g.relay[i].given, p->g.relay[i].taken);
    qsort(octets, n, sizeof *octets, fewer_octets);
    for (uint32_t i = 0; i < n; i++) {
        all += (double)octets[i];
        ranked += (2.0 * (i + 1) - n - 1) * (double)octets[i];
    }
    for (uint32_t i = 0, k = 1; all > 0 && k <= points; k++) {
        while (i < (uint64_t)k * n / points)
            sum += (double)octets[i++];
        json_array_append_new(curve, json_real(sum / all));
    }
    json_object_set_new(o, "gini", json_real(all > 0 ? ranked / (n * all) : 0));
    json_object_set_new(o, "lorenz", curve);
    free(octets);
}

/* Relays with no neighbour, with 1, with 2 and 3, with 4 to 7 and so on. */
static json_t *degrees(const struct page *p) {
    uint32_t count[BINS] = {0}, used = 0;
    json_t *all = json_array();
    for (uint32_t i = 0; i < p->g.n; i++) {
        uint32_t degree, bin = 0;
        uint64_t total;
        rep_graph_row(p->g.g, i, &degree, &total);
        while (degree >> bin)
            bin++;
        count[bin]++;
        used = bin + 1 > used ? bin + 1 : used;
    }
    for (uint32_t i = 0; i < used; i++)
        json_array_append_new(all, json_integer(count[i]));
    return all;
}

/* ---- the page ---- */

/* JSON in a script: no '<', so that no identifier ends it. */
static void write_data(FILE *to, const json_t *data) {
    char *text = json_dumps(data, JSON_COMPACT | JSON_ENSURE_ASCII);
    for (const char *c = text; c && *c; c++)
        if (*c == '<')
            fputs("\\u003c", to);
        else
            fputc(*c, to);
    free(text);
}

static json_t *gather(struct page *p) {
    static const char *const figures[] = {"relays", "half_blocks", "rows", "octets", "forks"};
    json_t *o = json_object();
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        json_object_set_new(o, figures[i], json_integer(ledger_figure(p->f, figures[i])));
    json_object_set_new(o, "ego", json_integer(p->n ? (json_int_t)p->place[p->ego] : -1));
    json_object_set_new(o, "drawn", json_integer(DRAWN_MAX));
    json_object_set_new(o, "walks", json_integer(LEDGER_WALKS));
    json_object_set_new(o, "epochs",
                        json_pack("[I, I]", (json_int_t)ledger_figure(p->f, "first_epoch"),
                                  (json_int_t)ledger_figure(p->f, "last_epoch")));
    json_object_set_new(o, "listed", relays(p));
    json_object_set_new(o, "carried", carried(p));
    json_object_set_new(o, "coverage", coverage(p));
    json_object_set_new(o, "degrees", degrees(p));
    evenness(p, o);
    return o;
}

void ledger_html(struct ledger_file *f, const struct ledger_request *q) {
    static const char mark[] = "/*DATA*/";
    struct page p = {.f = f};
    struct rep_walk_config cfg = {
        .walks = LEDGER_WALKS, .alpha_permille = REP_ALPHA_PERMILLE, .seed = q->scoring.seed};
    ledger_graph_load(f, &p.g);
    p.ego = p.g.n || q->ego ? ledger_ego(f, &p.g, q->ego) : REP_NO_NODE;
    list_relays(&p);
    p.walks = rep_walks_new(&cfg);
    if (!p.walks || (p.n && rep_walks_update(p.walks, p.g.g, p.ego)))
        ledger_die(LEDGER_NO_FILE, "%s: out of memory", f->path);
    const char *at = strstr(ledger_page, mark);
    json_t *data = gather(&p);
    FILE *to = ledger_output_open(f, q->output);
    fwrite(ledger_page, 1, (size_t)(at - ledger_page), to);
    write_data(to, data);
    fputs(at + sizeof mark - 1, to);
    json_decref(data);
    ledger_output_done(to, q->output);
    rep_walks_free(p.walks);
    free(p.listed);
    free(p.place);
    ledger_graph_done(&p.g);
}
