/*
 * KRPC messages. Property: a message that is read without fault and written
 * again can be read again, and from then on writing and reading change nothing;
 * every span lies inside the datagram.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "dht/krpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(const uint8_t *data, size_t size, struct dht_span s) {
    assert(!s.p || (s.p >= data && s.p + s.n <= data + size));
}

static void addresses(struct dht_span list) {
    struct dht_ben_iter it = dht_ben_list(list);
    struct dht_span raw, s;
    struct cv_addr a;
    while (dht_ben_next(&it, &raw)) {
        if (!dht_ben_string(raw, &s) || !dht_compact_read(s, &a))
            continue;
        uint8_t buf[DHT_COMPACT_MAX];
        struct cv_wr w = cv_wr_init(buf, sizeof buf);
        dht_compact_write(&w, &a);
        assert(cv_wr_len(&w) == s.n);
        assert(memcmp(buf, s.p, s.n) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t once[65536], twice[65536];
    struct dht_msg m, back;
    if (size > sizeof once / 2 || dht_msg_read(data, size, &m))
        return 0;
    inside(data, size, m.t);
    inside(data, size, m.ip);
    inside(data, size, m.id);
    inside(data, size, m.value);
    inside(data, size, m.text);
    inside(data, size, m.want);
    assert(m.t.n > 0);
    (void)dht_msg_wants(&m, 4);
    (void)dht_msg_wants(&m, 6);
    addresses(m.values);
    if (m.fault || (m.kind == DHT_QUERY && !m.method_name.p))
        return 0;

    struct cv_wr w = cv_wr_init(once, sizeof once);
    dht_msg_write(&w, &m);
    ssize_t n = cv_wr_done(&w);
    assert(n > 0);
    assert(dht_msg_read(once, (size_t)n, &back) == CV_ERR_OK);
    assert(!back.fault);
    struct cv_wr w2 = cv_wr_init(twice, sizeof twice);
    dht_msg_write(&w2, &back);
    assert(cv_wr_done(&w2) == n);
    assert(memcmp(once, twice, (size_t)n) == 0);
    return 0;
}
