/*
 * culvert-ledger privacy-check: what in this file tells more than a ledger
 * should. A node's own rows hold sums of powers of two, one a pair and epoch;
 * octets as they were counted, settlements as circuits closed, times finer than
 * a day and columns that nobody needs would tell who was where.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "crypto/hash.h"
#include "culvert-ledger/print.h"
#include "culvert-ledger/show.h"

enum { TOLD_MAX = 1000 }; /* findings listed; all are counted */

struct privacy {
    struct ledger_file *f;
    json_t *told;
    uint64_t half_blocks, found;
    bool json, world; /* the network "culvert", with its least amount */
};

static void found(struct privacy *p, const char *kind, const char *about) {
    if (p->found++ >= TOLD_MAX)
        return;
    json_t *o = json_object();
    json_object_set_new(o, "kind", json_string(kind));
    json_object_set_new(o, "about", json_string(about));
    json_array_append_new(p->told, o);
    if (!p->json)
        printf("found: %s: %s\n", kind, about);
}

static void found_record(struct privacy *p, const char *kind, const uint8_t owner[CV_KEY],
                         uint64_t seq) {
    char hex[2 * CV_KEY + 1], about[512];
    snprintf(about, sizeof about, "%s %" PRIu64, ledger_id(p->f, owner, hex), seq);
    found(p, kind, ledger_one_line(about));
}

/* Each release raises a claim by a power of two, so n of them by a number with
 * at most n bits set. */
static bool odd(uint64_t from, uint64_t to, uint64_t releases) {
    return to < from || (uint64_t)__builtin_popcountll(to - from) > releases;
}

static bool small(const struct privacy *p, uint64_t from, uint64_t to) {
    return p->world && to > from && to - from < REP_MINIMUM_OCTETS;
}

/* One half-block of a pair, and where it stands among those of its owner's that are here. */
struct place {
    struct rep_record r;
    uint64_t number;
};

/* What is here between the two is of other peers, so it is no release to this one. What is
 * missing may never have come, or was pruned, and could be; so could what nobody can read. */
static void check_raise(struct privacy *p, const struct place *last, const struct place *at,
                        uint64_t unreadable) {
    const struct rep_record *from = &last->r, *to = &at->r;
    uint64_t missing = (to->seq - from->seq) - (at->number - last->number);
    uint64_t releases = 1 + missing + unreadable;
    if (odd(from->given, to->given, releases) || odd(from->taken, to->taken, releases))
        found_record(p, "odd amount", to->owner, to->seq);
    else if (small(p, from->given, to->given) || small(p, from->taken, to->taken))
        found_record(p, "small amount", to->owner, to->seq);
}

static void check_amounts(struct privacy *p) {
    struct place last, at;
    uint64_t unreadable = 0;
    memset(&last, 0, sizeof last);
    sqlite3_stmt *st = ledger_query(
        p->f, "SELECT row_number() OVER (PARTITION BY b.owner ORDER BY b.seq), " LEDGER_BLOCK
              "ORDER BY b.owner, b.peer, b.seq");
    while (ledger_step(p->f, st)) {
        p->half_blocks++;
        at.number = (uint64_t)sqlite3_column_int64(st, 0);
        if (!ledger_record(st, 1, &at.r)) {
            char about[64];
            snprintf(about, sizeof about, "seq %lld", (long long)sqlite3_column_int64(st, 2));
            found(p, "flags or content that no node writes", about);
            unreadable++;
            continue;
        }
        if (at.r.type == REP_SUCCESSION)
            continue; /* of keys, not of octets */
        bool same = memcmp(last.r.owner, at.r.owner, CV_KEY) == 0 &&
                    memcmp(last.r.peer, at.r.peer, CV_KEY) == 0;
        if (!same)
            memset(&last, 0, sizeof last);
        check_raise(p, &last, &at, unreadable);
        last = at;
        unreadable = 0;
    }
}

/* One of a pair proposes an epoch's release and the other agrees. When they cross, the lower
 * key's proposal is answered, so the owner of the higher has signed one of each. Whoever
 * settles circuit by circuit has more, whichever of the two begins each time. */
