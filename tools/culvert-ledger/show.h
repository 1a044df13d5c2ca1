/* The commands of culvert-ledger. Each prints a table for people, or one JSON
 * value when the request says so. */
#ifndef CULVERT_TOOLS_CULVERT_LEDGER_SHOW_H
#define CULVERT_TOOLS_CULVERT_LEDGER_SHOW_H

#include <jansson.h>

#include "culvert-ledger/file.h"
#include "culvert-ledger/score.h"

/* What was asked on the command line. */
struct ledger_request {
    const char *relay[2]; /* what the command is about: relays, a hash, a file */
    const char *ego, *format, *output, *csv, *ndjson;
    struct ledger_scoring scoring;
    unsigned top;     /* 0: all */
    unsigned seconds; /* watch; 0: until it is interrupted */
    unsigned fakes;   /* simulate-sybil */
    const char *shape;
    uint32_t before; /* prune: epochs below */
    bool has_before;
    bool json, deep;
};

/* history.c */
void ledger_history(struct ledger_file *f, const struct ledger_request *q);
/* show.c */
void ledger_stats(struct ledger_file *f, const struct ledger_request *q);
/* One of the numbers of stats, which there must be, by its name there. */
int64_t ledger_figure(struct ledger_file *f, const char *name);
void ledger_show(struct ledger_file *f, const struct ledger_request *q);
void ledger_chain(struct ledger_file *f, const struct ledger_request *q);
void ledger_block(struct ledger_file *f, const struct ledger_request *q);
void ledger_pair(struct ledger_file *f, const struct ledger_request *q);
void ledger_forks(struct ledger_file *f, const struct ledger_request *q);
json_t *ledger_json_record(const struct ledger_file *f, const struct rep_record *r, bool agreed);
void ledger_print_record(const struct ledger_file *f, const struct rep_record *r, bool agreed);

/* First column before LEDGER_BLOCK: the other half exists, and both point at
 * each other. */
#define LEDGER_AGREED                                                                              \
    "CASE b.type WHEN 1 THEN EXISTS(SELECT 1 FROM block g WHERE g.owner = b.peer AND "             \
    "g.peer = b.owner AND g.type = 2 AND g.peer_seq = b.seq AND g.peer_hash = b.hash) "            \
    "ELSE EXISTS(SELECT 1 FROM block g WHERE g.owner = b.peer AND g.seq = b.peer_seq AND "         \
    "g.peer = b.owner AND g.type = 1 AND g.hash = b.peer_hash) END, "

/* rank.c */
void ledger_peers(struct ledger_file *f, const struct ledger_request *q);
void ledger_rank(struct ledger_file *f, const struct ledger_request *q);
void ledger_why(struct ledger_file *f, const struct ledger_request *q);
/* html.c */
void ledger_html(struct ledger_file *f, const struct ledger_request *q);
/* sybil.c */
void ledger_sybil(struct ledger_file *f, const struct ledger_request *q);

/* export.c */
void ledger_export(struct ledger_file *f, const struct ledger_request *q);

/* These return an exit status. */

/* verify.c */
int ledger_verify(struct ledger_file *f, const struct ledger_request *q);
/* privacy.c: half-blocks and rows that tell more than they should */
int ledger_privacy(struct ledger_file *f, const struct ledger_request *q);
/* diff.c */
int ledger_diff(struct ledger_file *f, const struct ledger_request *q);
/* import.c: opens `path` itself, and makes it when it is not there */
int ledger_import(const char *path, const struct ledger_request *q);
/* prune.c: for writing, by itself */
int ledger_prune(const char *path, const struct ledger_request *q);
/* watch.c */
int ledger_watch(const char *path, const struct ledger_request *q);

#endif
