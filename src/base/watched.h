/*
 * Memory that is nobody's for a while. In builds with AddressSanitizer whoever reads or writes
 * what is hidden ends the program; in others nothing happens. Eight octets at least, at
 * multiples of eight.
 */
#ifndef CULVERT_BASE_WATCHED_H
#define CULVERT_BASE_WATCHED_H

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define CV_WATCHED
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define CV_WATCHED
#endif
#ifdef CV_WATCHED
#include <sanitizer/asan_interface.h>
#define CV_HIDE(p, n) __asan_poison_memory_region(p, n)
#define CV_SHOW(p, n) __asan_unpoison_memory_region(p, n)
#else
#define CV_HIDE(p, n) ((void)(p), (void)(n))
#define CV_SHOW(p, n) ((void)(p), (void)(n))
#endif

#endif
