#include "cli/bar.h"

#include <stdarg.h>
#include <string.h>

#include "cli/human.h"

enum { RANGES_A_PART = 64, BAR_MIN = 8, BAR_MAX = 40, FIELD = 40 };

static bool asked_in(struct node *n, cv_handle swarm, uint64_t first, uint64_t last) {
    uint64_t from, to;
    return node_requested(n, swarm, first, &from, &to) && from <= last;
}

static char part(struct node *n, cv_handle swarm, uint64_t first, uint64_t last) {
    uint64_t verified = 0, at = first, from, to;
    for (size_t i = 0; i < RANGES_A_PART && at <= last; i++, at = to + 1) {
        if (!node_range(n, swarm, at, &from, &to) || from > last)
            break;
        verified += (to < last ? to : last) - from + 1;
    }
    if (verified == last - first + 1)
        return '=';
    return asked_in(n, swarm, first, last) ? '+' : verified ? '-' : '.';
}

void cli_bar_map(struct node *n, cv_handle swarm, uint64_t length, char out[CLI_BAR_PARTS + 1]) {
    for (uint64_t i = 0; i < CLI_BAR_PARTS; i++) {
        /* Both ends rounded alike, so that every octet is in one part; of very short
         * content some parts show the same octet. */
        uint64_t whole = length / CLI_BAR_PARTS, rest = length % CLI_BAR_PARTS;
        uint64_t first = whole * i + rest * i / CLI_BAR_PARTS;
        uint64_t end = whole * (i + 1) + rest * (i + 1) / CLI_BAR_PARTS;
        out[i] = part(n, swarm, first < length ? first : length - 1, end > first ? end - 1 : first);
    }
    out[CLI_BAR_PARTS] = '\0';
}

static char merge(char a, char b) {
    if (a == b)
        return a;
    return a == '+' || b == '+' ? '+' : '-';
}

void cli_bar_fit(const char *map, size_t parts, char out[CLI_BAR_PARTS + 1]) {
    size_t len = strlen(map);
    parts = parts > CLI_BAR_PARTS ? CLI_BAR_PARTS : parts;
    for (size_t i = 0; i < parts; i++) {
        size_t first = i * len / parts, end = (i + 1) * len / parts;
        out[i] = len ? map[first] : '.';
        for (size_t j = first + 1; j < end; j++)
            out[i] = merge(out[i], map[j]);
    }
    out[parts] = '\0';
}

static json_int_t num(const json_t *o, const char *key) {
    return json_integer_value(json_object_get(o, key));
}

/* ---- the line: a bar, then what there is room for ---- */

struct line {
    char fields[8][FIELD];
    size_t count;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *l, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(l->fields[l->count++], FIELD, fmt, ap);
    va_end(ap);
}

static void add_percent(struct line *l, double have, double length) {
    /* Rounded down: what is not complete is never 100 %. */
    if (have < length)
        add(l, "%.1f %%", (double)(int)(999.99 * have / length) / 10);
    else
        add(l, "100 %%");
}

/* The most telling first. */
static void fill(struct line *l, const json_t *o) {
    char a[CLI_HUMAN_MAX], b[CLI_HUMAN_MAX];
    double have = (double)num(o, "have"), length = (double)num(o, "length");
    bool fetching = length == 0 || have < length;
    json_int_t peers = num(o, "peers");
    if (length > 0)
        add_percent(l, have, length);
    if (fetching)
        add(l, "%s/s", cli_human((double)num(o, "rate_down"), a));
    if (json_object_get(o, "eta"))
        add(l, "%s left", cli_human_period((double)num(o, "eta"), a));
    if (json_object_get(o, "ahead"))
        add(l, "%s ahead", cli_human_period((double)num(o, "ahead"), a));
    if (json_is_true(json_object_get(o, "direct")))
        add(l, "DIRECT");
    else if (json_object_get(o, "hops"))
        add(l, "%d hops", (int)num(o, "hops"));
    if (peers)
        add(l, "%d peer%s", (int)peers, peers == 1 ? "" : "s");
    else
        add(l, "no peers");
    add(l, "%s/s up", cli_human((double)num(o, "rate_up"), a));
    if (length > 0)
        add(l, "%s of %s", cli_human(have, a), cli_human(length, b));
}

static void draw_bar(FILE *out, const char *parts, bool colour) {
    char last = 0;
    fputc('[', out);
    for (; *parts; parts++) {
        if (colour && *parts != last)
            fputs(*parts == '='   ? "\033[32m"
                  : *parts == '+' ? "\033[33m"
                  : *parts == '-' ? "\033[36m"
                                  : "\033[2m",
                  out);
        fputc(*parts, out);
        if (colour && parts[1] != *parts)
            fputs("\033[0m", out);
        last = *parts;
    }
    fputc(']', out);
}

void cli_bar_draw(FILE *out, const json_t *o, size_t columns, bool colour) {
    struct line l = {.count = 0};
    char parts[CLI_BAR_PARTS + 1];
    const char *map = json_string_value(json_object_get(o, "map"));
    size_t used = map ? BAR_MIN + 2 : 0, shown = 0;
    fill(&l, o);
    /* One column stays free, where terminals put the cursor. */
    for (; shown < l.count && used + 2 + strlen(l.fields[shown]) < columns; shown++)
        used += 2 + strlen(l.fields[shown]);
    fputs("\r\033[K", out);
    if (map && used < columns) {
        size_t more = columns - 1 - used, bar = BAR_MIN + more;
        cli_bar_fit(map, bar < BAR_MAX ? bar : BAR_MAX, parts);
        draw_bar(out, parts, colour);
    }
    for (size_t i = 0; i < shown; i++)
        fprintf(out, "%s%s", i || map ? "  " : "", l.fields[i]);
    fflush(out);
}
