/* A node in its loop: what the sockets that it really has mean to it. */
#include "io/host.h"

#include "crypto/keys.h"
#include "node/state.h"
#include "support/suite.h"
#include "tunnel/engine.h"

CV_SUITE(io_host, .timeout = 600);

/* Others are asked from a second port of the relay's address. From another address the
 * question would show whose that is, to whoever has a relay asked (decision 0027). */
Test(io_host, relays_are_tried_from_a_second_port_of_the_same_address_only) {
    static const struct {
        const char *main, *own; /* NULL: no such socket */
        bool elsewhere;
        const char *main_too, *own_too;
    } rows[] = {
        {"127.0.0.1:0", "127.0.0.1:0", true, NULL, NULL},
        {"127.0.0.1:0", "127.0.0.2:0", false, NULL, NULL},
        {"127.0.0.1:0", "0.0.0.0:0", false, NULL, NULL}, /* whichever the kernel takes */
        {"127.0.0.1:0", "[::1]:0", false, NULL, NULL},
        {"127.0.0.1:0", NULL, false, NULL, NULL},
        {"[::1]:0", "[::1]:0", true, NULL, NULL},
        {"127.0.0.1:0", "127.0.0.1:0", true, "[::1]:0", "[::1]:0"},
        {"127.0.0.1:0", "[::1]:0", false, "[::1]:0", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t seed[CV_KEY] = {7};
        struct io_why why;
        struct io_host *h = NULL;
        struct io_loop *loop = io_loop_new();
        struct io_host_config cfg = {.node = {.relay = true}};
        const char *const texts[] = {rows[i].main, rows[i].main_too, rows[i].own, rows[i].own_too};
        struct cv_addr *const at[] = {&cfg.main[0], &cfg.main[1], &cfg.own[0], &cfg.own[1]};
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++)
            if (texts[k])
                cr_assert_eq(cv_addr_parse(texts[k], at[k]), CV_ERR_OK);
        memcpy(cfg.node.relay_addrs, cfg.main, sizeof cfg.main);
        cfg.node.relay_addrs_count = rows[i].main_too ? 2 : 1;
        node_network_id("test", cfg.node.network_id);
        cv_ed25519_from_seed(&cfg.node.identity_secret, seed);
        cr_assert_eq(io_host_new(loop, &cfg, &h, &why), CV_ERR_OK, "row %zu: %s", i, why.text);
        cr_expect_eq(tun_config(io_host_node(h)->relay)->elsewhere, rows[i].elsewhere, "row %zu",
                     i);
        const struct tun_config *relay = tun_config(io_host_node(h)->relay);
        for (unsigned k = 0; k < cfg.node.relay_addrs_count; k++) {
            struct cv_addr bound = io_host_bound(h, NODE_SOCKET_MAIN, k);
            cr_expect(cv_addr_equal(&relay->addr[k], &bound), "row %zu: the port it got", i);
        }
        cr_expect_eq(relay->family, rows[i].main_too ? 0 : cfg.main[0].family, "row %zu", i);
        io_host_free(h);
        io_loop_free(loop);
    }
}
