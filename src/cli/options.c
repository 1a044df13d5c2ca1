#include "cli/options.h"

#include <argp.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/exitcode.h"

enum kind { FLAG, TEXT, ADDRESS, ADDRESSES, SIZE, PERIOD, COUNT };

/* Verbs that run a node of their own. */
enum { RUNS = CLI_NODE | CLI_RELAY | CLI_SHARE | CLI_GET | CLI_PLAY };
enum { ASKS = CLI_STATUS | CLI_PEERS | CLI_PATH };

/* clang-format off */
static const struct {
    const char *name, *arg;
    char key;
    unsigned verbs;
    enum kind kind;
    size_t offset;
    size_t count_offset; /* ADDRESSES */
    const char *config;  /* section.key, NULL: command line only */
    const char *help;
} options[] = {
#define AT(field) offsetof(struct cli_settings, field)
    { "state",    "DIR",     's', RUNS | ASKS, TEXT, AT(state), 0, NULL, "state folder (default: $XDG_STATE_HOME/culvert)" },
    { "config",   "FILE",    'C', RUNS | ASKS, TEXT, AT(config), 0, NULL, "configuration file (default: $XDG_CONFIG_HOME/culvert/culvert.conf)" },
    { "json",     NULL,      'j', RUNS | ASKS, FLAG, AT(json), 0, NULL, "machine-readable output, one JSON object a line" },
    { "trace",    "FILE",    'T', RUNS, TEXT, AT(trace), 0, NULL, "write what the engines do to FILE, one JSON object a line" },
    { "quiet",    NULL,      'q', RUNS, FLAG, AT(quiet), 0, NULL, "no progress" },
    { "listen",   "IP:PORT", 'l', RUNS, ADDRESS, AT(listen), 0, "node.listen", "address of the node (relay and DHT); port 0 = any" },
    { "own",      "IP:PORT", 'O', RUNS, ADDRESS, AT(own), 0, "node.own", "address that own circuits leave from (default: that of --listen, any port)" },
    { "bootstrap","IP:PORT", 'b', RUNS, ADDRESSES, AT(bootstrap), AT(bootstrap_count), "node.bootstrap", "a DHT node to begin with; may be given several times" },
    { "http",     "IP:PORT", 'H', RUNS, ADDRESS, AT(http), 0, "gateway.listen", "loopback address of the player link; port 0 = any" },
    { "network",  "NAME",    'N', RUNS, TEXT, AT(network), 0, "network.name", "name of the network; nodes of different names never meet" },
    { "private",  NULL,      'P', RUNS, FLAG, AT(private_network), 0, "network.private", "a network of private addresses" },
    { "quick-start", NULL,   'Q', RUNS, FLAG, AT(quick_start), 0, "network.quick_start", "a new, small network: publish and confirm without waiting" },
    { "upload-limit", "SIZE",'u', RUNS, SIZE, AT(upload_limit), 0, "share.upload_limit", "octets a second that leave for peers of a swarm (k, M, G)" },
    { "no-share", NULL,      'n', CLI_GET | CLI_PLAY | CLI_NODE, FLAG, AT(no_share), 0, "share.off", "do not pass on what was watched" },
    { "output",   "FILE",    'o', CLI_GET | CLI_PLAY, TEXT, AT(output), 0, NULL, "where the content is kept" },
    { "direct",   NULL,      'D', CLI_SHARE | CLI_GET | CLI_PLAY, FLAG, AT(direct), 0, NULL, "plain PPSPP without circuits: HIDES NOTHING" },
    { "peer",     "IP:PORT", 'p', CLI_GET | CLI_PLAY, ADDRESSES, AT(peers), AT(peers_count), NULL, "a peer of a direct swarm" },
    { "hash",     "NAME",    'y', CLI_SHARE | CLI_GET, TEXT, AT(hash), 0, NULL, "sha1, sha224, sha256 (default), sha384 or sha512" },
    { "chunk-size","OCTETS", 'c', CLI_SHARE | CLI_GET, SIZE, AT(chunk_size), 0, NULL, "512 to 1024 (default), with --direct to 65000" },
    { "addressing","NAME",   'A', CLI_SHARE | CLI_GET, TEXT, AT(addressing), 0, NULL, "how chunks are named: bin32, byte64, chunk32 (default), bin64 or chunk64" },
    { "secret",   NULL,      'k', CLI_SHARE, FLAG, AT(secret), 0, NULL, "a secret link: relays cannot recognise look-ups for it" },
    { "open",     "FILE",    'F', CLI_RELAY, TEXT, AT(open), 0, "relay.open", "share FILE under this relay's own name; its viewers stay hidden" },
    { "at",       "HEX",     'a', CLI_GET | CLI_PLAY, TEXT, AT(at), 0, NULL, "identity of a relay that shares it under its own name" },
    { "player",   "PROGRAM", 'x', CLI_PLAY, TEXT, AT(player), 0, "play.player", "player to start (default: mpv, vlc or ffplay, whichever is there)" },
    { "no-player",NULL,      'X', CLI_PLAY, FLAG, AT(no_player), 0, NULL, "only print the link" },
    { "epoch",    "PERIOD",  'e', RUNS, PERIOD, AT(epoch_seconds), 0, "ledger.epoch", "how often the ledger releases sums (s, m, h, d)" },
    { "epoch-minimum", "SIZE",'E', RUNS, SIZE, AT(epoch_minimum), 0, "ledger.minimum", "below this an epoch releases nothing" },
    { "gate-off", NULL,      'G', CLI_NODE | CLI_RELAY, FLAG, AT(gate_off), 0, "relay.gate_off", "carry everybody alike" },
    { "bandwidth","KIB",     'w', CLI_RELAY, COUNT, AT(bandwidth_kib), 0, "relay.bandwidth", "KiB/s to state in the relay's descriptor" },
    { "buffer",   "SIZE",    'B', RUNS, SIZE, AT(buffer), 0, "node.buffer", "socket buffers to ask the system for" },
#undef AT
};

