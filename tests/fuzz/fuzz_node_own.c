/*
 * Our own account (node/own.h). Input: the length of a saved one (2 octets), its octets up to the
 * hash, which is put behind them here, and then a script: 1 octet that says what (give, take,
 * both, nothing; wait seconds, hours, weeks; end and begin again), 1 octet how much. An input that
 * begins with '!' is read as it is.
 *
 * Property: what is read is written as the same octets, what is refused leaves the result
 * untouched; classes exist, rows are few and lead from one class to the next, nothing is older than
 * it may be; no sum falls unless all is forgotten, and whoever only gives and owes nothing never
 * stands worse, whether it ends in between or not.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/cursor.h"
#include "crypto/hash.h"
#include "crypto/keys.h"
#include "node/own.h"
#include "reputation/gate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HASH = 16, DAY = 86400 };

static const uint8_t tag[NODE_OWN_TAG] = {1};

static void check(const struct node_own *o) {
    assert(o->a.gate_class > REP_CLASS_TOKEN && o->a.gate_class < REP_CLASSES);
    assert(o->count <= NODE_OWN_ROWS);
    assert(o->a.given <= REP_AMOUNT_MAX && o->a.taken <= REP_AMOUNT_MAX);
    assert(node_own_since(o) % DAY == 0 && o->a.last_seen % DAY == 0);
    for (unsigned i = 0; i < o->count; i++)
        assert(o->rows[i].given % (1 << 20) == 0 && o->rows[i].taken % (1 << 20) == 0);
}

static void again(struct node_own *o, int64_t wall) {
    uint8_t octets[NODE_OWN_SAVED];
    size_t len = node_own_write(o, tag, octets);
    struct node_own got;
    enum cv_err err = node_own_read(tag, octets, len, wall, &got);
    assert(!err && "what was written is read");
    (void)err;
    assert(got.a.given == o->a.given && got.a.taken == o->a.taken);
    assert(got.a.gate_class == o->a.gate_class && got.count == o->count);
    assert(node_own_since(&got) == node_own_since(o));
    *o = got;
}

static void step(struct node_own *o, int64_t *wall, uint8_t what, uint8_t much) {
    static const int64_t waits[] = {1, 61, 3601, 7 * DAY};
    struct node_own was = *o;
    uint64_t octets = UINT64_C(1) << much % 64, gave = what & 1 ? octets : 0,
             took = what & 2 ? octets : 0;
    *wall += what & 4 ? waits[what >> 3 & 3] * (1 + (what >> 5 & 1)) : 0;
    if (what & 0x40)
        again(o, *wall);
    if (what & 0x80)
        (void)node_own_forget(o, *wall);
    bool changed = node_own_carried(o, gave, took, *wall);
    check(o);
    assert(changed || o->a.gate_class == was.a.gate_class || what & 0x80);
    bool forgotten = o->a.given < was.a.given || o->a.taken < was.a.taken;
    if (forgotten)
        assert(was.a.last_seen < *wall - (int64_t)NODE_OWN_DAYS * DAY);
    else if (!took && was.a.taken <= was.a.given)
        assert(o->a.gate_class <= was.a.gate_class && "nothing falls while one only gives");
    if (o->count && (gave || took))
        assert(o->rows[0].day >= *wall - (NODE_OWN_DAYS + 1) * (int64_t)DAY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct cv_rd in = cv_rd_init(data, size);
    uint8_t octets[NODE_OWN_SAVED + HASH], back[NODE_OWN_SAVED];
    struct node_own o, untouched;
    int64_t wall = INT64_C(60000) * DAY;
    size_t len = 0;
    cv_crypto_init();
    memset(&o, 0xee, sizeof o);
    memset(&untouched, 0xee, sizeof untouched);
    if (size && data[0] == '!') {
        if (node_own_read(NULL, data + 1, size - 1, wall, &o))
            assert(memcmp(&o, &untouched, sizeof o) == 0);
        return 0;
    }
    len = cv_rd_le16(&in) % (NODE_OWN_SAVED + 1);
    len = len < cv_rd_left(&in) ? len : cv_rd_left(&in);
    cv_rd_copy(&in, octets, len);
    CV_BLAKE2B(octets + len, HASH, NULL, 0, {octets, len});
    if (node_own_read(NULL, octets, len + HASH, /* wall= */ 0, &o)) {
        assert(memcmp(&o, &untouched, sizeof o) == 0);
        node_own_init(&o);
    } else {
        size_t n = node_own_write(&o, octets + 4, back);
        assert(n == len + HASH && memcmp(octets, back, n) == 0);
        enum cv_err err = node_own_read(NULL, octets, len + HASH, wall, &o);
        assert(!err && "no day matters to whether it is read");
        (void)err;
        check(&o);
    }
    while (cv_rd_left(&in) >= 2) {
        uint8_t what = cv_rd_u8(&in);
        step(&o, &wall, what, cv_rd_u8(&in));
    }
    return 0;
}
