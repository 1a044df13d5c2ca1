#include "cli/recordings.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/contents.h"
#include "cli/exitcode.h"
#include "cli/human.h"
#include "cli/key.h"
#include "crypto/hash.h"
#include "gateway/api.h"
#include "io/clock.h"

#define PREFIX "recordings-"
enum { NAME_MAX_OCTETS = 32, ID = 8, SHOWN_MAX = 700 };
enum { FILE_MAX = NODE_URI_MAX + 1 + NODE_RECORDINGS_OCTETS };

struct kept {
    struct node_uri channel;
    uint8_t octets[NODE_RECORDINGS_OCTETS];
    struct node_recordings list;
};

static void name_of(const struct node_uri *channel, char out[NAME_MAX_OCTETS]) {
    uint8_t id[ID];
    char hex[2 * ID + 1];
    CV_BLAKE2B(id, sizeof id, NULL, 0, {channel->network_id, sizeof channel->network_id},
               {channel->swarm_id, channel->swarm_id_len});
    snprintf(out, NAME_MAX_OCTETS, PREFIX "%s", cv_hex(id, sizeof id, hex));
}

static bool same_channel(const struct node_uri *a, const struct node_uri *b) {
    return a->swarm_id_len == b->swarm_id_len &&
           memcmp(a->swarm_id, b->swarm_id, a->swarm_id_len) == 0 &&
           memcmp(a->network_id, b->network_id, sizeof a->network_id) == 0;
}

/* NOENT: there is none; MALFORMED: it is no list that its channel signed. */
static enum cv_err load(struct io_state *state, const char *name, struct kept *ret,
                        struct io_why *why) {
    static char text[FILE_MAX];
    size_t len = 0;
    enum cv_err err = io_state_read(state, name, text, sizeof text, &len, why);
    if (err)
        return err;
    char *end = memchr(text, '\n', len);
    bool good = end && len - (size_t)(end + 1 - text) == sizeof ret->octets;
    if (good) {
        *end = 0;
        memcpy(ret->octets, end + 1, sizeof ret->octets);
        good = node_uri_read(text, &ret->channel, NULL) == CV_ERR_OK &&
               node_recordings_read(&ret->list, ret->octets, &ret->channel) == CV_ERR_OK;
    }
    if (!good)
        io_why_set(why, "%.300s/%s: holds no list of recordings; delete it to begin another",
                   io_state_path(state), name);
    return good ? CV_ERR_OK : CV_ERR_MALFORMED;
}

static enum cv_err save(struct io_state *state, const char *name, const struct kept *k,
                        struct io_why *why) {
    static char text[FILE_MAX];
    ssize_t n = node_uri_write(&k->channel, text, NODE_URI_MAX);
    if (n < 0) {
        io_why_set(why, "the channel's link is too long");
        return (enum cv_err)n;
    }
    text[n] = '\n';
    memcpy(text + n + 1, k->octets, sizeof k->octets);
    return io_state_write(state, name, text, (size_t)n + 1 + sizeof k->octets, why);
}

static bool point(struct cli_session *c, const struct kept *k, cv_handle swarm) {
    enum cv_err err =
        node_point(io_host_node(c->host), io_host_now(c->host), swarm, &k->channel, k->octets);
    io_host_kick(c->host);
    return !err;
}

/* Signs the list as it is now, later than the last one also after a clock was set back, and
 * keeps it. */
static enum cv_err reissue(struct io_state *state, const char *name, struct kept *k,
                           const struct cv_dnssec_secret *key, int64_t wall, struct io_why *why) {
    k->list.issued = wall > k->list.issued ? wall : k->list.issued + 1;
    int count = node_recordings_write(k->octets, &k->list, &k->channel, key);
    if (count < 0) {
        io_why_set(why, "the recordings cannot be signed: %s", cv_strerror((enum cv_err)count));
        return (enum cv_err)count;
    }
    k->list.count = (uint32_t)count;
    return save(state, name, k, why);
}

enum cv_err cli_recordings_add(struct cli_session *c, const struct node_uri *channel,
                               const struct cv_dnssec_secret *key, const struct node_uri *recorded,
                               cv_handle swarm, struct io_why *why) {
    struct kept k = {.list.count = 0};
    char name[NAME_MAX_OCTETS];
    int64_t wall = io_host_now(c->host).wall;
    name_of(channel, name);
    enum cv_err err = load(c->state, name, &k, why);
    if (!err && !same_channel(&k.channel, channel)) {
        io_why_set(why, "%.300s/%s: is of another channel; move it away", io_state_path(c->state),
                   name);
        err = CV_ERR_DIFFERS;
    }
    if (err && err != CV_ERR_NOENT) /* what it names must not be lost */
        return err;
    if (err)
        k = (struct kept){.list.count = 0};
    k.channel = *channel;
    k.channel.length = 0; /* of a broadcast, not of its link */
    node_recordings_add(&k.list, recorded, wall);
    err = reissue(c->state, name, &k, key, wall, why);
    if (!err)
        point(c, &k, swarm);
    return err;
}

