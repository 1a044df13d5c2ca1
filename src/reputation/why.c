#include "reputation/why.h"

#include <string.h>

#include "reputation/ledger_internal.h"

const char *rep_why_text(unsigned cause) {
    switch (cause) {
#define X(name, number, text)                                                                      \
    case number:                                                                                   \
        return text;
        REP_WHY_CAUSES(X)
#undef X
    default:
        return "";
    }
}

void rep_ledger_because(struct rep_ledger *l, struct cv_now now, struct rep_why *w) {
    w->day = now.wall > 0 ? now.wall - now.wall % 86400 : 0;
    if (w->was == w->became || !rep_ledger_begin(l, now))
        return;
    enum cv_err err = l->store->why_put(l->store->ctx, w);
    if (err)
        rep_ledger_fail(l, err);
    else
        rep_ledger_touch(l, now, 1);
}
