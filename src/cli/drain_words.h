/* What a relay says when it begins to end, and when it has (drain.h). */
#ifndef CULVERT_CLI_DRAIN_WORDS_H
#define CULVERT_CLI_DRAIN_WORDS_H

#include <stdint.h>

enum { CLI_DRAIN_WORDS = 120 };

/* Of circuits that go on, for at most so many seconds; returns `ret`. */
const char *cli_drain_words_begin(uint32_t circuits, uint64_t seconds, char ret[CLI_DRAIN_WORDS]);
/* Of those that went on to the end; returns `ret`. */
const char *cli_drain_words_end(uint32_t circuits, char ret[CLI_DRAIN_WORDS]);

#endif
