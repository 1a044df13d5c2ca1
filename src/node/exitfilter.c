#include "node/exitfilter.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/map.h"
#include "base/tokenbucket.h"
#include "crypto/siphash.h"
#include "node/limits.h"
#include "ppsp/message.h"
#include "ppsp/options.h"

/* Ports below are of services that are no peers. */
enum { PORT_MIN = 1024 };

/* All octets count as keys. */
struct name_key {
    cv_handle hop;
    uint64_t flow;
};

struct place_key {
    struct cv_addr to;
    uint32_t port; /* ours */
};

/* Channels of one exchange. The peer is told `outer` in place of `owner`: drawn here,
 * so that the owner has nothing to tell an accomplice who would answer in the name of
 * somebody who never did. `theirs` are the newest two that the peer named: it may
 * have answered a call and its repetition differently. 0: none. */
struct exchange {
    uint32_t owner, outer, theirs[2];
};

struct flow {
    struct exit_name name;
    struct cv_addr to;
    unsigned port;
    struct exchange calling, holds; /* a call without an answer; what was answered */
    cv_usec opened_at, said_at, heard_at;
    struct cv_tokenbucket out, in;
    bool used;
};

/* Unanswered calls in a window: to an address, or to a host (port 0). */
struct called {
    struct cv_addr to;
    cv_usec since; /* when the window began */
    uint32_t calls;
};

/* What a circuit may do besides its flows. */
struct owner {
    cv_handle hop;
    uint32_t flows;
    cv_usec at; /* last used */
    struct cv_tokenbucket opens, calls;
};

struct exit_filter {
    struct exit_config cfg;
    struct cv_addr own[NODE_EXIT_OWN_MAX];
    uint8_t hash_key[CV_SIPHASH_KEY];
    struct flow *flows; /* NODE_EXIT_FLOWS_MAX */
    struct called *called;
    struct owner *owners;
    struct cv_map *by_name, *by_place, *by_called, *by_hop;
    uint32_t flow_hand, called_hand, owner_hand; /* where the search for a free one goes on */
    struct cv_tokenbucket calls, out;
    const struct cv_rng *rng;
    cv_usec next;
    struct exit_counters count;
};

/* ---- life ---- */

struct exit_filter *exit_filter_free(struct exit_filter *f) {
    if (!f)
        return NULL;
    cv_map_free(f->by_name);
    cv_map_free(f->by_place);
    cv_map_free(f->by_called);
    cv_map_free(f->by_hop);
    free(f->flows);
    free(f->called);
    free(f->owners);
    free(f);
    return NULL;
}

struct exit_filter *exit_filter_new(const struct exit_config *cfg, const struct cv_rng *rng,
                                    struct cv_now now) {
    struct exit_filter *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    assert(cfg->ports >= 1);
    assert(cfg->ports <= NODE_EXITS);
    assert(cfg->own_count <= NODE_EXIT_OWN_MAX);
    f->cfg = *cfg;
    for (size_t i = 0; i < cfg->own_count; i++)
        f->own[i] = cfg->own[i];
    f->cfg.own = f->own;
    f->rng = rng;
    f->next = CV_USEC_NEVER;
    cv_rng_fill(rng, f->hash_key, sizeof f->hash_key);
    f->flows = calloc(NODE_EXIT_FLOWS_MAX, sizeof *f->flows);
    f->called = calloc(NODE_EXIT_CALLED_MAX, sizeof *f->called);
    f->owners = calloc(NODE_EXIT_OWNERS_MAX, sizeof *f->owners);
    f->by_name =
        cv_map_new(sizeof(struct name_key), NODE_EXIT_FLOWS_MAX, cv_siphash_map, f->hash_key);
    f->by_place =
        cv_map_new(sizeof(struct place_key), NODE_EXIT_FLOWS_MAX, cv_siphash_map, f->hash_key);
    f->by_called =
        cv_map_new(sizeof(struct cv_addr), NODE_EXIT_CALLED_MAX, cv_siphash_map, f->hash_key);
    f->by_hop = cv_map_new(sizeof(cv_handle), NODE_EXIT_OWNERS_MAX, cv_siphash_map, f->hash_key);
    if (!f->flows || !f->called || !f->owners || !f->by_name || !f->by_place || !f->by_called ||
        !f->by_hop)
        return exit_filter_free(f);
    cv_tokenbucket_init(&f->calls, NODE_EXIT_CALLS_S, 4 * NODE_EXIT_CALLS_S, now.mono);
    uint64_t rate = cfg->octets_s ? cfg->octets_s : UINT64_MAX;
    cv_tokenbucket_init(&f->out, rate, cfg->octets_s ? cfg->octets_s / 4 + 4096 : UINT64_MAX,
                        now.mono);
    return f;
}

