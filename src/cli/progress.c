#include "cli/progress.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/qr.h"

enum { BAR = 16 }; /* the line fits 80 columns, else it would not be drawn over */

struct cli_progress cli_progress_init(bool json, bool quiet) {
    bool terminal = !json && isatty(STDERR_FILENO);
    return (struct cli_progress){
        .out = terminal ? stderr : stdout, .terminal = terminal, .quiet = quiet};
}

json_t *cli_json_text(const char *text) {
    json_t *o = json_string(text);
    if (o)
        return o;
    char *copy = strdup(text); /* a path need not be UTF-8 */
    for (char *c = copy; c && *c; c++)
        if ((uint8_t)*c >= 0x80)
            *c = '?';
    o = json_string(copy ? copy : "?");
    free(copy);
    return o;
}

static void print_json(struct cli_progress *p, const json_t *o) {
    char *text = json_dumps(o, JSON_COMPACT);
    if (text)
        fprintf(p->out, "%s\n", text);
    fflush(p->out);
    free(text);
}

/* "3.2 MB/s" style; units of a thousand, as players and networks count. */
static void human(double v, char out[16]) {
    static const char *const units[] = {"", "k", "M", "G", "T"};
    size_t u = 0;
    while (v >= 1000 && u < 4) {
        v /= 1000;
        u++;
    }
    snprintf(out, 16, v < 10 && u ? "%.1f %sB" : "%.0f %sB", v, units[u]);
}

static json_int_t num(const json_t *o, const char *key) {
    return json_integer_value(json_object_get(o, key));
}

static void draw(struct cli_progress *p, const json_t *o) {
    char down[16], up[16], bar[BAR + 1], eta[32] = "";
    json_int_t have = num(o, "have"), length = num(o, "length"), rate = num(o, "rate_down"),
               peers = num(o, "peers");
    human((double)rate, down);
    human((double)num(o, "rate_up"), up);
    size_t full = length > 0 ? (size_t)((double)have / (double)length * BAR) : 0;
    for (size_t i = 0; i < BAR; i++)
        bar[i] = i < full ? '=' : (i == full ? '>' : '.');
    bar[BAR] = 0;
    if (have < length && rate > 0)
        snprintf(eta, sizeof eta, "  %" JSON_INTEGER_FORMAT " s left", (length - have) / rate);
    fprintf(p->out, "\r\033[K[%s] %5.1f%%  %s/s down  %s/s up  %" JSON_INTEGER_FORMAT " peer%s%s",
            bar, length > 0 ? 100.0 * (double)have / (double)length : 0.0, down, up, peers,
            peers == 1 ? "" : "s", eta);
    fflush(p->out);
    p->drawn = true;
}

static enum node_swarm_mode mode_of(const struct node *n, cv_handle swarm) {
    struct node_swarm_status s;
    for (size_t i = 0; node_swarm_status(n, i, &s); i++)
        if (s.swarm == swarm)
            return s.mode;
    return NODE_SWARM_HIDDEN;
}

void cli_progress_peer(struct cli_progress *p, struct node *n, cv_handle swarm,
                       const struct cv_endpoint *endpoint) {
    static const char *const ends[NODE_SWARM_MODES] = {
        [NODE_SWARM_HIDDEN] = " to the meeting point",
        [NODE_SWARM_DIRECT] = "",
        [NODE_SWARM_OPEN] = ", the last one shares it",
        [NODE_SWARM_EXIT] = ", the last one speaks to a peer for us",
    };
    struct node_peer_status peer;
    char sentence[160];
    for (size_t i = 0; node_peer_status(n, swarm, i, &peer); i++) {
        if (!cv_endpoint_equal(&peer.endpoint, endpoint))
            continue;
        snprintf(sentence, sizeof sentence, "%s: %u hops%s",
                 peer.hidden ? "Path ready" : "Connected DIRECTLY", (unsigned)peer.hops,
                 ends[mode_of(n, swarm)]);
        json_t *hops = json_array();
        for (size_t j = 0; j < peer.hops; j++)
            json_array_append_new(hops, json_string(peer.path[j]));
        cli_progress_event(p, "peer_up", sentence,
                           json_pack("{s:i, s:o}", "hops", (int)peer.hops, "path", hops));
    }
}

void cli_progress_link(struct cli_progress *p, const struct gateway *gateway,
                       const struct node_uri *uri) {
    char link[GW_LINK_MAX], hls[GW_LINK_MAX], sentence[2 * GW_LINK_MAX + 64];
    gateway_link(gateway, uri, link);
    json_t *fields = json_pack("{s:s}", "url", link);
    int n = snprintf(sentence, sizeof sentence, "Player link: %s", link);
    if (uri->kind == NODE_URI_LIVE) {
        gateway_hls(gateway, uri, hls);
        snprintf(sentence + n, sizeof sentence - (size_t)n, "\nIn segments (HLS): %s", hls);
        json_object_set_new(fields, "hls", json_string(hls));
    }
    cli_progress_event(p, "link", sentence, fields);
}

void cli_progress_qr(FILE *out, const char *link) {
    static struct gw_qr code;
    const char *plain = getenv("NO_COLOR");
    bool colour = isatty(fileno(out)) && !(plain && *plain);
    char *text = gw_qr_make(link, &code) ? gw_qr_text(&code, colour) : NULL;
    if (text)
        fputs(text, out);
    else
        fputs("The link is too long for a QR code that a camera could read\n", out);
    free(text);
}

void cli_progress_show(struct cli_progress *p, json_t *o) {
    const char *event = json_string_value(json_object_get(o, "event"));
    const char *say = json_string_value(json_object_get(o, "say"));
    bool progress = event && strcmp(event, "progress") == 0;
    if (progress && p->quiet) {
        /* nothing */
    } else if (!p->terminal) {
        json_object_del(o, "say");
        print_json(p, o);
    } else if (progress) {
        draw(p, o);
    } else if (say) {
        cli_progress_done(p);
        fprintf(p->out, "%s\n", say);
    }
    json_decref(o);
}

static void emit(struct cli_progress *p, json_t *o) {
    if (p->sink)
        p->sink(p->ctx, o);
    else
        cli_progress_show(p, o);
}

void cli_progress_swarm(struct cli_progress *p, struct node *n, cv_handle swarm) {
    struct node_swarm_status s;
    for (size_t i = 0; node_swarm_status(n, i, &s); i++) {
        if (s.swarm != swarm)
            continue;
        emit(p, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:i}", "event", "progress", "have",
                          (json_int_t)s.have, "length",
                          (json_int_t)(s.length == UINT64_MAX ? 0 : s.length), "received",
                          (json_int_t)s.received, "sent", (json_int_t)s.sent, "rate_down",
                          (json_int_t)s.rate_down, "rate_up", (json_int_t)s.rate_up, "peers",
                          (int)s.peers));
    }
}

void cli_progress_event(struct cli_progress *p, const char *name, const char *sentence,
                        json_t *fields) {
    json_t *o = json_object();
    json_object_set_new(o, "event", json_string(name));
    json_object_set_new(o, "say", cli_json_text(sentence));
    if (fields) {
        json_object_update(o, fields);
        json_decref(fields);
    }
    emit(p, o);
}

void cli_progress_done(struct cli_progress *p) {
    if (p->drawn)
        fputc('\n', p->out);
    p->drawn = false;
}