static const struct {
    const char *name;
    enum cli_verb verb;
    const char *arg; /* NULL: takes none */
    const char *help;
} verbs[] = {
    { "play",   CLI_PLAY,   "URI",  "watch: find the swarm, print the player link, start a player" },
    { "get",    CLI_GET,    "URI",  "fetch a file whole; with --direct also by its root hash" },
    { "share",  CLI_SHARE,  "FILE", "share a file; prints its culvert: link" },
    { "node",   CLI_NODE,   NULL,   "run a node that others' programs talk to" },
    { "relay",  CLI_RELAY,  NULL,   "volunteer: run a node that carries others' circuits" },
    { "status", CLI_STATUS, NULL,   "what the running node does" },
    { "peers",  CLI_PEERS,  NULL,   "who the running node exchanges chunks with" },
    { "path",   CLI_PATH,   NULL,   "the hops between us and each peer" },
};
/* clang-format on */

enum { OPTIONS = sizeof options / sizeof *options, VERBS = sizeof verbs / sizeof *verbs };

static void fail(const char *what, const char *value, const char *hint) {
    fprintf(stderr, "culvert: %s '%s': %s\n", what, value, hint);
    exit(CLI_USAGE);
}

bool cli_size_parse(const char *text, uint64_t *ret) {
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    if (end == text || errno || !(v >= 0 && v <= 1e18))
        return false;
    double factor = 1;
    if (*end == 'k' || *end == 'K')
        factor = 1024.0;
    else if (*end == 'M')
        factor = 1048576.0;
    else if (*end == 'G')
        factor = 1073741824.0;
    if (factor != 1)
        end++;
    if (*end || !(v * factor <= 1e18))
        return false;
    *ret = (uint64_t)(v * factor);
    return true;
}

bool cli_period_parse(const char *text, uint64_t *ret) {
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    static const struct {
        char unit;
        unsigned seconds;
    } units[] = {{0, 1}, {'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    if (end == text || errno || *text == '-' || (*end && end[1]))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (*end == units[i].unit) {
            *ret = v * units[i].seconds;
            return v <= UINT32_MAX / units[i].seconds; /* as wide as the ledger's */
        }
    }
    return false;
}

static void add_address(struct cv_addr *list, size_t *count, size_t max, const char *name,
                        const char *value) {
    if (*count == max)
        fail(name, value, "given too often");
    if (cv_addr_parse(value, &list[*count]) != CV_ERR_OK)
        fail(name, value, "is not IP:PORT (no host names: nothing here asks a resolver)");
    ++*count;
}

/* `value` is NULL for a flag on the command line. */
static void apply(size_t i, const char *value, struct cli_settings *s) {
    char *base = (char *)s;
    void *at = base + options[i].offset;
    size_t one = 0;
    switch (options[i].kind) {
    case FLAG:
        *(bool *)at = !value || !strcasecmp(value, "yes") || !strcmp(value, "1");
        break;
    case TEXT:
        *(const char **)at = value;
        break;
    case ADDRESS:
        add_address(at, &one, 1, options[i].name, value);
        break;
    case ADDRESSES:
        add_address(at, (size_t *)(void *)(base + options[i].count_offset), CLI_BOOTSTRAP_MAX,
                    options[i].name, value);
        break;
    case SIZE:
        if (!cli_size_parse(value, at))
            fail(options[i].name, value, "is not a size such as 500k, 4M or 1048576");
        break;
    case PERIOD:
        if (!cli_period_parse(value, at))
            fail(options[i].name, value, "is not a period such as 10s, 5m or 7d");
        break;
    case COUNT: {
        char *end;
        *(uint64_t *)at = strtoull(value, &end, 10);
        if (end == value || *end || *value == '-')
            fail(options[i].name, value, "is not a number");
        break;
    }
    }
}

/* ---- configuration file ---- */

struct config {
    struct cli_settings *settings;
    unsigned verb;
    char bad[CLI_TEXT_MAX + 32];
};

