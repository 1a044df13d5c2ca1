/*
 * culvert-ledger import: the only command that writes rows. All of a file or,
 * when a line of it is wrong, nothing of it.
 *
 * --ndjson FILE: what `export --format ndjson` wrote. Half-blocks and proofs go
 * the way of a stranger's: signatures verified, chains and counters checked,
 * contradictions kept as proofs.
 *
 * --csv FILE: giver,taker,bytes[,time] from anywhere. Each identifier gets a key
 * made from it, and both halves of every row are signed with these keys: that
 * makes a ledger to rank and look at, not evidence, so it has a network name of
 * its own and is never mixed with a node's. Rows of a pair add up per week
 * (time is in Unix seconds); without time everything is of one week. Chains go by
 * the time of the first row of a pair in a week, or where there is none, by its
 * place in the file.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "crypto/hash.h"
#include "crypto/siphash.h"
#include "culvert-ledger/hold.h"
#include "culvert-ledger/print.h"
#include "culvert-ledger/show.h"
#include "culvert-ledger/signatures.h"
#include "reputation/chain.h"
#include "reputation/store_sqlite.h"

enum { ID_MAX = 255, FIELDS = 4, BATCH = 4096 };

struct target;

/* Where in which file, for messages. */
struct input {
    const char *path;
    FILE *from;
    char *line;
    size_t cap;
    unsigned long number;
    struct target *into; /* what is undone when a line is wrong; NULL: none is open yet */
};

static void undo(struct target *t);

