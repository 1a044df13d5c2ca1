#include <event2/event.h>
#include <event2/http.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "gateway/hls.h"
#include "gateway/media.h"
#include "gateway/reply.h"
#include "io/clock.h"
#include "io/loop.h"
#include "support/suite.h"
#include "ts_maker.h"

CV_SUITE(gw_hls);

enum { SWARM = 7, GROUP = 25, FRAME = GW_TS_CLOCK / 25 };

/* ---- a node with one broadcast ------------------------------------------------------- */

static struct {
    uint64_t have, length, read; /* octets there, announced, read in this turn */
    bool closed;
} broadcast;

static struct io_loop *loop;

struct node *io_host_node(struct io_host *h) {
    (void)h;
    return NULL;
}

struct io_loop *io_host_loop(struct io_host *h) {
    (void)h;
    return loop;
}

struct cv_now io_host_now(struct io_host *h) {
    (void)h;
    return io_clock_now();
}

bool node_live_span(const struct node *n, cv_handle swarm, uint64_t *ret_first, uint64_t *ret_end) {
    (void)n;
    *ret_first = 0;
    *ret_end = broadcast.length;
    return swarm == SWARM;
}

bool node_range(struct node *n, cv_handle swarm, uint64_t offset, uint64_t *ret_first,
                uint64_t *ret_last) {
    (void)n;
    *ret_first = offset;
    *ret_last = broadcast.have - 1;
    return swarm == SWARM && offset < broadcast.have;
}

static uint8_t stream_type; /* 0: no transport stream */
static bool keyless;

/* A second of video: tables, a key frame, others. */
static void write_second(struct ts_maker *m, uint64_t second, uint8_t type) {
    m->len = 0;
    ts_association(m);
    ts_map(m, type, 0);
    for (uint64_t i = 0; i < GROUP; i++)
        ts_picture(m, TS_VIDEO, second * GW_TS_CLOCK + i * FRAME, i == 0 && !keyless, NULL, 0);
}

enum { SECOND = (2 + GROUP) * GW_TS_PACKET };

ssize_t node_read(struct node *n, cv_handle swarm, uint64_t offset, uint8_t *buf, size_t len) {
    static struct ts_maker m;
    (void)n;
    if (swarm != SWARM || broadcast.closed)
        return CV_ERR_NOENT;
    if (offset >= broadcast.have)
        return CV_ERR_AGAIN;
    uint64_t left = broadcast.have - offset, in = offset % SECOND;
    size_t most = stream_type ? SECOND - (size_t)in : len;
    len = len < most ? len : most;
    len = len < left ? len : (size_t)left;
    if (stream_type) {
        write_second(&m, offset / SECOND, stream_type);
        memcpy(buf, m.data + in, len);
    } else {
        memset(buf, 0x1a, len); /* as Matroska begins, and no packet does */
    }
    broadcast.read += len;
    return (ssize_t)len;
}

/* ---- its playlist, asked for over HTTP ---------------------------------------------- */

static struct gw_hls *hls;
static bool asked;

static size_t refused; /* requests for which there was no room */

static void send_part(void *ctx, struct evhttp_request *req, cv_handle swarm, uint64_t first,
                      uint64_t end) {
    char text[64];
    cr_assert(ctx == &hls && swarm == SWARM);
    snprintf(text, sizeof text, "octets %llu-%llu\n", (unsigned long long)first,
             (unsigned long long)end);
    gw_answer(req, "text/plain", text, strlen(text));
}

/* /: the playlist. /until/SEGMENT/PART: one that names that. /part/FIRST. */
static void on_request(struct evhttp_request *req, void *ctx) {
    (void)ctx;
    asked = true;
    const char *uri = evhttp_request_get_uri(req);
    bool part = strncmp(uri, "/part/", 6) == 0;
    struct gw_hls_until until = {.any = strncmp(uri, "/until/", 7) != 0};
    char *end = NULL;
    if (!until.any)
        until.segment = strtoull(uri + 7, &end, 10);
    if (end)
        until.part = strtoll(end + 1, NULL, 10);
    bool taken = part ? gw_hls_part(hls, req, SWARM, strtoull(uri + 6, NULL, 10), send_part, &hls)
                      : gw_hls_playlist(hls, req, SWARM, UINT64_MAX, "", &until);
    refused += !taken;
    if (!taken)
        gw_refuse(req, 503, "Too many players");
}

static struct evhttp *http;
static struct sockaddr_in at = {.sin_family = AF_INET};
static int player = -1;

