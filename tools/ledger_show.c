#include "ledger_show.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "reputation/graph.h"
#include "reputation/rank_ppr.h"
#include "reputation/rank_walk.h"

enum { WALKS = 100000, ALPHA_PERMILLE = 850, SHORT = 12 };

/* ---- printing ---- */

static void print_json(json_t *value) {
    json_dumpf(value, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(value);
}

static json_t *json_key(const uint8_t key[CV_KEY]) {
    char hex[2 * CV_KEY + 1];
    return json_string(cv_hex(key, CV_KEY, hex));
}

static json_t *json_octets(uint64_t n) {
    return json_integer((json_int_t)n);
}

/* "3.4 GiB"; exact octets are in the JSON. */
static const char *size_text(uint64_t n, char out[16]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)n;
    unsigned i = 0;
    while (v >= 1024 && i < 6) {
        v /= 1024;
        i++;
    }
    snprintf(out, 16, i ? "%.1f %s" : "%.0f %s", v, units[i]);
    return out;
}

static const char *short_key(const uint8_t key[CV_KEY], char out[2 * CV_KEY + 1]) {
    cv_hex(key, CV_KEY, out);
    out[SHORT] = '\0';
    return out;
}

/* ---- stats ---- */

/* One line of the statistics: how it is called, told and found out. */
static const struct {
    const char *name, *text, *sql;
    bool is_size;
} figures[] = {
    {"relays", "relays", "SELECT count(*) FROM peer", false},
    {"half_blocks", "half-blocks", "SELECT count(*) FROM block", false},
    {"chains", "chains", "SELECT count(DISTINCT owner) FROM block", false},
    {"agreements", "agreements", "SELECT count(*) FROM block WHERE type = 2", false},
    {"rows", "rows agreed by both", "SELECT count(*) FROM edge WHERE bytes > 0", false},
    {"octets", "octets agreed", "SELECT sum(bytes) FROM edge", true},
    {"own_half_blocks", "half-blocks of ours",
     "SELECT count(*) FROM block b JOIN peer p ON p.id = b.owner "
     "WHERE p.pk = (SELECT value FROM meta WHERE name = 'identity')",
     false},
    {"given", "given by us, released",
     "SELECT sum(bytes) FROM edge e JOIN peer p ON p.id = e.giver "
     "WHERE p.pk = (SELECT value FROM meta WHERE name = 'identity')",
     true},
    {"taken", "taken by us, released",
     "SELECT sum(bytes) FROM edge e JOIN peer p ON p.id = e.taker "
     "WHERE p.pk = (SELECT value FROM meta WHERE name = 'identity')",
     true},
    {"pending_rows", "rows not released yet", "SELECT count(*) FROM link", false},
    {"pending_given", "given by us, pending", "SELECT sum(pending_out) FROM link", true},
    {"pending_taken", "taken by us, pending", "SELECT sum(pending_in) FROM link", true},
    {"first_epoch", "first epoch", "SELECT min(epoch) FROM block", false},
    {"last_epoch", "last epoch", "SELECT max(epoch) FROM block", false},
    {"forks", "forks proven", "SELECT count(*) FROM fork", false},
    {"file_octets", "size of the file",
     "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", true},
};

void ledger_stats(struct ledger_file *f, bool json) {
    char hex[2 * CV_KEY + 1], size[16];
    int64_t values[sizeof figures / sizeof *figures];
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        values[i] = ledger_number(f, figures[i].sql); /* all or nothing is shown */
    json_t *o = json_object();
    json_object_set_new(o, "db", json_string(f->path));
    json_object_set_new(o, "schema", json_integer(f->version));
    json_object_set_new(o, "identity", json_key(f->identity));
    json_object_set_new(o, "network",
                        json_string(cv_hex(f->network_id, sizeof f->network_id, hex)));
    if (!json) {
        printf("%-24s %s\n", "network", hex);
        printf("%-24s %s\n", "identity", cv_hex(f->identity, CV_KEY, hex));
    }
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        int64_t n = values[i];
        json_object_set_new(o, figures[i].name, json_integer(n));
        if (!json && figures[i].is_size)
            printf("%-24s %s\n", figures[i].text, size_text((uint64_t)n, size));
        else if (!json)
            printf("%-24s %" PRId64 "\n", figures[i].text, n);
    }
    if (json)
        print_json(o);
    else
        json_decref(o);
}

