#include "cli/session.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/contacts.h"
#include "cli/daemon.h"
#include "cli/drain.h"
#include "cli/dropped.h"
#include "cli/exitcode.h"
#include "cli/identity.h"
#include "cli/ledger.h"
#include "cli/processors.h"
#include "crypto/aes.h"
#include "crypto/rng_system.h"
#include "io/clock.h"
#include "io/hostaddr.h"
#include "io/limits.h"
#include "io/trace_sink.h"
#include "node/limits.h"

static const char *const saved_names[NODE_SAVED_KINDS] = {
    [NODE_SAVED_DHT] = "dht",           [NODE_SAVED_GUARDS] = "guards",
    [NODE_SAVED_UPSTREAM] = "upstream", [NODE_SAVED_DESCRIPTOR] = "descriptor",
    [NODE_SAVED_OWN] = "account",
};

int cli_status_of(enum cv_err err) {
    switch ((int)err) {
    case CV_ERR_OK:
        return CLI_OK;
    case CV_ERR_DENIED:
    case CV_ERR_EXIST:
    case CV_ERR_CORRUPT:
    case CV_ERR_VERSION:
    case CV_ERR_DIFFERS:
        return CLI_STATE;
    case CV_ERR_FULL:
    case CV_ERR_STORE:
    case CV_ERR_NOENT:
        return CLI_FILE;
    default:
        return CLI_FAILED;
    }
}

enum cv_err cli_session_socket(const struct cli_settings *s, char out[CLI_PATH_MAX],
                               struct io_why *why) {
    char folder[IO_PATH_MAX];
    enum cv_err err = CV_ERR_OK;
    if (s->state)
        snprintf(folder, sizeof folder, "%s", s->state);
    else if (io_xdg_path(IO_XDG_RUNTIME, folder, sizeof folder, why) != CV_ERR_OK)
        err = io_xdg_path(IO_XDG_STATE, folder, sizeof folder, why);
    if (!err && snprintf(out, CLI_PATH_MAX, "%s/api.sock", folder) >= CLI_PATH_MAX) {
        io_why_set(why, "%.100s...: path is too long", folder);
        err = CV_ERR_INVAL;
    }
    return err;
}

static void complain(const char *text) {
    fprintf(stderr, "culvert: %s\n", text);
}

void cli_session_end(struct cli_session *c, int status) {
    if (c->ending)
        return;
    c->ending = true;
    c->status = status;
    io_loop_stop(c->loop);
}

void cli_session_fail(struct cli_session *c, int status, const char *fmt, ...) {
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    cli_progress_done(&c->progress);
    complain(text);
    if (!c->progress.terminal) {
        json_t *fields = json_object();
        json_object_set_new(fields, "text", cli_json_text(text));
        cli_progress_event(&c->progress, "error", text, fields);
    }
    for (size_t i = 0; i < c->tasks_count; i++)
        if (c->tasks[i]->away)
            cli_task_fail(c->tasks[i], status, "%s", text);
    cli_session_end(c, status);
}

int cli_swarm_refused(const char *name, enum node_swarm_mode mode, enum cv_err err,
                      struct io_why *why) {
    if (err == CV_ERR_EXIST)
        io_why_set(why, "%.180s: is open in this node already", name);
    else if (err == CV_ERR_LIMIT)
        io_why_set(why, "%.180s: too many swarms are open in this node; end some first", name);
    else if (err == CV_ERR_INVAL && mode == NODE_SWARM_DIRECT)
        io_why_set(why,
                   "%.160s: the running node has no socket for direct swarms; start it with "
                   "--direct, or name another folder with --state",
                   name);
    else
        io_why_set(why, "%.180s: cannot be opened: %s", name, cv_strerror(err));
    return CLI_FAILED;
}

/* ---- what the node says ---- */

