#include "tunnel/circuit.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/trace.h"
#include "tunnel/core.h"

static struct tun_circuit *get(const struct tunnel *t, cv_handle circuit) {
    return tun_handles_get(&t->circuits, circuit);
}

/* What runs on is nobody's to use. */
static struct tun_circuit *get_used(const struct tunnel *t, cv_handle circuit) {
    struct tun_circuit *c = get(t, circuit);
    return c && !c->running_on ? c : NULL;
}

static unsigned last_hop(const struct tun_circuit *c) {
    assert(c->onion.hops > 0);
    return c->onion.hops - 1u;
}

/* ---- timers ---- */

static void schedule(struct tunnel *t, struct tun_circuit *c) {
    cv_usec at = cv_usec_min(c->tick_at, c->turn_at);
    if (c->state == TUN_CIRCUIT_LINKING || c->state == TUN_CIRCUIT_CREATING)
        at = cv_usec_min(at, c->create_at);
    struct tun_asking *a;
    TAILQ_FOREACH(a, &c->askings, entry)
    at = cv_usec_min(at, a->answered ? a->until : a->at);
    if (c->paced)
        at = cv_usec_min(at, tun_pacer_next(&c->pacer));
    tun_timer_set(t, &c->timer, at);
}

/* ---- life ---- */

static void asking_free(struct tun_circuit *c, struct tun_asking *a) {
    TAILQ_REMOVE(&c->askings, a, entry);
    c->asked--;
    free(a);
}

static void handshake_free(struct tun_circuit *c) {
    if (!c->handshake)
        return;
    tun_handshake_done(c->handshake);
    free(c->handshake);
    c->handshake = NULL;
}

void tun_circuit_free(struct tunnel *t, struct tun_circuit *c) {
    struct tun_asking *a;
    while ((a = TAILQ_FIRST(&c->askings)) != NULL)
        asking_free(c, a);
    handshake_free(c);
    tun_leg_detach(t, &c->leg);
    tun_onion_done(&c->onion);
    cv_heap_remove(&t->timers, &c->timer.heap);
    tun_handles_del(&t->circuits, c->handle);
    cv_wipe(c, sizeof *c);
    free(c);
}

static void say_goodbye(struct tunnel *t, struct tun_circuit *c) {
    if (c->leg.link && c->state != TUN_CIRCUIT_LINKING)
        tun_link_send_destroy(t, c->leg.link, c->leg.id);
}

/* To the circuit's user; of the node's circuits the client hears as well: whom to
 * avoid is its business. */
static void tell(struct tunnel *t, const struct tun_circuit *c, const struct tun_event *ev) {
    if (c->running_on)
        return;
    tun_event_to(t, c->plan.user, ev);
    if (c->plan.user == TUN_USER_NODE)
        tun_event_to(t, TUN_USER_CLIENT, ev);
}

static void tell_ready(struct tunnel *t, const struct cv_now *now, const struct tun_circuit *c) {
    CV_TRACE(TUNNEL, circuit_ready, now->mono, "circuit=%llx hops=%u took=%llu",
             (unsigned long long)c->handle, c->onion.hops,
             (unsigned long long)(now->mono - c->opened_at));
    struct tun_event ev = {.kind = TUN_EVENT_CIRCUIT_READY,
                           .circuit_ready = {.circuit = c->handle,
                                             .hops = c->onion.hops,
                                             .took = now->mono - c->opened_at}};
    tell(t, c, &ev);
}

static void tell_down(struct tunnel *t, const struct cv_now *now, const struct tun_circuit *c,
                      enum cv_err err) {
    CV_TRACE(TUNNEL, circuit_down, now->mono, "circuit=%llx err=%d hops=%u",
             (unsigned long long)c->handle, err, c->onion.hops);
    struct tun_event ev = {
        .kind = TUN_EVENT_CIRCUIT_DOWN,
        .circuit_down = {.circuit = c->handle, .err = err, .hops = c->onion.hops}};
    tell(t, c, &ev);
}

void tun_circuit_fail(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c,
                      enum cv_err err) {
    tell_down(t, now, c, err);
    say_goodbye(t, c);
    tun_circuit_free(t, c);
}

void tun_circuit_close(struct tunnel *t, const struct cv_now *now, cv_handle circuit) {
    (void)now;
    struct tun_circuit *c = get(t, circuit);
    if (!c)
        return;
    say_goodbye(t, c);
    tun_circuit_free(t, c);
}

/* ---- cells ---- */

