#include "culvert-ledger/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "culvert-ledger/print.h"
#include "reputation/forkproof.h"

/* ---- stats ---- */

/* What SQL's sum() refuses, more than 2^63 - 1 octets, is told as that many. */
#define HIGH(octets) "sum(" octets " >> 32)"
#define LOW(octets)  "sum(" octets " & 4294967295)"
#define TOTAL(octets)                                                                              \
    "CASE WHEN " HIGH(octets) " + (" LOW(octets) " >> 32) < 2147483648 THEN (" HIGH(               \
        octets) " << 32) + " LOW(octets) " ELSE 9223372036854775807 END"
/* Of no row at all it is none. */
#define ALL(octets) "CASE WHEN count(*) = 0 THEN 0 ELSE " TOTAL(octets) " END"

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
    {"octets", "octets agreed", "SELECT " ALL("bytes") " FROM edge", true},
    {"own_half_blocks", "half-blocks of ours",
     "SELECT count(*) FROM block b JOIN peer p ON p.id = b.owner "
     "WHERE p.pk = (SELECT value FROM meta WHERE name = 'identity')",
     false},
    {"given", "given by us, released",
     "SELECT " ALL("bytes") " FROM edge e JOIN peer p ON p.id = e.giver "
                            "WHERE p.pk = (SELECT value FROM meta WHERE name = 'identity')",
     true},
    {"taken", "taken by us, released",
     "SELECT " ALL("bytes") " FROM edge e JOIN peer p ON p.id = e.taker "
                            "WHERE p.pk = (SELECT value FROM meta WHERE name = 'identity')",
     true},
    {"pending_rows", "rows not released yet", "SELECT count(*) FROM link", false},
    {"pending_given", "given by us, pending", "SELECT " ALL("pending_out") " FROM link", true},
    {"pending_taken", "taken by us, pending", "SELECT " ALL("pending_in") " FROM link", true},
    {"first_epoch", "first epoch", "SELECT min(epoch) FROM block", false},
    {"last_epoch", "last epoch", "SELECT max(epoch) FROM block", false},
    {"successions", "keys with a successor", "SELECT count(*) FROM block WHERE type = 3", false},
    {"forks", "forks proven", "SELECT count(*) FROM fork", false},
    {"file_octets", "size of the file",
     "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", true},
};

int64_t ledger_figure(struct ledger_file *f, const char *name) {
    size_t i = 0;
    while (strcmp(figures[i].name, name) != 0)
        i++;
    return ledger_number(f, figures[i].sql);
}

void ledger_stats(struct ledger_file *f, const struct ledger_request *q) {
    bool json = q->json;
    char hex[2 * CV_KEY + 1], size[16];
    int64_t values[sizeof figures / sizeof *figures];
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        values[i] = ledger_number(f, figures[i].sql); /* all or nothing is shown */
    json_t *o = json_object();
    json_object_set_new(o, "db", json_string(f->path));
    json_object_set_new(o, "schema", json_integer(f->version));
    json_object_set_new(o, "identity", ledger_json_hex(f->identity, CV_KEY));
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
            printf("%-24s %s\n", figures[i].text, ledger_size((uint64_t)n, size));
        else if (!json)
            printf("%-24s %" PRId64 "\n", figures[i].text, n);
    }
    if (json)
        ledger_print_json(o);
    else
        json_decref(o);
}

/* ---- chain, pair ---- */

static const char *type_text(const struct rep_record *r) {
    return r->type == REP_PROPOSAL    ? "proposal"
           : r->type == REP_AGREEMENT ? "agreement"
                                      : "succession";
}

json_t *ledger_json_record(const struct ledger_file *f, const struct rep_record *r, bool agreed) {
    json_t *o = json_object();
    json_object_set_new(o, "owner", ledger_json_id(f, r->owner));
    json_object_set_new(o, "seq", ledger_json_octets(r->seq));
    json_object_set_new(o, "type", json_string(type_text(r)));
    json_object_set_new(o, "peer", ledger_json_id(f, r->peer));
    json_object_set_new(o, "peer_seq", ledger_json_octets(r->peer_seq));
    json_object_set_new(o, "epoch", ledger_json_octets(r->epoch));
    json_object_set_new(o, "given", ledger_json_octets(r->given));
    json_object_set_new(o, "taken", ledger_json_octets(r->taken));
    json_object_set_new(o, "agreed", json_boolean(agreed));
    json_object_set_new(o, "hash", ledger_json_hex(r->hash, REP_HASH));
    return o;
}

