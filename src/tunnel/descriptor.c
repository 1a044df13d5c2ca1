#include "tunnel/descriptor.h"

#include <assert.h>
#include <string.h>

#include "base/cursor.h"
#include "base/time.h"
#include "crypto/hash.h"
#include "tunnel/relaycmd.h"

static const char label[] = "culvert descriptor 1";

/* ---- octets ---- */

static void write_body(struct cv_wr *w, const struct tun_descriptor *d,
                       const uint8_t identity[CV_KEY]) {
    cv_wr_u8(w, d->version ? d->version : TUN_VERSION);
    cv_wr_bytes(w, d->network_id, TUN_NETWORK_ID);
    cv_wr_bytes(w, identity, CV_KEY);
    cv_wr_le32(w, d->day);
    cv_wr_bytes(w, d->link_key, CV_KEY);
    cv_wr_bytes(w, d->onion_key, sizeof d->onion_key);
    cv_wr_bytes(w, d->token_key, CV_KEY);
    cv_wr_le16(w, d->flags);
    cv_wr_u8(w, d->suites);
    cv_wr_le32(w, d->bandwidth);
    cv_wr_u8(w, d->addrs);
    for (unsigned i = 0; i < d->addrs; i++)
        tun_addr_write(w, &d->addr[i]);
    cv_wr_u8(w, d->families);
    cv_wr_bytes(w, d->family, d->families * sizeof d->family[0]);
    cv_wr_u8(w, d->exit_ports);
    for (unsigned i = 0; i < d->exit_ports; i++) {
        cv_wr_le16(w, d->exit_port[i].first);
        cv_wr_le16(w, d->exit_port[i].last);
    }
}

ssize_t tun_descriptor_sign(const struct tun_descriptor *d,
                            const struct cv_ed25519_secret *identity, uint8_t *buf, size_t cap) {
    assert(d->addrs >= 1);
    assert(d->addrs <= TUN_ADDRS_MAX);
    assert(d->families <= TUN_FAMILY_MAX);
    assert(d->exit_ports <= TUN_EXIT_PORTS_MAX);
    struct cv_wr w = cv_wr_init(buf, cap);
    write_body(&w, d, identity->public_key);
    size_t body = cv_wr_len(&w);
    uint8_t *sig = cv_wr_skip(&w, CV_SIGNATURE);
    if (w.err)
        return w.err;
    cv_ed25519_sign(sig, identity, label, buf, body);
    assert(cv_wr_len(&w) <= TUN_DESCRIPTOR_MAX);
    return cv_wr_done(&w);
}

static enum cv_err read_lists(struct cv_rd *r, struct tun_descriptor *d) {
    d->addrs = cv_rd_u8(r);
    if (!r->err && (d->addrs < 1 || d->addrs > TUN_ADDRS_MAX))
        return CV_ERR_MALFORMED;
    for (unsigned i = 0; i < d->addrs && !r->err; i++) {
        tun_addr_read(r, &d->addr[i]);
        if (!r->err && d->addr[i].port == 0)
            return CV_ERR_MALFORMED;
    }
    d->families = cv_rd_u8(r);
    if (!r->err && d->families > TUN_FAMILY_MAX)
        return CV_ERR_MALFORMED;
    for (unsigned i = 0; i < d->families && !r->err; i++)
        cv_rd_copy(r, d->family[i], CV_KEY);
    d->exit_ports = cv_rd_u8(r);
    if (!r->err && d->exit_ports > TUN_EXIT_PORTS_MAX)
        return CV_ERR_MALFORMED;
    for (unsigned i = 0; i < d->exit_ports && !r->err; i++) {
        d->exit_port[i].first = cv_rd_le16(r);
        d->exit_port[i].last = cv_rd_le16(r);
        if (!r->err && d->exit_port[i].first > d->exit_port[i].last)
            return CV_ERR_MALFORMED;
    }
    return r->err;
}

/* Everything but the signature. What follows the fields we know belongs to
 * later versions. */
static enum cv_err read_body(struct cv_rd *r, struct tun_descriptor *d) {
    d->version = cv_rd_u8(r);
    if (!r->err && tun_version_between(TUN_VERSION, d->version) == 0)
        return CV_ERR_VERSION;
    cv_rd_copy(r, d->network_id, TUN_NETWORK_ID);
    cv_rd_copy(r, d->identity, CV_KEY);
    d->day = cv_rd_le32(r);
    cv_rd_copy(r, d->link_key, CV_KEY);
    cv_rd_copy(r, d->onion_key, sizeof d->onion_key);
    cv_rd_copy(r, d->token_key, CV_KEY);
    d->flags = cv_rd_le16(r);
    d->suites = cv_rd_u8(r);
    d->bandwidth = cv_rd_le32(r);
    return r->err ? r->err : read_lists(r, d);
}

enum cv_err tun_descriptor_open(const void *buf, size_t len,
                                const uint8_t network_id[TUN_NETWORK_ID],
                                struct tun_descriptor *ret) {
    if (len > TUN_DESCRIPTOR_MAX)
        return CV_ERR_MALFORMED;
    if (len < CV_SIGNATURE)
        return CV_ERR_TRUNCATED;
    struct tun_descriptor d;
    memset(&d, 0, sizeof d);
    struct cv_rd r = cv_rd_init(buf, len - CV_SIGNATURE);
    enum cv_err err = read_body(&r, &d);
    if (err)
        return err;
    if (memcmp(d.network_id, network_id, TUN_NETWORK_ID) != 0)
        return CV_ERR_DIFFERS;
    const uint8_t *sig = (const uint8_t *)buf + len - CV_SIGNATURE;
    if (!cv_ed25519_verify(sig, d.identity, label, buf, len - CV_SIGNATURE))
        return CV_ERR_AUTH;
    tun_descriptor_digest(buf, len, d.digest);
    *ret = d;
    return CV_ERR_OK;
}