/* Heard nothing since this cell: the next tick asks whether anybody is there. */
static void note_sent(struct tunnel *t, struct tun_circuit *c, cv_usec now) {
    c->cells_out++;
    c->sent_at = now;
    if (c->running_on)
        return;
    if (!c->unheard_at)
        c->unheard_at = now ? now : 1;
    if (c->tick_at > now + TUN_CIRCUIT_PROBE) {
        c->tick_at = now + TUN_CIRCUIT_PROBE;
        if (c->timer.heap.at > c->tick_at)
            tun_timer_set(t, &c->timer, c->tick_at);
    }
}

static enum cv_err put_cell(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c,
                            unsigned target, uint8_t command, const void *data, size_t len) {
    struct tun_cell *cell = tun_cell_take(t);
    if (!cell)
        return CV_ERR_AGAIN;
    if (len)
        memcpy(tun_onion_data(cell->octets, target), data, len);
    enum cv_err err = tun_onion_wrap(&c->onion, &t->fast, cell->octets, target, command, len);
    if (err) {
        c->spent = true; /* ends at its next timeout: nobody above us expects it to vanish now */
        tun_timer_set(t, &c->timer, now->mono);
        tun_sched_release(&t->sched, cell);
        return err;
    }
    cell->layer = 0;
    tun_put(t, &c->leg, cell, now->mono);
    return CV_ERR_OK;
}

static enum cv_err send_cell(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c,
                             unsigned target, uint8_t command, const void *data, size_t len) {
    if (tun_flow_full(&c->leg.flow))
        return CV_ERR_AGAIN;
    enum cv_err err = put_cell(t, now, c, target, command, data, len);
    if (err)
        return err;
    t->count.own_cells_out++;
    note_sent(t, c, now->mono);
    return CV_ERR_OK;
}

enum cv_err tun_circuit_send(struct tunnel *t, const struct cv_now *now, cv_handle circuit,
                             uint8_t command, const void *buf, size_t len) {
    struct tun_circuit *c = get_used(t, circuit);
    if (!c)
        return CV_ERR_NOENT;
    if (len > TUN_FORWARD_MAX || command == 0)
        return CV_ERR_INVAL;
    if (!c->onion.hops || !c->ready_at)
        return CV_ERR_AGAIN;
    return send_cell(t, now, c, last_hop(c), command, buf, len);
}

/* ---- requests ---- */

static struct tun_asking *asking_find(struct tun_circuit *c, uint32_t transaction) {
    struct tun_asking *a;
    TAILQ_FOREACH(a, &c->askings, entry)
    if (a->transaction == transaction)
        return a;
    return NULL;
}

static enum cv_err ask(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c,
                       unsigned hop, uint8_t command, const void *body, size_t len,
                       struct tun_asking **ret) {
    if (len + 4 > TUN_FORWARD_MAX || command == 0)
        return CV_ERR_INVAL;
    if (c->asked >= TUN_ASKINGS_MAX)
        return CV_ERR_LIMIT;
    struct tun_asking *a = calloc(1, sizeof *a + 4 + len);
    if (!a)
        return CV_ERR_NOMEM;
    do
        c->next_transaction++;
    while (c->next_transaction == 0 || asking_find(c, c->next_transaction));
    a->transaction = c->next_transaction;
    a->command = command;
    a->hop = (uint8_t)hop;
    a->tries = 1;
    a->len = (uint16_t)(4 + len);
    a->wait = TUN_RETRY_FIRST;
    a->at = now->mono + a->wait;
    struct cv_wr w = cv_wr_init(a->body, a->len);
    cv_wr_le32(&w, a->transaction);
    cv_wr_bytes(&w, body, len);
    TAILQ_INSERT_TAIL(&c->askings, a, entry);
    c->asked++;
    /* a full queue is a lost cell: it is repeated */
    (void)send_cell(t, now, c, hop, command, a->body, a->len);
    schedule(t, c);
    *ret = a;
    return CV_ERR_OK;
}

enum cv_err tun_circuit_request(struct tunnel *t, const struct cv_now *now, cv_handle circuit,
                                uint32_t index, uint8_t command, const void *body, size_t len,
                                uint32_t *ret_transaction) {
    struct tun_circuit *c = get_used(t, circuit);
    if (!c)
        return CV_ERR_NOENT;
    if (index >= c->onion.hops)
        return CV_ERR_INVAL;
    struct tun_asking *a;
    enum cv_err err = ask(t, now, c, index, command, body, len, &a);
    if (!err)
        *ret_transaction = a->transaction;
    return err;
}

