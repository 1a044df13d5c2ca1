/*
 * culvert-ledger html: one page with everything in it, that loads nothing from
 * anywhere (its own policy forbids it). page.html draws; here is its data.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "culvert-ledger/print.h"
#include "culvert-ledger/show.h"
#include "reputation/rank_walk.h"

extern const char ledger_page[];

enum {
    LISTED_MAX = 2000, /* relays in the page, those with most octets */
    DRAWN_MAX = 200,   /* of them in the picture */
    WAYS_MAX = 8,      /* of one relay's explanation */
    HOPS_MAX = 8,
    SOURCES_MAX = 500, /* relays from which hops are counted */
};

struct page {
    struct ledger_file *f;
    struct ledger_graph g;
    uint32_t ego;
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
    uint64_t m = x->given + x->taken, n = y->given + y->taken;
    return m != n ? (m < n ? 1 : -1) : memcmp(x->key, y->key, CV_KEY);
}

static void list_relays(struct page *p) {
    p->listed = room(p, p->g.n, sizeof *p->listed);
    p->place = room(p, p->g.n, sizeof *p->place);
    for (uint32_t i = 0; i < p->g.n; i++)
        p->listed[i] = i;
    qsort_r(p->listed, p->g.n, sizeof *p->listed, most_octets, p->g.relay);
    uint32_t at = 0;
    while (p->listed[at] != p->ego)
        at++;
    memmove(p->listed + 1, p->listed, at * sizeof *p->listed);
    p->listed[0] = p->ego;
    p->n = p->g.n < LISTED_MAX ? p->g.n : LISTED_MAX;
    memset(p->place, 0xff, p->g.n * sizeof *p->place);
    for (uint32_t i = 0; i < p->n; i++)
        p->place[p->listed[i]] = i;
}

/* ---- relays and why they score ---- */

struct way {
    uint32_t via, walks;
};

static int most_walks(const void *a, const void *b) {
    const struct way *x = a, *y = b;
    if (x->walks != y->walks)
        return x->walks < y->walks ? 1 : -1;
    return (x->via > y->via) - (x->via < y->via);
}

/* The neighbours of ego that lead there, as [place, walks]. */
static json_t *ways_to(const struct page *p, uint32_t node, uint32_t *via, struct way *way) {
    json_t *all = json_array();
    uint32_t n = 0;
    memset(via, 0, p->g.n * sizeof *via);
    rep_walks_via(p->walks, node, via);
    for (uint32_t i = 0; i < p->g.n; i++)
        if (via[i] && p->place[i] != REP_NO_NODE)
            way[n++] = (struct way){.via = p->place[i], .walks = via[i]};
    qsort(way, n, sizeof *way, most_walks);
    for (uint32_t i = 0; i < n && i < WAYS_MAX; i++)
        json_array_append_new(all, json_pack("[i, i]", (int)way[i].via, (int)way[i].walks));
    return all;
}

static json_t *relays(struct page *p) {
    json_t *all = json_array();
    uint32_t *via = room(p, p->g.n, sizeof *via), degree;
    struct way *way = room(p, p->g.n, sizeof *way);
    uint64_t total;
    for (uint32_t i = 0; i < p->n; i++) {
        const struct ledger_relay *r = &p->g.relay[p->listed[i]];
        rep_graph_row(p->g.g, p->listed[i], &degree, &total);
        json_t *o = json_object();
        json_object_set_new(o, "id", ledger_json_id(p->f, r->key));
        json_object_set_new(
            o, "score", json_real((double)rep_walks_hits(p->walks, p->listed[i]) / LEDGER_WALKS));
        json_object_set_new(o, "hits", json_integer(rep_walks_hits(p->walks, p->listed[i])));
        json_object_set_new(o, "given", ledger_json_octets(r->given));
        json_object_set_new(o, "taken", ledger_json_octets(r->taken));
        json_object_set_new(o, "degree", json_integer(degree));
        json_object_set_new(o, "forger", json_boolean(rep_graph_excluded(p->g.g, p->listed[i])));
        json_object_set_new(o, "ways", ways_to(p, p->listed[i], via, way));
        json_array_append_new(all, o);
    }
    free(via);
    free(way);
    return all;
}

/* ---- rows over time ---- */

