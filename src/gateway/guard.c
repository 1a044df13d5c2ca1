#include "gateway/guard.h"

#include <string.h>
#include <strings.h>

#include "crypto/keys.h"

bool gw_token_is(const char *text, size_t len, const char *token) {
    size_t want = strlen(token);
    return text && len == want && cv_equal(text, token, want);
}

static bool host_is_us(const struct gw_self *self, const char *host) {
    for (size_t i = 0; host && i < GW_HOSTS; i++)
        if (self->hosts[i][0] && strcasecmp(host, self->hosts[i]) == 0)
            return true;
    return false;
}

static bool origin_is_us(const struct gw_self *self, const char *origin) {
    static const char scheme[] = "http://";
    return strncasecmp(origin, scheme, sizeof scheme - 1) == 0 &&
           host_is_us(self, origin + sizeof scheme - 1);
}

/* "a=1; b=2": the value of our cookie. */
static bool cookie_ok(const struct gw_self *self, const char *cookies) {
    size_t name = strlen(self->cookie);
    for (const char *at = cookies; at && *at;) {
        at += strspn(at, "; ");
        size_t len = strcspn(at, ";");
        if (len > name && at[name] == '=' && strncmp(at, self->cookie, name) == 0 &&
            gw_token_is(at + name + 1, len - name - 1, self->token))
            return true;
        at += len;
    }
    return false;
}

static bool bearer_ok(const struct gw_self *self, const char *authorization) {
    static const char kind[] = "Bearer ";
    return authorization && strncasecmp(authorization, kind, sizeof kind - 1) == 0 &&
           gw_token_is(authorization + sizeof kind - 1, strlen(authorization + sizeof kind - 1),
                       self->token);
}

static bool site_ok(enum gw_area area, const struct gw_head *head) {
    if (!head->fetch_site || !strcmp(head->fetch_site, "same-origin") ||
        !strcmp(head->fetch_site, "none"))
        return true;
    return area == GW_AREA_PAGE && head->fetch_mode && !strcmp(head->fetch_mode, "navigate");
}

enum gw_verdict gw_guard(const struct gw_self *self, enum gw_area area,
                         const struct gw_head *head) {
    if (!host_is_us(self, head->host))
        return GW_MISDIRECTED;
    if ((head->origin && !origin_is_us(self, head->origin)) || !site_ok(area, head))
        return GW_FOREIGN;
    if (area == GW_AREA_API && !cookie_ok(self, head->cookie) &&
        !bearer_ok(self, head->authorization))
        return GW_NO_TOKEN;
    return GW_PASS;
}
