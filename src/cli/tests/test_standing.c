/* The two lines of `culvert status` on the ledger: whole, and each reason by itself; and the rows
 * that say why. */
#include "cli/standing.h"

#include <stdlib.h>

#include "support/suite.h"

CV_SUITE(cli_standing);

#define NOTHING "Given     nothing so far, and nothing taken by our own circuits"
#define STANDS  "\nStands    with first hops"

/* clang-format off */
static const struct {
    const char *name, *own, *ledger, *want;
} rows[] = {
    {"nothing yet", "{'given': 0, 'taken': 0, 'stands': 'new', 'tokens': 0, 'account': true}",
     "{'pending': 0, 'given': 0, 'taken': 0, 'rows': 0, 'stopped': 'no'}",
     NOTHING STANDS ", as far as we can tell, as anybody new: too little was given and taken so far\n"},
    {"gave only", "{'given': 4194304, 'taken': 0, 'stands': 'giver', 'account': true}", "{}",
     "Given     4.0 MiB and taken nothing by our own circuits in all"
     STANDS ", as far as we can tell, before newcomers: we give at least what we take; for more than a month\n"},
    {"gave only, a moment ago", "{'given': 4194304, 'taken': 0, 'stands': 'new', 'account': true}", "{}",
     "Given     4.0 MiB and taken nothing by our own circuits in all"
     STANDS ", as far as we can tell, as anybody new, for a minute more: we give at least what we take\n"},
    {"took only, little", "{'given': 0, 'taken': 1048575, 'stands': 'new', 'account': true}", "{}",
     "Given     nothing and taken 1.0 MiB by our own circuits in all"
     STANDS ", as far as we can tell, as anybody new: too little was given and taken so far\n"},
    {"took only", "{'given': 0, 'taken': 1048576, 'stands': 'new', 'account': true}", "{}",
     "Given     nothing and taken 1.0 MiB by our own circuits in all"
     STANDS ", as far as we can tell, as anybody new: we took 1.0 MiB more than we gave\n"},
    {"as much of each", "{'given': 5242880, 'taken': 5242880, 'stands': 'giver', 'account': true}", "{}",
     "Given     5.0 MiB and taken 5.0 MiB by our own circuits in all"
     STANDS ", as far as we can tell, before newcomers: we give at least what we take; for more than a month\n"},
    {"a giver that took a little more", "{'given': 4194304, 'taken': 5242880, 'stands': 'giver', 'account': true}", "{}",
     "Given     4.0 MiB and taken 5.0 MiB by our own circuits in all"
     STANDS ", as far as we can tell, before newcomers: we took 1.0 MiB more than we gave, which is little; for more than a month\n"},
    {"in debt", "{'given': 10485760, 'taken': 220200960, 'stands': 'debtor', 'account': true}", "{}",
     "Given     10 MiB and taken 210 MiB by our own circuits in all"
     STANDS ", as far as we can tell, behind all others where it is full: we took 200 MiB more than we gave, for long; "
     "giving mends it; for more than a month\n"},
    {"was in debt", "{'given': 220200960, 'taken': 220200960, 'stands': 'debtor', 'account': true}", "{}",
     "Given     210 MiB and taken 210 MiB by our own circuits in all"
     STANDS ", as far as we can tell, behind all others where it is full, for a minute more: we gave what we owed; for more than a month\n"},
    {"a relay, nothing yet", "{'given': 0, 'taken': 0, 'stands': 'new', 'tokens': 0, 'account': false}",
     "{'pending': 0, 'given': 0, 'taken': 0, 'rows': 0, 'stopped': 'no'}",
     NOTHING "; as a relay given nothing and taken nothing in all"
     STANDS " as anybody new: the circuits of a relay name nobody, only tokens put them first; 0 tokens left\n"},
    {"a relay that carried", "{'given': 0, 'taken': 2097152, 'stands': 'new', 'tokens': 12, 'account': false}",
     "{'pending': 1048576, 'given': 134217728, 'taken': 67108864, 'rows': 3, 'stopped': 'no'}",
     "Given     nothing and taken 2.0 MiB by our own circuits since the start; as a relay given 128 MiB "
     "and taken 64 MiB in all, 1.0 MiB more to be agreed"
     STANDS " as anybody new: the circuits of a relay name nobody, only tokens put them first; 12 tokens left\n"},
    {"a relay that spends a token", "{'given': 0, 'taken': 0, 'stands': 'priority', 'tokens': 11, 'account': false}",
     "{'pending': 0, 'given': 67108864, 'taken': 67108864, 'rows': 1, 'stopped': 'no'}",
     NOTHING "; as a relay given 64 MiB and taken 64 MiB in all"
     STANDS " before all others: a token is spent; 11 tokens left\n"},
    {"whose key signed elsewhere", "{'given': 0, 'taken': 0, 'stands': 'new', 'tokens': 0, 'account': false}",
     "{'pending': 0, 'given': 0, 'taken': 0, 'rows': 1, 'stopped': 'old_copy'}",
     NOTHING "; as a relay given nothing and taken nothing in all"
     STANDS " as anybody new: the circuits of a relay name nobody, only tokens put them first; 0 tokens left; "
     "nothing more that we carry counts: this folder is an old copy of what its key signed, stop the node "
     "and give 'culvert identity renew'\n"},
    {"whose file failed", "{'given': 0, 'taken': 0, 'stands': 'new', 'tokens': 0, 'account': false}",
     "{'pending': 0, 'given': 0, 'taken': 0, 'rows': 1, 'stopped': 'failed'}",
     NOTHING "; as a relay given nothing and taken nothing in all"
     STANDS " as anybody new: the circuits of a relay name nobody, only tokens put them first; 0 tokens left; "
     "nothing more that we carry counts until a restart: the ledger cannot be read or written, see "
     "'culvert-ledger verify'\n"},
    {"since a day", "{'given': 4194304, 'taken': 0, 'stands': 'giver', 'account': true, 'since': '2026-11-02'}", "{}",
     "Given     4.0 MiB and taken nothing by our own circuits in all"
     STANDS ", as far as we can tell, before newcomers: we give at least what we take; since 2026-11-02\n"},
    {"since a day, new", "{'given': 0, 'taken': 0, 'stands': 'new', 'account': true, 'since': '2026-11-02'}", "{}",
     NOTHING STANDS ", as far as we can tell, as anybody new: too little was given and taken so far; since 2026-11-02\n"},
    {"a node that says nothing of it", "{}", "{}", NOTHING "\n"},
};
/* clang-format on */

