/*
 * culvert-ledger: the bandwidth ledger for people who audit. What it shows are
 * public rows and our own pending counts, never the private accounts of
 * clients. Only import adds rows, only prune removes some (a node prunes by itself).
 */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "culvert-ledger/show.h"
#include "reputation/rank_netflow.h"

enum {
    KEY_DB = 'd',
    KEY_JSON = 'j',
    KEY_METRIC = 'm',
    KEY_TOP = 'n',
    KEY_DEEP = 'D',
    KEY_EGO = 'e',
    KEY_HOPS = 'k',
    KEY_EXACT = 'x',
    KEY_SEED = 's',
    KEY_FORMAT = 'f',
    KEY_OUTPUT = 'o',
    KEY_CSV = 'c',
    KEY_NDJSON = 'N',
    KEY_SECONDS = 't',
    KEY_FAKES = 'F',
    KEY_SHAPE = 'S',
    KEY_BEFORE = 'b',
};

const char *argp_program_version = "culvert-ledger 0.1.0";

static const struct argp_option options[] = {
    {"db", KEY_DB, "FILE", 0,
     "The ledger (default: $XDG_STATE_HOME/culvert/ledger.db, else "
     "~/.local/state/culvert/ledger.db)",
     0},
    {"json", KEY_JSON, NULL, 0,
     "One JSON value on standard output; octets are whole numbers up to 2^63 - 1, of which a "
     "double has not every digit",
     0},
    {"metric", KEY_METRIC, "NAME", 0,
     "peers, rank: walk (default), ppr, ppr-difference, netflow, flow2, maxflow or bartercast", 0},
    {"ego", KEY_EGO, "PK", 0,
     "peers, rank, why, html: whose view (default: whose ledger it is; of an imported one the "
     "relay "
     "that gave and took most)",
     0},
    {"hops", KEY_HOPS, "K", 0,
     "netflow (default 6), maxflow (default 0, any number): only rows on chains of at most K; "
     "flow2 and bartercast always have 2",
     0},
    {"exact", KEY_EXACT, NULL, 0,
     "walk: exact chances instead of 100,000 walks; slow when large (the others are exact)", 0},
    {"seed", KEY_SEED, "N", 0, "walk, why: of the dice (default 1)", 0},
    {"top", KEY_TOP, "N", 0, "peers, rank: the best N only; history: the newest", 0},
    {"deep", KEY_DEEP, NULL, 0, "verify: every signature and index too", 0},
    {"format", KEY_FORMAT, "NAME", 0,
     "export: ndjson (default; all of it, for import), json, csv, dot or graphml", 0},
    {"output", KEY_OUTPUT, "FILE", 0, "export, html: where to (default: standard output)", 0},
    {"csv", KEY_CSV, "FILE", 0, "import: giver,taker,bytes[,time] rows, - for standard input", 0},
    {"ndjson", KEY_NDJSON, "FILE", 0, "import: what export wrote, - for standard input", 0},
    {"seconds", KEY_SECONDS, "N", 0, "watch: for so long (default: until interrupted)", 0},
    {"fakes", KEY_FAKES, "N", 0, "simulate-sybil: how many (default 100)", 0},
    {"shape", KEY_SHAPE, "NAME", 0, "simulate-sybil: star (default), cycle or clique", 0},
    {"before", KEY_BEFORE, "EPOCH", 0,
     "prune: superfluous half-blocks of earlier epochs (default: 32 before the newest row's or "
     "today's, whichever is earlier)",
     0},
    {0},
};

static const char doc[] =
    "Shows and checks a culvert bandwidth ledger; only import and prune write to it.\v"
    "Commands:\n"
    "  stats          how much is in it, given and taken, pending and released\n"
    "  peers          relays by score, with what they gave and took\n"
    "  show PK        one relay in numbers\n"
    "  chain PK       every known half-block of a relay\n"
    "  block HASH     one half-block, by the first digits of its hash\n"
    "  pair A B       what two relays agreed, and the half-blocks that say so\n"
    "  verify         content, links, sums and proofs; --deep: signatures too\n"
    "  forks          proven forgers, and the half-blocks that prove it\n"
    "  rank           all others as --ego sees them, best first\n"
    "  why PK         what makes a relay's walk score: which neighbours lead to it\n"
    "  history        why classes, scores and tokens changed, newest first\n"
    "  simulate-sybil [PK]  what fake identities would gain PK, by any --metric\n"
    "  diff FILE      what another ledger has more, less or differently\n"
    "  html           one page that loads nothing: graph over time, charts, scores\n"
    "  export         half-blocks or agreed rows, in five formats\n"
    "  import         half-blocks of an export (--ndjson), or rows (--csv)\n"
    "  prune          what a node would remove by itself; --before: or will later\n"
    "  watch          half-blocks as they are added\n"
    "  privacy-check  amounts, times, columns and accounts that tell too much\n"
    "\n"
    "PK, A, B: a relay's key in hexadecimal, or its first digits (4 or more), or\n"
    "the identifier it was imported under. simulate-sybil without one attacks as\n"
    "the relay besides ego that gave and took most.\n"
    "\n"
    "import makes the file when it is absent, and imports all or nothing. Rows\n"
    "are giver,taker,bytes[,time] with any identifiers, quoted as usual, after a\n"
    "header or without; rows of a pair add up per week, time is in Unix seconds;\n"
    "without it the file's order counts.\n"
    "\n"
    "Exit status: 0 fine; 1 verify or privacy-check found something, diff a\n"
    "difference, import a forgery or contradiction; 2 wrong usage; 3 a file is\n"
    "missing, cannot be read or written; 4 it is not a ledger, or damaged; 5 it was\n"
    "written by a newer version; 6 no such relay or half-block in it; 7 a line to\n"
    "be imported is wrong (nothing is imported then).\n";

