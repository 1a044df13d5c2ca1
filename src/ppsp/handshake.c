/*
 * The handshake (RFC 7574 sections 3.1.1 and 8.4): three datagrams, of which
 * the first two carry HANDSHAKE alone, because some peers drop them otherwise.
 * Whoever is called remembers a caller in a small fixed table until the third
 * datagram proves that the address is real; on any doubt it says nothing.
 */
#include <assert.h>
#include <string.h>

#include "ppsp/engine.h"

#define OUR_MESSAGES                                                                               \
    (1u << PPSP_MSG_HANDSHAKE | 1u << PPSP_MSG_DATA | 1u << PPSP_MSG_ACK | 1u << PPSP_MSG_HAVE |   \
     1u << PPSP_MSG_INTEGRITY | 1u << PPSP_MSG_REQUEST | 1u << PPSP_MSG_CANCEL |                   \
     1u << PPSP_MSG_CHOKE | 1u << PPSP_MSG_UNCHOKE)

#define BIT(code) (1u << (code))

/* ---- what we say ------------------------------------------------------------ */

/* Section 7.9: the unit and the width are those of the addressing method; all ones
 * when nothing is discarded, and what does not fit is as good. */
static uint64_t window_unit(const struct ppsp_swarm *s) {
    return s->config.addressing == PPSP_ADDRESSING_BYTE64 ? s->config.chunk_size : 1;
}

/* Where peers are named at all: by contacts where there are circuits, by certificates
 * where there is an authority, else plainly. */
static uint16_t pex_messages(const struct ppsp_swarm *s) {
    if (s->config.contacts)
        return 1u << PPSP_MSG_PEX_REQ | 1u << PPSP_MSG_PEX_CONTACT;
    if (!s->config.pex)
        return 0;
    return 1u << PPSP_MSG_PEX_REQ |
           (s->membership.authority ? 1u << PPSP_MSG_PEX_RESCERT
                                    : 1u << PPSP_MSG_PEX_RESV4 | 1u << PPSP_MSG_PEX_RESV6);
}

static uint64_t window_ones(const struct ppsp_swarm *s) {
    bool narrow = s->config.addressing == PPSP_ADDRESSING_CHUNK32 ||
                  s->config.addressing == PPSP_ADDRESSING_BIN32;
    return narrow ? UINT32_MAX : UINT64_MAX;
}

static uint64_t window_said(const struct ppsp_swarm *s) {
    uint64_t window = s->live->config.window, ones = window_ones(s);
    return window > ones / window_unit(s) ? ones : window * window_unit(s);
}

static uint64_t window_heard(const struct ppsp_swarm *s, const struct ppsp_options *o) {
    if (!ppsp_options_has(o, PPSP_OPT_DISCARD_WINDOW) || o->discard_window == window_ones(s))
        return PPSP_WINDOW_ALL;
    return o->discard_window / window_unit(s);
}

/* The swarm ID goes into replies too, and supported messages before the chunk
 * size: peers of draft 10 of the protocol insist on both. */
static void write_handshake(struct cv_wr *w, const struct ppsp_swarm *s, uint32_t to, uint32_t from,
                            bool initiator) {
    const struct ppsp_swarm_config *c = &s->config;
    struct ppsp_options o = {
        .present = BIT(PPSP_OPT_VERSION) | BIT(PPSP_OPT_SWARM_ID) | BIT(PPSP_OPT_INTEGRITY) |
                   BIT(PPSP_OPT_HASH) | BIT(PPSP_OPT_ADDRESSING) | BIT(PPSP_OPT_MESSAGES) |
                   BIT(PPSP_OPT_CHUNK_SIZE) | (initiator ? BIT(PPSP_OPT_MIN_VERSION) : 0),
        .version = PPSP_VERSION,
        .min_version = PPSP_VERSION,
        .swarm_id = c->id,
        .swarm_id_len = (uint16_t)c->id_len,
        .integrity = (uint8_t)c->integrity,
        .hash = (uint8_t)c->hash,
        .addressing = (uint8_t)c->addressing,
        .messages = (uint16_t)(OUR_MESSAGES | pex_messages(s)),
        .chunk_size = c->chunk_size,
    };
    if (c->integrity == PPSP_INTEGRITY_NONE) /* nothing is hashed */
        o.present &= ~BIT(PPSP_OPT_HASH);
    if (s->live) {
        o.present |= BIT(PPSP_OPT_SIGNATURE) | BIT(PPSP_OPT_DISCARD_WINDOW);
        o.signature = c->id[0];
        o.discard_window = window_said(s);
        o.messages |= (uint16_t)(1u << PPSP_MSG_SIGNED_INTEGRITY);
    }
    cv_wr_be32(w, to);
    ppsp_handshake_begin(w, from);
    ppsp_options_write(w, &o);
}