enum cv_err tun_request(struct tunnel *t, const struct cv_now *now, cv_handle circuit,
                        uint8_t command, const void *body, size_t len, uint32_t *ret_transaction) {
    struct tun_circuit *c = get(t, circuit);
    if (!c)
        return CV_ERR_NOENT;
    if (!c->onion.hops)
        return CV_ERR_AGAIN;
    return tun_circuit_request(t, now, circuit, last_hop(c), command, body, len, ret_transaction);
}

void tun_circuit_forget(struct tunnel *t, cv_handle circuit, uint32_t transaction) {
    struct tun_circuit *c = get(t, circuit);
    struct tun_asking *a = c ? asking_find(c, transaction) : NULL;
    if (a)
        asking_free(c, a);
}

/* ---- constant rate ---- */

/* The second hop keeps the rate: the first would see what it hides. */
#define PACE_HOP 1u

/* Cells that wait may be a quarter of a second of the rate: what is in front of
 * them does not shrink when there is more. */
static uint32_t paced_cells(unsigned mbit) {
    return 8 + 24 * mbit;
}

static enum cv_err order(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c,
                         unsigned mbit, uint32_t seconds) {
    uint8_t body[16];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    struct tun_pace m = {.rate = (uint8_t)mbit, .seconds = seconds};
    tun_pace_write(&w, &m);
    struct tun_asking *a;
    /* ask() puts the transaction in front */
    enum cv_err err = ask(t, now, c, PACE_HOP, TUN_CMD_PACE, body + 4, cv_wr_len(&w) - 4, &a);
    if (!err)
        a->internal = true;
    return err;
}

enum cv_err tun_circuit_pace(struct tunnel *t, const struct cv_now *now, cv_handle circuit,
                             unsigned mbit) {
    struct tun_circuit *c = get(t, circuit);
    if (!c)
        return CV_ERR_NOENT;
    if (!tun_pacer_is_rate(mbit) || c->state != TUN_CIRCUIT_READY || c->paced ||
        c->onion.hops <= PACE_HOP)
        return CV_ERR_INVAL;
    enum cv_err err = order(t, now, c, mbit, 0);
    if (err)
        return err;
    /* Ticks of one owner have nothing in common: what several relays see of them
     * is no name. */
    int ppm = (int)cv_rng_below(&t->fast, 2 * TUN_PACE_PPM + 1) - TUN_PACE_PPM;
    tun_pacer_init(&c->pacer, mbit, ppm,
                   cv_usec_add(now->mono, cv_rng_below(&t->fast, TUN_PACE_TICK_US)));
    c->paced = true;
    c->leg.flow.max = paced_cells(mbit);
    tun_flow_hold(&t->sched, &c->leg.flow);
    schedule(t, c);
    return CV_ERR_OK;
}

enum cv_err tun_circuit_run_on(struct tunnel *t, const struct cv_now *now, cv_handle circuit,
                               uint32_t seconds) {
    struct tun_circuit *c = get(t, circuit);
    if (!c)
        return CV_ERR_NOENT;
    if (!c->paced || c->running_on || seconds == 0 || seconds > TUN_PACE_RUN_ON_MAX_S)
        return CV_ERR_INVAL;
    struct tun_asking *a;
    while ((a = TAILQ_FIRST(&c->askings)) != NULL)
        asking_free(c, a);
    enum cv_err err = order(t, now, c, c->pacer.cells, seconds);
    if (err)
        return err;
    c->running_on = true;
    c->tick_at = CV_USEC_NEVER; /* there is no last hop to be asked any more */
    c->pacer.until = cv_usec_add(now->mono, CV_SEC(seconds));
    schedule(t, c);
    return CV_ERR_OK;
}

/* The way behind the relay that keeps the rate is gone: for the user that is the end, on
 * the wire it must not be. */
static void lose_rest(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c,
                      enum cv_err err) {
    tell_down(t, now, c, err);
    uint32_t seconds = (uint32_t)cv_rng_between(&t->fast, TUN_RUN_ON_MIN_S, TUN_RUN_ON_MAX_S);
    if (tun_circuit_run_on(t, now, c->handle, seconds)) {
        say_goodbye(t, c);
        tun_circuit_free(t, c);
    }
}

/* Does the relay that keeps the rate say that nobody is behind it any more? */
static bool is_alone(const struct tun_inner *in) {
    struct cv_rd r = cv_rd_init(in->data, in->len);
    struct tun_error m;
    return in->command == TUN_CMD_ERROR && !tun_error_read(&r, &m) && m.transaction == 0 &&
           m.code == TUN_ERROR_UNREACHABLE;
}

