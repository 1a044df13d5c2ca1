/*
 * The file of an identity (reputation/backup.h). Input: what stands inside one, which is
 * sealed here so that it is read; and the same octets as a file.
 * Property: no assertion; what nobody sealed never opens; what is accepted is restored
 * by the rules of a chain, collected again, and sealed and opened to the same.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/aead.h"
#include "crypto/hash.h"
#include "crypto/rng_seeded.h"
#include "reputation/backup.h"
#include "reputation/store_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct cv_passphrase_cost cheap = {1, 8};
static const char head[] = "culvert identity 2\n\1\0\0\0\10\0\0";
enum { AHEAD = sizeof head + 16 + 24, SEALED = AHEAD + CV_AEAD_TAG };

static uint8_t *sealed(char version, const uint8_t *data, size_t size) {
    uint8_t *file = calloc(1, SEALED + size), key[CV_PASSPHRASE_KEY];
    assert(file != NULL);
    memcpy(file, head, sizeof head);
    file[sizeof "culvert identity " - 1] = (uint8_t)version;
    bool made = cv_passphrase_key(key, "fuzz", 4, file + sizeof head, &cheap);
    assert(made);
    cv_xaead_seal(file + SEALED, file + AHEAD, data, size, file, AHEAD, file + sizeof head + 16,
                  key);
    return file;
}

/* Through a store and a file of our own. */
static void again(const struct rep_backup *b) {
    struct rep_store_memory *memory = rep_store_memory_new();
    const struct rep_store *s = rep_store_memory_ops(memory);
    struct rep_backup kept, got;
    struct cv_rng_seeded dice;
    cv_rng_seeded_init(&dice, 1);
    struct cv_rng rng = cv_rng_seeded(&dice);
    s->begin(s->ctx, 1);
    (void)rep_backup_restore(s, b, 1);
    enum cv_err err = rep_backup_collect(s, b->identity_secret.public_key, &kept);
    assert(err == CV_ERR_OK);
    kept.identity_secret = b->identity_secret;
    kept.moved = b->moved;
    kept.day = b->day;
    kept.moves = b->moves;
    size_t size = rep_backup_size(&kept);
    uint8_t *file = malloc(size);
    assert(file != NULL);
    err = rep_backup_seal(&kept, "again", 5, &cheap, &rng, file);
    assert(err == CV_ERR_OK);
    err = rep_backup_open(file, size, "again", 5, &got);
    assert(err == CV_ERR_OK);
    assert(got.records_n == kept.records_n && got.pending_n == kept.pending_n);
    assert(got.moved == b->moved && got.day == b->day && got.moves == b->moves);
    assert(rep_backup_head(&got) <= rep_backup_head(b));
    for (size_t i = 0; i < got.records_n; i++)
        assert(memcmp(got.records[i].hash, kept.records[i].hash, REP_HASH) == 0);
    (void)rep_backup_hand_over(s, b->network_id, &b->identity_secret,
                               &(struct cv_ed25519_secret){.public_key = {1}}, 604800, 1700000000);
    rep_backup_free(&got);
    rep_backup_free(&kept);
    free(file);
    rep_store_memory_free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct rep_backup b;
    cv_crypto_init();
    for (unsigned version = 1; version <= 2; version++) {
        uint8_t *file = sealed((char)('0' + version), data, size);
        if (rep_backup_open(file, SEALED + size, "fuzz", 4, &b) == CV_ERR_OK) {
            again(&b);
            rep_backup_free(&b);
        }
        memcpy(file, data, size);
        enum cv_err err = rep_backup_open(file, size, "fuzz", 4, &b);
        assert(err != CV_ERR_OK);
        free(file);
    }
    return 0;
}