static void save(struct cli_session *c, const struct node_event *ev) {
    struct io_why why;
    enum cv_err err = io_state_write(c->state, saved_names[ev->u.save.which], ev->u.save.data,
                                     ev->u.save.len, &why);
    if (!err)
        node_saved(io_host_node(c->host), io_host_now(c->host), ev->u.save.which);
    else if (ev->u.save.which == NODE_SAVED_DESCRIPTOR)
        cli_session_fail(c, cli_status_of(err), "%s", why.text);
    else
        complain(why.text);
}

/* What the node says is of interest to those whose command is elsewhere, too. */
void cli_session_say(struct cli_session *c, const char *name, const char *sentence,
                     json_t *fields) {
    for (size_t i = 0; i < c->tasks_count; i++)
        if (c->tasks[i]->away)
            cli_progress_event(&c->tasks[i]->progress, name, sentence, json_incref(fields));
    cli_progress_event(&c->progress, name, sentence, fields);
}

/* Nothing hidden works in another day than everybody else's. What would wait in
 * vain ends; a node or relay goes on and finds out when the clock was set. */
static void clock_off(struct cli_session *c, int64_t seconds) {
    char text[200], here[16], there[16];
    cv_usec at = io_clock_now().mono;
    if (c->clock_off == seconds && cv_usec_since(at, c->clock_told_at) < CV_SEC(60))
        return; /* a relay's own circuits notice it, too */
    bool again = seconds == 0 && c->clock_off != 0;
    c->clock_off = seconds;
    c->clock_told_at = at;
    if (seconds == 0) {
        if (again)
            cli_session_say(c, "clock_right", "The relays that answer agree with this clock again",
                            NULL);
        return;
    }
    time_t now = (time_t)io_clock_now().wall, right = now + (time_t)seconds;
    struct tm tm;
    long long days = (long long)((seconds < 0 ? -seconds : seconds) / 86400);
    strftime(here, sizeof here, "%Y-%m-%d", gmtime_r(&now, &tm));
    strftime(there, sizeof there, "%Y-%m-%d", gmtime_r(&right, &tm));
    snprintf(text, sizeof text,
             "this machine's clock is %lld day%s %s: it says %s, the relays that answered say %s "
             "(UTC); set the clock",
             days, days == 1 ? "" : "s", seconds > 0 ? "slow" : "fast", here, there);
    bool ends = c->s->verb & (CLI_PLAY | CLI_GET | CLI_SHARE) && !c->s->direct && !c->client_ready;
    bool terminal = c->progress.terminal; /* there it is said once, by either */
    cli_session_say(c, "clock_off", ends && terminal ? NULL : text,
                    json_pack("{s:I}", "seconds", (json_int_t)seconds));
    if (ends)
        cli_session_fail(c, CLI_NETWORK, "%s", text);
    else if (!terminal)
        complain(text);
}

/* Nothing that goes on here waits for circuits. */
static bool only_directly(const struct cli_session *c) {
    bool direct = !(c->s->verb & (CLI_NODE | CLI_RELAY)) && c->s->direct;
    for (size_t i = 0; i < c->tasks_count; i++)
        direct &= c->tasks[i]->ended || c->tasks[i]->s->direct;
    return direct;
}

/* The line for somebody who is alone; `tried` addresses were asked. */
static void no_bootstrap(struct cli_session *c, unsigned long long tried) {
    if (tried == 0 && c->s->bootstrap_count == 0)
        cli_session_fail(c, CLI_NETWORK,
                         "no DHT node to begin with is known; name one with --bootstrap IP:PORT, "
                         "or open a link that names one");
    else if (tried == 0)
        cli_session_fail(c, CLI_NETWORK,
                         "no address of --bootstrap or of the link is one that this node asks: "
                         "public ones, those of a private network with --private, loopback ones "
                         "when it listens there; name another with --bootstrap IP:PORT");
    else
        cli_session_fail(c, CLI_NETWORK,
                         "no bootstrap node answered (tried %llu); check the connection, or name "
                         "another with --bootstrap IP:PORT",
                         tried);
}

