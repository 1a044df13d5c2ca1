#include "tunnel/params.h"

#include <stdbool.h>

enum { PAD = 0, TTL = 1, SUITE = 2, VERSION = 3 };

static bool take_u8(uint8_t *field, const uint8_t *value, uint8_t len) {
    if (*field != 0 || len != 1 || value[0] == 0)
        return false;
    *field = value[0];
    return true;
}

enum cv_err tun_params_read(struct cv_rd *r, struct tun_params *ret) {
    struct tun_params p = {0};
    while (!r->err && cv_rd_left(r) > 0) {
        uint8_t type = cv_rd_u8(r);
        if (type == PAD) {
            cv_rd_bytes(r, cv_rd_left(r));
            break;
        }
        uint8_t len = cv_rd_u8(r);
        const uint8_t *value = cv_rd_bytes(r, len);
        if (!value)
            return r->err;
        bool ok = true;
        if (type == TTL)
            ok = take_u8(&p.ttl, value, len);
        else if (type == SUITE)
            ok = take_u8(&p.suite, value, len);
        else if (type == VERSION)
            ok = take_u8(&p.version, value, len);
        if (!ok)
            return CV_ERR_MALFORMED;
    }
    if (r->err)
        return r->err;
    *ret = p;
    return CV_ERR_OK;
}

static void put_u8(struct cv_wr *w, uint8_t type, uint8_t value) {
    if (value == 0)
        return;
    cv_wr_u8(w, type);
    cv_wr_u8(w, 1);
    cv_wr_u8(w, value);
}

void tun_params_write(struct cv_wr *w, const struct tun_params *p) {
    put_u8(w, TTL, p->ttl);
    put_u8(w, SUITE, p->suite);
    put_u8(w, VERSION, p->version);
}
