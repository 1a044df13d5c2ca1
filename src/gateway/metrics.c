#include "gateway/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void family(FILE *out, const char *name, const char *type, const char *help) {
    fprintf(out, "# TYPE culvert_%s %s\n# HELP culvert_%s %s\n", name, type, name, help);
}

static void gauge(FILE *out, const char *name, const char *help, uint64_t value) {
    family(out, name, "gauge", help);
    fprintf(out, "culvert_%s %" PRIu64 "\n", name, value);
}

static void counter(FILE *out, const char *name, const char *help, uint64_t value) {
    family(out, name, "counter", help);
    fprintf(out, "culvert_%s_total %" PRIu64 "\n", name, value);
}

static void sockets(FILE *out, const struct io_host *host) {
    static const char *const names[NODE_SOCKETS] = {"main",  "own",   "direct", "exit1",
                                                    "exit2", "exit3", "exit4",  "exit5",
                                                    "exit6", "exit7", "exit8"};
    static const struct {
        const char *name, *help;
        size_t in, out;
    } rows[] = {
#define AT(field) offsetof(struct io_udp_stats, field)
        {"datagrams", "UDP datagrams by socket and direction.", AT(datagrams_in),
         AT(datagrams_out)},
        {"socket_calls", "System calls for them.", AT(calls_in), AT(calls_out)},
        {"socket_drops", "Datagrams that the socket's buffers had no room for.", AT(dropped_in),
         AT(dropped_out)},
#undef AT
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        family(out, rows[r].name, "counter", rows[r].help);
        for (unsigned i = 0; i < NODE_SOCKETS * IO_SOCKET_ENDS; i++) {
            enum node_socket socket = (enum node_socket)(i / IO_SOCKET_ENDS);
            unsigned end = i % IO_SOCKET_ENDS; /* the second is that of the other family */
            struct io_udp_stats u = io_host_stats(host, socket, end);
            if (!io_host_bound(host, socket, end).family)
                continue;
            for (unsigned d = 0; d < 2; d++)
                fprintf(out, "culvert_%s_total{socket=\"%s%s\",direction=\"%s\"} %" PRIu64 "\n",
                        rows[r].name, names[socket], end ? "_too" : "", d ? "out" : "in",
                        *(const uint64_t *)(const void *)((const char *)&u +
                                                          (d ? rows[r].out : rows[r].in)));
        }
    }
}

static void swarms(FILE *out, struct io_host *host) {
    struct node_swarm_status s;
    uint64_t count = 0, peers = 0, down = 0, up = 0;
    for (size_t i = 0; node_swarm_status(io_host_node(host), i, &s); i++) {
        count++;
        peers += s.peers;
        down += s.rate_down;
        up += s.rate_up;
    }
    gauge(out, "swarms", "Swarms that are open.", count);
    gauge(out, "peers", "Peers of all of them.", peers);
    gauge(out, "download_octets_per_second", "From all peers, now.", down);
    gauge(out, "upload_octets_per_second", "To all peers, now.", up);
}

static void network(FILE *out, struct io_host *host) {
    struct node_status s;
    node_status(io_host_node(host), &s);
    gauge(out, "dht_nodes", "Nodes in the routing table.", s.dht_nodes);
    gauge(out, "dht_nodes_good", "Nodes in it that answered lately.", s.dht_good);
    gauge(out, "relays", "Relays known.", s.relays_known);
    gauge(out, "relays_missing", "Relays short of what paths need.", s.relays_missing);
    gauge(out, "guards", "Guards with a link.", s.guards);
    gauge(out, "links", "Links to other relays.", s.links);
    gauge(out, "circuits", "Circuits of our own.", s.circuits);
    gauge(out, "circuits_carried", "Circuits carried for others.", s.hops_carried);
    counter(out, "cells_relayed", "Cells passed on for others.", s.cells_relayed);
    counter(out, "datagrams_unknown", "Datagrams that were nobody's.", s.dropped);
    counter(out, "paths_refused", "Paths of our own that broke a rule and were not built.",
            s.paths_refused);
    counter(out, "liars", "Relays proved to have signed two descriptors for a day.", s.liars);
    gauge(out, "ledger_given_octets", "Given to others, as released.", s.ledger_given);
    gauge(out, "ledger_taken_octets", "Taken from others, as released.", s.ledger_taken);
    gauge(out, "ledger_rows", "Rows of the ledger.", s.ledger_rows);
}

char *gw_metrics(struct io_host *host, uint64_t sent) {
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return NULL;
    network(out, host);
    swarms(out, host);
    sockets(out, host);
    counter(out, "player_octets", "Octets that players got.", sent);
    fputs("# EOF\n", out);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}