#define BAD(in, ...) bad((in), __VA_ARGS__)
__attribute__((noreturn, format(printf, 2, 3))) static void bad(const struct input *in,
                                                                const char *format, ...) {
    char what[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    undo(in->into);
    ledger_die(LEDGER_BAD_INPUT, "%s:%lu: %s; nothing was imported", in->path, in->number, what);
}

static void open_input(struct input *in, const char *path) {
    memset(in, 0, sizeof *in);
    in->path = path;
    in->from = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    if (!in->from)
        ledger_die(LEDGER_NO_FILE, "%s: %s; name a file or - for standard input", path,
                   errno == ENOENT ? "no such file" : "cannot be read");
}

/* The next line as it is, of *ret octets; false at the end of the file. */
static bool raw_line(struct input *in, size_t *ret) {
    ssize_t len = getline(&in->line, &in->cap, in->from);
    if (len < 0) {
        if (ferror(in->from)) {
            undo(in->into);
            ledger_die(LEDGER_NO_FILE, "%s: cannot be read", in->path);
        }
        return false;
    }
    in->number++;
    if (memchr(in->line, '\0', (size_t)len))
        BAD(in, "a NUL octet; this is not a text file");
    *ret = (size_t)len;
    return true;
}

static void cut_end(char *line, size_t len) {
    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
        line[--len] = '\0';
}

/* The next line, its end cut off. */
static bool next_line(struct input *in) {
    size_t len;
    if (!raw_line(in, &len))
        return false;
    cut_end(in->line, len);
    return true;
}

static void close_input(struct input *in) {
    if (in->from != stdin)
        fclose(in->from);
    free(in->line);
}

/* ---- what both kinds write to ---- */

struct batch;

struct target {
    const char *path;
    struct rep_store_sqlite *file;
    const struct rep_store *s;
    uint8_t network_id[REP_NETWORK_ID];
    int64_t now;
    uint64_t added, known, forged, refused;
    json_t *line;        /* ndjson: the one being read */
    struct batch *batch; /* two of them: see below */
    bool filling;        /* which */
};

static void stop_batches(struct target *t);

/* The file is as it was before; a new one is removed when this program ends. */
static void undo(struct target *t) {
    if (!t)
        return;
    json_decref(t->line);
    stop_batches(t);
    rep_store_sqlite_close(t->file);
}

static void must(struct target *t, enum cv_err err, const char *what) {
    if (!err)
        return;
    undo(t);
    ledger_die(err == CV_ERR_CORRUPT ? LEDGER_NOT_ONE : LEDGER_NO_FILE, "%s: %s (%s)", t->path,
               what, cv_strerror(err));
}

/* Opens or makes it and begins the one transaction. `identity`: of a new one. */
static void open_target(struct target *t, const char *path,
                        const uint8_t network_id[REP_NETWORK_ID], const uint8_t identity[CV_KEY]) {
    char why[1024];
    struct ledger_file f;
    uint8_t owner[CV_KEY];
    memset(t, 0, sizeof *t);
    t->path = path;
    t->now = (int64_t)time(NULL);
    ledger_hold(path, "it gathers what others sign by itself; or import into another file (--db)");
    bool is_new = access(path, F_OK) != 0;
    memcpy(owner, identity, CV_KEY);
    memcpy(t->network_id, network_id, REP_NETWORK_ID);
    if (is_new) {
        ledger_making(path);
    } else {
        ledger_open(&f, path);
        memcpy(owner, f.identity, CV_KEY);
        bool same = memcmp(f.network_id, network_id, REP_NETWORK_ID) == 0;
        ledger_close(&f);
        if (!same)
            ledger_die(LEDGER_NOT_ONE,
                       "%s: the ledger of another network; import into a new file (--db)", path);
    }
    enum cv_err err =
        rep_store_sqlite_open(path, network_id, owner, REP_SQLITE_FULL, &t->file, why, sizeof why);
    if (!err)
        rep_store_sqlite_bulk(t->file);
    if (err)
        ledger_die(err == CV_ERR_CORRUPT ? LEDGER_NOT_ONE : LEDGER_NO_FILE, "%s", why);
    t->s = rep_store_sqlite_ops(t->file);
    must(t, t->s->begin(t->s->ctx, t->now), "cannot be written; does a node use it?");
}

static int finish(struct target *t, const struct ledger_request *q) {
    must(t, t->s->commit(t->s->ctx), "cannot be written");
    ledger_made();
    rep_store_sqlite_close(t->file);
    if (q->json) {
        json_t *o = json_object();
        json_object_set_new(o, "half_blocks", ledger_json_octets(t->added));
        json_object_set_new(o, "known", ledger_json_octets(t->known));
        json_object_set_new(o, "forks", ledger_json_octets(t->forged));
        json_object_set_new(o, "refused", ledger_json_octets(t->refused));
        ledger_print_json(o);
    } else {
        printf("%s: %" PRIu64 " half-blocks imported, %" PRIu64 " known already, %" PRIu64
               " forks proven, %" PRIu64 " refused\n",
               t->path, t->added, t->known, t->forged, t->refused);
    }
    return t->forged || t->refused ? LEDGER_WRONG : LEDGER_OK;
}

/* ---- csv ---- */

struct id {
    struct cv_ed25519_secret secret;
    char *text;
    bool named; /* in the store */
};

struct amount {
    uint64_t time;      /* in seconds; 0: not said */
    uint32_t low, high; /* places in ids */
    bool up;            /* low gave high */
    uint64_t octets;
    size_t order;
};

/* What a pair gave each other in one epoch. */
struct sum {
    const struct amount *first;
    uint64_t up, down;
};

struct csv {
    struct input in;
    struct cv_map *by_seed; /* to place + 1 */
    struct id *ids;
    struct amount *v;
    size_t id_n, id_cap, n, cap;
    bool begun; /* a row was there */
};

static void *more(const struct input *in, void *old, size_t n, size_t *cap, size_t size) {
    if (n < *cap)
        return old;
    *cap = *cap ? *cap * 2 : 256;
    void *grown = realloc(old, *cap * size);
    if (!grown)
        BAD(in, "out of memory");
    return grown;
}

static bool is_utf8(const char *text) {
    json_t *s = json_string(text);
    json_decref(s);
    return s != NULL;
}

/* The key is the identifier's own, whichever file it stands in. */
static uint32_t id_of(struct csv *c, const char *text) {
    uint8_t seed[CV_KEY];
    size_t len = strlen(text);
    if (len == 0)
        BAD(&c->in, "an empty identifier");
    if (len > ID_MAX)
        BAD(&c->in, "an identifier of %zu octets; at most %d are allowed", len, ID_MAX);
    if (!is_utf8(text))
        BAD(&c->in, "an identifier that is not UTF-8");
    CV_BLAKE2B(seed, sizeof seed, NULL, 0, {"culvert-ledger import id", 24}, {text, len});
    uintptr_t place = (uintptr_t)cv_map_get(c->by_seed, seed);
    if (place)
        return (uint32_t)(place - 1);
    c->ids = more(&c->in, c->ids, c->id_n, &c->id_cap, sizeof *c->ids);
    struct id *id = &c->ids[c->id_n];
    memset(id, 0, sizeof *id);
    cv_ed25519_from_seed(&id->secret, seed);
    id->text = strdup(text);
    if (!id->text || cv_map_put(c->by_seed, seed, (void *)(c->id_n + 1)) != CV_ERR_OK)
        BAD(&c->in, "out of memory");
    return (uint32_t)c->id_n++;
}

/* Whether `line` ends within quotes, as `split` reads them. */
static bool ends_quoted(const char *line) {
    bool quoted = false, begin = true;
    for (; *line; line++) {
        if (quoted && *line == '"' && line[1] == '"')
            line++; /* one that belongs to the identifier */
        else if (quoted || begin)
            quoted ^= *line == '"';
        begin = !quoted && *line == ',';
    }
    return quoted;
}

/* The next row in `line`: more than one line where a quoted identifier has line breaks, which
 * belong to it as they are. `number` stays that of the first, for messages. */
static bool next_row(struct input *in, unsigned long *lines) {
    enum {
        ROW_MAX = 4096
    }; /* a quote that is never closed is not read to the end of a large file */
    size_t len, next;
    in->number = *lines;
    if (!raw_line(in, &len))
        return false;
    *lines = in->number;
    if (in->number == 1 && strncmp(in->line, "\xef\xbb\xbf", 3) == 0) {
        len -= 3; /* some programs begin a file so: no part of the first identifier */
        memmove(in->line, in->line + 3, len + 1);
    }
    while (ends_quoted(in->line)) {
        char *before = strdup(in->line), *both = NULL;
        unsigned long number = in->number;
        if (!before)
            BAD(in, "out of memory");
        bool goes_on = len < ROW_MAX && raw_line(in, &next);
        in->number = number;
        if (!goes_on)
            BAD(in, "a quote that is not closed");
        ++*lines;
        int n = asprintf(&both, "%s%s", before, in->line);
        free(before);
        if (n < 0)
            BAD(in, "out of memory");
        free(in->line);
        in->line = both;
        len = (size_t)n;
        in->cap = len + 1;
    }
    cut_end(in->line, len);
    return true;
}

/* Splits the row in place, quotes as in RFC 4180. */
static unsigned split(const struct input *in, char *fields[FIELDS]) {
    char *p = in->line;
    unsigned n = 0;
    for (;;) {
        if (n == FIELDS)
            BAD(in, "more than four fields; give giver,taker,bytes[,time]");
        bool quoted = *p == '"';
        char *out = fields[n++] = p;
        p += quoted;
        while (*p && (quoted || *p != ',')) {
            if (quoted && *p == '"' && *++p != '"') {
                quoted = false;
                break;
            }
            *out++ = *p++;
        }
        if (quoted)
            BAD(in, "a quote that is not closed");
        if (*p && *p != ',')
            BAD(in, "text after a closing quote");
        bool last = *p == '\0';
        *out = '\0';
        if (last)
            return n;
        p++;
    }
}

static uint64_t number_of(const struct input *in, const char *what, const char *text) {
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end)
        BAD(in, "%s '%.40s': not a whole number", what, text);
    if (errno || n > REP_AMOUNT_MAX)
        BAD(in, "%s '%.40s': too large", what, text);
    return n;
}

