#include "gateway/range.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* Digits at *p as a number that stops growing at UINT64_MAX; false for none. */
static bool number(const char **p, uint64_t *ret) {
    uint64_t v = 0;
    const char *start = *p;
    for (; **p >= '0' && **p <= '9'; ++*p) {
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(**p - '0'), &v))
            v = UINT64_MAX / 16; /* beyond any file, and stays there */
    }
    *ret = v;
    return *p != start;
}

static const char *skip_blanks(const char *p) {
    return p + strspn(p, " \t");
}

enum gw_range gw_range_parse(const char *header, uint64_t length, uint64_t *ret_first,
                             uint64_t *ret_last) {
    if (!header || strncasecmp(header, "bytes", 5) != 0)
        return GW_RANGE_WHOLE;
    const char *p = skip_blanks(header + 5);
    if (*p++ != '=')
        return GW_RANGE_WHOLE;
    p = skip_blanks(p);

    uint64_t first = 0, last = length - 1;
    bool has_first = number(&p, &first);
    if (*p++ != '-')
        return GW_RANGE_WHOLE;
    uint64_t n;
    bool has_last = number(&p, &n);
    p = skip_blanks(p);
    if (*p || (!has_first && !has_last))
        return GW_RANGE_WHOLE;

    if (!has_first) { /* the last n octets */
        if (n == 0)
            return GW_RANGE_UNSATISFIABLE;
        first = n < length ? length - n : 0;
    } else {
        if (has_last && n < first)
            return GW_RANGE_WHOLE;
        if (first >= length)
            return GW_RANGE_UNSATISFIABLE;
        if (has_last && n < last)
            last = n;
    }
    *ret_first = first;
    *ret_last = last;
    return GW_RANGE_PART;
}
