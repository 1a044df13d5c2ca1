#include "cli/progress.h"

#include <inttypes.h>
#include <jansson.h>
#include <unistd.h>

enum { BAR = 16 }; /* the line fits 80 columns, else it would not be drawn over */

struct cli_progress cli_progress_init(bool json, bool quiet) {
    bool terminal = !json && isatty(STDERR_FILENO);
    return (struct cli_progress){
        .out = terminal ? stderr : stdout, .terminal = terminal, .json = json, .quiet = quiet};
}

static void print_json(struct cli_progress *p, json_t *o) {
    char *text = json_dumps(o, JSON_COMPACT);
    if (text)
        fprintf(p->out, "%s\n", text);
    fflush(p->out);
    free(text);
    json_decref(o);
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

static void draw(struct cli_progress *p, const struct node_swarm_status *s) {
    char down[16], up[16], bar[BAR + 1];
    human((double)s->rate_down, down);
    human((double)s->rate_up, up);
    size_t full = s->length ? (size_t)((double)s->have / (double)s->length * BAR) : 0;
    for (size_t i = 0; i < BAR; i++)
        bar[i] = i < full ? '=' : (i == full ? '>' : '.');
    bar[BAR] = 0;
    char eta[24] = "";
    if (s->have < s->length && s->rate_down > 0)
        snprintf(eta, sizeof eta, "  %" PRIu64 " s left", (s->length - s->have) / s->rate_down);
    fprintf(p->out, "\r\033[K[%s] %5.1f%%  %s/s down  %s/s up  %u peer%s%s", bar,
            s->length ? 100.0 * (double)s->have / (double)s->length : 0.0, down, up, s->peers,
            s->peers == 1 ? "" : "s", eta);
    fflush(p->out);
    p->drawn = true;
}

void cli_progress_swarm(struct cli_progress *p, struct node *n, cv_handle swarm) {
    struct node_swarm_status s;
    if (p->quiet)
        return;
    for (size_t i = 0; node_swarm_status(n, i, &s); i++) {
        if (s.swarm != swarm)
            continue;
        if (p->terminal) {
            draw(p, &s);
        } else {
            print_json(p, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:i}", "event", "progress",
                                    "have", (json_int_t)s.have, "length", (json_int_t)s.length,
                                    "received", (json_int_t)s.received, "sent", (json_int_t)s.sent,
                                    "rate_down", (json_int_t)s.rate_down, "rate_up",
                                    (json_int_t)s.rate_up, "peers", (int)s.peers));
        }
    }
}

void cli_progress_event(struct cli_progress *p, const char *name, const char *sentence,
                        struct json_t *fields) {
    if (p->terminal) {
        cli_progress_done(p);
        fprintf(p->out, "%s\n", sentence);
        json_decref(fields);
        return;
    }
    json_t *o = json_object();
    json_object_set_new(o, "event", json_string(name));
    if (fields) {
        json_object_update(o, fields);
        json_decref(fields);
    }
    print_json(p, o);
}

void cli_progress_done(struct cli_progress *p) {
    if (p->drawn)
        fputc('\n', p->out);
    p->drawn = false;
}
