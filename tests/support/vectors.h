/*
 * Reads vector files of tests/vectors: lines "label words... hex", with "#"
 * comments. A test finds its line by the words before the hex and by the
 * comment line that begins its section.
 */
#ifndef CULVERT_TESTS_SUPPORT_VECTORS_H
#define CULVERT_TESTS_SUPPORT_VECTORS_H

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "support/hex.h"

/* Octets of the line that begins with `label` and a space, behind the comment
 * "# section..."; nth such line, from 0. Aborts when there is none. */
static inline size_t cv_test_vector(const char *path, const char *section, const char *label,
                                    unsigned nth, uint8_t *out, size_t cap) {
    char line[4096];
    bool inside = false;
    FILE *f = fopen(path, "r");
    assert(f);
    while (fgets(line, sizeof line, f)) {
        if (line[0] == '#')
            inside = strncmp(line + 2, section, strlen(section)) == 0;
        else if (inside && strncmp(line, label, strlen(label)) == 0 && line[strlen(label)] == ' ' &&
                 nth-- == 0) {
            fclose(f);
            return cv_test_unhex(line + strlen(label) + 1, out, cap);
        }
    }
    assert(f == NULL && "no such vector");
    return 0;
}

#endif
