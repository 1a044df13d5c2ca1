/*
 * A ledger's database opened for looking only: culvert-ledger never writes,
 * not even the files that SQLite keeps beside one. Errors are one line on
 * standard error and an exit status.
 */
#ifndef CULVERT_TOOLS_CULVERT_LEDGER_FILE_H
#define CULVERT_TOOLS_CULVERT_LEDGER_FILE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/map.h"
#include "crypto/keys.h"
#include "reputation/limits.h"
#include "reputation/record.h"

/* Stable: scripts rely on them, and the help text lists them. */
enum {
    LEDGER_OK = 0,
    LEDGER_WRONG =
        1, /* verify or privacy-check found something, diff a difference, import a forgery */
    LEDGER_USAGE = 2,     /* the command line */
    LEDGER_NO_FILE = 3,   /* missing or unreadable */
    LEDGER_NOT_ONE = 4,   /* not a ledger, or damaged */
    LEDGER_NEWER = 5,     /* written by a newer version */
    LEDGER_NOT_THERE = 6, /* no such relay or half-block in it */
    LEDGER_BAD_INPUT = 7, /* a line of what was to be imported */
};

struct ledger_file {
    sqlite3 *db;
    const char *path;
    bool immutable; /* nobody was writing when it was opened */
    int64_t version;
    uint8_t network_id[REP_NETWORK_ID];
    uint8_t identity[CV_KEY];
    struct cv_map *names; /* by key, to text: what imported relays were called */
};

/* Exits with a line and LEDGER_NO_FILE, LEDGER_NOT_ONE or LEDGER_NEWER. */
void ledger_open(struct ledger_file *f, const char *path);
void ledger_close(struct ledger_file *f);

/* What differs as soon as somebody wrote: of the file, and of the log that SQLite keeps beside
 * one in use. A write within the same tick of the file system's clock as the one before may
 * leave it as it is. */
struct ledger_stamp {
    struct {
        dev_t dev;
        ino_t ino;
        off_t size; /* -1: there is none */
        struct timespec written;
    } part[2];
};

struct ledger_stamp ledger_stamp(const char *path);
bool ledger_stamp_same(const struct ledger_stamp *a, const struct ledger_stamp *b);

/* A statement over it; what goes wrong with a file that was sound when it was
 * opened is damage, and ends the program. */
sqlite3_stmt *ledger_query(struct ledger_file *f, const char *sql);
/* false at the end of the rows; finalizes the statement then. */
bool ledger_step(struct ledger_file *f, sqlite3_stmt *st);
/* First column of the first row, 0 when it is NULL. */
int64_t ledger_number(struct ledger_file *f, const char *sql);

/* Prints "culvert-ledger: ..." and exits. */
__attribute__((noreturn, format(printf, 2, 3))) void ledger_die(int status, const char *format,
                                                                ...);

/* A file that is being made. It is removed, with what SQLite keeps beside one, when the program
 * exits or is told to end (SIGINT, SIGTERM, SIGHUP) before ledger_made(). One at a time. */
void ledger_making(const char *path);
void ledger_made(void);

/* Makes text out of the file fit for a line: control characters become '?'. */
char *ledger_one_line(char *text);

/* What a relay is called: the identifier it was imported under, else its key in
 * hexadecimal, written to `hex`. */
const char *ledger_id(const struct ledger_file *f, const uint8_t key[CV_KEY],
                      char hex[2 * CV_KEY + 1]);

/* The relay (row of `peer`) that an imported identifier, a key or the beginning
 * of one (4 hex digits or more) names. Exits with LEDGER_NOT_THERE when there is
 * none or more than one. */
int64_t ledger_relay(struct ledger_file *f, const char *text);
void ledger_relay_key(struct ledger_file *f, const char *text, uint8_t ret[CV_KEY]);

/* Columns of LEDGER_BLOCK from `column` on, as a record; false: damaged. */
#define LEDGER_BLOCK                                                                               \
    "o.pk, b.seq, b.ver, b.type, b.flags, p.pk, b.peer_seq, b.peer_hash, b.prev, b.hash, "         \
    "b.given, b.taken, b.epoch, b.sig FROM block b JOIN peer o ON o.id = b.owner "                 \
    "JOIN peer p ON p.id = b.peer "
bool ledger_record(sqlite3_stmt *st, int column, struct rep_record *ret);

#endif
