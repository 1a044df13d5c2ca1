#include "cli/quota.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/session.h"
#include "io/clock.h"

enum { HEADERS_4 = 28, HEADERS_6 = 48 };
/* What a kill -9 makes it forget: what a minute carries, and no more than a thousandth
 * of the cap and what came between two ticks, a second apart. */
#define SAVE_EVERY CV_SEC(60)
enum { SAVE_PART = 1000 };

bool cli_quota_parse(const char *text, struct cli_quota_rule *ret) {
    char size[32];
    const char *slash = strchr(text, '/');
    struct cli_quota_rule rule = {.octets = 0};
    if (!slash || (size_t)(slash - text) >= sizeof size)
        return false;
    memcpy(size, text, (size_t)(slash - text));
    size[slash - text] = 0;
    if (!cli_size_parse(size, &rule.octets) || !rule.octets)
        return false;
    if (!cli_period_of(slash + 1, &rule.period))
        return false;
    *ret = rule;
    return true;
}

/* Of all sockets since the start, with the headers that a provider counts. */
static uint64_t carried(const struct cli_session *c) {
    uint64_t all = 0;
    for (enum node_socket i = NODE_SOCKET_MAIN; i < NODE_SOCKETS; i++) {
        for (unsigned end = 0; end < IO_SOCKET_ENDS; end++) {
            struct io_udp_stats u = io_host_stats(c->host, i, end);
            uint64_t headers = io_host_bound(c->host, i, end).family == 6 ? HEADERS_6 : HEADERS_4;
            all += u.octets_in + u.octets_out + headers * (u.datagrams_in + u.datagrams_out);
        }
    }
    return all;
}

static void save(struct cli_session *c) {
    uint8_t buf[CLI_TALLY_OCTETS];
    struct io_why why;
    cli_tally_write(&c->quota.tally, buf);
    c->quota.saved = c->quota.tally.used;
    bool failed = io_state_write(c->state, "quota", buf, sizeof buf, &why) != CV_ERR_OK;
    if (failed && !c->quota.unsaved) /* not every minute of a month */
        fprintf(stderr, "culvert: %s; until then a restart forgets what is used of the data cap\n",
                why.text);
    c->quota.unsaved = failed;
}

/* In the period that the clock names from now on. */
static void turn(struct cli_session *c, int64_t wall) {
    struct cli_quota *q = &c->quota;
    int64_t was = q->tally.began, began = cli_period_begin(q->rule.period, wall);
    char text[200], then[32], now[32];
    time_t later = (time_t)was, here = (time_t)wall;
    struct tm tm;
    if (began == was)
        return;
    if (cli_tally_turn(&q->tally, began)) {
        strftime(then, sizeof then, "%Y-%m-%d", gmtime_r(&later, &tm));
        strftime(now, sizeof now, "%Y-%m-%d", gmtime_r(&here, &tm));
        snprintf(text, sizeof text,
                 "The data cap was counted in the %s from %s on, and this machine's clock says "
                 "%s: what was used counts in this %s (UTC)",
                 cli_period_name(q->rule.period), then, now, cli_period_name(q->rule.period));
        cli_session_say(c, "data_cap_clock", text,
                        json_pack("{s:I, s:I, s:I}", "counted", (json_int_t)was, "now",
                                  (json_int_t)began, "used", (json_int_t)q->tally.used));
    }
    save(c);
}

enum { END_TEXT = 40 };

/* When this is over. */
static const char *end_of(const struct cli_quota *q, char ret[END_TEXT]) {
    time_t end = (time_t)cli_period_end(q->rule.period, q->tally.began);
    struct tm tm;
    if (q->tally.began <= 0)
        snprintf(ret, END_TEXT, "its end, once the clock is set");
    else
        strftime(ret, END_TEXT, "%Y-%m-%d %H:%M UTC", gmtime_r(&end, &tm));
    return ret;
}