/* JSON with the other kind of quotes. */
static json_t *object(const char *text) {
    char buf[1024];
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

/* clang-format off */
static const struct {
    const char *name, *own, *rows, *want;
} whys[] = {
    {"our own account", "{'account': true}",
     "[{'day': '2026-11-03', 'about': 'own', 'was': 'new', 'became': 'giver', 'because': 'it gives at least what it takes', 'given': 4194304, 'taken': 0},"
     " {'day': '', 'about': 'own', 'was': 'giver', 'became': 'new', 'because': 'it was lost', 'given': 0, 'taken': 0}]",
     "Why       newest first, by the rules of first hops, each of which counts for itself; kept here alone, for 30 days\n"
     "          2026-11-03 our account: new -> giver, it gives at least what it takes (given 4.0 MiB, taken less than 1 MiB)\n"
     "          -          our account: giver -> new, it was lost (given less than 1 MiB, taken less than 1 MiB)\n"},
    {"a relay", "{'account': false}",
     "[{'day': '2026-11-03', 'about': 'class', 'account': 2, 'was': 'new', 'became': 'debtor', 'because': 'it owes', 'given': 0, 'taken': 2097152},"
     " {'day': '2026-11-02', 'about': 'score', 'relay': '0123456789abcdef', 'was': '0.0010', 'became': '0.0020', 'because': 'it carried', 'given': 1048576, 'taken': 0},"
     " {'day': '2026-11-02', 'about': 'tokens', 'relay': '0123456789abcdef', 'was': '0', 'became': '16', 'because': 'it issued', 'given': 0, 'taken': 0}]",
     "Why       newest first, of this relay's ledger; more: 'culvert-ledger history'\n"
     "          2026-11-03 account 2: new -> debtor, it owes (given nothing, taken 2.0 MiB)\n"
     "          2026-11-02 score of 01234567: 0.0010 -> 0.0020, it carried (given 1.0 MiB, taken nothing)\n"
     "          2026-11-02 tokens of 01234567: 0 -> 16, it issued (given nothing, taken nothing)\n"},
    {"nothing", "{'account': true}", "[]",
     "Why       newest first, by the rules of first hops, each of which counts for itself; kept here alone, for 30 days\n"
     "          nothing has changed\n"},
    {"a ledger that cannot be read", "{'account': false}", NULL,
     "Why       is not to be had: the ledger cannot be read, see 'culvert-ledger verify'\n"},
};
/* clang-format on */

Test(cli_standing, each_change_is_a_line) {
    for (size_t i = 0; i < sizeof whys / sizeof *whys; i++) {
        char *got = NULL;
        size_t len = 0;
        json_t *own = object(whys[i].own), *list = whys[i].rows ? object(whys[i].rows) : NULL;
        FILE *out = open_memstream(&got, &len);
        cli_standing_why(out, own, list);
        fclose(out);
        cr_expect_str_eq(got, whys[i].want, "%s:\n%s", whys[i].name, got);
        free(got);
        json_decref(own);
        json_decref(list);
    }
}
