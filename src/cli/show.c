/* status, peers, path: asks the running node over its control socket. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/ask.h"
#include "cli/exitcode.h"
#include "cli/human.h"
#include "cli/session.h"
#include "cli/standing.h"
#include "cli/verbs.h"

static json_int_t num(const json_t *o, const char *key) {
    return json_integer_value(json_object_get(o, key));
}

/* What leaves for peers of swarms that were given no limit. */
static void print_upstream(const json_t *o) {
    char a[CLI_HUMAN_MAX], b[CLI_HUMAN_MAX];
    if (!num(o, "limit")) {
        puts("Upstream  not seen full so far: what is shared has no limit but --upload-limit");
        return;
    }
    printf("Upstream  carries %s/s; what is shared without --upload-limit has %s/s of it%s\n",
           cli_human_binary((double)num(o, "measured"), a),
           cli_human_binary((double)num(o, "limit"), b),
           json_is_true(json_object_get(o, "lifted")) ? ", and tries now whether there is more"
                                                      : "");
}

/* What an operator wants to know besides: swarm exit, cap, ending. */
static void print_carrying(const json_t *o) {
    const json_t *x = json_object_get(o, "exit"), *cap = json_object_get(o, "data_cap");
    const json_t *now = json_object_get(o, "carrying");
    char a[24], b[24], until[32];
    if (now)
        printf("Carries   %s/s%s%s%s\n", cli_human_binary((double)num(now, "rate"), a),
               num(now, "limit") ? " of at most " : "",
               num(now, "limit") ? cli_human_binary((double)num(now, "limit"), b) : "",
               num(now, "limit") ? "/s" : "");
    if (x)
        printf("Exit      %" JSON_INTEGER_FORMAT " flows now, %" JSON_INTEGER_FORMAT
               " opened, %" JSON_INTEGER_FORMAT " refused; %s out, %s in\n",
               num(x, "flows"), num(x, "opened"), num(x, "refused"),
               cli_human_binary((double)num(x, "octets_out"), a),
               cli_human_binary((double)num(x, "octets_in"), b));
    if (cap) {
        time_t end = (time_t)num(cap, "until");
        struct tm tm;
        strftime(until, sizeof until, "%Y-%m-%d %H:%M", gmtime_r(&end, &tm));
        printf("Data cap  %s of %s used, until %s UTC%s\n",
               cli_human_binary((double)num(cap, "used"), a),
               cli_human_binary((double)num(cap, "cap"), b), until,
               json_is_true(json_object_get(cap, "spent")) ? ": carrying nobody" : "");
    }
    if (json_is_true(json_object_get(o, "draining")))
        puts("Carrying  nobody new");
}

/* Of a hidden swarm that is asked by more than it can answer, or that asks such a one. */
static void print_stamps(const json_t *s) {
    if (num(s, "asked") || num(s, "refused"))
        printf("          asks visitors for %" JSON_INTEGER_FORMAT
               " bits of work; of %" JSON_INTEGER_FORMAT " who came %" JSON_INTEGER_FORMAT
               " were refused, %" JSON_INTEGER_FORMAT " for too little work\n",
               num(s, "asked"), num(s, "came"), num(s, "refused"), num(s, "below"));
    if (num(s, "given"))
        printf("          worked for %" JSON_INTEGER_FORMAT
               " introductions, for the last %" JSON_INTEGER_FORMAT " bits\n",
               num(s, "given"), num(s, "given_of"));
}

static bool is(const json_t *o, const char *key) {
    return json_is_true(json_object_get(o, key));
}

static const char *how_of(const json_t *s) {
    return is(s, "direct")    ? "DIRECT"
           : is(s, "exit")    ? "through an exit"
           : !is(s, "open")   ? "hidden"
           : is(s, "sharing") ? "openly under this relay's name"
                              : "from a relay that shares it openly";
}

/* With two addresses, which of them it is about. */
static void print_reach(const json_t *list) {
    size_t i;
    const json_t *a;
    json_array_foreach(list, i, a) {
        bool one = json_array_size(list) == 1;
        if (one && !num(a, "by") && !num(a, "not_by"))
            continue;
        printf("Reach     %s%s%" JSON_INTEGER_FORMAT
               " relays had us tried from outside and pass us on, %" JSON_INTEGER_FORMAT
               " did not get through\n",
               one ? "" : json_string_value(json_object_get(a, "address")), one ? "" : ": ",
               num(a, "by"), num(a, "not_by"));
    }
}