static void say(struct cli_session *c) {
    const struct cli_quota *q = &c->quota;
    char text[160], until[END_TEXT];
    if (q->spent)
        snprintf(text, sizeof text, "The data cap of this %s is used up: carrying nobody until %s",
                 cli_period_name(q->rule.period), end_of(q, until));
    else
        snprintf(text, sizeof text, "A new %s: carrying others again",
                 cli_period_name(q->rule.period));
    cli_session_say(c, q->spent ? "data_cap_used" : "data_cap_renewed", text,
                    json_pack("{s:I, s:I}", "used", (json_int_t)q->tally.used, "cap",
                              (json_int_t)q->rule.octets));
}

/* Used up, or a new period: nobody, or everybody again. */
static void judge(struct cli_session *c) {
    struct cli_quota *q = &c->quota;
    bool spent = q->tally.used >= q->rule.octets;
    if (spent == q->spent)
        return;
    q->spent = spent;
    struct node *n = io_host_node(c->host);
    node_drain(n, io_host_now(c->host), spent || c->drain_until);
    if (spent)
        node_drop_circuits(n, io_host_now(c->host));
    io_host_kick(c->host);
    say(c);
    save(c);
}

/* Nobody knows what is left of a cap that somebody may pay for: nothing, until he says so. */
static void damaged(struct cli_session *c, int64_t wall) {
    struct cli_quota *q = &c->quota;
    const char *period = cli_period_name(q->rule.period);
    char text[sizeof(struct io_why)], until[END_TEXT];
    q->tally =
        (struct cli_tally){.began = cli_period_begin(q->rule.period, wall), .used = q->rule.octets};
    snprintf(text, sizeof text,
             "%.250s/quota: damaged: what was used of the data cap is not known, so all of this "
             "%s's counts as used, until %s; to carry others before, stop the relay, delete "
             "the file and start it with what is left as --data-cap",
             io_state_path(c->state), period, end_of(q, until));
    cli_session_say(c, "data_cap_unknown", text, json_pack("{s:o}", "text", cli_json_text(text)));
}

enum cv_err cli_quota_open(struct cli_session *c, const char *text, struct io_why *why) {
    struct cli_quota *q = &c->quota;
    struct cli_quota_rule rule;
    uint8_t buf[CLI_TALLY_OCTETS];
    size_t len = 0;
    int64_t wall = io_clock_now().wall;
    if (!text || !cli_quota_parse(text, &rule))
        return CV_ERR_OK;
    enum cv_err err = io_state_read(c->state, "quota", buf, sizeof buf, &len, why);
    if (err && err != CV_ERR_NOENT && err != CV_ERR_LIMIT)
        return err; /* and without a rule nothing is written over it */
    q->rule = rule;
    if (err == CV_ERR_NOENT) {
        q->tally.began = cli_period_begin(rule.period, wall);
        return CV_ERR_OK;
    }
    if (err || cli_tally_read(buf, len, &q->tally) != CV_ERR_OK)
        damaged(c, wall);
    else /* It may have been another kind of period. */
        q->tally.began = cli_period_begin(rule.period, q->tally.began);
    q->saved = q->tally.used;
    turn(c, wall);
    judge(c);
    return CV_ERR_OK;
}

void cli_quota_tick(struct cli_session *c) {
    struct cli_quota *q = &c->quota;
    struct cv_now now = io_clock_now();
    if (!q->rule.octets)
        return;
    uint64_t all = carried(c);
    q->tally.used += all - q->seen;
    q->seen = all;
    turn(c, now.wall);
    judge(c);
    if (cv_usec_since(now.mono, q->saved_at) >= SAVE_EVERY ||
        q->tally.used - q->saved > q->rule.octets / SAVE_PART) {
        q->saved_at = now.mono;
        save(c);
    }
}

void cli_quota_close(struct cli_session *c) {
    if (!c->quota.rule.octets || !c->host)
        return;
    cli_quota_tick(c);
    save(c);
}
