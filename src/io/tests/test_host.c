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
    } rows[] = {
        {"127.0.0.1:0", "127.0.0.1:0", true}, {"127.0.0.1:0", "127.0.0.2:0", false},
        {"127.0.0.1:0", "0.0.0.0:0", false}, /* whichever the kernel takes */
        {"127.0.0.1:0", "[::1]:0", false},    {"127.0.0.1:0", NULL, false},
        {"[::1]:0", "[::1]:0", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t seed[CV_KEY] = {7};
        struct io_why why;
        struct io_host *h = NULL;
        struct io_loop *loop = io_loop_new();
        struct io_host_config cfg = {.node = {.relay = true}};
        cr_assert_eq(cv_addr_parse(rows[i].main, &cfg.main), CV_ERR_OK);
        if (rows[i].own)
            cr_assert_eq(cv_addr_parse(rows[i].own, &cfg.own), CV_ERR_OK);
        cfg.node.relay_addrs[0] = cfg.main;
        cfg.node.relay_addrs_count = 1;
        node_network_id("test", cfg.node.network_id);
        cv_ed25519_from_seed(&cfg.node.identity_secret, seed);
        cr_assert_eq(io_host_new(loop, &cfg, &h, &why), CV_ERR_OK, "row %zu: %s", i, why.text);
        cr_expect_eq(tun_config(io_host_node(h)->relay)->elsewhere, rows[i].elsewhere, "row %zu",
                     i);
        io_host_free(h);
        io_loop_free(loop);
    }
}