/* False: the circuit is gone. */
static bool pace_due(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c) {
    if (now->mono >= c->pacer.until) {
        tun_circuit_close(t, now, c->handle);
        return false;
    }
    uint32_t cells = tun_pacer_take(&c->pacer, now->mono);
    uint32_t missing = cells ? tun_flow_grant(&t->sched, &c->leg.flow, cells, now->mono) : 0;
    while (missing-- > 0 && !put_cell(t, now, c, PACE_HOP, TUN_CMD_PADDING, NULL, 0))
        t->count.padding_cells++;
    return true;
}

/* A relay that does not keep the rate is no relay for this circuit: nothing goes
 * on without it in silence. */
static void on_pace_answer(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c,
                           struct tun_asking *a, uint8_t command) {
    if (command == TUN_CMD_PACE) {
        asking_free(c, a);
        tell_ready(t, now, c);
    } else if (command == TUN_CMD_ERROR) {
        tun_circuit_fail(t, now, c, CV_ERR_LIMIT);
    }
}

/* ---- building ---- */

/* AES with the first hop only, which sees our address anyway; and not from a relay,
 * whose links carry what others chose. */
static uint8_t suite_for(const struct tunnel *t, const struct tun_circuit *c,
                         const struct tun_relay_ref *to) {
    bool aes = t->cfg.aes && !t->cfg.relay && c->onion.hops == 0;
    return aes && (to->suites & TUN_SUITES_AES) ? TUN_SUITE_AES : TUN_SUITE_CHACHA;
}

static enum cv_err start_handshake(struct tunnel *t, struct tun_circuit *c) {
    const struct tun_relay_ref *to = &c->plan.hop[c->onion.hops];
    struct tun_params params = {.suite = suite_for(t, c, to), .version = tun_ref_version(t, to)};
    uint8_t flight[TUN_FLIGHT1];
    if (params.version == 0)
        return CV_ERR_VERSION;
    assert(!c->handshake);
    c->handshake = calloc(1, sizeof *c->handshake);
    if (!c->handshake)
        return CV_ERR_NOMEM;
    return tun_handshake_create_1(c->handshake, flight, to->identity, to->onion_key, &params,
                                  &t->rng);
}

static void send_create(struct tunnel *t, struct tun_circuit *c) {
    uint8_t body[TUN_CONTROL_MAX];
    struct cv_wr w = cv_wr_init(body, sizeof body);
    struct tun_create m = {.params = {.ttl = c->ttl},
                           .flight = c->handshake->flight1,
                           .flight_len = sizeof c->handshake->flight1};
    tun_create_write(&w, &m);
    assert(!w.err);
    tun_link_control(t, c->leg.link, TUN_LINKCMD_CREATE, c->leg.id, body, cv_wr_len(&w));
}

static enum cv_err begin_create(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c) {
    enum cv_err err = start_handshake(t, c);
    if (err)
        return err;
    c->state = TUN_CIRCUIT_CREATING;
    c->create_tries = 1;
    c->create_wait = TUN_RETRY_FIRST;
    c->create_at = now->mono + c->create_wait;
    send_create(t, c);
    schedule(t, c);
    return CV_ERR_OK;
}

static bool plan_is_sound(const struct tun_circuit_plan *plan) {
    if (plan->hops < 1 || plan->hops > TUN_HOPS_MAX || plan->user >= TUN_USER_COUNT)
        return false;
    for (uint32_t i = 0; i < plan->hops; i++)
        for (uint32_t j = 0; j < i; j++)
            if (memcmp(plan->hop[i].identity, plan->hop[j].identity, CV_KEY) == 0)
                return false;
    return true;
}