const struct exit_counters *exit_filter_counters(const struct exit_filter *f) {
    return &f->count;
}

/* ---- whom an exit speaks to ---- */

bool exit_filter_may_call(const struct exit_filter *f, const struct cv_addr *to) {
    if (to->port < PORT_MIN || (to->family != 4 && to->family != 6))
        return false;
    /* The network we stand in trusts us more than it does a stranger. */
    struct cv_addr there = cv_addr_network(to, NODE_EXIT_OWN_BITS_4, NODE_EXIT_OWN_BITS_6);
    for (size_t i = 0; i < f->cfg.own_count; i++) {
        struct cv_addr here =
            cv_addr_network(&f->own[i], NODE_EXIT_OWN_BITS_4, NODE_EXIT_OWN_BITS_6);
        if (cv_addr_equal(&here, &there))
            return false;
    }
    if (f->cfg.scope == EXIT_SCOPE_LOOPBACK)
        return cv_addr_is_loopback(to);
    if (f->cfg.scope == EXIT_SCOPE_PRIVATE) /* any unicast; v4-mapped begins with 0 */
        return !cv_addr_is_loopback(to) && to->ip[0] != 0 && to->ip[0] != 0xff &&
               !(to->family == 4 && to->ip[0] >= 224);
    return cv_addr_is_public(to);
}

/* ---- finding ---- */

static struct flow *find(const struct exit_filter *f, const struct exit_name *name) {
    struct name_key key = {.hop = name->hop, .flow = name->flow};
    return cv_map_get(f->by_name, &key);
}

static struct flow *at_place(const struct exit_filter *f, const struct cv_addr *to, unsigned port) {
    struct place_key key = {.to = *to, .port = port};
    return cv_map_get(f->by_place, &key);
}

static void *free_slot(void *all, size_t size, uint32_t count, uint32_t *hand,
                       bool (*is_free)(const void *slot, cv_usec now), cv_usec now) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = (*hand + i) % count;
        void *slot = (uint8_t *)all + at * size;
        if (is_free(slot, now)) {
            *hand = (at + 1) % count;
            return slot;
        }
    }
    return NULL;
}

/* ---- budgets ---- */

static bool called_is_over(const void *slot, cv_usec now) {
    const struct called *c = slot;
    return !c->to.family || now >= c->since + NODE_EXIT_CALL_WINDOW;
}

/* One call more without an answer, in the minute that runs. False: nobody can be
 * remembered any more, which the budget of all calls does not let happen. */
static bool called_note(struct exit_filter *f, cv_usec now, const struct cv_addr *to) {
    struct called *c = cv_map_get(f->by_called, to);
    if (!c) {
        c = free_slot(f->called, sizeof *c, NODE_EXIT_CALLED_MAX, &f->called_hand, called_is_over,
                      now);
        if (!c)
            return false;
        if (c->to.family)
            cv_map_del(f->by_called, &c->to);
        *c = (struct called){.to = *to, .since = now};
        if (cv_map_put(f->by_called, &c->to, c)) {
            memset(c, 0, sizeof *c);
            return false;
        }
    } else if (!c->calls || called_is_over(c, now)) {
        c->since = now;
        c->calls = 0;
    }
    c->calls++;
    return true;
}
static_assert(NODE_EXIT_CALLED_MAX >= 2 * (60 + 4) * NODE_EXIT_CALLS_S, "all calls of a minute");

static bool called_too_often(const struct exit_filter *f, cv_usec now, const struct cv_addr *to,
                             uint32_t limit) {
    const struct called *c = cv_map_get(f->by_called, to);
    return c && !called_is_over(c, now) && c->calls >= limit;
}

static struct cv_addr host_of(const struct cv_addr *to) {
    return cv_addr_network(to, 32, 64);
}

static bool owner_is_idle(const void *slot, cv_usec now) {
    const struct owner *o = slot;
    return !o->hop || (!o->flows && now >= o->at + NODE_EXIT_CALL_WINDOW);
}