static void on_node_event(void *ctx, const struct node_event *ev) {
    static const char alone[] =
        "This relay was told of nobody: until others name it, it is found by "
        "none; name a node of the DHT with --bootstrap IP:PORT";
    struct cli_session *c = ctx;
    char text[160];
    switch (ev->kind) {
    case NODE_EVENT_SAVE:
        save(c, ev);
        break;
    case NODE_EVENT_NO_BOOTSTRAP:
        /* Direct swarms have their peers named, and somebody must be the first
         * relay of a new network: it waits for the others. */
        if (c->s->verb == CLI_DOCTOR) /* it says so by itself */
            cli_session_end(c, CLI_OK);
        else if (c->s->verb == CLI_RELAY && ev->u.count == 0)
            cli_session_say(c, "no_contacts", alone, json_pack("{s:s}", "text", alone));
        else if (!c->s->direct)
            no_bootstrap(c, ev->u.count);
        break;
    case NODE_EVENT_DHT_READY:
        cli_session_say(c, "dht_ready", "Joined the DHT", NULL);
        break;
    case NODE_EVENT_RELAY_READY:
        cli_session_say(c, "relay_ready", "Relaying: others can find this relay", NULL);
        break;
    case NODE_EVENT_CLIENT_READY:
        c->client_ready = true;
        cli_session_say(c, "client_ready", "Guards chosen, circuits can be built", NULL);
        break;
    case NODE_EVENT_TOO_FEW_RELAYS:
        if (only_directly(c))
            break;
        snprintf(text, sizeof text, "Too few relays for safe paths: %llu more %s needed; waiting",
                 (unsigned long long)ev->u.count, ev->u.count == 1 ? "is" : "are");
        cli_session_say(c, "too_few_relays", text,
                        json_pack("{s:I}", "missing", (json_int_t)ev->u.count));
        break;
    case NODE_EVENT_CLOCK_OFF:
        clock_off(c, ev->u.seconds);
        break;
    case NODE_EVENT_LEDGER_FAILED:
        snprintf(text, sizeof text, "The ledger stopped: %s; see 'culvert-ledger verify'",
                 cv_strerror(ev->u.err));
        cli_session_say(c, "ledger_failed", text, json_pack("{s:s}", "text", text));
        break;
    case NODE_EVENT_NOBODY:
    case NODE_EVENT_NO_EXIT:
    case NODE_EVENT_SHARED:
    case NODE_EVENT_PEER_UP:
    case NODE_EVENT_PEER_DOWN:
    case NODE_EVENT_CHUNKS_READY:
    case NODE_EVENT_COMPLETE:
    case NODE_EVENT_LENGTH_DIFFERS:
    case NODE_EVENT_STORE_ERROR:
    case NODE_EVENT_ASKED:
    case NODE_EVENT_LIVE_TUNED:
    case NODE_EVENT_LIVE_DROPPED:
    case NODE_EVENT_LIVE_ENDED:
    case NODE_EVENT_RECORDINGS:
        break;
    }
    for (size_t i = c->tasks_count; i-- > 0;) {
        struct cli_task *t = c->tasks[i];
        if (!t->ended && (t->several || (ev->swarm && t->swarm == ev->swarm)))
            t->ops->on_event(t, ev);
    }
}

static void on_tick(void *ctx) {
    struct cli_session *c = ctx;
    cv_usec now = io_clock_now().mono;
    io_timer_at(c->tick, now, cv_usec_add(now, CV_SEC(1)));
    cli_cache_tick(c, now);
    cli_quota_tick(c);
    cli_carrying_tick(c, now);
    cli_drain_tick(c);
    cli_dropped_tick(c->dropped, now);
    for (size_t i = c->tasks_count; i-- > 0;)
        if (!c->tasks[i]->ended)
            c->tasks[i]->ops->on_tick(c->tasks[i]);
}

static void on_signal(void *ctx) {
    struct cli_session *c = ctx;
    /* A relay or node is stopped this way: that is no failure. */
    cli_session_end(c, c->s->verb & (CLI_NODE | CLI_RELAY | CLI_SHARE | CLI_PLAY | CLI_LIVE)
                           ? CLI_OK
                           : CLI_INTERRUPTED);
}

