#include "dht_options.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

const char *argp_program_version = "culvert-dht 0.1.0";

static const struct argp_option table[] = {
    {"listen", 'l', "IP:PORT", 0,
     "Address of our node; once for IPv4, once for IPv6 (default: any, chosen by the system)", 0},
    {"bootstrap", 'b', "IP:PORT", 0, "A node to ask first; may be repeated", 0},
    {"state", 's', "DIR", 0, "Keep identity and table here between runs", 0},
    {"read-only", 'r', NULL, 0, "serve: answer nobody (BEP 43); other commands always are", 0},
    {"private", 'p', NULL, 0, "Speak to private addresses too, not to public ones alone", 0},
    {"key", 'k', "FILE", 0,
     "put, point: sign with the seed in FILE (64 hexadecimal digits), as a mutable item", 0},
    {"public-key", 'K', "HEX", 0, "get: the mutable item of this key", 0},
    {"salt", 'S', "TEXT", 0, "put, point, get: salt of a mutable item", 0},
    {"seq", 'n', "N", 0, "put, point: sequence number (default: the time in seconds)", 0},
    {"cas", 'c', "N", 0, "put, point: only where the stored sequence number is N", 0},
    {"wait", 'w', "SECONDS", 0,
     "table: look around for so long first (default 2); get-peers: ask again and again for so "
     "long, until somebody is found",
     0},
    {"timeout", 't', "SECONDS", 0, "Give up after (default 30)", 0},
    {"json", 'j', NULL, 0, "One JSON object on standard output (serve: one a line)", 0},
    {0},
};

static const char doc[] =
    "A node of the Mainline DHT, and questions to one.\v"
    "Commands:\n"
    "  serve              run a node until interrupted\n"
    "  ping IP:PORT       is somebody there, and who\n"
    "  find-node ID       the nodes closest to an id\n"
    "  get-peers HASH     peers announced under a key\n"
    "  scrape HASH        how many seeds and peers, estimated (BEP 33)\n"
    "  announce HASH PORT announce this host under a key\n"
    "  put TEXT           store an item (BEP 44)\n"
    "  point HASH         store where to look, signed with --key (BEP 46)\n"
    "  get [TARGET]       fetch an item, by target or by --public-key\n"
    "  sample IP:PORT     keys that a node stores peers for (BEP 51)\n"
    "  crawl              ask everybody whom he knows, as far as time allows\n"
    "  table              join, look around, show the routing table\n"
    "\n"
    "ID, HASH, TARGET: 40 hexadecimal digits. Addresses are literal; nothing is\n"
    "ever looked up by name. A node that listens on loopback speaks to loopback\n"
    "only, every other one to public addresses only, unless --private.\n"
    "\n"
    "Exit status: 0 fine; 1 not found, not stored, not answered; 2 wrong usage;\n"
    "3 state folder in use or damaged; 4 no bootstrap node answered, or the port\n"
    "is taken.\n";

static const struct command {
    const char *name;
    enum dht_command command;
    unsigned least, most; /* arguments */
} commands[] = {
    {"serve", DHT_CMD_SERVE, 0, 0},
    {"ping", DHT_CMD_PING, 1, 1},
    {"find-node", DHT_CMD_FIND_NODE, 1, 1},
    {"get-peers", DHT_CMD_GET_PEERS, 1, 1},
    {"scrape", DHT_CMD_SCRAPE, 1, 1},
    {"announce", DHT_CMD_ANNOUNCE, 2, 2},
    {"put", DHT_CMD_PUT, 1, 1},
    {"point", DHT_CMD_PUT, 1, 1},
    {"get", DHT_CMD_GET, 0, 1},
    {"sample", DHT_CMD_SAMPLE, 1, 1},
    {"table", DHT_CMD_TABLE, 0, 0},
    {"crawl", DHT_CMD_CRAWL, 0, 0},
};

struct parsing {
    struct dht_options *o;
    const char *words[4];
    unsigned count;
};

static struct cv_addr address(struct argp_state *state, const char *what, const char *text) {
    struct cv_addr a;
    if (cv_addr_parse(text, &a))
        argp_error(state, "%s '%s': give IP:PORT, like 192.0.2.1:6881 or [2001:db8::1]:6881", what,
                   text);
    return a;
}

static int64_t number(struct argp_state *state, const char *what, const char *text, int64_t max) {
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (errno || *end || text[0] < '0' || text[0] > '9' || n > max)
        argp_error(state, "%s '%s': give a number from 0 to %lld", what, text, (long long)max);
    return n;
}

static void id_argument(struct argp_state *state, struct dht_options *o, const char *text) {
    if (cv_unhex(text, o->id.b, DHT_ID))
        argp_error(state, "'%s': give 40 hexadecimal digits", text);
    o->has_id = true;
}

