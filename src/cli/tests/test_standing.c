/* The two lines of `culvert status` on the ledger: whole, and each reason by itself. */
#include "cli/standing.h"

#include <stdlib.h>

#include "support/suite.h"

CV_SUITE(cli_standing);

#define NOTHING "Given     nothing so far, and nothing taken by our own circuits"
#define STANDS  "\nStands    with first hops "

/* clang-format off */
static const struct {
    const char *name, *own, *ledger, *want;
} rows[] = {
    {"nothing yet", "{'given': 0, 'taken': 0, 'stands': 'new', 'tokens': 0, 'account': true}",
     "{'pending': 0, 'given': 0, 'taken': 0, 'rows': 0, 'stopped': 'no'}",
     NOTHING STANDS "as anybody new: too little was given and taken so far\n"},
    {"gave only", "{'given': 4194304, 'taken': 0, 'stands': 'giver', 'account': true}", "{}",
     "Given     4.0 MiB and taken nothing by our own circuits since the start"
     STANDS "before newcomers: we give at least what we take\n"},
    {"gave only, a moment ago", "{'given': 4194304, 'taken': 0, 'stands': 'new', 'account': true}", "{}",
     "Given     4.0 MiB and taken nothing by our own circuits since the start"
     STANDS "as anybody new, for a minute more: we give at least what we take\n"},
    {"took only, little", "{'given': 0, 'taken': 1048575, 'stands': 'new', 'account': true}", "{}",
     "Given     nothing and taken 1.0 MiB by our own circuits since the start"
     STANDS "as anybody new: too little was given and taken so far\n"},
    {"took only", "{'given': 0, 'taken': 1048576, 'stands': 'new', 'account': true}", "{}",
     "Given     nothing and taken 1.0 MiB by our own circuits since the start"
     STANDS "as anybody new: we took 1.0 MiB more than we gave\n"},
    {"as much of each", "{'given': 5242880, 'taken': 5242880, 'stands': 'giver', 'account': true}", "{}",
     "Given     5.0 MiB and taken 5.0 MiB by our own circuits since the start"
     STANDS "before newcomers: we give at least what we take\n"},
    {"a giver that took a little more", "{'given': 4194304, 'taken': 5242880, 'stands': 'giver', 'account': true}", "{}",
     "Given     4.0 MiB and taken 5.0 MiB by our own circuits since the start"
     STANDS "before newcomers: we took 1.0 MiB more than we gave, which is little\n"},
    {"in debt", "{'given': 10485760, 'taken': 220200960, 'stands': 'debtor', 'account': true}", "{}",
     "Given     10 MiB and taken 210 MiB by our own circuits since the start"
     STANDS "behind all others where it is full: we took 200 MiB more than we gave, for long; "
     "giving mends it\n"},
    {"was in debt", "{'given': 220200960, 'taken': 220200960, 'stands': 'debtor', 'account': true}", "{}",
     "Given     210 MiB and taken 210 MiB by our own circuits since the start"
     STANDS "behind all others where it is full, for a minute more: we gave what we owed\n"},
    {"a relay, nothing yet", "{'given': 0, 'taken': 0, 'stands': 'new', 'tokens': 0, 'account': false}",
     "{'pending': 0, 'given': 0, 'taken': 0, 'rows': 0, 'stopped': 'no'}",
     NOTHING "; as a relay given nothing and taken nothing in all"
     STANDS "as anybody new: the circuits of a relay name nobody, only tokens put them first; 0 tokens left\n"},
    {"a relay that carried", "{'given': 0, 'taken': 2097152, 'stands': 'new', 'tokens': 12, 'account': false}",
     "{'pending': 1048576, 'given': 134217728, 'taken': 67108864, 'rows': 3, 'stopped': 'no'}",
     "Given     nothing and taken 2.0 MiB by our own circuits since the start; as a relay given 128 MiB "
     "and taken 64 MiB in all, 1.0 MiB more to be agreed"
     STANDS "as anybody new: the circuits of a relay name nobody, only tokens put them first; 12 tokens left\n"},
    {"a relay that spends a token", "{'given': 0, 'taken': 0, 'stands': 'priority', 'tokens': 11, 'account': false}",
     "{'pending': 0, 'given': 67108864, 'taken': 67108864, 'rows': 1, 'stopped': 'no'}",
     NOTHING "; as a relay given 64 MiB and taken 64 MiB in all"
     STANDS "before all others: a token is spent; 11 tokens left\n"},
    {"whose key signed elsewhere", "{'given': 0, 'taken': 0, 'stands': 'new', 'tokens': 0, 'account': false}",
     "{'pending': 0, 'given': 0, 'taken': 0, 'rows': 1, 'stopped': 'old_copy'}",
     NOTHING "; as a relay given nothing and taken nothing in all"
     STANDS "as anybody new: the circuits of a relay name nobody, only tokens put them first; 0 tokens left; "
     "nothing more that we carry counts: this folder is an old copy of what its key signed, stop the node "
     "and give 'culvert identity renew'\n"},
    {"whose file failed", "{'given': 0, 'taken': 0, 'stands': 'new', 'tokens': 0, 'account': false}",
     "{'pending': 0, 'given': 0, 'taken': 0, 'rows': 1, 'stopped': 'failed'}",
     NOTHING "; as a relay given nothing and taken nothing in all"
     STANDS "as anybody new: the circuits of a relay name nobody, only tokens put them first; 0 tokens left; "
     "nothing more that we carry counts until a restart: the ledger cannot be read or written, see "
     "'culvert-ledger verify'\n"},
    {"a node that says nothing of it", "{}", "{}", NOTHING "\n"},
};
/* clang-format on */

/* JSON with the other kind of quotes. */
static json_t *object(const char *text) {
    char buf[512];
    size_t i;
    for (i = 0; text[i]; i++)
        buf[i] = text[i] == '\'' ? '"' : text[i];
    json_t *o = json_loadb(buf, i, 0, NULL);
    cr_assert(o != NULL, "%s", text);
    return o;
}

Test(cli_standing, two_lines) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *got = NULL;
        size_t len = 0;
        json_t *own = object(rows[i].own), *ledger = object(rows[i].ledger);
        FILE *out = open_memstream(&got, &len);
        cli_standing_print(out, own, ledger);
        fclose(out);
        cr_expect_str_eq(got, rows[i].want, "%s:\n%s", rows[i].name, got);
        free(got);
        json_decref(own);
        json_decref(ledger);
    }
}
