/*
 * Makes a ledger file for the tests of tools: four relays exchange octets over
 * five epochs in virtual time; the first keeps its ledger in FILE.
 * Usage: make_ledger FILE. Same file every time, but for SQLite's own marks.
 */
#include <stdio.h>
#include <stdlib.h>

/* world.h asserts through Criterion; here a failure simply ends the program. */
#define cr_assert(x, ...)                                                                          \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)
#define cr_assert_eq(a, b, ...) cr_assert((a) == (b))

#include "reputation/store_sqlite.h"
#include "reputation/tests/world.h"

enum { RELAYS = 4, EPOCHS = 5, EPOCH = 700 };

int main(int argc, char **argv) {
    static struct world w;
    struct rep_store_sqlite *file = NULL;
    char why[256];
    if (argc != 2)
        return 2;
    world_init(&w, RELAYS, 7, EPOCH, 1000);
    enum cv_err err = rep_store_sqlite_open(argv[1], w.node[0].cfg.network_id, world_key(&w, 0),
                                            REP_SQLITE_NORMAL, &file, why, sizeof why);
    if (err) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    w.node[0].ledger = rep_ledger_free(w.node[0].ledger);
    w.node[0].store = rep_store_sqlite_ops(file);
    world_boot(&w, 0);
    for (unsigned a = 0; a < RELAYS; a++)
        for (unsigned b = a + 1; b < RELAYS; b++)
            world_join(&w, a, b);
    for (unsigned i = 0; i < EPOCHS * 7; i++) {
        for (unsigned a = 0; a < RELAYS; a++)
            for (unsigned b = 0; b < RELAYS; b++)
                if (a != b)
                    world_carry(&w, a, b, 1232 * (1 + (a * 7 + b * 3 + i) % 11));
        world_run(&w, w.now.mono + CV_SEC(EPOCH / 7));
    }
    if (rep_ledger_flush(w.node[0].ledger, w.now))
        return 1;
    world_done(&w);
    rep_store_sqlite_close(file);
    return 0;
}
