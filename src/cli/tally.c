#include "cli/tally.h"

#include <string.h>

#include "base/cursor.h"
#include "crypto/hash.h"

enum { WITHOUT_LEFT = 1, WITHOUT_CHECK = 2, VERSION = 3, CHECK = 8 };
/* Nobody's clock is later: the end of the year 9999. One that is not set stands at 0, and the
 * week, or month, may have begun before. */
#define LATEST   INT64_C(253402300799)
#define EARLIEST (-31 * INT64_C(86400))

static bool is_of_a_calendar(int64_t began) {
    return began >= EARLIEST && began <= LATEST;
}

bool cli_tally_turn(struct cli_tally *t, int64_t began) {
    struct cli_tally to = {.began = began, .left_began = t->began, .left_used = t->used};
    bool back = began < t->began;
    if (began == t->began)
        return false;
    if (began == t->left_began)
        to.used = t->left_used;
    if (back) {
        to.used += t->used;
    } else if (t->began <= 0) { /* that was no period: it belongs to this one */
        to.used += t->used - (t->left_used < t->used ? t->left_used : t->used);
        to.left_began = 0;
        to.left_used = 0;
    }
    *t = to;
    return back;
}

void cli_tally_write(const struct cli_tally *t, uint8_t ret[CLI_TALLY_OCTETS]) {
    struct cv_wr w = cv_wr_init(ret, CLI_TALLY_OCTETS);
    cv_wr_u8(&w, VERSION);
    cv_wr_le64(&w, (uint64_t)t->began);
    cv_wr_le64(&w, t->used);
    cv_wr_le64(&w, (uint64_t)t->left_began);
    cv_wr_le64(&w, t->left_used);
    CV_BLAKE2B(ret + CLI_TALLY_OCTETS - CHECK, CHECK, NULL, 0, {ret, CLI_TALLY_OCTETS - CHECK});
}

enum cv_err cli_tally_read(const uint8_t *buf, size_t len, struct cli_tally *ret) {
    struct cv_rd r = cv_rd_init(buf, len);
    uint8_t version = cv_rd_u8(&r), sum[CHECK];
    const uint8_t *check;
    struct cli_tally t = {.began = (int64_t)cv_rd_le64(&r)};
    t.used = cv_rd_le64(&r);
    if (version == VERSION || version == WITHOUT_CHECK) {
        t.left_began = (int64_t)cv_rd_le64(&r);
        t.left_used = cv_rd_le64(&r);
    } else if (version != WITHOUT_LEFT) {
        return CV_ERR_CORRUPT;
    }
    if (version == VERSION && (check = cv_rd_bytes(&r, CHECK)) != NULL) {
        CV_BLAKE2B(sum, CHECK, NULL, 0, {buf, CLI_TALLY_OCTETS - CHECK});
        if (memcmp(sum, check, CHECK) != 0)
            return CV_ERR_CORRUPT;
    }
    if (r.err || cv_rd_left(&r) || !is_of_a_calendar(t.began) || !is_of_a_calendar(t.left_began))
        return CV_ERR_CORRUPT;
    *ret = t;
    return CV_ERR_OK;
}
