/*
 * Every Criterion suite is declared with CV_SUITE(name), never with
 * TestSuite(): Criterion by itself reports neither a leak nor undefined
 * behaviour as a failure. The .fini below asks LeakSanitizer and aborts; an
 * assertion there would be ignored. Undefined behaviour aborts by
 * -fno-sanitize-recover. tests/workshop proves that all of this works.
 */
#ifndef CULVERT_TESTS_SUPPORT_SUITE_H
#define CULVERT_TESTS_SUPPORT_SUITE_H

#include <criterion/criterion.h>
#include <stdlib.h>

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

#define CV_SUITE(name, ...) TestSuite(name, .fini = cv_suite_fini, ##__VA_ARGS__)

#endif