/* A service manager's: others' circuits end first. Ctrl-C means now. */
static void on_terminate(void *ctx) {
    if (!cli_drain_begin(ctx))
        on_signal(ctx);
}

/* ---- opening ---- */

/* What cannot be had again is not given up; an account that only explains begins anew. */
static enum cv_err damaged(struct cli_session *c, enum node_saved which, enum cv_err err,
                           struct io_why *why) {
    const char *path = io_state_path(c->state), *name = saved_names[which];
    if (which == NODE_SAVED_OWN) {
        io_why_set(why,
                   "%s/%s: %s; what was given and taken is counted anew, first hops may still "
                   "know it",
                   path, name,
                   err == CV_ERR_VERSION ? "written by another version of culvert" : "damaged");
        cli_session_say(c, "account_anew", why->text,
                        json_pack("{s:o}", "text", cli_json_text(why->text)));
        return CV_ERR_OK;
    }
    io_why_set(why,
               err == CV_ERR_VERSION
                   ? "%s/%s: written by another version of culvert; install that version, "
                     "or move it away to choose guards anew"
                   : "%s/%s: damaged; restore it from a backup, or move it away to choose "
                     "guards anew",
               path, name);
    return err;
}

/* What is learned again is not worth a relay that does not start; but it is said. */
static void say_lost(struct cli_session *c) {
    static const char *const what[NODE_SAVED_KINDS] = {
        [NODE_SAVED_DHT] = "damaged; the DHT is found anew, by --bootstrap or other contacts",
        [NODE_SAVED_UPSTREAM] = "damaged; what the line carries is measured anew",
        [NODE_SAVED_DESCRIPTOR] =
            "holds no keys of today that can be read (damaged, or this relay came here by 'culvert "
            "identity import'); as a day with two descriptors would be proof against it, it takes "
            "no new circuits",
    };
    struct io_why why;
    char until[32] = "";
    struct tm tm;
    int64_t wall = io_clock_now().wall;
    for (enum node_saved i = 0; i < NODE_SAVED_KINDS; i++) {
        if (!what[i] || !node_saved_is_lost(io_host_node(c->host), i))
            continue;
        if (i == NODE_SAVED_DESCRIPTOR) { /* tomorrow's is signed three hours ahead */
            time_t day = (time_t)((wall + 3 * 3600) / 86400 + 1) * 86400;
            strftime(until, sizeof until, " until %Y-%m-%d 03:00 UTC", gmtime_r(&day, &tm));
        }
        io_why_set(&why, "%.200s/%s: %s%s", io_state_path(c->state), saved_names[i], what[i],
                   until);
        cli_session_say(
            c, "state_anew", why.text,
            json_pack("{s:s, s:o}", "file", saved_names[i], "text", cli_json_text(why.text)));
    }
}

static enum cv_err read_saved(struct cli_session *c, struct node_blob *blobs, uint8_t **bufs,
                              struct io_why *why) {
    for (size_t i = 0; i < NODE_SAVED_KINDS; i++) {
        bufs[i] = malloc(IO_STATE_FILE_MAX);
        if (!bufs[i])
            return CV_ERR_NOMEM;
        enum cv_err err =
            io_state_read(c->state, saved_names[i], bufs[i], IO_STATE_FILE_MAX, &blobs[i].len, why);
        if (err == CV_ERR_NOENT)
            continue;
        if (err)
            return err;
        blobs[i].data = bufs[i];
        err = node_saved_check((enum node_saved)i, &blobs[i]);
        if (err)
            err = damaged(c, (enum node_saved)i, err, why);
        if (err)
            return err;
    }
    return CV_ERR_OK;
}

static bool is_any(const struct cv_addr *a) {
    static const struct cv_addr any;
    return memcmp(a->ip, any.ip, sizeof any.ip) == 0;
}

/* The addresses own circuits leave from: those of --listen, other ports. */
static void own_addresses(const struct cli_settings *s, struct cv_addr ret[2]) {
    memset(ret, 0, 2 * sizeof *ret);
    if (s->own.family) {
        ret[0] = s->own;
        return;
    }
    memcpy(ret, s->listen, sizeof s->listen);
    ret[0].port = ret[1].port = 0;
}