static int ask_for(const char *path) {
    char text[128];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(connect(fd, (struct sockaddr *)&at, sizeof at) == 0);
    int n = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    cr_assert(write(fd, text, (size_t)n) == n);
    return fd;
}

static void open_all(uint8_t type, uint64_t have) {
    socklen_t len = sizeof at;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    stream_type = type;
    broadcast.have = broadcast.length = have;
    loop = io_loop_new();
    hls = gw_hls_new(NULL);
    http = evhttp_new(io_loop_base(loop));
    struct evhttp_bound_socket *b = evhttp_bind_socket_with_handle(http, "127.0.0.1", 0);
    cr_assert(b && getsockname(evhttp_bound_socket_get_fd(b), (struct sockaddr *)&at, &len) == 0);
    evhttp_set_gencb(http, on_request, NULL);
    player = ask_for("/");
    while (!asked) {
        broadcast.read = 0;
        io_loop_turn(loop, true);
    }
}

static void close_all(void) {
    close(player);
    gw_hls_free(hls);
    evhttp_free(http);
    io_loop_free(loop);
}

static void nothing(void *ctx) {
    (void)ctx;
}

/* What `fd` is told until there is that in it; NULL: within some turns of the loop. */
static const char *told(int fd, const char *until) {
    static char text[1 << 16];
    size_t n = 0;
    struct io_timer *tick = io_timer_new(loop, nothing, NULL);
    text[0] = 0;
    for (size_t i = 0; i < (until ? 20000 : 20) && !(until && strstr(text, until)); i++) {
        broadcast.read = 0;
        io_timer_at(tick, 0, CV_MSEC(1));
        io_loop_turn(loop, true);
        cr_expect_leq(broadcast.read, GW_HLS_TURN + GW_PIECE, "%llu in one turn",
                      (unsigned long long)broadcast.read);
        ssize_t got = recv(fd, text + n, sizeof text - 1 - n, MSG_DONTWAIT);
        n += got > 0 ? (size_t)got : 0;
        text[n] = 0;
    }
    io_timer_free(tick);
    return text;
}

static const char *answer(const char *until) {
    return told(player, until);
}

static void come(uint64_t octets) {
    broadcast.have += octets;
    broadcast.length = broadcast.have;
    gw_hls_ready(hls, SWARM);
}

Test(gw_hls, a_whole_window_is_read_in_many_turns) {
    open_all(0x1b, 3 * (uint64_t)GW_HLS_TURN / SECOND * SECOND);
    cr_expect_leq(broadcast.read, GW_HLS_TURN + GW_PIECE);
    /* It was whole when it was said. */
    char last[64];
    uint64_t end = broadcast.have - SECOND + 2 * GW_TS_PACKET;
    snprintf(last, sizeof last, "-%llu.ts\n", (unsigned long long)end);
    const char *text = answer(last);
    cr_expect(strstr(text, "200 OK") && strstr(text, last), "%.80s", text);
    close_all();
}

Test(gw_hls, what_is_no_transport_stream_is_refused) {
    open_all(0, GW_HLS_TABLES_MAX - 1);
    cr_expect_str_empty(answer(NULL), "it may still become one");
    broadcast.have = broadcast.length = GW_HLS_TABLES_MAX;
    gw_hls_ready(hls, SWARM);
    const char *text = answer("\n415 ");
    cr_expect(strstr(text, " 415 ") && strstr(text, "MPEG-TS"), "%.80s", text);
    close_all();
}

Test(gw_hls, private_data_alone_is_refused) {
    open_all(0x06, GW_HLS_TABLES_MAX + SECOND);
    const char *text = answer("\n415 ");
    cr_expect(strstr(text, " 415 "), "%.80s", text);
    close_all();
}

Test(gw_hls, video_without_key_frames_is_refused) {
    keyless = true;
    open_all(0x02, GW_HLS_PICTURE_MAX - SECOND);
    cr_expect_str_empty(answer(NULL), "one may still come");
    broadcast.have = broadcast.length = GW_HLS_PICTURE_MAX;
    gw_hls_ready(hls, SWARM);
    const char *text = answer("\n415 ");
    cr_expect(strstr(text, " 415 "), "%.80s", text);
    close_all();
}

