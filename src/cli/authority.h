/*
 * Who says who takes part in a direct swarm (ppsp/membership.h), as a person says it:
 * --pex-key for who is the authority, --pex-authority where no link tells it, and
 * --pex-certificate for what it says of ourselves.
 */
#ifndef CULVERT_CLI_AUTHORITY_H
#define CULVERT_CLI_AUTHORITY_H

#include "cli/options.h"
#include "crypto/certificate.h"
#include "io/why.h"
#include "node/node.h"

struct cli_authority {
    uint8_t id[NODE_URI_AUTHORITY_MAX];
    size_t id_len; /* 0: the options name none */
    struct cv_dnssec_secret *key;
    uint8_t certificate[CV_CERTIFICATE_MAX];
    size_t certificate_len;
};

/* What the options say. CLI_OK, or the exit status and one line in *why. Close in both
 * cases; a zeroed one may be closed, too. */
int cli_authority_open(struct cli_authority *a, const struct cli_settings *s, struct io_why *why);
void cli_authority_close(struct cli_authority *a);

/* Puts it into a link, whose swarm id is known by now, or takes what the link says. The
 * same results. */
int cli_authority_join(const struct cli_authority *a, struct node_uri *uri, struct io_why *why);

/* What node_swarm_open() has to know of it; `a` must outlive the swarm. */
void cli_authority_give(const struct cli_authority *a, struct node_swarm_config *ret);

#endif
