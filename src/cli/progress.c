#include "cli/progress.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/bar.h"
#include "cli/human.h"
#include "gateway/qr.h"
#include "io/why.h"

/* A line stands on the terminal that the next output must end. What a task says and what its
 * node says come from different places, and both end the same line. */
static bool drawn;

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

static bool wants_colour(void) {
    const char *plain = getenv("NO_COLOR"), *term = getenv("TERM");
    return !(plain && *plain) && term && strcmp(term, "dumb") != 0;
}

static void draw(struct cli_progress *p, const json_t *o) {
    size_t columns = cli_human_columns(p->out);
    cli_bar_draw(p->out, o, columns ? columns : 80, wants_colour());
    drawn = true;
}

static enum node_swarm_mode mode_of(const struct node *n, cv_handle swarm) {
    struct node_swarm_status s;
    for (size_t i = 0; node_swarm_status(n, i, &s); i++)
        if (s.swarm == swarm)
            return s.mode;
    return NODE_SWARM_HIDDEN;
}

void cli_progress_full(struct cli_progress *p, const char *why, const char *what) {
    char sentence[sizeof(struct io_why) + 64];
    snprintf(sentence, sizeof sentence, "%s; %s pauses until there is room", why, what);
    cli_progress_event(p, "disk_full", sentence, json_pack("{s:o}", "why", cli_json_text(why)));
}

void cli_progress_no_exit(struct cli_progress *p) {
    cli_progress_event(
        p, "no_exit",
        "This is shared directly, and no relay that is known is an exit, which would "
        "fetch it without showing our address; still looking (--direct fetches "
        "without one, and hides nothing)",
        NULL);
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
        /* A film has several ways, which people need not count. */
        bool again = p->told == peer.hops + 1U;
        p->told = peer.hops + 1U;
        cli_progress_event(p, "peer_up", again ? NULL : sentence,
                           json_pack("{s:i, s:o}", "hops", (int)peer.hops, "path", hops));
    }
}

void cli_progress_link(struct cli_progress *p, const struct gateway *gateway,
                       const struct node_uri *uri) {
    char link[GW_LINK_MAX], hls[GW_LINK_MAX], sentence[2 * GW_LINK_MAX + 64];
    gateway_link(gateway, uri, link);
    char text[NODE_URI_MAX];
    json_t *fields = json_pack("{s:s}", "url", link);
    if (node_uri_write(uri, text, sizeof text) > 0)
        json_object_set_new(fields, "uri", json_string(text));
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
    char *text =
        gw_qr_make(link, &code) ? gw_qr_text(&code, isatty(fileno(out)) && wants_colour()) : NULL;
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

/* The pace of the last seconds, of what was verified: what is sent twice or lost on the
 * way is none. */
static void add_eta(struct cli_progress *p, json_t *o, const struct node_swarm_status *s) {
    double gained = s->have > p->have ? (double)(s->have - p->have) : 0;
    p->pace = p->looks < 2 ? gained : 0.8 * p->pace + 0.2 * gained;
    p->have = s->have;
    if (p->looks < 2) { /* what was there before is no pace */
        p->looks++;
        return;
    }
    double left = (double)(s->length - s->have);
    if (p->pace >= 1 && left / p->pace < 1e9)
        json_object_set_new(o, "eta", json_integer((json_int_t)(left / p->pace + 0.5)));
}

static void add_way(json_t *o, struct node *n, const struct node_swarm_status *s) {
    struct node_peer_status peer;
    unsigned hops = UINT8_MAX;
    for (size_t i = 0; node_peer_status(n, s->swarm, i, &peer); i++)
        hops = peer.hops < hops ? peer.hops : hops; /* as hidden as with the nearest */
    json_object_set_new(o, "direct", json_boolean(s->mode == NODE_SWARM_DIRECT));
    if (hops != UINT8_MAX)
        json_object_set_new(o, "hops", json_integer(hops));
}

void cli_progress_swarm(struct cli_progress *p, struct node *n, cv_handle swarm, double ahead) {
    struct node_swarm_status s;
    size_t i = 0;
    while (node_swarm_status(n, i, &s) && s.swarm != swarm)
        i++;
    if (!node_swarm_status(n, i, &s))
        return;
    bool known = s.length != UINT64_MAX && s.length > 0;
    json_t *o =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:i}", "event", "progress", "have",
                  (json_int_t)s.have, "length", (json_int_t)(known ? s.length : 0), "received",
                  (json_int_t)s.received, "sent", (json_int_t)s.sent, "rate_down",
                  (json_int_t)s.rate_down, "rate_up", (json_int_t)s.rate_up, "peers", (int)s.peers);
    if (!o)
        return;
    add_way(o, n, &s);
    if (ahead >= 0)
        json_object_set_new(o, "ahead", json_integer((json_int_t)ahead));
    if (known && s.have < s.length) {
        char map[CLI_BAR_PARTS + 1];
        cli_bar_map(n, swarm, s.length, map);
        json_object_set_new(o, "map", json_string(map));
        add_eta(p, o, &s);
    }
    emit(p, o);
}

void cli_progress_event(struct cli_progress *p, const char *name, const char *sentence,
                        json_t *fields) {
    json_t *o = json_object();
    json_object_set_new(o, "event", json_string(name));
    if (sentence)
        json_object_set_new(o, "say", cli_json_text(sentence));
    if (fields) {
        json_object_update(o, fields);
        json_decref(fields);
    }
    emit(p, o);
}

void cli_progress_done(struct cli_progress *p) {
    if (drawn)
        fputc('\n', p->out);
    drawn = false;
}