static struct owner *owner_find(struct exit_filter *f, cv_usec now, cv_handle hop) {
    struct owner *o = cv_map_get(f->by_hop, &hop);
    if (!o) {
        o = free_slot(f->owners, sizeof *o, NODE_EXIT_OWNERS_MAX, &f->owner_hand, owner_is_idle,
                      now);
        if (!o)
            return NULL;
        if (o->hop)
            cv_map_del(f->by_hop, &o->hop);
        *o = (struct owner){.hop = hop};
        cv_tokenbucket_init(&o->opens, NODE_EXIT_OPENS_S, NODE_EXIT_OPENS_BURST, now);
        cv_tokenbucket_init(&o->calls, NODE_EXIT_OWNER_CALLS_S, NODE_EXIT_OWNER_CALLS_BURST, now);
        if (cv_map_put(f->by_hop, &o->hop, o)) {
            memset(o, 0, sizeof *o);
            return NULL;
        }
    }
    o->at = now;
    return o;
}

/* One call more to where this flow goes. What was refused is not remembered. */
static bool take_call(struct exit_filter *f, cv_usec now, const struct flow *l) {
    struct cv_addr whole = host_of(&l->to);
    struct owner *o = owner_find(f, now, l->name.hop);
    if (!o || called_too_often(f, now, &l->to, NODE_EXIT_ADDRESS_CALLS) ||
        called_too_often(f, now, &whole, NODE_EXIT_HOST_CALLS))
        return false;
    if (!cv_tokenbucket_take(&o->calls, now, 1) || !cv_tokenbucket_take(&f->calls, now, 1))
        return false;
    return called_note(f, now, &l->to) && called_note(f, now, &whole);
}

/* Somebody is there and wants to talk: what was called in vain is forgiven. */
static void call_answered(struct exit_filter *f, const struct flow *l) {
    struct cv_addr whole = host_of(&l->to);
    struct called *there = cv_map_get(f->by_called, &l->to);
    struct called *host = cv_map_get(f->by_called, &whole);
    uint32_t calls = there ? there->calls : 0;
    if (there)
        there->calls = 0;
    if (host)
        host->calls -= host->calls < calls ? host->calls : calls;
}

/* ---- opening and closing ---- */

static void flow_free(struct exit_filter *f, struct flow *l) {
    struct name_key name = {.hop = l->name.hop, .flow = l->name.flow};
    struct place_key place = {.to = l->to, .port = l->port};
    struct owner *o = cv_map_get(f->by_hop, &l->name.hop);
    cv_map_del(f->by_name, &name);
    cv_map_del(f->by_place, &place);
    if (o)
        o->flows--;
    f->count.flows--;
    memset(l, 0, sizeof *l);
}

void exit_filter_close(struct exit_filter *f, const struct exit_name *name) {
    struct flow *l = find(f, name);
    if (l)
        flow_free(f, l);
}

void exit_filter_close_hop(struct exit_filter *f, cv_handle hop) {
    const struct owner *o = cv_map_get(f->by_hop, &hop);
    for (uint32_t i = 0; o && o->flows && i < NODE_EXIT_FLOWS_MAX; i++)
        if (f->flows[i].used && f->flows[i].name.hop == hop)
            flow_free(f, &f->flows[i]);
}

static bool flow_is_free(const void *slot, cv_usec now) {
    (void)now;
    return !((const struct flow *)slot)->used;
}

/* A socket from which nobody else speaks to that address: the peer there tells its
 * callers apart by where they come from. False: there is none. */
static bool pick_port(struct exit_filter *f, const struct cv_addr *to, unsigned *ret) {
    unsigned first = (unsigned)cv_rng_below(f->rng, f->cfg.ports);
    for (unsigned i = 0; i < f->cfg.ports; i++) {
        *ret = (first + i) % f->cfg.ports;
        if (!at_place(f, to, *ret))
            return true;
    }
    return false;
}

static enum cv_err refuse(struct exit_filter *f, enum cv_err err) {
    f->count.flows_refused++;
    return err;
}

static enum cv_err enter(struct exit_filter *f, struct flow *l, struct owner *o) {
    struct name_key name = {.hop = l->name.hop, .flow = l->name.flow};
    struct place_key place = {.to = l->to, .port = l->port};
    enum cv_err err = cv_map_put(f->by_name, &name, l);
    if (!err && (err = cv_map_put(f->by_place, &place, l)) != CV_ERR_OK)
        cv_map_del(f->by_name, &name);
    if (err) {
        memset(l, 0, sizeof *l);
        return refuse(f, CV_ERR_AGAIN);
    }
    o->flows++;
    f->count.flows++;
    f->count.flows_opened++;
    return CV_ERR_OK;
}

