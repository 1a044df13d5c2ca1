/* Exit statuses of every culvert program; documented in the README. */
#ifndef CULVERT_CLI_EXITCODE_H
#define CULVERT_CLI_EXITCODE_H

enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,  /* did not work out; the line on standard error says why */
    CLI_USAGE = 2,   /* wrong option, damaged link, missing argument */
    CLI_STATE = 3,   /* state folder: in use, wrong permissions, damaged, too new */
    CLI_NETWORK = 4, /* nobody answered, port in use, clock days off */
    CLI_FILE = 5,    /* file missing, unreadable, empty; disk full */
    CLI_INTERRUPTED = 130,
};

#endif
