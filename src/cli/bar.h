/*
 * The one line that says how fetching goes, honestly: what is verified, what was asked
 * for, what is a hole, and how long it takes at the pace of the last seconds.
 */
#ifndef CULVERT_CLI_BAR_H
#define CULVERT_CLI_BAR_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "node/node.h"

/*
 * A content in equal parts, each of them
 *     =  verified
 *     +  some of it is asked for and on its way
 *     -  some of it verified, nothing on its way
 *     .  a hole
 */
enum { CLI_BAR_PARTS = 48 };
void cli_bar_map(struct node *n, cv_handle swarm, uint64_t length, char out[CLI_BAR_PARTS + 1]);

/* The map in another number of parts (at most CLI_BAR_PARTS): what is not whole in all
 * of a part is not shown as whole. */
void cli_bar_fit(const char *map, size_t parts, char out[CLI_BAR_PARTS + 1]);

/*
 * Draws an event "progress" in less than `columns`, from the start of the line and over
 * what stood there; what has no room is left out, the least telling first.
 */
void cli_bar_draw(FILE *out, const json_t *progress, size_t columns, bool colour);

#endif