/* ---- what we accept --------------------------------------------------------- */

/* RFC 6709 section 4.1: a range of versions, ours must be in it. Option 0 is the
 * highest one; who answers need not say the lowest (section 7.3), and it answers
 * because ours is among its own. */
static bool version_ok(const struct ppsp_options *o) {
    uint8_t min = ppsp_options_has(o, PPSP_OPT_MIN_VERSION) ? o->min_version : PPSP_VERSION;
    return ppsp_options_has(o, PPSP_OPT_VERSION) && min <= PPSP_VERSION &&
           o->version >= PPSP_VERSION;
}

/* Section 7.7 and 7.9: both must be there, the algorithm that of the key. */
static bool live_ok(const struct ppsp_swarm *s, const struct ppsp_options *o) {
    uint32_t must = BIT(PPSP_OPT_SIGNATURE) | BIT(PPSP_OPT_DISCARD_WINDOW);
    return !s->live || ((o->present & must) == must && o->signature == s->config.id[0]);
}

/* Section 7.6: demanded with a Merkle tree only. That of a live tree is in the
 * link, so it may be missing; without a tree it means nothing. */
static bool hash_ok(const struct ppsp_swarm_config *c, const struct ppsp_options *o) {
    if (c->integrity == PPSP_INTEGRITY_SIGN_ALL || c->integrity == PPSP_INTEGRITY_NONE)
        return true;
    if (!ppsp_options_has(o, PPSP_OPT_HASH))
        return c->integrity == PPSP_INTEGRITY_UNIFIED;
    return o->hash == c->hash;
}

/* Same metadata. DEVIATION 7574 7.11: a missing chunk size is taken as ours;
 * draft-10 peers never send it. */
static bool metadata_ok(const struct ppsp_swarm *s, const struct ppsp_options *o) {
    const struct ppsp_swarm_config *c = &s->config;
    uint32_t must = BIT(PPSP_OPT_INTEGRITY) | BIT(PPSP_OPT_ADDRESSING);
    if ((o->present & must) != must || o->integrity != c->integrity || !hash_ok(c, o) ||
        o->addressing != c->addressing)
        return false;
    if (ppsp_options_has(o, PPSP_OPT_CHUNK_SIZE) && o->chunk_size != c->chunk_size)
        return false;
    if (ppsp_options_has(o, PPSP_OPT_SWARM_ID) &&
        (o->swarm_id_len != c->id_len || memcmp(o->swarm_id, c->id, c->id_len) != 0))
        return false;
    return live_ok(s, o);
}

/* Who says nothing understands what the RFC has (section 7.10), and no more. */
static uint16_t messages_of(const struct ppsp_options *o) {
    return ppsp_options_has(o, PPSP_OPT_MESSAGES) ? o->messages : (1u << PPSP_MSG_PEX_CONTACT) - 1;
}

/* ---- being called ----------------------------------------------------------- */

static struct ppsp_swarm *swarm_by_id(struct ppsp *p, const struct ppsp_options *o) {
    uint8_t key[PPSP_ID_KEY];
    if (!ppsp_options_has(o, PPSP_OPT_SWARM_ID) || o->swarm_id_len > PPSP_ID_MAX ||
        o->swarm_id_len == 0)
        return NULL;
    ppsp_id_key(o->swarm_id, o->swarm_id_len, key);
    struct ppsp_swarm *s = cv_map_get(p->by_id, key);
    return s && s->config.id_len == o->swarm_id_len ? s : NULL;
}

