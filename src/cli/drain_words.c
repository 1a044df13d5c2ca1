#include "cli/drain_words.h"

#include <inttypes.h>
#include <stdio.h>

const char *cli_drain_words_begin(uint32_t circuits, uint64_t seconds, char ret[CLI_DRAIN_WORDS]) {
    snprintf(ret, CLI_DRAIN_WORDS,
             "Ending: %" PRIu32 " circuit%s for at most %" PRIu64 " s; once more ends at once",
             circuits, circuits == 1 ? " goes on" : "s go on", seconds);
    return ret;
}

const char *cli_drain_words_end(uint32_t circuits, char ret[CLI_DRAIN_WORDS]) {
    if (circuits)
        snprintf(ret, CLI_DRAIN_WORDS, "%" PRIu32 " circuit%s had to be cut", circuits,
                 circuits == 1 ? "" : "s");
    else
        snprintf(ret, CLI_DRAIN_WORDS, "All circuits have ended");
    return ret;
}