static const struct command *find_command(struct argp_state *state, const char *name) {
    size_t last = sizeof commands / sizeof *commands - 1;
    for (size_t i = 0; i <= last; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    argp_error(state, "unknown command '%s'; see --help", name);
    return &commands[last]; /* not reached: the line above exits */
}

static void finish(struct argp_state *state, struct parsing *p) {
    struct dht_options *o = p->o;
    if (p->count == 0)
        argp_error(state, "no command; see --help");
    const struct command *c = find_command(state, p->words[0]);
    if (p->count - 1 < c->least)
        argp_error(state, "%s: an argument is missing; see --help", c->name);
    if (p->count - 1 > c->most)
        argp_error(state, "%s: '%s' is one argument too many", c->name, p->words[c->most + 1]);
    o->command = c->command;
    switch (o->command) {
    case DHT_CMD_SERVE:
        if (!o->listen[0].family && !o->listen[1].family)
            argp_error(state, "serve: say where with --listen IP:PORT");
        break;
    case DHT_CMD_TABLE:
        o->wait_s = o->has_wait ? o->wait_s : 2;
        break;
    case DHT_CMD_CRAWL:
        break;
    case DHT_CMD_PING:
    case DHT_CMD_SAMPLE:
        o->addr = address(state, p->words[0], p->words[1]);
        break;
    case DHT_CMD_ANNOUNCE:
        o->port = (uint16_t)number(state, "port", p->words[2], UINT16_MAX);
        if (o->port == 0)
            argp_error(state, "announce: port 0 cannot be announced");
        id_argument(state, o, p->words[1]);
        break;
    case DHT_CMD_FIND_NODE:
    case DHT_CMD_GET_PEERS:
    case DHT_CMD_SCRAPE:
        id_argument(state, o, p->words[1]);
        break;
    case DHT_CMD_PUT:
        if (c != find_command(state, "put"))
            id_argument(state, o, p->words[1]);
        else
            o->text = p->words[1];
        break;
    case DHT_CMD_GET:
        if (p->count == 2)
            id_argument(state, o, p->words[1]);
        else if (!o->public_key)
            argp_error(state, "get: give a target, or --public-key");
        break;
    }
}

static error_t parse(int key, char *arg, struct argp_state *state) {
    struct parsing *p = state->input;
    struct dht_options *o = p->o;
    struct cv_addr a;
    switch (key) {
    case 'l':
        a = address(state, "--listen", arg);
        o->listen[a.family == 6] = a;
        return 0;
    case 'b':
        if (o->bootstrap_count == DHT_OPTIONS_BOOTSTRAP_MAX)
            argp_error(state, "--bootstrap: at most %d", DHT_OPTIONS_BOOTSTRAP_MAX);
        o->bootstrap[o->bootstrap_count++] = address(state, "--bootstrap", arg);
        return 0;
    case 's':
        o->state = arg;
        return 0;
    case 'r':
        o->read_only = true;
        return 0;
    case 'p':
        o->private_network = true;
        return 0;
    case 'k':
        o->key_file = arg;
        return 0;
    case 'K':
        o->public_key = arg;
        return 0;
    case 'S':
        if (strlen(arg) > DHT_SALT_MAX)
            argp_error(state, "--salt: at most %d octets", DHT_SALT_MAX);
        o->salt = arg;
        return 0;
    case 'n':
        o->seq = number(state, "--seq", arg, INT64_MAX);
        o->has_seq = true;
        return 0;
    case 'c':
        o->cas = number(state, "--cas", arg, INT64_MAX);
        o->has_cas = true;
        return 0;
    case 'w':
        o->wait_s = (unsigned)number(state, "--wait", arg, 3600);
        o->has_wait = true;
        return 0;
    case 't':
        o->timeout_s = (unsigned)number(state, "--timeout", arg, 3600);
        return 0;
    case 'j':
        o->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (p->count == sizeof p->words / sizeof *p->words)
            argp_error(state, "'%s' is one argument too many", arg);
        p->words[p->count++] = arg;
        return 0;
    case ARGP_KEY_END:
        finish(state, p);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

void dht_options_parse(int argc, char **argv, struct dht_options *ret) {
    static const struct argp argp = {
        .options = table, .parser = parse, .args_doc = "COMMAND [ARGUMENT...]", .doc = doc};
    *ret = (struct dht_options){.timeout_s = 30};
    struct parsing p = {.o = ret};
    argp_err_exit_status = DHT_EXIT_USAGE;
    if (argp_parse(&argp, argc, argv, 0, NULL, &p))
        exit(DHT_EXIT_USAGE);
}