/* Seconds; a fraction is allowed and ignored. */
static uint64_t time_of(const struct input *in, char *text) {
    char *dot = strchr(text, '.');
    if (dot && dot != text && dot[1] && strspn(dot + 1, "0123456789") == strlen(dot + 1))
        *dot = '\0';
    uint64_t time = number_of(in, "time", text);
    if (time / REP_EPOCH_SECONDS > UINT32_MAX)
        BAD(in, "time '%.40s': too large; give Unix seconds", text);
    return time;
}

static void csv_line(struct csv *c) {
    char *field[FIELDS];
    unsigned n = split(&c->in, field);
    if (n < 3)
        BAD(&c->in, "%u fields; give giver,taker,bytes[,time]", n);
    bool first = !c->begun;
    c->begun = true;
    if (first && field[2][0] && !strpbrk(field[2], "0123456789"))
        return; /* a header */
    struct amount a = {.octets = number_of(&c->in, "bytes", field[2]), .order = c->n};
    if (n == 4 && field[3][0])
        a.time = time_of(&c->in, field[3]);
    uint32_t giver = id_of(c, field[0]), taker = id_of(c, field[1]);
    if (giver == taker)
        BAD(&c->in, "'%.40s' gives to itself", field[0]);
    a.up = giver < taker;
    a.low = a.up ? giver : taker;
    a.high = a.up ? taker : giver;
    c->v = more(&c->in, c->v, c->n, &c->cap, sizeof *c->v);
    c->v[c->n++] = a;
}

