/* top: the running node on a full screen, once a second: what is open, with whom, over
 * which hops, what is carried for others. */
#include <curses.h>
#include <jansson.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/exitcode.h"
#include "cli/human.h"
#include "cli/session.h"
#include "cli/verbs.h"

enum { EVERY_MS = 1000, NAME_WIDTH = 28, HISTORY = 256 };

struct top {
    char socket_path[CLI_PATH_MAX];
    json_t *status, *swarms, *peers;
    json_int_t cells, down[HISTORY]; /* carried at the last look; octets a second, newest last */
    size_t looks;
    int row;
};

static json_int_t num(const json_t *o, const char *key) {
    return json_integer_value(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static void forget(struct top *t) {
    json_decref(t->status);
    json_decref(t->swarms);
    json_decref(t->peers);
    t->status = t->swarms = t->peers = NULL;
}

static bool look_now(struct top *t) {
    json_int_t cells = t->status ? num(t->status, "cells_relayed") : 0;
    size_t i;
    json_t *s;
    forget(t);
    t->status = cli_ask_get(t->socket_path, "/api/status");
    t->swarms = t->status ? cli_ask_get(t->socket_path, "/api/swarms") : NULL;
    t->peers = t->swarms ? cli_ask_get(t->socket_path, "/api/peers") : NULL;
    if (!t->peers)
        return false;
    t->cells = t->looks ? num(t->status, "cells_relayed") - cells : 0;
    memmove(t->down, t->down + 1, sizeof t->down - sizeof *t->down);
    t->down[HISTORY - 1] = 0;
    json_array_foreach(t->swarms, i, s) t->down[HISTORY - 1] += num(s, "rate_down");
    t->looks++;
    return true;
}

/* A terminal that is resized meanwhile would end the question half-way. */
static bool look(struct top *t) {
    sigset_t resize, before;
    sigemptyset(&resize);
    sigaddset(&resize, SIGWINCH);
    sigprocmask(SIG_BLOCK, &resize, &before);
    bool there = look_now(t);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return there;
}

__attribute__((format(printf, 3, 4))) static void line(struct top *t, attr_t how, const char *fmt,
                                                       ...) {
    char out[512];
    va_list ap;
    if (t->row >= LINES - 1)
        return;
    va_start(ap, fmt);
    vsnprintf(out, sizeof out, fmt, ap);
    va_end(ap);
    attrset(how);
    mvaddnstr(t->row++, 0, out, COLS);
    attrset(A_NORMAL);
}

static void draw_status(struct top *t) {
    const json_t *s = t->status, *ledger = json_object_get(s, "ledger");
    line(t, A_BOLD, "culvert   DHT %lld/%lld   relays %lld   guards %lld   circuits %lld",
         (long long)num(s, "dht_good"), (long long)num(s, "dht_nodes"),
         (long long)num(s, "relays_known"), (long long)num(s, "guards"),
         (long long)num(s, "circuits"));
    line(t, A_NORMAL,
         "carried   %lld circuits of others, %lld cells/s   ledger: %lld given, %lld taken",
         (long long)num(s, "hops_carried"), (long long)t->cells, (long long)num(ledger, "given"),
         (long long)num(ledger, "taken"));
}

/* What came in, one column a second. */
static void draw_history(struct top *t) {
    static const char *const steps[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    json_int_t most = 1;
    char out[CLI_HUMAN_MAX];
    int columns = COLS - 24 < HISTORY ? COLS - 24 : HISTORY;
    if (columns < 8 || t->row >= LINES - 1)
        return;
    for (int i = 0; i < columns; i++)
        most = t->down[HISTORY - 1 - i] > most ? t->down[HISTORY - 1 - i] : most;
    cli_human((double)t->down[HISTORY - 1], out);
    mvprintw(t->row, 0, "down      %8s/s ", out);
    for (int i = columns - 1; i >= 0; i--)
        addstr(steps[t->down[HISTORY - 1 - i] * 8 / most]);
    t->row += 2;
}

static bool is(const json_t *o, const char *key) {
    return json_is_true(json_object_get(o, key));
}

static const char *how_of(const json_t *s) {
    return is(s, "direct")                     ? "DIRECT"
           : is(s, "exit")                     ? "exit"
           : is(s, "open") && is(s, "sharing") ? "OPEN"
                                               : "hidden";
}

static void draw_swarms(struct top *t) {
    size_t i;
    json_t *s;
    line(t, A_REVERSE, "%-*s %-7s %6s %10s %10s %6s ", NAME_WIDTH, "swarm", "how", "here", "down/s",
         "up/s", "peers");
    json_array_foreach(t->swarms, i, s) {
        char down[CLI_HUMAN_MAX], up[CLI_HUMAN_MAX], here[16] = "live";
        cli_human((double)num(s, "rate_down"), down);
        cli_human((double)num(s, "rate_up"), up);
        if (!json_is_true(json_object_get(s, "live")) && num(s, "length"))
            snprintf(here, sizeof here, "%.0f %%",
                     100.0 * (double)num(s, "have") / (double)num(s, "length"));
        line(t, A_NORMAL, "%-*.*s %-7s %6s %10s %10s %6lld", NAME_WIDTH, NAME_WIDTH,
             text(s, "name"), how_of(s), here, down, up, (long long)num(s, "peers"));
    }
    t->row++;
}

static void draw_peers(struct top *t) {
    size_t i, j;
    json_t *p, *hop;
    line(t, A_REVERSE, "%-*s %-8s %10s %10s  %s", NAME_WIDTH, "peer of", "rtt", "down/s", "up/s",
         "path");
    json_array_foreach(t->peers, i, p) {
        char down[CLI_HUMAN_MAX], up[CLI_HUMAN_MAX], path[160] = "we";
        size_t n = 2;
        cli_human((double)num(p, "rate_down"), down);
        cli_human((double)num(p, "rate_up"), up);
        json_array_foreach(json_object_get(p, "path"), j, hop) {
            int more = snprintf(path + n, sizeof path - n, " > %s", json_string_value(hop));
            n += more > 0 && (size_t)more < sizeof path - n ? (size_t)more : 0;
        }
        bool ends = is(p, "open") && j > 0; /* there: that relay is the peer */
        snprintf(path + n, sizeof path - n, "%s%s", ends ? "" : " > ",
                 ends              ? ""
                 : is(p, "exit")   ? "peer"
                 : is(p, "hidden") ? "..."
                                   : text(p, "address"));
        line(t, A_NORMAL, "%-*.*s %5lld ms %10s %10s  %s", NAME_WIDTH, NAME_WIDTH, text(p, "name"),
             (long long)num(p, "rtt_ms"), down, up, path);
    }
}

static void draw(struct top *t) {
    erase();
    t->row = 0;
    draw_status(t);
    draw_history(t);
    draw_swarms(t);
    draw_peers(t);
    mvaddnstr(LINES - 1, 0, "q: leave", COLS);
    refresh();
}

/* For programs: all of it, one object a second. */
static int print_lines(struct top *t) {
    do {
        json_t *o = json_pack("{s:O, s:O, s:O}", "status", t->status, "swarms", t->swarms, "peers",
                              t->peers);
        json_dumpf(o, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(o);
        if (fflush(stdout) != 0)
            return CLI_OK; /* nobody reads any more */
        sleep(1);
    } while (look(t));
    return CLI_FAILED;
}

static int show(struct top *t) {
    int key = 0;
    bool there = true;
    setlocale(LC_ALL, "");
    if (!isatty(STDOUT_FILENO) || !newterm(NULL, stdout, stdin)) {
        fprintf(stderr, "culvert: top needs a terminal; use --json, or 'culvert status'\n");
        return CLI_USAGE;
    }
    cbreak();
    noecho();
    curs_set(0);
    timeout(EVERY_MS);
    while (there && key != 'q' && key != 'Q') {
        draw(t);
        key = getch();
        there = look(t);
    }
    endwin();
    if (!there)
        fprintf(stderr, "culvert: the node has ended\n");
    return there ? CLI_OK : CLI_FAILED;
}

int cli_top(const struct cli_settings *s) {
    static struct top t;
    struct io_why why = {.text = ""};
    if (cli_session_socket(s, t.socket_path, &why) != CV_ERR_OK || !look(&t)) {
        fprintf(stderr, "culvert: %s%s\n", why.text[0] ? why.text : t.socket_path,
                why.text[0] ? ""
                            : ": no node answers there; start one with 'culvert node', or name its "
                              "folder with --state");
        forget(&t);
        return CLI_STATE;
    }
    int status = s->json ? print_lines(&t) : show(&t);
    forget(&t);
    return status;
}
