/* ls and show: what the state folder keeps, and what its node has open. The folder is
 * looked at beside the node that may hold it; the node is asked what goes on. */
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/ask.h"
#include "cli/contents.h"
#include "cli/exitcode.h"
#include "cli/human.h"
#include "cli/verbs.h"

struct list {
    struct io_state *state; /* NULL: there is no folder yet */
    json_t *swarms;         /* as /api/swarms; NULL: no node runs */
    json_t *offered;        /* ids of files that are shared and not open now */
    json_t *rows;
};

static const char *text(const json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static json_int_t num(const json_t *o, const char *key) {
    return json_integer_value(json_object_get(o, key));
}

/* What goes on with a swarm of the node. */
static const char *now_of(const json_t *swarm, bool offered) {
    if (!swarm)
        return offered ? "sharing" : "";
    if (json_object_get(swarm, "live"))
        return "live";
    if (num(swarm, "have") < num(swarm, "length"))
        return "fetching";
    return json_is_true(json_object_get(swarm, "sharing")) ? "sharing" : "open";
}

static json_t *find_swarm(const struct list *l, const char *id) {
    size_t i;
    json_t *s;
    json_array_foreach(l->swarms, i, s) {
        if (id[0] && !strcmp(text(s, "swarm"), id))
            return s;
    }
    return NULL;
}

static void add_now(json_t *row, json_t *swarm, bool offered) {
    json_object_set_new(row, "now", json_string(now_of(swarm, offered)));
    if (!swarm)
        return;
    static const char *const keys[] = {"peers", "sent", "received", "direct", "link"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (json_object_get(swarm, keys[i]))
            json_object_set(row, keys[i], json_object_get(swarm, keys[i]));
    json_object_set_new(swarm, "listed", json_true());
}

static bool on_content(void *ctx, const struct io_content *c) {
    static const char *const kept[] = {[IO_CONTENT_CACHED] = "cache",
                                       [IO_CONTENT_PINNED] = "pinned",
                                       [IO_CONTENT_FILE] = "file",
                                       [IO_CONTENT_SHARED] = "shared",
                                       [IO_CONTENT_DAMAGED] = "damaged"};
    struct list *l = ctx;
    struct cli_content what;
    cli_content_of(c, &what);
    json_t *swarm = find_swarm(l, what.swarm);
    uint64_t chunks = io_content_verified(l->state, c), have = chunks * c->header.chunk_size;
    bool complete = c->octets && chunks == c->chunks;
    have = complete || have > what.length ? what.length : have;
    if (swarm && c->kind != IO_CONTENT_SHARED) /* some of it may not be on the disk yet */
        have = (uint64_t)num(swarm, "have");
    bool watched = c->kind == IO_CONTENT_CACHED || c->kind == IO_CONTENT_FILE;
    json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:b, s:I, s:b, s:I}", "event",
                            "content", "name", what.name, "swarm", what.swarm, "kept",
                            kept[c->kind], "folder", c->folder, "length", (json_int_t)what.length,
                            "have", (json_int_t)have, "complete", (int)complete, "disk",
                            (json_int_t)c->disk, "pinned", c->kind == IO_CONTENT_PINNED, "watched",
                            (json_int_t)(watched ? c->used / 1000000000 : 0));
    if (!row)
        return true;
    if (c->link[0])
        json_object_set_new(row, "uri", cli_json_text(c->link));
    if (c->path[0])
        json_object_set_new(row, "path", cli_json_text(c->path));
    add_now(row, swarm,
            c->kind == IO_CONTENT_SHARED && json_object_get(l->offered, what.swarm) != NULL);
    json_array_append_new(l->rows, row);
    return true;
}

/* What is open and keeps nothing: broadcasts. */
static void add_swarms(struct list *l) {
    size_t i;
    json_t *s;
    json_array_foreach(l->swarms, i, s) {
        if (json_object_get(s, "listed"))
            continue;
        json_t *row =
            json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:b, s:i, s:b, s:i}", "event", "content",
                      "name", text(s, "name"), "swarm", text(s, "swarm"), "kept", "window",
                      "length", num(s, "length"), "have", num(s, "have"), "complete", 0, "disk", 0,
                      "pinned", 0, "watched", 0);
        if (row && json_object_get(s, "uri"))
            json_object_set(row, "uri", json_object_get(s, "uri"));
        add_now(row, s, false);
        json_array_append_new(l->rows, row);
    }
}