/* ---- peers ---- */

struct peer {
    uint8_t key[CV_KEY];
    uint64_t given, taken; /* agreed, with everybody */
    int64_t banned;
    double score;
};

static struct rep_edge read_edge(struct ledger_file *f, sqlite3_stmt *st) {
    struct rep_edge e;
    memset(&e, 0, sizeof e);
    int64_t octets = sqlite3_column_int64(st, 2), recent = sqlite3_column_int64(st, 3);
    if (sqlite3_column_bytes(st, 0) != CV_KEY || sqlite3_column_bytes(st, 1) != CV_KEY ||
        octets < 0 || recent < 0 || (uint64_t)octets > REP_AMOUNT_MAX ||
        (uint64_t)recent > REP_AMOUNT_MAX)
        ledger_die(LEDGER_NOT_ONE, "%s: damaged (an agreed row); restore a backup", f->path);
    memcpy(e.giver, sqlite3_column_blob(st, 0), CV_KEY);
    memcpy(e.taker, sqlite3_column_blob(st, 1), CV_KEY);
    e.octets = (uint64_t)octets;
    e.recent = (uint64_t)recent;
    e.epoch = (uint32_t)sqlite3_column_int64(st, 4);
    return e;
}

static void check_memory(struct ledger_file *f, bool ok) {
    if (!ok)
        ledger_die(LEDGER_NO_FILE, "%s: out of memory", f->path);
}

/* The graph of agreed rows; every relay of the file is a node of it. */
static struct rep_graph *load_graph(struct ledger_file *f, struct peer **ret, uint32_t *ret_ego) {
    static const uint8_t hash_key[16] = {1};
    struct rep_graph *g = rep_graph_new(UINT32_MAX - 1, hash_key);
    check_memory(f, g && rep_graph_node(g, f->identity, ret_ego) == CV_ERR_OK);

    sqlite3_stmt *st = ledger_query(f, "SELECT pk, banned FROM peer ORDER BY id");
    uint32_t i, n = (uint32_t)ledger_number(f, "SELECT count(*) FROM peer") + 1;
    struct peer *peers = calloc(n, sizeof *peers);
    check_memory(f, peers != NULL);
    memcpy(peers[*ret_ego].key, f->identity, CV_KEY);
    while (ledger_step(f, st)) {
        if (sqlite3_column_bytes(st, 0) != CV_KEY)
            ledger_die(LEDGER_NOT_ONE, "%s: damaged (a relay's key); restore a backup", f->path);
        check_memory(f, rep_graph_node(g, sqlite3_column_blob(st, 0), &i) == CV_ERR_OK && i < n);
        memcpy(peers[i].key, sqlite3_column_blob(st, 0), CV_KEY);
        peers[i].banned = sqlite3_column_int64(st, 1);
    }
    st = ledger_query(f, "SELECT g.pk, t.pk, e.bytes, e.recent, e.epoch FROM edge e "
                         "JOIN peer g ON g.id = e.giver JOIN peer t ON t.id = e.taker");
    while (ledger_step(f, st)) {
        struct rep_edge e = read_edge(f, st);
        check_memory(f, rep_graph_load(g, &e, 1) == CV_ERR_OK);
        peers[rep_graph_find(g, e.giver)].given += e.octets;
        peers[rep_graph_find(g, e.taker)].taken += e.octets;
    }
    st = ledger_query(f, "SELECT DISTINCT p.pk FROM fork f JOIN peer p ON p.id = f.owner");
    while (ledger_step(f, st))
        check_memory(f, rep_graph_exclude(g, sqlite3_column_blob(st, 0)) == CV_ERR_OK);
    rep_graph_epoch(g, (uint32_t)ledger_number(f, "SELECT max(epoch) FROM edge"));
    *ret = peers;
    return g;
}