Test(gw_hls, the_playlist_ends_though_the_last_octets_are_lost) {
    open_all(0x1b, 2 * SECOND + SECOND / 2);
    cr_expect_str_empty(answer(NULL), "not enough yet");
    broadcast.length += 1000;
    gw_hls_ended(hls, SWARM, broadcast.length);
    for (size_t i = 0; i < GW_HLS_END_PATIENCE; i++)
        gw_hls_sweep(hls);
    cr_expect_str_empty(answer(NULL), "they may come");
    for (size_t i = 0; i < 2; i++)
        gw_hls_sweep(hls);
    char last[64];
    snprintf(last, sizeof last, "-%llu.ts\n#EXT-X-ENDLIST\n", (unsigned long long)broadcast.have);
    const char *text = answer(last);
    cr_expect(strstr(text, last), "%s", text);
    close_all();
}

enum { EIGHT = 8 * GW_TS_PACKET }; /* pictures of a part: 0.32 s */

Test(gw_hls, what_is_waited_for_is_sent_when_it_is_there) {
    open_all(0x1b, 4 * SECOND + 2 * GW_TS_PACKET + EIGHT); /* the ninth picture is to come */
    const char *text = answer("\n#EXT-X-PRELOAD-HINT");
    char hint[96];
    snprintf(hint, sizeof hint, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p%u.ts\"\n",
             4 * SECOND + 2 * GW_TS_PACKET);
    cr_assert(strstr(text, hint), "%s", text);
    snprintf(hint, sizeof hint, "/part/%u", 4 * SECOND + 2 * GW_TS_PACKET);
    int part = ask_for(hint), list = ask_for("/until/4/0"), whole = ask_for("/until/4/-1"),
        far = ask_for("/until/6/0"), old = ask_for("/until/0/99"), none = ask_for("/part/3");
    cr_expect(strstr(told(far, "\n400"), " 400 "));
    cr_expect(strstr(told(old, hint + 6), " 200 "));
    cr_expect(strstr(told(none, "\n404"), " 404 "));
    cr_expect_str_empty(told(part, NULL));
    cr_expect_str_empty(told(list, NULL));
    come(GW_TS_PACKET);
    snprintf(hint, sizeof hint, "octets %u-%u\n", 4 * SECOND + 2 * GW_TS_PACKET,
             4 * SECOND + 2 * GW_TS_PACKET + EIGHT);
    text = told(part, hint);
    cr_expect(strstr(text, " 200 ") && strstr(text, hint), "%s", text);
    snprintf(hint, sizeof hint, "#EXT-X-PART:DURATION=0.32000,URI=\"p%u.ts\",INDEPENDENT=YES\n",
             4 * SECOND + 2 * GW_TS_PACKET);
    text = told(list, hint);
    cr_expect(strstr(text, hint), "%s", text);
    cr_expect_str_empty(told(whole, NULL), "its segment grows still");
    come(SECOND);
    text = told(whole, "#EXT-X-PRELOAD-HINT");
    cr_expect(strstr(text, " 200 "), "%s", text);
    const int all[] = {part, list, whole, far, old, none};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        close(all[i]);
    close_all();
}

Test(gw_hls, those_who_wait_do_not_pile_up) {
    int waits[GW_HLS_WAITING + 1];
    open_all(0x1b, 4 * SECOND + 3 * GW_TS_PACKET);
    answer("#EXT-X-PRELOAD-HINT");
    for (size_t i = 0; i < GW_HLS_WAITING; i++)
        waits[i] = ask_for("/until/4/0");
    cr_expect_str_empty(told(waits[0], NULL));
    cr_expect_str_empty(told(waits[GW_HLS_WAITING - 1], NULL));
    cr_expect_eq(refused, 0);
    waits[GW_HLS_WAITING] = ask_for("/part/1000000");
    cr_expect(strstr(told(waits[GW_HLS_WAITING], " 404 "), " 404 "), "waits for nothing");
    close(waits[GW_HLS_WAITING]);
    waits[GW_HLS_WAITING] = ask_for("/until/4/1");
    cr_expect(strstr(told(waits[GW_HLS_WAITING], " 503 "), " 503 "));
    cr_expect_eq(refused, 1);
    close(waits[GW_HLS_WAITING]);
    /* Who goes away makes room. */
    close(waits[0]);
    cr_expect_str_empty(told(waits[1], NULL));
    waits[0] = ask_for("/until/4/1");
    cr_expect_str_empty(told(waits[0], NULL));
    cr_expect_eq(refused, 1);
    /* Nothing more is broadcast: they are told. A segment was promised to last a second. */
    for (size_t i = 0; i < 4; i++)
        gw_hls_sweep(hls);
    for (size_t i = 0; i < GW_HLS_WAITING; i++) {
        cr_expect(strstr(told(waits[i], "stands still"), " 503 "), "%zu", i);
        close(waits[i]);
    }
    close_all();
}
