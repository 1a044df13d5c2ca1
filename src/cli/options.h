/*
 * Everything a person can set, in one table: it drives the command line,
 * --help and the configuration file. A value on the command line wins over the
 * file, the file over the default.
 */
#ifndef CULVERT_CLI_OPTIONS_H
#define CULVERT_CLI_OPTIONS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/endpoint.h"

enum cli_verb {
    CLI_NODE = 1 << 0,
    CLI_RELAY = 1 << 1,
    CLI_SHARE = 1 << 2,
    CLI_GET = 1 << 3,
    CLI_PLAY = 1 << 4,
    CLI_STATUS = 1 << 5,
    CLI_PEERS = 1 << 6,
    CLI_PATH = 1 << 7,
    CLI_LIVE = 1 << 8,
    CLI_LINK = 1 << 9,
    CLI_DOCTOR = 1 << 10,
    CLI_COMPLETION = 1 << 11,
    CLI_TOP = 1 << 12,
    CLI_LS = 1 << 13,
    CLI_SHOW = 1 << 14,
    CLI_RM = 1 << 15,
    CLI_IDENTITY = 1 << 20,
};

enum { CLI_BOOTSTRAP_MAX = 16, CLI_PEERS_MAX = 16, CLI_TEXT_MAX = 256 };

#define CLI_WORKERS_AUTO UINT64_MAX /* as processors.h says */

struct cli_settings {
    enum cli_verb verb;
    const char *state;    /* state folder; NULL = XDG */
    const char *config;   /* configuration file; NULL = XDG */
    const char *argument; /* FILE, URI or SOURCE: the first, .. */
    const char **arguments;
    size_t arguments_count; /* .. and all of them, when they are files */
    const char *folder;     /* where relative names stand; NULL = the working folder */
    const char *trace;      /* file for the engines' events; NULL = none */
    const char *output;
    const char *open; /* relay: FILE to share under its own name */
    const char *at;   /* viewer: identity of such a relay, in hex */
    const char *player;
    const char *hash, *addressing, *integrity; /* names; NULL = default */
    const char *key, *algorithm, *record;      /* live: key file, name, FILE to keep it in */
    const char *pex_key, *pex_authority, *pex_certificate; /* direct: cli/authority.h */
    const char *name; /* live: in its link; NULL = the file's */
    const char *feed; /* live: of the command's pipe for what the page records; NULL = none */
    /* share: of a file that is a copy of ours. If an MP4 of it has its index at the end, one
     * with the index in front takes its place, and is made in this folder; NULL = as it is. */
    const char *aside;
    const char *passphrase_file; /* identity; NULL = asks */
    const char *network;
    bool json, quiet, direct, secret, private_network, gate_off, exit, no_share, no_player, hold,
        quick_start, ledbat_plus, qr, faststart, recorded, recording, move, purge, yes, why;
    struct cv_addr listen[2]; /* [1]: of the other family; family 0 = none. IPv4 first */
    size_t listen_count;
    struct cv_addr own, http;
    struct cv_addr bootstrap[CLI_BOOTSTRAP_MAX];
    size_t bootstrap_count;
    struct cv_addr peers[CLI_PEERS_MAX];
    size_t peers_count;
    uint64_t upload_limit;   /* octets a second; 0 = not given, PPSP_UNLIMITED = none */
    uint64_t download_limit; /* octets a second; 0 = none */
    uint64_t constant_rate;  /* Mbit/s; 0 = none */
    uint64_t epoch_seconds;  /* ledger release */
    uint64_t epoch_minimum;  /* octets */
    uint64_t window;         /* live: octets kept behind the newest; 0 = default */
    uint64_t buffer;         /* socket buffers, octets; 0 = default */
    uint64_t bandwidth;      /* relay: octets a second that leave for others; 0 = no limit */
    uint64_t workers;        /* relay: threads that carry others; 0 = auto */
    uint64_t drain_seconds;  /* relay: what SIGTERM waits for circuits */
    const char *data_cap;    /* relay: "500G/month"; NULL = none */
    uint64_t chunk_size;     /* octets; 0 = default */
    uint64_t cache_limit;    /* octets; UINT64_MAX = default */
};

/* Defaults, then the configuration file, then argv (argv[0] is the verb's
 * name). Prints --help or one clear line and exits when it must. */
void cli_options_parse(enum cli_verb verb, int argc, char **argv, struct cli_settings *ret);

/*
 * What a running node must know to do it in place of a process of its own: verb,
 * argument, folder, and the options that are about the swarm. Relative names
 * become absolute. NULL, *why has one line, when it cannot be said.
 */
json_t *cli_options_give(const struct cli_settings *s, char why[CLI_TEXT_MAX]);
/* The other side; *ret borrows texts from `o`, free() its `arguments`. False: *why has one
 * line; the same. */
bool cli_options_take(const json_t *o, struct cli_settings *ret, char why[CLI_TEXT_MAX]);

/* The verb of a name, 0 when there is none. */
enum cli_verb cli_verb_find(const char *name);

/* The table, for those who describe it in another way: the i-th verb, and the i-th option
 * that any of `verbs` takes; false: there are no more. */
struct cli_verb_info {
    enum cli_verb verb;
    const char *name, *arg, *help; /* arg NULL: takes none */
    const char *words;             /* what the argument can be; NULL: anything */
    bool file;                     /* the argument is a file */
};
struct cli_option_info {
    const char *name, *arg, *help; /* arg NULL: a flag */
    char key;
    bool file, many; /* the value is a file or folder; may be given several times */
};
bool cli_verb_info(size_t i, struct cli_verb_info *ret);
bool cli_option_info(size_t i, unsigned verbs, struct cli_option_info *ret);

/* The list of verbs for `culvert --help`. */
void cli_verbs_print(void);

/* "4k", "1.5M", "2G", "1T" (powers of 1024) or plain octets; false when it is not, nor is less
 * than one octet, which is not nothing. */
bool cli_size_parse(const char *text, uint64_t *ret);

/* "30", "30s", "10m", "2h", "7d" to seconds; false when it is not. */
bool cli_period_parse(const char *text, uint64_t *ret);

#endif