/* What goes on first, then what was watched last, then by name. */
static int by_use(const void *a, const void *b) {
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    bool open_x = *text(x, "now"), open_y = *text(y, "now");
    if (open_x != open_y)
        return open_x ? -1 : 1;
    if (num(x, "watched") != num(y, "watched"))
        return num(x, "watched") > num(y, "watched") ? -1 : 1;
    int order = strcmp(text(x, "name"), text(y, "name"));
    return order ? order : strcmp(text(x, "folder"), text(y, "folder"));
}

static json_t *sorted(json_t *rows) {
    size_t n = json_array_size(rows), i;
    json_t **all = calloc(n + 1, sizeof(json_t *)), *o, *out = json_array();
    if (!all || !out)
        return rows;
    json_array_foreach(rows, i, o) all[i] = json_incref(o);
    qsort(all, n, sizeof(json_t *), by_use);
    for (i = 0; i < n; i++)
        json_array_append_new(out, all[i]);
    free(all);
    json_decref(rows);
    return out;
}

/* ---- for people ---- */

/* Rounded down: what is not complete is never 100 %. */
static void percent(const json_t *row, char out[8]) {
    json_int_t have = num(row, "have"), length = num(row, "length");
    if (json_is_true(json_object_get(row, "complete")) || (length && have == length))
        snprintf(out, 8, "100 %%");
    else if (length <= 0)
        snprintf(out, 8, "-");
    else
        snprintf(out, 8, "%d %%", (int)(99.999 * (double)have / (double)length));
}

static void when(const json_t *row, char out[24]) {
    time_t t = (time_t)num(row, "watched");
    struct tm tm;
    if (!t || !localtime_r(&t, &tm) || !strftime(out, 24, "%Y-%m-%d %H:%M", &tm))
        snprintf(out, 24, "-");
}

static void print_row(const json_t *row, size_t name, size_t columns) {
    char size[CLI_HUMAN_MAX], here[8], watched[24];
    cli_human((double)num(row, "length"), size);
    percent(row, here);
    when(row, watched);
    cli_human_cell(stdout, text(row, "name"), name);
    printf("  %7s %5s", num(row, "length") > 0 ? size : "-", here);
    if (columns >= 52)
        printf("  %-7s %-8s", text(row, "kept"), *text(row, "now") ? text(row, "now") : "-");
    if (columns >= 76)
        printf(" %s", watched);
    putchar('\n');
}

static void print_table(const struct list *l) {
    size_t columns = cli_human_columns(stdout), i, name = 40;
    char total[CLI_HUMAN_MAX];
    json_int_t disk = 0;
    json_t *row;
    if (!json_array_size(l->rows)) {
        puts("Nothing is kept, shared or watched here yet");
        return;
    }
    if (columns) /* the rest of the line, and as long as none of it is cut no more than needed */
        name = columns >= 76 ? columns - 52 : columns >= 52 ? columns - 35 : columns - 15;
    else
        columns = 200;
    name = name > 60 ? 60 : name < 8 ? 8 : name;
    cli_human_cell(stdout, "NAME", name);
    printf("  %7s %5s%s%s\n", "SIZE", "HERE", columns >= 52 ? "  KEPT    NOW     " : "",
           columns >= 76 ? "  WATCHED" : "");
    json_array_foreach(l->rows, i, row) {
        print_row(row, name, columns);
        disk += num(row, "disk");
    }
    printf("%zu content%s, %s in the state folder\n", json_array_size(l->rows),
           json_array_size(l->rows) == 1 ? "" : "s", cli_human((double)disk, total));
}

