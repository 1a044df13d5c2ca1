#include "node/own.h"

#include <assert.h>
#include <string.h>

#include "base/cursor.h"
#include "base/time.h"
#include "crypto/hash.h"
#include "crypto/keys.h"
#include "reputation/gate.h"

static const char magic[4] = "CVA1";

enum { DAY = 86400, HASH = 16, MIB = 1 << 20 };
enum { LONG_AGO = 1 }; /* when a debtor's debt began: it is one already */

static int64_t midnight(int64_t wall) {
    return (int64_t)cv_day(wall) * DAY;
}

void node_own_init(struct node_own *o) {
    *o = (struct node_own){.a.gate_class = REP_CLASS_NEW};
}

static void add_row(struct node_own *o, uint8_t was, enum rep_why_cause why, int64_t wall) {
    if (o->count == NODE_OWN_ROWS)
        memmove(o->rows, o->rows + 1, --o->count * sizeof *o->rows);
    /* Exact sums would say to whoever saw the link at which second it was. */
    o->rows[o->count++] = (struct rep_why){.day = midnight(wall),
                                           .kind = REP_WHY_CLASS,
                                           .cause = (uint8_t)why,
                                           .was = was,
                                           .became = o->a.gate_class,
                                           .given = o->a.given / MIB * MIB,
                                           .taken = o->a.taken / MIB * MIB};
}

int64_t node_own_since(const struct node_own *o) {
    return o->count ? o->rows[o->count - 1].day : 0;
}

void node_own_lose(struct node_own *o, enum rep_why_cause why, int64_t wall) {
    uint8_t was = o->a.gate_class;
    o->a = (struct rep_account){.gate_class = REP_CLASS_NEW};
    o->changed_at = 0;
    add_row(o, was, why, wall);
}

static bool is_old(int64_t day, int64_t wall) {
    return day < midnight(wall) - (int64_t)NODE_OWN_DAYS * DAY;
}

static void not_ahead(int64_t *day, int64_t wall) {
    if (*day > midnight(wall))
        *day = midnight(wall);
}

bool node_own_forget(struct node_own *o, int64_t wall) {
    unsigned kept = 0;
    if (wall <= 0)
        return false;
    for (unsigned i = 0; i < o->count; i++) {
        not_ahead(&o->rows[i].day, wall);
        if (!is_old(o->rows[i].day, wall))
            o->rows[kept++] = o->rows[i];
    }
    o->count = kept;
    not_ahead(&o->a.last_seen, wall);
    if (o->a.given + o->a.taken == 0)
        return false;
    if (o->a.last_seen == 0) /* carried while no day was known */
        o->a.last_seen = midnight(wall);
    if (!is_old(o->a.last_seen, wall))
        return false;
    node_own_lose(o, REP_BECAUSE_FORGOTTEN, wall);
    return true;
}

static void grow(uint64_t *counter, uint64_t by) {
    if (__builtin_add_overflow(*counter, by, counter) || *counter > REP_AMOUNT_MAX)
        *counter = REP_AMOUNT_MAX;
}

bool node_own_carried(struct node_own *o, uint64_t gave, uint64_t took, int64_t wall) {
    if (!gave && !took)
        return false;
    bool changed = node_own_forget(o, wall);
    grow(&o->a.given, gave);
    grow(&o->a.taken, took);
    if (wall <= 0)
        return changed;
    uint8_t was = o->a.gate_class;
    o->a.last_seen = midnight(wall);
    if (rep_gate_judge(&rep_gate_defaults, &o->a, o->changed_at, wall) == was)
        return changed;
    o->changed_at = wall;
    add_row(o, was, rep_gate_because(was, o->a.gate_class), wall);
    return true;
}

/* ---- between runs ---- */

size_t node_own_write(const struct node_own *o, const uint8_t tag[NODE_OWN_TAG],
                      uint8_t ret[NODE_OWN_SAVED]) {
    struct cv_wr w = cv_wr_init(ret, NODE_OWN_SAVED);
    uint8_t hash[HASH];
    cv_wr_bytes(&w, magic, sizeof magic);
    cv_wr_bytes(&w, tag, NODE_OWN_TAG);
    cv_wr_le64(&w, o->a.given);
    cv_wr_le64(&w, o->a.taken);
    cv_wr_u8(&w, o->a.gate_class);
    cv_wr_le32(&w, cv_day(o->a.last_seen));
    cv_wr_le32(&w, o->a.gate_class == REP_CLASS_DEBT ? 0 : cv_day(o->a.debt_since));
    cv_wr_u8(&w, (uint8_t)o->count);
    for (unsigned i = 0; i < o->count; i++) {
        const struct rep_why *row = &o->rows[i];
        cv_wr_le32(&w, cv_day(row->day));
        cv_wr_u8(&w, row->cause);
        cv_wr_u8(&w, (uint8_t)row->was);
        cv_wr_u8(&w, (uint8_t)row->became);
        cv_wr_le64(&w, row->given);
        cv_wr_le64(&w, row->taken);
    }
    CV_BLAKE2B(hash, sizeof hash, NULL, 0, {ret, cv_wr_len(&w)});
    cv_wr_bytes(&w, hash, sizeof hash);
    assert(!w.err);
    return cv_wr_len(&w);
}

