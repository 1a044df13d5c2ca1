/* Command line of culvert-dht: one table for parsing and --help. */
#ifndef CULVERT_TOOLS_DHT_OPTIONS_H
#define CULVERT_TOOLS_DHT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/endpoint.h"
#include "dht/dht.h"

enum dht_exit {
    DHT_EXIT_OK = 0,
    DHT_EXIT_FAILED = 1, /* asked, but not found, not stored or not answered */
    DHT_EXIT_USAGE = 2,
    DHT_EXIT_STATE = 3,
    DHT_EXIT_NETWORK = 4, /* no bootstrap node answered, port in use */
};

enum dht_command {
    DHT_CMD_SERVE,
    DHT_CMD_PING,
    DHT_CMD_FIND_NODE,
    DHT_CMD_GET_PEERS,
    DHT_CMD_SCRAPE,
    DHT_CMD_ANNOUNCE,
    DHT_CMD_PUT,
    DHT_CMD_GET,
    DHT_CMD_SAMPLE,
    DHT_CMD_TABLE,
    DHT_CMD_CRAWL,
};

#define DHT_OPTIONS_BOOTSTRAP_MAX 64

struct dht_options {
    enum dht_command command;
    struct cv_addr listen[2]; /* IPv4, IPv6; family 0: not given */
    struct cv_addr bootstrap[DHT_OPTIONS_BOOTSTRAP_MAX];
    unsigned bootstrap_count;
    const char *state, *key_file, *public_key, *salt;
    int64_t seq, cas;
    bool read_only, private_network, json, has_seq, has_cas, has_wait;
    unsigned timeout_s, wait_s;

    /* Arguments of the command */
    struct cv_addr addr;
    struct dht_id id;
    bool has_id;
    uint16_t port;
    const char *text; /* put; NULL: point, to `id` */
};

/* Exits with a clear line when the command line is wrong. */
void dht_options_parse(int argc, char **argv, struct dht_options *ret);

#endif
