/* status, peers, path: asks the running node over its control socket. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/exitcode.h"
#include "cli/session.h"
#include "cli/verbs.h"

enum { ANSWER_MAX = 1 << 20 };

static int connect_to(const char *path) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof at.sun_path)
        return -1;
    memcpy(at.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = 5};
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
            return fd;
        close(fd);
    }
    return -1;
}

/* The body of a GET, as JSON, or NULL. */
static json_t *fetch(const char *socket_path, const char *resource) {
    int fd = connect_to(socket_path);
    if (fd < 0)
        return NULL;
    dprintf(fd, "GET %s HTTP/1.0\r\nHost: culvert\r\n\r\n", resource);
    char *buf = malloc(ANSWER_MAX + 1);
    size_t len = 0;
    ssize_t n = 0;
    while (buf && len < ANSWER_MAX && (n = read(fd, buf + len, ANSWER_MAX - len)) > 0)
        len += (size_t)n;
    close(fd);
    json_t *o = NULL;
    if (buf && n == 0) {
        buf[len] = 0;
        char *body = strstr(buf, "\r\n\r\n");
        if (body && strncmp(buf, "HTTP/1.", 7) == 0 && strncmp(buf + 8, " 200", 4) == 0)
            o = json_loads(body + 4, 0, NULL);
    }
    free(buf);
    return o;
}

static json_int_t num(const json_t *o, const char *key) {
    return json_integer_value(json_object_get(o, key));
}

static void print_status(const json_t *o, const json_t *swarms) {
    const json_t *ledger = json_object_get(o, "ledger");
    printf("DHT       %" JSON_INTEGER_FORMAT " good of %" JSON_INTEGER_FORMAT " nodes\n",
           num(o, "dht_good"), num(o, "dht_nodes"));
    printf("Relays    %" JSON_INTEGER_FORMAT " known, %" JSON_INTEGER_FORMAT " guards\n",
           num(o, "relays_known"), num(o, "guards"));
    printf("Circuits  %" JSON_INTEGER_FORMAT " of our own, %" JSON_INTEGER_FORMAT
           " carried for others (%" JSON_INTEGER_FORMAT " cells)\n",
           num(o, "circuits"), num(o, "hops_carried"), num(o, "cells_relayed"));
    printf("Ledger    %" JSON_INTEGER_FORMAT " given, %" JSON_INTEGER_FORMAT
           " taken, %" JSON_INTEGER_FORMAT " not yet released\n",
           num(ledger, "given"), num(ledger, "taken"), num(ledger, "pending"));
    size_t i;
    json_t *s;
    json_array_foreach(swarms, i, s) {
        printf("Swarm     %s: %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT
               " octets, %" JSON_INTEGER_FORMAT " peers, %s%s\n",
               json_string_value(json_object_get(s, "name")), num(s, "have"), num(s, "length"),
               num(s, "peers"), json_is_true(json_object_get(s, "direct")) ? "DIRECT" : "hidden",
               json_is_true(json_object_get(s, "sharing")) ? ", sharing" : "");
        if (json_object_get(s, "link"))
            printf("          %s\n", json_string_value(json_object_get(s, "link")));
    }
}

static void print_peers(const json_t *rows) {
    size_t i;
    json_t *p;
    printf("%-24s %-5s %12s %12s %12s %8s\n", "peer", "hops", "down KiB/s", "down KiB", "up KiB",
           "rtt ms");
    json_array_foreach(rows, i, p) {
        const char *addr = json_string_value(json_object_get(p, "address"));
        printf("%-24s %-5" JSON_INTEGER_FORMAT " %12" JSON_INTEGER_FORMAT " %12" JSON_INTEGER_FORMAT
               " %12" JSON_INTEGER_FORMAT " %8" JSON_INTEGER_FORMAT "\n",
               addr ? addr : "hidden", num(p, "hops"), num(p, "rate_down") / 1024,
               num(p, "received") / 1024, num(p, "sent") / 1024, num(p, "rtt_ms"));
    }
}

static void print_path(const json_t *rows) {
    size_t i, j;
    json_t *p, *hop;
    json_array_foreach(rows, i, p) {
        printf("%s: we", json_string_value(json_object_get(p, "name")));
        if (!json_is_true(json_object_get(p, "hidden"))) {
            puts(" -> peer   DIRECT, hides nothing");
            continue;
        }
        json_array_foreach(json_object_get(p, "path"), j, hop)
            printf(" -> %s", json_string_value(hop));
        puts(json_is_true(json_object_get(p, "open"))
                 ? ", which shares it openly"
                 : " -> meeting point -> the peer's own hops -> peer");
    }
}

int cli_show(const struct cli_settings *s, enum cli_verb what) {
    char socket_path[CLI_PATH_MAX];
    struct io_why why;
    if (cli_session_socket(s, socket_path, &why) != CV_ERR_OK) {
        fprintf(stderr, "culvert: %s\n", why.text);
        return CLI_STATE;
    }
    const char *resource = what == CLI_STATUS  ? "/api/status"
                           : what == CLI_PEERS ? "/api/peers"
                                               : "/api/path";
    json_t *o = fetch(socket_path, resource);
    json_t *swarms = o && what == CLI_STATUS ? fetch(socket_path, "/api/swarms") : NULL;
    if (!o) {
        fprintf(stderr,
                "culvert: %s: no node answers there; start one with 'culvert node', or name its "
                "folder with --state\n",
                socket_path);
        return CLI_STATE;
    }
    if (s->json) {
        if (swarms)
            json_object_set(o, "swarms", swarms);
        char *text = json_dumps(o, JSON_COMPACT);
        puts(text ? text : "null");
        free(text);
    } else if (what == CLI_STATUS) {
        print_status(o, swarms);
    } else if (what == CLI_PEERS) {
        print_peers(o);
    } else {
        print_path(o);
    }
    json_decref(swarms);
    json_decref(o);
    return CLI_OK;
}