static void print_details(const json_t *row) {
    static const struct {
        const char *key, *label;
    } lines[] = {{"swarm", "Swarm id begins"}, {"kept", "Kept as"},    {"now", "Now"},
                 {"path", "Your file"},        {"folder", "Marks in"}, {"uri", "Link"},
                 {"link", "Player link"}};
    char a[CLI_HUMAN_MAX], b[CLI_HUMAN_MAX], c[CLI_HUMAN_MAX], here[8], watched[24];
    percent(row, here);
    when(row, watched);
    printf("%s\n", text(row, "name"));
    printf("  %-16s %s of %s (%s), %s in the state folder\n", "Here",
           cli_human((double)num(row, "have"), a), cli_human((double)num(row, "length"), b), here,
           cli_human((double)num(row, "disk"), c));
    printf("  %-16s %s\n", "Last watched", watched);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (*text(row, lines[i].key))
            printf("  %-16s %s\n", lines[i].label, text(row, lines[i].key));
    if (*text(row, "now"))
        printf("  %-16s %" JSON_INTEGER_FORMAT ", %s received, %s sent\n", "Peers",
               num(row, "peers"), cli_human((double)num(row, "received"), a),
               cli_human((double)num(row, "sent"), b));
}

static void print_json(const json_t *row) {
    json_dumpf(row, stdout, JSON_COMPACT);
    putchar('\n');
}

static int show(const struct cli_settings *s, const json_t *rows) {
    size_t i, shown = 0;
    json_t *row;
    json_array_foreach(rows, i, row) {
        struct cli_content what = {.name = ""};
        snprintf(what.name, sizeof what.name, "%s", text(row, "name"));
        snprintf(what.swarm, sizeof what.swarm, "%s", text(row, "swarm"));
        if (!cli_content_is(&what, text(row, "folder"), s->argument))
            continue;
        shown++;
        if (s->json)
            print_json(row);
        else
            print_details(row);
    }
    if (!shown)
        fprintf(stderr,
                "culvert: %.200s: nothing here is called so; 'culvert ls' shows what there is\n",
                s->argument);
    return shown ? CLI_OK : CLI_FILE;
}

/* ---- the verbs ---- */

/* Files of a `share` of several are opened when somebody asks for them. */
static void ask_offered(struct list *l, const char *socket_path) {
    json_t *wanted = json_pack("{s:s, s:s, s:s}", "verb", "ls", "argument", "", "folder", "/"), *o;
    int fd = wanted ? cli_ask_connect(socket_path) : -1;
    FILE *f = fd >= 0 ? cli_ask(fd, "/api/tasks", wanted) : NULL;
    l->offered = json_object();
    while (f && (o = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL)) != NULL) {
        bool end = !strcmp(text(o, "event"), "end");
        if (!strcmp(text(o, "event"), "offered"))
            json_object_set_new(l->offered, text(o, "swarm"), json_true());
        json_decref(o);
        if (end)
            break;
    }
    if (f)
        fclose(f);
    json_decref(wanted);
}

static int look(const struct cli_settings *s, struct list *l) {
    char socket_path[CLI_PATH_MAX];
    struct io_why why = {.text = ""};
    enum cv_err err = io_state_look(s->state, &l->state, &why);
    if (err && err != CV_ERR_NOENT) {
        fprintf(stderr, "culvert: %s\n", why.text);
        return cli_status_of(err);
    }
    l->rows = json_array();
    if (cli_session_socket(s, socket_path, &why) == CV_ERR_OK)
        l->swarms = cli_ask_get(socket_path, "/api/swarms");
    if (l->swarms)
        ask_offered(l, socket_path);
    err = l->state ? io_contents_each(l->state, on_content, l, &why) : CV_ERR_OK;
    if (err) {
        fprintf(stderr, "culvert: %s\n", why.text);
        return cli_status_of(err);
    }
    add_swarms(l);
    l->rows = sorted(l->rows);
    return CLI_OK;
}

int cli_ls(const struct cli_settings *s) {
    struct list l = {.state = NULL};
    size_t i;
    json_t *row;
    setlocale(LC_CTYPE, "");
    int status = look(s, &l);
    if (!status && s->verb == CLI_SHOW)
        status = show(s, l.rows);
    else if (!status && !s->json)
        print_table(&l);
    else if (!status)
        json_array_foreach(l.rows, i, row) print_json(row);
    json_decref(l.rows);
    json_decref(l.swarms);
    json_decref(l.offered);
    io_state_close(l.state);
    return status;
}