/* Nothing hidden works in another day than everybody else's. */
static void print_clock(json_int_t off) {
    long long days = llabs(off) / 86400;
    if (days)
        printf("Clock     %lld day%s %s, relays say: nothing hidden works until it is set\n", days,
               days == 1 ? "" : "s", off > 0 ? "slow" : "fast");
}

static void print_status(const json_t *o, const json_t *swarms, bool why) {
    printf("DHT       %" JSON_INTEGER_FORMAT " good of %" JSON_INTEGER_FORMAT " nodes\n",
           num(o, "dht_good"), num(o, "dht_nodes"));
    printf("Relays    %" JSON_INTEGER_FORMAT " known, %" JSON_INTEGER_FORMAT " guards",
           num(o, "relays_known"), num(o, "guards"));
    if (num(o, "relays_missing"))
        printf(", %" JSON_INTEGER_FORMAT " fewer than paths need", num(o, "relays_missing"));
    puts("");
    print_clock(num(o, "clock_off"));
    printf("Circuits  %" JSON_INTEGER_FORMAT " of our own, %" JSON_INTEGER_FORMAT
           " carried for others (%" JSON_INTEGER_FORMAT " cells)\n",
           num(o, "circuits"), num(o, "hops_carried"), num(o, "cells_relayed"));
    if (num(o, "workers") > 1)
        printf("Workers   %" JSON_INTEGER_FORMAT "\n", num(o, "workers"));
    print_reach(json_object_get(o, "reach"));
    print_carrying(o);
    const json_t *rates = json_object_get(o, "constant_rate");
    if (num(rates, "circuits"))
        printf("Rate      %" JSON_INTEGER_FORMAT " circuits keep %" JSON_INTEGER_FORMAT
               " Mbit/s each way; %" JSON_INTEGER_FORMAT
               " of them run on after their end, for %" JSON_INTEGER_FORMAT " s more\n",
               num(rates, "circuits"), num(rates, "mbit"), num(rates, "running_on"),
               num(rates, "seconds"));
    cli_standing_print(stdout, json_object_get(o, "own"), json_object_get(o, "ledger"));
    if (why)
        cli_standing_why(stdout, json_object_get(o, "own"), json_object_get(o, "why"));
    print_upstream(json_object_get(o, "upstream"));
    const json_t *cache = json_object_get(o, "cache");
    if (cache)
        printf("Cache     %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT
               " MiB used, %" JSON_INTEGER_FORMAT " content%s\n",
               num(cache, "used") >> 20, num(cache, "limit") >> 20, num(cache, "contents"),
               num(cache, "contents") == 1 ? "" : "s");
    const char *page = json_string_value(json_object_get(o, "page"));
    if (page)
        printf("Page      %s\n", page);
    size_t i;
    json_t *s;
    json_array_foreach(swarms, i, s) {
        char rate[64] = "", have[CLI_HUMAN_MAX], all[CLI_HUMAN_MAX];
        bool whole = num(s, "length") > 0; /* a broadcast has no length */
        cli_human((double)num(s, "have"), have);
        cli_human((double)num(s, "length"), all);
        if (num(s, "constant_rate"))
            snprintf(rate, sizeof rate, ", constant %" JSON_INTEGER_FORMAT " Mbit/s%s",
                     num(s, "constant_rate"),
                     num(s, "rate_refused") && !num(s, "peers") ? " REFUSED BY RELAYS" : "");
        printf("Swarm     %s: %s%s%s, %" JSON_INTEGER_FORMAT " peer%s, %s%s%s\n",
               json_string_value(json_object_get(s, "name")), have, whole ? " of " : " are kept",
               whole ? all : "", num(s, "peers"), num(s, "peers") == 1 ? "" : "s", how_of(s),
               json_is_true(json_object_get(s, "sharing")) ? ", sharing" : "", rate);
        print_stamps(json_object_get(s, "stamps"));
        if (json_object_get(s, "link"))
            printf("          %s\n", json_string_value(json_object_get(s, "link")));
    }
}

/* As the page names it: by its address, or by the last relay before it. */
static void peer_name(const json_t *p, char *out, size_t size) {
    const char *addr = json_string_value(json_object_get(p, "address"));
    const json_t *path = json_object_get(p, "path");
    size_t hops = json_array_size(path);
    const char *last = hops ? json_string_value(json_array_get(path, hops - 1)) : NULL;
    if (addr)
        snprintf(out, size, "%s", addr);
    else if (is(p, "open"))
        snprintf(out, size, "%s%s", last ? last : "somebody hidden", last ? ", openly" : "");
    else if (is(p, "exit"))
        snprintf(out, size, "through the exit %s", last ? last : "?");
    else
        snprintf(out, size, "hidden, behind %s", last ? last : "?");
}