enum cv_err tun_circuit_build(struct tunnel *t, const struct cv_now *now,
                              const struct tun_circuit_plan *plan, cv_handle *ret) {
    assert(plan_is_sound(plan)); /* paths are ours to choose */
    struct tun_link *l;
    enum cv_err err = tun_link_open(t, now, &plan->hop[0], &l);
    if (err)
        return err;
    struct tun_circuit *c = calloc(1, sizeof *c);
    if (!c)
        return CV_ERR_NOMEM;
    TAILQ_INIT(&c->askings);
    tun_onion_init(&c->onion);
    tun_flow_init(&c->leg.flow, &t->own_group, &c->leg, TUN_OWN_CELLS);
    c->leg.flow.patient = true;
    c->leg.kind = TUN_LEG_OWN;
    c->timer.kind = TUN_TIMER_CIRCUIT;
    c->plan = *plan;
    c->ttl = (uint8_t)cv_rng_between(&t->fast, TUN_TTL_MIN, TUN_TTL_MAX);
    c->next_transaction = cv_rng_u32(&t->fast);
    c->opened_at = c->heard_at = c->sent_at = now->mono;
    c->expires_at =
        now->mono + cv_rng_between(&t->fast, CV_SEC(TUN_CIRCUIT_MIN_S), CV_SEC(TUN_CIRCUIT_MAX_S));
    c->tick_at = c->turn_at = CV_USEC_NEVER;
    c->create_at = now->mono + CV_SEC(10);
    err = tun_handles_put(&t->circuits, c, &c->handle);
    if (err) {
        free(c);
        return err;
    }
    err = tun_leg_attach_new(t, &c->leg, l);
    if (!err && tun_link_is_up(l))
        err = begin_create(t, now, c);
    if (err) {
        tun_circuit_free(t, c);
        return err;
    }
    schedule(t, c);
    *ret = c->handle;
    return CV_ERR_OK;
}

static void ready(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c) {
    c->state = TUN_CIRCUIT_READY;
    c->ready_at = now->mono ? now->mono : 1;
    c->tick_at = now->mono + TUN_CIRCUIT_PING;
    tell_ready(t, now, c);
    schedule(t, c);
}

static void extend(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c) {
    const struct tun_relay_ref *to = &c->plan.hop[c->onion.hops];
    enum cv_err err = start_handshake(t, c);
    uint8_t body[4 + TUN_FORWARD_MAX];
    struct tun_asking *a;
    if (!err) {
        struct cv_wr w = cv_wr_init(body, sizeof body);
        struct tun_extend m = {.day = to->day,
                               .flight = c->handshake->flight1,
                               .flight_len = sizeof c->handshake->flight1};
        memcpy(m.identity, to->identity, sizeof m.identity);
        memcpy(m.digest, to->d, sizeof m.digest);
        tun_extend_write(&w, &m);
        assert(!w.err);
        c->state = TUN_CIRCUIT_EXTENDING;
        /* ask() puts the transaction in front */
        err = ask(t, now, c, last_hop(c), TUN_CMD_EXTEND, body + 4, cv_wr_len(&w) - 4, &a);
    }
    if (err) {
        tun_circuit_fail(t, now, c, err);
        return;
    }
    a->internal = true;
    c->building = a->transaction;
}

/* Flight 2 of the hop that is being added. False: not the answer we wait for. */
static bool add_hop(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c,
                    const uint8_t *flight, size_t len) {
    if (!c->handshake)
        return false;
    struct tun_params params;
    struct tun_layer_secret secret;
    enum cv_err err = tun_handshake_consume_2(c->handshake, flight, len, &params, &secret);
    if (err == CV_ERR_VERSION) {
        tun_circuit_fail(t, now, c, err);
        return true;
    }
    if (err)
        return false;
    handshake_free(c);
    memcpy(c->binding[c->onion.hops], secret.binding, sizeof secret.binding);
    tun_onion_add(&c->onion, &secret);
    cv_wipe(&secret, sizeof secret);
    c->turn_at = tun_onion_turn(&c->onion, &t->fast, now->mono);
    if (c->onion.hops == c->plan.hops)
        ready(t, now, c);
    else
        extend(t, now, c);
    return true;
}

void tun_circuit_on_created(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c,
                            const uint8_t *body, size_t len) {
    if (c->state != TUN_CIRCUIT_CREATING)
        return;
    c->heard_at = now->mono;
    c->tick_at = now->mono + TUN_CIRCUIT_PING;
    if (!add_hop(t, now, c, body, len))
        t->count.bad_handshake++;
}

enum cv_err tun_circuit_extend(struct tunnel *t, const struct cv_now *now, cv_handle circuit,
                               const struct tun_relay_ref *hop) {
    struct tun_circuit *c = get_used(t, circuit);
    if (!c)
        return CV_ERR_NOENT;
    if (c->state != TUN_CIRCUIT_READY)
        return CV_ERR_AGAIN;
    if (c->plan.hops == TUN_HOPS_MAX)
        return CV_ERR_LIMIT;
    c->plan.hop[c->plan.hops++] = *hop;
    assert(plan_is_sound(&c->plan));
    extend(t, now, c);
    return CV_ERR_OK;
}

/* ---- what hops say ---- */

