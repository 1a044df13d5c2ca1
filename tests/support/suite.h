/*
 * Every Criterion suite is declared with CV_SUITE(name), never with
 * TestSuite(): Criterion by itself reports neither a leak nor undefined
 * behaviour as a failure. The .fini below asks LeakSanitizer and aborts; an
 * assertion there would be ignored. Undefined behaviour aborts by
 * -fno-sanitize-recover. tests/workshop proves that all of this works.
 *
 * Criterion also sends what a test writes to standard error, and with it every
 * sanitizer report, to /dev/null. With CV_TEST_STDERR=FILE in the environment
 * it is appended to FILE (scripts/test does that and shows it on failure).
 */
#ifndef CULVERT_TESTS_SUPPORT_SUITE_H
#define CULVERT_TESTS_SUPPORT_SUITE_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CV_TEST_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define CV_TEST_ASAN 1
#endif

#ifdef CV_TEST_ASAN
int __lsan_do_recoverable_leak_check(void);
#endif

static inline void cv_suite_fini(void) {
#ifdef CV_TEST_ASAN
    if (__lsan_do_recoverable_leak_check())
        abort();
#endif
}

/* Runs in each test's own process too: Criterion starts the program anew. */
static __attribute__((constructor)) void cv_suite_stderr(void) {
    const char *path = getenv("CV_TEST_STDERR");
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (fd < 0)
        return;
    dup2(fd, STDERR_FILENO);
    close(fd);
}

#define CV_SUITE(name, ...) TestSuite(name, .fini = cv_suite_fini, ##__VA_ARGS__)

#endif