static int on_config(void *ctx, const char *section, const char *key, const char *value) {
    struct config *c = ctx;
    char full[CLI_TEXT_MAX];
    snprintf(full, sizeof full, "%s.%s", section, key);
    for (size_t i = 0; i < OPTIONS; i++) {
        if (options[i].config && strcmp(options[i].config, full) == 0) {
            /* A line for another verb is right, only not for us. The text must
             * outlive the reader; it lives as long as the program. */
            if (options[i].verbs & c->verb)
                apply(i, strdup(value), c->settings);
            return 1;
        }
    }
    snprintf(c->bad, sizeof c->bad, "unknown key '%s'", full);
    return 0;
}

static void read_config(enum cli_verb verb, struct cli_settings *s) {
    char path[4096];
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (s->config)
        snprintf(path, sizeof path, "%s", s->config);
    else if (xdg && *xdg)
        snprintf(path, sizeof path, "%s/culvert/culvert.conf", xdg);
    else
        snprintf(path, sizeof path, "%s/.config/culvert/culvert.conf", home ? home : "");
    if (!s->config && access(path, F_OK) != 0)
        return;
    struct config c = {.settings = s, .verb = verb};
    int line = ini_parse(path, on_config, &c);
    if (line < 0) {
        fprintf(stderr, "culvert: %s: cannot be read; name another with --config\n", path);
        exit(CLI_USAGE);
    }
    if (line > 0) {
        fprintf(stderr, "culvert: %s:%d: %s\n", path, line,
                c.bad[0] ? c.bad : "not a 'key = value' line");
        exit(CLI_USAGE);
    }
}

/* ---- command line ---- */

struct line {
    struct cli_settings *settings;
    size_t verb;      /* index into verbs */
    bool only_config; /* first pass: just find --config */
};

static error_t on_option(int key, char *arg, struct argp_state *state) {
    struct line *l = state->input;
    if (key == ARGP_KEY_ARG) {
        if (!verbs[l->verb].arg || l->settings->argument)
            argp_error(state, "one argument too many: '%s'", arg);
        if (!l->only_config)
            l->settings->argument = arg;
        return 0;
    }
    if (key == ARGP_KEY_END) {
        if (!l->only_config && verbs[l->verb].arg && !l->settings->argument)
            argp_error(state, "%s is missing", verbs[l->verb].arg);
        return 0;
    }
    for (size_t i = 0; i < OPTIONS; i++) {
        if (options[i].key == key) {
            if (!l->only_config || key == 'C')
                apply(i, arg, l->settings);
            return 0;
        }
    }
    return ARGP_ERR_UNKNOWN;
}

static void run_argp(struct line *l, int argc, char **argv) {
    struct argp_option list[OPTIONS + 1] = {{0}};
    size_t n = 0;
    for (size_t i = 0; i < OPTIONS; i++) {
        if (options[i].verbs & verbs[l->verb].verb)
            list[n++] = (struct argp_option){.name = options[i].name,
                                             .key = options[i].key,
                                             .arg = options[i].arg,
                                             .doc = options[i].help};
    }
    struct argp argp = {.options = list,
                        .parser = on_option,
                        .args_doc = verbs[l->verb].arg,
                        .doc = verbs[l->verb].help};
    argp_err_exit_status = CLI_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, l);
}

enum cli_verb cli_verb_find(const char *name) {
    for (size_t i = 0; i < VERBS; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return verbs[i].verb;
    return (enum cli_verb)0;
}

void cli_verbs_print(void) {
    puts("Usage: culvert VERB [OPTION...] [ARGUMENT]\n\n"
         "Watch and share video with each other; nobody sees who watches what.\n");
    for (size_t i = 0; i < VERBS; i++)
        printf("  %-7s %-5s %s\n", verbs[i].name, verbs[i].arg ? verbs[i].arg : "", verbs[i].help);
    puts("\n'culvert VERB --help' lists a verb's options. Exit status: 0 done, 1 failed, 2 usage,\n"
         "3 state folder, 4 network, 5 file or disk, 130 interrupted.");
}

void cli_options_parse(enum cli_verb verb, int argc, char **argv, struct cli_settings *ret) {
    size_t v = 0;
    while (verbs[v].verb != verb)
        v++;
    memset(ret, 0, sizeof *ret);
    ret->verb = verb;
    ret->network = "culvert";
    ret->epoch_seconds = 7 * 86400;
    ret->epoch_minimum = 64u << 20;
    cv_addr_parse("127.0.0.1:0", &ret->http);
    cv_addr_parse("0.0.0.0:0", &ret->listen);

    static char name[32]; /* argp keeps argv[0] for its messages */
    snprintf(name, sizeof name, "culvert %s", verbs[v].name);
    argv[0] = name;
    struct cli_settings scratch = *ret;
    run_argp(&(struct line){.settings = &scratch, .verb = v, .only_config = true}, argc, argv);
    ret->config = scratch.config;
    read_config(verb, ret);
    run_argp(&(struct line){.settings = ret, .verb = v}, argc, argv);
}