static void reply(struct tunnel *t, struct tun_circuit *c, uint32_t transaction, uint8_t command,
                  const uint8_t *body, size_t len) {
    struct tun_event ev = {.kind = TUN_EVENT_REPLY,
                           .reply = {.circuit = c->handle,
                                     .transaction = transaction,
                                     .command = command,
                                     .body = body,
                                     .len = len}};
    if (command == TUN_CMD_ERROR) {
        ev.reply.err = CV_ERR_DENIED;
        if (len) {
            ev.reply.code = body[0];
            ev.reply.body++;
            ev.reply.len--;
        }
    }
    tun_event_to(t, c->plan.user, &ev);
}

static enum cv_err err_of_code(uint8_t code) {
    switch (code) {
    case TUN_ERROR_DIFFERS:
        return CV_ERR_DIFFERS;
    case TUN_ERROR_NOENT:
        return CV_ERR_NOENT;
    case TUN_ERROR_UNREACHABLE:
        return CV_ERR_UNREACHABLE;
    case TUN_ERROR_LIMIT:
    case TUN_ERROR_BUSY:
        return CV_ERR_LIMIT;
    default:
        return CV_ERR_DENIED;
    }
}

static void on_extend_answer(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c,
                             struct tun_asking *a, uint8_t command, const uint8_t *body,
                             size_t len) {
    if (command == TUN_CMD_ERROR) {
        uint8_t code = len ? body[0] : 0;
        const struct tun_user_ops *ops = t->ops[TUN_USER_CLIENT];
        if (code == TUN_ERROR_DIFFERS && ops && ops->on_differs)
            ops->on_differs(t->user[TUN_USER_CLIENT], now, &c->plan.hop[c->onion.hops],
                            &c->plan.hop[last_hop(c)], body + 1, len - 1);
        reply(t, c, a->transaction, command, body, len);
        tun_circuit_fail(t, now, c, err_of_code(code));
        return;
    }
    if (command != TUN_CMD_EXTENDED)
        return;
    asking_free(c, a);
    if (!add_hop(t, now, c, body, len)) {
        /* the relay in front of it passed on something else: no retry would help */
        t->count.bad_handshake++;
        tun_circuit_fail(t, now, c, CV_ERR_AUTH);
    }
}

/* A datagram of flow `flow`, or what a swarm exit says of one. */
static void datagram(struct tunnel *t, struct tun_circuit *c, uint16_t flow, const uint8_t *buf,
                     size_t len) {
    struct tun_event ev = {
        .kind = TUN_EVENT_DATAGRAM,
        .datagram = {.from = cv_endpoint_circuit(c->handle, flow), .buf = buf, .len = len}};
    tun_event_to(t, c->plan.user, &ev);
}

static void on_exit_cell(struct tunnel *t, struct tun_circuit *c, const struct tun_inner *in) {
    struct cv_rd r = cv_rd_init(in->data, in->len);
    struct tun_exit m;
    if (tun_exit_read(&r, &m) == CV_ERR_OK && m.flow != 0)
        datagram(t, c, m.flow, m.data, m.len);
}

static void on_message(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c,
                       unsigned hop, const struct tun_inner *in) {
    if (in->command == TUN_CMD_PADDING)
        return;
    bool unasked = c->state == TUN_CIRCUIT_READY && hop == last_hop(c) && !c->running_on;
    if (in->command == TUN_CMD_EXIT) {
        if (unasked)
            on_exit_cell(t, c, in);
        return;
    }
    if (in->command == TUN_CMD_INTRODUCTION) {
        if (unasked)
            reply(t, c, 0, in->command, in->data, in->len);
        return;
    }
    struct cv_rd r = cv_rd_init(in->data, in->len);
    uint32_t transaction = cv_rd_le32(&r);
    if (r.err)
        return;
    if (c->paced && !c->running_on && hop == PACE_HOP && is_alone(in)) {
        lose_rest(t, now, c, CV_ERR_CLOSED);
        return;
    }
    struct tun_asking *a = asking_find(c, transaction);
    bool pushed = in->command == TUN_CMD_JOINED && unasked;
    if ((!a || a->hop != hop) && !pushed)
        return;
    if (a && a->internal && a->command == TUN_CMD_PACE) {
        on_pace_answer(t, now, c, a, in->command);
        return;
    }
    if (a && a->internal) {
        on_extend_answer(t, now, c, a, in->command, r.p, cv_rd_left(&r));
        return;
    }
    if (a && !a->answered) {
        a->answered = true;
        a->until = now->mono + TUN_LATE_ANSWER;
    }
    reply(t, c, transaction, in->command, r.p, cv_rd_left(&r));
}