static void add_row(const struct page *p, json_t *all, const void *giver, const void *taker,
                    int64_t epoch, int64_t octets) {
    uint32_t a = rep_graph_find(p->g.g, giver), b = rep_graph_find(p->g.g, taker);
    if (octets <= 0 || a == REP_NO_NODE || b == REP_NO_NODE || p->place[a] == REP_NO_NODE ||
        p->place[b] == REP_NO_NODE)
        return;
    json_array_append_new(all, json_pack("[i, i, I, I]", (int)p->place[a], (int)p->place[b],
                                         (json_int_t)epoch, (json_int_t)octets));
}

/* [giver, taker, epoch, octets in all], by epoch. */
static json_t *rows(const struct page *p) {
    json_t *all = json_array();
    sqlite3_stmt *st = ledger_query(
        p->f, "SELECT o.pk, q.pk, p.epoch, min(p.given, g.taken), min(p.taken, g.given) "
              "FROM block p JOIN block g ON g.owner = p.peer AND g.peer = p.owner AND g.type = 2 "
              "AND g.peer_seq = p.seq AND g.peer_hash = p.hash JOIN peer o ON o.id = p.owner "
              "JOIN peer q ON q.id = g.owner WHERE p.type = 1 ORDER BY p.epoch, o.pk, q.pk, p.seq");
    while (ledger_step(p->f, st)) {
        const void *a = sqlite3_column_blob(st, 0), *b = sqlite3_column_blob(st, 1);
        if (sqlite3_column_bytes(st, 0) != CV_KEY || sqlite3_column_bytes(st, 1) != CV_KEY)
            ledger_die(LEDGER_NOT_ONE, "%s: damaged (a relay's key); restore a backup", p->f->path);
        add_row(p, all, a, b, sqlite3_column_int64(st, 2), sqlite3_column_int64(st, 3));
        add_row(p, all, b, a, sqlite3_column_int64(st, 2), sqlite3_column_int64(st, 4));
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
        double pairs = (double)sources * (p->g.n > 1 ? p->g.n - 1 : 1);
        json_array_append_new(all, json_real((double)sum / pairs));
    }
    free(dist);
    free(queue);
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
    json_t *o = json_object();
    json_object_set_new(o, "ego", json_integer(p->place[p->ego]));
    json_object_set_new(o, "count", json_integer(p->g.n));
    json_object_set_new(o, "pairs", json_integer(ledger_number(p->f, "SELECT count(*) FROM edge")));
    json_object_set_new(o, "drawn", json_integer(DRAWN_MAX));
    json_object_set_new(o, "walks", json_integer(LEDGER_WALKS));
    json_object_set_new(o, "epochs",
                        json_pack("[I, I]", ledger_number(p->f, "SELECT min(epoch) FROM block"),
                                  ledger_number(p->f, "SELECT max(epoch) FROM block")));
    json_object_set_new(o, "relays", relays(p));
    json_object_set_new(o, "rows", rows(p));
    json_object_set_new(o, "coverage", coverage(p));
    return o;
}

void ledger_html(struct ledger_file *f, const struct ledger_request *q) {
    static const char mark[] = "/*DATA*/";
    struct page p = {.f = f};
    struct rep_walk_config cfg = {
        .walks = LEDGER_WALKS, .alpha_permille = REP_ALPHA_PERMILLE, .seed = q->scoring.seed};
    FILE *to = stdout;
    ledger_graph_load(f, &p.g);
    p.ego = ledger_ego(f, &p.g, q->ego);
    list_relays(&p);
    p.walks = rep_walks_new(&cfg);
    if (!p.walks || rep_walks_update(p.walks, p.g.g, p.ego))
        ledger_die(LEDGER_NO_FILE, "%s: out of memory", f->path);
    if (q->output && !(to = fopen(q->output, "w")))
        ledger_die(LEDGER_NO_FILE, "%s: cannot be written (%s)", q->output, strerrorname_np(errno));
    const char *at = strstr(ledger_page, mark);
    json_t *data = gather(&p);
    fwrite(ledger_page, 1, (size_t)(at - ledger_page), to);
    write_data(to, data);
    fputs(at + sizeof mark - 1, to);
    json_decref(data);
    if (q->output && (ferror(to) | fclose(to)))
        ledger_die(LEDGER_NO_FILE, "%s: cannot be written whole; is the disk full?", q->output);
    rep_walks_free(p.walks);
    free(p.listed);
    free(p.place);
    ledger_graph_done(&p.g);
}