struct arguments {
    const char *db, *command;
    unsigned operands;
    bool has_hops;
    struct ledger_request q;
};

/* --hops where there is something to bound, or where it says what is so anyway. */
static void check_hops(const struct arguments *a) {
    enum ledger_metric metric = a->q.scoring.metric;
    bool two = metric == LEDGER_FLOW2 || metric == LEDGER_BARTERCAST;
    if (!a->has_hops || metric == LEDGER_NETFLOW || metric == LEDGER_MAXFLOW ||
        (two && a->q.scoring.hops == 2))
        return;
    ledger_die(LEDGER_USAGE,
               two ? "--hops %u: %s has two; maxflow and netflow have any number"
                   : "--hops %u: %s has no bound; it is for maxflow and netflow",
               a->q.scoring.hops, ledger_metric_names[metric]);
}

static void check_metric(const struct arguments *a) {
    if (strcmp(a->command, "why") == 0 && a->q.scoring.metric != LEDGER_WALK)
        ledger_die(LEDGER_USAGE,
                   "why: explains the score that a node uses, walk; rank --metric %s has the "
                   "numbers of that one",
                   ledger_metric_names[a->q.scoring.metric]);
}

static uint64_t parse_number(struct argp_state *state, const char *option, const char *text,
                             uint64_t min, uint64_t max) {
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (*end || text[0] < '0' || text[0] > '9' || n < min)
        argp_error(state, "%s %s: give a number from %u on", option, text, (unsigned)min);
    if (errno || n > max)
        argp_error(state, "%s %s: give at most %llu", option, text, (unsigned long long)max);
    return n;
}

static enum ledger_metric parse_metric(struct argp_state *state, const char *text) {
    for (unsigned i = 0; i < LEDGER_METRIC_COUNT; i++)
        if (strcmp(text, ledger_metric_names[i]) == 0)
            return (enum ledger_metric)i;
    argp_error(state,
               "--metric %s: give walk, ppr, ppr-difference, netflow, flow2, maxflow or bartercast",
               text);
    return LEDGER_WALK;
}

