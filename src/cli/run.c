/* share, get, play, live: the command's side. A node that runs on the state folder
 * does it while we show how it goes; without one, and to write to a pipe of ours, we
 * run a node ourselves. What is started besides (a player, an encoder's other end) is
 * a process of this one. */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cursor.h"
#include "cli/ask.h"
#include "cli/contacts.h"
#include "cli/exitcode.h"
#include "cli/ingest.h"
#include "cli/kind.h"
#include "cli/player.h"
#include "cli/session.h"
#include "cli/verbs.h"

enum { LINE_MAX_OCTETS = 64 << 10 };

struct run {
    const struct cli_settings *s;
    struct cli_progress progress;
    struct cli_player player;
    struct cli_ingest ingest;
    const char *socket;      /* of the node that does it; NULL: .. */
    struct gateway *gateway; /* .. it is our own */
    const char *uri;         /* what a player is started for */
    int status;              /* -1: goes on */
};

/* The page, with the right to it in this link for once, and the film that it plays. */
static const char *page_of(void *ctx, char *out) {
    static const char hex[] = "0123456789ABCDEF";
    struct run *r = ctx;
    char once[GW_LINK_MAX];
    int fd = r->socket ? cli_ask_connect(r->socket) : -1;
    json_t *nothing = json_object();
    FILE *f = fd >= 0 ? cli_ask(fd, "/api/tickets", nothing) : NULL;
    json_t *o = f ? json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
    const char *page = r->gateway ? gateway_page_once(r->gateway, once)
                                  : json_string_value(json_object_get(o, "page"));
    struct cv_wr w = cv_wr_init(out, CLI_PLAYER_LINK);
    if (page)
        cv_wr_bytes(&w, page, strlen(page));
    cv_wr_bytes(&w, "&watch=", 7);
    for (const char *c = r->uri; *c; c++) {
        if (isalnum((unsigned char)*c)) {
            cv_wr_u8(&w, (uint8_t)*c);
        } else {
            cv_wr_u8(&w, '%');
            cv_wr_u8(&w, (uint8_t)hex[(uint8_t)*c >> 4]);
            cv_wr_u8(&w, (uint8_t)hex[(uint8_t)*c & 15]);
        }
    }
    cv_wr_u8(&w, 0);
    bool good = page && !w.err;
    json_decref(nothing);
    json_decref(o);
    if (f)
        fclose(f);
    return good ? out : NULL;
}

static void say_ingest(struct run *r, enum cli_ingest_news news) {
    static const struct {
        const char *event, *before, *after;
    } all[] = {
        [CLI_INGEST_WAITS] = {"ingest", "Waiting for an encoder at", ""},
        [CLI_INGEST_UNREAD] = {"ingest_unread", "What came could not be read, at", ", see above"},
        [CLI_INGEST_BUSY] = {"ingest_busy", "Another program has taken", ""},
    };
    char sentence[CLI_INGEST_TEXT + 64];
    if (news == CLI_INGEST_WAITS && r->ingest.feed[0])
        snprintf(sentence, sizeof sentence,
                 "Waiting for the camera of the page; open it with the "
                 "link that 'culvert status' prints");
    else
        snprintf(sentence, sizeof sentence, "%s %s%s", all[news].before, r->ingest.url,
                 all[news].after);
    cli_progress_event(&r->progress, all[news].event, sentence,
                       json_pack("{s:s}", "url", r->ingest.url));
}

/* Once a second: what we started. False: it is over, with r->status. */
static bool look(struct run *r) {
    struct io_why why = {.text = ""};
    enum cli_ingest_news news;
    if (cli_player_ended(&r->player)) {
        r->status = CLI_OK;
        return false;
    }
    if (!cli_ingest_look(&r->ingest, &news, &why)) {
        cli_progress_done(&r->progress);
        fprintf(stderr, "culvert: %s\n", why.text);
        r->status = CLI_FAILED;
        return false;
    }
    if (news != CLI_INGEST_NOTHING)
        say_ingest(r, news);
    return true;
}

