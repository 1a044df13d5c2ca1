/*
 * identity: the key of this node in a file, back from it, or a new one in its place.
 *
 * What must never happen is that two processes sign for one key, or one process signs
 * twice for one place of its chain. So a folder from which an identity was moved runs
 * no node any more, and what comes from a copy goes on under a new key that both sign
 * (docs/protocol/ledger.md, Succession). Each step leaves the folder so that the same
 * command can be given again after a crash.
 */
#include "cli/identity.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/exitcode.h"
#include "cli/passphrase.h"
#include "cli/progress.h"
#include "cli/session.h"
#include "cli/verbs.h"
#include "crypto/rng_system.h"
#include "io/clock.h"
#include "io/keyfile.h"
#include "reputation/backup.h"
#include "reputation/store_sqlite.h"

enum { FILE_MAX = 512 << 20 };

struct work {
    const struct cli_settings *s;
    const char *path; /* FILE */
    struct io_state *state;
    struct io_why why;
    uint8_t network_id[REP_NETWORK_ID];
    char ledger[CLI_PATH_MAX];
    struct rep_store_sqlite *file;
    struct cv_ed25519_secret secret;
    int64_t wall;
    int status; /* of a failure */
};

static bool is_there(struct io_state *state, const char *name) {
    return faccessat(io_state_fd(state), name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

enum cv_err cli_identity_whole(struct io_state *state, struct io_why *why) {
    const char *folder = io_state_path(state);
    if (is_there(state, CLI_IDENTITY_MOVED)) {
        io_why_set(why,
                   "%.200s: its identity was moved elsewhere; move it back with 'culvert identity "
                   "export --move' there, or choose another folder with --state DIR",
                   folder);
        return CV_ERR_DENIED;
    }
    if (is_there(state, CLI_IDENTITY_MOVING)) {
        io_why_set(why,
                   "%.200s: moving its identity elsewhere was interrupted; give 'culvert identity "
                   "export --move FILE' again",
                   folder);
        return CV_ERR_DENIED;
    }
    if (is_there(state, CLI_IDENTITY_NEW)) {
        io_why_set(
            why,
            "%.200s: a change of its identity was interrupted; give 'culvert identity renew' "
            "or 'import' again",
            folder);
        return CV_ERR_DENIED;
    }
    return CV_ERR_OK;
}

/* ---- what may go wrong ---- */

__attribute__((format(printf, 3, 4))) static bool fail(struct work *w, int status, const char *fmt,
                                                       ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(w->why.text, sizeof w->why.text, fmt, args);
    va_end(args);
    w->status = status;
    return false;
}

/* The line is there already. */
static bool failed(struct work *w, int status) {
    w->status = status;
    return false;
}

static bool store_failed(struct work *w, enum cv_err err) {
    return fail(w, CLI_STATE, "%.300s: %s", w->ledger, cv_strerror(err));
}

/* ---- the parts of a folder ---- */

static bool key(struct work *w, const char *name, struct cv_ed25519_secret *ret) {
    uint8_t seed[CV_KEY];
    if (io_state_key(w->state, name, cv_rng_system(), seed, sizeof seed, &w->why))
        return failed(w, CLI_STATE);
    cv_ed25519_from_seed(ret, seed);
    cv_wipe(seed, sizeof seed);
    return true;
}

static bool keep_key(struct work *w, const char *name, const struct cv_ed25519_secret *secret) {
    if (io_state_write(w->state, name, secret->seed, CV_KEY, &w->why))
        return failed(w, CLI_STATE);
    return true;
}

static bool own_key(struct work *w) {
    if (!is_there(w->state, CLI_IDENTITY_FILE))
        return fail(w, CLI_STATE,
                    "%.300s: has no identity yet; name the folder of the node with --state DIR",
                    io_state_path(w->state));
    return key(w, CLI_IDENTITY_FILE, &w->secret);
}

/* CV_ERR_DIFFERS: it is somebody else's; other errors have said so. */
static enum cv_err open_ledger(struct work *w, const uint8_t identity[CV_KEY]) {
    enum cv_err err = rep_store_sqlite_open(w->ledger, w->network_id, identity, REP_SQLITE_FULL,
                                            &w->file, w->why.text, sizeof w->why.text);
    if (err)
        w->status = CLI_STATE;
    return err;
}

static void close_ledger(struct work *w) {
    w->file = rep_store_sqlite_close(w->file);
}

static bool remove_file(struct work *w, const char *name) {
    if (io_state_remove(w->state, name, &w->why))
        return failed(w, CLI_STATE);
    return true;
}

static bool mark(struct work *w, const char *name) {
    static const char text[] = "The identity of this folder was moved elsewhere.\n";
    if (io_state_write(w->state, name, text, sizeof text - 1, &w->why))
        return failed(w, CLI_STATE);
    return true;
}

static bool left(const struct work *w) {
    return is_there(w->state, CLI_IDENTITY_MOVED) || is_there(w->state, CLI_IDENTITY_MOVING);
}

/* How often it was moved, as far as this folder knows. */
static bool moves(struct work *w, uint32_t *ret) {
    char text[16] = "";
    size_t len;
    enum cv_err err =
        io_state_read(w->state, CLI_IDENTITY_MOVES, text, sizeof text - 1, &len, &w->why);
    *ret = 0;
    if (err == CV_ERR_NOENT)
        return true;
    if (err)
        return failed(w, CLI_STATE);
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || strcmp(end, "\n") != 0 || n >= UINT32_MAX)
        return fail(w, CLI_STATE, "%.300s/" CLI_IDENTITY_MOVES ": damaged; restore a backup",
                    io_state_path(w->state));
    *ret = (uint32_t)n;
    return true;
}

static bool keep_moves(struct work *w, uint32_t n) {
    char text[16];
    int len = snprintf(text, sizeof text, "%" PRIu32 "\n", n);
    if (io_state_write(w->state, CLI_IDENTITY_MOVES, text, (size_t)len, &w->why))
        return failed(w, CLI_STATE);
    return true;
}

/* ---- telling ---- */

static void tell(const struct work *w, const char *action, const uint8_t public_key[CV_KEY],
                 uint64_t half_blocks, const char *sentence) {
    struct cli_progress p = cli_progress_init(w->s->json, false);
    char hex[2 * CV_KEY + 1];
    cv_hex(public_key, CV_KEY, hex);
    json_t *o = json_pack("{s:s, s:I}", "identity", hex, "half_blocks", (json_int_t)half_blocks);
    if (w->path)
        json_object_set_new(o, "file", cli_json_text(w->path));
    cli_progress_event(&p, action, sentence, o);
    cli_progress_done(&p);
}

/* ---- export ---- */

struct sealed {
    uint8_t *octets;
    size_t size;
};

/* Its octets are the caller's to free(). */
static bool seal(struct work *w, const struct rep_backup *b, const struct cli_passphrase *pass,
                 struct sealed *ret) {
    ret->size = rep_backup_size(b);
    ret->octets = malloc(ret->size);
    enum cv_err err = ret->octets ? rep_backup_seal(b, pass->text, pass->len, &CV_PASSPHRASE_COST,
                                                    cv_rng_system(), ret->octets)
                                  : CV_ERR_NOMEM;
    return !err || fail(w, CLI_FAILED, "%.300s: %s", w->path, cv_strerror(err));
}

static bool save(struct work *w, const struct sealed *s) {
    if (io_keyfile_save(w->path, s->octets, s->size, &w->why))
        return failed(w, CLI_FILE);
    return true;
}

static bool is_taken(struct work *w) {
    return fail(w, CLI_FILE, "%.300s: is there already; name a new file", w->path);
}

/* An earlier try may have written FILE, or a part of it; what is anybody else's stays. */
static bool make_room(struct work *w, const struct sealed *s) {
    struct io_why unsaid;
    struct sealed there;
    if (access(w->path, F_OK) != 0)
        return true;
    if (io_keyfile_load(w->path, s->size, &there.octets, &there.size, &unsaid))
        return is_taken(w);
    bool ours = memcmp(there.octets, s->octets, there.size) == 0;
    free(there.octets);
    return (ours && unlink(w->path) == 0) || is_taken(w);
}

/* The octets of an interrupted move, if this passphrase opens them; none, if what is there was
 * not sealed: earlier versions wrote a mere mark, with the move not begun. */
static bool load_moving(struct work *w, const struct cli_passphrase *pass, struct sealed *ret) {
    static const char magic[] = "culvert identity ";
    struct rep_backup b;
    char path[CLI_PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/" CLI_IDENTITY_MOVING, io_state_path(w->state));
    if (io_keyfile_load(path, FILE_MAX, &ret->octets, &ret->size, &w->why))
        return failed(w, CLI_STATE);
    if (ret->size < sizeof magic - 1 || memcmp(ret->octets, magic, sizeof magic - 1) != 0) {
        free(ret->octets);
        *ret = (struct sealed){.octets = NULL};
        return true;
    }
    uint8_t *copy = malloc(ret->size + 1);
    if (!copy)
        return fail(w, CLI_FAILED, "out of memory");
    memcpy(copy, ret->octets, ret->size);
    enum cv_err err = rep_backup_open(copy, ret->size, pass->text, pass->len, &b);
    cv_wipe(copy, ret->size);
    free(copy);
    if (!err)
        rep_backup_free(&b);
    return !err || fail(w, CLI_FAILED,
                        "%.300s: another passphrase than the one with which the move began, or "
                        "damaged",
                        path);
}

/*
 * Two folders with one key is what must not be. So the file's octets are kept here first,
 * which closes the folder, and whatever is interrupted after that writes the same octets:
 * there is never a second file, nor one of a chain that went on.
 */
static bool seal_moved(struct work *w, struct rep_backup *b, const struct cli_passphrase *pass,
                       struct sealed *s) {
    bool again = is_there(w->state, CLI_IDENTITY_MOVING);
    if (again && !load_moving(w, pass, s))
        return false;
    if (again && !s->octets) {
        if (access(w->path, F_OK) == 0)
            return is_taken(w);
        again = false;
    }
    if (!again) {
        if (!moves(w, &b->moves))
            return false;
        b->moves++;
        if (!seal(w, b, pass, s) || !keep_moves(w, b->moves))
            return false;
        if (io_state_write(w->state, CLI_IDENTITY_MOVING, s->octets, s->size, &w->why))
            return failed(w, CLI_STATE);
    }
    if (again && !make_room(w, s))
        return false;
    if (!save(w, s)) {
        struct io_why unsaid;
        if (!again)
            (void)io_state_remove(w->state, CLI_IDENTITY_MOVING, &unsaid);
        return false;
    }
    return mark(w, CLI_IDENTITY_MOVED) && remove_file(w, CLI_IDENTITY_MOVING);
}

static bool export_to(struct work *w, struct rep_backup *b, const struct cli_passphrase *pass) {
    char hex[2 * CV_KEY + 1], text[CLI_PATH_MAX + 256];
    struct sealed s = {.octets = NULL};
    bool ok = w->s->move ? seal_moved(w, b, pass, &s) : seal(w, b, pass, &s) && save(w, &s);
    free(s.octets);
    if (!ok)
        return false;
    cv_hex(w->secret.public_key, CV_KEY, hex);
    snprintf(text, sizeof text,
             w->s->move
                 ? "Identity %.16s was moved to %s. No node runs on this folder any more; "
                   "import the file where it is to go on."
                 : "Identity %.16s was copied to %s. Where it is imported it goes on under a "
                   "new key that takes over its standing.",
             hex, w->path);
    tell(w, w->s->move ? "moved" : "copied", w->secret.public_key, rep_backup_head(b), text);
    return true;
}

static bool export(struct work *w) {
    struct rep_backup b = {.moved = false};
    struct cli_passphrase pass;
    if (!own_key(w))
        return false;
    if (is_there(w->state, CLI_IDENTITY_MOVED))
        return fail(w, CLI_STATE,
                    "%.300s: its identity was moved elsewhere; export it there, a second file from "
                    "here would stand against it",
                    io_state_path(w->state));
    if (is_there(w->state, CLI_IDENTITY_MOVING) && !w->s->move)
        return fail(w, CLI_STATE,
                    "%.300s: moving its identity was interrupted; give --move to complete it",
                    io_state_path(w->state));
    if (access(w->path, F_OK) == 0 && !is_there(w->state, CLI_IDENTITY_MOVING))
        return is_taken(w);
    if (cli_passphrase_get(w->s->passphrase_file, true, &pass, &w->why))
        return failed(w, CLI_USAGE);
    enum cv_err err = CV_ERR_OK;
    if (is_there(w->state, "ledger.db")) {
        err = open_ledger(w, w->secret.public_key);
        const struct rep_store *s = err ? NULL : rep_store_sqlite_ops(w->file);
        err = err ? err : rep_backup_collect(s, w->secret.public_key, &b);
        if (err && s)
            store_failed(w, err);
        close_ledger(w);
    }
    b.moved = w->s->move;
    b.day = w->wall - w->wall % 86400;
    b.identity_secret = w->secret;
    memcpy(b.network_id, w->network_id, sizeof b.network_id);
    bool ok = !err && export_to(w, &b, &pass);
    cv_wipe(&pass, sizeof pass);
    rep_backup_free(&b);
    return ok;
}

/* ---- a new key in the place of one ---- */

static bool swap_keys(struct work *w, const struct cv_ed25519_secret *heir) {
    /* The day's descriptor names the old key. */
    return keep_key(w, CLI_IDENTITY_FILE, heir) && remove_file(w, "descriptor") &&
           remove_file(w, CLI_IDENTITY_NEW);
}

/* Chain of `b` (or NULL), succession and owner in one transaction. */
static enum cv_err write_succession(struct work *w, const struct cv_ed25519_secret *old,
                                    const struct cv_ed25519_secret *heir,
                                    const struct rep_backup *b) {
    const struct rep_store *s = rep_store_sqlite_ops(w->file);
    enum cv_err err = s->begin(s->ctx, w->wall);
    if (!err && b)
        err = rep_backup_restore(s, b, w->wall);
    if (!err)
        err = rep_backup_hand_over(s, w->network_id, old, heir, (uint32_t)w->s->epoch_seconds,
                                   w->wall);
    if (!err || err == CV_ERR_EXIST)
        err = rep_store_sqlite_hand_over(w->file, heir->public_key);
    return err ? err : s->commit(s->ctx);
}

static bool hand_over(struct work *w, const struct cv_ed25519_secret *old,
                      const struct rep_backup *b) {
    struct cv_ed25519_secret heir;
    char was[2 * CV_KEY + 1], is[2 * CV_KEY + 1], text[512];
    if (w->wall == 0)
        return fail(w, CLI_STATE, "the clock is not set; the new key must say when it begins");
    if (!key(w, CLI_IDENTITY_NEW, &heir))
        return false;
    enum cv_err err = open_ledger(w, old->public_key);
    if (err == CV_ERR_DIFFERS) /* interrupted after this step */
        err = open_ledger(w, heir.public_key);
    else if (!err)
        err = write_succession(w, old, &heir, b);
    if (err == CV_ERR_DIFFERS && w->file)
        fail(w, CLI_STATE, "%.300s: this key was closed in favour of another already; use that one",
             w->ledger);
    else if (err && w->file)
        store_failed(w, err);
    close_ledger(w);
    bool ok = !err && swap_keys(w, &heir);
    if (ok) {
        snprintf(text, sizeof text,
                 "Identity %.16s was closed. %.16s takes its place, and its standing with relays "
                 "that hear of it.",
                 cv_hex(old->public_key, CV_KEY, was), cv_hex(heir.public_key, CV_KEY, is));
        tell(w, "renewed", heir.public_key, 0, text);
    }
    cv_wipe(&heir, sizeof heir);
    return ok;
}

static bool renew(struct work *w) {
    struct cv_ed25519_secret heir;
    if (!own_key(w))
        return false;
    if (is_there(w->state, CLI_IDENTITY_MOVING))
        return fail(w, CLI_STATE,
                    "%.300s: moving its identity was interrupted; give 'culvert identity export "
                    "--move FILE' again",
                    io_state_path(w->state));
    if (is_there(w->state, CLI_IDENTITY_MOVED))
        return fail(w, CLI_STATE,
                    "%.300s: its identity was moved elsewhere; renew it there, or move it back "
                    "with 'culvert identity export --move' there",
                    io_state_path(w->state));
    if (is_there(w->state, CLI_IDENTITY_NEW)) {
        if (!key(w, CLI_IDENTITY_NEW, &heir))
            return false;
        bool done = cv_equal(heir.seed, w->secret.seed, CV_KEY); /* but for its last step */
        cv_wipe(&heir, sizeof heir);
        if (done) {
            if (!swap_keys(w, &w->secret))
                return false;
            tell(w, "renewed", w->secret.public_key, 0, "The change of the identity is complete.");
            return true;
        }
    }
    return hand_over(w, &w->secret, NULL);
}

/* ---- import ---- */

static bool read_file(struct work *w, struct rep_backup *ret) {
    struct cli_passphrase pass;
    uint8_t *octets = NULL;
    size_t size = 0;
    if (io_keyfile_load(w->path, FILE_MAX, &octets, &size, &w->why))
        return failed(w, CLI_FILE);
    if (cli_passphrase_get(w->s->passphrase_file, false, &pass, &w->why)) {
        free(octets);
        return failed(w, CLI_USAGE);
    }
    enum cv_err err = rep_backup_open(octets, size, pass.text, pass.len, ret);
    cv_wipe(&pass, sizeof pass);
    cv_wipe(octets, size);
    free(octets);
    if (err == CV_ERR_AUTH)
        return fail(w, CLI_FAILED, "%.300s: another passphrase, or the file is damaged", w->path);
    if (err == CV_ERR_VERSION)
        return fail(w, CLI_FILE, "%.300s: written by a newer version of culvert", w->path);
    if (err == CV_ERR_NOMEM)
        return fail(w, CLI_FAILED, "out of memory");
    if (err)
        return fail(w, CLI_FILE, "%.300s: not an identity; make one with culvert identity export",
                    w->path);
    if (memcmp(ret->network_id, w->network_id, sizeof w->network_id) != 0)
        return fail(w, CLI_USAGE, "%.300s: of another network; name it with --network NAME",
                    w->path);
    return true;
}

/* Nothing here may be newer than the file. */
static bool not_newer(struct work *w, const struct rep_backup *b) {
    uint64_t here = 0, there = rep_backup_head(b);
    enum cv_err err =
        rep_backup_store_head(rep_store_sqlite_ops(w->file), b->identity_secret.public_key, &here);
    if (err)
        return store_failed(w, err);
    return here <= there || fail(w, CLI_STATE,
                                 "%.200s: a newer chain is here: it ends with half-block %" PRIu64
                                 ", the file with %" PRIu64 "; nothing was imported",
                                 io_state_path(w->state), here, there);
}

/* What it signed of these days is known where it was: a ring that cannot be read keeps
 * the relay from signing another descriptor for one of them (tunnel/keyring.h). */
static bool no_day_twice(struct work *w) {
    static const uint8_t unreadable[1];
    if (io_state_write(w->state, "descriptor", unreadable, sizeof unreadable, &w->why))
        return failed(w, CLI_STATE);
    return true;
}

/* What was moved goes on as it is. */
static bool import_moved(struct work *w, const struct rep_backup *b) {
    char hex[2 * CV_KEY + 1], text[256];
    if (open_ledger(w, b->identity_secret.public_key))
        return false;
    const struct rep_store *s = rep_store_sqlite_ops(w->file);
    bool ok = not_newer(w, b);
    enum cv_err err = ok ? s->begin(s->ctx, w->wall) : CV_ERR_OK;
    if (ok && !err)
        err = rep_backup_restore(s, b, w->wall);
    if (ok && !err)
        err = s->commit(s->ctx);
    if (err)
        ok = store_failed(w, err);
    close_ledger(w);
    ok = ok && no_day_twice(w) && keep_key(w, CLI_IDENTITY_FILE, &b->identity_secret) &&
         remove_file(w, CLI_IDENTITY_MOVING) && remove_file(w, CLI_IDENTITY_MOVED) &&
         keep_moves(w, b->moves); /* last: until then the same file is taken again */
    if (!ok)
        return false;
    snprintf(text, sizeof text,
             "Identity %.16s goes on here. Delete the file: imported a second time it would stand "
             "against itself.",
             cv_hex(b->identity_secret.public_key, CV_KEY, hex));
    tell(w, "imported", b->identity_secret.public_key, rep_backup_head(b), text);
    return true;
}

static bool import_copy(struct work *w, const struct rep_backup *b) {
    if (is_there(w->state, "ledger.db") && !is_there(w->state, CLI_IDENTITY_NEW)) {
        if (open_ledger(w, b->identity_secret.public_key))
            return false;
        bool ok = not_newer(w, b);
        close_ledger(w);
        if (!ok)
            return false;
    }
    return hand_over(w, &b->identity_secret, b);
}

/* May this folder take it in? */
static bool has_place(struct work *w, const struct rep_backup *b) {
    const char *folder = io_state_path(w->state);
    if (!is_there(w->state, CLI_IDENTITY_FILE))
        return true;
    if (!key(w, CLI_IDENTITY_FILE, &w->secret))
        return false;
    if (!cv_equal(w->secret.seed, b->identity_secret.seed, CV_KEY))
        return fail(w, CLI_STATE,
                    "%.300s: holds another identity; choose another folder with --state DIR",
                    folder);
    if (!left(w))
        return fail(w, CLI_STATE,
                    "%.200s: this identity is here already, and its chain may be newer than the "
                    "file; nothing was imported",
                    folder);
    if (!b->moved)
        return fail(w, CLI_STATE,
                    "%.200s: this identity was moved from here; take it back with a file of "
                    "'culvert identity export --move'",
                    folder);
    uint32_t known;
    if (!moves(w, &known))
        return false;
    if (b->moves == 0 && known == 0)
        return fail(w, CLI_STATE,
                    "%.200s: this identity was moved from here, and the file is of an earlier "
                    "version that did not number moves: give 'culvert identity export --move' "
                    "anew where it is in use; if it is nowhere, import the file into an empty "
                    "folder with --state DIR",
                    folder);
    return (b->moves > known ||
            fail(w, CLI_STATE,
                 "%.200s: this identity was moved from here with this file or a later one, and may "
                 "be in use elsewhere; if it is not, import it into an empty folder with --state "
                 "DIR",
                 folder));
}

/* By a clock that is behind the key would be closed, or sign, for a time that it has signed for. */
static bool is_past(struct work *w, const struct rep_backup *b) {
    return (w->wall != 0 && w->wall >= b->day) ||
           fail(w, CLI_STATE,
                "%.300s: was written on a later day than the clock says; set the clock", w->path);
}

static bool import(struct work *w) {
    struct rep_backup b = {.moved = false};
    bool ok = read_file(w, &b) && has_place(w, &b) && is_past(w, &b) &&
              (b.moved ? import_moved(w, &b) : import_copy(w, &b));
    rep_backup_free(&b);
    return ok;
}

/* ---- the verb ---- */

int cli_identity(const struct cli_settings *s) {
    static const struct {
        const char *name;
        bool (*run)(struct work *w);
        bool takes_file;
    } actions[] = {{"export", export, true}, {"import", import, true}, {"renew", renew, false}};
    size_t i = 0, n = sizeof actions / sizeof *actions;
    struct work w = {.s = s, .path = s->arguments_count > 1 ? s->arguments[1] : NULL};
    while (i < n && strcmp(actions[i].name, s->argument) != 0)
        i++;
    if (i == n || actions[i].takes_file != (w.path != NULL)) {
        fprintf(stderr, "culvert: identity: give export FILE, import FILE or renew\n");
        return CLI_USAGE;
    }
    node_network_id(s->network, w.network_id);
    w.wall = io_clock_now().wall;
    enum cv_err err = io_state_open(s->state, &w.state, &w.why);
    bool ok = false;
    if (err) {
        w.status = CLI_STATE;
    } else {
        snprintf(w.ledger, sizeof w.ledger, "%s/ledger.db", io_state_path(w.state));
        ok = actions[i].run(&w);
    }
    if (!ok)
        fprintf(stderr, "culvert: %s\n", w.why.text);
    cv_wipe(&w.secret, sizeof w.secret);
    io_state_close(w.state);
    return ok ? CLI_OK : w.status;
}
