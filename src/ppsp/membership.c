#include "ppsp/membership.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "ppsp/limits.h"

/* ---- the URI ------------------------------------------------------------------------ */

static const char scheme[] = "file://";

bool ppsp_member_uri(const struct cv_addr *addr, const uint8_t *id, size_t id_len,
                     char ret[CV_CERTIFICATE_URI_MAX + 1]) {
    char host[CV_ADDR_TEXT];
    size_t n = strlen(cv_addr_text(addr, host)), head = sizeof scheme - 1;
    if (head + n + 1 + 2 * id_len > CV_CERTIFICATE_URI_MAX)
        return false;
    memcpy(ret, scheme, head);
    memcpy(ret + head, host, n);
    ret[head + n] = '/';
    cv_hex(id, id_len, ret + head + n + 1);
    return true;
}

enum cv_err ppsp_member_parse(const char *uri, const uint8_t *id, size_t id_len,
                              struct cv_addr *ret) {
    char host[CV_ADDR_TEXT];
    uint8_t swarm[CV_CERTIFICATE_URI_MAX / 2];
    struct cv_addr addr;
    if (strncasecmp(uri, scheme, sizeof scheme - 1) != 0)
        return CV_ERR_MALFORMED;
    uri += sizeof scheme - 1;
    const char *path = strchr(uri, '/');
    if (!path || (size_t)(path - uri) >= sizeof host)
        return CV_ERR_MALFORMED;
    memcpy(host, uri, (size_t)(path - uri));
    host[path - uri] = 0;
    path++;
    size_t digits = strlen(path);
    if (cv_addr_parse(host, &addr) || addr.port == 0 || digits % 2 || digits / 2 > sizeof swarm ||
        cv_unhex(path, swarm, digits / 2))
        return CV_ERR_MALFORMED;
    if (digits / 2 != id_len || memcmp(swarm, id, id_len) != 0)
        return CV_ERR_DIFFERS;
    *ret = addr;
    return CV_ERR_OK;
}

/* ---- the authority ------------------------------------------------------------------- */

static bool same_key(const struct cv_dnssec_secret *key, const uint8_t *authority, size_t len) {
    uint8_t mine[1 + CV_DNSSEC_PUBLIC_MAX];
    mine[0] = (uint8_t)cv_dnssec_alg(key);
    size_t n = 1 + cv_dnssec_public_of(key, mine + 1);
    return n == len && memcmp(mine, authority, len) == 0;
}

/* Of any time: that is looked at before it is shown. */
static enum cv_err keep_own(struct ppsp_membership *m, const struct ppsp_authority *a,
                            const uint8_t *id, size_t id_len) {
    struct cv_certificate what;
    if (cv_certificate_read(a->certificate, a->certificate_len, &what) ||
        ppsp_member_parse(what.uri, id, id_len, &m->own_addr) ||
        !cv_certificate_verify(a->certificate, a->certificate_len, m->authority))
        return CV_ERR_INVAL;
    return ppsp_member_keep(&m->own, a->certificate, a->certificate_len, what.not_after);
}

enum cv_err ppsp_membership_init(struct ppsp_membership *m, const struct ppsp_authority *a,
                                 const uint8_t *id, size_t id_len) {
    *m = (struct ppsp_membership){.key = a->key};
    enum cv_dnssec_alg alg = a->id_len < 2 ? (enum cv_dnssec_alg)0 : (enum cv_dnssec_alg)a->id[0];
    if (!cv_certificate_issuer_ok(alg) || (a->key && !same_key(a->key, a->id, a->id_len)))
        return CV_ERR_INVAL;
    enum cv_err err = cv_dnssec_public_new(alg, a->id + 1, a->id_len - 1, &m->authority);
    if (err)
        return err == CV_ERR_NOMEM ? err : CV_ERR_INVAL;
    if (a->certificate_len)
        err = keep_own(m, a, id, id_len);
    if (err)
        ppsp_membership_done(m);
    return err;
}

void ppsp_membership_done(struct ppsp_membership *m) {
    m->authority = cv_dnssec_public_free(m->authority);
    ppsp_member_done(&m->own);
    *m = (struct ppsp_membership){0};
}

/* ---- certificates --------------------------------------------------------------------- */

/* Clocks of peers differ somewhat. */
static bool in_time(const struct cv_certificate *what, int64_t wall) {
    return wall > 0 && what->not_before <= wall + PPSP_MEMBER_SKEW && what->not_after >= wall;
}

enum cv_err ppsp_membership_check(const struct ppsp_membership *m, int64_t wall, const uint8_t *id,
                                  size_t id_len, const uint8_t *der, size_t len,
                                  struct cv_addr *ret, int64_t *ret_until) {
    struct cv_certificate what;
    struct cv_addr addr;
    enum cv_err err = cv_certificate_read(der, len, &what);
    if (!err)
        err = ppsp_member_parse(what.uri, id, id_len, &addr);
    if (!err && !in_time(&what, wall))
        err = CV_ERR_STALE;
    if (!err && !cv_certificate_verify(der, len, m->authority))
        err = CV_ERR_AUTH;
    if (err)
        return err;
    *ret = addr;
    *ret_until = what.not_after;
    return CV_ERR_OK;
}

void ppsp_member_done(struct ppsp_member *c) {
    free(c->der);
    *c = (struct ppsp_member){0};
}

bool ppsp_member_usable(const struct ppsp_member *c, int64_t wall) {
    return c->der && wall > 0 && c->until >= wall + PPSP_MEMBER_LEFT;
}

enum cv_err ppsp_member_keep(struct ppsp_member *c, const uint8_t *der, size_t len, int64_t until) {
    uint8_t *copy = malloc(len);
    if (!copy)
        return CV_ERR_NOMEM;
    memcpy(copy, der, len);
    ppsp_member_done(c);
    *c = (struct ppsp_member){.der = copy, .len = (uint16_t)len, .until = until};
    return CV_ERR_OK;
}

enum cv_err ppsp_membership_issue(struct ppsp_membership *m, int64_t wall, const struct cv_rng *rng,
                                  const uint8_t *id, size_t id_len, const struct cv_addr *addr,
                                  struct ppsp_member *ret) {
    struct cv_certificate what = {.not_before = wall, .not_after = wall + PPSP_MEMBER_TIME};
    uint8_t der[CV_CERTIFICATE_MAX];
    size_t len = 0;
    if (!ppsp_member_uri(addr, id, id_len, what.uri))
        return CV_ERR_NOBUFS;
    enum cv_err err = cv_certificate_issue(m->key, &what, cv_rng_u64(rng), der, &len);
    if (err)
        return err;
    m->issued_len = (uint16_t)len;
    return ppsp_member_keep(ret, der, len, what.not_after);
}