static void score(struct ledger_file *f, struct rep_graph *g, uint32_t ego,
                  enum ledger_metric metric, struct peer *peers) {
    uint32_t n = rep_graph_count(g);
    if (metric == LEDGER_PPR) {
        double *value = calloc(n, sizeof *value);
        check_memory(f, value && rep_rank_ppr(g, ego, REP_BOTH, 0.85, 1e-9, value) == CV_ERR_OK);
        for (uint32_t i = 0; i < n; i++)
            peers[i].score = value[i];
        free(value);
        return;
    }
    struct rep_walk_config cfg = {.walks = WALKS, .alpha_permille = ALPHA_PERMILLE, .seed = 1};
    uint32_t *hits = calloc(n, sizeof *hits);
    check_memory(f, hits && rep_rank_walk(g, ego, &cfg, hits) == CV_ERR_OK);
    for (uint32_t i = 0; i < n; i++)
        peers[i].score = (double)hits[i] / WALKS;
    free(hits);
}

static int by_score(const void *a, const void *b) {
    const struct peer *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return memcmp(x->key, y->key, CV_KEY);
}

static json_t *json_peer(const struct peer *p, bool is_self) {
    json_t *o = json_object();
    json_object_set_new(o, "id", json_key(p->key));
    json_object_set_new(o, "score", json_real(p->score));
    json_object_set_new(o, "given", json_octets(p->given));
    json_object_set_new(o, "taken", json_octets(p->taken));
    json_object_set_new(o, "banned_until", json_integer(p->banned));
    json_object_set_new(o, "self", json_boolean(is_self));
    return o;
}

void ledger_peers(struct ledger_file *f, enum ledger_metric metric, unsigned top, bool json) {
    struct peer *peers;
    uint32_t ego;
    struct rep_graph *g = load_graph(f, &peers, &ego);
    uint32_t n = rep_graph_count(g);
    score(f, g, ego, metric, peers);
    qsort(peers, n, sizeof *peers, by_score);
    n = top && top < n ? top : n;

    json_t *all = json_array();
    if (!json)
        printf("%-*s  %9s  %10s  %10s\n", SHORT, "relay", "score", "given", "taken");
    for (uint32_t i = 0; i < n; i++) {
        char key[2 * CV_KEY + 1], given[16], taken[16];
        bool is_self = memcmp(peers[i].key, f->identity, CV_KEY) == 0;
        if (json)
            json_array_append_new(all, json_peer(&peers[i], is_self));
        else
            printf("%s  %9.6f  %10s  %10s%s%s\n", short_key(peers[i].key, key), peers[i].score,
                   size_text(peers[i].given, given), size_text(peers[i].taken, taken),
                   is_self ? "  self" : "", peers[i].banned ? "  banned" : "");
    }
    if (json)
        print_json(all);
    else
        json_decref(all);
    free(peers);
    rep_graph_free(g);
}

/* ---- chain, pair ---- */

static const char *type_text(const struct rep_record *r) {
    return r->type == REP_PROPOSAL ? "proposal" : "agreement";
}

static json_t *json_record(const struct rep_record *r, bool agreed) {
    json_t *o = json_object();
    json_object_set_new(o, "owner", json_key(r->owner));
    json_object_set_new(o, "seq", json_octets(r->seq));
    json_object_set_new(o, "type", json_string(type_text(r)));
    json_object_set_new(o, "peer", json_key(r->peer));
    json_object_set_new(o, "peer_seq", json_octets(r->peer_seq));
    json_object_set_new(o, "epoch", json_octets(r->epoch));
    json_object_set_new(o, "given", json_octets(r->given));
    json_object_set_new(o, "taken", json_octets(r->taken));
    json_object_set_new(o, "agreed", json_boolean(agreed));
    json_object_set_new(o, "hash", json_key(r->hash));
    return o;
}

