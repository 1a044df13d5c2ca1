/*
 * culvert-ledger export. ndjson is the whole public ledger, half-blocks to the
 * octet, and what `import --ndjson` reads; json is the same as one value, with
 * the agreed rows; csv, dot and graphml are the agreed rows. Private accounts
 * and unreleased counts are in none of them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "culvert-ledger/print.h"
#include "culvert-ledger/show.h"

struct out {
    struct ledger_file *f;
    FILE *to;
    json_t *json; /* format json: everything is gathered in it */
};

/* ---- rows ---- */

struct row {
    const char *giver, *taker;
    uint64_t octets;
    uint32_t epoch;
};

/* Agreed rows by key, so that equal ledgers are exported as equal files. */
static void each_row(struct out *o, void (*tell)(struct out *o, const struct row *r)) {
    sqlite3_stmt *st =
        ledger_query(o->f, "SELECT g.pk, t.pk, e.bytes, e.epoch FROM edge e JOIN peer g ON g.id = "
                           "e.giver JOIN peer t ON t.id = e.taker ORDER BY g.pk, t.pk");
    while (ledger_step(o->f, st)) {
        char giver[2 * CV_KEY + 1], taker[2 * CV_KEY + 1];
        if (sqlite3_column_bytes(st, 0) != CV_KEY || sqlite3_column_bytes(st, 1) != CV_KEY ||
            sqlite3_column_int64(st, 2) < 0)
            ledger_die(LEDGER_NOT_ONE, "%s: damaged (an agreed row); restore a backup", o->f->path);
        struct row r = {.giver = ledger_id(o->f, sqlite3_column_blob(st, 0), giver),
                        .taker = ledger_id(o->f, sqlite3_column_blob(st, 1), taker),
                        .octets = (uint64_t)sqlite3_column_int64(st, 2),
                        .epoch = (uint32_t)sqlite3_column_int64(st, 3)};
        tell(o, &r);
    }
}

/* Relays by key. */
static void each_relay(struct out *o, void (*tell)(struct out *o, const uint8_t key[CV_KEY])) {
    sqlite3_stmt *st = ledger_query(o->f, "SELECT pk FROM peer ORDER BY pk");
    while (ledger_step(o->f, st)) {
        if (sqlite3_column_bytes(st, 0) != CV_KEY)
            ledger_die(LEDGER_NOT_ONE, "%s: damaged (a relay's key); restore a backup", o->f->path);
        tell(o, sqlite3_column_blob(st, 0));
    }
}

/* `text` with what `special` lists replaced, one replacement a character. */
static void escaped(FILE *to, const char *text, const char *special, const char *const *by) {
    for (; *text; text++) {
        const char *at = strchr(special, *text);
        if (at)
            fputs(by[at - special], to);
        else
            fputc(*text, to);
    }
}

/* ---- csv ---- */

static void csv_field(FILE *to, const char *text) {
    static const char *const doubled[] = {"\"\""};
    if (text[0] && !strpbrk(text, ",\"\r\n") && text[0] != ' ' && text[strlen(text) - 1] != ' ') {
        fputs(text, to);
        return;
    }
    fputc('"', to);
    escaped(to, text, "\"", doubled);
    fputc('"', to);
}

static void csv_row(struct out *o, const struct row *r) {
    csv_field(o->to, r->giver);
    fputc(',', o->to);
    csv_field(o->to, r->taker);
    fprintf(o->to, ",%" PRIu64 ",%" PRIu64 "\n", r->octets, (uint64_t)r->epoch * REP_EPOCH_SECONDS);
}

static void export_csv(struct out *o) {
    fputs("giver,taker,bytes,time\n", o->to);
    each_row(o, csv_row);
}

/* ---- dot, graphml ---- */

static void dot_text(FILE *to, const char *text) {
    static const char *const by[] = {"\\\"", "\\\\"};
    fputc('"', to);
    escaped(to, text, "\"\\", by);
    fputc('"', to);
}