static error_t parse_option(int key, char *arg, struct argp_state *state, struct arguments *a) {
    switch (key) {
    case KEY_METRIC:
        a->q.scoring.metric = parse_metric(state, arg);
        return 0;
    case KEY_HOPS:
        a->q.scoring.hops = (unsigned)parse_number(state, "--hops", arg, 0, UINT32_MAX - 1);
        a->has_hops = true;
        return 0;
    case KEY_EXACT:
        a->q.scoring.exact = true;
        return 0;
    case KEY_SEED:
        a->q.scoring.seed = parse_number(state, "--seed", arg, 0, UINT64_MAX);
        return 0;
    case KEY_TOP:
        a->q.top = (unsigned)parse_number(state, "--top", arg, 1, UINT32_MAX);
        return 0;
    case KEY_SECONDS:
        a->q.seconds = (unsigned)parse_number(state, "--seconds", arg, 1, UINT32_MAX);
        return 0;
    case KEY_FAKES:
        a->q.fakes = (unsigned)parse_number(state, "--fakes", arg, 1, 1000000);
        return 0;
    case KEY_SHAPE:
        a->q.shape = arg;
        return 0;
    case KEY_BEFORE:
        a->q.before = (uint32_t)parse_number(state, "--before", arg, 0, UINT32_MAX);
        a->q.has_before = true;
        return 0;
    case KEY_EGO:
        a->q.ego = arg;
        return 0;
    case KEY_FORMAT:
        a->q.format = arg;
        return 0;
    case KEY_OUTPUT:
        a->q.output = arg;
        return 0;
    case KEY_CSV:
        a->q.csv = arg;
        return 0;
    case KEY_NDJSON:
        a->q.ndjson = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse(int key, char *arg, struct argp_state *state) {
    struct arguments *a = state->input;
    switch (key) {
    case KEY_DB:
        a->db = arg;
        return 0;
    case KEY_JSON:
        a->q.json = true;
        return 0;
    case KEY_DEEP:
        a->q.deep = true;
        return 0;
    case ARGP_KEY_ARG:
        if (!a->command)
            a->command = arg;
        else if (a->operands < 2)
            a->q.relay[a->operands++] = arg;
        else
            argp_error(state, "%s: too many arguments", arg);
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(
            state,
            "give a command: stats, peers, rank, show, chain, block, pair, verify, "
            "forks, why, history, simulate-sybil, html, diff, export, import, prune, watch or "
            "privacy-check");
        return 0;
    default:
        return parse_option(key, arg, state, a);
    }
}

static const char *default_db(char out[4096]) {
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n = -1;
    if (state && state[0] == '/')
        n = snprintf(out, 4096, "%s/culvert/ledger.db", state);
    else if (home)
        n = snprintf(out, 4096, "%s/.local/state/culvert/ledger.db", home);
    if (n < 0 || n >= 4096)
        ledger_die(LEDGER_USAGE, "no home folder known; name a ledger with --db");
    return out;
}

/* One of the three is set: shows, has a status of its own, or opens the file itself. */
static const struct command {
    const char *name;
    unsigned operands;
    const char *of; /* what the operands are */
    bool optional;  /* none will do, too */
    void (*show)(struct ledger_file *f, const struct ledger_request *q);
    int (*check)(struct ledger_file *f, const struct ledger_request *q);
    int (*alone)(const char *path, const struct ledger_request *q);
} commands[] = {
    {"stats", 0, "relays", false, ledger_stats, NULL, NULL},
    {"peers", 0, "relays", false, ledger_peers, NULL, NULL},
    {"rank", 0, "relays", false, ledger_rank, NULL, NULL},
    {"show", 1, "relay", false, ledger_show, NULL, NULL},
    {"chain", 1, "relay", false, ledger_chain, NULL, NULL},
    {"block", 1, "hash", false, ledger_block, NULL, NULL},
    {"pair", 2, "relays", false, ledger_pair, NULL, NULL},
    {"forks", 0, "relays", false, ledger_forks, NULL, NULL},
    {"why", 1, "relay", false, ledger_why, NULL, NULL},
    {"history", 0, "arguments", false, ledger_history, NULL, NULL},
    {"simulate-sybil", 1, "relay", true, ledger_sybil, NULL, NULL},
    {"html", 0, "arguments", false, ledger_html, NULL, NULL},
    {"export", 0, "arguments", false, ledger_export, NULL, NULL},
    {"verify", 0, "relays", false, NULL, ledger_verify, NULL},
    {"privacy-check", 0, "arguments", false, NULL, ledger_privacy, NULL},
    {"diff", 1, "file", false, NULL, ledger_diff, NULL},
    {"import", 0, "arguments", false, NULL, NULL, ledger_import},
    {"prune", 0, "arguments", false, NULL, NULL, ledger_prune},
    {"watch", 0, "arguments", false, NULL, NULL, ledger_watch},
};

static const struct command *command_of(const struct arguments *a) {
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].name, a->command) != 0)
            continue;
        if (a->operands != commands[i].operands && (a->operands || !commands[i].optional))
            ledger_die(LEDGER_USAGE, "%s: takes %u %s, not %u; see --help", a->command,
                       commands[i].operands, commands[i].of, a->operands);
        return &commands[i];
    }
    ledger_die(LEDGER_USAGE, "%s: no such command; see --help", a->command);
}

int main(int argc, char **argv) {
    static const struct argp argp = {options, parse, "COMMAND [PK | A B | HASH | FILE]", doc, NULL,
                                     NULL,    NULL};
    struct arguments a = {.q.scoring.seed = LEDGER_SEED, .q.fakes = 100};
    char path[4096];
    struct ledger_file f;

    argp_err_exit_status = LEDGER_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    if (!a.has_hops && a.q.scoring.metric == LEDGER_NETFLOW)
        a.q.scoring.hops = REP_NETFLOW_HOPS;
    const struct command *command = command_of(&a);
    check_hops(&a);
    check_metric(&a);
    const char *db = a.db ? a.db : default_db(path);
    cv_crypto_init();
    int status = LEDGER_OK;
    if (command->alone) {
        status = command->alone(db, &a.q);
    } else {
        ledger_open(&f, db);
        if (command->show)
            command->show(&f, &a.q);
        else
            status = command->check(&f, &a.q);
        ledger_close(&f);
    }
    if (fflush(stdout) != 0 || ferror(stdout))
        ledger_die(LEDGER_NO_FILE, "the output cannot be written");
    return status;
}