enum cv_err exit_filter_open(struct exit_filter *f, struct cv_now now, const struct exit_name *name,
                             const struct cv_addr *to) {
    struct flow *l = find(f, name);
    if (l)
        return cv_addr_equal(&l->to, to) ? CV_ERR_EXIST : refuse(f, CV_ERR_DENIED);
    if (!exit_filter_may_call(f, to))
        return refuse(f, CV_ERR_DENIED);
    if (f->cfg.family && to->family != f->cfg.family)
        return refuse(f, CV_ERR_UNREACHABLE);
    struct owner *o = owner_find(f, now.mono, name->hop);
    unsigned port;
    if (!o)
        return refuse(f, CV_ERR_AGAIN);
    if (o->flows >= NODE_EXIT_OWNER_FLOWS || !cv_tokenbucket_take(&o->opens, now.mono, 1))
        return refuse(f, CV_ERR_LIMIT);
    /* Each socket has one exchange with an address: a circuit gets one of them. */
    for (unsigned i = 0; i < f->cfg.ports; i++) {
        const struct flow *other = at_place(f, to, i);
        if (other && other->name.hop == name->hop)
            return refuse(f, CV_ERR_LIMIT);
    }
    if (!pick_port(f, to, &port))
        return refuse(f, CV_ERR_AGAIN);
    l = free_slot(f->flows, sizeof *l, NODE_EXIT_FLOWS_MAX, &f->flow_hand, flow_is_free, now.mono);
    if (!l)
        return refuse(f, CV_ERR_AGAIN);
    *l = (struct flow){.used = true, .name = *name, .to = *to, .port = port};
    l->opened_at = l->said_at = l->heard_at = now.mono;
    cv_tokenbucket_init(&l->out, NODE_EXIT_OUT_S, NODE_EXIT_OUT_S / 2, now.mono);
    cv_tokenbucket_init(&l->in, NODE_EXIT_IN_S, NODE_EXIT_IN_S / 2, now.mono);
    f->next = cv_usec_min(f->next, cv_usec_add(now.mono, NODE_EXIT_LOOK_EVERY));
    return enter(f, l, o);
}

/* ---- what passes ---- */

/* A call, or the answer to one. *ret_from: the sender's channel. */
static bool is_handshake(const uint8_t *buf, size_t len, bool calling, uint32_t *ret_from) {
    struct cv_rd r = cv_rd_init(buf, len);
    struct ppsp_options o;
    cv_rd_be32(&r);
    uint8_t type = cv_rd_u8(&r);
    *ret_from = cv_rd_be32(&r);
    if (r.err || type != PPSP_MSG_HANDSHAKE || *ret_from == 0 ||
        ppsp_options_read(&r, &o) != CV_ERR_OK || !ppsp_options_has(&o, PPSP_OPT_VERSION))
        return false;
    /* Who calls says for which swarm; who answers may send more in the same datagram. */
    return !calling || (ppsp_options_has(&o, PPSP_OPT_SWARM_ID) && cv_rd_left(&r) == 0);
}

/* A datagram of an exchange begins with a message of the RFC, or has none (keep-alive). */
static bool is_message(const uint8_t *buf, size_t len) {
    return len == 4 || buf[4] <= PPSP_MSG_PEX_RESCERT;
}

static uint32_t channel_of(const uint8_t *buf, size_t len) {
    struct cv_rd r = cv_rd_init(buf, len);
    return cv_rd_be32(&r);
}

static enum cv_err drop(uint64_t *counter, enum cv_err err) {
    ++*counter;
    return err;
}

/* The number under which a call goes out: the same for one that is repeated. */
static void begin_call(struct exit_filter *f, struct flow *l, uint32_t owner) {
    if (l->calling.owner == owner)
        return;
    uint32_t outer = l->holds.owner == owner ? l->holds.outer : 0;
    while (outer == 0 || (outer == l->holds.outer && l->holds.owner != owner))
        outer = cv_rng_u32(f->rng);
    l->calling = (struct exchange){.owner = owner, .outer = outer};
}

/* What leaves: a call, or something on the peer's channel. */
static enum cv_err check_out(struct exit_filter *f, cv_usec now, struct flow *l, uint8_t *buf,
                             size_t len) {
    uint32_t to = channel_of(buf, len), from;
    if (to != 0) {
        if (to != l->holds.theirs[0] && to != l->holds.theirs[1])
            return drop(&f->count.drop_channel, CV_ERR_DENIED);
        return is_message(buf, len) ? CV_ERR_OK : drop(&f->count.drop_form, CV_ERR_MALFORMED);
    }
    if (len > NODE_EXIT_CALL_MAX || !is_handshake(buf, len, true, &from))
        return drop(&f->count.drop_form, CV_ERR_MALFORMED);
    if (!take_call(f, now, l))
        return drop(&f->count.drop_calls, CV_ERR_LIMIT);
    begin_call(f, l, from);
    struct cv_wr w = cv_wr_init(buf + 5, 4);
    cv_wr_be32(&w, l->calling.outer);
    f->count.calls++;
    return CV_ERR_OK;
}