/* The sender's address is not proven: who makes up calls costs us a look-up each, and
 * few of them at a time. */
static void tell_asked(struct ppsp *p, const struct cv_endpoint *from,
                       const struct ppsp_options *o) {
    struct ppsp_event ev = {.type = PPSP_EVENT_ASKED, .endpoint = *from};
    if (!p->config.tell_asked || from->kind != CV_ENDPOINT_UDP || p->asked_count == PPSP_ASKED ||
        !ppsp_options_has(o, PPSP_OPT_SWARM_ID) || o->swarm_id_len > PPSP_ID_MAX ||
        o->swarm_id_len == 0)
        return;
    memcpy(ev.id, o->swarm_id, o->swarm_id_len);
    ev.id_len = o->swarm_id_len;
    if (ppsp_event_push(p, &ev))
        p->asked_count++;
}

static void half_open_free(struct ppsp *p, struct ppsp_half_open *h) {
    p->half_open_due -= h->reply_due;
    *h = (struct ppsp_half_open){0};
}

/* The same call again, or a free place, or that of the oldest. */
static struct ppsp_half_open *half_open_for(struct ppsp *p, cv_usec now,
                                            const struct cv_endpoint *from,
                                            const struct ppsp_swarm *s, uint32_t remote) {
    struct ppsp_half_open *free_one = NULL, *oldest = &p->half_open[0];
    for (unsigned i = 0; i < PPSP_HALF_OPEN; i++) {
        struct ppsp_half_open *h = &p->half_open[i];
        if (h->swarm && cv_usec_since(now, h->at) > PPSP_HALF_OPEN_TIME)
            half_open_free(p, h);
        if (!h->swarm)
            free_one = free_one ? free_one : h;
        else if (h->swarm == s && h->remote == remote && cv_endpoint_equal(&h->endpoint, from))
            return h;
        else if (h->at < oldest->at)
            oldest = h;
    }
    if (free_one)
        return free_one;
    half_open_free(p, oldest);
    return oldest;
}

/* Section 12.6.1: strangers who call, however many, leave places for those that we call. */
static bool full_for_strangers(const struct ppsp_swarm *s) {
    uint32_t all = s->p->config.channels_max, ours = s->p->config.peers_max;
    return s->p->channels >= all - all / PPSP_KEPT || s->channel_count >= ours - ours / PPSP_KEPT;
}

static enum cv_err may_call(struct ppsp *p, cv_usec now, const struct cv_endpoint *from,
                            const struct ppsp_swarm *s, uint32_t remote) {
    struct ppsp_channel *c = ppsp_channel_find(p, from, s);
    if (!c && !(s->config.open && from->kind == CV_ENDPOINT_UDP && ppsp_swarm_meets(s, from))) {
        PPSP_COUNT(p, drop_handshake_swarm);
        return CV_ERR_DENIED;
    }
    if (ppsp_banned(p, from, now)) {
        PPSP_COUNT(p, drop_handshake_banned);
        return CV_ERR_DENIED;
    }
    if (!c && (full_for_strangers(s) || !ppsp_mtu_fits(s, ppsp_mtu_udp(s)))) {
        PPSP_COUNT(p, drop_handshake_full);
        return CV_ERR_LIMIT;
    }
    if (c && c->state == PPSP_PEER_OPEN && c->remote == remote) {
        PPSP_COUNT(p, drop_handshake_again); /* late copy of what we answered */
        return CV_ERR_EXIST;
    }
    if (c && c->state == PPSP_PEER_HANDSHAKING && c->local < remote) {
        PPSP_COUNT(p, drop_handshake_again); /* both called: the lower number wins */
        return CV_ERR_EXIST;
    }
    return CV_ERR_OK;
}

