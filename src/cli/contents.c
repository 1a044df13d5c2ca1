#include "cli/contents.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/exitcode.h"
#include "cli/human.h"
#include "cli/recordings.h"
#include "cli/task.h"

enum { PREFIX_MIN = 4, FOUND_MAX = 16 };

static void name_it(const char *text, struct cli_content *ret) {
    struct node_uri uri = {.name = ""};
    node_uri_name(&uri, text, strlen(text));
    memcpy(ret->name, uri.name, sizeof ret->name);
}

static void id_of(const uint8_t *id, size_t len, struct cli_content *ret) {
    cv_hex(id, len < CLI_SWARM_ID ? len : CLI_SWARM_ID, ret->swarm);
}

void cli_content_of_swarm(const struct node_uri *uri, struct cli_content *ret) {
    memset(ret, 0, sizeof *ret);
    name_it(uri->name, ret);
    id_of(uri->swarm_id, uri->swarm_id_len, ret);
    ret->length = uri->length;
}

void cli_content_of(const struct io_content *c, struct cli_content *ret) {
    struct node_uri uri;
    const char *base = strrchr(c->path, '/');
    memset(ret, 0, sizeof *ret);
    if (node_uri_read(c->link, &uri, NULL) == CV_ERR_OK)
        cli_content_of_swarm(&uri, ret);
    else if (c->header.shared) /* its hash is the swarm's id */
        id_of(c->header.root, cv_sha_len((enum cv_sha)c->header.alg), ret);
    if (c->octets) /* verified; what the link says is not, before the last chunk came */
        ret->length = c->octets;
    if (!ret->name[0])
        name_it(base && base[1] ? base + 1 : c->folder, ret);
}

static bool is_prefix(const char *hex, const char *wanted) {
    size_t len = strlen(wanted);
    if (len < PREFIX_MIN || len > strlen(hex))
        return false;
    for (size_t i = 0; i < len; i++)
        if (tolower((unsigned char)wanted[i]) != hex[i])
            return false;
    return true;
}

bool cli_content_is(const struct cli_content *c, const char *folder, const char *wanted) {
    struct node_uri uri;
    struct cli_content linked;
    if (node_uri_read(wanted, &uri, NULL) == CV_ERR_OK) {
        cli_content_of_swarm(&uri, &linked);
        return strcmp(linked.swarm, c->swarm) == 0;
    }
    return strcmp(c->name, wanted) == 0 || (folder && strcmp(folder, wanted) == 0) ||
           is_prefix(c->swarm, wanted);
}

/* ---- removing ---- */

/* A content that was meant, with each folder that is kept of it. */
struct found {
    struct cli_content what;
    char folders[FOUND_MAX][IO_NAME_MAX];
    size_t folders_count;
    uint64_t disk;
};

struct search {
    const char *wanted;
    struct found all[FOUND_MAX];
    size_t count;
    bool more; /* than fit */
};

static struct found *add(struct search *s, const struct cli_content *what) {
    for (size_t i = 0; i < s->count; i++)
        if (what->swarm[0] && strcmp(s->all[i].what.swarm, what->swarm) == 0)
            return &s->all[i];
    if (s->count == FOUND_MAX) {
        s->more = true;
        return NULL;
    }
    s->all[s->count] = (struct found){.what = *what};
    return &s->all[s->count++];
}

static bool on_content(void *ctx, const struct io_content *c) {
    struct search *s = ctx;
    struct cli_content what;
    cli_content_of(c, &what);
    struct found *f = cli_content_is(&what, c->folder, s->wanted) ? add(s, &what) : NULL;
    if (f && f->folders_count < FOUND_MAX) {
        memcpy(f->folders[f->folders_count++], c->folder, sizeof c->folder);
        f->disk += c->disk;
    }
    return true;
}

static void search_swarms(struct search *s, struct node *n) {
    struct node_swarm_status st;
    for (size_t i = 0; node_swarm_status(n, i, &st); i++) {
        struct cli_content what;
        cli_content_of_swarm(&st.uri, &what);
        if (cli_content_is(&what, NULL, s->wanted))
            add(s, &what);
    }
}

static bool is_of(struct cli_session *c, const struct cli_task *t, const char *swarm) {
    struct node_swarm_status st;
    struct cli_content what;
    for (size_t i = 0; node_swarm_status(io_host_node(c->host), i, &st); i++) {
        cli_content_of_swarm(&st.uri, &what);
        if (t->swarm && st.swarm == t->swarm && strcmp(what.swarm, swarm) == 0)
            return true;
    }
    return false;
}