/* What the task says, wherever it runs. */
static void on_line(void *ctx, json_t *o) {
    struct run *r = ctx;
    const char *event = json_string_value(json_object_get(o, "event"));
    const char *text = json_string_value(json_object_get(o, "text"));
    const char *url = json_string_value(json_object_get(o, "url"));
    if (event && !strcmp(event, "end")) {
        r->status = (int)json_integer_value(json_object_get(o, "status"));
        json_decref(o);
        return;
    }
    if (event && !strcmp(event, "error") && text) {
        cli_progress_done(&r->progress);
        fprintf(stderr, "culvert: %s\n", text);
    }
    const char *uri = json_string_value(json_object_get(o, "uri"));
    bool shown = event && uri && r->s->qr && r->progress.terminal &&
                 (!strcmp(event, "shared") || !strcmp(event, "live"));
    if (shown)
        cli_progress_qr(r->progress.out, uri);
    if (event && !strcmp(event, "link") && url && r->s->verb == CLI_PLAY && !r->s->no_player) {
        r->uri = uri ? uri : r->s->argument;
        cli_player_start(&r->player, r->s->player, url, page_of, r);
    }
    if (event && !strcmp(event, "error") && r->progress.terminal)
        json_decref(o);
    else
        cli_progress_show(&r->progress, o);
}

/* ---- by a node that runs ---- */

static volatile sig_atomic_t stopped;

static void on_stop(int number) {
    (void)number;
    stopped = 1;
}

static void take_lines(struct run *r, char *buf, size_t *len) {
    char *end;
    size_t at = 0;
    while (r->status < 0 && (end = memchr(buf + at, '\n', *len - at)) != NULL) {
        json_t *o = json_loadb(buf + at, (size_t)(end - buf) - at, 0, NULL);
        at = (size_t)(end - buf) + 1;
        if (json_is_object(o))
            on_line(r, o);
        else
            json_decref(o);
    }
    memmove(buf, buf + at, *len - at);
    *len -= at;
}

static int follow(struct run *r, FILE *f) {
    static char buf[LINE_MAX_OCTETS];
    size_t len = 0;
    int fd = fileno(f);
    sigset_t none, blocked;
    sigemptyset(&none);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &none);
    sigaction(SIGINT, &(struct sigaction){.sa_handler = on_stop}, NULL);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_stop}, NULL);
    while (r->status < 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int n = ppoll(&p, 1, &(struct timespec){.tv_sec = 1}, &none);
        if (stopped)
            return r->s->verb == CLI_GET ? CLI_INTERRUPTED : CLI_OK;
        if (!look(r))
            return r->status;
        if (n <= 0)
            continue;
        ssize_t got = read(fd, buf + len, sizeof buf - len);
        if (got <= 0) {
            fprintf(stderr, "culvert: the node that did this has ended\n");
            return CLI_FAILED;
        }
        len += (size_t)got;
        take_lines(r, buf, &len);
        if (len == sizeof buf)
            len = 0; /* no line of ours is that long */
    }
    return r->status;
}

static int by_node(struct run *r, const struct cli_settings *with, int fd) {
    int status;
    FILE *f = cli_ask_task(fd, with, &status);
    if (!f)
        return status;
    status = follow(r, f);
    cli_progress_done(&r->progress);
    fclose(f);
    return status;
}

/* ---- by a node of our own ---- */

struct own {
    struct run run;
    struct cli_session session;
    struct cli_task *task;
    int status; /* -1: not over */
    const struct cli_task_ops *ops;
    uint32_t direct_chunk;
    struct io_timer *look; /* whether the player still runs */
};

/* The end, or with a constant rate the beginning of the time that it runs on. */
static void over(struct own *own, int status) {
    if (!own->session.s->constant_rate)
        cli_session_end(&own->session, status);
    else if (own->status < 0)
        own->status = status;
}

static void on_own_end(void *ctx, int status) {
    over(ctx, status);
}

/* A rate that ended with the film would say when that was. */
static void run_on(struct own *own) {
    struct node_status s;
    bool began = own->task != NULL;
    own->task = cli_task_free(own->task); /* closes the swarm */
    node_status(io_host_node(own->session.host), &s);
    if (!s.rate_running_on)
        cli_session_end(&own->session, own->status);
    else if (began)
        cli_progress_event(&own->run.progress, "runs_on",
                           "The constant rate runs on for a while; Ctrl-C ends it at once",
                           json_pack("{s:i}", "seconds", (int)s.rate_seconds));
}