/* Our own circuits redeem no tokens where there is an account. */
static bool is_class(uint32_t n) {
    return n > REP_CLASS_TOKEN && n < REP_CLASSES;
}

static bool row_read(struct cv_rd *r, struct rep_why *ret) {
    ret->kind = REP_WHY_CLASS;
    ret->day = (int64_t)cv_rd_le32(r) * DAY;
    ret->cause = cv_rd_u8(r);
    ret->was = cv_rd_u8(r);
    ret->became = cv_rd_u8(r);
    ret->given = cv_rd_le64(r);
    ret->taken = cv_rd_le64(r);
    return !r->err && rep_why_text(ret->cause)[0] && is_class(ret->was) && is_class(ret->became) &&
           ret->given <= REP_AMOUNT_MAX && ret->given % MIB == 0 && ret->taken <= REP_AMOUNT_MAX &&
           ret->taken % MIB == 0;
}

static bool debt_read(struct node_own *o, uint32_t day, int64_t wall) {
    int64_t latest = (int64_t)day * DAY + DAY - 1;
    bool debtor = o->a.gate_class == REP_CLASS_DEBT;
    if (debtor)
        o->a.debt_since = LONG_AGO;
    else if (day)
        o->a.debt_since = wall > 0 && wall < latest ? wall : latest;
    return !debtor || day == 0;
}

enum cv_err node_own_read(const uint8_t *tag, const uint8_t *saved, size_t len, int64_t wall,
                          struct node_own *ret) {
    struct node_own o;
    uint8_t hash[HASH];
    node_own_init(&o);
    if (len < sizeof magic || memcmp(saved, magic, sizeof magic - 1) != 0)
        return CV_ERR_CORRUPT;
    if (saved[3] != (uint8_t)magic[3])
        return saved[3] > '0' && saved[3] <= '9' ? CV_ERR_VERSION : CV_ERR_CORRUPT;
    if (len < sizeof magic + HASH || len > NODE_OWN_SAVED)
        return CV_ERR_CORRUPT;
    CV_BLAKE2B(hash, sizeof hash, NULL, 0, {saved, len - HASH});
    if (!cv_equal(hash, saved + len - HASH, HASH))
        return CV_ERR_CORRUPT;

    struct cv_rd r = cv_rd_init(saved + sizeof magic, len - sizeof magic - HASH);
    uint8_t whose[NODE_OWN_TAG];
    cv_rd_copy(&r, whose, sizeof whose);
    o.a.given = cv_rd_le64(&r);
    o.a.taken = cv_rd_le64(&r);
    o.a.judged = o.a.taken; /* what was taken before is not taken now */
    o.a.gate_class = cv_rd_u8(&r);
    o.a.last_seen = (int64_t)cv_rd_le32(&r) * DAY;
    bool debt = debt_read(&o, cv_rd_le32(&r), wall);
    o.count = cv_rd_u8(&r);
    if (o.count > NODE_OWN_ROWS || !debt || !is_class(o.a.gate_class) ||
        o.a.given > REP_AMOUNT_MAX || o.a.taken > REP_AMOUNT_MAX)
        return CV_ERR_CORRUPT;
    if (o.a.gate_class != REP_CLASS_NEW && o.a.given + o.a.taken < rep_gate_defaults.new_octets)
        return CV_ERR_CORRUPT; /* nobody gets another class by so little, nor keeps it */
    for (unsigned i = 0; i < o.count; i++)
        if (!row_read(&r, &o.rows[i]))
            return CV_ERR_CORRUPT;
    if (r.err || cv_rd_left(&r) > 0)
        return CV_ERR_CORRUPT;
    if (tag && memcmp(tag, whose, sizeof whose) != 0)
        return CV_ERR_DIFFERS;
    *ret = o;
    return CV_ERR_OK;
}