void tun_descriptor_digest(const void *buf, size_t len, uint8_t ret[TUN_DIGEST]) {
    CV_BLAKE2B(ret, TUN_DIGEST, NULL, 0, {buf, len});
}

int tun_descriptor_addr(const struct tun_descriptor *d, const struct cv_addr *addr) {
    for (unsigned i = 0; i < d->addrs; i++)
        if (cv_addr_equal(&d->addr[i], addr))
            return (int)i;
    return -1;
}

bool tun_descriptor_has_addr(const struct tun_descriptor *d, const struct cv_addr *addr) {
    return tun_descriptor_addr(d, addr) >= 0;
}

bool tun_descriptor_has_family(const struct tun_descriptor *d, uint8_t family) {
    for (unsigned i = 0; i < d->addrs; i++)
        if (d->addr[i].family == family)
            return true;
    return false;
}

void tun_descriptor_ref(const struct tun_descriptor *d, int64_t wall, struct tun_relay_ref *ret) {
    *ret = (struct tun_relay_ref){.day = d->day, .suites = d->suites, .version = d->version};
    memcpy(ret->identity, d->identity, CV_KEY);
    memcpy(ret->d, d->digest, TUN_DIGEST);
    memcpy(ret->link_key, d->link_key, CV_KEY);
    memcpy(ret->onion_key, d->onion_key[tun_onion_key_newest(d->day, wall)], CV_KEY);
    for (size_t i = 0; i < d->addrs && i < sizeof ret->addr / sizeof *ret->addr; i++)
        ret->addr[i] = d->addr[i];
}

bool tun_descriptor_is_proof(const void *a, size_t a_len, const void *b, size_t b_len,
                             const uint8_t network_id[TUN_NETWORK_ID]) {
    struct tun_descriptor da, db;
    if (tun_descriptor_open(a, a_len, network_id, &da) ||
        tun_descriptor_open(b, b_len, network_id, &db))
        return false;
    return da.day == db.day && memcmp(da.identity, db.identity, CV_KEY) == 0 &&
           (a_len != b_len || memcmp(a, b, a_len) != 0);
}

/* ---- the calendar ---- */

enum { HOUR = 3600, DAY = 24 * HOUR };

/* Seconds since the day began; negative before. */
static int64_t since(uint32_t day, int64_t wall) {
    return wall - (int64_t)day * DAY;
}

uint32_t tun_descriptor_day(int64_t wall) {
    return cv_day(wall - 3 * HOUR);
}

int64_t tun_descriptor_day_begins(uint32_t day) {
    return (int64_t)day * DAY + 3 * HOUR;
}

uint32_t tun_descriptor_other_day(int64_t wall) {
    uint32_t day = tun_descriptor_day(wall);
    if (wall - tun_descriptor_day_begins(day) < TUN_TURN_S)
        return day - 1;
    return tun_descriptor_day_begins(day + 1) - wall <= TUN_TURN_S ? day + 1 : day;
}

bool tun_descriptor_is_current(uint32_t day, int64_t wall) {
    int64_t s = since(day, wall);
    return s >= -3 * HOUR && s < DAY + 8 * HOUR;
}

unsigned tun_onion_key_newest(uint32_t day, int64_t wall) {
    int64_t s = since(day, wall);
    if (s < 0)
        return 0;
    return s < DAY ? (unsigned)(s / (6 * HOUR)) : TUN_ONION_KEYS - 1;
}

bool tun_onion_key_accepted(uint32_t day, unsigned i, int64_t wall) {
    assert(i < TUN_ONION_KEYS);
    int64_t begin = (int64_t)i * 6 * HOUR;
    int64_t end = i == TUN_ONION_KEYS - 1 ? DAY + 3 * HOUR : begin + 6 * HOUR;
    int64_t s = since(day, wall);
    return s >= begin - 2 * HOUR && s < end + 2 * HOUR;
}

/* ---- where relays are found ---- */

void tun_network_id(const char *name, uint8_t ret[TUN_NETWORK_ID]) {
    CV_BLAKE2B(ret, TUN_NETWORK_ID, NULL, 0, {name, strlen(name)});
}

uint16_t tun_relay_bucket(const uint8_t identity[CV_KEY], uint32_t day, unsigned level) {
    assert(level == 0 || level == 4 || level == 8);
    uint8_t le[4], h[32];
    struct cv_wr w = cv_wr_init(le, sizeof le);
    cv_wr_le32(&w, day);
    CV_BLAKE2B(h, sizeof h, NULL, 0, {identity, CV_KEY}, {le, sizeof le});
    return (uint16_t)(h[0] >> (8 - level));
}

void tun_relay_dht_key(const uint8_t network_id[TUN_NETWORK_ID], uint32_t day, unsigned level,
                       uint16_t bucket, uint8_t ret[20]) {
    uint8_t rest[7];
    struct cv_wr w = cv_wr_init(rest, sizeof rest);
    cv_wr_le32(&w, day);
    cv_wr_u8(&w, (uint8_t)level);
    cv_wr_le16(&w, bucket);
    CV_BLAKE2B(ret, 20, NULL, 0, {"culvert relay", 13}, {network_id, TUN_NETWORK_ID},
               {rest, sizeof rest});
}