unsigned cli_recordings_of_channel(struct cli_session *c, const struct node_uri *channel,
                                   cv_handle swarm) {
    struct kept k;
    struct io_why unsaid;
    char name[NAME_MAX_OCTETS];
    name_of(channel, name);
    /* An empty list is said, too: an earlier one may stand there. */
    return !load(c->state, name, &k, &unsaid) && same_channel(&k.channel, channel) &&
                   point(c, &k, swarm)
               ? k.list.count
               : 0;
}

static bool holds(const struct kept *k, const struct node_uri *film) {
    for (uint32_t i = 0; i < k->list.count; i++)
        if (k->list.v[i].hash == film->hash &&
            memcmp(k->list.v[i].root, film->swarm_id, film->swarm_id_len) == 0)
            return memcmp(k->channel.network_id, film->network_id, sizeof film->network_id) == 0;
    return false;
}

/* Every list of the folder, until `visit` returns false. The last one that cannot be read is
 * told of in *why. */
static void each(struct io_state *state,
                 bool (*visit)(void *ctx, const char *name, const struct kept *k), void *ctx,
                 struct io_why *why) {
    struct kept k;
    bool on = true;
    DIR *dir = opendir(io_state_path(state));
    for (struct dirent *e; dir && on && (e = readdir(dir)) != NULL;)
        if (strncmp(e->d_name, PREFIX, sizeof PREFIX - 1) == 0 &&
            strlen(e->d_name) < NAME_MAX_OCTETS && !load(state, e->d_name, &k, why))
            on = visit(ctx, e->d_name, &k);
    if (dir)
        closedir(dir);
}

struct of_film {
    struct cli_session *c;
    const struct node_uri *film;
    cv_handle swarm;
    unsigned count;
};

static bool point_film(void *ctx, const char *name, const struct kept *k) {
    (void)name;
    struct of_film *f = ctx;
    if (holds(k, f->film) && point(f->c, k, f->swarm))
        f->count = k->list.count;
    return f->count == 0;
}

unsigned cli_recordings_of_film(struct cli_session *c, const struct node_uri *recorded,
                                cv_handle swarm) {
    struct io_why unsaid;
    struct of_film f = {.c = c, .film = recorded, .swarm = swarm};
    if (recorded->kind == NODE_URI_VOD &&
        recorded->swarm_id_len == cv_sha_len((enum cv_sha)recorded->hash))
        each(c->state, point_film, &f, &unsaid);
    return f.count;
}

/* ---- taking one out ---- */

/* Who is meant, and what there is. */
struct search {
    const char *wanted;
    unsigned count;
    char name[NAME_MAX_OCTETS]; /* of the list that names the last one found */
    struct kept kept;
    struct node_uri film;
    char found[SHOWN_MAX], all[SHOWN_MAX]; /* names and ids, of those found and of all */
};

static void show(char out[SHOWN_MAX], const struct cli_content *what) {
    size_t n = strlen(out);
    snprintf(out + n, SHOWN_MAX - n, "%s%s (%s)", n ? ", " : "", what->name, what->swarm);
}

static bool look(void *ctx, const char *name, const struct kept *k) {
    struct search *s = ctx;
    for (uint32_t i = 0; i < k->list.count; i++) {
        struct node_uri film;
        struct cli_content what;
        node_recording_uri(&k->list.v[i], &k->channel, &film);
        cli_content_of_swarm(&film, &what);
        show(s->all, &what);
        if (!cli_content_is(&what, NULL, s->wanted))
            continue;
        show(s->found, &what);
        s->count++;
        s->film = film;
        s->kept = *k;
        snprintf(s->name, sizeof s->name, "%s", name);
    }
    return true;
}

static int fail(struct cli_progress *p, int status, const char *text) {
    json_t *fields = json_object();
    json_object_set_new(fields, "text", cli_json_text(text));
    cli_progress_event(p, "error", text, fields);
    return status;
}

static int find(struct io_state *state, struct search *s, struct cli_progress *p) {
    char text[2 * SHOWN_MAX];
    struct io_why why = {.text = ""};
    each(state, look, s, &why);
    if (s->count == 1)
        return CLI_OK;
    if (s->count > 1)
        snprintf(text, sizeof text,
                 "%.250s: means %u recordings; say which by its link, or by how its id begins: %s",
                 s->wanted, s->count, s->found);
    else if (why.text[0])
        snprintf(text, sizeof text, "%s", why.text);
    else if (s->all[0])
        snprintf(text, sizeof text,
                 "%.250s: no channel that was recorded here names that; named are: %s", s->wanted,
                 s->all);
    else
        snprintf(text, sizeof text,
                 "%.250s: no channel that was recorded here names a recording; 'culvert live "
                 "--record FILE' makes one",
                 s->wanted);
    return fail(p, s->count ? CLI_USAGE : CLI_FILE, text);
}

