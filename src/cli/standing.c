#include "cli/standing.h"

#include <stdbool.h>
#include <string.h>

#include "cli/human.h"

/* Below, an account says too little: rep_gate_defaults.new_octets. */
enum { LITTLE = 1 << 20 };

static json_int_t num(const json_t *o, const char *key) {
    return json_integer_value(json_object_get(o, key));
}

static const char *octets(json_int_t n, char out[CLI_HUMAN_MAX]) {
    return n > 0 ? cli_human_binary((double)n, out) : "nothing";
}

/* A relay has no account with its first hops: its own circuits name nobody. */
static bool is_relay(const json_t *own) {
    return json_is_false(json_object_get(own, "account"));
}

static void print_given(FILE *out, const json_t *own, const json_t *ledger) {
    char a[CLI_HUMAN_MAX], b[CLI_HUMAN_MAX];
    if (!num(own, "given") && !num(own, "taken"))
        fputs("Given     nothing so far, and nothing taken by our own circuits", out);
    else
        fprintf(out, "Given     %s and taken %s by our own circuits %s",
                octets(num(own, "given"), a), octets(num(own, "taken"), b),
                is_relay(own) ? "since the start" : "in all");
    if (is_relay(own)) {
        fprintf(out, "; as a relay given %s and taken %s in all", octets(num(ledger, "given"), a),
                octets(num(ledger, "taken"), b));
        if (num(ledger, "pending"))
            fprintf(out, ", %s more to be agreed", octets(num(ledger, "pending"), a));
    }
    putc('\n', out);
}

/* Of an account: the rules are those of reputation/gate.h, and a class is kept for a minute. */
static void print_account(FILE *out, const json_t *own, const char *stands) {
    json_int_t given = num(own, "given"), taken = num(own, "taken");
    const char *since = json_string_value(json_object_get(own, "since"));
    char a[CLI_HUMAN_MAX];
    bool owes = taken > given;
    const char *debt = octets(taken - given, a);
    fputs(", as far as we can tell, ", out);
    if (!strcmp(stands, "giver") && !owes)
        fputs("before newcomers: we give at least what we take", out);
    else if (!strcmp(stands, "giver"))
        fprintf(out, "before newcomers: we took %s more than we gave, which is little", debt);
    else if (!strcmp(stands, "debtor") && owes)
        fprintf(out,
                "behind all others where it is full: we took %s more than we gave, for long; "
                "giving mends it",
                debt);
    else if (!strcmp(stands, "debtor"))
        fputs("behind all others where it is full, for a minute more: we gave what we owed", out);
    else if (given + taken < LITTLE)
        fputs("as anybody new: too little was given and taken so far", out);
    else if (owes)
        fprintf(out, "as anybody new: we took %s more than we gave", debt);
    else
        fputs("as anybody new, for a minute more: we give at least what we take", out);
    if (since)
        fprintf(out, "; since %s", since);
    else if (strcmp(stands, "new") != 0) /* nobody begins so */
        fputs("; for more than a month", out);
}

static void print_stands(FILE *out, const json_t *own, const json_t *ledger, const char *stands) {
    const char *stopped = json_string_value(json_object_get(ledger, "stopped"));
    fputs("Stands    with first hops", out);
    if (!strcmp(stands, "priority"))
        fputs(" before all others: a token is spent", out);
    else if (is_relay(own))
        fputs(" as anybody new: the circuits of a relay name nobody, only tokens put them first",
              out);
    else
        print_account(out, own, stands);
    if (is_relay(own))
        fprintf(out, "; %" JSON_INTEGER_FORMAT " tokens left", num(own, "tokens"));
    if (stopped && !strcmp(stopped, "old_copy"))
        fputs("; nothing more that we carry counts: this folder is an old copy of what its key "
              "signed, stop the node and give 'culvert identity renew'",
              out);
    else if (stopped && !strcmp(stopped, "failed"))
        fputs("; nothing more that we carry counts until a restart: the ledger cannot be read or "
              "written, see 'culvert-ledger verify'",
              out);
    putc('\n', out);
}

void cli_standing_print(FILE *out, const json_t *own, const json_t *ledger) {
    const char *stands = json_string_value(json_object_get(own, "stands"));
    print_given(out, own, ledger);
    if (stands)
        print_stands(out, own, ledger, stands);
}

/* ---- why ---- */

static const char *text(const json_t *o, const char *key) {
    const char *value = json_string_value(json_object_get(o, key));
    return value ? value : "";
}

/* What is kept of our own account are whole MiB. */
static const char *kept(const json_t *row, const char *key, char out[CLI_HUMAN_MAX]) {
    bool own = !strcmp(text(row, "about"), "own");
    return own && num(row, key) == 0 ? "less than 1 MiB" : octets(num(row, key), out);
}

static void print_row(FILE *out, const json_t *row) {
    const char *about = text(row, "about"), *day = text(row, "day");
    char a[CLI_HUMAN_MAX], b[CLI_HUMAN_MAX];
    fprintf(out, "          %-10s ", *day ? day : "-");
    if (!strcmp(about, "own"))
        fputs("our account", out);
    else if (!strcmp(about, "class"))
        fprintf(out, "account %" JSON_INTEGER_FORMAT, num(row, "account"));
    else
        fprintf(out, "%s of %.8s", about, text(row, "relay"));
    fprintf(out, ": %s -> %s, %s (given %s, taken %s)\n", text(row, "was"), text(row, "became"),
            text(row, "because"), kept(row, "given", a), kept(row, "taken", b));
}

void cli_standing_why(FILE *out, const json_t *own, const json_t *rows) {
    const char *head =
        !rows           ? "is not to be had: the ledger cannot be read, see 'culvert-ledger verify'"
        : is_relay(own) ? "newest first, of this relay's ledger; more: 'culvert-ledger history'"
                        : "newest first, by the rules of first hops, each of which counts for "
                          "itself; kept here alone, for 30 days";
    size_t i;
    json_t *row;
    fprintf(out, "Why       %s\n", head);
    json_array_foreach(rows, i, row) print_row(out, row);
    if (rows && i == 0)
        fputs("          nothing has changed\n", out);
}