static uint32_t epoch_of(const struct amount *a) {
    return (uint32_t)(a->time / REP_EPOCH_SECONDS);
}

static int by_time(const struct amount *a, const struct amount *b) {
    if (a->time != b->time)
        return a->time < b->time ? -1 : 1;
    return (a->order > b->order) - (a->order < b->order);
}

static int by_epoch_and_pair(const void *x, const void *y) {
    const struct amount *a = x, *b = y;
    if (epoch_of(a) != epoch_of(b))
        return epoch_of(a) < epoch_of(b) ? -1 : 1;
    if (a->low != b->low)
        return a->low < b->low ? -1 : 1;
    if (a->high != b->high)
        return a->high < b->high ? -1 : 1;
    return by_time(a, b);
}

static int by_first(const void *x, const void *y) {
    const struct sum *a = x, *b = y;
    return by_time(a->first, b->first);
}

static void add_half(struct target *t, const struct id *by, struct rep_record *r) {
    struct rep_chain_result result;
    rep_record_sign(r, &by->secret, t->network_id);
    must(t, rep_chain_add(t->s, t->network_id, r, true, t->now, &result), "cannot be written");
    t->added++;
}

static void raise_claims(const struct csv *c, struct rep_record *r, uint64_t given,
                         uint64_t taken) {
    if (given > REP_AMOUNT_MAX - r->given || taken > REP_AMOUNT_MAX - r->taken)
        BAD(&c->in, "what two relays gave each other adds up to more than 2^62 octets");
    r->given += given;
    r->taken += taken;
}

static void name(struct target *t, struct id *id) {
    if (id->named)
        return;
    must(t, rep_store_sqlite_name(t->file, id->secret.public_key, id->text, strlen(id->text)),
         "cannot be written");
    id->named = true;
}

/* One release of a pair: the lower one proposes, the other agrees. */
static void add_release(struct target *t, const struct csv *c, const struct sum *sum) {
    const struct amount *a = sum->first;
    uint64_t up = sum->up, down = sum->down;
    struct id *low = &c->ids[a->low], *high = &c->ids[a->high];
    struct rep_record p, g;
    name(t, low);
    name(t, high);
    if (up == 0 && down == 0)
        return;
    must(t, rep_chain_next(t->s, low->secret.public_key, high->secret.public_key, &p), "read");
    p.type = REP_PROPOSAL;
    p.epoch = epoch_of(a);
    raise_claims(c, &p, up, down);
    add_half(t, low, &p);
    must(t, rep_chain_next(t->s, high->secret.public_key, low->secret.public_key, &g), "read");
    g.type = REP_AGREEMENT;
    g.epoch = epoch_of(a);
    g.peer_seq = p.seq;
    memcpy(g.peer_hash, p.hash, REP_HASH);
    raise_claims(c, &g, down, up);
    add_half(t, high, &g);
}

