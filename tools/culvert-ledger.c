/*
 * culvert-ledger: the bandwidth ledger for people who audit. Looks, never
 * writes; what it shows are public rows and our own pending counts, never the
 * private accounts of clients.
 */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "ledger_show.h"

enum { KEY_DB = 'd', KEY_JSON = 'j', KEY_METRIC = 'm', KEY_TOP = 'n', KEY_DEEP = 'D' };

const char *argp_program_version = "culvert-ledger 0.1.0";

static const struct argp_option options[] = {
    {"db", KEY_DB, "FILE", 0,
     "The ledger (default: $XDG_STATE_HOME/culvert/ledger.db, else "
     "~/.local/state/culvert/ledger.db)",
     0},
    {"json", KEY_JSON, NULL, 0, "One JSON value on standard output", 0},
    {"metric", KEY_METRIC, "walk|ppr", 0,
     "peers: unique-visit walks (default) or exact personalised PageRank", 0},
    {"top", KEY_TOP, "N", 0, "peers: the best N only", 0},
    {"deep", KEY_DEEP, NULL, 0, "verify: every signature and index too", 0},
    {0},
};

static const char doc[] =
    "Shows and checks a culvert bandwidth ledger; never writes to it.\v"
    "Commands:\n"
    "  stats        how much is in it, given and taken, pending and released\n"
    "  peers        relays by score, with what they gave and took\n"
    "  chain PK     every known half-block of a relay\n"
    "  pair A B     what two relays agreed, and the half-blocks that say so\n"
    "  verify       content, links, sums and proofs; --deep: signatures too\n"
    "\n"
    "PK, A, B: a relay's key in hexadecimal, or its first digits (4 or more).\n"
    "\n"
    "Exit status: 0 fine; 1 verify found something wrong; 2 wrong usage; 3 the\n"
    "file is missing or cannot be read; 4 it is not a ledger, or damaged; 5 it\n"
    "was written by a newer version; 6 no such relay in it.\n";

struct arguments {
    const char *db, *command, *relay[2];
    unsigned relays, top;
    enum ledger_metric metric;
    bool json, deep;
};

static unsigned parse_top(struct argp_state *state, const char *text) {
    char *end;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    if (errno || *end || text[0] < '0' || text[0] > '9' || n == 0 || n > UINT32_MAX)
        argp_error(state, "--top %s: give a number from 1 on", text);
    return (unsigned)n;
}

static error_t parse(int key, char *arg, struct argp_state *state) {
    struct arguments *a = state->input;
    switch (key) {
    case KEY_DB:
        a->db = arg;
        return 0;
    case KEY_JSON:
        a->json = true;
        return 0;
    case KEY_DEEP:
        a->deep = true;
        return 0;
    case KEY_TOP:
        a->top = parse_top(state, arg);
        return 0;
    case KEY_METRIC:
        if (strcmp(arg, "walk") != 0 && strcmp(arg, "ppr") != 0)
            argp_error(state, "--metric %s: give walk or ppr", arg);
        a->metric = arg[0] == 'p' ? LEDGER_PPR : LEDGER_WALK;
        return 0;
    case ARGP_KEY_ARG:
        if (!a->command)
            a->command = arg;
        else if (a->relays < 2)
            a->relay[a->relays++] = arg;
        else
            argp_error(state, "%s: too many arguments", arg);
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "give a command: stats, peers, chain, pair or verify");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
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

static void run_stats(struct ledger_file *f, const struct arguments *a) {
    ledger_stats(f, a->json);
}
static void run_peers(struct ledger_file *f, const struct arguments *a) {
    ledger_peers(f, a->metric, a->top, a->json);
}
static void run_chain(struct ledger_file *f, const struct arguments *a) {
    ledger_chain(f, a->relay[0], a->json);
}
static void run_pair(struct ledger_file *f, const struct arguments *a) {
    ledger_pair(f, a->relay[0], a->relay[1], a->json);
}

static const struct command {
    const char *name;
    unsigned relays;
    void (*run)(struct ledger_file *f, const struct arguments *a); /* NULL: verify */
} commands[] = {
    {"stats", 0, run_stats}, {"peers", 0, run_peers}, {"chain", 1, run_chain},
    {"pair", 2, run_pair},   {"verify", 0, NULL},
};

static const struct command *command_of(const struct arguments *a) {
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].name, a->command) != 0)
            continue;
        if (a->relays != commands[i].relays)
            ledger_die(LEDGER_USAGE, "%s: takes %u relays, not %u; see --help", a->command,
                       commands[i].relays, a->relays);
        return &commands[i];
    }
    ledger_die(LEDGER_USAGE, "%s: no such command; give stats, peers, chain, pair or verify",
               a->command);
}

int main(int argc, char **argv) {
    static const struct argp argp = {options, parse, "COMMAND [PK | A B]", doc, NULL, NULL, NULL};
    struct arguments a = {0};
    char path[4096];
    struct ledger_file f;

    argp_err_exit_status = LEDGER_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    const struct command *command = command_of(&a);
    cv_crypto_init();
    ledger_open(&f, a.db ? a.db : default_db(path));
    int status = LEDGER_OK;
    if (command->run)
        command->run(&f, &a);
    else
        status = ledger_verify(&f, a.deep, a.json) ? LEDGER_OK : LEDGER_WRONG;
    ledger_close(&f);
    if (fflush(stdout) != 0 || ferror(stdout))
        ledger_die(LEDGER_NO_FILE, "the output cannot be written");
    return status;
}
