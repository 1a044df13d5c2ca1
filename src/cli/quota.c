#include "cli/quota.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cursor.h"
#include "cli/session.h"
#include "io/clock.h"

enum { FILE_OCTETS = 1 + 8 + 8, FILE_VERSION = 1, HEADERS_4 = 28, HEADERS_6 = 48 };
/* What a kill -9 makes it forget: what a minute carries, and no more than a thousandth
 * of the cap. */
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
    uint8_t buf[FILE_OCTETS];
    struct io_why why;
    struct cv_wr w = cv_wr_init(buf, sizeof buf);
    cv_wr_u8(&w, FILE_VERSION);
    cv_wr_le64(&w, (uint64_t)c->quota.began);
    cv_wr_le64(&w, c->quota.used);
    c->quota.saved = c->quota.used;
    if (io_state_write(c->state, "quota", buf, sizeof buf, &why) != CV_ERR_OK)
        fprintf(stderr, "culvert: %s\n", why.text);
}

static void say(struct cli_session *c) {
    const struct cli_quota *q = &c->quota;
    char text[160], until[32];
    time_t end = (time_t)cli_period_end(q->rule.period, q->began);
    struct tm tm;
    strftime(until, sizeof until, "%Y-%m-%d %H:%M", gmtime_r(&end, &tm));
    if (q->spent)
        snprintf(text, sizeof text,
                 "The data cap of this %s is used up: carrying nobody until %s UTC",
                 cli_period_name(q->rule.period), until);
    else
        snprintf(text, sizeof text, "A new %s: carrying others again",
                 cli_period_name(q->rule.period));
    cli_session_say(
        c, q->spent ? "data_cap_used" : "data_cap_renewed", text,
        json_pack("{s:I, s:I}", "used", (json_int_t)q->used, "cap", (json_int_t)q->rule.octets));
}

/* Used up, or a new period: nobody, or everybody again. */
static void judge(struct cli_session *c) {
    struct cli_quota *q = &c->quota;
    bool spent = q->used >= q->rule.octets;
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

void cli_quota_open(struct cli_session *c, const char *text) {
    struct cli_quota *q = &c->quota;
    uint8_t buf[FILE_OCTETS];
    size_t len = 0;
    struct io_why why;
    if (!text || !cli_quota_parse(text, &q->rule))
        return;
    q->began = cli_period_begin(q->rule.period, io_clock_now().wall);
    if (io_state_read(c->state, "quota", buf, sizeof buf, &len, &why) != CV_ERR_OK)
        return;
    struct cv_rd r = cv_rd_init(buf, len);
    uint8_t version = cv_rd_u8(&r);
    int64_t began = (int64_t)cv_rd_le64(&r);
    uint64_t used = cv_rd_le64(&r);
    if (!r.err && version == FILE_VERSION && began >= q->began) {
        q->began = began; /* a clock that was set back, or is not set yet, does not give it again */
        q->used = q->saved = used;
    }
    judge(c);
}

void cli_quota_tick(struct cli_session *c) {
    struct cli_quota *q = &c->quota;
    struct cv_now now = io_clock_now();
    if (!q->rule.octets)
        return;
    uint64_t all = carried(c);
    q->used += all - q->seen;
    q->seen = all;
    int64_t began = cli_period_begin(q->rule.period, now.wall);
    if (began > q->began) {
        q->began = began;
        q->used = q->saved = 0;
    }
    judge(c);
    if (cv_usec_since(now.mono, q->saved_at) >= SAVE_EVERY ||
        q->used - q->saved > q->rule.octets / SAVE_PART) {
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