static void on_look(void *ctx) {
    struct own *own = ctx;
    cv_usec now = io_host_now(own->session.host).mono;
    io_timer_at(own->look, now, cv_usec_add(now, CV_SEC(1)));
    if (own->status < 0 && !look(&own->run))
        over(own, own->run.status);
    if (own->status >= 0)
        run_on(own);
}

static int by_ourselves(struct own *own, struct cli_settings *with, const struct node_uri *uri) {
    struct cli_session *c = &own->session;
    own->status = -1;
    cli_contacts_of_link(with, uri);
    own->direct_chunk = uri->chunk_size;
    int status = cli_session_open(c, with, own->direct_chunk);
    if (status == CLI_OK) {
        own->run.gateway = c->gateway;
        struct cli_progress progress = {.sink = on_line, .ctx = &own->run};
        own->look = io_timer_new(c->loop, on_look, own);
        own->task = cli_task_new(&(struct cli_task_config){.ops = own->ops,
                                                           .c = c,
                                                           .s = with,
                                                           .progress = progress,
                                                           .on_end = on_own_end,
                                                           .ctx = own});
        if (own->look && !c->ending)
            on_look(own);
        status = own->task && own->look ? cli_session_run(c) : CLI_FAILED;
        cli_progress_done(&own->run.progress);
        if (own->status >= 0) /* Ctrl-C only ended what came after */
            status = own->status;
    }
    cli_task_free(own->task);
    io_timer_free(own->look);
    cli_session_close(c);
    return status;
}

/* What can be said without a node: the exit status, with one line in *why. */
static int check(const struct cli_settings *s, struct node_uri *uri, struct io_why *why) {
    uint8_t network[8];
    node_network_id(s->network, network);
    if (s->constant_rate && (s->direct || s->at)) {
        io_why_set(why, "a constant rate is kept between hidden swarms' circuits: leave out %s",
                   s->direct ? "--direct" : "--at");
        return CLI_USAGE;
    }
    if (s->verb & (CLI_SHARE | CLI_LIVE)) {
        uri->kind = s->verb == CLI_LIVE ? NODE_URI_LIVE : NODE_URI_VOD;
        return cli_kind_read(s, uri, why);
    }
    return cli_link_check(s, network, uri, why);
}

/* What only our own node can do; NULL: any node can. */
static const struct cli_task_ops *own_ops(const struct cli_settings *s,
                                          const struct node_uri *uri) {
    bool piped = s->output && strcmp(s->output, "-") == 0;
    return uri->kind == NODE_URI_LIVE && piped ? &cli_watch_ops : NULL;
}

int cli_run(const struct cli_settings *s) {
    static struct own own;
    static struct cli_settings with;
    struct node_uri uri = {.contacts_count = 0};
    struct io_why why = {.text = ""};
    char path[CLI_PATH_MAX];
    int status = check(s, &uri, &why);
    if (status) {
        fprintf(stderr, "culvert: %s\n", why.text);
        return status;
    }
    if (s->direct)
        fprintf(stderr, "culvert: --direct hides nothing: your address is shown to every peer\n");
    if (cli_kind_unprotected(s))
        fprintf(stderr, "culvert: --integrity none checks nothing: whoever answers decides what "
                        "the content is\n");
    own.run = (struct run){.s = s, .progress = cli_progress_init(s->json, s->quiet), .status = -1};
    own.ops = own_ops(s, &uri);
    if (own.ops && s->output && strcmp(s->output, "-") == 0)
        own.run.progress.out = stderr; /* the other one is for the stream */
    with = *s;
    own.run.ingest = CLI_INGEST_NONE;
    status = s->verb == CLI_LIVE ? cli_ingest_open(&own.run.ingest, &with, &why) : CLI_OK;
    int fd = !status && !own.ops && cli_session_socket(s, path, &why) == CV_ERR_OK
                 ? cli_ask_connect(path)
                 : -1;
    own.run.socket = fd >= 0 ? path : NULL;
    if (status)
        fprintf(stderr, "culvert: %s\n", why.text);
    else
        status = fd >= 0 ? by_node(&own.run, &with, fd) : by_ourselves(&own, &with, &uri);
    cli_ingest_close(&own.run.ingest);
    return status;
}