static bool is_elsewhere(const struct cli_settings *s) {
    bool chosen = s->own.family && !is_any(&s->own);
    return chosen && !cv_addr_same_ip(&s->own, &s->listen[0]) &&
           !cv_addr_same_ip(&s->own, &s->listen[1]);
}

static uint8_t workers(const struct cli_settings *s) {
    bool chosen = s->workers && s->workers != CLI_WORKERS_AUTO;
    return (uint8_t)(chosen ? s->workers : cli_processors_workers(cli_processors()));
}

/* 0 would be no statement at all. */
static uint32_t bandwidth_kib(uint64_t octets) {
    uint64_t kib = (octets >> 10) + (octets % 1024 != 0);
    return kib < UINT32_MAX ? (uint32_t)kib : UINT32_MAX;
}

static enum cv_err open_host(struct cli_session *c, struct io_why *why) {
    const struct cli_settings *s = c->s;
    bool relay = s->verb == CLI_RELAY;
    uint8_t *bufs[NODE_SAVED_KINDS] = {NULL};
    struct io_host_config cfg = {.main = {s->listen[0], s->listen[1]},
                                 .buffer_octets = (uint32_t)s->buffer,
                                 .node = {.private_network = s->private_network,
                                          .relay = relay,
                                          .exit = relay && s->exit,
                                          .relay_bandwidth_kib = bandwidth_kib(s->bandwidth),
                                          .relay_octets_s = s->bandwidth,
                                          .relay_workers = relay ? workers(s) : 1,
                                          .epoch_seconds = (uint32_t)s->epoch_seconds,
                                          .epoch_minimum = s->epoch_minimum,
                                          .own_elsewhere = is_elsewhere(s),
                                          .aes = cv_aes_is_fast(),
                                          .gate_off = s->gate_off,
                                          .no_share = s->no_share,
                                          .ledbat_plus = s->ledbat_plus,
                                          .spare_upstream = true,
                                          .quick_start = s->quick_start}};
    own_addresses(s, cfg.own);
    memcpy(cfg.node.network_id, c->network_id, sizeof cfg.node.network_id);
    memcpy(cfg.node.bootstrap, s->bootstrap, sizeof s->bootstrap);
    cfg.node.bootstrap_count = s->bootstrap_count;
    enum cv_err err = CV_ERR_OK;
    if (!s->bootstrap_count && !s->direct)
        err = cli_contacts_installed(cfg.node.bootstrap, CLI_BOOTSTRAP_MAX,
                                     &cfg.node.bootstrap_count, why);
    if (s->direct) { /* the address people know is that of the direct socket */
        cfg.direct = s->listen[0];
        cfg.direct_chunk = c->direct_chunk;
        cfg.main[0].port = 0;
    }
    /* An exit never calls the machine it runs on, by whatever address (--own, a second interface).
     */
    struct cv_addr machine[NODE_EXIT_OWN_MAX];
    if (relay) {
        memcpy(cfg.node.relay_addrs, s->listen, sizeof s->listen);
        cfg.node.relay_addrs_count = s->listen_count;
        size_t own = cfg.own[1].family ? 2 : 1;
        memcpy(machine, cfg.own, own * sizeof *machine);
        cfg.node.machine_addrs = machine;
        cfg.node.machine_addrs_count =
            own + io_hostaddr_all(machine + own, NODE_EXIT_OWN_MAX - own);
    }
    uint8_t seed[CV_KEY];
    if (!err)
        err = cli_identity_whole(c->state, why);
    if (!err)
        err = io_state_key(c->state, "identity", cv_rng_system(), seed, sizeof seed, why);
    if (!err)
        cv_ed25519_from_seed(&cfg.node.identity_secret, seed);
    memcpy(c->identity, cfg.node.identity_secret.public_key, sizeof c->identity);
    cv_wipe(seed, sizeof seed);
    if (!err && relay)
        err = cli_ledger_open(c, c->identity, &c->ledger, why);
    if (!err)
        err = read_saved(c, cfg.node.saved, bufs, why);
    if (c->ledger)
        cfg.node.ledger_store = cli_ledger_store(c->ledger);
    if (!err)
        err = io_host_new(c->loop, &cfg, &c->host, why);
    if (!err)
        say_lost(c);
    for (size_t i = 0; i < NODE_SAVED_KINDS; i++)
        free(bufs[i]);
    cv_wipe(&cfg.node.identity_secret, sizeof cfg.node.identity_secret);
    return err;
}