static void dot_relay(struct out *o, const uint8_t key[CV_KEY]) {
    char hex[2 * CV_KEY + 1];
    fputs("  ", o->to);
    dot_text(o->to, ledger_id(o->f, key, hex));
    fputs(";\n", o->to);
}

static void dot_row(struct out *o, const struct row *r) {
    fputs("  ", o->to);
    dot_text(o->to, r->giver);
    fputs(" -> ", o->to);
    dot_text(o->to, r->taker);
    fprintf(o->to, " [bytes=%" PRIu64 ", epoch=%" PRIu32 "];\n", r->octets, r->epoch);
}

static void export_dot(struct out *o) {
    fputs("digraph ledger {\n", o->to);
    each_relay(o, dot_relay);
    each_row(o, dot_row);
    fputs("}\n", o->to);
}

/* What XML 1.0 has no way to write: of control characters their pictures (U+2400 and
 * on), so that identifiers stay apart; of U+FFFE and U+FFFF the replacement character. */
static void xml_text(FILE *to, const char *text) {
    static const char special[] = "&<>\"\t\n\r";
    static const char *const by[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#9;", "&#10;", "&#13;"};
    while (*text) {
        const char *at = strchr(special, *text);
        unsigned char c = (unsigned char)*text;
        if (strncmp(text, "\xef\xbf\xbe", 3) == 0 || strncmp(text, "\xef\xbf\xbf", 3) == 0) {
            fputs("\xef\xbf\xbd", to);
            text += 3;
            continue;
        }
        if (at)
            fputs(by[at - special], to);
        else if (c < ' ')
            fprintf(to, "\xe2\x90%c", 0x80 + c);
        else
            fputc(c, to);
        text++;
    }
}

static void graphml_relay(struct out *o, const uint8_t key[CV_KEY]) {
    char hex[2 * CV_KEY + 1];
    fputs("    <node id=\"", o->to);
    xml_text(o->to, ledger_id(o->f, key, hex));
    fputs("\"/>\n", o->to);
}

static void graphml_row(struct out *o, const struct row *r) {
    fputs("    <edge source=\"", o->to);
    xml_text(o->to, r->giver);
    fputs("\" target=\"", o->to);
    xml_text(o->to, r->taker);
    fprintf(o->to,
            "\"><data key=\"bytes\">%" PRIu64 "</data><data key=\"epoch\">%" PRIu32
            "</data></edge>\n",
            r->octets, r->epoch);
}

static void export_graphml(struct out *o) {
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
          "<graphml xmlns=\"http://graphml.graphdrawing.org/xmlns\">\n"
          "  <key id=\"bytes\" for=\"edge\" attr.name=\"bytes\" attr.type=\"long\"/>\n"
          "  <key id=\"epoch\" for=\"edge\" attr.name=\"epoch\" attr.type=\"long\"/>\n"
          "  <graph id=\"ledger\" edgedefault=\"directed\">\n",
          o->to);
    each_relay(o, graphml_relay);
    each_row(o, graphml_row);
    fputs("  </graph>\n</graphml>\n", o->to);
}

/* ---- ndjson, json ---- */

/* One line, or one element of the array `into` of the gathered value. */
static void tell(struct out *o, const char *into, json_t *value) {
    if (o->json) {
        json_array_append_new(json_object_get(o->json, into), value);
        return;
    }
    json_dumpf(value, o->to, JSON_COMPACT);
    fputc('\n', o->to);
    json_decref(value);
}

static void name(struct out *o, const uint8_t key[CV_KEY]) {
    char hex[2 * CV_KEY + 1];
    const char *id = ledger_id(o->f, key, hex);
    if (id == hex && !o->json)
        return;
    json_t *v = json_object();
    json_object_set_new(v, "id", json_string(id));
    json_object_set_new(v, "key", ledger_json_hex(key, CV_KEY));
    tell(o, "relays", v);
}

