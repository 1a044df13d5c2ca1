#include <assert.h>
#include <errno.h>
#include <stdalign.h>
#include <string.h>

#include "io/udp_priv.h"

/*
 * A send is a window of messages over the batch: each message is a run that
 * the kernel segments, or one datagram. The batch is consumed from its front
 * as messages are accepted, so that after AGAIN it holds exactly the rest.
 */
enum { IOVS = 4 * IO_SEND_MESSAGES };

static_assert(IOVS >= CV_RUN_MAX, "a whole run fits");

struct window {
    unsigned used, iovs_used;
    struct mmsghdr msgs[IO_SEND_MESSAGES];
    union io_sockaddr names[IO_SEND_MESSAGES];
    struct {
        alignas(struct cmsghdr) char octets[CMSG_SPACE(sizeof(uint16_t))];
    } controls[IO_SEND_MESSAGES];
    struct iovec iovs[IOVS];
};

/* A message of datagrams first..first+count-1 of a run. */
static void add(struct window *w, const struct cv_batch *b, const struct cv_run *run,
                uint16_t first, uint16_t count) {
    struct msghdr *m = &w->msgs[w->used].msg_hdr;
    memset(&w->msgs[w->used], 0, sizeof w->msgs[w->used]);
    m->msg_name = &w->names[w->used];
    m->msg_namelen = io_sockaddr_from(&run->to.addr, &w->names[w->used]);
    m->msg_iov = &w->iovs[w->iovs_used];
    m->msg_iovlen = count;
    for (uint16_t i = 0; i < count; i++)
        w->iovs[w->iovs_used++] =
            (struct iovec){cv_batch_at(b, run, (uint16_t)(first + i)), run->size};
    if (count > 1) {
        m->msg_control = &w->controls[w->used];
        m->msg_controllen = sizeof w->controls[w->used];
        struct cmsghdr *c = CMSG_FIRSTHDR(m);
        c->cmsg_level = SOL_UDP;
        c->cmsg_type = UDP_SEGMENT;
        c->cmsg_len = CMSG_LEN(sizeof(uint16_t));
        memcpy(CMSG_DATA(c), &run->size, sizeof run->size);
    }
    w->used++;
}

/* Fills the window from the front of the batch; `single`: the first run may
 * not be segmented. */
static void fill(struct window *w, const struct io_udp *u, const struct cv_batch *b, bool single) {
    w->used = w->iovs_used = 0;
    for (uint32_t r = 0; r < b->runs_used; r++) {
        const struct cv_run *run = &b->runs[r];
        bool segment = u->stats.gso && !(single && r == 0) && run->size < IO_SEND_OCTETS;
        uint16_t most = (uint16_t)(segment ? IO_SEND_OCTETS / run->size : 1);
        for (uint16_t at = 0; at < run->count;) {
            uint16_t n = (uint16_t)(run->count - at) < most ? (uint16_t)(run->count - at) : most;
            if (w->used == IO_SEND_MESSAGES || w->iovs_used + n > IOVS)
                return;
            add(w, b, run, at, n);
            at = (uint16_t)(at + n);
        }
    }
}

/* Takes `n` datagrams from the front of the batch, all of one run. */
static void consume(struct cv_batch *b, uint32_t *front, uint16_t n) {
    struct cv_run *run = &b->runs[*front];
    assert(n <= run->count);
    run->first += n;
    run->count = (uint16_t)(run->count - n);
    if (run->count == 0)
        (*front)++;
}

static void sent(struct io_udp *u, const struct msghdr *m) {
    uint64_t octets = 0;
    for (size_t i = 0; i < m->msg_iovlen; i++)
        octets += m->msg_iov[i].iov_len;
    u->stats.datagrams_out += m->msg_iovlen;
    u->stats.octets_out += octets;
    if (m->msg_iovlen > 1) {
        u->stats.runs_segmented++;
        u->refusals = 0;
    }
}

/* What an error means for the first message of a window. */
enum verdict { RETRY, WAIT, SINGLY, DROP };

static enum verdict judge(struct io_udp *u, int error, const struct msghdr *m) {
    if (error == EINTR)
        return RETRY;
    if (error == EAGAIN || error == EWOULDBLOCK)
        return WAIT;
    bool segmented = m->msg_iovlen > 1;
    if (segmented && (error == EIO || error == EINVAL || error == ENOPROTOOPT ||
                      error == EOPNOTSUPP || error == EMSGSIZE)) {
        u->stats.runs_refused++;
        if (++u->refusals >= IO_GSO_REFUSALS)
            u->stats.gso = false;
        return SINGLY;
    }
    return DROP; /* no route, too long, a firewall, no buffers: as if lost on the way */
}

enum cv_err io_udp_send(struct io_udp *u, struct cv_batch *batch) {
    struct window w;
    bool single = false; /* the run in front may not be segmented */
    enum cv_err result = CV_ERR_OK;

    while (batch->runs_used > 0 && result == CV_ERR_OK) {
        assert(batch->runs[0].to.kind == CV_ENDPOINT_UDP);
        fill(&w, u, batch, single);
        int n = sendmmsg(u->fd, w.msgs, w.used, MSG_DONTWAIT | MSG_NOSIGNAL);
        int error = errno;
        u->stats.calls_out++;

        uint32_t front = 0; /* runs that are done with */
        for (int i = 0; i < n; i++) {
            sent(u, &w.msgs[i].msg_hdr);
            consume(batch, &front, (uint16_t)w.msgs[i].msg_hdr.msg_iovlen);
        }
        enum verdict verdict = n < 0 ? judge(u, error, &w.msgs[0].msg_hdr) : RETRY;
        if (verdict == WAIT)
            result = CV_ERR_AGAIN;
        if (verdict == DROP) {
            u->stats.dropped_out += w.msgs[0].msg_hdr.msg_iovlen;
            consume(batch, &front, (uint16_t)w.msgs[0].msg_hdr.msg_iovlen);
        }
        single = verdict == SINGLY || (single && front == 0);
        batch->runs_used -= front;
        memmove(batch->runs, batch->runs + front, batch->runs_used * sizeof *batch->runs);
    }
    if (result == CV_ERR_OK)
        cv_batch_clear(batch);
    return result;
}