void ledger_print_record(const struct ledger_file *f, const struct rep_record *r, bool agreed) {
    char owner[256], peer[256], given[16], taken[16];
    if (r->type == REP_SUCCESSION) {
        printf("%s closed from epoch %" PRIu32 " on; its place takes %s\n",
               ledger_short(f, r->owner, owner), r->epoch, ledger_short(f, r->peer, peer));
        return;
    }
    printf("%s %6" PRIu64 "  %-9s  %s  epoch %-8" PRIu32 "  gave %10s  took %10s  %s\n",
           ledger_short(f, r->owner, owner), r->seq, type_text(r), ledger_short(f, r->peer, peer),
           r->epoch, ledger_size(r->given, given), ledger_size(r->taken, taken),
           agreed ? "agreed" : "open");
}

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
            json_array_append_new(into, ledger_json_record(f, &r, agreed));
        else
            ledger_print_record(f, &r, agreed);
        n++;
    }
    return n;
}

void ledger_chain(struct ledger_file *f, const struct ledger_request *q) {
    int64_t id = ledger_relay(f, q->relay[0]);
    bool json = q->json;
    sqlite3_stmt *st =
        ledger_query(f, "SELECT " LEDGER_AGREED LEDGER_BLOCK "WHERE b.owner = ?1 ORDER BY b.seq");
    sqlite3_bind_int64(st, 1, id);
    json_t *all = json ? json_array() : NULL;
    unsigned n = show_records(f, st, all);
    if (json)
        ledger_print_json(all);
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

static void print_agreed(const char *giver, uint64_t octets) {
    char size[16], who[256];
    snprintf(who, sizeof who, "%s", giver);
    printf("agreed: %s gave %s (%" PRIu64 " octets)\n", ledger_one_line(who),
           ledger_size(octets, size), octets);
}

void ledger_pair(struct ledger_file *f, const struct ledger_request *q) {
    const char *a = q->relay[0], *b = q->relay[1];
    int64_t id_a = ledger_relay(f, a), id_b = ledger_relay(f, b);
    uint64_t ab = agreed_octets(f, id_a, id_b), ba = agreed_octets(f, id_b, id_a);
    sqlite3_stmt *st =
        ledger_query(f, "SELECT " LEDGER_AGREED LEDGER_BLOCK
                        "WHERE (b.owner = ?1 AND b.peer = ?2) OR (b.owner = ?2 AND b.peer = ?1) "
                        "ORDER BY b.epoch, b.type, b.seq");
    sqlite3_bind_int64(st, 1, id_a);
    sqlite3_bind_int64(st, 2, id_b);
    if (q->json) {
        json_t *o = json_object(), *records = json_array();
        show_records(f, st, records);
        json_object_set_new(o, "a_gave_b", ledger_json_octets(ab));
        json_object_set_new(o, "b_gave_a", ledger_json_octets(ba));
        json_object_set_new(o, "half_blocks", records);
        ledger_print_json(o);
        return;
    }
    show_records(f, st, NULL);
    print_agreed(a, ab);
    print_agreed(b, ba);
}

/* ---- show ---- */

/* One number about the bound relay. */
static int64_t about(struct ledger_file *f, const char *sql, int64_t id) {
    sqlite3_stmt *st = ledger_query(f, sql);
    sqlite3_bind_int64(st, 1, id);
    if (!ledger_step(f, st))
        return 0;
    int64_t n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return n;
}

static const struct {
    const char *name, *text, *sql;
    bool is_size;
} facts[] = {
    {"given", "given", "SELECT " ALL("bytes") " FROM edge WHERE giver = ?1", true},
    {"taken", "taken", "SELECT " ALL("bytes") " FROM edge WHERE taker = ?1", true},
    {"served", "relays it gave to", "SELECT count(*) FROM edge WHERE giver = ?1 AND bytes > 0",
     false},
    {"served_by", "relays that gave to it",
     "SELECT count(*) FROM edge WHERE taker = ?1 AND bytes > 0", false},
    {"half_blocks", "half-blocks", "SELECT count(*) FROM block WHERE owner = ?1", false},
    {"last_seq", "newest of them",
     "SELECT coalesce(max(seq), 0) FROM block WHERE owner = ?1 AND type < 3", false},
    {"first_epoch", "first epoch", "SELECT min(epoch) FROM block WHERE owner = ?1", false},
    {"last_epoch", "last epoch", "SELECT max(epoch) FROM block WHERE owner = ?1", false},
    {"first_seen", "first seen, Unix time", "SELECT first_seen FROM peer WHERE id = ?1", false},
    {"banned_until", "banned until, Unix time", "SELECT banned FROM peer WHERE id = ?1", false},
    {"forks", "forks proven", "SELECT count(*) FROM fork WHERE owner = ?1", false},
};

/* Whose place the relay took, or who took its place. */
static void show_succession(struct ledger_file *f, int64_t row, bool heir, json_t *into) {
    sqlite3_stmt *st =
        ledger_query(f, heir ? "SELECT p.pk, b.epoch FROM block b JOIN peer p ON p.id = b.peer "
                               "WHERE b.owner = ?1 AND b.type = 3"
                             : "SELECT p.pk, b.epoch FROM block b JOIN peer p ON p.id = b.owner "
                               "WHERE b.peer = ?1 AND b.type = 3 ORDER BY p.pk");
    sqlite3_bind_int64(st, 1, row);
    json_t *all = json_array();
    while (ledger_step(f, st)) {
        uint8_t key[CV_KEY];
        char id[256];
        if (sqlite3_column_bytes(st, 0) != CV_KEY)
            ledger_die(LEDGER_NOT_ONE, "%s: damaged (a relay's key); restore a backup", f->path);
        memcpy(key, sqlite3_column_blob(st, 0), CV_KEY);
        json_t *o = json_object();
        json_object_set_new(o, "id", ledger_json_id(f, key));
        json_object_set_new(o, "epoch", json_integer(sqlite3_column_int64(st, 1)));
        json_array_append_new(all, o);
        if (!into)
            printf("%-24s %s, from epoch %lld on\n", heir ? "its place takes" : "in the place of",
                   ledger_short(f, key, id), (long long)sqlite3_column_int64(st, 1));
    }
    if (into)
        json_object_set(into, heir ? "successor" : "successor_of", all);
    json_decref(all);
}

void ledger_show(struct ledger_file *f, const struct ledger_request *q) {
    uint8_t key[CV_KEY];
    char id[256], size[16];
    int64_t row = ledger_relay(f, q->relay[0]);
    ledger_relay_key(f, q->relay[0], key);
    json_t *o = json_object();
    json_object_set_new(o, "id", ledger_json_id(f, key));
    json_object_set_new(o, "key", ledger_json_hex(key, CV_KEY));
    if (!q->json)
        printf("%-24s %s\n", "relay", ledger_short(f, key, id));
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        int64_t n = about(f, facts[i].sql, row);
        json_object_set_new(o, facts[i].name, json_integer(n));
        if (!q->json && facts[i].is_size)
            printf("%-24s %s\n", facts[i].text, ledger_size((uint64_t)n, size));
        else if (!q->json)
            printf("%-24s %" PRId64 "\n", facts[i].text, n);
    }
    show_succession(f, row, true, q->json ? o : NULL);
    show_succession(f, row, false, q->json ? o : NULL);
    if (q->json)
        ledger_print_json(o);
    else
        json_decref(o);
}

