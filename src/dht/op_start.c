/* How operations with a look-up begin. */
#include <stdlib.h>
#include <string.h>

#include "dht/op.h"

static enum cv_err start_simple(struct dht *d, struct cv_now now, enum dht_op_kind kind,
                                const struct dht_id *target, dht_op *ret) {
    struct dht_operation *op;
    enum cv_err err = dht_op_new(d, kind, target, &op);
    if (!err)
        dht_op_start(d, now.mono, op, ret);
    return err;
}

enum cv_err dht_find_node(struct dht *d, struct cv_now now, const struct dht_id *target,
                          dht_op *ret) {
    return start_simple(d, now, DHT_OP_FIND_NODE, target, ret);
}

enum cv_err dht_find_peers(struct dht *d, struct cv_now now, const struct dht_id *target,
                           dht_op *ret) {
    return start_simple(d, now, DHT_OP_FIND_PEERS, target, ret);
}

enum cv_err dht_scrape(struct dht *d, struct cv_now now, const struct dht_id *target, dht_op *ret) {
    return start_simple(d, now, DHT_OP_SCRAPE, target, ret);
}

enum cv_err dht_announce(struct dht *d, struct cv_now now, const struct dht_id *target,
                         uint16_t port, bool implied_port, dht_op *ret) {
    if (port == 0 && !implied_port)
        return CV_ERR_INVAL;
    struct dht_operation *op;
    enum cv_err err = dht_op_new(d, DHT_OP_ANNOUNCE, target, &op);
    if (err)
        return err;
    op->port = port;
    op->implied_port = implied_port;
    dht_op_start(d, now.mono, op, ret);
    return CV_ERR_OK;
}

/* `like`: what is wanted or to be stored; copied. */
static enum cv_err item_op(struct dht *d, enum dht_op_kind kind, const struct dht_id *target,
                           const struct dht_item *like, struct dht_operation **ret) {
    struct dht_operation *op;
    enum cv_err err = dht_op_new(d, kind, target, &op);
    if (err)
        return err;
    op->item = malloc(sizeof *op->item);
    if (!op->item) {
        dht_op_free(d, op);
        return CV_ERR_NOMEM;
    }
    *op->item = *like;
    *ret = op;
    return CV_ERR_OK;
}

enum cv_err dht_get_immutable(struct dht *d, struct cv_now now, const struct dht_id *target,
                              dht_op *ret) {
    struct dht_operation *op;
    struct dht_item like = {0};
    enum cv_err err = item_op(d, DHT_OP_GET, target, &like, &op);
    if (!err)
        dht_op_start(d, now.mono, op, ret);
    return err;
}

enum cv_err dht_get_mutable(struct dht *d, struct cv_now now, const uint8_t k[DHT_KEY],
                            const void *salt, size_t salt_len, int64_t above, dht_op *ret) {
    if (salt_len > DHT_SALT_MAX || above < -1)
        return CV_ERR_INVAL;
    struct dht_operation *op;
    struct dht_item like = {.mutable_item = true, .salt_len = (uint8_t)salt_len};
    memcpy(like.k, k, DHT_KEY);
    if (salt_len)
        memcpy(like.salt, salt, salt_len);
    struct dht_id target = dht_item_target(&like);
    enum cv_err err = item_op(d, DHT_OP_GET, &target, &like, &op);
    if (err)
        return err;
    op->above = above;
    dht_op_start(d, now.mono, op, ret);
    return CV_ERR_OK;
}

enum cv_err dht_put(struct dht *d, struct cv_now now, const struct dht_item *item,
                    const int64_t *cas, dht_op *ret) {
    enum cv_err err = dht_item_check(item);
    if (err)
        return err;
    struct dht_operation *op;
    struct dht_id target = dht_item_target(item);
    err = item_op(d, DHT_OP_PUT, &target, item, &op);
    if (err)
        return err;
    op->has_cas = cas && item->mutable_item;
    op->cas = cas ? *cas : 0;
    dht_op_start(d, now.mono, op, ret);
    return CV_ERR_OK;
}