static enum cv_err open_gateway(struct cli_session *c, struct io_why *why) {
    struct gateway_config cfg = {.listen = c->s->http};
    enum cv_err err =
        io_state_key(c->state, "gateway", cv_rng_system(), cfg.secret, sizeof cfg.secret, why);
    cv_rng_fill(cv_rng_system(), cfg.token, sizeof cfg.token);
    if (!err)
        err = gateway_new(c->host, &cfg, &c->gateway, why);
    cv_wipe(cfg.secret, sizeof cfg.secret);
    cv_wipe(cfg.token, sizeof cfg.token);
    if (!err) { /* for programs: Authorization: Bearer TOKEN */
        const char *token = gateway_token(c->gateway);
        err = io_state_write(c->state, "token", (const uint8_t *)token, strlen(token), why);
    }
    return err;
}

static void add_status(void *ctx, json_t *status) {
    struct cli_session *c = ctx;
    const struct cli_quota *q = &c->quota;
    if (q->rule.octets)
        json_object_set_new(status, "data_cap",
                            json_pack("{s:I, s:I, s:I, s:b}", "used", (json_int_t)q->tally.used,
                                      "cap", (json_int_t)q->rule.octets, "until",
                                      (json_int_t)cli_period_end(q->rule.period, q->tally.began),
                                      "spent", (int)q->spent));
    json_object_set_new(status, "clock_off", json_integer(c->clock_off));
    if (c->s->verb == CLI_RELAY)
        json_object_set_new(status, "carrying", cli_carrying_status(c));
    else
        json_object_set_new(status, "cache", cli_cache_status(c));
}

static json_t *ledger_rows(void *ctx) {
    struct cli_session *c = ctx;
    return c->ledger ? cli_ledger_json(c->ledger) : cli_ledger_own_json(io_host_node(c->host));
}

