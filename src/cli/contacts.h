/*
 * Whom a node asks when it remembers nobody: the contacts of its link, then those it was
 * told (--bootstrap), and if there are neither, the installed list: the first file
 * culvert/bootstrap below a folder of $XDG_DATA_DIRS, or else below /usr/local/share and
 * /usr/share; an address a line, empty lines and lines that begin with # aside.
 */
#ifndef CULVERT_CLI_CONTACTS_H
#define CULVERT_CLI_CONTACTS_H

#include <stddef.h>

#include "cli/options.h"
#include "io/why.h"
#include "node/uri.h"

/* Puts those of the link before those that were told; what is too much falls off the end. */
void cli_contacts_of_link(struct cli_settings *s, const struct node_uri *uri);

/* The installed list, at most `cap`. No file is no error; STORE: a line is no address, or
 * it cannot be read; DENIED. */
enum cv_err cli_contacts_installed(struct cv_addr *ret, size_t cap, size_t *ret_count,
                                   struct io_why *why);

#endif