static void json_row(struct out *o, const struct row *r) {
    json_t *v = json_object();
    json_object_set_new(v, "giver", json_string(r->giver));
    json_object_set_new(v, "taker", json_string(r->taker));
    json_object_set_new(v, "bytes", ledger_json_octets(r->octets));
    json_object_set_new(v, "epoch", json_integer(r->epoch));
    tell(o, "rows", v);
}

static void records(struct out *o) {
    sqlite3_stmt *st =
        ledger_query(o->f, "SELECT " LEDGER_AGREED LEDGER_BLOCK "ORDER BY o.pk, b.seq");
    while (ledger_step(o->f, st)) {
        struct rep_record r;
        uint8_t octets[REP_RECORD];
        if (!ledger_record(st, 1, &r))
            ledger_die(LEDGER_NOT_ONE,
                       "%s: damaged (a half-block); run culvert-ledger verify, restore a backup",
                       o->f->path);
        rep_record_write(&r, octets);
        json_t *v = ledger_json_record(o->f, &r, sqlite3_column_int(st, 0) != 0);
        json_object_set_new(v, "record", ledger_json_hex(octets, REP_RECORD));
        tell(o, "records", v);
    }
}

static void forks(struct out *o) {
    sqlite3_stmt *st = ledger_query(o->f, "SELECT f.a, f.b FROM fork f JOIN peer p ON p.id = "
                                          "f.owner ORDER BY p.pk, f.seq");
    while (ledger_step(o->f, st)) {
        if (sqlite3_column_bytes(st, 0) != REP_RECORD || sqlite3_column_bytes(st, 1) != REP_RECORD)
            ledger_die(LEDGER_NOT_ONE, "%s: damaged (a fork proof); restore a backup", o->f->path);
        json_t *v = json_object(), *two = json_array();
        json_array_append_new(two, ledger_json_hex(sqlite3_column_blob(st, 0), REP_RECORD));
        json_array_append_new(two, ledger_json_hex(sqlite3_column_blob(st, 1), REP_RECORD));
        json_object_set_new(v, "fork", two);
        tell(o, "forks", v);
    }
}

static json_t *head(const struct ledger_file *f) {
    json_t *v = json_object();
    json_object_set_new(v, "culvert_ledger", json_integer(1));
    json_object_set_new(v, "network", ledger_json_hex(f->network_id, REP_NETWORK_ID));
    json_object_set_new(v, "identity", ledger_json_hex(f->identity, CV_KEY));
    return v;
}

/* Proofs last: an importer takes no half-block of a proven forger. */
static void export_ndjson(struct out *o) {
    tell(o, NULL, head(o->f));
    each_relay(o, name);
    records(o);
    forks(o);
}

static void export_json(struct out *o) {
    static const char *const arrays[] = {"relays", "records", "rows", "forks"};
    o->json = head(o->f);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        json_object_set_new(o->json, arrays[i], json_array());
    each_relay(o, name);
    records(o);
    each_row(o, json_row);
    forks(o);
    json_dumpf(o->json, o->to, JSON_INDENT(2));
    fputc('\n', o->to);
    json_decref(o->json);
}

/* ---- which ---- */

static const struct {
    const char *name;
    void (*run)(struct out *o);
} formats[] = {
    {"csv", export_csv}, {"json", export_json},       {"ndjson", export_ndjson},
    {"dot", export_dot}, {"graphml", export_graphml},
};

void ledger_export(struct ledger_file *f, const struct ledger_request *q) {
    struct out o = {.f = f};
    const char *format = q->format ? q->format : q->json ? "json" : "ndjson";
    void (*run)(struct out * o) = NULL;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, format) == 0)
            run = formats[i].run;
    if (!run)
        ledger_die(LEDGER_USAGE, "--format %s: give csv, json, ndjson, dot or graphml", format);
    o.to = ledger_output_open(f, q->output);
    run(&o);
    ledger_output_done(o.to, q->output);
}
