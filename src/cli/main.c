/* culvert: everything a person does. One verb a file; options.c knows them all. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/exitcode.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "crypto/hash.h"

/* A terminal that a desktop opened for this command alone closes with it. */
static void hold(int status, void *unused) {
    char c;
    (void)unused;
    if (status == CLI_OK || status == CLI_INTERRUPTED || !isatty(STDIN_FILENO) ||
        !isatty(STDERR_FILENO))
        return;
    fputs("Press Enter to close. ", stderr);
    sigaction(SIGINT, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    while (read(STDIN_FILENO, &c, 1) == 1 && c != '\n')
        continue;
}

/* A crash writes no keys and no addresses to a disk. One octet is too small for any image, and
 * Linux takes it for "give it to no handler, either", which it does not of 0; whoever may not have
 * it has 0 already. */
static void no_image(void) {
    setrlimit(RLIMIT_CORE, &(struct rlimit){.rlim_cur = 1, .rlim_max = 1});
}

int main(int argc, char **argv) {
    no_image();
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
        !strcmp(argv[1], "help")) {
        cli_verbs_print();
        return argc < 2 ? CLI_USAGE : CLI_OK;
    }
    if (!strcmp(argv[1], "--version")) {
        puts("culvert " CULVERT_VERSION);
        return CLI_OK;
    }
    enum cli_verb verb = cli_verb_find(argv[1]);
    if (!verb) {
        fprintf(stderr, "culvert: there is no '%s'; 'culvert --help' lists what there is\n",
                argv[1]);
        return CLI_USAGE;
    }
    struct cli_settings s;
    for (int i = 2; i < argc; i++) /* what is wrong with other options is to be read, too */
        if (!strcmp(argv[i], "--hold"))
            on_exit(hold, NULL);
    cli_options_parse(verb, argc - 1, argv + 1, &s);
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    cv_crypto_init();
    switch (verb) {
    case CLI_NODE:
    case CLI_RELAY:
        return cli_node(&s);
    case CLI_SHARE:
    case CLI_LIVE:
    case CLI_GET:
    case CLI_PLAY:
        return cli_run(&s);
    case CLI_LINK:
        return cli_link(&s);
    case CLI_DOCTOR:
        return cli_doctor(&s);
    case CLI_TOP:
        return cli_top(&s);
    case CLI_COMPLETION:
        return cli_completion(&s);
    case CLI_IDENTITY:
        return cli_identity(&s);
    case CLI_LS:
    case CLI_SHOW:
        return cli_ls(&s);
    case CLI_RM:
        return cli_rm(&s);
    case CLI_STATUS:
    case CLI_PEERS:
    case CLI_PATH:
        break;
    }
    return cli_show(&s);
}
