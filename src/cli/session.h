/*
 * What every verb that runs a node needs: the state folder and its lock, the
 * identity, the ledger's file, the node in its loop, the player link, the local
 * interface, signals and one tick a second.
 */
#ifndef CULVERT_CLI_SESSION_H
#define CULVERT_CLI_SESSION_H

#include "cli/cache.h"
#include "cli/carrying.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/quota.h"
#include "cli/task.h"
#include "gateway/api.h"
#include "gateway/gateway.h"
#include "io/host.h"
#include "io/state.h"

enum { CLI_PATH_MAX = 4096 };

struct cli_dropped;
struct cli_visitor;
struct cli_ledger;

struct cli_session {
    const struct cli_settings *s;
    struct io_loop *loop;
    struct io_state *state;
    struct cli_ledger *ledger; /* relays */
    struct io_host *host;
    struct gateway *gateway;
    struct gw_api *api;
    struct io_timer *tick;
    struct cli_progress progress;
    struct cli_cache cache;
    struct cli_quota quota; /* relays */
    struct cli_carrying carrying;
    cv_usec drain_until; /* told to end, waits for circuits; 0: not */
    uint32_t drain_cut;  /* circuits that could not be waited for; 0: none yet */
    struct cli_task *tasks[CLI_TASKS_MAX];
    size_t tasks_count;
    struct cli_dropped *dropped;  /* nodes: what the page shares */
    struct cli_visitor *visitors; /* commands in other processes (daemon.h) */
    uint32_t direct_chunk;
    uint8_t network_id[8];
    uint8_t identity[CV_KEY]; /* public key */
    int status;
    bool ending, client_ready;
    int64_t clock_off; /* seconds, as relays said; 0: they agreed, or none did */
    cv_usec clock_told_at;
};

/* CLI_OK, or the exit status after one clear line on standard error. Close in
 * both cases. With --direct, chunks of up to `direct_chunk` octets can leave. */
int cli_session_open(struct cli_session *c, const struct cli_settings *s, uint32_t direct_chunk);

/* Until cli_session_end() or a signal; the exit status. */
int cli_session_run(struct cli_session *c);

/* Ends the run after the current callback; the first status said stays. */
void cli_session_end(struct cli_session *c, int status);

/* One line on standard error (and an event "error" for programs), then end. */
void cli_session_fail(struct cli_session *c, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* An event of the node: said here and to all whose command is elsewhere. Takes the
 * reference of `fields`, which may be NULL. */
void cli_session_say(struct cli_session *c, const char *name, const char *sentence, json_t *fields);

void cli_session_close(struct cli_session *c);

/* Where the node of these settings listens for other commands: api.sock in the
 * state folder that was named, or in $XDG_RUNTIME_DIR/culvert when none was. */
enum cv_err cli_session_socket(const struct cli_settings *s, char out[CLI_PATH_MAX],
                               struct io_why *why);

/* A swarm that node_swarm_open() did not open: the exit status, one line in *why. */
int cli_swarm_refused(const char *name, enum node_swarm_mode mode, enum cv_err err,
                      struct io_why *why);

/* Exit status for an error that io reported. */
int cli_status_of(enum cv_err err);

#endif
