/*
 * The ledger's store in an SQLite file: WAL, synchronous=FULL, STRICT tables
 * (schema.sql), migrations by user_version. What is read back is checked like
 * what comes from a peer; a damaged row is CV_ERR_CORRUPT, never trusted.
 *
 * A library of its own, reputation_sqlite: the only part of the ledger that
 * touches files. Whoever opens the file for writing holds the lock of the
 * state folder; any number of readers may look meanwhile.
 */
#ifndef CULVERT_REPUTATION_STORE_SQLITE_H
#define CULVERT_REPUTATION_STORE_SQLITE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "reputation/store.h"

enum {
    REP_SQLITE_APPLICATION_ID = 0x63766c67, /* "cvlg" */
    REP_SQLITE_VERSION = 6,                 /* newest schema this program knows */
};

enum rep_sqlite_sync {
    REP_SQLITE_FULL,   /* a commit survives a power cut */
    REP_SQLITE_NORMAL, /* it survives a crash of the program: simulator only */
};

struct rep_store_sqlite;

/*
 * Opens `path`, creating (mode 0600) or migrating as needed; ":memory:" is
 * allowed. A file that was not closed by us is checked as a whole first, which
 * takes 2 s for a million half-blocks; one that was is opened at once, and its
 * check is left to rep_store_sqlite_check() beside it. On failure `why`
 * (why_cap octets) is one line for the operator that says what, where and what
 * to do:
 * CV_ERR_VERSION   written by a newer version
 * CV_ERR_CORRUPT   damaged, or not a database
 * CV_ERR_DIFFERS   not a ledger, or that of another identity or network
 * CV_ERR_STORE, CV_ERR_FULL, CV_ERR_NOMEM
 */
enum cv_err rep_store_sqlite_open(const char *path, const uint8_t network_id[REP_NETWORK_ID],
                                  const uint8_t identity[CV_KEY], enum rep_sqlite_sync sync,
                                  struct rep_store_sqlite **ret, char *why, size_t why_cap);

/* Was the whole file checked when it was opened? */
bool rep_store_sqlite_checked(const struct rep_store_sqlite *s);

/*
 * Checks the whole file at `path` through a connection of its own that only
 * reads: from any thread, while the store is in use. OK: sound. CORRUPT: damaged,
 * `why` says so in a line. AGAIN: *stop became true. Or it cannot be read just now
 * (STORE, NOMEM). Tell rep_store_sqlite_found() what came out, before closing.
 */
enum cv_err rep_store_sqlite_check(const char *path, const atomic_bool *stop, char *why,
                                   size_t why_cap);

/* What a check beside the use came to. OK: nothing more to do. CORRUPT: the next
 * transaction and all later ones are CORRUPT. Anything else: it did not end, or never
 * began. Unless it is OK, the next opening checks the file first. */
void rep_store_sqlite_found(struct rep_store_sqlite *s, enum cv_err check);

/* For an import: more memory (256 MiB) and fewer moves of the WAL into the file, so
 * that pages are written once. Until it is closed. */
void rep_store_sqlite_bulk(struct rep_store_sqlite *s);

/* Rolls back what is not committed, moves the WAL into the file and removes
 * it, so that the file alone is whole. NULL is allowed; always returns NULL. */
struct rep_store_sqlite *rep_store_sqlite_close(struct rep_store_sqlite *s);

/* What imported data calls a relay; inside a transaction. The same again changes
 * nothing; CV_ERR_EXIST: another relay is called so, or this one otherwise. */
enum cv_err rep_store_sqlite_name(struct rep_store_sqlite *s, const uint8_t key[CV_KEY],
                                  const char *name, size_t len);

/* Inside a transaction: the file is `heir`'s from now on, who took its owner's place.
 * What was counted and not released, and what the owner ranked, goes. */
enum cv_err rep_store_sqlite_hand_over(struct rep_store_sqlite *s, const uint8_t heir[CV_KEY]);

/* The function table over `s`; valid as long as `s` is. */
const struct rep_store *rep_store_sqlite_ops(struct rep_store_sqlite *s);

#endif
