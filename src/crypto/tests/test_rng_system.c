/* The system's dice: nothing is thrown twice, not even on both sides of a fork. */
#include "crypto/rng_system.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/hash.h"
#include "support/suite.h"

CV_SUITE(rng_system, .init = cv_crypto_init);

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

Test(rng_system, nothing_is_thrown_twice) {
    enum { N = 5000 };
    static uint64_t v[N];
    for (unsigned i = 0; i < N; i++)
        v[i] = cv_rng_u64(cv_rng_system());
    qsort(v, N, sizeof *v, compare);
    for (unsigned i = 1; i < N; i++)
        cr_assert_neq(v[i], v[i - 1]);
}

Test(rng_system, every_length_is_filled_to_its_end) {
    for (size_t len = 1; len <= 64; len++) {
        uint8_t any[64] = {0}, got[66];
        for (unsigned tries = 0; tries < 40; tries++) {
            memset(got, 0xa5, sizeof got);
            cv_rng_fill(cv_rng_system(), got, len);
            for (size_t i = 0; i < len; i++)
                any[i] |= (uint8_t)(got[i] ^ 0xa5);
            cr_assert_eq(got[len], 0xa5, "length %zu", len);
        }
        for (size_t i = 0; i < len; i++)
            cr_assert_neq(any[i], 0, "length %zu: octet %zu is never written", len, i);
    }
}

Test(rng_system, a_child_throws_its_own) {
    int fds[2];
    uint64_t ours, theirs = 0;
    (void)cv_rng_u64(cv_rng_system()); /* so that something is left over */
    cr_assert_eq(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        theirs = cv_rng_u64(cv_rng_system());
        ssize_t n = write(fds[1], &theirs, sizeof theirs);
        _exit(n != sizeof theirs);
    }
    ours = cv_rng_u64(cv_rng_system());
    cr_assert_eq(read(fds[0], &theirs, sizeof theirs), (ssize_t)sizeof theirs);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    close(fds[0]);
    close(fds[1]);
    cr_assert_neq(ours, theirs);
}
