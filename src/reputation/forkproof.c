#include "reputation/forkproof.h"

#include <string.h>

bool rep_forkproof_contradict(const struct rep_record *a, const struct rep_record *b) {
    if (memcmp(a->owner, b->owner, CV_KEY) != 0)
        return false;
    if (a->seq == b->seq)
        return memcmp(a->hash, b->hash, REP_HASH) != 0;
    const struct rep_record *low = a->seq < b->seq ? a : b;
    const struct rep_record *high = low == a ? b : a;
    if (high->type == REP_SUCCESSION)
        return low->epoch >= high->epoch;
    if (memcmp(a->peer, b->peer, CV_KEY) != 0)
        return false;
    return high->given < low->given || high->taken < low->taken;
}

enum cv_err rep_forkproof_check(const struct rep_fork *f, const uint8_t network_id[REP_NETWORK_ID],
                                uint8_t ret_owner[CV_KEY]) {
    struct rep_record a, b;
    enum cv_err err = rep_record_read(f->a, &a);
    if (!err)
        err = rep_record_read(f->b, &b);
    if (err)
        return err;
    if (!rep_forkproof_contradict(&a, &b))
        return CV_ERR_INVAL;
    if (!rep_record_verify(&a, network_id) || !rep_record_verify(&b, network_id))
        return CV_ERR_AUTH;
    memcpy(ret_owner, a.owner, CV_KEY);
    return CV_ERR_OK;
}
