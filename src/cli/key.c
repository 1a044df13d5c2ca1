#include "cli/key.h"

#include <string.h>

#include "crypto/dnssec_generate.h"
#include "crypto/keys.h"
#include "io/keyfile.h"

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

enum cv_err cli_key_open(const char *path, enum cv_dnssec_alg alg, const char *option,
                         struct cv_dnssec_secret **ret, struct io_why *why) {
    static char pem[CV_DNSSEC_PEM_MAX];
    enum cv_err err = io_keyfile_read(path, pem, sizeof pem, why);
    if (err == CV_ERR_NOENT)
        return make(path, alg, ret, why);
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
