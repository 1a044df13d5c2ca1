#include "cli/authority.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/exitcode.h"
#include "cli/key.h"
#include "ppsp/membership.h"

static int refuse(struct io_why *why, const char *option, const char *value, const char *what) {
    io_why_set(why, "%s '%.120s': %s", option, value, what);
    return CLI_USAGE;
}

static int open_key(struct cli_authority *a, const char *path, struct io_why *why) {
    if (cli_key_open(path, CV_DNSSEC_ED25519, "--pex-key", &a->key, why))
        return CLI_FILE;
    a->id[0] = CV_DNSSEC_ED25519;
    a->id_len = 1 + cv_dnssec_public_of(a->key, a->id + 1);
    return CLI_OK;
}

static int read_id(struct cli_authority *a, const char *text, struct io_why *why) {
    uint8_t id[NODE_URI_AUTHORITY_MAX];
    size_t digits = strlen(text), len = digits / 2;
    struct ppsp_membership m;
    if (digits % 2 || len > sizeof id || cv_unhex(text, id, len) ||
        ppsp_membership_init(&m, &(struct ppsp_authority){.id = id, .id_len = len}, NULL, 0))
        return refuse(
            why, "pex-authority", text,
            "is not the number of a signature algorithm (08, 0d, 0e or 0f) and its public "
            "key, in hexadecimal digits");
    ppsp_membership_done(&m);
    if (a->id_len && (len != a->id_len || memcmp(id, a->id, len) != 0))
        return refuse(why, "pex-authority", text, "is not the public key of --pex-key");
    memcpy(a->id, id, len);
    a->id_len = len;
    return CLI_OK;
}

static int read_certificate(struct cli_authority *a, const char *path, struct io_why *why) {
    uint8_t der[CV_CERTIFICATE_MAX + 1];
    struct cv_certificate what;
    FILE *f = fopen(path, "rbe");
    size_t len = f ? fread(der, 1, sizeof der, f) : 0;
    bool bad = !f || ferror(f);
    if (f)
        fclose(f);
    if (bad) {
        io_why_set(why, "%s: cannot be read", path);
        return CLI_FILE;
    }
    if (cv_certificate_read(der, len, &what))
        return refuse(why, "pex-certificate", path,
                      "is not an X.509 certificate in DER whose critical subject alternative name "
                      "is one URI");
    memcpy(a->certificate, der, len);
    a->certificate_len = len;
    return CLI_OK;
}

int cli_authority_open(struct cli_authority *a, const struct cli_settings *s, struct io_why *why) {
    const char *given = s->pex_key         ? "pex-key"
                        : s->pex_authority ? "pex-authority"
                                           : "pex-certificate";
    int status = CLI_OK;
    *a = (struct cli_authority){.id_len = 0};
    if ((s->pex_key || s->pex_authority || s->pex_certificate) && !s->direct) {
        io_why_set(why, "%s: peers name each other in direct swarms only; add --direct", given);
        return CLI_USAGE;
    }
    if (s->pex_certificate && s->arguments_count > 1) {
        io_why_set(why, "pex-certificate: is about one swarm; share the files one by one");
        return CLI_USAGE;
    }
    if (s->pex_key)
        status = open_key(a, s->pex_key, why);
    if (!status && s->pex_authority)
        status = read_id(a, s->pex_authority, why);
    if (!status && s->pex_certificate)
        status = read_certificate(a, s->pex_certificate, why);
    return status;
}

void cli_authority_close(struct cli_authority *a) {
    a->key = cv_dnssec_secret_free(a->key);
}

int cli_authority_join(const struct cli_authority *a, struct node_uri *uri, struct io_why *why) {
    if (a->id_len && uri->authority_len &&
        (a->id_len != uri->authority_len || memcmp(a->id, uri->authority, a->id_len) != 0)) {
        io_why_set(why, "the link names another authority than --pex-authority");
        return CLI_USAGE;
    }
    if (a->id_len) {
        memcpy(uri->authority, a->id, a->id_len);
        uri->authority_len = a->id_len;
    }
    if (!a->certificate_len)
        return CLI_OK;
    struct ppsp_membership m;
    if (!uri->authority_len ||
        ppsp_membership_init(&m,
                             &(struct ppsp_authority){.id = uri->authority,
                                                      .id_len = uri->authority_len,
                                                      .certificate = a->certificate,
                                                      .certificate_len = a->certificate_len},
                             uri->swarm_id, uri->swarm_id_len)) {
        io_why_set(why, "pex-certificate: is not one of this swarm by its authority; ask that for "
                        "another, or name it with --pex-authority");
        return CLI_USAGE;
    }
    ppsp_membership_done(&m);
    return CLI_OK;
}

void cli_authority_give(const struct cli_authority *a, struct node_swarm_config *ret) {
    ret->authority_key = a->key;
    ret->certificate = a->certificate;
    ret->certificate_len = a->certificate_len;
}