void tun_circuit_on_cell(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c,
                         const uint8_t *cell, uint32_t layer) {
    if (!c->onion.hops)
        return;
    uint8_t copy[TUN_CELL];
    memcpy(copy, cell, sizeof copy);
    unsigned hop;
    struct tun_inner in;
    if (tun_onion_unwrap(&c->onion, now->mono, copy, layer, &hop, &in)) {
        t->count.bad_backward++;
        return;
    }
    if (tun_onion_wipe_at(&c->onion) < c->turn_at) { /* a hop began an epoch */
        c->turn_at = tun_onion_wipe_at(&c->onion);
        schedule(t, c);
    }
    t->count.own_cells_in++;
    c->cells_in++;
    c->heard_at = now->mono;
    if (hop == last_hop(c)) { /* all the way */
        c->unheard_at = 0;
        c->pings = 0;
    }
    if (in.command != TUN_CMD_DATAGRAM) {
        on_message(t, now, c, hop, &in);
        return;
    }
    if (hop != last_hop(c) || c->state != TUN_CIRCUIT_READY || c->running_on)
        return;
    datagram(t, c, 0, in.data, in.len);
}

/* ---- timeouts ---- */

/* False: the circuit is gone. */
static bool create_due(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c) {
    if (c->state == TUN_CIRCUIT_LINKING && tun_link_is_up(c->leg.link)) {
        enum cv_err err = begin_create(t, now, c);
        if (err)
            tun_circuit_fail(t, now, c, err);
        return !err;
    }
    if (now->mono < c->create_at)
        return true;
    if (c->state == TUN_CIRCUIT_LINKING || c->create_tries >= TUN_TRIES) {
        struct tun_link *l = c->leg.link;
        cv_usec began = c->opened_at;
        if (c->state == TUN_CIRCUIT_CREATING && l->heard_at <= began)
            tun_link_fail(t, now, l, CV_ERR_TIMEDOUT); /* and this circuit with it */
        else
            tun_circuit_fail(t, now, c, CV_ERR_TIMEDOUT);
        return false;
    }
    c->create_tries++;
    c->create_wait *= 2;
    c->create_at = now->mono + c->create_wait;
    send_create(t, c);
    return true;
}

static bool askings_due(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c) {
    struct tun_asking *next;
    for (struct tun_asking *a = TAILQ_FIRST(&c->askings); a; a = next) {
        next = TAILQ_NEXT(a, entry);
        if (a->answered) {
            if (now->mono >= a->until)
                asking_free(c, a);
            continue;
        }
        if (now->mono < a->at)
            continue;
        if (a->tries < TUN_TRIES) {
            a->tries++;
            a->wait *= 2;
            a->at = now->mono + a->wait;
            (void)send_cell(t, now, c, a->hop, a->command, a->body, a->len);
            continue;
        }
        if (a->internal) {
            tun_circuit_fail(t, now, c, CV_ERR_TIMEDOUT);
            return false;
        }
        struct tun_event ev = {.kind = TUN_EVENT_REPLY,
                               .reply = {.circuit = c->handle,
                                         .transaction = a->transaction,
                                         .err = CV_ERR_TIMEDOUT,
                                         .command = a->command}};
        tun_event_to(t, c->plan.user, &ev);
        asking_free(c, a);
    }
    return true;
}

/* The last hop; when that says nothing, also the first: is it the link? */
static void ping(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c) {
    uint8_t body[4];
    cv_rng_fill(&t->fast, body, sizeof body);
    (void)send_cell(t, now, c, last_hop(c), TUN_CMD_PING, body, sizeof body);
    if (c->pings && last_hop(c) > 0)
        (void)send_cell(t, now, c, 0, TUN_CMD_PING, body, sizeof body);
}

/* A link on which nothing was heard for as long as its circuit is dead too. */
static void silent(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c) {
    struct tun_link *l = c->leg.link;
    if (l->heard_at <= c->unheard_at)
        tun_link_fail(t, now, l, CV_ERR_TIMEDOUT);
    else if (c->paced && c->heard_at > c->unheard_at) /* of the relay that keeps the rate */
        lose_rest(t, now, c, CV_ERR_TIMEDOUT);
    else
        tun_circuit_fail(t, now, c, CV_ERR_TIMEDOUT);
}