static void add_all(struct target *t, struct csv *c) {
    struct sum *sums = NULL;
    size_t n = 0, cap = 0;
    if (c->n)
        qsort(c->v, c->n, sizeof *c->v, by_epoch_and_pair);
    for (size_t i = 0; i < c->n;) {
        struct sum s = {.first = &c->v[i]};
        for (; i < c->n && epoch_of(&c->v[i]) == epoch_of(s.first) && c->v[i].low == s.first->low &&
               c->v[i].high == s.first->high;
             i++) {
            uint64_t *side = c->v[i].up ? &s.up : &s.down;
            *side = ledger_plus(*side, c->v[i].octets);
        }
        sums = more(&c->in, sums, n, &cap, sizeof *sums);
        sums[n++] = s;
    }
    if (n)
        qsort(sums, n, sizeof *sums, by_first);
    for (size_t i = 0; i < n; i++)
        add_release(t, c, &sums[i]);
    free(sums);
}

static int import_csv(const char *path, const struct ledger_request *q) {
    static const uint8_t hash_key[CV_SIPHASH_KEY] = {3};
    struct csv c = {.by_seed = cv_map_new(CV_KEY, SIZE_MAX, cv_siphash_map, hash_key)};
    struct cv_ed25519_secret nobody;
    struct target t;
    uint8_t seed[CV_KEY], network[REP_NETWORK_ID];
    if (!c.by_seed)
        ledger_die(LEDGER_NO_FILE, "%s: out of memory", path);
    open_input(&c.in, q->csv);
    unsigned long lines = 0;
    while (next_row(&c.in, &lines))
        if (c.in.line[0])
            csv_line(&c);
    CV_BLAKE2B(network, sizeof network, NULL, 0, {"culvert-ledger import", 21});
    CV_BLAKE2B(seed, sizeof seed, NULL, 0, {"culvert-ledger import owner", 27});
    cv_ed25519_from_seed(&nobody, seed);
    open_target(&t, path, network, nobody.public_key);
    c.in.into = &t;
    add_all(&t, &c);
    close_input(&c.in);
    for (size_t i = 0; i < c.id_n; i++)
        free(c.ids[i].text);
    free(c.ids);
    free(c.v);
    cv_map_free(c.by_seed);
    return finish(&t, q);
}

/* ---- ndjson ---- */

static bool unhex(const json_t *value, void *ret, size_t len) {
    const char *text = json_string_value(value);
    return text && cv_unhex(text, ret, len) == CV_ERR_OK;
}

/* Half-blocks wait here until their signatures are verified together, while those of the
 * batch before go into the file and the next are read. */
struct batch {
    struct rep_record record[BATCH];
    unsigned long line[BATCH];
    bool good[BATCH];
    size_t n;
    struct signatures job;
    bool running;
};

static void stop_batches(struct target *t) {
    for (int i = 0; t->batch && i < 2; i++)
        if (t->batch[i].running)
            signatures_finish(&t->batch[i].job);
    free(t->batch);
    t->batch = NULL;
}

static void add_record(struct target *t, const struct rep_record *r) {
    struct rep_chain_result result;
    enum cv_err err = rep_chain_add(t->s, t->network_id, r, true, t->now, &result);
    t->forged += result.forked;
    if (err == CV_ERR_OK)
        t->added++;
    else if (err == CV_ERR_EXIST)
        t->known++;
    else if (err == CV_ERR_DIFFERS || err == CV_ERR_DENIED)
        t->refused++;
    else
        must(t, err, "cannot be written");
}

static void add_batch(struct target *t, struct input *in, struct batch *b) {
    if (!b->running)
        return;
    unsigned long number = in->number;
    signatures_finish(&b->job);
    b->running = false;
    for (size_t i = 0; i < b->n; i++) {
        if (!b->good[i]) {
            in->number = b->line[i];
            BAD(in, "record: the signature is not its owner's, or of another network");
        }
        add_record(t, &b->record[i]);
    }
    in->number = number;
    b->n = 0;
}

/* What was read goes to be verified, what was verified into the file. */
static void next_batch(struct target *t, struct input *in) {
    struct batch *b = &t->batch[t->filling];
    if (b->n) {
        signatures_start(&b->job, b->record, b->n, t->network_id, b->good);
        b->running = true;
    }
    t->filling = !t->filling;
    add_batch(t, in, &t->batch[t->filling]);
}

