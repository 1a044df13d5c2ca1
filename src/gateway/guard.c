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

/* The Host is ours already. */
static bool origin_is_host(const char *origin, const char *host) {
    static const char scheme[] = "http://";
    return strncasecmp(origin, scheme, sizeof scheme - 1) == 0 &&
           strcasecmp(origin + sizeof scheme - 1, host) == 0;
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
    if ((head->origin && !origin_is_host(head->origin, head->host)) || !site_ok(area, head))
        return GW_FOREIGN;
    if (area == GW_AREA_API && !bearer_ok(self, head->authorization))
        return GW_NO_TOKEN;
    return GW_PASS;
}
