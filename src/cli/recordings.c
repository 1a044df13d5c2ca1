#include "cli/recordings.h"

#include <dirent.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/human.h"
#include "crypto/hash.h"
#include "gateway/api.h"

#define PREFIX "recordings-"
enum { NAME_MAX_OCTETS = 32, ID = 8, FILE_MAX = NODE_URI_MAX + 1 + NODE_RECORDINGS_OCTETS };

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
static enum cv_err load(struct cli_session *c, const char *name, struct kept *ret,
                        struct io_why *why) {
    static char text[FILE_MAX];
    size_t len = 0;
    enum cv_err err = io_state_read(c->state, name, text, sizeof text, &len, why);
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
                   io_state_path(c->state), name);
    return good ? CV_ERR_OK : CV_ERR_MALFORMED;
}

static enum cv_err save(struct cli_session *c, const char *name, const struct kept *k,
                        struct io_why *why) {
    static char text[FILE_MAX];
    ssize_t n = node_uri_write(&k->channel, text, NODE_URI_MAX);
    if (n < 0) {
        io_why_set(why, "the channel's link is too long");
        return (enum cv_err)n;
    }
    text[n] = '\n';
    memcpy(text + n + 1, k->octets, sizeof k->octets);
    return io_state_write(c->state, name, text, (size_t)n + 1 + sizeof k->octets, why);
}

static unsigned point(struct cli_session *c, const struct kept *k, cv_handle swarm) {
    enum cv_err err =
        node_point(io_host_node(c->host), io_host_now(c->host), swarm, &k->channel, k->octets);
    io_host_kick(c->host);
    return err ? 0 : k->list.count;
}

enum cv_err cli_recordings_add(struct cli_session *c, const struct node_uri *channel,
                               const struct cv_dnssec_secret *key, const struct node_uri *recorded,
                               cv_handle swarm, struct io_why *why) {
    struct kept k = {.list.count = 0};
    char name[NAME_MAX_OCTETS];
    int64_t wall = io_host_now(c->host).wall;
    name_of(channel, name);
    enum cv_err err = load(c, name, &k, why);
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
    /* Later than the last one, also after a clock was set back. */
    k.list.issued = wall > k.list.issued ? wall : k.list.issued + 1;
    int count = node_recordings_write(k.octets, &k.list, channel, key);
    if (count < 0) {
        io_why_set(why, "the recordings cannot be signed: %s", cv_strerror((enum cv_err)count));
        return (enum cv_err)count;
    }
    k.list.count = (uint32_t)count;
    err = save(c, name, &k, why);
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
    return !load(c, name, &k, &unsaid) && same_channel(&k.channel, channel) && k.list.count
               ? point(c, &k, swarm)
               : 0;
}

static bool holds(const struct kept *k, const struct node_uri *film) {
    for (uint32_t i = 0; i < k->list.count; i++)
        if (k->list.v[i].hash == film->hash &&
            memcmp(k->list.v[i].root, film->swarm_id, film->swarm_id_len) == 0)
            return memcmp(k->channel.network_id, film->network_id, sizeof film->network_id) == 0;
    return false;
}

unsigned cli_recordings_of_film(struct cli_session *c, const struct node_uri *recorded,
                                cv_handle swarm) {
    struct kept k;
    struct io_why unsaid;
    unsigned count = 0;
    DIR *dir = opendir(io_state_path(c->state));
    if (recorded->kind != NODE_URI_VOD ||
        recorded->swarm_id_len != cv_sha_len((enum cv_sha)recorded->hash)) {
        if (dir)
            closedir(dir);
        return 0;
    }
    for (struct dirent *e; dir && !count && (e = readdir(dir)) != NULL;)
        if (strncmp(e->d_name, PREFIX, sizeof PREFIX - 1) == 0 &&
            !load(c, e->d_name, &k, &unsaid) && holds(&k, recorded))
            count = point(c, &k, swarm);
    if (dir)
        closedir(dir);
    return count;
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