enum cv_err ppsp_handshake_in(struct ppsp *p, cv_usec now, const struct cv_endpoint *from,
                              struct cv_rd *r) {
    struct ppsp_options o;
    uint8_t type = cv_rd_u8(r);
    uint32_t remote = cv_rd_be32(r);
    /* A channel ID of 0 says goodbye; to channel 0 it means nothing. */
    enum cv_err err = r->err                                      ? r->err
                      : type != PPSP_MSG_HANDSHAKE || remote == 0 ? CV_ERR_MALFORMED
                                                                  : ppsp_options_read(r, &o);
    if (err) {
        PPSP_COUNT(p, drop_handshake_bad);
        return err;
    }
    struct ppsp_swarm *s = swarm_by_id(p, &o);
    if (!s) {
        tell_asked(p, from, &o);
        PPSP_COUNT(p, drop_handshake_swarm);
        return CV_ERR_NOENT;
    }
    err = may_call(p, now, from, s, remote);
    if (err)
        return err;
    if (!version_ok(&o) || !ppsp_options_has(&o, PPSP_OPT_MIN_VERSION) || !metadata_ok(s, &o)) {
        PPSP_COUNT(p, drop_handshake_differs);
        return CV_ERR_DIFFERS;
    }
    struct ppsp_half_open *h = half_open_for(p, now, from, s, remote);
    if (!h->swarm)
        *h = (struct ppsp_half_open){
            .endpoint = *from, .swarm = s, .local = ppsp_local_id(p), .remote = remote, .at = now};
    h->messages = messages_of(&o);
    h->window = window_heard(s, &o);
    p->half_open_due += !h->reply_due;
    h->reply_due = true;
    return CV_ERR_OK;
}

bool ppsp_handshake_replies(struct ppsp *p, cv_usec now, struct cv_batch *b) {
    (void)now;
    for (unsigned i = 0; i < PPSP_HALF_OPEN && p->half_open_due; i++) {
        struct ppsp_half_open *h = &p->half_open[i];
        if (!h->reply_due)
            continue;
        uint8_t *at = cv_batch_slot(b);
        if (!at)
            return false;
        struct cv_wr w = cv_wr_init(at, cv_batch_room(b));
        write_handshake(&w, h->swarm, h->remote, h->local, false);
        h->reply_due = false;
        p->half_open_due--;
        if (w.err)
            continue;
        cv_batch_commit(b, &h->endpoint, (uint16_t)cv_wr_len(&w));
        PPSP_COUNT(p, datagrams_out);
    }
    return true;
}

struct ppsp_channel *ppsp_half_open_proven(struct ppsp *p, cv_usec now, uint32_t local,
                                           const struct cv_endpoint *from) {
    struct ppsp_half_open *h = NULL;
    for (unsigned i = 0; i < PPSP_HALF_OPEN && !h; i++)
        if (p->half_open[i].swarm && p->half_open[i].local == local)
            h = &p->half_open[i];
    if (!h) {
        PPSP_COUNT(p, drop_channel);
        return NULL;
    }
    if (!cv_endpoint_equal(&h->endpoint, from)) {
        PPSP_COUNT(p, drop_endpoint);
        return NULL;
    }
    struct ppsp_half_open was = *h;
    half_open_free(p, h);
    struct ppsp_channel *c = ppsp_channel_find(p, from, was.swarm);
    if (!c && was.swarm->config.open && from->kind == CV_ENDPOINT_UDP &&
        !full_for_strangers(was.swarm))
        c = ppsp_channel_new(was.swarm, now, from, ppsp_mtu_udp(was.swarm), false);
    if (!c) {
        PPSP_COUNT(p, drop_handshake_full);
        return NULL;
    }
    ppsp_channel_up(c, now, was.local, was.remote, was.messages);
    c->their_window = was.window;
    c->called_us = true;
    c->confirm_due = true; /* the caller waits for a word, or it says this again and again */
    return c->state == PPSP_PEER_OPEN ? c : NULL;
}

