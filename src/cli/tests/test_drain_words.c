#include "cli/drain_words.h"

#include "support/suite.h"

CV_SUITE(cli_drain_words);

Test(cli_drain_words, are_of_one_or_of_several) {
    static const struct {
        uint32_t circuits;
        const char *begin, *end;
    } rows[] = {
        {0, "Ending: 0 circuits go on for at most 30 s; once more ends at once",
         "All circuits have ended"},
        {1, "Ending: 1 circuit goes on for at most 30 s; once more ends at once",
         "1 circuit had to be cut"},
        {2, "Ending: 2 circuits go on for at most 30 s; once more ends at once",
         "2 circuits had to be cut"},
        {UINT32_MAX, "Ending: 4294967295 circuits go on for at most 30 s; once more ends at once",
         "4294967295 circuits had to be cut"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[CLI_DRAIN_WORDS];
        cr_expect_str_eq(cli_drain_words_begin(rows[i].circuits, 30, text), rows[i].begin);
        cr_expect_str_eq(cli_drain_words_end(rows[i].circuits, text), rows[i].end);
    }
}
