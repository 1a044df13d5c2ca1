#include "cli/options.h"

#include <argp.h>
#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/exitcode.h"
#include "cli/quota.h"
#include "node/limits.h"
#include "ppsp/ppsp.h"

/* PATH: of a file or folder; absolute on its way to a running node. */
enum kind {
    FLAG,
    TEXT,
    PATH,
    ADDRESS,
    ADDRESSES,
    LISTEN,
    SIZE,
    LIMIT,
    PERIOD,
    QUOTA,
    RATE,
    WORKERS
};

/* Verbs that run a node of their own. */
enum { RUNS = CLI_NODE | CLI_RELAY | CLI_SHARE | CLI_GET | CLI_PLAY | CLI_LIVE | CLI_DOCTOR };
enum { ASKS = CLI_STATUS | CLI_PEERS | CLI_PATH | CLI_TOP | CLI_LS | CLI_SHOW | CLI_RM };
/* Verbs that need no node at all. */
enum { ALONE = CLI_LINK | CLI_COMPLETION };
/* What they are given is a file. */
enum { FILES = CLI_SHARE | CLI_LIVE };
/* Not a verb: the option is about a swarm, not about the node, and goes with the
 * command to a node that runs already. */
enum { SWARM = 1 << 30 };

/* clang-format off */
static const struct {
    const char *name, *arg;
    char key;
    unsigned verbs;
    enum kind kind;
    size_t offset;
    size_t count_offset; /* ADDRESSES, LISTEN */
    const char *config;  /* section.key, NULL: command line only */
    const char *help;
} options[] = {
#define AT(field) offsetof(struct cli_settings, field)
    { "state",    "DIR",     's', RUNS | ASKS | CLI_IDENTITY, PATH, AT(state), 0, NULL, "state folder (default: $XDG_STATE_HOME/culvert)" },
    { "config",   "FILE",    'C', RUNS | ASKS | ALONE | CLI_IDENTITY, PATH, AT(config), 0, NULL, "configuration file (default: $XDG_CONFIG_HOME/culvert/culvert.conf)" },
    { "json",     NULL,      'j', RUNS | ASKS | ALONE | CLI_IDENTITY, FLAG, AT(json), 0, NULL, "machine-readable output, one JSON object a line" },
    { "trace",    "FILE",    'T', RUNS, PATH, AT(trace), 0, NULL, "write what the engines do to FILE, one JSON object a line" },
    { "quiet",    NULL,      'q', RUNS, FLAG, AT(quiet), 0, NULL, "no progress" },
    { "listen",   "IP:PORT", 'l', RUNS, LISTEN, AT(listen), AT(listen_count), "node.listen", "address of the node (relay and DHT); port 0 = any; twice for one of IPv4 and one of IPv6 (default: 0.0.0.0:0)" },
    { "own",      "IP:PORT", 'O', RUNS, ADDRESS, AT(own), 0, "node.own", "address that own circuits leave from (default: those of --listen, any port)" },
    { "bootstrap","IP:PORT", 'b', RUNS, ADDRESSES, AT(bootstrap), AT(bootstrap_count), "node.bootstrap", "a DHT node to begin with; may be given several times" },
    { "http",     "IP:PORT", 'H', RUNS, ADDRESS, AT(http), 0, "gateway.listen", "loopback address of the player link; port 0 = any" },
    { "network",  "NAME",    'N', RUNS | CLI_IDENTITY, TEXT, AT(network), 0, "network.name", "name of the network; nodes of different names never meet" },
    { "private",  NULL,      'P', RUNS, FLAG, AT(private_network), 0, "network.private", "a network of private addresses" },
    { "quick-start", NULL,   'Q', RUNS, FLAG, AT(quick_start), 0, "network.quick_start", "a new, small network: publish and confirm without waiting" },
    { "upload-limit", "SIZE",'u', RUNS | SWARM, LIMIT, AT(upload_limit), 0, "share.upload_limit", "octets a second that leave for peers of a swarm (k, M, G, T: 1024 each), or none (default: all swarms together four fifths of what the line was seen to carry)" },
    { "download-limit", "SIZE",'d', CLI_GET | CLI_PLAY | CLI_NODE | SWARM, SIZE, AT(download_limit), 0, "share.download_limit", "octets of content a second that are asked for of a swarm's peers (k, M, G, T: 1024 each)" },
    { "ledbat-plus", NULL,   'M', RUNS, FLAG, AT(ledbat_plus), 0, "share.ledbat_plus", "share a line fairly with senders like us that came before, and keep its queue nearly empty (LEDBAT++ instead of RFC 6817); a tenth slower alone on a line with a long queue" },
    { "no-share", NULL,      'n', CLI_GET | CLI_PLAY | CLI_NODE | SWARM, FLAG, AT(no_share), 0, "share.off", "do not pass on what was watched" },
    { "constant-rate", "MBIT",'m', CLI_GET | CLI_PLAY | CLI_SHARE | CLI_LIVE | SWARM, RATE, AT(constant_rate), 0, NULL, "2, 4, 8 or 16: the swarm's circuits carry so many Mbit/s in both directions from the beginning and 5 to 20 minutes beyond the end, whatever is watched" },
    { "output",   "FILE",    'o', CLI_GET | CLI_PLAY | SWARM, PATH, AT(output), 0, NULL, "where the content is kept" },
    { "direct",   NULL,      'D', CLI_NODE | CLI_SHARE | CLI_GET | CLI_PLAY | CLI_LIVE | SWARM, FLAG, AT(direct), 0, NULL, "plain PPSPP without circuits: HIDES NOTHING" },
    { "peer",     "IP:PORT", 'p', CLI_GET | CLI_PLAY | SWARM, ADDRESSES, AT(peers), AT(peers_count), NULL, "a peer of a direct swarm; without --direct a swarm exit calls it, and it does not see this address" },
    { "hash",     "NAME",    'y', CLI_SHARE | CLI_GET | CLI_LIVE | SWARM, TEXT, AT(hash), 0, NULL, "sha1, sha224, sha256 (default), sha384 or sha512" },
    { "chunk-size","OCTETS", 'c', CLI_SHARE | CLI_GET | SWARM, SIZE, AT(chunk_size), 0, NULL, "512 to 1024 (default), with --direct to 65000" },
    { "integrity","NAME",    'I', CLI_SHARE | CLI_GET | CLI_LIVE | SWARM, TEXT, AT(integrity), 0, NULL, "of files merkle (default), or with --direct none: NOTHING THAT COMES IS CHECKED; of a broadcast unified (default), or with --direct signall: a signature for each chunk" },
    { "addressing","NAME",   'A', CLI_SHARE | CLI_GET | CLI_LIVE | SWARM, TEXT, AT(addressing), 0, NULL, "how chunks are named: bin32, byte64, chunk32 (default), bin64 or chunk64" },
    { "key",      "FILE",    'K', CLI_LIVE | CLI_RM | SWARM, PATH, AT(key), 0, NULL, "the channel's private key (PEM; default: in the state folder); live makes one when there is none" },
    { "algorithm","NAME",   'g', CLI_LIVE | SWARM, TEXT, AT(algorithm), 0, NULL, "what signs: ed25519 (default), rsasha1, rsasha256, ecdsap256sha256, ecdsap384sha384" },
    { "pex-key",  "FILE",    'z', CLI_SHARE | CLI_LIVE | SWARM, PATH, AT(pex_key), 0, NULL, "with --direct: peers name each other by certificates that this Ed25519 key (PEM) signs, and no other way; made when it is not there" },
    { "pex-authority","HEX", 'Z', CLI_SHARE | CLI_GET | CLI_PLAY | CLI_LIVE | SWARM, TEXT, AT(pex_authority), 0, NULL, "with --direct: who signs such certificates, where no link says so (algorithm and public key)" },
    { "pex-certificate","FILE",'Y', CLI_SHARE | CLI_GET | CLI_PLAY | CLI_LIVE | SWARM, PATH, AT(pex_certificate), 0, NULL, "with --direct: what that authority says of ourselves (X.509 in DER)" },
    { "window",   "SIZE",    'W', CLI_LIVE | CLI_GET | SWARM, SIZE, AT(window), 0, "live.window", "octets of a live stream that are kept behind the newest (default 16M)" },
    { "record",   "FILE",    'R', CLI_LIVE | SWARM, PATH, AT(record), 0, NULL, "keep the broadcast in FILE, and share that when it has ended; the channel's link names it from then on" },
    { "recorded", NULL,      'R', CLI_GET | CLI_PLAY | SWARM, FLAG, AT(recorded), 0, NULL, "of a channel its newest recording instead of what it broadcasts now" },
    { "name",     "NAME",    't', CLI_LIVE | SWARM, TEXT, AT(name), 0, NULL, "what the link calls the broadcast (default: the file's name, or live)" },
    { "faststart",NULL,      'f', CLI_SHARE | SWARM, FLAG, AT(faststart), 0, NULL, "of an MP4 whose index is at its end share a copy, made beside it, with the index in front" },
    { "secret",   NULL,      'k', CLI_SHARE | SWARM, FLAG, AT(secret), 0, NULL, "a secret link: relays cannot recognise look-ups for it" },
    { "open",     "FILE",    'F', CLI_RELAY, PATH, AT(open), 0, "relay.open", "share FILE under this relay's own name; its viewers stay hidden" },
    { "exit",     NULL,      'i', CLI_RELAY, FLAG, AT(exit), 0, "relay.exit", "be a swarm exit, too: speak PPSPP to peers of direct swarms for others, who see this address" },
    { "qr",       NULL,      'r', CLI_SHARE | CLI_LIVE | CLI_LINK, FLAG, AT(qr), 0, NULL, "show the link as a QR code, too" },
    { "at",       "HEX",     'a', CLI_GET | CLI_PLAY | SWARM, TEXT, AT(at), 0, NULL, "identity of a relay that shares it under its own name" },
    { "player",   "PROGRAM", 'x', CLI_PLAY | CLI_DOCTOR, TEXT, AT(player), 0, "play.player", "player to start, or browser (default: mpv, vlc, ffplay or the browser, whichever is there)" },
    { "no-player",NULL,      'X', CLI_PLAY, FLAG, AT(no_player), 0, NULL, "only print the link" },
    { "hold",     NULL,      'w', CLI_PLAY, FLAG, AT(hold), 0, NULL, "after a failure wait for Enter, so that a terminal of its own stays open until it was read" },
    { "cache-limit", "SIZE", 'L', CLI_NODE | CLI_SHARE | CLI_GET | CLI_PLAY, SIZE, AT(cache_limit), 0, "cache.limit", "what play may leave in the state folder; beyond it the least recently watched goes (default 20G, or a tenth of the disk if that is less)" },
    { "recording",NULL,      'R', CLI_RM | SWARM, FLAG, AT(recording), 0, NULL, "take it out of its channel's list of recordings, which takes the channel's key; it stays shared, and its own link good" },
    { "purge",    NULL,      'd', CLI_RM | SWARM, FLAG, AT(purge), 0, NULL, "free what the state folder keeps of it, too; files of yours stay" },
    { "yes",      NULL,      'S', CLI_RM, FLAG, AT(yes), 0, NULL, "free it without asking" },
    { "why",      NULL,      'y', CLI_STATUS, FLAG, AT(why), 0, NULL, "and every change of our own class, or of a relay's ledger, with its reason, the newest first" },
    { "epoch",    "PERIOD",  'e', RUNS | CLI_IDENTITY, PERIOD, AT(epoch_seconds), 0, "ledger.epoch", "how often the ledger releases sums (s, m, h, d)" },
    { "epoch-minimum", "SIZE",'E', RUNS, SIZE, AT(epoch_minimum), 0, "ledger.minimum", "below this an epoch releases nothing" },
    { "move",     NULL,      'U', CLI_IDENTITY, FLAG, AT(move), 0, NULL, "export: the identity leaves this folder and goes on where the file is imported" },
    { "passphrase-file", "FILE", 'J', CLI_IDENTITY, PATH, AT(passphrase_file), 0, NULL, "export, import: the passphrase is the first line of FILE (default: asks on the terminal)" },
    { "gate-off", NULL,      'G', CLI_NODE | CLI_RELAY, FLAG, AT(gate_off), 0, "relay.gate_off", "carry everybody alike" },
    { "bandwidth","SIZE",    'w', CLI_RELAY, SIZE, AT(bandwidth), 0, "relay.bandwidth", "octets a second that leave for others, at most (k, M, G, T: 1024 each); stated in the relay's descriptor" },
    { "data-cap", "SIZE/PERIOD", 'd', CLI_RELAY, QUOTA, AT(data_cap), 0, "relay.data_cap", "what may go in and out in a day, week or month (500G/month; k, M, G, T: 1024 each); then nobody is carried until the next" },
    { "workers",  "N",       'W', CLI_RELAY, WORKERS, AT(workers), 0, "relay.workers", "threads that carry others, 1 to 16, or auto (default): one fewer than there are processors, at least 1" },
    { "drain",    "PERIOD",  'J', CLI_RELAY, PERIOD, AT(drain_seconds), 0, "relay.drain", "how long SIGTERM waits for circuits that go on (default 30s; 0: not at all)" },
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
    { "get",    CLI_GET,    "URI",  "fetch a file or a folder whole; with --direct a file also by its root hash" },
    { "share",  CLI_SHARE,  "FILE...", "share a file or a folder, or with --direct several; prints culvert: links" },
    { "live",   CLI_LIVE,   "[SOURCE]", "broadcast a pipe (-), a file that grows, what an encoder pushes to udp://, tcp:// or rtmp://IP:PORT, or the camera of the page (camera:); prints its culvert: link" },
    { "ls",     CLI_LS,     NULL,   "what is shared, watched and kept here: size, how much of it, what goes on with it, when it was last watched" },
    { "show",   CLI_SHOW,   "NAME", "all that is known of one of these: its link, its file, its peers" },
    { "rm",     CLI_RM,     "NAME", "stop sharing or fetching one of these (by its name, its link or how its swarm id begins), or take it out of a channel's list of recordings; files of yours stay" },
    { "node",   CLI_NODE,   NULL,   "run a node that others' programs talk to" },
    { "relay",  CLI_RELAY,  NULL,   "volunteer: run a node that carries others' circuits" },
    { "status", CLI_STATUS, NULL,   "what the running node does" },
    { "peers",  CLI_PEERS,  NULL,   "who the running node exchanges chunks with" },
    { "path",   CLI_PATH,   NULL,   "the hops between us and each peer" },
    { "top",    CLI_TOP,    NULL,   "the running node on a full screen, every second" },
    { "link",   CLI_LINK,   "URI",  "what a culvert: link says, without asking anybody" },
    { "doctor", CLI_DOCTOR, NULL,   "look for what keeps a node from working well: state folder, keys, network, clock, NAT, leaks; each with what to do" },
    { "identity", CLI_IDENTITY, "ACTION [FILE]", "export FILE, import FILE: this node's key and its chain, sealed under a passphrase; renew: a new key in place of one that was restored from a backup" },
    { "completion", CLI_COMPLETION, "SHELL", "completion of command lines for bash, zsh or fish" },
};
/* clang-format on */