static size_t stop(struct cli_session *c, const char *swarm) {
    size_t stopped = 0;
    for (size_t i = c->tasks_count; swarm[0] && i-- > 0;) {
        struct cli_task *t = c->tasks[i];
        if (t->ended)
            continue;
        if (t->ops->drop && t->ops->drop(t, swarm)) {
            stopped++;
        } else if (is_of(c, t, swarm)) {
            cli_progress_event(&t->progress, "stopped", "Stopped by 'culvert rm'", NULL);
            cli_task_end(t, t->s->verb == CLI_GET ? CLI_INTERRUPTED : CLI_OK);
            stopped++;
        }
    }
    return stopped;
}

static int fail(struct cli_progress *p, int status, const char *name, const char *text) {
    char line[512];
    snprintf(line, sizeof line, "%.250s: %.250s", name, text);
    json_t *fields = json_object();
    json_object_set_new(fields, "text", cli_json_text(line));
    cli_progress_event(p, "error", line, fields);
    return status;
}

static int refuse_many(const struct search *s, struct cli_progress *p) {
    char text[256];
    int n = snprintf(text, sizeof text, "means %s%zu contents; say which by the id that ls shows:",
                     s->more ? "more than " : "", s->count);
    for (size_t i = 0; i < s->count && n < 200; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, " %s",
                      s->all[i].what.swarm[0] ? s->all[i].what.swarm : s->all[i].folders[0]);
    return fail(p, CLI_USAGE, s->wanted, text);
}

/* Its folders, and what makes its secret link the same again. */
static int free_it(struct io_state *state, const struct found *f, struct cli_progress *p) {
    struct io_why why = {.text = ""};
    char secret[64];
    for (size_t i = 0; i < f->folders_count; i++)
        if (io_content_remove(state, f->folders[i], &why) != CV_ERR_OK)
            return fail(p, CLI_FILE, f->what.name, why.text);
    snprintf(secret, sizeof secret, "secret-%s", f->what.swarm);
    if (f->what.swarm[0] && io_state_remove(state, secret, &why) != CV_ERR_OK)
        return fail(p, CLI_FILE, f->what.name, why.text);
    return CLI_OK;
}

static int removed(const struct found *f, size_t stopped, bool purge, struct cli_progress *p) {
    char sentence[NODE_URI_NAME_MAX + 128], freed[CLI_HUMAN_MAX];
    uint64_t octets = purge ? f->disk : 0;
    snprintf(sentence, sizeof sentence, "%s: %s%s%s%s", f->what.name, stopped ? "stopped" : "",
             stopped && purge ? ", " : "", purge ? cli_human((double)octets, freed) : "",
             purge ? " freed" : "");
    cli_progress_event(p, "removed", sentence,
                       json_pack("{s:s, s:s, s:i, s:I}", "name", f->what.name, "swarm",
                                 f->what.swarm, "stopped", (int)stopped, "freed",
                                 (json_int_t)octets));
    return CLI_OK;
}

static int remove_found(struct io_state *state, struct cli_session *c, const struct found *f,
                        bool purge, struct cli_progress *p) {
    size_t stopped = c ? stop(c, f->what.swarm) : 0;
    if (!stopped && !purge)
        return fail(p, CLI_FAILED, f->what.name,
                    f->disk ? "nothing goes on with it; --purge frees what is kept of it"
                            : "nothing goes on with it that could be stopped");
    int status = purge ? free_it(state, f, p) : CLI_OK;
    return status ? status : removed(f, stopped, purge, p);
}

int cli_content_remove(struct io_state *state, struct cli_session *c, const char *wanted,
                       bool purge, struct cli_progress *progress) {
    struct search *s = calloc(1, sizeof *s);
    struct io_why why = {.text = ""};
    int status = CLI_FAILED;
    if (!s)
        return fail(progress, CLI_FAILED, wanted, "out of memory");
    s->wanted = wanted;
    if (io_contents_each(state, on_content, s, &why) != CV_ERR_OK) {
        status = fail(progress, CLI_STATE, wanted, why.text);
        free(s);
        return status;
    }
    if (c)
        search_swarms(s, io_host_node(c->host));
    if (!s->count)
        status = fail(progress, CLI_FILE, wanted,
                      "nothing here is called so; 'culvert ls' shows what there is");
    else if (s->count > 1)
        status = refuse_many(s, progress);
    else
        status = remove_found(state, c, &s->all[0], purge, progress);
    free(s);
    return status;
}

int cli_content_rm(struct io_state *state, struct cli_session *c, const struct cli_settings *s,
                   struct cli_progress *progress) {
    if (s->recording && s->purge)
        return fail(progress, CLI_USAGE, "--purge",
                    "frees it, and --recording only takes it out of a list; do one after the "
                    "other");
    if (s->key && !s->recording)
        return fail(progress, CLI_USAGE, "--key", "goes with --recording");
    return s->recording ? cli_recordings_remove(state, c, s->argument, s->key, progress)
                        : cli_content_remove(state, c, s->argument, s->purge, progress);
}