/* All that was read is in the file. */
static void end_batches(struct target *t, struct input *in) {
    next_batch(t, in);
    next_batch(t, in);
}

static void take_record(struct target *t, struct input *in, const json_t *hex) {
    struct batch *b = &t->batch[t->filling];
    uint8_t octets[REP_RECORD];
    if (!unhex(hex, octets, sizeof octets))
        BAD(in, "record: not 232 octets in hexadecimal");
    enum cv_err err = rep_record_read(octets, &b->record[b->n]);
    if (err)
        BAD(in, "record: %s", cv_strerror(err));
    b->line[b->n++] = in->number;
    if (b->n == BATCH)
        next_batch(t, in);
}

static void take_fork(struct target *t, const struct input *in, const json_t *two) {
    struct rep_fork fork;
    if (!unhex(json_array_get(two, 0), fork.a, REP_RECORD) ||
        !unhex(json_array_get(two, 1), fork.b, REP_RECORD) || json_array_size(two) != 2)
        BAD(in, "fork: not two times 232 octets in hexadecimal");
    enum cv_err err = rep_chain_add_fork(t->s, t->network_id, &fork, t->now);
    if (err == CV_ERR_EXIST)
        t->known++;
    else if (err == CV_ERR_STORE || err == CV_ERR_FULL || err == CV_ERR_CORRUPT)
        must(t, err, "cannot be written");
    else if (err)
        BAD(in, "fork: proves nothing (%s)", cv_strerror(err));
}

static void take_name(struct target *t, const struct input *in, const json_t *line) {
    uint8_t key[CV_KEY];
    const char *id = json_string_value(json_object_get(line, "id"));
    if (!unhex(json_object_get(line, "key"), key, CV_KEY) || !id || !id[0] || strlen(id) > ID_MAX)
        BAD(in, "id and key: not a name and 32 octets in hexadecimal");
    enum cv_err err = rep_store_sqlite_name(t->file, key, id, strlen(id));
    if (err == CV_ERR_EXIST)
        BAD(in, "id '%.40s': another relay has it already", id);
    must(t, err, "cannot be written");
}

static json_t *parse(const struct input *in) {
    json_error_t error;
    json_t *line = json_loads(in->line, JSON_REJECT_DUPLICATES, &error);
    return json_is_object(line) ? line : (json_decref(line), NULL);
}

static int import_ndjson(const char *path, const struct ledger_request *q) {
    struct input in;
    struct target t;
    uint8_t network[REP_NETWORK_ID], identity[CV_KEY];
    open_input(&in, q->ndjson);
    json_t *line = next_line(&in) ? parse(&in) : NULL;
    if (json_integer_value(json_object_get(line, "culvert_ledger")) != 1 ||
        !unhex(json_object_get(line, "network"), network, sizeof network) ||
        !unhex(json_object_get(line, "identity"), identity, sizeof identity))
        BAD(&in, "not an export; make one with culvert-ledger export --format ndjson");
    json_decref(line);
    open_target(&t, path, network, identity);
    in.into = &t;
    t.batch = calloc(2, sizeof *t.batch);
    must(&t, t.batch ? CV_ERR_OK : CV_ERR_NOMEM, "not imported");
    while (next_line(&in)) {
        if (!(t.line = line = parse(&in)))
            BAD(&in, "not a JSON object");
        if (json_object_get(line, "record"))
            take_record(&t, &in, json_object_get(line, "record"));
        else if (json_object_get(line, "fork")) {
            end_batches(&t, &in);
            take_fork(&t, &in, json_object_get(line, "fork"));
        } else if (json_object_get(line, "id"))
            take_name(&t, &in, line);
        else
            BAD(&in, "neither record, fork nor id");
        json_decref(line);
        t.line = NULL;
    }
    end_batches(&t, &in);
    stop_batches(&t);
    close_input(&in);
    return finish(&t, q);
}

int ledger_import(const char *path, const struct ledger_request *q) {
    if ((q->csv != NULL) == (q->ndjson != NULL))
        ledger_die(LEDGER_USAGE, "import: give either --csv FILE or --ndjson FILE");
    return q->csv ? import_csv(path, q) : import_ndjson(path, q);
}
