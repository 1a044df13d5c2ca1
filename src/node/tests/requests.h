/*
 * What a node asks by a circuit that is there in its memory only, for tables of its states: the
 * linker wraps tun_request(), and tun_circuit_open() where src/node/meson.build says so, and
 * whether a request fits, or a path is found, is said here. Included by one source of a program.
 */
#ifndef CULVERT_NODE_TESTS_REQUESTS_H
#define CULVERT_NODE_TESTS_REQUESTS_H

#include "support/suite.h"
#include "tunnel/client.h"
#include "tunnel/tunnel.h"

enum { CIRCUIT = 0x7fff0001 }; /* of nobody: what is sent over it goes nowhere */

static struct {
    bool full;
    bool exitless; /* and no path at all */
    uint32_t last; /* transaction */
    uint8_t command;
} requests;

enum cv_err __wrap_tun_request(struct tunnel *t, const struct cv_now *now, cv_handle circuit,
                               uint8_t command, const void *body, size_t len,
                               uint32_t *ret_transaction);
enum cv_err __wrap_tun_request(struct tunnel *t, const struct cv_now *now, cv_handle circuit,
                               uint8_t command, const void *body, size_t len,
                               uint32_t *ret_transaction) {
    (void)t;
    (void)now;
    (void)body;
    (void)len;
    cr_expect_eq(circuit, CIRCUIT);
    if (requests.full)
        return CV_ERR_AGAIN;
    requests.command = command;
    *ret_transaction = ++requests.last;
    return CV_ERR_OK;
}

enum cv_err __wrap_tun_circuit_open(struct tunnel *t, const struct cv_now *now,
                                    enum tun_purpose purpose, const uint8_t *last, cv_handle *ret);
enum cv_err __wrap_tun_circuit_open(struct tunnel *t, const struct cv_now *now,
                                    enum tun_purpose purpose, const uint8_t *last, cv_handle *ret) {
    (void)t;
    (void)now;
    (void)purpose;
    (void)last;
    if (requests.full)
        return requests.exitless ? CV_ERR_UNREACHABLE : CV_ERR_AGAIN;
    *ret = CIRCUIT;
    return CV_ERR_OK;
}

#endif