static bool tick_due(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c) {
    if (now->mono < c->tick_at)
        return true;
    if (c->unheard_at && now->mono >= c->unheard_at + TUN_CIRCUIT_DEAD) {
        silent(t, now, c);
        return false;
    }
    bool doubtful = c->unheard_at && now->mono >= c->unheard_at + TUN_CIRCUIT_PROBE;
    bool idle = now->mono >= c->sent_at + TUN_CIRCUIT_PING;
    if (doubtful || idle) {
        ping(t, now, c);
        c->pings = (uint8_t)(c->pings + (c->pings < 255));
    }
    c->tick_at = c->unheard_at ? now->mono + TUN_CIRCUIT_PROBE : c->sent_at + TUN_CIRCUIT_PING;
    return true;
}

void tun_circuit_on_timeout(struct tunnel *t, const struct cv_now *now, struct tun_circuit *c) {
    if (c->spent) {
        tun_circuit_fail(t, now, c, CV_ERR_LIMIT);
        return;
    }
    if (c->paced && !pace_due(t, now, c))
        return;
    if (now->mono >= c->turn_at)
        c->turn_at = tun_onion_turn(&c->onion, &t->fast, now->mono);
    if (c->state == TUN_CIRCUIT_LINKING || c->state == TUN_CIRCUIT_CREATING)
        if (!create_due(t, now, c))
            return;
    if (!askings_due(t, now, c) || !tick_due(t, now, c))
        return;
    schedule(t, c);
}

/* ---- looking ---- */

enum cv_err tun_circuit_give(struct tunnel *t, cv_handle circuit, enum tun_user user) {
    struct tun_circuit *c = get(t, circuit);
    if (!c)
        return CV_ERR_NOENT;
    c->plan.user = user;
    return CV_ERR_OK;
}

enum cv_err tun_circuit_info(const struct tunnel *t, cv_handle circuit,
                             struct tun_circuit_info *ret) {
    const struct tun_circuit *c = get(t, circuit);
    if (!c)
        return CV_ERR_NOENT;
    *ret = (struct tun_circuit_info){
        .purpose = c->plan.purpose,
        .user = c->plan.user,
        .ready = c->state == TUN_CIRCUIT_READY,
        .hops = c->plan.hops,
        .built = c->onion.hops,
        .opened_at = c->opened_at,
        .ready_at = c->ready_at,
        .expires_at = c->expires_at,
        .heard_at = c->heard_at,
        .cells_out = c->cells_out,
        .cells_in = c->cells_in,
        .queued = c->leg.flow.count,
        .pace = c->paced ? c->pacer.cells : 0,
        .runs_on_until = c->running_on ? c->pacer.until : 0,
    };
    return CV_ERR_OK;
}

const struct tun_relay_ref *tun_circuit_hop(const struct tunnel *t, cv_handle circuit, uint32_t i) {
    const struct tun_circuit *c = get(t, circuit);
    return c && i < c->plan.hops ? &c->plan.hop[i] : NULL;
}

enum cv_err tun_circuit_binding(const struct tunnel *t, cv_handle circuit, uint32_t index,
                                uint8_t ret[32]) {
    const struct tun_circuit *c = get(t, circuit);
    if (!c || index >= c->onion.hops)
        return CV_ERR_NOENT;
    memcpy(ret, c->binding[index], 32);
    return CV_ERR_OK;
}

void tun_rates(const struct tunnel *t, struct tun_rates *ret) {
    *ret = (struct tun_rates){.circuits = 0};
    uint32_t cursor = 0;
    const struct tun_circuit *c;
    while ((c = tun_handles_next(&t->circuits, &cursor)) != NULL) {
        ret->circuits += c->paced;
        ret->mbit += c->paced ? c->pacer.cells : 0;
        ret->running_on += c->running_on;
        if (c->running_on && c->pacer.until > ret->until)
            ret->until = c->pacer.until;
    }
}

size_t tun_circuit_list(const struct tunnel *t, enum tun_user user, cv_handle *ret, size_t cap) {
    uint32_t cursor = 0;
    size_t n = 0;
    const struct tun_circuit *c;
    while (n < cap && (c = tun_handles_next(&t->circuits, &cursor)) != NULL)
        if (c->plan.user == user)
            ret[n++] = c->handle;
    return n;
}

size_t tun_circuit_path(const struct tunnel *t, cv_handle circuit, uint8_t ret[][CV_KEY],
                        size_t cap) {
    const struct tun_circuit *c = get(t, circuit);
    size_t n = 0;
    for (; c && n < c->onion.hops && n < cap; n++)
        memcpy(ret[n], c->plan.hop[n].identity, CV_KEY);
    return n;
}