/* The runtime folder is ours alone, like the socket in it. */
static enum cv_err open_api(struct cli_session *c, struct io_why *why) {
    char path[CLI_PATH_MAX], folder[CLI_PATH_MAX];
    enum cv_err err = cli_session_socket(c->s, path, why);
    if (err)
        return err;
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    struct stat st;
    mkdir(folder, 0700);
    if (lstat(folder, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
        (st.st_mode & 077)) {
        io_why_set(why, "%.180s: must be a folder of yours with mode 0700; chmod 700 it", folder);
        return CV_ERR_DENIED;
    }
    err = gw_api_new(c->host, c->gateway, path, &c->api, why);
    if (err)
        return err;
    gw_api_on_status(c->api, add_status, c);
    gw_api_on_ledger(c->api, ledger_rows, c);
    cli_daemon_serve(c);
    return CV_ERR_OK;
}

/* What is wrong with --http or --listen; NULL: nothing. */
static const char *wrong_addresses(const struct cli_settings *s) {
    if (s->http.family && !cv_addr_is_loopback(&s->http))
        return "--http must be a loopback address, such as 127.0.0.1:8470; from elsewhere use "
               "ssh -L 8470:127.0.0.1:8470";
    for (size_t i = 0; i < s->listen_count && s->verb == CLI_RELAY; i++) {
        const struct cv_addr *a = &s->listen[i];
        if (!cv_addr_is_loopback(a) && (is_any(a) || !s->private_network) && !cv_addr_is_public(a))
            return "relay: --listen must name the public address others reach this relay at; "
                   "0.0.0.0, one behind a router and one of documentation (198.51.100.7) are none";
    }
    if (s->listen_count < 2)
        return NULL;
    if (s->direct)
        return "--direct: what is shared directly has one address; give --listen once";
    if (cv_addr_is_loopback(&s->listen[0]) != cv_addr_is_loopback(&s->listen[1]))
        return "--listen: one address is of this machine only and the other is not; a node on "
               "loopback speaks to loopback only";
    if (s->verb == CLI_RELAY && s->listen[0].port != s->listen[1].port)
        return "relay: the two addresses of --listen need the same port: others find one port for "
               "both";
    return NULL;
}

int cli_session_open(struct cli_session *c, const struct cli_settings *s, uint32_t direct_chunk) {
    struct io_why why = {.text = ""};
    memset(c, 0, sizeof *c);
    c->s = s;
    c->direct_chunk = direct_chunk;
    c->progress = cli_progress_init(s->json, s->quiet);
    node_network_id(s->network, c->network_id);
    const char *bad = wrong_addresses(s);
    if (bad) {
        complain(bad);
        return CLI_USAGE;
    }
    if (s->trace && io_trace_open(s->trace, &why) != CV_ERR_OK) {
        complain(why.text);
        return CLI_FILE;
    }
    c->loop = io_loop_new();
    if (!c->loop) {
        complain("out of memory");
        return CLI_FAILED;
    }
    enum cv_err err = io_state_open(s->state, &c->state, &why);
    int status = !err || err == CV_ERR_FULL ? cli_status_of(err) : CLI_STATE;
    if (!err) {
        err = open_host(c, &why);
        /* A port in use or not ours is the network's matter, not the folder's. */
        status = err == CV_ERR_UNREACHABLE || (err == CV_ERR_EXIST && !c->host)
                     ? CLI_NETWORK
                     : cli_status_of(err);
    }
    if (!err) {
        err = open_gateway(c, &why);
        status = err == CV_ERR_EXIST ? CLI_NETWORK : cli_status_of(err);
    }
    if (!err) {
        err = open_api(c, &why);
        status = cli_status_of(err);
    }
    if (!err)
        err = io_host_listen(c->host, on_node_event, c);
    if (!err && s->verb == CLI_NODE) {
        err = cli_dropped_open(c, &c->dropped, &why);
        status = cli_status_of(err);
    }
    if (!err) {
        err = cli_quota_open(c, s->data_cap, &why);
        status = cli_status_of(err);
    }
    c->tick = err ? NULL : io_timer_new(c->loop, on_tick, c);
    if (err) {
        complain(why.text[0] ? why.text : cv_strerror(err));
        return status ? status : CLI_FAILED;
    }
    io_loop_on_signal(c->loop, SIGINT, on_signal, c);
    io_loop_on_signal(c->loop, SIGTERM, on_terminate, c);
    cv_usec now = io_clock_now().mono;
    io_timer_at(c->tick, now, cv_usec_add(now, CV_SEC(1)));
    cli_cache_trim(c);
    return CLI_OK;
}

int cli_session_run(struct cli_session *c) {
    if (!c->ending)
        io_loop_run(c->loop);
    return c->status;
}

void cli_session_close(struct cli_session *c) {
    /* It ends already: being told so again must not cut short what follows. */
    sigset_t told;
    sigemptyset(&told);
    sigaddset(&told, SIGINT);
    sigaddset(&told, SIGTERM);
    sigprocmask(SIG_BLOCK, &told, NULL);
    cli_progress_done(&c->progress);
    cli_daemon_close(c);
    cli_quota_close(c);
    c->dropped = cli_dropped_close(c->dropped);
    if (c->host) {
        /* Owners of circuits hear of it now, not when they have waited for an answer. */
        if (c->s->verb == CLI_RELAY)
            node_drop_circuits(io_host_node(c->host), io_host_now(c->host));
        node_save(io_host_node(c->host));
        io_host_flush(c->host);
    }
    gw_api_free(c->api);
    gateway_free(c->gateway);
    io_timer_free(c->tick);
    io_host_free(c->host);
    cli_ledger_close(c->ledger);
    io_state_close(c->state);
    io_loop_free(c->loop);
    io_trace_close();
}