/* ---- block ---- */

static void print_block(const struct ledger_file *f, const struct rep_record *r, bool agreed) {
    char hex[2 * REP_RECORD + 1];
    ledger_print_record(f, r, agreed);
    printf("%-12s %s\n", "hash", cv_hex(r->hash, REP_HASH, hex));
    printf("%-12s %s\n", "prev", cv_hex(r->prev, REP_HASH, hex));
    printf("%-12s %s %" PRIu64 "\n", "answers", cv_hex(r->peer_hash, REP_HASH, hex), r->peer_seq);
    printf("%-12s %s\n", "signature", cv_hex(r->sig, CV_SIGNATURE, hex));
}

void ledger_block(struct ledger_file *f, const struct ledger_request *q) {
    const char *text = q->relay[0];
    size_t len = strlen(text);
    struct rep_record r;
    if (len < 4 || len > 2 * REP_HASH || strspn(text, "0123456789abcdefABCDEF") != len)
        ledger_die(LEDGER_USAGE, "%s: not a hash; give 4 to 64 hexadecimal digits", text);
    sqlite3_stmt *st = ledger_query(f, "SELECT " LEDGER_AGREED LEDGER_BLOCK
                                       "WHERE substr(lower(hex(b.hash)), 1, ?2) = lower(?1)");
    sqlite3_bind_text(st, 1, text, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 2, (sqlite3_int64)len);
    if (!ledger_step(f, st))
        ledger_die(LEDGER_NOT_THERE, "%s: no such half-block in %s", text, f->path);
    bool agreed = sqlite3_column_int(st, 0) != 0, sound = ledger_record(st, 1, &r);
    if (ledger_step(f, st))
        ledger_die(LEDGER_NOT_THERE, "%s: several half-blocks begin so in %s; give more digits",
                   text, f->path);
    if (!sound)
        ledger_die(LEDGER_NOT_ONE, "%s: damaged (a half-block); restore a backup", f->path);
    if (q->json) {
        uint8_t octets[REP_RECORD];
        rep_record_write(&r, octets);
        json_t *o = ledger_json_record(f, &r, agreed);
        json_object_set_new(o, "peer_hash", ledger_json_hex(r.peer_hash, REP_HASH));
        json_object_set_new(o, "prev", ledger_json_hex(r.prev, REP_HASH));
        json_object_set_new(o, "signature", ledger_json_hex(r.sig, CV_SIGNATURE));
        json_object_set_new(o, "octets", ledger_json_hex(octets, REP_RECORD));
        ledger_print_json(o);
    } else {
        print_block(f, &r, agreed);
    }
}