static void print_record(const struct rep_record *r, bool agreed) {
    char owner[2 * CV_KEY + 1], peer[2 * CV_KEY + 1], given[16], taken[16];
    printf("%s %6" PRIu64 "  %-9s  %s  epoch %-8" PRIu32 "  gave %10s  took %10s  %s\n",
           short_key(r->owner, owner), r->seq, type_text(r), short_key(r->peer, peer), r->epoch,
           size_text(r->given, given), size_text(r->taken, taken), agreed ? "agreed" : "open");
}

/* The other half exists and both point at each other. */
#define AGREED                                                                                     \
    "CASE b.type WHEN 1 THEN EXISTS(SELECT 1 FROM block g WHERE g.owner = b.peer AND "             \
    "g.peer = b.owner AND g.type = 2 AND g.peer_seq = b.seq AND g.peer_hash = b.hash) "            \
    "ELSE EXISTS(SELECT 1 FROM block g WHERE g.owner = b.peer AND g.seq = b.peer_seq AND "         \
    "g.peer = b.owner AND g.type = 1 AND g.hash = b.peer_hash) END, "

/* Half-blocks of a bound query, into an array or onto the screen. */
static unsigned show_records(struct ledger_file *f, sqlite3_stmt *st, json_t *into) {
    unsigned n = 0;
    while (ledger_step(f, st)) {
        struct rep_record r;
        bool agreed = sqlite3_column_int(st, 0) != 0;
        if (!ledger_record(st, 1, &r))
            ledger_die(LEDGER_NOT_ONE,
                       "%s: damaged (a half-block); run culvert-ledger verify, restore a backup",
                       f->path);
        if (into)
            json_array_append_new(into, json_record(&r, agreed));
        else
            print_record(&r, agreed);
        n++;
    }
    return n;
}

void ledger_chain(struct ledger_file *f, const char *relay, bool json) {
    int64_t id = ledger_relay(f, relay);
    sqlite3_stmt *st =
        ledger_query(f, "SELECT " AGREED LEDGER_BLOCK "WHERE b.owner = ?1 ORDER BY b.seq");
    sqlite3_bind_int64(st, 1, id);
    json_t *all = json ? json_array() : NULL;
    unsigned n = show_records(f, st, all);
    if (json)
        print_json(all);
    else if (n == 0)
        puts("no half-blocks of this relay are known");
}

static uint64_t agreed_octets(struct ledger_file *f, int64_t giver, int64_t taker) {
    sqlite3_stmt *st = ledger_query(f, "SELECT bytes FROM edge WHERE giver = ?1 AND taker = ?2");
    sqlite3_bind_int64(st, 1, giver);
    sqlite3_bind_int64(st, 2, taker);
    if (!ledger_step(f, st))
        return 0;
    uint64_t n = (uint64_t)sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return n;
}

void ledger_pair(struct ledger_file *f, const char *a, const char *b, bool json) {
    int64_t id_a = ledger_relay(f, a), id_b = ledger_relay(f, b);
    uint64_t ab = agreed_octets(f, id_a, id_b), ba = agreed_octets(f, id_b, id_a);
    sqlite3_stmt *st =
        ledger_query(f, "SELECT " AGREED LEDGER_BLOCK
                        "WHERE (b.owner = ?1 AND b.peer = ?2) OR (b.owner = ?2 AND b.peer = ?1) "
                        "ORDER BY b.epoch, b.type, b.seq");
    sqlite3_bind_int64(st, 1, id_a);
    sqlite3_bind_int64(st, 2, id_b);
    if (json) {
        json_t *o = json_object(), *records = json_array();
        show_records(f, st, records);
        json_object_set_new(o, "a_gave_b", json_octets(ab));
        json_object_set_new(o, "b_gave_a", json_octets(ba));
        json_object_set_new(o, "half_blocks", records);
        print_json(o);
        return;
    }
    char size[16];
    show_records(f, st, NULL);
    printf("agreed: %s gave %s (%" PRIu64 " octets)\n", a, size_text(ab, size), ab);
    printf("agreed: %s gave %s (%" PRIu64 " octets)\n", b, size_text(ba, size), ba);
}