void ppsp_half_open_forget(struct ppsp *p, const struct ppsp_swarm *s) {
    for (unsigned i = 0; i < PPSP_HALF_OPEN; i++)
        if (p->half_open[i].swarm == s)
            half_open_free(p, &p->half_open[i]);
}

/* ---- calling ---------------------------------------------------------------- */

bool ppsp_handshake_call(struct ppsp_channel *c, cv_usec now, struct cv_batch *b) {
    if (c->local == 0) { /* there was no memory for an ID */
        ppsp_channel_call(c, now);
        if (c->local == 0) {
            c->retry_at = cv_usec_add(now, PPSP_HANDSHAKE_RETRY);
            return true;
        }
    }
    uint8_t *at = cv_batch_slot(b);
    if (!at)
        return false;
    uint16_t room = cv_batch_room(b) < c->mtu ? cv_batch_room(b) : c->mtu;
    struct cv_wr w = cv_wr_init(at, room);
    write_handshake(&w, c->swarm, 0, c->local, true);
    assert(!w.err);
    ppsp_commit(c, now, b, cv_wr_len(&w));
    c->retried |= c->retry_at != c->called_at;
    c->retry_at = cv_usec_add(now, c->retry_wait);
    c->retry_wait = cv_usec_min(c->retry_wait * 2, PPSP_HANDSHAKE_RETRY_MAX);
    return true;
}

enum cv_err ppsp_handshake_answer(struct ppsp_channel *c, cv_usec now, struct cv_rd *r) {
    struct ppsp *p = c->swarm->p;
    struct ppsp_options o;
    uint32_t remote = cv_rd_be32(r);
    enum cv_err err = r->err ? r->err : ppsp_options_read(r, &o);
    if (err) {
        PPSP_COUNT(p, drop_handshake_bad);
        if (c->state == PPSP_PEER_OPEN)
            ppsp_channel_down(c, now, CV_ERR_MALFORMED, true);
        return err;
    }
    if (remote == 0) { /* goodbye, or a version we do not speak */
        ppsp_channel_down(c, now, CV_ERR_CLOSED, false);
        return CV_ERR_CLOSED;
    }
    if (c->state == PPSP_PEER_OPEN) {
        PPSP_COUNT(p, drop_handshake_again); /* the answer once more */
        return CV_ERR_EXIST;
    }
    if (!version_ok(&o) || !metadata_ok(c->swarm, &o)) {
        PPSP_COUNT(p, drop_handshake_differs);
        c->remote = remote;
        c->state = PPSP_PEER_OPEN; /* so that it can be told: section 3.1.1, item 4 */
        c->swarm->open_count++;
        ppsp_channel_down(c, now, CV_ERR_DIFFERS, true);
        return CV_ERR_DIFFERS;
    }
    if (!c->retried)
        ppsp_channel_rtt(c, cv_usec_since(now, c->called_at));
    ppsp_channel_up(c, now, c->local, remote, messages_of(&o));
    c->their_window = window_heard(c->swarm, &o);
    if (c->rtt)
        ppsp_ledbat_rtt(&c->cc, c->rtt);
    c->called_us = false;
    c->confirm_due = true; /* the peer waits for proof (section 12.1) */
    c->confirmed = false;
    c->retry_wait = PPSP_HANDSHAKE_RETRY;
    c->retry_at = cv_usec_add(now, c->retry_wait + c->rtt);
    return CV_ERR_OK;
}

bool ppsp_goodbyes_out(struct ppsp *p, struct cv_batch *b) {
    while (p->goodbye_count) {
        const struct ppsp_goodbye *g = &p->goodbyes[p->goodbye_count - 1];
        uint8_t *at = cv_batch_slot(b);
        if (!at)
            return false;
        struct cv_wr w = cv_wr_init(at, cv_batch_room(b));
        cv_wr_be32(&w, g->remote);
        ppsp_handshake_close(&w);
        assert(!w.err);
        cv_batch_commit(b, &g->endpoint, (uint16_t)cv_wr_len(&w));
        PPSP_COUNT(p, datagrams_out);
        p->goodbye_count--;
    }
    return true;
}