/* ---- forks ---- */

void ledger_forks(struct ledger_file *f, const struct ledger_request *q) {
    json_t *all = json_array();
    sqlite3_stmt *st = ledger_query(f, "SELECT f.a, f.b, p.banned FROM fork f "
                                       "JOIN peer p ON p.id = f.owner ORDER BY p.pk, f.seq");
    while (ledger_step(f, st)) {
        struct rep_record a, b;
        bool sound = sqlite3_column_bytes(st, 0) == REP_RECORD &&
                     sqlite3_column_bytes(st, 1) == REP_RECORD &&
                     rep_record_read(sqlite3_column_blob(st, 0), &a) == CV_ERR_OK &&
                     rep_record_read(sqlite3_column_blob(st, 1), &b) == CV_ERR_OK;
        if (!sound)
            ledger_die(LEDGER_NOT_ONE, "%s: damaged (a fork proof); restore a backup", f->path);
        bool closed = a.type == REP_SUCCESSION || b.type == REP_SUCCESSION;
        const char *kind = closed && a.type == b.type ? "two successors"
                           : closed                   ? "signed after it was closed"
                           : a.seq == b.seq           ? "two versions"
                                                      : "claim falls";
        char id[256];
        if (q->json) {
            json_t *o = json_object();
            json_object_set_new(o, "owner", ledger_json_id(f, a.owner));
            json_object_set_new(o, "kind", json_string(kind));
            json_object_set_new(o, "banned_until", json_integer(sqlite3_column_int64(st, 2)));
            json_object_set_new(o, "a", ledger_json_record(f, &a, false));
            json_object_set_new(o, "b", ledger_json_record(f, &b, false));
            json_array_append_new(all, o);
        } else {
            printf("%s: %s\n", ledger_short(f, a.owner, id), kind);
            ledger_print_record(f, &a, false);
            ledger_print_record(f, &b, false);
        }
    }
    if (q->json)
        ledger_print_json(all);
    else
        json_decref(all);
}