enum { OPTIONS = sizeof options / sizeof *options, VERBS = sizeof verbs / sizeof *verbs };

static bool wrong(char why[CLI_TEXT_MAX], const char *what, const char *value, const char *hint) {
    snprintf(why, CLI_TEXT_MAX, "%s '%.120s': %s", what, value, hint);
    return false;
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
    else if (*end == 'T')
        factor = 1099511627776.0;
    if (factor != 1)
        end++;
    if (*end || !(v * factor <= 1e18) || (v > 0 && v * factor < 1)) /* 0 may say: no limit */
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

static bool add_address(struct cv_addr *list, size_t *count, size_t max, const char *name,
                        const char *value, char why[CLI_TEXT_MAX]) {
    if (*count == max)
        return wrong(why, name, value, "given too often");
    if (cv_addr_parse(value, &list[*count]) != CV_ERR_OK)
        return wrong(why, name, value,
                     "is not IP:PORT (no host names: nothing here asks a resolver)");
    ++*count;
    return true;
}

/* One of each family, IPv4 first. */
static bool add_listen(struct cv_addr list[2], size_t *count, const char *name, const char *value,
                       char why[CLI_TEXT_MAX]) {
    struct cv_addr a;
    size_t one = 0;
    if (!add_address(&a, &one, 1, name, value, why))
        return false;
    if (*count && (*count == 2 || list[0].family == a.family))
        return wrong(why, name, value,
                     "is one too many: a node has one address of IPv4 and one of "
                     "IPv6");
    list[(*count)++] = a;
    if (*count == 2 && list[0].family == 6) {
        list[1] = list[0];
        list[0] = a;
    }
    return true;
}

/* `value` is NULL for a flag on the command line. */
static bool apply(size_t i, const char *value, struct cli_settings *s, char why[CLI_TEXT_MAX]) {
    char *base = (char *)s;
    void *at = base + options[i].offset;
    const char *name = options[i].name;
    size_t one = 0;
    switch (options[i].kind) {
    case FLAG:
        *(bool *)at = !value || !strcasecmp(value, "yes") || !strcmp(value, "1");
        return true;
    case TEXT:
    case PATH:
        *(const char **)at = value;
        return true;
    case ADDRESS:
        return add_address(at, &one, 1, name, value, why);
    case ADDRESSES:
        return add_address(at, (size_t *)(void *)(base + options[i].count_offset),
                           CLI_BOOTSTRAP_MAX, name, value, why);
    case LISTEN:
        return add_listen(at, (size_t *)(void *)(base + options[i].count_offset), name, value, why);
    case SIZE:
        return cli_size_parse(value, at) ||
               wrong(why, name, value, "is not a size such as 500k, 4M or 1048576");
    case LIMIT:
        if (strcmp(value, "none") == 0 || (cli_size_parse(value, at) && *(uint64_t *)at == 0)) {
            *(uint64_t *)at = PPSP_UNLIMITED;
            return true;
        }
        return cli_size_parse(value, at) ||
               wrong(why, name, value, "is not a size such as 500k, 4M or 1048576, or none");
    case PERIOD:
        return cli_period_parse(value, at) ||
               wrong(why, name, value, "is not a period such as 10s, 5m or 7d");
    case QUOTA: {
        struct cli_quota_rule rule;
        *(const char **)at = value;
        return cli_quota_parse(value, &rule) ||
               wrong(why, name, value, "is not a size and a period such as 500G/month or 5G/day");
    }
    case RATE:
        *(uint64_t *)at = strtoull(value, NULL, 10);
        return (!strcmp(value, "2") || !strcmp(value, "4") || !strcmp(value, "8") ||
                !strcmp(value, "16")) ||
               wrong(why, name, value, "is not 2, 4, 8 or 16 (Mbit/s)");
    case WORKERS: {
        char *end;
        if (strcmp(value, "auto") == 0) {
            *(uint64_t *)at = CLI_WORKERS_AUTO;
            return true;
        }
        *(uint64_t *)at = strtoull(value, &end, 10);
        return (*value >= '1' && *value <= '9' && !*end && *(uint64_t *)at <= NODE_WORKERS_MAX) ||
               wrong(why, name, value, "is not a number from 1 to 16, or auto");
    }
    }
    return false;
}

static void apply_or_exit(size_t i, const char *value, struct cli_settings *s) {
    char why[CLI_TEXT_MAX];
    if (apply(i, value, s, why))
        return;
    fprintf(stderr, "culvert: %s\n", why);
    exit(CLI_USAGE);
}

/* ---- to a running node and back ---- */

static json_t *absolute(const char *folder, const char *name) {
    return *name == '/' ? json_string(name)
                        : json_sprintf("%s/%s", strcmp(folder, "/") ? folder : "", name);
}

/* The value as text, as it could have been given in any folder; NULL: not given, or
 * not UTF-8. */
static json_t *given(size_t i, const struct cli_settings *s, const char *folder) {
    const char *base = (const char *)s;
    const void *at = base + options[i].offset;
    char text[CV_ADDR_TEXT];
    json_t *list;
    switch (options[i].kind) {
    case FLAG:
        return *(const bool *)at ? json_string("yes") : NULL;
    case TEXT:
    case QUOTA:
        return *(const char *const *)at ? json_string(*(const char *const *)at) : NULL;
    case PATH:
        return *(const char *const *)at ? absolute(folder, *(const char *const *)at) : NULL;
    case ADDRESS:
        return ((const struct cv_addr *)at)->family ? json_string(cv_addr_text(at, text)) : NULL;
    case ADDRESSES:
    case LISTEN:
        list = json_array();
        for (size_t j = 0; j < *(const size_t *)(const void *)(base + options[i].count_offset); j++)
            json_array_append_new(list,
                                  json_string(cv_addr_text((const struct cv_addr *)at + j, text)));
        return list;
    case LIMIT:
    case SIZE:
    case PERIOD:
    case RATE:
    case WORKERS:
        if (options[i].kind == LIMIT && *(const uint64_t *)at == PPSP_UNLIMITED)
            return json_string("none");
        snprintf(text, sizeof text, "%" PRIu64, *(const uint64_t *)at);
        return *(const uint64_t *)at ? json_string(text) : NULL;
    }
    return NULL;
}

/* A name that was given and could not be said. */
static const char *unsaid(const json_t *list, const struct cli_settings *s) {
    for (size_t i = 0; i < OPTIONS; i++) {
        bool sent = options[i].verbs & SWARM && options[i].verbs & s->verb &&
                    (options[i].kind == PATH || options[i].kind == TEXT);
        const char *name =
            sent ? *(const char *const *)(const void *)((const char *)s + options[i].offset) : NULL;
        if (name && !json_object_get(list, options[i].name))
            return name;
    }
    return NULL;
}

json_t *cli_options_give(const struct cli_settings *s, char why[CLI_TEXT_MAX]) {
    char folder[4096];
    if (!getcwd(folder, sizeof folder)) {
        wrong(why, "working folder", ".", "is not there any more");
        return NULL;
    }
    json_t *list = json_object();
    for (size_t i = 0; i < OPTIONS; i++) {
        bool ours = options[i].verbs & SWARM && options[i].verbs & s->verb;
        json_t *value = ours ? given(i, s, folder) : NULL;
        if (value)
            json_object_set_new(list, options[i].name, value);
    }
    size_t v = 0;
    while (verbs[v].verb != s->verb)
        v++;
    json_t *o =
        json_pack("{s:s, s:o*, s:s*, s:o}", "verb", verbs[v].name, "argument",
                  s->verb & FILES ? absolute(folder, s->argument) : json_string(s->argument),
                  "folder", folder, "options", list);
    if (strcmp(s->network, "culvert") != 0) /* asked for: not any will do */
        json_object_set_new(o, "network", json_string(s->network));
    if (s->feed)
        json_object_set_new(o, "feed", json_string(s->feed));
    json_t *files = s->arguments_count > 1 ? json_array() : NULL;
    for (size_t i = 0; files && i < s->arguments_count; i++)
        if (json_array_append_new(files, absolute(folder, s->arguments[i])))
            json_object_del(o, "argument");
    if (files)
        json_object_set_new(o, "arguments", files);
    const char *name = unsaid(list, s);
    if (!json_object_get(o, "argument") || !json_object_get(o, "folder") || name) {
        wrong(why, "name", name ? name : s->argument,
              "is not UTF-8, so the running node cannot be told of it");
        json_decref(o);
        return NULL;
    }
    return o;
}

static void defaults(enum cli_verb verb, struct cli_settings *s) {
    memset(s, 0, sizeof *s);
    s->verb = verb;
    s->network = "culvert";
    s->epoch_seconds = 7 * 86400;
    s->epoch_minimum = 64u << 20;
    s->cache_limit = UINT64_MAX;
    s->drain_seconds = 30;
    cv_addr_parse("127.0.0.1:0", &s->http);
}

static bool take_option(const char *name, const json_t *value, struct cli_settings *s,
                        char why[CLI_TEXT_MAX]) {
    for (size_t i = 0; i < OPTIONS; i++) {
        if (strcmp(options[i].name, name) != 0)
            continue;
        if (!(options[i].verbs & SWARM) || !(options[i].verbs & s->verb))
            break;
        size_t n = json_is_array(value) ? json_array_size(value) : 1;
        for (size_t j = 0; j < n; j++) {
            const char *text =
                json_string_value(json_is_array(value) ? json_array_get(value, j) : value);
            if (!text)
                return wrong(why, "option", name, "has no text for a value");
            if (options[i].kind == PATH && *text != '/')
                return wrong(why, "request", name, "needs absolute names");
            if (!apply(i, text, s, why))
                return false;
        }
        return true;
    }
    return wrong(why, "option", name, "is not known to the running node; restart it");
}

/* Several files, one of which is `argument`. */
static bool take_arguments(const json_t *list, struct cli_settings *s, char why[CLI_TEXT_MAX]) {
    size_t n = json_array_size(list);
    s->arguments = n ? calloc(n, sizeof *s->arguments) : NULL;
    if (n && !s->arguments)
        return wrong(why, "request", "share", "out of memory");
    for (size_t i = 0; i < n; i++) {
        s->arguments[i] = json_string_value(json_array_get(list, i));
        if (!s->arguments[i] || *s->arguments[i] != '/')
            return wrong(why, "request", "share", "needs absolute names");
    }
    s->arguments_count = n;
    return true;
}

bool cli_options_take(const json_t *o, struct cli_settings *ret, char why[CLI_TEXT_MAX]) {
    const char *verb = json_string_value(json_object_get(o, "verb")), *name;
    enum cli_verb v = verb ? cli_verb_find(verb) : (enum cli_verb)0;
    json_t *value;
    if (!(v & (CLI_SHARE | CLI_GET | CLI_PLAY | CLI_LIVE | CLI_LS | CLI_RM)))
        return wrong(why, "verb", verb ? verb : "", "is nothing that a running node does");
    defaults(v, ret);
    ret->argument = json_string_value(json_object_get(o, "argument"));
    ret->folder = json_string_value(json_object_get(o, "folder"));
    ret->feed = json_string_value(json_object_get(o, "feed"));
    if (!ret->argument || !ret->folder || *ret->folder != '/')
        return wrong(why, "request", verb, "needs an argument and an absolute folder");
    json_object_foreach(json_object_get(o, "options"), name, value) {
        if (!take_option(name, value, ret, why))
            return false;
    }
    if (v & FILES && *ret->argument != '/')
        return wrong(why, "request", verb, "needs absolute names");
    return v != CLI_SHARE || take_arguments(json_object_get(o, "arguments"), ret, why);
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
            if (!(options[i].verbs & c->verb))
                return 1;
            char *text = strdup(value);
            apply_or_exit(i, text, c->settings);
            if (options[i].kind != TEXT && options[i].kind != PATH && options[i].kind != QUOTA)
                free(text); /* what it says was read */
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

static bool add_file(struct cli_settings *s, const char *name) {
    static const char **kept; /* as long as the program */
    const char **all = realloc(kept, (s->arguments_count + 1) * sizeof *all);
    if (!all)
        return false;
    kept = all;
    all[s->arguments_count++] = name;
    s->arguments = all;
    s->argument = all[0];
    return true;
}

static error_t on_option(int key, char *arg, struct argp_state *state) {
    struct line *l = state->input;
    if (key == ARGP_KEY_ARG) {
        bool files = verbs[l->verb].verb & (CLI_SHARE | CLI_IDENTITY);
        if (!verbs[l->verb].arg || (l->settings->argument && !files))
            argp_error(state, "one argument too many: '%s'", arg);
        if (l->only_config)
            return 0;
        if (verbs[l->verb].verb == CLI_IDENTITY && l->settings->arguments_count == 2)
            argp_error(state, "one argument too many: '%s'", arg);
        if (!files)
            l->settings->argument = arg;
        else if (!add_file(l->settings, arg))
            argp_error(state, "out of memory");
        return 0;
    }
    if (key == ARGP_KEY_END) {
        const char *arg_name = verbs[l->verb].arg;
        if (!l->only_config && arg_name && *arg_name != '[' && !l->settings->argument)
            argp_error(state, "%s is missing", arg_name);
        return 0;
    }
    for (size_t i = 0; i < OPTIONS; i++) {
        /* Letters are few: verbs that have nothing else in common may share one. */
        if (options[i].key == key && options[i].verbs & verbs[l->verb].verb) {
            if (!l->only_config || key == 'C')
                apply_or_exit(i, arg, l->settings);
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

bool cli_verb_info(size_t i, struct cli_verb_info *ret) {
    if (i >= VERBS)
        return false;
    *ret = (struct cli_verb_info){.verb = verbs[i].verb,
                                  .name = verbs[i].name,
                                  .arg = verbs[i].arg,
                                  .help = verbs[i].help,
                                  .words = verbs[i].verb == CLI_COMPLETION ? "bash zsh fish"
                                           : verbs[i].verb == CLI_IDENTITY ? "export import renew"
                                                                           : NULL,
                                  .file = verbs[i].verb & FILES};
    return true;
}

bool cli_option_info(size_t i, unsigned of, struct cli_option_info *ret) {
    size_t at = 0;
    while (at < OPTIONS && (!(options[at].verbs & of & ~(unsigned)SWARM) || i-- > 0))
        at++;
    if (at == OPTIONS)
        return false;
    *ret = (struct cli_option_info){.name = options[at].name,
                                    .arg = options[at].arg,
                                    .help = options[at].help,
                                    .key = options[at].key,
                                    .file = options[at].kind == PATH,
                                    .many = options[at].kind == ADDRESSES ||
                                            options[at].kind == LISTEN};
    return true;
}

enum cli_verb cli_verb_find(const char *name) {
    for (size_t i = 0; i < VERBS; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return verbs[i].verb;
    return (enum cli_verb)0;
}

/* The rest of a line on which `at` columns stand, broken between words where argp breaks,
 * too; what follows begins in column `at`. */
static void print_broken(const char *text, int at) {
    enum { COLUMNS = 79 };
    int column = at;
    while (*text) {
        int len = (int)strcspn(text, " ");
        if (column + 1 + len > COLUMNS)
            column = printf("\n%*s", at, "") - 1;
        column += printf(" %.*s", len, text);
        text += len + (text[len] == ' ');
    }
    puts("");
}

void cli_verbs_print(void) {
    puts("Usage: culvert VERB [OPTION...] [ARGUMENT]\n\n"
         "Watch and share video with each other; nobody sees who watches what.\n");
    for (size_t i = 0; i < VERBS; i++)
        print_broken(verbs[i].help,
                     printf("  %-10s %-13s", verbs[i].name, verbs[i].arg ? verbs[i].arg : ""));
    puts("\n'culvert VERB --help' lists a verb's options. Exit status: 0 done, 1 failed,\n"
         "2 usage, 3 state folder, 4 network, 5 file or disk, 130 interrupted.");
}

void cli_options_parse(enum cli_verb verb, int argc, char **argv, struct cli_settings *ret) {
    size_t v = 0;
    while (verbs[v].verb != verb)
        v++;
    defaults(verb, ret);

    static char name[32]; /* argp keeps argv[0] for its messages */
    snprintf(name, sizeof name, "culvert %s", verbs[v].name);
    argv[0] = name;
    struct cli_settings scratch = *ret;
    run_argp(&(struct line){.settings = &scratch, .verb = v, .only_config = true}, argc, argv);
    ret->config = scratch.config;
    read_config(verb, ret);
    /* what the command line says of addresses is not added to what the file says */
    struct cli_settings file = *ret;
    ret->listen_count = 0;
    memset(ret->listen, 0, sizeof ret->listen);
    run_argp(&(struct line){.settings = ret, .verb = v}, argc, argv);
    if (!ret->listen_count) {
        memcpy(ret->listen, file.listen, sizeof ret->listen);
        ret->listen_count = file.listen_count;
    }
    if (!ret->listen_count) {
        cv_addr_parse("0.0.0.0:0", &ret->listen[0]);
        ret->listen_count = 1;
    }
}
