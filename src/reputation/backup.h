/*
 * A relay's identity in a file: its key and its own chain, sealed under a passphrase.
 * No I/O: octets in, octets out; whoever calls reads and writes files.
 *
 *     "culvert identity 2\n" | passes u32 | memory KiB u32 | salt 16 | nonce 24 | tag 16 |
 *     XChaCha20-Poly1305, under Argon2id of the passphrase, with all before `tag` as its data, of
 *       kind u8 (1 copy, 2 moved) | network id 8 | seed 32 | day i64 | moves u32 |
 *       half-blocks u32 | pending u32 | half-blocks x 232 | pending x 68
 *     pending: peer 32 | epoch u32 | given u64 | taken u64 | release_at i64 | proposal u64
 *
 * Integers are little-endian. The half-blocks are the owner's by seq, each followed by
 * its other half when that is known, and the successions by which it has its place.
 *
 * A *copy* may be older than the chain: whoever restores it goes on under a new key
 * (rep_backup_hand_over). What was *moved* is complete: the folder it came from signs
 * nothing more, so the chain is continued as it is. `moves` numbers the moves of one
 * identity, so that a folder which it left takes it back by a later one only. Files of
 * version 1 had no such number and are read as of none.
 */
#ifndef CULVERT_REPUTATION_BACKUP_H
#define CULVERT_REPUTATION_BACKUP_H

#include <stdbool.h>

#include "base/rng.h"
#include "crypto/passphrase.h"
#include "reputation/store.h"

enum {
    REP_BACKUP_RECORDS = 1 << 20, /* half-blocks in a file */
    REP_BACKUP_PENDING = 1 << 20,
};

struct rep_backup {
    bool moved;
    uint8_t network_id[REP_NETWORK_ID];
    struct cv_ed25519_secret identity_secret;
    int64_t day;    /* Unix seconds at which that day began */
    uint32_t moves; /* of this identity, this one included; 0: none, or not counted */
    struct rep_record *records;
    size_t records_n;
    struct rep_pending *pending; /* of what was moved */
    size_t pending_n;
};

/* The identity's chain and unreleased counts from its store; the caller sets the other
 * fields. CV_ERR_LIMIT: too long for a file; or the store's errors. */
enum cv_err rep_backup_collect(const struct rep_store *s, const uint8_t identity[CV_KEY],
                               struct rep_backup *ret);
/* Wipes it, frees its arrays. */
void rep_backup_free(struct rep_backup *b);

/* The highest seq of the owner in it; 0: none. */
uint64_t rep_backup_head(const struct rep_backup *b);
/* The same in a store. */
enum cv_err rep_backup_store_head(const struct rep_store *s, const uint8_t identity[CV_KEY],
                                  uint64_t *ret);

/* Octets of the file; then the file itself. CV_ERR_NOMEM: the cost cannot be paid. */
size_t rep_backup_size(const struct rep_backup *b);
enum cv_err rep_backup_seal(const struct rep_backup *b, const char *passphrase, size_t len,
                            const struct cv_passphrase_cost *cost, const struct cv_rng *rng,
                            uint8_t *ret);

/*
 * Opens it in place (`file` becomes plain text: wipe it). CV_ERR_UNKNOWN: no such file;
 * CV_ERR_VERSION: of a later version; CV_ERR_AUTH: another passphrase, or changed since;
 * CV_ERR_LIMIT: its cost is beyond any limit; CV_ERR_MALFORMED: sealed, but wrong inside;
 * CV_ERR_NOMEM. On failure *ret is empty.
 */
enum cv_err rep_backup_open(uint8_t *file, size_t size, const char *passphrase, size_t len,
                            struct rep_backup *ret);

/* Into the open transaction of a store, by the rules of a chain. CV_ERR_DIFFERS: it
 * contradicts what is there. Which tokens were issued and spent is not in a file: after
 * a move none of the week of `wall` and the one before is issued or redeemed. */
enum cv_err rep_backup_restore(const struct rep_store *s, const struct rep_backup *b, int64_t wall);

/* Closes `old` in favour of `heir`, in the open transaction of a store; from the epoch
 * that runs, or the one after the latest of its half-blocks there. CV_ERR_EXIST: done before.
 * CV_ERR_DIFFERS: it has another successor. */
enum cv_err rep_backup_hand_over(const struct rep_store *s,
                                 const uint8_t network_id[REP_NETWORK_ID],
                                 const struct cv_ed25519_secret *old,
                                 const struct cv_ed25519_secret *heir, uint32_t epoch_seconds,
                                 int64_t wall);

#endif
