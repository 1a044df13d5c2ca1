#include "cli/cache.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/session.h"

#define LOOK_EVERY CV_SEC(5)

static void on_evicted(void *ctx, const struct io_cache_evicted *e) {
    char sentence[160], when[32] = "";
    time_t t = (time_t)e->watched;
    struct tm tm;
    if (localtime_r(&t, &tm))
        strftime(when, sizeof when, "%Y-%m-%d %H:%M", &tm);
    snprintf(sentence, sizeof sentence,
             "Removed from the cache: %" PRIu64 " KiB, last watched %s (%.20s)", e->octets / 1024,
             when, e->name);
    cli_session_say(ctx, "evicted", sentence,
                    json_pack("{s:s, s:I, s:I}", "content", e->name, "octets",
                              (json_int_t)e->octets, "watched", (json_int_t)e->watched));
}

static void say_over(struct cli_session *c, const struct io_cache_use *use) {
    char sentence[160];
    bool over = use->octets > c->cache.limit;
    if (over && !c->cache.said_over) {
        snprintf(sentence, sizeof sentence,
                 "The cache holds %" PRIu64 " KiB, its limit is %" PRIu64
                 " KiB: what is played now is not removed",
                 use->octets / 1024, c->cache.limit / 1024);
        cli_session_say(c, "cache_over", sentence,
                        json_pack("{s:I, s:I}", "used", (json_int_t)use->octets, "limit",
                                  (json_int_t)c->cache.limit));
    }
    c->cache.said_over = over;
}

void cli_cache_trim(struct cli_session *c) {
    struct io_cache_use use = {.octets = 0};
    struct io_why why = {.text = ""};
    if (c->s->verb & (CLI_RELAY | CLI_LIVE)) /* nothing is played there */
        return;
    c->cache.limit = c->s->cache_limit == UINT64_MAX ? io_cache_limit(c->state) : c->s->cache_limit;
    if (io_cache_trim(c->state, c->cache.limit, on_evicted, c, &use, &why) == CV_ERR_OK)
        say_over(c, &use);
    else
        fprintf(stderr, "culvert: the cache cannot be looked at: %s\n", why.text);
}

void cli_cache_tick(struct cli_session *c, cv_usec now) {
    bool grows = false;
    for (size_t i = 0; i < c->tasks_count; i++)
        grows |= c->tasks[i]->ops == &cli_fetch_ops;
    if (!grows || now < c->cache.next)
        return;
    c->cache.next = cv_usec_add(now, LOOK_EVERY);
    cli_cache_trim(c);
}

json_t *cli_cache_status(struct cli_session *c) {
    struct io_cache_use use;
    struct io_why why;
    if (io_cache_trim(c->state, UINT64_MAX, NULL, NULL, &use, &why) != CV_ERR_OK)
        return NULL;
    return json_pack("{s:I, s:I, s:i, s:I}", "used", (json_int_t)use.octets, "limit",
                     (json_int_t)c->cache.limit, "contents", (int)use.contents, "open",
                     (json_int_t)use.open);
}