/* The key that signed this list. */
static int open_key(struct io_state *state, const struct node_uri *channel, const char *file,
                    struct cv_dnssec_secret **ret, struct io_why *why) {
    char path[CLI_PATH_MAX];
    uint8_t public_key[CV_DNSSEC_PUBLIC_MAX];
    enum cv_dnssec_alg alg = (enum cv_dnssec_alg)channel->swarm_id[0];
    cli_key_path(state, alg, path);
    enum cv_err err = cli_key_read(file ? file : path, alg, "--key", ret, why);
    if (err == CV_ERR_NOENT)
        io_why_set(why,
                   "%.300s: the channel's key is not there, and only with it the list can be made "
                   "anew; name its file with --key",
                   file ? file : path);
    if (err)
        return CLI_FILE;
    size_t len = cv_dnssec_public_of(*ret, public_key);
    if (len + 1 == channel->swarm_id_len && memcmp(public_key, channel->swarm_id + 1, len) == 0)
        return CLI_OK;
    io_why_set(why, "%.300s: is the key of another channel; name its own with --key",
               file ? file : path);
    return CLI_FILE;
}

/* Whatever says the list of this channel says the new one; how many do. */
static unsigned repoint(struct cli_session *c, const struct kept *k) {
    struct node *n = io_host_node(c->host);
    struct node_swarm_status st;
    unsigned said = 0;
    for (size_t i = 0; node_swarm_status(n, i, &st); i++) {
        bool writes;
        const struct node_uri *channel = node_recordings_of(n, st.swarm, &writes);
        if (channel && writes && same_channel(channel, &k->channel))
            said += point(c, k, st.swarm);
    }
    return said;
}

static int taken_out(const struct search *s, unsigned said, struct cli_progress *p) {
    char sentence[NODE_URI_NAME_MAX + 256], channel[NODE_URI_MAX] = "", uri[NODE_URI_MAX] = "";
    (void)node_uri_write(&s->kept.channel, channel, sizeof channel);
    (void)node_uri_write(&s->film, uri, sizeof uri);
    snprintf(sentence, sizeof sentence, "%s: taken out of the channel's list; the new list is %s",
             s->film.name,
             said ? "being published"
                  : "published when 'culvert live' or 'share' of a recording runs again");
    cli_progress_event(p, "unlisted", sentence,
                       json_pack("{s:s, s:s, s:s, s:i, s:b}", "name", s->film.name, "uri", uri,
                                 "channel", channel, "left", (int)s->kept.list.count, "said",
                                 said > 0));
    return CLI_OK;
}

int cli_recordings_remove(struct io_state *state, struct cli_session *c, const char *wanted,
                          const char *key_file, struct cli_progress *progress) {
    struct search *s = calloc(1, sizeof *s);
    struct cv_dnssec_secret *key = NULL;
    struct io_why why = {.text = ""};
    if (!s)
        return fail(progress, CLI_FAILED, "out of memory");
    s->wanted = wanted;
    int status = find(state, s, progress);
    if (!status) {
        status = open_key(state, &s->kept.channel, key_file, &key, &why);
        bool there = !status && node_recordings_remove(&s->kept.list, &s->film);
        if (there && reissue(state, s->name, &s->kept, key, io_clock_now().wall, &why))
            status = CLI_STATE;
        status = status ? fail(progress, status, why.text)
                        : taken_out(s, c ? repoint(c, &s->kept) : 0, progress);
    }
    cv_dnssec_secret_free(key);
    free(s);
    return status;
}

/* ---- for who watches ---- */

char *cli_recordings_say(const struct node_recordings *r, const struct node_uri *channel,
                         char text[CLI_RECORDINGS_TEXT], json_t **ret_fields) {
    json_t *list = gw_api_recordings(r, channel);
    size_t n = (size_t)snprintf(text, CLI_RECORDINGS_TEXT, "%s",
                                r->count ? "Recordings of this channel, the newest first:"
                                         : "This channel names no recording");
    for (uint32_t i = 0; i < r->count; i++) {
        char size[CLI_HUMAN_MAX], day[32] = "";
        struct tm tm;
        time_t ended = (time_t)r->v[i].ended;
        const char *uri = json_string_value(json_object_get(json_array_get(list, i), "uri"));
        if (localtime_r(&ended, &tm))
            strftime(day, sizeof day, "%Y-%m-%d %H:%M", &tm);
        if (n < CLI_RECORDINGS_TEXT)
            n += (size_t)snprintf(text + n, CLI_RECORDINGS_TEXT - n, "\n%s  %s  %s\n%s", day,
                                  cli_human((double)r->v[i].length, size), r->v[i].name,
                                  uri ? uri : "");
    }
    *ret_fields = json_pack("{s:o}", "recordings", list);
    return text;
}
