/* rm: by the node that runs on the state folder, else by ourselves. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/contents.h"
#include "cli/exitcode.h"
#include "cli/verbs.h"

/* What is freed has to be fetched again: no slip of the finger, and no script by accident. */
static int confirm(const struct cli_settings *s) {
    char answer[16] = "";
    if (!s->purge || s->recording || s->yes)
        return CLI_OK;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
        fprintf(stderr, "culvert: rm --purge cannot be undone: confirm it with --yes\n");
        return CLI_USAGE;
    }
    fprintf(stderr,
            "Free what is kept of %.200s? It would have to be fetched again; files of yours stay "
            "[y/N] ",
            s->argument);
    if (fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y'))
        return CLI_OK;
    fprintf(stderr, "culvert: nothing was removed\n");
    return CLI_FAILED;
}

static int by_node(const struct cli_settings *s, int fd, struct cli_progress *p) {
    int status = CLI_FAILED;
    bool ended = false;
    json_t *o;
    FILE *f = cli_ask_task(fd, s, &status);
    if (!f)
        return status;
    while (!ended && (o = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL)) != NULL) {
        const char *event = json_string_value(json_object_get(o, "event"));
        const char *said = json_string_value(json_object_get(o, "text"));
        ended = event && !strcmp(event, "end");
        if (ended)
            status = (int)json_integer_value(json_object_get(o, "status"));
        if (event && !strcmp(event, "error") && said)
            fprintf(stderr, "culvert: %s\n", said);
        if (ended || (p->terminal && event && !strcmp(event, "error")))
            json_decref(o);
        else
            cli_progress_show(p, o);
    }
    fclose(f);
    if (!ended)
        fprintf(stderr, "culvert: the node that did this has ended\n");
    return status;
}

static void on_line(void *ctx, json_t *o) {
    struct cli_progress *p = ctx;
    const char *event = json_string_value(json_object_get(o, "event"));
    bool error = event && !strcmp(event, "error");
    if (error)
        fprintf(stderr, "culvert: %s\n", json_string_value(json_object_get(o, "text")));
    if (error && p->terminal)
        json_decref(o);
    else
        cli_progress_show(p, o);
}

static int by_ourselves(const struct cli_settings *s, struct cli_progress *p) {
    struct io_state *state = NULL;
    struct io_why why = {.text = ""};
    struct cli_progress said = {.sink = on_line, .ctx = p};
    enum cv_err err = io_state_look(s->state, &state, &why); /* no folder is made for this */
    state = io_state_close(state);
    if (!err)
        err = io_state_open(s->state, &state, &why);
    else if (err == CV_ERR_NOENT)
        io_why_set(&why, "%.200s: nothing is kept here; name another folder with --state",
                   s->argument);
    if (err) {
        fprintf(stderr, "culvert: %s\n", why.text);
        return cli_status_of(err);
    }
    int status = cli_content_rm(state, NULL, s, &said);
    io_state_close(state);
    return status;
}

int cli_rm(const struct cli_settings *s) {
    char path[CLI_PATH_MAX];
    struct io_why why = {.text = ""};
    struct cli_progress progress = cli_progress_init(s->json, false);
    int status = confirm(s);
    if (status)
        return status;
    int fd = cli_session_socket(s, path, &why) == CV_ERR_OK ? cli_ask_connect(path) : -1;
    return fd >= 0 ? by_node(s, fd, &progress) : by_ourselves(s, &progress);
}