enum cv_err exit_filter_out(struct exit_filter *f, struct cv_now now, const struct exit_name *name,
                            uint8_t *buf, size_t len, unsigned *ret_port, struct cv_addr *ret_to) {
    struct flow *l = find(f, name);
    if (!l)
        return CV_ERR_NOENT;
    if (len < 4)
        return drop(&f->count.drop_form, CV_ERR_MALFORMED);
    if (len > NODE_EXIT_DATAGRAM_MAX)
        return drop(&f->count.drop_size, CV_ERR_MALFORMED);
    if (!cv_tokenbucket_take(&l->out, now.mono, len) ||
        !cv_tokenbucket_take(&f->out, now.mono, len))
        return drop(&f->count.drop_rate, CV_ERR_LIMIT);
    enum cv_err err = check_out(f, now.mono, l, buf, len);
    if (err)
        return err;
    l->said_at = now.mono;
    f->count.out++;
    f->count.out_octets += len;
    *ret_port = l->port;
    *ret_to = l->to;
    return CV_ERR_OK;
}

/* The peer answered: what it named is where the owner's datagrams go from now on. */
static void answered(struct exit_filter *f, struct flow *l, uint32_t theirs) {
    call_answered(f, l);
    if (l->holds.outer != l->calling.outer)
        l->holds = l->calling;
    if (l->holds.theirs[0] != theirs) {
        l->holds.theirs[1] = l->holds.theirs[0];
        l->holds.theirs[0] = theirs;
    }
    l->calling = (struct exchange){0};
}

/* What comes: the answer to a call, or something on our owner's channel. */
static enum cv_err check_in(struct exit_filter *f, struct flow *l, uint8_t *buf, size_t len) {
    uint32_t to = channel_of(buf, len), from;
    if (to != 0 && to == l->calling.outer && is_handshake(buf, len, false, &from))
        answered(f, l, from);
    else if (to == 0 || to != l->holds.outer)
        return drop(&f->count.drop_channel, CV_ERR_DENIED);
    else if (!is_message(buf, len))
        return drop(&f->count.drop_form, CV_ERR_MALFORMED);
    struct cv_wr w = cv_wr_init(buf, 4);
    cv_wr_be32(&w, l->holds.owner);
    return CV_ERR_OK;
}

enum cv_err exit_filter_in(struct exit_filter *f, struct cv_now now, unsigned port,
                           const struct cv_addr *from, uint8_t *buf, size_t len,
                           struct exit_name *ret_name) {
    struct flow *l = at_place(f, from, port);
    if (!l)
        return drop(&f->count.drop_stranger, CV_ERR_NOENT);
    if (len < 4)
        return drop(&f->count.drop_form, CV_ERR_MALFORMED);
    if (len > NODE_EXIT_DATAGRAM_MAX)
        return drop(&f->count.drop_size, CV_ERR_MALFORMED);
    if (!cv_tokenbucket_take(&l->in, now.mono, len))
        return drop(&f->count.drop_rate, CV_ERR_LIMIT);
    enum cv_err err = check_in(f, l, buf, len);
    if (err)
        return err;
    l->heard_at = now.mono;
    f->count.in++;
    f->count.in_octets += len;
    *ret_name = l->name;
    return CV_ERR_OK;
}

/* ---- time ---- */

static cv_usec over_at(const struct flow *l) {
    cv_usec silent =
        cv_usec_add(l->heard_at, l->holds.outer ? NODE_EXIT_SILENCE : NODE_EXIT_UNANSWERED);
    return cv_usec_min(silent, cv_usec_add(l->said_at, NODE_EXIT_SILENCE));
}

bool exit_filter_expired(struct exit_filter *f, struct cv_now now, struct exit_name *ret) {
    if (now.mono < f->next)
        return false;
    for (uint32_t i = 0; f->count.flows && i < NODE_EXIT_FLOWS_MAX; i++) {
        struct flow *l = &f->flows[i];
        if (l->used && now.mono >= over_at(l)) {
            *ret = l->name;
            flow_free(f, l);
            return true;
        }
    }
    f->next = f->count.flows ? cv_usec_add(now.mono, NODE_EXIT_LOOK_EVERY) : CV_USEC_NEVER;
    return false;
}

cv_usec exit_filter_next(const struct exit_filter *f) {
    return f->next;
}
