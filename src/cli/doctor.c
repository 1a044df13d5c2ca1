/* doctor: looks at everything that keeps a node from working well, and says what to do.
 * What only a node can know it asks the one that runs on the state folder; without one
 * it runs one for a while. */
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/exitcode.h"
#include "cli/session.h"
#include "cli/sockets.h"
#include "cli/verbs.h"
#include "io/clock.h"
#include "io/hostaddr.h"
#include "io/limits.h"
#include "io/sockaddr.h"

enum {
    FILES_WANTED = 1024,     /* descriptors */
    BUFFER_WANTED = 1 << 20, /* octets; six full bursts fit the default of 208 KiB */
    FIRST_HOPS_MAX = 4,      /* relays that may know our address */
    FINDINGS_MAX = 64,
};

#define ROOM_WANTED (UINT64_C(1) << 30)
#define PATIENCE    CV_SEC(20) /* for a node of our own to find others */

/* As the tunnel's rules of paths have it (docs/protocol/tunnel.md). */
enum { RELAYS_APART = 16, RELAYS_WEIGHED = 100 };

/* In this order of badness. */
enum finding { GOOD, UNKNOWN, WEAK, BAD };

struct doctor {
    const struct cli_settings *s;
    char folder[CLI_PATH_MAX];
    json_t *status, *peers; /* of a node; NULL: none */
    pid_t pid;              /* of its process */
    bool connected;         /* own node: it found relays */
    enum finding worst;
    char unknown[128]; /* what could not be found out, in a sentence; "": nothing */
    json_t *findings;
};

static void note_unknown(struct doctor *d, const char *what) {
    size_t n = strlen(d->unknown);
    if (!strstr(d->unknown, what))
        snprintf(d->unknown + n, sizeof d->unknown - n, "%s%s", n ? ", " : "", what);
}

__attribute__((format(printf, 4, 5))) static void find(struct doctor *d, enum finding kind,
                                                       const char *what, const char *fmt, ...) {
    static const char *const words[] = {"ok", "unknown", "weak", "bad"};
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    d->worst = kind > d->worst ? kind : d->worst;
    if (kind == UNKNOWN)
        note_unknown(d, what);
    if (json_array_size(d->findings) == FINDINGS_MAX)
        return;
    json_t *o = json_pack("{s:s, s:s}", "check", what, "result", words[kind]);
    char *remedy = strstr(text, "; ");
    if (remedy && kind != GOOD) {
        *remedy = 0;
        json_object_set_new(o, "remedy", cli_json_text(remedy + 2));
    }
    json_object_set_new(o, "text", cli_json_text(text));
    json_array_append_new(d->findings, o);
    if (d->s->json)
        return;
    printf("%-8s %-10s %s\n", words[kind], what, text);
    if (remedy && kind != GOOD)
        printf("%-8s %-10s -> %s\n", "", "", remedy + 2);
}

/* ---- this machine ---- */

static void check_room(struct doctor *d) {
    struct statvfs fs;
    if (statvfs(d->folder, &fs) != 0) {
        find(d, UNKNOWN, "disk", "%s is not there yet", d->folder);
        return;
    }
    uint64_t room = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (room < ROOM_WANTED)
        find(d, WEAK, "disk", "%llu MiB are free; make room, or choose another disk with --state",
             (unsigned long long)(room >> 20));
    else
        find(d, GOOD, "disk", "%llu GiB are free", (unsigned long long)(room >> 30));
}

static void check_limits(struct doctor *d) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < FILES_WANTED)
        find(d, WEAK, "files", "only %llu files may be open; raise it with 'ulimit -n %d'",
             (unsigned long long)files.rlim_cur, FILES_WANTED);
    else
        find(d, GOOD, "files", "enough files may be open");
}

static bool in_path(const char *program) {
    char path[CLI_PATH_MAX];
    const char *at = getenv("PATH");
    while (at && *at) {
        size_t len = strcspn(at, ":");
        snprintf(path, sizeof path, "%.*s/%s", (int)len, at, program);
        if (access(path, X_OK) == 0)
            return true;
        at += len + (at[len] == ':');
    }
    return false;
}

static void check_programs(struct doctor *d) {
    const char *players[] = {d->s->player ? d->s->player : "mpv", "vlc", "ffplay"};
    size_t i = 0;
    while (i < 3 && !in_path(players[i]))
        i++;
    if (i < 3)
        find(d, GOOD, "player", "%s", players[i]);
    else
        find(d, WEAK, "player",
             "neither mpv, vlc nor ffplay is there; install mpv, or open links "
             "in a browser");
    if (in_path("ffmpeg"))
        find(d, GOOD, "encoders", "ffmpeg is there to receive them");
    else
        find(d, WEAK, "encoders",
             "ffmpeg is not there; install it to broadcast from OBS and the "
             "like");
}