/* The columns of the page's table, in 80 of a terminal. */
static void print_peers(const json_t *rows) {
    size_t i;
    json_t *p;
    printf("%-25s %10s %8s %8s %7s %4s %6s %5s\n", "peer", "down KiB/s", "down KiB", "up KiB/s",
           "up KiB", "hops", "rtt ms", "rank");
    json_array_foreach(rows, i, p) {
        char name[128], rank[24] = "-";
        peer_name(p, name, sizeof name);
        if (num(p, "rank"))
            snprintf(rank, sizeof rank, "%" JSON_INTEGER_FORMAT, num(p, "rank"));
        printf("%-25s %10" JSON_INTEGER_FORMAT " %8" JSON_INTEGER_FORMAT " %8" JSON_INTEGER_FORMAT
               " %7" JSON_INTEGER_FORMAT " %4" JSON_INTEGER_FORMAT " %6" JSON_INTEGER_FORMAT
               " %5s\n",
               name, num(p, "rate_down") / 1024, num(p, "received") / 1024,
               num(p, "rate_up") / 1024, num(p, "sent") / 1024, num(p, "hops"), num(p, "rtt_ms"),
               is(p, "choked") ? "waits" : rank);
    }
}

/* One way from us to a peer: relays by their short names. */
static void print_way(const json_t *p) {
    const json_t *path = json_object_get(p, "path"), *hop;
    json_int_t rate = num(p, "constant_rate");
    size_t i;
    printf("%s: we", json_string_value(json_object_get(p, "name")));
    if (!is(p, "hidden")) {
        puts(" -> peer, DIRECT: hides nothing");
        return;
    }
    if (!json_array_size(path)) {
        puts(is(p, "open") ? ", who share it openly <- the visitor's own hops <- visitor"
                           : ", on a way that just ended");
        return;
    }
    json_array_foreach(path, i, hop) {
        printf(" -> %s", json_string_value(hop));
        if (rate && i == 1) /* it keeps the rate, in front of it everything is alike */
            printf(" [%" JSON_INTEGER_FORMAT " Mbit/s to here]", rate);
    }
    puts(is(p, "open")   ? ", which shares it openly"
         : is(p, "exit") ? ", which speaks to the peer for us"
                         : ", the meeting point -> the peer's own hops "
                           "-> peer");
}

static void print_path(const json_t *rows, const json_t *swarms) {
    size_t i;
    const json_t *o;
    json_array_foreach(rows, i, o) {
        print_way(o);
    }
    json_array_foreach(swarms, i, o) {
        if (num(o, "peers") == 0)
            printf("%s: no way to anybody yet\n", json_string_value(json_object_get(o, "name")));
    }
    if (swarms && !json_array_size(swarms))
        puts("Nothing is watched or shared");
}

int cli_show(const struct cli_settings *s) {
    enum cli_verb what = s->verb;
    char socket_path[CLI_PATH_MAX];
    struct io_why why;
    if (cli_session_socket(s, socket_path, &why) != CV_ERR_OK) {
        fprintf(stderr, "culvert: %s\n", why.text);
        return CLI_STATE;
    }
    const char *resource = what == CLI_STATUS  ? "/api/status"
                           : what == CLI_PEERS ? "/api/peers"
                                               : "/api/path";
    json_t *o = cli_ask_get(socket_path, resource);
    bool with_swarms = what == CLI_STATUS || (what == CLI_PATH && !s->json);
    json_t *swarms = o && with_swarms ? cli_ask_get(socket_path, "/api/swarms") : NULL;
    json_t *page = o && what == CLI_STATUS ? cli_ask_get(socket_path, "/api/page") : NULL;
    json_object_update(o, page);
    json_decref(page);
    json_t *ledger = o && s->why ? cli_ask_get(socket_path, "/api/ledger") : NULL;
    json_object_set(o, "why", json_object_get(ledger, "rows"));
    json_decref(ledger);
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
        print_status(o, swarms, s->why);
    } else if (what == CLI_PEERS) {
        print_peers(o);
    } else {
        print_path(o, swarms);
    }
    json_decref(swarms);
    json_decref(o);
    return CLI_OK;
}
