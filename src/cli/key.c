#include "cli/key.h"

#include <stdio.h>
#include <string.h>

#include "crypto/dnssec_generate.h"
#include "crypto/keys.h"
#include "io/keyfile.h"

static const struct {
    const char *name;
    enum cv_dnssec_alg alg;
} algorithms[] = {{"ed25519", CV_DNSSEC_ED25519},
                  {"rsasha1", CV_DNSSEC_RSASHA1},
                  {"rsasha256", CV_DNSSEC_RSASHA256},
                  {"ecdsap256sha256", CV_DNSSEC_ECDSAP256SHA256},
                  {"ecdsap384sha384", CV_DNSSEC_ECDSAP384SHA384}};

enum { ALGORITHMS = sizeof algorithms / sizeof *algorithms };

bool cli_key_algorithm(const char *name, enum cv_dnssec_alg *ret) {
    for (size_t i = 0; i < ALGORITHMS; i++) {
        if (!name || strcmp(algorithms[i].name, name) == 0) {
            *ret = algorithms[i].alg;
            return true;
        }
    }
    return false;
}

void cli_key_path(const struct io_state *state, enum cv_dnssec_alg alg, char out[CLI_PATH_MAX]) {
    size_t i = 0;
    while (i + 1 < ALGORITHMS && algorithms[i].alg != alg)
        i++;
    snprintf(out, CLI_PATH_MAX, "%s/live-%s.pem", io_state_path(state), algorithms[i].name);
}

static enum cv_err make(const char *path, enum cv_dnssec_alg alg, struct cv_dnssec_secret **ret,
                        struct io_why *why) {
    static char pem[CV_DNSSEC_PEM_MAX];
    struct cv_dnssec_secret *key = NULL;
    enum cv_err err = cv_dnssec_generate(alg, &key);
    if (!err)
        err = cv_dnssec_secret_to_pem(key, pem, sizeof pem);
    if (err)
        io_why_set(why, "%s: no key could be made: %s", path, cv_strerror(err));
    else
        err = io_keyfile_create(path, pem, why);
    cv_wipe(pem, sizeof pem);
    if (err)
        cv_dnssec_secret_free(key);
    else
        *ret = key;
    return err;
}

enum cv_err cli_key_read(const char *path, enum cv_dnssec_alg alg, const char *option,
                         struct cv_dnssec_secret **ret, struct io_why *why) {
    static char pem[CV_DNSSEC_PEM_MAX];
    enum cv_err err = io_keyfile_read(path, pem, sizeof pem, why);
    if (!err) {
        err = cv_dnssec_secret_from_pem(alg, pem, strlen(pem), ret);
        if (err == CV_ERR_DIFFERS)
            io_why_set(why, "%s: holds a key for another algorithm; name another with %s", path,
                       option);
        else if (err)
            io_why_set(why, "%s: is not a private key in PEM; name another file with %s", path,
                       option);
    }
    cv_wipe(pem, sizeof pem);
    return err;
}

enum cv_err cli_key_open(const char *path, enum cv_dnssec_alg alg, const char *option,
                         struct cv_dnssec_secret **ret, struct io_why *why) {
    enum cv_err err = cli_key_read(path, alg, option, ret, why);
    return err == CV_ERR_NOENT ? make(path, alg, ret, why) : err;
}
