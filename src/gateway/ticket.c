#include "gateway/ticket.h"

#include <string.h>

#include "base/text.h"
#include "crypto/hash.h"
#include "crypto/keys.h"

const char *gw_ticket_new(struct gw_tickets *t, const void *key, size_t key_len, cv_usec now) {
    size_t at = t->made++ % GW_TICKETS_MAX;
    uint8_t ticket[(GW_TOKEN_TEXT - 1) / 2];
    CV_BLAKE2B(ticket, sizeof ticket, key, key_len, {"page ticket", 11},
               {&t->made, sizeof t->made});
    cv_hex(ticket, sizeof ticket, t->v[at].text);
    t->v[at].until = cv_usec_add(now, GW_TICKET_LIFE);
    return t->v[at].text;
}

bool gw_ticket_take(struct gw_tickets *t, const char *text, cv_usec now) {
    bool taken = false;
    for (size_t i = 0; text && i < GW_TICKETS_MAX; i++) {
        if (!t->v[i].text[0] || !gw_token_is(text, strlen(text), t->v[i].text))
            continue;
        taken = now < t->v[i].until;
        memset(&t->v[i], 0, sizeof t->v[i]);
    }
    return taken;
}
