/*
 * culvert-dht: a stand-alone node of the Mainline DHT, and questions to one.
 * Usable against any Mainline node.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/text.h"
#include "crypto/keys.h"
#include "crypto/rng_system.h"
#include "dht_crawl.h"
#include "dht_options.h"
#include "dht_session.h"

#define HEX_ID    (2 * DHT_ID + 1)
#define ASK_AGAIN CV_SEC(10) /* get-peers --wait */

/* One command while it runs. */
struct run {
    const struct dht_options *o;
    struct dht_session *s;
    dht_op op;
    json_t *out;  /* the object that --json prints */
    json_t *list; /* nodes, peers or samples in it */
    struct dht_crawl *crawl;
    bool over, no_bootstrap, has_item;
    unsigned peers; /* shown */
    unsigned tried;
    struct dht_done done;
    struct dht_item item;
};

/* --- printing ----------------------------------------------------------- */

/* One line; takes the object over. */
static void print_json(json_t *object) {
    json_dumpf(object, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(object);
}

static json_t *json_id(const struct dht_id *id) {
    char hex[HEX_ID];
    return json_string(cv_hex(id->b, DHT_ID, hex));
}

static json_t *json_addr(const struct cv_addr *a) {
    char text[CV_ADDR_TEXT];
    return json_string(cv_addr_text(a, text));
}

static void show_node(struct run *r, const struct dht_node *v) {
    char hex[HEX_ID], text[CV_ADDR_TEXT];
    if (r->o->json)
        json_array_append_new(
            r->list, json_pack("{so so}", "id", json_id(&v->id), "address", json_addr(&v->addr)));
    else
        printf("%s %s\n", cv_hex(v->id.b, DHT_ID, hex), cv_addr_text(&v->addr, text));
}

static void show_peer(struct run *r, const struct cv_addr *a) {
    char text[CV_ADDR_TEXT];
    r->peers++;
    if (r->o->json)
        json_array_append_new(r->list, json_addr(a));
    else
        printf("%s\n", cv_addr_text(a, text));
}

static void show_samples(struct run *r, const struct dht_event *e) {
    char hex[HEX_ID];
    for (size_t i = 0; i < e->samples.n; i++) {
        if (r->o->json)
            json_array_append_new(r->list, json_id(&e->samples.v[i]));
        else
            printf("%s\n", cv_hex(e->samples.v[i].b, DHT_ID, hex));
    }
    if (r->o->json) {
        json_object_set_new(r->out, "total", json_integer(e->samples.total));
        json_object_set_new(r->out, "interval_s", json_integer(e->samples.interval_s));
    } else {
        printf("%zu of %" PRIu32 " keys; ask again after %" PRIu32 " s\n", e->samples.n,
               e->samples.total, e->samples.interval_s);
    }
}

/* The octets of a string value as text when they are printable ASCII. */
static bool printable(const uint8_t *data, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (data[i] < 0x20 || data[i] > 0x7e)
            return false;
    return true;
}

static void show_item(struct run *r) {
    const struct dht_item *item = &r->item;
    char value[2 * DHT_VALUE_MAX + 1], key[2 * DHT_KEY + 1];
    size_t len = 0;
    const uint8_t *bytes = dht_item_bytes(item, &len);
    bool text = bytes && printable(bytes, len);
    struct dht_id hash;
    bool points = item->mutable_item && dht_item_pointer(item, &hash);
    cv_hex(item->v, item->v_len, value);
    if (r->o->json) {
        json_object_set_new(r->out, "value", json_string(value));
        if (text)
            json_object_set_new(r->out, "text", json_stringn((const char *)bytes, len));
        if (points)
            json_object_set_new(r->out, "points_to", json_id(&hash));
        if (item->mutable_item) {
            json_object_set_new(r->out, "seq", json_integer(item->seq));
            json_object_set_new(r->out, "key", json_string(cv_hex(item->k, DHT_KEY, key)));
        }
        return;
    }
    if (item->mutable_item)
        printf("seq %" PRId64 "\n", item->seq);
    if (points)
        printf("points to %s\n", cv_hex(hash.b, DHT_ID, value));
    else if (text)
        printf("%.*s\n", (int)len, (const char *)bytes);
    else
        printf("%s\n", value);
}

/* --- events ------------------------------------------------------------- */

static void serve_event(const struct run *r, const struct dht_event *e) {
    struct dht_status st;
    char text[CV_ADDR_TEXT];
    dht_status(dht_session_engine(r->s), &st);
    unsigned nodes = st.ipv4.nodes_good + st.ipv6.nodes_good;
    if (e->kind == DHT_EVENT_READY && r->o->json)
        print_json(json_pack("{ss si}", "event", "ready", "nodes", (int)nodes));
    else if (e->kind == DHT_EVENT_READY)
        printf("ready: %u nodes\n", nodes);
    else if (e->kind == DHT_EVENT_EXTERNAL_ADDRESS && r->o->json)
        print_json(
            json_pack("{ss so}", "event", "external_address", "address", json_addr(&e->external)));
    else if (e->kind == DHT_EVENT_EXTERNAL_ADDRESS)
        printf("others see us as %s\n", cv_addr_text(&e->external, text));
    else if (e->kind == DHT_EVENT_NO_BOOTSTRAP && e->tried)
        fprintf(stderr, "no bootstrap node answered (tried %u); still trying\n", e->tried);
    fflush(stdout);
}

static void on_event(void *ctx, const struct dht_event *e) {
    struct run *r = ctx;
    if (r->o->command == DHT_CMD_SERVE && r->s) {
        serve_event(r, e);
        return;
    }
    if (r->crawl && dht_crawl_event(r->crawl, e))
        return;
    switch (e->kind) {
    case DHT_EVENT_NO_BOOTSTRAP:
        r->no_bootstrap = true;
        r->tried = e->tried;
        if (r->o->command == DHT_CMD_TABLE)
            dht_session_stop(r->s);
        break;
    case DHT_EVENT_NODES:
        for (size_t i = 0; i < e->nodes.n; i++)
            show_node(r, &e->nodes.v[i]);
        break;
    case DHT_EVENT_PEERS:
        for (size_t i = 0; i < e->peers.n && r->o->command == DHT_CMD_GET_PEERS; i++)
            show_peer(r, &e->peers.v[i]);
        break;
    case DHT_EVENT_ITEM:
        r->item = *e->item;
        r->has_item = true;
        break;
    case DHT_EVENT_SAMPLES:
        show_samples(r, e);
        break;
    case DHT_EVENT_DONE:
        if (e->op == r->op) {
            r->done = e->done;
            r->over = true;
            dht_session_stop(r->s);
        }
        break;
    case DHT_EVENT_READY:
    case DHT_EVENT_EXTERNAL_ADDRESS:
        break;
    }
}

/* --- commands ----------------------------------------------------------- */

static enum dht_exit fail(enum dht_exit status, const char *text) {
    fprintf(stderr, "culvert-dht: %s\n", text);
    return status;
}

static enum dht_exit serve(struct run *r) {
    char text[CV_ADDR_TEXT], hex[HEX_ID];
    for (int i = 0; i < 2; i++) {
        struct cv_addr a = dht_session_addr(r->s, i);
        struct dht_status st;
        dht_status(dht_session_engine(r->s), &st);
        const struct dht_id *id = i ? &st.ipv6.id : &st.ipv4.id;
        if (!a.family)
            continue;
        if (r->o->json)
            print_json(json_pack("{ss so so}", "event", "listening", "address", json_addr(&a), "id",
                                 json_id(id)));
        else
            printf("listening on %s, id %s\n", cv_addr_text(&a, text), cv_hex(id->b, DHT_ID, hex));
    }
    fflush(stdout);
    while (!dht_session_run(r->s, CV_USEC_NEVER)) {}
    return DHT_EXIT_OK;
}

static enum dht_exit show_table(struct run *r) {
    static struct dht_table_row rows[2 * 160 * 8];
    struct cv_now now = dht_session_now();
    dht_session_run(r->s, now.mono + CV_SEC(r->o->wait_s));
    size_t n = dht_table_rows(dht_session_engine(r->s), rows, sizeof rows / sizeof *rows);
    for (size_t i = 0; i < n; i++) {
        const struct dht_table_row *row = &rows[i];
        char hex[HEX_ID], text[CV_ADDR_TEXT];
        if (r->o->json)
            json_array_append_new(
                r->list, json_pack("{so so si sb si}", "id", json_id(&row->node.id), "address",
                                   json_addr(&row->node.addr), "bucket", (int)row->bucket, "good",
                                   (int)row->good, "rtt_ms", (int)row->rtt_ms));
        else
            printf("%3u %s %-21s %4u ms%s\n", row->bucket, cv_hex(row->node.id.b, DHT_ID, hex),
                   cv_addr_text(&row->node.addr, text), row->rtt_ms,
                   row->good ? "" : " questionable");
    }
    if (n == 0)
        fprintf(stderr,
                "culvert-dht: no bootstrap node answered (tried %u); pass --bootstrap "
                "IP:PORT\n",
                r->o->bootstrap_count);
    return n ? DHT_EXIT_OK : DHT_EXIT_NETWORK;
}

static enum dht_exit crawl(struct run *r) {
    const struct dht_options *o = r->o;
    struct cv_now now = dht_session_now();
    r->crawl = dht_crawl_new(r->s);
    for (unsigned i = 0; i < o->bootstrap_count; i++)
        dht_crawl_add(r->crawl, &o->bootstrap[i]);
    dht_crawl_go_on(r->crawl);
    if (dht_session_run(r->s, now.mono + CV_SEC(o->timeout_s)))
        fprintf(stderr, "culvert-dht: interrupted; this is what was found so far\n");
    size_t answered = 0, n = dht_crawl_count(r->crawl);
    for (size_t i = 0; i < n; i++) {
        const struct dht_crawled *v = dht_crawl_at(r->crawl, i);
        if (!v->answered)
            continue;
        answered++;
        show_node(r, &v->node);
    }
    if (o->json)
        json_object_update_new(r->out, json_pack("{sI sI sb}", "seen", (json_int_t)n, "answered",
                                                 (json_int_t)answered, "complete",
                                                 (int)dht_crawl_over(r->crawl)));
    else
        printf("%zu of %zu nodes answered%s\n", answered, n,
               dht_crawl_over(r->crawl) ? "" : "; there are more (see --timeout)");
    r->crawl = dht_crawl_free(r->crawl);
    if (answered == 0)
        fprintf(stderr,
                "culvert-dht: no bootstrap node answered (tried %u); pass --bootstrap IP:PORT\n",
                o->bootstrap_count);
    return answered ? DHT_EXIT_OK : DHT_EXIT_NETWORK;
}

/* The Ed25519 seed in a file: 64 hexadecimal digits. */
static bool read_seed(const char *path, uint8_t seed[CV_KEY]) {
    char text[2 * CV_KEY + 1] = {0};
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (!f)
        fprintf(stderr, "culvert-dht: --key %s: cannot be read\n", path);
    else
        fclose(f);
    bool good = n == sizeof text - 1 && cv_unhex(text, seed, CV_KEY) == CV_ERR_OK;
    if (f && !good)
        fprintf(stderr, "culvert-dht: --key %s: must hold 64 hexadecimal digits\n", path);
    cv_wipe(text, sizeof text);
    return good;
}

static enum dht_exit make_item(const struct dht_options *o, struct dht_item *item) {
    if (!o->text && !o->key_file)
        return fail(DHT_EXIT_USAGE, "point: say whose pointer it is with --key FILE");
    if (!o->text)
        dht_item_set_pointer(item, &o->id);
    else if (dht_item_set_bytes(item, o->text, strlen(o->text)))
        return fail(DHT_EXIT_USAGE, "put: at most 996 octets fit");
    if (!o->key_file) {
        if (o->salt || o->has_seq || o->has_cas)
            return fail(DHT_EXIT_USAGE, "put: --salt, --seq and --cas need --key");
        return DHT_EXIT_OK;
    }
    uint8_t seed[CV_KEY], covered[DHT_SIGNED_MAX];
    struct cv_ed25519_secret secret;
    if (!read_seed(o->key_file, seed))
        return DHT_EXIT_USAGE;
    cv_ed25519_from_seed(&secret, seed);
    cv_wipe(seed, sizeof seed);
    item->mutable_item = true;
    item->seq = o->has_seq ? o->seq : dht_session_now().wall;
    item->salt_len = (uint8_t)(o->salt ? strlen(o->salt) : 0);
    memcpy(item->salt, o->salt ? o->salt : "", item->salt_len);
    memcpy(item->k, secret.public_key, DHT_KEY);
    ssize_t n = dht_item_signed(item, covered);
    if (n > 0)
        cv_ed25519_sign(item->sig, &secret, "", covered, (size_t)n);
    cv_wipe(&secret, sizeof secret);
    return n > 0 ? DHT_EXIT_OK : fail(DHT_EXIT_USAGE, "put: bad sequence number");
}

static enum cv_err start_get(struct run *r, struct cv_now now, struct dht *d) {
    const struct dht_options *o = r->o;
    uint8_t k[DHT_KEY];
    if (!o->public_key)
        return dht_get_immutable(d, now, &o->id, &r->op);
    if (cv_unhex(o->public_key, k, sizeof k))
        return CV_ERR_MALFORMED;
    return dht_get_mutable(d, now, k, o->salt, o->salt ? strlen(o->salt) : 0, -1, &r->op);
}

static enum cv_err start(struct run *r, struct dht_item *item) {
    const struct dht_options *o = r->o;
    struct dht *d = dht_session_engine(r->s);
    struct cv_now now = dht_session_now();
    switch (o->command) {
    case DHT_CMD_PING:
        return dht_ping(d, now, &o->addr, &r->op);
    case DHT_CMD_SAMPLE: {
        struct dht_id target = dht_id_random(cv_rng_system());
        return dht_sample(d, now, &o->addr, &target, &r->op);
    }
    case DHT_CMD_FIND_NODE:
        return dht_find_node(d, now, &o->id, &r->op);
    case DHT_CMD_GET_PEERS:
        return dht_find_peers(d, now, &o->id, &r->op);
    case DHT_CMD_SCRAPE:
        return dht_scrape(d, now, &o->id, &r->op);
    case DHT_CMD_ANNOUNCE:
        return dht_announce(d, now, &o->id, o->port, false, &r->op);
    case DHT_CMD_PUT:
        return dht_put(d, now, item, o->has_cas ? &o->cas : NULL, &r->op);
    case DHT_CMD_GET:
        return start_get(r, now, d);
    case DHT_CMD_SERVE:
    case DHT_CMD_TABLE:
    case DHT_CMD_CRAWL:
        break;
    }
    return CV_ERR_INVAL;
}

/* Why nodes would not store it, in words. */
static void show_refusals(const struct dht_done *d) {
    const struct {
        unsigned n;
        const char *why;
    } rows[] = {
        {d->refused_token, "did not accept the token, or the message (203)"},
        {d->refused_value, "find the value too big (205)"},
        {d->refused_sig, "find the signature bad (206)"},
        {d->refused_salt, "find the salt too big (207)"},
        {d->refused_cas, "hold another sequence number than --cas: get it again (301)"},
        {d->refused_seq, "hold something as new or newer (302)"},
        {d->refused_other, "refused for another reason: full, or they do not know how to store"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].n)
            fprintf(stderr, "culvert-dht: %u %s\n", rows[i].n, rows[i].why);
}

/* What came of it, in words or as the rest of the JSON object. */
static void show_done(struct run *r, const struct dht_item *item) {
    const struct dht_options *o = r->o;
    const struct dht_done *d = &r->done;
    bool stores = o->command == DHT_CMD_ANNOUNCE || o->command == DHT_CMD_PUT;
    char hex[HEX_ID];
    struct dht_id target = dht_item_target(item);
    if (r->has_item)
        show_item(r);
    if (o->json) {
        if (o->command == DHT_CMD_PUT)
            json_object_set_new(r->out, "target", json_id(&target));
        if (stores)
            json_object_update_new(
                r->out,
                json_pack("{si si si si si si si si si}", "stored", (int)d->stored, "refused",
                          (int)d->refused, "refused_token", (int)d->refused_token, "refused_value",
                          (int)d->refused_value, "refused_sig", (int)d->refused_sig, "refused_salt",
                          (int)d->refused_salt, "refused_cas", (int)d->refused_cas, "refused_seq",
                          (int)d->refused_seq, "refused_other", (int)d->refused_other));
        if (o->command == DHT_CMD_SCRAPE)
            json_object_update_new(r->out, json_pack("{si si}", "seeds", (int)d->scrape_seeds,
                                                     "peers", (int)d->scrape_peers));
        json_object_set_new(r->out, "queried", json_integer(d->queried));
        json_object_set_new(r->out, "answered", json_integer(d->answered));
        return;
    }
    if (o->command == DHT_CMD_PUT)
        printf("target %s\n", cv_hex(target.b, DHT_ID, hex));
    if (o->command == DHT_CMD_SCRAPE)
        printf("about %u seeds, %u peers\n", d->scrape_seeds, d->scrape_peers);
    if (stores)
        printf("stored at %u nodes, refused by %u\n", d->stored, d->refused);
    show_refusals(d);
}

static const char *words(enum cv_err err, enum dht_command command) {
    switch ((int)err) {
    case CV_ERR_TIMEDOUT:
        return "nobody answered";
    case CV_ERR_UNREACHABLE:
        return "there is nobody to ask";
    case CV_ERR_DENIED:
        return "all nodes refused to store it";
    case CV_ERR_UNKNOWN:
        return "that node does not know this query";
    case CV_ERR_NOENT:
        return "no such item";
    default:
        return command == DHT_CMD_PING ? "not a node we may speak to (see --private)"
                                       : cv_strerror(err);
    }
}

static enum dht_exit ask(struct run *r) {
    struct dht_item item = {0};
    if (r->o->command == DHT_CMD_PUT) {
        enum dht_exit status = make_item(r->o, &item);
        if (status)
            return status;
    }
    enum cv_err err = start(r, &item);
    if (err == CV_ERR_MALFORMED)
        return fail(DHT_EXIT_USAGE, "--public-key: give 64 hexadecimal digits");
    if (err)
        return fail(DHT_EXIT_USAGE, words(err, r->o->command));
    cv_usec until = dht_session_now().mono + CV_SEC(r->o->wait_s);
    for (;;) {
        struct cv_now now = dht_session_now();
        while (!r->over && dht_session_now().mono < now.mono + CV_SEC(r->o->timeout_s))
            if (dht_session_run(r->s, now.mono + CV_SEC(r->o->timeout_s)))
                return fail(DHT_EXIT_FAILED, "interrupted");
        if (!r->over)
            r->done.err = CV_ERR_TIMEDOUT;
        if (!r->over || r->o->command != DHT_CMD_GET_PEERS || r->peers || now.mono >= until)
            break;
        /* Nobody yet: the same node asks again. */
        if (dht_session_run(r->s, dht_session_now().mono + ASK_AGAIN))
            return fail(DHT_EXIT_FAILED, "interrupted");
        r->over = false;
        if (start(r, &item))
            break;
    }
    show_done(r, &item);
    if (r->no_bootstrap && r->done.err) {
        fprintf(stderr,
                "culvert-dht: no bootstrap node answered (tried %u); pass --bootstrap IP:PORT\n",
                r->tried);
        return DHT_EXIT_NETWORK;
    }
    if (r->done.err)
        return fail(DHT_EXIT_FAILED, words(r->done.err, r->o->command));
    return DHT_EXIT_OK;
}

static const char *list_name(enum dht_command command) {
    switch (command) {
    case DHT_CMD_GET_PEERS:
        return "peers";
    case DHT_CMD_SAMPLE:
        return "samples";
    case DHT_CMD_PING:
    case DHT_CMD_FIND_NODE:
    case DHT_CMD_TABLE:
    case DHT_CMD_CRAWL:
        return "nodes";
    case DHT_CMD_SERVE:
    case DHT_CMD_SCRAPE:
    case DHT_CMD_ANNOUNCE:
    case DHT_CMD_PUT:
    case DHT_CMD_GET:
        break;
    }
    return NULL;
}

int main(int argc, char **argv) {
    struct dht_options o;
    struct io_why why;
    dht_options_parse(argc, argv, &o);
    bool asks =
        o.command != DHT_CMD_SERVE && o.command != DHT_CMD_PING && o.command != DHT_CMD_SAMPLE;
    bool needs_contact = o.command == DHT_CMD_CRAWL || (asks && !o.state);
    if (needs_contact && o.bootstrap_count == 0)
        return fail(DHT_EXIT_NETWORK,
                    "no bootstrap node answered (tried 0); pass --bootstrap IP:PORT");
    struct run r = {.o = &o, .out = json_object()};
    if (list_name(o.command)) {
        r.list = json_array();
        json_object_set_new(r.out, list_name(o.command), r.list);
    }
    enum dht_exit status = dht_session_open(&o, on_event, &r, &r.s, &why);
    if (status) {
        json_decref(r.out);
        return fail(status, why.text);
    }
    status = o.command == DHT_CMD_SERVE   ? serve(&r)
             : o.command == DHT_CMD_TABLE ? show_table(&r)
             : o.command == DHT_CMD_CRAWL ? crawl(&r)
                                          : ask(&r);
    if (o.json && o.command != DHT_CMD_SERVE) {
        json_object_set_new(r.out, "ok", json_boolean(status == DHT_EXIT_OK));
        print_json(r.out);
    } else {
        json_decref(r.out);
    }
    dht_session_close(r.s);
    return status;
}