static void check_releases(struct privacy *p) {
    sqlite3_stmt *st = ledger_query(
        p->f, "SELECT o.pk, max(b.seq) FROM block b JOIN peer o ON o.id = b.owner "
              "JOIN peer p ON p.id = b.peer WHERE b.type IN (1, 2) AND length(o.pk) = 32 "
              "GROUP BY b.owner, b.peer, b.epoch HAVING sum(b.type = 1) > 1 OR "
              "sum(b.type = 2) > 1 OR (count(*) > 1 AND o.pk < p.pk) "
              "ORDER BY b.owner, max(b.seq)");
    while (ledger_step(p->f, st))
        found_record(p, "several releases in an epoch", sqlite3_column_blob(st, 0),
                     (uint64_t)sqlite3_column_int64(st, 1));
}

/* Rows of a query that should have none; its first column says what. */
static void check_none(struct privacy *p, const char *kind, const char *sql) {
    sqlite3_stmt *st = ledger_query(p->f, sql);
    sqlite3_bind_int64(st, 1,
                       (sqlite3_int64)time(NULL) - REP_ACCOUNT_DAYS * INT64_C(86400) - 86400);
    while (ledger_step(p->f, st)) {
        char about[256];
        const char *text = (const char *)sqlite3_column_text(st, 0);
        snprintf(about, sizeof about, "%s", text ? text : "");
        found(p, kind, ledger_one_line(about));
    }
}

static const struct {
    const char *kind, *sql;
} checks[] = {
    {"time finer than a day",
     "SELECT 'relay ' || lower(hex(pk)) FROM peer WHERE first_seen % 86400 <> 0 AND ?1"},
    /* No account is named: that would tell whoever reads over the shoulder. */
    {"time finer than a day",
     "SELECT 'accounts: ' || count(*) FROM account WHERE last_seen % 86400 <> 0 AND ?1 "
     "HAVING count(*) > 0"},
    {"accounts kept too long",
     "SELECT 'accounts: ' || count(*) FROM account WHERE last_seen < ?1 HAVING count(*) > 0"},
    {"a client known by its relay's key",
     "SELECT 'accounts: ' || count(*) FROM account WHERE client IN (SELECT pk FROM peer) AND ?1 "
     "HAVING count(*) > 0"},
    {"a column or table that no node needs",
     "SELECT m.name || '.' || c.name FROM sqlite_schema m, pragma_table_info(m.name) c "
     "WHERE m.type = 'table' AND ?1 AND m.name || '.' || c.name NOT IN ("
     "'meta.name','meta.value','peer.id','peer.pk','peer.first_seen','peer.banned',"
     "'block.owner','block.seq','block.ver','block.type','block.flags','block.peer',"
     "'block.peer_seq','block.peer_hash','block.prev','block.hash','block.given','block.taken',"
     "'block.epoch','block.sig','edge.giver','edge.taker','edge.bytes','edge.recent','edge.epoch',"
     "'fork.owner','fork.seq','fork.a','fork.b','link.peer','link.epoch','link.pending_out',"
     "'link.pending_in','link.release_at','link.proposal','account.client','account.given',"
     "'account.taken','account.last_seen','account.debt_since','account.class','score.ego',"
     "'score.peer','score.metric','score.value','score.gen','name.peer','name.name',"
     "'issued.week','issued.identity','issued.request','spent.week','spent.token','purse.issuer',"
     "'purse.week','purse.remains','purse.had','purse.seed','purse.key','purse.from_at',"
     "'purse.output','why.id','why.day','why.kind','why.cause','why.was','why.became',"
     "'why.who','why.given','why.taken','whole.owner','whole.seq','pruned_5.before',"
     "'pruned_5.newest')"},
};

int ledger_privacy(struct ledger_file *f, const struct ledger_request *q) {
    struct privacy p = {.f = f, .json = q->json, .told = json_array()};
    uint8_t world[REP_NETWORK_ID];
    CV_BLAKE2B(world, sizeof world, NULL, 0, {"culvert", 7});
    p.world = memcmp(world, f->network_id, sizeof world) == 0;
    check_amounts(&p);
    check_releases(&p);
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        check_none(&p, checks[i].kind, checks[i].sql);
    if (q->json) {
        json_t *o = json_object();
        json_object_set_new(o, "ok", json_boolean(p.found == 0));
        json_object_set_new(o, "half_blocks", ledger_json_octets(p.half_blocks));
        json_object_set_new(o, "found", ledger_json_octets(p.found));
        json_object_set(o, "findings", p.told);
        ledger_print_json(o);
    } else {
        printf("%s: %" PRIu64 " half-blocks looked at; %" PRIu64 " found\n",
               p.found ? "TELLS TOO MUCH" : "ok", p.half_blocks, p.found);
    }
    json_decref(p.told);
    return p.found ? LEDGER_WRONG : LEDGER_OK;
}
