#include "cli/ledger.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "io/loop.h"
#include "reputation/store_sqlite.h"

struct cli_ledger {
    struct cli_session *c;
    struct rep_store_sqlite *file;
    char path[CLI_PATH_MAX];

    pthread_t thread;
    bool checking;
    atomic_bool stop;
    struct io_wake *checked;
    enum cv_err err; /* of the check, once it is over */
    char why[512];
};

static void *check(void *arg) {
    struct cli_ledger *l = arg;
    l->err = rep_store_sqlite_check(l->path, &l->stop, l->why, sizeof l->why);
    io_wake_up(l->checked);
    return NULL;
}

/* The ledger's own next write fails then, and it says that it stopped. */
static void on_checked(void *ctx) {
    struct cli_ledger *l = ctx;
    if (!l->checking)
        return;
    pthread_join(l->thread, NULL);
    l->checking = false;
    rep_store_sqlite_found(l->file, l->err);
    if (l->err == CV_ERR_CORRUPT)
        cli_session_say(l->c, "ledger_damaged", l->why, NULL);
}

enum cv_err cli_ledger_open(struct cli_session *c, const uint8_t identity[CV_KEY],
                            struct cli_ledger **ret, struct io_why *why) {
    struct cli_ledger *l = calloc(1, sizeof *l);
    if (!l) {
        io_why_set(why, "out of memory");
        return CV_ERR_NOMEM;
    }
    l->c = c;
    snprintf(l->path, sizeof l->path, "%s/ledger.db", io_state_path(c->state));
    enum cv_err err = rep_store_sqlite_open(l->path, c->network_id, identity, REP_SQLITE_FULL,
                                            &l->file, why->text, sizeof why->text);
    if (err) {
        cli_ledger_close(l);
        return err;
    }
    l->checked = io_wake_new(c->loop, on_checked, l);
    if (!rep_store_sqlite_checked(l->file)) {
        l->checking = l->checked && pthread_create(&l->thread, NULL, check, l) == 0;
        if (!l->checking) { /* then before its use */
            err = rep_store_sqlite_check(l->path, &l->stop, why->text, sizeof why->text);
            rep_store_sqlite_found(l->file, err);
        }
    }
    if (err == CV_ERR_CORRUPT) {
        cli_ledger_close(l);
        return err;
    }
    *ret = l;
    return CV_ERR_OK;
}

struct cli_ledger *cli_ledger_close(struct cli_ledger *l) {
    if (!l)
        return NULL;
    atomic_store(&l->stop, true);
    if (l->checking) {
        pthread_join(l->thread, NULL);
        rep_store_sqlite_found(l->file, l->err); /* stopped: the next start checks first */
    }
    io_wake_free(l->checked);
    rep_store_sqlite_close(l->file);
    free(l);
    return NULL;
}

const struct rep_store *cli_ledger_store(struct cli_ledger *l) {
    return rep_store_sqlite_ops(l->file);
}