/* ---- the state folder ---- */

static void check_key(struct doctor *d, int folder, const char *name) {
    struct stat st;
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return;
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
        find(d, BAD, "keys", "%s/%s is not a file of yours; move it away, a new one is made",
             d->folder, name);
    else if (st.st_mode & 077)
        find(d, BAD, "keys",
             "%s/%s may be read by others; chmod 600 it, and make a new key if "
             "somebody did",
             d->folder, name);
    else if (!strcmp(name, "identity") && st.st_size != CV_KEY)
        find(d, BAD, "keys",
             "%s/%s is damaged; restore it, or move it away to become somebody "
             "new",
             d->folder, name);
    else
        find(d, GOOD, "keys", "%s is yours alone", name);
}

static bool is_key(const char *name) {
    size_t len = strlen(name);
    return !strcmp(name, "identity") || !strcmp(name, "gateway") || !strcmp(name, "token") ||
           !strncmp(name, "secret-", 7) ||
           (!strncmp(name, "live-", 5) && len > 4 && !strcmp(name + len - 4, ".pem"));
}

static void check_folder(struct doctor *d) {
    struct stat st;
    int fd = open(d->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    if (!list) {
        find(d, UNKNOWN, "state", "%s is not there yet; it is made at the first run", d->folder);
        return;
    }
    if (fstat(fd, &st) == 0 && (st.st_uid != geteuid() || st.st_mode & 077))
        find(d, BAD, "state", "%s may be read by others; chmod 700 it", d->folder);
    else
        find(d, GOOD, "state", "%s", d->folder);
    for (struct dirent *e; (e = readdir(list));)
        if (is_key(e->d_name))
            check_key(d, fd, e->d_name);
    closedir(list);
}

/* ---- what a node knows ---- */

static json_int_t num(const json_t *o, const char *key) {
    return json_integer_value(json_object_get(o, key));
}

/* What a relay signed for a day stays (tunnel/keyring.h), and is what others try. */
static const char new_address[] =
    "a new address is told of from 03:00 UTC on, one since 21:00 a day later: wait till then";

/* A relay of which one address is not there is told of by those only who cannot tell. */
static void check_reach(struct doctor *d) {
    const json_t *list = json_object_get(d->status, "reach"), *a;
    bool two = json_array_size(list) > 1;
    size_t i;
    json_array_foreach(list, i, a) {
        const char *at = json_string_value(json_object_get(a, "address"));
        json_int_t reached = num(a, "by"), missed = num(a, "not_by");
        if (reached == 0 && missed > 0 && two)
            find(d, BAD, "reach",
                 "%lld relays had %s tried from outside, and nobody got through: they tell nobody "
                 "of this relay, not of its other address either; let UDP to its port through the "
                 "router and the firewall, or start it without this address (%s)",
                 (long long)missed, at, new_address);
        else if (reached == 0 && missed > 0)
            find(d, BAD, "reach",
                 "%lld relays had this one tried from outside, and nobody got through: they tell "
                 "nobody of it; let UDP to its port through the router and the firewall (%s)",
                 (long long)missed, new_address);
        else if (reached > 0)
            find(d, GOOD, "reach", "%lld relays had %s tried from outside", (long long)reached,
                 two ? at : "this one");
        else if (two)
            find(d, UNKNOWN, "reach",
                 "no relay with an address of that family had %s tried yet; let it run longer", at);
    }
}

static void check_network(struct doctor *d) {
    json_int_t good = num(d->status, "dht_good"), relays = num(d->status, "relays_known");
    json_int_t missing = num(d->status, "relays_missing");
    if (good == 0)
        find(d, BAD, "dht",
             "no node of the DHT answers; check the connection, let UDP through the "
             "firewall, and name a contact with --bootstrap IP:PORT");
    else
        find(d, GOOD, "dht", "%lld nodes answer", (long long)good);
    bool built = num(d->status, "circuits") > 0;
    if (missing > 0 && built)
        find(d, WEAK, "relays",
             "%lld are known: paths are built, but a relay that dies may have no substitute; wait "
             "until %lld more %s known",
             (long long)relays, (long long)missing, missing == 1 ? "is" : "are");
    else if (missing > 0)
        find(d, good ? BAD : UNKNOWN, "relays",
             "%lld are known, %lld more %s needed for paths; wait, or check that --network is "
             "the one that is meant",
             (long long)relays, (long long)missing, missing == 1 ? "is" : "are");
    else
        find(d, GOOD, "relays", "%lld are known", (long long)relays);
    if (missing <= 0 && relays < RELAYS_WEIGHED)
        find(d, WEAK, "cover",
             "%lld relays hide little%s; with %d and more nobody carries over a twentieth of all "
             "paths",
             (long long)relays,
             relays < RELAYS_APART ? ", and guards stand elsewhere in paths, too" : "",
             (int)RELAYS_WEIGHED);
    check_reach(d);
    if (num(d->status, "guards_poor") > 0)
        find(d, WEAK, "guards",
             "%lld let less than 70 %% of what the others do through; they are replaced, one in a "
             "week",
             (long long)num(d->status, "guards_poor"));
    if (num(d->status, "paths_refused") > 0)
        find(
            d, BAD, "paths",
            "%lld broke a rule and were not built: guards were kept wrongly, or this is a fault of "
            "culvert; please report it",
            (long long)num(d->status, "paths_refused"));
}

static void check_clock(struct doctor *d) {
    json_int_t off = num(d->status, "clock_off");
    if (off != 0)
        find(d, BAD, "clock", "relays say it is %lld seconds %s; set it, best by NTP",
             (long long)llabs(off), off > 0 ? "slow" : "fast");
    else if (num(d->status, "relays_known") > 0)
        find(d, GOOD, "clock", "relays agree with it");
    else
        find(d, UNKNOWN, "clock", "nobody answered who could tell; get the network to work first");
}

static bool is_own(const struct cv_addr *external) {
    struct cv_addr here[64];
    size_t count = io_hostaddr_all(here, sizeof here / sizeof *here);
    bool own = false;
    for (size_t i = 0; i < count; i++)
        own |= cv_addr_same_ip(&here[i], external);
    return own;
}

static void check_nat(struct doctor *d) {
    const json_t *seen = json_object_get(d->status, "external");
    const char *text = json_string_value(json_object_get(seen, "address"));
    struct cv_addr a;
    bool said = text && cv_addr_parse(text, &a) == CV_ERR_OK;
    if (!said && num(d->status, "dht_good") == 0)
        find(d, UNKNOWN, "nat",
             "the network failed: nobody answered who could say which address is seen; get it to "
             "work first");
    else if (!said)
        find(d, UNKNOWN, "nat", "too few nodes said which address they see; let it run longer");
    else if (cv_addr_is_loopback(&a) || is_own(&a))
        find(d, GOOD, "nat", "none: others see the address %s of this machine", text);
    else if (json_is_true(json_object_get(seen, "same_port")))
        find(d, GOOD, "nat", "one that keeps the port: all see %s (a relay needs it forwarded)",
             text);
    else
        find(d, WEAK, "nat",
             "one that gives every peer another port (symmetric); watching works, "
             "a relay does not: forward its port, or use another router");
}

static void check_buffers(struct doctor *d) {
    json_int_t octets =
        num(json_object_get(json_object_get(d->status, "sockets"), "own"), "buffer_in");
    if (octets < BUFFER_WANTED)
        find(d, WEAK, "buffers",
             "the system gives sockets %lld KiB; for fast lines: sysctl -w "
             "net.core.rmem_max=4194304 net.core.wmem_max=4194304, then start again",
             (long long)octets >> 10);
    else
        find(d, GOOD, "buffers", "%lld KiB", (long long)octets >> 10);
}

static void check_ports(struct doctor *d) {
    const char *name;
    json_t *socket;
    json_object_foreach(json_object_get(d->status, "sockets"), name, socket)
        find(d, GOOD, "ports", "%s: UDP %s", name,
             json_string_value(json_object_get(socket, "address")));
}

/* The kernel's view of what the node's process holds, against what it says of itself. */
static void check_leaks(struct doctor *d) {
    struct cli_socket list[CLI_SOCKETS_MAX];
    ssize_t n = cli_sockets_of(d->pid, list);
    size_t i, udp = 0, strange = 0;
    json_t *row;
    if (n < 0) {
        find(d, UNKNOWN, "leaks", "the sockets of process %ld cannot be seen; run as the same user",
             (long)d->pid);
        return;
    }
    for (i = 0; i < (size_t)n; i++) {
        char text[CV_ADDR_TEXT];
        cv_addr_text(&list[i].local, text);
        bool known = false;
        const char *name;
        json_object_foreach(json_object_get(d->status, "sockets"), name, row) known |=
            !strcmp(json_string_value(json_object_get(row, "address")), text);
        udp += list[i].udp;
        if (list[i].udp ? known : cv_addr_is_loopback(&list[i].local))
            continue;
        strange++;
        find(d, BAD, "leaks",
             "the node has a socket at %s that it should not have; stop it and "
             "report this",
             text);
    }
    size_t hops = json_array_size(json_object_get(d->status, "first_hops"));
    if (hops > FIRST_HOPS_MAX)
        find(d, BAD, "leaks",
             "%zu relays know this machine's address, %d may; stop the node and "
             "report this",
             hops, FIRST_HOPS_MAX);
    json_array_foreach(d->peers, i, row) {
        bool direct = json_is_true(json_object_get(row, "direct"));
        if (direct || json_is_true(json_object_get(row, "hidden")))
            continue;
        strange++;
        find(d, BAD, "leaks",
             "a hidden swarm has a peer with an address; stop the node and report "
             "this");
    }
    if (!strange && hops <= FIRST_HOPS_MAX)
        find(d, GOOD, "leaks",
             "%zu UDP sockets, all the node's own; everything else is loopback; %zu relays know "
             "this address",
             udp, hops);
}

/* ---- a node ---- */

static void check_node(struct doctor *d) {
    check_network(d);
    check_clock(d);
    check_nat(d);
    check_ports(d);
    check_buffers(d);
    check_leaks(d);
}

struct own {
    struct cli_session session;
    struct doctor *d;
    struct io_timer *timer;
    cv_usec end;
};

static void on_timer(void *ctx) {
    struct own *o = ctx;
    cv_usec now = io_clock_now().mono;
    if (o->session.client_ready || now >= o->end)
        cli_session_end(&o->session, CLI_OK);
    else
        io_timer_at(o->timer, now, cv_usec_add(now, CV_MSEC(200)));
}

static void nothing(void *ctx, json_t *o) {
    (void)ctx;
    json_decref(o);
}

static int run_node(struct doctor *d) {
    static struct own o;
    struct cli_session *c = &o.session;
    o.d = d;
    int status = cli_session_open(c, d->s, 0);
    if (status == CLI_OK) {
        c->progress = (struct cli_progress){.sink = nothing};
        o.timer = io_timer_new(c->loop, on_timer, &o);
        o.end = cv_usec_add(io_clock_now().mono, PATIENCE);
        if (o.timer)
            on_timer(&o);
        if (!d->s->json)
            fprintf(stderr, "No node runs on this folder: one is run for up to %d seconds.\n",
                    (int)(PATIENCE / CV_SEC(1)));
        status = cli_session_run(c);
        d->status = gw_api_status(c->host);
        json_object_set_new(d->status, "clock_off", json_integer(c->clock_off));
        d->peers = gw_api_peers(c->host);
        d->pid = getpid();
        check_node(d);
    }
    io_timer_free(o.timer);
    cli_session_close(c);
    return status;
}

static bool ask_node(struct doctor *d, const char *socket_path) {
    d->status = cli_ask_get(socket_path, "/api/status");
    d->peers = d->status ? cli_ask_get(socket_path, "/api/peers") : NULL;
    d->pid = io_state_holder(d->folder);
    return d->status != NULL;
}

int cli_doctor(const struct cli_settings *s) {
    static struct doctor d;
    char socket_path[CLI_PATH_MAX];
    struct io_why why = {.text = ""};
    int status = CLI_OK;
    d.s = s;
    d.findings = json_array();
    if (s->state)
        snprintf(d.folder, sizeof d.folder, "%s", s->state);
    else if (io_xdg_path(IO_XDG_STATE, d.folder, sizeof d.folder, &why) != CV_ERR_OK) {
        fprintf(stderr, "culvert: %s\n", why.text);
        return CLI_STATE;
    }
    check_folder(&d);
    check_room(&d);
    check_limits(&d);
    check_programs(&d);
    if (cli_session_socket(s, socket_path, &why) == CV_ERR_OK && ask_node(&d, socket_path))
        check_node(&d);
    else
        status = run_node(&d);
    if (s->json) {
        json_dumpf(d.findings, stdout, JSON_COMPACT);
        putchar('\n');
    } else if (status == CLI_OK) {
        puts(d.worst == BAD    ? "Something is bad: see above."
             : d.worst == WEAK ? "It works, and could be better: see above."
             : d.unknown[0]    ? "What could be looked at is well."
                               : "All is well.");
        if (d.unknown[0])
            printf("It could not be found out: %s.\n", d.unknown);
    }
    json_decref(d.findings);
    json_decref(d.status);
    json_decref(d.peers);
    return status ? status : d.worst == BAD ? CLI_FAILED : CLI_OK;
}
