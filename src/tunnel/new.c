/*
 * A whole engine: the bare one, the client above it and hidden swarms above
 * that. Apart from tunnel.c so that tests of the engine need not link them.
 */
#include "tunnel/client.h"
#include "tunnel/core.h"
#include "tunnel/hidden.h"

struct tunnel *tun_new(const struct tun_config *cfg, const struct cv_rng *rng,
                       const struct cv_now *now) {
    struct tunnel *t = tun_bare_new(cfg, rng, now);
    if (!t || cfg->worker)
        return t;
    if (tun_client_attach(t, now, cfg->blob[TUN_BLOB_GUARDS], cfg->blob_len[TUN_BLOB_GUARDS]) ||
        tun_hidden_attach(t, now))
        return tun_free(t);
    return t;
}
